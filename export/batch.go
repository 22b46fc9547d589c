package export

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"stint/export/otlp"
)

// batch is a set of chunks that goes to one or more destinations. Its chunks are settled when
// all of them are done with it.
type batch struct {
	signal  otlp.Signal
	chunks  []*otlp.Chunk
	records int
	bytes   int // no less than the request will have

	whole *request // the same for all destinations that speak OTLP

	// pass says whether it may still be sent, as far as a fence of its chunks can tell; nil: always. It is asked
	// before each attempt and before it moves to the disk. What lies there was handed over: its origin will
	// not read it again.
	pass func() bool

	lane    *lane
	timer   *time.Timer // while it is open
	sealed  time.Time
	left    atomic.Int32 // destinations whose outcome is not known
	users   atomic.Int32 // destinations that use its memory
	dropped atomic.Bool  // by a destination
	aborted atomic.Bool  // the process stopped before an answer
	refused atomic.Bool  // by a spool that is full
}

// done is called once by each destination: it has an outcome, and does not use the memory any more.
func (b *batch) done(o otlp.Outcome) {
	b.tell(o)
	b.free()
}

// tell is the first half of done.
func (b *batch) tell(o otlp.Outcome) {
	switch o {
	case otlp.Dropped:
		b.dropped.Store(true)
	case otlp.Aborted:
		b.aborted.Store(true)
	}
	if b.left.Add(-1) > 0 {
		return
	}
	switch {
	case b.aborted.Load():
		o = otlp.Aborted
	case b.dropped.Load():
		o = otlp.Dropped
	default:
		o = otlp.Delivered
	}
	for _, c := range b.chunks {
		switch {
		case !b.refused.Load():
			c.Tell(o)
		case c.Again:
			c.Tell(otlp.Aborted)
		default:
			c.Tell(max(o, otlp.Dropped))
		}
	}
}

// free is the second half. The last destination to call it called tell before, as did all others.
func (b *batch) free() {
	if b.users.Add(-1) > 0 {
		return
	}
	b.lane.pending.Add(-1)
	for _, c := range b.chunks {
		c.Settle(otlp.Delivered) // it is told already
	}
}

// comesAgain says whether all of it does when it is refused.
func (b *batch) comesAgain() bool {
	return !slices.ContainsFunc(b.chunks, func(c *otlp.Chunk) bool { return !c.Again })
}

// refuse is done for a destination whose spool is full: chunks that can come again are aborted. It gives the
// number of records that are dropped.
func (b *batch) refuse() (dropped int) {
	for _, c := range b.chunks {
		if !c.Again {
			dropped += c.Records
		}
	}
	b.refused.Store(true)
	b.done(otlp.Delivered)
	return dropped
}

// lend keeps the batch's memory from being used again: a transport still reads it.
func (b *batch) lend() {
	for _, c := range b.chunks {
		c.Lend()
	}
}

// fence takes out what may not be sent any more when the batch is closed. What is left was let through at the same
// time, and ends at the same time.
func (b *batch) fence() {
	b.chunks = slices.DeleteFunc(b.chunks, func(c *otlp.Chunk) bool {
		if c.Fence == nil || c.Fence() {
			return false
		}
		b.records -= c.Records
		b.bytes -= c.Group.FrameLen(len(c.Data)) + len(c.Data)
		c.Settle(otlp.Aborted)
		return true
	})
}

// stale says whether the batch may not be sent any more.
func (b *batch) stale() bool {
	if b.pass == nil || b.pass() {
		return false
	}
	for _, c := range b.chunks {
		c.Fence() // its origin counts what is held back
	}
	return true
}

// lane gathers chunks into batches and hands these to the same lane of each destination, so
// that chunks of one Lane are never overtaken.
type lane struct {
	cfg    Batch
	signal otlp.Signal
	queues []*queue // one a destination
	eager  bool     // a batch is not kept open while nothing is under way

	pending atomic.Int32 // batches that were sealed and are not done

	mu      sync.Mutex // guards everything below
	open    [2]*batch  // of chunks without a fence, and of those with one: these may have to go back
	starved bool       // somebody waits for memory; open batches are sealed once nothing is under way
	closed  bool
}

// add appends a chunk to the open batch and closes that when it is full.
func (l *lane) add(c *otlp.Chunk) {
	size := c.Group.FrameLen(len(c.Data)) + len(c.Data)
	which := 0
	if c.Fence != nil {
		which = 1
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		c.Settle(otlp.Aborted)
		return
	}
	if b := l.open[which]; b != nil && (b.records+c.Records > l.cfg.SendBatchSize || b.bytes+size > l.cfg.SendBatchMaxBytes) {
		l.seal(b)
	}
	b := l.open[which]
	if b == nil {
		b = &batch{signal: l.signal, pass: c.Fence}
		l.open[which] = b
		b.timer = time.AfterFunc(l.cfg.Timeout, func() { l.expire(b) })
	}
	b.chunks = append(b.chunks, c)
	b.records += c.Records
	b.bytes += size
	if b.records >= l.cfg.SendBatchSize || b.bytes >= l.cfg.SendBatchMaxBytes || l.eager && l.pending.Load() == 0 {
		l.seal(b)
	}
}

// expire closes b if it still is open.
func (l *lane) expire(b *batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if slices.Contains(l.open[:], b) {
		l.seal(b)
	}
}

// flush closes open batches when somebody waits for memory: at once if they are all that the
// lane holds, else as soon as what is under way has ended without freeing enough.
func (l *lane) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open == [2]*batch{} {
		return
	}
	if l.starved = l.pending.Load() > 0; !l.starved {
		l.sealAll()
	}
}

// ended is called after a batch of the lane is done.
func (l *lane) ended() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if (l.starved || l.eager) && l.pending.Load() == 0 {
		l.sealAll()
	}
}

// close seals open batches and takes nothing more.
func (l *lane) close() {
	l.mu.Lock()
	l.sealAll()
	l.closed = true
	l.mu.Unlock()
	for _, q := range l.queues {
		q.close()
	}
}

// abort closes the lane and settles what no sender will take any more.
func (l *lane) abort() {
	l.close()
	for _, q := range l.queues {
		q.abort()
	}
}

// sealAll needs l.mu.
func (l *lane) sealAll() {
	for _, b := range l.open {
		if b != nil {
			l.seal(b)
		}
	}
}

// seal hands an open batch to the destinations. Needs l.mu, which keeps batches in order.
func (l *lane) seal(b *batch) {
	for i := range l.open {
		if l.open[i] == b {
			l.open[i] = nil
		}
	}
	l.starved = l.starved && l.open != [2]*batch{}
	b.timer.Stop()
	if b.fence(); len(b.chunks) == 0 {
		return
	}
	if b.pass != nil {
		b.pass = b.chunks[0].Fence // of one that was let through
	}
	b.whole = newRequest(b.signal, b.chunks)
	b.whole.buffers() // here and not in several senders at once
	b.lane, b.sealed = l, time.Now()
	b.left.Store(int32(len(l.queues)))
	b.users.Store(int32(len(l.queues)))
	l.pending.Add(1)
	for _, q := range l.queues {
		q.push(b)
	}
}
