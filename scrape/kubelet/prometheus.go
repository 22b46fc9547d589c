package kubelet

import (
	"slices"

	"stint/export/otlp"
	"stint/scrape/series"
)

// claimed are the points of volumes that have a claim. The kubelet's own metrics tell of no others.
const claimed = "k8s.persistentvolumeclaim.name!="

// PrometheusRules are the names that the kubelet has at /metrics for its volumes, and at
// /metrics/cadvisor for all else, in which the machine is id="/".
var PrometheusRules = slices.Concat(series.CAdvisor, []series.Rule{
	{From: "k8s.node.cpu.time", Name: "container_cpu_usage_seconds_total", Labels: `cpu="total" id="/"`},
	{From: "k8s.node.memory.usage", Name: "container_memory_usage_bytes", Labels: `id="/"`},
	{From: "k8s.node.memory.rss", Name: "container_memory_rss", Labels: `id="/"`},
	{From: "k8s.node.memory.working_set", Name: "container_memory_working_set_bytes", Labels: `id="/"`},
	{From: "k8s.node.network.io", If: "network.io.direction=receive", Name: "container_network_receive_bytes_total", Labels: `id="/" interface=network.interface.name`},
	{From: "k8s.node.network.io", If: "network.io.direction=transmit", Name: "container_network_transmit_bytes_total", Labels: `id="/" interface=network.interface.name`},
	{From: "k8s.node.network.errors", If: "network.io.direction=receive", Name: "container_network_receive_errors_total", Labels: `id="/" interface=network.interface.name`},
	{From: "k8s.node.network.errors", If: "network.io.direction=transmit", Name: "container_network_transmit_errors_total", Labels: `id="/" interface=network.interface.name`},

	{From: "k8s.pod.volume.available", If: claimed, Name: "kubelet_volume_stats_available_bytes"},
	{From: "k8s.pod.volume.capacity", If: claimed, Name: "kubelet_volume_stats_capacity_bytes"},
	{From: "k8s.pod.volume.usage", If: claimed, Name: "kubelet_volume_stats_used_bytes"},
	{From: "k8s.pod.volume.inode.count", If: claimed, Name: "kubelet_volume_stats_inodes"},
	{From: "k8s.pod.volume.inode.free", If: claimed, Name: "kubelet_volume_stats_inodes_free"},
	{From: "k8s.pod.volume.inode.used", If: claimed, Name: "kubelet_volume_stats_inodes_used"},
})

// CAdvisorMetrics are the metrics of containers that are there under cAdvisor's names only.
var CAdvisorMetrics = []series.Metric{{
	Metric: otlp.Metric{Name: "container_start_time_seconds", Instrument: otlp.Gauge, Double: true,
		Description: "When the container was started, seconds since 1970."},
	Source: "/stats/summary pods[].containers[].startTime",
}}

// translation is how the points of each kind of entity get those names; nil where they do not.
type translation struct {
	node, pods, containers, volumes *series.Translation
	inodes                          bool // those of volumes are wanted under our name, too
}

// translate looks up the names, and turns on what they need; that is not sent under ours.
func translate(cfg *Config) translation {
	of := func(table []series.Metric, asked bool, details ...int) *series.Translation {
		t := series.NewTranslation(cfg.Names, table, PrometheusRules)
		if t != nil && !asked {
			t.Hide(details...)
		}
		return t
	}
	t := translation{
		node: of(nodeMetrics, true),
		pods: of(podMetrics, cfg.Pods.Detail, podCPUUsage, podMemoryRSS, podMemoryAvailable, podFaults, podFSAvailable, podFSCapacity,
			podFSInodesUsed, podUptime, podProcesses),
		containers: of(containerMetrics, cfg.Containers.Detail, containerCPUUsage, containerMemoryAvailable, containerFSAvailable,
			containerFSCapacity, containerFSInodesUsed, containerUptime),
		volumes: of(volumeMetrics, cfg.Pods.Detail, volumeInodes),
	}
	if t.inodes = cfg.Pods.Detail; t.pods != nil {
		cfg.Pods.Detail, cfg.Containers.Detail = true, true
	}
	return t
}

// show makes an entity's points show themselves under those names with these labels.
func (s *Stats) show(e *entity, t *series.Translation, labels []otlp.KeyValue, resource ...otlp.KeyValue) {
	if t == nil {
		return
	}
	e.points.View = t.View(series.Group(append(slices.Clip(resource), s.resource...), "kubelet", scopeName, s.version), labels)
}

// volumeLabels are those of a volume with a claim.
func volumeLabels(pod []otlp.KeyValue, claim string) []otlp.KeyValue {
	labels := []otlp.KeyValue{otlp.Attr("persistentvolumeclaim", claim)}
	for _, kv := range pod {
		if kv.Key == "k8s.namespace.name" {
			labels = append(labels, otlp.Attr("namespace", kv.Value.Text()))
		}
	}
	return labels
}
