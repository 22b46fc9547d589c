package host

import (
	"bytes"
	"errors"

	"stint/scrape/kernel"
)

// userHZ is the unit of the times in /proc/stat, ticks a second. The kernel fixes it at 100 in
// its interface to user space on every architecture that Go supports, whatever its own HZ.
const userHZ = 100

var (
	errPanicked = errors.New("bug: the parser panicked")
	errNoCPU    = errors.New("/proc/stat: no cpu line")
)

// stat is /proc/stat.
type stat struct {
	perCPU      bool // setting: fill cpus
	wantSoftirq bool // setting: fill softirq

	total  cpuLine
	cpus   []cpuLine // the online ones
	online int

	softirq  [10]uint64 // by vector
	softirqs int        // how many there are
	statCounters
}

type statCounters struct {
	ctxt, intr       uint64 // since boot
	btime            uint64 // s since 1970
	processes        uint64 // clones since boot
	running, blocked uint64 // threads now
	has              statHas
}

// statHas tells which counters the file had.
type statHas uint8

const (
	hasCtxt statHas = 1 << iota
	hasIntr
	hasProcesses
	hasRunning
	hasBlocked
)

// cpuLine is a line cpu or cpuN: time in ticks in user, nice, system, idle, iowait, irq,
// softirq, steal, guest and guest_nice. Old kernels have fewer.
type cpuLine struct {
	id    int // -1: sum of all
	n     int // how many times there are
	ticks [10]uint64
}

func parseStat(s *stat, b []byte) error {
	s.cpus, s.online, s.total.n, s.softirqs, s.statCounters = s.cpus[:0], 0, 0, 0, statCounters{}
	for len(b) > 0 {
		var l []byte
		l, b = kernel.Line(b)
		word, rest := kernel.Field(l)
		var to *uint64
		var has statHas
		switch string(word) {
		case "cpu":
			s.total.id = -1
			if s.total.n = kernel.Numbers(rest, s.total.ticks[:]); s.total.n < 4 {
				return kernel.Malformed("/proc/stat", l)
			}
			continue
		case "softirq":
			if _, vectors, ok := kernel.Number(rest); ok && s.wantSoftirq { // behind the sum
				s.softirqs = kernel.Numbers(vectors, s.softirq[:])
			}
			continue
		case "ctxt":
			to, has = &s.ctxt, hasCtxt
		case "intr": // the sum; the rest of this long line tells of each interrupt
			to, has = &s.intr, hasIntr
		case "btime":
			to = &s.btime
		case "processes":
			to, has = &s.processes, hasProcesses
		case "procs_running":
			to, has = &s.running, hasRunning
		case "procs_blocked":
			to, has = &s.blocked, hasBlocked
		default:
			if err := s.cpu(word, rest, l); err != nil {
				return err
			}
			continue
		}
		v, _, ok := kernel.Number(rest)
		if !ok {
			return kernel.Malformed("/proc/stat", l)
		}
		*to = v
		s.has |= has
	}
	if s.total.n == 0 {
		return errNoCPU
	}
	return nil
}

// cpu takes in a line cpuN and leaves others alone.
func (s *stat) cpu(word, rest, l []byte) error {
	digits, ok := bytes.CutPrefix(word, []byte("cpu"))
	if !ok {
		return nil
	}
	id, _, ok := kernel.Number(digits)
	if !ok || id > 1<<16 {
		return kernel.Malformed("/proc/stat", l)
	}
	s.online++
	if !s.perCPU {
		return nil
	}
	c := cpuLine{id: int(id)}
	if c.n = kernel.Numbers(rest, c.ticks[:]); c.n < 4 {
		return kernel.Malformed("/proc/stat", l)
	}
	s.cpus = append(s.cpus, c)
	return nil
}
