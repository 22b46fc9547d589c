package gateway

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"stint/export"
	"stint/export/otlp"
)

const exportLogs = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"

// wantService fails unless both servers take a good request, and these two are all that has arrived.
func (r *rig) wantService() {
	r.t.Helper()
	if _, err := collogs.NewLogsServiceClient(r.conn()).Export(r.t.Context(), logsOf("x")); err != nil {
		r.t.Errorf("a good request by gRPC: %v", err)
	}
	wire, _ := proto.Marshal(logsOf("y"))
	if code, _, body := r.post("/v1/logs", typeProtobuf, "", wire); code != 200 {
		r.t.Errorf("a good request over HTTP: %d %s", code, body)
	}
	r.wantFile(logsOf("x"), logsOf("y"))
}

// Ten thousand connections that say no more than they must cost little and keep nobody out.
func TestManyConnections(t *testing.T) {
	n := 10_000
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	before := limit
	if want := uint64(2*n + 500); limit.Cur < want { // both ends are ours
		limit.Cur, limit.Max = want, max(want, limit.Max)
		if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
			n = int(before.Cur-500) / 2
			t.Logf("only %d connections: the limit of open files is %d", n, before.Cur)
		}
		defer syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before)
	}
	r := newRig(t, nil, nil)
	grpcAt, httpAt := r.Addresses()
	used := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	start := used()
	settings := http2.ClientPreface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00" // an empty SETTINGS
	for i := range n {
		c, err := net.Dial("tcp", []string{grpcAt, httpAt}[i%2])
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		defer c.Close()
		if i%2 == 0 {
			_, err = io.WriteString(c, settings)
		} else {
			_, err = io.WriteString(c, "POST /v1/logs HTTP/1.1\r\nHost: a\r\n")
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	r.wantService()
	if each := (used() - start) / uint64(n); each > 64<<10 {
		t.Errorf("a connection takes %d bytes, both ends together", each)
	}
	if got := r.pool.Used(); got != 0 {
		t.Errorf("connections without a request hold %d bytes of the memory for requests", got)
	}
}

// Who sends headers or bodies slowly, or never, is cut off; what was held for it is free again.
func TestSlowClients(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for time limits of 10 and 30 seconds")
	}
	r := newRig(t, nil, nil)
	grpcAt, httpAt := r.Addresses()
	dial := func(addr, text string) net.Conn {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if _, err := io.WriteString(c, text); err != nil {
			t.Fatal(err)
		}
		return c
	}
	var request bytes.Buffer // one that ends in the midst of its message
	request.WriteString(http2.ClientPreface)
	frames := http2.NewFramer(&request, nil)
	frames.WriteSettings()
	frames.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: headers("content-type", "application/grpc"), EndHeaders: true})
	frames.WriteData(1, false, []byte{0, 0, 0, 0x10, 0, 1, 2, 3})

	body := dial(grpcAt, request.String())
	for what, c := range map[string]net.Conn{"no preface": dial(grpcAt, "PRI"), "half a header": dial(httpAt, "POST /v1/logs HTTP/1.1\r\nHost: a\r\nContent-")} {
		c.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.Copy(io.Discard, c); err != nil {
			t.Errorf("%s: not cut off: %v", what, err)
		}
	}
	// The connection stays, the request ends.
	in := http2.NewFramer(io.Discard, body)
	in.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	body.SetReadDeadline(time.Now().Add(readTimeout + 10*time.Second))
	for {
		f, err := in.ReadFrame()
		if err != nil {
			t.Fatalf("half a message: %v, want an answer", err)
		}
		if h, ok := f.(*http2.MetaHeadersFrame); ok && h.StreamEnded() {
			break
		} else if f, ok := f.(*http2.RSTStreamFrame); ok && f.StreamID == 1 {
			break
		}
	}
	for deadline := time.Now().Add(5 * time.Second); r.pool.Used() != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes of memory are still held", r.pool.Used())
		}
	}
	r.wantService()
}

// headers are those of a call, and more, for a connection's first stream.
func headers(more ...string) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for i, all := 0, append([]string{":method", "POST", ":scheme", "http", ":path", exportLogs, ":authority", "a", "te", "trailers"}, more...); i < len(all); i += 2 {
		e.WriteField(hpack.HeaderField{Name: all[i], Value: all[i+1]})
	}
	return b.Bytes()
}

// Headers of megabytes are refused, also those that have no end.
func TestHugeHeaders(t *testing.T) {
	r := newRig(t, nil, nil)
	grpcAt, httpAt := r.Addresses()
	h, err := net.Dial("tcp", httpAt)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	written := make(chan int, 1)
	go func() {
		io.WriteString(h, "POST /v1/logs HTTP/1.1\r\nHost: a\r\n")
		n := 0
		for ; n < 64<<20; n += 64 << 10 {
			if _, err := io.WriteString(h, strings.Repeat("x", 64<<10)); err != nil {
				break
			}
		}
		written <- n
	}()
	answer, err := io.ReadAll(h) // a reset may be faster than the answer
	h.Close()
	if n := <-written; n == 64<<20 || err == nil && !bytes.HasPrefix(answer, []byte("HTTP/1.1 431")) {
		t.Errorf("HTTP: %q after %d bytes, %v", answer, n, err)
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "x", strings.Repeat("x", 1<<20))
	if _, err := collogs.NewLogsServiceClient(r.conn()).Export(ctx, logsOf("no")); err == nil {
		t.Error("a megabyte of metadata is taken")
	}
	c, err := net.Dial("tcp", grpcAt)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	go io.Copy(io.Discard, c)
	io.WriteString(c, http2.ClientPreface)
	frames := http2.NewFramer(c, nil)
	frames.WriteSettings()
	err = frames.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: headers()})
	field := headers("x", strings.Repeat("y", 8<<10))
	sent := 0
	for ; err == nil && sent < 64<<20; sent += len(field) {
		err = frames.WriteContinuation(1, false, field)
	}
	if err == nil {
		t.Errorf("%d bytes of headers were read", sent)
	}
	r.wantService()
}

// What is no gRPC at the gRPC server, and no OTLP over HTTP, is refused as such.
func TestWrongProtocol(t *testing.T) {
	r := newRig(t, nil, nil)
	grpcAt, httpAt := r.Addresses()
	h2 := &http.Transport{Protocols: new(http.Protocols)}
	h2.Protocols.SetUnencryptedHTTP2(true)
	defer h2.CloseIdleConnections()
	client := http.Client{Transport: h2, Timeout: 20 * time.Second}
	resp, err := client.Post("http://"+grpcAt+exportLogs, "text/html", strings.NewReader("<html>"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnsupportedMediaType {
		t.Errorf("HTML to the gRPC server: %s", resp.Status)
	}
	for what, text := range map[string]string{"HTTP/1 to the gRPC server": "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "TLS": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("\x00", 600)} {
		c, err := net.Dial("tcp", grpcAt)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, text)
		c.SetReadDeadline(time.Now().Add(20 * time.Second))
		if b, err := io.ReadAll(c); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%s: %v after %q", what, err, b)
		}
		c.Close()
	}
	c, err := net.Dial("tcp", httpAt)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, http2.ClientPreface)
	c.SetReadDeadline(time.Now().Add(20 * time.Second))
	if b, err := io.ReadAll(c); err != nil || !bytes.HasPrefix(b, []byte("HTTP/1.1 4")) && !bytes.HasPrefix(b, []byte("HTTP/1.1 5")) {
		t.Errorf("HTTP/2 to the HTTP server: %q, %v", b, err)
	}
	r.wantService()
}

// exportRaw sends bytes as a request with logs.
func exportRaw(ctx context.Context, c *grpc.ClientConn, b []byte, opts ...grpc.CallOption) error {
	var answer []byte
	return c.Invoke(ctx, exportLogs, b, &answer, append(opts, grpc.ForceCodecV2(export.Codec{}))...)
}

// rawCall gives the status of a call with that body, as it is.
func rawCall(t *testing.T, addr, encoding string, body []byte) string {
	t.Helper()
	h2 := &http.Transport{Protocols: new(http.Protocols)}
	h2.Protocols.SetUnencryptedHTTP2(true)
	defer h2.CloseIdleConnections()
	req, err := http.NewRequest(http.MethodPost, "http://"+addr+exportLogs, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"Content-Type": {"application/grpc"}, "Te": {"trailers"}, "Grpc-Encoding": {encoding}}
	resp, err := (&http.Client{Transport: h2, Timeout: 20 * time.Second}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	return resp.Header.Get("Grpc-Status") + resp.Trailer.Get("Grpc-Status")
}

// postTo gives status and body of an answer, without a network.
func postTo(g *Gateway, kind string, body []byte, headers ...string) (int, string) {
	r := httptest.NewRequest(http.MethodPost, "/v1/logs", bytes.NewReader(body))
	r.Header.Set("Content-Type", kind)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	g.post(w, r, otlp.Logs)
	return w.Code, w.Body.String()
}

// Requests that were cut off or have bits flipped are taken, where they still are requests, or refused for good.
func TestDamagedGRPC(t *testing.T) {
	accept := export.Exporters{"file": &export.File{Path: t.TempDir() + "/out", Rotation: export.Rotation{MaxMegabytes: 100, MaxBackups: 1}}}
	r := newRig(t, nil, accept)
	wire, err := proto.Marshal(logsOf("one", "two", strings.Repeat("three", 100)))
	if err != nil {
		t.Fatal(err)
	}
	rng, c := rand.New(rand.NewPCG(1, 2)), r.conn()
	refused := 0
	for i := range 500 {
		b := bytes.Clone(wire)
		if i%2 == 0 {
			b = b[:rng.IntN(len(b))]
		} else {
			for range 1 + rng.IntN(3) {
				b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
			}
		}
		switch err := exportRaw(t.Context(), c, b); {
		case status.Code(err) == codes.InvalidArgument:
			refused++
		case err != nil:
			t.Errorf("%x: %v", b, err)
		}
	}
	if refused < 100 || refused == 500 {
		t.Errorf("%d of 500 are refused", refused)
	}
	if n := r.refusals("malformed"); n != float64(refused) {
		t.Errorf("%v are counted, %d were refused", n, refused)
	}
	grpcAt, _ := r.Addresses()
	for _, encoding := range []string{"gzip", "zstd", "snappy", "br"} { // not what they claim to be
		if got := rawCall(t, grpcAt, encoding, append([]byte{1, 0, 0, 0, byte(len(wire[:200]))}, wire[:200]...)); got == "" || got == "0" {
			t.Errorf("plain bytes that claim to be %s: grpc-status %q", encoding, got)
		}
	}
	if err := exportRaw(t.Context(), c, wire); err != nil {
		t.Errorf("a good request after all: %v", err)
	}
}

// Values within values, ten thousand deep, end no process and reach no destination as something else.
func TestNested(t *testing.T) {
	r := newRig(t, nil, nil)
	v := []byte{0x0a, 1, 'x'} // string_value
	field := func(number int, b []byte) []byte {
		return append(appendVarint([]byte{byte(number<<3 | 2)}, uint64(len(b))), b...)
	}
	for range 10_000 {
		v = field(5, field(1, v)) // array_value, of one value
	}
	request := field(1, field(2, field(2, field(5, v))))
	if err := exportRaw(t.Context(), r.conn(), request); err != nil && status.Code(err) != codes.InvalidArgument { // a destination refuses it for good, or we do
		t.Errorf("gRPC: %v", err)
	}
	if code, _, body := r.post("/v1/logs", typeProtobuf, "", request); code != 200 && code != 400 {
		t.Errorf("HTTP: %d %s", code, body)
	}
	text := strings.Repeat(`{"arrayValue":{"values":[`, 10_000) + strings.Repeat(`]}}`, 10_000)
	if code, _, body := r.post("/v1/logs", typeJSON, "", []byte(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":`+text+`}]}]}]}`)); code != 400 {
		t.Errorf("JSON: %d %s", code, body)
	}
	r.wantService()
}

func appendVarint(b []byte, v uint64) []byte {
	for ; v >= 0x80; v >>= 7 {
		b = append(b, byte(v)|0x80)
	}
	return append(b, byte(v))
}

// A request over the limit by gRPC is counted as one, and holds nothing.
func TestTooLargeIsCounted(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxRequestBytes = 1 << 20 }, nil)
	for i, compression := range []string{"identity", "gzip", "snappy"} {
		if err := exportRaw(t.Context(), r.conn(), make([]byte, 2<<20), grpc.UseCompressor(compression)); status.Code(err) != codes.ResourceExhausted || len(status.Convert(err).Details()) != 0 {
			t.Errorf("%s: %v", compression, err)
		}
		// grpc has answered before the handler knows why.
		for deadline := time.Now().Add(10 * time.Second); r.refusals("too_large") != float64(i+1); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: %v are counted, want %d", compression, r.refusals("too_large"), i+1)
			}
		}
	}
	r.wantService()
}

// Whoever has his share is told so in the way of the protocol: 429 over HTTP, by gRPC with the time to come back.
func TestGreedyScopes(t *testing.T) {
	r := newRig(t, nil, nil)
	r.quota.most = 2 << 20
	large := manyScopes(1<<20, 8)
	_, err := collogs.NewLogsServiceClient(r.conn()).Export(t.Context(), large)
	if st := status.Convert(err); st.Code() != codes.Unavailable || len(st.Details()) != 1 || st.Details()[0].(*errdetails.RetryInfo).GetRetryDelay().AsDuration() < time.Second {
		t.Errorf("gRPC: %v", err)
	}
	wire, _ := proto.Marshal(large)
	if code, h, _ := r.post("/v1/logs", typeProtobuf, "", wire); code != 429 || h.Get("Retry-After") == "" {
		t.Errorf("HTTP: %d, Retry-After %q", code, h.Get("Retry-After"))
	}
}

// A request as large as may be passes with little more memory than it has, in each form; one that never could is told to come
// in parts.
func TestLargestInLittleMemory(t *testing.T) {
	wire, _ := proto.Marshal(logsOf(slices.Repeat([]string{strings.Repeat("x", 1000)}, 15<<10)...)) // 15 MiB and more
	text, err := otlp.AppendJSON(nil, otlp.Logs, wire)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		kind string
		body []byte
		room int64
		code int
	}{
		"protobuf":         {typeProtobuf, wire, 20 << 20, 200},
		"JSON":             {typeJSON, text, 40 << 20, 200},
		"for which no way": {typeProtobuf, wire, 12 << 20, 413},
	} {
		cfg := Defaults()
		cfg.GRPC, cfg.HTTP = "", "127.0.0.1:0"
		g, err := New(Options{Config: cfg, Pool: otlp.NewPool(tc.room, nil), Input: func(otlp.Signal) func(*otlp.Chunk) { return func(c *otlp.Chunk) { c.Settle(otlp.Delivered) } }, Log: silent, Registerer: prometheus.NewRegistry()})
		if err != nil {
			t.Fatal(err)
		}
		code, answer := postTo(g, tc.kind, tc.body)
		if code != tc.code {
			t.Errorf("%s: %d %q, want %d", name, code, answer, tc.code)
		}
		g.Close()
	}
}

// With ack: memory nobody waits for what becomes of a request. One whose answer was lost and that could not be kept is taken
// when it comes again.
func TestRepeatOfAborted(t *testing.T) {
	cfg := Defaults()
	cfg.GRPC, cfg.HTTP, cfg.Ack = "", "127.0.0.1:0", "memory"
	outcomes := []otlp.Outcome{otlp.Aborted, otlp.Delivered}
	seen := 0
	in := func(c *otlp.Chunk) { c.Settle(outcomes[seen]); seen++ }
	g, err := New(Options{Config: cfg, Pool: otlp.NewPool(1<<20, nil), Input: func(otlp.Signal) func(*otlp.Chunk) { return in }, Log: silent, Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	wire, _ := proto.Marshal(logsOf("x"))
	for range 3 {
		if code, answer := postTo(g, typeProtobuf, wire, export.BatchID, "A-1"); code != 200 {
			t.Errorf("%d %q", code, answer)
		}
	}
	if seen != 2 {
		t.Errorf("it was handed on %d times, want 2", seen)
	}
}

// Whatever comes by gRPC is refused as no request, or all of it arrives as it was sent.
func FuzzExport(f *testing.F) {
	wire, err := proto.Marshal(logsOf("one", "two"))
	if err != nil {
		f.Fatal(err)
	}
	two, err := proto.Marshal(&collogs.ExportLogsServiceRequest{ResourceLogs: append(logsOf("a").ResourceLogs, manyScopes(3, 2).ResourceLogs...)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(wire)
	f.Add(two)
	f.Add(wire[:len(wire)-1])
	f.Add([]byte{0x0a, 2, 0x12, 0})
	var arrived []byte
	pool := otlp.NewPool(8<<20, nil)
	in := func(c *otlp.Chunk) {
		arrived = append(c.Group.AppendFrame(arrived, len(c.Data)), c.Data...)
		c.Settle(otlp.Delivered)
	}
	cfg := Defaults()
	cfg.GRPC, cfg.HTTP, cfg.MaxRequestBytes = "", "", 1<<20
	g, err := New(Options{Config: cfg, Pool: pool, Input: func(otlp.Signal) func(*otlp.Chunk) { return in }, Log: silent, Registerer: prometheus.NewRegistry()})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		arrived = arrived[:0]
		_, err := g.export(t.Context(), otlp.Logs, func(v any) error {
			*v.(*mem.BufferSlice) = mem.BufferSlice{mem.SliceBuffer(body[:len(body)/2]), mem.SliceBuffer(body[len(body)/2:])}
			return nil
		})
		if n := pool.Used(); n != 0 {
			t.Errorf("%d bytes of memory are still in use", n)
		}
		var sent, got collogs.ExportLogsServiceRequest
		valid := proto.Unmarshal(body, &sent) == nil
		switch c := status.Code(err); {
		case c == codes.ResourceExhausted: // scopes that are too large with their resources
			if len(arrived) != 0 {
				t.Error("refused, and arrived")
			}
			return
		case c == codes.InvalidArgument:
			if valid && nothingOdd(&sent) {
				t.Errorf("a request is refused: %v", err)
			}
			if len(arrived) != 0 {
				t.Error("refused, and arrived")
			}
			return
		case err != nil:
			t.Fatal(err)
		}
		if !valid {
			return // deep within a record, where nobody looks
		}
		if err := proto.Unmarshal(arrived, &got); err != nil {
			t.Fatalf("what arrived is no request: %v", err)
		}
		if a, b := flat(&sent), flat(&got); !slices.Equal(a, b) {
			t.Errorf("sent\n%q, arrived\n%q", a, b)
		}
	})
}

// nothingOdd says that there is nothing in a request but what the protocol has.
func nothingOdd(m *collogs.ExportLogsServiceRequest) bool {
	if len(m.ProtoReflect().GetUnknown()) > 0 {
		return false
	}
	for _, r := range m.ResourceLogs {
		if len(r.ProtoReflect().GetUnknown()) > 0 {
			return false
		}
		for _, s := range r.ScopeLogs {
			if len(s.ProtoReflect().GetUnknown()) > 0 {
				return false
			}
		}
	}
	return true
}

// flat are the records of a request, each with its resource and scope.
func flat(m *collogs.ExportLogsServiceRequest) (all []string) {
	for _, r := range m.ResourceLogs {
		for _, s := range r.ScopeLogs {
			for _, x := range s.LogRecords {
				one := &collogs.ExportLogsServiceRequest{ResourceLogs: []*logspb.ResourceLogs{{Resource: r.Resource, SchemaUrl: r.SchemaUrl, ScopeLogs: []*logspb.ScopeLogs{{Scope: s.Scope, SchemaUrl: s.SchemaUrl, LogRecords: []*logspb.LogRecord{x}}}}}}
				if s.Scope == nil {
					one.ResourceLogs[0].ScopeLogs[0].Scope = &commonpb.InstrumentationScope{}
				}
				b, err := proto.MarshalOptions{Deterministic: true}.Marshal(one)
				all = append(all, fmt.Sprintf("%q %v", b, err))
			}
		}
	}
	return all
}

// No more connections than there are slots are served at a time; one that ends, whenever that is, makes room.
func TestSlots(t *testing.T) {
	_, server, _ := certificates(t)
	for name, change := range map[string]func(*Config){"plain": nil, "TLS": func(c *Config) { c.TLS = TLS{CertFile: server + ".crt", KeyFile: server + ".key"} }} {
		r := newRig(t, change, nil)
		s := r.grpc.(*slots)
		addr, _ := r.Addresses()
		dial := func(text string) net.Conn {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(c, text)
			return c
		}
		want := func(n int) {
			t.Helper()
			for deadline := time.Now().Add(10 * time.Second); len(s.taken) != n; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("%s: %d slots are taken, want %d", name, len(s.taken), n)
				}
			}
		}
		want(1) // that which Accept waits with
		var open []net.Conn
		for _, text := range []string{"", http2.ClientPreface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00", http2.ClientPreface[:5], "nothing of the kind, to the length of a preface"} {
			open = append(open, dial(text))
		}
		if name == "plain" {
			want(4) // the last is no client
		}
		for _, c := range open {
			c.Close()
		}
		want(1)
	}
}
