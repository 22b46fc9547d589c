package spool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// What Append did not return for is not in the spool: its owner has it still, and appends it again.
func TestSyncFails(t *testing.T) {
	for name, tc := range map[string]struct {
		before uint64 // entries
		works  int    // that many syncs
		max    int64
	}{
		"the first entries":          {max: 1 << 20},
		"behind others of a segment": {max: 1 << 20, before: 2},
		"at the end of a segment":    {max: 8 << 10},
		"at the end of the second":   {max: 8 << 10, works: 1},
		"in the third":               {max: 8 << 10, works: 2},
	} {
		t.Run(name, func(t *testing.T) {
			dir, lost := t.TempDir(), losses{}
			s := open(t, dir, tc.max, lost)
			appendAll(t, s, 0, tc.before)
			var entries []*Entry
			for i := tc.before; i < tc.before+13; i++ {
				entries = append(entries, entry(i))
			}
			works := tc.works
			s.sync = func(f *os.File) error {
				if works--; works < 0 {
					return unix.EIO
				}
				return f.Sync()
			}
			n, err := s.Append(entries...)
			if !errors.Is(err, unix.EIO) {
				t.Errorf("Append = %d, %v, want an I/O error", n, err)
			}
			if size := s.Size(); size.Records != int64(tc.before)+int64(n) || (n > 0) != (tc.works > 0) {
				t.Errorf("it holds %+v, after %d entries before and %d", size, tc.before, n)
			}
			s.sync = (*os.File).Sync
			if more, err := s.Append(entries[n:]...); n+more != 13 || err != nil {
				t.Fatalf("Append = %d, %v", more, err)
			}
			s = open(t, dir, tc.max, lost) // as after a kill
			consecutive(t, drain(t, s, 1<<30), 0, tc.before+13)
			if len(lost) != 0 {
				t.Errorf("lost %v", lost)
			}
		})
	}
}

// unreadable makes a segment one whose reads fail.
func unreadable(t *testing.T, dir string, id uint64) {
	t.Helper()
	path := filepath.Join(dir, name(id))
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
}

// A disk that can't read a segment costs that segment, not all that waits behind it.
func TestUnreadable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, lost := t.TempDir(), losses{}
		s := open(t, dir, 64<<10, lost) // segments of 8 KiB
		appendAll(t, s, 0, 100)
		unreadable(t, dir, s.segments[0].id)
		first := s.segments[0].records
		if e, err := s.Next(); err == nil {
			t.Fatalf("Next gives %v of a directory", e)
		}
		if len(lost) != 0 {
			t.Errorf("lost %v at the first error; it may be over in a moment", lost)
		}
		var e *Entry
		var err error
		for range 10 {
			if e, err = s.Next(); err == nil {
				break
			}
			time.Sleep(10 * time.Second)
		}
		if err != nil {
			t.Fatalf("Next: %v", err)
		}
		if n := number(t, e); n != uint64(first) {
			t.Errorf("entry %d comes, want %d", n, first)
		}
		if lost[Damaged] != first {
			t.Errorf("lost %v, want the %d of the first segment", lost, first)
		}
		consecutive(t, drain(t, s, 1<<30), uint64(first), 100)
	})
}

// What was delivered is done with, whatever has become of the disk meanwhile: it is not delivered
// again, and not counted as lost.
func TestAckReadsNothing(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, dir string, id uint64){
		"unreadable": unreadable,
		"deleted": func(t *testing.T, dir string, id uint64) {
			os.Remove(filepath.Join(dir, fmt.Sprintf("%016x", id)+Suffix))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, lost := t.TempDir(), losses{}
			s := open(t, dir, 1<<20, lost)
			e := entry(1)
			s.Lend(e)
			if _, err := s.Append(e); err != nil {
				t.Fatal(err)
			}
			damage(t, dir, s.segments[0].id)
			s.Ack(e)
			if size := s.Size(); size != (Size{}) || len(lost) != 0 {
				t.Errorf("it holds %+v, lost %v", size, lost)
			}
		})
	}
}

// A destination takes some and goes away for long: a kill then does not repeat what it took.
func TestCursorInAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, lost := t.TempDir(), losses{}
		s := open(t, dir, 1<<20, lost)
		appendAll(t, s, 0, 10)
		consecutive(t, drain(t, s, 5), 0, 5)
		for i := range uint64(3) {
			time.Sleep(time.Minute)
			appendAll(t, s, 10+i, 11+i)
		}
		s = open(t, dir, 1<<20, lost)
		consecutive(t, drain(t, s, 1<<30), 5, 13)
	})
}

// Many file systems (XFS, btrfs, ZFS) tell some time after a deletion what is free: one segment too much
// does not cost all of them.
func TestFreeIsToldLate(t *testing.T) {
	dir, lost := t.TempDir(), losses{}
	s := open(t, dir, 64<<10, lost)
	appendAll(t, s, 0, 100)
	first := s.segments[0].records
	s.free = func() (int64, int64, error) { return reserveBytes + 10, 1 << 40, nil }
	appendAll(t, s, 100, 101)
	if lost[Full] != first {
		t.Errorf("lost %v, want the %d of the first segment", lost, first)
	}
}

// Whoever deletes the spool of a running agent loses what was in it, not the spool.
func TestDirectoryDeleted(t *testing.T) {
	dir, lost := filepath.Join(t.TempDir(), "a", "b"), losses{}
	s := open(t, dir, 1<<20, lost)
	appendAll(t, s, 0, 5)
	if err := os.RemoveAll(filepath.Dir(dir)); err != nil {
		t.Fatal(err)
	}
	if e, err := s.Next(); e != nil || err != nil {
		t.Fatalf("Next = %v, %v", e, err)
	}
	appendAll(t, s, 5, 10)
	consecutive(t, drain(t, s, 1<<30), 5, 10)
	if lost[Damaged] != 5 {
		t.Errorf("lost %v, want 5", lost)
	}
}

// A disk that hangs does not hang who asks how much waits: the status page and the self-metrics.
func TestSizeWhileTheDiskHangs(t *testing.T) {
	s := open(t, t.TempDir(), 1<<20, losses{})
	appendAll(t, s, 0, 1)
	hangs, release := make(chan struct{}), make(chan struct{})
	s.sync = func(f *os.File) error { close(hangs); <-release; return f.Sync() }
	done := make(chan struct{})
	go func() { defer close(done); s.Append(entry(1)) }()
	<-hangs
	told := make(chan Size)
	go func() { told <- s.Size() }()
	select {
	case size := <-told:
		if size.Records != 1 {
			t.Errorf("%d records wait, want the one that is on the disk", size.Records)
		}
		close(release)
	case <-time.After(10 * time.Second):
		t.Error("Size waits for the disk")
		close(release)
		<-told
	}
	<-done
	if n := s.Size().Records; n != 2 {
		t.Errorf("%d records wait, want 2", n)
	}
}

// A start reads the headers of what waits, not all of it: with some GiB there, probes would end
// the process before it had begun, again and again.
func TestOpenReadsHeaders(t *testing.T) {
	dir, lost := t.TempDir(), losses{}
	s := open(t, dir, 64<<20, lost) // segments of 8 MiB
	const entries, size = 40, 1 << 20
	for range entries {
		if _, err := s.Append(&Entry{Records: 3, Time: time.Now(), Request: [][]byte{make([]byte, size)}}); err != nil {
			t.Fatal(err)
		}
	}
	want := s.Size()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	s = open(t, dir, 64<<20, lost)
	runtime.ReadMemStats(&after)
	if got := s.Size(); got != want {
		t.Errorf("after the start it holds %+v, want %+v", got, want)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 12<<20 { // the last segment is read as a whole
		t.Errorf("Open read %d bytes of %d", n, want.Bytes)
	}
}

// Damage that a start passes over is told when it is read.
func TestDamageBeforeTheStart(t *testing.T) {
	for name, at := range map[string]int64{"magic": 0, "length": 5, "records": 10, "payload": headerLen + 20} {
		t.Run(name, func(t *testing.T) {
			dir, lost := t.TempDir(), losses{}
			s := open(t, dir, 64<<10, lost) // segments of 8 KiB
			appendAll(t, s, 1, 101)
			s.Close()
			f, err := os.OpenFile(firstSegment(t, dir), os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.WriteAt([]byte{0xff}, at); err != nil {
				t.Fatal(err)
			}
			s = open(t, dir, 64<<10, lost)
			if n := s.Size().Records; n < 99 || n > 100 {
				t.Errorf("%d records wait, want 99, or 100 with the damaged one", n)
			}
			consecutive(t, drain(t, s, 1<<30), 2, 101)
			if s.Size().Damaged == 0 || lost[Damaged] > 1 {
				t.Errorf("damaged %d bytes, lost %v", s.Size().Damaged, lost)
			}
			if size := s.Size(); size.Records != 0 || size.Bytes != 0 {
				t.Errorf("empty, it holds %+v", size)
			}
		})
	}
}

// firstSegment is the path of the first of several.
func firstSegment(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"+Suffix))
	if err != nil || len(files) < 2 {
		t.Fatalf("files %v, %v", files, err)
	}
	return files[0]
}

// A segment that can't be opened, for want of descriptors or permission, is not lost: it is waited for.
func TestCantBeOpened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, lost := t.TempDir(), losses{}
		s := open(t, dir, 64<<10, lost)
		appendAll(t, s, 0, 100)
		path := firstSegment(t, dir)
		if err := errors.Join(os.Rename(path, path+".away"), os.Symlink(path, path)); err != nil { // a loop
			t.Fatal(err)
		}
		for range 20 {
			if e, err := s.Next(); err == nil {
				t.Fatalf("Next gives %v, lost %v", e, lost)
			}
			time.Sleep(10 * time.Second)
		}
		if err := os.Rename(path+".away", path); err != nil {
			t.Fatal(err)
		}
		consecutive(t, drain(t, s, 1<<30), 0, 100)
		if len(lost) != 0 {
			t.Errorf("lost %v", lost)
		}
	})
}
