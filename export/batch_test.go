package export

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/quick"
	"testing/synctest"
	"time"

	"stint/export/otlp"
)

// A batch is closed by records, by bytes, or by time, whichever is first.
func TestBatchBounds(t *testing.T) {
	type when struct {
		after   time.Duration
		records int
	}
	for name, tc := range map[string]struct {
		chunks []when // records added, each some time after the one before
		size   int    // of a record
		want   []when // records of each request, and when after the start
	}{
		"records, at once":            {[]when{{0, 4000}, {0, 4000}, {0, 2000}, {0, 1}}, 50, []when{{0, 10_000}, {5 * time.Second, 1}}},
		"not over the records":        {[]when{{0, 9000}, {0, 2000}}, 50, []when{{0, 9000}, {5 * time.Second, 2000}}},
		"bytes":                       {[]when{{0, 3000}, {0, 2000}}, 1000, []when{{0, 3000}, {5 * time.Second, 2000}}},
		"time since the first record": {[]when{{0, 1}, {4 * time.Second, 1}, {4 * time.Second, 1}}, 50, []when{{5 * time.Second, 2}, {13 * time.Second, 1}}},
		"the time starts anew":        {[]when{{0, 9_999}, {4 * time.Second, 2}}, 50, []when{{4 * time.Second, 9_999}, {9 * time.Second, 2}}},
		"a chunk of too many records": {[]when{{0, 25_000}}, 20, []when{{0, 6250}, {0, 6250}, {0, 6250}, {0, 6250}}},
		"a chunk of too many bytes":   {[]when{{0, 10}}, 1 << 20, []when{{0, 2}, {0, 3}, {0, 2}, {0, 3}}},
		"a record of too many bytes":  {[]when{{0, 1}, {0, 1}}, 5 << 20, []when{{0, 1}, {0, 1}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var got []when
				start := time.Now()
				f := &fake{answer: func(_ int, r incoming) Verdict {
					got = append(got, when{time.Since(start), len(r.bodies)})
					return Verdict{}
				}}
				e := newFakes(t, BatchDefaults(), map[string]*fake{"x": f})
				s := newSource(t)
				stop := running(t, e)
				for _, c := range tc.chunks {
					time.Sleep(c.after)
					e.Input(otlp.Logs, "test")(s.logs("a", c.records, tc.size))
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				s.want(len(tc.chunks), 0, 0)
				if !slices.Equal(got, tc.want) {
					t.Errorf("requests %v, want %v", got, tc.want)
				}
				stop()
			})
		})
	}
}

// Whatever is added by whomever: no request is over a bound, and everything arrives in order.
func TestBatchBoundsHold(t *testing.T) {
	f := func(seed uint64) bool {
		ok := true
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 3))
			cfg := Batch{SendBatchSize: 1 + r.IntN(500), SendBatchMaxBytes: 64<<10 + r.IntN(64<<10), Timeout: time.Second}
			d := &fake{answer: func(_ int, r incoming) Verdict {
				if len(r.bodies) > cfg.SendBatchSize || r.size > cfg.SendBatchMaxBytes {
					t.Logf("a request of %d records, %d bytes; bounds %+v", len(r.bodies), r.size, cfg)
					ok = false
				}
				return Verdict{}
			}}
			e := newFakes(t, cfg, map[string]*fake{"x": d})
			s := newSource(t)
			stop := running(t, e)
			var adders sync.WaitGroup
			for _, c := range append(containers(3, 0), containers(3, 1)...) {
				r := rand.New(rand.NewPCG(seed, uint64(c[1])))
				adders.Go(func() {
					for range 30 {
						e.Input(otlp.Logs, "test")(s.logs(c, 1+r.IntN(300), 20+r.IntN(500)))
						time.Sleep(time.Duration(r.IntN(100)) * time.Millisecond)
					}
				})
			}
			adders.Wait()
			time.Sleep(time.Minute)
			synctest.Wait()
			s.want(180, 0, 0)
			for c, n := range s.seq {
				if got := d.records(c); !slices.Equal(got, names(c, 0, n)) {
					t.Logf("%d records of %s arrived, want %d in order", len(got), c, n)
					ok = false
				}
			}
			stop()
		})
		return ok
	}
	if err := quick.Check(f, &quick.Config{MaxCount: 5}); err != nil {
		t.Error(err)
	}
}

// Whoever waits for memory gets open batches on their way: at once where nothing is under way,
// else when that is done, though it may have freed nothing.
func TestFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{took: time.Second}
		e := newFakes(t, Batch{SendBatchSize: 1000, SendBatchMaxBytes: 4 << 20, Timeout: time.Hour}, map[string]*fake{"x": f})
		s := newSource(t)
		stop := running(t, e)
		add := func(n int) { e.Input(otlp.Logs, "test")(s.logs("a", n, 10)) }
		sent := func(want int) {
			t.Helper()
			synctest.Wait()
			if n := f.requests(); n != want {
				t.Fatalf("%d requests, want %d", n, want)
			}
		}
		e.Flush() // nothing is open
		add(1)
		sent(0)
		e.Flush()
		sent(1)
		add(1)
		e.Flush() // the first is under way
		sent(1)
		time.Sleep(1500 * time.Millisecond)
		sent(2)
		add(1) // nobody asked for this one
		time.Sleep(time.Minute)
		sent(2)
		add(999) // full
		sent(3)
		time.Sleep(time.Minute)
		s.want(4, 0, 0)
		stop()
	})
}

// One lane's open batch does not wait for another lane.
func TestFlushIsByLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{hang: true}
		e := newFakes(t, Batch{SendBatchSize: 10, SendBatchMaxBytes: 4 << 20, Timeout: time.Hour}, map[string]*fake{"x": f})
		s := newSource(t)
		stop := running(t, e)
		e.Input(otlp.Logs, "test")(s.logs(containers(1, 0)[0], 10, 10))
		e.Input(otlp.Logs, "test")(s.logs(containers(1, 1)[0], 1, 10))
		e.Flush()
		synctest.Wait()
		if n := f.requests(); n != 2 {
			t.Errorf("%d requests, want 2", n)
		}
		stop()
		s.want(0, 0, 2)
	})
}

// Pipelines that share destinations share batches; others do not get what is not theirs.
func TestRoutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &fake{}, &fake{}
		x := Exporters{"a": &Debug{}, "b": &Debug{}}
		p := Pipelines{
			"logs":         {Sources: []string{"tail"}, Exporters: []string{"a"}},
			"logs/also":    {Sources: []string{"tail"}, Exporters: []string{"b", "a"}},
			"metrics/host": {Sources: []string{"host"}, Exporters: []string{"b"}},
			"metrics/self": {Sources: []string{"self"}, Exporters: []string{"b"}},
		}
		e, err := New(Options{Batch: BatchDefaults(), Exporters: x, Pipelines: p, Version: "1", Log: silent, Registerer: newRegistry()})
		if err != nil {
			t.Fatal(err)
		}
		for name, f := range map[string]*fake{"a": a, "b": b} {
			f.t, e.outs[name].dest = t, f
		}
		if e.Wants(otlp.Metrics, "tail") || e.Wants(otlp.Traces, "tail") || !e.Wants(otlp.Logs, "tail") || !e.Wants(otlp.Metrics, "self") {
			t.Error("Wants is wrong")
		}
		s := newSource(t)
		logs, host, self := s.logs("l", 5, 10), s.metrics("h", 5, 10), s.metrics("s", 5, 10)
		e.Input(otlp.Logs, "tail")(logs)
		e.Input(otlp.Metrics, "host")(host)
		e.Input(otlp.Metrics, "self")(self)
		e.CloseInput()
		e.Run(t.Context())
		s.want(3, 0, 0)
		if !slices.Equal(a.got, names("l", 0, 5)) {
			t.Errorf("a got %q", a.got)
		}
		if n := b.requests(); n != 2 || len(b.got) != 15 {
			t.Errorf("b got %d requests with %d records, want 2 with 15", n, len(b.got))
		}
	})
}

// A chunk whose fence says no when the batch is closed is aborted, and the others go; a batch of nothing else is
// none. What has a fence and what has none do not share a batch.
func TestFence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []int
		f := &fake{answer: func(_ int, r incoming) Verdict {
			got = append(got, len(r.bodies))
			return Verdict{}
		}}
		e := newFakes(t, BatchDefaults(), map[string]*fake{"x": f})
		s := newSource(t)
		stop := running(t, e)
		var open atomic.Bool
		open.Store(true)
		add := func(records int, fenced bool) {
			c := s.logs("a", records, 10)
			if fenced {
				c.Fence = open.Load
			}
			e.Input(otlp.Logs, "test")(c)
		}
		add(1, true)
		add(2, false)
		time.Sleep(time.Minute)
		synctest.Wait()
		s.want(2, 0, 0)
		add(4, true)
		add(8, false)
		add(16, true)
		open.Store(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		s.want(3, 0, 2)
		add(32, true)
		time.Sleep(time.Minute)
		synctest.Wait()
		s.want(3, 0, 3)
		slices.Sort(got[:2])
		if !slices.Equal(got, []int{1, 2, 8}) {
			t.Errorf("requests of %v records, want [1 2 8]", got)
		}
		stop()
	})
}

// A batch that waited for its turn, for a destination that is away, or between its parts is not sent when its fence
// says no; what has none goes.
func TestFenceWhileWaiting(t *testing.T) {
	for name, tc := range map[string]struct {
		answer           func(n int, r incoming, close func()) Verdict // to request n, from 1
		requests, fenced int
	}{
		"behind another": {answer: func(n int, _ incoming, close func()) Verdict {
			if n == 1 {
				time.Sleep(5 * time.Second)
				close()
			}
			return Verdict{}
		}, requests: 2, fenced: 10},
		"between attempts": {answer: func(n int, r incoming, close func()) Verdict {
			if len(r.bodies) == 10 {
				time.AfterFunc(time.Millisecond, close)
				return Verdict{Kind: Again, Err: errFake}
			}
			return Verdict{}
		}, requests: 3, fenced: 10},
		"between parts": {answer: func(n int, r incoming, close func()) Verdict {
			switch len(r.bodies) {
			case 10:
				return Verdict{Kind: Split, Reason: invalid, Err: errFake}
			case 5:
				close()
			}
			return Verdict{}
		}, requests: 4, fenced: 5},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var open atomic.Bool
				open.Store(true)
				f := &fake{answer: func(n int, r incoming) Verdict { return tc.answer(n, r, func() { open.Store(false) }) }}
				b := BatchDefaults()
				b.Timeout = time.Second
				e := newFakes(t, b, map[string]*fake{"x": f})
				s := newSource(t)
				stop := running(t, e)
				e.Input(otlp.Logs, "test")(s.logs("a", 1, 10))
				time.Sleep(1500 * time.Millisecond) // under way
				c := s.logs("a", 10, 10)
				c.Fence = open.Load
				e.Input(otlp.Logs, "test")(c)
				time.Sleep(1500 * time.Millisecond)
				e.Input(otlp.Logs, "test")(s.logs("a", 2, 10))
				time.Sleep(time.Minute)
				synctest.Wait()
				s.want(2, 0, 1)
				if n := f.requests(); n != tc.requests {
					t.Errorf("%d requests, want %d", n, tc.requests)
				}
				if n := drops(t, e, "x", otlp.Logs, "fenced"); n != tc.fenced {
					t.Errorf("%d records are counted, want %d", n, tc.fenced)
				}
				stop()
			})
		})
	}
}
