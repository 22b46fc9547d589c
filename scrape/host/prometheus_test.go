package host

import (
	"encoding/csv"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"

	"stint/export/otlp"
	"stint/scrape/dedup"
	"stint/scrape/kernel"
	"stint/scrape/series"
)

func withNames(names string) Config {
	cfg := Defaults()
	cfg.Names = names
	return cfg
}

// newNamedHost is that of newTestHost, whose clock is the same for the scraper that reads it in
// more detail.
func newNamedHost(t testing.TB, cfg Config, root string) *Host {
	t.Helper()
	h := newTestHost(t, cfg, root)
	for i := range h.parts {
		if c, ok := h.parts[i].scraper.(*clock); ok && h.parts[i].twin != nil {
			h.parts[i].twin.scraper.(*clock).adjtimex = c.adjtimex
		}
	}
	return h
}

// names lists the names of metrics that were found, ours and theirs.
func (f *found) names() (ours, theirs map[string]bool) {
	ours, theirs = map[string]bool{}, map[string]bool{}
	for _, m := range f.metrics {
		if series.IsPrometheus(m.Name) {
			theirs[m.Name] = true
		} else {
			ours[m.Name] = true
		}
	}
	return ours, theirs
}

// TestPrometheusGolden: everything that a scrape gives under node_exporter's names.
func TestPrometheusGolden(t *testing.T) {
	h := newNamedHost(t, withNames(series.Prometheus), "testdata/server")
	scrapeAll(t, h, tick-10e9)
	f := scrapeAll(t, h, tick)
	var got strings.Builder
	for _, m := range f.metrics {
		if m.Name == "node_scrape_collector_duration_seconds" || m.Name == "node_uname_info" {
			continue // of this machine
		}
		kind := "gauge"
		if m.GetSum() != nil {
			kind = "counter"
		}
		if m.Unit != "" && series.IsPrometheus(m.Name) {
			t.Errorf("%s has the unit %q: Prometheus would append it", m.Name, m.Unit)
		}
		fmt.Fprintf(&got, "%s %s\n", m.Name, kind)
		for _, p := range pointsOf(m) {
			fmt.Fprintf(&got, "  {%s} %s\n", attrText(p.Attributes), valueText(p))
		}
	}
	const name = "testdata/prometheus.golden"
	if *update {
		if err := os.WriteFile(name, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("%s; -update renews it (-want +got):\n%s", name, diff)
	}
}

// What is sent under our names, and by how many points, is the same whatever else is sent; and what
// has no other name keeps ours.
func TestNamesKeepOurs(t *testing.T) {
	count := func(f *found) map[string]int {
		n := map[string]int{}
		for _, m := range f.metrics {
			n[m.Name] += len(pointsOf(m))
		}
		return n
	}
	scrape := func(names string) *found {
		h := newNamedHost(t, withNames(names), "testdata/server")
		scrapeAll(t, h, tick-10e9)
		return scrapeAll(t, h, tick)
	}
	ours, both, theirs := scrape(series.SemConv), scrape(series.Both), scrape(series.Prometheus)
	got := count(both)
	maps.DeleteFunc(got, func(name string, _ int) bool { return series.IsPrometheus(name) })
	if diff := cmp.Diff(count(ours), got); diff != "" {
		t.Errorf("points under our names, alone and with theirs (-alone +both):\n%s", diff)
	}
	got, want := count(theirs), count(both)
	maps.DeleteFunc(got, func(name string, _ int) bool { return !series.IsPrometheus(name) })
	maps.DeleteFunc(want, func(name string, _ int) bool { return !series.IsPrometheus(name) })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("points under their names, with ours and alone (-both +alone):\n%s", diff)
	}
	ruled := map[string]bool{}
	for _, r := range PrometheusRules {
		ruled[r.From] = true
	}
	left, _ := theirs.names()
	for name := range left {
		if ruled[name] {
			t.Errorf("%s is sent although it has another name", name)
		}
	}
	before, _ := ours.names()
	for name := range before {
		if !left[name] && !ruled[name] {
			t.Errorf("%s is not sent under any name", name)
		}
	}
	for name := range left {
		if !before[name] {
			t.Errorf("%s is sent, which nobody asked for", name)
		}
	}
}

// Of each metric that has rules every point is covered by one, or its rules say that theirs is
// told by the extra scraper; and the values add up.
func TestRulesCover(t *testing.T) {
	h := newNamedHost(t, inDetail(series.SemConv), "testdata/server")
	scrapeAll(t, h, tick-10e9)
	f := scrapeAll(t, h, tick)
	exempt := map[string]bool{"system.linux.vmstat.event.count": true} // some fields of which other metrics tell
	for _, m := range f.metrics {
		for _, p := range pointsOf(m) {
			covered, rules := false, 0
			for _, r := range PrometheusRules {
				if r.From == m.Name {
					rules++
					covered = covered || r.Extra || fits(r, p)
				}
			}
			if rules > 0 && !covered && !exempt[m.Name] {
				t.Errorf("%s{%s} has no name in Prometheus, although others of the metric have", m.Name, attrText(p.Attributes))
			}
		}
	}
}

// inDetail turns on all detail.
func inDetail(names string) Config {
	cfg := everything()
	cfg.Names, cfg.CPU.PerCPU, cfg.Softnet.PerCPU, cfg.Paging.Vmstat = names, true, true, []string{"*"}
	return cfg
}

// Whatever is on, no series is sent twice.
func TestNoSeriesTwice(t *testing.T) {
	for _, root := range []string{"testdata/server", "testdata/vm-6.18", "testdata/old-3.10"} {
		for _, names := range []string{series.SemConv, series.Prometheus, series.Both} {
			h := newNamedHost(t, inDetail(names), root)
			scrapeAll(t, h, tick-10e9)
			seen := map[string]bool{}
			for _, m := range scrapeAll(t, h, tick).metrics {
				for _, p := range pointsOf(m) {
					words := strings.Split(attrText(p.Attributes), " ")
					slices.Sort(words)
					id := m.Name + "{" + strings.Join(words, " ") + "}"
					if seen[id] {
						t.Errorf("%s under %s: %s twice", root, names, id)
					}
					seen[id] = true
				}
			}
			if len(seen) < 30 {
				t.Errorf("%s under %s: %d series", root, names, len(seen))
			}
		}
	}
}

// fits tells whether a rule is for a point, by a table of one metric.
func fits(r series.Rule, p *metricspb.NumberDataPoint) bool {
	var kvs []otlp.KeyValue
	for _, kv := range p.Attributes {
		v := otlp.String(kv.Value.GetStringValue())
		if _, ok := kv.Value.Value.(*commonpb.AnyValue_IntValue); ok {
			v = otlp.Int(kv.Value.GetIntValue())
		}
		kvs = append(kvs, otlp.KeyValue{Key: kv.Key, Value: v})
	}
	table := []series.Metric{{Metric: otlp.Metric{Name: r.From}}}
	points := series.Points{Table: table, View: series.NewTranslation(series.Both, table, []series.Rule{r}).View(nil, nil)}
	points.Begin(0)
	points.Int(0, series.Attributes(kvs...), 1)
	points.Commit(1)
	return points.View.Run(0).Points > 0
}

// Each rule is of a metric of this package or of the catalogue, which has its name in the column
// node_exporter or cadvisor.
func TestRulesAreOfTheCatalogue(t *testing.T) {
	file, err := os.Open("testdata/catalogue.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	rows, err := csv.NewReader(file).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]string{}
	for _, row := range rows {
		known[row[1]] += " " + strings.Join(row, " ")
	}
	ours := map[string]bool{}
	for _, m := range Metrics() {
		ours[m.Name] = true
	}
	for _, r := range PrometheusRules {
		if !ours[r.From] && known[r.From] == "" {
			t.Errorf("%s is renamed, but there is no such metric", r.From)
		}
	}
}

// A scrape under any names in which no device came or went allocates nothing.
func TestNamesAllocateNothing(t *testing.T) {
	for _, names := range []string{series.Prometheus, series.Both} {
		h := newNamedHost(t, withNames(names), "testdata/server")
		at := tick
		scrapeAll(t, h, at)
		points := 0
		hand := func(_ *otlp.Group, _ []byte, n int) { points += n }
		for i, name := range h.Scrapers() {
			if name == "filesystem" {
				continue // which asks for each mount on a goroutine; live_test.go has it
			}
			scrape := func() {
				at += uint64(time.Millisecond)
				points = 0
				_ = h.Scrape(t.Context(), i, time.Unix(0, int64(at)), hand)
			}
			scrape()
			if n := testing.AllocsPerRun(20, scrape); n != 0 {
				t.Errorf("%s under %s: %v allocations in a scrape of %d points", name, names, n, points)
			}
		}
	}
}

// A line of /proc/meminfo that appears moves no other.
func TestMeminfoLines(t *testing.T) {
	m := newMachine(t, withNames(series.Prometheus))
	for _, step := range []struct{ file, want string }{
		{"MemTotal: 9 kB\nActive(anon): 2 kB\nHugePages_Total: 3\n", "MemTotal_bytes=9216 Active_anon_bytes=2048 HugePages_Total=3"},
		{"MemTotal: 9 kB\nBalloon: 1 kB\nActive(anon): 4 kB\nHugePages_Total: 3\nBalloon: 7 kB\n", "MemTotal_bytes=9216 Balloon_bytes=1024 Active_anon_bytes=4096 HugePages_Total=3"},
		{"MemTotal: 9 kB\nActive(anon): 2 kB\n", "MemTotal_bytes=9216 Active_anon_bytes=2048"},
	} {
		m.write("proc/meminfo", step.file)
		var got []string
		for _, x := range m.scrape().metrics {
			if name, ok := strings.CutPrefix(x.Name, "node_memory_"); ok {
				for _, p := range pointsOf(x) {
					got = append(got, fmt.Sprintf("%s=%.0f", name, p.GetAsDouble()))
				}
			}
		}
		if strings.Join(got, " ") != step.want {
			t.Errorf("%q gives %s, want %s", step.file, strings.Join(got, " "), step.want)
		}
	}
}

// How the last scrape of each scraper went is told.
func TestCollectorSuccess(t *testing.T) {
	h := newNamedHost(t, withNames(series.Both), "testdata/server")
	first := scrapeAll(t, h, tick)
	h.loadavg.file = kernel.NewFile(h.proc + "/nothing")
	scrapeAll(t, h, tick+1)
	f := scrapeAll(t, h, tick+2)
	for attrs, want := range map[string]string{"collector=load": "0d", "collector=cpu": "1d", "collector=filesystem": "1d"} {
		if got := f.value(t, "node_scrape_collector_success", attrs); got != want {
			t.Errorf("{%s} is %s, want %s", attrs, got, want)
		}
	}
	if got := first.value(t, "node_scrape_collector_success", "collector=load"); got != "1d" {
		t.Errorf("before: %s", got)
	}
	h.parts[0].scraper = panics{}
	func() {
		defer func() { _ = recover() }()
		_ = h.Scrape(t.Context(), 0, time.Unix(0, int64(tick+3)), nil)
	}()
	if !h.parts[0].failed.Load() {
		t.Error("a scraper that panics has not failed")
	}
}

// panics is a scraper that does.
type panics struct{}

func (panics) scrape(*series.Points, uint64) error { panic("bad") }
func (panics) close()                              {}

// A quantity that another source has is sent under no name.
func TestLosersAreSentUnderNoName(t *testing.T) {
	for _, names := range []string{series.SemConv, series.Prometheus, series.Both} {
		cfg := dedup.Defaults()
		cfg.Node = "kubelet"
		overlap := dedup.New(cfg, nil)
		h := New(withNames(names), "testdata/server", "node-1", "", overlap, 10*time.Second, slog.New(slog.DiscardHandler))
		defer h.Close()
		now := tick
		for _, concept := range []string{"system.cpu.time", "system.memory.usage", "system.network.io"} {
			c := overlap.Claim("kubelet", 10*time.Second, dedup.Key{Kind: dedup.Node, Concept: concept}, false)
			if v := c.Judge(time.Unix(0, int64(now)), now, nil, 1); v != dedup.Pass {
				t.Fatalf("%s of the kubelet: %v", concept, v)
			}
		}
		f := scrapeAll(t, h, now+1)
		for _, m := range f.metrics {
			switch m.Name {
			case "system.cpu.time", "node_cpu_seconds_total", "system.memory.usage", "node_memory_MemFree_bytes", "node_memory_Cached_bytes",
				"system.network.io", "node_network_receive_bytes_total", "node_network_transmit_bytes_total":
				t.Errorf("%s is sent under %s", m.Name, names)
			}
		}
		_, theirs := f.names()
		if want := names != series.SemConv; theirs["node_memory_MemTotal_bytes"] != want || theirs["node_network_receive_packets_total"] != want || theirs["node_load1"] != want {
			t.Errorf("under %s also others are missing: %v", names, slices.Sorted(maps.Keys(theirs)))
		}
	}
}

// wanted reads testdata/queries.txt: the labels of each metric.
func wanted(t *testing.T) map[string]map[string]bool {
	t.Helper()
	b, err := os.ReadFile("testdata/queries.txt")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]map[string]bool{}
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "" {
			continue
		}
		_, metrics, ok := strings.Cut(line, ": ")
		if !ok {
			t.Fatalf("no metrics in %q", line)
		}
		for word := range strings.FieldsSeq(metrics) {
			name, labels, _ := strings.Cut(strings.TrimSuffix(word, "}"), "{")
			if all[name] == nil {
				all[name] = map[string]bool{}
			}
			for l := range strings.SplitSeq(labels, ",") {
				if l != "" {
					all[name][l] = true
				}
			}
		}
	}
	return all
}

// TestQueries: what existing alerts and dashboards ask for is there, with the labels that they use,
// on this machine or in a fixture; what is not stands in queries_missing.txt.
func TestQueries(t *testing.T) {
	labels := map[string]map[string]bool{} // of what is there
	kinds := map[string]bool{}             // whether it is a counter
	take := func(f *found) {
		for _, m := range f.metrics {
			kinds[m.Name] = m.GetSum() != nil
			for _, p := range pointsOf(m) {
				if labels[m.Name] == nil {
					labels[m.Name] = map[string]bool{}
				}
				for _, kv := range p.Attributes {
					labels[m.Name][kv.Key] = true
				}
			}
		}
	}
	for _, root := range []string{"testdata/server", "testdata/vm-6.18"} {
		take(scrapeAll(t, newNamedHost(t, withNames(series.Prometheus), root), tick))
	}
	live := New(withNames(series.Prometheus), "/", "", "", nil, 0, slog.New(slog.DiscardHandler))
	defer live.Close()
	scrapeAll(t, live, tick-1)
	take(scrapeAll(t, live, tick))

	missing := map[string]bool{}
	b, err := os.ReadFile("testdata/queries_missing.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if name, why, ok := strings.Cut(line, ": "); ok && !strings.HasPrefix(line, "#") && len(why) > 5 {
			missing[name] = true
		}
	}
	all := wanted(t)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		switch {
		case labels[name] == nil && !missing[name]:
			t.Errorf("%s is not there, and queries_missing.txt does not say why", name)
		case labels[name] != nil && missing[name]:
			t.Errorf("%s is there, although queries_missing.txt says that it is not", name)
		case labels[name] == nil:
		case kinds[name] != strings.HasSuffix(name, "_total"):
			t.Errorf("%s: counter %v", name, kinds[name])
		default:
			for l := range all[name] {
				if !labels[name][l] {
					t.Errorf("%s has no label %s, but %v", name, l, slices.Sorted(maps.Keys(labels[name])))
				}
			}
		}
	}
	for name := range missing {
		if all[name] == nil {
			t.Errorf("queries_missing.txt has %s, which nobody asks for", name)
		}
	}
}
