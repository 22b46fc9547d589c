package rawjson

import (
	"encoding/binary"
	"math"
	"math/bits"
	"strconv"
	"unicode/utf8"
	"unsafe"

	"stint/export/otlp"
)

// maxNested is how deep an OTLP value is nested. A level takes three protobuf messages, and
// decoders take no more than 100 (C++, Java). What lies deeper, as in the schema of a CRD, is sent
// as its JSON text.
const maxNested = 28

// The fields of an AnyValue, a KeyValueList, an ArrayValue and a KeyValue.
const (
	fieldString = 1
	fieldArray  = 5
	fieldMap    = 6
	fieldOf     = 1 // list and map
	fieldKey    = 1
	fieldValue  = 2
)

// Form says how an object becomes a value.
type Form struct {
	Drop  *Paths // what is left out; nil: nothing
	Limit int    // bytes that the value may take; 0: as many as it does
	Head  []byte // encoded key-values that stand before those of the object (otlp.AppendAttrs, field 1)
}

// AppendValue appends a JSON text as the fields of an AnyValue: an object is a map and a list an
// array in the order of the text, whole numbers are ints, others doubles, null is a value that is
// not set. cut says that the limit was reached: what comes after it is missing, and a string may be
// shorter. It keeps nothing of src, allocates only when dst has to grow, and dst is half written
// when there is an error.
func AppendValue(dst, src []byte, f Form) (_ []byte, cut bool, err error) {
	v := valueParser{parser: parser{src: src}, end: math.MaxInt}
	if f.Limit > 0 {
		v.end = len(dst) + f.Limit
	}
	dst, err = v.append(dst, f.Drop, f.Head)
	if err == nil {
		err = v.parser.end()
	}
	return dst, v.cut, err
}

type valueParser struct {
	parser
	end int // of dst
	cut bool
}

// append appends the value that comes next.
func (p *valueParser) append(dst []byte, drop *Paths, head []byte) ([]byte, error) {
	c := p.next()
	switch c {
	case '{', '[':
		if p.depth >= maxNested {
			raw, err := p.skip()
			if err != nil {
				return dst, err
			}
			return p.appendText(dst, raw, otlp.AppendValidUTF8), nil
		}
		if c == '{' {
			return p.appendMap(dst, drop, head)
		}
		return p.appendArray(dst, drop)
	case '"':
		t, err := p.str()
		if err != nil {
			return dst, err
		}
		if t.plain {
			return p.appendPlain(dst, t.raw), nil
		}
		return p.appendText(dst, t.raw, appendMeant), nil
	case 't':
		return append(dst, 2<<3, 1), p.word("true")
	case 'f':
		return append(dst, 2<<3, 0), p.word("false")
	case 'n':
		return dst, p.word("null")
	}
	raw, whole, err := p.number()
	if err != nil {
		return dst, err
	}
	// The text is looked at and not kept.
	s := unsafe.String(unsafe.SliceData(raw), len(raw))
	if whole {
		if i, err := strconv.ParseInt(s, 10, 64); err == nil {
			return binary.AppendUvarint(append(dst, 3<<3), uint64(i)), nil
		}
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil {
		return binary.LittleEndian.AppendUint64(append(dst, 4<<3|1), math.Float64bits(f)), nil
	}
	return p.appendPlain(dst, raw), nil // 1e999
}

// appendPlain appends a string that is valid UTF-8.
func (p *valueParser) appendPlain(dst, s []byte) []byte {
	if room := p.end - len(dst); len(s) > room {
		s, p.cut = s[:runeBefore(s, max(room, 0))], true
	}
	dst = append(dst, fieldString<<3|2)
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

// appendMeant appends what a string that is not plain means.
func appendMeant(dst, raw []byte) []byte { return text{raw: raw}.append(dst) }

// appendText appends a string that is not its bytes but what as makes of them.
func (p *valueParser) appendText(dst, raw []byte, as func(dst, raw []byte) []byte) []byte {
	dst, start := otlp.OpenLen(dst, fieldString)
	dst = as(dst, raw)
	if len(dst) > p.end {
		n := max(p.end-start, 0)
		dst, p.cut = dst[:start+runeBefore(dst[start:], n)], true
	}
	return otlp.CloseLen(dst, start)
}

// runeBefore is the last start of a rune in s that is not behind n.
func runeBefore(s []byte, n int) int {
	for n > 0 && n < len(s) && !utf8.RuneStart(s[n]) {
		n--
	}
	return n
}

func (p *valueParser) appendMap(dst []byte, drop *Paths, head []byte) ([]byte, error) {
	dst, start := otlp.OpenLen(dst, fieldMap)
	dst = append(dst, head...)
	empty, err := p.enter('}')
	for more := !empty; more && err == nil; {
		if dst, err = p.appendPair(dst, drop); err != nil {
			return dst, err
		}
		more, err = p.more('}')
	}
	if err != nil {
		return dst, err
	}
	return otlp.CloseLen(dst, start), nil
}

// appendPair appends a key with its value, or leaves both out.
func (p *valueParser) appendPair(dst []byte, drop *Paths) ([]byte, error) {
	k, err := p.key()
	if err != nil {
		return dst, err
	}
	before := len(dst)
	if before+len(k.raw) >= p.end {
		p.cut = true
		return dst, p.skipAt(p.next())
	}
	if k.plain && p.next() == '"' { // most: both lengths are known beforehand
		if _, dropped := drop.child(k.raw); dropped {
			return dst, p.skipAt('"')
		}
		return p.appendStringPair(dst, k.raw)
	}
	dst, pair := otlp.OpenLen(dst, fieldOf)
	dst, name := otlp.OpenLen(dst, fieldKey)
	dst = k.append(dst)
	drop, dropped := drop.child(dst[name:])
	if dropped {
		return dst[:before], p.skipAt(p.next())
	}
	dst = otlp.CloseLen(dst, name)
	dst, value := otlp.OpenLen(dst, fieldValue)
	if dst, err = p.append(dst, drop, nil); err != nil {
		return dst, err
	}
	return otlp.CloseLen(otlp.CloseLen(dst, value), pair), nil
}

// appendStringPair appends a key with the string that comes next.
func (p *valueParser) appendStringPair(dst, key []byte) ([]byte, error) {
	t, err := p.str()
	if err != nil {
		return dst, err
	}
	if t.plain && len(t.raw) <= p.end-len(dst)-len(key) {
		value := lenOf(len(t.raw))
		dst = append(dst, fieldOf<<3|2)
		dst = binary.AppendUvarint(dst, uint64(lenOf(len(key))+lenOf(value)))
		dst = append(dst, fieldKey<<3|2)
		dst = binary.AppendUvarint(dst, uint64(len(key)))
		dst = append(dst, key...)
		dst = append(dst, fieldValue<<3|2)
		dst = binary.AppendUvarint(dst, uint64(value))
		dst = append(dst, fieldString<<3|2)
		dst = binary.AppendUvarint(dst, uint64(len(t.raw)))
		return append(dst, t.raw...), nil
	}
	dst, pair := otlp.OpenLen(dst, fieldOf)
	dst = append(dst, fieldKey<<3|2)
	dst = binary.AppendUvarint(dst, uint64(len(key)))
	dst = append(dst, key...)
	dst, value := otlp.OpenLen(dst, fieldValue)
	if t.plain {
		dst = p.appendPlain(dst, t.raw)
	} else {
		dst = p.appendText(dst, t.raw, appendMeant)
	}
	return otlp.CloseLen(otlp.CloseLen(dst, value), pair), nil
}

// lenOf is the size of a length-delimited field of n bytes with a small number.
func lenOf(n int) int { return 1 + (bits.Len64(uint64(n)|1)+6)/7 + n }

func (p *valueParser) appendArray(dst []byte, drop *Paths) ([]byte, error) {
	dst, start := otlp.OpenLen(dst, fieldArray)
	empty, err := p.enter(']')
	drop, dropped := drop.child(nil)
	for more := !empty; more && err == nil; {
		switch {
		case dropped:
			err = p.skipAt(p.next())
		case len(dst) >= p.end:
			p.cut = true
			err = p.skipAt(p.next())
		default:
			var element int
			dst, element = otlp.OpenLen(dst, fieldOf)
			if dst, err = p.append(dst, drop, nil); err == nil {
				dst = otlp.CloseLen(dst, element)
			}
		}
		if err != nil {
			return dst, err
		}
		more, err = p.more(']')
	}
	if err != nil {
		return dst, err
	}
	return otlp.CloseLen(dst, start), nil
}
