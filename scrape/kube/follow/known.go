package follow

import (
	"encoding/hex"
	"hash/fnv"
	"slices"
	"strings"
	"sync"
	"unique"
)

const (
	// maxKept is of how many objects a checkpoint can name those that there were.
	maxKept = 8 << 10
	// maxUndo is how many changes may lie between what is acknowledged and what was read for that.
	maxUndo = 16 << 10
)

// known are the objects that there are, so that those can be told that went while nobody looked. It
// also remembers how it was at the positions that are not acknowledged yet, for the checkpoint: which
// objects a target had there, exactly.
type known struct {
	mu      sync.Mutex // guards everything below
	objects map[uid]object
	list    uint32 // number of the last list
	from    string // objects that went before this resourceVersion was reached are not known

	seq   uint64 // of the last position that was passed
	blind uint64 // how it was before this one is not known
	undo  []undo // what leads back, the newest last
}

type uid [16]byte

type object struct {
	namespace unique.Handle[string]
	name      string
	list      uint32 // the last one that it was in
	later     bool   // it may be that it was not there yet: see Objects
}

// undo is what a change replaced.
type undo struct {
	seq    uint64 // of the first position that is behind the change
	begins bool   // of a list
	of     uid
	was    object
	there  bool // was it?
}

// Objects are those that a target had at a [Position].
type Objects struct {
	There Names `json:"there"`
	// Of a list that is under way: those that were there before and are on none of its pages so far.
	Unlisted Names `json:"unlisted,omitempty"`
	// Those that came later. It may be that somebody was told of them, though not all before was acknowledged.
	Later Names `json:"later,omitempty"`
}

// Names are those of objects by namespace and uid, in 32 hex digits.
type Names map[string]map[string]string

func (n *Names) add(o object, u uid) {
	ns := o.namespace.Value()
	if *n == nil {
		*n = Names{}
	}
	if (*n)[ns] == nil {
		(*n)[ns] = map[string]string{}
	}
	(*n)[ns][hex.EncodeToString(u[:])] = o.name
}

// Bytes is about what they take in a checkpoint.
func (o *Objects) Bytes() (n int) {
	for _, names := range []Names{o.There, o.Unlisted, o.Later} {
		for ns, all := range names {
			n += len(ns)
			for _, name := range all {
				n += len(name) + 24 // a uid is 16 bytes, whatever it is compressed with
			}
		}
	}
	return n
}

// newKnown knows nothing yet, or what there was when a process before this one ended.
func newKnown(kept *Objects) *known {
	k := &known{objects: map[uid]object{}, blind: 1}
	if kept == nil {
		return k
	}
	k.blind, k.list = 0, 1
	k.load(kept.Later, object{later: true})
	k.load(kept.There, object{list: 1})
	k.load(kept.Unlisted, object{})
	return k
}

// load adds objects by name.
func (k *known) load(n Names, o object) {
	for ns, all := range n {
		o.namespace = unique.Make(ns)
		for text, name := range all {
			if b, err := hex.DecodeString(text); err == nil && len(b) == len(uid{}) {
				o.name = name
				k.objects[uid(b)] = o
			}
		}
	}
}

// uidOf is the number that a uid is, or a hash of what it is else: of the name, if there is none.
func uidOf(id *Identity) (u uid) {
	s := id.UID
	if len(s) == 36 {
		var b [32]byte
		if plain := strings.ReplaceAll(s, "-", ""); len(plain) == 32 {
			copy(b[:], plain)
			if _, err := hex.Decode(u[:], b[:]); err == nil {
				return u
			}
		}
	}
	if s == "" {
		s = id.Namespace + "/" + id.Name
	}
	h := fnv.New64a() // the same in every process
	h.Write([]byte(s))
	h.Sum(u[:0])
	for i := range 8 {
		u[8+i] = 0xff // no UUID has these
	}
	return u
}

// String is the uid, "" of a hash.
func (u uid) String() string {
	if string(u[8:]) == "\xff\xff\xff\xff\xff\xff\xff\xff" {
		return ""
	}
	s := hex.EncodeToString(u[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// note remembers what a change replaces. Needs mu.
func (k *known) note(n undo) {
	if len(k.undo) <= maxUndo {
		n.seq = k.seq + 1
		k.undo = append(k.undo, n)
	}
}

// begin begins a list.
func (k *known) begin() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.list++
	k.note(undo{begins: true})
}

// add notes that an object is there; old says that it was known.
func (k *known) add(id *Identity) (old bool) {
	u := uidOf(id)
	k.mu.Lock()
	defer k.mu.Unlock()
	o, there := k.objects[u]
	if there && o.list == k.list && !o.later {
		return true
	}
	k.note(undo{of: u, was: o, there: there})
	old = there && !o.later
	if !there {
		o.namespace, o.name = unique.Make(id.Namespace), id.Name
	}
	o.list, o.later = k.list, false
	k.objects[u] = o
	return old
}

// remove notes that an object is gone.
func (k *known) remove(u uid) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if o, there := k.objects[u]; there {
		k.note(undo{of: u, was: o, there: true})
		delete(k.objects, u)
	}
}

// change notes what a watch says.
func (k *known) change(kind string, id *Identity) {
	if kind == Deleted {
		k.remove(uidOf(id))
		return
	}
	k.add(id)
}

// learned says that objects that went before version was reached are not known; "": all are.
func (k *known) learned(version string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.from = version
}

// whole says whether no object can have gone unknown.
func (k *known) whole() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.from == ""
}

// reached says how far a watch is.
func (k *known) reached(version string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.from != "" && !Newer(k.from, version) {
		k.from, k.blind, k.undo = "", k.seq+1, nil
	}
}

// vanished calls gone with the objects that were not in the last list, in the order of their names, and
// forgets them.
func (k *known) vanished(gone func(*Identity) error) error {
	type lost struct {
		Identity
		u uid
	}
	var all []lost
	k.mu.Lock()
	for u, o := range k.objects {
		if o.list != k.list {
			all = append(all, lost{Identity{Namespace: o.namespace.Value(), Name: o.name, UID: u.String()}, u})
		}
	}
	k.mu.Unlock()
	slices.SortFunc(all, func(a, b lost) int {
		if c := strings.Compare(a.Namespace, b.Namespace); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	for i := range all {
		if err := gone(&all[i].Identity); err != nil {
			return err
		}
		k.remove(all[i].u)
	}
	return nil
}

// pass numbers a position that is behind all changes so far.
func (k *known) pass() uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.seq++
	if k.from != "" || len(k.objects) > maxKept || len(k.undo) > maxUndo {
		k.blind, k.undo = k.seq+1, nil
	}
	return k.seq
}

// at is what there was at a position, nil if that is not known. Positions before it are of no interest
// any more.
func (k *known) at(p Position) *Objects {
	k.mu.Lock()
	defer k.mu.Unlock()
	done, _ := slices.BinarySearchFunc(k.undo, p.seq+1, func(n undo, seq uint64) int { return int(int64(n.seq) - int64(seq)) })
	k.undo = slices.Delete(k.undo, 0, done)
	if p.seq < k.blind {
		return nil
	}
	list := k.list
	was := map[uid]undo{}
	now := map[uid]object{} // what changed and was there at some time
	for _, n := range slices.Backward(k.undo) {
		if n.begins {
			list--
			continue
		}
		was[n.of] = n
		if n.there {
			now[n.of] = n.was
		}
	}
	all := &Objects{There: Names{}}
	put := func(o object, u uid) {
		switch {
		case o.later:
			all.Later.add(o, u)
		case p.Listing && o.list != list:
			all.Unlisted.add(o, u)
		default:
			all.There.add(o, u)
		}
	}
	for u, o := range k.objects {
		if n, changed := was[u]; !changed {
			put(o, u)
		} else if !n.there {
			all.Later.add(o, u)
		}
	}
	for u, n := range was {
		if n.there {
			put(n.was, u)
		} else if o, ok := now[u]; ok {
			all.Later.add(o, u)
		}
	}
	return all
}
