package export

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"testing/quick"
	"time"

	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"stint/export/otlp"
)

// sendOne sends a request of four records and gives the verdict.
func sendOne(t testing.TB, d destination, s *source, timeout time.Duration) Verdict {
	t.Helper()
	c := s.logs("c", 4, 100)
	defer c.Settle(otlp.Delivered)
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	v := d.send(ctx, newRequest(otlp.Logs, []*otlp.Chunk{c}))
	if v.Held {
		c.Lend()
	}
	if v.Err == nil && v.Kind != OK {
		t.Errorf("verdict %v without an error", v.Kind)
	}
	return v
}

// same fails unless got is want; After may be a little less, Err is not compared, nor Held.
func same(t testing.TB, got, want Verdict) {
	t.Helper()
	g := got
	if d := want.After - g.After; d >= 0 && d < 2*time.Second {
		g.After = want.After
	}
	g.Err, g.Held = nil, false
	if !reflect.DeepEqual(g, want) {
		t.Errorf("verdict %+v (%v), want %+v", g, got.Err, want)
	}
}

func TestGRPCCodes(t *testing.T) {
	again, unsure := Verdict{Kind: Again}, Verdict{Kind: Again, Unsure: true}
	drop := func(reason string) Verdict { return Verdict{Kind: Drop, Reason: reason} }
	for code, want := range map[codes.Code]Verdict{
		codes.Canceled:           unsure,
		codes.Unknown:            drop("grpc_unknown"),
		codes.InvalidArgument:    {Kind: Split, Reason: invalid},
		codes.DeadlineExceeded:   unsure,
		codes.NotFound:           drop("grpc_notfound"),
		codes.AlreadyExists:      drop("grpc_alreadyexists"),
		codes.PermissionDenied:   {Kind: Auth},
		codes.ResourceExhausted:  {Kind: Split, Reason: tooLarge},
		codes.FailedPrecondition: drop("grpc_failedprecondition"),
		codes.Aborted:            again,
		codes.OutOfRange:         again,
		codes.Unimplemented:      {Kind: Misconfigured},
		codes.Internal:           drop("grpc_internal"),
		codes.Unavailable:        again,
		codes.DataLoss:           unsure,
		codes.Unauthenticated:    {Kind: Auth},
		codes.Code(4711):         drop("grpc_unknown"),
	} {
		for _, hint := range []time.Duration{-1, 0, 7 * time.Second, 24 * time.Hour} {
			name := fmt.Sprint(code)
			st := status.New(code, "says the server")
			if hint >= 0 {
				name = fmt.Sprint(name, " and to come again in ", hint)
				st, _ = st.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(hint)})
			}
			t.Run(name, func(t *testing.T) {
				want := want
				if hint >= 0 {
					want.After = hint
					if code == codes.ResourceExhausted {
						want = Verdict{Kind: Again, After: hint}
					}
				}
				r := newGRPC(t, func(int, incoming) *reply { return &reply{grpc: st.Err()} })
				v := sendOne(t, newDestination(t, transports["grpc"].exporter(r.addr)), newSource(t), 5*time.Second)
				same(t, v, want)
				if !strings.Contains(v.Err.Error(), "says the server") {
					t.Errorf("error %q does not say what the server said", v.Err)
				}
			})
		}
	}
}

func TestHTTPCodes(t *testing.T) {
	for code, want := range map[int]Verdict{
		200: {}, 202: {}, 204: {},
		301: {Kind: Misconfigured}, 302: {Kind: Misconfigured}, 307: {Kind: Misconfigured}, 308: {Kind: Misconfigured},
		400: {Kind: Split, Reason: invalid},
		401: {Kind: Auth}, 403: {Kind: Auth}, 407: {Kind: Auth},
		404: {Kind: Misconfigured}, 405: {Kind: Misconfigured}, 415: {Kind: Misconfigured},
		408: {Kind: Again, Unsure: true}, 499: {Kind: Again, Unsure: true},
		409: {Kind: Drop, Reason: "http_409"}, 422: {Kind: Drop, Reason: "http_422"},
		413: {Kind: Split, Reason: tooLarge},
		429: {Kind: Again}, 503: {Kind: Again},
		500: {Kind: Drop, Reason: "http_500"}, 501: {Kind: Drop, Reason: "http_501"}, 505: {Kind: Drop, Reason: "http_505"},
		502: {Kind: Again, Unsure: true}, 504: {Kind: Again, Unsure: true},
	} {
		t.Run(strconv.Itoa(code), func(t *testing.T) {
			r := newHTTP(t, func(int, incoming) *reply {
				return &reply{code: code, header: http.Header{"Location": {"/elsewhere"}, "Retry-After": {"7"}}}
			})
			if want.Kind == Again {
				want.After = 7 * time.Second
			}
			same(t, sendOne(t, newDestination(t, transports["http"].exporter(r.addr)), newSource(t), 5*time.Second), want)
			if n := r.count(); n != 1 {
				t.Errorf("%d requests, want 1", n)
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"": 0, "soon": 0, "-5": 0, "0": 0, "3": 3 * time.Second, "86400": 24 * time.Hour,
		"9223372036854775807": 1e6 * time.Second, "99999999999999999999": 0,
		time.Now().Add(time.Minute).UTC().Format(http.TimeFormat): time.Minute,
		time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat):  0,
	} {
		if got := retryAfter(value); got > want || got < want-2*time.Second {
			t.Errorf("retryAfter(%q) = %v, want %v", value, got, want)
		}
	}
}

func TestAnswers(t *testing.T) {
	partial := func(n int64, msg string) proto.Message {
		return &collogs.ExportLogsServiceResponse{PartialSuccess: &collogs.ExportLogsPartialSuccess{RejectedLogRecords: n, ErrorMessage: msg}}
	}
	rpc, err := proto.Marshal(&spb.Status{Code: 3, Message: "the status says"})
	if err != nil {
		t.Fatal(err)
	}
	proto200 := http.Header{"Content-Type": {"application/x-protobuf"}}
	for name, tc := range map[string]struct {
		reply reply
		want  Verdict
		err   string // a part of it
		http  bool   // what only HTTP can say
	}{
		"partial success":            {reply: reply{message: partial(3, "too old")}, want: Verdict{Kind: Partial, Rejected: 3}, err: "3 records rejected: too old"},
		"a warning":                  {reply: reply{message: partial(0, "deprecated")}, err: "deprecated"},
		"an empty partial success":   {reply: reply{message: partial(0, "")}},
		"nothing but 200":            {http: true},
		"garbage that says protobuf": {reply: reply{body: []byte("\xff\xff"), header: proto200}, err: "answer can't be read: malformed protobuf", http: true},
		"garbage that says HTML":     {reply: reply{body: []byte("<html>"), header: http.Header{"Content-Type": {"text/html"}}}, http: true},
		"an endless answer":          {reply: reply{body: make([]byte, 1<<20)}, http: true},
		"a status as error":          {reply: reply{code: 500, body: rpc, header: proto200}, want: Verdict{Kind: Drop, Reason: "http_500"}, err: "HTTP 500 Internal Server Error: the status says", http: true},
		"a text as error":            {reply: reply{code: 500, body: []byte("plain words\n"), header: http.Header{"Content-Type": {"text/plain"}}}, want: Verdict{Kind: Drop, Reason: "http_500"}, err: "HTTP 500 Internal Server Error: plain words", http: true},
		"a long text as error":       {reply: reply{code: 500, body: []byte(strings.Repeat("ä", 1e5))}, want: Verdict{Kind: Drop, Reason: "http_500"}, err: "HTTP 500 Internal Server Error: ää", http: true},
	} {
		for transport, by := range transports {
			if tc.http && transport == "grpc" {
				continue
			}
			t.Run(name+" by "+transport, func(t *testing.T) {
				r := by.serve(t, func(int, incoming) *reply { r := tc.reply; return &r })
				v := sendOne(t, newDestination(t, by.exporter(r.addr)), newSource(t), 5*time.Second)
				same(t, v, tc.want)
				text := ""
				if v.Err != nil {
					text = v.Err.Error()
				}
				if !strings.Contains(text, tc.err) || tc.err == "" && text != "" || len(text) > 500 || strings.ContainsRune(text, '\uFFFD') {
					t.Errorf("error %q, want %q in it", text, tc.err)
				}
			})
		}
	}
}

// listen runs f with each connection.
func listen(t testing.TB, f func(*net.TCPConn)) (addr string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f(c.(*net.TCPConn))
			c.Close()
		}
	}()
	return l.Addr().String()
}

// A destination that does not answer, or not as it should.
func TestNoAnswer(t *testing.T) {
	again, unsure := Verdict{Kind: Again}, Verdict{Kind: Again, Unsure: true}
	reset := func(bytes int64) func(*net.TCPConn) {
		return func(c *net.TCPConn) {
			c.SetDeadline(time.Now().Add(time.Second))
			io.CopyN(io.Discard, c, bytes)
			c.SetLinger(0) // RST
		}
	}
	for name, tc := range map[string]struct {
		tcp        func(*net.TCPConn)
		h2         http.HandlerFunc
		grpc, http Verdict
	}{
		"closes at once":       {tcp: func(*net.TCPConn) {}, grpc: again, http: unsure},
		"resets in the middle": {tcp: reset(100), grpc: again, http: unsure},
		"says nothing": {tcp: func(c *net.TCPConn) {
			c.SetDeadline(time.Now().Add(5 * time.Second))
			io.Copy(io.Discard, c)
		}, grpc: again, http: unsure},
		"speaks something else": {tcp: func(c *net.TCPConn) {
			c.SetDeadline(time.Now().Add(time.Second))
			io.CopyN(io.Discard, c, 24)
			c.Write([]byte("220 mail.example ESMTP\r\n"))
			io.Copy(io.Discard, c)
		}, grpc: again, http: unsure},
		"speaks HTTP/1": {tcp: func(c *net.TCPConn) {
			c.SetDeadline(time.Now().Add(time.Second))
			io.CopyN(io.Discard, c, 24)
			c.Write([]byte("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
			io.Copy(io.Discard, c)
		}, grpc: Verdict{Kind: Misconfigured}, http: Verdict{Kind: Split, Reason: invalid}},

		"resets the stream": {h2: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, grpc: unsure},
		"hangs with a connection": {h2: func(_ http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		}, grpc: unsure},
		"is a web page":                     {h2: func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("<html>")) }, grpc: Verdict{Kind: Misconfigured}},
		"is a proxy with a size limit":      {h2: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(413) }, grpc: Verdict{Kind: Split, Reason: tooLarge}},
		"is a proxy without a server":       {h2: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) }, grpc: unsure},
		"is a proxy that wants credentials": {h2: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) }, grpc: Verdict{Kind: Auth}},
	} {
		for transport, by := range transports {
			if tc.h2 != nil && transport == "http" {
				continue
			}
			t.Run(name+" by "+transport, func(t *testing.T) {
				t.Parallel()
				want, addr := tc.http, ""
				if transport == "grpc" {
					want = tc.grpc
				}
				if tc.h2 != nil {
					addr = h2server(t, tc.h2)
				} else {
					addr = listen(t, tc.tcp)
				}
				same(t, sendOne(t, newDestination(t, by.exporter(addr)), newSource(t), 300*time.Millisecond), want)
			})
		}
	}
	for transport, by := range transports {
		t.Run("nobody listens by "+transport, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			l.Close()
			v := sendOne(t, newDestination(t, by.exporter(l.Addr().String())), newSource(t), time.Second)
			same(t, v, again)
			if !strings.Contains(v.Err.Error(), "refused") {
				t.Errorf("error %q does not say that the connection was refused", v.Err)
			}
		})
	}
}

func TestBackoff(t *testing.T) {
	// Every wait lies below its bound, which doubles up to the most, and no wait is under what
	// the server asked for, up to maxAfter and a tenth.
	f := func(first, max uint16, after uint32, resets uint8) bool {
		b := backoff{first: time.Duration(first)*time.Millisecond + 10*time.Millisecond}
		b.max = b.first + time.Duration(max)*time.Millisecond
		bound := b.first
		for i := range 50 {
			least := time.Duration(0)
			if i%3 == 0 {
				least = time.Duration(after) * time.Second
			}
			d := b.next(least)
			least = min(least, maxAfter)
			if d < least || d > bound+time.Millisecond+least+least/10 || d <= 0 {
				t.Logf("%+v: wait %d is %v, bound %v, least %v", b, i, d, bound, least)
				return false
			}
			if bound = min(2*bound, b.max); resets > 0 && i%int(resets) == 0 {
				b.reset()
				bound = b.first
			}
		}
		return true
	}
	if err := quick.Check(f, nil); err != nil {
		t.Error(err)
	}
	// Full jitter: waits are spread over the whole of it.
	var sum time.Duration
	for range 1000 {
		b := backoff{first: time.Second, max: time.Second}
		sum += b.next(0)
	}
	if mean := sum / 1000; mean < 400*time.Millisecond || mean > 600*time.Millisecond {
		t.Errorf("the mean of waits up to 1s is %v", mean)
	}
}
