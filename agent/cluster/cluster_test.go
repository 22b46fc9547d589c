//go:build !cluster

package cluster

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"stint/export/otlp"
	"stint/scrape/kube"
)

// scripted is a source that does what a test says.
type scripted struct {
	d     kube.Deps
	run   func(ctx context.Context, s *scripted) error
	state atomic.Int32 // how many of its chunks were delivered
	last  int32        // the same, when Handover was called; -1 before
}

// Run implements source.
func (s *scripted) Run(ctx context.Context) error { return s.run(ctx, s) }

// Settled implements otlp.Origin.
func (s *scripted) Settled(_ *otlp.Chunk, o otlp.Outcome) {
	if o == otlp.Delivered {
		s.state.Add(1)
	}
}

// Handover implements handover.
func (s *scripted) Handover(context.Context) error {
	s.last = s.state.Load()
	return nil
}

func (s *scripted) send(t *testing.T) {
	slab := s.d.Pool.TryGet(100)
	if slab == nil {
		t.Error("no memory")
		return
	}
	defer slab.Release()
	c := otlp.NewChunk(slab, otlp.AppendLogRecord(slab.Buf, &otlp.LogRecord{Body: []byte("x")}))
	c.Group, c.Records, c.Signal, c.Origin = otlp.NewGroup(nil, "", "x", ""), 1, otlp.Logs, s
	s.d.Out(c)
}

// lead has the work of one term done, with that source beside one that does nothing.
func lead(t *testing.T, ctx context.Context, run func(ctx context.Context, s *scripted) error) (*scripted, error) {
	t.Helper()
	s := &scripted{run: run, last: -1}
	cfg := replicaConfig(t)
	p := cfg.Pipelines["logs"]
	p.Sources = append(p.Sources, "scripted")
	cfg.Pipelines["logs"] = p
	c, err := newCluster(cfg, "test", append([]listed{{"scripted", otlp.Logs, func(_ *Config, d kube.Deps) (source, error) { s.d = d; return s, nil }}}, idles...), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer c.release()
	c.lease.renewed = sinceBoot() // as after an acquisition
	c.lease.begin()
	var sending sync.WaitGroup
	sending.Go(func() { c.export.Run(context.Background()) })
	err = c.lead(ctx)
	c.export.CloseInput()
	sending.Wait()
	return s, err
}

// TestLeadFlushes: what a source hands over when its term ends is delivered, although the batch is not full,
// before the source writes down where it is.
func TestLeadFlushes(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s, err := lead(t, ctx, func(ctx context.Context, s *scripted) error {
		s.send(t)
		cancel()
		<-ctx.Done()
		s.send(t)
		return nil
	})
	if err != nil || s.last != 2 {
		t.Errorf("%d of 2 chunks were delivered before the handover; %v", s.last, err)
	}
}

// TestLeadFails: a source that fails, panics, or ends without being told ends the work of all.
func TestLeadFails(t *testing.T) {
	for name, tc := range map[string]struct {
		run  func(ctx context.Context, s *scripted) error
		want string
	}{
		"fails":  {func(context.Context, *scripted) error { return errors.New("no such thing") }, "scripted: no such thing"},
		"panics": {func(context.Context, *scripted) error { panic("boom") }, "scripted: panic: boom\ngoroutine "},
		"ends":   {func(context.Context, *scripted) error { return nil }, "bug: scripted ended before its time"},
	} {
		s, err := lead(t, t.Context(), tc.run)
		if err == nil || !strings.HasPrefix(err.Error(), tc.want) || s.last != 0 {
			t.Errorf("%s: %v, want %s…; handover with %d", name, err, tc.want, s.last)
		}
	}
}

// TestStuckSource: a source without data for three intervals is stuck, but not while its chunks wait for a
// destination, nor for that time.
func TestStuckSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := &singleton{name: "x", outlet: newOutlet(nil, nil, nil), progress: &kube.Progress{}}
		c := &Cluster{singletons: []*singleton{x}}
		x.progress.Begin()
		x.progress.Every(10 * time.Second)
		x.outlet.pending.Store(1)
		time.Sleep(time.Hour)
		if got := c.stuck(); got != "" {
			t.Errorf("stuck while a destination is away: %s", got)
		}
		x.outlet.pending.Store(0)
		time.Sleep(30 * time.Second)
		if got := c.stuck(); got != "" {
			t.Errorf("stuck three intervals after it was back: %s", got)
		}
		time.Sleep(time.Second)
		if got := c.stuck(); got != "x: no data for 31s, its interval is 10s" {
			t.Errorf("stuck: %q", got)
		}
	})
}
