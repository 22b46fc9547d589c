package sink

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	colmetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	metrics "go.opentelemetry.io/proto/otlp/metrics/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"stint/agent/workload"
)

// start runs a sink for the length of the test.
func start(t *testing.T, cfg Config) *Server {
	t.Helper()
	cfg.GRPC, cfg.HTTP, cfg.Control = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return s
}

func dial(t *testing.T, s *Server) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(s.Addresses().GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// logRequest has two records in each of two resources.
func logRequest(from int) *collogs.ExportLogsServiceRequest {
	req := &collogs.ExportLogsServiceRequest{}
	for i := range 2 {
		scope := &logs.ScopeLogs{}
		for j := range 2 {
			body := fmt.Sprintf("w=c%03d-stdout seq=%d text", i, from+j)
			scope.LogRecords = append(scope.LogRecords, &logs.LogRecord{
				TimeUnixNano: 1, SeverityText: "INFO", Body: &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: body}},
			})
		}
		req.ResourceLogs = append(req.ResourceLogs, &logs.ResourceLogs{ScopeLogs: []*logs.ScopeLogs{scope}, SchemaUrl: "x"})
	}
	return req
}

// metricRequest has a metric of each kind with two points each, ten in all.
func metricRequest() *colmetrics.ExportMetricsServiceRequest {
	point := []*metrics.NumberDataPoint{{}, {}}
	list := []*metrics.Metric{
		{Name: "g", Data: &metrics.Metric_Gauge{Gauge: &metrics.Gauge{DataPoints: point}}},
		{Name: "s", Data: &metrics.Metric_Sum{Sum: &metrics.Sum{DataPoints: point, IsMonotonic: true}}},
		{Name: "h", Data: &metrics.Metric_Histogram{Histogram: &metrics.Histogram{DataPoints: []*metrics.HistogramDataPoint{{}, {}}}}},
		{Name: "e", Data: &metrics.Metric_ExponentialHistogram{
			ExponentialHistogram: &metrics.ExponentialHistogram{DataPoints: []*metrics.ExponentialHistogramDataPoint{{}, {}}},
		}},
		{Name: "q", Data: &metrics.Metric_Summary{Summary: &metrics.Summary{DataPoints: []*metrics.SummaryDataPoint{{}, {}}}}},
	}
	return &colmetrics.ExportMetricsServiceRequest{ResourceMetrics: []*metrics.ResourceMetrics{
		{ScopeMetrics: []*metrics.ScopeMetrics{{Metrics: list}}},
	}}
}

func traceRequest() *coltrace.ExportTraceServiceRequest {
	return &coltrace.ExportTraceServiceRequest{ResourceSpans: []*trace.ResourceSpans{
		{ScopeSpans: []*trace.ScopeSpans{{Spans: []*trace.Span{{}, {}, {}}}}},
	}}
}

func TestGRPC(t *testing.T) {
	for _, compression := range []string{"", "gzip", "zstd"} {
		t.Run("compression="+compression, func(t *testing.T) {
			s := start(t, Config{Check: true})
			conn := dial(t, s)
			var opts []grpc.CallOption
			if compression != "" {
				opts = append(opts, grpc.UseCompressor(compression))
			}
			for _, from := range []int{1, 3, 3, 7} { // 3 and 4 twice, 5 and 6 never
				if _, err := collogs.NewLogsServiceClient(conn).Export(t.Context(), logRequest(from), opts...); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := colmetrics.NewMetricsServiceClient(conn).Export(t.Context(), metricRequest(), opts...); err != nil {
				t.Fatal(err)
			}
			if _, err := coltrace.NewTraceServiceClient(conn).Export(t.Context(), traceRequest(), opts...); err != nil {
				t.Fatal(err)
			}
			checkCounters(t, s, compression != "")
		})
	}
}

func TestHTTP(t *testing.T) {
	for _, compression := range []string{"", "gzip", "zstd"} {
		t.Run("compression="+compression, func(t *testing.T) {
			s := start(t, Config{Check: true})
			for _, from := range []int{1, 3, 3, 7} {
				if code := post(t, s, "logs", compression, logRequest(from)); code != http.StatusOK {
					t.Fatalf("status %d", code)
				}
			}
			if code := post(t, s, "metrics", compression, metricRequest()); code != http.StatusOK {
				t.Fatalf("status %d", code)
			}
			if code := post(t, s, "traces", compression, traceRequest()); code != http.StatusOK {
				t.Fatalf("status %d", code)
			}
			checkCounters(t, s, compression != "")
		})
	}
}

func post(t *testing.T, s *Server, signal, compression string, message proto.Message) int {
	t.Helper()
	body, err := proto.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	var zip io.WriteCloser
	switch compression {
	case "gzip":
		zip = gzip.NewWriter(&packed)
	case "zstd":
		if zip, err = zstd.NewWriter(&packed); err != nil {
			t.Fatal(err)
		}
	}
	if zip != nil {
		zip.Write(body)
		zip.Close()
		body = packed.Bytes()
	}
	req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+s.Addresses().HTTP+"/v1/"+signal, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	if compression != "" {
		req.Header.Set("Content-Encoding", compression)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// checkCounters reads them over the control port, as the harness does.
func checkCounters(t *testing.T, s *Server, compressed bool) {
	t.Helper()
	resp, err := http.Get("http://" + s.Addresses().Control + "/counters")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var got Counters
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	size := proto.Size(traceRequest()) + proto.Size(metricRequest()) + 4*proto.Size(logRequest(1))
	want := Counters{
		Requests: 6, LogRecords: 16, MetricPoints: 10, Spans: 3,
		Bytes: int64(size), WireBytes: int64(size), LogBodyBytes: 16 * int64(len("w=c000-stdout seq=1 text")),
		Totals: workload.Totals{Records: 16, Repeated: 4, Missing: 4, Writers: 2},
		Gaps:   []workload.Gap{{Writer: "c000-stdout", First: 5, Last: 6}, {Writer: "c001-stdout", First: 5, Last: 6}},
	}
	if got.FirstArrival.IsZero() || got.LastArrival.Before(got.FirstArrival) {
		t.Errorf("arrivals %v to %v", got.FirstArrival, got.LastArrival)
	}
	got.FirstArrival, got.LastArrival = time.Time{}, time.Time{}
	if compressed {
		if got.WireBytes == got.Bytes || got.WireBytes == 0 {
			t.Errorf("%d bytes on the wire, %d unpacked", got.WireBytes, got.Bytes)
		}
		got.WireBytes = got.Bytes
	}
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Errorf("counters are\n%+v, want\n%+v", got, want)
	}
}

func TestFaultByStatus(t *testing.T) {
	for name, tc := range map[string]struct {
		status int
		code   codes.Code
	}{
		"too many": {429, codes.ResourceExhausted}, "unavailable": {503, codes.Unavailable}, "bad request": {400, codes.InvalidArgument},
		"no token": {401, codes.Unauthenticated}, "forbidden": {403, codes.PermissionDenied}, "no such service": {404, codes.Unimplemented},
		"too large": {413, codes.ResourceExhausted}, "internal": {500, codes.Internal}, "bad gateway": {502, codes.Unavailable},
		"gateway timeout": {504, codes.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, Config{Fault: Fault{Status: tc.status, First: 2, RetryAfter: time.Second}})
			client := collogs.NewLogsServiceClient(dial(t, s))
			_, err := client.Export(t.Context(), logRequest(1))
			if got := status.Code(err); got != tc.code || len(status.Convert(err).Details()) != 1 {
				t.Errorf("gRPC answer is %v with %d details, want %v and when to come again", got, len(status.Convert(err).Details()), tc.code)
			}
			if got := post(t, s, "logs", "", logRequest(1)); got != tc.status {
				t.Errorf("HTTP answer is %d, want %d", got, tc.status)
			}
			if _, err := client.Export(t.Context(), logRequest(1)); err != nil {
				t.Errorf("third request: %v, want it accepted", err)
			}
			if got := s.Counters(); got.Refused != 2 || got.Requests != 1 || got.LogRecords != 4 {
				t.Errorf("%d refused, %d accepted with %d records, want 2, 1 and 4", got.Refused, got.Requests, got.LogRecords)
			}
		})
	}
}

func TestFaultConditions(t *testing.T) {
	for name, tc := range map[string]struct {
		fault Fault
		age   time.Duration
		want  int // of 1000
	}{
		"none":              {Fault{}, 0, 0},
		"all":               {Fault{Status: 503}, 0, 1000},
		"the first":         {Fault{Status: 503, First: 7}, 0, 7},
		"before the window": {Fault{Status: 503, From: time.Hour}, 0, 0},
		"in the window":     {Fault{Delay: 1, From: time.Hour, To: 3 * time.Hour}, 2 * time.Hour, 1000},
		"after the window":  {Fault{Refuse: true, To: time.Hour}, 2 * time.Hour, 0},
		"open window":       {Fault{Refuse: true, From: time.Hour}, 2 * time.Hour, 1000},
		"a share":           {Fault{Status: 503, Fraction: 0.5}, 0, 500},
	} {
		t.Run(name, func(t *testing.T) {
			f := faults{Fault: tc.fault, start: time.Now().Add(-tc.age)}
			got := 0
			for range 1000 {
				if f.hits() {
					got++
				}
			}
			if slack := 100 * min(tc.fault.Fraction*1000, 1); float64(max(got-tc.want, tc.want-got)) > slack {
				t.Errorf("%d of 1000 hit, want %d", got, tc.want)
			}
		})
	}
}

func TestRefusedConnections(t *testing.T) {
	s := start(t, Config{Fault: Fault{Refuse: true, First: 2}})
	for range 2 {
		resp, err := http.Post("http://"+s.Addresses().HTTP+"/v1/logs", "application/x-protobuf", nil)
		if err == nil {
			resp.Body.Close()
			t.Fatal("a request got through")
		}
	}
	if code := post(t, s, "logs", "", logRequest(1)); code != http.StatusOK {
		t.Errorf("status %d afterwards", code)
	}
}

func TestStore(t *testing.T) {
	file := filepath.Join(t.TempDir(), "requests")
	s := start(t, Config{Store: file})
	for range 2 {
		post(t, s, "logs", "gzip", logRequest(1))
		post(t, s, "metrics", "", metricRequest())
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	one, err := proto.Marshal(logRequest(1))
	if err != nil {
		t.Fatal(err)
	}
	if want := append(one, one...); !bytes.Equal(got, want) {
		t.Errorf("store has %d bytes, want the two log requests, unpacked: %d", len(got), len(want))
	}
}

func TestMalformed(t *testing.T) {
	s := start(t, Config{})
	for _, body := range []string{"\x0a\x05x", "\x0a\x02\x12\x09", "\xff"} {
		resp, err := http.Post("http://"+s.Addresses().HTTP+"/v1/logs", "application/x-protobuf", bytes.NewReader([]byte(body)))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("body %q: status %d, want 400", body, resp.StatusCode)
		}
	}
	if got := s.Counters(); got.Malformed != 3 || got.Requests != 0 {
		t.Errorf("%d malformed, %d accepted, want 3 and 0", got.Malformed, got.Requests)
	}
}

// FuzzCount compares with the generated code: what that takes, count takes,
// with as many records.
func FuzzCount(f *testing.F) {
	for _, message := range []proto.Message{logRequest(1), logRequest(3), &collogs.ExportLogsServiceRequest{}} {
		seed, err := proto.Marshal(message)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, gotErr := count(Logs, data, nil)
		var message collogs.ExportLogsServiceRequest
		if proto.Unmarshal(data, &message) != nil {
			return // it looks deeper than count
		}
		if gotErr != nil {
			t.Fatalf("count: %v", gotErr)
		}
		records := int64(0)
		for _, r := range message.ResourceLogs {
			for _, s := range r.ScopeLogs {
				records += int64(len(s.LogRecords))
			}
		}
		if got.records != records {
			t.Fatalf("%d records, want %d", got.records, records)
		}
	})
}
