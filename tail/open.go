package tail

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Open are files that a Tailer has open and has not delivered to their ends. The next one in the same process goes on
// with them, because some have no name any more, or none that it would look for.
type Open struct{ files []openLog }

// openLog is a file with what its chain is made of.
type openLog struct {
	*file
	key   string     // of the chain
	plain *plainFile // nil: a container's
}

// Close closes the files that nobody took.
func (o *Open) Close() {
	if o == nil {
		return
	}
	for _, f := range o.files {
		f.close()
	}
	o.files = nil
}

// Leave is Close, but that files with something left stay open.
func (t *Tailer) Leave() (*Open, error) {
	t.stopSaving()
	err := t.save(true)
	open := &Open{}
	t.mu.Lock()
	for _, c := range t.chains {
		c.mu.Lock()
		keep := func(f *file) bool {
			return f.f != nil && f.gz == nil && f.look(t.clock()) == nil && f.frontier < f.size.Load() // a compressed one is found again
		}
		for _, list := range [2]*[]*file{&c.drained, &c.files} {
			*list = slices.DeleteFunc(*list, func(f *file) bool {
				if !keep(f) {
					return false
				}
				open.files = append(open.files, openLog{f, c.key, t.scan.plain[c.key]})
				return true
			})
		}
		c.mu.Unlock()
	}
	t.mu.Unlock()
	if e := t.Close(); err == nil {
		err = e
	}
	return open, err
}

// inherit takes in what the Tailer of before left, ahead of everything that is found.
func (s *scanner) inherit() {
	if s.t.inherited == nil {
		return
	}
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	for _, was := range s.t.inherited.files {
		c := s.t.chains[was.key]
		if c == nil {
			if c = s.chainOf(was); c == nil {
				was.close()
				continue
			}
			s.t.chains[was.key] = c
		}
		f := &file{f: was.f, dev: was.dev, ino: was.ino, path: was.path, order: was.order, mtime: was.mtime}
		for st := range f.saved {
			f.saved[st] = -1
		}
		f.size.Store(was.size.Load())
		s.open++
		s.t.add(c, f)
		s.taken(c)
	}
	s.t.inherited = nil
}

// chainOf makes the chain of a file that was left.
func (s *scanner) chainOf(was openLog) *chain {
	if was.plain != nil {
		return s.plainChain(was.plain)
	}
	path, run := filepath.Split(was.key) // .../POD/CONTAINER/RESTART
	path = strings.TrimSuffix(path, "/")
	restart, err := strconv.Atoi(run)
	p, ok := parsePod(filepath.Base(filepath.Dir(path)))
	if err != nil || !ok {
		return nil
	}
	return s.containerChain(&dir{path: path, name: filepath.Base(path), pod: p}, was.key, restart)
}
