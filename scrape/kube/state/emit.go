package state

import (
	"context"
	"errors"
	"time"
)

// emitter sends the points of some stores at each interval.
type emitter struct {
	s      *Source
	t      *term
	stores []*store
	done   func() // called after each interval
	enc    encoder
	began  time.Time // of the term

	rows [walkBlock]slot
	at   [walkBlock]int
}

func (s *Source) newEmitter(t *term, stores []*store, done func()) *emitter {
	return &emitter{s: s, t: t, stores: stores, done: done, began: time.Now(), enc: encoder{
		all: s.all, forms: s.forms, off: s.off, scope: s.scope, pool: s.deps.Pool, out: s.deps.Out, origin: s, top: t.topOwner,
	}}
}

const (
	// perRow is how much time a row's points are given: 5 KB of a pod in it are 10 MB/s, which a destination
	// takes as they come. As fast as a CPU can, a set would lie in memory until it is sent: 15 MB of
	// 3,000 pods; of 150,000 it would not find room there.
	perRow = 500 * time.Microsecond
	// spread is the part of an interval that is used for that at most.
	spread = 0.8
	// ownersWait is how long pods wait for replica sets and jobs to be listed.
	ownersWait = time.Minute
)

// run sends at each whole interval until ctx ends. Points carry the interval's time, whenever they
// leave. The first is the next one: the last may have been another leader's.
func (e *emitter) run(ctx context.Context, interval func() time.Duration) {
	last := floor(time.Now(), interval())
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		every := interval()
		now := time.Now()
		at := floor(now, every)
		if !at.After(last) {
			timer.Reset(at.Add(every).Sub(now))
			select {
			case <-ctx.Done():
				return
			case <-timer.C:
			}
			if time.Until(last) > every { // the clock was set back
				last = floor(time.Now(), every)
			}
			continue
		}
		if missed := at.Sub(last)/every - 1; missed > 0 {
			e.s.metrics.skipped.WithLabelValues("late").Add(float64(missed))
		}
		last = at
		if e.s.deps.Live() {
			e.interval(ctx, at, every)
		} else {
			e.s.metrics.skipped.WithLabelValues("lease").Inc()
		}
		if ctx.Err() != nil {
			return
		}
		e.done()
	}
}

func floor(t time.Time, d time.Duration) time.Time {
	ns := t.UnixNano()
	return time.Unix(0, ns-ns%int64(d))
}

// interval sends all rows once, with the time at. What there is no memory for by the end of the
// interval is left out, and counted.
func (e *emitter) interval(ctx context.Context, at time.Time, every time.Duration) {
	ctx, cancel := context.WithDeadline(ctx, at.Add(every))
	defer cancel()
	defer e.enc.release()
	e.enc.now = uint64(at.UnixNano())
	total, seen := 0, 0
	for _, st := range e.stores {
		total += st.places()
	}
	began := time.Now()
	window := min(time.Duration(float64(every)*spread), time.Duration(total)*perRow)
	for _, st := range e.stores {
		if !e.ready(st) {
			continue
		}
		e.enc.lane = st.lane
		err := e.closings(ctx, st)
		for i := 0; err == nil; {
			n, next := st.take(i, &e.rows, &e.at)
			if n == 0 {
				seen += next - i
				break
			}
			for j := range n {
				if err = e.enc.send(ctx, &e.rows[j]); err != nil {
					break
				}
			}
			e.enc.flush()
			st.mark(e.rows[:n], e.at[:n])
			clear(e.rows[:n])
			seen += next - i
			i = next
			if err == nil {
				err = pause(ctx, began.Add(window*time.Duration(seen)/time.Duration(max(total, 1))))
			}
		}
		if errors.Is(err, context.DeadlineExceeded) {
			e.s.metrics.skipped.WithLabelValues("memory").Inc()
			e.s.deps.Log.Warn("destinations are behind; not all objects were sent in this interval", "kind", st.kind.name, "at", at)
		}
		if err != nil {
			return
		}
	}
}

// ready says whether a store's rows may be sent: not before all are there, and for pods not before
// their owners are, or can't be had.
func (e *emitter) ready(st *store) bool {
	if synced, _ := st.ready(); !synced {
		return false
	}
	if st.kind.name != pods || time.Since(e.began) > ownersWait {
		return true
	}
	for _, name := range []string{"replicasets", "jobs"} {
		for _, of := range e.t.byKind[name] {
			if _, settled := of.ready(); !settled {
				return false
			}
		}
	}
	return true
}

// closings ends the series of objects that are gone.
func (e *emitter) closings(ctx context.Context, st *store) error {
	ended, lost := st.takeEnded()
	e.s.metrics.unclosed.Add(float64(lost))
	defer e.enc.flush()
	for i := range ended {
		if err := e.enc.send(ctx, &ended[i]); err != nil {
			st.keepEnded(ended[i:])
			return err
		}
	}
	return nil
}

// pause waits until a time, if that is worth it.
func pause(ctx context.Context, until time.Time) error {
	wait := time.Until(until)
	if wait < 5*time.Millisecond {
		return ctx.Err()
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
