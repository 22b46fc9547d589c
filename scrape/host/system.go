package host

import (
	"errors"
	"math"

	"stint/export/otlp"
	"stint/scrape/kernel"
	"stint/scrape/series"
)

const (
	systemUptime = iota
	systemFDCount
	systemFDLimit
	systemHungTasks
	systemBootTime
	systemEntropy
	systemEntropyPool
	systemOS
	systemDMI
	systemSELinux
	systemWatchdog
)

const systemAsked = "host.system.detail is on"

var systemMetrics = []series.Metric{
	systemUptime: {
		Metric: otlp.Metric{Name: "system.uptime", Unit: "s", Instrument: otlp.Gauge, Double: true,
			Description: "Time since the machine started, suspended time included."},
		Source: "/proc/uptime",
	},
	systemFDCount: {
		Metric: otlp.Metric{Name: "system.file_descriptor.count", Unit: "{file_descriptor}", Instrument: otlp.UpDown,
			Description: "Open files of all processes."},
		Source: "/proc/sys/fs/file-nr",
	},
	systemFDLimit: {
		Metric: otlp.Metric{Name: "system.file_descriptor.limit", Unit: "{file_descriptor}", Instrument: otlp.UpDown,
			Description: "Open files that the kernel allows in all."},
		Source: "/proc/sys/fs/file-nr",
		When:   "there is a limit",
	},
	systemHungTasks: {
		Metric: otlp.Metric{Name: "system.kernel.hung_task.count", Unit: "{task}", Instrument: otlp.Counter,
			Description: "Tasks that the kernel found hanging in uninterruptible sleep."},
		Source: "/proc/sys/kernel/hung_task_detect_count",
		When:   "the kernel counts them",
	},
	systemBootTime: {
		Metric: otlp.Metric{Name: "system.boot.time", Unit: "s", Instrument: otlp.Gauge, Double: true,
			Description: "When the machine started, seconds since 1970, as first seen: setting the clock does not move it."},
		Source: "/proc/stat btime",
		When:   systemAsked,
	},
	systemEntropy: {
		Metric: otlp.Metric{Name: "system.entropy.available", Unit: "{bit}", Instrument: otlp.Gauge,
			Description: "Entropy that the kernel has for random numbers; 256 for ever on current kernels."},
		Source: "/proc/sys/kernel/random/entropy_avail",
		When:   systemAsked,
	},
	systemEntropyPool: {
		Metric: otlp.Metric{Name: "system.entropy.pool_size", Unit: "{bit}", Instrument: otlp.Gauge,
			Description: "Entropy that the kernel can have."},
		Source: "/proc/sys/kernel/random/poolsize",
		When:   systemAsked,
	},
	systemOS: {
		Metric: otlp.Metric{Name: "system.os.info", Unit: "1", Instrument: otlp.UpDown,
			Description: "1, with what the operating system is; the resource says the same."},
		Attributes: "os.type; os.name; os.version; os.description; host.arch; system.kernel.release",
		Source:     "uname(2), /etc/os-release, once",
		When:       systemAsked,
	},
	systemDMI: {
		Metric: otlp.Metric{Name: "system.dmi.info", Unit: "1", Instrument: otlp.UpDown,
			Description: "1, with what the firmware says of the machine; only root may see its serial number."},
		Attributes: "hw.vendor; hw.model; hw.serial_number; hw.bios_version",
		Source:     "/sys/class/dmi/id, once",
		When:       systemAsked + ", and there is such firmware",
	},
	systemSELinux: {
		Metric: otlp.Metric{Name: "system.selinux.state", Unit: "1", Instrument: otlp.UpDown,
			Description: "1 for the mode of SELinux that is configured, and for the one that holds; 0 for others."},
		Attributes: "system.selinux.mode=disabled|permissive|enforcing; system.selinux.scope=config|current",
		Source:     "/etc/selinux/config, /sys/fs/selinux/enforce",
		When:       systemAsked + ", and SELinux is there",
	},
	systemWatchdog: {
		Metric: otlp.Metric{Name: "system.watchdog.state", Unit: "1", Instrument: otlp.Gauge,
			Description: "State and settings of a watchdog; times in seconds."},
		Attributes: "system.watchdog.name=<device>; system.watchdog.field=bootstatus|fw_version|nowayout|pretimeout|timeleft|timeout|access_cs0",
		Source:     "/sys/class/watchdog",
		When:       systemAsked + ", and there is a watchdog",
	},
}

// system is the scraper of what concerns the machine as a whole.
type system struct {
	uptime, fileNR, hungTasks kernel.File
	detail                    bool
	entropy, pool             kernel.File
	info                      *sysinfo
}

func newSystem(h *Host, cfg *Config) scraper {
	return &system{
		info:      newSysinfo(h),
		detail:    cfg.System.Detail,
		entropy:   kernel.NewFile(h.proc + "/sys/kernel/random/entropy_avail"),
		pool:      kernel.NewFile(h.proc + "/sys/kernel/random/poolsize"),
		uptime:    kernel.NewFile(h.proc + "/uptime"),
		fileNR:    kernel.NewFile(h.proc + "/sys/fs/file-nr"),
		hungTasks: kernel.NewFile(h.proc + "/sys/kernel/hung_task_detect_count"),
	}
}

func (s *system) close() {
	s.uptime.Close()
	s.fileNR.Close()
	s.hungTasks.Close()
	s.entropy.Close()
	s.pool.Close()
	s.info.watchdog.close()
}

func (s *system) scrape(p *series.Points, now uint64) error {
	b, err := s.uptime.Read()
	if err == nil {
		if up, _, ok := kernel.Decimal(b); ok {
			p.Float(systemUptime, nil, up)
		} else {
			err = kernel.Malformed("/proc/uptime", b)
		}
	}

	b, err2 := s.fileNR.Read()
	if err2 == nil {
		var v [3]uint64 // allocated, of those unused (0 since 2.6), most
		if kernel.Numbers(b, v[:]) == len(v) && v[0] >= v[1] {
			p.Int(systemFDCount, nil, v[0]-v[1])
			if v[2] < math.MaxInt64 { // which means unlimited
				p.Int(systemFDLimit, nil, v[2])
			}
		} else {
			err2 = kernel.Malformed("/proc/sys/fs/file-nr", b)
		}
	}

	b, err3 := s.hungTasks.ReadIfThere()
	if err3 == nil && b != nil {
		if n, _, ok := kernel.Number(b); ok {
			p.Int(systemHungTasks, nil, n)
		} else {
			err3 = kernel.Malformed("/proc/sys/kernel/hung_task_detect_count", b)
		}
	}
	return errors.Join(err, err2, err3, s.details(p, now))
}

// details adds what is off by default.
func (s *system) details(p *series.Points, now uint64) error {
	if !s.detail {
		return nil
	}
	if p.Start != 0 {
		p.Float(systemBootTime, nil, float64(p.Start)/1e9)
	}
	available, err := readNumber(&s.entropy)
	if err == nil {
		p.Int(systemEntropy, nil, available)
	}
	size, err2 := readNumber(&s.pool)
	if err2 == nil {
		p.Int(systemEntropyPool, nil, size)
	}
	return errors.Join(err, err2, s.info.scrape(p, now))
}
