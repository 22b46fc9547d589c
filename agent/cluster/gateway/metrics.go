package gateway

import (
	"github.com/prometheus/client_golang/prometheus"

	"stint/export/otlp"
)

// metrics are the gateway's own.
type metrics struct {
	requests, records, bytes, again, no *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) metrics {
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		reg.MustRegister(v)
		return v
	}
	return metrics{
		requests: vec("stint_gateway_requests_total", "Requests that were taken.", "signal"),
		records:  vec("stint_gateway_received_records_total", "Log records, metric points and spans in requests that were taken.", "signal"),
		bytes:    vec("stint_gateway_received_bytes_total", "Bytes of requests that were taken, after decompression.", "signal"),
		again:    vec("stint_gateway_repeated_records_total", "Records of requests that had come already, by their id, and were not taken a second time.", "signal"),
		no:       vec("stint_gateway_refused_requests_total", "Requests that were refused, by reason.", "signal", "reason"),
	}
}

func (m *metrics) received(s otlp.Signal, records, bytes int) {
	m.requests.WithLabelValues(s.String()).Inc()
	m.records.WithLabelValues(s.String()).Add(float64(records))
	m.bytes.WithLabelValues(s.String()).Add(float64(bytes))
}

func (m *metrics) repeated(s otlp.Signal, records int) {
	m.again.WithLabelValues(s.String()).Add(float64(records))
}

func (m *metrics) refused(s otlp.Signal, reason string) {
	m.no.WithLabelValues(s.String(), reason).Inc()
}
