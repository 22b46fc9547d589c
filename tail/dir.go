package tail

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

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

// spareFiles is how many more logs could be opened when a directory is kept open.
const spareFiles = 1000

// doubt has a directory read at the next look, whatever its time says.
func (s *scanner) doubt(d *dir) {
	d.unsure = true
	if !d.listed {
		d.listed = true
		s.doubtful = append(s.doubtful, d)
	}
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
