package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// steadyResult is an agent that follows a node at a constant pace.
type steadyResult struct {
	Variant        string  `json:"variant"`
	LinesPerSecond int     `json:"lines_per_second"`
	Seconds        float64 `json:"seconds"` // measured, after the warm-up
	CPUPercent     float64 `json:"cpu_percent_of_one_core"`
	CPUUserPercent float64 `json:"cpu_user_percent_of_one_core"`
	RSS            int64   `json:"rss_bytes"` // at the end
	PeakRSS        int64   `json:"peak_rss_bytes"`
	Lines          int64   `json:"lines"` // written, warm-up included
	Bytes          int64   `json:"bytes"`
	Lost           int64   `json:"lost"`
	Repeated       int64   `json:"repeated"`
	OutOfOrder     int64   `json:"out_of_order"`
	Requests       int64   `json:"requests"`
}

// steady runs gen with the kubelet's rotation beside the agent.
func (b *bench) steady(ctx context.Context, v variant, rate int, warmUp, duration time.Duration) (steadyResult, error) {
	res := steadyResult{Variant: v.String(), LinesPerSecond: rate}
	r, err := b.newRig(ctx)
	if err != nil {
		return res, err
	}
	defer r.close()
	root := filepath.Join(r.dir, "pods")
	if err := os.Mkdir(root, 0o755); err != nil {
		return res, err
	}
	if err := r.startAgent(v, root); err != nil {
		return res, err
	}
	gen, err := startProcess(r.dir, "gen", b.sinkCPU, b.genBinary,
		"-root", root, "-containers", strconv.Itoa(b.containers), "-rate", strconv.Itoa(rate))
	if err != nil {
		return res, err
	}
	defer func() {
		if gen.gone() == nil {
			gen.kill()
		}
	}()

	wait := func(d time.Duration) error {
		err := poll(ctx, 100*time.Millisecond, d, func() (bool, error) {
			return false, errors.Join(r.agent.gone(), gen.gone())
		})
		if errors.Is(err, errTimeout) {
			return nil
		}
		return err
	}
	if err := wait(warmUp); err != nil {
		return res, err
	}
	start := time.Now()
	user0, system0, err := r.agent.cpuTime()
	if err != nil {
		return res, err
	}
	if err := wait(duration); err != nil {
		return res, err
	}
	user1, system1, err := r.agent.cpuTime()
	if err != nil {
		return res, err
	}
	res.Seconds = time.Since(start).Seconds()
	res.CPUUserPercent = 100 * (user1 - user0).Seconds() / res.Seconds
	res.CPUPercent = 100 * (user1 + system1 - user0 - system0).Seconds() / res.Seconds
	if res.RSS, res.PeakRSS, err = r.agent.memory(); err != nil {
		return res, err
	}

	if err := gen.stop(); err != nil {
		return res, err
	}
	out, err := os.ReadFile(gen.stdout)
	if err != nil {
		return res, err
	}
	written := struct{ Lines, Bytes int64 }{}
	if err := json.Unmarshal(out, &written); err != nil {
		return res, fmt.Errorf("output of gen: %w", err)
	}
	if _, err := r.waitFor(ctx, written.Lines, b.timeout); err != nil && !errors.Is(err, errTimeout) {
		return res, err
	}
	if err := r.agent.stop(); err != nil {
		return res, err
	}
	c, err := r.counters(ctx)
	if err != nil {
		return res, err
	}
	res.Lines, res.Bytes, res.Requests = written.Lines, written.Bytes, c.Requests
	res.Lost = written.Lines - (c.Records - c.Repeated)
	res.Repeated, res.OutOfOrder = c.Repeated, c.OutOfOrder
	if res.Lost > 0 {
		fmt.Fprintf(os.Stderr, "steady: missing: %v; agent says: %s\n", c.Gaps, tail(r.agent.stderr))
	}
	return res, nil
}
