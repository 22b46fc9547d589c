package host

import (
	"os"
	"slices"
	"strings"

	"stint/scrape/series"
)

// Labels of node_exporter's, by our attributes.
const (
	nodeCPU        = "cpu=cpu.logical_number"
	nodeDisk       = "device=system.device"
	nodeInterface  = "device=network.interface.name"
	nodeFilesystem = "device=system.device fstype=system.filesystem.type mountpoint=system.filesystem.mountpoint"
	nodeReceive    = "network.io.direction=receive"
	nodeTransmit   = "network.io.direction=transmit"
	nodeRead       = "disk.io.direction=read"
	nodeWrite      = "disk.io.direction=write"
	nodeSensor     = "chip=hw.parent sensor=hw.id:/" // chips have other names there: those of paths in /sys
)

// PrometheusRules are the names that node_exporter 1.12 has for the metrics of this package. Where
// a value is exported without a type there, or as a counter whose name does not end in _total, it
// is sent as a gauge: Prometheus appends _total to the name of every counter.
//
// What node_exporter tells and our metrics do not is in nodeexporter.go.
var PrometheusRules = slices.Concat([]series.Rule{
	{From: "system.cpu.time", If: "cpu.mode=user|nice|system|idle|iowait|softirq|steal", Name: "node_cpu_seconds_total", Labels: nodeCPU + " mode=cpu.mode"},
	{From: "system.cpu.time", If: "cpu.mode=interrupt", Name: "node_cpu_seconds_total", Labels: nodeCPU + ` mode="irq"`},
	{From: "system.cpu.time", If: "cpu.mode=user|nice|system|interrupt|softirq", Name: "container_cpu_usage_seconds_total", Labels: `cpu="total" id="/"`}, // cAdvisor's, of the machine
	{From: "system.cpu.guest.time", Name: "node_cpu_guest_seconds_total", Labels: nodeCPU + " mode=cpu.mode"},
	{From: "system.cpu.context_switch.count", Name: "node_context_switches_total"},
	{From: "system.cpu.interrupt.count", Name: "node_intr_total"},
	{From: "system.cpu.softirq.count", Name: "node_softirqs_total", Labels: "vector=cpu.softirq.vector"},
	{From: "system.cpu.logical.count", Name: "machine_cpu_cores"},
	{From: "system.cpu.physical.count", Name: "machine_cpu_physical_cores"},
	{From: "system.cpu.socket.count", Name: "machine_cpu_sockets"},
	{From: "system.cpu.online", Name: "node_cpu_online", Labels: nodeCPU},
	{From: "system.cpu.isolated", Name: "node_cpu_isolated", Labels: nodeCPU},
	{From: "system.cpu.frequency", Name: "node_cpu_scaling_frequency_hertz", Labels: nodeCPU},
	{From: "system.cpu.frequency.limit", If: "hw.limit_type=min", Name: "node_cpu_scaling_frequency_min_hertz", Labels: nodeCPU},
	{From: "system.cpu.frequency.limit", If: "hw.limit_type=max", Name: "node_cpu_scaling_frequency_max_hertz", Labels: nodeCPU},
	{From: "system.cpu.scaling_governor", Name: "node_cpu_scaling_governor", Labels: nodeCPU + " governor=cpu.scaling_governor"},
	{From: "system.cpu.thermal_throttle.count", If: "cpu.throttle.scope=core", Name: "node_cpu_core_throttles_total", Labels: "core=cpu.core package=cpu.package"},
	{From: "system.cpu.thermal_throttle.count", If: "cpu.throttle.scope=package", Name: "node_cpu_package_throttles_total", Labels: "package=cpu.package"},
	{From: "system.cpu.sched.time", If: "cpu.sched.state=running", Name: "node_schedstat_running_seconds_total", Labels: nodeCPU},
	{From: "system.cpu.sched.time", If: "cpu.sched.state=waiting", Name: "node_schedstat_waiting_seconds_total", Labels: nodeCPU},
	{From: "system.cpu.sched.timeslice.count", Name: "node_schedstat_timeslices_total", Labels: nodeCPU},

	{From: "system.cpu.load_average.1m", Name: "node_load1"},
	{From: "system.cpu.load_average.5m", Name: "node_load5"},
	{From: "system.cpu.load_average.15m", Name: "node_load15"},

	{From: "system.uptime", Name: "node_time_seconds", Extra: true}, // uptime = node_time_seconds - node_boot_time_seconds
	{From: "system.boot.time", Name: "node_boot_time_seconds"},
	{From: "system.file_descriptor.count", Name: "node_filefd_allocated"},
	{From: "system.file_descriptor.limit", Name: "node_filefd_maximum", Extra: true}, // theirs is there without a limit, too
	{From: "system.kernel.hung_task.count", Name: "node_kernel_hung_tasks_total"},
	{From: "system.entropy.available", Name: "node_entropy_available_bits"},
	{From: "system.entropy.pool_size", Name: "node_entropy_pool_size_bits"},

	// node_memory_* has a metric for each line of /proc/meminfo. Cached is that line, as ours is:
	// without SReclaimable. What is used has no line.
	{From: "system.memory.usage", Name: "node_memory_MemFree_bytes", Extra: true},
	{From: "system.memory.usage", Name: "node_memory_Buffers_bytes", Extra: true},
	{From: "system.memory.usage", Name: "node_memory_Cached_bytes", Extra: true},
	{From: "system.memory.limit", Name: "node_memory_MemTotal_bytes", Extra: true},
	{From: "system.memory.limit", Name: "machine_memory_bytes"},
	{From: "system.memory.linux.available", Name: "node_memory_MemAvailable_bytes", Extra: true},
	{From: "system.memory.linux.shared", Name: "node_memory_Shmem_bytes", Extra: true},
	{From: "system.memory.linux.slab.usage", Name: "node_memory_SReclaimable_bytes", Extra: true},
	{From: "system.memory.linux.slab.usage", Name: "node_memory_SUnreclaim_bytes", Extra: true},
	{From: "system.memory.linux.hugepages.limit", Name: "node_memory_HugePages_Total", Extra: true},
	{From: "system.memory.linux.hugepages.page_size", Name: "node_memory_Hugepagesize_bytes", Extra: true},
	{From: "system.memory.linux.hugepages.reserved", Name: "node_memory_HugePages_Rsvd", Extra: true},
	{From: "system.memory.linux.hugepages.surplus", Name: "node_memory_HugePages_Surp", Extra: true},
	{From: "system.memory.linux.hugepages.usage", Name: "node_memory_HugePages_Free", Extra: true},
	{From: "system.memory.linux.dirty", Name: "node_memory_Dirty_bytes", Extra: true},
	{From: "system.memory.linux.writeback", Name: "node_memory_Writeback_bytes", Extra: true},
	{From: "system.memory.linux.commit.usage", Name: "node_memory_Committed_AS_bytes", Extra: true},
	{From: "system.memory.linux.commit.limit", Name: "node_memory_CommitLimit_bytes", Extra: true},
	{From: "system.memory.linux.hardware_corrupted", Name: "node_memory_HardwareCorrupted_bytes", Extra: true},
	{From: "system.memory.linux.mapped", Name: "node_memory_Mapped_bytes", Extra: true},
	{From: "system.memory.linux.anonymous", Name: "node_memory_AnonPages_bytes", Extra: true},
	{From: "system.memory.linux.unevictable", Name: "node_memory_Unevictable_bytes", Extra: true},
	{From: "system.memory.linux.mlocked", Name: "node_memory_Mlocked_bytes", Extra: true},
	{From: "system.memory.linux.kernel_stack", Name: "node_memory_KernelStack_bytes", Extra: true},
	{From: "system.memory.linux.page_tables", Name: "node_memory_PageTables_bytes", Extra: true},
	{From: "system.memory.linux.percpu", Name: "node_memory_Percpu_bytes", Extra: true},
	{From: "system.memory.linux.vmalloc.usage", Name: "node_memory_VmallocUsed_bytes", Extra: true},
	{From: "system.memory.linux.swap_cached", Name: "node_memory_SwapCached_bytes", Extra: true},
	{From: "system.memory.linux.lru.usage", Name: "node_memory_Active_anon_bytes", Extra: true},
	{From: "system.memory.linux.lru.usage", Name: "node_memory_Inactive_anon_bytes", Extra: true},
	{From: "system.memory.linux.lru.usage", Name: "node_memory_Active_file_bytes", Extra: true},
	{From: "system.memory.linux.lru.usage", Name: "node_memory_Inactive_file_bytes", Extra: true},
	{From: "system.memory.linux.transparent_hugepages.usage", Name: "node_memory_AnonHugePages_bytes", Extra: true},
	{From: "system.memory.linux.transparent_hugepages.usage", Name: "node_memory_ShmemHugePages_bytes", Extra: true},
	{From: "system.memory.linux.transparent_hugepages.usage", Name: "node_memory_ShmemPmdMapped_bytes", Extra: true},
	{From: "system.memory.linux.transparent_hugepages.usage", Name: "node_memory_FileHugePages_bytes", Extra: true},
	{From: "system.memory.linux.transparent_hugepages.usage", Name: "node_memory_FilePmdMapped_bytes", Extra: true},
	{From: "system.memory.linux.zswap.usage", Name: "node_memory_Zswap_bytes", Extra: true},
	{From: "system.memory.linux.zswap.usage", Name: "node_memory_Zswapped_bytes", Extra: true},
	{From: "system.memory.linux.oom_kill.count", Name: "node_vmstat_oom_kill"},

	{From: "system.paging.usage", Name: "node_memory_SwapTotal_bytes", Extra: true}, // theirs is of all devices, and there without any
	{From: "system.paging.usage", Name: "node_memory_SwapFree_bytes", Extra: true},
	{From: "system.paging.faults", Name: "node_vmstat_pgfault"}, // minor and major ones
	{From: "system.paging.faults", If: "system.paging.fault.type=major", Name: "node_vmstat_pgmajfault"},
	{From: "system.paging.operations", If: "system.paging.direction=in", Name: "node_vmstat_pswpin"},
	{From: "system.paging.operations", If: "system.paging.direction=out", Name: "node_vmstat_pswpout"},
	{From: "system.paging.io", If: "system.paging.direction=in", Name: "node_vmstat_pgpgin", Scale: 1. / 1024}, // KiB, as in /proc/vmstat
	{From: "system.paging.io", If: "system.paging.direction=out", Name: "node_vmstat_pgpgout", Scale: 1. / 1024},
	{From: "system.linux.vmstat.event.count", If: "linux.vmstat.field!=pgfault|pgmajfault|pswpin|pswpout|pgpgin|pgpgout|oom_kill", Name: "node_vmstat_{linux.vmstat.field}"}, // which others tell
	{From: "system.linux.vmstat.state", Name: "node_vmstat_{linux.vmstat.field}"},

	{From: "system.disk.io", If: nodeRead, Name: "node_disk_read_bytes_total", Labels: nodeDisk},
	{From: "system.disk.io", If: nodeWrite, Name: "node_disk_written_bytes_total", Labels: nodeDisk},
	{From: "system.disk.operations", If: nodeRead, Name: "node_disk_reads_completed_total", Labels: nodeDisk},
	{From: "system.disk.operations", If: nodeWrite, Name: "node_disk_writes_completed_total", Labels: nodeDisk},
	{From: "system.disk.operation_time", If: nodeRead, Name: "node_disk_read_time_seconds_total", Labels: nodeDisk},
	{From: "system.disk.operation_time", If: nodeWrite, Name: "node_disk_write_time_seconds_total", Labels: nodeDisk},
	{From: "system.disk.merged", If: nodeRead, Name: "node_disk_reads_merged_total", Labels: nodeDisk},
	{From: "system.disk.merged", If: nodeWrite, Name: "node_disk_writes_merged_total", Labels: nodeDisk},
	{From: "system.disk.io_time", Name: "node_disk_io_time_seconds_total", Labels: nodeDisk},
	{From: "system.disk.weighted_io_time", Name: "node_disk_io_time_weighted_seconds_total", Labels: nodeDisk},
	{From: "system.disk.pending_operations", Name: "node_disk_io_now", Labels: nodeDisk},
	{From: "system.disk.discard.operations", Name: "node_disk_discards_completed_total", Labels: nodeDisk},
	{From: "system.disk.discard.io", Name: "node_disk_discarded_sectors_total", Labels: nodeDisk, Scale: 1. / sectorSize},
	{From: "system.disk.flush.operations", Name: "node_disk_flush_requests_total", Labels: nodeDisk},

	{From: "system.filesystem.limit", Name: "node_filesystem_size_bytes", Labels: nodeFilesystem},
	{From: "system.filesystem.limit", If: "system.filesystem.mode=rw", Name: "node_filesystem_readonly", Labels: nodeFilesystem, Fixed: true},
	{From: "system.filesystem.limit", If: "system.filesystem.mode=ro", Name: "node_filesystem_readonly", Labels: nodeFilesystem, Fixed: true, Add: 1},
	{From: "system.filesystem.usage", If: "system.filesystem.state=free|reserved", Name: "node_filesystem_free_bytes", Labels: nodeFilesystem}, // reserved is free to root
	{From: "system.filesystem.usage", If: "system.filesystem.state=free", Name: "node_filesystem_avail_bytes", Labels: nodeFilesystem},
	{From: "system.filesystem.usage", If: "system.filesystem.state=used system.filesystem.type!=tmpfs", Name: "container_fs_usage_bytes", Labels: `device=system.device id="/"`},
	{From: "system.filesystem.usage", If: "system.filesystem.state=used system.filesystem.type=tmpfs", Name: "container_fs_usage_bytes", Labels: `device=system.filesystem.mountpoint id="/"`},
	{From: "system.filesystem.limit", If: "system.filesystem.type!=tmpfs", Name: "container_fs_limit_bytes", Labels: `device=system.device id="/"`},
	{From: "system.filesystem.limit", If: "system.filesystem.type=tmpfs", Name: "container_fs_limit_bytes", Labels: `device=system.filesystem.mountpoint id="/"`},
	{From: "system.filesystem.inodes.usage", Name: "node_filesystem_files", Labels: nodeFilesystem},
	{From: "system.filesystem.inodes.usage", If: "system.filesystem.state=free", Name: "node_filesystem_files_free", Labels: nodeFilesystem},
	{From: "system.filesystem.up", Name: "node_filesystem_device_error", Labels: nodeFilesystem, Scale: -1, Add: 1},

	{From: "system.network.io", If: nodeReceive, Name: "node_network_receive_bytes_total", Labels: nodeInterface},
	{From: "system.network.io", If: nodeTransmit, Name: "node_network_transmit_bytes_total", Labels: nodeInterface},
	{From: "system.network.packet.count", If: nodeReceive, Name: "node_network_receive_packets_total", Labels: nodeInterface},
	{From: "system.network.packet.count", If: nodeTransmit, Name: "node_network_transmit_packets_total", Labels: nodeInterface},
	{From: "system.network.packet.dropped", If: nodeReceive, Name: "node_network_receive_drop_total", Labels: nodeInterface},
	{From: "system.network.packet.dropped", If: nodeTransmit, Name: "node_network_transmit_drop_total", Labels: nodeInterface},
	{From: "system.network.errors", If: nodeReceive, Name: "node_network_receive_errs_total", Labels: nodeInterface},
	{From: "system.network.errors", If: nodeTransmit, Name: "node_network_transmit_errs_total", Labels: nodeInterface},
	{From: "system.network.interface.up", Name: "node_network_up", Labels: nodeInterface},
	{From: "system.network.interface.speed", Name: "node_network_speed_bytes", Labels: nodeInterface},
	{From: "system.network.bond.member.count", If: "system.network.bond.member.state=configured", Name: "node_bonding_slaves", Labels: "master=network.interface.name"},
	{From: "system.network.bond.member.count", If: "system.network.bond.member.state=active", Name: "node_bonding_active", Labels: "master=network.interface.name"},
	{From: "system.network.conntrack.count", Name: "node_nf_conntrack_entries"},
	{From: "system.network.conntrack.max", Name: "node_nf_conntrack_entries_limit"},
	{From: "system.network.socket.count", If: "network.transport=all", Name: "node_sockstat_sockets_used"},
	{From: "system.network.socket.count", If: "network.transport=tcp network.type=ipv4", Name: "node_sockstat_TCP_inuse"},
	{From: "system.network.socket.count", If: "network.transport=tcp network.type=ipv6", Name: "node_sockstat_TCP6_inuse"},
	{From: "system.network.socket.count", If: "network.transport=tcp system.network.socket.state=orphan", Name: "node_sockstat_TCP_orphan"},
	{From: "system.network.socket.count", If: "network.transport=tcp system.network.socket.state=time_wait", Name: "node_sockstat_TCP_tw"},
	{From: "system.network.socket.count", If: "network.transport=tcp system.network.socket.state=alloc", Name: "node_sockstat_TCP_alloc"},
	{From: "system.network.socket.count", If: "network.transport=udp network.type=ipv4", Name: "node_sockstat_UDP_inuse"},
	{From: "system.network.socket.count", If: "network.transport=udp network.type=ipv6", Name: "node_sockstat_UDP6_inuse"},
	{From: "system.network.socket.count", If: "network.transport=udplite network.type=ipv4", Name: "node_sockstat_UDPLITE_inuse"},
	{From: "system.network.socket.count", If: "network.transport=udplite network.type=ipv6", Name: "node_sockstat_UDPLITE6_inuse"},
	{From: "system.network.socket.count", If: "network.transport=raw network.type=ipv4", Name: "node_sockstat_RAW_inuse"},
	{From: "system.network.socket.count", If: "network.transport=raw network.type=ipv6", Name: "node_sockstat_RAW6_inuse"},
	{From: "system.network.socket.count", If: "network.transport=frag network.type=ipv4", Name: "node_sockstat_FRAG_inuse"},
	{From: "system.network.socket.count", If: "network.transport=frag network.type=ipv6", Name: "node_sockstat_FRAG6_inuse"},
	{From: "system.network.socket.memory", If: "network.transport=tcp", Name: "node_sockstat_TCP_mem_bytes"},
	{From: "system.network.socket.memory", If: "network.transport=tcp", Name: "node_sockstat_TCP_mem", Scale: perPage},
	{From: "system.network.socket.memory", If: "network.transport=udp", Name: "node_sockstat_UDP_mem_bytes"},
	{From: "system.network.socket.memory", If: "network.transport=udp", Name: "node_sockstat_UDP_mem", Scale: perPage},
	{From: "system.network.socket.memory", If: "network.transport=frag network.type=ipv4", Name: "node_sockstat_FRAG_memory"},
	{From: "system.network.socket.memory", If: "network.transport=frag network.type=ipv6", Name: "node_sockstat_FRAG6_memory"},

	{From: "system.network.softnet.packet.processed", Name: "node_softnet_processed_total", Labels: nodeCPU},
	{From: "system.network.softnet.packet.dropped", Name: "node_softnet_dropped_total", Labels: nodeCPU},
	{From: "system.network.softnet.time_squeeze.count", Name: "node_softnet_times_squeezed_total", Labels: nodeCPU},
	{From: "system.network.softnet.cpu_collision.count", Name: "node_softnet_cpu_collision_total", Labels: nodeCPU},
	{From: "system.network.softnet.rps.count", Name: "node_softnet_received_rps_total", Labels: nodeCPU},
	{From: "system.network.softnet.flow_limit.count", Name: "node_softnet_flow_limit_count_total", Labels: nodeCPU},
	{From: "system.network.softnet.backlog.size", Name: "node_softnet_backlog_len", Labels: nodeCPU},

	{From: "system.cpu.pressure.time", If: "psi.type=some", Name: "node_pressure_cpu_waiting_seconds_total"},
	{From: "system.memory.pressure.time", If: "psi.type=some", Name: "node_pressure_memory_waiting_seconds_total"},
	{From: "system.memory.pressure.time", If: "psi.type=full", Name: "node_pressure_memory_stalled_seconds_total"},
	{From: "system.io.pressure.time", If: "psi.type=some", Name: "node_pressure_io_waiting_seconds_total"},
	{From: "system.io.pressure.time", If: "psi.type=full", Name: "node_pressure_io_stalled_seconds_total"},
	{From: "system.irq.pressure.time", If: "psi.type=full", Name: "node_pressure_irq_stalled_seconds_total"},

	{From: "system.clock.offset", Name: "node_timex_offset_seconds"},
	{From: "system.clock.max_error", Name: "node_timex_maxerror_seconds"},
	{From: "system.clock.estimated_error", Name: "node_timex_estimated_error_seconds"},
	{From: "system.clock.synchronized", Name: "node_timex_sync_status"},
	{From: "system.clock.frequency_ratio", Name: "node_timex_frequency_adjustment_ratio"},
	{From: "system.clock.tai_offset", Name: "node_timex_tai_offset_seconds"},
	{From: "system.clock.tick", Name: "node_timex_tick_seconds"},
	{From: "system.clock.status", Name: "node_timex_status"},
	{From: "system.clock.loop_time_constant", Name: "node_timex_loop_time_constant"},
	{From: "system.clock.pps", If: "system.clock.pps.field=frequency", Name: "node_timex_pps_frequency_hertz", Scale: 1e6}, // they call ppm so
	{From: "system.clock.pps", If: "system.clock.pps.field=jitter", Name: "node_timex_pps_jitter_seconds"},
	{From: "system.clock.pps", If: "system.clock.pps.field=shift", Name: "node_timex_pps_shift_seconds"},
	{From: "system.clock.pps", If: "system.clock.pps.field=stability", Name: "node_timex_pps_stability_hertz", Scale: 1e6},
	{From: "system.clock.pps", If: "system.clock.pps.field=calibration", Name: "node_timex_pps_calibration_total"},
	{From: "system.clock.pps", If: "system.clock.pps.field=error", Name: "node_timex_pps_error_total"},
	{From: "system.clock.pps", If: "system.clock.pps.field=jitter_exceeded", Name: "node_timex_pps_jitter_total"},
	{From: "system.clock.pps", If: "system.clock.pps.field=stability_exceeded", Name: "node_timex_pps_stability_exceeded_total"},
	{From: "system.clock.source", If: "system.clock.source.state=available", Name: "node_time_clocksource_available_info", Labels: `clocksource=system.clock.source device="0"`},
	{From: "system.clock.source", If: "system.clock.source.state=current", Name: "node_time_clocksource_current_info", Labels: `clocksource=system.clock.source device="0"`},

	{From: "system.process.created", Name: "node_forks_total"},
	{From: "system.process.runnable.count", Name: "node_procs_running"},
	{From: "system.process.blocked.count", Name: "node_procs_blocked"},
	{From: "system.thread.count", Name: "node_processes_threads"},
	{From: "system.process.limit", Name: "node_processes_max_processes"},

	{From: "system.raid.state", Name: "node_md_state", Labels: "device=system.device state=system.raid.state"},
	{From: "system.raid.disk.count", If: "system.raid.disk.state=active|failed|spare", Name: "node_md_disks", Labels: "device=system.device state=system.raid.disk.state"},
	{From: "system.raid.disk.count", If: "system.raid.disk.state=required", Name: "node_md_disks_required", Labels: nodeDisk},
	{From: "system.raid.block.count", If: "system.raid.block.state=total", Name: "node_md_blocks", Labels: nodeDisk},
	{From: "system.raid.block.count", If: "system.raid.block.state=synced", Name: "node_md_blocks_synced", Labels: nodeDisk},

	{From: "system.zfs.arc.size", If: "system.zfs.arc.type=size", Name: "node_zfs_arc_size"},
	{From: "system.zfs.arc.size", If: "system.zfs.arc.type=target", Name: "node_zfs_arc_c"},
	{From: "system.zfs.arc.size", If: "system.zfs.arc.type=minimum", Name: "node_zfs_arc_c_min"},
	{From: "system.zfs.arc.size", If: "system.zfs.arc.type=maximum", Name: "node_zfs_arc_c_max"},
	{From: "system.zfs.arc.size", If: "system.zfs.arc.type=data", Name: "node_zfs_arc_data_size"},
	{From: "system.zfs.arc.size", If: "system.zfs.arc.type=metadata", Name: "node_zfs_arc_metadata_size"},
	{From: "system.btrfs.allocation", If: "system.btrfs.state=size", Name: "node_btrfs_size_bytes", Labels: "block_group_type=system.btrfs.block_group uuid=system.btrfs.uuid"},
	{From: "system.btrfs.allocation", If: "system.btrfs.state=used", Name: "node_btrfs_used_bytes", Labels: "block_group_type=system.btrfs.block_group uuid=system.btrfs.uuid"},
	{From: "system.btrfs.allocation", If: "system.btrfs.state=reserved", Name: "node_btrfs_reserved_bytes", Labels: "block_group_type=system.btrfs.block_group uuid=system.btrfs.uuid"},
	{From: "system.btrfs.allocation", If: "system.btrfs.state=global_reserve", Name: "node_btrfs_global_rsv_size_bytes", Labels: "uuid=system.btrfs.uuid"},
	{From: "system.infiniband.io", If: nodeReceive, Name: "node_infiniband_port_data_received_bytes_total", Labels: "device=system.device port=system.port"},
	{From: "system.infiniband.io", If: nodeTransmit, Name: "node_infiniband_port_data_transmitted_bytes_total", Labels: "device=system.device port=system.port"},

	{From: "hw.temperature", If: "hw.parent!=", Name: "node_hwmon_temp_celsius", Labels: nodeSensor},
	{From: "hw.temperature", If: "hw.parent!=", Name: "node_hwmon_chip_names", Labels: "chip=hw.parent chip_name=hw.name", Fixed: true, Add: 1},
	{From: "hw.temperature", If: "hw.parent!= hw.sensor_location!=", Name: "node_hwmon_sensor_label", Labels: nodeSensor + " label=hw.sensor_location", Fixed: true, Add: 1},
	{From: "hw.temperature", If: "hw.parent=", Name: "node_thermal_zone_temp", Labels: "type=hw.name zone=hw.id:thermal_zone"},
	{From: "hw.temperature.limit", If: "hw.limit_type=high.degraded", Name: "node_hwmon_temp_max_celsius", Labels: nodeSensor},
	{From: "hw.temperature.limit", If: "hw.limit_type=high.critical", Name: "node_hwmon_temp_crit_celsius", Labels: nodeSensor},
	{From: "hw.temperature.limit", If: "hw.limit_type=low.degraded", Name: "node_hwmon_temp_min_celsius", Labels: nodeSensor},
	{From: "hw.temperature.limit", If: "hw.limit_type=low.critical", Name: "node_hwmon_temp_lcrit_celsius", Labels: nodeSensor},
	{From: "hw.fan.speed", Name: "node_hwmon_fan_rpm", Labels: nodeSensor},
	{From: "hw.voltage", Name: "node_hwmon_in_volts", Labels: nodeSensor},
	{From: "hw.errors", If: "error.type=correctable", Name: "node_edac_correctable_errors_total", Labels: "controller=hw.id:mc"},
	{From: "hw.errors", If: "error.type=uncorrectable", Name: "node_edac_uncorrectable_errors_total", Labels: "controller=hw.id:mc"},
	{From: "hw.cooling_device.state", If: "hw.cooling.value=current", Name: "node_cooling_device_cur_state", Labels: "name=hw.id:cooling_device type=hw.name"},
	{From: "hw.cooling_device.state", If: "hw.cooling.value=maximum", Name: "node_cooling_device_max_state", Labels: "name=hw.id:cooling_device type=hw.name"},
	{From: "hw.battery.charge", Name: "node_power_supply_capacity", Labels: "power_supply=hw.id", Scale: 100},

	// Of the catalogue, off by default.
	{From: "system.disk.discard.merged", Name: "node_disk_discards_merged_total", Labels: nodeDisk},
	{From: "system.disk.discard.time", Name: "node_disk_discard_time_seconds_total", Labels: nodeDisk},
	{From: "system.disk.flush.time", Name: "node_disk_flush_requests_time_seconds_total", Labels: nodeDisk},
	{From: "system.network.error.detail", If: "network.io.direction=receive error.type=fifo", Name: "node_network_receive_fifo_total", Labels: nodeInterface},
	{From: "system.network.error.detail", If: "network.io.direction=receive error.type=frame", Name: "node_network_receive_frame_total", Labels: nodeInterface},
	{From: "system.network.error.detail", If: "network.io.direction=transmit error.type=fifo", Name: "node_network_transmit_fifo_total", Labels: nodeInterface},
	{From: "system.network.error.detail", If: "network.io.direction=transmit error.type=collision", Name: "node_network_transmit_colls_total", Labels: nodeInterface},
	{From: "system.network.error.detail", If: "network.io.direction=transmit error.type=carrier", Name: "node_network_transmit_carrier_total", Labels: nodeInterface},
	{From: "system.network.packet.multicast", Name: "node_network_receive_multicast_total", Labels: nodeInterface},
	{From: "system.network.packet.compressed", If: "network.io.direction=receive", Name: "node_network_receive_compressed_total", Labels: nodeInterface},
	{From: "system.network.packet.compressed", If: "network.io.direction=transmit", Name: "node_network_transmit_compressed_total", Labels: nodeInterface},
	{From: "system.network.packet.nohandler", Name: "node_network_receive_nohandler_total", Labels: nodeInterface},
	{From: "system.network.interface.mtu", Name: "node_network_mtu_bytes", Labels: nodeInterface},
	{From: "system.network.interface.queue_length", Name: "node_network_transmit_queue_length", Labels: nodeInterface},
	{From: "system.network.interface.carrier_change.count", Name: "node_network_carrier_changes_total", Labels: nodeInterface},
	{From: "system.network.interface.carrier_change.count", If: "system.network.carrier=up", Name: "node_network_carrier_up_changes_total", Labels: nodeInterface},
	{From: "system.network.interface.carrier_change.count", If: "system.network.carrier=down", Name: "node_network_carrier_down_changes_total", Labels: nodeInterface},
	{From: "system.network.interface.info", Name: "node_network_info", Labels: nodeInterface + " address=system.network.address broadcast=system.network.broadcast duplex=system.network.duplex ifalias=system.network.ifalias operstate=system.network.operstate"},
	{From: "system.network.arp.entry.count", Name: "node_arp_entries", Labels: nodeInterface},
	{From: "system.memory.linux.meminfo", Name: "node_memory_{linux.meminfo.field}_bytes", Extra: true},
	{From: "system.clock.timezone_offset", Name: "node_time_zone_offset_seconds"},
	{From: "system.watchdog.state", If: "system.watchdog.field=bootstatus|fw_version|nowayout", Name: "node_watchdog_{system.watchdog.field}", Labels: "name=system.watchdog.name"},
	{From: "system.watchdog.state", If: "system.watchdog.field=pretimeout|timeleft|timeout", Name: "node_watchdog_{system.watchdog.field}_seconds", Labels: "name=system.watchdog.name"},
	{From: "system.os.info", Name: "node_os_info", Labels: "name=os.name pretty_name=os.description version_id=os.version"},
	{From: "system.dmi.info", Name: "node_dmi_info", Labels: "bios_version=hw.bios_version product_name=hw.model product_serial=hw.serial_number system_vendor=hw.vendor"},
	{From: "systemd.unit.state", Name: "node_systemd_unit_state", Labels: "name=systemd.unit.name state=systemd.unit.state"},
	{From: "systemd.unit.restart.count", Name: "node_systemd_service_restart_total", Labels: "name=systemd.unit.name"},
}, netstatRules())

// perPage makes pages of bytes.
var perPage = 1 / float64(os.Getpagesize())

// netstatRules are those of the counters of protocols, which are the kernel's in both: Tcp.InSegs
// is node_netstat_Tcp_InSegs, Udp6InErrors is node_netstat_Udp6_InErrors.
func netstatRules() (rules []series.Rule) {
	for _, q := range netstatPoints {
		name := strings.Replace(q.name, ".", "_", 1)
		if i := strings.IndexByte(name, '6'); i > 0 && !strings.Contains(name, "_") {
			name = name[:i+1] + "_" + name[i+1:]
		}
		var conditions []string
		for _, kv := range q.attrs {
			conditions = append(conditions, kv.Key+"="+kv.Value.Text())
		}
		r := series.Rule{From: netstatMetrics[q.metric].Name, If: strings.Join(conditions, " "), Name: "node_netstat_" + name}
		if q.metric == netstatForwarding {
			r.Scale, r.Add = -1, 2 // the kernel has 2 for no
		}
		rules = append(rules, r)
	}
	return rules
}
