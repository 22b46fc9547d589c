package host

import (
	"errors"
	"fmt"
	"path"
	"strings"
)

// Config says which groups of host metrics are collected and which devices, mount points and
// interfaces they cover. Lists are globs as of path.Match; names are matched whole.
type Config struct {
	Enabled    bool       `yaml:"enabled" doc:"collect metrics of this machine"`
	CPU        CPU        `yaml:"cpu" doc:"system.cpu.*: time by mode, logical count"`
	Load       Toggle     `yaml:"load" doc:"system.cpu.load_average.*"`
	Memory     Toggle     `yaml:"memory" doc:"system.memory.*"`
	Disk       Disk       `yaml:"disk" doc:"system.disk.*: block devices"`
	Filesystem Filesystem `yaml:"filesystem" doc:"system.filesystem.*: space and inodes of mounted file systems"`
	Network    Network    `yaml:"network" doc:"system.network.*: interfaces and sockets"`
	Paging     Toggle     `yaml:"paging" doc:"system.paging.*"`
	Processes  Toggle     `yaml:"processes" doc:"system.process.* and system.thread.count: totals, no single processes"`
	System     Toggle     `yaml:"system" doc:"system.uptime and file descriptors"`
}

// Toggle is a group of metrics that has no other setting than on or off.
type Toggle struct {
	Enabled bool `yaml:"enabled" doc:"collect this group"`
}

// CPU is the group of processor metrics.
type CPU struct {
	Enabled bool `yaml:"enabled" doc:"collect this group"`
	PerCPU  bool `yaml:"per_cpu" doc:"one set of points a logical CPU (cpu.logical_number) in place of the sum over all"`
}

// Disk is the group of block device metrics.
type Disk struct {
	Enabled bool     `yaml:"enabled" doc:"collect this group"`
	Include []string `yaml:"include" doc:"globs of device names; empty: every whole disk, dm-* and md*, no partitions; a partition is reported only if a glob here matches it"`
	Exclude []string `yaml:"exclude" doc:"globs of device names that are left out; stronger than include"`
}

// Filesystem is the group of file system metrics.
type Filesystem struct {
	Enabled            bool     `yaml:"enabled" doc:"collect this group"`
	ExcludeMountPoints []string `yaml:"exclude_mount_points" doc:"globs of mount points, as the host sees them, that are left out with everything mounted below them; * stops at /"`
	ExcludeFSTypes     []string `yaml:"exclude_fs_types" doc:"globs of file system types that are left out"`
	Remote             bool     `yaml:"remote" doc:"also network and FUSE file systems (nfs, cifs, ceph, fuse.*, ...); one that hangs is reported as down"`
}

// Network is the group of network interface metrics.
type Network struct {
	Enabled bool     `yaml:"enabled" doc:"collect this group"`
	Include []string `yaml:"include" doc:"globs of interface names; empty: every interface"`
	Exclude []string `yaml:"exclude" doc:"globs of interface names that are left out; stronger than include"`
}

// Defaults collects every group, of the devices a person would name when asked what the machine has.
func Defaults() Config {
	on := Toggle{Enabled: true}
	return Config{
		Enabled: true,
		CPU:     CPU{Enabled: true},
		Load:    on,
		Memory:  on,
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
		Paging:    on,
		Processes: on,
		System:    on,
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
