//go:build !cluster

package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"stint/agent/process"
	"stint/export"
	"stint/scrape/kube/objects"
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
	cfg, faults := load("state:\n  names: both\n  metrics:\n    k8s.pod.phase: {enabled: false}\n    k8s.node.info: {enabled: true}\n  labels: {pod: [app, \"example.org/*\"]}\n")
	if faults != "" || cfg.State.Names != "both" || cfg.State.Metrics["k8s.pod.phase"].Enabled || !cfg.State.Metrics["k8s.node.info"].Enabled || len(cfg.State.Metrics) != 2 || len(cfg.State.Labels["pod"]) != 2 {
		t.Errorf("%+v\n%s", cfg.State, faults)
	}
	cfg, faults = load("state:\n  custom_resources:\n    - {name: things, group: x.org, metrics: [{name: size, path: \"spec.list[*].n\", values: {big: 2.5}, attributes: {a: \"spec.list[*].name\"}}]}\n")
	if c := cfg.State.CustomResources; faults != "" || len(c) != 1 || c[0].Metrics[0].Values["big"] != 2.5 || c[0].Metrics[0].Attributes["a"] != "spec.list[*].name" {
		t.Errorf("%+v\n%s", c, faults)
	}
	if _, faults = load("state:\n  custom_resources:\n    - {name: things, group: x.org, metrics: [{name: size, path: \"spec[\"}]}\n"); !strings.Contains(faults, `:3:65: state.custom_resources[0].metrics[0].path: "spec[" is not a path; write it like`) {
		t.Error(faults)
	}
	if _, faults = load("state: {metrics: {k8s.pod.faze: {enabled: true}}}"); !strings.Contains(faults, "k8s.pod.faze: no such metric") {
		t.Error(faults)
	}
}

// Without sources for a leader no API server is needed, as of gateways outside of Kubernetes.
func TestWithoutState(t *testing.T) {
	for enabled, want := range map[bool]string{true: "no API server", false: ""} {
		cfg := replicaConfig(t)
		cfg.Kubernetes.Kubeconfig = ""
		cfg.State.Enabled = enabled
		cfg.Pipelines = export.DefaultPipelines(cfg.Exporters, map[string][]string{"metrics": Sources()["metrics"]})
		c, err := New(cfg, "test", slog.New(slog.DiscardHandler))
		if got := fmt.Sprint(err); err != nil && (want == "" || !strings.Contains(got, want)) || err == nil && want != "" {
			t.Errorf("state.enabled=%v: %v", enabled, err)
		}
		if c != nil && err == nil {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if err := c.Run(ctx); err != nil {
				t.Error(err)
			}
		}
	}
}

// What is turned off, or has nothing to read, is no source: nobody contends for the lease because of it.
func TestTurnedOff(t *testing.T) {
	names := func(change func(*Config)) (names string) {
		cfg := Defaults()
		change(&cfg)
		for _, l := range sourcesOf(&cfg) {
			names += " " + l.name
		}
		return names
	}
	for want, change := range map[string]func(*Config){
		" state events":         func(*Config) {},
		" events":               func(c *Config) { c.State.Enabled = false },
		" state":                func(c *Config) { c.Events.Enabled = false },
		"":                      func(c *Config) { c.State.Enabled, c.Events.Enabled = false, false },
		" state events objects": func(c *Config) { c.Objects.Resources = []objects.Resource{{Name: "pods"}} },
	} {
		if got := names(change); got != want {
			t.Errorf("sources%s, want%s", got, want)
		}
	}
}

// Where no API server is known nothing asks for one unless somebody says so.
func TestDefaultSources(t *testing.T) {
	var c Config
	for _, signal := range []string{"logs", "metrics", "traces"} {
		for _, name := range c.defaultSources()[signal] {
			if name != "otlp" && name != "self" {
				t.Errorf("%s of %s is a source without an API server", signal, name)
			}
		}
	}
	c.inPod = true
	if got := c.defaultSources(); !reflect.DeepEqual(got, Sources()) {
		t.Errorf("in a pod they are %v", got)
	}
}
