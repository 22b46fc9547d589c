package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	colmetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	"google.golang.org/protobuf/proto"
)

// receiver is an OTLP server that keeps what it gets.
type receiver struct {
	address string
	arrived chan struct{} // something came since the last look
	refuse  atomic.Bool   // everything, as a destination that is down

	mu     sync.Mutex // guards everything below
	logs   []logRecord
	points map[string][]point // by metric
	fault  error
}

type logRecord struct{ service, body string }

type point struct {
	at       time.Time
	value    float64
	resource string // k=v k=v
	attrs    string
}

func newReceiver() (*receiver, error) {
	l, err := net.Listen("tcp", "127.0.0.1:4318")
	if err != nil {
		return nil, err
	}
	r := &receiver{address: l.Addr().String(), arrived: make(chan struct{}, 1), points: map[string][]point{}}
	go http.Serve(l, r) // until the machine is switched off
	return r, nil
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if r.refuse.Load() {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	body, err := io.ReadAll(req.Body)
	if err == nil {
		switch req.URL.Path {
		case "/v1/logs":
			err = r.takeLogs(body)
		case "/v1/metrics":
			err = r.takeMetrics(body)
		default:
			err = fmt.Errorf("request for %s", req.URL.Path)
		}
	}
	if err != nil {
		r.mu.Lock()
		r.fault = err
		r.mu.Unlock()
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/x-protobuf") // an empty answer: all is taken
	select {
	case r.arrived <- struct{}{}:
	default:
	}
}

func (r *receiver) takeLogs(body []byte) error {
	var request collogs.ExportLogsServiceRequest
	if err := proto.Unmarshal(body, &request); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rl := range request.ResourceLogs {
		service := attr(rl.Resource.Attributes, "service.name")
		for _, sl := range rl.ScopeLogs {
			for _, record := range sl.LogRecords {
				r.logs = append(r.logs, logRecord{service, record.Body.GetStringValue()})
			}
		}
	}
	return nil
}

func (r *receiver) takeMetrics(body []byte) error {
	var request colmetrics.ExportMetricsServiceRequest
	if err := proto.Unmarshal(body, &request); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rm := range request.ResourceMetrics {
		resource := attrText(rm.Resource.Attributes)
		for _, sm := range rm.ScopeMetrics {
			for _, m := range sm.Metrics {
				for _, p := range pointsOf(m) {
					r.points[m.Name] = append(r.points[m.Name], point{
						time.Unix(0, int64(p.TimeUnixNano)), p.GetAsDouble() + float64(p.GetAsInt()), resource, attrText(p.Attributes),
					})
				}
			}
		}
	}
	return nil
}

func pointsOf(m *metricspb.Metric) []*metricspb.NumberDataPoint {
	if s := m.GetSum(); s != nil {
		return s.DataPoints
	}
	return m.GetGauge().GetDataPoints()
}

func attr(kvs []*commonpb.KeyValue, key string) string {
	for _, kv := range kvs {
		if kv.Key == key {
			return kv.Value.GetStringValue()
		}
	}
	return ""
}

func attrText(kvs []*commonpb.KeyValue) string {
	var words []string
	for _, kv := range kvs {
		words = append(words, kv.Key+"="+kv.Value.GetStringValue())
	}
	return strings.Join(words, " ")
}

// of lists the points of a metric under resources or with attributes that have all these words.
func (r *receiver) of(metric, words string) (all []point) {
	r.mu.Lock()
	defer r.mu.Unlock()
next:
	for _, p := range r.points[metric] {
		have := " " + p.resource + " " + p.attrs + " "
		for w := range strings.FieldsSeq(words) {
			if !strings.Contains(have, " "+w+" ") {
				continue next
			}
		}
		all = append(all, p)
	}
	return all
}

// count is how many records of a service have a body that begins so.
func (r *receiver) count(service, begin string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.logs {
		if l.service == service && strings.HasPrefix(l.body, begin) {
			n++
		}
	}
	return n
}

// until waits until something has arrived.
func (r *receiver) until(ctx context.Context, what string, done func() bool) error {
	limit := time.NewTimer(2 * time.Minute)
	defer limit.Stop()
	for {
		if done() {
			return nil
		}
		select {
		case <-r.arrived:
		case <-limit.C:
			r.mu.Lock()
			defer r.mu.Unlock()
			return fmt.Errorf("no %s after two minutes; %d metrics and %d log records came; last fault: %v", what, len(r.points), len(r.logs), r.fault)
		case <-ctx.Done():
			return fmt.Errorf("no %s: %w", what, ctx.Err())
		}
	}
}
