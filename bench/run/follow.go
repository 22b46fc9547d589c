package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// load is what gen writes while the agent follows.
type load struct {
	containers     int
	linesPerSecond int
	before         int // lines of each container that are delivered before the clock starts
}

// loads are what the scenarios have when no flag says otherwise.
var loads = map[string]load{
	"drain":  {containers: 20},
	"steady": {containers: 20, linesPerSecond: 10000},
	"sparse": {containers: 1000, linesPerSecond: 100},
	"idle":   {containers: 1500, before: 5},
	// Two files grow by 3 MB/s each, so that each of the kubelet's looks rotates both: the first
	// ones are deleted, unread, before a minute of outage is over.
	"outage": {containers: 2, linesPerSecond: 20000},
	"limit":  {containers: 500}, // as fast as it can
}

// followed is an agent that follows a node at a constant pace.
type followed struct {
	Scenario       string  `json:"scenario"`
	Variant        string  `json:"variant"`
	Containers     int     `json:"containers"`
	LinesPerSecond int     `json:"lines_per_second"`
	Seconds        float64 `json:"seconds"` // measured, after the warm-up
	CPUPercent     float64 `json:"cpu_percent_of_one_core"`
	CPUUserPercent float64 `json:"cpu_user_percent_of_one_core"`
	RSS            int64   `json:"rss_bytes"` // at the end
	PeakRSS        int64   `json:"peak_rss_bytes"`
	account
}

// follow measures an agent under a load, or in the silence after it.
func (b *bench) follow(ctx context.Context, scenario string, v variant, warmUp, duration time.Duration) (followed, error) {
	l := b.load(scenario)
	res := followed{Scenario: scenario, Variant: v.String(), Containers: l.containers, LinesPerSecond: l.linesPerSecond}
	r, err := b.newRig(ctx)
	if err != nil {
		return res, err
	}
	defer r.close()
	if l.before > 0 {
		// Without a pace gen spreads the lines evenly, and ends by itself.
		err = r.startGen(l, "-lines", strconv.Itoa(l.before*l.containers))
	} else {
		err = r.startGen(l)
	}
	if err == nil {
		err = r.startAgent(v, r.pods)
	}
	if err != nil {
		return res, err
	}
	if l.before > 0 {
		if _, err := r.waitFor(ctx, int64(l.before*l.containers), b.timeout); err != nil {
			return res, fmt.Errorf("deliver what was there before: %w", err)
		}
		if err := r.stopGen(); err != nil {
			return res, err
		}
	}

	if err := r.wait(ctx, warmUp); err != nil {
		return res, err
	}
	start := time.Now()
	user0, system0, err := r.agent.cpuTime()
	if err != nil {
		return res, err
	}
	if err := r.wait(ctx, duration); err != nil {
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
	res.account, err = r.finish(ctx)
	return res, err
}

// load is a scenario's, with what flags say.
func (b *bench) load(scenario string) load {
	l := loads[scenario]
	if b.containers > 0 {
		l.containers = b.containers
	}
	if b.rate > 0 && l.linesPerSecond > 0 {
		l.linesPerSecond = b.rate
	}
	return l
}

// wait lets the time pass, unless a child ends.
func (r *rig) wait(ctx context.Context, d time.Duration) error {
	err := poll(ctx, 100*time.Millisecond, d, func() (bool, error) { return false, r.gone() })
	if errors.Is(err, errTimeout) {
		return nil
	}
	return err
}
