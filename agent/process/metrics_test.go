package process

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// What a client gets is what promhttp would give it.
func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "stint_things_total", Help: "Things, by \"kind\"\nand more."}, []string{"kind"})
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "stint_seconds", Help: "Seconds.", Buckets: []float64{0.1, 1}})
	reg.MustRegister(c, h)
	c.WithLabelValues("a\\\"\n").Add(1e9)
	for n := range 100 { // a short answer is not compressed
		c.WithLabelValues(strconv.Itoa(n)).Inc()
	}
	h.Observe(0.5)
	for accept, packed := range map[string]bool{
		"": false, "identity": false, "gzip": true, "deflate, gzip": true, "br;q=1.0, gzip;q=0.8": true, "gzip;q=0": false, "gzip; q=0.000": false,
		"x-gzip": false, "*": false,
	} {
		r := httptest.NewRequest("GET", "/metrics", nil)
		r.Header.Set("Accept-Encoding", accept)
		got, want := httptest.NewRecorder(), httptest.NewRecorder()
		Metrics(reg).ServeHTTP(got, r)
		promhttp.HandlerFor(reg, promhttp.HandlerOpts{DisableCompression: true}).ServeHTTP(want, r)
		body := io.Reader(got.Body)
		if packed != (got.Header().Get("Content-Encoding") == "gzip") {
			t.Errorf("%q: Content-Encoding is %q", accept, got.Header().Get("Content-Encoding"))
		} else if packed {
			z, err := gzip.NewReader(got.Body)
			if err != nil {
				t.Fatal(err)
			}
			body = z
		}
		text, err := io.ReadAll(body)
		if err != nil || string(text) != want.Body.String() {
			t.Errorf("%q: %v, got\n%s\nwant\n%s", accept, err, text, want.Body)
		}
	}
}

func TestMetricsFault(t *testing.T) {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector())
	bad := prometheus.NewDesc("stint_bad", "Bad.", nil, nil)
	reg.MustRegister(prometheus.CollectorFunc(func(to chan<- prometheus.Metric) { to <- prometheus.NewInvalidMetric(bad, io.ErrUnexpectedEOF) }))
	w := httptest.NewRecorder()
	Metrics(reg).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != http.StatusInternalServerError {
		t.Errorf("status %d", w.Code)
	}
}
