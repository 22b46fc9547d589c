package state

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	"google.golang.org/protobuf/proto"

	"stint/export/otlp"
	"stint/scrape/kube"
)

var update = flag.Bool("update", false, "write the golden files anew")

// at is the time of the first interval of a test: a little after the captures.
var at = time.Date(2026, 11, 22, 15, 50, 0, 0, time.UTC)

// rig is a source with an API server before it and a decoder behind it.
type rig struct {
	*Source
	t        testing.TB
	server   *apiServer
	term     *term
	found    *found
	few, pod *emitter
	reg      *prometheus.Registry
	logged   *logs
	progress *kube.Progress
	now      time.Time
}

// logs are the lines of a log.
type logs struct {
	t  testing.TB
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newSource makes a source that asks a server; out takes its chunks.
func newSource(t testing.TB, cfg Config, url string, out func(*otlp.Chunk)) (*Source, *rig) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf("apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: %q}}]\ncontexts: [{name: c, context: {cluster: c, user: u}}]\ncurrent-context: c\nusers: [{name: u, user: {}}]\n", url)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return newSourceOf(t, cfg, file, out)
}

// newSourceOf is newSource for a kubeconfig file.
func newSourceOf(t testing.TB, cfg Config, kubeconfig string, out func(*otlp.Chunk)) (*Source, *rig) {
	t.Helper()
	client, err := kube.NewClient(kube.Config{Kubeconfig: kubeconfig}, "1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, found: &found{t: t}, reg: prometheus.NewRegistry(), logged: &logs{t: t}, progress: &kube.Progress{}, now: at}
	r.progress.Begin()
	if out == nil {
		out = r.found.take
	}
	r.Source, err = New(cfg, kube.Deps{
		Client: client, Version: "1.2.3", Pool: otlp.NewPool(64<<20, nil), Out: out, Live: func() bool { return true },
		Term: func() int64 { return 1 }, Progress: r.progress, Log: slog.New(slog.NewTextHandler(r.logged, nil)), Registerer: r.reg,
	})
	if err != nil {
		t.Fatal(err)
	}
	return r.Source, r
}

// newRig reads all that a server has.
func newRig(t testing.TB, cfg Config, server *apiServer) *rig {
	t.Helper()
	if err := cfg.Check(); err != nil {
		t.Fatal(err)
	}
	_, r := newSource(t, cfg, server.url, nil)
	r.server = server
	r.start()
	return r
}

// start begins to read, and waits until there is a first answer for each kind.
func (r *rig) start() {
	r.t.Helper()
	s := r.Source
	r.term = s.newTerm()
	r.begin()
	var few, many []*store
	for _, st := range r.term.stores {
		if st.kind.name == pods {
			many = append(many, st)
		} else {
			few = append(few, st)
		}
	}
	r.few, r.pod = s.newEmitter(r.term, few, func() {}), s.newEmitter(r.term, many, func() {})
	r.until("everything is listed", func() bool {
		return !slices.ContainsFunc(r.term.stores, func(st *store) bool { _, ok := st.ready(); return !ok })
	})
}

// begin begins to read.
func (r *rig) begin() {
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	r.read(ctx, r.term, &wg)
	r.t.Cleanup(func() { stop(); wg.Wait() })
}

// until waits for what the reflectors do.
func (r *rig) until(what string, ok func() bool) {
	r.t.Helper()
	r.waits(20*time.Second, what, ok)
}

// waits is until with a time of its own.
func (r *rig) waits(within time.Duration, what string, ok func() bool) {
	r.t.Helper()
	deadline := time.Now().Add(within)
	for !ok() {
		if time.Now().After(deadline) {
			r.t.Fatalf("not so: %s\n%s", what, r.logged)
		}
		time.Sleep(time.Millisecond) // it is another goroutine's turn
	}
}

// caughtUp waits until the rows are those of the server's objects.
func (r *rig) caughtUp(name string) {
	r.t.Helper()
	r.until(name+" are up to date", func() bool {
		r.server.mu.Lock()
		want := map[string]bool{}
		for _, o := range r.server.of(name).objects {
			want[fmt.Sprint(o["metadata"].(map[string]any)["uid"])] = true
		}
		r.server.mu.Unlock()
		n := 0
		for _, st := range r.term.byKind[name] {
			n += st.size()
		}
		return n == len(want)
	})
}

// interval sends everything once more.
func (r *rig) interval() *found {
	r.t.Helper()
	r.found.reset()
	r.now = r.now.Add(10 * time.Second)
	for _, e := range []*emitter{r.few, r.pod} {
		e.interval(context.Background(), r.now, time.Since(r.now)+time.Hour)
	}
	r.found.at = uint64(r.now.UnixNano())
	return r.found
}

// found is what was sent, decoded with the official types.
type found struct {
	t    testing.TB
	at   uint64
	mu   sync.Mutex
	list []*metricspb.ResourceMetrics
}

func (f *found) reset() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = nil
}

// take takes a chunk, as exporters do.
func (f *found) take(c *otlp.Chunk) {
	var md metricspb.MetricsData
	if err := proto.Unmarshal(append(c.Group.AppendFrame(nil, len(c.Data)), c.Data...), &md); err != nil {
		f.t.Errorf("a chunk can't be decoded: %v", err)
	}
	n, err := otlp.Count(otlp.Metrics, append(c.Group.AppendFrame(nil, len(c.Data)), c.Data...))
	if err != nil || n != c.Records || n == 0 {
		f.t.Errorf("%d points handed over as %d: %v", n, c.Records, err)
	}
	f.mu.Lock()
	f.list = append(f.list, md.ResourceMetrics...)
	f.mu.Unlock()
	c.Settle(otlp.Delivered)
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
		if b, ok := kv.Value.Value.(*commonpb.AnyValue_BoolValue); ok {
			v = fmt.Sprint(b.BoolValue)
		}
		words = append(words, kv.Key+"="+v)
	}
	return strings.Join(words, " ")
}

func valueText(p *metricspb.NumberDataPoint) string {
	switch v := p.Value.(type) {
	case *metricspb.NumberDataPoint_AsInt:
		return fmt.Sprint(v.AsInt)
	case *metricspb.NumberDataPoint_AsDouble:
		return fmt.Sprintf("%gd", v.AsDouble)
	}
	if p.Flags == 1 {
		return "ends"
	}
	return "nothing"
}

// text prints everything, a point a line, resources in the order of their names.
func (f *found) text() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	blocks := map[string]string{}
	for _, rm := range f.list {
		sm := rm.ScopeMetrics[0]
		if sm.Scope.Name != scopeName || sm.Scope.Version != "1.2.3" || rm.SchemaUrl != otlp.SchemaURL || sm.SchemaUrl != otlp.SchemaURL {
			f.t.Errorf("scope %v, schema %s %s", sm.Scope, rm.SchemaUrl, sm.SchemaUrl)
		}
		var b strings.Builder
		for _, m := range sm.Metrics {
			kind := "gauge"
			if s := m.GetSum(); s != nil {
				kind = "updown"
				if s.IsMonotonic || s.AggregationTemporality != 2 {
					kind = "?"
				}
			}
			for _, p := range pointsOf(m) {
				start := ""
				if p.StartTimeUnixNano != 0 {
					start = " since " + time.Unix(0, int64(p.StartTimeUnixNano)).UTC().Format("15:04:05")
				}
				if p.TimeUnixNano != f.at {
					start += " at " + time.Unix(0, int64(p.TimeUnixNano)).UTC().String()
				}
				fmt.Fprintf(&b, "  %s{%s} %s %s %s%s\n", m.Name, attrText(p.Attributes), valueText(p), m.Unit, kind, start)
			}
		}
		blocks[attrText(rm.Resource.Attributes)] += b.String()
	}
	var b strings.Builder
	for _, k := range slices.Sorted(func(yield func(string) bool) {
		for k := range blocks {
			if !yield(k) {
				return
			}
		}
	}) {
		fmt.Fprintf(&b, "\n%s\n%s", k, blocks[k])
	}
	return b.String()
}

// of lists the points of a metric under resources with these words, as {attributes} value.
func (f *found) of(metric string, words ...string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []string
	for _, rm := range f.list {
		resource := " " + attrText(rm.Resource.Attributes) + " "
		if slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(resource, " "+w+" ") }) {
			continue
		}
		for _, m := range rm.ScopeMetrics[0].Metrics {
			for _, p := range pointsOf(m) {
				if m.Name == metric {
					all = append(all, fmt.Sprintf("{%s} %s", attrText(p.Attributes), valueText(p)))
				}
			}
		}
	}
	return all
}

// names are the metrics that were sent.
func (f *found) names() map[string]bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	names := map[string]bool{}
	for _, rm := range f.list {
		for _, m := range rm.ScopeMetrics[0].Metrics {
			names[m.Name] = true
		}
	}
	return names
}

func want(t testing.TB, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s is %q, want %q", what, got, want)
	}
}
