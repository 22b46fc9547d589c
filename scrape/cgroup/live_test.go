package cgroup

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"stint/export/otlp"
	"stint/scrape/series"
)

// live is a directory of cgroups of this machine's kernel, in every hierarchy that is used.
type live struct {
	t    testing.TB
	dirs []string // of the hierarchies
	v2   bool
	name string
	made []string
}

func newLive(t testing.TB) *live {
	h, err := findHierarchies("")
	if err != nil {
		t.Skipf("no cgroups here: %v", err)
	}
	l := &live{t: t, v2: h.of[ctlMemory].v2, name: fmt.Sprintf("/stint-test-%d", os.Getpid())}
	for _, c := range h.of {
		if c.dir != "" && (l.v2 || !c.v2) && !slices.Contains(l.dirs, c.dir) {
			l.dirs = append(l.dirs, c.dir)
		}
	}
	t.Cleanup(l.remove)
	l.mkdir("")
	return l
}

// mkdir makes a cgroup, below the test's own.
func (l *live) mkdir(path string) {
	l.t.Helper()
	for _, dir := range l.dirs {
		if err := os.Mkdir(dir+l.name+path, 0o755); err != nil {
			l.t.Skipf("no cgroups may be made here: %v", err)
		}
		l.made = append(l.made, dir+l.name+path)
		if l.v2 { // what is below may have the controllers
			os.WriteFile(dir+l.name+path+"/cgroup.subtree_control", []byte("+cpu +memory +io +pids"), 0)
		}
	}
}

func (l *live) remove() {
	for _, dir := range slices.Backward(l.made) {
		if err := os.Remove(dir); err != nil {
			l.t.Error(err)
		}
	}
	l.made = nil
}

// file is the content of a file of a cgroup, wherever it is, or empty.
func (l *live) file(path, name string) string {
	for _, dir := range l.dirs {
		if b, err := os.ReadFile(dir + l.name + path + "/" + name); err == nil {
			return strings.TrimSpace(string(b))
		}
	}
	return ""
}

func (l *live) set(path, name, value string) {
	l.t.Helper()
	for _, dir := range l.dirs {
		file := dir + l.name + path + "/" + name
		if _, err := os.Stat(file); err == nil {
			if err := os.WriteFile(file, []byte(value), 0); err != nil {
				l.t.Fatal(err)
			}
			return
		}
	}
	l.t.Skipf("no %s here", name)
}

// wordOf is the number behind a word in a file of lines.
func wordOf(content, word string) uint64 {
	for l := range strings.Lines(content) {
		if f := strings.Fields(l); len(f) == 2 && f[0] == word {
			n, _ := strconv.ParseUint(f[1], 10, 64)
			return n
		}
	}
	return 0
}

func liveSource(t testing.TB) *Cgroups { return liveNamed(t, series.SemConv) }

func liveNamed(t testing.TB, names string) *Cgroups {
	s, err := New(withNames(names), "/", nil, "", nil, nil, 0, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// busy is what the process in the live test's cgroup does.
func busy(cgroups, file string) error {
	for dir := range strings.SplitSeq(cgroups, ",") {
		if err := os.WriteFile(dir+"/cgroup.procs", []byte("0"), 0); err != nil {
			return err
		}
	}
	memory := make([]byte, 16<<20)
	for i := range memory {
		memory[i] = byte(i)
	}
	// Direct I/O is charged to who asks for it, on v1 too. It wants an aligned buffer.
	if fd, err := unix.Open(file, unix.O_CREAT|unix.O_WRONLY|unix.O_DIRECT, 0o600); err == nil {
		at := -uintptr(unsafe.Pointer(&memory[0])) & 4095
		for range 4 {
			if _, err := unix.Write(fd, memory[at:at+1<<20]); err != nil {
				break
			}
		}
		unix.Close(fd)
	}
	var u syscall.Rusage
	for cpu := time.Duration(0); cpu < 300*time.Millisecond; { // of 0.2 CPUs: throttled
		for i := range memory {
			memory[i]++
		}
		syscall.Getrusage(syscall.RUSAGE_SELF, &u)
		cpu = time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	fmt.Println("done")
	io.Copy(io.Discard, os.Stdin)
	return nil
}

// A busy process in a cgroup with limits: what is sent is what the kernel's files say.
func TestLive(t *testing.T) {
	if cgroups := os.Getenv("STINT_TEST_CGROUPS"); cgroups != "" {
		if err := busy(cgroups, os.Getenv("STINT_TEST_FILE")); err != nil {
			t.Fatal(err)
		}
		return
	}
	l := newLive(t)
	path, io := "/"+id("d"), t.TempDir()
	l.mkdir(path)
	if l.v2 {
		l.set(path, "cpu.max", "20000 100000")
		l.set(path, "memory.max", "67108864")
	} else {
		// Since 6.10 the throttler counts, on a device, from when a limit is set on it (or BFQ
		// schedules it): without either, v1 knows nothing of I/O.
		var st unix.Stat_t
		if err := unix.Stat(io, &st); err != nil {
			t.Fatal(err)
		}
		limit := fmt.Sprintf("%d:%d %d", unix.Major(st.Dev), unix.Minor(st.Dev), 10<<30)
		for _, dir := range l.dirs {
			os.WriteFile(dir+l.name+path+"/blkio.throttle.write_bps_device", []byte(limit), 0) // not of a partition
		}
		l.set(path, "cpu.cfs_quota_us", "20000")
		l.set(path, "memory.limit_in_bytes", "67108864")
	}
	s := liveSource(t)
	begin := uint64(time.Now().UnixNano())
	scrapeOnce(t, s, begin)

	var dirs []string
	for _, dir := range l.dirs {
		dirs = append(dirs, dir+l.name+path)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestLive$")
	cmd.Env = append(os.Environ(), "STINT_TEST_CGROUPS="+strings.Join(dirs, ","), "STINT_TEST_FILE="+filepath.Join(io, "written"), "GOMAXPROCS=1", "GOGC=off")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end := sync.OnceValue(func() error { stdin.Close(); return cmd.Wait() })
	t.Cleanup(func() { end() })
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "done\n" {
		t.Fatalf("the busy process said %q, %v", line, err)
	}
	before := l.snapshot(path)
	f := scrapeOnce(t, s, begin+uint64(10*time.Second))
	after := l.snapshot(path)
	if f.err != nil {
		t.Error(f.err)
	}
	for _, metric := range []string{
		"container.cpu.time", "container.cpu.cfs.throttled_period.count", "container.cpu.cfs.throttled.time", "container.cpu.limit",
		"container.memory.usage", "container.memory.rss", "container.memory.limit", "container.thread.count",
		"container.disk.io", "container.disk.operations",
	} {
		attrs := ""
		if strings.HasPrefix(metric, "container.disk") {
			attrs = "system.device=" + l.device(path) + " disk.io.direction=write"
			if l.device(path) == "" {
				t.Logf("%s: the kernel does not tell of I/O in %s", metric, io)
				continue
			}
		}
		p := f.point("container.id="+id("d"), metric, attrs)
		if p == nil {
			t.Errorf("no point %s{%s}", metric, attrs)
			continue
		}
		got := p.GetAsDouble() + float64(p.GetAsInt())
		if low, high := before[metric], after[metric]; got < min(low, high)*0.999 || got > max(low, high)*1.001 || got == 0 {
			t.Errorf("%s is %v, the kernel said %v and %v", metric, got, low, high)
		}
	}

	// Pitfall 3: a file that was kept open tells of the cgroup's end. Without inotify it is
	// the only one to do so.
	if err := end(); err != nil {
		t.Error(err)
	}
	for _, e := range s.list {
		if e.id == id("d") && e.choice > 0 {
			t.Logf("block I/O is told by %s", s.files[e.choice-1].name)
		}
	}
	open := s.open
	l.remove()
	s.tree.close()
	for i, e := range s.list {
		if e.id == id("d") {
			if b, errno := s.content(e, 0); errno != unix.ENODEV {
				t.Errorf("a file of a removed cgroup: %d bytes, %v, want ENODEV", len(b), errno)
			}
			s.list[i].fds[0] = fdClosed // and one that is not open, ENOENT
		}
	}
	f = scrapeOnce(t, s, begin+uint64(20*time.Second))
	if f.err != nil || f.point("container.id="+id("d"), "container.cpu.time", "") != nil {
		t.Errorf("after the cgroup's end: %v\n%s", f.err, f.text())
	}
	if s.open >= open || slices.ContainsFunc(s.list, func(e *entity) bool { return e.id == id("d") }) {
		t.Errorf("%d files open, %d before the cgroup's end", s.open, open)
	}
}

// A process that the kernel kills for want of memory is counted, whatever is known of others.
func TestLiveKill(t *testing.T) {
	l := newLive(t)
	path := "/" + id("d")
	l.mkdir(path)
	s := liveSource(t)
	at := uint64(time.Now().UnixNano())
	killed := func() string {
		at += uint64(10 * time.Second)
		f := scrapeOnce(t, s, at)
		if f.err != nil {
			t.Error(f.err)
		}
		return f.value("container.id="+id("d"), "container.memory.event.count", "container.memory.event=oom_kill")
	}
	for range 3 {
		if got := killed(); got != "0" {
			t.Skipf("%s killed before anything was", got)
		}
	}
	if l.v2 {
		l.set(path, "memory.max", "8388608")
	} else {
		l.set(path, "memory.limit_in_bytes", "8388608")
	}
	var dirs []string
	for _, dir := range l.dirs {
		dirs = append(dirs, dir+l.name+path)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestLive$")
	cmd.Env = append(os.Environ(), "STINT_TEST_CGROUPS="+strings.Join(dirs, ","), "STINT_TEST_FILE="+filepath.Join(t.TempDir(), "written"), "GOMAXPROCS=1", "GOGC=off")
	if err := cmd.Run(); err == nil {
		t.Skip("nothing was killed: there is swap")
	}
	want := wordOf(l.file(path, "memory.oom_control")+"\n"+l.file(path, "memory.events"), "oom_kill")
	if got := killed(); want == 0 || got != strconv.FormatUint(want, 10) {
		t.Errorf("%s killed, the kernel said %d", got, want)
	}
}

// device is the device that the container of the live test wrote to, as its files say.
func (l *live) device(path string) string {
	for _, name := range []string{"io.stat", "blkio.bfq.io_service_bytes_recursive", "blkio.throttle.io_service_bytes_recursive"} {
		if number, _, ok := strings.Cut(l.file(path, name), " "); ok && strings.Contains(number, ":") {
			link, _ := os.Readlink("/sys/dev/block/" + number)
			return filepath.Base(link)
		}
	}
	return ""
}

// snapshot reads the same figures as the source does, in another way.
func (l *live) snapshot(path string) map[string]float64 {
	get := func(name string) float64 { v, _ := strconv.ParseFloat(l.file(path, name), 64); return v }
	cpu, stat := l.file(path, "cpu.stat"), l.file(path, "memory.stat")
	m := map[string]float64{
		"container.cpu.cfs.throttled_period.count": float64(wordOf(cpu, "nr_throttled")),
		"container.thread.count":                   get("pids.current"),
		"container.cpu.limit":                      0.2,
		"container.memory.limit":                   64 << 20,
	}
	if l.v2 {
		m["container.cpu.time"] = float64(wordOf(cpu, "usage_usec")) / 1e6
		m["container.cpu.cfs.throttled.time"] = float64(wordOf(cpu, "throttled_usec")) / 1e6
		m["container.memory.usage"], m["container.memory.rss"] = get("memory.current"), float64(wordOf(stat, "anon"))
		for word := range strings.FieldsSeq(l.file(path, "io.stat")) {
			if v, ok := strings.CutPrefix(word, "wbytes="); ok {
				m["container.disk.io"], _ = strconv.ParseFloat(v, 64)
			} else if v, ok := strings.CutPrefix(word, "wios="); ok {
				m["container.disk.operations"], _ = strconv.ParseFloat(v, 64)
			}
		}
		return m
	}
	m["container.cpu.time"] = get("cpuacct.usage") / 1e9
	m["container.cpu.cfs.throttled.time"] = float64(wordOf(cpu, "throttled_time")) / 1e9
	m["container.memory.usage"], m["container.memory.rss"] = get("memory.usage_in_bytes"), float64(wordOf(stat, "total_rss"))
	for metric, name := range map[string]string{"container.disk.io": "io_service_bytes_recursive", "container.disk.operations": "io_serviced_recursive"} {
		for _, scheduler := range []string{"throttle.", "bfq."} {
			for line := range strings.Lines(l.file(path, "blkio."+scheduler+name)) {
				if f := strings.Fields(line); len(f) == 3 && f[1] == "Write" {
					m[metric], _ = strconv.ParseFloat(f[2], 64)
				}
			}
		}
	}
	return m
}

// podsOf makes the cgroups of pods with two containers each, as a kubelet with the cgroupfs
// driver does.
func (l *live) podsOf(n int) {
	l.mkdir("/kubepods")
	l.mkdir("/kubepods/burstable")
	for i := range n {
		pod := fmt.Sprintf("/kubepods/burstable/pod%08x-0000-4000-8000-000000000000", i)
		l.mkdir(pod)
		for c := range 2 {
			l.mkdir(pod + fmt.Sprintf("/%064x", 2*i+c))
		}
	}
}

// BenchmarkScrape reads 110 pods with two containers each of this machine's kernel.
// cpu-ns/op is user and system time of the process.
func BenchmarkScrape(b *testing.B) {
	for _, names := range []string{series.SemConv, series.Prometheus, series.Both} {
		b.Run("names="+names, func(b *testing.B) { benchmarkScrape(b, names) })
	}
}

func benchmarkScrape(b *testing.B, names string) {
	l := newLive(b)
	l.podsOf(110)
	s := liveNamed(b, names)
	s.appear = func(n *node, early bool) { // not those of others, who may be testing, too
		if strings.HasPrefix(n.path, l.name) {
			s.appeared(n, early)
		}
	}
	bytes, points := 0, 0
	at, step := time.Unix(1800000000, 0), time.Microsecond
	scrape := func() {
		at = at.Add(step)
		if err := s.Scrape(b.Context(), 0, at, func(_ *otlp.Group, data []byte, n int) { bytes += len(data); points += n }); err != nil {
			b.Fatal(err)
		}
	}
	for range patience + 2 {
		scrape()
	}
	run := func(name string, which kinds, every time.Duration) {
		b.Run(name, func(b *testing.B) {
			step = every
			all := slices.Clone(s.list)
			defer func() { s.list = all }()
			s.list = slices.DeleteFunc(s.list, func(e *entity) bool { return which&(1<<e.kind) == 0 })
			scrape()
			bytes, points = 0, 0
			b.ReportAllocs()
			before := cpuTimeUsed()
			for b.Loop() {
				scrape()
			}
			b.ReportMetric(float64(cpuTimeUsed()-before)/float64(b.N), "cpu-ns/op")
			b.ReportMetric(float64(points)/float64(b.N), "points/op")
			b.ReportMetric(float64(bytes)/float64(b.N), "bytes/op")
			b.ReportMetric(float64(s.open), "files")
		})
	}
	run("containers=220", containers, time.Microsecond) // nothing rare is due
	run("containers=220,pods=110", containers|pods, time.Microsecond)
	run("containers=220,pods=110,every=10s", containers|pods, 10*time.Second)
}

func cpuTimeUsed() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// A scrape in which no cgroup came or went allocates nothing.
func TestScrapeAllocatesNothing(t *testing.T) {
	for _, layout := range []string{"v1", "v2", "hybrid"} {
		cfg := Defaults()
		cfg.CPU.Detail, cfg.Memory.Detail, cfg.Disk.Detail, cfg.Threads.Detail, cfg.Hugetlb.Enabled, cfg.Units = true, true, true, true, true, "true"
		cfg.Network.Detail, cfg.Processes = true, Group{true, true}
		m := newMachine(t, layout, cfg, lookup)
		for i, path := range []string{
			"/kubepods/burstable/pod" + uid1, "/kubepods/burstable/pod" + uid1 + "/" + id("e"), "/docker/" + id("3"), "/system.slice/ssh.service",
			"/kubepods/pod" + uid2 + "/" + id("2"), // nobody knows this pod
		} {
			m.cgroup(layout, path)
			if identityOf(path).kind == container {
				m.processes(layout, path, 100*i+100, 100*i+101)
			}
		}
		for range patience + 1 {
			m.scrape()
		}
		points := 0
		if n := testing.AllocsPerRun(100, func() {
			m.at += uint64(time.Millisecond)
			points = 0
			if err := m.Scrape(t.Context(), 0, time.Unix(0, int64(m.at)), func(_ *otlp.Group, _ []byte, n int) { points += n }); err != nil {
				t.Fatal(err)
			}
		}); n != 0 || points < 50 {
			t.Errorf("%s: %v allocations in a scrape of %d points", layout, n, points)
		}
	}
}
