package export

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/snappy"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"stint/export/otlp"
)

func newTestLoki(endpoint string) *Loki {
	v, err := Exporters{}.NewValue("loki")
	if err != nil {
		panic(err)
	}
	l := v.(*Loki)
	l.Endpoint, l.RetryOnFailure, l.Timeout = endpoint, fast, 10*time.Second
	return l
}

// Where requests go, by what people write as the endpoint.
func TestLokiURL(t *testing.T) {
	for endpoint, want := range map[string]string{
		"http://loki:3100":                         "http://loki:3100/otlp/v1/logs",
		"http://loki:3100/":                        "http://loki:3100/otlp/v1/logs",
		"http://loki:3100/otlp":                    "http://loki:3100/otlp/v1/logs",
		"http://loki:3100/otlp/v1/logs":            "http://loki:3100/otlp/v1/logs",
		"http://gateway/x":                         "http://gateway/x/otlp/v1/logs",
		"http://loki:3100/loki/api/v1/push":        "http://loki:3100/loki/api/v1/push",
		"https://vl:9428/insert/loki/api/v1/push/": "https://vl:9428/insert/loki/api/v1/push",
	} {
		l := newTestLoki(endpoint)
		if got := l.URL(); got != want || l.pushes() != strings.HasSuffix(want, "push") {
			t.Errorf("%s: %s, want %s; push %t", endpoint, got, want, l.pushes())
		}
		if err := errors.Join(l.check("exporters.loki")...); err != nil {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
}

// What would make every request a bad one is a fault.
func TestLokiFaults(t *testing.T) {
	l := newTestLoki("http://loki:3100/loki/api/v1/push")
	l.Labels, l.TenantID, l.Headers = []string{"a.b", "c", "a_b", ""}, "team", map[string]Secret{"x-scope-orgid": "other"}
	want := `exporters.loki.labels[2]: "a_b" is the label a_b, as labels[0] is; remove one of the two
exporters.loki.labels[3]: empty; give an attribute's name
exporters.loki.tenant_id: headers has x-scope-orgid, too; remove one of the two`
	if err := errors.Join(l.check("exporters.loki")...); err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

// Loki's answers, as they were measured (exporters.md 5), and what they mean.
func TestByLoki(t *testing.T) {
	said := func(s string) []byte {
		b, err := proto.Marshal(&status.Status{Message: s})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for name, tc := range map[string]struct {
		code int
		body []byte
		want Verdict
	}{
		"taken":                  {204, nil, Verdict{}},
		"one is too old":         {400, said("entry with timestamp ... ignored, reason: 'timestamp too old',\nuser 'fake', total ignored: 1 out of 2 for stream"), Verdict{Kind: Partial, Rejected: 1}},
		"something is bad":       {400, said("max entry size '262144' bytes exceeded"), Verdict{Kind: Partial, Rejected: 10}},
		"no records":             {422, said("no records"), Verdict{Kind: Partial, Rejected: 10}},
		"no tenant":              {400, said("no org id"), Verdict{Kind: Misconfigured}},
		"no tenant, by a proxy":  {401, []byte("no org id\n"), Verdict{Kind: Auth}},
		"over the tenant's rate": {429, said("ingestion rate limit exceeded for user fake"), Verdict{Kind: Again, After: lokiBusy}},
		"too large inside":       {503, said("grpc error: code = ResourceExhausted desc = grpc: received message larger than max (5124638 vs. 4194304)"), Verdict{Kind: Split, Reason: tooLarge}},
		"too large outside":      {413, said("request body too large"), Verdict{Kind: Split, Reason: tooLarge}},
		"a part is away":         {500, said("empty ring"), Verdict{Kind: Again}},
		"not ready":              {503, []byte("Ingester not ready"), Verdict{Kind: Again}},
		"no OTLP there":          {404, []byte("404 page not found\n"), Verdict{Kind: Misconfigured}},
	} {
		v := byLoki(&httpAnswer{code: tc.code, header: http.Header{"Content-Type": {"application/octet-stream"}}, body: tc.body}, 10)
		v.Err = nil
		if !reflect.DeepEqual(v, tc.want) {
			t.Errorf("%s: %+v, want %+v", name, v, tc.want)
		}
	}
}

// pushServer takes Loki's pushes and keeps them as text: labels, time, line, metadata.
type pushServer struct {
	t *testing.T

	mu   sync.Mutex
	got  []string
	size []int
}

func (s *pushServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		s.t.Error(err)
	}
	if r.Header.Get("Content-Type") != "application/x-protobuf" || r.Header.Get("Content-Encoding") != "" || r.Header.Get("X-Scope-OrgID") != "team" {
		s.t.Errorf("headers %v", r.Header)
	}
	b, err = snappy.Decode(nil, b)
	if err != nil {
		s.t.Error(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.size = append(s.size, len(b))
	fields(s.t, b, func(_ protowire.Number, stream []byte, _ uint64) {
		labels := ""
		fields(s.t, stream, func(n protowire.Number, v []byte, _ uint64) {
			if n == 1 {
				labels = string(v)
				return
			}
			var sec, nanos uint64
			line, meta := "", ""
			fields(s.t, v, func(n protowire.Number, v []byte, _ uint64) {
				switch n {
				case 1:
					fields(s.t, v, func(n protowire.Number, _ []byte, x uint64) {
						if n == 1 {
							sec = x
						} else {
							nanos = x
						}
					})
				case 2:
					line = string(v)
				case 3:
					fields(s.t, v, func(n protowire.Number, v []byte, _ uint64) {
						meta += map[protowire.Number]string{1: " ", 2: "="}[n] + string(v)
					})
				}
			})
			s.got = append(s.got, fmt.Sprintf("%s %d.%09d %s|%s", labels, sec, nanos, line, meta))
		})
	})
	w.WriteHeader(http.StatusNoContent)
}

func fields(t *testing.T, b []byte, do func(n protowire.Number, v []byte, x uint64)) {
	for len(b) > 0 {
		n, typ, size := protowire.ConsumeTag(b)
		if size < 0 {
			t.Fatal(protowire.ParseError(size))
		}
		b = b[size:]
		var v []byte
		var x uint64
		if typ == protowire.VarintType {
			x, size = protowire.ConsumeVarint(b)
		} else {
			v, size = protowire.ConsumeBytes(b)
		}
		if size < 0 {
			t.Fatal(protowire.ParseError(size))
		}
		b = b[size:]
		do(n, v, x)
	}
}

// A request as Loki's push API gets it: streams by labels, all else as structured metadata.
func TestLokiPush(t *testing.T) {
	s := &pushServer{t: t}
	server := httptest.NewServer(s)
	defer server.Close()
	c := newTestLoki(server.URL + "/loki/api/v1/push")
	c.TenantID = "team"
	l, err := newLoki(c, about{version: "1", log: silent})
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	group := func(pod string, more ...otlp.KeyValue) *otlp.Group {
		return otlp.NewGroup(append([]otlp.KeyValue{
			otlp.Attr("k8s.namespace.name", "shop"), otlp.Attr("k8s.container.name", "api"), otlp.Attr("k8s.pod.name", pod), otlp.Attr("service.name", `a "b"`),
		}, more...), "", "", "")
	}
	record := func(l *otlp.LogRecord) []byte { return otlp.AppendLogRecord(nil, l) }
	r := &request{signal: otlp.Logs}
	r.add(piece{group("api-1"), append(record(&otlp.LogRecord{Time: 1700000000_000000001, Body: []byte("one"), Severity: 9, SeverityText: "INFO",
		Attrs: otlp.AppendAttrs(nil, otlp.AttrsOfLogRecord, []otlp.KeyValue{otlp.Attr("log.iostream", "stdout"), {Key: "1n", Value: otlp.Int(2)}})}),
		record(&otlp.LogRecord{Observed: 1700000000e9, BodyValue: otlp.AppendValue(nil, otlp.Map(otlp.Attr("k", "v"))), TraceID: []byte{1, 2}, SpanID: []byte{3}})...), 2})
	r.add(piece{otlp.NewGroup(nil, "", "", ""), record(&otlp.LogRecord{Time: 1, Body: []byte("nobody's"), EventName: "e"}), 1})
	r.add(piece{group("api-2"), record(&otlp.LogRecord{Time: 2, Body: []byte("two")}), 1})
	if v := l.send(t.Context(), r); v.Kind != OK {
		t.Fatal(v.Err)
	}
	const labels = `{service_name="a \"b\"", k8s_namespace_name="shop", k8s_container_name="api"}`
	want := []string{
		labels + " 1700000000.000000001 one| k8s_pod_name=api-1 severity_text=INFO severity_number=9 log_iostream=stdout key_1n=2",
		labels + ` 1700000000.000000000 {"k":"v"}| k8s_pod_name=api-1 trace_id=0102 span_id=03`,
		labels + " 0.000000002 two| k8s_pod_name=api-2",
		`{service_name="unknown_service"} 0.000000001 nobody's| event_name=e`,
	}
	if diff := cmp.Diff(want, s.got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// No request is larger than what Loki takes, by either way, and all records arrive in order.
func TestLokiRequests(t *testing.T) {
	t.Run("push", func(t *testing.T) {
		s := &pushServer{t: t}
		server := httptest.NewServer(s)
		defer server.Close()
		c := newTestLoki(server.URL + "/loki/api/v1/push")
		c.TenantID = "team"
		e, _ := newExporting(t, BatchDefaults(), Exporters{"loki": c}, silent)
		from := newSource(t)
		deliver(t, e, from.logs("a", 5000, 1000))
		from.want(1, 0, 0)
		if len(s.got) != 5000 || len(s.size) < 3 || slices.Max(s.size) > maxLokiBytes*11/10 {
			t.Errorf("%d records in requests of %d bytes", len(s.got), s.size)
		}
		for i, g := range s.got {
			if !strings.Contains(g, fmt.Sprintf(" %s ", body("a", i))) {
				t.Fatalf("record %d is %.100q", i, g)
			}
		}
	})
	t.Run("otlp", func(t *testing.T) {
		a := &attributes{t: t}
		server := httptest.NewServer(http.StripPrefix("/otlp", a))
		defer server.Close()
		c := newTestLoki(server.URL)
		c.Compression = "none"
		e, _ := newExporting(t, BatchDefaults(), Exporters{"loki": c}, silent)
		from := newSource(t)
		deliver(t, e, from.logs("a", 5000, 1000))
		from.want(1, 0, 0)
		a.want("loki", 5000, "container=a|")
	})
}

// Pushes are encoded without an allocation a record.
func BenchmarkLokiPush(b *testing.B) {
	s := newSource(b)
	c := s.logs("a", 10_000, 200)
	r := newRequest(otlp.Logs, []*otlp.Chunk{c})
	_, size := r.buffers()
	p := &lokiPush{}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.encode(r, lokiLabels); err != nil {
			b.Fatal(err)
		}
	}
	c.Settle(otlp.Delivered)
}

// The memory of an encoder is about that of a request, whichever stream had the most in earlier ones.
func TestLokiPushKeepsLittle(t *testing.T) {
	const streams = 64
	var groups [streams]*otlp.Group
	for i := range groups {
		groups[i] = otlp.NewGroup([]otlp.KeyValue{otlp.Attr("service.name", strconv.Itoa(i))}, "", "", "")
	}
	record := func(size int) []byte {
		return otlp.AppendLogRecord(nil, &otlp.LogRecord{Time: 1, Body: bytes.Repeat([]byte("x"), size)})
	}
	small, large := record(10), record(maxLokiBytes-64<<10)
	p := &lokiPush{}
	for round := range streams {
		r := &request{signal: otlp.Logs}
		for i, g := range groups {
			data := small
			if i == round {
				data = large
			}
			r.add(piece{g, data, 1})
		}
		if _, err := p.encode(r, []string{"service.name"}); err != nil {
			t.Fatal(err)
		}
	}
	kept := cap(p.out) + cap(p.packed)
	for _, s := range p.streams {
		kept += cap(s.entries)
	}
	if kept > 8*maxLokiBytes {
		t.Errorf("%d MiB are kept after requests of 2 MiB", kept>>20)
	}
}
