package agent

import (
	"context"
	"sync"
	"time"

	"stint/agent/process"
	"stint/export"
	"stint/export/otlp"
	"stint/scrape"
	"stint/scrape/kubelet"
	"stint/tail"
	"stint/tail/journal"
)

// Status is what /status tells: where every line and point is, and what the agent costs.
type Status struct {
	Program   string          `json:"program"`
	Version   string          `json:"version"`
	Node      string          `json:"node"`
	Started   time.Time       `json:"started"`
	Uptime    float64         `json:"uptime_seconds"`
	Lines     Lines           `json:"lines"`
	Metrics   Points          `json:"metrics"`
	Rates     Rates           `json:"rates"`
	Process   process.Status  `json:"process"`
	Exporters []export.Status `json:"exporters"`
	Tail      *tail.Status    `json:"tail,omitempty"`
	Journald  *journal.Status `json:"journald,omitempty"`
	Pods      *kubelet.Status `json:"pods,omitempty"`
	Scrapers  []scrape.Status `json:"scrapers,omitempty"`
	Demo      *DemoStatus     `json:"demo,omitempty"`
}

// Lines counts log records. Read = delivered + lost + in_flight.
type Lines struct {
	Read      int64 `json:"read"`      // taken off files
	Delivered int64 `json:"delivered"` // acknowledged by every destination
	InFlight  int64 `json:"in_flight"` // read and not yet acknowledged
	Lost      int64 `json:"lost"`      // refused for good by a destination
	// Repeated: sent again though a destination may have had them; in the demo, what its sink
	// received twice.
	Repeated int64 `json:"repeated"`
}

// Points counts metric points.
type Points struct {
	Delivered int64 `json:"delivered"` // accepted, summed over destinations
	Lost      int64 `json:"lost"`
}

// Rates are per second, over the last ten seconds.
type Rates struct {
	Lines float64 `json:"lines_per_second"`
	Bytes float64 `json:"bytes_per_second"` // of log files
	CPU   float64 `json:"cpu_percent"`      // of one core
}

// DemoStatus is the account of the demo's lines at both ends.
type DemoStatus struct {
	Written    int64 `json:"written"`
	Delivered  int64 `json:"delivered"` // different ones that the sink has
	Lost       int64 `json:"lost"`      // gaps in what the sink has
	Repeated   int64 `json:"repeated"`
	OutOfOrder int64 `json:"out_of_order"`
}

func (a *Agent) status() Status {
	s := Status{
		Program: "stint-agent", Version: a.version, Node: a.cfg.NodeName, Started: a.started, Uptime: time.Since(a.started).Seconds(),
		Lines: a.lines(), Rates: a.rates.get(), Exporters: a.export.Status(),
		Process: a.memory.Status(),
	}
	for _, e := range s.Exporters {
		if e.Signal == otlp.Metrics.String() {
			s.Metrics.Delivered += e.Sent
			s.Metrics.Lost += e.Dropped + e.Rejected
		}
	}
	if a.tailer != nil {
		t := a.tailer.Status()
		s.Tail = &t
	}
	if a.journal != nil {
		j := a.journal.Status()
		s.Journald = &j
	}
	if a.node != nil {
		p := a.node.pods.Status()
		s.Pods = &p
	}
	if a.grid != nil {
		s.Scrapers = a.grid.Status()
	}
	if a.demo != nil {
		t := a.demo.seen.Totals()
		written, _ := a.demo.writer.Written()
		s.Demo = &DemoStatus{Written: written, Delivered: t.Records - t.Repeated, Lost: t.Missing, Repeated: t.Repeated, OutOfOrder: t.OutOfOrder}
	}
	return s
}

func (a *Agent) lines() (l Lines) {
	if a.tailer != nil {
		c := a.tailer.Counts()
		l = Lines{Read: c.Read, Delivered: c.Delivered, InFlight: c.InFlight, Lost: c.Dropped}
	}
	if a.journal != nil {
		c := a.journal.Counts()
		l.Read, l.Delivered = l.Read+c.Read, l.Delivered+c.Delivered
		l.InFlight, l.Lost = l.InFlight+c.InFlight, l.Lost+c.Dropped
	}
	for _, e := range a.export.Status() {
		if e.Signal == otlp.Logs.String() {
			l.Lost += e.Rejected
			l.Delivered -= e.Rejected
			l.Repeated += e.Resent
		}
	}
	if a.demo != nil {
		l.Repeated = a.demo.seen.Totals().Repeated
	}
	return l
}

// rates remembers the counters of the last ten seconds.
type rates struct {
	mu   sync.Mutex // guards below
	ring [11]reading
	n    int
}

type reading struct {
	at           time.Time
	lines, bytes int64
	cpu          float64
}

// run samples once a second until ctx ends.
func (r *rates) run(ctx context.Context, a *Agent) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		s := reading{at: time.Now(), cpu: process.CPUSeconds()}
		if a.tailer != nil {
			c := a.tailer.Counts()
			s.lines, s.bytes = c.Read, c.Bytes
		}
		if a.journal != nil {
			c := a.journal.Counts()
			s.lines, s.bytes = s.lines+c.Read, s.bytes+c.Bytes
		}
		r.mu.Lock()
		r.ring[r.n%len(r.ring)] = s
		r.n++
		r.mu.Unlock()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (r *rates) get() Rates {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.n < 2 {
		return Rates{}
	}
	last, first := r.ring[(r.n-1)%len(r.ring)], r.ring[max(r.n-len(r.ring), 0)%len(r.ring)]
	d := last.at.Sub(first.at).Seconds()
	return Rates{
		Lines: float64(last.lines-first.lines) / d,
		Bytes: float64(last.bytes-first.bytes) / d,
		CPU:   (last.cpu - first.cpu) / d * 100,
	}
}
