package state

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stint/export/otlp"
	"stint/scrape/kube"
)

// scopeName is the instrumentation scope of all points.
const scopeName = "stint/scrape/kube/state"

// Source sends the metrics of the cluster's objects while it is the leader. One Run is one term: it
// lists everything afresh, and what it knows is forgotten with it.
type Source struct {
	cfg     Config
	deps    kube.Deps
	all     []metric // of the table, and of custom resources
	forms   [][]otlp.Head
	on      []bool
	off     *[attrKeys]bool // attributes of resources
	kinds   []*kind
	scope   *otlp.Group
	metrics selfMetrics

	mu   sync.Mutex // guards everything below
	term *term      // the one that runs; nil: none
}

// term is what is known in one Run.
type term struct {
	stores    []*store
	byKind    map[string][]*store
	endpoints *endpoints
	polled    *polled
}

// New makes the source of a checked configuration. It asks nothing yet.
func New(cfg Config, d kube.Deps) (*Source, error) {
	s := &Source{cfg: cfg, deps: d, all: table, forms: cfg.forms(), on: cfg.on(), off: cfg.without(), metrics: newSelfMetrics()}
	for _, k := range watched(s.on) {
		if cfg.Enabled && (k.namespaced || len(cfg.Namespaces) == 0) {
			s.kinds = append(s.kinds, k)
		}
	}
	if cfg.Enabled {
		if err := s.addCustom(); err != nil {
			return nil, err
		}
	}
	s.scope = otlp.NewGroup(nil, otlp.SchemaURL, scopeName, d.Version)
	if err := s.metrics.register(d.Registerer, s); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	return s, nil
}

// addCustom adds the kinds and metrics of custom resources.
func (s *Source) addCustom() error {
	s.all = slices.Clip(s.all)
	for i := range s.cfg.CustomResources {
		c := &s.cfg.CustomResources[i]
		k, err := s.customKind(c, len(s.all))
		if err != nil {
			return fmt.Errorf("state.custom_resources[%d]: %w", i, err)
		}
		s.kinds = append(s.kinds, k)
		for j := range c.Metrics {
			m := c.Metrics[j].metric(k.name)
			s.all, s.on, s.forms = append(s.all, m), append(s.on, true), append(s.forms, []otlp.Head{otlp.NewHead(m.Metric)})
		}
	}
	return nil
}

// Run works until ctx ends.
func (s *Source) Run(ctx context.Context) error {
	t := s.newTerm()
	s.mu.Lock()
	s.term = t
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.term = nil
		s.mu.Unlock()
	}()
	s.deps.Progress.Every(s.cfg.Interval)

	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	s.read(ctx, t, &wg)
	var few, many []*store
	for _, st := range t.stores {
		if st.kind.name == pods {
			many = append(many, st)
		} else if st.kind.metrics != "" {
			few = append(few, st)
		}
	}
	wg.Go(func() {
		s.newEmitter(t, few, s.deps.Progress.Done).run(ctx, func() time.Duration { return s.cfg.Interval })
	})
	if len(many) > 0 {
		wg.Go(func() { s.newEmitter(t, many, func() {}).run(ctx, s.podInterval(many)) })
	}
	wg.Wait()
	return nil
}

// read starts the reflectors.
func (s *Source) read(ctx context.Context, t *term, wg *sync.WaitGroup) {
	namespaces := s.cfg.Namespaces
	if len(namespaces) == 0 {
		namespaces = []string{""}
	}
	for _, k := range s.kinds {
		for i, st := range t.byKind[k.name] {
			if k.tally != nil {
				wg.Go(func() { s.poll(ctx, t, st, namespaces[i]) })
				continue
			}
			if k.custom != nil {
				wg.Go(func() { s.followCustom(ctx, st, namespaces[i]) })
				continue
			}
			wg.Go(func() { s.reflect(ctx, st, namespaces[i], s.reader(k, namespaces[i])) })
		}
	}
}

// reader reads the objects of a kind. Of pods, of which there are most, it decodes only what rows need.
func (s *Source) reader(k *kind, namespace string) listWatch {
	if k.name == pods {
		if r, err := podsOf(s.deps.Client, namespace, podCut(s.cfg, s.on)); err == nil {
			return r
		}
	}
	return k.api(s.deps.Client, namespace)
}

// newTerm makes empty stores.
func (s *Source) newTerm() *term {
	t := &term{byKind: map[string][]*store{}}
	t.endpoints = &endpoints{services: map[serviceName]map[key]*slice{}, texts: map[serviceName]text{}, b: s.newBuilder("")}
	t.polled = &polled{counts: map[string]map[string]int64{}, b: s.newBuilder("")}
	for _, k := range s.kinds {
		for range max(1, len(s.cfg.Namespaces)) {
			st := newStore(k, s.newBuilder(k.metrics))
			switch k.name {
			case "services":
				st.complete = t.endpoints.complete
			case "endpointslices":
				st.change = t.endpoints.change
			case "nodes":
				st.complete = t.polled.node
			case "namespaces":
				st.complete = t.polled.namespace
			}
			if k.custom != nil {
				st.full = s.fullKind(k)
			}
			t.stores = append(t.stores, st)
			t.byKind[k.name] = append(t.byKind[k.name], st)
		}
	}
	return t
}

// fullKind counts objects for whose points there is no room, and says so once a term.
func (s *Source) fullKind(k *kind) func() {
	var told sync.Once
	return func() {
		s.metrics.leftOut.WithLabelValues("limit").Inc()
		told.Do(func() {
			s.deps.Log.Warn("a custom resource has more series than are sent; those of the objects that came last are missing", "kind", k.name, "limit", maxKindSeries)
		})
	}
}

// newBuilder makes one for a kind, as the table names it.
func (s *Source) newBuilder(kind string) builder {
	return builder{cfg: &s.cfg, on: s.on, kind: kind, all: s.all, off: s.off}
}

// podInterval is how often pods are sent.
func (s *Source) podInterval(stores []*store) func() time.Duration {
	told := false
	return func() time.Duration {
		if s.cfg.PodInterval != 0 {
			return s.cfg.PodInterval
		}
		n := 0
		for _, st := range stores {
			n += st.size()
		}
		if n < manyPods {
			return s.cfg.Interval
		}
		if !told && s.cfg.Interval < manyPodsInterval {
			told = true
			s.deps.Log.Warn("there are so many pods that they are sent less often; state.pod_interval sets how often", "pods", n, "interval", manyPodsInterval)
		}
		return max(s.cfg.Interval, manyPodsInterval)
	}
}

// topOwner finds who is behind a controller: the deployment behind a replica set, the cron job behind
// a job. Others stand for themselves.
func (t *term) topOwner(h ownerHandle) ownerHandle {
	if h == noOwner {
		return h
	}
	o := h.Value()
	var stores []*store
	switch o.kind {
	case ownerReplicaSet:
		stores = t.byKind["replicasets"]
	case ownerJob:
		stores = t.byKind["jobs"]
	}
	for _, st := range stores {
		if of := st.owner(o.key); of != noOwner {
			return of
		}
	}
	return h
}

// Settled implements otlp.Origin: points are of their moment, what is not delivered is counted.
func (s *Source) Settled(c *otlp.Chunk, o otlp.Outcome) {
	s.metrics.settled[o].Add(float64(c.Records))
}

// selfMetrics are the source's own.
type selfMetrics struct {
	settled  [3]prometheus.Counter
	skipped  *prometheus.CounterVec
	failures *prometheus.CounterVec
	unclosed prometheus.Counter
	leftOut  *prometheus.CounterVec
	outcome  *prometheus.CounterVec
}

func newSelfMetrics() selfMetrics {
	m := selfMetrics{
		outcome: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "stint_state_points_total", Help: "Points of the cluster's objects by what became of them: delivered, dropped (refused by a destination), aborted (not sent: the process or its lease ended).",
		}, []string{"outcome"}),
		skipped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "stint_state_skipped_intervals_total", Help: "Intervals in which not all objects were sent, by reason: memory (destinations are behind), late (the interval before took too long), lease (it was not held).",
		}, []string{"reason"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "stint_state_list_failures_total", Help: "Lists and watches of a kind that the API server refused or that failed.",
		}, []string{"kind"}),
		unclosed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "stint_state_unclosed_objects_total", Help: "Objects that went while so many others did that their series were not closed; they end by themselves later.",
		}),
	}
	m.leftOut = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "stint_state_left_out_values_total", Help: "Fields of custom resources that no points were made of, by reason: type (no value of the kind that the metric wants), limit (too many series of an object, or of the kind).",
	}, []string{"reason"})
	for _, reason := range []string{"type", "limit"} {
		m.leftOut.WithLabelValues(reason)
	}
	for o, name := range map[otlp.Outcome]string{otlp.Delivered: "delivered", otlp.Dropped: "dropped", otlp.Aborted: "aborted"} {
		m.settled[o] = m.outcome.WithLabelValues(name)
	}
	for _, reason := range []string{"memory", "late", "lease"} {
		m.skipped.WithLabelValues(reason)
	}
	return m
}

func (m *selfMetrics) register(reg prometheus.Registerer, s *Source) error {
	for _, c := range []prometheus.Collector{m.outcome, m.skipped, m.failures, m.unclosed, m.leftOut, objects{s}} {
		if err := reg.Register(c); err != nil {
			return err
		}
	}
	return nil
}

// objects tells how many objects are known, when it is asked.
type objects struct{ s *Source }

var objectsDesc = prometheus.NewDesc("stint_state_objects", "Objects of the cluster that are known, by kind; none while another replica is the leader.", []string{"kind"}, nil)

// Describe implements prometheus.Collector.
func (o objects) Describe(ch chan<- *prometheus.Desc) { ch <- objectsDesc }

// Collect implements prometheus.Collector.
func (o objects) Collect(ch chan<- prometheus.Metric) {
	o.s.mu.Lock()
	t := o.s.term
	o.s.mu.Unlock()
	for _, k := range o.s.kinds {
		n := 0
		if t != nil {
			for _, st := range t.byKind[k.name] {
				n += st.size()
			}
		}
		ch <- prometheus.MustNewConstMetric(objectsDesc, prometheus.GaugeValue, float64(n), k.name)
	}
}
