package gateway

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/client_golang/prometheus"
	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	colmetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"stint/export"
	"stint/export/otlp"
	"stint/scrape/kube"
	"stint/scrape/kube/lookup"
)

// What goes in comes out equal: every signal, by gRPC and HTTP, in protobuf and JSON, with every compression.
func TestEqual(t *testing.T) {
	pack := map[string]func([]byte) []byte{
		"": func(b []byte) []byte { return b },
		"gzip": func(b []byte) []byte {
			var out bytes.Buffer
			w := gzip.NewWriter(&out)
			w.Write(b)
			w.Close()
			return out.Bytes()
		},
		"deflate": func(b []byte) []byte {
			var out bytes.Buffer
			w := zlib.NewWriter(&out)
			w.Write(b)
			w.Close()
			return out.Bytes()
		},
		"zstd": func(b []byte) []byte {
			w, _ := zstd.NewWriter(nil)
			defer w.Close()
			return w.EncodeAll(b, nil)
		},
		"snappy": func(b []byte) []byte { return snappy.Encode(nil, b) },
	}
	for signal, m := range requests() {
		wire, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		text, err := otlp.AppendJSON(nil, map[string]otlp.Signal{"logs": otlp.Logs, "metrics": otlp.Metrics, "traces": otlp.Traces}[signal], wire)
		if err != nil {
			t.Fatal(err)
		}
		for encoding, pack := range pack {
			for kind, body := range map[string][]byte{typeProtobuf: wire, typeJSON + "; charset=utf-8": text} {
				t.Run(fmt.Sprintf("%s %s %s", signal, kind, encoding), func(t *testing.T) {
					r := newRig(t, nil, nil)
					code, h, answer := r.post("/v1/"+signal, kind, encoding, pack(body))
					if code != 200 || !strings.HasPrefix(kind, h.Get("Content-Type")) || strings.TrimSpace(string(answer)) != map[bool]string{true: "{}", false: ""}[kind != typeProtobuf] {
						t.Errorf("answer %d %q %q", code, h.Get("Content-Type"), answer)
					}
					r.wantFile(m)
				})
			}
		}
		for _, compression := range []string{"", "gzip", "zstd"} {
			t.Run(signal+" grpc "+compression, func(t *testing.T) {
				r := newRig(t, nil, nil)
				var opts []grpc.CallOption
				if compression != "" {
					opts = append(opts, grpc.UseCompressor(compression))
				}
				c, ctx := r.conn(), t.Context()
				var err error
				switch m := m.(type) {
				case *collogs.ExportLogsServiceRequest:
					_, err = collogs.NewLogsServiceClient(c).Export(ctx, m, opts...)
				case *colmetrics.ExportMetricsServiceRequest:
					_, err = colmetrics.NewMetricsServiceClient(c).Export(ctx, m, opts...)
				case *coltrace.ExportTraceServiceRequest:
					_, err = coltrace.NewTraceServiceClient(c).Export(ctx, m, opts...)
				}
				if err != nil {
					t.Fatal(err)
				}
				r.wantFile(m)
			})
		}
	}
}

// Answers to what is not a good request, over HTTP: the status, in the type of the request, and that the
// service goes on.
func TestRefusedHTTP(t *testing.T) {
	good, err := proto.Marshal(logsOf("x"))
	if err != nil {
		t.Fatal(err)
	}
	bomb := func() []byte {
		var out bytes.Buffer
		w := gzip.NewWriter(&out)
		zero := make([]byte, 1<<20)
		for range 100 {
			w.Write(zero)
		}
		w.Close()
		return out.Bytes()
	}()
	r := newRig(t, func(c *Config) { c.MaxRequestBytes = 1 << 20 }, nil)
	for name, tc := range map[string]struct {
		path, kind, encoding string
		body                 []byte
		code                 int
	}{
		"no protobuf":        {"/v1/logs", typeProtobuf, "", []byte("\xff\xff\xff"), 400},
		"cut off":            {"/v1/logs", typeProtobuf, "", good[:len(good)-3], 400},
		"no JSON":            {"/v1/logs", typeJSON, "", []byte("{"), 400},
		"not what it claims": {"/v1/logs", typeProtobuf, "gzip", good, 400},
		"unknown encoding":   {"/v1/logs", typeProtobuf, "br", good, 415},
		"unknown type":       {"/v1/logs", "text/plain", "", good, 415},
		"no type":            {"/v1/logs", "", "", good, 415},
		"too large":          {"/v1/logs", typeProtobuf, "", make([]byte, 2<<20), 413},
		"a bomb":             {"/v1/logs", typeProtobuf, "gzip", bomb, 413},
		"a bomb of snappy":   {"/v1/logs", typeProtobuf, "snappy", snappy.Encode(nil, make([]byte, 50<<20)), 413},
		"nested":             {"/v1/logs", typeJSON, "", []byte(strings.Repeat(`{"resourceLogs":[`, 5000)), 400},
		"no such path":       {"/v1/profiles", typeProtobuf, "", good, 404},
	} {
		code, h, answer := r.post(tc.path, tc.kind, tc.encoding, tc.body)
		if code != tc.code {
			t.Errorf("%s: %d %s, want %d", name, code, answer, tc.code)
		}
		if tc.code == 404 {
			continue
		}
		if tc.kind == typeJSON {
			var s struct{ Message string }
			if err := json.Unmarshal(answer, &s); err != nil || s.Message == "" || h.Get("Content-Type") != typeJSON {
				t.Errorf("%s: %v in %q %s", name, err, answer, h.Get("Content-Type"))
			}
		} else {
			var s statuspb.Status
			if err := proto.Unmarshal(answer, &s); err != nil || s.Message == "" || h.Get("Content-Type") != typeProtobuf {
				t.Errorf("%s: %v in %q %s", name, err, answer, h.Get("Content-Type"))
			}
		}
	}
	_, addr := r.Addresses()
	resp, err := http.Get("http://" + addr + "/v1/logs")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if resp.StatusCode != 405 || resp.Header.Get("Allow") != "POST" {
		t.Errorf("GET: %d, Allow %q", resp.StatusCode, resp.Header.Get("Allow"))
	}
	if code, _, answer := r.post("/v1/logs", typeProtobuf, "", nil); code != 200 || len(answer) != 0 {
		t.Errorf("an empty request: %d %q", code, answer)
	}
	if code, _, _ := r.post("/v1/logs", typeProtobuf, "", good); code != 200 {
		t.Errorf("a good request after all: %d", code)
	}
	r.wantFile(logsOf("x"))
}

// The same by gRPC.
func TestRefusedGRPC(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxRequestBytes = 1 << 20 }, nil)
	logs := collogs.NewLogsServiceClient(r.conn())
	_, err := logs.Export(t.Context(), logsOf(strings.Repeat("x", 2<<20)))
	if st := status.Convert(err); st.Code() != codes.ResourceExhausted || len(st.Details()) != 0 {
		t.Errorf("too large: %v, with %v", st, st.Details())
	}
	if _, err := logs.Export(t.Context(), logsOf(strings.Repeat("x", 2<<20)), grpc.UseCompressor("gzip")); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("too large when it is decompressed: %v", err)
	}
	var raw []byte
	err = r.conn().Invoke(t.Context(), "/opentelemetry.proto.collector.logs.v1.LogsService/Export", []byte("\xff\xff"), &raw, grpc.ForceCodecV2(export.Codec{}))
	st := status.Convert(err)
	if st.Code() != codes.InvalidArgument || len(st.Details()) != 1 {
		t.Errorf("no protobuf: %v, with %v", st, st.Details())
	} else if _, ok := st.Details()[0].(*errdetails.BadRequest); !ok {
		t.Errorf("no protobuf: with %v", st.Details())
	}
	if _, err := logs.Export(t.Context(), &collogs.ExportLogsServiceRequest{}); err != nil {
		t.Errorf("an empty request: %v", err)
	}
	if _, err := logs.Export(t.Context(), logsOf("x")); err != nil {
		t.Errorf("a good request after all: %v", err)
	}
	r.wantFile(logsOf("x"))
}

// A signal that no pipeline takes is refused as one that is not served.
func TestNoPipeline(t *testing.T) {
	l, err := export.Exporters{}.NewValue("loki")
	if err != nil {
		t.Fatal(err)
	}
	l.(*export.Loki).Endpoint = "http://127.0.0.1:1"
	r := newRig(t, nil, export.Exporters{"loki": l.(export.Exporter)})
	if _, err := coltrace.NewTraceServiceClient(r.conn()).Export(t.Context(), tracesOf()); status.Code(err) != codes.Unimplemented {
		t.Errorf("gRPC: %v", err)
	}
	wire, _ := proto.Marshal(tracesOf())
	if code, _, _ := r.post("/v1/traces", typeProtobuf, "", wire); code != 404 {
		t.Errorf("HTTP: %d", code)
	}
}

// Records of one resource stay in order, whatever else comes beside them.
func TestOrder(t *testing.T) {
	r := newRig(t, nil, nil)
	logs := collogs.NewLogsServiceClient(r.conn())
	done := make(chan error, 4)
	for k := range 4 {
		go func() {
			for i := range 50 {
				m := logsOf(fmt.Sprintf("%d/%d", k, i))
				m.ResourceLogs[0].Resource.Attributes = attr("service.name", fmt.Sprint(k))
				if _, err := logs.Export(t.Context(), m); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	got := map[string][]string{}
	for _, l := range r.lines() {
		var m logspb.LogsData
		if err := protojson.Unmarshal([]byte(l), &m); err != nil {
			t.Fatal(err)
		}
		for _, rl := range m.ResourceLogs {
			for _, x := range rl.ScopeLogs[0].LogRecords {
				k, i, _ := strings.Cut(x.Body.GetStringValue(), "/")
				got[k] = append(got[k], i)
			}
		}
	}
	var want []string
	for i := range 50 {
		want = append(want, fmt.Sprint(i))
	}
	for k := range 4 {
		if !slices.Equal(got[fmt.Sprint(k)], want) {
			t.Errorf("of %d came %q", k, got[fmt.Sprint(k)])
		}
	}
}

// Clients that open connections and say nothing, or a word at a time, keep nobody else out, and take no memory that
// counts.
func TestSilentClients(t *testing.T) {
	r := newRig(t, nil, nil)
	grpcAt, httpAt := r.Addresses()
	for i := range 1000 {
		c, err := net.Dial("tcp", []string{grpcAt, httpAt}[i%2])
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if i%4 == 1 {
			io.WriteString(c, "POST /v1/logs HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-protobuf\r\nContent-Length: 1000000\r\n\r\nx")
		}
	}
	if _, err := collogs.NewLogsServiceClient(r.conn()).Export(t.Context(), logsOf("x")); err != nil {
		t.Error(err)
	}
	wire, _ := proto.Marshal(logsOf("y"))
	if code, _, _ := r.post("/v1/logs", typeProtobuf, "", wire); code != 200 {
		t.Errorf("HTTP: %d", code)
	}
}

// The first request of all may be one whose body can't be read.
func TestUnreadableFirst(t *testing.T) {
	r := newRig(t, nil, nil)
	corrupt := []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff}
	if code, _, body := r.post("/v1/logs", typeProtobuf, "gzip", corrupt); code != 400 {
		t.Errorf("%d %q", code, body)
	}
}

// What is known of the pod that a request names is added to its resource, and the rest is as it came.
func TestEnrich(t *testing.T) {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path != "/api/v1/namespaces/shop/pods/web" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		io.WriteString(w, `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"web","namespace":"shop","uid":"u1"},"spec":{"nodeName":"n1","containers":[]},"status":{}}`)
	}))
	t.Cleanup(api.Close)
	config := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(config, fmt.Appendf(nil, `{clusters: [{name: c, cluster: {server: %q}}], contexts: [{name: c, context: {cluster: c}}], current-context: c}`, api.URL), 0o600); err != nil {
		t.Fatal(err)
	}
	client, err := kube.NewClient(kube.Config{Kubeconfig: config}, "test")
	if err != nil {
		t.Fatal(err)
	}
	l := lookup.New(lookup.Config{Enabled: true}, client, silent, prometheus.NewRegistry())
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); l.Run(ctx) }()
	t.Cleanup(func() { stop(); <-done })
	r := newRig(t, nil, nil)
	r.lookup = l
	m := logsOf("one", "two")
	named := attr("k8s.namespace.name", "shop")
	m.ResourceLogs[0].Resource.Attributes = append(named, attr("k8s.pod.name", "web")...)
	want := proto.CloneOf(m)
	wanted := &want.ResourceLogs[0].Resource.Attributes
	*wanted = slices.Concat(*wanted, attr("k8s.pod.uid", "u1"), attr("k8s.node.name", "n1"))
	if _, err := collogs.NewLogsServiceClient(r.conn()).Export(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	wire, _ := proto.Marshal(m)
	if code, _, body := r.post("/v1/logs", typeProtobuf, "", wire); code != 200 {
		t.Fatalf("%d %s", code, body)
	}
	r.wantFile(want, want)
}
