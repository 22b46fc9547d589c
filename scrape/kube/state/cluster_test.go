//go:build cluster

package state

import (
	"crypto/rand"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"stint/scrape/kube/kubetest"
)

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }

// realRig is a source with the roles of deploy/ before a real API server.
func realRig(t *testing.T, cfg Config) *rig {
	t.Helper()
	s := kubetest.Shared()
	s.Apply(t, "deploy/kubernetes/rbac.yaml")
	_, r := newSourceOf(t, cfg, s.ConfigFor(t, "stint", "stint-cluster"), nil)
	return r
}

// kindNamed finds a kind.
func kindNamed(t testing.TB, name string) *kind {
	t.Helper()
	i := slices.IndexFunc(kinds, func(k kind) bool { return k.name == name })
	if i < 0 {
		t.Fatalf("no kind %s", name)
	}
	return &kinds[i]
}

// resourceOf is where a kind's objects are written.
func resourceOf(t *testing.T, name, namespace string) dynamic.ResourceInterface {
	k := kindNamed(t, name)
	version := "v1"
	if k.group == "autoscaling" {
		version = "v2"
	}
	res := kubetest.Shared().Client().Dynamic.Resource(schema.GroupVersionResource{Group: k.group, Version: version, Resource: k.name})
	if k.namespaced {
		return res.Namespace(namespace)
	}
	return res
}

// fresh is a namespace that no other test has had.
func fresh(name string) string { return name + "-" + strings.ToLower(rand.Text()[:8]) }

// create makes objects with their status, as controllers would.
func create(t *testing.T, namespace string, all map[string][]runtime.Object) {
	t.Helper()
	gvks := map[string]schema.GroupVersionKind{}
	kubetest.Shared().Namespace(t, namespace)
	names := slices.Sorted(maps.Keys(all))
	if i := slices.Index(names, "resourcequotas"); i >= 0 { // else it is in the way of the others
		names = append(slices.Delete(names, i, i+1), "resourcequotas")
	}
	for _, name := range names {
		for _, o := range all[name] {
			content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
			if err != nil {
				t.Fatal(err)
			}
			u := &unstructured.Unstructured{Object: content}
			kind, version := listKind("/" + name)
			gv, _ := schema.ParseGroupVersion(version)
			gvks[name] = gv.WithKind(strings.TrimSuffix(kind, "List"))
			u.SetGroupVersionKind(gvks[name])
			deleted := u.GetDeletionTimestamp() != nil
			u.SetDeletionTimestamp(nil)
			u.SetUID("")
			u.SetCreationTimestamp(metav1.Time{})
			status, has := content["status"]
			res := resourceOf(t, name, namespace)
			made, err := res.Create(t.Context(), u, metav1.CreateOptions{})
			if err != nil {
				t.Fatalf("create %s %s: %v", name, u.GetName(), err)
			}
			if has && name != "endpointslices" {
				made.Object["status"] = status
				if _, err := res.UpdateStatus(t.Context(), made, metav1.UpdateOptions{}); err != nil {
					t.Fatalf("status of %s %s: %v", name, u.GetName(), err)
				}
			}
			if deleted {
				if err := res.Delete(t.Context(), u.GetName(), metav1.DeleteOptions{}); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// remove deletes what create made.
func remove(t *testing.T, namespace string, all map[string][]runtime.Object) {
	now := int64(0)
	for name, objs := range all {
		res := resourceOf(t, name, namespace)
		for _, o := range objs {
			m, _ := meta.Accessor(o)
			if len(m.GetFinalizers()) > 0 {
				u, err := res.Get(t.Context(), m.GetName(), metav1.GetOptions{})
				if err != nil {
					t.Fatal(err)
				}
				u.SetFinalizers(nil)
				if _, err := res.Update(t.Context(), u, metav1.UpdateOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			err := res.Delete(t.Context(), m.GetName(), metav1.DeleteOptions{GracePeriodSeconds: &now})
			if err != nil && len(m.GetFinalizers()) == 0 {
				t.Fatalf("delete %s %s: %v", name, m.GetName(), err)
			}
			// Protections that a controller would take away.
			if u, err := res.Get(t.Context(), m.GetName(), metav1.GetOptions{}); err == nil && len(u.GetFinalizers()) > 0 {
				u.SetFinalizers(nil)
				if _, err := res.Update(t.Context(), u, metav1.UpdateOptions{}); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// unstored are metrics of what a real API server does not take.
func unstored(names map[string]bool) map[string]bool {
	names = maps.Clone(names)
	for n := range names {
		for _, last := range []string{".deletion_time", ".generation", ".observed_generation"} { // the server sets these, not of every kind
			if strings.HasSuffix(n, last) {
				delete(names, n)
			}
		}
	}
	for _, n := range []string{"k8s.node.lease.renew_time", "k8s.configmap.count", "k8s.secret.count", "k8s.container.storage.request", "k8s.container.storage_request", "k8s.container.storage.limit", "k8s.container.storage_limit", "k8s.cronjob.schedule_invalid",
		"k8s.pod.overhead.cpu", "k8s.pod.overhead.memory", "k8s.hpa.metric.target.cpu.value", "k8s.pod.unschedulable"} {
		delete(names, n)
	}
	return names
}

// All rows of the catalogue, of objects that a real API server has, by the roles of deploy/; then all
// of them end.
func TestRealCatalogue(t *testing.T) {
	ns := fresh("catalogue")
	all := oneOfEach(ns)
	create(t, ns, all)
	semconv := Defaults()
	semconv.Names = SemConv
	var rigs []*rig
	configs := map[string]Config{"defaults": Defaults(), "semconv": semconv, "everything": everything()}
	for _, name := range []string{"defaults", "semconv", "everything"} { // the first one is looked at below: of everything leases would be listed once a minute only
		cfg := configs[name]
		if name == "everything" { // the roles of deploy/ do not allow them
			cfg.Metrics["k8s.configmap.count"], cfg.Metrics["k8s.secret.count"] = Switch{}, Switch{}
		}
		r := realRig(t, cfg)
		r.start()
		want := unstored(wantedNames(cfg))
		r.until("the objects are known", func() bool { // roles take a moment
			for _, st := range r.term.stores {
				if synced, _ := st.ready(); !synced {
					return false
				}
			}
			return true
		})
		got := unstored(r.interval().names())
		compareNames(t, name, got, want)
		rigs = append(rigs, r)
	}
	r := rigs[0]
	if got := r.found.of("k8s.pod.phase", "k8s.namespace.name="+ns); len(got) != 3 {
		t.Errorf("phases of the pods: %q", got)
	}
	remove(t, ns, all)
	r.until("all are gone", func() bool {
		for name := range all {
			for _, st := range r.term.byKind[name] {
				st.mu.Lock()
				n := 0
				for i := range st.slots {
					if row := st.slots[i].row; row != nil && (strings.Contains(row.own, ns) || strings.Contains(row.shared.Value(), ns)) {
						n++
					}
				}
				st.mu.Unlock()
				if n > 0 && name != "namespaces" { // which stay until a controller has emptied them
					return false
				}
			}
		}
		return true
	})
	f := r.interval()
	for _, p := range f.of("k8s.pod.phase", "k8s.namespace.name="+ns) {
		if p != "{} ends" {
			t.Errorf("a pod that is gone: %s", p)
		}
	}
	if n := len(f.of("k8s.pod.phase", "k8s.namespace.name="+ns)); n != 3 {
		t.Errorf("%d of 3 pods end", n)
	}
	if got := f.of("k8s.deployment.desired", "k8s.namespace.name="+ns); len(got) != 1 || got[0] != "{} ends" {
		t.Errorf("the deployment: %q", got)
	}
	if got := f.of("k8s.persistentvolume.status.phase", "k8s.persistentvolume.name="+ns+"-pv"); len(got) != 1 || !strings.HasSuffix(got[0], "Bound} 0") {
		t.Errorf("the volume: %q", got)
	}
	if got := r.interval().of("k8s.pod.phase", "k8s.namespace.name="+ns); len(got) != 0 {
		t.Errorf("pods that are gone, later: %q", got)
	}
}

// The API server restarts, which expires every watch; what changed and went meanwhile is seen.
func TestRealRestart(t *testing.T) {
	ns := fresh("restart")
	s := kubetest.Shared()
	two := map[string][]runtime.Object{"deployments": oneOfEach(ns)["deployments"], "statefulsets": oneOfEach(ns)["statefulsets"]}
	create(t, ns, two)
	r := realRig(t, Defaults())
	r.start()
	r.until("both are known", func() bool {
		f := r.interval()
		return len(f.of("k8s.deployment.desired", "k8s.namespace.name="+ns)) == 1 && len(f.of("k8s.statefulset.desired_pods", "k8s.namespace.name="+ns)) == 1
	})
	s.Kill()
	if got := r.interval().of("k8s.deployment.desired", "k8s.namespace.name="+ns); len(got) != 1 || got[0] != "{} 1" {
		t.Errorf("while the server is away: %q", got)
	}
	s.Restart(t)
	// These are made before the reflectors are back, as likely as not.
	if err := resourceOf(t, "deployments", ns).Delete(t.Context(), "d", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := resourceOf(t, "statefulsets", ns).Patch(t.Context(), "set", "application/merge-patch+json", []byte(`{"spec":{"replicas":7}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	ended := 0
	deadline := time.Now().Add(2 * time.Minute)
	for seven := false; ended == 0 || !seven; {
		if time.Now().After(deadline) {
			t.Fatalf("not seen: the deployment ended %d times\n%s", ended, r.logged)
		}
		f := r.interval()
		for _, p := range f.of("k8s.deployment.desired", "k8s.namespace.name="+ns) {
			if p == "{} ends" {
				ended++
			}
		}
		got := f.of("k8s.statefulset.desired_pods", "k8s.namespace.name="+ns)
		seven = len(got) == 1 && got[0] == "{} 7"
		time.Sleep(50 * time.Millisecond) // reflectors back off for seconds
	}
	if strings.Contains(r.logged.String(), "not allowed") {
		t.Errorf("a server that has just started refuses for a moment; that is no matter:\n%s", r.logged)
	}
	if got := r.interval().of("k8s.deployment.desired", "k8s.namespace.name="+ns); len(got) != 0 || ended != 1 {
		t.Errorf("the deployment ended %d times, then %q", ended, got)
	}
}

// Without roles each kind is said with the rule that a role needs; none of them ends the source.
func TestRealForbidden(t *testing.T) {
	s := kubetest.Shared()
	_, r := newSourceOf(t, Defaults(), s.ConfigFor(t, "stint", "nobody"), nil)
	r.start()
	r.until("all is said", func() bool { return strings.Count(r.logged.String(), "level=ERROR") >= len(r.Source.kinds) })
	log := r.logged.String()
	for _, k := range r.Source.kinds {
		if strings.Count(log, k.quotedRule()) != 1 {
			t.Errorf("%s: not said once:\n%s", k.name, log)
		}
	}
}

// quotedRule is the rule as a text log quotes it.
func (k *kind) quotedRule() string { return strings.ReplaceAll(k.rule(), `"`, `\"`) }

// A CRD that comes while the source runs is found, may be read when a role says so, and its objects' fields
// are sent; when it goes, their series end.
func TestRealCustomResource(t *testing.T) {
	ns := fresh("custom")
	s := kubetest.Shared()
	s.Namespace(t, ns)
	client := s.Client().Dynamic
	group := ns + ".example.org"
	cfg := Defaults()
	c := certificates
	c.Group = group
	cfg.CustomResources = []CustomResource{c}
	_, r := newSourceOf(t, cfg, s.ConfigFor(t, "stint", "custom"), nil)
	r.Source.kinds = slices.DeleteFunc(r.Source.kinds, func(k *kind) bool { return k.custom == nil })
	r.term = r.newTerm()
	r.few, r.pod = r.newEmitter(r.term, r.term.stores, func() {}), r.newEmitter(r.term, nil, func() {})
	r.begin()
	r.until("its absence is said", func() bool { return strings.Contains(r.logged.String(), "does not have a kind of object") })

	make := func(res dynamic.ResourceInterface, text string) {
		t.Helper()
		u := &unstructured.Unstructured{}
		if err := u.UnmarshalJSON([]byte(text)); err != nil {
			t.Fatal(err)
		}
		var err error
		for range 100 { // the server takes a moment to know a new kind
			if _, err = res.Create(t.Context(), u, metav1.CreateOptions{}); err == nil {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
		t.Fatal(err)
	}
	crds := client.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	make(crds, `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"certificates.`+group+`"},
		"spec":{"group":"`+group+`","scope":"Namespaced","names":{"plural":"certificates","singular":"certificate","kind":"Certificate"},
		"versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}]}}`)
	made := client.Resource(schema.GroupVersionResource{Group: group, Version: "v1", Resource: "certificates"}).Namespace(ns)
	text := strings.NewReplacer("cert-manager.example.org", group, `"namespace":"shop",`, "", `"resourceVersion":"VERSION",`, "", "READY", "True").Replace(certificate)
	make(made, text)
	rule := `{apiGroups: [\"` + group + `\"], resources: [certificates], verbs: [list, watch]}`
	r.waits(2*time.Minute, "the missing rule is said", func() bool { return strings.Contains(r.logged.String(), rule) })
	roles := client.Resource(schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterroles"})
	make(roles, `{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRole","metadata":{"name":"`+ns+`"},"rules":[{"apiGroups":["`+group+`"],"resources":["certificates"],"verbs":["list","watch"]}]}`)
	bindings := client.Resource(schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterrolebindings"})
	make(bindings, `{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRoleBinding","metadata":{"name":"`+ns+`"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"`+ns+`"},"subjects":[{"kind":"ServiceAccount","name":"custom","namespace":"stint"}]}`)
	var f *found
	r.waits(2*time.Minute, "the object is sent", func() bool {
		f = r.interval()
		return len(f.of("k8s.customresource.paused", "k8s.certificate.name=web", "k8s.namespace.name="+ns)) == 1
	})
	want(t, "a time", f.of("k8s.customresource.expiration_time"), "{} 1.80144e+09d")
	want(t, "the condition of a type", f.of("k8s.customresource.ready"), "{} 1d")
	if err := crds.Delete(t.Context(), "certificates."+group, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	r.waits(2*time.Minute, "its end is sent", func() bool {
		got := r.interval().of("k8s.customresource.paused")
		return len(got) == 1 && got[0] == "{} ends"
	})
}
