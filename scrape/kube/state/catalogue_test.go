package state

import (
	"encoding/csv"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"stint/export/otlp"
)

// row is one of the catalogue.
type catalogueRow struct {
	name, instrument, value, unit, dflt, peer string
}

// notHere are rows that are no metric of the table, with the reason.
var notHere = map[string]string{
	"k8s.container.* for init containers":       "a resource attribute of the same metrics",
	"k8s.node.condition.status [type=<custom>]": "the same metric, by state.node_conditions_to_report",
	"k8s.customresource.<name>":                 "named by state.custom_resources",
	"k8s.event.count":                           "of the events, not of the state",
	"openshift.clusterquota.*.hard":             "a kind of OpenShift, of which there is no server to try it on",
	"openshift.clusterquota.*.used":             "the same",
	"openshift.appliedclusterquota.limit":       "the same",
	"openshift.appliedclusterquota.used":        "the same",
}

// readCatalogue gives the rows under the names that they have on the wire.
func readCatalogue(t *testing.T) []catalogueRow {
	t.Helper()
	f, err := os.Open("testdata/catalogue.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	records, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var all []catalogueRow
	for _, r := range records[1:] {
		if notHere[r[0]] != "" {
			continue
		}
		names := []string{r[0]}
		switch {
		case strings.Contains(r[0], " [type="):
			names[0], _, _ = strings.Cut(r[0], " [")
		case strings.HasSuffix(r[0], ".allocatable / .capacity"):
			base := strings.TrimSuffix(r[0], ".allocatable / .capacity")
			names = []string{base + ".allocatable", base + ".capacity"}
		case strings.Contains(r[0], " / k8s."):
			names = strings.Split(r[0], " / ")
		case strings.HasPrefix(r[0], "k8s.<kind>."):
			names = nil
			for last := range strings.SplitSeq(strings.TrimPrefix(r[0], "k8s.<kind>"), " / ") {
				for _, k := range everyKindOf {
					if k.observed || last != ".observed_generation" {
						names = append(names, "k8s."+k.kind+last)
					}
				}
			}
		}
		for _, n := range names {
			all = append(all, catalogueRow{n, r[1], r[2], r[3], r[7], r[8]})
		}
	}
	return all
}

// Every row of the catalogue is in the table, as it says, or has a reason why not, and nothing is in the
// table that is not in the catalogue.
func TestTableIsTheCatalogue(t *testing.T) {
	rows := map[string]catalogueRow{}
	for _, r := range readCatalogue(t) {
		if _, own := rows[r.name]; !own { // rows of every kind come last
			rows[r.name] = r
		}
	}
	have := map[string]bool{}
	for i := range table[1:] {
		m := &table[i+1]
		if m.desc == "" || !strings.HasSuffix(m.desc, ".") || m.kind == "" {
			t.Errorf("%s has no kind, or no description in a sentence", m.Name)
		}
		if m.only == K8sCluster {
			continue
		}
		r, ok := rows[m.Name]
		if !ok {
			t.Errorf("%s is not in the catalogue", m.Name)
			continue
		}
		have[m.Name] = true
		instrument, value := "gauge", "int"
		if m.Instrument == otlp.UpDown {
			instrument = "updowncounter (sum, cumulative, non-monotonic)"
		}
		if m.Double {
			value = "double"
		}
		if instrument != r.instrument || value != r.value || m.Unit != r.unit || m.off == strings.HasPrefix(r.dflt, "on") || m.source == "" {
			t.Errorf("%s is %s of %s in %q, off=%v; the catalogue has %+v", m.Name, instrument, value, m.Unit, m.off, r)
		}
		if m.peer != "" && m.peer != r.peer {
			t.Errorf("%s is %s for k8s_cluster, not %s", m.Name, r.peer, m.peer)
		}
	}
	for name, r := range rows {
		if !have[name] {
			t.Errorf("%s (%s by default) is not in the table, and has no reason", name, r.dflt)
		}
	}
}

// All names that k8s_cluster sends by default are among ours.
func TestPeersNames(t *testing.T) {
	peers := map[string]bool{}
	for i := range table {
		m := &table[i]
		peers[m.peer] = true
		if m.only != SemConv {
			peers[m.Name] = true
		}
	}
	for _, r := range readCatalogue(t) {
		if p := r.peer; strings.HasPrefix(r.dflt, "on") && strings.HasPrefix(p, "k8s.") && !strings.ContainsAny(p, "<( ") && !peers[p] {
			t.Errorf("%s of k8s_cluster is missing", p)
		}
	}
}

// Each name of a set of forms has one form only.
func TestOneFormAName(t *testing.T) {
	for _, names := range []string{K8sCluster, SemConv, Both} {
		c := Defaults()
		c.Names = names
		seen := map[string]bool{}
		for _, forms := range c.forms() {
			for _, f := range forms {
				name := f.Metric().Name
				if seen[name] {
					t.Errorf("%s: %s twice", names, name)
				}
				seen[name] = true
			}
		}
	}
}

func TestConfigCheck(t *testing.T) {
	if err := Defaults().Check(); err != nil {
		t.Error(err)
	}
	c := Config{Interval: time.Millisecond, PodInterval: 2 * time.Hour, Names: "other", Namespaces: []string{"a", "*", "a"},
		Labels:  map[string][]string{"pods": {"a"}, "pod": {"app", "[", ""}},
		Metrics: map[string]Switch{"k8s.pod.phase": {}, "k8s.pod.faze": {true}, "k8s.*.created_time": {true}, "k8s.*.phase": {true}, "k8s.*.create_time": {true}}}
	want := []string{
		"state.interval: 1ms is out of range; give 1s to 1h",
		"state.pod_interval: 2h0m0s is out of range; give 1s to 1h, or 0s",
		`state.names: "other" is none of k8s_cluster, semconv, both; write one of them`,
		`state.namespaces[1]: "*" is not the name of a namespace; there are no patterns here`,
		`state.namespaces[2]: "a" stands there twice; remove one`,
		`state.labels.pod[1]: "[" is no glob; see path.Match of Go`,
		`state.labels.pod[2]: "" is no glob; see path.Match of Go`,
		"state.labels.pods: no such kind; write one of " + strings.Join(slices.Sorted(maps.Keys(generics)), ", "),
		"state.metrics.k8s.*.create_time: no such metric; docs/cluster-metrics.md lists them",
		"state.metrics.k8s.pod.faze: no such metric; docs/cluster-metrics.md lists them",
	}
	if got := strings.Split(c.Check().Error(), "\n"); !slices.Equal(got, want) {
		t.Errorf("faults %q, want %q", got, want)
	}
}

// A switch works under either name, and for the form of k8s_cluster.
func TestSwitches(t *testing.T) {
	for name, tc := range map[string]struct {
		metric string
		names  string
		id     metricID
	}{
		"k8s_cluster's name of its form": {"k8s.pod.phase", K8sCluster, theirPodPhase},
		"our name of its form":           {"k8s.pod.status.phase", K8sCluster, theirPodPhase},
		"k8s_cluster's name of ours":     {"k8s.pod.phase", SemConv, podStatusPhase},
		"k8s_cluster's other name":       {"k8s.deployment.desired", K8sCluster, deploymentPodDesired},
		"a quota's":                      {"k8s.resource_quota.hard_limit", K8sCluster, theirQuotaHard},
	} {
		c := Defaults()
		c.Names = tc.names
		if f := c.forms(); len(f[tc.id]) == 0 {
			t.Errorf("%s: off by default", name)
		}
		c.Metrics = map[string]Switch{tc.metric: {false}}
		if f := c.forms(); len(f[tc.id]) != 0 {
			t.Errorf("%s: still on", name)
		}
	}
}

// A switch for all kinds is one for those that are watched anyway; a metric's own is stronger.
func TestSwitchForAllKinds(t *testing.T) {
	c := Defaults()
	before := watched(c.on())
	c.Metrics = map[string]Switch{"k8s.*.created_time": {true}, "k8s.job.created_time": {false}}
	on := c.on()
	for name, want := range map[string]bool{
		"k8s.pod.created_time": true, "k8s.hpa.created_time": true, "k8s.node.created_time": true, "k8s.job.created_time": false,
		"k8s.ingress.created_time": false, "k8s.hpa.deletion_time": false,
	} {
		if got := on[named(name)[0]]; got != want {
			t.Errorf("%s is on: %v, want %v", name, got, want)
		}
	}
	if after := watched(on); !slices.Equal(after, before) {
		t.Errorf("%d kinds are watched, %d without the switch", len(after), len(before))
	}
	c.Metrics["k8s.ingress.created_time"] = Switch{true}
	if after := watched(c.on()); len(after) != len(before)+1 {
		t.Errorf("a switch of a kind's own does not make it be watched")
	}
}

// Attributes that tell more of an object can be left out, owners too; those that name it can't.
func TestResourceAttributes(t *testing.T) {
	c := Defaults()
	c.ResourceAttributes = map[string]Switch{}
	for name := range optional {
		c.ResourceAttributes[name] = Switch{}
	}
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	all := oneOfEach("n")
	for _, kind := range []string{"pods", "nodes", "services", "persistentvolumeclaims", "persistentvolumes", "horizontalpodautoscalers", "replicasets"} {
		b := newBench(t, c, kind)
		b.send(all[kind][0])
		for _, rm := range b.f.list {
			for _, kv := range rm.Resource.Attributes {
				of := strings.TrimSuffix(kind, "s")
				if of = strings.Replace(of, "horizontalpodautoscaler", "hpa", 1); optional[kv.Key] != 0 && kv.Key != "k8s."+of+".name" && kv.Key != "k8s."+of+".uid" {
					t.Errorf("%s have %s", kind, kv.Key)
				}
			}
		}
	}
	c.ResourceAttributes = map[string]Switch{"container.image.tags": {}, "k8s.pod.name": {}}
	if err := c.Check(); err == nil || !strings.HasPrefix(err.Error(), "state.resource_attributes.k8s.pod.name: it names an object, or there is no such attribute; write one of container.id, ") || strings.Contains(err.Error(), "\n") {
		t.Errorf("faults: %v", err)
	}
}

// Prometheus tells series apart by labels alone: export makes one of k8s.KIND.name, which every object has.
func TestEveryObjectHasAName(t *testing.T) {
	all := oneOfEach("n")
	for i := range kinds {
		k := &kinds[i]
		if k.metrics == "" {
			continue
		}
		b := newBench(t, everything(), k.name)
		b.send(all[k.name][0])
		key := ""
		for rest := b.st.slots[0].row.own; len(rest) > 0 && !strings.HasSuffix(key, ".name"); {
			var a attr
			a, rest = nextAttr(rest)
			key = keyNames[a.key]
		}
		if ok, _ := path.Match("k8s/*/name", strings.ReplaceAll(key, ".", "/")); !ok {
			t.Errorf("%s is known by %q", k.name, key)
		}
	}
}
