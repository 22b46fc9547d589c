package scrape

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// selfMetrics are the grid's own counters.
type selfMetrics struct {
	points    *prometheus.CounterVec // source
	delivered *prometheus.CounterVec // source
	dropped   *prometheus.CounterVec // reason
	errors    *prometheus.CounterVec // source, scraper, reason
	skipped   *prometheus.CounterVec // source, scraper
	duration  *prometheus.GaugeVec   // source, scraper
	success   *prometheus.GaugeVec   // source, scraper
	missed    prometheus.Counter
	unlisted  prometheus.Counter

	memory, refused, aborted prometheus.Counter // of dropped
}

func newSelfMetrics() selfMetrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := selfMetrics{
		points:    counter("stint_scrape_points_total", "Metric points read.", "source"),
		delivered: counter("stint_scrape_delivered_points_total", "Metric points that every destination acknowledged or stores durably.", "source"),
		dropped: counter("stint_scrape_dropped_points_total", "Metric points lost: memory = the memory limit was reached when they were read, "+
			"refused = a destination refused them for good, aborted = the process stopped before an answer came.", "reason"),
		errors: counter("stint_scrape_errors_total", "Scrapes that failed in whole or in part: missing, permission, timeout, panic, failed, "+
			"or deadline = the tick went on without them.", "source", "scraper", "reason"),
		skipped: counter("stint_scrape_skipped_total", "Ticks that left a scraper out because it was still busy with an earlier one.", "source", "scraper"),
		duration: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "stint_scrape_duration_seconds",
			Help: "How long the last scrape took, in seconds."}, []string{"source", "scraper"}),
		success: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "stint_scrape_success",
			Help: "1 when the last scrape was without an error, else 0."}, []string{"source", "scraper"}),
		missed: prometheus.NewCounter(prometheus.CounterOpts{Name: "stint_scrape_missed_ticks_total",
			Help: "Whole intervals in which nothing was scraped because the process was suspended or starved, or the clock was set forward."}),
	}
	m.unlisted = prometheus.NewCounter(prometheus.CounterOpts{Name: "stint_scrape_unlisted_points_total",
		Help: "Metric points that /metrics/node could not take up, because it holds 16 MiB already."})
	m.memory = m.dropped.WithLabelValues("memory")
	m.refused = m.dropped.WithLabelValues("refused")
	m.aborted = m.dropped.WithLabelValues("aborted")
	return m
}

func (m *selfMetrics) register(reg prometheus.Registerer) error {
	var errs []error
	for _, c := range []prometheus.Collector{m.points, m.delivered, m.dropped, m.errors, m.skipped, m.duration, m.success, m.missed, m.unlisted} {
		errs = append(errs, reg.Register(c))
	}
	return errors.Join(errs...)
}
