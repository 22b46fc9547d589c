package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stint/agent/workload"
	"stint/bench/sink"
)

// balancer hands connections to one backend after the other, as a Service with one address does, and to those
// only that take them.
type balancer struct {
	net.Listener
	backends []string
	next     atomic.Int64

	mu    sync.Mutex // guards everything below
	open  map[net.Conn]bool
	ended bool
	wg    sync.WaitGroup
}

func newBalancer(t *testing.T, backends ...string) *balancer {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &balancer{Listener: l, backends: backends, open: map[net.Conn]bool{}}
	b.wg.Go(b.accept)
	t.Cleanup(func() {
		l.Close()
		b.mu.Lock()
		b.ended = true
		for c := range b.open {
			c.Close()
		}
		b.mu.Unlock()
		b.wg.Wait()
	})
	return b
}

func (b *balancer) accept() {
	for {
		c, err := b.Accept()
		if err != nil {
			return
		}
		b.wg.Go(func() { b.pass(c) })
	}
}

func (b *balancer) keep(c net.Conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open[c] = true
	return !b.ended
}

func (b *balancer) pass(client net.Conn) {
	defer client.Close()
	for range b.backends {
		to, err := net.Dial("tcp", b.backends[int(b.next.Add(1))%len(b.backends)])
		if err != nil {
			continue
		}
		defer to.Close()
		if !b.keep(client) || !b.keep(to) {
			return
		}
		var both sync.WaitGroup
		for _, p := range [][2]net.Conn{{client, to}, {to, client}} {
			both.Go(func() {
				io.Copy(p[0], p[1])
				p[0].Close()
				p[1].Close()
			})
		}
		both.Wait()
		return
	}
}

// TestChain: agent, two gateways of which one is killed every 5 s, and a receiver that counts. No line is lost; what comes
// twice is what a gateway had handed on when it died without having answered. Lines of a container stay in order.
func TestChain(t *testing.T) {
	if testing.Short() {
		t.Skip("needs bin/stint-agent and bin/stint-cluster, and half a minute: make test-chain")
	}
	const seconds, rate = 30, 5000
	far, err := sink.New(sink.Config{GRPC: "127.0.0.1:0", HTTP: "127.0.0.1:0", Control: "127.0.0.1:0", Check: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); far.Run(ctx) }()
	t.Cleanup(func() { stop(); <-done })

	dir := t.TempDir()
	var gateways [2]string
	start := func(i int) *process {
		config := filepath.Join(dir, fmt.Sprintf("cluster%d.yaml", i))
		writeFile(t, config, fmt.Sprintf(`
state_dir: %s
admin: {listen: ""}
health: {listen: ""}
gateway: {grpc: "%s", http: ""}
exporters: {otlp: {endpoint: "%s", compression: none, tls: {insecure: true}}}
pipelines: {logs: {sources: [otlp], exporters: [otlp]}}
`, filepath.Join(dir, fmt.Sprintf("state%d", i)), gateways[i], far.Addresses().GRPC))
		return startProcess(t, "../../bin/stint-cluster", "--config", config)
	}
	var running [2]*process
	for i := range gateways {
		gateways[i] = freeAddress(t)
		running[i] = start(i)
	}
	service := newBalancer(t, gateways[:]...)

	pods := filepath.Join(dir, "pods")
	cfg := workload.Defaults()
	cfg.Root, cfg.Containers, cfg.LinesPerSecond, cfg.Lines = pods, 10, rate, seconds*rate
	w, err := workload.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "agent.yaml")
	writeFile(t, config, fmt.Sprintf(`
state_dir: %s
admin: {listen: ""}
health: {listen: ""}
tail: {containers: {root: %s}, files: []}
scrape: {host: {enabled: false}, cgroup: {enabled: false}}
batch: {timeout: 200ms}
exporters: {otlp: {endpoint: "%s", tls: {insecure: true}, retry_on_failure: {initial_interval: 100ms, max_interval: 1s}}}
pipelines: {logs: {sources: [tail], exporters: [otlp]}}
`, filepath.Join(dir, "state"), pods, service.Addr()))
	agent := startProcess(t, *agentBinary, "--config", config)

	written := make(chan error, 1)
	go func() { written <- w.Run(ctx) }()
	kills := 0
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for writing := true; writing; {
		select {
		case err := <-written:
			if err != nil {
				t.Fatal(err)
			}
			writing = false
		case <-tick.C:
			i := kills % 2
			running[i].cmd.Process.Kill()
			<-running[i].done
			running[i] = start(i)
			kills++
		}
	}
	waitFor(t, 30*time.Second, "every line to arrive", func() bool {
		agent.mustRun(t)
		c := far.Counters()
		return c.Records-c.Repeated >= seconds*rate
	})
	c := far.Counters()
	t.Logf("%d kills: %d lines written, lost %d, repeated %d, out of order %d", kills, seconds*rate, seconds*rate-(c.Records-c.Repeated), c.Repeated, c.OutOfOrder)
	if kills < 4 || c.Records-c.Repeated != seconds*rate || c.OutOfOrder != 0 || c.Foreign != 0 {
		t.Errorf("gaps %v", c.Gaps)
	}
	if most := int64(kills) * rate; c.Repeated > most { // a second's lines a kill
		t.Errorf("%d lines are repeated, want at most %d", c.Repeated, most)
	}
	agent.stop(t)
	for _, p := range running {
		p.stop(t)
	}
}
