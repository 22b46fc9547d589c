// Package receiver is an OTLP server over HTTP that keeps all that it gets, to be asked for by a test.
package receiver

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
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

// Receiver keeps what it gets in memory, without a limit.
type Receiver struct {
	Address string
	Refuse  atomic.Bool // everything, as a destination that is down

	arrived chan struct{} // something came since the last look

	mu     sync.Mutex // guards everything below
	logs   []Log
	points map[string][]Point // by metric
	fault  error
}

// Log is a record.
type Log struct {
	Body     string
	Resource Words
	Attrs    Words
}

// Point is of a counter or gauge.
type Point struct {
	At       time.Time
	Value    float64
	Resource Words
	Attrs    Words
}

// Words are attributes: k=v k=v.
type Words string

// New listens, until the process ends.
func New(address string) (*Receiver, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	r := &Receiver{Address: l.Addr().String(), arrived: make(chan struct{}, 1), points: map[string][]Point{}}
	go http.Serve(l, r)
	return r, nil
}

func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if r.Refuse.Load() {
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

func (r *Receiver) takeLogs(body []byte) error {
	var request collogs.ExportLogsServiceRequest
	if err := proto.Unmarshal(body, &request); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rl := range request.ResourceLogs {
		resource := words(rl.Resource.Attributes)
		for _, sl := range rl.ScopeLogs {
			for _, record := range sl.LogRecords {
				r.logs = append(r.logs, Log{record.Body.GetStringValue(), resource, words(record.Attributes)})
			}
		}
	}
	return nil
}

func (r *Receiver) takeMetrics(body []byte) error {
	var request colmetrics.ExportMetricsServiceRequest
	if err := proto.Unmarshal(body, &request); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rm := range request.ResourceMetrics {
		resource := words(rm.Resource.Attributes)
		for _, sm := range rm.ScopeMetrics {
			for _, m := range sm.Metrics {
				for _, p := range pointsOf(m) {
					r.points[m.Name] = append(r.points[m.Name], Point{
						time.Unix(0, int64(p.TimeUnixNano)), p.GetAsDouble() + float64(p.GetAsInt()), resource, words(p.Attributes),
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

func words(kvs []*commonpb.KeyValue) Words {
	var all []string
	for _, kv := range kvs {
		value := kv.Value.GetStringValue()
		if n, ok := kv.Value.GetValue().(*commonpb.AnyValue_IntValue); ok {
			value = strconv.FormatInt(n.IntValue, 10)
		}
		all = append(all, kv.Key+"="+value)
	}
	return Words(strings.Join(all, " "))
}

// Has says whether all of these words are there. A value that has spaces is more than one.
func (w Words) Has(words string) bool {
	have := " " + string(w) + " "
	for word := range strings.FieldsSeq(words) {
		if !strings.Contains(have, " "+word+" ") {
			return false
		}
	}
	return true
}

// Of lists the points of a metric under resources or with attributes that have all these words.
func (r *Receiver) Of(metric, words string) (all []Point) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.points[metric] {
		if (p.Resource + " " + p.Attrs).Has(words) {
			all = append(all, p)
		}
	}
	return all
}

// Logs lists the records whose resources have all these words.
func (r *Receiver) Logs(words string) (all []Log) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var last Words // records of one resource come one after the other
	has := false
	for i, l := range r.logs {
		if i == 0 || l.Resource != last {
			last, has = l.Resource, l.Resource.Has(words)
		}
		if has {
			all = append(all, l)
		}
	}
	return all
}

// Until waits until something has arrived.
func (r *Receiver) Until(ctx context.Context, what string, done func() bool) error {
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
