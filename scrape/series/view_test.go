package series

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	"google.golang.org/protobuf/proto"

	"stint/export/otlp"
)

const (
	space = iota
	size
	ticks
	field
	told
	plain
)

var viewTable = []Metric{
	space: {Metric: otlp.Metric{Name: "x.space", Unit: "By", Instrument: otlp.UpDown, Description: "Space."}},
	size:  {Metric: otlp.Metric{Name: "x.size", Unit: "By", Instrument: otlp.UpDown}},
	ticks: {Metric: otlp.Metric{Name: "x.ticks", Unit: "ms", Instrument: otlp.Counter, Double: true}},
	field: {Metric: otlp.Metric{Name: "x.field", Instrument: otlp.Counter}},
	told:  {Metric: otlp.Metric{Name: "node_told", Instrument: otlp.Gauge}},
	plain: {Metric: otlp.Metric{Name: "x.plain", Instrument: otlp.Gauge}},
}

var viewRules = []Rule{
	{From: "x.space", If: "state=free|reserved", Name: "node_free_bytes", Labels: "device=disk"},
	{From: "x.space", If: "state=free", Name: "node_avail_bytes", Labels: "device=disk"},
	{From: "x.size", If: "mode=ro", Name: "node_readonly", Labels: `path="/dev/"disk number=disk:d`, Fixed: true, Add: 1},
	{From: "x.size", If: "mode!=ro", Name: "node_readonly", Labels: `path="/dev/"disk number=disk:d`, Fixed: true},
	{From: "x.ticks", Name: "node_ticks_seconds_total", Labels: `mode="irq"`, Scale: 1e-3},
	{From: "x.ticks", Name: "node_idle", Scale: -1, Add: 1},
	{From: "x.field", Name: "node_vmstat_{name}", Labels: "none=nothing"},
	{From: "x.other", Name: "node_other"}, // of another table
}

func labelled(kvs ...string) []byte {
	var all []otlp.KeyValue
	for i := 0; i < len(kvs); i += 2 {
		all = append(all, otlp.Attr(kvs[i], kvs[i+1]))
	}
	return Attributes(all...)
}

// shownPoint is a point of a view, decoded.
type shownPoint struct {
	Metric, Unit, Labels string
	Counter              bool
	Start, Time          uint64
	Value                float64
}

func decodeView(t *testing.T, v *View) (all []shownPoint) {
	t.Helper()
	var sm metricspb.ScopeMetrics
	if err := proto.Unmarshal(v.Bytes(), &sm); err != nil {
		t.Fatal(err)
	}
	for _, m := range sm.Metrics {
		points := m.GetGauge().GetDataPoints()
		if s := m.GetSum(); s != nil {
			if points = s.DataPoints; !s.IsMonotonic || s.AggregationTemporality != metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE {
				t.Errorf("%s is a sum, but no cumulative counter", m.Name)
			}
		}
		for _, p := range points {
			q := shownPoint{m.Name, m.Unit, "", m.GetSum() != nil, p.StartTimeUnixNano, p.TimeUnixNano, p.GetAsDouble()}
			for _, kv := range p.Attributes {
				q.Labels += kv.Key + "=" + kv.Value.GetStringValue() + " "
			}
			all = append(all, q)
		}
	}
	return all
}

// A view shows what the points are, under the other names, whether it was patched or made anew.
func TestView(t *testing.T) {
	free, reserved, used := labelled("state", "free", "disk", "sd1"), labelled("state", "reserved", "disk", "sd1"), labelled("state", "used", "disk", "sd1")
	ro, rw := labelled("mode", "ro", "disk", "sd1"), labelled("disk", "sd2")
	a, b, told1 := labelled("name", "pgfault"), labelled("name", "oom"), labelled("z", "1", "a", "", "b", "2")
	p := Points{Table: viewTable}
	p.View = NewTranslation(Prometheus, viewTable, viewRules).View(otlp.NewGroup(nil, "", "", ""), []otlp.KeyValue{otlp.Attr("pod", "web")})
	for i, scrape := range []struct {
		add  func()
		want []shownPoint
	}{
		{func() {
			p.Int(space, used, 5)
			p.Int(space, free, 10)
			p.Int(space, reserved, 3)
			p.Float(ticks, nil, 1500)
		}, []shownPoint{
			{"node_free_bytes", "", "device=sd1 pod=web ", false, 0, 1, 13},
			{"node_avail_bytes", "", "device=sd1 pod=web ", false, 0, 1, 10},
			{"node_ticks_seconds_total", "", "mode=irq pod=web ", true, 100, 1, 1.5},
			{"node_idle", "", "pod=web ", false, 0, 1, -1499},
		}},
		{func() { // patched
			p.Int(space, used, 5)
			p.Int(space, free, 20)
			p.Int(space, reserved, 4)
			p.Start = 300
			p.Float(ticks, nil, 2500)
		}, []shownPoint{
			{"node_free_bytes", "", "device=sd1 pod=web ", false, 0, 2, 24},
			{"node_avail_bytes", "", "device=sd1 pod=web ", false, 0, 2, 20},
			{"node_ticks_seconds_total", "", "mode=irq pod=web ", true, 300, 2, 2.5},
			{"node_idle", "", "pod=web ", false, 0, 2, -2499},
		}},
		{func() {
			p.Int(size, ro, 7)
			p.Int(size, rw, 8)
			p.Int(field, a, 1)
			p.Int(field, b, 2)
			p.Int(told, told1, 9)
			p.Int(plain, nil, 9)
		}, []shownPoint{
			{"node_readonly", "", "path=/dev/sd1 number=1 pod=web ", false, 0, 3, 1},
			{"node_readonly", "", "path=/dev/sd2 number=2 pod=web ", false, 0, 3, 0},
			{"node_vmstat_pgfault", "", "pod=web ", false, 0, 3, 1},
			{"node_vmstat_oom", "", "pod=web ", false, 0, 3, 2},
			{"node_told", "", "b=2 z=1 pod=web ", false, 0, 3, 9},
		}},
		{func() {}, nil},
	} {
		p.Begin(100)
		scrape.add()
		p.Commit(uint64(i + 1))
		got := decodeView(t, p.View)
		if diff := cmp.Diff(scrape.want, got); diff != "" {
			t.Errorf("scrape %d (-want +got):\n%s", i, diff)
		}
		points := 0
		for r := range p.Runs() {
			points += p.View.Run(r).Points
		}
		if points != len(got) {
			t.Errorf("scrape %d: runs of %d points for %d", i, points, len(got))
		}
	}
}

// What is sent under which names.
func TestOurs(t *testing.T) {
	for names, want := range map[string][]bool{
		Prometheus: {space: false, size: false, ticks: false, field: false, told: false, plain: true},
		Both:       {space: true, size: true, ticks: true, field: true, told: false, plain: true},
	} {
		v := NewTranslation(names, viewTable, viewRules).View(nil, nil)
		for m, w := range want {
			if v.Ours(m) != w {
				t.Errorf("%s: metric %s is ours: %v, want %v", names, viewTable[m].Name, !w, w)
			}
		}
	}
	hidden := NewTranslation(Both, viewTable, viewRules)
	hidden.Hide(plain)
	if v := hidden.View(nil, nil); v.Ours(plain) || !v.Ours(size) {
		t.Error("Hide hides another metric")
	}
	if v := NewTranslation(SemConv, viewTable, viewRules).View(nil, nil); v != nil || !v.Ours(space) || v.Alone() || v.Follows(told) {
		t.Error("our names need a view")
	}
}

// Points keep the times that they were measured at.
func TestViewTimes(t *testing.T) {
	p := Points{Table: viewTable}
	p.View = NewTranslation(Both, viewTable, viewRules).View(nil, nil)
	p.Begin(100)
	p.Int(space, labelled("state", "used"), 1)
	p.Int(space, labelled("state", "free"), 2)
	p.Float(ticks, nil, 3)
	p.Commit(0)
	p.View.SetTimes([]uint64{7, 8, 9})
	var times []uint64
	for _, q := range decodeView(t, p.View) {
		times = append(times, q.Time)
	}
	if diff := cmp.Diff([]uint64{8, 8, 9, 9}, times); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What is handed over are the stretches between what is held back.
func TestSending(t *testing.T) {
	var got []string
	hand := func(_ *otlp.Group, data []byte, n int) { got = append(got, string(data)+string(rune('0'+n))) }
	s := Sending{Data: []byte("aabbccdd")}
	for i, send := range []bool{true, true, false, true} {
		s.Add(Run{Start: 2 * i, End: 2*i + 2, Points: i + 1}, send, hand)
	}
	s.Add(Run{Start: 8, End: 8}, true, hand)
	s.Flush(hand)
	s.Flush(hand)
	if diff := cmp.Diff([]string{"aabb3", "dd4"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// In the steady state nothing is allocated.
func TestViewAllocatesNothing(t *testing.T) {
	free, reserved := labelled("state", "free"), labelled("state", "reserved")
	p := Points{Table: viewTable}
	p.View = NewTranslation(Both, viewTable, viewRules).View(nil, nil)
	now, points := uint64(0), 0
	if n := testing.AllocsPerRun(100, func() {
		now++
		p.Begin(1)
		p.Int(space, free, now)
		p.Int(space, reserved, now)
		p.Float(ticks, nil, float64(now))
		p.Commit(now)
		points = p.View.series.Len()
	}); n != 0 || points != 4 {
		t.Errorf("%v allocations for %d points, want 0 for 4", n, points)
	}
}
