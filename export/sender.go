package export

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"stint/export/otlp"
	"stint/export/spool"
)

// destination is somewhere records go. send is called by several senders at once and must
// return when ctx ends; it keeps nothing of the request, or says so in the verdict.
type destination interface {
	send(ctx context.Context, r *request) Verdict
	close()
}

const (
	// maxSplits of one batch. A bad record among 10,000 is found with 13, so about 20 bad ones
	// cost nothing but themselves; a destination that refuses everything is not asked for each
	// record.
	maxSplits = 256
	// maxAgeSplits is the same where points are refused for their age: enough to find one, and where
	// it is more, it is all of them.
	maxAgeSplits = 16
	// A request this small is hardly what a server calls too large: it has too much to do and
	// says so badly. Only after smallTries attempts, minutes later, a single record is given up.
	smallRequest = 16 << 10
	smallTries   = 10
	// maxTimeout is up to where an unanswered request is given more time.
	maxTimeout = time.Minute
)

// out is one destination with its counters and its gates.
type out struct {
	name    string
	dest    destination
	batch   Batch // bounds of a request
	retry   Retry
	timeout time.Duration // of an attempt, unless the destination turns out to need more
	park    time.Duration // parkFor; shorter in tests
	slow    atomic.Int64  // ns; twice what accepted requests took lately
	log     *slog.Logger
	dead    *deadLetters // nil: what is refused is not kept
	gates   [otlp.Signals]gate
	budget  *spool.Budget // of all spools; nil without

	stats   [otlp.Signals]outStats
	metrics *metrics
}

// outStats is what became of records of one signal at one destination.
type outStats struct {
	sent, dropped, rejected, resent atomic.Int64 // records
	dead                            atomic.Int64 // of dropped, those in the dead-letter file
	requests, retries               atomic.Int64
	bytes                           atomic.Int64 // of delivered requests, before compression
	lastOK                          atomic.Int64 // unix ns
}

// run delivers what comes into q until q is closed and empty, or ctx ends.
func (o *out) run(ctx context.Context, q *queue) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if q.spool != nil {
		stop := make(chan struct{})
		var spilling sync.WaitGroup
		spilling.Go(func() { q.spilling(stop, cancel) })
		defer spilling.Wait()
		defer close(stop)
	}
	for {
		b := q.take(ctx.Done())
		if b == nil {
			return
		}
		q.done(o.deliver(ctx, q, b))
	}
}

// drop counts records that are given up and says so.
func (o *out) drop(s otlp.Signal, reason string, records int, err error) {
	o.stats[s].dropped.Add(int64(records))
	o.metrics.drop(o.name, s, reason, records)
	o.log.Warn("records were dropped", "exporter", o.name, "signal", s.String(), "reason", reason, "records", records, "err", err)
}

// delivery is the work on one batch for one destination.
type delivery struct {
	*out
	q       *queue
	of      *batch
	signal  otlp.Signal
	stats   *outStats
	gate    *gate
	work    []part // what is left; the last is next
	wait    backoff
	limit   time.Duration // of an attempt
	splits  int
	last    Kind
	same    int  // answers of the kind last in a row
	shrunk  bool // what is next was cut because larger requests were refused without saying why
	probing bool // we hold gate.probe
	dropped bool
}

// part is a piece of the batch.
type part struct {
	*request
	tries  int
	unsure bool   // an attempt may have been accepted
	id     string // of the request; the same each time it is sent
	span   int    // records of the batch, from its front, that are done with when this part is
}

// deliver sends a batch, in parts if it must be, until every record of it is accepted or
// refused for good.
func (o *out) deliver(ctx context.Context, q *queue, b *batch) otlp.Outcome {
	whole, lost, err := q.change.apply(b.whole)
	defer q.change.release()
	if whole == nil {
		lost = b.records
	}
	if err != nil {
		o.drop(b.signal, invalid, lost, err)
	}
	if whole == nil || err != nil && len(whole.pieces) == 0 {
		return otlp.Dropped
	}
	d := delivery{
		out: o, q: q, of: b, signal: b.signal, stats: &o.stats[b.signal], gate: &o.gates[b.signal],
		work:    []part{{request: whole, span: b.whole.records}},
		wait:    backoff{first: o.retry.InitialInterval, max: o.retry.MaxInterval},
		limit:   min(max(time.Duration(o.slow.Load()), o.timeout), max(o.timeout, maxTimeout)),
		dropped: lost > 0,
	}
	defer d.pass()
	for len(d.work) > 0 {
		if !d.queueUp(ctx) || ctx.Err() != nil {
			return otlp.Aborted
		}
		for d.oversized() && d.cut() {
		}
		if d.of.stale() {
			q.forgo(d.left())
			return otlp.Aborted
		}
		v := d.attempt(ctx)
		if v.Held {
			d.of.lend()
			q.change.lend()
		}
		if ctx.Err() != nil && v.Kind != OK && v.Kind != Partial {
			return otlp.Aborted
		}
		pause := d.act(v)
		if pause == 0 {
			continue
		}
		if !d.rest(ctx, time.After(pause), nil) {
			return otlp.Aborted
		}
		d.pass() // in turn, so that a batch that is refused for its content does not stop all lanes
	}
	return d.outcome()
}

func (d *delivery) outcome() otlp.Outcome {
	if d.dropped {
		return otlp.Dropped
	}
	return otlp.Delivered
}

// left is how many records are not done with.
func (d *delivery) left() (records int) {
	for _, p := range d.work {
		records += p.records
	}
	return records
}

// queueUp waits, while the destination is down and another lane probes it, for that lane. It is
// false when the delivery ends.
func (d *delivery) queueUp(ctx context.Context) bool {
	if d.probing || !d.gate.isDown() {
		return true
	}
	select {
	case d.gate.probe <- struct{}{}:
		d.probing = true
	default:
		if !d.rest(ctx, nil, d.gate.probe) {
			return false
		}
	}
	if !d.gate.isDown() { // the lane before us has brought it up
		d.pass()
	}
	return true
}

// rest waits for the end of a pause, or for its turn. What is on the disk takes no memory meanwhile,
// and does not hold up the end. It is false when the delivery ends.
func (d *delivery) rest(ctx context.Context, pause <-chan time.Time, turn chan<- struct{}) bool {
	away := d.letGo()
	var ended <-chan struct{}
	if away {
		ended = d.q.ended
	}
	select {
	case <-pause:
	case turn <- struct{}{}:
		d.probing = true
	case <-ended:
		return false
	case <-ctx.Done():
		return false
	}
	return !away || d.takeUp()
}

// letGo gives up the memory of what is left, if it can be read again.
func (d *delivery) letGo() bool {
	for _, p := range d.work {
		if p.span != p.records { // the disk does not tell which of its records are left
			return false
		}
	}
	if !d.q.letGo(d.outcome()) {
		return false
	}
	for i, p := range d.work {
		d.work[i].request = &request{signal: p.signal, records: p.records}
	}
	d.q.change.release()
	return true
}

// takeUp reads what letGo gave up. It is false when it can't be, or is not wanted any more.
func (d *delivery) takeUp() bool {
	if d.of = d.q.takeUp(); d.of == nil {
		return false
	}
	whole, _, err := d.q.change.apply(d.of.whole)
	if err != nil {
		return false // when it is taken anew it is dropped
	}
	left := whole
	for i := len(d.work) - 1; i >= 0; i-- {
		front, rest, ok := left.cut(d.work[i].records)
		if !ok || i == 0 && rest.records > 0 {
			d.work = []part{{request: whole, span: whole.records}}
			break
		}
		d.work[i].request, left = front, rest
	}
	return true
}

// pass lets the next lane probe.
func (d *delivery) pass() {
	if d.probing {
		d.probing = false
		<-d.gate.probe
	}
}

func (d *delivery) next() *part { return &d.work[len(d.work)-1] }

// finish is called when the next part is done with.
func (d *delivery) finish() {
	span := d.next().span
	if d.work = d.work[:len(d.work)-1]; len(d.work) > 0 {
		d.q.advance(span)
	}
}

// cut splits the next part and keeps both halves in order.
func (d *delivery) cut() bool {
	p := *d.next()
	x, y, ok := p.split()
	if ok {
		first := x.records
		if p.span != p.records { // some of its records are done with: all of them are when the second half is
			first = 0
		}
		d.work = append(d.work[:len(d.work)-1], part{request: y, unsure: p.unsure, span: p.span - first}, part{request: x, unsure: p.unsure, span: first})
	}
	return ok
}

// oversized says whether the next part is over the bounds of a batch, as a single large chunk
// can be, or over what the destination takes.
func (d *delivery) oversized() bool {
	p := d.next()
	_, size := p.buffers()
	return p.records > d.batch.SendBatchSize || size > d.gate.most(d.batch.SendBatchMaxBytes)
}

// attempt sends the next part.
func (d *delivery) attempt(ctx context.Context) Verdict {
	p := d.next()
	ctx, cancel := context.WithTimeout(ctx, d.limit)
	defer cancel()
	start := time.Now()
	d.stats.requests.Add(1)
	if p.id == "" {
		p.id = newBatchID()
	}
	r := *p.request // which other destinations may have, too
	r.id = p.id
	v := d.dest.send(ctx, &r)
	p.tries++
	accepted := v.Kind == OK || v.Kind == Partial
	switch {
	case p.unsure && (accepted || v.Unsure):
		d.stats.resent.Add(int64(p.records))
	case p.unsure && v.Rest != nil:
		d.stats.resent.Add(int64(p.records - v.Rest.records))
	}
	p.unsure = p.unsure || v.Unsure
	switch {
	case accepted:
		d.slow.Store(max(2*int64(time.Since(start)), d.slow.Load()/8*7))
	case ctx.Err() != nil:
		// What takes longer than the limit would take longer each time, and the server might
		// store each copy.
		d.limit = min(2*d.limit, max(d.timeout, maxTimeout))
	}
	return v
}

// act does what the verdict on the next part asks for and returns how long to wait before
// going on.
func (d *delivery) act(v Verdict) (pause time.Duration) {
	p := d.next()
	_, size := p.buffers()
	if v.Kind == Split && v.Reason == tooLarge && size <= smallRequest && (p.records > 1 || p.tries < smallTries) {
		v.Kind = Again
	}
	if v.Kind != d.last {
		d.last, d.same = v.Kind, 0
	}
	d.same++
	for _, r := range v.Refused {
		d.refuse(r.request, r.reason, r.err)
	}

	switch v.Kind {
	case OK, Partial:
		d.accepted(v, size)
		d.finish()
		return 0
	case Drop:
		d.giveUp(v.Reason, v.Err)
		return 0
	case Split:
		d.splits++
		switch aged := v.Reason == outOfBounds || v.Reason == tooOld; {
		case aged && d.splits > maxAgeSplits:
			d.giveUp(v.Reason, v.Err)
			return 0
		case d.splits > maxSplits:
			d.giveUp(splitLimit, v.Err)
			return 0
		}
		if !d.cut() {
			d.giveUp(v.Reason, v.Err)
			return 0
		}
		if v.Reason == tooLarge {
			_, a := d.work[len(d.work)-1].buffers()
			_, b := d.work[len(d.work)-2].buffers()
			d.gate.tooLarge(max(a, b))
		}
		return 0
	case Again:
		if v.Rest != nil && v.Rest.records < p.records {
			// It does accept data, but for some.
			d.same = 0
			d.stats.retries.Add(1)
			d.accepted(v, size)
			*p = part{request: v.Rest, unsure: p.unsure, span: p.span}
			return d.wait.next(v.After)
		}
		// Servers hide size limits behind 429 and 503: after three equal answers try less.
		if d.same >= 3 && d.cut() {
			d.shrunk = true
		}
	case Auth, Misconfigured:
		v.After = max(v.After, d.park)
	}
	d.stats.retries.Add(1)
	if d.gate.fail(v) {
		d.log.Warn("destination does not accept data; it is tried again", "exporter", d.name, "signal", d.signal.String(), "verdict", v.Kind.String(), "err", v.Err)
	}
	if !d.probing {
		select {
		case d.gate.probe <- struct{}{}:
			d.probing = true
		default: // another lane was first
		}
	}
	return d.wait.next(v.After)
}

// accepted notes that the destination has taken the next part, or some of it.
func (d *delivery) accepted(v Verdict, size int) {
	records := int64(d.next().records)
	for _, r := range v.Refused {
		records -= int64(r.records)
	}
	if v.Rest != nil {
		records -= int64(v.Rest.records)
	}
	refused := min(v.Rejected, records)
	d.stats.sent.Add(records - refused)
	d.stats.bytes.Add(int64(size))
	d.stats.lastOK.Store(time.Now().UnixNano())
	if refused > 0 {
		d.stats.rejected.Add(refused)
		d.metrics.drop(d.name, d.signal, rejected, int(refused))
		d.log.Warn("destination refused records of an accepted request", "exporter", d.name, "signal", d.signal.String(), "rejected", refused, "err", v.Err)
	} else if v.Err != nil && v.Rest == nil {
		d.log.Warn("destination accepted a request with a warning", "exporter", d.name, "signal", d.signal.String(), "err", v.Err)
	}
	if d.gate.passed(size, d.shrunk) {
		d.log.Info("destination accepts data again", "exporter", d.name, "signal", d.signal.String())
	}
	d.shrunk = false
	d.pass()
	d.wait.reset()
}

// giveUp drops the next part.
func (d *delivery) giveUp(reason string, err error) {
	d.refuse(d.next().request, reason, err)
	d.finish()
}

// refuse drops records that the destination refuses for good.
func (d *delivery) refuse(r *request, reason string, err error) {
	d.dropped = true
	d.drop(d.signal, reason, r.records, err)
	d.dead.keep(d.out, r, reason, err)
}
