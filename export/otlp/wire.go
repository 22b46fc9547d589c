// Package otlp is stint's model of telemetry: OTLP protobuf bytes, encoded once where a
// record is read and never decoded on the way out.
//
// A [Chunk] holds encoded records of one signal under one resource and scope (a [Group]).
// Chunks become an Export*ServiceRequest by writing a small frame before each one; two
// serialized requests, one after the other, are again one valid request, so batching is
// appending. The field numbers are those of opentelemetry-proto v1.11
// (opentelemetry/proto/{common,resource,logs,metrics,collector}/v1).
//
// The package uses the standard library only and imports nothing of stint.
package otlp

import (
	"encoding/binary"
	"errors"
	"math"
	"math/bits"
	"unicode/utf8"
)

// Protobuf wire types (protobuf.dev/programming-guides/encoding).
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireLen     = 2
	wireFixed32 = 5
)

// ErrMalformed says that bytes are not valid protobuf framing.
var ErrMalformed = errors.New("malformed protobuf")

// varintLen is the number of bytes that v takes as a varint.
func varintLen(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

// lenFieldLen is the size of a length-delimited field with a one-byte tag and n bytes.
func lenFieldLen(n int) int { return 1 + varintLen(uint64(n)) + n }

func appendTag(dst []byte, field, wire int) []byte {
	return binary.AppendUvarint(dst, uint64(field)<<3|uint64(wire))
}

func appendVarint(dst []byte, field int, v uint64) []byte {
	return binary.AppendUvarint(appendTag(dst, field, wireVarint), v)
}

func appendFixed64(dst []byte, field int, v uint64) []byte {
	return binary.LittleEndian.AppendUint64(appendTag(dst, field, wireFixed64), v)
}

func appendDouble(dst []byte, field int, v float64) []byte {
	return appendFixed64(dst, field, math.Float64bits(v))
}

func appendBytes(dst []byte, field int, b []byte) []byte {
	dst = binary.AppendUvarint(appendTag(dst, field, wireLen), uint64(len(b)))
	return append(dst, b...)
}

// appendString writes s, with U+FFFD for each byte that is not UTF-8: one bad byte makes a
// server refuse the whole request.
func appendString(dst []byte, field int, s string) []byte {
	if !utf8.ValidString(s) {
		return appendBytes(dst, field, AppendValidUTF8(nil, []byte(s)))
	}
	dst = binary.AppendUvarint(appendTag(dst, field, wireLen), uint64(len(s)))
	return append(dst, s...)
}

// AppendValidUTF8 appends b to dst with each byte that is not part of valid UTF-8 replaced
// by U+FFFD (3 bytes).
func AppendValidUTF8(dst, b []byte) []byte {
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			dst = append(dst, "\uFFFD"...)
		} else {
			dst = append(dst, b[:n]...)
		}
		b = b[n:]
	}
	return dst
}

// field is one decoded protobuf field: num holds varint and fixed values, val the bytes of
// a length-delimited one (a part of the input, not a copy).
type field struct {
	number, wire int
	num          uint64
	val          []byte
}

// nextField reads the field at the start of b and returns what follows it.
func nextField(b []byte) (f field, rest []byte, err error) {
	tag, n := binary.Uvarint(b)
	if n <= 0 || tag>>3 == 0 || tag>>3 > 1<<29-1 {
		return f, nil, ErrMalformed
	}
	b = b[n:]
	f.number, f.wire = int(tag>>3), int(tag&7)
	switch f.wire {
	case wireVarint:
		if f.num, n = binary.Uvarint(b); n <= 0 {
			return f, nil, ErrMalformed
		}
	case wireFixed64:
		if n = 8; len(b) < n {
			return f, nil, ErrMalformed
		}
		f.num = binary.LittleEndian.Uint64(b)
	case wireFixed32:
		if n = 4; len(b) < n {
			return f, nil, ErrMalformed
		}
		f.num = uint64(binary.LittleEndian.Uint32(b))
	case wireLen:
		l, m := binary.Uvarint(b)
		if m <= 0 || l > uint64(len(b)-m) {
			return f, nil, ErrMalformed
		}
		n = m + int(l)
		f.val = b[m:n]
	default: // groups left proto3 long ago; OTLP has none
		return f, nil, ErrMalformed
	}
	return f, b[n:], nil
}
