package cgroup

import (
	"stint/export/otlp"
	"stint/scrape/series"
)

// Metrics lists every metric of this package.
func Metrics() []series.Metric {
	var all []series.Metric
	for _, t := range []struct {
		scraper string
		table   []series.Metric
	}{{"container", containerMetrics}, {"pod", podMetrics}, {"unit", unitMetrics}} {
		for _, m := range t.table {
			if m.Scraper = t.scraper; !series.IsPrometheus(m.Name) {
				all = append(all, m)
			}
		}
	}
	return all
}

const (
	containerCPUTime = iota
	containerCPUUsage
	containerPeriods
	containerThrottled
	containerThrottledTime
	containerBursts
	containerBurstTime
	containerCPULimit
	containerCPUShares
	containerMemoryUsage
	containerMemoryRSS
	containerWorkingSet
	containerAvailable
	containerMemoryLimit
	containerReservation
	containerSwapUsage
	containerSwapLimit
	containerCache
	containerMapped
	containerFileLRU
	containerKernel
	containerShmem
	containerDirty
	containerWriteback
	containerPeak
	containerMemoryEvents
	containerReclaim
	containerRefault
	containerFaults
	containerNUMA
	containerCPUPressure
	containerMemoryPressure
	containerIOPressure
	containerDiskIO
	containerDiskOperations
	containerDiscard
	containerDiskCost
	containerDiskQueue
	containerThreads
	containerThreadLimit
	containerThreadLimitHits
	containerNetworkIO
	containerNetworkDropped
	containerNetworkErrors
	containerNetworkPackets
	containerProcessCount
	containerFDs
	containerSockets
	containerFDLimit
	containerSchedTime
	containerHugetlb
	containerHugetlbHits
	containerUser // from here on cAdvisor's
)

var containerMetrics = append([]series.Metric{
	containerCPUTime: {
		Metric: otlp.Metric{Name: "container.cpu.time", Unit: "s", Instrument: otlp.Counter, Double: true,
			Description: "CPU time that the container used."},
		Attributes: "cpu.mode=user|system (with cpu.modes)",
		Source:     "v2 cpu.stat usage_usec, user_usec, system_usec; v1 cpuacct.usage, cpuacct.stat",
	},
	containerCPUUsage: {
		Metric: otlp.Metric{Name: "container.cpu.usage", Unit: "{cpu}", Instrument: otlp.Gauge, Double: true,
			Description: "CPUs that the container used on average since the last scrape."},
		Attributes: "cpu.mode=user|system (with cpu.modes)",
		Source:     "growth of container.cpu.time",
		When:       "cpu.detail is on",
	},
	containerPeriods: {
		Metric: otlp.Metric{Name: "container.cpu.cfs.period.count", Unit: "{period}", Instrument: otlp.Counter,
			Description: "Periods in which the CPU quota was enforced."},
		Source: "cpu.stat nr_periods",
		When:   "a CPU quota is set",
	},
	containerThrottled: {
		Metric: otlp.Metric{Name: "container.cpu.cfs.throttled_period.count", Unit: "{period}", Instrument: otlp.Counter,
			Description: "Periods in which the CPU quota was used up and the container had to wait."},
		Source: "cpu.stat nr_throttled",
		When:   "a CPU quota is set",
	},
	containerThrottledTime: {
		Metric: otlp.Metric{Name: "container.cpu.cfs.throttled.time", Unit: "s", Instrument: otlp.Counter, Double: true,
			Description: "Time for which the container had to wait because its CPU quota was used up, summed over CPUs."},
		Source: "v2 cpu.stat throttled_usec; v1 cpu.stat throttled_time",
		When:   "a CPU quota is set",
	},
	containerBursts: {
		Metric: otlp.Metric{Name: "container.cpu.cfs.burst_period.count", Unit: "{period}", Instrument: otlp.Counter,
			Description: "Periods in which the container used more than its CPU quota, from what it had saved up."},
		Source: "cpu.stat nr_bursts",
		When:   "cpu.detail is on, and a CPU quota is set",
	},
	containerBurstTime: {
		Metric: otlp.Metric{Name: "container.cpu.cfs.burst.time", Unit: "s", Instrument: otlp.Counter, Double: true,
			Description: "CPU time that the container used beyond its quota, from what it had saved up."},
		Source: "v2 cpu.stat burst_usec; v1 cpu.stat burst_time",
		When:   "cpu.detail is on, and a CPU quota is set",
	},
	containerCPULimit: {
		Metric: otlp.Metric{Name: "container.cpu.limit", Unit: "{cpu}", Instrument: otlp.UpDown, Double: true,
			Description: "CPUs that the container may use: its quota by the period."},
		Source: "v2 cpu.max; v1 cpu.cfs_quota_us, cpu.cfs_period_us",
		When:   "a CPU quota is set",
	},
	containerCPUShares: {
		Metric: otlp.Metric{Name: "container.cpu.shares", Unit: "1", Instrument: otlp.Gauge,
			Description: "Weight of the container when CPUs are scarce, as shares of which 1024 are usual."},
		Source: "v1 cpu.shares; v2 cpu.weight, converted",
		When:   "cpu.detail is on",
	},
	containerMemoryUsage: {
		Metric: otlp.Metric{Name: "container.memory.usage", Unit: "By", Instrument: otlp.UpDown,
			Description: "Memory charged to the container, page cache included."},
		Source: "v2 memory.current; v1 memory.usage_in_bytes",
	},
	containerMemoryRSS: {
		Metric: otlp.Metric{Name: "container.memory.rss", Unit: "By", Instrument: otlp.UpDown,
			Description: "Anonymous memory of the container."},
		Source: "memory.stat: v2 anon; v1 total_rss",
	},
	containerWorkingSet: {
		Metric: otlp.Metric{Name: "container.memory.working_set", Unit: "By", Instrument: otlp.UpDown,
			Description: "Memory of the container without the page cache that it did not use lately."},
		Source: "usage - memory.stat: v2 inactive_file; v1 total_inactive_file",
	},
	containerAvailable: {
		Metric: otlp.Metric{Name: "container.memory.available", Unit: "By", Instrument: otlp.UpDown,
			Description: "What the working set may still grow by before the limit."},
		Source: "limit - working set",
		When:   "memory.detail is on, and there is a limit",
	},
	containerMemoryLimit: {
		Metric: otlp.Metric{Name: "container.memory.limit", Unit: "By", Instrument: otlp.UpDown,
			Description: "Memory that the container may use."},
		Source: "v2 memory.max; v1 memory.limit_in_bytes",
		When:   "there is a limit",
	},
	containerReservation: {
		Metric: otlp.Metric{Name: "container.memory.reservation", Unit: "By", Instrument: otlp.UpDown,
			Description: "Memory that the kernel tries to leave to the container."},
		Source: "v2 memory.min, else memory.low; v1 memory.soft_limit_in_bytes",
		When:   "memory.detail is on, and there is a reservation",
	},
	containerSwapUsage: {
		Metric: otlp.Metric{Name: "container.memory.swap.usage", Unit: "By", Instrument: otlp.UpDown,
			Description: "Memory of the container that lies in swap."},
		Source: "v2 memory.swap.current; v1 memory.stat total_swap",
		When:   "the machine has swap",
	},
	containerSwapLimit: {
		Metric: otlp.Metric{Name: "container.memory.swap.limit", Unit: "By", Instrument: otlp.UpDown,
			Description: "Swap that the container may use."},
		Source: "v2 memory.swap.max; v1 memory.memsw.limit_in_bytes - memory.limit_in_bytes",
		When:   "memory.detail is on, and there is a limit",
	},
	containerCache: {
		Metric: otlp.Metric{Name: "container.memory.cache", Unit: "By", Instrument: otlp.UpDown,
			Description: "Page cache of the container, tmpfs and shared memory included."},
		Source: "memory.stat: v2 file; v1 total_cache",
	},
	containerMapped: {
		Metric: otlp.Metric{Name: "container.memory.mapped", Unit: "By", Instrument: otlp.UpDown,
			Description: "Files that the container has mapped."},
		Source: "memory.stat: v2 file_mapped; v1 total_mapped_file",
		When:   "memory.detail is on",
	},
	containerFileLRU: {
		Metric: otlp.Metric{Name: "container.memory.file.lru", Unit: "By", Instrument: otlp.UpDown,
			Description: "Page cache by whether it was used lately."},
		Attributes: "linux.lru.state=active|inactive",
		Source:     "memory.stat: v2 active_file, inactive_file; v1 total_active_file, total_inactive_file",
		When:       "memory.detail is on",
	},
	containerKernel: {
		Metric: otlp.Metric{Name: "container.memory.kernel", Unit: "By", Instrument: otlp.UpDown,
			Description: "Memory that the kernel uses on behalf of the container."},
		Source: "v2 memory.stat kernel; v1 memory.kmem.usage_in_bytes",
		When:   "memory.detail is on",
	},
	containerShmem: {
		Metric: otlp.Metric{Name: "container.memory.shmem", Unit: "By", Instrument: otlp.UpDown,
			Description: "tmpfs and shared memory of the container."},
		Source: "memory.stat: v2 shmem; v1 total_shmem",
		When:   "memory.detail is on",
	},
	containerDirty: {
		Metric: otlp.Metric{Name: "container.memory.dirty", Unit: "By", Instrument: otlp.UpDown,
			Description: "Page cache that waits to be written."},
		Source: "memory.stat: v2 file_dirty; v1 total_dirty",
		When:   "memory.detail is on",
	},
	containerWriteback: {
		Metric: otlp.Metric{Name: "container.memory.writeback", Unit: "By", Instrument: otlp.UpDown,
			Description: "Page cache that is being written."},
		Source: "memory.stat: v2 file_writeback; v1 total_writeback",
		When:   "memory.detail is on",
	},
	containerPeak: {
		Metric: otlp.Metric{Name: "container.memory.peak", Unit: "By", Instrument: otlp.UpDown,
			Description: "Most memory that was charged to the container at a time."},
		Source: "v2 memory.peak; v1 memory.max_usage_in_bytes",
		When:   "memory.detail is on",
	},
	containerMemoryEvents: {
		Metric: otlp.Metric{Name: "container.memory.event.count", Unit: "{event}", Instrument: otlp.Counter,
			Description: "Times that memory ran short: high and max = the limit of that name was met, oom_kill = processes killed."},
		Attributes: "container.memory.event=low|high|max|oom|oom_kill|oom_group_kill",
		Source:     "v2 memory.events; v1 memory.failcnt (max), memory.oom_control (oom_kill)",
	},
	containerReclaim: {
		Metric: otlp.Metric{Name: "container.memory.reclaim.count", Unit: "{page}", Instrument: otlp.Counter,
			Description: "Pages that the kernel looked at to get memory back, and that it got."},
		Attributes: "container.memory.reclaim=scanned|reclaimed",
		Source:     "v2 memory.stat pgscan, pgsteal",
		When:       "memory.detail is on",
	},
	containerRefault: {
		Metric: otlp.Metric{Name: "container.memory.refault.count", Unit: "{page}", Instrument: otlp.Counter,
			Description: "Pages that were taken and soon wanted again: they grow when there is too little memory."},
		Attributes: "linux.lru.type=anon|file",
		Source:     "memory.stat: v2 workingset_refault_*; v1 total_workingset_refault_*",
		When:       "memory.detail is on",
	},
	containerFaults: {
		Metric: otlp.Metric{Name: "container.paging.faults", Unit: "{fault}", Instrument: otlp.Counter,
			Description: "Page faults; major ones had to read from a disk."},
		Attributes: "system.paging.fault.type=major|minor",
		Source:     "memory.stat: v2 pgfault, pgmajfault; v1 total_pgfault, total_pgmajfault",
	},
	containerNUMA: {
		Metric: otlp.Metric{Name: "container.memory.numa.usage", Unit: "By", Instrument: otlp.UpDown,
			Description: "Memory of the container by the memory node that it lies on."},
		Attributes: "linux.numa.node=<int>; linux.numa.type=anon|file|unevictable",
		Source:     "memory.numa_stat: v2 anon, file, unevictable; v1 hierarchical_anon, …",
		When:       "memory.detail is on",
	},
	containerCPUPressure: {
		Metric: otlp.Metric{Name: "container.cpu.pressure.time", Unit: "s", Instrument: otlp.Counter, Double: true,
			Description: "Time in which some, or all, processes of the container waited for a CPU."},
		Attributes: "psi.type=some|full",
		Source:     "v2 cpu.pressure total",
		When:       "the kernel has PSI, on cgroup v2",
	},
	containerMemoryPressure: {
		Metric: otlp.Metric{Name: "container.memory.pressure.time", Unit: "s", Instrument: otlp.Counter, Double: true,
			Description: "Time in which some, or all, processes of the container waited for memory."},
		Attributes: "psi.type=some|full",
		Source:     "v2 memory.pressure total",
		When:       "the kernel has PSI, on cgroup v2",
	},
	containerIOPressure: {
		Metric: otlp.Metric{Name: "container.io.pressure.time", Unit: "s", Instrument: otlp.Counter, Double: true,
			Description: "Time in which some, or all, processes of the container waited for a disk."},
		Attributes: "psi.type=some|full",
		Source:     "v2 io.pressure total",
		When:       "the kernel has PSI, on cgroup v2",
	},
	containerDiskIO: {
		Metric: otlp.Metric{Name: "container.disk.io", Unit: "By", Instrument: otlp.Counter,
			Description: "Bytes that the container read from and wrote to the device; on v1 without what the page cache wrote."},
		Attributes: "system.device=<block device name>; disk.io.direction=read|write",
		Source:     "v2 io.stat rbytes, wbytes; v1 blkio.*.io_service_bytes_recursive of bfq, cfq or throttle",
		When:       "it read or wrote",
	},
	containerDiskOperations: {
		Metric: otlp.Metric{Name: "container.disk.operations", Unit: "{operation}", Instrument: otlp.Counter,
			Description: "Reads and writes of the container on the device."},
		Attributes: "system.device=<block device name>; disk.io.direction=read|write",
		Source:     "v2 io.stat rios, wios; v1 blkio.*.io_serviced_recursive of bfq, cfq or throttle",
		When:       "it read or wrote",
	},
	containerDiscard: {
		Metric: otlp.Metric{Name: "container.disk.discard.io", Unit: "By", Instrument: otlp.Counter,
			Description: "Bytes that the container discarded (TRIM) on the device."},
		Attributes: "system.device=<block device name>",
		Source:     "v2 io.stat dbytes",
		When:       "disk.detail is on",
	},
	containerDiskCost: {
		Metric: otlp.Metric{Name: "container.disk.cost.time", Unit: "s", Instrument: otlp.Counter, Double: true,
			Description: "Time of the device that the container's I/O cost by the kernel's model: usage, and the time for which it waited, was in debt and was delayed."},
		Attributes: "system.device=<block device name>; container.disk.cost=usage|wait|indebt|indelay",
		Source:     "v2 io.stat cost.usage, cost.wait, cost.indebt, cost.indelay",
		When:       "disk.detail is on, and the device has costs (io.cost.qos)",
	},
	containerDiskQueue: {
		Metric: otlp.Metric{Name: "container.disk.queue", Unit: "{operation}", Instrument: otlp.Gauge,
			Description: "What the scheduler BFQ tells of the container: operations queued and merged, sectors, and time of I/O and of waiting in ns."},
		Attributes: "system.device=<block device name>; container.disk.queue=io_time|io_wait|merged|queued|sectors",
		Source:     "v1 blkio.bfq.time_recursive, io_wait_time_recursive, io_merged_recursive, io_queued_recursive, sectors_recursive",
		When:       "disk.detail is on, and the kernel was built to debug BFQ (CONFIG_BFQ_CGROUP_DEBUG)",
	},
	containerThreads: {
		Metric: otlp.Metric{Name: "container.thread.count", Unit: "{thread}", Instrument: otlp.UpDown,
			Description: "Threads of the container."},
		Source: "pids.current",
	},
	containerThreadLimit: {
		Metric: otlp.Metric{Name: "container.thread.limit", Unit: "{thread}", Instrument: otlp.UpDown,
			Description: "Threads that the container may have."},
		Source: "pids.max",
		When:   "there is a limit",
	},
	containerThreadLimitHits: {
		Metric: otlp.Metric{Name: "container.thread.limit_hit.count", Unit: "{event}", Instrument: otlp.Counter,
			Description: "Times that a thread or process could not be started because of the limit."},
		Source: "pids.events max",
		When:   "threads.detail is on",
	},
	containerNetworkIO: {
		Metric: otlp.Metric{Name: "container.network.io", Unit: "By", Instrument: otlp.Counter,
			Description: "Bytes received and sent by the container's interface. Of containers that share a namespace one has them."},
		Attributes: linkDirection,
		Source:     "/proc/<pid>/net/dev bytes",
		When:       outsideK8s,
	},
	containerNetworkDropped: {
		Metric: otlp.Metric{Name: "container.network.packet.dropped", Unit: "{packet}", Instrument: otlp.Counter,
			Description: "Packets that the container's interface dropped."},
		Attributes: linkDirection,
		Source:     "/proc/<pid>/net/dev drop",
		When:       outsideK8s,
	},
	containerNetworkErrors: {
		Metric: otlp.Metric{Name: "container.network.errors", Unit: "{error}", Instrument: otlp.Counter,
			Description: "Errors in receiving and sending on the container's interface."},
		Attributes: linkDirection,
		Source:     "/proc/<pid>/net/dev errs",
		When:       outsideK8s,
	},
	containerNetworkPackets: {
		Metric: otlp.Metric{Name: "container.network.packet.count", Unit: "{packet}", Instrument: otlp.Counter,
			Description: "Packets received and sent by the container's interface."},
		Attributes: linkDirection,
		Source:     "/proc/<pid>/net/dev packets",
		When:       "network.detail is on; " + outsideK8s,
	},
	containerProcessCount: {
		Metric: otlp.Metric{Name: "container.process.count", Unit: "{process}", Instrument: otlp.UpDown,
			Description: "Processes in the container's own cgroup, without those in cgroups that it made below."},
		Source: "lines of cgroup.procs",
		When:   "processes is on; in a pod on cgroup v2, or with hostPID",
	},
	containerFDs: {
		Metric: otlp.Metric{Name: "container.file_descriptor.count", Unit: "{file_descriptor}", Instrument: otlp.UpDown,
			Description: "Open files of the container's processes; one that is shared counts for each."},
		Source: "size of /proc/<pid>/fd (kernel 6.2), else its entries, over cgroup.procs",
		When:   "processes is on, and the agent may read it (CAP_SYS_PTRACE, and hostPID in a pod)",
	},
	containerSockets: {
		Metric: otlp.Metric{Name: "container.socket.count", Unit: "{socket}", Instrument: otlp.UpDown,
			Description: "Open files of the container's processes that are sockets; one that is shared counts for each."},
		Source: "links in /proc/<pid>/fd, over cgroup.procs",
		When:   "processes.detail is on, and the agent may read it (CAP_SYS_PTRACE, and hostPID in a pod)",
	},
	containerFDLimit: {
		Metric: otlp.Metric{Name: "container.file_descriptor.limit", Unit: "{file_descriptor}", Instrument: otlp.UpDown,
			Description: "Files that the container's first process may have open."},
		Source: "/proc/<pid>/limits Max open files, soft",
		When:   "processes is on, and there is a limit; in a pod with hostPID",
	},
	containerSchedTime: {
		Metric: otlp.Metric{Name: "container.cpu.sched.time", Unit: "s", Instrument: otlp.Counter, Double: true,
			Description: "Time for which main threads of the container's processes ran and waited for a CPU, without what those used last that ended between two scrapes."},
		Attributes: "cpu.sched.state=running|waiting",
		Source:     "/proc/<pid>/schedstat, over cgroup.procs",
		When:       "processes is on; in a pod with hostPID",
	},
	containerHugetlb: {
		Metric: otlp.Metric{Name: "container.hugetlb.usage", Unit: "By", Instrument: otlp.UpDown,
			Description: "Huge pages that the container uses."},
		Attributes: "linux.hugepage.size=<2MB|1GB|...>",
		Source:     "v2 hugetlb.SIZE.current; v1 hugetlb.SIZE.usage_in_bytes",
		When:       "hugetlb is on",
	},
	containerHugetlbHits: {
		Metric: otlp.Metric{Name: "container.hugetlb.limit_hit.count", Unit: "{event}", Instrument: otlp.Counter,
			Description: "Times that the container was refused a huge page because of its limit."},
		Attributes: "linux.hugepage.size=<2MB|1GB|...>",
		Source:     "v2 hugetlb.SIZE.events max; v1 hugetlb.SIZE.failcnt",
		When:       "hugetlb is on",
	},
}, CAdvisorMetrics...)

const (
	podCPUTime = iota
	podCPUUsage
	podMemoryUsage
	podMemoryRSS
	podWorkingSet
	podAvailable
	podFaults
	podCPUPressure
	podMemoryPressure
	podIOPressure
	podNetworkDropped
	podNetworkPackets
	podNetworkSockets
	podNetworkResent
)

const (
	linkDirection = "network.interface.name=<ifname>; network.io.direction=receive|transmit"
	netnsShown    = "/proc shows a process of it; not in the host's network namespace"
	outsideK8s    = "outside Kubernetes, where " + netnsShown
)

var podMetrics = []series.Metric{
	podCPUTime: {
		Metric: otlp.Metric{Name: "k8s.pod.cpu.time", Unit: "s", Instrument: otlp.Counter, Double: true,
			Description: "CPU time that the pod used, that of ended containers included."},
		Source: "as container.cpu.time",
	},
	podCPUUsage: {
		Metric: otlp.Metric{Name: "k8s.pod.cpu.usage", Unit: "{cpu}", Instrument: otlp.Gauge, Double: true,
			Description: "CPUs that the pod used on average since the last scrape."},
		Source: "growth of k8s.pod.cpu.time",
		When:   "cpu.detail is on",
	},
	podMemoryUsage: {
		Metric: otlp.Metric{Name: "k8s.pod.memory.usage", Unit: "By", Instrument: otlp.UpDown,
			Description: "Memory charged to the pod, page cache included."},
		Source: "as container.memory.usage",
	},
	podMemoryRSS: {
		Metric: otlp.Metric{Name: "k8s.pod.memory.rss", Unit: "By", Instrument: otlp.UpDown,
			Description: "Anonymous memory of the pod."},
		Source: "as container.memory.rss",
		When:   "memory.detail is on",
	},
	podWorkingSet: {
		Metric: otlp.Metric{Name: "k8s.pod.memory.working_set", Unit: "By", Instrument: otlp.UpDown,
			Description: "Memory of the pod without the page cache that it did not use lately."},
		Source: "as container.memory.working_set",
	},
	podAvailable: {
		Metric: otlp.Metric{Name: "k8s.pod.memory.available", Unit: "By", Instrument: otlp.UpDown,
			Description: "What the working set may still grow by before the limit."},
		Source: "limit - working set",
		When:   "memory.detail is on, and there is a limit",
	},
	podFaults: {
		Metric: otlp.Metric{Name: "k8s.pod.paging.faults", Unit: "{fault}", Instrument: otlp.Counter,
			Description: "Page faults; major ones had to read from a disk."},
		Attributes: "system.paging.fault.type=major|minor",
		Source:     "as container.paging.faults",
		When:       "memory.detail is on",
	},
	podCPUPressure: {
		Metric: otlp.Metric{Name: "k8s.pod.cpu.pressure.time", Unit: "s", Instrument: otlp.Counter, Double: true,
			Description: "Time in which some, or all, processes of the pod waited for a CPU."},
		Attributes: "psi.type=some|full",
		Source:     "v2 cpu.pressure total",
		When:       "the kernel has PSI, on cgroup v2",
	},
	podMemoryPressure: {
		Metric: otlp.Metric{Name: "k8s.pod.memory.pressure.time", Unit: "s", Instrument: otlp.Counter, Double: true,
			Description: "Time in which some, or all, processes of the pod waited for memory."},
		Attributes: "psi.type=some|full",
		Source:     "v2 memory.pressure total",
		When:       "the kernel has PSI, on cgroup v2",
	},
	podIOPressure: {
		Metric: otlp.Metric{Name: "k8s.pod.io.pressure.time", Unit: "s", Instrument: otlp.Counter, Double: true,
			Description: "Time in which some, or all, processes of the pod waited for a disk."},
		Attributes: "psi.type=some|full",
		Source:     "v2 io.pressure total",
		When:       "the kernel has PSI, on cgroup v2",
	},
	podNetworkDropped: {
		Metric: otlp.Metric{Name: "k8s.pod.network.packet.dropped", Unit: "{packet}", Instrument: otlp.Counter,
			Description: "Packets that the pod's interface dropped."},
		Attributes: linkDirection,
		Source:     "/proc/<pid>/net/dev drop",
		When:       netnsShown,
	},
	podNetworkPackets: {
		Metric: otlp.Metric{Name: "k8s.pod.network.packet.count", Unit: "{packet}", Instrument: otlp.Counter,
			Description: "Packets received and sent by the pod's interface."},
		Attributes: linkDirection,
		Source:     "/proc/<pid>/net/dev packets",
		When:       "network.detail is on; " + netnsShown,
	},
	podNetworkSockets: {
		Metric: otlp.Metric{Name: "k8s.pod.network.socket.count", Unit: "{socket}", Instrument: otlp.UpDown,
			Description: "Sockets of the pod by state. Without network.type: of both IPv4 and IPv6."},
		Attributes: "network.transport=tcp|udp; network.type=ipv4|ipv6 (with inuse); system.network.socket.state=inuse|time_wait",
		Source:     "/proc/<pid>/net/sockstat, sockstat6",
		When:       "network.detail is on; " + netnsShown,
	},
	podNetworkResent: {
		Metric: otlp.Metric{Name: "k8s.pod.network.tcp.segment.retransmitted", Unit: "{segment}", Instrument: otlp.Counter,
			Description: "TCP segments that the pod sent again."},
		Source: "/proc/<pid>/net/snmp Tcp RetransSegs",
		When:   "network.detail is on; " + netnsShown,
	},
}

const (
	unitCPUTime = iota
	unitMemoryUsage
	unitTasks
)

var unitMetrics = []series.Metric{
	unitCPUTime: {
		Metric: otlp.Metric{Name: "systemd.unit.cpu.time", Unit: "s", Instrument: otlp.Counter, Double: true,
			Description: "CPU time that the unit used."},
		Attributes: "systemd.unit.name=<unit>",
		Source:     "as container.cpu.time",
	},
	unitMemoryUsage: {
		Metric: otlp.Metric{Name: "systemd.unit.memory.usage", Unit: "By", Instrument: otlp.UpDown,
			Description: "Memory charged to the unit, page cache included."},
		Attributes: "systemd.unit.name=<unit>",
		Source:     "as container.memory.usage",
	},
	unitTasks: {
		Metric: otlp.Metric{Name: "systemd.unit.task.count", Unit: "{thread}", Instrument: otlp.UpDown,
			Description: "Threads of the unit."},
		Attributes: "systemd.unit.name=<unit>",
		Source:     "pids.current",
	},
}
