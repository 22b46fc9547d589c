package e2e

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	colmetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
)

func textAttr(key, value string) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: key, Value: text(value)}
}

// jaegerTags are attributes as Jaeger's API tells them.
type jaegerTags []struct {
	Key   string
	Value any
}

func (all jaegerTags) get(key string) string {
	for _, tag := range all {
		if tag.Key == key {
			return fmt.Sprint(tag.Value)
		}
	}
	return ""
}

// TestGatewayJaeger: spans that went through stint-cluster are found by Jaeger's API as they were.
func TestGatewayJaeger(t *testing.T) {
	if testing.Short() {
		t.Skip("needs bin/stint-cluster and bench/jaeger/jaeger: make test-gateway")
	}
	dir, in, query := t.TempDir(), freeAddress(t), freeAddress(t)
	config := filepath.Join(dir, "jaeger.yaml")
	writeFile(t, config, fmt.Sprintf(`
service:
  extensions: [jaeger_storage, jaeger_query]
  telemetry: {metrics: {level: none}, logs: {level: warn}}
  pipelines: {traces: {receivers: [otlp], exporters: [jaeger_storage_exporter]}}
extensions:
  jaeger_storage: {backends: {memory: {memory: {max_traces: 10000}}}}
  jaeger_query: {storage: {traces: memory}, http: {endpoint: "%s"}, grpc: {endpoint: "%s"}}
receivers: {otlp: {protocols: {grpc: {endpoint: "%s"}}}}
exporters: {jaeger_storage_exporter: {trace_storage: memory}}
`, query, freeAddress(t), in))
	jaeger := startProcess(t, "../jaeger/jaeger", "--config", config)
	awaitListening(t, jaeger, in, query)
	g := startGateway(t, fmt.Sprintf(`otlp/jaeger: {endpoint: "%s", tls: {insecure: true}}`, in), "traces: {sources: [otlp], exporters: [otlp/jaeger]}", "")

	const traces, each = 50, 4
	start := uint64(time.Now().Add(-time.Minute).UnixMicro()) * 1000 // it keeps microseconds
	for n := range traces {
		var spans []*tracepb.Span
		for i := range each {
			s := &tracepb.Span{
				TraceId: fmt.Appendf(nil, "trace-%010d", n), SpanId: fmt.Appendf(nil, "span%04d", i), Name: fmt.Sprintf("step %d", i), Kind: tracepb.Span_SPAN_KIND_CLIENT,
				StartTimeUnixNano: start + uint64(i)*1000, EndTimeUnixNano: start + uint64(n+i)*1000, Attributes: []*commonpb.KeyValue{textAttr("note", fmt.Sprintf("é %d/%d", n, i))},
				Events: []*tracepb.Span_Event{{TimeUnixNano: start, Name: "retry"}}, Status: &tracepb.Status{Code: tracepb.Status_STATUS_CODE_ERROR, Message: "no"},
			}
			if i > 0 {
				s.ParentSpanId = spans[i-1].SpanId
			}
			spans = append(spans, s)
		}
		sendOTLP(t, g.grpc, &coltrace.ExportTraceServiceRequest{ResourceSpans: []*tracepb.ResourceSpans{{
			Resource:   &resourcepb.Resource{Attributes: []*commonpb.KeyValue{textAttr("service.name", "shop"), textAttr("k8s.pod.name", "shop-1")}},
			ScopeSpans: []*tracepb.ScopeSpans{{Scope: &commonpb.InstrumentationScope{Name: "lib"}, Spans: spans}},
		}}})
	}
	type span struct {
		SpanID, OperationName string
		References            []struct{ RefType, SpanID string }
		StartTime, Duration   int64 // microseconds
		Tags                  jaegerTags
		Logs                  []struct{ Fields jaegerTags }
		ProcessID             string
	}
	for n := range traces {
		var answer struct {
			Data []struct {
				Spans     []span
				Processes map[string]struct {
					ServiceName string
					Tags        jaegerTags
				}
			}
		}
		id := hex.EncodeToString(fmt.Appendf(nil, "trace-%010d", n))
		waitFor(t, 20*time.Second, "a trace to be found", func() bool {
			getJSON(t, "http://"+query+"/api/traces/"+id, &answer)
			return len(answer.Data) == 1 && len(answer.Data[0].Spans) == each
		})
		if t.Failed() {
			return
		}
		byID := map[string]span{}
		for _, s := range answer.Data[0].Spans {
			byID[s.SpanID] = s
		}
		for i := range each {
			name := hex.EncodeToString(fmt.Appendf(nil, "span%04d", i))
			s, ok := byID[name]
			if !ok || s.OperationName != fmt.Sprintf("step %d", i) || s.StartTime != int64(start/1000)+int64(i) || s.Duration != int64(n) || len(s.Logs) != 1 || s.Logs[0].Fields.get("event") != "retry" ||
				s.Tags.get("note") != fmt.Sprintf("é %d/%d", n, i) || s.Tags.get("span.kind") != "client" || s.Tags.get("otel.status_description") != "no" || s.Tags.get("otel.scope.name") != "lib" {
				t.Fatalf("span %d of trace %d is %+v", i, n, s)
			}
			if i > 0 && (len(s.References) != 1 || s.References[0].RefType != "CHILD_OF" || s.References[0].SpanID != hex.EncodeToString(fmt.Appendf(nil, "span%04d", i-1))) {
				t.Errorf("span %d of trace %d refers to %+v", i, n, s.References)
			}
			if p := answer.Data[0].Processes[s.ProcessID]; p.ServiceName != "shop" || p.Tags.get("k8s.pod.name") != "shop-1" {
				t.Errorf("span %d of trace %d is of %+v", i, n, p)
			}
		}
	}
	g.process.stop(t)
}

// getJSON asks for a page; one that is not there leaves v alone.
func getJSON(t *testing.T, url string, v any) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		return
	}
	if err := json.NewDecoder(resp.Body).Decode(v); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, resp.Status, err)
	}
}

// TestGatewayPrometheus: points that went through stint-cluster have their values in Prometheus, which stands at its defaults.
func TestGatewayPrometheus(t *testing.T) {
	if testing.Short() {
		t.Skip("needs bin/stint-cluster and bench/prometheus/prometheus: make test-gateway")
	}
	p := startPrometheus(t, "--web.enable-otlp-receiver")
	g := startGateway(t, fmt.Sprintf(`otlphttp/prometheus: {metrics_endpoint: "%s/api/v1/otlp/v1/metrics"}`, p.url), "metrics: {sources: [otlp], exporters: [otlphttp/prometheus]}", "")
	const pods = 40
	now := uint64(time.Now().UnixNano())
	value := func(pod, k int) float64 { return float64(pod*100+k) + 0.125 }
	for pod := range pods {
		number := func(k int) []*metricspb.NumberDataPoint {
			return []*metricspb.NumberDataPoint{{StartTimeUnixNano: now - 1e9, TimeUnixNano: now, Value: &metricspb.NumberDataPoint_AsDouble{AsDouble: value(pod, k)}, Attributes: []*commonpb.KeyValue{textAttr("zone", "é")}}}
		}
		sum := value(pod, 3)
		sendOTLP(t, g.grpc, &colmetrics.ExportMetricsServiceRequest{ResourceMetrics: []*metricspb.ResourceMetrics{{
			Resource: &resourcepb.Resource{Attributes: []*commonpb.KeyValue{textAttr("service.name", "shop"), textAttr("service.instance.id", fmt.Sprint(pod)), textAttr("host.name", "node")}},
			ScopeMetrics: []*metricspb.ScopeMetrics{{Metrics: []*metricspb.Metric{
				{Name: "queue.length", Data: &metricspb.Metric_Gauge{Gauge: &metricspb.Gauge{DataPoints: number(1)}}},
				{Name: "requests", Data: &metricspb.Metric_Sum{Sum: &metricspb.Sum{DataPoints: number(2), IsMonotonic: true, AggregationTemporality: 2}}},
				{Name: "took", Unit: "s", Data: &metricspb.Metric_Histogram{Histogram: &metricspb.Histogram{AggregationTemporality: 2, DataPoints: []*metricspb.HistogramDataPoint{
					{StartTimeUnixNano: now - 1e9, TimeUnixNano: now, Count: 9, Sum: &sum, BucketCounts: []uint64{2, 3, 4}, ExplicitBounds: []float64{1, 2}},
				}}}},
			}}},
		}}})
	}
	for expr, want := range map[string]func(pod int) float64{
		"queue_length":                    func(pod int) float64 { return value(pod, 1) },
		"requests_total":                  func(pod int) float64 { return value(pod, 2) },
		"took_seconds_sum":                func(pod int) float64 { return value(pod, 3) },
		`took_seconds_bucket{le="2"}`:     func(int) float64 { return 5 },
		`took_seconds_bucket{le="+Inf"}`:  func(int) float64 { return 9 },
		`target_info{job="shop"}`:         func(int) float64 { return 1 },
		`count by (instance) ({job!=""})`: func(int) float64 { return 8 }, // those, 3 buckets and the count, and target_info
	} {
		var got []sample
		waitFor(t, 20*time.Second, expr, func() bool { got = p.query(t, expr); return len(got) >= pods })
		seen := map[int]bool{}
		for _, s := range got {
			pod, err := strconv.Atoi(s.labels["instance"])
			if err != nil || s.value != want(pod) || seen[pod] {
				t.Errorf("%s is %v", expr, s)
			}
			seen[pod] = true
		}
		if len(got) != pods {
			t.Errorf("%s has %d series, want %d", expr, len(got), pods)
		}
	}
	g.process.stop(t)
}

// TestGatewayVictoriaLogs: records that went through stint-cluster are found in VictoriaLogs, by OTLP and by _bulk.
func TestGatewayVictoriaLogs(t *testing.T) {
	if testing.Short() {
		t.Skip("needs bin/stint-cluster and bench/victorialogs/victoria-logs: make test-gateway")
	}
	address := freeAddress(t)
	server := startProcess(t, "../victorialogs/victoria-logs", "-storageDataPath="+t.TempDir(), "-httpListenAddr="+address, "-retentionPeriod=1d", "-loggerLevel=WARN")
	awaitListening(t, server, address)
	g := startGateway(t, fmt.Sprintf(`otlphttp: {logs_endpoint: "http://%[1]s/insert/opentelemetry/v1/logs?extra_fields=by=otlp"}, elasticsearch: {endpoint: "http://%[1]s/insert/elasticsearch?_time_field=@timestamp&_msg_field=body.text&extra_fields=by=bulk"}`, address),
		"logs: {sources: [otlp], exporters: [otlphttp, elasticsearch]}", "")
	const each = 2000
	begin := time.Now().Add(-time.Hour).Truncate(time.Second)
	line := func(n int) string { return fmt.Sprintf("line %d \"é\"\t{}", n) }
	for from := 0; from < each; from += 100 {
		s := &logspb.ScopeLogs{}
		for n := from; n < from+100; n++ {
			s.LogRecords = append(s.LogRecords, &logspb.LogRecord{TimeUnixNano: uint64(begin.UnixNano() + int64(n)), SeverityNumber: 13, SeverityText: "WARN", Body: text(line(n)), Attributes: []*commonpb.KeyValue{textAttr("number", fmt.Sprint(n))}})
		}
		sendOTLP(t, g.grpc, &collogs.ExportLogsServiceRequest{ResourceLogs: []*logspb.ResourceLogs{{Resource: &resourcepb.Resource{Attributes: []*commonpb.KeyValue{textAttr("k8s.pod.name", "orders-1")}}, ScopeLogs: []*logspb.ScopeLogs{s}}}})
	}
	for by, names := range map[string][3]string{"otlp": {"number", "k8s.pod.name", "severity_text"}, "bulk": {"attributes.number", "resource.attributes.k8s.pod.name", "severity_text"}} {
		var lines map[string]map[string]string
		waitFor(t, 20*time.Second, "the records to be found", func() bool {
			lines = search(t, address, "by:="+by)
			return len(lines) >= each
		})
		if len(lines) != each {
			t.Errorf("%s: %d lines", by, len(lines))
		}
		for n := range each {
			l := lines[line(n)]
			at, err := time.Parse(time.RFC3339Nano, l["_time"])
			if err != nil || !at.Equal(begin.Add(time.Duration(n))) || l[names[0]] != fmt.Sprint(n) || l[names[1]] != "orders-1" || l[names[2]] != "WARN" {
				t.Fatalf("%s: line %d is %v", by, n, l)
			}
		}
	}
	g.process.stop(t)
}
