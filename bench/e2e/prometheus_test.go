package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	prom "github.com/prometheus/client_golang/prometheus"

	"stint/export"
	"stint/export/otlp"
)

// prometheus is a running Prometheus.
type prometheus struct {
	url     string
	process *process
}

func startPrometheus(t *testing.T, flags ...string) *prometheus {
	t.Helper()
	dir := t.TempDir()
	address := freeAddress(t)
	config := filepath.Join(dir, "prometheus.yml")
	writeFile(t, config, "global: {scrape_interval: 1h}\n")
	args := append([]string{"--config.file=" + config, "--storage.tsdb.path=" + filepath.Join(dir, "data"), "--web.listen-address=" + address, "--log.level=warn"}, flags...)
	p := &prometheus{url: "http://" + address, process: startProcess(t, "../prometheus/prometheus", args...)}
	waitFor(t, 30*time.Second, "Prometheus to be ready", func() bool {
		p.process.mustRun(t)
		resp, err := http.Get(p.url + "/-/ready")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return p
}

// sample is one series of an instant query.
type sample struct {
	labels map[string]string
	value  float64
}

func (p *prometheus) query(t *testing.T, expr string) (all []sample) {
	t.Helper()
	resp, err := http.Get(p.url + "/api/v1/query?query=" + url.QueryEscape(expr))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Status, Error string
		Data          struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Status != "success" {
		t.Fatalf("query %s: %v %s", expr, err, answer.Error)
	}
	for _, r := range answer.Data.Result {
		v, err := strconv.ParseFloat(r.Value[1].(string), 64)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, sample{r.Metric, v})
	}
	return all
}

// pusher delivers points of made-up pods through stint's exporter.
type pusher struct {
	t      *testing.T
	e      *export.Exporting
	pool   *otlp.Pool
	groups map[string]*otlp.Group
	ended  chan struct{}
}

func newPusher(t *testing.T, server *prometheus, compression string) *pusher {
	t.Helper()
	const name = "otlphttp/prometheus"
	v, err := export.Exporters{}.NewValue(name)
	if err != nil {
		t.Fatal(err)
	}
	c := v.(*export.OTLPHTTP)
	c.MetricsEndpoint, c.Compression = server.url+"/api/v1/otlp/v1/metrics", compression
	c.RetryOnFailure = export.Retry{InitialInterval: 10 * time.Millisecond, MaxInterval: 50 * time.Millisecond}
	exporters := export.Exporters{name: c}
	batch := export.BatchDefaults()
	batch.Timeout = 50 * time.Millisecond
	pipelines := export.DefaultPipelines(exporters, map[string][]string{"metrics": {"test"}})
	e, err := export.New(export.Options{Batch: batch, Exporters: exporters, Pipelines: pipelines, Version: "test", Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Registerer: prom.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	p := &pusher{t: t, e: e, pool: otlp.NewPool(8<<20, nil), groups: map[string]*otlp.Group{}, ended: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(p.ended)
		e.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-p.ended
	})
	return p
}

// push sends one gauge of a pod.
func (p *pusher) push(pod, metric string, at time.Time, value int64) {
	p.t.Helper()
	if p.groups[pod] == nil {
		p.groups[pod] = otlp.NewGroup([]otlp.KeyValue{otlp.Attr("k8s.namespace.name", "shop"), otlp.Attr("k8s.pod.name", pod), otlp.Attr("k8s.pod.uid", "uid-"+pod)}, otlp.SchemaURL, "test", "1")
	}
	slab := p.pool.TryGet(1024)
	if slab == nil {
		p.t.Fatal("no memory")
	}
	slab.Buf = otlp.AppendMetric(slab.Buf, &otlp.Metric{Name: metric, Unit: "By"}, []otlp.NumberPoint{{Time: uint64(at.UnixNano()), Int: value}})
	c := otlp.NewChunk(slab, slab.Buf)
	c.Group, c.Records, c.Signal, c.Origin = p.groups[pod], 1, otlp.Metrics, kept{}
	slab.Release()
	p.e.Input(otlp.Metrics, "test")(c)
}

type kept struct{}

func (kept) Settled(*otlp.Chunk, otlp.Outcome) {}

func (p *pusher) status() export.Status { return p.e.Status()[0] }

// done waits until that many points were accepted or given up.
func (p *pusher) done(n int64) {
	p.t.Helper()
	waitFor(p.t, 20*time.Second, fmt.Sprintf("%d points to be delivered or dropped", n), func() bool {
		s := p.status()
		return s.Sent+s.Dropped >= n
	})
}

// What a real Prometheus with its default settings keeps of what stint sends it.
func TestPrometheus(t *testing.T) {
	if testing.Short() {
		t.Skip("needs bin/stint-agent and bench/prometheus/prometheus: make test-prometheus")
	}
	server := startPrometheus(t, "--web.enable-otlp-receiver")
	now := time.Now().Truncate(time.Second)

	t.Run("two pods are two series", func(t *testing.T) {
		p := newPusher(t, server, "gzip")
		p.push("web-1", "two.pods", now, 1)
		p.push("web-2", "two.pods", now, 2)
		p.done(2)
		got := map[string]float64{}
		for _, s := range server.query(t, "two_pods_bytes") {
			got[s.labels["k8s_namespace_name"]+"/"+s.labels["k8s_pod_name"]+" "+s.labels["job"]+" "+s.labels["instance"]] = s.value
		}
		if got["shop/web-1 stint-agent uid-web-1"] != 1 || got["shop/web-2 stint-agent uid-web-2"] != 2 || len(got) != 2 {
			t.Errorf("series %v", got)
		}
		if info := server.query(t, `target_info{job="stint-agent"}`); len(info) != 2 {
			t.Errorf("target_info has %d series, want one a pod: %v", len(info), info)
		}
	})
	t.Run("a late point costs itself", func(t *testing.T) {
		p := newPusher(t, server, "gzip")
		p.push("late", "ordered", now, 1)
		p.done(1)
		p.push("late", "ordered", now.Add(-time.Minute), 2) // out of order
		p.push("late", "ordered.too", now, 3)
		p.push("late", "ordered", now, 4) // the time of another value
		p.push("early", "ordered", now, 5)
		p.done(5)
		if s := p.status(); s.Sent != 3 || s.Dropped != 2 {
			t.Errorf("sent %d, dropped %d; want 3 and 2: %+v", s.Sent, s.Dropped, s)
		}
		if got := server.query(t, `{__name__=~"ordered.*",k8s_pod_name=~"late|early"}`); len(got) != 3 {
			t.Errorf("series %v, want three", got)
		}
	})
	t.Run("zstd becomes gzip", func(t *testing.T) {
		p := newPusher(t, server, "zstd")
		p.push("packed", "compressed", now, 1)
		p.done(1)
		if s := p.status(); s.Sent != 1 || s.Retries != 1 {
			t.Errorf("%+v, want one point sent after one retry", s)
		}
		if got := server.query(t, "compressed_bytes"); len(got) != 1 {
			t.Errorf("series %v, want one", got)
		}
	})
	t.Run("a receiver that is switched off", func(t *testing.T) {
		off := startPrometheus(t)
		p := newPusher(t, off, "gzip")
		p.push("web-1", "m", now, 1)
		waitFor(t, 10*time.Second, "the exporter to say what is wrong", func() bool { return p.status().Down == "misconfigured" })
		if s := p.status(); s.Dropped != 0 {
			t.Errorf("dropped %d points, want none: %+v", s.Dropped, s)
		}
	})
	t.Run("an agent", func(t *testing.T) {
		dir := t.TempDir()
		config := filepath.Join(dir, "agent.yaml")
		writeFile(t, config, fmt.Sprintf(`
state_dir: %s
node_name: n1
admin: {listen: "%s"}
health: {listen: "%s"}
tail: {containers: {root: %s}, files: []}
scrape: {interval: 1s}
batch: {timeout: 500ms}
exporters: {otlphttp/prometheus: {endpoint: "%s/api/v1/otlp"}}
`, filepath.Join(dir, "state"), freeAddress(t), freeAddress(t), filepath.Join(dir, "pods"), server.url))
		agent := startProcess(t, *agentBinary, "--config", config)
		waitFor(t, 20*time.Second, "three scrapes in Prometheus", func() bool {
			agent.mustRun(t)
			got := server.query(t, `count_over_time(system_memory_usage_bytes{system_memory_state="free"}[5m])`)
			return len(got) == 1 && got[0].value >= 3 && got[0].labels["host_name"] != ""
		})
		if got := server.query(t, `sum by (host_name) (rate(system_cpu_time_seconds_total{job="stint-agent"}[1m]))`); len(got) != 1 {
			t.Errorf("rate of the CPU time: %v, want one series", got)
		}
		agent.stop(t)
	})
}
