package export

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"stint/export/otlp"
)

// runSink runs a sink and returns what ends it and waits for that.
func runSink(t testing.TB, s *Sink) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	return func() { cancel(); <-done }
}

func TestSinkCounts(t *testing.T) {
	sink, err := NewSink()
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var bodies []string
	sink.OnLog = func(b []byte) {
		mu.Lock()
		defer mu.Unlock()
		id, _, _ := strings.Cut(string(b), " ")
		bodies = append(bodies, id)
	}
	stop := runSink(t, sink)
	e, _ := newExporting(t, Batch{SendBatchSize: 100, SendBatchMaxBytes: 4 << 20, Timeout: time.Second}, Exporters{"sink": sink.Exporter()}, silent)
	s := newSource(t)
	var chunks []*otlp.Chunk
	for range 10 {
		chunks = append(chunks, s.logs("a", 70, 100), s.metrics("m", 30, 100))
	}
	deliver(t, e, chunks...)
	s.want(20, 0, 0)
	if l, m, tr := sink.Records(otlp.Logs), sink.Records(otlp.Metrics), sink.Records(otlp.Traces); l != 700 || m != 300 || tr != 0 {
		t.Errorf("the sink counted %d logs, %d metrics, %d traces, want 700, 300, 0", l, m, tr)
	}
	if !slices.Equal(bodies, names("a", 0, 700)) {
		t.Errorf("OnLog saw %d bodies, or out of order", len(bodies))
	}
	stop()
}

// Others reach the sink's port as well: it takes what is OTLP, however it is compressed, says
// what is wrong with what is not, and does not wait for them in the end.
func TestSinkAndOthers(t *testing.T) {
	t.Parallel()
	sink, err := NewSink()
	if err != nil {
		t.Fatal(err)
	}
	block := make(chan struct{})
	sink.OnLog = func(b []byte) {
		if string(b) == "block" {
			<-block
		}
	}
	stop := runSink(t, sink)
	conn, err := grpc.NewClient(sink.listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	client := collogs.NewLogsServiceClient(conn)
	r := &collogs.ExportLogsServiceRequest{ResourceLogs: []*logspb.ResourceLogs{{ScopeLogs: []*logspb.ScopeLogs{{LogRecords: []*logspb.LogRecord{{}, {}}}}}}}
	for _, compression := range []string{"identity", "gzip", "zstd"} {
		if _, err := client.Export(ctx, r, grpc.UseCompressor(compression)); err != nil {
			t.Errorf("%s: %v", compression, err)
		}
	}
	if n := sink.Records(otlp.Logs); n != 6 {
		t.Errorf("%d records, want 6", n)
	}
	var answer []byte
	err = conn.Invoke(ctx, grpcMethods[otlp.Logs], []byte{0x0a, 5, 1}, &answer, grpc.ForceCodecV2(Codec{}))
	if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "malformed protobuf") {
		t.Errorf("answer to garbage: %v", err)
	}
	if n := sink.Records(otlp.Logs); n != 6 {
		t.Errorf("%d records after garbage, want 6", n)
	}

	// A call that does not end.
	called := make(chan error)
	go func() {
		r := &request{signal: otlp.Logs}
		r.add(piece{otlp.NewGroup(nil, "", "", ""), otlp.AppendLogRecord(nil, &otlp.LogRecord{Body: []byte("block")}), 1})
		called <- conn.Invoke(ctx, grpcMethods[otlp.Logs], r.bytes(), &answer, grpc.ForceCodecV2(Codec{}))
	}()
	time.AfterFunc(sinkGrace+500*time.Millisecond, func() { close(block) })
	<-time.After(200 * time.Millisecond) // until the call is there
	start := time.Now()
	stop()
	if d := time.Since(start); d > sinkGrace+2*time.Second {
		t.Errorf("Run returned after %v", d)
	}
	if err := <-called; status.Code(err) != codes.Unavailable {
		t.Errorf("the call that was cut off: %v", err)
	}
}

func TestSinkThatNeverRan(t *testing.T) {
	sink, err := NewSink()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := sink.Run(ctx); err != nil {
		t.Error(err)
	}
}
