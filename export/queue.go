package export

import (
	"sync"
	"time"

	"stint/export/otlp"
	"stint/export/spool"
)

// queue is what waits for one lane of one destination, in order: first what lies on the disk,
// then what is in memory. What waits for long moves to the disk, all of it at once, the batch
// that is being sent included; so what is on the disk is always older than what is not, and a
// process that ends, however it does, leaves behind in order what was not delivered.
type queue struct {
	out    *out
	lane   *lane
	limit  int64         // bytes in memory; 0 = as much as there is: the pool is the bound
	spool  *spool.Spool  // nil: memory only
	change *change       // of attributes, before sending; nil: none
	wake   chan struct{} // of capacity 1; something came
	spill  chan struct{} // of capacity 1; it is time to move to the disk

	// order is held while batches move to the disk and while the next one is chosen. It is taken
	// before mu and, unlike it, held while the disk works.
	order  sync.Mutex
	flying *batch       // being sent
	entry  *spool.Entry // where it lies on the disk, if it does

	mu     sync.Mutex // guards everything below
	list   []*batch
	bytes  int64
	closed bool
}

func newQueue(o *out, l *lane, limit int64, s *spool.Spool) *queue {
	q := &queue{out: o, lane: l, limit: limit, spool: s, wake: make(chan struct{}, 1), spill: make(chan struct{}, 1)}
	if s != nil {
		g := &o.gates[l.signal]
		g.spill = append(g.spill, q.spill)
	}
	return q
}

// push appends b. Over the limit what waits is moved to the disk, where there is one; else the
// oldest go: what is newest says most about the machine.
func (q *queue) push(b *batch) {
	var gone []*batch
	q.mu.Lock()
	q.list = append(q.list, b)
	q.bytes += int64(b.bytes)
	over := q.limit > 0 && q.bytes > q.limit
	if q.spool == nil {
		gone = q.shrink()
	}
	q.mu.Unlock()
	raise(q.wake)
	if q.spool != nil && (over || q.out.gates[b.signal].isDown()) {
		raise(q.spill)
	}
	q.giveUp(gone)
}

// shrink takes the oldest off the list until the rest is within the limit. Needs mu.
func (q *queue) shrink() (gone []*batch) {
	for q.limit > 0 && q.bytes > q.limit && len(q.list) > 1 {
		gone = append(gone, q.list[0])
		q.bytes -= int64(q.list[0].bytes)
		q.list[0] = nil
		q.list = q.list[1:]
	}
	return gone
}

func (q *queue) giveUp(gone []*batch) {
	for _, b := range gone {
		q.out.drop(b.signal, queueFull, b.records, nil)
		b.done(otlp.Dropped)
	}
}

func raise(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	raise(q.wake)
}

// spoolPause is how long a spool that can't be read is left alone at most.
const spoolPause = 10 * time.Second

// take waits for the next batch to send; done must follow. nil means that the queue is closed and
// holds nothing that would be lost, or that stop is.
func (q *queue) take(stop <-chan struct{}) *batch {
	for {
		select {
		case <-stop: // what is left would be chosen, and aborted, again and again
			return nil
		default:
		}
		b, again := q.choose()
		if b != nil || again == nil {
			return b
		}
		select {
		case <-again:
		case <-q.wake: // it may be that the queue is closed
		case <-stop:
		}
	}
}

// choose is take without waiting. again says when to try anew; nil: never.
func (q *queue) choose() (b *batch, again <-chan struct{}) {
	q.order.Lock()
	defer q.order.Unlock()
	q.mu.Lock()
	closed := q.closed
	q.mu.Unlock()
	if q.spool != nil && !q.spool.Empty() {
		if closed {
			return nil, nil // it is safe where it is
		}
		e, err := q.spool.Next()
		if err != nil {
			q.out.log.Error("the spool can't be read; it is tried again", "exporter", q.out.name, "err", err)
			return nil, after(spoolPause)
		}
		if e != nil {
			q.flying, q.entry = q.replay(e), e
			return q.flying, nil
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.list) == 0 {
		if closed {
			return nil, nil
		}
		return nil, q.wake
	}
	q.flying, q.entry = q.list[0], nil
	q.list[0] = nil
	q.list = q.list[1:]
	q.bytes -= int64(q.flying.bytes)
	return q.flying, nil
}

func after(d time.Duration) <-chan struct{} {
	c := make(chan struct{})
	time.AfterFunc(d, func() { close(c) })
	return c
}

// replay makes a batch of what was read from the disk. One that can't be taken apart is sent in
// one piece: its sum was right, so the destination is to say what is wrong with it.
func (q *queue) replay(e *spool.Entry) *batch {
	signal := otlp.Signal(e.Signal)
	r := &request{signal: signal, records: e.Records}
	whole := e.Request[0]
	pieces, err := otlp.Pieces(signal, whole)
	if err != nil {
		r.bufs, r.size = [][]byte{whole}, len(whole)
		q.out.log.Warn("a request in the spool can't be taken apart; it is sent in one piece", "exporter", q.out.name, "err", err)
	}
	for _, p := range pieces {
		r.pieces = append(r.pieces, piece{p.Group, p.Data, p.Records})
	}
	b := &batch{signal: signal, records: e.Records, bytes: len(whole), whole: r, lane: q.lane}
	b.left.Store(1)
	q.lane.pending.Add(1)
	return b
}

// done ends the sending of what take returned.
func (q *queue) done(o otlp.Outcome) {
	q.order.Lock()
	b, e := q.flying, q.entry
	q.flying, q.entry = nil, nil
	switch {
	case e != nil && o != otlp.Aborted:
		q.spool.Ack(e)
	case e != nil:
		q.spool.Return(e)
		o = otlp.Delivered // as far as its origin is concerned: the disk has it
	case o == otlp.Aborted && q.spool != nil: // abort moves it to the disk
		q.mu.Lock()
		q.list = append([]*batch{b}, q.list...)
		q.bytes += int64(b.bytes)
		q.mu.Unlock()
		q.order.Unlock()
		return
	}
	q.order.Unlock()
	b.done(o)
	b.lane.ended()
}

// persist moves everything that waits to the disk, with what is being sent before it.
func (q *queue) persist() {
	q.order.Lock()
	defer q.order.Unlock()
	q.mu.Lock()
	list := q.list
	q.list, q.bytes = nil, 0
	q.mu.Unlock()

	var entries []*spool.Entry
	first := q.flying != nil && q.entry == nil
	if first {
		entries = append(entries, q.spooled(q.flying))
	}
	for _, b := range list {
		entries = append(entries, q.spooled(b))
	}
	if len(entries) == 0 {
		return
	}
	if first {
		q.spool.Lend(entries[0])
	}
	n, err := q.spool.Append(entries...)
	if first && n > 0 {
		q.entry = entries[0]
		n--
	}
	for _, b := range list[:n] {
		b.done(otlp.Delivered)
		b.lane.ended()
	}
	if err == nil {
		return
	}
	q.out.log.Error("what waits for a destination can't be written to the spool; it stays in memory, as far as there is room", "exporter", q.out.name, "err", err)
	q.mu.Lock()
	for _, b := range list[n:] {
		q.bytes += int64(b.bytes)
	}
	q.list = append(list[n:len(list):len(list)], q.list...)
	gone := q.shrink()
	q.mu.Unlock()
	q.giveUp(gone)
}

func (q *queue) spooled(b *batch) *spool.Entry {
	bufs, _ := b.whole.buffers()
	return &spool.Entry{Signal: uint32(b.signal), Records: b.records, Time: time.Now(), Request: bufs}
}

// spilling moves batches to the disk whenever it is time, until stop is closed.
func (q *queue) spilling(stop <-chan struct{}) {
	for {
		select {
		case <-q.spill:
			q.persist()
		case <-stop:
			return
		}
	}
}

// abort keeps what is left on the disk, or settles it.
func (q *queue) abort() {
	if q.spool != nil {
		q.persist()
		if err := q.spool.Close(); err != nil {
			q.out.log.Error("the spool could not be closed; what was written last may be missing", "exporter", q.out.name, "err", err)
		}
	}
	q.mu.Lock()
	list := q.list
	q.list, q.bytes = nil, 0
	q.mu.Unlock()
	for _, b := range list {
		b.done(otlp.Aborted)
	}
}

// length is how many batches wait in memory, and their bytes.
func (q *queue) length() (batches int, bytes int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.list), q.bytes
}
