package state

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"stint/scrape/kube/replay"
)

// BenchmarkCluster is a source of its own process before a generator: how long the first list takes,
// what an interval costs, how much memory the process has. STINT_PODS and STINT_NODES size it.
func BenchmarkCluster(b *testing.B) {
	number := func(name string, otherwise int) int {
		if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
			return n
		}
		return otherwise
	}
	g := replay.NewGenerator(number("STINT_PODS", 3000), number("STINT_NODES", 100), number("STINT_CHANGES", 500))
	srv := httptest.NewServer(g)
	defer srv.Close()
	defer srv.CloseClientConnections()
	for b.Loop() {
		cmd := exec.Command(os.Args[0], "-test.run=^TestClusterChild$", "-test.v")
		cmd.Env = append(os.Environ(), "STATE_GENERATOR="+srv.URL, fmt.Sprintf("STATE_PODS=%d", g.Pods), "GOGC=50")
		out, err := cmd.CombinedOutput()
		if err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
		for line := range strings.Lines(string(out)) {
			if _, line, ok := strings.Cut(line, "FIGURE "); ok {
				f := strings.Fields(line)
				v, _ := strconv.ParseFloat(f[0], 64)
				b.ReportMetric(v, f[1])
			}
		}
	}
}

// TestClusterChild is the process of BenchmarkCluster.
func TestClusterChild(t *testing.T) {
	url := os.Getenv("STATE_GENERATOR")
	if url == "" {
		t.Skip("a part of BenchmarkCluster")
	}
	want, _ := strconv.Atoi(os.Getenv("STATE_PODS"))
	figure := func(v float64, unit string) { t.Logf("FIGURE %.4g %s", v, unit) }
	cpu := func() time.Duration {
		var u syscall.Rusage
		syscall.Getrusage(syscall.RUSAGE_SELF, &u)
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	status := func(field string) float64 {
		b, _ := os.ReadFile("/proc/self/status")
		_, rest, _ := strings.Cut(string(b), field+":")
		kb, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
		return kb / 1024
	}
	s, r := newSource(t, Defaults(), url, discard)
	tm := s.newTerm()
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	began := time.Now()
	s.read(ctx, tm, &wg)
	deadline := time.Now().Add(5 * time.Minute)
	for {
		if synced, _ := tm.byKind[pods][0].ready(); synced && tm.byKind[pods][0].size() == want {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(r.logged)
		}
		time.Sleep(10 * time.Millisecond)
	}
	figure(time.Since(began).Seconds(), "first-sync-s")
	figure(cpu().Seconds(), "first-sync-cpu-s")
	var few, many []*store
	for _, st := range tm.stores {
		if st.kind.name == pods {
			many = append(many, st)
		} else {
			few = append(few, st)
		}
	}
	emitters := []*emitter{s.newEmitter(tm, few, func() {}), s.newEmitter(tm, many, func() {})}
	interval := func() (bytes, points int) {
		for _, e := range emitters {
			e.enc.bytes, e.enc.records = 0, 0
			e.interval(ctx, time.Now(), time.Hour)
			bytes, points = bytes+e.enc.bytes, points+e.enc.records
		}
		return bytes, points
	}
	interval()
	before, at := cpu(), time.Now()
	bytes, points := interval()
	// The pods change meanwhile: that is a part of what is measured, and measured next.
	took, spent := time.Since(at), cpu()-before
	before, at = cpu(), time.Now()
	time.Sleep(5 * time.Second)
	idle := float64(cpu()-before) / float64(time.Since(at))
	figure(100*idle, "changes-%core")
	figure((spent - time.Duration(idle*float64(took))).Seconds(), "interval-cpu-s")
	figure(float64(bytes)/1e6, "interval-MB")
	figure(float64(points), "interval-points")
	figure(status("VmHWM"), "peak-RSS-MiB")
	figure(status("VmRSS"), "RSS-MiB")
	debug.FreeOSMemory()
	figure(status("VmRSS"), "RSS-after-GC-MiB")
}
