package export

import (
	"github.com/prometheus/client_golang/prometheus"

	"stint/export/otlp"
)

// metrics are the exporters' self-metrics. What the senders count in outStats is read at the
// scrape; only drops, which have a reason, are counted here as they happen.
type metrics struct {
	e           *Exporting
	dropped     *prometheus.CounterVec
	tlsFailures *prometheus.CounterVec
	changed     *prometheus.CounterVec
}

var outLabels = []string{"exporter", "signal"}

var (
	descSent     = prometheus.NewDesc("stint_export_sent_records_total", "Records that a destination has accepted.", outLabels, nil)
	descResent   = prometheus.NewDesc("stint_export_resent_records_total", "Records that a destination may have got more than once, because an answer was lost.", outLabels, nil)
	descDead     = prometheus.NewDesc("stint_export_dead_letter_records_total", "Records that were given up and are in the dead-letter file.", outLabels, nil)
	descRequests = prometheus.NewDesc("stint_export_requests_total", "Requests sent, whatever their answer.", outLabels, nil)
	descRetries  = prometheus.NewDesc("stint_export_retries_total", "Requests that were refused for now and are sent again.", outLabels, nil)
	descBytes    = prometheus.NewDesc("stint_export_sent_bytes_total", "Bytes of accepted requests before compression.", outLabels, nil)
	descQueue    = prometheus.NewDesc("stint_export_queue_bytes", "Bytes of batches that wait for a destination.", outLabels, nil)
	descSpooled  = prometheus.NewDesc("stint_export_spool_records", "Records that wait on the disk for a destination.", outLabels, nil)
	descOnDisk   = prometheus.NewDesc("stint_export_spool_bytes", "Bytes that wait on the disk for a destination.", outLabels, nil)
	descLimit    = prometheus.NewDesc("stint_export_spool_limit_bytes", "Most bytes that may wait on the disk for a destination, of all signals together; 0 where nothing does.", outLabels[:1], nil)
	descDamaged  = prometheus.NewDesc("stint_export_spool_damaged_bytes_total", "Bytes of the spool that are not what was written; the records in them are lost.", outLabels, nil)
	descUp       = prometheus.NewDesc("stint_export_up", "1 while a destination accepts data, 0 while it does not.", outLabels, nil)
	descLastOK   = prometheus.NewDesc("stint_export_last_success_timestamp_seconds", "When a destination last accepted a request, in seconds since 1970.", outLabels, nil)
)

func newMetrics(reg prometheus.Registerer, e *Exporting) *metrics {
	m := &metrics{e: e, dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "stint_export_dropped_records_total",
		Help: "Records that were given up, by reason.",
	}, []string{"exporter", "signal", "reason"})}
	m.tlsFailures = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "stint_tls_reload_failures_total",
		Help: "Times that the files of an exporter's tls section were read again and could not be used; the last good ones were.",
	}, []string{"exporter"})
	m.changed = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "stint_export_changed_values_total",
		Help: "Values of records that were sent otherwise than they are, because Elasticsearch would refuse the whole document, by change.",
	}, []string{"exporter", "change"})
	reg.MustRegister(m.dropped, m.tlsFailures, m.changed, m)
	return m
}

func (m *metrics) drop(exporter string, s otlp.Signal, reason string, records int) {
	m.dropped.WithLabelValues(exporter, s.String(), reason).Add(float64(records))
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descSent, descResent, descDead, descRequests, descRetries, descBytes, descQueue, descSpooled, descOnDisk, descLimit, descDamaged, descUp, descLastOK} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	for name, o := range m.e.outs {
		limit := 0.0
		if o.budget != nil {
			limit = float64(m.e.keep.MaxBytes)
		}
		ch <- prometheus.MustNewConstMetric(descLimit, prometheus.GaugeValue, limit, name)
	}
	for _, s := range m.e.Status() {
		put := func(d *prometheus.Desc, t prometheus.ValueType, v float64) {
			ch <- prometheus.MustNewConstMetric(d, t, v, s.Exporter, s.Signal)
		}
		put(descSent, prometheus.CounterValue, float64(s.Sent))
		put(descResent, prometheus.CounterValue, float64(s.Resent))
		put(descDead, prometheus.CounterValue, float64(s.Dead))
		put(descRequests, prometheus.CounterValue, float64(s.Requests))
		put(descRetries, prometheus.CounterValue, float64(s.Retries))
		put(descBytes, prometheus.CounterValue, float64(s.Bytes))
		put(descQueue, prometheus.GaugeValue, float64(s.WaitBytes))
		put(descSpooled, prometheus.GaugeValue, float64(s.Spooled))
		put(descOnDisk, prometheus.GaugeValue, float64(s.OnDisk))
		put(descDamaged, prometheus.CounterValue, float64(s.Damaged))
		up := 1.0
		if s.Down != "" {
			up = 0
		}
		put(descUp, prometheus.GaugeValue, up)
		if !s.LastOK.IsZero() {
			put(descLastOK, prometheus.GaugeValue, float64(s.LastOK.UnixMilli())/1e3)
		}
	}
}
