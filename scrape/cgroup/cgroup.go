// Package cgroup reads metrics of containers, pods and systemd units from control groups, of
// version 1, 2 or both.
//
// hierarchy.go finds where each controller's files are, tree.go the cgroups, path.go what they
// are from their paths, files.go says which files are read of them, values.go parses these,
// about.go names what they are of, and emit.go makes the points. netns.go and tasks.go go on from
// a cgroup to its processes in /proc.
package cgroup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"stint/export/otlp"
	"stint/scrape/dedup"
	"stint/scrape/kernel"
	"stint/scrape/series"
)

const scopeName = "stint/scrape/cgroup"

// Cgroups is the source of the metrics of this machine's containers, pods and units.
//
// A cgroup that appears gets an entity, whose files are opened once and stay open: a read
// fails with ENODEV when the cgroup is gone, so none is taken for another. Counters begin
// with the scrape before the one that finds the cgroup; of one that was there at the agent's
// start, with the first scrape, or with the container where Pods knows. Files that hold
// settings are read once a minute and not kept open: each open file costs 6 KiB of kernel
// memory, which counts as the agent's.
//
// Nested cgroups are part of their container, and of their service. Sandboxes of pods are
// left out.
type Cgroups struct {
	cfg      Config
	root     string // without a slash at the end; "" for /
	version  string
	resource []otlp.KeyValue
	pods     Pods
	overlap  *dedup.Table
	interval time.Duration
	log      *slog.Logger
	machine  *otlp.Group // of the units
	names    translation

	tree   *tree // nil: not found yet
	looked uint64
	files  []file
	huge   []hugeSize
	ioV2   bool
	attrs  attributes

	list       []*entity
	unitPoints series.Points
	now, prev  uint64 // times of this scrape and of the one before; 0: none
	swaps      kernel.File
	swap       bool // the machine has swap
	swapRead   uint64
	summed     uint64 // when readSums looked at all
	kills      kills

	devices  map[[2]uint32]*blockDevice
	open     int // files that are kept open
	maxOpen  int
	spread   uint64
	networks networks
	tasks    tasks
	reading  reading
	buf      []byte
	path     []byte
	appear   func(*node, bool) // methods, as values that are made once
	vanish   func(*node)

	reported, leftOut atomic.Int64 // for the self-metrics
	crowded           bool         // it was said that cgroups are left out
}

// New makes the source of the machine whose root directory is rootPath; it opens nothing.
// resource stands, after what is known of them, on all that is sent; version is the agent's.
// pods may be nil. Where another source may know the same, overlap says whose figures are sent;
// nil: these.
func New(cfg Config, rootPath string, resource []otlp.KeyValue, version string, pods Pods, overlap *dedup.Table, interval time.Duration, log *slog.Logger, reg prometheus.Registerer) (*Cgroups, error) {
	root := filepath.Clean(rootPath)
	if root == "/" {
		root = ""
	}
	s := &Cgroups{
		cfg: cfg, root: root, version: version, resource: resource, pods: pods, overlap: overlap, interval: interval, log: log,
		machine:    otlp.NewGroup(resource, otlp.SchemaURL, scopeName, version),
		attrs:      newAttributes(),
		networks:   newNetworks(),
		tasks:      newTasks(root),
		unitPoints: series.Points{Table: unitMetrics},
		swaps:      kernel.NewFile(root + "/proc/swaps"),
		kills:      kills{vmstat: kernel.NewFile(root + "/proc/vmstat")},
		devices:    map[[2]uint32]*blockDevice{},
		maxOpen:    maxOpenFiles(),
	}
	s.names = translate(&s.cfg)
	s.appear, s.vanish = s.appeared, s.vanished
	return s, s.register(reg)
}

// maxKept bounds the files that are kept open: 48 MiB of kernel memory. On v2 it is enough for
// 500 containers and their pods; those beyond are opened each time, at ten times the cost.
const maxKept = 8192

// maxOpenFiles leaves half of the descriptors that the process may have to others.
func maxOpenFiles() int {
	l := unix.Rlimit{Cur: 1024}
	unix.Getrlimit(unix.RLIMIT_NOFILE, &l) // cannot fail
	return int(min(l.Cur/2, maxKept))
}

func (s *Cgroups) register(reg prometheus.Registerer) error {
	gauge := func(name, help string, v *atomic.Int64) error {
		return reg.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(v.Load()) }))
	}
	return errors.Join(
		gauge("stint_cgroup_cgroups", "Control groups of containers, pods and units that are known.", &s.reported),
		gauge("stint_cgroup_left_out", "Control groups that are not read because there are more than scrape.cgroup.max_cgroups.", &s.leftOut),
	)
}

// Name is the source's name in labels.
func (s *Cgroups) Name() string { return "cgroup" }

// Scrapers is one: the files of all cgroups are read one after the other.
func (s *Cgroups) Scrapers() []string { return []string{"cgroup"} }

// maxErrors bounds the errors of one scrape that are told in full.
const maxErrors = 3

// Scrape reads all cgroups. What cannot be read costs its own points only.
func (s *Cgroups) Scrape(_ context.Context, _ int, at time.Time, hand func(*otlp.Group, []byte, int)) error {
	s.now = uint64(at.UnixNano())
	if s.tree == nil {
		if err := s.find(); err != nil || s.tree == nil {
			return err
		}
	}
	var errs []error
	if err := s.tree.sweep(s.now, s.appear, s.vanish); err != nil {
		errs = append(errs, err)
	}
	s.account()
	s.readSwaps()
	s.readSums()
	if s.kills.told {
		s.kills.read(s.prev == 0)
	}
	units := s.cfg.Units == "true" || s.cfg.Units == "auto" && s.tree.pods == 0
	more := 0
	for i := 0; i < len(s.list); i++ {
		e := s.list[i]
		if e.kind == unit && !units || e.kind != unit && !s.describe(e) {
			s.closeFiles(e)
			continue
		}
		before := e.scraped
		err := s.read(e, s.now)
		if err != errGone && s.hasNetwork(e) {
			err = first(err, s.readNetwork(e, before))
		}
		if err != errGone && e.kind == container && s.cfg.Processes.Enabled {
			err = first(err, s.readTasks(e))
		}
		if err == errGone {
			s.tree.forget(e.node, s.vanish)
			i-- // vanish took it out of the list
			continue
		}
		if err != nil && len(errs) < maxErrors {
			errs = append(errs, err)
		} else if err != nil {
			more++
		}
		if e.kind != unit {
			s.send(e, at, hand)
		}
	}
	s.emitUnits(s.now)
	if p := s.unitPoints.Commit(s.now); p.Len() > 0 {
		hand(s.machine, p.Bytes(), p.Len())
	}
	if more > 0 {
		errs = append(errs, fmt.Errorf("and %d more cgroups", more))
	}
	s.prev = s.now
	return errors.Join(errs...)
}

func (s *Cgroups) send(e *entity, at time.Time, hand func(*otlp.Group, []byte, int)) {
	if e.kind == pod {
		s.emitPod(e)
	} else {
		s.emitContainer(e)
	}
	e.claims.Hand(&e.points, e.points.Commit(s.now), at, s.now, e.group, hand)
}

// claim says that the quantities of an entity, which is about to be sent for the first time, are
// known here, and takes the start time over from who told of it before.
func (s *Cgroups) claim(e *entity) {
	if s.overlap == nil || e.kind == unit || e.claims != nil {
		return
	}
	kind, id := e.claimed()
	e.claims = s.overlap.ClaimAll("cgroup", s.interval, kind, id, e.points.Table)
	if e.kind == container {
		follow(e.claims)
	}
	e.start = s.overlap.Start(kind, id, e.start)
}

// release ends what claim began.
func (s *Cgroups) release(e *entity) {
	if e.claims != nil {
		e.claims.Release()
		e.claims = nil
		s.overlap.ReleaseStart(e.claimed())
	}
}

// claimed is what the claims of a container or pod are under.
func (e *entity) claimed() (dedup.Kind, string) {
	if e.kind == pod {
		return dedup.Pod, e.uid
	}
	return dedup.Container, e.id
}

// find looks for the hierarchies, once a minute until there are any.
func (s *Cgroups) find() error {
	if s.looked != 0 && s.now-s.looked < rareness && s.now >= s.looked {
		return nil
	}
	h, err := findHierarchies(s.root)
	if errors.Is(err, errNoCgroups) && s.cfg.Enabled == "auto" {
		s.looked = s.now
		return nil
	}
	if err != nil {
		return err
	}
	if s.cfg.Hugetlb.Enabled {
		for _, name := range hugeSizes(s.root) {
			s.huge = append(s.huge, hugeSize{name, series.Attributes(otlp.Attr("linux.hugepage.size", name))})
		}
	}
	s.ioV2 = h.of[ctlBlkio].v2
	s.files = listFiles(&h, &s.cfg, s.huge)
	s.kills.told = slices.ContainsFunc(s.files, func(f file) bool { return f.kills })
	s.tree = newTree(h.tree, s.cfg.MaxCgroups, s.log)
	return nil
}

// account says how many cgroups there are, and once that some are left out.
func (s *Cgroups) account() {
	s.reported.Store(int64(s.tree.reported))
	s.leftOut.Store(int64(s.tree.leftOut))
	if crowded := s.tree.leftOut > 0; crowded != s.crowded {
		s.crowded = crowded
		if crowded {
			s.log.Warn("there are more cgroups than max_cgroups; the others are left out", "max_cgroups", s.cfg.MaxCgroups, "left_out", s.tree.leftOut)
		}
	}
}

// readSwaps finds out whether there is any swap: a line for each area below the heading.
func (s *Cgroups) readSwaps() {
	if s.swapRead != 0 && s.now-s.swapRead < rareness && s.now >= s.swapRead {
		return
	}
	b, err := s.swaps.ReadIfThere()
	s.swap, s.swapRead = err == nil && bytes.Count(b, []byte("\n")) > 1, s.now
}

// kills watches what the kernel tells of processes that it killed for want of memory: as long as
// it counts none on the whole machine (since Linux 4.13), there is none in any cgroup.
type kills struct {
	vmstat kernel.File
	told   bool   // there are files that depend on it
	known  bool   // the machine counts
	count  uint64 // as of the last scrape in which it did
	moved  bool   // it was another one in the scrape before
	some   bool   // the cgroups' own counts may have changed
}

var oomKill = []byte("\noom_kill ")

// read is for each scrape. A cgroup that has not been read yet is read in any case, so the first
// count that is seen is none that has changed.
func (k *kills) read(first bool) {
	b, _ := k.vmstat.ReadIfThere()
	at := bytes.Index(b, oomKill)
	var count uint64
	if k.known = at >= 0; k.known {
		count, _, k.known = kernel.Number(b[at+len(oomKill):])
	}
	// The machine's count moves first, so a cgroup's own may have been read too early.
	moved := !k.known || count != k.count && !first
	k.some, k.moved, k.count = moved || k.moved, moved, count
}

// appeared makes the entity of a new cgroup. One that is found early may be older than the
// scrape before.
func (s *Cgroups) appeared(n *node, early bool) {
	if n.kind == other {
		return
	}
	e := &entity{identity: n.identity, path: n.path, node: n, start: s.prev, fds: make([]int32, len(s.files))}
	if early || s.prev == 0 {
		e.start = s.now
	}
	for i := range e.fds {
		e.fds[i] = fdClosed
	}
	e.net.proc = fdClosed
	switch n.kind {
	case container:
		e.points.Table = containerMetrics
	case pod:
		e.points.Table = podMetrics
	case unit:
		e.attrs = series.Attributes(otlp.Attr("systemd.unit.name", n.unit))
	}
	n.entity = e
	s.list = append(s.list, e)
}

func (s *Cgroups) vanished(n *node) {
	if n.entity == nil {
		return
	}
	s.closeFiles(n.entity)
	s.release(n.entity)
	i := slices.Index(s.list, n.entity)
	s.list = slices.Delete(s.list, i, i+1)
	n.entity = nil
}

func (s *Cgroups) closeFiles(e *entity) {
	for i := range e.fds {
		s.closeFile(e, i)
	}
	s.closeNetwork(e)
}

// Close closes the files and forgets the cgroups; a further scrape looks for them anew.
func (s *Cgroups) Close() error {
	for _, e := range s.list {
		s.closeFiles(e)
		s.release(e)
	}
	s.list = nil
	if s.tree != nil {
		s.tree.close()
		s.tree = nil
	}
	s.swaps.Close()
	s.kills.vmstat.Close()
	for i := range s.files {
		if sum := s.files[i].sum; sum != nil {
			sum.Close()
		}
	}
	s.huge, s.prev, s.looked, s.summed = nil, 0, 0, 0
	s.networks.host, s.networks.sought = 0, 0
	return nil
}
