// Package journal follows the systemd journal and turns its entries into OTLP log records.
//
// journalctl reads the journal files, whose format is systemd's own and changes; it writes
// entries in the Journal Export Format, which is stable. A [parser] takes them apart, an
// [encoder] gathers them for a turn, ordered by unit, and the turn's records go out in chunks.
//
// Life of an entry: journalctl writes it into the pipe; it is parsed and encoded; the turn is
// copied into pooled memory, which is waited for while the memory limit is reached, so that
// journalctl waits at a full pipe: the journal is the queue. When all chunks of a turn and of
// those before it are settled, in any order, the frontier is the turn's last entry, and its
// cursor is saved at once. A kill at any instant repeats what lies between the saved cursor and
// what was read, and loses nothing. journalctl dies with the agent, however that ends.
package journal

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stint/export/otlp"
)

const (
	// saveInterval keeps saves to twenty a second; the first after a pause is done at once.
	saveInterval = 50 * time.Millisecond
	// syncInterval is what a power cut may repeat.
	syncInterval = time.Second
	// retryInterval is how long a save that failed waits.
	retryInterval = time.Second
	// maxChunkRecords keeps a chunk well below a batch of 10,000, so that batches fill up.
	maxChunkRecords = 2000
)

// Follower follows the journal. Make one with New, let it work with Run, end it with Close.
type Follower struct {
	cfg    Config
	filter string
	pool   *otlp.Pool
	out    func(*otlp.Chunk)
	log    *slog.Logger
	stats  stats

	// Constants of a machine; tests wait for less.
	backoff      time.Duration // before journalctl is started again; doubled up to a minute
	missingRetry time.Duration // before journalctl is looked for again
	patience     time.Duration // in which the cursor's entry must come

	// The reader's.
	parser  *parser
	enc     *encoder
	buf     []byte
	noMerge bool     // journalctl refused --merge
	read    position // of the last turn
	moved   bool     // entries were taken since
	cursor  []byte   // of the last of them
	at      uint64   // its time
	slab    *otlp.Slab

	waiting atomic.Int64 // unix ns since which journalctl has had nothing to say; 0: it has
	newest  atomic.Int64 // µs: time of the last entry read

	settled chan struct{} // the frontier moved
	saving  sync.Mutex    // one save at a time; taken before mu
	store   *store        // guarded by saving

	mu       sync.Mutex // guards below
	turns    turns
	frontier position
	unsaved  time.Time // since when frontier is not saved; zero: it is
	failed   error     // of the last save
	trouble  error     // how the last journalctl ended, what it complained of, or why none runs
	troubled time.Time // when
}

// Options is what a Follower works with.
type Options struct {
	Config
	StateDir     string          // where the cursor is kept
	Resource     []otlp.KeyValue // attributes that every record's resource gets, e.g. host.name
	Version      string          // of the instrumentation scope
	MaxLineBytes int             // a longer MESSAGE is cut at a rune
	Pool         *otlp.Pool      // memory for records; reading waits for it
	// Out takes the chunks. It must not block and must settle each of them in the end.
	Out        func(*otlp.Chunk)
	Log        *slog.Logger
	Registerer prometheus.Registerer // of self-metrics; nil for none
}

// New opens the saved cursor. State that can't be read or written is no error: it is logged, and
// entries may be sent again, or the journal be begun anew, after a restart.
func New(o Options) (*Follower, error) {
	if o.Pool == nil || o.Out == nil || o.MaxLineBytes <= 0 {
		return nil, errors.New("journal: bug: no pool, no output or no line limit")
	}
	f := &Follower{
		cfg: o.Config, filter: o.Config.filter(), pool: o.Pool, out: o.Out, log: o.Log,
		backoff: time.Second, missingRetry: time.Minute, patience: 10 * time.Second,
		enc: newEncoder(o, machineID(o.Config)), buf: make([]byte, readBytes), settled: make(chan struct{}, 1),
	}
	f.parser = newParser(f.enc.fields(), o.MaxLineBytes)
	st, pos, err := openStore(o.StateDir)
	switch {
	case err != nil && st.fresh:
		o.Log.Error("journal cursor can't be read; the journal is begun as if for the first time", "start_at", o.StartAt, "err", err)
	case err != nil:
		o.Log.Warn("journal cursor is damaged; an older one is used, entries may be sent twice", "err", err)
	}
	f.store = st
	if st.fresh && o.StartAt == "end" {
		// By time and saved below: what is written from now on is not lost even if the agent ends
		// before the first entry comes.
		pos.time = uint64(time.Now().UnixMicro())
	}
	f.read, f.frontier = pos, pos
	if err := st.save(pos, true); err != nil {
		f.failed, f.unsaved = err, time.Now()
		o.Log.Error("journal cursor can't be kept; after a restart entries are sent again or are missing", "state_dir", o.StateDir, "err", err)
	}
	if o.Registerer != nil {
		f.register(o.Registerer)
	}
	return f, nil
}

// machineID is whose entries are read when the journal is this machine's; --merge shows those of
// others too that a systemd-journal-remote put beside them.
func machineID(cfg Config) []byte {
	if cfg.Directory != "" {
		return nil
	}
	b, _ := os.ReadFile("/etc/machine-id")
	if id := strings.TrimSpace(string(b)); len(id) == 32 {
		return []byte(id)
	}
	return nil
}

// Run reads until ctx ends; journalctl is gone then. What is still unacknowledged may be settled
// afterwards; Close saves it.
func (f *Follower) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { f.saveLoop(ctx) })
	f.follow(ctx)
	if f.slab != nil {
		f.slab.Release()
		f.slab = nil
	}
	wg.Wait()
	return nil
}

// Close saves the cursor a last time. Call it when the chunks are settled.
func (f *Follower) Close() error {
	_, err := f.save(true)
	return err
}

// flush hands on what was gathered since the last one, unit by unit.
func (f *Follower) flush(ctx context.Context) error {
	c := f.enc
	f.read = position{cursor: string(f.cursor), time: f.at, filter: f.filter}
	f.moved = false
	mark := f.begin(f.read)
	for _, u := range c.touched {
		if err := f.emit(ctx, u, mark); err != nil {
			return err // the turn stays open: what is missing is read again after a restart
		}
	}
	c.reset()
	f.done(mark)
	return nil
}

// emit copies u's records of this turn into pooled memory, in as many chunks as it takes.
func (f *Follower) emit(ctx context.Context, u *unit, mark uint64) error {
	c := f.enc
	start, records := 0, 0
	for i := u.first; i != none; i = c.index[i].next {
		record := c.data[c.index[i].from:c.index[i].to]
		full := f.slab == nil || cap(f.slab.Buf)-len(f.slab.Buf) < len(record)
		if full || records >= maxChunkRecords {
			f.close(u, mark, start, records)
			records = 0
		}
		if full {
			if f.slab != nil {
				f.slab.Release()
				f.slab = nil
			}
			slab, err := f.pool.Get(ctx, len(record))
			if err != nil {
				return err
			}
			f.slab = slab
		}
		if records == 0 {
			start = len(f.slab.Buf)
		}
		f.slab.Buf = append(f.slab.Buf, record...)
		records++
	}
	f.close(u, mark, start, records)
	return nil
}

// close hands on the records that lie in the slab from start on.
func (f *Follower) close(u *unit, mark uint64, start, records int) {
	if records == 0 {
		return
	}
	end := len(f.slab.Buf)
	ch := otlp.NewChunk(f.slab, f.slab.Buf[start:end:end])
	ch.Group, ch.Signal, ch.Records = u.group, otlp.Logs, records
	ch.Lane, ch.Origin, ch.Mark = u.lane, f, mark
	f.stats.read.Add(int64(records))
	f.mu.Lock()
	f.turns.at(mark).open++
	f.mu.Unlock()
	f.out(ch)
}

// turn is what was read in one go.
type turn struct {
	end  position
	open int // chunks not settled, and one while more may come
}

// turns are those in flight in the order in which they were read.
type turns struct {
	list  []turn
	first uint64 // mark of list[0]
}

func (t *turns) at(mark uint64) *turn { return &t.list[mark-t.first] }

// begin opens a turn and returns its mark.
func (f *Follower) begin(end position) (mark uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := &f.turns
	if n := len(t.list); n > 0 && t.list[n-1].open == 0 {
		// It waits for one before it and has nothing more to tell. Were it not used again, turns
		// without records would pile up while a destination is down.
		t.list[n-1] = turn{end: end, open: 1}
	} else {
		t.list = append(t.list, turn{end: end, open: 1})
	}
	return t.first + uint64(len(t.list)-1)
}

// done takes one off the turn's open chunks and moves the frontier over the longest prefix that
// has none.
func (f *Follower) done(mark uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := &f.turns
	t.at(mark).open--
	n := 0
	for n < len(t.list) && t.list[n].open == 0 {
		n++
	}
	if n == 0 {
		return
	}
	f.frontier = t.list[n-1].end
	if f.unsaved.IsZero() {
		f.unsaved = time.Now()
	}
	t.first += uint64(n)
	if t.list = t.list[n:]; len(t.list) == 0 {
		t.list = nil
	}
	select {
	case f.settled <- struct{}{}:
	default: // the saver has not looked yet
	}
}

// Settled moves the frontier; it implements otlp.Origin.
func (f *Follower) Settled(ch *otlp.Chunk, o otlp.Outcome) {
	n := int64(ch.Records)
	switch o {
	case otlp.Delivered:
		f.stats.delivered.Add(n)
	case otlp.Dropped:
		f.stats.dropped.Add(n)
	case otlp.Aborted:
		return // read again after the restart
	}
	f.done(ch.Mark)
}

// saveLoop saves the frontier soon after it moved, and sees to it that it lies on the disk a
// second later.
func (f *Follower) saveLoop(ctx context.Context) {
	var said time.Time
	wake := time.NewTimer(time.Hour)
	defer wake.Stop()
	for {
		select {
		case <-f.settled:
		case <-wake.C:
		case <-ctx.Done():
			return
		}
		again, err := f.save(false)
		wait := saveInterval
		if err != nil {
			wait = retryInterval
			if time.Since(said) >= time.Minute {
				said = time.Now()
				f.log.Warn("journal cursor could not be saved; after a restart entries may be sent twice", "err", err)
			}
		}
		sleep(ctx, wait)
		if again {
			wake.Reset(syncInterval)
		}
	}
}

// save writes the frontier if it moved. It says whether another save is due without another
// acknowledgement: this one failed, or was not synced.
func (f *Follower) save(sync bool) (again bool, err error) {
	f.saving.Lock()
	defer f.saving.Unlock()
	f.mu.Lock()
	pos, moved := f.frontier, !f.unsaved.IsZero()
	f.mu.Unlock()
	sync = sync || time.Since(f.store.synced) >= syncInterval
	if !moved && !(f.store.unsynced && sync) {
		return f.store.unsynced, nil
	}
	err = f.store.save(pos, sync)

	f.mu.Lock()
	defer f.mu.Unlock()
	f.failed = err
	if err != nil {
		return true, err
	}
	if f.unsaved = time.Now(); f.frontier == pos {
		f.unsaved = time.Time{}
	}
	return !sync, nil
}

// fail keeps why the journal is not being read.
func (f *Follower) fail(err error) {
	f.mu.Lock()
	f.trouble, f.troubled = err, time.Now()
	f.mu.Unlock()
}

// stats are the follower's counters.
type stats struct {
	read, delivered, dropped atomic.Int64 // records
	bytes                    atomic.Int64 // of journalctl's output
	excluded                 atomic.Int64 // entries left out
	malformed, truncated     atomic.Int64 // entries, records
	restarts, lost, panics   atomic.Int64
}

// Counts is where the records are.
type Counts struct {
	Read      int64 `json:"read"`      // records taken off the journal
	Delivered int64 `json:"delivered"` // of them acknowledged
	Dropped   int64 `json:"dropped"`   // of them refused for good by a destination
	InFlight  int64 `json:"in_flight"` // of them neither yet
	Bytes     int64 `json:"bytes"`     // of journalctl's output
}

// Counts reads the counters; cheap.
func (f *Follower) Counts() Counts {
	s := &f.stats
	c := Counts{Delivered: s.delivered.Load(), Dropped: s.dropped.Load(), Bytes: s.bytes.Load()}
	c.Read = s.read.Load() // after the others, so that it never is less than they are
	c.InFlight = c.Read - c.Delivered - c.Dropped
	return c
}

// Status is what the follower tells of itself.
type Status struct {
	Counts
	Excluded    int64     `json:"excluded"` // entries that the configuration leaves out, or of other machines
	Malformed   int64     `json:"malformed"`
	Truncated   int64     `json:"truncated"`
	Restarts    int64     `json:"restarts"`        // of journalctl after it ended by itself
	CursorLost  int64     `json:"cursor_lost"`     // times at which entries may be missing
	Panics      int64     `json:"panics"`          // each of which cost an entry
	BehindSecs  float64   `json:"behind_seconds"`  // age of the last entry read while there is more to read
	UnsavedSec  float64   `json:"unsaved_seconds"` // since an acknowledged cursor is not saved
	LastError   string    `json:"last_error,omitempty"`
	LastErrorAt time.Time `json:"last_error_at,omitzero"`
	SaveError   string    `json:"cursor_error,omitempty"`
}

// Status takes stock.
func (f *Follower) Status() Status {
	s := &f.stats
	st := Status{
		Counts: f.Counts(), Excluded: s.excluded.Load(), Malformed: s.malformed.Load(), Truncated: s.truncated.Load(),
		Restarts: s.restarts.Load(), CursorLost: s.lost.Load(), Panics: s.panics.Load(), BehindSecs: f.behind(time.Now()),
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.unsaved.IsZero() {
		st.UnsavedSec = time.Since(f.unsaved).Seconds()
	}
	if f.trouble != nil {
		st.LastError, st.LastErrorAt = f.trouble.Error(), f.troubled
	}
	if f.failed != nil {
		st.SaveError = f.failed.Error()
	}
	return st
}

// behind is the age of the last entry read. journalctl waits at the journal's end when it has
// had nothing to say for a second: then nothing is behind.
func (f *Follower) behind(now time.Time) float64 {
	newest, waiting := f.newest.Load(), f.waiting.Load()
	if newest == 0 || waiting != 0 && now.UnixNano()-waiting > int64(time.Second) {
		return 0
	}
	return max(now.Sub(time.UnixMicro(newest)).Seconds(), 0)
}
