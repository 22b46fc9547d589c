package agent

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
	// What records may take at most: two lanes of logs with an open batch, one on its way and
	// one waiting, 4 MiB each; metrics need less.
	maxLogPool    = 24 << 20
	maxMetricPool = 8 << 20
	// baseMemory is what the agent takes without records: runtime, connections, file tables.
	baseMemory = 20 << 20
	// minPool lets one batch of each lane pass however small the limit.
	minLogPool    = 4 << 20
	minMetricPool = 1 << 20

	// metricSlab holds a usual scrape of one source. While a destination is away each source pins
	// one a tick, and the queue's bound must be reached before the pool's.
	metricSlab = 32 << 10

	// gcPercent is a quarter of Go's own: hot paths make no garbage, so collecting more often costs
	// nothing that can be measured, and saves some 2 MiB (10,000 lines/s), 2 more than 50 does with 110 pods.
	gcPercent = 25

	// maxProcs caps the threads that run Go code: more do not make a node's agent faster.
	maxProcs = 4
)

// memory holds the agent to its limit: bytes are accounted before they are read (the pools),
// and the process is watched on top, because not all memory is records.
type memory struct {
	cfg           MemoryLimiter
	log           *slog.Logger
	logs, metrics *otlp.Pool
	hard, soft    int64 // bytes; 0 = no limit
	logLimit      int64
	metricLimit   int64

	used  atomic.Int64 // of the process, at the last look
	state atomic.Int32
	waits prometheus.Counter
}

const (
	stateFree int32 = iota
	stateSoft
	stateHard
)

// newMemory reads the limit and makes the pools. starved is called when reading waits,
// spill when there is no memory for metrics.
func newMemory(cfg MemoryLimiter, starved, spill func(), log *slog.Logger, reg prometheus.Registerer) (*memory, error) {
	m := &memory{cfg: cfg, log: log, logLimit: maxLogPool, metricLimit: maxMetricPool}
	limit := int64(cfg.LimitMiB) << 20
	if limit == 0 {
		var err error
		if limit, err = cgroupMemoryLimit("/proc/self", "/sys/fs/cgroup"); err != nil {
			log.Warn("the cgroup's memory limit can't be read; no limit is assumed; set memory_limiter.limit_mib", "err", err)
		}
	}
	if limit > 0 {
		m.hard = limit / 100 * int64(cfg.LimitPercentage)
		m.soft = m.hard - limit/100*int64(cfg.SpikeLimitPercentage)
		records := m.soft - baseMemory
		m.logLimit = min(max(records/4*3, minLogPool), maxLogPool)
		m.metricLimit = min(max(records/4, minMetricPool), maxMetricPool)
		if os.Getenv("GOMEMLIMIT") == "" {
			debug.SetMemoryLimit(m.hard)
		}
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMAXPROCS") == "" && runtime.GOMAXPROCS(0) > maxProcs {
		runtime.GOMAXPROCS(maxProcs)
	}
	m.waits = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "stint_memory_waits_total", Help: "Times that reading had to wait for memory, because destinations were slower.",
	})
	reg.MustRegister(m.waits,
		gauge("stint_memory_pool_bytes", "Memory that records take, from reading to acknowledgement, in bytes.", func() float64 { return float64(m.logs.Used() + m.metrics.Used()) }),
		gauge("stint_memory_pool_limit_bytes", "Most memory that records may take at present, in bytes.", func() float64 { return float64(m.logs.Limit() + m.metrics.Limit()) }),
		gauge("stint_memory_limit_bytes", "Hard limit of the process, in bytes; 0 when there is none.", func() float64 { return float64(m.hard) }),
		gauge("stint_memory_used_bytes", "Memory that the Go runtime has from the kernel, in bytes.", func() float64 { return float64(m.used.Load()) }),
	)
	m.logs = otlp.NewPool(m.logLimit, func() { m.waits.Inc(); starved() })
	m.metrics = otlp.NewPoolOf(metricSlab, m.metricLimit, spill)
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

// run watches the process until ctx ends.
func (m *memory) run(ctx context.Context) {
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
			if m.hard > 0 && used > m.hard && now.Sub(returned) >= pressedEvery {
				returned = now
				debug.FreeOSMemory()
			}
			if now.Sub(trimmed) >= trimEvery {
				trimmed = now
				m.logs.Trim()
				m.metrics.Trim()
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
// is let through, so that an agent whose memory has grown for other reasons does not stop for
// good; over the hard one nothing is. Garbage does not count: the runtime keeps that within the hard
// limit, and would keep it for long after a burst.
func (m *memory) check(used, unneeded int64) {
	m.used.Store(used)
	needed := used - unneeded
	state := stateFree
	switch {
	case m.hard == 0:
	case needed > m.hard:
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
		m.logs.SetLimit(m.logLimit)
		m.metrics.SetLimit(m.metricLimit)
	case stateSoft:
		m.log.Warn("memory is over its soft limit; reading is slowed down", "needed", needed, "used", used, "soft", m.soft, "hard", m.hard)
		m.logs.SetLimit(2 * otlp.SlabSize)
		m.metrics.SetLimit(2 * metricSlab)
	case stateHard:
		m.log.Warn("memory is over its hard limit; nothing is read", "needed", needed, "used", used, "hard", m.hard)
		m.logs.SetLimit(0)
		m.metrics.SetLimit(0)
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
