// Package scrape reads metrics on one grid of times: every source is read at whole intervals
// of the wall clock, each part of it on a goroutine of its own, and what they found leaves as
// OTLP chunks. Nothing a source does (hang, fail, panic) reaches another one or the grid.
package scrape

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stint/export/otlp"
)

// Source is a place that metrics are read from: the host, the kubelet, the cgroups.
type Source interface {
	// Name is the value of the label source: one constant word.
	Name() string
	// Scrapers names the parts that are read, and fenced off, independently of each other.
	// Always the same.
	Scrapers() []string
	// Scrape reads part i and hands over encoded metrics fields of a group, with the number
	// of points in them, any number of times. Points carry the time at, or an earlier one
	// where the source itself says when it measured. Bytes that were handed over may be
	// changed again in the next Scrape of the same part, not before. What was handed over
	// counts also when an error is returned, but not after a panic.
	//
	// Parts are scraped at the same time as each other, a part never twice at a time.
	// A source that is also an io.Closer is closed when the grid has let go of it.
	Scrape(ctx context.Context, i int, at time.Time, hand func(g *otlp.Group, data []byte, points int)) error
}

const (
	// maxDeadline is how long the points that came in time wait for those that did not. A tick
	// waits half an interval at most, so that it is over before the next one.
	maxDeadline = 5 * time.Second
	// stopGrace is how long Run, its context over, waits for scrapes under way. What hangs
	// longer is left behind: a goroutine cannot be ended from outside.
	stopGrace = 2 * time.Second
)

// Grid scrapes its sources at every whole interval of the wall clock.
//
// All points of a tick carry the same time, the boundary that began it, so that points of
// different sources can be joined and a slow source bends no rate. The first tick is the
// exception: it takes place at once and carries the time at which it does. Rounded down, it
// would repeat the time of the last tick of the process before (a receiver then drops one of
// the two values, Prometheus with an error) and claim for its values an age that they do not
// have. As it is, times only grow, across restarts too.
//
// A tick asks the goroutine of every scraper and waits for none of them. A source's points
// leave when all its scrapers are done, or at the deadline without those that are not; these
// send theirs when they have them. A scraper that is still busy at the next tick is left out
// of that one, and counted. Nothing is caught up: a tick missed by suspend or starvation is
// only counted.
//
// When the wall clock is set back by up to an interval the grid is silent until it has passed
// the last tick again; beyond that it believes the clock, logs it, and times go back once.
type Grid struct {
	interval time.Duration
	deadline time.Duration
	sources  []*source
	scrapers []*scraper
	pool     *otlp.Pool
	emit     func(source string, c *otlp.Chunk)
	log      *slog.Logger
	metrics  selfMetrics
	latest   *Latest          // nil: nothing is kept
	now      func() time.Time // the wall clock; tests set it

	active atomic.Bool   // Run or Once is at work
	done   chan *scraper // one place each: a send never blocks
	exited chan struct{}
	last   time.Time // the last tick; zero before the first
	open   int       // scrapers that the current tick still waits for
	bundle bundle
}

// source is what the grid knows of a Source. It belongs to the goroutine of Run.
type source struct {
	Source
	id    uint64 // index in Grid.sources, mark of its chunks
	lane  uint32
	open  int        // scrapers that the current tick still waits for
	ready []*scraper // those done in the current tick whose points did not leave yet

	points, delivered prometheus.Counter
}

// New makes a grid of these sources; it starts nothing. Chunks come from pool and go to emit
// with the name of their source; emit must not block for long: the grid stands still meanwhile.
// Where only Once is wanted, pool, emit and reg may be nil.
func New(cfg Config, sources []Source, pool *otlp.Pool, emit func(source string, c *otlp.Chunk), log *slog.Logger, reg prometheus.Registerer) (*Grid, error) {
	if cfg.Interval <= 0 {
		return nil, fmt.Errorf("scrape interval %v is not positive", cfg.Interval)
	}
	g := &Grid{
		interval: cfg.Interval,
		deadline: min(cfg.Interval/2, maxDeadline),
		pool:     pool,
		emit:     emit,
		log:      log,
		metrics:  newSelfMetrics(),
		now:      time.Now,
	}
	names := map[string]bool{}
	for i, src := range sources {
		name := src.Name()
		if names[name] {
			return nil, fmt.Errorf("two sources are called %s", name)
		}
		names[name] = true
		h := fnv.New32a()
		io.WriteString(h, "scrape/"+name)
		s := &source{
			Source:    src,
			id:        uint64(i),
			lane:      h.Sum32(),
			points:    g.metrics.points.WithLabelValues(name),
			delivered: g.metrics.delivered.WithLabelValues(name),
		}
		g.sources = append(g.sources, s)
		for i, part := range src.Scrapers() {
			g.scrapers = append(g.scrapers, newScraper(s, i, part, g))
		}
	}
	g.done = make(chan *scraper, len(g.scrapers))
	if reg != nil {
		if err := g.metrics.register(reg); err != nil {
			return nil, fmt.Errorf("register scrape metrics: %w", err)
		}
	}
	return g, nil
}

// Run scrapes until ctx ends. Scrapes under way then are given stopGrace to end, and what they
// found is still sent.
func (g *Grid) Run(ctx context.Context) error {
	if !g.active.CompareAndSwap(false, true) {
		return errors.New("the grid is at work already")
	}
	defer g.release()
	g.start(ctx)

	tick := time.NewTimer(0)
	defer tick.Stop()
	deadline := time.NewTimer(g.deadline)
	deadline.Stop()
	defer deadline.Stop()
	for {
		select {
		case <-ctx.Done():
			g.stop()
			g.flush(ctx.Err())
			return nil
		case <-tick.C:
			at, wait := g.due(g.now())
			if !at.IsZero() {
				g.tick(at)
				deadline.Reset(g.deadline)
			}
			tick.Reset(wait)
		case s := <-g.done:
			g.finish(s, ctx.Err())
			if g.open == 0 {
				deadline.Stop()
			}
		case <-deadline.C:
			g.late()
		}
	}
}

// due says which tick is due at the wall clock's now, if any, and how long to wait until the
// next one.
func (g *Grid) due(now time.Time) (at time.Time, wait time.Duration) {
	slot := floor(now, g.interval)
	switch {
	case g.last.IsZero():
		at = now.Round(0) // the wall clock alone, so that it can be seen to be set back
	case slot.After(g.last):
		at = slot
		if missed := at.Sub(floor(g.last, g.interval))/g.interval - 1; missed > 0 {
			g.metrics.missed.Add(float64(missed))
		}
	case g.last.Sub(now) > g.interval:
		g.log.Warn("the wall clock was set back; points go on at its new time", "by_at_least", g.last.Sub(now))
		at = slot
	default: // early, or set back a little: wait until the last tick is passed
		return time.Time{}, floor(g.last, g.interval).Add(g.interval).Sub(now)
	}
	g.last = at
	return at, slot.Add(g.interval).Sub(now)
}

// floor is the last whole multiple of d since 1970 that is not after t, without t's monotonic
// reading.
func floor(t time.Time, d time.Duration) time.Time {
	ns := t.UnixNano()
	return time.Unix(0, ns-ns%int64(d))
}

// start runs the goroutines of the scrapers.
func (g *Grid) start(ctx context.Context) {
	exited := make(chan struct{}, len(g.scrapers))
	g.exited = exited
	for _, s := range g.scrapers {
		run := make(chan time.Time, 1)
		s.run = run
		go func() {
			defer func() { exited <- struct{}{} }()
			s.work(ctx, run, g.done)
		}()
	}
}

// stop ends the goroutines of the scrapers, except those that hang.
func (g *Grid) stop() {
	for _, s := range g.scrapers {
		close(s.run)
	}
	grace := time.NewTimer(stopGrace)
	defer grace.Stop()
	for left := len(g.scrapers); left > 0; left-- {
		select {
		case <-g.exited:
			continue
		case <-grace.C:
		}
		break
	}
}

// flush sends what the last scrapes found.
func (g *Grid) flush(ended error) {
	for len(g.done) > 0 {
		s := <-g.done
		s.busy = false
		s.account(g.log, ended)
		s.source.ready = append(s.source.ready, s)
	}
	for _, src := range g.sources {
		g.ship(src)
	}
}

// release lets go of the sources, except those that hang.
func (g *Grid) release() {
	for len(g.done) > 0 {
		(<-g.done).busy = false
	}
	for _, s := range g.scrapers {
		if s.busy {
			g.log.Warn("scraper hangs; left behind", "source", s.source.Name(), "scraper", s.name)
		}
	}
	for _, src := range g.sources {
		if c, ok := src.Source.(io.Closer); ok && !g.hangs(src) {
			c.Close()
		}
		src.open = 0
	}
	g.open = 0
	g.active.Store(false)
}

func (g *Grid) hangs(src *source) bool {
	for _, s := range g.scrapers {
		if s.busy && s.source == src {
			return true
		}
	}
	return false
}

// tick asks all scrapers that are not busy for their points of the time at.
func (g *Grid) tick(at time.Time) {
	g.late() // nothing is left to it unless the deadline timer is late itself
	for _, s := range g.scrapers {
		if s.busy {
			s.skip()
			continue
		}
		s.busy, s.late = true, false
		s.source.open++
		g.open++
		s.run <- at
	}
}

// finish takes in a scraper that is done.
func (g *Grid) finish(s *scraper, ended error) {
	s.busy = false
	s.account(g.log, ended)
	g.latest.take(s)
	src := s.source
	src.ready = append(src.ready, s)
	if !s.late {
		src.open--
		g.open--
	}
	if s.late || src.open == 0 {
		g.ship(src)
	}
}

// late sends, at the deadline, what there is without the scrapers that are still busy.
func (g *Grid) late() {
	for _, s := range g.scrapers {
		if s.busy && !s.late {
			s.late = true
			s.overdue(g.log, g.deadline)
		}
	}
	g.open = 0
	for _, src := range g.sources {
		src.open = 0
		if len(src.ready) > 0 {
			g.ship(src)
		}
	}
}

// Once scrapes everything once and returns what was found, copied, in the order of the
// sources and their scrapers. The error joins those of the scrapers that failed or did not
// answer in time; the parts are good nevertheless. Not while Run is at work.
func (g *Grid) Once(ctx context.Context) ([]Part, error) {
	if !g.active.CompareAndSwap(false, true) {
		return nil, errors.New("the grid is at work already")
	}
	ctx, cancel := context.WithTimeout(ctx, maxDeadline)
	defer cancel()
	defer g.release()
	g.start(ctx)
	defer g.stop()

	at := time.Unix(0, g.now().UnixNano())
	asked := 0
	for _, s := range g.scrapers {
		if !s.busy { // it may hang since an earlier call
			s.busy, s.late = true, false
			s.run <- at
			asked++
		}
	}
	var errs []error
wait:
	for range asked {
		select {
		case s := <-g.done:
			s.busy = false
			s.account(g.log, nil)
		case <-ctx.Done():
			break wait
		}
	}
	var parts []Part
	for _, s := range g.scrapers {
		switch {
		case s.busy:
			errs = append(errs, fmt.Errorf("scrape %s %s: %w", s.source.Name(), s.name, context.Cause(ctx)))
			continue
		case s.err != nil:
			errs = append(errs, fmt.Errorf("scrape %s %s: %w", s.source.Name(), s.name, s.err))
		}
		for _, p := range s.parts {
			parts = append(parts, Part{Source: s.source.Name(), Scraper: s.name, Group: p.group, Data: append([]byte(nil), p.data...), Points: p.points})
		}
	}
	return parts, errors.Join(errs...)
}

// Part is what a scraper found in one group: encoded metrics fields and how many points they
// hold.
type Part struct {
	Source, Scraper string
	Group           *otlp.Group
	Data            []byte
	Points          int
}

// Settled counts what became of a chunk.
func (g *Grid) Settled(c *otlp.Chunk, o otlp.Outcome) {
	switch o {
	case otlp.Delivered:
		g.sources[c.Mark].delivered.Add(float64(c.Records))
	case otlp.Dropped:
		g.metrics.refused.Add(float64(c.Records))
	case otlp.Aborted:
		g.metrics.aborted.Add(float64(c.Records))
	}
}
