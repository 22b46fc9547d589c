package cluster

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stint/export/otlp"
)

// outlet is where a source's chunks leave: only while the lease is held, which is asked when they come and
// again until they are sent ([otlp.Chunk.Fence]). It knows how many are on their way.
type outlet struct {
	pass   func() func() bool // [lease.pass]
	next   func(*otlp.Chunk)
	fenced prometheus.Counter // records

	pending atomic.Int64
	settled chan struct{} // of capacity 1; raised when nothing is on its way any more
}

func newOutlet(pass func() func() bool, next func(*otlp.Chunk), fenced prometheus.Counter) *outlet {
	return &outlet{pass: pass, next: next, fenced: fenced, settled: make(chan struct{}, 1)}
}

// take hands a chunk on, or settles it as aborted.
func (o *outlet) take(c *otlp.Chunk) {
	still := o.pass()
	if still == nil {
		o.fenced.Add(float64(c.Records))
		c.Settle(otlp.Aborted)
		return
	}
	o.pending.Add(1)
	h := &handed{outlet: o, origin: c.Origin}
	c.Origin, c.Fence = h, func() bool {
		ok := still()
		if !ok {
			h.fenced.Store(true)
		}
		return ok
	}
	o.next(c)
}

// handed is the origin of a chunk on its way.
type handed struct {
	outlet *outlet
	origin otlp.Origin
	fenced atomic.Bool
}

// Settled implements otlp.Origin.
func (h *handed) Settled(c *otlp.Chunk, o otlp.Outcome) {
	if h.fenced.Load() {
		h.outlet.fenced.Add(float64(c.Records))
	}
	if h.origin != nil {
		h.origin.Settled(c, o)
	}
	if h.outlet.pending.Add(-1) == 0 {
		select {
		case h.outlet.settled <- struct{}{}:
		default:
		}
	}
}

// flushAgain is how often open batches are looked for: other sources may have filled and sealed
// the one that ours were in, and begun another.
const flushAgain = 100 * time.Millisecond

// flush waits until nothing is on its way, or ctx ends. seal closes open batches.
func (o *outlet) flush(ctx context.Context, seal func()) (left int64) {
	tick := time.NewTicker(flushAgain)
	defer tick.Stop()
	for o.pending.Load() > 0 {
		seal()
		select {
		case <-o.settled:
		case <-tick.C:
		case <-ctx.Done():
			return o.pending.Load()
		}
	}
	return 0
}
