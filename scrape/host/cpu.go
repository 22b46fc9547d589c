package host

import (
	"stint/export/otlp"
	"stint/scrape/series"
)

const (
	cpuTime = iota
	cpuLogicalCount
	cpuContextSwitches
	cpuInterrupts
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
}

// cpuModes are the values of cpu.mode, in the order of /proc/stat.
var cpuModes = []string{"user", "nice", "system", "idle", "iowait", "interrupt", "softirq", "steal"}

const modeIdle = 3

// readdedIdle is how far a CPU's idle time must step back to be taken for a CPU that was
// re-added, in ticks. The kernel lets idle and iowait step back by less on a CPU that stays
// (node_exporter#1903).
const readdedIdle = 3 * userHZ

// cpu is the scraper of processor metrics. By default it reports the sum over all CPUs, which
// survives a CPU that is taken out.
type cpu struct {
	h     *Host
	total cpuClock
	cpus  map[int]*cpuClock // by number, also of those now offline; with per_cpu
	prev  uint64            // time of the last scrape
}

// cpuClock holds what was last reported of a CPU, so that no time steps back.
type cpuClock struct {
	last  cpuLine
	start uint64 // 0 = the machine's
	attrs [][]byte
}

func newCPU(h *Host, cfg *Config) scraper {
	c := &cpu{h: h, total: cpuClock{attrs: series.Names("cpu.mode", cpuModes...)}}
	if cfg.CPU.PerCPU {
		c.cpus = map[int]*cpuClock{}
	}
	return c
}

func (c *cpu) close() {}

func (c *cpu) scrape(p *series.Points, now uint64) error {
	c.h.stat.mu.Lock()
	defer c.h.stat.mu.Unlock()
	s, err := c.h.stat.read(now)
	if err != nil {
		return err
	}
	if c.cpus == nil {
		c.total.points(p, &s.total)
	} else {
		for i := range s.cpus {
			l := &s.cpus[i]
			clock := c.cpus[l.id]
			if clock == nil {
				clock = &cpuClock{}
				for _, mode := range cpuModes {
					clock.attrs = append(clock.attrs, series.Attributes(otlp.Attr("cpu.mode", mode),
						otlp.KeyValue{Key: "cpu.logical_number", Value: otlp.Int(int64(l.id))}))
				}
				c.cpus[l.id] = clock
			}
			if clock.last.n > 0 && clock.last.ticks[modeIdle] > l.ticks[modeIdle]+readdedIdle {
				clock.last, clock.start = cpuLine{}, c.prev
			}
			clock.points(p, l)
		}
	}
	c.prev = now
	p.Int(cpuLogicalCount, nil, uint64(s.online))
	if s.has&hasCtxt != 0 {
		p.Int(cpuContextSwitches, nil, s.ctxt)
	}
	if s.has&hasIntr != 0 {
		p.Int(cpuInterrupts, nil, s.intr)
	}
	return nil
}

// points adds the times of a line, none lower than it was.
func (c *cpuClock) points(p *series.Points, l *cpuLine) {
	machine := p.Start
	if c.start != 0 {
		p.Start = c.start
	}
	c.last.n = l.n
	for i := range min(l.n, len(cpuModes)) {
		c.last.ticks[i] = max(c.last.ticks[i], l.ticks[i])
		p.Float(cpuTime, c.attrs[i], float64(c.last.ticks[i])/userHZ)
	}
	p.Start = machine
}
