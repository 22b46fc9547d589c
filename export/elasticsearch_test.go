package export

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	dto "github.com/prometheus/client_model/go"

	"stint/export/elastic"
	"stint/export/otlp"
)

// bulkServer speaks the part of Elasticsearch's _bulk API that exporters.md 4 tells of, and keeps
// documents. Faults are scripted by request and by document.
type bulkServer struct {
	*httptest.Server
	t testing.TB

	request func(n int, r *http.Request, body []byte) *reply // nil: the bulk is read; n counts from 1
	item    func(n int, d *document) *itemFault              // nil: it is stored
	answer  func(items []byte, failed bool) string           // of a bulk; "" as Elasticsearch does
	max     int                                              // bytes of a body after decompression; else 413

	mu       sync.Mutex
	requests int
	sizes    []int    // of bodies
	queries  []string // of URLs
	headers  []http.Header
	docs     []document // stored
	items    int        // documents seen
	ids      map[string]bool
}

type document struct {
	action, index, id string
	source            map[string]any
	text              string // body.text up to the first space
}

type itemFault struct {
	status       int
	kind, reason string
	stored       bool // in the failure store
}

func newBulkServer(t testing.TB) *bulkServer {
	s := &bulkServer{t: t, ids: map[string]bool{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *bulkServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	in := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			s.t.Error(err)
			return
		}
		in = z
	}
	body, err := io.ReadAll(in)
	if err != nil {
		return // the client has gone
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	s.sizes, s.queries, s.headers = append(s.sizes, len(body)), append(s.queries, r.URL.Path+"?"+r.URL.RawQuery), append(s.headers, r.Header)
	if s.request != nil {
		if a := s.request(s.requests, r, body); a != nil {
			for k, v := range a.header {
				w.Header()[k] = v
			}
			w.WriteHeader(a.code)
			w.Write(a.body)
			return
		}
	}
	fail := func(code int, kind, reason string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		fmt.Fprintf(w, `{"error":{"root_cause":[{"type":%q,"reason":%q}],"type":%[1]q,"reason":%[2]q},"status":%[3]d}`, kind, reason, code)
	}
	switch {
	case s.max > 0 && len(body) > s.max:
		w.WriteHeader(413)
		return
	case r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, "/_bulk"):
		fail(405, "method_not_allowed_exception", "Incorrect HTTP method for uri")
		return
	case r.Header.Get("Content-Type") != "application/x-ndjson":
		fail(406, "media_type_header_exception", "Content-Type header is not supported")
		return
	case !bytes.HasSuffix(body, []byte("\n")):
		fail(400, "illegal_argument_exception", "The bulk request must be terminated by a newline [\\n]")
		return
	}
	lines := bytes.Split(bytes.TrimSuffix(body, []byte("\n")), []byte("\n"))
	if len(lines)%2 != 0 {
		fail(400, "illegal_argument_exception", "a line is missing")
		return
	}
	var items bytes.Buffer
	failed := false
	for i := 0; i < len(lines); i += 2 {
		d, f := s.store(lines[i], lines[i+1], r)
		if i > 0 {
			items.WriteByte(',')
		}
		switch {
		case f == nil:
			fmt.Fprintf(&items, `{%q:{"_index":%q,"status":201}}`, d.action, d.index)
		case f.stored:
			fmt.Fprintf(&items, `{%q:{"_index":".fs-%s","status":201,"failure_store":"used"}}`, d.action, d.index)
		default:
			failed = true
			fmt.Fprintf(&items, `{%q:{"_index":%q,"status":%d,"error":{"type":%q,"reason":%q}}}`, d.action, d.index, f.status, f.kind, f.reason)
		}
	}
	text := fmt.Sprintf(`{"errors":%v,"took":3,"items":[%s]}`, failed, items.Bytes())
	if s.answer != nil {
		text = s.answer(items.Bytes(), failed)
	}
	w.Header().Set("Content-Type", "application/json")
	io.WriteString(w, text)
}

// store takes a document, as an Elasticsearch would.
func (s *bulkServer) store(action, source []byte, r *http.Request) (d document, f *itemFault) {
	var a map[string]struct {
		Index string `json:"_index"`
		ID    string `json:"_id"`
	}
	if err := json.Unmarshal(action, &a); err != nil || len(a) != 1 {
		s.t.Errorf("action %q: %v", action, err)
	}
	for k, v := range a {
		d.action, d.index, d.id = k, v.Index, v.ID
	}
	if err := json.Unmarshal(source, &d.source); err != nil {
		s.t.Errorf("document %q: %v", source, err)
	}
	if b, ok := d.source["body"].(map[string]any); ok {
		text, _ := b["text"].(string)
		d.text, _, _ = strings.Cut(text, " ")
	}
	s.items++
	if s.item != nil {
		if f := s.item(s.items, &d); f != nil && !f.stored {
			return d, f
		} else if f != nil {
			s.docs = append(s.docs, d)
			return d, f
		}
	}
	if d.id != "" {
		if s.ids[d.index+d.id] {
			return d, &itemFault{status: 409, kind: "version_conflict_engine_exception", reason: "[" + d.id + "]: version conflict, document already exists (current version [1])"}
		}
		s.ids[d.index+d.id] = true
	}
	s.docs = append(s.docs, d)
	return d, nil
}

// records are the stored records of a container, in the order they came.
func (s *bulkServer) records(container string) (list []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.docs {
		if strings.HasPrefix(d.text, container+"/") {
			list = append(list, d.text)
		}
	}
	return list
}

func newTestElasticsearch(endpoints ...string) *Elasticsearch {
	v, err := Exporters{}.NewValue("elasticsearch")
	if err != nil {
		panic(err)
	}
	c := v.(*Elasticsearch)
	c.Endpoints, c.RetryOnFailure, c.Timeout = endpoints, fast, 10*time.Second
	return c
}

// destination makes the destination alone.
func (c *Elasticsearch) destination(t testing.TB) *elasticsearch {
	t.Helper()
	if err := errors.Join(c.check("exporters.elasticsearch")...); err != nil {
		t.Fatal(err)
	}
	e, _ := newExporting(t, BatchDefaults(), Exporters{"elasticsearch": c}, silent)
	t.Cleanup(e.close)
	return e.outs["elasticsearch"].dest.(*elasticsearch)
}

// requestOf is n records of a container in one request.
func requestOf(t testing.TB, container string, n, size int) *request {
	return newRequest(otlp.Logs, []*otlp.Chunk{newSource(t).logs(container, n, size)})
}

// What is on the wire: path, query, headers, body.
func TestBulkRequest(t *testing.T) {
	s := newBulkServer(t)
	query := "filter_path=errors%2Ctook%2Citems.%2A._index%2Citems.%2A.status%2Citems.%2A.failure_store%2Citems.%2A.error.type%2Citems.%2A.error.reason"
	for name, tc := range map[string]struct {
		change func(*Elasticsearch)
		path   string
		header http.Header
		action string
		index  string
	}{
		"data streams":  {func(*Elasticsearch) {}, "/_bulk?" + query + "&require_data_stream=true", http.Header{"Content-Encoding": {"gzip"}}, "create", "logs-generic.otel-default"},
		"an index":      {func(c *Elasticsearch) { c.LogsIndex = "otel" }, "/_bulk?" + query, nil, "index", "otel"},
		"a pipeline":    {func(c *Elasticsearch) { c.Pipeline = "a b" }, "/_bulk?" + query + "&pipeline=a+b&require_data_stream=true", nil, "create", "logs-generic.otel-default"},
		"uncompressed":  {func(c *Elasticsearch) { c.Compression = "none" }, "", http.Header{"Content-Encoding": nil}, "create", "logs-generic.otel-default"},
		"user":          {func(c *Elasticsearch) { c.User, c.Password = "elastic", "changeme" }, "", http.Header{"Authorization": {"Basic ZWxhc3RpYzpjaGFuZ2VtZQ=="}}, "create", "logs-generic.otel-default"},
		"API key":       {func(c *Elasticsearch) { c.APIKey = "a2V5" }, "", http.Header{"Authorization": {"ApiKey a2V5"}}, "create", "logs-generic.otel-default"},
		"bearer":        {func(c *Elasticsearch) { c.BearerToken = "tok" }, "", http.Header{"Authorization": {"Bearer tok"}}, "create", "logs-generic.otel-default"},
		"a header":      {func(c *Elasticsearch) { c.Headers = map[string]Secret{"X-Found-Cluster": "c"} }, "", http.Header{"X-Found-Cluster": {"c"}}, "create", "logs-generic.otel-default"},
		"path, a query": {func(c *Elasticsearch) { c.Endpoints = []string{s.URL + "/insert/elasticsearch/?_msg_field=body.text"} }, "/insert/elasticsearch/_bulk?_msg_field=body.text&" + query + "&require_data_stream=true", nil, "create", "logs-generic.otel-default"},
		"ecs":           {func(c *Elasticsearch) { c.Mapping.Mode = elastic.ECS }, "", nil, "create", "logs-generic-default"},
		"a day":         {func(c *Elasticsearch) { c.LogsIndex, c.LogstashFormat.Enabled = "logstash", true }, "", nil, "index", "logstash-1970.01.01"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newTestElasticsearch(s.URL)
			tc.change(c)
			if v := c.destination(t).send(t.Context(), requestOf(t, "a", 3, 20)); v.Kind != OK || v.Err != nil {
				t.Fatalf("%+v", v)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			last := len(s.headers) - 1
			if tc.path != "" {
				parts := strings.SplitN(s.queries[last], "?", 2)
				want := strings.SplitN(tc.path, "?", 2)
				got, expect := strings.Split(parts[1], "&"), strings.Split(want[1], "&")
				slices.Sort(got)
				slices.Sort(expect)
				if parts[0] != want[0] || !slices.Equal(got, expect) {
					t.Errorf("%s\nwant\n%s", s.queries[last], tc.path)
				}
			}
			for k, v := range tc.header {
				if !slices.Equal(s.headers[last][k], v) {
					t.Errorf("%s: %q, want %q", k, s.headers[last][k], v)
				}
			}
			if d := s.docs[len(s.docs)-1]; d.action != tc.action || d.index != tc.index {
				t.Errorf("%s %s", d.action, d.index)
			}
		})
	}
}

// Answers to a whole request, and what they mean.
func TestWholeBulkAnswers(t *testing.T) {
	es := func(code int, kind, reason string) *reply {
		return &reply{code: code, body: fmt.Appendf(nil, `{"error":{"type":%q,"reason":%q},"status":%d}`, kind, reason, code)}
	}
	for name, tc := range map[string]struct {
		answer *reply
		want   Verdict
	}{
		"too many requests":  {es(429, "es_rejected_execution_exception", "rejected execution of coordinating operation"), Verdict{Kind: Again}},
		"circuit breaker":    {es(429, "circuit_breaking_exception", "[parent] Data too large"), Verdict{Kind: Again}},
		"with a time":        {&reply{code: 429, header: http.Header{"Retry-After": {"7"}}}, Verdict{Kind: Again, After: 7 * time.Second}},
		"starting":           {es(503, "master_not_discovered_exception", ""), Verdict{Kind: Again}},
		"bad gateway":        {&reply{code: 502}, Verdict{Kind: Again, Unsure: true}},
		"gateway time-out":   {&reply{code: 504}, Verdict{Kind: Again, Unsure: true}},
		"an error inside":    {es(500, "null_pointer_exception", ""), Verdict{Kind: Again, Unsure: true}},
		"no credentials":     {es(401, "security_exception", "missing authentication credentials"), Verdict{Kind: Auth}},
		"no rights":          {es(403, "security_exception", "action [indices:data/write/bulk] is unauthorized"), Verdict{Kind: Auth}},
		"disk full":          {es(403, "cluster_block_exception", "index [x] blocked by: [FORBIDDEN/12/index read-only / allow delete (api)];"), Verdict{Kind: Again, After: blockedFor}},
		"wrong path":         {&reply{code: 404}, Verdict{Kind: Misconfigured}},
		"wrong method":       {&reply{code: 405}, Verdict{Kind: Misconfigured}},
		"wrong type":         {es(406, "media_type_header_exception", ""), Verdict{Kind: Misconfigured}},
		"a redirect":         {&reply{code: 302, header: http.Header{"Location": {"/login"}}}, Verdict{Kind: Misconfigured}},
		"malformed":          {es(400, "x_content_parse_exception", "bad"), Verdict{Kind: Split, Reason: invalid}},
		"unknown parameter":  {es(400, "illegal_argument_exception", "request [/_bulk] contains unrecognized parameter: [pipeline]"), Verdict{Kind: Misconfigured}},
		"no pipeline":        {es(400, "illegal_argument_exception", "pipeline with id [p] does not exist"), Verdict{Kind: Misconfigured}},
		"a page":             {&reply{code: 200, body: []byte("<html>Kibana</html>")}, Verdict{Kind: Misconfigured}},
		"another API":        {&reply{code: 200, body: []byte(`{"tagline":"You Know, for Search"}`)}, Verdict{Kind: Misconfigured}},
		"cut":                {&reply{code: 200, body: []byte(`{"errors":false,"items":[`)}, Verdict{Kind: Again, Unsure: true}},
		"too few items":      {&reply{code: 200, body: []byte(`{"errors":true,"items":[]}`)}, Verdict{Kind: Again, Unsure: true}},
		"one item for all":   {&reply{code: 200, body: []byte(`{"took":0,"errors":false,"items":[{"create":{"status":201}}]}`)}, Verdict{}},
		"no items, no error": {&reply{code: 200, body: []byte(`{"errors":false}`)}, Verdict{}},
		"teapot":             {&reply{code: 418}, Verdict{Kind: Drop, Reason: "http_418"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newBulkServer(t)
			s.request = func(int, *http.Request, []byte) *reply { return tc.answer }
			v := newTestElasticsearch(s.URL).destination(t).send(t.Context(), requestOf(t, "a", 4, 20))
			if (v.Err == nil) != (tc.want.Kind == OK) {
				t.Errorf("error %v", v.Err)
			}
			v.Err = nil
			if d := cmp.Diff(tc.want, v, cmp.AllowUnexported(Verdict{})); d != "" {
				t.Error(d)
			}
		})
	}
}

// fates is a verdict, in short.
type fates struct {
	Kind    Kind
	After   time.Duration
	Rest    string         // bodies of the records that are sent again
	Refused map[string]int // by reason
	Warning bool
}

func fatesOf(t testing.TB, v Verdict) (f fates) {
	f.Kind, f.After, f.Warning = v.Kind, v.After, v.Kind == OK && v.Err != nil
	bodies := func(r *request) string {
		list := slices.Clone(((&fake{t: t}).decode(r)).bodies)
		for i := range list {
			_, list[i], _ = strings.Cut(list[i], "/")
		}
		return strings.Join(list, " ")
	}
	if v.Rest != nil {
		f.Rest = bodies(v.Rest)
	}
	for _, r := range v.Refused {
		if f.Refused == nil {
			f.Refused = map[string]int{}
		}
		f.Refused[r.reason+": "+bodies(r.request)] = r.records
		if r.err == nil {
			t.Errorf("%s without an error", r.reason)
		}
	}
	return f
}

// Answers to single documents, and what becomes of these.
func TestBulkItems(t *testing.T) {
	at := func(faults map[string]*itemFault) func(int, *document) *itemFault {
		return func(_ int, d *document) *itemFault {
			_, n, _ := strings.Cut(d.text, "/")
			if f := faults[n]; f != nil {
				return f
			}
			return faults["all"]
		}
	}
	busy := &itemFault{status: 429, kind: "es_rejected_execution_exception", reason: "rejected execution"}
	parse := &itemFault{status: 400, kind: "mapper_parsing_exception", reason: "failed to parse field [a] of type [long] in document with id '1'. Preview of field's value: 'secret'"}
	block := func(status int, what string) *itemFault {
		return &itemFault{status: status, kind: "cluster_block_exception", reason: "index [x] blocked by: [" + what + "];"}
	}
	homeless := &itemFault{status: 404, kind: "index_not_found_exception", reason: "no such index [logs-x] and [require_data_stream] request flag is [true] and [logs-x] is not a data stream"}
	denied := &itemFault{status: 403, kind: "security_exception", reason: "action [indices:data/write/bulk[s]] is unauthorized for API key"}
	pipeline := &itemFault{status: 400, kind: "illegal_argument_exception", reason: "pipeline with id [p] does not exist"}
	for name, tc := range map[string]struct {
		faults map[string]*itemFault
		want   fates
	}{
		"stored":                  {nil, fates{}},
		"busy":                    {map[string]*itemFault{"1": busy, "3": {status: 503, kind: "unavailable_shards_exception"}, "4": {status: 500}}, fates{Kind: Again, Rest: "1 3 4"}},
		"all busy":                {map[string]*itemFault{"all": busy}, fates{Kind: Again}},
		"a bad field":             {map[string]*itemFault{"2": parse}, fates{Refused: map[string]int{"es_mapper_parsing: 2": 1}}},
		"all bad":                 {map[string]*itemFault{"all": parse}, fates{Refused: map[string]int{"es_mapper_parsing: 0 1 2 3 4 5": 6}}},
		"bad and busy":            {map[string]*itemFault{"0": parse, "5": parse, "2": busy}, fates{Kind: Again, Rest: "2", Refused: map[string]int{"es_mapper_parsing: 0 5": 2}}},
		"all bad or busy":         {map[string]*itemFault{"0": busy, "all": parse}, fates{Kind: Again, Rest: "0", Refused: map[string]int{"es_mapper_parsing: 1 2 3 4 5": 5}}},
		"each kind":               {map[string]*itemFault{"0": {status: 400, kind: "illegal_argument_exception", reason: "Limit of total fields [1000] has been exceeded"}, "1": {status: 400, kind: "document_parsing_exception"}, "2": {status: 404, kind: "index_not_found_exception", reason: "no such index [x]"}, "3": {status: 400, kind: "index_closed_exception"}, "4": {status: 400, kind: "strange_exception"}}, fates{Refused: map[string]int{"es_illegal_argument: 0": 1, "es_document_parsing: 1": 1, "es_index_not_found: 2": 1, "es_index_closed: 3": 1, "es_other: 4": 1}}},
		"closed, read-only":       {map[string]*itemFault{"0": block(403, "FORBIDDEN/4/index closed"), "1": block(403, "FORBIDDEN/8/index write (api)"), "2": block(403, "FORBIDDEN/5/index read-only (api)")}, fates{Refused: map[string]int{"es_index_closed: 0": 1, "es_index_read_only: 1 2": 2}}},
		"disk full":               {map[string]*itemFault{"all": block(403, "FORBIDDEN/12/index read-only / allow delete (api)")}, fates{Kind: Again, After: parkFor}},
		"one disk full":           {map[string]*itemFault{"3": block(429, "TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark, index has read-only-allow-delete block")}, fates{Kind: Again, After: parkFor, Rest: "3"}},
		"no rights":               {map[string]*itemFault{"all": denied}, fates{Kind: Auth}},
		"no rights for one":       {map[string]*itemFault{"4": denied}, fates{Kind: Again, After: parkFor, Rest: "4"}},
		"no pipeline":             {map[string]*itemFault{"all": pipeline}, fates{Kind: Misconfigured}},
		"no data stream":          {map[string]*itemFault{"all": homeless}, fates{Kind: Misconfigured}},
		"no data stream for one":  {map[string]*itemFault{"2": homeless}, fates{Refused: map[string]int{"es_index_not_found: 2": 1}}},
		"failure store":           {map[string]*itemFault{"1": {stored: true}}, fates{Warning: true}},
		"a conflict without id":   {map[string]*itemFault{"1": {status: 409, kind: "version_conflict_engine_exception"}}, fates{Refused: map[string]int{"es_other: 1": 1}}},
		"busy with something bad": {map[string]*itemFault{"0": busy, "1": denied, "2": block(429, "TOO_MANY_REQUESTS/12/disk")}, fates{Kind: Again, Rest: "0 1 2"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newBulkServer(t)
			s.item = at(tc.faults)
			v := newTestElasticsearch(s.URL).destination(t).send(t.Context(), requestOf(t, "a", 6, 20))
			if v.Kind == Auth || v.Kind == Misconfigured {
				v.After = 0 // the sender waits at least as long
			}
			if d := cmp.Diff(tc.want, fatesOf(t, v)); d != "" {
				t.Errorf("%s\n%v", d, v.Err)
			}
			for _, r := range v.Refused {
				if strings.Contains(r.err.Error(), "secret") {
					t.Errorf("content in %v", r.err)
				}
			}
		})
	}
}

// A record of a request with several chunks and groups is found again when it is to be resent.
func TestBulkRestKeepsGroups(t *testing.T) {
	s := newBulkServer(t)
	s.item = func(n int, d *document) *itemFault {
		if n%3 == 0 {
			return &itemFault{status: 429}
		}
		return nil
	}
	src := newSource(t)
	r := newRequest(otlp.Logs, []*otlp.Chunk{src.logs("a", 5, 20), src.logs("b", 5, 20), src.logs("a", 5, 20)})
	v := newTestElasticsearch(s.URL).destination(t).send(t.Context(), r)
	in := (&fake{t: t}).decode(v.Rest)
	if want := []string{"a/2", "a/5", "a/8", "b/1", "b/4"}; !slices.Equal(in.bodies, want) {
		t.Errorf("%q, want %q", in.bodies, want)
	}
	if v.Rest.resources() != 2 {
		t.Errorf("%d resources", v.Rest.resources())
	}
}

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

// A request whose documents are larger than the bound becomes several bodies; a size that a server
// refuses is remembered.
func TestBulkBodiesAreBounded(t *testing.T) {
	s := newBulkServer(t)
	d := newTestElasticsearch(s.URL).destination(t)
	r := requestOf(t, "a", 2000, 400) // 0.9 MB, and 1.3 MB of documents
	for _, most := range []int{0, 700_000, 300_000} {
		s.mu.Lock()
		s.max, s.sizes, s.docs = most, nil, nil
		s.mu.Unlock()
		if v := d.send(t.Context(), r); v.Kind != OK {
			t.Fatalf("%+v", v)
		}
		if got := s.records("a"); !slices.Equal(got, names("a", 0, 2000)) {
			t.Errorf("%d records", len(got))
		}
		s.mu.Lock()
		first := len(s.sizes)
		s.sizes = nil
		s.mu.Unlock()
		d.send(t.Context(), r)
		s.mu.Lock()
		for _, n := range s.sizes {
			if most > 0 && n > most {
				t.Errorf("a body of %d bytes although the server has refused as many", n)
			}
		}
		if len(s.sizes) > first {
			t.Errorf("%d bodies, %d at first", len(s.sizes), first)
		}
		s.mu.Unlock()
	}

	// Without any refusal the bound is 8 MiB.
	s = newBulkServer(t)
	d = newTestElasticsearch(s.URL).destination(t)
	var big []*otlp.Chunk
	src := newSource(t)
	for range 5 {
		big = append(big, src.logs("b", 2, 2<<20))
	}
	if v := d.send(t.Context(), newRequest(otlp.Logs, big)); v.Kind != OK {
		t.Fatalf("%+v", v)
	}
	if len(s.sizes) != 4 || slices.Max(s.sizes) > maxBody {
		t.Errorf("bodies of %v bytes", s.sizes)
	}

	// One document that a server finds too large is given up alone.
	s.max = 1 << 20
	v := d.send(t.Context(), newRequest(otlp.Logs, []*otlp.Chunk{src.logs("c", 2, 100), src.logs("c", 1, 2<<20), src.logs("c", 1, 100)}))
	if d := cmp.Diff(fates{Refused: map[string]int{"too_large: 2": 1}}, fatesOf(t, v)); d != "" {
		t.Error(d)
	}
	// A small one is not: the server has other troubles.
	s.max = 10
	if v := d.send(t.Context(), requestOf(t, "d", 1, 100)); v.Kind != Again || v.Rest != nil {
		t.Errorf("%+v", v)
	}
}

// A body that fails after others were stored leaves these alone.
func TestLaterBodyFails(t *testing.T) {
	s := newBulkServer(t)
	s.max = 100_000
	d := newTestElasticsearch(s.URL).destination(t)
	r := requestOf(t, "a", 600, 200)
	if v := d.send(t.Context(), r); v.Kind != OK {
		t.Fatalf("%+v", v)
	}
	for code, want := range map[int]Verdict{503: {}, 504: {Unsure: true}, 401: {}, 404: {}, 400: {}} {
		s.mu.Lock()
		s.docs = nil
		n := s.requests
		s.request = func(k int, _ *http.Request, _ []byte) *reply {
			if k > n+1 {
				return &reply{code: code}
			}
			return nil
		}
		s.mu.Unlock()
		v := d.send(t.Context(), r)
		stored := len(s.records("a"))
		if v.Kind != Again || v.Rest == nil || v.Rest.records != 600-stored || stored == 0 || v.Unsure != want.Unsure || v.Err == nil {
			t.Errorf("%d: %d stored, %+v", code, stored, v)
			continue
		}
		if in := (&fake{t: t}).decode(v.Rest); !slices.Equal(in.bodies, names("a", stored, 600)) {
			t.Errorf("%d: the rest is %.100q", code, in.bodies)
		}
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

// An answer that was lost: ordinary documents come twice, which is counted; those with an id once.
func TestLostBulkAnswer(t *testing.T) {
	for _, events := range []bool{false, true} {
		s := newBulkServer(t)
		s.answer = func(items []byte, failed bool) string {
			if s.requests == 1 {
				return `{"errors":false,"it`
			}
			return fmt.Sprintf(`{"errors":%v,"took":3,"items":[%s]}`, failed, items)
		}
		e, _ := newExporting(t, BatchDefaults(), Exporters{"elasticsearch": newTestElasticsearch(s.URL)}, silent)
		src := newSource(t)
		c := src.logs("a", 10, 50)
		if events {
			var data []byte
			for i := range 10 {
				data = otlp.AppendLogRecord(data, &otlp.LogRecord{Time: 5, Observed: 6, Body: []byte(body("a", i)),
					Attrs: otlp.AppendAttrs(nil, otlp.AttrsOfLogRecord, []otlp.KeyValue{otlp.Attr("k8s.event.uid", fmt.Sprint(i))})})
			}
			c.Data = data
		}
		deliver(t, e, c)
		want := names("a", 0, 10)
		if !events {
			want = append(want, want...)
		}
		if got := s.records("a"); !slices.Equal(got, want) {
			t.Errorf("%q", got)
		}
		if st := statusOf(t, e, otlp.Logs); st.Sent != 10 || st.Resent != 10 || st.Dropped != 0 {
			t.Errorf("%+v", st)
		}
	}
}

// What a server does not know is left out: require_data_stream is new in 8.13. An index that turns
// out to be a data stream gets the action that it takes.
func TestBulkAdapts(t *testing.T) {
	s := newBulkServer(t)
	s.request = func(_ int, r *http.Request, _ []byte) *reply {
		if r.URL.Query().Has("require_data_stream") {
			return &reply{code: 400, body: []byte(`{"error":{"type":"illegal_argument_exception","reason":"request [/_bulk] contains unrecognized parameter: [require_data_stream]"},"status":400}`)}
		}
		return nil
	}
	d := newTestElasticsearch(s.URL).destination(t)
	for range 2 {
		if v := d.send(t.Context(), requestOf(t, "a", 2, 20)); v.Kind != OK {
			t.Errorf("%+v", v)
		}
	}
	if s.requests != 3 || len(s.docs) != 4 {
		t.Errorf("%d requests, %d documents", s.requests, len(s.docs))
	}

	s = newBulkServer(t)
	s.item = func(_ int, d *document) *itemFault {
		if d.action != "create" {
			return &itemFault{status: 400, kind: "illegal_argument_exception", reason: "only write ops with an op_type of create are allowed in data streams"}
		}
		return nil
	}
	c := newTestElasticsearch(s.URL)
	c.LogsIndex = "logs-app-prod"
	e, _ := newExporting(t, BatchDefaults(), Exporters{"elasticsearch": c}, silent)
	deliver(t, e, newSource(t).logs("a", 10, 20))
	if st := statusOf(t, e, otlp.Logs); st.Sent != 10 || st.Dropped != 0 {
		t.Errorf("%+v", st)
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

// last is the request that is being answered.
func (s *bulkServer) last() *http.Request { return &http.Request{Header: s.headers[len(s.headers)-1]} }

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

// Making a body allocates nothing for a record.
func TestBulkAllocatesNothing(t *testing.T) {
	r, _ := benchRequest(t)
	b := newBulk(elastic.Format{Mapping: elastic.OTel, IDs: true})
	for _, compress := range []bool{false, true} {
		run := func() {
			if err := b.take(r); err != nil {
				t.Fatal(err)
			}
			for first := 0; first < len(b.docs); {
				first, _ = b.fill(first, maxBody, compress, true)
			}
			b.reset()
		}
		run()
		if n := testing.AllocsPerRun(3, run); n > 100 { // for 20 groups, and 2 bodies
			t.Errorf("%v allocations for %d records", n, r.records)
		}
	}
}

// A server that answers 413 before it has read the body, and hangs up, as Elasticsearch does: the
// answer may be lost to the client, the data is not.
func TestEarlyRefusalOfSize(t *testing.T) {
	s := newBulkServer(t)
	early := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength > 400_000 {
			w.Header().Set("Connection", "close")
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		s.ServeHTTP(w, r)
	}))
	defer early.Close()
	c := newTestElasticsearch(early.URL)
	c.Compression = "none"
	e, _ := newExporting(t, BatchDefaults(), Exporters{"elasticsearch": c}, silent)
	src := newSource(t)
	deliver(t, e, src.logs("a", 1000, 3000))
	if got := s.records("a"); !slices.Equal(got, names("a", 0, 1000)) {
		t.Errorf("%d records", len(got))
	}
	if st := statusOf(t, e, otlp.Logs); st.Sent != 1000 || st.Dropped != 0 {
		t.Errorf("%+v", st)
	}
}
