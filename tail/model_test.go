package tail

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"golang.org/x/sys/unix"

	"stint/export/otlp"
)

var (
	modelSteps = flag.Int("model.steps", 3000, "actions of TestModel")
	modelSeed  = flag.Uint64("model.seed", 1, "seed of TestModel")
)

// model does to a node's logs at random what containers, runtime and kubelet do, stops and
// kills the tailer meanwhile, and knows for each record what may become of it.
//
// Positions count the physical lines of one incarnation's log over all its generations. Where a
// restarted tailer must go on follows from what was settled: before the first record that was
// not, without those that ended before it.
type model struct {
	*rig
	rnd     *rand.Rand
	pods    []*mPod
	logs    map[string]*mLog // by what the records' resource says
	chunks  []mChunk         // not settled yet; guarded by rig.mu
	stamp   int
	repeats int
}

type mPod struct {
	name string
	log  *mLog // of the running incarnation
	past *mLog // of the one before
}

type mLog struct {
	dir     string
	restart int
	gens    []*mGen // oldest first; the last is live
	records []*mRecord
	open    [2]*mRecord // by stream: pieces of it are written, its end is not
	pos     int
	half    string // the rest of a line of which a part is written
	saved   int    // records that end before this position can't come again
	epoch   int    // saved, when the tailer was started
	next    [2]int // by stream: arrivals since the start must not have a lower number
}

type mGen struct {
	path     string
	inodes   []inode // of the plain and of the compressed file
	deleted  bool
	compress bool
}

type mRecord struct {
	body       string
	stream     int
	number     int   // in records
	gen, last  *mGen // of the first and the last piece
	start, end int
	settled    bool // ever
	inFlight   bool // arrived and not settled
	lost       bool // deleted unread: need not arrive
}

type mChunk struct {
	c    *otlp.Chunk
	recs []*mRecord
}

var mStreams = [2]string{"stdout", "stderr"}

func TestModel(t *testing.T) {
	m := &model{rig: newRig(t), rnd: rand.New(rand.NewPCG(*modelSeed, 7)), logs: map[string]*mLog{}}
	m.age, m.look, m.each = time.Hour, 20*time.Millisecond, m.arrived
	for range 4 {
		m.pods = append(m.pods, m.newPod())
	}
	m.begin()
	counts := map[string]int{}
	actions := []struct {
		name   string
		weight int
		do     func(p *mPod)
	}{
		{"write", 500, m.someLines}, {"burst", 8, m.burst}, {"half", 60, m.halfLine}, {"settle", 200, m.settleSome},
		{"rotate", 60, m.rotate}, {"compress", 40, m.compressOldest}, {"delete oldest", 25, m.deleteOldest},
		{"truncate", 10, m.truncate}, {"restart container", 15, m.restartContainer}, {"delete pod", 5, m.deletePod}, {"save", 30, m.save},
		{"stop", 6, m.stopAndStart}, {"kill", 6, m.killAndStart}, {"catch up", 12, m.catchUp}, {"away", 5, m.away},
	}
	var done []string
	total := 0
	for _, a := range actions {
		total += a.weight
	}
	for range *modelSteps {
		n := m.rnd.IntN(total)
		for _, a := range actions {
			if n -= a.weight; n < 0 {
				counts[a.name]++
				p := m.pods[m.rnd.IntN(len(m.pods))]
				done = append(done, fmt.Sprintf("%s %s/%d", a.name, p.name, p.log.restart))
				a.do(p)
				break
			}
		}
		if t.Failed() {
			t.Fatalf("after %d actions:\n%s", len(done), strings.Join(done[max(len(done)-300, 0):], "\n"))
		}
	}
	for _, p := range m.pods {
		m.finishRecords(p.log)
	}
	m.settleAll()
	records, lost := 0, 0
	for _, l := range m.logs {
		for _, r := range l.records {
			records++
			if r.lost {
				lost++
			}
		}
	}
	m.end()
	t.Logf("%d records, %d deleted unread, %d repeated; %v", records, lost, m.repeats, counts)
}

// arrived checks records against what was written; rig.mu is held.
func (m *model) arrived(c *otlp.Chunk, recs []got) {
	var list []*mRecord
	for _, g := range recs {
		l := m.logs[g.pod]
		number, _, _ := strings.Cut(g.body, " ")
		n, err := strconv.Atoi(number)
		if l != nil && err != nil && slices.ContainsFunc(l.records, func(r *mRecord) bool {
			return r.gen.deleted && r.stream == slices.Index(mStreams[:], g.stream) && strings.HasSuffix(r.body, g.body)
		}) {
			continue // the first piece was deleted; if the record is missed, settleUntil finds out
		}
		if l == nil || err != nil || n >= len(l.records) {
			m.t.Errorf("invented: %s %s %q", g.pod, g.stream, g.body)
			for _, r := range l.records {
				if strings.Contains(r.body, g.body) {
					m.t.Errorf("part of %+v of %s", *r, r.gen.path)
				}
			}
			continue
		}
		r := l.records[n]
		if r.lost && r.gen != r.last && strings.HasPrefix(r.body, g.body) {
			g.body = r.body // a later piece was deleted unread
		}
		if g.body != r.body || g.stream != mStreams[r.stream] || l.open[r.stream] == r {
			m.t.Errorf("%s: record %d arrived as %s %q, want %s %q", g.pod, n, g.stream, g.body, mStreams[r.stream], r.body)
		}
		if n < l.next[r.stream] {
			m.t.Errorf("%s: %s record %d came again or late, expected %d or later", g.pod, g.stream, n, l.next[r.stream])
		}
		l.next[r.stream] = n + 1
		if r.settled {
			m.repeats++
			if r.end < l.epoch {
				m.t.Errorf("%s: %s record %d (at %d to %d) was acknowledged and saved (up to %d) and came again", g.pod, g.stream, n, r.start, r.end, l.epoch)
			}
		}
		r.inFlight = true
		list = append(list, r)
	}
	m.chunks = append(m.chunks, mChunk{c, list})
	m.news.Broadcast()
}

func (m *model) newPod() *mPod {
	p := &mPod{name: fmt.Sprintf("pod-%d", len(m.logs))}
	p.log = m.newLog(p, 0)
	return p
}

func (m *model) newLog(p *mPod, restart int) *mLog {
	l := &mLog{dir: filepath.Dir(m.log(p.name, "x")), restart: restart}
	m.newLive(l)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.logs[fmt.Sprintf("ns/%s/main/%d", p.name, restart)] = l
	return l
}

func (m *model) newLive(l *mLog) {
	g := &mGen{path: filepath.Join(l.dir, fmt.Sprintf("%d.log", l.restart))}
	m.write(g.path, "")
	g.inodes = append(g.inodes, m.inode(g.path))
	l.gens = append(l.gens, g)
}

func (m *model) inode(path string) inode {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		m.t.Fatal(err)
	}
	return inode{uint64(st.Dev), st.Ino}
}

// line appends one line, whole or a piece, and returns its text.
func (m *model) line(l *mLog, stream int, last bool) string {
	m.mu.Lock() // arrived reads
	defer m.mu.Unlock()
	r := l.open[stream]
	gen := l.gens[len(l.gens)-1]
	piece := "~" + strings.Repeat("x ", m.rnd.IntN(40)) + strconv.Itoa(m.rnd.IntN(1000))
	if r == nil {
		r = &mRecord{stream: stream, number: len(l.records), start: l.pos, gen: gen}
		l.records = append(l.records, r)
		piece = fmt.Sprintf("%d %s", r.number, piece)
	}
	r.body += piece
	r.end, r.last = l.pos, gen
	l.pos++
	tag := "P"
	if last {
		tag = "F"
		l.open[stream] = nil
	} else {
		l.open[stream] = r
	}
	return criLine(mStreams[stream]+" "+tag, piece)
}

func (m *model) lines(l *mLog, n int) {
	text := l.half
	l.half = ""
	for range n {
		text += m.line(l, m.rnd.IntN(2), m.rnd.IntN(4) != 0)
	}
	m.write(l.gens[len(l.gens)-1].path, text)
}

func (m *model) someLines(p *mPod) { m.lines(p.log, 1+m.rnd.IntN(20)) }
func (m *model) burst(p *mPod)     { m.lines(p.log, 3000) }

func (m *model) halfLine(p *mPod) {
	m.lines(p.log, 0)
	text := m.line(p.log, m.rnd.IntN(2), m.rnd.IntN(4) != 0)
	cut := 1 + m.rnd.IntN(len(text)-1)
	m.write(p.log.gens[len(p.log.gens)-1].path, text[:cut])
	p.log.half = text[cut:]
}

// finishRecords writes the ends of what was begun.
func (m *model) finishRecords(l *mLog) {
	m.lines(l, 0)
	for s := range l.open {
		if l.open[s] != nil {
			m.write(l.gens[len(l.gens)-1].path, m.line(l, s, true))
		}
	}
}

// isOpen says whether the tailer holds the generation open.
func (m *model) isOpen(l *mLog, g *mGen) bool {
	if m.stop == nil {
		return false
	}
	m.tailer.mu.Lock()
	defer m.tailer.mu.Unlock()
	c := m.tailer.chains[l.dir+"/"+strconv.Itoa(l.restart)]
	return c != nil && slices.ContainsFunc(g.inodes, func(i inode) bool { return c.find(i.dev, i.ino) != nil })
}

// looked says whether the last rotation was seen, if the tailer runs. The kubelet's steps are ten
// seconds apart: it is, before the next.
func (m *model) looked(l *mLog) bool {
	return m.stop == nil || m.isOpen(l, l.gens[len(l.gens)-1])
}

func (m *model) rotate(p *mPod) {
	l := p.log
	live := l.gens[len(l.gens)-1]
	if !m.looked(l) {
		return
	}
	m.lines(l, m.rnd.IntN(3))
	m.stamp++
	to := fmt.Sprintf("%s.20260102-%06d", live.path, m.stamp)
	m.rename(live.path, to)
	live.path = to
	m.lines(l, m.rnd.IntN(2)) // the writer goes on until the runtime reopens its log
	m.newLive(l)
	m.old(to)
}

func (m *model) compressOldest(p *mPod) {
	for _, g := range p.log.gens[:len(p.log.gens)-1] {
		if !g.deleted && !g.compress && m.looked(p.log) {
			m.compress(g)
			return
		}
	}
}

func (m *model) compress(g *mGen) {
	content, err := os.ReadFile(g.path)
	if err != nil {
		m.t.Fatal(err)
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write(content)
	z.Close()
	if err := os.WriteFile(g.path+".tmp", b.Bytes(), 0o644); err != nil {
		m.t.Fatal(err)
	}
	g.inodes = append(g.inodes, m.inode(g.path+".tmp"))
	m.rename(g.path+".tmp", g.path+".gz")
	if err := os.Remove(g.path); err != nil {
		m.t.Fatal(err)
	}
	g.path += ".gz"
	g.compress = true
}

func (m *model) deleteOldest(p *mPod) {
	for _, g := range p.log.gens[:len(p.log.gens)-1] {
		if !g.deleted && m.looked(p.log) {
			m.delete(p.log, g)
			return
		}
	}
}

// delete removes a generation. What it holds must arrive all the same if the tailer has it open.
func (m *model) delete(l *mLog, g *mGen) {
	if g.deleted {
		return
	}
	if !m.isOpen(l, g) {
		m.lose(l, g)
	}
	m.mu.Lock()
	g.deleted = true
	m.mu.Unlock()
	if err := os.Remove(g.path); err != nil {
		m.t.Fatal(err)
	}
}

// truncate cuts the live log in place, after it was delivered: what else becomes of its records,
// nobody can tell after a restart.
func (m *model) truncate(p *mPod) {
	l := p.log
	if !m.looked(l) || m.stop == nil {
		return
	}
	m.finishRecords(l)
	m.settleUntil(func(_ *mRecord, of *mLog) bool { return of == l })
	m.save(nil)
	g := l.gens[len(l.gens)-1]
	m.mu.Lock()
	g.deleted = true
	l.gens = append(l.gens, &mGen{path: g.path, inodes: g.inodes})
	m.mu.Unlock()
	if err := os.Truncate(g.path, 0); err != nil {
		m.t.Fatal(err)
	}
}

// lose excuses the records of g that were not settled, and those that have pieces in it.
func (m *model) lose(l *mLog, g *mGen) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.Index(l.gens, g)
	for _, r := range l.records {
		if !r.settled && slices.Index(l.gens, r.gen) <= i && i <= slices.Index(l.gens, r.last) {
			r.lost = true
		}
	}
}

func (m *model) restartContainer(p *mPod) {
	m.finishRecords(p.log)
	m.old(p.log.gens[len(p.log.gens)-1].path)
	if p.past != nil {
		for _, g := range p.past.gens {
			m.delete(p.past, g)
		}
	}
	p.past = p.log
	p.log = m.newLog(p, p.past.restart+1)
}

func (m *model) deletePod(p *mPod) {
	m.finishRecords(p.log)
	for _, l := range []*mLog{p.log, p.past} {
		if l != nil {
			if live := l.gens[len(l.gens)-1]; !live.deleted {
				m.old(live.path)
			}
			for _, g := range l.gens {
				m.delete(l, g)
			}
		}
	}
	if err := os.RemoveAll(filepath.Dir(p.log.dir)); err != nil {
		m.t.Fatal(err)
	}
	*p = *m.newPod()
}

// settleSome answers some of the chunks in any order.
func (m *model) settleSome(*mPod) {
	m.mu.Lock()
	m.rnd.Shuffle(len(m.chunks), func(i, j int) { m.chunks[i], m.chunks[j] = m.chunks[j], m.chunks[i] })
	n := m.rnd.IntN(len(m.chunks) + 1)
	some := slices.Clone(m.chunks[:n])
	m.chunks = slices.Delete(m.chunks, 0, n)
	for _, c := range some {
		for _, r := range c.recs {
			r.settled, r.inFlight = true, false
		}
	}
	m.mu.Unlock()
	for _, c := range some {
		c.c.Settle(otlp.Outcome(m.rnd.IntN(2))) // delivered or dropped
	}
}

// frontiers is where a restart may go on, at worst.
func (m *model) frontiers() map[*mLog]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := map[*mLog]int{}
	for _, l := range m.logs {
		f := l.pos
		for _, r := range l.records {
			// What was settled before a kill must be read again, or be passed over.
			passed := r.settled && !r.inFlight && (r.end < l.epoch || r.number < l.next[r.stream])
			if !passed && !r.lost {
				f = min(f, r.start)
			}
		}
		at[l] = f
	}
	return at
}

func (m *model) save(*mPod) {
	at := m.frontiers()
	if err := m.tailer.save(false); err != nil {
		m.t.Error(err)
	}
	m.saved(at)
}

func (m *model) saved(at map[*mLog]int) {
	for l, f := range at {
		l.saved = max(l.saved, f)
	}
}

func (m *model) stopAndStart(*mPod) { m.halt(true); m.begin() }
func (m *model) killAndStart(*mPod) { m.halt(false); m.begin() }

// away lets things happen while the tailer does not run.
func (m *model) away(*mPod) {
	m.halt(m.rnd.IntN(2) == 0)
	for range 10 {
		p := m.pods[m.rnd.IntN(len(m.pods))]
		[]func(*mPod){m.someLines, m.halfLine, m.rotate, m.rotate, m.compressOldest, m.compressOldest, m.deleteOldest, m.restartContainer}[m.rnd.IntN(8)](p)
	}
	m.begin()
}

func (m *model) halt(graceful bool) {
	if graceful {
		m.rig.stop()
		m.settleSome(nil)
	}
	at := m.frontiers()
	m.mu.Lock()
	rest := m.chunks
	m.chunks = nil
	m.mu.Unlock()
	if graceful {
		for _, c := range rest {
			c.c.Settle(otlp.Aborted)
		}
		m.rig.stop = func() {}
		m.end()
		m.saved(at)
	} else {
		m.kill()
		m.mu.Lock()
		rest = append(rest, m.chunks...)
		m.chunks = nil
		m.mu.Unlock()
		for _, c := range rest {
			c.c.Settle(otlp.Aborted)
		}
	}
	for _, l := range m.logs {
		for _, g := range l.gens {
			if g.deleted {
				m.lose(l, g)
			}
		}
	}
}

func (m *model) begin() {
	m.mu.Lock()
	for _, l := range m.logs {
		l.epoch, l.next = l.saved, [2]int{}
		for _, r := range l.records {
			r.inFlight = false
		}
	}
	m.mu.Unlock()
	m.start()
}

func (m *model) catchUp(*mPod) {
	m.settleUntil(func(r *mRecord, l *mLog) bool { return l.half == "" && l.open == [2]*mRecord{} })
}

func (m *model) settleAll() { m.settleUntil(func(*mRecord, *mLog) bool { return true }) }

// settleUntil settles chunks until all records that are wanted have arrived.
func (m *model) settleUntil(wanted func(*mRecord, *mLog) bool) {
	m.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); ; <-tick.C {
		m.settleSome(nil)
		missing := ""
		m.mu.Lock()
		for key, l := range m.logs {
			for _, r := range l.records {
				if !r.settled && !r.lost && wanted(r, l) {
					missing = fmt.Sprintf("%s: %s record %d of %d, in %s (deleted: %v)", key, mStreams[r.stream], r.number, len(l.records), r.gen.path, r.gen.deleted)
				}
			}
		}
		m.mu.Unlock()
		if missing == "" || m.t.Failed() {
			return
		}
		if time.Now().After(deadline) {
			m.t.Fatalf("never arrived: %s\n%+v", missing, m.tailer.Status())
		}
	}
}
