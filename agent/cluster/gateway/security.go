package gateway

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"stint/export"
)

// filesRead is how often files are looked at, at most.
const filesRead = time.Second

// tokenFile is a token in a file that may change.
type tokenFile struct {
	path string

	mu   sync.Mutex // guards everything below
	next time.Time
	good export.Secret
}

// get gives the token; the last good one while the file can't be used.
func (t *tokenFile) get() (export.Secret, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if now.Before(t.next) {
		return t.good, nil
	}
	t.next = now.Add(filesRead)
	s, err := export.ReadCredential(t.path)
	if err == nil {
		t.good = s
	} else if t.good != "" {
		err = nil
	}
	return t.good, err
}

// allowed says whether the value of a header is the token that is asked for.
func (g *Gateway) allowed(authorization string) bool {
	if g.token == nil {
		return true
	}
	want, err := g.token()
	scheme, got, _ := strings.Cut(authorization, " ")
	return err == nil && strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare([]byte(strings.TrimSpace(got)), []byte(want.Reveal())) == 1
}

// serverTLS makes the server's side of TLS; nil: it is off. The files are looked at when a connection
// begins, and the last good ones count.
func serverTLS(t TLS, log *slog.Logger) (*tls.Config, error) {
	if t.CertFile == "" {
		return nil, nil
	}
	s := &tlsFiles{TLS: t, log: log}
	if err := s.read(); err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return s.get(), nil },
	}, nil
}

// tlsFiles are the files of TLS as they were read last.
type tlsFiles struct {
	TLS
	log *slog.Logger

	mu   sync.Mutex // guards everything below
	next time.Time
	sum  [sha256.Size]byte
	good *tls.Config
	bad  bool
}

func (s *tlsFiles) get() *tls.Config {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); now.After(s.next) {
		s.next = now.Add(filesRead)
		err := s.read()
		if err != nil && !s.bad {
			s.log.Error("files of TLS can't be used; the last good ones are", "err", err)
		}
		s.bad = err != nil
	}
	return s.good
}

func (s *tlsFiles) read() error {
	var text [3][]byte
	sum := sha256.New()
	for i, f := range [...]string{s.CertFile, s.KeyFile, s.ClientCAFile} {
		if f == "" {
			continue
		}
		var err error
		if text[i], err = os.ReadFile(f); err != nil {
			return fmt.Errorf("%s: %w", [...]string{"cert_file", "key_file", "client_ca_file"}[i], err)
		}
		sum.Write(text[i])
	}
	if s.good != nil && [sha256.Size]byte(sum.Sum(nil)) == s.sum {
		return nil
	}
	cert, err := tls.X509KeyPair(text[0], text[1])
	if err != nil {
		return fmt.Errorf("cert_file: %w", err)
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}, Certificates: []tls.Certificate{cert}}
	if text[2] != nil {
		cfg.ClientCAs = x509.NewCertPool()
		if !cfg.ClientCAs.AppendCertsFromPEM(text[2]) {
			return errors.New("client_ca_file: holds no certificate in PEM form")
		}
		cfg.ClientAuth = tls.RequireAndVerifyClientCert
	}
	s.good, s.sum = cfg, [sha256.Size]byte(sum.Sum(nil))
	return nil
}
