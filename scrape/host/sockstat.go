package host

import (
	"bytes"

	"stint/scrape/kernel"
)

// What is taken from /proc/net/sockstat and sockstat6. The kernel counts sockets in use by
// address family; the other figures of TCP and UDP are of both families and stand in the
// file for IPv4 alone.
const (
	skSockets = iota // sockets of any family in use
	skTCPInuse
	skTCPOrphan
	skTCPTimeWait
	skTCPAlloc
	skTCPPages // memory
	skUDPInuse
	skUDPPages
	skUDPLiteInuse
	skRawInuse
	skFragInuse
	skFragBytes
	skFields
)

// sockstat is one of the two files.
type sockstat struct {
	v   [skFields]uint64
	has [skFields]bool
}

func parseSockstat(s *sockstat, b []byte) error {
	s.has = [skFields]bool{}
	for len(b) > 0 {
		var l []byte
		l, b = kernel.Line(b)
		name, rest := kernel.Field(l)
		name = bytes.TrimSuffix(bytes.TrimSuffix(name, []byte(":")), []byte("6"))
		for {
			var what []byte
			what, rest = kernel.Field(rest)
			if len(what) == 0 {
				break
			}
			v, after, ok := kernel.Number(rest)
			if !ok {
				return kernel.Malformed("/proc/net/sockstat", l)
			}
			rest = after
			if i := sockstatIndex(name, what); i >= 0 {
				s.v[i], s.has[i] = v, true
			}
		}
	}
	return nil
}

func sockstatIndex(name, what []byte) int {
	switch string(name) {
	case "sockets":
		if string(what) == "used" {
			return skSockets
		}
	case "TCP":
		switch string(what) {
		case "inuse":
			return skTCPInuse
		case "orphan":
			return skTCPOrphan
		case "tw":
			return skTCPTimeWait
		case "alloc":
			return skTCPAlloc
		case "mem":
			return skTCPPages
		}
	case "UDP":
		switch string(what) {
		case "inuse":
			return skUDPInuse
		case "mem":
			return skUDPPages
		}
	case "UDPLITE":
		if string(what) == "inuse" {
			return skUDPLiteInuse
		}
	case "RAW":
		if string(what) == "inuse" {
			return skRawInuse
		}
	case "FRAG":
		switch string(what) {
		case "inuse":
			return skFragInuse
		case "memory":
			return skFragBytes
		}
	}
	return -1
}
