package export

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/client_golang/prometheus"
	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	colmetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// receiver is a real OTLP server, made of the generated services and net/http, that keeps what
// it accepts. Our codec has no part in it.
type receiver struct {
	t    testing.TB
	addr string // host:port

	// answer, if set, decides what becomes of a request before anything is kept: nil accepts it.
	// n counts requests from 1. It may be called by several goroutines at once.
	answer func(n int, r incoming) *reply

	mu       sync.Mutex
	requests int
	largest  int // bytes of the largest accepted request, decoded
	got      []string
	headers  http.Header // of the last request
}

// incoming is a decoded request.
type incoming struct {
	bodies []string // of log records, or names of metrics; the part before the first space
	size   int      // bytes, decoded
	bad    bool     // holds a record marked "bad"
}

// reply is an answer other than plain acceptance.
type reply struct {
	accept  bool // keep the records all the same
	hang    bool // until the client gives up
	grpc    error
	code    int // HTTP
	header  http.Header
	body    []byte // HTTP body or ...
	message proto.Message
}

func (r *receiver) handle(bodies []string, size int) *reply {
	in := incoming{size: size}
	for _, b := range bodies {
		id, rest, _ := strings.Cut(b, " ")
		in.bodies = append(in.bodies, id)
		in.bad = in.bad || strings.HasPrefix(rest, "bad")
	}
	r.mu.Lock()
	r.requests++
	n := r.requests
	r.mu.Unlock()
	var a *reply
	if r.answer != nil {
		a = r.answer(n, in)
	}
	if a == nil || a.accept {
		r.mu.Lock()
		r.got = append(r.got, in.bodies...)
		r.largest = max(r.largest, size)
		r.mu.Unlock()
	}
	return a
}

// records are the names of all records that were accepted, in order of arrival.
func (r *receiver) records() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

func (r *receiver) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.requests
}

// want fails unless every record of the container below n, but those left out, arrived once
// and in order.
func (r *receiver) want(container string, n int, leftOut ...int) {
	r.t.Helper()
	var want, got []string
	for i := range n {
		if !slices.Contains(leftOut, i) {
			want = append(want, body(container, i))
		}
	}
	for _, b := range r.records() {
		if strings.HasPrefix(b, container+"/") {
			got = append(got, b)
		}
	}
	if !slices.Equal(got, want) {
		i := 0
		for i < len(got) && i < len(want) && got[i] == want[i] {
			i++
		}
		r.t.Errorf("%d records of %s arrived, want %d; they differ at %d: got %q, want %q",
			len(got), container, len(want), i, got[i:min(i+3, len(got))], want[i:min(i+3, len(want))])
	}
}

func logBodies(m *collogs.ExportLogsServiceRequest) (list []string) {
	for _, rl := range m.ResourceLogs {
		for _, sl := range rl.ScopeLogs {
			for _, l := range sl.LogRecords {
				list = append(list, l.Body.GetStringValue())
			}
		}
	}
	return list
}

func metricNames(m *colmetrics.ExportMetricsServiceRequest) (list []string) {
	for _, rm := range m.ResourceMetrics {
		for _, sm := range rm.ScopeMetrics {
			for _, m := range sm.Metrics {
				list = append(list, m.Name)
			}
		}
	}
	return list
}

type logsService struct {
	collogs.UnimplementedLogsServiceServer
	*receiver
}

// Export implements the logs service.
func (s logsService) Export(ctx context.Context, m *collogs.ExportLogsServiceRequest) (*collogs.ExportLogsServiceResponse, error) {
	switch a := s.handle(logBodies(m), proto.Size(m)); {
	case a == nil:
	case a.hang: // its time may be up here before it is where the client waits
		<-ctx.Done()
		return nil, status.FromContextError(ctx.Err()).Err()
	case a.grpc != nil:
		return nil, a.grpc
	case a.message != nil:
		return a.message.(*collogs.ExportLogsServiceResponse), nil
	}
	return &collogs.ExportLogsServiceResponse{}, nil
}

type metricsService struct {
	colmetrics.UnimplementedMetricsServiceServer
	*receiver
}

// Export implements the metrics service.
func (s metricsService) Export(ctx context.Context, m *colmetrics.ExportMetricsServiceRequest) (*colmetrics.ExportMetricsServiceResponse, error) {
	switch a := s.handle(metricNames(m), proto.Size(m)); {
	case a == nil:
	case a.hang: // its time may be up here before it is where the client waits
		<-ctx.Done()
		return nil, status.FromContextError(ctx.Err()).Err()
	case a.grpc != nil:
		return nil, a.grpc
	}
	return &colmetrics.ExportMetricsServiceResponse{}, nil
}

// newGRPC starts a gRPC server.
func newGRPC(t testing.TB, answer func(int, incoming) *reply, opts ...grpc.ServerOption) *receiver {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return newGRPCOn(t, l, answer, opts...)
}

func newGRPCOn(t testing.TB, l net.Listener, answer func(int, incoming) *reply, opts ...grpc.ServerOption) *receiver {
	r := &receiver{t: t, addr: l.Addr().String(), answer: answer}
	s := grpc.NewServer(append(opts, grpc.MaxRecvMsgSize(64<<20))...)
	collogs.RegisterLogsServiceServer(s, logsService{receiver: r})
	colmetrics.RegisterMetricsServiceServer(s, metricsService{receiver: r})
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Serve(l)
	}()
	t.Cleanup(func() { s.Stop(); <-done })
	return r
}

// ServeHTTP is an OTLP/HTTP receiver.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	raw, err := io.ReadAll(req.Body)
	if err != nil {
		return // the client has gone
	}
	plain, err := decompress(req.Header.Get("Content-Encoding"), raw)
	if err != nil || req.Header.Get("Content-Type") != "application/x-protobuf" || req.Method != http.MethodPost {
		r.t.Errorf("%s with %v: %v", req.Method, req.Header, err)
	}
	var bodies []string
	switch req.URL.Path {
	case "/v1/logs":
		var m collogs.ExportLogsServiceRequest
		err = proto.Unmarshal(plain, &m)
		bodies = logBodies(&m)
	case "/v1/metrics":
		var m colmetrics.ExportMetricsServiceRequest
		err = proto.Unmarshal(plain, &m)
		bodies = metricNames(&m)
	default:
		err = errors.New("no such path: " + req.URL.Path)
	}
	if err != nil {
		r.t.Error(err)
	}
	r.mu.Lock()
	r.headers = req.Header.Clone()
	r.mu.Unlock()
	a := r.handle(bodies, len(plain))
	if a == nil {
		a = &reply{}
	}
	if a.hang {
		<-req.Context().Done()
		return
	}
	if a.message != nil {
		w.Header().Set("Content-Type", "application/x-protobuf")
		a.body, _ = proto.Marshal(a.message)
	}
	for k, v := range a.header {
		w.Header()[k] = v
	}
	if a.code != 0 {
		w.WriteHeader(a.code)
	}
	w.Write(a.body)
}

// decompress does it with the standard library where that can.
func decompress(encoding string, raw []byte) ([]byte, error) {
	switch encoding {
	case "":
		return raw, nil
	case "gzip":
		z, err := gzip.NewReader(bytes.NewReader(raw))
		if err != nil {
			return nil, err
		}
		return io.ReadAll(z)
	case "zstd":
		z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		defer z.Close()
		return z.DecodeAll(raw, nil)
	}
	return nil, fmt.Errorf("encoding %q", encoding)
}

// newHTTP starts an HTTP server.
func newHTTP(t testing.TB, answer func(int, incoming) *reply) *receiver {
	r := &receiver{t: t, answer: answer}
	s := httptest.NewServer(r)
	r.addr = s.Listener.Addr().String()
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return r
}

// transports are the two ways to a receiver.
var transports = map[string]struct {
	serve    func(testing.TB, func(int, incoming) *reply) *receiver
	exporter func(addr string) Exporter
}{
	"grpc": {
		func(t testing.TB, answer func(int, incoming) *reply) *receiver { return newGRPC(t, answer) },
		func(addr string) Exporter {
			return &OTLP{Endpoint: addr, TLS: TLS{Insecure: true}, Timeout: 10 * time.Second, RetryOnFailure: fast}
		},
	},
	"http": {
		newHTTP,
		func(addr string) Exporter {
			return &OTLPHTTP{Endpoint: "http://" + addr, Timeout: 10 * time.Second, RetryOnFailure: fast}
		},
	},
}

// setCompression and setTimeout change the exporter of either transport.
func setCompression(e Exporter, name string) {
	switch e := e.(type) {
	case *OTLP:
		e.Compression = name
	case *OTLPHTTP:
		e.Compression = name
	}
}

func setTimeout(e Exporter, d time.Duration) {
	switch e := e.(type) {
	case *OTLP:
		e.Timeout = d
	case *OTLPHTTP:
		e.Timeout = d
	}
}

// me is what a destination made alone knows of itself.
func me() about {
	return about{version: "1.2.3", exporter: "x", log: silent, tlsFailures: prometheus.NewCounter(prometheus.CounterOpts{Name: "failures"})}
}

// newDestination makes the destination alone.
func newDestination(t testing.TB, e Exporter) destination {
	t.Helper()
	return newDestinationAs(t, e, me())
}

func newDestinationAs(t testing.TB, e Exporter, self about) destination {
	t.Helper()
	var d destination
	var err error
	switch e := e.(type) {
	case *OTLP:
		d, err = newOTLPGRPC(e, self)
	case *OTLPHTTP:
		d, err = newOTLPHTTP(e, self)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.close)
	return d
}

// tooBig is the answer to a request over a size limit, by either transport.
func tooBig() *reply {
	return &reply{code: 413, grpc: status.Error(codes.ResourceExhausted, "grpc: received message larger than max")}
}

// refused is the answer to a request with a record that is not valid.
func refused() *reply {
	return &reply{code: 400, grpc: status.Error(codes.InvalidArgument, "a record is not valid")}
}

// busy is an answer that asks to come again.
func busy() *reply {
	return &reply{code: 503, grpc: status.Error(codes.Unavailable, "busy")}
}
