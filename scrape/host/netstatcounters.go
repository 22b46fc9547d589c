package host

import (
	"os"
	"strings"

	"stint/scrape/kernel"
	"stint/scrape/series"
)

// lookUp finds the counters that the configuration names: once, since the names do not change
// while the kernel runs. What is negative is no counter.
func (s *netstat) lookUp() {
	found := false
	add := func(field, name, value string) {
		if _, known := s.v6.index[name]; known || !matchesAny(s.globs, field) {
			return
		}
		if _, _, ok := kernel.Number([]byte(value)); !ok {
			return
		}
		s.v6.index[name] = len(s.points)
		s.points = append(s.points, netstatPoint{netstatCounters, series.Attributes(attr("linux.netstat.field", field)...)})
	}
	for _, path := range []string{s.snmp.Path, s.ext.Path} {
		b, err := os.ReadFile(path)
		found = found || err == nil
		lines := strings.Split(string(b), "\n")
		for i := 0; i+1 < len(lines); i += 2 {
			names, values := strings.Fields(lines[i]), strings.Fields(lines[i+1])
			for j := 1; j < min(len(names), len(values)); j++ {
				protocol := strings.TrimSuffix(names[0], ":")
				add(protocol+"_"+names[j], protocol+"."+names[j], values[j])
			}
		}
	}
	b, err := os.ReadFile(s.v6.Path)
	for l := range strings.Lines(string(b)) {
		f := strings.Fields(l)
		if len(f) < 2 {
			continue
		}
		if protocol, name, ok := strings.Cut(f[0], "6"); ok {
			add(protocol+"6_"+name, f[0], f[1])
		}
	}
	if found || err == nil {
		s.globs = nil
		s.snmp.lines, s.ext.lines, s.v6.lines, s.v6.to = nil, nil, nil, nil // places of columns are others now
		s.v, s.has = make([]uint64, len(s.points)), make([]bool, len(s.points))
	}
}
