package otlp

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
)

// SlabSize is the capacity of an ordinary slab. Large enough that a read of 256 KiB of log
// usually fits with its OTLP overhead, small enough that a few containers with one line each
// do not pin much.
const SlabSize = 320 << 10

// Pool hands out the memory that records are encoded into and keeps it within a limit: the
// bytes are accounted before anything is read into them. Slabs are used again.
type Pool struct {
	slab    int    // capacity of an ordinary slab
	starved func() // called, without the lock, when someone must wait or go without

	mu    sync.Mutex
	limit int64
	used  int64          // bytes handed out
	free  [classes]class // slabs that are not handed out
	kept  int64          // their bytes
	freed chan struct{}  // closed when memory comes back or the limit changes; nil while nobody waits
}

// classes of slabs are used again: ordinary ones, and larger ones, four to each doubling of the capacity, for
// large records and for requests that are received.
const classes = 32

// class are the free slabs of one capacity.
type class struct {
	slabs []*Slab
	idle  int // fewest of them since the last Trim
}

// class is the capacity for size bytes, and its class; larger ones have none.
func (p *Pool) class(size int) (capacity, class int) {
	for ; class < classes; class++ {
		if capacity = (p.slab << (class / 4)) * (4 + class%4) / 4; size <= capacity {
			return capacity, class
		}
	}
	return size, classes
}

// Slab is a piece of a pool's memory. Chunks lie in it; it goes back to the pool when its
// owner and all its chunks have let go.
type Slab struct {
	Buf  []byte // len 0 when handed out; append within its capacity
	pool *Pool
	refs atomic.Int32
	lent atomic.Bool // somebody may still read it after its release
}

// NewPool makes a pool of at most limit bytes. starved, if not nil, is called when someone
// has to wait for memory, or goes without: the moment to send what is still being gathered.
func NewPool(limit int64, starved func()) *Pool {
	return NewPoolOf(SlabSize, limit, starved)
}

// NewPoolOf is NewPool with ordinary slabs of another size: what is written at long intervals
// should not pin more than it needs.
func NewPoolOf(slab int, limit int64, starved func()) *Pool {
	return &Pool{slab: slab, limit: limit, starved: starved}
}

// Get waits for a slab with room for at least size bytes. A slab larger than the whole limit
// is handed out when nothing else is, so that a single large record can pass.
func (p *Pool) Get(ctx context.Context, size int) (*Slab, error) {
	for {
		s, freed := p.try(size)
		if s != nil {
			return s, nil
		}
		if p.starved != nil {
			p.starved()
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// TryGet is Get without waiting; nil means the limit is reached.
func (p *Pool) TryGet(size int) *Slab {
	s, _ := p.try(size)
	if s == nil && p.starved != nil {
		p.starved()
	}
	return s
}

func (p *Pool) try(size int) (*Slab, <-chan struct{}) {
	exact := max(size, p.slab)
	size, k := p.class(size)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.used+int64(size) > p.limit && p.used+int64(exact) <= p.limit {
		size, k = exact, classes // the last room there is
	}
	if p.used+int64(size) > p.limit && (p.used > 0 || p.limit <= 0) {
		if p.freed == nil {
			p.freed = make(chan struct{})
		}
		return nil, p.freed
	}
	p.used += int64(size)
	var s *Slab
	if k < classes && len(p.free[k].slabs) > 0 {
		f := &p.free[k]
		n := len(f.slabs) - 1
		s = f.slabs[n]
		f.slabs[n] = nil
		f.slabs = f.slabs[:n]
		f.idle = min(f.idle, n)
		p.kept -= int64(size)
	} else {
		p.makeRoom()
		s = &Slab{pool: p, Buf: make([]byte, 0, size)}
	}
	s.refs.Store(1)
	return s, nil
}

// makeRoom gives free slabs back to the garbage collector until they and what is handed out are within the
// limit: those of other capacities are of no use now. Needs p.mu.
func (p *Pool) makeRoom() {
	for k := classes - 1; k >= 0; k-- {
		f := &p.free[k]
		for len(f.slabs) > 0 && p.used+p.kept > p.limit {
			p.kept -= int64(cap(f.slabs[0].Buf))
			f.slabs = slices.Delete(f.slabs, 0, 1)
		}
		f.idle = min(f.idle, len(f.slabs))
	}
}

// Release lets go of the slab; it must not be used afterwards.
func (s *Slab) Release() {
	if n := s.refs.Add(-1); n > 0 {
		return
	} else if n < 0 {
		panic("bug: slab released twice")
	}
	p := s.pool
	p.mu.Lock()
	p.used -= int64(cap(s.Buf))
	if size, k := p.class(cap(s.Buf)); k < classes && size == cap(s.Buf) && !s.lent.Load() {
		s.Buf = s.Buf[:0]
		p.free[k].slabs = append(p.free[k].slabs, s)
		p.kept += int64(cap(s.Buf))
	}
	p.wake()
	p.mu.Unlock()
}

// wake needs p.mu.
func (p *Pool) wake() {
	if p.freed != nil {
		close(p.freed)
		p.freed = nil
	}
}

// SetLimit changes the limit, also for what lies idle; 0 hands out nothing more until it is raised again.
func (p *Pool) SetLimit(limit int64) {
	p.mu.Lock()
	p.limit = limit
	p.makeRoom()
	p.wake()
	p.mu.Unlock()
}

// Used is the number of bytes handed out.
func (p *Pool) Used() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.used
}

// Limit is the most that is handed out.
func (p *Pool) Limit() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.limit
}

// Trim gives the slabs that lay idle since the last call back to the garbage collector.
func (p *Pool) Trim() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for k := range p.free {
		f := &p.free[k]
		n := min(f.idle, len(f.slabs))
		for _, s := range f.slabs[:n] {
			p.kept -= int64(cap(s.Buf))
		}
		f.slabs = slices.Delete(f.slabs, 0, n) // the longest idle lie at the bottom
		f.idle = len(f.slabs)
	}
}
