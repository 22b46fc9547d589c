package otlp

import (
	"encoding/base64"
	"strconv"
)

// AppendText appends a value as people read it: a string as it is, all else as plain JSON.
func (a Any) AppendText(dst []byte) []byte {
	if f := a.last(); f.number == 1 {
		return append(dst, f.val...)
	}
	return a.AppendJSON(dst)
}

// AppendJSON appends a value as plain JSON, unlike OTLP's own: a list is a list, a map an object,
// bytes are base64, and what is nested deeper than 100 levels is null.
func (a Any) AppendJSON(dst []byte) []byte { return a.appendJSON(dst, 0) }

func (a Any) appendJSON(dst []byte, depth int) []byte {
	f := a.last()
	kind := anyKind[f.number]
	if depth > maxJSONDepth {
		kind = KindEmpty
	}
	switch kind {
	case KindString:
		return AppendJSONString(dst, f.val)
	case KindBool:
		return strconv.AppendBool(dst, f.num != 0)
	case KindInt:
		return strconv.AppendInt(dst, int64(f.num), 10)
	case KindDouble:
		return AppendJSONDouble(dst, a.Double())
	case KindBytes:
		return append(base64.StdEncoding.AppendEncode(append(dst, '"'), f.val), '"')
	case KindArray:
		dst = append(dst, '[')
		for e := range a.Elements() {
			dst = e.appendJSON(comma(dst), depth+1)
		}
		return append(dst, ']')
	case KindMap:
		dst = append(dst, '{')
		for k, v := range a.Pairs().All() {
			dst = append(AppendJSONString(comma(dst), k), ':')
			dst = v.appendJSON(dst, depth+1)
		}
		return append(dst, '}')
	}
	return append(dst, "null"...)
}
