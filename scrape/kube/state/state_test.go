package state

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"stint/export/otlp"
	"stint/scrape/kube/replay"
)

// uid makes a uid of a number.
func uid(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012x", n) }

func metaOf(n int, namespace, name string, more ...any) object {
	m := object{"name": name, "uid": uid(n), "creationTimestamp": "2026-11-22T15:00:00Z"}
	if namespace != "" {
		m["namespace"] = namespace
	}
	for i := 0; i < len(more); i += 2 {
		m[more[i].(string)] = more[i+1]
	}
	return m
}

func ownedBy(apiVersion, kind, name string, n int) []object {
	return []object{{"apiVersion": apiVersion, "kind": kind, "name": name, "uid": uid(n), "controller": true}}
}

func pod(n int, name, node, phase string, status object, owners []object) object {
	st := object{"phase": phase}
	for k, v := range status {
		st[k] = v
	}
	spec := object{"containers": []object{{"name": "main", "image": "example.org/app:1"}}}
	if node != "" {
		spec["nodeName"] = node
	}
	m := metaOf(n, "shop", name)
	if owners != nil {
		m["ownerReferences"] = owners
	}
	return object{"kind": "Pod", "apiVersion": "v1", "metadata": m, "spec": spec, "status": st}
}

func containerState(restarts int, state, last object) object {
	return object{"containerStatuses": []object{{"name": "main", "restartCount": restarts, "ready": false, "state": state, "lastState": last}}}
}

// A state that is left is sent as 0, once; the series of other points that are no more end with the
// flag; and a pod that gets its node is another resource.
func TestStatesAreClosed(t *testing.T) {
	cfg := Defaults()
	cfg.Names = SemConv
	a := newAPIServer(t)
	a.set(pods, pod(1, "a", "", "Pending", nil, nil))
	r := newRig(t, cfg, a)
	f := r.interval()
	want(t, "the phase", f.of("k8s.pod.status.phase"), "{k8s.pod.status.phase=Pending} 1")

	now := func(o object, phase string) *found {
		a.set(pods, o)
		r.until("the change is seen", func() bool {
			st := r.term.byKind[pods][0]
			st.mu.Lock()
			defer st.mu.Unlock()
			return strings.Contains(st.slots[0].row.points, phase)
		})
		return r.interval()
	}
	f = now(pod(1, "a", "n1", "Running", containerState(0, object{"waiting": object{"reason": "CrashLoopBackOff"}}, nil), nil), "Running")
	want(t, "the phase without a node", f.of("k8s.pod.status.phase", "k8s.pod.name=a")[:1], "{k8s.pod.status.phase=Pending} 0")
	want(t, "the phase on the node", f.of("k8s.pod.status.phase", "k8s.node.name=n1"), "{k8s.pod.status.phase=Running} 1")
	want(t, "the reason", f.of("k8s.container.status.reason"), "{k8s.container.status.reason=CrashLoopBackOff} 1")
	f = r.interval()
	want(t, "the phase, later", f.of("k8s.pod.status.phase"), "{k8s.pod.status.phase=Running} 1")

	f = now(pod(1, "a", "n1", "Failed", containerState(1, object{"terminated": object{"exitCode": 3, "reason": "Error"}}, object{"terminated": object{"exitCode": 1, "reason": "OOMKilled"}}), nil), "Failed")
	want(t, "the phase that was left and the new one", f.of("k8s.pod.status.phase"), "{k8s.pod.status.phase=Running} 0", "{k8s.pod.status.phase=Failed} 1")
	want(t, "the state", f.of("k8s.container.status.state"), "{k8s.container.status.state=waiting} 0", "{k8s.container.status.state=terminated} 1")
	want(t, "the reason", f.of("k8s.container.status.reason"), "{k8s.container.status.reason=CrashLoopBackOff} 0", "{k8s.container.status.reason=Error} 1")
	want(t, "the exit code", f.of("k8s.container.status.last_terminated.exit_code"), "{} 1")
	f = now(pod(1, "a", "n1", "Succeeded", nil, nil), "Succeeded")
	want(t, "the exit code that is no more", f.of("k8s.container.status.last_terminated.exit_code"), "{} ends")
	want(t, "the restarts that are no more", f.of("k8s.container.restart.count"), "{} ends")
	f = r.interval()
	want(t, "the exit code, later", f.of("k8s.container.status.last_terminated.exit_code"))
}

// States between two intervals that nobody has heard of need no closing.
func TestStatesInBetween(t *testing.T) {
	a := newAPIServer(t)
	cfg := Defaults()
	cfg.Names = SemConv
	a.set(pods, pod(1, "a", "n1", "Pending", nil, nil))
	r := newRig(t, cfg, a)
	r.interval()
	a.set(pods, pod(1, "a", "n1", "Running", nil, nil))
	a.set(pods, pod(1, "a", "n1", "Succeeded", nil, nil))
	r.until("the last change is seen", func() bool {
		st := r.term.byKind[pods][0]
		st.mu.Lock()
		defer st.mu.Unlock()
		return strings.Contains(st.slots[0].row.points, "Succeeded")
	})
	want(t, "the phases", r.interval().of("k8s.pod.status.phase"), "{k8s.pod.status.phase=Pending} 0", "{k8s.pod.status.phase=Succeeded} 1")
}

// An object that goes ends its series once, with a watch that sees it and in a list after one that did not.
func TestDeleted(t *testing.T) {
	for name, silent := range map[string]bool{"seen by the watch": false, "missed, the watch expired": true} {
		for _, streams := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, streams=%v", name, streams), func(t *testing.T) {
				a := newAPIServer(t)
				for _, res := range a.resources {
					res.noStreams = !streams
				}
				a.set(pods, pod(1, "a", "n1", "Running", containerState(0, object{"running": object{}}, nil), nil))
				a.set(pods, pod(2, "b", "n1", "Running", nil, nil))
				r := newRig(t, Defaults(), a)
				r.interval()
				a.delete(pods, "shop/a", silent)
				r.caughtUp(pods)
				f := r.interval()
				want(t, "the phase of a", f.of("k8s.pod.phase", "k8s.pod.name=a"), "{} ends")
				want(t, "its state", f.of("k8s.container.status.state", "k8s.pod.name=a"), "{k8s.container.status.state=running} 0")
				want(t, "its restarts", f.of("k8s.container.restarts", "k8s.pod.name=a"), "{} ends")
				want(t, "the phase of b", f.of("k8s.pod.phase", "k8s.pod.name=b"), "{} 2")
				f = r.interval()
				want(t, "the phase of a, later", f.of("k8s.pod.phase", "k8s.pod.name=a"))
				a.set(pods, pod(3, "a", "n1", "Pending", nil, nil)) // of the same name
				r.caughtUp(pods)
				want(t, "the phase of another a", r.interval().of("k8s.pod.phase", "k8s.pod.uid="+uid(3)), "{} 1")
			})
		}
	}
}

// A pod that was deleted and made again under its name while the watch was away is two pods.
func TestReplacedWhileAway(t *testing.T) {
	a := newAPIServer(t)
	a.set(pods, pod(1, "a", "n1", "Running", nil, nil))
	r := newRig(t, Defaults(), a)
	r.interval()
	a.mu.Lock()
	res := a.of(pods)
	delete(res.objects, "shop/a")
	a.mu.Unlock()
	a.set(pods, pod(2, "b", "n1", "Running", nil, nil))
	a.set(pods, pod(3, "a", "n1", "Running", nil, nil))
	a.mu.Lock()
	res.oldest, res.events = a.version, nil
	close(a.changed)
	a.changed = make(chan struct{})
	a.mu.Unlock()
	r.until("the old one is gone", func() bool {
		st := r.term.byKind[pods][0]
		st.mu.Lock()
		defer st.mu.Unlock()
		k := keyOf(&metav1.ObjectMeta{UID: "00000000-0000-4000-8000-000000000001"})
		_, there := st.index[k]
		return !there && len(st.index) == 2
	})
	f := r.interval()
	want(t, "the old a", f.of("k8s.pod.phase", "k8s.pod.uid="+uid(1)), "{} ends")
	want(t, "the new a", f.of("k8s.pod.phase", "k8s.pod.uid="+uid(3)), "{} 2")
}

// The store of a reflector must know tombstones; informers make them.
func TestTombstone(t *testing.T) {
	cfg := Defaults()
	k := &kinds[slices.IndexFunc(kinds, func(k kind) bool { return k.name == pods })]
	st := newStore(k, builder{cfg: &cfg, on: cfg.on(), kind: k.metrics, all: table, off: cfg.without()})
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "a", UID: "u"}}
	if err := st.Add(p); err != nil || st.size() != 1 {
		t.Fatal(err, st.size())
	}
	if err := st.Delete(cache.DeletedFinalStateUnknown{Key: "a", Obj: p}); err != nil || st.size() != 0 {
		t.Errorf("%v; %d left", err, st.size())
	}
	for _, odd := range []any{nil, "x", cache.DeletedFinalStateUnknown{Key: "a"}, &corev1.Node{}, (*corev1.Pod)(nil)} {
		if err := st.Delete(odd); err == nil {
			t.Errorf("%T was taken", odd)
		}
	}
}

// An update that changes nothing that is told keeps the row.
func TestUnchangedRow(t *testing.T) {
	b := newBench(t, Defaults(), pods)
	p := replay.Pod(1)
	b.send(p)
	row := b.st.slots[0].row
	p.ManagedFields, p.ResourceVersion = nil, "7"
	b.send(p)
	if b.st.slots[0].row != row {
		t.Error("a new row for the same")
	}
	list := []any{p}
	if err := b.st.Replace(list, "8"); err != nil || list[0] != any(row) || b.st.slots[0].row != row {
		t.Errorf("a new row by a list for the same: %v", err)
	}
	p.Status.ContainerStatuses[0].RestartCount++
	b.send(p)
	if b.st.slots[0].row == row {
		t.Error("the old row for what changed")
	}
}

// Deployments and cron jobs are found behind replica sets and jobs, and stay when these go first.
func TestOwners(t *testing.T) {
	a := newAPIServer(t)
	a.set("replicasets", object{"kind": "ReplicaSet", "apiVersion": "apps/v1", "metadata": metaOf(10, "shop", "web-1", "ownerReferences", ownedBy("apps/v1", "Deployment", "web", 11)), "spec": object{"replicas": 1}})
	a.set("replicasets", object{"kind": "ReplicaSet", "apiVersion": "apps/v1", "metadata": metaOf(12, "shop", "alone"), "spec": object{"replicas": 1}})
	a.set("jobs", object{"kind": "Job", "apiVersion": "batch/v1", "metadata": metaOf(13, "shop", "tick-1", "ownerReferences", ownedBy("batch/v1", "CronJob", "tick", 14))})
	a.set(pods, pod(1, "web-1-a", "n1", "Running", nil, ownedBy("apps/v1", "ReplicaSet", "web-1", 10)))
	a.set(pods, pod(2, "alone-a", "n1", "Running", nil, ownedBy("apps/v1", "ReplicaSet", "alone", 12)))
	a.set(pods, pod(3, "tick-1-a", "n1", "Running", nil, ownedBy("batch/v1", "Job", "tick-1", 13)))
	a.set(pods, pod(4, "set-0", "n1", "Running", nil, ownedBy("apps/v1", "StatefulSet", "set", 15)))
	a.set(pods, pod(5, "other", "n1", "Running", nil, ownedBy("example.org/v1", "Thing", "it", 16)))
	r := newRig(t, Defaults(), a)
	f := r.interval()
	for _, words := range [][]string{
		{"k8s.pod.name=web-1-a", "k8s.replicaset.name=web-1", "k8s.replicaset.uid=" + uid(10), "k8s.deployment.name=web", "k8s.deployment.uid=" + uid(11)},
		{"k8s.pod.name=alone-a", "k8s.replicaset.name=alone"},
		{"k8s.pod.name=tick-1-a", "k8s.job.name=tick-1", "k8s.cronjob.name=tick", "k8s.cronjob.uid=" + uid(14)},
		{"k8s.pod.name=set-0", "k8s.statefulset.name=set"},
		{"k8s.pod.name=other"},
	} {
		want(t, strings.Join(words, " "), f.of("k8s.pod.phase", words...), "{} 2")
	}
	want(t, "the replica set", f.of("k8s.replicaset.desired", "k8s.replicaset.name=web-1", "k8s.deployment.name=web"), "{} 1")
	a.delete("replicasets", "shop/web-1", false)
	r.caughtUp("replicasets")
	f = r.interval()
	want(t, "the pod without its replica set", f.of("k8s.pod.phase", "k8s.pod.name=web-1-a", "k8s.deployment.name=web"), "{} 2")
}

// Counts of endpoints are those of all slices of a service, and follow them.
func TestEndpoints(t *testing.T) {
	a := newAPIServer(t)
	slice := func(n int, service string, endpoints ...object) object {
		return object{"kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1", "metadata": metaOf(n, "shop", fmt.Sprint("s", n), "labels", object{"kubernetes.io/service-name": service}),
			"addressType": "IPv4", "endpoints": endpoints}
	}
	a.set("services", object{"kind": "Service", "apiVersion": "v1", "metadata": metaOf(1, "shop", "web"), "spec": object{"type": "ClusterIP"}})
	a.set("endpointslices", slice(2, "web", object{"zone": "a"}, object{"zone": "b", "conditions": object{"ready": false, "serving": true, "terminating": true}}))
	a.set("endpointslices", slice(3, "web", object{"zone": "a", "conditions": object{"ready": true}}))
	a.set("endpointslices", slice(4, "", object{"zone": "a"}))
	r := newRig(t, Defaults(), a)
	const m = "k8s.service.endpoint.count"
	attrs := func(condition, zone string) string {
		return fmt.Sprintf("{k8s.service.endpoint.condition=%s k8s.service.endpoint.address_type=IPv4 k8s.service.endpoint.zone=%s} ", condition, zone)
	}
	want(t, m, r.interval().of(m, "k8s.service.name=web", "k8s.service.type=ClusterIP"), attrs("ready", "a")+"2", attrs("serving", "a")+"2", attrs("serving", "b")+"1", attrs("terminating", "b")+"1")
	a.delete("endpointslices", "shop/s2", false)
	r.caughtUp("endpointslices")
	want(t, m, r.interval().of(m), attrs("serving", "b")+"ends", attrs("terminating", "b")+"ends", attrs("ready", "a")+"1", attrs("serving", "a")+"1")
	a.delete("endpointslices", "shop/s3", false)
	r.caughtUp("endpointslices")
	want(t, m, r.interval().of(m), attrs("ready", "a")+"ends", attrs("serving", "a")+"ends")
}

// What is forbidden or missing is said once, with the rule, and does not keep the others.
func TestForbidden(t *testing.T) {
	a := newAPIServer(t)
	a.set(pods, pod(1, "a", "n1", "Running", nil, nil))
	a.refuse("deployments", 403, "Forbidden")
	a.refuse("replicasets", 403, "Forbidden")
	a.refuse("horizontalpodautoscalers", 404, "NotFound")
	r := newRig(t, Defaults(), a)
	r.until("all is said", func() bool { return strings.Count(r.logged.String(), "level=") >= 3 })
	log := r.logged.String()
	for _, w := range []string{
		`level=ERROR msg="not allowed to read a kind of object; its metrics are missing" kind=deployments rule="{apiGroups: [\"apps\"], resources: [deployments], verbs: [list, watch]}" role=ClusterRole retry_every=5m0s`,
		`level=WARN msg="the API server does not have a kind of object; its metrics are missing" kind=horizontalpodautoscalers`,
	} {
		if strings.Count(log, w) != 1 {
			t.Errorf("not once %s in\n%s", w, log)
		}
	}
	want(t, "the pod", r.interval().of("k8s.pod.phase"), "{} 2")
	if n := counted(t, r.metrics.failures.WithLabelValues("deployments")); n != 2*tellRefusals { // a stream and a list each
		t.Errorf("%v failures", n)
	}
	if why := r.progress.Stuck(); why != "" {
		t.Error(why)
	}
	a.refuse("horizontalpodautoscalers", 0, "")
	r.until("that is said", func() bool {
		return strings.Contains(r.logged.String(), `level=INFO msg="a kind of object can be read again" kind=horizontalpodautoscalers`)
	})
}

// What may not be read any more is told no more: nobody can know whether it is still so.
func TestForbiddenLater(t *testing.T) {
	a := newAPIServer(t)
	a.set(pods, pod(1, "a", "n1", "Running", nil, nil))
	a.set(pods, pod(2, "b", "n1", "Running", nil, nil))
	r := newRig(t, Defaults(), a)
	want(t, "the pods", r.interval().of("k8s.pod.phase"), "{} 2", "{} 2")
	a.refuse(pods, 403, "Forbidden")
	a.delete(pods, "shop/b", true) // the watch ends
	r.until("it is said", func() bool { return strings.Contains(r.logged.String(), "not allowed to read") })
	want(t, "the pods", r.interval().of("k8s.pod.phase"), "{} ends", "{} ends")
	want(t, "the pods, later", r.interval().of("k8s.pod.phase"))
}

// A server that has just started refuses everything for a moment: that is over in seconds, and nobody
// is told of roles.
func TestRefusedForAMoment(t *testing.T) {
	a := newAPIServer(t)
	a.set(pods, pod(1, "a", "n1", "Running", nil, nil))
	a.refuse(pods, 403, "Forbidden")
	r := newRig(t, Defaults(), a)
	a.refuse(pods, 0, "")
	r.caughtUp(pods)
	want(t, "the pod", r.interval().of("k8s.pod.phase"), "{} 2")
	if strings.Contains(r.logged.String(), "level=") {
		t.Errorf("logged:\n%s", r.logged)
	}
}

// A server that can't stream lists is asked for pages.
func TestPages(t *testing.T) {
	a := newAPIServer(t)
	for _, res := range a.resources {
		res.noStreams = true
	}
	for i := range 1234 {
		a.set(pods, pod(i+1, fmt.Sprint("p", i), "n1", "Running", nil, nil))
	}
	r := newRig(t, Defaults(), a)
	if n := len(r.interval().of("k8s.pod.phase")); n != 1234 {
		t.Errorf("%d pods", n)
	}
	a.mu.Lock()
	if res := a.of(pods); res.listed != 3 || res.streamed != 0 {
		t.Errorf("%d lists, %d streams", res.listed, res.streamed)
	}
	for _, q := range a.requests {
		if strings.Contains(q, "pods?") && !strings.Contains(q, "watch") && (!strings.Contains(q, "limit=500") || strings.Contains(q, "resourceVersion=")) {
			t.Error(q)
		}
	}
	a.mu.Unlock()
	a.set(pods, pod(9999, "late", "n1", "Running", nil, nil))
	r.caughtUp(pods)
	if strings.Contains(r.logged.String(), "level=") {
		t.Errorf("logged:\n%s", r.logged)
	}
}

// Only what is in the namespaces is asked for, by requests that a Role allows.
func TestNamespaces(t *testing.T) {
	a := capturedCluster(t)
	cfg := Defaults()
	cfg.Namespaces = []string{"shop", "batch"}
	r := newRig(t, cfg, a)
	f := r.interval()
	if len(f.of("k8s.pod.phase", "k8s.namespace.name=shop")) == 0 || len(f.of("k8s.pod.phase", "k8s.namespace.name=batch")) == 0 {
		t.Error("pods are missing")
	}
	if n := f.of("k8s.pod.phase", "k8s.namespace.name=noise"); len(n) > 0 {
		t.Errorf("%d pods of another namespace", len(n))
	}
	if len(f.of("k8s.pod.phase", "k8s.deployment.name=web")) == 0 || len(f.of("k8s.pod.phase", "k8s.cronjob.name=tick")) == 0 {
		t.Error("owners are missing")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, q := range a.requests {
		if !strings.Contains(q, "/namespaces/shop/") && !strings.Contains(q, "/namespaces/batch/") {
			t.Error(q)
		}
	}
}

// What is switched off is not watched.
func TestSwitchedOffIsNotWatched(t *testing.T) {
	a := newAPIServer(t)
	cfg := Defaults()
	cfg.Metrics = map[string]Switch{}
	for i := range table[1:] {
		if m := &table[i+1]; m.kind != "namespace" {
			cfg.Metrics[m.Name] = Switch{false}
		}
	}
	newRig(t, cfg, a)
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, q := range a.requests {
		if !strings.HasPrefix(q, "/api/v1/namespaces?") {
			t.Error(q)
		}
	}
}

// A whole term: points on the grid, nothing before the first whole interval, and everything ended
// soon after its context; then another one, which starts with nothing.
func TestRun(t *testing.T) {
	a := capturedCluster(t)
	cfg := Defaults()
	cfg.Interval = time.Second
	var mu sync.Mutex
	times := map[uint64]int{}
	s, r := newSource(t, cfg, a.url, nil)
	s.deps.Out = func(c *otlp.Chunk) {
		mu.Lock()
		pieces, err := otlp.Pieces(otlp.Metrics, c.Data)
		if err != nil {
			t.Error(err)
		}
		for _, p := range pieces {
			otlp.EachPoint(p.Data, func(p otlp.EncodedPoint) { times[p.Time]++ })
		}
		mu.Unlock()
		c.Settle(otlp.Delivered)
	}
	for range 2 {
		clear(times)
		began := time.Now()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		r.until("three intervals are sent", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(times) >= 3
		})
		stop()
		stopped := time.Now()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if d := time.Since(stopped); d > time.Second {
			t.Errorf("Run ended %v after its context", d)
		}
		for at := range times {
			if at%uint64(time.Second) != 0 || at <= uint64(began.UnixNano()) {
				t.Errorf("points at %d; began at %d", at, began.UnixNano())
			}
		}
		all, err := r.reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(all, func(f *dto.MetricFamily) bool { return f.GetName() == "stint_state_objects" })
		if i < 0 || len(all[i].Metric) != len(s.kinds) {
			t.Errorf("stint_state_objects is %v", all)
		}
	}
	if used := s.deps.Pool.Used(); used != 0 {
		t.Errorf("%d bytes of the pool are still handed out", used)
	}
	if n := counted(t, s.metrics.settled[otlp.Delivered]); n == 0 {
		t.Error("nothing is counted as delivered")
	}
}

// Without memory the rest of an interval is left out, counted and said; the next goes on, and states
// that were left meanwhile are still closed.
func TestBackPressure(t *testing.T) {
	a := capturedCluster(t)
	r := newRig(t, Defaults(), a)
	r.interval()
	pool := otlp.NewPool(otlp.SlabSize, nil)
	r.pod.enc.pool = pool
	held, _ := pool.Get(t.Context(), 1)
	r.pod.interval(t.Context(), time.Now().Add(-time.Hour), time.Hour+20*time.Millisecond)
	if n := counted(t, r.metrics.skipped.WithLabelValues("memory")); n != 1 {
		t.Errorf("%v intervals skipped", n)
	}
	if !strings.Contains(r.logged.String(), "destinations are behind") {
		t.Error("nothing is said")
	}
	a.delete(pods, "shop/flooder", false)
	r.caughtUp(pods)
	r.pod.interval(t.Context(), time.Now().Add(-time.Hour), time.Hour+20*time.Millisecond)
	held.Release()
	f := r.interval()
	want(t, "the pod that went", f.of("k8s.pod.phase", "k8s.pod.name=flooder"), "{} ends")
	if n := len(f.of("k8s.pod.phase")); n < 30 {
		t.Errorf("%d pods", n)
	}
}

func counted(t testing.TB, c prometheus.Metric) float64 {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}

// Pods wait for who owns them: else they would be other resources a moment later. They do not wait for
// owners that can't be had, nor for ever.
func TestPodsWaitForOwners(t *testing.T) {
	b := newBench(t, Defaults(), pods)
	b.send(replay.Pod(1))
	tm := b.e.t
	sent := func() int {
		b.f.reset()
		b.e.interval(t.Context(), time.Now(), time.Hour)
		return len(b.f.of("k8s.pod.phase"))
	}
	tm.byKind["jobs"][0].synced = true
	if n := sent(); n != 0 {
		t.Errorf("%d pods before their replica sets are listed", n)
	}
	tm.byKind["replicasets"][0].fail()
	if n := sent(); n != 1 {
		t.Errorf("%d pods when replica sets can't be read", n)
	}
	tm.byKind["replicasets"][0].work()
	b.e.began = time.Now().Add(-2 * ownersWait)
	if n := sent(); n != 1 {
		t.Errorf("%d pods after a while", n)
	}
}
