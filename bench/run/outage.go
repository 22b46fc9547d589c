package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"time"
)

// outageResult is an agent whose destination refuses everything for a while.
type outageResult struct {
	Variant        string  `json:"variant"`
	Containers     int     `json:"containers"`
	LinesPerSecond int     `json:"lines_per_second"`
	OutageSeconds  float64 `json:"outage_seconds"`
	ResumedAfter   float64 `json:"resumed_after_seconds"`   // from its end to the next request that was taken
	CaughtUpAfter  float64 `json:"caught_up_after_seconds"` // until under a second of lines was missing; -1: did not
	PeakRSS        int64   `json:"peak_rss_bytes"`
	PeakDeleted    int64   `json:"peak_deleted_bytes"` // stint_tail_deleted_bytes, seen twice a second
	Rotations      int64   `json:"rotations"`          // that the agent saw
	Refused        int64   `json:"refused_requests"`
	account
}

// outage lets the sink answer UNAVAILABLE, or 503, after a short warm-up.
func (b *bench) outage(ctx context.Context, v variant, outage time.Duration) (outageResult, error) {
	const warmUp = 5 * time.Second
	l := b.load("outage")
	res := outageResult{Variant: v.String(), Containers: l.containers, LinesPerSecond: l.linesPerSecond,
		OutageSeconds: outage.Seconds(), ResumedAfter: -1, CaughtUpAfter: -1}
	over := time.Now().Add(warmUp + outage)
	r, err := b.newRig(ctx, "-status", strconv.Itoa(http.StatusServiceUnavailable), "-from", warmUp.String(), "-to", (warmUp + outage).String())
	if err != nil {
		return res, err
	}
	defer r.close()
	if err := r.startGen(l, "-report", "100ms"); err != nil {
		return res, err
	}
	if err := r.startAgent(v, r.pods); err != nil {
		return res, err
	}

	taken := int64(0)
	err = poll(ctx, 500*time.Millisecond, warmUp+outage+b.timeout, func() (bool, error) {
		if err := r.gone(); err != nil {
			return false, err
		}
		deleted, err := r.metric(ctx, "stint_tail_deleted_bytes")
		if err != nil {
			return false, err
		}
		res.PeakDeleted = max(res.PeakDeleted, deleted)
		c, err := r.counters(ctx)
		if err != nil {
			return false, err
		}
		since := time.Since(over).Seconds()
		if since < 0 {
			taken = c.Requests
			return false, nil
		}
		if res.ResumedAfter < 0 && c.Requests > taken {
			res.ResumedAfter = since
		}
		now, err := r.written()
		if err == nil && res.ResumedAfter >= 0 && now.Lines-(c.Records-c.Repeated) < int64(l.linesPerSecond) {
			res.CaughtUpAfter = since
			return true, nil
		}
		return false, err
	})
	if errors.Is(err, errTimeout) {
		fmt.Fprintf(os.Stderr, "outage: not caught up %v after it\n", b.timeout)
	} else if err != nil {
		return res, err
	}

	if res.Rotations, err = r.metric(ctx, "stint_tail_rotations_total"); err != nil {
		return res, err
	}
	if _, res.PeakRSS, err = r.agent.memory(); err != nil {
		return res, err
	}
	if res.account, err = r.finish(ctx); err != nil {
		return res, err
	}
	c, err := r.counters(ctx)
	res.Refused = c.Refused
	return res, err
}
