package otlp

import (
	"slices"
	"testing"
)

// patched is a series with these values, of a gauge without and a counter with start times.
func patched(start uint64, attr, name string, values ...int64) []byte {
	var s Series
	s.Reset()
	s.Metric(&Metric{Name: name, Unit: "By", Instrument: Gauge, Double: true})
	s.Add(nil, 0)
	s.Metric(&Metric{Name: "count", Instrument: Counter})
	for range values[1:] {
		s.Add(AppendAttrs(nil, AttrsOfPoint, []KeyValue{Attr("k", attr)}), start)
	}
	s.Finish()
	s.SetDouble(0, float64(values[0])+0.5)
	for i, v := range values[1:] {
		s.SetInt(i+1, v)
	}
	s.SetTime(uint64(values[0]))
	return slices.Clone(s.Bytes())
}

func TestEachPair(t *testing.T) {
	last := patched(7, "a", "gauge", 1, -2, 3)
	var got []float64
	if !EachPair(last, patched(7, "a", "gauge", 10, 20, 30), func(l, n float64) { got = append(got, l, n) }) {
		t.Error("series that differ in times and values are not alike")
	}
	if want := []float64{1.5, 10.5, -2, 20, 3, 30}; !slices.Equal(got, want) {
		t.Errorf("pairs %v, want %v", got, want)
	}
	for name, now := range map[string][]byte{
		"another start":     patched(8, "a", "gauge", 1, 2, 3),
		"another attribute": patched(7, "b", "gauge", 1, 2, 3),
		"another name":      patched(7, "a", "gouge", 1, 2, 3),
		"a point more":      patched(7, "a", "gauge", 1, 2, 3, 4),
		"no start":          patched(0, "a", "gauge", 1, 2, 3),
		"cut off":           patched(7, "a", "gauge", 1, 2, 3)[:len(last)-3],
		"nothing":           nil,
	} {
		if EachPair(last, now, func(_, _ float64) {}) {
			t.Errorf("%s: alike", name)
		}
	}
	now := patched(7, "a", "gauge", 10, 20, 30)
	if n := testing.AllocsPerRun(100, func() { EachPair(last, now, func(_, _ float64) {}) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
