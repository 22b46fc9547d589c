package state

import (
	"fmt"
	"hash/fnv"
	"io"
	"sync"

	"k8s.io/client-go/tools/cache"
)

// store keeps the rows of a kind, of one namespace or of all. A reflector writes it: its goroutine
// turns objects into rows, so that not even its list holds objects. It implements
// cache.TransformingStore.
type store struct {
	kind *kind
	b    builder
	lane uint32 // of the first of its lanes

	change   func(k key, old, now *slice) // nil, or told of each change
	complete func(*row) *row              // nil, or adds to a row what comes from elsewhere
	full     func()                       // nil, or told of each row whose points are left out; see maxKindSeries

	mu     sync.Mutex // guards everything below
	slots  []slot     // a slot keeps its place, so that a walk meets each once
	index  map[key]uint32
	free   []uint32
	ended  []slot // objects that are gone and whose series were not closed yet
	lost   int    // that were not remembered; see maxEnded
	series int    // of all rows, if full is set
	synced bool   // listed once
	failed bool   // could not be read last
	told   bool   // that was logged
}

// maxEnded bounds how many objects wait for the closing of their series: 64 MB. Between two
// intervals so many go only when someone deletes whole namespaces and destinations are stuck.
const maxEnded = 100_000

func newStore(k *kind, b builder) *store {
	h := fnv.New32a()
	io.WriteString(h, "state/"+k.name)
	return &store{kind: k, b: b, lane: h.Sum32(), index: map[key]uint32{}}
}

// transform gives the row of an object, or what it gets if that is a row.
func (s *store) transform(obj any) (any, error) {
	switch o := obj.(type) {
	case *row:
		return o, nil
	case cache.DeletedFinalStateUnknown: // the reflector makes none, but its store must know it
		return s.transform(o.Obj)
	}
	r := s.kind.row(&s.b, obj)
	if r == nil {
		return nil, fmt.Errorf("bug: a %T among %s", obj, s.kind.name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// Most updates change nothing that is told, and a list after a restart of the server has what
	// there is already: the old row stays, so that a second list takes no second memory.
	if i, ok := s.index[r.key]; ok && s.slots[i].row.equal(r) {
		return s.slots[i].row, nil
	}
	return r, nil
}

// Transformer implements cache.TransformingStore.
func (s *store) Transformer() cache.TransformFunc { return s.transform }

// Add implements cache.ReflectorStore.
func (s *store) Add(obj any) error { return s.Update(obj) }

// Update implements cache.ReflectorStore.
func (s *store) Update(obj any) error {
	r, err := s.transform(obj)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(r.(*row))
	return nil
}

// Delete implements cache.ReflectorStore.
func (s *store) Delete(obj any) error {
	r, err := s.transform(obj)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(r.(*row).key)
	return nil
}

// Replace implements cache.ReflectorStore: what is not in the list is gone, whether a deletion was
// seen or not.
func (s *store) Replace(list []any, _ string) error {
	rows := make(map[key]bool, len(list))
	for i, obj := range list {
		r, err := s.transform(obj)
		if err != nil {
			return err
		}
		list[i] = r // the object may go
		rows[r.(*row).key] = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range s.index {
		if !rows[k] {
			s.drop(k)
		}
	}
	for _, r := range list {
		s.put(r.(*row))
	}
	s.synced = true
	return nil
}

// Resync implements cache.ReflectorStore; there is none.
func (s *store) Resync() error { return nil }

// put needs s.mu.
func (s *store) put(r *row) {
	i, ok := s.index[r.key]
	var old *row
	if ok {
		old = s.slots[i].row
	}
	if s.full != nil {
		r = s.fit(r, old)
	}
	switch {
	case ok:
		s.slots[i].row = r
	case len(s.free) > 0:
		i = s.free[len(s.free)-1]
		s.free = s.free[:len(s.free)-1]
		s.index[r.key], s.slots[i] = i, slot{row: r}
	default:
		s.index[r.key] = uint32(len(s.slots))
		s.slots = append(s.slots, slot{row: r})
	}
	if s.change != nil {
		s.change(r.key, old.slices(), r.slice)
	}
}

// fit leaves out the points of a row for which there is no room among those of the kind. Needs s.mu.
func (s *store) fit(r, old *row) *row {
	s.series -= old.series()
	if n := r.series(); s.series+n <= maxKindSeries {
		s.series += n
		return r
	}
	s.full()
	bare := *r
	bare.points = ""
	return &bare
}

// series is how many points a row, if there is one, has of its own.
func (r *row) series() (n int) {
	if r == nil {
		return 0
	}
	for p := r.points; p != ""; n++ {
		_, p = nextPoint(p)
	}
	return n
}

// slices is what a row, if there is one, has of an EndpointSlice.
func (r *row) slices() *slice {
	if r == nil {
		return nil
	}
	return r.slice
}

// drop needs s.mu.
func (s *store) drop(k key) {
	i, ok := s.index[k]
	if !ok {
		return
	}
	old := s.slots[i]
	if s.full != nil {
		s.series -= old.row.series()
	}
	delete(s.index, k)
	s.slots[i] = slot{}
	s.free = append(s.free, i)
	if s.change != nil {
		s.change(k, old.row.slice, nil)
	}
	if old.sent == nil {
		return // nobody has heard of it
	}
	old.row = nil
	s.end(old)
}

// end remembers that the series of an object are to be closed. Needs s.mu.
func (s *store) end(sl slot) {
	if len(s.ended) < maxEnded {
		s.ended = append(s.ended, sl)
	} else {
		s.lost++
	}
}

// work says that the kind can be read, and whether the opposite was told.
func (s *store) work() (again bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	again, s.failed, s.told = s.told, false, false
	return again
}

// fail says that the kind can't be read.
func (s *store) fail() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = true
}

// tell says whether that is to be told.
func (s *store) tell() (first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	first, s.told = !s.told, true
	return first
}

// ready says whether what there is of the kind is known, or can't be.
func (s *store) ready() (synced, settled bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.synced, s.synced || s.failed
}

// owner finds the controller of an object by its key.
func (s *store) owner(k key) ownerHandle {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, ok := s.index[k]; ok {
		return s.slots[i].row.owner
	}
	return noOwner
}

// size is how many rows there are.
func (s *store) size() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.index)
}

// walkBlock is how many slots a walk takes at once; the reflector waits meanwhile for microseconds.
const walkBlock = 64

// places is how many places a walk has to look at.
func (s *store) places() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.slots)
}

// take copies the slots from i on that are not empty, with their places.
func (s *store) take(i int, to *[walkBlock]slot, at *[walkBlock]int) (n, next int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ; i < len(s.slots) && n < walkBlock; i++ {
		if s.slots[i].row != nil {
			if s.complete != nil {
				s.slots[i].row = s.complete(s.slots[i].row)
			}
			to[n], at[n] = s.slots[i], i
			n++
		}
	}
	return n, i
}

// put back what was sent of the slots of take, unless another object has the place now. An object that
// went away meanwhile is among the ended, without what was sent last.
func (s *store) mark(from []slot, at []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range from {
		f := &from[i]
		if f.sent == nil {
			continue
		}
		if j, ok := s.index[f.sent.key]; ok && int(j) == at[i] {
			s.slots[j].sent, s.slots[j].top = f.sent, f.top
			continue
		}
		gone := slot{sent: f.sent, top: f.top}
		found := false
		for k := len(s.ended) - 1; k >= 0 && !found; k-- {
			if s.ended[k].sent.key == f.sent.key {
				s.ended[k], found = gone, true
			}
		}
		if !found {
			s.end(gone)
		}
	}
}

// takeEnded gives the objects whose series are to be closed, and how many were forgotten.
func (s *store) takeEnded() (ended []slot, lost int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ended, lost = s.ended, s.lost
	s.ended, s.lost = nil, 0
	return ended, lost
}

// keepEnded takes back those that could not be sent.
func (s *store) keepEnded(ended []slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if room := maxEnded - len(s.ended); len(ended) > room {
		s.lost += len(ended) - room
		ended = ended[:room]
	}
	s.ended = append(s.ended, ended...)
}
