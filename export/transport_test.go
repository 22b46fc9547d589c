package export

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"stint/export/otlp"
)

// authority is a certificate authority made for a test.
type authority struct {
	t      testing.TB
	dir    string
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	serial int64
}

func newAuthority(t testing.TB) *authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{t: t, dir: t.TempDir(), key: key, serial: 1}
	a.cert = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, a.cert, a.cert, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.write("ca.pem", "CERTIFICATE", der)
	return a
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

func (a *authority) write(name, kind string, der []byte) {
	if err := os.WriteFile(a.path(name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// issue writes name.pem and name.key and gives the pair; it lasts until end.
func (a *authority) issue(name string, end time.Time, hosts ...string) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	a.serial++
	c := &x509.Certificate{
		SerialNumber: big.NewInt(a.serial), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: end,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(name+".pem", "CERTIFICATE", der)
	a.write(name+".key", "PRIVATE KEY", private)
	pair, err := tls.LoadX509KeyPair(a.path(name+".pem"), a.path(name+".key"))
	if err != nil {
		a.t.Fatal(err)
	}
	return pair
}

// serials are the client certificates that servers have seen, one a connection.
type serials struct {
	mu   sync.Mutex
	list []int64
}

func (s *serials) verify(c tls.ConnectionState) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := int64(0)
	if len(c.PeerCertificates) > 0 {
		n = c.PeerCertificates[0].SerialNumber.Int64()
	}
	s.list = append(s.list, n)
	return nil
}

func (s *serials) last() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.list[len(s.list)-1]
}

// tlsTransports start a server with this configuration; hangUp closes its connections.
var tlsTransports = map[string]func(testing.TB, *tls.Config) (addr string, hangUp func()){
	"grpc": func(t testing.TB, c *tls.Config) (string, func()) {
		r, hangUp := newTLSServer(t, "grpc", c)
		return r.addr, hangUp
	},
	"http": func(t testing.TB, c *tls.Config) (string, func()) {
		r, hangUp := newTLSServer(t, "http", c)
		return r.addr, hangUp
	},
}

func newTLSReceiver(t testing.TB, transport string, c *tls.Config) *receiver {
	r, _ := newTLSServer(t, transport, c)
	return r
}

func newTLSServer(t testing.TB, transport string, c *tls.Config) (r *receiver, hangUp func()) {
	if transport == "grpc" {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		k := &keeper{Listener: l}
		return newGRPCOn(t, k, nil, grpc.Creds(credentials.NewTLS(c))), k.hangUp
	}
	r = &receiver{t: t}
	s := httptest.NewUnstartedServer(r)
	s.Config.ErrorLog = slog.NewLogLogger(silent.Handler(), slog.LevelInfo)
	s.TLS = c
	s.EnableHTTP2 = true
	s.StartTLS()
	r.addr = s.Listener.Addr().String()
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return r, s.CloseClientConnections
}

// keeper remembers connections, to close them.
type keeper struct {
	net.Listener
	mu    sync.Mutex
	conns []net.Conn
}

func (k *keeper) Accept() (net.Conn, error) {
	c, err := k.Listener.Accept()
	if err == nil {
		k.mu.Lock()
		k.conns = append(k.conns, c)
		k.mu.Unlock()
	}
	return c, err
}

func (k *keeper) hangUp() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.conns {
		c.Close()
	}
}

func tlsExporter(transport, addr string, c TLS) Exporter {
	if transport == "grpc" {
		return &OTLP{Endpoint: addr, TLS: c, Timeout: 5 * time.Second, RetryOnFailure: fast}
	}
	return &OTLPHTTP{Endpoint: "https://" + addr, TLS: c, Timeout: 5 * time.Second, RetryOnFailure: fast}
}

func TestTLS(t *testing.T) {
	good, other := newAuthority(t), newAuthority(t)
	hour := time.Now().Add(time.Hour)
	server := good.issue("server", hour, "127.0.0.1")
	named := good.issue("named", hour, "gateway.example")
	expired := good.issue("expired", time.Now().Add(-time.Hour), "127.0.0.1")
	good.issue("client", hour)
	other.issue("client", hour)
	clients := x509.NewCertPool()
	clients.AddCert(good.cert)
	mutual := &tls.Config{Certificates: []tls.Certificate{server}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients}
	mutual12 := mutual.Clone()
	mutual12.MaxVersion = tls.VersionTLS12
	with := func(c *authority) TLS {
		return TLS{CAFile: good.path("ca.pem"), CertFile: c.path("client.pem"), KeyFile: c.path("client.key")}
	}

	misconfigured := Verdict{Kind: Misconfigured}
	for name, tc := range map[string]struct {
		server *tls.Config
		client TLS
		want   Verdict
		err    string
	}{
		"a known authority":            {&tls.Config{Certificates: []tls.Certificate{server}}, TLS{CAFile: good.path("ca.pem")}, Verdict{}, ""},
		"an unknown authority":         {&tls.Config{Certificates: []tls.Certificate{server}}, TLS{CAFile: other.path("ca.pem")}, misconfigured, "certificate"},
		"the system's authorities":     {&tls.Config{Certificates: []tls.Certificate{server}}, TLS{}, misconfigured, "unknown authority"},
		"no verification":              {&tls.Config{Certificates: []tls.Certificate{server}}, TLS{InsecureSkipVerify: true}, Verdict{}, ""},
		"the wrong name":               {&tls.Config{Certificates: []tls.Certificate{named}}, TLS{CAFile: good.path("ca.pem")}, misconfigured, "127.0.0.1"},
		"the name that is expected":    {&tls.Config{Certificates: []tls.Certificate{named}}, TLS{CAFile: good.path("ca.pem"), ServerName: "gateway.example"}, Verdict{}, ""},
		"an expired certificate":       {&tls.Config{Certificates: []tls.Certificate{expired}}, TLS{CAFile: good.path("ca.pem")}, misconfigured, "expired"},
		"a client certificate":         {mutual, with(good), Verdict{}, ""},
		"no client certificate":        {mutual, TLS{CAFile: good.path("ca.pem")}, misconfigured, "certificate"},
		"no client certificate, 1.2":   {mutual12, TLS{CAFile: good.path("ca.pem")}, misconfigured, "handshake failure"},
		"the wrong client certificate": {mutual, with(other), misconfigured, "certificate"},
		"a server of TLS 1.1":          {&tls.Config{Certificates: []tls.Certificate{server}, MaxVersion: tls.VersionTLS11}, TLS{CAFile: good.path("ca.pem")}, misconfigured, "version"},
	} {
		for transport, serve := range tlsTransports {
			t.Run(name+" by "+transport, func(t *testing.T) {
				addr, _ := serve(t, tc.server.Clone())
				d := newDestination(t, tlsExporter(transport, addr, tc.client))
				v := sendOne(t, d, newSource(t), 5*time.Second)
				// What TLS 1.3 has against a client comes after the handshake; whether it can be read
				// before writing fails is a matter of luck. Asking again is right in any case.
				for i := 0; tc.server == mutual && v.Kind == Again && i < 200; i++ {
					v = sendOne(t, d, newSource(t), 5*time.Second)
					<-time.After(5 * time.Millisecond)
				}
				same(t, v, tc.want)
				if tc.err != "" && (v.Err == nil || !strings.Contains(v.Err.Error(), tc.err)) {
					t.Errorf("error %v, want %q in it", v.Err, tc.err)
				}
			})
		}
	}
}

// A renewed client certificate counts from the next connection on; while it is half written,
// the last good one does.
func TestTLSRenewal(t *testing.T) {
	for transport, serve := range tlsTransports {
		t.Run(transport, func(t *testing.T) {
			ca := newAuthority(t)
			hour := time.Now().Add(time.Hour)
			clients := x509.NewCertPool()
			clients.AddCert(ca.cert)
			seen := &serials{}
			addr, hangUp := serve(t, &tls.Config{
				Certificates: []tls.Certificate{ca.issue("server", hour, "127.0.0.1")},
				ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: clients, VerifyConnection: seen.verify,
			})
			ca.issue("client", hour)
			first := ca.serial
			d := newDestination(t, tlsExporter(transport, addr, TLS{CAFile: ca.path("ca.pem"), CertFile: ca.path("client.pem"), KeyFile: ca.path("client.key")}))
			s := newSource(t)
			arrives := func(want int64) {
				t.Helper()
				v := Verdict{Kind: Again}
				for i := 0; v.Kind == Again && i < 50; i++ { // the first tell that the connection is gone
					v = sendOne(t, d, s, 5*time.Second)
					<-time.After(5 * time.Millisecond)
				}
				if v.Kind != OK || seen.last() != want {
					t.Errorf("verdict %+v with certificate %d, want %d", v, seen.last(), want)
				}
			}
			arrives(first)
			ca.issue("client", hour)
			arrives(first) // the connection stands
			hangUp()
			arrives(first + 1)
			if err := os.WriteFile(ca.path("client.key"), []byte("half a k"), 0o600); err != nil {
				t.Fatal(err)
			}
			hangUp()
			arrives(first + 1)
		})
	}
}

func TestTLSFiles(t *testing.T) {
	ca := newAuthority(t)
	ca.issue("client", time.Now().Add(time.Hour))
	for name, tc := range map[string]struct {
		tls TLS
		err string
	}{
		"no such authority": {TLS{CAFile: ca.path("none.pem")}, "exporters.x: tls.ca_file: open "},
		"no certificate":    {TLS{CAFile: ca.path("client.key")}, "exporters.x: tls.ca_file: " + ca.path("client.key") + " holds no certificate in PEM form"},
		"no such key":       {TLS{CertFile: ca.path("client.pem"), KeyFile: ca.path("none.key")}, "exporters.x: tls.key_file: open "},
		"another key":       {TLS{CertFile: ca.path("ca.pem"), KeyFile: ca.path("client.key")}, "exporters.x: tls.cert_file: tls: private key does not match public key"},
	} {
		for transport := range transports {
			t.Run(name+" by "+transport, func(t *testing.T) {
				x := Exporters{"a": tlsExporter("grpc", "127.0.0.1:1", TLS{Insecure: true}), "x": tlsExporter(transport, "127.0.0.1:1", tc.tls)}
				_, err := New(Options{Batch: BatchDefaults(), Exporters: x, Pipelines: Pipelines{}, Version: "1", Log: silent, Registerer: newRegistry()})
				if err == nil || !strings.HasPrefix(err.Error(), tc.err) {
					t.Errorf("New: %v, want %q", err, tc.err)
				}
			})
		}
	}
}

// Headers arrive, and their values are shown nowhere, though the server repeats them and the
// URL holds one.
func TestSecretsStayInside(t *testing.T) {
	const token, other = "hunter2-hunter2", "swordfish-swordfish"
	// says repeats a secret in what it answers; got are the headers that it has seen.
	var mu sync.Mutex
	got := map[string]bool{}
	saw := func(v string) string {
		mu.Lock()
		defer mu.Unlock()
		got[v] = true
		return "I don't know " + v + " nor " + strings.TrimPrefix(v, "Bearer ")
	}
	r := newGRPC(t, nil, grpc.UnaryInterceptor(func(ctx context.Context, _ any, _ *grpc.UnaryServerInfo, _ grpc.UnaryHandler) (any, error) {
		md, _ := metadata.FromIncomingContext(ctx)
		return nil, status.Error(codes.Unauthenticated, saw(md.Get("authorization")[0])+md.Get("x-key")[0])
	}))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, saw(r.Header.Get("Authorization"))+r.Header.Get("X-Key"), http.StatusForbidden)
	}))
	defer s.Close()
	headers := map[string]Secret{"Authorization": "Bearer " + token, "x-key": other}
	var log strings.Builder
	var logMu sync.Mutex
	e, reg := newExporting(t, BatchDefaults(), Exporters{
		"grpc": &OTLP{Endpoint: r.addr, TLS: TLS{Insecure: true}, Credentials: Credentials{Headers: headers}, Timeout: time.Second, RetryOnFailure: fast},
		"http": &OTLPHTTP{Endpoint: s.URL, Credentials: Credentials{Headers: headers}, Timeout: time.Second, RetryOnFailure: fast},
		"away": &OTLPHTTP{LogsEndpoint: "http://127.0.0.1:1/?token=" + token, Timeout: time.Second, RetryOnFailure: fast},
	}, slog.New(slog.NewTextHandler(&locked{&logMu, &log}, &slog.HandlerOptions{Level: slog.LevelDebug})))
	src := newSource(t)
	e.Input(otlp.Logs, "test")(src.logs("a", 1, 10))
	e.Flush()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	done := make(chan struct{})
	go func() { defer close(done); e.Run(ctx) }()
	for down := 0; down < 3 && ctx.Err() == nil; <-time.After(time.Millisecond) {
		down = 0
		for _, st := range e.Status() {
			if st.Down != "" && st.Signal == "logs" {
				down++
			}
		}
	}
	var all strings.Builder
	for _, st := range e.Status() {
		all.WriteString(st.Error + "\n")
	}
	cancel()
	<-done
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		all.WriteString(f.String())
	}
	all.WriteString(log.String())
	for _, secret := range []string{token, other} {
		if strings.Contains(all.String(), secret) {
			t.Errorf("%q is in\n%s", secret, all.String())
		}
	}
	if !strings.Contains(all.String(), "I don't know *** nor ***") || !got["Bearer "+token] {
		t.Errorf("what the servers said is not in\n%s; they saw %v", all.String(), got)
	}
	if state := e.outs["grpc"].dest.(*otlpGRPC).conn.GetState(); state != connectivity.Shutdown {
		t.Errorf("the connection is %v after Run", state)
	}
}

// locked makes a writer safe for several goroutines.
type locked struct {
	mu *sync.Mutex
	w  *strings.Builder
}

func (l *locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

func TestCleaned(t *testing.T) {
	l, err := newLogin(Credentials{Headers: map[string]Secret{"a": "Basic dXNlcjpwYXNz", "b": "1", "c": ""}, User: "u", Password: "pass-the-word"}, me(), "pass-the")
	if err != nil {
		t.Fatal(err)
	}
	p := l.get()
	for in, want := range map[string]string{
		"Basic dXNlcjpwYXNz is wrong":     "*** is wrong",
		"dXNlcjpwYXNz is wrong":           "*** is wrong",
		"pass-the-word and pass-the note": "*** and *** note",
		"1 is short":                      "1 is short",
		strings.Repeat("é", 400):          strings.Repeat("é", 250),
		"bad \xff byte":                   "bad  byte",
	} {
		if got := p.clean(errors.New(in)).Error(); got != want {
			t.Errorf("clean(%q) = %q, want %q", in, got, want)
		}
	}
	if p.clean(nil) != nil {
		t.Error("clean(nil) is not nil")
	}
}

// Connections are kept, also after a refusal with a long text, but not for ever.
func TestHTTPConnections(t *testing.T) {
	var conns, open, answers atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if answers.Add(1)%2 == 0 {
			http.Error(w, strings.Repeat("x", defaultMaxAnswer/2), http.StatusServiceUnavailable)
		}
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			conns.Add(1)
			open.Add(1)
		case http.StateClosed:
			open.Add(-1)
		}
	}
	s.Start()
	defer s.Close()
	d := newDestination(t, transports["http"].exporter(s.Listener.Addr().String())).(*otlpHTTP)
	src := newSource(t)
	for range 10 {
		sendOne(t, d, src, 5*time.Second)
	}
	if n := conns.Load(); n != 1 {
		t.Errorf("%d connections for 10 requests, want 1", n)
	}
	d.now.until = time.Now()
	sendOne(t, d, src, 5*time.Second)
	sendOne(t, d, src, 5*time.Second)
	if n := conns.Load(); n != 2 {
		t.Errorf("%d connections after one grew old, want 2", n)
	}
	if left := time.Until(d.now.until); left < maxConnAge*8/10 || left > maxConnAge*11/10 {
		t.Errorf("the next one is used for %v more, want %v, a tenth more or less", left, maxConnAge)
	}
	d.now.requests = maxConnRequests - 1
	sendOne(t, d, src, 5*time.Second) // the last
	sendOne(t, d, src, 5*time.Second)
	if n := conns.Load(); n != 3 {
		t.Errorf("%d connections after %d requests by one, want 3", n, maxConnRequests)
	}
	until(t, "old connections are closed", func() bool { return open.Load() == 1 })
}

// A backend that is added gets its share although no connection is ever idle, over TLS as HTTP/2 and
// in plain text; nothing under way is cut off.
func TestHTTPConnectionsEndUnderLoad(t *testing.T) {
	ca := newAuthority(t)
	for name, tls := range map[string]*tls.Config{
		"plain": nil, "TLS": {Certificates: []tls.Certificate{ca.issue("server", time.Now().Add(time.Hour), "backend.example")}},
	} {
		t.Run(name, func(t *testing.T) {
			names := newNameServer(t)
			names.set("backend.example", "127.0.0.1")
			first, second, port := listenBoth(t)
			var hits [2]atomic.Int64
			var major atomic.Int64
			for i, l := range []net.Listener{first, second} {
				s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if _, err := io.Copy(io.Discard, r.Body); err != nil {
						t.Errorf("a request broke off: %v", err)
					}
					major.Store(int64(r.ProtoMajor))
					hits[i].Add(1)
				}))
				s.Listener.Close()
				s.Listener = l
				s.Config.ErrorLog = slog.NewLogLogger(silent.Handler(), slog.LevelInfo)
				if s.TLS = tls; tls == nil {
					s.Start()
				} else {
					s.TLS = tls.Clone()
					s.EnableHTTP2 = true
					s.StartTLS()
				}
				t.Cleanup(s.Close)
			}
			x := &OTLPHTTP{Endpoint: "http://backend.example:" + port}
			if tls != nil {
				x.Endpoint, x.TLS.CAFile = "https://backend.example:"+port, ca.path("ca.pem")
			}
			d := newDestination(t, x).(*otlpHTTP)
			d.age = 50 * time.Millisecond
			var lanes sync.WaitGroup
			stop := make(chan struct{})
			for range logLanes + 1 {
				lanes.Go(func() {
					for s := newSource(t); ; {
						select {
						case <-stop:
							return
						default:
							if v := sendOne(t, d, s, 5*time.Second); v.Kind != OK {
								t.Errorf("verdict %v: %v", v.Kind, v.Err)
								return
							}
						}
					}
				})
			}
			until(t, "the first has work", func() bool { return hits[0].Load() > 50 })
			if n := hits[1].Load(); n != 0 {
				t.Errorf("%d requests to an address that the name does not have", n)
			}
			names.set("backend.example", "127.0.0.1", "127.0.0.2")
			until(t, "the second has work", func() bool { return hits[1].Load() > 50 })
			before := hits[0].Load()
			until(t, "the first has work again", func() bool { return hits[0].Load() > before+50 })
			close(stop)
			lanes.Wait()
			if want := map[bool]int64{true: 1, false: 2}[tls == nil]; major.Load() != want {
				t.Errorf("HTTP/%d, want %d", major.Load(), want)
			}
		})
	}
}

// An answer that takes longer than a connection is used arrives all the same.
func TestHTTPSlowAnswer(t *testing.T) {
	release := make(chan struct{})
	var n atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if io.Copy(io.Discard, r.Body); n.Add(1) == 1 {
			<-release
		}
	}))
	defer s.Close()
	d := newDestination(t, transports["http"].exporter(s.Listener.Addr().String())).(*otlpHTTP)
	d.age = 0 // each request is its connection's last
	done := make(chan Verdict)
	go func() { done <- sendOne(t, d, newSource(t), 10*time.Second) }()
	until(t, "the first has come", func() bool { return n.Load() == 1 })
	for range 3 {
		same(t, sendOne(t, d, newSource(t), 5*time.Second), Verdict{})
	}
	close(release)
	same(t, <-done, Verdict{})
}

// A connection of HTTP/2 that is dead without a word is found out and replaced long before the time
// limit of a request.
func TestHTTPDeadConnection(t *testing.T) {
	ca := newAuthority(t)
	r := newTLSReceiver(t, "http", &tls.Config{Certificates: []tls.Certificate{ca.issue("server", time.Now().Add(time.Hour), "127.0.0.1")}})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var dead atomic.Int64 // connections that are
	relayed := make(chan struct{})
	go func() { // a path on which the first connection falls silent
		defer close(relayed)
		var conns sync.WaitGroup
		defer conns.Wait()
		for n := int64(1); ; n++ {
			front, err := l.Accept()
			if err != nil {
				return
			}
			back, err := net.Dial("tcp", r.addr)
			if err != nil {
				t.Error(err)
				return
			}
			relay := func(to, from net.Conn) {
				defer to.Close()
				buf := make([]byte, 64<<10)
				for {
					m, err := from.Read(buf)
					if err != nil {
						return
					}
					if n > dead.Load() {
						to.Write(buf[:m])
					}
				}
			}
			conns.Go(func() { relay(back, front) })
			conns.Go(func() { relay(front, back) })
		}
	}()
	d := newDestination(t, tlsExporter("http", l.Addr().String(), TLS{CAFile: ca.path("ca.pem")})).(*otlpHTTP)
	t.Cleanup(func() { d.close(); l.Close(); <-relayed })
	d.silence = 90 * time.Millisecond
	s := newSource(t)
	same(t, sendOne(t, d, s, 5*time.Second), Verdict{})
	dead.Store(1)
	begin := time.Now()
	if v := sendOne(t, d, s, time.Minute); v.Kind != Again || !v.Unsure {
		t.Errorf("over a dead connection: %+v", v)
	}
	same(t, sendOne(t, d, s, 5*time.Second), Verdict{})
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
}

// A header Host is the host that is asked for, as with curl -H.
func TestHTTPHost(t *testing.T) {
	var host atomic.Value
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { host.Store(r.Host) }))
	defer s.Close()
	d := newDestination(t, &OTLPHTTP{Endpoint: s.URL, Credentials: Credentials{Headers: map[string]Secret{"host": "tenant.example"}}})
	same(t, sendOne(t, d, newSource(t), 5*time.Second), Verdict{})
	if host.Load() != "tenant.example" {
		t.Errorf("the server was asked for %v", host.Load())
	}
}

// newSocket listens on one in a directory with a short name: a path of one has at most 107 bytes.
func newSocket(t testing.TB) (net.Listener, string) {
	dir, err := os.MkdirTemp("", "s")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "x.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	return l, path
}

// Both transports go over a Unix socket, whatever the environment says of proxies, and find it again
// when the server is started anew.
func TestUnixSockets(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	for transport := range transports {
		t.Run(transport, func(t *testing.T) {
			l, path := newSocket(t)
			k := &keeper{Listener: l}
			r := newReceiverOn(t, transport, k)
			var x Exporter = &OTLP{Endpoint: "unix://" + path, RetryOnFailure: fast}
			if transport == "http" {
				x = &OTLPHTTP{Endpoint: "unix://" + path, RetryOnFailure: fast}
			}
			if errs := (Exporters{"x": x}).Check(); errs != nil && strings.Contains(errs.Error(), "endpoint") {
				t.Errorf("Check: %v", errs)
			}
			d, s := newDestination(t, x), newSource(t)
			same(t, sendOne(t, d, s, 5*time.Second), Verdict{})
			r.want("c", 4)
			l.Close()
			k.hangUp()
			insist(t, d, s, Again)
			again, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			anew := newReceiverOn(t, transport, again)
			if v := insist(t, d, s, OK); v.Kind != OK || len(anew.records()) != 4 {
				t.Errorf("verdict %v (%v), %d records", v.Kind, v.Err, len(anew.records()))
			}
		})
	}
}

func TestSocketCheck(t *testing.T) {
	long := "unix:///" + strings.Repeat("x", 107)
	for name, tc := range map[string]struct {
		x    Exporter
		want string
	}{
		"gRPC, no absolute path": {&OTLP{Endpoint: "unix://x.sock"}, `a.endpoint: "x.sock" is not the absolute path`},
		"HTTP, no absolute path": {&OTLPHTTP{Endpoint: "unix://"}, `a.endpoint: "" is not the absolute path`},
		"gRPC, too long":         {&OTLP{Endpoint: long}, "at most 107 bytes"},
		"HTTP, too long":         {&OTLPHTTP{Endpoint: long}, "at most 107 bytes"},
		"a URL beside it":        {&OTLPHTTP{Endpoint: "unix:///x", LogsEndpoint: "http://x"}, "a.logs_endpoint: endpoint is a Unix socket"},
		"in the wrong key":       {&OTLPHTTP{LogsEndpoint: "unix:///x"}, "a.logs_endpoint: \"unix:///x\" is not an http or https URL"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := (Exporters{"a": tc.x}).Check(); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Check: %v, want %q", err, tc.want)
			}
		})
	}
}
