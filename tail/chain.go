package tail

import (
	"slices"
	"sync"
	"sync/atomic"

	"stint/export/otlp"
)

// chain is one logical log: the generations of one incarnation of a container, or of one plain
// file, drained oldest first. Partial lines are joined here and not in the file, because a
// rotation may fall between two pieces.
//
// Life of a byte: the scanner sees the file grow and queues the chain; one worker at a time
// runs it, takes lines off files[0] and emits chunks; each chunk has a span that says up to
// where everything before it is contained in it or in earlier ones; when the chunks are
// settled, in any order, the frontier moves to the end of the longest settled prefix; the
// frontier is saved. A kill at any instant repeats what lies between frontier and read, and
// loses nothing.
type chain struct {
	t      *Tailer
	key    string // "<container directory>/<restart>" or the plain file's path
	group  *otlp.Group
	lane   uint32
	format format
	attrs  [streams][]byte // encoded attributes of a record, by stream
	cut    [streams][]byte // the same with stint.truncated

	// headers: every line has a CRI or json-file header; one without is counted as malformed.
	headers bool

	hotUntil int64 // the scanner's: Tailer.clock until which it is swept often

	waiting  atomic.Bool  // a record waits for its next piece
	caughtUp atomic.Int64 // Tailer.clock when the log was last read to its end

	// The worker's that runs the chain.
	join [streams]join // records of which more pieces follow
	long join          // a physical line longer than the read buffer

	saidMalformed bool

	mu       sync.Mutex
	files    []*file // not drained yet, oldest first
	drained  []*file // read to their ends; open while their names exist
	kept     []keptFile
	past     []content // of files that vanished before their stamps were seen
	state    runState
	again    bool // data came while running
	lastSeq  uint64
	renames  int // live files that were renamed away
	inflight spans
	dirty    bool // a frontier moved since the last save
	// pausedUntil (Tailer.clock) keeps the chain from being run after a panic or a failure.
	pausedUntil int64
}

type runState uint8

const (
	idle runState = iota
	queued
	running
)

// join gathers the pieces of one record, or the parts of one physical line.
type join struct {
	buf     []byte
	active  bool
	cut     bool   // bytes over the limit were left out
	time    uint64 // of the first piece
	file    *file  // where reading must go on if the record is not settled: at its first piece
	seq     uint64
	off     int64
	touched int64 // Tailer.clock when the last piece came
}

func (j *join) begin(f *file, off int64, time uint64) {
	*j = join{buf: j.buf[:0], active: true, time: time, file: f, seq: f.seq, off: off}
}

// add appends a piece and keeps the whole within limit.
func (j *join) add(piece []byte, limit int, now int64) {
	if room := limit - len(j.buf); len(piece) > room {
		piece, j.cut = piece[:max(room, 0)], true
	}
	j.buf = append(j.buf, piece...)
	j.touched = now
}

// end forgets the record and does not keep a large buffer for the next.
func (j *join) end() {
	if cap(j.buf) > 64<<10 {
		j.buf = nil
	}
	*j = join{buf: j.buf[:0]}
}

// joined ends a record that was emitted. A record of another stream that began between its
// pieces takes its beginning over: reading on from between them would give the last pieces
// once more, as a record of their own.
func (c *chain) joined(j *join) {
	for s := range c.join {
		if k := &c.join[s]; k.active && (j.seq < k.seq || j.seq == k.seq && j.off < k.off) {
			k.file, k.seq, k.off = j.file, j.seq, j.off
		}
	}
	j.end()
}

// span is the end of what a chunk and all before it contain.
type span struct {
	file *file
	seq  uint64 // the file's at that time
	to   int64
	done bool
}

// spans are the chunks in flight in the order in which they were read.
type spans struct {
	list  []span
	first uint64 // mark of list[0]
}

// push adds a span and returns its mark. Needs chain.mu.
func (c *chain) push(s span) (mark uint64) {
	c.inflight.list = append(c.inflight.list, s)
	return c.inflight.first + uint64(len(c.inflight.list)-1)
}

// settle marks a span done and moves the frontier over the done prefix. Needs chain.mu.
func (c *chain) settle(mark uint64) {
	in := &c.inflight
	in.list[mark-in.first].done = true
	n := 0
	for n < len(in.list) && in.list[n].done {
		c.advance(in.list[n])
		n++
	}
	in.first += uint64(n)
	if n == len(in.list) {
		in.list = in.list[:0]
		return
	}
	in.list = in.list[n:] // not moved: after an outage there may be thousands
}

// note records that reading came to s without a chunk to show for it (empty lines, the end of
// a file). Needs chain.mu.
func (c *chain) note(s span) {
	if len(c.inflight.list) == 0 {
		c.advance(s)
		return
	}
	s.done = true
	if last := &c.inflight.list[len(c.inflight.list)-1]; last.done && last.file == s.file && last.seq == s.seq {
		last.to = max(last.to, s.to)
		return
	}
	c.push(s)
}

// advance moves the frontier to the end of s. Files read in earlier sessions than s's are
// settled as far as they were read. Needs chain.mu.
func (c *chain) advance(s span) {
	for _, list := range [2][]*file{c.drained, c.files} {
		for _, f := range list {
			if f.seq < s.seq && f.seq > 0 && f.frontier < f.read.Load() {
				f.frontier = f.read.Load()
				c.dirty = true
			}
		}
	}
	if s.file.frontier < s.to {
		s.file.frontier = s.to
		c.dirty = true
	}
}

// safe is the span that ends at off in f, or before the first byte of an unfinished record.
func (c *chain) safe(f *file, off int64) span {
	s := span{file: f, seq: f.seq, to: off}
	for _, j := range [...]*join{&c.join[stdout], &c.join[stderr], &c.join[noStream], &c.long} {
		if j.active && (j.seq < s.seq || j.seq == s.seq && j.off < s.to) {
			s = span{file: j.file, seq: j.seq, to: j.off}
		}
	}
	return s
}

// Settled moves the frontier; it implements otlp.Origin.
func (c *chain) Settled(ch *otlp.Chunk, o otlp.Outcome) {
	n := int64(ch.Records)
	switch o {
	case otlp.Delivered:
		c.t.stats.delivered.Add(n)
	case otlp.Dropped:
		c.t.stats.dropped.Add(n)
	case otlp.Aborted:
		return // read again after the restart
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settle(ch.Mark)
}

// remove takes f out of the files that are to be read; the scanner may have put an older one
// before it. Needs chain.mu.
func (c *chain) remove(f *file) {
	c.files = slices.DeleteFunc(c.files, func(x *file) bool { return x == f })
}

// joining says whether a record waits for more pieces. The worker's.
func (c *chain) joining() bool {
	return c.join[stdout].active || c.join[stderr].active || c.join[noStream].active || c.long.active
}
