package tail

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"

	"stint/export/otlp"
)

const (
	// hotSweep is how often files that grew lately are looked at, sweepEvery how often all are.
	// One look is an fstat of an open descriptor, half a microsecond.
	hotSweep   = 100 * time.Millisecond
	sweepEvery = time.Second
	hotFor     = 2 * time.Second
	// rescanEvery is how often directories are read anew whatever their times say.
	rescanEvery = 60 * time.Second
	// coarse is the coarsest clock a file system stamps directories with (a jiffy, doubled): a
	// directory whose time is as recent as that may have changed again unnoticed.
	coarse = 20 * time.Millisecond
	// globEvery is how often patterns are expanded.
	globEvery = 5 * time.Second
)

// scanner finds files and sees them grow. All its fields belong to its one goroutine.
//
// Directory events come by inotify, from the root and the pods' directories only: these hold
// no files, so no event is made for a line (IN_MODIFY on a container's directory would slow
// down each write of the application by half; fsnotify can't leave it out). Containers'
// directories are told by their modification time, one stat a second each. Everything an
// event says is also found by the sweeps, so a lost event costs a second.
type scanner struct {
	t        *Tailer
	every    time.Duration // sweepEvery and hotSweep; tests look more often
	hotEvery time.Duration
	ownPod   string
	started  bool // the first sweep is over: files found from now on are new
	watching atomic.Bool
	looked   atomic.Int64 // ns, the end of the last sweep
	watch    *fsnotify.Watcher
	dirs     map[string]*dir
	plain    map[string]*plainFile
	lastGlob time.Time
	failing  map[string]time.Time // paths that can't be opened, and when that was last seen
	denied   atomic.Int64         // how many they are
	maxOpen  int                  // files
	open     int                  // as counted by the last sweep, and opened since
	openDirs int
	hots     []*chain     // logs that grew lately
	doubtful []*dir       // directories that may have changed unnoticed
	deleted  atomic.Int64 // unread bytes in files without a name
	reckoned time.Time    // when lost logs of before the start were last looked for
}

type dirKind uint8

const (
	rootDir dirKind = iota
	podDir
	containerDir
)

// dir is a directory of the container tree. It is held open (O_PATH), so that looking at it does
// not walk its path: there are thousands.
type dir struct {
	path    string
	fd      int // 0: not open
	kind    dirKind
	pod     pod
	name    string // the container's
	mtime   int64  // when it was read
	unsure  bool   // may have changed since without a newer mtime
	read    time.Time
	listed  bool     // in scanner.doubtful
	links   []string // live logs that are symbolic links: their targets change without the directory
	chains  []*chain // of the logs in it
	watched bool
}

// plainFile is one path that a glob of tail.files gave.
type plainFile struct {
	path string
	set  *Files
}

// reserveFiles is how many of the process's open files are left for everything but logs.
const reserveFiles = 256

// spareFiles is how many more logs could be opened when a directory is kept open.
const spareFiles = 1000

// openLimit is how many log files and their directories may be open.
func openLimit() int {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil || r.Cur > 1<<20 {
		return 1 << 20
	}
	return max(int(r.Cur)-reserveFiles, int(r.Cur)/2)
}

func newScanner(t *Tailer, ownPod string) *scanner {
	return &scanner{t: t, every: sweepEvery, hotEvery: hotSweep, ownPod: ownPod, dirs: map[string]*dir{}, plain: map[string]*plainFile{}, failing: map[string]time.Time{}, maxOpen: openLimit()}
}

// run looks until ctx ends.
func (s *scanner) run(ctx context.Context) {
	var events chan fsnotify.Event
	var failures chan error
	if s.t.cfg.Containers.Root != "" {
		w, err := fsnotify.NewWatcher()
		if err != nil {
			s.t.log.Warn("directories can't be watched; looking once a second instead", "err", err)
		} else {
			defer w.Close()
			s.watch, events, failures = w, w.Events, w.Errors
			s.watching.Store(true)
		}
		root := &dir{path: s.t.cfg.Containers.Root, kind: rootDir}
		s.dirs[root.path] = root
		s.doubt(root)
		defer s.closeDirs()
	}
	s.sweep(time.Now())
	s.started = true
	// With start_at: end the positions must be known before anything else is written.
	s.t.save(true)

	tick := time.NewTicker(s.hotEvery)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-events:
			s.event(e)
		case err := <-failures:
			if errors.Is(err, fsnotify.ErrEventOverflow) {
				s.t.stats.overflows.Add(1)
				for _, d := range s.dirs {
					s.doubt(d)
				}
				s.sweep(time.Now())
			} else {
				s.t.log.Warn("watching directories failed; sweeps go on", "err", err)
			}
		case now := <-tick.C:
			if now.Sub(last) >= s.every {
				last = now
				s.sweep(now)
				continue
			}
			s.hot(now)
		}
	}
}

// event handles a directory event: something appeared in or left the root or a pod's directory.
func (s *scanner) event(e fsnotify.Event) {
	if !e.Has(fsnotify.Create) && !e.Has(fsnotify.Rename) && !e.Has(fsnotify.Remove) {
		return
	}
	if gone := s.dirs[e.Name]; gone != nil { // and maybe made again: another inode, not watched
		gone.watched = false
		s.closeDir(gone)
		s.doubt(gone)
	}
	d := s.dirs[filepath.Dir(e.Name)]
	if d == nil {
		return
	}
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	s.readDir(d, time.Now())
	s.doubt(d)
}

// doubt has a directory read at the next look, whatever its time says.
func (s *scanner) doubt(d *dir) {
	d.unsure = true
	if !d.listed {
		d.listed = true
		s.doubtful = append(s.doubtful, d)
	}
}

// heat has a log looked at often for a while.
func (s *scanner) heat(c *chain, now int64) {
	if c.hotUntil == 0 {
		s.hots = append(s.hots, c)
	}
	c.hotUntil = now + int64(hotFor)
}

// stat looks at a directory. One that was removed and made again is another.
func (s *scanner) stat(d *dir, st *unix.Stat_t) error {
	if d.fd == 0 && s.open+s.openDirs < s.maxOpen-spareFiles {
		if fd, err := unix.Open(d.path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err == nil {
			d.fd = fd
			s.openDirs++
		}
	}
	if d.fd != 0 {
		if err := unix.Fstat(d.fd, st); err == nil && st.Nlink > 0 {
			return nil
		}
		s.closeDir(d)
	}
	return unix.Stat(d.path, st)
}

func (s *scanner) closeDir(d *dir) {
	if d.fd != 0 {
		unix.Close(d.fd)
		d.fd = 0
		s.openDirs--
	}
}

func (s *scanner) closeDirs() {
	for _, d := range s.dirs {
		s.closeDir(d)
	}
}

// hot looks at what grew lately and at directories that may have changed.
func (s *scanner) hot(now time.Time) {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	for i := range s.doubtful { // checkDir may append: to look at next time
		d := s.doubtful[i]
		if d.unsure {
			s.checkDir(d, now)
		}
	}
	s.doubtful = slices.DeleteFunc(s.doubtful, func(d *dir) bool {
		d.listed = d.unsure && s.dirs[d.path] == d
		return !d.listed
	})
	clock := s.t.clock()
	s.hots = slices.DeleteFunc(s.hots, func(c *chain) bool { // of those that are over by now, too
		if c.hotUntil >= clock && s.t.chains[c.key] == c {
			return false
		}
		c.hotUntil = 0
		return true
	})
	for _, c := range s.hots {
		s.lookAt(c, clock)
	}
}

// sweep looks at everything.
func (s *scanner) sweep(now time.Time) {
	s.t.mu.Lock()
	for _, d := range s.dirs {
		s.checkDir(d, now)
	}
	s.sweepPlain(now)
	clock := s.t.clock()
	open, deleted := 0, int64(0)
	for _, c := range s.t.chains {
		files, unread := s.lookAt(c, clock)
		open, deleted = open+files, deleted+unread
	}
	s.open = open
	dropped := s.giveUp(deleted)
	s.reckon(now)
	s.forgive(now)
	s.t.mu.Unlock()
	for _, d := range dropped {
		s.countLoss(d)
	}
	s.looked.Store(time.Now().UnixNano())
}

// checkDir reads d when its time says that it changed.
func (s *scanner) checkDir(d *dir, now time.Time) {
	var st unix.Stat_t
	rescan := now.Sub(d.read) > rescanEvery
	if rescan {
		s.closeDir(d) // a file system may not tell of an open directory that it was removed
	}
	if err := s.stat(d, &st); err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			s.openFailed(d.path, err)
			return
		}
		if d.kind != rootDir { // its logs stay until they are drained
			s.closeDir(d)
			delete(s.dirs, d.path)
		}
		for _, c := range d.chains {
			c.mu.Lock()
			s.t.forgetKept(c, nil)
			c.mu.Unlock()
		}
		d.mtime, d.watched = 0, false
		return
	}
	if mtime := st.Mtim.Nano(); d.unsure || mtime != d.mtime || rescan {
		s.readDir(d, now)
		return
	}
	for _, link := range d.links {
		if err := unix.Stat(link, &st); err == nil && !d.isOpen(uint64(st.Dev), st.Ino) {
			s.readDir(d, now)
			return
		}
	}
}

// isOpen says whether a chain of the container's directory d has the inode open.
func (d *dir) isOpen(dev, ino uint64) bool {
	return slices.ContainsFunc(d.chains, func(c *chain) bool { return c.find(dev, ino) != nil })
}

// readDir lists d and takes in what it finds. Needs t.mu.
func (s *scanner) readDir(d *dir, now time.Time) {
	if s.watch != nil && !d.watched && d.kind != containerDir {
		if err := s.watch.Add(d.path); err == nil {
			d.watched = true
		} else if !errors.Is(err, fs.ErrNotExist) {
			if s.watching.Swap(false) {
				s.t.log.Warn("no more directories can be watched; looking once a second instead; raise fs.inotify.max_user_watches", "dir", d.path, "err", err)
			}
		}
	}
	var st unix.Stat_t
	if err := unix.Stat(d.path, &st); err != nil {
		return
	}
	entries, err := os.ReadDir(d.path)
	if err != nil {
		d.mtime, d.unsure = 0, false // the next sweep tries again
		s.openFailed(d.path, err)
		return
	}
	var held unix.Stat_t
	if d.fd != 0 && (unix.Fstat(d.fd, &held) != nil || held.Ino != st.Ino || held.Dev != st.Dev) {
		s.closeDir(d) // made anew
	}
	d.mtime, d.read = st.Mtim.Nano(), now
	age := time.Since(time.Unix(0, d.mtime)).Abs() // in the future after the clock was set back
	d.unsure = false
	// A container's directory is made before its first log: look until it is there.
	if age < coarse || d.kind == containerDir && len(entries) == 0 && age < time.Minute {
		s.doubt(d)
	}
	if d.kind == containerDir {
		s.readLogs(d, entries)
		return
	}
	for _, e := range entries {
		path := filepath.Join(d.path, e.Name())
		if s.dirs[path] != nil || !e.IsDir() && e.Type()&fs.ModeSymlink == 0 {
			continue
		}
		sub := &dir{path: path}
		if d.kind == rootDir {
			p, ok := parsePod(e.Name())
			if !ok {
				continue
			}
			sub.kind, sub.pod = podDir, p
		} else {
			sub.kind, sub.pod, sub.name = containerDir, d.pod, e.Name()
			if s.excluded(sub) {
				continue
			}
		}
		s.dirs[path] = sub
		s.readDir(sub, now)
	}
}

// excluded says whether the container's logs are not wanted.
func (s *scanner) excluded(d *dir) bool {
	if s.ownPod != "" && d.pod.namespace+"/"+d.pod.name == s.ownPod {
		return true
	}
	name := d.pod.namespace + "/" + d.pod.name + "/" + d.name
	matches := func(glob string) bool { ok, _ := filepath.Match(glob, name); return ok }
	wanted := s.t.cfg.Containers.Include
	return slices.ContainsFunc(s.t.cfg.Containers.Exclude, matches) || len(wanted) > 0 && !slices.ContainsFunc(wanted, matches)
}

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
	slices.SortFunc(found, func(a, b generation) int {
		return cmp.Or(strings.Compare(a.order, b.order), strings.Compare(a.path, b.path))
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

// taken lets a chain be read that has a new file, unless it waits for metadata.
func (s *scanner) taken(c *chain) {
	now := s.t.clock()
	s.heat(c, now)
	if s.learn(c, now) {
		s.enqueue(c, now)
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

// sweepPlain expands the globs now and then and looks for new generations of their files.
func (s *scanner) sweepPlain(now time.Time) {
	if now.Sub(s.lastGlob) >= globEvery {
		s.lastGlob = now
		for i := range s.t.cfg.Files {
			set := &s.t.cfg.Files[i]
			for _, glob := range set.Include {
				// Check has seen the patterns.
				paths, _ := doublestar.FilepathGlob(glob, doublestar.WithFilesOnly(), doublestar.WithNoFollow())
				for _, path := range paths {
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

// lookAt sees whether a chain has something to do, and drops what is over; now is
// Tailer.clock. It returns how many files it has open, and what they keep on disk without a name.
func (s *scanner) lookAt(c *chain, now int64) (open int, unread int64) {
	mayRead := s.learn(c, now)
	c.mu.Lock()
	work := false
	for i, f := range c.files {
		if err := f.look(now); err != nil {
			s.t.log.Warn("log can't be looked at", "file", f.path, "err", err)
			continue
		}
		unread += f.unread()
		switch size, read := f.size.Load(), f.read.Load(); {
		case size != read && size != f.tried.Load() || f.touched && read > 0:
			work = true
		case i == 0 && (len(c.files) > 1 || f.gone) && f.left(now):
			work = true // to be finished
		}
	}
	// A drained file that grew again is read again, before the later ones.
	for i := 0; i < len(c.drained); i++ {
		f := c.drained[i]
		if f.look(now) != nil {
			continue
		}
		switch {
		case f.size.Load() > f.read.Load():
			c.drained = slices.Delete(c.drained, i, i+1)
			c.insert(f)
			f.drained, work = false, true
			i--
		case (f.gone || f.gz != nil) && f.frontier >= f.read.Load():
			s.end(c, f)
			c.drained = slices.Delete(c.drained, i, i+1)
			i--
		}
	}
	open = len(c.files) + len(c.drained)
	due := c.wakeAt.Load()
	over := len(c.files) == 0 && len(c.drained) == 0 && len(c.kept) == 0 && due == 0 && c.run == idle
	c.mu.Unlock()
	if over {
		delete(s.t.chains, c.key)
		return 0, 0
	}
	if work {
		// A log that writes now and then is not looked at more often for it.
		if now-c.grewAt < int64(hotFor) {
			s.heat(c, now)
		}
		c.grewAt = now
	}
	if mayRead && (work || due != 0 && due <= now) {
		s.enqueue(c, now)
	}
	return open, unread
}

// end closes a delivered file that has no name of its own any more. Needs t.mu and c.mu.
func (s *scanner) end(c *chain, f *file) {
	if f.gz != nil {
		s.t.keep(c, f, f.path)
		return
	}
	if f.order < unnamed {
		path := f.path + ".gz" // it is there before the plain file goes
		if _, err := os.Lstat(path); err == nil {
			s.t.keep(c, f, path)
			return
		}
	}
	c.remember(f)
	last := record{ID: f.id, Gone: true}
	if _, err := os.Lstat(filepath.Dir(f.path)); err == nil && f.order >= unnamed && c.who.uid != "" {
		last = f.record() // it may lie there compressed, under a stamp nobody saw: for a restart
	}
	s.t.pending = append(s.t.pending, last)
	f.close()
}

// enqueue hands c to the workers, unless they have it or it is paused; now is Tailer.clock.
func (s *scanner) enqueue(c *chain, now int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pausedUntil > now {
		return
	}
	switch c.run {
	case idle:
		c.run = queued
		s.t.ready.push(c)
	case running:
		c.again = true
	}
}
