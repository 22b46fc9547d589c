package export

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"stint/export/otlp"
)

// Loki is a destination that is Grafana Loki, or speaks its push API. It takes logs.
type Loki struct {
	Endpoint string   `yaml:"endpoint" doc:"base URL, e.g. http://loki:3100, for Loki's own OTLP API (Loki 3); a URL that ends in /loki/api/v1/push for the push API of older ones, of Grafana Cloud and of VictoriaLogs"`
	TenantID string   `yaml:"tenant_id" doc:"tenant, sent as X-Scope-OrgID"`
	Labels   []string `yaml:"labels" doc:"push API: attributes of resources that become labels, each set of their values a stream; all others become structured metadata. Over OTLP Loki itself decides"`

	Compression string `yaml:"compression" enum:"none,gzip,zstd" doc:"how OTLP bodies are compressed; the push API has Snappy always"`
	TLS         TLS    `yaml:"tls" doc:"transport security for https:// URLs"`
	Credentials
	ProxyURL       Secret        `yaml:"proxy_url" doc:"URL of the proxy to go through, e.g. http://proxy:3128; none: no proxy; empty: what HTTPS_PROXY, HTTP_PROXY and NO_PROXY say, and none for names of a cluster's services"`
	Timeout        time.Duration `yaml:"timeout" doc:"an unanswered request is given up after this and sent again with twice the time, up to 1m; 100ms to 10m"`
	RetryOnFailure Retry         `yaml:"retry_on_failure" doc:"waiting times between attempts; attempts never end"`
}

// lokiLabels tell streams apart by what stays the same for long. A pod's name is none of them: each
// would be a stream of its own (Loki takes 15 labels and some thousands of streams).
var lokiLabels = []string{
	"service.name", "service.namespace", "deployment.environment.name", "k8s.cluster.name", "k8s.namespace.name", "k8s.container.name",
	"k8s.deployment.name", "k8s.statefulset.name", "k8s.daemonset.name", "k8s.cronjob.name", "k8s.job.name", "host.name",
}

const (
	maxLokiLabels = 15 // Loki's limit (validation.max-label-names-per-series)

	// maxLokiBytes of a request: Loki refuses what is over the 4 MiB between its parts, or over a
	// tenant's burst of 6 MB, with 503 and 429 as if it were busy.
	maxLokiBytes = 2 << 20
)

const tenantHeader = "X-Scope-OrgID"

// Takes: logs.
func (l *Loki) Takes(signal string) bool { return signal == otlp.Logs.String() }

// pushes says whether the endpoint is that of the push API.
func (l *Loki) pushes() bool {
	u, err := url.Parse(l.Endpoint)
	return err == nil && strings.HasSuffix(strings.TrimSuffix(u.Path, "/"), "/loki/api/v1/push")
}

// URL is where requests go.
func (l *Loki) URL() string {
	base := strings.TrimSuffix(l.Endpoint, "/")
	if l.pushes() || strings.HasSuffix(base, "/otlp/v1/logs") {
		return base
	}
	return strings.TrimSuffix(base, "/otlp") + "/otlp/v1/logs"
}

func (l *Loki) check(path string) []error {
	errs := checkURL(path+".endpoint", l.Endpoint, "http://loki:3100")
	if l.Endpoint == "" {
		errs = []error{fmt.Errorf("%s.endpoint: missing; give Loki's URL, e.g. http://loki:3100", path)}
	}
	if len(l.Labels) == 0 || len(l.Labels) > maxLokiLabels {
		errs = append(errs, fmt.Errorf("%s.labels: %d attributes; give 1 to %d, which is all that Loki takes", path, len(l.Labels), maxLokiLabels))
	}
	names := map[string]int{}
	for i, k := range l.Labels {
		name := string(lokiName(nil, []byte(k)))
		if j, ok := names[name]; ok {
			errs = append(errs, fmt.Errorf("%s.labels[%d]: %q is the label %s, as labels[%d] is; remove one of the two", path, i, k, name, j))
		} else if k == "" {
			errs = append(errs, fmt.Errorf("%s.labels[%d]: empty; give an attribute's name", path, i))
		}
		names[name] = i
	}
	for _, key := range append(slices.Collect(maps.Keys(l.Headers)), slices.Collect(maps.Keys(l.HeadersFile))...) {
		if strings.EqualFold(key, tenantHeader) && l.TenantID != "" {
			errs = append(errs, fmt.Errorf("%s.tenant_id: headers has %s, too; remove one of the two", path, key))
		}
	}
	if !printable(l.TenantID) {
		errs = append(errs, fmt.Errorf("%s.tenant_id: holds a line break or control character; remove it", path))
	}
	errs = append(errs, l.TLS.check(path+".tls")...)
	errs = append(errs, l.Credentials.check(path)...)
	errs = append(errs, checkProxy(path+".proxy_url", l.ProxyURL)...)
	return append(errs, common(path, l.Timeout, l.RetryOnFailure)...)
}

// loki is a Loki at work.
type loki struct {
	*httpClient
	url    string
	header http.Header
	push   []string // labels; nil = OTLP
}

func newLoki(c *Loki, a about) (*loki, error) {
	o := httpOptions{tls: c.TLS, credentials: c.Credentials, proxy: c.ProxyURL, compression: c.Compression}
	l := &loki{url: c.URL(), header: http.Header{"Content-Type": {"application/x-protobuf"}}}
	if c.pushes() {
		l.push = c.Labels
		o.compression = "none" // the body is Snappy already
	}
	if c.TenantID != "" {
		l.header.Set(tenantHeader, c.TenantID)
	}
	var err error
	l.httpClient, err = newHTTPClient(o, a)
	return l, err
}

func (l *loki) send(ctx context.Context, r *request) Verdict {
	bufs, size := r.buffers()
	if l.push != nil {
		if len(r.pieces) == 0 {
			return Verdict{Kind: Drop, Reason: invalid, Err: errors.New("a request that can't be taken apart can't be written for the push API")}
		}
		p := lokiPushes.Get().(*lokiPush)
		defer lokiPushes.Put(p)
		body, err := p.encode(r, l.push)
		if err != nil {
			return Verdict{Kind: Split, Reason: invalid, Err: err}
		}
		bufs, size = [][]byte{body}, len(body)
	}
	return l.post(ctx, l.url, l.header, bufs, size, func(a *httpAnswer) Verdict { return byLoki(a, r.records) })
}

// lokiIgnored is how Loki says that it has taken some records of a request and not others.
var lokiIgnored = regexp.MustCompile(`total ignored: (\d+) out of \d+`)

// byLoki sorts answers as exporters.md 5 does.
func byLoki(a *httpAnswer, records int) Verdict {
	if a.code/100 == 2 {
		return Verdict{Kind: OK}
	}
	text := otlpMessage(a)
	v := a.verdict(text)
	switch {
	case (a.code == 503 || a.code == 500) && strings.Contains(text, "received message larger than max"):
		v.Kind, v.Reason, v.After = Split, tooLarge, 0
	case a.code == 500:
		v.Kind, v.Reason = Again, "" // a part of it is away; over OTLP it says 503
	case a.code == 429 && v.After == 0:
		v.After = lokiBusy // the budget of the tenant comes back by the second
	case a.code == 400 && (strings.Contains(text, "no org id") || strings.Contains(text, "unsupported")):
		v.Kind, v.Reason = Misconfigured, "" // no tenant_id, or another encoding than it knows
	case a.code == 400 || a.code == 422:
		// It has stored all records that it did not object to: asking again, in parts, would tell no more.
		v.Kind, v.Reason, v.Rejected = Partial, "", int64(records)
		if m := lokiIgnored.FindStringSubmatch(text); m != nil {
			v.Rejected, _ = strconv.ParseInt(m[1], 10, 64)
		}
	}
	return v
}

// lokiBusy is the least wait after 429: Loki sends no Retry-After.
const lokiBusy = 2 * time.Second
