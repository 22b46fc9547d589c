// Package dedup sees to it that each quantity is sent once, whatever sources know it.
//
// The CPU time of a container stands in its cgroup's files and in the kubelet's summary. Both
// sources claim it; the better one's points are sent. When they stay away the other takes over,
// and gives way at once when they are back. Points never go back in time, and a cumulative value
// never falls without a new start time.
package dedup

import (
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stint/export/otlp"
)

// Kind is what an entity is.
type Kind uint8

// The kinds of entities.
const (
	Node Kind = iota
	Pod
	Container
)

// Key names a quantity: points of two sources with equal keys are the same figure, whatever
// their metrics are called.
type Key struct {
	Kind    Kind
	Entity  string // container.id, k8s.pod.uid; empty for the node
	Concept string // the name that the metric has at its best source
}

// Verdict is what becomes of a source's points of a quantity in a scrape.
type Verdict uint8

// Pass: they are sent. Of the others each says why not.
const (
	Pass         Verdict = iota
	Duplicate            // a better source has them
	Hold                 // the better source has just gone missing
	Stale                // nothing was measured since the last ones
	OutOfOrder           // older than what was sent, by another source
	Regression           // a cumulative value fell without a new start time
	verdictCount         //
)

func (v Verdict) String() string {
	return [...]string{"pass", "duplicate", "hold", "stale", "out_of_order", "counter_regression"}[v]
}

// Table knows who claims what. Claims come and go on the goroutines of scrapers; Judge is for
// one goroutine at a time.
type Table struct {
	cfg Config

	mu         sync.Mutex // guards everything below
	quantities map[key]*quantity
	concepts   map[string]uint16
	sources    []string
	alone      []*quantity // by source: what no other source knows, all of it
	starts     map[entity]*start

	suppressed [verdictCount]prometheus.Counter
	handOvers  prometheus.Counter
}

// A node with 110 pods has 2,000 quantities and 6,000 claims: what they are made of is small.

// key is a Key with its concept as a number.
type key struct {
	entity  string
	concept uint16
	kind    Kind
}

// quantity is the state of one key. Guarded by Table.mu.
type quantity struct {
	t      *Table
	key    key
	claims *Claim // a list
	active *Claim // one of the source whose points are sent
	last   *Claim // that sent the last of a cumulative metric
	tick   int64  // when the last were sent, ns since 1970; 0: never
	time   uint64 // of the last
	before uint64 // of the last of the source before; what is not newer is not sent
}

// Claim is a source's share in a quantity: one of its metrics.
type Claim struct {
	q        *quantity
	next     *Claim // of the same quantity
	interval time.Duration
	judged   uint64 // time of the points that were judged last
	time     uint64 // of the points sent last
	seen     uint64 // of the newest points that were out of order
	last     []byte // the points sent last, if cumulative

	source     uint8 // index into Table.sources
	rank       int8  // 0 is best; -1: no other source is asked
	cumulative bool
	doubted    bool // its values may fall without cause: the kubelet's
	released   bool
	falls      uint8   // refusals for a value that fell, in a row
	verdict    Verdict // on the points that were judged last
}

// New makes an empty table.
func New(cfg Config, reg prometheus.Registerer) *Table {
	t := &Table{cfg: cfg, quantities: map[key]*quantity{}, concepts: map[string]uint16{}, starts: map[entity]*start{}}
	points := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "stint_scrape_suppressed_points_total",
		Help: "Metric points that were not sent, by reason: duplicate (a better source has them), hold (it has just gone missing), stale, out_of_order, counter_regression.",
	}, []string{"reason"})
	for v := range verdictCount {
		if v != Pass {
			t.suppressed[v] = points.WithLabelValues(v.String())
		}
	}
	t.handOvers = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "stint_scrape_hand_overs_total", Help: "How often another source took over a quantity, or gave it back.",
	})
	if reg != nil {
		reg.MustRegister(points, t.handOvers)
	}
	return t
}

// Claim says that a source, which measures every interval, knows a quantity. Cumulative ones are
// guarded against values that fall. It ends with Release.
func (t *Table) Claim(source string, interval time.Duration, k Key, cumulative bool) *Claim {
	c := &Claim{interval: interval, cumulative: cumulative, doubted: source == "kubelet", rank: int8(slices.Index(t.cfg.ranks(k.Kind), source))}
	t.mu.Lock()
	defer t.mu.Unlock()
	c.source = t.number(source)
	if c.rank < 0 { // nobody is in its way
		c.q = t.lone(c)
		return c
	}
	id := t.key(k)
	if c.q = t.quantities[id]; c.q == nil {
		c.q = &quantity{t: t, key: id}
		t.quantities[id] = c.q
	}
	c.next, c.q.claims = c.q.claims, c
	return c
}

// Lone is Claim of a quantity that no other source knows: what was measured before and sums that fall are kept from
// being sent here, too.
func (t *Table) Lone(source string, interval time.Duration, cumulative bool) *Claim {
	c := &Claim{interval: interval, cumulative: cumulative, doubted: source == "kubelet", rank: -1}
	t.mu.Lock()
	defer t.mu.Unlock()
	c.source = t.number(source)
	c.q = t.lone(c)
	return c
}

// lone is the quantity of all claims of a source that have nobody beside them: the source is always the active one,
// and what a claim was sent last it knows itself. Needs mu.
func (t *Table) lone(c *Claim) *quantity {
	q := t.alone[c.source]
	if q == nil {
		q = &quantity{t: t, active: c}
		t.alone[c.source] = q
	}
	return q
}

// number is the index of a source. Needs mu.
func (t *Table) number(source string) uint8 {
	i := slices.Index(t.sources, source)
	if i < 0 {
		i = len(t.sources)
		t.sources, t.alone = append(t.sources, source), append(t.alone, nil)
	}
	return uint8(i)
}

// key numbers the concept of a key. Needs mu.
func (t *Table) key(k Key) key {
	n, ok := t.concepts[k.Concept]
	if !ok {
		n = uint16(len(t.concepts))
		t.concepts[k.Concept] = n
	}
	return key{k.Entity, n, k.Kind}
}

// Release ends a claim: the source does not know the quantity any more.
func (c *Claim) Release() {
	q := c.q
	q.t.mu.Lock()
	defer q.t.mu.Unlock()
	if c.released {
		return
	}
	c.released = true
	if c.rank < 0 {
		return
	}
	for at := &q.claims; *at != nil; at = &(*at).next {
		if *at == c {
			*at = c.next
			break
		}
	}
	if q.claims == nil {
		delete(q.t.quantities, q.key)
	}
}

// Judge says what becomes of a source's encoded points of the quantity, all of time at (ns since
// 1970), in a scrape that began at tick. The caller sends them if it is Pass, and only then.
func (c *Claim) Judge(tick time.Time, at uint64, data []byte, points int) Verdict {
	c.q.t.mu.Lock()
	v := c.judge(tick, at, data)
	c.judged, c.verdict = at, v
	c.q.t.mu.Unlock()
	if v != Pass {
		c.q.t.suppressed[v].Add(float64(points))
	}
	return v
}

func (c *Claim) judge(tick time.Time, at uint64, data []byte) Verdict {
	q := c.q
	switched := false
	if q.active == nil || q.active.source != c.source {
		if v := c.takeOver(tick); v != Pass {
			return v
		}
		switched = true
	}
	switch {
	case at <= q.before || at < c.time:
		// The kubelet's figures may be older than an interval: until they have passed what the
		// cgroups' last were, they are late, but not missing. Otherwise the cgroups' would be
		// sent again meanwhile, newer still, and the kubelet's never.
		if at > c.seen {
			c.seen, q.tick = at, tick.UnixNano()
		}
		return OutOfOrder
	case at == c.time:
		return Stale
	}
	if c.cumulative {
		var last []byte
		switch {
		case !switched:
			last = c.last
		case q.last != nil:
			last = q.last.last
		}
		if c.falls < 2 && (switched || c.doubted) && fell(last, data) {
			c.falls++
			return Regression
		}
		c.last = append(c.last[:0], data...)
		q.last = c
	}
	q.tick, q.time, c.time, c.falls = tick.UnixNano(), max(q.time, at), at, 0
	return Pass
}

// Again is the verdict on the points of that time, which were judged before, for others that tell
// the same.
func (c *Claim) Again(tick time.Time, at uint64, data []byte, points int) Verdict {
	c.q.t.mu.Lock()
	v, known := c.verdict, c.judged == at
	c.q.t.mu.Unlock()
	if !known { // there were none
		return c.Judge(tick, at, data, points)
	}
	return v
}

// Lost tells whether another source's figures of a quantity are sent in place of those of source.
func (t *Table) Lost(source string, k Key) bool {
	if t == nil {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	q := t.quantities[t.key(k)]
	return q != nil && q.active != nil && t.sources[q.active.source] != source
}

// takeOver makes c the active source, if it may be.
func (c *Claim) takeOver(tick time.Time) Verdict {
	q := c.q
	cycles := time.Duration(q.t.cfg.HoldCycles)
	missed := time.Duration(tick.UnixNano() - q.tick)
	switch a := q.active; {
	case a == nil:
		for x := q.claims; x != nil; x = x.next {
			if x.rank < c.rank && q.tick == 0 {
				q.tick, missed = tick.UnixNano(), 0 // it has this long to come
			}
			if x.rank < c.rank && missed < cycles*x.interval {
				return waiting(missed, x)
			}
		}
	case c.rank < a.rank: // the better one is back
		c.q.t.handOvers.Inc()
	default:
		if missed < cycles*a.interval {
			return waiting(missed, a)
		}
		c.q.t.handOvers.Inc()
	}
	q.active, q.before = c, q.time
	return Pass
}

// waiting is why a worse source's points are not sent, so long after the better one's were.
func waiting(missed time.Duration, better *Claim) Verdict {
	if missed < better.interval {
		return Duplicate
	}
	return Hold
}

// fell says whether a value of now is lower than that of the point with the same attributes and
// start time in last. It is asked of the kubelet's points and when another source takes over.
func fell(last, now []byte) bool {
	lower := false
	if otlp.EachPair(last, now, func(l, n float64) { lower = lower || n < l }) {
		return lower
	}
	lower = false // another set of points
	otlp.EachPoint(now, func(n otlp.EncodedPoint) {
		otlp.EachPoint(last, func(l otlp.EncodedPoint) {
			if string(n.Metric) == string(l.Metric) && string(n.Attrs) == string(l.Attrs) && n.Start == l.Start && n.Value < l.Value {
				lower = true
			}
		})
	})
	return lower
}

// entity is what has a start time.
type entity struct {
	kind Kind
	id   string
}

// start is when an entity began, as every source says it; users counts them.
type start struct {
	ns    uint64
	users int
}

// Start gives the start time (ns since 1970) of what is counted of an entity. The first source
// that asks decides, so that it does not change when another takes over. Each call needs a
// ReleaseStart.
func (t *Table) Start(kind Kind, id string, proposed uint64) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := entity{kind, id}
	s := t.starts[k]
	if s == nil {
		s = &start{ns: proposed}
		t.starts[k] = s
	}
	s.users++
	return s.ns
}

// ReleaseStart says that a source has no more to tell of an entity.
func (t *Table) ReleaseStart(kind Kind, id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := entity{kind, id}
	if s := t.starts[k]; s != nil {
		if s.users--; s.users == 0 {
			delete(t.starts, k)
		}
	}
}
