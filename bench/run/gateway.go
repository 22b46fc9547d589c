package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// gatewayResult is what a gateway costs that takes logs and hands them on, a median of rounds.
type gatewayResult struct {
	In                  string    `json:"in"`  // compression of what it is sent
	Out                 string    `json:"out"` // and of what it sends
	RecordsPerCPUSecond float64   `json:"records_per_cpu_second"`
	Rounds              []float64 `json:"rounds"`
	MBPerCPUSecond      float64   `json:"mb_per_cpu_second"` // of the last round, before compression
	PeakRSS             int64     `json:"peak_rss_bytes"`    // of the last round
	Lost                int64     `json:"lost"`              // of all rounds
}

const (
	gatewayBody  = 1000 // bytes
	gatewayBatch = 1000 // records of a request
)

// gateway sends records of 1 kB in requests of 1,000 through stint-cluster to the sink, which counts.
func (b *bench) gateway(ctx context.Context, rounds int) ([]gatewayResult, error) {
	cluster, err := filepath.Abs(filepath.Join(b.repo, "bin/stint-cluster"))
	if err != nil {
		return nil, err
	}
	if !exists(cluster) {
		return nil, fmt.Errorf("%s is missing: run make build first", cluster)
	}
	all := []gatewayResult{{In: "none", Out: "none"}, {In: "gzip", Out: "zstd"}}
	for range rounds {
		for i := range all {
			if err := b.gatewayRound(ctx, cluster, &all[i]); err != nil {
				return nil, fmt.Errorf("gateway %s to %s: %w", all[i].In, all[i].Out, err)
			}
		}
	}
	for i := range all {
		sorted := slices.Sorted(slices.Values(all[i].Rounds))
		all[i].RecordsPerCPUSecond = sorted[len(sorted)/2]
	}
	return all, nil
}

func (b *bench) gatewayRound(ctx context.Context, binary string, res *gatewayResult) error {
	r, err := b.newRig(ctx)
	if err != nil {
		return err
	}
	defer r.close()
	var ports [3]int
	for i := range ports {
		if ports[i], err = freePort(); err != nil {
			return err
		}
	}
	config := fmt.Sprintf(`state_dir: %s
admin: {listen: "127.0.0.1:%d"}
health: {listen: "127.0.0.1:%d"}
gateway: {grpc: "127.0.0.1:%d", http: ""}
exporters: {otlp: {endpoint: "%s", compression: %s, tls: {insecure: true}}}
pipelines: {logs: {sources: [otlp], exporters: [otlp]}}
`, filepath.Join(r.dir, "cluster"), ports[0], ports[1], ports[2], r.addresses.GRPC, res.Out)
	file := filepath.Join(r.dir, "cluster.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return err
	}
	if r.agent, err = startProcess(r.dir, "cluster", b.agentCPU, binary, "--config", file); err != nil {
		return err
	}
	health := fmt.Sprintf("http://127.0.0.1:%d/readyz", ports[1])
	if err := poll(ctx, 20*time.Millisecond, 10*time.Second, func() (bool, error) {
		_, err := get(ctx, health)
		return err == nil, r.agent.gone()
	}); err != nil {
		return err
	}
	user, system, err := r.agent.cpuTime()
	if err != nil {
		return err
	}
	before := user + system
	bytes := int64(2 << 30)
	if res.In != "none" {
		bytes /= 4
	}
	cmd := exec.CommandContext(ctx, b.sendBinary, "-to", fmt.Sprintf("127.0.0.1:%d", ports[2]), "-compression", res.In,
		"-bytes", fmt.Sprint(bytes), "-body", fmt.Sprint(gatewayBody), "-batch", fmt.Sprint(gatewayBatch))
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("send: %w: %s; stint-cluster says: %s", err, said.String(), tail(r.agent.stderr))
	}
	var sent struct{ Records, Bytes int64 }
	if err := json.Unmarshal(out, &sent); err != nil {
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
	c, err := r.counters(ctx)
	if err != nil {
		return err
	}
	res.Lost += sent.Records - c.LogRecords
	res.Rounds = append(res.Rounds, float64(sent.Records)/cpu)
	res.MBPerCPUSecond = float64(sent.Bytes) / 1e6 / cpu
	return nil
}
