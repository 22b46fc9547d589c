package host

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"time"
)

// Config says which groups of host metrics are collected and which devices, mount points and
// interfaces they cover. Lists are globs as of path.Match; names are matched whole.
type Config struct {
	Enabled    bool       `yaml:"enabled" doc:"collect metrics of this machine"`
	CPU        CPU        `yaml:"cpu" doc:"system.cpu.*: time by mode, logical count"`
	Load       Toggle     `yaml:"load" doc:"system.cpu.load_average.*"`
	Memory     Memory     `yaml:"memory" doc:"system.memory.*"`
	Disk       Disk       `yaml:"disk" doc:"system.disk.*: block devices"`
	Filesystem Filesystem `yaml:"filesystem" doc:"system.filesystem.*: space and inodes of mounted file systems"`
	Network    Network    `yaml:"network" doc:"system.network.*: interfaces and sockets"`
	Paging     Paging     `yaml:"paging" doc:"system.paging.*"`
	Netstat    Netstat    `yaml:"netstat" doc:"system.network.tcp.* and udp.*: counters of protocols"`
	Softnet    Softnet    `yaml:"softnet" doc:"system.network.softnet.*: the CPUs' queues of received packets"`
	Pressure   Pressure   `yaml:"pressure" doc:"system.*.pressure.*: time in which tasks waited (PSI)"`
	Clock      Detailed   `yaml:"clock" doc:"system.clock.*: how right the clock is"`
	NFS        Detailed   `yaml:"nfs" doc:"nfs.client.* and nfs.server.*, where those are loaded"`
	HW         HW         `yaml:"hw" doc:"hw.*: temperatures, fans, power, memory errors, batteries, where there are sensors"`
	RAID       Toggle     `yaml:"raid" doc:"system.raid.* and system.multipath.*, where there are such devices"`
	Btrfs      Detailed   `yaml:"btrfs" doc:"system.btrfs.*, where one is mounted"`
	XFS        Toggle     `yaml:"xfs" doc:"system.xfs.*, where one is mounted; off by default"`
	ZFS        Detailed   `yaml:"zfs" doc:"system.zfs.*, where it is loaded"`
	Bcache     Toggle     `yaml:"bcache" doc:"system.bcache.*, where there is one; off by default"`
	Bcachefs   Toggle     `yaml:"bcachefs" doc:"system.bcachefs.*, where one is mounted; off by default"`
	Fabric     Detailed   `yaml:"fabric" doc:"system.infiniband.* and system.fibrechannel.*, where there is such an adapter"`
	Tape       Toggle     `yaml:"tape" doc:"system.tape.*, where there is a drive; off by default"`
	IPVS       Detailed   `yaml:"ipvs" doc:"system.network.ipvs.*; off by default, with detail also each backend, which may be thousands"`
	Processes  Detailed   `yaml:"processes" doc:"system.process.* and system.thread.count: totals, no single processes"`
	Process    Process    `yaml:"process" doc:"process.*: single processes, each a resource of its own; off by default"`
	Systemd    Systemd    `yaml:"systemd" doc:"systemd.unit.*: states and restarts of units; off by default; a container needs /run/systemd (root) or /run/dbus below scrape.root_path"`
	Textfile   Textfile   `yaml:"textfile" doc:"series of files in Prometheus' text format, as others write them for node_exporter; off by default"`
	System     Detailed   `yaml:"system" doc:"system.uptime and file descriptors; with detail boot time and entropy"`

	Names string `yaml:"-"` // scrape.names
}

// Toggle is a group of metrics that has no other setting than on or off.
type Toggle struct {
	Enabled bool `yaml:"enabled" doc:"collect this group"`
}

// Detailed is a group of metrics of which some are off by default.
type Detailed struct {
	Enabled bool `yaml:"enabled" doc:"collect this group"`
	Detail  bool `yaml:"detail" doc:"also its metrics that few need; the documentation of each says so"`
}

// Memory is the group of memory metrics.
type Memory struct {
	Enabled bool     `yaml:"enabled" doc:"collect this group"`
	Detail  bool     `yaml:"detail" doc:"also its metrics that few need; the documentation of each says so"`
	Meminfo []string `yaml:"meminfo" doc:"globs of fields of /proc/meminfo that are passed on as system.memory.linux.meminfo; empty: none"`
}

// Netstat is the group of protocol counters.
type Netstat struct {
	Enabled bool `yaml:"enabled" doc:"collect this group"`
	Detail  bool `yaml:"detail" doc:"also retransmitted SYNs, SYN cookies, dropped and unordered segments, ICMP, IP bytes, UDP-Lite errors"`
	// Named as node_exporter does.
	Counters []string `yaml:"counters" doc:"globs of other counters that are passed on as system.network.netstat.counter, such as TcpExt_PruneCalled, Ip6_In*; empty: none"`
}

// Softnet is the group of the CPUs' queues of received packets.
type Softnet struct {
	Enabled bool `yaml:"enabled" doc:"collect this group"`
	PerCPU  bool `yaml:"per_cpu" doc:"one set of points a logical CPU (cpu.logical_number) in place of the sum over all"`
	Detail  bool `yaml:"detail" doc:"also packets processed, collisions, steering, flow limit, backlog"`
}

// Pressure is the group of pressure stall information.
type Pressure struct {
	Enabled  bool `yaml:"enabled" doc:"collect this group; without points where the kernel does not count pressure"`
	Averages bool `yaml:"averages" doc:"also the kernel's averages over 10, 60 and 300 s; they can be computed from the totals"`
}

// HW is the group of sensors.
type HW struct {
	Enabled  bool          `yaml:"enabled" doc:"collect this group"`
	Interval time.Duration `yaml:"interval" doc:"how often sensors are read, since some take milliseconds; scrapes in between repeat their values"`
	Detail   bool          `yaml:"detail" doc:"also limits of temperatures, voltages, what cools how much, and sizes of NVMe disks"`
	Other    bool          `yaml:"other" doc:"also every other number that drivers of sensors and power supplies tell, under their names"`
}

// Process is the group of single processes.
type Process struct {
	Enabled bool          `yaml:"enabled" doc:"collect this group"`
	Top     int           `yaml:"top" doc:"how many processes are reported: so many of those that use most CPU time and of those that use most memory; one stays until it is not among twice as many"`
	MinAge  time.Duration `yaml:"min_age" doc:"younger processes are left out; 0s: none"`
	Include []string      `yaml:"include" doc:"globs of names (/proc/<pid>/comm, 15 bytes at most); empty: all"`
	Exclude []string      `yaml:"exclude" doc:"globs of names that are left out; stronger than include"`
	// Cgroups are paths, as /proc/<pid>/cgroup has them.
	Cgroups        []string `yaml:"cgroups" doc:"globs of control groups, such as /system.slice/*.service, whose processes are reported, with those below them; empty: all"`
	ExcludeCgroups []string `yaml:"exclude_cgroups" doc:"globs of control groups whose processes are left out; stronger than cgroups"`
	CommandLine    bool     `yaml:"command_line" doc:"also process.command_line; what looks like a secret is blotted out, but names of secrets are a guess"`
	Detail         bool     `yaml:"detail" doc:"also utilizations, page faults, system calls of I/O, uptime, open files, context switches, pending signals"`
	PSS            bool     `yaml:"pss" doc:"also process.memory.linux.pss, for which the kernel walks the process's page tables"`
}

// Systemd is the group of units.
type Systemd struct {
	Enabled bool     `yaml:"enabled" doc:"collect this group"`
	Units   []string `yaml:"units" doc:"globs of names of units that are reported with each state; empty: only those that failed"`
}

// Textfile is the group of what others write into files.
type Textfile struct {
	Directories []string      `yaml:"directories" doc:"directories, as the agent sees them, whose *.prom files are sent; empty: none"`
	MaxAge      time.Duration `yaml:"max_age" doc:"a file that was not written for so long is left out; 0s: never"`
}

// Paging is the group of swap and page faults.
type Paging struct {
	Enabled     bool     `yaml:"enabled" doc:"collect this group"`
	Utilization bool     `yaml:"utilization" doc:"also system.paging.utilization, which can be computed from the usage"`
	Vmstat      []string `yaml:"vmstat" doc:"globs of fields of /proc/vmstat that are passed on as system.linux.vmstat.*; empty: none"`
}

// CPU is the group of processor metrics.
type CPU struct {
	Enabled     bool `yaml:"enabled" doc:"collect this group"`
	PerCPU      bool `yaml:"per_cpu" doc:"one set of points a logical CPU (cpu.logical_number) in place of the sum over all"`
	Utilization bool `yaml:"utilization" doc:"also system.cpu.utilization, which can be computed from the times"`
	Guest       bool `yaml:"guest" doc:"also the time of virtual machines, which is a part of the user time"`
	Softirq     bool `yaml:"softirq" doc:"also software interrupts by vector"`
	Topology    bool `yaml:"topology" doc:"also counts of cores and sockets, and which CPUs are online and isolated"`
	Sched       bool `yaml:"sched" doc:"also how long threads ran on CPUs and waited for them (/proc/schedstat)"`
	Frequency   bool `yaml:"frequency" doc:"also the frequency of each CPU, its bounds and governor"`
}

// Disk is the group of block device metrics.
type Disk struct {
	Enabled bool     `yaml:"enabled" doc:"collect this group"`
	Include []string `yaml:"include" doc:"globs of device names; empty: every whole disk, dm-* and md*, no partitions; a partition is reported only if a glob here matches it"`
	Exclude []string `yaml:"exclude" doc:"globs of device names that are left out; stronger than include"`
	Detail  bool     `yaml:"detail" doc:"also times and merges of discards and flushes, and what the device is"`
}

// Filesystem is the group of file system metrics.
type Filesystem struct {
	Enabled            bool     `yaml:"enabled" doc:"collect this group"`
	ExcludeMountPoints []string `yaml:"exclude_mount_points" doc:"globs of mount points, as the host sees them, that are left out with everything mounted below them; * stops at /"`
	ExcludeFSTypes     []string `yaml:"exclude_fs_types" doc:"globs of file system types that are left out"`
	Remote             bool     `yaml:"remote" doc:"also network and FUSE file systems (nfs, cifs, ceph, fuse.*, ...); one that hangs is reported as down"`
	Detail             bool     `yaml:"detail" doc:"also utilization, options of mounts, and locks of files"`
}

// Network is the group of network interface metrics.
type Network struct {
	Enabled bool     `yaml:"enabled" doc:"collect this group"`
	Include []string `yaml:"include" doc:"globs of interface names; empty: every interface"`
	Exclude []string `yaml:"exclude" doc:"globs of interface names that are left out; stronger than include"`
	Detail  bool     `yaml:"detail" doc:"also kinds of errors, multicast, MTU, what the interface is, neighbours (ARP), events of connection tracking"`
	// Each reading makes the kernel walk all of its sockets.
	Connections bool `yaml:"connections" doc:"also TCP connections by state and queues of UDP sockets; takes milliseconds, and more with many sockets"`
}

// Defaults collects every group, of the devices a person would name when asked what the machine has.
func Defaults() Config {
	on := Toggle{Enabled: true}
	return Config{
		Enabled: true,
		CPU:     CPU{Enabled: true},
		Load:    on,
		Memory:  Memory{Enabled: true},
		Disk: Disk{
			Enabled: true,
			Exclude: []string{"loop*", "ram*", "zram*", "fd[0-9]*", "sr[0-9]*"},
		},
		Filesystem: Filesystem{
			Enabled: true,
			// What containers, pods, sessions and packages mount by the hundred. /run as a whole
			// stays in: desktops mount memory sticks under /run/media.
			ExcludeMountPoints: []string{
				"/dev", "/proc", "/sys", "/run/credentials", "/run/lock", "/run/netns", "/run/user", "/run/containerd/*", "/run/docker/*",
				"/run/k3s/*", "/snap", "/var/lib/containerd/*", "/var/lib/containers/storage/*", "/var/lib/docker/*", "/var/lib/kubelet/*",
			},
			ExcludeFSTypes: []string{
				"autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "devtmpfs", "efivarfs", "erofs",
				"fuse.lxcfs", "fusectl", "hugetlbfs", "iso9660", "mqueue", "nsfs", "overlay", "proc", "pstore", "rpc_pipefs", "securityfs",
				"selinuxfs", "squashfs", "sysfs", "tracefs",
			},
		},
		Network: Network{
			Enabled: true,
			// veth*: docker, flannel, kindnet; cali*: Calico; lxc*: Cilium. One a pod, gone with it.
			Exclude: []string{"lo", "veth*", "cali*", "lxc*"},
		},
		Netstat:   Netstat{Enabled: true},
		Softnet:   Softnet{Enabled: true},
		Pressure:  Pressure{Enabled: true},
		Clock:     Detailed{Enabled: true},
		NFS:       Detailed{Enabled: true},
		HW:        HW{Enabled: true, Interval: time.Minute},
		RAID:      on,
		Btrfs:     Detailed{Enabled: true},
		ZFS:       Detailed{Enabled: true},
		Fabric:    Detailed{Enabled: true},
		Paging:    Paging{Enabled: true},
		Processes: Detailed{Enabled: true},
		Process:   Process{Top: 20, MinAge: time.Minute},
		System:    Detailed{Enabled: true},
	}
}

// Check reports every fault at once, each under its YAML path.
func (c Config) Check() error {
	var errs []error
	for _, l := range []struct {
		path  string
		globs []string
	}{
		{"scrape.host.disk.include", c.Disk.Include},
		{"scrape.host.disk.exclude", c.Disk.Exclude},
		{"scrape.host.filesystem.exclude_mount_points", c.Filesystem.ExcludeMountPoints},
		{"scrape.host.filesystem.exclude_fs_types", c.Filesystem.ExcludeFSTypes},
		{"scrape.host.network.include", c.Network.Include},
		{"scrape.host.network.exclude", c.Network.Exclude},
		{"scrape.host.paging.vmstat", c.Paging.Vmstat},
		{"scrape.host.memory.meminfo", c.Memory.Meminfo},
		{"scrape.host.netstat.counters", c.Netstat.Counters},
		{"scrape.host.process.include", c.Process.Include},
		{"scrape.host.process.cgroups", c.Process.Cgroups},
		{"scrape.host.process.exclude_cgroups", c.Process.ExcludeCgroups},
		{"scrape.host.systemd.units", c.Systemd.Units},
		{"scrape.host.process.exclude", c.Process.Exclude},
	} {
		for i, g := range l.globs {
			if _, err := path.Match(g, ""); err != nil || g == "" {
				errs = append(errs, fmt.Errorf("%s[%d]: %q is not a glob; * stands for any characters, ? for one, [a-z] for one of a range", l.path, i, g))
			}
		}
	}
	for i, g := range c.Filesystem.ExcludeMountPoints {
		if g != "" && !strings.HasPrefix(g, "/") {
			errs = append(errs, fmt.Errorf("scrape.host.filesystem.exclude_mount_points[%d]: %q can match no mount point; begin it with /", i, g))
		}
	}
	if c.HW.Interval < time.Second || c.HW.Interval > time.Hour {
		errs = append(errs, fmt.Errorf("scrape.host.hw.interval: %v is not between 1s and 1h; 1m suits most sensors", c.HW.Interval))
	}
	if c.Process.Top < 1 || c.Process.Top > 1000 {
		errs = append(errs, fmt.Errorf("scrape.host.process.top: %d is not from 1 to 1000", c.Process.Top))
	}
	if c.Process.MinAge < 0 {
		errs = append(errs, fmt.Errorf("scrape.host.process.min_age: %v is less than nothing; 0s leaves none out", c.Process.MinAge))
	}
	for i, dir := range c.Textfile.Directories {
		if !path.IsAbs(dir) {
			errs = append(errs, fmt.Errorf("scrape.host.textfile.directories[%d]: %q is no absolute path; begin it with /", i, dir))
		}
	}
	if c.Textfile.MaxAge < 0 {
		errs = append(errs, fmt.Errorf("scrape.host.textfile.max_age: %v is less than nothing; 0s leaves none out", c.Textfile.MaxAge))
	}
	return errors.Join(errs...)
}

// selected tells whether include (empty = all) admits name and exclude does not take it out.
func selected(include, exclude []string, name string) bool {
	return (len(include) == 0 || matchesAny(include, name)) && !matchesAny(exclude, name)
}

// underAny tells whether one of the globs matches the mount point or a directory above it.
func underAny(globs []string, mountPoint string) bool {
	for p := path.Clean(mountPoint); ; p = path.Dir(p) {
		if matchesAny(globs, p) {
			return true
		}
		if p == "/" || p == "." {
			return false
		}
	}
}

func matchesAny(globs []string, name string) bool {
	for _, g := range globs {
		if ok, _ := path.Match(g, name); ok {
			return true
		}
	}
	return false
}
