package series

import (
	"math"

	"stint/export/otlp"
)

// Points takes a scraper's points in each scrape and keeps them encoded: as long as a scrape
// has the same points as the one before, in the same order, only times and values are patched
// into the bytes; else all are encoded anew. So a scraper just says what there is, every time.
//
// Points of one metric must follow each other. Attributes are compared by address: what stays
// equal from scrape to scrape must be the same bytes, and nobody may write to them.
type Points struct {
	Table []Metric
	Start uint64 // start time of the sums that follow; a scraper may change it on the way
	View  *View  // shows them under other names, too; nil: no

	got     []point // in the order of series
	n       int     // how many of got are of this scrape; the others are of the last
	changed bool    // series does not hold got any more, but for values
	runs    []Run   // of series
	version uint64  // of series
	series  otlp.Series
}

// Run is the encoded points of one metric.
type Run struct {
	Metric     int // index into the table
	Start, End int // in the series' bytes
	Points     int
}

// Runs says where the metrics of the last Commit lie in the series' bytes, in their order.
func (p *Points) Runs() []Run { return p.runs }

type point struct {
	metric int // index into Table
	attrs  []byte
	start  uint64 // 0 = none
	bits   uint64 // an int64 or a float64, by the metric's type
}

// Begin forgets the points of the last scrape.
func (p *Points) Begin(start uint64) { p.n, p.Start = 0, start }

// Int adds a point of an int metric. Attributes are encoded by [Attributes], or nil.
//
// It and Float are not inlined: their hundreds of calls would be 120 KB of the binary.
//
//go:noinline
func (p *Points) Int(metric int, attrs []byte, v uint64) {
	p.add(metric, attrs, min(v, math.MaxInt64)) // OTLP has no uint64
}

// Signed is Int of a value that may be negative.
func (p *Points) Signed(metric int, attrs []byte, v int64) { p.add(metric, attrs, uint64(v)) }

// Float adds a point of a double metric.
//
//go:noinline
func (p *Points) Float(metric int, attrs []byte, v float64) {
	p.add(metric, attrs, math.Float64bits(v))
}

func (p *Points) add(metric int, attrs []byte, bits uint64) {
	start := p.Start
	if p.Table[metric].Instrument == otlp.Gauge {
		start = 0
	}
	if p.n < len(p.got) {
		if q := &p.got[p.n]; q.metric == metric && (q.start != 0) == (start != 0) && len(q.attrs) == len(attrs) && (len(attrs) == 0 || &q.attrs[0] == &attrs[0]) {
			q.start, q.bits = start, bits
		} else {
			*q, p.changed = point{metric, attrs, start, bits}, true
		}
	} else {
		p.got, p.changed = append(p.got, point{metric, attrs, start, bits}), true
	}
	p.n++
}

// Commit brings the encoded series up to date. Its points all carry the time now.
func (p *Points) Commit(now uint64) *otlp.Series {
	if p.changed || p.n != len(p.got) {
		p.got = p.got[:p.n]
		p.encode()
	}
	for i := range p.got {
		q := &p.got[i]
		if p.Table[q.metric].Double {
			p.series.SetDouble(i, math.Float64frombits(q.bits))
		} else {
			p.series.SetInt(i, int64(q.bits))
		}
		if q.start != 0 {
			p.series.SetStart(i, q.start)
		}
	}
	p.series.SetTime(now)
	if p.View != nil {
		p.View.commit(p, now)
	}
	return &p.series
}

func (p *Points) encode() {
	p.version++
	p.changed = true // should it panic
	p.series.Reset()
	p.runs = p.runs[:0]
	for i := range p.got {
		q := &p.got[i]
		if n := len(p.runs); n == 0 || p.runs[n-1].Metric != q.metric {
			p.endRun()
			p.runs = append(p.runs, Run{Metric: q.metric, Start: len(p.series.Bytes())})
			p.series.Metric(&p.Table[q.metric].Metric)
		}
		p.series.Add(q.attrs, q.start)
		p.runs[len(p.runs)-1].Points++
	}
	p.endRun()
	p.series.Shrink()
	p.got, p.runs = otlp.Shrink(p.got), otlp.Shrink(p.runs)
	p.changed = false
}

// endRun closes the metric that is being encoded.
func (p *Points) endRun() {
	p.series.Finish()
	if n := len(p.runs); n > 0 {
		p.runs[n-1].End = len(p.series.Bytes())
	}
}

// Attributes encodes attributes of a point.
func Attributes(kvs ...otlp.KeyValue) []byte {
	return otlp.AppendAttrs(nil, otlp.AttrsOfPoint, kvs)
}

// Sending puts together what is handed over: stretches of encoded points without those that are
// held back.
type Sending struct {
	Group *otlp.Group
	Data  []byte

	start, end, points int // of the stretch that is open
}

// Add says whether the next run is sent. What ends before one that is not goes to hand.
func (s *Sending) Add(r Run, send bool, hand func(*otlp.Group, []byte, int)) {
	if !send {
		s.Flush(hand)
		return
	}
	if s.points == 0 {
		s.start = r.Start
	}
	s.end = r.End
	s.points += r.Points
}

// Flush hands over what is left.
func (s *Sending) Flush(hand func(*otlp.Group, []byte, int)) {
	if s.points > 0 {
		hand(s.Group, s.Data[s.start:s.end], s.points)
	}
	s.points = 0
}
