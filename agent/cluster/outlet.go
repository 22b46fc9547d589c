package cluster

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stint/export/otlp"
)

// outlet is where a source's chunks leave: only while the lease is held. It knows how many are on
// their way.
type outlet struct {
	live   func() bool
	next   func(*otlp.Chunk)
	fenced prometheus.Counter

	pending atomic.Int64
	settled chan struct{} // of capacity 1; raised when nothing is on its way any more
}

func newOutlet(live func() bool, next func(*otlp.Chunk), fenced prometheus.Counter) *outlet {
	return &outlet{live: live, next: next, fenced: fenced, settled: make(chan struct{}, 1)}
}

// take hands a chunk on, or settles it as aborted.
func (o *outlet) take(c *otlp.Chunk) {
	if !o.live() {
		o.fenced.Add(float64(c.Records))
		c.Settle(otlp.Aborted)
		return
	}
	o.pending.Add(1)
	c.Origin = &handed{o, c.Origin}
	o.next(c)
}

// handed is the origin of a chunk on its way.
type handed struct {
	outlet *outlet
	origin otlp.Origin
}

// Settled implements otlp.Origin.
func (h *handed) Settled(c *otlp.Chunk, o otlp.Outcome) {
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
