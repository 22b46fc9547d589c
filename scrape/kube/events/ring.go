package events

import (
	"encoding/binary"
	"errors"
	"hash/fnv"
	"time"
)

const (
	// maxEntries is how many events are remembered: 9 a second for an hour, the time for which the API
	// server keeps them. In the checkpoint they are some 450 KB.
	maxEntries = 32 << 10
	// maxPending bounds the events that wait for their turn, 1 to 2 KB each.
	maxPending = 4096
	// An event that repeats is sent again after the first of these, and then each time that the second
	// one has passed.
	firstWindow  = 10 * time.Second
	repeatWindow = time.Minute
)

// ring remembers how often the latest events happened, as far as that was sent. It is no store of
// events: of each it keeps hashes of its name and uid, and two counts.
//
// The name is what counts go by: an event that goes on for longer than the API server keeps one is
// made anew by its reporter, with another uid, the same name, and the count that it had.
type ring struct {
	entries []entry
	byName  map[uint64]int32
	oldest  int32 // of a list through entries, in the order in which they were touched
	newest  int32
	pending map[uint64]*pending // by name
}

type entry struct {
	name         uint64
	uid          uint32
	taken        int64 // count of the last record
	acked        int64 // count of the last one that was acknowledged
	sent         time.Time
	window       time.Duration // in which no other is sent
	older, newer int32
}

// pending is an event that waits for its turn.
type pending struct {
	e    *event
	mark uint64
	due  time.Time
	of   *target
}

// turn is one whose turn it is; delta is by how much its count has grown.
type turn struct {
	*pending
	delta int64
}

const none = -1

func newRing() *ring {
	return &ring{byName: map[uint64]int32{}, oldest: none, newest: none, pending: map[uint64]*pending{}}
}

// hashes of an event are stable: they lie in the checkpoint.
func hashes(e *event) (name uint64, uid uint32) {
	h := fnv.New64a()
	h.Write([]byte(e.Metadata.Namespace + "/" + e.Metadata.Name))
	u := fnv.New32a()
	u.Write([]byte(e.Metadata.UID))
	return h.Sum64(), u.Sum32()
}

// get finds an event, and makes it the latest.
func (r *ring) get(name uint64) *entry {
	i, ok := r.byName[name]
	if !ok {
		return nil
	}
	r.unlink(i)
	r.link(i)
	return &r.entries[i]
}

// add remembers one more, in place of the oldest one that does not wait for anything if there are too
// many.
func (r *ring) add(name uint64, uid uint32) *entry {
	var i int32
	if len(r.entries) < maxEntries {
		r.entries = append(r.entries, entry{})
		i = int32(len(r.entries) - 1)
	} else {
		for i = r.oldest; r.pending[r.entries[i].name] != nil; {
			i = r.entries[i].newer // fewer wait than are remembered
		}
		delete(r.byName, r.entries[i].name)
		r.unlink(i)
	}
	r.entries[i] = entry{name: name, uid: uid}
	r.byName[name] = i
	r.link(i)
	return &r.entries[i]
}

func (r *ring) unlink(i int32) {
	e := &r.entries[i]
	if e.older == none {
		r.oldest = e.newer
	} else {
		r.entries[e.older].newer = e.newer
	}
	if e.newer == none {
		r.newest = e.older
	} else {
		r.entries[e.newer].older = e.older
	}
}

func (r *ring) link(i int32) {
	e := &r.entries[i]
	e.older, e.newer = r.newest, none
	if r.newest == none {
		r.oldest = i
	} else {
		r.entries[r.newest].newer = i
	}
	r.newest = i
}

// acknowledge notes that a count was.
func (r *ring) acknowledge(n sent) {
	if i, ok := r.byName[n.name]; ok && r.entries[i].uid == n.uid {
		r.entries[i].acked = max(r.entries[i].acked, n.count)
	}
}

// digest is what is acknowledged, the oldest first.
func (r *ring) digest() []byte {
	b := make([]byte, 0, 14*len(r.entries))
	for i := r.oldest; i != none; i = r.entries[i].newer {
		if e := &r.entries[i]; e.acked > 0 {
			b = binary.LittleEndian.AppendUint64(b, e.name)
			b = binary.LittleEndian.AppendUint32(b, e.uid)
			b = binary.AppendUvarint(b, uint64(e.acked))
		}
	}
	return b
}

var errDigest = errors.New("the counts of events are torn")

// load remembers what is in a digest.
func (r *ring) load(b []byte) error {
	for len(b) > 0 {
		if len(b) < 13 {
			return errDigest
		}
		name, uid := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint32(b[8:])
		count, n := binary.Uvarint(b[12:])
		if n <= 0 || int64(count) <= 0 {
			return errDigest
		}
		b = b[12+n:]
		e := r.get(name)
		if e == nil {
			e = r.add(name, uid)
		}
		e.uid, e.taken, e.acked = uid, int64(count), int64(count)
	}
	return nil
}
