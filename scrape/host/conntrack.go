package host

import (
	"bytes"
	"math"
	"slices"

	"stint/scrape/kernel"
	"stint/scrape/series"
)

// parseConntrack reads the number of tracked connections from /proc/net/stat/nf_conntrack:
// hexadecimal, in the column entries, the same in the row of every CPU.
func parseConntrack(b []byte) (entries uint64, err error) {
	head, rest := kernel.Line(b)
	row, _ := kernel.Line(rest)
	name, _ := kernel.Field(head)
	word, _ := kernel.Field(row)
	entries, ok := kernel.Hexadecimal(word)
	if string(name) != "entries" || !ok {
		return 0, kernel.Malformed("/proc/net/stat/nf_conntrack", row)
	}
	return entries, nil
}

// conntrackNames are the columns that count events; kernels have some of them.
var conntrackNames = []string{"found", "invalid", "ignore", "insert", "insert_failed", "drop", "early_drop", "search_restart"}

// maxConntrackRows bounds the rows of the file, one for each CPU that there may be.
const maxConntrackRows = 8192

// conntrackEvents sums the columns over the CPUs. Each is a 32-bit counter that wraps.
type conntrackEvents struct {
	head    []byte // as of which columns is right
	columns []int  // of the file: index into conntrackNames, -1 of others
	raw     [][]uint64
	sum     []uint64
	attrs   [][]byte
}

func newConntrackEvents() conntrackEvents {
	return conntrackEvents{attrs: series.Names("system.network.conntrack.event", conntrackNames...), sum: make([]uint64, len(conntrackNames))}
}

func (s *conntrackEvents) points(p *series.Points, b []byte) error {
	head, b := kernel.Line(b)
	if !bytes.Equal(head, s.head) {
		s.head, s.columns, s.raw = bytes.Clone(head), nil, nil
		for name, rest := kernel.Field(head); len(name) > 0; name, rest = kernel.Field(rest) {
			s.columns = append(s.columns, slices.Index(conntrackNames, string(name)))
		}
	}
	for row := 0; len(b) > 0 && row < maxConntrackRows; row++ {
		var l []byte
		l, b = kernel.Line(b)
		fresh := row == len(s.raw)
		if fresh {
			s.raw = append(s.raw, make([]uint64, len(conntrackNames)))
		}
		rest := l
		for _, at := range s.columns {
			var word []byte
			word, rest = kernel.Field(rest)
			if at < 0 {
				continue
			}
			n, ok := kernel.Hexadecimal(word)
			if !ok || n > math.MaxUint32 {
				return kernel.Malformed("/proc/net/stat/nf_conntrack", l)
			}
			s.sum[at] += uint64(uint32(n - s.raw[row][at])) // also over a wrap
			s.raw[row][at] = n
		}
	}
	for _, at := range s.columns {
		if at >= 0 {
			p.Int(networkConntrackEvents, s.attrs[at], s.sum[at])
		}
	}
	return nil
}
