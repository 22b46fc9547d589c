package cgroup

import (
	"stint/export/otlp"
	"stint/scrape/dedup"
	"stint/scrape/series"
)

// Metrics of cAdvisor's that ours have no twin of, in the order of CAdvisorMetrics.
const (
	containerSystem = containerUser + 1 + iota
	containerPeriod
	containerQuota
	containerProcesses
	containerSeen
)

// CAdvisorMetrics are the metrics of containers that are there under cAdvisor's names only.
var CAdvisorMetrics = []series.Metric{
	{
		Metric: otlp.Metric{Name: "container_cpu_user_seconds_total", Instrument: otlp.Counter, Double: true,
			Description: "CPU time that the container used in its programs."},
		Source: "v2 cpu.stat user_usec; v1 cpuacct.stat",
	},
	{
		Metric: otlp.Metric{Name: "container_cpu_system_seconds_total", Instrument: otlp.Counter, Double: true,
			Description: "CPU time that the container used in the kernel."},
		Source: "v2 cpu.stat system_usec; v1 cpuacct.stat",
	},
	{
		Metric: otlp.Metric{Name: "container_spec_cpu_period", Instrument: otlp.Gauge,
			Description: "Period of the CPU quota, us."},
		Source: "v2 cpu.max; v1 cpu.cfs_period_us",
	},
	{
		Metric: otlp.Metric{Name: "container_spec_cpu_quota", Instrument: otlp.Gauge,
			Description: "CPU time that the container may use in a period, us."},
		Source: "v2 cpu.max; v1 cpu.cfs_quota_us",
		When:   "a CPU quota is set",
	},
	{
		Metric: otlp.Metric{Name: "container_processes", Instrument: otlp.Gauge,
			Description: "Processes of the container."},
		Source: "cgroup.procs",
	},
	{
		Metric: otlp.Metric{Name: "container_last_seen", Instrument: otlp.Gauge, Double: true,
			Description: "Time of the scrape, seconds since 1970."},
	},
}

// theirs tells whether cAdvisor's names are sent.
func (c *Config) theirs() bool { return c.Names == series.Prometheus || c.Names == series.Both }

// translation is how the points of containers and pods get cAdvisor's names; nil where they do not.
type translation struct{ containers, pods *series.Translation }

// translate looks up the names. What is read for them only is not sent under ours.
func translate(cfg *Config) translation {
	t := translation{
		containers: series.NewTranslation(cfg.Names, containerMetrics, series.CAdvisor),
		pods:       series.NewTranslation(cfg.Names, podMetrics, series.CAdvisor),
	}
	if cfg.theirs() && !cfg.CPU.Detail {
		t.containers.Hide(containerBursts, containerBurstTime, containerCPUShares)
	}
	if cfg.theirs() && !cfg.Memory.Detail {
		t.containers.Hide(containerReservation, containerSwapLimit, containerMapped, containerPeak)
		t.pods.Hide(podMemoryRSS)
	}
	return t
}

// view makes an entity's points show themselves under cAdvisor's names.
func (s *Cgroups) view(e *entity, resource []otlp.KeyValue) {
	of := s.names.containers
	if e.kind == pod {
		of = s.names.pods
	}
	if of != nil {
		e.points.View = of.View(series.Group(append(resource, s.resource...), "kubelet", scopeName, s.version), series.CAdvisorLabels(resource, e.path))
	}
}

// follow makes the metrics that are cAdvisor's only share the claims of ours.
func follow(cs dedup.Claims) {
	cs[containerUser], cs[containerSystem] = cs[containerCPUTime], cs[containerCPUTime]
}

// emitTheirs adds the points that are there under cAdvisor's names only.
func (s *Cgroups) emitTheirs(w writer) {
	w.seconds(containerUser, nil, cpuUser)
	w.seconds(containerSystem, nil, cpuSystem)
	w.int(containerPeriod, nil, cpuPeriod)
	w.int(containerQuota, nil, cpuQuota)
	w.int(containerProcesses, nil, pidsProcesses)
	w.p.Float(containerSeen, nil, float64(s.now)/1e9)
}
