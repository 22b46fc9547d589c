package journal

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/proto/otlp/collector/logs/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"stint/export/otlp"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("STINT_JOURNAL_HELPER"); dir != "" {
		helper(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

// record is a log record as a server decodes it.
type record struct {
	Resource map[string]string
	Time     uint64
	Severity int
	Text     string
	Body     string
	Attrs    map[string]string
}

func text(kvs []*commonpb.KeyValue) map[string]string {
	m := map[string]string{}
	for _, kv := range kvs {
		switch v := kv.Value.Value.(type) {
		case *commonpb.AnyValue_StringValue:
			m[kv.Key] = v.StringValue
		default:
			m[kv.Key] = strings.SplitN(fmt.Sprint(kv.Value), ":", 2)[1]
		}
	}
	return m
}

func decode(tb testing.TB, g *otlp.Group, data []byte) (records []record) {
	tb.Helper()
	var req v1.ExportLogsServiceRequest
	if err := proto.Unmarshal(append(g.AppendFrame(nil, len(data)), data...), &req); err != nil {
		tb.Fatalf("not OTLP: %v", err)
	}
	for _, rl := range req.ResourceLogs {
		for _, sl := range rl.ScopeLogs {
			for _, r := range sl.LogRecords {
				if r.ObservedTimeUnixNano == 0 {
					tb.Errorf("record %q has no observed time", r.Body.GetStringValue())
				}
				records = append(records, record{
					Resource: text(rl.Resource.Attributes), Time: r.TimeUnixNano, Severity: int(r.SeverityNumber), Text: r.SeverityText,
					Body: r.Body.GetStringValue(), Attrs: text(r.Attributes),
				})
			}
		}
	}
	return records
}

// encodeAll is a turn over data: parsed, encoded and decoded again.
func encodeAll(tb testing.TB, o Options, data []byte) (records []record) {
	tb.Helper()
	c := newEncoder(o, nil)
	p := newParser(c.fields(), o.MaxLineBytes)
	for {
		rest, ok := p.next(data)
		if !ok {
			break
		}
		data = rest
		c.add(&p.entry, 1)
	}
	for _, u := range c.touched {
		for i := u.first; i != none; i = c.index[i].next {
			records = append(records, decode(tb, u.group, c.data[c.index[i].from:c.index[i].to])...)
		}
	}
	return records
}

const writer = "/lib/systemd/systemd-journal-remote"

// journal writes real journal files, and rig follows them with the real journalctl.
type journal struct {
	t   *testing.T
	dir string
	n   int // entries written
}

func newJournal(t *testing.T) *journal {
	t.Helper()
	if _, err := exec.LookPath("journalctl"); err != nil {
		t.Skip("journalctl is not installed")
	}
	if _, err := os.Stat(writer); err != nil {
		t.Skip("systemd-journal-remote, which writes journal files, is not installed")
	}
	dir := filepath.Join(t.TempDir(), "journal")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return &journal{t: t, dir: dir}
}

const boot1, boot2 = "11111111111111111111111111111111", "22222222222222222222222222222222"

// write adds n entries with the bodies "entry <number>" to a file.
func (j *journal) write(file string, n int, fields ...pair) { j.writeIn(boot1, file, n, fields...) }

func (j *journal) writeIn(boot, file string, n int, fields ...pair) {
	j.t.Helper()
	var b []byte
	for range n {
		j.n++
		all := append([]pair{
			{"__REALTIME_TIMESTAMP", fmt.Sprint(1_700_000_000_000_000 + 1000*j.n)}, {"__MONOTONIC_TIMESTAMP", fmt.Sprint(1_000_000 + 1000*j.n)},
			{"_BOOT_ID", boot}, {"PRIORITY", "6"}, {"_SYSTEMD_UNIT", fmt.Sprint("u", j.n%3, ".service")}, {"N", fmt.Sprint(j.n)},
		}, fields...)
		if len(fields) == 0 || fields[0].name != "MESSAGE" {
			all = append(all, pair{"MESSAGE", fmt.Sprint("entry ", j.n)})
		}
		b = appendEntry(b, all...)
	}
	cmd := exec.Command(writer, "-o", filepath.Join(j.dir, file+".journal"), "-")
	cmd.Stdin = bytes.NewReader(b)
	if out, err := cmd.CombinedOutput(); err != nil {
		j.t.Fatalf("systemd-journal-remote: %v: %s", err, out)
	}
}

// bodies are those of write from first to last.
func bodies(first, last int) (s []string) {
	for i := first; i <= last; i++ {
		s = append(s, fmt.Sprint("entry ", i))
	}
	return s
}

// rig is a follower and a destination that settles when it is told to.
type rig struct {
	t     *testing.T
	f     *Follower
	state string
	pool  *otlp.Pool
	logs  *lines
	stop  context.CancelFunc
	done  chan struct{}

	mu     sync.Mutex // guards below
	hold   bool       // chunks wait in held
	held   []*otlp.Chunk
	got    []record
	change chan struct{} // closed at the next change
}

type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// follow starts a follower of the journal; change edits its options before.
func (j *journal) follow(state string, change ...func(*Options, *rig)) *rig {
	j.t.Helper()
	r := &rig{t: j.t, state: state, logs: &lines{}, change: make(chan struct{}), done: make(chan struct{}), pool: otlp.NewPool(64<<20, nil)}
	o := testOptions()
	o.Directory, o.StartAt, o.StateDir = j.dir, "beginning", state
	o.Log = slog.New(slog.NewTextHandler(io.MultiWriter(r.logs, j.t.Output()), nil))
	for _, c := range change {
		c(&o, r)
	}
	o.Pool, o.Out = r.pool, r.take
	f, err := New(o)
	if err != nil {
		j.t.Fatal(err)
	}
	f.backoff, f.missingRetry, f.patience = 10*time.Millisecond, 10*time.Millisecond, time.Second
	r.f = f
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	go func() {
		defer close(r.done)
		_ = f.Run(ctx)
	}()
	j.t.Cleanup(r.end)
	return r
}

func (r *rig) take(c *otlp.Chunk) {
	r.mu.Lock()
	r.got = append(r.got, decode(r.t, c.Group, c.Data)...)
	hold := r.hold
	if hold {
		r.held = append(r.held, c)
	}
	close(r.change)
	r.change = make(chan struct{})
	r.mu.Unlock()
	if !hold {
		c.Settle(otlp.Delivered)
	}
}

// end stops reading. What is held stays unsettled until the test is over.
func (r *rig) end() {
	r.stop()
	<-r.done
}

// close ends as the agent does: all settled, then the cursor saved.
func (r *rig) close() {
	r.t.Helper()
	r.end()
	r.release()
	if err := r.f.Close(); err != nil {
		r.t.Errorf("close: %v", err)
	}
}

// release settles what was held, newest first, and holds nothing more.
func (r *rig) release() {
	r.mu.Lock()
	held := r.held
	r.held, r.hold = nil, false
	r.mu.Unlock()
	for i := len(held) - 1; i >= 0; i-- {
		held[i].Settle(otlp.Delivered)
	}
}

func (r *rig) bodies() (s []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rec := range r.got {
		s = append(s, rec.Body)
	}
	return s
}

const patience = 30 * time.Second

// until waits for a chunk after which ok holds.
func (r *rig) until(what string, ok func() bool) {
	r.t.Helper()
	limit := time.After(patience)
	for {
		r.mu.Lock()
		change := r.change
		r.mu.Unlock()
		if ok() {
			return
		}
		select {
		case <-change:
		case <-limit:
			r.t.Fatalf("%s: not in %v; got %d records; status %+v", what, patience, len(r.bodies()), r.f.Status())
		}
	}
}

// count waits until n records came.
func (r *rig) count(n int) {
	r.t.Helper()
	r.until(fmt.Sprint(n, " records"), func() bool { return len(r.bodies()) >= n })
}

// eventually is for what tells nobody when it changes.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	limit := time.After(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%s: not in %v", what, patience)
		}
	}
}

// children are the processes that this one or another started, by command name.
func children(parent int, comm string) (pids []int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
		var pid, ppid int
		var state string
		if open < 0 || end < 0 || string(b[open+1:end]) != comm {
			continue
		}
		fmt.Sscan(string(b[:open]), &pid)
		fmt.Sscan(string(b[end+1:]), &state, &ppid)
		if ppid == parent && state != "Z" {
			pids = append(pids, pid)
		}
	}
	return pids
}
