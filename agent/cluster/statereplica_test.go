//go:build cluster

package cluster

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	colmetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	"google.golang.org/grpc"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// phases is an OTLP server that keeps when the phase of each pod of a namespace was told.
type phases struct {
	colmetrics.UnimplementedMetricsServiceServer
	namespace string

	mu    sync.Mutex                // guards below
	times map[uint64]map[string]int // by time of the points, then by pod: how often
}

// Export implements the OTLP service.
func (p *phases) Export(_ context.Context, req *colmetrics.ExportMetricsServiceRequest) (*colmetrics.ExportMetricsServiceResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, rm := range req.ResourceMetrics {
		attrs := map[string]string{}
		for _, a := range rm.Resource.Attributes {
			attrs[a.Key] = a.Value.GetStringValue()
		}
		if attrs["k8s.namespace.name"] != p.namespace {
			continue
		}
		for _, m := range rm.ScopeMetrics[0].Metrics {
			if m.Name != "k8s.pod.phase" {
				continue
			}
			for _, pt := range m.GetGauge().DataPoints {
				if p.times[pt.TimeUnixNano] == nil {
					p.times[pt.TimeUnixNano] = map[string]int{}
				}
				p.times[pt.TimeUnixNano][attrs["k8s.pod.name"]]++
			}
		}
	}
	return &colmetrics.ExportMetricsServiceResponse{}, nil
}

// wait waits for a whole set of points later than a time, and returns when they are of.
func (p *phases) wait(t *testing.T, after time.Time, pods int, within time.Duration) time.Time {
	t.Helper()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(within); time.Now().Before(deadline); <-again.C {
		p.mu.Lock()
		for at, all := range p.times {
			if ts := time.Unix(0, int64(at)); ts.After(after) && len(all) == pods {
				p.mu.Unlock()
				return ts
			}
		}
		p.mu.Unlock()
	}
	t.Fatalf("no interval after %v with %d pods within %v", after, pods, within)
	return time.Time{}
}

// TestStateOfReplicas: the state of the cluster has one teller at a time: no point comes twice, over a
// clean hand-over and a crash, and each leader tells all.
func TestStateOfReplicas(t *testing.T) {
	const pods = 20
	r := newRig(t)
	p := &phases{namespace: "told", times: map[uint64]map[string]int{}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	colmetrics.RegisterMetricsServiceServer(s, p)
	var serving sync.WaitGroup
	serving.Go(func() { s.Serve(l) })
	t.Cleanup(func() { s.Stop(); serving.Wait() })
	r.dest = l.Addr().String()

	r.server.Namespace(t, p.namespace)
	api := r.server.Client().Typed.CoreV1().Pods(p.namespace)
	for i := range pods {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("p", i)}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "example.org/c"}}}}
		if _, err := api.Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	const env = "REPLICA_STATE=1"
	replicas := []*child{r.start("a", env), r.start("b", env), r.start("c", env)}
	leader := func() *child {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
			for _, c := range replicas {
				if c.exited != nil && strings.Contains(r.get(c.health+"leader"), `"leader": true`) {
					return c
				}
			}
		}
		t.Fatal("nobody leads")
		return nil
	}
	at := p.wait(t, time.Time{}, pods, 20*time.Second)
	at = p.wait(t, at, pods, 10*time.Second)

	was := leader()
	told := time.Now()
	r.signal(was, syscall.SIGTERM)
	r.wait(was)
	at = p.wait(t, told.Add(time.Second), pods, 10*time.Second)
	t.Logf("SIGTERM: the next leader's first interval is %v later", at.Sub(told).Round(time.Millisecond))
	if d := at.Sub(told); d > 6*time.Second {
		t.Errorf("the next leader's first interval is %v later", d)
	}

	was = leader()
	told = time.Now()
	r.signal(was, syscall.SIGKILL)
	<-was.exited
	was.exited = nil
	at = p.wait(t, told.Add(time.Second), pods, 30*time.Second)
	t.Logf("SIGKILL: the next leader's first interval is %v later", at.Sub(told).Round(time.Millisecond))
	if d := at.Sub(told); d > 21*time.Second {
		t.Errorf("the next leader's first interval is %v later", d)
	}
	p.wait(t, at, pods, 10*time.Second)

	p.mu.Lock()
	defer p.mu.Unlock()
	for at, all := range p.times {
		if at%uint64(time.Second) != 0 {
			t.Errorf("points at %v, off the grid", time.Unix(0, int64(at)))
		}
		for pod, n := range all {
			if n != 1 {
				t.Errorf("%s at %v came %d times", pod, time.Unix(0, int64(at)), n)
			}
		}
	}
}
