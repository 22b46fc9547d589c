package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/protobuf/proto"
)

// pageText sends one record to the gateway, with a header of its own, and tells its own server what became of it.
const pageText = `<!doctype html><script>
const body = JSON.stringify({resourceLogs: [{scopeLogs: [{logRecords: [{timeUnixNano: "7", body: {stringValue: "%s"}}]}]}]});
fetch("http://%s/v1/logs", {method: "POST", headers: {"Content-Type": "application/json", "X-Tenant": "shop"}, body})
	.then(async r => r.status + " " + await r.text(), e => "blocked: " + e)
	.then(text => fetch("/result", {method: "POST", body: text}));
</script>`

// TestGatewayBrowser: a page of an allowed origin sends to stint-cluster with fetch; the browser lets no other page do so.
func TestGatewayBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("needs bin/stint-cluster, bench/otelcol/otelcol and a Chromium: make test-gateway")
	}
	var browser string
	for _, name := range []string{"chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			browser = path
			break
		}
	}
	if browser == "" {
		t.Skip("there is no Chromium: apt-get install --no-install-recommends chromium-headless-shell")
	}
	results, gateway := make(chan string, 10), ""
	page := func(name string) *httptest.Server {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/result" {
				b, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				results <- string(b)
				return
			}
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprintf(w, pageText, name, gateway)
		}))
		t.Cleanup(s.Close)
		return s
	}
	allowed, other := page("allowed"), page("other")
	destination := startCollectorFiles(t)
	g := startGateway(t, fmt.Sprintf(`otlp: {endpoint: "%s", tls: {insecure: true}}`, destination.grpc), "logs: {sources: [otlp], exporters: [otlp]}",
		fmt.Sprintf(`, cors: {allowed_origins: ["%s"], allowed_headers: [X-Tenant]}`, allowed.URL))

	profile, err := os.MkdirTemp("", "stint-browser-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(profile) }) // as far as that goes: helpers of the browser may still end
	visit := func(url string) (result string, said []byte) {
		p := newTap(t, g.http)
		gateway = p.address()
		c := startProcess(t, browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--user-data-dir="+profile, "--remote-debugging-port=0", url)
		select {
		case result = <-results:
		case <-time.After(time.Minute):
			t.Fatal("waited a minute for the browser")
		}
		c.cmd.Process.Kill()
		<-c.done
		p.close()
		for _, b := range p.said {
			said = append(said, b.Bytes()...)
		}
		return result, said
	}
	result, said := visit(allowed.URL)
	if result != "200 {}\n" && result != "200 {}" {
		t.Errorf("the page of an allowed origin gets %q", result)
	}
	if !bytes.Contains(said, []byte("OPTIONS /v1/logs")) || !bytes.Contains(said, []byte("POST /v1/logs")) {
		t.Errorf("the browser did not ask before it sent: %q", said)
	}
	result, said = visit(other.URL)
	if !strings.HasPrefix(result, "blocked: TypeError") {
		t.Errorf("the page of another origin gets %q", result)
	}
	if !bytes.Contains(said, []byte("OPTIONS /v1/logs")) || bytes.Contains(said, []byte("POST /v1/logs")) {
		t.Errorf("the browser sent, or did not ask: %q", said)
	}
	destination.wantRecords(t, records(t, proto.Message(&collogs.ExportLogsServiceRequest{ResourceLogs: []*logspb.ResourceLogs{{ScopeLogs: []*logspb.ScopeLogs{{LogRecords: []*logspb.LogRecord{{TimeUnixNano: 7, Body: text("allowed")}}}}}}})))
	g.process.stop(t)
}
