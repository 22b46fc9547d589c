// Package deploy has no code: its tests hold the chart and what is generated from it to the programs
// and, with the build tag cluster, to a real kube-apiserver.
package deploy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"

	"stint/agent"
	"stint/agent/cluster"
	"stint/agent/process"
)

// combinations are the values that the chart is rendered with, beside those of its examples.
var combinations = map[string][]string{
	"defaults":                   nil,
	"tls from secrets":           {"tls.mode=secrets"},
	"tls of the server only":     {"tls.mode=secrets", "tls.clientCertificates=false"},
	"an issuer that is there":    {"tls.mode=cert-manager", "tls.issuer.name=corp", "tls.issuer.kind=ClusterIssuer"},
	"certificates of the server": {"tls.mode=cert-manager", "tls.clientCertificates=false"},
	"autoscaling":                {"cluster.autoscaling.enabled=true"},
	"volumes and autoscaling":    {"cluster.autoscaling.enabled=true", "cluster.spool.storageClass=fast", "cluster.spool.size=512Mi", "tls.mode=secrets"},
	"network policies":           {"networkPolicy.enabled=true"},
	"peers of network policies":  {"networkPolicy.enabled=true", `networkPolicy.clients=[{"namespaceSelector":{}},{"ipBlock":{"cidr":"10.0.0.0/8"}}]`, `networkPolicy.monitoring=[{"namespaceSelector":{"matchLabels":{"kubernetes.io/metadata.name":"monitoring"}},"podSelector":{}}]`},
	"pod monitor":                {"prometheus.podMonitor=true", "prometheus.annotations=false"},
	"some namespaces":            {`cluster.namespaces=["a","b"]`, "cluster.stateExtra=true", `cluster.objects=[{"name":"deployments","group":"apps","mode":"watch"},{"name":"pods","namespaces":["c"]}]`},
	"agents only":                {"cluster.enabled=false", `agent.config={"exporters":{"otlp":{"endpoint":"gateway:4317","tls":{"insecure":true}}}}`},
	"gateways only":              {"agent.enabled=false", "cluster.state=false", "cluster.events=false", `exporters={"otlp":{"endpoint":"x:4317"}}`},
	"no leader but enrich":       {"cluster.state=false", "cluster.events=false", "cluster.enrich=true"},
	"objects only":               {"cluster.state=false", "cluster.events=false", `cluster.objects=[{"name":"nodes"},{"name":"events","mode":"watch"}]`},
	"root file system":           {"agent.rootfs=true", "agent.docker=true", `agent.podLabels=["app","team"]`},
	"no figures of the node":     {"agent.host=false", "agent.stateDir=", "agent.kubeletDir="},
	"counts of secrets":          {`cluster.config={"state":{"metrics":{"k8s.secret.count":{"enabled":true},"k8s.configmap.count":{"enabled":true}}}}`},
	"custom resources":           {`cluster.config={"state":{"custom_resources":[{"name":"certificates","group":"cert-manager.io","metrics":[{"name":"certificate.expiration_time","path":"status.notAfter","unit":"s"}]}]}}`},
	"large numbers":              {`cluster.config={"spool":{"max_bytes":268435456},"gateway":{"max_request_bytes":33554432}}`, `agent.config={"tail":{"max_deleted_bytes":10737418240}}`},
	"names of one's own":         {`cluster.config={"leader":{"lease_name":"other","lease_namespace":"leases"},"events":{"checkpoint_name":"seen"}}`},
	"what is of every pod": {"image.registry=registry.example/o11y", "image.tag=1.2.3", `image.pullSecrets=["one","two"]`, "image.pullPolicy=Always", `agent.env=[{"name":"A","value":"1"}]`, `cluster.env=[{"name":"B","value":"2"}]`,
		`agent.labels={"team":"x"}`, `cluster.annotations={"note":"y"}`, `cluster.tolerations=[{"operator":"Exists"}]`, `cluster.affinity={"nodeAffinity":{}}`, "agent.priorityClassName=", "cluster.priorityClassName=high"},
}

// all are the arguments of helm for every combination and example, by name.
func all(t *testing.T) map[string][]string {
	t.Helper()
	args := map[string][]string{}
	for name, sets := range combinations {
		for _, s := range sets {
			key, value, _ := strings.Cut(s, "=")
			flag := "--set"
			if strings.ContainsAny(value, "{[") {
				flag = "--set-json"
			} else if value == "" {
				flag = "--set-string"
			}
			args[name] = append(args[name], flag, key+"="+value)
		}
		if sets == nil {
			args[name] = nil
		}
	}
	examples, err := filepath.Glob("helm/stint/examples/*.yaml")
	if err != nil || len(examples) == 0 {
		t.Fatal("no examples", err)
	}
	for _, e := range examples {
		args[filepath.Base(e)] = []string{"-f", e}
	}
	return args
}

// tool is a program that make deploy-tools builds; without it the test is skipped.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("../bin", name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Skipf("bin/%s is not built: make deploy-tools", name)
	}
	return path
}

// run is what a program prints.
func run(t *testing.T, program string, args ...string) ([]byte, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s %s: %w\n%s", filepath.Base(program), strings.Join(args, " "), err, stderr.String())
	}
	return out, err
}

// touch looks at all files below a directory. go test keeps a result until a file that the test itself has looked at
// changes, and does not see what a program reads.
func touch(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		_, err = os.Stat(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// template is the chart's manifests as text.
func template(t *testing.T, namespace string, args ...string) ([]byte, error) {
	t.Helper()
	touch(t, "helm")
	return run(t, tool(t, "helm"), append([]string{"template", "stint", "helm/stint", "--namespace", namespace, "--kube-version", "1.33.0"}, args...)...)
}

// render is the chart's manifests.
func render(t *testing.T, namespace string, args ...string) []*unstructured.Unstructured {
	t.Helper()
	text, err := template(t, namespace, args...)
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, text)
}

func decode(t *testing.T, text []byte) (objects []*unstructured.Unstructured) {
	t.Helper()
	for d := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096); ; {
		o := &unstructured.Unstructured{}
		if err := d.Decode(&o.Object); errors.Is(err, io.EOF) {
			return objects
		} else if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if o.Object != nil {
			objects = append(objects, o)
		}
	}
}

// find is the one object of a kind and a name; nil if there is none.
func find(objects []*unstructured.Unstructured, kind, name string) *unstructured.Unstructured {
	i := slices.IndexFunc(objects, func(o *unstructured.Unstructured) bool { return o.GetKind() == kind && o.GetName() == name })
	if i < 0 {
		return nil
	}
	return objects[i]
}

// typed are the kinds whose every field is known here; those of others are left to the API server.
var typed = map[string]func() any{
	"ServiceAccount": func() any { return &corev1.ServiceAccount{} }, "ConfigMap": func() any { return &corev1.ConfigMap{} }, "Service": func() any { return &corev1.Service{} }, "Namespace": func() any { return &corev1.Namespace{} },
	"DaemonSet": func() any { return &appsv1.DaemonSet{} }, "Deployment": func() any { return &appsv1.Deployment{} }, "StatefulSet": func() any { return &appsv1.StatefulSet{} },
	"ClusterRole": func() any { return &rbacv1.ClusterRole{} }, "ClusterRoleBinding": func() any { return &rbacv1.ClusterRoleBinding{} }, "Role": func() any { return &rbacv1.Role{} }, "RoleBinding": func() any { return &rbacv1.RoleBinding{} },
	"PodDisruptionBudget": func() any { return &policyv1.PodDisruptionBudget{} }, "HorizontalPodAutoscaler": func() any { return &autoscalingv2.HorizontalPodAutoscaler{} }, "NetworkPolicy": func() any { return &networkingv1.NetworkPolicy{} },
}

// foreign are kinds of CRDs that others bring.
var foreign = []string{"Certificate", "Issuer", "PodMonitor", "SecurityContextConstraints"}

// TestChart: whatever the values, no field is unknown, the programs take their configurations, and pods are what
// docs/design.md says of them.
func TestChart(t *testing.T) {
	for name, args := range all(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checkObjects(t, render(t, "stint", args...))
		})
	}
}

func checkObjects(t *testing.T, objects []*unstructured.Unstructured) {
	t.Helper()
	seen := map[string]bool{}
	for _, o := range objects {
		id := o.GetKind() + " " + o.GetNamespace() + "/" + o.GetName()
		if seen[id] {
			t.Errorf("%s is there twice", id)
		}
		seen[id] = true
		make := typed[o.GetKind()]
		if make == nil {
			if !slices.Contains(foreign, o.GetKind()) {
				t.Errorf("%s: unknown kind", id)
			}
			continue
		}
		into := make()
		if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(o.Object, into, true); err != nil {
			t.Errorf("%s: %v", id, err)
		}
		switch o := into.(type) {
		case *appsv1.DaemonSet:
			checkPod(t, o.Spec.Template, seen)
			checkAgent(t, o.Spec.Template.Spec)
		case *appsv1.Deployment:
			checkPod(t, o.Spec.Template, seen)
			checkCluster(t, o.Spec.Template.Spec)
		case *appsv1.StatefulSet:
			checkPod(t, o.Spec.Template, seen)
			checkCluster(t, o.Spec.Template.Spec)
		case *corev1.ConfigMap:
			checkConfig(t, o)
		case *rbacv1.ClusterRole:
			checkRules(t, id, o.Rules)
		case *rbacv1.Role:
			checkRules(t, id, o.Rules)
		}
	}
}

var image = regexp.MustCompile(`^(registry\.example/o11y/)?(stint-agent|stint-cluster):[0-9]+\.[0-9]+\.[0-9]+$`)

// checkPod is what holds for both.
func checkPod(t *testing.T, p corev1.PodTemplateSpec, seen map[string]bool) {
	t.Helper()
	if p.Annotations["checksum/config"] == "" {
		t.Error("no checksum of the configuration")
	}
	s := p.Spec
	if !seen["ServiceAccount stint/"+s.ServiceAccountName] {
		t.Errorf("service account %q is not made, or after its pods", s.ServiceAccountName)
	}
	if s.HostNetwork || s.HostPID || s.HostIPC || len(s.Containers) != 1 || len(s.InitContainers) > 0 {
		t.Errorf("%+v", s)
	}
	c := s.Containers[0]
	if !image.MatchString(c.Image) {
		t.Errorf("image %q", c.Image)
	}
	sc := c.SecurityContext
	if sc == nil || sc.Privileged != nil || sc.AllowPrivilegeEscalation == nil || *sc.AllowPrivilegeEscalation || sc.ReadOnlyRootFilesystem == nil || !*sc.ReadOnlyRootFilesystem ||
		len(sc.Capabilities.Add) > 0 || !slices.Equal(sc.Capabilities.Drop, []corev1.Capability{"ALL"}) {
		t.Errorf("%s: %+v", c.Name, sc)
	}
	volumes := map[string]bool{}
	for _, v := range s.Volumes {
		volumes[v.Name] = true
	}
	for _, m := range c.VolumeMounts {
		if !volumes[m.Name] && (m.Name != "state" || c.Name != "stint-cluster") { // that of a StatefulSet is a claim
			t.Errorf("%s mounts %s, which is no volume", c.Name, m.Name)
		}
		for _, other := range c.VolumeMounts {
			if strings.HasPrefix(other.MountPath, m.MountPath+"/") && other.MountPath != "/var/lib/docker/containers" {
				t.Errorf("%s lies in %s, where no directory can be made", other.MountPath, m.MountPath)
			}
		}
		delete(volumes, m.Name)
	}
	if len(volumes) > 0 {
		t.Errorf("%s does not mount %v", c.Name, slices.Collect(maps.Keys(volumes)))
	}
	for _, probe := range []*corev1.Probe{c.LivenessProbe, c.ReadinessProbe} {
		if probe == nil || probe.HTTPGet.Port.String() != "health" {
			t.Errorf("%s: probe %+v", c.Name, probe)
		}
	}
	if c.LivenessProbe.HTTPGet.Path != "/livez" || c.ReadinessProbe.HTTPGet.Path != "/readyz" {
		t.Errorf("%s: probes %s, %s", c.Name, c.LivenessProbe.HTTPGet.Path, c.ReadinessProbe.HTTPGet.Path)
	}
	if c.Resources.Limits.Memory().IsZero() || c.Resources.Requests.Memory().IsZero() || c.Resources.Requests.Cpu().IsZero() {
		t.Errorf("%s: resources %+v", c.Name, c.Resources)
	}
}

// checkAgent: uid 0 without capabilities, and of the node's paths only its own is written to.
func checkAgent(t *testing.T, s corev1.PodSpec) {
	t.Helper()
	c := s.Containers[0]
	if *c.SecurityContext.RunAsUser != 0 || c.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("%+v", c.SecurityContext)
	}
	for _, m := range c.VolumeMounts {
		if m.ReadOnly != (m.Name != "state") {
			t.Errorf("read-only %v: %s", m.ReadOnly, m.MountPath)
		}
	}
}

// checkCluster: what Pod Security's profile restricted asks for, which a real API server decides in TestPodSecurity.
func checkCluster(t *testing.T, s corev1.PodSpec) {
	t.Helper()
	if s.SecurityContext == nil || !*s.SecurityContext.RunAsNonRoot || s.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("%+v", s.SecurityContext)
	}
	for _, v := range s.Volumes {
		if v.HostPath != nil {
			t.Errorf("path of the node: %s", v.HostPath.Path)
		}
	}
}

// checkConfig: the programs take it, as check --offline does.
func checkConfig(t *testing.T, m *corev1.ConfigMap) {
	t.Helper()
	for name, text := range m.Data {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		args := process.LoadArgs{File: file, Env: []string{"KUBERNETES_SERVICE_HOST=10.0.0.1", "K8S_NODE_NAME=n1", "POD_NAME=p", "POD_NAMESPACE=stint"}}
		var r *process.Report
		if name == "agent.yaml" {
			_, r = agent.Load(args)
		} else {
			_, r = cluster.Load(args)
		}
		for _, fault := range r.Faults {
			t.Errorf("%s: %v\n%s", name, fault, text)
		}
	}
}

// checkRules: no wildcard, no proxy to kubelets, nothing that changes but what is stint's own, and content of Secrets only
// where they are to be counted.
func checkRules(t *testing.T, id string, rules []rbacv1.PolicyRule) {
	t.Helper()
	for _, r := range rules {
		for _, s := range slices.Concat(r.APIGroups, r.Resources, r.Verbs) {
			if s == "*" || s == "nodes/proxy" || s == "delete" || s == "patch" || s == "escalate" || s == "bind" || s == "impersonate" {
				t.Errorf("%s: %q", id, s)
			}
		}
		if slices.Contains(r.Resources, "secrets") && !strings.HasPrefix(t.Name(), "TestChart/counts_of_secrets") {
			t.Errorf("%s may read secrets", id)
		}
		if slices.Contains(r.Verbs, "update") && len(r.ResourceNames) == 0 {
			t.Errorf("%s may change any of %v", id, r.Resources)
		}
		if strings.HasPrefix(id, "ClusterRole ") && (slices.Contains(r.Verbs, "create") || slices.Contains(r.Verbs, "update")) {
			t.Errorf("%s may write in all namespaces", id)
		}
	}
}

// TestRoles: there is a role for each feature that is on, and none for one that is off.
func TestRoles(t *testing.T) {
	for name, want := range map[string][]string{
		"defaults":             {"ClusterRole stint-agent", "ClusterRole stint-cluster-events", "ClusterRole stint-cluster-identity", "ClusterRole stint-cluster-state", "Role stint/stint-cluster-checkpoints", "Role stint/stint-cluster-leader"},
		"gateways only":        nil,
		"no leader but enrich": {"ClusterRole stint-agent", "ClusterRole stint-cluster-enrich"},
		"objects only":         {"ClusterRole stint-agent", "ClusterRole stint-cluster-identity", "ClusterRole stint-cluster-objects", "Role stint/stint-cluster-checkpoints", "Role stint/stint-cluster-leader"},
		"some namespaces": {"ClusterRole stint-agent", "Role a/stint-cluster-events", "Role a/stint-cluster-objects", "Role a/stint-cluster-state", "Role b/stint-cluster-events", "Role b/stint-cluster-objects", "Role b/stint-cluster-state",
			"Role c/stint-cluster-objects", "Role stint/stint-cluster-checkpoints", "Role stint/stint-cluster-leader"},
		"names of one's own": {"ClusterRole stint-agent", "ClusterRole stint-cluster-events", "ClusterRole stint-cluster-identity", "ClusterRole stint-cluster-state", "Role leases/stint-cluster-checkpoints", "Role leases/stint-cluster-leader"},
	} {
		var got []string
		objects := render(t, "stint", all(t)[name]...)
		for _, o := range objects {
			if kind := o.GetKind(); kind == "ClusterRole" || kind == "Role" {
				got = append(got, kind+" "+strings.TrimPrefix(o.GetNamespace()+"/"+o.GetName(), "/"))
				b := find(objects, kind+"Binding", o.GetName())
				if b == nil {
					t.Errorf("%s: %s has no binding", name, o.GetName())
				}
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s:\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	text, err := json.Marshal(find(render(t, "stint", all(t)["counts of secrets"]...), "ClusterRole", "stint-cluster-state"))
	if err != nil || !strings.Contains(string(text), `{"apiGroups":[""],"resources":["configmaps","secrets"],"verbs":["list"]}`) {
		t.Errorf("%v: %s", err, text)
	}
}

// TestPermissions: the script has a reason for every role, and every rule.
func TestPermissions(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash")
	}
	touch(t, "kubernetes")
	out, err := run(t, bash, "kubernetes/permissions.sh")
	if err != nil {
		t.Fatal(err)
	}
	text := string(out)
	for _, file := range []string{"kubernetes/base/agent.yaml", "kubernetes/rbac.yaml"} {
		manifest, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range decode(t, manifest) {
			if !strings.HasSuffix(o.GetKind(), "Role") {
				continue
			}
			why := regexp.MustCompile(`(?m)^` + o.GetKind() + " " + o.GetName() + `: [A-Z].*\.$`)
			if !why.MatchString(text) {
				t.Errorf("no reason for %s %s in\n%s", o.GetKind(), o.GetName(), text)
			}
			rules, _, _ := unstructured.NestedSlice(o.Object, "rules")
			for _, rule := range rules {
				resources, _, _ := unstructured.NestedStringSlice(rule.(map[string]any), "resources")
				verbs, _, _ := unstructured.NestedStringSlice(rule.(map[string]any), "verbs")
				if line := "\n  " + strings.Join(verbs, ", ") + ": " + strings.Join(resources, ", "); !strings.Contains(text, line) {
					t.Errorf("not there:%s\n%s", line, text)
				}
			}
		}
	}
}

// TestSchema: a value that is unknown, or can't be, is refused with its path.
func TestSchema(t *testing.T) {
	for set, path := range map[string]string{
		"agent.nope=1": "/agent", "nope=1": "'nope'", "tls.mode=on": "/tls/mode", "image.tag=latest": "/image/tag", "cluster.spool.size=2": "/cluster/spool/size", "cluster.replicas=0": "/cluster/replicas", "agent.logRoot=logs": "/agent/logRoot",
		"agent.tolerations=all": "/agent/tolerations", "networkPolicy.clients[0].host=x": "/networkPolicy/clients/0", "cluster.enabled=false": "agent.config.exporters",
	} {
		if _, err := template(t, "stint", "--set", set); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("--set %s: %v, want a fault at %s", set, err, path)
		}
	}
	values, err := os.ReadFile("helm/stint/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(values, []byte("\n")); n >= 150 {
		t.Errorf("values.yaml has %d lines, at most 149 are readable", n)
	}
	if out, err := run(t, tool(t, "helm"), "lint", "--strict", "helm/stint"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
