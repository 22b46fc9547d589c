package export

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/quick"
	"testing/synctest"
	"time"

	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	colmetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	"google.golang.org/protobuf/proto"

	"stint/export/otlp"
)

// fake is a destination in memory, for what takes time or many requests.
type fake struct {
	t      testing.TB
	answer func(n int, r incoming) Verdict // n counts from 1
	took   time.Duration                   // to answer
	hang   bool                            // until the attempt is given up

	mu     sync.Mutex
	times  []time.Time // of each request
	sizes  []int       // of each request
	got    []string    // accepted
	ended  []time.Duration
	closed bool
}

func (f *fake) close() { f.closed = true }

func (f *fake) send(ctx context.Context, r *request) Verdict {
	in := f.decode(r)
	f.mu.Lock()
	f.times, f.sizes = append(f.times, time.Now()), append(f.sizes, in.size)
	n, start := len(f.times), time.Now()
	hang, took, answer := f.hang, f.took, f.answer
	f.mu.Unlock()
	if took > 0 || hang {
		wait := time.After(took)
		if hang {
			wait = nil
		}
		select {
		case <-wait:
		case <-ctx.Done():
			f.mu.Lock()
			f.ended = append(f.ended, time.Since(start))
			f.mu.Unlock()
			return Verdict{Kind: Again, Unsure: true, Err: ctx.Err()}
		}
	}
	v := Verdict{}
	if answer != nil {
		v = answer(n, in)
	}
	if v.Kind == OK || v.Kind == Partial {
		f.mu.Lock()
		f.got = append(f.got, in.bodies...)
		f.mu.Unlock()
	}
	return v
}

func (f *fake) decode(r *request) (in incoming) {
	b := r.bytes()
	in.size = len(b)
	var bodies []string
	if r.signal == otlp.Logs {
		var m collogs.ExportLogsServiceRequest
		if err := proto.Unmarshal(b, &m); err != nil {
			f.t.Error(err)
		}
		bodies = logBodies(&m)
	} else {
		var m colmetrics.ExportMetricsServiceRequest
		if err := proto.Unmarshal(b, &m); err != nil {
			f.t.Error(err)
		}
		bodies = metricNames(&m)
	}
	if len(bodies) != r.records {
		f.t.Errorf("a request of %d records says %d", len(bodies), r.records)
	}
	for _, s := range bodies {
		id, rest, _ := strings.Cut(s, " ")
		in.bodies, in.bad = append(in.bodies, id), in.bad || strings.HasPrefix(rest, "bad")
	}
	return in
}

// say changes the answers.
func (f *fake) say(answer func(int, incoming) Verdict) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = answer
}

func (f *fake) requests() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.times)
}

// records are the accepted records of a container.
func (f *fake) records(container string) (list []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, b := range f.got {
		if strings.HasPrefix(b, container+"/") {
			list = append(list, b)
		}
	}
	return list
}

// names are those of records from and below to.
func names(container string, from, to int) (list []string) {
	for i := from; i < to; i++ {
		list = append(list, body(container, i))
	}
	return list
}

// newFakes makes an Exporting with these destinations, retries of 1 s to 30 s and a limit of
// 10 s an attempt.
func newFakes(t testing.TB, b Batch, fakes map[string]*fake) *Exporting {
	x := Exporters{}
	for name := range fakes {
		x[name] = &Debug{} // whose place the fake takes
	}
	e, _ := newExporting(t, b, x, silent)
	for name, f := range fakes {
		f.t = t
		o := e.outs[name]
		o.dest, o.retry, o.timeout = f, Retry{InitialInterval: time.Second, MaxInterval: 30 * time.Second}, 10*time.Second
	}
	return e
}

// running runs e within the bubble and returns what ends it and waits for that.
func running(t testing.TB, e *Exporting) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); e.Run(ctx) }()
	return func() { cancel(); <-done }
}

var errFake = errors.New("says the fake")

func again(int, incoming) Verdict { return Verdict{Kind: Again, Err: errFake} }

// Credentials are renewed after ten minutes: until then an attempt each half minute, from one
// lane only, and nothing is lost.
func TestParkTimes(t *testing.T) {
	for _, kind := range []Kind{Auth, Misconfigured} {
		t.Run(kind.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				f := &fake{answer: func(int, incoming) Verdict {
					if time.Since(start) < 10*time.Minute {
						return Verdict{Kind: kind, Err: errFake}
					}
					return Verdict{}
				}}
				e := newFakes(t, BatchDefaults(), map[string]*fake{"x": f})
				s := newSource(t)
				for _, c := range append(containers(1, 0), containers(1, 1)...) {
					e.Input(otlp.Logs, "test")(s.logs(c, 100, 100))
				}
				stop := running(t, e)
				e.Flush()
				synctest.Wait()
				if st := statusOf(t, e, otlp.Logs); st.Down != kind.String() || st.Error != errFake.Error() {
					t.Errorf("status %+v", st)
				}
				time.Sleep(11 * time.Minute)
				synctest.Wait()
				s.want(2, 0, 0)
				// Two lanes try at once at first; from then on one in 30 to 33 s.
				if n := f.requests(); n < 19 || n > 24 {
					t.Errorf("%d requests in ten minutes, want about 20", n)
				}
				for i := 3; i < len(f.times)-1; i++ {
					if d := f.times[i].Sub(f.times[i-1]); d < parkFor || d > parkFor+parkFor/10+time.Millisecond {
						t.Errorf("%v between attempts %d and %d, want 30s to 33s", d, i, i+1)
					}
				}
				if st := statusOf(t, e, otlp.Logs); st.Down != "" || st.Dropped != 0 || st.Sent != 200 {
					t.Errorf("status %+v", st)
				}
				stop()
			})
		})
	}
}

func TestRetryAfterIsCapped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{answer: func(n int, _ incoming) Verdict {
			if n == 1 {
				return Verdict{Kind: Again, After: 24 * time.Hour, Err: errFake}
			}
			return Verdict{}
		}}
		e := newFakes(t, BatchDefaults(), map[string]*fake{"x": f})
		s := newSource(t)
		deliverFake(t, e, s.logs("a", 1, 10))
		s.want(1, 0, 0)
		if d := f.times[1].Sub(f.times[0]); d < maxAfter || d > maxAfter+maxAfter/10+time.Second {
			t.Errorf("the second attempt came after %v, want 5 to 5.5 minutes", d)
		}
	})
}

// deliverFake is deliver without a limit: time costs nothing.
func deliverFake(t testing.TB, e *Exporting, chunks ...*otlp.Chunk) {
	for _, c := range chunks {
		e.Input(c.Signal, "test")(c)
	}
	e.CloseInput()
	e.Run(t.Context())
}

// In an outage one lane asks, at most once a back-off step; afterwards full requests come
// back within few requests.
func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{answer: again}
		e := newFakes(t, Batch{SendBatchSize: 1000, SendBatchMaxBytes: 4 << 20, Timeout: time.Second}, map[string]*fake{"x": f})
		s := newSource(t)
		stop := running(t, e)
		add := func(n int) {
			for range n {
				for _, c := range append(containers(1, 0), containers(1, 1)...) {
					e.Input(otlp.Logs, "test")(s.logs(c, 1000, 200))
				}
			}
		}
		add(10)
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := f.requests(); n > 300 { // waits are 15 s in the mean
			t.Errorf("%d requests in an hour of outage", n)
		}
		before := f.requests()
		f.say(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		s.want(20, 0, 0)
		// Cut down to one record in the outage: 2 lanes double up from there to 1000.
		if n := f.requests() - before; n > 20+3*2*10 {
			t.Errorf("%d requests for 20 batches after the outage", n)
		}
		for _, c := range append(containers(1, 0), containers(1, 1)...) {
			if got := f.records(c); !slices.Equal(got, names(c, 0, 10_000)) {
				t.Errorf("%d records of %s arrived, or out of order", len(got), c)
			}
		}
		before = f.requests()
		add(10)
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := f.requests() - before; n != 20 {
			t.Errorf("%d requests for 20 batches later on", n)
		}
		stop()
	})
}

// A server that does not answer gets more time with each attempt, and what it then turns out
// to need from the beginning.
func TestTimeoutGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{hang: true}
		e := newFakes(t, Batch{SendBatchSize: 1, SendBatchMaxBytes: 1 << 20, Timeout: time.Second}, map[string]*fake{"x": f})
		s := newSource(t)
		e.Input(otlp.Logs, "test")(s.logs("a", 1, 10))
		stop := running(t, e)
		time.Sleep(4 * time.Minute)
		synctest.Wait()
		if want := []time.Duration{10e9, 20e9, 40e9, 60e9}; len(f.ended) < 4 || !slices.Equal(f.ended[:4], want) {
			t.Errorf("attempts were given up after %v, want %v", f.ended, want)
		}
		f.mu.Lock()
		f.hang, f.took, f.ended = false, 15*time.Second, nil
		f.mu.Unlock()
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		for range 5 {
			e.Input(otlp.Logs, "test")(s.logs("a", 1, 10))
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if s.want(6, 0, 0); len(f.ended) > 1 { // the last of the hanging ones
			t.Errorf("%d attempts of 15 s were given up", len(f.ended))
		}
		stop()
	})
}

// limited answers as a server with a size limit.
func limited(limit int, v Verdict) func(int, incoming) Verdict {
	v.Err = errFake
	return func(_ int, r incoming) Verdict {
		if r.size > limit {
			return v
		}
		return Verdict{}
	}
}

// A size limit is learned once, and asked for again only after a while.
func TestLearnedLimit(t *testing.T) {
	for name, tc := range map[string]struct {
		v       Verdict
		first   int // requests for the first batch, at most
		in10min int // refused ones in ten minutes after that, at most
	}{
		"said":   {Verdict{Kind: Split, Reason: tooLarge}, 12, 2},
		"hidden": {Verdict{Kind: Again}, 14, 8},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const limit = 1_000_000
				f := &fake{answer: limited(limit, tc.v)}
				e := newFakes(t, BatchDefaults(), map[string]*fake{"x": f})
				s := newSource(t)
				stop := running(t, e)
				refused := func() (n int) {
					for _, size := range f.sizes {
						if size > limit {
							n++
						}
					}
					return n
				}
				batch := func() {
					e.Input(otlp.Logs, "test")(s.logs("a", 400, 10_000))
					e.Flush()
					time.Sleep(time.Minute)
					synctest.Wait()
				}
				batch()
				s.want(1, 0, 0)
				if n := f.requests(); n > tc.first {
					t.Errorf("%d requests for the first batch, want at most %d: %v", n, tc.first, f.sizes)
				}
				before := refused()
				for range 10 { // minutes
					batch()
				}
				if n := refused() - before; n > tc.in10min {
					t.Errorf("%d requests over the limit in ten minutes, want at most %d", n, tc.in10min)
				}
				// The server is set right.
				f.say(nil)
				for range 15 {
					time.Sleep(2 * time.Minute)
					batch()
				}
				if largest := slices.Max(f.sizes[len(f.sizes)-3:]); largest < 4_000_000 {
					t.Errorf("half an hour later the largest request has %d bytes", largest)
				}
				s.want(26, 0, 0)
				if got := f.records("a"); !slices.Equal(got, names("a", 0, 26*400)) {
					t.Errorf("%d records arrived, or out of order", len(got))
				}
				stop()
			})
		})
	}
}

// Among n records k bad ones cost exactly themselves.
func TestBisect(t *testing.T) {
	f := func(seed uint64) bool {
		r := rand.New(rand.NewPCG(seed, 1))
		n, k := 1+r.IntN(10_000), r.IntN(20)
		var bad, want []int
		for range min(k, n) {
			if b := r.IntN(n); !slices.Contains(bad, b) {
				bad = append(bad, b)
			}
		}
		ok := true
		synctest.Test(t, func(t *testing.T) {
			f := &fake{answer: func(_ int, r incoming) Verdict {
				if r.bad {
					return Verdict{Kind: Split, Reason: invalid, Err: errFake}
				}
				return Verdict{}
			}}
			e := newFakes(t, Batch{SendBatchSize: 10_000, SendBatchMaxBytes: 4 << 20, Timeout: time.Hour}, map[string]*fake{"x": f})
			s := newSource(t)
			var chunks []*otlp.Chunk
			for left := n; left > 0; {
				c := min(left, 1+r.IntN(1000))
				chunks = append(chunks, s.logs("a", c, 50, bad...))
				left -= c
			}
			start := time.Now()
			deliverFake(t, e, chunks...)
			for i := range n {
				if !slices.Contains(bad, i) {
					want = append(want, i)
				}
			}
			var rest []string
			for _, i := range want {
				rest = append(rest, body("a", i))
			}
			if got := f.records("a"); !slices.Equal(got, rest) || time.Since(start) > 0 {
				t.Logf("of %d records, %d bad, %d arrived, want %d; it took %v", n, len(bad), len(got), len(want), time.Since(start))
				ok = false
			}
			if got := drops(t, e, "x", otlp.Logs, invalid); got != len(bad) {
				t.Logf("%d records counted as dropped, want %d", got, len(bad))
				ok = false
			}
			if e.outs["x"].gates[otlp.Logs].cap != 0 {
				t.Log("a size limit was learned from bad records")
				ok = false
			}
		})
		return ok
	}
	if err := quick.Check(f, &quick.Config{MaxCount: 12}); err != nil {
		t.Error(err)
	}
}

// A destination that calls everything invalid is not asked for each record.
func TestSplitLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{answer: func(int, incoming) Verdict { return Verdict{Kind: Split, Reason: invalid, Err: errFake} }}
		e := newFakes(t, BatchDefaults(), map[string]*fake{"x": f})
		s := newSource(t)
		deliverFake(t, e, s.logs("a", 10_000, 50))
		s.want(0, 1, 0)
		if n := f.requests(); n > 2*maxSplits+20 {
			t.Errorf("%d requests", n)
		}
		a, b := drops(t, e, "x", otlp.Logs, invalid), drops(t, e, "x", otlp.Logs, splitLimit)
		if a+b != 10_000 || a < 100 || statusOf(t, e, otlp.Logs).Dropped != 10_000 {
			t.Errorf("%d dropped as invalid, %d for the limit", a, b)
		}
	})
}

// Split keeps all records, in order, and halves them.
func TestSplit(t *testing.T) {
	f := func(seed uint64, metrics bool) bool {
		r := rand.New(rand.NewPCG(seed, 2))
		s := newSource(t)
		var chunks []*otlp.Chunk
		for range 1 + r.IntN(5) {
			name, n := fmt.Sprint("c", r.IntN(3)), 1+r.IntN(30)
			if metrics {
				chunks = append(chunks, s.metrics(name, n, 10))
			} else {
				chunks = append(chunks, s.logs(name, n, 10))
			}
		}
		whole := newRequest(chunks[0].Signal, chunks)
		d := &fake{t: t}
		want := d.decode(whole).bodies
		var got []string
		var walk func(q *request)
		walk = func(q *request) {
			a, b, ok := q.split()
			if !ok {
				got = append(got, d.decode(q).bodies...)
				if q.records != 1 {
					t.Logf("a request of %d records can't be split", q.records)
				}
				return
			}
			if a.records+b.records != q.records || math.Abs(float64(a.records-b.records)) > 1 {
				t.Logf("%d records are cut into %d and %d", q.records, a.records, b.records)
			}
			walk(a)
			walk(b)
		}
		walk(whole)
		_, size := whole.buffers()
		sum := 0
		for _, c := range chunks {
			sum += c.Group.FrameLen(len(c.Data)) + len(c.Data)
		}
		return slices.Equal(got, want) && size <= sum && size == len(whole.bytes())
	}
	if err := quick.Check(f, nil); err != nil {
		t.Error(err)
	}
}

// Metrics are cut between metrics: the points of one stay together.
func TestSplitKeepsPointsTogether(t *testing.T) {
	g := otlp.NewGroup(nil, "", "", "")
	pool := otlp.NewPool(64<<20, nil)
	metric := func(points ...int) *otlp.Chunk {
		slab := pool.TryGet(0)
		n := 0
		for _, p := range points {
			slab.Buf = otlp.AppendMetric(slab.Buf, &otlp.Metric{Name: "m"}, make([]otlp.NumberPoint, p))
			n += p
		}
		c := otlp.NewChunk(slab, slab.Buf)
		c.Group, c.Records, c.Signal = g, n, otlp.Metrics
		return c
	}
	for _, tc := range []struct {
		chunks [][]int
		a, b   int // 0, 0: can't be cut
	}{
		{[][]int{{100}}, 0, 0},
		{[][]int{{1, 99}}, 1, 99},
		{[][]int{{99, 1}}, 99, 1},
		{[][]int{{1}, {99}}, 1, 99},
		{[][]int{{99}, {1}}, 99, 1},
		{[][]int{{40}, {30, 30}}, 70, 30},
		{[][]int{{50}, {30, 20}}, 50, 50},
	} {
		var chunks []*otlp.Chunk
		for _, c := range tc.chunks {
			chunks = append(chunks, metric(c...))
		}
		a, b, ok := newRequest(otlp.Metrics, chunks).split()
		if ok != (tc.a+tc.b > 0) || ok && (a.records != tc.a || b.records != tc.b) {
			t.Errorf("%v is cut into %d and %d (%v), want %d and %d", tc.chunks, a.records, b.records, ok, tc.a, tc.b)
			continue
		}
		if !ok {
			continue
		}
		for _, r := range []*request{a, b} {
			if n, err := otlp.Count(otlp.Metrics, r.bytes()); n != r.records || err != nil {
				t.Errorf("%v: a half of %d points holds %d (%v)", tc.chunks, r.records, n, err)
			}
		}
	}
}

// A chunk settles when both destinations are done with it, and not before.
func TestTwoDestinations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		live, dead := &fake{}, &fake{answer: again}
		e := newFakes(t, Batch{SendBatchSize: 100, SendBatchMaxBytes: 1 << 20, Timeout: time.Second}, map[string]*fake{"live": live, "dead": dead})
		s := newSource(t)
		stop := running(t, e)
		for range 50 {
			e.Input(otlp.Logs, "test")(s.logs("a", 100, 100))
			time.Sleep(time.Second)
			synctest.Wait()
		}
		if got := live.records("a"); !slices.Equal(got, names("a", 0, 5000)) {
			t.Errorf("%d records at the live destination, want 5000", len(got))
		}
		if d, r, a := s.settled(); d+r+a != 0 {
			t.Errorf("%d chunks are settled though one destination has none", d+r+a)
		}
		dead.say(func(_ int, r incoming) Verdict {
			if r.bodies[0] == body("a", 4900) {
				return Verdict{Kind: Drop, Reason: "http_500", Err: errFake}
			}
			return Verdict{}
		})
		time.Sleep(time.Minute)
		synctest.Wait()
		s.want(49, 1, 0)
		if got := dead.records("a"); !slices.Equal(got, names("a", 0, 4900)) {
			t.Errorf("%d records at the other, want 4900", len(got))
		}
		stop()
		if !live.closed || !dead.closed {
			t.Error("Run has not closed the destinations")
		}
	})
}

// What metrics wait for one destination is bounded; the oldest go, counted, and the other
// destination misses nothing.
func TestMetricsQueueDropsOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		live, dead := &fake{}, &fake{answer: again}
		e := newFakes(t, BatchDefaults(), map[string]*fake{"live": live, "dead": dead})
		s := newSource(t)
		stop := running(t, e)
		const ticks = 100 // of 100 KB
		for range ticks {
			e.Input(otlp.Metrics, "test")(s.metrics("host", 100, 1000))
			time.Sleep(10 * time.Second)
			synctest.Wait()
		}
		if got := live.records("host"); !slices.Equal(got, names("host", 0, 100*ticks)) {
			t.Errorf("%d points at the live destination", len(got))
		}
		for _, st := range e.Status() {
			if st.Signal == "metrics" && st.Exporter == "dead" && (st.WaitBytes > metricsQueueBytes || st.WaitBytes < metricsQueueBytes-200_000) {
				t.Errorf("%d bytes wait", st.WaitBytes)
			}
		}
		gone := drops(t, e, "dead", otlp.Metrics, queueFull)
		dead.say(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		got := dead.records("host")
		if gone%100 != 0 || gone < 5000 || len(got)+gone != 100*ticks {
			t.Errorf("%d points dropped and %d delivered of %d", gone, len(got), 100*ticks)
		}
		// One batch was already under way; the newest of the others are there.
		if want := append(names("host", 0, 100), names("host", gone+100, 100*ticks)...); !slices.Equal(got, want) {
			t.Errorf("%d points arrived, among them not the newest", len(got))
		}
		s.want(ticks-gone/100, gone/100, 0)
		stop()
	})
}

// The end of the context aborts what has no answer, at once, and leaves nothing behind.
func TestShutdown(t *testing.T) {
	for name, f := range map[string]*fake{
		"hangs":                 {hang: true},
		"is busy":               {answer: again},
		"has asked for a pause": {answer: func(int, incoming) Verdict { return Verdict{Kind: Again, After: time.Hour, Err: errFake} }},
		"wants credentials":     {answer: func(int, incoming) Verdict { return Verdict{Kind: Auth, Err: errFake} }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newFakes(t, Batch{SendBatchSize: 10, SendBatchMaxBytes: 1 << 20, Timeout: time.Hour}, map[string]*fake{"x": f})
				s := newSource(t)
				stop := running(t, e)
				for range 5 {
					for _, c := range append(containers(1, 0), containers(1, 1)...) {
						e.Input(otlp.Logs, "test")(s.logs(c, 10, 10))
					}
					e.Input(otlp.Metrics, "test")(s.metrics("m", 10, 10))
				}
				e.Input(otlp.Logs, "test")(s.logs("a", 1, 10)) // stays in an open batch
				time.Sleep(time.Second)
				synctest.Wait()
				start := time.Now()
				stop()
				if d := time.Since(start); d > 0 {
					t.Errorf("Run returned after %v", d)
				}
				s.want(0, 0, 16)
				e.Input(otlp.Logs, "test")(s.logs("a", 1, 10))
				e.Flush()
				e.CloseInput()
				s.want(0, 0, 17)
			})
		})
	}
}

// CloseInput delivers what is open and what waits, then Run returns by itself.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{took: time.Second}
		e := newFakes(t, Batch{SendBatchSize: 10, SendBatchMaxBytes: 1 << 20, Timeout: time.Hour}, map[string]*fake{"x": f})
		s := newSource(t)
		var chunks []*otlp.Chunk
		for range 5 {
			chunks = append(chunks, s.logs("a", 7, 10), s.metrics("m", 7, 10))
		}
		deliverFake(t, e, chunks...)
		s.want(10, 0, 0)
	})
}

// A record that is refused for its content, with a code that says "again", stops its own lane
// alone.
func TestPoisonStopsOneLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{answer: func(_ int, r incoming) Verdict {
			if r.bad {
				return Verdict{Kind: Again, Err: errFake}
			}
			return Verdict{}
		}}
		e := newFakes(t, Batch{SendBatchSize: 10, SendBatchMaxBytes: 1 << 20, Timeout: time.Second}, map[string]*fake{"x": f})
		s := newSource(t)
		stop := running(t, e)
		sick, well := containers(1, 0)[0], containers(1, 1)[0]
		e.Input(otlp.Logs, "test")(s.logs(sick, 10, 50, 4))
		for range 5 {
			e.Input(otlp.Logs, "test")(s.logs(well, 10, 50))
			time.Sleep(10 * time.Minute)
		}
		synctest.Wait()
		if got := f.records(well); !slices.Equal(got, names(well, 0, 50)) {
			t.Errorf("%d records of the other lane arrived, want 50", len(got))
		}
		if got := f.records(sick); !slices.Equal(got, names(sick, 0, 4)) {
			t.Errorf("%q arrived of the sick lane", got)
		}
		stop()
		s.want(5, 0, 1)
	})
}
