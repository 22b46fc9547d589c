package spool

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// onDisk is the bytes of all files below dir.
func onDisk(t *testing.T, dir string) (n int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			info, infoErr := d.Info()
			if err = infoErr; err == nil && d.Name() != cursorName {
				n += info.Size()
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// The spools of one exporter share its budget: whichever is written to, the oldest of all goes.
func TestSharedBudget(t *testing.T) {
	dir, lost := t.TempDir(), [2]losses{{}, {}}
	b := NewBudget(64 << 10) // segments of 8 KiB
	var s [2]*Spool
	for i, name := range []string{"a", "b"} {
		s[i] = openWith(t, lost[i], Options{Dir: filepath.Join(dir, name), Budget: b})
	}
	appendAll(t, s[0], 0, 150)
	appendAll(t, s[1], 0, 150)
	if n := onDisk(t, dir); n > 64<<10 || n != b.used {
		t.Errorf("%d bytes on disk, %d counted, the budget is %d", n, b.used, 64<<10)
	}
	if lost[0][Full] == 0 || len(lost[1]) != 0 {
		t.Errorf("lost %v, want only of the first, which has the oldest", lost)
	}
	// One that fills it alone leaves nothing to the other, which then takes its part back.
	appendAll(t, s[1], 150, 600)
	if size := s[0].Size(); size != (Size{}) || lost[0][Full] != 150 {
		t.Errorf("the first holds %+v, lost %v", size, lost[0])
	}
	appendAll(t, s[0], 150, 160)
	consecutive(t, drain(t, s[0], 1<<30), 150, 160)
	got := drain(t, s[1], 1<<30)
	consecutive(t, got, 600-uint64(len(got)), 600)
	if int64(len(got))+lost[1][Full] != 600 {
		t.Errorf("of 600 %d came, lost %v", len(got), lost[1])
	}
	if b.used != 0 {
		t.Errorf("empty, %d bytes are used", b.used)
	}
}

// Several write to several spools over the budget, at once: all comes, or is counted.
func TestSharedBudgetAtOnce(t *testing.T) {
	b := NewBudget(64 << 10)
	var s [2]*Spool
	lost := [2]losses{{}, {}}
	for i := range s {
		s[i] = openWith(t, lost[i], Options{Dir: t.TempDir(), Budget: b})
		s[i].sync = func(*os.File) error { return nil }
	}
	const writers, entries = 4, 500
	var wg sync.WaitGroup
	failed := make(chan error, 2*writers*entries)
	for i := range s {
		for range writers {
			wg.Go(func() {
				for n := range uint64(entries) {
					if _, err := s[i].Append(entry(n)); err != nil {
						failed <- err
					}
				}
			})
		}
	}
	wg.Wait()
	close(failed)
	for err := range failed {
		t.Error(err)
	}
	for i := range s {
		if got := drain(t, s[i], 1<<30); int64(len(got))+lost[i][Full] != writers*entries {
			t.Errorf("of %d %d came, lost %v", writers*entries, len(got), lost[i])
		}
	}
	if b.used != 0 {
		t.Errorf("empty, %d bytes are used", b.used)
	}
}

// A spool that refuses what is new keeps what it has, and says so.
func TestRefuse(t *testing.T) {
	dir, lost := t.TempDir(), losses{}
	s := openWith(t, lost, Options{Dir: dir, Budget: NewBudget(64 << 10), Refuse: true})
	next := uint64(0)
	var err error
	for n := 1; n == 1; next++ {
		if n, err = s.Append(entry(next)); n == 0 {
			break
		}
	}
	if !errors.Is(err, ErrFull) || next < 100 {
		t.Fatalf("entry %d: %v, want %v", next, err, ErrFull)
	}
	if n, err := s.Append(entry(next), entry(next+1)); n != 0 || !errors.Is(err, ErrFull) {
		t.Errorf("Append = %d, %v", n, err)
	}
	if n := onDisk(t, dir); n > 64<<10 {
		t.Errorf("%d bytes on disk", n)
	}
	consecutive(t, drain(t, s, 100), 0, 100)
	appendAll(t, s, next, next+20)

	s.free = func() (int64, int64, error) { return 1000, 1 << 40, nil }
	if _, err := s.Append(entry(next + 20)); !errors.Is(err, ErrFull) {
		t.Errorf("Append on a full disk: %v", err)
	}
	s.free = func() (int64, int64, error) { return 1 << 39, 1 << 40, nil }
	s.sync = func(*os.File) error { return unix.ENOSPC }
	if _, err := s.Append(entry(next + 20)); !errors.Is(err, ErrFull) {
		t.Errorf("Append that finds the disk full: %v", err)
	}
	s.sync = datasync
	appendAll(t, s, next+20, next+30)
	consecutive(t, drain(t, s, 1<<30), 100, next+30)
	if len(lost) != 0 {
		t.Errorf("lost %v", lost)
	}
}
