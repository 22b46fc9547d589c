package tail

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// selfMetrics makes the tailer's counters known under the names of docs/metrics.md. No file, pod
// or container is ever a label.
type selfMetrics struct {
	t    *Tailer
	all  []metric
	lost [2]*prometheus.Desc // bytes and lines
}

type metric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(Status) float64
}

func newSelfMetrics(t *Tailer) *selfMetrics {
	m := &selfMetrics{t: t}
	add := func(kind prometheus.ValueType, name, help string, labels prometheus.Labels, value func(Status) float64) {
		m.all = append(m.all, metric{prometheus.NewDesc(name, help, nil, labels), kind, value})
	}
	counter := func(name, help string, value func(Status) int64) {
		add(prometheus.CounterValue, name, help, nil, func(s Status) float64 { return float64(value(s)) })
	}
	gauge := func(name, help string, value func(Status) float64) {
		add(prometheus.GaugeValue, name, help, nil, value)
	}
	filtered := func(reason string, value func(Status) int64) {
		add(prometheus.CounterValue, "stint_tail_filtered_records_total", "Records that were left out because somebody wished it, by reason: excluded (a stream, by annotation), rate_limited.",
			prometheus.Labels{"reason": reason}, func(s Status) float64 { return float64(value(s)) })
	}

	counter("stint_tail_read_records_total", "Records taken off log files.", func(s Status) int64 { return s.Read })
	counter("stint_tail_delivered_records_total", "Records that every destination has acknowledged.", func(s Status) int64 { return s.Delivered })
	counter("stint_tail_dropped_records_total", "Records that a destination refused for good.", func(s Status) int64 { return s.Dropped })
	counter("stint_tail_read_bytes_total", "Bytes taken off log files.", func(s Status) int64 { return s.Bytes })
	counter("stint_tail_skipped_bytes_total", "Bytes of logs that a pod's labels or annotations say are not to be read.", func(s Status) int64 { return s.Skipped })
	filtered("excluded", func(s Status) int64 { return s.Filtered })
	filtered("rate_limited", func(s Status) int64 { return s.Limited })
	counter("stint_tail_malformed_records_total", "Lines of container logs without a readable header, sent as they stood.", func(s Status) int64 { return s.Malformed })
	counter("stint_tail_truncated_records_total", "Records cut at max_line_bytes.", func(s Status) int64 { return s.Truncated })
	counter("stint_tail_unfinished_records_total", "Partial records sent without their end, which did not come.", func(s Status) int64 { return s.Unfinished })
	counter("stint_tail_grouped_lines_total", "Lines that became part of the record before them (multiline).", func(s Status) int64 { return s.Grouped })
	counter("stint_tail_parsed_records_total", "Records whose text was understood (parse).", func(s Status) int64 { return s.Parsed })
	counter("stint_tail_rotations_total", "Log files read to their end after a newer one took over.", func(s Status) int64 { return s.Rotations })
	counter("stint_tail_truncations_total", "Log files that were cut in place and read again from their beginning.", func(s Status) int64 { return s.Truncations })
	counter("stint_tail_gz_recovered_total", "Compressed logs that were read on from where they had been left while plain.", func(s Status) int64 { return s.Recovered })
	counter("stint_tail_open_errors_total", "Attempts to open a log or a directory that failed.", func(s Status) int64 { return s.OpenErrors })
	counter("stint_tail_panics_total", "Panics while reading a log, each of which paused that log for a minute.", func(s Status) int64 { return s.Panics })
	counter("stint_tail_watch_overflows_total", "Overflows of the queue of directory events, each followed by a full look.", func(s Status) int64 { return s.Overflows })
	gauge("stint_tail_logs", "Logs that are followed.", func(s Status) float64 { return float64(s.Logs) })
	gauge("stint_tail_open_files", "Log files that are open.", func(s Status) float64 { return float64(s.OpenFiles) })
	gauge("stint_tail_unreadable_files", "Logs and directories that can't be opened now.", func(s Status) float64 { return float64(s.Denied) })
	gauge("stint_tail_behind_bytes", "Bytes written to logs and not yet read.", func(s Status) float64 { return float64(s.BehindBytes) })
	gauge("stint_tail_behind_seconds", "Seconds since the log furthest behind was last read to its end.", func(s Status) float64 { return s.BehindSecs })
	gauge("stint_tail_deleted_bytes", "Unread bytes in files that were deleted and are kept open; max_deleted_bytes bounds them.", func(s Status) float64 { return float64(s.Deleted) })
	gauge("stint_tail_unsettled_bytes", "Bytes read and not yet acknowledged; a kill repeats these.", func(s Status) float64 { return float64(s.Unsettled) })
	gauge("stint_tail_offsets_age_seconds", "Seconds since the offsets were last saved or found unchanged.", func(s Status) float64 { return time.Since(s.Saved).Seconds() })
	gauge("stint_tail_watching", "1 while directories are watched, 0 while only sweeps find new logs.", func(s Status) float64 {
		if s.Watching {
			return 1
		}
		return 0
	})
	reason := []string{"reason"}
	m.lost[0] = prometheus.NewDesc("stint_tail_lost_bytes_total", "Bytes of log files that could not be read, by reason: deleted (over max_deleted_bytes), truncated, vanished (while the agent was not running), gz_unreadable (compressed size).", reason, nil)
	m.lost[1] = prometheus.NewDesc("stint_tail_lost_lines_total", "Lines of log files that could not be read, by reason, where they could be counted: those of deleted ones.", reason, nil)
	return m
}

// Describe implements prometheus.Collector.
func (m *selfMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, x := range m.all {
		ch <- x.desc
	}
	ch <- m.lost[0]
	ch <- m.lost[1]
}

// Collect implements prometheus.Collector: one look at the tailer for all of them.
func (m *selfMetrics) Collect(ch chan<- prometheus.Metric) {
	s := m.t.Status()
	for _, x := range m.all {
		ch <- prometheus.MustNewConstMetric(x.desc, x.kind, x.value(s))
	}
	for why := range lossReasons {
		l := &m.t.stats.lost[why]
		for i, n := range [2]int64{l.bytes.Load(), l.lines.Load()} {
			ch <- prometheus.MustNewConstMetric(m.lost[i], prometheus.CounterValue, float64(n), why.String())
		}
	}
}
