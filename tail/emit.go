package tail

import (
	"context"
	"unicode/utf8"

	"stint/export/otlp"
)

// record takes one whole record of the runtime, which began at from. at is the offset in f up to
// which everything is contained in the records before this one.
func (w *worker) record(ctx context.Context, c *chain, f *file, at int64, from pos, time uint64, s stream, body []byte, cut bool) error {
	p := c.profile
	if p.drop[s] {
		w.t.stats.filtered.Add(1)
		return nil
	}
	if p.grouping == nil {
		return w.emit(ctx, c, f, at, time, s, body, cut)
	}
	g := &c.group[s]
	// What is too much for one record begins another: nothing is cut off for being a continuation.
	if p.grouping.next(&c.state[s], body) && g.active && w.now-g.since < int64(groupAge) && g.fits(w.t, 1+len(body), w.t.cfg.MaxLineBytes) {
		w.t.stats.grouped.Add(1)
		g.add(w.t, newline, w.t.cfg.MaxLineBytes, w.now)
		g.add(w.t, body, w.t.cfg.MaxLineBytes, w.now)
		g.cut = g.cut || cut
		return nil
	}
	if g.active {
		if err := w.emit(ctx, c, f, at, g.time, s, g.buf, g.cut); err != nil {
			return err
		}
		g.end(w.t)
	}
	if !g.fits(w.t, len(body), w.t.cfg.MaxLineBytes) {
		return w.emit(ctx, c, f, at, time, s, body, cut)
	}
	g.begin(from, time)
	g.since = w.now
	g.add(w.t, body, w.t.cfg.MaxLineBytes, w.now)
	g.cut = g.cut || cut
	return nil
}

var newline = []byte{'\n'}

// emit encodes one record; at is as in record.
func (w *worker) emit(ctx context.Context, c *chain, f *file, at int64, time uint64, s stream, body []byte, cut bool) error {
	p := c.profile
	if p.limited && !c.limit.take(w.t.cfg.Containers.RateLimit, w.now) {
		w.t.stats.limited.Add(1)
		return nil
	}
	if limit := w.t.cfg.MaxLineBytes; len(body) > limit {
		body, cut = body[:limit], true
	}
	attrs := p.attrs[s]
	if cut {
		w.t.stats.truncated.Add(1)
		attrs, body = p.cut[s], cutAtRune(body)
	}
	if !utf8.Valid(body) {
		w.repaired = otlp.AppendValidUTF8(w.repaired[:0], body)
		body = w.repaired
	}
	if p.body != bodyOff {
		return w.emitParsed(ctx, c, f, at, time, body, attrs)
	}
	if err := w.reserve(ctx, c, f, at, otlp.LogRecordLen(len(body), len(attrs))); err != nil {
		return err
	}
	w.slab.Buf = otlp.AppendLogRecord(w.slab.Buf, &otlp.LogRecord{Time: time, Observed: w.observed, Body: body, Attrs: attrs})
	w.records++
	return nil
}

// emitParsed is the rest of emit for a log whose bodies are looked into.
func (w *worker) emitParsed(ctx context.Context, c *chain, f *file, at int64, time uint64, body, attrs []byte) error {
	r := otlp.LogRecord{Time: time, Body: body, Attrs: attrs}
	if w.body.parse(&r, c.profile.body, c.profile.structured) {
		w.t.stats.parsed.Add(1)
	}
	r.Observed = w.observed
	if err := w.reserve(ctx, c, f, at, r.Len()); err != nil {
		return err
	}
	w.slab.Buf = otlp.AppendLogRecord(w.slab.Buf, &r)
	w.records++
	return nil
}

// reserve makes room for need bytes in the open chunk.
func (w *worker) reserve(ctx context.Context, c *chain, f *file, at int64, need int) error {
	if w.slab != nil && cap(w.slab.Buf)-len(w.slab.Buf) >= need && w.records < maxChunkRecords {
		return nil
	}
	return w.room(ctx, c, f, at, need)
}

// room closes the open chunk and, when the slab is full, gets another. It waits while the
// memory limit is reached: that is how a slow destination stops the reading.
func (w *worker) room(ctx context.Context, c *chain, f *file, at int64, need int) error {
	w.close(c, c.safe(f, at))
	if w.slab != nil {
		if cap(w.slab.Buf)-len(w.slab.Buf) >= need {
			return nil
		}
		w.slab.Release()
		w.slab = nil
	}
	slab := w.t.pool.TryGet(need)
	if slab == nil {
		w.waited = true
		w.t.ready.starve(1)
		var err error
		slab, err = w.t.pool.Get(ctx, need)
		w.t.ready.starve(-1)
		if err != nil {
			return err
		}
	}
	w.slab, w.start = slab, 0
	w.tick() // it may have taken long
	return nil
}

// close hands the open chunk on, if there is one; s says up to where everything is contained
// in it and in the chunks before.
func (w *worker) close(c *chain, s span) {
	c.mu.Lock()
	if w.records == 0 {
		c.note(s)
		c.mu.Unlock()
		return
	}
	mark := c.push(s)
	c.mu.Unlock()

	end := len(w.slab.Buf)
	ch := otlp.NewChunk(w.slab, w.slab.Buf[w.start:end:end])
	ch.Group, ch.Signal, ch.Records = c.profile.group, otlp.Logs, w.records
	ch.Lane, ch.Origin, ch.Mark = c.lane, c, mark
	w.t.stats.read.Add(int64(w.records))
	w.start, w.records = end, 0
	w.t.out(ch)
}

// cutAtRune takes the beginning of a rune off the end.
func cutAtRune(b []byte) []byte {
	for i := len(b) - 1; i >= 0 && i >= len(b)-utf8.UTFMax; i-- {
		if utf8.RuneStart(b[i]) {
			if !utf8.FullRune(b[i:]) {
				return b[:i]
			}
			break
		}
	}
	return b
}
