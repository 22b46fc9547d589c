package host

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Pitfall 8: the columns of softnet_stat are 32-bit; testdata/server has CPU 0 close to the end
// of the range. A CPU that goes offline takes nothing out of the sum.
func TestSoftnet(t *testing.T) {
	const squeezed = "system.network.softnet.time_squeeze.count"
	m := newMachine(t, only(func(c *Config) { c.Softnet.Enabled = true }))
	m.expect(m.scrape(), squeezed, "", "4294967285", serverBoot)
	m.edit("proc/1/net/softnet_stat", "fffffff0", "00000005")
	m.expect(m.scrape(), squeezed, "", "4294967306", serverBoot) // 21 more
	m.edit("proc/1/net/softnet_stat", "00000010 00000000 00000000", "00000010 00000000 00000003")
	m.expect(m.scrape(), squeezed, "", "4294967309", serverBoot)
	b, err := os.ReadFile(filepath.Join(m.root, "proc/1/net/softnet_stat"))
	if err != nil {
		t.Fatal(err)
	}
	rows := strings.SplitAfter(string(b), "\n")
	m.write("proc/1/net/softnet_stat", rows[0]+rows[2])
	m.expect(m.scrape(), squeezed, "", "4294967309", serverBoot)
	m.write("proc/1/net/softnet_stat", string(b))
	m.expect(m.scrape(), squeezed, "", "4294967309", serverBoot)
	m.edit("proc/1/net/softnet_stat", "00000002 00000005", "00000002 00000001") // begins anew
	m.expect(m.scrape(), squeezed, "", "4294967310", serverBoot)
}

// Old kernels do not number the rows of softnet_stat: when one is gone, the others may be
// another CPU's, and what lies between is not counted.
func TestSoftnetWithoutNumbers(t *testing.T) {
	m := newMachine(t, only(func(c *Config) { c.Softnet.Enabled = true }))
	m.write("proc/1/net/softnet_stat", "10 1 0\n20 2 0\n30 a 0\n")
	m.expect(m.scrape(), "system.network.softnet.packet.dropped", "", "13", 0)
	m.write("proc/1/net/softnet_stat", "10 1 0\n30 a 0\n")
	m.expect(m.scrape(), "system.network.softnet.packet.dropped", "", "13", 0)
	m.write("proc/1/net/softnet_stat", "10 1 0\n30 b 0\n")
	m.expect(m.scrape(), "system.network.softnet.packet.dropped", "", "14", 0)
}

func TestSoftnetPerCPU(t *testing.T) {
	m := newMachine(t, only(func(c *Config) { c.Softnet.Enabled, c.Softnet.PerCPU = true, true }))
	f := m.scrape()
	m.expect(f, "system.network.softnet.packet.dropped", "cpu.logical_number=0", "2", serverBoot)
	m.expect(f, "system.network.softnet.packet.dropped", "cpu.logical_number=3", "0", serverBoot)
	m.absent(f, "system.network.softnet.packet.dropped", "")
}

// Pitfall 2: counters of protocols are those of /proc/1. A kernel that adds a column while the
// agent holds the places of the old ones is read right.
func TestNetstat(t *testing.T) {
	m := newMachine(t, only(func(c *Config) { c.Netstat.Enabled = true }), func(m *machine) {
		m.write("proc/net/snmp", "Tcp: InSegs\nTcp: 1\n")
	})
	m.expect(m.scrape(), "system.network.tcp.segment.count", "network.io.direction=receive", "13899080", serverBoot)
	m.write("proc/1/net/snmp", "Tcp: New InSegs CurrEstab\nTcp: -7 8 9\n")
	f := m.scrape()
	m.expect(f, "system.network.tcp.segment.count", "network.io.direction=receive", "8", serverBoot)
	m.expect(f, "system.network.tcp.connection.established", "", "9", 0)
	m.absent(f, "system.network.tcp.errors", "")
	m.absent(f, "system.network.icmp.errors", "network.type=ipv4") // off by default
}

// Without CONFIG_PSI there are no files; with psi=0 they cannot be read. Neither is an error.
func TestPressureOff(t *testing.T) {
	m := newMachine(t, only(func(c *Config) { c.Pressure.Enabled = true }))
	m.expect(m.scrape(), "system.memory.pressure.time", "psi.type=full", "0.5d", serverBoot)
	m.absent(m.scrape(), "system.cpu.pressure.time", "psi.type=full")
	m.absent(m.scrape(), "system.memory.pressure.avg", "psi.type=full psi.window=10s")
	if err := os.RemoveAll(filepath.Join(m.root, "proc/pressure")); err != nil {
		t.Fatal(err)
	}
	m.Close()
	if f := m.scrape(); len(f.errs)+len(f.metrics) > 0 {
		t.Errorf("without files: %s", f.text())
	}
}

// The kernel's unit of the offset is µs unless it says ns.
func TestClockUnits(t *testing.T) {
	m := newMachine(t, only(func(c *Config) { c.Clock.Enabled = true }))
	f := m.scrape()
	m.expect(f, "system.clock.offset", "", "-0.0015d", 0)
	m.expect(f, "system.clock.synchronized", "", "1", 0)
	scraperOf[*clock](m.Host).adjtimex = func(tx *unix.Timex) (int, error) {
		*tx = unix.Timex{Offset: -1500, Maxerror: 16000000, Status: unix.STA_UNSYNC}
		return unix.TIME_ERROR, nil
	}
	f = m.scrape()
	m.expect(f, "system.clock.offset", "", "-0.0015d", 0)
	m.expect(f, "system.clock.max_error", "", "16d", 0)
	m.expect(f, "system.clock.synchronized", "", "0", 0)
	m.absent(f, "system.clock.tick", "")
}

// Pitfall 8: the bytes of the NFS server are 32-bit; testdata/server has those written close to
// the end of the range. When the module is loaded again all begins anew.
func TestNFS(t *testing.T) {
	m := newMachine(t, only(func(c *Config) { c.NFS.Enabled = true }))
	const written = "network.io.direction=receive"
	f := m.scrape()
	m.expect(f, "nfs.server.io", written, "4294967290", serverBoot)
	m.expect(f, "nfs.server.operation.count", "onc_rpc.version=4 nfs.operation.name=READ", "150", serverBoot)
	m.expect(f, "nfs.server.rpc.count", "", "18628", serverBoot)
	m.expect(f, "nfs.server.rpc.count", "error.type=client", "3", serverBoot)
	m.expect(f, "nfs.client.operation.count", "onc_rpc.version=4 nfs.operation.name=LAYOUTRETURN", "1337", serverBoot)
	m.expect(f, "nfs.client.procedure.count", "onc_rpc.version=3 onc_rpc.procedure.name=COMMIT", "39", serverBoot)
	m.absent(f, "nfs.client.procedure.count", "onc_rpc.version=2 onc_rpc.procedure.name=READ")
	m.absent(f, "nfs.server.read_ahead_cache.size", "")

	m.edit("proc/1/net/rpc/nfsd", " 4294967290", " 94")
	m.expect(m.scrape(), "nfs.server.io", written, "4294967390", serverBoot)
	before := m.now
	m.edit("proc/1/net/rpc/nfsd", "io 157286400 94", "io 7 5")
	f = m.scrape()
	m.expect(f, "nfs.server.io", "network.io.direction=transmit", "7", before)
	m.expect(f, "nfs.client.rpc.count", "", "1218785755", serverBoot)
	if err := os.RemoveAll(filepath.Join(m.root, "proc/1/net/rpc")); err != nil {
		t.Fatal(err)
	}
	m.Close()
	if f = m.scrape(); len(f.errs)+len(f.metrics) > 0 {
		t.Errorf("without files: %s", f.text())
	}
}
