package tail

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"
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

// reserveFiles is how many of the process's open files are left for everything but logs.
const reserveFiles = 256

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
	s.inherit()
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

// heat has a log looked at often for a while.
func (s *scanner) heat(c *chain, now int64) {
	if c.hotUntil == 0 {
		s.hots = append(s.hots, c)
	}
	c.hotUntil = now + int64(hotFor)
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

// taken lets a chain be read that has a new file, unless it waits for metadata.
func (s *scanner) taken(c *chain) {
	now := s.t.clock()
	s.heat(c, now)
	if s.learn(c, now) {
		s.enqueue(c, now)
	}
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
	over := len(c.files) == 0 && len(c.drained) == 0 && len(c.kept) == 0 && due == 0 && c.run == idle && now >= c.pastUntil
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
		c.pastUntil = s.t.clock() + int64(pastFor)
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
