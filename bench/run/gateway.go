package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// gatewayResult is what a gateway costs that takes logs and hands them on, a median of rounds.
type gatewayResult struct {
	Gateway             string    `json:"gateway"` // stint-cluster, grpc-go alone or otelcol
	In                  string    `json:"in"`      // compression of what it is sent
	Out                 string    `json:"out"`     // and of what it sends
	RecordsPerCPUSecond float64   `json:"records_per_cpu_second"`
	Ratio               float64   `json:"ratio,omitempty"` // of stint-cluster to otelcol with the same compression
	Rounds              []float64 `json:"rounds"`
	MBPerCPUSecond      float64   `json:"mb_per_cpu_second"` // of the last round, before compression
	PeakRSS             int64     `json:"peak_rss_bytes"`    // of the last round
	Lost                int64     `json:"lost"`              // of all rounds
}

const (
	gatewayBody  = 1000 // bytes
	gatewayBatch = 1000 // records of a request
)

// gatewayBatches are the batches that the peer is given: requests as they come, those of its default, and ours. The one
// that is best for it counts.
var gatewayBatches = []int{1000, 4000, 8192}

// gateway sends records of 1 kB in requests of 1,000 through stint-cluster, and through an OpenTelemetry Collector, to the
// sink, which counts.
func (b *bench) gateway(ctx context.Context, rounds int) ([]gatewayResult, error) {
	cluster, err := filepath.Abs(filepath.Join(b.repo, "bin/stint-cluster"))
	if err != nil {
		return nil, err
	}
	if !exists(cluster) {
		return nil, fmt.Errorf("%s is missing: run make build first", cluster)
	}
	collector, err := filepath.Abs(filepath.Join(b.repo, "bench/otelcol/otelcol"))
	if err != nil {
		return nil, err
	}
	if !exists(collector) {
		return nil, fmt.Errorf("%s is missing: run make peer-otelcol first", collector)
	}
	ours := []gatewayResult{{Gateway: "stint-cluster", In: "none", Out: "none"}, {Gateway: "stint-cluster", In: "gzip", Out: "zstd"}}
	var theirs []gatewayResult
	for _, n := range gatewayBatches {
		theirs = append(theirs, gatewayResult{Gateway: fmt.Sprintf("otelcol, batch %d", n), In: "none", Out: "none"})
	}
	floor := []gatewayResult{{Gateway: "grpc-go alone", In: "none", Out: "none"}}
	for range rounds { // interleaved, so that a slow spell of the machine hits them alike
		for i := range ours {
			if err := b.gatewayRound(ctx, cluster, clusterConfig, &ours[i]); err != nil {
				return nil, fmt.Errorf("gateway %s to %s: %w", ours[i].In, ours[i].Out, err)
			}
		}
		if err := b.gatewayRound(ctx, b.relayBinary, relayConfig, &floor[0]); err != nil {
			return nil, fmt.Errorf("relay: %w", err)
		}
		for i, n := range gatewayBatches {
			if err := b.gatewayRound(ctx, collector, collectorConfig(n), &theirs[i]); err != nil {
				return nil, fmt.Errorf("gateway of the collector: %w", err)
			}
		}
	}
	all := slices.Concat(ours, floor, theirs)
	best := 0.0
	for i := range all {
		sorted := slices.Sorted(slices.Values(all[i].Rounds))
		all[i].RecordsPerCPUSecond = sorted[len(sorted)/2]
		if i >= len(ours)+len(floor) {
			best = max(best, all[i].RecordsPerCPUSecond)
		}
	}
	all[0].Ratio = all[0].RecordsPerCPUSecond / best
	return all, nil
}

// relayConfig is what grpc-go and the kernel cost alone: no gateway over them can do better.
func relayConfig(_, listen, to, _ string) string { return listen + " " + to }

// clusterConfig is stint-cluster with its defaults.
func clusterConfig(dir, listen, to, compression string) string {
	return fmt.Sprintf(`state_dir: %s
admin: {listen: ""}
health: {listen: ""}
gateway: {grpc: "%s", http: ""}
exporters: {otlp: {endpoint: "%s", compression: %s, tls: {insecure: true}}}
pipelines: {logs: {sources: [otlp], exporters: [otlp]}}
`, filepath.Join(dir, "cluster"), listen, to, compression)
}

// collectorConfig is what the Collector's documents advise for a gateway, without metrics of its own, with buffers as large
// as ours, and a limit of memory that it does not come to: refusing costs it CPU.
func collectorConfig(batch int) func(dir, listen, to, compression string) string {
	return func(_, listen, to, compression string) string {
		return fmt.Sprintf(`receivers:
  otlp: {protocols: {grpc: {endpoint: "%s", max_recv_msg_size_mib: 20, read_buffer_size: 262144}}}
processors:
  memory_limiter: {check_interval: 1s, limit_mib: 2000, spike_limit_mib: 400}
  batch: {send_batch_size: %d, send_batch_max_size: %d, timeout: 200ms}
exporters:
  otlp: {endpoint: "%s", compression: %s, write_buffer_size: 262144, tls: {insecure: true}, sending_queue: {block_on_overflow: true}}
service:
  telemetry: {metrics: {level: none}, logs: {level: warn}}
  pipelines: {logs: {receivers: [otlp], processors: [memory_limiter, batch], exporters: [otlp]}}
`, listen, batch, batch, to, compression)
	}
}

func (b *bench) gatewayRound(ctx context.Context, binary string, config func(dir, listen, to, compression string) string, res *gatewayResult) error {
	r, err := b.newRig(ctx)
	if err != nil {
		return err
	}
	defer r.close()
	port, err := freePort()
	if err != nil {
		return err
	}
	listen := fmt.Sprintf("127.0.0.1:%d", port)
	file := filepath.Join(r.dir, "gateway.yaml")
	if err := os.WriteFile(file, []byte(config(r.dir, listen, r.addresses.GRPC, res.Out)), 0o600); err != nil {
		return err
	}
	if r.agent, err = startProcess(r.dir, "gateway", b.agentCPU, binary, "--config", file); err != nil {
		return err
	}
	if err := r.listens(ctx, listen); err != nil {
		return err
	}
	user, system, err := r.agent.cpuTime()
	if err != nil {
		return err
	}
	before := user + system
	bytes := int64(2 << 30)
	if res.In != "none" || res.Gateway != "stint-cluster" { // they take longer for it
		bytes /= 4
	}
	args := []string{b.sendBinary, "-to", listen, "-compression", res.In, "-bytes", fmt.Sprint(bytes), "-body", fmt.Sprint(gatewayBody), "-batch", fmt.Sprint(gatewayBatch)}
	if b.sinkCPU >= 0 { // not on the gateway's
		args = append([]string{"taskset", "-c", fmt.Sprint(b.sinkCPU)}, args...)
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("send: %w: %s; the gateway says: %s", err, said.String(), tail(r.agent.stderr))
	}
	var sent struct{ Records, Bytes int64 }
	if err := json.Unmarshal(out, &sent); err != nil {
		return err
	}
	// One that answers before it has delivered has work to do still.
	arrived := int64(0)
	if err := poll(ctx, 20*time.Millisecond, b.timeout, func() (bool, error) {
		c, err := r.counters(ctx)
		arrived = c.LogRecords
		return arrived >= sent.Records, err
	}); err != nil && err != errTimeout {
		return err
	}
	if user, system, err = r.agent.cpuTime(); err != nil {
		return err
	}
	cpu := (user + system - before).Seconds()
	if _, res.PeakRSS, err = r.agent.memory(); err != nil {
		return err
	}
	if err := r.agent.stop(); err != nil {
		return err
	}
	res.Lost += sent.Records - arrived
	res.Rounds = append(res.Rounds, float64(sent.Records)/cpu)
	res.MBPerCPUSecond = float64(sent.Bytes) / 1e6 / cpu
	return nil
}

// listens waits until the gateway takes connections.
func (r *rig) listens(ctx context.Context, address string) error {
	return poll(ctx, 20*time.Millisecond, 20*time.Second, func() (bool, error) {
		c, err := net.Dial("tcp", address)
		if err != nil {
			return false, r.agent.gone()
		}
		return true, c.Close()
	})
}
