// Package export gathers chunks into batches and delivers these to destinations.
//
// Chunks of one signal and lane become batches; a batch goes to every destination of its
// route and its chunks are settled when all are done with it. Retrying, splitting and
// counting stand in one place (sender.go); a destination is a function from a request to a
// verdict, one file each.
package export

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stint/export/otlp"
	"stint/export/spool"
)

// logLanes is how many requests with logs may be in flight to one destination at a time:
// enough to hide the time the far end takes to store one, few enough that half-filled batches
// do not add up. Metrics have one lane: their order counts across all series.
const logLanes = 2

// metricsQueueBytes is what may wait for one destination that is away. A scrape of a large
// node is about 100 KB: several minutes.
const metricsQueueBytes = 4 << 20

// promptly is how long records that came over the network wait in memory: their sender waits for the answer, mostly for
// 10 s. Where the destination is slow, or others fill the spool before them, they move to the disk then, or are given back
// if it is full.
const promptly = 3 * time.Second

// Exporting delivers chunks. Make one with New, deliver with Run, hand chunks to Add.
type Exporting struct {
	outs   map[string]*out
	routes map[string]*route // by signal and source
	lanes  []*lane
	log    *slog.Logger
	keep   Spool
	dir    string
	spools []string // directories below dir

	forwards  bool
	unspooled string

	vanishing atomic.Bool // files of logs that wait are about to
}

// route is where one source's chunks go: the lanes that feed a set of destinations, and other
// lanes for each set that gets them with other attributes.
type route struct{ ways [][]*lane }

func (r *route) add(c *otlp.Chunk) {
	if len(r.ways) == 1 {
		r.to(0, c)
		return
	}
	for i, c := range c.Fan(len(r.ways)) {
		r.to(i, c)
	}
}

func (r *route) to(way int, c *otlp.Chunk) {
	lanes := r.ways[way]
	lanes[c.Lane%uint32(len(lanes))].add(c)
}

// Options are what Exporting is made of.
type Options struct {
	Batch      Batch
	Exporters  Exporters
	Pipelines  Pipelines
	Spool      Spool
	Forwards   bool   // records come over the network: logs do not wait in files, and who sent them waits for the answer
	Unspooled  string // source whose records are not kept on disk: who sent them waits until destinations have them
	SpoolDir   string // where what can't be kept in memory waits; empty: nowhere
	DeadLetter DeadLetter
	DeadDir    string // where the dead-letter files are; empty: nowhere
	Version    string
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// New makes the destinations; it opens no connection that it has to wait for.
func New(opt Options) (*Exporting, error) {
	batch, exporters, pipelines, version, log := opt.Batch, opt.Exporters, opt.Pipelines, opt.Version, opt.Log
	e := &Exporting{outs: map[string]*out{}, routes: map[string]*route{}, log: log, keep: opt.Spool, dir: opt.SpoolDir, forwards: opt.Forwards, unspooled: opt.Unspooled}
	m := newMetrics(opt.Registerer, e)
	for _, name := range slices.Sorted(maps.Keys(exporters)) {
		o := &out{name: name, batch: batch, park: parkFor, log: log, metrics: m}
		about := about{version: version, exporter: name, log: log, tlsFailures: m.tlsFailures.WithLabelValues(name), changed: m.changed.MustCurryWith(prometheus.Labels{"exporter": name})}
		for s := range o.gates {
			o.gates[s].probe = make(chan struct{}, 1)
		}
		var err error
		switch c := exporters[name].(type) {
		case *OTLP:
			o.retry, o.timeout = c.RetryOnFailure, c.Timeout
			o.dest, err = newOTLPGRPC(c, about)
		case *OTLPHTTP:
			o.retry, o.timeout = c.RetryOnFailure, c.Timeout
			o.dest, err = newOTLPHTTP(c, about)
		case *Elasticsearch:
			o.retry, o.timeout = c.RetryOnFailure, c.Timeout
			o.dest, err = newElasticsearch(c, about)
		case *Loki:
			o.retry, o.timeout = c.RetryOnFailure, c.Timeout
			o.batch.SendBatchMaxBytes = min(o.batch.SendBatchMaxBytes, maxLokiBytes)
			o.dest, err = newLoki(c, about)
		case *File:
			o.retry, o.timeout = Retry{InitialInterval: time.Second, MaxInterval: 30 * time.Second}, 30*time.Second
			o.dest = newFile(c)
		case *Debug:
			// It accepts everything, at once.
			o.retry, o.timeout = Retry{InitialInterval: time.Second, MaxInterval: time.Second}, time.Second
			o.dest = newDebug(c, os.Stderr)
		default:
			err = fmt.Errorf("bug: no destination for a %T", c)
		}
		if err != nil {
			e.close()
			return nil, fmt.Errorf("exporters.%s: %w", name, err)
		}
		if opt.DeadLetter.Enabled && opt.DeadDir != "" {
			if o.dead, err = newDeadLetters(opt.DeadDir, url.PathEscape(name), opt.DeadLetter.Rotation); err != nil {
				log.Error("no dead-letter file can be made; records that are refused are not kept", "exporter", name, "err", err)
			}
		}
		e.outs[name] = o
	}

	// A source's records go to the destinations of all pipelines that name it, together where these
	// change nothing or the same. Sources with the same ways share lanes, so that their chunks
	// share batches.
	type way struct{ source, actions string } // source: signal/name
	to, changing := map[way][]string{}, map[way]Pipeline{}
	for name, p := range pipelines {
		for _, source := range p.Sources {
			w := way{Signal(name) + "/" + source, ""}
			if len(p.Attributes) > 0 {
				w.actions = fmt.Sprint(p.Attributes)
			}
			to[w], changing[w] = append(to[w], p.Exporters...), p
		}
	}
	ways := slices.Collect(maps.Keys(to))
	sort.Slice(ways, func(i, j int) bool { // in order, so that each finds its spool again
		return cmp.Or(strings.Compare(ways[i].source, ways[j].source), strings.Compare(ways[i].actions, ways[j].actions)) < 0
	})
	shared := map[string][]*lane{}
	for _, w := range ways {
		names := to[w]
		slices.Sort(names)
		names = slices.Compact(names)
		waits := e.unspooled != "" && strings.HasSuffix(w.source, "/"+e.unspooled)
		set := fmt.Sprint(Signal(w.source), names, w.actions, waits)
		if shared[set] == nil {
			shared[set] = e.newLanes(batch, signalOf(Signal(w.source)), names, changing[w], waits)
		}
		if e.routes[w.source] == nil {
			e.routes[w.source] = &route{}
		}
		e.routes[w.source].ways = append(e.routes[w.source].ways, shared[set])
	}
	e.tellLeftover()
	return e, nil
}

// tellLeftover names spools that no exporter uses any more: they hold disk space.
func (e *Exporting) tellLeftover() {
	if e.dir == "" {
		return
	}
	files, _ := fs.Glob(os.DirFS(e.dir), "*/*/*"+spool.Suffix) // the pattern is ours
	var dirs []string
	for _, f := range files {
		if dir := filepath.Dir(f); !slices.Contains(e.spools, dir) && !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
			e.log.Warn("a spool belongs to no exporter any more; configure its exporter again, with spool.enabled, to deliver it, or delete it", "dir", filepath.Join(e.dir, dir))
		}
	}
}

func signalOf(name string) otlp.Signal {
	for s := range otlp.Signals {
		if s.String() == name {
			return s
		}
	}
	panic("bug: no signal " + name)
}

// newLanes makes the lanes to the destinations of these names, for records that p changes. waits: nothing of them is
// written to the disk.
func (e *Exporting) newLanes(cfg Batch, signal otlp.Signal, names []string, p Pipeline, waits bool) (lanes []*lane) {
	n := 1
	if signal == otlp.Logs {
		n = logLanes
	}
	for range n {
		l := &lane{cfg: cfg, signal: signal, eager: e.forwards}
		for _, name := range names {
			s := e.openSpool(e.outs[name], signal)
			limit := int64(0) // logs wait in their files, or with who sent them
			if signal != otlp.Logs && !e.forwards || e.forwards && s != nil {
				limit = metricsQueueBytes
			}
			q := newQueue(e.outs[name], l, limit, s)
			switch {
			case signal == otlp.Logs && !e.forwards:
				q.lazy = &e.vanishing
			case waits:
				q.limit, q.lazy = 0, new(atomic.Bool) // what is on the disk from before is delivered
			case e.forwards && s != nil:
				q.prompt = promptly
			}
			q.change = newChange(p)
			q.refuse = s != nil && e.keep.WhenFull == refuse
			l.queues = append(l.queues, q)
		}
		lanes = append(lanes, l)
	}
	e.lanes = append(e.lanes, lanes...)
	return lanes
}

// openSpool opens what lies on the disk for a destination. Without it the memory is all there is.
func (e *Exporting) openSpool(o *out, signal otlp.Signal) *spool.Spool {
	if _, local := o.dest.(*debug); !e.keep.Enabled || e.dir == "" || local {
		return nil
	}
	dir := filepath.Join(url.PathEscape(o.name), signal.String())
	for n := 2; slices.Contains(e.spools, dir); n++ { // by another route
		dir = filepath.Join(url.PathEscape(o.name), fmt.Sprintf("%s-%d", signal, n))
	}
	e.spools = append(e.spools, dir)
	if o.budget == nil {
		o.budget = spool.NewBudget(e.keep.MaxBytes)
	}
	s, err := spool.Open(spool.Options{
		Dir: filepath.Join(e.dir, dir), Budget: o.budget, MaxAge: e.keep.MaxAge, Refuse: e.keep.WhenFull == refuse || signal == otlp.Logs && !e.forwards, // what logs don't find room for waits in the files
		Dropped: func(reason string, records int64) { o.drop(signal, reason, int(records), nil) },
		Log:     e.log.With("exporter", o.name),
	})
	if err != nil {
		e.log.Error("the spool can't be used; what does not fit into memory while the destination is away is lost", "exporter", o.name, "err", err)
		return nil
	}
	if size := s.Size(); size.Records > 0 {
		e.log.Info("records of before the start wait in the spool", "exporter", o.name, "signal", signal.String(), "records", size.Records, "bytes", size.Bytes)
	}
	return s
}

// Wants says whether any pipeline takes the source's records of a signal.
func (e *Exporting) Wants(signal otlp.Signal, source string) bool {
	return e.routes[signal.String()+"/"+source] != nil
}

// Full says that records of a source would be refused, because a spool they may have to wait in is full and keeps what
// is older.
func (e *Exporting) Full(signal otlp.Signal, source string) bool {
	r := e.routes[signal.String()+"/"+source]
	if r == nil || e.keep.WhenFull != refuse {
		return false
	}
	for _, lanes := range r.ways {
		for _, q := range lanes[0].queues {
			if q.spills() && q.spool.Full() {
				return true
			}
		}
	}
	return false
}

// Input returns the function that takes chunks of a source. It does not block.
func (e *Exporting) Input(signal otlp.Signal, source string) func(*otlp.Chunk) {
	r := e.routes[signal.String()+"/"+source]
	if r == nil {
		panic("bug: no pipeline takes " + signal.String() + " of " + source)
	}
	return r.add
}

// Run delivers until CloseInput was called and everything is delivered, or ctx ends; what is
// left then, and what is added later, is settled as aborted.
func (e *Exporting) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, l := range e.lanes {
		for _, q := range l.queues {
			wg.Go(func() { q.out.run(ctx, q) })
		}
	}
	wg.Wait()
	for _, l := range e.lanes {
		l.abort()
	}
	e.close()
}

// Discard ends what was never run.
func (e *Exporting) Discard() {
	ctx, stop := context.WithCancel(context.Background())
	stop()
	e.Run(ctx)
}

// close ends the destinations.
func (e *Exporting) close() {
	for _, o := range e.outs {
		o.dest.close()
		o.dead.finish()
	}
}

// Flush closes the open batches of lanes that have nothing else under way: somebody waits for
// memory, which only these would hold on to. Lanes with batches under way follow when these
// are done.
func (e *Exporting) Flush() {
	for _, l := range e.lanes {
		l.flush()
	}
}

// Spill moves what waits and can wait on disk there: there is no memory left for what comes.
func (e *Exporting) Spill() {
	for _, l := range e.lanes {
		for _, q := range l.queues {
			if q.spool != nil {
				raise(q.spill)
			}
		}
	}
}

// Vanishing says whether files of logs are about to be lost that were not read, because what was read of
// logs waits for a destination that is away and there is no memory for more. While it is so that moves to the disk.
func (e *Exporting) Vanishing(now bool) {
	if e.vanishing.Swap(now) == now || !now {
		return
	}
	for _, l := range e.lanes {
		for _, q := range l.queues {
			if q.lazy != nil && q.out.gates[l.signal].isDown() {
				raise(q.spill)
			}
		}
	}
}

// CloseInput flushes; Run returns when all is delivered. Chunks that come later are aborted.
func (e *Exporting) CloseInput() {
	for _, l := range e.lanes {
		l.close()
	}
}

// Status is what is known of one destination and signal.
type Status struct {
	Exporter  string    `json:"exporter"`
	Signal    string    `json:"signal"`
	Sent      int64     `json:"sent"`         // records accepted
	Dropped   int64     `json:"dropped"`      // records given up
	Rejected  int64     `json:"rejected"`     // records refused within accepted requests
	Dead      int64     `json:"dead_letters"` // of dropped, those in the dead-letter file
	Resent    int64     `json:"resent"`       // records that may have arrived more than once
	Requests  int64     `json:"requests"`
	Retries   int64     `json:"retries"`
	Bytes     int64     `json:"bytes"` // accepted, before compression
	Waiting   int       `json:"waiting_batches"`
	WaitBytes int64     `json:"waiting_bytes"`
	Spooled   int64     `json:"spool_records"`
	OnDisk    int64     `json:"spool_bytes"`
	Damaged   int64     `json:"spool_damaged_bytes"` // since the start
	LastOK    time.Time `json:"last_ok,omitzero"`
	Down      string    `json:"down,omitempty"` // verdict, while it does not accept data
	DownSince time.Time `json:"down_since,omitzero"`
	Error     string    `json:"error,omitempty"`
}

// Status lists destinations by name, then signal, as far as pipelines use them.
func (e *Exporting) Status() []Status {
	type key struct {
		o *out
		s otlp.Signal
	}
	all := map[key]*Status{}
	for _, l := range e.lanes {
		for _, q := range l.queues {
			k := key{q.out, l.signal}
			if all[k] == nil {
				all[k] = q.out.status(l.signal)
			}
			n, bytes := q.length()
			all[k].Waiting += n
			all[k].WaitBytes += bytes
			if q.spool != nil {
				size := q.spool.Size()
				all[k].Spooled += size.Records
				all[k].OnDisk += size.Bytes
				all[k].Damaged += size.Damaged
			}
		}
	}
	list := make([]Status, 0, len(all))
	for _, s := range all {
		list = append(list, *s)
	}
	sort.Slice(list, func(i, j int) bool {
		return cmp.Or(strings.Compare(list[i].Exporter, list[j].Exporter), strings.Compare(list[i].Signal, list[j].Signal)) < 0
	})
	return list
}

func (o *out) status(s otlp.Signal) *Status {
	c, g := &o.stats[s], &o.gates[s]
	st := &Status{
		Exporter: o.name, Signal: s.String(),
		Sent: c.sent.Load(), Dropped: c.dropped.Load(), Rejected: c.rejected.Load(), Dead: c.dead.Load(), Resent: c.resent.Load(),
		Requests: c.requests.Load(), Retries: c.retries.Load(), Bytes: c.bytes.Load(),
	}
	if ns := c.lastOK.Load(); ns != 0 {
		st.LastOK = time.Unix(0, ns)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.down {
		st.Down, st.DownSince = g.kind.String(), g.since
		if g.err != nil {
			st.Error = g.err.Error()
		}
	}
	return st
}
