package host

import (
	"errors"

	"stint/export/otlp"
	"stint/scrape/kernel"
	"stint/scrape/series"
)

const (
	processCreated = iota
	processLimit
	processRunnable
	processBlocked
	threadCount
	processCount
)

var processesMetrics = []series.Metric{
	processCreated: {
		Metric: otlp.Metric{Name: "system.process.created", Unit: "{process}", Instrument: otlp.Counter,
			Description: "Processes and threads created."},
		Source: "/proc/stat processes",
	},
	processLimit: {
		Metric: otlp.Metric{Name: "system.process.limit", Unit: "{thread}", Instrument: otlp.UpDown,
			Description: "Processes and threads that the kernel allows in all."},
		Source: "/proc/sys/kernel/pid_max, /proc/sys/kernel/threads-max",
	},
	processRunnable: {
		Metric: otlp.Metric{Name: "system.process.runnable.count", Unit: "{thread}", Instrument: otlp.UpDown,
			Description: "Threads that run or wait for a CPU, the one that asks included."},
		Source: "/proc/stat procs_running",
	},
	processBlocked: {
		Metric: otlp.Metric{Name: "system.process.blocked.count", Unit: "{thread}", Instrument: otlp.UpDown,
			Description: "Threads that wait for I/O to complete."},
		Source: "/proc/stat procs_blocked",
	},
	threadCount: {
		Metric: otlp.Metric{Name: "system.thread.count", Unit: "{thread}", Instrument: otlp.UpDown,
			Description: "Processes and threads that exist."},
		Source: "/proc/loadavg",
	},
	processCount: {
		Metric: otlp.Metric{Name: "system.process.count", Unit: "{process}", Instrument: otlp.UpDown,
			Description: "Processes by state, without their further threads: stopped also those that are traced, defunct those whose end nobody has taken notice of."},
		Attributes: "process.state=running|sleeping|stopped|defunct|disk_sleep|idle",
		Source:     "/proc/<pid>/stat field 3 of every process",
		When:       "host.processes.detail is on: it takes three system calls a process",
	},
}

// processes is the scraper of totals over all processes.
type processes struct {
	h                  *Host
	pidMax, threadsMax kernel.File
	states             *processStates // nil: not wanted
}

func newProcesses(h *Host, cfg *Config) scraper {
	s := &processes{
		h:          h,
		pidMax:     kernel.NewFile(h.proc + "/sys/kernel/pid_max"),
		threadsMax: kernel.NewFile(h.proc + "/sys/kernel/threads-max"),
	}
	if cfg.Processes.Detail {
		s.states = newProcessStates(h)
	}
	return s
}

func (s *processes) close() {
	s.pidMax.Close()
	s.threadsMax.Close()
	if s.states != nil {
		s.states.dir.close()
	}
}

func (s *processes) scrape(p *series.Points, now uint64) error {
	st, err := s.fromStat(now)
	if err == nil && st.has&hasProcesses != 0 {
		p.Int(processCreated, nil, st.processes)
	}
	pids, err2 := readNumber(&s.pidMax)
	threads, err3 := readNumber(&s.threadsMax)
	if err2 == nil && err3 == nil {
		p.Int(processLimit, nil, min(pids, threads))
	}
	if err == nil && st.has&hasRunning != 0 {
		p.Int(processRunnable, nil, st.running)
	}
	if err == nil && st.has&hasBlocked != 0 {
		p.Int(processBlocked, nil, st.blocked)
	}
	err = errors.Join(err, err2, err3, s.fromLoadavg(p, now))
	if s.states != nil {
		err = errors.Join(err, s.states.scrape(p))
	}
	return err
}

func (s *processes) fromStat(now uint64) (statCounters, error) {
	s.h.stat.mu.Lock()
	defer s.h.stat.mu.Unlock()
	st, err := s.h.stat.read(now)
	return st.statCounters, err
}

func (s *processes) fromLoadavg(p *series.Points, now uint64) error {
	s.h.loadavg.mu.Lock()
	defer s.h.loadavg.mu.Unlock()
	a, err := s.h.loadavg.read(now)
	if err == nil {
		p.Int(threadCount, nil, a.threads)
	}
	return err
}

// readNumber reads a file that holds one number.
func readNumber(f *kernel.File) (uint64, error) {
	b, err := f.Read()
	if err != nil {
		return 0, err
	}
	n, _, ok := kernel.Number(b)
	if !ok {
		return 0, kernel.Malformed(f.Path, b)
	}
	return n, nil
}
