package agent

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	"google.golang.org/protobuf/proto"

	"stint/agent/process"
)

// destination takes logs by OTLP/HTTP, while it does.
type destination struct {
	*httptest.Server
	away atomic.Bool
	came atomic.Int64 // requests

	mu    sync.Mutex // guards below
	lines []string
}

func newDestination(t *testing.T) *destination {
	d := &destination{}
	d.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if r.URL.Path != "/v1/logs" { // the agent's own metrics
			return
		}
		d.came.Add(1)
		if d.away.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		var m collogs.ExportLogsServiceRequest
		if err := proto.Unmarshal(b, &m); err != nil {
			t.Error(err)
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, rl := range m.ResourceLogs {
			for _, sl := range rl.ScopeLogs {
				for _, l := range sl.LogRecords {
					d.lines = append(d.lines, l.Body.GetStringValue())
				}
			}
		}
	}))
	t.Cleanup(d.Close)
	return d
}

func (d *destination) want(t *testing.T, first, last int) {
	t.Helper()
	var want, got []string
	for i := first; i <= last; i++ {
		want = append(want, fmt.Sprint("line ", i))
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		d.mu.Lock()
		got = slices.Clone(d.lines)
		d.mu.Unlock()
		if len(got) >= len(want) {
			break
		}
		if time.Now().After(deadline) {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("%d lines came, %q …, want %d to %d", len(got), got[:min(len(got), 5)], first, last)
	}
}

// TestReload: a changed file counts within a second or so. What the old destination has not taken goes to the new one, once
// and in order, though its log was deleted meanwhile; a file with faults changes nothing.
func TestReload(t *testing.T) {
	a, b := newDestination(t), newDestination(t)
	dir := t.TempDir()
	pod := filepath.Join(dir, "pods", "shop_web_1234", "main")
	if err := os.MkdirAll(pod, 0o755); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(pod, "0.log")
	write := func(first, last int) {
		t.Helper()
		f, err := os.OpenFile(log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for i := first; i <= last; i++ {
			fmt.Fprintf(f, "2026-01-02T03:04:05Z stdout F line %d\n", i)
		}
	}
	file := filepath.Join(dir, "agent.yaml")
	configure := func(format string, args ...any) {
		t.Helper()
		text := fmt.Sprintf("state_dir: %s\ntail: {containers: {root: %s}, files: []}\njournald: {enabled: false}\nscrape: {host: {enabled: false}, cgroup: {enabled: false}}\n"+
			"admin: {listen: '127.0.0.1:0'}\nhealth: {listen: ''}\nbatch: {timeout: 20ms}\ndrain_timeout: 300ms\n", filepath.Join(dir, "state"), filepath.Join(dir, "pods"))
		text += fmt.Sprintf(format, args...)
		if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	exporter := "exporters: {otlphttp: {endpoint: '%s', compression: none, retry_on_failure: {initial_interval: 20ms, max_interval: 50ms}}}\n"
	configure(exporter, a.URL)

	said := &lockedBuffer{}
	saidSoon := func(what string, times int) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); strings.Count(said.String(), what) < times; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%q is not logged:\n%s", what, said)
			}
		}
	}
	var now atomic.Pointer[Agent]
	load := func() (*Config, *process.Report) { return Load(process.LoadArgs{File: file}) }
	cfg, report := load()
	if len(report.Faults) > 0 {
		t.Fatal(report.Faults)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- process.Service[Config, *Agent]{
			File: file, Load: load, Log: func(*Config) *slog.Logger { return slog.New(slog.NewTextHandler(said, nil)) },
			New: func(cfg *Config, log *slog.Logger, before *Agent, more prometheus.Collector) (*Agent, error) {
				a, err := Renew(cfg, "v0", log, before, more)
				if err == nil {
					now.Store(a)
				}
				return a, err
			},
		}.Run(ctx, cfg)
	}()
	t.Cleanup(func() { stop(); <-ended })

	write(1, 100)
	a.want(t, 1, 100)
	a.away.Store(true)
	write(101, 200)
	for asked := a.came.Load(); a.came.Load() < asked+3; time.Sleep(time.Millisecond) { // it is being tried
		if time.Since(now.Load().started) > 30*time.Second {
			t.Fatal("nothing is sent")
		}
	}
	if err := os.RemoveAll(filepath.Dir(pod)); err != nil {
		t.Fatal(err)
	}

	configure("exporters: {otlphttp: {endpoint: 'no url'}}\n")
	saidSoon("the changed configuration has faults", 1)
	if got := gauge(t, now.Load(), "stint_config_last_reload_successful"); got != 0 {
		t.Errorf("the metric of the last reload is %v, want 0", got)
	}
	taken, err := New(cfg, "v0", slog.New(slog.DiscardHandler)) // the lock of the state directory is still held
	if err == nil {
		taken.release()
		t.Error("nobody holds the state directory")
	}

	configure(exporter, b.URL)
	saidSoon("the configuration was reloaded", 1)
	b.want(t, 101, 200)
	if got := gauge(t, now.Load(), "stint_config_last_reload_successful"); got != 1 {
		t.Errorf("the metric of the last reload is %v, want 1", got)
	}
	if err := os.MkdirAll(pod, 0o755); err != nil {
		t.Fatal(err)
	}
	write(201, 300)
	b.want(t, 101, 300)
	a.want(t, 1, 100)

	// A port that is taken is found only when the new agent wants it: then the old configuration goes on.
	configure(exporter+"health: {listen: '%s'}\n", b.URL, strings.TrimPrefix(a.URL, "http://"))
	saidSoon("has faults", 2) // health stands there twice
	if err := os.WriteFile(file, fmt.Appendf(nil, "%s", strings.Replace(read(t, file), "health: {listen: ''}\n", "", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	saidSoon("the new configuration can't be used; the one before is", 1)
	write(301, 400)
	b.want(t, 101, 400)
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func gauge(t *testing.T, a *Agent, name string) float64 {
	t.Helper()
	all, err := a.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if f.GetName() == name {
			return f.Metric[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}
