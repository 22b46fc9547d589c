package state

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
)

// generator is an API server that streams synthetic objects in protobuf, made as they are sent; then
// so many pods a second change.
type generator struct {
	pods, nodes int
	changes     int // a second
}

var encoded = protobuf.NewSerializer(scheme.Scheme, scheme.Scheme)

// object gives the nth object of a kind; nil: there are no more.
func (g *generator) object(name string, n int) runtime.Object {
	then := metav1.NewTime(time.Unix(1_790_000_000, 0))
	m := func(kind int, format string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Name: fmt.Sprintf(format, n), Namespace: fmt.Sprintf("team-%03d", n%200), UID: types.UID(uid(n + kind)), CreationTimestamp: then}
	}
	switch {
	case name == pods && n < g.pods:
		p := syntheticPod(n)
		p.APIVersion, p.Kind = "v1", "Pod"
		return p
	case name == "nodes" && n < g.nodes:
		node := &corev1.Node{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Node"}, ObjectMeta: m(3_000_000, "ip-%05d.compute.internal"),
			Status: corev1.NodeStatus{Allocatable: amounts("cpu", "8", "memory", "32Gi", "pods", "110", "ephemeral-storage", "100Gi"), Capacity: amounts("cpu", "8", "memory", "32Gi", "pods", "110", "ephemeral-storage", "100Gi"),
				NodeInfo: corev1.NodeSystemInfo{KubeletVersion: "v1.37.2", ContainerRuntimeVersion: "containerd://2.3.7", OperatingSystem: "linux", OSImage: "Linux"}}}
		node.Namespace = ""
		for _, c := range Defaults().NodeConditionsToReport {
			node.Status.Conditions = append(node.Status.Conditions, corev1.NodeCondition{Type: corev1.NodeConditionType(c), Status: "False", Reason: "KubeletHasSufficientMemory", Message: "kubelet has sufficient memory available"})
		}
		for i := range 50 {
			node.Status.Images = append(node.Status.Images, corev1.ContainerImage{Names: []string{fmt.Sprintf("registry.example.org/team/image-%d@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", i)}, SizeBytes: 1})
		}
		return node
	case name == "replicasets" && n < g.pods/30:
		r := &appsv1.ReplicaSet{TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "ReplicaSet"}, ObjectMeta: m(1_000_000, "service-%05d-6d8f7b9c5d"), Spec: appsv1.ReplicaSetSpec{Replicas: ptr(int32(30)), Template: corev1.PodTemplateSpec{Spec: syntheticPod(n).Spec}}}
		r.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "Deployment", Name: fmt.Sprintf("service-%05d", n), UID: types.UID(uid(n + 2_000_000)), Controller: ptr(true)}}
		return r
	case name == "deployments" && n < g.pods/30:
		return &appsv1.Deployment{TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"}, ObjectMeta: m(2_000_000, "service-%05d"), Spec: appsv1.DeploymentSpec{Replicas: ptr(int32(30)), Template: corev1.PodTemplateSpec{Spec: syntheticPod(n).Spec}}}
	}
	return nil
}

// ServeHTTP implements http.Handler: streams of lists, and no plain lists.
func (g *generator) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	path := strings.Split(req.URL.Path, "/")
	name := path[len(path)-1]
	if req.FormValue("watch") == "" || req.FormValue("sendInitialEvents") != "true" {
		refuse(w, 400, "BadRequest", "only streams of lists")
		return
	}
	w.Header().Set("Content-Type", runtime.ContentTypeProtobuf+";stream=watch")
	var obj, event []byte
	send := func(typ string, o runtime.Object) {
		buf := writer{obj[:0]}
		if err := encoded.Encode(o, &buf); err != nil {
			panic(err)
		}
		obj = buf.b
		e := metav1.WatchEvent{Type: typ, Object: runtime.RawExtension{Raw: obj}}
		event = append(event[:0], make([]byte, 4+e.Size())...)
		n, err := e.MarshalTo(event[4:])
		if err != nil {
			panic(err)
		}
		binary.BigEndian.PutUint32(event, uint32(n))
		w.Write(event[:4+n])
	}
	for n := 0; ; n++ {
		o := g.object(name, n)
		if o == nil {
			break
		}
		send("ADDED", o)
	}
	k := (*kind)(nil)
	for i := range kinds {
		if kinds[i].name == name {
			k = &kinds[i]
		}
	}
	mark := k.object.DeepCopyObject()
	list, version := listKind("/" + name)
	gv, _ := schema.ParseGroupVersion(version)
	mark.GetObjectKind().SetGroupVersionKind(gv.WithKind(strings.TrimSuffix(list, "List")))
	m := mark.(metav1.Object)
	m.SetResourceVersion("1000")
	m.SetAnnotations(map[string]string{"k8s.io/initial-events-end": "true"})
	send("BOOKMARK", mark)
	w.(http.Flusher).Flush()
	if name != pods || g.changes == 0 {
		<-req.Context().Done()
		return
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; {
		select {
		case <-tick.C:
		case <-req.Context().Done():
			return
		}
		for range g.changes / 50 {
			p := syntheticPod(n * 7919 % g.pods)
			p.APIVersion, p.Kind = "v1", "Pod"
			p.Status.ContainerStatuses[0].RestartCount = int32(n)
			send("MODIFIED", p)
			n++
		}
		w.(http.Flusher).Flush()
	}
}

// writer gathers bytes.
type writer struct{ b []byte }

func (w *writer) Write(p []byte) (int, error) { w.b = append(w.b, p...); return len(p), nil }

// BenchmarkCluster is a source of its own process before a generator: how long the first list takes,
// what an interval costs, how much memory the process has. STINT_PODS and STINT_NODES size it.
func BenchmarkCluster(b *testing.B) {
	number := func(name string, otherwise int) int {
		if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
			return n
		}
		return otherwise
	}
	g := &generator{pods: number("STINT_PODS", 3000), nodes: number("STINT_NODES", 100), changes: number("STINT_CHANGES", 500)}
	srv := httptest.NewServer(g)
	defer srv.Close()
	defer srv.CloseClientConnections()
	for b.Loop() {
		cmd := exec.Command(os.Args[0], "-test.run=^TestClusterChild$", "-test.v")
		cmd.Env = append(os.Environ(), "STATE_GENERATOR="+srv.URL, fmt.Sprintf("STATE_PODS=%d", g.pods), "GOGC=50")
		out, err := cmd.CombinedOutput()
		if err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
		for line := range strings.Lines(string(out)) {
			if _, line, ok := strings.Cut(line, "FIGURE "); ok {
				f := strings.Fields(line)
				v, _ := strconv.ParseFloat(f[0], 64)
				b.ReportMetric(v, f[1])
			}
		}
	}
}

// TestClusterChild is the process of BenchmarkCluster.
func TestClusterChild(t *testing.T) {
	url := os.Getenv("STATE_GENERATOR")
	if url == "" {
		t.Skip("a part of BenchmarkCluster")
	}
	want, _ := strconv.Atoi(os.Getenv("STATE_PODS"))
	figure := func(v float64, unit string) { t.Logf("FIGURE %.4g %s", v, unit) }
	cpu := func() time.Duration {
		var u syscall.Rusage
		syscall.Getrusage(syscall.RUSAGE_SELF, &u)
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	status := func(field string) float64 {
		b, _ := os.ReadFile("/proc/self/status")
		_, rest, _ := strings.Cut(string(b), field+":")
		kb, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
		return kb / 1024
	}
	s, r := newSource(t, Defaults(), url, discard)
	tm := s.newTerm()
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	began := time.Now()
	s.read(ctx, tm, &wg)
	deadline := time.Now().Add(5 * time.Minute)
	for {
		if synced, _ := tm.byKind[pods][0].ready(); synced && tm.byKind[pods][0].size() == want {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(r.logged)
		}
		time.Sleep(10 * time.Millisecond)
	}
	figure(time.Since(began).Seconds(), "first-sync-s")
	figure(cpu().Seconds(), "first-sync-cpu-s")
	var few, many []*store
	for _, st := range tm.stores {
		if st.kind.name == pods {
			many = append(many, st)
		} else {
			few = append(few, st)
		}
	}
	emitters := []*emitter{s.newEmitter(tm, few, func() {}), s.newEmitter(tm, many, func() {})}
	interval := func() (bytes, points int) {
		for _, e := range emitters {
			e.enc.bytes, e.enc.records = 0, 0
			e.interval(ctx, time.Now(), time.Hour)
			bytes, points = bytes+e.enc.bytes, points+e.enc.records
		}
		return bytes, points
	}
	interval()
	before, at := cpu(), time.Now()
	bytes, points := interval()
	// The pods change meanwhile: that is a part of what is measured, and measured next.
	took, spent := time.Since(at), cpu()-before
	before, at = cpu(), time.Now()
	time.Sleep(5 * time.Second)
	idle := float64(cpu()-before) / float64(time.Since(at))
	figure(100*idle, "changes-%core")
	figure((spent - time.Duration(idle*float64(took))).Seconds(), "interval-cpu-s")
	figure(float64(bytes)/1e6, "interval-MB")
	figure(float64(points), "interval-points")
	figure(status("VmHWM"), "peak-RSS-MiB")
	figure(status("VmRSS"), "RSS-MiB")
	debug.FreeOSMemory()
	figure(status("VmRSS"), "RSS-after-GC-MiB")
}
