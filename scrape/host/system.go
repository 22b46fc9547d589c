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
}

// system is the scraper of what concerns the machine as a whole.
type system struct {
	uptime, fileNR, hungTasks kernel.File
	detail                    bool
	entropy, pool             kernel.File
}

func newSystem(h *Host, cfg *Config) scraper {
	return &system{
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
}

func (s *system) scrape(p *series.Points, _ uint64) error {
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
	return errors.Join(err, err2, err3, s.details(p))
}

// details adds what is off by default.
func (s *system) details(p *series.Points) error {
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
	return errors.Join(err, err2)
}
