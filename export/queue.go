package export

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
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
	lazy   *atomic.Bool  // what waits moves to the disk only while it is set; nil: whenever it is away
	refuse bool          // over limit, with a spool that is full, the newest go
	prompt time.Duration // what waits longer moves to the disk, or goes back to who sent it; 0: it may wait
	change *change       // of attributes, before sending; nil: none
	wake   chan struct{} // of capacity 1; something came
	spill  chan struct{} // of capacity 1; it is time to move to the disk
	ended  chan struct{} // closed when nothing more comes

	// order is held while batches move to the disk and while the next one is chosen. It is taken
	// before mu and, unlike it, held while the disk works.
	order  sync.Mutex
	flying *batch       // being sent
	ahead  int          // records of it, from its front, that are done with; as long as it is not on the disk
	entry  *spool.Entry // where it lies on the disk, if it does
	told   bool         // its origin knows that it does
	left   *spool.Entry // what was being sent, and is to be read again

	mu     sync.Mutex // guards everything below
	list   []*batch
	bytes  int64
	closed bool
}

func newQueue(o *out, l *lane, limit int64, s *spool.Spool) *queue {
	q := &queue{out: o, lane: l, limit: limit, spool: s, wake: make(chan struct{}, 1), spill: make(chan struct{}, 1), ended: make(chan struct{})}
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
	if q.spills() && (over || q.out.gates[b.signal].isDown()) {
		raise(q.spill)
	}
	q.giveUp(gone, queueFull)
}

// spills says whether what waits is to move to the disk, when there is a reason.
func (q *queue) spills() bool { return q.spool != nil && (q.lazy == nil || q.lazy.Load()) }

// shrink takes the oldest off the list, or the newest, until the rest is within the limit. Needs mu.
func (q *queue) shrink() (gone []*batch) {
	for q.limit > 0 && q.bytes > q.limit && len(q.list) > 1 {
		var b *batch
		if last := len(q.list) - 1; q.refuse {
			b, q.list[last], q.list = q.list[last], nil, q.list[:last]
		} else {
			b, q.list[0], q.list = q.list[0], nil, q.list[1:]
		}
		q.bytes -= int64(b.bytes)
		gone = append(gone, b)
	}
	return gone
}

func (q *queue) giveUp(gone []*batch, reason string) {
	for _, b := range gone {
		if signal := b.signal; reason == spool.Full {
			if n := b.refuse(); n > 0 {
				q.out.drop(signal, reason, n, nil)
			}
			continue
		}
		q.out.drop(b.signal, reason, b.records, nil)
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
	if !q.closed {
		q.closed = true
		close(q.ended)
	}
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
			q.flying, q.ahead, q.entry, q.told = q.replay(e), 0, e, false
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
	q.flying, q.ahead, q.entry, q.told = q.list[0], 0, nil, false
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

// replay makes a batch of what was read from the disk and is not done with. One that can't be taken apart
// is sent in one piece: its sum was right, so the destination is to say what is wrong with it.
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
		r.pieces = append(r.pieces, piece{p.Group.Clone(), p.Data, p.Records}) // a change may keep the group, and with it all of e
	}
	r = r.behind(e.Done)
	b := &batch{signal: signal, records: r.records, bytes: len(whole), whole: r, lane: q.lane}
	b.left.Store(1)
	b.users.Store(1)
	q.lane.pending.Add(1)
	return b
}

// advance notes that so many records of what is being sent, from the front of what is left, are done with.
func (q *queue) advance(records int) {
	if q.spool == nil {
		return // a batch is settled as a whole
	}
	q.order.Lock()
	defer q.order.Unlock()
	if q.entry != nil {
		q.spool.AckFront(q.entry, records)
	} else {
		q.ahead += records
	}
}

// letGo moves what waits to the disk and ends the use of memory by what is being sent: its origin is told
// o, and takeUp reads it again. It is false where there is no spool, or none that can be written.
func (q *queue) letGo(o otlp.Outcome) bool {
	if q.spool == nil {
		return false
	}
	q.persist()
	q.order.Lock()
	b, e, told := q.flying, q.entry, q.told
	if e != nil {
		q.spool.Return(e)
		q.flying, q.entry, q.left = nil, nil, e
	}
	q.order.Unlock()
	if e == nil {
		return false
	}
	end(b, told, o)
	return true
}

// takeUp reads what letGo ended, to go on with it; done must follow. nil: the limits took it, or it can't
// be read now, or the queue is closed; take finds out.
func (q *queue) takeUp() *batch {
	q.order.Lock()
	defer q.order.Unlock()
	q.mu.Lock()
	closed := q.closed
	q.mu.Unlock()
	if closed {
		return nil
	}
	e, err := q.spool.Next()
	if e == nil || err != nil {
		return nil
	}
	if !e.Is(q.left) {
		q.spool.Return(e)
		return nil
	}
	q.flying, q.entry, q.left, q.told = q.replay(e), e, nil, false
	return q.flying
}

// done ends the sending of what take returned, unless it was let go.
func (q *queue) done(o otlp.Outcome) {
	q.order.Lock()
	b, e, told := q.flying, q.entry, q.told
	if b == nil || e == nil && o == otlp.Aborted && q.spills() { // abort moves it to the disk
		q.order.Unlock()
		return
	}
	switch {
	case e != nil && o != otlp.Aborted:
		q.spool.Ack(e)
	case e != nil:
		q.spool.Return(e)
		o = otlp.Delivered // as far as its origin is concerned: the disk has it
	}
	q.flying, q.entry = nil, nil
	q.order.Unlock()
	end(b, told, o)
}

// end is done of a batch whose origin may be told.
func end(b *batch, told bool, o otlp.Outcome) {
	if !told {
		b.tell(o)
	}
	b.free()
	b.lane.ended()
}

// forgo ends what take returned, of which so many records may not be sent any more; its origin can read all of it
// again.
func (q *queue) forgo(records int) {
	q.order.Lock()
	b, e := q.flying, q.entry
	if e != nil {
		q.spool.Ack(e)
	}
	q.flying, q.entry = nil, nil
	q.order.Unlock()
	q.fenced(b, records)
}

// fenced settles a batch that may not be sent any more.
func (q *queue) fenced(b *batch, records int) {
	q.out.drop(b.signal, fenced, records, nil)
	b.done(otlp.Aborted)
	b.lane.ended()
}

// persist moves everything that waits to the disk, with what is being sent before it, where that is wanted. What may
// not be sent any more does not get there.
func (q *queue) persist() {
	if !q.spills() {
		return
	}
	q.order.Lock()
	defer q.order.Unlock()
	q.mu.Lock()
	list := q.list
	q.list, q.bytes = nil, 0
	q.mu.Unlock()
	list = slices.DeleteFunc(list, func(b *batch) bool {
		if !b.stale() {
			return false
		}
		q.fenced(b, b.records)
		return true
	})

	var entries []*spool.Entry
	first := q.flying != nil && q.entry == nil && !q.flying.stale() // of a stale one the sender takes care
	if first {
		entries = append(entries, entryOf(q.flying.whole.behind(q.ahead)))
	}
	for _, b := range list {
		entries = append(entries, entryOf(b.whole))
	}
	if len(entries) == 0 {
		return
	}
	if first {
		q.spool.Lend(entries[0])
	}
	n, err := q.spool.Append(entries...)
	if first && n > 0 {
		q.entry, q.ahead = entries[0], 0
		q.entry.Request = nil // its bytes are those of the batch
		if q.prompt > 0 && q.flying.pass == nil {
			q.told = true
			q.flying.tell(otlp.Delivered)
		}
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
	reason, list := queueFull, list[n:]
	var gone []*batch
	if errors.Is(err, spool.ErrFull) {
		reason = spool.Full
		list = slices.DeleteFunc(list, func(b *batch) bool { // who sent it knows at once
			if b.comesAgain() {
				gone = append(gone, b)
				return true
			}
			return false
		})
	}
	q.mu.Lock()
	for _, b := range list {
		q.bytes += int64(b.bytes)
	}
	q.list = append(list[:len(list):len(list)], q.list...)
	gone = append(gone, q.shrink()...)
	q.mu.Unlock()
	q.giveUp(gone, reason)
	for _, b := range gone {
		b.lane.ended()
	}
}

func entryOf(r *request) *spool.Entry {
	bufs, _ := r.buffers()
	return &spool.Entry{Signal: uint32(r.signal), Records: r.records, Time: time.Now(), Request: bufs}
}

// overdue says whether something waits in memory longer than it may, what is being sent included.
func (q *queue) overdue(now time.Time) bool {
	q.order.Lock()
	defer q.order.Unlock()
	if q.flying != nil && q.entry == nil && now.Sub(q.flying.sealed) > q.prompt {
		return true
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.list) > 0 && now.Sub(q.list[0].sealed) > q.prompt
}

// safe says whether all that waits, and what is being sent, is on the disk.
func (q *queue) safe() bool {
	q.order.Lock()
	defer q.order.Unlock()
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.list) == 0 && (q.flying == nil || q.entry != nil)
}

// endGrace is how long, at the end, a destination that is down is given for the answer that is under way.
const endGrace = time.Second

// spilling moves batches to the disk whenever it is time, until stop is closed. When nothing more comes,
// the destination is down and all is on the disk, it ends the sending.
func (q *queue) spilling(stop <-chan struct{}, end func()) {
	ended := q.ended
	var grace, tick <-chan time.Time
	if q.prompt > 0 {
		t := time.NewTicker(q.prompt / 4)
		defer t.Stop()
		tick = t.C
	}
	for {
		select {
		case <-q.spill:
			q.persist()
		case now := <-tick:
			if q.overdue(now) {
				q.persist()
			}
		case <-ended:
			ended, grace = nil, time.After(endGrace)
		case <-grace:
			if q.out.gates[q.lane.signal].isDown() {
				if q.persist(); q.safe() {
					end()
				}
			}
		case <-stop:
			return
		}
	}
}

// abort keeps what is left on the disk, or settles it.
func (q *queue) abort() {
	if q.spool != nil {
		q.persist()
		if b := q.flying; b != nil { // nobody sends any more
			o := otlp.Aborted
			if q.entry != nil {
				q.spool.Return(q.entry)
				o = otlp.Delivered
			}
			q.flying, q.entry = nil, nil
			if !q.told {
				b.tell(o)
			}
			b.free()
		}
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
