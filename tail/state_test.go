package tail

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func discard() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func randRecord(r *rand.Rand, id uint64) record {
	return record{
		ID: id, Dev: r.Uint64() >> 40, Ino: r.Uint64() >> 40, Path: fmt.Sprintf("/var/log/pods/p%d/0.log", id), Frontier: 64 + r.Int64N(1<<40),
		Ahead: [streams]int64{r.Int64N(1 << 30), 0, r.Int64N(1 << 20)}, Size: r.Int64N(1 << 41),
		HeadLen: r.IntN(headBytes + 1), HeadHash: r.Uint64(), TailLen: r.IntN(tailBytes + 1), TailHash: r.Uint64(),
	}
}

// save is prepare and write in one.
func (s *store) saveNow(t *testing.T, records ...record) {
	t.Helper()
	if err := s.prepare(records)(); err != nil {
		t.Fatal(err)
	}
}

func mustOpen(t *testing.T, dir string) *store {
	t.Helper()
	s, err := openStore(dir, discard())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	return s
}

// withoutSeen drops the time of saving.
func withoutSeen(m map[uint64]record) map[uint64]record {
	out := map[uint64]record{}
	for id, r := range m {
		r.Seen = 0
		out[id] = r
	}
	return out
}

func TestStoreKeepsTheLastOfEachID(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	if !s.fresh {
		t.Error("an empty directory is not the very first start")
	}
	r := rand.New(rand.NewPCG(1, 1))
	want := map[uint64]record{}
	for i := range 3000 {
		id := 1 + r.Uint64N(50)
		rec := randRecord(r, id)
		if rec.Gone = r.IntN(10) == 0; rec.Gone {
			delete(want, id)
		} else {
			want[id] = rec
		}
		s.saveNow(t, rec)
		if i%500 == 0 {
			s.close()
			s = mustOpen(t, dir)
			if s.fresh {
				t.Fatal("not the first start any more")
			}
			if d := cmp.Diff(want, withoutSeen(s.entries)); d != "" {
				t.Fatalf("after %d saves -want +got\n%s", i+1, d)
			}
		}
	}
	if fi, err := os.Stat(filepath.Join(dir, "offsets")); err != nil || fi.Size() > compactOver+64<<10 {
		t.Errorf("the file is not compacted: %v, %v", fi.Size(), err)
	}
}

// TestStoreDamage: whatever happens to the file, opening goes well and gives entries that were
// saved, at worst older ones.
func TestStoreDamage(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	build := func(t *testing.T) (dir string, all map[uint64][]record) {
		dir = t.TempDir()
		all = map[uint64][]record{}
		s := mustOpen(t, dir)
		for range 40 {
			rec := randRecord(r, 1+r.Uint64N(5))
			all[rec.ID] = append(all[rec.ID], rec)
			s.saveNow(t, rec)
		}
		s.close()
		return dir, all
	}
	check := func(t *testing.T, dir string, all map[uint64][]record) *store {
		t.Helper()
		s := mustOpen(t, dir)
		for id, rec := range withoutSeen(s.entries) {
			found := false
			for _, old := range all[id] {
				found = found || cmp.Equal(old, rec)
			}
			if !found {
				t.Fatalf("entry %d was never saved: %+v", id, rec)
			}
		}
		return s
	}
	path := func(dir string) string { return filepath.Join(dir, "offsets") }

	t.Run("torn at every length", func(t *testing.T) {
		dir, all := build(t)
		content, err := os.ReadFile(path(dir))
		if err != nil {
			t.Fatal(err)
		}
		for n := 0; n < len(content); n += 7 {
			if err := os.WriteFile(path(dir), content[:n], 0o600); err != nil {
				t.Fatal(err)
			}
			check(t, dir, all).close()
		}
	})
	t.Run("a flipped bit anywhere", func(t *testing.T) {
		dir, all := build(t)
		content, err := os.ReadFile(path(dir))
		if err != nil {
			t.Fatal(err)
		}
		for range 300 {
			bad := bytes.Clone(content)
			bad[r.IntN(len(bad))] ^= 1 << r.IntN(8)
			if err := os.WriteFile(path(dir), bad, 0o600); err != nil {
				t.Fatal(err)
			}
			check(t, dir, all).close()
		}
	})
	t.Run("garbage, the old generation is used", func(t *testing.T) {
		dir, all := build(t)
		mustOpen(t, dir).close() // compacts: what it read is now in .old as well
		if err := os.WriteFile(path(dir), []byte("garbage"), 0o600); err != nil {
			t.Fatal(err)
		}
		if s := check(t, dir, all); len(s.entries) == 0 {
			t.Error("nothing was read from the old generation")
		}
		if _, err := os.Stat(path(dir) + ".bad"); err != nil {
			t.Errorf("the bad file was not set aside: %v", err)
		}
	})
	t.Run("killed between writing and renaming", func(t *testing.T) {
		dir, all := build(t)
		if err := os.WriteFile(path(dir)+".new", []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
		if s := check(t, dir, all); len(s.entries) != 5 {
			t.Errorf("%d entries, want 5", len(s.entries))
		}
	})
	t.Run("a directory in its place", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.MkdirAll(path(dir)+"/x", 0o700); err != nil {
			t.Fatal(err)
		}
		mustOpen(t, dir).saveNow(t, randRecord(r, 1))
	})
}

func TestStoreGoesOnWhenItCannotWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	s := mustOpen(t, dir)
	rec := randRecord(rand.New(rand.NewPCG(3, 3)), 1)
	s.saveNow(t, rec)
	// The disk is gone: the open file can't be written, a new one can't be made.
	s.f.Close()
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	rec.Frontier++
	for range 2 {
		if err := s.prepare([]record{rec})(); err == nil {
			t.Fatal("saving into nowhere went well")
		}
	}
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	s.saveNow(t, rec)
	s.close()
	if got := mustOpen(t, dir).entries[1].Frontier; got != rec.Frontier {
		t.Errorf("frontier %d after the disk came back, want %d", got, rec.Frontier)
	}
}

// FuzzState: replaying never fails hard, and what was replayed can be written and read again.
func FuzzState(f *testing.F) {
	r := rand.New(rand.NewPCG(4, 4))
	b := []byte(stateMagic)
	for i := range uint64(4) {
		b = appendFramed(b, randRecord(r, i))
	}
	f.Add(b)
	f.Add([]byte(stateMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := &store{entries: map[uint64]record{}}
		s.replay(bytes.NewReader(b))
		again := &store{entries: map[uint64]record{}}
		if n, err := again.replay(bytes.NewReader(s.table())); err != nil || n != len(s.entries) {
			t.Fatalf("%d of %d entries came back: %v", n, len(s.entries), err)
		}
		if d := cmp.Diff(s.entries, again.entries); d != "" {
			t.Fatal(d)
		}
	})
}
