package follow

import (
	"encoding/hex"
	"hash/maphash"
	"strings"
)

// known are the objects that there are, so that those can be told that went while nobody looked.
type known struct {
	objects    map[uid]object
	namespaces map[string]string // each once in memory
	list       uint32            // number of the last list
	from       string            // objects that went before this resourceVersion was reached are not known
}

type uid [16]byte

type object struct {
	namespace, name string
	list            uint32 // the last one that it was in
}

func newKnown() *known {
	return &known{objects: map[uid]object{}, namespaces: map[string]string{}}
}

var seed = maphash.MakeSeed()

// uidOf is the number that a uid is, or a hash of what it is else.
func uidOf(s string) (u uid) {
	if len(s) == 36 {
		var b [32]byte
		if plain := strings.ReplaceAll(s, "-", ""); len(plain) == 32 {
			copy(b[:], plain)
			if _, err := hex.Decode(u[:], b[:]); err == nil {
				return u
			}
		}
	}
	h := maphash.String(seed, s)
	for i := range 8 {
		u[i], u[8+i] = byte(h>>(8*i)), 0xff // no UUID has these
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

// begin begins a list.
func (k *known) begin() { k.list++ }

// add notes that an object is there; old says that it was known.
func (k *known) add(id *Identity) (old bool) {
	u := uidOf(id.UID)
	o, old := k.objects[u]
	if !old {
		ns, ok := k.namespaces[id.Namespace]
		if !ok {
			ns = strings.Clone(id.Namespace)
			k.namespaces[ns] = ns
		}
		o.namespace, o.name = ns, id.Name
	}
	o.list = k.list
	k.objects[u] = o
	return old
}

// change notes what a watch says.
func (k *known) change(kind string, id *Identity) {
	if kind == Deleted {
		delete(k.objects, uidOf(id.UID))
		return
	}
	k.add(id)
}

// reached says how far a watch is.
func (k *known) reached(version string) {
	if k.from != "" && !Newer(k.from, version) {
		k.from = ""
	}
}

// vanished calls gone with the objects that were not in the last list, and forgets them.
func (k *known) vanished(gone func(*Identity) error) error {
	for u, o := range k.objects {
		if o.list == k.list {
			continue
		}
		if err := gone(&Identity{Namespace: o.namespace, Name: o.name, UID: u.String()}); err != nil {
			return err
		}
		delete(k.objects, u)
	}
	return nil
}
