package otlp

import (
	"math/rand/v2"
	"slices"
	"testing"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// act does the actions one after the other on a decoded list.
func act(kvs []*commonpb.KeyValue, actions []Action) []*commonpb.KeyValue {
	for _, a := range actions {
		var kv commonpb.KeyValue
		if err := proto.Unmarshal(AppendAttrs(nil, 1, []KeyValue{a.KeyValue})[2:], &kv); err != nil {
			panic(err)
		}
		is := func(kv *commonpb.KeyValue) bool { return kv.Key == a.Key }
		has := slices.ContainsFunc(kvs, is)
		switch {
		case a.Op == Delete:
			kvs = slices.DeleteFunc(slices.Clone(kvs), is)
		case has && a.Op != Insert:
			i := slices.IndexFunc(kvs, is)
			rest := slices.DeleteFunc(slices.Clone(kvs[i+1:]), is)
			kvs = append(append(slices.Clone(kvs[:i]), &kv), rest...)
		case !has && a.Op != Update:
			kvs = append(slices.Clone(kvs), &kv)
		}
	}
	return kvs
}

func randActions(r *rand.Rand) (actions []Action) {
	for range 1 + r.IntN(5) {
		actions = append(actions, Action{Op(r.IntN(4)), KeyValue{string(rune('a' + r.IntN(4))), Int(r.Int64N(1000))}})
	}
	return actions
}

func randKVs(r *rand.Rand) (kvs []*commonpb.KeyValue) {
	for range r.IntN(5) {
		kvs = append(kvs, &commonpb.KeyValue{Key: string(rune('a' + r.IntN(6))), Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: "v"}}})
	}
	return kvs
}

// sorted is kvs in the order of their keys: what is changed may stand elsewhere.
func sorted(kvs []*commonpb.KeyValue) []*commonpb.KeyValue {
	slices.SortStableFunc(kvs, func(a, b *commonpb.KeyValue) int {
		if a.Key != b.Key {
			return int(a.Key[0]) - int(b.Key[0])
		}
		return 0
	})
	return kvs
}

// Editing the bytes is as good as decoding, doing the actions one after the other, and encoding.
func TestEditor(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	for range 2000 {
		actions := randActions(r)
		e := NewEditor(actions)
		lists := [][]*commonpb.KeyValue{}
		kvs := func() []*commonpb.KeyValue {
			l := randKVs(r)
			lists = append(lists, l)
			return l
		}
		metric := func(data any) *metricspb.Metric {
			switch d := data.(type) {
			case *metricspb.Gauge:
				return &metricspb.Metric{Name: "g", Data: &metricspb.Metric_Gauge{Gauge: d}}
			case *metricspb.Sum:
				return &metricspb.Metric{Name: "s", Data: &metricspb.Metric_Sum{Sum: d}}
			case *metricspb.Histogram:
				return &metricspb.Metric{Name: "h", Data: &metricspb.Metric_Histogram{Histogram: d}}
			case *metricspb.ExponentialHistogram:
				return &metricspb.Metric{Name: "e", Data: &metricspb.Metric_ExponentialHistogram{ExponentialHistogram: d}}
			}
			return &metricspb.Metric{Name: "y", Data: &metricspb.Metric_Summary{Summary: data.(*metricspb.Summary)}}
		}
		logs := &logspb.ScopeLogs{LogRecords: []*logspb.LogRecord{{TimeUnixNano: 1, Attributes: kvs()}, {Attributes: kvs(), EventName: "e"}}}
		spans := &tracepb.ScopeSpans{Spans: []*tracepb.Span{{Name: "x", Attributes: kvs()}}}
		metrics := &metricspb.ScopeMetrics{Metrics: []*metricspb.Metric{
			metric(&metricspb.Gauge{DataPoints: []*metricspb.NumberDataPoint{{Attributes: kvs()}, {Attributes: kvs()}}}),
			metric(&metricspb.Sum{DataPoints: []*metricspb.NumberDataPoint{{Attributes: kvs()}}, IsMonotonic: true}),
			metric(&metricspb.Histogram{DataPoints: []*metricspb.HistogramDataPoint{{Attributes: kvs(), Count: 3}}}),
			metric(&metricspb.ExponentialHistogram{DataPoints: []*metricspb.ExponentialHistogramDataPoint{{Attributes: kvs(), Scale: 2}}}),
			metric(&metricspb.Summary{DataPoints: []*metricspb.SummaryDataPoint{{Attributes: kvs(), Sum: 2}}}),
		}}
		got := [][]*commonpb.KeyValue{}
		run := func(s Signal, m, into proto.Message) {
			b, err := proto.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			out, err := e.Records([]byte("before"), s, b)
			if err != nil {
				t.Fatal(err)
			}
			if err := proto.Unmarshal(out[len("before"):], into); err != nil {
				t.Fatal(err)
			}
		}
		var l logspb.ScopeLogs
		run(Logs, logs, &l)
		got = append(got, l.LogRecords[0].Attributes, l.LogRecords[1].Attributes)
		if l.LogRecords[0].TimeUnixNano != 1 || l.LogRecords[1].EventName != "e" {
			t.Fatalf("other fields are lost: %v", &l)
		}
		var s tracepb.ScopeSpans
		run(Traces, spans, &s)
		got = append(got, s.Spans[0].Attributes)
		var m metricspb.ScopeMetrics
		run(Metrics, metrics, &m)
		got = append(got, m.Metrics[0].GetGauge().DataPoints[0].Attributes, m.Metrics[0].GetGauge().DataPoints[1].Attributes,
			m.Metrics[1].GetSum().DataPoints[0].Attributes, m.Metrics[2].GetHistogram().DataPoints[0].Attributes,
			m.Metrics[3].GetExponentialHistogram().DataPoints[0].Attributes, m.Metrics[4].GetSummary().DataPoints[0].Attributes)
		if !m.Metrics[1].GetSum().IsMonotonic || m.Metrics[2].GetHistogram().DataPoints[0].Count != 3 {
			t.Fatalf("other fields are lost: %v", &m)
		}
		for i := range lists {
			mustEqual(t, &resourcepb.Resource{Attributes: sorted(act(lists[i], actions))}, &resourcepb.Resource{Attributes: sorted(got[i])})
		}
	}
}

// The same for a resource, also where there is none.
func TestEditorOfResources(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	for i := range 500 {
		actions := randActions(r)
		before := &logspb.ResourceLogs{SchemaUrl: "u", ScopeLogs: []*logspb.ScopeLogs{{LogRecords: []*logspb.LogRecord{{Flags: 1}}}}}
		var kvs []*commonpb.KeyValue
		if i%10 > 0 {
			kvs = randKVs(r)
			before.Resource = &resourcepb.Resource{Attributes: kvs, DroppedAttributesCount: 4}
		}
		b, err := proto.Marshal(&logspb.LogsData{ResourceLogs: []*logspb.ResourceLogs{before}})
		if err != nil {
			t.Fatal(err)
		}
		p, err := Pieces(Logs, b)
		if err != nil {
			t.Fatal(err)
		}
		g, err := NewEditor(actions).Group(p[0].Group)
		if err != nil {
			t.Fatal(err)
		}
		var got logspb.LogsData
		if err := proto.Unmarshal(append(g.AppendFrame(nil, len(p[0].Data)), p[0].Data...), &got); err != nil {
			t.Fatal(err)
		}
		res := got.ResourceLogs[0].Resource
		mustEqual(t, &resourcepb.Resource{Attributes: sorted(act(kvs, actions)), DroppedAttributesCount: before.Resource.GetDroppedAttributesCount()},
			&resourcepb.Resource{Attributes: sorted(res.GetAttributes()), DroppedAttributesCount: res.GetDroppedAttributesCount()})
		if got.ResourceLogs[0].SchemaUrl != "u" || len(got.ResourceLogs[0].ScopeLogs[0].LogRecords) != 1 {
			t.Fatalf("other fields are lost: %v", &got)
		}
	}
}

// Editing allocates nothing a record.
func TestEditorAllocates(t *testing.T) {
	e := NewEditor([]Action{{Upsert, Attr("k", "w")}, {Insert, Attr("new", "v")}, {Delete, KeyValue{Key: "i"}}})
	var data []byte
	for range 100 {
		data = AppendLogRecord(data, &LogRecord{Time: 1, Body: []byte("a line"), Attrs: AppendAttrs(nil, AttrsOfLogRecord, []KeyValue{Attr("k", "v"), {"i", Int(3)}})})
	}
	dst, err := e.Records(nil, Logs, data)
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(20, func() { dst, _ = e.Records(dst[:0], Logs, data) }); n > 1 {
		t.Errorf("%v allocations for 100 records", n)
	}
}

// What is sound stays sound, with as many records; what is not is refused.
func FuzzEditor(f *testing.F) {
	r := rand.New(rand.NewPCG(15, 16))
	for range 20 {
		l, _ := randLog(r)
		f.Add(AppendLogRecord(nil, l))
	}
	e := NewEditor([]Action{{Upsert, Attr("a", "w")}, {Insert, Attr("b", "v")}, {Delete, KeyValue{Key: "c"}}})
	f.Fuzz(func(t *testing.T, data []byte) {
		for s := range Signals {
			before, err := countLevel(s, data, 2)
			if err != nil {
				continue
			}
			out, err := e.Records(nil, s, data)
			if err != nil {
				continue // it is broken within a record
			}
			if after, err := countLevel(s, out, 2); err != nil || after != before {
				t.Errorf("%s: %d records of %x become %d, %v", s, before, data, after, err)
			}
		}
	})
}
