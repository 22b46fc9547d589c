//go:build cluster

package cluster

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	"google.golang.org/grpc"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// changes is an OTLP/gRPC server that notes which changes of objects and events arrived, and when.
type changes struct {
	collogs.UnimplementedLogsServiceServer
	t *testing.T

	mu   sync.Mutex // guards below
	came map[string][]time.Duration
	gaps []string
	hold chan struct{} // nothing is answered before it is closed; nil: at once
}

// Export implements the OTLP service.
func (c *changes) Export(_ context.Context, req *collogs.ExportLogsServiceRequest) (*collogs.ExportLogsServiceResponse, error) {
	if hold := c.take(req); hold != nil {
		<-hold
	}
	return &collogs.ExportLogsServiceResponse{}, nil
}

func (c *changes) take(req *collogs.ExportLogsServiceRequest) (hold chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, rl := range req.ResourceLogs {
		for _, sl := range rl.ScopeLogs {
			for _, l := range sl.LogRecords {
				get := func(key string) *commonpb.AnyValue {
					for _, kv := range l.Attributes {
						if kv.Key == key {
							return kv.Value
						}
					}
					return nil
				}
				if l.EventName != "" {
					c.gaps = append(c.gaps, l.String())
					continue
				}
				now := sinceBoot()
				if name := get("event.name").GetStringValue(); name != "" {
					key := name + "@" + get("k8s.object.resource_version").GetStringValue()
					c.came[key] = append(c.came[key], now)
					continue
				}
				name, count, delta := get("k8s.event.name").GetStringValue(), get("k8s.event.count").GetIntValue(), get("k8s.event.count_delta").GetIntValue()
				for n := count - delta + 1; n <= count; n++ {
					key := fmt.Sprintf("%s#%d", name, n)
					c.came[key] = append(c.came[key], now)
				}
			}
		}
	}
	return c.hold
}

// slow lets answers wait until the end of that.
func (c *changes) slow() (end func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	hold := make(chan struct{})
	c.hold = hold
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.hold = nil
		close(hold)
	}
}

// load changes a deployment and an event by turns.
type load struct {
	admin kubernetes.Interface
	ns    string
	want  []string
}

func (l *load) run(ctx context.Context, every time.Duration) error {
	deployments, events := l.admin.AppsV1().Deployments(l.ns), l.admin.CoreV1().Events(l.ns)
	tick := time.NewTicker(every)
	defer tick.Stop()
	count := map[string]int{}
	for i := 0; ; i++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		name := fmt.Sprint(string("de"[i%2]), i/2%10)
		count[name]++
		var err error
		switch n := count[name]; {
		case i%2 == 0 && n == 1:
			labels := map[string]string{"app": name}
			var d *appsv1.Deployment
			d, err = deployments.Create(context.Background(), &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: appsv1.DeploymentSpec{
				Selector: &metav1.LabelSelector{MatchLabels: labels},
				Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}}},
			}}, metav1.CreateOptions{})
			if err == nil {
				l.want = append(l.want, name+"@"+d.ResourceVersion)
			}
		case i%2 == 0:
			var d *appsv1.Deployment
			d, err = deployments.Patch(context.Background(), name, types.MergePatchType, fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, n), metav1.PatchOptions{})
			if err == nil {
				l.want = append(l.want, name+"@"+d.ResourceVersion)
			}
		case n == 1:
			_, err = events.Create(context.Background(), &corev1.Event{
				ObjectMeta: metav1.ObjectMeta{Name: name}, InvolvedObject: corev1.ObjectReference{Kind: "Pod", Namespace: l.ns, Name: "web"},
				Reason: "BackOff", Message: "again", Type: "Warning", Count: 1, FirstTimestamp: metav1.Now(), LastTimestamp: metav1.Now(),
			}, metav1.CreateOptions{})
		default:
			_, err = events.Patch(context.Background(), name, types.MergePatchType, fmt.Appendf(nil, `{"count":%d}`, n), metav1.PatchOptions{})
		}
		if err != nil {
			return err
		}
		if i%2 == 1 {
			l.want = append(l.want, fmt.Sprintf("%s#%d", name, count[name]))
		}
	}
}

// TestChanges: objects and events change at 50/s while leaders end cleanly, are killed and stand still:
// every change arrives, and only what was acknowledged in the last seconds before a crash arrives twice.
func TestChanges(t *testing.T) {
	r := newRig(t)
	rec := &changes{t: t, came: map[string][]time.Duration{}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	collogs.RegisterLogsServiceServer(s, rec)
	var serving sync.WaitGroup
	serving.Go(func() { s.Serve(l) })
	t.Cleanup(func() { s.Stop(); serving.Wait() })
	r.dest = l.Addr().String()
	ns := "changes"
	r.server.Namespace(t, ns)
	r.more = "events: {namespaces: [" + ns + "]}\nobjects: {resources: [{name: deployments, mode: watch, initial: changed, namespaces: [" + ns + "]}]}\n"
	replica := func(name string) *child { return r.start(name, "REPLICA_SOURCES=events objects") }

	all := []*child{replica("a"), replica("b"), replica("c")}
	leader := func() *child {
		t.Helper()
		for deadline := time.Now().Add(40 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) { // polls
			for _, c := range all {
				if strings.Contains(r.get(c.health+"leader"), `"leader": true`) {
					return c
				}
			}
		}
		t.Fatal("nobody leads")
		return nil
	}
	drop := func(c *child) { all = slices.DeleteFunc(all, func(o *child) bool { return o == c }) }
	saved := func(name string) bool {
		cm, err := r.server.Client().Typed.CoreV1().ConfigMaps("stint").Get(context.Background(), name, metav1.GetOptions{})
		return err == nil && len(cm.BinaryData["state.gz"]) > 60
	}
	leader()
	for deadline := time.Now().Add(20 * time.Second); !saved("stint-cluster-events") || !saved("stint-cluster-objects"); time.Sleep(50 * time.Millisecond) { // polls
		if time.Now().After(deadline) {
			t.Fatal("no checkpoints")
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	do := &load{admin: r.server.Client().Typed, ns: ns}
	done := make(chan error, 1)
	go func() { done <- do.run(ctx, 20*time.Millisecond) }()
	after := func(d time.Duration) { <-time.After(d) } // the load goes on meanwhile
	var crashes []time.Duration

	after(8 * time.Second)
	c := leader()
	r.signal(c, syscall.SIGTERM)
	r.wait(c)
	drop(c)
	all = append(all, replica("d"))
	leader()
	after(7 * time.Second)

	c = leader()
	crashes = append(crashes, sinceBoot())
	r.signal(c, syscall.SIGKILL)
	<-c.exited
	c.exited = nil
	drop(c)
	all = append(all, replica("e"))
	leader()
	after(7 * time.Second)

	c = leader()
	answer := rec.slow()
	after(2 * time.Second) // what it reads meanwhile waits in closed batches
	crashes = append(crashes, sinceBoot())
	r.signal(c, syscall.SIGSTOP)
	answer()
	drop(c)
	leader()
	r.signal(c, syscall.SIGCONT)
	all = append(all, c)
	after(5 * time.Second)

	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	c = leader()
	r.signal(c, syscall.SIGTERM) // hands over what waits for its turn
	r.wait(c)
	missing := func() (none []string) {
		rec.mu.Lock()
		defer rec.mu.Unlock()
		for _, w := range do.want {
			if len(rec.came[w]) == 0 {
				none = append(none, w)
			}
		}
		return none
	}
	for deadline := time.Now().Add(15 * time.Second); len(missing()) > 0 && time.Now().Before(deadline); {
		after(100 * time.Millisecond)
	}
	if m := missing(); len(m) > 0 {
		t.Errorf("%d of %d changes are missing: %v", len(m), len(do.want), m[:min(len(m), 20)])
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	twice, wrong := 0, 0
	for key, at := range rec.came {
		if len(at) == 1 {
			continue
		}
		twice++
		// Within 5 s, one write and what is under way before a crash.
		if !slices.ContainsFunc(crashes, func(crash time.Duration) bool { return at[0] <= crash+time.Second && at[0] > crash-7*time.Second }) || len(at) > 2 {
			if wrong++; wrong < 10 {
				t.Errorf("%s came at %v; crashes at %v", key, at, crashes)
			}
		}
	}
	if len(rec.gaps) > 0 {
		t.Errorf("gaps: %v", rec.gaps)
	}
	t.Logf("%d changes, %d of them twice", len(do.want), twice)
	if len(do.want) < 1000 {
		t.Errorf("only %d changes were made", len(do.want))
	}
}
