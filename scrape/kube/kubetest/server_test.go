//go:build cluster

package kubetest

import (
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"stint/scrape/kube"
)

// TestServer: RBAC holds, what deploy/ gives is given, and a restart keeps what was stored.
func TestServer(t *testing.T) {
	s := Start(t)
	v, err := s.Client().Typed.Discovery().ServerVersion()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("kube-apiserver %s at %s", v.GitVersion, s.URL)
	c, err := kube.NewClient(kube.Config{Kubeconfig: s.ConfigFor(t, "stint", "stint-cluster")}, "test")
	if err != nil {
		t.Fatal(err)
	}
	leases := c.Typed.CoordinationV1().Leases("stint")
	if _, err := leases.Get(t.Context(), "stint-cluster", metav1.GetOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("a lease without a role: %v, want forbidden", err)
	}
	s.Apply(t, "deploy/kubernetes/rbac.yaml")
	s.Restart(t) // the authorizer has the roles at once only after a start
	if _, err := leases.Get(t.Context(), "stint-cluster", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("a lease with its role: %v, want not found", err)
	}
	if _, err := c.Typed.CoreV1().Secrets("stint").List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("a list of secrets: %v, want forbidden", err)
	}
}
