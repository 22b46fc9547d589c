package tail

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"stint/export/otlp"
)

// leave ends the tailer as a reload does: what is in flight is aborted, and open files go to the next one.
func (r *rig) leave() {
	r.t.Helper()
	r.stop()
	r.stop = nil
	r.mu.Lock()
	held := r.held
	r.held, r.hold, r.got = nil, false, nil
	r.mu.Unlock()
	for _, c := range held {
		c.Settle(otlp.Aborted)
	}
	open, err := r.tailer.Leave()
	if err != nil {
		r.t.Fatal(err)
	}
	r.left = open
}

// What was not acknowledged of logs that nobody could find any more, because they were deleted, or renamed to where
// nobody looks, is sent by the next tailer, in order, and nothing else again.
func TestOpenFilesGoOn(t *testing.T) {
	r := newRig(t)
	var logs []string
	for _, name := range []string{"deleted", "rotated", "kept"} {
		path := r.log(name, "0.log")
		text, _ := full(1, 10)
		r.write(path, text)
		logs = append(logs, path)
	}
	plain := r.plainFile(Files{Format: "plain"})
	r.write(plain, "line 1\nline 2\n")
	r.start()
	r.wait(32)
	r.until("saved", func(s Status) bool { return s.Unsettled == 0 && r.savedAll() })
	r.mu.Lock()
	r.hold, r.got = true, nil
	r.mu.Unlock()
	more, want := full(11, 20)
	for _, path := range logs {
		r.write(path, more)
	}
	r.write(plain, "line 3\nline 4\n")
	r.wait(32)
	if err := os.RemoveAll(filepath.Dir(filepath.Dir(logs[0]))); err != nil {
		t.Fatal(err)
	}
	r.rename(logs[1], logs[1]+".20260102-030405")
	newest, wantNewest := full(21, 30)
	r.write(logs[1], newest)
	r.rename(plain, plain+".old") // which no glob matches
	r.write(plain, "line 5\n")
	r.leave()
	if n := len(r.left.files); n < 3 {
		t.Fatalf("%d files are left open, want 3 at least", n)
	}
	r.start()
	r.wait(43)
	by := map[string][]string{}
	for _, g := range r.got {
		of := g.pod
		if g.file != "" {
			of = filepath.Base(g.file)
		}
		by[of] = append(by[of], g.body)
	}
	for pod, want := range map[string][]string{
		"ns/deleted/main/0": want, "ns/rotated/main/0": slices.Concat(want, wantNewest), "ns/kept/main/0": want, filepath.Base(plain): {"line 3", "line 4", "line 5"},
	} {
		if !slices.Equal(by[pod], want) {
			t.Errorf("of %q came %q, want %q", pod, by[pod], want)
		}
	}
	r.until("all settled, and what is gone closed", func(s Status) bool { return s.Unsettled == 0 && s.OpenFiles == 5 })
}

// Who takes nothing over closes what was left.
func TestOpenFilesThatNobodyTakes(t *testing.T) {
	r := newRig(t)
	r.hold = true
	path := r.log("p", "0.log")
	text, _ := full(1, 10)
	r.write(path, text)
	r.start()
	r.wait(10)
	r.leave()
	f := r.left.files[0]
	tl, err := New(Options{Config: r.cfg, StateDir: r.state, Pool: otlp.NewPool(1<<20, nil), Out: r.take, Open: r.left})
	if err != nil {
		t.Fatal(err)
	}
	if err := tl.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.f.Stat(); err == nil {
		t.Error("it is still open")
	}
}
