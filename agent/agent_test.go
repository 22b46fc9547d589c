package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"stint/agent/process"
	"stint/export"
	"stint/export/otlp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lockedBuffer is a log that several goroutines write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// testConfig is the default in directories of the test's own.
func testConfig(t *testing.T) *Config {
	t.Helper()
	cfg := Defaults()
	cfg.StateDir, cfg.NodeName = t.TempDir(), "node-1"
	cfg.Admin.Listen, cfg.Health.Listen = "127.0.0.1:0", "127.0.0.1:0"
	cfg.Tail.Containers.Root, cfg.Tail.Files = t.TempDir(), nil
	cfg.Journald.Enabled = "false"
	cfg.Batch.Timeout = 50 * time.Millisecond
	return &cfg
}

// running is an agent at work.
type running struct {
	t    *testing.T
	a    *Agent
	log  *lockedBuffer
	stop func() error
}

func startAgent(t *testing.T, cfg *Config) *running {
	t.Helper()
	return startAgentAt(t, cfg, slog.LevelInfo)
}

func startAgentAt(t *testing.T, cfg *Config, level slog.Level) *running {
	t.Helper()
	r := &running{t: t, log: &lockedBuffer{}}
	a, err := Renew(cfg, "v0", slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: level})), nil, process.NewReloads())
	if err != nil {
		t.Fatal(err)
	}
	r.a = a
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	r.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() { r.stop() })
	return r
}

func (r *running) get(addr, path string) (int, string) {
	r.t.Helper()
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + addr + path)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func (r *running) status() (s Status) {
	r.t.Helper()
	code, body := r.get(r.a.claim.Admin.Addr().String(), "/status")
	if err := json.Unmarshal([]byte(body), &s); code != 200 || err != nil {
		r.t.Fatalf("/status: %d, %v\n%s", code, err, body)
	}
	return s
}

func (r *running) until(what string, f func(Status) bool) Status {
	r.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); ; <-tick.C {
		s := r.status()
		if f(s) {
			return s
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("never: %s; %+v\n%s", what, s, r.log)
		}
	}
}

func writeLog(t *testing.T, root string, lines int) {
	t.Helper()
	dir := filepath.Join(root, "ns_pod_uid", "main")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "0.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for i := range lines {
		if _, err := fmt.Fprintf(f, "2026-01-02T03:04:05Z stdout F line %d\n", i); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDefaultDeliversLogsAndMetricsToTheSink(t *testing.T) {
	cfg := testConfig(t)
	writeLog(t, cfg.Tail.Containers.Root, 1000)
	r := startAgent(t, cfg)
	s := r.until("all delivered", func(s Status) bool { return s.Lines.Delivered == 1000 && s.Metrics.Delivered > 50 })
	if s.Lines != (Lines{Read: 1000, Delivered: 1000}) {
		t.Errorf("%+v", s.Lines)
	}
	if got := r.a.sink.Records(otlp.Logs); got != 1000 {
		t.Errorf("the sink has %d records", got)
	}
	for path, want := range map[string]string{
		"/metrics": "stint_tail_delivered_records_total 1000",
		"/":        "<title>stint-agent</title>",
	} {
		if code, body := r.get(r.a.claim.Admin.Addr().String(), path); code != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d without %q", path, code, want)
		}
	}
	for _, path := range []string{"/livez", "/readyz", "/flowing"} {
		if code, body := r.get(r.a.claim.Health.Addr().String(), path); code != 200 || body != "ok\n" {
			t.Errorf("%s: %d %q", path, code, body)
		}
	}
	if code, _ := r.get(r.a.claim.Admin.Addr().String(), "/nothing"); code != 404 {
		t.Errorf("/nothing: %d", code)
	}
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	if log := r.log.String(); !strings.Contains(log, "read=1000 delivered=1000 lost=0 repeated=0 undelivered=0") {
		t.Errorf("the last line of the log does not account for the records:\n%s", log)
	}
}

// TestStopDeliversWhatWasRead: a batch that would wait for an hour leaves at the end.
func TestStopDeliversWhatWasRead(t *testing.T) {
	cfg := testConfig(t)
	cfg.Batch.Timeout = time.Hour
	cfg.Scrape.Host.Enabled = false
	r := startAgent(t, cfg)
	writeLog(t, cfg.Tail.Containers.Root, 10)
	r.until("read", func(s Status) bool { return s.Lines.Read == 10 })
	begin := time.Now()
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > 4*time.Second {
		t.Errorf("stopping took %v", took)
	}
	if got := r.a.sink.Records(otlp.Logs); got != 10 {
		t.Errorf("the sink has %d records, want 10", got)
	}
	// The next start reads nothing again.
	again := startAgent(t, cfg)
	again.until("looked", func(s Status) bool { return s.Tail.Logs == 1 && !again.a.tailer.LastLook().IsZero() })
	if s := again.status(); s.Lines.Read != 0 {
		t.Errorf("%d lines were read again", s.Lines.Read)
	}
}

// TestDeadDestination: stopping keeps to its time, /flowing says what is wrong, nothing is
// lost: the next start delivers it.
func TestDeadDestination(t *testing.T) {
	cfg := testConfig(t)
	cfg.Scrape.Host.Enabled = false
	cfg.DrainTimeout = 300 * time.Millisecond
	v, err := export.Exporters{}.NewValue("otlp")
	if err != nil {
		t.Fatal(err)
	}
	o := v.(*export.OTLP)
	o.Endpoint, o.TLS.Insecure = "127.0.0.1:1", true // tcpmux: nobody listens
	cfg.Exporters = export.Exporters{"otlp": o}
	cfg.Pipelines = export.DefaultPipelines(cfg.Exporters, Sources())
	writeLog(t, cfg.Tail.Containers.Root, 10)
	r := startAgent(t, cfg)
	s := r.until("the destination is known to be down", func(s Status) bool {
		for _, e := range s.Exporters {
			if e.Signal == "logs" && e.Down == "retry" && e.Error != "" {
				return true
			}
		}
		return false
	})
	if s.Lines.Delivered != 0 || s.Lines.InFlight != 10 || s.Lines.Lost != 0 {
		t.Errorf("%+v", s.Lines)
	}
	begin := time.Now()
	r.stop()
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("stopping took %v", took)
	}
	cfg.Exporters, cfg.Pipelines = nil, nil
	again := startAgent(t, cfg)
	again.until("delivered after all", func(s Status) bool { return s.Lines.Delivered == 10 })
}

func TestDemoAccountsForEveryLine(t *testing.T) {
	cfg := testConfig(t)
	cfg.Demo = true
	r := startAgent(t, cfg)
	r.until("lines arrive", func(s Status) bool {
		return s.Demo.Written > 100 && s.Demo.Written == s.Demo.Delivered && s.Lines.Read == s.Lines.Delivered
	})
	dir := r.a.demo.dir
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	written, _ := r.a.demo.writer.Written()
	got := r.a.demo.seen.Totals()
	if got.Records != written || got.Repeated != 0 || got.Missing != 0 || got.OutOfOrder != 0 {
		t.Errorf("written %d, received %+v", written, got)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the demo left %s behind: %v", dir, err)
	}
}

func TestTwoAgentsDoNotShareAState(t *testing.T) {
	cfg := testConfig(t)
	r := startAgent(t, cfg)
	_, err := New(cfg, "v0", slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err == nil || !strings.Contains(err.Error(), cfg.StateDir) || !strings.Contains(err.Error(), "state_dir") {
		t.Errorf("the second agent: %v", err)
	}
	r.stop()
}

func TestPortInUseIsAnErrorThatNamesTheKey(t *testing.T) {
	r := startAgent(t, testConfig(t))
	cfg := testConfig(t)
	cfg.Admin.Listen = r.a.claim.Admin.Addr().String()
	if _, err := New(cfg, "v0", slog.New(slog.NewTextHandler(io.Discard, nil))); err == nil || !strings.Contains(err.Error(), "admin.listen") {
		t.Errorf("%v", err)
	}
}

func TestReadOnlyStateDirectoryIsNoReasonToStop(t *testing.T) {
	cfg := testConfig(t)
	cfg.StateDir = filepath.Join("/proc/stint-cannot-be-made", "state")
	writeLog(t, cfg.Tail.Containers.Root, 5)
	r := startAgent(t, cfg)
	s := r.until("delivered all the same", func(s Status) bool { return s.Lines.Delivered == 5 })
	if s.Tail.SaveError == "" {
		t.Error("the status does not say that offsets are not kept")
	}
}

func TestOwnMetricsLeaveAsOTLP(t *testing.T) {
	r := startAgent(t, testConfig(t))
	self := process.NewSelf(r.a.reg, "stint-agent", "node-1", "v0", nil, time.Now())
	var group *otlp.Group
	var data []byte
	points := 0
	if err := self.Scrape(t.Context(), 0, time.Now(), func(g *otlp.Group, b []byte, n int) { group, data, points = g, b, n }); err != nil {
		t.Fatal(err)
	}
	request := append(group.AppendFrame(nil, len(data)), data...)
	if n, err := otlp.Count(otlp.Metrics, request); err != nil || n != points || n < 30 {
		t.Errorf("%d points, %v; the scraper said %d", n, err, points)
	}
	for _, name := range []string{"stint_tail_read_records_total", "stint_export_up", "process_cpu_seconds_total"} {
		if !bytes.Contains(request, []byte(name)) {
			t.Errorf("no %s", name)
		}
	}
}

func TestOncePrintsPointsOfTheMachine(t *testing.T) {
	for format, want := range map[string]string{
		"text":      "system.memory.limit ",
		"otlp-json": `"name":"system.memory.limit"`,
	} {
		var out bytes.Buffer
		if err := Once(t.Context(), testConfig(t), "v0", format, &out, slog.New(slog.NewTextHandler(io.Discard, nil))); err != nil {
			t.Logf("%s: %v", format, err) // a machine may lack a source
		}
		if !strings.Contains(strings.ReplaceAll(out.String(), `": "`, `":"`), want) {
			t.Errorf("%s lacks %q:\n%.500s", format, want, &out)
		}
	}
}

// TestLinked holds the arrows of the design and the binary's size.
func TestLinked(t *testing.T) {
	list := func(pkg string) []string {
		t.Helper()
		out, err := exec.Command("go", "list", "-deps", "-tags=grpcnotrace", pkg).Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.Fields(string(out))
	}
	for program, bad := range map[string][]string{
		"stint-agent":   {"k8s.io/", "html/template", "text/template", "net/http/pprof", "testing"},
		"stint-cluster": {"html/template", "text/template", "net/http/pprof", "testing"},
	} {
		for _, dep := range list("stint/cmd/" + program) {
			for _, bad := range bad {
				if dep == strings.TrimSuffix(bad, "/") || strings.HasPrefix(dep, bad) && strings.HasSuffix(bad, "/") {
					t.Errorf("%s links %s", program, dep)
				}
			}
		}
	}
	for pkg, may := range map[string][]string{
		"stint/export/otlp":    {},
		"stint/export/spool":   {},
		"stint/export/elastic": {"stint/export/otlp"},
		"stint/export":         {"stint/export/elastic", "stint/export/otlp", "stint/export/spool"},
		"stint/tail":           {"stint/export/otlp"},
		"stint/tail/journal":   {"stint/export/otlp"},
		"stint/scrape/kernel":  {},
		"stint/scrape/dedup":   {"stint/export/otlp", "stint/scrape/series"},
		"stint/scrape/series":  {"stint/export/otlp"},
		"stint/scrape/host":    {"stint/export/otlp", "stint/scrape/dedup", "stint/scrape/kernel", "stint/scrape/series"},
		"stint/scrape/cgroup":  {"stint/export/otlp", "stint/scrape/dedup", "stint/scrape/kernel", "stint/scrape/series"},
		"stint/scrape/kubelet": {"stint/export/otlp", "stint/scrape/dedup", "stint/scrape/kernel", "stint/scrape/series"},
		"stint/scrape":         {"stint/export/otlp", "stint/scrape/cgroup", "stint/scrape/dedup", "stint/scrape/host", "stint/scrape/kernel", "stint/scrape/kubelet", "stint/scrape/series"},
		"stint/scrape/kube":    {"stint/export/otlp", "stint/scrape/series"},
		"stint/agent/config":   {},
		"stint/agent/process":  {"stint/agent/config", "stint/export/otlp"},
		"stint/agent/convert":  {},
		"stint/agent/workload": {},
	} {
		for _, dep := range list(pkg) {
			ok := dep == pkg || !strings.HasPrefix(dep, "stint/")
			for _, m := range may {
				ok = ok || dep == m
			}
			if !ok {
				t.Errorf("%s imports %s: arrows point down", pkg, dep)
			}
			if pkg == "stint/export/otlp" && strings.Contains(strings.Split(dep, "/")[0], ".") {
				t.Errorf("%s imports %s; it uses the standard library only", pkg, dep)
			}
		}
	}
	out, err := exec.Command("go", "list", "-tags=grpcnotrace", "-f", `{{$p := .ImportPath}}{{range .Imports}}{{$p}} {{.}}{{"\n"}}{{end}}`, "stint/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		pkg, dep, _ := strings.Cut(strings.TrimSpace(line), " ")
		mayKubernetes := pkg == "stint/agent/cluster" || pkg == "stint/cmd/stint-cluster" || pkg == "stint/scrape/kube" || strings.HasPrefix(pkg, "stint/scrape/kube/")
		if strings.HasPrefix(dep, "k8s.io/") && !mayKubernetes {
			t.Errorf("%s imports %s; only scrape/kube, agent/cluster and cmd/stint-cluster may", pkg, dep)
		}
	}
	for program, most := range map[string]int64{
		"stint-agent":   17_000_000, // of which the tables of metrics and of their names elsewhere are 1
		"stint-cluster": 40_000_000, // client-go with all its kinds is 20
	} {
		binary := filepath.Join(t.TempDir(), program)
		cmd := exec.Command("go", "build", "-trimpath", "-tags=grpcnotrace", "-ldflags=-s -w", "-o", binary, "stint/cmd/"+program)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		fi, err := os.Stat(binary)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s has %.1f MB", program, float64(fi.Size())/1e6)
		if fi.Size() > most {
			t.Errorf("%s has %d bytes, more than %d", program, fi.Size(), most)
		}
	}
}
