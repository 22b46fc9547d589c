package cgroup

import (
	"bytes"
	"slices"

	"stint/export/otlp"
	"stint/scrape/kernel"
	"stint/scrape/series"
)

// numaRow is what a cgroup has of a type of memory on a node.
type numaRow struct {
	node  uint16
	kind  uint8 // index into numaTypes
	bytes uint64
}

// numaUsage is that with the attributes of its point.
type numaUsage struct {
	numaRow
	attrs []byte
}

var numaTypes = [...]string{"anon", "file", "unevictable"}

// maxNUMANodes bounds the memory nodes: that is how many Linux can have (MAX_NUMNODES).
const maxNUMANodes = 1024

// numaStat reads memory.numa_stat: lines "anon N0=1 N1=2" on v2, in bytes, and
// "hierarchical_anon=3 N0=1 N1=2" on v1, in pages.
func numaStat(prefix string, end byte, unit uint64) parser {
	return func(r *reading, b []byte) ([]byte, bool) {
		for len(b) > 0 {
			var l []byte
			l, b = kernel.Line(b)
			word, ok := bytes.CutPrefix(l, []byte(prefix))
			at := bytes.IndexByte(word, end)
			if !ok || at < 0 {
				continue
			}
			kind := slices.Index(numaTypes[:], string(word[:at]))
			if kind < 0 {
				continue
			}
			_, rest := kernel.Field(l)
			for word, rest := kernel.Field(rest); len(word) > 0; word, rest = kernel.Field(rest) {
				name, value, ok := bytes.Cut(word, []byte("="))
				number, ok2 := bytes.CutPrefix(name, []byte("N"))
				node, left, ok3 := kernel.Number(number)
				n, left2, ok4 := kernel.Number(value)
				if !ok || !ok2 || !ok3 || !ok4 || len(left)+len(left2) > 0 || node >= maxNUMANodes || n > 1<<53 {
					return l, false
				}
				r.numa = append(r.numa, numaRow{uint16(node), uint8(kind), n * unit})
			}
		}
		return nil, true
	}
}

// updateNUMA takes in the rows of the nodes, and encodes their attributes when they are others.
func (s *Cgroups) updateNUMA(e *entity, rows []numaRow) {
	e.numa = e.numa[:min(len(e.numa), len(rows))]
	for i, row := range rows {
		if i == len(e.numa) {
			e.numa = append(e.numa, numaUsage{})
		}
		if q := &e.numa[i]; q.attrs == nil || q.node != row.node || q.kind != row.kind {
			q.attrs = series.Attributes(otlp.KeyValue{Key: "linux.numa.node", Value: otlp.Int(int64(row.node))}, otlp.Attr("linux.numa.type", numaTypes[row.kind]))
		}
		e.numa[i].numaRow = row
	}
}
