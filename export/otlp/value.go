package otlp

import (
	"encoding/binary"
	"math"
)

// Kind is the type of an attribute's value (common.v1.AnyValue).
type Kind uint8

const (
	KindEmpty Kind = iota
	KindString
	KindBool
	KindInt
	KindDouble
	KindBytes
	KindArray
	KindMap
)

// Value is an attribute's value: exactly one of its kinds. The zero Value is AnyValue's
// "not set".
type Value struct {
	kind  Kind
	str   string // string or bytes
	num   uint64 // bool, int, double bits
	array []Value
	kvs   []KeyValue
}

// KeyValue is one attribute.
type KeyValue struct {
	Key   string
	Value Value
}

func String(s string) Value     { return Value{kind: KindString, str: s} }
func Int(i int64) Value         { return Value{kind: KindInt, num: uint64(i)} }
func Double(f float64) Value    { return Value{kind: KindDouble, num: math.Float64bits(f)} }
func Bytes(b []byte) Value      { return Value{kind: KindBytes, str: string(b)} }
func Array(vs ...Value) Value   { return Value{kind: KindArray, array: vs} }
func Map(kvs ...KeyValue) Value { return Value{kind: KindMap, kvs: kvs} }

// Attr is an attribute that is a string. It is not inlined: the hundreds of its calls, none of them
// on a hot path, would be 70 KB of the binary.
//
//go:noinline
func Attr(k, v string) KeyValue { return KeyValue{Key: k, Value: String(v)} }

func (v Value) Kind() Kind { return v.kind }

// Bool is a boolean value.
func Bool(b bool) Value {
	v := Value{kind: KindBool}
	if b {
		v.num = 1
	}
	return v
}

// AppendValue appends the fields of an AnyValue message.
func AppendValue(dst []byte, v Value) []byte {
	switch v.kind {
	case KindString:
		return appendString(dst, 1, v.str)
	case KindBool:
		return appendVarint(dst, 2, v.num)
	case KindInt:
		return appendVarint(dst, 3, v.num)
	case KindDouble:
		return appendFixed64(dst, 4, v.num)
	case KindArray:
		return appendMessage(dst, 5, func(dst []byte) []byte {
			for _, e := range v.array {
				dst = appendMessage(dst, 1, func(dst []byte) []byte { return AppendValue(dst, e) })
			}
			return dst
		})
	case KindMap:
		return appendMessage(dst, 6, func(dst []byte) []byte { return AppendAttrs(dst, 1, v.kvs) })
	case KindBytes:
		dst = binary.AppendUvarint(appendTag(dst, 7, wireLen), uint64(len(v.str)))
		return append(dst, v.str...)
	}
	return dst
}

// AppendAttrs appends kvs as repeated KeyValue fields with the given field number: 1 in a
// Resource, 6 in a LogRecord, 7 in a metric point (see [AttrsOfLogRecord], [AttrsOfPoint]).
func AppendAttrs(dst []byte, field int, kvs []KeyValue) []byte {
	for _, kv := range kvs {
		dst = appendMessage(dst, field, func(dst []byte) []byte {
			dst = appendString(dst, 1, kv.Key)
			return appendMessage(dst, 2, func(dst []byte) []byte { return AppendValue(dst, kv.Value) })
		})
	}
	return dst
}

// appendMessage appends a length-delimited field whose content body appends. The content is
// moved when its length takes more than one byte; off the hot path that is cheap enough.
func appendMessage(dst []byte, field int, body func([]byte) []byte) []byte {
	dst = append(appendTag(dst, field, wireLen), 0)
	start := len(dst)
	dst = body(dst)
	return closeLen(dst, start)
}

// closeLen writes the length of dst[start:] into the single byte kept before start, making
// room where it takes more.
func closeLen(dst []byte, start int) []byte {
	n := uint64(len(dst) - start)
	more := varintLen(n) - 1
	if more > 0 {
		dst = append(dst, make([]byte, more)...)
		copy(dst[start+more:], dst[start:len(dst)-more])
	}
	binary.PutUvarint(dst[start-1:], n)
	return dst
}
