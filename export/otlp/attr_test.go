package otlp

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What was encoded is read back, however much of it is there.
func TestEachAttr(t *testing.T) {
	kvs := []KeyValue{
		Attr("s", "text"), {"i", Int(-7)}, {"b", Bool(true)}, {"d", Double(0.5)}, {"a", Array(String("x"), String("y"))}, {"m", Map(Attr("k", "v"))},
		{"y", Bytes([]byte("raw"))}, Attr("", ""),
	}
	read := func(b []byte) (all [][2]string) {
		EachAttr(b, AttrsOfPoint, func(key string, v Value) { all = append(all, [2]string{key, v.Text()}) })
		return all
	}
	want := [][2]string{{"s", "text"}, {"i", "-7"}, {"b", "true"}, {"d", "0.5"}, {"a", ""}, {"m", ""}, {"y", ""}, {"", ""}}
	b := AppendAttrs(nil, AttrsOfPoint, kvs)
	if diff := cmp.Diff(want, read(b)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for i := range b {
		if got := read(b[:i]); len(got) > len(want) || len(got) > 0 && !cmp.Equal(want[:len(got)], got) {
			t.Errorf("%d bytes are read as %v", i, got)
		}
	}
	if v := kvs[4].Value.First(); v != "x" {
		t.Errorf("the first of a list is %q", v)
	}
	got := map[string]string{}
	NewGroup(kvs[:2], SchemaURL, "scope", "1").Attributes(func(key string, v Value) { got[key] = v.Text() })
	if diff := cmp.Diff(map[string]string{"s": "text", "i": "-7"}, got); diff != "" {
		t.Errorf("of a resource (-want +got):\n%s", diff)
	}
}

// Metrics are told apart, each with its points.
func TestEachMetric(t *testing.T) {
	type metric struct {
		Name, Description, Unit string
		Instrument              Instrument
		Points                  int
	}
	want := []metric{{"g", "G.", "By", Gauge, 2}, {"c", "", "s", Counter, 1}, {"u", "", "", UpDown, 1}, {"d", "", "", DeltaCount, 1}}
	var b []byte
	for _, m := range want {
		b = AppendMetric(b, &Metric{Name: m.Name, Description: m.Description, Unit: m.Unit, Instrument: m.Instrument}, make([]NumberPoint, m.Points))
	}
	read := func(b []byte) (all []metric) {
		EachMetric(b, func(m EncodedMetric) {
			n := 0
			EachPoint(m.Field, func(EncodedPoint) { n++ })
			all = append(all, metric{string(m.Name), string(m.Description), string(m.Unit), m.Instrument, n})
		})
		return all
	}
	if diff := cmp.Diff(want, read(b)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for i := range b {
		if got := read(b[:i]); len(got) >= len(want) || len(got) > 0 && !cmp.Equal(want[:len(got)], got) {
			t.Errorf("%d bytes are read as %v", i, got)
		}
	}
}

// FuzzEach: whatever the bytes, what is read of attributes is what they are made of, encoded again.
func FuzzEach(f *testing.F) {
	f.Add(AppendAttrs(nil, AttrsOfPoint, []KeyValue{Attr("a", "b"), {"i", Int(1)}}))
	f.Add(AppendMetric(nil, &Metric{Name: "m", Instrument: Counter}, make([]NumberPoint, 1)))
	f.Fuzz(func(t *testing.T, b []byte) {
		size := 0
		EachMetric(b, func(m EncodedMetric) { size += len(m.Field) })
		if size > len(b) {
			t.Errorf("%d bytes of metrics in %d", size, len(b))
		}
		var kvs []KeyValue
		EachAttr(b, AttrsOfPoint, func(key string, v Value) {
			if k := v.Kind(); k != KindArray && k != KindMap && k != KindEmpty {
				kvs = append(kvs, KeyValue{string(AppendValidUTF8(nil, []byte(key))), v})
			}
		})
		i := 0
		EachAttr(AppendAttrs(nil, AttrsOfPoint, kvs), AttrsOfPoint, func(key string, v Value) {
			if want := string(AppendValidUTF8(nil, []byte(kvs[i].Value.Text()))); key != kvs[i].Key || v.Text() != want {
				t.Errorf("%q=%q is read back as %q=%q", kvs[i].Key, want, key, v.Text())
			}
			i++
		})
		if i != len(kvs) {
			t.Errorf("%d attributes of %d are read back", i, len(kvs))
		}
	})
}
