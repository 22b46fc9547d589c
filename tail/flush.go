package tail

import (
	"context"
	"time"
)

// flushOld emits records whose next piece or line does not come.
func (w *worker) flushOld(ctx context.Context, c *chain) {
	for s := range c.join {
		if j := &c.join[s]; j.active && w.now-j.touched >= int64(w.t.partialAge) && w.flushJoin(ctx, c, stream(s)) != nil {
			return
		}
		if g := &c.group[s]; g.active && w.now-g.touched >= int64(flushAge) && w.flushGroup(ctx, c, stream(s)) != nil {
			return
		}
	}
}

// flushAll emits all records that wait for something.
func (w *worker) flushAll(ctx context.Context, c *chain) error {
	for s := range c.join {
		if err := w.flushJoin(ctx, c, stream(s)); err != nil {
			return err
		}
		if err := w.flushGroup(ctx, c, stream(s)); err != nil {
			return err
		}
	}
	return nil
}

// due is when the first record of c has waited long enough; 0 if none waits.
func (t *Tailer) due(c *chain) (at int64) {
	first := func(j *join, age time.Duration) {
		if due := j.touched + int64(age); j.active && (at == 0 || due < at) {
			at = due
		}
	}
	for s := range c.join {
		first(&c.join[s], t.partialAge)
		first(&c.group[s], flushAge)
	}
	return at
}

// flushJoin ends an unfinished record of pieces. Its chunk is closed at once: maybe no file is
// left to be read, and the worker goes on to another chain.
func (w *worker) flushJoin(ctx context.Context, c *chain, s stream) error {
	j := &c.join[s]
	if !j.active {
		return nil
	}
	f := c.lastRead(j)
	if err := w.record(ctx, c, f, f.read.Load(), j.from, j.time, s, j.buf, j.cut); err != nil {
		return err
	}
	w.t.stats.unfinished.Add(1)
	j.end(w.t)
	w.close(c, c.safe(f, f.read.Load()))
	return nil
}

// flushGroup ends a record of lines, likewise.
func (w *worker) flushGroup(ctx context.Context, c *chain, s stream) error {
	g := &c.group[s]
	if !g.active {
		return nil
	}
	f := c.lastRead(g)
	if err := w.emit(ctx, c, f, f.read.Load(), g.time, s, g.buf, g.cut); err != nil {
		return err
	}
	g.end(w.t)
	w.close(c, c.safe(f, f.read.Load()))
	return nil
}

// lastRead is the file that was read last. The files of an unfinished record j and all later
// ones are still there.
func (c *chain) lastRead(j *join) *file {
	if f := c.current(); f != nil {
		return f
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	last := j.from.file
	for _, f := range c.drained {
		if f.seq > last.seq {
			last = f
		}
	}
	return last
}
