package cluster

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"stint/export/otlp"
	"stint/scrape/kube"
	"stint/scrape/kube/events"
	"stint/scrape/kube/objects"
	"stint/scrape/kube/state"
)

// Sources are the names that pipelines know, by signal.
func Sources() map[string][]string {
	return map[string][]string{"logs": {"events", "objects", "otlp"}, "metrics": {"otlp", "self", "state"}, "traces": {"otlp"}}
}

// defaultSources are those of pipelines that nobody has written: all of them, but what only a leader reads
// where no API server is known, as of a gateway on somebody's laptop.
func (c *Config) defaultSources() map[string][]string {
	all := Sources()
	if c.inPod || c.Kubernetes.Kubeconfig != "" {
		return all
	}
	for signal, names := range all {
		all[signal] = slices.DeleteFunc(names, func(name string) bool {
			return slices.ContainsFunc(leaderSources, func(l listed) bool { return l.name == name && l.signal.String() == signal })
		})
	}
	return all
}

// source works on the leader alone. Run is called at the start of each term, and ends soon after
// its context with everything handed over; it may be called again.
type source interface {
	Run(ctx context.Context) error
}

// handover is a source that keeps what the next leader must know. Handover is called after what Run
// handed over was delivered, as far as it was, and before the lease is given up.
type handover interface {
	Handover(ctx context.Context) error
}

// listed is a source that may be made.
type listed struct {
	name   string
	signal otlp.Signal
	make   func(cfg *Config, d kube.Deps) (source, error)
}

// leaderSources are all that there are.
var leaderSources = []listed{
	{"state", otlp.Metrics, func(cfg *Config, d kube.Deps) (source, error) { return state.New(cfg.State, d) }},
	{"events", otlp.Logs, func(cfg *Config, d kube.Deps) (source, error) {
		c := cfg.Events
		c.CheckpointNamespace = cmp.Or(c.CheckpointNamespace, cfg.Leader.LeaseNamespace)
		return events.New(c, d)
	}},
	{"objects", otlp.Logs, func(cfg *Config, d kube.Deps) (source, error) {
		c := cfg.Objects
		c.CheckpointNamespace = cmp.Or(c.CheckpointNamespace, cfg.Leader.LeaseNamespace)
		return objects.New(c, d)
	}},
}

// sourcesOf are those that are not turned off: without any, nobody contends for the lease.
func sourcesOf(cfg *Config) []listed {
	return slices.DeleteFunc(slices.Clone(leaderSources), func(l listed) bool {
		return l.name == "state" && !cfg.State.Enabled || l.name == "events" && !cfg.Events.Enabled || l.name == "objects" && len(cfg.Objects.Resources) == 0
	})
}

// singleton is a source with its way out.
type singleton struct {
	name     string
	source   source
	outlet   *outlet
	progress *kube.Progress
}

// newSingletons makes the sources that some pipeline takes.
func (c *Cluster) newSingletons(all []listed) error {
	fenced := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "stint_leader_fenced_records_total",
		Help: "Records that were read, and not sent because the lease was not held any more: those of logs the next leader sends.",
	}, []string{"source"})
	c.reg.MustRegister(fenced)
	for _, l := range all {
		if !c.export.Wants(l.signal, l.name) {
			continue
		}
		s := &singleton{name: l.name, progress: &kube.Progress{}}
		s.outlet = newOutlet(c.lease.pass, c.export.Input(l.signal, l.name), fenced.WithLabelValues(l.name))
		pool := c.memory.Logs
		if l.signal == otlp.Metrics {
			pool = c.memory.Metrics
		}
		var err error
		s.source, err = l.make(c.cfg, kube.Deps{
			Client: c.client, Version: c.version, Pool: pool, Out: s.outlet.take, Live: c.lease.live, Term: c.lease.currentTerm,
			Progress: s.progress, Log: c.log.With("part", l.name), Registerer: c.reg,
		})
		if err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
		c.singletons = append(c.singletons, s)
	}
	return nil
}
