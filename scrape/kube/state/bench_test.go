package state

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"stint/export/otlp"
)

// syntheticPod is a pod as production has them: two containers and one init container, 13 variables
// each, managed fields of three managers; 10 KB of protobuf. Thirty share a replica set.
func syntheticPod(n int) *corev1.Pod {
	app := n / 30
	yes := true
	then := metav1.NewTime(time.Unix(1_790_000_000+int64(n%100_000), 0))
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: fmt.Sprintf("service-%05d-6d8f7b9c5d-%05x", app, n), Namespace: fmt.Sprintf("team-%03d", app%200), UID: types.UID(uid(n + 1)), CreationTimestamp: then,
			Labels:          map[string]string{"app.kubernetes.io/name": fmt.Sprint("service-", app), "pod-template-hash": "6d8f7b9c5d", "team": "x", "tier": "backend"},
			Annotations:     map[string]string{"prometheus.io/scrape": "true", "checksum/config": "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: fmt.Sprintf("service-%05d-6d8f7b9c5d", app), UID: types.UID(uid(app + 1_000_000)), Controller: &yes}},
		},
		Spec:   corev1.PodSpec{NodeName: fmt.Sprintf("ip-10-%d-%d-%d.eu-central-1.compute.internal", n%5000/256/256, n%5000/256%256, n%5000%256), ServiceAccountName: "default", SchedulerName: "default-scheduler", RestartPolicy: "Always"},
		Status: corev1.PodStatus{Phase: "Running", QOSClass: "Burstable", StartTime: &then, HostIP: "10.0.0.1", PodIP: "10.1.0.1"},
	}
	fields := &metav1.FieldsV1{}
	fields.SetRawBytes(make([]byte, 900))
	for i := range 3 {
		p.ManagedFields = append(p.ManagedFields, metav1.ManagedFieldsEntry{Manager: fmt.Sprint("manager-", i), Operation: "Update", APIVersion: "v1", FieldsType: "FieldsV1", FieldsV1: fields})
	}
	for _, c := range []corev1.PodConditionType{"PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"} {
		p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: c, Status: "True", LastTransitionTime: then})
	}
	container := func(name string, done bool) {
		c := corev1.Container{
			Name: name, Image: "registry.example.org/team/" + name + ":v1.2.3", ImagePullPolicy: "IfNotPresent",
			Resources: corev1.ResourceRequirements{
				Requests: corev1.ResourceList{"cpu": resource.MustParse("250m"), "memory": resource.MustParse("256Mi")},
				Limits:   corev1.ResourceList{"memory": resource.MustParse("512Mi")},
			},
		}
		for i := range 13 {
			c.Env = append(c.Env, corev1.EnvVar{Name: fmt.Sprint("SETTING_NUMBER_", i), Value: "https://backend.example.org:8443/some/path/that/is/long"})
		}
		st := corev1.ContainerStatus{Name: name, Image: c.Image, ImageID: "registry.example.org/team/" + name + "@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
			ContainerID: fmt.Sprintf("containerd://%064x", uint64(n)*3+uint64(len(name))), Ready: true}
		if done {
			st.State.Terminated = &corev1.ContainerStateTerminated{Reason: "Completed", StartedAt: then, FinishedAt: then}
			p.Spec.InitContainers, p.Status.InitContainerStatuses = append(p.Spec.InitContainers, c), append(p.Status.InitContainerStatuses, st)
			return
		}
		st.State.Running = &corev1.ContainerStateRunning{StartedAt: then}
		p.Spec.Containers, p.Status.ContainerStatuses = append(p.Spec.Containers, c), append(p.Status.ContainerStatuses, st)
	}
	container("init", true)
	container("main", false)
	container("proxy", false)
	return p
}

// discard takes chunks as an exporter that is always fast enough.
func discard(c *otlp.Chunk) { c.Settle(otlp.Delivered) }

func podStore(t testing.TB, n int) (*Source, *store, *emitter) {
	t.Helper()
	s, _ := newSource(t, Defaults(), "http://127.0.0.1:1", discard)
	tm := s.newTerm()
	st := tm.byKind[pods][0]
	for i := range n {
		if err := st.Add(syntheticPod(i)); err != nil {
			t.Fatal(err)
		}
	}
	st.synced = true
	e := s.newEmitter(tm, []*store{st}, func() {})
	e.began = time.Time{} // owners are not waited for
	return s, st, e
}

// Points cost no allocation, and resources next to none: a chunk costs its share of a block of groups,
// and what the pool of chunks does not have.
func TestEncodeAllocs(t *testing.T) {
	_, _, e := podStore(t, 1000)
	send := func() { e.interval(context.Background(), time.Now(), time.Hour) }
	send()
	e.enc.records, e.enc.chunks = 0, 0
	n := testing.AllocsPerRun(10, send)
	points, chunks := e.enc.records/11, e.enc.chunks/11
	// Under the race detector the pool of chunks forgets a quarter of them.
	if n > float64(chunks)/3 {
		t.Errorf("%v allocations for %d points of %d resources", n, points, chunks)
	}
}

// BenchmarkInterval is one interval of many pods, without the pauses that spread it.
func BenchmarkInterval(b *testing.B) {
	for _, n := range []int{3_000, 50_000} {
		b.Run(fmt.Sprintf("pods=%d", n), func(b *testing.B) {
			_, _, e := podStore(b, n)
			at := time.Now()
			e.interval(context.Background(), at, time.Nanosecond+time.Hour)
			e.enc.bytes, e.enc.records = 0, 0
			b.ReportAllocs()
			var rounds int
			for b.Loop() {
				e.enc.now = uint64(at.UnixNano())
				for i := 0; ; {
					st := e.stores[0]
					k, next := st.take(i, &e.rows, &e.at)
					if k == 0 {
						break
					}
					for j := range k {
						if err := e.enc.send(context.Background(), &e.rows[j]); err != nil {
							b.Fatal(err)
						}
					}
					st.mark(e.rows[:k], e.at[:k])
					i = next
				}
				rounds++
			}
			e.enc.release()
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(rounds*n), "ns/pod")
			b.ReportMetric(float64(e.enc.bytes)/float64(rounds*n), "B/pod")
			b.ReportMetric(float64(e.enc.records)/float64(rounds*n), "points/pod")
		})
	}
}

// BenchmarkRow is a pod that became a row, from the decoded object.
func BenchmarkRow(b *testing.B) {
	s, st, _ := podStore(b, 0)
	_ = s
	objs := make([]*corev1.Pod, 1000)
	for i := range objs {
		objs[i] = syntheticPod(i)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if err := st.Update(objs[i%len(objs)]); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

// BenchmarkRowMemory is the heap that a pod takes once it is a row.
func BenchmarkRowMemory(b *testing.B) {
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	const n = 50_000
	for b.Loop() {
		before := heap()
		_, st, e := podStore(b, n)
		e.interval(context.Background(), time.Now().Add(-time.Hour), 2*time.Hour)
		after := heap()
		b.ReportMetric(float64(after-before)/n, "B/pod")
		runtime.KeepAlive(st)
	}
}
