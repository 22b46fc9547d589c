package agent

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"stint/agent/process"
)

//go:embed page.html
var page []byte

// adminHandler serves the agent's own state: / (page), /status (JSON), /metrics (Prometheus), and, if
// that is wanted, what was scraped, at /metrics/node.
func (a *Agent) adminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", process.Metrics(a.reg))
	if a.latest != nil {
		mux.Handle("GET /metrics/node", a.latest)
	}
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		_ = e.Encode(a.status()) // the client has gone
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; img-src data:")
		_, _ = w.Write(page)
	})
	return mux
}

const (
	// stuckAfter is how long the scanner may take for one look at all files before the process
	// counts as stuck and is better started anew.
	stuckAfter = 2 * time.Minute
	// flowingAfter is how long a destination may refuse before data does not flow.
	flowingAfter = 30 * time.Second
)

// healthHandler serves the probes: /livez (restart me if this fails; destinations don't
// count), /readyz (started), /flowing (data arrives where it should).
func (a *Agent) healthHandler() http.Handler {
	mux := http.NewServeMux()
	process.Probe(mux, "/livez", a.NotAlive)
	process.Probe(mux, "/readyz", a.notReady)
	process.Probe(mux, "/flowing", a.notFlowing)
	return mux
}

// NotAlive says why the process should be restarted, if it should.
func (a *Agent) NotAlive() (faults []string) {
	if a.tailer != nil {
		if last := a.tailer.LastLook(); !last.IsZero() && time.Since(last) > stuckAfter {
			faults = append(faults, fmt.Sprintf("looking for logs is stuck since %s: a file system does not answer", last.Format(time.RFC3339)))
		}
	}
	return faults
}

func (a *Agent) notReady() (faults []string) {
	if a.tailer != nil && a.tailer.LastLook().IsZero() {
		faults = append(faults, "logs are being looked at for the first time")
	}
	return faults
}

func (a *Agent) notFlowing() []string {
	faults := append(a.NotAlive(), a.notReady()...)
	for _, e := range a.export.Status() {
		if e.Down != "" && time.Since(e.DownSince) > flowingAfter {
			faults = append(faults, fmt.Sprintf("exporter %s takes no %s since %s (%s): %s", e.Exporter, e.Signal, e.DownSince.Format(time.RFC3339), e.Down, e.Error))
		}
	}
	return faults
}
