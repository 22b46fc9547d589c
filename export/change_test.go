package export

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	"google.golang.org/protobuf/proto"

	"stint/export/otlp"
	"stint/export/spool"
)

// attributes is an OTLP/HTTP server that keeps the attributes of what it is sent: a text of the
// resource's and the record's for each record.
type attributes struct {
	t      *testing.T
	status int // 0 = accept

	mu  sync.Mutex
	got []string
}

func textOf(kvs []*commonpb.KeyValue) string {
	var all []string
	for _, kv := range kvs {
		v := kv.Value.GetStringValue()
		if i, ok := kv.Value.Value.(*commonpb.AnyValue_IntValue); ok {
			v = fmt.Sprint(i.IntValue)
		}
		all = append(all, kv.Key+"="+v)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func (a *attributes) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		a.t.Error(err)
	}
	if a.status != 0 {
		w.WriteHeader(a.status)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if r.URL.Path == "/v1/logs" {
		var m logspb.LogsData
		if err := proto.Unmarshal(b, &m); err != nil {
			a.t.Error(err)
		}
		for _, rl := range m.ResourceLogs {
			for _, l := range rl.ScopeLogs[0].LogRecords {
				a.got = append(a.got, textOf(rl.Resource.Attributes)+"|"+textOf(l.Attributes))
			}
		}
		return
	}
	var m metricspb.MetricsData
	if err := proto.Unmarshal(b, &m); err != nil {
		a.t.Error(err)
	}
	for _, rm := range m.ResourceMetrics {
		for _, metric := range rm.ScopeMetrics[0].Metrics {
			for _, p := range metric.GetGauge().DataPoints {
				a.got = append(a.got, textOf(rm.Resource.Attributes)+"|"+textOf(p.Attributes))
			}
		}
	}
}

func (a *attributes) want(name string, n int, text string) {
	a.t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.got) != n || slices.ContainsFunc(a.got, func(s string) bool { return s != text }) {
		a.t.Errorf("%s got %d records %q, want %d of %q", name, len(a.got), slices.Compact(slices.Clone(a.got)), n, text)
	}
}

// A source in two pipelines, one of which changes attributes, reaches the destinations of both, each with
// what its pipeline says; one that refuses everything costs the other nothing.
func TestPipelinesChangeAttributes(t *testing.T) {
	plain, marked, refusing := &attributes{t: t}, &attributes{t: t}, &attributes{t: t, status: 400}
	exporters := Exporters{}
	for name, a := range map[string]*attributes{"plain": plain, "marked": marked, "refusing": refusing} {
		server := httptest.NewServer(a)
		t.Cleanup(server.Close)
		exporters["otlphttp/"+name] = &OTLPHTTP{Endpoint: server.URL, Compression: "none", Timeout: 10 * time.Second, RetryOnFailure: fast}
	}
	actions := []AttributeAction{
		{Key: "elasticsearch.index.prefix", Value: "node-", Type: "string", Action: "insert", Context: "record"},
		{Key: "n", Value: "7", Type: "int", Action: "upsert", Context: "record"},
		{Key: "container", Action: "delete", Context: "resource"},
		{Key: "env", Value: "test", Type: "string", Action: "insert", Context: "resource"},
	}
	p := Pipelines{}
	for _, signal := range []string{"logs", "metrics"} {
		p[signal] = Pipeline{Sources: []string{"test"}, Exporters: []string{"otlphttp/plain"}}
		p[signal+"/marked"] = Pipeline{Sources: []string{"test"}, Exporters: []string{"otlphttp/marked", "otlphttp/refusing"}, Attributes: actions}
	}
	if err := p.Check(exporters, map[string][]string{"logs": {"test"}, "metrics": {"test"}}); err != nil {
		t.Fatal(err)
	}
	e, err := New(Options{Batch: BatchDefaults(), Exporters: exporters, Pipelines: p, Version: "1.2.3", Log: silent, Registerer: newRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	s := newSource(t)
	deliver(t, e, s.logs("a", 50, 100), s.metrics("a", 20, 10), s.logs("a", 50, 100))
	s.want(0, 3, 0) // one destination has dropped them
	plain.want("plain", 120, "container=a|")
	marked.want("marked", 120, "env=test|elasticsearch.index.prefix=node- n=7")
	if n := drops(t, e, "otlphttp/refusing", 0, invalid) + drops(t, e, "otlphttp/refusing", 0, splitLimit); n != 100 {
		t.Errorf("%d log records are counted as dropped, want 100", n)
	}
}

// Each fault in a list of actions is said with its place.
func TestCheckAttributes(t *testing.T) {
	p := Pipelines{"logs": {Sources: []string{"test"}, Exporters: []string{"debug"}, Attributes: []AttributeAction{
		{Value: "x", Type: "string", Action: "insert", Context: "record"},
		{Key: "k", Value: "x", Type: "string", Action: "delete", Context: "record"},
		{Key: "k", Value: "x", Type: "int", Action: "upsert", Context: "record"},
		{Key: "k", Value: "true", Type: "bool", Action: "upsert", Context: "record"},
	}}}
	err := p.Check(Exporters{"debug": &Debug{}}, map[string][]string{"logs": {"test"}})
	want := `pipelines.logs.attributes[0].key: missing; name the attribute
pipelines.logs.attributes[1].value: set, but action is delete; remove one of the two
pipelines.logs.attributes[2].value: "x" is no int; give one, or another type`
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

// What a change keeps of groups is a few megabytes, however many come by and whatever they lie in: from the disk and
// from clients each request brings its own.
func TestChangeKeepsLittle(t *testing.T) {
	p := Pipeline{Attributes: []AttributeAction{{Key: "env", Value: "test", Type: "string", Action: "insert", Context: "resource"}}}
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	for name, x := range map[string]struct{ resource, record int }{"large requests": {100, 1 << 20}, "large resources": {256 << 10, 100}} {
		t.Run(name, func(t *testing.T) {
			q := &queue{out: &out{log: silent}, lane: &lane{}, change: newChange(p)}
			group := otlp.NewGroup([]otlp.KeyValue{otlp.Attr("k", strings.Repeat("x", x.resource))}, "", "", "")
			r := &request{signal: otlp.Logs, pieces: []piece{{group, otlp.AppendLogRecord(nil, &otlp.LogRecord{Time: 1, Body: make([]byte, x.record)}), 1}}, records: 1}
			before := heap()
			for range 200 {
				b := q.replay(&spool.Entry{Signal: uint32(otlp.Logs), Records: 1, Request: [][]byte{r.bytes()}})
				if _, _, err := q.change.apply(b.whole); err != nil {
					t.Fatal(err)
				}
				q.change.release()
			}
			if kept := heap() - before; kept > 24<<20 {
				t.Errorf("%d MiB are kept", kept>>20)
			}
			runtime.KeepAlive(q)
		})
	}
}

// A record that can't be changed, because a client's framing of it is broken, costs itself and not those of others
// in its batch.
func TestChangeOfBrokenRecords(t *testing.T) {
	for _, signal := range []otlp.Signal{otlp.Logs, otlp.Metrics} {
		t.Run(signal.String(), func(t *testing.T) {
			a := &attributes{t: t}
			server := httptest.NewServer(a)
			t.Cleanup(server.Close)
			x := Exporters{"otlphttp": &OTLPHTTP{Endpoint: server.URL, Compression: "none", Timeout: 10 * time.Second, RetryOnFailure: fast}}
			p := Pipelines{signal.String(): {Sources: []string{"test"}, Exporters: []string{"otlphttp"}, Attributes: []AttributeAction{
				{Key: "n", Value: "7", Type: "int", Action: "upsert", Context: "record"},
			}}}
			e, err := New(Options{Batch: BatchDefaults(), Exporters: x, Pipelines: p, Version: "1", Log: silent, Registerer: newRegistry()})
			if err != nil {
				t.Fatal(err)
			}
			s := newSource(t)
			others, broken := s.make(signal, "a", 50, 100), s.make(signal, "a", 2, 100)
			record := []byte{2<<3 | 2, 2, 0xff, 0xff}
			if signal == otlp.Metrics {
				record = []byte{2<<3 | 2, 6, 5<<3 | 2, 4, 1<<3 | 2, 2, 0xff, 0xff} // metric, gauge, point
			}
			broken.Data = append(broken.Data[:len(broken.Data):len(broken.Data)], record...)
			broken.Records++
			if n, err := otlp.Count(signal, append(broken.Group.AppendFrame(nil, len(broken.Data)), broken.Data...)); n != 3 || err != nil {
				t.Fatalf("the gateway would not take it: %d, %v", n, err)
			}
			deliver(t, e, others, broken)
			s.want(0, 2, 0) // they are of one batch
			a.want("others", 52, "container=a|n=7")
			if n := drops(t, e, "otlphttp", signal, invalid); n != 1 {
				t.Errorf("%d records are counted as dropped, want 1", n)
			}
		})
	}
}
