package tail

import (
	"errors"
	"io/fs"
	"slices"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	"golang.org/x/sys/unix"

	"stint/export/otlp"
)

// plainFile is one path that a glob of tail.files gave.
type plainFile struct {
	path string
	set  *Files
}

// plainChain makes the chain of a plain file.
func (s *scanner) plainChain(p *plainFile) *chain {
	c := s.newChain(p.path)
	c.format = map[string]format{"cri": cri, "docker": docker, "plain": plain}[p.set.Format]
	c.headers = c.format == cri || c.format == docker
	c.multiline, c.parse = s.t.cfg.Multiline, s.t.cfg.Parse
	if p.set.Multiline != nil {
		c.multiline = *p.set.Multiline
	}
	if p.set.Parse != nil {
		c.parse = *p.set.Parse
	}
	c.base = s.t.resource
	c.attrs = []otlp.KeyValue{otlp.Attr("log.file.path", p.path)}
	c.wanted = c.newProfile(nil)
	return c
}

// sweepPlain expands the globs now and then and looks for new generations of their files.
func (s *scanner) sweepPlain(now time.Time) {
	if now.Sub(s.lastGlob) >= globEvery {
		s.lastGlob = now
		for i := range s.t.cfg.Files {
			set := &s.t.cfg.Files[i]
			for _, glob := range set.Include {
				for _, path := range Expand(glob) {
					if s.plain[path] == nil && !slices.ContainsFunc(set.Exclude, func(x string) bool { ok, _ := doublestar.PathMatch(x, path); return ok }) {
						s.plain[path] = &plainFile{path, set}
					}
				}
			}
		}
	}
	for path, p := range s.plain {
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			if s.t.chains[path] == nil && errors.Is(err, fs.ErrNotExist) {
				delete(s.plain, path)
			}
			continue
		}
		s.plainGeneration(p, &st)
	}
}

// Expand lists the files that a glob of tail.files matches now. Directories that are symbolic
// links are not gone into: they may lead in a circle.
func Expand(glob string) []string {
	paths, _ := doublestar.FilepathGlob(glob, doublestar.WithFilesOnly(), doublestar.WithNoFollow()) // Check has seen the pattern
	return paths
}

// plainGeneration opens what now stands at p's path, unless it is known.
func (s *scanner) plainGeneration(p *plainFile, st *unix.Stat_t) {
	if c := s.t.chains[p.path]; c != nil && c.find(uint64(st.Dev), st.Ino) != nil {
		return
	}
	for _, c := range s.t.chains { // renamed to this path from another
		if c.find(uint64(st.Dev), st.Ino) != nil {
			return
		}
	}
	f, err := s.openLog(p.path, openFile)
	if err != nil {
		return
	}
	f.order = live
	c := s.t.chains[p.path]
	if c == nil {
		c = s.plainChain(p)
		s.t.chains[p.path] = c
	} else {
		c.renamedAway()
	}
	s.t.add(c, f)
	s.taken(c)
}
