// Package agent puts the node agent together: configuration, memory limits, sources,
// destinations, the servers that tell about them, and the order of starting and stopping.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"stint/agent/process"
	"stint/export"
	"stint/export/otlp"
	"stint/scrape"
	"stint/tail"
	"stint/tail/journal"
)

// sizes is what the agent takes.
var sizes = process.Sizes{
	Base: 20 << 20,
	// Two lanes of logs with an open batch, one on its way and one waiting, 4 MiB each; metrics need less.
	Logs:    24 << 20,
	Metrics: 8 << 20,
	// A usual scrape of one source. While a destination is away each source pins one a tick, and the
	// queue's bound must be reached before the pool's.
	MetricSlab: 32 << 10,
	// A seventh of Go's own: hot paths make no garbage, so collecting more often costs next to nothing (1.28 % of
	// a core instead of 1.23 with 25, at 10,000 lines/s), and saves 3 MiB there and 1 with 110 pods.
	GCPercent: 15,
}

// Agent is one node agent. New makes one and starts nothing; Run works until its context ends
// and leaves nothing behind.
type Agent struct {
	cfg     *Config
	version string
	log     *slog.Logger
	reg     *prometheus.Registry
	started time.Time

	claim   *process.Claim
	memory  *process.Memory
	export  *export.Exporting
	tailer  *tail.Tailer      // nil when no pipeline takes logs
	journal *journal.Follower // nil when the journal is not followed
	node    *node             // nil outside Kubernetes
	grid    *scrape.Grid      // nil when nothing is scraped
	latest  *scrape.Latest    // nil without /metrics/node
	sink    *export.Sink      // nil when an exporter is configured
	demo    *demo             // nil without --demo
	rates   rates
	left    *tail.Open // for the next agent, after Run
}

// New checks the machine's side of a checked configuration and opens what the agent needs.
func New(cfg *Config, version string, log *slog.Logger) (*Agent, error) {
	return Renew(cfg, version, log, nil)
}

// Renew is New of an agent that goes on where before, whose Run has ended with [process.ErrReload], left off.
// nil: there is none. more is registered with the agent's metrics.
func Renew(cfg *Config, version string, log *slog.Logger, before *Agent, more ...prometheus.Collector) (_ *Agent, err error) {
	a := &Agent{cfg: cfg, version: version, reg: prometheus.NewRegistry(), started: time.Now()}
	a.log = slog.New(process.NewThrottle(log.Handler()))
	defer func() {
		if err == nil {
			return
		}
		if a.journal != nil {
			a.journal.Close()
		}
		if a.export != nil {
			a.export.Discard()
		}
		a.release()
	}()
	a.reg.MustRegister(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collectors.NewGoCollector())
	a.reg.MustRegister(more...)
	var open *tail.Open
	if before != nil {
		open, before.left = before.left, nil
		defer func() {
			if err != nil {
				before.left = open // for the next attempt
			}
		}()
	}

	if cfg.Demo {
		if a.demo, err = newDemo(cfg); err != nil {
			return nil, err
		}
	}
	if a.claim, err = process.NewClaim(cfg.StateDir, cfg.Admin.Listen, cfg.Health.Listen); err != nil {
		return nil, err
	}
	if err := a.claim.Stateless; err != nil {
		a.log.Error("state directory can't be used; offsets are not kept over a restart", "state_dir", cfg.StateDir, "err", err)
	}
	if a.memory, err = process.NewMemory(cfg.MemoryLimiter, sizes, func() { a.export.Flush() }, func() { a.export.Spill() }, a.log.With("part", "memory"), a.reg); err != nil {
		return nil, err
	}
	exporters, pipelines, offsets := cfg.Exporters, cfg.Pipelines, "tail"
	spool, dead := filepath.Join(cfg.StateDir, "spool"), filepath.Join(cfg.StateDir, "dead-letter")
	if len(exporters) == 0 {
		// Offsets of its own: what only the sink has had is not delivered.
		offsets, spool, dead = "tail-sink", "", ""
		if a.demo == nil {
			a.log.Warn("no exporter is configured: records go to the sink inside the agent, which counts them and keeps nothing")
		}
		if a.sink, err = export.NewSink(); err != nil {
			return nil, err
		}
		if a.demo != nil {
			a.sink.OnLog = a.demo.seen.Add
		}
		exporters = export.Exporters{"sink": a.sink.Exporter()}
		pipelines = export.DefaultPipelines(exporters, Sources())
	}
	a.export, err = export.New(export.Options{
		Batch: cfg.Batch, Exporters: exporters, Pipelines: pipelines, Spool: cfg.Spool, SpoolDir: spool, DeadLetter: cfg.DeadLetter, DeadDir: dead,
		Version: version, Log: a.log.With("part", "export"), Registerer: a.reg,
	})
	if err != nil {
		return nil, err
	}
	if a.node, err = newNode(cfg, a.log, a.reg); err != nil {
		return nil, err
	}
	if err = a.newJournal(strings.Replace(offsets, "tail", "journald", 1)); err != nil {
		return nil, err
	}
	if a.grid, err = a.newGrid(); err != nil {
		return nil, err
	}
	if a.grid != nil && cfg.Admin.NodeMetrics {
		a.latest = a.grid.Keep("host", "cgroup", "kubelet")
	}
	// Last, because it takes over what is open.
	if a.export.Wants(otlp.Logs, "tail") {
		var lookup func(uid, container string, restart int) *tail.Container
		if a.node != nil {
			lookup = newMetadata(a.node.pods, cfg.Tail.Containers, a.log.With("part", "tail")).lookup
		}
		a.tailer, err = tail.New(tail.Options{
			Config: cfg.Tail, StateDir: filepath.Join(cfg.StateDir, offsets), Resource: resourceOf(cfg), Version: version,
			Pool: a.memory.Logs, Out: a.export.Input(otlp.Logs, "tail"), Workers: runtime.GOMAXPROCS(0),
			OwnPod: ownPod(), Lookup: lookup, Vanishing: a.export.Vanishing, Open: open, Log: a.log.With("part", "tail"), Registerer: a.reg,
		})
		if err != nil {
			return nil, err
		}
	}
	return a, nil
}

// newJournal makes the follower of the journal, where there is one and some pipeline takes it.
func (a *Agent) newJournal(offsets string) error {
	on, why := a.cfg.Journald.On()
	if !on || !a.export.Wants(otlp.Logs, "journald") {
		return nil
	}
	log := a.log.With("part", "journald")
	log.Info("following the journal", "because", why)
	var err error
	a.journal, err = journal.New(journal.Options{
		Config: a.cfg.Journald, StateDir: filepath.Join(a.cfg.StateDir, offsets), Resource: resourceOf(a.cfg), Version: a.version,
		MaxLineBytes: a.cfg.Tail.MaxLineBytes, Pool: a.memory.Logs, Out: a.export.Input(otlp.Logs, "journald"),
		Log: log, Registerer: a.reg,
	})
	return err
}

// newGrid makes the scraping of what some pipeline takes.
func (a *Agent) newGrid() (*scrape.Grid, error) {
	wants := func(source string) bool { return a.export.Wants(otlp.Metrics, source) }
	sources, err := newSources(a.cfg, a.version, a.node, wants, a.log, a.reg)
	if err != nil {
		return nil, err
	}
	if wants("self") {
		sources = append(sources, process.NewSelf(a.reg, "stint-agent", a.cfg.NodeName, a.version, resourceOf(a.cfg), a.started))
	}
	if len(sources) == 0 {
		return nil, nil
	}
	to := make(map[string]func(*otlp.Chunk), len(sources))
	for _, s := range sources {
		to[s.Name()] = a.export.Input(otlp.Metrics, s.Name())
	}
	emit := func(source string, c *otlp.Chunk) { to[source](c) }
	return scrape.New(a.cfg.Scrape, sources, a.memory.Metrics, emit, a.log.With("part", "scrape"), a.reg)
}

// ownPod is namespace/name of the pod that the agent runs in, or empty.
func ownPod() string {
	if ns, name := os.Getenv("POD_NAMESPACE"), os.Getenv("POD_NAME"); ns != "" && name != "" {
		return ns + "/" + name
	}
	return ""
}

// Run works until ctx ends, then stops in the direction in which data flows: sources first,
// then what they handed over is delivered within drain_timeout, then offsets are saved.
func (a *Agent) Run(ctx context.Context) error {
	defer a.release()
	a.log.Info("started", "version", a.version, "node", a.cfg.NodeName, "page", process.Address(a.claim.Admin), "health", process.Address(a.claim.Health),
		"state_dir", a.cfg.StateDir, "memory_limit", a.memory.Hard, "exporters", slices.Sorted(maps.Keys(a.cfg.Exporters)))

	parts := process.NewStages(ctx)
	defer parts.Close()
	if a.sink != nil {
		parts.Serve(func(ctx context.Context) { parts.Fail(a.sink.Run(ctx)) })
	}
	a.claim.Serve(parts, a.adminHandler(), a.healthHandler())
	parts.Serve(a.memory.Run)
	parts.Serve(func(ctx context.Context) { a.rates.run(ctx, a) })
	if a.node != nil {
		parts.Serve(a.node.pods.Run)
	}
	parts.Send(a.export.Run)
	if a.tailer != nil {
		parts.Read(a.tailer.Run)
	}
	if a.journal != nil {
		parts.Read(func(ctx context.Context) {
			if err := a.journal.Run(ctx); err != nil {
				a.log.Error("the journal is not followed any more", "err", err)
			}
		})
	}
	if a.grid != nil {
		parts.Read(func(ctx context.Context) { parts.Fail(a.grid.Run(ctx)) })
	}

	var err error
	if a.demo != nil {
		// The writer ends first, and what it wrote is read.
		if err = a.demo.run(ctx, a.tailer); err != nil {
			err = fmt.Errorf("demo: %w", err)
		}
	} else {
		select {
		case <-ctx.Done():
		case err = <-parts.Failed():
		}
	}
	a.log.Info("stopping; delivering what was read", "timeout", a.cfg.DrainTimeout.String())
	parts.Drain(a.export.CloseInput, a.cfg.DrainTimeout)
	if a.tailer != nil { // offsets say what was delivered
		end := a.tailer.Close
		if errors.Is(context.Cause(ctx), process.ErrReload) {
			end = func() (e error) { a.left, e = a.tailer.Leave(); return e }
		}
		if e := end(); e != nil {
			a.log.Error("offsets could not be saved; lines may be sent twice after the next start", "err", e)
		}
	}
	if a.journal != nil {
		if e := a.journal.Close(); e != nil {
			a.log.Error("the journal's cursor could not be saved; entries may be sent twice after the next start", "err", e)
		}
	}
	l := a.lines()
	a.log.Info("stopped", "read", l.Read, "delivered", l.Delivered, "lost", l.Lost, "repeated", l.Repeated, "undelivered", l.InFlight)
	return err
}

// release gives back what New opened; what Run's servers have closed may be closed again.
func (a *Agent) release() {
	if a.claim != nil {
		a.claim.Release()
	}
	if a.demo != nil {
		a.demo.remove()
	}
}
