package series

import (
	"slices"

	"stint/export/otlp"
)

// CAdvisor are the names that cAdvisor has, in the kubelet, for what the control groups and the
// kubelet's statistics tell of containers and pods: a pod's have no label container. Its counters
// whose names do not end in _total are sent as gauges.
var CAdvisor = []Rule{
	{From: "container.cpu.time", Name: "container_cpu_usage_seconds_total", Labels: `cpu="total"`},
	{From: "container.memory.usage", Name: "container_memory_usage_bytes"},
	{From: "container.memory.rss", Name: "container_memory_rss"},
	{From: "container.memory.working_set", Name: "container_memory_working_set_bytes"},
	{From: "container.paging.faults", Name: "container_memory_failures_total", Labels: `failure_type="pgfault" scope="container"`},
	{From: "container.paging.faults", If: "system.paging.fault.type=major", Name: "container_memory_failures_total", Labels: `failure_type="pgmajfault" scope="container"`},
	{From: "container.paging.faults", Name: "container_memory_failures_total", Labels: `failure_type="pgfault" scope="hierarchy"`},
	{From: "container.paging.faults", If: "system.paging.fault.type=major", Name: "container_memory_failures_total", Labels: `failure_type="pgmajfault" scope="hierarchy"`},
	{From: "container.cpu.pressure.time", If: "psi.type=some", Name: "container_pressure_cpu_waiting_seconds_total"},
	{From: "container.cpu.pressure.time", If: "psi.type=full", Name: "container_pressure_cpu_stalled_seconds_total"},
	{From: "container.memory.pressure.time", If: "psi.type=some", Name: "container_pressure_memory_waiting_seconds_total"},
	{From: "container.memory.pressure.time", If: "psi.type=full", Name: "container_pressure_memory_stalled_seconds_total"},
	{From: "container.io.pressure.time", If: "psi.type=some", Name: "container_pressure_io_waiting_seconds_total"},
	{From: "container.io.pressure.time", If: "psi.type=full", Name: "container_pressure_io_stalled_seconds_total"},

	{From: "k8s.pod.cpu.time", Name: "container_cpu_usage_seconds_total", Labels: `cpu="total"`},
	{From: "k8s.pod.memory.usage", Name: "container_memory_usage_bytes"},
	{From: "k8s.pod.memory.rss", Name: "container_memory_rss"},
	{From: "k8s.pod.memory.working_set", Name: "container_memory_working_set_bytes"},
	{From: "k8s.pod.paging.faults", Name: "container_memory_failures_total", Labels: `failure_type="pgfault" scope="container"`},
	{From: "k8s.pod.paging.faults", If: "system.paging.fault.type=major", Name: "container_memory_failures_total", Labels: `failure_type="pgmajfault" scope="container"`},
	{From: "k8s.pod.paging.faults", Name: "container_memory_failures_total", Labels: `failure_type="pgfault" scope="hierarchy"`},
	{From: "k8s.pod.paging.faults", If: "system.paging.fault.type=major", Name: "container_memory_failures_total", Labels: `failure_type="pgmajfault" scope="hierarchy"`},
	{From: "k8s.pod.cpu.pressure.time", If: "psi.type=some", Name: "container_pressure_cpu_waiting_seconds_total"},
	{From: "k8s.pod.cpu.pressure.time", If: "psi.type=full", Name: "container_pressure_cpu_stalled_seconds_total"},
	{From: "k8s.pod.memory.pressure.time", If: "psi.type=some", Name: "container_pressure_memory_waiting_seconds_total"},
	{From: "k8s.pod.memory.pressure.time", If: "psi.type=full", Name: "container_pressure_memory_stalled_seconds_total"},
	{From: "k8s.pod.io.pressure.time", If: "psi.type=some", Name: "container_pressure_io_waiting_seconds_total"},
	{From: "k8s.pod.io.pressure.time", If: "psi.type=full", Name: "container_pressure_io_stalled_seconds_total"},

	{From: "container.memory.swap.usage", Name: "container_memory_swap"},
	{From: "k8s.pod.swap.usage", Name: "container_memory_swap"},
	{From: "container.cpu.cfs.period.count", Name: "container_cpu_cfs_periods_total"},
	{From: "container.cpu.cfs.throttled_period.count", Name: "container_cpu_cfs_throttled_periods_total"},
	{From: "container.cpu.cfs.throttled.time", Name: "container_cpu_cfs_throttled_seconds_total"},
	{From: "container.cpu.cfs.burst_period.count", Name: "container_cpu_cfs_burst_periods_total"},
	{From: "container.cpu.cfs.burst.time", Name: "container_cpu_cfs_burst_seconds_total"},
	{From: "container.cpu.shares", Name: "container_spec_cpu_shares"},
	{From: "container.memory.limit", Name: "container_spec_memory_limit_bytes"},
	{From: "container.memory.reservation", Name: "container_spec_memory_reservation_limit_bytes"},
	{From: "container.memory.swap.limit", Name: "container_spec_memory_swap_limit_bytes"},
	{From: "container.memory.cache", Name: "container_memory_cache"},
	{From: "container.memory.mapped", Name: "container_memory_mapped_file"},
	{From: "container.memory.file.lru", If: "linux.lru.state=active", Name: "container_memory_total_active_file_bytes"},
	{From: "container.memory.file.lru", If: "linux.lru.state=inactive", Name: "container_memory_total_inactive_file_bytes"},
	{From: "container.memory.kernel", Name: "container_memory_kernel_usage"},
	{From: "container.memory.dirty", Name: "container_memory_file_dirty_bytes"},
	{From: "container.memory.writeback", Name: "container_memory_file_writeback_bytes"},
	{From: "container.memory.peak", Name: "container_memory_max_usage_bytes"},
	{From: "container.memory.event.count", If: "container.memory.event=max", Name: "container_memory_failcnt"},
	{From: "container.memory.event.count", If: "container.memory.event=max", Name: "container_memory_events_max_total"},
	{From: "container.memory.event.count", If: "container.memory.event=high", Name: "container_memory_events_high_total"},
	{From: "container.memory.event.count", If: "container.memory.event=oom_kill", Name: "container_oom_events_total"},
	{From: "container.memory.reclaim.count", If: "container.memory.reclaim=scanned", Name: "container_memory_pgscan_total"},
	{From: "container.memory.reclaim.count", If: "container.memory.reclaim=reclaimed", Name: "container_memory_pgsteal_total"},
	{From: "container.memory.refault.count", If: "linux.lru.type=anon", Name: "container_memory_workingset_refault_anon_total"},
	{From: "container.memory.refault.count", If: "linux.lru.type=file", Name: "container_memory_workingset_refault_file_total"},
	{From: "container.disk.io", If: "disk.io.direction=read", Name: "container_fs_reads_bytes_total", Labels: `device="/dev/"system.device`},
	{From: "container.disk.io", If: "disk.io.direction=write", Name: "container_fs_writes_bytes_total", Labels: `device="/dev/"system.device`},
	{From: "container.disk.operations", If: "disk.io.direction=read", Name: "container_fs_reads_total", Labels: `device="/dev/"system.device`},
	{From: "container.disk.operations", If: "disk.io.direction=write", Name: "container_fs_writes_total", Labels: `device="/dev/"system.device`},
	{From: "container.thread.count", Name: "container_threads"},
	{From: "container.thread.limit", Name: "container_threads_max"},
	{From: "container.hugetlb.usage", Name: "container_hugetlb_usage_bytes", Labels: "pagesize=linux.hugepage.size"},
	{From: "container.hugetlb.limit_hit.count", Name: "container_hugetlb_failcnt", Labels: "pagesize=linux.hugepage.size"},
	{From: "container.filesystem.usage", Name: "container_fs_usage_bytes", Labels: `device="/"`},
	{From: "container.filesystem.capacity", Name: "container_fs_limit_bytes", Labels: `device="/"`},
	{From: "k8s.pod.network.io", If: "network.io.direction=receive", Name: "container_network_receive_bytes_total", Labels: "interface=network.interface.name"},
	{From: "k8s.pod.network.errors", If: "network.io.direction=receive", Name: "container_network_receive_errors_total", Labels: "interface=network.interface.name"},
	{From: "k8s.pod.network.io", If: "network.io.direction=transmit", Name: "container_network_transmit_bytes_total", Labels: "interface=network.interface.name"},
	{From: "k8s.pod.network.errors", If: "network.io.direction=transmit", Name: "container_network_transmit_errors_total", Labels: "interface=network.interface.name"},
	// Of the catalogue, off by default.
	{From: "container.network.io", If: "network.io.direction=receive", Name: "container_network_receive_bytes_total", Labels: "interface=network.interface.name"},
	{From: "container.network.io", If: "network.io.direction=transmit", Name: "container_network_transmit_bytes_total", Labels: "interface=network.interface.name"},
	{From: "container.network.errors", If: "network.io.direction=receive", Name: "container_network_receive_errors_total", Labels: "interface=network.interface.name"},
	{From: "container.network.errors", If: "network.io.direction=transmit", Name: "container_network_transmit_errors_total", Labels: "interface=network.interface.name"},
	{From: "container.network.packet.count", If: "network.io.direction=receive", Name: "container_network_receive_packets_total", Labels: "interface=network.interface.name"},
	{From: "container.network.packet.count", If: "network.io.direction=transmit", Name: "container_network_transmit_packets_total", Labels: "interface=network.interface.name"},
	{From: "container.network.packet.dropped", If: "network.io.direction=receive", Name: "container_network_receive_packets_dropped_total", Labels: "interface=network.interface.name"},
	{From: "container.network.packet.dropped", If: "network.io.direction=transmit", Name: "container_network_transmit_packets_dropped_total", Labels: "interface=network.interface.name"},
	{From: "k8s.pod.network.packet.count", If: "network.io.direction=receive", Name: "container_network_receive_packets_total", Labels: "interface=network.interface.name"},
	{From: "k8s.pod.network.packet.count", If: "network.io.direction=transmit", Name: "container_network_transmit_packets_total", Labels: "interface=network.interface.name"},
	{From: "k8s.pod.network.packet.dropped", If: "network.io.direction=receive", Name: "container_network_receive_packets_dropped_total", Labels: "interface=network.interface.name"},
	{From: "k8s.pod.network.packet.dropped", If: "network.io.direction=transmit", Name: "container_network_transmit_packets_dropped_total", Labels: "interface=network.interface.name"},
	{From: "container.file_descriptor.count", Name: "container_file_descriptors"},
	{From: "container.file_descriptor.limit", Name: "container_ulimits_soft", Labels: `ulimit="max_open_files"`},
	{From: "container.socket.count", Name: "container_sockets"},
	{From: "container.cpu.sched.time", If: "cpu.sched.state=running", Name: "container_cpu_schedstat_run_seconds_total"},
	{From: "container.cpu.sched.time", If: "cpu.sched.state=waiting", Name: "container_cpu_schedstat_runqueue_seconds_total"},
	{From: "container.disk.cost.time", If: "container.disk.cost=usage", Name: "container_fs_io_cost_usage_seconds_total", Labels: `device="/dev/"system.device`},
	{From: "container.disk.cost.time", If: "container.disk.cost=wait", Name: "container_fs_io_cost_wait_seconds_total", Labels: `device="/dev/"system.device`},
	{From: "container.disk.cost.time", If: "container.disk.cost=indebt", Name: "container_fs_io_cost_indebt_seconds_total", Labels: `device="/dev/"system.device`},
	{From: "container.disk.cost.time", If: "container.disk.cost=indelay", Name: "container_fs_io_cost_indelay_seconds_total", Labels: `device="/dev/"system.device`},
}

// CAdvisorLabels are the labels of a container or pod, by its resource. id is the path of its
// control group, or whatever else is known in place of that. What is not known is no label.
func CAdvisorLabels(resource []otlp.KeyValue, id string) (labels []otlp.KeyValue) {
	of := func(key string) string {
		if i := slices.IndexFunc(resource, func(kv otlp.KeyValue) bool { return kv.Key == key }); i >= 0 {
			return resource[i].Value.First()
		}
		return ""
	}
	image := of("container.image.name")
	if tag := of("container.image.tags"); tag != "" {
		image += ":" + tag
	}
	for _, l := range []struct{ name, value string }{
		{"container", of("k8s.container.name")}, {"id", id}, {"image", image}, {"name", of("container.id")},
		{"namespace", of("k8s.namespace.name")}, {"pod", of("k8s.pod.name")},
	} {
		if l.value != "" {
			labels = append(labels, otlp.Attr(l.name, l.value))
		}
	}
	return labels
}
