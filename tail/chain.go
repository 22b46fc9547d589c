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
//
// Each stream has a frontier of its own, because a record of one stream may wait for its next
// piece for ever while records of the other come and go: only the waiting one is read again.
type chain struct {
	t      *Tailer
	key    string // "<container directory>/<restart>" or the plain file's path
	lane   uint32
	format format

	// headers: every line has a CRI or json-file header; one without is counted as malformed.
	headers bool

	// The scanner's.
	who       container       // zero for a plain file
	base      []otlp.KeyValue // of the resource, from the path
	multiline Multiline
	parse     Parse
	attrs     []otlp.KeyValue // of each record, beside its stream
	encoded   *encoded        // the same, if others share it
	hotUntil  int64           // Tailer.clock until which it is swept often; 0: it is not
	grewAt    int64           // Tailer.clock when it last had something to read
	askUntil  int64           // Tailer.clock until which reading waits for metadata

	caughtUp atomic.Int64 // Tailer.clock when the log was last read to its end
	wakeAt   atomic.Int64 // Tailer.clock when a record has waited long enough; 0 = none waits

	// The worker's that runs the chain.
	profile *profile
	join    [streams]join // records of which more pieces follow
	group   [streams]join // records of which more lines may follow
	state   [streams]groupState
	long    join // a physical line longer than the read buffer
	limit   bucket

	saidMalformed bool

	mu        sync.Mutex
	wanted    *profile // what the next turn works with
	files     []*file  // not drained yet, oldest first
	drained   []*file  // read to their ends; open while their names exist
	kept      []keptFile
	past      []content // of files that vanished before their stamps were seen
	pastUntil int64     // Tailer.clock until which they keep the chain, although nothing else is left of it
	run       runState
	again     bool // data came while running
	lastSeq   uint64
	reading   *file // the file that the worker took last
	births    int   // files that it ever had
	inflight  spans
	dirty     bool // a frontier moved since the last save
	gap       bool // the newest file was given up unread
	// pausedUntil (Tailer.clock) keeps the chain from being run after a panic or a failure.
	pausedUntil int64
}

type runState uint8

const (
	idle runState = iota
	queued
	running
)

// pos is a place in a log; seq is the file's reading session at that time.
type pos struct {
	file *file
	seq  uint64
	off  int64
}

// before orders places of one chain.
func (p pos) before(q pos) bool { return p.seq < q.seq || p.seq == q.seq && p.off < q.off }

// join gathers the pieces of one record, the lines of one, or the parts of one physical line.
type join struct {
	buf     []byte
	active  bool
	cut     bool   // bytes over the limit were left out
	time    uint64 // of the first piece
	from    pos    // where reading must go on if the record is not settled: at its first piece
	since   int64  // Tailer.clock when a record of lines was begun
	touched int64  // Tailer.clock when the last piece came
}

// maxJoined bounds the bytes of all records that wait for their ends, together. Where there is less
// memory for records, it is as much as that.
const maxJoined = 16 << 20

// spares are buffers of joins that are used again. Joins do not keep their own: on a node of
// hundreds of containers, each of which once had a long record, that would be the agent's memory.
type spares struct {
	mu   sync.Mutex
	list [][]byte
}

const (
	maxSpares     = 16
	maxSpareBytes = 64 << 10
)

func (s *spares) get() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.list) - 1
	if n < 0 {
		return nil
	}
	buf := s.list[n]
	s.list = s.list[:n]
	return buf
}

func (s *spares) put(buf []byte) {
	if cap(buf) == 0 || cap(buf) > maxSpareBytes {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.list) < maxSpares {
		s.list = append(s.list, buf[:0])
	}
}

func (j *join) begin(from pos, time uint64) {
	*j = join{active: true, time: time, from: from}
}

// fits says whether n bytes more are within limit, and all joins within their bound.
func (j *join) fits(t *Tailer, n, limit int) bool {
	return len(j.buf)+n <= limit && t.joined.Load()+int64(n) <= t.maxJoined
}

// add appends a piece and keeps the whole within limit, and all joins within their bound.
func (j *join) add(t *Tailer, piece []byte, limit int, now int64) {
	j.touched = now
	room := limit - len(j.buf)
	if len(piece) > room {
		piece, j.cut = piece[:max(room, 0)], true
	}
	if t.joined.Add(int64(len(piece))) > t.maxJoined {
		t.joined.Add(-int64(len(piece)))
		j.cut = true
		return
	}
	if j.buf == nil {
		j.buf = t.spares.get()
	}
	j.buf = append(j.buf, piece...)
}

// end forgets the record.
func (j *join) end(t *Tailer) {
	t.joined.Add(-int64(len(j.buf)))
	t.spares.put(j.buf)
	*j = join{}
}

// span says for each stream up to where a chunk and all before it contain its records.
type span struct {
	at   [streams]pos
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

// settle marks a span done and moves the frontiers over the done prefix. Needs chain.mu.
func (c *chain) settle(mark uint64) {
	in := &c.inflight
	in.list[mark-in.first].done = true
	n := 0
	for n < len(in.list) && in.list[n].done {
		n++
	}
	if n == 0 {
		return
	}
	c.advance(in.list[n-1])
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
	if last := &c.inflight.list[len(c.inflight.list)-1]; last.done {
		*last = s
		return
	}
	c.push(s)
}

// advance moves the frontiers to s. Files read in earlier sessions than s's are settled as far
// as they were read. Needs chain.mu.
func (c *chain) advance(s span) {
	moved := false
	for st, p := range s.at {
		for _, list := range [2][]*file{c.drained, c.files} {
			for _, f := range list {
				if f.seq < p.seq && f.seq > 0 {
					moved = f.settled(stream(st), f.read.Load()) || moved
				}
			}
		}
		moved = p.file.settled(stream(st), p.off) || moved
	}
	if moved {
		c.changed()
	}
}

// changed has the chain's offsets saved. Needs chain.mu.
func (c *chain) changed() {
	if !c.dirty {
		c.dirty = true
		c.t.moved(c)
	}
}

// safe is the span that ends at off in f, for each stream before the first byte of its
// unfinished record.
func (c *chain) safe(f *file, off int64) (s span) {
	here := pos{f, f.seq, off}
	if c.long.active && c.long.from.before(here) {
		here = c.long.from
	}
	for st := range s.at {
		p := here
		if j := &c.join[st]; j.active && j.from.before(p) {
			p = j.from
		}
		if g := &c.group[st]; g.active && g.from.before(p) {
			p = g.from
		}
		s.at[st] = p
	}
	return s
}

// Settled moves the frontiers; it implements otlp.Origin.
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

// joins are all records that wait for something. The worker's.
func (c *chain) joins() [2*streams + 1]*join {
	var all [2*streams + 1]*join
	for s := range c.join {
		all[2*s], all[2*s+1] = &c.join[s], &c.group[s]
	}
	all[2*streams] = &c.long
	return all
}
