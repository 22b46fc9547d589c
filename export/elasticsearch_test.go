package export

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"stint/export/otlp"
)

// Through the whole sender: everything arrives once, in order, or is counted.
func TestElasticsearchDelivers(t *testing.T) {
	for name, tc := range map[string]struct {
		script func(*bulkServer)
		bad    []int // of each container
		want   Status
		drops  map[string]int
	}{
		"all is well": {func(*bulkServer) {}, nil, Status{Sent: 400}, nil},
		"a restart": {func(s *bulkServer) {
			s.request = func(n int, _ *http.Request, _ []byte) *reply {
				if n <= 5 {
					return &reply{code: 503}
				}
				return nil
			}
		}, nil, Status{Sent: 400}, nil},
		"busy for some": {func(s *bulkServer) {
			s.item = func(n int, d *document) *itemFault {
				if n <= 400 && n%7 == 0 {
					return &itemFault{status: 429, kind: "es_rejected_execution_exception"}
				}
				return nil
			}
		}, nil, Status{Sent: 400}, nil},
		"bad ones": {func(s *bulkServer) {
			s.item = func(n int, d *document) *itemFault {
				if strings.HasSuffix(d.text, "/3") || strings.HasSuffix(d.text, "/99") {
					return &itemFault{status: 400, kind: "document_parsing_exception", reason: "no"}
				}
				return nil
			}
		}, []int{3, 99}, Status{Sent: 392, Dropped: 8}, map[string]int{"es_document_parsing": 8}},
		"a body that is too large": {func(s *bulkServer) { s.max = 20_000 }, nil, Status{Sent: 400}, nil},
		"a malformed whole": {func(s *bulkServer) {
			s.request = func(n int, _ *http.Request, body []byte) *reply {
				if bytes.Contains(body, []byte("b/50 ")) {
					return &reply{code: 400, body: []byte(`{"error":{"type":"x_content_parse_exception"}}`)}
				}
				return nil
			}
		}, nil, Status{Sent: 399, Dropped: 1}, map[string]int{invalid: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newBulkServer(t)
			tc.script(s)
			e, _ := newExporting(t, BatchDefaults(), Exporters{"elasticsearch": newTestElasticsearch(s.URL)}, silent)
			src := newSource(t)
			var chunks []*otlp.Chunk
			for _, c := range []string{"a", "b", "c", "d"} {
				chunks = append(chunks, src.logs(c, 60, 100), src.logs(c, 40, 100))
			}
			deliver(t, e, chunks...)
			st := statusOf(t, e, otlp.Logs)
			if st.Sent != tc.want.Sent || st.Dropped != tc.want.Dropped || st.Down != "" || st.Resent != 0 {
				t.Errorf("%+v", st)
			}
			for reason, n := range tc.drops {
				if got := drops(t, e, "elasticsearch", otlp.Logs, reason); got != n {
					t.Errorf("%d dropped for %s, want %d", got, reason, n)
				}
			}
			total := 0
			for _, c := range []string{"a", "b", "c", "d"} {
				got := s.records(c)
				total += len(got)
				seen := map[string]bool{}
				for _, r := range got {
					if seen[r] {
						t.Errorf("%s came twice", r)
					}
					seen[r] = true
				}
				var want []string
				for _, r := range names(c, 0, 100) {
					if !slices.ContainsFunc(tc.bad, func(n int) bool { return r == body(c, n) }) && (tc.drops[invalid] == 0 || r != "b/50") {
						want = append(want, r)
					}
				}
				if name == "busy for some" { // these come later, so the order is theirs
					slices.Sort(got)
					slices.Sort(want)
				}
				if !slices.Equal(got, want) {
					t.Errorf("%s: %d records %.200q", c, len(got), got)
				}
			}
			if total != int(tc.want.Sent) {
				t.Errorf("%d records are stored", total)
			}
			if n := src.pool.Used(); n != 0 {
				t.Errorf("%d bytes of memory are still in use", n)
			}
		})
	}
}

// Nodes take turns; one that can't be reached is passed over, and tried again later.
func TestNodesTakeTurns(t *testing.T) {
	a, b := newBulkServer(t), newBulkServer(t)
	d := newTestElasticsearch(a.URL, b.URL).destination(t)
	send := func() Verdict { return d.send(t.Context(), requestOf(t, "a", 2, 20)) }
	for range 10 {
		if v := send(); v.Kind != OK {
			t.Fatalf("%+v", v)
		}
	}
	if a.requests != 5 || b.requests != 5 {
		t.Errorf("%d and %d requests", a.requests, b.requests)
	}
	b.Close()
	for range 10 {
		if v := send(); v.Kind != OK {
			t.Fatalf("%+v", v)
		}
	}
	if a.requests != 15 {
		t.Errorf("%d requests", a.requests)
	}
	a.request = func(int, *http.Request, []byte) *reply { return &reply{code: 503} }
	if v := send(); v.Kind != Again {
		t.Errorf("%+v", v)
	}

	// The times: 1, 2, 4 .. 60 s; then the first that is tried again has its turn.
	var n nodes
	n.list = make([]node, 2)
	now := time.Unix(0, 0)
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		n.report(0, true, now)
		if got := n.list[0].until.Sub(now); got != want*time.Second {
			t.Errorf("%v, want %ds", got, want)
		}
	}
	for range 3 {
		if got := n.pick(now); got != 1 {
			t.Errorf("node %d", got)
		}
	}
	n.report(1, true, now)
	if got := n.pick(now); got != 1 { // in 1 s, the other in a minute
		t.Errorf("node %d", got)
	}
	n.report(0, false, now)
	if got := n.pick(now); got != 0 {
		t.Errorf("node %d", got)
	}
}

// What of documents was changed is counted; the failure store is said.
func TestElasticsearchCounts(t *testing.T) {
	s := newBulkServer(t)
	s.item = func(n int, _ *document) *itemFault {
		if n == 1 {
			return &itemFault{stored: true}
		}
		return nil
	}
	var mu sync.Mutex
	var log strings.Builder
	e, _ := newExporting(t, BatchDefaults(), Exporters{"elasticsearch": newTestElasticsearch(s.URL)}, slog.New(slog.NewTextHandler(&locked{&mu, &log}, nil)))
	c := newSource(t).logs("a", 1, 20)
	c.Data = otlp.AppendLogRecord(nil, &otlp.LogRecord{Time: 1, Body: []byte("x"), Attrs: otlp.AppendAttrs(nil, otlp.AttrsOfLogRecord, []otlp.KeyValue{otlp.Attr("a", "1"), otlp.Attr("a", "2"), otlp.Attr("", "3")})})
	deliver(t, e, c)
	for change, want := range map[string]float64{"duplicate_key": 1, "key": 1, "conflict": 0} {
		var m dto.Metric
		if err := e.outs["elasticsearch"].metrics.changed.WithLabelValues("elasticsearch", change).Write(&m); err != nil {
			t.Fatal(err)
		}
		if got := m.GetCounter().GetValue(); got != want {
			t.Errorf("%s: %v, want %v", change, got, want)
		}
	}
	if st := statusOf(t, e, otlp.Logs); st.Sent != 1 || st.Dropped != 0 || !strings.Contains(log.String(), "failure store") {
		t.Errorf("%+v\n%s", st, log.String())
	}
}

// A password file that is renewed after a refusal counts with the next attempt.
func TestElasticsearchRenewedPassword(t *testing.T) {
	s := newBulkServer(t)
	s.item = func(_ int, _ *document) *itemFault {
		if user, password, _ := s.last().BasicAuth(); user != "u" || password != "new-password" {
			return &itemFault{status: 403, kind: "security_exception", reason: "unauthorized for user [u] with old-password"}
		}
		return nil
	}
	file := filepath.Join(t.TempDir(), "password")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("old-password")
	c := newTestElasticsearch(s.URL)
	c.User, c.PasswordFile = "u", file
	d := c.destination(t)
	r := requestOf(t, "a", 2, 20)
	v := d.send(t.Context(), r)
	if v.Kind != Auth || strings.Contains(v.Err.Error(), "old-password") {
		t.Errorf("%+v", v)
	}
	write("new-password")
	if v := d.send(t.Context(), r); v.Kind != OK {
		t.Errorf("%+v", v)
	}
}

// A node that takes the connection and says nothing costs the time limit, not the data.
func TestElasticsearchHangs(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := newBulkServer(t)
	d := newTestElasticsearch("http://"+l.Addr().String(), s.URL).destination(t)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	r := requestOf(t, "a", 2, 20)
	if v := d.send(ctx, r); v.Kind != Again || !v.Unsure {
		t.Errorf("%+v", v)
	}
	if d.nodes.list[0].pause != time.Second {
		t.Errorf("the silent node has its turn again after %v", d.nodes.list[0].pause)
	}
	if v := d.send(t.Context(), r); v.Kind != OK {
		t.Errorf("%+v", v)
	}
}

// A key that the server repeats is not said.
func TestElasticsearchHidesKey(t *testing.T) {
	s := newBulkServer(t)
	key := "ApiKey bXktc2VjcmV0LWtleQ=="
	for _, code := range []int{401, 400, 503} {
		s.request = func(_ int, r *http.Request, _ []byte) *reply {
			return &reply{code: code, body: []byte("bad header " + r.Header.Get("Authorization"))}
		}
		c := newTestElasticsearch(s.URL)
		c.APIKey = Secret(strings.TrimPrefix(key, "ApiKey "))
		v := c.destination(t).send(t.Context(), requestOf(t, "a", 2, 20))
		if v.Err == nil || strings.Contains(v.Err.Error(), "bXktc2VjcmV0") || !strings.Contains(v.Err.Error(), mask) {
			t.Errorf("%v", v.Err)
		}
	}
	s.request = nil
	s.item = func(_ int, _ *document) *itemFault {
		return &itemFault{status: 400, kind: "x", reason: "no: " + s.last().Header.Get("Authorization")}
	}
	c := newTestElasticsearch(s.URL)
	c.APIKey = Secret(strings.TrimPrefix(key, "ApiKey "))
	v := c.destination(t).send(t.Context(), requestOf(t, "a", 2, 20))
	if len(v.Refused) != 1 || strings.Contains(v.Refused[0].err.Error(), "bXktc2VjcmV0") {
		t.Errorf("%+v", v)
	}
}

// A connection is kept, however long the answer is.
func TestBulkKeepsConnection(t *testing.T) {
	s := newBulkServer(t)
	remotes := map[string]bool{}
	s.request = func(_ int, r *http.Request, _ []byte) *reply {
		remotes[r.RemoteAddr] = true
		return nil
	}
	s.item = func(n int, _ *document) *itemFault {
		if n%2 == 0 {
			return &itemFault{status: 400, kind: "x", reason: strings.Repeat("why ", 500)}
		}
		return nil
	}
	d := newTestElasticsearch(s.URL).destination(t)
	for range 4 {
		if v := d.send(t.Context(), requestOf(t, "a", 1000, 20)); len(v.Refused) != 1 || v.Refused[0].records != 500 {
			t.Fatalf("%+v", v)
		}
	}
	if len(remotes) != 1 {
		t.Errorf("%d connections", len(remotes))
	}
}

func TestElasticsearchCheck(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*Elasticsearch)
		want   string
	}{
		"no node":        {func(c *Elasticsearch) { c.Endpoints = nil }, "elasticsearch.endpoint: missing"},
		"no URL":         {func(c *Elasticsearch) { c.Endpoint = "es:9200" }, "elasticsearch.endpoint: \"es:9200\" is not an http"},
		"credentials":    {func(c *Elasticsearch) { c.Endpoints = []string{"http://u:p@es"} }, "endpoints[0]: holds a user name"},
		"bulk":           {func(c *Elasticsearch) { c.Endpoints = []string{"http://es/_bulk/"} }, "ends in /_bulk"},
		"port":           {func(c *Elasticsearch) { c.Endpoints = []string{"http://es:99999"} }, "port 99999"},
		"index":          {func(c *Elasticsearch) { c.LogsIndex = "Logs" }, "logs_index: \"Logs\" is not in lower case; write \"logs\""},
		"dynamic alone":  {func(c *Elasticsearch) { c.LogsDynamicIndex.Enabled = true }, "there is no logs_index to put prefix"},
		"logstash alone": {func(c *Elasticsearch) { c.LogstashFormat.Enabled = true }, "there is no logs_index to put the date"},
		"date format": {func(c *Elasticsearch) {
			c.LogsIndex, c.LogstashFormat = "l", LogstashFormat{Enabled: true, DateFormat: "%M"}
		}, "date_format: \"%M\" holds %M"},
		"separator": {func(c *Elasticsearch) {
			c.LogsIndex, c.LogstashFormat.Enabled, c.LogstashFormat.PrefixSeparator = "l", true, "/"
		}, "prefix_separator"},
		"too long":        {func(c *Elasticsearch) { c.LogsIndex, c.LogsDynamicIndex.Enabled = strings.Repeat("x", 60), true }, "give at most 47"},
		"two credentials": {func(c *Elasticsearch) { c.APIKey, c.User, c.Password = "k", "u", "p" }, "api_key: there are other credentials"},
		"key and header":  {func(c *Elasticsearch) { c.APIKey, c.Headers = "k", map[string]Secret{"authorization": "x"} }, "api_key: there are other credentials"},
		"timeout":         {func(c *Elasticsearch) { c.Timeout = time.Hour }, "timeout"},
		"insecure":        {func(c *Elasticsearch) { c.Endpoints, c.TLS.Insecure = []string{"https://es"}, true }, "tls.insecure"},
		"fine":            {func(c *Elasticsearch) {}, ""},
		"fine, as seed's": {func(c *Elasticsearch) { c.LogsIndex, c.LogsDynamicIndex.Enabled = "otel", true }, ""},
		"fine, with the date": {func(c *Elasticsearch) {
			c.LogsIndex, c.LogsDynamicIndex.Enabled, c.LogstashFormat.Enabled = "otel", true, true
		}, ""},
	} {
		c := newTestElasticsearch("http://es:9200")
		tc.change(c)
		err := errors.Join(c.check("exporters.elasticsearch")...)
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
	c := newTestElasticsearch("http://es:9200")
	x := Exporters{"elasticsearch": c}
	if c.Takes("metrics") || !c.Takes("logs") {
		t.Error("takes the wrong signals")
	}
	err := Pipelines{"metrics": {Sources: []string{"host"}, Exporters: []string{"elasticsearch"}}}.Check(x, map[string][]string{"metrics": {"host"}})
	if err == nil || !strings.Contains(err.Error(), "takes logs alone") {
		t.Errorf("%v", err)
	}
}
