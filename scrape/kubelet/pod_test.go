package kubelet

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWorkload(t *testing.T) {
	for name, tc := range map[string]struct {
		kind, owner, hash string
		want              []Attr
	}{
		"deployment":                       {"ReplicaSet", "web-65986c78cb", "65986c78cb", []Attr{{"k8s.replicaset.name", "web-65986c78cb"}, {"k8s.deployment.name", "web"}}},
		"bare ReplicaSet":                  {"ReplicaSet", "web-65986c78cb", "", []Attr{{"k8s.replicaset.name", "web-65986c78cb"}}},
		"ReplicaSet with another hash":     {"ReplicaSet", "web-65986c78cb", "86c78cb", []Attr{{"k8s.replicaset.name", "web-65986c78cb"}}},
		"ReplicaSet that is all hash":      {"ReplicaSet", "-65986c78cb", "65986c78cb", []Attr{{"k8s.replicaset.name", "-65986c78cb"}}},
		"stateful set":                     {"StatefulSet", "ledger", "", []Attr{{"k8s.statefulset.name", "ledger"}}},
		"daemon set":                       {"DaemonSet", "node-helper", "", []Attr{{"k8s.daemonset.name", "node-helper"}}},
		"cron job":                         {"Job", "tick-29922707", "", []Attr{{"k8s.job.name", "tick-29922707"}, {"k8s.cronjob.name", "tick"}}},
		"job":                              {"Job", "report", "", []Attr{{"k8s.job.name", "report"}}},
		"job with a date":                  {"Job", "backup-20261122", "", []Attr{{"k8s.job.name", "backup-20261122"}}},
		"job with a number":                {"Job", "shard-7", "", []Attr{{"k8s.job.name", "shard-7"}}},
		"job with more digits than a time": {"Job", "import-029922707", "", []Attr{{"k8s.job.name", "import-029922707"}}},
		"job that is all number":           {"Job", "-29922707", "", []Attr{{"k8s.job.name", "-29922707"}}},
		"another controller":               {"Rollout", "web", "", nil},
		"none":                             {"", "", "", nil},
	} {
		p := &Pod{Owner: Owner{tc.kind, tc.owner}, Labels: map[string]string{"pod-template-hash": tc.hash}}
		if diff := cmp.Diff(tc.want, p.Workload()); diff != "" {
			t.Errorf("%s: Workload (-want +got):\n%s", name, diff)
		}
	}
}

// TestCapturedWorkloads: the names behind the captured pods, as they were created.
func TestCapturedWorkloads(t *testing.T) {
	got := map[string]int{}
	for _, p := range capturedPods(t) {
		for _, a := range p.Workload() {
			got[strings.TrimSuffix(strings.TrimPrefix(a.Key, "k8s."), ".name")+" "+a.Value]++
		}
	}
	want := map[string]int{
		"deployment filler": 14, "replicaset filler-6668d78c49": 14, "deployment web": 3, "replicaset web-65986c78cb": 3, "statefulset ledger": 1,
		"daemonset node-helper": 1, "job broken": 2, "job report": 3, "job tick-29922707": 1, "job tick-29922706": 1, "cronjob tick": 2,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("workloads (-want +got):\n%s", diff)
	}
}

func TestServiceName(t *testing.T) {
	const annotation = "resource.opentelemetry.io/service.name"
	deployment := Owner{"ReplicaSet", "web-1"}
	for name, tc := range map[string]struct {
		pod  Pod
		want string
	}{
		"annotation first": {Pod{Annotations: map[string]string{annotation: "a"}, Labels: map[string]string{"app.kubernetes.io/name": "l"}, Owner: deployment}, "a"},
		"then the label":   {Pod{Labels: map[string]string{"app.kubernetes.io/name": "l", "app.kubernetes.io/instance": "release"}, Owner: deployment}, "l"},
		"not the instance": {Pod{Labels: map[string]string{"app.kubernetes.io/instance": "release", "pod-template-hash": "1"}, Owner: deployment}, "web"},
		"ReplicaSet":       {Pod{Owner: deployment}, "web-1"},
		"cron job":         {Pod{Owner: Owner{"Job", "tick-29922707"}}, "tick"},
		"container":        {Pod{Name: "bare"}, "main"},
	} {
		if got := tc.pod.ServiceName("main"); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}

func TestTextsAreBounded(t *testing.T) {
	in := texts{}
	a := in.of([]byte("kube-system"))
	if b := in.of([]byte("kube-system")); a != b || len(in) != 1 {
		t.Errorf("%q and %q, %d kept", a, b, len(in))
	}
	if allocs := testing.AllocsPerRun(100, func() { in.of([]byte("kube-system")) }); allocs != 0 {
		t.Errorf("a known text costs %v allocations", allocs)
	}
	for i := range 3 * maxTexts {
		in.of([]byte{byte(i), byte(i >> 8), 'x'})
	}
	if len(in) > maxTexts {
		t.Errorf("%d texts are kept, want at most %d", len(in), maxTexts)
	}
	if s := in.of([]byte("a\xffb")); s != "a?b" {
		t.Errorf("text that is not UTF-8 became %q", s)
	}
}
