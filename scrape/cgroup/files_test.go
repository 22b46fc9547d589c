package cgroup

import (
	"fmt"
	"os"
	"slices"
	"testing"
)

// isOpen tells whether the file with a name is open of any cgroup.
func (m *machine) isOpen(name string) bool {
	i := slices.IndexFunc(m.files, func(f file) bool { return f.name == name })
	return i >= 0 && slices.ContainsFunc(m.list, func(e *entity) bool { return e.fds[i] >= 0 })
}

// As long as the machine counts no process that was killed for want of memory, no cgroup does;
// and a cgroup without a limit never runs into it.
func TestMemoryEventsOfV1(t *testing.T) {
	m := newMachine(t, "v1", Defaults(), nil)
	m.write("/proc/vmstat", "nr_free_pages 5\noom_kill 7\nzone_reclaim_failed 0\n")
	m.cgroup("v1", docker("1"))
	dir := "/sys/fs/cgroup/memory" + docker("1")
	m.write(dir+"/memory.limit_in_bytes", "9223372036854771712\n")
	event := func(f *found, name string) string {
		return f.value("", "container.memory.event.count", "container.memory.event="+name)
	}
	check := func(when string, f *found, killed, limit string) {
		t.Helper()
		if k, l := event(f, "oom_kill"), event(f, "max"); k != killed || l != limit || f.err != nil {
			t.Errorf("%s: oom_kill %s, max %s, %v; want %s and %s", when, k, l, f.err, killed, limit)
		}
	}
	m.scrape()
	check("in the second scrape", m.scrape(), "5", "3")
	check("in the third", m.scrape(), "5", "3")
	if m.isOpen("memory.oom_control") || m.isOpen("memory.failcnt") {
		t.Error("a file that does not change is open")
	}
	m.write(dir+"/memory.failcnt", "4\n")
	m.write(dir+"/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 6\n") // another machine's, as it were
	m.at += rareness
	check("when rare files are due", m.scrape(), "5", "3")
	m.write("/proc/vmstat", "nr_free_pages 5\noom_kill 8\n")
	check("when one was killed", m.scrape(), "6", "3")
	m.write(dir+"/memory.oom_control", "oom_kill 7\n")
	check("when the cgroup counts later than the machine", m.scrape(), "7", "3")
	m.write(dir+"/memory.oom_control", "oom_kill 8\n")
	check("and then", m.scrape(), "7", "3")
	m.write("/proc/vmstat", "nr_free_pages 5\n") // before 4.13
	check("where the machine does not count", m.scrape(), "8", "3")
	m.write(dir+"/memory.limit_in_bytes", "1048576\n")
	m.at += rareness
	check("with a limit", m.scrape(), "8", "4")
	m.write(dir+"/memory.failcnt", "5\n")
	check("with a limit, later", m.scrape(), "8", "5")
}

// Files of blkio that have no device at the root have none in any cgroup, and are not opened.
func TestRootHasNoDevices(t *testing.T) {
	m := newMachine(t, "v1", Defaults(), nil)
	root, dir := "/sys/fs/cgroup/blkio/", "/sys/fs/cgroup/blkio"+docker("1")+"/"
	m.cgroup("v1", docker("1"))
	const none, bytes = "Total 0\n", "io_service_bytes_recursive"
	m.write(dir+"blkio.bfq."+bytes, none)
	m.write(dir+"blkio.throttle."+bytes, none)
	m.write(root+"blkio.bfq."+bytes, none)
	m.write(root+"blkio.throttle."+bytes, "8:0 Read 1\n8:0 Total 1\nTotal 1\n")
	written := func(f *found) string {
		return f.value("", "container.disk.io", "system.device=sda disk.io.direction=write")
	}
	if f := m.scrape(); written(f) != "none" || f.err != nil || m.isOpen("blkio.bfq."+bytes) || !m.isOpen("blkio.throttle."+bytes) {
		t.Errorf("without I/O: open %v and %v\n%s", m.isOpen("blkio.bfq."+bytes), m.isOpen("blkio.throttle."+bytes), f.text())
	}
	row := func(n int) string { return fmt.Sprintf("8:0 Read 0\n8:0 Write %d\n8:0 Total %d\nTotal %d\n", n, n, n) }
	m.write(root+"blkio.bfq."+bytes, row(7)) // BFQ was made a device's scheduler
	m.write(dir+"blkio.bfq."+bytes, row(5))
	if f := m.scrape(); written(f) != "5" || f.err != nil {
		t.Errorf("with I/O: %s", f.text())
	}
}

// Where one of the files of pressure is absent all are, and none is looked for before a minute.
func TestNoPressure(t *testing.T) {
	m := newMachine(t, "v2", Defaults(), nil)
	m.cgroup("v2", docker("1"))
	if f := m.scrape(); f.point("", "container.memory.pressure.time", "psi.type=some") == nil || !m.isOpen("io.pressure") {
		t.Fatalf("no pressure: %s", f.text())
	}
	i := slices.IndexFunc(m.files, func(f file) bool { return f.name == "cpu.pressure" })
	open := m.open
	m.closeFile(m.list[0], i)
	m.list[0].fds[i] = fdAbsent // as after EOPNOTSUPP: cgroup.pressure is 0
	m.list[0].checked = m.at - rareness
	if err := os.Remove(m.root + "/sys/fs/cgroup" + docker("1") + "/cpu.pressure"); err != nil {
		t.Fatal(err)
	}
	if f := m.scrape(); f.point("", "container.memory.pressure.time", "psi.type=some") != nil || m.isOpen("io.pressure") || m.open != open-3 || f.err != nil {
		t.Errorf("%d files open, %d before\n%s", m.open, open, f.text())
	}
}

// On a machine without swap nobody wants to know a cgroup's.
func TestNoSwap(t *testing.T) {
	m := newMachine(t, "v2", Defaults(), nil)
	m.write("/proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n")
	m.cgroup("v2", docker("1"))
	if m.scrape(); m.isOpen("memory.swap.current") {
		t.Error("memory.swap.current is open")
	}
	m.write("/proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n/dev/sda2 partition 1000 0 -2\n")
	m.at += rareness
	if f := m.scrape(); f.value("", "container.memory.swap.usage", "") == "none" {
		t.Errorf("no use of swap: %s", f.text())
	}
}
