//go:build cluster

package deploy

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"stint/scrape/kube/kubetest"
)

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }

// crds stand in for those that cert-manager, the Prometheus Operator and OpenShift bring: names only, any field.
var crds = []struct{ group, version, kind, plural, scope string }{
	{"cert-manager.io", "v1", "Certificate", "certificates", "Namespaced"},
	{"cert-manager.io", "v1", "Issuer", "issuers", "Namespaced"},
	{"monitoring.coreos.com", "v1", "PodMonitor", "podmonitors", "Namespaced"},
	{"security.openshift.io", "v1", "SecurityContextConstraints", "securitycontextconstraints", "Cluster"},
}

// withCRDs is the server, with them.
func withCRDs(t *testing.T) *kubetest.Server {
	t.Helper()
	s := kubetest.Shared()
	for _, c := range crds {
		name := c.plural + "." + c.group
		s.ApplyObjects(t, &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
			"metadata": map[string]any{"name": name, "annotations": map[string]any{"api-approved.kubernetes.io": "unapproved, a test"}},
			"spec": map[string]any{
				"group": c.group, "scope": c.scope, "names": map[string]any{"kind": c.kind, "plural": c.plural},
				"versions": []any{map[string]any{"name": c.version, "served": true, "storage": true, "schema": map[string]any{
					"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}},
			},
		}})
		to := s.Client().Dynamic.Resource(schema.GroupVersionResource{Group: c.group, Version: c.version, Resource: c.plural})
		eventually(t, name, func() bool {
			_, err := to.List(t.Context(), metav1.ListOptions{})
			return err == nil
		})
	}
	return s
}

// eventually waits until something holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(2 * time.Minute); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within two minutes", what)
		}
	}
}

// TestAccepted: the API server takes every object of every combination of values, and of the base and each overlay, with
// no field that it does not know.
func TestAccepted(t *testing.T) {
	s := withCRDs(t)
	kinds := map[string]int{}
	accepts := func(name string, objects []*unstructured.Unstructured) {
		for _, o := range objects {
			kinds[o.GetKind()]++
			if err := s.Accepts(t, o); err != nil && (o.GetKind() != "Namespace" || !apierrors.IsAlreadyExists(err)) {
				t.Errorf("%s: %s %s: %v", name, o.GetKind(), o.GetName(), err)
			}
		}
	}
	for name, args := range all(t) {
		accepts(name, render(t, "stint", args...))
	}
	accepts("base", build(t, "kubernetes/base"))
	for _, name := range overlays {
		accepts(name, build(t, "kubernetes/overlays/"+name))
	}
	for _, kind := range append(slices.Collect(maps.Keys(typed)), foreign...) {
		if kinds[kind] == 0 {
			t.Errorf("no %s among what was tried", kind)
		}
	}
}

// TestPodSecurity: pods of stint-cluster are let into a namespace of the profile restricted, those of the agent, which
// mount paths of the node, only into one of the profile privileged.
func TestPodSecurity(t *testing.T) {
	s := kubetest.Shared()
	for _, profile := range []string{"restricted", "baseline", "privileged"} {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: profile, Labels: map[string]string{"pod-security.kubernetes.io/enforce": profile}}}
		if _, err := s.Client().Typed.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for name, args := range all(t) {
		for _, o := range render(t, "stint", args...) {
			template, ok, _ := unstructured.NestedMap(o.Object, "spec", "template")
			if !ok {
				continue
			}
			if o.GetKind() == "StatefulSet" { // makes claims of its templates
				volumes, _, _ := unstructured.NestedSlice(template, "spec", "volumes")
				claim := map[string]any{"name": "state", "persistentVolumeClaim": map[string]any{"claimName": "state-stint-cluster-0"}}
				if err := unstructured.SetNestedSlice(template, append(volumes, claim), "spec", "volumes"); err != nil {
					t.Fatal(err)
				}
			}
			unstructured.RemoveNestedField(template, "spec", "priorityClassName") // TestAccepted has it; its class must be there for a pod
			for _, profile := range []string{"restricted", "baseline", "privileged"} {
				pod := &unstructured.Unstructured{Object: template}
				pod.SetAPIVersion("v1")
				pod.SetKind("Pod")
				pod.SetName("p")
				pod.SetNamespace(profile)
				err := s.Accepts(t, pod)
				refused := err != nil && apierrors.IsForbidden(err) && strings.Contains(err.Error(), "violates PodSecurity")
				if want := o.GetName() == "stint-agent" && profile != "privileged"; refused != want || err != nil && !refused {
					t.Errorf("%s: %s in a namespace of the profile %s: %v", name, o.GetName(), profile, err)
				}
			}
		}
	}
}

// TestLifecycle: helm installs, upgrades, rolls back and removes. What stays is what stint-cluster itself wrote.
func TestLifecycle(t *testing.T) {
	s := withCRDs(t)
	helm := func(args ...string) string {
		t.Helper()
		out, err := run(t, tool(t, "helm"), append(args, "--kubeconfig", s.AdminConfig(), "--namespace", "life")...)
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	typed := s.Client().Typed
	config := func() string {
		t.Helper()
		m, err := typed.CoreV1().ConfigMaps("life").Get(t.Context(), "stint-agent", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return m.Data["agent.yaml"]
	}
	if out := helm("install", "stint", "helm/stint", "--create-namespace"); !strings.Contains(out, "kubectl -n life rollout status daemonset/stint-agent") || !strings.Contains(out, "No exporters are set") {
		t.Error(out)
	}
	if c := config(); !strings.Contains(c, "insecure: true") || !strings.Contains(c, "stint-cluster-headless.life.svc:4317") {
		t.Error(c)
	}
	if _, err := typed.CoreV1().ConfigMaps("life").Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "stint-cluster-events"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	helm("upgrade", "stint", "helm/stint", "--reuse-values", "--set", "tls.mode=cert-manager")
	if c := config(); !strings.Contains(c, "/etc/stint-tls/ca.crt") {
		t.Error(c)
	}
	helm("rollback", "stint", "1")
	if c := config(); !strings.Contains(c, "insecure: true") {
		t.Error(c)
	}
	helm("uninstall", "stint")
	maps, err := typed.CoreV1().ConfigMaps("life").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range maps.Items {
		if m.Name != "stint-cluster-events" && m.Name != "kube-root-ca.crt" {
			t.Errorf("ConfigMap %s stays", m.Name)
		}
	}
	roles, err := typed.RbacV1().ClusterRoles().List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/managed-by=Helm"})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range roles.Items {
		t.Errorf("ClusterRole %s stays", r.Name)
	}
	if sets, err := typed.AppsV1().DaemonSets("life").List(t.Context(), metav1.ListOptions{}); err != nil || len(sets.Items) > 0 {
		t.Error(sets, err)
	}
}

// TestBase: the base can be applied as a whole, as by kubectl apply --server-side, and once more. It stays: this comes after TestLifecycle.
func TestBase(t *testing.T) {
	s := kubetest.Shared()
	for range 2 {
		s.ApplyObjects(t, build(t, "kubernetes/base")...)
	}
}
