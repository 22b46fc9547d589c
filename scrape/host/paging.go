package host

import (
	"errors"

	"stint/export/otlp"
)

const (
	pagingUsage = iota
	pagingFaults
	pagingOperations
	pagingIO
)

var pagingMetrics = []Metric{
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
}

// paging is the scraper of swap and page faults.
type paging struct {
	h       *Host
	swaps   file
	devices table[swapDevice]
	minor   uint64 // the most minor faults seen

	major, minorAttrs, opIn, opOut, in, out []byte
}

// swapDevice is a swap partition or file.
type swapDevice struct {
	size, used           uint64
	usedAttrs, freeAttrs []byte
}

func newPaging(h *Host, _ *Config) scraper {
	faults := names("system.paging.fault.type", "major", "minor")
	direction := names("system.paging.direction", "in", "out")
	operation := func(d string) []byte {
		return attributes(otlp.Attr("system.paging.direction", d), otlp.Attr("system.paging.fault.type", "major"))
	}
	return &paging{
		h: h, swaps: newFile(h.proc + "/swaps"),
		major: faults[0], minorAttrs: faults[1],
		opIn: operation("in"), opOut: operation("out"),
		in: direction[0], out: direction[1],
	}
}

func (s *paging) close() { s.swaps.close() }

func (s *paging) scrape(p *points, now uint64) error {
	return errors.Join(s.fromSwaps(p), s.fromVmstat(p, now))
}

func (s *paging) fromSwaps(p *points) error {
	b, err := s.swaps.readIfThere() // absent without CONFIG_SWAP
	if err != nil {
		return err
	}
	s.devices.begin()
	for len(b) > 0 {
		var l []byte
		var sw swap
		l, b = line(b)
		head, ok := sw.parse(l)
		if head {
			continue
		} else if !ok {
			err = malformed("/proc/swaps", l)
			continue
		}
		d, fresh := s.devices.get(sw.name)
		if fresh {
			device := otlp.Attr("system.device", unescape(string(sw.name)))
			d.usedAttrs = attributes(otlp.Attr("system.paging.state", "used"), device)
			d.freeAttrs = attributes(otlp.Attr("system.paging.state", "free"), device)
		}
		d.size, d.used = sw.size, sw.used
	}
	s.devices.sweep()
	for _, d := range s.devices.list {
		p.int(pagingUsage, d.usedAttrs, d.used)
		p.int(pagingUsage, d.freeAttrs, d.size-d.used)
	}
	return err
}

func (s *paging) fromVmstat(p *points, now uint64) error {
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
		p.int(pagingFaults, s.major, v.v[vmMajorFault])
		p.int(pagingFaults, s.minorAttrs, s.minor)
	}
	if v.has[vmSwapIn] && v.has[vmSwapOut] {
		p.int(pagingOperations, s.opIn, v.v[vmSwapIn])
		p.int(pagingOperations, s.opOut, v.v[vmSwapOut])
	}
	if v.has[vmPageIn] && v.has[vmPageOut] {
		p.int(pagingIO, s.in, v.v[vmPageIn]*1024) // KiB
		p.int(pagingIO, s.out, v.v[vmPageOut]*1024)
	}
	return nil
}
