package cgroup

import (
	"encoding/binary"
	"errors"
	"log/slog"
	"os"

	"golang.org/x/sys/unix"
)

// tree knows the cgroups of one hierarchy as far as they are of interest. The kernel tells by
// inotify which directories have changed, and only these are read again; all of them are read
// once in five minutes, in case something was missed, and in every scrape where inotify
// cannot be had.
type tree struct {
	dir   string // where the hierarchy is mounted
	limit int    // of nodes that are reported, and again of those that only lead to others
	log   *slog.Logger

	root     *node
	reported int // nodes of a kind, and the others, but the root
	leading  int
	pods     int // nodes that are the root of the pods, or below
	leftOut  int // cgroups that there is no room for

	inotify int // -1: there is none
	watched map[int32]*node
	events  [16 << 10]byte
	readAll uint64 // time at which all directories were read last
	said    bool   // that inotify does not work
}

// node is a cgroup of interest.
type node struct {
	identity
	path     string // below the hierarchy's directory; empty: the root
	inode    uint64 // grows from cgroup to cgroup as they are made
	parent   *node
	children map[string]*node
	watch    int32 // -1: none
	changed  bool  // the directory has to be read
	leftOut  int   // of its children, those that there is no room for
	entity   *entity
}

// everything is how often all directories are read.
const everything = 5 * rareness

func newTree(dir string, limit int, log *slog.Logger) *tree {
	t := &tree{dir: dir, limit: limit, log: log, watched: map[int32]*node{}}
	t.root = &node{identity: identity{descend: true}, watch: -1, changed: true}
	var err error
	if t.inotify, err = unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC); err != nil {
		t.inotify = -1
		t.sayBlind(err)
	}
	return t
}

func (t *tree) close() {
	if t.inotify >= 0 {
		unix.Close(t.inotify)
		t.inotify = -1
	}
}

func (t *tree) sayBlind(err error) {
	if !t.said {
		t.said = true
		t.log.Warn("changes of cgroups cannot be watched; their directories are read in every scrape", "err", err, "see", "sysctl fs.inotify")
	}
}

// sweep brings the tree up to date. Nodes that appear are given to appear, those that vanish
// to vanish.
func (t *tree) sweep(now uint64, appear func(n *node, early bool), vanish func(n *node)) error {
	t.drain(vanish)
	all := now-t.readAll >= everything || now < t.readAll
	early := t.readAll == 0
	if all {
		t.readAll = now
	}
	return t.visit(t.root, all, early, appear, vanish)
}

// visit reads the directory of a node if need be, and visits what is below.
func (t *tree) visit(n *node, all, early bool, appear func(*node, bool), vanish func(*node)) (err error) {
	if n.descend && (n.changed || all || n.watch < 0) {
		err = t.read(n, early, appear, vanish)
	}
	for _, c := range n.children {
		if c.descend {
			if err2 := t.visit(c, all, early, appear, vanish); err == nil {
				err = err2
			}
		}
	}
	return err
}

func (t *tree) read(n *node, early bool, appear func(*node, bool), vanish func(*node)) error {
	t.watch(n) // before it is read, so that nothing is missed
	entries, err := os.ReadDir(t.dir + n.path)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		if n == t.root {
			return err
		}
		n.parent.changed = true // it is gone, which the next sweep finds
		return nil
	}
	if err != nil {
		return err
	}
	n.changed = false
	there := map[string]bool{}
	crowded := n.leftOut > 0
	t.leftOut -= n.leftOut
	n.leftOut = 0
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		name := e.Name()
		there[name] = true
		if n.children[name] != nil {
			continue
		}
		c := &node{identity: identify(n.path+"/"+name, n.identity), path: n.path + "/" + name, parent: n, watch: -1, changed: true}
		if c.kind == other && !c.descend {
			continue
		}
		of := &t.leading
		if c.kind != other {
			of = &t.reported
		}
		if *of >= t.limit {
			n.leftOut++
			t.leftOut++
			continue
		}
		var st unix.Stat_t
		if unix.Stat(t.dir+c.path, &st) != nil {
			continue // gone already
		}
		*of++
		if c.kube {
			t.pods++
		}
		c.inode = st.Ino
		if n.children == nil {
			n.children = map[string]*node{}
		}
		n.children[name] = c
		appear(c, early || crowded)
	}
	for name, c := range n.children {
		if !there[name] {
			t.drop(c, vanish)
		}
	}
	return nil
}

// drop forgets a node and what is below it. Where others were left out there is room again.
func (t *tree) drop(n *node, vanish func(*node)) {
	for _, c := range n.children {
		t.drop(c, vanish)
	}
	vanish(n)
	if n.watch >= 0 {
		unix.InotifyRmWatch(t.inotify, uint32(n.watch)) // EINVAL where the kernel has done it
		delete(t.watched, n.watch)
	}
	if n.kind != other {
		t.reported--
	} else {
		t.leading--
	}
	if n.kube {
		t.pods--
	}
	t.leftOut -= n.leftOut
	delete(n.parent.children, n.path[len(n.parent.path)+1:])
	if t.leftOut > 0 {
		t.readAll = 0
	}
}

// forget drops a node of which a file told that its cgroup is gone. The directory above is
// read again: one of the same name may have taken its place.
func (t *tree) forget(n *node, vanish func(*node)) {
	n.parent.changed = true
	t.drop(n, vanish)
}

func (t *tree) watch(n *node) {
	if n.watch >= 0 || t.inotify < 0 {
		return
	}
	wd, err := unix.InotifyAddWatch(t.inotify, t.dir+n.path, unix.IN_CREATE|unix.IN_DELETE|unix.IN_MOVE|unix.IN_ONLYDIR)
	if err != nil {
		if !errors.Is(err, unix.ENOENT) {
			t.sayBlind(err)
		}
		return
	}
	n.watch = int32(wd)
	t.watched[n.watch] = n
}

// drain takes in what the kernel tells of changed directories.
func (t *tree) drain(vanish func(*node)) {
	for t.inotify >= 0 {
		n, err := unix.Read(t.inotify, t.events[:])
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			return
		}
		for b := t.events[:n]; len(b) >= unix.SizeofInotifyEvent; {
			wd := int32(binary.NativeEndian.Uint32(b))
			mask := binary.NativeEndian.Uint32(b[4:])
			size := int(binary.NativeEndian.Uint32(b[12:]))
			name := b[unix.SizeofInotifyEvent : unix.SizeofInotifyEvent+size]
			b = b[unix.SizeofInotifyEvent+size:]
			t.event(wd, mask, name, vanish)
		}
	}
}

func (t *tree) event(wd int32, mask uint32, name []byte, vanish func(*node)) {
	if mask&unix.IN_Q_OVERFLOW != 0 {
		t.readAll = 0
		return
	}
	n := t.watched[wd]
	if n == nil {
		return
	}
	n.changed = true
	switch {
	case mask&unix.IN_IGNORED != 0:
		delete(t.watched, wd)
		n.watch = -1
	case mask&(unix.IN_DELETE|unix.IN_MOVED_FROM) != 0:
		// Another of the same name may be there by now: it must not be taken for this one.
		if c := n.children[string(trimNUL(name))]; c != nil {
			t.drop(c, vanish)
		}
	}
}

func trimNUL(name []byte) []byte {
	for len(name) > 0 && name[len(name)-1] == 0 {
		name = name[:len(name)-1]
	}
	return name
}
