package cgroup

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"stint/scrape/kernel"
)

// Times of processes only grow: what one used that ended stays, one that is given its number
// begins with 0.
func TestTimesOfProcesses(t *testing.T) {
	cfg := Defaults()
	cfg.Processes.Enabled = true
	m := newMachine(t, "v2", cfg, nil)
	m.cgroup("v2", docker("1"))
	m.processes("v2", docker("1"), 30, 31)
	ran := func() string {
		return m.scrape().value("container.id="+id("1"), "container.cpu.sched.time", "cpu.sched.state=running")
	}
	procs := "/sys/fs/cgroup" + docker("1") + "/cgroup.procs"
	for i, step := range []struct {
		do   func()
		want string
	}{
		{func() {}, "7d"},
		{func() { m.write("/proc/30/schedstat", "4500000000 120000000 1\n") }, "8d"},
		{func() { m.write(procs, "31\n") }, "8d"},
		{func() { m.write("/proc/31/schedstat", "500000000 1 1\n") }, "8.5d"},
		{func() { m.write(procs, "") }, "8.5d"},
	} {
		step.do()
		if got := ran(); got != step.want {
			t.Errorf("step %d: %s, want %s", i, got, step.want)
		}
	}
	if f := m.scrape(); f.value("container.id="+id("1"), "container.process.count", "") != "none" { // they cannot be seen
		t.Errorf("with an empty list:\n%s", f.text())
	}
	m.write(procs, "0\n0\n0\n")
	if f := m.scrape(); f.value("container.id="+id("1"), "container.process.count", "") != "3" || f.value("container.id="+id("1"), "container.file_descriptor.count", "") != "none" {
		t.Errorf("without numbers:\n%s", f.text())
	}
	m.write(procs, strings.Repeat("31\n", maxTasks+1))
	if f := m.scrape(); f.err == nil || f.value("container.id="+id("1"), "container.process.count", "") != strconv.Itoa(maxTasks+1) {
		t.Errorf("too many: %v", f.err)
	}
	m.write(procs, "x\n")
	if f := m.scrape(); f.err == nil || cpuTimeOf(f, "1") == "none" {
		t.Errorf("a garbled list: %v", f.err)
	}
}

// The kernel's own count of open files, by size and by entries, is what /proc shows.
func TestOpenFiles(t *testing.T) {
	s := liveSource(t)
	for range 3 {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fds[0])
		defer unix.Close(fds[1])
	}
	count := func() (n, sockets int) {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if target, _ := os.Readlink("/proc/self/fd/" + e.Name()); strings.HasPrefix(target, "socket:") {
				sockets++
			}
		}
		return len(entries), sockets
	}
	for _, detail := range []bool{false, true} {
		s.cfg.Processes = Group{Enabled: true, Detail: detail}
		files, sockets := count()
		var counts taskCounts
		counts.count = 1
		s.readTask(&counts, uint64(os.Getpid()))
		// Both hold the directory that they list open; readTask that of the process, too.
		if counts.files != uint64(files)+1 || detail && counts.sockets != uint64(sockets) || counts.linked != detail {
			t.Errorf("detail %v: %d files, %d sockets, want %d and %d", detail, counts.files, counts.sockets, files+1, sockets)
		}
		var l unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
			t.Fatal(err)
		}
		if counts.limit != l.Cur || len(s.tasks.all) == 0 || s.tasks.all[len(s.tasks.all)-1].ran == 0 {
			t.Errorf("limit %d, want %d; times %v", counts.limit, l.Cur, s.tasks.all)
		}
	}
}

// A limit that is read is the first number behind its name.
func FuzzOpenFilesLimit(f *testing.F) {
	seedFiles(f, "proc/limits")
	f.Add([]byte("Max open files            unlimited            unlimited            files     \n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if n := kernel.OpenFilesLimit(b); n > 0 && !strings.Contains(string(b), fmt.Sprint(n)) {
			t.Errorf("%d of %q", n, b)
		}
	})
}
