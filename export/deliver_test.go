package export

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"stint/export/otlp"
)

// deliver hands chunks over and runs until all are settled.
func deliver(t testing.TB, e *Exporting, chunks ...*otlp.Chunk) {
	t.Helper()
	for _, c := range chunks {
		e.Input(c.Signal, "test")(c)
	}
	e.CloseInput()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	e.Run(ctx)
	if ctx.Err() != nil {
		t.Errorf("not delivered within the time: %+v", e.Status())
	}
}

func statusOf(t testing.TB, e *Exporting, s otlp.Signal) Status {
	t.Helper()
	for _, st := range e.Status() {
		if st.Signal == s.String() {
			return st
		}
	}
	t.Fatalf("no status of %v", s)
	return Status{}
}

// Each fault against each transport: what the sender does about it, what is counted, and what
// arrived in the end.
func TestFaults(t *testing.T) {
	const n = 200 // records: a chunk of each of 4 containers
	first := func(k int, a *reply) func(int, incoming) *reply {
		return func(i int, _ incoming) *reply {
			if i <= k {
				return a
			}
			return nil
		}
	}
	hint := func(d time.Duration) *reply {
		st, _ := status.New(codes.Unavailable, "later").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(d)})
		return &reply{grpc: st.Err(), code: 429, header: http.Header{"Retry-After": {fmt.Sprint(int(d.Seconds()))}}}
	}
	for name, tc := range map[string]struct {
		answer  func(int, incoming) *reply
		size    int   // of a record
		bad     []int // numbers of bad records, of each container
		timeout time.Duration
		want    Status         // Requests and Bytes are compared only where they are given
		drops   map[string]int // by reason; "" is the code's own
		lost    []int          // numbers of records that do not arrive, of each container
		twice   bool           // what arrived did so twice
		largest int
		atLeast time.Duration
	}{
		"all is well": {want: Status{Sent: n, Requests: 1}},
		"busy twice": {
			answer: first(2, busy()),
			want:   Status{Sent: n, Requests: 3, Retries: 2},
		},
		"busy, with the time to wait": {
			answer: first(1, hint(time.Second)), atLeast: time.Second,
			want: Status{Sent: n, Requests: 2, Retries: 1},
		},
		"a permanent error": {
			answer: first(1, &reply{code: 500, grpc: status.Error(codes.Internal, "no")}),
			want:   Status{Dropped: n, Requests: 1}, drops: map[string]int{"": n},
			lost: slices.Collect(count(n / 4)),
		},
		"a bad record in each container": {
			answer: func(_ int, r incoming) *reply {
				if r.bad {
					return refused()
				}
				return nil
			},
			bad: []int{17}, lost: []int{17},
			want: Status{Sent: n - 4, Dropped: 4}, drops: map[string]int{invalid: 4},
		},
		"neighbouring bad records, first and last": {
			answer: func(_ int, r incoming) *reply {
				if r.bad {
					return refused()
				}
				return nil
			},
			bad: []int{0, 1, 2, 49}, lost: []int{0, 1, 2, 49},
			want: Status{Sent: n - 16, Dropped: 16}, drops: map[string]int{invalid: 16},
		},
		"a size limit": {
			answer: func(_ int, r incoming) *reply {
				if r.size > 40_000 {
					return tooBig()
				}
				return nil
			},
			size: 1000, largest: 40_000, want: Status{Sent: n},
		},
		"a record over the size limit": {
			answer: func(_ int, r incoming) *reply {
				if r.size > 40_000 || r.bad {
					return tooBig()
				}
				return nil
			},
			size: 17_000, bad: []int{9}, lost: []int{9}, largest: 40_000,
			want: Status{Sent: n - 4, Dropped: 4}, drops: map[string]int{tooLarge: 4},
		},
		"a size limit that hides behind busy": {
			answer: func(_ int, r incoming) *reply {
				if r.size > 60_000 {
					return busy()
				}
				return nil
			},
			size: 1000, largest: 60_000, want: Status{Sent: n, Retries: -1},
		},
		"too large, whatever the size, for a while": { // a rate limit without a hint
			answer: first(4, tooBig()),
			want:   Status{Sent: n, Retries: -1},
		},
		"a small record that is called too large, for ever": {
			answer: func(_ int, r incoming) *reply {
				if r.bad {
					return tooBig()
				}
				return nil
			},
			bad: []int{3}, lost: []int{3},
			want: Status{Sent: n - 4, Dropped: 4, Retries: -1}, drops: map[string]int{tooLarge: 4},
		},
		"partial success": {
			answer: first(1, &reply{accept: true, message: &collogs.ExportLogsServiceResponse{
				PartialSuccess: &collogs.ExportLogsPartialSuccess{RejectedLogRecords: 3, ErrorMessage: "too old"}}}),
			want: Status{Sent: n - 3, Rejected: 3, Requests: 1}, drops: map[string]int{rejected: 3},
		},
		"more rejected than sent": {
			answer: first(1, &reply{accept: true, message: &collogs.ExportLogsServiceResponse{
				PartialSuccess: &collogs.ExportLogsPartialSuccess{RejectedLogRecords: 1 << 40}}}),
			want: Status{Rejected: n, Requests: 1}, drops: map[string]int{rejected: n},
		},
		"no answer once": {
			answer: first(1, &reply{hang: true}), timeout: 200 * time.Millisecond,
			want: Status{Sent: n, Requests: 2, Retries: 1, Resent: n},
		},
		"taken, but the answer was lost behind a proxy": {
			answer: first(1, &reply{accept: true, code: 504, grpc: status.Error(codes.DeadlineExceeded, "")}), twice: true,
			want: Status{Sent: n, Requests: 2, Retries: 1, Resent: n},
		},
	} {
		for transport, by := range transports {
			t.Run(name+" by "+transport, func(t *testing.T) {
				t.Parallel()
				r := by.serve(t, tc.answer)
				x := by.exporter(r.addr)
				if tc.timeout != 0 {
					setTimeout(x, tc.timeout)
				}
				e, _ := newExporting(t, BatchDefaults(), Exporters{"x": x}, silent)
				s := newSource(t)
				var chunks []*otlp.Chunk
				for _, c := range containers(4, 0) {
					chunks = append(chunks, s.logs(c, n/4, max(tc.size, 60), tc.bad...))
				}
				start := time.Now()
				deliver(t, e, chunks...)
				if d := time.Since(start); d < tc.atLeast {
					t.Errorf("it took %v, want at least %v", d, tc.atLeast)
				}

				if len(tc.lost) == 0 {
					s.want(4, 0, 0)
				} else {
					s.want(0, 4, 0)
				}
				got := statusOf(t, e, otlp.Logs)
				if got.LastOK.IsZero() != (got.Requests == 0 || len(tc.lost) == n/4) {
					t.Errorf("last success %v", got.LastOK)
				}
				if (got.Bytes > 0) != (got.Sent+got.Rejected > 0) {
					t.Errorf("%d bytes sent with %d records", got.Bytes, got.Sent)
				}
				want := tc.want
				want.Exporter, want.Signal, want.LastOK, want.Bytes = "x", "logs", got.LastOK, got.Bytes
				if want.Requests <= 0 {
					want.Requests = got.Requests
				}
				if want.Retries < 0 {
					want.Retries = got.Retries
				}
				if got != want {
					t.Errorf("status\n%+v, want\n%+v", got, want)
				}
				for reason, k := range tc.drops {
					if reason == "" {
						reason = map[string]string{"grpc": "grpc_internal", "http": "http_500"}[transport]
					}
					if got := drops(t, e, "x", otlp.Logs, reason); got != k {
						t.Errorf("counter of %s is %d, want %d", reason, got, k)
					}
				}
				if tc.twice {
					if got := len(r.records()); got != 2*n {
						t.Errorf("%d records arrived, want %d", got, 2*n)
					}
				} else {
					for _, c := range containers(4, 0) {
						r.want(c, n/4, tc.lost...)
					}
				}
				if tc.largest > 0 && r.largest > tc.largest {
					t.Errorf("a request of %d bytes passed, limit %d", r.largest, tc.largest)
				}
			})
		}
	}
}

func count(n int) func(func(int) bool) {
	return func(yield func(int) bool) {
		for i := range n {
			if !yield(i) {
				return
			}
		}
	}
}

// containers are n names whose chunks all go the same way modulo logLanes.
func containers(n int, lane uint32) (names []string) {
	for i := 0; len(names) < n; i++ {
		name := fmt.Sprintf("c%d", i)
		h := uint32(0)
		for _, r := range name {
			h = h*31 + uint32(r)
		}
		if h%logLanes == lane {
			names = append(names, name)
		}
	}
	return names
}

// Metrics go the same ways; a metric is not cut.
func TestMetricsFaults(t *testing.T) {
	for transport, by := range transports {
		t.Run(transport, func(t *testing.T) {
			r := by.serve(t, func(n int, r incoming) *reply {
				switch {
				case n == 1:
					return busy()
				case r.size > 30_000:
					return tooBig()
				case r.bad:
					return refused()
				}
				return nil
			})
			e, _ := newExporting(t, BatchDefaults(), Exporters{"x": by.exporter(r.addr)}, silent)
			s := newSource(t)
			deliver(t, e, s.metrics("a", 100, 1000, 7), s.metrics("b", 1, 100), s.metrics("a", 10, 100))
			s.want(0, 3, 0)
			r.want("a", 110, 7)
			r.want("b", 1)
			if st := statusOf(t, e, otlp.Metrics); st.Sent != 110 || st.Dropped != 1 {
				t.Errorf("status %+v, want 110 sent, 1 dropped", st)
			}
		})
	}
}

// Nobody can mend credentials or a path by asking again: the data waits, and is not dropped.
func TestParked(t *testing.T) {
	for name, tc := range map[string]struct {
		reply reply
		down  string
	}{
		"wrong credentials": {reply{code: 401, grpc: status.Error(codes.Unauthenticated, "who?")}, "auth"},
		"no permission":     {reply{code: 403, grpc: status.Error(codes.PermissionDenied, "no")}, "auth"},
		"a wrong path":      {reply{code: 404, grpc: status.Error(codes.Unimplemented, "what?")}, "misconfigured"},
	} {
		for transport, by := range transports {
			t.Run(name+" by "+transport, func(t *testing.T) {
				t.Parallel()
				asked := make(chan struct{})
				r := by.serve(t, func(n int, _ incoming) *reply {
					if n == 1 {
						close(asked)
					}
					return &tc.reply
				})
				e, _ := newExporting(t, BatchDefaults(), Exporters{"x": by.exporter(r.addr)}, silent)
				s := newSource(t)
				e.Input(otlp.Logs, "test")(s.logs("a", 10, 100))
				e.Flush()
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				done := make(chan struct{})
				go func() { defer close(done); e.Run(ctx) }()
				<-asked
				for statusOf(t, e, otlp.Logs).Down != tc.down && ctx.Err() == nil {
					<-time.After(time.Millisecond)
				}
				cancel()
				<-done
				s.want(0, 0, 1)
				if st := statusOf(t, e, otlp.Logs); st.Requests != 1 || st.Dropped != 0 || st.Error == "" || st.DownSince.IsZero() {
					t.Errorf("status %+v, want one request, nothing dropped, an error", st)
				}
			})
		}
	}
}

func TestCompression(t *testing.T) {
	for transport, by := range transports {
		for _, compression := range []string{"none", "gzip", "zstd"} {
			t.Run(transport+"/"+compression, func(t *testing.T) {
				r := by.serve(t, nil)
				x := by.exporter(r.addr)
				setCompression(x, compression)
				e, _ := newExporting(t, Batch{SendBatchSize: 300, SendBatchMaxBytes: 4 << 20, Timeout: time.Hour}, Exporters{"x": x}, silent)
				s := newSource(t)
				var chunks []*otlp.Chunk
				for range 10 {
					chunks = append(chunks, s.logs("a", 100, 500), s.logs("b", 7, 20_000), s.logs("c", 1, 10), s.metrics("m", 50, 100))
				}
				deliver(t, e, chunks...)
				s.want(40, 0, 0)
				r.want("a", 1000)
				r.want("b", 70)
				r.want("c", 10)
				r.want("m", 500)
				if transport == "http" && (r.headers.Get("User-Agent") != "stint/1.2.3" || r.headers.Get("Content-Encoding") != strings.TrimPrefix(compression, "none")) {
					t.Errorf("headers %v", r.headers)
				}
			})
		}
	}
}

// Connections that break in the middle of a request, and a server that is not there at first.
func TestConnections(t *testing.T) {
	serve := map[string]func(testing.TB, net.Listener) *receiver{
		"grpc": func(t testing.TB, l net.Listener) *receiver { return newGRPCOn(t, l, nil) },
		"http": func(t testing.TB, l net.Listener) *receiver {
			r := &receiver{t: t, addr: l.Addr().String()}
			s := httptest.NewUnstartedServer(r)
			s.Listener.Close()
			s.Listener = l
			s.Start()
			t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
			return r
		},
	}
	for transport, by := range transports {
		t.Run("reset in the middle by "+transport, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			r := serve[transport](t, &flaky{Listener: l, left: 3, after: 20_000})
			e, _ := newExporting(t, BatchDefaults(), Exporters{"x": by.exporter(r.addr)}, silent)
			s := newSource(t)
			deliver(t, e, s.logs("a", 100, 1000))
			s.want(1, 0, 0)
			r.want("a", 100)
			if st := statusOf(t, e, otlp.Logs); st.Retries != 3 || st.Resent == 0 || st.Resent > 300 {
				t.Errorf("status %+v, want 3 retries and that records may have arrived more than once", st)
			}
		})
		t.Run("not there at first by "+transport, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			addr := l.Addr().String()
			l.Close()
			e, _ := newExporting(t, BatchDefaults(), Exporters{"x": by.exporter(addr)}, silent)
			s := newSource(t)
			done := make(chan struct{})
			c := s.logs("a", 100, 1000)
			go func() { defer close(done); deliver(t, e, c) }()
			for statusOf(t, e, otlp.Logs).Retries < 5 {
				<-time.After(5 * time.Millisecond)
			}
			if l, err = net.Listen("tcp", addr); err != nil {
				t.Skip("somebody else has taken the port:", err)
			}
			r := serve[transport](t, l)
			<-done
			s.want(1, 0, 0)
			r.want("a", 100)
			if st := statusOf(t, e, otlp.Logs); st.Resent != 0 || st.Down != "" {
				t.Errorf("status %+v, want nothing resent", st)
			}
		})
	}
}

// flaky resets its first connections after they have read some bytes.
type flaky struct {
	net.Listener
	left  int
	after int
}

func (f *flaky) Accept() (net.Conn, error) {
	c, err := f.Listener.Accept()
	if err != nil || f.left == 0 {
		return c, err
	}
	f.left--
	return &flakyConn{c.(*net.TCPConn), f.after}, nil
}

type flakyConn struct {
	*net.TCPConn
	left int
}

func (c *flakyConn) Read(b []byte) (int, error) {
	if c.left <= 0 {
		c.SetLinger(0)
		c.Close()
		return 0, net.ErrClosed
	}
	n, err := c.TCPConn.Read(b[:min(len(b), c.left)])
	c.left -= n
	return n, err
}

// With two lanes, several containers and a destination that often refuses, each container's
// records arrive in order and once.
func TestOrder(t *testing.T) {
	for transport, by := range transports {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			var under atomic.Int32
			var most atomic.Int32
			r := by.serve(t, func(_ int, r incoming) *reply {
				if k := under.Add(1); k > most.Load() {
					most.Store(k)
				}
				defer under.Add(-1)
				switch k := rand.N(10); {
				case k < 2:
					return busy()
				case k < 3 && len(r.bodies) > 20:
					return tooBig()
				}
				return nil
			})
			x := by.exporter(r.addr)
			switch x := x.(type) {
			case *OTLP:
				x.RetryOnFailure = Retry{time.Millisecond, time.Millisecond}
			case *OTLPHTTP:
				x.RetryOnFailure = Retry{time.Millisecond, time.Millisecond}
			}
			e, _ := newExporting(t, Batch{SendBatchSize: 100, SendBatchMaxBytes: 200_000, Timeout: 10 * time.Millisecond}, Exporters{"x": x}, silent)
			s := newSource(t)
			done := make(chan struct{})
			go func() {
				defer close(done)
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				e.Run(ctx)
			}()
			names := slices.Concat(containers(4, 0), containers(4, 1))
			for i := range 800 {
				e.Input(otlp.Logs, "test")(s.logs(names[i%len(names)], 1+i%30, 300))
			}
			e.CloseInput()
			<-done
			s.want(800, 0, 0)
			for _, c := range names {
				r.want(c, s.seq[c])
			}
			if most.Load() > logLanes {
				t.Errorf("%d requests at once, want at most %d", most.Load(), logLanes)
			}
		})
	}
}
