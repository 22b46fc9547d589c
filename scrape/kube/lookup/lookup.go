// Package lookup tells which pod telemetry comes from, for what a gateway receives: by the names in its resource,
// else by the address that the request came from. Only what is seen is asked for, one object at a time, so that no
// replica has to watch the cluster's pods.
package lookup

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stint/export/otlp"
	"stint/scrape/kube"
)

const (
	// maxEntries are known at a time, each of some 2 KB.
	maxEntries = 20_000
	// goodFor is how long an answer counts: labels change.
	goodFor = 10 * time.Minute
	// sureFor is how long an address surely is the same pod's, whatever connections begin meanwhile.
	sureFor = 30 * time.Second
	// patience is how long a request waits for an answer; then it goes on without.
	patience = time.Second
	// maxWaiting are questions that wait to be asked, of addresses and of names.
	maxWaiting = 1000
	// failedFor is how long a question that nobody answered is not asked again.
	failedFor = 10 * time.Second
)

// Client is who sent a request.
type Client struct {
	Address   string    // without a port
	Connected time.Time // when its connection began
	Stint     bool      // it is one of stint's own, and has told of its pods what it knows
}

// kind is what a question is about.
type kind uint8

const (
	address kind = iota
	pod
	namespace
	node
)

// key is a question.
type key struct {
	kind            kind
	namespace, name string // name: the address of address
}

// Lookup adds to resources what they lack. Make one with New; Run asks.
type Lookup struct {
	cfg      Config
	client   *kube.Client
	log      *slog.Logger
	outcomes *prometheus.CounterVec
	// Questions that wait: about addresses, each of which costs the API server a search through all pods, and
	// about names.
	addresses, names chan key

	mu      sync.Mutex // guards everything below
	entries map[key]*entry
}

// entry is an answer, or a question under way.
type entry struct {
	known  chan struct{} // closed when there is an answer, or none can be had
	asked  bool          // a question is under way
	failed bool          // it was, and nobody answered
	again  time.Time     // with failed: when to ask again
	at     time.Time     // when it was answered
	used   time.Time
	answer answer
}

// answer is what is known of an object. The zero answer: there is none, or it can't be told.
type answer struct {
	editor *otlp.Editor // nil: nothing to add
	uid    string       // of a pod
	of     key          // of an address: the pod
	attrs  []otlp.KeyValue
}

// New makes a Lookup that has asked nothing yet.
func New(cfg Config, client *kube.Client, log *slog.Logger, reg prometheus.Registerer) *Lookup {
	l := &Lookup{
		cfg: cfg, client: client, log: log, addresses: make(chan key, maxWaiting), names: make(chan key, maxWaiting), entries: map[key]*entry{},
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "stint_gateway_enriched_resources_total",
			Help: "Resources of requests by what became of them: added (attributes of a pod, a namespace or a node), unknown (nothing is known, or asked for), late (the API server did not answer in time).",
		}, []string{"outcome"}),
	}
	reg.MustRegister(l.outcomes)
	return l
}

// Enrich gives g with what is known added to its resource; g itself where that is nothing. It waits for answers for
// a second at most.
func (l *Lookup) Enrich(ctx context.Context, c Client, g *otlp.Group) *otlp.Group {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	outcome := "unknown"
	for _, q := range questions(g, c, l.cfg) {
		a, ok := l.get(ctx, q)
		if !ok {
			outcome = "late"
			continue
		}
		if a.editor == nil || q.uid != "" && a.uid != q.uid {
			continue
		}
		if more, err := a.editor.Group(g); err == nil {
			g, outcome = more, "added"
		}
		if q.kind == pod || q.kind == address {
			break // it has its namespace's and its node's as well
		}
	}
	l.outcomes.WithLabelValues(outcome).Inc()
	return g
}

// get gives the answer to a question, from what is known or from the API server; ok is false if that can't be
// told in time.
func (l *Lookup) get(ctx context.Context, q question) (_ answer, ok bool) {
	now := time.Now()
	l.mu.Lock()
	e := l.entries[q.key]
	if e == nil {
		l.makeRoom()
		e = &entry{}
		l.entries[q.key] = e
	}
	e.used = now
	answered := !e.at.IsZero()
	sure := answered && (q.since.Before(e.at) || now.Sub(e.at) < sureFor)
	if !sure || now.Sub(e.at) > goodFor {
		l.askFor(q.key, e, now)
	}
	if sure || !e.asked {
		defer l.mu.Unlock()
		return e.answer, sure
	}
	known := e.known
	l.mu.Unlock()
	select {
	case <-known:
	case <-ctx.Done():
		return answer{}, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return e.answer, !e.failed
}

// askFor puts a question on its way, unless it is, or was in vain a moment ago. Needs l.mu.
func (l *Lookup) askFor(k key, e *entry, now time.Time) {
	if e.asked || e.failed && now.Before(e.again) {
		return
	}
	to := l.names
	if k.kind == address {
		to = l.addresses
	}
	select {
	case to <- k:
		e.asked, e.known = true, make(chan struct{})
	default: // too many wait
	}
}

// makeRoom forgets one of several entries, that which was not used for the longest time, when there are too many.
// Needs l.mu.
func (l *Lookup) makeRoom() {
	if len(l.entries) < maxEntries {
		return
	}
	var oldest key
	var of *entry
	looked := 0
	for k, e := range l.entries { // in no order
		if !e.asked && (of == nil || e.used.Before(of.used)) {
			oldest, of = k, e
		}
		if looked++; looked == 32 {
			break
		}
	}
	if of != nil {
		delete(l.entries, oldest)
	}
}

// question is what to look for.
type question struct {
	key
	uid   string    // what a pod must have; empty: any
	since time.Time // an older answer has to be looked at again; zero: any will do
}

// questions are what a resource allows to ask. What names a namespace or a node, but no pod, is not of the pod that sent
// it: an agent sends for others.
func questions(g *otlp.Group, c Client, cfg Config) (all []question) {
	var ns, name, uid, on, ip string
	g.Attributes(func(k string, v otlp.Value) {
		switch k {
		case "k8s.namespace.name":
			ns = v.Text()
		case "k8s.pod.name":
			name = v.Text()
		case "k8s.pod.uid":
			uid = v.Text()
		case "k8s.node.name":
			on = v.Text()
		case "k8s.pod.ip":
			ip = v.Text()
		}
	})
	if name != "" && ns != "" && !c.Stint {
		all = append(all, question{key: key{pod, ns, name}, uid: uid})
	}
	if name == "" && uid == "" && ns == "" && on == "" && !c.Stint {
		q := question{key: key{kind: address, name: c.Address}, since: c.Connected}
		if ip != "" {
			q.name, q.since = ip, time.Time{}
		}
		if a, err := netip.ParseAddr(q.name); err == nil && !a.IsLoopback() {
			q.name = a.Unmap().String()
			all = append(all, q)
		}
	}
	if ns != "" && len(cfg.NamespaceLabels) > 0 {
		all = append(all, question{key: key{kind: namespace, name: ns}})
	}
	if on != "" && len(cfg.NodeLabels) > 0 {
		all = append(all, question{key: key{kind: node, name: on}})
	}
	return all
}
