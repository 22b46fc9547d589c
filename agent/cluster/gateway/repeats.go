package gateway

import "sync"

// maxIDs are known at a time: what 5,000 agents that send once a second give two replicas in 20 s, in some 12 MB.
// A request whose answer was lost is sent again within seconds.
const maxIDs = 50_000

// maxID is how long an id may be; a longer one is none.
const maxID = 64

// repeats knows requests by the ids that stint's own senders give them. One whose answer was lost is sent again
// with the same id, and gets the answer of the first.
type repeats struct {
	mu    sync.Mutex
	calls map[string]*call
	order [maxIDs]string // a ring, the oldest at next
	next  int
}

// begin gives the call of an id, and whether it is known already. An empty id is none.
func (r *repeats) begin(id string) (c *call, again bool) {
	c = &call{done: make(chan struct{})}
	if id == "" || len(id) > maxID {
		return c, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if known := r.calls[id]; known != nil {
		return known, true
	}
	if r.calls == nil {
		r.calls = map[string]*call{}
	}
	delete(r.calls, r.order[r.next])
	r.order[r.next] = id
	r.next = (r.next + 1) % maxIDs
	r.calls[id] = c
	return c, false
}

// forget lets a request with that id be taken anew, unless it was already: several may have waited for c.
func (r *repeats) forget(id string, c *call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.calls[id] == c {
		delete(r.calls, id)
	}
}
