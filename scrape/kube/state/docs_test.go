package state

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	"stint/export/otlp"
)

// docHead is what stands before the tables.
const docHead = `# Metrics of the cluster's objects

<!-- Generated from the table of scrape/kube/state: go test ./scrape/kube/state -run TestMetricsDocs -update -->

Source ` + "`state`" + ` in pipelines of stint-cluster, sent by the leader every ` + "`state.interval`" + `. What an object is stands on its resource: name, uid, namespace and node; for pods and their containers also
the controller, and the deployment or cron job behind it. The second column is the name that the OpenTelemetry Collector's k8s_cluster has for it: that is sent with ` + "`state.names: k8s_cluster`" + `, the
default, always as a gauge; an empty one means the same name, or a metric that it does not have. ` + "`state.metrics`" + ` switches each on or off, by either name.

A metric that says in which of several states something is has a point, 1, for the state that holds; the one that was left is sent once more, as 0. All other series that end, with their object
or before, are sent once more with OTLP's flag "no recorded value". Sums begin with the object, so that another leader does not restart them. Init containers, sidecars and ephemeral containers
have ` + "`k8s.container.type`" + ` on their resource.
`

// TestMetricsDocs: docs/cluster-metrics.md is what the table says. -update rewrites it.
func TestMetricsDocs(t *testing.T) {
	const name = "../../../docs/cluster-metrics.md"
	var b strings.Builder
	b.WriteString(docHead)
	cell := strings.NewReplacer("|", `\|`, "<", "&lt;", ">", "&gt;").Replace
	var order []string
	for i := range table[1:] {
		if k := table[i+1].kind; !table[i+1].generic && !slices.Contains(order, k) {
			order = append(order, k)
		}
	}
	for _, k := range order {
		fmt.Fprintf(&b, "\n## `%s`\n\n| metric | of k8s_cluster | instrument | unit | attributes | default | meaning | source |\n|---|---|---|---|---|---|---|---|\n", k)
		for i := range table[1:] {
			m := &table[i+1]
			if m.kind != k || m.generic {
				continue
			}
			instrument := map[otlp.Instrument]string{otlp.Gauge: "gauge", otlp.UpDown: "updowncounter"}[m.Instrument] + ", int"
			if m.Double {
				instrument = strings.TrimSuffix(instrument, "int") + "double"
			}
			dflt := "on"
			switch {
			case m.off:
				dflt = "off"
			case m.only == SemConv:
				dflt = "on, `semconv`"
			case m.only == K8sCluster:
				dflt = "on, `k8s_cluster`"
			}
			peer := ""
			if m.peer != "" && m.peer != m.Name {
				peer = "`" + m.peer + "`"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | `%s` | %s | %s | %s | %s |\n", m.Name, peer, instrument, m.Unit, cell(m.attributes), dflt, cell(m.desc), cell(m.source))
		}
	}
	b.WriteString("\n## Every kind\n\nAll off by default. `k8s.*.NAME` in `state.metrics` switches one on for all kinds that are watched anyway; labels and annotations come with `state.labels` and `state.annotations`.\n\n| metric | instrument | unit | attributes | meaning | source |\n|---|---|---|---|---|---|\n")
	for _, r := range genericRows {
		instrument := "gauge, int"
		if r.double {
			instrument = "gauge, double"
		}
		fmt.Fprintf(&b, "| `k8s.KIND.%s` | %s | `%s` | %s | %s | %s |\n", r.name, instrument, r.unit, cell(r.attributes), cell(r.desc), cell(r.source))
	}
	var kindsOf, observed []string
	for _, k := range everyKindOf {
		kindsOf = append(kindsOf, k.kind)
		if k.observed {
			observed = append(observed, k.kind)
		}
	}
	fmt.Fprintf(&b, "\nKIND is %s; observed_generation of %s.\n", strings.Join(kindsOf, ", "), strings.Join(observed, ", "))
	if *update {
		if err := os.WriteFile(name, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(b.String(), string(got)); d != "" {
		t.Errorf("%s is stale; go test ./scrape/kube/state -run TestMetricsDocs -update (-want +got)\n%s", name, d)
	}
}

// docs/cluster.md has every metric of the source's own, with its help.
func TestSelfMetricsDocs(t *testing.T) {
	doc, err := os.ReadFile("../../../docs/cluster.md")
	if err != nil {
		t.Fatal(err)
	}
	s, _ := newSource(t, Defaults(), "http://127.0.0.1:1", discard)
	descs := make(chan *prometheus.Desc, 100)
	for _, c := range []prometheus.Collector{s.metrics.outcome, s.metrics.skipped, s.metrics.failures, s.metrics.unclosed, s.metrics.leftOut, objects{s}} {
		c.Describe(descs)
	}
	close(descs)
	for d := range descs {
		text := d.String()
		name, rest, _ := strings.Cut(strings.TrimPrefix(text, `Desc{fqName: "`), `", help: "`)
		help, _, _ := strings.Cut(rest, `", `)
		if !strings.Contains(string(doc), "| `"+name+"` |") || !strings.Contains(string(doc), "| "+help+" |\n") {
			t.Errorf("not in docs/cluster.md: %s: %s", name, help)
		}
	}
}

// deploy/kubernetes/rbac.yaml allows to read each kind, and nothing else under this name.
func TestRoles(t *testing.T) {
	file, err := os.Open("../../../deploy/kubernetes/rbac.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	got, want := map[string]bool{}, map[string]bool{}
	for d := yaml.NewYAMLOrJSONDecoder(file, 4096); ; {
		var role rbacv1.ClusterRole
		if err := d.Decode(&role); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if role.Kind != "ClusterRole" || role.Name != "stint-cluster-state" {
			continue
		}
		for _, r := range role.Rules {
			for _, name := range r.Resources {
				got[fmt.Sprintf("{apiGroups: [%q], resources: [%s], verbs: [%s]}", r.APIGroups[0], name, strings.Join(r.Verbs, ", "))] = true
			}
		}
	}
	for i := range kinds {
		if k := &kinds[i]; k.name != "configmaps" && k.name != "secrets" { // whoever may list these can read them
			want[k.rule()] = true
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("the roles in rbac.yaml (-kinds +roles)\n%s", d)
	}
}
