// Package gateway receives telemetry by OTLP over gRPC and HTTP and hands its bytes on as they came.
// A request is read within a limit, looked through once, and answered when every destination has what
// is in it, or has it on disk.
package gateway

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"stint/scrape/kube/lookup"
)

// Config says where requests come in.
type Config struct {
	GRPC            string        `yaml:"grpc" doc:"host:port of the OTLP/gRPC server; empty: none"`
	HTTP            string        `yaml:"http" doc:"host:port of the OTLP/HTTP server; empty: none"`
	TLS             TLS           `yaml:"tls" doc:"transport security of both servers; off without cert_file"`
	BearerTokenFile string        `yaml:"bearer_token_file" doc:"file with a token that every request must carry as Authorization: Bearer; read again when it changes"`
	MaxRequestBytes int           `yaml:"max_request_bytes" unit:"bytes" doc:"a larger request is refused, counted after decompression; 65536 to 67108864"`
	Ack             string        `yaml:"ack" enum:"durable,exported,memory" doc:"when a request is answered: durable: every destination has it, or the spool has it on disk; exported: every destination has it, and nothing of it is written to the disk; memory: it is in memory, and lost if the process dies"`
	Enrich          lookup.Config `yaml:"enrich" doc:"what is added to the resources of what is received"`
	CORS            CORS          `yaml:"cors" doc:"browsers that may send to the HTTP server from pages of other origins; off without allowed_origins"`
}

// CORS is what the HTTP server allows to browsers (the Fetch standard's CORS protocol).
type CORS struct {
	AllowedOrigins []string `yaml:"allowed_origins" doc:"origins, such as https://shop.example; one * stands for any text, as in https://*.example; empty: none"`
	AllowedHeaders []string `yaml:"allowed_headers" doc:"more headers that pages may set, besides Content-Type, Content-Encoding and Authorization"`
}

// TLS is the server's side of transport security. Its files are read again when they change.
type TLS struct {
	CertFile     string `yaml:"cert_file" doc:"PEM file of the server's certificate; together with key_file"`
	KeyFile      string `yaml:"key_file" doc:"PEM file of its key"`
	ClientCAFile string `yaml:"client_ca_file" doc:"PEM file of the authorities that clients' certificates must be of; empty: clients need none"`
}

// Defaults listens on loopback: who is to reach it from outside says so, or it is in a pod.
func Defaults() Config {
	return Config{GRPC: "127.0.0.1:4317", HTTP: "127.0.0.1:4318", MaxRequestBytes: 20 << 20, Ack: "durable"}
}

// Unspooled is the source of pipelines whose records may not be kept on disk; empty: they may.
func (c Config) Unspooled() string {
	if c.Ack == "exported" {
		return "otlp"
	}
	return ""
}

// InPod is where a pod listens.
func (c *Config) InPod() { c.GRPC, c.HTTP = "0.0.0.0:4317", "0.0.0.0:4318" }

// Check reports every fault at once, each under its YAML path.
func (c Config) Check() error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, l := range []struct{ key, addr string }{{"grpc", c.GRPC}, {"http", c.HTTP}} {
		if l.addr == "" {
			continue
		}
		_, port, err := net.SplitHostPort(l.addr)
		if n, e := strconv.Atoi(port); err != nil || e != nil || n < 0 || n > 65535 {
			fault("gateway.%s: %q is not host:port; write e.g. 0.0.0.0:4317, or nothing for no server", l.key, l.addr)
		}
	}
	if c.GRPC != "" && c.GRPC == c.HTTP {
		fault("gateway.http: %s is gateway.grpc as well; give each its own port", c.HTTP)
	}
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		fault("gateway.tls: cert_file and key_file belong together; give both or none")
	}
	if c.TLS.ClientCAFile != "" && c.TLS.CertFile == "" {
		fault("gateway.tls.client_ca_file: there is no cert_file, so there is no TLS; give cert_file and key_file")
	}
	for i, o := range c.CORS.AllowedOrigins {
		if u, err := url.Parse(strings.Replace(o, "*", "any", 1)); o != "*" && (err != nil || u.Scheme == "" || u.Host == "" || u.Path != "" || strings.Count(o, "*") > 1) {
			fault("gateway.cors.allowed_origins[%d]: %q is no origin; give SCHEME://HOST[:PORT] with one * at most, e.g. https://shop.example", i, o)
		}
	}
	errs = append(errs, c.Enrich.Check("gateway.enrich"))
	if len(c.CORS.AllowedHeaders) > 0 && len(c.CORS.AllowedOrigins) == 0 {
		fault("gateway.cors.allowed_headers: there is no allowed_origins, so that no page may send anything; give it")
	}
	if c.MaxRequestBytes < 64<<10 || c.MaxRequestBytes > 64<<20 {
		fault("gateway.max_request_bytes: %d is out of range; give 65536 to 67108864", c.MaxRequestBytes)
	}
	return errors.Join(errs...)
}
