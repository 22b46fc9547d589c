package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// collector is a running OpenTelemetry Collector that writes what it receives
// to files.
type collector struct {
	grpc, http    string // addresses
	logs, metrics string // files, one export request per line as OTLP JSON
	process       *process
}

func startCollector(t *testing.T, dir string) *collector {
	t.Helper()
	c := &collector{
		grpc: freeAddress(t), http: freeAddress(t),
		logs: filepath.Join(dir, "logs.jsonl"), metrics: filepath.Join(dir, "metrics.jsonl"),
	}
	config := filepath.Join(dir, "otelcol.yaml")
	writeFile(t, config, fmt.Sprintf(`
receivers:
  otlp: {protocols: {grpc: {endpoint: "%s"}, http: {endpoint: "%s"}}}
exporters:
  file/logs: {path: %s, flush_interval: 100ms}
  file/metrics: {path: %s, flush_interval: 100ms}
service:
  telemetry: {metrics: {level: none}, logs: {level: warn}}
  pipelines:
    logs: {receivers: [otlp], exporters: [file/logs]}
    metrics: {receivers: [otlp], exporters: [file/metrics]}
`, c.grpc, c.http, c.logs, c.metrics))
	c.process = startProcess(t, "../otelcol/otelcol", "--config", config)
	for _, address := range []string{c.grpc, c.http} {
		waitFor(t, 20*time.Second, "the collector to listen", func() bool {
			c.process.mustRun(t)
			conn, err := net.Dial("tcp", address)
			if err != nil {
				return false
			}
			conn.Close()
			return true
		})
	}
	return c
}

// The parts of OTLP JSON that the tests look at. 64-bit integers are strings.
type (
	attributes []struct {
		Key   string `json:"key"`
		Value value  `json:"value"`
	}
	value struct {
		String *string `json:"stringValue"`
		Int    *string `json:"intValue"`
	}
	logsRequest struct {
		ResourceLogs []struct {
			Resource struct {
				Attributes attributes `json:"attributes"`
			} `json:"resource"`
			ScopeLogs []struct {
				LogRecords []struct {
					Time       string     `json:"timeUnixNano"`
					Observed   string     `json:"observedTimeUnixNano"`
					Body       value      `json:"body"`
					Attributes attributes `json:"attributes"`
				} `json:"logRecords"`
			} `json:"scopeLogs"`
		} `json:"resourceLogs"`
	}
	metricsRequest struct {
		ResourceMetrics []struct {
			Resource struct {
				Attributes attributes `json:"attributes"`
			} `json:"resource"`
			ScopeMetrics []struct {
				Scope struct {
					Name string `json:"name"`
				} `json:"scope"`
				Metrics []metric `json:"metrics"`
			} `json:"scopeMetrics"`
		} `json:"resourceMetrics"`
	}
	metric struct {
		Name  string  `json:"name"`
		Unit  string  `json:"unit"`
		Gauge *points `json:"gauge"`
		Sum   *points `json:"sum"`
	}
	points struct {
		DataPoints  []point `json:"dataPoints"`
		Temporality int     `json:"aggregationTemporality"`
		Monotonic   bool    `json:"isMonotonic"`
	}
	point struct {
		Attributes attributes `json:"attributes"`
		Start      string     `json:"startTimeUnixNano"`
		Time       string     `json:"timeUnixNano"`
		Int        *string    `json:"asInt"`
		Double     *float64   `json:"asDouble"`
	}
)

// text is the string attribute of that name, or "".
func (a attributes) text(key string) string {
	for _, kv := range a {
		if kv.Key == key && kv.Value.String != nil {
			return *kv.Value.String
		}
	}
	return ""
}

// number is the integer attribute of that name; ok is false if there is none.
func (a attributes) number(key string) (n int64, ok bool) {
	for _, kv := range a {
		if kv.Key == key && kv.Value.Int != nil {
			n, err := strconv.ParseInt(*kv.Value.Int, 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}

// readRequests decodes a file of the collector. A last line that is still
// being written is left out.
func readRequests[T any](t *testing.T, path string) []T {
	t.Helper()
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var all []T
	for in := bufio.NewReaderSize(file, 1<<20); ; {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return all
		}
		var request T
		if err := json.Unmarshal(line, &request); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		all = append(all, request)
	}
}

// process is a child that ends with the test at the latest.
type process struct {
	cmd    *exec.Cmd
	stderr string // path
	done   chan struct{}
	err    error // of Wait; valid when done is closed
}

func startProcess(t *testing.T, path string, args ...string) *process {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v: make test-otelcol builds it", err)
	}
	p := &process{cmd: exec.Command(path, args...), stderr: filepath.Join(t.TempDir(), filepath.Base(path)+".err"), done: make(chan struct{})}
	for _, kv := range os.Environ() { // settings of the caller must not leak in
		if !strings.HasPrefix(kv, "STINT_") && !strings.HasPrefix(kv, "OTEL_") {
			p.cmd.Env = append(p.cmd.Env, kv)
		}
	}
	stderr, err := os.Create(p.stderr)
	if err != nil {
		t.Fatal(err)
	}
	defer stderr.Close()
	p.cmd.Stdout, p.cmd.Stderr = stderr, stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.done
		if t.Failed() {
			text, _ := os.ReadFile(p.stderr)
			t.Logf("output of %s:\n%s", filepath.Base(path), text[max(len(text)-4000, 0):])
		}
	})
	return p
}

// mustRun fails the test when the process has ended.
func (p *process) mustRun(t *testing.T) {
	t.Helper()
	select {
	case <-p.done:
		t.Fatalf("%s ended: %v", p.cmd.Path, p.err)
	default:
	}
}

// stop ends the process with SIGTERM, in time and without an error.
func (p *process) stop(t *testing.T) {
	t.Helper()
	p.mustRun(t)
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		if p.err != nil {
			t.Errorf("%s after SIGTERM: %v, want status 0", p.cmd.Path, p.err)
		}
	case <-time.After(10 * time.Second):
		t.Errorf("%s is still there 10 s after SIGTERM", p.cmd.Path)
	}
}

func waitFor(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(limit); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Errorf("waited %v for %s", limit, what)
			return
		}
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
