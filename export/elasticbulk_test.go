package export

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stint/export/elastic"
	"stint/export/otlp"
)

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
