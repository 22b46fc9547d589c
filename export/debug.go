package export

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"stint/export/otlp"
)

// debugBytes a second are written at most: printing is for looking, not for keeping.
const debugBytes = 64 << 10

// debugGrace is how long close waits for the last output: a terminal may be stopped.
const debugGrace = time.Second

// Debug is a destination that writes what it is given to standard error, for looking at.
type Debug struct {
	Verbosity string `yaml:"verbosity" enum:"basic,normal,detailed" doc:"basic: a line a batch; normal: a line a record as well; detailed: every field of every record"`
}

// Takes: every signal.
func (d *Debug) Takes(string) bool { return true }

func (d *Debug) check(string) []error { return nil }

// debug writes what it is given to standard error: a line a batch, or every field. It accepts
// everything and delays nobody; what is over its rate, or more than the reader of standard
// error takes, is left out and counted in the text.
type debug struct {
	verbosity string
	w         io.Writer

	mu      sync.Mutex // guards everything below
	budget  int
	refill  time.Time
	skipped int           // batches since the last that was written
	waiting []byte        // to be written; at most debugBytes and a line or two
	writing chan struct{} // closed when nothing waits any more; nil while nobody writes
}

func newDebug(c *Debug, w io.Writer) *debug {
	return &debug{verbosity: c.Verbosity, w: w, budget: debugBytes, refill: time.Now()}
}

func (d *debug) close() {
	d.mu.Lock()
	writing := d.writing
	d.mu.Unlock()
	if writing != nil {
		select {
		case <-writing:
		case <-time.After(debugGrace):
		}
	}
}

func (d *debug) send(_ context.Context, r *request) Verdict {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	d.budget = min(d.budget+int(now.Sub(d.refill).Seconds()*debugBytes), debugBytes)
	d.refill = now
	if d.budget < 1<<10 || len(d.waiting) > debugBytes { // a line or two always fit
		d.skipped++
		return Verdict{Kind: OK}
	}
	p := printer{detailed: d.verbosity == "detailed"}
	p.printf("debug: %s resources=%d records=%d", r.signal, r.resources(), r.records)
	if d.skipped > 0 {
		p.printf(" batches_left_out=%d", d.skipped)
		d.skipped = 0
	}
	p.printf("\n")
	if d.verbosity != "basic" {
		whole := p.request(r)
		if len(p.text) > d.budget {
			p.text, whole = p.text[:bytes.LastIndexByte(p.text[:d.budget], '\n')+1], false
		}
		if !whole {
			p.printf("debug: the rest of this batch is left out\n")
		}
	}
	d.budget -= len(p.text)
	d.waiting = append(d.waiting, p.text...)
	if d.writing == nil {
		d.writing = make(chan struct{})
		go d.write()
	}
	return Verdict{Kind: OK}
}

// write writes what waits. It is the one goroutine that a reader who does not read can hold up.
func (d *debug) write() {
	d.mu.Lock()
	for len(d.waiting) > 0 {
		text := d.waiting
		d.waiting = nil
		d.mu.Unlock()
		d.w.Write(text) // a closed terminal is no reason to hold data back
		d.mu.Lock()
	}
	close(d.writing)
	d.writing = nil
	d.mu.Unlock()
}

// printer is text that grows.
type printer struct {
	text     []byte
	detailed bool // else only a line a record
}

// request prints what it can of every field and says whether that is all. Only as much as can
// be shown is decoded: the objects of a full batch would take more memory than the agent.
func (p *printer) request(r *request) (whole bool) {
	whole = true
	for {
		_, size := r.buffers()
		if size <= 2*debugBytes {
			break
		}
		first, _, ok := r.split()
		if !ok {
			break
		}
		r, whole = first, false
	}
	// The messages of the data model are those of the export calls, without their services.
	var err error
	switch r.signal {
	case otlp.Logs:
		var m logspb.LogsData
		err = proto.Unmarshal(r.bytes(), &m)
		for _, rl := range m.ResourceLogs {
			p.resource(rl.Resource)
			for _, sl := range rl.ScopeLogs {
				p.scope(sl.Scope)
				for _, l := range sl.LogRecords {
					p.log(l)
				}
			}
		}
	case otlp.Metrics:
		var m metricspb.MetricsData
		err = proto.Unmarshal(r.bytes(), &m)
		for _, rm := range m.ResourceMetrics {
			p.resource(rm.Resource)
			for _, sm := range rm.ScopeMetrics {
				p.scope(sm.Scope)
				for _, metric := range sm.Metrics {
					p.metric(metric)
				}
			}
		}
	case otlp.Traces:
		var m tracepb.TracesData
		err = proto.Unmarshal(r.bytes(), &m)
		for _, rs := range m.ResourceSpans {
			p.resource(rs.Resource)
			for _, ss := range rs.ScopeSpans {
				p.scope(ss.Scope)
				for _, s := range ss.Spans {
					p.printf("    span %q trace_id=%x span_id=%x parent=%x start=%s end=%s", s.Name, s.TraceId, s.SpanId, s.ParentSpanId, stamp(s.StartTimeUnixNano), stamp(s.EndTimeUnixNano))
					p.attrs(s.Attributes)
					p.printf("\n")
				}
			}
		}
	}
	if err != nil {
		p.printf("debug: this batch can't be read: %v\n", err)
	}
	return whole
}

func (p *printer) printf(format string, args ...any) { p.text = fmt.Appendf(p.text, format, args...) }

func (p *printer) log(l *logspb.LogRecord) {
	p.printf("    log time=%s", stamp(l.TimeUnixNano))
	if p.detailed || l.TimeUnixNano == 0 {
		p.printf(" observed=%s", stamp(l.ObservedTimeUnixNano))
	}
	if l.SeverityNumber != 0 || l.SeverityText != "" {
		p.printf(" severity=%d %q", l.SeverityNumber, l.SeverityText)
	}
	if len(l.TraceId) > 0 || len(l.SpanId) > 0 {
		p.printf(" trace_id=%x span_id=%x", l.TraceId, l.SpanId)
	}
	if l.EventName != "" {
		p.printf(" event=%q", l.EventName)
	}
	p.printf(" body=")
	p.value(l.Body)
	p.attrs(l.Attributes)
	p.printf("\n")
}

func (p *printer) resource(r *resourcepb.Resource) {
	if !p.detailed {
		return
	}
	p.printf("  resource")
	p.attrs(r.GetAttributes())
	p.printf("\n")
}

func (p *printer) scope(s *commonpb.InstrumentationScope) {
	if !p.detailed {
		return
	}
	p.printf("   scope %q %q", s.GetName(), s.GetVersion())
	p.attrs(s.GetAttributes())
	p.printf("\n")
}

func (p *printer) metric(m *metricspb.Metric) {
	head := func(kind string) {
		if p.detailed {
			p.printf("    metric %s unit=%q %s\n", name(m.Name), m.Unit, kind)
		}
	}
	numbers := func(points []*metricspb.NumberDataPoint) {
		for _, n := range points {
			p.point(m, n.StartTimeUnixNano, n.TimeUnixNano)
			switch v := n.Value.(type) {
			case *metricspb.NumberDataPoint_AsInt:
				p.printf(" value=%d", v.AsInt)
			case *metricspb.NumberDataPoint_AsDouble:
				p.printf(" value=%g", v.AsDouble)
			}
			p.attrs(n.Attributes)
			p.printf("\n")
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
		for _, h := range data.Histogram.DataPoints {
			p.point(m, h.StartTimeUnixNano, h.TimeUnixNano)
			p.printf(" count=%d sum=%g bounds=%v buckets=%v", h.Count, h.GetSum(), h.ExplicitBounds, h.BucketCounts)
			p.attrs(h.Attributes)
			p.printf("\n")
		}
	case *metricspb.Metric_ExponentialHistogram:
		head("exponential histogram")
		for _, h := range data.ExponentialHistogram.DataPoints {
			p.point(m, h.StartTimeUnixNano, h.TimeUnixNano)
			p.printf(" count=%d sum=%g scale=%d", h.Count, h.GetSum(), h.Scale)
			p.attrs(h.Attributes)
			p.printf("\n")
		}
	case *metricspb.Metric_Summary:
		head("summary")
		for _, s := range data.Summary.DataPoints {
			p.point(m, s.StartTimeUnixNano, s.TimeUnixNano)
			p.printf(" count=%d sum=%g", s.Count, s.Sum)
			for _, q := range s.QuantileValues {
				p.printf(" q%g=%g", q.Quantile, q.Value)
			}
			p.attrs(s.Attributes)
			p.printf("\n")
		}
	}
}

func (p *printer) point(m *metricspb.Metric, start, end uint64) {
	if p.detailed {
		p.printf("     point")
	} else {
		p.printf("    metric %s", name(m.Name))
	}
	if start != 0 && p.detailed {
		p.printf(" start=%s", stamp(start))
	}
	p.printf(" time=%s", stamp(end))
}

func (p *printer) attrs(kvs []*commonpb.KeyValue) {
	for _, kv := range kvs {
		p.printf(" %s=", name(kv.Key))
		p.value(kv.Value)
	}
}

func (p *printer) value(v *commonpb.AnyValue) {
	switch v := v.GetValue().(type) {
	case *commonpb.AnyValue_StringValue:
		p.printf("%q", v.StringValue)
	case *commonpb.AnyValue_BoolValue:
		p.printf("%t", v.BoolValue)
	case *commonpb.AnyValue_IntValue:
		p.printf("%d", v.IntValue)
	case *commonpb.AnyValue_DoubleValue:
		p.printf("%g", v.DoubleValue)
	case *commonpb.AnyValue_BytesValue:
		p.printf("0x%x", v.BytesValue)
	case *commonpb.AnyValue_ArrayValue:
		p.printf("[")
		for i, e := range v.ArrayValue.GetValues() {
			if i > 0 {
				p.printf(" ")
			}
			p.value(e)
		}
		p.printf("]")
	case *commonpb.AnyValue_KvlistValue:
		p.printf("{")
		p.attrs(v.KvlistValue.GetValues())
		p.printf(" }")
	default:
		p.printf("null")
	}
}

// name is s as it is if it can't be mistaken for anything else, else in quotes: what a pod
// writes must not reach a terminal as a command.
func name(s string) string {
	plain := func(r rune) bool { return r > ' ' && r < 0x7f && r != '=' && r != '"' }
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return strconv.Quote(s)
}

// stamp prints ns since 1970.
func stamp(ns uint64) string {
	if ns == 0 {
		return "-"
	}
	return time.Unix(0, int64(ns)).UTC().Format(time.RFC3339Nano)
}
