package host

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"stint/export/otlp"
	"stint/scrape/series"
)

// mounted makes a host with the given lines of mountinfo whose statfs is ask. It must be called
// in the bubble of the test.
func mounted(t *testing.T, ask func(*mount) error, lines ...string) *machine {
	t.Helper()
	m := newMachine(t, only(func(c *Config) { c.Filesystem.Enabled, c.Filesystem.Remote = true, true }), func(m *machine) {
		m.write("proc/1/mountinfo", strings.Join(lines, "\n")+"\n")
	})
	scraperOf[*filesystem](m.Host).statfs = func(mt *mount) error {
		mt.buf = unix.Statfs_t{Bsize: 65536, Frsize: 4096, Blocks: 1000, Bfree: 600, Bavail: 550, Files: 100, Ffree: 90}
		return ask(mt)
	}
	return m
}

const (
	rootLine = "28 1 259:2 / / rw - ext4 /dev/vda rw"
	nfsLine  = "36 28 0:60 / /nfs rw - nfs4 filer:/export rw"

	rootUp    = "system.device=/dev/vda system.filesystem.type=ext4 system.filesystem.mountpoint=/"
	nfsUp     = "system.device=filer:/export system.filesystem.type=nfs4 system.filesystem.mountpoint=/nfs"
	rootLimit = rootUp + " system.filesystem.mode=rw"
	nfsLimit  = nfsUp + " system.filesystem.mode=rw"
)

// Pitfall 1: the server of a mount dies and comes back.
func TestDeadMount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		dead := make(chan bool)
		m := mounted(t, func(m *mount) error {
			if m.mountPoint == "/nfs" {
				calls.Add(1)
				<-dead
			}
			return nil
		}, rootLine, nfsLine)
		took := func() (*found, time.Duration) {
			begin := time.Now()
			f := m.scrape()
			return f, time.Since(begin)
		}

		f, d := took()
		if d != statfsGrace {
			t.Errorf("the first scrape waited %v, want %v", d, statfsGrace)
		}
		m.expect(f, "system.filesystem.up", rootUp, "1", 0)
		m.expect(f, "system.filesystem.limit", rootLimit, "4096000", 0)
		m.absent(f, "system.filesystem.up", nfsUp) // not late yet
		if len(f.errs) > 0 {
			t.Errorf("not late yet, but %v", f.errs)
		}

		for range 5 {
			time.Sleep(10 * time.Second)
			f, d = took()
			if d != 0 {
				t.Errorf("a mount known to hang held the scrape for %v", d)
			}
			m.expect(f, "system.filesystem.up", nfsUp, "0", 0)
			m.absent(f, "system.filesystem.limit", nfsLimit)
			m.expect(f, "system.filesystem.limit", rootLimit, "4096000", 0)
			if err := f.errs["filesystem"]; !errors.Is(err, errHangs) {
				t.Errorf("error %v, want %v", err, errHangs)
			}
		}
		if n := calls.Load(); n != 1 {
			t.Errorf("%d calls to a mount that hangs, want 1", n)
		}

		close(dead)
		time.Sleep(10 * time.Second)
		f, _ = took() // takes the answer of the call that hung, and asks again
		m.expect(f, "system.filesystem.up", nfsUp, "1", 0)
		m.expect(f, "system.filesystem.limit", nfsLimit, "4096000", 0)
		if len(f.errs) > 0 {
			t.Errorf("alive again, but %v", f.errs)
		}
	})
}

// A mount that needs longer than a scrape waits, but less than the timeout, is up; its figures
// are those of the last call. It holds up no further scrape.
func TestSlowMount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := mounted(t, func(m *mount) error {
			if m.mountPoint == "/nfs" {
				time.Sleep(time.Second)
			}
			return nil
		}, rootLine, nfsLine)
		m.absent(m.scrape(), "system.filesystem.up", nfsUp)
		for range 3 {
			time.Sleep(10 * time.Second)
			begin := time.Now()
			f := m.scrape()
			m.expect(f, "system.filesystem.up", nfsUp, "1", 0)
			m.expect(f, "system.filesystem.limit", nfsLimit, "4096000", 0)
			if d := time.Since(begin); d != 0 {
				t.Errorf("waited %v", d)
			}
		}
		time.Sleep(time.Second)
		synctest.Wait()
	})
}

// However many mounts die, eight calls hang at most; the others are down without being asked,
// and local file systems are not touched by it.
func TestManyDeadMounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dead := make(chan bool)
		defer close(dead)
		lines := []string{rootLine}
		for i := range 30 {
			lines = append(lines, fmt.Sprintf("%d 28 0:%d / /nfs%d rw - nfs4 filer:/%d rw", 100+i, 100+i, i, i))
		}
		var calls atomic.Int32
		m := mounted(t, func(m *mount) error {
			if m.mountinfo.remote() {
				calls.Add(1)
				<-dead
			}
			return nil
		}, lines...)
		for range 4 {
			m.scrape()
			time.Sleep(10 * time.Second)
		}
		f := m.scrape()
		if n := calls.Load(); n != maxStuck {
			t.Errorf("%d calls hang, want %d", n, maxStuck)
		}
		m.expect(f, "system.filesystem.up", rootUp, "1", 0)
		m.expect(f, "system.filesystem.limit", rootLimit, "4096000", 0)
		for i := range 30 {
			m.expect(f, "system.filesystem.up", fmt.Sprintf("system.device=filer:/%d system.filesystem.type=nfs4 system.filesystem.mountpoint=/nfs%d", i, i), "0", 0)
		}
		if err := f.errs["filesystem"]; !errors.Is(err, errRefused) {
			t.Errorf("error %v, want %v", err, errRefused)
		}
	})
}

// An error is down, but what this user may not see, or what lies elsewhere, is neither.
func TestStatfsErrors(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		up   string // "" = no point
		said bool
	}{
		"stale handle":     {unix.ESTALE, "0", true},
		"I/O error":        {unix.EIO, "0", true},
		"no permission":    {unix.EACCES, "", false},
		"not mounted here": {unix.ENOENT, "", true},
		"another one":      {errNotVisible, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			m := mounted(t, func(m *mount) error {
				if m.mountPoint == "/nfs" {
					return tc.err
				}
				return nil
			}, rootLine, nfsLine)
			f := m.scrape()
			m.absent(f, "system.filesystem.limit", nfsLimit)
			if tc.up == "" {
				m.absent(f, "system.filesystem.up", nfsUp)
			} else {
				m.expect(f, "system.filesystem.up", nfsUp, tc.up, 0)
			}
			if said := errors.Is(f.errs["filesystem"], tc.err); said != tc.said {
				t.Errorf("error %v", f.errs["filesystem"])
			}
			m.expect(f, "system.filesystem.limit", rootLimit, "4096000", 0)
		})
	}
}

// A panic in the goroutine of a mount does not end the process.
func TestStatfsPanics(t *testing.T) {
	m := mounted(t, func(*mount) error { panic("boom") }, rootLine)
	f := m.scrape()
	m.expect(f, "system.filesystem.up", rootUp, "0", 0)
	if err := f.errs["filesystem"]; err == nil || !strings.Contains(err.Error(), "panic: boom") {
		t.Errorf("error %v", err)
	}
}

// Numbers that make no sense, as some servers send them.
func TestStatfsNumbers(t *testing.T) {
	minus5 := int64(-5)
	for name, tc := range map[string]struct {
		buf            unix.Statfs_t
		used, free, rs string // "" = no point
	}{
		"frsize, not bsize":       {unix.Statfs_t{Bsize: 1 << 20, Frsize: 512, Blocks: 10, Bfree: 4, Bavail: 3}, "3072", "1536", "512"},
		"no frsize":               {unix.Statfs_t{Bsize: 1024, Blocks: 10, Bfree: 4, Bavail: 4}, "6144", "4096", "0"},
		"more free than there is": {unix.Statfs_t{Frsize: 1, Blocks: 10, Bfree: 40, Bavail: 50}, "0", "10", "0"},
		"negative available":      {unix.Statfs_t{Frsize: 1, Blocks: 10, Bfree: 4, Bavail: uint64(minus5)}, "6", "0", "4"},
		"no blocks":               {unix.Statfs_t{Frsize: 1}, "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := mounted(t, func(m *mount) error {
				m.buf = tc.buf
				return nil
			}, rootLine)
			f := m.scrape()
			m.expect(f, "system.filesystem.up", rootUp, "1", 0)
			for state, want := range map[string]string{"used": tc.used, "free": tc.free, "reserved": tc.rs} {
				attrs := "system.filesystem.state=" + state + " " + rootLimit
				if want == "" {
					m.absent(f, "system.filesystem.usage", attrs)
				} else {
					m.expect(f, "system.filesystem.usage", attrs, want, 0)
				}
			}
			m.absent(f, "system.filesystem.inodes.usage", "system.filesystem.state=used "+rootLimit)
		})
	}
}

// The path of a mount must show the file system that mountinfo names, not the directory under
// it. Below a root path everything is looked up there.
func TestMountIsChecked(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "data"), 0o755); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(root, &st); err != nil {
		t.Fatal(err)
	}
	device := fmt.Sprintf("%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev))
	h := &Host{root: root, log: slog.New(slog.DiscardHandler)}
	f := newFilesystem(h, &Config{}).(*filesystem)
	for _, tc := range []struct {
		device, fstype string
		want           error
	}{{device, "ext4", nil}, {"0:9999", "ext4", errNotVisible}, {"0:9999", "btrfs", nil}} {
		m := f.newMount(mountinfo{device: tc.device, fstype: tc.fstype, mountPoint: "/data"})
		if err := m.statfs(); !errors.Is(err, tc.want) {
			t.Errorf("statfs of %s on %s: %v, want %v", tc.fstype, tc.device, err, tc.want)
		}
		if tc.want == nil && (m.buf.Blocks == 0 || !m.checked) {
			t.Errorf("statfs of %s gave no figures", tc.fstype)
		}
	}
	m := f.newMount(mountinfo{device: device, mountPoint: "/nowhere"})
	if err := m.statfs(); !errors.Is(err, unix.ENOENT) {
		t.Errorf("statfs of a missing path: %v", err)
	}
}

// inNamespace runs the test of this name again, in a process with a mount namespace of its own
// where it may mount, and tells whether it is that process.
func inNamespace(t *testing.T) bool {
	if os.Getenv("STINT_TEST_NAMESPACE") != "" {
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			t.Fatal(err)
		}
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), "STINT_TEST_NAMESPACE=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	switch {
	case errors.Is(err, os.ErrPermission) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EINVAL):
		t.Skipf("no user namespaces here: %v", err)
	case err != nil:
		t.Errorf("%v\n%s", err, out)
	case bytes.Contains(out, []byte("--- SKIP")):
		t.Skipf("%s", out)
	}
	return false
}

// newMounts is the scraper alone, over the mounts of this process.
func newMounts(t *testing.T) (*filesystem, *series.Points) {
	h := &Host{proc: "/proc", pid: "self", log: slog.New(slog.DiscardHandler)}
	cfg := Defaults()
	cfg.Filesystem.Remote = true
	f := newFilesystem(h, &cfg).(*filesystem)
	t.Cleanup(f.close)
	return f, &series.Points{Table: filesystemMetrics}
}

// The list of mounts is read again when the kernel says so (POLLPRI), and only then.
func TestMountsChange(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	f, p := newMounts(t)
	here := t.TempDir()
	scrape := func() (listed bool) {
		p.Begin(1)
		f.scrape(p, tick)
		return slices.ContainsFunc(f.list, func(m *mount) bool { return m.mountPoint == here })
	}
	scrape()
	for range 3 {
		if f.mounts.changed(tick + 10*mountsMaxAge) {
			t.Error("changed though nothing was mounted")
		}
	}
	if err := unix.Mount("stint-test", here, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	if !scrape() {
		t.Error("a new mount is not seen")
	}
	if err := unix.Unmount(here, 0); err != nil { // not busy: nothing is kept open
		t.Fatal(err)
	}
	if scrape() {
		t.Error("a mount that is gone is still seen")
	}
}

// A FUSE file system whose program never answers hangs in the kernel as a dead server does.
func TestFUSEHangs(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	fuse, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skip(err)
	}
	here := t.TempDir()
	if err := unix.Mount("stint-test", here, "fuse", unix.MS_NOSUID|unix.MS_NODEV, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fuse)); err != nil {
		t.Skip(err)
	}
	f, p := newMounts(t)
	var m *mount
	scrape := func() (up string, err error) {
		p.Begin(1)
		err = f.scrape(p, tick)
		m = f.list[slices.IndexFunc(f.list, func(m *mount) bool { return m.mountPoint == here })]
		up = "no point"
		rm := decode(t, otlp.NewGroup(nil, "", "", ""), p.Commit(tick).Bytes())
		for _, metric := range rm.ScopeMetrics[0].Metrics {
			for _, q := range pointsOf(metric) {
				if metric.Name == filesystemMetrics[filesystemUp].Name && strings.Contains(attrText(q.Attributes), "mountpoint="+here) {
					up = valueText(q)
				}
			}
		}
		return up, err
	}
	begin := time.Now()
	if up, err := scrape(); up != "no point" || err != nil || !m.busy {
		t.Errorf("at first: up %s, %v, busy %v", up, err, m.busy)
	}
	if d := time.Since(begin); d > time.Second {
		t.Errorf("the scrape waited %v", d)
	}
	m.since = m.since.Add(-statfsTimeout) // as if the time had passed
	if up, err := scrape(); up != "0" || !errors.Is(err, errHangs) {
		t.Errorf("after the timeout: up %s, %v", up, err)
	}
	unix.Close(fuse) // the program is gone, and the call ends with ENOTCONN
	f.answers <- <-f.answers
	if up, err := scrape(); up != "0" || !errors.Is(err, unix.ENOTCONN) {
		t.Errorf("after the end: up %s, %v", up, err)
	}
	if err := unix.Unmount(here, unix.MNT_DETACH); err != nil {
		t.Error(err)
	}
}
