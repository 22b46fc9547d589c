package kubelet

import (
	"stint/export/otlp"
	"stint/scrape/series"
)

// StatsMetrics lists every metric that is made of /stats/summary.
func StatsMetrics() []series.Metric {
	var all []series.Metric
	for _, t := range [][]series.Metric{nodeMetrics, systemMetrics, podMetrics, volumeMetrics, containerMetrics} {
		for _, m := range t {
			if m.Scraper = statsScraper; !series.IsPrometheus(m.Name) {
				all = append(all, m)
			}
		}
	}
	return all
}

const (
	nodeCPUTime = iota
	nodeCPUUsage
	nodeMemoryUsage
	nodeMemoryAvailable
	nodeMemoryRSS
	nodeWorkingSet
	nodeFaults
	nodeFSAvailable
	nodeFSCapacity
	nodeFSUsage
	nodeFSInodes
	nodeFSInodesFree
	nodeImagesAvailable
	nodeImagesCapacity
	nodeImagesUsage
	nodeImagesInodesFree
	nodeLayersAvailable
	nodeLayersCapacity
	nodeLayersUsage
	nodeLayersInodesFree
	nodeNetworkIO
	nodeNetworkErrors
	nodeUptime
	nodePidUsage
	nodePidLimit
	nodeSwapUsage
	nodeSwapAvailable
	nodeCPUPressure
	nodeMemoryPressure
	nodeIOPressure
)

// nodeMetrics are of the node.
var nodeMetrics = []series.Metric{
	nodeCPUTime: {
		Metric: otlp.Metric{Name: "k8s.node.cpu.time", Unit: "s", Instrument: otlp.Counter, Double: true,
			Description: "CPU time that the node used."},
		Source: "/stats/summary node.cpu.usageCoreNanoSeconds",
		When:   "nothing else tells it, or scrape.dedup.node is kubelet",
	},
	nodeCPUUsage: {
		Metric: otlp.Metric{Name: "k8s.node.cpu.usage", Unit: "{cpu}", Instrument: otlp.Gauge, Double: true,
			Description: "CPUs that the node used on average between two summaries."},
		Source: "growth of k8s.node.cpu.time",
		When:   "nothing else tells it, or scrape.dedup.node is kubelet",
	},
	nodeMemoryUsage: {
		Metric: otlp.Metric{Name: "k8s.node.memory.usage", Unit: "By", Instrument: otlp.UpDown,
			Description: "Memory charged to the root cgroup, page cache included."},
		Source: "/stats/summary node.memory.usageBytes",
		When:   "nothing else tells it, or scrape.dedup.node is kubelet",
	},
	nodeMemoryAvailable: {
		Metric: otlp.Metric{Name: "k8s.node.memory.available", Unit: "By", Instrument: otlp.UpDown,
			Description: "Memory that is left before the kubelet evicts pods, by its own reckoning: capacity - working set."},
		Source: "/stats/summary node.memory.availableBytes",
	},
	nodeMemoryRSS: {
		Metric: otlp.Metric{Name: "k8s.node.memory.rss", Unit: "By", Instrument: otlp.UpDown,
			Description: "Anonymous memory of the node."},
		Source: "/stats/summary node.memory.rssBytes",
		When:   "nothing else tells it, or scrape.dedup.node is kubelet",
	},
	nodeWorkingSet: {
		Metric: otlp.Metric{Name: "k8s.node.memory.working_set", Unit: "By", Instrument: otlp.UpDown,
			Description: "Memory of the node without the page cache that was not used lately."},
		Source: "/stats/summary node.memory.workingSetBytes",
	},
	nodeFaults: {
		Metric: otlp.Metric{Name: "k8s.node.paging.faults", Unit: "{fault}", Instrument: otlp.Counter,
			Description: "Page faults; major ones had to read from a disk."},
		Attributes: "system.paging.fault.type=major|minor",
		Source:     "/stats/summary node.memory.majorPageFaults, pageFaults - majorPageFaults",
		When:       "nothing else tells it, or scrape.dedup.node is kubelet",
	},
	nodeFSAvailable: {
		Metric: otlp.Metric{Name: "k8s.node.filesystem.available", Unit: "By", Instrument: otlp.UpDown,
			Description: "What is free on the kubelet's file system (nodefs)."},
		Source: "/stats/summary node.fs.availableBytes",
	},
	nodeFSCapacity: {
		Metric: otlp.Metric{Name: "k8s.node.filesystem.capacity", Unit: "By", Instrument: otlp.UpDown,
			Description: "Size of the kubelet's file system (nodefs)."},
		Source: "/stats/summary node.fs.capacityBytes",
	},
	nodeFSUsage: {
		Metric: otlp.Metric{Name: "k8s.node.filesystem.usage", Unit: "By", Instrument: otlp.UpDown,
			Description: "What is used on the kubelet's file system (nodefs)."},
		Source: "/stats/summary node.fs.usedBytes",
	},
	nodeFSInodes: {
		Metric: otlp.Metric{Name: "k8s.node.filesystem.inode.count", Unit: "{inode}", Instrument: otlp.UpDown,
			Description: "Inodes of the kubelet's file system (nodefs)."},
		Source: "/stats/summary node.fs.inodes",
		When:   "it has a fixed number",
	},
	nodeFSInodesFree: {
		Metric: otlp.Metric{Name: "k8s.node.filesystem.inode.free", Unit: "{inode}", Instrument: otlp.UpDown,
			Description: "Free inodes of the kubelet's file system (nodefs)."},
		Source: "/stats/summary node.fs.inodesFree",
		When:   "it has a fixed number",
	},
	nodeImagesAvailable: {
		Metric: otlp.Metric{Name: "k8s.node.imagefs.available", Unit: "By", Instrument: otlp.UpDown,
			Description: "What is free on the file system of images (imagefs)."},
		Source: "/stats/summary node.runtime.imageFs.availableBytes",
	},
	nodeImagesCapacity: {
		Metric: otlp.Metric{Name: "k8s.node.imagefs.capacity", Unit: "By", Instrument: otlp.UpDown,
			Description: "Size of the file system of images (imagefs)."},
		Source: "/stats/summary node.runtime.imageFs.capacityBytes",
	},
	nodeImagesUsage: {
		Metric: otlp.Metric{Name: "k8s.node.imagefs.usage", Unit: "By", Instrument: otlp.UpDown,
			Description: "What images use on their file system (imagefs)."},
		Source: "/stats/summary node.runtime.imageFs.usedBytes",
	},
	nodeImagesInodesFree: {
		Metric: otlp.Metric{Name: "k8s.node.imagefs.inode.free", Unit: "{inode}", Instrument: otlp.UpDown,
			Description: "Free inodes of the file system of images (imagefs)."},
		Source: "/stats/summary node.runtime.imageFs.inodesFree",
		When:   "node.detail is on",
	},
	nodeLayersAvailable: {
		Metric: otlp.Metric{Name: "k8s.node.containerfs.available", Unit: "By", Instrument: otlp.UpDown,
			Description: "What is free on the file system of writable layers (containerfs)."},
		Source: "/stats/summary node.runtime.containerFs.availableBytes",
		When:   "node.detail is on",
	},
	nodeLayersCapacity: {
		Metric: otlp.Metric{Name: "k8s.node.containerfs.capacity", Unit: "By", Instrument: otlp.UpDown,
			Description: "Size of the file system of writable layers (containerfs)."},
		Source: "/stats/summary node.runtime.containerFs.capacityBytes",
		When:   "node.detail is on",
	},
	nodeLayersUsage: {
		Metric: otlp.Metric{Name: "k8s.node.containerfs.usage", Unit: "By", Instrument: otlp.UpDown,
			Description: "What writable layers use on their file system (containerfs)."},
		Source: "/stats/summary node.runtime.containerFs.usedBytes",
		When:   "node.detail is on",
	},
	nodeLayersInodesFree: {
		Metric: otlp.Metric{Name: "k8s.node.containerfs.inode.free", Unit: "{inode}", Instrument: otlp.UpDown,
			Description: "Free inodes of the file system of writable layers (containerfs)."},
		Source: "/stats/summary node.runtime.containerFs.inodesFree",
		When:   "node.detail is on",
	},
	nodeNetworkIO: {
		Metric: otlp.Metric{Name: "k8s.node.network.io", Unit: "By", Instrument: otlp.Counter,
			Description: "Bytes received and sent by the node's interface."},
		Attributes: "network.interface.name=<ifname>; network.io.direction=receive|transmit",
		Source:     "/stats/summary node.network.interfaces[].rxBytes, txBytes",
		When:       "nothing else tells it, or scrape.dedup.node is kubelet",
	},
	nodeNetworkErrors: {
		Metric: otlp.Metric{Name: "k8s.node.network.errors", Unit: "{error}", Instrument: otlp.Counter,
			Description: "Errors in receiving and sending on the node's interface."},
		Attributes: "network.interface.name=<ifname>; network.io.direction=receive|transmit",
		Source:     "/stats/summary node.network.interfaces[].rxErrors, txErrors",
		When:       "nothing else tells it, or scrape.dedup.node is kubelet",
	},
	nodeUptime: {
		Metric: otlp.Metric{Name: "k8s.node.uptime", Unit: "s", Instrument: otlp.Gauge, Double: true,
			Description: "Time since the node started."},
		Source: "time of the scrape - /stats/summary node.startTime",
		When:   "nothing else tells it, or scrape.dedup.node is kubelet",
	},
	nodePidUsage: {
		Metric: otlp.Metric{Name: "k8s.node.pid.usage", Unit: "{thread}", Instrument: otlp.UpDown,
			Description: "Threads of the node."},
		Source: "/stats/summary node.rlimit.curproc",
		When:   "nothing else tells it, or scrape.dedup.node is kubelet",
	},
	nodePidLimit: {
		Metric: otlp.Metric{Name: "k8s.node.pid.limit", Unit: "{thread}", Instrument: otlp.UpDown,
			Description: "Threads that the node may have."},
		Source: "/stats/summary node.rlimit.maxpid",
		When:   "nothing else tells it, or scrape.dedup.node is kubelet",
	},
	nodeSwapUsage: {
		Metric: otlp.Metric{Name: "k8s.node.swap.usage", Unit: "By", Instrument: otlp.UpDown,
			Description: "Swap in use on the node."},
		Source: "/stats/summary node.swap.swapUsageBytes",
		When:   "the node has swap, and nothing else tells it, or scrape.dedup.node is kubelet",
	},
	nodeSwapAvailable: {
		Metric: otlp.Metric{Name: "k8s.node.swap.available", Unit: "By", Instrument: otlp.UpDown,
			Description: "Swap that is free on the node."},
		Source: "/stats/summary node.swap.swapAvailableBytes",
		When:   "the node has swap, and nothing else tells it, or scrape.dedup.node is kubelet",
	},
	nodeCPUPressure: {
		Metric: otlp.Metric{Name: "k8s.node.cpu.pressure.time", Unit: "s", Instrument: otlp.Counter, Double: true,
			Description: "Time in which some, or all, processes of the node waited for a CPU."},
		Attributes: "psi.type=some|full",
		Source:     "/stats/summary node.cpu.psi.some.total, full.total",
		When:       "the kernel has PSI, and the unit of the total is known, and nothing else tells it, or scrape.dedup.node is kubelet",
	},
	nodeMemoryPressure: {
		Metric: otlp.Metric{Name: "k8s.node.memory.pressure.time", Unit: "s", Instrument: otlp.Counter, Double: true,
			Description: "Time in which some, or all, processes of the node waited for memory."},
		Attributes: "psi.type=some|full",
		Source:     "/stats/summary node.memory.psi.some.total, full.total",
		When:       "the kernel has PSI, and the unit of the total is known, and nothing else tells it, or scrape.dedup.node is kubelet",
	},
	nodeIOPressure: {
		Metric: otlp.Metric{Name: "k8s.node.io.pressure.time", Unit: "s", Instrument: otlp.Counter, Double: true,
			Description: "Time in which some, or all, processes of the node waited for a disk."},
		Attributes: "psi.type=some|full",
		Source:     "/stats/summary node.io.psi.some.total, full.total",
		When:       "the kernel has PSI, and the unit of the total is known, and nothing else tells it, or scrape.dedup.node is kubelet",
	},
}

const (
	systemCPUTime = iota
	systemCPUUsage
	systemMemoryUsage
	systemWorkingSet
)

// systemMetrics are of a system container, whose name is in the resource.
var systemMetrics = []series.Metric{
	systemCPUTime: {
		Metric: otlp.Metric{Name: "k8s.node.system_container.cpu.time", Unit: "s", Instrument: otlp.Counter, Double: true,
			Description: "CPU time that the system container used: kubelet, runtime, misc or pods."},
		Source: "/stats/summary node.systemContainers[].cpu.usageCoreNanoSeconds",
	},
	systemCPUUsage: {
		Metric: otlp.Metric{Name: "k8s.node.system_container.cpu.usage", Unit: "{cpu}", Instrument: otlp.Gauge, Double: true,
			Description: "CPUs that the system container used on average between two summaries."},
		Source: "growth of k8s.node.system_container.cpu.time",
		When:   "node.detail is on",
	},
	systemMemoryUsage: {
		Metric: otlp.Metric{Name: "k8s.node.system_container.memory.usage", Unit: "By", Instrument: otlp.UpDown,
			Description: "Memory charged to the system container, page cache included."},
		Source: "/stats/summary node.systemContainers[].memory.usageBytes",
		When:   "node.detail is on",
	},
	systemWorkingSet: {
		Metric: otlp.Metric{Name: "k8s.node.system_container.memory.working_set", Unit: "By", Instrument: otlp.UpDown,
			Description: "Memory of the system container without the page cache that it did not use lately."},
		Source: "/stats/summary node.systemContainers[].memory.workingSetBytes",
	},
}

const (
	podCPUTime = iota
	podCPUUsage
	podMemoryUsage
	podMemoryRSS
	podWorkingSet
	podMemoryAvailable
	podFaults
	podNetworkIO
	podNetworkErrors
	podFSUsage
	podFSAvailable
	podFSCapacity
	podFSInodesUsed
	podUptime
	podProcesses
	podSwapUsage
	podCPUPressure
	podMemoryPressure
	podIOPressure
	podCPUOfNode
	podMemoryOfNode
	podCPULimit
	podCPURequest
	podMemoryLimit
	podMemoryRequest
)

// podMetrics are of a pod.
var podMetrics = []series.Metric{
	podCPUTime: {
		Metric: otlp.Metric{Name: "k8s.pod.cpu.time", Unit: "s", Instrument: otlp.Counter, Double: true,
			Description: "CPU time that the pod used, that of ended containers included."},
		Source: "/stats/summary pods[].cpu.usageCoreNanoSeconds",
	},
	podCPUUsage: {
		Metric: otlp.Metric{Name: "k8s.pod.cpu.usage", Unit: "{cpu}", Instrument: otlp.Gauge, Double: true,
			Description: "CPUs that the pod used on average since the last scrape."},
		Source: "growth of k8s.pod.cpu.time",
		When:   "pods.detail is on",
	},
	podMemoryUsage: {
		Metric: otlp.Metric{Name: "k8s.pod.memory.usage", Unit: "By", Instrument: otlp.UpDown,
			Description: "Memory charged to the pod, page cache included."},
		Source: "/stats/summary pods[].memory.usageBytes",
	},
	podMemoryRSS: {
		Metric: otlp.Metric{Name: "k8s.pod.memory.rss", Unit: "By", Instrument: otlp.UpDown,
			Description: "Anonymous memory of the pod."},
		Source: "/stats/summary pods[].memory.rssBytes",
		When:   "pods.detail is on",
	},
	podWorkingSet: {
		Metric: otlp.Metric{Name: "k8s.pod.memory.working_set", Unit: "By", Instrument: otlp.UpDown,
			Description: "Memory of the pod without the page cache that it did not use lately."},
		Source: "/stats/summary pods[].memory.workingSetBytes",
	},
	podMemoryAvailable: {
		Metric: otlp.Metric{Name: "k8s.pod.memory.available", Unit: "By", Instrument: otlp.UpDown,
			Description: "What the working set may still grow by before the limit."},
		Source: "/stats/summary pods[].memory.availableBytes",
		When:   "pods.detail is on, and there is a limit",
	},
	podFaults: {
		Metric: otlp.Metric{Name: "k8s.pod.paging.faults", Unit: "{fault}", Instrument: otlp.Counter,
			Description: "Page faults; major ones had to read from a disk."},
		Attributes: "system.paging.fault.type=major|minor",
		Source:     "/stats/summary pods[].memory.majorPageFaults, pageFaults - majorPageFaults",
		When:       "pods.detail is on",
	},
	podNetworkIO: {
		Metric: otlp.Metric{Name: "k8s.pod.network.io", Unit: "By", Instrument: otlp.Counter,
			Description: "Bytes received and sent by the pod's interface."},
		Attributes: "network.interface.name=<ifname>; network.io.direction=receive|transmit",
		Source:     "/stats/summary pods[].network.interfaces[].rxBytes, txBytes",
		When:       "the pod has a network of its own",
	},
	podNetworkErrors: {
		Metric: otlp.Metric{Name: "k8s.pod.network.errors", Unit: "{error}", Instrument: otlp.Counter,
			Description: "Errors in receiving and sending on the pod's interface."},
		Attributes: "network.interface.name=<ifname>; network.io.direction=receive|transmit",
		Source:     "/stats/summary pods[].network.interfaces[].rxErrors, txErrors",
		When:       "the pod has a network of its own",
	},
	podFSUsage: {
		Metric: otlp.Metric{Name: "k8s.pod.filesystem.usage", Unit: "By", Instrument: otlp.UpDown,
			Description: "Ephemeral storage that the pod uses: writable layers, logs, emptyDir volumes."},
		Source: "/stats/summary pods[].ephemeral-storage.usedBytes",
	},
	podFSAvailable: {
		Metric: otlp.Metric{Name: "k8s.pod.filesystem.available", Unit: "By", Instrument: otlp.UpDown,
			Description: "What is free on the file system of the pod's ephemeral storage: k8s.node.filesystem.available once more."},
		Source: "/stats/summary pods[].ephemeral-storage.availableBytes",
		When:   "pods.detail is on",
	},
	podFSCapacity: {
		Metric: otlp.Metric{Name: "k8s.pod.filesystem.capacity", Unit: "By", Instrument: otlp.UpDown,
			Description: "Size of the file system of the pod's ephemeral storage: k8s.node.filesystem.capacity once more."},
		Source: "/stats/summary pods[].ephemeral-storage.capacityBytes",
		When:   "pods.detail is on",
	},
	podFSInodesUsed: {
		Metric: otlp.Metric{Name: "k8s.pod.filesystem.inode.used", Unit: "{inode}", Instrument: otlp.UpDown,
			Description: "Inodes of the pod's ephemeral storage."},
		Source: "/stats/summary pods[].ephemeral-storage.inodesUsed",
		When:   "pods.detail is on",
	},
	podUptime: {
		Metric: otlp.Metric{Name: "k8s.pod.uptime", Unit: "s", Instrument: otlp.Gauge, Double: true,
			Description: "Time since the pod's sandbox was made."},
		Source: "time of the scrape - /stats/summary pods[].startTime",
		When:   "pods.detail is on",
	},
	podProcesses: {
		Metric: otlp.Metric{Name: "k8s.pod.process.count", Unit: "{process}", Instrument: otlp.UpDown,
			Description: "Processes of the pod."},
		Source: "/stats/summary pods[].process_stats.process_count",
		When:   "pods.detail is on",
	},
	podSwapUsage: {
		Metric: otlp.Metric{Name: "k8s.pod.swap.usage", Unit: "By", Instrument: otlp.UpDown,
			Description: "Memory of the pod that lies in swap."},
		Source: "/stats/summary pods[].swap.swapUsageBytes",
		When:   "the node has swap",
	},
	podCPUPressure: {
		Metric: otlp.Metric{Name: "k8s.pod.cpu.pressure.time", Unit: "s", Instrument: otlp.Counter, Double: true,
			Description: "Time in which some, or all, processes of the pod waited for a CPU."},
		Attributes: "psi.type=some|full",
		Source:     "/stats/summary pods[].cpu.psi.some.total, full.total",
		When:       "the kernel has PSI, and the unit of the total is known",
	},
	podMemoryPressure: {
		Metric: otlp.Metric{Name: "k8s.pod.memory.pressure.time", Unit: "s", Instrument: otlp.Counter, Double: true,
			Description: "Time in which some, or all, processes of the pod waited for memory."},
		Attributes: "psi.type=some|full",
		Source:     "/stats/summary pods[].memory.psi.some.total, full.total",
		When:       "the kernel has PSI, and the unit of the total is known",
	},
	podIOPressure: {
		Metric: otlp.Metric{Name: "k8s.pod.io.pressure.time", Unit: "s", Instrument: otlp.Counter, Double: true,
			Description: "Time in which some, or all, processes of the pod waited for a disk."},
		Attributes: "psi.type=some|full",
		Source:     "/stats/summary pods[].io.psi.some.total, full.total",
		When:       "the kernel has PSI, and the unit of the total is known",
	},
	podCPUOfNode: {
		Metric: otlp.Metric{Name: "k8s.pod.cpu.node.utilization", Unit: "1", Instrument: otlp.Gauge, Double: true,
			Description: "CPU that the pod uses, by what the node has."},
		Source: "k8s.pod.cpu.usage / online CPUs in /proc/stat",
		When:   "scrape.kubelet.utilization is on",
	},
	podMemoryOfNode: {
		Metric: otlp.Metric{Name: "k8s.pod.memory.node.utilization", Unit: "1", Instrument: otlp.Gauge, Double: true,
			Description: "Memory that the pod uses, by what the node has."},
		Source: "k8s.pod.memory.usage / MemTotal in /proc/meminfo",
		When:   "scrape.kubelet.utilization is on",
	},
	podCPULimit: {
		Metric: otlp.Metric{Name: "k8s.pod.cpu.limit.utilization", Unit: "1", Instrument: otlp.Gauge, Double: true,
			Description: "CPU that the pod uses, by its limit."},
		Source: "k8s.pod.cpu.usage / limit in the specification of the pod",
		When:   "scrape.kubelet.utilization is on, and every container has one",
	},
	podCPURequest: {
		Metric: otlp.Metric{Name: "k8s.pod.cpu.request.utilization", Unit: "1", Instrument: otlp.Gauge, Double: true,
			Description: "CPU that the pod uses, by what it requests."},
		Source: "k8s.pod.cpu.usage / request in the specification of the pod",
		When:   "scrape.kubelet.utilization is on, and every container has one",
	},
	podMemoryLimit: {
		Metric: otlp.Metric{Name: "k8s.pod.memory.limit.utilization", Unit: "1", Instrument: otlp.Gauge, Double: true,
			Description: "Memory that the pod uses, by its limit."},
		Source: "k8s.pod.memory.usage / limit in the specification of the pod",
		When:   "scrape.kubelet.utilization is on, and every container has one",
	},
	podMemoryRequest: {
		Metric: otlp.Metric{Name: "k8s.pod.memory.request.utilization", Unit: "1", Instrument: otlp.Gauge, Double: true,
			Description: "Memory that the pod uses, by what it requests."},
		Source: "k8s.pod.memory.usage / request in the specification of the pod",
		When:   "scrape.kubelet.utilization is on, and every container has one",
	},
}

const (
	volumeAvailable = iota
	volumeCapacity
	volumeUsage
	volumeInodes
	volumeInodesFree
	volumeInodesUsed
)

// volumeMetrics are of a volume of a pod.
var volumeMetrics = []series.Metric{
	volumeAvailable: {
		Metric: otlp.Metric{Name: "k8s.pod.volume.available", Unit: "By", Instrument: otlp.UpDown,
			Description: "What is free on the volume."},
		Attributes: "k8s.volume.name=<name>; k8s.volume.type=<type>; k8s.persistentvolumeclaim.name=<claim> (if it has one)",
		Source:     "/stats/summary pods[].volume[].availableBytes",
		When:       "volumes has it",
	},
	volumeCapacity: {
		Metric: otlp.Metric{Name: "k8s.pod.volume.capacity", Unit: "By", Instrument: otlp.UpDown,
			Description: "Size of the volume."},
		Attributes: "k8s.volume.name=<name>; k8s.volume.type=<type>; k8s.persistentvolumeclaim.name=<claim> (if it has one)",
		Source:     "/stats/summary pods[].volume[].capacityBytes",
		When:       "volumes has it",
	},
	volumeUsage: {
		Metric: otlp.Metric{Name: "k8s.pod.volume.usage", Unit: "By", Instrument: otlp.UpDown,
			Description: "What is used on the volume."},
		Attributes: "k8s.volume.name=<name>; k8s.volume.type=<type>; k8s.persistentvolumeclaim.name=<claim> (if it has one)",
		Source:     "/stats/summary pods[].volume[].usedBytes",
		When:       "volumes has it",
	},
	volumeInodes: {
		Metric: otlp.Metric{Name: "k8s.pod.volume.inode.count", Unit: "{inode}", Instrument: otlp.UpDown,
			Description: "Inodes of the volume."},
		Attributes: "k8s.volume.name=<name>; k8s.volume.type=<type>; k8s.persistentvolumeclaim.name=<claim> (if it has one)",
		Source:     "/stats/summary pods[].volume[].inodes",
		When:       "pods.detail is on, and volumes has it",
	},
	volumeInodesFree: {
		Metric: otlp.Metric{Name: "k8s.pod.volume.inode.free", Unit: "{inode}", Instrument: otlp.UpDown,
			Description: "Free inodes of the volume."},
		Attributes: "k8s.volume.name=<name>; k8s.volume.type=<type>; k8s.persistentvolumeclaim.name=<claim> (if it has one)",
		Source:     "/stats/summary pods[].volume[].inodesFree",
		When:       "volumes has it",
	},
	volumeInodesUsed: {
		Metric: otlp.Metric{Name: "k8s.pod.volume.inode.used", Unit: "{inode}", Instrument: otlp.UpDown,
			Description: "Used inodes of the volume."},
		Attributes: "k8s.volume.name=<name>; k8s.volume.type=<type>; k8s.persistentvolumeclaim.name=<claim> (if it has one)",
		Source:     "/stats/summary pods[].volume[].inodesUsed",
		When:       "volumes has it",
	},
}

const (
	containerCPUTime = iota
	containerCPUUsage
	containerMemoryUsage
	containerMemoryRSS
	containerWorkingSet
	containerMemoryAvailable
	containerSwapUsage
	containerFaults
	containerFSUsage
	containerFSAvailable
	containerFSCapacity
	containerFSInodesUsed
	containerEphemeral
	containerUptime
	containerCPUPressure
	containerMemoryPressure
	containerIOPressure
	containerCPUAverage
	containerMemoryAverage
	containerIOAverage
	containerCPUOfNode
	containerMemoryOfNode
	containerCPULimit
	containerCPURequest
	containerMemoryLimit
	containerMemoryRequest
	containerStarted // cAdvisor's
)

// containerMetrics are of a container.
var containerMetrics = append([]series.Metric{
	containerCPUTime: {
		Metric: otlp.Metric{Name: "container.cpu.time", Unit: "s", Instrument: otlp.Counter, Double: true,
			Description: "CPU time that the container used."},
		Source: "/stats/summary pods[].containers[].cpu.usageCoreNanoSeconds",
	},
	containerCPUUsage: {
		Metric: otlp.Metric{Name: "container.cpu.usage", Unit: "{cpu}", Instrument: otlp.Gauge, Double: true,
			Description: "CPUs that the container used on average since the last scrape."},
		Source: "growth of container.cpu.time",
		When:   "containers.detail is on",
	},
	containerMemoryUsage: {
		Metric: otlp.Metric{Name: "container.memory.usage", Unit: "By", Instrument: otlp.UpDown,
			Description: "Memory charged to the container, page cache included."},
		Source: "/stats/summary pods[].containers[].memory.usageBytes",
	},
	containerMemoryRSS: {
		Metric: otlp.Metric{Name: "container.memory.rss", Unit: "By", Instrument: otlp.UpDown,
			Description: "Anonymous memory of the container."},
		Source: "/stats/summary pods[].containers[].memory.rssBytes",
	},
	containerWorkingSet: {
		Metric: otlp.Metric{Name: "container.memory.working_set", Unit: "By", Instrument: otlp.UpDown,
			Description: "Memory of the container without the page cache that it did not use lately."},
		Source: "/stats/summary pods[].containers[].memory.workingSetBytes",
	},
	containerMemoryAvailable: {
		Metric: otlp.Metric{Name: "container.memory.available", Unit: "By", Instrument: otlp.UpDown,
			Description: "What the working set may still grow by before the limit."},
		Source: "/stats/summary pods[].containers[].memory.availableBytes",
		When:   "containers.detail is on, and there is a limit",
	},
	containerSwapUsage: {
		Metric: otlp.Metric{Name: "container.memory.swap.usage", Unit: "By", Instrument: otlp.UpDown,
			Description: "Memory of the container that lies in swap."},
		Source: "/stats/summary pods[].containers[].swap.swapUsageBytes",
		When:   "the node has swap",
	},
	containerFaults: {
		Metric: otlp.Metric{Name: "container.paging.faults", Unit: "{fault}", Instrument: otlp.Counter,
			Description: "Page faults; major ones had to read from a disk."},
		Attributes: "system.paging.fault.type=major|minor",
		Source:     "/stats/summary pods[].containers[].memory.majorPageFaults, pageFaults - majorPageFaults",
	},
	containerFSUsage: {
		Metric: otlp.Metric{Name: "container.filesystem.usage", Unit: "By", Instrument: otlp.UpDown,
			Description: "What the container's writable layer uses."},
		Source: "/stats/summary pods[].containers[].rootfs.usedBytes",
	},
	containerFSAvailable: {
		Metric: otlp.Metric{Name: "container.filesystem.available", Unit: "By", Instrument: otlp.UpDown,
			Description: "What is free on the file system of the container's writable layer: k8s.node.imagefs.available once more."},
		Source: "/stats/summary pods[].containers[].rootfs.availableBytes",
		When:   "containers.detail is on",
	},
	containerFSCapacity: {
		Metric: otlp.Metric{Name: "container.filesystem.capacity", Unit: "By", Instrument: otlp.UpDown,
			Description: "Size of the file system of the container's writable layer: k8s.node.imagefs.capacity once more."},
		Source: "/stats/summary pods[].containers[].rootfs.capacityBytes",
		When:   "containers.detail is on",
	},
	containerFSInodesUsed: {
		Metric: otlp.Metric{Name: "container.filesystem.inode.used", Unit: "{inode}", Instrument: otlp.UpDown,
			Description: "Inodes of the container's writable layer."},
		Source: "/stats/summary pods[].containers[].rootfs.inodesUsed",
		When:   "containers.detail is on",
	},
	containerEphemeral: {
		Metric: otlp.Metric{Name: "k8s.container.ephemeral_storage.usage", Unit: "By", Instrument: otlp.UpDown,
			Description: "What the container's logs use; its writable layer is container.filesystem.usage."},
		Attributes: "k8s.container.ephemeral_storage.fs_type=logs",
		Source:     "/stats/summary pods[].containers[].logs.usedBytes",
	},
	containerUptime: {
		Metric: otlp.Metric{Name: "container.uptime", Unit: "s", Instrument: otlp.Gauge, Double: true,
			Description: "Time since the container was made."},
		Source: "time of the scrape - /stats/summary pods[].containers[].startTime",
		When:   "containers.detail is on",
	},
	containerCPUPressure: {
		Metric: otlp.Metric{Name: "container.cpu.pressure.time", Unit: "s", Instrument: otlp.Counter, Double: true,
			Description: "Time in which some, or all, processes of the container waited for a CPU."},
		Attributes: "psi.type=some|full",
		Source:     "/stats/summary pods[].containers[].cpu.psi.some.total, full.total",
		When:       "the kernel has PSI, and the unit of the total is known",
	},
	containerMemoryPressure: {
		Metric: otlp.Metric{Name: "container.memory.pressure.time", Unit: "s", Instrument: otlp.Counter, Double: true,
			Description: "Time in which some, or all, processes of the container waited for memory."},
		Attributes: "psi.type=some|full",
		Source:     "/stats/summary pods[].containers[].memory.psi.some.total, full.total",
		When:       "the kernel has PSI, and the unit of the total is known",
	},
	containerIOPressure: {
		Metric: otlp.Metric{Name: "container.io.pressure.time", Unit: "s", Instrument: otlp.Counter, Double: true,
			Description: "Time in which some, or all, processes of the container waited for a disk."},
		Attributes: "psi.type=some|full",
		Source:     "/stats/summary pods[].containers[].io.psi.some.total, full.total",
		When:       "the kernel has PSI, and the unit of the total is known",
	},
	containerCPUAverage: {
		Metric: otlp.Metric{Name: "container.cpu.pressure.avg", Unit: "1", Instrument: otlp.Gauge, Double: true,
			Description: "Share of time in which some, or all, processes of the container waited for a CPU, 0 to 1, as the kernel averages it."},
		Attributes: "psi.type=some|full; psi.window=10s|60s|300s",
		Source:     "/stats/summary pods[].containers[].cpu.psi.some, full: avg10, avg60, avg300",
		When:       "containers.detail is on, and the kernel has PSI",
	},
	containerMemoryAverage: {
		Metric: otlp.Metric{Name: "container.memory.pressure.avg", Unit: "1", Instrument: otlp.Gauge, Double: true,
			Description: "Share of time in which some, or all, processes of the container waited for memory, 0 to 1, as the kernel averages it."},
		Attributes: "psi.type=some|full; psi.window=10s|60s|300s",
		Source:     "/stats/summary pods[].containers[].memory.psi.some, full: avg10, avg60, avg300",
		When:       "containers.detail is on, and the kernel has PSI",
	},
	containerIOAverage: {
		Metric: otlp.Metric{Name: "container.io.pressure.avg", Unit: "1", Instrument: otlp.Gauge, Double: true,
			Description: "Share of time in which some, or all, processes of the container waited for a disk, 0 to 1, as the kernel averages it."},
		Attributes: "psi.type=some|full; psi.window=10s|60s|300s",
		Source:     "/stats/summary pods[].containers[].io.psi.some, full: avg10, avg60, avg300",
		When:       "containers.detail is on, and the kernel has PSI",
	},
	containerCPUOfNode: {
		Metric: otlp.Metric{Name: "k8s.container.cpu.node.utilization", Unit: "1", Instrument: otlp.Gauge, Double: true,
			Description: "CPU that the container uses, by what the node has."},
		Source: "container.cpu.usage / online CPUs in /proc/stat",
		When:   "scrape.kubelet.utilization is on",
	},
	containerMemoryOfNode: {
		Metric: otlp.Metric{Name: "k8s.container.memory.node.utilization", Unit: "1", Instrument: otlp.Gauge, Double: true,
			Description: "Memory that the container uses, by what the node has."},
		Source: "container.memory.usage / MemTotal in /proc/meminfo",
		When:   "scrape.kubelet.utilization is on",
	},
	containerCPULimit: {
		Metric: otlp.Metric{Name: "k8s.container.cpu.limit.utilization", Unit: "1", Instrument: otlp.Gauge, Double: true,
			Description: "CPU that the container uses, by its limit."},
		Source: "container.cpu.usage / limit in the specification of the pod",
		When:   "scrape.kubelet.utilization is on, and the container has one",
	},
	containerCPURequest: {
		Metric: otlp.Metric{Name: "k8s.container.cpu.request.utilization", Unit: "1", Instrument: otlp.Gauge, Double: true,
			Description: "CPU that the container uses, by what it requests."},
		Source: "container.cpu.usage / request in the specification of the pod",
		When:   "scrape.kubelet.utilization is on, and the container has one",
	},
	containerMemoryLimit: {
		Metric: otlp.Metric{Name: "k8s.container.memory.limit.utilization", Unit: "1", Instrument: otlp.Gauge, Double: true,
			Description: "Memory that the container uses, by its limit."},
		Source: "container.memory.usage / limit in the specification of the pod",
		When:   "scrape.kubelet.utilization is on, and the container has one",
	},
	containerMemoryRequest: {
		Metric: otlp.Metric{Name: "k8s.container.memory.request.utilization", Unit: "1", Instrument: otlp.Gauge, Double: true,
			Description: "Memory that the container uses, by what it requests."},
		Source: "container.memory.usage / request in the specification of the pod",
		When:   "scrape.kubelet.utilization is on, and the container has one",
	},
}, CAdvisorMetrics...)
