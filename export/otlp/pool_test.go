package otlp

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
)

// tally is an origin that remembers what it was told.
type tally struct {
	mu   sync.Mutex
	told []Outcome
}

func (t *tally) Settled(_ *Chunk, o Outcome) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.told = append(t.told, o)
}

func TestSlabComesBackWhenOwnerAndChunksLetGo(t *testing.T) {
	p := NewPool(SlabSize, nil)
	s := p.TryGet(1)
	if s == nil || p.Used() != SlabSize {
		t.Fatalf("TryGet = %v, used %d", s, p.Used())
	}
	if p.TryGet(1) != nil {
		t.Fatal("a second slab over the limit")
	}
	var to tally
	c := NewChunk(s, s.Buf)
	c.Origin = &to
	s.Release()
	if p.Used() != SlabSize {
		t.Fatal("the slab went back while a chunk lies in it")
	}
	c.Settle(Dropped)
	if p.Used() != 0 || len(to.told) != 1 || to.told[0] != Dropped {
		t.Fatalf("used %d, told %v", p.Used(), to.told)
	}
	if again := p.TryGet(1); again != s {
		t.Error("the slab was not used again")
	}
}

func TestLentSlabIsNotUsedAgain(t *testing.T) {
	p := NewPool(SlabSize, nil)
	s := p.TryGet(1)
	c := NewChunk(s, s.Buf)
	s.Release()
	c.Lend()
	c.Settle(Delivered)
	if p.Used() != 0 {
		t.Fatalf("used %d", p.Used())
	}
	if p.TryGet(1) == s {
		t.Error("a slab that somebody may still read was handed out again")
	}
}

func TestGetWaitsAndTellsThatItStarves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		starved := 0
		p := NewPool(SlabSize, func() { starved++ })
		first, err := p.Get(t.Context(), 1)
		if err != nil || starved != 0 {
			t.Fatal(err, starved)
		}
		got := make(chan *Slab)
		go func() {
			s, _ := p.Get(context.Background(), 1)
			got <- s
		}()
		synctest.Wait()
		select {
		case <-got:
			t.Fatal("handed out over the limit")
		default:
		}
		first.Release()
		if s := <-got; s == nil || starved == 0 {
			t.Fatalf("got %v, starved %d", s, starved)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go cancel()
		if _, err := p.Get(ctx, 1); err != context.Canceled {
			t.Errorf("Get with its context over: %v", err)
		}
	})
}

func TestLargeRecordPassesAlone(t *testing.T) {
	p := NewPool(SlabSize, nil)
	big := p.TryGet(10 * SlabSize)
	if big == nil {
		t.Fatal("a record larger than the limit never passes")
	}
	if p.TryGet(1) != nil {
		t.Error("more over the limit")
	}
	big.Release()
	if p.Used() != 0 {
		t.Errorf("used %d", p.Used())
	}
	p.SetLimit(0)
	if p.TryGet(1) != nil {
		t.Error("limit 0 handed out a slab")
	}
}

func TestTrimGivesIdleSlabsBack(t *testing.T) {
	p := NewPool(10*SlabSize, nil)
	var held []*Slab
	for range 4 {
		held = append(held, p.TryGet(1))
	}
	for _, s := range held {
		s.Release()
	}
	p.Trim() // starts to count
	p.TryGet(1).Release()
	p.Trim()
	if len(p.free[0].slabs) != 1 {
		t.Errorf("%d slabs are kept, want the one that was used", len(p.free[0].slabs))
	}
}

// Large slabs are used again, too, by what needs about as much; those that nobody uses give way when there is no
// room, and idle ones go at a trim.
func TestLargeSlabsAreUsedAgain(t *testing.T) {
	p := NewPool(8*SlabSize, nil)
	get := func(size int) *Slab {
		t.Helper()
		s := p.TryGet(size)
		if s == nil || len(s.Buf) != 0 || cap(s.Buf) < size {
			t.Fatalf("%d bytes: %v", size, s)
		}
		return s
	}
	a := get(7 * SlabSize / 2)
	a.Release()
	if b := get(3*SlabSize + 1); b != a {
		t.Error("another slab is handed out")
	} else {
		b.Release()
	}
	if p.kept != 7*SlabSize/2 || p.Used() != 0 {
		t.Errorf("%d bytes are kept, %d handed out", p.kept, p.Used())
	}
	var all []*Slab
	for range 8 {
		all = append(all, get(1))
	}
	if p.kept != 0 || p.TryGet(1) != nil {
		t.Errorf("%d bytes are kept beside all that is handed out", p.kept)
	}
	for _, s := range all {
		s.Release()
	}
	p.Trim()
	p.Trim()
	if p.kept != 0 || len(p.free[0].slabs) != 0 {
		t.Errorf("%d bytes are kept after two trims", p.kept)
	}
}

// A lower limit counts at once for the slabs that lie idle, too: it is lowered because memory is short.
func TestLowerLimitFreesIdleSlabs(t *testing.T) {
	p := NewPool(8<<20, nil)
	var slabs []*Slab
	for range 20 {
		slabs = append(slabs, p.TryGet(SlabSize))
	}
	for _, s := range slabs {
		s.Release()
	}
	p.SetLimit(2 * SlabSize)
	if p.kept > 2*SlabSize {
		t.Errorf("%d bytes lie idle over a limit of %d", p.kept, 2*SlabSize)
	}
	p.SetLimit(0)
	if p.kept != 0 {
		t.Errorf("%d bytes lie idle over a limit of 0", p.kept)
	}
}
