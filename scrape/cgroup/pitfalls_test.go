package cgroup

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"stint/export/otlp"
)

const interval = uint64(10 * time.Second)

// docker is the cgroup of a container outside Kubernetes.
func docker(digit string) string { return "/docker/" + id(digit) }

func cpuTimeOf(f *found, digit string) string {
	return f.value("container.id="+id(digit), "container.cpu.time", "")
}

// startOf is the start time of a container's CPU time in ticks after the first scrape.
func startOf(t *testing.T, f *found, digit string) uint64 {
	t.Helper()
	p := f.point("container.id="+id(digit), "container.cpu.time", "")
	if p == nil {
		t.Fatalf("no point of container %s in\n%s", digit, f.text())
	}
	return (p.StartTimeUnixNano - tick) / interval
}

// Pitfall 11: each controller by itself, from /proc/1/cgroup and mountinfo.
func TestHierarchies(t *testing.T) {
	const v1, v2, none = "/sys/fs/cgroup/", "v2 ", "-"
	for name, tc := range map[string]struct {
		layout, cgroup, mountinfo, controllers string // of the layout, unless given
		want                                   [controllers]string
		tree                                   string
	}{
		"v1":     {layout: "v1", want: [controllers]string{v1 + "cpu,cpuacct", v1 + "cpu,cpuacct", v1 + "memory", v1 + "blkio", v1 + "pids", v1 + "hugetlb", none}, tree: v1 + "memory"},
		"v2":     {layout: "v2", want: [controllers]string{v2 + "/sys/fs/cgroup", v2 + "/sys/fs/cgroup", v2 + "/sys/fs/cgroup", v2 + "/sys/fs/cgroup", v2 + "/sys/fs/cgroup", v2 + "/sys/fs/cgroup", v2 + "/sys/fs/cgroup"}, tree: "/sys/fs/cgroup"},
		"hybrid": {layout: "hybrid", want: [controllers]string{v1 + "cpu", v1 + "cpuacct", v1 + "memory", v1 + "blkio", v1 + "pids", v2 + v1 + "unified", v2 + v1 + "unified"}, tree: v1 + "memory"},
		"claimed by v1 and mounted nowhere": {
			layout: "hybrid", mountinfo: mountsV1("cpu", "cpuacct", "pids") + "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
			want: [controllers]string{v1 + "cpu", v1 + "cpuacct", none, none, v1 + "pids", v2 + v1 + "unified", v2 + v1 + "unified"}, tree: v1 + "cpuacct",
		},
		"the whole tree and a part of it": {
			layout: "v2", mountinfo: "29 23 0:26 /docker/x /run/part rw - cgroup2 cgroup2 rw\n" + layouts["v2"].mountinfo + "31 23 0:26 /docker /run/other rw - cgroup2 cgroup2 rw\n",
			want: [controllers]string{v2 + "/sys/fs/cgroup", v2 + "/sys/fs/cgroup", v2 + "/sys/fs/cgroup", v2 + "/sys/fs/cgroup", v2 + "/sys/fs/cgroup", v2 + "/sys/fs/cgroup", v2 + "/sys/fs/cgroup"}, tree: "/sys/fs/cgroup",
		},
		"v2 without some controllers": {
			layout: "v2", controllers: "cpu memory\n",
			want: [controllers]string{v2 + "/sys/fs/cgroup", v2 + "/sys/fs/cgroup", v2 + "/sys/fs/cgroup", none, none, none, v2 + "/sys/fs/cgroup"}, tree: "/sys/fs/cgroup",
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t, tc.layout, Defaults(), nil)
			for path, content := range map[string]string{"/proc/1/cgroup": tc.cgroup, "/proc/1/mountinfo": tc.mountinfo, "/sys/fs/cgroup/cgroup.controllers": tc.controllers} {
				if content != "" {
					m.write(path, content)
				}
			}
			h, err := findHierarchies(m.root)
			if err != nil {
				t.Fatal(err)
			}
			var got [controllers]string
			for c, of := range h.of {
				switch {
				case of.dir == "":
					got[c] = none
				case of.v2:
					got[c] = v2 + strings.TrimPrefix(of.dir, m.root)
				default:
					got[c] = strings.TrimPrefix(of.dir, m.root)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("controllers (-want +got):\n%s", diff)
			}
			if tree := strings.TrimPrefix(h.tree, m.root); tree != tc.tree {
				t.Errorf("cgroups are looked for in %s, want %s", tree, tc.tree)
			}
		})
	}
}

func TestNothingMounted(t *testing.T) {
	for enabled, want := range map[string]error{"auto": nil, "true": errNoCgroups} {
		cfg := Defaults()
		cfg.Enabled = enabled
		m := newMachine(t, "v2", cfg, nil)
		m.write("/proc/1/mountinfo", "23 1 8:1 / / rw - ext4 /dev/sda1 rw\n")
		if f := m.scrape(); !errors.Is(f.err, want) {
			t.Errorf("enabled %s: %v, want %v", enabled, f.err, want)
		}
		m.write("/proc/1/mountinfo", layouts["v2"].mountinfo)
		m.cgroup("v2", docker("1"))
		m.at += rareness
		if f := m.scrape(); f.err != nil || len(f.resources) != 1 {
			t.Errorf("enabled %s, mounted later: %v\n%s", enabled, f.err, f.text())
		}
	}
	m := newMachine(t, "v2", Defaults(), nil)
	m.write("/proc/1/cgroup", "garbage\n")
	if f := m.scrape(); f.err == nil || !strings.Contains(f.err.Error(), "/proc/1/cgroup") {
		t.Errorf("a broken /proc/1/cgroup: %v", f.err)
	}
}

// Pitfall 5: a new container has counters of its own, which began after the last scrape. So
// has one that was started again under its old id.
func TestRestart(t *testing.T) {
	for _, layout := range []string{"v1", "v2", "hybrid"} {
		m := newMachine(t, layout, Defaults(), nil)
		m.cgroup(layout, docker("1"))
		if f := m.scrape(); startOf(t, f, "1") != 0 {
			t.Errorf("%s: a container that was there: %s", layout, f.text())
		}
		m.scrape()
		m.remove(layout, docker("1"))
		m.cgroup(layout, docker("2"))
		f := m.scrape()
		if cpuTimeOf(f, "1") != "none" || startOf(t, f, "2") != 1 {
			t.Errorf("%s: another container: %s", layout, f.text())
		}
		m.remove(layout, docker("2"))
		m.cgroup(layout, docker("2"))
		if f := m.scrape(); startOf(t, f, "2") != 2 || f.err != nil {
			t.Errorf("%s: the same id again: %v %s", layout, f.err, f.text())
		}
	}
}

// A counter that is lower than it was began anew; others go on.
func TestReset(t *testing.T) {
	m := newMachine(t, "v2", Defaults(), nil)
	m.cgroup("v2", docker("1"))
	m.scrape()
	m.scrape()
	dir := "/sys/fs/cgroup" + docker("1")
	m.write(dir+"/pids.current", "5\n") // not a counter
	m.write(dir+"/memory.events", "low 1\nhigh 2\nmax 1\noom 4\noom_kill 5\noom_group_kill 6\n")
	m.write(dir+"/io.stat", "8:0 rbytes=1048576 wbytes=1 rios=100 wios=200 dbytes=4096 dios=1\n")
	f := m.scrape()
	for point, want := range map[[2]string]uint64{
		{"container.memory.event.count", "container.memory.event=max"}:      1,
		{"container.memory.event.count", "container.memory.event=oom_kill"}: 0,
		{"container.disk.io", "system.device=sda disk.io.direction=write"}:  1,
		{"container.cpu.time", ""}:                                          0,
		{"container.thread.count", ""}:                                      0,
	} {
		if p := f.point("", point[0], point[1]); p == nil || (p.StartTimeUnixNano-tick)/interval != want {
			t.Errorf("%v: %v, want it since tick %d", point, p, want)
		}
	}
	if f.point("", "container.disk.io", "system.device=253:7 disk.io.direction=read") != nil {
		t.Error("a device that is gone still has points")
	}
	m.write(dir+"/io.stat", "8:0 rbytes=1048576 wbytes=1 rios=100 wios=200\n253:7 rbytes=10 wbytes=0 rios=1 wios=0\n")
	if p := m.scrape().point("", "container.disk.io", "system.device=253:7 disk.io.direction=read"); p == nil || (p.StartTimeUnixNano-tick)/interval != 2 {
		t.Errorf("a device that came back: %v, want it since tick 2", p)
	}
}

// A container that goes while it is read costs its points, not those of others, and no error.
func TestVanishesInTheMiddle(t *testing.T) {
	paths := []string{"/kubepods/pod" + uid1 + "/" + id("a"), "/kubepods/pod" + uid1 + "/" + id("e")}
	var m *machine
	asked, at := 0, 0
	m = newMachine(t, "v2", Defaults(), func(uid string) *Pod {
		if asked++; asked == at { // the sweep has seen it, and its turn is next
			for _, path := range paths {
				m.remove("v2", path)
			}
		}
		return lookup(uid)
	})
	for _, path := range paths {
		m.cgroup("v2", path)
	}
	at = 2 // after the pod
	f := m.scrape()
	if f.err != nil || f.point("container.id", "container.cpu.time", "") != nil || len(m.list) != 1 {
		t.Errorf("%d cgroups, %v\n%s", len(m.list), f.err, f.text())
	}
	if f := m.scrape(); f.err != nil {
		t.Error(f.err)
	}
}

// What a file does not tell has no points; the error names the file; all others go on.
func TestGarbage(t *testing.T) {
	for _, layout := range []string{"v1", "v2"} {
		m := newMachine(t, layout, Defaults(), nil)
		m.cgroup(layout, docker("1"))
		m.cgroup(layout, docker("2"))
		whole := m.scrape()
		for _, garbage := range []string{"", "garbage\n", "-7\n", "usage_usec x\ntotal_rss 1x\nanon\n", "\x00\xff", "some avg10=0\n", "8:0 rbytes\n"} {
			for dir, names := range map[string][]string{
				m.dirs(layout, docker("1"))["memory"]:  {"memory.stat", "memory.usage_in_bytes", "memory.oom_control", "memory.failcnt"},
				m.dirs(layout, docker("1"))["cpuacct"]: {"cpuacct.usage"},
				m.dirs(layout, docker("1"))["v2"]:      {"cpu.stat", "memory.stat", "memory.current", "memory.events", "cpu.pressure", "pids.current"},
			} {
				for _, name := range names {
					file := dir + "/" + name
					if dir == "" {
						continue
					}
					good, err := os.ReadFile(m.root + file)
					if err != nil {
						t.Fatal(err)
					}
					m.write(file, garbage)
					f := m.scrape()
					if f.err == nil || !strings.Contains(f.err.Error(), file) {
						t.Errorf("%s of %q: %v", file, garbage, f.err)
					}
					if cpuTimeOf(f, "2") != cpuTimeOf(whole, "2") || f.value("container.id="+id("1"), "container.memory.limit", "") != "536870912" {
						t.Errorf("%s of %q costs others:\n%s", file, garbage, f.text())
					}
					m.write(file, string(good))
				}
			}
		}
		if f := m.scrape(); f.err != nil || cpuTimeOf(f, "1") != cpuTimeOf(whole, "1") {
			t.Errorf("it does not recover: %v\n%s", f.err, f.text())
		}
	}
}

// Values at their edges, as dedup.md has them.
func TestNormalised(t *testing.T) {
	m := newMachine(t, "v2", Defaults(), nil)
	m.cgroup("v2", docker("1"))
	dir := "/sys/fs/cgroup" + docker("1")
	m.write(dir+"/memory.max", "max\n")
	m.write(dir+"/cpu.max", "max 100000\n")
	m.write(dir+"/pids.max", "max\n")
	m.write(dir+"/memory.current", "1000\n") // less than inactive_file
	f := m.scrape()
	old := newMachine(t, "v1", Defaults(), nil)
	old.cgroup("v1", docker("1"))
	old.write("/sys/fs/cgroup/memory"+docker("1")+"/memory.limit_in_bytes", "9223372036854771712\n")
	old.write("/sys/fs/cgroup/memory"+docker("1")+"/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\n") // before 4.13
	old.write("/sys/fs/cgroup/cpu,cpuacct"+docker("1")+"/cpu.cfs_quota_us", "-1\n")
	f1 := old.scrape()
	for _, f := range []*found{f, f1} {
		for _, metric := range []string{"container.memory.limit", "container.cpu.limit", "container.cpu.cfs.period.count"} {
			if v := f.value("", metric, ""); v != "none" {
				t.Errorf("%s is %s without a limit", metric, v)
			}
		}
		if f.err != nil {
			t.Error(f.err)
		}
	}
	if v := f.value("", "container.thread.limit", ""); v != "none" {
		t.Errorf("container.thread.limit is %s", v)
	}
	if v := f.value("", "container.memory.working_set", ""); v != "0" {
		t.Errorf("the working set is %s, want 0", v)
	}
	m.write("/proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n")
	m.at += rareness
	if v := m.scrape().value("", "container.memory.swap.usage", ""); v != "none" {
		t.Errorf("swap usage is %s on a machine without swap", v)
	}
}

// Cgroups beyond the limit are left out and counted, and taken in when there is room.
func TestLimit(t *testing.T) {
	cfg := Defaults()
	cfg.MaxCgroups = 5
	m := newMachine(t, "v2", cfg, nil)
	for i := range 8 {
		m.cgroup("v2", docker(fmt.Sprint(i)))
	}
	if f := m.scrape(); len(f.resources) != 5 || m.leftOut.Load() != 3 || f.err != nil {
		t.Errorf("%d containers, %d left out, %v", len(f.resources), m.leftOut.Load(), f.err)
	}
	m.scrape()
	if n := strings.Count(m.log.String(), "left_out=3"); n != 1 {
		t.Errorf("said %d times:\n%s", n, m.log.String())
	}
	for _, e := range slices.Clone(m.list)[:4] {
		m.remove("v2", e.path)
	}
	m.scrape() // makes room
	f := m.scrape()
	if len(f.resources) != 4 || m.leftOut.Load() != 0 || len(m.list) != 4 {
		t.Errorf("%d containers, %d left out, after four are gone", len(f.resources), m.leftOut.Load())
	}
	open := 0
	for _, e := range m.list {
		for _, fd := range e.fds {
			if fd >= 0 {
				open++
			}
		}
	}
	if open != m.open {
		t.Errorf("%d files are open, %d are counted", open, m.open)
	}
}

// With few descriptors files are opened each time.
func TestFewDescriptors(t *testing.T) {
	m := newMachine(t, "v2", Defaults(), nil)
	m.cgroup("v2", docker("1"))
	want := m.scrape().text()
	m.Close()
	m.at = tick
	m.maxOpen = 3
	if f := m.scrape(); f.text() != want || m.open != 3 {
		t.Errorf("%d files open (-want +got)\n%s", m.open, cmp.Diff(want, f.text()))
	}
}

// Without inotify all directories are read in every scrape.
func TestNoInotify(t *testing.T) {
	m := newMachine(t, "v2", Defaults(), nil)
	m.cgroup("v2", docker("1"))
	m.scrape()
	m.tree.close()
	for _, n := range []*node{m.tree.root, m.tree.root.children["docker"]} {
		n.watch = -1
	}
	m.cgroup("v2", docker("2"))
	m.remove("v2", docker("1"))
	if f := m.scrape(); cpuTimeOf(f, "1") != "none" || cpuTimeOf(f, "2") == "none" {
		t.Errorf("%s", f.text())
	}
}

// When the kernel's queue of events ran over, all directories are read again. And directories
// that nobody tells of are, once in five minutes.
func TestMissedEvents(t *testing.T) {
	for name, miss := range map[string]func(m *machine){
		"overflow": func(m *machine) { m.tree.event(-1, unix.IN_Q_OVERFLOW, nil, m.vanish) },
		"silence":  func(m *machine) { m.at += everything },
	} {
		m := newMachine(t, "v2", Defaults(), nil)
		m.cgroup("v2", docker("1"))
		m.scrape()
		m.cgroup("v2", docker("2"))
		m.remove("v2", docker("1"))
		for { // lose what the kernel has to tell
			if n, err := unix.Read(m.tree.inotify, m.tree.events[:]); n <= 0 || err != nil {
				break
			}
		}
		miss(m)
		if f := m.scrape(); cpuTimeOf(f, "1") != "none" || cpuTimeOf(f, "2") == "none" {
			t.Errorf("%s: %s", name, f.text())
		}
	}
}

// The sandbox of a pod is left out: the first cgroup of a pod if its pod does not list it,
// and where no pods are known one whose process is called pause.
func TestSandbox(t *testing.T) {
	pod := "/kubepods/burstable/pod" + uid1
	known := &Pod{}
	m := newMachine(t, "v2", Defaults(), func(string) *Pod { return known })
	var ids []string // in the order of their inode numbers, as the kernel makes them
	inode := map[string]uint64{}
	for _, digit := range []string{"1", "2", "3"} {
		m.cgroup("v2", pod+"/"+id(digit))
		var st unix.Stat_t
		if err := unix.Stat(m.root+"/sys/fs/cgroup"+pod+"/"+id(digit), &st); err != nil {
			t.Fatal(err)
		}
		ids, inode[digit] = append(ids, digit), st.Ino
	}
	slices.SortFunc(ids, func(a, b string) int { return int(inode[a]) - int(inode[b]) })
	known.Containers = []Container{{ID: id(ids[1]), Resource: []otlp.KeyValue{otlp.Attr("k8s.container.name", "app")}}}
	var f *found
	for range patience + 1 {
		f = m.scrape()
	}
	if cpuTimeOf(f, ids[0]) != "none" || cpuTimeOf(f, ids[1]) == "none" || cpuTimeOf(f, ids[2]) == "none" {
		t.Errorf("want all but %s, and the last though it is not listed yet:\n%s", ids[0], f.text())
	}
	// A runtime without sandboxes: the list comes late and has the first one, too.
	known = &Pod{Containers: []Container{{ID: id(ids[0])}, {ID: id(ids[1])}, {ID: id(ids[2])}}}
	if f = m.scrape(); cpuTimeOf(f, ids[0]) == "none" {
		t.Errorf("a container that is listed is left out:\n%s", f.text())
	}

	m = newMachine(t, "v2", Defaults(), nil)
	for digit, procs := range map[string]string{"1": "4242\n", "2": "4243\n", "3": "4242\n4243\n", "4": "0\n", "5": ""} {
		m.cgroup("v2", pod+"/"+id(digit))
		m.write("/sys/fs/cgroup"+pod+"/"+id(digit)+"/cgroup.procs", procs)
	}
	m.write("/proc/4242/comm", "pause\n")
	m.write("/proc/4243/comm", "nginx\n")
	f = m.scrape()
	for _, digit := range []string{"1", "2", "3", "4", "5"} {
		if left := cpuTimeOf(f, digit) == "none"; left != (digit == "1") {
			t.Errorf("container %s is left out: %v", digit, left)
		}
	}
}

// A container waits for its name, but not for ever; its start is the container's when that is
// known at once, and never changes.
func TestNames(t *testing.T) {
	path := "/kubepods/burstable/pod" + uid1 + "/" + id("a")
	started := time.Unix(0, int64(tick)).Add(-time.Hour)
	named := &Pod{
		Resource:   []otlp.KeyValue{otlp.Attr("k8s.pod.name", "web-0")},
		Containers: []Container{{ID: id("a"), Resource: []otlp.KeyValue{otlp.Attr("k8s.container.name", "app")}, Started: started}},
	}
	var known *Pod
	m := newMachine(t, "v2", Defaults(), func(string) *Pod { return known })
	m.cgroup("v2", path)
	if f := m.scrape(); len(f.resources) != 0 {
		t.Errorf("unnamed at once:\n%s", f.text())
	}
	known = named
	f := m.scrape()
	if p := f.point("k8s.pod.name=web-0 k8s.container.name=app", "container.cpu.time", ""); p == nil || p.StartTimeUnixNano != uint64(started.UnixNano()) {
		t.Errorf("named in time: %v\n%s", p, f.text())
	}
	known = &Pod{Resource: named.Resource, Containers: []Container{{ID: id("b")}}} // its successor
	m.scrape()
	known = nil // and then the pod is gone, its cgroup not yet
	if f := m.scrape(); f.point("k8s.container.name=app", "container.cpu.time", "") == nil {
		t.Errorf("the name is lost:\n%s", f.text())
	}

	known = nil
	m = newMachine(t, "v2", Defaults(), func(string) *Pod { return known })
	m.cgroup("v2", path)
	for range patience {
		m.scrape()
	}
	if f := m.scrape(); cpuTimeOf(f, "a") == "none" || startOf(t, f, "a") != 2 && startOf(t, f, "a") != 0 {
		t.Errorf("never named:\n%s", f.text())
	}
	known = named
	if f := m.scrape(); f.point("k8s.container.name=app", "container.cpu.time", "") == nil || startOf(t, f, "a") != 0 {
		t.Errorf("named late:\n%s", f.text())
	}
}

// Units are for machines without pods, unless asked for.
func TestUnits(t *testing.T) {
	for units, want := range map[string][2]string{"auto": {"81.234567d", "none"}, "true": {"81.234567d", "81.234567d"}, "false": {"none", "none"}} {
		cfg := Defaults()
		cfg.Units = units
		m := newMachine(t, "v2", cfg, nil)
		m.cgroup("v2", "/system.slice/ssh.service")
		if got := m.scrape().value("", "systemd.unit.cpu.time", "systemd.unit.name=ssh.service"); got != want[0] {
			t.Errorf("units %s without pods: %s, want %s", units, got, want[0])
		}
		m.cgroup("v2", "/kubepods.slice")
		if got := m.scrape().value("", "systemd.unit.cpu.time", "systemd.unit.name=ssh.service"); got != want[1] {
			t.Errorf("units %s with pods: %s, want %s", units, got, want[1])
		}
		if units == "auto" && m.open != 0 {
			t.Errorf("%d files are still open", m.open)
		}
	}
}

func TestConfig(t *testing.T) {
	if err := Defaults().Check(); err != nil {
		t.Error(err)
	}
	bad := Config{Enabled: "yes", Units: "", MaxCgroups: 0}
	err := bad.Check()
	for _, path := range []string{"scrape.cgroup.enabled", "scrape.cgroup.units", "scrape.cgroup.max_cgroups"} {
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("no fault of %s in %v", path, err)
		}
	}
}
