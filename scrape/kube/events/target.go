package events

import (
	"context"
	"time"

	"stint/export/otlp"
	"stint/scrape/kube/follow"
)

// target follows the events of one namespace, or of all.
type target struct {
	s         *Source
	namespace string
	fail      context.CancelCauseFunc // ends the term
	lane      uint32
	ledger    follow.Ledger[sent]
	first     bool // nothing was followed before; of the follower's goroutine
}

// sent is what is noted of a record on its way.
type sent struct {
	name  uint64
	uid   uint32
	count int64
}

// run works until ctx ends or there are no events any more.
func (t *target) run(ctx context.Context, of follow.Target, lost string) error {
	at := t.ledger.Frontier()
	if lost != "" && at == (follow.Position{}) {
		if err := t.gap(ctx, "checkpoint", "What was followed before is not known any more: "+lost, "", ""); err != nil {
			return err
		}
	}
	f := &follow.Follower{
		API: t.s.api, Target: of, Handler: t, Initial: follow.Changed, Progress: t.s.d.Progress, Log: t.s.d.Log,
	}
	return f.Run(ctx, at)
}

// Take implements follow.Handler.
func (t *target) Take(ctx context.Context, c *follow.Change) error {
	s := t.s
	s.metrics.seen.Inc()
	leave := func(reason string) error {
		s.metrics.left.WithLabelValues(reason).Inc()
		return nil
	}
	if c.Type == follow.Deleted {
		return leave("deleted")
	}
	e, err := decode(c.Object)
	if err != nil {
		t.Skipped(err)
		return nil
	}
	if !s.cfg.wants(e) {
		return leave("filtered")
	}
	if !s.d.Live() {
		t.fail(follow.ErrAborted)
		return follow.ErrAborted
	}
	mark, delta, what, before := t.decide(c, e)
	if before != nil {
		if err := before.send(ctx); err != nil {
			return err
		}
	}
	switch what {
	case "":
		return t.send(ctx, e, delta, mark)
	case "waits":
		if t.ledger.Len() > maxLedger || s.waiting() > maxPending {
			return s.takeTurns(ctx, true)
		}
		return nil
	}
	return leave(what)
}

// decide says what becomes of an event: "" if it is sent, "waits", or why it is left out. before is an event that
// waited and has to be sent first: another one has its name now.
func (t *target) decide(c *follow.Change, e *event) (mark uint64, delta int64, what string, before *turn) {
	name, uid := hashes(e)
	count, now := e.count(), time.Now()
	mark = t.ledger.Open(sent{name, uid, count}) // the ledger is never asked under s.mu
	merged, delta, what, before := t.look(c, &pending{e: e, mark: mark, of: t}, name, uid, count, now)
	if merged != nil {
		merged.of.ledger.Done(merged.mark, 1, nil)
		t.s.metrics.left.WithLabelValues("merged").Inc()
	}
	if what != "" && what != "waits" {
		t.ledger.Forget(mark)
	}
	return mark, delta, what, before
}

// look compares p with what is remembered. merged is an event that waited and does not any more,
// because p waits in its place.
func (t *target) look(c *follow.Change, p *pending, name uint64, uid uint32, count int64, now time.Time) (merged *pending, delta int64, what string, before *turn) {
	s := t.s
	s.mu.Lock()
	defer s.mu.Unlock()
	en := s.ring.get(name)
	switch {
	case en == nil && c.Listed && t.first && s.cfg.Initial == "none":
		en = s.ring.add(name, uid)
		en.taken, en.acked = count, count
		return nil, 0, "before", nil
	case en == nil:
		en = s.ring.add(name, uid)
		if c.Type == follow.Modified && !c.Listed {
			en.taken = count - 1 // how often it happened before is not known; once more, it did
		}
	case en.uid != uid:
		w := s.ring.pending[name]
		if en.uid = uid; count <= en.taken || w != nil && count <= w.e.count() { // another event of the same name
			if w != nil {
				before = &turn{w, s.ring.taking(name, w.e.count(), now, 0)}
				delete(s.ring.pending, name)
			}
			en.taken, en.acked, en.window = 0, 0, 0
		}
	case count <= en.taken:
		return nil, 0, "unchanged", nil
	}
	if w := s.ring.pending[name]; w != nil {
		if count <= w.e.count() && w.e.Metadata.UID == p.e.Metadata.UID {
			return nil, 0, "unchanged", nil
		}
		p.due = w.due
		s.ring.pending[name] = p
		return w, 0, "waits", nil
	}
	if now.Sub(en.sent) < en.window {
		p.due = en.sent.Add(en.window)
		s.ring.pending[name] = p
		return nil, 0, "waits", nil
	}
	return nil, s.ring.taking(name, count, now, s.windows[0]), "", before
}

// waiting is how many events wait for their turn.
func (s *Source) waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.ring.pending)
}

// send hands a record on.
func (t *target) send(ctx context.Context, e *event, delta int64, mark uint64) error {
	t.s.metrics.records.Inc()
	to := follow.Address{Group: t.s.group(e), Lane: t.lane, Origin: t, Mark: mark}
	return t.s.emitter.Add(ctx, to, e.record(time.Now(), delta, t.s.d.Term()))
}

func (t turn) send(ctx context.Context) error { return t.of.send(ctx, t.e, t.delta, t.mark) }

// Pass implements follow.Handler.
func (t *target) Pass(_ context.Context, p follow.Position) error {
	t.ledger.Pass(p)
	if !p.Listing {
		t.first = false
	}
	return nil
}

// Settled implements otlp.Origin.
func (t *target) Settled(c *otlp.Chunk, o otlp.Outcome) {
	if o == otlp.Aborted {
		t.fail(follow.ErrAborted)
		return
	}
	t.ledger.Done(c.Mark, c.Records, func(n sent) {
		t.s.mu.Lock()
		defer t.s.mu.Unlock()
		t.s.ring.acknowledge(n)
	})
}

// Skipped implements follow.Handler.
func (t *target) Skipped(err error) {
	t.s.metrics.left.WithLabelValues("malformed").Inc()
	t.s.d.Log.Warn("an event can't be read and is left out", "err", err)
}

// Gap implements follow.Handler.
func (t *target) Gap(ctx context.Context, g follow.Gap, from, to string) error {
	return t.gap(ctx, string(g), "What was followed before is of another time line, as after etcd was restored from a backup: events may be missing.", from, to)
}

func (t *target) gap(ctx context.Context, reason, text, from, to string) error {
	s := t.s
	s.metrics.gaps.Inc()
	kvs := []otlp.KeyValue{otlp.Attr("k8s.resource.name", "events"), otlp.Attr("event.domain", "k8s"), otlp.Attr("stint.watch.gap.reason", reason)}
	if from != "" {
		kvs = append(kvs, otlp.Attr("stint.watch.gap.from", from), otlp.Attr("stint.watch.gap.to", to))
	}
	now := uint64(time.Now().UnixNano())
	g := &event{}
	g.InvolvedObject.Namespace = t.namespace
	address := follow.Address{Group: s.group(g), Lane: t.lane, Origin: t, Mark: t.ledger.Open(sent{})}
	return s.emitter.Add(ctx, address, &otlp.LogRecord{
		Time: now, Observed: now, Severity: 13, SeverityText: "WARN", Body: []byte(text), EventName: "stint.watch.gap",
		Attrs: otlp.AppendAttrs(nil, otlp.AttrsOfLogRecord, kvs),
	})
}
