package host

import (
	"bytes"

	"stint/export/otlp"
	"stint/scrape/kernel"
	"stint/scrape/series"
)

// vmstatFields are the fields of /proc/vmstat that the configuration names, passed on as they
// are. Names do not change while the kernel runs, so which are wanted is found out once.
type vmstatFields struct {
	globs []string
	file  kernel.File
	lines []vmstatField
}

type vmstatField struct {
	name   []byte
	metric int // -1: not wanted
	attrs  []byte
	v      uint64
	has    bool
}

func (s *vmstatFields) points(p *series.Points) error {
	if len(s.globs) == 0 {
		return nil
	}
	b, err := s.file.Read()
	if err != nil {
		return err
	}
	for i := range s.lines {
		s.lines[i].has = false
	}
	for i := 0; len(b) > 0; i++ {
		var l []byte
		l, b = kernel.Line(b)
		name, rest := kernel.Field(l)
		if i == len(s.lines) {
			s.lines = append(s.lines, vmstatField{})
		}
		f := &s.lines[i]
		if f.name == nil || !bytes.Equal(f.name, name) {
			*f = vmstatField{name: bytes.Clone(name), metric: -1}
			if matchesAny(s.globs, string(name)) {
				f.metric, f.attrs = pagingEvents, series.Attributes(otlp.Attr("linux.vmstat.field", string(name)))
				if bytes.HasPrefix(name, []byte("nr_")) {
					f.metric = pagingStates
				}
			}
		}
		if f.metric < 0 {
			continue
		}
		if f.v, _, f.has = kernel.Number(rest); !f.has {
			err = kernel.Malformed("/proc/vmstat", l)
		}
	}
	for _, metric := range [...]int{pagingEvents, pagingStates} {
		for i := range s.lines {
			if f := &s.lines[i]; f.has && f.metric == metric {
				p.Int(metric, f.attrs, f.v)
			}
		}
	}
	return err
}
