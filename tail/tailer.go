// Package tail follows log files and turns their lines into OTLP log records: container logs
// as the kubelet keeps them, and plain files.
//
// A scanner finds files and watches them grow; workers take lines off them, join partial ones
// and encode records straight into pooled memory; what is acknowledged moves each file's
// frontier, and frontiers are saved. The log file is the queue: while the pool is exhausted
// nobody reads. See [chain] for the life of a byte.
package tail

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stint/export/otlp"
)

const (
	// saveDelay lies between an acknowledgement and the writing of offsets: what arrived and is
	// not yet written is what a kill repeats. The chunks of one batch are acknowledged together.
	saveDelay = time.Millisecond
	// saveGap lies between two writes.
	saveGap = 10 * time.Millisecond
	// syncInterval is how much of that a power failure may repeat.
	syncInterval = time.Second
)

// Tailer follows log files. Make one with New, let it work with Run, end it with Close.
type Tailer struct {
	cfg       Config
	rules     *rules
	lookup    func(uid, container string, restart int) *Container
	vanishing func(now bool)
	resource  []otlp.KeyValue
	version   string
	pool      *otlp.Pool
	out       func(*otlp.Chunk)
	log       *slog.Logger
	stateDir  string
	workers   int
	inherited *Open // to be taken in by the first sweep
	began     time.Time
	// partialAge is the constant of this name; tests wait for less.
	partialAge time.Duration

	ready     queue
	stats     stats
	scan      *scanner
	joined    atomic.Int64 // bytes of records that wait for their ends
	maxJoined int64        // bound of joined
	spares    spares
	inflated  atomic.Int64  // bytes of compressed logs that lie written out
	unsaid    chan struct{} // a frontier moved since the last save
	closing   chan struct{} // closed by Close
	closeOnce sync.Once
	saver     sync.WaitGroup // of saveLoop

	dirtyMu sync.Mutex // guards below; taken after a chain's
	dirty   []*chain   // whose frontiers moved since the last save
	spare   []*chain   // memory for the next

	saving  sync.Mutex // one save at a time; taken before mu
	mu      sync.Mutex // guards below; taken before a chain's
	chains  map[string]*chain
	pending []record // of files that are closed, for the next save
	store   *store
	saved   time.Time
	failed  error // of the last save
}

// Options is what a Tailer works with.
type Options struct {
	Config
	StateDir string          // where offsets are kept
	Resource []otlp.KeyValue // attributes that every record's resource gets, e.g. k8s.node.name
	Version  string          // of the instrumentation scope
	Pool     *otlp.Pool      // memory for records; reading waits for it
	// Out takes the chunks. It must not block and must settle each of them in the end.
	Out     func(*otlp.Chunk)
	Workers int // that read at the same time
	// Lookup tells what is known of one run of a container of a pod (its uid as in the logs' path)
	// beyond that path; nil: nothing yet. It must not block. A nil Lookup: never anything.
	Lookup func(uid, container string, restart int) *Container
	// Vanishing, if not nil, is told at each look whether deleted files with unread content take half of
	// max_deleted_bytes: what was read has to make room soon, or they are given up. It must not block.
	Vanishing func(now bool)
	// OwnPod (namespace/name) is not read: what the agent writes about its reading would come
	// back to it.
	OwnPod     string
	Log        *slog.Logger
	Registerer prometheus.Registerer // of self-metrics; nil for none
	// Open is what a Tailer of before left; nil: nothing. Close closes it.
	Open *Open
}

// New opens the saved offsets. State that can't be read or written is no error: it is logged,
// and lines may be sent again after a restart.
func New(o Options) (*Tailer, error) {
	if o.Pool == nil || o.Out == nil {
		return nil, errors.New("tail: bug: no pool or no output")
	}
	t := &Tailer{
		maxJoined: min(maxJoined, max(o.Pool.Limit(), 2*int64(o.MaxLineBytes))),
		cfg:       o.Config, rules: newRules(), lookup: o.Lookup, vanishing: o.Vanishing, unsaid: make(chan struct{}, 1), closing: make(chan struct{}), resource: o.Resource, version: o.Version, pool: o.Pool, out: o.Out, log: o.Log,
		stateDir: o.StateDir, inherited: o.Open, workers: max(o.Workers, 1), chains: map[string]*chain{}, began: time.Now(), saved: time.Now(), partialAge: partialAge,
	}
	t.ready.init()
	st, err := openStore(o.StateDir, o.Log)
	if err != nil {
		t.failed = err
		o.Log.Error("offsets can't be kept; after a restart logs are read again", "state_dir", o.StateDir, "err", err)
	}
	t.store = st
	t.scan = newScanner(t, o.OwnPod)
	if o.Registerer != nil {
		o.Registerer.MustRegister(newSelfMetrics(t))
	}
	return t, nil
}

// Run reads until ctx ends. What is still unacknowledged then may be settled afterwards; Close
// saves it.
func (t *Tailer) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for range t.workers {
		w := &worker{t: t, buf: make([]byte, readBytes)}
		wg.Go(func() { w.run(ctx) })
	}
	t.saver.Go(t.saveLoop)
	t.scan.run(ctx)
	t.ready.stop()
	wg.Wait()
}

// clock is ns since New by a clock that nobody sets.
func (t *Tailer) clock() int64 { return int64(time.Since(t.began)) }

// Close saves the offsets a last time and closes all files. Call it when the chunks are settled.
func (t *Tailer) Close() error {
	t.stopSaving()
	err := t.save(true)
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.chains {
		for _, f := range slices.Concat(c.files, c.drained) {
			f.close()
		}
	}
	clear(t.chains)
	t.store.close()
	t.inherited.Close()
	return err
}

// moved says that c's offsets are to be saved, and wakes the saving.
func (t *Tailer) moved(c *chain) {
	t.dirtyMu.Lock()
	t.dirty = append(t.dirty, c)
	t.dirtyMu.Unlock()
	select {
	case t.unsaid <- struct{}{}:
	default:
	}
}

// stopSaving ends saveLoop: what is settled while the process stops is still saved at once.
func (t *Tailer) stopSaving() {
	t.closeOnce.Do(func() { close(t.closing) })
	t.saver.Wait()
}

func (t *Tailer) saveLoop() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	sync := time.NewTicker(syncInterval)
	defer sync.Stop()
	hour := time.NewTicker(time.Hour)
	defer hour.Stop()
	var said time.Time
	save := func(durably bool) {
		if err := t.save(durably); err != nil && time.Since(said) >= time.Minute {
			said = time.Now()
			t.log.Warn("offsets could not be saved; after a restart lines may be sent twice", "err", err)
		}
	}
	var unsaid chan struct{} // nil while a save is due, or just was
	due := false
	for {
		select {
		case <-unsaid:
			unsaid, due = nil, true
			timer.Reset(saveDelay)
		case <-timer.C:
			if !due {
				unsaid = t.unsaid
				continue
			}
			save(false)
			due = false
			timer.Reset(saveGap)
		case <-sync.C:
			save(true)
		case <-hour.C:
			t.sweepState()
		case <-t.closing:
			return
		}
	}
}

// sweepState renews the entries of open files and forgets those of files that stay away.
func (t *Tailer) sweepState() {
	t.saving.Lock()
	defer t.saving.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	open := map[uint64]bool{}
	for _, c := range t.chains {
		c.mu.Lock()
		for _, f := range slices.Concat(c.files, c.drained) {
			open[f.id] = true
		}
		for _, k := range c.kept {
			open[k.id] = true
		}
		c.mu.Unlock()
	}
	t.store.sweep(open)
}

// save writes the frontiers that moved, and if durably is set makes all that was written last.
// The disk is waited for without t.mu.
func (t *Tailer) save(durably bool) error {
	t.saving.Lock()
	defer t.saving.Unlock()
	t.mu.Lock()
	records := t.pending
	t.pending = nil
	t.dirtyMu.Lock()
	dirty := t.dirty
	t.dirty, t.spare = t.spare[:0], dirty
	t.dirtyMu.Unlock()
	for _, c := range dirty {
		c.mu.Lock()
		c.dirty = false
		for _, list := range [2][]*file{c.drained, c.files} {
			for _, f := range list {
				if f.done != f.saved && f.f != nil { // one that is to be decompressed has not moved
					f.identify()
					f.saved = f.done
					records = append(records, f.record())
				}
			}
		}
		c.mu.Unlock()
	}
	write := t.store.prepare(records)
	t.mu.Unlock()

	err := write()
	if err == nil && durably {
		err = t.store.sync()
	}

	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failed = err; err == nil {
		t.saved = time.Now()
	}
	return err
}

// add puts a file that was found into its chain, at the offset where it was left. Needs t.mu.
func (t *Tailer) add(c *chain, f *file) {
	if r, ok := t.store.claim(f); ok {
		f.id, f.headLen, f.headHash = r.ID, r.HeadLen, r.HeadHash
		f.resume(r.done())
		f.saved = f.done
		f.mark()
	} else {
		f.id = t.store.newID()
		if t.store.fresh && t.cfg.StartAt == "end" && !t.scan.started {
			at := f.lineStart(f.size.Load())
			f.resume([streams]int64{at, at, at})
		}
	}
	f.identify()
	f.seen = t.clock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.insert(f)
	c.changed()
}

// insert puts f at its place among the generations. Needs c.mu.
func (c *chain) insert(f *file) {
	if c.gap {
		f.gap, c.gap = true, false
	}
	if f.born == 0 {
		c.births++
		f.born = c.births
	}
	i := slices.IndexFunc(c.files, f.olderThan)
	if i < 0 {
		i = len(c.files)
	}
	c.files = slices.Insert(c.files, i, f)
}

// stats are the tailer's counters.
type stats struct {
	read, delivered, dropped      atomic.Int64 // records
	bytes                         atomic.Int64 // taken off files
	malformed, truncated          atomic.Int64 // records
	unfinished                    atomic.Int64 // partial records sent without their end
	filtered                      atomic.Int64 // records left out because somebody wished it
	skipped                       atomic.Int64 // bytes of logs that somebody does not want read
	limited                       atomic.Int64 // records over the rate limit
	grouped                       atomic.Int64 // lines that became part of the record before
	parsed                        atomic.Int64 // records whose text was understood
	rotations, truncations        atomic.Int64 // files
	panics, openErrors, overflows atomic.Int64
	recovered                     atomic.Int64 // compressed logs read on from where they were left
	lost                          [lossReasons]struct{ bytes, lines atomic.Int64 }
}

// lossReason is why lines of a log were lost.
type lossReason uint8

const (
	lostDeleted   lossReason = iota // deleted unread, and over max_deleted_bytes
	lostTruncated                   // cut in place before they were read
	lostVanished                    // deleted while the agent was not running
	lostDamaged                     // in a compressed log that can't be read
	lossReasons
)

func (r lossReason) String() string {
	return [...]string{"deleted", "truncated", "vanished", "gz_unreadable"}[r]
}

// lose counts what was lost. lines is 0 when nobody can tell.
func (t *Tailer) lose(why lossReason, bytes, lines int64) {
	t.stats.lost[why].bytes.Add(bytes)
	t.stats.lost[why].lines.Add(lines)
}

// Counts is where the records are.
type Counts struct {
	Read      int64 `json:"read"`      // records taken off files
	Delivered int64 `json:"delivered"` // of them acknowledged
	Dropped   int64 `json:"dropped"`   // of them refused for good by a destination
	InFlight  int64 `json:"in_flight"` // of them neither yet
	Bytes     int64 `json:"bytes"`     // taken off files
}

// Counts reads the counters; cheap.
func (t *Tailer) Counts() Counts {
	s := &t.stats
	c := Counts{Delivered: s.delivered.Load(), Dropped: s.dropped.Load(), Bytes: s.bytes.Load()}
	c.Read = s.read.Load() // after the others, so that it never is less than they are
	c.InFlight = c.Read - c.Delivered - c.Dropped
	return c
}

// LastLook is when all logs were last looked at; zero before the first time.
func (t *Tailer) LastLook() time.Time {
	if ns := t.scan.looked.Load(); ns != 0 {
		return time.Unix(0, ns)
	}
	return time.Time{}
}

// Status is what the tailer tells of itself.
type Status struct {
	Counts
	Malformed   int64     `json:"malformed"`
	Truncated   int64     `json:"truncated"`
	Unfinished  int64     `json:"unfinished"`
	Rotations   int64     `json:"rotations"`
	Truncations int64     `json:"truncations"`
	Filtered    int64     `json:"filtered"`
	Limited     int64     `json:"rate_limited"`
	Skipped     int64     `json:"skipped_bytes"`
	Grouped     int64     `json:"grouped_lines"`
	Parsed      int64     `json:"parsed"`
	LostBytes   int64     `json:"lost_bytes"`
	LostLines   int64     `json:"lost_lines"` // as far as they could be counted
	Lost        []Loss    `json:"losses"`
	Recovered   int64     `json:"gz_recovered"`
	OpenErrors  int64     `json:"open_errors"`
	Denied      int64     `json:"unreadable"` // paths that can't be opened now
	Panics      int64     `json:"panics"`
	Overflows   int64     `json:"watch_overflows"`
	Watching    bool      `json:"watching"` // false: sweeps only
	Logs        int       `json:"logs"`
	OpenFiles   int       `json:"open_files"`
	BehindBytes int64     `json:"behind_bytes"`  // written and not yet read
	Deleted     int64     `json:"deleted_bytes"` // of them in files that have no name any more
	Unsettled   int64     `json:"unsettled_bytes"`
	BehindSecs  float64   `json:"behind_seconds"` // since the log furthest behind was last read to its end
	Behind      []Behind  `json:"furthest_behind"`
	Saved       time.Time `json:"offsets_saved"`
	SaveError   string    `json:"offsets_error,omitempty"`
}

// Loss is what was lost for one reason.
type Loss struct {
	Reason string `json:"reason"`
	Bytes  int64  `json:"bytes"`
	Lines  int64  `json:"lines"`
}

// Behind is one log that is not read to its end.
type Behind struct {
	Log   string `json:"log"`
	Bytes int64  `json:"bytes"`
}

// maxBehind logs are listed.
const maxBehind = 10

// Status takes stock.
func (t *Tailer) Status() Status {
	s := &t.stats
	st := Status{
		Counts: t.Counts(), Malformed: s.malformed.Load(), Truncated: s.truncated.Load(), Unfinished: s.unfinished.Load(),
		Rotations: s.rotations.Load(), Truncations: s.truncations.Load(), Recovered: s.recovered.Load(),
		OpenErrors: s.openErrors.Load(), Denied: t.scan.denied.Load(), Panics: s.panics.Load(), Overflows: s.overflows.Load(),
		Filtered: s.filtered.Load(), Limited: s.limited.Load(), Skipped: s.skipped.Load(), Grouped: s.grouped.Load(), Parsed: s.parsed.Load(), Deleted: t.scan.deleted.Load(),
		Watching: t.scan.watching.Load(), Lost: []Loss{},
	}
	for why := range lossReasons {
		l := &s.lost[why]
		if n := (Loss{why.String(), l.bytes.Load(), l.lines.Load()}); n.Bytes > 0 {
			st.Lost = append(st.Lost, n)
			st.LostBytes += n.Bytes
			st.LostLines += n.Lines
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	st.Logs, st.Saved, st.Behind = len(t.chains), t.saved, []Behind{}
	if t.failed != nil {
		st.SaveError = t.failed.Error()
	}
	for _, c := range t.chains {
		behind := int64(0)
		c.mu.Lock()
		st.OpenFiles += len(c.files) + len(c.drained)
		for _, f := range c.files {
			behind += max(f.size.Load()-f.read.Load(), 0)
			st.Unsettled += max(f.read.Load()-f.frontier, 0)
		}
		for _, f := range c.drained {
			st.Unsettled += max(f.read.Load()-f.frontier, 0)
		}
		c.mu.Unlock()
		st.BehindBytes += behind
		if behind > 0 {
			st.BehindSecs = max(st.BehindSecs, time.Duration(t.clock()-c.caughtUp.Load()).Seconds())
			st.Behind = append(st.Behind, Behind{c.key, behind})
		}
	}
	sort.Slice(st.Behind, func(i, j int) bool { return st.Behind[i].Bytes > st.Behind[j].Bytes })
	st.Behind = st.Behind[:min(len(st.Behind), maxBehind)]
	return st
}

// queue holds the chains that have something to read, each at most once.
type queue struct {
	mu       sync.Mutex
	cond     sync.Cond
	list     []*chain
	stopped  bool
	starving int // workers that wait for memory
}

func (q *queue) init() { q.cond.L = &q.mu }

func (q *queue) push(c *chain) {
	q.mu.Lock()
	q.list = append(q.list, c)
	q.mu.Unlock()
	q.cond.Signal()
}

// starve says that a worker begins (1) or ends (-1) to wait for memory. Idle ones lend theirs.
func (q *queue) starve(by int) {
	q.mu.Lock()
	q.starving += by
	q.mu.Unlock()
	if by > 0 {
		q.cond.Broadcast()
	}
}

// pop waits for a chain; nil means the end. While others wait for memory, idle is called.
func (q *queue) pop(ctx context.Context, idle func()) *chain {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.list) == 0 && !q.stopped {
		if q.starving > 0 {
			idle()
		}
		q.cond.Wait()
	}
	if q.stopped || ctx.Err() != nil {
		return nil
	}
	c := q.list[0]
	q.list = slices.Delete(q.list, 0, 1)
	return c
}

func (q *queue) stop() {
	q.mu.Lock()
	q.stopped = true
	q.mu.Unlock()
	q.cond.Broadcast()
}
