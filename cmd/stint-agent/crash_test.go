//go:build crash

package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	"google.golang.org/grpc"

	"stint/agent/workload"
)

// receiver is a real OTLP/gRPC server on the official messages.
type receiver struct {
	collogs.UnimplementedLogsServiceServer
	seen workload.Sequences

	mu       sync.Mutex // guards below
	arrivals []arrival
}

type arrival struct {
	at      time.Time
	records int
}

func (r *receiver) Export(_ context.Context, req *collogs.ExportLogsServiceRequest) (*collogs.ExportLogsServiceResponse, error) {
	n := 0
	for _, rl := range req.ResourceLogs {
		for _, sl := range rl.ScopeLogs {
			for _, l := range sl.LogRecords {
				r.seen.Add([]byte(l.Body.GetStringValue()))
				n++
			}
		}
	}
	r.mu.Lock()
	r.arrivals = append(r.arrivals, arrival{time.Now(), n})
	r.mu.Unlock()
	return &collogs.ExportLogsServiceResponse{}, nil
}

// since counts the records that arrived after t.
func (r *receiver) since(t time.Time) (n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := len(r.arrivals) - 1; i >= 0 && r.arrivals[i].at.After(t); i-- {
		n += int64(r.arrivals[i].records)
	}
	return n
}

// unsaved is how long an acknowledgement may be older than the offsets on disk: they are saved
// once a second, and the disk takes its time.
const unsaved = 1500 * time.Millisecond

// TestCrash kills the real binary 30 times at random moments while 5,000 lines a second are
// written and rotated: no line may be lost, and repeated at most what was in flight.
func TestCrash(t *testing.T) {
	binary, err := filepath.Abs("../../bin/stint-agent")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(binary); err != nil {
		t.Fatalf("%v; run make build", err)
	}
	dir := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	rec := &receiver{}
	server := grpc.NewServer(grpc.MaxRecvMsgSize(16 << 20))
	collogs.RegisterLogsServiceServer(server, rec)
	go server.Serve(l)
	defer server.Stop()

	config := filepath.Join(dir, "agent.yaml")
	if err := os.WriteFile(config, fmt.Appendf(nil, `
state_dir: %s/state
admin: {listen: ""}
health: {listen: ""}
tail: {containers: {root: %s/pods}, files: []}
scrape: {host: {enabled: false}}
batch: {timeout: 300ms}
exporters: {otlp: {endpoint: "%s", compression: none, tls: {insecure: true}}}
pipelines: {logs: {sources: [tail], exporters: [otlp]}}
`, dir, dir, l.Addr()), 0o600); err != nil {
		t.Fatal(err)
	}

	w := workload.Defaults()
	w.Root, w.Containers, w.LinesPerSecond = filepath.Join(dir, "pods"), 10, 5000
	w.RotateBytes, w.RotateEvery = 1<<20, 2*time.Second // a rotation each 7 s or so, of each
	writer, err := workload.New(w)
	if err != nil {
		t.Fatal(err)
	}
	writing, stopWriting := context.WithCancel(context.Background())
	defer stopWriting()
	var wg sync.WaitGroup
	wg.Go(func() { writer.Run(writing) })

	start := func() (*exec.Cmd, *bytes.Buffer) {
		var log bytes.Buffer
		cmd := exec.Command(binary, "--config", config)
		cmd.Stderr = &log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd, &log
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	var inFlight int64
	for i := range 30 {
		cmd, log := start()
		moment := time.NewTimer(100*time.Millisecond + time.Duration(r.Int64N(int64(3*time.Second))))
		<-moment.C
		cmd.Process.Kill()
		killed := time.Now()
		cmd.Wait()
		inFlight += rec.since(killed.Add(-unsaved))
		if s := log.String(); strings.Contains(s, "damaged") {
			t.Logf("kill %d: %s", i, s)
			if strings.Contains(s, `"entries":0`) {
				t.Errorf("kill %d left no readable offsets", i)
			}
		}
	}
	stopWriting()
	wg.Wait()
	written, size := writer.Written()

	cmd, log := start()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); <-tick.C {
		if got := rec.seen.Totals(); got.Records-got.Repeated >= written {
			break
		}
	}
	cmd.Process.Signal(os.Interrupt)
	if err := cmd.Wait(); err != nil {
		t.Errorf("the last run ended with %v\n%s", err, log)
	}
	got := rec.seen.Totals()
	t.Logf("30 kills: written %d lines (%d MB), arrived %d, lost %d, repeated %d, in flight at the kills %d",
		written, size>>20, got.Records-got.Repeated, written-(got.Records-got.Repeated), got.Repeated, inFlight)
	if got.Records-got.Repeated != written || got.Missing != 0 {
		t.Errorf("lost lines: %d of %d arrived; %v", got.Records-got.Repeated, written, rec.seen.Gaps(10))
	}
	if got.Repeated > inFlight {
		t.Errorf("%d lines were repeated, %d were in flight", got.Repeated, inFlight)
	}
}
