package events

import (
	"errors"
	"fmt"
	"path"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation"

	"stint/scrape/kube"
	"stint/scrape/kube/checkpoint"
)

// Config says which events are sent as log records.
type Config struct {
	Enabled             bool     `yaml:"enabled" doc:"send events; false: they are not watched, whatever pipelines say"`
	Namespaces          []string `yaml:"namespaces" doc:"namespaces whose events are watched, for which a Role each is enough; empty: all"`
	ExcludeNamespaces   []string `yaml:"exclude_namespaces" doc:"globs of namespaces whose events are left out"`
	Types               []string `yaml:"types" doc:"types of events that are sent, e.g. [Warning]; empty: all"`
	Reasons             []string `yaml:"reasons" doc:"globs of reasons that are sent, e.g. [Failed*]; empty: all"`
	ExcludeReasons      []string `yaml:"exclude_reasons" doc:"globs of reasons that are left out; stronger than reasons"`
	Initial             string   `yaml:"initial" enum:"none,all" doc:"what is sent of the events that are there, up to an hour old, when there is no checkpoint: none or all"`
	CheckpointName      string   `yaml:"checkpoint_name" doc:"ConfigMap that keeps how far events were followed, and their counts, for a restart and the next leader"`
	CheckpointNamespace string   `yaml:"checkpoint_namespace" doc:"its namespace; empty: that of the lease"`
}

// maxNamespaces bounds how many watches there are.
const maxNamespaces = 1000

// Defaults sends all events from the first start on.
func Defaults() Config {
	return Config{Enabled: true, Initial: "none", CheckpointName: "stint-cluster-events"}
}

// Check reports every fault at once, each under its YAML path.
func (c Config) Check() error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	checkpoint.Check(fault, "events", c.CheckpointName, c.CheckpointNamespace)
	for i, ns := range c.Namespaces {
		if len(validation.IsDNS1123Label(ns)) > 0 || slices.Contains(c.Namespaces[:i], ns) {
			fault("events.namespaces[%d]: %q is no name of a namespace, or there twice", i, ns)
		}
	}
	if n := len(c.Namespaces); n > maxNamespaces {
		fault("events.namespaces: %d of at most %d; name none to watch all", n, maxNamespaces)
	}
	for key, globs := range map[string][]string{"exclude_namespaces": c.ExcludeNamespaces, "reasons": c.Reasons, "exclude_reasons": c.ExcludeReasons} {
		for i, glob := range globs {
			if _, err := path.Match(glob, ""); err != nil || glob == "" {
				fault("events.%s[%d]: %q is not a glob; * stands for any characters, ? for one, [a-z] for one of a range", key, i, glob)
			}
		}
	}
	if c.Initial != "none" && c.Initial != "all" {
		fault("events.initial: %q is not known; give none or all", c.Initial)
	}
	return errors.Join(errs...)
}

// wants says whether an event is sent.
func (c Config) wants(e *event) bool {
	like := func(globs []string, s string) bool {
		return slices.ContainsFunc(globs, func(glob string) bool {
			ok, _ := path.Match(glob, s)
			return ok
		})
	}
	return (len(c.Types) == 0 || slices.Contains(c.Types, e.Type)) && (len(c.Reasons) == 0 || like(c.Reasons, e.Reason)) &&
		!like(c.ExcludeReasons, e.Reason) && !like(c.ExcludeNamespaces, e.Metadata.Namespace)
}

// Rules are what roles must allow for a configuration.
func Rules(cfg Config) (all []kube.Rule) {
	if len(cfg.Namespaces) == 0 {
		return []kube.Rule{kube.Reads("", "events", "")}
	}
	for _, ns := range cfg.Namespaces {
		all = append(all, kube.Reads("", "events", ns))
	}
	return all
}
