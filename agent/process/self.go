package process

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"stint/export/otlp"
)

// Self is the process's own metrics as a source: what /metrics shows leaves as OTLP too. Not a
// hot path: some 60 series an interval.
type Self struct {
	reg     prometheus.Gatherer
	group   *otlp.Group
	started uint64
	buf     []byte
}

// NewSelf makes the source of one instance of a program; machine is what else its resource says.
func NewSelf(reg prometheus.Gatherer, program, instance, version string, machine []otlp.KeyValue, started time.Time) *Self {
	return &Self{reg: reg, started: uint64(started.UnixNano()), group: otlp.NewGroup(append([]otlp.KeyValue{
		otlp.Attr("service.name", program),
		otlp.Attr("service.instance.id", instance),
		otlp.Attr("service.version", version),
	}, machine...), otlp.SchemaURL, "stint/agent", version)}
}

// Name implements scrape.Source.
func (s *Self) Name() string { return "self" }

// Scrapers implements scrape.Source.
func (s *Self) Scrapers() []string { return []string{"metrics"} }

// Scrape implements scrape.Source.
func (s *Self) Scrape(_ context.Context, _ int, at time.Time, hand func(*otlp.Group, []byte, int)) error {
	families, err := s.reg.Gather()
	s.buf = s.buf[:0]
	now, n := uint64(at.UnixNano()), 0
	for _, f := range families {
		if name := f.GetName(); strings.HasPrefix(name, "stint_") || strings.HasPrefix(name, "process_") {
			n += s.family(f, now)
		}
	}
	hand(s.group, s.buf, n)
	if err != nil {
		return fmt.Errorf("gather the process's own metrics: %w", err)
	}
	return nil
}

// family appends one metric family and returns how many points it has.
func (s *Self) family(f *dto.MetricFamily, now uint64) int {
	m := &otlp.Metric{Name: f.GetName(), Description: f.GetHelp(), Unit: unitOf(f.GetName()), Double: true}
	attrs := func(x *dto.Metric, field int) []byte {
		var kvs []otlp.KeyValue
		for _, l := range x.Label {
			kvs = append(kvs, otlp.Attr(l.GetName(), l.GetValue()))
		}
		return otlp.AppendAttrs(nil, field, kvs)
	}
	switch f.GetType() {
	case dto.MetricType_COUNTER, dto.MetricType_GAUGE, dto.MetricType_UNTYPED:
		start := uint64(0)
		if f.GetType() == dto.MetricType_COUNTER {
			m.Instrument, start = otlp.Counter, s.started
		}
		points := make([]otlp.NumberPoint, 0, len(f.Metric))
		for _, x := range f.Metric {
			v := x.GetCounter().GetValue() + x.GetGauge().GetValue() + x.GetUntyped().GetValue() // one of them is set
			points = append(points, otlp.NumberPoint{Attrs: attrs(x, otlp.AttrsOfPoint), Start: start, Time: now, Double: v})
		}
		s.buf = otlp.AppendMetric(s.buf, m, points)
	case dto.MetricType_SUMMARY:
		points := make([]otlp.SummaryPoint, 0, len(f.Metric))
		for _, x := range f.Metric {
			p := otlp.SummaryPoint{Attrs: attrs(x, otlp.AttrsOfPoint), Start: s.started, Time: now, Count: x.GetSummary().GetSampleCount(), Sum: x.GetSummary().GetSampleSum()}
			for _, q := range x.GetSummary().Quantile {
				p.Quantiles = append(p.Quantiles, otlp.Quantile{Quantile: q.GetQuantile(), Value: q.GetValue()})
			}
			points = append(points, p)
		}
		s.buf = otlp.AppendSummary(s.buf, m, points)
	case dto.MetricType_HISTOGRAM:
		points := make([]otlp.HistogramPoint, 0, len(f.Metric))
		for _, x := range f.Metric {
			h := x.GetHistogram()
			p := otlp.HistogramPoint{Attrs: attrs(x, otlp.AttrsOfHistogram), Start: s.started, Time: now, Count: h.GetSampleCount(), Sum: h.GetSampleSum()}
			below := uint64(0)
			for _, b := range h.Bucket {
				p.Bounds = append(p.Bounds, b.GetUpperBound())
				p.Buckets = append(p.Buckets, b.GetCumulativeCount()-below)
				below = b.GetCumulativeCount()
			}
			p.Buckets = append(p.Buckets, h.GetSampleCount()-below)
			points = append(points, p)
		}
		s.buf = otlp.AppendHistogram(s.buf, m, points)
	default:
		return 0
	}
	return len(f.Metric)
}

// unitOf is the UCUM unit that a Prometheus name ends with.
func unitOf(name string) string {
	name = strings.TrimSuffix(name, "_total")
	switch {
	case strings.HasSuffix(name, "_seconds"):
		return "s"
	case strings.HasSuffix(name, "_bytes"):
		return "By"
	}
	return ""
}
