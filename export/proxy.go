package export

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"golang.org/x/net/http/httpproxy"
)

// Proxy tells through which proxy an exporter with this proxy_url reaches a URL; nil is none.
// Without proxy_url it is HTTPS_PROXY, HTTP_PROXY and NO_PROXY of the environment, but never a proxy
// for a name of a cluster's service or for the API server: proxies stand outside, where nobody knows
// these.
func Proxy(proxyURL Secret) func(*url.URL) (*url.URL, error) {
	switch proxyURL {
	case "":
		environment := httpproxy.FromEnvironment().ProxyFunc()
		apiServer := os.Getenv("KUBERNETES_SERVICE_HOST")
		return func(u *url.URL) (*url.URL, error) {
			if host := strings.TrimSuffix(u.Hostname(), "."); !strings.ContainsAny(host, ".:") || host == apiServer ||
				strings.HasSuffix(host, ".svc") || strings.HasSuffix(host, ".cluster.local") {
				return nil, nil
			}
			return environment(u)
		}
	case noProxy:
		return func(*url.URL) (*url.URL, error) { return nil, nil }
	}
	return func(*url.URL) (*url.URL, error) {
		u, err := url.Parse(proxyURL.Reveal())
		if err != nil {
			return nil, errors.New("proxy_url is not a URL") // err would show it
		}
		return u, nil
	}
}

// noProxy is the proxy_url that means none.
const noProxy = "none"

func checkProxy(path string, proxyURL Secret) []error {
	if proxyURL == "" || proxyURL == noProxy {
		return nil
	}
	switch u, err := url.Parse(proxyURL.Reveal()); {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return []error{fmt.Errorf("%s: is not an http or https URL; write e.g. http://proxy:3128, or none", path)}
	case u.Port() != "" && !validPort(u.Port()):
		return []error{fmt.Errorf("%s: its port is out of range; give 1 to 65535", path)}
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return []error{fmt.Errorf("%s: holds a path; write e.g. http://proxy:3128", path)}
	}
	return nil
}

// proxySecrets are what is in the URL of a proxy, or in those of the environment, and must not be
// shown: the password, and both in the form in which they are sent.
func proxySecrets(proxyURL Secret) (list []Secret) {
	urls := []string{proxyURL.Reveal()}
	if proxyURL == "" {
		env := httpproxy.FromEnvironment()
		urls = []string{env.HTTPProxy, env.HTTPSProxy}
	}
	for _, raw := range urls {
		u, err := url.Parse(raw)
		if err != nil || u.User == nil {
			continue
		}
		password, _ := u.User.Password()
		list = append(list, Secret(password), Secret(base64.StdEncoding.EncodeToString([]byte(u.User.Username()+":"+password))))
	}
	return list
}

// proxyRefused begins what is said when a proxy refuses a connection. grpc hands on nothing but text.
const proxyRefused = "the proxy answered HTTP "

// proxyRefusal is a proxy's answer to CONNECT other than 200.
type proxyRefusal struct {
	code   int
	status string
}

// Error is the proxy's status.
func (r *proxyRefusal) Error() string { return proxyRefused + r.status }

// verdict: nothing was sent in any case.
func (r *proxyRefusal) verdict() Verdict {
	switch {
	case r.code == http.StatusProxyAuthRequired:
		return Verdict{Kind: Auth, Err: r}
	case r.code == http.StatusTooManyRequests || r.code/100 == 5:
		return Verdict{Kind: Again, Err: r}
	}
	return Verdict{Kind: Misconfigured, Err: r}
}

// dialThrough opens a connection to addr, host:port, through an HTTP proxy. net/http does that by
// itself; this is for grpc, which knows the proxies of the environment alone. tlsConfig is for
// proxies that speak TLS.
func dialThrough(ctx context.Context, proxy *url.URL, addr string, tlsConfig *tls.Config) (_ net.Conn, err error) {
	port := proxy.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[proxy.Scheme]
	}
	conn, err := (&net.Dialer{Timeout: dialTimeout, KeepAlive: keepAlive}).DialContext(ctx, "tcp", net.JoinHostPort(proxy.Hostname(), port))
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	defer func() {
		if err != nil {
			conn.Close()
		}
	}()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if proxy.Scheme == "https" {
		cfg := tlsConfig.Clone()
		cfg.ServerName = proxy.Hostname()
		c := tls.Client(conn, cfg)
		if err := c.HandshakeContext(ctx); err != nil {
			return nil, fmt.Errorf("proxy: %w", err)
		}
		conn = c
	}
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: addr}, Host: addr, Header: http.Header{}}
	if u := proxy.User; u != nil {
		password, _ := u.Password()
		req.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(u.Username()+":"+password)))
	}
	if err := req.Write(conn); err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, req)
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, &proxyRefusal{resp.StatusCode, resp.Status}
	}
	if !stop() {
		return nil, ctx.Err() // the deadline is set
	}
	return &readAhead{conn, r}, nil
}

// readAhead is a connection of which something was read already: servers may speak first.
type readAhead struct {
	net.Conn
	r *bufio.Reader
}

// Read implements net.Conn.
func (c *readAhead) Read(b []byte) (int, error) { return c.r.Read(b) }
