package otlp

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	colmetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
)

// The generators below make the same random telemetry twice: as stint's types and as the
// official messages.

var alphabet = []rune("abc äöü€😀\x00\n\"")

func randString(r *rand.Rand, max int) string {
	b := make([]rune, r.IntN(max+1))
	for i := range b {
		b[i] = alphabet[r.IntN(len(alphabet))]
	}
	return string(b)
}

func randBytes(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func randValue(r *rand.Rand, depth int) (Value, *commonpb.AnyValue) {
	kind := Kind(r.IntN(int(KindMap) + 1))
	if depth == 0 && (kind == KindArray || kind == KindMap) {
		kind = KindString
	}
	switch kind {
	case KindString:
		s := randString(r, 300)
		return String(s), &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: s}}
	case KindBool:
		b := r.IntN(2) == 1
		return Bool(b), &commonpb.AnyValue{Value: &commonpb.AnyValue_BoolValue{BoolValue: b}}
	case KindInt:
		i := int64(r.Uint64()) >> r.IntN(64)
		return Int(i), &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: i}}
	case KindDouble:
		f := r.NormFloat64() * math.Pow(10, float64(r.IntN(600)-300))
		return Double(f), &commonpb.AnyValue{Value: &commonpb.AnyValue_DoubleValue{DoubleValue: f}}
	case KindBytes:
		b := randBytes(r, r.IntN(200))
		return Bytes(b), &commonpb.AnyValue{Value: &commonpb.AnyValue_BytesValue{BytesValue: b}}
	case KindArray:
		list := &commonpb.ArrayValue{}
		var vs []Value
		for range r.IntN(4) {
			v, p := randValue(r, depth-1)
			vs, list.Values = append(vs, v), append(list.Values, p)
		}
		return Array(vs...), &commonpb.AnyValue{Value: &commonpb.AnyValue_ArrayValue{ArrayValue: list}}
	case KindMap:
		kvs, ps := randAttrs(r, depth-1)
		return Map(kvs...), &commonpb.AnyValue{Value: &commonpb.AnyValue_KvlistValue{KvlistValue: &commonpb.KeyValueList{Values: ps}}}
	}
	return Value{}, &commonpb.AnyValue{}
}

func randAttrs(r *rand.Rand, depth int) (kvs []KeyValue, ps []*commonpb.KeyValue) {
	for range r.IntN(4) {
		k := randString(r, 20)
		v, p := randValue(r, depth)
		kvs, ps = append(kvs, KeyValue{k, v}), append(ps, &commonpb.KeyValue{Key: k, Value: p})
	}
	return kvs, ps
}

func randGroup(r *rand.Rand) (*Group, *resourcepb.Resource, *commonpb.InstrumentationScope, string) {
	kvs, ps := randAttrs(r, 2)
	schema, name, version := "", randString(r, 20), randString(r, 5)
	if r.IntN(2) == 0 {
		schema = SchemaURL
	}
	return NewGroup(kvs, schema, name, version), &resourcepb.Resource{Attributes: ps},
		&commonpb.InstrumentationScope{Name: name, Version: version}, schema
}

func randLog(r *rand.Rand) (*LogRecord, *logspb.LogRecord) {
	l := &LogRecord{Time: r.Uint64() >> r.IntN(64), Observed: r.Uint64(), Body: []byte(randString(r, 1<<r.IntN(12)))}
	kvs, ps := randAttrs(r, 3)
	l.Attrs = AppendAttrs(nil, AttrsOfLogRecord, kvs)
	if r.IntN(2) == 0 {
		l.Severity, l.SeverityText = r.IntN(25), randString(r, 8)
	}
	if r.IntN(2) == 0 {
		l.TraceID, l.SpanID, l.Flags = randBytes(r, 16), randBytes(r, 8), r.Uint32()
	}
	if r.IntN(4) == 0 {
		l.EventName = randString(r, 200)
	}
	return l, &logspb.LogRecord{
		TimeUnixNano: l.Time, ObservedTimeUnixNano: l.Observed, SeverityNumber: logspb.SeverityNumber(l.Severity), SeverityText: l.SeverityText,
		Body:       &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: string(l.Body)}},
		Attributes: ps, TraceId: l.TraceID, SpanId: l.SpanID, Flags: l.Flags, EventName: l.EventName,
	}
}

// TestLogsDecodeAsOfficial encodes with ours, decodes with the official messages, compares; and
// appends one request to the other.
func TestLogsDecodeAsOfficial(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		var request []byte
		want := &collogs.ExportLogsServiceRequest{}
		total := 0
		for range r.IntN(4) {
			g, res, scope, schema := randGroup(r)
			sl := &logspb.ScopeLogs{Scope: scope, SchemaUrl: schema}
			var records []byte
			for range r.IntN(5) {
				l, p := randLog(r)
				before := len(records)
				records = AppendLogRecord(records, l)
				if l.SeverityText == "" && l.TraceID == nil && l.EventName == "" && len(records)-before > LogRecordLen(len(l.Body), len(l.Attrs)) {
					t.Fatalf("LogRecordLen(%d, %d) = %d, but the record takes %d", len(l.Body), len(l.Attrs), LogRecordLen(len(l.Body), len(l.Attrs)), len(records)-before)
				}
				sl.LogRecords = append(sl.LogRecords, p)
				total++
			}
			before := len(request)
			request = g.AppendFrame(request, len(records))
			if got := len(request) - before; got != g.FrameLen(len(records)) {
				t.Fatalf("FrameLen = %d, AppendFrame wrote %d", g.FrameLen(len(records)), got)
			}
			request = append(request, records...)
			want.ResourceLogs = append(want.ResourceLogs, &logspb.ResourceLogs{Resource: res, ScopeLogs: []*logspb.ScopeLogs{sl}, SchemaUrl: schema})
		}
		var got collogs.ExportLogsServiceRequest
		if err := proto.Unmarshal(request, &got); err != nil {
			t.Fatal(err)
		}
		mustEqual(t, want, &got)
		if n, err := Count(Logs, request); err != nil || n != total {
			t.Fatalf("Count = %d, %v, want %d", n, err, total)
		}
		i := 0
		if err := LogBodies(request, func(b []byte) { i++ }); err != nil || i != total {
			t.Fatalf("LogBodies gave %d of %d, %v", i, total, err)
		}
	}
}

// mustEqual shows the difference only where there is one: making it takes long.
func mustEqual(t *testing.T, want, got proto.Message) {
	t.Helper()
	if !proto.Equal(want, got) {
		t.Fatalf("-want +got\n%s", cmp.Diff(want, got, protocmp.Transform()))
	}
}

func randMetric(r *rand.Rand) *Metric {
	return &Metric{
		Name: randString(r, 30), Description: randString(r, 200), Unit: randString(r, 3),
		Instrument: Instrument(r.IntN(4)), Double: r.IntN(2) == 0,
	}
}

// official is m with number points as the official message.
func official(m *Metric, points []*metricspb.NumberDataPoint) *metricspb.Metric {
	p := &metricspb.Metric{Name: m.Name, Description: m.Description, Unit: m.Unit}
	if m.Instrument == Gauge {
		p.Data = &metricspb.Metric_Gauge{Gauge: &metricspb.Gauge{DataPoints: points}}
		return p
	}
	s := &metricspb.Sum{DataPoints: points, IsMonotonic: m.Instrument != UpDown, AggregationTemporality: metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE}
	if m.Instrument == DeltaCount {
		s.AggregationTemporality = metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_DELTA
	}
	p.Data = &metricspb.Metric_Sum{Sum: s}
	return p
}

func randPoint(r *rand.Rand, double bool) (NumberPoint, *metricspb.NumberDataPoint) {
	kvs, ps := randAttrs(r, 1)
	n := NumberPoint{Attrs: AppendAttrs(nil, AttrsOfPoint, kvs), Time: r.Uint64(), Int: int64(r.Uint64()), Double: r.NormFloat64()}
	if r.IntN(2) == 0 {
		n.Start = r.Uint64() | 1
	}
	p := &metricspb.NumberDataPoint{Attributes: ps, StartTimeUnixNano: n.Start, TimeUnixNano: n.Time}
	if double {
		p.Value = &metricspb.NumberDataPoint_AsDouble{AsDouble: n.Double}
	} else {
		p.Value = &metricspb.NumberDataPoint_AsInt{AsInt: n.Int}
	}
	return n, p
}

func decodeMetrics(t *testing.T, data []byte) []*metricspb.Metric {
	t.Helper()
	g := NewGroup(nil, "", "", "")
	var req colmetrics.ExportMetricsServiceRequest
	if err := proto.Unmarshal(append(g.AppendFrame(nil, len(data)), data...), &req); err != nil {
		t.Fatal(err)
	}
	return req.ResourceMetrics[0].ScopeMetrics[0].Metrics
}

func TestMetricsDecodeAsOfficial(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		var data []byte
		var want []*metricspb.Metric
		total := 0
		for range 1 + r.IntN(5) {
			m := randMetric(r)
			switch r.IntN(4) {
			case 0: // histogram
				kvs, ps := randAttrs(r, 1)
				h := HistogramPoint{Attrs: AppendAttrs(nil, AttrsOfHistogram, kvs), Start: 1, Time: 2, Count: r.Uint64(), Sum: r.NormFloat64()}
				for i := range r.IntN(30) {
					h.Bounds, h.Buckets = append(h.Bounds, float64(i)), append(h.Buckets, r.Uint64())
				}
				h.Buckets = append(h.Buckets, r.Uint64())
				data = AppendHistogram(data, m, []HistogramPoint{h})
				want = append(want, &metricspb.Metric{Name: m.Name, Description: m.Description, Unit: m.Unit, Data: &metricspb.Metric_Histogram{Histogram: &metricspb.Histogram{
					AggregationTemporality: metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE,
					DataPoints: []*metricspb.HistogramDataPoint{{
						Attributes: ps, StartTimeUnixNano: 1, TimeUnixNano: 2, Count: h.Count, Sum: &h.Sum, ExplicitBounds: h.Bounds, BucketCounts: h.Buckets,
					}},
				}}})
				total++
			case 1: // summary
				kvs, ps := randAttrs(r, 1)
				s := SummaryPoint{Attrs: AppendAttrs(nil, AttrsOfPoint, kvs), Start: 1, Time: 2, Count: r.Uint64(), Sum: r.NormFloat64()}
				p := &metricspb.SummaryDataPoint{Attributes: ps, StartTimeUnixNano: 1, TimeUnixNano: 2, Count: s.Count, Sum: s.Sum}
				for range r.IntN(5) {
					q := Quantile{r.Float64(), r.NormFloat64()}
					s.Quantiles = append(s.Quantiles, q)
					p.QuantileValues = append(p.QuantileValues, &metricspb.SummaryDataPoint_ValueAtQuantile{Quantile: q.Quantile, Value: q.Value})
				}
				data = AppendSummary(data, m, []SummaryPoint{s})
				want = append(want, &metricspb.Metric{Name: m.Name, Description: m.Description, Unit: m.Unit, Data: &metricspb.Metric_Summary{Summary: &metricspb.Summary{DataPoints: []*metricspb.SummaryDataPoint{p}}}})
				total++
			default:
				var points []NumberPoint
				var ps []*metricspb.NumberDataPoint
				for range 1 + r.IntN(40) {
					n, p := randPoint(r, m.Double)
					points, ps = append(points, n), append(ps, p)
				}
				data = AppendMetric(data, m, points)
				want = append(want, official(m, ps))
				total += len(points)
			}
		}
		mustEqual(t, &metricspb.ScopeMetrics{Metrics: want}, &metricspb.ScopeMetrics{Metrics: decodeMetrics(t, data)})
		g := NewGroup(nil, "", "", "")
		if n, err := Count(Metrics, append(g.AppendFrame(nil, len(data)), data...)); err != nil || n != total {
			t.Fatalf("Count = %d, %v, want %d", n, err, total)
		}
	}
}

// TestSeriesPatches builds a set of series, patches every field in place, and compares with the
// official encoding of the patched values.
func TestSeriesPatches(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	var s Series
	for range 40 {
		s.Reset()
		var want []*metricspb.Metric
		var all []*metricspb.NumberDataPoint
		for range 1 + r.IntN(4) {
			m := randMetric(r)
			s.Metric(m)
			var ps []*metricspb.NumberDataPoint
			for range 1 + r.IntN(200) {
				n, p := randPoint(r, m.Double)
				if i := s.Add(n.Attrs, n.Start); i != len(all) {
					t.Fatalf("Add returned %d, want %d", i, len(all))
				}
				ps, all = append(ps, p), append(all, p)
			}
			want = append(want, official(m, ps))
		}
		s.Finish()
		for round := range 2 {
			now := r.Uint64()
			s.SetTime(now)
			for i, p := range all {
				p.TimeUnixNano = now
				if r.IntN(3) == 0 {
					p.TimeUnixNano = uint64(i)
					s.SetPointTime(i, uint64(i))
				}
				if p.StartTimeUnixNano != 0 {
					p.StartTimeUnixNano = uint64(round + 7)
					s.SetStart(i, uint64(round+7))
				}
				switch v := p.Value.(type) {
				case *metricspb.NumberDataPoint_AsInt:
					v.AsInt = int64(r.Uint64())
					s.SetInt(i, v.AsInt)
				case *metricspb.NumberDataPoint_AsDouble:
					v.AsDouble = r.NormFloat64()
					s.SetDouble(i, v.AsDouble)
				}
			}
			mustEqual(t, &metricspb.ScopeMetrics{Metrics: want}, &metricspb.ScopeMetrics{Metrics: decodeMetrics(t, s.Bytes())})
		}
		if s.Len() != len(all) {
			t.Fatalf("Len = %d, want %d", s.Len(), len(all))
		}
	}
}

func TestInvalidUTF8IsReplacedByteByByte(t *testing.T) {
	for in, want := range map[string]string{
		"plain":             "plain",
		"a\xffb":            "a\uFFFDb",
		"\xff\xfe":          "\uFFFD\uFFFD",
		"cut \xe2\x82":      "cut \uFFFD\uFFFD",   // two of three bytes of €
		"\xed\xa0\x80":      "\uFFFD\uFFFD\uFFFD", // a surrogate half
		"ok € \xc0\xaf end": "ok € \uFFFD\uFFFD end",
	} {
		if got := string(AppendValidUTF8(nil, []byte(in))); got != want {
			t.Errorf("AppendValidUTF8(%q) = %q, want %q", in, got, want)
		}
	}
	kv := AppendAttrs(nil, 1, []KeyValue{Attr("k\xff", "v\xff")})
	if !utf8.Valid(kv) {
		t.Errorf("an attribute with bad bytes was encoded as %q", kv)
	}
}

func TestCountRefuses(t *testing.T) {
	g := NewGroup([]KeyValue{Attr("a", "b")}, "", "s", "1")
	records := AppendLogRecord(nil, &LogRecord{Body: []byte("x")})
	good := append(g.AppendFrame(nil, len(records)), records...)
	for name, b := range map[string][]byte{
		"cut short":                   good[:len(good)-1],
		"field number 0":              {0x02, 0x00},
		"group":                       {0x0b, 0x0c},
		"resource_logs as a varint":   {0x08, 0x01},
		"length past the end":         {0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f},
		"varint of eleven bytes":      bytes.Repeat([]byte{0xff}, 11),
		"scope_logs as fixed64":       {0x0a, 0x09, 0x11, 1, 2, 3, 4, 5, 6, 7, 8},
		"tag only":                    {0x0a},
		"request in a longer message": append(append([]byte{0x0a}, byte(len(good)+1)), good...),
	} {
		if n, err := Count(Logs, b); err == nil {
			t.Errorf("%s: Count = %d, want an error", name, n)
		}
	}
	if n, err := Count(Logs, nil); n != 0 || err != nil {
		t.Errorf("empty request: Count = %d, %v, want 0", n, err)
	}
}

func TestCutKeepsRecordsWhole(t *testing.T) {
	var data []byte
	var ends []int
	for i := range 10 {
		data = AppendLogRecord(data, &LogRecord{Body: []byte(strings.Repeat("x", i*50))})
		ends = append(ends, len(data))
	}
	for n := range 15 {
		off, got, err := Cut(Logs, data, n)
		want := min(max(n, 1), 10)
		if err != nil || got != want || off != ends[want-1] {
			t.Errorf("Cut(%d) = %d, %d, %v, want %d, %d", n, off, got, err, ends[want-1], want)
		}
	}
	a := AppendMetric(nil, &Metric{Name: "a"}, make([]NumberPoint, 3))
	ab := AppendMetric(a, &Metric{Name: "b"}, make([]NumberPoint, 4))
	if off, n, err := Cut(Metrics, ab, 1); off != len(a) || n != 3 || err != nil {
		t.Errorf("Cut(metrics, 1) = %d, %d, %v, want %d, 3", off, n, err, len(a))
	}
}

func TestPartialSuccess(t *testing.T) {
	official, err := proto.Marshal(&collogs.ExportLogsServiceResponse{PartialSuccess: &collogs.ExportLogsPartialSuccess{RejectedLogRecords: 3, ErrorMessage: "no"}})
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"official": official, "ours": AppendPartialSuccess(nil, 3, "no")} {
		if n, msg, err := PartialSuccess(b); n != 3 || msg != "no" || err != nil {
			t.Errorf("%s: PartialSuccess = %d, %q, %v", name, n, msg, err)
		}
	}
	if n, _, err := PartialSuccess(nil); n != 0 || err != nil {
		t.Errorf("empty response: %d, %v", n, err)
	}
	if _, _, err := PartialSuccess([]byte("<html>")); err == nil {
		t.Error("a page passed for a response")
	}
}

func TestHotPathsDoNotAllocate(t *testing.T) {
	buf := make([]byte, 0, 4096)
	rec := LogRecord{Time: 1, Observed: 2, Body: bytes.Repeat([]byte("x"), 500), Attrs: AppendAttrs(nil, AttrsOfLogRecord, []KeyValue{Attr("log.iostream", "stdout")})}
	var s Series
	s.Metric(&Metric{Name: "m"})
	s.Add(nil, 1)
	s.Finish()
	g := NewGroup([]KeyValue{Attr("a", "b")}, SchemaURL, "s", "1")
	request := g.AppendFrame(nil, len(AppendLogRecord(buf, &rec)))
	request = append(request, AppendLogRecord(buf, &rec)...)
	for name, f := range map[string]func(){
		"AppendLogRecord": func() { AppendLogRecord(buf[:0], &rec) },
		"AppendFrame":     func() { g.AppendFrame(buf[:0], 100) },
		"Series":          func() { s.SetTime(3); s.SetInt(0, 4) },
		"Count":           func() { Count(Logs, request) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

// FuzzCount: what the official decoder accepts, Count accepts with the same number of records;
// what Count accepts is framed well enough that Cut and LogBodies accept it too.
func FuzzCount(f *testing.F) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 20 {
		g, _, _, _ := randGroup(r)
		l, _ := randLog(r)
		data := AppendLogRecord(nil, l)
		f.Add(append(g.AppendFrame(nil, len(data)), data...))
		m := AppendMetric(nil, randMetric(r), make([]NumberPoint, r.IntN(5)))
		f.Add(append(g.AppendFrame(nil, len(m)), m...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		logs, metrics, traces := &collogs.ExportLogsServiceRequest{}, &colmetrics.ExportMetricsServiceRequest{}, &coltrace.ExportTraceServiceRequest{}
		for s, m := range [Signals]proto.Message{logs, metrics, traces} {
			n, err := Count(Signal(s), b)
			if err == nil && Signal(s) == Logs {
				_ = LogBodies(b, func([]byte) {})
			}
			if hasGroups(b) || proto.Unmarshal(b, m) != nil {
				continue
			}
			want := 0
			switch m := m.(type) {
			case *collogs.ExportLogsServiceRequest:
				for _, x := range m.ResourceLogs {
					for _, y := range x.ScopeLogs {
						want += len(y.LogRecords)
					}
				}
			case *colmetrics.ExportMetricsServiceRequest:
				continue // several data fields in one metric: the last one wins there, all count here
			case *coltrace.ExportTraceServiceRequest:
				for _, x := range m.ResourceSpans {
					for _, y := range x.ScopeSpans {
						want += len(y.Spans)
					}
				}
			}
			if err == nil && n != want {
				t.Errorf("%v: Count = %d, official %d", Signal(s), n, want)
			}
		}
	})
}

// hasGroups says whether the top level holds a deprecated group, which only the official
// decoder accepts as an unknown field.
func hasGroups(b []byte) bool {
	for len(b) > 0 {
		_, rest, err := nextField(b)
		if err != nil {
			return true
		}
		b = rest
	}
	return false
}

func BenchmarkAppendLogRecord(b *testing.B) {
	for _, size := range []int{150, 500, 4096} {
		b.Run(fmt.Sprintf("body=%d", size), func(b *testing.B) {
			buf := make([]byte, 0, 8192)
			rec := LogRecord{Time: 1, Observed: 2, Body: bytes.Repeat([]byte("x"), size), Attrs: AppendAttrs(nil, AttrsOfLogRecord, []KeyValue{Attr("log.iostream", "stdout")})}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				buf = AppendLogRecord(buf[:0], &rec)
			}
		})
	}
}

func BenchmarkCount(b *testing.B) {
	rec := LogRecord{Time: 1, Observed: 2, Body: bytes.Repeat([]byte("x"), 200)}
	var data []byte
	for range 10_000 {
		data = AppendLogRecord(data, &rec)
	}
	g := NewGroup(nil, "", "", "")
	request := append(g.AppendFrame(nil, len(data)), data...)
	b.SetBytes(int64(len(request)))
	b.ReportAllocs()
	for b.Loop() {
		if n, err := Count(Logs, request); n != 10_000 || err != nil {
			b.Fatal(n, err)
		}
	}
}
