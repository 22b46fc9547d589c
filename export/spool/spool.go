// Package spool keeps export requests on disk in the order in which they came, for one
// destination that does not take them now.
//
// What Append has returned for survives a kill and a power failure; what Ack was called for is not
// read again, but for what was acknowledged in the second before the process died. Segments
// whose records are all acknowledged are deleted. Over its limits the oldest segment goes, and its
// records are counted. Damaged bytes cost the records they hit, a segment that can't be read costs itself, never
// the rest.
package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
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
	// cursorEvery is how often the place that was read up to is saved.
	cursorEvery = time.Second
	// readPatience is how long a segment may be unreadable, as on a disk that is away for a moment,
	// before it is given up: what waits behind it can be delivered.
	readPatience = time.Minute
	// reserveBytes and reserveShare are how much of the disk is left free, whichever is less: a
	// full disk hurts more than what is lost here.
	reserveBytes = 1 << 30
	reserveShare = 20 // a twentieth
)

// Reasons why records are dropped, for Options.Dropped.
const (
	Full    = "spool_full"    // over max_bytes, or the disk is
	TooOld  = "spool_age"     // over max_age
	Damaged = "spool_damaged" // bytes on disk are not what was written, or can't be read; the records are those of the headers that are lost
)

// Options of a spool.
type Options struct {
	Dir      string
	MaxBytes int64         // on disk; over it the oldest go
	MaxAge   time.Duration // older ones are not delivered any more
	// Dropped is told of records that are given up. It is called with the spool's lock held.
	Dropped func(reason string, records int64)
	Log     *slog.Logger
}

// Spool is a queue on disk. All methods may be called by several goroutines at once.
type Spool struct {
	o    Options
	free func() (free, total int64, err error) // of the file system
	sync func(*os.File) error

	told atomic.Pointer[Size] // by Size

	mu       sync.Mutex // guards everything below
	segments []segment  // oldest first; the last one is written to if out is open
	out      *os.File
	in       *os.File // the first segment, while it is read
	at       int64    // in the first segment: all before is acknowledged
	peeked   *Entry   // what stands at at
	lent     *Entry   // what somebody is sending
	taken    bool     // the limits took it meanwhile
	next     int64    // behind it
	bytes    int64    // of all segments, less what is acknowledged
	records  int64    // likewise; of telemetry
	bad      int64    // bytes that were damaged
	fresh    fresh    // of the last segment
	saved    time.Time
	unsaved  bool      // the cursor has moved since
	failing  time.Time // since when the first segment can't be read
	head     []byte
}

// fresh is what was written since the last sync.
type fresh struct {
	entries        int
	bytes, records int64
}

// Open opens the spool in a directory, which is made if it has to be, and surveys what is there.
func Open(o Options) (*Spool, error) {
	s := &Spool{o: o, sync: (*os.File).Sync}
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
	}
	s.mu.Lock()
	defer s.unlock()
	s.resume()
	return s, nil
}

// cursor is the file that says up to where everything is acknowledged: segment, offset, CRC-32C.
const cursor = "cursor"

// resume skips what the cursor says is acknowledged.
func (s *Spool) resume() {
	b, err := os.ReadFile(filepath.Join(s.o.Dir, cursor))
	if err != nil || len(b) != 20 || crc32.Checksum(b[:16], castagnoli) != binary.LittleEndian.Uint32(b[16:]) {
		return // entries are delivered again
	}
	id, off := binary.LittleEndian.Uint64(b), int64(binary.LittleEndian.Uint64(b[8:]))
	if !slices.ContainsFunc(s.segments, func(seg segment) bool { return seg.id == id }) {
		return // it was deleted, and those after it are not begun
	}
	for s.segments[0].id != id {
		s.remove()
	}
	for s.at < off {
		e, err := s.peek()
		if err != nil || e == nil || s.segments[0].id != id {
			return
		}
		s.skip()
	}
	if s.at == s.segments[0].size {
		s.remove()
	}
}

func (s *Spool) saveCursor() {
	s.saved, s.unsaved = time.Now(), false
	if len(s.segments) == 0 {
		os.Remove(filepath.Join(s.o.Dir, cursor))
		return
	}
	b := binary.LittleEndian.AppendUint64(nil, s.segments[0].id)
	b = binary.LittleEndian.AppendUint64(b, uint64(s.at))
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	path := filepath.Join(s.o.Dir, cursor)
	err := os.WriteFile(path+".new", b, 0o600)
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		s.o.Log.Warn("the place in the spool can't be saved; after a restart requests are sent twice", "dir", s.o.Dir, "err", err)
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

func (s *Spool) unlock() {
	s.told.Store(&Size{s.records, s.bytes, s.bad})
	s.mu.Unlock()
}

// Empty says whether nothing waits.
func (s *Spool) Empty() bool {
	s.mu.Lock()
	defer s.unlock()
	return len(s.segments) == 0
}

// Append writes entries and returns when they are on the disk. With an error, n of them are. For
// room the oldest segments go.
func (s *Spool) Append(entries ...*Entry) (n int, err error) {
	s.mu.Lock()
	defer s.unlock()
	for n < len(entries) && err == nil {
		if err = s.write(entries[n]); err != nil {
			break
		}
		if n++; s.last().size >= s.segmentBytes() {
			var undone int
			undone, err = s.seal()
			n -= undone
		}
	}
	undone, syncErr := s.commit()
	if n -= undone; syncErr != nil {
		err = syncErr
	}
	if s.unsaved && time.Since(s.saved) >= cursorEvery {
		s.saveCursor()
	}
	return n, err
}

func (s *Spool) segmentBytes() int64 { return min(segmentBytes, s.o.MaxBytes/8) }

func (s *Spool) last() *segment { return &s.segments[len(s.segments)-1] }

// commit syncs what was written. What can't be synced is taken back, undone entries: their owner
// has them still, and will append them again.
func (s *Spool) commit() (undone int, err error) {
	f := s.fresh
	s.fresh = fresh{}
	if f.entries == 0 {
		return 0, nil
	}
	if err = s.sync(s.out); err == nil {
		return 0, nil
	}
	seg := s.last()
	seg.size -= f.bytes
	seg.records -= f.records
	s.bytes -= f.bytes
	s.records -= f.records
	s.cutTail()
	return f.entries, fmt.Errorf("sync spool: %w", err)
}

// cutTail takes bytes that do not count off the segment that is written to, or all of it.
func (s *Spool) cutTail() {
	seg := s.last()
	if seg.size > 0 {
		if err := s.out.Truncate(seg.size); err != nil {
			s.o.Log.Warn("what was not written as a whole stays at the end of a segment, until it is written over", "dir", s.o.Dir, "err", err)
		}
		return
	}
	if len(s.segments) == 1 && s.in != nil {
		s.in.Close()
		s.in = nil
	}
	s.out.Close()
	s.out = nil
	os.Remove(filepath.Join(s.o.Dir, name(seg.id)))
	s.segments = s.segments[:len(s.segments)-1]
}

// seal ends the segment that is written to.
func (s *Spool) seal() (undone int, err error) {
	undone, err = s.commit()
	if s.out != nil {
		if closeErr := s.out.Close(); err == nil && closeErr != nil {
			err = fmt.Errorf("close spool: %w", closeErr)
		}
		s.out = nil
	}
	return undone, err
}

func (s *Spool) write(e *Entry) error {
	need := e.size()
	if need > maxPayload || need > s.o.MaxBytes {
		return fmt.Errorf("spool: a request of %d bytes is over the limit of %d; give a larger spool.max_bytes", need, min(maxPayload, s.o.MaxBytes))
	}
	if err := s.makeRoom(need); err != nil {
		return err
	}
	for {
		err := s.tryWrite(e, need)
		if !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EDQUOT) || !s.dropOldest() {
			return err
		}
	}
}

// makeRoom drops the oldest segments until need more bytes are within the limits.
func (s *Spool) makeRoom(need int64) error {
	for s.bytes+need > s.o.MaxBytes && s.dropOldest() {
	}
	free, total, err := s.free()
	if err != nil {
		return nil // a write will tell
	}
	// Counted here and not asked for again: XFS, btrfs and ZFS free in the background, and all would go.
	reserve, dropped := min(int64(reserveBytes), total/reserveShare), int64(0)
	for free+dropped-need < reserve {
		size := int64(0)
		if len(s.segments) > 0 {
			size = s.segments[0].size
		}
		if !s.dropOldest() {
			return fmt.Errorf("spool: %d bytes are free on the disk, %d are to stay so", free, reserve)
		}
		dropped += size
	}
	return nil
}

func (s *Spool) tryWrite(e *Entry, need int64) error {
	if s.out == nil {
		id := uint64(time.Now().UnixNano())
		if len(s.segments) > 0 {
			id = max(id, s.last().id+1)
		}
		if err := os.MkdirAll(s.o.Dir, 0o700); err != nil { // somebody may have deleted it
			return fmt.Errorf("write spool: %w", err)
		}
		path := filepath.Join(s.o.Dir, name(id))
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return fmt.Errorf("write spool: %w", err)
		}
		if err := syncDir(s.o.Dir); err != nil {
			f.Close()
			os.Remove(path)
			return fmt.Errorf("write spool: %w", err)
		}
		s.out = f
		s.segments = append(s.segments, segment{id: id})
	}
	seg := s.last()
	s.head = appendHeader(s.head[:0], e)
	at := seg.size
	for i := -1; i < len(e.Request); i++ {
		b := s.head
		if i >= 0 {
			b = e.Request[i]
		}
		if _, err := s.out.WriteAt(b, at); err != nil {
			s.cutTail()
			return fmt.Errorf("write spool: %w", err)
		}
		at += int64(len(b))
	}
	e.at = place{seg.id, seg.size}
	seg.size = at
	seg.records += int64(e.Records)
	s.bytes += need
	s.records += int64(e.Records)
	s.fresh.entries++
	s.fresh.bytes += need
	s.fresh.records += int64(e.Records)
	return nil
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// dropOldest gives up what is left of the oldest segment, if there is one.
func (s *Spool) dropOldest() bool {
	if len(s.segments) == 0 {
		return false
	}
	records := s.segments[0].records
	if s.lent != nil && s.lent.at.segment == s.segments[0].id { // it may arrive yet
		records -= int64(s.lent.Records)
		s.taken = true
	}
	s.drop(Full, records)
	s.remove()
	s.saveCursor()
	return true
}

func (s *Spool) drop(reason string, records int64) {
	if records > 0 && s.o.Dropped != nil {
		s.o.Dropped(reason, records)
	}
}

// remove deletes the oldest segment. What is still in it is not counted any more.
func (s *Spool) remove() {
	seg := s.segments[0]
	if s.in != nil {
		s.in.Close()
		s.in = nil
	}
	if s.out != nil && len(s.segments) == 1 {
		s.out.Close()
		s.out, s.fresh = nil, fresh{}
	}
	s.bytes -= seg.size - s.at
	s.records -= seg.records
	s.segments = s.segments[1:]
	s.at, s.next, s.peeked, s.failing = 0, 0, nil, time.Time{}
	if err := os.Remove(filepath.Join(s.o.Dir, name(seg.id))); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.o.Log.Warn("a segment of the spool can't be deleted", "dir", s.o.Dir, "err", err)
	}
}

// Next lends the oldest entry that is not acknowledged; nil when nothing waits. Its request is the
// caller's. Ack or Return must follow.
func (s *Spool) Next() (*Entry, error) {
	s.mu.Lock()
	defer s.unlock()
	for {
		e, err := s.peek()
		if err != nil && s.givenUp(err) {
			continue
		}
		if err != nil || e == nil || s.o.MaxAge <= 0 || time.Since(e.Time) <= s.o.MaxAge {
			s.lent, s.taken = e, false
			return e, err
		}
		s.drop(TooOld, int64(e.Records))
		s.skip()
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

// peek reads the entry at the cursor and passes over what is damaged.
func (s *Spool) peek() (*Entry, error) {
	for s.peeked == nil {
		if len(s.segments) == 0 {
			return nil, nil
		}
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
		e, at, next, err := nextRecord(s.in, s.at, seg.size)
		switch {
		case err == nil:
			s.damaged(at)
			e.at = place{seg.id, at}
			s.peeked, s.next, s.failing = &e, next, time.Time{}
		case !errors.Is(err, io.EOF):
			return nil, fmt.Errorf("read spool: %w", err)
		default:
			s.damaged(seg.size)
			s.drop(Damaged, seg.records) // what was counted as written and did not come
			s.remove()
		}
	}
	return s.peeked, nil
}

// damaged passes over the bytes up to to. The records in them are told when the segment ends.
func (s *Spool) damaged(to int64) {
	if to == s.at {
		return
	}
	s.o.Log.Error("bytes of the spool are damaged; the records in them are lost", "file", filepath.Join(s.o.Dir, name(s.segments[0].id)), "offset", s.at, "bytes", to-s.at)
	s.bytes -= to - s.at
	s.bad += to - s.at
	s.at = to
}

// skip passes over the entry at the cursor.
func (s *Spool) skip() {
	seg := &s.segments[0]
	s.bytes -= s.next - s.at
	s.records -= int64(s.peeked.Records)
	seg.records -= int64(s.peeked.Records)
	s.at, s.peeked, s.unsaved = s.next, nil, true
}

// tidy deletes the first segment when all of it is acknowledged, and saves the cursor now and then.
func (s *Spool) tidy() {
	if s.at == s.segments[0].size {
		s.drop(Damaged, s.segments[0].records)
		s.remove()
		s.saveCursor()
		return
	}
	if time.Since(s.saved) >= cursorEvery {
		s.saveCursor()
	}
}

// Lend says that e, which is about to be appended as the oldest entry, is being sent, as if Next
// had given it.
func (s *Spool) Lend(e *Entry) {
	s.mu.Lock()
	s.lent, s.taken = e, false
	s.mu.Unlock()
}

// Ack says that the entry that was lent is done with.
func (s *Spool) Ack(e *Entry) {
	s.mu.Lock()
	defer s.unlock()
	s.lent = nil
	if len(s.segments) > 0 && e.at == (place{s.segments[0].id, s.at}) { // else the limits took it
		s.peeked, s.next = e, s.at+e.size()
		s.skip()
		s.tidy()
	}
}

// Return says that the entry that was lent was not delivered. It comes again, unless the limits
// took it meanwhile.
func (s *Spool) Return(e *Entry) {
	s.mu.Lock()
	defer s.unlock()
	if s.lent = nil; s.taken {
		s.drop(Full, int64(e.Records))
	}
}

// Close saves the cursor and closes the files. What waits is there after the next Open.
func (s *Spool) Close() error {
	s.mu.Lock()
	defer s.unlock()
	var err error
	if s.out != nil {
		_, err = s.seal()
	}
	if s.in != nil {
		s.in.Close()
		s.in = nil
	}
	if len(s.segments) > 0 {
		s.saveCursor()
	}
	return err
}
