package deploy

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

var update = flag.Bool("update", false, "rewrite generated files")

// overlays are those examples of the chart's that are there for kustomize, too.
var overlays = []string{"cert-manager", "k3s", "openshift", "otel-operator-tutorial"}

const (
	generated = "# Generated from the chart: make manifests\n"
	namespace = generated + `# privileged: the agent mounts paths of the node, which the other profiles forbid. stint-cluster passes restricted.
apiVersion: v1
kind: Namespace
metadata:
  name: stint
  labels:
    pod-security.kubernetes.io/enforce: privileged
`
	rbac = generated + `# What stint-cluster may do with every feature on (helm/stint/examples/full.yaml), feature by feature, for who writes manifests
# of their own; leave out the blocks of features that are off. The chart and base/ have no more than is on.
# cluster.stateExtra: the rules from limitranges on, and leases.
---
`
)

// TestManifests: deploy/kubernetes is what the chart gives. -update rewrites it.
func TestManifests(t *testing.T) {
	want := map[string]string{"base/namespace.yaml": namespace}
	for _, name := range []string{"agent", "cluster", "cluster-rbac"} {
		want["base/"+name+".yaml"] = generated + string(one(t, name))
	}
	want["rbac.yaml"] = rbac + strings.TrimPrefix(string(one(t, "cluster-rbac", "-f", "helm/stint/examples/full.yaml")), "---\n")
	want["base/kustomization.yaml"] = kustomization("namespace.yaml", "agent.yaml", "cluster-rbac.yaml", "cluster.yaml")
	base := byID(render(t, "stint"))
	for _, name := range overlays {
		added, patches := difference(t, base, byID(render(t, "stint", all(t)[name+".yaml"]...)))
		dir := "overlays/" + name + "/"
		resources := []string{"../../base"}
		if added != "" {
			resources = append(resources, "added.yaml")
			want[dir+"added.yaml"] = generated + added
		}
		text := kustomization(resources...)
		if patches != "" {
			text += "patches:\n  - path: patches.yaml\n"
			want[dir+"patches.yaml"] = generated + patches
		}
		want[dir+"kustomization.yaml"] = text
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		path := filepath.Join("kubernetes", name)
		if *update {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(want[name]), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
		} else if d := cmp.Diff(want[name], string(got)); d != "" {
			t.Errorf("%s is stale; make manifests (-want +got)\n%s", path, d)
		}
	}
}

// TestOverlays: what kustomize makes of the base and each overlay is, object by object, what helm makes of the same values.
func TestOverlays(t *testing.T) {
	for _, name := range append(slices.Clone(overlays), "") {
		dir, args := "kubernetes/overlays/"+name, all(t)[name+".yaml"]
		if name == "" {
			dir, args = "kubernetes/base", nil
		}
		t.Run(filepath.Base(dir), func(t *testing.T) {
			t.Parallel()
			built := build(t, dir)
			checkObjects(t, built)
			got, want := byID(built), byID(render(t, "stint", args...))
			delete(got, "v1 Namespace /stint")
			for _, all := range []map[string]*unstructured.Unstructured{got, want} {
				for _, o := range all {
					sorted(o.Object)
				}
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("-helm +kustomize\n%s", d)
			}
		})
	}
}

// build is what kustomize makes of a directory.
func build(t *testing.T, dir string) []*unstructured.Unstructured {
	t.Helper()
	touch(t, "kubernetes")
	text, err := run(t, tool(t, "kustomize"), "build", dir)
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, text)
}

// one is one template's text.
func one(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	text, err := template(t, "stint", append([]string{"-s", "templates/" + name + ".yaml"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.ReplaceAll(text, []byte("# Source: stint/templates/"+name+".yaml\n"), nil)
}

func kustomization(resources ...string) string {
	return generated + "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n  - " + strings.Join(resources, "\n  - ") + "\n"
}

func byID(objects []*unstructured.Unstructured) map[string]*unstructured.Unstructured {
	all := map[string]*unstructured.Unstructured{}
	for _, o := range objects {
		all[fmt.Sprintf("%s %s %s/%s", o.GetAPIVersion(), o.GetKind(), o.GetNamespace(), o.GetName())] = o
	}
	return all
}

// difference is what is new among want, and patches that make the rest of base.
func difference(t *testing.T, base, want map[string]*unstructured.Unstructured) (added, patches string) {
	t.Helper()
	write := func(to *string, o map[string]any) {
		var b strings.Builder
		e := yaml.NewEncoder(&b)
		e.SetIndent(2)
		if err := e.Encode(o); err != nil {
			t.Fatal(err)
		}
		if *to != "" {
			*to += "---\n"
		}
		*to += b.String()
	}
	known := func(o *unstructured.Unstructured, more map[string]any) map[string]any {
		meta, _ := more["metadata"].(map[string]any)
		if meta == nil {
			meta = map[string]any{}
		}
		meta["name"] = o.GetName()
		if ns := o.GetNamespace(); ns != "" {
			meta["namespace"] = ns
		}
		more["apiVersion"], more["kind"], more["metadata"] = o.GetAPIVersion(), o.GetKind(), meta
		return more
	}
	for _, id := range slices.Sorted(maps.Keys(want)) {
		if base[id] == nil {
			write(&added, want[id].Object)
		} else if p := patch(t, id, base[id].Object, want[id].Object); len(p) > 0 {
			write(&patches, known(want[id], p))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(base)) {
		if want[id] == nil {
			write(&patches, known(base[id], map[string]any{"$patch": "delete"}))
		}
	}
	return added, patches
}

// patch is a strategic merge patch. In a list of what has names elements are merged and added.
func patch(t *testing.T, path string, from, to map[string]any) map[string]any {
	t.Helper()
	p := map[string]any{}
	for key := range from {
		if _, ok := to[key]; !ok {
			p[key] = nil
		}
	}
	for key, is := range to {
		path := path + "." + key
		switch was := from[key].(type) {
		case map[string]any:
			if more := patch(t, path, was, is.(map[string]any)); len(more) > 0 {
				p[key] = more
			}
		case []any:
			if reflect.DeepEqual(was, is) {
				break
			}
			named := map[any]map[string]any{}
			for _, e := range was {
				m, ok := e.(map[string]any)
				if !ok || m["name"] == nil {
					named = nil
					break
				}
				named[m["name"]] = m
			}
			if named == nil {
				p[key] = is
				break
			}
			var list []any
			for _, e := range is.([]any) {
				m := e.(map[string]any)
				if was := named[m["name"]]; was == nil {
					list = append(list, m)
				} else if more := patch(t, path, was, m); len(more) > 0 {
					more["name"] = m["name"]
					list = append(list, more)
				}
				delete(named, m["name"])
			}
			if len(named) > 0 {
				t.Fatalf("%s: an element goes, which no patch here says", path)
			}
			p[key] = list
		default:
			if !reflect.DeepEqual(was, is) {
				p[key] = is
			}
		}
	}
	return p
}

// sorted brings lists of what has names into their order, in which a patch may have put new elements anywhere.
func sorted(v any) {
	switch v := v.(type) {
	case map[string]any:
		for _, e := range v {
			sorted(e)
		}
	case []any:
		for _, e := range v {
			sorted(e)
		}
		slices.SortStableFunc(v, func(a, b any) int {
			x, _ := a.(map[string]any)
			y, _ := b.(map[string]any)
			return strings.Compare(fmt.Sprint(x["name"]), fmt.Sprint(y["name"]))
		})
	}
}
