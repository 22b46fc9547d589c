package export

import (
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"stint/export/otlp"
)

// TestTLSToAPlainTextPortIsMisconfigured: the likeliest first mistake; data waits, and the
// status says so at once.
func TestTLSToAPlainTextPortIsMisconfigured(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	defer srv.Close()
	h, err := newOTLPHTTP(&OTLPHTTP{Endpoint: "https://" + srv.Listener.Addr().String(), Timeout: 5 * time.Second}, me())
	if err != nil {
		t.Fatal(err)
	}
	defer h.close()
	g, err := newOTLPGRPC(&OTLP{Endpoint: plainListener(t), Timeout: 5 * time.Second}, me())
	if err != nil {
		t.Fatal(err)
	}
	defer g.close()
	for name, d := range map[string]destination{"http": h, "grpc": g} {
		r := &request{signal: otlp.Logs}
		if v := d.send(t.Context(), r); v.Kind != Misconfigured {
			t.Errorf("%s: %s, %v", name, v.Kind, v.Err)
		}
	}
}

// plainListener answers whatever comes with plain text, as a server without TLS does.
func plainListener(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Write([]byte("this is not TLS\r\n"))
			c.Close()
		}
	}()
	return l.Addr().String()
}
