package host

import (
	"fmt"
	"log/slog"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	gocpu "github.com/shirou/gopsutil/v3/cpu"
	godisk "github.com/shirou/gopsutil/v3/disk"
	gopsutil "github.com/shirou/gopsutil/v3/host"
	goload "github.com/shirou/gopsutil/v3/load"
	gomem "github.com/shirou/gopsutil/v3/mem"
	gonet "github.com/shirou/gopsutil/v3/net"
	"go.uber.org/goleak"

	"github.com/prometheus/procfs"

	"stint/export/otlp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// live is this machine as gopsutil and procfs see it: values by metric{attributes}.
type live map[string]float64

func readLive(t *testing.T) live {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	l := live{}
	times, err := gocpu.Times(false)
	must(err)
	c := times[0]
	for mode, v := range map[string]float64{"user": c.User, "nice": c.Nice, "system": c.System, "idle": c.Idle,
		"iowait": c.Iowait, "interrupt": c.Irq, "softirq": c.Softirq, "steal": c.Steal} {
		l["system.cpu.time{cpu.mode="+mode+"}"] = v
	}
	fs, err := procfs.NewDefaultFS()
	must(err)
	stat, err := fs.Stat()
	must(err)
	l["system.cpu.context_switch.count{}"] = float64(stat.ContextSwitches)
	l["system.cpu.interrupt.count{}"] = float64(stat.IRQTotal)
	l["system.process.created{}"] = float64(stat.ProcessCreated)
	l["system.cpu.logical.count{}"] = float64(len(stat.CPU))

	up, err := gopsutil.Uptime()
	must(err)
	l["system.uptime{}"] = float64(up)
	avg, err := goload.Avg()
	must(err)
	l["system.cpu.load_average.15m{}"] = avg.Load15

	m, err := gomem.VirtualMemory()
	must(err)
	l["system.memory.limit{}"] = float64(m.Total)
	l["system.memory.usage{system.memory.state=free}"] = float64(m.Free)
	l["system.memory.linux.available{}"] = float64(m.Available)
	l["system.memory.linux.commit.limit{}"] = float64(m.CommitLimit)
	swap, err := gomem.SwapMemory()
	must(err)
	l["system.paging.faults{system.paging.fault.type=major}"] = float64(swap.PgMajFault) / 4096 // gopsutil takes counts for pages
	l["system.paging.faults{system.paging.fault.type=minor}"] = float64(swap.PgFault-swap.PgMajFault) / 4096
	l["system.paging.io{system.paging.direction=in}"] = float64(swap.PgIn) / 4 // KiB, and again
	l["system.paging.io{system.paging.direction=out}"] = float64(swap.PgOut) / 4

	disks, err := godisk.IOCounters()
	must(err)
	for name, d := range disks {
		for dir, v := range map[string][4]uint64{
			"read":  {d.ReadBytes, d.ReadCount, d.MergedReadCount, d.ReadTime},
			"write": {d.WriteBytes, d.WriteCount, d.MergedWriteCount, d.WriteTime}} {
			a := "{system.device=" + name + " disk.io.direction=" + dir + "}"
			l["system.disk.io"+a] = float64(v[0])
			l["system.disk.operations"+a] = float64(v[1])
			l["system.disk.merged"+a] = float64(v[2])
			l["system.disk.operation_time"+a] = float64(v[3]) / 1000
		}
		l["system.disk.io_time{system.device="+name+"}"] = float64(d.IoTime) / 1000
		l["system.disk.weighted_io_time{system.device="+name+"}"] = float64(d.WeightedIO) / 1000
	}
	nics, err := gonet.IOCounters(true)
	must(err)
	for _, n := range nics {
		for dir, v := range map[string][4]uint64{
			"receive":  {n.BytesRecv, n.PacketsRecv, n.Errin, n.Dropin},
			"transmit": {n.BytesSent, n.PacketsSent, n.Errout, n.Dropout}} {
			a := "{network.interface.name=" + n.Name + " network.io.direction=" + dir + "}"
			l["system.network.io"+a] = float64(v[0])
			l["system.network.packet.count"+a] = float64(v[1])
			l["system.network.errors"+a] = float64(v[2])
			l["system.network.packet.dropped"+a] = float64(v[3])
		}
	}
	protocols, err := gonet.ProtoCounters([]string{"tcp", "udp"})
	must(err)
	for _, p := range protocols {
		for name, key := range map[string]string{
			"tcp.InSegs":       "system.network.tcp.segment.count{network.io.direction=receive}",
			"tcp.OutSegs":      "system.network.tcp.segment.count{network.io.direction=transmit}",
			"tcp.RetransSegs":  "system.network.tcp.segment.retransmitted{}",
			"tcp.ActiveOpens":  "system.network.tcp.connection.opened{system.network.tcp.open=active}",
			"tcp.PassiveOpens": "system.network.tcp.connection.opened{system.network.tcp.open=passive}",
			"tcp.OutRsts":      "system.network.tcp.reset.transmitted{}",
			"udp.InDatagrams":  "system.network.udp.datagram.count{network.io.direction=receive network.type=ipv4}",
			"udp.OutDatagrams": "system.network.udp.datagram.count{network.io.direction=transmit network.type=ipv4}",
		} {
			if v, ok := p.Stats[strings.TrimPrefix(name, p.Protocol+".")]; ok && strings.HasPrefix(name, p.Protocol+".") {
				l[key] = float64(v)
			}
		}
	}
	for _, resource := range []string{"cpu", "memory", "io"} {
		psi, err := fs.PSIStatsForResource(resource)
		if err != nil { // the kernel does not count pressure
			continue
		}
		l["system."+resource+".pressure.time{psi.type=some}"] = float64(psi.Some.Total) / 1e6
		if psi.Full != nil && resource != "cpu" {
			l["system."+resource+".pressure.time{psi.type=full}"] = float64(psi.Full.Total) / 1e6
		}
	}
	softnet, err := fs.NetSoftnetStat()
	must(err)
	for _, cpu := range softnet { // 32-bit each: this machine has not been up for long enough to wrap
		l["system.network.softnet.packet.dropped{}"] += float64(cpu.Dropped)
		l["system.network.softnet.time_squeeze.count{}"] += float64(cpu.TimeSqueezed)
	}
	root, err := godisk.Usage("/")
	must(err)
	l["root limit"], l["root used"], l["root free"] = float64(root.Total), float64(root.Used), float64(root.Free)
	return l
}

// What is read of this machine lies between what gopsutil and procfs read before and after.
func TestLive(t *testing.T) {
	for _, path := range []string{"/proc/stat", "/proc/diskstats", "/proc/net/dev", "/proc/vmstat"} {
		if _, err := os.ReadFile(path); err != nil {
			t.Skipf("not a Linux machine as others are: %v", err)
		}
	}
	h := New(Defaults(), "/", "", "", nil, 0, slog.New(slog.DiscardHandler))
	defer h.Close()
	scrapeAll(t, h, uint64(time.Now().UnixNano())) // files are open, series encoded: the second is the usual one
	before := readLive(t)
	f := scrapeAll(t, h, uint64(time.Now().UnixNano()))
	after := readLive(t)
	for name, err := range f.errs {
		t.Errorf("%s: %v", name, err)
	}
	checked := map[string]bool{}
	for _, m := range f.metrics {
		for _, p := range pointsOf(m) {
			key := m.Name + "{" + attrText(p.Attributes) + "}"
			if strings.Contains(key, " system.filesystem.mountpoint=/ ") {
				for state, of := range map[string]string{"root used": "state=used", "root free": "state=free"} {
					if m.Name == "system.filesystem.usage" && strings.Contains(key, of) {
						key = state
					}
				}
				if m.Name == "system.filesystem.limit" {
					key = "root limit"
				}
			}
			low, ok := before[key]
			if !ok {
				continue
			}
			high := after[key]
			if m.GetSum() == nil || !m.GetSum().IsMonotonic { // levels move either way meanwhile
				slack := 0.02*max(low, high) + 2
				low, high = min(low, high)-slack, max(low, high)+slack
			}
			v, err := strconv.ParseFloat(strings.TrimSuffix(valueText(p), "d"), 64)
			if err != nil {
				t.Fatal(err)
			}
			// iowait and idle step back in what the others read.
			if math.Abs(v-low) > 0.05 && v < low || v > high+0.05 {
				t.Errorf("%s = %v, not from %v to %v", key, v, low, high)
			}
			checked[m.Name] = true
		}
	}
	if len(checked) < 25 {
		t.Errorf("only %d metrics were compared: %v", len(checked), checked)
	}
}

// The start time of counters is the machine's.
func TestLiveBoot(t *testing.T) {
	boot, err := gopsutil.BootTime()
	if err != nil {
		t.Skip(err)
	}
	h := newTestHost(t, only(func(c *Config) { c.CPU.Enabled = true }), "/")
	f := scrapeAll(t, h, tick)
	if p := f.point("system.cpu.context_switch.count", ""); p == nil || math.Abs(float64(p.StartTimeUnixNano)/1e9-float64(boot)) > 1 {
		t.Errorf("starts at %v, want %d", p, boot)
	}
}

// A scrape in which no device came or went allocates nothing, on this machine and on one that
// has more of everything, over all refreshes of slow files.
func TestScrapeAllocatesNothing(t *testing.T) {
	for name, h := range map[string]*Host{
		"this machine": New(Defaults(), "/", "", "", nil, 0, slog.New(slog.DiscardHandler)),
		"server":       newTestHost(t, Defaults(), "testdata/server"),
	} {
		t.Run(name, func(t *testing.T) {
			defer h.Close()
			hand := func(*otlp.Group, []byte, int) {}
			at := time.Unix(1800000000, 0)
			ctx := t.Context()
			for i, part := range h.Scrapers() {
				if part == "filesystem" && name == "server" { // its mountinfo is an ordinary file and cannot tell of changes
					continue
				}
				scrape := func() {
					at = at.Add(10 * time.Second)
					if err := h.Scrape(ctx, i, at, hand); err != nil {
						t.Fatal(err)
					}
				}
				scrape()
				if n := testing.AllocsPerRun(100, scrape); n != 0 {
					t.Errorf("%s allocates %v times", part, n)
				}
			}
		})
	}
}

func TestResource(t *testing.T) {
	text := func(kvs []otlp.KeyValue) string {
		var words []string
		for _, kv := range kvs {
			if kv.Key != "host.arch" && kv.Key != "system.kernel.release" {
				words = append(words, kv.Key+"="+attributeText(kv.Value))
			}
		}
		return strings.Join(words, " ")
	}
	empty := t.TempDir()
	for name, tc := range map[string]struct{ root, node, want string }{
		"files":            {"testdata/server", "", "host.name=server.example host.id=0123456789abcdef0123456789abcdef os.type=linux os.name=Debian GNU/Linux os.version=13 os.description=Debian GNU/Linux 13 (trixie)"},
		"files and node":   {"testdata/server", "n1", "host.name=server.example host.id=0123456789abcdef0123456789abcdef os.type=linux os.name=Debian GNU/Linux os.version=13 os.description=Debian GNU/Linux 13 (trixie) k8s.node.name=n1"},
		"only /proc, node": {empty, "n1", "host.name=n1 os.type=linux k8s.node.name=n1"},
	} {
		if got := text(resource(tc.root, tc.node)); got != tc.want {
			t.Errorf("%s: resource(%s, %s) =\n%s, want\n%s", name, tc.root, tc.node, got, tc.want)
		}
	}
	name, _ := os.Hostname()
	if got := text(resource("", "n1")); !strings.HasPrefix(got, "host.name="+name+" ") || !strings.HasSuffix(got, " k8s.node.name=n1") {
		t.Errorf("of this machine: %s", got)
	}
}

// attributeText is the text of a string value, found in its encoding.
func attributeText(v otlp.Value) string {
	b := otlp.AppendValue(nil, v)
	return string(b[2:])
}

func TestOSRelease(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(root+"/usr/lib", 0o755); err != nil {
		t.Fatal(err)
	}
	content := "# comment\nNAME='Some Linux'\n\nVERSION_ID=\"1 \\\"x\\\"\"\nPRETTY_NAME=plain\nBROKEN\nQUOTE=\"\n"
	if err := os.WriteFile(root+"/usr/lib/os-release", []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"NAME": "Some Linux", "VERSION_ID": `1 "x"`, "PRETTY_NAME": "plain", "QUOTE": `"`}
	if got := osRelease(root); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("osRelease = %q, want %q", got, want)
	}
}
