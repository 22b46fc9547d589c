//go:build !cluster

package cluster

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"stint/agent/config"
	"stint/export"
	"stint/export/otlp"
	"stint/scrape/kube"
)

var update = flag.Bool("update", false, "rewrite generated files")

// TestDocs: what docs/cluster.md has behind its mark is what the structs say. -update rewrites it.
func TestDocs(t *testing.T) {
	const name, mark = "../../docs/cluster.md", "\n<!-- Generated from here on: go test ./agent/cluster -run TestDocs -update -->\n"
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	byHand, _, ok := strings.Cut(string(got), mark)
	if !ok {
		t.Fatalf("%s has no line %s", name, mark)
	}
	var settings []config.Setting
	for _, s := range config.Settings(Defaults()) {
		top, _, _ := strings.Cut(s.Path, ".")
		if !slices.Contains([]string{"batch", "spool", "dead_letter", "memory_limiter", "exporters", "pipelines"}, top) { // the agent's as well
			settings = append(settings, s)
		}
	}
	want := byHand + mark + string(config.Tables(settings)) + "\n### Sources of pipelines\n\n| signal | sources |\n|---|---|\n"
	for _, signal := range slices.Sorted(maps.Keys(Sources())) {
		want += fmt.Sprintf("| %s | %s |\n", signal, strings.Join(Sources()[signal], ", "))
	}
	if *update {
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		got = []byte(want)
	}
	if d := cmp.Diff(want, string(got)); d != "" {
		t.Errorf("%s is stale; go test ./agent/cluster -run TestDocs -update (-want +got)\n%s", name, d)
	}
}

// idle is a source that does nothing.
type idle struct{}

// Run implements source.
func (idle) Run(ctx context.Context) error { <-ctx.Done(); return nil }

var idles = []listed{{"idle", otlp.Logs, func(*Config, kube.Deps) (source, error) { return idle{}, nil }}}

// replicaConfig is a replica with that source and an exporter, which asks nobody before it runs.
func replicaConfig(t *testing.T) *Config {
	t.Helper()
	cfg := Defaults()
	dir := t.TempDir()
	cfg.StateDir, cfg.Admin.Listen, cfg.Health.Listen = filepath.Join(dir, "state"), "127.0.0.1:0", "127.0.0.1:0"
	cfg.Kubernetes.Kubeconfig = filepath.Join(dir, "kubeconfig")
	if err := os.WriteFile(cfg.Kubernetes.Kubeconfig, []byte(`{apiVersion: v1, kind: Config, current-context: x,
  clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}], users: [{name: u, user: {}}], contexts: [{name: x, context: {cluster: c, user: u}}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.Leader.LeaseNamespace = "default"
	cfg.Exporters = export.Exporters{}
	debug, err := cfg.Exporters.NewValue("debug")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Exporters["debug"] = debug.(export.Exporter)
	cfg.Pipelines = export.Pipelines{"logs": {Sources: []string{"idle"}, Exporters: []string{"debug"}}}
	return &cfg
}

// TestMetricsDocs: docs/cluster.md has every metric of the election, with its help.
func TestMetricsDocs(t *testing.T) {
	c, err := newCluster(replicaConfig(t), "test", idles, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Run(ctx); err != nil {
		t.Error(err)
	}
	doc, err := os.ReadFile("../../docs/cluster.md")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(stint_leader[a-z_]*)` \\| [a-z]+ \\| [^|]* \\| (.*) \\|$").FindAllSubmatch(doc, -1) {
		got = append(got, string(m[1])+": "+string(m[2]))
	}
	var want []string
	descs := make(chan *prometheus.Desc, 1000)
	c.reg.Describe(descs)
	close(descs)
	for d := range descs {
		if m := regexp.MustCompile(`fqName: "(stint_leader[^"]*)", help: "([^"]*)"`).FindStringSubmatch(d.String()); m != nil {
			want = append(want, m[1]+": "+m[2])
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if d := cmp.Diff(want, got); d != "" || len(want) < 3 {
		t.Errorf("the metrics in docs/cluster.md (-registry +table)\n%s", d)
	}
}
