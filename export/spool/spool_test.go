package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var silent = slog.New(slog.NewTextHandler(io.Discard, nil))

// losses counts what a spool says it dropped.
type losses map[string]int64

func open(t testing.TB, dir string, max int64, lost losses) *Spool {
	t.Helper()
	return openWith(t, lost, Options{Dir: dir, Budget: NewBudget(max)})
}

func openWith(t testing.TB, lost losses, o Options) *Spool {
	t.Helper()
	o.MaxAge, o.Log, o.Dropped = time.Hour, silent, func(reason string, n int64) { lost[reason] += n }
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// entry is the one with number i, of a size that depends on it.
func entry(i uint64) *Entry {
	text := bytes.Repeat([]byte{byte(i)}, int(i*37%500))
	return &Entry{Signal: 1, Records: 1, Time: time.Now(), Request: [][]byte{binary.LittleEndian.AppendUint64(nil, i), text}}
}

// number is that of an entry; it fails unless the rest of the entry is what it was.
func number(t testing.TB, e *Entry) uint64 {
	t.Helper()
	i := binary.LittleEndian.Uint64(e.Request[0])
	if want := entry(i); !bytes.Equal(e.Request[0], bytes.Join(want.Request, nil)) || e.Records != want.Records || e.Signal != want.Signal {
		t.Fatalf("entry %d is not what was written: %+v", i, e)
	}
	return i
}

func appendAll(t testing.TB, s *Spool, from, to uint64) {
	t.Helper()
	for i := from; i < to; i++ {
		if n, err := s.Append(entry(i)); n != 1 || err != nil {
			t.Fatalf("Append(%d) = %d, %v", i, n, err)
		}
	}
}

// drain takes up to most entries and returns their numbers.
func drain(t testing.TB, s *Spool, most int) (got []uint64) {
	t.Helper()
	for len(got) < most {
		e, err := s.Next()
		if err != nil {
			t.Fatal(err)
		}
		if e == nil {
			break
		}
		got = append(got, number(t, e))
		s.Ack(e)
	}
	return got
}

// consecutive fails unless got is from, from+1, … to-1.
func consecutive(t testing.TB, got []uint64, from, to uint64) {
	t.Helper()
	if uint64(len(got)) != to-from {
		t.Fatalf("%d entries, want %d", len(got), to-from)
	}
	for i, n := range got {
		if n != from+uint64(i) {
			t.Fatalf("entry %d is number %d, want %d", i, n, from+uint64(i))
		}
	}
}

func TestOrderAcrossRestarts(t *testing.T) {
	dir, lost := t.TempDir(), losses{}
	s := open(t, dir, 1<<20, lost) // segments of 128 KiB
	appendAll(t, s, 0, 1000)
	consecutive(t, drain(t, s, 300), 0, 300)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, 1<<20, lost)
	if size := s.Size(); size.Records != 700 {
		t.Errorf("%d records wait, want 700", size.Records)
	}
	appendAll(t, s, 1000, 1200)
	consecutive(t, drain(t, s, 1<<30), 300, 1200)
	if size := s.Size(); size != (Size{}) || !s.Empty() {
		t.Errorf("empty, it holds %+v", size)
	}
	s.Close()
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("files are left: %v", left)
	}
	if len(lost) != 0 {
		t.Errorf("lost %v", lost)
	}
}

// A kill repeats nothing that was acknowledged, and loses nothing.
func TestNotClosed(t *testing.T) {
	dir, lost := t.TempDir(), losses{}
	s := open(t, dir, 1<<20, lost)
	appendAll(t, s, 0, 1000)
	consecutive(t, drain(t, s, 900), 0, 900)
	s = open(t, dir, 1<<20, lost)
	consecutive(t, drain(t, s, 1<<30), 900, 1000)
	if len(lost) != 0 {
		t.Errorf("lost %v", lost)
	}
}

// Wherever the machine died: what was whole before is whole after, and nothing counts as damaged.
func TestTornTail(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 1<<20, losses{})
	var ends []int64
	for i := range uint64(8) {
		appendAll(t, s, i, i+1)
		ends = append(ends, s.last().size)
	}
	path := filepath.Join(dir, name(s.last().id))
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range int64(len(whole)) {
		dir, lost := t.TempDir(), losses{}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(path)), whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		want := uint64(0)
		for want < 8 && ends[want] <= cut {
			want++
		}
		s := open(t, dir, 1<<20, lost)
		consecutive(t, drain(t, s, 1<<30), 0, want)
		if size := s.Size(); size.Damaged != 0 || len(lost) != 0 {
			t.Fatalf("cut at %d: damaged %d, lost %v", cut, size.Damaged, lost)
		}
	}
}

// Flipped bytes cost the records that they hit.
func TestFlippedBytes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		dir, lost := t.TempDir(), losses{}
		s := open(t, dir, 1<<20, lost)
		var starts []int64
		for i := range uint64(50) {
			if len(s.segments) == 0 {
				starts = append(starts, 0)
			} else {
				starts = append(starts, s.last().size)
			}
			appendAll(t, s, i, i+1)
		}
		f, err := os.OpenFile(filepath.Join(dir, name(s.last().id)), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		hit := map[uint64]bool{}
		for range 1 + r.IntN(5) {
			at := r.Int64N(s.last().size)
			var b [1]byte
			f.ReadAt(b[:], at)
			b[0] ^= 1 << r.IntN(8)
			f.WriteAt(b[:], at)
			n := uint64(len(starts)) - 1
			for starts[n] > at {
				n--
			}
			hit[n] = true
		}
		f.Close()
		var want []uint64
		for i := range uint64(50) {
			if !hit[i] {
				want = append(want, i)
			}
		}
		got := drain(t, s, 1<<30)
		// A bit that was flipped twice is as it was.
		if fmt.Sprint(got) != fmt.Sprint(want) && len(got) < len(want) {
			t.Fatalf("got %v, want %v", got, want)
		}
		if int64(len(got))+lost[Damaged] != 50 {
			t.Errorf("%d came and %v were lost of 50", len(got), lost)
		}
	}
}

func TestLimits(t *testing.T) {
	dir, lost := t.TempDir(), losses{}
	s := open(t, dir, 64<<10, lost)
	appendAll(t, s, 0, 2000)
	size := s.Size()
	if size.Bytes > 64<<10 {
		t.Errorf("%d bytes wait, over the limit", size.Bytes)
	}
	got := drain(t, s, 1<<30)
	consecutive(t, got, 2000-uint64(len(got)), 2000)
	if int64(len(got))+lost[Full] != 2000 || len(got) < 100 {
		t.Errorf("%d came, lost %v, of 2000", len(got), lost)
	}

	if _, err := s.Append(&Entry{Request: [][]byte{make([]byte, 65<<10)}}); err == nil {
		t.Error("a request over the limit was taken")
	}

	old := entry(1)
	old.Time = time.Now().Add(-2 * time.Hour)
	if _, err := s.Append(old, entry(2)); err != nil {
		t.Fatal(err)
	}
	consecutive(t, drain(t, s, 1<<30), 2, 3)
	if lost[TooOld] != 1 {
		t.Errorf("lost %v, want one that is too old", lost)
	}

	// A reserve of the disk is kept: the oldest go, then nothing is taken any more.
	appendAll(t, s, 0, 10)
	s.free = func() (int64, int64, error) { return 0, 1 << 40, nil }
	if _, err := s.Append(entry(11)); err == nil || !strings.Contains(err.Error(), "are to stay so") {
		t.Errorf("Append on a full disk: %v", err)
	}
	if lost[Full] < 10 || !s.Empty() {
		t.Errorf("lost %v, want the ten that waited", lost)
	}
	s.free = func() (int64, int64, error) { return 1 << 39, 1 << 40, nil }
	appendAll(t, s, 20, 30)
	consecutive(t, drain(t, s, 1<<30), 20, 30)
}

// A file system that is full in the middle of a record.
func TestNoSpace(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounts a small tmpfs: needs root")
	}
	dir, lost := t.TempDir(), losses{}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("no tmpfs can be mounted here: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	s := open(t, filepath.Join(dir, "spool"), 1<<20, lost)
	s.free = func() (int64, int64, error) { return 1 << 40, 1 << 40, nil } // a write has to tell
	appendAll(t, s, 0, 3000)
	got := drain(t, s, 1<<30)
	consecutive(t, got, 3000-uint64(len(got)), 3000)
	if int64(len(got))+lost[Full] != 3000 || len(got) == 0 {
		t.Errorf("%d came, lost %v, of 3000", len(got), lost)
	}
	s.Close()
}

func TestDeletedMeanwhile(t *testing.T) {
	dir, lost := t.TempDir(), losses{}
	s := open(t, dir, 64<<10, lost)
	appendAll(t, s, 0, 100)
	files, err := filepath.Glob(filepath.Join(dir, "*.spool"))
	if err != nil || len(files) < 2 {
		t.Fatalf("files %v, %v", files, err)
	}
	os.Remove(files[0])
	got := drain(t, s, 1<<30)
	if int64(len(got))+lost[Damaged] != 100 || len(got) == 0 {
		t.Errorf("%d came, lost %v, of 100", len(got), lost)
	}
}

// Whatever bytes a segment holds, each entry that comes out of it stands in it as it was written.
func FuzzSegment(f *testing.F) {
	var b []byte
	for i := range uint64(3) {
		e := entry(i)
		b = append(appendHeader(b, e), bytes.Join(e.Request, nil)...)
	}
	f.Add(b)
	f.Add(append([]byte("garbage STPL"), b...))
	f.Add(b[:len(b)-1])
	f.Fuzz(func(t *testing.T, b []byte) {
		for off := int64(0); ; {
			e, at, next, err := nextRecord(bytes.NewReader(b), off, int64(len(b)))
			if err != nil {
				if !errors.Is(err, io.EOF) {
					t.Fatal(err)
				}
				return
			}
			if at < off || next <= at || next > int64(len(b)) {
				t.Fatalf("from %d on: a record from %d to %d of %d", off, at, next, len(b))
			}
			if again := append(appendHeader(nil, &e), e.Request[0]...); !bytes.Equal(again, b[at:next]) {
				t.Fatalf("%x was read as %+v", b[at:next], e)
			}
			off = next
		}
	})
}

// BenchmarkAppend writes requests of 4 MiB, each synced; compare with dd oflag=dsync on the same disk.
func BenchmarkAppend(b *testing.B) {
	s := open(b, b.TempDir(), 1<<30, losses{})
	defer s.Close()
	e := &Entry{Records: 1, Time: time.Now(), Request: [][]byte{make([]byte, 4<<20)}}
	b.SetBytes(4 << 20)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Append(e); err != nil {
			b.Fatal(err)
		}
	}
}
