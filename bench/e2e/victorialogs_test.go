package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"testing"
	"time"

	prom "github.com/prometheus/client_golang/prometheus"

	"stint/export"
	"stint/export/elastic"
	"stint/export/otlp"
)

// TestVictoriaLogs: records arrive in a real server that speaks _bulk, with documents of every shape, Loki's push
// API and OTLP, also when it is away for a while, each once and with what it says.
func TestVictoriaLogs(t *testing.T) {
	if testing.Short() {
		t.Skip("needs bench/victorialogs/victoria-logs: make test-victorialogs")
	}
	dir, address := t.TempDir(), freeAddress(t)
	start := func() *process {
		p := startProcess(t, "../victorialogs/victoria-logs", "-storageDataPath="+dir, "-httpListenAddr="+address, "-retentionPeriod=1d", "-loggerLevel=WARN")
		waitFor(t, 30*time.Second, "VictoriaLogs to be ready", func() bool {
			p.mustRun(t)
			resp, err := http.Get("http://" + address + "/health")
			if err != nil {
				return false
			}
			resp.Body.Close()
			return resp.StatusCode == http.StatusOK
		})
		return p
	}
	server := start()

	const each = 3000
	quick := export.Retry{InitialInterval: 10 * time.Millisecond, MaxInterval: 50 * time.Millisecond}
	exporters := export.Exporters{}
	for mapping, message := range map[string]string{elastic.OTel: "body.text", elastic.ECS: "message", elastic.None: "Body"} {
		v, err := export.Exporters{}.NewValue("elasticsearch/" + mapping)
		if err != nil {
			t.Fatal(err)
		}
		c := v.(*export.Elasticsearch)
		c.Endpoint = "http://" + address + "/insert/elasticsearch?_time_field=@timestamp&_msg_field=" + message + "&extra_fields=shape=" + mapping
		c.Mapping.Mode = mapping
		c.RetryOnFailure = quick
		exporters["elasticsearch/"+mapping] = c
	}
	lokiValue, err := export.Exporters{}.NewValue("loki")
	if err != nil {
		t.Fatal(err)
	}
	loki := lokiValue.(*export.Loki)
	loki.Endpoint = "http://" + address + "/insert/loki/api/v1/push?extra_fields=shape=loki"
	loki.RetryOnFailure = quick
	exporters["loki"] = loki
	otlpHTTP, err := export.Exporters{}.NewValue("otlphttp")
	if err != nil {
		t.Fatal(err)
	}
	native := otlpHTTP.(*export.OTLPHTTP)
	native.LogsEndpoint = "http://" + address + "/insert/opentelemetry/v1/logs?extra_fields=shape=otlp"
	native.RetryOnFailure = quick
	exporters["otlphttp"] = native
	batch := export.BatchDefaults()
	batch.Timeout = 20 * time.Millisecond
	pipelines := export.DefaultPipelines(exporters, map[string][]string{"logs": {"test"}})
	e, err := export.New(export.Options{Batch: batch, Exporters: exporters, Pipelines: pipelines, Version: "test", Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Registerer: prom.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer close(ended)
		e.Run(ctx)
	}()
	defer func() {
		cancel()
		<-ended
	}()

	pool, input := otlp.NewPool(64<<20, nil), e.Input(otlp.Logs, "test")
	begin := time.Now().Add(-time.Hour)
	text := func(n int) string { return fmt.Sprintf("line %d \"é\"\t{}", n) }
	push := func(from, to int) {
		slab := pool.TryGet(1 << 20)
		for n := from; n < to; n++ {
			slab.Buf = otlp.AppendLogRecord(slab.Buf, &otlp.LogRecord{
				Time: uint64(begin.UnixNano()) + uint64(n), Observed: uint64(begin.UnixNano()), Severity: 9, SeverityText: "INFO", Body: []byte(text(n)),
				Attrs: otlp.AppendAttrs(nil, otlp.AttrsOfLogRecord, []otlp.KeyValue{otlp.Attr("number", fmt.Sprint(n)), otlp.Attr("number", fmt.Sprint(n)), otlp.Attr("a", "x"), otlp.Attr("a.b", "y")}),
			})
		}
		c := otlp.NewChunk(slab, slab.Buf)
		c.Group = otlp.NewGroup([]otlp.KeyValue{otlp.Attr("k8s.pod.name", "orders-1")}, otlp.SchemaURL, "test", "1")
		c.Records, c.Signal = to-from, otlp.Logs
		slab.Release()
		input(c)
	}
	sent := func() (sum int64) {
		for _, st := range e.Status() {
			if st.Dropped > 0 {
				t.Fatalf("%+v", st)
			}
			sum += st.Sent
		}
		return sum
	}
	push(0, 1000)
	waitFor(t, 20*time.Second, "the first records to be taken", func() bool { return sent() == int64(len(exporters))*1000 })
	server.stop(t)
	push(1000, 2000)
	waitFor(t, 20*time.Second, "every destination to be down", func() bool {
		down := 0
		for _, st := range e.Status() {
			if st.Down != "" {
				down++
			}
		}
		return down == len(exporters)
	})
	start()
	push(2000, each)
	waitFor(t, 30*time.Second, "all records to be taken", func() bool { return sent() == int64(len(exporters))*each })

	for mapping, names := range map[string][4]string{
		elastic.OTel: {"attributes.number", "resource.attributes.k8s.pod.name", "attributes.a", "attributes.a.b"},
		elastic.ECS:  {"number", "kubernetes.pod.name", "a.value", "a.b"},
		elastic.None: {"Attributes.number", "Resource.k8s.pod.name", "Attributes.a.value", "Attributes.a.b"},
		"loki":       {"number", "k8s_pod_name", "a", "a_b"},
		"otlp":       {"number", "k8s.pod.name", "a", "a.b"},
	} {
		var lines map[string]map[string]string
		waitFor(t, 20*time.Second, "the records to be found", func() bool {
			lines = search(t, address, "shape:="+mapping)
			return len(lines) >= each
		})
		if len(lines) != each {
			t.Errorf("%s: %d lines", mapping, len(lines))
		}
		for n := range each {
			l := lines[text(n)]
			at, err := time.Parse(time.RFC3339Nano, l["_time"])
			if err != nil || at.UnixNano() != begin.UnixNano()+int64(n) || l[names[0]] != fmt.Sprint(n) || l[names[1]] != "orders-1" || l[names[2]] != "x" || l[names[3]] != "y" {
				t.Fatalf("%s: line %d is %v", mapping, n, l)
			}
		}
	}
}

// search gives the records of a query by their message; one that is there twice is a failure.
func search(t *testing.T, address, query string) map[string]map[string]string {
	t.Helper()
	resp, err := http.Get("http://" + address + "/select/logsql/query?query=" + url.QueryEscape(query))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	all := map[string]map[string]string{}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		var l map[string]string
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			t.Fatalf("%v in %s", err, lines.Bytes())
		}
		if all[l["_msg"]] != nil {
			t.Fatalf("%q is there twice", l["_msg"])
		}
		all[l["_msg"]] = l
	}
	return all
}
