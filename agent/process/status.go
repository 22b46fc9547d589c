package process

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Status is what the process itself takes.
type Status struct {
	CPUSeconds  float64 `json:"cpu_seconds"`
	RSS         int64   `json:"rss_bytes"`
	Goroutines  int     `json:"goroutines"`
	PoolUsed    int64   `json:"pool_bytes"`
	PoolLimit   int64   `json:"pool_limit_bytes"`
	MemoryLimit int64   `json:"memory_limit_bytes"` // 0 = none
}

// Status tells what the process takes now.
func (m *Memory) Status() Status {
	return Status{
		CPUSeconds: CPUSeconds(), RSS: RSS(), Goroutines: runtime.NumGoroutine(),
		PoolUsed:    m.Logs.Used() + m.Metrics.Used(),
		PoolLimit:   m.Logs.Limit() + m.Metrics.Limit(),
		MemoryLimit: m.Hard,
	}
}

// CPUSeconds is the CPU time that the process has taken, user and system.
func CPUSeconds() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// RSS is the resident set, second field of /proc/self/statm, in pages.
func RSS() int64 {
	b, _ := os.ReadFile("/proc/self/statm")
	_, rest, _ := strings.Cut(string(b), " ")
	pages, _, _ := strings.Cut(rest, " ")
	n, _ := strconv.ParseInt(pages, 10, 64)
	return n * int64(os.Getpagesize())
}
