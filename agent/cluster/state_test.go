//go:build !cluster

package cluster

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stint/agent/process"
)

// Metrics of the state are switched by their names, which have dots.
func TestStateSwitches(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	load := func(text string) (*Config, string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, report := Load(process.LoadArgs{File: file})
		var faults []string
		for _, f := range report.Faults {
			faults = append(faults, f.String())
		}
		return cfg, strings.Join(faults, "\n")
	}
	cfg, faults := load("state:\n  names: both\n  metrics:\n    k8s.pod.phase: {enabled: false}\n    k8s.node.info: {enabled: true}\n")
	if faults != "" || cfg.State.Names != "both" || cfg.State.Metrics["k8s.pod.phase"].Enabled || !cfg.State.Metrics["k8s.node.info"].Enabled || len(cfg.State.Metrics) != 2 {
		t.Errorf("%+v\n%s", cfg.State, faults)
	}
	if _, faults = load("state: {metrics: {k8s.pod.faze: {enabled: true}}}"); !strings.Contains(faults, "k8s.pod.faze: no such metric") {
		t.Error(faults)
	}
}
