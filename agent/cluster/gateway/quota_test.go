package gateway

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/client_golang/prometheus"
	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"stint/export/otlp"
)

// Without memory a request is refused with the time to come back, and taken when there is room again.
func TestBusy(t *testing.T) {
	r := newRig(t, nil, nil)
	r.pool.SetLimit(0)
	logs := collogs.NewLogsServiceClient(r.conn())
	_, err := logs.Export(t.Context(), logsOf("x"))
	st := status.Convert(err)
	if st.Code() != codes.Unavailable || len(st.Details()) != 1 {
		t.Fatalf("gRPC: %v", err)
	}
	if d := st.Details()[0].(*errdetails.RetryInfo).GetRetryDelay().AsDuration(); d < time.Second || d > 5*time.Second {
		t.Errorf("it is to come back after %v", d)
	}
	wire, _ := proto.Marshal(logsOf("x"))
	if code, h, _ := r.post("/v1/logs", typeProtobuf, "", wire); code != 503 || h.Get("Retry-After") == "" {
		t.Errorf("HTTP: %d, Retry-After %q", code, h.Get("Retry-After"))
	}
	if n := r.refusals("no_memory"); n != 2 {
		t.Errorf("%v refusals are counted, want 2", n)
	}
	r.pool.SetLimit(64 << 20)
	if _, err := logs.Export(t.Context(), logsOf("x")); err != nil {
		t.Error(err)
	}
	r.wantFile(logsOf("x"))
}

// One client can't have all the memory: its requests that wait for a destination leave room for others.
func TestQuota(t *testing.T) {
	q := quota{most: 100}
	if !q.take("a", 60) || q.take("a", 60) || !q.take("b", 60) || !q.take("a", 40) {
		t.Error("the quota is not each client's own")
	}
	q.give("a", 60)
	q.give("a", 40)
	q.give("b", 60)
	if len(q.held) != 0 {
		t.Errorf("%v are still known", q.held)
	}
}

// The quota leaves room for any one request of up to max_request_bytes, however little memory there is.
func TestQuotaOfLargestRequest(t *testing.T) {
	cfg := Defaults()
	cfg.GRPC, cfg.HTTP, cfg.MaxRequestBytes = "", "127.0.0.1:0", 500<<10
	delivered := func(otlp.Signal) func(*otlp.Chunk) { return func(c *otlp.Chunk) { c.Settle(otlp.Delivered) } }
	g, err := New(Options{Config: cfg, Pool: otlp.NewPool(1<<20, nil), Input: delivered, Log: silent, Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	wire, _ := proto.Marshal(logsOf(strings.Repeat("x", 499<<10)))
	r := httptest.NewRequest(http.MethodPost, "/v1/logs", bytes.NewReader(wire))
	r.Header.Set("Content-Type", typeProtobuf)
	w := httptest.NewRecorder()
	if g.post(w, r, otlp.Logs); w.Code != 200 {
		t.Errorf("%d %q", w.Code, w.Body)
	}
}

// Each scope goes on with its resource, so that a small request can become a large one. What it takes is accounted
// for, and a request that becomes too large is refused as such.
func TestManyScopes(t *testing.T) {
	r := newRig(t, nil, nil)
	logs := collogs.NewLogsServiceClient(r.conn())
	large := manyScopes(1<<20, 2000) // 2 GB
	if _, err := logs.Export(t.Context(), large); status.Code(err) != codes.ResourceExhausted || len(status.Convert(err).Details()) != 0 {
		t.Errorf("gRPC: %v", err)
	}
	wire, _ := proto.Marshal(large)
	if code, _, _ := r.post("/v1/logs", typeProtobuf, "", wire); code != 413 {
		t.Errorf("HTTP: %d", code)
	}
	var used int64
	in := r.in[otlp.Logs]
	r.in[otlp.Logs] = func(c *otlp.Chunk) { used = r.pool.Used(); in(c) }
	if _, err := logs.Export(t.Context(), manyScopes(1<<20, 8)); err != nil {
		t.Error(err)
	}
	if used < 8<<20 {
		t.Errorf("a request that takes 8 MiB is accounted for with %d bytes", used)
	}
}

// Numbers take more bytes in protobuf than in JSON; the limit counts for both.
func TestLargeFromJSON(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxRequestBytes = 1 << 20 }, nil)
	text := `{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"m","histogram":{"dataPoints":[{"bucketCounts":[0` + strings.Repeat(",0", 400<<10) + `]}]}}]}]}]}`
	if code, _, body := r.post("/v1/metrics", typeJSON, "", []byte(text)); code != 413 {
		t.Errorf("%d %s: %d bytes of JSON are some 3.6 MiB", code, body, len(text))
	}
}

// What a block of snappy and a text in JSON become is accounted for as well.
func TestMemoryOfForms(t *testing.T) {
	r := newRig(t, nil, nil)
	var used int64
	in := r.in[otlp.Logs]
	r.in[otlp.Logs] = func(c *otlp.Chunk) { used = r.pool.Used(); in(c) }
	m := logsOf(strings.Repeat("x", 4<<20))
	wire, _ := proto.Marshal(m)
	text, _ := protojson.MarshalOptions{UseEnumNumbers: true}.Marshal(m)
	for name, send := range map[string]func() (int, http.Header, []byte){
		"snappy": func() (int, http.Header, []byte) {
			return r.post("/v1/logs", typeProtobuf, "snappy", snappy.Encode(nil, wire))
		},
		"json": func() (int, http.Header, []byte) { return r.post("/v1/logs", typeJSON, "", text) },
	} {
		if code, _, body := send(); code != 200 || used < 4<<20 {
			t.Errorf("%s: %d %s, accounted for with %d bytes", name, code, body, used)
		}
	}
	r.pool.SetLimit(2 << 20)
	if code, h, _ := r.post("/v1/logs", typeProtobuf, "snappy", snappy.Encode(nil, wire)); code != 503 || h.Get("Retry-After") == "" {
		t.Errorf("without memory for it: %d", code)
	}
}
