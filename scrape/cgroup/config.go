package cgroup

import (
	"errors"
	"fmt"
	"slices"
)

// Config says what is read of control groups.
type Config struct {
	Enabled    string `yaml:"enabled" enum:"auto,true,false" doc:"read the control groups of containers and pods; auto: where any are mounted, true: it is an error if none are"`
	Units      string `yaml:"units" enum:"auto,true,false" doc:"systemd.unit.* of services and slices; auto: where there are no pods"`
	MaxCgroups int    `yaml:"max_cgroups" doc:"containers, pods and units that are read; more are left out and counted; 1 to 20000"`
	CPU        CPU    `yaml:"cpu" doc:"container.cpu.* and k8s.pod.cpu.*: time, throttling, limit"`
	Memory     Group  `yaml:"memory" doc:"container.memory.*, container.paging.* and k8s.pod.memory.*"`
	Pressure   Toggle `yaml:"pressure" doc:"*.pressure.time of cgroup v2 (PSI)"`
	Disk       Group  `yaml:"disk" doc:"container.disk.*: block I/O by device"`
	Threads    Group  `yaml:"threads" doc:"container.thread.*"`
	Network    Group  `yaml:"network" doc:"k8s.pod.network.*, and container.network.* outside Kubernetes; without points where /proc does not show processes of them"`
	Processes  Group  `yaml:"processes" doc:"container.process.count, container.file_descriptor.* and container.cpu.sched.time; detail, which is one system call for each open file: container.socket.count"`
	Hugetlb    Toggle `yaml:"hugetlb" doc:"container.hugetlb.*: huge pages"`

	Names string `yaml:"-"` // scrape.names
}

// Toggle is a group of metrics that has no other setting than on or off.
type Toggle struct {
	Enabled bool `yaml:"enabled" doc:"collect this group"`
}

// Group is a group of metrics of which some are for those who ask.
type Group struct {
	Enabled bool `yaml:"enabled" doc:"collect this group"`
	Detail  bool `yaml:"detail" doc:"also the metrics of this group that are off by default"`
}

// CPU is the group of processor metrics.
type CPU struct {
	Enabled bool `yaml:"enabled" doc:"collect this group"`
	Detail  bool `yaml:"detail" doc:"also the metrics of this group that are off by default"`
	Modes   bool `yaml:"modes" doc:"container.cpu.time by cpu.mode user and system in place of their sum"`
}

// Defaults reads what the catalogue of metrics has as on. A node runs 110 pods by default and
// up to 500; with three cgroups a pod 2,000 is room for all of the latter.
func Defaults() Config {
	return Config{
		Enabled:    "auto",
		Units:      "auto",
		MaxCgroups: 2000,
		CPU:        CPU{Enabled: true},
		Memory:     Group{Enabled: true},
		Pressure:   Toggle{Enabled: true},
		Disk:       Group{Enabled: true},
		Threads:    Group{Enabled: true},
		Network:    Group{Enabled: true},
	}
}

// Check reports every fault at once, each under its YAML path.
func (c Config) Check() error {
	var errs []error
	for _, s := range []struct{ name, value string }{{"enabled", c.Enabled}, {"units", c.Units}} {
		if !slices.Contains([]string{"auto", "true", "false"}, s.value) {
			errs = append(errs, fmt.Errorf("scrape.cgroup.%s: %q is none of auto, true, false; write one of them", s.name, s.value))
		}
	}
	if c.MaxCgroups < 1 || c.MaxCgroups > 20_000 {
		errs = append(errs, fmt.Errorf("scrape.cgroup.max_cgroups: %d is out of range; give 1 to 20000", c.MaxCgroups))
	}
	return errors.Join(errs...)
}
