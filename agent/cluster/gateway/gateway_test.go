package gateway

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
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
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"stint/export"
	"stint/export/otlp"
	"stint/scrape/kube"
	"stint/scrape/kube/lookup"
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

// What goes in comes out equal: every signal, by gRPC and HTTP, in protobuf and JSON, with every compression.
func TestEqual(t *testing.T) {
	pack := map[string]func([]byte) []byte{
		"": func(b []byte) []byte { return b },
		"gzip": func(b []byte) []byte {
			var out bytes.Buffer
			w := gzip.NewWriter(&out)
			w.Write(b)
			w.Close()
			return out.Bytes()
		},
		"deflate": func(b []byte) []byte {
			var out bytes.Buffer
			w := zlib.NewWriter(&out)
			w.Write(b)
			w.Close()
			return out.Bytes()
		},
		"zstd": func(b []byte) []byte {
			w, _ := zstd.NewWriter(nil)
			defer w.Close()
			return w.EncodeAll(b, nil)
		},
		"snappy": func(b []byte) []byte { return snappy.Encode(nil, b) },
	}
	for signal, m := range requests() {
		wire, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		text, err := otlp.AppendJSON(nil, map[string]otlp.Signal{"logs": otlp.Logs, "metrics": otlp.Metrics, "traces": otlp.Traces}[signal], wire)
		if err != nil {
			t.Fatal(err)
		}
		for encoding, pack := range pack {
			for kind, body := range map[string][]byte{typeProtobuf: wire, typeJSON + "; charset=utf-8": text} {
				t.Run(fmt.Sprintf("%s %s %s", signal, kind, encoding), func(t *testing.T) {
					r := newRig(t, nil, nil)
					code, h, answer := r.post("/v1/"+signal, kind, encoding, pack(body))
					if code != 200 || !strings.HasPrefix(kind, h.Get("Content-Type")) || strings.TrimSpace(string(answer)) != map[bool]string{true: "{}", false: ""}[kind != typeProtobuf] {
						t.Errorf("answer %d %q %q", code, h.Get("Content-Type"), answer)
					}
					r.wantFile(m)
				})
			}
		}
		for _, compression := range []string{"", "gzip", "zstd"} {
			t.Run(signal+" grpc "+compression, func(t *testing.T) {
				r := newRig(t, nil, nil)
				var opts []grpc.CallOption
				if compression != "" {
					opts = append(opts, grpc.UseCompressor(compression))
				}
				c, ctx := r.conn(), t.Context()
				var err error
				switch m := m.(type) {
				case *collogs.ExportLogsServiceRequest:
					_, err = collogs.NewLogsServiceClient(c).Export(ctx, m, opts...)
				case *colmetrics.ExportMetricsServiceRequest:
					_, err = colmetrics.NewMetricsServiceClient(c).Export(ctx, m, opts...)
				case *coltrace.ExportTraceServiceRequest:
					_, err = coltrace.NewTraceServiceClient(c).Export(ctx, m, opts...)
				}
				if err != nil {
					t.Fatal(err)
				}
				r.wantFile(m)
			})
		}
	}
}

// Answers to what is not a good request, over HTTP: the status, in the type of the request, and that the
// service goes on.
func TestRefusedHTTP(t *testing.T) {
	good, err := proto.Marshal(logsOf("x"))
	if err != nil {
		t.Fatal(err)
	}
	bomb := func() []byte {
		var out bytes.Buffer
		w := gzip.NewWriter(&out)
		zero := make([]byte, 1<<20)
		for range 100 {
			w.Write(zero)
		}
		w.Close()
		return out.Bytes()
	}()
	r := newRig(t, func(c *Config) { c.MaxRequestBytes = 1 << 20 }, nil)
	for name, tc := range map[string]struct {
		path, kind, encoding string
		body                 []byte
		code                 int
	}{
		"no protobuf":        {"/v1/logs", typeProtobuf, "", []byte("\xff\xff\xff"), 400},
		"cut off":            {"/v1/logs", typeProtobuf, "", good[:len(good)-3], 400},
		"no JSON":            {"/v1/logs", typeJSON, "", []byte("{"), 400},
		"not what it claims": {"/v1/logs", typeProtobuf, "gzip", good, 400},
		"unknown encoding":   {"/v1/logs", typeProtobuf, "br", good, 415},
		"unknown type":       {"/v1/logs", "text/plain", "", good, 415},
		"no type":            {"/v1/logs", "", "", good, 415},
		"too large":          {"/v1/logs", typeProtobuf, "", make([]byte, 2<<20), 413},
		"a bomb":             {"/v1/logs", typeProtobuf, "gzip", bomb, 413},
		"a bomb of snappy":   {"/v1/logs", typeProtobuf, "snappy", snappy.Encode(nil, make([]byte, 50<<20)), 413},
		"nested":             {"/v1/logs", typeJSON, "", []byte(strings.Repeat(`{"resourceLogs":[`, 5000)), 400},
		"no such path":       {"/v1/profiles", typeProtobuf, "", good, 404},
	} {
		code, h, answer := r.post(tc.path, tc.kind, tc.encoding, tc.body)
		if code != tc.code {
			t.Errorf("%s: %d %s, want %d", name, code, answer, tc.code)
		}
		if tc.code == 404 {
			continue
		}
		if tc.kind == typeJSON {
			var s struct{ Message string }
			if err := json.Unmarshal(answer, &s); err != nil || s.Message == "" || h.Get("Content-Type") != typeJSON {
				t.Errorf("%s: %v in %q %s", name, err, answer, h.Get("Content-Type"))
			}
		} else {
			var s statuspb.Status
			if err := proto.Unmarshal(answer, &s); err != nil || s.Message == "" || h.Get("Content-Type") != typeProtobuf {
				t.Errorf("%s: %v in %q %s", name, err, answer, h.Get("Content-Type"))
			}
		}
	}
	_, addr := r.Addresses()
	resp, err := http.Get("http://" + addr + "/v1/logs")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if resp.StatusCode != 405 || resp.Header.Get("Allow") != "POST" {
		t.Errorf("GET: %d, Allow %q", resp.StatusCode, resp.Header.Get("Allow"))
	}
	if code, _, answer := r.post("/v1/logs", typeProtobuf, "", nil); code != 200 || len(answer) != 0 {
		t.Errorf("an empty request: %d %q", code, answer)
	}
	if code, _, _ := r.post("/v1/logs", typeProtobuf, "", good); code != 200 {
		t.Errorf("a good request after all: %d", code)
	}
	r.wantFile(logsOf("x"))
}

// The same by gRPC.
func TestRefusedGRPC(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxRequestBytes = 1 << 20 }, nil)
	logs := collogs.NewLogsServiceClient(r.conn())
	_, err := logs.Export(t.Context(), logsOf(strings.Repeat("x", 2<<20)))
	if st := status.Convert(err); st.Code() != codes.ResourceExhausted || len(st.Details()) != 0 {
		t.Errorf("too large: %v, with %v", st, st.Details())
	}
	if _, err := logs.Export(t.Context(), logsOf(strings.Repeat("x", 2<<20)), grpc.UseCompressor("gzip")); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("too large when it is decompressed: %v", err)
	}
	var raw []byte
	err = r.conn().Invoke(t.Context(), "/opentelemetry.proto.collector.logs.v1.LogsService/Export", []byte("\xff\xff"), &raw, grpc.ForceCodecV2(export.Codec{}))
	st := status.Convert(err)
	if st.Code() != codes.InvalidArgument || len(st.Details()) != 1 {
		t.Errorf("no protobuf: %v, with %v", st, st.Details())
	} else if _, ok := st.Details()[0].(*errdetails.BadRequest); !ok {
		t.Errorf("no protobuf: with %v", st.Details())
	}
	if _, err := logs.Export(t.Context(), &collogs.ExportLogsServiceRequest{}); err != nil {
		t.Errorf("an empty request: %v", err)
	}
	if _, err := logs.Export(t.Context(), logsOf("x")); err != nil {
		t.Errorf("a good request after all: %v", err)
	}
	r.wantFile(logsOf("x"))
}

// A signal that no pipeline takes is refused as one that is not served.
func TestNoPipeline(t *testing.T) {
	l, err := export.Exporters{}.NewValue("loki")
	if err != nil {
		t.Fatal(err)
	}
	l.(*export.Loki).Endpoint = "http://127.0.0.1:1"
	r := newRig(t, nil, export.Exporters{"loki": l.(export.Exporter)})
	if _, err := coltrace.NewTraceServiceClient(r.conn()).Export(t.Context(), tracesOf()); status.Code(err) != codes.Unimplemented {
		t.Errorf("gRPC: %v", err)
	}
	wire, _ := proto.Marshal(tracesOf())
	if code, _, _ := r.post("/v1/traces", typeProtobuf, "", wire); code != 404 {
		t.Errorf("HTTP: %d", code)
	}
}

// Without memory a request is refused with the time to come back, and taken when there is room again.
func TestBusy(t *testing.T) {
	r := newRig(t, nil, nil)
	r.pool.SetLimit(0)
	logs := collogs.NewLogsServiceClient(r.conn())
	_, err := logs.Export(t.Context(), logsOf("x"))
	st := status.Convert(err)
	if st.Code() != codes.Unavailable || len(st.Details()) != 1 {
		t.Fatalf("gRPC: %v", err)
	}
	if d := st.Details()[0].(*errdetails.RetryInfo).GetRetryDelay().AsDuration(); d < time.Second || d > 5*time.Second {
		t.Errorf("it is to come back after %v", d)
	}
	wire, _ := proto.Marshal(logsOf("x"))
	if code, h, _ := r.post("/v1/logs", typeProtobuf, "", wire); code != 503 || h.Get("Retry-After") == "" {
		t.Errorf("HTTP: %d, Retry-After %q", code, h.Get("Retry-After"))
	}
	if n := r.refusals("no_memory"); n != 2 {
		t.Errorf("%v refusals are counted, want 2", n)
	}
	r.pool.SetLimit(64 << 20)
	if _, err := logs.Export(t.Context(), logsOf("x")); err != nil {
		t.Error(err)
	}
	r.wantFile(logsOf("x"))
}

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
	large := logsOf(slices.Repeat([]string{strings.Repeat("x", 1<<20)}, 10)...) // more than waits in memory where there is a disk
	if _, err := logs.Export(ctx, large, grpc.MaxCallSendMsgSize(20<<20)); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("%v, want DeadlineExceeded", err)
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

// Only who has the token is served; a new one in the file counts.
func TestToken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("first-token\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, func(c *Config) { c.BearerTokenFile = file }, nil)
	logs := collogs.NewLogsServiceClient(r.conn())
	with := func(token string) context.Context {
		return metadata.AppendToOutgoingContext(t.Context(), "authorization", token)
	}
	for token, want := range map[string]codes.Code{"": codes.Unauthenticated, "Bearer other": codes.Unauthenticated, "first-token": codes.Unauthenticated, "bearer first-token": codes.OK} {
		if _, err := logs.Export(with(token), logsOf("x")); status.Code(err) != want {
			t.Errorf("%q: %v, want %v", token, err, want)
		}
	}
	wire, _ := proto.Marshal(logsOf("x"))
	if code, _, _ := r.post("/v1/logs", typeProtobuf, "", wire); code != 401 {
		t.Errorf("HTTP without it: %d", code)
	}
	if code, _, _ := r.post("/v1/logs", typeProtobuf, "", wire, "Authorization", "Bearer first-token"); code != 200 {
		t.Errorf("HTTP with it: %d", code)
	}
	if n := r.refusals("unauthorized"); n != 4 {
		t.Errorf("%v refusals are counted, want 4", n)
	}
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

// TLS with a client's certificate; without one the connection is refused.
func TestMutualTLS(t *testing.T) {
	ca, server, client := certificates(t)
	r := newRig(t, func(c *Config) {
		c.TLS = TLS{CertFile: server + ".crt", KeyFile: server + ".key", ClientCAFile: ca.file}
	}, nil)
	pair, err := tls.LoadX509KeyPair(client+".crt", client+".key")
	if err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]*tls.Config{
		"with":    {RootCAs: ca.pool, ServerName: "localhost", Certificates: []tls.Certificate{pair}},
		"without": {RootCAs: ca.pool, ServerName: "localhost"},
	} {
		addr, _ := r.Addresses()
		c, err := grpc.NewClient(addr, grpc.WithTransportCredentials(credentials.NewTLS(cfg)))
		if err != nil {
			t.Fatal(err)
		}
		_, err = collogs.NewLogsServiceClient(c).Export(t.Context(), logsOf("x"))
		c.Close()
		if (err == nil) != (name == "with") {
			t.Errorf("%s a certificate: %v", name, err)
		}
	}
	r.wantFile(logsOf("x"))
}

// Records of one resource stay in order, whatever else comes beside them.
func TestOrder(t *testing.T) {
	r := newRig(t, nil, nil)
	logs := collogs.NewLogsServiceClient(r.conn())
	done := make(chan error, 4)
	for k := range 4 {
		go func() {
			for i := range 50 {
				m := logsOf(fmt.Sprintf("%d/%d", k, i))
				m.ResourceLogs[0].Resource.Attributes = attr("service.name", fmt.Sprint(k))
				if _, err := logs.Export(t.Context(), m); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	got := map[string][]string{}
	for _, l := range r.lines() {
		var m logspb.LogsData
		if err := protojson.Unmarshal([]byte(l), &m); err != nil {
			t.Fatal(err)
		}
		for _, rl := range m.ResourceLogs {
			for _, x := range rl.ScopeLogs[0].LogRecords {
				k, i, _ := strings.Cut(x.Body.GetStringValue(), "/")
				got[k] = append(got[k], i)
			}
		}
	}
	var want []string
	for i := range 50 {
		want = append(want, fmt.Sprint(i))
	}
	for k := range 4 {
		if !slices.Equal(got[fmt.Sprint(k)], want) {
			t.Errorf("of %d came %q", k, got[fmt.Sprint(k)])
		}
	}
}

// One client can't have all the memory: its requests that wait for a destination leave room for others.
func TestQuota(t *testing.T) {
	q := quota{most: 100}
	if !q.take("a", 60) || q.take("a", 60) || !q.take("b", 60) || !q.take("a", 40) {
		t.Error("the quota is not each client's own")
	}
	q.give("a", 60)
	q.give("a", 40)
	q.give("b", 60)
	if len(q.held) != 0 {
		t.Errorf("%v are still known", q.held)
	}
}

// Clients that open connections and say nothing, or a word at a time, keep nobody else out, and take no memory that
// counts.
func TestSilentClients(t *testing.T) {
	r := newRig(t, nil, nil)
	grpcAt, httpAt := r.Addresses()
	for i := range 1000 {
		c, err := net.Dial("tcp", []string{grpcAt, httpAt}[i%2])
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if i%4 == 1 {
			io.WriteString(c, "POST /v1/logs HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-protobuf\r\nContent-Length: 1000000\r\n\r\nx")
		}
	}
	if _, err := collogs.NewLogsServiceClient(r.conn()).Export(t.Context(), logsOf("x")); err != nil {
		t.Error(err)
	}
	wire, _ := proto.Marshal(logsOf("y"))
	if code, _, _ := r.post("/v1/logs", typeProtobuf, "", wire); code != 200 {
		t.Errorf("HTTP: %d", code)
	}
}

// The first request of all may be one whose body can't be read.
func TestUnreadableFirst(t *testing.T) {
	r := newRig(t, nil, nil)
	corrupt := []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff}
	if code, _, body := r.post("/v1/logs", typeProtobuf, "gzip", corrupt); code != 400 {
		t.Errorf("%d %q", code, body)
	}
}

// The quota leaves room for any one request of up to max_request_bytes, however little memory there is.
func TestQuotaOfLargestRequest(t *testing.T) {
	cfg := Defaults()
	cfg.GRPC, cfg.HTTP, cfg.MaxRequestBytes = "", "127.0.0.1:0", 500<<10
	delivered := func(otlp.Signal) func(*otlp.Chunk) { return func(c *otlp.Chunk) { c.Settle(otlp.Delivered) } }
	g, err := New(Options{Config: cfg, Pool: otlp.NewPool(1<<20, nil), Input: delivered, Log: silent, Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	wire, _ := proto.Marshal(logsOf(strings.Repeat("x", 499<<10)))
	r := httptest.NewRequest(http.MethodPost, "/v1/logs", bytes.NewReader(wire))
	r.Header.Set("Content-Type", typeProtobuf)
	w := httptest.NewRecorder()
	if g.post(w, r, otlp.Logs); w.Code != 200 {
		t.Errorf("%d %q", w.Code, w.Body)
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

// manyScopes is a request with a resource of that many bytes and that many scopes under it, each with a record.
func manyScopes(resource, scopes int) *collogs.ExportLogsServiceRequest {
	all := logsOf("x")
	l := all.ResourceLogs[0]
	l.Resource.Attributes = attr("k", strings.Repeat("x", resource))
	l.ScopeLogs = slices.Repeat(l.ScopeLogs, scopes)
	return all
}

// Each scope goes on with its resource, so that a small request can become a large one. What it takes is accounted
// for, and a request that becomes too large is refused as such.
func TestManyScopes(t *testing.T) {
	r := newRig(t, nil, nil)
	logs := collogs.NewLogsServiceClient(r.conn())
	large := manyScopes(1<<20, 2000) // 2 GB
	if _, err := logs.Export(t.Context(), large); status.Code(err) != codes.ResourceExhausted || len(status.Convert(err).Details()) != 0 {
		t.Errorf("gRPC: %v", err)
	}
	wire, _ := proto.Marshal(large)
	if code, _, _ := r.post("/v1/logs", typeProtobuf, "", wire); code != 413 {
		t.Errorf("HTTP: %d", code)
	}
	var used int64
	in := r.in[otlp.Logs]
	r.in[otlp.Logs] = func(c *otlp.Chunk) { used = r.pool.Used(); in(c) }
	if _, err := logs.Export(t.Context(), manyScopes(1<<20, 8)); err != nil {
		t.Error(err)
	}
	if used < 8<<20 {
		t.Errorf("a request that takes 8 MiB is accounted for with %d bytes", used)
	}
}

// Numbers take more bytes in protobuf than in JSON; the limit counts for both.
func TestLargeFromJSON(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxRequestBytes = 1 << 20 }, nil)
	text := `{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"m","histogram":{"dataPoints":[{"bucketCounts":[0` + strings.Repeat(",0", 400<<10) + `]}]}}]}]}]}`
	if code, _, body := r.post("/v1/metrics", typeJSON, "", []byte(text)); code != 413 {
		t.Errorf("%d %s: %d bytes of JSON are some 3.6 MiB", code, body, len(text))
	}
}

// What a block of snappy and a text in JSON become is accounted for as well.
func TestMemoryOfForms(t *testing.T) {
	r := newRig(t, nil, nil)
	var used int64
	in := r.in[otlp.Logs]
	r.in[otlp.Logs] = func(c *otlp.Chunk) { used = r.pool.Used(); in(c) }
	m := logsOf(strings.Repeat("x", 4<<20))
	wire, _ := proto.Marshal(m)
	text, _ := protojson.MarshalOptions{UseEnumNumbers: true}.Marshal(m)
	for name, send := range map[string]func() (int, http.Header, []byte){
		"snappy": func() (int, http.Header, []byte) {
			return r.post("/v1/logs", typeProtobuf, "snappy", snappy.Encode(nil, wire))
		},
		"json": func() (int, http.Header, []byte) { return r.post("/v1/logs", typeJSON, "", text) },
	} {
		if code, _, body := send(); code != 200 || used < 4<<20 {
			t.Errorf("%s: %d %s, accounted for with %d bytes", name, code, body, used)
		}
	}
	r.pool.SetLimit(2 << 20)
	if code, h, _ := r.post("/v1/logs", typeProtobuf, "snappy", snappy.Encode(nil, wire)); code != 503 || h.Get("Retry-After") == "" {
		t.Errorf("without memory for it: %d", code)
	}
}

// A browser may send from pages of the origins that are allowed, and be told when to come back; from others it may not.
func TestCORS(t *testing.T) {
	r := newRig(t, func(c *Config) {
		c.CORS = CORS{AllowedOrigins: []string{"https://*.example"}, AllowedHeaders: []string{"X-Tenant"}}
		c.BearerTokenFile = filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(c.BearerTokenFile, []byte("secret"), 0o600); err != nil {
			t.Fatal(err)
		}
	}, nil)
	_, addr := r.Addresses()
	ask := func(origin, headers string) http.Header {
		req, err := http.NewRequest(http.MethodOptions, "http://"+addr+"/v1/logs", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Origin", origin)
		req.Header.Set("Access-Control-Request-Method", "POST")
		req.Header.Set("Access-Control-Request-Headers", headers)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.Header
	}
	for _, headers := range []string{"content-type", "authorization,content-type,x-tenant"} { // sorted, as browsers send them
		if got := ask("https://shop.example", headers).Get("Access-Control-Allow-Origin"); got != "https://shop.example" {
			t.Errorf("%s: allowed %q", headers, got)
		}
	}
	for origin, headers := range map[string]string{"https://shop.test": "content-type", "https://shop.example": "x-other"} {
		if got := ask(origin, headers).Get("Access-Control-Allow-Origin"); got != "" {
			t.Errorf("%s with %s: allowed %q", origin, headers, got)
		}
	}
	wire, _ := protojson.MarshalOptions{UseEnumNumbers: true}.Marshal(logsOf("x"))
	code, h, body := r.post("/v1/logs", typeJSON, "", wire, "Origin", "https://shop.example", "Authorization", "Bearer secret")
	if code != 200 || h.Get("Access-Control-Allow-Origin") != "https://shop.example" || h.Get("Access-Control-Expose-Headers") != "Retry-After" {
		t.Errorf("%d %s %v", code, body, h)
	}
	r.wantFile(logsOf("x"))
}

// What is known of the pod that a request names is added to its resource, and the rest is as it came.
func TestEnrich(t *testing.T) {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path != "/api/v1/namespaces/shop/pods/web" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		io.WriteString(w, `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"web","namespace":"shop","uid":"u1"},"spec":{"nodeName":"n1","containers":[]},"status":{}}`)
	}))
	t.Cleanup(api.Close)
	config := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(config, fmt.Appendf(nil, `{clusters: [{name: c, cluster: {server: %q}}], contexts: [{name: c, context: {cluster: c}}], current-context: c}`, api.URL), 0o600); err != nil {
		t.Fatal(err)
	}
	client, err := kube.NewClient(kube.Config{Kubeconfig: config}, "test")
	if err != nil {
		t.Fatal(err)
	}
	l := lookup.New(lookup.Config{Enabled: true}, client, silent, prometheus.NewRegistry())
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); l.Run(ctx) }()
	t.Cleanup(func() { stop(); <-done })
	r := newRig(t, nil, nil)
	r.lookup = l
	m := logsOf("one", "two")
	named := attr("k8s.namespace.name", "shop")
	m.ResourceLogs[0].Resource.Attributes = append(named, attr("k8s.pod.name", "web")...)
	want := proto.CloneOf(m)
	wanted := &want.ResourceLogs[0].Resource.Attributes
	*wanted = slices.Concat(*wanted, attr("k8s.pod.uid", "u1"), attr("k8s.node.name", "n1"))
	if _, err := collogs.NewLogsServiceClient(r.conn()).Export(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	wire, _ := proto.Marshal(m)
	if code, _, body := r.post("/v1/logs", typeProtobuf, "", wire); code != 200 {
		t.Fatalf("%d %s", code, body)
	}
	r.wantFile(want, want)
}
