//go:build cluster

package objects

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"

	"stint/scrape/kube"
	"stint/scrape/kube/kubetest"
	"stint/scrape/kube/replay"
)

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }

// real is a client with the roles of deploy/ and no others, one of an administrator, and a namespace
// of the test's own.
func real(t *testing.T) (c *kube.Client, admin kubernetes.Interface, namespace string) {
	t.Helper()
	s := kubetest.Shared()
	s.Apply(t, "deploy/kubernetes/rbac.yaml")
	c, err := kube.NewClient(kube.Config{Kubeconfig: s.ConfigFor(t, "stint", "stint-cluster")}, "test")
	if err != nil {
		t.Fatal(err)
	}
	namespace = strings.ToLower(strings.NewReplacer("/", "-").Replace(t.Name()))
	s.Namespace(t, namespace)
	admin = s.Client().Typed
	// Each test begins without a checkpoint.
	err = admin.CoreV1().ConfigMaps("stint").DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "app.kubernetes.io/managed-by=stint-cluster"})
	if err != nil {
		t.Fatal(err)
	}
	return c, admin, namespace
}

func deployment(name string) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}}},
		},
	}
}

// changes makes them, and notes what a record must say of each.
type changes struct {
	t     *testing.T
	admin kubernetes.Interface
	ns    string
	want  []string
}

func (c *changes) note(kind string, d *appsv1.Deployment, err error) *appsv1.Deployment {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
	c.want = append(c.want, kind+d.Name+"@"+d.ResourceVersion)
	return d
}

func (c *changes) create(name string) {
	c.t.Helper()
	d, err := c.admin.AppsV1().Deployments(c.ns).Create(context.Background(), deployment(name), metav1.CreateOptions{})
	c.note("+", d, err)
}

func (c *changes) update(name string, replicas int32) {
	c.t.Helper()
	d := deployment(name)
	d.Spec.Replicas = &replicas
	d, err := c.admin.AppsV1().Deployments(c.ns).Update(context.Background(), d, metav1.UpdateOptions{})
	c.note("~", d, err)
}

func (c *changes) delete(name string) {
	c.t.Helper()
	if err := c.admin.AppsV1().Deployments(c.ns).Delete(context.Background(), name, metav1.DeleteOptions{}); err != nil {
		c.t.Fatal(err)
	}
	c.want = append(c.want, "-"+name+"@") // its version is that of the deletion
}

// check compares records with what happened.
func (c *changes) check(records []replay.Record) {
	c.t.Helper()
	var got []string
	for _, w := range strings.Fields(names(records)) {
		if strings.HasPrefix(w, "-") {
			w, _, _ = strings.Cut(w, "@")
			w += "@"
		}
		got = append(got, w)
	}
	if strings.Join(got, " ") != strings.Join(c.want, " ") {
		c.t.Errorf("\n got %s\nwant %s", strings.Join(got, " "), strings.Join(c.want, " "))
	}
}

// TestRealWatch: changes of a real API server, over its restart and over ours, once each.
func TestRealWatch(t *testing.T) {
	c, admin, ns := real(t)
	do := &changes{t: t, admin: admin, ns: ns}
	r := Resource{Name: "deployments", Mode: "watch", Initial: "changed", FieldSelector: "metadata.namespace=" + ns}
	do.create("a")
	p := startWith(t, c, replay.NewSink(t), func(*Source) {}, r)
	p.Wait(1)
	do.create("b")
	do.update("a", 3)
	do.delete("b")
	do.check(p.Wait(4))
	if d := p.Records()[2]; field(d.Body, "object", "spec", "replicas").GetIntValue() != 3 || field(d.Body, "object", "metadata", "managedFields") != nil || d.ResourceAttr("k8s.namespace.name") != ns || d.Attr("k8s.object.kind") != "Deployment" {
		t.Errorf("%v", d)
	}
	// The version that the watch is at is forgotten: another kind has moved on.
	for range 3 {
		cm, err := admin.CoreV1().ConfigMaps(ns).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "x"}}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		kubetest.Shared().Compact(t, cm.ResourceVersion)
	}
	kubetest.Shared().Restart(t)
	do.create("c")
	do.update("a", 4)
	do.delete("c")
	do.create("d")
	got := p.Wait(5)
	until(t, "all is there", func() bool { got = p.Records(); return strings.Contains(names(got), "+d@") })
	p.end()
	// Of c may be seen all or nothing, for its life was short; the rest once each.
	seen := names(got[4:])
	if strings.Count(seen, "a@") != 1 || !strings.Contains(seen, do.want[5]) || !strings.Contains(seen, do.want[7]) || strings.Count(seen, "+c@") != strings.Count(seen, "-c@") {
		t.Errorf("%s, want %v", seen, do.want[4:])
	}
	do.want = nil
	do.update("a", 5)
	do.create("e")
	p = startWith(t, c, replay.NewSink(t), func(*Source) {}, r)
	do.check(p.Wait(2))
	p.end()
	if strings.Contains(p.log.String(), "level=WARN") {
		t.Errorf("%s", p.log)
	}
}

// TestRealGap: what went while no process of ours looked and the server forgot comes as deleted; and a version of the
// future does not hang.
func TestRealGap(t *testing.T) {
	c, admin, ns := real(t)
	do := &changes{t: t, admin: admin, ns: ns}
	r := Resource{Name: "deployments", Mode: "watch", Initial: "changed", FieldSelector: "metadata.namespace=" + ns}
	do.create("a")
	do.create("b")
	p := startWith(t, c, replay.NewSink(t), func(*Source) {}, r)
	uid := p.Wait(2)[1].Attr("k8s.object.uid")
	p.end()
	do.want = nil
	do.delete("b")
	do.update("a", 2)
	kubetest.Shared().Compact(t, do.want[1][3:])
	kubetest.Shared().Restart(t)
	p = startWith(t, c, replay.NewSink(t), func(*Source) {}, r)
	got := p.Wait(2)
	if names(got) != do.want[1]+" "+do.want[0] || got[1].Attr("stint.watch.missed") != "true" || got[1].Attr("k8s.object.uid") != uid {
		t.Errorf("%s, want %v: %v", names(got), do.want, got[1])
	}
	p.end()
	// As after etcd was restored: what was kept is newer than what there is.
	p = startWith(t, c, replay.NewSink(t), func(s *Source) { s.every = 1 << 40 }, r)
	until(t, "it watches", func() bool { return p.src.targetAt(r.key("")) != "" })
	p.kill()
	if err := p.src.store.Save(t.Context(), []byte(`{"`+r.key("")+`":{"rv":"99999999"}}`)); err != nil {
		t.Fatal(err)
	}
	p = startWith(t, c, replay.NewSink(t), func(*Source) {}, r)
	got = p.Wait(2)
	p.end()
	if !strings.HasPrefix(names(got), "stint.watch.gap@ +a@") || got[0].Attr("stint.watch.gap.reason") != "future" {
		t.Errorf("%s", names(got))
	}
}

// TestRealPull: two pages, of which the second is asked for with a token that has expired.
func TestRealPull(t *testing.T) {
	c, admin, ns := real(t)
	for i := range 520 {
		if _, err := admin.AppsV1().Deployments(ns).Create(t.Context(), deployment(fmt.Sprintf("p%05d", i)), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	sink := replay.NewSink(t)
	sink.Hold()
	p := startWith(t, c, sink, func(*Source) {}, Resource{Name: "deployments", Namespaces: []string{ns}})
	p.Wait(500)
	d, err := admin.AppsV1().Deployments(ns).Create(t.Context(), deployment("p00520"), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	kubetest.Shared().Compact(t, d.ResourceVersion)
	kubetest.Shared().Restart(t) // its cache knows the list still
	sink.Release()
	got := p.Wait(521)
	p.end()
	each(t, got[:500], 0, 500, "true")
	each(t, got[500:], 500, 521, "false")
	if got[0].Attr("k8s.snapshot.id") != got[520].Attr("k8s.snapshot.id") || field(got[0].Body, "kind").GetStringValue() != "Deployment" || field(got[0].Body, "apiVersion").GetStringValue() != "apps/v1" {
		t.Errorf("%v", got[0])
	}
}

// TestRealKinds: a custom resource that comes, goes and comes again; what may not be read is said.
func TestRealKinds(t *testing.T) {
	c, admin, ns := real(t)
	dynamic := kubetest.Shared().Client().Dynamic
	crds := dynamic.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	crd := func() {
		t.Helper()
		_, err := crds.Create(context.Background(), &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": map[string]any{"name": "widgets.shop.example.com"},
			"spec": map[string]any{"group": "shop.example.com", "scope": "Namespaced", "names": map[string]any{"plural": "widgets", "kind": "Widget"},
				"versions": []any{map[string]any{"name": "v1", "served": true, "storage": true, "schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}}},
		}}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
	widgets := dynamic.Resource(schema.GroupVersionResource{Group: "shop.example.com", Version: "v1", Resource: "widgets"}).Namespace(ns)
	widget := func(name string) {
		t.Helper()
		until(t, "the custom resource is served", func() bool {
			_, err := widgets.Create(context.Background(), &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": "shop.example.com/v1", "kind": "Widget", "metadata": map[string]any{"name": name}, "spec": map[string]any{"price": 1.5, "n": int64(7)},
			}}, metav1.CreateOptions{})
			return err == nil
		})
	}
	p := startWith(t, c, replay.NewSink(t), func(*Source) {}, Resource{Name: "widgets", Mode: "watch", Initial: "changed"}, Resource{Name: "secrets"})
	until(t, "both are reported", func() bool {
		log := p.log.String()
		return strings.Contains(log, "no such kind of object") && strings.Contains(log, `resources: [secrets], verbs: [list, watch]} in a ClusterRole`)
	})
	for _, err := range []error{
		create(admin.RbacV1().ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "widgets"}, Rules: []rbacv1.PolicyRule{{APIGroups: []string{"shop.example.com"}, Resources: []string{"widgets"}, Verbs: []string{"list", "watch"}}}}, metav1.CreateOptions{})),
		create(admin.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "widgets"}, RoleRef: rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: "widgets"},
			Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Name: "stint-cluster", Namespace: "stint"}}}, metav1.CreateOptions{})),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	crd()
	widget("w")
	got := p.Wait(1)
	if r := got[0]; field(r.Body, "object", "spec", "price").GetDoubleValue() != 1.5 || field(r.Body, "object", "spec", "n").GetIntValue() != 7 || r.Attr("k8s.object.kind") != "Widget" {
		t.Errorf("%v", r)
	}
	if err := crds.Delete(t.Context(), "widgets.shop.example.com", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	until(t, "it is missed", func() bool { return strings.Count(p.log.String(), "no such kind of object") >= 2 })
	crd()
	widget("v")
	until(t, "the new one is there", func() bool { return strings.Contains(names(p.Records()), "+v@") })
	p.end()
	if s := names(p.Records()); strings.Count(s, "+w@") != 1 || strings.Count(s, "v@") != 1 {
		t.Error(s)
	}
}

func create[T any](_ T, err error) error { return err }
