package host

import (
	"bytes"

	"stint/scrape/kernel"
	"stint/scrape/series"
)

// schedstat reads /proc/schedstat (Documentation/scheduler/sched-stats.rst) for the scraper of
// CPUs: how long threads ran on them and waited for them. Without CONFIG_SCHEDSTATS there is none.
type schedstat struct {
	file             kernel.File
	on, perCPU       bool
	running, waiting []byte
	cpus             map[uint64]*schedCPU
	list             []*schedCPU // in the order of the file
}

type schedCPU struct {
	running, waiting, number []byte    // attributes
	v                        [9]uint64 // fields; the last three: ns run, ns waited, time slices
}

func newSchedstat(h *Host, cfg CPU) schedstat {
	states := series.Names("cpu.sched.state", "running", "waiting")
	return schedstat{
		file: kernel.NewFile(h.proc + "/schedstat"), on: cfg.Sched, perCPU: cfg.PerCPU,
		running: states[0], waiting: states[1], cpus: map[uint64]*schedCPU{},
	}
}

func (s *schedstat) points(p *series.Points) error {
	if !s.on {
		return nil
	}
	b, err := s.file.ReadIfThere()
	if err != nil || b == nil {
		return err
	}
	s.list = s.list[:0]
	for len(b) > 0 {
		var l []byte
		l, b = kernel.Line(b)
		word, rest := kernel.Field(l)
		digits, ok := bytes.CutPrefix(word, []byte("cpu"))
		if !ok {
			continue
		}
		id, _, ok := kernel.Number(digits)
		c := s.cpus[id]
		if c == nil {
			n := logicalNumber(int(id))
			c = &schedCPU{number: series.Attributes(n)}
			c.running = series.Attributes(append(attr("cpu.sched.state", "running"), n)...)
			c.waiting = series.Attributes(append(attr("cpu.sched.state", "waiting"), n)...)
			s.cpus[id] = c
		}
		if !ok || kernel.Numbers(rest, c.v[:]) != len(c.v) {
			return kernel.Malformed(s.file.Path, l)
		}
		s.list = append(s.list, c)
	}
	if s.perCPU {
		for _, c := range s.list {
			p.Float(cpuSchedTime, c.running, float64(c.v[6])/1e9)
			p.Float(cpuSchedTime, c.waiting, float64(c.v[7])/1e9)
		}
		for _, c := range s.list {
			p.Int(cpuTimeslices, c.number, c.v[8])
		}
		return nil
	}
	// Of a CPU that went offline the last figures count on: the sum must not step back.
	var sum [3]uint64
	for _, c := range s.cpus {
		for i := range sum {
			sum[i] += c.v[6+i]
		}
	}
	p.Float(cpuSchedTime, s.running, float64(sum[0])/1e9)
	p.Float(cpuSchedTime, s.waiting, float64(sum[1])/1e9)
	p.Int(cpuTimeslices, nil, sum[2])
	return nil
}
