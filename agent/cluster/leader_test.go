//go:build cluster

package cluster

import (
	"context"
	"crypto/rand"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"stint/scrape/kube/kubetest"
)

// candidate is a leader in this process, whose work tells when it begins and ends.
type candidate struct {
	*leader
	began, ended chan struct{}
	hang         chan struct{} // closed: the work ends when its context does
	stop         context.CancelFunc
	wg           sync.WaitGroup
}

// free never hangs.
var free = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

func newCandidate(t *testing.T, name, identity string, cfg Leader, hang chan struct{}) *candidate {
	t.Helper()
	c := &candidate{began: make(chan struct{}, 10), ended: make(chan struct{}, 10), hang: hang}
	l := newLease(&resourcelock.LeaseLock{
		LeaseMeta: metav1.ObjectMeta{Name: name, Namespace: "default"}, Client: kubetest.Shared().Client().Typed.CoordinationV1(),
		LockConfig: resourcelock.ResourceLockConfig{Identity: identity},
	}, cfg.RenewDeadline)
	work := func(ctx context.Context) error {
		if !l.live() {
			t.Errorf("%s: the work begins without a live lease", identity)
		}
		c.began <- struct{}{}
		<-ctx.Done()
		<-c.hang
		c.ended <- struct{}{}
		return nil
	}
	c.leader = newLeader(cfg, l, work, func() string { return "" }, func(string, string) {}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	ctx, stop := context.WithCancel(context.Background())
	c.stop = stop
	c.wg.Go(func() { c.run(ctx) })
	t.Cleanup(func() { c.stop(); c.wg.Wait() })
	return c
}

func within(t *testing.T, what string, d time.Duration, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(d):
		t.Fatalf("%s: not within %v", what, d)
	}
}

// usurp writes another holder into the Lease, as if it had expired and another replica had taken it.
func usurp(t *testing.T, name string) {
	t.Helper()
	leases := kubetest.Shared().Client().Typed.CoordinationV1().Leases("default")
	for {
		l, err := leases.Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		holder, transitions := "usurper", *l.Spec.LeaseTransitions+1
		l.Spec.HolderIdentity, l.Spec.LeaseTransitions, l.Spec.RenewTime = &holder, &transitions, &metav1.MicroTime{Time: time.Now()}
		if _, err := leases.Update(t.Context(), l, metav1.UpdateOptions{}); err == nil {
			return
		} // the leader has just renewed
	}
}

func spec(t *testing.T, name string) coordinationv1.LeaseSpec {
	t.Helper()
	l, err := kubetest.Shared().Client().Typed.CoordinationV1().Leases("default").Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return l.Spec
}

// TestReleaseSparesAnother: a leader that stops without having seen that another one has the lease does
// not take it away from that one. Without errTaken client-go does.
func TestReleaseSparesAnother(t *testing.T) {
	name := strings.ToLower(rand.Text())
	cfg := Leader{LeaseDuration: 30 * time.Second, RenewDeadline: 20 * time.Second, RetryPeriod: 10 * time.Second}
	c := newCandidate(t, name, "a", cfg, free)
	within(t, "leading", 10*time.Second, c.began)
	usurp(t, name)
	if !c.lease.live() {
		t.Fatal("it has noticed; this test shows nothing")
	}
	c.stop()
	c.wg.Wait()
	if got := spec(t, name); *got.HolderIdentity != "usurper" {
		t.Errorf("the lease is held by %q, want the usurper", *got.HolderIdentity)
	}
}

// TestTakenLease: when another one has the lease, the work ends at the next renewal, without waiting for
// renew_deadline, and begins again when that one's lease has expired.
func TestTakenLease(t *testing.T) {
	name := strings.ToLower(rand.Text())
	cfg := Leader{LeaseDuration: 3 * time.Second, RenewDeadline: 2 * time.Second, RetryPeriod: 200 * time.Millisecond}
	c := newCandidate(t, name, "a", cfg, free)
	within(t, "leading", 10*time.Second, c.began)
	first := c.lease.currentTerm()
	usurp(t, name)
	at := time.Now()
	within(t, "the end of the work", time.Second, c.ended)
	if c.lease.live() {
		t.Error("the lease is live although another one has it")
	}
	within(t, "leading again", 10*time.Second, c.began)
	if d := time.Since(at); d < cfg.LeaseDuration {
		t.Errorf("it took the lease after %v, before that had expired", d)
	}
	if got := c.lease.currentTerm(); got != first+2 {
		t.Errorf("term %d, after %d and the other one's", got, first)
	}
}

// TestDeletedLease: somebody deletes the Lease. Whoever makes it anew leads; the one who led, if it is the
// same one, begins anew.
func TestDeletedLease(t *testing.T) {
	name := strings.ToLower(rand.Text())
	cfg := Leader{LeaseDuration: 3 * time.Second, RenewDeadline: 2 * time.Second, RetryPeriod: 200 * time.Millisecond}
	c := newCandidate(t, name, "a", cfg, free)
	within(t, "leading", 10*time.Second, c.began)
	if err := kubetest.Shared().Client().Typed.CoordinationV1().Leases("default").Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	within(t, "the end of the work", 2*time.Second, c.ended)
	within(t, "leading again", 10*time.Second, c.began)
}

// TestOneAtATime: three replicas that stop and come again; the work of one never begins before that of the
// other has ended.
func TestOneAtATime(t *testing.T) {
	name := strings.ToLower(rand.Text())
	cfg := Leader{LeaseDuration: 3 * time.Second, RenewDeadline: 2 * time.Second, RetryPeriod: 100 * time.Millisecond}
	all := map[string]*candidate{}
	for _, id := range []string{"a", "b", "c"} {
		all[id] = newCandidate(t, name, id, cfg, free)
	}
	for range 6 {
		var who string
		var c *candidate
		select {
		case <-all["a"].began:
			who = "a"
		case <-all["b"].began:
			who = "b"
		case <-all["c"].began:
			who = "c"
		case <-time.After(5 * time.Second):
			t.Fatal("nobody leads")
		}
		c = all[who]
		for id, o := range all {
			if id != who && o.lease.live() {
				t.Errorf("%s and %s lead", who, id)
			}
		}
		c.stop()
		c.wg.Wait()
		within(t, "the end of the work", time.Second, c.ended)
		all[who] = newCandidate(t, name, who, cfg, free)
	}
}

// TestHangingWork: work that does not stop is fenced off, and does not keep the lease from others.
func TestHangingWork(t *testing.T) {
	name := strings.ToLower(rand.Text())
	cfg := Leader{LeaseDuration: 30 * time.Second, RenewDeadline: 20 * time.Second, RetryPeriod: 200 * time.Millisecond}
	hang := make(chan struct{})
	c := newCandidate(t, name, "a", cfg, hang)
	within(t, "leading", 10*time.Second, c.began)
	c.stop()
	next := newCandidate(t, name, "b", cfg, free)
	within(t, "another one leads", stopTimeout+handoverTimeout+5*time.Second, next.began)
	if c.lease.live() || !next.lease.live() {
		t.Errorf("live: the one that hangs %v, the other %v", c.lease.live(), next.lease.live())
	}
	close(hang)
	within(t, "its end", time.Second, c.ended)
	c.wg.Wait()
}
