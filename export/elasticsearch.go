package export

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stint/export/elastic"
)

// elasticsearch is a server with a _bulk API. Documents can be several times as large as their
// records are on the wire, so a request may become several bodies, each within a bound of its own. The server answers
// for every document; what became of each is gathered in a bulk and ends up in the verdict.
type elasticsearch struct {
	client  *httpClient
	format  elastic.Format
	gzip    bool
	nodes   nodes
	limit   gate // of a body's bytes before compression, learned from 413
	bulks   sync.Pool
	changed *prometheus.CounterVec

	noRequire atomic.Bool // the server does not know require_data_stream: OpenSearch, Elasticsearch before 8.13
	create    atomic.Bool // logs_index turned out to be a data stream, which takes no action but create
}

const (
	// maxBody is where the limit of a body begins: 100 MiB is Elasticsearch's http.max_content_length,
	// but proxies before it often allow 1 to 10 MiB.
	maxBody = 8 << 20
	// blockedFor is how long a server is left alone whose disk is too full to write to.
	blockedFor = 30 * time.Second
)

const filterPath = "errors,took,items.*._index,items.*.status,items.*.failure_store,items.*.error.type,items.*.error.reason"

var bulkHeader = http.Header{"Content-Type": {"application/x-ndjson"}}

func newElasticsearch(c *Elasticsearch, a about) (*elasticsearch, error) {
	credentials := c.Credentials
	if c.APIKey != "" {
		credentials.Headers = maps.Clone(credentials.Headers)
		if credentials.Headers == nil {
			credentials.Headers = map[string]Secret{}
		}
		credentials.Headers["Authorization"] = "ApiKey " + c.APIKey
	}
	client, err := newHTTPClient(httpOptions{tls: c.TLS, credentials: credentials, proxy: c.ProxyURL, compression: c.Compression, stream: true}, a)
	if err != nil {
		return nil, err
	}
	e := &elasticsearch{client: client, format: c.format(), gzip: c.Compression == "gzip", changed: a.changed}
	e.bulks.New = func() any { return newBulk(e.format) }
	_, urls := c.URLs()
	for _, base := range urls {
		u, err := url.Parse(base)
		if err != nil {
			return nil, errors.New("the URL of a node can't be used")
		}
		u = u.JoinPath("_bulk")
		q := u.Query()
		q.Set("filter_path", filterPath)
		if c.Pipeline != "" {
			q.Set("pipeline", c.Pipeline)
		}
		n := node{plain: withQuery(u, q)}
		q.Set("require_data_stream", "true")
		n.required = withQuery(u, q)
		e.nodes.list = append(e.nodes.list, n)
	}
	return e, nil
}

func withQuery(u *url.URL, q url.Values) string {
	v := *u
	v.RawQuery = q.Encode()
	return v.String()
}

func (e *elasticsearch) close() { e.client.close() }

// send delivers a request in as many bodies as it takes. What the first ones settled stays settled
// if a later one fails: the verdict names the rest.
func (e *elasticsearch) send(ctx context.Context, r *request) Verdict {
	b := e.bulks.Get().(*bulk)
	defer e.bulks.Put(b)
	defer b.reset()
	if err := b.take(r); err != nil {
		return Verdict{Kind: Drop, Reason: invalid, Err: err}
	}
	for first := 0; first < len(b.docs); {
		end, size := b.fill(first, e.limit.most(maxBody), e.gzip, e.create.Load())
		if size == 0 { // none of them can be read
			first = end
			continue
		}
		switch v := e.deliver(ctx, b); {
		case v.Kind == OK && b.waits():
			return e.verdict(b, v) // it can't keep up: no more for now
		case v.Kind == OK:
			e.limit.passed(size, false)
			e.count(b.changes)
			first = end
		case v.Kind == Split && v.Reason == tooLarge && len(b.sent) > 1:
			e.limit.tooLarge(size / 2)
		case v.Kind == Split && v.Reason == tooLarge && size > smallRequest:
			b.refuse(b.sent[0], tooLarge, v.Err)
			first = end
		case v.Kind == Split && v.Reason == tooLarge: // it has too much to do, and says so badly
			v.Kind, v.Reason = Again, ""
			return e.verdict(b, v)
		default:
			return e.verdict(b, v)
		}
	}
	return e.verdict(b, Verdict{})
}

// count notes what of accepted documents had to be changed.
func (e *elasticsearch) count(c elastic.Changes) {
	for change, n := range map[string]int{
		"duplicate_key": c.Duplicates, "conflict": c.Conflicts, "too_deep": c.TooDeep, "too_many_fields": c.TooMany, "key": c.Keys, "not_finite": c.NotFinite,
	} {
		if n > 0 {
			e.changed.WithLabelValues(change).Add(float64(n))
		}
	}
}

// deliver posts the body that was filled, to another node if one can't be reached.
func (e *elasticsearch) deliver(ctx context.Context, b *bulk) (v Verdict) {
	bufs, size, compression := [][]byte{b.body.Bytes()}, b.body.Len(), ""
	if e.gzip {
		compression = "gzip"
	}
	for range e.nodes.list {
		i := e.nodes.pick(time.Now())
		code := 0
		post := func() Verdict {
			return e.client.postAs(ctx, e.url(i), bulkHeader, compression, bufs, size, func(a *httpAnswer) Verdict {
				code = a.code
				return e.read(a, b)
			})
		}
		v = post()
		if v.Kind == Split && e.forget(v.Err) {
			v = post()
		}
		failed := v.Kind == Again && (code == 0 || code/100 == 5 || code == 408)
		e.nodes.report(i, failed && !errors.Is(ctx.Err(), context.Canceled), time.Now())
		if !failed || v.Unsure {
			return v
		}
	}
	return v
}

func (e *elasticsearch) url(i int) string {
	n := &e.nodes.list[i]
	if e.format.DataStreams() && !e.noRequire.Load() {
		return n.required
	}
	return n.plain
}

// forget leaves require_data_stream out from now on if it is what the server does not know.
func (e *elasticsearch) forget(err error) bool {
	return err != nil && strings.Contains(err.Error(), "unrecognized parameter") && strings.Contains(err.Error(), "require_data_stream") &&
		e.noRequire.CompareAndSwap(false, true)
}

// read is the verdict on the answer to one body. Only what went well has its documents settled.
func (e *elasticsearch) read(a *httpAnswer, b *bulk) Verdict {
	if a.code/100 != 2 {
		text := string(a.body)
		v := a.verdict(text)
		switch {
		case a.code == 403 && strings.Contains(text, clusterBlock):
			v.Kind, v.After = Again, blockedFor
		case a.code == 406:
			v.Kind, v.Reason = Misconfigured, ""
		case a.code == 400 && (strings.Contains(text, "unrecognized parameter") || strings.Contains(text, "pipeline with id")) && !strings.Contains(text, "require_data_stream"):
			v.Kind, v.Reason = Misconfigured, ""
		case a.code/100 == 5 && v.Kind == Drop:
			v = Verdict{Kind: Again, Unsure: true, Err: v.Err}
		}
		return v
	}
	return e.readItems(a.stream, b)
}

// nodes are the servers, which take turns.
type nodes struct {
	list []node // urls are not changed

	mu   sync.Mutex // guards everything below, and in list what changes
	next int
}

// node is one server. One that fails is left alone for a second, and twice as long each time up to
// a minute.
type node struct {
	plain, required string // URLs of _bulk
	pause           time.Duration
	until           time.Time
}

const maxPause = time.Minute

// pick gives the node whose turn it is; if all have failed, the one that is tried again first.
func (n *nodes) pick(now time.Time) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	best := -1
	for k := range n.list {
		i := (n.next + k) % len(n.list)
		if !n.list[i].until.After(now) {
			best = i
			break
		}
		if best < 0 || n.list[i].until.Before(n.list[best].until) {
			best = i
		}
	}
	n.next = (best + 1) % len(n.list)
	return best
}

func (n *nodes) report(i int, failed bool, now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch x := &n.list[i]; {
	case !failed:
		x.pause, x.until = 0, time.Time{}
	default:
		x.pause = min(max(2*x.pause, time.Second), maxPause)
		x.until = now.Add(x.pause)
	}
}

const (
	clusterBlock = "cluster_block_exception"
	denied       = "security_exception"
	notFound     = "index_not_found_exception"
)

// readItems settles the documents of the body as the server says.
func (e *elasticsearch) readItems(r io.Reader, b *bulk) Verdict {
	items, failed, err := b.answers.Read(r, func(n int, item *elastic.Item) {
		if n < len(b.sent) {
			e.judge(b, b.sent[n], item)
		}
	})
	switch {
	case errors.Is(err, elastic.ErrAnswer) && items == 0:
		return Verdict{Kind: Misconfigured, Err: fmt.Errorf("%w; is the URL that of an Elasticsearch?", err)}
	case err != nil:
		return Verdict{Kind: Again, Unsure: true, Err: fmt.Errorf("read the answer: %w", err)}
	case !failed: // VictoriaLogs has one item for all documents
		for _, i := range b.sent {
			b.store(i)
		}
	case items < len(b.sent):
		return Verdict{Kind: Again, Unsure: true, Err: fmt.Errorf("the answer has %d items for %d documents", items, len(b.sent))}
	}
	return Verdict{}
}

// judge says what becomes of a document.
func (e *elasticsearch) judge(b *bulk, i int, item *elastic.Item) {
	kind, reason := string(item.Type), string(item.Reason)
	switch {
	case item.Status/100 == 2:
		if b.store(i); item.FailureUsed {
			b.failureStore++
		}
	case item.Status == 409 && b.docs[i].own:
		b.store(i) // it is there from an earlier attempt
	case kind == clusterBlock && blockFor(reason) == "":
		b.wait(&b.blocked, item)
	case item.Status == 429 || item.Status/100 == 5:
		b.wait(&b.busy, item)
	case item.Status == 401 || kind == denied:
		b.wait(&b.denied, item)
	case strings.Contains(reason, "pipeline with id [") && strings.Contains(reason, "does not exist"):
		b.wait(&b.astray, item)
	case kind == notFound && strings.Contains(reason, "require_data_stream"):
		b.wait(&b.homeless, item)
		b.docs[i].fate = homeless
	case strings.Contains(reason, "only write ops with an op_type of create are allowed in data streams") && !b.create:
		e.create.Store(true)
		b.wait(&b.busy, item)
	default:
		b.refuse(i, refusalLabel(kind, reason), itemError(item))
	}
}

// blockFor is the label for blocks of an index that stay: somebody has closed it or made it
// read-only. "" is for the others, which pass: the disk is too full, the cluster is not up yet.
func blockFor(reason string) string {
	switch {
	case strings.Contains(reason, "FORBIDDEN/4/"):
		return "es_index_closed"
	case strings.Contains(reason, "FORBIDDEN/5/"), strings.Contains(reason, "FORBIDDEN/8/"):
		return "es_index_read_only"
	}
	return ""
}

// refusalLabel is the reason label of a refused document: one of a few.
func refusalLabel(kind, reason string) string {
	switch kind {
	case "mapper_parsing_exception":
		return "es_mapper_parsing"
	case "document_parsing_exception":
		return "es_document_parsing"
	case "illegal_argument_exception":
		return "es_illegal_argument"
	case notFound:
		return "es_index_not_found"
	case "index_closed_exception":
		return "es_index_closed"
	case clusterBlock:
		return blockFor(reason)
	}
	return "es_other"
}

// itemError is what a server says of a document, without what it shows of its content.
func itemError(item *elastic.Item) error {
	reason, _, _ := strings.Cut(string(item.Reason), "Preview of field's value")
	return fmt.Errorf("%d %s: %s", item.Status, item.Type, strings.TrimSpace(reason))
}

// verdict is that on the whole request: v if nothing is settled, else what is to be sent again.
func (e *elasticsearch) verdict(b *bulk, v Verdict) Verdict {
	if b.homeless > 0 && b.stored > 0 { // there are data streams, but none for these
		b.refuseHomeless()
	}
	if v.Kind == OK && b.waits() {
		v = b.waiting()
	}
	rest := len(b.docs) - b.stored - b.refused
	switch {
	case rest == 0:
		v = Verdict{}
		if b.failureStore > 0 {
			v.Err = fmt.Errorf("%d documents are in the failure store of their data streams: they are not what these take", b.failureStore)
		}
	case rest < len(b.docs):
		v = Verdict{Kind: Again, After: v.After, Unsure: v.Unsure, Err: v.Err, Rest: b.request(0)}
	}
	login := e.client.login
	for n, r := range b.reasons {
		v.Refused = append(v.Refused, refusal{b.request(int16(1 + n)), r.reason, login.get().clean(r.err)})
	}
	v.Err = login.get().clean(v.Err)
	if v.Kind == Auth {
		login.refused()
	}
	return v
}
