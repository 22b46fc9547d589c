// Package spool keeps export requests on disk in the order in which they came, for one
// destination that does not take them now.
//
// What Append has returned for survives a kill and a power failure. What was acknowledged is not
// read again after a kill, and after a power failure but for the last second of it. Segments
// whose records are all acknowledged are deleted. Over its limits the oldest segment goes, and its
// records are counted, or Append refuses what is new. Damaged bytes cost the records they hit, a segment that
// can't be read costs itself, never the rest.
package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// segmentBytes is when a segment is full: small enough that dropping the oldest loses little,
	// large enough that a spool of some GiB has some hundred files.
	segmentBytes = 8 << 20
	// readPatience is how long a segment may be unreadable, as on a disk that is away for a moment,
	// before it is given up: what waits behind it can be delivered.
	readPatience = time.Minute
)

// Reasons why records are dropped, for Options.Dropped.
const (
	Full    = "spool_full"    // over max_bytes, or the disk is
	TooOld  = "spool_age"     // over max_age
	Damaged = "spool_damaged" // bytes on disk are not what was written, or can't be read; the records are those of the headers that are lost
)

// Options of a spool.
type Options struct {
	Dir    string
	Budget *Budget
	MaxAge time.Duration // older ones are not delivered any more
	Refuse bool          // when it is full, Append refuses what is new; else the oldest go
	// Dropped is told of records that are given up. It is called with the budget's lock held.
	Dropped func(reason string, records int64)
	Log     *slog.Logger
}

// Spool is a queue on disk. All methods may be called by several goroutines at once.
type Spool struct {
	o    Options
	b    *Budget
	free func() (free, total int64, err error) // of the file system
	sync func(*os.File) error

	told atomic.Pointer[Size] // by Size

	commit sync.Mutex // held by who writes; taken before the budget's lock

	// The budget's lock guards everything below.
	waiting  []*write  // for who writes next
	segments []segment // oldest first; the last one is written to if out is open
	out      *os.File
	writing  bool      // somebody uses out without the lock
	planned  int64     // bytes that are about to be written
	in       *os.File  // the first segment, while it is read
	at       int64     // in the first segment: all before is acknowledged
	done     int       // records of the entry that stands there that are acknowledged, from its front
	lent     *Entry    // what somebody is sending
	taken    bool      // the limits took it meanwhile
	bytes    int64     // of all segments, less those of entries that are acknowledged
	records  int64     // of telemetry that are not acknowledged
	bad      int64     // bytes that were damaged
	failing  time.Time // since when the first segment can't be read
	cursor   cursor
}

// Open opens the spool in a directory, which is made if it has to be, and surveys what is there.
func Open(o Options) (*Spool, error) {
	s := &Spool{o: o, b: o.Budget, sync: datasync, cursor: cursor{dir: o.Dir}}
	s.free = func() (int64, int64, error) {
		var st unix.Statfs_t
		err := unix.Statfs(o.Dir, &st)
		return int64(st.Bavail) * st.Frsize, int64(st.Blocks) * st.Frsize, err
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	entries, err := os.ReadDir(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	var ids []uint64
	for _, e := range entries {
		hex, ok := strings.CutSuffix(e.Name(), Suffix)
		if id, err := strconv.ParseUint(hex, 16, 64); ok && err == nil && name(id) == e.Name() {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	s.b.mu.Lock()
	defer s.unlock()
	for i, id := range ids {
		path := filepath.Join(o.Dir, name(id))
		seg, err := survey(path, id, i == len(ids)-1)
		if err != nil {
			o.Log.Error("a segment of the spool can't be read; its records are left out", "file", path, "err", err)
			continue
		}
		if seg.size == 0 {
			os.Remove(path)
			continue
		}
		s.segments = append(s.segments, seg)
		s.bytes += seg.size
		s.records += seg.records
		s.b.used += seg.size
	}
	s.resume()
	s.b.spools = append(s.b.spools, s)
	return s, nil
}

// resume skips what the cursor says is acknowledged.
func (s *Spool) resume() {
	p, ok := s.cursor.load()
	if !ok {
		return // entries are delivered again
	}
	if !slices.ContainsFunc(s.segments, func(seg segment) bool { return seg.id == p.segment }) {
		s.cursor.remove() // it was deleted, and those after it are not begun
		return
	}
	for s.segments[0].id != p.segment {
		s.remove()
	}
	for {
		if s.at == s.segments[0].size {
			s.remove()
			s.saveCursor()
			return
		}
		e, err := s.read()
		if err != nil || e == nil || e.at.segment != p.segment || s.at > p.offset {
			return
		}
		if s.at == p.offset && p.done < e.Records {
			s.acked(p.done)
			return
		}
		s.skip(e)
	}
}

// Size is what a spool holds.
type Size struct {
	Records int64 // of telemetry
	Bytes   int64
	Damaged int64 // bytes that were found damaged since Open
}

// Size is what waits, as of before what is being written. It does not wait for the disk.
func (s *Spool) Size() Size { return *s.told.Load() }

func (s *Spool) tell() { s.told.Store(&Size{s.records, s.bytes, s.bad}) }

func (s *Spool) unlock() {
	s.tell()
	s.b.mu.Unlock()
}

// Empty says whether nothing waits.
func (s *Spool) Empty() bool {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	return len(s.segments) == 0
}

func (s *Spool) last() *segment { return &s.segments[len(s.segments)-1] }

func (s *Spool) drop(reason string, records int64) {
	if records > 0 && s.o.Dropped != nil {
		s.o.Dropped(reason, records)
	}
}

// dropFirst gives up what is left of the oldest segment.
func (s *Spool) dropFirst() {
	records := s.segments[0].records
	if s.lent != nil && s.lent.at.segment == s.segments[0].id { // it may arrive yet
		records -= int64(s.lent.Records - s.lent.Done)
		s.taken = true
	}
	s.drop(Full, records)
	s.remove()
	s.saveCursor()
}

// remove deletes the oldest segment. What is still in it is not counted any more.
func (s *Spool) remove() {
	seg := s.segments[0]
	if s.in != nil {
		s.in.Close()
		s.in = nil
	}
	if s.out != nil && len(s.segments) == 1 {
		if !s.writing { // else who writes sees that it is gone
			s.out.Close()
		}
		s.out = nil
	}
	s.bytes -= seg.size - s.at
	s.b.used -= seg.size
	s.records -= seg.records
	s.segments = s.segments[1:]
	s.at, s.done, s.failing = 0, 0, time.Time{}
	if err := os.Remove(filepath.Join(s.o.Dir, name(seg.id))); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.o.Log.Warn("a segment of the spool can't be deleted", "dir", s.o.Dir, "err", err)
	}
}

// saveCursor keeps what is acknowledged.
func (s *Spool) saveCursor() {
	if len(s.segments) == 0 {
		s.cursor.remove()
		return
	}
	s.cursorFailed(s.cursor.save(position{s.segments[0].id, s.at, s.done}))
}

func (s *Spool) cursorFailed(err error) {
	if err != nil {
		s.o.Log.Warn("the place in the spool can't be saved; after a restart requests are sent twice", "dir", s.o.Dir, "err", err)
	}
}

// Next lends the oldest entry that is not acknowledged; nil when nothing waits. Its request is the
// caller's. Ack or Return must follow.
func (s *Spool) Next() (*Entry, error) {
	s.b.mu.Lock()
	defer s.unlock()
	for {
		e, err := s.read()
		if err != nil && s.givenUp(err) {
			continue
		}
		if err != nil || e == nil || s.o.MaxAge <= 0 || time.Since(e.Time) <= s.o.MaxAge {
			s.lent, s.taken = e, false
			return e, err
		}
		s.drop(TooOld, int64(e.Records-e.Done))
		s.skip(e)
		s.tidy()
	}
}

// givenUp says whether the first segment, which can't be read, is lost by now. One that can't be
// opened, for want of descriptors or permission, is not.
func (s *Spool) givenUp(err error) bool {
	if s.in == nil && !errors.Is(err, unix.EIO) {
		return false
	}
	if s.failing.IsZero() {
		s.failing = time.Now()
	}
	if time.Since(s.failing) < readPatience {
		return false
	}
	s.o.Log.Error("a segment of the spool still can't be read; the records in it are lost", "file", filepath.Join(s.o.Dir, name(s.segments[0].id)), "err", err)
	s.drop(Damaged, s.segments[0].records)
	s.remove()
	s.saveCursor()
	return true
}

// read reads the entry at the cursor and passes over what is damaged. nil: there is none.
func (s *Spool) read() (*Entry, error) {
	for len(s.segments) > 0 {
		seg := &s.segments[0]
		if s.in == nil {
			f, err := os.Open(filepath.Join(s.o.Dir, name(seg.id)))
			if errors.Is(err, fs.ErrNotExist) { // somebody has deleted it
				s.drop(Damaged, seg.records)
				s.remove()
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("read spool: %w", err)
			}
			s.in = f
		}
		e, at, _, err := nextRecord(s.in, s.at, seg.size)
		switch {
		case err == nil:
			s.damaged(at)
			e.at, e.Done, s.failing = place{seg.id, at}, s.done, time.Time{}
			return &e, nil
		case !errors.Is(err, io.EOF):
			return nil, fmt.Errorf("read spool: %w", err)
		default:
			s.damaged(seg.size)
			s.drop(Damaged, seg.records) // what was counted as written and did not come
			s.remove()
		}
	}
	return nil, nil
}

// damaged passes over the bytes up to to. The records in them are told when the segment ends.
func (s *Spool) damaged(to int64) {
	if to == s.at {
		return
	}
	s.o.Log.Error("bytes of the spool are damaged; the records in them are lost", "file", filepath.Join(s.o.Dir, name(s.segments[0].id)), "offset", s.at, "bytes", to-s.at)
	s.bytes -= to - s.at
	s.bad += to - s.at
	s.at, s.done = to, 0
}

// acked notes that so many more records of the entry at the cursor are done with.
func (s *Spool) acked(records int) {
	s.done += records
	s.records -= int64(records)
	s.segments[0].records -= int64(records)
}

// skip passes over e, the entry at the cursor.
func (s *Spool) skip(e *Entry) {
	s.acked(e.Records - s.done)
	s.bytes -= e.length
	s.at, s.done = s.at+e.length, 0
}

// tidy deletes the first segment when all of it is acknowledged, and saves the cursor.
func (s *Spool) tidy() {
	if s.at == s.segments[0].size {
		s.drop(Damaged, s.segments[0].records)
		s.remove()
	}
	s.saveCursor()
}

// Lend says that e, which is about to be appended as the oldest entry, is being sent, as if Next
// had given it.
func (s *Spool) Lend(e *Entry) {
	s.b.mu.Lock()
	s.lent, s.taken = e, false
	s.b.mu.Unlock()
}

// holds says whether e, which was lent, still is the oldest; else the limits took it.
func (s *Spool) holds(e *Entry) bool {
	return len(s.segments) > 0 && e.at == place{s.segments[0].id, s.at}
}

// AckFront says that so many records of the entry that was lent are done with, from the front of
// what is left of it. The entry stays lent.
func (s *Spool) AckFront(e *Entry, records int) {
	s.b.mu.Lock()
	defer s.unlock()
	records = min(records, e.Records-e.Done)
	e.Done += records
	if s.holds(e) {
		s.acked(records)
		s.saveCursor()
	}
}

// Ack says that the entry that was lent is done with.
func (s *Spool) Ack(e *Entry) {
	s.b.mu.Lock()
	defer s.unlock()
	s.lent = nil
	if s.holds(e) {
		s.skip(e)
		s.tidy()
	}
}

// Return says that what is left of the entry that was lent was not delivered. It comes again,
// unless the limits took it meanwhile.
func (s *Spool) Return(e *Entry) {
	s.b.mu.Lock()
	defer s.unlock()
	if s.lent = nil; s.taken {
		s.drop(Full, int64(e.Records-e.Done))
	}
}

// Close saves the cursor and closes the files. What waits is there after the next Open.
func (s *Spool) Close() error {
	s.commit.Lock()
	defer s.commit.Unlock()
	s.b.mu.Lock()
	defer s.unlock()
	if s.out != nil {
		s.out.Close() // it is synced
		s.out = nil
	}
	if s.in != nil {
		s.in.Close()
		s.in = nil
	}
	return s.cursor.close()
}
