package tail

import (
	"bytes"
	"os"
	"slices"
	"testing"

	"github.com/klauspost/compress/gzip"
)

// gzip compresses a file as the kubelet does: beside it, renamed into place, the plain one
// deleted.
func (r *rig) gzip(path string) {
	r.t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		r.t.Fatal(err)
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write(content)
	if err := z.Close(); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path+".tmp", b.Bytes(), 0o644); err != nil {
		r.t.Fatal(err)
	}
	r.rename(path+".tmp", path+".gz")
	if err := os.Remove(path); err != nil {
		r.t.Fatal(err)
	}
}

const stamp1, stamp2 = ".20260102-030405", ".20260102-030505"

func TestCompressedLogsFromBeforeTheStartAreRead(t *testing.T) {
	r := newRig(t)
	path := r.log("p", "0.log")
	a, wantA := full(1, 50)
	r.write(path+stamp1, a)
	r.gzip(path + stamp1)
	b, wantB := full(51, 60)
	r.write(path+stamp2, b)
	r.old(path + stamp2)
	c, wantC := full(61, 70)
	r.write(path, c)
	r.start()
	want := slices.Concat(wantA, wantB, wantC)
	r.same(want...)
	r.until("all settled", func(s Status) bool { return s.Unsettled == 0 && s.OpenFiles == 2 })
	r.end()

	r.start() // nothing again
	r.write(path, criLine("stdout F", "new"))
	r.same(append(want, "new")...)
	r.end()

	if err := os.Remove(path + stamp1 + ".gz"); err != nil {
		t.Fatal(err)
	}
	r.start()
	r.write(path, criLine("stdout F", "newer"))
	r.same(append(want, "new", "newer")...)
	r.end()
	for _, e := range r.tailer.store.entries {
		if e.Path == path+stamp1+".gz" && e.Seen == 0 {
			t.Errorf("%+v", e)
		}
	}
}

// TestCompressedWhileAway: rotated and compressed while the agent is not running; the rest is
// read from the exact byte.
func TestCompressedWhileAway(t *testing.T) {
	r := newRig(t)
	path := r.log("p", "0.log")
	a, wantA := full(1, 50)
	r.write(path, a)
	r.start()
	r.wait(50)
	r.end()

	b, wantB := full(51, 80)
	r.write(path, b)
	r.rename(path, path+stamp1)
	r.gzip(path + stamp1)
	c, wantC := full(81, 90)
	r.write(path, c)
	r.start()
	r.same(slices.Concat(wantA, wantB, wantC)...)
	r.until("all settled", func(s Status) bool { return s.Recovered == 1 && s.Unsettled == 0 })
	r.end()
	r.start()
	r.write(path, criLine("stdout F", "new"))
	r.same(append(slices.Concat(wantA, wantB, wantC), "new")...)
}

// TestCompressedWhileFollowed: what was read while it was plain is not read again, now or after
// a restart.
func TestCompressedWhileFollowed(t *testing.T) {
	r := newRig(t)
	path := r.log("p", "0.log")
	a, wantA := full(1, 50)
	r.write(path, a)
	r.start()
	r.wait(50)
	r.rename(path, path+stamp1)
	r.old(path + stamp1)
	b, wantB := full(51, 60)
	r.write(path, b)
	r.wait(60)
	r.gzip(path + stamp1)
	r.until("the plain file is let go", func(s Status) bool { return s.OpenFiles == 1 })
	c, wantC := full(61, 70)
	r.write(path, c)
	want := slices.Concat(wantA, wantB, wantC)
	r.same(want...)
	r.end()
	r.start()
	r.write(path, criLine("stdout F", "new"))
	r.same(append(want, "new")...)
}

// TestRotatedAndCompressedBetweenTwoLooks: the followed file never had its stamp.
func TestRotatedAndCompressedBetweenTwoLooks(t *testing.T) {
	r := newRig(t)
	path := r.log("p", "0.log")
	a, wantA := full(1, 50)
	r.write(path, a)
	r.start()
	r.wait(50)
	r.tailer.mu.Lock() // nobody looks
	r.rename(path, path+stamp1)
	r.old(path + stamp1)
	r.gzip(path + stamp1)
	b, wantB := full(51, 60)
	r.write(path, b)
	r.tailer.mu.Unlock()
	want := slices.Concat(wantA, wantB)
	r.same(want...)
	r.until("the old file is let go", func(s Status) bool { return s.OpenFiles == 1 && s.Unsettled == 0 })
	c, wantC := full(61, 70)
	r.write(path, c)
	r.same(append(want, wantC...)...)
}

func TestDamagedCompressedLogIsCountedAndTheRestGoesOn(t *testing.T) {
	r := newRig(t)
	path := r.log("p", "0.log")
	a, _ := full(1, 5000)
	r.write(path+stamp1, a)
	r.gzip(path + stamp1)
	gz, err := os.ReadFile(path + stamp1 + ".gz")
	if err != nil {
		t.Fatal(err)
	}
	copy(gz[len(gz)/2:], "damage damage damage")
	if err := os.WriteFile(path+stamp1+".gz", gz, 0o644); err != nil {
		t.Fatal(err)
	}
	r.write(path, criLine("stdout F", "next"))
	r.start()
	r.same("next")
	if s := r.tailer.Status(); s.LostBytes != int64(len(gz)) {
		t.Errorf("lost %d bytes, want %d", s.LostBytes, len(gz))
	}
	r.end()
	r.start()
	r.write(path, criLine("stdout F", "newer"))
	r.same("next", "newer")
	if s := r.tailer.Status(); s.LostBytes != 0 {
		t.Errorf("the same loss was counted twice: %d", s.LostBytes)
	}
}
