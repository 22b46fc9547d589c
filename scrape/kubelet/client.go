package kubelet

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	// maxBody bounds an answer: 24 pods take 160 KB of /pods, 250 with long specifications some MB.
	maxBody = 32 << 20
	// tokenAge is how long a token is used before its file is looked at again. The kubelet renews
	// a projected token when 80 % of its life, at least 10 minutes, are over.
	tokenAge = time.Minute
	// maxQuoted is how much of a refusal is repeated in an error.
	maxQuoted = 300
)

// Client asks the kubelet of this node over HTTPS. It may be used by several goroutines.
//
// The kubelet's certificate is verified at each handshake, against the authorities of ca_file as
// it then is (the last good ones while it can't be read), or against the pin. A connection that
// stands is not verified again.
type Client struct {
	base      *url.URL
	caFile    string
	tokenFile string
	pin       []byte
	skip      bool
	timeout   time.Duration
	http      *http.Client

	mu      sync.Mutex // guards everything below
	caPEM   []byte     // what roots was made of
	roots   *x509.CertPool
	token   string
	tokenAt time.Time // when the file was read; zero: never with success
}

// failure is an error with the reason that it is counted under.
type failure struct {
	reason string
	err    error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func fail(reason, format string, args ...any) error {
	return &failure{reason, fmt.Errorf(format, args...)}
}

// reasonOf is what an error is counted under.
func reasonOf(err error) string {
	if f := (*failure)(nil); errors.As(err, &f) {
		return f.reason
	}
	return "failed"
}

// NewClient makes a client for cfg.Endpoint, which must be set. Nothing is connected or read yet.
func NewClient(cfg Config, log *slog.Logger) (*Client, error) {
	base, err := parseEndpoint(cfg.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("scrape.kubelet.endpoint: %w", err)
	}
	c := &Client{base: base, caFile: cfg.CAFile, tokenFile: cfg.TokenFile, skip: cfg.InsecureSkipVerify, timeout: cfg.Timeout}
	if cfg.Pin != "" {
		if c.pin, err = parsePin(cfg.Pin); err != nil {
			return nil, fmt.Errorf("scrape.kubelet.pin: %w", err)
		}
	}
	if c.skip {
		log.Warn("the kubelet's certificate is not verified: whoever answers at the endpoint gets the agent's token; set scrape.kubelet.ca_file or pin instead of insecure_skip_verify",
			"endpoint", cfg.Endpoint)
	}
	dialer := &net.Dialer{Timeout: cfg.Timeout}
	c.http = &http.Client{
		Transport: &http.Transport{
			// The certificate is for the name, whatever the address.
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				if _, port, err := net.SplitHostPort(address); err == nil && cfg.Address != "" {
					address = net.JoinHostPort(cfg.Address, port)
				}
				return dialer.DialContext(ctx, network, address)
			},
			// InsecureSkipVerify only turns Go's own check off: verify is called for each
			// connection and reads the authorities as they are at that time.
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true, VerifyConnection: c.verify},
			MaxConnsPerHost:        2,
			MaxIdleConnsPerHost:    2,
			IdleConnTimeout:        90 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
			DisableCompression:     true, // it ignores Accept-Encoding for what we read
		},
		// The kubelet redirects nothing we ask for, and the token is for nobody else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

// Get reads what the kubelet answers for path, which may carry a query. read gets the body of an
// answer with status 200, and an error in it after 32 MiB; it need not read to the end. What it
// made of the body counts only if Get returns nil. Everything together takes no longer than the
// timeout.
func (c *Client) Get(ctx context.Context, path string, read func(io.Reader) error) error {
	parent := ctx
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	token, err := c.bearer("")
	if err != nil {
		return err
	}
	resp, err := c.send(ctx, path, token)
	if err == nil && resp.StatusCode == http.StatusUnauthorized {
		// The token may have been renewed within the minute in which it is not looked at.
		if fresh, ferr := c.bearer(token); ferr == nil && fresh != token {
			resp.Body.Close()
			token = fresh
			resp, err = c.send(ctx, path, token)
		}
	}
	if err != nil {
		return c.unsent(parent, path, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return c.refused(resp, path, token)
	}
	body := &bounded{r: resp.Body, left: maxBody}
	err = read(body)
	if err == nil {
		_, err = io.Copy(io.Discard, body) // else the connection is not used again
	}
	switch {
	case ctx.Err() != nil:
		// Even without err: a server that sees us hang up may still end a half answer properly.
		return c.unsent(parent, path, ctx.Err())
	case err == nil:
		return nil
	case body.left < 0:
		return fail("too_large", "GET %s: the answer is over %d bytes", c.url(path), maxBody)
	case body.err != nil:
		return c.unsent(parent, path, body.err)
	}
	return fail("malformed", "GET %s: %w", c.url(path), err)
}

func (c *Client) send(ctx context.Context, path, token string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url(path), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "stint-agent")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return c.http.Do(req)
}

func (c *Client) url(path string) string { return c.base.Scheme + "://" + c.base.Host + path }

// closeIdle ends connections that nobody uses, and their goroutines.
func (c *Client) closeIdle() { c.http.CloseIdleConnections() }

// bearer is the token to send. Its file is read once a minute, and at once if refused is the
// token that was used last.
func (c *Client) bearer(refused string) (string, error) {
	if c.tokenFile == "" {
		return "", nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.tokenAt.IsZero() && c.token != refused && time.Since(c.tokenAt) < tokenAge {
		return c.token, nil
	}
	text, err := os.ReadFile(c.tokenFile)
	token := string(bytes.TrimSpace(text))
	switch {
	case err == nil && token != "" && !strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		c.token, c.tokenAt = token, time.Now()
	case !c.tokenAt.IsZero():
		// The last good one; it may have been read in the middle of a change.
	case err != nil:
		return "", fail("token", "token_file: %w; mount a service account token there, or set scrape.kubelet.token_file", err)
	default:
		return "", fail("token", "token_file: %s holds no bearer token; it must hold one word", c.tokenFile)
	}
	return c.token, nil
}

// errUnverified is in every error that verify ends a handshake with.
var errUnverified = errors.New("the kubelet's certificate is not trusted")

// verify decides whether the other side is the kubelet.
func (c *Client) verify(cs tls.ConnectionState) error {
	if c.skip {
		return nil
	}
	leaf := cs.PeerCertificates[0]
	spki := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	seen := base64.StdEncoding.EncodeToString(spki[:])
	if c.pin != nil {
		if subtle.ConstantTimeCompare(spki[:], c.pin) != 1 {
			return fmt.Errorf("%w: its public key is %s, not scrape.kubelet.pin; if the kubelet has a new certificate, set the pin anew", errUnverified, seen)
		}
		return nil
	}
	roots, err := c.authorities()
	if err != nil {
		return fmt.Errorf("%w: %w", errUnverified, err)
	}
	opts := x509.VerifyOptions{DNSName: c.base.Hostname(), Roots: roots, Intermediates: x509.NewCertPool()}
	for _, cert := range cs.PeerCertificates[1:] {
		opts.Intermediates.AddCert(cert)
	}
	_, err = leaf.Verify(opts)
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &unknown):
		return fmt.Errorf("%w: no authority in ca_file (%s) has signed it; set scrape.kubelet.ca_file to the authority of the kubelet's serving certificates or, "+
			"if the kubelet signs its own (no serverTLSBootstrap), scrape.kubelet.pin to %s once you have compared that with the node's kubelet.crt", errUnverified, c.caFile, seen)
	case errors.As(err, &name):
		return fmt.Errorf("%w: it is for %v %v, not %s; use one of these in scrape.kubelet.endpoint", errUnverified, leaf.DNSNames, leaf.IPAddresses, c.base.Hostname())
	}
	return fmt.Errorf("%w: %w", errUnverified, err)
}

// authorities are those of ca_file as it is now; the last good ones if it can't be used.
// nil are those of the system.
func (c *Client) authorities() (*x509.CertPool, error) {
	if c.caFile == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(c.caFile)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil && (c.roots == nil || !bytes.Equal(pem, c.caPEM)) {
		pool := x509.NewCertPool()
		if pool.AppendCertsFromPEM(pem) {
			c.caPEM, c.roots = pem, pool
		} else {
			err = fmt.Errorf("%s holds no certificate in PEM form", c.caFile)
		}
	}
	if c.roots != nil {
		return c.roots, nil
	}
	return nil, fmt.Errorf("scrape.kubelet.ca_file: %w", err)
}

// unsent is the error for a request that got no whole answer. parent is the caller's context: its end
// is not the kubelet's fault.
func (c *Client) unsent(parent context.Context, path string, err error) error {
	if parent.Err() != nil {
		return parent.Err()
	}
	var timeout net.Error
	if ue := (*url.Error)(nil); errors.As(err, &ue) {
		err = ue.Err // without the URL, which is in front already
	}
	switch {
	case errors.Is(err, errUnverified):
		return fail("tls", "GET %s: %w", c.url(path), err)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return fail("timeout", "GET %s: no whole answer within %v", c.url(path), c.timeout)
	case strings.Contains(err.Error(), "tls: "), strings.Contains(err.Error(), "HTTP response to HTTPS client"):
		return fail("tls", "GET %s: %w; is scrape.kubelet.endpoint the kubelet's secure port, 10250?", c.url(path), err)
	}
	return fail("unreachable", "GET %s: %w", c.url(path), err)
}

// refused is the error for an answer other than 200.
func (c *Client) refused(resp *http.Response, path, token string) error {
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxQuoted))
	said := strings.Join(strings.Fields(strings.ToValidUTF8(string(text), "")), " ")
	if token != "" {
		said = strings.ReplaceAll(said, token, "[token]")
	}
	switch resp.StatusCode {
	case http.StatusUnauthorized:
		if token == "" {
			return fail("unauthorized", "GET %s: 401: the kubelet wants a token; set scrape.kubelet.token_file", c.url(path))
		}
		return fail("unauthorized", "GET %s: 401: the kubelet does not accept the token in %s; it must be a token of this cluster for the API server's audience that has not expired, "+
			"and the kubelet must run with authentication.webhook.enabled", c.url(path), c.tokenFile)
	case http.StatusForbidden:
		return fail("forbidden", "GET %s: 403: the agent's ClusterRole lacks the rule {apiGroups: [\"\"], resources: [%s], verbs: [get]}; the kubelet says: %s",
			c.url(path), subresource(path), said)
	}
	return fail("status", "GET %s: %s: %s", c.url(path), resp.Status, said)
}

// subresource is the least that allows a path. Kubelets before 1.33 want nodes/proxy for /pods,
// which also allows to run commands in every pod: where the Pods API is missing there, better
// go without pod metadata.
func subresource(path string) string {
	if strings.HasPrefix(path, "/stats/") {
		return "nodes/stats"
	}
	return "nodes/pods"
}

// bounded is a reader that remembers how it ended, and fails after left bytes.
type bounded struct {
	r    io.Reader
	left int64 // under 0: there was more
	err  error // of r, unless io.EOF
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, io.ErrUnexpectedEOF
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return n - 1, io.ErrUnexpectedEOF
	}
	if err != nil && err != io.EOF {
		b.err = err
	}
	return n, err
}
