package scrape

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stint/export/otlp"
)

// scraper is one fenced part of a source: a goroutine that reads when it is told to.
type scraper struct {
	source *source
	index  int
	name   string
	run    chan time.Time // cap 1: times to scrape at; the grid sends only when it is not busy

	// Of the goroutine while it is busy, else of the grid.
	at    time.Time
	hand  func(*otlp.Group, []byte, int) // appends to parts
	parts []part
	took  time.Duration
	err   error

	// Of the grid.
	busy     bool // told to scrape, not done yet
	late     bool // and past the deadline
	throttle throttle

	duration prometheus.Gauge
	success  prometheus.Gauge
	skipped  prometheus.Counter
	errors   *prometheus.CounterVec // by reason
	mu       sync.Mutex             // guards everything below
	status   Status
}

// part is what a scrape handed over for one group.
type part struct {
	group  *otlp.Group
	data   []byte
	points int
}

func newScraper(src *source, index int, name string, g *Grid) *scraper {
	s := &scraper{
		source:   src,
		index:    index,
		name:     name,
		duration: g.metrics.duration.WithLabelValues(src.Name(), name),
		success:  g.metrics.success.WithLabelValues(src.Name(), name),
		skipped:  g.metrics.skipped.WithLabelValues(src.Name(), name),
		errors:   g.metrics.errors.MustCurryWith(prometheus.Labels{"source": src.Name(), "scraper": name}),
		status:   Status{Source: src.Name(), Scraper: name},
	}
	s.hand = func(g *otlp.Group, data []byte, points int) {
		if points > 0 {
			s.parts = append(s.parts, part{g, data, points})
		}
	}
	return s
}

// work scrapes at every time that comes in, until run is closed.
func (s *scraper) work(ctx context.Context, run <-chan time.Time, done chan<- *scraper) {
	for at := range run {
		begin := time.Now()
		s.at, s.parts = at, s.parts[:0]
		s.err = s.scrape(ctx)
		s.took = time.Since(begin)
		done <- s
	}
}

// scrape is the fence: a panic becomes an error and takes along what was handed over, since
// it may be half done.
func (s *scraper) scrape(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.parts = s.parts[:0]
			err = &panicError{p, debug.Stack()}
		}
	}()
	return s.source.Scrape(ctx, s.index, s.at, s.hand)
}

// panicError is a panic of a scraper.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// reason is the value of the label reason for an error.
func reason(err error) string {
	switch p := (*panicError)(nil); {
	case errors.As(err, &p):
		return "panic"
	case errors.Is(err, fs.ErrNotExist):
		return "missing"
	case errors.Is(err, fs.ErrPermission):
		return "permission"
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	}
	return "failed"
}

// account counts and reports the scrape that just ended. ended is why the grid ends, if it
// does: a scraper that gave up for this reason did not fail.
func (s *scraper) account(log *slog.Logger, ended error) {
	points := 0
	for i := range s.parts {
		points += s.parts[i].points
	}
	s.duration.Set(s.took.Seconds())
	s.source.points.Add(float64(points))

	s.mu.Lock()
	st := &s.status
	st.Busy, st.LastScrape, st.Duration, st.Points = false, s.at, s.took, points
	if s.err == nil {
		st.LastSuccess, st.Failing = s.at, false
	}
	s.mu.Unlock()

	if ended != nil && errors.Is(s.err, ended) {
		return
	}
	s.success.Set(1)
	if s.err != nil {
		s.fail(log, time.Now(), reason(s.err), s.err)
	} else if s.throttle.recovered() {
		log.Info("scraper works again", "source", s.source.Name(), "scraper", s.name)
	}
}

// overdue counts and reports that the tick goes on without this scraper.
func (s *scraper) overdue(log *slog.Logger, deadline time.Duration) {
	s.mu.Lock()
	s.status.Busy = true
	s.mu.Unlock()
	s.fail(log, time.Now(), "deadline", fmt.Errorf("no answer within %v", deadline))
}

func (s *scraper) fail(log *slog.Logger, now time.Time, reason string, err error) {
	s.errors.WithLabelValues(reason).Inc()
	s.success.Set(0)
	text := err.Error()
	s.mu.Lock()
	s.status.Failing, s.status.LastError, s.status.LastErrorTime = true, text, now
	s.status.Errors++
	s.mu.Unlock()

	held, ok := s.throttle.ok(now, text)
	if !ok {
		return
	}
	keys := []any{"source", s.source.Name(), "scraper", s.name, "err", text, "held_back", held}
	if p := (*panicError)(nil); errors.As(err, &p) {
		keys = append(keys, "stack", string(p.stack))
	}
	log.Warn("scraper failed; other scrapers go on, this one is tried again", keys...)
}

// skip leaves the scraper out of a tick.
func (s *scraper) skip() {
	s.skipped.Inc()
	s.mu.Lock()
	s.status.Skipped++
	s.mu.Unlock()
}

// throttle lets the first failure be logged, then one a minute when its text changes, and one
// an hour when it does not: a kernel without a file lacks it for as long as it runs.
type throttle struct {
	last time.Time
	text string
	held int
	bad  bool
}

func (t *throttle) ok(now time.Time, text string) (held int, ok bool) {
	wait := time.Minute
	if text == t.text {
		wait = time.Hour
	}
	t.bad = true
	if !t.last.IsZero() && now.Sub(t.last) < wait {
		t.held++
		return 0, false
	}
	held = t.held
	t.last, t.text, t.held = now, text, 0
	return held, true
}

// recovered tells whether this is the first success after a failure.
func (t *throttle) recovered() bool {
	was := t.bad
	t.bad = false
	return was
}

// Status is what a scraper did last.
type Status struct {
	Source        string        `json:"source"`
	Scraper       string        `json:"scraper"`
	Points        int           `json:"points"`      // of the last scrape
	Duration      time.Duration `json:"duration_ns"` // of the last scrape
	LastScrape    time.Time     `json:"last_scrape,omitzero"`
	LastSuccess   time.Time     `json:"last_success,omitzero"`
	Busy          bool          `json:"busy"`    // past the deadline and still at work
	Failing       bool          `json:"failing"` // the last scrape failed or is overdue
	LastError     string        `json:"last_error,omitempty"`
	LastErrorTime time.Time     `json:"last_error_time,omitzero"`
	Errors        uint64        `json:"errors"`
	Skipped       uint64        `json:"skipped"` // ticks left out because it was still busy
}

// Status tells of every scraper, in the order of the sources and their scrapers. It may be
// called from any goroutine.
func (g *Grid) Status() []Status {
	all := make([]Status, 0, len(g.scrapers))
	for _, s := range g.scrapers {
		s.mu.Lock()
		all = append(all, s.status)
		s.mu.Unlock()
	}
	return all
}
