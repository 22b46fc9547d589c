package host

import (
	"bytes"

	"stint/scrape/kernel"
)

// pidstat is /proc/<pid>/stat (proc_pid_stat(5)).
type pidstat struct {
	comm         []byte // part of the file
	ppid         uint64
	minor, major uint64 // faults
	user, system uint64 // ticks
	threads      uint64
	start        uint64 // ticks since the machine started
	virtual      uint64 // bytes
	resident     uint64 // pages
	ioWait       uint64 // ticks; 0 unless kernel.task_delayacct is on
}

// Columns of the file behind the name, which is in parentheses and may contain some; the state
// is column 0.
const (
	psParent   = 1
	psMinor    = 7
	psMajor    = 9
	psUser     = 11
	psSystem   = 12
	psThreads  = 17
	psStart    = 19
	psVirtual  = 20
	psResident = 21
	psIOWait   = 39
)

func (s *pidstat) parse(b []byte) bool {
	open, shut := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 0 || shut < open {
		return false
	}
	s.comm = b[open+1 : shut]
	rest := b[shut+1:]
	for column := 0; column <= psIOWait; column++ {
		var to *uint64
		switch column {
		case psParent:
			to = &s.ppid
		case psMinor:
			to = &s.minor
		case psMajor:
			to = &s.major
		case psUser:
			to = &s.user
		case psSystem:
			to = &s.system
		case psThreads:
			to = &s.threads
		case psStart:
			to = &s.start
		case psVirtual:
			to = &s.virtual
		case psResident:
			to = &s.resident
		case psIOWait:
			to = &s.ioWait
		default:
			_, rest = kernel.Field(rest) // some are negative
			continue
		}
		var ok bool
		if *to, rest, ok = kernel.Number(rest); !ok {
			return false
		}
	}
	return true
}
