package process

import (
	"net/http"

	"github.com/klauspost/compress/gzhttp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
)

// Metrics prints what a registry gathers in Prometheus' text format 0.0.4. promhttp can also print two other formats,
// which nobody needs here, and links the standard library's gzip beside ours: 0.3 MB of the agent.
func Metrics(from prometheus.Gatherer) http.Handler {
	return gzhttp.GzipHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		families, err := from.Gather()
		if err != nil {
			http.Error(w, "metrics can't be gathered: "+err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", string(expfmt.NewFormat(expfmt.TypeTextPlain)))
		for _, f := range families {
			if _, err := expfmt.MetricFamilyToText(w, f); err != nil {
				return // the client has gone
			}
		}
	}))
}
