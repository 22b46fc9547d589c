package kubelet

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
)

// away is a kubelet that answers nothing but what a test has it answer.
var away = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "away", http.StatusServiceUnavailable) })

func TestWatchOfCapturedStream(t *testing.T) {
	k := newKubelet(t, away)
	k.cfg.PodsAPISocket = socketPath(t)
	events := capturedEvents(t)
	newPodsAPI(t, k.cfg.PodsAPISocket, events...)
	p := running(t, k.cfg, fast)

	want := map[string]*Pod{}
	updates := 0
	for _, msg := range events {
		if data, n := protowire.ConsumeBytes(msg[min(3, len(msg)):]); n > 0 {
			pod, err := decodePod(data, texts{})
			if err != nil {
				t.Fatal(err)
			}
			if before := want[pod.UID]; before == nil || !before.same(pod) {
				updates++
			}
			want[pod.UID] = pod
		}
	}
	last := events[len(events)-1]
	data, _ := protowire.ConsumeBytes(last[3:])
	end, err := decodePod(data, texts{})
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "last state", func() bool { got := p.Lookup(end.UID); return got != nil && got.same(end) })
	all := p.All()
	if len(all) != len(want) || len(want) != 17 {
		t.Errorf("%d pods, the stream tells of %d", len(all), len(want))
	}
	for _, got := range all {
		if w := want[got.UID]; w == nil || !got.same(w) {
			t.Errorf("%s/%s: %s", got.Namespace, got.Name, samePod(w, got))
		}
	}
	if s := p.Status(); s.Source != sourceWatch || s.Pods != 17 || s.LastUpdate.IsZero() || s.LastError != "" {
		t.Errorf("status %+v", s)
	}
	// Of 59 events, some change nothing that is kept.
	if n := count(t, p.metrics.updates.WithLabelValues(sourceWatch)); n != updates || n < 30 || n > 50 {
		t.Errorf("%d updates are counted, want %d", n, updates)
	}
	if n := k.requests.Load(); n != 0 {
		t.Errorf("/pods was asked for %d times beside the watch", n)
	}
	if got := p.Lookup("4033837a36ec65ab973b61164d2f4b0a"); got == nil || got.Name != "static-web-lab-node-1" || !got.HostNetwork {
		t.Errorf("static pod under the uid of its log directory: %+v", got)
	}
}

func simple(uid, phase string) []byte {
	return appendPod(nil, &Pod{Namespace: "shop", Name: "pod-" + uid, UID: uid, Phase: phase})
}

// TestRestartOfKubelet: what a new watch does not tell of was deleted, what it tells the same of
// is the same.
func TestRestartOfKubelet(t *testing.T) {
	k := newKubelet(t, away)
	k.cfg.PodsAPISocket = socketPath(t)
	first := newPodsAPI(t, k.cfg.PodsAPISocket, event(eventAdded, simple("a", "Running")), event(eventAdded, simple("b", "Running")), event(eventAdded, simple("c", "Pending")), event(eventInitialSync, nil))
	p := running(t, k.cfg, fast)
	waitFor(t, "three pods", func() bool { return p.Status().Source == sourceWatch && len(p.All()) == 3 })
	a, c := p.Lookup("a"), p.Lookup("c")

	first.send <- event(eventModified, simple("a", "Running"))
	first.send <- event(eventDeleted, appendPod(nil, &Pod{Namespace: "shop", Name: "pod-b", UID: "b"}))
	waitFor(t, "deletion", func() bool { return p.Status().Deleted == 1 })
	if p.Lookup("b") == nil || p.Lookup("b").Phase != "Running" {
		t.Errorf("deleted pod: %+v, want what was known of it", p.Lookup("b"))
	}

	first.stop()
	waitFor(t, "note of the end", func() bool { return !p.works() })
	newPodsAPI(t, k.cfg.PodsAPISocket, event(eventAdded, simple("c", "Running")), event(eventAdded, simple("d", "Running")), event(eventInitialSync, nil))
	waitFor(t, "second watch", p.works)
	if s := p.Status(); s.Pods != 2 || s.Deleted != 2 {
		t.Errorf("status %+v, want c and d, and a and b deleted", s)
	}
	if p.Lookup("a") != a || p.Lookup("c") == c || p.Lookup("c").Phase != "Running" || p.Lookup("x") != nil {
		t.Error("a is kept with the same pointer, c is another now, x is nobody")
	}
	if n := count(t, p.metrics.failures.WithLabelValues("watch")) + count(t, p.metrics.failures.WithLabelValues("unreachable")); n < 1 {
		t.Error("the end of the stream is not counted")
	}
	p.forget(time.Now().Add(fast.keep - time.Minute))
	if p.Lookup("a") == nil {
		t.Error("a was forgotten before its time")
	}
	p.forget(time.Now().Add(fast.keep))
	if p.Lookup("a") != nil || p.Lookup("b") != nil || p.Lookup("c") == nil {
		t.Error("a and b are to be forgotten, c not")
	}
}

// TestGarbageInStream: an event that can't be understood is counted, costs no other event, and
// makes no pod pass for deleted.
func TestGarbageInStream(t *testing.T) {
	k := newKubelet(t, away)
	k.cfg.PodsAPISocket = socketPath(t)
	first := newPodsAPI(t, k.cfg.PodsAPISocket, event(eventAdded, simple("a", "Running")), event(eventInitialSync, nil))
	p := running(t, k.cfg, fast)
	waitFor(t, "first watch", p.works)
	first.stop()
	waitFor(t, "note of the end", func() bool { return !p.works() })

	whole := capturedEvents(t)[2]
	cut, _ := protowire.ConsumeBytes(whole[3:])
	newPodsAPI(t, k.cfg.PodsAPISocket,
		event(eventAdded, simple("b", "Running")),
		[]byte("\xff\xff\xff garbage"),
		event(eventAdded, cut[:len(cut)-7]), // cut inside the status
		event(eventAdded, []byte{}),         // no uid
		nil,                                 // no type
		event(9, simple("e", "Running")),    // of a later version
		event(eventAdded, simple("c", "Running")),
		event(eventInitialSync, nil))
	waitFor(t, "second watch", p.works)
	if s := p.Status(); s.Pods != 3 || s.Deleted != 0 {
		t.Errorf("status %+v, want a, b and c", s)
	}
	if n := count(t, p.metrics.failures.WithLabelValues("malformed")); n != 4 {
		t.Errorf("%d malformed events are counted, want 4", n)
	}
}

// TestNoPodsAPI: whatever is in the socket's place, pods come from /pods; and a socket that
// appears is taken.
func TestNoPodsAPI(t *testing.T) {
	for name, tc := range map[string]struct {
		place  func(t *testing.T, socket string) (remove func())
		reason string // of the failure that is counted; empty: it is none
		tell   string
	}{
		"missing": {func(*testing.T, string) func() { return func() {} }, "", "no such file"},
		"another service": {func(t *testing.T, socket string) func() {
			return new(podsAPI).start(t, socket, nil).stop
		}, "", "serves something else"},
		"a draft": {func(t *testing.T, socket string) func() {
			return newPodsAPI(t, socket, protowire.AppendBytes(protowire.AppendTag(nil, 2, protowire.BytesType), simple("z", "Running"))).stop
		}, "", "draft"},
		"refused": {func(t *testing.T, socket string) func() {
			return new(podsAPI).start(t, socket, func(grpc.ServerStream) error { return status.Error(codes.PermissionDenied, "no") }).stop
		}, "permission", "uid 0"},
		"nobody listens": {func(t *testing.T, socket string) func() {
			ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
			if err != nil {
				t.Fatal(err)
			}
			ln.SetUnlinkOnClose(false)
			ln.Close()
			return func() { os.Remove(socket) }
		}, "unreachable", "connection refused"},
		"accepts and hangs": {func(t *testing.T, socket string) func() {
			ln, err := net.Listen("unix", socket)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { ln.Close() })
			return func() { ln.Close() }
		}, "timeout", "in time"},
		"lists and hangs": {func(t *testing.T, socket string) func() {
			return newPodsAPI(t, socket, capturedEvents(t)[0]).stop // of a pod that /pods knows too
		}, "timeout", "in time"},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKubelet(t, serve(captured(t, "pods.json")))
			k.cfg.PodsAPISocket = socketPath(t)
			remove := tc.place(t, k.cfg.PodsAPISocket)
			t.Cleanup(remove)
			k.cfg.Timeout = time.Second
			p := running(t, k.cfg, fast)
			waitFor(t, "poll", func() bool { return p.Status().Source == sourcePoll })
			s := p.Status()
			if s.Pods != 35 || !strings.Contains(s.LastError, tc.tell) {
				t.Errorf("status %+v, want 35 pods and an error that tells %q", s, tc.tell)
			}
			for _, reason := range []string{"permission", "unreachable", "timeout", "watch", "absent", "failed"} {
				if n := count(t, p.metrics.failures.WithLabelValues(reason)); (n > 0) != (reason == tc.reason) {
					t.Errorf("%d failures are counted as %s", n, reason)
				}
			}
			remove()
			newPodsAPI(t, k.cfg.PodsAPISocket, event(eventAdded, simple("a", "Running")), event(eventInitialSync, nil))
			waitFor(t, "watch", func() bool { return p.Status().Source == sourceWatch })
			if s := p.Status(); s.Pods != 1 || s.Deleted < 35 {
				t.Errorf("status %+v, want one pod and all others deleted", s)
			}
		})
	}
}

func TestPolls(t *testing.T) {
	pods := capturedPods(t)
	k := newKubelet(t, serve(jsonList(t, pods...)))
	often := fast
	often.poll = 2 * time.Millisecond
	p := running(t, k.cfg, often)
	waitFor(t, "first poll", func() bool { return len(p.All()) == len(pods) })
	same, other, gone := p.Lookup(pods[0].UID), p.Lookup(pods[1].UID), p.Lookup(pods[2].UID)
	n := k.requests.Load()
	waitFor(t, "two more polls", func() bool { return k.requests.Load() > n+2 })
	if p.Lookup(pods[0].UID) != same {
		t.Error("a pod that did not change is another pointer after a poll")
	}

	changed := *pods[1]
	changed.Phase = "Changed"
	k.handler.Store(ptr(serve(jsonList(t, append([]*Pod{pods[0], &changed}, pods[3:]...)...))))
	waitFor(t, "change", func() bool { return p.Status().Deleted == 1 })
	if p.Lookup(pods[0].UID) != same || p.Lookup(pods[1].UID) == other || p.Lookup(pods[1].UID).Phase != "Changed" || p.Lookup(pods[2].UID) != gone {
		t.Error("one pod is the same, one is another, one is deleted but still known")
	}

	// One pod that is not understood: counted, and nobody passes for deleted.
	k.handler.Store(ptr(serve([]byte(`{"items":[{"metadata":{"uid":7}},{"metadata":{"uid":"new"}}]}`))))
	waitFor(t, "new pod", func() bool { return p.Lookup("new") != nil })
	waitFor(t, "count", func() bool { return count(t, p.metrics.failures.WithLabelValues("malformed")) > 0 })
	if s := p.Status(); s.Pods != len(pods) {
		t.Errorf("status %+v, want %d pods", s, len(pods))
	}

	// A kubelet that is away, hangs or sends half an answer: what is known stays.
	k.handler.Store(ptr(serve([]byte(`{"items":[{"metadata":{"uid":"half"}},`))))
	waitFor(t, "none", func() bool { return p.Status().Source == sourceNone })
	if s := p.Status(); s.Pods != len(pods) || p.Lookup("half") != nil {
		t.Errorf("status %+v, want %d pods", s, len(pods))
	}
	k.handler.Store(ptr(serve(jsonList(t, pods...))))
	waitFor(t, "recovery", func() bool { s := p.Status(); return s.Source == sourcePoll && s.Deleted == 1 })
	if p.Lookup("new") == nil || p.Lookup(pods[2].UID) == nil {
		t.Error("the new pod is deleted but known, the deleted one is back")
	}
}

// TestRunLeavesNoConnection: not even one that a later request could use.
func TestRunLeavesNoConnection(t *testing.T) {
	k := newKubelet(t, serve(captured(t, "pods.json")))
	c, err := NewClient(k.cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	p, err := NewPods(k.cfg, c, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { p.Run(ctx) })
	waitFor(t, "poll", func() bool { return len(p.All()) == 35 })
	if dials, ends := k.dials.Load(), k.ends.Load(); dials != 1 || ends != 0 {
		t.Errorf("%d connections were made and %d ended, want one that stays", dials, ends)
	}
	cancel()
	wg.Wait()
	waitFor(t, "end of the connection", func() bool { return k.ends.Load() == 1 })
}

func TestWant(t *testing.T) {
	pods := capturedPods(t)
	k := newKubelet(t, serve(jsonList(t, pods[0])))
	p := running(t, k.cfg, fast)
	waitFor(t, "first poll", func() bool { return len(p.All()) == 1 })
	p.Want(pods[0].UID)
	if len(p.wanted) != 0 {
		t.Error("a poll is wanted for a known pod")
	}
	k.handler.Store(ptr(serve(jsonList(t, pods[0], pods[1]))))
	p.Want(pods[1].UID)
	waitFor(t, "wanted pod", func() bool { return p.Lookup(pods[1].UID) != nil })
	n := k.requests.Load()
	p.Want("forgotten")
	waitFor(t, "poll for the unknown", func() bool { return k.requests.Load() == n+1 })
	for range 3 {
		p.Want("forgotten")
	}
	if len(p.wanted) != 0 {
		t.Error("polls go on for a uid that the kubelet does not know")
	}
	p.forget(time.Now())
	p.Want("forgotten")
	waitFor(t, "poll after some time", func() bool { return k.requests.Load() == n+2 })
	for i := range 2 * maxAsked {
		p.Want(strconv.Itoa(i))
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	if len(p.asked) != maxAsked {
		t.Errorf("%d uids are remembered, want %d", len(p.asked), maxAsked)
	}
}

func TestWantBesideWatch(t *testing.T) {
	k := newKubelet(t, away)
	k.cfg.PodsAPISocket = socketPath(t)
	newPodsAPI(t, k.cfg.PodsAPISocket, event(eventInitialSync, nil))
	p := running(t, k.cfg, fast)
	waitFor(t, "watch", p.works)
	p.Want("x")
	if len(p.wanted) != 0 || len(p.asked) != 0 {
		t.Error("a poll is wanted beside a watch")
	}
}

// TestRefusedPolls: the log says once what is missing, the status page always.
func TestRefusedPolls(t *testing.T) {
	k := newKubelet(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "Forbidden", http.StatusForbidden) })
	var log bytes.Buffer
	p, err := NewPods(k.cfg, k.client(t, slog.New(slog.DiscardHandler)), slog.New(slog.NewTextHandler(&log, nil)), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	p.pace = fast
	p.pace.refused = time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { p.Run(ctx) })
	waitFor(t, "some polls", func() bool { return k.requests.Load() > 5 })
	cancel()
	wg.Wait()
	if s := p.Status(); s.Source != sourceNone || !strings.Contains(s.LastError, "nodes/pods") {
		t.Errorf("status %+v", s)
	}
	if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "reason=forbidden") {
		t.Errorf("%d lines are logged, want one:\n%s", n, log.String())
	}
}

// TestPollThatIsOutdated: an answer that was asked for before the watch began tells nothing, also
// if the watch has ended since.
func TestPollThatIsOutdated(t *testing.T) {
	for name, ended := range map[string]bool{"watch works": false, "watch has ended": true} {
		asked, answer := make(chan struct{}), make(chan struct{})
		body := jsonList(t, &Pod{UID: "a", Phase: "Pending"}, &Pod{UID: "old"})
		k := newKubelet(t, func(w http.ResponseWriter, r *http.Request) {
			asked <- struct{}{}
			<-answer
			serve(body)(w, r)
		})
		p, err := NewPods(k.cfg, k.client(t, slog.New(slog.DiscardHandler)), slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		polled := make(chan error)
		go func() { polled <- p.poll(t.Context()) }()
		<-asked
		w := watch{Pods: p, seen: map[string]struct{}{}}
		for _, msg := range [][]byte{event(eventAdded, simple("a", "Running")), event(eventInitialSync, nil)} {
			if err := w.event(msg, time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		if ended {
			p.watchEnded(fail("watch", "the end"))
		}
		close(answer)
		if err := <-polled; err != nil {
			t.Fatal(err)
		}
		if p.Lookup("a").Phase != "Running" || p.Lookup("old") != nil {
			t.Errorf("%s: an outdated answer was taken over", name)
		}

		go func() { <-asked }()
		if err := p.poll(t.Context()); err != nil || (p.Lookup("old") != nil) != ended {
			t.Errorf("%s: the next answer counts unless the watch works; %v", name, err)
		}
	}
}

func TestTableIsBounded(t *testing.T) {
	k := newKubelet(t, away)
	p, err := NewPods(k.cfg, k.client(t, slog.New(slog.DiscardHandler)), slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	start := time.Now()
	for i := range maxPods {
		p.put(&Pod{UID: strconv.Itoa(i)}, sourceWatch)
	}
	p.put(&Pod{UID: "one too many"}, sourceWatch)
	p.remove("7", sourceWatch, start.Add(2))
	p.remove("9", sourceWatch, start.Add(1))
	p.put(&Pod{UID: "takes the place of 9"}, sourceWatch)
	p.mu.Unlock()
	if p.Lookup("one too many") != nil || p.Lookup("9") != nil || p.Lookup("7") == nil || p.Lookup("takes the place of 9") == nil {
		t.Error("the pod that was deleted first makes room; without one, a new pod is not taken up")
	}
	if full, early := count(t, p.metrics.evicted.WithLabelValues("full")), count(t, p.metrics.evicted.WithLabelValues("early")); full != 1 || early != 1 || len(p.pods) != maxPods {
		t.Errorf("%d pods; full %d, early %d, want one each", len(p.pods), full, early)
	}
}

func TestMirrorGivesWay(t *testing.T) {
	k := newKubelet(t, away)
	p, err := NewPods(k.cfg, k.client(t, slog.New(slog.DiscardHandler)), slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	mirror, static := &Pod{UID: "hash", Name: "mirror", mirror: true}, &Pod{UID: "hash", Name: "static"}
	for _, tc := range []struct {
		put, want *Pod
	}{{mirror, mirror}, {static, static}, {mirror, static}} {
		p.mu.Lock()
		p.put(tc.put, sourcePoll)
		p.mu.Unlock()
		if got := p.Lookup("hash"); got != tc.want {
			t.Errorf("after %s: %s, want %s", tc.put.Name, got.Name, tc.want.Name)
		}
	}
}

func TestSelfMetrics(t *testing.T) {
	k := newKubelet(t, away)
	k.cfg.InsecureSkipVerify = true
	reg := prometheus.NewPedanticRegistry()
	p, err := NewPods(k.cfg, k.client(t, slog.New(slog.DiscardHandler)), slog.New(slog.DiscardHandler), reg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewPods(k.cfg, k.client(t, slog.New(slog.DiscardHandler)), slog.New(slog.DiscardHandler), reg); err == nil {
		t.Error("two tables with one registry")
	}
	p.mu.Lock()
	p.put(&Pod{UID: "a", Trimmed: 3}, sourcePoll)
	p.put(&Pod{UID: "b"}, sourcePoll)
	p.remove("b", sourcePoll, time.Now())
	p.mu.Unlock()
	want := map[string]float64{
		"stint_kubelet_pods live": 1, "stint_kubelet_pods deleted": 1, "stint_kubelet_pods_trimmed": 1, "stint_kubelet_tls_verified": 0,
		"stint_kubelet_pods_source pods-api": 0, "stint_kubelet_pods_source pods": 0, "stint_kubelet_pods_source none": 1,
		"stint_kubelet_pod_updates_total pods": 3, "stint_kubelet_polls_total": 0,
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			name := f.GetName()
			for _, l := range m.Label {
				name += " " + l.GetValue()
			}
			got[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}

func TestThrottle(t *testing.T) {
	var th throttle
	now := time.Now()
	for i, tc := range []struct {
		after time.Duration
		text  string
		held  int
		ok    bool
	}{
		{0, "a", 0, true}, {time.Second, "a", 0, false}, {2 * time.Second, "b", 0, false}, {time.Minute, "b", 2, true},
		{3 * time.Minute, "b", 0, false}, {62 * time.Minute, "b", 1, true},
	} {
		if held, ok := th.ok(now.Add(tc.after), tc.text); held != tc.held || ok != tc.ok {
			t.Errorf("step %d: %d, %v, want %d, %v", i, held, ok, tc.held, tc.ok)
		}
	}
}

// TestCloseAtEveryStage: Run ends with nothing left, whatever goes on. goleak looks after it.
func TestCloseAtEveryStage(t *testing.T) {
	k := newKubelet(t, serve(captured(t, "pods.json")))
	k.cfg.PodsAPISocket = socketPath(t)
	newPodsAPI(t, k.cfg.PodsAPISocket, capturedEvents(t)...)
	for _, stage := range []func(p *Pods) bool{
		func(*Pods) bool { return true },
		func(p *Pods) bool { return p.Lookup("4033837a36ec65ab973b61164d2f4b0a") != nil },
		func(p *Pods) bool { return p.works() && len(p.All()) == 17 },
	} {
		p, err := NewPods(k.cfg, k.client(t, slog.New(slog.DiscardHandler)), slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { p.Run(ctx) })
		waitFor(t, "stage", func() bool { return stage(p) })
		cancel()
		wg.Wait()
	}
}
