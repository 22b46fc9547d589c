package host

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"stint/export/otlp"
)

// writeProcess makes a process of the machine; ticks since it started, pages.
func (m *machine) writeProcess(pid int, name string, start, user, resident uint64) {
	dir := fmt.Sprintf("proc/%d/", pid)
	m.write(dir+"stat", fmt.Sprintf("%d (%s) S 1 1 1 0 -1 4194560 300 0 20 0 %d 50 0 0 20 0 3 0 %d 1048576 %d 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0\n",
		pid, name, user, start, resident))
	m.write(dir+"comm", name+"\n")
	m.write(dir+"cmdline", "/usr/bin/"+name+"\x00--password\x00hunter2\x00")
	m.write(dir+"cgroup", "4:memory:/docker/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n")
	m.write(dir+"io", "rchar: 1\nwchar: 2\nsyscr: 3\nsyscw: 4\nread_bytes: 4096\nwrite_bytes: 8192\ncancelled_write_bytes: 0\n")
}

// scrapeProcesses returns what was handed over, by pid.
func (m *machine) scrapeProcesses() map[string]*found {
	m.t.Helper()
	m.now += uint64(10 * time.Second)
	all := map[string]*found{}
	err := m.Scrape(m.t.Context(), 0, time.Unix(0, int64(m.now)), func(g *otlp.Group, data []byte, _ int) {
		rm := decode(m.t, g, data)
		for _, kv := range rm.Resource.Attributes {
			if kv.Key == "process.pid" {
				all[fmt.Sprint(kv.Value.GetIntValue())] = &found{resource: rm.Resource.Attributes, metrics: rm.ScopeMetrics[0].Metrics}
			}
		}
	})
	if err != nil {
		m.t.Error(err)
	}
	return all
}

func keys(all map[string]*found) string {
	var pids []string
	for pid := range all {
		pids = append(pids, pid)
	}
	slices.Sort(pids)
	return strings.Join(pids, " ")
}

func onlyProcess(top int, set func(*Process)) Config {
	return only(func(c *Config) {
		c.Process.Enabled, c.Process.Top = true, top
		set(&c.Process)
	})
}

// Pitfall 4: a process is a resource of its own, known by number and start.
func TestProcess(t *testing.T) {
	m := newMachine(t, onlyProcess(5, func(p *Process) { p.CommandLine, p.Detail = true, true }))
	m.writeProcess(42, "my (odd) name", 100, 200, 10)
	all := m.scrapeProcesses()
	f := all["42"]
	if f == nil {
		t.Fatalf("processes %s", keys(all))
	}
	const begin = serverBoot + uint64(time.Second)
	m.expect(f, "process.cpu.time", "cpu.mode=user", "2d", begin)
	m.absent(f, "process.cpu.time", "cpu.mode=iowait") // pitfall 18: 0 unless the kernel accounts for it
	m.expect(f, "process.memory.usage", "", fmt.Sprint(10*os.Getpagesize()), begin)
	m.expect(f, "process.memory.virtual", "", "1048576", begin)
	m.expect(f, "process.disk.io", "disk.io.direction=write", "8192", begin)
	m.expect(f, "process.thread.count", "", "3", begin)
	m.expect(f, "process.paging.faults", "system.paging.fault.type=major", "20", begin)
	// Pitfall 14: shares are of 1.
	m.expect(f, "process.memory.utilization", "", fmt.Sprintf("%gd", float64(10*os.Getpagesize())/67422392320), 0)
	m.absent(f, "process.cpu.utilization", "cpu.mode=user")
	about := attrText(f.resource)
	for _, want := range []string{"host.name=server.example", "process.executable.name=my (odd) name", "process.parent_pid=1",
		"process.command_line=/usr/bin/my (odd) name --password ***", "container.id=0123456789abcdef", "process.creation.time=2026-09-21T14:13:21.000Z"} {
		if !strings.Contains(about, want) {
			t.Errorf("resource %s\nhas no %s", about, want)
		}
	}

	m.writeProcess(42, "my (odd) name", 100, 800, 10)
	m.expect(m.scrapeProcesses()["42"], "process.cpu.utilization", "cpu.mode=user", "0.2d", 0) // 6 s of 10 on 3 CPUs

	m.writeProcess(42, "other", 5000, 7, 10) // the number is used again
	f = m.scrapeProcesses()["42"]
	m.expect(f, "process.cpu.time", "cpu.mode=user", "0.07d", serverBoot+uint64(50*time.Second))
	m.absent(f, "process.cpu.utilization", "cpu.mode=user")
	if !strings.Contains(attrText(f.resource), "process.executable.name=other") {
		t.Errorf("resource of the process before: %s", attrText(f.resource))
	}
	if err := os.RemoveAll(filepath.Join(m.root, "proc/42")); err != nil {
		t.Fatal(err)
	}
	if all = m.scrapeProcesses(); len(all)+len(scraperOf[*process](m.Host).procs) > 0 {
		t.Errorf("still there: %s", keys(all))
	}
}

// The stat file of a process that was seen before stays open. Once the process has ended, it
// tells nothing, and whoever has its number is read anew.
func TestProcessFilesStayOpen(t *testing.T) {
	h := New(onlyProcess(5, func(p *Process) { p.MinAge = 0 }), "/", "", "", nil, 0, slog.New(slog.DiscardHandler))
	defer h.Close()
	cmd := exec.Command("sleep", "infinity")
	if err := cmd.Start(); err != nil {
		t.Skip(err)
	}
	end := sync.OnceFunc(func() { cmd.Process.Kill(); cmd.Wait() })
	defer end()
	pid, at := uint64(cmd.Process.Pid), time.Unix(1900000000, 0)
	scrape := func() *process {
		at = at.Add(10 * time.Second)
		if err := h.Scrape(t.Context(), 0, at, func(*otlp.Group, []byte, int) {}); err != nil {
			t.Fatal(err)
		}
		return scraperOf[*process](h)
	}
	if q := scrape().procs[pid]; q == nil || q.fd >= 0 {
		t.Fatalf("process %d after the first scrape: %+v", pid, q)
	}
	s := scraperOf[*process](h)
	s.maxOpen = 1 << 20 // however many processes this machine has
	scrape()
	q := s.procs[pid]
	if q == nil || q.fd < 0 || s.open == 0 || s.open > len(s.procs) {
		t.Fatalf("process %d after the second scrape: %+v; %d files open", pid, q, s.open)
	}
	fd, open := q.fd, s.open
	end()
	if b, errno := s.readStat(pid, q); errno == 0 {
		t.Errorf("the stat file of a process that ended: %q", b)
	}
	if q.fd >= 0 || s.open != open-1 {
		t.Errorf("descriptor %d, was %d; %d files open, %d before the process's end", q.fd, fd, s.open, open)
	}
	self := uint64(os.Getpid())
	if b, errno := s.readStat(self, q); errno != 0 || !strings.HasPrefix(string(b), fmt.Sprint(self, " ")) || q.fd < 0 {
		t.Errorf("another process with the number: %q, %v, descriptor %d", b, errno, q.fd)
	}
	if s = scrape(); s.procs[pid] != nil {
		t.Errorf("process %d is still there", pid)
	}
	s.maxOpen = s.open
	if b, errno := s.readStat(self, &proc{fd: -1}); errno != 0 || len(b) == 0 || s.open != s.maxOpen {
		t.Errorf("with no more files to be kept open: %q, %v, %d files", b, errno, s.open)
	}
	h.Close()
	if s.open != 0 {
		t.Errorf("%d files open after the end", s.open)
	}
}

// Pitfall 4: of many, the first by CPU time and by memory are reported, and stay until they are
// far behind. Young ones and excluded ones are not.
func TestProcessTop(t *testing.T) {
	m := newMachine(t, onlyProcess(1, func(p *Process) { p.Exclude = []string{"hid*"} }))
	young := (tick - serverBoot) / 1e7 // ticks until the test began
	for pid := 101; pid <= 110; pid++ {
		m.writeProcess(pid, "p", 100, 1000, uint64(1000-pid))
	}
	m.writeProcess(201, "hidden", 100, 1000, 9999)
	m.writeProcess(202, "young", young, 1000, 9999)
	if got := keys(m.scrapeProcesses()); got != "101" {
		t.Errorf("first scrape: %s, want the one with most memory", got)
	}
	m.writeProcess(105, "p", 100, 2000, 895)
	if got := keys(m.scrapeProcesses()); got != "101 105" {
		t.Errorf("105 used most CPU time: %s", got)
	}
	m.writeProcess(106, "p", 100, 9000, 894)
	if got := keys(m.scrapeProcesses()); got != "101 105 106" {
		t.Errorf("105 is the second: %s", got)
	}
	m.writeProcess(106, "p", 100, 19000, 894)
	m.writeProcess(107, "p", 100, 9000, 893)
	if got := keys(m.scrapeProcesses()); got != "101 106 107" && got != "101 106" {
		t.Errorf("105 is the third: %s", got)
	}
	for range 5 {
		m.scrapeProcesses()
	}
	if got := keys(m.scrapeProcesses()); !strings.Contains(got, "202") {
		t.Errorf("202 is old enough: %s", got)
	}
}

func TestRedact(t *testing.T) {
	for line, want := range map[string]string{
		"db --password=x --user=me":                   "db --password=*** --user=me",
		"db --api-key x --verbose":                    "db --api-key *** --verbose",
		"env DB_PASSWORD=x TOKEN=y run":               "env DB_PASSWORD=*** TOKEN=*** run",
		"curl https://me:x@example.org/path":          "curl https://***@example.org/path",
		"/usr/bin/passwd me":                          "/usr/bin/passwd me",
		"sshd --auth-methods --port 22":               "sshd --auth-methods --port 22",
		"x --url=postgres://u:p@h/db --secret s -- y": "x --url=postgres://***@h/db --secret *** -- y",
	} {
		if got := redact(strings.Fields(line)); got != want {
			t.Errorf("redact(%q) = %q, want %q", line, got, want)
		}
	}
	if got := redact([]string{strings.Repeat("ü", 600)}); len(got) > maxCommandLine+3 {
		t.Errorf("%d bytes", len(got))
	}
}

func TestContainerID(t *testing.T) {
	const id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for cgroup, want := range map[string]string{
		"/docker/" + id: id,
		"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/cri-containerd-" + id + ".scope": id,
		"/kubepods/pod1/" + id + "/sub":         id,
		"/system.slice/sshd.service":            "",
		"/machine.slice/libpod-" + id[:20]:      "",
		"/system.slice/docker-" + id + ".scope": id,
	} {
		if got := containerID(cgroup); got != want {
			t.Errorf("containerID(%s) = %q, want %q", cgroup, got, want)
		}
	}
}

func FuzzPidstat(f *testing.F) {
	f.Add("1 (a) b) S 1 1 1 0 -1 4194560 300 0 20 0 5 50 0 0 20 0 3 0 9 1048576 7 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0 4 0 0")
	f.Fuzz(func(t *testing.T, line string) {
		var s pidstat
		if !s.parse([]byte(line)) {
			return
		}
		open, shut := strings.Index(line, "("), strings.LastIndex(line, ")")
		w := strings.FieldsFunc(line[shut+1:], func(r rune) bool { return r == ' ' || r == '\t' || r == '\n' })
		for column, got := range map[int]uint64{psParent: s.ppid, psUser: s.user, psStart: s.start, psResident: s.resident, psIOWait: s.ioWait} {
			if want, ok := uintWord(w[column]); !ok || got != want {
				t.Errorf("column %d of %q = %d", column, line, got)
			}
		}
		if string(s.comm) != line[open+1:shut] {
			t.Errorf("name of %q = %q", line, s.comm)
		}
	})
}

// BenchmarkProcesses reads 1,000 processes, of which 40 are reported.
func BenchmarkProcesses(b *testing.B) {
	root := b.TempDir()
	if err := os.CopyFS(root, os.DirFS("testdata/server")); err != nil {
		b.Fatal(err)
	}
	self, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		b.Skip(err)
	}
	for pid := 1000; pid < 2000; pid++ {
		dir := filepath.Join(root, "proc", fmt.Sprint(pid))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "stat"), self, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	for name, root := range map[string]string{"made=1000": root, "this_machine": "/"} {
		b.Run(name, func(b *testing.B) {
			h := New(onlyProcess(20, func(p *Process) { p.MinAge = 0 }), root, "", "", nil, 0, slog.New(slog.DiscardHandler))
			defer h.Close()
			at := time.Unix(1900000000, 0)
			points := 0
			scrape := func() {
				at = at.Add(10 * time.Second)
				if err := h.Scrape(b.Context(), 0, at, func(_ *otlp.Group, _ []byte, n int) { points += n }); err != nil {
					b.Fatal(err)
				}
			}
			scrape()
			points = 0
			b.ReportAllocs()
			before := cpuTimeUsed()
			for b.Loop() {
				scrape()
			}
			b.ReportMetric(float64(cpuTimeUsed()-before)/float64(b.N), "cpu-ns/op")
			b.ReportMetric(float64(points)/float64(b.N), "points/op")
			b.ReportMetric(float64(len(scraperOf[*process](h).procs)), "processes")
		})
	}
}
