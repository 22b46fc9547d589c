package gateway

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"stint/export"
	"stint/export/otlp"
)

// A request that comes again, because its answer was lost, is acknowledged and not delivered again; one without
// an id is.
func TestRepeats(t *testing.T) {
	r := newRig(t, nil, nil)
	logs := collogs.NewLogsServiceClient(r.conn())
	ctx := metadata.AppendToOutgoingContext(t.Context(), export.BatchID, "AGENT-1")
	for range 3 {
		if _, err := logs.Export(ctx, logsOf("once")); err != nil {
			t.Fatal(err)
		}
	}
	wire, _ := proto.Marshal(logsOf("once"))
	if code, _, _ := r.post("/v1/logs", typeProtobuf, "", wire, export.BatchID, "AGENT-1"); code != 200 {
		t.Errorf("over HTTP: %d", code)
	}
	for range 2 {
		if _, err := logs.Export(t.Context(), logsOf("each time")); err != nil {
			t.Fatal(err)
		}
	}
	r.wantFile(logsOf("once"), logsOf("each time"), logsOf("each time"))
}

// away is a destination that answers 503 until it is up, and counts log records.
type away struct {
	up  atomic.Bool
	got atomic.Int64
}

func (a *away) exporters(t *testing.T) export.Exporters {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		b, _ := io.ReadAll(req.Body)
		if !a.up.Load() {
			w.WriteHeader(503)
			return
		}
		n, err := otlp.Count(otlp.Logs, b)
		if err != nil {
			t.Error(err)
		}
		a.got.Add(int64(n))
	}))
	t.Cleanup(server.Close)
	x, err := export.Exporters{}.NewValue("otlphttp")
	if err != nil {
		t.Fatal(err)
	}
	h := x.(*export.OTLPHTTP)
	h.Endpoint, h.Compression, h.RetryOnFailure = server.URL, "none", export.Retry{InitialInterval: 10 * time.Millisecond, MaxInterval: 50 * time.Millisecond}
	return export.Exporters{"otlphttp": h}
}

// want waits until so many records have arrived.
func (a *away) want(t *testing.T, n int64) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); a.got.Load() < n && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if got := a.got.Load(); got != n {
		t.Errorf("%d records arrived, want %d", got, n)
	}
}

// The answer waits until the records are safe: here, on disk, because the destination is away. They are delivered
// when it is there.
func TestDurable(t *testing.T) {
	var dest away
	r := newRig(t, nil, dest.exporters(t))
	logs := collogs.NewLogsServiceClient(r.conn())
	for i := range 20 {
		if _, err := logs.Export(t.Context(), logsOf(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	if dest.got.Load() != 0 {
		t.Error("something arrived")
	}
	dest.up.Store(true)
	dest.want(t, 20)
}

// With ack: exported the answer waits for the destination itself, however long that is away, and a client that
// does not is told to come again.
func TestExportedAck(t *testing.T) {
	var dest away
	r := newRig(t, func(c *Config) { c.Ack = "exported" }, dest.exporters(t))
	logs := collogs.NewLogsServiceClient(r.conn())
	answers := make(chan error, 1)
	go func() {
		_, err := logs.Export(t.Context(), logsOf("patient"))
		answers <- err
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	large := logsOf(slices.Repeat([]string{strings.Repeat("x", 1<<20)}, 10)...)                                                                                  // more than waits in memory where there is a disk
	if _, err := logs.Export(ctx, large, grpc.MaxCallSendMsgSize(20<<20)); status.Code(err) != codes.DeadlineExceeded && status.Code(err) != codes.Unavailable { // the gateway may be first to say so
		t.Errorf("%v, want DeadlineExceeded or Unavailable", err)
	}
	select {
	case err := <-answers:
		t.Fatalf("answered %v while the destination is away", err)
	default:
	}
	dest.up.Store(true)
	if err := <-answers; err != nil {
		t.Error(err)
	}
	dest.want(t, 11)
}

// A spool that is to keep what is older refuses what is new: the client keeps it, and nothing that was acknowledged is
// lost.
func TestSpoolFull(t *testing.T) {
	var dest away
	keep := export.SpoolDefaults()
	keep.MaxBytes, keep.WhenFull = 16<<20, "refuse"
	r := newRigOf(t, nil, dest.exporters(t), keep)
	logs := collogs.NewLogsServiceClient(r.conn())
	request := logsOf(slices.Repeat([]string{strings.Repeat("x", 100<<10)}, 10)...)
	var taken int64
	send := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		_, err := logs.Export(ctx, request)
		if err == nil {
			taken += 10
		}
		return err
	}
	var err error
	for range 50 {
		if err = send(); err != nil {
			break
		}
	}
	if st := status.Convert(err); st.Code() != codes.Unavailable || len(st.Details()) != 1 {
		t.Fatalf("after %d records in a spool of 16 MiB: %v", taken, err)
	}
	wire, _ := proto.Marshal(request)
	if code, h, body := r.post("/v1/logs", typeProtobuf, "", wire); code != 503 || h.Get("Retry-After") == "" {
		t.Errorf("HTTP: %d %q, Retry-After %q", code, body, h.Get("Retry-After"))
	}
	if r.refusals("spool_full") == 0 {
		t.Error("the refusal is not counted as one of the spool's")
	}
	dest.up.Store(true)
	dest.want(t, taken)
	for deadline := time.Now().Add(20 * time.Second); send() != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing is taken although the destination is there again")
		}
	}
	dest.want(t, taken)
}

// With ack: memory the answer does not wait.
func TestMemoryAck(t *testing.T) {
	x, err := export.Exporters{}.NewValue("otlphttp")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	x.(*export.OTLPHTTP).Endpoint = "http://" + l.Addr().String()
	r := newRig(t, func(c *Config) { c.Ack = "memory" }, export.Exporters{"otlphttp": x.(export.Exporter)})
	if _, err := collogs.NewLogsServiceClient(r.conn()).Export(t.Context(), logsOf("x")); err != nil {
		t.Error(err)
	}
}

// Two requests that waited for a call that was aborted both forget it; what was taken anew between them stays known.
func TestForgottenTwice(t *testing.T) {
	var ids repeats
	first, _ := ids.begin("a")
	ids.forget("a", first)
	second, _ := ids.begin("a")
	ids.forget("a", first)
	if c, again := ids.begin("a"); !again || c != second {
		t.Error("the second call is not known any more: the same request would be delivered twice")
	}
}
