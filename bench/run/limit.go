package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// limitResult is an agent in a cgroup of little memory while everything comes at once.
type limitResult struct {
	Variant    string  `json:"variant"`
	Containers int     `json:"containers"`
	LimitMiB   int     `json:"limit_mib"`
	Seconds    float64 `json:"seconds"`
	PeakMemory int64   `json:"peak_memory_bytes"` // of the cgroup, page cache included
	PeakRSS    int64   `json:"peak_rss_bytes"`
	OOMKills   int64   `json:"oom_kills"`
	Refused    int64   `json:"refused_requests"`
	account
}

const (
	limitMiB   = 64
	limitLines = 6_000_000
)

// memoryCgroup is a cgroup of its own with a limit, of either version.
type memoryCgroup struct {
	dir string
	v2  bool
}

func newMemoryCgroup(mib int) (*memoryCgroup, error) {
	c := &memoryCgroup{v2: exists("/sys/fs/cgroup/cgroup.controllers")}
	root, limit := "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
	if c.v2 {
		root, limit = "/sys/fs/cgroup", "memory.max"
		os.WriteFile(filepath.Join(root, "cgroup.subtree_control"), []byte("+memory"), 0) // it may be so already
	}
	c.dir = filepath.Join(root, "stint-bench-"+strconv.Itoa(os.Getpid()))
	if err := os.Mkdir(c.dir, 0o755); err != nil {
		return nil, fmt.Errorf("a cgroup of its own is needed (as root): %w", err)
	}
	if err := os.WriteFile(filepath.Join(c.dir, limit), []byte(strconv.Itoa(mib<<20)), 0); err != nil {
		c.remove()
		return nil, fmt.Errorf("limit of the cgroup: %w", err)
	}
	return c, nil
}

// remove is for when its processes have ended.
func (c *memoryCgroup) remove() { os.Remove(c.dir) }

// figures are the most memory that was charged, and how many processes were killed for it.
func (c *memoryCgroup) figures() (peak, kills int64, err error) {
	peakFile, killFile := "memory.max_usage_in_bytes", "memory.oom_control"
	if c.v2 {
		peakFile, killFile = "memory.peak", "memory.events"
	}
	text, err := os.ReadFile(filepath.Join(c.dir, peakFile))
	if err != nil {
		return 0, 0, err
	}
	if peak, err = strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err != nil {
		return 0, 0, err
	}
	if text, err = os.ReadFile(filepath.Join(c.dir, killFile)); err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(text)) {
		if n, ok := strings.CutPrefix(line, "oom_kill "); ok {
			kills, err = strconv.ParseInt(strings.TrimSpace(n), 10, 64)
			return peak, kills, err
		}
	}
	return 0, 0, fmt.Errorf("%s tells nothing of kills", killFile)
}

// limit lets gen write as fast as it can while the destination refuses everything for a while, then
// takes it.
func (b *bench) limit(ctx context.Context, v variant) (limitResult, error) {
	const refuseFrom, refuseTo = 3 * time.Second, 13 * time.Second
	l := b.load("limit")
	res := limitResult{Variant: v.String(), Containers: l.containers, LimitMiB: limitMiB}
	group, err := newMemoryCgroup(limitMiB)
	if err != nil {
		return res, err
	}
	defer group.remove()
	r, err := b.newRig(ctx, "-status", strconv.Itoa(http.StatusServiceUnavailable), "-from", refuseFrom.String(), "-to", refuseTo.String())
	if err != nil {
		return res, err
	}
	defer r.close()
	// It enters the cgroup before it is the agent, so that all its memory is charged there.
	agent := b.agentBinary
	script := filepath.Join(r.dir, "agent.sh")
	text := fmt.Sprintf("#!/bin/sh\necho $$ > %s/cgroup.procs && exec %s \"$@\"\n", group.dir, agent)
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		return res, err
	}
	b.agentBinary = script
	defer func() { b.agentBinary = agent }()

	start := time.Now()
	// Nothing is rotated away: what is lost would be lost for want of memory.
	if err := r.startGen(l, "-lines", strconv.Itoa(limitLines), "-keep-plain", "-keep-files", "100000", "-report", "100ms"); err != nil {
		return res, err
	}
	if err := r.startAgent(v, r.pods, "scrape.host.enabled=true", "scrape.interval=1s"); err != nil {
		return res, err
	}
	_, err = r.waitFor(ctx, limitLines, b.timeout)
	if err != nil && !errors.Is(err, errTimeout) {
		return res, err
	}
	res.Seconds = time.Since(start).Seconds()
	if res.PeakMemory, res.OOMKills, err = group.figures(); err != nil {
		return res, err
	}
	if _, res.PeakRSS, err = r.agent.memory(); err != nil {
		return res, err
	}
	<-r.gen.done // it has written them all
	r.gen = nil
	if res.account, err = r.finish(ctx); err != nil {
		return res, err
	}
	c, err := r.counters(ctx)
	res.Refused = c.Refused
	return res, err
}
