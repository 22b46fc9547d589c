package cgroup

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	received = "network.interface.name=eth0 network.io.direction=receive"
	devLine  = "eth0: %d 1 0 %d 0 0 0 0 9 1 0 0 0 0 0 0\n"
)

// dev rewrites a process's net/dev in place, so that it stays the same namespace.
func (m *machine) dev(pid, bytes, dropped int) {
	m.write(fmt.Sprintf("/proc/%d/net/dev", pid), fmt.Sprintf(devLine, bytes, dropped))
}

func receivedBy(f *found, digit string) string {
	return f.value("container.id="+id(digit), "container.network.io", received)
}

// A pod's namespace is looked for in containers that have processes.
func TestDesertedContainer(t *testing.T) {
	m := newMachine(t, "v2", Defaults(), nil)
	pod := "/kubepods/burstable/pod" + uid1
	count := "/sys/fs/cgroup" + pod + "/" + id("4") + "/pids.current"
	m.cgroup("v2", pod)
	m.cgroup("v2", pod+"/"+id("4"))
	m.write(count, "0\n") // it is about to start
	dropped := func() string {
		return m.scrape().value("k8s.pod.uid="+uid1, "k8s.pod.network.packet.dropped", received)
	}
	for range patience + 1 {
		if got := dropped(); got != "none" {
			t.Errorf("without a process %s packets were dropped", got)
		}
	}
	m.processes("v2", pod+"/"+id("4"), 14)
	m.write(count, "1\n")
	dropped()
	if dropped() == "none" {
		t.Error("the process that started is not found")
	}
	for _, e := range m.list {
		if e.kind == container {
			e.v[pidsCount] = 0
			if old := e.scraped; !m.deserted(e) {
				t.Error("a container without processes is not deserted")
			} else if e.scraped = old - interval; m.deserted(e) {
				t.Error("what is not read any more is deserted")
			}
		}
	}
}

// Pitfall 15: what runs in the host's network namespace has no figures of its own, and of
// containers that share one the first has them.
func TestSharedNetwork(t *testing.T) {
	for _, layout := range []string{"v1", "v2"} {
		m := newMachine(t, layout, Defaults(), nil)
		pod := "/kubepods/burstable/pod" + uid1
		for _, path := range []string{docker("1"), docker("2"), docker("3"), pod, pod + "/" + id("4")} {
			m.cgroup(layout, path)
		}
		m.processes(layout, docker("1"), 11)
		m.processes(layout, docker("2"), 12)
		m.processes(layout, docker("3"), 13)
		m.processes(layout, pod+"/"+id("4"), 14)
		m.share(1, 11)
		m.share(12, 13)
		m.share(1, 14)
		f := m.scrape()
		shown := 0
		for _, digit := range []string{"2", "3"} {
			if receivedBy(f, digit) == "5000000" {
				shown++
			}
		}
		if receivedBy(f, "1") != "none" || shown != 1 {
			t.Errorf("%s: want the figures of one of 2 and 3, none of 1:\n%s", layout, f.text())
		}
		dropped := func() string {
			return m.scrape().value("k8s.pod.uid="+uid1, "k8s.pod.network.packet.dropped", received)
		}
		if got := dropped(); got != "none" {
			t.Errorf("%s: a pod in the host's network dropped %s", layout, got)
		}
		m.namespace(14)
		if got := dropped(); got != "3" {
			t.Errorf("%s: a pod dropped %s, want 3", layout, got)
		}
	}
}

// In a pid namespace of its own the agent sees no numbers in cgroup.procs, or those of others;
// /proc, which is the host's, shows who is in which container.
func TestForeignNumbers(t *testing.T) {
	m := newMachine(t, "v2", Defaults(), nil)
	m.cgroup("v2", docker("1"))
	m.processes("v2", docker("1"), 900, 901)
	m.cgroup("v2", docker("2"))
	m.processes("v2", docker("2"), 77)
	for path, procs := range map[string]string{docker("1"): "0\n0\n", docker("2"): "900\n"} {
		m.write("/sys/fs/cgroup"+path+"/cgroup.procs", procs)
	}
	m.dev(77, 77, 0)
	if f := m.scrape(); receivedBy(f, "1") != "5000000" || receivedBy(f, "2") != "77" {
		t.Errorf("got %s and %s, want 5000000 and 77", receivedBy(f, "1"), receivedBy(f, "2"))
	}
	// A container that comes later is found by the next search, a minute after the first.
	m.cgroup("v2", docker("3"))
	m.processes("v2", docker("3"), 78)
	m.write("/sys/fs/cgroup"+docker("3")+"/cgroup.procs", "0\n")
	for i := 10; i < 60; i += 10 {
		if f := m.scrape(); receivedBy(f, "3") != "none" {
			t.Errorf("found after %d s", i)
		}
	}
	if f := m.scrape(); receivedBy(f, "3") != "5000000" {
		t.Errorf("not found after a minute:\n%s", f.text())
	}
}

// A process that ends is replaced by another one of the container; its number, used again by
// somebody else, is not followed. A namespace that is another one begins anew.
func TestNamespaceGoesOn(t *testing.T) {
	m := newMachine(t, "v2", Defaults(), nil)
	m.cgroup("v2", docker("1"))
	m.processes("v2", docker("1"), 20, 21)
	start := func(f *found) uint64 {
		p := f.point("container.id="+id("1"), "container.network.io", received)
		if p == nil {
			t.Fatalf("no point in\n%s", f.text())
		}
		return (p.StartTimeUnixNano - tick) / interval
	}
	if f := m.scrape(); receivedBy(f, "1") != "5000000" || start(f) != 0 {
		t.Fatalf("first: %s", f.text())
	}
	m.dev(20, 5000007, 3)
	if err := os.RemoveAll(m.root + "/proc/20"); err != nil {
		t.Fatal(err)
	}
	m.write("/proc/20/cgroup", "0::"+docker("9")+"\n")
	m.namespace(20)
	m.dev(20, 1, 1)
	m.write("/sys/fs/cgroup"+docker("1")+"/cgroup.procs", "21\n")
	if f := m.scrape(); receivedBy(f, "1") != "5000007" || start(f) != 0 {
		t.Errorf("after the first process: %s since %d, want 5000007 since 0", receivedBy(f, "1"), start(f))
	}
	m.dev(21, 10, 0) // a new interface of that name, or a driver that was reset
	if f := m.scrape(); receivedBy(f, "1") != "10" || start(f) != 1 {
		t.Errorf("after a reset: %s since %d, want 10 since 1", receivedBy(f, "1"), start(f))
	}
	m.namespace(21)
	if f := m.scrape(); receivedBy(f, "1") != "5000000" || start(f) != 2 {
		t.Errorf("in another namespace: %s since %d, want 5000000 since 2", receivedBy(f, "1"), start(f))
	}
	var many strings.Builder
	for i := range maxLinks + 3 {
		fmt.Fprintf(&many, strings.Replace(devLine, "eth0", fmt.Sprint("eth", i), 1), i, 0)
	}
	m.write("/proc/21/net/dev", many.String())
	m.scrape() // in which the ones before still take room
	f := m.scrape()
	if n := strings.Count(f.text(), "network.io.direction=receive} "); n != 3*maxLinks || f.err == nil || !strings.Contains(f.err.Error(), "64 interfaces") {
		t.Errorf("%d points, %v", n, f.err)
	}
	m.write("/proc/21/net/dev", "garbage: 1\n")
	if f := m.scrape(); f.err == nil || !strings.Contains(f.err.Error(), "/proc/21/net/dev") || cpuTimeOf(f, "1") == "none" {
		t.Errorf("a garbled file: %v\n%s", f.err, f.text())
	}
	open := m.open
	m.remove("v2", docker("1"))
	if m.scrape(); m.open >= open || len(m.list) > 0 {
		t.Errorf("%d of %d files are open after the container's end", m.open, open)
	}
}

// The kernel's own namespaces: one can be seen, and told from the host's, and ends with its
// process although the agent watches.
func TestLiveNamespace(t *testing.T) {
	if os.Getenv("STINT_TEST_NETNS") != "" {
		fmt.Println("ready")
		io.Copy(io.Discard, os.Stdin)
		return
	}
	l := newLive(t)
	start := func(digit string, flags uintptr) (end func()) {
		l.mkdir("/" + id(digit))
		cmd := exec.Command(os.Args[0], "-test.run=^TestLiveNamespace$")
		cmd.Env = append(os.Environ(), "STINT_TEST_NETNS=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Skipf("no network namespace can be made here: %v", err)
		}
		end = func() { stdin.Close(); cmd.Wait() }
		t.Cleanup(end)
		if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
			t.Fatalf("the process said %q, %v", line, err)
		}
		for _, dir := range l.dirs {
			if err := os.WriteFile(dir+l.name+"/"+id(digit)+"/cgroup.procs", []byte(fmt.Sprint(cmd.Process.Pid)), 0); err != nil {
				t.Fatal(err)
			}
		}
		return end
	}
	end := start("a", syscall.CLONE_NEWNET)
	start("b", 0)
	s := liveSource(t)
	at := uint64(time.Now().UnixNano())
	scrapeOnce(t, s, at)
	entityOf := func(digit string) *entity {
		for _, e := range s.list {
			if e.id == id(digit) {
				return e
			}
		}
		t.Fatalf("container %s is not known", digit)
		return nil
	}
	own, host := entityOf("a"), entityOf("b")
	if !own.net.shown || own.net.inode == 0 || own.net.inode == s.networks.host {
		t.Errorf("the namespace: shown %v, inode %d, the host's %d", own.net.shown, own.net.inode, s.networks.host)
	}
	if host.net.shown || host.net.proc < 0 {
		t.Errorf("the host's: shown %v, process %d", host.net.shown, host.net.proc)
	}
	proc, err := unix.Dup(own.net.proc)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(proc)
	end()
	if fd, err := unix.Openat(proc, "net/dev", unix.O_RDONLY, 0); err == nil {
		unix.Close(fd)
		t.Error("the namespace is there after the end of its process")
	}
	if scrapeOnce(t, s, at+interval); entityOf("a").net.shown || entityOf("a").net.proc >= 0 {
		t.Error("it is shown after the end of its process")
	}
}
