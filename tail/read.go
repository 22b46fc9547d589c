package tail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"time"

	"stint/export/otlp"
)

const (
	readBytes = 64 << 10 // of one read
	turnBytes = 1 << 20  // of one chain before the next has its turn
	// maxChunkRecords keeps a chunk well below a batch of 10,000, so that batches fill up.
	maxChunkRecords = 2000
	// quiet is how long a rotated file must not have changed before the next generation is read:
	// the writer goes on in the renamed file until the runtime reopens its log.
	quiet = time.Second
	// partialAge is how long a record waits for its next piece once its file stands still. A
	// runtime writes a piece without an end only when the container's output ended without a
	// newline, or when the writer stopped in the middle of a line.
	partialAge = 10 * time.Second
	// panicPause is how long a log is left alone whose reading panicked, failPause one that could
	// not be decompressed or read.
	panicPause = time.Minute
	failPause  = 5 * time.Second
	// flushAge is how long a record waits for a further line once its file stands still: a stack
	// trace is written in one go.
	flushAge = time.Second
	// groupAge is how long a record gathers lines: of a log whose lines all go on with the one
	// before nothing would be sent as long as it is busy.
	groupAge = 5 * time.Second
)

// format says how the lines of a chain are written.
type format uint8

const (
	auto format = iota
	cri
	docker
	plain
)

// worker takes lines off chains and encodes them. It holds a slab across turns, so that many
// small chunks share it.
type worker struct {
	t        *Tailer
	buf      []byte
	scratch  []byte // unescaped docker bodies
	repaired []byte // bodies that were not UTF-8
	clock    clock
	body     bodyParser

	slab    *otlp.Slab
	start   int  // of the open chunk in slab.Buf
	records int  // in the open chunk
	waited  bool // for memory, since the file was last checked

	now      int64 // Tailer.clock of this turn
	observed uint64
}

// run takes chains off the ready queue until ctx ends.
func (w *worker) run(ctx context.Context) {
	defer func() {
		if w.slab != nil {
			w.slab.Release()
		}
	}()
	for {
		c := w.t.ready.pop(ctx, w.lendBack)
		if c == nil {
			return
		}
		c.mu.Lock()
		c.run, c.again = running, false
		c.mu.Unlock()

		more := w.fenced(ctx, c)

		c.mu.Lock()
		if more = (more || c.again) && ctx.Err() == nil && c.pausedUntil <= w.t.clock(); more {
			c.run = queued
		} else {
			c.run = idle
		}
		c.mu.Unlock()
		if more {
			w.t.ready.push(c)
		}
	}
}

// lendBack gives the slab of a worker that has nothing to do to those who wait for one.
func (w *worker) lendBack() {
	if w.slab != nil {
		w.slab.Release()
		w.slab = nil
	}
}

// fenced runs one turn; a panic in it costs this chain a pause, not the process.
func (w *worker) fenced(ctx context.Context, c *chain) (more bool) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		w.t.stats.panics.Add(1)
		w.t.log.Error("reading a log panicked; it is tried again after a pause", "log", c.key, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		if f := c.current(); f != nil { // the lines before the bad one are whole
			w.close(c, c.safe(f, f.read.Load()))
		}
		w.pause(c, panicPause)
		more = false
	}()
	return w.turn(ctx, c)
}

// pause keeps c from being run for a while.
func (w *worker) pause(c *chain, d time.Duration) {
	c.mu.Lock()
	c.pausedUntil = w.t.clock() + int64(d)
	c.mu.Unlock()
}

// tick takes the time for what is read from now on.
func (w *worker) tick() {
	w.now, w.observed = w.t.clock(), uint64(time.Now().UnixNano())
}

// turn reads up to turnBytes of c and says whether there is more.
func (w *worker) turn(ctx context.Context, c *chain) (more bool) {
	w.tick()
	if err := w.adopt(ctx, c); err != nil {
		return false
	}
	left := turnBytes
	atEnd := true // there is nothing more to read now
	var checked *file
	for left > 0 {
		f := c.take()
		if f == nil {
			break
		}
		if c.long.active && c.long.from.file != f { // its file is read again from there
			c.long.from.file.read.Store(c.long.from.off)
			c.long.end(w.t)
		}
		if f.f == nil {
			if !w.inflate(c, f) {
				atEnd = false
				break
			}
			continue
		}
		if f != checked || w.waited { // for memory: for hours, maybe
			checked, w.waited = f, false
			if w.afterGap(c, f) && w.flushAll(ctx, c) != nil {
				atEnd = false
				break
			}
			if !f.continues() {
				w.truncated(c, f)
			}
		}
		n, err := w.read(ctx, c, f)
		if err != nil {
			if ctx.Err() == nil {
				w.t.log.Warn("log could not be read; it is tried again", "log", c.key, "err", err)
				w.pause(c, failPause)
			}
			atEnd = false
			break
		}
		left -= n
		if n == 0 && !w.finish(ctx, c, f) {
			break
		}
	}
	if ctx.Err() != nil {
		left = 0 // cut short: not at the end
	}
	if left > 0 && atEnd {
		w.flushOld(ctx, c)
		c.caughtUp.Store(w.now)
	}
	if f := c.current(); f != nil {
		w.close(c, c.safe(f, f.read.Load()))
	}
	c.wakeAt.Store(w.t.due(c))
	return left <= 0
}

// afterGap says, when f is begun, whether something is missing before it.
func (w *worker) afterGap(c *chain, f *file) (gap bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	gap = f.gap
	f.gap, f.touched = false, false
	return gap
}

// adopt takes the profile that the scanner has for c. Records that wait for further lines leave
// as what they are.
func (w *worker) adopt(ctx context.Context, c *chain) error {
	c.mu.Lock()
	p := c.wanted
	c.mu.Unlock()
	if p == c.profile {
		return nil
	}
	if c.profile != nil && p.skip {
		if err := w.flushAll(ctx, c); err != nil {
			return err
		}
		if c.long.active {
			c.long.end(w.t)
		}
	}
	if was := c.profile; was != nil && was.grouping != p.grouping {
		for s := range c.group {
			if err := w.flushGroup(ctx, c, stream(s)); err != nil {
				return err
			}
		}
	}
	c.profile = p
	return nil
}

// inflate makes the content of a compressed log readable, or takes the log off the chain when
// there is nothing in it to read. It says whether to go on now.
func (w *worker) inflate(c *chain, f *file) bool {
	err := w.t.inflate(c, f)
	var corrupt corruptError
	switch {
	case err == nil:
		return true
	case errors.As(err, &corrupt):
		// What it held is unknown: its trailer may be what is damaged.
		size := int64(0)
		if st, err := f.gz.Stat(); err == nil {
			size = st.Size()
		}
		w.t.lose(lostDamaged, size, 0)
		if f.id != 0 {
			w.t.mu.Lock()
			w.t.pending = append(w.t.pending, record{ID: f.id, Gone: true})
			w.t.mu.Unlock()
		}
		w.t.log.Error("compressed log is damaged; its lines are lost", "file", f.path, "compressed_bytes", size, "err", err)
	case errors.Is(err, errNoRoom): // until others are delivered
		w.pause(c, time.Second)
		return false
	case !errors.Is(err, errKnown):
		w.t.log.Warn("compressed log can't be read now; it is tried again", "file", f.path, "err", err)
		w.pause(c, failPause)
		return false
	}
	w.t.mu.Lock()
	defer w.t.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(f)
	w.t.keepName(c, f.order, f.path, f.size.Load())
	f.close()
	return true
}

// current is the file that is to be read next: the oldest that is not drained. When it is
// another than before, a new reading session begins.
func (c *chain) current() *file {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.front()
}

// take is current for who is going to read the file: nobody else takes it off the chain then.
func (c *chain) take() *file {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reading = c.front()
	return c.reading
}

// front is current for who has chain.mu.
func (c *chain) front() *file {
	if len(c.files) == 0 {
		return nil
	}
	f := c.files[0]
	if f.seq == 0 || f.seq != c.lastSeq {
		c.lastSeq++
		f.seq = c.lastSeq
	}
	return f
}

// read takes the complete lines of one buffer off f and returns how many bytes it advanced:
// 0 at the end of the file.
func (w *worker) read(ctx context.Context, c *chain, f *file) (int, error) {
	from := f.read.Load()
	if c.profile.skip {
		return w.passOver(c, f)
	}
	n, err := f.f.ReadAt(w.buf, from)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	if n == 0 {
		c.mu.Lock()
		err := f.look(w.now)
		c.mu.Unlock()
		if err == nil && f.size.Load() < from { // cut in place: what is there now is new
			w.truncated(c, f)
			return w.read(ctx, c, f)
		}
		return 0, err
	}
	data, at := w.buf[:n], from
	for {
		i := bytes.IndexByte(data, '\n')
		if i < 0 {
			break
		}
		text := data[:i]
		if c.long.active {
			c.long.add(w.t, text, w.t.cfg.MaxLineBytes+maxHeader, w.now)
			text = c.long.buf
		}
		if err := w.take(ctx, c, f, at, text); err != nil {
			return 0, err
		}
		if c.long.active {
			c.long.end(w.t)
		}
		data = data[i+1:]
		at += int64(i + 1)
		f.read.Store(at)
	}
	if len(data) == len(w.buf) || c.long.active && len(data) > 0 {
		// A line longer than the buffer, or the rest of one: keep it apart.
		if !c.long.active {
			c.long.begin(pos{f, f.seq, at}, 0)
		}
		c.long.add(w.t, data, w.t.cfg.MaxLineBytes+maxHeader, w.now)
		at += int64(len(data))
		f.read.Store(at)
	}
	f.tried.Store(from + int64(n))
	f.markFrom(w.buf[:at-from], at)
	w.t.stats.bytes.Add(at - from)
	return int(at - from), nil
}

// maxHeader is room for what stands around a record in a physical line. JSON escapes make a
// docker line up to six times longer than its message, but its pieces are 16 KiB.
const maxHeader = 512

// passOver goes to the end of f without reading it, but for the beginning of a line that may be
// read later.
func (w *worker) passOver(c *chain, f *file) (int, error) {
	from := f.read.Load()
	c.mu.Lock()
	err := f.look(w.now)
	c.mu.Unlock()
	to := f.size.Load()
	if err == nil && to < from {
		w.truncated(c, f)
		return w.passOver(c, f)
	}
	if err != nil || to == from {
		return 0, err
	}
	begin := max(from, to-readBytes)
	n, err := f.f.ReadAt(w.buf[:to-begin], begin)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	f.tried.Store(begin + int64(n))
	if i := bytes.LastIndexByte(w.buf[:n], '\n'); i >= 0 || begin == from {
		to = begin + int64(i+1)
	}
	f.read.Store(to)
	w.t.stats.skipped.Add(to - from)
	return int(min(to-from, turnBytes)), nil
}

// truncated starts f again at 0.
func (w *worker) truncated(c *chain, f *file) {
	w.t.stats.truncations.Add(1)
	c.mu.Lock()
	lost := f.cutOff
	f.cutOff = 0
	c.mu.Unlock()
	w.t.lose(lostTruncated, lost, 0)
	w.t.log.Warn("log was truncated in place; reading it from its beginning", "log", c.key, "lost_bytes", lost)
	w.close(c, c.safe(f, f.read.Load()))
	c.mu.Lock()
	defer c.mu.Unlock()
	// The spans in flight speak of the old content: they must not move the new frontier.
	for i := range c.inflight.list {
		for st := range c.inflight.list[i].at {
			if p := &c.inflight.list[i].at[st]; p.file == f {
				p.off = 0
			}
		}
	}
	f.tried.Store(0)
	f.resume([streams]int64{})
	f.headLen = 0
	c.changed()
	for _, j := range c.joins() {
		if j.active && j.from.file == f {
			j.from.off = 0
		}
	}
}

// finish ends f when it is read to its end, a later generation exists or f was unlinked, and
// its writer has left it. It says whether there is something else to read now.
func (w *worker) finish(ctx context.Context, c *chain, f *file) bool {
	c.mu.Lock()
	last := len(c.files) == 1
	over := f.look(w.now) == nil && (!last || f.gone || f.order != live) && f.left(w.now)
	c.mu.Unlock()
	if !over {
		return false
	}
	at := f.read.Load()
	n, err := f.f.ReadAt(w.buf, at)
	if !errors.Is(err, io.EOF) || bytes.IndexByte(w.buf[:n], '\n') >= 0 {
		return false // grew meanwhile: the next turn
	}
	if n > 0 || c.long.active { // a line without its newline: nobody will end it
		text := w.buf[:n]
		if c.long.active {
			c.long.add(w.t, text, w.t.cfg.MaxLineBytes+maxHeader, w.now)
			text = c.long.buf
		}
		if !c.profile.skip && w.take(ctx, c, f, at, text) != nil {
			return false
		}
		if c.long.active {
			c.long.end(w.t)
		}
		f.read.Store(at + int64(n))
	}
	if last && f.gone && f.order == live && w.flushAll(ctx, c) != nil { // deleted, not rotated: nothing follows
		return false
	}
	w.close(c, c.safe(f, f.read.Load()))
	c.mu.Lock()
	defer c.mu.Unlock()
	f.drained = true
	c.remove(f)
	c.drained = append(c.drained, f)
	w.t.stats.rotations.Add(1)
	return len(c.files) > 0
}

// take turns one physical line, which began at offset at of f, into a record or a piece of one.
func (w *worker) take(ctx context.Context, c *chain, f *file, at int64, text []byte) error {
	text = trimCR(text)
	if len(text) == 0 {
		return nil
	}
	if text[0] == 0 && c.format != plain { // the hole that copytruncate leaves
		if text = bytes.TrimLeft(text, "\x00"); len(text) == 0 {
			return nil
		}
	}
	l, ok := line{stream: noStream, body: text}, c.format == plain
	switch {
	case text[0] == '{' && (c.format == auto || c.format == docker):
		var d line
		if d, w.scratch, ok = parseDocker(text, &w.clock, w.scratch); ok {
			l = d
		}
	case c.format == auto || c.format == cri:
		var p line
		if p, ok = parseCRI(text, &w.clock); ok {
			l = p
		}
	}
	if !ok && c.headers {
		w.t.stats.malformed.Add(1)
		if !c.saidMalformed { // once a log: there may be many lines
			c.saidMalformed = true
			w.t.log.Warn("log line is neither CRI nor json-file; sent as it stands", "log", c.key, "offset", at)
		}
	}
	from := pos{f, f.seq, at}
	if c.long.active {
		from = c.long.from
	}
	if from.off < f.skip[l.stream] { // settled before the restart
		return nil
	}
	j := &c.join[l.stream]
	if !j.active && !l.partial {
		if c.profile.simple {
			return w.emit(ctx, c, f, at, l.time, l.stream, l.body, c.long.cut)
		}
		return w.record(ctx, c, f, at, from, l.time, l.stream, l.body, c.long.cut)
	}
	if !j.active {
		j.begin(from, l.time)
	}
	j.add(w.t, l.body, w.t.cfg.MaxLineBytes, w.now)
	if l.partial {
		return nil
	}
	if err := w.record(ctx, c, f, at, j.from, j.time, l.stream, j.buf, j.cut); err != nil {
		return err
	}
	j.end(w.t)
	return nil
}
