package export

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"stint/export/otlp"
)

// otlpHTTP is a receiver that speaks OTLP/HTTP with protobuf bodies.
type otlpHTTP struct {
	*httpClient
	urls [otlp.Signals]string

	json       bool
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
	h := &otlpHTTP{httpClient: client, json: c.Encoding == "json", prometheus: isPrometheus(c.URL(otlp.Metrics.String()))}
	h.promote = c.PromoteResource == "on" || h.prometheus && c.PromoteResource != "off"
	for s := range otlp.Signals {
		h.urls[s] = c.URL(s.String())
	}
	return h, nil
}

var (
	otlpHeader     = http.Header{"Content-Type": {"application/x-protobuf"}}
	otlpJSONHeader = http.Header{"Content-Type": {"application/json"}}
)

func (h *otlpHTTP) send(ctx context.Context, r *request) Verdict {
	bufs, size := r.buffers()
	if h.promote && r.signal == otlp.Metrics {
		p := promoters.Get().(*promoter)
		defer promoters.Put(p)
		b, err := p.promote(r)
		if err != nil {
			return Verdict{Kind: Split, Reason: invalid, Err: err}
		}
		bufs, size = [][]byte{b}, len(b)
	}
	header := otlpHeader
	if h.json {
		j := jsonLines.Get().(*jsonLine)
		defer jsonLines.Put(j)
		if err := j.of(r.signal, bufs); err != nil {
			return Verdict{Kind: Split, Reason: invalid, Err: err}
		}
		header, bufs, size = otlpJSONHeader, [][]byte{j.line}, len(j.line)
	}
	if !h.prometheus {
		header = header.Clone()
		header.Set(BatchID, r.id)
	}
	return h.post(ctx, h.urls[r.signal], header, bufs, size, func(a *httpAnswer) Verdict { return h.read(a, r.signal) })
}

func (h *otlpHTTP) read(a *httpAnswer, signal otlp.Signal) Verdict {
	if a.code/100 == 2 {
		switch kind := a.header.Get("Content-Type"); {
		case a.whole && strings.HasPrefix(kind, "application/x-protobuf"):
			return accepted(a.body)
		case a.whole && strings.HasPrefix(kind, "application/json"):
			return acceptedJSON(a.body)
		}
		return Verdict{Kind: OK} // Prometheus and Loki answer with nothing at all
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

// acceptedJSON is accepted for an answer in JSON.
func acceptedJSON(answer []byte) Verdict {
	var m struct {
		PartialSuccess struct {
			RejectedLogRecords, RejectedDataPoints, RejectedSpans json.RawMessage // number, or number as a string
			ErrorMessage                                          string
		}
	}
	err := json.Unmarshal(answer, &m)
	p := &m.PartialSuccess
	rejected := int64(0)
	for _, n := range []json.RawMessage{p.RejectedLogRecords, p.RejectedDataPoints, p.RejectedSpans} {
		if text := strings.Trim(string(n), `"`); err == nil && text != "" {
			var k int64
			k, err = strconv.ParseInt(text, 10, 64)
			rejected += k
		}
	}
	return acceptance(rejected, p.ErrorMessage, err)
}

// otlpMessage is what a refusal says: that of a google.rpc.Status, or text.
func otlpMessage(a *httpAnswer) string {
	if strings.HasPrefix(a.header.Get("Content-Type"), "application/json") {
		var status struct{ Message string }
		if json.Unmarshal(a.body, &status) == nil && status.Message != "" {
			return status.Message
		}
	}
	msg, err := otlp.StatusMessage(a.body)
	if err != nil || msg == "" || strings.HasPrefix(a.header.Get("Content-Type"), "text/") {
		return string(a.body)
	}
	return msg
}
