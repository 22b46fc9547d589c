//go:build cluster

package cluster

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	"google.golang.org/grpc"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"stint/scrape/kube/kubetest"
)

// TestMain runs the tests with one API server, or, in a process that a test started, a replica.
func TestMain(m *testing.M) {
	if os.Getenv("REPLICA_CONFIG") != "" {
		os.Exit(replica())
	}
	os.Exit(kubetest.Main(m))
}

// rig is replicas that are real processes, with the roles of deploy/ and no others, and where they send to.
type rig struct {
	t      *testing.T
	server *kubetest.Server
	rec    *receiver
	dest   string
	batch  time.Duration
	more   string // of the configuration
	inPod  bool   // the environment says where the API server is
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, server: kubetest.Shared(), rec: &receiver{t: t, more: make(chan struct{})}, batch: 20 * time.Millisecond}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.dest = l.Addr().String()
	s := grpc.NewServer()
	collogs.RegisterLogsServiceServer(s, r.rec)
	var serving sync.WaitGroup
	serving.Go(func() { s.Serve(l) })
	t.Cleanup(func() { s.Stop(); serving.Wait() })

	r.server.Apply(t, "deploy/kubernetes/rbac.yaml")
	leases := r.server.Client().Typed.CoordinationV1().Leases("stint")
	if err := leases.DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	return r
}

// child is one replica.
type child struct {
	name   string
	cmd    *exec.Cmd
	health string // its address, once it has started
	admin  string

	log    *syncBuffer
	exited chan error
}

// syncBuffer is a log that is read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// start starts a replica and waits until it serves.
func (r *rig) start(name string, env ...string) *child {
	r.t.Helper()
	dir := r.t.TempDir()
	kubeconfig := `""`
	if !r.inPod {
		kubeconfig = r.server.ConfigFor(r.t, "stint", "stint-cluster")
	}
	config := filepath.Join(dir, "cluster.yaml")
	if err := os.WriteFile(config, fmt.Appendf(nil, `state_dir: %s/state
admin: {listen: "127.0.0.1:0"}
health: {listen: "127.0.0.1:0"}
kubernetes: {kubeconfig: %s}
leader: {lease_namespace: stint}
batch: {timeout: %s}
exporters: {otlp: {endpoint: %q, compression: none, tls: {insecure: true}}}
%s`, dir, kubeconfig, r.batch, r.dest, r.more), 0o600); err != nil {
		r.t.Fatal(err)
	}
	c := &child{name: name, log: &syncBuffer{}, exited: make(chan error, 1)}
	c.cmd = exec.Command(os.Args[0])
	c.cmd.Env = append(append(os.Environ(), "REPLICA_CONFIG="+config, "POD_NAME="+name), env...)
	if len(env) == 0 {
		c.cmd.Env = append(c.cmd.Env, "TICKER_STUCK_AFTER=0")
	}
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stderr, err := c.cmd.StderrPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	started := make(chan struct{})
	go func() {
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			c.log.mu.Lock()
			c.log.b.Write(append(lines.Bytes(), '\n'))
			c.log.mu.Unlock()
			var line struct{ Msg, Health, Admin string }
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "started" {
				c.health, c.admin = line.Health, line.Admin
				close(started)
			}
		}
		c.exited <- c.cmd.Wait()
	}()
	r.t.Cleanup(func() {
		c.cmd.Process.Kill()
		if c.exited != nil {
			<-c.exited
		}
		if r.t.Failed() {
			r.t.Logf("log of %s:\n%s", name, c.log)
		}
	})
	select {
	case <-started:
	case <-time.After(20 * time.Second):
		r.t.Fatalf("%s does not start", name)
	}
	return c
}

func (r *rig) signal(c *child, s syscall.Signal) {
	r.t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		r.t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); s == syscall.SIGSTOP; time.Sleep(time.Millisecond) { // each of its threads runs on until it sees it
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", c.cmd.Process.Pid))
		if err != nil {
			r.t.Fatal(err)
		}
		if !slices.ContainsFunc(threads, func(stat string) bool {
			b, err := os.ReadFile(stat)
			return err == nil && !strings.Contains(string(b), ") T ")
		}) {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatal("the process does not stop")
		}
	}
}

// wait waits until a replica has ended.
func (r *rig) wait(c *child) {
	r.t.Helper()
	select {
	case err := <-c.exited:
		c.exited = nil
		if err != nil {
			r.t.Errorf("%s ended with %v", c.name, err)
		}
	case <-time.After(20 * time.Second):
		r.t.Fatalf("%s does not end", c.name)
	}
}

func (r *rig) get(url string) string {
	r.t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return fmt.Sprint(resp.StatusCode, " ", string(body))
}

// until asks a replica for /leader until that holds a text.
func (r *rig) until(c *child, text string) {
	r.t.Helper()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(r.get(c.health+"leader"), text); <-again.C {
		if time.Now().After(deadline) {
			r.t.Fatalf("/leader of %s: %s, want %s in it", c.name, r.get(c.health+"leader"), text)
		}
	}
}

// leads waits until one of the replicas sends, from index `from` of what arrives on.
func (r *rig) leads(from int, within time.Duration, replicas ...*child) (*child, tick) {
	r.t.Helper()
	names := map[string]*child{}
	for _, c := range replicas {
		names[c.name] = c
	}
	t := r.rec.wait("a leader", from, within, func(t tick) bool { return names[t.Replica] != nil })
	return names[t.Replica], t
}

// other is the replica of two that is not c.
func other(c *child, of ...*child) *child {
	if of[0] == c {
		return of[1]
	}
	return of[0]
}

// terms checks what arrived: in each term one replica sent, all of what it numbered and each once, and
// what was handed over in one term was so before the first of the next. Ends may be missing where
// a replica was killed. What was under way when a replica was stopped may have come twice: the answer did
// not come in time.
func (r *rig) terms(stopped ...time.Duration) {
	r.t.Helper()
	underWay := func(at time.Duration) bool {
		return slices.ContainsFunc(stopped, func(s time.Duration) bool { return at <= s && at > s-time.Second })
	}
	type term struct {
		replica     string
		seen        map[int64]int
		first, last time.Duration
		max         int64
	}
	all := map[int64]*term{}
	highest := int64(0)
	for _, t := range r.rec.all() {
		x := all[t.Term]
		if x == nil {
			x = &term{replica: t.Replica, seen: map[int64]int{}, first: t.At}
			all[t.Term] = x
		}
		if x.replica != t.Replica {
			r.t.Errorf("two replicas sent in term %d: %s and %s", t.Term, x.replica, t.Replica)
		}
		if x.seen[t.Seq] == 0 || !underWay(t.At) {
			x.seen[t.Seq]++
		}
		x.first, x.last, x.max = min(x.first, t.At), max(x.last, t.At), max(x.max, t.Seq)
		highest = max(highest, t.Term)
	}
	last := time.Duration(0)
	for n := range highest + 1 {
		x := all[n]
		if x == nil {
			continue
		}
		for seq := range x.max {
			if x.seen[seq+1] != 1 {
				r.t.Errorf("record %d of term %d (%s) arrived %d times", seq+1, n, x.replica, x.seen[seq+1])
			}
		}
		if x.first <= last {
			r.t.Errorf("term %d of %s began %v before the last record of the one before", n, x.replica, last-x.first)
		}
		last = x.last
	}
}

// TestHandover: the leader ends cleanly; what it had is delivered before the other one begins, which takes
// less than 5 s.
func TestHandover(t *testing.T) {
	r := newRig(t)
	a, b := r.start("a"), r.start("b")
	was, first := r.leads(0, 10*time.Second, a, b)
	next := other(was, a, b)
	if got := r.get(was.health + "leader"); !strings.Contains(got, `"leader": true`) || !strings.Contains(got, `"holder": "`+was.name+"_") {
		t.Errorf("/leader of the leader: %s", got)
	}
	r.until(next, `"holder": "`+was.name+"_") // it has looked at the lease
	if got := r.get(next.health + "leader"); !strings.HasPrefix(got, "200 ") || !strings.Contains(got, `"leader": false`) {
		t.Errorf("/leader of the other one: %s", got)
	}
	for _, probe := range []string{"livez", "readyz"} {
		if got := r.get(next.health + probe); got != "200 ok\n" {
			t.Errorf("/%s of a replica that does not lead: %s", probe, got)
		}
	}
	if got := r.get(was.admin + "metrics"); !strings.Contains(got, "\nstint_leader 1\n") || !strings.Contains(got, "\nstint_leader_transitions_total 1\n") {
		t.Errorf("metrics of the leader: %s", got)
	}
	r.rec.wait("some records", 0, 5*time.Second, func(t tick) bool { return t.Seq == 20 })

	at := sinceBoot()
	r.signal(was, syscall.SIGTERM)
	_, after := r.leads(0, 10*time.Second, next)
	t.Logf("from SIGTERM to the first record of the next leader: %v", after.arrived-at)
	if after.arrived-at > 5*time.Second || after.Term != first.Term+1 {
		t.Errorf("the next leader's first record came after %v, in term %d after %d", after.arrived-at, after.Term, first.Term)
	}
	r.wait(was)
	last := r.rec.wait("the last record of the first leader", 0, 0, func(t tick) bool { return t.Replica == was.name && t.Last })
	if last.arrived >= after.At {
		t.Errorf("the last record arrived %v after the next leader began", last.arrived-after.At)
	}
	r.terms()
}

// TestCrash: of three replicas the leader is killed; another one leads within 20 s.
func TestCrash(t *testing.T) {
	r := newRig(t)
	a, b, c := r.start("a"), r.start("b"), r.start("c")
	was, _ := r.leads(0, 10*time.Second, a, b, c)
	r.rec.wait("some records", 0, 5*time.Second, func(t tick) bool { return t.Seq == 20 })
	at := sinceBoot()
	r.signal(was, syscall.SIGKILL)
	after := r.rec.wait("the next leader", 0, 25*time.Second, func(t tick) bool { return t.Replica != was.name })
	t.Logf("from SIGKILL to the first record of the next leader: %v", after.arrived-at)
	if after.arrived-at > 20*time.Second {
		t.Errorf("the next leader's first record came after %v", after.arrived-at)
	}
	<-was.exited
	was.exited = nil
	r.terms()
}

// TestPause: the leader stands still for longer than the lease. Awake again, it sends nothing before it
// leads again, not even the batch that was open.
func TestPause(t *testing.T) {
	r := newRig(t)
	r.batch = time.Second
	a, b := r.start("a"), r.start("b")
	was, first := r.leads(0, 10*time.Second, a, b)
	next := other(was, a, b)
	r.rec.wait("a batch", 0, 5*time.Second, func(t tick) bool { return t.Seq >= 20 })
	<-time.After(300 * time.Millisecond) // in the middle of the next batch: no request is under way
	r.signal(was, syscall.SIGSTOP)
	stopped := sinceBoot()
	_, after := r.leads(0, 25*time.Second, next)
	r.rec.wait("some more", 0, 5*time.Second, func(t tick) bool { return t.Replica == next.name && t.Seq == 20 })
	before := r.rec.all()
	r.signal(was, syscall.SIGCONT)
	r.rec.wait("more of the next leader", 0, 10*time.Second, func(t tick) bool { return t.Replica == next.name && t.Seq == 100 })
	if got := r.get(was.health + "leader"); !strings.Contains(got, `"leader": false`) {
		t.Errorf("/leader of the one that slept: %s", got)
	}
	// It did try.
	if got := r.get(was.admin + "metrics"); strings.Contains(got, `stint_leader_fenced_records_total{source="ticker"} 0`) {
		t.Error("the one that slept did not try to send; this test shows nothing")
	}
	// It contends again.
	from := len(r.rec.all())
	r.signal(next, syscall.SIGTERM)
	_, again := r.leads(from, 10*time.Second, was)
	if again.Term != after.Term+1 {
		t.Errorf("it leads in term %d, after %d", again.Term, after.Term)
	}
	r.wait(next)
	for _, x := range r.rec.all()[len(before):] {
		known := slices.ContainsFunc(before, func(b tick) bool { return b.Term == x.Term && b.Seq == x.Seq }) // its answer was not read
		if x.Replica == was.name && x.Term <= after.Term && !known {
			t.Errorf("stopped at %v and awake again, it sent record %d of term %d of %v; the other's term is %d", stopped, x.Seq, x.Term, x.At, after.Term)
		}
	}
	if first.Term >= after.Term {
		t.Errorf("terms %d, then %d", first.Term, after.Term)
	}
	r.terms(stopped)
}

// TestPauseBehindSlowDestination: the leader stands still for longer than the lease while batches, closed long ago, wait for a
// destination that does not answer. Awake again, it sends none of them.
func TestPauseBehindSlowDestination(t *testing.T) {
	r := newRig(t)
	a, b := r.start("a"), r.start("b")
	was, _ := r.leads(0, 10*time.Second, a, b)
	next := other(was, a, b)
	r.rec.wait("some records", 0, 5*time.Second, func(t tick) bool { return t.Seq >= 10 })
	answer := r.rec.hold(was.name)
	defer answer()
	waiting := func() bool {
		var s struct {
			Exporters []struct{ Waiting_batches int }
		}
		_, text, _ := strings.Cut(r.get(was.admin+"status"), " ")
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			t.Fatal(err)
		}
		return s.Exporters[0].Waiting_batches >= 3
	}
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(10 * time.Second); !waiting(); <-again.C {
		if time.Now().After(deadline) {
			t.Fatal("no batch waits")
		}
	}
	r.signal(was, syscall.SIGSTOP)
	stopped := sinceBoot()
	_, after := r.leads(0, 25*time.Second, next)
	before := len(r.rec.all())
	r.signal(was, syscall.SIGCONT)
	answer()
	r.rec.wait("more of the next leader", before, 10*time.Second, func(t tick) bool { return t.Replica == next.name && t.Seq >= 100 })
	for _, x := range r.rec.all()[before:] {
		if x.Replica == was.name {
			t.Errorf("stopped at %v and awake again, it sent record %d of term %d of %v; the other's term is %d", stopped, x.Seq, x.Term, x.At, after.Term)
		}
	}
	if got := r.get(was.admin + "metrics"); !strings.Contains(got, `stint_export_dropped_records_total{exporter="otlp",reason="fenced",signal="logs"}`) {
		t.Errorf("nothing was held back: %s", got)
	}
	r.terms(stopped)
}

// TestServerRestarts: the leader outlives a restart of the API server; and when that is away for longer than
// renew_deadline, it sends nothing more until it has the lease again.
func TestServerRestarts(t *testing.T) {
	r := newRig(t)
	a, b := r.start("a"), r.start("b")
	was, first := r.leads(0, 10*time.Second, a, b)
	r.rec.wait("some records", 0, 5*time.Second, func(t tick) bool { return t.Seq == 20 })
	r.server.Restart(t)
	back := sinceBoot()
	still := r.rec.wait("records after the restart", 0, 10*time.Second, func(t tick) bool { return t.At > back+3*time.Second })
	if still.Replica != was.name || still.Term != first.Term {
		t.Errorf("after the restart %s leads in term %d, before it %s in %d", still.Replica, still.Term, was.name, first.Term)
	}

	r.server.Kill()
	away := sinceBoot()
	deadline := Defaults().Leader.RenewDeadline
	stopped := time.NewTimer(deadline + 3*time.Second)
	defer stopped.Stop()
	<-stopped.C // what is looked at is what did not happen by then
	if got := r.get(was.health + "leader"); !strings.Contains(got, `"leader": false`) || !strings.Contains(got, `"error": "`) {
		t.Errorf("/leader without an API server: %s", got)
	}
	if got := r.get(was.health + "readyz"); got != "200 ok\n" {
		t.Errorf("/readyz without an API server: %s", got)
	}
	r.server.Restart(t)
	back = sinceBoot()
	r.rec.wait("records after the outage", 0, 25*time.Second, func(t tick) bool { return t.At > back })
	for _, x := range r.rec.all() {
		if x.At > away+deadline && x.At < back-5*time.Second {
			t.Errorf("%s handed over record %d of term %d %v after the API server had gone", x.Replica, x.Seq, x.Term, x.At-away)
		}
	}
	r.terms()
}

// TestStuck: a leader that does not get on gives the lease up to another one, and takes it back when there
// is none.
func TestStuck(t *testing.T) {
	r := newRig(t)
	bad := r.start("bad", "TICKER_STUCK_AFTER=1s")
	_, first := r.leads(0, 10*time.Second, bad)
	again := r.rec.wait("the next term of the only replica", 0, 20*time.Second, func(t tick) bool { return t.Term > first.Term })
	if !strings.Contains(bad.log.String(), "ticker: no data for ") {
		t.Error("it does not say what is wrong")
	}
	good := r.start("good")
	_, after := r.leads(0, 20*time.Second, good)
	if after.Term <= again.Term {
		t.Errorf("term %d, after %d", after.Term, again.Term)
	}
	r.terms()
}
