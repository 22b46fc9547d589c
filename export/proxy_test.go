package export

import (
	"crypto/tls"
	"encoding/base64"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"stint/export/otlp"
)

// forwarder is an HTTP proxy. All names lead to one address: it knows them where this machine does
// not.
type forwarder struct {
	to     string // host:port
	wanted string // Proxy-Authorization; "" = none
	refuse int    // status of every answer; 0 = forward

	mu    sync.Mutex
	asked []string // what clients wanted to reach
	conns sync.WaitGroup
}

func newForwarder(t testing.TB, f *forwarder, cert *tls.Certificate) (addr string) {
	s := httptest.NewUnstartedServer(f)
	s.Config.ErrorLog = slog.NewLogLogger(silent.Handler(), slog.LevelInfo)
	if cert == nil {
		s.Start()
	} else {
		s.TLS = &tls.Config{Certificates: []tls.Certificate{*cert}}
		s.StartTLS()
	}
	t.Cleanup(func() { s.CloseClientConnections(); s.Close(); f.conns.Wait() })
	return s.Listener.Addr().String()
}

// ServeHTTP connects, or forwards a request in plain text.
func (f *forwarder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.asked = append(f.asked, r.Host)
	f.mu.Unlock()
	switch got := r.Header.Get("Proxy-Authorization"); {
	case f.refuse != 0:
		http.Error(w, "no", f.refuse)
		return
	case got != f.wanted:
		http.Error(w, "I don't know "+got, http.StatusProxyAuthRequired)
		return
	case r.Method != http.MethodConnect:
		out := r.Clone(r.Context())
		out.RequestURI, out.URL.Host = "", f.to
		resp, err := http.DefaultTransport.RoundTrip(out)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		w.WriteHeader(resp.StatusCode)
		io.Copy(w, resp.Body)
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		return
	}
	back, err := net.Dial("tcp", f.to)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	front, rest, err := w.(http.Hijacker).Hijack()
	if err != nil {
		back.Close()
		return
	}
	io.WriteString(front, "HTTP/1.1 200 Connection established\r\n\r\n")
	f.conns.Go(func() { io.Copy(back, rest); back.Close() })
	f.conns.Go(func() { io.Copy(front, back); front.Close() })
}

func (f *forwarder) want(t testing.TB, names ...string) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.Equal(slices.Compact(f.asked), names) {
		t.Errorf("the proxy was asked for %q, want %q", f.asked, names)
	}
}

// throughProxy are exporters to a name that only the proxy knows.
var throughProxy = map[string]func(t *testing.T, ca *authority, cert tls.Certificate) (*receiver, Exporter){
	"grpc in plain text": func(t *testing.T, _ *authority, _ tls.Certificate) (*receiver, Exporter) {
		return newGRPC(t, nil), &OTLP{Endpoint: "gateway.example:4317", TLS: TLS{Insecure: true}, RetryOnFailure: fast}
	},
	"grpc": func(t *testing.T, ca *authority, cert tls.Certificate) (*receiver, Exporter) {
		return newTLSReceiver(t, "grpc", &tls.Config{Certificates: []tls.Certificate{cert}}),
			&OTLP{Endpoint: "gateway.example:4317", TLS: TLS{CAFile: ca.path("ca.pem")}, RetryOnFailure: fast}
	},
	"http in plain text": func(t *testing.T, _ *authority, _ tls.Certificate) (*receiver, Exporter) {
		return newHTTP(t, nil), &OTLPHTTP{Endpoint: "http://gateway.example:4318", RetryOnFailure: fast}
	},
	"http": func(t *testing.T, ca *authority, cert tls.Certificate) (*receiver, Exporter) {
		return newTLSReceiver(t, "http", &tls.Config{Certificates: []tls.Certificate{cert}}),
			&OTLPHTTP{Endpoint: "https://gateway.example:4318", TLS: TLS{CAFile: ca.path("ca.pem")}, RetryOnFailure: fast}
	},
}

func setProxy(e Exporter, url Secret) {
	switch e := e.(type) {
	case *OTLP:
		e.ProxyURL = url
	case *OTLPHTTP:
		e.ProxyURL = url
	}
}

func hostOf(e Exporter) string {
	if _, grpc := e.(*OTLP); grpc {
		return "gateway.example:4317"
	}
	return "gateway.example:4318"
}

// A proxy of proxy_url, in plain text or TLS, and one of the environment with a password are gone
// through by all, and what the proxy answers is told apart.
func TestThroughProxy(t *testing.T) {
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy"} {
		t.Setenv(name, "")
	}
	ca := newAuthority(t)
	cert := ca.issue("server", time.Now().Add(time.Hour), "gateway.example", "127.0.0.1")
	const user, password = "jack", "hunter2:@/ secret"
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
	at := func(scheme, addr, password string) string {
		return (&url.URL{Scheme: scheme, Host: addr, User: url.UserPassword(user, password)}).String()
	}
	for name, serve := range throughProxy {
		t.Run(name, func(t *testing.T) {
			r, x := serve(t, ca, cert)
			send := func(want Kind) Verdict {
				t.Helper()
				v := insist(t, newDestination(t, x), newSource(t), want)
				if v.Kind != want || v.Unsure {
					t.Errorf("verdict %+v, want %v", v, want)
				}
				return v
			}
			f := &forwarder{to: r.addr}
			setProxy(x, Secret("http://"+newForwarder(t, f, nil)))
			send(OK)
			f.want(t, hostOf(x))
			r.want("c", 4)

			f = &forwarder{to: r.addr, wanted: basic}
			addr := newForwarder(t, f, nil)
			setProxy(x, Secret(at("http", addr, password)))
			send(OK)
			setProxy(x, Secret(at("http", addr, "swordfish")))
			wrong := base64.StdEncoding.EncodeToString([]byte(user + ":swordfish"))
			if v := send(Auth); strings.Contains(v.Err.Error(), "swordfish") || strings.Contains(v.Err.Error(), wrong) {
				t.Errorf("a secret is in %q", v.Err)
			}
			setProxy(x, "")
			t.Setenv("HTTPS_PROXY", at("http", addr, password))
			t.Setenv("HTTP_PROXY", at("http", addr, password))
			send(OK)
			f.want(t, hostOf(x))

			if !strings.Contains(name, "plain") { // the proxy's certificate is verified by tls.ca_file
				f = &forwarder{to: r.addr, wanted: basic}
				setProxy(x, Secret(at("https", newForwarder(t, f, &cert), password)))
				send(OK)
				f.want(t, hostOf(x))
			}

			setProxy(x, Secret("http://"+newForwarder(t, &forwarder{refuse: 502}, nil)))
			if v := insist(t, newDestination(t, x), newSource(t), Again); v.Kind != Again {
				t.Errorf("a proxy that can't connect: %+v", v)
			}
			if name != "http in plain text" { // there the answer may be the server's
				setProxy(x, Secret("http://"+newForwarder(t, &forwarder{refuse: 403}, nil)))
				send(Misconfigured)
			}
			setProxy(x, "http://127.0.0.1:1")
			send(Again)
		})
	}
}

// What an error says of a proxy that is not there holds no secret of the environment's.
func TestProxySecretsStayInside(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://jack:hunter2-hunter2@127.0.0.1:1")
	t.Setenv("HTTP_PROXY", "http://jack:hunter2-hunter2@127.0.0.1:1")
	both := base64.StdEncoding.EncodeToString([]byte("jack:hunter2-hunter2"))
	for _, x := range []Exporter{&OTLP{Endpoint: "gateway.example:4317"}, &OTLPHTTP{Endpoint: "http://gateway.example"}} {
		d := newDestination(t, x)
		if v := sendOne(t, d, newSource(t), 5*time.Second); v.Kind != Again || strings.Contains(v.Err.Error(), "hunter2") {
			t.Errorf("%v: %v", v.Kind, v.Err)
		}
		if got := loginOf(d).get().hide.Replace("hunter2-hunter2 " + both); got != "*** ***" {
			t.Errorf("hidden: %q", got)
		}
	}
}

func TestProxy(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://proxy.example:3128")
	t.Setenv("HTTP_PROXY", "http://proxy.example:3129")
	t.Setenv("NO_PROXY", "direct.example,10.0.0.0/8")
	t.Setenv("KUBERNETES_SERVICE_HOST", "172.20.0.1")
	for _, tc := range []struct {
		proxy  Secret
		url    string
		result string
	}{
		{"", "https://gw.example:4317", "proxy.example:3128"},
		{"", "http://gw.example:4318", "proxy.example:3129"},
		{"", "https://direct.example:4317", ""},
		{"", "https://a.direct.example", ""},
		{"", "https://10.1.2.3", ""},
		{"", "https://172.20.0.1:443", ""},
		{"", "https://172.20.0.2:443", "proxy.example:3128"},
		{"", "https://stint-cluster:4317", ""},
		{"", "http://stint-cluster", ""},
		{"", "https://gw.monitoring.svc:4317", ""},
		{"", "https://gw.monitoring.svc.cluster.local:4317", ""},
		{"", "https://gw.monitoring.svc.cluster.local.:4317", ""},
		{"", "http://127.0.0.1:4318", ""},
		{"", "http://[::1]:4318", ""},
		{"none", "https://gw.example:4317", ""},
		{"http://own.example:1", "https://gw.example:4317", "own.example:1"},
		{"http://own.example:1", "https://direct.example:4317", "own.example:1"}, // who writes it there means it
	} {
		u, err := url.Parse(tc.url)
		if err != nil {
			t.Fatal(err)
		}
		host := ""
		p, err := Proxy(tc.proxy)(u)
		if p != nil {
			host = p.Host
		}
		if err != nil || host != tc.result {
			t.Errorf("Proxy(%q)(%s) = %q, %v, want %q", tc.proxy.Reveal(), tc.url, host, err, tc.result)
		}
	}
}

func TestProxyCheck(t *testing.T) {
	for url, want := range map[Secret]string{
		"": "", "none": "", "http://proxy:3128": "", "https://u:hunter2@proxy": "", "http://proxy:3128/": "",
		"proxy:3128":               "a.proxy_url: is not an http or https URL; ",
		"socks5://hunter2@proxy:1": "a.proxy_url: is not an http or https URL; ",
		"http://u:hunter2@":        "a.proxy_url: is not an http or https URL; ",
		"http://u:hunter2@\x7f":    "a.proxy_url: is not an http or https URL; ",
		"http://u:hunter2@p:70000": "a.proxy_url: its port is out of range; ",
		"http://u:hunter2@p/x":     "a.proxy_url: holds a path; ",
	} {
		for _, x := range []Exporter{&OTLP{Endpoint: "a:1", ProxyURL: url}, &OTLPHTTP{Endpoint: "http://a", ProxyURL: url}} {
			got := ""
			for _, err := range x.check("a") {
				if strings.Contains(err.Error(), "proxy_url") {
					got += err.Error()
				}
				if strings.Contains(err.Error(), "hunter2") {
					t.Errorf("a secret is in %q", err)
				}
			}
			if !strings.HasPrefix(got, want) || want == "" && got != "" {
				t.Errorf("%q: %q, want %q", url.Reveal(), got, want)
			}
		}
	}
}

// A proxy that goes away and comes back costs nothing that was read.
func TestProxyComesBack(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	r := newGRPC(t, nil)
	e, _ := newExporting(t, BatchDefaults(), Exporters{"x": &OTLP{Endpoint: "gateway.example:4317", TLS: TLS{Insecure: true}, ProxyURL: Secret("http://" + addr), Timeout: time.Second, RetryOnFailure: fast}}, silent)
	s := newSource(t)
	done := make(chan struct{})
	go func() { defer close(done); e.Run(t.Context()) }()
	e.Input(otlp.Logs, "test")(s.logs("a", 100, 100))
	e.CloseInput()
	until(t, "it is down", func() bool { return e.Status()[0].Down != "" })
	if l, err = net.Listen("tcp", addr); err != nil {
		t.Fatal(err)
	}
	f := &forwarder{to: r.addr}
	srv := &http.Server{Handler: f}
	go srv.Serve(l)
	defer srv.Close()
	<-done
	r.want("a", 100)
	s.want(1, 0, 0)
}
