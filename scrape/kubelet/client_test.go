package kubelet

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

func read(t *testing.T, c *Client) (string, error) {
	t.Helper()
	var body []byte
	err := c.Get(t.Context(), "/pods", func(r io.Reader) (err error) {
		body, err = io.ReadAll(r)
		return err
	})
	return string(body), err
}

// wantFailure checks an error's reason, and that it tells all that is in parts.
func wantFailure(t *testing.T, err error, reason string, parts ...string) {
	t.Helper()
	if err == nil || reasonOf(err) != reason {
		t.Errorf("error is %q (%v), want one of %s", reasonOf(err), err, reason)
		return
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("error does not tell %q: %v", p, err)
		}
	}
	if strings.Contains(err.Error(), goodToken) {
		t.Errorf("error shows the token: %v", err)
	}
}

func TestGetUsesOneConnection(t *testing.T) {
	k := newKubelet(t, serve([]byte("hello")))
	c := k.client(t, slog.New(slog.DiscardHandler))
	for range 3 {
		if body, err := read(t, c); err != nil || body != "hello" {
			t.Fatalf("%q, %v", body, err)
		}
	}
	if err := c.Get(t.Context(), "/pods", func(io.Reader) error { return nil }); err != nil { // reads nothing
		t.Fatal(err)
	}
	if _, err := read(t, c); err != nil {
		t.Fatal(err)
	}
	if n := k.dials.Load(); n != 1 {
		t.Errorf("%d connections for 5 requests, want 1", n)
	}
}

// TestAddress: the node's name is nobody's in DNS, and in the certificate all the same.
func TestAddress(t *testing.T) {
	k := newKubelet(t, serve([]byte("hello")))
	k.cert.Store(k.ca.sign(t, "node-1.invalid"))
	u, err := url.Parse(k.cfg.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	k.cfg.Endpoint, k.cfg.Address = "https://node-1.invalid:"+u.Port(), u.Hostname()
	if body, err := read(t, k.client(t, slog.New(slog.DiscardHandler))); err != nil || body != "hello" {
		t.Errorf("%q, %v", body, err)
	}
	k.cfg.Endpoint = "https://node-2.invalid:" + u.Port()
	_, err = read(t, k.client(t, slog.New(slog.DiscardHandler)))
	wantFailure(t, err, "tls", "node-1.invalid", "node-2.invalid")
}

func TestTokenIsReadAgain(t *testing.T) {
	k := newKubelet(t, serve([]byte("hello")))
	c := k.client(t, slog.New(slog.DiscardHandler))
	write(t, k.cfg.TokenFile, []byte("old.token"))
	_, err := read(t, c)
	wantFailure(t, err, "unauthorized", "401", k.cfg.TokenFile)

	// The refusal is reason enough to look at the file at once, and to try again.
	write(t, k.cfg.TokenFile, []byte(goodToken))
	before := k.requests.Load()
	if _, err := read(t, c); err != nil {
		t.Error(err)
	}
	if n := k.requests.Load() - before; n != 2 {
		t.Errorf("%d requests, want one with the old token and one with the new", n)
	}

	// What is no token does not replace the last good one.
	for _, text := range []string{"", "two words", "line\nbreak"} {
		write(t, k.cfg.TokenFile, []byte(text))
		c.mu.Lock()
		c.tokenAt = time.Now().Add(-2 * tokenAge)
		c.mu.Unlock()
		if _, err := read(t, c); err != nil {
			t.Errorf("file %q: %v", text, err)
		}
	}

	// After a minute a renewed token is used without a refusal.
	k.handler.Store(ptr(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Header.Get("Authorization")) })))
	write(t, k.cfg.TokenFile, []byte("renewed"))
	c.mu.Lock()
	c.tokenAt = time.Now()
	c.mu.Unlock()
	if body, _ := read(t, c); body != "Bearer "+goodToken {
		t.Errorf("within the minute: %q", body)
	}
	c.mu.Lock()
	c.tokenAt = time.Now().Add(-tokenAge)
	c.mu.Unlock()
	if body, _ := read(t, c); body != "Bearer renewed" {
		t.Errorf("after a minute: %q", body)
	}
}

func ptr[T any](v T) *T { return &v }

func TestNoToken(t *testing.T) {
	k := newKubelet(t, serve([]byte("hello")))
	os.Remove(k.cfg.TokenFile)
	_, err := read(t, k.client(t, slog.New(slog.DiscardHandler)))
	wantFailure(t, err, "token", k.cfg.TokenFile, "scrape.kubelet.token_file")
	write(t, k.cfg.TokenFile, nil)
	_, err = read(t, k.client(t, slog.New(slog.DiscardHandler)))
	wantFailure(t, err, "token", "one word")
	k.cfg.TokenFile = ""
	_, err = read(t, k.client(t, slog.New(slog.DiscardHandler)))
	wantFailure(t, err, "unauthorized", "scrape.kubelet.token_file")
	if n := k.requests.Load(); n != 1 {
		t.Errorf("%d requests, want only the one without a token file", n)
	}
}

// TestAuthorityIsReadAgain: a rotation of the cluster's CA needs no restart.
func TestAuthorityIsReadAgain(t *testing.T) {
	k := newKubelet(t, serve([]byte("hello")))
	c := k.client(t, slog.New(slog.DiscardHandler))
	anew := func() error {
		c.closeIdle()
		_, err := read(t, c)
		return err
	}
	if err := anew(); err != nil {
		t.Fatal(err)
	}
	next := newAuthority(t)
	k.cert.Store(next.sign(t, "127.0.0.1"))
	wantFailure(t, anew(), "tls", "scrape.kubelet.ca_file", "scrape.kubelet.pin", pinOf(t, k.cert.Load()))
	write(t, k.cfg.CAFile, append(k.ca.pem, next.pem...))
	if err := anew(); err != nil {
		t.Errorf("with both authorities in the file: %v", err)
	}
	write(t, k.cfg.CAFile, []byte("-----BEGIN CERTIF"))
	if err := anew(); err != nil {
		t.Errorf("while the file is half written: %v", err)
	}
	os.Remove(k.cfg.CAFile)
	if err := anew(); err != nil {
		t.Errorf("while the file is away: %v", err)
	}
	write(t, k.cfg.CAFile, k.ca.pem)
	wantFailure(t, anew(), "tls", "not trusted")
}

func TestCertificates(t *testing.T) {
	for name, tc := range map[string]struct {
		setup func(k *kubelet)
		tell  []string // nil: it is accepted
	}{
		"signed":              {func(*kubelet) {}, nil},
		"other name":          {func(k *kubelet) { k.cert.Store(k.ca.sign(t, "node-7")) }, []string{"node-7", "scrape.kubelet.endpoint"}},
		"no authorities":      {func(k *kubelet) { os.Remove(k.cfg.CAFile) }, []string{"scrape.kubelet.ca_file", "no such file"}},
		"bad authorities":     {func(k *kubelet) { write(t, k.cfg.CAFile, []byte("x")) }, []string{"scrape.kubelet.ca_file", "PEM"}},
		"those of the system": {func(k *kubelet) { k.cfg.CAFile = "" }, []string{"not trusted"}},
		"pinned, self-signed, other name": {func(k *kubelet) {
			k.cert.Store(newAuthority(t).sign(t, "node-7"))
			k.cfg.Pin = pinOf(t, k.cert.Load())
		}, nil},
		"signed, but not the pinned one": {func(k *kubelet) { k.cfg.Pin = pinOf(t, k.ca.sign(t, "127.0.0.1")) }, []string{"scrape.kubelet.pin"}},
		"not verified": {func(k *kubelet) {
			k.cert.Store(newAuthority(t).sign(t, "node-7"))
			k.cfg.InsecureSkipVerify = true
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKubelet(t, serve([]byte("hello")))
			tc.setup(k)
			var log bytes.Buffer
			_, err := read(t, k.client(t, slog.New(slog.NewTextHandler(&log, nil))))
			if tc.tell != nil {
				wantFailure(t, err, "tls", tc.tell...)
				if n := k.requests.Load(); n != 0 {
					t.Errorf("%d requests went to a kubelet that is not trusted", n)
				}
			} else if err != nil {
				t.Error(err)
			}
			if warned := strings.Contains(log.String(), "insecure_skip_verify"); warned != k.cfg.InsecureSkipVerify {
				t.Errorf("log: %q", log.String())
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	for name, tc := range map[string]struct {
		answer http.HandlerFunc
		reason string
		tell   []string
	}{
		"forbidden": {func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, "Forbidden (user=system:serviceaccount:stint:agent, verb=get, resource=nodes, subresource(s)=[pods proxy]) "+r.Header.Get("Authorization"), http.StatusForbidden)
		}, "forbidden", []string{"resources: [nodes/pods], verbs: [get]", "system:serviceaccount:stint:agent", "Bearer [token]"}},
		"busy": {func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, "too many requests", http.StatusTooManyRequests)
		}, "status", []string{"429", "too many requests"}},
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://127.0.0.1:1/elsewhere", http.StatusFound)
		}, "status", []string{"302"}},
		"too large": {func(w http.ResponseWriter, r *http.Request) {
			for range maxBody>>20 + 1 {
				w.Write(make([]byte, 1<<20))
			}
		}, "too_large", []string{"33554432"}},
		"cut": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "{")
		}, "unreachable", []string{"EOF"}},
	} {
		k := newKubelet(t, tc.answer)
		_, err := read(t, k.client(t, slog.New(slog.DiscardHandler)))
		if err == nil {
			t.Errorf("%s: no error", name)
		}
		wantFailure(t, err, tc.reason, tc.tell...)
	}
	k := newKubelet(t, serve([]byte("hello")))
	err := k.client(t, slog.New(slog.DiscardHandler)).Get(t.Context(), "/pods", func(io.Reader) error { return errors.New("not understood") })
	wantFailure(t, err, "malformed", "not understood")
	k = newKubelet(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "", http.StatusForbidden) })
	err = k.client(t, slog.New(slog.DiscardHandler)).Get(t.Context(), "/stats/summary?only_cpu_and_memory=true", nil)
	wantFailure(t, err, "forbidden", "resources: [nodes/stats]")
}

// TestHungKubelet: it accepts, or answers half, and then nothing comes.
func TestHungKubelet(t *testing.T) {
	k := newKubelet(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `{"items":[`)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	k.cfg.Timeout = 200 * time.Millisecond
	_, err := read(t, k.client(t, slog.New(slog.DiscardHandler)))
	wantFailure(t, err, "timeout", "200ms")

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close() // the kernel accepts, nobody else does
	k.cfg.Endpoint = "https://" + ln.Addr().String()
	c := k.client(t, slog.New(slog.DiscardHandler))
	_, err = read(t, c)
	wantFailure(t, err, "timeout", "200ms")

	// The caller's own end is nobody's fault.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Get(ctx, "/pods", nil); err != context.Canceled {
		t.Errorf("ended by the caller: %v", err)
	}
	ln.Close()
	_, err = read(t, c)
	wantFailure(t, err, "unreachable", "connection refused")
}

func TestPlainPort(t *testing.T) {
	k := newKubelet(t, serve(nil))
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	k.cfg.Endpoint = "https://" + plain.Listener.Addr().String()
	_, err := read(t, k.client(t, slog.New(slog.DiscardHandler)))
	wantFailure(t, err, "tls", "10250")
}

func TestGetFromManyGoroutines(t *testing.T) {
	k := newKubelet(t, serve([]byte("hello")))
	c := k.client(t, slog.New(slog.DiscardHandler))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 5 {
				if body, err := read(t, c); err != nil || body != "hello" {
					t.Errorf("%q, %v", body, err)
				}
			}
		})
	}
	wg.Wait()
	if n := k.dials.Load(); n > 2 {
		t.Errorf("%d connections, want at most 2", n)
	}
}
