//go:build cluster

package lookup

import (
	"context"
	"log/slog"
	"maps"
	"os"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"stint/export/otlp"
	"stint/scrape/kube"
	"stint/scrape/kube/kubetest"
)

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }

// With the role of deploy a real API server tells which pod has an address, and of which node and namespace it is.
func TestCluster(t *testing.T) {
	s := kubetest.Shared()
	s.Apply(t, "deploy/kubernetes/rbac.yaml")
	client, err := kube.NewClient(kube.Config{Kubeconfig: s.ConfigFor(t, "stint", "stint-cluster")}, "test")
	if err != nil {
		t.Fatal(err)
	}
	admin := s.Client().Typed.CoreV1()
	named := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Name: name, Labels: map[string]string{"team": "blue"}}
	}
	if _, err := admin.Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: named("shop")}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: named("n1")}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	p, err := admin.Pods("shop").Create(t.Context(), &corev1.Pod{
		ObjectMeta: named("web"), Spec: corev1.PodSpec{NodeName: "n1", Containers: []corev1.Container{{Name: "c", Image: "i"}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.1.2.3", PodIPs: []corev1.PodIP{{IP: "10.1.2.3"}}}
	if p, err = admin.Pods("shop").UpdateStatus(t.Context(), p, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}

	all := []string{"team"}
	l := New(Config{Enabled: true, PodLabels: all, NamespaceLabels: all, NodeLabels: all}, client, slog.New(slog.NewTextHandler(t.Output(), nil)), prometheus.NewRegistry())
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); l.Run(ctx) }()
	defer func() { stop(); <-done }()
	want := map[string]string{
		"k8s.namespace.name": "shop", "k8s.pod.name": "web", "k8s.pod.uid": string(p.UID), "k8s.node.name": "n1",
		"k8s.pod.label.team": "blue", "k8s.namespace.label.team": "blue", "k8s.node.label.team": "blue",
	}
	var got map[string]string
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); { // the server's memory of pods may be behind
		got = map[string]string{}
		c := Client{Address: "10.1.2.3", Connected: time.Now()}
		l.Enrich(t.Context(), c, otlp.NewGroup(nil, "", "", "")).Attributes(func(k string, v otlp.Value) { got[k] = v.Text() })
		if len(got) > 0 {
			break
		}
		l.mu.Lock()
		maps.DeleteFunc(l.entries, func(_ key, e *entry) bool { return !e.asked })
		l.mu.Unlock()
	}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s is %q, want %q", k, got[k], v)
		}
	}
}
