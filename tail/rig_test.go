package tail

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"stint/export/otlp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a tailer over real files with a destination in the test's hands.
type rig struct {
	t     *testing.T
	root  string // of container logs
	state string
	cfg   Config
	age   time.Duration // partialAge, when not 0
	look  time.Duration // sweepEvery and hotSweep, when not 0
	room  int64         // of the pool, when not 0
	open  int           // maxOpen, when not 0
	said  io.Writer     // gets the log too, if not nil
	about func(uid, container string, restart int) *Container
	// vanishing is told what Options.Vanishing is.
	vanishing func(now bool)
	// each, if not nil, gets every chunk and settles it.
	each func(*otlp.Chunk, []got)

	mu      sync.Mutex
	news    *sync.Cond
	got     []got
	hold    bool // keep chunks unsettled
	held    []*otlp.Chunk
	outcome otlp.Outcome

	tailer *Tailer
	stop   func()
	left   *Open // for the next tailer
}

// got is one record that arrived.
type got struct {
	body, stream, file string
	pod                string // ns/pod/container/restart
	service            string
	severity           int
	time, observed     uint64
	truncated          bool
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, root: t.TempDir(), state: t.TempDir(), cfg: Defaults()}
	r.cfg.Containers.Root, r.cfg.Files = r.root, nil
	r.news = sync.NewCond(&r.mu)
	t.Cleanup(r.kill)
	return r
}

// start begins to tail; after a kill it is the next process.
func (r *rig) start() {
	r.t.Helper()
	room := r.room
	if room == 0 {
		room = 8 << 20
	}
	var said io.Writer = testWriter{r.t}
	if r.said != nil {
		said = io.MultiWriter(said, r.said)
	}
	pool := otlp.NewPool(room, nil)
	tl, err := New(Options{
		Config: r.cfg, StateDir: r.state, Version: "test", Pool: pool, Out: r.take, Workers: 2, Lookup: r.about, Vanishing: r.vanishing,
		OwnPod: "own/pod", Open: r.left, Log: slog.New(slog.NewTextHandler(said, nil)),
	})
	if err != nil {
		r.t.Fatal(err)
	}
	if r.age != 0 {
		tl.partialAge = r.age
	}
	if r.open != 0 {
		tl.scan.maxOpen = r.open
	}
	if r.look != 0 {
		tl.scan.every, tl.scan.hotEvery = r.look, r.look/4
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { tl.Run(ctx) })
	r.tailer = tl
	r.stop = func() { cancel(); wg.Wait() }
}

// testWriter sends the log to the test's output.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) { w.t.Logf("%s", b); return len(b), nil }

// kill ends the tailer as SIGKILL would: nothing is saved at the end.
func (r *rig) kill() {
	if r.stop == nil {
		return
	}
	r.stop()
	r.stop = nil
	r.mu.Lock()
	held := r.held
	r.held = nil
	r.mu.Unlock()
	for _, c := range held {
		c.Settle(otlp.Aborted)
	}
	r.tailer.stopSaving()
	r.tailer.mu.Lock()
	for _, c := range r.tailer.chains {
		for _, f := range slices.Concat(c.files, c.drained) {
			f.close()
		}
	}
	r.tailer.mu.Unlock()
	r.tailer.store.close()
}

// end stops as SIGTERM does: offsets are saved.
func (r *rig) end() {
	r.t.Helper()
	r.stop()
	r.stop = nil
	if err := r.tailer.Close(); err != nil {
		r.t.Error(err)
	}
}

func (r *rig) take(c *otlp.Chunk) {
	request := append(c.Group.AppendFrame(nil, len(c.Data)), c.Data...)
	var m collogs.ExportLogsServiceRequest
	if err := proto.Unmarshal(request, &m); err != nil {
		r.t.Errorf("chunk is not OTLP: %v", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	before := len(r.got)
	for _, rl := range m.ResourceLogs {
		res := attrMap(rl.Resource.Attributes)
		pod := strings.Join([]string{res["k8s.namespace.name"], res["k8s.pod.name"], res["k8s.container.name"], res["k8s.container.restart_count"]}, "/")
		for _, sl := range rl.ScopeLogs {
			for _, l := range sl.LogRecords {
				a := attrMap(l.Attributes)
				r.got = append(r.got, got{
					body: l.Body.GetStringValue(), stream: a["log.iostream"], file: a["log.file.path"], pod: pod,
					service: res["service.name"], severity: int(l.SeverityNumber), time: l.TimeUnixNano, observed: l.ObservedTimeUnixNano, truncated: a["stint.truncated"] == "true",
				})
			}
		}
	}
	if n := len(r.got) - before; n != c.Records {
		r.t.Errorf("chunk says %d records and has %d", c.Records, n)
	}
	if r.each != nil {
		r.each(c, r.got[before:])
		r.got = r.got[:0]
		return
	}
	if r.hold {
		r.held = append(r.held, c)
	} else {
		c.Settle(r.outcome)
	}
	r.news.Broadcast()
}

func attrMap(kvs []*commonpb.KeyValue) map[string]string {
	m := map[string]string{}
	for _, kv := range kvs {
		switch v := kv.Value.Value.(type) {
		case *commonpb.AnyValue_StringValue:
			m[kv.Key] = v.StringValue
		default:
			m[kv.Key] = strings.TrimSpace(strings.SplitN(kv.Value.String(), ":", 2)[1])
		}
	}
	return m
}

// settle answers the held chunks at these indexes of the held list.
func (r *rig) settle(o otlp.Outcome, which ...int) {
	r.mu.Lock()
	var chunks []*otlp.Chunk
	for _, i := range which {
		chunks = append(chunks, r.held[i])
		r.held[i] = nil
	}
	r.held = slices.DeleteFunc(r.held, func(c *otlp.Chunk) bool { return c == nil })
	r.mu.Unlock()
	for _, c := range chunks {
		c.Settle(o)
	}
}

// wait blocks until n records have arrived in all, and returns their bodies in order.
func (r *rig) wait(n int) []string {
	r.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	late := time.AfterFunc(20*time.Second, func() { r.mu.Lock(); r.news.Broadcast(); r.mu.Unlock() })
	defer late.Stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.got) < n && time.Now().Before(deadline) {
		r.news.Wait()
	}
	if len(r.got) != n {
		r.t.Fatalf("%d records arrived, want %d: %q", len(r.got), n, clipped(bodies(r.got)))
	}
	return bodies(r.got)
}

func clipped(s []string) []string {
	for i := range s {
		s[i] = s[i][:min(len(s[i]), 60)]
	}
	return s[:min(len(s), 40)]
}

func bodies(g []got) []string {
	var s []string
	for _, x := range g {
		s = append(s, x.body)
	}
	return s
}

// until polls a condition that no record announces.
func (r *rig) until(what string, f func(Status) bool) {
	r.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !f(r.tailer.Status()); <-tick.C {
		if time.Now().After(deadline) {
			r.t.Fatalf("never: %s; %+v", what, r.tailer.Status())
		}
	}
}

func (r *rig) same(want ...string) {
	r.t.Helper()
	if have := r.wait(len(want)); !slices.Equal(have, want) {
		r.t.Fatalf("got %q\nwant %q", clipped(have), clipped(want))
	}
}

// log is the path of a container's file; its directory is made.
func (r *rig) log(pod, name string) string {
	dir := filepath.Join(r.root, "ns_"+pod+"_uid-"+pod, "main")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		r.t.Fatal(err)
	}
	return filepath.Join(dir, name)
}

// write appends text to a file.
func (r *rig) write(path, text string) {
	r.t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		r.t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) rename(from, to string) {
	r.t.Helper()
	if err := os.Rename(from, to); err != nil {
		r.t.Fatal(err)
	}
}

// old makes a file's last change lie back, so that nobody waits for its writer.
func (r *rig) old(path string) {
	r.t.Helper()
	at := time.Now().Add(-time.Minute)
	if err := os.Chtimes(path, at, at); err != nil {
		r.t.Fatal(err)
	}
}

// cri is one line of a container's log.
func criLine(tag, body string) string {
	return "2026-01-02T03:04:05.6Z " + tag + " " + body + "\n"
}

// full gives numbered lines a..b of stdout.
func full(a, b int) (text string, want []string) {
	var s strings.Builder
	for i := a; i <= b; i++ {
		body := fmt.Sprintf("line %d", i)
		s.WriteString(criLine("stdout F", body))
		want = append(want, body)
	}
	return s.String(), want
}
