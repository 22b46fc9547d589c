package host

import (
	"errors"

	"stint/export/otlp"
	"stint/scrape/kernel"
	"stint/scrape/series"
)

const (
	memoryUsage = iota
	memoryLimit
	memoryAvailable
	memoryShared
	memorySlab
	memoryHugepagesLimit
	memoryHugepagesSize
	memoryHugepagesReserved
	memoryHugepagesSurplus
	memoryHugepagesUsage
	memoryDirty
	memoryWriteback
	memoryCommitUsage
	memoryCommitLimit
	memoryHardwareCorrupted
	memoryOOMKills
)

var memoryMetrics = withMemoryDetails([]series.Metric{
	memoryUsage: {
		Metric: otlp.Metric{Name: "system.memory.usage", Unit: "By", Instrument: otlp.UpDown,
			Description: "Memory by state. used is what is not available to programs (MemTotal - MemAvailable), so the states overlap; cached is without reclaimable slab."},
		Attributes: "system.memory.state=used|free|buffers|cached",
		Source:     "/proc/meminfo MemTotal, MemAvailable, MemFree, Buffers, Cached",
	},
	memoryLimit: {
		Metric: otlp.Metric{Name: "system.memory.limit", Unit: "By", Instrument: otlp.UpDown,
			Description: "Memory that the kernel manages."},
		Source: "/proc/meminfo MemTotal",
	},
	memoryAvailable: {
		Metric: otlp.Metric{Name: "system.memory.linux.available", Unit: "By", Instrument: otlp.UpDown,
			Description: "Memory that programs can get without swapping, as the kernel estimates it."},
		Source: "/proc/meminfo MemAvailable",
	},
	memoryShared: {
		Metric: otlp.Metric{Name: "system.memory.linux.shared", Unit: "By", Instrument: otlp.UpDown,
			Description: "Memory in tmpfs and shared memory."},
		Source: "/proc/meminfo Shmem",
	},
	memorySlab: {
		Metric: otlp.Metric{Name: "system.memory.linux.slab.usage", Unit: "By", Instrument: otlp.UpDown,
			Description: "Memory of the kernel's own objects."},
		Attributes: "system.memory.linux.slab.state=reclaimable|unreclaimable",
		Source:     "/proc/meminfo SReclaimable, SUnreclaim",
	},
	memoryHugepagesLimit: {
		Metric: otlp.Metric{Name: "system.memory.linux.hugepages.limit", Unit: "{page}", Instrument: otlp.UpDown,
			Description: "Huge pages in the pool of the default size."},
		Source: "/proc/meminfo HugePages_Total",
		When:   "there are huge pages",
	},
	memoryHugepagesSize: {
		Metric: otlp.Metric{Name: "system.memory.linux.hugepages.page_size", Unit: "By", Instrument: otlp.UpDown,
			Description: "Default size of a huge page."},
		Source: "/proc/meminfo Hugepagesize",
		When:   "there are huge pages",
	},
	memoryHugepagesReserved: {
		Metric: otlp.Metric{Name: "system.memory.linux.hugepages.reserved", Unit: "{page}", Instrument: otlp.UpDown,
			Description: "Huge pages promised but not allocated yet."},
		Source: "/proc/meminfo HugePages_Rsvd",
		When:   "there are huge pages",
	},
	memoryHugepagesSurplus: {
		Metric: otlp.Metric{Name: "system.memory.linux.hugepages.surplus", Unit: "{page}", Instrument: otlp.UpDown,
			Description: "Huge pages beyond the size of the pool."},
		Source: "/proc/meminfo HugePages_Surp",
		When:   "there are huge pages",
	},
	memoryHugepagesUsage: {
		Metric: otlp.Metric{Name: "system.memory.linux.hugepages.usage", Unit: "{page}", Instrument: otlp.UpDown,
			Description: "Huge pages by state."},
		Attributes: "system.memory.linux.hugepages.state=free|used",
		Source:     "/proc/meminfo HugePages_Free, HugePages_Total",
		When:       "there are huge pages",
	},
	memoryDirty: {
		Metric: otlp.Metric{Name: "system.memory.linux.dirty", Unit: "By", Instrument: otlp.UpDown,
			Description: "Memory that waits to be written to disk."},
		Source: "/proc/meminfo Dirty",
	},
	memoryWriteback: {
		Metric: otlp.Metric{Name: "system.memory.linux.writeback", Unit: "By", Instrument: otlp.UpDown,
			Description: "Memory that is being written to disk."},
		Source: "/proc/meminfo Writeback",
	},
	memoryCommitUsage: {
		Metric: otlp.Metric{Name: "system.memory.linux.commit.usage", Unit: "By", Instrument: otlp.UpDown,
			Description: "Memory that the kernel has promised to programs."},
		Source: "/proc/meminfo Committed_AS",
	},
	memoryCommitLimit: {
		Metric: otlp.Metric{Name: "system.memory.linux.commit.limit", Unit: "By", Instrument: otlp.UpDown,
			Description: "Memory that the kernel may promise; it holds to it only with vm.overcommit_memory=2."},
		Source: "/proc/meminfo CommitLimit",
	},
	memoryHardwareCorrupted: {
		Metric: otlp.Metric{Name: "system.memory.linux.hardware_corrupted", Unit: "By", Instrument: otlp.UpDown,
			Description: "Memory taken out of use after hardware errors."},
		Source: "/proc/meminfo HardwareCorrupted",
		When:   "it was not 0 once",
	},
	memoryOOMKills: {
		Metric: otlp.Metric{Name: "system.memory.linux.oom_kill.count", Unit: "{kill}", Instrument: otlp.Counter,
			Description: "Processes killed because memory ran out, in the machine and in its containers."},
		Source: "/proc/vmstat oom_kill",
	},
})

// memory is the scraper of memory metrics.
type memory struct {
	h         *Host
	meminfo   kernel.File
	m         meminfo
	corrupted bool // HardwareCorrupted was not 0 once
	details   []memoryDetail
	fields    meminfoFields

	used, free, buffers, cached []byte
	reclaimable, unreclaimable  []byte
	hugeFree, hugeUsed          []byte
}

func newMemory(h *Host, cfg *Config) scraper {
	states := series.Names("system.memory.state", "used", "free", "buffers", "cached")
	slab := series.Names("system.memory.linux.slab.state", "reclaimable", "unreclaimable")
	huge := series.Names("system.memory.linux.hugepages.state", "free", "used")
	s := &memory{
		h: h, meminfo: kernel.NewFile(h.proc + "/meminfo"),
		used: states[0], free: states[1], buffers: states[2], cached: states[3],
		reclaimable: slab[0], unreclaimable: slab[1],
		hugeFree: huge[0], hugeUsed: huge[1],
	}
	s.fields.globs = cfg.Memory.Meminfo
	if cfg.Memory.Detail {
		s.details = newMemoryDetails()
	}
	return s
}

func (s *memory) close() { s.meminfo.Close() }

func (s *memory) scrape(p *series.Points, now uint64) error {
	b, err := s.meminfo.Read()
	if err == nil {
		err = parseMeminfo(&s.m, b)
	}
	if err == nil {
		s.fromMeminfo(p)
	}
	err2 := s.fromVmstat(p, now)
	if err == nil && len(s.details) > 0 {
		s.detailPoints(p)
	}
	if err == nil && len(s.fields.globs) > 0 {
		err = s.fields.points(p, b)
	}
	return errors.Join(err, err2)
}

func (s *memory) fromMeminfo(p *series.Points) {
	m := &s.m
	one := func(metric, field int, attrs []byte) {
		if m.has[field] {
			p.Int(metric, attrs, m.v[field])
		}
	}
	// MemAvailable is an estimate and may exceed MemTotal in a container behind lxcfs.
	if m.has[memTotal] && m.has[memAvailable] {
		p.Int(memoryUsage, s.used, m.v[memTotal]-min(m.v[memAvailable], m.v[memTotal]))
	}
	one(memoryUsage, memFree, s.free)
	one(memoryUsage, memBuffers, s.buffers)
	one(memoryUsage, memCached, s.cached)
	one(memoryLimit, memTotal, nil)
	one(memoryAvailable, memAvailable, nil)
	one(memoryShared, memShmem, nil)
	one(memorySlab, memSReclaimable, s.reclaimable)
	one(memorySlab, memSUnreclaim, s.unreclaimable)
	if m.has[memHugepagesTotal] && m.v[memHugepagesTotal] > 0 {
		one(memoryHugepagesLimit, memHugepagesTotal, nil)
		one(memoryHugepagesSize, memHugepageSize, nil)
		one(memoryHugepagesReserved, memHugepagesReserved, nil)
		one(memoryHugepagesSurplus, memHugepagesSurplus, nil)
		if m.has[memHugepagesFree] {
			p.Int(memoryHugepagesUsage, s.hugeFree, m.v[memHugepagesFree])
			p.Int(memoryHugepagesUsage, s.hugeUsed, m.v[memHugepagesTotal]-min(m.v[memHugepagesFree], m.v[memHugepagesTotal]))
		}
	}
	one(memoryDirty, memDirty, nil)
	one(memoryWriteback, memWriteback, nil)
	one(memoryCommitUsage, memCommitted, nil)
	one(memoryCommitLimit, memCommitLimit, nil)
	if s.corrupted = s.corrupted || m.has[memHardwareCorrupted] && m.v[memHardwareCorrupted] > 0; s.corrupted {
		one(memoryHardwareCorrupted, memHardwareCorrupted, nil)
	}
}

func (s *memory) fromVmstat(p *series.Points, now uint64) error {
	s.h.vmstat.mu.Lock()
	defer s.h.vmstat.mu.Unlock()
	v, err := s.h.vmstat.read(now)
	if err == nil && v.has[vmOOMKill] {
		p.Int(memoryOOMKills, nil, v.v[vmOOMKill])
	}
	return err
}
