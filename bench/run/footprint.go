package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"
)

// footprintSet are the settings of the agent of footprint beside the kubelet's address: intervals are the defaults.
var footprintSet = []string{"scrape.host.enabled=true", "scrape.cgroup.enabled=true", "scrape.kubelet.enabled=true", "scrape.kubelet.token_file=", "scrape.kubelet.pods_api_socket="}

// footprint measures the memory of an agent that scrapes host, kubelet and control groups of 110 pods at its default
// intervals: once a second for duration, after warmUp, in each round. The agent is a new one each time.
func (b *bench) footprint(ctx context.Context, v variant, rounds int, warmUp, duration time.Duration) ([]figure, error) {
	groups, err := makeCgroups()
	if err != nil {
		return nil, err
	}
	defer groups.remove()
	k, err := newKubelet(b.dir, filepath.Join(b.repo, "scrape/kubelet/testdata"))
	if err != nil {
		return nil, err
	}
	defer k.close()
	set := append([]string{"scrape.kubelet.endpoint=" + k.endpoint, "scrape.kubelet.ca_file=" + k.caFile}, footprintSet...)
	var all, anonymous, peak []float64 // MiB; medians of the rounds
	for range rounds {
		a, n, p, err := b.footprintRound(ctx, v, warmUp, duration, set)
		if err != nil {
			return nil, err
		}
		all, anonymous, peak = append(all, a), append(anonymous, n), append(peak, p)
	}
	if err := groups.remove(); err != nil {
		return nil, err
	}
	const method, mib = "an agent at its default intervals", "MiB"
	atMost := 30.0
	return []figure{
		{What: "RSS with host, and kubelet and cgroup of 110 pods", Method: method + ": VmRSS, median of looks a second apart", Unit: mib, Median: middle(all), Rounds: all, AtMost: &atMost},
		{What: "the same without what is mapped from its binary", Method: method + ": RssAnon", Unit: mib, Median: middle(anonymous), Rounds: anonymous},
		{What: "the same, most", Method: method + ": VmHWM", Unit: mib, Median: middle(peak), Rounds: peak},
	}, nil
}

func (b *bench) footprintRound(ctx context.Context, v variant, warmUp, duration time.Duration, set []string) (all, anonymous, peak float64, err error) {
	r, err := b.newRig(ctx)
	if err != nil {
		return 0, 0, 0, err
	}
	defer r.close()
	if err := r.startAgent(v, r.pods, set...); err != nil {
		return 0, 0, 0, err
	}
	if err := r.wait(ctx, warmUp); err != nil {
		return 0, 0, 0, err
	}
	var rss, anon []float64
	for end := time.Now().Add(duration); time.Now().Before(end); {
		if err := r.wait(ctx, time.Second); err != nil {
			return 0, 0, 0, err
		}
		a, p, err := r.agent.memory()
		if err != nil {
			return 0, 0, 0, err
		}
		n, err := r.agent.anonymous()
		if err != nil {
			return 0, 0, 0, err
		}
		rss, anon, peak = append(rss, float64(a)/(1<<20)), append(anon, n), float64(p)/(1<<20)
	}
	points, err := r.pointsBySource(ctx)
	if err != nil {
		return 0, 0, 0, err
	}
	if points["cgroup"] < podCount*containersOfPod || points["kubelet"] < podCount || points["host"] == 0 {
		return 0, 0, 0, fmt.Errorf("points by source: %v; there are %d containers", points, podCount*containersOfPod)
	}
	return middle(rss), middle(anon), peak, r.agent.stop()
}
