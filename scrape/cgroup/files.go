package cgroup

import (
	"os"
	"slices"
	"strconv"
	"strings"

	"stint/scrape/kernel"
)

// file is one that is read of every cgroup of some kinds.
type file struct {
	dir    string // of its hierarchy
	name   string
	kinds  kinds
	rare   bool // read once a minute and not kept open: what it tells seldom changes
	fields fieldSet
	parse  parser
	// either says that the file is one of several that tell the same: the first that has
	// something to tell is read from then on. One that is second is read only with the one
	// before it.
	either, second bool
	sum            *kernel.File // the same of the root; see readSums
	empty          bool         // it has nothing to tell in any cgroup
	with           bool         // absent wherever the file before it in the list is
	swap           bool         // read only where the machine has swap
	quota          bool         // read only where a CPU quota is set: there is nothing to tell else
	limited        bool         // changes only where a limit of memory is set
	kills          bool         // changes only when the kernel kills for want of memory
}

// kinds is a set of kinds of cgroups.
type kinds uint8

const (
	containers kinds = 1 << container
	pods       kinds = 1 << pod
	units      kinds = 1 << unit
	all              = containers | pods | units
)

// ticks is the unit of cpuacct.stat, ns: the kernel fixes it at 100 a second in its interface.
const ticks = 1e9 / 100

// us is a µs in ns.
const us = 1000

// listFiles says what is read of each cgroup, in the order of reading.
func listFiles(h *hierarchies, cfg *Config, huge []hugeSize) []file {
	var list []file
	add := func(c controller, f file, on bool, name string, parse parser, fs ...field) {
		if on && h.of[c].dir != "" {
			f.dir, f.name, f.parse, f.fields = h.of[c].dir, name, parse, setOf(fs...)
			list = append(list, f)
		}
	}
	v1 := func(c controller, f file, on bool, name string, parse parser, fs ...field) {
		add(c, f, on && !h.of[c].v2, name, parse, fs...)
	}
	v2 := func(c controller, f file, on bool, name string, parse parser, fs ...field) {
		add(c, f, on && h.of[c].v2, name, parse, fs...)
	}
	everyone, perPod, perContainer := file{kinds: all}, file{kinds: containers | pods}, file{kinds: containers}
	rare := file{kinds: containers, rare: true}

	theirs := cfg.theirs()
	cpu, detail, modes := cfg.CPU.Enabled, cfg.CPU.Enabled && (cfg.CPU.Detail || theirs), cfg.CPU.Enabled && (cfg.CPU.Modes || theirs)
	times := map[string]key{"usage_usec": {cpuTime, us}, "user_usec": {cpuUser, us}, "system_usec": {cpuSystem, us}}
	throttling := map[string]key{
		"nr_periods": {cpuPeriods, 1}, "nr_throttled": {cpuThrottled, 1}, "throttled_usec": {cpuThrottledTime, us},
		"nr_bursts": {cpuBursts, 1}, "burst_usec": {cpuBurstTime, us}, "throttled_time": {cpuThrottledTime, 1}, "burst_time": {cpuBurstTime, 1},
	}
	cpuFields := []field{cpuPeriods, cpuThrottled, cpuThrottledTime, cpuBursts, cpuBurstTime}
	if h.of[ctlCPU].v2 && h.of[ctlCPUAcct].v2 {
		for word, k := range throttling {
			times[word] = k
		}
		v2(ctlCPUAcct, everyone, cpu, "cpu.stat", keyed(times), append(cpuFields, cpuTime, cpuUser, cpuSystem)...)
	} else {
		v2(ctlCPUAcct, everyone, cpu, "cpu.stat", keyed(times), cpuTime, cpuUser, cpuSystem)
	}
	v1(ctlCPUAcct, everyone, cpu, "cpuacct.usage", amount(cpuTime, 1), cpuTime)
	v1(ctlCPUAcct, perContainer, modes, "cpuacct.stat", keyed(map[string]key{"user": {cpuUser, ticks}, "system": {cpuSystem, ticks}}), cpuUser, cpuSystem)
	v1(ctlCPU, rare, cpu, "cpu.cfs_quota_us", limit(cpuQuota), cpuQuota)
	v1(ctlCPU, file{kinds: containers, rare: true, quota: !theirs}, cpu, "cpu.cfs_period_us", amount(cpuPeriod, 1), cpuPeriod)
	v1(ctlCPU, file{kinds: containers, quota: true}, cpu, "cpu.stat", keyed(throttling), cpuFields...)
	v1(ctlCPU, rare, detail, "cpu.shares", amount(cpuShares, 1), cpuShares)
	v2(ctlCPU, rare, cpu, "cpu.max", cpuMax, cpuQuota, cpuPeriod)
	v2(ctlCPU, rare, detail, "cpu.weight", cpuWeight, cpuShares)

	mem, detail := cfg.Memory.Enabled, cfg.Memory.Enabled && (cfg.Memory.Detail || theirs)
	limits := rare
	if cfg.Memory.Detail { // for what is available to pods
		limits.kinds |= pods
	}
	v1(ctlMemory, everyone, mem, "memory.usage_in_bytes", amount(memUsage, 1), memUsage)
	v1(ctlMemory, perPod, mem, "memory.stat", keyed(memoryStatV1), memoryFields(memoryStatV1)...)
	v1(ctlMemory, limits, mem, "memory.limit_in_bytes", limit(memLimit), memLimit)
	v1(ctlMemory, file{kinds: containers, limited: true}, mem, "memory.failcnt", amount(memEventMax, 1), memEventMax)
	v1(ctlMemory, file{kinds: containers, kills: true}, mem, "memory.oom_control", keyed(map[string]key{"oom_kill": {memEventOOMKill, 1}, "under_oom": {unused, 1}}), memEventOOMKill)
	v1(ctlMemory, rare, detail, "memory.soft_limit_in_bytes", limit(memLow), memLow)
	v1(ctlMemory, rare, detail, "memory.memsw.limit_in_bytes", limit(memAndSwapLimit), memAndSwapLimit)
	v1(ctlMemory, perContainer, mem && cfg.Memory.Detail, "memory.kmem.usage_in_bytes", amount(memKernel, 1), memKernel)
	v1(ctlMemory, perContainer, detail, "memory.max_usage_in_bytes", amount(memPeak, 1), memPeak)
	v2(ctlMemory, everyone, mem, "memory.current", amount(memUsage, 1), memUsage)
	v2(ctlMemory, perPod, mem, "memory.stat", keyed(memoryStatV2), memoryFields(memoryStatV2)...)
	v2(ctlMemory, perContainer, mem, "memory.events", keyed(memoryEventKeys), memEventLow, memEventHigh, memEventMax, memEventOOM, memEventOOMKill, memEventOOMGroupKill)
	v2(ctlMemory, file{kinds: containers, swap: true}, mem, "memory.swap.current", amount(memSwap, 1), memSwap)
	v2(ctlMemory, limits, mem, "memory.max", limit(memLimit), memLimit)
	v2(ctlMemory, rare, detail, "memory.min", limit(memMin), memMin)
	v2(ctlMemory, rare, detail, "memory.low", limit(memLow), memLow)
	v2(ctlMemory, rare, detail, "memory.swap.max", limit(memSwapLimit), memSwapLimit)
	v2(ctlMemory, perContainer, detail, "memory.peak", amount(memPeak, 1), memPeak)

	v1(ctlMemory, perContainer, detail, "memory.numa_stat", numaStat("hierarchical_", '=', uint64(os.Getpagesize())))
	v2(ctlMemory, perContainer, detail, "memory.numa_stat", numaStat("", ' ', 1))

	psi, alike := cfg.Pressure.Enabled, file{kinds: containers | pods, with: true} // Linux 4.20 has all three
	add(ctlPSI, perPod, psi, "cpu.pressure", pressure(psiCPUSome, psiCPUFull), psiCPUSome, psiCPUFull)
	add(ctlPSI, alike, psi, "memory.pressure", pressure(psiMemorySome, psiMemoryFull), psiMemorySome, psiMemoryFull)
	add(ctlPSI, alike, psi, "io.pressure", pressure(psiIOSome, psiIOFull), psiIOSome, psiIOFull)

	// BFQ and CFQ count what they schedule, the throttler whatever passes it.
	io := cfg.Disk.Enabled
	v2(ctlBlkio, perContainer, io, "io.stat", ioStat)
	for _, scheduler := range []string{"bfq.", "", "throttle."} {
		sum := kernel.NewFile(h.of[ctlBlkio].dir + "/blkio." + scheduler + "io_service_bytes_recursive")
		v1(ctlBlkio, file{kinds: containers, either: true, sum: &sum}, io, "blkio."+scheduler+"io_service_bytes_recursive", blkio(diskReadBytes, diskWriteBytes))
		v1(ctlBlkio, file{kinds: containers, either: true, second: true}, io, "blkio."+scheduler+"io_serviced_recursive", blkio(diskReads, diskWrites))
	}

	for i, name := range []string{"time", "io_wait_time", "io_merged", "io_queued", "sectors"} {
		v1(ctlBlkio, perContainer, io && cfg.Disk.Detail, "blkio.bfq."+name+"_recursive", blkioQueue(i))
	}

	threads := cfg.Threads.Enabled
	add(ctlPids, file{kinds: containers | units}, threads, "pids.current", amount(pidsCount, 1), pidsCount)
	add(ctlPids, rare, threads, "pids.max", limit(pidsLimit), pidsLimit)
	add(ctlPids, perContainer, threads && cfg.Threads.Detail, "pids.events", keyed(map[string]key{"max": {pidsLimitHits, 1}}), pidsLimitHits)

	add(ctlPids, perContainer, threads && theirs, "cgroup.procs", lines(pidsProcesses), pidsProcesses)

	for i, size := range huge {
		usage, hits := hugetlbUsage+field(i), hugetlbHits+field(i)
		v1(ctlHugetlb, perContainer, true, "hugetlb."+size.name+".usage_in_bytes", amount(usage, 1), usage)
		v1(ctlHugetlb, perContainer, true, "hugetlb."+size.name+".failcnt", amount(hits, 1), hits)
		v2(ctlHugetlb, perContainer, true, "hugetlb."+size.name+".current", amount(usage, 1), usage)
		v2(ctlHugetlb, perContainer, true, "hugetlb."+size.name+".events", keyed(map[string]key{"max": {hits, 1}}), hits)
	}
	return list
}

// memoryStatV1 takes the sums over the cgroup and what is below it.
var memoryStatV1 = map[string]key{
	"total_rss": {memRSS, 1}, "total_active_file": {memActiveFile, 1}, "total_inactive_file": {memInactiveFile, 1}, "total_cache": {memCache, 1},
	"total_mapped_file": {memMapped, 1}, "total_shmem": {memShmem, 1}, "total_dirty": {memDirty, 1}, "total_writeback": {memWriteback, 1},
	"total_swap": {memSwap, 1}, "total_pgfault": {memFaults, 1}, "total_pgmajfault": {memMajorFaults, 1},
	"total_workingset_refault_anon": {memRefaultAnon, 1}, "total_workingset_refault_file": {memRefaultFile, 1},
}

var memoryStatV2 = map[string]key{
	"anon": {memRSS, 1}, "active_file": {memActiveFile, 1}, "inactive_file": {memInactiveFile, 1}, "file": {memCache, 1},
	"file_mapped": {memMapped, 1}, "kernel": {memKernel, 1}, "shmem": {memShmem, 1}, "file_dirty": {memDirty, 1}, "file_writeback": {memWriteback, 1},
	"pgfault": {memFaults, 1}, "pgmajfault": {memMajorFaults, 1}, "pgscan": {memScanned, 1}, "pgsteal": {memReclaimed, 1},
	"workingset_refault_anon": {memRefaultAnon, 1}, "workingset_refault_file": {memRefaultFile, 1},
}

var memoryEventKeys = map[string]key{
	"low": {memEventLow, 1}, "high": {memEventHigh, 1}, "max": {memEventMax, 1},
	"oom": {memEventOOM, 1}, "oom_kill": {memEventOOMKill, 1}, "oom_group_kill": {memEventOOMGroupKill, 1},
}

func memoryFields(keys map[string]key) []field {
	var fs []field
	for _, k := range keys {
		fs = append(fs, k.field)
	}
	return fs
}

// hugeSize is a size of huge pages.
type hugeSize struct {
	name  string // as in names of files and values of linux.hugepage.size: 2MB, 1GB
	attrs []byte
}

// hugeSizes lists the sizes that the machine has.
func hugeSizes(root string) []string {
	entries, _ := os.ReadDir(root + "/sys/kernel/mm/hugepages")
	var kb []uint64
	for _, e := range entries {
		n, ok := strings.CutPrefix(strings.TrimSuffix(e.Name(), "kB"), "hugepages-")
		if v, err := strconv.ParseUint(n, 10, 64); ok && err == nil {
			kb = append(kb, v)
		}
	}
	slices.Sort(kb)
	var names []string
	for _, n := range kb[:min(len(kb), maxHugeSizes)] {
		switch { // as hugetlb_cgroup.c names its files
		case n >= 1<<20:
			names = append(names, strconv.FormatUint(n>>20, 10)+"GB")
		case n >= 1<<10:
			names = append(names, strconv.FormatUint(n>>10, 10)+"MB")
		default:
			names = append(names, strconv.FormatUint(n, 10)+"KB")
		}
	}
	return names
}
