package export

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"stint/export/otlp"
)

// changing is a server's TLS whose certificate changes while it serves.
type changing struct {
	cert atomic.Pointer[tls.Certificate]
}

func (c *changing) set(cert tls.Certificate) { c.cert.Store(&cert) }

func (c *changing) config() *tls.Config {
	return &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return &tls.Config{Certificates: []tls.Certificate{*c.cert.Load()}, NextProtos: []string{"h2", "http/1.1"}}, nil
	}}
}

func tlsOf(d destination) *tlsSource {
	if h, ok := d.(*otlpHTTP); ok {
		return h.tls
	}
	return d.(*otlpGRPC).tls
}

// insist sends until the verdict is of a kind, or a second is over: the first tell that the
// connection has gone, and grpc repeats an old error until its back-off is over.
func insist(t *testing.T, d destination, s *source, want Kind) Verdict {
	t.Helper()
	v := sendOne(t, d, s, 5*time.Second)
	for i := 0; v.Kind != want && i < 200; i++ {
		v = sendOne(t, d, s, 5*time.Second)
		<-time.After(5 * time.Millisecond)
	}
	return v
}

func counted(t *testing.T, c prometheus.Counter) int {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return int(m.GetCounter().GetValue())
}

// New authorities count for new connections. While their file is missing or half written the last
// good ones do; that is counted, and said once.
func TestTLSAuthorityRenewal(t *testing.T) {
	for transport, serve := range tlsTransports {
		t.Run(transport, func(t *testing.T) {
			hour := time.Now().Add(time.Hour)
			before, after := newAuthority(t), newAuthority(t)
			server := &changing{}
			server.set(before.issue("server", hour, "127.0.0.1"))
			addr, hangUp := serve(t, server.config())

			file := t.TempDir() + "/ca.pem"
			write := func(text []byte) {
				t.Helper()
				if err := os.WriteFile(file, text, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			bundle := func(as ...*authority) (all []byte) {
				t.Helper()
				for _, a := range as {
					text, err := os.ReadFile(a.path("ca.pem"))
					if err != nil {
						t.Fatal(err)
					}
					all = append(all, text...)
				}
				return all
			}
			write(bundle(before))
			var mu sync.Mutex
			var log strings.Builder
			self := me()
			self.log = slog.New(slog.NewTextHandler(&locked{&mu, &log}, nil))
			d, s := newDestinationAs(t, tlsExporter(transport, addr, TLS{CAFile: file}), self), newSource(t)
			tlsOf(d).every = 0 // at each request over HTTP
			want := func(what string, kind Kind, failures int) {
				t.Helper()
				if v := insist(t, d, s, kind); v.Kind != kind {
					t.Errorf("%s: verdict %v (%v), want %v", what, v.Kind, v.Err, kind)
				}
				if got := counted(t, self.tlsFailures); (got > 0) != (failures > 0) {
					t.Errorf("%s: %d failures counted, want %d or more", what, got, failures)
				}
			}
			want("the first authority", OK, 0)

			server.set(after.issue("server", hour, "127.0.0.1"))
			hangUp()
			want("a server of an authority that is not in the file", Misconfigured, 0)
			write(bundle(before, after))
			want("it is in the file now", OK, 0)

			both := bundle(before, after)
			for what, text := range map[string][]byte{
				"half of the second certificate": both[:len(both)-200], "half of the first": both[:200], "nothing": nil,
			} {
				write(text)
				hangUp()
				want(what, OK, 1)
			}
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			hangUp()
			want("no file", OK, 4)
			if n := strings.Count(log.String(), "files of TLS can't be used"); n != 1 || !strings.Contains(log.String(), "exporter=x") {
				t.Errorf("the log says so %d times, want once:\n%s", n, log.String())
			}

			write(bundle(before)) // good again, and the server's authority is not in it any more
			hangUp()
			want("the authority was taken out", Misconfigured, 1)
			if n := strings.Count(log.String(), "files of TLS have changed"); n != 2 {
				t.Errorf("the log says %d times that they have changed, want twice:\n%s", n, log.String())
			}
		})
	}
}

// Files are read once a minute, not with each request, and an unchanged one makes no new connection.
func TestTLSFilesAreReadSeldom(t *testing.T) {
	ca := newAuthority(t)
	s, err := newTLSSource(TLS{CAFile: ca.path("ca.pem")}, me())
	if err != nil {
		t.Fatal(err)
	}
	first := s.get()
	if n := testing.AllocsPerRun(100, func() { s.get() }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
	s.doubt()
	if s.get() != first {
		t.Error("the same content made another configuration")
	}
	if wait := time.Until(s.next); wait < tlsRead-time.Second || wait > tlsRead {
		t.Errorf("the next look is in %v, want %v", wait, tlsRead)
	}
	if err := os.WriteFile(ca.path("ca.pem"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if s.get() != first || counted(t, s.tlsFailures) != 0 {
		t.Error("the file was read before its time")
	}
}

// An expired certificate of the server holds everything back and loses nothing; once there is a
// new one all is delivered, without a restart.
func TestExpiredCertificate(t *testing.T) {
	for transport := range tlsTransports {
		t.Run(transport, func(t *testing.T) {
			ca := newAuthority(t)
			server := &changing{}
			server.set(ca.issue("expired", time.Now().Add(-time.Minute), "127.0.0.1"))
			r := newTLSReceiver(t, transport, server.config())
			e, _ := newExporting(t, BatchDefaults(), Exporters{"x": tlsExporter(transport, r.addr, TLS{CAFile: ca.path("ca.pem")})}, silent)
			e.outs["x"].park = 10 * time.Millisecond
			s := newSource(t)
			for range 10 {
				e.Input(otlp.Logs, "test")(s.logs("a", 100, 100))
			}
			e.Input(otlp.Metrics, "test")(s.metrics("h", 100, 100))
			e.CloseInput()
			done := make(chan struct{})
			go func() { defer close(done); e.Run(t.Context()) }()
			for deadline := time.Now().Add(10 * time.Second); ; <-time.After(time.Millisecond) {
				down := 0
				for _, st := range e.Status() {
					if st.Down == Misconfigured.String() && st.Retries > 2 && strings.Contains(st.Error, "expired") {
						down++
					}
				}
				if down == 2 {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("not down: %+v", e.Status())
				}
			}
			if n := r.count(); n > 0 {
				t.Errorf("%d requests came to a server that nobody can trust", n)
			}
			server.set(ca.issue("renewed", time.Now().Add(time.Hour), "127.0.0.1"))
			select {
			case <-done:
			case <-time.After(20 * time.Second):
				t.Fatalf("not delivered: %+v", e.Status())
			}
			r.want("a", 1000)
			r.want("h", 100)
			s.want(11, 0, 0)
		})
	}
}

func TestMinVersion(t *testing.T) {
	ca := newAuthority(t)
	cert := ca.issue("server", time.Now().Add(time.Hour), "127.0.0.1")
	for transport, serve := range tlsTransports {
		for min, want := range map[string]Kind{"": OK, "1.2": OK, "1.3": Misconfigured} {
			t.Run(transport+" "+min, func(t *testing.T) {
				addr, _ := serve(t, &tls.Config{Certificates: []tls.Certificate{cert}, MaxVersion: tls.VersionTLS12})
				d := newDestination(t, tlsExporter(transport, addr, TLS{CAFile: ca.path("ca.pem"), MinVersion: min}))
				if v := sendOne(t, d, newSource(t), 5*time.Second); v.Kind != want {
					t.Errorf("verdict %v (%v), want %v", v.Kind, v.Err, want)
				}
			})
		}
	}
}

func TestCertPool(t *testing.T) {
	ca := newAuthority(t)
	one, err := os.ReadFile(ca.path("ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	with := func(before, after string) []byte { return append(append([]byte(before), one...), after...) }
	for name, tc := range map[string]struct {
		text []byte
		err  error
	}{
		"one":                    {with("", ""), nil},
		"comments around it":     {with("# my CA\n", "\n# the end\n"), nil},
		"none":                   {[]byte("# nothing yet\n"), errors.New("holds no certificate in PEM form")},
		"the next has begun":     {with("", "-----BEGIN CERTIFICATE-----\nMIIB"), errors.New("breaks off within a certificate")},
		"its first line is torn": {with("", "-----BEGIN CERT"), errors.New("breaks off within a certificate")},
		"its last line is torn":  {with(string(one), "")[:2*len(one)-8], errors.New("breaks off within a certificate")},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := certPool(tc.text)
			if (err == nil) != (tc.err == nil) || err != nil && err.Error() != tc.err.Error() {
				t.Errorf("certPool: %v, want %v", err, tc.err)
			}
		})
	}
}
