package otlp

import (
	"encoding/binary"
	"math"
)

// What follows is for sources with hundreds of thousands of resources, whose points are encoded anew
// each time from a form of their own: nothing here allocates but dst.

// Head is a metric without its points, encoded once.
type Head struct {
	fields []byte
	metric Metric
}

// NewHead encodes name, description and unit.
func NewHead(m Metric) Head { return Head{appendHead(nil, &m), m} }

// Metric is what the head was made of.
func (h *Head) Metric() *Metric { return &h.metric }

// AppendPoint appends a point for [Head.AppendMetric]. A gauge has no start time. gone: instead of a
// value it says that the series ends (DataPointFlags, FLAG_NO_RECORDED_VALUE).
func (h *Head) AppendPoint(dst []byte, p *NumberPoint, gone bool) []byte {
	n := 9 + len(p.Attrs)
	started := p.Start != 0 && h.metric.Instrument != Gauge
	if started {
		n += 9
	}
	if gone {
		n += 2
	} else {
		n += 9
	}
	dst = binary.AppendUvarint(append(dst, 1<<3|wireLen), uint64(n))
	if started {
		dst = appendFixed64(dst, 2, p.Start)
	}
	dst = appendFixed64(dst, 3, p.Time)
	switch {
	case gone:
		dst = append(dst, 8<<3|wireVarint, 1)
	case h.metric.Double:
		dst = appendFixed64(dst, 4, math.Float64bits(p.Double))
	default:
		dst = appendFixed64(dst, 6, uint64(p.Int))
	}
	return append(dst, p.Attrs...)
}

// AppendMetric appends the metric with points of AppendPoint as one metrics field of ScopeMetrics.
func (h *Head) AppendMetric(dst, points []byte) []byte {
	var tail [4]byte
	sum := h.metric.appendSum(tail[:0])
	data := len(points) + len(sum)
	dst = binary.AppendUvarint(append(dst, 2<<3|wireLen), uint64(len(h.fields)+lenFieldLen(data)))
	dst = append(dst, h.fields...)
	dst = binary.AppendUvarint(append(dst, byte(h.metric.dataField())<<3|wireLen), uint64(data))
	dst = append(dst, points...)
	return append(dst, sum...)
}

// Key is the name of an attribute, encoded once.
type Key string

// NewKey encodes a name.
func NewKey(name string) Key { return Key(appendString(nil, 1, name)) }

// AppendText appends an attribute whose value is valid UTF-8, as one field of a message that has its
// attributes under that number: 1 in a resource, [AttrsOfPoint] in a point.
func AppendText[T string | []byte](dst []byte, field int, k Key, v T) []byte {
	value := lenFieldLen(len(v))
	dst = k.open(dst, field, value)
	dst = binary.AppendUvarint(append(dst, 1<<3|wireLen), uint64(len(v)))
	return append(dst, v...)
}

// AppendTextList is AppendText of a list with one text.
func AppendTextList(dst []byte, field int, k Key, v string) []byte {
	one := lenFieldLen(len(v)) // of AnyValue
	list := lenFieldLen(one)   // of ArrayValue
	dst = k.open(dst, field, lenFieldLen(list))
	dst = binary.AppendUvarint(append(dst, 5<<3|wireLen), uint64(list))
	dst = binary.AppendUvarint(append(dst, 1<<3|wireLen), uint64(one))
	dst = binary.AppendUvarint(append(dst, 1<<3|wireLen), uint64(len(v)))
	return append(dst, v...)
}

// AppendTruth is AppendText of a boolean.
func AppendTruth(dst []byte, field int, k Key, v bool) []byte {
	dst = append(k.open(dst, field, 2), 2<<3|wireVarint, 0)
	if v {
		dst[len(dst)-1] = 1
	}
	return dst
}

// open appends an attribute up to its value of n bytes.
func (k Key) open(dst []byte, field, n int) []byte {
	dst = binary.AppendUvarint(appendTag(dst, field, wireLen), uint64(len(k)+lenFieldLen(n)))
	dst = append(dst, k...)
	return binary.AppendUvarint(append(dst, 2<<3|wireLen), uint64(n))
}

// AppendResource appends a resource for [Group.Under]; attrs are encoded with the field number 1.
func AppendResource(dst, attrs []byte, schemaURL string) []byte {
	dst = binary.AppendUvarint(append(dst, 1<<3|wireLen), uint64(len(attrs)))
	dst = append(dst, attrs...)
	if schemaURL != "" {
		dst = appendString(dst, 3, schemaURL)
	}
	return dst
}

// Under is the group's scope under another resource, of AppendResource, which is kept: in the slab of
// the chunk that has this group, it lives as long.
func (g *Group) Under(resource []byte) Group { return Group{resource: resource, scope: g.scope} }
