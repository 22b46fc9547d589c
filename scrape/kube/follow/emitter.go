package follow

import (
	"context"
	"errors"
	"sync"
	"time"

	"stint/export/otlp"
	"stint/scrape/kube"
)

const (
	// flushEvery is how long a record waits for others.
	flushEvery = 200 * time.Millisecond
	// maxChunk keeps a chunk well below a batch of 10,000, so that batches fill up.
	maxChunk = 2000
)

// ErrAborted ends a term in which records were not taken.
var ErrAborted = errors.New("records were not taken: the lease is lost, or the process ends")

// Emitter puts log records into chunks. It holds one slab of memory, whoever uses it.
type Emitter struct {
	pool *otlp.Pool
	out  func(*otlp.Chunk)

	mu      sync.Mutex // guards everything below
	slab    *otlp.Slab
	start   int // of the open chunk in the slab
	records int // in it
	to      Address
}

// Address is what records must have in common to lie in one chunk, but for their marks: those follow
// one another.
type Address struct {
	Group  *otlp.Group
	Lane   uint32
	Origin otlp.Origin
	Mark   uint64
}

// NewEmitter makes an emitter that hands its chunks to d.Out.
func NewEmitter(d kube.Deps) *Emitter { return &Emitter{pool: d.Pool, out: d.Out} }

// Run hands on what was added a moment ago, until ctx ends. Then Add must not be called any more.
func (e *Emitter) Run(ctx context.Context) {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			e.Flush()
		case <-ctx.Done():
			return
		}
	}
}

// Close hands on the rest and lets go of the memory. The emitter can be used again.
func (e *Emitter) Close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.flush()
	e.release()
}

// Add appends a record. It waits for memory, until ctx ends.
func (e *Emitter) Add(ctx context.Context, to Address, r *otlp.LogRecord) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := r.Len()
	full := e.slab == nil || cap(e.slab.Buf)-len(e.slab.Buf) < n
	same := to.Group == e.to.Group && to.Origin == e.to.Origin && to.Lane == e.to.Lane && to.Mark == e.to.Mark+uint64(e.records)
	if full || !same || e.records >= maxChunk {
		e.flush()
	}
	if full {
		e.release()
		slab, err := e.pool.Get(ctx, n)
		if err != nil {
			return err
		}
		e.slab, e.start = slab, 0
	}
	if e.records == 0 {
		e.start, e.to = len(e.slab.Buf), to
	}
	e.slab.Buf = otlp.AppendLogRecord(e.slab.Buf, r)
	e.records++
	return nil
}

// Flush hands on the open chunk.
func (e *Emitter) Flush() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.flush()
}

// flush and release need e.mu.
func (e *Emitter) flush() {
	if e.records == 0 {
		return
	}
	end := len(e.slab.Buf)
	c := otlp.NewChunk(e.slab, e.slab.Buf[e.start:end:end])
	c.Group, c.Signal, c.Records = e.to.Group, otlp.Logs, e.records
	c.Lane, c.Origin, c.Mark = e.to.Lane, e.to.Origin, e.to.Mark
	e.records = 0
	e.out(c)
}

func (e *Emitter) release() {
	if e.slab != nil {
		e.slab.Release()
		e.slab = nil
	}
}
