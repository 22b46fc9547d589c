package host

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// processFiles adds what is read of a process with detail.
func (m *machine) processFiles(pid int, cgroup string) {
	dir := fmt.Sprintf("proc/%d/", pid)
	m.write(dir+"limits", "Limit                     Soft Limit           Hard Limit           Units     \nMax open files            1024                 524288               files     \n")
	m.write(dir+"status", "Name:\tx\nSigPnd:\t0000000000000001\nShdPnd:\t0000000000004002\nvoluntary_ctxt_switches:\t150\nnonvoluntary_ctxt_switches:\t545\n")
	m.write(dir+"smaps_rollup", "55d0-7ffd ---p 00000000 00:00 0    [rollup]\nRss:     900 kB\nPss:     412 kB\nPss_Anon: 300 kB\n")
	m.write(dir+"cgroup", "0::"+cgroup+"\n")
	for fd := range 3 {
		m.write(fmt.Sprintf("%sfd/%d", dir, fd), "")
	}
}

func TestProcessDetail(t *testing.T) {
	m := newMachine(t, onlyProcess(5, func(p *Process) { p.Detail, p.PSS = true, true }))
	m.writeProcess(42, "x", 100, 200, 10)
	m.processFiles(42, "/system.slice/x.service")
	f := m.scrapeProcesses()["42"]
	const begin = serverBoot + uint64(time.Second)
	m.expect(f, "process.unix.file_descriptor.count", "", "3", begin)
	m.expect(f, "process.unix.file_descriptor.limit", "", "1024", begin)
	m.expect(f, "process.context_switches", "process.context_switch.type=voluntary", "150", begin)
	m.expect(f, "process.context_switches", "process.context_switch.type=involuntary", "545", begin)
	m.expect(f, "process.signals_pending", "", "3", begin)
	m.expect(f, "process.memory.linux.pss", "", "421888", begin)

	m.write("proc/42/status", "Name:\tx\n")
	m.write("proc/42/limits", "Max open files            unlimited            unlimited            files     \n")
	if err := os.RemoveAll(filepath.Join(m.root, "proc/42/fd")); err != nil {
		t.Fatal(err)
	}
	f = m.scrapeProcesses()["42"]
	for _, metric := range []string{"process.unix.file_descriptor.count", "process.unix.file_descriptor.limit", "process.signals_pending"} {
		m.absent(f, metric, "")
	}
	m.expect(f, "process.thread.count", "", "3", begin)
}

// Processes are selected by their control group, or one above it.
func TestProcessCgroups(t *testing.T) {
	for name, tc := range map[string]struct {
		include, exclude []string
		want             string
	}{
		"all":              {nil, nil, "41 42 43"},
		"a slice":          {[]string{"/system.slice"}, nil, "41 42"},
		"services":         {[]string{"/system.slice/*.service"}, nil, "41 42"},
		"exclude is first": {[]string{"/system.slice"}, []string{"/system.slice/x.service"}, "41"},
		"all but a slice":  {nil, []string{"/system.slice"}, "43"},
		"none":             {[]string{"/user.slice"}, nil, ""},
	} {
		m := newMachine(t, onlyProcess(5, func(p *Process) { p.Cgroups, p.ExcludeCgroups = tc.include, tc.exclude }))
		for pid, cgroup := range map[int]string{41: "/system.slice/ssh.service", 42: "/system.slice/x.service/worker", 43: "/kubepods/pod1"} {
			m.writeProcess(pid, "p", 100, 200, 10)
			m.write(fmt.Sprintf("proc/%d/cgroup", pid), "0::"+cgroup+"\n")
		}
		if got := keys(m.scrapeProcesses()); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}

// The kernel's own files of this process are what is read of it.
func TestProcessDetailLive(t *testing.T) {
	d := newProcDetail("/proc")
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, sized := range []bool{true, false} {
		d.sized = sized
		// Both have the directory itself open.
		if n, ok := d.files([]byte("/proc/self/fd\x00")); !ok || n != uint64(len(entries)) {
			t.Errorf("%d files, %v, want %d", n, ok, len(entries))
		}
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	if s := parsePIDStatus(status); !s.ok || s.voluntary+s.involuntary == 0 {
		t.Errorf("%+v of %s", s, status)
	}
	if n, ok := d.pss([]byte("/proc/self/smaps_rollup\x00")); !ok || n == 0 {
		t.Errorf("%d bytes, %v", n, ok)
	}
}

// What an interface is is another series when it changes; counters in /sys that fall have a new start.
func TestLinkDetail(t *testing.T) {
	m := newMachine(t, only(func(c *Config) { c.Network.Enabled, c.Network.Detail = true, true }))
	const ens5 = "network.interface.name=ens5"
	info := func(state string) string {
		return ens5 + " system.network.address=06:00:00:00:00:aa system.network.broadcast=ff:ff:ff:ff:ff:ff system.network.duplex=full system.network.operstate=" + state + " system.network.ifalias=uplink"
	}
	m.expect(m.scrape(), "system.network.interface.info", info("up"), "1", serverBoot)
	m.write("sys/class/net/ens5/operstate", "down\n")
	m.write("sys/class/net/ens5/carrier_up_count", "1\n")
	m.now += linkRefresh
	before := m.now
	f := m.scrape()
	m.absent(f, "system.network.interface.info", info("up"))
	m.expect(f, "system.network.interface.info", info("down"), "1", serverBoot)
	p := f.point("system.network.interface.carrier_change.count", ens5+" system.network.carrier=up")
	if p == nil || p.GetAsInt() != 1 || p.StartTimeUnixNano <= serverBoot || p.StartTimeUnixNano > before {
		t.Errorf("after the counter began anew: %v", p)
	}
	m.expect(f, "system.network.arp.entry.count", ens5, "3", serverBoot)
	m.expect(f, "system.network.arp.entry.count", "network.interface.name=wg0", "0", serverBoot)
}

// Counters of 32 bits go on over a wrap.
func TestWraps(t *testing.T) {
	m := newMachine(t, only(func(c *Config) { c.XFS.Enabled = true }))
	const reads = "system.device=sda1 system.xfs.group=read system.xfs.operation=calls"
	m.write("sys/fs/xfs/sda1/stats/stats", "rw 5 4294967290\n")
	m.expect(m.scrape(), "system.xfs.operation.count", reads, "4294967290", serverBoot)
	m.write("sys/fs/xfs/sda1/stats/stats", "rw 5 10\n")
	m.expect(m.scrape(), "system.xfs.operation.count", reads, "4294967306", serverBoot)
	m.write("sys/fs/xfs/sda1/stats/stats", "rw x\n")
	if f := m.scrape(); f.errs["xfs"] == nil || !strings.Contains(f.errs["xfs"].Error(), "/sys/fs/xfs/sda1/stats/stats") {
		t.Errorf("a garbled line: %v", f.errs["xfs"])
	}

	m = newMachine(t, only(func(c *Config) { c.Network.Enabled, c.Network.Detail = true, true }))
	head := "entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop icmp_error  expect_new expect_create expect_delete search_restart\n"
	row := func(found, drop string) string {
		return fmt.Sprintf("00000007 0 %s 0 00000001 0 0 0 0 0 %s 0 0 0 0 0 0\n", found, drop)
	}
	const drops = "system.network.conntrack.event=drop"
	m.write("proc/1/net/stat/nf_conntrack", head+row("1", "fffffff0")+row("2", "00000001"))
	m.expect(m.scrape(), "system.network.conntrack.event.count", drops, "4294967281", serverBoot)
	m.write("proc/1/net/stat/nf_conntrack", head+row("1", "00000010")+row("2", "00000002"))
	m.expect(m.scrape(), "system.network.conntrack.event.count", drops, "4294967314", serverBoot)
}

// The time zone is that of the machine, in winter and in summer.
func TestTimezone(t *testing.T) {
	m := newMachine(t, only(func(c *Config) { c.Clock = Detailed{true, true} }))
	m.expect(m.scrape(), "system.clock.timezone_offset", "", "19800", 0)
	b, err := os.ReadFile("testdata/New_York")
	if err != nil {
		t.Fatal(err)
	}
	m.write("etc/localtime", string(b))
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(filepath.Join(m.root, "etc/localtime"), later, later); err != nil {
		t.Fatal(err)
	}
	for day, want := range map[string]string{"2027-01-15": "-18000", "2027-07-15": "-14400"} {
		at, err := time.Parse(time.DateOnly, day)
		if err != nil {
			t.Fatal(err)
		}
		m.now = uint64(at.UnixNano())
		m.expect(m.scrape(), "system.clock.timezone_offset", "", want, 0)
	}
	if err := os.Remove(filepath.Join(m.root, "etc/localtime")); err != nil { // UTC
		t.Fatal(err)
	}
	m.now += 2 * localtimeRefresh
	m.expect(m.scrape(), "system.clock.timezone_offset", "", "0", 0)
}

// What is off costs nothing: with the defaults none of it is opened.
func TestOffOpensNothing(t *testing.T) {
	m := newMachine(t, Defaults())
	for _, garbled := range []string{"proc/locks", "proc/1/net/arp", "proc/1/net/tcp", "proc/1/net/ip_vs", "proc/1/net/ip_vs_stats",
		"sys/fs/xfs/sda1/stats/stats", "sys/fs/btrfs/0abb23a9-579b-43e6-ad30-227ef47fcb9d/commit_stats", "etc/localtime"} {
		m.write(garbled, "garbled\n")
	}
	f := m.scrape()
	for _, metric := range f.metrics {
		for _, row := range Metrics() {
			if row.Name == metric.Name && strings.Contains(row.When, "is on") {
				t.Errorf("%s is sent, which is off by default", metric.Name)
			}
		}
	}
	if len(f.errs) > 0 {
		t.Errorf("errors of what is off: %v", f.errs)
	}
	if s := scraperOf[*process](m.Host); s != nil {
		t.Error("the scraper of processes is on")
	}
}

// What is too many is left out, and said; what was there before stays.
func TestBounds(t *testing.T) {
	m := newMachine(t, only(func(c *Config) { c.Filesystem.Enabled, c.Filesystem.Detail = true, true }))
	const first = "system.device=8:1 file.lock.type=write file.lock.mechanism=posix file.lock.mode=advisory"
	m.expect(m.scrape(), "system.filesystem.lock.count", first, "1", serverBoot)
	var b strings.Builder
	for i := range maxLockKinds + 5 {
		fmt.Fprintf(&b, "%d: POSIX  ADVISORY  WRITE 1 07:%x:1 0 EOF\n", i, i)
	}
	b.WriteString("9: POSIX  ADVISORY  WRITE 1234 08:01:131074 0 EOF\n")
	m.write("proc/locks", b.String())
	f := m.scrape()
	m.expect(f, "system.filesystem.lock.count", first, "1", serverBoot)
	if n := f.count("system.filesystem.lock.count"); f.errs["filesystem"] == nil || n > maxLockKinds+1 {
		t.Errorf("%d points of locks, %v", n, f.errs["filesystem"])
	}

	m = newMachine(t, only(func(c *Config) { c.IPVS = Detailed{true, true} }))
	b.Reset()
	b.WriteString("head\nhead\nhead\nTCP  C0A80016:0CEA wlc\n")
	for i := range maxBackends + 5 {
		fmt.Fprintf(&b, "  -> 0A00%04X:0050      Masq    1      2          3\n", i)
	}
	m.write("proc/1/net/ip_vs", b.String())
	f = m.scrape()
	if n := f.count("system.network.ipvs.backend.weight"); f.errs["ipvs"] == nil || n != maxBackends {
		t.Errorf("%d backends, %v", n, f.errs["ipvs"])
	}

	m = newMachine(t, only(func(c *Config) { c.ZFS = Detailed{true, true} }))
	for i := range maxKstats {
		m.write(fmt.Sprintf("proc/spl/kstat/zfs/pool/objset-%d", i), "1 1\nname type data\nreads 4 1\n")
	}
	f = m.scrape()
	if n := len(scraperOf[*zfs](m.Host).kstats.files); f.errs["zfs"] == nil || n != maxKstats {
		t.Errorf("%d files of ZFS, %v", n, f.errs["zfs"])
	}
}

// count is how many points a metric has.
func (f *found) count(metric string) (n int) {
	for _, m := range f.metrics {
		if m.Name == metric {
			n += len(pointsOf(m))
		}
	}
	return n
}

// More units than are reported, and units that go.
func TestManyUnits(t *testing.T) {
	s := systemd{cfg: Systemd{Units: []string{"*.service"}}}
	list := func(n int) error {
		var body []byte
		text := func(v string) {
			for len(body)%4 != 0 {
				body = append(body, 0)
			}
			body = append(append(binary.LittleEndian.AppendUint32(body, uint32(len(v))), v...), 0)
		}
		for i := range n {
			for len(body)%8 != 0 {
				body = append(body, 0)
			}
			for _, v := range []string{fmt.Sprintf("u%d.service", i), "d", "loaded", "active", "running", "", fmt.Sprint("/u", i)} {
				text(v)
			}
			for len(body)%4 != 0 {
				body = append(body, 0)
			}
			body = binary.LittleEndian.AppendUint32(body, 0)
			text("")
			text("/")
		}
		head := binary.LittleEndian.AppendUint32(nil, uint32(len(body)))
		return s.list(&dbusReader{b: append(append(head, 0, 0, 0, 0), body...), order: binary.LittleEndian})
	}
	reported := func() (n int) {
		for _, u := range s.units.list {
			n += int(one(u.report))
		}
		return n
	}
	if err := list(maxUnits + 3); err != errManyUnits || reported() != maxUnits {
		t.Errorf("%d units, %v", reported(), err)
	}
	if err := list(7); err != nil || reported() != 7 || len(s.units.list) != 7 {
		t.Errorf("%d units of %d, %v", reported(), len(s.units.list), err)
	}
}
