package export

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"stint/export/otlp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// everything is a request of each signal that has every kind of field.
func everything(t testing.TB) []*request {
	const at = 1763833440123456789
	g := otlp.NewGroup([]otlp.KeyValue{
		otlp.Attr("k8s.pod.name", "orders-1"), {Key: "n", Value: otlp.Int(-7)}, {Key: "ok", Value: otlp.Bool(true)},
		{Key: "f", Value: otlp.Double(0.5)}, {Key: "b", Value: otlp.Bytes([]byte{0, 255})},
		{Key: "list", Value: otlp.Array(otlp.String("a b"), otlp.Int(2))}, {Key: "map", Value: otlp.Map(otlp.Attr("k", "v"))}, {Key: "none"},
		otlp.Attr("a key=\x1b[31m", "escape \x1b[31m and\nline"),
	}, otlp.SchemaURL, "stint/tail", "1")
	other := otlp.NewGroup(nil, "", "", "")
	piece := func(g *otlp.Group, data []byte, n int) piece { return piece{g, data, n} }

	logs := &request{signal: otlp.Logs}
	var b []byte
	b = otlp.AppendLogRecord(b, &otlp.LogRecord{Time: at, Observed: at + 1e9, Body: []byte("plain \"text\""), Severity: 9, SeverityText: "INFO",
		Attrs: otlp.AppendAttrs(nil, otlp.AttrsOfLogRecord, []otlp.KeyValue{otlp.Attr("log.iostream", "stderr")})})
	b = otlp.AppendLogRecord(b, &otlp.LogRecord{Observed: at, TraceID: bytes.Repeat([]byte{1}, 16), SpanID: bytes.Repeat([]byte{2}, 8), EventName: "an event"})
	logs.add(piece(g, b, 2))
	logs.add(piece(other, otlp.AppendLogRecord(nil, &otlp.LogRecord{Observed: at, Body: []byte("x")}), 1))

	metrics := &request{signal: otlp.Metrics}
	attrs := otlp.AppendAttrs(nil, otlp.AttrsOfPoint, []otlp.KeyValue{otlp.Attr("cpu", "0")})
	b = otlp.AppendMetric(nil, &otlp.Metric{Name: "system.memory.usage", Unit: "By", Instrument: otlp.UpDown}, []otlp.NumberPoint{{Time: at, Int: 42, Attrs: attrs}, {Time: at, Int: -1}})
	b = otlp.AppendMetric(b, &otlp.Metric{Name: "system.cpu.time", Unit: "s", Instrument: otlp.Counter, Double: true}, []otlp.NumberPoint{{Start: at - 1e9, Time: at, Double: 1.25}})
	b = otlp.AppendMetric(b, &otlp.Metric{Name: "load"}, []otlp.NumberPoint{{Time: at, Int: 1}})
	b = otlp.AppendHistogram(b, &otlp.Metric{Name: "latency", Unit: "s"}, []otlp.HistogramPoint{{Start: 1, Time: at, Count: 3, Sum: 1.5, Bounds: []float64{0.1, 1}, Buckets: []uint64{1, 1, 1}}})
	b = otlp.AppendSummary(b, &otlp.Metric{Name: "quantiles"}, []otlp.SummaryPoint{{Time: at, Count: 3, Sum: 1.5, Quantiles: []otlp.Quantile{{Quantile: 0.5, Value: 0.25}, {Quantile: 1, Value: 1}}}})
	exp, err := proto.Marshal(&metricspb.ScopeMetrics{Metrics: []*metricspb.Metric{{Name: "exponential", Data: &metricspb.Metric_ExponentialHistogram{
		ExponentialHistogram: &metricspb.ExponentialHistogram{DataPoints: []*metricspb.ExponentialHistogramDataPoint{{TimeUnixNano: at, Count: 2, Sum: proto.Float64(3), Scale: 1}}}}}}})
	if err != nil {
		t.Fatal(err)
	}
	metrics.add(piece(g, append(b, exp...), 7))

	traces := &request{signal: otlp.Traces}
	span, err := proto.Marshal(&tracepb.ScopeSpans{Spans: []*tracepb.Span{{Name: "GET /", TraceId: []byte{1}, SpanId: []byte{2}, ParentSpanId: []byte{3},
		StartTimeUnixNano: at, EndTimeUnixNano: at + 5e6, Attributes: []*commonpb.KeyValue{{Key: "http.route", Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: "/"}}}}}}})
	if err != nil {
		t.Fatal(err)
	}
	traces.add(piece(other, span, 1))
	return []*request{logs, metrics, traces}
}

func TestDebug(t *testing.T) {
	for _, verbosity := range []string{"basic", "normal", "detailed"} {
		t.Run(verbosity, func(t *testing.T) {
			var out bytes.Buffer
			d := newDebug(&Debug{Verbosity: verbosity}, &out)
			for _, r := range everything(t) {
				if v := d.send(t.Context(), r); !reflect.DeepEqual(v, Verdict{}) {
					t.Errorf("verdict %+v", v)
				}
			}
			d.close()
			file := filepath.Join("testdata", "debug_"+verbosity+".golden")
			if *update {
				if err := os.WriteFile(file, out.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), out.String()); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

// What is over the rate is left out and counted; time gives the budget back.
func TestDebugRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource(t)
		large := newRequest(otlp.Logs, []*otlp.Chunk{s.logs("a", 2000, 200)})
		var out bytes.Buffer
		d := newDebug(&Debug{Verbosity: "detailed"}, &out)
		for range 10 {
			d.send(t.Context(), large)
			synctest.Wait()
		}
		if n := out.Len(); n > debugBytes+1000 || n < debugBytes/2 {
			t.Errorf("%d bytes were written at once", n)
		}
		text := out.String()
		if n := strings.Count(text, "\ndebug: the rest of this batch is left out\n"); n != 1 {
			t.Errorf("%d batches say that they are not whole, want 1", n)
		}
		for _, l := range strings.Split(strings.TrimSpace(text), "\n") {
			if l = strings.TrimSpace(l); strings.HasPrefix(l, "log ") && !strings.HasSuffix(l, `"`) {
				t.Errorf("a line is cut: %q", l)
			}
		}
		out.Reset()
		time.Sleep(time.Second)
		d.send(t.Context(), large)
		synctest.Wait()
		if !strings.HasPrefix(out.String(), "debug: logs resources=1 records=2000 batches_left_out=9\n") {
			t.Errorf("after a second: %.100q", out.String())
		}
		d.close()
		d.send(t.Context(), &request{signal: otlp.Logs, pieces: []piece{{otlp.NewGroup(nil, "", "", ""), []byte{0xff}, 1}}, records: 1})
	})
}

// stuck is a terminal that was stopped.
type stuck struct {
	resume chan struct{}
	bytes  int
}

func (s *stuck) Write(b []byte) (int, error) {
	<-s.resume
	s.bytes += len(b)
	return len(b), nil
}

// A terminal that takes nothing holds up nobody: not a batch, not the end.
func TestDebugDoesNotBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &stuck{resume: make(chan struct{})}
		e, _ := newExporting(t, BatchDefaults(), Exporters{"debug": &Debug{Verbosity: "detailed"}}, silent)
		d := newDebug(&Debug{Verbosity: "detailed"}, w)
		e.outs["debug"].dest = d
		s := newSource(t)
		for range 20 {
			e.Input(otlp.Logs, "test")(s.logs("a", 2_000, 200))
		}
		e.CloseInput()
		start := time.Now()
		e.Run(t.Context())
		if took := time.Since(start); took > debugGrace {
			t.Errorf("Run took %v", took)
		}
		s.want(20, 0, 0)
		synctest.Wait()
		waiting := func() int {
			d.mu.Lock()
			defer d.mu.Unlock()
			return len(d.waiting)
		}
		if n := waiting(); n > 3*debugBytes {
			t.Errorf("%d bytes wait for the terminal", n)
		}
		close(w.resume)
		synctest.Wait()
		if n := waiting(); w.bytes == 0 || n != 0 {
			t.Errorf("%d bytes were written in the end, %d wait", w.bytes, n)
		}
	})
}
