package scrape

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/otlptranslator"

	"stint/export/otlp"
	"stint/scrape/series"
)

const (
	// maxLatest bounds the encoded points that are kept: those of a node with some 500 pods, ten
	// times the usual. What finds no room is not served, and is counted.
	maxLatest = 16 << 20
	// latestFor is how long a point is served that a scraper, which measures at times of its own,
	// does not tell again. Prometheus looks back that far, too.
	latestFor = 5 * time.Minute
)

// Latest keeps what the scrapers have sent last, for /metrics/node: nothing is read for a request.
// exposition.go prints it.
//
// What a scraper tells in a tick takes the place of what it told before. A source like the kubelet,
// which tells in a tick only what it measured since, says so by the times of its points: these are
// kept for latestFor, and served with their times. So long is also served what a scraper told last
// that has hung since.
type Latest struct {
	sources []string // that are kept
	dropped prometheus.Counter
	serving chan struct{}

	mu       sync.Mutex // guards everything below
	scrapers map[*scraper]*told
	families map[string]*family // by name
	groups   map[*otlp.Group]*origin
	labels   map[string]string // names of attributes as those of labels
	bytes    int               // of all entries
	newest   time.Time         // tick
}

// told is what a scraper told last.
type told struct {
	at      time.Time // of the last tick that had anything
	entries map[entryKey]*entry
}

type entryKey struct {
	group *otlp.Group
	name  string
}

// entry is the points of a metric under a group.
type entry struct {
	family *family
	origin *origin   // nil: of a metric that had its name before; its attributes are all labels there are
	at     time.Time // of the tick
	own    bool      // its points have times of their own
	data   []byte    // metrics fields
}

// family is all entries that have one name in Prometheus.
type family struct {
	name, help, kind string
	entries          map[*entry]bool
}

// origin is what a resource tells of where points are from.
type origin struct {
	labels  []labelPair
	entries int
}

type labelPair struct{ name, value string }

// Keep makes the grid keep what these sources send, for the handler that it returns. Before Run.
func (g *Grid) Keep(sources ...string) *Latest {
	g.latest = &Latest{
		sources: sources, dropped: g.metrics.unlisted, serving: make(chan struct{}, maxServing),
		scrapers: map[*scraper]*told{}, families: map[string]*family{}, groups: map[*otlp.Group]*origin{}, labels: map[string]string{},
	}
	return g.latest
}

// take takes in what a scraper has handed over. A nil Latest takes nothing.
func (l *Latest) take(s *scraper) {
	if l == nil || !slices.Contains(l.sources, s.source.Name()) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.scrapers[s]
	if t == nil {
		t = &told{entries: map[entryKey]*entry{}}
		l.scrapers[s] = t
	}
	l.newest = s.at
	if len(s.parts) == 0 && s.err == nil { // the kubelet was not asked in this tick
		return
	}
	t.at = s.at
	fresh := 0
	for i := range s.parts {
		group := s.parts[i].group
		otlp.EachMetric(s.parts[i].data, func(m otlp.EncodedMetric) {
			if l.put(t, group, &m) {
				fresh++
			}
		})
	}
	if fresh < len(t.entries) {
		for key, e := range t.entries {
			if !e.at.Equal(t.at) && (!e.own || t.at.Sub(e.at) > latestFor || e.at.After(t.at)) {
				l.drop(t, key)
			}
		}
	}
}

// put keeps a metric, and tells whether it is the first of its name in this tick.
func (l *Latest) put(t *told, group *otlp.Group, m *otlp.EncodedMetric) (first bool) {
	e := t.entries[entryKey{group, string(m.Name)}]
	if e == nil {
		e = l.newEntry(group, m)
		t.entries[entryKey{group, string(m.Name)}] = e
	}
	if first = !e.at.Equal(t.at); first {
		l.bytes -= len(e.data)
		e.at, e.own, e.data = t.at, false, e.data[:0]
	}
	if l.bytes+len(m.Field) > maxLatest {
		n := 0
		otlp.EachPoint(m.Field, func(otlp.EncodedPoint) { n++ })
		l.dropped.Add(float64(n))
		return first
	}
	now := uint64(t.at.UnixNano())
	otlp.EachPoint(m.Field, func(p otlp.EncodedPoint) { e.own = e.own || p.Time != now })
	e.data = append(e.data, m.Field...)
	l.bytes += len(m.Field)
	return first
}

// newEntry finds out what a metric is called in Prometheus.
func (l *Latest) newEntry(group *otlp.Group, m *otlp.EncodedMetric) *entry {
	name, kind := string(m.Name), "gauge"
	if m.Instrument == otlp.Counter {
		kind = "counter"
	}
	theirs := series.IsPrometheus(name)
	if !theirs {
		name = prometheusName(m)
	}
	f := l.families[name]
	if f == nil {
		f = &family{name: name, help: string(m.Description), kind: kind, entries: map[*entry]bool{}}
		l.families[name] = f
	}
	if f.kind != kind {
		f.kind = "untyped"
	}
	e := &entry{family: f}
	f.entries[e] = true
	if !theirs {
		e.origin = l.originOf(group)
		e.origin.entries++
	}
	return e
}

// prometheusName is the name that a metric of ours gets when Prometheus receives it as OTLP.
func prometheusName(m *otlp.EncodedMetric) string {
	kind := otlptranslator.MetricTypeGauge
	switch m.Instrument {
	case otlp.Counter:
		kind = otlptranslator.MetricTypeMonotonicCounter
	case otlp.UpDown, otlp.DeltaCount:
		kind = otlptranslator.MetricTypeNonMonotonicCounter
	}
	namer := otlptranslator.MetricNamer{WithMetricSuffixes: true}
	name, err := namer.Build(otlptranslator.Metric{Name: string(m.Name), Unit: string(m.Unit), Type: otlptranslator.MetricType(kind)})
	if err != nil {
		return "stint_unnamed" // a name without a letter
	}
	return name
}

// originOf gives the labels that a resource stands for: what identifies an entity.
func (l *Latest) originOf(group *otlp.Group) *origin {
	o := l.groups[group]
	if o == nil {
		o = &origin{}
		group.Attributes(func(key string, v otlp.Value) {
			if text := v.Text(); text != "" && (strings.HasPrefix(key, "k8s.") || strings.HasPrefix(key, "container.")) {
				o.labels = append(o.labels, labelPair{labelName(key), text})
			}
		})
		l.groups[group] = o
	}
	return o
}

// labelName is the name that an attribute has as a label.
func labelName(key string) string {
	namer := otlptranslator.LabelNamer{}
	name, err := namer.Build(key)
	switch {
	case err != nil:
		return "_"
	case strings.HasPrefix(name, "__"): // which are Prometheus' own
		return "key" + name
	}
	return name
}

// drop forgets an entry, and what only that needed.
func (l *Latest) drop(t *told, key entryKey) {
	e := t.entries[key]
	delete(t.entries, key)
	l.bytes -= len(e.data)
	delete(e.family.entries, e)
	if e.origin != nil {
		if e.origin.entries--; e.origin.entries == 0 {
			delete(l.groups, key.group)
		}
	}
	if len(e.family.entries) == 0 {
		delete(l.families, e.family.name)
	}
}

// names lists the families in order.
func (l *Latest) names() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.SortedFunc(maps.Keys(l.families), cmp.Compare)
}
