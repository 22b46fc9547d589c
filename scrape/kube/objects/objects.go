// Package objects sends the objects of the Kubernetes API as log records: all of a kind each interval
// (pull), or each change of them (watch).
//
// An object's JSON becomes an OTLP value byte by byte; one object a target is in memory at a time, and
// what is encoded waits in pooled memory. When that is full, reading stops: the API server is the
// queue. A pull goes on to the next page when the last one is acknowledged. How far each target is
// acknowledged is kept in a ConfigMap, at most 5 seconds old; a restart, or the next leader, repeats
// what is newer than that and misses nothing.
package objects

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stint/export/otlp"
	"stint/scrape/kube"
	"stint/scrape/kube/checkpoint"
	"stint/scrape/kube/follow"
	"stint/scrape/kube/rawjson"
)

const (
	scope = "stint/scrape/kube/objects"
	// maxGroups bounds the resources that are kept encoded, one a namespace.
	maxGroups = 10_000
	// maxNames is how much of the checkpoint, which is some 690 KB, names of objects may take: those of
	// 8,000 with names of 30 letters.
	maxNames = 440_000
	// firstRetry is doubled up to five minutes.
	firstRetry = 2 * time.Second
	awayRetry  = 10 * time.Second
)

// Source reads objects while this replica leads.
type Source struct {
	cfg     Config
	d       kube.Deps
	api     *follow.API
	emitter *follow.Emitter
	store   *checkpoint.Store
	drops   []*rawjson.Paths // by index of cfg.Resources
	metrics metrics
	every   time.Duration // between two checkpoints
	retry   time.Duration // before a kind that is missing is looked for again
	idle    time.Duration // of a watch; 0: two minutes
	page    int           // objects of a page of a list; 0: 500

	asking sync.Mutex // guards kinds and asked, and is held while the server is asked
	kinds  *follow.Kinds
	asked  time.Time // when the kinds were

	mu     sync.Mutex // guards everything below, which is of one term
	groups map[string]*otlp.Group
	kept   map[string]json.RawMessage // of the checkpoint that was opened, by key
	states map[string]func() any      // of what is followed, by key; nil: not yet
	fail   context.CancelCauseFunc
}

type metrics struct {
	records                  *prometheus.CounterVec
	truncated, skipped, gaps prometheus.Counter
}

// New registers the source's metrics.
func New(cfg Config, d kube.Deps) (*Source, error) {
	s := &Source{cfg: cfg, d: d, api: follow.NewAPI(d.Client), emitter: follow.NewEmitter(d), every: checkpoint.Every, retry: follow.RetryMissing}
	if cfg.CheckpointNamespace == "" {
		return nil, errors.New("objects.checkpoint_namespace: empty, and this is no pod; set it")
	}
	s.store = checkpoint.New(d.Client.Typed, cfg.CheckpointNamespace, cfg.CheckpointName, "objects", d.Log, d.Registerer)
	for _, r := range cfg.Resources {
		drop, err := rawjson.ParsePaths(slices.Concat(cfg.Drop, r.Drop))
		if err != nil {
			return nil, err
		}
		s.drops = append(s.drops, drop)
	}
	s.metrics = metrics{
		records: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "stint_objects_records_total", Help: "Records made of objects, by kind of object.",
		}, []string{"resource"}),
		truncated: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "stint_objects_truncated_total", Help: "Objects that were longer than 1 MiB and were sent without their end.",
		}),
		skipped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "stint_objects_skipped_total", Help: "Objects that were not sent because they are no JSON, or longer than 32 MiB.",
		}),
		gaps: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "stint_objects_gaps_total", Help: "Times at which changes of objects may be missing; each is a record stint.watch.gap, too.",
		}),
	}
	d.Registerer.MustRegister(s.metrics.records, s.metrics.truncated, s.metrics.skipped, s.metrics.gaps)
	return s, nil
}

// Run follows everything until ctx ends.
func (s *Source) Run(ctx context.Context) error {
	if len(s.cfg.Resources) == 0 {
		<-ctx.Done()
		return nil
	}
	if !s.d.Live() {
		return follow.ErrAborted
	}
	s.mu.Lock()
	s.states = nil // what the term before knew must not be written once the checkpoint is opened anew
	s.mu.Unlock()
	state, lost, err := s.store.Open(ctx, s.d.Term())
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	kept := map[string]json.RawMessage{}
	if err := json.Unmarshal(state, &kept); err != nil && len(state) > 0 {
		lost = err.Error()
		s.d.Log.Error("checkpoint can't be used; it begins anew: what happened since may be missing or come twice", "err", err)
	}
	run, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	s.begin(kept, fail)
	var readers, helpers sync.WaitGroup
	helpers.Go(func() { s.emitter.Run(run) })
	helpers.Go(func() {
		if err := s.store.Keep(run, s.every, s.state); err != nil {
			fail(err)
		}
	})
	for i := range s.cfg.Resources {
		readers.Go(func() { s.resource(run, i, lost) })
	}
	readers.Wait()
	fail(nil)
	helpers.Wait()
	s.emitter.Close()
	if err := context.Cause(run); ctx.Err() == nil && err != nil {
		return err
	}
	return nil
}

// begin begins a term.
func (s *Source) begin(kept map[string]json.RawMessage, fail context.CancelCauseFunc) {
	s.asking.Lock()
	s.kinds, s.asked = nil, time.Time{}
	s.asking.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.groups = map[string]*otlp.Group{}
	s.states, s.fail = map[string]func() any{}, fail
	s.kept = map[string]json.RawMessage{}
	for key, state := range kept {
		// Of kinds that are not configured any more nothing is kept; of one that is missing right now,
		// it is.
		if slices.ContainsFunc(s.cfg.Resources, func(r Resource) bool {
			of, ns := r.key(""), key[strings.LastIndexByte(key, '|')+1:]
			return key == of+ns && (ns == "" || slices.Contains(r.Namespaces, ns))
		}) {
			s.kept[key] = state
		}
	}
}

// Handover keeps how far everything is acknowledged.
func (s *Source) Handover(ctx context.Context) error {
	s.mu.Lock()
	begun := s.states != nil
	s.mu.Unlock()
	if !begun {
		return nil
	}
	return s.store.Save(ctx, s.state())
}

// state is what is kept. Objects by name are kept of the smallest kinds first, as far as there is room.
func (s *Source) state() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string]any{}
	room := maxNames
	for key, state := range s.kept {
		if s.states[key] == nil {
			room -= len(state)
			all[key] = state
		}
	}
	type names struct {
		*watched
		bytes int
	}
	var named []names
	for _, key := range slices.Sorted(maps.Keys(s.states)) {
		now := s.states[key]()
		if now != nil {
			all[key] = now
		} else if state := s.kept[key]; state != nil {
			all[key] = state
		}
		if w, ok := now.(*watched); ok && w.Objects != nil {
			named = append(named, names{w, w.Objects.Bytes()})
		}
	}
	slices.SortStableFunc(named, func(a, b names) int { return cmp.Compare(a.bytes, b.bytes) })
	for _, n := range named {
		if room -= n.bytes; room < 0 {
			n.Objects = nil
		}
	}
	b, _ := json.Marshal(all) // of structs of strings and numbers
	return b
}

// last is what was kept of a key last, nil if there is nothing.
func (s *Source) last(key string) json.RawMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	if state := s.states[key]; state != nil { // the kind was missing for a while
		if now := state(); now != nil {
			b, _ := json.Marshal(now)
			return b
		}
	}
	return s.kept[key]
}

// find looks for a kind of object in what the server had up to so long ago.
func (s *Source) find(ctx context.Context, r Resource, age time.Duration) (follow.Resource, error) {
	s.asking.Lock()
	defer s.asking.Unlock()
	if ctx.Err() != nil {
		return follow.Resource{}, ctx.Err()
	}
	if s.kinds == nil || time.Since(s.asked) >= age {
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		kinds, err := follow.Discover(ctx, s.d.Client)
		if err != nil {
			return follow.Resource{}, err
		}
		if kinds.Failed != nil {
			s.d.Log.Warn("some API groups can't be looked into; kinds of the others are found", "err", kinds.Failed)
		}
		s.kinds, s.asked = kinds, time.Now()
		s.d.Progress.Listed("kinds of object", nil)
	}
	return s.kinds.Find(r.Name, r.Group, r.Version)
}

// resource follows one configured kind, as long as there is one.
func (s *Source) resource(ctx context.Context, i int, lost string) {
	r := s.cfg.Resources[i]
	wait := s.retry
	for said := false; ctx.Err() == nil; {
		found, err := s.find(ctx, r, wait)
		if err == nil && r.watches() && !found.Watchable {
			err = fmt.Errorf("%w that can be watched: %s; use mode: pull", follow.ErrNoResource, found.FullName())
		}
		if err == nil {
			began := time.Now()
			if err = s.kind(ctx, i, found, lost); time.Since(began) >= s.retry {
				said = false
			}
		}
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, follow.ErrNoResource):
			// The first times soon: a server that has just started does not know all at once.
			if wait = min(2*wait, s.retry); !said {
				wait = min(firstRetry, s.retry)
			}
			if !said {
				said = true
				s.d.Log.Warn("the API server has no such kind of object; it is looked for again every 5 minutes", "name", r.Name, "group", r.Group, "version", r.Version, "err", err)
			}
		default:
			s.d.Progress.Listed("kinds of object", err)
			s.d.Log.Warn("kinds of object can't be asked for; it is tried again", "err", err)
			wait = min(awayRetry, s.retry)
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
		}
		t.Stop()
	}
}

// kind follows a kind in all its namespaces, until one of them finds that there is none any more.
func (s *Source) kind(ctx context.Context, i int, found follow.Resource, lost string) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var wg sync.WaitGroup
	for _, ns := range s.cfg.Resources[i].namespaces(found.Namespaced) {
		t := newTarget(s, i, found, ns)
		wg.Go(func() {
			if err := t.run(ctx, lost); err != nil {
				stop(err)
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// group is the resource that the objects of a namespace are under.
func (s *Source) group(namespace string) *otlp.Group {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.groups[namespace]
	if g == nil {
		var resource []otlp.KeyValue
		if namespace != "" {
			resource = append(resource, otlp.Attr("k8s.namespace.name", namespace))
		}
		g = otlp.NewGroup(resource, otlp.SchemaURL, scope, s.d.Version)
		if len(s.groups) >= maxGroups {
			clear(s.groups)
		}
		s.groups[strings.Clone(namespace)] = g
	}
	return g
}
