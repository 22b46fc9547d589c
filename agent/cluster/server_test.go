//go:build cluster

package cluster

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"stint/agent/process"
	"stint/export"
	"stint/scrape/kube/kubetest"
	"stint/scrape/kube/objects"
)

// TestCheckServer: with the roles of deploy/ nothing is missing for the defaults; what is, is named with the rule to
// add; a server that does not answer is said.
func TestCheckServer(t *testing.T) {
	s := kubetest.Shared()
	s.Apply(t, "deploy/kubernetes/rbac.yaml")
	check := func(account string, change func(*Config)) string {
		t.Helper()
		cfg := Defaults()
		cfg.Kubernetes.Kubeconfig, cfg.Leader.LeaseNamespace = s.ConfigFor(t, "stint", account), "stint"
		cfg.Exporters = export.Exporters{"debug": &export.Debug{Verbosity: "basic"}}
		cfg.Pipelines = export.DefaultPipelines(cfg.Exporters, Sources())
		change(&cfg)
		var b strings.Builder
		for _, f := range CheckServer(t.Context(), &cfg, "test") {
			b.WriteString(f.String() + "\n")
		}
		return b.String()
	}
	got := check("stint-cluster", func(*Config) {})
	if !strings.HasPrefix(got, "ok   kubernetes: "+s.URL+" answers, to system:serviceaccount:stint:stint-cluster\nok   leader: 3 rules, none is missing\nok   state: ") ||
		!strings.HasSuffix(got, "ok   events: 3 rules, none is missing\n") || strings.Contains(got, "fail") {
		t.Error(got)
	}
	got = check("stint-cluster", func(c *Config) {
		c.Leader.LeaseName = "other"
		c.State.Enabled = false
		c.Events.Namespaces = []string{"x"}
		c.Events.CheckpointName = "else"
		c.Objects.Resources = []objects.Resource{{Name: "deployments", Mode: "watch"}, {Name: "secrets", Namespaces: []string{"x"}}, {Name: "widgets"}}
	})
	for _, line := range []string{
		`fail leader: not allowed; add {apiGroups: ["coordination.k8s.io"], resources: [leases], resourceNames: [other], verbs: [get, update]} in a Role in stint`,
		`fail events: not allowed; add {apiGroups: [""], resources: [configmaps], resourceNames: [else], verbs: [get, update]} in a Role in stint`,
		`fail objects: not allowed; add {apiGroups: [""], resources: [secrets], verbs: [list]} in a Role in x`,
		`fail objects.resources[2]: the API server has no such resource: widgets`,
	} {
		if !strings.Contains(got, line) {
			t.Errorf("%s\nwant %s in it", got, line)
		}
	}
	if strings.Contains(got, "deployments") || strings.Contains(got, " state:") || strings.Count(got, "fail ") != 4 {
		t.Error(got)
	}
	if got := check("nobody", func(*Config) {}); strings.Count(got, "fail ") < 20 || !strings.Contains(got, `fail state: not allowed; add {apiGroups: [""], resources: [pods], verbs: [list, watch]} in a ClusterRole`) {
		t.Error(got)
	}
	if got := check("nobody", func(c *Config) {
		c.Pipelines = export.DefaultPipelines(c.Exporters, map[string][]string{"logs": {"otlp"}})
	}); !strings.Contains(got, "is not asked") {
		t.Error(got)
	}
}

// TestLeaseEvents: who leads, and who does not any more, is told of the Lease.
func TestLeaseEvents(t *testing.T) {
	r := newRig(t)
	a := r.start("a")
	r.leads(0, 10*time.Second, a)
	r.signal(a, 15)
	r.wait(a)
	lease, err := r.server.Client().Typed.CoordinationV1().Leases("stint").Get(t.Context(), "stint-cluster", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	list, err := r.server.Client().Typed.CoreV1().Events("stint").List(t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.kind=Lease,involvedObject.uid=" + string(lease.UID)})
	if err != nil {
		t.Fatal(err)
	}
	var notes []string
	for _, e := range list.Items {
		if e.Reason != "LeaderElection" || e.Source.Component != "stint-cluster" {
			t.Errorf("%v", e)
		}
		_, note, _ := strings.Cut(e.Message, " ")
		notes = append(notes, note)
	}
	slices.Sort(notes)
	if len(notes) != 2 || notes[0] != "does not lead any more: the process stops" || notes[1] != "leads" {
		t.Errorf("%q", notes)
	}
	if strings.Contains(a.log.String(), `"level":"WARN","msg":"an event`) {
		t.Error("an event could not be written")
	}
}

// TestServiceAccount: in a pod the API server is found by the environment, and trusted and asked by the files of the
// service account. A token that is replaced while the process runs is read again: the leader goes on leading when the
// first one is not valid any more.
func TestServiceAccount(t *testing.T) {
	const dir = "/var/run/secrets/kubernetes.io/serviceaccount"
	if os.Getuid() != 0 {
		t.Skip("the files lie in /var/run, which only root can write")
	}
	if _, err := os.Stat(dir); err == nil {
		t.Skip("there is a service account already")
	}
	r := newRig(t)
	r.server.ConfigFor(t, "stint", "stint-cluster") // makes the account
	core := r.server.Client().Typed.CoreV1()
	token := func(bound *authenticationv1.BoundObjectReference) string {
		t.Helper()
		got, err := core.ServiceAccounts("stint").CreateToken(t.Context(), "stint-cluster", &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{BoundObjectRef: bound}}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return got.Status.Token
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		os.RemoveAll(dir)
		os.Remove(filepath.Dir(dir)) // and these if nothing else is in them
		os.Remove(filepath.Dir(filepath.Dir(dir)))
	})
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name+".new"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, name+".new"), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	secret, err := core.Secrets("stint").Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{GenerateName: "of-a-token-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	first := token(&authenticationv1.BoundObjectReference{Kind: "Secret", APIVersion: "v1", Name: secret.Name, UID: secret.UID}) // valid as long as that is there
	write("ca.crt", string(r.server.CA))
	write("namespace", "stint")
	write("token", first)
	u, err := url.Parse(r.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	env := []string{"KUBERNETES_SERVICE_HOST=" + u.Hostname(), "KUBERNETES_SERVICE_PORT=" + u.Port(), "KUBECONFIG=", "TICKER_STUCK_AFTER=0"}
	cfg, report := Load(process.LoadArgs{Env: env})
	if len(report.Faults) > 0 || cfg.Leader.LeaseNamespace != "stint" {
		t.Errorf("%v, %+v", report.Faults, cfg.Leader)
	}
	r.inPod = true
	a := r.start("a", env...)
	_, was := r.leads(0, 10*time.Second, a)

	write("token", token(nil))
	written := sinceBoot()
	// client-go reads it again within a minute; the kubelet writes the next one long before the last one ends.
	r.rec.wait("records of a minute", 0, 2*time.Minute, func(t tick) bool { return t.At > written+time.Minute })
	if err := core.Secrets("stint").Delete(t.Context(), secret.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(r.server.CA)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	defer transport.CloseIdleConnections()
	ask, err := http.NewRequest("GET", r.server.URL+"/api", nil)
	if err != nil {
		t.Fatal(err)
	}
	ask.Header.Set("Authorization", "Bearer "+first)
	again := time.NewTicker(200 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(time.Minute); ; <-again.C {
		resp, err := (&http.Client{Transport: transport}).Do(ask)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusUnauthorized {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the first token is still valid")
		}
	}
	invalid := sinceBoot()
	deadline := Defaults().Leader.RenewDeadline
	still := r.rec.wait("records after the lease would have ended", 0, 30*time.Second, func(t tick) bool { return t.At > invalid+deadline+2*time.Second })
	if still.Term != was.Term {
		t.Errorf("with the next token it leads in term %d, with the first one in %d", still.Term, was.Term)
	}
	r.terms()
}
