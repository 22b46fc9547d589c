package tail

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
)

// A log may be deleted before it is read to its end: the kubelet keeps a handful of generations,
// and a destination may be away for hours. The open file keeps the content; what it keeps from
// being freed is bounded here, and what is given up is counted to the line.

// loss is a file that was given up. It belongs to whoever counts it.
type loss struct {
	c    *chain
	f    *file
	from int64 // what lies behind is lost
}

// unread is what f keeps on disk although it has no name.
func (f *file) unread() int64 {
	size, read := f.size.Load(), f.read.Load()
	switch {
	case !f.gone || size <= read:
		return 0
	case f.gz != nil:
		return f.packed
	}
	return size - read
}

// giveUp takes the longest deleted files off their logs until the rest of the total lies within
// max_deleted_bytes. Files that a worker is in stay. Needs t.mu.
func (s *scanner) giveUp(total int64) (given []loss) {
	s.deleted.Store(total)
	if s.t.vanishing != nil {
		s.t.vanishing(total > s.t.cfg.MaxDeletedBytes/2)
	}
	if total <= s.t.cfg.MaxDeletedBytes {
		return nil
	}
	var held []loss
	for _, c := range s.t.chains {
		c.mu.Lock()
		for _, f := range c.files {
			if f.unread() > 0 && !c.isRead(f) {
				held = append(held, loss{c: c, f: f})
			}
		}
		c.mu.Unlock()
	}
	sort.Slice(held, func(i, j int) bool { return held[i].f.goneAt < held[j].f.goneAt })
	for _, l := range held {
		if total <= s.t.cfg.MaxDeletedBytes {
			break
		}
		l.c.mu.Lock()
		n := l.f.unread()
		if n > 0 && l.f.order < unnamed { // maybe it was compressed this moment
			l.c.useCompressed(l.f, l.f.path+".gz")
			total -= n - l.f.unread()
		}
		if n = l.f.unread(); n > 0 && !l.c.isRead(l.f) {
			total -= n
			s.t.take(l.f)
			l.from = l.c.abandon(l.f)
			given = append(given, l)
			s.t.pending = append(s.t.pending, record{ID: l.f.id, Gone: true})
		}
		l.c.mu.Unlock()
	}
	s.deleted.Store(total)
	return given
}

// take finds the entry of a compressed log whose turn has not come: what of it was delivered
// before a restart is not lost. Needs t.mu.
func (t *Tailer) take(f *file) {
	if f.f != nil || f.id != 0 {
		return
	}
	head, err := f.head()
	if err != nil {
		return
	}
	for k, ids := range t.store.byInode {
		for _, id := range ids {
			r := t.store.entries[id]
			sum, ok := hashAt(bytes.NewReader(head), 0, r.HeadLen)
			if ok && r.HeadLen > 0 && sum == r.HeadHash && r.Frontier <= f.size.Load() && filepath.Dir(r.Path) == filepath.Dir(f.path) {
				t.store.unclaimed(k, id)
				f.id = id
				f.resume(r.done())
				return
			}
		}
	}
}

// isRead says whether a worker is in f. Needs c.mu.
func (c *chain) isRead(f *file) bool { return c.run == running && c.reading == f }

// abandon takes f off the files that are to be read and returns up to where it was. Needs c.mu;
// no worker may be in f.
func (c *chain) abandon(f *file) (from int64) {
	from = f.read.Load()
	if c.run != running && c.long.active && c.long.from.file == f {
		from = c.long.from.off
		c.long.end(c.t)
	}
	c.remember(f)
	i := slices.Index(c.files, f)
	c.files = slices.Delete(c.files, i, i+1)
	if i < len(c.files) {
		c.files[i].gap = true
	} else {
		c.gap = true // for the next that comes
	}
	return from
}

// countLoss counts what was given up and lets go of the file.
func (s *scanner) countLoss(l loss) {
	size := l.f.size.Load()
	lines, err := l.f.countLines(l.from)
	if err != nil {
		s.t.log.Warn("lines that were lost could not be counted", "log", l.c.key, "err", err)
	}
	s.t.lose(lostDeleted, size-l.from, lines)
	s.t.log.Warn("deleted log was given up unread: over max_deleted_bytes; is the destination away?",
		"log", l.c.key, "lost_bytes", size-l.from, "lost_lines", lines)
	l.f.close()
}

// countLines counts the lines that begin at or after from.
func (f *file) countLines(from int64) (lines int64, err error) {
	var content io.Reader
	if f.f != nil {
		content = io.NewSectionReader(f.f, from, f.size.Load()-from)
	} else {
		z, err := gzip.NewReader(io.NewSectionReader(f.gz, 0, 1<<62))
		if err != nil {
			return 0, err
		}
		if _, err := io.CopyN(io.Discard, z, from); err != nil {
			return 0, err
		}
		content = z
	}
	buf := make([]byte, 64<<10)
	whole := true // the content ends with a newline
	for {
		n, err := content.Read(buf)
		if n > 0 {
			lines += int64(bytes.Count(buf[:n], newline))
			whole = buf[n-1] == '\n'
		}
		switch {
		case errors.Is(err, io.EOF):
			if !whole {
				lines++
			}
			return lines, nil
		case err != nil:
			return lines, err
		}
	}
}

const (
	// reckonAfter is how long a start may take to find the logs that it knows of.
	reckonAfter = 10 * time.Second
	reckonEvery = time.Minute
)

// reckon counts logs that were deleted while the agent was not running: their entries say how
// much was unread, at least. Needs t.mu.
func (s *scanner) reckon(now time.Time) {
	since := s.reckoned
	if since.IsZero() {
		since = s.t.began.Add(reckonAfter - reckonEvery)
	}
	if now.Sub(since) < reckonEvery {
		return
	}
	s.reckoned = now
	files, bytes := 0, int64(0)
	for k, ids := range s.t.store.byInode {
		for _, id := range slices.Clone(ids) {
			r := s.t.store.entries[id]
			if r.Size <= r.Frontier || !s.vanished(r.Path) {
				continue
			}
			files, bytes = files+1, bytes+r.Size-r.Frontier
			s.t.store.unclaimed(k, id)
			s.t.pending = append(s.t.pending, record{ID: id, Gone: true})
		}
	}
	if files > 0 {
		s.t.lose(lostVanished, bytes, 0)
		s.t.log.Warn("logs were deleted while the agent was not running; at least this much was unread", "files", files, "lost_bytes", bytes)
	}
}

// vanished says whether the content of a container's log, last seen at path, can't turn up any
// more: its directory is gone, or all that lies there is known.
func (s *scanner) vanished(path string) bool {
	root := s.t.cfg.Containers.Root
	if root == "" || !strings.HasPrefix(path, root+"/") {
		return false
	}
	if _, err := os.Stat(root); err != nil {
		return false // not mounted yet
	}
	d := s.dirs[filepath.Dir(path)]
	if d == nil {
		_, err := os.Stat(filepath.Dir(path))
		return errors.Is(err, os.ErrNotExist)
	}
	for _, c := range d.chains {
		c.mu.Lock()
		waiting := slices.ContainsFunc(c.files, func(f *file) bool { return f.f == nil })
		c.mu.Unlock()
		if waiting {
			return false
		}
	}
	return !d.unsure && d.mtime != 0
}
