package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/klog/v2"
)

const (
	// watchEvery is how often it is looked whether the lease is live and the sources get on.
	watchEvery = time.Second
	// stopTimeout is how long sources may take to stop and to have their last chunks delivered.
	stopTimeout = 5 * time.Second
	// spillBefore is how long before that ends what waits for a destination moves to the spool: without the
	// lease it may not be sent.
	spillBefore = time.Second
	// handoverTimeout is how long they may take after that to write down where they are.
	handoverTimeout = 2 * time.Second
)

// leader contends for the lease, and has work done while it holds it:
//
//	following ── acquired ──► leading ── lost, stuck, stopping ──► stopping ── released ──► following
//
// One goroutine goes through the states; the elector is another one, for one term. Work has always
// ended before the lease is given up, or is fenced off from then on, if it hangs.
type leader struct {
	cfg   Leader
	lease *lease
	log   *slog.Logger
	// work runs until its context ends and what it handed over is delivered, for which the context's
	// end leaves it stopTimeout. An error before that gives the lease up.
	work func(ctx context.Context) error
	// stuck says why the work does not get on; empty: it does.
	stuck func() string
	// tell writes an event about the lease; it does not wait for that.
	tell func(reason, note string)

	transitions prometheus.Counter
}

func newLeader(cfg Leader, l *lease, work func(context.Context) error, stuck func() string, tell func(reason, note string), log *slog.Logger, reg prometheus.Registerer) *leader {
	d := &leader{cfg: cfg, lease: l, log: log, work: work, stuck: stuck, tell: tell}
	d.transitions = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "stint_leader_transitions_total", Help: "Times that this replica became the leader, or ceased to be it.",
	})
	reg.MustRegister(d.transitions, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "stint_leader", Help: "1 while this replica holds the lease and may send what only one may, else 0.",
	}, func() float64 {
		if l.live() {
			return 1
		}
		return 0
	}))
	return d
}

// run contends until ctx ends and the lease, if it was held, is given up.
func (d *leader) run(ctx context.Context) {
	for ctx.Err() == nil {
		if resigned := d.term(ctx); resigned && ctx.Err() == nil {
			// Everybody else looks at the lease within 2.2 periods. If there is nobody, we go on.
			pause := time.NewTimer(3 * d.cfg.RetryPeriod)
			select {
			case <-pause.C:
			case <-ctx.Done():
			}
			pause.Stop()
		}
	}
}

// term waits for the lease, has work done while it is held, and gives it up. It returns whether it
// gave it up though it could have kept it.
func (d *leader) term(ctx context.Context) (resigned bool) {
	base := context.WithoutCancel(ctx)
	hold, release := context.WithCancel(klog.NewContext(base, klog.New(nil))) // what it would log, we do
	defer release()
	acquired, ended := make(chan struct{}), make(chan struct{})
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: d.lease, Name: d.lease.Describe(), ReleaseOnCancel: true,
		LeaseDuration: d.cfg.LeaseDuration, RenewDeadline: d.cfg.RenewDeadline, RetryPeriod: d.cfg.RetryPeriod,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) { close(acquired) },
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		panic("bug: " + err.Error()) // the configuration has been checked
	}
	go func() {
		defer close(ended)
		elector.Run(hold)
	}()

	if !d.follow(ctx, acquired, ended) {
		release()
		<-ended
		return false
	}
	taken := d.lease.begin()
	d.transitions.Inc()
	d.log.Info("this replica leads", "term", d.lease.currentTerm(), "identity", d.lease.Identity())
	d.tell("LeaderElection", d.lease.Identity()+" leads")

	working, stop := context.WithCancel(base)
	defer stop()
	worked := make(chan error, 1)
	go func() { worked <- d.work(working) }()
	over, why, resigned := d.lead(ctx, worked, ended, taken)
	stop()
	hangs := false
	if !over {
		limit := time.NewTimer(stopTimeout + handoverTimeout + watchEvery)
		select {
		case <-worked:
		case <-limit.C:
			hangs = true
			d.log.Error("a source does not stop; nothing more is taken from it, and this replica does not lead again before it has")
		}
		limit.Stop()
	}
	d.lease.close()
	release()
	<-ended
	d.transitions.Inc()
	d.log.Info("this replica does not lead any more", "because", why)
	d.tell("LeaderElection", d.lease.Identity()+" does not lead any more: "+why)
	if hangs {
		<-worked
	}
	return resigned
}

// follow waits for the lease. It returns whether it is held.
func (d *leader) follow(ctx context.Context, acquired, ended <-chan struct{}) bool {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-acquired:
			return true
		case <-ended:
			return false
		case <-ctx.Done():
			return false
		case <-tick.C:
			d.tellError()
		}
	}
}

// tellError logs why the lease can't be read or written; the log holds back what repeats.
func (d *leader) tellError() {
	if s := d.lease.status(); s.Error != "" {
		d.log.Warn("the lease can't be read or written; without it this replica sends nothing of the cluster", "err", s.Error)
	}
}

// lead watches until there is a reason to stop. over: the work has ended by itself; resigned: the lease
// could be kept.
func (d *leader) lead(ctx context.Context, worked <-chan error, ended, taken <-chan struct{}) (over bool, why string, resigned bool) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return false, "the process stops", false
		case <-ended:
			return false, "the lease could not be renewed", false
		case <-taken:
			return false, "another replica took the lease", false
		case err := <-worked:
			d.log.Error("a source failed; the lease is given up", "err", err)
			return true, fmt.Sprintf("a source failed: %v", err), true
		case <-tick.C:
			d.tellError()
			if !d.lease.live() {
				return false, "the lease was not renewed in time", false
			}
			if why := d.stuck(); why != "" {
				d.log.Error("this replica does not get on; the lease is given up, so that another can try", "why", why)
				return false, why, true
			}
		}
	}
}
