package cgroup

import (
	"math"

	"stint/export/otlp"
	"stint/scrape/series"
)

// attributes of points that are the same for all cgroups.
type attributes struct {
	user, system         []byte
	major, minor         []byte
	active, inactive     []byte
	scanned, reclaimed   []byte
	anon, file           []byte
	some, full           []byte
	low, high, limit     []byte
	oom, oomKill, oomAll []byte
}

func newAttributes() attributes {
	one := func(key, value string) []byte { return series.Attributes(otlp.Attr(key, value)) }
	event := func(name string) []byte { return one("container.memory.event", name) }
	return attributes{
		user: one("cpu.mode", "user"), system: one("cpu.mode", "system"),
		major: one("system.paging.fault.type", "major"), minor: one("system.paging.fault.type", "minor"),
		active: one("linux.lru.state", "active"), inactive: one("linux.lru.state", "inactive"),
		scanned: one("container.memory.reclaim", "scanned"), reclaimed: one("container.memory.reclaim", "reclaimed"),
		anon: one("linux.lru.type", "anon"), file: one("linux.lru.type", "file"),
		some: one("psi.type", "some"), full: one("psi.type", "full"),
		low: event("low"), high: event("high"), limit: event("max"),
		oom: event("oom"), oomKill: event("oom_kill"), oomAll: event("oom_group_kill"),
	}
}

// writer adds points of an entity. What its files did not tell has no point.
type writer struct {
	p *series.Points
	e *entity
}

func (w writer) int(metric int, attrs []byte, f field) {
	if w.e.has.has(f) {
		w.p.Start = w.e.startOf(f)
		w.p.Int(metric, attrs, w.e.v[f])
	}
}

func (w writer) seconds(metric int, attrs []byte, f field) {
	if w.e.has.has(f) {
		w.p.Start = w.e.startOf(f)
		w.p.Float(metric, attrs, float64(w.e.v[f])/1e9)
	}
}

// level adds a value that is made of several fields; it does not count anything.
func (w writer) level(metric int, v uint64, ok bool) {
	if ok {
		w.p.Start = w.e.start
		w.p.Int(metric, nil, v)
	}
}

func (w writer) usage(metric int, attrs []byte, f field) {
	if w.e.rated.has(f) {
		w.p.Float(metric, attrs, w.e.usage[f])
	}
}

// faults tells minor and major ones apart: the kernel counts all, and the major ones.
func (w writer) faults(metric int, a *attributes) {
	if w.e.has.has(memFaults) && w.e.has.has(memMajorFaults) {
		major := w.e.v[memMajorFaults]
		w.p.Start = max(w.e.startOf(memFaults), w.e.startOf(memMajorFaults))
		w.p.Int(metric, a.major, major)
		w.p.Int(metric, a.minor, max(w.e.v[memFaults], major)-major)
	}
}

func (w writer) pressure(metric int, a *attributes, some, full field) {
	w.seconds(metric, a.some, some)
	w.seconds(metric, a.full, full)
}

// workingSet is the memory in use without what of the page cache was not used lately. The two
// figures are of two moments: the second may be the larger one.
func (e *entity) workingSet() (uint64, bool) {
	usage, inactive := e.v[memUsage], e.v[memInactiveFile]
	return max(usage, inactive) - inactive, e.has.has(memUsage) && e.has.has(memInactiveFile)
}

// available is what the working set may grow by.
func (e *entity) available() (uint64, bool) {
	set, ok := e.workingSet()
	return max(e.v[memLimit], set) - set, ok && e.has.has(memLimit)
}

func (s *Cgroups) emitContainer(e *entity) {
	a, w := &s.attrs, writer{&e.points, e}
	w.p.Begin(e.start)
	s.emitCPU(w)
	if s.cfg.Memory.Enabled {
		s.emitMemory(w)
	}
	w.pressure(containerCPUPressure, a, psiCPUSome, psiCPUFull)
	w.pressure(containerMemoryPressure, a, psiMemorySome, psiMemoryFull)
	w.pressure(containerIOPressure, a, psiIOSome, psiIOFull)
	s.emitDisks(w)
	w.int(containerThreads, nil, pidsCount)
	w.int(containerThreadLimit, nil, pidsLimit)
	w.int(containerThreadLimitHits, nil, pidsLimitHits)
	s.emitContainerNetwork(w)
	s.emitTasks(w)
	for i, size := range s.huge {
		w.int(containerHugetlb, size.attrs, hugetlbUsage+field(i))
	}
	for i, size := range s.huge {
		w.int(containerHugetlbHits, size.attrs, hugetlbHits+field(i))
	}
	if w.p.View != nil {
		s.emitTheirs(w)
	}
}

func (s *Cgroups) emitCPU(w writer) {
	e := w.e
	modes, detail, theirs := s.cfg.CPU.Modes, s.cfg.CPU.Detail, w.p.View != nil
	if modes {
		w.seconds(containerCPUTime, s.attrs.user, cpuUser)
		w.seconds(containerCPUTime, s.attrs.system, cpuSystem)
	} else {
		w.seconds(containerCPUTime, nil, cpuTime)
	}
	if detail && modes {
		w.usage(containerCPUUsage, s.attrs.user, cpuUser)
		w.usage(containerCPUUsage, s.attrs.system, cpuSystem)
	} else if detail {
		w.usage(containerCPUUsage, nil, cpuTime)
	}
	if e.has.has(cpuQuota) && e.has.has(cpuPeriod) && e.v[cpuPeriod] > 0 {
		w.int(containerPeriods, nil, cpuPeriods)
		w.int(containerThrottled, nil, cpuThrottled)
		w.seconds(containerThrottledTime, nil, cpuThrottledTime)
		if detail || theirs {
			w.int(containerBursts, nil, cpuBursts)
			w.seconds(containerBurstTime, nil, cpuBurstTime)
		}
		w.p.Start = e.start
		w.p.Float(containerCPULimit, nil, float64(e.v[cpuQuota])/float64(e.v[cpuPeriod]))
	}
	w.int(containerCPUShares, nil, cpuShares)
}

func (s *Cgroups) emitMemory(w writer) {
	e, a, detail, theirs := w.e, &s.attrs, s.cfg.Memory.Detail, w.p.View != nil
	w.int(containerMemoryUsage, nil, memUsage)
	w.int(containerMemoryRSS, nil, memRSS)
	set, ok := e.workingSet()
	w.level(containerWorkingSet, set, ok)
	if detail {
		available, ok := e.available()
		w.level(containerAvailable, available, ok)
	}
	w.int(containerMemoryLimit, nil, memLimit)
	if detail || theirs {
		reserved := e.v[memMin]
		if reserved == 0 {
			reserved = e.v[memLow]
		}
		w.level(containerReservation, reserved, reserved > 0 && (e.has.has(memMin) || e.has.has(memLow)))
	}
	if s.swap {
		w.int(containerSwapUsage, nil, memSwap)
	}
	if detail || theirs {
		w.int(containerSwapLimit, nil, memSwapLimit)
		sum, limit := e.v[memAndSwapLimit], e.v[memLimit]
		w.level(containerSwapLimit, max(sum, limit)-limit, e.has.has(memAndSwapLimit) && e.has.has(memLimit))
	}
	w.int(containerCache, nil, memCache)
	if detail || theirs {
		w.int(containerMapped, nil, memMapped)
	}
	if detail {
		w.int(containerFileLRU, a.active, memActiveFile)
		w.int(containerFileLRU, a.inactive, memInactiveFile)
		w.int(containerKernel, nil, memKernel)
		w.int(containerShmem, nil, memShmem)
		w.int(containerDirty, nil, memDirty)
		w.int(containerWriteback, nil, memWriteback)
	}
	if detail || theirs {
		w.int(containerPeak, nil, memPeak)
	}
	if detail {
		w.int(containerMemoryEvents, a.low, memEventLow)
	}
	w.int(containerMemoryEvents, a.high, memEventHigh)
	w.int(containerMemoryEvents, a.limit, memEventMax)
	w.int(containerMemoryEvents, a.oomKill, memEventOOMKill)
	if detail {
		w.int(containerMemoryEvents, a.oom, memEventOOM)
		w.int(containerMemoryEvents, a.oomAll, memEventOOMGroupKill)
		w.int(containerReclaim, a.scanned, memScanned)
		w.int(containerReclaim, a.reclaimed, memReclaimed)
		w.int(containerRefault, a.anon, memRefaultAnon)
		w.int(containerRefault, a.file, memRefaultFile)
	}
	w.faults(containerFaults, a)
	if detail {
		w.p.Start = e.start
		for i := range e.numa {
			w.p.Int(containerNUMA, e.numa[i].attrs, e.numa[i].bytes)
		}
	}
}

func (s *Cgroups) emitDisks(w writer) {
	add := func(metric int, attrs []byte, d *diskCounter, column int) {
		w.p.Start = w.e.start
		if d.began != 0 {
			w.p.Start = d.began
		}
		w.p.Int(metric, attrs, min(d.v[column], math.MaxInt64))
	}
	for i := range w.e.disks {
		d := &w.e.disks[i]
		add(containerDiskIO, d.dev.read, d, diskReadBytes)
		add(containerDiskIO, d.dev.write, d, diskWriteBytes)
	}
	for i := range w.e.disks {
		d := &w.e.disks[i]
		add(containerDiskOperations, d.dev.read, d, diskReads)
		add(containerDiskOperations, d.dev.write, d, diskWrites)
	}
	if !s.cfg.Disk.Detail {
		return
	}
	for i := range w.e.disks {
		if s.ioV2 {
			add(containerDiscard, w.e.disks[i].dev.plain, &w.e.disks[i], diskDiscardBytes)
		}
	}
	for i := range w.e.disks {
		d := &w.e.disks[i]
		for c, attrs := range d.dev.cost {
			if d.costs {
				w.p.Start = w.e.start
				if d.began != 0 {
					w.p.Start = d.began
				}
				w.p.Float(containerDiskCost, attrs, float64(d.v[diskCost+c])/1e6)
			}
		}
	}
	for i := range w.e.disks {
		d := &w.e.disks[i]
		for c, attrs := range d.dev.queue {
			if d.queued&(1<<c) != 0 {
				add(containerDiskQueue, attrs, d, diskQueue+c)
			}
		}
	}
}

func (s *Cgroups) emitPod(e *entity) {
	a, w, detail := &s.attrs, writer{&e.points, e}, s.cfg.Memory.Detail
	w.p.Begin(e.start)
	w.seconds(podCPUTime, nil, cpuTime)
	if s.cfg.CPU.Detail {
		w.usage(podCPUUsage, nil, cpuTime)
	}
	w.int(podMemoryUsage, nil, memUsage)
	if detail || w.p.View != nil {
		w.int(podMemoryRSS, nil, memRSS)
	}
	set, ok := e.workingSet()
	w.level(podWorkingSet, set, ok)
	if detail {
		available, ok := e.available()
		w.level(podAvailable, available, ok)
		w.faults(podFaults, a)
	}
	w.pressure(podCPUPressure, a, psiCPUSome, psiCPUFull)
	w.pressure(podMemoryPressure, a, psiMemorySome, psiMemoryFull)
	w.pressure(podIOPressure, a, psiIOSome, psiIOFull)
	s.emitPodNetwork(w)
}

// emitUnits adds the points of all units that were read in this scrape.
func (s *Cgroups) emitUnits(now uint64) {
	s.unitPoints.Begin(0)
	for metric := range unitMetrics {
		for _, e := range s.list {
			if e.kind != unit || e.scraped != now {
				continue
			}
			switch w := (writer{&s.unitPoints, e}); metric {
			case unitCPUTime:
				w.seconds(metric, e.attrs, cpuTime)
			case unitMemoryUsage:
				w.int(metric, e.attrs, memUsage)
			case unitTasks:
				w.int(metric, e.attrs, pidsCount)
			}
		}
	}
}
