package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// overloadResult is stint-cluster in a cgroup of little memory under more than its destination can take.
type overloadResult struct {
	LimitMiB        int     `json:"limit_mib"`
	Clients         int     `json:"clients"`
	CapacityRecords int     `json:"capacity_records_per_second"` // of the destination
	Seconds         float64 `json:"seconds"`                     // of offering
	Offered         int64   `json:"offered_records"`
	Acknowledged    int64   `json:"acknowledged_records"`
	Arrived         int64   `json:"arrived_records"` // different ones
	Repeated        int64   `json:"repeated_records"`
	Lost            int64   `json:"lost_records"` // acknowledged, and did not arrive
	Refused         int64   `json:"refused_requests"`
	Hasty           int64   `json:"hasty_refusals"` // without the time to come back
	Unanswered      int64   `json:"unanswered_requests"`
	PeakMemory      int64   `json:"peak_memory_bytes"` // of the cgroup, page cache included
	PeakRSS         int64   `json:"peak_rss_bytes"`
	OOMKills        int64   `json:"oom_kills"`
	SpoolBytes      int64   `json:"spool_bytes"` // most that it may take

	Samples []string `json:"samples,omitempty"` // of hasty and unanswered ones
}

const (
	overloadMiB      = 128
	overloadClients  = 200
	overloadCapacity = 10_000
	overloadSpool    = 256 << 20
)

// overload offers three times of what the sink can take, by gRPC and HTTP, for that long. The spool takes what it has room for
// and refuses the rest.
func (b *bench) overload(ctx context.Context, duration time.Duration) (overloadResult, error) {
	res := overloadResult{LimitMiB: overloadMiB, Clients: overloadClients, CapacityRecords: overloadCapacity, SpoolBytes: overloadSpool}
	cluster, err := filepath.Abs(filepath.Join(b.repo, "bin/stint-cluster"))
	if err != nil {
		return res, err
	}
	if !exists(cluster) {
		return res, fmt.Errorf("%s is missing: run make build first", cluster)
	}
	group, err := newMemoryCgroup(overloadMiB)
	if err != nil {
		return res, err
	}
	defer group.remove()
	r, err := b.newRig(ctx, "-rate", fmt.Sprint(overloadCapacity))
	if err != nil {
		return res, err
	}
	defer r.close()
	var at [2]string
	for i := range at {
		port, err := freePort()
		if err != nil {
			return res, err
		}
		at[i] = fmt.Sprintf("127.0.0.1:%d", port)
	}
	config := fmt.Sprintf(`state_dir: %s
admin: {listen: ""}
health: {listen: ""}
gateway: {grpc: "%s", http: "%s", ack: durable}
spool: {max_bytes: %d, when_full: refuse}
exporters: {otlp: {endpoint: "%s", compression: none, tls: {insecure: true}}}
pipelines: {logs: {sources: [otlp], exporters: [otlp]}}
`, filepath.Join(r.dir, "cluster"), at[0], at[1], overloadSpool, r.addresses.GRPC)
	file := filepath.Join(r.dir, "cluster.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return res, err
	}
	// It enters the cgroup before it is stint-cluster, so that all its memory is charged there.
	script := filepath.Join(r.dir, "cluster.sh")
	text := fmt.Sprintf("#!/bin/sh\necho $$ > %s/cgroup.procs && exec %s \"$@\"\n", group.dir, cluster)
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		return res, err
	}
	if r.agent, err = startProcess(r.dir, "cluster", b.agentCPU, script, "--config", file); err != nil {
		return res, err
	}
	if err := r.listens(ctx, at[1]); err != nil {
		return res, err
	}
	args := []string{b.floodBinary, "-grpc", at[0], "-http", at[1], "-clients", fmt.Sprint(overloadClients), "-rate", fmt.Sprint(3 * overloadCapacity), "-duration", duration.String()}
	if b.sinkCPU >= 0 { // not on the gateway's
		args = append([]string{"taskset", "-c", fmt.Sprint(b.sinkCPU)}, args...)
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return res, fmt.Errorf("flood: %w: %s; stint-cluster says: %s", err, said.String(), tail(r.agent.stderr))
	}
	if err := json.Unmarshal(out, &res); err != nil {
		return res, err
	}
	// What is acknowledged lies in the spool, if it has not arrived.
	c, err := r.waitFor(ctx, res.Acknowledged, b.timeout)
	if err != nil && !errors.Is(err, errTimeout) {
		return res, fmt.Errorf("%w: %s", err, tail(r.agent.stderr))
	}
	res.Arrived, res.Repeated = c.Records-c.Repeated, c.Repeated
	res.Lost = max(0, res.Acknowledged-res.Arrived)
	if res.PeakMemory, res.OOMKills, err = group.figures(); err != nil {
		return res, err
	}
	if _, res.PeakRSS, err = r.agent.memory(); err != nil {
		return res, err
	}
	return res, r.agent.stop()
}
