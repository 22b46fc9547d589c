package host

import (
	"bytes"

	"stint/scrape/kernel"
)

// snmp reads /proc/net/snmp or netstat: of each protocol a line of names and one of values, as in
//
//	Tcp: RtoAlgorithm … CurrEstab
//	Tcp: 1 … 12
//
// The names do not change while the kernel runs, so where values lie is found out once.
type snmp struct {
	kernel.File
	index map[string]int // of what is taken, by "Tcp.CurrEstab"
	lines []snmpLine
}

// snmpLine is where the values of a protocol go.
type snmpLine struct {
	names []byte // the line of names that this is right for
	to    []int  // by column; -1: not taken. The last one is taken.
}

// read puts what the file has into v, and tells so in has. A file that is not there has nothing.
func (s *snmp) read(v []uint64, has []bool) error {
	b, err := s.ReadIfThere()
	if err != nil {
		return err
	}
	for i := 0; len(b) > 0; i++ {
		var names, values []byte
		names, b = kernel.Line(b)
		values, b = kernel.Line(b)
		if i == len(s.lines) {
			s.lines = append(s.lines, snmpLine{})
		}
		if l := &s.lines[i]; !bytes.Equal(l.names, names) {
			*l = snmpLine{names: bytes.Clone(names), to: s.columns(names)}
		}
		head, rest := kernel.Field(values)
		if !bytes.HasPrefix(names, head) || len(head) == 0 {
			return kernel.Malformed(s.Path, values)
		}
		for _, to := range s.lines[i].to {
			if to < 0 {
				_, rest = kernel.Field(rest) // which may be negative
				continue
			}
			n, after, ok := kernel.Number(rest)
			if !ok {
				return kernel.Malformed(s.Path, values)
			}
			v[to], has[to], rest = n, true, after
		}
	}
	return nil
}

// columns says where the columns under these names go.
func (s *snmp) columns(names []byte) (to []int) {
	head, rest := kernel.Field(names)
	head = bytes.TrimSuffix(head, []byte(":"))
	taken := 0
	for {
		var name []byte
		if name, rest = kernel.Field(rest); len(name) == 0 {
			return to[:taken]
		}
		i, ok := s.index[string(head)+"."+string(name)]
		if !ok {
			to = append(to, -1)
			continue
		}
		to = append(to, i)
		taken = len(to)
	}
}

// snmp6 is /proc/net/snmp6: a name and a value a line.
type snmp6 struct {
	kernel.File
	index map[string]int
	lines [][]byte // the names as of the last read
	to    []int    // where their values go; -1: not taken
}

// read is that of snmp.
func (s *snmp6) read(v []uint64, has []bool) error {
	b, err := s.ReadIfThere()
	if err != nil {
		return err
	}
	for i := 0; len(b) > 0; i++ {
		var l []byte
		l, b = kernel.Line(b)
		name, rest := kernel.Field(l)
		if i == len(s.lines) {
			s.lines, s.to = append(s.lines, nil), append(s.to, -1)
		}
		if s.lines[i] == nil || !bytes.Equal(s.lines[i], name) {
			s.lines[i], s.to[i] = bytes.Clone(name), -1
			if to, ok := s.index[string(name)]; ok {
				s.to[i] = to
			}
		}
		to := s.to[i]
		if to < 0 {
			continue
		}
		n, _, ok := kernel.Number(rest)
		if !ok {
			return kernel.Malformed(s.Path, l)
		}
		v[to], has[to] = n, true
	}
	return nil
}
