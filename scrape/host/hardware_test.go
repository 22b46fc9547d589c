package host

import (
	"os"
	"path/filepath"
	"testing"
)

// Sensors are read once an interval; those that give an error have no point, and come and go.
func TestSensors(t *testing.T) {
	m := newMachine(t, only(func(c *Config) { c.HW.Enabled = true }))
	const energy, core = "hw.id=intel-rapl:0 hw.type=cpu", "hw.id=coretemp-coretemp.0/temp1 hw.name=coretemp hw.parent=coretemp-coretemp.0 hw.sensor_location=Package id 0"
	f := m.scrape()
	m.expect(f, "hw.temperature", core, "45d", 0)
	m.expect(f, "hw.temperature", "hw.id=coretemp-coretemp.0/temp2 hw.name=coretemp hw.parent=coretemp-coretemp.0", "-5d", 0)
	m.expect(f, "hw.temperature", "hw.id=thermal_zone0 hw.name=acpitz", "27.8d", 0)
	m.absent(f, "hw.temperature", "hw.id=thermal_zone1 hw.name=coretemp") // the kernel shows it in hwmon, too
	m.expect(f, "hw.power", "hw.id=BAT0 hw.type=battery", "12.5d", 0)
	m.absent(f, "hw.power", "hw.id=BAT0-BAT0/power1 hw.type=power_supply") // the same, by hwmon
	m.expect(f, "hw.energy", energy, "262143d", serverBoot)
	m.absent(f, "hw.voltage", "hw.id=amdgpu-0000:00:01.0/in0 hw.name=amdgpu hw.parent=amdgpu-0000:00:01.0 hw.sensor_location=vddgfx")

	m.write("sys/devices/platform/coretemp.0/hwmon/hwmon1/temp1_input", "46500\n")
	m.write("sys/class/powercap/intel-rapl:0/energy_uj", "671150\n") // wraps at 262143.32885 J
	m.write("sys/devices/system/edac/mc/mc0/ce_count", "3\n")
	if err := os.Remove(filepath.Join(m.root, "sys/class/hwmon/hwmon0")); err != nil {
		t.Fatal(err)
	}
	m.write("sys/class/thermal/thermal_zone2/type", "board\n")
	m.write("sys/class/thermal/thermal_zone2/temp", "31000\n")
	first := m.now
	for i := 1; i <= 6; i++ {
		f = m.scrape()
		if i < 6 {
			m.expect(f, "hw.temperature", core, "45d", 0)
			m.expect(f, "hw.energy", energy, "262143d", serverBoot)
		}
	}
	m.expect(f, "hw.temperature", core, "46.5d", 0)
	m.expect(f, "hw.temperature", "hw.id=thermal_zone2 hw.name=board", "31d", 0)
	m.expect(f, "hw.energy", energy, "262144d", serverBoot)
	m.expect(f, "hw.errors", "hw.id=mc0 hw.type=memory error.type=correctable", "3", first) // was 12: set back
	m.expect(f, "hw.errors", "hw.id=mc0 hw.type=memory error.type=uncorrectable", "1", serverBoot)
	m.absent(f, "hw.fan.speed", "hw.id=amdgpu-0000:00:01.0/fan1 hw.name=amdgpu hw.parent=amdgpu-0000:00:01.0")
}

// An array that loses a disk and is rebuilt, and a path that comes back.
func TestRAID(t *testing.T) {
	m := newMachine(t, only(func(c *Config) { c.RAID.Enabled = true }))
	const md = "system.device=md127 system.raid."
	f := m.scrape()
	for attrs, want := range map[string]string{"state=active": "1", "state=inactive": "0", "state=recovering": "1", "state=check": "0", "state=resync": "0"} {
		m.expect(f, "system.raid.state", md+attrs, want, 0)
	}
	for attrs, want := range map[string]string{"disk.state=active": "2", "disk.state=failed": "1", "disk.state=spare": "1", "disk.state=required": "3"} {
		m.expect(f, "system.raid.disk.count", md+attrs, want, 0)
	}
	m.expect(f, "system.raid.state", "system.device=md0 system.raid.state=inactive", "1", 0)
	m.expect(f, "system.raid.block.count", md+"block.state=total", "4000", 0)
	m.expect(f, "system.raid.block.count", md+"block.state=synced", "500", 0)
	m.expect(f, "system.multipath.path.count", "system.device=dm-1 system.multipath.path.state=failed", "1", 0)
	m.absent(f, "system.multipath.path.count", "system.device=dm-0 system.multipath.path.state=total")

	m.write("sys/block/md127/md/sync_action", "idle\n")
	m.write("sys/block/md127/md/sync_completed", "none\n")
	m.write("sys/block/md127/md/dev-sde/state", "in_sync\n")
	if err := os.RemoveAll(filepath.Join(m.root, "sys/block/md127/md/dev-sdd")); err != nil {
		t.Fatal(err)
	}
	m.write("sys/block/sdb/device/state", "running\n")
	f = m.scrape()
	m.expect(f, "system.raid.disk.count", md+"disk.state=active", "3", 0)
	m.expect(f, "system.raid.disk.count", md+"disk.state=failed", "0", 0)
	m.expect(f, "system.raid.block.count", md+"block.state=synced", "4000", 0)
	m.expect(f, "system.multipath.path.count", "system.device=dm-1 system.multipath.path.state=active", "2", 0)
	if len(f.errs) > 0 {
		t.Error(f.errs)
	}
}

// Files of a class in /sys: a device that comes began to count after the last scrape, one that
// counts lower than before began anew.
func TestFabric(t *testing.T) {
	m := newMachine(t, only(func(c *Config) { c.Fabric.Enabled = true }))
	const rx = "system.device=mlx5_0 system.port=1 network.io.direction=receive"
	m.expect(m.scrape(), "system.infiniband.io", rx, "8884894436", serverBoot)
	before := m.now
	m.write("sys/class/infiniband/mlx5_0/ports/1/counters/port_rcv_data", "5\n")
	m.write("sys/class/infiniband/mlx5_1/ports/1/counters/port_rcv_data", "6\n")
	f := m.scrape()
	m.expect(f, "system.infiniband.io", rx, "20", before)
	m.expect(f, "system.infiniband.io", "system.device=mlx5_1 system.port=1 network.io.direction=receive", "24", before)
	m.absent(f, "system.infiniband.io", "system.device=mlx5_1 system.port=1 network.io.direction=transmit")
	m.write("sys/class/infiniband/mlx5_1/ports/1/counters/port_rcv_data", "N/A\n")
	if f = m.scrape(); f.errs["fabric"] == nil {
		t.Error("no error for what is no number")
	}
	m.expect(f, "system.infiniband.io", rx, "20", before)
}

// The share of each mode is that of the time between two scrapes; the first one has none.
func TestUtilization(t *testing.T) {
	m := newMachine(t, only(func(c *Config) { c.CPU.Enabled, c.CPU.Utilization = true, true }))
	m.absent(m.scrape(), "system.cpu.utilization", "cpu.mode=idle")
	m.absent(m.scrape(), "system.cpu.utilization", "cpu.mode=idle") // no time went by
	m.edit("proc/stat", "cpu  1393280 2180 452331 98123456 33211", "cpu  1393380 2180 452331 98123756 33200")
	f := m.scrape()
	m.expect(f, "system.cpu.utilization", "cpu.mode=user", "0.25d", 0)
	m.expect(f, "system.cpu.utilization", "cpu.mode=idle", "0.75d", 0)
	m.expect(f, "system.cpu.utilization", "cpu.mode=iowait", "0d", 0) // which stepped back
}

// One count for each core and each package, from any of its CPUs; a CPU that comes is found.
func TestThermalThrottle(t *testing.T) {
	m := newMachine(t, only(func(c *Config) { c.CPU.Enabled = true }))
	const core0, pkg = "cpu.throttle.scope=core cpu.package=0 cpu.core=0", "cpu.throttle.scope=package cpu.package=0"
	f := m.scrape()
	m.expect(f, "system.cpu.thermal_throttle.count", core0, "5", serverBoot)
	m.expect(f, "system.cpu.thermal_throttle.count", pkg, "30", serverBoot)
	for _, metric := range f.metrics {
		if n := len(pointsOf(metric)); metric.Name == "system.cpu.thermal_throttle.count" && n != 3 {
			t.Errorf("%d points, want those of two cores and a package", n)
		}
	}
	m.write("sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "8\n")
	for range 5 {
		m.expect(m.scrape(), "system.cpu.thermal_throttle.count", core0, "5", serverBoot)
	}
	m.expect(m.scrape(), "system.cpu.thermal_throttle.count", core0, "8", serverBoot)
}

// Without cpufreq, as in virtual machines, frequencies are those of /proc/cpuinfo.
func TestFrequency(t *testing.T) {
	m := newMachine(t, only(func(c *Config) { c.CPU.Enabled, c.CPU.Frequency, c.CPU.Topology = true, true, true }))
	f := m.scrape()
	m.expect(f, "system.cpu.frequency", "cpu.logical_number=1", "2400001000", 0)
	m.expect(f, "system.cpu.frequency.limit", "cpu.logical_number=3 hw.limit_type=max", "3500000000", 0)
	m.expect(f, "system.cpu.online", "cpu.logical_number=2", "0", 0)
	m.expect(f, "system.cpu.online", "cpu.logical_number=1", "1", 0)
	m.expect(f, "system.cpu.isolated", "cpu.logical_number=3", "1", 0)
	m.expect(f, "system.cpu.physical.count", "", "2", 0)
	for _, cpu := range []string{"cpu0", "cpu1", "cpu3"} {
		if err := os.RemoveAll(filepath.Join(m.root, "sys/devices/system/cpu", cpu, "cpufreq")); err != nil {
			t.Fatal(err)
		}
	}
	m.absent(m.scrape(), "system.cpu.frequency", "cpu.logical_number=1")
	m.write("proc/cpuinfo", "processor\t: 0\ncpu MHz\t\t: 2445.406\n\nprocessor\t: 1\ncpu MHz\t\t: 3000\n")
	m.expect(m.scrape(), "system.cpu.frequency", "cpu.logical_number=0", "2445406000", 0)
}

// What is off by default: shares of memory, and the sum of what CPUs scheduled, which does not
// step back when one goes offline.
func TestSchedAndMemoryDetail(t *testing.T) {
	m := newMachine(t, only(func(c *Config) {
		c.CPU.Enabled, c.CPU.Sched = true, true
		c.Memory = Memory{Enabled: true, Detail: true}
	}))
	f := m.scrape()
	m.expect(f, "system.cpu.sched.time", "cpu.sched.state=running", "2.5d", serverBoot)
	m.expect(f, "system.cpu.sched.timeslice.count", "", "50", serverBoot)
	m.expect(f, "system.memory.linux.transparent_hugepages.usage", "linux.thp.type=file_pmd_mapped", "121856", 0)
	m.expect(f, "system.memory.linux.mapped", "", "112640", 0)
	m.edit("proc/schedstat", "cpu1 0 0 0 0 0 0 1500000000 500000000 20\n", "")
	f = m.scrape()
	m.expect(f, "system.cpu.sched.time", "cpu.sched.state=running", "2.5d", serverBoot)
	if err := os.Remove(filepath.Join(m.root, "proc/schedstat")); err != nil {
		t.Fatal(err)
	}
	m.Close()
	if f = m.scrape(); len(f.errs) > 0 {
		t.Errorf("without schedstat: %v", f.errs)
	}
}
