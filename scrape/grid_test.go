package scrape

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"stint/export/otlp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a source whose scrapers do as the test says.
type fake struct {
	name  string
	parts []string
	do    func(ctx context.Context, part string, at time.Time, hand func(*otlp.Group, []byte, int)) error

	mu     sync.Mutex // guards everything below
	asked  map[string][]time.Time
	closed int
}

func (f *fake) Name() string       { return f.name }
func (f *fake) Scrapers() []string { return f.parts }
func (f *fake) Scrape(ctx context.Context, i int, at time.Time, hand func(*otlp.Group, []byte, int)) error {
	f.mu.Lock()
	if f.asked == nil {
		f.asked = map[string][]time.Time{}
	}
	f.asked[f.parts[i]] = append(f.asked[f.parts[i]], at)
	f.mu.Unlock()
	return f.do(ctx, f.parts[i], at, hand)
}

func (f *fake) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed++
	return nil
}

// ticks tells at which times a part was asked, in seconds since the bubble's clock began.
func (f *fake) ticks(part string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var s []string
	for _, at := range f.asked[part] {
		s = append(s, fmt.Sprint(at.Sub(bubble).Seconds()))
	}
	return strings.Join(s, " ")
}

// bubble is when the clock of a synctest bubble begins: a whole interval.
var bubble = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

var group = otlp.NewGroup([]otlp.KeyValue{otlp.Attr("host.name", "a")}, "", "test", "")

// hands is a scraper that hands over its name.
func hands(_ context.Context, part string, _ time.Time, hand func(*otlp.Group, []byte, int)) error {
	hand(group, []byte(part+";"), 1)
	return nil
}

// bed is a grid with its surroundings.
type bed struct {
	t      *testing.T
	grid   *Grid
	reg    *prometheus.Registry
	pool   *otlp.Pool
	logged bytes.Buffer

	mu   sync.Mutex // guards everything below
	sent []string   // "seconds since the bubble began: data"
	keep bool       // chunks stay in chunks, else they are settled at once
	held []*otlp.Chunk
}

func newBed(t *testing.T, sources ...Source) *bed {
	t.Helper()
	b := &bed{t: t, reg: prometheus.NewRegistry(), pool: otlp.NewPool(64<<20, nil)}
	emit := func(_ string, c *otlp.Chunk) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.sent = append(b.sent, fmt.Sprintf("%g: %s", time.Since(bubble).Seconds(), c.Data))
		if b.keep {
			b.held = append(b.held, c)
		} else {
			c.Settle(otlp.Delivered)
		}
	}
	grid, err := New(Config{Interval: 10 * time.Second}, sources, b.pool, emit, slog.New(slog.NewTextHandler(&b.logged, nil)), b.reg)
	if err != nil {
		t.Fatal(err)
	}
	b.grid = grid
	return b
}

// run runs the grid from the given time in the bubble until another.
func (b *bed) run(from, to time.Duration) {
	b.t.Helper()
	time.Sleep(time.Until(bubble.Add(from)))
	ctx, cancel := context.WithTimeout(b.t.Context(), to-from)
	defer cancel()
	if err := b.grid.Run(ctx); err != nil {
		b.t.Error(err)
	}
}

// metric sums the values of a metric whose labels contain all of these words, as in reason=panic.
func (b *bed) metric(name string, labels ...string) (sum float64) {
	b.t.Helper()
	families, err := b.reg.Gather()
	if err != nil {
		b.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
	next:
		for _, m := range f.Metric {
			text := ""
			for _, l := range m.Label {
				text += " " + l.GetName() + "=" + l.GetValue()
			}
			for _, l := range labels {
				if !strings.Contains(text+" ", " "+l+" ") {
					continue next
				}
			}
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return sum
}

func (b *bed) expect(want float64, name string, labels ...string) {
	b.t.Helper()
	if got := b.metric(name, labels...); got != want {
		b.t.Errorf("%s%v = %v, want %v", name, labels, got, want)
	}
}

func (b *bed) status(scraper string) Status {
	b.t.Helper()
	for _, s := range b.grid.Status() {
		if s.Scraper == scraper {
			return s
		}
	}
	b.t.Fatalf("no status of %s", scraper)
	return Status{}
}

// The first tick is at once and carries its own time, the others lie on the grid.
func TestTicks(t *testing.T) {
	for name, tc := range map[string]struct {
		from time.Duration
		want string
	}{
		"in between":          {3500 * time.Millisecond, "3.5 10 20 30"},
		"on the grid":         {10 * time.Second, "10 20 30"},
		"right before a tick": {9999 * time.Millisecond, "9.999 10 20 30"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				src := &fake{name: "fake", parts: []string{"a", "b"}, do: hands}
				b := newBed(t, src)
				b.run(tc.from, 35*time.Second)
				for _, part := range src.parts {
					if got := src.ticks(part); got != tc.want {
						t.Errorf("%s was asked at %s, want %s", part, got, tc.want)
					}
				}
				n := float64(len(strings.Fields(tc.want)))
				for _, sent := range b.sent {
					if !strings.HasSuffix(sent, ": a;b;") && !strings.HasSuffix(sent, ": b;a;") {
						t.Errorf("sent %q, want both parts in a chunk", sent)
					}
				}
				b.expect(2*n, "stint_scrape_points_total", "source=fake")
				b.expect(2*n, "stint_scrape_delivered_points_total", "source=fake")
				b.expect(0, "stint_scrape_errors_total")
				b.expect(0, "stint_scrape_missed_ticks_total")
				if src.closed != 1 || b.pool.Used() != 0 {
					t.Errorf("closed %d times, %d bytes in use", src.closed, b.pool.Used())
				}
			})
		})
	}
}

// A scraper that hangs harms no other: they are sent at the deadline, and from then on without
// waiting. It is left out of ticks until it comes back, and then is as good as before.
func TestHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wake := make(chan bool)
		src := &fake{name: "host", parts: []string{"good", "stuck"}, do: func(ctx context.Context, part string, at time.Time, hand func(*otlp.Group, []byte, int)) error {
			if part == "stuck" && at.Equal(bubble.Add(10*time.Second)) {
				<-wake
			}
			return hands(ctx, part, at, hand)
		}}
		other := &fake{name: "other", parts: []string{"else"}, do: hands}
		b := newBed(t, src, other)
		time.AfterFunc(33*time.Second, func() {
			if s := b.status("stuck"); !s.Busy || !s.Failing || s.LastError != "no answer within 5s" || s.Skipped != 2 {
				t.Errorf("status while it hangs: %+v", s)
			}
			close(wake)
		})
		b.run(5*time.Second, 52*time.Second)

		var got []string
		for _, s := range b.sent {
			got = append(got, strings.NewReplacer("stuck;good;", "good;stuck;").Replace(s))
		}
		want := []string{
			"5: good;stuck;", "5: else;",
			"10: else;", "15: good;", // at the deadline
			"20: good;", "20: else;", "30: good;", "30: else;",
			"33: stuck;", // of the tick at 10 s
			"40: good;stuck;", "40: else;", "50: good;stuck;", "50: else;",
		}
		if !sameSet(got, want) {
			t.Errorf("sent %q,\nwant %q", got, want)
		}
		if got := src.ticks("stuck"); got != "5 10 40 50" {
			t.Errorf("stuck was asked at %s", got)
		}
		b.expect(2, "stint_scrape_skipped_total", "source=host", "scraper=stuck")
		b.expect(1, "stint_scrape_errors_total", "source=host", "scraper=stuck", "reason=deadline")
		b.expect(1, "stint_scrape_errors_total")
		if s := b.status("stuck"); s.Busy || s.Failing || !s.LastSuccess.Equal(bubble.Add(50*time.Second)) {
			t.Errorf("status afterwards: %+v", s)
		}
		if !strings.Contains(b.logged.String(), "scraper works again") {
			t.Errorf("logged %s", &b.logged)
		}
	})
}

// sameSet compares without order: sources and scrapers of a tick finish in any.
func sameSet(a, b []string) bool {
	count := map[string]int{}
	for _, s := range a {
		count[s]++
	}
	for _, s := range b {
		count[s]--
	}
	for _, n := range count {
		if n != 0 {
			return false
		}
	}
	return true
}

// A scraper that hangs when the grid ends does not hold it up longer than the grace, and its
// source is not closed under it.
func TestHangAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wake := make(chan bool)
		stuck := &fake{name: "stuck", parts: []string{"x"}, do: func(context.Context, string, time.Time, func(*otlp.Group, []byte, int)) error {
			<-wake
			return nil
		}}
		polite := &fake{name: "polite", parts: []string{"y"}, do: func(ctx context.Context, _ string, _ time.Time, _ func(*otlp.Group, []byte, int)) error {
			<-ctx.Done() // as a request does
			return ctx.Err()
		}}
		b := newBed(t, stuck, polite)
		b.run(0, 3*time.Second)
		if d := time.Since(bubble); d != 3*time.Second+stopGrace {
			t.Errorf("Run returned after %v", d)
		}
		if stuck.closed != 0 || polite.closed != 1 {
			t.Errorf("closed %d and %d times", stuck.closed, polite.closed)
		}
		if !strings.Contains(b.logged.String(), "scraper hangs; left behind") {
			t.Errorf("logged %s", &b.logged)
		}
		close(wake)
	})
}

// What is being scraped when the grid ends is still sent; who was told to give up is no failure.
func TestLastPoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &fake{name: "host", parts: []string{"quick", "slow", "polite"}, do: func(ctx context.Context, part string, at time.Time, hand func(*otlp.Group, []byte, int)) error {
			switch part {
			case "slow":
				time.Sleep(time.Second)
			case "polite":
				<-ctx.Done()
				return ctx.Err()
			}
			return hands(ctx, part, at, hand)
		}}
		b := newBed(t, src)
		b.run(0, 500*time.Millisecond)
		if got := strings.Join(b.sent, ", "); got != "1: quick;slow;" {
			t.Errorf("sent %q", got)
		}
		b.expect(2, "stint_scrape_delivered_points_total")
		b.expect(0, "stint_scrape_errors_total")
	})
}

// Failures and panics are counted by reason, logged once, and tried again; what a failing
// scraper handed over counts, of a panicking one it does not.
func TestFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &fake{name: "host", parts: []string{"good", "panics", "missing", "secret", "slow", "broken"},
			do: func(ctx context.Context, part string, at time.Time, hand func(*otlp.Group, []byte, int)) error {
				hands(ctx, part, at, hand)
				switch part {
				case "panics":
					var s []int
					_ = s[len(part)]
				case "missing":
					return &fs.PathError{Op: "open", Path: "/x", Err: fs.ErrNotExist}
				case "secret":
					return errors.Join(nil, fmt.Errorf("open /y: %w", fs.ErrPermission))
				case "slow":
					return context.DeadlineExceeded
				case "broken":
					return errors.New("broken")
				}
				return nil
			}}
		b := newBed(t, src)
		b.run(0, 125*time.Second) // 13 ticks
		for scraper, reason := range map[string]string{"panics": "panic", "missing": "missing", "secret": "permission", "slow": "timeout", "broken": "failed"} {
			b.expect(13, "stint_scrape_errors_total", "scraper="+scraper, "reason="+reason)
			b.expect(13, "stint_scrape_errors_total", "scraper="+scraper)
			b.expect(0, "stint_scrape_success", "scraper="+scraper)
			if n := strings.Count(b.logged.String(), "scraper="+scraper+" "); n != 1 {
				t.Errorf("%s was logged %d times, want once", scraper, n)
			}
		}
		b.expect(0, "stint_scrape_errors_total", "scraper=good")
		b.expect(1, "stint_scrape_success", "scraper=good")
		b.expect(13*5, "stint_scrape_points_total", "source=host")
		for _, s := range b.sent {
			if strings.Contains(s, "panics") || !strings.Contains(s, "good") || !strings.Contains(s, "broken") {
				t.Errorf("sent %q", s)
			}
		}
		if !strings.Contains(b.logged.String(), "grid_test.go") {
			t.Errorf("the log does not say where it panicked: %s", &b.logged)
		}
		if s := b.status("panics"); !s.Failing || !strings.HasPrefix(s.LastError, "panic: runtime error: index out of range") || s.Errors != 13 || s.Points != 0 {
			t.Errorf("status %+v", s)
		}
	})
}

func TestThrottle(t *testing.T) {
	var th throttle
	now := bubble
	say := func(after time.Duration, text string) string {
		now = now.Add(after)
		held, ok := th.ok(now, text)
		return fmt.Sprint(held, ok)
	}
	for i, tc := range []struct {
		after      time.Duration
		text, want string
	}{
		{0, "a", "0 true"},
		{10 * time.Second, "a", "0 false"},
		{10 * time.Second, "b", "0 false"}, // other text, but within the minute
		{50 * time.Second, "b", "2 true"},
		{59 * time.Minute, "b", "0 false"}, // the same text is said once an hour
		{time.Minute, "b", "1 true"},
	} {
		if got := say(tc.after, tc.text); got != tc.want {
			t.Errorf("step %d: %s, want %s", i, got, tc.want)
		}
	}
	if !th.recovered() || th.recovered() {
		t.Error("recovered is not told once")
	}
}

// Without memory the points of the tick are dropped and counted; the next tick is tried anew.
func TestNoMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &fake{name: "host", parts: []string{"a"}, do: hands}
		b := newBed(t, src)
		b.pool.SetLimit(0)
		time.AfterFunc(25*time.Second, func() { b.pool.SetLimit(1 << 20) })
		b.run(0, 45*time.Second)
		b.expect(3, "stint_scrape_dropped_points_total", "reason=memory")
		b.expect(5, "stint_scrape_points_total", "source=host")
		b.expect(2, "stint_scrape_delivered_points_total", "source=host")
	})
}

// What becomes of chunks is counted, from any goroutine, also after the end.
func TestSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &fake{name: "host", parts: []string{"a"}, do: hands}
		b := newBed(t, &fake{name: "none", do: hands}, src)
		b.keep = true
		b.run(0, 25*time.Second)
		if len(b.held) != 3 {
			t.Fatalf("%d chunks, want 3", len(b.held))
		}
		lane := b.held[0].Lane
		for i, c := range b.held {
			if c.Group != group || c.Records != 1 || c.Signal != otlp.Metrics || c.Lane != lane {
				t.Errorf("chunk %+v", c)
			}
			go c.Settle([]otlp.Outcome{otlp.Delivered, otlp.Dropped, otlp.Aborted}[i])
		}
		synctest.Wait()
		b.expect(1, "stint_scrape_delivered_points_total", "source=host")
		b.expect(1, "stint_scrape_dropped_points_total", "reason=refused")
		b.expect(1, "stint_scrape_dropped_points_total", "reason=aborted")
		if b.pool.Used() != 0 {
			t.Errorf("%d bytes in use", b.pool.Used())
		}
	})
}

// A chunk a group, as long as that fits into a slab; a part is never split.
func TestChunks(t *testing.T) {
	groups := make([]*otlp.Group, 400)
	for i := range groups {
		groups[i] = otlp.NewGroup(nil, "", fmt.Sprint(i), "")
	}
	src := &fake{name: "big", parts: []string{"a", "b"}, do: func(_ context.Context, part string, _ time.Time, hand func(*otlp.Group, []byte, int)) error {
		for i, g := range groups { // 400 small groups, in two parts each
			hand(g, bytes.Repeat([]byte(part), 1000+i), 1)
		}
		if part == "a" {
			for range 10 { // 1 MB in ten pieces
				hand(group, bytes.Repeat([]byte("m"), 100_000), 100)
			}
			hand(group, bytes.Repeat([]byte("h"), 2_000_000), 7) // one huge piece
			hand(group, bytes.Repeat([]byte("z"), 10), 1)
			hand(group, nil, 0)
		}
		return nil
	}}
	b := newBed(t, src)
	b.keep = true
	b.grid.start(t.Context())
	defer b.grid.release()
	defer b.grid.stop()
	b.grid.tick(bubble)
	for range src.parts {
		b.grid.finish(<-b.grid.done, nil)
	}
	sizes := map[*otlp.Group][]int{}
	points := 0
	for _, c := range b.held {
		sizes[c.Group] = append(sizes[c.Group], len(c.Data))
		points += c.Records
	}
	for i, g := range groups {
		if s := fmt.Sprint(sizes[g]); s != fmt.Sprintf("[%d]", 2*(1000+i)) {
			t.Errorf("group %d has chunks of %s bytes", i, s)
		}
	}
	if got, want := fmt.Sprint(sizes[group]), "[300000 300000 300000 100000 2000000 10]"; got != want {
		t.Errorf("the large group has chunks of %s bytes, want %s", got, want)
	}
	if want := 2*len(groups) + 10*100 + 7 + 1; points != want {
		t.Errorf("%d points, want %d", points, want)
	}
	if used := b.pool.Used(); used > 2_000_000+8*otlp.SlabSize {
		t.Errorf("%d bytes in use for 2 MB in slabs of %d", used, otlp.SlabSize)
	}
	for _, c := range b.held {
		c.Settle(otlp.Delivered)
	}
	if b.pool.Used() != 0 {
		t.Errorf("%d bytes in use after all is settled", b.pool.Used())
	}
}

// How the grid follows a wall clock that is set.
func TestWallClock(t *testing.T) {
	type step struct {
		now  time.Duration // what the wall clock says
		at   time.Duration // the tick; negative: none
		wait time.Duration
	}
	sec := time.Second
	for name, tc := range map[string]struct {
		steps  []step
		missed float64
		logged string
	}{
		"steady":              {[]step{{3 * sec, 3 * sec, 7 * sec}, {10 * sec, 10 * sec, 10 * sec}, {20*sec + 50*time.Millisecond, 20 * sec, 9950 * time.Millisecond}}, 0, ""},
		"the timer is early":  {[]step{{0, 0, 10 * sec}, {9999 * time.Millisecond, -1, time.Millisecond}, {10 * sec, 10 * sec, 10 * sec}}, 0, ""},
		"a tick starves":      {[]step{{0, 0, 10 * sec}, {14 * sec, 10 * sec, 6 * sec}, {20 * sec, 20 * sec, 10 * sec}}, 0, ""},
		"suspended":           {[]step{{5 * sec, 5 * sec, 5 * sec}, {3607 * sec, 3600 * sec, 3 * sec}, {3610 * sec, 3610 * sec, 10 * sec}}, 359, ""},
		"set back a little":   {[]step{{0, 0, 10 * sec}, {10 * sec, 10 * sec, 10 * sec}, {9 * sec, -1, 11 * sec}, {20 * sec, 20 * sec, 10 * sec}}, 0, ""},
		"set back by 9 s":     {[]step{{100 * sec, 100 * sec, 10 * sec}, {101 * sec, -1, 9 * sec}, {110 * sec, 110 * sec, 10 * sec}}, 0, ""},
		"set back by an hour": {[]step{{7200 * sec, 7200 * sec, 10 * sec}, {3610 * sec, 3610 * sec, 10 * sec}, {3620 * sec, 3620 * sec, 10 * sec}}, 0, "the wall clock was set back"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			for i, s := range tc.steps {
				at, wait := b.grid.due(bubble.Add(s.now))
				if s.at < 0 && !at.IsZero() || s.at >= 0 && !at.Equal(bubble.Add(s.at)) || wait != s.wait {
					t.Errorf("step %d: due = %v, %v, want %v, %v", i, at.Sub(bubble), wait, s.at, s.wait)
				}
			}
			b.expect(tc.missed, "stint_scrape_missed_ticks_total")
			if got := b.logged.String(); !strings.Contains(got, tc.logged) || tc.logged == "" && got != "" {
				t.Errorf("logged %q", got)
			}
		})
	}
}

// Once gives everything that there is within the deadline, and errors for the rest.
func TestOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wake := make(chan bool)
		src := &fake{name: "host", parts: []string{"a", "b", "stuck", "broken"}, do: func(ctx context.Context, part string, at time.Time, hand func(*otlp.Group, []byte, int)) error {
			if part == "stuck" {
				<-wake
			}
			hands(ctx, part, at, hand)
			if part == "broken" {
				return errors.New("no luck")
			}
			return nil
		}}
		b := newBed(t, src)
		for round := range 2 { // the stuck one is not asked again
			parts, err := b.grid.Once(t.Context())
			var got []string
			for _, p := range parts {
				got = append(got, fmt.Sprintf("%s/%s %s %d", p.Source, p.Scraper, p.Data, p.Points))
			}
			if s := strings.Join(got, ", "); s != "host/a a; 1, host/b b; 1, host/broken broken; 1" {
				t.Errorf("round %d: %s", round, s)
			}
			if err == nil || !strings.Contains(err.Error(), "scrape host broken: no luck") || !strings.Contains(err.Error(), "scrape host stuck: ") {
				t.Errorf("round %d: error %v", round, err)
			}
		}
		if got := src.ticks("stuck"); len(strings.Fields(got)) != 1 {
			t.Errorf("stuck was asked at %s", got)
		}
		if len(b.sent) != 0 {
			t.Errorf("sent %q", b.sent)
		}
		close(wake)
	})
}

// Run and Once exclude each other.
func TestOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, &fake{name: "host", parts: []string{"a"}, do: hands})
		go b.run(0, 5*time.Second)
		synctest.Wait()
		if _, err := b.grid.Once(t.Context()); err == nil {
			t.Error("Once worked while Run is at work")
		}
		if err := b.grid.Run(t.Context()); err == nil {
			t.Error("a second Run worked")
		}
		time.Sleep(6 * time.Second)
	})
}

func TestNewRefuses(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	if _, err := New(Config{}, nil, nil, nil, log, nil); err == nil {
		t.Error("an interval of 0 is accepted")
	}
	twice := []Source{&fake{name: "x"}, &fake{name: "x"}}
	if _, err := New(Defaults(), twice, nil, nil, log, nil); err == nil {
		t.Error("two sources of a name are accepted")
	}
	reg := prometheus.NewRegistry()
	if _, err := New(Defaults(), nil, nil, nil, log, reg); err != nil {
		t.Error(err)
	}
	if _, err := New(Defaults(), nil, nil, nil, log, reg); err == nil {
		t.Error("metrics are registered twice")
	}
}
