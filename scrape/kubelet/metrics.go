package kubelet

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the table's self-metrics. What can be counted in the table is counted at the scrape.
type metrics struct {
	pods     *Pods
	updates  *prometheus.CounterVec // source
	polls    prometheus.Counter
	failures *prometheus.CounterVec // reason
	evicted  *prometheus.CounterVec // reason
}

var (
	descPods    = prometheus.NewDesc("stint_kubelet_pods", "Pods known: live, or deleted and still kept for their logs.", []string{"state"}, nil)
	descTrimmed = prometheus.NewDesc("stint_kubelet_pods_trimmed", "Pods known of which not all labels, annotations, containers or volumes are kept, because they are over the bounds.", nil, nil)
	descSource  = prometheus.NewDesc("stint_kubelet_pods_source", "1 for where pods come from: pods-api, pods or none.", []string{"source"}, nil)
	descTLS     = prometheus.NewDesc("stint_kubelet_tls_verified", "0 if the kubelet's certificate is not verified because of insecure_skip_verify, else 1.", nil, nil)
)

func newMetrics(p *Pods) *metrics {
	vec := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	}
	return &metrics{
		pods:    p,
		updates: vec("stint_kubelet_pod_updates_total", "Changes of pods, by where they came from: pods-api or pods.", "source"),
		polls:   prometheus.NewCounter(prometheus.CounterOpts{Name: "stint_kubelet_polls_total", Help: "Requests for /pods, whatever their answer."}),
		failures: vec("stint_kubelet_failures_total", "Failures to get pods: tls, token, unauthorized, forbidden, timeout, unreachable, status, too_large, malformed = an answer or a pod in it "+
			"was not understood, permission = the socket of the Pods API is not for this user, watch = its stream ended.", "reason"),
		evicted: vec("stint_kubelet_evicted_pods_total", "Pods that the full table had no room for: early = a deleted one, forgotten before its time, full = a live one, not taken up.", "reason"),
	}
}

func (m *metrics) register(reg prometheus.Registerer) error {
	var errs []error
	for _, c := range []prometheus.Collector{m.updates, m.polls, m.failures, m.evicted, m} {
		errs = append(errs, reg.Register(c))
	}
	return errors.Join(errs...)
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descPods, descTrimmed, descSource, descTLS} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
	}
	s := m.pods.Status()
	gauge(descPods, s.Pods, "live")
	gauge(descPods, s.Deleted, "deleted")
	gauge(descTrimmed, s.Trimmed)
	for _, source := range []string{sourceWatch, sourcePoll, sourceNone} {
		v := 0
		if s.Source == source {
			v = 1
		}
		gauge(descSource, v, source)
	}
	verified := 1
	if m.pods.client.skip {
		verified = 0
	}
	gauge(descTLS, verified)
}
