package otlp

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	colmetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
)

func newPromoter() *Promoter {
	return &Promoter{
		Keys:    map[string]bool{"k8s.pod.name": true, "k8s.pod.uid": true, "host.name": true},
		Service: "stint-agent", Instance: []string{"container.id", "k8s.pod.uid", "host.name"},
	}
}

func kv(key, value string) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: key, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: value}}}
}

// everyKind is a request with a point of each kind of metric, with those attributes.
func everyKind(resource *resourcepb.Resource, attrs ...*commonpb.KeyValue) *colmetrics.ExportMetricsServiceRequest {
	number := func() []*metricspb.NumberDataPoint {
		return []*metricspb.NumberDataPoint{{TimeUnixNano: 7, Attributes: attrs, Value: &metricspb.NumberDataPoint_AsInt{AsInt: 5}}}
	}
	return &colmetrics.ExportMetricsServiceRequest{ResourceMetrics: []*metricspb.ResourceMetrics{{
		Resource: resource, SchemaUrl: SchemaURL,
		ScopeMetrics: []*metricspb.ScopeMetrics{{
			Scope: &commonpb.InstrumentationScope{Name: "test", Version: "1"}, SchemaUrl: SchemaURL,
			Metrics: []*metricspb.Metric{
				{Name: "gauge", Unit: "By", Data: &metricspb.Metric_Gauge{Gauge: &metricspb.Gauge{DataPoints: number()}}},
				{Name: "sum", Data: &metricspb.Metric_Sum{Sum: &metricspb.Sum{DataPoints: number(), IsMonotonic: true, AggregationTemporality: 2}}},
				{Name: "histogram", Data: &metricspb.Metric_Histogram{Histogram: &metricspb.Histogram{AggregationTemporality: 2, DataPoints: []*metricspb.HistogramDataPoint{
					{TimeUnixNano: 7, Count: 1, BucketCounts: []uint64{1}, Attributes: attrs}}}}},
				{Name: "exponential", Data: &metricspb.Metric_ExponentialHistogram{ExponentialHistogram: &metricspb.ExponentialHistogram{AggregationTemporality: 2, DataPoints: []*metricspb.ExponentialHistogramDataPoint{
					{TimeUnixNano: 7, Count: 1, ZeroCount: 1, Attributes: attrs}}}}},
				{Name: "summary", Data: &metricspb.Metric_Summary{Summary: &metricspb.Summary{DataPoints: []*metricspb.SummaryDataPoint{
					{TimeUnixNano: 7, Count: 1, Attributes: attrs}}}}},
				{Name: "empty"},
			},
		}},
	}}}
}

func TestPromote(t *testing.T) {
	pod := func() *resourcepb.Resource {
		return &resourcepb.Resource{Attributes: []*commonpb.KeyValue{kv("k8s.pod.name", "web-1"), kv("os.type", "linux"), kv("k8s.pod.uid", "u1")}}
	}
	identified := func(instance string, more ...*commonpb.KeyValue) *resourcepb.Resource {
		r := &resourcepb.Resource{Attributes: more}
		r.Attributes = append(r.Attributes, kv("service.name", "stint-agent"))
		if instance != "" {
			r.Attributes = append(r.Attributes, kv("service.instance.id", instance))
		}
		return r
	}
	for name, tc := range map[string]struct {
		in, want *colmetrics.ExportMetricsServiceRequest
	}{
		"onto points of every kind": {
			in:   everyKind(pod(), kv("state", "used")),
			want: everyKind(identified("u1", pod().Attributes...), kv("state", "used"), kv("k8s.pod.name", "web-1"), kv("k8s.pod.uid", "u1")),
		},
		"a point keeps its own": {
			in:   everyKind(pod(), kv("k8s.pod.uid", "mine")),
			want: everyKind(identified("u1", pod().Attributes...), kv("k8s.pod.uid", "mine"), kv("k8s.pod.name", "web-1")),
		},
		"a service keeps its identity": {
			in:   everyKind(&resourcepb.Resource{Attributes: []*commonpb.KeyValue{kv("service.name", "shop"), kv("service.instance.id", "i"), kv("host.name", "n")}}),
			want: everyKind(&resourcepb.Resource{Attributes: []*commonpb.KeyValue{kv("service.name", "shop"), kv("service.instance.id", "i"), kv("host.name", "n")}}, kv("host.name", "n")),
		},
		"nothing to copy":   {in: everyKind(&resourcepb.Resource{}), want: everyKind(identified(""))},
		"no resource":       {in: everyKind(nil), want: everyKind(identified(""))},
		"an empty request":  {in: &colmetrics.ExportMetricsServiceRequest{}, want: &colmetrics.ExportMetricsServiceRequest{}},
		"the best instance": {in: everyKind(&resourcepb.Resource{Attributes: []*commonpb.KeyValue{kv("host.name", "n"), kv("container.id", "c")}}), want: everyKind(identified("c", kv("host.name", "n"), kv("container.id", "c")), kv("host.name", "n"))},
	} {
		b, err := proto.Marshal(tc.in)
		if err != nil {
			t.Fatal(err)
		}
		out, err := newPromoter().Append([]byte("before"), b)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got colmetrics.ExportMetricsServiceRequest
		if string(out[:6]) != "before" {
			t.Errorf("%s: what was in dst is %q now", name, out[:6])
		} else if err := proto.Unmarshal(out[6:], &got); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if diff := cmp.Diff(tc.want, &got, protocmp.Transform()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// With Kinds the name of an object of any kind is copied, and nothing that only looks like one.
func TestPromoteKinds(t *testing.T) {
	p := &Promoter{Kinds: true}
	resource := &resourcepb.Resource{}
	for _, key := range []string{"k8s.certificate.name", "k8s.certificate.uid", "k8s..name", "k8s.name", "k8s.hpa.scaletargetref.name", "k8s.pod.name.x", "host.name", "k8s.pod.name"} {
		resource.Attributes = append(resource.Attributes, kv(key, "x"))
	}
	request, err := proto.Marshal(everyKind(resource))
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.Append(nil, request)
	if err != nil {
		t.Fatal(err)
	}
	want, err := proto.Marshal(everyKind(resource, kv("k8s.certificate.name", "x"), kv("k8s.pod.name", "x")))
	if err != nil {
		t.Fatal(err)
	}
	var got, expected colmetrics.ExportMetricsServiceRequest
	if err := proto.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	if err := proto.Unmarshal(want, &expected); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(&expected, &got, protocmp.Transform()); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestPromoteAllocatesNothing(t *testing.T) {
	b, err := proto.Marshal(everyKind(&resourcepb.Resource{Attributes: []*commonpb.KeyValue{kv("service.name", "x"), kv("k8s.pod.name", "web-1"), kv("k8s.pod.uid", "u1")}}))
	if err != nil {
		t.Fatal(err)
	}
	p, dst := newPromoter(), []byte(nil)
	if n := testing.AllocsPerRun(100, func() { dst, _ = p.Append(dst[:0], b) }); n != 0 {
		t.Errorf("%v allocations a request, want 0", n)
	}
}

// What the official decoder reads of a request, it reads of the edited one too, and each point
// has, beside its own attributes, those of its resource that are copied.
func FuzzPromote(f *testing.F) {
	for _, r := range []*resourcepb.Resource{nil, {Attributes: []*commonpb.KeyValue{kv("k8s.pod.name", "web-1"), kv("host.name", "n")}}} {
		b, err := proto.Marshal(everyKind(r, kv("state", "used")))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p := newPromoter()
		out, err := p.Append(nil, b)
		var in, got colmetrics.ExportMetricsServiceRequest
		if proto.Unmarshal(b, &in) != nil {
			return
		}
		if err != nil {
			return // a level that the decoder skips or reads as unknown
		}
		if err := proto.Unmarshal(out, &got); err != nil {
			t.Fatalf("valid before, now: %v", err)
		}
		if len(in.ResourceMetrics) != len(got.ResourceMetrics) {
			t.Fatalf("%d resources became %d", len(in.ResourceMetrics), len(got.ResourceMetrics))
		}
		for i, rm := range in.ResourceMetrics {
			var copied []*commonpb.KeyValue
			for _, kv := range rm.GetResource().GetAttributes() {
				if p.Keys[kv.Key] && len(copied) < maxPromoted {
					copied = append(copied, kv)
				}
			}
			before, after := pointAttributes(rm), pointAttributes(got.ResourceMetrics[i])
			if len(before) != len(after) {
				t.Fatalf("%d points became %d", len(before), len(after))
			}
			for j := range before {
				want := before[j]
				for _, kv := range copied {
					own := false
					for _, x := range before[j] {
						own = own || x.Key == kv.Key
					}
					if !own {
						want = append(want, kv)
					}
				}
				if diff := cmp.Diff(want, after[j], protocmp.Transform()); diff != "" {
					t.Fatalf("attributes of point %d (-want +got):\n%s", j, diff)
				}
			}
		}
	})
}

// pointAttributes lists the attributes of every point.
func pointAttributes(rm *metricspb.ResourceMetrics) (all [][]*commonpb.KeyValue) {
	for _, sm := range rm.ScopeMetrics {
		for _, m := range sm.Metrics {
			for _, p := range m.GetGauge().GetDataPoints() {
				all = append(all, p.Attributes)
			}
			for _, p := range m.GetSum().GetDataPoints() {
				all = append(all, p.Attributes)
			}
			for _, p := range m.GetHistogram().GetDataPoints() {
				all = append(all, p.Attributes)
			}
			for _, p := range m.GetExponentialHistogram().GetDataPoints() {
				all = append(all, p.Attributes)
			}
			for _, p := range m.GetSummary().GetDataPoints() {
				all = append(all, p.Attributes)
			}
		}
	}
	return all
}

func BenchmarkPromote(b *testing.B) {
	r := everyKind(&resourcepb.Resource{Attributes: []*commonpb.KeyValue{kv("service.name", "x"), kv("k8s.pod.name", "web-7d9f8b6c5d-x2x4z"), kv("k8s.pod.uid", "0e1f0e1f-0e1f-0e1f-0e1f-0e1f0e1f0e1f")}}, kv("state", "used"))
	for range 6 {
		r.ResourceMetrics = append(r.ResourceMetrics, r.ResourceMetrics...)
	}
	in, err := proto.Marshal(r)
	if err != nil {
		b.Fatal(err)
	}
	p, dst := newPromoter(), []byte(nil)
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		if dst, err = p.Append(dst[:0], in); err != nil {
			b.Fatal(err)
		}
	}
}
