// Package cluster puts stint-cluster together: configuration, memory limits, the election of one
// leader among the replicas, what it reads, destinations, servers, and the order of starting and
// stopping.
package cluster

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"stint/agent/cluster/gateway"
	"stint/agent/process"
	"stint/export"
	"stint/export/otlp"
	"stint/scrape"
	"stint/scrape/kube"
	"stint/scrape/kube/lookup"
)

// sizes is what the process takes.
var sizes = process.Sizes{
	Base: 40 << 20,
	// Three of the largest requests that the gateway takes (they grow as they are read), or a page of objects and
	// the batches before it, 4 MiB each.
	Logs: 64 << 20,
	// An interval of 150,000 pods is some 750 MB; it leaves in pieces, and a few are under way.
	Metrics:    64 << 20,
	MetricSlab: otlp.SlabSize,
	GCPercent:  50, // decoding objects makes garbage: less often than the agent
}

// selfInterval is how often the process sends metrics of its own.
const selfInterval = 10 * time.Second

// Cluster is one replica. New makes one and starts nothing; Run works until its context ends and
// leaves nothing behind.
type Cluster struct {
	cfg     *Config
	version string
	log     *slog.Logger
	reg     *prometheus.Registry
	started time.Time

	claim      *process.Claim
	memory     *process.Memory
	export     *export.Exporting
	gateway    *gateway.Gateway // nil when no pipeline takes what it receives
	lookup     *lookup.Lookup   // nil when nothing is added to what it receives
	sink       *export.Sink     // nil when an exporter is configured
	client     *kube.Client     // nil when the API server is not asked
	lease      *lease           // these four: nil when no pipeline takes what only a leader reads
	leader     *leader
	events     *leaseEvents
	singletons []*singleton
	grid       *scrape.Grid // nil when no pipeline takes the process's own metrics
}

// New checks the machine's side of a checked configuration and opens what is needed. The API
// server is not asked yet. more is registered with the replica's metrics.
func New(cfg *Config, version string, log *slog.Logger, more ...prometheus.Collector) (*Cluster, error) {
	return newCluster(cfg, version, sourcesOf(cfg), log, more...)
}

func newCluster(cfg *Config, version string, all []listed, log *slog.Logger, more ...prometheus.Collector) (_ *Cluster, err error) {
	c := &Cluster{cfg: cfg, version: version, reg: prometheus.NewRegistry(), started: time.Now()}
	c.log = slog.New(process.NewThrottle(log.Handler()))
	kube.LogTo(c.log)
	defer func() {
		if err == nil {
			return
		}
		if c.export != nil {
			c.export.Discard()
		}
		c.release()
	}()
	c.reg.MustRegister(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collectors.NewGoCollector())
	c.reg.MustRegister(more...)
	if c.claim, err = process.NewClaim(cfg.StateDir, cfg.Admin.Listen, cfg.Health.Listen); err != nil {
		return nil, err
	}
	if err := c.claim.Stateless; err != nil {
		c.log.Error("state directory can't be used; nothing is spooled on disk", "state_dir", cfg.StateDir, "err", err)
	}
	if c.memory, err = process.NewMemory(cfg.MemoryLimiter, sizes, func() { c.export.Flush() }, func() { c.export.Spill() }, c.log.With("part", "memory"), c.reg); err != nil {
		return nil, err
	}
	if err = c.newExport(); err != nil {
		return nil, err
	}
	if err = c.newGateway(); err != nil {
		return nil, err
	}
	if slices.ContainsFunc(all, func(l listed) bool { return c.export.Wants(l.signal, l.name) }) {
		if err = c.newLeader(all); err != nil {
			return nil, err
		}
	}
	if c.export.Wants(otlp.Metrics, "self") {
		to := c.export.Input(otlp.Metrics, "self")
		self := process.NewSelf(c.reg, "stint-cluster", podName(), version, nil, c.started)
		c.grid, err = scrape.New(scrape.Config{Interval: selfInterval}, []scrape.Source{self}, c.memory.Metrics,
			func(_ string, chunk *otlp.Chunk) { to(chunk) }, c.log.With("part", "scrape"), c.reg)
	}
	return c, err
}

// newExport makes the destinations, or the sink in their place.
func (c *Cluster) newExport() (err error) {
	opt := export.Options{
		Batch: c.cfg.Batch, Exporters: c.cfg.Exporters, Pipelines: c.cfg.Pipelines, Spool: c.cfg.Spool, DeadLetter: c.cfg.DeadLetter,
		Forwards: true, Unspooled: c.cfg.Gateway.Unspooled(), Version: c.version, Log: c.log.With("part", "export"), Registerer: c.reg,
	}
	if c.claim.Stateless == nil {
		opt.SpoolDir, opt.DeadDir = filepath.Join(c.cfg.StateDir, "spool"), filepath.Join(c.cfg.StateDir, "dead-letter")
	}
	if len(opt.Exporters) == 0 {
		c.log.Warn("no exporter is configured: records go to the sink inside the process, which counts them and keeps nothing")
		if c.sink, err = export.NewSink(); err != nil {
			return err
		}
		opt.Exporters = export.Exporters{"sink": c.sink.Exporter()}
		opt.Pipelines = export.DefaultPipelines(opt.Exporters, c.cfg.defaultSources())
		opt.SpoolDir, opt.DeadDir = "", ""
	}
	c.export, err = export.New(opt)
	return err
}

// newGateway opens the ports that receive OTLP.
func (c *Cluster) newGateway() (err error) {
	wanted := false
	input := func(s otlp.Signal) func(*otlp.Chunk) {
		if !c.export.Wants(s, "otlp") {
			return nil
		}
		return c.export.Input(s, "otlp")
	}
	for s := range otlp.Signals {
		wanted = wanted || c.export.Wants(s, "otlp")
	}
	if g := c.cfg.Gateway; !wanted || g.GRPC == "" && g.HTTP == "" {
		return nil
	}
	if c.cfg.Gateway.Enrich.Enabled {
		if err := c.newClient(); err != nil {
			return fmt.Errorf("gateway.enrich: %w", err)
		}
		c.lookup = lookup.New(c.cfg.Gateway.Enrich, c.client, c.log.With("part", "gateway"), c.reg)
	}
	c.gateway, err = gateway.New(gateway.Options{
		Config: c.cfg.Gateway, Pool: c.memory.Logs, Input: input, Full: func(s otlp.Signal) bool { return c.export.Full(s, "otlp") }, Lookup: c.lookup, Log: c.log.With("part", "gateway"), Registerer: c.reg,
	})
	return err
}

// newClient makes the client of the API server, once.
func (c *Cluster) newClient() (err error) {
	if c.client == nil {
		c.client, err = kube.NewClient(c.cfg.Kubernetes, c.version)
	}
	return err
}

// newLeader makes the election and what the leader does.
func (c *Cluster) newLeader(all []listed) (err error) {
	if err := c.newClient(); err != nil {
		return err
	}
	cfg := c.cfg.Leader
	if cfg.LeaseNamespace == "" {
		return errors.New("leader.lease_namespace: empty, and this is no pod; set it, or POD_NAMESPACE by the downward API")
	}
	// Readable in kubectl get lease, and never the same twice.
	identity := podName() + "_" + strings.ToLower(rand.Text()[:12])
	c.lease = newLease(&resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Name: cfg.LeaseName, Namespace: cfg.LeaseNamespace},
		Client:     c.client.Typed.CoordinationV1(),
		LockConfig: resourcelock.ResourceLockConfig{Identity: identity},
	}, cfg.RenewDeadline)
	if err := c.newSingletons(all); err != nil {
		return err
	}
	c.events = newLeaseEvents(c.client.Typed, cfg, c.log.With("part", "leader"))
	c.leader = newLeader(cfg, c.lease, c.lead, c.stuck, c.events.tell, c.log.With("part", "leader"), c.reg)
	return nil
}

// podName is the pod's name, which is its host name, too.
func podName() string {
	if name := os.Getenv("POD_NAME"); name != "" {
		return name
	}
	name, _ := os.Hostname()
	return name
}

// lead runs the sources until ctx ends or one of them fails; then it waits for what they handed over.
func (c *Cluster) lead(ctx context.Context) error {
	run, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	failed := make(chan error, len(c.singletons))
	for _, s := range c.singletons {
		s.progress.Begin()
		wg.Go(func() {
			defer stop()
			if err := s.run(run); err != nil {
				failed <- fmt.Errorf("%s: %w", s.name, err)
			} else if ctx.Err() == nil && run.Err() == nil {
				failed <- fmt.Errorf("bug: %s ended before its time", s.name)
			}
		})
	}
	<-run.Done()
	deadline, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	spill := time.AfterFunc(stopTimeout-spillBefore, c.export.Spill)
	defer spill.Stop()
	wg.Wait()
	for _, s := range c.singletons {
		if left := s.outlet.flush(deadline, c.export.Flush); left > 0 {
			c.log.Warn("not everything was delivered before the lease is given up; the rest is dropped, and what is of logs the next leader sends", "source", s.name, "chunks", left)
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), handoverTimeout)
	defer cancel()
	for _, s := range c.singletons {
		s.progress.Begin() // what was is no reason to give up the next term
		if h, ok := s.source.(handover); ok {
			if err := h.Handover(last); err != nil {
				c.log.Warn("what was sent could not be written down; the next leader may send some of it again", "source", s.name, "err", err)
			}
		}
	}
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// run is Run of the source, with a panic as an error: the other replica may do better, and the
// process has other work.
func (s *singleton) run(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return s.source.Run(ctx)
}

// stuck says which source does not get on, and why. One whose chunks wait for a destination is not
// stuck: the other replicas have the same one.
func (c *Cluster) stuck() string {
	for _, s := range c.singletons {
		if s.outlet.pending.Load() > 0 {
			s.progress.Done()
		}
		if why := s.progress.Stuck(); why != "" {
			return s.name + ": " + why
		}
	}
	return ""
}

// Run works until ctx ends, then stops in the direction in which data flows: what the leader reads
// first, then the lease is given up, then what was handed over is delivered within drain_timeout.
func (c *Cluster) Run(ctx context.Context) error {
	defer c.release()
	var grpcAt, httpAt string
	if c.gateway != nil {
		grpcAt, httpAt = c.gateway.Addresses()
	}
	c.log.Info("started", "version", c.version, "admin", process.Address(c.claim.Admin), "health", process.Address(c.claim.Health), "otlp_grpc", grpcAt, "otlp_http", httpAt,
		"state_dir", c.cfg.StateDir, "memory_limit", c.memory.Hard, "exporters", slices.Sorted(maps.Keys(c.cfg.Exporters)))

	parts := process.NewStages(ctx)
	defer parts.Close()
	if c.sink != nil {
		parts.Serve(func(ctx context.Context) { parts.Fail(c.sink.Run(ctx)) })
	}
	c.claim.Serve(parts, c.adminHandler(), c.healthHandler())
	parts.Serve(c.memory.Run)
	parts.Send(c.export.Run)
	if c.leader != nil {
		parts.Read(c.leader.run)
	}
	if c.gateway != nil {
		parts.Read(func(ctx context.Context) { parts.Fail(c.gateway.Run(ctx)) })
	}
	if c.lookup != nil {
		parts.Read(c.lookup.Run)
	}
	if c.grid != nil {
		parts.Read(func(ctx context.Context) { parts.Fail(c.grid.Run(ctx)) })
	}

	var err error
	select {
	case <-ctx.Done():
	case err = <-parts.Failed():
	}
	c.log.Info("stopping; delivering what was read", "timeout", c.cfg.DrainTimeout.String())
	parts.Drain(c.export.CloseInput, c.cfg.DrainTimeout) // the lease is given up, what was handed over is delivered or spooled
	if c.events != nil {
		c.events.wait()
	}
	c.log.Info("replica stopped")
	return err
}

// release gives back what New opened; what Run's servers have closed may be closed again.
func (c *Cluster) release() {
	if c.gateway != nil {
		c.gateway.Close()
	}
	if c.claim != nil {
		c.claim.Release()
	}
}
