//go:build !cluster

package cluster

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"stint/export/otlp"
)

// outcomes is an origin that counts what it is told.
type outcomes map[otlp.Outcome]int

// Settled implements otlp.Origin.
func (o outcomes) Settled(_ *otlp.Chunk, x otlp.Outcome) { o[x]++ }

func chunk(t *testing.T, origin otlp.Origin) *otlp.Chunk {
	t.Helper()
	slab := otlp.NewPool(1<<20, nil).TryGet(10)
	c := otlp.NewChunk(slab, slab.Buf)
	slab.Release()
	c.Records, c.Origin, c.Mark = 3, origin, 7
	return c
}

// TestOutlet: chunks pass while the lease is live, and come back when it is not; their origins are told
// in either case; flush waits for those that passed.
func TestOutlet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		live := true
		var under []*otlp.Chunk
		fenced := prometheus.NewCounter(prometheus.CounterOpts{Name: "x"})
		o := newOutlet(func() func() bool {
			if !live {
				return nil
			}
			return func() bool { return live }
		}, func(c *otlp.Chunk) { under = append(under, c) }, fenced)
		told := outcomes{}
		o.take(chunk(t, told))
		o.take(chunk(t, nil))
		live = false
		o.take(chunk(t, told))
		var m dto.Metric
		if err := fenced.Write(&m); err != nil {
			t.Fatal(err)
		}
		if len(under) != 2 || under[0].Mark != 7 || told[otlp.Aborted] != 1 || m.GetCounter().GetValue() != 3 {
			t.Errorf("%d passed, told %v, %v records fenced", len(under), told, m.GetCounter().GetValue())
		}

		for i, want := range []bool{true, false} {
			live = want
			if got := under[i].Fence(); got != want {
				t.Errorf("the fence of chunk %d says %v", i, got)
			}
		}

		sealed := 0
		seal := func() { sealed++ }
		begin := time.Now()
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if left := o.flush(short, seal); left != 2 || time.Since(begin) != time.Second || sealed < 2 {
			t.Errorf("flush left %d after %v and %d seals", left, time.Since(begin), sealed)
		}
		go func() {
			time.Sleep(time.Second)
			under[0].Settle(otlp.Delivered)
			under[1].Settle(otlp.Aborted) // by its fence
		}()
		if left := o.flush(t.Context(), seal); left != 0 {
			t.Errorf("flush left %d", left)
		}
		if err := fenced.Write(&m); err != nil {
			t.Fatal(err)
		}
		if told[otlp.Delivered] != 1 || m.GetCounter().GetValue() != 6 {
			t.Errorf("told %v, %v records fenced", told, m.GetCounter().GetValue())
		}
		sealed = 0
		if left := o.flush(t.Context(), seal); left != 0 || sealed != 0 {
			t.Errorf("with nothing under way: %d left, %d seals", left, sealed)
		}
	})
}
