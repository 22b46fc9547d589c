package kubelet

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stint/export/otlp"
	"stint/scrape/dedup"
	"stint/scrape/series"
)

const (
	scopeName    = "stint/scrape/kubelet"
	statsScraper = "stats"
	// maxStatsPods bounds the pods that are reported, each with up to 256 containers, volumes and
	// interfaces (maxElements). A node runs 110 by default, some run 500.
	maxStatsPods = 1024
	// maxInterfaces bounds the interfaces whose attributes are kept encoded. Pods call theirs
	// eth0, nodes have some dozens.
	maxInterfaces = 1024
	// ahead is how far beyond the scrape a figure's time may lie, since the kubelet may measure
	// while it answers. What is later is not believed: all that follows would seem outdated.
	ahead = uint64(time.Minute)
)

// Stats is the source of what the kubelet measures: GET /stats/summary.
//
// It asks every interval of its own, at the first scrape in it, since each answer costs the kubelet
// a look at every log file. summary.go says what is read, statspoints.go what is made of it.
//
// A poll has two halves. While the answer comes in, each part's figures are set beside those of the
// poll before (entity.next) and made into points. When all of it was good, these are sent, each with
// the time at which the kubelet measured it, unless it did not measure since; and what the answer
// does not have any more is let go of. An answer that breaks off or is not understood sends nothing,
// and lets go of nothing: the next one is compared with the last good one.
type Stats struct {
	cfg      Config
	client   *Client
	table    *Pods
	version  string
	resource []otlp.KeyValue
	overlap  *dedup.Table
	log      *slog.Logger
	names    translation

	summary *summary
	polls   uint64 // so far
	slot    int64  // the interval in which the last was
	failed  error  // what came of it
	warm    bool   // there was a good one
	again   bool   // the next scrape polls, whatever its time
	waiting bool   // the poll had something that waits to be known
	now     uint64 // time of the poll, ns since 1970

	node       *entity
	system     []*systemEntity
	pods       []*podEntity // in the order in which they appeared
	byUID      map[string]*podEntity
	interfaces map[string]*interfaceAttrs
	ofNode     []string // names of the node's interfaces
	swap       bool     // the node has swap
	psi        bool     // its kernel has PSI
	units      [3]psiUnit
	left       int // pods that there is no room for in this poll
	unnamed    int // containers that were sent without their id in this poll
	said       bool

	attrs struct {
		major, minor, some, full, logs []byte
		windows                        [][]byte
	}
	capacity capacity

	failures     *prometheus.CounterVec // reason
	leftGauge    atomic.Int64
	unnamedGauge atomic.Int64
}

// interfaceAttrs are the attributes of an interface's points.
type interfaceAttrs struct{ receive, transmit []byte }

// NewStats makes the source; it asks for nothing yet. table tells what the pods are. resource is
// the node's, and stands on all that is sent; nodeName is added to it if it lacks that.
func NewStats(cfg Config, client *Client, table *Pods, nodeName, version string, resource []otlp.KeyValue, overlap *dedup.Table, log *slog.Logger, reg prometheus.Registerer) (*Stats, error) {
	s := &Stats{
		cfg: cfg, client: client, table: table, version: version, overlap: overlap, log: log,
		resource: slices.Clip(resource), byUID: map[string]*podEntity{}, interfaces: map[string]*interfaceAttrs{},
	}
	if nodeName != "" && !slices.ContainsFunc(resource, func(kv otlp.KeyValue) bool { return kv.Key == "k8s.node.name" }) {
		s.resource = append(s.resource, otlp.Attr("k8s.node.name", nodeName))
	}
	s.names = translate(&s.cfg)
	s.summary = newSummary(s.takeNode, s.takePod)
	one := func(key, value string) []byte { return series.Attributes(otlp.Attr(key, value)) }
	s.attrs.major, s.attrs.minor = one("system.paging.fault.type", "major"), one("system.paging.fault.type", "minor")
	s.attrs.some, s.attrs.full = one("psi.type", "some"), one("psi.type", "full")
	s.attrs.logs = one("k8s.container.ephemeral_storage.fs_type", "logs")
	for _, kind := range []string{"some", "full"} {
		for _, window := range []string{"10s", "60s", "300s"} {
			s.attrs.windows = append(s.attrs.windows, series.Attributes(otlp.Attr("psi.type", kind), otlp.Attr("psi.window", window)))
		}
	}
	s.capacity = newCapacity(cfg.RootPath)
	return s, s.register(reg)
}

func (s *Stats) register(reg prometheus.Registerer) error {
	s.failures = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "stint_kubelet_stats_failures_total",
		Help: "Failures to get statistics: tls, token, unauthorized, forbidden, timeout, unreachable, status, too_large, malformed = the answer was not understood.",
	}, []string{"reason"})
	gauge := func(name, help string, v *atomic.Int64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(v.Load()) })
	}
	return errors.Join(
		reg.Register(s.failures),
		reg.Register(gauge("stint_kubelet_stats_left_out", "Pods over 1024, and containers, volumes and interfaces of a pod over 256 each, that the last statistics had and that are not reported.", &s.leftGauge)),
		reg.Register(gauge("stint_kubelet_stats_unnamed_containers", "Containers that are reported without container.id, because the list of pods does not tell it: they are not known to be those of the control groups.", &s.unnamedGauge)),
	)
}

// Name is the source's name in labels.
func (s *Stats) Name() string { return "kubelet" }

// Scrapers is one: there is one request.
func (s *Stats) Scrapers() []string { return []string{statsScraper} }

// Scrape asks the kubelet if it is time to. Between two polls it has no points, and the error of
// the last one, as long as that is the state of things.
func (s *Stats) Scrape(ctx context.Context, _ int, at time.Time, hand func(*otlp.Group, []byte, int)) error {
	slot := at.UnixNano() / int64(s.cfg.Interval)
	if s.polls > 0 && slot == s.slot && !s.again {
		return s.failed
	}
	s.slot, s.again = slot, false
	s.begin(at)
	err := s.client.Get(ctx, "/stats/summary", s.summary.read)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if s.failed = err; err != nil {
		s.failures.WithLabelValues(reasonOf(err)).Inc()
		return err
	}
	s.finish(at, hand)
	// What is new at the agent's start waits for the table of pods, which is new as well: an
	// interval would be long.
	s.again, s.warm = !s.warm && s.waiting, true
	return nil
}

// begin is a poll's begin.
func (s *Stats) begin(at time.Time) {
	s.polls++
	s.now, s.left, s.unnamed, s.waiting = uint64(at.UnixNano()), 0, 0, false
	if s.cfg.Utilization {
		s.capacity.read()
	}
}

// finish sends what a good poll has brought.
func (s *Stats) finish(at time.Time, hand func(*otlp.Group, []byte, int)) {
	s.sweep()
	s.commit(s.node, at, hand)
	for _, c := range s.system {
		s.commit(&c.entity, at, hand)
	}
	for _, p := range s.pods {
		s.commit(&p.entity, at, hand)
		for _, c := range p.containers {
			s.commit(&c.entity, at, hand)
		}
		for _, v := range p.volumes {
			s.commit(&v.entity, at, hand)
		}
	}
	s.leftGauge.Store(int64(s.left + s.summary.left))
	s.unnamedGauge.Store(int64(s.unnamed))
	if unnamed := s.unnamed > 0; unnamed != s.said {
		if s.said = unnamed; unnamed {
			s.log.Warn("containers are reported without their ids, because the pods are not known; what the control groups tell of them is sent, too", "containers", s.unnamed)
		}
	}
}

// Close lets go of everything that is known; a further scrape begins anew.
func (s *Stats) Close() error {
	s.polls++ // nothing was seen in this one
	if s.node != nil {
		s.leave(s.node)
		s.node = nil
	}
	s.sweep()
	s.polls, s.failed, s.warm, s.again = 0, nil, false, false
	s.capacity.close()
	s.client.closeIdle()
	return nil
}
