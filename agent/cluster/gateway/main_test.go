package gateway

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	colmetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"stint/export"
	"stint/export/otlp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var silent = slog.New(slog.NewTextHandler(io.Discard, nil))

// rig is a gateway with its destination: a file, or one that a test names.
type rig struct {
	*Gateway
	t    *testing.T
	file string
	pool *otlp.Pool
}

func newRig(t *testing.T, change func(*Config), x export.Exporters) *rig {
	t.Helper()
	return newRigOf(t, change, x, export.SpoolDefaults())
}

func newRigOf(t *testing.T, change func(*Config), x export.Exporters, keep export.Spool) *rig {
	t.Helper()
	cfg := Defaults()
	cfg.GRPC, cfg.HTTP = "127.0.0.1:0", "127.0.0.1:0"
	if change != nil {
		change(&cfg)
	}
	r := &rig{t: t, file: filepath.Join(t.TempDir(), "out.jsonl")}
	if x == nil {
		x = export.Exporters{"file": &export.File{Path: r.file, Rotation: export.Rotation{MaxMegabytes: 100, MaxBackups: 1}}}
	}
	reg := prometheus.NewRegistry()
	e, err := export.New(export.Options{
		Batch: export.BatchDefaults(), Exporters: x, Forwards: true, Version: "1", Log: silent, Registerer: reg, Spool: keep, SpoolDir: t.TempDir(), Unspooled: cfg.Unspooled(),
		Pipelines: export.DefaultPipelines(x, map[string][]string{"logs": {"otlp"}, "metrics": {"otlp"}, "traces": {"otlp"}}),
	})
	if err != nil {
		t.Fatal(err)
	}
	r.pool = otlp.NewPool(64<<20, e.Flush)
	input := func(s otlp.Signal) func(*otlp.Chunk) {
		if !e.Wants(s, "otlp") {
			return nil
		}
		return e.Input(s, "otlp")
	}
	if r.Gateway, err = New(Options{Config: cfg, Pool: r.pool, Input: input, Full: func(s otlp.Signal) bool { return e.Full(s, "otlp") }, Log: silent, Registerer: reg}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var done [2]chan struct{}
	for i := range done {
		done[i] = make(chan struct{})
	}
	go func() { defer close(done[0]); r.Run(ctx) }()
	send, stopSend := context.WithCancel(context.Background())
	go func() { defer close(done[1]); e.Run(send) }()
	t.Cleanup(func() {
		stop()
		<-done[0]
		e.CloseInput()
		time.AfterFunc(5*time.Second, stopSend)
		<-done[1]
		stopSend()
		if n := r.pool.Used(); n != 0 {
			t.Errorf("%d bytes of memory are still in use", n)
		}
	})
	return r
}

func (r *rig) conn(opts ...grpc.DialOption) *grpc.ClientConn {
	addr, _ := r.Addresses()
	c, err := grpc.NewClient(addr, append([]grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}, opts...)...)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	return c
}

// post gives status, header and body of an answer.
func (r *rig) post(path, kind, encoding string, body []byte, headers ...string) (int, http.Header, []byte) {
	r.t.Helper()
	_, addr := r.Addresses()
	req, err := http.NewRequest(http.MethodPost, "http://"+addr+path, bytes.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", kind)
	if encoding != "" {
		req.Header.Set("Content-Encoding", encoding)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}, Timeout: 20 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, b
}

// refusals is how many requests with logs were refused for that reason.
func (r *rig) refusals(reason string) float64 {
	var m dto.Metric
	if err := r.stats.no.WithLabelValues("logs", reason).Write(&m); err != nil {
		r.t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}

// lines are what is in the file, a message each.
func (r *rig) lines() (all []string) {
	r.t.Helper()
	b, err := os.ReadFile(r.file)
	if err != nil && !os.IsNotExist(err) {
		r.t.Fatal(err)
	}
	for l := range strings.Lines(string(b)) {
		all = append(all, strings.TrimSpace(l))
	}
	return all
}

func attr(k, v string) []*commonpb.KeyValue {
	return []*commonpb.KeyValue{{Key: k, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: v}}}}
}

func logsOf(bodies ...string) *collogs.ExportLogsServiceRequest {
	s := &logspb.ScopeLogs{Scope: &commonpb.InstrumentationScope{Name: "lib", Version: "2"}}
	for i, b := range bodies {
		s.LogRecords = append(s.LogRecords, &logspb.LogRecord{
			TimeUnixNano: uint64(i + 1), Body: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: b}}, Attributes: attr("k", "v"), SeverityNumber: 9,
		})
	}
	return &collogs.ExportLogsServiceRequest{ResourceLogs: []*logspb.ResourceLogs{{Resource: &resourcepb.Resource{Attributes: attr("service.name", "shop")}, ScopeLogs: []*logspb.ScopeLogs{s}, SchemaUrl: "u"}}}
}

func metricsOf() *colmetrics.ExportMetricsServiceRequest {
	return &colmetrics.ExportMetricsServiceRequest{ResourceMetrics: []*metricspb.ResourceMetrics{{
		Resource: &resourcepb.Resource{Attributes: attr("service.name", "shop")},
		ScopeMetrics: []*metricspb.ScopeMetrics{{Metrics: []*metricspb.Metric{{Name: "m", Data: &metricspb.Metric_Sum{Sum: &metricspb.Sum{
			IsMonotonic: true, AggregationTemporality: 2, DataPoints: []*metricspb.NumberDataPoint{{TimeUnixNano: 5, Value: &metricspb.NumberDataPoint_AsDouble{AsDouble: 0.5}}},
		}}}}}},
	}}}
}

func tracesOf() *coltrace.ExportTraceServiceRequest {
	return &coltrace.ExportTraceServiceRequest{ResourceSpans: []*tracepb.ResourceSpans{{
		Resource:   &resourcepb.Resource{Attributes: attr("service.name", "shop")},
		ScopeSpans: []*tracepb.ScopeSpans{{Spans: []*tracepb.Span{{Name: "GET /", TraceId: bytes.Repeat([]byte{1}, 16), SpanId: bytes.Repeat([]byte{2}, 8), Kind: 2, StartTimeUnixNano: 1, EndTimeUnixNano: 2}}}},
	}}}
}

// requests are one of each signal, and where they go over HTTP.
func requests() map[string]proto.Message {
	return map[string]proto.Message{"logs": logsOf("one", "two"), "metrics": metricsOf(), "traces": tracesOf()}
}

// wantFile fails unless the file holds exactly these messages.
func (r *rig) wantFile(want ...proto.Message) {
	r.t.Helper()
	lines := r.lines()
	if len(lines) != len(want) {
		r.t.Fatalf("the file has %d lines, want %d", len(lines), len(want))
	}
	for i, l := range lines {
		got := want[i].ProtoReflect().New().Interface()
		// Ids are base64 for protojson; those of the tests read the same in both.
		if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal([]byte(fixIDs(l)), got); err != nil {
			r.t.Fatalf("%v in %s", err, l)
		}
		if !proto.Equal(got, want[i]) {
			r.t.Errorf("line %d is\n%v, want\n%v", i, got, want[i])
		}
	}
}

func fixIDs(l string) string {
	l = strings.ReplaceAll(l, strings.Repeat("01", 16), "AQEBAQEBAQEBAQEBAQEBAQ==")
	return strings.ReplaceAll(l, strings.Repeat("02", 8), "AgICAgICAgI=")
}

// manyScopes is a request with a resource of that many bytes and that many scopes under it, each with a record.
func manyScopes(resource, scopes int) *collogs.ExportLogsServiceRequest {
	all := logsOf("x")
	l := all.ResourceLogs[0]
	l.Resource.Attributes = attr("k", strings.Repeat("x", resource))
	l.ScopeLogs = slices.Repeat(l.ScopeLogs, scopes)
	return all
}
