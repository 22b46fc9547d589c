package journal

import "github.com/prometheus/client_golang/prometheus"

// register makes the follower's counters known under the names of docs/metrics.md. No unit is
// ever a label.
func (f *Follower) register(reg prometheus.Registerer) {
	counter := func(name, help string, v func() int64) {
		reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(v()) }))
	}
	gauge := func(name, help string, v func(Status) float64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return v(f.Status()) }))
	}
	s := &f.stats
	counter("stint_journald_read_records_total", "Records taken off the systemd journal.", s.read.Load)
	counter("stint_journald_delivered_records_total", "Records of the journal that every destination has acknowledged.", s.delivered.Load)
	counter("stint_journald_dropped_records_total", "Records of the journal that a destination refused for good.", s.dropped.Load)
	counter("stint_journald_read_bytes_total", "Bytes of journalctl's output.", s.bytes.Load)
	counter("stint_journald_excluded_entries_total", "Entries left out by exclude_units, or because they are of another machine.", s.excluded.Load)
	counter("stint_journald_malformed_entries_total", "Entries that could not be parsed and were skipped.", s.malformed.Load)
	counter("stint_journald_truncated_records_total", "Records whose message was cut at max_line_bytes or of which a field over 64 KiB was left out.", s.truncated.Load)
	counter("stint_journald_restarts_total", "Starts of journalctl after it had ended by itself.", s.restarts.Load)
	counter("stint_journald_cursor_lost_total", "Times at which the journal no longer held the entry read last, so that entries may be missing.", s.lost.Load)
	counter("stint_journald_panics_total", "Panics while reading the journal, each of which cost an entry.", s.panics.Load)
	gauge("stint_journald_behind_seconds", "Age of the entry read last while there is more to read, in seconds.", func(st Status) float64 { return st.BehindSecs })
	gauge("stint_journald_cursor_unsaved_seconds", "Seconds since an acknowledged cursor is not saved; more than a few mean that a restart repeats entries.", func(st Status) float64 { return st.UnsavedSec })
}
