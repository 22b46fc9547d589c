package host

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// machine is a copy of testdata/server whose files a test changes between scrapes.
type machine struct {
	t    *testing.T
	root string
	*Host
	now uint64
}

func newMachine(t *testing.T, cfg Config, change ...func(*machine)) *machine {
	t.Helper()
	m := &machine{t: t, root: t.TempDir(), now: tick}
	if err := os.CopyFS(m.root, os.DirFS("testdata/server")); err != nil {
		t.Fatal(err)
	}
	for _, c := range change {
		c(m)
	}
	m.Host = newTestHost(t, cfg, m.root)
	return m
}

// eachSwitch calls do with every switch of the groups of metrics.
func eachSwitch(cfg *Config, do func(group, name string, on *bool)) {
	v := reflect.ValueOf(cfg).Elem()
	for i := range v.NumField() {
		for j := 0; v.Field(i).Kind() == reflect.Struct && j < v.Field(i).NumField(); j++ {
			if on, ok := v.Field(i).Field(j).Addr().Interface().(*bool); ok {
				do(v.Type().Field(i).Name, v.Field(i).Type().Field(j).Name, on)
			}
		}
	}
}

// everything enables all metrics that are off by default, but those of single processes and of systemd.
func everything() Config {
	cfg := Defaults()
	eachSwitch(&cfg, func(group, name string, on *bool) {
		*on = name != "PerCPU" && name != "Remote" && group != "Process" && group != "Systemd"
	})
	cfg.Paging.Vmstat = []string{"thp_*", "nr_dirty"}
	cfg.Memory.Meminfo = []string{"DirectMap*", "VmallocTotal", "HugePages_*"}
	cfg.Netstat.Counters = []string{"TcpExt_Prune*", "Tcp_MaxConn", "Ip6_InReceives"}
	return cfg
}

// only enables one group of metrics.
func only(set func(*Config)) Config {
	cfg := Defaults()
	eachSwitch(&cfg, func(group, name string, on *bool) {
		if name == "Enabled" {
			*on = false
		}
	})
	set(&cfg)
	return cfg
}

func (m *machine) write(path, content string) {
	m.t.Helper()
	path = filepath.Join(m.root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) edit(path, old, new string) {
	m.t.Helper()
	b, err := os.ReadFile(filepath.Join(m.root, path))
	if err != nil {
		m.t.Fatal(err)
	}
	if !bytes.Contains(b, []byte(old)) {
		m.t.Fatalf("%s has no %q", path, old)
	}
	m.write(path, strings.Replace(string(b), old, new, 1))
}

// scrape scrapes ten seconds after the last time.
func (m *machine) scrape() *found {
	m.t.Helper()
	m.now += uint64(10 * time.Second)
	return scrapeAll(m.t, m.Host, m.now)
}

// expect compares a value and, unless it is 0, the start time.
func (m *machine) expect(f *found, metric, attrs, value string, start uint64) {
	m.t.Helper()
	if got := f.value(m.t, metric, attrs); got != value {
		m.t.Errorf("%s{%s} = %s, want %s", metric, attrs, got, value)
	}
	if p := f.point(metric, attrs); start != 0 && p.StartTimeUnixNano != start {
		m.t.Errorf("%s{%s} began at %d, want %d", metric, attrs, p.StartTimeUnixNano, start)
	}
}

func (m *machine) absent(f *found, metric, attrs string) {
	m.t.Helper()
	if p := f.point(metric, attrs); p != nil {
		m.t.Errorf("%s{%s} = %s, want no point", metric, attrs, valueText(p))
	}
}

const serverBoot = uint64(1790000000_000000000)

// Pitfall 2: /proc/net and /proc/self are the reader's, /proc/1 is the host's.
func TestNetworkIsThatOfPID1(t *testing.T) {
	m := newMachine(t, only(func(c *Config) { c.Network.Enabled = true }), func(m *machine) {
		m.write("proc/net/dev", "  ens5: 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1\n")
		m.write("proc/self/net/dev", "  ens5: 2 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1\n")
	})
	m.expect(m.scrape(), "system.network.io", "network.interface.name=ens5 network.io.direction=receive", "123456789012", 0)
}

// Pitfall 2: with hidepid /proc/1 is not there. Seeing the real root, the agent reports its own
// namespace and says so; in a container that would be the pod's, so it reports nothing.
func TestHiddenPID1(t *testing.T) {
	for name, tc := range map[string]struct {
		container bool
		pid, said string
	}{
		"on the host":    {false, "self", "/proc/1 is hidden"},
		"in a container": {true, "1", "/proc/1 of the host is hidden"},
	} {
		t.Run(name, func(t *testing.T) {
			var logged bytes.Buffer
			h := &Host{proc: t.TempDir(), log: slog.New(slog.NewTextHandler(&logged, nil))}
			if tc.container {
				h.root = "/host"
			}
			if got := h.findPID(); got != tc.pid || !strings.Contains(logged.String(), tc.said) {
				t.Errorf("findPID() = %q and logged %s", got, &logged)
			}
		})
	}
}

// Ends of veth pairs are left out whatever their names, unless the user names them or the
// machine is a container itself and has no other way out.
func TestVeth(t *testing.T) {
	const rx = "network.interface.name=eni5a4b3c network.io.direction=receive"
	network := func(c *Config) { c.Network.Enabled = true }
	named := only(network)
	named.Network.Include = []string{"eni*"}
	route := func(path, content string) func(*machine) {
		return func(m *machine) { m.write(path, content) }
	}
	for name, tc := range map[string]struct {
		cfg    Config
		change func(*machine)
		want   bool
	}{
		"of a pod":           {only(network), func(*machine) {}, false},
		"named":              {named, func(*machine) {}, true},
		"other route":        {only(network), route("proc/1/net/route", "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\nens5\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\neni5a4b3c\t0A01000A\t00000000\t0005\t0\t0\t0\tFFFFFFFF\t0\t0\t0\n"), false},
		"default route":      {only(network), route("proc/1/net/route", "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\neni5a4b3c\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"), true},
		"default IPv6 route": {only(network), route("proc/1/net/ipv6_route", "00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003 eni5a4b3c\n"), true},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t, tc.cfg, tc.change)
			if got := m.scrape().point("system.network.io", rx) != nil; got != tc.want {
				t.Errorf("reported: %v, want %v", got, tc.want)
			}
		})
	}
}

// Pitfall 5: the start time of the host's counters is btime as first seen. It moves when the
// clock is set; the points must not.
func TestBootTimeIsFrozen(t *testing.T) {
	m := newMachine(t, only(func(c *Config) { c.CPU.Enabled = true }))
	m.expect(m.scrape(), "system.cpu.context_switch.count", "", "1802345678", serverBoot)
	m.edit("proc/stat", "btime 1790000000", "btime 1790000077")
	m.expect(m.scrape(), "system.cpu.context_switch.count", "", "1802345678", serverBoot)
}

// The start time is left out while it is unknown, and comes in as soon as it is known.
func TestBootTimeUnknown(t *testing.T) {
	m := newMachine(t, only(func(c *Config) { c.Memory.Enabled = true }))
	stat, err := os.ReadFile(filepath.Join(m.root, "proc/stat"))
	if err != nil {
		t.Fatal(err)
	}
	m.write("proc/stat", "")
	if p := m.scrape().point("system.memory.limit", ""); p == nil || p.StartTimeUnixNano != 0 {
		t.Errorf("without /proc/stat: %v", p)
	}
	m.write("proc/stat", string(stat))
	m.expect(m.scrape(), "system.memory.limit", "", "67422392320", serverBoot)
}

// Pitfall 5: a counter of an interface or disk that is lower than before is another device's.
func TestDeviceIsReplaced(t *testing.T) {
	m := newMachine(t, only(func(c *Config) { c.Network.Enabled, c.Disk.Enabled = true, true }))
	const rx, rd = "network.interface.name=wg0 network.io.direction=receive", "system.device=md127 disk.io.direction=read"
	f := m.scrape()
	before := m.now
	m.expect(f, "system.network.io", rx, "900", serverBoot)
	m.expect(f, "system.disk.operations", rd, "10022", serverBoot)

	m.edit("proc/1/net/dev", "  900  9 ", "  50  1 ")
	m.edit("proc/diskstats", "md127 10022 0 801760", "md127 5 0 40")
	for range 2 { // the start stays where it moved to
		f = m.scrape()
		m.expect(f, "system.network.io", rx, "50", before)
		m.expect(f, "system.network.errors", rx, "0", before)
		m.expect(f, "system.disk.operations", rd, "5", before)
		m.expect(f, "system.disk.io", rd, "20480", before)
		m.expect(f, "system.network.io", "network.interface.name=ens5 network.io.direction=receive", "123456789012", serverBoot)
	}
}

// A device that comes later began to count after the last scrape; one that goes has no points.
func TestDeviceComesAndGoes(t *testing.T) {
	m := newMachine(t, only(func(c *Config) { c.Network.Enabled, c.Disk.Enabled = true, true }))
	f := m.scrape()
	before := m.now
	points := len(f.text())
	m.edit("proc/1/net/dev", "  lo:", "  tun0: 7 1 0 0 0 0 0 0 8 1 0 0 0 0 0 0\n    lo:")
	m.edit("proc/diskstats", "   8       0 sda ", "  65       0 sdq 1 0 8 1 0 0 0 0 0 1 1\n   8       0 sda ")
	f = m.scrape()
	m.expect(f, "system.network.io", "network.interface.name=tun0 network.io.direction=receive", "7", before)
	m.expect(f, "system.disk.io", "system.device=sdq disk.io.direction=read", "4096", before)
	m.expect(f, "system.disk.io", "system.device=sda disk.io.direction=read", "2056847360", serverBoot)

	m.edit("proc/1/net/dev", "  tun0: 7 1 0 0 0 0 0 0 8 1 0 0 0 0 0 0\n", "")
	m.edit("proc/diskstats", "  65       0 sdq 1 0 8 1 0 0 0 0 0 1 1\n", "")
	f = m.scrape()
	m.absent(f, "system.network.io", "network.interface.name=tun0 network.io.direction=receive")
	m.absent(f, "system.disk.io", "system.device=sdq disk.io.direction=read")
	if len(f.text()) != points {
		t.Errorf("not what it was before:\n%s", f.text())
	}
	if n := len(scraperOf[*network](m.Host).interfaces.byName) + len(scraperOf[*disk](m.Host).devices.byName); n != 9+12 {
		t.Errorf("%d devices remembered, want 21", n)
	}
}

// Pitfall 6: iowait and idle step back a little; a counter must not.
func TestIOWaitStepsBack(t *testing.T) {
	m := newMachine(t, only(func(c *Config) { c.CPU.Enabled = true }))
	m.scrape()
	m.edit("proc/stat", "98123456 33211 ", "98123400 33000 ")
	f := m.scrape()
	m.expect(f, "system.cpu.time", "cpu.mode=idle", "981234.56d", serverBoot)
	m.expect(f, "system.cpu.time", "cpu.mode=iowait", "332.11d", serverBoot)
	m.edit("proc/stat", "98123400 33000 ", "98123500 33300 ")
	f = m.scrape()
	m.expect(f, "system.cpu.time", "cpu.mode=idle", "981235d", serverBoot)
	m.expect(f, "system.cpu.time", "cpu.mode=iowait", "333d", serverBoot)
}

// Pitfalls 6 and 7: a CPU that is taken out stops having points and harms no others. If it
// comes back with more than 3 s less of idle time it was added anew.
func TestCPUHotUnplug(t *testing.T) {
	m := newMachine(t, only(func(c *Config) { c.CPU.Enabled, c.CPU.PerCPU = true, true }))
	const idle0, idle1, user1 = "cpu.mode=idle cpu.logical_number=0", "cpu.mode=idle cpu.logical_number=1", "cpu.mode=user cpu.logical_number=1"
	const line = "cpu1 348000 545 113110 24531000 8311 0 3000 2280 19000 3\n"
	f := m.scrape()
	m.expect(f, "system.cpu.time", idle1, "245310d", serverBoot)
	m.expect(f, "system.cpu.logical.count", "", "3", 0)

	m.edit("proc/stat", line, "")
	for range 3 {
		f = m.scrape()
		m.absent(f, "system.cpu.time", idle1)
		m.expect(f, "system.cpu.time", idle0, "245300d", serverBoot)
		m.expect(f, "system.cpu.logical.count", "", "2", 0)
	}
	gone := m.now

	m.edit("proc/stat", "cpu3 ", "cpu1 348100 545 113110 24530750 8311 0 3000 2280 19000 3\ncpu3 ")
	f = m.scrape() // 2.5 s back: the kernel's inaccuracy
	m.expect(f, "system.cpu.time", idle1, "245310d", serverBoot)
	m.expect(f, "system.cpu.time", user1, "3481d", serverBoot)

	m.edit("proc/stat", " 24530750 ", " 1000 ")
	f = m.scrape()
	m.expect(f, "system.cpu.time", idle1, "10d", gone+uint64(10*time.Second))
	m.expect(f, "system.cpu.time", user1, "3481d", gone+uint64(10*time.Second))
	m.expect(f, "system.cpu.time", idle0, "245300d", serverBoot)
}

// By default there is the aggregate line only, which survives hot-unplug.
func TestAggregateCPU(t *testing.T) {
	m := newMachine(t, only(func(c *Config) { c.CPU.Enabled = true }))
	for _, metric := range m.scrape().metrics {
		if n := len(pointsOf(metric)); metric.Name == "system.cpu.time" && n != 8 {
			t.Errorf("%d points of system.cpu.time, want one a mode", n)
		}
	}
}

// Pitfall 8: times in /proc/diskstats are 32-bit milliseconds. testdata/server has sda close
// to the end of the range.
func TestDiskTimesWrap(t *testing.T) {
	m := newMachine(t, only(func(c *Config) { c.Disk.Enabled = true }))
	const sda, write = "system.device=sda", "system.device=sda disk.io.direction=write"
	f := m.scrape()
	m.expect(f, "system.disk.io_time", sda, "4.294966e+06d", serverBoot)
	m.expect(f, "system.disk.operation_time", write, "4.294967e+06d", serverBoot)

	m.edit("proc/diskstats", "81920 4294967000 0 4294966000 4294960000", "81920 704 0 100 50")
	f = m.scrape()
	m.expect(f, "system.disk.operation_time", write, "4.294968e+06d", serverBoot) // the vector of dedup.md: 1.0 s more
	m.expect(f, "system.disk.io_time", sda, "4.294967396e+06d", serverBoot)
	m.expect(f, "system.disk.weighted_io_time", sda, "4.294967346e+06d", serverBoot)

	// Less than half the range back: not a wrap, and the extension goes with the old device.
	m.edit("proc/diskstats", "81920 704 0 100 50", "81920 1000 0 900 800")
	m.scrape()
	m.edit("proc/diskstats", "81920 1000 0 900 800", "81920 1000 0 899 800")
	before := m.now
	f = m.scrape()
	m.expect(f, "system.disk.io_time", sda, "0.899d", before)
	m.expect(f, "system.disk.operation_time", write, "1d", before)
}

// Pitfall 9: faults are counts, not bytes; pgpgin and pgpgout are KiB, pswpin and pswpout pages.
func TestPagingUnits(t *testing.T) {
	m := newMachine(t, only(func(c *Config) { c.Paging.Enabled = true }))
	f := m.scrape()
	m.expect(f, "system.paging.faults", "system.paging.fault.type=major", "90123", serverBoot)
	m.expect(f, "system.paging.faults", "system.paging.fault.type=minor", "812255555", serverBoot)
	m.expect(f, "system.paging.operations", "system.paging.direction=in system.paging.fault.type=major", "1201", serverBoot)
	m.expect(f, "system.paging.io", "system.paging.direction=in", "50239209472", serverBoot)

	// A major fault between its two counts makes the difference step back by one.
	m.edit("proc/vmstat", "pgmajfault 90123", "pgmajfault 90124")
	f = m.scrape()
	m.expect(f, "system.paging.faults", "system.paging.fault.type=minor", "812255555", serverBoot)
}

// Swap is switched on and off while the agent runs.
func TestSwapOnOff(t *testing.T) {
	m := newMachine(t, only(func(c *Config) { c.Paging.Enabled = true }))
	m.scrape()
	m.write("proc/swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n")
	f := m.scrape()
	m.absent(f, "system.paging.usage", "system.paging.state=used system.device=/dev/dm-1")
	m.write("proc/swaps", "Filename Type Size Used Priority\n/dev/dm-1 partition 8 4 -2\n")
	m.expect(m.scrape(), "system.paging.usage", "system.paging.state=used system.device=/dev/dm-1", "4096", serverBoot)
}

// Pitfall 10: which mounts are kept. The values show that statfs goes by f_frsize.
func TestMountsKept(t *testing.T) {
	m := newMachine(t, only(func(c *Config) { c.Filesystem.Enabled = true }))
	f := m.scrape()
	var got []string
	for _, metric := range f.metrics {
		if metric.Name == "system.filesystem.limit" {
			for _, p := range pointsOf(metric) {
				for _, kv := range p.Attributes {
					if kv.Key == "system.filesystem.mountpoint" {
						got = append(got, kv.Value.GetStringValue())
					}
				}
			}
		}
	}
	want := []string{"/run", "/", "/boot/efi", "/srv/data", "/mnt/back up\tand\nmore\\", "/mnt/broken", "/mnt/over"}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("mounts %q, want %q", got, want)
	}
	const root = "system.device=/dev/nvme0n1p2 system.filesystem.type=ext4 system.filesystem.mountpoint=/ system.filesystem.mode=rw"
	m.expect(f, "system.filesystem.limit", root, "4096000", 0)
	m.expect(f, "system.filesystem.usage", "system.filesystem.state=used "+root, "1638400", 0)
	m.expect(f, "system.filesystem.usage", "system.filesystem.state=free "+root, "2252800", 0)
	m.expect(f, "system.filesystem.usage", "system.filesystem.state=reserved "+root, "204800", 0)
	m.absent(f, "system.filesystem.inodes.usage", "system.filesystem.state=used system.device=/dev/md127 system.filesystem.type=btrfs system.filesystem.mountpoint=/srv/data system.filesystem.mode=rw")
}

// Pitfall 16: states of TCP connections cost milliseconds and are read only where that is asked for.
func TestConnectionStates(t *testing.T) {
	m := newMachine(t, only(func(c *Config) { c.Network.Enabled, c.Network.Detail = true, true }))
	m.absent(m.scrape(), "system.network.connection.count", "network.transport=tcp network.connection.state=listen")

	m = newMachine(t, only(func(c *Config) { c.Network.Enabled, c.Network.Connections = true, true }))
	const listening = "network.transport=tcp network.connection.state=listen"
	m.expect(m.scrape(), "system.network.connection.count", listening, "2", serverBoot)
	// More than fits into the buffer, and a line across its end.
	var many strings.Builder
	many.WriteString("  sl  local_address\n")
	for i := range 3000 {
		fmt.Fprintf(&many, "%4d: 0100007F:1F90 0100007F:%04X 0A 00000000:00000000 00:00000000 00000000     0        0 2 1 0000000000000000 20 4 30 10 -1\n", i, i)
	}
	m.write("proc/1/net/tcp", many.String())
	m.expect(m.scrape(), "system.network.connection.count", listening, "3001", serverBoot)
	m.write("proc/1/net/tcp", "head\n garbage\n")
	if f := m.scrape(); f.errs["network"] == nil || !strings.Contains(f.errs["network"].Error(), "/proc/1/net/tcp") {
		t.Errorf("a garbled line: %v", f.errs["network"])
	}
	if err := os.Remove(filepath.Join(m.root, "proc/1/net/tcp6")); err != nil { // IPv6 is off
		t.Fatal(err)
	}
	m.write("proc/1/net/tcp", "head\n")
	m.expect(m.scrape(), "system.network.connection.count", listening, "0", serverBoot)
}

// Pitfall 17: used is MemTotal - MemAvailable, cached is without SReclaimable.
func TestMemoryUsed(t *testing.T) {
	m := newMachine(t, only(func(c *Config) { c.Memory.Enabled = true }))
	f := m.scrape()
	m.expect(f, "system.memory.usage", "system.memory.state=used", "26243928064", 0) // (65842180 - 40213344) KiB
	m.expect(f, "system.memory.usage", "system.memory.state=cached", "33804640256", 0)

	m.edit("proc/meminfo", "HugePages_Total:     512", "HugePages_Total:       0")
	m.edit("proc/meminfo", "HardwareCorrupted:     4 kB", "HardwareCorrupted:     0 kB")
	f = m.scrape()
	m.absent(f, "system.memory.linux.hugepages.limit", "")
	m.expect(f, "system.memory.linux.hardware_corrupted", "", "0", 0) // it was not 0 once
}

// The limit on open files is left out where there is none.
func TestUnlimitedFiles(t *testing.T) {
	m := newMachine(t, only(func(c *Config) { c.System.Enabled = true }))
	m.expect(m.scrape(), "system.file_descriptor.limit", "", "6584218", 0)
	m.write("proc/sys/fs/file-nr", "12064\t64\t9223372036854775807\n")
	f := m.scrape()
	m.absent(f, "system.file_descriptor.limit", "")
	m.expect(f, "system.file_descriptor.count", "", "12000", 0)
}

// The state of a link is read every 30 s, the size of a disk every minute.
func TestRefresh(t *testing.T) {
	m := newMachine(t, only(func(c *Config) { c.Network.Enabled, c.Disk.Enabled = true, true }))
	m.scrape()
	m.write("sys/class/net/ens5/operstate", "down\n")
	m.write("sys/class/net/ens5/speed", "-1\n")
	m.write("sys/class/net/ens6/bonding_slave/mii_status", "down\n")
	m.write("sys/class/block/sda/size", "2\n")
	for i := 1; i <= 6; i++ {
		f := m.scrape()
		up, size := "1", "500107862016"
		if i >= 3 {
			up = "0"
			m.absent(f, "system.network.interface.speed", "network.interface.name=ens5")
		}
		if i >= 6 {
			size = "1024"
		}
		m.expect(f, "system.network.interface.up", "network.interface.name=ens5", up, 0)
		m.expect(f, "system.network.bond.member.count", "network.interface.name=bond0 system.network.bond.member.state=active", up, 0)
		m.expect(f, "system.disk.limit", "system.device=sda", size, 0)
	}
}

// Without /sys a partition is told by the name of its disk.
func TestPartitionsWithoutSys(t *testing.T) {
	m := newMachine(t, only(func(c *Config) { c.Disk.Enabled = true }), func(m *machine) {
		if err := os.RemoveAll(filepath.Join(m.root, "sys")); err != nil {
			m.t.Fatal(err)
		}
		m.edit("proc/diskstats", " 253       0 dm-0 ", " 253       1 dm-1 1 0 8 1 0 0 0 0 0 1 1\n 253      10 dm-10 1 0 8 1 0 0 0 0 0 1 1\n 253       0 dm-0 ")
	})
	f := m.scrape()
	for device, want := range map[string]bool{"nvme0n1": true, "nvme0n1p1": false, "sda": true, "sda1": false, "md127": true, "dm-0": true,
		"dm-1": true, "dm-10": true, "cciss/c0d0": true, "cciss/c0d0p1": false, "loop0": false, "sr0": false} {
		if got := f.point("system.disk.io_time", "system.device="+device) != nil; got != want {
			t.Errorf("%s is reported: %v, want %v", device, got, want)
		}
	}
	m.absent(f, "system.disk.limit", "system.device=sda")
}

// A file that lacks, or is not as expected, costs its own points only, and an error that
// names it. It is tried again.
func TestBrokenFiles(t *testing.T) {
	for path, lost := range map[string]string{
		"proc/stat":                              "system.cpu.time",
		"proc/loadavg":                           "system.cpu.load_average.1m",
		"proc/meminfo":                           "system.memory.usage",
		"proc/vmstat":                            "system.paging.faults",
		"proc/uptime":                            "system.uptime",
		"proc/sys/fs/file-nr":                    "system.file_descriptor.count",
		"proc/sys/kernel/pid_max":                "system.process.limit",
		"proc/sys/kernel/threads-max":            "system.process.limit",
		"proc/diskstats":                         "system.disk.io",
		"proc/1/net/dev":                         "system.network.io",
		"proc/1/net/sockstat":                    "system.network.socket.memory",
		"proc/1/net/stat/nf_conntrack":           "system.network.conntrack.count",
		"proc/swaps":                             "system.paging.usage",
		"proc/1/net/snmp":                        "system.network.tcp.segment.count",
		"proc/1/net/netstat":                     "system.network.tcp.timeout.count",
		"proc/1/net/softnet_stat":                "system.network.softnet.packet.dropped",
		"proc/pressure/memory":                   "system.memory.pressure.time",
		"proc/1/mountinfo":                       "system.filesystem.usage",
		"proc/sys/kernel/hung_task_detect_count": "system.kernel.hung_task.count",
	} {
		t.Run(path, func(t *testing.T) {
			var content []byte
			m := newMachine(t, Defaults(), func(m *machine) {
				content, _ = os.ReadFile(filepath.Join(m.root, path))
				m.write(path, "cpu MemTotal: pgfault x: x : \xff\n")
			})
			has := func(f *found) bool {
				for _, metric := range f.metrics {
					if metric.Name == lost && (lost != "system.network.socket.memory" || len(pointsOf(metric)) > 1) {
						return true
					}
				}
				return false
			}
			f := m.scrape()
			if has(f) {
				t.Errorf("garbage gave %s", lost)
			}
			said := false
			for _, err := range f.errs {
				said = said || strings.Contains(err.Error(), filepath.Base(path)) || path == "proc/1/mountinfo" && err != nil
			}
			if !said {
				t.Errorf("no error names %s: %v", path, f.errs)
			}

			m.write(path, string(content))
			m.now += mountsMaxAge
			if f = m.scrape(); !has(f) || len(f.errs) > 0 {
				t.Errorf("mended, %s is there: %v; errors: %v", lost, has(f), f.errs)
			}
		})
	}
}

// Files that not every kernel has are no error when they are missing, and are found when they
// come (a module is loaded).
func TestOptionalFiles(t *testing.T) {
	optional := []string{"proc/swaps", "proc/1/net/snmp6", "proc/pressure/cpu", "proc/pressure/irq", "proc/1/net/sockstat6", "proc/1/net/stat/nf_conntrack", "proc/sys/kernel/hung_task_detect_count"}
	m := newMachine(t, Defaults(), func(m *machine) {
		for _, path := range optional {
			if err := os.Remove(filepath.Join(m.root, path)); err != nil {
				m.t.Fatal(err)
			}
		}
	})
	f := m.scrape()
	if len(f.errs) > 0 {
		t.Errorf("missing files gave errors: %v", f.errs)
	}
	m.absent(f, "system.network.conntrack.count", "")
	m.write("proc/1/net/stat/nf_conntrack", "entries x\n0000000f 0\n")
	m.expect(m.scrape(), "system.network.conntrack.count", "", "15", 0)
}

// A missing file is told from others.
func TestMissingFileError(t *testing.T) {
	absent := []string{"netstat", "pressure", "clock", "nfs", "hw", "raid", "btrfs", "zfs", "fabric"} // without them is no error
	h := newTestHost(t, Defaults(), t.TempDir())
	f := scrapeAll(t, h, tick)
	for name, err := range f.errs {
		if !errors.Is(err, fs.ErrNotExist) && name != "filesystem" {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range h.Scrapers() {
		if f.errs[name] == nil && !slices.Contains(absent, name) {
			t.Errorf("%s has no error without its files", name)
		}
	}
	for _, m := range f.metrics {
		if !strings.HasPrefix(m.Name, "system.clock.") { // a system call
			t.Errorf("an empty root has %s", m.Name)
		}
	}
}

// A kept descriptor that cannot be read any more is opened anew, in the same scrape.
func TestReopen(t *testing.T) {
	m := newMachine(t, only(func(c *Config) { c.Memory.Enabled = true }))
	m.scrape()
	meminfo := &scraperOf[*memory](m.Host).meminfo
	null, err := unix.Open("/dev/null", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(null)
	if err := unix.Dup3(null, meminfo.FD(), unix.O_CLOEXEC); err != nil { // pread now gives EBADF
		t.Fatal(err)
	}
	f := m.scrape()
	m.expect(f, "system.memory.limit", "", "67422392320", 0)
	if len(f.errs) > 0 {
		t.Error(f.errs)
	}
	if m.Close(); meminfo.FD() != -1 {
		t.Error("still open after Close")
	}
	m.expect(m.scrape(), "system.memory.limit", "", "67422392320", 0)
}

// Content longer than a page, and longer than the buffer, is read whole.
func TestLongFile(t *testing.T) {
	m := newMachine(t, only(func(c *Config) { c.CPU.Enabled = true }))
	m.scrape()
	m.edit("proc/stat", "intr 901234567 44", "intr 901234567"+strings.Repeat(" 0", 100_000))
	m.expect(m.scrape(), "system.cpu.context_switch.count", "", "1802345678", 0)
}

// A parser that panics fails for every scraper that shares the file, and does not leave the
// values of an earlier tick behind.
func TestSharedFilePanics(t *testing.T) {
	m := newMachine(t, only(func(c *Config) { c.Load.Enabled, c.Processes.Enabled = true, true }))
	m.scrape()
	m.loadavg.parse = func(*loadavg, []byte) error { panic("boom") }
	m.now += uint64(10 * time.Second)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		m.Scrape(t.Context(), 0, time.Unix(0, int64(m.now)), nil)
	}()
	m.loadavg.mu.Lock() // released
	defer m.loadavg.mu.Unlock()
	if _, err := m.loadavg.read(m.now); err == nil {
		t.Error("the second scraper got values")
	}
}
