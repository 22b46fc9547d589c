package export

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
)

// tlsAlert is in every error that tells what the other side has against our TLS. With TLS 1.3
// it says so after the handshake, and may be overtaken by the end of the connection.
const tlsAlert = "remote error: tls: "

// tlsToPlain is what crypto/tls says when the other side does not speak TLS: most often
// tls.insecure is missing.
const tlsToPlain = "first record does not look like a TLS handshake"

// clientTLS makes the client's side of TLS. The client certificate is read at each handshake,
// so a renewed one counts from the next connection on; while it can't be read, half written
// for example, the last good one does.
func clientTLS(t TLS) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName, InsecureSkipVerify: t.InsecureSkipVerify}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("tls.ca_file: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls.ca_file: %s holds no certificate in PEM form", t.CAFile)
		}
	}
	if t.CertFile != "" {
		first, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("tls.cert_file: %w", err)
		}
		var good atomic.Pointer[tls.Certificate]
		good.Store(&first)
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if c, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile); err == nil {
				good.Store(&c)
			}
			return good.Load(), nil
		}
	}
	return cfg, nil
}

// proxyFor says which proxy a URL is reached through; nil is none. It is HTTPS_PROXY,
// HTTP_PROXY and NO_PROXY of the environment, but never a proxy for a name of a cluster's
// service: proxies stand outside, where nobody knows it.
func proxyFor(u *url.URL) (*url.URL, error) {
	if host := u.Hostname(); !strings.ContainsAny(host, ".:") || strings.HasSuffix(host, ".svc") || strings.HasSuffix(host, ".cluster.local") {
		return nil, nil
	}
	return http.ProxyFromEnvironment(&http.Request{URL: u})
}

// hide masks the values of headers in what a server says: some repeat a token that they
// refuse. Short values are no secrets and would mask ordinary words.
func hide(headers map[string]Secret) *strings.Replacer {
	var pairs []string
	for _, v := range headers {
		words := strings.Fields(v.Reveal()) // "Bearer TOKEN"
		for _, s := range append([]string{v.Reveal()}, words[max(len(words)-1, 0):]...) {
			if len(s) >= 8 {
				pairs = append(pairs, s, mask)
			}
		}
	}
	return strings.NewReplacer(pairs...)
}

// cleaned is err as it can be logged: without secrets, no longer than a line.
func cleaned(err error, hide *strings.Replacer) error {
	if err == nil {
		return nil
	}
	s := hide.Replace(err.Error())
	return errors.New(strings.ToValidUTF8(s[:min(len(s), 500)], ""))
}
