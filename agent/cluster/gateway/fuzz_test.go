package gateway

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"stint/export/otlp"
)

// Whatever is posted is answered, takes no memory for good, and what is accepted arrives with as many records
// as it has.
func FuzzPost(f *testing.F) {
	wire, err := proto.Marshal(logsOf("one", "two"))
	if err != nil {
		f.Fatal(err)
	}
	text, err := otlp.AppendJSON(nil, otlp.Logs, wire)
	if err != nil {
		f.Fatal(err)
	}
	kinds, encodings := []string{typeProtobuf, typeJSON, "text/plain"}, []string{"", "gzip", "zstd", "deflate", "snappy", "br"}
	f.Add(uint8(0), uint8(0), wire)
	f.Add(uint8(1), uint8(0), text)
	for i := range encodings {
		f.Add(uint8(0), uint8(i), wire)
	}
	arrived := 0
	pool := otlp.NewPool(8<<20, nil)
	in := func(c *otlp.Chunk) {
		n, err := otlp.Count(otlp.Logs, append(c.Group.AppendFrame(nil, len(c.Data)), c.Data...))
		if err != nil || n != c.Records {
			panic("a chunk is not what it says")
		}
		arrived += n
		c.Settle(otlp.Delivered)
	}
	cfg := Defaults()
	cfg.GRPC, cfg.HTTP, cfg.MaxRequestBytes = "", "", 1<<20
	g, err := New(Options{Config: cfg, Pool: pool, Input: func(otlp.Signal) func(*otlp.Chunk) { return in }, Log: silent, Registerer: prometheus.NewRegistry()})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, kind, encoding uint8, body []byte) {
		arrived = 0
		r := httptest.NewRequest(http.MethodPost, "/v1/logs", bytes.NewReader(body))
		r.Header.Set("Content-Type", kinds[int(kind)%len(kinds)])
		r.Header.Set("Content-Encoding", encodings[int(encoding)%len(encodings)])
		w := httptest.NewRecorder()
		g.post(w, r, otlp.Logs)
		if w.Code != 200 && arrived != 0 {
			t.Errorf("%d, but %d records arrived", w.Code, arrived)
		}
		if n := pool.Used(); n != 0 {
			t.Errorf("%d bytes of memory are still in use", n)
		}
		if w.Code == 200 && kinds[int(kind)%len(kinds)] == typeProtobuf && encodings[int(encoding)%len(encodings)] == "" {
			if n, err := otlp.Count(otlp.Logs, body); err != nil || n != arrived {
				t.Errorf("%d records arrived of %d, %v", arrived, n, err)
			}
		}
	})
}
