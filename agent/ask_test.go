package agent

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stint/agent/command"
	"stint/agent/process"
	"stint/export"
	"stint/scrape"
	"stint/tail"
)

// asked is a configuration whose admin address is that.
func asked(address string) *Config {
	cfg := Defaults()
	cfg.Admin.Listen = address
	return &cfg
}

// An agent at work answers, and all is well; one whose destination is away is not, and it says which and why.
func TestAsk(t *testing.T) {
	cfg := testConfig(t)
	writeLog(t, cfg.Tail.Containers.Root, 3)
	r := startAgent(t, cfg)
	r.until("delivered", func(s Status) bool { return s.Lines.Delivered == 3 && s.Metrics.Delivered > 0 })
	_, port, err := net.SplitHostPort(r.a.claim.Admin.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{"127.0.0.1:" + port, "0.0.0.0:" + port} {
		text, well, err := Ask(t.Context(), asked(address))
		if err != nil || !well || !strings.HasPrefix(text, "stint-agent v0 on node-1, up ") ||
			!strings.Contains(text, "\nok   lines     read 3, delivered 3, in flight 0, lost 0, repeated 0\n") || strings.Contains(text, "fail") {
			t.Errorf("Ask(%s) = %v, %v\n%s", address, well, err, text)
		}
	}

	away := testConfig(t)
	away.Exporters = export.Exporters{"otlp": exporterTo(t, "127.0.0.1:1")}
	away.Pipelines = export.DefaultPipelines(away.Exporters, map[string][]string{"logs": {"tail"}})
	writeLog(t, away.Tail.Containers.Root, 3)
	r = startAgent(t, away)
	r.until("the exporter to be down", func(s Status) bool { return len(s.Exporters) > 0 && s.Exporters[0].Down != "" })
	text, well, err := Ask(t.Context(), asked(r.a.claim.Admin.Addr().String()))
	if err != nil || well || !strings.Contains(text, "\nfail exporter  otlp takes no logs for ") || !strings.Contains(text, "refused") {
		t.Errorf("Ask = %v, %v\n%s", well, err, text)
	}
}

// exporterTo is an exporter to an address in plain text.
func exporterTo(t *testing.T, address string) *export.OTLP {
	t.Helper()
	v, err := export.Exporters{}.NewValue("otlp")
	if err != nil {
		t.Fatal(err)
	}
	c := v.(*export.OTLP)
	c.Endpoint, c.TLS.Insecure = address, true
	return c
}

// Who can't be asked is an error that says why.
func TestAskNobody(t *testing.T) {
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	for address, want := range map[string]string{
		"":                                       `admin.listen: "": no server to ask`,
		"127.0.0.1:1":                            "no stint-agent answers at admin.listen: ",
		strings.TrimPrefix(other.URL, "http://"): "is no stint-agent: 404 Not Found",
	} {
		if _, _, err := Ask(t.Context(), asked(address)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Ask(%q): %v, want %s", address, err, want)
		}
	}
}

// Watch goes on while the agent is away, and ends with its context.
func TestWatch(t *testing.T) {
	cfg := testConfig(t)
	r := startAgent(t, cfg)
	ask := func(address string) func(context.Context) (string, bool, error) {
		return func(ctx context.Context) (string, bool, error) { return Ask(ctx, asked(address)) }
	}
	for _, tc := range []struct {
		address  string
		terminal bool
		want     string
	}{
		{r.a.claim.Admin.Addr().String(), false, "\n\nstint-agent "},
		{r.a.claim.Admin.Addr().String(), true, "\n\x1b[H\x1b[2Jstint-agent "},
		{"127.0.0.1:1", false, "\n\nfail no stint-agent answers"},
	} {
		ctx, stop := context.WithCancel(t.Context())
		var text strings.Builder
		err := command.Watch(ctx, time.Millisecond, tc.terminal, writerFunc(func(b []byte) (int, error) {
			if text.Write(b); strings.Contains(text.String(), tc.want) {
				stop()
			}
			return len(b), nil
		}), ask(tc.address))
		stop()
		if err != nil || !strings.Contains(text.String(), tc.want) {
			t.Errorf("Watch(%s) = %v\n%q", tc.address, err, text.String())
		}
	}
	if err := command.Watch(t.Context(), time.Hour, false, writerFunc(func([]byte) (int, error) { return 0, io.ErrClosedPipe }), ask("127.0.0.1:1")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("%v, want the writer's error", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func TestScreen(t *testing.T) {
	now := time.Date(2026, 11, 27, 3, 0, 0, 0, time.UTC)
	s := Status{
		Version: "1.2.3", Node: "node-1", Uptime: 7265.3,
		Rates:   Rates{Lines: 12.6, Bytes: 4096, CPU: 1.25},
		Lines:   Lines{Read: 100, Delivered: 90, InFlight: 8, Lost: 2, Repeated: 1},
		Process: process.Status{RSS: 95 << 20, MemoryLimit: 100 << 20, PoolUsed: 1 << 20, PoolLimit: 32 << 20},
		Exporters: []export.Status{
			{Exporter: "otlp", Signal: "logs", Down: "retry", DownSince: now.Add(-5 * time.Minute), Error: "connection refused", WaitBytes: 3 << 20, OnDisk: 5 << 30, Dropped: 2},
			{Exporter: "otlp", Signal: "metrics", LastOK: now.Add(-3 * time.Second)},
			{Exporter: "loki", Signal: "logs"},
		},
		Tail: &tail.Status{
			Logs: 7, BehindSecs: 312, BehindBytes: 2048, Behind: []tail.Behind{{Log: "shop/web/main", Bytes: 2048}},
			Lost: []tail.Loss{{Reason: "deleted", Bytes: 1536, Lines: 9}}, SaveError: "no space left on device", OpenFiles: 9, Denied: 1,
		},
		Scrapers: []scrape.Status{{Source: "host", Scraper: "cpu"}, {Source: "kubelet", Scraper: "stats", Failing: true, LastError: "403 Forbidden"}},
	}
	want := `stint-agent 1.2.3 on node-1, up 2h1m5s
fail lines     read 100, delivered 90, in flight 8, lost 2, repeated 1
ok   rate      12 lines/s, 4 KiB/s, 1.2 % of a core
fail behind    312 s, 2 KiB
fail behind    shop/web/main 2 KiB
fail lost      2 KiB of logs: deleted
fail offsets   saved never no space left on device
fail exporter  otlp takes no logs for 5m0s (retry): connection refused; 3 MiB wait in memory, 5120 MiB on disk
fail exporter  otlp refused 2 logs for good
ok   exporter  otlp took metrics 3s ago; 0 KiB wait in memory, 0 KiB on disk
ok   exporter  loki took logs never; 0 KiB wait in memory, 0 KiB on disk
fail memory    95 MiB resident, limit 100 MiB; records take 1 MiB of 32 MiB
fail scraper   kubelet/stats: 403 Forbidden
`
	got, well := s.screen(now)
	if d := cmp.Diff(want, got); d != "" || well {
		t.Errorf("well %v (-want +got)\n%s", well, d)
	}
}
