package otlp

import (
	"encoding/binary"
	"math"
)

// Series is a set of encoded metrics whose times and values are patched in place: OTLP number
// points are fixed-width on the wire, so a scraper encodes its series when their set changes
// and afterwards only writes 8-byte values. Not safe for concurrent use.
//
// Build with Reset, then for each metric one Metric call followed by its Add calls; read the
// wire bytes with Bytes after Finish or after any number of SetTime/SetInt/SetDouble calls.
type Series struct {
	buf    []byte
	points []point

	metric *Metric // open metric; nil when none
	heads  [2]int  // where the open metric's and its data's contents start in buf
}

// point holds where the fixed-width fields of one point lie in Series.buf, behind their tags.
type point struct {
	start, time, value int32 // start is -1 where the point has none
	double             bool
}

// Reset forgets all metrics and keeps the memory.
func (s *Series) Reset() {
	s.buf, s.points, s.metric = s.buf[:0], s.points[:0], nil
}

// Metric opens a metric; the points that follow are its own. Closes the one before.
func (s *Series) Metric(m *Metric) {
	s.Finish()
	s.metric = m
	s.buf = append(appendTag(s.buf, 2, wireLen), 0)
	s.heads[0] = len(s.buf)
	s.buf = appendString(s.buf, 1, m.Name)
	if m.Description != "" {
		s.buf = appendString(s.buf, 2, m.Description)
	}
	if m.Unit != "" {
		s.buf = appendString(s.buf, 3, m.Unit)
	}
	s.buf = append(appendTag(s.buf, m.dataField(), wireLen), 0)
	s.heads[1] = len(s.buf)
}

// Add appends a point of the open metric and returns its index for SetInt or SetDouble.
// attrs is encoded by AppendAttrs(…, AttrsOfPoint, …) and copied. start (ns since 1970) is
// the start time of a sum; 0 leaves it out, as gauges do.
func (s *Series) Add(attrs []byte, start uint64) int {
	p := point{start: -1, double: s.metric.Double}
	n := 9 + 9 + len(attrs)
	if start != 0 {
		n += 9
	}
	s.buf = binary.AppendUvarint(appendTag(s.buf, 1, wireLen), uint64(n))
	if start != 0 {
		p.start = int32(len(s.buf)) + 1
		s.buf = appendFixed64(s.buf, 2, start)
	}
	p.time = int32(len(s.buf)) + 1
	s.buf = appendFixed64(s.buf, 3, 0)
	p.value = int32(len(s.buf)) + 1
	s.buf = appendFixed64(s.buf, s.metric.valueField(), 0)
	s.buf = append(s.buf, attrs...)
	s.points = append(s.points, p)
	return len(s.points) - 1
}

// Finish closes the open metric. A metric without points stays: it is valid OTLP, but a
// caller does better not to open one.
func (s *Series) Finish() {
	if s.metric == nil {
		return
	}
	s.buf = s.metric.appendSum(s.buf)
	s.metric = nil
	// Closing a length moves what lies behind it: first the inner, then the outer one.
	// Points of this metric move along.
	for _, at := range []int{s.heads[1], s.heads[0]} {
		before := len(s.buf)
		s.buf = closeLen(s.buf, at)
		if moved := int32(len(s.buf) - before); moved > 0 {
			for i := len(s.points) - 1; i >= 0 && s.points[i].time >= int32(at); i-- {
				p := &s.points[i]
				p.time += moved
				p.value += moved
				if p.start >= 0 {
					p.start += moved
				}
			}
		}
	}
}

// Shrink gives back memory that the series grew beyond what it holds: there are hundreds of series,
// and most are encoded once.
func (s *Series) Shrink() { s.buf, s.points = Shrink(s.buf), Shrink(s.points) }

// Shrink is s in memory of its own size, if it takes an eighth more.
func Shrink[T any](s []T) []T {
	if cap(s)-len(s) <= len(s)/8 {
		return s
	}
	return append(make([]T, 0, len(s)), s...)
}

// Len is the number of points.
func (s *Series) Len() int { return len(s.points) }

// Bytes is the encoded metrics: repeated metrics fields of ScopeMetrics. They change with the
// next Set call and with Reset: copy them.
func (s *Series) Bytes() []byte { return s.buf }

// SetTime writes the time (ns since 1970) of every point.
func (s *Series) SetTime(ns uint64) {
	for i := range s.points {
		binary.LittleEndian.PutUint64(s.buf[s.points[i].time:], ns)
	}
}

// SetPointTime writes the time of point i.
func (s *Series) SetPointTime(i int, ns uint64) {
	binary.LittleEndian.PutUint64(s.buf[s.points[i].time:], ns)
}

// SetStart writes the start time of point i, which must have been added with one.
func (s *Series) SetStart(i int, ns uint64) {
	binary.LittleEndian.PutUint64(s.buf[s.points[i].start:], ns)
}

// SetInt writes the value of point i of an int metric.
func (s *Series) SetInt(i int, v int64) {
	if s.points[i].double {
		panic("bug: SetInt on a point of a double metric")
	}
	binary.LittleEndian.PutUint64(s.buf[s.points[i].value:], uint64(v))
}

// SetDouble writes the value of point i of a double metric.
func (s *Series) SetDouble(i int, v float64) {
	if !s.points[i].double {
		panic("bug: SetDouble on a point of an int metric")
	}
	binary.LittleEndian.PutUint64(s.buf[s.points[i].value:], math.Float64bits(v))
}
