package spool

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// reserveBytes and reserveShare are how much of the disk is left free, whichever is less: a
// full disk hurts more than what is lost here.
const (
	reserveBytes = 1 << 30
	reserveShare = 20 // a twentieth
)

// ErrFull is what Append gives in a spool that refuses what is new when it is full.
var ErrFull = errors.New("the spool is full")

// Budget is what the spools of one exporter may take of the disk together. Its lock is that of their
// state, too: for room the oldest segment of all of them goes. It is not held while entries are written.
type Budget struct {
	max int64 // bytes of files

	mu     sync.Mutex // guards everything below, and the spools
	used   int64      // bytes of segments, acknowledged or not, and of what is being written
	spools []*Spool
	full   time.Time // when one last found no room
}

// NewBudget makes a budget of max bytes.
func NewBudget(max int64) *Budget { return &Budget{max: max} }

// segmentBytes is when a segment is full: an eighth of a small budget, so that the oldest is no large share of it.
func (b *Budget) segmentBytes() int64 { return min(segmentBytes, b.max/8) }

// dropOldest gives up the oldest segment, if there is one, and returns its size.
func (b *Budget) dropOldest() (size int64, ok bool) {
	var oldest *Spool
	for _, s := range b.spools {
		if len(s.segments) > 0 && (oldest == nil || s.segments[0].id < oldest.segments[0].id) {
			oldest = s
		}
	}
	if oldest == nil {
		return 0, false
	}
	size = oldest.segments[0].size
	oldest.dropFirst()
	oldest.tell()
	return size, true
}

// reserve takes need bytes for s, for which the oldest segments go, or not.
func (b *Budget) reserve(s *Spool, need int64) error {
	if most := min(maxPayload, b.max); need > most {
		return fmt.Errorf("spool: a request of %d bytes is over the limit of %d; give a larger spool.max_bytes", need, most)
	}
	for b.used+need > b.max {
		if s.o.Refuse {
			b.full = time.Now()
			return fmt.Errorf("%w: %d bytes of spool.max_bytes, %d, are used", ErrFull, b.used, b.max)
		}
		if _, ok := b.dropOldest(); !ok {
			return fmt.Errorf("spool: %d bytes of spool.max_bytes, %d, are being written", b.used, b.max)
		}
	}
	free, total, err := s.free()
	if err != nil {
		free, total = need, 0 // a write will tell
	}
	// Counted here and not asked for again: XFS, btrfs and ZFS free in the background, and all would go.
	for keep := min(int64(reserveBytes), total/reserveShare); free-s.planned-need < keep; {
		if s.o.Refuse {
			b.full = time.Now()
			return fmt.Errorf("%w: %d bytes are free on the disk, %d are to stay so", ErrFull, free, keep)
		}
		size, ok := b.dropOldest()
		if !ok {
			return fmt.Errorf("spool: %d bytes are free on the disk, %d are to stay so", free, keep)
		}
		free += size
	}
	b.used += need
	return nil
}

// fullFor is how long after a refusal nothing is tried: meanwhile who would hand something over can be told before
// that is received.
const fullFor = time.Second

// Full says that what is appended now would hardly find room.
func (s *Spool) Full() bool {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	return time.Since(s.b.full) < fullFor
}
