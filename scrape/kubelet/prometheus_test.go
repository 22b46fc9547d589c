package kubelet

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"stint/export/otlp"
	"stint/scrape/dedup"
	"stint/scrape/series"
)

func withNames(cfg Config, names string) Config {
	cfg.Names = names
	return cfg
}

// busy polls the captured answer of a node with 24 pods.
func busy(t *testing.T, cfg Config) *found {
	t.Helper()
	r := newRig(t, cfg, nil, capturedPods(t)...)
	r.poll(day(captures["t2"]), captured(t, "stats_summary.t2.json"))
	return r.poll(day(captures["busy"]), captured(t, "stats_summary.busy.json"))
}

// points counts those of each metric, under our names or under theirs.
func (f *found) points(theirs bool) map[string]int {
	all := map[string]int{}
	for _, rm := range f.list {
		for _, m := range rm.ScopeMetrics[0].Metrics {
			if series.IsPrometheus(m.Name) == theirs {
				all[m.Name] += len(pointsOf(m))
			}
		}
	}
	return all
}

// The captured summaries under the kubelet's names.
func TestPrometheusGolden(t *testing.T) {
	got := busy(t, withNames(Defaults(), series.Prometheus)).text()
	golden(t, "stats.prometheus", got)
}

// What is sent under our names is the same whatever else is sent, and the other way round.
func TestNamesKeepOurs(t *testing.T) {
	for what, cfg := range map[string]Config{"default": Defaults(), "detail": everything()} {
		ours, both, theirs := busy(t, cfg), busy(t, withNames(cfg, series.Both)), busy(t, withNames(cfg, series.Prometheus))
		if diff := cmp.Diff(ours.points(false), both.points(false)); diff != "" {
			t.Errorf("%s: points under our names, alone and with theirs (-alone +both):\n%s", what, diff)
		}
		if diff := cmp.Diff(both.points(true), theirs.points(true)); diff != "" {
			t.Errorf("%s: points under their names, with ours and alone (-both +alone):\n%s", what, diff)
		}
		before := ours.points(false)
		for name, n := range theirs.points(false) {
			renamed := slices.ContainsFunc(PrometheusRules, func(r series.Rule) bool { return r.From == name })
			if before[name] == 0 || renamed && (!strings.HasPrefix(name, "k8s.pod.volume.") || n >= before[name]) {
				t.Errorf("%s: %d points of %s are sent, %d without other names", what, n, name, before[name])
			}
		}
	}
}

// labelsOf gives the labels of a metric, without those left out, one text for each series.
func labelsOf(m *dto.Metric, without ...string) string {
	var words []string
	for _, l := range m.Label {
		if l.GetValue() != "" && !slices.Contains(without, l.GetName()) {
			words = append(words, l.GetName()+"="+l.GetValue())
		}
	}
	slices.Sort(words)
	return strings.Join(words, " ")
}

// What is made of /stats/summary is what the same kubelet printed at /metrics/cadvisor at that
// time: the same series, but for the path of the cgroup, and close to the same values.
func TestLikeCAdvisor(t *testing.T) {
	parser := expfmt.NewTextParser(model.LegacyValidation)
	real, err := parser.TextToMetricFamilies(bytes.NewReader(captured(t, "metrics_cadvisor.busy.prom")))
	if err != nil {
		t.Fatal(err)
	}
	var summary struct {
		Pods []struct{ PodRef struct{ Name string } }
	}
	if err := json.Unmarshal(captured(t, "stats_summary.busy.json"), &summary); err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	for _, p := range summary.Pods {
		told[p.PodRef.Name] = true
	}
	got := map[string]map[string]float64{}
	kinds := map[string]bool{}
	for _, rm := range busy(t, withNames(everything(), series.Prometheus)).list {
		for _, m := range rm.ScopeMetrics[0].Metrics {
			kinds[m.Name] = m.GetSum() != nil
			for _, p := range pointsOf(m) {
				var labels []string
				for _, kv := range p.Attributes {
					if kv.Key != "id" && kv.Key != "image" && kv.Key != "name" {
						labels = append(labels, kv.Key+"="+kv.Value.GetStringValue())
					}
				}
				slices.Sort(labels)
				if got[m.Name] == nil {
					got[m.Name] = map[string]float64{}
				}
				got[m.Name][strings.Join(labels, " ")] = p.GetAsDouble()
			}
		}
	}
	for name, least := range map[string]int{
		"container_cpu_usage_seconds_total": 20, "container_memory_usage_bytes": 20, "container_memory_working_set_bytes": 20, "container_memory_rss": 20,
		"container_memory_failures_total": 80, "container_network_receive_bytes_total": 20, "container_network_transmit_bytes_total": 20,
		"container_network_receive_errors_total": 20,
	} {
		if counter := real[name].GetType() == dto.MetricType_COUNTER; counter != kinds[name] {
			t.Errorf("%s: counter %v", name, kinds[name])
		}
		same, off := 0, 0
		for _, m := range real[name].Metric {
			all := labelsOf(m, "id", "image", "name")
			network := strings.HasPrefix(name, "container_network")
			if !strings.Contains(all, "pod=") || !network && !strings.Contains(all, "container=") {
				continue // of the machine, of a slice, of a sandbox, which the summary does not tell
			}
			want := m.GetCounter().GetValue() + m.GetGauge().GetValue()
			v, ok := got[name][all]
			if !ok {
				_, pod, _ := strings.Cut(all, "pod=")
				hostNetwork := strings.HasPrefix(pod, "node-helper") || strings.HasPrefix(pod, "static-web")
				// The summary leaves out pods of which no container runs; cAdvisor has their sandboxes.
				if !network || told[pod] && !hostNetwork {
					t.Errorf("no %s{%s}", name, all)
				}
				continue
			}
			same++
			if diff := max(v, want) - min(v, want); diff > 0.2*max(v, want)+2 {
				off++
				t.Logf("%s{%s} is %v, cAdvisor printed %v", name, all, v, want)
			}
		}
		if same < least || off > same/5 {
			t.Errorf("%s: %d series are the same, %d of them with another value", name, same, off)
		}
	}
}

// TestQueries: what alerts and dashboards ask for is there, with their labels; what is not stands
// in queries_missing.txt.
func TestQueries(t *testing.T) {
	labels := map[string]map[string]bool{}
	for _, rm := range busy(t, withNames(Defaults(), series.Prometheus)).list {
		for _, m := range rm.ScopeMetrics[0].Metrics {
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
	read := func(name string) string {
		b, err := os.ReadFile("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	missing := map[string]bool{}
	for line := range strings.Lines(read("queries_missing.txt")) {
		if name, why, ok := strings.Cut(line, ": "); ok && !strings.HasPrefix(line, "#") && len(why) > 5 {
			missing[name] = true
		}
	}
	asked := map[string]bool{}
	for line := range strings.Lines(read("queries.txt")) {
		i := strings.LastIndex(line, ": ")
		if strings.HasPrefix(line, "#") || i < 0 {
			continue
		}
		for word := range strings.FieldsSeq(line[i+2:]) {
			name, of, _ := strings.Cut(strings.TrimSuffix(word, "}"), "{")
			asked[name] = true
			if missing[name] != (labels[name] == nil) {
				t.Errorf("%s: %s is there: %v; queries_missing.txt has it: %v", line[:i], name, labels[name] != nil, missing[name])
			}
			for l := range strings.SplitSeq(of, ",") {
				if !missing[name] && !labels[name][l] {
					t.Errorf("%s: %s has no label %s, but %v", line[:i], name, l, slices.Sorted(maps.Keys(labels[name])))
				}
			}
		}
	}
	for name := range missing {
		if !asked[name] {
			t.Errorf("queries_missing.txt has %s, which nobody asks for", name)
		}
	}
}

// Points under other names have the times at which they were measured, and what was not measured
// anew is sent under no name.
func TestNamesKeepTimes(t *testing.T) {
	r := newRig(t, withNames(Defaults(), series.Both), nil, capturedPods(t)...)
	body := captured(t, "stats_summary.busy.json")
	r.poll(day(captures["busy"]), body)
	f := r.poll(day(captures["busy"]).Add(time.Second), body)
	for name := range f.names() {
		if name != "k8s.node.uptime" {
			t.Errorf("%s is sent again", name)
		}
	}
	f = busy(t, withNames(Defaults(), series.Both))
	times := func(metric string) []string {
		var all []string
		for _, p := range f.of(metric, "k8s.container.name=filler") {
			all = append(all, p[strings.LastIndex(p, "@"):])
		}
		return all
	}
	for ours, theirs := range map[string]string{"container.memory.rss": "container_memory_rss", "container.filesystem.usage": "container_fs_usage_bytes"} {
		if diff := cmp.Diff(times(ours), times(theirs)); diff != "" || len(times(ours)) < 10 {
			t.Errorf("times of %s and %s (-ours +theirs):\n%s", ours, theirs, diff)
		}
	}
}

// What the control groups tell is sent under no name of the kubelet's.
func TestLosersAreSentUnderNoName(t *testing.T) {
	r := newRig(t, withNames(Defaults(), series.Both), nil, capturedPods(t)...)
	at := day(captures["busy"])
	n := 0
	for _, p := range capturedPods(t) {
		for _, c := range p.Containers {
			claim := r.overlap.Claim("cgroup", 10*time.Second, dedup.Key{Kind: dedup.Container, Entity: c.ID, Concept: "container.memory.rss"}, false)
			if c.ID != "" && claim.Judge(at, uint64(at.UnixNano()), nil, 1) == dedup.Pass {
				n++
			}
		}
	}
	f := r.poll(at, captured(t, "stats_summary.busy.json"))
	if got := len(f.of("container.memory.rss")) + len(f.of("container_memory_rss", "k8s.container.name=filler")); got != 0 || n < 10 {
		t.Errorf("%d points are sent of %d containers that the control groups tell of", got, n)
	}
	if len(f.of("container_fs_usage_bytes")) < 10 {
		t.Error("nothing is sent of what only the kubelet tells")
	}
}

// A poll under any names in which no pod came or went allocates nothing for them.
func TestNamesAllocateNothing(t *testing.T) {
	allocs := func(names string) (float64, int) {
		r := newRig(t, withNames(Defaults(), names), nil, capturedPods(t)...)
		body := captured(t, "stats_summary.busy.json")
		at, points := day(captures["busy"]), 0
		hand := func(_ *otlp.Group, _ []byte, n int) { points += n }
		poll := func() {
			at = at.Add(time.Second)
			r.Stats.begin(at)
			for _, p := range r.pods { // nothing was measured anew, so that only the views are at work
				p.points.Commit(1)
				for _, c := range p.containers {
					c.points.Commit(1)
					points++
				}
			}
		}
		if err := r.take(at, bytes.NewReader(body), hand); err != nil {
			t.Fatal(err)
		}
		poll()
		return testing.AllocsPerRun(10, poll), points
	}
	for _, names := range []string{series.Prometheus, series.Both} {
		if n, points := allocs(names); n != 0 || points < 10 {
			t.Errorf("%s: %v allocations for %d containers", names, n, points)
		}
	}
}
