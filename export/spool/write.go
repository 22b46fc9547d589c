package spool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// write is one call of Append.
type write struct {
	entries []*Entry
	heads   []byte // of their records, headerLen each

	done bool
	n    int // entries that are on the disk
	err  error
}

// run is what is written at once and synced once: entries that go to the same segment.
type run struct {
	entries []*Entry
	of      []*write // the call that each came with
	bufs    [][]byte
	bytes   int64
}

func (r *run) add(w *write, i int) {
	e := w.entries[i]
	r.entries = append(r.entries, e)
	r.of = append(r.of, w)
	r.bufs = append(r.bufs, w.heads[i*headerLen:(i+1)*headerLen])
	for _, b := range e.Request {
		if len(b) > 0 {
			r.bufs = append(r.bufs, b)
		}
	}
	r.bytes += e.length
}

// Append writes entries and returns when they are on the disk. With an error, n of them are. For
// room the oldest segments go, or the error is ErrFull. Calls that come while the disk works are
// written together by the first of them that gets its turn, and synced once.
func (s *Spool) Append(entries ...*Entry) (n int, err error) {
	w := &write{entries: entries, heads: make([]byte, 0, headerLen*len(entries))}
	for _, e := range entries { // here, because it reads every byte: several callers can at once
		e.length = e.size()
		w.heads = appendHeader(w.heads, e)
	}
	s.b.mu.Lock()
	s.waiting = append(s.waiting, w)
	s.b.mu.Unlock()
	s.commit.Lock()
	defer s.commit.Unlock()
	if !w.done {
		s.writeWaiting()
	}
	return w.n, w.err
}

// writeWaiting writes what was handed to Append, in order. Needs commit.
func (s *Spool) writeWaiting() {
	s.b.mu.Lock()
	defer s.unlock()
	group := s.waiting
	s.waiting = nil
	var r run
	for _, w := range group {
		w.done = true
		for i := 0; i < len(w.entries) && w.err == nil; i++ {
			need := w.entries[i].length
			err := s.b.reserve(s, need)
			if err != nil && len(r.entries) > 0 { // those before it may be in its way
				if s.flush(&r); w.err != nil {
					break
				}
				err = s.b.reserve(s, need)
			}
			if w.err = err; err != nil {
				break
			}
			r.add(w, i)
			if s.planned = r.bytes; s.filled()+r.bytes >= s.b.segmentBytes() {
				s.flush(&r)
			}
		}
	}
	s.flush(&r)
	s.cursorFailed(s.cursor.syncNowAndThen()) // nothing may be acknowledged for long
}

// filled is how many bytes stand in the segment that is written to.
func (s *Spool) filled() int64 {
	if s.out == nil {
		return 0
	}
	return s.last().size
}

// flush writes and syncs r, and empties it. Its bytes are those of the budget already. What can't be
// synced is taken back: its owner has it still, and will append it again.
func (s *Spool) flush(r *run) {
	defer func() { *r, s.planned = run{}, 0 }()
	for len(r.entries) > 0 {
		err := s.put(r)
		if err == nil {
			return
		}
		if errors.Is(err, errGone) {
			continue
		}
		if full := errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT); full && !s.o.Refuse {
			if _, ok := s.b.dropOldest(); ok {
				continue
			}
		} else if full {
			s.b.full = time.Now()
			err = fmt.Errorf("%w: %w", ErrFull, err)
		}
		s.b.used -= r.bytes
		for _, w := range r.of {
			w.err = err
		}
		return
	}
}

// errGone: the segment was done with, or deleted by the limits, while it was written to.
var errGone = errors.New("segment gone")

// put writes r to the last segment, or to a new one, and syncs it, without the lock meanwhile.
func (s *Spool) put(r *run) error {
	out, seg := s.out, segment{id: uint64(time.Now().UnixNano())}
	if len(s.segments) > 0 {
		seg.id = max(seg.id, s.last().id+1)
	}
	if out != nil {
		seg = *s.last()
	}
	s.writing = true
	s.unlock()
	var err error
	fresh := out == nil
	if fresh {
		out, err = s.create(seg.id)
	}
	if err == nil {
		if err = writeAt(out, r.bufs, seg.size); err == nil {
			if err = s.sync(out); err != nil {
				err = fmt.Errorf("sync spool: %w", err)
			}
		}
	}
	s.b.mu.Lock()
	s.writing = false

	switch {
	case err != nil && fresh:
		if out != nil {
			out.Close()
			os.Remove(filepath.Join(s.o.Dir, name(seg.id)))
		}
		return err
	case !fresh && s.out != out:
		out.Close()
		return errGone
	case err != nil:
		if cutErr := out.Truncate(seg.size); cutErr != nil {
			s.o.Log.Warn("what was not written as a whole stays at the end of a segment, until it is written over", "dir", s.o.Dir, "err", cutErr)
		}
		return err
	case fresh:
		s.out = out
		s.segments = append(s.segments, seg)
	}
	last := s.last()
	for i, e := range r.entries {
		e.at = place{last.id, last.size}
		last.size += e.length
		last.records += int64(e.Records)
		s.records += int64(e.Records)
		r.of[i].n++
	}
	s.bytes += r.bytes
	if last.size >= s.b.segmentBytes() {
		s.out.Close() // it is synced
		s.out = nil
	}
	return nil
}

func (s *Spool) create(id uint64) (*os.File, error) {
	if err := os.MkdirAll(s.o.Dir, 0o700); err != nil { // somebody may have deleted it
		return nil, fmt.Errorf("write spool: %w", err)
	}
	path := filepath.Join(s.o.Dir, name(id))
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("write spool: %w", err)
	}
	if err := syncDir(s.o.Dir); err != nil {
		f.Close()
		os.Remove(path)
		return nil, fmt.Errorf("write spool: %w", err)
	}
	return f, nil
}

// maxBufs is how many pieces pwritev(2) takes: IOV_MAX.
const maxBufs = 1024

// writeAt writes pieces, none of them empty, from off on.
func writeAt(f *os.File, bufs [][]byte, off int64) error {
	bufs = append([][]byte(nil), bufs...) // cut below
	for len(bufs) > 0 {
		n, err := unix.Pwritev(int(f.Fd()), bufs[:min(len(bufs), maxBufs)], off)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err == nil && n == 0 {
			err = unix.EIO
		}
		if err != nil {
			return fmt.Errorf("write spool: %w", err)
		}
		off += int64(n)
		for n > 0 {
			if n < len(bufs[0]) {
				bufs[0] = bufs[0][n:]
				break
			}
			n -= len(bufs[0])
			bufs = bufs[1:]
		}
	}
	return nil
}

// datasync makes what was written to f last, and its size: fdatasync(2).
func datasync(f *os.File) error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
