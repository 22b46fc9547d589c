package state

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"strings"
	"unicode/utf8"

	"stint/export/otlp"
)

// Rows are kept packed: a string of attributes, and one of points. An attribute is
//
//	key (1 byte), shape (1 byte), [length (uvarint)], bytes
//
// and a point is
//
//	metric (1 or 2 bytes), attributes (1 byte: how many), attributes, kind of value (1 byte), value
//
// where the value is a varint, or 8 bytes for a double that is no whole number of thousandths.

// shape says how an attribute's value is packed.
type shape byte

const (
	shapeText  shape = iota
	shapeList        // text, sent as a list of one
	shapeUUID        // 16 bytes, sent as 8-4-4-4-12 hex digits
	shapeHash        // 32 bytes, sent as 64 hex digits
	shapeTrue        // no bytes
	shapeFalse       // no bytes
	shapeNamed       // text, behind its own key, encoded and with its length; the key's place has 0
)

// value kinds of a packed point.
const (
	valueInt byte = iota
	valueMilli
	valueDouble
)

// packMetric appends a metric's index: those of pods, which there are most of, take one byte. The order
// of the bytes is that of the indexes.
func packMetric(dst []byte, id metricID) []byte {
	if id < 0x80 {
		return append(dst, byte(id))
	}
	return append(dst, byte(id>>8)|0x80, byte(id))
}

// metricOf reads it.
func metricOf(p string) (id metricID, n int) {
	if p[0] < 0x80 {
		return metricID(p[0]), 1
	}
	return metricID(p[0]&0x7f)<<8 | metricID(p[1]), 2
}

// maxText is the longest text that is kept of an attribute, bytes: four times what Kubernetes allows
// for most; a hostile object should not make rows large.
const maxText = 1024

// packText appends an attribute with any text.
func packText(dst []byte, key attrKey, s string) []byte {
	return packBytes(dst, key, shapeText, clip(s))
}

func packBytes(dst []byte, key attrKey, sh shape, s string) []byte {
	dst = append(dst, byte(key), byte(sh))
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

// packNamed appends an attribute whose key is not in the list.
func packNamed(dst []byte, k otlp.Key, s string) []byte {
	dst = append(dst, 0, byte(shapeNamed))
	dst = append(binary.AppendUvarint(dst, uint64(len(k))), k...)
	s = clip(s)
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// clip makes s valid UTF-8 of at most maxText bytes.
func clip(s string) string {
	if len(s) > maxText {
		n := maxText
		for n > 0 && !utf8.RuneStart(s[n]) {
			n--
		}
		s = s[:n]
	}
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	return s
}

// packUID appends an attribute that is usually a UUID.
func packUID(dst []byte, key attrKey, s string) []byte {
	if u, ok := parseUUID(s); ok {
		dst = append(dst, byte(key), byte(shapeUUID))
		return append(dst, u[:]...)
	}
	return packText(dst, key, s)
}

// packHash appends an attribute that is usually a SHA-256 in hex, such as the id of a container.
func packHash(dst []byte, key attrKey, s string) []byte {
	if len(s) == 64 && s == strings.ToLower(s) {
		var h [32]byte
		if _, err := hex.Decode(h[:], []byte(s)); err == nil {
			dst = append(dst, byte(key), byte(shapeHash))
			return append(dst, h[:]...)
		}
	}
	return packText(dst, key, s)
}

func packBool(dst []byte, key attrKey, v bool) []byte {
	if v {
		return append(dst, byte(key), byte(shapeTrue))
	}
	return append(dst, byte(key), byte(shapeFalse))
}

// parseUUID reads the canonical form, in lower case.
func parseUUID(s string) (u [16]byte, ok bool) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return u, false
	}
	n := 0
	for i := 0; i < len(s); i++ {
		if s[i] == '-' && (i == 8 || i == 13 || i == 18 || i == 23) {
			continue
		}
		d := unhex(s[i])
		if d > 15 {
			return u, false
		}
		u[n/2] = u[n/2]<<4 | d
		n++
	}
	return u, true
}

func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	}
	return 0xff
}

// attr is a packed attribute that is being read.
type attr struct {
	key   attrKey
	named otlp.Key // with shapeNamed
	shape shape
	bytes string
}

// nextAttr reads the attribute at the start of p. Packed strings are our own: they are sound.
func nextAttr(p string) (a attr, rest string) {
	a.key, a.shape = attrKey(p[0]), shape(p[1])
	p = p[2:]
	n := 0
	if a.shape == shapeNamed {
		l, w := uvarint(p)
		a.named, p = otlp.Key(p[w:w+int(l)]), p[w+int(l):]
	}
	switch a.shape {
	case shapeText, shapeList, shapeNamed:
		l, w := uvarint(p)
		p, n = p[w:], int(l)
	case shapeUUID:
		n = 16
	case shapeHash:
		n = 32
	}
	a.bytes = p[:n]
	return a, p[n:]
}

// uvarint is binary.Uvarint of a string.
func uvarint(s string) (v uint64, n int) {
	for i := 0; i < len(s); i++ {
		v |= uint64(s[i]&0x7f) << (7 * i)
		if s[i] < 0x80 {
			return v, i + 1
		}
	}
	panic("bug: a packed number has no end")
}

// packed point that is being read.
type packedPoint struct {
	metric metricID
	n      int    // of attributes
	attrs  string // packed
	id     string // all but the value
	double bool
	bits   uint64 // an int64 or a float64
}

// nextPoint reads the point at the start of p.
func nextPoint(p string) (pt packedPoint, rest string) {
	all := p
	var n int
	pt.metric, n = metricOf(p)
	pt.n = int(p[n])
	p = p[n+1:]
	start := p
	for range pt.n {
		_, p = nextAttr(p)
	}
	pt.attrs = start[:len(start)-len(p)]
	pt.id = all[:len(all)-len(p)]
	kind := p[0]
	p = p[1:]
	if kind == valueDouble {
		var b [8]byte
		copy(b[:], p)
		pt.double, pt.bits = true, binary.LittleEndian.Uint64(b[:])
		return pt, p[8:]
	}
	u, w := uvarint(p)
	v := int64(u>>1) ^ -int64(u&1)
	if kind == valueMilli {
		pt.double, pt.bits = true, math.Float64bits(float64(v)/1000)
	} else {
		pt.bits = uint64(v)
	}
	return pt, p[w:]
}
