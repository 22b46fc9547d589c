// Package host reads the metrics of the machine from /proc, /sys and statfs(2).
//
// Each group of metrics has a scraper of its own (cpu.go, disk.go, …) with a table of the
// metrics that it emits; the files that they parse have their names from the kernel
// (stat.go, diskstats.go, …). Files stay open and are read into reused buffers, series stay
// encoded and are patched: a scrape in which no device came or went allocates nothing.
package host

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"stint/export/otlp"
	"stint/scrape/dedup"
	"stint/scrape/kernel"
	"stint/scrape/series"
)

// Host is the source of this machine's metrics.
//
// Everything is read below the root path, under which a container sees the host. Two things
// there are not the host's: /proc/self and /proc/net belong to the reader, so namespaced files
// are taken from /proc/1. Where that is hidden (mount option hidepid), an agent that sees the
// real root reads its own namespace instead; one in a container has no such figures, rather
// than those of its pod under the host's name.
type Host struct {
	root, proc, sys string // paths without a slash at the end; root is "" for /
	pid             string // whose namespaced files are the host's: 1, or self
	log             *slog.Logger
	group           *otlp.Group
	resource        []otlp.KeyValue // that of group
	version         string          // the agent's
	theirs          *otlp.Group     // of the points that are sent under node_exporter's names; nil: none are
	parts           []part

	// boot is when the machine started (ns since 1970), the start time of its counters; 0
	// until /proc/stat could be read. It is frozen: btime moves when the clock is set.
	boot atomic.Uint64

	// Files that more than one scraper takes values from.
	stat    shared[stat]
	loadavg shared[loadavg]
	vmstat  shared[vmstat]
}

// part is a scraper at work.
type part struct {
	name string
	scraper
	points series.Points
	claims dedup.Claims
	twin   *part // reads what node_exporter's names need in more detail than is sent under ours; nil: the same

	// For node_scrape_collector_*.
	scraped atomic.Int64 // how long the last scrape took, ns; 0: there was none
	failed  atomic.Bool
}

// scraper reads one group of metrics into p; now is the time of the tick in ns since 1970.
// The points are good also when there is an error.
type scraper interface {
	scrape(p *series.Points, now uint64) error
	close()
}

// handing is a scraper that hands over by itself what has a resource or names of its own.
type handing interface {
	scrapeEach(boot, now uint64, hand func(*otlp.Group, []byte, int)) error
}

// scrapers are the groups of metrics, in the order of the documentation.
var scrapers = []struct {
	name    string
	table   []series.Metric
	enabled func(*Config) bool
	new     func(*Host, *Config) scraper
}{
	{"cpu", cpuMetrics, func(c *Config) bool { return c.CPU.Enabled }, newCPU},
	{"load", loadMetrics, func(c *Config) bool { return c.Load.Enabled }, newLoad},
	{"system", systemMetrics, func(c *Config) bool { return c.System.Enabled }, newSystem},
	{"memory", memoryMetrics, func(c *Config) bool { return c.Memory.Enabled }, newMemory},
	{"paging", pagingMetrics, func(c *Config) bool { return c.Paging.Enabled }, newPaging},
	{"disk", diskMetrics, func(c *Config) bool { return c.Disk.Enabled }, newDisk},
	{"filesystem", filesystemMetrics, func(c *Config) bool { return c.Filesystem.Enabled }, newFilesystem},
	{"network", networkMetrics, func(c *Config) bool { return c.Network.Enabled }, newNetwork},
	{"netstat", netstatMetrics, func(c *Config) bool { return c.Netstat.Enabled }, newNetstat},
	{"softnet", softnetMetrics, func(c *Config) bool { return c.Softnet.Enabled }, newSoftnet},
	{"pressure", pressureMetrics, func(c *Config) bool { return c.Pressure.Enabled }, newPressure},
	{"clock", clockMetrics, func(c *Config) bool { return c.Clock.Enabled }, newClock},
	{"nfs", nfsMetrics, func(c *Config) bool { return c.NFS.Enabled }, newNFS},
	{"hw", hwMetrics, func(c *Config) bool { return c.HW.Enabled }, newHW},
	{"raid", raidMetrics, func(c *Config) bool { return c.RAID.Enabled }, newRaid},
	{"btrfs", btrfsMetrics, func(c *Config) bool { return c.Btrfs.Enabled }, newBtrfs},
	{"xfs", xfsMetrics, func(c *Config) bool { return c.XFS.Enabled }, newXFS},
	{"zfs", zfsMetrics, func(c *Config) bool { return c.ZFS.Enabled }, newZFS},
	{"bcache", bcacheMetrics, func(c *Config) bool { return c.Bcache.Enabled }, newBcache},
	{"bcachefs", bcachefsMetrics, func(c *Config) bool { return c.Bcachefs.Enabled }, newBcachefs},
	{"fabric", fabricMetrics, func(c *Config) bool { return c.Fabric.Enabled }, newFabric},
	{"tape", tapeMetrics, func(c *Config) bool { return c.Tape.Enabled }, newTape},
	{"ipvs", ipvsMetrics, func(c *Config) bool { return c.IPVS.Enabled }, newIPVS},
	{"processes", processesMetrics, func(c *Config) bool { return c.Processes.Enabled }, newProcesses},
	{"process", processMetrics, func(c *Config) bool { return c.Process.Enabled }, newProcess},
	{"systemd", systemdMetrics, func(c *Config) bool { return c.Systemd.Enabled }, newSystemd},
	{"textfile", textfileMetrics, func(c *Config) bool { return len(c.Textfile.Directories) > 0 }, newTextfile},
}

// New makes the source of the machine whose root directory is rootPath. nodeName is its name
// in Kubernetes, or empty; version is the agent's. Files are opened with the first scrape.
// Where another source may know the same, overlap says whose figures are sent; nil: the host's.
func New(cfg Config, rootPath, nodeName, version string, overlap *dedup.Table, interval time.Duration, log *slog.Logger) *Host {
	root := filepath.Clean(rootPath)
	if root == "/" {
		root = ""
	}
	h := &Host{root: root, proc: root + "/proc", sys: root + "/sys", log: log, resource: resource(root, nodeName), version: version}
	h.pid = h.findPID()
	h.group = otlp.NewGroup(h.resource, otlp.SchemaURL, "stint/scrape/host", version)
	full := cfg.forPrometheus()
	h.stat = shared[stat]{file: kernel.NewFile(h.proc + "/stat"), parse: parseStat, val: stat{perCPU: full.CPU.PerCPU, wantSoftirq: cfg.CPU.Softirq}}
	h.loadavg = shared[loadavg]{file: kernel.NewFile(h.proc + "/loadavg"), parse: parseLoadavg}
	h.vmstat = shared[vmstat]{file: kernel.NewFile(h.proc + "/vmstat"), parse: parseVmstat}
	if !cfg.Enabled {
		return h
	}
	h.parts = make([]part, 0, len(scrapers)+1) // which are pointed at
	for _, s := range scrapers {
		if !s.enabled(&cfg) {
			continue
		}
		h.parts = append(h.parts, part{
			name: s.name, scraper: s.new(h, &cfg), points: series.Points{Table: s.table},
			claims: overlap.ClaimAll("host", interval, dedup.Node, "", s.table),
		})
		h.translate(&h.parts[len(h.parts)-1], s.new, &cfg, &full)
	}
	if h.theirs != nil {
		extra := newNodeExporter(h, &cfg, overlap)
		h.parts = append(h.parts, part{name: extraScraper, scraper: extra, points: series.Points{Table: extra.table}})
		extra.tell(h.parts)
	}
	return h
}

// translate makes a part send its points under node_exporter's names, where that is asked for. If
// these need more detail than ours have, a second one reads it, so that what is sent under our names
// is what somebody asked for.
func (h *Host) translate(p *part, again func(*Host, *Config) scraper, cfg, full *Config) {
	t := series.NewTranslation(cfg.Names, p.points.Table, PrometheusRules)
	if t == nil {
		return
	}
	if h.theirs == nil {
		h.theirs = series.Group(h.resource, "node-exporter", "stint/scrape/host", h.version)
	}
	if p.points.View = t.View(h.theirs, nil); !detailed[p.name] {
		return
	}
	t.Mute()
	of := series.NewTranslation(cfg.Names, p.points.Table, PrometheusRules)
	of.HideAll()
	p.twin = &part{name: p.name, scraper: again(h, full), points: series.Points{Table: p.points.Table, View: of.View(h.theirs, nil)}, claims: p.claims}
}

// detailed are the scrapers whose detail node_exporter's names need.
var detailed = map[string]bool{"cpu": true, "system": true, "netstat": true, "softnet": true, "clock": true}

// forPrometheus is the configuration that gives what node_exporter tells by default.
func (c Config) forPrometheus() Config {
	if c.Names == series.Prometheus || c.Names == series.Both {
		c.CPU.PerCPU, c.CPU.Guest, c.CPU.Topology, c.CPU.Sched, c.CPU.Frequency = true, true, true, true, true
		c.System.Detail, c.Netstat.Detail, c.Clock.Detail = true, true, true
		c.Softnet.PerCPU, c.Softnet.Detail = true, true
	}
	return c
}

// findPID says whose /proc directory shows the host's namespaces.
func (h *Host) findPID() string {
	mountinfo := kernel.NewFile(h.proc + "/1/mountinfo")
	errno := mountinfo.Open()
	if errno == 0 {
		mountinfo.Close()
		return "1"
	}
	if h.root == "" {
		h.log.Warn("/proc/1 is hidden; file systems and network are those that the agent itself sees", "err", errno)
		return "self"
	}
	h.log.Warn("/proc/1 of the host is hidden; no figures of its file systems and network", "path", h.proc+"/1", "err", errno)
	return "1"
}

// Name is the source's name in labels.
func (h *Host) Name() string { return "host" }

// Scrapers names the groups of metrics that are enabled.
func (h *Host) Scrapers() []string {
	var names []string
	for i := range h.parts {
		names = append(names, h.parts[i].name)
	}
	return names
}

// Scrape reads one group of metrics. Different ones may be read at the same time.
func (h *Host) Scrape(_ context.Context, i int, at time.Time, hand func(*otlp.Group, []byte, int)) error {
	p := &h.parts[i]
	now := uint64(at.UnixNano())
	if each, ok := p.scraper.(handing); ok {
		return each.scrapeEach(h.boottime(now), now, hand)
	}
	if h.theirs == nil {
		return h.read(p, at, now, h.group, hand)
	}
	begin, err := time.Now(), errPanicked
	defer func() { // which others read meanwhile
		p.failed.Store(err != nil)
		p.scraped.Store(int64(time.Since(begin)))
	}()
	group := h.group
	if p.name == extraScraper {
		group = h.theirs
	}
	ours := h.read(p, at, now, group, hand)
	if p.twin != nil {
		ours = errors.Join(ours, h.read(p.twin, at, now, group, hand))
	}
	err = ours
	return err
}

func (h *Host) read(p *part, at time.Time, now uint64, group *otlp.Group, hand func(*otlp.Group, []byte, int)) error {
	p.points.Begin(h.boottime(now))
	err := p.scrape(&p.points, now)
	p.claims.Hand(&p.points, p.points.Commit(now), at, now, group, hand)
	return err
}

// Close closes the files; a further scrape opens them again.
func (h *Host) Close() error {
	for i := range h.parts {
		h.parts[i].close()
		if t := h.parts[i].twin; t != nil {
			t.close()
		}
	}
	h.stat.close()
	h.loadavg.close()
	h.vmstat.close()
	return nil
}

// boottime is the frozen time at which the machine started, 0 while it is unknown.
func (h *Host) boottime(now uint64) uint64 {
	if t := h.boot.Load(); t != 0 {
		return t
	}
	h.stat.mu.Lock()
	defer h.stat.mu.Unlock()
	if s, err := h.stat.read(now); err == nil && s.btime != 0 {
		h.boot.CompareAndSwap(0, s.btime*uint64(time.Second))
	}
	return h.boot.Load()
}

// shared is a kernel file that several scrapers take values from: the first of a tick reads
// it, the others see the same values.
type shared[T any] struct {
	mu    sync.Mutex // guards everything below; held while values are read or taken
	file  kernel.File
	parse func(*T, []byte) error
	tick  uint64
	val   T
	err   error
}

// read returns the file's values as of the tick. The caller holds the lock until it has taken
// what it needs.
func (s *shared[T]) read(tick uint64) (*T, error) {
	if s.tick != tick {
		s.tick, s.err = tick, errPanicked
		b, err := s.file.Read()
		if err == nil {
			err = s.parse(&s.val, b)
		}
		s.err = err
	}
	return &s.val, s.err
}

func (s *shared[T]) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.file.Close()
	s.tick = 0
}
