package tail

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stint/export/otlp"
)

// plainFile is the path of a file that is followed as f says.
func (r *rig) plainFile(f Files) string {
	p := filepath.Join(r.t.TempDir(), "x.log")
	f.Include, f.Format = []string{p}, "plain"
	r.cfg.Files = []Files{f}
	return p
}

// TestDeliveredFilesAreClosedWhileTheLogIsBusy: there always is a chunk in flight.
func TestDeliveredFilesAreClosedWhileTheLogIsBusy(t *testing.T) {
	r := newRig(t)
	r.look = 20 * time.Millisecond
	var last *otlp.Chunk
	var n atomic.Int64
	r.each = func(c *otlp.Chunk, g []got) {
		n.Add(int64(len(g)))
		if last != nil {
			last.Settle(otlp.Delivered)
		}
		last = c
	}
	path := r.log("p", "0.log")
	r.write(path, "")
	r.start()
	for i := 1; i <= 20; i++ {
		r.write(path, criLine("stdout F", fmt.Sprint(i)))
		r.until("it came", func(Status) bool { return n.Load() == int64(i) })
		to := fmt.Sprintf("%s.20260102-%06d", path, i)
		r.rename(path, to)
		r.old(to)
		r.write(path, "")
		r.opened(path)
		if err := os.Remove(to); err != nil {
			t.Fatal(err)
		}
	}
	r.until("all but the last two are closed", func(s Status) bool { return s.OpenFiles <= 2 })
	r.stop()
	r.stop = func() {}
	last.Settle(otlp.Aborted)
	r.end()
}

// TestLineLongerThanTheBufferBeginsARecord: a kill does not cut its beginning off.
func TestLineLongerThanTheBufferBeginsARecord(t *testing.T) {
	r := newRig(t)
	path := r.plainFile(Files{Multiline: &Multiline{Start: "^BEGIN"}})
	line := "BEGIN" + strings.Repeat("x", 300<<10) + "END"
	r.write(path, line+"\n")
	r.start()
	r.until("read", func(s Status) bool { return s.Bytes == int64(len(line)+1) })
	if err := r.tailer.save(true); err != nil {
		t.Fatal(err)
	}
	r.kill()
	r.mu.Lock()
	r.got = nil
	r.mu.Unlock()
	r.start()
	r.same(line)
}

// TestLastOffsetsOfADeletedLogAreSaved: it may be closed between two saves.
func TestLastOffsetsOfADeletedLogAreSaved(t *testing.T) {
	r := newRig(t)
	r.look, r.hold = 20*time.Millisecond, true
	path := r.log("p", "0.log")
	text, _ := full(1, 10)
	r.write(path, text)
	r.old(path)
	r.start()
	r.wait(10)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	r.until("drained", func(s Status) bool { return s.Rotations == 1 })
	r.until("saved", func(Status) bool { return len(r.entries()) == 1 })
	r.tailer.saving.Lock() // the disk takes long
	r.release()
	r.until("closed", func(s Status) bool { return s.OpenFiles == 0 })
	r.tailer.saving.Unlock()
	r.end()
	for _, e := range r.tailer.store.entries {
		if e.Frontier != e.Size {
			t.Errorf("all was acknowledged, but: %+v", e)
		}
	}
}

// TestTruncatedWhileReadingWaitsForMemory: what is there afterwards is new, from its beginning.
func TestTruncatedWhileReadingWaitsForMemory(t *testing.T) {
	r := newRig(t)
	r.look, r.hold, r.room = 20*time.Millisecond, true, 400<<10
	path := r.log("p", "0.log")
	lines := func(what string, n int) string {
		var s strings.Builder
		for i := range n {
			s.WriteString(criLine("stdout F", fmt.Sprintf("%s %d %s", what, i, strings.Repeat(what[:1], 60))))
		}
		return s.String()
	}
	r.write(path, lines("old", 6000))
	r.start()
	r.until("a worker waits", func(Status) bool {
		r.tailer.ready.mu.Lock()
		defer r.tailer.ready.mu.Unlock()
		return r.tailer.ready.starving > 0
	})
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	r.write(path, lines("new", 9000))
	r.release()
	r.until("the new lines came", func(s Status) bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.got) > 0 && strings.HasPrefix(r.got[len(r.got)-1].body, "new 8999 ")
	})
	news := 0
	for _, b := range bodies(r.got) {
		if strings.HasPrefix(b, "new ") {
			news++
		} else if !strings.HasPrefix(b, "old ") {
			t.Errorf("invented %.60q", b)
		}
	}
	if news != 9000 {
		t.Errorf("%d of 9000 new lines came", news)
	}
}

// TestGivenUpCompressedLogCountsWhatWasNotDelivered: it lay compressed at the start and is deleted
// before its turn has come.
func TestGivenUpCompressedLogCountsWhatWasNotDelivered(t *testing.T) {
	r := newRig(t)
	r.look = 20 * time.Millisecond
	path := r.log("p", "0.log")
	text, _ := full(1, 50)
	r.write(path, text)
	r.start()
	r.wait(50)
	r.until("settled", func(s Status) bool { return s.Unsettled == 0 && s.Delivered == 50 })
	r.end()
	more, _ := full(51, 60)
	r.write(path, more)
	r.rename(path, path+stamp1)
	r.gzip(path + stamp1)
	r.write(path, criLine("stdout F", "new"))
	r.cfg.MaxDeletedBytes = 0
	r.about = func(string, string, int) *Container { return nil } // reading waits
	r.start()
	r.until("open", func(s Status) bool { return s.OpenFiles == 2 })
	if err := os.Remove(path + stamp1 + ".gz"); err != nil {
		t.Fatal(err)
	}
	r.until("given up", func(s Status) bool { return s.LostLines > 0 })
	r.tailer.mu.Lock()
	r.tailer.scan.reckon(time.Now().Add(reckonAfter))
	r.tailer.mu.Unlock()
	if s := r.tailer.Status(); s.LostLines != 10 || s.LostBytes != int64(len(more)) {
		t.Errorf("10 lines of %d bytes were not delivered; counted: %+v", len(more), s.Lost)
	}
}

// TestNoRoomToDecompressDoesNotSplitRecords: the next generation has the rest of the record.
func TestNoRoomToDecompressDoesNotSplitRecords(t *testing.T) {
	for name, tc := range map[string]struct {
		start string
		a, b  string
		want  []string
	}{
		"pieces": {"", criLine("stdout F", "first") + criLine("stdout P", "piece,"), criLine("stdout F", "rest"), []string{"first", "piece,rest", "BEGIN 2"}},
		"lines":  {"^BEGIN", criLine("stdout F", "BEGIN 1"), criLine("stdout F", "goes on"), []string{"BEGIN 1\ngoes on", "BEGIN 2"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.look, r.age = 20*time.Millisecond, time.Second
			r.cfg.Multiline.Start = tc.start
			path := r.log("p", "0.log")
			r.write(path+stamp1, tc.a)
			r.gzip(path + stamp1)
			r.write(path+stamp2, tc.b)
			r.gzip(path + stamp2)
			r.write(path, criLine("stdout F", "BEGIN 2"))
			r.about = func(string, string, int) *Container { return nil } // reading waits
			r.start()
			r.tailer.inflated.Store(maxInflatedBytes - int64(len(tc.a))) // others' logs
			r.same(tc.want...)
		})
	}
}

// TestAcknowledgedWhileStoppingIsSaved: a kill at the end of the grace period repeats nothing.
func TestAcknowledgedWhileStoppingIsSaved(t *testing.T) {
	r := newRig(t)
	r.look, r.hold = 20*time.Millisecond, true
	path := r.log("p", "0.log")
	text, want := full(1, 10)
	r.write(path, text)
	r.start()
	r.wait(10)
	r.stop()
	r.stop = func() {}
	r.release()
	r.until("saved", func(Status) bool {
		for _, e := range r.entries() {
			if e.Frontier == int64(len(text)) {
				return true
			}
		}
		return false
	})
	r.kill()
	r.start()
	r.write(path, criLine("stdout F", "new"))
	r.same(append(want, "new")...)
}

// TestNoEntryOutlivesADeletedPlainFile: of files that come and go there would be ever more.
func TestNoEntryOutlivesADeletedPlainFile(t *testing.T) {
	r := newRig(t)
	r.look = 20 * time.Millisecond
	path := r.plainFile(Files{})
	r.write(path, "line\n")
	r.old(path)
	r.start()
	r.wait(1)
	r.until("settled", func(s Status) bool { return s.Unsettled == 0 && s.Delivered == 1 })
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	r.until("closed", func(s Status) bool { return s.Logs == 0 })
	r.end()
	if n := len(r.tailer.store.entries); n > 0 {
		t.Errorf("%d entries of files that are gone", n)
	}
}

// TestCutTwiceCountsTheMost: a log may shrink in steps.
func TestCutTwiceCountsTheMost(t *testing.T) {
	p := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(p, make([]byte, 100), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := openFile(p)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	f.read.Store(20)
	for i, size := range []int64{30, 0} {
		if err := os.Truncate(p, size); err != nil {
			t.Fatal(err)
		}
		if err := f.look(int64(i)); err != nil {
			t.Fatal(err)
		}
	}
	if f.cutOff != 80 {
		t.Errorf("lost %d, want 80", f.cutOff)
	}
}

// TestStartAtEndBeginsWithAWholeLine: half of it was written before.
func TestStartAtEndBeginsWithAWholeLine(t *testing.T) {
	r := newRig(t)
	r.cfg.StartAt = "end"
	path := r.log("p", "0.log")
	line := criLine("stdout F", "half")
	r.write(path, criLine("stdout F", "old")+line[:30])
	r.start()
	r.until("looked", func(Status) bool { return !r.tailer.LastLook().IsZero() })
	r.write(path, line[30:]+criLine("stdout F", "new"))
	r.same("half", "new")
}

// TestNoRoomForJoinedLinesCutsNone: other logs have all of it.
func TestNoRoomForJoinedLinesCutsNone(t *testing.T) {
	r := newRig(t)
	r.cfg.Multiline.Mode = "auto"
	path := r.log("p", "0.log")
	r.write(path, "")
	r.start()
	r.tailer.joined.Add(maxJoined)
	r.write(path, criLine("stdout F", "an ordinary line"))
	r.same("an ordinary line")
}

// TestIdleWorkersLendTheirMemory: there is one slab for two workers.
func TestIdleWorkersLendTheirMemory(t *testing.T) {
	r := newRig(t)
	r.look, r.room = 20*time.Millisecond, 400<<10
	r.start()
	for i := range 40 {
		r.write(r.log(fmt.Sprint("p", i), "0.log"), criLine("stdout F", "x"))
		r.wait(i + 1)
	}
}

// TestShortReadsDoNotWeakenTheMark: the last read took one byte; 64 are remembered all the same.
func TestShortReadsDoNotWeakenTheMark(t *testing.T) {
	r := newRig(t)
	path := r.plainFile(Files{})
	r.write(path, strings.Repeat("old line\n", 20))
	r.start()
	r.wait(20)
	r.write(path, "\n")
	r.until("read and idle", func(s Status) bool { return s.Bytes == 181 && s.Unsettled == 0 && r.idle() })
	r.tailer.mu.Lock() // nobody looks
	if err := os.WriteFile(path, []byte(strings.Repeat("a", 180)+"\n"+strings.Repeat("new line\n", 20)), 0o644); err != nil {
		t.Fatal(err)
	}
	r.tailer.mu.Unlock()
	r.wait(41)
}

// TestRecordOfLinesEnds: no line begins a record, and the log is never quiet.
func TestRecordOfLinesEnds(t *testing.T) {
	j := join{active: true}
	w := &worker{t: &Tailer{cfg: Defaults(), rules: newRules(), maxJoined: maxJoined}, now: int64(groupAge)}
	g, err := newGrouping("start", "^NEVER")
	if err != nil {
		t.Fatal(err)
	}
	slab := otlp.NewPool(1<<20, nil).TryGet(1)
	defer slab.Release()
	w.slab = slab
	c := &chain{t: w.t, profile: &profile{grouping: g, encoded: encodeAttrs(nil)}}
	c.group[stdout] = j
	c.group[stdout].add(w.t, []byte("first"), 1000, 0)
	c.state[stdout] = groupState{}
	f := &file{seq: 1}
	if err := w.record(t.Context(), c, f, 10, pos{f, 1, 10}, 1, stdout, []byte("second"), false); err != nil {
		t.Fatal(err)
	}
	if w.records != 1 || string(c.group[stdout].buf) != "second" {
		t.Errorf("%d records, %q waits", w.records, c.group[stdout].buf)
	}
}
