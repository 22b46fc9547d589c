package kubelet

import (
	"context"
	"io"
	"time"
)

// pollAgain polls /pods for as long as the watch does not work.
func (p *Pods) pollAgain(ctx context.Context) {
	next := time.NewTimer(time.Hour)
	next.Stop()
	defer next.Stop()
	var last time.Time
	due, tried := false, false // next is running; the watch has had its chance
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.down:
			if tried = true; due {
				continue
			}
			// The kubelet may have closed a stream that is back in a moment.
			if !last.IsZero() || p.Status().Source == sourceWatch {
				due = true
				next.Reset(p.pace.gap)
				continue
			}
		case <-p.wanted:
		case <-next.C:
		}
		if due = false; !tried || p.works() {
			next.Stop()
			continue
		}
		due = true
		if wait := p.pace.gap - time.Since(last); wait > 0 {
			next.Reset(wait)
			continue
		}
		err := p.poll(ctx)
		last = time.Now()
		switch reasonOf(err) {
		case "unauthorized", "forbidden":
			next.Reset(p.pace.refused)
		default:
			next.Reset(p.pace.poll)
		}
	}
}

// works tells whether the watch feeds the table.
func (p *Pods) works() bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.watching
}

// poll asks for /pods once.
func (p *Pods) poll(ctx context.Context) error {
	p.metrics.polls.Inc()
	p.mu.RLock()
	epoch := p.epoch
	p.mu.RUnlock()

	var pods []*Pod
	var bad error
	err := p.client.Get(ctx, "/pods", func(r io.Reader) (err error) {
		p.decode.Lock()
		defer p.decode.Unlock()
		pods, bad, err = decodePods(r, p.texts)
		return err
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if bad != nil {
		p.failed(bad)
	}
	if err != nil {
		p.failed(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.watching || p.epoch != epoch {
		return err // what the watch has told since is newer
	}
	if err != nil {
		p.from(sourceNone)
		return err
	}
	seen := make(map[string]struct{}, len(pods))
	for _, pod := range pods {
		seen[pod.UID] = struct{}{}
		p.put(pod, sourcePoll)
	}
	now := time.Now()
	if bad == nil { // else a pod that is there may be missing here
		p.reconcile(seen, sourcePoll, now)
	}
	p.lastUpdate = now
	p.from(sourcePoll)
	return nil
}
