package journal

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"stint/export/otlp"
)

// same compares bodies whatever order the units came in.
func same(t *testing.T, what string, want, got []string) {
	t.Helper()
	want, got = slices.Sorted(slices.Values(want)), slices.Sorted(slices.Values(got))
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

// Nothing lost, nothing repeated over restarts, with entries before, between and after.
func TestRestart(t *testing.T) {
	j := newJournal(t)
	state := t.TempDir()
	j.write("system", 50)
	r := j.follow(state)
	r.count(50)
	j.write("system", 50) // while it follows
	r.count(100)
	r.close()
	first := r.bodies()

	j.write("system", 30) // while nobody does
	r = j.follow(state)
	r.count(30)
	r.close()
	same(t, "all bodies", bodies(1, 130), append(first, r.bodies()...))

	r = j.follow(state)
	j.write("system", 1)
	r.count(1)
	r.close()
	same(t, "after a restart without news", bodies(131, 131), r.bodies())
	if st := r.f.Status(); st.CursorLost != 0 || st.Restarts != 0 || st.Malformed != 0 {
		t.Errorf("status %+v, want nothing lost", st)
	}
}

// Records of a unit keep their order.
func TestOrder(t *testing.T) {
	j := newJournal(t)
	j.write("system", 1000)
	r := j.follow(t.TempDir())
	r.count(1000)
	r.close()
	last := map[string]uint64{}
	for _, rec := range r.got {
		u := rec.Resource["systemd.unit"]
		if rec.Time <= last[u] {
			t.Fatalf("%s: %q came after a later one", u, rec.Body)
		}
		last[u] = rec.Time
	}
	if len(last) != 3 {
		t.Errorf("%d units, want 3", len(last))
	}
}

// What is written before a reboot is read after it: --follow alone shows one boot.
func TestReboot(t *testing.T) {
	j := newJournal(t)
	state := t.TempDir()
	j.write("system", 5)
	r := j.follow(state)
	r.count(5)
	r.close()
	j.write("system", 5)
	j.writeIn(boot2, "system", 5)
	r = j.follow(state)
	r.count(10)
	r.close()
	same(t, "bodies of both boots", bodies(6, 15), r.bodies())
}

// The cursor moves over the longest settled prefix only; a kill repeats the rest.
func TestOutOfOrder(t *testing.T) {
	j := newJournal(t)
	state := t.TempDir()
	hold := func(_ *Options, r *rig) { r.hold = true }
	r := j.follow(state, hold)
	for i := range 4 { // four turns
		j.write("system", 3)
		r.count(3 * (i + 1))
	}
	r.mu.Lock()
	held := slices.Clone(r.held)
	r.held = nil
	r.mu.Unlock()
	marks := map[uint64][]*otlp.Chunk{}
	var order []uint64
	for _, c := range held {
		if marks[c.Mark] == nil {
			order = append(order, c.Mark)
		}
		marks[c.Mark] = append(marks[c.Mark], c)
	}
	if len(order) < 3 {
		t.Fatalf("%d turns, want 3 or more", len(order))
	}
	settle := func(chunks []*otlp.Chunk, o otlp.Outcome) (n int) {
		for _, c := range chunks {
			n += c.Records
			c.Settle(o)
		}
		return n
	}
	saved := func() string {
		pos, err := loadPosition(filepath.Join(state, "cursor"))
		if err != nil {
			t.Fatal(err)
		}
		return pos.cursor
	}
	begin := saved()
	second := settle(marks[order[1]], otlp.Delivered)
	if _, err := r.f.save(true); err != nil || saved() != begin {
		t.Errorf("after the second turn alone: saved %q, %v; want it unmoved", saved(), err)
	}
	first := settle(marks[order[0]], otlp.Dropped) // a refusal is an answer too
	eventually(t, "cursor saved", func() bool { return saved() != begin })
	rest := 0
	for _, m := range order[2:] {
		rest += settle(marks[m], otlp.Aborted)
	}
	r.end() // no Close: a kill
	if c := r.f.Counts(); c.Delivered != int64(second) || c.Dropped != int64(first) || c.InFlight != int64(rest) {
		t.Errorf("counts %+v, want %d delivered, %d dropped, %d in flight", c, second, first, rest)
	}
	r = j.follow(state)
	r.count(rest)
	r.close()
	same(t, "repeated", bodies(13-rest, 12), r.bodies())
}

// journalctl killed midway is started again and goes on where reading came to.
func TestJournalctlKilled(t *testing.T) {
	j := newJournal(t)
	r := j.follow(t.TempDir(), func(_ *Options, r *rig) { r.hold = true })
	n := 0
	for range 3 {
		j.write("system", 40)
		n += 40
		r.count(n)
		for _, pid := range children(os.Getpid(), "journalctl") {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
	j.write("system", 1)
	r.count(n + 1)
	r.close()
	same(t, "bodies", bodies(1, n+1), r.bodies())
	if st := r.f.Status(); st.Restarts != 3 || st.CursorLost != 0 || !strings.Contains(st.LastError, "killed") {
		t.Errorf("status %+v, want 3 restarts after a kill", st)
	}
}

// Killed while a backlog flows: the entry that was torn is read again, whole.
func TestKilledInBacklog(t *testing.T) {
	j := newJournal(t)
	j.write("system", 5000)
	r := j.follow(t.TempDir())
	for n := 1; n < 5000; n += 1500 {
		r.count(n)
		for _, pid := range children(os.Getpid(), "journalctl") {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
	r.count(5000)
	r.close()
	same(t, "bodies", bodies(1, 5000), r.bodies())
}

// The file with the cursor's entry was vacuumed: said, counted, and read on without repeats.
func TestVacuumed(t *testing.T) {
	j := newJournal(t)
	state := t.TempDir()
	j.write("a", 20)
	r := j.follow(state)
	r.count(20)
	r.close()
	j.write("b", 10) // lost with a
	if err := os.Rename(filepath.Join(j.dir, "b.journal"), filepath.Join(j.dir, "a.journal")); err != nil {
		t.Fatal(err)
	}
	j.write("c", 10)
	if err := os.Remove(filepath.Join(j.dir, "a.journal")); err != nil {
		t.Fatal(err)
	}
	r = j.follow(state)
	r.count(10)
	j.write("c", 1)
	r.count(11)
	r.close()
	same(t, "bodies", bodies(31, 41), r.bodies())
	if st := r.f.Status(); st.CursorLost != 1 {
		t.Errorf("cursor lost %d times, want 1", st.CursorLost)
	}
	if !strings.Contains(r.logs.String(), "no longer holds the entry") {
		t.Errorf("not said:\n%s", r.logs)
	}
}

// Cursors that journalctl can't or doesn't find.
func TestUnknownCursor(t *testing.T) {
	past := uint64(1_700_000_000_000_000)
	for name, tc := range map[string]struct {
		pos  position
		want []string
	}{
		"not a cursor": {position{cursor: "nonsense", time: past + 4000}, bodies(4, 10)},
		"of another journal, in the future of this one": {position{
			cursor: "s=dddddddddddddddddddddddddddddddd;i=99;b=dddddddddddddddddddddddddddddddd;m=ffffff;t=7ffffffffffff;x=1", time: past + 4000}, bodies(4, 10)},
		"the clock was set back": {position{
			cursor: "s=dddddddddddddddddddddddddddddddd;i=99;b=dddddddddddddddddddddddddddddddd;m=ffffff;t=7ffffffffffff;x=1", time: 1 << 50}, bodies(1, 10)},
	} {
		t.Run(name, func(t *testing.T) {
			j := newJournal(t)
			state := t.TempDir()
			j.write("system", 10)
			c := testOptions().Config
			c.Directory = j.dir
			tc.pos.filter = c.filter()
			if err := (&store{path: filepath.Join(state, "cursor")}).save(tc.pos, true); err != nil {
				t.Fatal(err)
			}
			r := j.follow(state)
			r.count(len(tc.want))
			r.close()
			same(t, "bodies", tc.want, r.bodies())
			if st := r.f.Status(); st.CursorLost != 1 {
				t.Errorf("cursor lost %d times, want 1", st.CursorLost)
			}
		})
	}
}

// Another filter is no lost cursor, and nothing is skipped by it.
func TestFilterChanged(t *testing.T) {
	j := newJournal(t)
	state := t.TempDir()
	j.write("system", 9)
	only := func(u string) func(*Options, *rig) { return func(o *Options, _ *rig) { o.Units = []string{u} } }
	r := j.follow(state, only("u1"))
	r.count(3) // 1, 4, 7
	r.close()
	same(t, "bodies of u1", []string{"entry 1", "entry 4", "entry 7"}, r.bodies())
	j.write("system", 6)
	r = j.follow(state, only("u2.service"))
	r.count(3) // 8, 11, 14
	r.close()
	same(t, "bodies of u2 after the last of u1", []string{"entry 8", "entry 11", "entry 14"}, r.bodies())
	if st := r.f.Status(); st.CursorLost != 0 {
		t.Errorf("cursor lost %d times, want 0", st.CursorLost)
	}
}

func TestPriorityAndExcluded(t *testing.T) {
	j := newJournal(t)
	state := t.TempDir()
	j.write("system", 3, pair{"MESSAGE", "bad"}, pair{"PRIORITY", "3"}) // the second PRIORITY of an entry: journalctl matches either
	j.write("system", 3, pair{"MESSAGE", "fine"})
	r := j.follow(state, func(o *Options, _ *rig) { o.Priority, o.ExcludeUnits = "err", []string{"u1"} })
	r.count(2)
	r.close()
	same(t, "bodies", []string{"bad", "bad"}, r.bodies())
	if st := r.f.Status(); st.Excluded != 1 {
		t.Errorf("%d excluded, want 1", st.Excluded)
	}
	if pos, err := loadPosition(filepath.Join(state, "cursor")); err != nil || pos.time != 1_700_000_000_003_000 {
		t.Errorf("saved %+v, %v; want the third entry", pos, err)
	}
}

// start_at end: nothing old, and all that is written after the very first start, even when the
// agent ends before it sees any.
func TestStartAtEnd(t *testing.T) {
	j := newJournal(t)
	state := t.TempDir()
	j.write("system", 5)
	end := func(o *Options, _ *rig) { o.StartAt = "end" }
	r := j.follow(state, end)
	eventually(t, "journalctl runs", func() bool { return len(children(os.Getpid(), "journalctl")) > 0 })
	r.close()
	pos, err := loadPosition(filepath.Join(state, "cursor"))
	if err != nil || pos.cursor != "" || pos.time == 0 {
		t.Fatalf("saved %+v, %v; want a time", pos, err)
	}
	j.n = int((pos.time - 1_700_000_000_000_000) / 1000) // the writer's clock
	j.write("system", 5)
	r = j.follow(state, end)
	r.count(5)
	r.close()
	same(t, "bodies", bodies(j.n-4, j.n), r.bodies())
}

func TestMessages(t *testing.T) {
	j := newJournal(t)
	huge := strings.Repeat("0123456789abcdé\n", 200_000)
	for _, m := range []string{"a\n\nMESSAGE=b\n", "\xff\xfe\x00", "", huge, "last"} {
		j.write("system", 1, pair{"MESSAGE", m}, pair{"_SYSTEMD_UNIT", "one.service"})
	}
	r := j.follow(t.TempDir(), func(o *Options, _ *rig) { o.MaxLineBytes = 1 << 20 })
	r.count(5)
	r.close()
	got := r.bodies()
	slices.Sort(got)
	want := []string{"", huge[:1<<20], "a\n\nMESSAGE=b\n", "last", "\uFFFD\uFFFD\x00"}
	slices.Sort(want)
	if !slices.Equal(want, got) {
		t.Errorf("%d bodies differ", len(got))
	}
	if st := r.f.Status(); st.Truncated != 1 || st.Malformed != 0 {
		t.Errorf("truncated %d, malformed %d; want 1, 0", st.Truncated, st.Malformed)
	}
}

// While the pool is exhausted journalctl waits at a full pipe; then all goes on.
func TestBackpressure(t *testing.T) {
	j := newJournal(t)
	const n = 20_000
	j.write("system", n)
	starved := make(chan struct{}, 1)
	r := j.follow(t.TempDir(), func(_ *Options, r *rig) {
		r.hold = true
		r.pool = otlp.NewPool(2*otlp.SlabSize, func() {
			select {
			case starved <- struct{}{}:
			default:
			}
		})
	})
	<-starved
	if got := r.f.Counts(); got.InFlight == 0 || got.InFlight >= n || r.pool.Used() > 2*otlp.SlabSize {
		t.Errorf("while starved: %+v, %d bytes of the pool", got, r.pool.Used())
	}
	if r.f.Status().BehindSecs == 0 {
		t.Error("not behind while starved")
	}
	r.release()
	r.count(n)
	r.close()
	same(t, "bodies", bodies(1, n), r.bodies())
	if used := r.pool.Used(); used != 0 {
		t.Errorf("%d bytes of the pool not given back", used)
	}
}

// The end while the pool is exhausted is an end too.
func TestEndWhileStarved(t *testing.T) {
	j := newJournal(t)
	state := t.TempDir()
	j.write("system", 3)
	starved := make(chan struct{}, 1)
	r := j.follow(state, func(_ *Options, r *rig) {
		r.pool = otlp.NewPool(0, func() {
			select {
			case starved <- struct{}{}:
			default:
			}
		})
	})
	<-starved
	r.close()
	r = j.follow(state)
	r.count(3)
	r.close()
	same(t, "bodies", bodies(1, 3), r.bodies())
}

func TestNoOrphan(t *testing.T) {
	j := newJournal(t)
	j.write("system", 3)
	r := j.follow(t.TempDir())
	r.count(3)
	pids := children(os.Getpid(), "journalctl")
	if len(pids) != 1 {
		t.Fatalf("%d journalctl, want 1", len(pids))
	}
	r.close()
	if err := unix.Kill(pids[0], 0); !errors.Is(err, unix.ESRCH) {
		t.Errorf("journalctl %d after the end: %v, want none", pids[0], err)
	}
}

// helper is the agent that TestKill kills: it delivers at once and writes down what.
func helper(dir string) {
	out, err := os.OpenFile(filepath.Join(dir, "delivered"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	o := testOptions()
	o.Directory, o.StartAt, o.StateDir = filepath.Join(dir, "journal"), "beginning", filepath.Join(dir, "state")
	o.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	o.Pool = otlp.NewPool(64<<20, nil)
	o.Out = func(c *otlp.Chunk) {
		var req strings.Builder
		_ = otlp.LogBodies(append(c.Group.AppendFrame(nil, len(c.Data)), c.Data...), func(b []byte) { fmt.Fprintf(&req, "%s\n", b) })
		_, _ = out.WriteString(req.String())
		fmt.Println(c.Records)
		c.Settle(otlp.Delivered)
	}
	f, err := New(o)
	if err != nil {
		panic(err)
	}
	_ = f.Run(context.Background())
}

// kill -9: no orphan stays, nothing is lost, and what is repeated was acknowledged just before.
func TestKill(t *testing.T) {
	j := newJournal(t)
	dir := filepath.Dir(j.dir)
	const n = 20_000
	j.write("system", n)
	for round := range 3 {
		agent := exec.Command(os.Args[0], "-test.run=^$")
		agent.Env = append(os.Environ(), "STINT_JOURNAL_HELPER="+dir)
		out, err := agent.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := agent.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for range 3 * (round + 1) {
			if !lines.Scan() {
				t.Fatal("helper ended")
			}
		}
		var fds []unix.PollFd
		for _, pid := range children(agent.Process.Pid, "journalctl") {
			fd, err := unix.PidfdOpen(pid, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			fds = append(fds, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
		}
		if len(fds) != 1 {
			t.Fatalf("%d journalctl of the helper, want 1", len(fds))
		}
		_ = agent.Process.Kill()
		_, _ = io.Copy(io.Discard, out)
		_ = agent.Wait()
		if got, err := unix.Poll(fds, int(patience.Milliseconds())); got != 1 {
			t.Fatalf("journalctl outlives the agent: %v", err)
		}
	}
	r := j.follow(filepath.Join(dir, "state"))
	j.write("system", 1)
	r.until("the last entry", func() bool { return slices.Contains(r.bodies(), fmt.Sprint("entry ", n+1)) })
	r.close()
	b, err := os.ReadFile(filepath.Join(dir, "delivered"))
	if err != nil {
		t.Fatal(err)
	}
	all := r.bodies()
	for line := range strings.Lines(string(b)) {
		// A kill may have torn what the helper was writing down; the next one went on behind it.
		if line = line[max(strings.LastIndex(line, "entry "), 0):]; strings.HasSuffix(line, "\n") {
			all = append(all, strings.TrimSuffix(line, "\n"))
		}
	}
	slices.Sort(all)
	unique := slices.Compact(slices.Clone(all))
	same(t, "bodies at least once", bodies(1, n+1), unique)
	t.Logf("%d of %d repeated by 3 kills", len(all)-len(unique), n)
}

func TestMissing(t *testing.T) {
	j := newJournal(t)
	j.write("system", 2)
	real, err := exec.LookPath("journalctl")
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "journalctl")
	r := j.follow(t.TempDir(), func(o *Options, _ *rig) { o.Journalctl = link })
	eventually(t, "said", func() bool { return strings.Contains(r.logs.String(), "Install systemd's journalctl") })
	if st := r.f.Status(); st.LastError == "" {
		t.Error("status has no error")
	}
	if err := os.Symlink(real, link); err != nil { // installed
		t.Fatal(err)
	}
	r.count(2)
	r.close()
	same(t, "bodies", bodies(1, 2), r.bodies())
}

// A panic costs the entry that it struck, and the follower goes on.
func TestPanic(t *testing.T) {
	j := newJournal(t)
	j.write("system", 3)
	state := t.TempDir()
	r := j.follow(state, func(o *Options, _ *rig) { o.Journalctl = "/nowhere/journalctl" })
	r.end()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	units := r.f.enc.units
	r.f.enc.units, r.f.cfg.Journalctl = nil, "" // no new unit can be kept
	go func() { done <- r.f.Run(ctx) }()
	eventually(t, "three panics", func() bool { return r.f.Status().Panics == 3 })
	stop()
	<-done
	r.f.enc.units = units
	if err := r.f.Close(); err != nil {
		t.Error(err)
	}
	j.write("system", 1)
	r = j.follow(state)
	r.until("the entry after them", func() bool { return slices.Contains(r.bodies(), "entry 4") })
	r.close()
}

// The releases of systemd in which --follow refuses --merge.
func TestMergeRefused(t *testing.T) {
	j := newJournal(t)
	j.write("system", 2)
	script := filepath.Join(t.TempDir(), "journalctl")
	if err := os.WriteFile(script, []byte(`#!/bin/sh
case " $* " in *" --merge "*) echo "Using --boot or --list-boots with --merge is not supported." >&2; exit 1;; esac
exec journalctl "$@"
`), 0o755); err != nil {
		t.Fatal(err)
	}
	r := j.follow(t.TempDir(), func(o *Options, _ *rig) { o.Journalctl = script })
	r.count(2)
	r.close()
	same(t, "bodies", bodies(1, 2), r.bodies())
	if st := r.f.Status(); st.Restarts != 0 || st.CursorLost != 0 {
		t.Errorf("status %+v, want no restart counted", st)
	}
}

// The journal can't be read: said with journalctl's words, tried again, read when it can be.
func TestNoPermission(t *testing.T) {
	j := newJournal(t)
	if os.Getuid() != 0 {
		t.Skip("needs root, to run journalctl as another user")
	}
	setpriv, err := exec.LookPath("setpriv")
	if err != nil {
		t.Skip("setpriv is not installed")
	}
	j.write("system", 2)
	for dir := j.dir; strings.HasPrefix(dir, os.TempDir()+"/"); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(j.dir, "system.journal")
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(t.TempDir(), "journalctl")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nexec "+setpriv+" --reuid=65534 --regid=65534 --clear-groups journalctl \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	r := j.follow(t.TempDir(), func(o *Options, _ *rig) { o.Journalctl = script })
	eventually(t, "said", func() bool { return strings.Contains(r.f.Status().LastError, "insufficient permissions") })
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	r.count(2)
	r.close()
	same(t, "bodies", bodies(1, 2), r.bodies())
	if st := r.f.Status(); st.Restarts == 0 {
		t.Error("no restart counted")
	}
}

// A state directory that can't be written: delivery goes on, it is said, and the gauge rises.
func TestStateNotWritable(t *testing.T) {
	j := newJournal(t)
	j.write("system", 2)
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	reg := prometheus.NewRegistry()
	r := j.follow(filepath.Join(blocked, "state"), func(o *Options, _ *rig) { o.Registerer = reg })
	r.count(2)
	j.write("system", 2)
	r.count(4)
	eventually(t, "said", func() bool { return strings.Contains(r.logs.String(), "could not be saved") })
	if st := r.f.Status(); st.UnsavedSec <= 0 || st.SaveError == "" {
		t.Errorf("status %+v, want unsaved seconds and an error", st)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		m := f.Metric[0]
		got[f.GetName()] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
	}
	if len(got) != 12 || got["stint_journald_read_records_total"] != 4 || got["stint_journald_cursor_unsaved_seconds"] <= 0 {
		t.Errorf("metrics %v", got)
	}
	r.end()
	if err := r.f.Close(); err == nil {
		t.Error("close: no error")
	}
}

func TestCursorFile(t *testing.T) {
	pos := position{cursor: "s=1;i=2", time: 17, filter: "/d debug\n\"x"}
	write := func(t *testing.T, dir string) *store {
		s, got, err := openStore(dir)
		if err != nil || got != (position{}) || !s.fresh {
			t.Fatalf("openStore of nothing = %+v, fresh %v, %v", got, s.fresh, err)
		}
		for i, sync := range []bool{true, false} {
			p := pos
			p.time += uint64(i)
			if err := s.save(p, sync); err != nil {
				t.Fatal(err)
			}
		}
		return s
	}
	later := pos
	later.time++
	for name, tc := range map[string]struct {
		damage  func(path string) error
		want    position
		fresh   bool
		wantErr bool
	}{
		"as saved": {func(string) error { return nil }, later, false, false},
		"torn":     {func(p string) error { return os.Truncate(p, 30) }, pos, false, true},
		"empty":    {func(p string) error { return os.Truncate(p, 0) }, pos, false, true},
		"gone":     {os.Remove, pos, false, true},
		"garbage":  {func(p string) error { return os.WriteFile(p, []byte("\x00\xff\nx\n"), 0o600) }, pos, false, true},
		"flipped": {func(p string) error {
			b, err := os.ReadFile(p)
			b[len(stateMagic)+3] ^= 1
			return errors.Join(err, os.WriteFile(p, b, 0o600))
		}, pos, false, true},
		"both garbage": {func(p string) error {
			return errors.Join(os.WriteFile(p, []byte("x"), 0o600), os.WriteFile(p+".old", []byte("y"), 0o600))
		}, position{}, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := write(t, dir)
			if err := tc.damage(s.path); err != nil {
				t.Fatal(err)
			}
			again, got, err := openStore(dir)
			if got != tc.want || again.fresh != tc.fresh || (err != nil) != tc.wantErr {
				t.Errorf("openStore = %+v, fresh %v, %v; want %+v, fresh %v", got, again.fresh, err, tc.want, tc.fresh)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	if err := Defaults().Check(); err != nil {
		t.Errorf("Defaults().Check() = %v", err)
	}
	bad := Config{Enabled: "yes", Directory: "log", Journalctl: "journalctl", Units: []string{"a b"}, ExcludeUnits: []string{"["}, Priority: "9", StartAt: "boot", Fields: []string{"lower"}}
	err := bad.Check()
	for _, key := range []string{"enabled", "priority", "start_at", "directory", "journalctl", "units[0]", "exclude_units[0]", "fields[0]"} {
		if err == nil || !strings.Contains(err.Error(), "journald."+key+": ") {
			t.Errorf("Check() = %v\nlacks journald.%s", err, key)
		}
	}
}

func TestOn(t *testing.T) {
	script := filepath.Join(t.TempDir(), "journalctl")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		files   []string
		enabled string
		dir     string
		command string
		on      bool
		why     string
	}{
		"nothing there":          {why: "no journal in /var/log/journal or /run/log/journal"},
		"a journal":              {files: []string{"var/log/journal/id/system.journal"}, on: true, why: "/var/log/journal"},
		"a volatile journal":     {files: []string{"run/log/journal/id/system.journal"}, on: true, why: "/run/log/journal"},
		"an empty journal":       {files: []string{"var/log/journal/id/x"}, why: "no journal"},
		"syslog beside it":       {files: []string{"var/log/journal/id/system.journal", "var/log/syslog"}, why: "/var/log/syslog holds the same"},
		"messages beside it":     {files: []string{"var/log/journal/id/system.journal", "var/log/messages"}, why: "/var/log/messages holds the same"},
		"no journalctl":          {files: []string{"var/log/journal/id/system.journal"}, command: "/nowhere/journalctl", why: "not found"},
		"a directory is named":   {files: []string{"d/system.journal", "var/log/syslog"}, dir: "/d", on: true, why: "/d"},
		"on whatever there is":   {enabled: "true", on: true, why: "enabled is true"},
		"off whatever there is":  {files: []string{"var/log/journal/id/system.journal"}, enabled: "false", why: "enabled is false"},
		"the named one is empty": {files: []string{"var/log/journal/id/system.journal"}, dir: "/d", why: "no journal in /d"},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			for _, f := range tc.files {
				if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(root, f)), 0o755), os.WriteFile(filepath.Join(root, f), nil, 0o644)); err != nil && !errors.Is(err, fs.ErrExist) {
					t.Fatal(err)
				}
			}
			c := Defaults()
			c.Directory, c.Journalctl = tc.dir, script
			if tc.enabled != "" {
				c.Enabled = tc.enabled
			}
			if tc.command != "" {
				c.Journalctl = tc.command
			}
			if on, why := c.on(root); on != tc.on || !strings.Contains(why, tc.why) {
				t.Errorf("on = %v, %q; want %v, …%q…", on, why, tc.on, tc.why)
			}
		})
	}
}
