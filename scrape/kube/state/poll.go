package state

import (
	"context"
	"maps"
	"sync"
	"time"
	"unique"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Some kinds are listed once in a while and not watched: the leases of 5,000 nodes change 500 times a
// second, and of ConfigMaps and Secrets only the number is told.

// pollEvery is the time between two lists.
const pollEvery = time.Minute

// nodeLeases is the namespace in which kubelets renew a lease each, by the name of the node.
const nodeLeases = "kube-node-lease"

// tally is what a list adds up to.
type tally struct {
	rows    []any
	renewed map[string]int64 // by node: Unix time of its lease, ms
	counts  map[string]int64 // by namespace
}

func newTally() *tally { return &tally{renewed: map[string]int64{}, counts: map[string]int64{}} }

func (b *builder) tallyLease(t *tally, obj any) {
	l, ok := obj.(*coordinationv1.Lease)
	if !ok {
		return
	}
	if l.Namespace == nodeLeases && l.Spec.RenewTime != nil {
		t.renewed[l.Name] = l.Spec.RenewTime.UnixMilli()
	}
	t.rows = append(t.rows, b.lease(l))
}

func (b *builder) tallyObject(t *tally, obj any) {
	if m, ok := obj.(metav1.Object); ok {
		t.counts[m.GetNamespace()]++
	}
}

// poll lists a kind until ctx ends.
func (s *Source) poll(ctx context.Context, t *term, st *store, namespace string) {
	api := st.kind.api(s.deps.Client, namespace)
	retry, refusals := minRetry, 0
	for {
		sum, err := s.sum(ctx, st, api)
		wait := pollEvery
		switch {
		case err == nil:
			s.working(st, namespace)
			t.add(st, sum)
			retry, refusals = minRetry, 0
		default:
			s.failing(ctx, st, namespace, err)
			most := maxRetry
			if missing(err) {
				most = missingRetry
				if refusals++; refusals == tellRefusals {
					s.refused(st, namespace, err)
					t.polled.forget(st.kind.name)
				}
			}
			wait = retry
			retry = min(2*retry, most)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// sum lists all objects, page by page, and keeps what is told of them.
func (s *Source) sum(ctx context.Context, st *store, api listWatch) (*tally, error) {
	sum := newTally()
	for o := (metav1.ListOptions{Limit: pageSize}); ; {
		page, err := api.list(ctx, o)
		if err != nil {
			return nil, err
		}
		if err := meta.EachListItem(page, func(obj runtime.Object) error { st.kind.tally(&st.b, sum, obj); return nil }); err != nil {
			return nil, err
		}
		m, err := meta.ListAccessor(page)
		if err != nil {
			return nil, err
		}
		if o.Continue = m.GetContinue(); o.Continue == "" {
			return sum, nil
		}
	}
}

// add takes what a list added up to.
func (t *term) add(st *store, sum *tally) {
	t.polled.take(st.kind.name, sum)
	_ = st.Replace(sum.rows, "") // rows stay as they are
}

// polled is what lists tell of nodes and namespaces, for their rows.
type polled struct {
	mu      sync.Mutex // guards everything below
	renewed map[string]int64
	counts  map[string]map[string]int64 // by kind, then namespace
	b       builder
}

func (p *polled) take(kind string, sum *tally) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if kind == "leases" {
		p.renewed = maps.Clone(sum.renewed)
		return
	}
	p.counts[kind] = maps.Clone(sum.counts)
}

// forget forgets what lists of a kind told.
func (p *polled) forget(kind string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if kind == "leases" {
		p.renewed = nil
	}
	delete(p.counts, kind)
}

// node adds to the row of a node when its lease was renewed.
func (p *polled) node(r *row) *row {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.b.points = p.b.points[:0]
	if ms, ok := p.renewed[r.name()]; ok {
		p.b.milli(nodeLeaseRenewTime, ms)
	}
	return r.with(unique.Make(string(p.b.points)))
}

// namespace adds the numbers of objects to the row of a namespace.
func (p *polled) namespace(r *row) *row {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.b.points = p.b.points[:0]
	for _, c := range []struct {
		kind string
		id   metricID
	}{{"configmaps", configMapCount}, {"secrets", secretCount}} {
		if counts := p.counts[c.kind]; counts != nil { // listed
			p.b.int(c.id, counts[r.name()])
		}
	}
	return r.with(unique.Make(string(p.b.points)))
}
