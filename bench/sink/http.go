package sink

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// buffers are kept between requests: the sink shares a machine of two cores
// with what it measures.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func (s *Server) otlpHandler() http.Handler {
	mux := http.NewServeMux()
	for signal, path := range [...]string{Logs: "logs", Metrics: "metrics", Traces: "traces"} {
		mux.HandleFunc("POST /v1/"+path, func(w http.ResponseWriter, r *http.Request) {
			s.post(w, r, Signal(signal))
		})
	}
	return mux
}

func (s *Server) post(w http.ResponseWriter, r *http.Request, signal Signal) {
	if !s.faults.Refuse && s.faults.hits() {
		time.Sleep(s.faults.Delay)
		if s.faults.Status != 0 {
			s.refused.Add(1)
			if s.faults.RetryAfter > 0 {
				w.Header().Set("Retry-After", strconv.Itoa(int((s.faults.RetryAfter+time.Second-1)/time.Second)))
			}
			http.Error(w, "told to answer so", s.faults.Status)
			return
		}
	}
	if got := r.Header.Get("Content-Type"); got != "application/x-protobuf" {
		s.malformed.Add(1)
		http.Error(w, "content type "+got, http.StatusUnsupportedMediaType)
		return
	}
	request := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(request)
	request.Reset()
	wire := counter{in: r.Body}
	if err := readBody(request, &wire, r.Header.Get("Content-Encoding")); err != nil {
		s.malformed.Add(1)
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if err := s.accept(signal, request.Bytes(), wire.n); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// readBody unpacks a body into dst.
func readBody(dst *bytes.Buffer, body io.Reader, encoding string) error {
	in := body
	switch encoding {
	case "", "identity":
	case "gzip":
		zip, err := newGzipReader(body)
		if err != nil {
			return fmt.Errorf("gzip: %w", err)
		}
		in = zip
	case "zstd":
		zip, err := newZstdReader(body)
		if err != nil {
			return fmt.Errorf("zstd: %w", err)
		}
		in = zip
	default:
		return fmt.Errorf("content encoding %q is not supported", encoding)
	}
	n, err := dst.ReadFrom(io.LimitReader(in, maxRequestBytes+1))
	if err != nil {
		return fmt.Errorf("read body: %w", err)
	}
	if n > maxRequestBytes {
		return errors.New("body too large")
	}
	return nil
}

// counter counts what is read.
type counter struct {
	in io.Reader
	n  int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.in.Read(p)
	c.n += int64(n)
	return n, err
}
