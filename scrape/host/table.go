package host

import "slices"

// table keeps what is known of each device that a kernel file lists, under its name, for as
// long as it is listed. A scrape begins with begin, asks get for each line, and ends with
// sweep.
type table[T any] struct {
	list   []*T // in the order in which they appeared, so that points keep their order
	byName map[string]*entry[T]
	scrape uint64
	seen   int // entries that the current scrape has so far
}

type entry[T any] struct {
	val  T
	seen uint64 // the scrape that last had it
}

func (t *table[T]) begin() {
	t.scrape++
	t.seen = 0
}

// get returns what is known of name and whether that is nothing yet; what it points at is the
// caller's to fill.
func (t *table[T]) get(name []byte) (v *T, fresh bool) {
	if e := t.byName[string(name)]; e != nil {
		if e.seen != t.scrape {
			e.seen = t.scrape
			t.seen++
		}
		return &e.val, false
	}
	if t.byName == nil {
		t.byName = map[string]*entry[T]{}
	}
	e := &entry[T]{seen: t.scrape}
	t.byName[string(name)] = e
	t.seen++
	t.list = append(t.list, &e.val)
	return &e.val, true
}

// sweep forgets what the scrape did not have.
func (t *table[T]) sweep() {
	if t.seen == len(t.byName) {
		return
	}
	for name, e := range t.byName {
		if e.seen != t.scrape {
			delete(t.byName, name)
			t.list = slices.DeleteFunc(t.list, func(v *T) bool { return v == &e.val })
		}
	}
}
