package series

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	"google.golang.org/protobuf/proto"

	"stint/export/otlp"
)

const (
	level = iota
	count
	seconds
)

var table = []Metric{
	level:   {Metric: otlp.Metric{Name: "level", Instrument: otlp.Gauge}},
	count:   {Metric: otlp.Metric{Name: "count", Instrument: otlp.Counter}},
	seconds: {Metric: otlp.Metric{Name: "seconds", Instrument: otlp.Counter, Double: true}},
}

type value struct {
	Metric, Attr string
	Start, Time  uint64
	Int          int64
	Double       float64
}

func decode(t *testing.T, s *otlp.Series) (all []value) {
	t.Helper()
	var sm metricspb.ScopeMetrics
	if err := proto.Unmarshal(s.Bytes(), &sm); err != nil {
		t.Fatal(err)
	}
	for _, m := range sm.Metrics {
		points := m.GetGauge().GetDataPoints()
		if m.GetSum() != nil {
			points = m.GetSum().DataPoints
		}
		for _, p := range points {
			v := value{m.Name, "", p.StartTimeUnixNano, p.TimeUnixNano, p.GetAsInt(), p.GetAsDouble()}
			for _, kv := range p.Attributes {
				v.Attr += kv.Key + "=" + kv.Value.GetStringValue()
			}
			all = append(all, v)
		}
	}
	if len(all) != s.Len() {
		t.Errorf("%d points, Len() is %d", len(all), s.Len())
	}
	return all
}

// Points are what was said last, whether they were patched or encoded anew.
func TestPoints(t *testing.T) {
	modes := Names("mode", "a", "b")
	p := Points{Table: table}
	for i, scrape := range []struct {
		add  func()
		want []value
	}{
		{func() {
			p.Int(level, nil, 7)
			p.Int(count, modes[0], 1)
			p.Int(count, modes[1], 2)
			p.Float(seconds, nil, 0.5)
		},
			[]value{{"level", "", 0, 1, 7, 0}, {"count", "mode=a", 100, 1, 1, 0}, {"count", "mode=b", 100, 1, 2, 0}, {"seconds", "", 100, 1, 0, 0.5}}},
		{func() {
			p.Int(level, nil, 8)
			p.Start = 200
			p.Int(count, modes[0], 3)
			p.Int(count, modes[1], 4)
			p.Float(seconds, nil, 1.5)
		},
			[]value{{"level", "", 0, 2, 8, 0}, {"count", "mode=a", 200, 2, 3, 0}, {"count", "mode=b", 200, 2, 4, 0}, {"seconds", "", 200, 2, 0, 1.5}}},
		{func() { p.Int(count, modes[1], 5); p.Int(count, modes[0], 6) },
			[]value{{"count", "mode=b", 100, 3, 5, 0}, {"count", "mode=a", 100, 3, 6, 0}}},
		{func() {}, nil},
		{func() { p.Int(count, nil, 1<<63) }, []value{{"count", "", 100, 5, 1<<63 - 1, 0}}},
	} {
		p.Begin(100)
		scrape.add()
		if diff := cmp.Diff(scrape.want, decode(t, p.Commit(uint64(i+1)))); diff != "" {
			t.Errorf("scrape %d (-want +got):\n%s", i, diff)
		}
	}
}
