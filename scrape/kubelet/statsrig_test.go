package kubelet

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	"google.golang.org/protobuf/proto"

	"stint/export/otlp"
	"stint/scrape/dedup"
)

// rig is a Stats with what it needs around it.
type rig struct {
	*Stats
	t       testing.TB
	overlap *dedup.Table
	table   *Pods
	reg     *prometheus.Registry
}

func newRig(t testing.TB, cfg Config, client *Client, pods ...*Pod) *rig {
	t.Helper()
	r := &rig{t: t, overlap: dedup.New(dedup.Defaults(), nil), reg: prometheus.NewRegistry()}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	var err error
	if client == nil {
		cfg.Endpoint = "https://127.0.0.1:1"
		if client, err = NewClient(cfg, log); err != nil {
			t.Fatal(err)
		}
	}
	if r.table, err = NewPods(cfg, client, log, prometheus.NewRegistry()); err != nil {
		t.Fatal(err)
	}
	for _, p := range pods {
		r.table.put(p, sourcePoll)
	}
	if r.Stats, err = NewStats(cfg, client, r.table, "lab-node-1", "1.2.3", []otlp.KeyValue{otlp.Attr("host.name", "lab")}, r.overlap, log, r.reg); err != nil {
		t.Fatal(err)
	}
	return r
}

// take is a poll of an answer that is there already.
func (s *Stats) take(at time.Time, body io.Reader, hand func(*otlp.Group, []byte, int)) error {
	s.begin(at)
	if err := s.summary.read(body); err != nil {
		return err
	}
	s.finish(at, hand)
	return nil
}

// found is what a scrape gave, decoded with the official types.
type found struct {
	t    testing.TB
	list []*metricspb.ResourceMetrics
}

func (f *found) hand(g *otlp.Group, data []byte, points int) {
	f.t.Helper()
	var md metricspb.MetricsData
	if err := proto.Unmarshal(append(g.AppendFrame(nil, len(data)), data...), &md); err != nil {
		f.t.Fatal(err)
	}
	n := 0
	for _, m := range md.ResourceMetrics[0].ScopeMetrics[0].Metrics {
		n += len(pointsOf(m))
	}
	if n != points {
		f.t.Errorf("%d points handed over as %d", n, points)
	}
	f.list = append(f.list, md.ResourceMetrics...)
}

// poll takes an answer that must be good.
func (r *rig) poll(at time.Time, body []byte) *found {
	r.t.Helper()
	f := &found{t: r.t}
	if err := r.take(at, bytes.NewReader(body), f.hand); err != nil {
		r.t.Fatal(err)
	}
	return f
}

func pointsOf(m *metricspb.Metric) []*metricspb.NumberDataPoint {
	if s := m.GetSum(); s != nil {
		return s.DataPoints
	}
	return m.GetGauge().GetDataPoints()
}

func attrText(kvs []*commonpb.KeyValue) string {
	var words []string
	for _, kv := range kvs {
		v := kv.Value.GetStringValue()
		for _, x := range kv.Value.GetArrayValue().GetValues() {
			v += "[" + x.GetStringValue() + "]"
		}
		words = append(words, kv.Key+"="+v)
	}
	return strings.Join(words, " ")
}

func clock(ns uint64) string { return time.Unix(0, int64(ns)).UTC().Format("15:04:05") }

// text prints everything, a point a line.
func (f *found) text() string {
	var b strings.Builder
	last := ""
	for _, rm := range f.list {
		sm := rm.ScopeMetrics[0]
		if head := fmt.Sprintf("\n%s (%s %s)\n", attrText(rm.Resource.Attributes), sm.Scope.Name, sm.Scope.Version); head != last {
			b.WriteString(head)
			last = head
		}
		for _, m := range sm.Metrics {
			kind := "gauge"
			if s := m.GetSum(); s != nil && s.IsMonotonic {
				kind = "counter"
			} else if s != nil {
				kind = "updown"
			}
			for _, p := range pointsOf(m) {
				start := ""
				if p.StartTimeUnixNano != 0 {
					start = " since " + clock(p.StartTimeUnixNano)
				}
				fmt.Fprintf(&b, "  %s{%s} %s %s %s%s at %s\n", m.Name, attrText(p.Attributes), valueText(p), m.Unit, kind, start, clock(p.TimeUnixNano))
			}
		}
	}
	return b.String()
}

func valueText(p *metricspb.NumberDataPoint) string {
	if v, ok := p.Value.(*metricspb.NumberDataPoint_AsInt); ok {
		return fmt.Sprint(v.AsInt)
	}
	return fmt.Sprintf("%gd", p.GetAsDouble())
}

// of lists the points of a metric under resources with these words, as {attributes} value @time.
func (f *found) of(metric string, words ...string) []string {
	var all []string
	for _, rm := range f.list {
		resource := " " + attrText(rm.Resource.Attributes) + " "
		if slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(resource, " "+w+" ") }) {
			continue
		}
		for _, m := range rm.ScopeMetrics[0].Metrics {
			for _, p := range pointsOf(m) {
				if m.Name == metric {
					all = append(all, fmt.Sprintf("{%s} %s @%s", attrText(p.Attributes), valueText(p), clock(p.TimeUnixNano)))
				}
			}
		}
	}
	return all
}

func (f *found) want(metric string, want ...string) {
	f.t.Helper()
	if got := f.of(metric); !slices.Equal(got, want) {
		f.t.Errorf("%s is %q, want %q", metric, got, want)
	}
}

func (f *found) names() map[string]bool {
	names := map[string]bool{}
	for _, rm := range f.list {
		for _, m := range rm.ScopeMetrics[0].Metrics {
			names[m.Name] = true
		}
	}
	return names
}

// day is that of the captures.
func day(clock string) time.Time {
	t, err := time.Parse(time.RFC3339, "2026-11-22T"+clock+"Z")
	if err != nil {
		panic(err)
	}
	return t
}

// everything turns all metrics on.
func everything() Config {
	cfg := Defaults()
	cfg.Node.Detail, cfg.Pods.Detail, cfg.Containers.Detail = true, true, true
	cfg.Volumes, cfg.Utilization = "all", true
	cfg.RootPath = "testdata/root"
	return cfg
}
