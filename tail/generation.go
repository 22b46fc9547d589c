package tail

import (
	"cmp"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"stint/export/otlp"
)

// generation is a log file found in a container's directory.
type generation struct {
	path    string
	restart int
	order   string // as in file
	gz      bool
}

// readLogs opens the logs of a container that are new and learns the new names of the others.
// Older generations come first, and reading starts when all are there: it must not begin with
// a later one.
func (s *scanner) readLogs(d *dir, entries []fs.DirEntry) {
	d.links = d.links[:0]
	d.chains = slices.DeleteFunc(d.chains, func(c *chain) bool { return s.t.chains[c.key] != c })
	var found []generation
	paths := make(map[string]bool, len(entries))
	for _, e := range entries {
		restart, stamp, gz, ok := parseLogName(e.Name())
		if !ok {
			continue
		}
		g := generation{filepath.Join(d.path, e.Name()), restart, stamp, gz}
		paths[g.path] = true
		if stamp == "" {
			g.order = live
			if e.Type()&fs.ModeSymlink != 0 {
				d.links = append(d.links, g.path)
			}
		}
		found = append(found, g)
	}
	// A plain file comes before its compressed copy: the kubelet deletes it only after.
	sort.Slice(found, func(i, j int) bool {
		return cmp.Or(strings.Compare(found[i].order, found[j].order), strings.Compare(found[i].path, found[j].path)) < 0
	})
	var grown []*chain
	for _, g := range found {
		c := s.generation(d, g)
		if c != nil && !slices.Contains(grown, c) {
			grown = append(grown, c)
		}
	}
	for _, c := range d.chains {
		c.mu.Lock()
		s.t.forgetKept(c, paths)
		c.mu.Unlock()
	}
	for _, c := range grown {
		s.taken(c)
	}
}

// generation takes one log file in; it returns its chain if the file is new.
func (s *scanner) generation(d *dir, g generation) *chain {
	var st unix.Stat_t
	if err := unix.Stat(g.path, &st); err != nil {
		if !slices.Contains(d.links, g.path) { // a dangling link is usual, a name that is gone was renamed just now
			s.doubt(d)
		}
		return nil
	}
	key := d.path + "/" + strconv.Itoa(g.restart)
	c := s.t.chains[key]
	if c != nil && !slices.Contains(d.chains, c) { // the directory was removed and made again
		d.chains = append(d.chains, c)
	}
	if g.gz {
		return s.compressed(d, c, key, g)
	}
	if c != nil {
		if f := c.find(uint64(st.Dev), st.Ino); f != nil {
			c.mu.Lock()
			f.path, f.order = g.path, g.order
			c.mu.Unlock()
			return nil
		}
	}
	f, err := s.openLog(g.path, openFile)
	if err != nil {
		d.mtime = 0 // unreadable, or renamed just now: the next sweep tries again
		return nil
	}
	if c != nil && c.find(f.dev, f.ino) != nil { // renamed just now
		s.doubt(d)
		f.close()
		return nil
	}
	f.order = g.order
	if c == nil {
		c = s.addChain(d, key, g.restart)
	} else if g.order == live {
		c.renamedAway()
	}
	s.t.add(c, f)
	return c
}

func (s *scanner) addChain(d *dir, key string, restart int) *chain {
	c := s.containerChain(d, key, restart)
	s.t.chains[key] = c
	d.chains = append(d.chains, c)
	return c
}

// compressed takes a compressed log in, unless its content was followed while it was plain.
func (s *scanner) compressed(d *dir, c *chain, key string, g generation) *chain {
	if c != nil {
		c.mu.Lock()
		known := c.knows(g.order)
		if i := slices.IndexFunc(c.files, func(f *file) bool { return f.order == g.order }); i >= 0 {
			c.useCompressed(c.files[i], g.path)
		}
		c.mu.Unlock()
		if known {
			return nil
		}
	}
	first := s.t.store.fresh && s.t.cfg.StartAt == "end" && !s.started
	f, err := s.openLog(g.path, openCompressed)
	if err != nil {
		d.mtime = 0 // the next sweep tries again
		return nil
	}
	if c == nil {
		c = s.addChain(d, key, g.restart)
	} else if c.recognize(f, g) {
		f.close()
		return nil
	}
	f.order = g.order
	r, done := s.t.store.claimKept(g.path, f.size.Load())
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case done:
		c.kept = append(c.kept, keptFile{id: r.ID, order: g.order, path: g.path})
	case first:
		s.t.keepName(c, g.order, g.path, f.size.Load())
	default:
		c.insert(f)
		return c
	}
	f.close()
	return nil
}

// renamedAway says that the live file of before is not it any more, whatever its name is now:
// it is newer than all that have a stamp and older than the new live file.
func (c *chain) renamedAway() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.files {
		if f.order == live {
			f.order = unnamed
		}
	}
}

// openLog opens a log by openFile or openCompressed.
func (s *scanner) openLog(path string, open func(string) (*file, error)) (*file, error) {
	if s.open+s.openDirs >= s.maxOpen {
		err := fmt.Errorf("%d log files are open, all that the limit of open files allows; raise it (LimitNOFILE, ulimit -n) or exclude some", s.open)
		s.openFailed(path, err)
		return nil, err
	}
	f, err := open(path)
	if err != nil {
		s.openFailed(path, err)
		return nil, err
	}
	s.open++
	delete(s.failing, path)
	return f, nil
}

// openFailed says once a path what is wrong; the sweeps try again.
func (s *scanner) openFailed(path string, err error) {
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	s.t.stats.openErrors.Add(1)
	_, said := s.failing[path]
	if said || len(s.failing) < maxFailing {
		s.failing[path] = time.Now()
	}
	if !said {
		s.t.log.Warn("log can't be opened; it is tried again each second", "file", path, "err", err)
	}
}

const (
	// maxFailing is how many paths that can't be opened are told apart.
	maxFailing = 10_000
	// forgiveAfter is how long a path must not have failed to be well again.
	forgiveAfter = 10 * time.Second
)

// forgive forgets the paths that did not fail lately: they were opened, or are gone.
func (s *scanner) forgive(now time.Time) {
	for path, last := range s.failing {
		if now.Sub(last) > forgiveAfter {
			delete(s.failing, path)
		}
	}
	s.denied.Store(int64(len(s.failing)))
}

// container says whose log a chain is.
type container struct {
	uid, name string
	restart   int
}

// containerChain makes the chain of one incarnation of a container.
func (s *scanner) containerChain(d *dir, key string, restart int) *chain {
	c := s.newChain(key)
	c.who = container{d.pod.uid, d.name, restart}
	c.headers = true
	c.multiline, c.parse = s.t.cfg.Multiline, s.t.cfg.Parse
	c.base = append(slices.Clone(s.t.resource),
		otlp.Attr("k8s.namespace.name", d.pod.namespace),
		otlp.Attr("k8s.pod.name", d.pod.name),
		otlp.Attr("k8s.pod.uid", d.pod.uid),
		otlp.Attr("k8s.container.name", d.name),
		otlp.KeyValue{Key: "k8s.container.restart_count", Value: otlp.Int(int64(restart))})
	c.encoded = s.t.rules.container
	c.wanted = c.newProfile(nil)
	if s.t.lookup == nil {
		c.base = nil // nothing more is going to be learnt
	}
	return c
}

func (s *scanner) newChain(key string) *chain {
	h := fnv.New32a()
	h.Write([]byte(key))
	now := s.t.clock()
	c := &chain{t: s.t, key: key, lane: h.Sum32(), askUntil: now + metadataWait}
	c.caughtUp.Store(now)
	return c
}

// find returns the open file with the inode.
func (c *chain) find(dev, ino uint64) *file {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, list := range [2][]*file{c.files, c.drained} {
		for _, f := range list {
			if f.dev == dev && f.ino == ino {
				return f
			}
		}
	}
	return nil
}
