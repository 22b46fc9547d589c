package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// capture has the agent send the backlog without compression and returns a file with the
// requests' bytes.
func (b *bench) capture(ctx context.Context, log *backlog) (string, error) {
	file := filepath.Join(b.dir, "requests")
	r, err := b.newRig(ctx, "-store", file)
	if err != nil {
		return "", err
	}
	defer r.close()
	if err := r.startAgent(variant{"otlp", "none"}, log.Root); err != nil {
		return "", err
	}
	_, err = r.waitFor(ctx, log.Lines, b.timeout)
	return file, err
}

// compress is the CPU time, in seconds, of the bare compressor on what capture left.
func (b *bench) compress(ctx context.Context, compression, file string) (float64, error) {
	p, err := startProcess(b.dir, "pack", b.agentCPU, b.packBinary, "-compression", compression, file)
	if err != nil {
		return 0, err
	}
	select {
	case <-ctx.Done():
		p.kill()
		return 0, ctx.Err()
	case <-p.done:
	}
	if p.err != nil {
		return 0, fmt.Errorf("pack: %w: %s", p.err, tail(p.stderr))
	}
	out, err := os.ReadFile(p.stdout)
	if err != nil {
		return 0, err
	}
	packed := struct {
		CPUSeconds float64 `json:"cpu_seconds"`
	}{}
	if err := json.Unmarshal(out, &packed); err != nil {
		return 0, fmt.Errorf("output of pack: %w", err)
	}
	return packed.CPUSeconds, nil
}

// median takes the round of median CPU, and against it the compressor's own median.
func median(of []drainRound) drainRound {
	slices.SortFunc(of, func(x, y drainRound) int { return int(1e6 * (x.CompressorCPU - y.CompressorCPU)) })
	compressor := of[len(of)/2].CompressorCPU
	slices.SortFunc(of, func(x, y drainRound) int { return int(1e6 * (x.CPUSeconds - y.CPUSeconds)) })
	m := of[len(of)/2]
	m.against(compressor)
	return m
}

// against compares with the bare compressor's CPU seconds; 0 = there is none.
func (d *drainRound) against(compressor float64) {
	d.CompressorCPU = compressor
	if compressor > 0 {
		d.Ratio = d.CPUSeconds / compressor
	}
}
