package tail

import (
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"
)

// TestUnfinishedRecordOfADrainedLog: no file is left to be read when its time is up. The record
// must leave at once, under its own container.
func TestUnfinishedRecordOfADrainedLog(t *testing.T) {
	r := newRig(t)
	r.age = 2 * time.Second
	path := r.log("p", "0.log") + stamp1
	r.write(path, criLine("stdout F", "a")+criLine("stderr P", "no end"))
	r.old(path)
	r.start()
	r.same("a", "no end")
	if r.got[1].pod != "ns/p/main/0" {
		t.Errorf("the record went to %s", r.got[1].pod)
	}
	r.until("settled", func(s Status) bool { return s.Unfinished == 1 && s.Delivered == 2 })
	r.end()
	r.start()
	r.write(r.log("q", "0.log"), criLine("stdout F", "other"))
	r.same("a", "no end", "other")
}

// TestFrontierBetweenPiecesOfAnotherStream: a record that waits for its end began between the
// pieces of a finished one. Reading on from there must not send "z" alone, nor anything twice.
func TestFrontierBetweenPiecesOfAnotherStream(t *testing.T) {
	r := newRig(t)
	path := r.log("p", "0.log")
	r.write(path, criLine("stderr P", "x")+criLine("stdout P", "y")+criLine("stderr F", "z"))
	r.start()
	r.same("xz")
	r.until("settled", func(s Status) bool { return s.Delivered == 1 })
	r.end()
	r.start()
	r.write(path, criLine("stdout F", "w"))
	r.same("xz", "yw")
	r.until("all settled", func(s Status) bool { return s.Unsettled == 0 })
}

// TestTruncatedAndGrownPastTheOffset: the size alone says nothing.
func TestTruncatedAndGrownPastTheOffset(t *testing.T) {
	r := newRig(t)
	path := r.log("p", "0.log")
	text, want := full(1, 20)
	r.write(path, text)
	r.start()
	r.wait(20)
	r.until("settled and idle", func(s Status) bool { return s.Unsettled == 0 && r.idle() })
	other, wantOther := full(1001, 1100)
	r.tailer.mu.Lock() // nobody looks between the two
	if err := os.WriteFile(path, []byte(other), 0o644); err != nil {
		t.Fatal(err)
	}
	r.tailer.mu.Unlock()
	r.same(slices.Concat(want, wantOther)...)
	if n := r.tailer.Status().Truncations; n != 1 {
		t.Errorf("%d truncations", n)
	}
}

// idle says whether no worker has a chain.
func (r *rig) idle() bool {
	r.tailer.mu.Lock()
	defer r.tailer.mu.Unlock()
	for _, c := range r.tailer.chains {
		c.mu.Lock()
		state := c.run
		c.mu.Unlock()
		if state != idle {
			return false
		}
	}
	return true
}

// TestClockSetBack: a rotated log from the future must not keep the next one waiting.
func TestClockSetBack(t *testing.T) {
	r := newRig(t)
	path := r.log("p", "0.log")
	r.write(path+stamp1, criLine("stdout F", "a"))
	future := time.Now().Add(time.Hour)
	if err := os.Chtimes(path+stamp1, future, future); err != nil {
		t.Fatal(err)
	}
	r.write(path, criLine("stdout F", "b"))
	r.start()
	r.same("a", "b")
}

// TestFullDiskIsNoDamage: a log that can't be decompressed for want of room is not lost.
func TestFullDiskIsNoDamage(t *testing.T) {
	var gz bytes.Buffer
	z := gzip.NewWriter(&gz)
	z.Write(make([]byte, 1<<20))
	z.Close()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	var damage corruptError
	if _, err := decompress(full, bytes.NewReader(gz.Bytes())); !errors.Is(err, syscall.ENOSPC) || errors.As(err, &damage) {
		t.Errorf("disk full: %v, damage %v", err, errors.As(err, &damage))
	}
	if _, err := decompress(&bytes.Buffer{}, bytes.NewReader(gz.Bytes()[:gz.Len()/2])); !errors.As(err, &damage) {
		t.Errorf("half a file: %v is not damage", err)
	}
}

// TestClaimPrefersTheEntryThatSaysMore: an entry of a file of which nothing was read fits
// whatever has its inode and its beginning.
func TestClaimPrefersTheEntryThatSaysMore(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	path := filepath.Join(t.TempDir(), "0.log")
	if err := os.WriteFile(path, []byte("some text\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := openFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	f.identify()
	for id, frontier := range []int64{0, 5, 2} {
		f.id = uint64(id)
		f.resume([streams]int64{frontier, frontier, frontier})
		s.entries[f.id] = f.record()
	}
	s.byInode[inode{f.dev, f.ino}] = []uint64{0, 1, 2}
	for _, want := range []int64{5, 2, 0} {
		if r, ok := s.claim(f); !ok || r.Frontier != want {
			t.Errorf("claimed %+v, want the one at %d", r, want)
		}
	}
	if len(s.byInode) != 0 {
		t.Errorf("left: %v", s.byInode)
	}
}
