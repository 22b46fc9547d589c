package e2e

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/log"
	otelmetric "go.opentelemetry.io/otel/metric"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	colmetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
)

// gatewayProcess is a running stint-cluster that is a gateway only.
type gatewayProcess struct {
	grpc, http string
	process    *process
}

// startGateway starts one with those exporters and pipelines, and perhaps more settings of the gateway.
func startGateway(t *testing.T, exporters, pipelines, more string) *gatewayProcess {
	t.Helper()
	g := &gatewayProcess{grpc: freeAddress(t), http: freeAddress(t)}
	dir := t.TempDir()
	config := filepath.Join(dir, "cluster.yaml")
	writeFile(t, config, fmt.Sprintf(`
state_dir: %s
admin: {listen: ""}
health: {listen: ""}
gateway: {grpc: "%s", http: "%s"%s}
batch: {timeout: 100ms}
exporters: {%s}
pipelines: {%s}
`, filepath.Join(dir, "state"), g.grpc, g.http, more, exporters, pipelines))
	g.process = startProcess(t, "../../bin/stint-cluster", "--config", config)
	awaitListening(t, g.process, g.grpc, g.http)
	return g
}

func awaitListening(t *testing.T, p *process, addresses ...string) {
	t.Helper()
	for _, address := range addresses {
		waitFor(t, 30*time.Second, filepath.Base(p.cmd.Path)+" to listen", func() bool {
			p.mustRun(t)
			conn, err := net.Dial("tcp", address)
			if err != nil {
				return false
			}
			conn.Close()
			return true
		})
	}
}

// collectorFiles is a running Collector that keeps what it receives as protobuf.
type collectorFiles struct {
	grpc, http string
	files      map[string]func() proto.Message // the file of each signal, and what is in it
	read       map[string]int64                // how far each was read
}

func startCollectorFiles(t *testing.T) *collectorFiles {
	t.Helper()
	dir := t.TempDir()
	c := &collectorFiles{grpc: freeAddress(t), http: freeAddress(t), read: map[string]int64{}, files: map[string]func() proto.Message{
		filepath.Join(dir, "logs"):    func() proto.Message { return &collogs.ExportLogsServiceRequest{} },
		filepath.Join(dir, "metrics"): func() proto.Message { return &colmetrics.ExportMetricsServiceRequest{} },
		filepath.Join(dir, "traces"):  func() proto.Message { return &coltrace.ExportTraceServiceRequest{} },
	}}
	var exporters, pipelines string
	for file := range c.files {
		signal := filepath.Base(file)
		exporters += fmt.Sprintf("  file/%s: {path: %s, format: proto, flush_interval: 100ms}\n", signal, file)
		pipelines += fmt.Sprintf("    %s: {receivers: [otlp], exporters: [file/%s]}\n", signal, signal)
	}
	p := startOtelcol(t, dir, fmt.Sprintf(`
receivers:
  otlp: {protocols: {grpc: {endpoint: "%s", max_recv_msg_size_mib: 20}, http: {endpoint: "%s"}}}
exporters:
%sservice:
  telemetry: {metrics: {level: none}, logs: {level: warn}}
  pipelines:
%s`, c.grpc, c.http, exporters, pipelines))
	awaitListening(t, p, c.grpc, c.http)
	return c
}

func startOtelcol(t *testing.T, dir, text string) *process {
	t.Helper()
	config := filepath.Join(dir, "otelcol.yaml")
	writeFile(t, config, text)
	return startProcess(t, "../otelcol/otelcol", "--config", config)
}

// more are the messages that came since the last call: each stands behind its length.
func (c *collectorFiles) more(t *testing.T) (all []proto.Message) {
	t.Helper()
	for file, message := range c.files {
		b, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		for b = b[min(c.read[file], int64(len(b))):]; len(b) >= 4; {
			n := int(binary.BigEndian.Uint32(b))
			if len(b) < 4+n {
				break
			}
			m := message()
			if err := proto.Unmarshal(b[4:4+n], m); err != nil {
				t.Fatal(err)
			}
			all = append(all, m)
			b = b[4+n:]
			c.read[file] += int64(4 + n)
		}
	}
	return all
}

// wantRecords waits until as many records have come as are wanted, and compares them.
func (c *collectorFiles) wantRecords(t *testing.T, want map[string]int) {
	t.Helper()
	total := func(m map[string]int) (n int) {
		for _, x := range m {
			n += x
		}
		return n
	}
	if total(want) == 0 {
		t.Error("nothing went in")
	}
	got := map[string]int{}
	waitFor(t, 20*time.Second, "what went in to come out", func() bool {
		for key, n := range records(t, c.more(t)...) {
			got[key] += n
		}
		return total(got) >= total(want)
	})
	if maps.Equal(got, want) {
		return
	}
	shown := 0
	for key, n := range want {
		if got[key] != n && shown < 3 {
			t.Errorf("%d times instead of %d: %.2000q", got[key], n, key)
			shown++
		}
	}
	for key, n := range got {
		if want[key] == 0 && shown < 6 {
			t.Errorf("%d times instead of 0: %.2000q", n, key)
			shown++
		}
	}
	t.Errorf("%d records went in, %d came out", total(want), total(got))
}

// TestGatewayEqual: what real clients send to stint-cluster is what real Collectors behind it have, record by record:
// one that is sent to by gRPC and one by HTTP.
func TestGatewayEqual(t *testing.T) {
	if testing.Short() {
		t.Skip("needs bin/stint-cluster and peers: make test-gateway")
	}
	destinations := map[string]*collectorFiles{"otlp": startCollectorFiles(t), "otlphttp": startCollectorFiles(t)}
	g := startGateway(t, fmt.Sprintf(`otlp: {endpoint: "%s", tls: {insecure: true}}, otlphttp: {endpoint: "http://%s", compression: none}`, destinations["otlp"].grpc, destinations["otlphttp"].http),
		"logs: {sources: [otlp], exporters: [otlp, otlphttp]}, metrics: {sources: [otlp], exporters: [otlp, otlphttp]}, traces: {sources: [otlp], exporters: [otlp, otlphttp]}", "")
	compare := func(t *testing.T, want map[string]int) {
		t.Helper()
		t.Logf("%d different records", len(want))
		for _, c := range destinations {
			c.wantRecords(t, want)
		}
	}
	for _, protocol := range []string{"grpc", "http"} {
		to := map[string]string{"grpc": g.grpc, "http": g.http}[protocol]
		for _, compression := range []string{"none", "gzip"} {
			t.Run(fmt.Sprintf("sdk/%s/%s", protocol, compression), func(t *testing.T) {
				p := newTap(t, to)
				sdkClient(t, protocol, compression, p.address())
				compare(t, records(t, p.requests(t)...))
			})
		}
		for _, signal := range []string{"logs", "metrics", "traces"} {
			t.Run(fmt.Sprintf("telemetrygen/%s/%s", protocol, signal), func(t *testing.T) {
				p := newTap(t, to)
				args := []string{signal, "--otlp-endpoint", p.address(), "--otlp-insecure", "--" + signal, "500", "--workers", "2", "--rate", "0", "--otlp-attributes", `k8s.pod.name="gen"`}
				if protocol == "http" {
					args = append(args, "--otlp-http")
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if out, err := exec.CommandContext(ctx, "../telemetrygen/telemetrygen", args...).CombinedOutput(); err != nil {
					t.Fatalf("telemetrygen: %v: %s", err, out)
				}
				compare(t, records(t, p.requests(t)...))
			})
		}
	}
	for name, exporter := range map[string]string{
		"otlp/none":     `otlp: {endpoint: "%[1]s", compression: none, tls: {insecure: true}}`,
		"otlp/gzip":     `otlp: {endpoint: "%[1]s", compression: gzip, tls: {insecure: true}}`,
		"otlp/zstd":     `otlp: {endpoint: "%[1]s", compression: zstd, tls: {insecure: true}}`,
		"otlp/snappy":   `otlp: {endpoint: "%[1]s", compression: snappy, tls: {insecure: true}}`,
		"otlphttp/none": `otlphttp: {endpoint: "http://%[2]s", compression: none}`,
		"otlphttp/gzip": `otlphttp: {endpoint: "http://%[2]s", compression: gzip}`,
		"otlphttp/json": `otlphttp: {endpoint: "http://%[2]s", compression: none, encoding: json}`,
	} {
		t.Run("otelcol/"+name, func(t *testing.T) {
			in, dir := freeAddress(t), t.TempDir()
			kind, _, _ := strings.Cut(name, "/")
			p := startOtelcol(t, dir, fmt.Sprintf(`
receivers:
  otlp: {protocols: {grpc: {endpoint: "%s"}}}
exporters:
  %s
service:
  telemetry: {metrics: {level: none}, logs: {level: warn}}
  pipelines:
    logs: {receivers: [otlp], exporters: [%[3]s]}
    metrics: {receivers: [otlp], exporters: [%[3]s]}
    traces: {receivers: [otlp], exporters: [%[3]s]}
`, in, fmt.Sprintf(exporter, g.grpc, g.http), kind))
			awaitListening(t, p, in)
			all := everything(name)
			sendOTLP(t, in, all...)
			compare(t, records(t, all...))
		})
	}
	g.process.stop(t)
}

// sendOTLP sends messages by gRPC.
func sendOTLP(t *testing.T, to string, messages ...proto.Message) {
	t.Helper()
	c, err := grpc.NewClient(to, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, m := range messages {
		switch m := m.(type) {
		case *collogs.ExportLogsServiceRequest:
			_, err = collogs.NewLogsServiceClient(c).Export(t.Context(), m)
		case *colmetrics.ExportMetricsServiceRequest:
			_, err = colmetrics.NewMetricsServiceClient(c).Export(t.Context(), m)
		case *coltrace.ExportTraceServiceRequest:
			_, err = coltrace.NewTraceServiceClient(c).Export(t.Context(), m)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// sdkClient uses the OpenTelemetry Go SDK as a program does, with batches and the defaults of its exporters.
func sdkClient(t *testing.T, protocol, compression, to string) {
	t.Helper()
	ctx := t.Context()
	var traces sdktrace.SpanExporter
	var metrics sdkmetric.Exporter
	var logs sdklog.Exporter
	var errs [3]error
	if protocol == "grpc" {
		tc, mc, lc := []otlptracegrpc.Option{otlptracegrpc.WithEndpoint(to), otlptracegrpc.WithInsecure()}, []otlpmetricgrpc.Option{otlpmetricgrpc.WithEndpoint(to), otlpmetricgrpc.WithInsecure()}, []otlploggrpc.Option{otlploggrpc.WithEndpoint(to), otlploggrpc.WithInsecure()}
		if compression == "gzip" {
			tc, mc, lc = append(tc, otlptracegrpc.WithCompressor("gzip")), append(mc, otlpmetricgrpc.WithCompressor("gzip")), append(lc, otlploggrpc.WithCompressor("gzip"))
		}
		traces, errs[0] = otlptracegrpc.New(ctx, tc...)
		metrics, errs[1] = otlpmetricgrpc.New(ctx, mc...)
		logs, errs[2] = otlploggrpc.New(ctx, lc...)
	} else {
		tc, mc, lc := []otlptracehttp.Option{otlptracehttp.WithEndpoint(to), otlptracehttp.WithInsecure()}, []otlpmetrichttp.Option{otlpmetrichttp.WithEndpoint(to), otlpmetrichttp.WithInsecure()}, []otlploghttp.Option{otlploghttp.WithEndpoint(to), otlploghttp.WithInsecure()}
		if compression == "gzip" {
			tc, mc, lc = append(tc, otlptracehttp.WithCompression(otlptracehttp.GzipCompression)), append(mc, otlpmetrichttp.WithCompression(otlpmetrichttp.GzipCompression)), append(lc, otlploghttp.WithCompression(otlploghttp.GzipCompression))
		}
		traces, errs[0] = otlptracehttp.New(ctx, tc...)
		metrics, errs[1] = otlpmetrichttp.New(ctx, mc...)
		logs, errs[2] = otlploghttp.New(ctx, lc...)
	}
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	res := resource.NewSchemaless(attribute.String("service.name", "shop"), attribute.StringSlice("tags", []string{"a", "é"}))
	tp := sdktrace.NewTracerProvider(sdktrace.WithBatcher(traces), sdktrace.WithResource(res))
	mp := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewPeriodicReader(metrics, sdkmetric.WithInterval(time.Hour))), sdkmetric.WithResource(res))
	lp := sdklog.NewLoggerProvider(sdklog.WithProcessor(sdklog.NewBatchProcessor(logs)), sdklog.WithResource(res))

	tracer, meter, logger := tp.Tracer("lib", trace.WithInstrumentationVersion("1.2")), mp.Meter("lib"), lp.Logger("lib")
	count, err1 := meter.Int64Counter("requests", otelmetric.WithUnit("{request}"), otelmetric.WithDescription("taken"))
	level, err2 := meter.Float64UpDownCounter("level")
	took, err3 := meter.Float64Histogram("took", otelmetric.WithUnit("s"))
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		ctx, span := tracer.Start(ctx, fmt.Sprintf("GET /%d", i), trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(attribute.Int("n", i), attribute.Bool("b", true), attribute.Float64Slice("f", []float64{0.5, -1})))
		_, child := tracer.Start(ctx, "SELECT", trace.WithLinks(trace.LinkFromContext(ctx, attribute.String("why", "test"))))
		child.AddEvent("row", trace.WithAttributes(attribute.Int("row", i)))
		child.SetStatus(codes.Error, "no such row")
		child.End()
		count.Add(ctx, 1, otelmetric.WithAttributes(attribute.Int("shard", i%7)))
		level.Add(ctx, 0.25*float64(i))
		took.Record(ctx, float64(i)/100)
		var r log.Record
		r.SetTimestamp(time.Unix(1700000000, int64(i)))
		r.SetSeverity(log.SeverityWarn)
		r.SetSeverityText("WARN")
		r.SetBody(attribute.MapValue(attribute.String("text", fmt.Sprintf("line %d", i)), attribute.Slice("list", attribute.IntValue(i), attribute.ByteSliceValue([]byte{0, 255}))))
		r.AddAttributes(attribute.Int("n", i), attribute.Bool("b", false))
		logger.Emit(ctx, r)
		span.End()
	}
	if err := errors.Join(tp.Shutdown(ctx), mp.Shutdown(ctx), lp.Shutdown(ctx)); err != nil {
		t.Fatal(err)
	}
}

func text(s string) *commonpb.AnyValue {
	return &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: s}}
}

// everything is a request of each signal that has whatever OTLP has, marked with a name.
func everything(name string) []proto.Message {
	values := []*commonpb.AnyValue{
		text("é\x00\u2028"), {Value: &commonpb.AnyValue_BoolValue{BoolValue: true}}, {Value: &commonpb.AnyValue_IntValue{IntValue: math.MinInt64}},
		{Value: &commonpb.AnyValue_DoubleValue{DoubleValue: math.Inf(-1)}}, {Value: &commonpb.AnyValue_DoubleValue{DoubleValue: 5e-324}}, {Value: &commonpb.AnyValue_BytesValue{BytesValue: []byte{0, 0xff, 7}}}, {},
	}
	values = append(values, &commonpb.AnyValue{Value: &commonpb.AnyValue_ArrayValue{ArrayValue: &commonpb.ArrayValue{Values: values[:]}}})
	values = append(values, &commonpb.AnyValue{Value: &commonpb.AnyValue_KvlistValue{KvlistValue: &commonpb.KeyValueList{Values: []*commonpb.KeyValue{{Key: "a.b", Value: values[7]}}}}})
	var attrs []*commonpb.KeyValue
	for i, v := range values {
		attrs = append(attrs, &commonpb.KeyValue{Key: fmt.Sprintf("k%d", i), Value: v})
	}
	res := &resourcepb.Resource{Attributes: append([]*commonpb.KeyValue{{Key: "test", Value: text(name)}}, attrs...), DroppedAttributesCount: 3}
	scope := &commonpb.InstrumentationScope{Name: "lib", Version: "1", Attributes: attrs[:2], DroppedAttributesCount: 1}
	traceID, spanID := []byte("0123456789abcdef"), []byte("\x00\xff345678")

	logs := &logspb.ScopeLogs{Scope: scope, SchemaUrl: "https://scope"}
	spans := &tracepb.ScopeSpans{Scope: scope, SchemaUrl: "https://scope"}
	for i := range uint64(100) {
		logs.LogRecords = append(logs.LogRecords, &logspb.LogRecord{
			TimeUnixNano: math.MaxUint64 - i, ObservedTimeUnixNano: i, SeverityNumber: logspb.SeverityNumber(i % 25), SeverityText: "warn", Body: values[i%uint64(len(values))],
			Attributes: attrs, DroppedAttributesCount: 2, Flags: 0x1ff, TraceId: traceID, SpanId: spanID, EventName: "e",
		})
		spans.Spans = append(spans.Spans, &tracepb.Span{
			TraceId: traceID, SpanId: spanID, ParentSpanId: []byte("parent78"), TraceState: "a=b", Flags: 0x101, Name: fmt.Sprint(i), Kind: tracepb.Span_SpanKind(i % 6), StartTimeUnixNano: i, EndTimeUnixNano: i + 1,
			Attributes: attrs, DroppedAttributesCount: 1, DroppedEventsCount: 2, DroppedLinksCount: 3, Status: &tracepb.Status{Code: 2, Message: "m"},
			Events: []*tracepb.Span_Event{{TimeUnixNano: 5, Name: "e", Attributes: attrs, DroppedAttributesCount: 4}},
			Links:  []*tracepb.Span_Link{{TraceId: traceID, SpanId: spanID, TraceState: "c=d", Attributes: attrs, DroppedAttributesCount: 5, Flags: 7}},
		})
	}
	exemplar := []*metricspb.Exemplar{{TimeUnixNano: 3, FilteredAttributes: attrs, SpanId: spanID, TraceId: traceID, Value: &metricspb.Exemplar_AsInt{AsInt: -1}}}
	numbers := []*metricspb.NumberDataPoint{
		{TimeUnixNano: 1, StartTimeUnixNano: 1, Attributes: attrs, Value: &metricspb.NumberDataPoint_AsInt{AsInt: math.MaxInt64}, Exemplars: exemplar},
		{TimeUnixNano: 2, Value: &metricspb.NumberDataPoint_AsDouble{AsDouble: math.Inf(1)}, Flags: 1},
	}
	metrics := []*metricspb.Metric{
		{Name: "gauge", Data: &metricspb.Metric_Gauge{Gauge: &metricspb.Gauge{DataPoints: numbers}}, Metadata: attrs},
		{Name: "sum", Unit: "By", Description: "d", Data: &metricspb.Metric_Sum{Sum: &metricspb.Sum{DataPoints: numbers, IsMonotonic: true, AggregationTemporality: 1}}},
		{Name: "histogram", Data: &metricspb.Metric_Histogram{Histogram: &metricspb.Histogram{AggregationTemporality: 2, DataPoints: []*metricspb.HistogramDataPoint{
			{Attributes: attrs, Count: 3, Sum: proto.Float64(0.1), Min: proto.Float64(0), Max: proto.Float64(9), BucketCounts: []uint64{1, 2}, ExplicitBounds: []float64{5}, TimeUnixNano: 9, Exemplars: exemplar},
		}}}},
		{Name: "exponential", Data: &metricspb.Metric_ExponentialHistogram{ExponentialHistogram: &metricspb.ExponentialHistogram{AggregationTemporality: 2, DataPoints: []*metricspb.ExponentialHistogramDataPoint{
			{Count: 7, Sum: proto.Float64(-1), Scale: -3, ZeroCount: 1, ZeroThreshold: 0.5, Positive: &metricspb.ExponentialHistogramDataPoint_Buckets{Offset: -5, BucketCounts: []uint64{1, 0, 5}}, Negative: &metricspb.ExponentialHistogramDataPoint_Buckets{Offset: 2}, TimeUnixNano: 9},
		}}}},
		{Name: "summary", Data: &metricspb.Metric_Summary{Summary: &metricspb.Summary{DataPoints: []*metricspb.SummaryDataPoint{
			{Count: 7, Sum: 0.1, QuantileValues: []*metricspb.SummaryDataPoint_ValueAtQuantile{{Quantile: 0.99, Value: 4}}, TimeUnixNano: 9, Attributes: attrs},
		}}}},
	}
	return []proto.Message{
		&collogs.ExportLogsServiceRequest{ResourceLogs: []*logspb.ResourceLogs{{Resource: res, SchemaUrl: "https://resource", ScopeLogs: []*logspb.ScopeLogs{logs, {LogRecords: logs.LogRecords[:1]}}}}},
		&colmetrics.ExportMetricsServiceRequest{ResourceMetrics: []*metricspb.ResourceMetrics{{Resource: res, SchemaUrl: "https://resource", ScopeMetrics: []*metricspb.ScopeMetrics{{Scope: scope, SchemaUrl: "https://scope", Metrics: metrics}}}}},
		&coltrace.ExportTraceServiceRequest{ResourceSpans: []*tracepb.ResourceSpans{{Resource: res, SchemaUrl: "https://resource", ScopeSpans: []*tracepb.ScopeSpans{spans}}}},
	}
}
