package tail

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"stint/export/otlp"
)

func TestRecordCarriesPathStreamAndTimes(t *testing.T) {
	r := newRig(t)
	r.write(r.log("web", "3.log"), criLine("stderr F", "hi"))
	before := uint64(time.Now().UnixNano())
	r.start()
	r.same("hi")
	g := r.got[0]
	if g.pod != "ns/web/main/3" || g.stream != "stderr" || g.time != uint64(time.Date(2026, 1, 2, 3, 4, 5, 6e8, time.UTC).UnixNano()) {
		t.Errorf("%+v", g)
	}
	if g.observed < before || g.observed > uint64(time.Now().UnixNano()) {
		t.Errorf("observed %d is not the time of reading", g.observed)
	}
}

// TestLines holds what one file turns into, line by line. Content goes in before the start, so
// that each case is one read.
func TestLines(t *testing.T) {
	long := strings.Repeat("ä", 1000)
	for name, tc := range map[string]struct {
		text      string
		want      []string
		truncated int // how many carry the mark
		malformed int64
		limit     int
	}{
		"full lines":                    {text: criLine("stdout F", "a") + criLine("stdout F", "b"), want: []string{"a", "b"}},
		"partial lines are joined":      {text: criLine("stdout P", "a ") + criLine("stdout P", " b") + criLine("stdout F", "c"), want: []string{"a  bc"}},
		"streams are joined apart":      {text: criLine("stdout P", "o1") + criLine("stderr P", "e1") + criLine("stdout F", "o2") + criLine("stderr F", "e2"), want: []string{"o1o2", "e1e2"}},
		"UTF-8 cut between pieces":      {text: criLine("stdout P", "\xe2\x82") + criLine("stdout F", "\xac"), want: []string{"€"}},
		"invalid UTF-8":                 {text: criLine("stdout F", "a\xffb"), want: []string{"a\uFFFDb"}},
		"empty body is a record":        {text: criLine("stdout F", ""), want: []string{""}},
		"empty line is none":            {text: "\n\n" + criLine("stdout F", "a") + "\n", want: []string{"a"}},
		"one CR goes":                   {text: criLine("stdout F", "a\r\r"), want: []string{"a\r"}},
		"white space stays":             {text: criLine("stdout F", "  a \t"), want: []string{"  a \t"}},
		"malformed stays as it is":      {text: "what is this\n" + criLine("stdout F", "a"), want: []string{"what is this", "a"}, malformed: 1},
		"malformed inside a partial":    {text: criLine("stdout P", "a") + "??\n" + criLine("stdout F", "b"), want: []string{"??", "ab"}, malformed: 1},
		"NUL hole in front":             {text: strings.Repeat("\x00", 5000) + criLine("stdout F", "a\x00b"), want: []string{"a\x00b"}},
		"docker":                        {text: `{"log":"a\u003c\n","stream":"stdout","time":"2026-01-02T03:04:05Z"}` + "\n", want: []string{"a<"}},
		"docker pieces":                 {text: `{"log":"a","stream":"stderr","time":"2026-01-02T03:04:05Z"}` + "\n" + `{"log":"b\n","stream":"stderr","time":"2026-01-02T03:04:05Z"}` + "\n", want: []string{"ab"}},
		"docker cut":                    {text: `{"log":"a` + "\n" + criLine("stdout F", "b"), want: []string{`{"log":"a`, "b"}, malformed: 1},
		"both in one file":              {text: criLine("stdout F", "a") + `{"log":"b\n","stream":"stdout","time":"2026-01-02T03:04:05Z"}` + "\n", want: []string{"a", "b"}},
		"JSON body under a CRI header":  {text: criLine("stdout F", `{"log":"x"}`), want: []string{`{"log":"x"}`}},
		"at the limit":                  {text: criLine("stdout F", strings.Repeat("x", 256)), want: []string{strings.Repeat("x", 256)}, limit: 256},
		"over the limit, next intact":   {text: criLine("stdout F", strings.Repeat("x", 257)) + criLine("stdout F", "b"), want: []string{strings.Repeat("x", 256), "b"}, limit: 256, truncated: 1},
		"cut at a rune":                 {text: criLine("stdout F", "x"+long), want: []string{"x" + strings.Repeat("ä", 127)}, limit: 256, truncated: 1},
		"pieces over the limit":         {text: criLine("stdout P", strings.Repeat("x", 200)) + criLine("stdout P", strings.Repeat("y", 200)) + criLine("stdout F", "z") + criLine("stdout F", "b"), want: []string{strings.Repeat("x", 200) + strings.Repeat("y", 56), "b"}, limit: 256, truncated: 1},
		"a line longer than the buffer": {text: criLine("stdout F", strings.Repeat("x", 3*readBytes)) + criLine("stdout F", "b"), want: []string{strings.Repeat("x", 3*readBytes), "b"}},
		"longer than buffer and limit":  {text: criLine("stdout F", strings.Repeat("x", 3*readBytes)) + criLine("stdout F", "b"), want: []string{strings.Repeat("x", 1000), "b"}, limit: 1000, truncated: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			if tc.limit > 0 {
				r.cfg.MaxLineBytes = tc.limit
			}
			path := r.log("p", "0.log")
			r.write(path, tc.text)
			r.start()
			r.same(tc.want...)
			cut := 0
			for _, g := range r.got {
				if g.truncated {
					cut++
				}
			}
			s := r.tailer.Status()
			if cut != tc.truncated || s.Truncated != int64(tc.truncated) || s.Malformed != tc.malformed {
				t.Errorf("%d records carry the mark, counted %d, malformed %d; want %d, %d", cut, s.Truncated, s.Malformed, tc.truncated, tc.malformed)
			}
			r.until("all settled", func(s Status) bool { return s.Unsettled == 0 && s.Delivered == int64(len(tc.want)) })
		})
	}
}

func TestHalfALineWaitsForItsEnd(t *testing.T) {
	r := newRig(t)
	path := r.log("p", "0.log")
	line := criLine("stdout F", "in two parts")
	r.write(path, criLine("stdout F", "a")+line[:40])
	r.start()
	r.same("a")
	r.until("the half line was seen", func(s Status) bool { return s.BehindBytes == 40 })
	r.write(path, line[40:])
	r.same("a", "in two parts")
}

func TestPartialWithoutEndIsSentAfterAWhile(t *testing.T) {
	r := newRig(t)
	r.age = 3 * time.Second
	r.write(r.log("p", "0.log"), criLine("stdout F", "a")+criLine("stderr P", "no newline at the end"))
	r.start()
	r.same("a", "no newline at the end")
	if r.got[1].stream != "stderr" {
		t.Errorf("%+v", r.got[1])
	}
	r.until("counted and settled", func(s Status) bool { return s.Unfinished == 1 && s.Unsettled == 0 })
}

func TestRotationByRename(t *testing.T) {
	r := newRig(t)
	path := r.log("p", "0.log")
	a, wantA := full(1, 100)
	r.write(path, a)
	r.start()
	r.wait(100)
	r.rename(path, path+".20260102-030405")
	r.write(path+".20260102-030405", criLine("stdout F", "after the rename")) // until the runtime reopens
	b, wantB := full(101, 200)
	r.write(path, b)
	r.same(slices.Concat(wantA, []string{"after the rename"}, wantB)...)
}

func TestPartialAcrossRotation(t *testing.T) {
	r := newRig(t)
	path := r.log("p", "0.log")
	r.write(path, criLine("stdout P", "first "))
	r.start()
	r.until("read", func(s Status) bool { return s.Bytes > 0 })
	r.rename(path, path+".20260102-030405")
	r.old(path + ".20260102-030405")
	r.write(path, criLine("stdout F", "second"))
	r.same("first second")
	r.until("all settled", func(s Status) bool { return s.Unsettled == 0 })
}

// TestBacklogOfGenerations: what was rotated before the start, and between two looks, is read
// oldest first.
func TestBacklogOfGenerations(t *testing.T) {
	r := newRig(t)
	path := r.log("p", "0.log")
	var want []string
	for i, name := range []string{path + ".20260102-030405", path + ".20260102-030505", path + ".20260102-030605", path} {
		text, w := full(i*10, i*10+9)
		r.write(name, text)
		r.old(name)
		want = append(want, w...)
	}
	r.start()
	r.same(want...)
}

func TestDeletedLogIsReadToItsEnd(t *testing.T) {
	r := newRig(t)
	r.hold = true
	path := r.log("p", "0.log")
	text, want := full(1, 50)
	r.write(path, text)
	r.start()
	r.wait(50)
	r.write(path, criLine("stdout F", "last words"))
	if err := os.RemoveAll(filepath.Dir(filepath.Dir(path))); err != nil {
		t.Fatal(err)
	}
	r.same(append(want, "last words")...)
	if n := r.tailer.Status().OpenFiles; n != 1 {
		t.Errorf("%d files open while records are in flight, want 1", n)
	}
	r.settle(otlp.Delivered, 0, 1)
	r.until("closed and forgotten", func(s Status) bool { return s.OpenFiles == 0 && s.Logs == 0 })
	r.end()
	r.start()
	if n := len(r.tailer.store.entries); n != 0 {
		t.Errorf("%d entries are kept of files that are gone", n)
	}
}

func TestTruncationInPlaceIsReadFromTheBeginning(t *testing.T) {
	r := newRig(t)
	path := r.log("p", "0.log")
	text, want := full(1, 50)
	r.write(path, text)
	r.start()
	r.wait(50)
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	r.write(path, criLine("stdout F", "new"))
	r.same(append(want, "new")...)
	r.until("settled at the new offset", func(s Status) bool { return s.Truncations == 1 && s.Unsettled == 0 })
	r.end()
	r.start()
	r.write(path, criLine("stdout F", "newer"))
	r.same(append(want, "new", "newer")...)
}

func TestRestartGoesOnWhereItWasAcknowledged(t *testing.T) {
	r := newRig(t)
	path := r.log("p", "0.log")
	text, want := full(1, 50)
	r.write(path, text)
	r.start()
	r.wait(50)
	r.end()

	r.rename(path, path+".20260102-030405") // while nobody looks
	more, wantMore := full(51, 60)
	r.write(path+".20260102-030405", more)
	r.old(path + ".20260102-030405")
	newest, wantNewest := full(61, 70)
	r.write(path, newest)
	r.start()
	r.same(slices.Concat(want, wantMore, wantNewest)...)
}

func TestKillRepeatsOnlyWhatWasNotAcknowledged(t *testing.T) {
	r := newRig(t)
	path := r.log("p", "0.log")
	a, _ := full(1, 10)
	r.write(path, a)
	r.start()
	r.wait(10)
	r.until("saved", func(s Status) bool { return s.Unsettled == 0 && r.savedAll() })
	r.mu.Lock()
	r.hold = true
	r.mu.Unlock()
	b, wantB := full(11, 20)
	r.write(path, b)
	r.wait(20)
	r.kill()
	r.mu.Lock()
	r.got, r.hold = nil, false
	r.mu.Unlock()
	r.start()
	r.same(wantB...)
}

// savedAll says whether the offsets file holds every frontier.
func (r *rig) savedAll() bool {
	r.tailer.saving.Lock()
	defer r.tailer.saving.Unlock()
	r.tailer.mu.Lock()
	defer r.tailer.mu.Unlock()
	for _, c := range r.tailer.chains {
		c.mu.Lock()
		dirty := c.dirty
		c.mu.Unlock()
		if dirty {
			return false
		}
	}
	return true
}

// TestFrontierIsTheLongestAcknowledgedPrefix acknowledges out of order.
func TestFrontierIsTheLongestAcknowledgedPrefix(t *testing.T) {
	r := newRig(t)
	r.hold = true
	path := r.log("p", "0.log")
	line := criLine("stdout F", "x")
	r.start()
	for n := range 3 {
		r.write(path, line)
		r.wait(n + 1)
	}
	frontier := func() int64 {
		s := r.tailer.Status()
		return int64(3*len(line)) - s.Unsettled
	}
	if got := frontier(); got != 0 {
		t.Fatalf("nothing acknowledged: frontier %d", got)
	}
	r.settle(otlp.Delivered, 2) // the last first
	if got := frontier(); got != 0 {
		t.Errorf("the last acknowledged: frontier %d, want 0", got)
	}
	r.settle(otlp.Delivered, 0)
	if got := frontier(); got != int64(len(line)) {
		t.Errorf("first and last acknowledged: frontier %d, want %d", got, len(line))
	}
	r.settle(otlp.Dropped, 0) // refused for good counts as done
	if got := frontier(); got != int64(3*len(line)) {
		t.Errorf("all settled: frontier %d, want %d", got, 3*len(line))
	}
	if s := r.tailer.Status(); s.Delivered != 2 || s.Dropped != 1 {
		t.Errorf("delivered %d, dropped %d", s.Delivered, s.Dropped)
	}
}

// TestFrontierWaitsForUnfinishedRecords: the piece may not be lost, and what lies behind it in
// the other stream is not repeated.
func TestFrontierWaitsForUnfinishedRecords(t *testing.T) {
	r := newRig(t)
	path := r.log("p", "0.log")
	first := criLine("stdout F", "a")
	r.write(path, first+criLine("stdout P", "piece ")+criLine("stderr F", "between"))
	r.start()
	r.same("a", "between")
	r.until("settled up to the piece", func(s Status) bool {
		return s.Delivered == 2 && s.Unsettled == int64(len(criLine("stdout P", "piece ")+criLine("stderr F", "between")))
	})
	r.end()
	r.start()
	r.write(path, criLine("stdout F", "end"))
	r.same("a", "between", "piece end")
	r.until("all settled", func(s Status) bool { return s.Unsettled == 0 })
}

func TestInodeUsedAgainIsANewFile(t *testing.T) {
	r := newRig(t)
	path := r.log("p", "0.log")
	text, want := full(1, 20)
	r.write(path, text)
	r.start()
	r.wait(20)
	r.end()
	// The same inode with other content, longer than the offset.
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		t.Fatal(err)
	}
	other, wantOther := full(1001, 1100)
	if _, err := f.WriteString(other); err != nil {
		t.Fatal(err)
	}
	f.Close()
	r.start()
	r.same(append(want, wantOther...)...)
}

func TestStartAtEndCountsOnlyForTheVeryFirstStart(t *testing.T) {
	r := newRig(t)
	r.cfg.StartAt = "end"
	path := r.log("p", "0.log")
	text, _ := full(1, 20)
	r.write(path, text)
	r.start()
	r.until("looked", func(s Status) bool { return !r.tailer.LastLook().IsZero() })
	r.write(path, criLine("stdout F", "later"))
	r.same("later")
	r.write(r.log("q", "0.log"), criLine("stdout F", "a new file"))
	r.same("later", "a new file")
	r.end()
	r.write(r.log("z", "0.log"), criLine("stdout F", "while away"))
	r.start()
	r.same("later", "a new file", "while away")
}

func TestExcludedAndOwnPodsAreNotRead(t *testing.T) {
	r := newRig(t)
	r.cfg.Containers.Exclude = []string{"ns/no-*/*"}
	r.write(r.log("no-thanks", "0.log"), criLine("stdout F", "excluded"))
	own := filepath.Join(r.root, "own_pod_u", "agent")
	if err := os.MkdirAll(own, 0o755); err != nil {
		t.Fatal(err)
	}
	r.write(filepath.Join(own, "0.log"), criLine("stdout F", "own"))
	r.write(r.log("yes", "0.log"), criLine("stdout F", "wanted"))
	r.start()
	r.same("wanted")
	if n := r.tailer.Status().Logs; n != 1 {
		t.Errorf("%d logs are followed, want 1", n)
	}
}

func TestRootThatAppearsLater(t *testing.T) {
	r := newRig(t)
	r.root = filepath.Join(r.root, "not", "yet")
	r.cfg.Containers.Root = r.root
	r.start()
	r.until("looked", func(s Status) bool { return !r.tailer.LastLook().IsZero() })
	r.write(r.log("p", "0.log"), criLine("stdout F", "here now"))
	r.same("here now")
}

// TestShortPodIsOpenedInTime: pod directory, container directory, log, one line, and all
// deleted a second after the container ended, as the kubelet does it at the fastest.
func TestShortPodIsOpenedInTime(t *testing.T) {
	r := newRig(t)
	r.start()
	r.until("looked", func(s Status) bool { return !r.tailer.LastLook().IsZero() })
	path := r.log("short", "0.log")
	r.write(path, criLine("stdout F", "hello"))
	gone := time.AfterFunc(time.Second, func() { os.RemoveAll(filepath.Dir(filepath.Dir(path))) })
	defer gone.Stop()
	r.same("hello")
}

func TestContainerRestartIsAnotherLog(t *testing.T) {
	r := newRig(t)
	r.write(r.log("p", "0.log"), criLine("stdout F", "first life"))
	r.start()
	r.same("first life")
	r.write(r.log("p", "1.log"), criLine("stdout F", "second life"))
	r.same("first life", "second life")
	if a, b := r.got[0].pod, r.got[1].pod; a != "ns/p/main/0" || b != "ns/p/main/1" {
		t.Errorf("%s, %s", a, b)
	}
}

// TestSymlinkedLogs is Docker's way: 0.log points into its own directory, where the target is
// replaced without any change in the pod's.
func TestSymlinkedLogs(t *testing.T) {
	r := newRig(t)
	target := filepath.Join(t.TempDir(), "id-json.log")
	line := func(s string) string {
		return `{"log":"` + s + `\n","stream":"stdout","time":"2026-01-02T03:04:05Z"}` + "\n"
	}
	r.write(target, line("a"))
	if err := os.Symlink(target, r.log("p", "0.log")); err != nil {
		t.Fatal(err)
	}
	r.start()
	r.same("a")
	r.rename(target, target+".1")
	r.old(target + ".1")
	r.write(target, line("b"))
	r.same("a", "b")
}

func TestUnreadableLogIsTriedAgain(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Log("root reads everything: a dangling link stands in for a file that can't be opened")
	}
	r := newRig(t)
	path := r.log("p", "0.log")
	target := filepath.Join(t.TempDir(), "later")
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
	r.write(r.log("q", "0.log"), criLine("stdout F", "neighbour"))
	r.start()
	r.same("neighbour")
	r.write(target, criLine("stdout F", "now it opens"))
	r.same("neighbour", "now it opens")
}

func TestPlainFiles(t *testing.T) {
	r := newRig(t)
	dir := t.TempDir()
	r.cfg.Containers.Root = ""
	r.cfg.Files = []Files{{Include: []string{dir + "/*.log"}, Exclude: []string{dir + "/no*.log"}, Format: "auto"}}
	path := filepath.Join(dir, "app.log")
	r.write(path, "one\n\ntwo \xff\nhalf")
	r.write(filepath.Join(dir, "nothing.log"), "excluded\n")
	r.start()
	r.same("one", "two \uFFFD")
	if g := r.got[0]; g.file != path || g.stream != "" || g.time != 0 || g.observed == 0 {
		t.Errorf("%+v", g)
	}
	r.write(path, " done\n")
	r.same("one", "two \uFFFD", "half done")
	r.rename(path, path+".1") // logrotate
	r.write(path+".1", "to the old one\n")
	r.write(path, "to the new one\n")
	r.same("one", "two \uFFFD", "half done", "to the old one", "to the new one")
	r.end()
	r.start()
	r.write(path, "after a restart\n")
	r.same("one", "two \uFFFD", "half done", "to the old one", "to the new one", "after a restart")
	if n := r.tailer.Status().Malformed; n != 0 {
		t.Errorf("%d plain lines were counted as malformed", n)
	}
}

// TestNoMemoryStopsReading: the log file is the queue.
func TestNoMemoryStopsReading(t *testing.T) {
	r := newRig(t)
	r.hold = true
	path := r.log("p", "0.log")
	line := criLine("stdout F", strings.Repeat("x", 1000))
	const n = 20_000 // 20 MB, the pool has 8 MiB
	r.write(path, strings.Repeat(line, n))
	r.start()
	r.until("the pool is used up", func(s Status) bool { return s.Read > 5000 && r.tailer.pool.TryGet(1) == nil })
	read := r.tailer.Status().Read
	if read > 9000 {
		t.Errorf("%d records were read into 8 MiB", read)
	}
	r.mu.Lock()
	r.hold = false
	all := make([]int, len(r.held))
	for i := range all {
		all[i] = i
	}
	r.mu.Unlock()
	r.settle(otlp.Delivered, all...)
	r.wait(n)
	r.until("all settled", func(s Status) bool { return s.Delivered == n && s.Unsettled == 0 })
}

func TestLineAllocatesNothing(t *testing.T) {
	r := newRig(t)
	tl, err := New(Options{Config: r.cfg, StateDir: r.state, Pool: otlp.NewPool(1<<20, nil), Out: func(c *otlp.Chunk) { c.Settle(otlp.Delivered) }, Log: discard()})
	if err != nil {
		t.Fatal(err)
	}
	defer tl.store.close()
	d := &dir{path: "/x", pod: pod{"ns", "p", "u"}, name: "c"}
	c := tl.scan.containerChain(d, "/x/0", 0)
	c.profile = c.wanted
	f := &file{seq: 1}
	w := &worker{t: tl, buf: make([]byte, readBytes)}
	ctx := t.Context()
	for name, lines := range map[string][]string{
		"CRI":           {"2026-01-02T03:04:05.6Z stdout F a line of usual length, say"},
		"docker":        {`{"log":"a \u003cline\u003e\n","stream":"stdout","time":"2026-01-02T03:04:05.6Z"}`},
		"partial":       {"2026-01-02T03:04:05.6Z stderr P piece", "2026-01-02T03:04:05.6Z stderr F end"},
		"invalid UTF-8": {"2026-01-02T03:04:05.6Z stdout F bad \xff byte"},
	} {
		var in [][]byte
		for _, l := range lines {
			in = append(in, []byte(l))
		}
		// A slab holds some 4,000 of these lines; getting the next one is not part of a line.
		if n := testing.AllocsPerRun(500, func() {
			for _, l := range in {
				if err := w.take(ctx, c, f, 0, l); err != nil {
					t.Fatal(err)
				}
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations a line", name, n)
		}
	}
	w.slab.Release()
}
