package host

import (
	"errors"

	"stint/scrape/kernel"
)

var errNoFaults = errors.New("/proc/vmstat: no pgfault")

// What is taken from /proc/vmstat: counts of events since boot.
const (
	vmFault      = iota // page faults of both kinds
	vmMajorFault        // those that had to wait for I/O
	vmSwapIn            // pages
	vmSwapOut           // pages
	vmPageIn            // KiB read from block devices
	vmPageOut           // KiB written to block devices
	vmOOMKill           // since kernel 4.13
	vmFields
)

var vmstatIndex = map[string]int{
	"pgfault":    vmFault,
	"pgmajfault": vmMajorFault,
	"pswpin":     vmSwapIn, // absent without CONFIG_SWAP
	"pswpout":    vmSwapOut,
	"pgpgin":     vmPageIn,
	"pgpgout":    vmPageOut,
	"oom_kill":   vmOOMKill,
}

// vmstat is /proc/vmstat.
type vmstat struct {
	v   [vmFields]uint64
	has [vmFields]bool
}

func parseVmstat(s *vmstat, b []byte) error {
	s.has = [vmFields]bool{}
	for len(b) > 0 {
		var l []byte
		l, b = kernel.Line(b)
		if len(l) == 0 || l[0] != 'p' && l[0] != 'o' { // spare most lines the look-up
			continue
		}
		word, rest := kernel.Field(l)
		i, ok := vmstatIndex[string(word)]
		if !ok {
			continue
		}
		if s.v[i], _, ok = kernel.Number(rest); !ok {
			return kernel.Malformed("/proc/vmstat", l)
		}
		s.has[i] = true
	}
	if !s.has[vmFault] {
		return errNoFaults
	}
	return nil
}
