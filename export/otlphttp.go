package export

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"stint/export/otlp"
)

// otlpHTTP is a receiver that speaks OTLP/HTTP with protobuf bodies.
type otlpHTTP struct {
	client      *http.Client
	urls        [otlp.Signals]string
	header      http.Header
	compression string // "" = none
}

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
			Timeout: c.Timeout,
			Transport: &http.Transport{
				Proxy:               http.ProxyFromEnvironment,
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
		header: http.Header{
			"Content-Type": {"application/x-protobuf"},
			"User-Agent":   {"stint/" + version},
		},
	}
	for s := range otlp.Signals {
		h.urls[s] = c.URL(s.String())
	}
	for k, v := range c.Headers {
		h.header.Set(k, v.Reveal())
	}
	if c.Compression != "none" && c.Compression != "" {
		h.compression = c.Compression
		h.header.Set("Content-Encoding", c.Compression)
	}
	return h, nil
}

func (h *otlpHTTP) close() { h.client.CloseIdleConnections() }

func (h *otlpHTTP) send(ctx context.Context, r *request) (v Verdict) {
	bufs, size := r.buffers()
	reader := func() io.Reader { b := net.Buffers(append([][]byte(nil), bufs...)); return &b }
	if h.compression != "" {
		body := bodies.Get().(*bytes.Buffer)
		body.Reset()
		defer func() {
			if v.Kind == OK || v.Kind == Partial { // else the transport may still read it
				bodies.Put(body)
			}
		}()
		w := compressTo(body, h.compression)
		for _, b := range bufs {
			if _, err := w.Write(b); err != nil {
				w.Close()
				return Verdict{Kind: Drop, Reason: "compress", Err: err}
			}
		}
		if err := w.Close(); err != nil {
			return Verdict{Kind: Drop, Reason: "compress", Err: err}
		}
		size = body.Len()
		reader = func() io.Reader { return bytes.NewReader(body.Bytes()) }
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.urls[r.signal], reader())
	if err != nil {
		return Verdict{Kind: Misconfigured, Err: err}
	}
	req.ContentLength = int64(size)
	// For the case that a kept connection turns out to be closed.
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(reader()), nil }
	req.Header = h.header

	resp, err := h.client.Do(req)
	if err != nil {
		return httpFailure(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if resp.StatusCode/100 == 2 {
		if err != nil || !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/x-protobuf") {
			return Verdict{Kind: OK} // Prometheus and Loki answer with nothing at all
		}
		return accepted(answer)
	}
	return httpVerdict(resp, answer)
}

// httpFailure is for requests without an answer.
func httpFailure(err error) Verdict {
	v := Verdict{Kind: Again, Unsure: true, Err: err}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		v.Unsure = false
	}
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	if errors.As(err, &unknown) || errors.As(err, &host) || errors.As(err, &invalid) {
		v.Kind, v.Unsure = Misconfigured, false
	}
	return v
}

// httpVerdict sorts status codes as exporters.md 2 does.
func httpVerdict(resp *http.Response, answer []byte) Verdict {
	msg, err := otlp.StatusMessage(answer)
	if err != nil || msg == "" || strings.HasPrefix(resp.Header.Get("Content-Type"), "text/") {
		msg = string(answer)
	}
	v := Verdict{Err: fmt.Errorf("HTTP %s: %s", resp.Status, clip(strings.TrimSpace(msg)))}
	switch code := resp.StatusCode; {
	case code == 429 || code == 502 || code == 503 || code == 504 || code == 408 || code == 499:
		v.Kind, v.After = Again, retryAfter(resp.Header.Get("Retry-After"))
		v.Unsure = code == 502 || code == 504 || code == 408 || code == 499 // a proxy speaks: what is behind it may have it
	case code == 413 || code == 400:
		v.Kind = Split
	case code == 401 || code == 403 || code == 407:
		v.Kind = Auth
	case code/100 == 3 || code == 404 || code == 405 || code == 415:
		v.Kind = Misconfigured
	default:
		v.Kind, v.Reason = Drop, "http_"+strconv.Itoa(code)
	}
	return v
}

// retryAfter reads the header's seconds or date (RFC 9110, 10.2.3).
func retryAfter(s string) time.Duration {
	if n, err := strconv.Atoi(s); err == nil {
		return time.Duration(max(n, 0)) * time.Second
	}
	if t, err := http.ParseTime(s); err == nil {
		return max(time.Until(t), 0)
	}
	return 0
}

func readCAs(path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate in PEM form", path)
	}
	return pool, nil
}
