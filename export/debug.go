package export

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"time"

	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	colmetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	"google.golang.org/protobuf/proto"

	"stint/export/otlp"
)

// debugBytes a second are written at most: printing is for looking, not for keeping.
const debugBytes = 64 << 10

// debug writes what it is given to standard error: a line a batch, or every field. It accepts
// everything and delays nobody; what is over its rate is left out and counted in the text.
type debug struct {
	detailed bool
	w        io.Writer

	mu      sync.Mutex
	buf     []byte
	budget  int
	refill  time.Time
	skipped int // batches since the last that was written
}

func newDebug(c *Debug) *debug {
	return &debug{detailed: c.Verbosity == "detailed", w: os.Stderr, budget: debugBytes, refill: time.Now()}
}

func (d *debug) close() {}

func (d *debug) send(_ context.Context, r *request) Verdict {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	d.budget = min(d.budget+int(now.Sub(d.refill).Seconds()*debugBytes), debugBytes)
	d.refill = now
	if d.budget <= 0 {
		d.skipped++
		return Verdict{Kind: OK}
	}
	d.buf = fmt.Appendf(d.buf[:0], "debug: %s resources=%d records=%d", r.signal, r.resources(), r.records)
	if d.skipped > 0 {
		d.buf = fmt.Appendf(d.buf, " batches_left_out=%d", d.skipped)
		d.skipped = 0
	}
	d.buf = append(d.buf, '\n')
	if d.detailed {
		if err := d.appendRequest(r); err != nil {
			return Verdict{Kind: Drop, Reason: "malformed", Err: err}
		}
	}
	if len(d.buf) > d.budget {
		d.buf = append(d.buf[:max(d.budget, 0)], "\ndebug: the rest of this batch is left out\n"...)
	}
	d.budget -= len(d.buf)
	d.w.Write(d.buf) // a closed terminal is no reason to hold data back
	return Verdict{Kind: OK}
}

func (d *debug) appendRequest(r *request) error {
	switch r.signal {
	case otlp.Logs:
		var m collogs.ExportLogsServiceRequest
		if err := proto.Unmarshal(r.bytes(), &m); err != nil {
			return err
		}
		for _, rl := range m.ResourceLogs {
			d.resource(rl.Resource)
			for _, sl := range rl.ScopeLogs {
				d.scope(sl.Scope)
				for _, l := range sl.LogRecords {
					d.buf = fmt.Appendf(d.buf, "    log time=%s observed=%s", stamp(l.TimeUnixNano), stamp(l.ObservedTimeUnixNano))
					if l.SeverityNumber != 0 || l.SeverityText != "" {
						d.buf = fmt.Appendf(d.buf, " severity=%d %q", l.SeverityNumber, l.SeverityText)
					}
					if len(l.TraceId) > 0 || len(l.SpanId) > 0 {
						d.buf = fmt.Appendf(d.buf, " trace_id=%x span_id=%x", l.TraceId, l.SpanId)
					}
					d.buf = append(d.buf, " body="...)
					d.value(l.Body)
					d.attrs(l.Attributes)
					d.buf = append(d.buf, '\n')
					if len(d.buf) > debugBytes {
						return nil
					}
				}
			}
		}
	case otlp.Metrics:
		var m colmetrics.ExportMetricsServiceRequest
		if err := proto.Unmarshal(r.bytes(), &m); err != nil {
			return err
		}
		for _, rm := range m.ResourceMetrics {
			d.resource(rm.Resource)
			for _, sm := range rm.ScopeMetrics {
				d.scope(sm.Scope)
				for _, metric := range sm.Metrics {
					d.metric(metric)
				}
			}
		}
	case otlp.Traces:
		var m coltrace.ExportTraceServiceRequest
		if err := proto.Unmarshal(r.bytes(), &m); err != nil {
			return err
		}
		for _, rs := range m.ResourceSpans {
			d.resource(rs.Resource)
			for _, ss := range rs.ScopeSpans {
				d.scope(ss.Scope)
				for _, s := range ss.Spans {
					d.buf = fmt.Appendf(d.buf, "    span %q trace_id=%x span_id=%x parent=%x start=%s end=%s", s.Name, s.TraceId, s.SpanId, s.ParentSpanId, stamp(s.StartTimeUnixNano), stamp(s.EndTimeUnixNano))
					d.attrs(s.Attributes)
					d.buf = append(d.buf, '\n')
				}
			}
		}
	}
	return nil
}

func (d *debug) resource(r *resourcepb.Resource) {
	d.buf = append(d.buf, "  resource"...)
	d.attrs(r.GetAttributes())
	d.buf = append(d.buf, '\n')
}

func (d *debug) scope(s *commonpb.InstrumentationScope) {
	d.buf = fmt.Appendf(d.buf, "   scope %q %q", s.GetName(), s.GetVersion())
	d.attrs(s.GetAttributes())
	d.buf = append(d.buf, '\n')
}

func (d *debug) metric(m *metricspb.Metric) {
	head := func(kind string) {
		d.buf = fmt.Appendf(d.buf, "    metric %s unit=%q %s\n", m.Name, m.Unit, kind)
	}
	numbers := func(points []*metricspb.NumberDataPoint) {
		for _, p := range points {
			d.point(p.StartTimeUnixNano, p.TimeUnixNano)
			switch v := p.Value.(type) {
			case *metricspb.NumberDataPoint_AsInt:
				d.buf = strconv.AppendInt(append(d.buf, " value="...), v.AsInt, 10)
			case *metricspb.NumberDataPoint_AsDouble:
				d.buf = strconv.AppendFloat(append(d.buf, " value="...), v.AsDouble, 'g', -1, 64)
			}
			d.attrs(p.Attributes)
			d.buf = append(d.buf, '\n')
		}
	}
	switch data := m.Data.(type) {
	case *metricspb.Metric_Gauge:
		head("gauge")
		numbers(data.Gauge.DataPoints)
	case *metricspb.Metric_Sum:
		head(fmt.Sprintf("sum monotonic=%t temporality=%s", data.Sum.IsMonotonic, data.Sum.AggregationTemporality))
		numbers(data.Sum.DataPoints)
	case *metricspb.Metric_Histogram:
		head("histogram")
		for _, p := range data.Histogram.DataPoints {
			d.point(p.StartTimeUnixNano, p.TimeUnixNano)
			d.buf = fmt.Appendf(d.buf, " count=%d sum=%g bounds=%v buckets=%v", p.Count, p.GetSum(), p.ExplicitBounds, p.BucketCounts)
			d.attrs(p.Attributes)
			d.buf = append(d.buf, '\n')
		}
	case *metricspb.Metric_ExponentialHistogram:
		head("exponential histogram")
		for _, p := range data.ExponentialHistogram.DataPoints {
			d.point(p.StartTimeUnixNano, p.TimeUnixNano)
			d.buf = fmt.Appendf(d.buf, " count=%d sum=%g scale=%d", p.Count, p.GetSum(), p.Scale)
			d.attrs(p.Attributes)
			d.buf = append(d.buf, '\n')
		}
	case *metricspb.Metric_Summary:
		head("summary")
		for _, p := range data.Summary.DataPoints {
			d.point(p.StartTimeUnixNano, p.TimeUnixNano)
			d.buf = fmt.Appendf(d.buf, " count=%d sum=%g", p.Count, p.Sum)
			for _, q := range p.QuantileValues {
				d.buf = fmt.Appendf(d.buf, " q%g=%g", q.Quantile, q.Value)
			}
			d.attrs(p.Attributes)
			d.buf = append(d.buf, '\n')
		}
	}
}

func (d *debug) point(start, end uint64) {
	d.buf = append(d.buf, "     point"...)
	if start != 0 {
		d.buf = append(append(d.buf, " start="...), stamp(start)...)
	}
	d.buf = append(append(d.buf, " time="...), stamp(end)...)
}

func (d *debug) attrs(kvs []*commonpb.KeyValue) {
	for _, kv := range kvs {
		d.buf = append(append(append(d.buf, ' '), kv.Key...), '=')
		d.value(kv.Value)
	}
}

func (d *debug) value(v *commonpb.AnyValue) {
	switch v := v.GetValue().(type) {
	case *commonpb.AnyValue_StringValue:
		d.buf = strconv.AppendQuote(d.buf, v.StringValue)
	case *commonpb.AnyValue_BoolValue:
		d.buf = strconv.AppendBool(d.buf, v.BoolValue)
	case *commonpb.AnyValue_IntValue:
		d.buf = strconv.AppendInt(d.buf, v.IntValue, 10)
	case *commonpb.AnyValue_DoubleValue:
		d.buf = strconv.AppendFloat(d.buf, v.DoubleValue, 'g', -1, 64)
	case *commonpb.AnyValue_BytesValue:
		d.buf = hex.AppendEncode(append(d.buf, "0x"...), v.BytesValue)
	case *commonpb.AnyValue_ArrayValue:
		d.buf = append(d.buf, '[')
		for i, e := range v.ArrayValue.GetValues() {
			if i > 0 {
				d.buf = append(d.buf, ' ')
			}
			d.value(e)
		}
		d.buf = append(d.buf, ']')
	case *commonpb.AnyValue_KvlistValue:
		d.buf = append(d.buf, '{')
		d.attrs(v.KvlistValue.GetValues())
		d.buf = append(d.buf, " }"...)
	default:
		d.buf = append(d.buf, "null"...)
	}
}

// stamp prints ns since 1970.
func stamp(ns uint64) string {
	if ns == 0 {
		return "-"
	}
	return time.Unix(0, int64(ns)).UTC().Format(time.RFC3339Nano)
}
