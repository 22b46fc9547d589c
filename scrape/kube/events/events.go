// Package events sends the events of a Kubernetes cluster as log records.
//
// An event is one object that its reporter writes anew each time that the same thing happens, with a
// count. It is sent when it is seen first, and when its count has grown, with the difference: at once,
// then after 10 seconds, then each minute while it goes on. No event object is kept but those that wait
// for their turn; a [ring] remembers the counts. What the API server deletes after an hour is no news.
//
// The order is that of resourceVersions; clocks decide nothing. The checkpoint has the version up to
// which everything is acknowledged, and the counts that are: a restart, or the next leader, reads on
// from the version and leaves out what the counts say was sent. An event that waits holds back the
// version, not the counts.
package events

import (
	"context"
	"encoding/json"
	"errors"
	"hash/fnv"
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
)

const (
	scope = "stint/scrape/kube/events"
	// maxGroups bounds the resources that are kept encoded, one an object.
	maxGroups = 4096
	// maxLedger is how many records may be acknowledged out of order before what waits is sent at once.
	maxLedger = 50_000
	// lastWords is the time in which what waits is handed over when a term ends.
	lastWords = 500 * time.Millisecond
	// firstRetry is doubled up to five minutes.
	firstRetry = 2 * time.Second
	awayRetry  = 10 * time.Second
)

// Source reads events while this replica leads.
type Source struct {
	cfg     Config
	d       kube.Deps
	api     *follow.API
	emitter *follow.Emitter
	store   *checkpoint.Store
	metrics metrics
	every   time.Duration // between two checkpoints
	retry   time.Duration // before events are looked for again where there are none
	asking  time.Duration // for the kinds of object
	windows [2]time.Duration

	mu      sync.Mutex // guards everything below, which is of one term
	begun   bool       // what is below is of the term whose checkpoint is open
	ring    *ring
	groups  map[string]*otlp.Group
	targets map[string]*target // by namespace
	kept    map[string]follow.Position
}

type metrics struct {
	seen, records prometheus.Counter
	left          *prometheus.CounterVec
	gaps          prometheus.Counter
}

// New registers the source's metrics.
func New(cfg Config, d kube.Deps) (*Source, error) {
	if cfg.CheckpointNamespace == "" {
		return nil, errors.New("events.checkpoint_namespace: empty, and this is no pod; set it")
	}
	s := &Source{
		cfg: cfg, d: d, api: follow.NewAPI(d.Client), emitter: follow.NewEmitter(d),
		store: checkpoint.New(d.Client.Typed, cfg.CheckpointNamespace, cfg.CheckpointName, "events", d.Log, d.Registerer),
		every: checkpoint.Every, retry: follow.RetryMissing, asking: time.Minute, windows: [2]time.Duration{firstWindow, repeatWindow},
	}
	s.metrics = metrics{
		seen:    prometheus.NewCounter(prometheus.CounterOpts{Name: "stint_events_seen_total", Help: "Changes of events that the API server sent."}),
		records: prometheus.NewCounter(prometheus.CounterOpts{Name: "stint_events_records_total", Help: "Records made of events."}),
		left: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "stint_events_left_out_total",
			Help: "Changes of events that no record was made of, by reason: deleted, unchanged (the count did not grow, or was sent before a restart), merged (the next record has their count), filtered, before (there at the very first start), malformed.",
		}, []string{"reason"}),
		gaps: prometheus.NewCounter(prometheus.CounterOpts{Name: "stint_events_gaps_total", Help: "Times at which events may be missing or come twice; each is a record stint.watch.gap, too."}),
	}
	d.Registerer.MustRegister(s.metrics.seen, s.metrics.records, s.metrics.left, s.metrics.gaps)
	return s, nil
}

// state is what the checkpoint keeps.
type state struct {
	At     map[string]follow.Position `json:"at"`     // by namespace
	Counts []byte                     `json:"counts"` // ring.digest
}

// Run follows events until ctx ends.
func (s *Source) Run(ctx context.Context) error {
	if !s.d.Live() {
		return follow.ErrAborted
	}
	s.mu.Lock()
	s.begun = false // what the term before knew must not be written once the checkpoint is opened anew
	s.mu.Unlock()
	raw, lost, err := s.store.Open(ctx, s.d.Term())
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	var was state
	ring := newRing()
	if len(raw) > 0 {
		if err := errors.Join(json.Unmarshal(raw, &was), ring.load(was.Counts)); err != nil {
			lost, was, ring = err.Error(), state{}, newRing()
			s.d.Log.Error("checkpoint can't be used; it begins anew: what happened since may be missing or come twice", "err", err)
		}
	}
	s.mu.Lock()
	s.begun, s.ring, s.groups, s.targets, s.kept = true, ring, map[string]*otlp.Group{}, map[string]*target{}, was.At
	s.mu.Unlock()

	run, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var readers, helpers sync.WaitGroup
	helpers.Go(func() { s.emitter.Run(run) })
	helpers.Go(func() { s.turns(run, fail) })
	helpers.Go(func() {
		if err := s.store.Keep(run, s.every, s.state); err != nil {
			fail(err)
		}
	})
	readers.Go(func() { s.follow(run, fail, lost) })
	readers.Wait()
	fail(nil)
	helpers.Wait()
	if s.d.Live() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
		defer cancel()
		_ = s.takeTurns(last, true) // what is not handed over is not acknowledged: the next leader reads it again
	}
	s.emitter.Close()
	if err := context.Cause(run); ctx.Err() == nil {
		return err
	}
	return nil
}

// Handover keeps how far everything is acknowledged.
func (s *Source) Handover(ctx context.Context) error {
	s.mu.Lock()
	begun := s.begun
	s.mu.Unlock()
	if !begun {
		return nil
	}
	return s.store.Save(ctx, s.state())
}

// state is what is kept. The versions are read before the counts: what is acknowledged in between is
// read again and left out.
func (s *Source) state() []byte {
	s.mu.Lock()
	targets := maps.Clone(s.targets)
	now := state{At: map[string]follow.Position{}}
	maps.Copy(now.At, s.kept)
	s.mu.Unlock()
	for ns, t := range targets {
		now.At[ns] = t.ledger.Frontier()
	}
	maps.DeleteFunc(now.At, func(ns string, at follow.Position) bool {
		return at == follow.Position{} || !slices.Contains(s.namespaces(), ns) // not yet, or not any more
	})
	s.mu.Lock()
	now.Counts = s.ring.digest()
	s.mu.Unlock()
	b, _ := json.Marshal(now) // strings and bytes
	return b
}

func (s *Source) namespaces() []string {
	if len(s.cfg.Namespaces) == 0 {
		return []string{""}
	}
	return s.cfg.Namespaces
}

// follow watches events in one of the two APIs that have them, the same in both: core/v1 if it is
// there.
func (s *Source) follow(ctx context.Context, fail context.CancelCauseFunc, lost string) {
	wait := s.retry
	for said := false; ctx.Err() == nil; {
		var found follow.Resource
		asking, cancel := context.WithTimeout(ctx, s.asking)
		kinds, err := follow.Discover(asking, s.d.Client)
		cancel()
		if err == nil {
			s.d.Progress.Listed("kinds of object", nil)
			found, err = kinds.Find("events", "", "")
		}
		if err == nil {
			began := time.Now()
			if err = s.watch(ctx, fail, found, lost); time.Since(began) >= s.retry {
				said = false
			}
			if !errors.Is(err, follow.ErrNoResource) {
				fail(err)
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
				s.d.Log.Warn("the API server has no events; they are looked for again every 5 minutes", "err", err)
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

// watch follows events in all namespaces that are wanted.
func (s *Source) watch(ctx context.Context, fail context.CancelCauseFunc, found follow.Resource, lost string) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var wg sync.WaitGroup
	for _, ns := range s.namespaces() {
		wg.Go(func() {
			if err := s.target(ns, fail).run(ctx, follow.Target{Resource: found, Namespace: ns}, lost); err != nil {
				stop(err)
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// target is where a namespace's events are followed.
func (s *Source) target(ns string, fail context.CancelCauseFunc) *target {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.targets[ns]
	if t == nil {
		at := s.kept[ns]
		h := fnv.New32a()
		h.Write([]byte("events/" + ns))
		t = &target{s: s, namespace: ns, fail: fail, lane: h.Sum32(), first: at == follow.Position{} || at.Listing && at.Since == ""}
		t.ledger.Reset(at)
		s.targets[ns] = t
	}
	return t
}

// turns sends what waited long enough.
func (s *Source) turns(ctx context.Context, fail context.CancelCauseFunc) {
	tick := time.NewTicker(s.windows[0] / 10)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if err := s.takeTurns(ctx, false); err != nil && ctx.Err() == nil {
			fail(err)
		}
	}
}

// takeTurns sends what is due, or everything that waits.
func (s *Source) takeTurns(ctx context.Context, all bool) error {
	now := time.Now()
	s.mu.Lock()
	var due []turn
	for name, p := range s.ring.pending {
		if all || !p.due.After(now) {
			delete(s.ring.pending, name)
			due = append(due, turn{p, s.ring.taking(name, p.e.count(), now, s.windows[1])})
		}
	}
	s.mu.Unlock()
	for _, t := range due {
		if err := t.send(ctx); err != nil {
			return err
		}
	}
	return nil
}

// taking notes that a record with a count is made, after which none is for a window. It returns by how
// much the count has grown.
func (r *ring) taking(name uint64, count int64, now time.Time, window time.Duration) (delta int64) {
	e := r.get(name)
	delta = count - e.taken
	e.taken, e.sent, e.window = count, now, window
	return delta
}

// group is the resource of an event.
func (s *Source) group(e *event) *otlp.Group {
	o := e.InvolvedObject
	key := strings.Join([]string{o.APIVersion, o.Kind, o.Namespace, o.Name, o.UID, o.FieldPath, e.Source.Host}, "\x00")
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.groups[key]
	if g == nil {
		g = otlp.NewGroup(e.resource(), otlp.SchemaURL, scope, s.d.Version)
		if len(s.groups) >= maxGroups {
			clear(s.groups)
		}
		s.groups[key] = g
	}
	return g
}
