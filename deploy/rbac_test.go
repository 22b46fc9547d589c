//go:build cluster

package deploy

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"stint/agent/cluster"
	"stint/agent/process"
	"stint/scrape/kube/kubetest"
)

// Everything that needs a permission. The kind of objects is one that no other feature reads, so that no other role
// stands in for that of objects.
var everything = []string{"-f", "helm/stint/examples/full.yaml",
	"--set-json", `cluster.objects=[{"name":"roles","group":"rbac.authorization.k8s.io","mode":"watch"}]`,
	"--set-json", `cluster.config.state.metrics.k8s\.secret\.count={"enabled":true}`,
	"--set-json", `cluster.config.state.metrics.k8s\.configmap\.count={"enabled":true}`,
	"--set-json", `cluster.config.state.custom_resources=[{"name":"certificates","group":"cert-manager.io","metrics":[{"name":"certificate.info","type":"info"}]}]`,
}

// granted are the service accounts, roles and bindings of what was rendered for the namespace stint, as of a namespace of
// their own, so that many can be there side by side. edit may change the rules of a role.
func granted(t *testing.T, rendered []*unstructured.Unstructured, namespace string, edit func(role string, rules []rbacv1.PolicyRule) []rbacv1.PolicyRule) (all []*unstructured.Unstructured) {
	t.Helper()
	for _, o := range rendered {
		o := o.DeepCopy()
		switch o.GetKind() {
		case "ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding":
		default:
			continue
		}
		if strings.HasSuffix(o.GetKind(), "Role") && edit != nil {
			var r rbacv1.ClusterRole
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &r); err != nil {
				t.Fatal(err)
			}
			into, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&rbacv1.Role{Rules: edit(o.GetName(), r.Rules)})
			if err != nil {
				t.Fatal(err)
			}
			o.Object["rules"] = into["rules"]
		}
		if strings.HasPrefix(o.GetKind(), "Cluster") {
			o.SetName(o.GetName() + "-of-" + namespace)
		} else if o.GetNamespace() == "stint" {
			o.SetNamespace(namespace)
		}
		if ref, ok := o.Object["roleRef"].(map[string]any); ok {
			if ref["kind"] == "ClusterRole" {
				ref["name"] = ref["name"].(string) + "-of-" + namespace
			}
			o.Object["subjects"].([]any)[0].(map[string]any)["namespace"] = namespace
		}
		all = append(all, o)
	}
	return all
}

// allowed asks the API server as a kubelet or the server itself would.
func allowed(t *testing.T, s *kubetest.Server, namespace, account string, a authorizationv1.ResourceAttributes) bool {
	t.Helper()
	r, err := s.Client().Typed.AuthorizationV1().SubjectAccessReviews().Create(t.Context(), &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: "system:serviceaccount:" + namespace + ":" + account, ResourceAttributes: &a,
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return r.Status.Allowed
}

// TestAgentRole: of what a kubelet asks the API server about who comes to it, the agent's role allows /stats/summary and
// /pods, and nothing by which something could be run or read.
func TestAgentRole(t *testing.T) {
	s := kubetest.Shared()
	s.ApplyObjects(t, granted(t, render(t, "stint"), "agents", nil)...)
	asked := func(sub string) bool {
		return allowed(t, s, "agents", "stint-agent", authorizationv1.ResourceAttributes{Verb: "get", Version: "v1", Resource: "nodes", Subresource: sub, Name: "n1"})
	}
	eventually(t, "the role is in effect", func() bool { return asked("stats") && asked("pods") })
	for _, sub := range []string{"", "proxy", "metrics", "log", "configz", "healthz", "exec"} {
		if asked(sub) {
			t.Errorf("nodes/%s is allowed", sub)
		}
	}
	for _, resource := range []string{"pods", "secrets", "configmaps"} {
		if allowed(t, s, "agents", "stint-agent", authorizationv1.ResourceAttributes{Verb: "list", Version: "v1", Resource: resource}) {
			t.Errorf("%s may be listed", resource)
		}
	}
}

// TestSufficient: whatever the values, stint-cluster check finds no rule missing.
func TestSufficient(t *testing.T) {
	s := withCRDs(t)
	i := 0
	for name, args := range all(t) {
		i++
		rendered := render(t, "stint", args...)
		config := find(rendered, "ConfigMap", "stint-cluster")
		if config == nil {
			continue
		}
		ns := fmt.Sprintf("sufficient-%d", i)
		s.ApplyObjects(t, granted(t, rendered, ns, nil)...)
		text, _, _ := unstructured.NestedString(config.Object, "data", "cluster.yaml")
		file := filepath.Join(t.TempDir(), "cluster.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, report := cluster.Load(process.LoadArgs{File: file, Env: []string{"KUBERNETES_SERVICE_HOST=10.0.0.1", "POD_NAMESPACE=" + ns, "KUBECONFIG=" + s.ConfigFor(t, ns, "stint-cluster")}})
		if len(report.Faults) > 0 {
			t.Fatal(report.Faults)
		}
		missing := ""
		eventually(t, name, func() bool { // the authorizer sees new roles a little later
			missing = ""
			for _, f := range cluster.CheckServer(t.Context(), cfg, "test") {
				if !f.OK {
					missing += f.String() + "\n"
				}
			}
			return missing == "" || t.Context().Err() != nil
		})
		if missing != "" {
			t.Errorf("%s:\n%s", name, missing)
		}
	}
}

// permission is the smallest thing that a role gives: one verb on one kind, or on one object.
type permission struct{ role, verb, resource, group, name string }

// of says which permissions a rule of a role is.
func of(role string, rule rbacv1.PolicyRule) (all []permission) {
	names := rule.ResourceNames
	if len(names) == 0 {
		names = []string{""}
	}
	for _, group := range rule.APIGroups {
		for _, resource := range rule.Resources {
			for _, verb := range rule.Verbs {
				for _, name := range names {
					all = append(all, permission{role, verb, resource, group, name})
				}
			}
		}
	}
	return all
}

// without leaves permissions out of the rules of a role. Rules that have none of them stay as they are.
func without(role string, rules []rbacv1.PolicyRule, gone map[permission]bool) (left []rbacv1.PolicyRule) {
	for _, rule := range rules {
		ps := of(role, rule)
		if !slices.ContainsFunc(ps, func(p permission) bool { return gone[p] }) {
			left = append(left, rule)
			continue
		}
		for _, p := range ps {
			if gone[p] {
				continue
			}
			r := rbacv1.PolicyRule{Verbs: []string{p.verb}, APIGroups: []string{p.group}, Resources: []string{p.resource}}
			if p.name != "" {
				r.ResourceNames = []string{p.name}
			}
			left = append(left, r)
		}
	}
	return left
}

// refusal is what the API server says to who lacks a permission, as it stands in a log of JSON.
var refusal = regexp.MustCompile(`([a-z.0-9]+)(?: \\"([^"\\]+)\\")? is forbidden: User \\"[^"\\]+\\" cannot (\w+) resource \\"(\w+)\\" in API group \\"([^"\\]*)\\"`)

// refused are the permissions that a log complains of, without their roles, and with a name where rules name the object.
func (r *running) refused(named map[string]bool) map[permission]bool {
	all := map[permission]bool{}
	for _, m := range refusal.FindAllStringSubmatch(r.log.String(), -1) {
		p := permission{verb: m[3], resource: m[4], group: m[5]}
		if named[m[2]] {
			p.name = m[2]
		}
		all[p] = true
	}
	return all
}

// byPages is what an API server of before 1.34 makes of the client: it can't stream a list, so that list is asked for.
const byPages = "KUBE_FEATURE_WatchListClient=false"

// TestEachPermission: stint-cluster with every feature on, the chart's configuration and its roles has no cause to complain;
// without any one verb on any one kind it complains of this, and of nothing else. Kinds of state metrics do not know of each
// other: from these a verb is taken away all at once.
func TestEachPermission(t *testing.T) {
	s := withCRDs(t)
	program, err := filepath.Abs("../bin/stint-cluster")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(program); err != nil {
		t.Skip("bin/stint-cluster is not built: make build")
	}
	rendered := render(t, "stint", everything...)
	// State metrics and enrichment both list pods: the role of one stands in for that of the other.
	alone := map[string][]*unstructured.Unstructured{
		"stint-cluster-state":  render(t, "stint", append(slices.Clone(everything), "--set", "cluster.enrich=false")...),
		"stint-cluster-enrich": render(t, "stint", append(slices.Clone(everything), "--set", "cluster.state=false")...),
	}
	shop := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop", Labels: map[string]string{"team": "blue"}}} // which send names
	if _, err := s.Client().Typed.CoreV1().Namespaces().Create(t.Context(), shop, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}

	// Something has to happen for a checkpoint to be written.
	ctx, stop := context.WithCancel(context.Background())
	var happening sync.WaitGroup
	happening.Go(func() { happen(ctx, s) })
	t.Cleanup(func() { stop(); happening.Wait() })

	runs, named := map[string][]permission{}, map[string]bool{}
	var kinds []string
	for _, o := range rendered {
		if !strings.HasSuffix(o.GetKind(), "Role") || o.GetName() == "stint-agent" || o.GetName() == "stint-cluster-identity" {
			continue // TestAgentRole, TestIdentity
		}
		for _, rule := range rulesOf(t, o) {
			for _, name := range rule.ResourceNames {
				named[name] = true
			}
			for _, p := range of(o.GetName(), rule) {
				run := strings.TrimSpace(fmt.Sprintf("%s without %s %s %s", p.role, p.verb, p.resource, p.name))
				if p.role == "stint-cluster-state" {
					run = p.role + " without " + p.verb
					if p.verb == "list" {
						kinds = append(kinds, p.resource)
					}
				}
				runs[run] = append(runs[run], p)
			}
		}
	}
	for name, env := range map[string][]string{"all": nil, "all-by-pages": {byPages}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			allAtWork(t, start(t, s, program, rendered, "least-"+name, nil, env...), kinds)
		})
	}
	n := 0
	for name, gone := range runs {
		n++
		ns := fmt.Sprintf("least-%d", n)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			missing, want := map[permission]bool{}, map[permission]bool{}
			for _, p := range gone {
				missing[p] = true
				p.role = ""
				want[p] = true
			}
			rendered := rendered
			if r := alone[gone[0].role]; r != nil {
				rendered = r
			}
			edit := func(role string, rules []rbacv1.PolicyRule) []rbacv1.PolicyRule { return without(role, rules, missing) }
			r := start(t, s, program, rendered, ns, edit, byPages)
			eventually(t, "it says what is missing", func() bool {
				r.send(t)
				got := r.refused(named)
				for p := range want {
					if !got[p] {
						return false
					}
				}
				return true
			})
			for p := range r.refused(named) {
				if !want[p] {
					t.Errorf("it also complains of %+v", p)
				}
			}
		})
	}
}

// allAtWork waits until every feature has done its work, state metrics with these kinds; nothing may be forbidden to it.
func allAtWork(t *testing.T, r *running, kinds []string) {
	t.Helper()
	want := []string{
		`stint_checkpoint_writes_total{outcome="ok",source="events"} `, `stint_checkpoint_writes_total{outcome="ok",source="objects"} `,
		`stint_leader 1`, `stint_state_points_total{outcome="delivered"} `, `stint_gateway_enriched_resources_total{outcome="added"} `,
	}
	for _, kind := range kinds {
		want = append(want, `stint_state_objects{kind="`+kind)
	}
	missing := ""
	eventually(t, "everything is at work", func() bool {
		r.send(t)
		metrics := r.metrics(t)
		i := slices.IndexFunc(want, func(w string) bool {
			at := strings.Index(metrics, w)
			return at < 0 || w != "stint_leader 1" && !strings.HasPrefix(w, "stint_state_objects") && metrics[at+len(w)] == '0'
		})
		if i >= 0 && missing != want[i] {
			missing = want[i]
			t.Log("waits for", missing)
		}
		return i < 0
	})
	if log := r.log.String(); strings.Contains(log, "forbidden") {
		t.Error(log)
	}
}

// TestIdentity: without the rule that tells the uid of kube-system a checkpoint does not have it.
func TestIdentity(t *testing.T) {
	s := kubetest.Shared()
	program, err := filepath.Abs("../bin/stint-cluster")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(program); err != nil {
		t.Skip("bin/stint-cluster is not built: make build")
	}
	s.Namespace(t, "kube-system")
	rendered := render(t, "stint") // without gateway.enrich, whose role allows it for all namespaces
	ctx, stop := context.WithCancel(context.Background())
	var happening sync.WaitGroup
	happening.Go(func() { happen(ctx, s) })
	t.Cleanup(func() { stop(); happening.Wait() })
	system, err := s.Client().Typed.CoreV1().Namespaces().Get(t.Context(), "kube-system", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for with, ns := range map[bool]string{true: "identity", false: "no-identity"} {
		start(t, s, program, rendered, ns, func(role string, rules []rbacv1.PolicyRule) []rbacv1.PolicyRule {
			if role == "stint-cluster-identity" && !with {
				return nil
			}
			return rules
		})
		var text string
		eventually(t, "a checkpoint", func() bool {
			m, err := s.Client().Typed.CoreV1().ConfigMaps(ns).Get(t.Context(), "stint-cluster-events", metav1.GetOptions{})
			if err != nil {
				return false
			}
			b, err := json.Marshal(m)
			text = string(b)
			return err == nil
		})
		if got := strings.Contains(text, string(system.UID)); got != with {
			t.Errorf("with the rule %v, and the uid is there: %v\n%s", with, got, text)
		}
	}
}

// happen lets an event and a role come about every half second.
func happen(ctx context.Context, s *kubetest.Server) {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		typed := s.Client().Typed
		typed.CoreV1().Events("default").Create(ctx, &corev1.Event{ // if it can't be, who waits for it says so
			ObjectMeta: metav1.ObjectMeta{GenerateName: "e-"}, InvolvedObject: corev1.ObjectReference{Kind: "Pod", Namespace: "default", Name: "p"}, Reason: "Tick", LastTimestamp: metav1.Now(), Count: 1,
		}, metav1.CreateOptions{})
		typed.RbacV1().Roles("default").Create(ctx, &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{GenerateName: "r-"}}, metav1.CreateOptions{})
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func rulesOf(t *testing.T, o *unstructured.Unstructured) []rbacv1.PolicyRule {
	t.Helper()
	var r rbacv1.ClusterRole
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &r); err != nil {
		t.Fatal(err)
	}
	return r.Rules
}

// running is one stint-cluster, whose log is read while it is written.
type running struct {
	log         *syncBuffer
	admin, http string
}

type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// start runs the program with the rendered configuration and roles, but for what edit changes of these.
func start(t *testing.T, s *kubetest.Server, program string, rendered []*unstructured.Unstructured, ns string, edit func(string, []rbacv1.PolicyRule) []rbacv1.PolicyRule, env ...string) *running {
	t.Helper()
	objects := granted(t, rendered, ns, edit)
	apply.Lock()
	s.ApplyObjects(t, objects...)
	kubeconfig := s.ConfigFor(t, ns, "stint-cluster")
	apply.Unlock()
	// The last binding that was made is the last one that the authorizer sees.
	for _, o := range objects {
		if !strings.HasSuffix(o.GetKind(), "Role") || strings.HasPrefix(o.GetName(), "stint-agent") {
			continue
		}
		for _, rule := range rulesOf(t, o) {
			a := authorizationv1.ResourceAttributes{Namespace: o.GetNamespace(), Verb: rule.Verbs[0], Group: rule.APIGroups[0], Resource: rule.Resources[0]}
			if len(rule.ResourceNames) > 0 {
				a.Name = rule.ResourceNames[0]
				if a.Resource == "namespaces" {
					a.Namespace = a.Name
				}
			}
			eventually(t, "the roles are in effect", func() bool { return allowed(t, s, ns, "stint-cluster", a) })
		}
	}
	dir := t.TempDir()
	text, _, _ := unstructured.NestedString(find(rendered, "ConfigMap", "stint-cluster").Object, "data", "cluster.yaml")
	file := filepath.Join(dir, "cluster.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "run", "--config", file, "--set", "state_dir="+dir+"/state", "--set", "log.format=json", "--set", "kubernetes.kubeconfig="+kubeconfig,
		"--set", "admin.listen=127.0.0.1:0", "--set", "health.listen=127.0.0.1:0", "--set", "gateway.grpc=", "--set", "gateway.http=127.0.0.1:0")
	cmd.Env = append(append(os.Environ(), "POD_NAMESPACE="+ns, "POD_NAME="+ns, "GOMAXPROCS=1"), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := &running{log: &syncBuffer{}}
	started, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			r.log.mu.Lock()
			r.log.b.Write(append(lines.Bytes(), '\n'))
			r.log.mu.Unlock()
			var line struct {
				Msg, Admin string
				HTTP       string `json:"otlp_http"`
			}
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "started" {
				r.admin, r.http = line.Admin, line.HTTP
				close(started)
			}
		}
		cmd.Wait() // it is killed
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("log:\n%s", r.log)
		}
	})
	select {
	case <-started:
	case <-ended:
		t.Fatal("it does not start")
	case <-time.After(time.Minute):
		t.Fatal("it does not start")
	}
	return r
}

// apply is held by who writes: the server's look at its kinds is no one else's business.
var apply sync.Mutex

// send is a request of two pods: one as the OpenTelemetry Operator lets applications send it, one that knows its address only.
func (r *running) send(t *testing.T) {
	t.Helper()
	attribute := func(key, value string) string {
		return fmt.Sprintf(`{"key":%q,"value":{"stringValue":%q}}`, key, value)
	}
	from := func(attributes ...string) string {
		return fmt.Sprintf(`{"resource":{"attributes":[%s]},"scopeLogs":[{"logRecords":[{"body":{"stringValue":"hi"}}]}]}`, strings.Join(attributes, ","))
	}
	body := fmt.Sprintf(`{"resourceLogs":[%s,%s]}`,
		from(attribute("k8s.namespace.name", "shop"), attribute("k8s.pod.name", "web"), attribute("k8s.node.name", "n1")), from(attribute("k8s.pod.ip", "10.1.2.3")))
	resp, err := http.Post("http://"+strings.TrimPrefix(r.http, "http://")+"/v1/logs", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", resp.Status, text)
	}
}

func (r *running) metrics(t *testing.T) string {
	t.Helper()
	resp, err := http.Get(strings.TrimSuffix(r.admin, "/") + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
