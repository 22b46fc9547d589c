package lookup

import (
	"errors"
	"fmt"
	"path"

	"stint/scrape/kube"
)

// Config says what is added to what is received.
type Config struct {
	Enabled         bool     `yaml:"enabled" doc:"add the identity of the pod that a request comes from, or that a resource names, where it is not there already: names, uid, node, workload, and the labels below; takes the role stint-cluster-enrich"`
	PodLabels       []string `yaml:"pod_labels" doc:"keys of pod labels that become k8s.pod.label.KEY; globs, where * stops at /"`
	NamespaceLabels []string `yaml:"namespace_labels" doc:"the same for the namespace: k8s.namespace.label.KEY"`
	NodeLabels      []string `yaml:"node_labels" doc:"the same for the node: k8s.node.label.KEY"`
}

// Check reports every fault at once, each under its YAML path below section.
func (c Config) Check(section string) error {
	var errs []error
	for _, l := range []struct {
		key   string
		globs []string
	}{{"pod_labels", c.PodLabels}, {"namespace_labels", c.NamespaceLabels}, {"node_labels", c.NodeLabels}} {
		for i, g := range l.globs {
			if _, err := path.Match(g, ""); err != nil || g == "" {
				errs = append(errs, fmt.Errorf("%s.%s[%d]: %q is no glob; give a label's key, e.g. app.kubernetes.io/name or team-*", section, l.key, i, g))
			}
		}
	}
	return errors.Join(errs...)
}

// Rules are what a role must allow for a configuration.
func Rules(cfg Config) []kube.Rule {
	all := []kube.Rule{{Resource: "pods", Verbs: []string{"get", "list"}}}
	if len(cfg.NamespaceLabels) > 0 {
		all = append(all, kube.Rule{Resource: "namespaces", Verbs: []string{"get"}})
	}
	if len(cfg.NodeLabels) > 0 {
		all = append(all, kube.Rule{Resource: "nodes", Verbs: []string{"get"}})
	}
	return all
}
