package host

import (
	"errors"
	"slices"

	"stint/export/otlp"
	"stint/scrape/series"
)

const (
	cpuTime = iota
	cpuLogicalCount
	cpuContextSwitches
	cpuInterrupts
	cpuThermalThrottle
	cpuUtilization
	cpuGuestTime
	cpuSoftirqs
	cpuPhysicalCount
	cpuSocketCount
	cpuOnline
	cpuIsolated
	cpuInfo
	cpuFrequency
	cpuFrequencyLimit
	cpuGovernor
	cpuSchedTime
	cpuTimeslices
)

const (
	cpuPerCPU = "; cpu.logical_number=<int> (with cpu.per_cpu)"
	cpuNumber = "cpu.logical_number=<int>"
	cpuDir    = "/sys/devices/system/cpu/"
)

var cpuMetrics = []series.Metric{
	cpuTime: {
		Metric: otlp.Metric{Name: "system.cpu.time", Unit: "s", Instrument: otlp.Counter, Double: true,
			Description: "Time that CPUs spent in each mode; user and nice contain the time of guests."},
		Attributes: "cpu.mode=user|nice|system|idle|iowait|interrupt|softirq|steal; cpu.logical_number=<int> (with cpu.per_cpu)",
		Source:     "/proc/stat cpu, cpuN",
	},
	cpuLogicalCount: {
		Metric: otlp.Metric{Name: "system.cpu.logical.count", Unit: "{cpu}", Instrument: otlp.UpDown,
			Description: "Logical CPUs that are online."},
		Source: "/proc/stat cpuN",
	},
	cpuContextSwitches: {
		Metric: otlp.Metric{Name: "system.cpu.context_switch.count", Unit: "{context_switch}", Instrument: otlp.Counter,
			Description: "Context switches of all CPUs."},
		Source: "/proc/stat ctxt",
	},
	cpuInterrupts: {
		Metric: otlp.Metric{Name: "system.cpu.interrupt.count", Unit: "{interrupt}", Instrument: otlp.Counter,
			Description: "Interrupts served by all CPUs."},
		Source: "/proc/stat intr",
	},
	cpuThermalThrottle: {
		Metric: otlp.Metric{Name: "system.cpu.thermal_throttle.count", Unit: "{event}", Instrument: otlp.Counter,
			Description: "Times a core, or a package as a whole, was slowed down because it was too hot."},
		Attributes: "cpu.throttle.scope=core|package; cpu.package=<int>; cpu.core=<int>",
		Source:     cpuDir + "cpu*/thermal_throttle",
		When:       "the processor tells (x86, no virtual machine)",
	},
	cpuUtilization: {
		Metric: otlp.Metric{Name: "system.cpu.utilization", Unit: "1", Instrument: otlp.Gauge, Double: true,
			Description: "Share of the time since the last scrape that CPUs spent in each mode; all modes add up to 1."},
		Attributes: "cpu.mode=user|nice|system|idle|iowait|interrupt|softirq|steal" + cpuPerCPU,
		Source:     "/proc/stat cpu, cpuN",
		When:       "host.cpu.utilization is on, from the second scrape on",
	},
	cpuGuestTime: {
		Metric: otlp.Metric{Name: "system.cpu.guest.time", Unit: "s", Instrument: otlp.Counter, Double: true,
			Description: "Time that CPUs spent in virtual machines; it is contained in the user and nice time of system.cpu.time."},
		Attributes: "cpu.mode=user|nice" + cpuPerCPU,
		Source:     "/proc/stat cpu, cpuN",
		When:       "host.cpu.guest is on",
	},
	cpuSoftirqs: {
		Metric: otlp.Metric{Name: "system.cpu.softirq.count", Unit: "{interrupt}", Instrument: otlp.Counter,
			Description: "Software interrupts of all CPUs."},
		Attributes: "cpu.softirq.vector=hi|timer|net_tx|net_rx|block|irq_poll|tasklet|sched|hrtimer|rcu",
		Source:     "/proc/stat softirq",
		When:       "host.cpu.softirq is on",
	},
	cpuPhysicalCount: {
		Metric: otlp.Metric{Name: "system.cpu.physical.count", Unit: "{cpu}", Instrument: otlp.UpDown,
			Description: "Cores that are online, whatever their threads."},
		Source: cpuDir + "cpu*/topology",
		When:   cpuTopologyAsked,
	},
	cpuSocketCount: {
		Metric: otlp.Metric{Name: "system.cpu.socket.count", Unit: "{socket}", Instrument: otlp.UpDown,
			Description: "Processor packages that are online."},
		Source: cpuDir + "cpu*/topology/physical_package_id",
		When:   cpuTopologyAsked,
	},
	cpuOnline: {
		Metric: otlp.Metric{Name: "system.cpu.online", Unit: "1", Instrument: otlp.UpDown,
			Description: "1 for a logical CPU that is online, 0 for one that is there but switched off."},
		Attributes: cpuNumber,
		Source:     cpuDir + "online",
		When:       cpuTopologyAsked,
	},
	cpuInfo: {
		Metric: otlp.Metric{Name: "system.cpu.info", Unit: "1", Instrument: otlp.UpDown,
			Description: "1 for each kind of CPU in the machine, with what it is."},
		Attributes: "host.cpu.vendor.id; host.cpu.family; host.cpu.model.id; host.cpu.model.name; host.cpu.stepping; cpu.microcode",
		Source:     "/proc/cpuinfo",
		When:       cpuTopologyAsked,
	},
	cpuIsolated: {
		Metric: otlp.Metric{Name: "system.cpu.isolated", Unit: "1", Instrument: otlp.UpDown,
			Description: "1 for each logical CPU that the scheduler leaves to those who ask for it."},
		Attributes: cpuNumber,
		Source:     cpuDir + "isolated",
		When:       cpuTopologyAsked + " and the CPU is isolated",
	},
	cpuFrequency: {
		Metric: otlp.Metric{Name: "system.cpu.frequency", Unit: "Hz", Instrument: otlp.Gauge,
			Description: "Frequency at which a logical CPU runs."},
		Attributes: cpuNumber,
		Source:     cpuDir + "cpu*/cpufreq/scaling_cur_freq, else /proc/cpuinfo cpu MHz",
		When:       cpuFrequencyAsked,
	},
	cpuFrequencyLimit: {
		Metric: otlp.Metric{Name: "system.cpu.frequency.limit", Unit: "Hz", Instrument: otlp.Gauge,
			Description: "Bounds of the frequency of a logical CPU, as set."},
		Attributes: cpuNumber + "; hw.limit_type=min|max",
		Source:     cpuDir + "cpu*/cpufreq/scaling_min_freq, scaling_max_freq",
		When:       cpuFrequencyAsked + " and it can be set",
	},
	cpuGovernor: {
		Metric: otlp.Metric{Name: "system.cpu.scaling_governor", Unit: "1", Instrument: otlp.UpDown,
			Description: "1 for the governor that chooses the frequency of a logical CPU."},
		Attributes: cpuNumber + "; cpu.scaling_governor=<name>",
		Source:     cpuDir + "cpu*/cpufreq/scaling_governor",
		When:       cpuFrequencyAsked + " and it can be set",
	},
	cpuSchedTime: {
		Metric: otlp.Metric{Name: "system.cpu.sched.time", Unit: "s", Instrument: otlp.Counter, Double: true,
			Description: "Time that threads ran on CPUs, and that those that could run waited for them."},
		Attributes: "cpu.sched.state=running|waiting" + cpuPerCPU,
		Source:     "/proc/schedstat cpuN fields 7, 8",
		When:       "host.cpu.sched is on and the kernel counts it",
	},
	cpuTimeslices: {
		Metric: otlp.Metric{Name: "system.cpu.sched.timeslice.count", Unit: "{timeslice}", Instrument: otlp.Counter,
			Description: "Times a thread began to run on a CPU."},
		Attributes: "cpu.logical_number=<int> (with cpu.per_cpu)",
		Source:     "/proc/schedstat cpuN field 9",
		When:       "host.cpu.sched is on and the kernel counts it",
	},
}

// cpuModes are the values of cpu.mode, in the order of /proc/stat.
var cpuModes = []string{"user", "nice", "system", "idle", "iowait", "interrupt", "softirq", "steal"}

const modeIdle = 3

// softirqVectors are the values of cpu.softirq.vector, in the order of /proc/stat.
var softirqVectors = []string{"hi", "timer", "net_tx", "net_rx", "block", "irq_poll", "tasklet", "sched", "hrtimer", "rcu"}

// readdedIdle is how far a CPU's idle time must step back to be taken for a CPU that was
// re-added, in ticks. The kernel lets idle and iowait step back by less on a CPU that stays
// (node_exporter#1903).
const readdedIdle = 3 * userHZ

// cpu is the scraper of processor metrics. By default it reports the sum over all CPUs, which
// survives a CPU that is taken out.
type cpu struct {
	h    *Host
	cpus map[int]*cpuClock // by number, also of those now offline; with per_cpu
	now  []*cpuClock       // those that this scrape has
	prev uint64            // time of the last scrape

	cfg      CPU
	throttle throttle
	topology topology
	sched    schedstat
	softirqs [][]byte
}

// cpuClock holds what was last reported of a CPU, so that no time steps back.
type cpuClock struct {
	last   cpuLine
	before [len(cpuLine{}.ticks)]uint64 // last in the scrape before
	had    bool                         // there was one
	start  uint64                       // 0 = the machine's
	attrs  [][]byte
	guest  [2][]byte
}

func newCPUClock(kvs ...otlp.KeyValue) *cpuClock {
	c := &cpuClock{}
	for _, mode := range cpuModes {
		c.attrs = append(c.attrs, series.Attributes(slices.Concat(attr("cpu.mode", mode), kvs)...))
	}
	copy(c.guest[:], c.attrs) // user, nice
	return c
}

func newCPU(h *Host, cfg *Config) scraper {
	c := &cpu{h: h, cfg: cfg.CPU, throttle: newThrottle(h), topology: newTopology(h, cfg.CPU), sched: newSchedstat(h, cfg.CPU),
		softirqs: series.Names("cpu.softirq.vector", softirqVectors...)}
	if cfg.CPU.PerCPU {
		c.cpus = map[int]*cpuClock{}
	} else {
		c.now = []*cpuClock{newCPUClock()}
	}
	return c
}

func (c *cpu) close() {
	c.topology.close()
	c.sched.file.Close()
}

func (c *cpu) scrape(p *series.Points, now uint64) error {
	c.h.stat.mu.Lock()
	defer c.h.stat.mu.Unlock()
	s, err := c.h.stat.read(now)
	if err != nil {
		return err
	}
	if c.cpus == nil {
		c.now[0].update(&s.total)
	} else {
		c.now = c.now[:0]
		for i := range s.cpus {
			l := &s.cpus[i]
			clock := c.cpus[l.id]
			if clock == nil {
				clock = newCPUClock(logicalNumber(l.id))
				c.cpus[l.id] = clock
			}
			if clock.last.n > 0 && clock.last.ticks[modeIdle] > l.ticks[modeIdle]+readdedIdle {
				clock.last, clock.start = cpuLine{}, c.prev
			}
			clock.update(l)
			c.now = append(c.now, clock)
		}
	}
	c.prev = now
	for _, clock := range c.now {
		clock.points(p, cpuTime, clock.attrs, 0)
	}
	p.Int(cpuLogicalCount, nil, uint64(s.online))
	if s.has&hasCtxt != 0 {
		p.Int(cpuContextSwitches, nil, s.ctxt)
	}
	if s.has&hasIntr != 0 {
		p.Int(cpuInterrupts, nil, s.intr)
	}
	c.throttle.points(p, s.online, now)
	for _, clock := range c.now {
		if c.cfg.Utilization {
			clock.utilization(p)
		}
	}
	for _, clock := range c.now {
		if c.cfg.Guest {
			clock.points(p, cpuGuestTime, clock.guest[:], len(cpuModes))
		}
	}
	for i := 0; c.cfg.Softirq && i < s.softirqs; i++ {
		p.Int(cpuSoftirqs, c.softirqs[i], s.softirq[i])
	}
	return errors.Join(c.topology.scrape(p, s.online, now), c.sched.points(p))
}

func logicalNumber(id int) otlp.KeyValue {
	return otlp.KeyValue{Key: "cpu.logical_number", Value: otlp.Int(int64(id))}
}

// update takes in a line, no time of it lower than it was.
func (c *cpuClock) update(l *cpuLine) {
	c.before, c.had = c.last.ticks, c.last.n > 0
	c.last.n = l.n
	for i := range l.n {
		c.last.ticks[i] = max(c.last.ticks[i], l.ticks[i])
	}
}

// points adds times of the line from the column first on.
func (c *cpuClock) points(p *series.Points, metric int, attrs [][]byte, first int) {
	machine := p.Start
	if c.start != 0 {
		p.Start = c.start
	}
	for i := 0; i < len(attrs) && first+i < c.last.n; i++ {
		p.Float(metric, attrs[i], float64(c.last.ticks[first+i])/userHZ)
	}
	p.Start = machine
}

// utilization adds the share of each mode in the time since the scrape before.
func (c *cpuClock) utilization(p *series.Points) {
	n, all := min(c.last.n, len(cpuModes)), uint64(0)
	for i := range n {
		all += c.last.ticks[i] - c.before[i]
	}
	if !c.had || all == 0 {
		return
	}
	for i := range n {
		p.Float(cpuUtilization, c.attrs[i], float64(c.last.ticks[i]-c.before[i])/float64(all))
	}
}
