package tail

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// register makes the tailer's counters known under the names of docs/metrics.md. No file, pod
// or container is ever a label.
func (t *Tailer) register(reg prometheus.Registerer) {
	counter := func(name, help string, labels prometheus.Labels, f func() int64) {
		reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels}, func() float64 { return float64(f()) }))
	}
	gauge := func(name, help string, f func(Status) float64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return f(t.Status()) }))
	}
	s := &t.stats
	counter("stint_tail_read_records_total", "Records taken off log files.", nil, s.read.Load)
	counter("stint_tail_delivered_records_total", "Records that every destination has acknowledged.", nil, s.delivered.Load)
	counter("stint_tail_dropped_records_total", "Records that a destination refused for good.", nil, s.dropped.Load)
	counter("stint_tail_read_bytes_total", "Bytes taken off log files.", nil, s.bytes.Load)
	counter("stint_tail_malformed_records_total", "Lines of container logs without a readable header, sent as they stood.", nil, s.malformed.Load)
	counter("stint_tail_truncated_records_total", "Records cut at max_line_bytes.", nil, s.truncated.Load)
	counter("stint_tail_unfinished_records_total", "Partial records sent without their end, which did not come.", nil, s.unfinished.Load)
	counter("stint_tail_rotations_total", "Log files read to their end after a newer one took over.", nil, s.rotations.Load)
	counter("stint_tail_truncations_total", "Log files that were cut in place and read again from their beginning.", nil, s.truncations.Load)
	counter("stint_tail_lost_bytes_total", "Bytes of log files that could not be read, by reason; of a damaged compressed log its compressed size.", prometheus.Labels{"reason": "gz_unreadable"}, s.lost.Load)
	counter("stint_tail_gz_recovered_total", "Compressed logs that were read on from where they had been left while plain.", nil, s.recovered.Load)
	counter("stint_tail_open_errors_total", "Attempts to open a log or a directory that failed.", nil, s.openErrors.Load)
	counter("stint_tail_panics_total", "Panics while reading a log, each of which paused that log for a minute.", nil, s.panics.Load)
	counter("stint_tail_watch_overflows_total", "Overflows of the queue of directory events, each followed by a full look.", nil, s.overflows.Load)
	gauge("stint_tail_logs", "Logs that are followed.", func(s Status) float64 { return float64(s.Logs) })
	gauge("stint_tail_open_files", "Log files that are open.", func(s Status) float64 { return float64(s.OpenFiles) })
	gauge("stint_tail_behind_bytes", "Bytes written to logs and not yet read.", func(s Status) float64 { return float64(s.BehindBytes) })
	gauge("stint_tail_behind_seconds", "Seconds since the log furthest behind was last read to its end.", func(s Status) float64 { return s.BehindSecs })
	gauge("stint_tail_unsettled_bytes", "Bytes read and not yet acknowledged; a kill repeats these and what was acknowledged in the last second.", func(s Status) float64 { return float64(s.Unsettled) })
	gauge("stint_tail_offsets_age_seconds", "Seconds since the offsets were last saved or found unchanged.", func(s Status) float64 { return time.Since(s.Saved).Seconds() })
	gauge("stint_tail_watching", "1 while directories are watched, 0 while only sweeps find new logs.", func(s Status) float64 {
		if s.Watching {
			return 1
		}
		return 0
	})
}
