package export

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"stint/export/otlp"
)

// Destination is somewhere records go. Send is called by several senders at once and must
// return when ctx ends; it keeps nothing of the request.
type destination interface {
	send(ctx context.Context, r *request) Verdict
	close()
}

// maxSplits of one batch: bisecting 10,000 records around one bad one takes 27 requests.
const maxSplits = 64

// out is one destination with its counters and its gates.
type out struct {
	name  string
	dest  destination
	retry Retry
	log   *slog.Logger
	gates [otlp.Signals]gate

	stats   [otlp.Signals]outStats
	metrics *metrics
}

// outStats is what became of records of one signal at one destination.
type outStats struct {
	sent, dropped, rejected, resent atomic.Int64 // records
	requests, retries               atomic.Int64
	bytes                           atomic.Int64 // of delivered requests, before compression
	lastOK                          atomic.Int64 // unix ns
}

// gate is a destination's state for one signal. While it is down, one lane probes and the
// others wait: one request a back-off step, not a storm.
type gate struct {
	mu    sync.Mutex
	down  bool
	kind  Kind
	err   error
	since time.Time
	probe sync.Mutex // held by the lane that probes

	cap atomic.Int64 // bytes of the largest request that is tried; 0 = any
}

// run delivers what comes into q until q is closed and empty, or ctx ends.
func (o *out) run(ctx context.Context, q *queue) {
	for {
		b := q.pop(ctx.Done())
		if b == nil {
			break
		}
		b.done(o.deliver(ctx, b))
	}
	q.abort()
}

// deliver sends a batch, in parts if it must be, until every record of it is accepted or
// refused for good.
func (o *out) deliver(ctx context.Context, b *batch) otlp.Outcome {
	stats, gate := &o.stats[b.signal], &o.gates[b.signal]
	wait := backoff{first: o.retry.InitialInterval, max: o.retry.MaxInterval}
	work := []*request{b.whole} // the last is next
	splits, same := 0, 0
	var last Kind
	dropped, unsure, probing, shrunk := false, false, false, false
	defer func() {
		if probing {
			gate.probe.Unlock()
		}
	}()

	// cut splits the next request and keeps both halves in order.
	cut := func() bool {
		r := work[len(work)-1]
		x, y, ok := r.split()
		if !ok {
			return false
		}
		work = append(work[:len(work)-1], y, x)
		return true
	}
	drop := func(r *request, reason string, err error) {
		dropped = true
		stats.dropped.Add(int64(r.records))
		o.metrics.drop(o.name, b.signal, reason, r.records)
		o.log.Warn("records were dropped", "exporter", o.name, "signal", b.signal.String(), "reason", reason, "records", r.records, "err", err)
		work = work[:len(work)-1]
	}

	for len(work) > 0 {
		if !probing && gate.isDown() {
			gate.probe.Lock() // the lane before us may have brought it up meanwhile
			if probing = gate.isDown(); !probing {
				gate.probe.Unlock()
			}
		}
		if ctx.Err() != nil {
			return otlp.Aborted
		}
		r := work[len(work)-1]
		if limit := gate.cap.Load(); limit > 0 {
			if _, size := r.buffers(); int64(size) > limit && cut() {
				continue
			}
		}
		if unsure {
			stats.resent.Add(int64(r.records))
		}
		stats.requests.Add(1)
		v := o.dest.send(ctx, r)
		if ctx.Err() != nil && v.Kind != OK && v.Kind != Partial {
			b.lend()
			return otlp.Aborted
		}
		if v.Kind == last {
			same++
		} else {
			last, same = v.Kind, 1
		}
		unsure = v.Unsure
		if v.Kind != OK && v.Kind != Partial {
			b.lend()
		}
		switch v.Kind {
		case OK, Partial:
			_, size := r.buffers()
			stats.sent.Add(int64(r.records) - v.Rejected)
			stats.rejected.Add(v.Rejected)
			stats.bytes.Add(int64(size))
			stats.lastOK.Store(time.Now().UnixNano())
			if v.Rejected > 0 {
				o.metrics.drop(o.name, b.signal, "rejected", int(v.Rejected))
			}
			if v.Err != nil {
				o.log.Warn("destination refused records of an accepted request", "exporter", o.name, "signal", b.signal.String(), "rejected", v.Rejected, "err", v.Err)
			}
			if shrunk {
				gate.cap.Store(int64(max(size, 1)))
				shrunk = false
			}
			if gate.up(int64(size)) {
				o.log.Info("destination accepts data again", "exporter", o.name, "signal", b.signal.String())
			}
			if probing {
				probing = false
				gate.probe.Unlock()
			}
			wait.reset()
			work = work[:len(work)-1]
			continue
		case Drop:
			drop(r, v.Reason, v.Err)
			continue
		case Split:
			if splits++; splits > maxSplits {
				drop(r, "split_limit", v.Err)
				continue
			}
			_, size := r.buffers()
			if !cut() {
				drop(r, "too_large", v.Err)
				continue
			}
			gate.cap.Store(int64(max(size/2, 1)))
			continue
		case Again:
			// Servers hide size limits behind 429 and 503: after three equal answers try less.
			if same >= 3 && cut() {
				shrunk = true
			}
		case Auth, Misconfigured:
			v.After = max(v.After, parkFor)
		}
		stats.retries.Add(1)
		if gate.fail(v) {
			o.log.Warn("destination does not accept data; it is tried again", "exporter", o.name, "signal", b.signal.String(), "verdict", v.Kind.String(), "err", v.Err)
		}
		if !probing {
			probing = gate.probe.TryLock()
		}
		select {
		case <-time.After(wait.next(v.After)):
		case <-ctx.Done():
			return otlp.Aborted
		}
	}
	if dropped {
		return otlp.Dropped
	}
	return otlp.Delivered
}

func (g *gate) isDown() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.down
}

// fail notes a failed attempt and says whether it is the first in a row.
func (g *gate) fail(v Verdict) (first bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	first = !g.down || g.kind != v.Kind
	if !g.down {
		g.since = time.Now()
	}
	g.down, g.kind, g.err = true, v.Kind, v.Err
	return first
}

// up notes that a request of size bytes passed and says whether the destination was down. A
// learned size limit is doubled: what was refused may only have been an overload.
func (g *gate) up(size int64) (was bool) {
	if limit := g.cap.Load(); limit > 0 && size*2 > limit {
		if limit *= 2; limit > 64<<20 {
			limit = 0
		}
		g.cap.Store(limit)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	was = g.down
	g.down, g.err = false, nil
	return was
}
