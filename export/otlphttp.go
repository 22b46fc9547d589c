package export

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"stint/export/otlp"
)

// otlpHTTP is a receiver that speaks OTLP/HTTP with protobuf bodies.
type otlpHTTP struct {
	client *http.Client
	urls   [otlp.Signals]string
	form   atomic.Pointer[httpForm]
	hide   *strings.Replacer
	dialed atomic.Int64 // unix s; when kept connections were last closed

	prometheus bool // metrics go to a Prometheus
	promote    bool // and points get the identity of their resource
}

// httpForm is how bodies are sent.
type httpForm struct {
	compression string      // "" = none
	header      http.Header // of every request; not changed
}

func (f *httpForm) compressed(name string) *httpForm {
	g := &httpForm{name, f.header.Clone()}
	if g.header.Del("Content-Encoding"); name != "" {
		g.header.Set("Content-Encoding", name)
	}
	return g
}

// maxConnAge is how long a connection is kept, in seconds. One that is kept for ever stays with
// the pod behind a service that it met first, however many there are by now.
const maxConnAge = 5 * 60

// maxAnswer is how much of an answer is read.
const maxAnswer = 64 << 10

// bodies are compressed requests; they are kept, so that no attempt allocates megabytes.
var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func newOTLPHTTP(c *OTLPHTTP, version string) (*otlpHTTP, error) {
	cfg, err := clientTLS(c.TLS)
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}
	h := &otlpHTTP{
		client: &http.Client{
			Transport: &http.Transport{
				Proxy:               func(r *http.Request) (*url.URL, error) { return proxyFor(r.URL) },
				DialContext:         dialer.DialContext,
				TLSClientConfig:     cfg,
				TLSHandshakeTimeout: 10 * time.Second,
				// A connection a lane: Go's default of 2 would dial anew all the time.
				MaxIdleConnsPerHost: logLanes + 1,
				IdleConnTimeout:     90 * time.Second,
				WriteBufferSize:     64 << 10,
				DisableCompression:  true, // of answers
			},
			// A POST that is redirected would arrive as a GET without its body.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		hide:       hide(c.Headers),
		prometheus: isPrometheus(c.URL(otlp.Metrics.String())),
	}
	h.promote = c.PromoteResource == "on" || h.prometheus && c.PromoteResource != "off"
	form := &httpForm{header: http.Header{
		"Content-Type": {"application/x-protobuf"},
		"User-Agent":   {"stint/" + version},
	}}
	for s := range otlp.Signals {
		h.urls[s] = c.URL(s.String())
	}
	for k, v := range c.Headers {
		form.header.Set(k, v.Reveal())
	}
	if c.Compression != "none" {
		form = form.compressed(c.Compression)
	}
	h.form.Store(form)
	return h, nil
}

func (h *otlpHTTP) close() { h.client.CloseIdleConnections() }

func (h *otlpHTTP) send(ctx context.Context, r *request) Verdict {
	if now, last := time.Now().Unix(), h.dialed.Load(); now-last >= maxConnAge && h.dialed.CompareAndSwap(last, now) {
		h.client.CloseIdleConnections()
	}
	bufs, size := r.buffers()
	if h.promote && r.signal == otlp.Metrics {
		p := promoters.Get().(*promoter)
		defer promoters.Put(p)
		b, err := p.promote(r)
		if err != nil {
			return Verdict{Kind: Drop, Reason: invalid, Err: err}
		}
		bufs, size = [][]byte{b}, len(b)
	}
	form := h.form.Load()
	if form.compression != "" {
		body := bodies.Get().(*bytes.Buffer)
		defer bodies.Put(body)
		body.Reset()
		w := compressTo(body, form.compression)
		for _, b := range bufs {
			w.Write(b) // a bytes.Buffer takes everything
		}
		w.Close()
		bufs, size = [][]byte{body.Bytes()}, body.Len()
	}
	m := &loan{bufs: bufs}
	defer m.end()

	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.urls[r.signal], m.reader())
	if err != nil {
		return Verdict{Kind: Misconfigured, Err: errors.New("the URL can't be used")}
	}
	req.ContentLength = int64(size)
	// For the case that a kept connection turns out to be closed.
	req.GetBody = func() (io.ReadCloser, error) { return m.reader(), nil }
	req.Header = form.header

	v := h.do(req, r.signal)
	v.Err = cleaned(v.Err, h.hide)
	return v
}

func (h *otlpHTTP) do(req *http.Request, signal otlp.Signal) Verdict {
	resp, err := h.client.Do(req)
	if err != nil {
		return httpFailure(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer)) // to the end, so that the connection is kept
	if resp.StatusCode/100 == 2 {
		if err != nil || !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/x-protobuf") {
			return Verdict{Kind: OK} // Prometheus and Loki answer with nothing at all
		}
		return accepted(answer)
	}
	v := httpVerdict(resp, answer)
	if h.prometheus && signal == otlp.Metrics {
		if text := string(answer); gzipOnly(resp.StatusCode, text) {
			h.form.Store(h.form.Load().compressed("gzip")) // the same data at once in another form, not cut in two
			v.Kind, v.Reason = Again, ""
		} else {
			v = byPrometheus(v, resp.StatusCode, text)
		}
	}
	return v
}

// loan lets net/http read a request's bytes until end. The transport reads in a goroutine of
// its own, which may go on after the answer has come or the attempt was given up; the bytes
// are used for something else by then.
type loan struct {
	bufs [][]byte

	mu    sync.Mutex
	ended bool
}

func (l *loan) end() {
	l.mu.Lock()
	l.ended = true
	l.mu.Unlock()
}

// reader reads from the beginning.
func (l *loan) reader() io.ReadCloser { return io.NopCloser(&loanReader{loan: l}) }

type loanReader struct {
	*loan
	at, off int // buffer, offset in it
}

func (r *loanReader) Read(p []byte) (n int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return 0, errors.New("the attempt is over")
	}
	for n < len(p) && r.at < len(r.bufs) {
		c := copy(p[n:], r.bufs[r.at][r.off:])
		n += c
		if r.off += c; r.off == len(r.bufs[r.at]) {
			r.at, r.off = r.at+1, 0
		}
	}
	if r.at == len(r.bufs) {
		err = io.EOF
	}
	return n, err
}

// httpFailure is for requests without an answer.
func httpFailure(err error) Verdict {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err // the URL may hold a token in its query
	}
	v := Verdict{Kind: Again, Unsure: true, Err: err}
	var op *net.OpError
	var verify *tls.CertificateVerificationError
	switch {
	case errors.As(err, &op) && op.Op == "dial":
		v.Unsure = false
	case errors.As(err, &verify) || strings.Contains(err.Error(), tlsAlert) || strings.Contains(err.Error(), "gave HTTP response to HTTPS client"):
		v.Kind, v.Unsure = Misconfigured, false
	}
	return v
}

// httpVerdict reads an answer that is not 2xx.
func httpVerdict(resp *http.Response, answer []byte) Verdict {
	msg, err := otlp.StatusMessage(answer)
	if err != nil || msg == "" || strings.HasPrefix(resp.Header.Get("Content-Type"), "text/") {
		msg = string(answer)
	}
	v := byHTTPStatus(resp.StatusCode)
	if v.Kind == Again {
		v.After = retryAfter(resp.Header.Get("Retry-After"))
	}
	v.Err = fmt.Errorf("HTTP %s: %s", resp.Status, strings.TrimSpace(msg))
	return v
}

// byHTTPStatus sorts status codes other than 2xx as exporters.md 2 does.
func byHTTPStatus(code int) Verdict {
	switch {
	case code == 429 || code == 503:
		return Verdict{Kind: Again}
	case code == 502 || code == 504 || code == 408 || code == 499:
		return Verdict{Kind: Again, Unsure: true} // a proxy speaks: what is behind it may have it
	case code == 413:
		return Verdict{Kind: Split, Reason: tooLarge}
	case code == 400:
		return Verdict{Kind: Split, Reason: invalid}
	case code == 401 || code == 403 || code == 407:
		return Verdict{Kind: Auth}
	case code/100 <= 3 || code == 404 || code == 405 || code == 415:
		return Verdict{Kind: Misconfigured}
	}
	return Verdict{Kind: Drop, Reason: "http_" + strconv.Itoa(code)}
}

// retryAfter reads the header's seconds or date (RFC 9110, 10.2.3).
func retryAfter(s string) time.Duration {
	if n, err := strconv.Atoi(s); err == nil {
		return time.Duration(min(max(n, 0), 1e6)) * time.Second
	}
	if t, err := http.ParseTime(s); err == nil {
		return max(time.Until(t), 0)
	}
	return 0
}
