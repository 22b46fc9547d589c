package objects

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"

	"stint/scrape/kube"
	"stint/scrape/kube/checkpoint"
	"stint/scrape/kube/follow"
	"stint/scrape/kube/rawjson"
)

// Config says which objects are sent as log records.
type Config struct {
	Resources           []Resource `yaml:"resources" doc:"kinds of object that are listed or watched, those of custom resources, too"`
	Drop                []string   `yaml:"drop" doc:"fields that are left out of every object, e.g. spec.containers[*].env or metadata.annotations[example.com/note]; the data of Secrets is always left out"`
	CheckpointName      string     `yaml:"checkpoint_name" doc:"ConfigMap that keeps how far each kind was followed, for a restart and the next leader"`
	CheckpointNamespace string     `yaml:"checkpoint_namespace" doc:"its namespace; empty: that of the lease"`
}

// Resource is one kind of object.
type Resource struct {
	Name              string        `yaml:"name" doc:"plural name, e.g. pods"`
	Group             string        `yaml:"group" doc:"API group, e.g. apps; empty: the first one that has the name, the core group before all others"`
	Version           string        `yaml:"version" doc:"of the group, e.g. v1; empty: the one that the server prefers"`
	Mode              string        `yaml:"mode" enum:"pull,watch" doc:"pull: all objects, each interval; watch: each change; empty: pull"`
	Interval          time.Duration `yaml:"interval" doc:"between two pulls; 0s: 1h"`
	Namespaces        []string      `yaml:"namespaces" doc:"namespaces to look into, for which a Role each is enough; empty: all"`
	ExcludeNamespaces []string      `yaml:"exclude_namespaces" doc:"globs of namespaces that are left out"`
	LabelSelector     string        `yaml:"label_selector" doc:"as of kubectl -l, e.g. app=web"`
	FieldSelector     string        `yaml:"field_selector" doc:"as of kubectl --field-selector, e.g. status.phase=Running"`
	ExcludeWatchType  []string      `yaml:"exclude_watch_type" enum:"ADDED,MODIFIED,DELETED" doc:"changes that are left out of a watch"`
	Initial           string        `yaml:"initial" enum:"none,changed,all" doc:"what a watch sends of the objects that are there when it begins: none; changed: those that are newer than what the checkpoint says, all without one; all: all, at each start. Empty: none"`
	PullEnd           bool          `yaml:"pull_end" doc:"after the last object of each pull send a record stint.pull.end with its k8s.snapshot.id: what is in the snapshot before and not in this one is gone"`
	Drop              []string      `yaml:"drop" doc:"more fields to leave out of these objects"`
}

const (
	defaultInterval = time.Hour
	minInterval     = time.Second
	// maxTargets bounds how many lists and watches there are: each is a connection's stream.
	maxTargets = 1000
)

// Defaults sends nothing.
func Defaults() Config {
	return Config{
		Drop: []string{
			"metadata.managedFields", // half of a small object
			"metadata.annotations[kubectl.kubernetes.io/last-applied-configuration]", // the object once more
		},
		CheckpointName: "stint-cluster-objects",
	}
}

// Check reports every fault at once, each under its YAML path.
func (c Config) Check() error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	checkpoint.Check(fault, "objects", c.CheckpointName, c.CheckpointNamespace)
	for i, d := range c.Drop {
		if _, err := rawjson.ParsePaths([]string{d}); err != nil {
			fault("objects.drop[%d]: %w", i, err)
		}
	}
	targets := 0
	seen := map[string]int{}
	for i, r := range c.Resources {
		at := fmt.Sprintf("objects.resources[%d].", i)
		r.check(func(format string, args ...any) { fault(at+format, args...) })
		targets += max(len(r.Namespaces), 1)
		if other, twice := seen[r.key("")]; twice {
			fault("objects.resources[%d]: the same as objects.resources[%d]; leave one of them out", i, other)
		} else {
			seen[r.key("")] = i
		}
	}
	if targets > maxTargets {
		fault("objects.resources: %d kinds and namespaces of at most %d; leave namespaces out, or name none", targets, maxTargets)
	}
	return errors.Join(errs...)
}

func (r Resource) check(fault func(format string, args ...any)) {
	oneOf := func(key, value string, of ...string) {
		if value != "" && !slices.Contains(of, value) {
			fault("%s: %q is not known; give one of %s", key, value, strings.Join(of, ", "))
		}
	}
	if r.Name == "" || strings.ToLower(r.Name) != r.Name || strings.ContainsAny(r.Name, "/ ") {
		fault("name: %q is no resource; give its plural name, as kubectl api-resources has it, e.g. pods", r.Name)
	}
	if strings.Contains(r.Group, "/") {
		fault("group: %q is no group; give e.g. apps, and the version in version", r.Group)
	}
	oneOf("mode", r.Mode, "pull", "watch")
	oneOf("initial", r.Initial, string(follow.None), string(follow.Changed), string(follow.All))
	if r.Interval != 0 && (r.Interval < minInterval || r.Interval > 7*24*time.Hour) {
		fault("interval: %v is out of range; give 1s to 168h", r.Interval)
	}
	if r.watches() && r.Interval != 0 {
		fault("interval: is for mode: pull; leave it out")
	}
	if !r.watches() && (r.Initial != "" || len(r.ExcludeWatchType) > 0) {
		fault("initial and exclude_watch_type are for mode: watch; leave them out")
	}
	if r.watches() && r.PullEnd {
		fault("pull_end: is for mode: pull; leave it out")
	}
	for i, ns := range r.Namespaces {
		if len(validation.IsDNS1123Label(ns)) > 0 || slices.Contains(r.Namespaces[:i], ns) {
			fault("namespaces[%d]: %q is no name of a namespace, or there twice", i, ns)
		}
	}
	for i, glob := range r.ExcludeNamespaces {
		if _, err := path.Match(glob, ""); err != nil || glob == "" {
			fault("exclude_namespaces[%d]: %q is not a glob; * stands for any characters, ? for one, [a-z] for one of a range", i, glob)
		}
	}
	for i, t := range r.ExcludeWatchType {
		oneOf(fmt.Sprintf("exclude_watch_type[%d]", i), cmp.Or(t, "-"), follow.Added, follow.Modified, follow.Deleted)
	}
	if _, err := labels.Parse(r.LabelSelector); err != nil {
		fault("label_selector: %w; write it as kubectl -l takes it, e.g. app=web", err)
	}
	if _, err := fields.ParseSelector(r.FieldSelector); err != nil {
		fault("field_selector: %w; write it as kubectl --field-selector takes it, e.g. status.phase=Running", err)
	}
	for i, d := range r.Drop {
		if _, err := rawjson.ParsePaths([]string{d}); err != nil {
			fault("drop[%d]: %w", i, err)
		}
	}
}

func (r Resource) watches() bool { return r.Mode == "watch" }

func (r Resource) initial() follow.Initial {
	return follow.Initial(cmp.Or(r.Initial, string(follow.None)))
}

func (r Resource) interval() time.Duration { return cmp.Or(r.Interval, defaultInterval) }

// key names in the checkpoint what is followed in a namespace. What is not in it may change without
// beginning anew.
func (r Resource) key(namespace string) string {
	return strings.Join([]string{cmp.Or(r.Mode, "pull"), r.Name, r.Group, r.Version, r.LabelSelector, r.FieldSelector, namespace}, "|")
}

// namespaces are those of which each is listed and watched for itself; "" is all.
func (r Resource) namespaces(namespaced bool) []string {
	if !namespaced || len(r.Namespaces) == 0 {
		return []string{""}
	}
	return r.Namespaces
}

// excluded says whether objects of a namespace are left out.
func (r Resource) excluded(namespace string) bool {
	return slices.ContainsFunc(r.ExcludeNamespaces, func(glob string) bool {
		out, _ := path.Match(glob, namespace)
		return out
	})
}

// Rules are what roles must allow for a kind, as the server has it. The error wraps [follow.ErrNoResource] if it has
// none.
func (r Resource) Rules(kinds *follow.Kinds) (all []kube.Rule, err error) {
	found, err := kinds.Find(r.Name, r.Group, r.Version)
	if err != nil {
		return nil, err
	}
	for _, ns := range r.namespaces(found.Namespaced) {
		rule := kube.Reads(found.Group, found.Name, ns)
		if !r.watches() {
			rule.Verbs = rule.Verbs[:1]
		}
		all = append(all, rule)
	}
	return all, nil
}
