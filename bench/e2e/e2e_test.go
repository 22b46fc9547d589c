// Package e2e runs the real stint-agent against a real OpenTelemetry Collector
// and compares what the collector wrote with what is in the log files and in
// /proc. make test-otelcol builds both and runs it.
package e2e

import (
	"context"
	"flag"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"stint/agent/workload"
)

var agentBinary = flag.String("agent", "../../bin/stint-agent", "the agent to test")

func TestAgentToCollector(t *testing.T) {
	if testing.Short() {
		t.Skip("needs bin/stint-agent and bench/otelcol/otelcol: make test-otelcol")
	}
	for _, protocol := range []string{"otlp", "otlphttp"} {
		for _, compression := range []string{"none", "gzip", "zstd"} {
			t.Run(protocol+"/"+compression, func(t *testing.T) {
				deliver(t, protocol, compression)
			})
		}
	}
}

// deliver runs one agent on a captured tree, and on one that is written and
// rotated meanwhile.
func deliver(t *testing.T, protocol, compression string) {
	dir := t.TempDir()
	c := startCollector(t, dir)
	pods := filepath.Join(dir, "pods")
	if out, err := exec.Command("tar", "-xzf", "testdata/tree.tar.gz", "-C", dir, "pods").CombinedOutput(); err != nil {
		t.Fatalf("unpack: %v: %s", err, out)
	}

	config := filepath.Join(dir, "agent.yaml")
	exporter := fmt.Sprintf(`otlp: {endpoint: "%s", compression: %s, tls: {insecure: true}}`, c.grpc, compression)
	if protocol == "otlphttp" {
		exporter = fmt.Sprintf(`otlphttp: {endpoint: "http://%s", compression: %s}`, c.http, compression)
	}
	writeFile(t, config, fmt.Sprintf(`
state_dir: %s
admin: {listen: "%s"}
health: {listen: "%s"}
tail: {containers: {root: %s}, files: []}
scrape: {interval: 1s, cgroup: {enabled: false}, host: {enabled: true, network: {exclude: []}}} # lo is left out else; containers are not compared here
batch: {timeout: 500ms}
exporters: {%s}
`, filepath.Join(dir, "state"), freeAddress(t), freeAddress(t), pods, exporter))

	// A file stays uncompressed for 2 s or more, where the kubelet's take 20 s:
	// the agent finds new files of a container within one.
	writer, err := workload.New(workload.Config{
		Root: pods, Containers: 3, Lines: 9000, LinesPerSecond: 1500,
		RotateBytes: 64 << 10, KeepFiles: 1000, RotateEvery: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	before := readHost(t)
	start := time.Now()
	written := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { written <- writer.Run(ctx) }()
	agent := startProcess(t, *agentBinary, "--config", config)
	select {
	case err := <-written:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("workload takes over 30 s")
	}

	want := readTree(t, pods)
	least := 0
	for _, records := range want {
		for _, r := range records {
			if !r.optional {
				least++
			}
		}
	}
	waitFor(t, 30*time.Second, fmt.Sprintf("%d records", least), func() bool {
		agent.mustRun(t)
		return count(readRequests[logsRequest](t, c.logs)) >= least
	})
	waitFor(t, 10*time.Second, "two scrapes", func() bool {
		agent.mustRun(t)
		return len(scrapes(readRequests[metricsRequest](t, c.metrics))) >= 2
	})
	agent.stop(t)
	c.process.stop(t)
	end := time.Now()
	after := readHost(t)

	checkLogs(t, readRequests[logsRequest](t, c.logs), want, start, end)
	checkMetrics(t, readRequests[metricsRequest](t, c.metrics), before, after)
}

func count(requests []logsRequest) int {
	n := 0
	for _, request := range requests {
		for _, rl := range request.ResourceLogs {
			for _, sl := range rl.ScopeLogs {
				n += len(sl.LogRecords)
			}
		}
	}
	return n
}

// checkLogs compares what arrived with what was written: every record once, in
// order within its stream, equal in body, time and attributes.
func checkLogs(t *testing.T, requests []logsRequest, want map[source][]record, start, end time.Time) {
	t.Helper()
	got := map[source][]record{}
	for _, request := range requests {
		for _, rl := range request.ResourceLogs {
			attrs := rl.Resource.Attributes
			if attrs.text("service.name") == "stint-agent" {
				continue // what it tells about itself
			}
			restarts, ok := attrs.number("k8s.container.restart_count")
			if !ok {
				t.Errorf("resource %v has no integer k8s.container.restart_count", describe(attrs))
			}
			for _, sl := range rl.ScopeLogs {
				for _, r := range sl.LogRecords {
					from := source{
						attrs.text("k8s.namespace.name"), attrs.text("k8s.pod.name"), attrs.text("k8s.pod.uid"),
						attrs.text("k8s.container.name"), restarts, r.Attributes.text("log.iostream"),
					}
					if r.Body.String == nil {
						t.Fatalf("%v: a record has no string body", from)
					}
					ns, err := strconv.ParseInt(r.Time, 10, 64)
					if err != nil {
						t.Fatalf("%v: time: %v", from, err)
					}
					observed, err := strconv.ParseInt(r.Observed, 10, 64)
					if err != nil || observed < start.UnixNano() || observed > end.UnixNano() {
						t.Errorf("%v: observed time %q is not between start and end of the test", from, r.Observed)
					}
					got[from] = append(got[from], record{ns: ns, body: *r.Body.String})
				}
			}
		}
	}
	faults := 0
	fault := func(format string, args ...any) {
		if faults++; faults <= 20 {
			t.Errorf(format, args...)
		}
	}
	for from, records := range got {
		if want[from] == nil {
			fault("%d records came from %v, where nothing was written; first: %.100q", len(records), from, records[0].body)
		}
	}
	total := 0
	for from, records := range want {
		total += len(got[from])
		compare(from, records, got[from], fault)
	}
	if faults > 20 {
		t.Errorf("and %d more", faults-20)
	}
	if !t.Failed() {
		t.Logf("%d records of %d streams are equal", total, len(want))
	}
}

// compare tells how two lists of records differ.
func compare(from source, want, got []record, fault func(string, ...any)) {
	left := map[record]int{}
	for _, r := range want {
		left[record{ns: r.ns, body: r.body}]++
	}
	for _, r := range got {
		left[r]--
	}
	differ := false
	for _, r := range want {
		if n := left[record{ns: r.ns, body: r.body}]; n > 0 && !r.optional {
			differ = true
			fault("%v: %d × lost: %d bytes at %d: %.100q", from, n, len(r.body), r.ns, r.body)
		}
	}
	for r, n := range left {
		if n < 0 {
			differ = true
			fault("%v: %d × too often, or not as written: %d bytes at %d: %.100q", from, -n, len(r.body), r.ns, r.body)
		}
	}
	if differ {
		return
	}
	i := 0
	for _, r := range want {
		if i < len(got) && got[i].ns == r.ns && got[i].body == r.body {
			i++
			continue
		}
		if !r.optional {
			fault("%v: order: record %d is %.60q, want %.60q", from, i, got[min(i, len(got)-1)].body, r.body)
			return
		}
	}
}

func describe(a attributes) string {
	var b strings.Builder
	for _, kv := range a {
		fmt.Fprintf(&b, " %s", kv.Key)
		if kv.Value.String != nil {
			fmt.Fprintf(&b, "=%s", *kv.Value.String)
		}
	}
	return b.String()
}

func TestCompareFindsFaults(t *testing.T) {
	a, b, c := record{1, "a", false}, record{2, "b", false}, record{3, "c", false}
	for name, tc := range map[string]struct {
		want, got []record
		faults    int
	}{
		"equal":               {[]record{a, b, c}, []record{a, b, c}, 0},
		"equal ones":          {[]record{a, a, b}, []record{a, a, b}, 0},
		"lost":                {[]record{a, b, c}, []record{a, c}, 1},
		"lost all":            {[]record{a}, nil, 1},
		"repeated":            {[]record{a, b}, []record{a, b, b}, 1},
		"body":                {[]record{a, b}, []record{a, {2, "B", false}}, 2},
		"time":                {[]record{a, b}, []record{a, {4, "b", false}}, 2},
		"order":               {[]record{a, b, c}, []record{b, a, c}, 1},
		"optional missing":    {[]record{{1, "a", true}, b}, []record{b}, 0},
		"optional there":      {[]record{{1, "a", true}, b}, []record{a, b}, 0},
		"optional twice":      {[]record{{1, "a", true}, b}, []record{a, a, b}, 1},
		"optional at the end": {[]record{b, {3, "c", true}}, []record{b}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			faults := 0
			compare(source{}, tc.want, tc.got, func(string, ...any) { faults++ })
			if faults != tc.faults {
				t.Errorf("%d faults, want %d", faults, tc.faults)
			}
		})
	}
}
