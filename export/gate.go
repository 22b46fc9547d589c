package export

import (
	"sync"
	"time"
)

// gate is what all lanes know of a destination for one signal: whether it accepts data, and
// how large a request may be. While it is down, the lanes take turns to probe and the others
// wait: one request a back-off step, not a storm.
type gate struct {
	probe chan struct{}   // holds something while a lane probes
	spill []chan struct{} // of the queues with a spool; raised when it goes down

	mu    sync.Mutex // guards everything below
	down  bool
	kind  Kind
	err   error
	since time.Time

	cap  int       // bytes of the largest request that is tried; 0 = any
	held time.Time // the cap is not raised before
}

const (
	// capHeld is how long a learned size limit counts before a larger request is tried again.
	capHeld = 10 * time.Minute
	// minHeld is the least size that is taken for a hidden limit. What passes first after a long
	// outage is a single record, because requests were cut on suspicion; that is no limit.
	minHeld = 256 << 10
)

func (g *gate) isDown() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.down
}

// most is the size of the largest request to try, at most limit.
func (g *gate) most(limit int) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cap > 0 {
		limit = min(limit, g.cap)
	}
	return limit
}

// fail notes a failed attempt and says whether it is the first of its kind.
func (g *gate) fail(v Verdict) (first bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	first = !g.down || g.kind != v.Kind
	if !g.down {
		g.since = time.Now()
		for _, c := range g.spill {
			raise(c)
		}
	}
	g.down, g.kind, g.err = true, v.Kind, v.Err
	return first
}

// tooLarge notes that a request was refused for its size; size is that of its halves.
func (g *gate) tooLarge(size int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cap == 0 || size < g.cap {
		g.cap = size
	}
	g.held = time.Now().Add(capHeld)
}

// passed notes that a request of size bytes was accepted; shrunk says that larger ones were
// refused before, as if for the time being. It says whether the destination was down.
func (g *gate) passed(size int, shrunk bool) (wasDown bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	switch {
	case shrunk:
		g.cap, g.held = max(size, 1), time.Time{}
		if size >= minHeld {
			g.held = now.Add(capHeld)
		}
	case g.cap > 0 && size > g.cap/2 && now.After(g.held):
		if g.cap *= 2; g.cap > maxBatchBytes {
			g.cap = 0
		}
	}
	wasDown = g.down
	g.down, g.err = false, nil
	return wasDown
}
