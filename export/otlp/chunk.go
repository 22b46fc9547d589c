package otlp

import "sync"

// Outcome is what became of a chunk.
type Outcome uint8

const (
	// Delivered: every destination has it, or stores it durably.
	Delivered Outcome = iota
	// Dropped: a destination refused it for good; counted there by reason.
	Dropped
	// Aborted: the process stops before an answer came, or there is no room for it. Whoever can read it again must.
	Aborted
)

// Origin is where a chunk comes from and is told what became of it.
// Settled is called once a chunk, from any goroutine, with locks held: it must not block, nor hand
// anything on to where the chunk was handed to.
type Origin interface {
	Settled(c *Chunk, o Outcome)
}

// Chunk is a run of encoded records of one signal under one group. Whoever makes one hands it
// on and does not touch it again until Settled; its bytes lie in a slab and are immutable.
type Chunk struct {
	// Group is what the records stand under. Nil: Data has whole resource_logs, resource_metrics or resource_spans
	// fields, of as many resources as there are: a chunk for each would cost more than what is in it.
	Group   *Group
	Data    []byte // else repeated log_records, metrics or spans fields
	Records int    // log records, metric points or spans
	Signal  Signal
	Lane    uint32 // chunks of equal Lane stay in order; a hash of, say, the container

	Origin Origin // told when settled; may be nil
	Mark   uint64 // the origin's own

	// Again says that its origin has it again from whoever sent it: what finds no room in a full spool is aborted then,
	// and else dropped.
	Again bool

	// Fence is asked when the chunk's batch is closed, before each attempt to send it, and before it moves to the
	// disk: false, and the chunk is settled as aborted. Nil: it always goes.
	Fence func() bool

	slab *Slab
}

var chunks = sync.Pool{New: func() any { return new(Chunk) }}

// NewChunk makes a chunk over data, which lies in slab. The chunk holds the slab until it is
// settled.
func NewChunk(slab *Slab, data []byte) *Chunk {
	slab.refs.Add(1)
	c := chunks.Get().(*Chunk)
	*c = Chunk{Data: data, slab: slab}
	return c
}

// Lend keeps the chunk's memory from being used again after its release: a transport that gave
// up an attempt may still be reading it. The garbage collector takes it in the end.
func (c *Chunk) Lend() { c.slab.lent.Store(true) }

// Tell tells the origin, and does no more: somebody still uses the chunk's memory.
func (c *Chunk) Tell(o Outcome) {
	if c.Origin != nil {
		c.Origin.Settled(c, o)
		c.Origin = nil
	}
}

// Settle tells the origin, unless that was done, releases the slab and ends the chunk's life.
func (c *Chunk) Settle(o Outcome) {
	c.Tell(o)
	slab := c.slab
	*c = Chunk{}
	chunks.Put(c)
	slab.Release()
}

// Fan makes n chunks of c that share its bytes; c is settled when all of them are, with the worst
// of their outcomes.
func (c *Chunk) Fan(n int) []*Chunk {
	f := &fan{whole: c, left: n}
	all := make([]*Chunk, n)
	for i := range all {
		d := NewChunk(c.slab, c.Data)
		d.Group, d.Records, d.Signal, d.Lane, d.Again, d.Fence, d.Origin = c.Group, c.Records, c.Signal, c.Lane, c.Again, c.Fence, f
		all[i] = d
	}
	return all
}

// fan is the origin of chunks that are one.
type fan struct {
	whole *Chunk

	mu    sync.Mutex // guards everything below
	left  int
	worst Outcome
}

// Settled implements Origin.
func (f *fan) Settled(_ *Chunk, o Outcome) {
	f.mu.Lock()
	f.left--
	f.worst = max(f.worst, o)
	left, worst := f.left, f.worst
	f.mu.Unlock()
	if left == 0 {
		f.whole.Settle(worst)
	}
}
