package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
)

// sendResult is what encoding, batching and sending cost, a median of rounds. MB are 10^6 bytes of
// requests before compression.
type sendResult struct {
	Variant        string    `json:"variant"`
	MBPerCPUSecond float64   `json:"mb_per_cpu_second"`
	Rounds         []float64 `json:"rounds"`
	MBPerSecond    float64   `json:"mb_per_second"` // of the last round
}

// send measures the half of the agent behind the reading of files, in a process of its own.
func (b *bench) send(ctx context.Context, variants []variant, rounds int) ([]sendResult, error) {
	all := make([]sendResult, len(variants))
	for range rounds { // interleaved, so that a slow spell of the machine hits them alike
		for i, v := range variants {
			r, err := b.newRig(ctx)
			if err != nil {
				return nil, err
			}
			to := r.addresses.GRPC
			if v.protocol == "otlphttp" {
				to = "http://" + r.addresses.HTTP
			}
			bytes := int64(2 << 30)
			if v.compression != "none" {
				bytes /= 8
			}
			args := []string{"-to", to, "-protocol", v.protocol, "-compression", v.compression, "-bytes", strconv.FormatInt(bytes, 10)}
			name := b.sendBinary
			if b.agentCPU >= 0 {
				name, args = "taskset", append([]string{"-c", strconv.Itoa(b.agentCPU), b.sendBinary}, args...)
			}
			cmd := exec.CommandContext(ctx, name, args...)
			cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GOGC=25")
			cmd.Stderr = os.Stderr
			out, err := cmd.Output()
			r.close()
			if err != nil {
				return nil, fmt.Errorf("send %s: %w", v, err)
			}
			var one struct {
				Bytes      int64
				CPUSeconds float64 `json:"cpu_seconds"`
				Seconds    float64
			}
			if err := json.Unmarshal(out, &one); err != nil {
				return nil, err
			}
			all[i].Variant = v.String()
			all[i].Rounds = append(all[i].Rounds, float64(one.Bytes)/1e6/one.CPUSeconds)
			all[i].MBPerSecond = float64(one.Bytes) / 1e6 / one.Seconds
		}
	}
	for i := range all {
		sorted := slices.Sorted(slices.Values(all[i].Rounds))
		all[i].MBPerCPUSecond = sorted[len(sorted)/2]
	}
	return all, nil
}
