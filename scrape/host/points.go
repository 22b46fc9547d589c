package host

import (
	"math"

	"stint/export/otlp"
)

// points takes a scraper's points in each scrape and keeps them encoded: as long as a scrape
// has the same points as the one before, in the same order, only times and values are patched
// into the bytes; else all are encoded anew. So a scraper just says what there is, every time.
//
// Points of one metric must follow each other. Attributes are compared by address: what stays
// equal from scrape to scrape must be the same bytes, and nobody may write to them.
type points struct {
	table []Metric
	start uint64 // start time of the sums that follow; a scraper may change it on the way

	got     []point
	encoded []point // what series holds; values as of encoding
	series  otlp.Series
}

type point struct {
	metric int // index into table
	attrs  []byte
	start  uint64 // 0 = none
	bits   uint64 // an int64 or a float64, by the metric's type
}

// begin forgets the points of the last scrape.
func (p *points) begin(start uint64) { p.got, p.start = p.got[:0], start }

// int adds a point of an int metric. Attributes are encoded by attributes, or nil.
func (p *points) int(metric int, attrs []byte, v uint64) {
	p.add(metric, attrs, min(v, math.MaxInt64)) // OTLP has no uint64
}

// float adds a point of a double metric.
func (p *points) float(metric int, attrs []byte, v float64) {
	p.add(metric, attrs, math.Float64bits(v))
}

func (p *points) add(metric int, attrs []byte, bits uint64) {
	start := p.start
	if p.table[metric].Instrument == otlp.Gauge {
		start = 0
	}
	p.got = append(p.got, point{metric, attrs, start, bits})
}

// commit brings the encoded series up to date. Its points all carry the time now.
func (p *points) commit(now uint64) *otlp.Series {
	if !p.same() {
		p.encode()
	}
	for i := range p.got {
		q := &p.got[i]
		if p.table[q.metric].Double {
			p.series.SetDouble(i, math.Float64frombits(q.bits))
		} else {
			p.series.SetInt(i, int64(q.bits))
		}
		if q.start != 0 {
			p.series.SetStart(i, q.start)
		}
	}
	p.series.SetTime(now)
	return &p.series
}

// same tells whether the points of this scrape are those that are encoded, but for values.
func (p *points) same() bool {
	if len(p.got) != len(p.encoded) {
		return false
	}
	for i := range p.got {
		a, b := &p.got[i], &p.encoded[i]
		if a.metric != b.metric || (a.start != 0) != (b.start != 0) || len(a.attrs) != len(b.attrs) ||
			len(a.attrs) > 0 && &a.attrs[0] != &b.attrs[0] {
			return false
		}
	}
	return true
}

func (p *points) encode() {
	p.series.Reset()
	open := -1
	for i := range p.got {
		q := &p.got[i]
		if q.metric != open {
			p.series.Metric(&p.table[q.metric].Metric)
			open = q.metric
		}
		p.series.Add(q.attrs, q.start)
	}
	p.series.Finish()
	p.encoded = append(p.encoded[:0], p.got...)
}

// attributes encodes attributes of a point.
func attributes(kvs ...otlp.KeyValue) []byte {
	return otlp.AppendAttrs(nil, otlp.AttrsOfPoint, kvs)
}
