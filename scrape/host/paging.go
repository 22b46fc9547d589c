package host

import (
	"errors"

	"stint/export/otlp"
	"stint/scrape/kernel"
	"stint/scrape/series"
)

const (
	pagingUsage = iota
	pagingFaults
	pagingOperations
	pagingIO
	pagingUtilization
	pagingEvents
	pagingStates
)

var pagingMetrics = []series.Metric{
	pagingUsage: {
		Metric: otlp.Metric{Name: "system.paging.usage", Unit: "By", Instrument: otlp.UpDown,
			Description: "Swap space by device and state."},
		Attributes: "system.paging.state=used|free; system.device=<swap path>",
		Source:     "/proc/swaps",
		When:       "there is swap",
	},
	pagingFaults: {
		Metric: otlp.Metric{Name: "system.paging.faults", Unit: "{fault}", Instrument: otlp.Counter,
			Description: "Page faults: major ones had to wait for a disk."},
		Attributes: "system.paging.fault.type=major|minor",
		Source:     "/proc/vmstat pgfault, pgmajfault",
	},
	pagingOperations: {
		Metric: otlp.Metric{Name: "system.paging.operations", Unit: "{operation}", Instrument: otlp.Counter,
			Description: "Pages swapped in and out."},
		Attributes: "system.paging.direction=in|out; system.paging.fault.type=major",
		Source:     "/proc/vmstat pswpin, pswpout",
	},
	pagingIO: {
		Metric: otlp.Metric{Name: "system.paging.io", Unit: "By", Instrument: otlp.Counter,
			Description: "Bytes read from and written to block devices by the kernel's memory management: files and swap."},
		Attributes: "system.paging.direction=in|out",
		Source:     "/proc/vmstat pgpgin, pgpgout",
	},
	pagingUtilization: {
		Metric: otlp.Metric{Name: "system.paging.utilization", Unit: "1", Instrument: otlp.Gauge, Double: true,
			Description: "Share of the swap space of a device by state, 0 to 1."},
		Attributes: "system.paging.state=used|free; system.device=<swap path>",
		Source:     "/proc/swaps",
		When:       "host.paging.utilization is on and there is swap",
	},
	pagingEvents: {
		Metric: otlp.Metric{Name: "system.linux.vmstat.event.count", Unit: "{event}", Instrument: otlp.Counter,
			Description: "Counters of the kernel's memory management, under the kernel's names."},
		Attributes: "linux.vmstat.field=<name>",
		Source:     "/proc/vmstat",
		When:       "host.paging.vmstat names the field",
	},
	pagingStates: {
		Metric: otlp.Metric{Name: "system.linux.vmstat.state", Unit: "{page}", Instrument: otlp.Gauge,
			Description: "Levels of the kernel's memory management, under the kernel's names."},
		Attributes: "linux.vmstat.field=<name>",
		Source:     "/proc/vmstat nr_*",
		When:       "host.paging.vmstat names the field",
	},
}

// paging is the scraper of swap and page faults.
type paging struct {
	h       *Host
	swaps   kernel.File
	devices table[swapDevice]
	minor   uint64 // the most minor faults seen
	share   bool   // also utilization
	fields  vmstatFields

	major, minorAttrs, opIn, opOut, in, out []byte
}

// swapDevice is a swap partition or file.
type swapDevice struct {
	size, used           uint64
	usedAttrs, freeAttrs []byte
}

func newPaging(h *Host, cfg *Config) scraper {
	faults := series.Names("system.paging.fault.type", "major", "minor")
	direction := series.Names("system.paging.direction", "in", "out")
	operation := func(d string) []byte {
		return series.Attributes(otlp.Attr("system.paging.direction", d), otlp.Attr("system.paging.fault.type", "major"))
	}
	return &paging{
		h: h, swaps: kernel.NewFile(h.proc + "/swaps"), share: cfg.Paging.Utilization,
		fields: vmstatFields{globs: cfg.Paging.Vmstat, file: kernel.NewFile(h.proc + "/vmstat")},
		major:  faults[0], minorAttrs: faults[1],
		opIn: operation("in"), opOut: operation("out"),
		in: direction[0], out: direction[1],
	}
}

func (s *paging) close() {
	s.swaps.Close()
	s.fields.file.Close()
}

func (s *paging) scrape(p *series.Points, now uint64) error {
	err := errors.Join(s.fromSwaps(p), s.fromVmstat(p, now))
	for _, d := range s.devices.list {
		if s.share && d.size > 0 {
			p.Float(pagingUtilization, d.usedAttrs, float64(d.used)/float64(d.size))
			p.Float(pagingUtilization, d.freeAttrs, float64(d.size-d.used)/float64(d.size))
		}
	}
	return errors.Join(err, s.fields.points(p))
}

func (s *paging) fromSwaps(p *series.Points) error {
	b, err := s.swaps.ReadIfThere() // absent without CONFIG_SWAP
	if err != nil {
		return err
	}
	s.devices.begin()
	for len(b) > 0 {
		var l []byte
		var sw swap
		l, b = kernel.Line(b)
		head, ok := sw.parse(l)
		if head {
			continue
		} else if !ok {
			err = kernel.Malformed("/proc/swaps", l)
			continue
		}
		d, fresh := s.devices.get(sw.name)
		if fresh {
			device := otlp.Attr("system.device", kernel.Unescape(string(sw.name)))
			d.usedAttrs = series.Attributes(otlp.Attr("system.paging.state", "used"), device)
			d.freeAttrs = series.Attributes(otlp.Attr("system.paging.state", "free"), device)
		}
		d.size, d.used = sw.size, sw.used
	}
	s.devices.sweep()
	for _, d := range s.devices.list {
		p.Int(pagingUsage, d.usedAttrs, d.used)
		p.Int(pagingUsage, d.freeAttrs, d.size-d.used)
	}
	return err
}

func (s *paging) fromVmstat(p *series.Points, now uint64) error {
	s.h.vmstat.mu.Lock()
	defer s.h.vmstat.mu.Unlock()
	v, err := s.h.vmstat.read(now)
	if err != nil {
		return err
	}
	if v.has[vmFault] && v.has[vmMajorFault] {
		// A major fault is counted as any fault when it begins and as major later, so the
		// difference can step back.
		s.minor = max(s.minor, v.v[vmFault]-min(v.v[vmMajorFault], v.v[vmFault]))
		p.Int(pagingFaults, s.major, v.v[vmMajorFault])
		p.Int(pagingFaults, s.minorAttrs, s.minor)
	}
	if v.has[vmSwapIn] && v.has[vmSwapOut] {
		p.Int(pagingOperations, s.opIn, v.v[vmSwapIn])
		p.Int(pagingOperations, s.opOut, v.v[vmSwapOut])
	}
	if v.has[vmPageIn] && v.has[vmPageOut] {
		p.Int(pagingIO, s.in, v.v[vmPageIn]*1024) // KiB
		p.Int(pagingIO, s.out, v.v[vmPageOut]*1024)
	}
	return nil
}
