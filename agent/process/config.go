// Package process is what both programs have around their work: command line, log, limits of
// memory, the lock on the state directory, servers, and metrics of their own.
package process

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Log is the program's own log.
type Log struct {
	Level  string `yaml:"level" enum:"debug,info,warn,error" doc:"the least that is logged"`
	Format string `yaml:"format" enum:"auto,text,json" doc:"auto: text on a terminal, JSON elsewhere"`
}

// Health is the server that probes ask.
type Health struct {
	Listen string `yaml:"listen" doc:"host:port; empty: no server"`
}

// MemoryLimiter bounds memory. Above limit less spike limit new data waits; above limit nothing is taken.
type MemoryLimiter struct {
	CheckInterval        time.Duration `yaml:"check_interval" doc:"how often the memory of the process is looked at; 100ms to 1m"`
	LimitPercentage      int           `yaml:"limit_percentage" unit:"percent" doc:"hard limit as a part of the cgroup's limit; 1 to 100"`
	SpikeLimitPercentage int           `yaml:"spike_limit_percentage" unit:"percent" doc:"the soft limit lies this much, of the cgroup's limit, below the hard one; less than limit_percentage"`
	LimitMiB             int           `yaml:"limit_mib" unit:"MiB" doc:"takes the place of the cgroup's limit; 0: the limit of the cgroup, and none where that has none"`
}

// MemoryLimiterDefaults is what is used without being told.
func MemoryLimiterDefaults() MemoryLimiter {
	return MemoryLimiter{CheckInterval: time.Second, LimitPercentage: 80, SpikeLimitPercentage: 25}
}

// Check reports every fault at once, each under its YAML path.
func (m MemoryLimiter) Check() error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if m.CheckInterval < 100*time.Millisecond || m.CheckInterval > time.Minute {
		fault("memory_limiter.check_interval: %v is out of range; give 100ms to 1m", m.CheckInterval)
	}
	if m.LimitPercentage < 1 || m.LimitPercentage > 100 {
		fault("memory_limiter.limit_percentage: %d is out of range; give 1 to 100", m.LimitPercentage)
	} else if m.SpikeLimitPercentage < 0 || m.SpikeLimitPercentage >= m.LimitPercentage {
		fault("memory_limiter.spike_limit_percentage: %d is out of range; give 0 to %d, less than limit_percentage", m.SpikeLimitPercentage, m.LimitPercentage-1)
	}
	if m.LimitMiB < 0 || m.LimitMiB > 0 && m.LimitMiB < 16 || m.LimitMiB > 1<<20 {
		fault("memory_limiter.limit_mib: %d is out of range; give 16 to 1048576, or 0 for the cgroup's limit", m.LimitMiB)
	}
	return errors.Join(errs...)
}

// CheckServers looks at admin.listen and health.listen.
func CheckServers(admin, health string) error {
	var errs []error
	for _, l := range []struct{ path, addr string }{{"admin.listen", admin}, {"health.listen", health}} {
		if err := checkListen(l.addr); err != nil {
			errs = append(errs, fmt.Errorf("%s: %q is not host:port (%w); write e.g. 127.0.0.1:8888, or nothing for no server", l.path, l.addr, err))
		}
	}
	if admin != "" && admin == health && !strings.HasSuffix(admin, ":0") {
		errs = append(errs, fmt.Errorf("health.listen: %s is admin.listen as well; give each its own port", health))
	}
	return errors.Join(errs...)
}

// checkListen: empty, or a host, which may be empty, and the number of a port.
func checkListen(addr string) error {
	if addr == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		var a *net.AddrError
		if errors.As(err, &a) {
			return errors.New(a.Err)
		}
		return err
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("port %q is not 0 to 65535", port)
	}
	if strings.ContainsAny(host, "/ @") {
		return errors.New("no host name")
	}
	return nil
}

// CanMake tells whether a directory can be written, or made in the nearest one that exists.
func CanMake(dir string) bool {
	for {
		if _, err := os.Stat(dir); err == nil || dir == "/" {
			return unix.Access(dir, unix.W_OK|unix.X_OK) == nil
		} else if !errors.Is(err, os.ErrNotExist) {
			return false
		}
		dir = filepath.Dir(dir)
	}
}
