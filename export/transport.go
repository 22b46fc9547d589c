package export

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/credentials"
)

// about is what a destination knows of the agent and of itself.
type about struct {
	version     string
	exporter    string
	log         *slog.Logger
	tlsFailures prometheus.Counter     // times that files of TLS could not be used
	changed     *prometheus.CounterVec // values of documents, by change
}

// tlsAlert is in every error that tells what the other side has against our TLS. With TLS 1.3
// it says so after the handshake, and may be overtaken by the end of the connection.
const tlsAlert = "remote error: tls: "

// tlsToPlain is what crypto/tls says when the other side does not speak TLS: most often
// tls.insecure is missing.
const tlsToPlain = "first record does not look like a TLS handshake"

// tlsRead is how often files of TLS are read again. At the handshakes of gRPC, at those of HTTP with a
// client certificate, and after one that failed they are read in any case.
const tlsRead = time.Minute

// tlsSource gives the client's side of TLS as the files have it now. While they can't be used,
// half written for example, the last good ones count. What changed counts for new connections:
// those that stand were verified when they were made, and those of HTTP end within minutes.
type tlsSource struct {
	TLS
	about
	every time.Duration // tlsRead; shorter in tests

	mu   sync.Mutex // guards everything below
	next time.Time  // the files are not read before
	sum  [sha256.Size]byte
	cfg  *tls.Config // made of what has the sum; not changed
	bad  bool        // the files can't be used; it was said
}

func newTLSSource(t TLS, a about) (*tlsSource, error) {
	s := &tlsSource{TLS: t, about: a, every: tlsRead, next: time.Now().Add(tlsRead)}
	var err error
	s.sum, s.cfg, err = s.read()
	return s, err
}

// get gives the configuration, another one only if the content of files has changed.
func (s *tlsSource) get() *tls.Config {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.CAFile == "" && s.CertFile == "" || now.Before(s.next) {
		return s.cfg
	}
	s.next = now.Add(s.every)
	switch sum, cfg, err := s.read(); {
	case err != nil:
		s.tlsFailures.Inc()
		if !s.bad {
			s.bad = true
			s.log.Error("files of TLS can't be used; the last good ones are", "exporter", s.exporter, "err", err)
		}
	case sum != s.sum:
		s.sum, s.cfg, s.bad = sum, cfg, false
		s.log.Info("files of TLS have changed; new connections use them", "exporter", s.exporter)
	default:
		s.bad = false
	}
	return s.cfg
}

// doubt has the files read before the next use.
func (s *tlsSource) doubt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next = time.Time{}
}

// read reads the files; sum is that of their content.
func (s *tlsSource) read() (sum [sha256.Size]byte, cfg *tls.Config, err error) {
	cfg = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: s.ServerName, InsecureSkipVerify: s.InsecureSkipVerify}
	if s.MinVersion == "1.3" {
		cfg.MinVersion = tls.VersionTLS13
	}
	h := sha256.New()
	if s.CAFile != "" {
		text, err := os.ReadFile(s.CAFile)
		if err != nil {
			return sum, nil, fmt.Errorf("tls.ca_file: %w", err)
		}
		h.Write(text)
		if cfg.RootCAs, err = certPool(text); err != nil {
			return sum, nil, fmt.Errorf("tls.ca_file: %s %w", s.CAFile, err)
		}
	}
	if s.CertFile != "" {
		cert, err := os.ReadFile(s.CertFile)
		if err != nil {
			return sum, nil, fmt.Errorf("tls.cert_file: %w", err)
		}
		key, err := os.ReadFile(s.KeyFile)
		if err != nil {
			return sum, nil, fmt.Errorf("tls.key_file: %w", err)
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return sum, nil, fmt.Errorf("tls.cert_file: %w", err)
		}
		fmt.Fprintf(h, "%d %d", len(cert), len(key))
		h.Write(cert)
		h.Write(key)
		// Whatever authorities the server names: its refusal says more than a missing certificate.
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	return [sha256.Size]byte(h.Sum(nil)), cfg, nil
}

// certPool is the certificates of a PEM file. One that breaks off in a certificate is half written.
func certPool(text []byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, errors.New("holds no certificate in PEM form")
	}
	for block := new(pem.Block); block != nil; {
		block, text = pem.Decode(text)
	}
	if bytes.Contains(text, []byte("-----BEGIN")) {
		return nil, errors.New("breaks off within a certificate")
	}
	return pool, nil
}

// grpcTLS are grpc's credentials with the files as they are at each handshake.
type grpcTLS struct{ *tlsSource }

// ClientHandshake implements credentials.TransportCredentials.
func (g grpcTLS) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	g.doubt()
	return credentials.NewTLS(g.get()).ClientHandshake(ctx, authority, conn)
}

// ServerHandshake implements credentials.TransportCredentials.
func (g grpcTLS) ServerHandshake(net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("bug: these are a client's")
}

// Info implements credentials.TransportCredentials.
func (g grpcTLS) Info() credentials.ProtocolInfo { return credentials.NewTLS(g.get()).Info() }

// Clone implements credentials.TransportCredentials.
func (g grpcTLS) Clone() credentials.TransportCredentials { return g }

// OverrideServerName implements credentials.TransportCredentials; deprecated there, and not called.
func (g grpcTLS) OverrideServerName(string) error { return errors.ErrUnsupported }
