package elastic

import (
	"encoding/base64"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"

	"stint/export/otlp"
)

const (
	// maxDepth and maxFields are index.mapping.depth.limit and index.mapping.total_fields.limit
	// unless somebody has changed them. A key in the objects of a list is one field; some are left
	// for what is not in attributes, and for keys that hold the excess.
	maxDepth  = 20
	maxFields = 1000 - 64
	// excessKey holds the attributes for which there is no field left, as JSON in a string.
	excessKey = "stint_excess"
	// maxNesting is how deep a value is followed at all.
	maxNesting = 200
)

// limits are what a server does not take in the part of a document that is being written.
type limits uint8

const (
	indexed   limits = iota // too many levels and too many keys
	flattened               // too many levels: all keys are one field of the index
	anything                // nothing: it is inside a string
)

// pair is a member of the object that is being written.
type pair struct {
	key      []byte
	value    otlp.Any
	outdated bool // the key comes again
}

// push puts a member on the stack.
func (e *Encoder) push(key []byte, value otlp.Any) {
	if len(key) == 0 {
		key = underscore
		e.Changes.Keys++
	}
	e.pairs = append(e.pairs, pair{valid(key), value, false})
}

var underscore = []byte("_")

// valid is a key as it will stand in JSON: two that differ in what is not UTF-8 are the same there.
func valid(key []byte) []byte {
	if utf8.Valid(key) {
		return key
	}
	return otlp.AppendValidUTF8(nil, key)
}

// appendPairs appends the pairs from low on as an object whose keys stand on that level, and takes
// them off the stack. Of a key that comes twice the last one counts. Dots in keys are left alone.
func (e *Encoder) appendPairs(dst []byte, low, level int, l limits) []byte {
	e.outdate(low)
	dst = append(dst, '{')
	open := len(dst)
	high := len(e.pairs)
	for i := low; i < high; i++ {
		p := e.pairs[i]
		if p.outdated {
			continue
		}
		if l == indexed {
			if e.fields >= maxFields {
				dst = e.appendExcess(comma(dst, open), e.pairs[i:high])
				break
			}
			e.fields++
		}
		dst = otlp.AppendJSONString(comma(dst, open), p.key)
		dst = append(dst, ':')
		dst = e.appendValue(dst, p.value, level, l)
	}
	clear(e.pairs[low:high]) // they point into requests
	e.pairs = e.pairs[:low]
	return append(dst, '}')
}

// comma separates the members of an object or list that begin at open.
func comma(dst []byte, open int) []byte {
	if len(dst) > open {
		return append(dst, ',')
	}
	return dst
}

// outdate marks pairs from low on whose key comes again.
func (e *Encoder) outdate(low int) {
	const few = 32
	pairs := e.pairs[low:]
	if len(pairs) <= few {
		for i := range pairs {
			for j := i + 1; j < len(pairs); j++ {
				if string(pairs[i].key) == string(pairs[j].key) {
					pairs[i].outdated = true
					e.Changes.Duplicates++
					break
				}
			}
		}
		return
	}
	e.order = e.order[:0]
	for i := range pairs {
		e.order = append(e.order, int32(i))
	}
	slices.SortFunc(e.order, func(a, b int32) int {
		if c := slices.Compare(pairs[a].key, pairs[b].key); c != 0 {
			return c
		}
		return int(a - b)
	})
	for i := 1; i < len(e.order); i++ {
		if before := e.order[i-1]; string(pairs[before].key) == string(pairs[e.order[i]].key) {
			pairs[before].outdated = true
			e.Changes.Duplicates++
		}
	}
}

// appendExcess appends the member that holds what there is no field for.
func (e *Encoder) appendExcess(dst []byte, pairs []pair) []byte {
	text := append(e.text[:0], '{')
	for _, p := range pairs {
		if !p.outdated {
			e.Changes.TooMany++
			text = otlp.AppendJSONString(comma(text, 1), p.key)
			text = append(text, ':')
			text = e.appendValue(text, p.value, 1, anything)
		}
	}
	e.text = append(text, '}')
	dst = append(dst, `"`+excessKey+`":`...)
	return otlp.AppendJSONString(dst, e.text)
}

// appendValue appends the value of a key on that level.
func (e *Encoder) appendValue(dst []byte, v otlp.Any, level int, l limits) []byte {
	switch kind := v.Kind(); kind {
	case otlp.KindString:
		return otlp.AppendJSONString(dst, v.Bytes())
	case otlp.KindBool:
		return strconv.AppendBool(dst, v.Int() != 0)
	case otlp.KindInt:
		return strconv.AppendInt(dst, v.Int(), 10)
	case otlp.KindDouble:
		if f := v.Double(); !math.IsNaN(f) && !math.IsInf(f, 0) {
			return otlp.AppendJSONDouble(dst, f)
		}
		e.Changes.NotFinite++
	case otlp.KindBytes:
		dst = append(dst, '"')
		dst = base64.StdEncoding.AppendEncode(dst, v.Bytes())
		return append(dst, '"')
	case otlp.KindMap, otlp.KindArray:
		switch {
		case l != anything && level >= maxDepth:
			e.Changes.TooDeep++
			return e.appendText(dst, v)
		case level >= maxNesting:
			e.Changes.TooDeep++
		case kind == otlp.KindArray:
			return e.appendList(dst, v, level, l)
		case l == indexed && e.f.Mapping != OTel:
			return e.appendTree(dst, v, level+1)
		default:
			low := len(e.pairs)
			for k, m := range v.Pairs().All() {
				e.push(k, m)
			}
			return e.appendPairs(dst, low, level+1, l)
		}
	}
	return append(dst, "null"...)
}

// appendList appends a list. What its objects have in common is one field.
func (e *Encoder) appendList(dst []byte, v otlp.Any, level int, l limits) []byte {
	dst = append(dst, '[')
	open, fields, most := len(dst), e.fields, e.fields
	for m := range v.Elements() {
		e.fields = fields
		dst = e.appendValue(comma(dst, open), m, level+1, l)
		most = max(most, e.fields)
	}
	e.fields = most
	return append(dst, ']')
}

// appendText appends any value as a string: its own text, or its JSON.
func (e *Encoder) appendText(dst []byte, v otlp.Any) []byte {
	switch v.Kind() {
	case otlp.KindString, otlp.KindBytes:
		return e.appendValue(dst, v, 1, anything)
	}
	e.text = e.appendValue(e.text[:0], v, 1, anything)
	return otlp.AppendJSONString(dst, e.text)
}
