// Package gateway receives telemetry by OTLP over gRPC and HTTP and hands its bytes on as they came.
// A request is read within a limit, looked through once, and answered when every destination has what
// is in it, or has it on disk.
package gateway

import (
	"errors"
	"fmt"
	"net"
	"strconv"
)

// Config says where requests come in.
type Config struct {
	GRPC            string `yaml:"grpc" doc:"host:port of the OTLP/gRPC server; empty: none"`
	HTTP            string `yaml:"http" doc:"host:port of the OTLP/HTTP server; empty: none"`
	TLS             TLS    `yaml:"tls" doc:"transport security of both servers; off without cert_file"`
	BearerTokenFile string `yaml:"bearer_token_file" doc:"file with a token that every request must carry as Authorization: Bearer; read again when it changes"`
	MaxRequestBytes int    `yaml:"max_request_bytes" unit:"bytes" doc:"a larger request is refused, counted after decompression; 65536 to 67108864"`
	Ack             string `yaml:"ack" enum:"durable,memory" doc:"when a request is answered: durable: every destination has it, or the spool has it on disk; memory: it is in memory, and lost if the process dies"`
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
	if c.MaxRequestBytes < 64<<10 || c.MaxRequestBytes > 64<<20 {
		fault("gateway.max_request_bytes: %d is out of range; give 65536 to 67108864", c.MaxRequestBytes)
	}
	return errors.Join(errs...)
}
