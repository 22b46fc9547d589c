package export

import (
	"context"
	"net/http"
	"strings"

	"stint/export/otlp"
)

// otlpHTTP is a receiver that speaks OTLP/HTTP with protobuf bodies.
type otlpHTTP struct {
	*httpClient
	urls [otlp.Signals]string

	prometheus bool // metrics go to a Prometheus
	promote    bool // and points get the identity of their resource
}

func newOTLPHTTP(c *OTLPHTTP, a about) (*otlpHTTP, error) {
	socket, _ := Socket(c.Endpoint)
	client, err := newHTTPClient(httpOptions{
		tls: c.TLS, credentials: c.Credentials, proxy: c.ProxyURL, compression: c.Compression, socket: socket,
	}, a)
	if err != nil {
		return nil, err
	}
	h := &otlpHTTP{httpClient: client, prometheus: isPrometheus(c.URL(otlp.Metrics.String()))}
	h.promote = c.PromoteResource == "on" || h.prometheus && c.PromoteResource != "off"
	for s := range otlp.Signals {
		h.urls[s] = c.URL(s.String())
	}
	return h, nil
}

var otlpHeader = http.Header{"Content-Type": {"application/x-protobuf"}}

func (h *otlpHTTP) send(ctx context.Context, r *request) Verdict {
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
	return h.post(ctx, h.urls[r.signal], otlpHeader, bufs, size, func(a *httpAnswer) Verdict { return h.read(a, r.signal) })
}

func (h *otlpHTTP) read(a *httpAnswer, signal otlp.Signal) Verdict {
	if a.code/100 == 2 {
		if !a.whole || !strings.HasPrefix(a.header.Get("Content-Type"), "application/x-protobuf") {
			return Verdict{Kind: OK} // Prometheus and Loki answer with nothing at all
		}
		return accepted(a.body)
	}
	v := a.verdict(otlpMessage(a))
	if h.prometheus && signal == otlp.Metrics {
		if text := string(a.body); gzipOnly(a.code, text) {
			h.compress("gzip") // the same data at once in another form, not cut in two
			v.Kind, v.Reason = Again, ""
		} else {
			v = byPrometheus(v, a.code, text)
		}
	}
	return v
}

// otlpMessage is what a refusal says: that of a google.rpc.Status, or text.
func otlpMessage(a *httpAnswer) string {
	msg, err := otlp.StatusMessage(a.body)
	if err != nil || msg == "" || strings.HasPrefix(a.header.Get("Content-Type"), "text/") {
		return string(a.body)
	}
	return msg
}
