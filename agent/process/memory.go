package process

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stint/export/otlp"
)

const (
	// minLogPool and minMetricPool let one batch of each lane pass however small the limit.
	minLogPool    = 4 << 20
	minMetricPool = 1 << 20

	// maxProcs caps the threads that run Go code: more do not make it faster.
	maxProcs = 4
)

// Sizes is what a program takes and may take; bytes.
type Sizes struct {
	Base       int64 // without records: runtime, connections, tables
	Logs       int64 // log records at most
	Metrics    int64 // metric points at most
	MetricSlab int   // of the pool of metrics
	GCPercent  int   // as GOGC, where that is not set
}

// Memory holds the process to its limit: bytes are accounted before they are read (the pools),
// and the process is watched on top, because not all memory is records.
type Memory struct {
	Logs, Metrics *otlp.Pool
	Hard          int64 // limit of the process, bytes; 0 = none

	cfg         MemoryLimiter
	sizes       Sizes
	log         *slog.Logger
	soft        int64
	logLimit    int64
	metricLimit int64

	used  atomic.Int64 // of the process, at the last look
	state atomic.Int32
	waits prometheus.Counter
}

const (
	stateFree int32 = iota
	stateSoft
	stateHard
)

// NewMemory reads the limit and makes the pools. starved is called when reading waits,
// spill when there is no memory for metrics.
func NewMemory(cfg MemoryLimiter, sizes Sizes, starved, spill func(), log *slog.Logger, reg prometheus.Registerer) (*Memory, error) {
	m := &Memory{cfg: cfg, sizes: sizes, log: log, logLimit: sizes.Logs, metricLimit: sizes.Metrics}
	limit := int64(cfg.LimitMiB) << 20
	if limit == 0 {
		var err error
		if limit, err = cgroupMemoryLimit("/proc/self", "/sys/fs/cgroup"); err != nil {
			log.Warn("the cgroup's memory limit can't be read; no limit is assumed; set memory_limiter.limit_mib", "err", err)
		}
	}
	if limit > 0 {
		m.Hard = limit / 100 * int64(cfg.LimitPercentage)
		m.soft = m.Hard - limit/100*int64(cfg.SpikeLimitPercentage)
		records := m.soft - sizes.Base
		m.logLimit = min(max(records/4*3, minLogPool), sizes.Logs)
		m.metricLimit = min(max(records/4, minMetricPool), sizes.Metrics)
		if os.Getenv("GOMEMLIMIT") == "" {
			debug.SetMemoryLimit(m.Hard)
		}
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(sizes.GCPercent)
	}
	if os.Getenv("GOMAXPROCS") == "" && runtime.GOMAXPROCS(0) > maxProcs {
		runtime.GOMAXPROCS(maxProcs)
	}
	m.waits = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "stint_memory_waits_total", Help: "Times that reading had to wait for memory, because destinations were slower.",
	})
	reg.MustRegister(m.waits,
		gauge("stint_memory_pool_bytes", "Memory that records take, from reading to acknowledgement, in bytes.", func() float64 { return float64(m.Logs.Used() + m.Metrics.Used()) }),
		gauge("stint_memory_pool_limit_bytes", "Most memory that records may take at present, in bytes.", func() float64 { return float64(m.Logs.Limit() + m.Metrics.Limit()) }),
		gauge("stint_memory_limit_bytes", "Hard limit of the process, in bytes; 0 when there is none.", func() float64 { return float64(m.Hard) }),
		gauge("stint_memory_used_bytes", "Memory that the Go runtime has from the kernel, in bytes.", func() float64 { return float64(m.used.Load()) }),
	)
	m.Logs = otlp.NewPool(m.logLimit, func() { m.waits.Inc(); starved() })
	m.Metrics = otlp.NewPoolOf(sizes.MetricSlab, m.metricLimit, spill)
	return m, nil
}

func gauge(name, help string, f func() float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f)
}

const (
	// trimEvery is how often slabs that lay idle are given back.
	trimEvery = 10 * time.Second
	// returnEvery is how often memory that the heap does not need goes back to the kernel, if it is
	// more than returnOver: the runtime keeps what a start or a burst took for minutes.
	returnEvery = 30 * time.Second
	returnOver  = 4 << 20
	// pressedEvery is the same over the hard limit: a full collection now rather than the kernel's end.
	pressedEvery = 5 * time.Second
)

// Run watches the process until ctx ends.
func (m *Memory) Run(ctx context.Context) {
	tick := time.NewTicker(m.cfg.CheckInterval)
	defer tick.Stop()
	trimmed, returned := time.Now(), time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			used, unneeded := processMemory()
			m.check(used, unneeded)
			if m.Hard > 0 && used > m.Hard && now.Sub(returned) >= pressedEvery {
				returned = now
				debug.FreeOSMemory()
			}
			if now.Sub(trimmed) >= trimEvery {
				trimmed = now
				m.Logs.Trim()
				m.Metrics.Trim()
			}
			if now.Sub(returned) >= returnEvery {
				returned = now
				if unneeded > returnOver {
					debug.FreeOSMemory()
				}
			}
		}
	}
}

// check narrows the pools while the process needs more than its marks: over the soft one a trickle
// is let through, so that a process whose memory has grown for other reasons does not stop for
// good; over the hard one nothing is. Garbage does not count: the runtime keeps that within the hard
// limit, and would keep it for long after a burst.
func (m *Memory) check(used, unneeded int64) {
	m.used.Store(used)
	needed := used - unneeded
	state := stateFree
	switch {
	case m.Hard == 0:
	case needed > m.Hard:
		state = stateHard
	case needed > m.soft:
		state = stateSoft
	}
	if m.state.Swap(state) == state {
		return
	}
	switch state {
	case stateFree:
		m.log.Info("memory is below its soft limit again", "needed", needed, "used", used, "soft", m.soft)
		m.Logs.SetLimit(m.logLimit)
		m.Metrics.SetLimit(m.metricLimit)
	case stateSoft:
		m.log.Warn("memory is over its soft limit; reading is slowed down", "needed", needed, "used", used, "soft", m.soft, "hard", m.Hard)
		m.Logs.SetLimit(2 * otlp.SlabSize)
		m.Metrics.SetLimit(2 * int64(m.sizes.MetricSlab))
	case stateHard:
		m.log.Warn("memory is over its hard limit; nothing is read", "needed", needed, "used", used, "hard", m.Hard)
		m.Logs.SetLimit(0)
		m.Metrics.SetLimit(0)
	}
}

// processMemory is what the Go runtime holds, all it mapped less what it gave back, and how much of
// that is free or was garbage at the last collection.
func processMemory() (used, unneeded int64) {
	s := []metrics.Sample{
		{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"},
		{Name: "/memory/classes/heap/free:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}, {Name: "/gc/heap/live:bytes"},
	}
	metrics.Read(s)
	total, released, free := int64(s[0].Value.Uint64()), int64(s[1].Value.Uint64()), int64(s[2].Value.Uint64())
	objects, live := int64(s[3].Value.Uint64()), int64(s[4].Value.Uint64())
	return total - released, free + max(objects-live, 0)
}

// cgroupMemoryLimit is the least limit of the process's cgroup and those above it, or 0 when
// there is none: v2 memory.max, v1 memory.limit_in_bytes (kernel, admin-guide/cgroup-v2.rst
// and cgroup-v1/memory.rst). self is the process's directory in proc.
func cgroupMemoryLimit(self, root string) (int64, error) {
	f, err := os.Open(filepath.Join(self, "cgroup"))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	least := int64(math.MaxInt64)
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		// hierarchy-ID:controller-list:path; v2 is "0::path"
		_, rest, _ := strings.Cut(lines.Text(), ":")
		controllers, path, _ := strings.Cut(rest, ":")
		base, file := "", ""
		switch {
		case controllers == "":
			base, file = root, "memory.max"
			if _, err := os.Stat(filepath.Join(root, "cgroup.controllers")); err != nil {
				base = filepath.Join(root, "unified")
			}
		case strings.Contains(","+controllers+",", ",memory,"):
			base, file = filepath.Join(root, "memory"), "memory.limit_in_bytes"
		default:
			continue
		}
		for ; ; path = filepath.Dir(path) {
			n, err := readLimit(filepath.Join(base, path, file))
			if err != nil {
				return 0, err
			}
			if n > 0 {
				least = min(least, n)
			}
			if path == "/" || path == "." {
				break
			}
		}
	}
	// v1 says "no limit" with the largest multiple of a page.
	if least > 1<<60 {
		return 0, lines.Err()
	}
	return least, lines.Err()
}

// readLimit reads one file; 0 is no limit, also when the file is not there: a container sees
// its own cgroup at the root, not under the path that the host knows.
func readLimit(path string) (int64, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	s := strings.TrimSpace(string(b))
	if s == "max" {
		return 0, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %q is not a number", path, s)
	}
	return n, nil
}
