package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// backlog is a tree of log files that nobody has read yet.
type backlog struct {
	Root  string `json:"-"`
	Lines int64  `json:"lines"`
	Bytes int64  `json:"bytes"`
}

// drainRound is one agent emptying the backlog. MB are 10^6 bytes of log file,
// CRI headers included.
type drainRound struct {
	Variant        string  `json:"variant"`
	MBPerCPUSecond float64 `json:"mb_per_cpu_second"`
	MBPerSecond    float64 `json:"mb_per_second"` // from the start of the process to the last request
	CPUSeconds     float64 `json:"cpu_seconds"`   // from the start of the process
	CPUUser        float64 `json:"cpu_user_seconds"`
	CPUAfterReady  float64 `json:"cpu_seconds_after_ready"`
	CPUSecsPerGB   float64 `json:"cpu_seconds_per_gb"`
	ReadySeconds   float64 `json:"ready_after_seconds"` // -1: all was delivered before it said so
	Seconds        float64 `json:"seconds"`
	PeakRSS        int64   `json:"peak_rss_bytes"`
	RSS            int64   `json:"rss_bytes"`                        // when all is delivered
	CompressorCPU  float64 `json:"compressor_cpu_seconds,omitempty"` // of the bare compressor on the same bytes
	Ratio          float64 `json:"ratio,omitempty"`                  // the agent's CPU to that
	Lost           int64   `json:"lost"`
	Repeated       int64   `json:"repeated"`
	OutOfOrder     int64   `json:"out_of_order"`
	Requests       int64   `json:"requests"`
	RequestBytes   int64   `json:"request_bytes"` // unpacked
	WireBytes      int64   `json:"wire_bytes"`
}

// newBacklog has gen write it, in files of 10 MiB that nobody compressed yet.
func (b *bench) newBacklog(ctx context.Context, bytes int64) (*backlog, error) {
	const meanLine = 312 // bytes, CRI header included
	root := filepath.Join(b.dir, "backlog")
	cmd := exec.CommandContext(ctx, b.genBinary, "-root", root, "-containers", strconv.Itoa(b.load("drain").containers), "-rate", "0",
		"-lines", strconv.FormatInt(bytes/meanLine, 10), "-rotate-every", "0", "-keep-plain", "-keep-files", "100000")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("gen: %w", err)
	}
	log := &backlog{Root: root}
	return log, json.Unmarshal(out, log)
}

// drain measures one agent on the backlog.
func (b *bench) drain(ctx context.Context, v variant, log *backlog) (drainRound, error) {
	res := drainRound{Variant: v.String(), ReadySeconds: -1}
	r, err := b.newRig(ctx)
	if err != nil {
		return res, err
	}
	defer r.close()
	if err := r.startAgent(v, log.Root); err != nil {
		return res, err
	}

	// What it costs until it says that it is ready, if it does so in time.
	var before time.Duration
	err = poll(ctx, 5*time.Millisecond, 5*time.Second, func() (bool, error) {
		if err := r.agent.gone(); err != nil {
			return false, err
		}
		_, err := get(ctx, "http://"+r.health+"/readyz")
		return err == nil, nil
	})
	switch {
	case err == nil:
		user, system, err := r.agent.cpuTime()
		if err != nil {
			return res, err
		}
		before = user + system
		res.ReadySeconds = time.Since(r.started).Seconds()
	case !errors.Is(err, errTimeout):
		return res, err
	}

	c, waitErr := r.waitFor(ctx, log.Lines, b.timeout)
	if waitErr != nil && !errors.Is(waitErr, errTimeout) {
		return res, waitErr
	}
	user, system, err := r.agent.cpuTime()
	if err != nil {
		return res, err
	}
	if res.RSS, res.PeakRSS, err = r.agent.memory(); err != nil {
		return res, err
	}
	if err := r.agent.stop(); err != nil {
		return res, err
	}
	if c, err = r.counters(ctx); err != nil { // what comes late is repeated
		return res, err
	}

	mb := float64(log.Bytes) / 1e6
	res.CPUUser = user.Seconds()
	res.CPUSeconds = (user + system).Seconds()
	res.CPUAfterReady = (user + system - before).Seconds()
	res.CPUSecsPerGB = res.CPUSeconds / mb * 1000
	res.MBPerCPUSecond = mb / res.CPUSeconds
	res.Seconds = c.LastArrival.Sub(r.started).Seconds()
	res.MBPerSecond = mb / res.Seconds
	res.Lost = log.Lines - (c.Records - c.Repeated)
	res.Repeated, res.OutOfOrder = c.Repeated, c.OutOfOrder
	res.Requests, res.RequestBytes, res.WireBytes = c.Requests, c.Bytes, c.WireBytes
	if waitErr != nil {
		fmt.Fprintf(os.Stderr, "%s: not all delivered after %v; figures are of what was; missing: %v; agent says: %s\n",
			v, b.timeout, c.Gaps, tail(r.agent.stderr))
	}
	return res, nil
}

// drainAll runs every variant in each round, so that a slow spell of the
// machine hits them alike, each with the bare compressor after it, and returns
// the rounds and each variant's median by CPU.
func (b *bench) drainAll(ctx context.Context, variants []variant, rounds int, log *backlog) (all, medians []drainRound, err error) {
	requests := ""
	if slices.ContainsFunc(variants, func(v variant) bool { return v.compression != "none" }) {
		if requests, err = b.capture(ctx, log); err != nil {
			return nil, nil, fmt.Errorf("capture requests: %w", err)
		}
	}
	for round := range rounds {
		for _, v := range variants {
			res, err := b.drain(ctx, v, log)
			if err != nil {
				return all, nil, fmt.Errorf("drain %s: %w", v, err)
			}
			if v.compression != "none" {
				compressor, err := b.compress(ctx, v.compression, requests)
				if err != nil {
					return all, nil, err
				}
				res.against(compressor)
			}
			fmt.Fprintf(os.Stderr, "round %d of %d, %s: %.0f MB per CPU second, compressor %.2f s, ratio %.2f\n",
				round+1, rounds, v, res.MBPerCPUSecond, res.CompressorCPU, res.Ratio)
			all = append(all, res)
		}
	}
	for _, v := range variants {
		var of []drainRound
		for _, res := range all {
			if res.Variant == v.String() {
				of = append(of, res)
			}
		}
		medians = append(medians, median(of))
	}
	return all, medians, nil
}
