package agent

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	grpcmetadata "google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"stint/agent/config"
	"stint/export"
)

// parrots are destinations that repeat every header in what they answer, and note what they saw.
type parrots struct {
	mu   sync.Mutex
	seen strings.Builder
}

// say gives headers as text, and what basic authentication hides in them.
func (p *parrots) say(header map[string][]string) string {
	var b strings.Builder
	for name, values := range header {
		for _, v := range values {
			fmt.Fprintf(&b, "%s is %s, ", name, v)
			if both, ok := strings.CutPrefix(v, "Basic "); ok {
				plain, _ := base64.StdEncoding.DecodeString(both)
				fmt.Fprintf(&b, "which is %s, ", plain)
			}
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen.WriteString(b.String())
	return b.String()
}

func (p *parrots) saw(text string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Contains(p.seen.String(), text)
}

// http answers with a status; 200 is one that rejects a record.
func (p *parrots) http(t *testing.T, code int) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		text := p.say(r.Header)
		if code != http.StatusOK {
			http.Error(w, text, code)
			return
		}
		b, err := proto.Marshal(&collogs.ExportLogsServiceResponse{PartialSuccess: &collogs.ExportLogsPartialSuccess{RejectedLogRecords: 1, ErrorMessage: text}})
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
		w.Write(b)
	}))
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s.Listener.Addr().String()
}

func (p *parrots) grpc(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		md, _ := grpcmetadata.FromIncomingContext(stream.Context())
		return status.Error(codes.PermissionDenied, p.say(md))
	}))
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(l) }()
	t.Cleanup(func() { s.Stop(); <-done })
	return l.Addr().String()
}

// No secret of the configuration is in the log at its most talkative, on any page, in what config
// and check print, or anywhere in the state directory, although every destination repeats it.
func TestSecretsAreShownNowhere(t *testing.T) {
	dir := t.TempDir()
	secrets := []string{}
	secret := func(kind string) string {
		s := "S3CR3T-" + kind + fmt.Sprintf("-%08x", 0xc0ffee*(len(secrets)+1))
		secrets = append(secrets, s)
		return s
	}
	file := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	p := &parrots{}
	grpcAddr := p.grpc(t)
	yaml := fmt.Sprintf(`
exporters:
  otlp/headers: {endpoint: "http://%[1]s", headers: {x-key: %[2]s, authorization: Bearer %[3]s}}
  otlp/token: {endpoint: "http://%[1]s", bearer_token_file: %[4]s}
  otlp/proxied: {endpoint: "gateway.example:4317", proxy_url: "http://u:%[5]s@%[6]s"}
  otlphttp/basic: {endpoint: "http://%[7]s", user: jack, password: %[8]s}
  otlphttp/file: {endpoint: "http://%[7]s", user: jack, password_file: %[9]s, headers_file: {X-Tenant: %[10]s}}
  otlphttp/proxied: {endpoint: "http://gateway.example", proxy_url: "http://u:%[11]s@%[6]s"}
  otlphttp/connect: {endpoint: "https://gateway.example", proxy_url: "http://u:%[12]s@%[6]s"}
  otlphttp/partial: {logs_endpoint: "http://%[13]s/?key=%[15]s", bearer_token: %[14]s}
  otlphttp/away: {logs_endpoint: "http://127.0.0.1:1/?key=%[15]s"}
  elasticsearch/key: {endpoint: "http://%[7]s", api_key: %[16]s}
  elasticsearch/page: {endpoint: "http://%[13]s", user: jack, password: %[17]s}
  elasticsearch/away: {endpoint: "http://127.0.0.1:1/?key=%[15]s"}
`, grpcAddr, secret("header"), secret("authorization"), file("token", secret("bearer_token_file")), secret("proxy-grpc"), p.http(t, http.StatusProxyAuthRequired),
		p.http(t, http.StatusUnauthorized), secret("password"), file("password", secret("password_file")), file("tenant", secret("headers_file")),
		secret("proxy-http"), secret("proxy-connect"), p.http(t, http.StatusOK), secret("bearer_token"), "in-the-query-73921", secret("api_key"), secret("password-es"))
	cfg, report := loadText(t, yaml, nil)
	if len(report.Faults) > 0 {
		t.Fatal(report.Faults)
	}
	printed := config.Append(nil, cfg, config.Style{Origin: report.Origin, Docs: true})
	base := testConfig(t)
	base.Exporters, base.Pipelines = cfg.Exporters, cfg.Pipelines
	base.DrainTimeout = 100 * time.Millisecond
	base.Spool = export.SpoolDefaults()
	writeLog(t, base.Tail.Containers.Root, 10)
	r := startAgentAt(t, base, slog.LevelDebug)
	r.until("all are refused", func(s Status) bool {
		refused := map[string]bool{}
		for _, e := range s.Exporters {
			if e.Signal == "logs" && (e.Down != "" || e.Rejected > 0) {
				refused[e.Exporter] = true
			}
		}
		return len(refused) == len(base.Exporters)
	})

	var all strings.Builder
	all.Write(printed)
	for _, f := range CheckMachine(context.Background(), base) {
		all.WriteString(f.String() + "\n")
	}
	for _, path := range []string{"/", "/status", "/metrics"} {
		_, body := r.get(r.a.claim.Admin.Addr().String(), path)
		all.WriteString(body)
	}
	for _, path := range []string{"/livez", "/readyz", "/flowing"} {
		_, body := r.get(r.a.claim.Health.Addr().String(), path)
		all.WriteString(body)
	}
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	all.WriteString(r.log.String())
	if err := filepath.WalkDir(base.StateDir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		all.WriteString(path)
		all.Write(b)
		return err
	}); err != nil {
		t.Error(err)
	}

	text := all.String()
	for _, s := range secrets {
		if !p.saw(s) {
			t.Errorf("%s reached no destination", s)
		}
		for _, form := range []string{s, base64.StdEncoding.EncodeToString([]byte("jack:" + s)), base64.StdEncoding.EncodeToString([]byte("u:" + s))} {
			for line := range strings.Lines(text) {
				if strings.Contains(line, form) {
					t.Errorf("%s is in %q", s, line)
				}
			}
		}
	}
	for _, line := range strings.Split(strings.ReplaceAll(text, string(printed), ""), "\n") { // config shows URLs as they are
		if strings.Contains(line, "in-the-query-73921") {
			t.Errorf("the URL's query is in %q", line)
		}
	}
	for _, want := range []string{"Authorization is ***", "x-key is ***", "which is jack:***", "records of an accepted request", "X-Tenant is ***"} {
		if !strings.Contains(text, want) {
			t.Errorf("what the destinations say is not there: no %q in\n%s", want, text)
		}
	}
}

// A URL with a password is refused, and the fault does not repeat it.
func TestURLsHoldNoPassword(t *testing.T) {
	for _, exporter := range []string{
		`otlp: {endpoint: "http://u:hunter2@c:4317"}`, `otlp: {endpoint: "u:hunter2@c:4317"}`,
		`otlphttp: {endpoint: "http://u:hunter2@c"}`, `otlphttp: {logs_endpoint: "https://hunter2@c/x"}`,
		`otlphttp: {metrics_endpoint: "http://u:hunter2@[::1"}`,
		`otlphttp: {endpoint: "http://c", proxy_url: "ftp://u:hunter2@c"}`,
		`otlphttp: {endpoint: "http://c", user: "hunter2:x", password: "hunter2\n"}`,
	} {
		_, report := loadText(t, "exporters:\n  "+exporter+"\n", nil)
		if len(report.Faults) == 0 || strings.Contains(report.Faults.Error(), "hunter2") {
			t.Errorf("%s: faults %q", exporter, report.Faults.Error())
		}
	}
}
