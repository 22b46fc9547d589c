package scrape

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"stint/export/otlp"
)

// told is a source's word: a metric under a group, with one point for each attribute value.
func handMetric(hand func(*otlp.Group, []byte, int), g *otlp.Group, m otlp.Metric, at time.Time, points ...otlp.NumberPoint) {
	for i := range points {
		if points[i].Time == 0 {
			points[i].Time = uint64(at.UnixNano())
		}
	}
	hand(g, otlp.AppendMetric(nil, &m, points), len(points))
}

func pointAttrs(kvs ...string) []byte {
	var all []otlp.KeyValue
	for i := 0; i < len(kvs); i += 2 {
		all = append(all, otlp.Attr(kvs[i], kvs[i+1]))
	}
	return otlp.AppendAttrs(nil, otlp.AttrsOfPoint, all)
}

// page asks for what is kept, and has Prometheus' parser read it.
func page(t testing.TB, l http.Handler) string {
	t.Helper()
	w := httptest.NewRecorder()
	l.ServeHTTP(w, httptest.NewRequest("GET", "/metrics/node", nil))
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "text/plain; version=0.0.4; charset=utf-8" {
		t.Errorf("status %d, type %q", w.Code, w.Header().Get("Content-Type"))
	}
	lint(t, w.Body.String())
	return w.Body.String()
}

// lint fails if the text is not what Prometheus takes: no series twice, no metric in two groups.
func lint(t testing.TB, text string) {
	t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	if _, err := parser.TextToMetricFamilies(strings.NewReader(text)); err != nil {
		t.Errorf("%v in\n%s", err, text)
	}
	series, metrics, last := map[string]bool{}, map[string]bool{}, ""
	for line := range strings.Lines(text) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if strings.HasPrefix(line, "# ") {
			name = strings.Fields(line)[2]
		} else {
			if i := strings.LastIndexByte(line, '}'); i >= 0 {
				name = line[:i+1]
			}
			if series[name] {
				t.Errorf("%s is there twice", name)
			}
			series[name] = true
			name, _, _ = strings.Cut(name, "{")
		}
		if name != last && metrics[name] {
			t.Errorf("%s is in two groups", name)
		}
		metrics[name], last = true, name
	}
}

// What each scraper told last is served, under Prometheus' names, in order.
func TestLatest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pod := otlp.NewGroup([]otlp.KeyValue{otlp.Attr("k8s.pod.name", "web-0"), otlp.Attr("host.name", "a"), otlp.Attr("container.id", "c1"),
			{Key: "container.image.tags", Value: otlp.Array(otlp.String("1"))}}, "", "test", "")
		renamed := otlp.NewGroup([]otlp.KeyValue{otlp.Attr("k8s.pod.name", "web-0"), otlp.Attr("container.id", "c1"), otlp.Attr("os.type", "linux")}, "", "test", "")
		usage := otlp.Metric{Name: "container.memory.usage", Unit: "By", Instrument: otlp.UpDown, Description: `Memory, "all" of it\n.`}
		cpu := otlp.Metric{Name: "system.cpu.time", Unit: "s", Instrument: otlp.Counter, Double: true, Description: "Time."}
		src := &fake{name: "host", parts: []string{"cpu", "kubelet", "fails"}}
		src.do = func(_ context.Context, part string, at time.Time, hand func(*otlp.Group, []byte, int)) error {
			second := int(at.Sub(bubble).Seconds())
			switch part {
			case "cpu":
				n := float64(second)
				handMetric(hand, group, cpu, at, otlp.NumberPoint{Attrs: pointAttrs("cpu.mode", "user"), Double: n}, otlp.NumberPoint{Attrs: pointAttrs("cpu.mode", "idle"), Double: math.Inf(1)})
				handMetric(hand, group, otlp.Metric{Name: "node_load1", Double: true}, at, otlp.NumberPoint{Attrs: pointAttrs("k", "v"), Double: n})
				handMetric(hand, group, cpu, at, otlp.NumberPoint{Attrs: pointAttrs("cpu.mode", "nice"), Double: n}) // in two pieces
				if second == 0 {
					handMetric(hand, group, otlp.Metric{Name: "system.gone", Unit: "1"}, at, otlp.NumberPoint{})
				}
			case "kubelet": // measures every 20 s, at times of its own
				g := pod
				if second >= 20 {
					g = renamed
				}
				if second%20 == 0 {
					handMetric(hand, g, usage, at, otlp.NumberPoint{Time: uint64(at.Add(-3 * time.Second).UnixNano()), Int: int64(second)})
				}
			case "fails":
				if second < 20 {
					handMetric(hand, group, otlp.Metric{Name: "system.uptime", Unit: "s"}, at, otlp.NumberPoint{Int: 1})
					return nil
				}
				return context.DeadlineExceeded
			}
			return nil
		}
		other := &fake{name: "self", parts: []string{"x"}, do: func(_ context.Context, _ string, at time.Time, hand func(*otlp.Group, []byte, int)) error {
			handMetric(hand, group, otlp.Metric{Name: "stint.self"}, at, otlp.NumberPoint{})
			return nil
		}}
		b := newBed(t, src, other)
		l := b.grid.Keep("host")
		asked := make(chan string, 4)
		for _, second := range []time.Duration{1, 11, 21, 501} {
			time.AfterFunc(second*time.Second, func() { asked <- page(t, l) })
		}
		b.run(0, 503*time.Second)
		var pages []string
		for range cap(asked) {
			pages = append(pages, <-asked)
		}
		at := func(seconds int) int64 { return bubble.Add(time.Duration(seconds) * time.Second).UnixMilli() }
		all := func(n, seconds int, usage string) string {
			s := "# HELP container_memory_usage_bytes Memory, \"all\" of it\\\\n.\n# TYPE container_memory_usage_bytes gauge\n" + usage +
				"# TYPE node_load1 gauge\nnode_load1{k=\"v\"} " + fmt.Sprint(n) + "\n"
			s += "# HELP system_cpu_time_seconds_total Time.\n# TYPE system_cpu_time_seconds_total counter\n"
			return s + fmt.Sprintf("system_cpu_time_seconds_total{cpu_mode=\"idle\"} +Inf\nsystem_cpu_time_seconds_total{cpu_mode=\"nice\"} %d\nsystem_cpu_time_seconds_total{cpu_mode=\"user\"} %d\n", n, n)
		}
		told := func(value, seconds int) string {
			return fmt.Sprintf("container_memory_usage_bytes{container_id=\"c1\",k8s_pod_name=\"web-0\"} %d %d\n", value, at(seconds))
		}
		uptime := "# TYPE system_uptime_seconds gauge\nsystem_uptime_seconds 1\n"
		want := []string{
			all(0, 0, told(0, -3)) + "# TYPE system_gone_ratio gauge\nsystem_gone_ratio 0\n" + uptime,
			all(10, 10, told(0, -3)) + uptime,
			all(20, 20, told(20, 17)), // one line, of two groups
			all(500, 500, told(500, 497)),
		}
		if diff := cmp.Diff(want, pages); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if n := len(l.groups); n != 2 { // of the machine, and of the pod as it is called now
			t.Errorf("%d groups are remembered, want 2", n)
		}
	})
}

// What a scraper that hangs told last is not served for ever.
func TestLatestOfAHangingScraper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &fake{name: "host", parts: []string{"hangs", "works"}}
		src.do = func(ctx context.Context, part string, at time.Time, hand func(*otlp.Group, []byte, int)) error {
			if part == "hangs" && at.After(bubble) {
				<-ctx.Done()
				return nil
			}
			handMetric(hand, group, otlp.Metric{Name: part}, at, otlp.NumberPoint{})
			return nil
		}
		b := newBed(t, src)
		l := b.grid.Keep("host")
		asked := make(chan string, 2)
		time.AfterFunc(299*time.Second, func() { asked <- page(t, l) })
		time.AfterFunc(321*time.Second, func() { asked <- page(t, l) })
		b.run(0, 322*time.Second)
		soon, late := <-asked, <-asked
		if !strings.Contains(soon, "\nhangs 0\n") || strings.Contains(late, "hangs") || !strings.Contains(late, "\nworks 0\n") {
			t.Errorf("after 299 s:\n%safter 321 s:\n%s", soon, late)
		}
	})
}

// What finds no room is counted, and what is there stays.
func TestLatestIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &fake{name: "host", parts: []string{"a", "b"}}
		src.do = func(_ context.Context, part string, at time.Time, hand func(*otlp.Group, []byte, int)) error {
			long := pointAttrs("x", strings.Repeat("y", 9<<20))
			handMetric(hand, group, otlp.Metric{Name: part}, at, otlp.NumberPoint{Attrs: long, Int: int64(at.Sub(bubble).Seconds())})
			return nil
		}
		b := newBed(t, src)
		l := b.grid.Keep("host")
		b.run(0, 11*time.Second)
		if n := b.metric("stint_scrape_unlisted_points_total"); n != 2 {
			t.Errorf("%v points were left out in two ticks, want 2", n)
		}
		if l.bytes > maxLatest {
			t.Errorf("%d bytes are kept", l.bytes)
		}
		if text := page(t, l); strings.Count(text, "\n") != 2 || !strings.Contains(text, `"} 10`) {
			t.Errorf("not one metric as of the last tick, but %d lines", strings.Count(text, "\n"))
		}
	})
}

// slowWriter holds up the handler.
type slowWriter struct {
	http.ResponseWriter
	began, go_ chan struct{}
}

func (w slowWriter) Write(b []byte) (int, error) {
	w.began <- struct{}{}
	<-w.go_
	return w.ResponseWriter.Write(b)
}

// Slow clients hold up neither the grid nor more than a few of them each other.
func TestSlowClients(t *testing.T) {
	src := &fake{name: "host", parts: []string{"a"}}
	src.do = func(_ context.Context, part string, at time.Time, hand func(*otlp.Group, []byte, int)) error {
		handMetric(hand, group, otlp.Metric{Name: part}, at, otlp.NumberPoint{})
		return nil
	}
	b := newBed(t, src)
	l := b.grid.Keep("host")
	tick := func() {
		s := b.grid.scrapers[0]
		s.at, s.parts = s.at.Add(time.Second), s.parts[:0]
		s.err = s.scrape(t.Context())
		l.take(s)
	}
	tick()
	began, go_ := make(chan struct{}), make(chan struct{})
	done := make(chan struct{}, maxServing)
	for range maxServing {
		go func() {
			l.ServeHTTP(slowWriter{httptest.NewRecorder(), began, go_}, httptest.NewRequest("GET", "/", nil))
			done <- struct{}{}
		}()
		<-began
	}
	tick() // is not held up
	r := httptest.NewRecorder()
	l.ServeHTTP(r, httptest.NewRequest("GET", "/", nil))
	if r.Code != http.StatusServiceUnavailable {
		t.Errorf("one more is answered with %d", r.Code)
	}
	close(go_)
	for range maxServing {
		<-done
	}
	page(t, l)
}

// In the steady state a tick allocates nothing for what is kept.
func TestLatestAllocatesNothing(t *testing.T) {
	src := &fake{name: "host", parts: []string{"a"}}
	b := newBed(t, src)
	l := b.grid.Keep("host")
	m := otlp.Metric{Name: "system.load", Instrument: otlp.Counter}
	var series otlp.Series
	series.Metric(&m)
	for i := range 100 {
		series.Add(pointAttrs("n", fmt.Sprint(i)), 1)
	}
	series.Finish()
	s := b.grid.scrapers[0]
	now := uint64(bubble.UnixNano())
	if n := testing.AllocsPerRun(100, func() {
		now += 1e9
		series.SetTime(now)
		s.at, s.parts = time.Unix(0, int64(now)), append(s.parts[:0], part{group, series.Bytes(), series.Len()})
		l.take(s)
	}); n != 0 || !strings.Contains(page(t, l), `system_load_total{n="99"} 0`) {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkLatest keeps, and prints, what 110 pods with two containers each tell in a tick.
func BenchmarkLatest(b *testing.B) {
	src := &fake{name: "host", parts: []string{"a"}}
	grid, err := New(Config{Interval: time.Second}, []Source{src}, nil, nil, nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	l, s := grid.Keep("host"), grid.scrapers[0]
	series := make([]otlp.Series, 330)
	for i := range series {
		g := otlp.NewGroup([]otlp.KeyValue{otlp.Attr("k8s.pod.uid", fmt.Sprint(i)), otlp.Attr("k8s.pod.name", "web"), otlp.Attr("k8s.namespace.name", "shop")}, "", "test", "")
		for m := range 23 {
			series[i].Metric(&otlp.Metric{Name: fmt.Sprint("container.metric.", m), Unit: "By"})
			series[i].Add(pointAttrs("device", "sda"), 0)
		}
		series[i].Finish()
		s.parts = append(s.parts, part{g, series[i].Bytes(), series[i].Len()})
	}
	b.Run("keep", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s.at = s.at.Add(time.Second)
			l.take(s)
		}
	})
	b.Run("print", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			w := discard{}
			l.ServeHTTP(&w, nil)
			b.ReportMetric(float64(w.n), "bytes/op")
		}
	})
}

// discard is a client that counts.
type discard struct{ n int }

func (d *discard) Header() http.Header { return http.Header{} }
func (d *discard) WriteHeader(int)     {}
func (d *discard) Write(b []byte) (int, error) {
	d.n += len(b)
	return len(b), nil
}

// Prometheus' parser reads back what labels are, whatever they are.
func FuzzLabels(f *testing.F) {
	f.Add("device", `C:\ "x"`+"\n", "b.c", "é\x00}")
	f.Add("9", "", "__a", "{")
	f.Add("a.b", "1", "a_b", "2")
	f.Add("__name__", "1", "_", "2")
	f.Fuzz(func(t *testing.T, key1, value1, key2, value2 string) {
		data := otlp.AppendMetric(nil, &otlp.Metric{Name: "m"}, []otlp.NumberPoint{{Attrs: pointAttrs(key1, value1, key2, value2), Int: 7}})
		want := map[string]string{}
		for _, kv := range [][2]string{{key1, value1}, {key2, value2}} {
			v := string(otlp.AppendValidUTF8(nil, []byte(kv[1])))
			name := labelName(string(otlp.AppendValidUTF8(nil, []byte(kv[0]))))
			if w, ok := want[name]; ok && v != "" {
				want[name] = w + ";" + v
			} else if v != "" {
				want[name] = v
			}
		}
		l := &Latest{families: map[string]*family{}, labels: map[string]string{}}
		l.families["m"] = &family{name: "m", help: value1, kind: "gauge", entries: map[*entry]bool{{data: data}: true}}
		text := l.print(&printer{}, "m")
		parser := expfmt.NewTextParser(model.LegacyValidation)
		families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
		if err != nil {
			t.Fatalf("%v in\n%q", err, text)
		}
		m := families["m"]
		if m == nil || len(m.Metric) != 1 || m.Metric[0].GetGauge().GetValue() != 7 {
			t.Fatalf("%v of\n%q", m, text)
		}
		got := map[string]string{}
		for _, p := range m.Metric[0].Label {
			got[p.GetName()] = p.GetValue()
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	})
}
