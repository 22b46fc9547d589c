package state

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"

	"stint/export/otlp"
)

// bench sends objects of one kind, without a server.
type bench struct {
	t  testing.TB
	st *store
	e  *emitter
	f  *found
}

func newBench(t testing.TB, cfg Config, name string) *bench {
	t.Helper()
	s, r := newSource(t, cfg, "http://127.0.0.1:1", nil)
	tm := s.newTerm()
	b := &bench{t: t, f: r.found}
	if len(tm.byKind[name]) == 0 {
		t.Fatalf("%s are not watched", name)
	}
	b.st = tm.byKind[name][0]
	b.e = s.newEmitter(tm, tm.stores, func() {})
	return b
}

func (b *bench) send(objs ...any) *found {
	b.t.Helper()
	for _, o := range objs {
		if err := b.st.Add(o); err != nil {
			b.t.Fatal(err)
		}
	}
	b.st.synced = true
	b.f.reset()
	b.e.enc.now = 1_800_000_000_000_000_000
	b.f.at = b.e.enc.now
	defer b.e.enc.release()
	for i := range b.st.slots {
		sl := &b.st.slots[i]
		if sl.row == nil {
			continue
		}
		if b.st.complete != nil {
			sl.row = b.st.complete(sl.row)
		}
		if err := b.e.enc.send(b.t.Context(), sl); err != nil {
			b.t.Fatal(err)
		}
	}
	return b.f
}

// An object with nothing in it is no fault, with whatever is switched on.
func TestEmptyObjects(t *testing.T) {
	for i := range kinds {
		k := &kinds[i]
		for _, cfg := range []Config{Defaults(), everything()} {
			if !slices.Contains(watched(cfg.on()), k) || k.row == nil {
				continue
			}
			b := newBench(t, cfg, k.name)
			f := b.send(k.object.DeepCopyObject())
			for _, rm := range f.list {
				if k.name == "endpointslices" {
					t.Errorf("points of an EndpointSlice: %v", rm)
				}
			}
		}
	}
}

// What is not set means what Kubernetes says it means.
func TestUnset(t *testing.T) {
	m := metav1.ObjectMeta{Name: "x", Namespace: "n", UID: "00000000-0000-4000-8000-000000000001"}
	d := &appsv1.Deployment{ObjectMeta: m}
	b := newBench(t, everything(), "deployments")
	f := b.send(d)
	want(t, "replicas of a Deployment without", f.of("k8s.deployment.pod.desired"), "{} 1")
	want(t, "max unavailable without rollingUpdate", f.of("k8s.deployment.rollingupdate.max_unavailable"))
	pc, bad := intstr.FromString("25%"), intstr.FromString("a few")
	four := int32(4)
	d = &appsv1.Deployment{ObjectMeta: m, Spec: appsv1.DeploymentSpec{Replicas: &four, Strategy: appsv1.DeploymentStrategy{RollingUpdate: &appsv1.RollingUpdateDeployment{MaxUnavailable: &pc, MaxSurge: &bad}}}}
	f = b.send(d)
	want(t, "max unavailable of 25 %", f.of("k8s.deployment.rollingupdate.max_unavailable"), "{} 1")
	want(t, "max surge that makes no sense", f.of("k8s.deployment.rollingupdate.max_surge"))

	f = newBench(t, everything(), "replicasets").send(&appsv1.ReplicaSet{ObjectMeta: m})
	want(t, "replicas of a ReplicaSet without", f.of("k8s.replicaset.pod.desired"), "{} 1")
	f = newBench(t, Defaults(), "horizontalpodautoscalers").send(&autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: m})
	want(t, "minReplicas of an HPA without", f.of("k8s.hpa.min_replicas"), "{} 1")
	f = newBench(t, Defaults(), "cronjobs").send(&batchv1.CronJob{ObjectMeta: m, Spec: batchv1.CronJobSpec{Schedule: "* * * * *"}})
	want(t, "suspend of a CronJob without", f.of("k8s.cronjob.suspended"), "{} 0")
	want(t, "last schedule of a CronJob without", f.of("k8s.cronjob.last_schedule_time"))
	f = newBench(t, Defaults(), "jobs").send(&batchv1.Job{ObjectMeta: m})
	want(t, "completions of a Job without", f.of("k8s.job.desired_successful_pods"))
	want(t, "start of a Job that has not started", f.of("k8s.job.start_time"))
	f = newBench(t, Defaults(), "pods").send(&corev1.Pod{ObjectMeta: m, Status: corev1.PodStatus{Phase: "Running"}})
	want(t, "reason of a pod without", f.of("k8s.pod.status_reason"))
	f = newBench(t, Defaults(), "pods").send(&corev1.Pod{ObjectMeta: m, Status: corev1.PodStatus{Phase: "Failed", Reason: "Evicted"}})
	want(t, "reason of an evicted pod", f.of("k8s.pod.status_reason"), "{} 1")
	f = newBench(t, everything(), "horizontalpodautoscalers").send(&autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: m,
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{Metrics: []autoscalingv2.MetricSpec{{Type: autoscalingv2.ResourceMetricSourceType}}}, Status: autoscalingv2.HorizontalPodAutoscalerStatus{CurrentMetrics: []autoscalingv2.MetricStatus{{}}}})
	want(t, "metric of an HPA without a source", f.of("k8s.hpa.metric.current"))
	f = newBench(t, Defaults(), "nodes").send(&corev1.Node{ObjectMeta: m, Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: "Ready", Status: "Unknown"}, {Type: "KernelDeadlock", Status: "False"}}}})
	want(t, "a node that is lost", f.of("k8s.node.condition_ready"), "{} -1")
	want(t, "a condition that the node lacks", f.of("k8s.node.condition_pid_pressure"))
	f = newBench(t, Defaults(), "replicasets").send(&appsv1.ReplicaSet{ObjectMeta: m, Spec: appsv1.ReplicaSetSpec{Replicas: new(int32)}})
	want(t, "an empty ReplicaSet", f.of("k8s.replicaset.desired"))
	f = newBench(t, Defaults(), "endpointslices").send(&discoveryv1.EndpointSlice{ObjectMeta: m, Endpoints: make([]discoveryv1.Endpoint, 3)})
	want(t, "an EndpointSlice", f.of("k8s.service.endpoint.count"))
}

// Quotas on the short names of requests are quotas on requests, in millicores and bytes; others are
// counts of objects.
func TestQuota(t *testing.T) {
	list := func(s ...string) corev1.ResourceList {
		l := corev1.ResourceList{}
		for i := 0; i < len(s); i += 2 {
			l[corev1.ResourceName(s[i])] = resource.MustParse(s[i+1])
		}
		return l
	}
	q := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "q", Namespace: "n", UID: "u"}, Status: corev1.ResourceQuotaStatus{
		Hard: list("cpu", "1500m", "limits.cpu", "2", "memory", "1Gi", "requests.memory", "2Gi", "gold.storageclass.storage.k8s.io/requests.storage", "5Gi", "requests.storage", "10Gi",
			"requests.hugepages-2Mi", "64Mi", "pods", "10", "count/widgets.example.org", "3", "requests.nvidia.com/gpu", "4", "gold.storageclass.storage.k8s.io/persistentvolumeclaims", "2"),
		Used: list("cpu", "250m"),
	}}
	cfg := Defaults()
	cfg.Names = Both
	f := newBench(t, cfg, "resourcequotas").send(q)
	want(t, "cpu", f.of("k8s.resourcequota.cpu.request.hard"), "{} 1.5d")
	want(t, "cpu used", f.of("k8s.resourcequota.cpu.request.used"), "{} 0.25d")
	want(t, "limits.cpu", f.of("k8s.resourcequota.cpu.limit.hard"), "{} 2d")
	want(t, "memory beside requests.memory", f.of("k8s.resourcequota.memory.request.hard"), "{} 2147483648")
	want(t, "storage", f.of("k8s.resourcequota.storage.request.hard"), "{} 10737418240", "{k8s.storageclass.name=gold} 5368709120")
	want(t, "claims", f.of("k8s.resourcequota.persistentvolumeclaim_count.hard"), "{k8s.storageclass.name=gold} 2")
	want(t, "huge pages", f.of("k8s.resourcequota.hugepage_count.request.hard"), "{k8s.hugepage.size=2Mi} 32")
	want(t, "objects", f.of("k8s.resourcequota.object_count.hard"), "{k8s.resourcequota.resource_name=pods} 10",
		"{k8s.resourcequota.resource_name=requests.nvidia.com/gpu} 4", "{k8s.resourcequota.resource_name=count/widgets.example.org} 3")
	if got := f.of("k8s.resource_quota.hard_limit"); !slices.Contains(got, "{resource=cpu} 1500") || !slices.Contains(got, "{resource=limits.cpu} 2000") || !slices.Contains(got, "{resource=pods} 10") {
		t.Errorf("k8s_cluster's quotas are %q", got)
	}
	want(t, "k8s_cluster's use", f.of("k8s.resource_quota.used"), "{resource=cpu} 250")
}

// One metric message holds all its points: a message each would be many times the bytes.
func TestOneMessageAMetric(t *testing.T) {
	r := newRig(t, everything(), capturedCluster(t))
	r.interval()
	for _, rm := range r.found.list {
		seen := map[string]bool{}
		for _, m := range rm.ScopeMetrics[0].Metrics {
			if seen[m.Name] {
				t.Errorf("%s twice under %s", m.Name, attrText(rm.Resource.Attributes))
			}
			seen[m.Name] = true
		}
	}
}

// Only labels that are allowed are told, in one order whatever map they come from.
func TestLabels(t *testing.T) {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", UID: "u", Labels: map[string]string{"app": "web", "team": "x", "token": "secret", "example.org/tier": "b\xff", "example.org/other": "c"}}}
	cfg := Defaults()
	want(t, "labels by default", newBench(t, cfg, pods).send(p).of("k8s.pod.labels"))
	cfg.Labels = map[string][]string{"pod": {"app", "te*", "example.org/t*"}}
	want(t, "labels", newBench(t, cfg, pods).send(p).of("k8s.pod.labels"), "{label.app=web label.example.org/tier=b\uFFFD label.team=x} 1")
	p.Labels = map[string]string{"other": "x"}
	want(t, "labels of which none is allowed", newBench(t, cfg, pods).send(p).of("k8s.pod.labels"))
}

// A series that an object has twice is sent once.
func TestTwice(t *testing.T) {
	c := func(s corev1.ConditionStatus) corev1.NodeCondition {
		return corev1.NodeCondition{Type: "Ready", Status: s}
	}
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", UID: "u"}, Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{c("True"), {Type: "DiskPressure", Status: "False"}, c("False"), c("True")}}}
	f := newBench(t, everything(), "nodes").send(n)
	want(t, "the condition", f.of("k8s.node.condition_ready"), "{} 1")
	got := f.of("k8s.node.condition.status")
	slices.Sort(got)
	want(t, "the conditions", got, "{k8s.node.condition.type=DiskPressure k8s.node.condition.status=false} 1",
		"{k8s.node.condition.type=Ready k8s.node.condition.status=false} 1", "{k8s.node.condition.type=Ready k8s.node.condition.status=true} 1")
}

func TestSchedule(t *testing.T) {
	for s, want := range map[string]bool{
		"* * * * *": true, "*/5 0-6,12 1 jan-MAR sun": true, "? ? ? ? ?": true, "@hourly": true, "@every 1h30m": true, "TZ=Europe/Berlin 0 3 * * *": true,
		"0 3 * * 7": false, "60 * * * *": false, "* * *": false, "": false, "a * * * *": false, "*/0 * * * *": false, "5-3 * * * *": false, "@noon": false, "@every x": false,
		"TZ=Mars/Base 0 3 * * *": false, "TZ=Europe/Berlin": false, "CRON_TZ=UTC": false, "TZ=": false, "TZ= * * * * *": true, "* * * * * *": false, "1,,2 * * * *": true, "-1 * * * *": false, "* * 0 * *": false, "0 0 31 2 *": true,
		"TZ=UTC TZ=UTC * * * * *": false, "* * * feb/2 *": true, "* * * * mon-fri": true, "* * * * b su": false, "* * * an * ": false,
	} {
		if got := validSchedule(s); got != want {
			t.Errorf("%q is valid: %v, want %v", s, got, want)
		}
	}
	for zone, want := range map[string]bool{"": true, "UTC": true, "Asia/Kolkata": true, "Local": false, "../etc/passwd": false, "Mars/Base": false} {
		if got := validZone(zone); got != want {
			t.Errorf("zone %q is valid: %v, want %v", zone, got, want)
		}
	}
}

func TestImage(t *testing.T) {
	for ref, want := range map[string]string{
		"app": "app latest", "app:1": "app 1", "r.example:5000/a/b": "r.example:5000/a/b latest", "r.example:5000/a/b:v1": "r.example:5000/a/b v1",
		"a@sha256:00": "a latest", "a:1@sha256:00": "a 1", "sha256:00": " ", "": " ",
	} {
		name, tag := splitImage(ref)
		if got := name + " " + tag; got != want {
			t.Errorf("%q is %q, want %q", ref, got, want)
		}
	}
}

// Texts that are too long or no UTF-8 are made good, and ids that are no UUID or hash stay as they are.
func TestOddTexts(t *testing.T) {
	long := strings.Repeat("ä", 2000)
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "a\xffb", UID: "static-config-hash", Namespace: long}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c"}, {Name: "d"}}},
		Status: corev1.PodStatus{Phase: "Running", ContainerStatuses: []corev1.ContainerStatus{{Name: "c", ContainerID: "docker://" + strings.Repeat("AB", 32)}, {Name: "d", ContainerID: "odd"}}}}
	f := newBench(t, Defaults(), pods).send(p)
	want(t, "the phase", f.of("k8s.pod.phase", "k8s.pod.name=a\uFFFDb", "k8s.pod.uid=static-config-hash", "k8s.namespace.name="+strings.Repeat("ä", 512)), "{} 2")
	want(t, "the restarts", f.of("k8s.container.restarts", "container.id="+strings.Repeat("AB", 32)), "{} 0")
	if n := len(f.of("k8s.container.restarts")); n != 2 {
		t.Errorf("%d containers", n)
	}
}

// No object, whatever is in it, makes a row that can't be encoded, and its points are sound OTLP.
func FuzzRow(f *testing.F) {
	for i := range kinds {
		o := kinds[i].object.DeepCopyObject()
		f.Add(byte(i), marshal(f, o))
	}
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", UID: "00000000-0000-4000-8000-000000000001", OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "r", UID: "x"}}},
		Spec:   corev1.PodSpec{NodeName: "n", Containers: []corev1.Container{{Name: "c", Image: "i:1", Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{"cpu": resource.MustParse("1m")}}}}},
		Status: corev1.PodStatus{Phase: "Running", ContainerStatuses: []corev1.ContainerStatus{{Name: "c", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "x"}}}}}}
	f.Add(byte(len(kinds)-1), marshal(f, p))
	cfg := everything()
	forms, on := cfg.forms(), cfg.on()
	pool := otlp.NewPool(64<<20, nil)
	f.Fuzz(func(t *testing.T, which byte, data []byte) {
		k := &kinds[int(which)%len(kinds)]
		if k.row == nil { // of which there are no rows
			return
		}
		obj := k.object.DeepCopyObject()
		if err := obj.(interface{ Unmarshal([]byte) error }).Unmarshal(data); err != nil {
			return
		}
		b := builder{cfg: &cfg, on: on, kind: k.metrics, all: table, off: cfg.without()}
		row := k.row(&b, obj)
		n := 0
		e := encoder{all: table, forms: forms, off: cfg.without(), scope: otlp.NewGroup(nil, otlp.SchemaURL, scopeName, ""), pool: pool, now: 1_800_000_000_000_000_000, top: func(o ownerHandle) ownerHandle { return o },
			out: func(c *otlp.Chunk) {
				request := append(c.Group.AppendFrame(nil, len(c.Data)), c.Data...)
				if got, err := otlp.Count(otlp.Metrics, request); err != nil || got != c.Records {
					t.Errorf("%d points, said to be %d: %v", got, c.Records, err)
				}
				n += c.Records
				c.Settle(otlp.Delivered)
			}}
		defer e.release()
		s := slot{row: row}
		if err := e.send(t.Context(), &s); err != nil {
			t.Fatal(err)
		}
		e.flush()
		sent := n
		// The same again is the same; and all that was sent ends.
		n = 0
		err := e.send(t.Context(), &s)
		if e.flush(); err != nil || n != sent || row != nil && row.points != "" && n == 0 {
			t.Errorf("%d points, then %d: %v", sent, n, err)
		}
		s.row, n = nil, 0
		err = e.send(t.Context(), &s)
		if e.flush(); err != nil || n != sent {
			t.Errorf("%d points, %d ended: %v", sent, n, err)
		}
		again := k.row(&b, obj)
		if row.key != again.key || row.own != again.own || row.points != again.points || !slices.Equal(row.subs, again.subs) {
			t.Errorf("two rows of one object differ: %q %q", fmt.Sprint(row), fmt.Sprint(again))
		}
	})
}

func marshal(t testing.TB, o runtime.Object) []byte {
	t.Helper()
	b, err := o.(interface{ Marshal() ([]byte, error) }).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(b)
}
