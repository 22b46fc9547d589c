package kubelet

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// maxPods bounds the table. A node runs 110 pods by default, some run 500; the rest is room
	// for those that were deleted lately.
	maxPods = 4096
	// maxAsked bounds what is remembered of uids that /pods does not know.
	maxAsked = 4096
)

// pace is how often things are done. Only tests have another one than the default.
type pace struct {
	poll     time.Duration // between two polls
	refused  time.Duration // between two polls while the kubelet refuses us
	gap      time.Duration // at least, between two polls, when somebody asked for one
	absent   time.Duration // between two tries of a socket that is not there or not for us
	retryMin time.Duration // before a watch that ended is tried again; doubles
	retryMax time.Duration
	keep     time.Duration // how long a deleted pod is kept
	sweep    time.Duration // between two looks for deleted pods to forget
}

// A poll costs the kubelet about 4 ms for 24 pods. A refusal costs it a question to the API
// server, so those polls are few. The logs of a deleted pod are gone after some seconds, but those
// of a completed pod, which the Pods API also reports as deleted, stay until somebody deletes it.
var defaultPace = pace{
	poll: 10 * time.Second, refused: time.Minute, gap: time.Second, absent: time.Minute,
	retryMin: 100 * time.Millisecond, retryMax: 30 * time.Second,
	keep: 10 * time.Minute, sweep: time.Minute,
}

// The sources of pods, as Status names them.
const (
	sourceNone  = "none"
	sourceWatch = "pods-api"
	sourcePoll  = "pods"
)

// Pods is the live table of this node's pods.
//
// It is fed by a watch of the Pods API while that works, which it does from the kubelet's first
// INITIAL_SYNC_COMPLETE to the end of the stream. Meanwhile, nothing else is asked. At all other
// times GET /pods is polled, and the socket tried again: soon and then ever less often after a watch that
// ended, once a minute if it is missing, refused or serves something else.
//
// Either source, when it begins, tells of all pods; those it does not tell of are deleted. A deleted
// pod stays for ten minutes, because its logs may still be read.
type Pods struct {
	cfg     Config
	client  *Client
	log     *slog.Logger
	metrics *metrics
	pace    pace
	wanted  chan struct{} // somebody asked for a poll
	down    chan struct{} // the watch does not work

	decode sync.Mutex // guards texts
	texts  texts

	mu         sync.RWMutex // guards everything below
	pods       map[string]*entry
	asked      map[string]struct{} // uids that a poll was wanted for and that are not known
	watching   bool
	epoch      int // counts watches that began to work: a poll from before that is outdated
	source     string
	lastUpdate time.Time
	noWatch    string // why the watch does not work, or did not last
	lastError  string
	lastErrAt  time.Time
	said       map[string]*throttle // by reason
}

// entry is a row of the table.
type entry struct {
	pod  *Pod
	gone time.Time // when it was deleted; zero: it is not
}

// NewPods makes an empty table; Run fills it.
func NewPods(cfg Config, client *Client, log *slog.Logger, reg prometheus.Registerer) (*Pods, error) {
	p := &Pods{
		cfg: cfg, client: client, log: log, pace: defaultPace,
		wanted: make(chan struct{}, 1), down: make(chan struct{}, 1),
		texts: texts{}, pods: map[string]*entry{}, asked: map[string]struct{}{}, source: sourceNone, said: map[string]*throttle{},
	}
	p.metrics = newMetrics(p)
	return p, p.metrics.register(reg)
}

// Run keeps the table until ctx ends, and leaves no goroutine or connection behind.
func (p *Pods) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { p.watchAgain(ctx) })
	wg.Go(func() { p.pollAgain(ctx) })
	wg.Go(func() {
		tick := time.NewTicker(p.pace.sweep)
		defer tick.Stop()
		for {
			select {
			case now := <-tick.C:
				p.forget(now)
			case <-ctx.Done():
				return
			}
		}
	})
	wg.Wait()
	p.client.closeIdle()
}

// Lookup gives the pod whose uid stands in the path of its logs, deleted ones for some time
// too; nil if there is none. As long as nothing changes it is the same pointer.
func (p *Pods) Lookup(uid string) *Pod {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if e := p.pods[uid]; e != nil {
		return e.pod
	}
	return nil
}

// Want says that a uid has appeared that Lookup may not know yet. While /pods is polled, the next
// poll comes at once, but no sooner than a second after the last, and once only for each uid: a
// directory that the kubelet has forgotten costs no polls. A watch needs no asking.
func (p *Pods) Want(uid string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, again := p.asked[uid]; again || p.watching || p.pods[uid] != nil {
		return
	}
	if len(p.asked) >= maxAsked {
		return // the regular poll is 10 s away at most
	}
	p.asked[uid] = struct{}{}
	select {
	case p.wanted <- struct{}{}:
	default:
	}
}

// All gives the pods that are not deleted, in no order.
func (p *Pods) All() []*Pod {
	p.mu.RLock()
	defer p.mu.RUnlock()
	all := make([]*Pod, 0, len(p.pods))
	for _, e := range p.pods {
		if e.gone.IsZero() {
			all = append(all, e.pod)
		}
	}
	return all
}

// Status is where pods come from and how that goes.
type Status struct {
	Source        string    `json:"source"`  // pods-api, pods or none
	Pods          int       `json:"pods"`    // not deleted
	Deleted       int       `json:"deleted"` // still kept
	Trimmed       int       `json:"trimmed"` // of both: not wholly kept, see Pod
	LastUpdate    time.Time `json:"last_update,omitzero"`
	LastError     string    `json:"last_error,omitempty"` // it may be past: compare the times
	LastErrorTime time.Time `json:"last_error_time,omitzero"`
}

// Status may be called from any goroutine.
func (p *Pods) Status() Status {
	p.mu.RLock()
	defer p.mu.RUnlock()
	s := Status{Source: p.source, LastUpdate: p.lastUpdate, LastError: p.lastError, LastErrorTime: p.lastErrAt}
	for _, e := range p.pods {
		if e.gone.IsZero() {
			s.Pods++
		} else {
			s.Deleted++
		}
		if e.pod.Trimmed > 0 {
			s.Trimmed++
		}
	}
	return s
}

// put takes over a pod's state. p.mu is held.
func (p *Pods) put(pod *Pod, source string) {
	e := p.pods[pod.UID]
	switch {
	case e == nil:
		if len(p.pods) >= maxPods && !p.evict() {
			p.metrics.evicted.WithLabelValues("full").Inc()
			return
		}
		p.pods[pod.UID] = &entry{pod: pod}
		delete(p.asked, pod.UID)
	case pod.mirror && !e.pod.mirror:
		return // the static pod itself knows better
	case !e.pod.same(pod):
		e.pod, e.gone = pod, time.Time{}
	case !e.gone.IsZero():
		e.gone = time.Time{}
	default:
		return
	}
	p.metrics.updates.WithLabelValues(source).Inc()
}

// remove marks a pod as deleted. p.mu is held.
func (p *Pods) remove(uid, source string, now time.Time) {
	if e := p.pods[uid]; e != nil && e.gone.IsZero() {
		e.gone = now
		p.metrics.updates.WithLabelValues(source).Inc()
	}
}

// reconcile deletes what a source that told of all pods did not tell of. p.mu is held.
func (p *Pods) reconcile(seen map[string]struct{}, source string, now time.Time) {
	for uid := range p.pods {
		if _, ok := seen[uid]; !ok {
			p.remove(uid, source, now)
		}
	}
}

// evict makes room by forgetting the pod that was deleted first; false if none was. p.mu is held.
func (p *Pods) evict() bool {
	oldest := ""
	for uid, e := range p.pods {
		if !e.gone.IsZero() && (oldest == "" || e.gone.Before(p.pods[oldest].gone)) {
			oldest = uid
		}
	}
	if oldest == "" {
		return false
	}
	delete(p.pods, oldest)
	p.metrics.evicted.WithLabelValues("early").Inc()
	return true
}

// forget ends the time of pods that were deleted long ago, and lets uids be asked for again.
func (p *Pods) forget(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for uid, e := range p.pods {
		if !e.gone.IsZero() && now.Sub(e.gone) >= p.pace.keep {
			delete(p.pods, uid)
		}
	}
	clear(p.asked)
}

// from notes that a source works, or that none does, and logs when that is news. p.mu is held.
func (p *Pods) from(source string) {
	if source == p.source {
		return
	}
	keys := []any{"source", source, "before", p.source, "pods", len(p.pods)}
	switch source {
	case sourcePoll:
		keys = append(keys, "why", p.noWatch)
	case sourceNone:
		keys = append(keys, "why", p.lastError)
	}
	p.log.Info("source of pod metadata changed", keys...)
	p.source = source
}

// failed counts an error and logs it, if it was not said lately.
func (p *Pods) failed(err error) {
	reason, now := reasonOf(err), time.Now()
	p.metrics.failures.WithLabelValues(reason).Inc()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lastError, p.lastErrAt = err.Error(), now
	t := p.said[reason]
	if t == nil {
		t = &throttle{}
		p.said[reason] = t
	}
	if held, ok := t.ok(now, p.lastError); ok {
		p.log.Warn("kubelet could not be asked for pods", "reason", reason, "err", err, "held_back", held)
	}
}

// throttle lets the first error be logged, then one a minute when its text changes, and one an
// hour when it does not.
type throttle struct {
	last time.Time
	text string
	held int
}

func (t *throttle) ok(now time.Time, text string) (held int, ok bool) {
	wait := time.Minute
	if text == t.text {
		wait = time.Hour
	}
	if !t.last.IsZero() && now.Sub(t.last) < wait {
		t.held++
		return 0, false
	}
	held = t.held
	t.last, t.text, t.held = now, text, 0
	return held, true
}
