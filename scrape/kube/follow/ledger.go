package follow

import "sync"

// Position is how far a target was followed. The zero value: not at all.
type Position struct {
	Version string `json:"rv,omitempty"` // what happens after this resourceVersion is still to come
	// Of a list that is under way Version is that of the list, and:
	Listing  bool   `json:"listing,omitempty"`
	Continue string `json:"continue,omitempty"` // token of its next page
	Since    string `json:"since,omitempty"`    // only objects that are newer are taken; empty: all of them
	Mixed    bool   `json:"mixed,omitempty"`    // its pages are not of one time: it took so long that a token expired

	seq uint64 // of what is known of its objects
}

// Ledger knows which records are on their way, in the order in which they were read, and to which
// position everything is acknowledged. T is what is noted of a record.
type Ledger[T any] struct {
	mu       sync.Mutex // guards everything below
	open     []entry[T]
	first    uint64 // mark of open[0]
	frontier Position
}

type entry[T any] struct {
	done  bool
	moves bool // at is where the frontier is when this and all before it are done
	at    Position
	note  T
}

// Reset forgets everything; the frontier is at p.
func (l *Ledger[T]) Reset(p Position) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.first += uint64(len(l.open)) // what is on its way is not mistaken for what comes
	l.open, l.frontier = nil, p
}

// Open notes a record and returns its mark; marks are consecutive.
func (l *Ledger[T]) Open(note T) (mark uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = append(l.open, entry[T]{note: note})
	return l.first + uint64(len(l.open)-1)
}

// Forget takes back the record that was noted last: there is none.
func (l *Ledger[T]) Forget(mark uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.open); n > 0 && l.first+uint64(n-1) == mark {
		l.open = l.open[:n-1]
	}
}

// Pass says that when all that is open is done, everything up to p is.
func (l *Ledger[T]) Pass(p Position) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.open); n > 0 {
		l.open[n-1].at, l.open[n-1].moves = p, true
	} else {
		l.frontier = p
	}
}

// Done says that n records from mark on are acknowledged; each gets their notes.
func (l *Ledger[T]) Done(mark uint64, n int, each func(T)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range uint64(n) {
		if mark+i < l.first || mark+i-l.first >= uint64(len(l.open)) {
			continue // of before a Reset
		}
		e := &l.open[mark+i-l.first]
		if !e.done && each != nil {
			each(e.note)
		}
		e.done = true
	}
	k := 0
	for ; k < len(l.open) && l.open[k].done; k++ {
		if l.open[k].moves {
			l.frontier = l.open[k].at
		}
	}
	l.first += uint64(k)
	if l.open = l.open[k:]; len(l.open) == 0 {
		l.open = nil
	}
}

// Frontier is the position up to which everything is acknowledged.
func (l *Ledger[T]) Frontier() Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.frontier
}

// Last is the last position that was passed, acknowledged or not.
func (l *Ledger[T]) Last() Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := len(l.open) - 1; i >= 0; i-- {
		if l.open[i].moves {
			return l.open[i].at
		}
	}
	return l.frontier
}

// Len is how many records are between the frontier and the last one.
func (l *Ledger[T]) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.open)
}
