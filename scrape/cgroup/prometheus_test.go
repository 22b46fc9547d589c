package cgroup

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stint/export/otlp"
	"stint/scrape/dedup"
	"stint/scrape/series"
)

func withNames(names string) Config {
	cfg := Defaults()
	cfg.Names = names
	return cfg
}

// podNamed is what a kubelet tells of the pod above, with an image.
var podNamed = func() *Pod {
	app := []otlp.KeyValue{otlp.Attr("k8s.container.name", "app"), otlp.Attr("container.image.name", "registry:5000/app"),
		{Key: "container.image.tags", Value: otlp.Array(otlp.String("1.2"))}}
	return &Pod{Resource: podOne.Resource, Containers: []Container{{ID: id("e"), Resource: app, Started: time.Unix(0, int64(tick-uint64(time.Hour)))}}}
}()

func named(uid string) *Pod {
	if uid != uid1 {
		return nil
	}
	return podNamed
}

// podPaths are those of a pod and its container.
var podPaths = []string{"/kubepods/burstable/pod" + uid1, "/kubepods/burstable/pod" + uid1 + "/" + id("e")}

// points lists the metrics under the resources, and how many points they have.
func (f *found) points(theirs bool) map[string]int {
	all := map[string]int{}
	for _, metrics := range f.metrics {
		for _, m := range metrics {
			if series.IsPrometheus(m.Name) == theirs {
				all[m.Name] += len(pointsOf(m))
			}
		}
	}
	return all
}

// Trees of both versions under cAdvisor's names.
func TestPrometheusGolden(t *testing.T) {
	for _, layout := range []string{"v1", "v2"} {
		m := newMachine(t, layout, withNames(series.Prometheus), named)
		for _, path := range podPaths {
			m.cgroup(layout, path)
		}
		got := m.scrape().text()
		file := "testdata/" + layout + "-prometheus.golden"
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("differs from %s (-want +got; go test -update after a look):\n%s", file, diff)
		}
	}
}

// What is sent under our names is the same whatever else is sent, and the other way round.
func TestNamesKeepOurs(t *testing.T) {
	full := withNames("")
	full.CPU.Detail, full.Memory.Detail = true, true
	for what, cfg := range map[string]Config{"default": withNames(""), "detail": full} {
		for _, layout := range []string{"v1", "v2"} {
			scrape := func(names string) *found {
				cfg := cfg
				cfg.Names = names
				m := newMachine(t, layout, cfg, named)
				for _, path := range podPaths {
					m.cgroup(layout, path)
				}
				m.scrape()
				return m.scrape()
			}
			ours, both, theirs := scrape(series.SemConv), scrape(series.Both), scrape(series.Prometheus)
			if diff := cmp.Diff(ours.points(false), both.points(false)); diff != "" {
				t.Errorf("%s %s: points under our names, alone and with theirs (-alone +both):\n%s", layout, what, diff)
			}
			if diff := cmp.Diff(both.points(true), theirs.points(true)); diff != "" {
				t.Errorf("%s %s: points under their names, with ours and alone (-both +alone):\n%s", layout, what, diff)
			}
			for name := range theirs.points(false) {
				if ours.points(false)[name] == 0 || slices.ContainsFunc(series.CAdvisor, func(r series.Rule) bool { return r.From == name }) {
					t.Errorf("%s %s: %s is sent beside cAdvisor's names", layout, what, name)
				}
			}
		}
	}
}

// Each rule is of a metric of the catalogue, or of one that the kubelet's package has.
func TestRulesAreOfTheCatalogue(t *testing.T) {
	b, err := os.ReadFile("testdata/catalogue.csv")
	if err != nil {
		t.Fatal(err)
	}
	kubelet := []string{"k8s.pod.swap.usage", "container.filesystem.usage", "container.filesystem.capacity", "k8s.pod.network.io", "k8s.pod.network.errors"}
	for _, r := range series.CAdvisor {
		if !strings.Contains(string(b), ","+r.From+",") && !slices.Contains(kubelet, r.From) {
			t.Errorf("%s is to be called %s, but there is no such metric", r.From, r.Name)
		}
	}
}

// TestQueries: what alerts and dashboards ask for is there, with their labels.
func TestQueries(t *testing.T) {
	labels := map[string]map[string]bool{}
	for _, layout := range []string{"v1", "v2"} {
		m := newMachine(t, layout, withNames(series.Prometheus), named)
		for _, path := range podPaths {
			m.cgroup(layout, path)
		}
		for _, metrics := range m.scrape().metrics {
			for _, x := range metrics {
				if counter := x.GetSum() != nil && series.IsPrometheus(x.Name); counter != (strings.HasSuffix(x.Name, "_total") && series.IsPrometheus(x.Name)) {
					t.Errorf("%s: counter %v", x.Name, counter)
				}
				for _, p := range pointsOf(x) {
					if labels[x.Name] == nil {
						labels[x.Name] = map[string]bool{}
					}
					for _, kv := range p.Attributes {
						labels[x.Name][kv.Key] = true
					}
				}
			}
		}
	}
	b, err := os.ReadFile("testdata/queries.txt")
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	for line := range strings.Lines(string(b)) {
		i := strings.LastIndex(line, ": ")
		if strings.HasPrefix(line, "#") || i < 0 {
			continue
		}
		for word := range strings.FieldsSeq(line[i+2:]) {
			name, of, _ := strings.Cut(strings.TrimSuffix(word, "}"), "{")
			asked++
			for l := range strings.SplitSeq(of, ",") {
				if !labels[name][l] {
					t.Errorf("%s: no %s with a label %s, but %v", line[:i], name, l, slices.Sorted(maps.Keys(labels[name])))
				}
			}
		}
	}
	if asked < 45 {
		t.Errorf("%d metrics are asked for", asked)
	}
}

// A container whose figures the kubelet has is not sent under any name, but for what only the
// control groups tell.
func TestLosersAreSentUnderNoName(t *testing.T) {
	for _, names := range []string{series.Prometheus, series.Both} {
		m := newMachine(t, "v2", withNames(names), named)
		for _, path := range podPaths {
			m.cgroup("v2", path)
		}
		cfg := dedup.Defaults()
		cfg.Container = "kubelet"
		m.overlap = dedup.New(cfg, nil)
		for _, concept := range []string{"container.cpu.time", "container.memory.working_set"} {
			c := m.overlap.Claim("kubelet", 10*time.Second, dedup.Key{Kind: dedup.Container, Entity: id("e"), Concept: concept}, false)
			if v := c.Judge(time.Unix(0, int64(m.at-1)), m.at-1, nil, 1); v != dedup.Pass {
				t.Fatalf("%s of the kubelet: %v", concept, v)
			}
		}
		f := m.scrape()
		for _, name := range []string{"container.cpu.time", "container_cpu_usage_seconds_total", "container_cpu_user_seconds_total", "container_cpu_system_seconds_total",
			"container.memory.working_set", "container_memory_working_set_bytes"} {
			for r, metrics := range f.metrics {
				for _, x := range metrics {
					if x.Name == name && strings.Contains(r, "container.id") {
						t.Errorf("%s is sent under %s", name, names)
					}
				}
			}
		}
		if n := f.points(true)["container_threads"]; n != 1 {
			t.Errorf("%d points of container_threads under %s, want 1", n, names)
		}
	}
}

// A container that is renamed has its new labels in the next scrape, and no others.
func TestRename(t *testing.T) {
	about := podNamed
	m := newMachine(t, "v2", withNames(series.Both), func(string) *Pod { return about })
	for _, path := range podPaths {
		m.cgroup("v2", path)
	}
	if got := m.scrape().value("container.id", "container_threads", "container=app id="+podPaths[1]+" image=registry:5000/app:1.2 name="+id("e")+" namespace=shop pod=web-0"); got == "none" {
		t.Error("the labels are not those of the pod")
	}
	other := *about
	other.Containers = []Container{{ID: id("e"), Resource: []otlp.KeyValue{otlp.Attr("k8s.container.name", "other")}}}
	about = &other
	f := m.scrape()
	if got := f.value("container.id", "container_threads", "container=other id="+podPaths[1]+" name="+id("e")+" namespace=shop pod=web-0"); got == "none" || f.points(true)["container_threads"] != 1 {
		t.Errorf("after the rename:\n%s", f.text())
	}
}

// A scrape under any names in which no cgroup came or went allocates nothing.
func TestNamesAllocateNothing(t *testing.T) {
	for _, names := range []string{series.Prometheus, series.Both} {
		for _, layout := range []string{"v1", "v2"} {
			m := newMachine(t, layout, withNames(names), named)
			for _, path := range podPaths {
				m.cgroup(layout, path)
			}
			for range patience + 1 {
				m.scrape()
			}
			points := 0
			if n := testing.AllocsPerRun(100, func() {
				m.at += uint64(time.Millisecond)
				points = 0
				if err := m.Scrape(t.Context(), 0, time.Unix(0, int64(m.at)), func(_ *otlp.Group, _ []byte, n int) { points += n }); err != nil {
					t.Fatal(err)
				}
			}); n != 0 || points < 40 {
				t.Errorf("%s under %s: %v allocations in a scrape of %d points", layout, names, n, points)
			}
		}
	}
}
