//go:build cluster

package kubetest

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"

	"stint/scrape/kube"
)

// Client asks the server as an administrator.
func (s *Server) Client() *kube.Client { return s.client }

// AdminConfig is the kubeconfig file of an administrator.
func (s *Server) AdminConfig() string { return s.file("admin.kubeconfig") }

// ConfigFor is a kubeconfig file for a service account. Namespace and account are made if they
// are not there; they may do nothing until Apply gives them roles.
func (s *Server) ConfigFor(t testing.TB, namespace, account string) string {
	t.Helper()
	s.Namespace(t, namespace)
	accounts := s.client.Typed.CoreV1().ServiceAccounts(namespace)
	_, err := accounts.Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: account}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	r, err := accounts.CreateToken(t.Context(), account, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	name := namespace + "." + account
	if err := s.writeKubeconfig(name, namespace, r.Status.Token); err != nil {
		t.Fatal(err)
	}
	return s.file(name + ".kubeconfig")
}

// Namespace makes a namespace if it is not there.
func (s *Server) Namespace(t testing.TB, name string) {
	t.Helper()
	_, err := s.client.Typed.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
}

// writeKubeconfig writes NAME.kubeconfig, by way of a new file: whoever reads it sees a whole one.
func (s *Server) writeKubeconfig(name, namespace, token string) error {
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: kubetest, cluster: {server: %q, certificate-authority-data: %s}}]
users: [{name: user, user: {token: %q}}]
contexts: [{name: kubetest, context: {cluster: kubetest, user: user, namespace: %q}}]
current-context: kubetest
`, s.URL, base64.StdEncoding.EncodeToString(s.CA), token, namespace)
	file := s.file(name + ".kubeconfig")
	if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// Apply applies the objects of a YAML file, whose path begins at the module's root, and makes the
// namespaces that they lie in.
func (s *Server) Apply(t testing.TB, path string) {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	f, err := os.Open(filepath.Join(filepath.Dir(here), "../../..", path))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var objects []*unstructured.Unstructured
	for docs := yaml.NewYAMLOrJSONDecoder(f, 4096); ; {
		obj := &unstructured.Unstructured{}
		if err := docs.Decode(&obj.Object); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if obj.Object != nil { // nil: a document of comments
			objects = append(objects, obj)
		}
	}
	s.ApplyObjects(t, objects...)
}

// ApplyObjects does the same with objects.
func (s *Server) ApplyObjects(t testing.TB, objects ...*unstructured.Unstructured) {
	t.Helper()
	for _, obj := range objects {
		to := s.resource(t, obj)
		if _, err := to.Apply(t.Context(), obj.GetName(), obj, metav1.ApplyOptions{FieldManager: "kubetest", Force: true}); err != nil {
			t.Fatalf("%s %s: %v", obj.GetKind(), obj.GetName(), err)
		}
	}
}

// Accepts asks whether the server would take a new object, with no field that it does not know. Nothing is kept.
func (s *Server) Accepts(t testing.TB, obj *unstructured.Unstructured) error {
	t.Helper()
	_, err := s.resource(t, obj).Create(t.Context(), obj, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict})
	return err
}

// resource is where an object is written; its namespace is made if it is not there.
func (s *Server) resource(t testing.TB, obj *unstructured.Unstructured) dynamic.ResourceInterface {
	t.Helper()
	kind := obj.GroupVersionKind()
	var m *meta.RESTMapping
	err := error(&meta.NoKindMatchError{})
	if s.mapper != nil {
		m, err = s.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	}
	if meta.IsNoMatchError(err) { // perhaps a CRD has come
		groups, e := restmapper.GetAPIGroupResources(s.client.Typed.Discovery())
		if e != nil {
			t.Fatal(e)
		}
		s.mapper = restmapper.NewDiscoveryRESTMapper(groups)
		m, err = s.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	}
	if err != nil {
		t.Fatalf("%s %s: %v", kind.Kind, obj.GetName(), err)
	}
	to := s.client.Dynamic.Resource(m.Resource)
	if m.Scope.Name() != meta.RESTScopeNameNamespace {
		return to
	}
	s.Namespace(t, obj.GetNamespace())
	return to.Namespace(obj.GetNamespace())
}
