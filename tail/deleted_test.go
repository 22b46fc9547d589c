package tail

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stint/export/otlp"
)

// opened waits until the tailer has the file at path open.
func (r *rig) opened(path string) {
	r.t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		r.t.Fatal(err)
	}
	r.until(path+" is open", func(Status) bool {
		r.tailer.mu.Lock()
		defer r.tailer.mu.Unlock()
		for _, c := range r.tailer.chains {
			if c.find(uint64(st.Dev), st.Ino) != nil {
				return true
			}
		}
		return false
	})
}

// kubelet rotates a container's log as the kubelet does and keeps a number of rotated files.
type kubelet struct {
	*rig
	path      string
	keep      int
	rotated   []string // as they were named before they were compressed
	rotations int
}

func (k *kubelet) rotate() {
	k.t.Helper()
	if n := len(k.rotated); n > 0 {
		k.gzip(k.rotated[n-1])
	}
	if len(k.rotated) == k.keep {
		if err := os.Remove(k.rotated[0] + ".gz"); err != nil {
			k.t.Fatal(err)
		}
		k.rotated = k.rotated[1:]
	}
	k.rotations++
	to := fmt.Sprintf("%s.20260102-%06d", k.path, k.rotations)
	k.rename(k.path, to)
	k.old(to)
	k.rotated = append(k.rotated, to)
	k.write(k.path, "")
	// The kubelet's rotations are ten seconds apart, the tailer looks each second.
	k.opened(k.path)
	k.until("the rotated log is known by its stamp", func(Status) bool {
		k.tailer.mu.Lock()
		defer k.tailer.mu.Unlock()
		for _, c := range k.tailer.chains {
			c.mu.Lock()
			known := c.knows(strings.TrimPrefix(to, k.path+"."))
			c.mu.Unlock()
			if known {
				return true
			}
		}
		return false
	})
}

// TestOutageLosesWhatIsOverTheBudgetAndCountsIt: the destination is away while a log rotates 300
// times. What arrives in the end and what is counted as lost are all that was written.
func TestOutageLosesWhatIsOverTheBudgetAndCountsIt(t *testing.T) {
	for name, budget := range map[string]int64{"within the budget": 64 << 20, "over the budget": 100 << 10, "no budget": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.hold, r.room, r.look = true, 1<<20, 20*time.Millisecond
			r.cfg.MaxDeletedBytes = budget
			k := &kubelet{rig: r, path: r.log("p", "0.log"), keep: 4}
			r.write(k.path, "")
			r.start()
			r.opened(k.path)
			lines := 0
			for range 300 {
				var text strings.Builder
				for range 100 {
					text.WriteString(criLine("stdout F", fmt.Sprintf("line %d %s", lines, strings.Repeat("x y z ", lines%60))))
					lines++
				}
				r.write(k.path, text.String())
				k.rotate()
			}
			// The file that a worker is in, and the last to be looked at, come on top.
			r.until("the budget is kept", func(s Status) bool { return s.Deleted <= budget+2*30<<10 })
			behind := r.tailer.Status()
			r.release()
			r.write(k.path, criLine("stdout F", "the last"))
			r.until("the last line is delivered", func(s Status) bool {
				return s.Unsettled == 0 && s.BehindBytes == 0 && s.InFlight == 0
			})
			s := r.tailer.Status()
			r.mu.Lock()
			defer r.mu.Unlock()
			next := 0
			for _, g := range r.got[:len(r.got)-1] {
				n := 0
				if _, err := fmt.Sscanf(g.body, "line %d", &n); err != nil || n < next {
					t.Fatalf("%q after line %d", g.body, next-1)
				}
				next = n + 1
			}
			missing := int64(lines + 1 - len(r.got))
			if missing != s.LostLines {
				t.Errorf("%d of %d lines are missing, %d were counted as lost", missing, lines, s.LostLines)
			}
			if last := r.got[len(r.got)-1].body; last != "the last" {
				t.Errorf("the last record is %q", last)
			}
			if over := budget < 64<<20; over != (missing > 0) {
				t.Errorf("%d lines are missing with a budget of %d; at the end of the outage %d bytes of deleted files were held", missing, budget, behind.Deleted)
			}
			t.Logf("%d lines, %d lost; held %d bytes of deleted files; %d read on from .gz", lines, s.LostLines, behind.Deleted, s.Recovered)
		})
	}
}

// TestVanishing: the same, but that what was read makes room as soon as it is told that deleted files
// take half of the budget, as when it moves to a spool. Nothing is lost, and it is told when it is over.
func TestVanishing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.hold, r.room, r.look = true, 1<<20, 20*time.Millisecond
	const budget = 100 << 10
	r.cfg.MaxDeletedBytes = budget
	var now, ever atomic.Bool
	r.vanishing = func(v bool) {
		now.Store(v)
		if v {
			ever.Store(true)
		}
	}
	k := &kubelet{rig: r, path: r.log("p", "0.log"), keep: 4}
	r.write(k.path, "")
	r.start()
	r.opened(k.path)
	lines := 0
	for range 200 {
		var text strings.Builder
		for range 100 {
			text.WriteString(criLine("stdout F", fmt.Sprintf("line %d %s", lines, strings.Repeat("x y z ", lines%60))))
			lines++
		}
		r.write(k.path, text.String())
		k.rotate()
		if now.Load() {
			r.until("there is room", func(Status) bool {
				r.mu.Lock()
				all := make([]int, len(r.held))
				r.mu.Unlock()
				for i := range all {
					all[i] = i
				}
				r.settle(otlp.Delivered, all...)
				return !now.Load()
			})
		}
	}
	r.release()
	r.until("everything is delivered", func(s Status) bool { return s.Unsettled == 0 && s.BehindBytes == 0 && s.InFlight == 0 })
	r.until("it is over", func(Status) bool { return !now.Load() })
	r.wait(lines)
	if s := r.tailer.Status(); s.LostLines != 0 || !ever.Load() {
		t.Errorf("%d lines were lost; told of it: %v", s.LostLines, ever.Load())
	}
}

// release settles what is held and all that comes.
func (r *rig) release() {
	r.mu.Lock()
	r.hold = false
	all := make([]int, len(r.held))
	for i := range all {
		all[i] = i
	}
	r.mu.Unlock()
	r.settle(otlp.Delivered, all...)
}

// TestVanishedWhileAway: what was unread of logs that were deleted while the agent was not running
// is said, once.
func TestVanishedWhileAway(t *testing.T) {
	r := newRig(t)
	r.hold = true
	path := r.log("p", "0.log")
	text, _ := full(1, 50)
	r.write(path, text)
	r.start()
	r.wait(50)
	r.until("its size is saved", func(Status) bool { return r.savedAll() && len(r.entries()) == 1 })
	r.kill()
	if err := os.RemoveAll(filepath.Dir(filepath.Dir(path))); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int64{int64(len(text)), 0} {
		r.start()
		r.until("looked", func(Status) bool { return !r.tailer.LastLook().IsZero() })
		r.tailer.mu.Lock()
		r.tailer.scan.reckon(time.Now().Add(reckonAfter))
		r.tailer.mu.Unlock()
		if s := r.tailer.Status(); s.LostBytes != want {
			t.Errorf("%d bytes were counted as lost, want %d: %+v", s.LostBytes, want, s.Lost)
		}
		r.end()
	}
}

// entries are the saved ones.
func (r *rig) entries() map[uint64]record {
	r.tailer.saving.Lock()
	defer r.tailer.saving.Unlock()
	r.tailer.mu.Lock()
	defer r.tailer.mu.Unlock()
	return maps.Clone(r.tailer.store.entries)
}
