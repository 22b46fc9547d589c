package spool

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// lendNext takes the next entry, which must be number i with so many records done with.
func lendNext(t *testing.T, s *Spool, i uint64, done int) *Entry {
	t.Helper()
	e, err := s.Next()
	if err != nil || e == nil {
		t.Fatalf("Next = %v, %v", e, err)
	}
	if n := killNumber(t, e); n != i || e.Done != done {
		t.Fatalf("entry %d comes with %d records done with, want %d with %d", n, e.Done, i, done)
	}
	return e
}

// What was acknowledged of an entry is not read again: not after it was returned, nor after a kill.
func TestAckFront(t *testing.T) {
	dir, lost := t.TempDir(), losses{}
	s := open(t, dir, 1<<20, lost)
	if _, err := s.Append(killEntry(1), killEntry(2), killEntry(3)); err != nil {
		t.Fatal(err)
	}
	s.Ack(lendNext(t, s, 1, 0))
	e := lendNext(t, s, 2, 0)
	s.AckFront(e, 1)
	if n := s.Size().Records; n != 5 {
		t.Errorf("%d records wait, want 5", n)
	}
	s.Return(e)
	lendNext(t, s, 2, 1)

	s = open(t, dir, 1<<20, lost) // as after a kill
	if n := s.Size().Records; n != 5 {
		t.Errorf("%d records wait after a kill, want 5", n)
	}
	e = lendNext(t, s, 2, 1)
	s.AckFront(e, 2) // all of it, though nobody has said so yet
	s = open(t, dir, 1<<20, lost)
	s.Ack(lendNext(t, s, 3, 0))
	if s.Size() != (Size{}) || len(lost) != 0 {
		t.Errorf("empty, it holds %+v, lost %v", s.Size(), lost)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("files are left: %v", left)
	}
}

// An entry that is written while it is sent, parts of which arrive before and after.
func TestAckFrontOfLent(t *testing.T) {
	dir, lost := t.TempDir(), losses{}
	s := open(t, dir, 1<<20, lost)
	e := killEntry(1)
	s.Lend(e)
	if _, err := s.Append(e, killEntry(2)); err != nil {
		t.Fatal(err)
	}
	s.AckFront(e, 2)
	s = open(t, dir, 1<<20, lost)
	s.Ack(lendNext(t, s, 1, 2))
	s.Ack(lendNext(t, s, 2, 0))
}

// The limits take an entry of which some was acknowledged: the rest is lost, unless it arrives.
func TestLimitsTakeAPart(t *testing.T) {
	for name, arrives := range map[string]bool{"arrives": true, "returned": false} {
		t.Run(name, func(t *testing.T) {
			lost := losses{}
			s := open(t, t.TempDir(), 64<<10, lost)
			if _, err := s.Append(killEntry(1)); err != nil {
				t.Fatal(err)
			}
			e := lendNext(t, s, 1, 0)
			s.AckFront(e, 1)
			in := int64(killRecords)
			for !s.taken {
				if _, err := s.Append(killEntry(2)); err != nil {
					t.Fatal(err)
				}
				in += killRecords
			}
			want := in - s.Size().Records - 1
			if arrives {
				s.AckFront(e, 1)
				s.Ack(e)
				want -= 2
			} else {
				s.Return(e)
			}
			if lost[Full] != want {
				t.Errorf("lost %v, want %d", lost, want)
			}
		})
	}
}

// Whatever has become of one place in the cursor's file, the other holds: what was acknowledged last
// before is repeated, no more.
func TestTornCursor(t *testing.T) {
	for name, spoil := range map[string]func(path string, slot int64) error{
		"torn": func(path string, slot int64) error {
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.WriteAt([]byte{1, 2, 3}, slot*slotGap+7)
			return err
		},
		"cut": func(path string, slot int64) error {
			if slot == 0 {
				return os.WriteFile(path, nil, 0o600)
			}
			return os.Truncate(path, slotGap+slotLen-1)
		},
	} {
		for acks := range 4 {
			dir := t.TempDir()
			s := open(t, dir, 1<<20, losses{})
			appendAll(t, s, 0, 10)
			consecutive(t, drain(t, s, acks), 0, uint64(acks))
			want := uint64(max(acks-1, 0))
			if acks > 0 {
				if err := spoil(filepath.Join(dir, cursorName), 1-s.cursor.slot); err != nil {
					t.Fatal(err)
				}
				if name == "cut" && s.cursor.slot == 1 {
					want = 0 // the file ends before either
				}
			}
			s = open(t, dir, 1<<20, losses{})
			t.Run(name, func(t *testing.T) { consecutive(t, drain(t, s, 1<<30), want, 10) })
		}
	}
}

// Calls that come while the disk works are synced together.
func TestGroupCommit(t *testing.T) {
	dir, lost := t.TempDir(), losses{}
	s := open(t, dir, 1<<20, lost)
	syncs := 0
	busy, release := make(chan struct{}), make(chan struct{})
	s.sync = func(f *os.File) error {
		if syncs++; syncs == 1 {
			close(busy)
			<-release
		}
		return datasync(f)
	}
	done := make(chan error)
	add := func(i uint64) {
		n, err := s.Append(entry(i))
		if err == nil && n != 1 {
			err = errors.New("not written, and no error")
		}
		done <- err
	}
	go add(0)
	<-busy
	const more = 20
	for i := range uint64(more) {
		go add(1 + i)
		for waits := 0; waits <= int(i); <-time.After(time.Millisecond) {
			s.b.mu.Lock()
			waits = len(s.waiting)
			s.b.mu.Unlock()
		}
	}
	close(release)
	for range 1 + more {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if syncs != 2 {
		t.Errorf("%d syncs for one call and %d that came meanwhile, want 2", syncs, more)
	}
	s = open(t, dir, 1<<20, lost)
	consecutive(t, drain(t, s, 1<<30), 0, 1+more)
}

// A sync that fails is told to each of those who share it, and none of their entries is there.
func TestGroupSyncFails(t *testing.T) {
	s := open(t, t.TempDir(), 1<<20, losses{})
	syncs, broken := 0, errors.New("broken")
	busy, release := make(chan struct{}), make(chan struct{})
	s.sync = func(f *os.File) error {
		if syncs++; syncs == 1 {
			close(busy)
			<-release
			return nil
		}
		return broken
	}
	first, others := make(chan error), make(chan error)
	go func() { _, err := s.Append(entry(0)); first <- err }()
	<-busy
	for i := range uint64(5) {
		go func() {
			n, err := s.Append(entry(1+i), entry(11+i))
			if n != 0 {
				err = errors.New("it says that some is written")
			}
			others <- err
		}()
	}
	for waits := 0; waits < 5; <-time.After(time.Millisecond) {
		s.b.mu.Lock()
		waits = len(s.waiting)
		s.b.mu.Unlock()
	}
	close(release)
	if err := <-first; err != nil {
		t.Error(err)
	}
	for range 5 {
		if err := <-others; !errors.Is(err, broken) {
			t.Errorf("Append: %v", err)
		}
	}
	if s.Size().Records != 1 || s.b.used != s.last().size {
		t.Errorf("it holds %+v, %d bytes of the budget are used", s.Size(), s.b.used)
	}
	consecutive(t, drain(t, s, 1<<30), 0, 1)
}

// The last entry is acknowledged, and its segment deleted, while the next one is written to it.
func TestSegmentGoneMeanwhile(t *testing.T) {
	dir, lost := t.TempDir(), losses{}
	s := open(t, dir, 1<<20, lost)
	appendAll(t, s, 0, 1)
	busy, release := make(chan struct{}), make(chan struct{})
	syncs := 0
	s.sync = func(f *os.File) error {
		if syncs++; syncs == 1 {
			close(busy)
			<-release
		}
		return datasync(f)
	}
	done := make(chan struct{})
	go func() { defer close(done); appendAll(t, s, 1, 2) }()
	<-busy
	consecutive(t, drain(t, s, 10), 0, 1)
	close(release)
	<-done
	s = open(t, dir, 1<<20, lost)
	consecutive(t, drain(t, s, 10), 1, 2)
	if len(lost) != 0 {
		t.Errorf("lost %v", lost)
	}
}
