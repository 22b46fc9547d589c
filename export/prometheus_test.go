package export

import (
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	colmetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	"google.golang.org/protobuf/proto"

	"stint/export/otlp"
)

// fakeProm answers as Prometheus 3.16 was seen to: it knows gzip only. What a real one stores is
// tested in bench/e2e.
type fakeProm struct {
	t testing.TB

	mu     sync.Mutex
	forms  []string
	points map[string]int // by the label container
}

func (p *fakeProm) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	form := r.Header.Get("Content-Encoding")
	p.forms = append(p.forms, form)
	if form != "gzip" {
		http.Error(w, `unsupported compression: `+form+`. Only "gzip" or no compression supported`, http.StatusBadRequest)
		return
	}
	z, err := gzip.NewReader(r.Body)
	if err != nil {
		p.t.Error(err)
		return
	}
	b, err := io.ReadAll(z)
	if err != nil {
		p.t.Error(err)
	}
	var m colmetrics.ExportMetricsServiceRequest
	if err := proto.Unmarshal(b, &m); err != nil {
		p.t.Error(err)
	}
	for _, rm := range m.ResourceMetrics {
		for _, sm := range rm.ScopeMetrics {
			for _, metric := range sm.Metrics {
				for _, point := range metric.GetGauge().GetDataPoints() {
					for _, kv := range point.Attributes {
						if kv.Key == "host.name" {
							p.points[kv.Value.GetStringValue()]++
						}
					}
				}
			}
		}
	}
}

// A Prometheus gets points that can be told apart, in a compression that it knows, and no logs.
func TestPrometheus(t *testing.T) {
	p := &fakeProm{t: t, points: map[string]int{}}
	srv := httptest.NewServer(p)
	defer srv.Close()
	s := newSource(t)
	for _, host := range []string{"a", "b"} {
		s.groups[host] = otlp.NewGroup([]otlp.KeyValue{otlp.Attr("host.name", host)}, otlp.SchemaURL, "test", "1")
	}
	c := &OTLPHTTP{Endpoint: srv.URL + "/prom/api/v1/otlp", Compression: "zstd", PromoteResource: "auto", Timeout: maxTimeout, RetryOnFailure: fast}
	if c.Takes("logs") || !c.Takes("metrics") {
		t.Errorf("takes logs: %v, metrics: %v; want metrics only", c.Takes("logs"), c.Takes("metrics"))
	}
	e, _ := newExporting(t, BatchDefaults(), Exporters{"otlphttp/prometheus": c}, silent)
	deliver(t, e, s.metrics("a", 3, 10), s.metrics("b", 4, 10))
	s.want(2, 0, 0)
	if p.points["a"] != 3 || p.points["b"] != 4 || len(p.forms) != 2 || p.forms[0] != "zstd" {
		t.Errorf("points by host %v, want 3 of a and 4 of b; compressions %q, want zstd once, then gzip", p.points, p.forms)
	}
}

func TestPrometheusAnswers(t *testing.T) {
	for text, tc := range map[string]struct {
		code int
		want Verdict
	}{
		"out of order sample\n":            {400, Verdict{Kind: Split, Reason: "out_of_order"}},
		"out of bounds\n":                  {400, Verdict{Kind: Split, Reason: "out_of_bounds"}},
		"duplicate sample for timestamp\n": {400, Verdict{Kind: Split, Reason: "duplicate_sample"}},
		"too old sample\n":                 {400, Verdict{Kind: Split, Reason: "too_old"}},
		"proto: illegal wireType 7\n":      {400, Verdict{Kind: Split, Reason: invalid}},
		"invalid temporality and type combination for metric \"x\"\n":             {500, Verdict{Kind: Split, Reason: invalid}},
		"write to WAL: no space left on device\n":                                 {500, Verdict{Kind: Again}},
		"Service Unavailable\n":                                                   {503, Verdict{Kind: Again}},
		"otlp write receiver needs to be enabled with --web.enable-otlp-receiver": {404, Verdict{Kind: Misconfigured}},
	} {
		if got := byPrometheus(byHTTPStatus(tc.code), tc.code, text); !reflect.DeepEqual(got, tc.want) {
			t.Errorf("byPrometheus(%d %q) = %+v, want %+v", tc.code, text, got, tc.want)
		}
	}
	for url, want := range map[string]bool{
		"http://p:9090/api/v1/otlp": true, "http://p:9090/api/v1/otlp/": true, "https://p/x/api/v1/otlp/v1/metrics": true,
		"http://c:4318": false, "http://c:4318/v1/metrics": false, "http://vm:8428/opentelemetry/v1/metrics": false, "": false,
	} {
		if got := isPrometheus(url); got != want {
			t.Errorf("isPrometheus(%q) = %v", url, got)
		}
	}
}

// Who sends logs to a Prometheus is told what to do; that an endpoint is missing would be no help.
func TestPrometheusTakesNoLogs(t *testing.T) {
	x := Exporters{"otlphttp": &OTLPHTTP{Endpoint: "http://p:9090/api/v1/otlp"}}
	err := Pipelines{"logs": {Sources: []string{"tail"}, Exporters: []string{"otlphttp"}}}.Check(x, map[string][]string{"logs": {"tail"}})
	want := `pipelines.logs.exporters[0]: "otlphttp" takes no logs: its endpoint is a Prometheus; give it logs_endpoint, or use another exporter`
	if err == nil || err.Error() != want {
		t.Errorf("Check: %v, want %s", err, want)
	}
}

// What a Prometheus refuses as a whole for its age costs a few requests, not hundreds: a backlog of
// hours would hold up what is new for as long.
func TestTooOldForPrometheus(t *testing.T) {
	for text, reason := range map[string]string{"out of bounds": "out_of_bounds", "too old sample": "too_old"} {
		t.Run(reason, func(t *testing.T) {
			requests := 0
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				requests++ // one lane: one at a time
				io.Copy(io.Discard, r.Body)
				http.Error(w, text, http.StatusBadRequest)
			}))
			defer srv.Close()
			s := newSource(t)
			e, _ := newExporting(t, BatchDefaults(), Exporters{"x": &OTLPHTTP{Endpoint: srv.URL + "/api/v1/otlp", Timeout: maxTimeout, RetryOnFailure: fast}}, silent)
			deliver(t, e, s.metrics("a", 1000, 10))
			s.want(0, 1, 0)
			if n := drops(t, e, "x", otlp.Metrics, reason); n != 1000 {
				t.Errorf("%d were dropped as %s, want all 1000", n, reason)
			}
			if requests > 2*maxAgeSplits+1 {
				t.Errorf("%d requests", requests)
			}
		})
	}
}

// A point that can't get the identity of its resource, because a client's framing of it is broken, costs itself and
// not those of others in its batch.
func TestPromoteBrokenPoint(t *testing.T) {
	a := &attributes{t: t}
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	e, _ := newExporting(t, BatchDefaults(), Exporters{"otlphttp": &OTLPHTTP{Endpoint: server.URL, Compression: "none", PromoteResource: "on", Timeout: 10 * time.Second, RetryOnFailure: fast}}, silent)
	s := newSource(t)
	others, broken := s.metrics("a", 50, 100), s.metrics("a", 2, 100)
	broken.Data = append(broken.Data[:len(broken.Data):len(broken.Data)], 2<<3|2, 6, 5<<3|2, 4, 1<<3|2, 2, 0xff, 0xff) // metric, gauge, point
	broken.Records++
	deliver(t, e, others, broken)
	s.want(0, 2, 0) // they are of one batch
	if len(a.got) != 52 {
		t.Errorf("%d points of others arrived, want 52", len(a.got))
	}
	if n := drops(t, e, "otlphttp", otlp.Metrics, invalid); n != 1 {
		t.Errorf("%d points are counted as dropped, want 1", n)
	}
}
