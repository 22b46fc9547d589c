package export

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

func TestCredentialsCheck(t *testing.T) {
	for name, tc := range map[string]struct {
		c    Credentials
		want []string // beginnings of the faults
	}{
		"none":            {Credentials{}, nil},
		"basic":           {Credentials{User: "u", Password: "p"}, nil},
		"basic by file":   {Credentials{User: "u", PasswordFile: "/p"}, nil},
		"bearer and more": {Credentials{BearerTokenFile: "/t", Headers: map[string]Secret{"a": "1"}, HeadersFile: map[string]string{"b": "/b"}}, nil},
		"no password":     {Credentials{User: "u"}, []string{"x.user: there is no password; "}},
		"no user":         {Credentials{Password: "p"}, []string{"x.user: missing, "}},
		"no user, a file": {Credentials{PasswordFile: "/p"}, []string{"x.user: missing, "}},
		"two passwords":   {Credentials{User: "u", Password: "p", PasswordFile: "/p"}, []string{"x.password: password_file is set, too; "}},
		"a colon":         {Credentials{User: "u:v", Password: "p"}, []string{"x.user: holds a colon"}},
		"two tokens":      {Credentials{BearerToken: "t", BearerTokenFile: "/t"}, []string{"x.bearer_token: bearer_token_file is set, too; "}},
		"both kinds":      {Credentials{User: "u", Password: "p", BearerToken: "t"}, []string{"x.user: there is a bearer token, too; "}},
		"a line break":    {Credentials{BearerToken: "t\n"}, []string{"x.bearer_token: holds a line break"}},
		"no header name":  {Credentials{HeadersFile: map[string]string{"a b": "/a"}}, []string{`x.headers_file."a b": "a b" is not a header name; `}},
		"no path":         {Credentials{HeadersFile: map[string]string{"a": ""}}, []string{"x.headers_file.a: empty; "}},
		"one header twice": {Credentials{Headers: map[string]Secret{"A": "1"}, HeadersFile: map[string]string{"a": "/a"}},
			[]string{"x.headers_file.a: is the header of x.headers.A, too; "}},
		"one header three times": {Credentials{BearerToken: "t", Headers: map[string]Secret{"authorization": "1"}},
			[]string{"x.headers.authorization: user or bearer_token make this header; "}},
		"two faults": {Credentials{Headers: map[string]Secret{"a b": "1", "c": "\x01"}},
			[]string{`x.headers."a b": `, "x.headers.c: the value holds"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := tc.c.check("x")
			for i, err := range got {
				if i < len(tc.want) && !strings.HasPrefix(err.Error(), tc.want[i]) || !strings.Contains(err.Error(), "; ") {
					t.Errorf("%q, want %q and a remedy", err, tc.want[min(i, len(tc.want)-1)])
				}
			}
			if len(got) != len(tc.want) {
				t.Errorf("faults %q, want %q", got, tc.want)
			}
		})
	}
}

// door lets requests in that carry a header with the value it wants.
type door struct {
	mu           sync.Mutex
	name, wanted string
	seen         []string
}

func (d *door) want(value string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.wanted = value
}

func (d *door) opens(values []string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen = append(d.seen, strings.Join(values, "|"))
	return len(values) == 1 && values[0] == d.wanted
}

// doors are servers that ask for a header.
var doors = map[string]func(testing.TB, *door) Exporter{
	"grpc": func(t testing.TB, d *door) Exporter {
		r := newGRPC(t, nil, grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
			md, _ := metadata.FromIncomingContext(ctx)
			if !d.opens(md.Get(d.name)) {
				return nil, status.Error(codes.Unauthenticated, "who are you?")
			}
			return h(ctx, req)
		}))
		return &OTLP{Endpoint: r.addr, TLS: TLS{Insecure: true}, RetryOnFailure: fast}
	},
	"http": func(t testing.TB, d *door) Exporter {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !d.opens(r.Header.Values(d.name)) {
				http.Error(w, "who are you?", http.StatusUnauthorized)
			}
		}))
		t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
		return &OTLPHTTP{Endpoint: s.URL, RetryOnFailure: fast}
	},
}

func setCredentials(e Exporter, c Credentials) {
	switch e := e.(type) {
	case *OTLP:
		e.Credentials = c
	case *OTLPHTTP:
		e.Credentials = c
	}
}

func loginOf(d destination) *login {
	if g, ok := d.(*otlpGRPC); ok {
		return g.login
	}
	return d.(*otlpHTTP).login
}

// Whatever is in a file is read again: at once when it was refused, else when a second is over.
// While it can't be read the last good value counts.
func TestCredentialFiles(t *testing.T) {
	for kind, tc := range map[string]struct {
		header string
		make   func(path string) Credentials
		value  func(content string) string
	}{
		"password_file": {"Authorization", func(p string) Credentials { return Credentials{User: "Aladdin", PasswordFile: p} },
			func(s string) string { // RFC 7617, 2, has the first of these
				return map[string]string{"open sesame": "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "close sesame": "Basic QWxhZGRpbjpjbG9zZSBzZXNhbWU=", "third": "Basic QWxhZGRpbjp0aGlyZA=="}[s]
			}},
		"bearer_token_file": {"Authorization", func(p string) Credentials { return Credentials{BearerTokenFile: p} }, func(s string) string { return "Bearer " + s }},
		"headers_file":      {"X-Scope", func(p string) Credentials { return Credentials{HeadersFile: map[string]string{"x-scope": p}} }, func(s string) string { return s }},
	} {
		for transport, serve := range doors {
			t.Run(kind+" by "+transport, func(t *testing.T) {
				file := filepath.Join(t.TempDir(), "secret")
				write := func(text string) {
					t.Helper()
					if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				d := &door{name: tc.header, wanted: tc.value("open sesame")}
				e := serve(t, d)
				setCredentials(e, tc.make(file))
				write("open sesame\n")
				var mu sync.Mutex
				var log strings.Builder
				self := me()
				self.log = slog.New(slog.NewTextHandler(&locked{&mu, &log}, nil))
				dest := newDestinationAs(t, e, self)
				l, s := loginOf(dest), newSource(t)
				send := func(want Kind) {
					t.Helper()
					if v := sendOne(t, dest, s, 5*time.Second); v.Kind != want {
						t.Errorf("verdict %v (%v), want %v", v.Kind, v.Err, want)
					}
				}
				pass := func(d time.Duration) { // as if time did
					l.mu.Lock()
					defer l.mu.Unlock()
					l.next = time.Now().Add(d)
				}
				pass(time.Hour)
				send(OK)
				write("close sesame\r\n")
				send(OK) // not read yet
				d.want(tc.value("close sesame"))
				send(Auth) // the old one
				send(OK)   // read after the refusal
				d.want(tc.value("third"))
				write("third") // no newline
				pass(0)
				send(OK)
				for _, bad := range []string{"", "\n", "two\nlines", strings.Repeat("x", maxCredential+1)} {
					write(bad)
					pass(0)
					send(OK)
				}
				if err := os.Remove(file); err != nil {
					t.Fatal(err)
				}
				pass(0)
				send(OK)
				if n := strings.Count(log.String(), "a file with credentials can't be used"); n != 1 || !strings.Contains(log.String(), "exporter=x") {
					t.Errorf("the log says so %d times, want once, with the exporter:\n%s", n, log.String())
				}
				write("open sesame")
				d.want(tc.value("open sesame"))
				pass(0)
				send(OK)
				if err := os.Remove(file); err != nil {
					t.Fatal(err)
				}
				pass(0)
				send(OK)
				if n := strings.Count(log.String(), "a file with credentials can't be used"); n != 2 {
					t.Errorf("the log says so %d times, want twice: it was good in between\n%s", n, log.String())
				}
				if strings.Contains(log.String(), "sesame") {
					t.Errorf("a secret is in\n%s", log.String())
				}
			})
		}
	}
}

// One file that can't be read does not keep others from being renewed.
func TestCredentialFilesAreIndependent(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	for _, f := range []string{a, b} {
		if err := os.WriteFile(f, []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l, err := newLogin(Credentials{HeadersFile: map[string]string{"A": a, "b": b}}, me())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(a); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(b, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.refused()
	h := http.Header{}
	l.get().apply(h)
	if h.Get("A") != "old" || h.Get("B") != "new" {
		t.Errorf("%v", h)
	}
	if md := l.get().metadata; md.Get("a")[0] != "old" || md.Get("b")[0] != "new" {
		t.Errorf("%v", md)
	}
}

// At the start every file must be good.
func TestCredentialFilesAtTheStart(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		c    Credentials
		want string
	}{
		"missing":     {Credentials{User: "u", PasswordFile: dir + "/none"}, "exporters.x: password_file: stat " + dir + "/none: no such file"},
		"empty":       {Credentials{BearerTokenFile: empty}, "exporters.x: bearer_token_file: " + empty + " is empty"},
		"a directory": {Credentials{HeadersFile: map[string]string{"a": dir}}, "exporters.x: headers_file.a: " + dir + " is not a regular file"},
	} {
		for transport := range transports {
			t.Run(name+" by "+transport, func(t *testing.T) {
				e := tlsExporter(transport, "127.0.0.1:1", TLS{})
				setCredentials(e, tc.c)
				_, err := New(Options{Batch: BatchDefaults(), Exporters: Exporters{"x": e}, Pipelines: Pipelines{}, Version: "1", Log: silent, Registerer: newRegistry()})
				if err == nil || !strings.HasPrefix(err.Error(), tc.want) {
					t.Errorf("New: %v, want %q", err, tc.want)
				}
			})
		}
	}
}

// What stays the same is neither read nor made again.
func TestCredentialsCostNothing(t *testing.T) {
	l, err := newLogin(Credentials{User: "u", Password: "p"}, me())
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { l.get() }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}
