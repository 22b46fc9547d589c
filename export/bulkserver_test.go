package export

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"

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

// last is the request that is being answered.
func (s *bulkServer) last() *http.Request { return &http.Request{Header: s.headers[len(s.headers)-1]} }
