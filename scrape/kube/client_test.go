package kube

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/klog/v2"
)

// server keeps the last request and answers as an API server that has nothing. Credentials go over
// TLS only.
func server(t *testing.T) (s *httptest.Server, last func() *http.Request) {
	seen := make(chan *http.Request, 1)
	s = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"kind":"NodeList","apiVersion":"v1","metadata":{"resourceVersion":"7"},"items":[]}`)
	}))
	t.Cleanup(s.Close)
	return s, func() *http.Request { return <-seen }
}

func kubeconfig(t *testing.T, s *httptest.Server, user string) string {
	t.Helper()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	name := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf(`
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: %q, certificate-authority-data: %s}}]
users: [{name: u, user: %s}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`, s.URL, base64.StdEncoding.EncodeToString(ca), user)
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestClientAsks: what is on the wire, with a proxy in the environment that must not be asked.
func TestClientAsks(t *testing.T) {
	for _, v := range []string{"HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"} {
		t.Setenv(v, "http://127.0.0.1:1")
	}
	t.Setenv("NO_PROXY", "")
	s, last := server(t)
	c, err := NewClient(Config{Kubeconfig: kubeconfig(t, s, "{token: hunter2}")}, "1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	// Go never asks a proxy for a loopback address, so another is asked for.
	if p, err := c.REST.Proxy(httptest.NewRequest("GET", "https://10.0.0.1/", nil)); p != nil || err != nil {
		t.Errorf("10.0.0.1 is asked through the proxy %v, %v", p, err)
	}
	if got, err := c.Typed.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{}); err != nil || got.ResourceVersion != "7" {
		t.Errorf("an answer in JSON: %v, %v", got, err)
	}
	r := last()
	for key, want := range map[string]string{
		"User-Agent":    "stint-cluster/1.2.3",
		"Accept":        "application/vnd.kubernetes.protobuf,application/json",
		"Authorization": "Bearer hunter2",
	} {
		if got := r.Header.Get(key); got != want {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
	if _, err := c.Dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "nodes"}).List(t.Context(), metav1.ListOptions{}); err != nil {
		t.Error(err)
	}
	if r := last(); r.Header.Get("User-Agent") != "stint-cluster/1.2.3" || !strings.HasPrefix(r.Header.Get("Accept"), runtime.ContentTypeJSON) {
		t.Errorf("the dynamic client asked with %v", r.Header)
	}
}

// TestTokenFile: a token comes from its file, which client-go reads again by itself (once a minute,
// so that is not waited for here).
func TestTokenFile(t *testing.T) {
	s, last := server(t)
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("first"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := NewClient(Config{Kubeconfig: kubeconfig(t, s, fmt.Sprintf("{tokenFile: %q}", token))}, "1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Typed.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := last().Header.Get("Authorization"); got != "Bearer first" || c.REST.BearerTokenFile != token {
		t.Errorf("%q, file %q", got, c.REST.BearerTokenFile)
	}
}

func TestClientFaults(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	s, _ := server(t)
	dir := t.TempDir()
	for name, tc := range map[string]struct{ file, want string }{
		"no cluster":   {"", "set kubernetes.kubeconfig or KUBECONFIG to a file"},
		"no such file": {dir + "/none", "kubernetes.kubeconfig " + dir + "/none: "},
		"no key file":  {kubeconfig(t, s, "{client-certificate: /none, client-key: /none}"), "/none"},
	} {
		if _, err := NewClient(Config{Kubeconfig: tc.file}, "1"); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want …%s…", name, err, tc.want)
		}
	}
}

// TestLogTo: client-go's errors come through our logger, its chatter does not.
func TestLogTo(t *testing.T) {
	var out bytes.Buffer
	LogTo(slog.New(slog.NewTextHandler(&out, nil)))
	defer klog.ClearLogger()
	klog.Info("chatter")
	klog.FromContext(context.Background()).Error(nil, "wrong", "after", time.Second)
	if got := out.String(); strings.Contains(got, "chatter") || !strings.Contains(got, "msg=wrong part=client-go after=1s") {
		t.Errorf("%s", got)
	}
}
