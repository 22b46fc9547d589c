package cluster

import (
	"encoding/json"
	"net/http"
	"time"

	"stint/agent/process"
	"stint/export"
)

// Status is what /status tells.
type Status struct {
	Program   string          `json:"program"`
	Version   string          `json:"version"`
	Started   time.Time       `json:"started"`
	Uptime    float64         `json:"uptime_seconds"`
	Leader    *LeaseStatus    `json:"leader,omitempty"` // nil when no source needs one
	Sources   []SourceStatus  `json:"sources,omitempty"`
	Process   process.Status  `json:"process"`
	Exporters []export.Status `json:"exporters"`
}

// SourceStatus is what is known of a source that works on the leader alone.
type SourceStatus struct {
	Source  string `json:"source"`
	Pending int64  `json:"pending_chunks"`  // handed over and not delivered yet
	Stuck   string `json:"stuck,omitempty"` // why it does not get on
}

func (c *Cluster) status() Status {
	s := Status{
		Program: "stint-cluster", Version: c.version, Started: c.started, Uptime: time.Since(c.started).Seconds(),
		Process: c.memory.Status(), Exporters: c.export.Status(),
	}
	if c.lease != nil {
		l := c.lease.status()
		s.Leader = &l
		for _, x := range c.singletons {
			src := SourceStatus{Source: x.name, Pending: x.outlet.pending.Load()}
			if l.Leader {
				src.Stuck = x.progress.Stuck()
			}
			s.Sources = append(s.Sources, src)
		}
	}
	return s
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(v) // the client has gone
}

// adminHandler serves /status (JSON) and /metrics (Prometheus).
func (c *Cluster) adminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", process.Metrics(c.reg))
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, c.status()) })
	return mux
}

// NotAlive says nothing: what does not get on ends by itself, or gives the lease up.
func (c *Cluster) NotAlive() []string { return nil }

// healthHandler serves the probes /livez and /readyz, which have nothing to do with who leads, and
// /leader, which tells that. A leader that does not get on needs no restart: it gives the lease up.
func (c *Cluster) healthHandler() http.Handler {
	mux := http.NewServeMux()
	process.Probe(mux, "/livez", c.NotAlive)
	process.Probe(mux, "/readyz", func() []string { return nil })
	mux.HandleFunc("GET /leader", func(w http.ResponseWriter, _ *http.Request) {
		if c.lease == nil {
			http.Error(w, "no pipeline takes anything that only a leader reads", http.StatusNotFound)
			return
		}
		writeJSON(w, c.lease.status())
	})
	return mux
}
