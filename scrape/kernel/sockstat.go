package kernel

import "bytes"

// What is taken from /proc/net/sockstat and sockstat6. The kernel counts sockets in use by
// address family; the other figures of TCP and UDP are of both families and stand in the
// file for IPv4 alone.
const (
	SockAll = iota // sockets of any family in use
	SockTCPInuse
	SockTCPOrphan
	SockTCPTimeWait
	SockTCPAlloc
	SockTCPPages // memory
	SockUDPInuse
	SockUDPPages
	SockUDPLiteInuse
	SockRawInuse
	SockFragInuse
	SockFragBytes
	SockFields
)

// Sockstat is one of the two files.
type Sockstat struct {
	V   [SockFields]uint64
	Has [SockFields]bool
}

// Parse takes in the content of one; values of an earlier one are forgotten.
func (s *Sockstat) Parse(b []byte) error {
	s.Has = [SockFields]bool{}
	for len(b) > 0 {
		var l []byte
		l, b = Line(b)
		name, rest := Field(l)
		name = bytes.TrimSuffix(bytes.TrimSuffix(name, []byte(":")), []byte("6"))
		for {
			var what []byte
			what, rest = Field(rest)
			if len(what) == 0 {
				break
			}
			v, after, ok := Number(rest)
			if !ok {
				return Malformed("/proc/net/sockstat", l)
			}
			rest = after
			if i := sockstatIndex(name, what); i >= 0 {
				s.V[i], s.Has[i] = v, true
			}
		}
	}
	return nil
}

func sockstatIndex(name, what []byte) int {
	switch string(name) {
	case "sockets":
		if string(what) == "used" {
			return SockAll
		}
	case "TCP":
		switch string(what) {
		case "inuse":
			return SockTCPInuse
		case "orphan":
			return SockTCPOrphan
		case "tw":
			return SockTCPTimeWait
		case "alloc":
			return SockTCPAlloc
		case "mem":
			return SockTCPPages
		}
	case "UDP":
		switch string(what) {
		case "inuse":
			return SockUDPInuse
		case "mem":
			return SockUDPPages
		}
	case "UDPLITE":
		if string(what) == "inuse" {
			return SockUDPLiteInuse
		}
	case "RAW":
		if string(what) == "inuse" {
			return SockRawInuse
		}
	case "FRAG":
		switch string(what) {
		case "inuse":
			return SockFragInuse
		case "memory":
			return SockFragBytes
		}
	}
	return -1
}
