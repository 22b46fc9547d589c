package host

import (
	"bytes"
	"strconv"

	"stint/scrape/kernel"
	"stint/scrape/series"
)

// processStates counts processes by the letter of their state in /proc/<pid>/stat.
type processStates struct {
	proc  string
	dir   directory
	path  []byte
	buf   [512]byte // the state stands behind the name, within the first 100 bytes
	attrs [][]byte
	count [6]uint64
}

// In the order of the letters in processStateOf.
var processStateNames = []string{"running", "sleeping", "stopped", "defunct", "disk_sleep", "idle"}

func newProcessStates(h *Host) *processStates {
	return &processStates{proc: h.proc, dir: newDirectory(h.proc), attrs: series.Names("process.state", processStateNames...)}
}

func (s *processStates) scrape(p *series.Points) error {
	if err := s.dir.read(); err != nil {
		return err
	}
	clear(s.count[:])
	for name := s.dir.next(); name != nil; name = s.dir.next() {
		pid, rest, ok := kernel.Number(name)
		if !ok || len(rest) > 0 {
			continue
		}
		s.path = append(strconv.AppendUint(append(append(s.path[:0], s.proc...), '/'), pid, 10), "/stat\x00"...)
		b, errno := kernel.ReadSmall(s.path, s.buf[:])
		if state := processStateOf(b); errno == 0 && state >= 0 { // else it ended just now
			s.count[state]++
		}
	}
	for i, attrs := range s.attrs {
		p.Int(processCount, attrs, s.count[i])
	}
	return nil
}

// processStateOf is the index into processStateNames of the state in a stat file, -1 of one that
// ends just now (X) or is none.
func processStateOf(b []byte) int {
	i := bytes.LastIndexByte(b, ')')
	if i < 0 || i+2 >= len(b) {
		return -1
	}
	switch b[i+2] {
	case 'R':
		return 0
	case 'S':
		return 1
	case 'T', 't':
		return 2
	case 'Z':
		return 3
	case 'D':
		return 4
	case 'I':
		return 5
	}
	return -1
}
