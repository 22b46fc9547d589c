package command

import (
	"strconv"
	"time"

	"stint/agent/process"
	"stint/export"
)

// fullMemory is how much of its limit a process may take, by the same measure as the alert in deploy/prometheus/rules.yaml.
const fullMemory = 0.9

// Screen is a text in lines that begin with ok or fail: how a program is, for people.
type Screen struct {
	Text []byte
	Well bool // no line begins with fail
	Now  time.Time
}

// NewScreen begins with what is asked.
func NewScreen(program, version, node string, uptime float64, now time.Time) *Screen {
	if node != "" {
		node = " on " + node
	}
	return &Screen{Text: []byte(program + " " + version + node + ", up " + (time.Duration(uptime) * time.Second).String() + "\n"), Well: true, Now: now}
}

// Line adds one. It is no place to be inlined: there are many, and the binary has a limit.
//
//go:noinline
func (s *Screen) Line(ok bool, what string, words ...string) {
	level := "ok   "
	if !ok {
		level, s.Well = "fail ", false
	}
	s.Text = append(s.Text, level...)
	s.Text = append(s.Text, what...)
	for n := len(what); n < 9; n++ {
		s.Text = append(s.Text, ' ')
	}
	for _, w := range words {
		if w != "" {
			s.Text = append(append(s.Text, ' '), w...)
		}
	}
	s.Text = append(s.Text, '\n')
}

// Exporters tells of destinations.
func (s *Screen) Exporters(all []export.Status) {
	for i := range all {
		e := &all[i]
		waits := "; " + Size(e.WaitBytes) + " wait in memory, " + Size(e.OnDisk) + " on disk"
		if e.Down != "" {
			s.Line(false, "exporter", e.Exporter, "takes no", e.Signal, "for", s.Now.Sub(e.DownSince).Round(time.Second).String(), "("+e.Down+"):", e.Error+waits)
		} else {
			s.Line(true, "exporter", e.Exporter, "took", e.Signal, s.Ago(e.LastOK)+waits)
		}
		if lost := e.Dropped + e.Rejected; lost > 0 {
			s.Line(false, "exporter", e.Exporter, "refused", Number(lost), e.Signal, "for good")
		}
	}
}

// Memory tells of the process.
func (s *Screen) Memory(p *process.Status) {
	limit := "no limit"
	if p.MemoryLimit > 0 {
		limit = "limit " + Size(p.MemoryLimit)
	}
	s.Line(p.MemoryLimit == 0 || float64(p.RSS) <= fullMemory*float64(p.MemoryLimit), "memory", Size(p.RSS), "resident,", limit+"; records take", Size(p.PoolUsed), "of", Size(p.PoolLimit))
}

// Ago is how long ago something was, if it was.
func (s *Screen) Ago(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return s.Now.Sub(t).Round(time.Second).String() + " ago"
}

// Number is one for a reader.
func Number(n int64) string { return strconv.FormatInt(n, 10) }

// Size is a number of bytes for a reader.
func Size(n int64) string {
	if n < 1<<20 {
		return Number((n+1<<10-1)>>10) + " KiB"
	}
	return Number(n>>20) + " MiB"
}
