package gateway

import (
	"context"
	"crypto/tls"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// Only who has the token is served; a new one in the file counts.
func TestToken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("first-token\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, func(c *Config) { c.BearerTokenFile = file }, nil)
	logs := collogs.NewLogsServiceClient(r.conn())
	with := func(token string) context.Context {
		return metadata.AppendToOutgoingContext(t.Context(), "authorization", token)
	}
	for token, want := range map[string]codes.Code{"": codes.Unauthenticated, "Bearer other": codes.Unauthenticated, "first-token": codes.Unauthenticated, "bearer first-token": codes.OK} {
		if _, err := logs.Export(with(token), logsOf("x")); status.Code(err) != want {
			t.Errorf("%q: %v, want %v", token, err, want)
		}
	}
	wire, _ := proto.Marshal(logsOf("x"))
	if code, _, _ := r.post("/v1/logs", typeProtobuf, "", wire); code != 401 {
		t.Errorf("HTTP without it: %d", code)
	}
	if code, _, _ := r.post("/v1/logs", typeProtobuf, "", wire, "Authorization", "Bearer first-token"); code != 200 {
		t.Errorf("HTTP with it: %d", code)
	}
	if n := r.refusals("unauthorized"); n != 4 {
		t.Errorf("%v refusals are counted, want 4", n)
	}
}

// TLS with a client's certificate; without one the connection is refused.
func TestMutualTLS(t *testing.T) {
	ca, server, client := certificates(t)
	r := newRig(t, func(c *Config) {
		c.TLS = TLS{CertFile: server + ".crt", KeyFile: server + ".key", ClientCAFile: ca.file}
	}, nil)
	pair, err := tls.LoadX509KeyPair(client+".crt", client+".key")
	if err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]*tls.Config{
		"with":    {RootCAs: ca.pool, ServerName: "localhost", Certificates: []tls.Certificate{pair}},
		"without": {RootCAs: ca.pool, ServerName: "localhost"},
	} {
		addr, _ := r.Addresses()
		c, err := grpc.NewClient(addr, grpc.WithTransportCredentials(credentials.NewTLS(cfg)))
		if err != nil {
			t.Fatal(err)
		}
		_, err = collogs.NewLogsServiceClient(c).Export(t.Context(), logsOf("x"))
		c.Close()
		if (err == nil) != (name == "with") {
			t.Errorf("%s a certificate: %v", name, err)
		}
	}
	r.wantFile(logsOf("x"))
}

// A browser may send from pages of the origins that are allowed, and be told when to come back; from others it may not.
func TestCORS(t *testing.T) {
	r := newRig(t, func(c *Config) {
		c.CORS = CORS{AllowedOrigins: []string{"https://*.example"}, AllowedHeaders: []string{"X-Tenant"}}
		c.BearerTokenFile = filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(c.BearerTokenFile, []byte("secret"), 0o600); err != nil {
			t.Fatal(err)
		}
	}, nil)
	_, addr := r.Addresses()
	ask := func(origin, headers string) http.Header {
		req, err := http.NewRequest(http.MethodOptions, "http://"+addr+"/v1/logs", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Origin", origin)
		req.Header.Set("Access-Control-Request-Method", "POST")
		req.Header.Set("Access-Control-Request-Headers", headers)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.Header
	}
	for _, headers := range []string{"content-type", "authorization,content-type,x-tenant"} { // sorted, as browsers send them
		if got := ask("https://shop.example", headers).Get("Access-Control-Allow-Origin"); got != "https://shop.example" {
			t.Errorf("%s: allowed %q", headers, got)
		}
	}
	for origin, headers := range map[string]string{"https://shop.test": "content-type", "https://shop.example": "x-other"} {
		if got := ask(origin, headers).Get("Access-Control-Allow-Origin"); got != "" {
			t.Errorf("%s with %s: allowed %q", origin, headers, got)
		}
	}
	wire, _ := protojson.MarshalOptions{UseEnumNumbers: true}.Marshal(logsOf("x"))
	code, h, body := r.post("/v1/logs", typeJSON, "", wire, "Origin", "https://shop.example", "Authorization", "Bearer secret")
	if code != 200 || h.Get("Access-Control-Allow-Origin") != "https://shop.example" || h.Get("Access-Control-Expose-Headers") != "Retry-After" {
		t.Errorf("%d %s %v", code, body, h)
	}
	r.wantFile(logsOf("x"))
}
