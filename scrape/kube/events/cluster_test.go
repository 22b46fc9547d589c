//go:build cluster

package events

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"stint/export/otlp"
	"stint/scrape/kube"
	"stint/scrape/kube/kubetest"
)

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }

// reporter writes events as the recorders of Kubernetes do.
type reporter struct {
	t     *testing.T
	admin kubernetes.Interface
	ns    string
	count map[string]int64
}

func newReporter(t *testing.T) (*kube.Client, *reporter) {
	t.Helper()
	s := kubetest.Shared()
	s.Apply(t, "deploy/kubernetes/rbac.yaml")
	c, err := kube.NewClient(kube.Config{Kubeconfig: s.ConfigFor(t, "stint", "stint-cluster")}, "test")
	if err != nil {
		t.Fatal(err)
	}
	ns := strings.ToLower(t.Name())
	s.Namespace(t, ns)
	if err := s.Client().Typed.CoreV1().ConfigMaps("stint").DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "app.kubernetes.io/managed-by=stint-cluster"}); err != nil {
		t.Fatal(err)
	}
	return c, &reporter{t, s.Client().Typed, ns, map[string]int64{}}
}

// happen lets an event happen once more.
func (r *reporter) happen(name string) {
	r.t.Helper()
	r.count[name]++
	var err error
	if n := r.count[name]; strings.HasPrefix(name, "new") {
		api := r.admin.EventsV1().Events(r.ns)
		if n == 1 {
			_, err = api.Create(context.Background(), &eventsv1.Event{
				ObjectMeta: metav1.ObjectMeta{Name: name}, Regarding: corev1.ObjectReference{Kind: "Pod", Namespace: r.ns, Name: "web"},
				Reason: "Failed", Action: "Scheduling", Note: "no room", Type: "Warning", EventTime: metav1.NowMicro(), ReportingController: "test/scheduler", ReportingInstance: "s-1",
			}, metav1.CreateOptions{})
		} else {
			patch, _ := json.Marshal(map[string]any{"series": eventsv1.EventSeries{Count: int32(n), LastObservedTime: metav1.NowMicro()}})
			_, err = api.Patch(context.Background(), name, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
		}
	} else {
		api := r.admin.CoreV1().Events(r.ns)
		if n == 1 {
			_, err = api.Create(context.Background(), &corev1.Event{
				ObjectMeta: metav1.ObjectMeta{Name: name}, InvolvedObject: corev1.ObjectReference{Kind: "Pod", Namespace: r.ns, Name: "web"},
				Reason: "BackOff", Message: "again", Type: "Warning", Count: 1, FirstTimestamp: metav1.Now(), LastTimestamp: metav1.Now(), Source: corev1.EventSource{Component: "kubelet", Host: "n1"},
			}, metav1.CreateOptions{})
		} else {
			patch := fmt.Appendf(nil, `{"count":%d,"lastTimestamp":%q}`, n, time.Now().UTC().Format(time.RFC3339))
			_, err = api.Patch(context.Background(), name, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
		}
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// TestReal: events by both APIs whose counts grow, over our restarts and those of the API server: the
// differences add up to what happened.
func TestReal(t *testing.T) {
	c, r := newReporter(t)
	quick := func(s *Source, cfg *Config) {
		s.windows = [2]time.Duration{20 * time.Millisecond, 50 * time.Millisecond}
		cfg.Namespaces = []string{r.ns}
	}
	acked := map[string]int{}
	kinds := map[string]bool{}
	for round := range 5 {
		p := start(t, c, quick)
		until(t, "it follows", func() bool {
			p.src.mu.Lock()
			t := p.src.targets[r.ns]
			p.src.mu.Unlock()
			return t != nil && t.read() != ""
		})
		p.Hold()
		for i := range 30 {
			r.happen([]string{"old-a", "old-b", "new-a", "new-b"}[i*(round+1)%4])
			if i%7 == 3 {
				p.Settle(2, otlp.Delivered)
			}
			if round == 2 && i == 15 || round == 3 && i == 29 {
				kubetest.Shared().Restart(t)
			}
		}
		if round == 4 {
			until(t, "the last ones are told of", func() bool {
				sum := map[string]int{}
				add(sum, p.Records(), 0)
				for name, n := range acked {
					sum[name] += n
				}
				for name, n := range r.count {
					if sum[name] < int(n) {
						return false
					}
				}
				return true
			})
			p.Release()
		} else {
			p.Settle(5, otlp.Delivered)
		}
		p.end()
		add(acked, p.Records(), p.Held())
		for _, rec := range p.Records() {
			kinds[rec.Attr("k8s.event.reason")+rec.ResourceAttr("k8s.pod.name")+rec.SeverityText+strconv.FormatBool(rec.TimeUnixNano > 0)] = true
			if rec.EventName != "" {
				t.Errorf("a gap: %v", rec)
			}
		}
	}
	for name, n := range r.count {
		if acked[name] != int(n) {
			t.Errorf("%s happened %d times, %d were told of", name, n, acked[name])
		}
	}
	if len(kinds) != 2 || !kinds["FailedwebWarningtrue"] || !kinds["BackOffwebWarningtrue"] {
		t.Errorf("%v", kinds)
	}
}
