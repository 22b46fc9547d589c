package workload

import (
	"bytes"
	"slices"
	"sort"
	"sync"
)

const (
	// maxWriters bounds the writers that are told apart: 10,000 containers
	// with two streams. Records of further ones count as foreign.
	maxWriters = 20000
	// maxRanges bounds the memory of one writer to 16 KiB, which is 1,000
	// gaps at a time.
	maxRanges = 1024
)

// Sequences accounts for records by the marks that Writer puts in front of
// their bodies. It keeps the numbers seen of each writer as sorted ranges, so
// records in order cost no memory. All methods may be called at the same time.
type Sequences struct {
	mu      sync.Mutex // guards all below
	writers map[string]*seen
	totals  Totals // without Missing and Writers
}

// Totals is what came. Records - Repeated is the number of different records.
type Totals struct {
	Records    int64 `json:"records"`      // with a mark
	Repeated   int64 `json:"repeated"`     // whose number had come before
	Missing    int64 `json:"missing"`      // numbers under a writer's highest that did not come
	OutOfOrder int64 `json:"out_of_order"` // that came for the first time, but after a higher one
	Foreign    int64 `json:"foreign"`      // without a mark; they are in no other figure
	Writers    int   `json:"writers"`
}

// Gap is a range of numbers that did not come, both ends included.
type Gap struct {
	Writer      string
	First, Last uint64
}

// seen is the set of numbers of one writer: ranges in order, no two of which
// touch.
type seen struct {
	ranges   []numbers
	distinct uint64 // numbers that came
}

type numbers struct{ first, last uint64 }

// Add accounts for one record. It does not keep body, and allocates nothing for
// a record in order of a writer that it knows.
func (s *Sequences) Add(body []byte) {
	writer, n, ok := parseMark(body)

	s.mu.Lock()
	defer s.mu.Unlock()
	if !ok {
		s.totals.Foreign++
		return
	}
	w := s.writers[string(writer)]
	if w == nil {
		if len(s.writers) == maxWriters {
			s.totals.Foreign++
			return
		}
		if s.writers == nil {
			s.writers = map[string]*seen{}
		}
		w = &seen{}
		s.writers[string(writer)] = w
	}
	s.totals.Records++
	switch w.add(n) {
	case repeated:
		s.totals.Repeated++
	case outOfOrder:
		s.totals.OutOfOrder++
	}
}

// Totals may be called at any time.
func (s *Sequences) Totals() Totals {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.totals
	t.Writers = len(s.writers)
	for _, w := range s.writers {
		t.Missing += int64(w.highest() - w.distinct)
	}
	return t
}

// Gaps returns up to limit gaps, by writer and number. It does not know those
// that were closed to keep to maxRanges; Missing does.
func (s *Sequences) Gaps(limit int) []Gap {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := make([]string, 0, len(s.writers))
	for name := range s.writers {
		names = append(names, name)
	}
	slices.Sort(names)
	var gaps []Gap
	for _, name := range names {
		next := uint64(1)
		for _, r := range s.writers[name].ranges {
			if r.first > next && len(gaps) < limit {
				gaps = append(gaps, Gap{Writer: name, First: next, Last: r.first - 1})
			}
			next = r.last + 1
		}
	}
	return gaps
}

// parseMark reads "w=<writer> seq=<n>", ended by a space or the end.
func parseMark(body []byte) (writer []byte, n uint64, ok bool) {
	rest, ok := bytes.CutPrefix(body, []byte("w="))
	if !ok {
		return nil, 0, false
	}
	// A name is short: a body without a space is not searched to its end.
	end := bytes.IndexByte(rest[:min(len(rest), 64)], ' ')
	if end < 1 {
		return nil, 0, false
	}
	writer = rest[:end]
	rest, ok = bytes.CutPrefix(rest[end+1:], []byte("seq="))
	if !ok {
		return nil, 0, false
	}
	for i, c := range rest {
		if c == ' ' {
			return writer, n, n > 0
		}
		if c < '0' || c > '9' || i > 17 { // 18 digits always fit
			return nil, 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return writer, n, n > 0
}

type order int

const (
	inOrder order = iota
	repeated
	outOfOrder
)

func (w *seen) highest() uint64 {
	if len(w.ranges) == 0 {
		return 0
	}
	return w.ranges[len(w.ranges)-1].last
}

func (w *seen) add(n uint64) order {
	if n > w.highest() {
		w.distinct++
		if last := len(w.ranges) - 1; last >= 0 && w.ranges[last].last+1 == n {
			w.ranges[last].last = n
			return inOrder
		}
		w.ranges = append(w.ranges, numbers{n, n})
		w.limit()
		return inOrder
	}

	// The first range that ends at n or later exists, as n is not the highest.
	i := sort.Search(len(w.ranges), func(i int) bool { return w.ranges[i].last >= n })
	if w.ranges[i].first <= n {
		return repeated
	}
	w.distinct++
	joinsLeft := i > 0 && w.ranges[i-1].last+1 == n
	joinsRight := w.ranges[i].first == n+1
	switch {
	case joinsLeft && joinsRight:
		w.ranges[i-1].last = w.ranges[i].last
		w.ranges = slices.Delete(w.ranges, i, i+1)
	case joinsLeft:
		w.ranges[i-1].last = n
	case joinsRight:
		w.ranges[i].first = n
	default:
		w.ranges = slices.Insert(w.ranges, i, numbers{n, n})
		w.limit()
	}
	return outOfOrder
}

// limit closes the lowest gap when there are too many ranges. Its numbers stay
// missing; one that comes after all is taken for repeated.
func (w *seen) limit() {
	if len(w.ranges) <= maxRanges {
		return
	}
	w.ranges[1].first = w.ranges[0].first
	w.ranges = slices.Delete(w.ranges, 0, 1)
}
