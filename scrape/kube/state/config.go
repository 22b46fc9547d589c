// Package state turns the objects of a Kubernetes cluster into metrics: what k8s_cluster of the
// OpenTelemetry Collector tells, and what people use kube-state-metrics for.
//
// A reflector a kind lists and watches the objects. Each becomes a compact row as it comes in and is
// forgotten; every interval the rows are encoded as points. Rows live in memory only: a leader that
// takes over lists afresh.
package state

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
)

// Config says which metrics of the cluster's objects are sent.
type Config struct {
	Enabled                  bool                `yaml:"enabled" doc:"send metrics of the cluster's objects; false: nothing of them is asked, whatever pipelines say"`
	Interval                 time.Duration       `yaml:"interval" doc:"time between two sets of points; they lie on the grid of whole intervals; 1s to 1h"`
	PodInterval              time.Duration       `yaml:"pod_interval" doc:"the same for pods and containers; 0s: interval, but 30s at least from 20000 pods on"`
	Names                    string              `yaml:"names" enum:"k8s_cluster,semconv,both" doc:"names where the OpenTelemetry Collector's k8s_cluster has others than the semantic conventions; what it does not tell has the conventions' name"`
	Namespaces               []string            `yaml:"namespaces" doc:"only objects of these namespaces, for which Roles are enough; nodes, namespaces and persistent volumes, which are in none, are then left out; empty: all"`
	NodeConditionsToReport   []string            `yaml:"node_conditions_to_report" doc:"types of node conditions, such as Ready; * is every type"`
	AllocatableTypesToReport []string            `yaml:"allocatable_types_to_report" doc:"resources of nodes, such as cpu, memory, ephemeral-storage, pods; * is every resource"`
	SkipEmptyReplicaSets     bool                `yaml:"skip_empty_replica_sets" doc:"leave out replica sets that want and have no pod: the history of deployments, up to ten each"`
	Labels                   map[string][]string `yaml:"labels" doc:"labels that become attributes label.NAME of k8s.KIND.labels, by KIND, as docs/cluster-metrics.md has it, e.g. pod; globs, where * stops at /; none: no such metric. They may hold secrets, and many values"`
	Annotations              map[string][]string `yaml:"annotations" doc:"the same for annotations, which become attributes annotation.NAME of k8s.KIND.annotations"`
	Metrics                  map[string]Switch   `yaml:"metrics" doc:"metrics, by either name, that are switched on or off against their default. k8s.*.NAME, of what every kind has (created_time, deletion_time, generation, observed_generation, info), means all kinds that are watched anyway; a metric's own switch is stronger"`
	ResourceAttributes       map[string]Switch   `yaml:"resource_attributes" doc:"attributes of resources that tell more of an object than which it is, and are left out when they are switched off, e.g. container.image.tags"`
	CustomResources          []CustomResource    `yaml:"custom_resources" doc:"fields of custom resources as metrics; at most 1,000 series of an object, 50,000 of a kind"`
}

// Switch turns a metric or an attribute on or off.
type Switch struct {
	Enabled bool `yaml:"enabled" doc:"send it"`
}

// manyPods is from how many pods on they are sent every 30 s, unless pod_interval says otherwise:
// 150,000 pods with their containers are 3.4 million points and 750 MB, each time they are sent.
const (
	manyPods         = 20_000
	manyPodsInterval = 30 * time.Second
)

// Defaults sends every 10 s, as k8s_cluster does, all that is in the catalogue of metrics by default.
func Defaults() Config {
	return Config{
		Enabled:                  true,
		Interval:                 10 * time.Second,
		Names:                    K8sCluster,
		NodeConditionsToReport:   []string{"Ready", "MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable"},
		AllocatableTypesToReport: []string{"*"},
		SkipEmptyReplicaSets:     true,
	}
}

// Check reports every fault at once, each under its YAML path.
func (c Config) Check() error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf("state."+format, args...)) }

	if c.Interval < time.Second || c.Interval > time.Hour {
		fault("interval: %v is out of range; give 1s to 1h", c.Interval)
	}
	if c.PodInterval != 0 && (c.PodInterval < time.Second || c.PodInterval > time.Hour) {
		fault("pod_interval: %v is out of range; give 1s to 1h, or 0s", c.PodInterval)
	}
	if !slices.Contains([]string{K8sCluster, SemConv, Both}, c.Names) {
		fault("names: %q is none of k8s_cluster, semconv, both; write one of them", c.Names)
	}
	for i, ns := range c.Namespaces {
		if ns == "" || strings.ContainsAny(ns, "*/ ") {
			fault("namespaces[%d]: %q is not the name of a namespace; there are no patterns here", i, ns)
		} else if slices.Contains(c.Namespaces[:i], ns) {
			fault("namespaces[%d]: %q stands there twice; remove one", i, ns)
		}
	}
	for _, l := range []struct {
		key  string
		what map[string][]string
	}{{"labels", c.Labels}, {"annotations", c.Annotations}} {
		for _, kind := range slices.Sorted(maps.Keys(l.what)) {
			if generics[kind] == nil {
				fault("%s.%s: no such kind; write one of %s", l.key, kind, strings.Join(slices.Sorted(maps.Keys(generics)), ", "))
			}
			for i, glob := range l.what[kind] {
				if _, err := path.Match(glob, ""); err != nil || glob == "" {
					fault("%s.%s[%d]: %q is no glob; see path.Match of Go", l.key, kind, i, glob)
				}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Metrics)) {
		if len(named(name)) == 0 && len(ofAnyKind(name)) == 0 {
			fault("metrics.%s: no such metric; docs/cluster-metrics.md lists them", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.ResourceAttributes)) {
		if optional[name] == 0 {
			fault("resource_attributes.%s: it names an object, or there is no such attribute; write one of %s", name, strings.Join(slices.Sorted(maps.Keys(optional)), ", "))
		}
	}
	checkCustom(c.CustomResources, fault)
	return errors.Join(errs...)
}
