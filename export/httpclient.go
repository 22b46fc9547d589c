package export

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// httpOptions are how a destination is reached over HTTP.
type httpOptions struct {
	tls         TLS
	credentials Credentials
	proxy       Secret // proxy_url
	compression string // none, "", gzip, zstd
	socket      string // path of a Unix socket; "" = TCP
	maxAnswer   int64  // bytes of an answer that are read; 0 = 64 KiB
	stream      bool   // answers of 2xx are read as they come
}

const (
	// maxConnAge and maxConnRequests are how long a connection is used, the age give or take a
	// tenth. One that is kept for ever stays with the pod behind a service that it met first,
	// however many there are by now.
	maxConnAge      = 5 * time.Minute
	maxConnRequests = 1000

	// maxSilence is when a connection of HTTP/2 is asked whether it is alive; it has a third of it to
	// answer. One that is dead without a word would hold requests up to their time limit, again and again.
	maxSilence = 30 * time.Second

	dialTimeout = 5 * time.Second
	keepAlive   = 30 * time.Second // of silence, until TCP asks whether the other side is there

	defaultMaxAnswer = 64 << 10
)

// bodies are compressed requests; they are kept, so that no attempt allocates megabytes.
var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// httpClient posts requests to one destination. It owns what all destinations have that speak
// HTTP: credentials, proxy, TLS, compression, connections and the verdict on plain answers.
type httpClient struct {
	agent       string // User-Agent
	login       *login
	tls         *tlsSource
	proxy       func(*url.URL) (*url.URL, error)
	socket      string
	maxAnswer   int64
	stream      bool
	compression atomic.Pointer[string] // "" = none
	age         time.Duration          // maxConnAge; shorter in tests
	silence     time.Duration          // maxSilence; likewise

	mu  sync.Mutex // guards below
	now *transport // nil until the first request
}

// transport is a set of connections that began and end at about the same time. New requests go to
// the next one when it has had its time, or when the files of TLS have changed, so that busy
// connections end, too; what is under way in the old one ends in peace.
type transport struct {
	*http.Transport
	tls      *tls.Config
	until    time.Time
	requests int // begun
	open     int // not ended

	mu    sync.Mutex // guards below
	over  bool
	conns map[*conn]bool // that are not closed
}

// conn is a connection that its transport knows of until it is closed.
type conn struct {
	net.Conn
	t *transport
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.t.mu.Lock()
	delete(c.t.conns, c)
	c.t.mu.Unlock()
	return c.Conn.Close()
}

// keep notes a connection that was dialed.
func (t *transport) keep(c net.Conn) (net.Conn, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		c.Close()
		return nil, net.ErrClosed
	}
	own := &conn{c, t}
	t.conns[own] = true
	return own, nil
}

// hangUp closes all connections; no request is under way. CloseIdleConnections alone leaves some
// open until they time out: one of HTTP/2 counts as busy for a moment after its answer was read.
func (t *transport) hangUp() {
	t.CloseIdleConnections()
	t.mu.Lock()
	conns := t.conns
	t.over, t.conns = true, nil
	t.mu.Unlock()
	for c := range conns {
		c.Conn.Close()
	}
}

func newHTTPClient(o httpOptions, a about) (*httpClient, error) {
	c := &httpClient{agent: "stint/" + a.version, proxy: Proxy(o.proxy), socket: o.socket, maxAnswer: o.maxAnswer, stream: o.stream, age: maxConnAge, silence: maxSilence}
	var err error
	if c.login, err = newLogin(o.credentials, a, proxySecrets(o.proxy)...); err != nil {
		return nil, err
	}
	if c.tls, err = newTLSSource(o.tls, a); err != nil {
		return nil, err
	}
	if c.maxAnswer == 0 {
		c.maxAnswer = defaultMaxAnswer
	}
	c.compress(o.compression)
	return c, nil
}

// compress says how bodies are compressed from now on: none, gzip, zstd.
func (c *httpClient) compress(name string) {
	if name == "none" {
		name = ""
	}
	c.compression.Store(&name)
}

func (c *httpClient) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now != nil {
		c.now.hangUp()
		c.now = nil
	}
}

// begin gives the connections for one request; end must be called after it.
func (c *httpClient) begin() *transport {
	cfg := c.tls.get()
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.now; t == nil || t.tls != cfg || t.requests >= maxConnRequests || !time.Now().Before(t.until) {
		if t != nil && t.open == 0 {
			t.hangUp()
		}
		c.now = c.newTransport(cfg)
	}
	c.now.requests++
	c.now.open++
	return c.now
}

func (c *httpClient) end(t *transport) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.open--; t.open == 0 && t != c.now {
		t.hangUp()
	}
}

func (c *httpClient) newTransport(cfg *tls.Config) *transport {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: keepAlive} // both families of addresses, side by side
	own := cfg.Clone()
	if cfg.GetClientCertificate != nil {
		own.GetClientCertificate = func(r *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			c.tls.doubt() // handshakes are rare: the newest certificate
			return c.tls.get().GetClientCertificate(r)
		}
	}
	t := &transport{tls: cfg, until: time.Now().Add(c.age*9/10 + rand.N(c.age/5+1)), conns: map[*conn]bool{}}
	t.Transport = &http.Transport{
		Proxy: func(r *http.Request) (*url.URL, error) { return c.proxy(r.URL) },
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if c.socket != "" {
				network, addr = "unix", c.socket
			}
			conn, err := dialer.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return t.keep(conn)
		},
		OnProxyConnectResponse: func(_ context.Context, _ *url.URL, _ *http.Request, resp *http.Response) error {
			if resp.StatusCode != http.StatusOK {
				return &proxyRefusal{resp.StatusCode, resp.Status}
			}
			return nil
		},
		TLSClientConfig:     own,
		TLSHandshakeTimeout: 10 * time.Second,
		ForceAttemptHTTP2:   true,
		HTTP2:               &http.HTTP2Config{SendPingTimeout: c.silence, PingTimeout: c.silence / 3},
		// A connection a lane: Go's default of 2 would dial anew all the time.
		MaxIdleConnsPerHost: logLanes + 1,
		IdleConnTimeout:     90 * time.Second,
		WriteBufferSize:     64 << 10,
		DisableCompression:  true, // of answers
	}
	if c.socket != "" {
		t.Proxy = nil
	}
	return t
}

// httpAnswer is what a server said.
type httpAnswer struct {
	code   int
	status string // "503 Service Unavailable"
	header http.Header
	body   []byte    // at most maxAnswer bytes
	whole  bool      // the body could be read to its end
	stream io.Reader // in place of body, if that is wanted and the status is 2xx
}

// post sends bufs, size bytes in all, and gives read's verdict on the answer, whatever its status
// is, with nothing secret in the error. header holds the Content-Type and what else the
// destination needs; it is not changed. No more than maxAnswer bytes of the answer are read.
func (c *httpClient) post(ctx context.Context, url string, header http.Header, bufs [][]byte, size int, read func(*httpAnswer) Verdict) Verdict {
	compression := *c.compression.Load()
	if compression != "" {
		body := bodies.Get().(*bytes.Buffer)
		defer bodies.Put(body)
		body.Reset()
		w := compressTo(body, compression)
		for _, b := range bufs {
			w.Write(b) // a bytes.Buffer takes everything
		}
		w.Close()
		bufs, size = [][]byte{body.Bytes()}, body.Len()
	}
	return c.postAs(ctx, url, header, compression, bufs, size, read)
}

// postAs is post with a body that is compressed already; "" is not.
func (c *httpClient) postAs(ctx context.Context, url string, header http.Header, compression string, bufs [][]byte, size int, read func(*httpAnswer) Verdict) Verdict {
	m := &loan{bufs: bufs}
	defer m.end()

	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, m.reader())
	if err != nil {
		return Verdict{Kind: Misconfigured, Err: errors.New("the URL can't be used")}
	}
	req.ContentLength = int64(size)
	// For the case that a kept connection turns out to be closed.
	req.GetBody = func() (io.ReadCloser, error) { return m.reader(), nil }
	req.Header = header.Clone()
	req.Header.Set("User-Agent", c.agent)
	login := c.login.get()
	login.apply(req.Header)
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host // net/http sends it from there alone
	}
	if compression != "" {
		req.Header.Set("Content-Encoding", compression)
	}

	v := c.do(req, read)
	v.Err = login.clean(v.Err)
	switch v.Kind {
	case Auth:
		c.login.refused()
	case Misconfigured:
		c.tls.doubt()
	}
	return v
}

func (c *httpClient) do(req *http.Request, read func(*httpAnswer) Verdict) Verdict {
	t := c.begin()
	defer c.end(t)
	resp, err := t.RoundTrip(req) // follows no redirect: a POST would arrive as a GET without its body
	if err != nil {
		return httpFailure(err)
	}
	defer resp.Body.Close()
	a := &httpAnswer{code: resp.StatusCode, status: resp.Status, header: resp.Header}
	if c.stream && a.code/100 == 2 {
		a.stream = resp.Body
		v := read(a)
		io.Copy(io.Discard, io.LimitReader(resp.Body, c.maxAnswer)) // to the end, so that the connection is kept
		return v
	}
	a.body, err = io.ReadAll(io.LimitReader(resp.Body, c.maxAnswer)) // to the end, so that the connection is kept
	a.whole = err == nil && int64(len(a.body)) < c.maxAnswer
	return read(a)
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
	var proxy *proxyRefusal
	switch {
	case errors.As(err, &proxy):
		return proxy.verdict()
	case errors.As(err, &op) && (op.Op == "dial" || op.Op == "proxyconnect"):
		v.Unsure = false
	case errors.As(err, &verify) || strings.Contains(err.Error(), tlsAlert) || strings.Contains(err.Error(), tlsToPlain):
		v.Kind, v.Unsure = Misconfigured, false
	}
	return v
}

// verdict sorts an answer that is not 2xx by its status alone; msg is what people are told.
func (a *httpAnswer) verdict(msg string) Verdict {
	v := byHTTPStatus(a.code)
	if v.Kind == Again {
		v.After = retryAfter(a.header.Get("Retry-After"))
	}
	v.Err = fmt.Errorf("HTTP %s: %s", a.status, strings.TrimSpace(msg))
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
