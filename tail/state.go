package tail

import (
	"bufio"
	"bytes"
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
	"time"
)

// store keeps the offsets: a file of checksummed records, appended to, of which the last with
// an ID counts.
//
//	"stint offsets 2\n"
//	{ length uint32, CRC-32C of the payload uint32, payload }…
//
// A torn or flipped record ends the file: it and what follows is cut off and said, which
// repeats lines and loses none. When the file has grown to several times what is alive, the
// whole table is written to a new file, synced, and renamed over; the one before is kept as
// .old and read when the current one is unreadable. Nothing in here ever keeps the agent from
// starting.
type store struct {
	log      *slog.Logger
	path     string
	f        *os.File
	size     int64 // of the file
	live     int64 // bytes that one record of each entry takes
	unsynced bool

	entries map[uint64]record
	byInode map[inode][]uint64 // entries that no open file has claimed yet
	nextID  uint64
	fresh   bool // there was no state at all: the very first start
	buf     []byte
}

type inode struct{ dev, ino uint64 }

// record is what is known of one file across restarts.
type record struct {
	ID       uint64
	Dev, Ino uint64
	Path     string // by which it was last seen
	Frontier int64
	Ahead    [streams]int64 // how much farther each stream is settled
	Size     int64          // of the file, when this was saved
	HeadLen  int
	HeadHash uint64
	TailLen  int
	TailHash uint64
	Seen     int64 // unix seconds when it was saved
	Gone     bool  // the entry is to be forgotten
}

const (
	stateMagic  = "stint offsets 2\n"
	maxRecord   = 8 << 10
	compactOver = 256 << 10 // bytes; a smaller file is not worth compacting
	// forgetAfter is how long an entry waits for a file that is not to be found: the tree may be
	// mounted late, and a name may come back.
	forgetAfter = 24 * time.Hour
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// openStore reads the offsets in dir. It fails only when the directory cannot be made; then
// offsets are not kept.
func openStore(dir string, log *slog.Logger) (*store, error) {
	s := &store{log: log, path: filepath.Join(dir, "offsets"), entries: map[uint64]record{}, byInode: map[inode][]uint64{}}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return s, fmt.Errorf("make state directory: %w", err)
	}
	_, errNew := os.Stat(s.path)
	_, errOld := os.Stat(s.path + ".old")
	s.fresh = errors.Is(errNew, fs.ErrNotExist) && errors.Is(errOld, fs.ErrNotExist)
	if !s.fresh {
		s.load()
	}
	for id, r := range s.entries {
		k := inode{r.Dev, r.Ino}
		s.byInode[k] = append(s.byInode[k], id)
		s.nextID = max(s.nextID, id)
	}
	// Starting with a compacted file also proves that the directory can be written.
	if err := s.replace(s.table()); err != nil {
		return s, err
	}
	return s, nil
}

// load reads the current file, else the old one.
func (s *store) load() {
	good, err := s.loadFile(s.path)
	if err == nil {
		return
	}
	s.log.Warn("offsets file is damaged; what could be read of it is used, some lines may be sent twice",
		"file", s.path, "entries", good, "err", err)
	_ = os.Rename(s.path, s.path+".bad") // for whoever wants to know; the next one overwrites it
	if good > 0 {
		return
	}
	if good, err = s.loadFile(s.path + ".old"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Warn("the old offsets file is damaged too", "file", s.path+".old", "entries", good, "err", err)
	}
}

func (s *store) loadFile(path string) (good int, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return s.replay(bufio.NewReaderSize(f, 64<<10))
}

// replay applies records until the end or the first bad one, and returns how many were good.
func (s *store) replay(r io.Reader) (good int, err error) {
	var head [len(stateMagic)]byte
	if _, err := io.ReadFull(r, head[:]); err != nil || string(head[:]) != stateMagic {
		return 0, errors.New("no offsets file of this version")
	}
	var frame [8]byte
	payload := make([]byte, maxRecord)
	for {
		if _, err := io.ReadFull(r, frame[:]); err == io.EOF {
			return good, nil
		} else if err != nil {
			return good, fmt.Errorf("record %d: torn frame", good+1)
		}
		n := binary.LittleEndian.Uint32(frame[:])
		if n > maxRecord {
			return good, fmt.Errorf("record %d: length %d", good+1, n)
		}
		if _, err := io.ReadFull(r, payload[:n]); err != nil {
			return good, fmt.Errorf("record %d: torn", good+1)
		}
		if crc32.Checksum(payload[:n], castagnoli) != binary.LittleEndian.Uint32(frame[4:]) {
			return good, fmt.Errorf("record %d: checksum", good+1)
		}
		rec, ok := parseRecord(payload[:n])
		if !ok {
			return good, fmt.Errorf("record %d: content", good+1)
		}
		if rec.Gone {
			delete(s.entries, rec.ID)
		} else {
			s.entries[rec.ID] = rec
		}
		good++
	}
}

// claim returns the saved entry of f, if its content still is what was saved.
func (s *store) claim(f *file) (record, bool) {
	k := inode{f.dev, f.ino}
	best := record{Frontier: -1} // an entry that says less may be of an earlier user of the inode
	for _, id := range s.byInode[k] {
		if r := s.entries[id]; r.Frontier > best.Frontier && f.matches(r) {
			best = r
		}
	}
	if best.Frontier < 0 {
		return record{}, false
	}
	s.unclaimed(k, best.ID)
	return best, true
}

// unclaimed takes an entry off byInode.
func (s *store) unclaimed(k inode, id uint64) {
	s.byInode[k] = slices.DeleteFunc(s.byInode[k], func(other uint64) bool { return other == id })
	if len(s.byInode[k]) == 0 {
		delete(s.byInode, k)
	}
}

// claimContent returns the entry of a file that was in dir and whose content f has, whatever
// its inode was.
func (s *store) claimContent(dir string, f *file) (record, bool) {
	for k, ids := range s.byInode {
		for _, id := range ids {
			if r := s.entries[id]; r.HeadLen > 0 && filepath.Dir(r.Path) == dir && f.holds(r) {
				s.unclaimed(k, id)
				return r, true
			}
		}
	}
	return record{}, false
}

// claimKept returns the entry of a compressed log that was delivered to its end.
func (s *store) claimKept(path string, size int64) (record, bool) {
	for k, ids := range s.byInode {
		for _, id := range ids {
			if r := s.entries[id]; r.Path == path && r.Frontier&(1<<32-1) == size {
				s.unclaimed(k, id)
				return r, true
			}
		}
	}
	return record{}, false
}

// newID is an ID that no entry has.
func (s *store) newID() uint64 {
	s.nextID++
	return s.nextID
}

// prepare takes records into the table and returns the function that writes them; the table
// may be used while that one waits for the disk. What is written survives a kill of the process;
// a power failure may take what was written since the last sync, which repeats lines.
func (s *store) prepare(records []record) (write func() error) {
	s.buf = s.buf[:0]
	now := time.Now().Unix()
	for _, r := range records {
		r.Seen = now
		if r.Gone {
			delete(s.entries, r.ID)
		} else {
			s.entries[r.ID] = r
		}
		s.buf = appendFramed(s.buf, r)
	}
	if s.f == nil || s.size > compactOver && s.size > 4*s.live {
		table := s.table()
		return func() error { return s.replace(table) }
	}
	return s.append
}

// append writes what prepare left in buf.
func (s *store) append() error {
	if len(s.buf) == 0 {
		return nil
	}
	n, err := s.f.Write(s.buf)
	s.size += int64(n)
	s.unsynced = true
	return s.broken(err)
}

// sync makes durable what was written.
func (s *store) sync() error {
	if s.f == nil || !s.unsynced {
		return nil
	}
	s.unsynced = false
	return s.broken(s.f.Sync())
}

// broken starts a new file at the next save, if err is one: what was written of the last record
// is torn.
func (s *store) broken(err error) error {
	if err == nil {
		return nil
	}
	s.f.Close()
	s.f = nil
	return fmt.Errorf("save offsets: %w", err)
}

// sweep renews when open files were seen, forgets the entries of files that were not found
// for a day, and lets the next save write a new file. It is called once an hour.
func (s *store) sweep(open map[uint64]bool) {
	now := time.Now()
	for id, r := range s.entries {
		if open[id] {
			r.Seen = now.Unix()
			s.entries[id] = r
		} else if r.Seen < now.Add(-forgetAfter).Unix() {
			delete(s.entries, id)
			s.unclaimed(inode{r.Dev, r.Ino}, id)
		}
	}
	s.close()
}

// table is the content of a new file.
func (s *store) table() []byte {
	b := append(make([]byte, 0, 4<<10), stateMagic...)
	for _, r := range s.entries {
		b = appendFramed(b, r)
	}
	return b
}

// replace writes a table to a new file and renames it over the current one.
func (s *store) replace(b []byte) (err error) {
	s.close()
	tmp := s.path + ".new"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("save offsets: %w", err)
	}
	defer func() {
		if err != nil {
			f.Close()
			err = fmt.Errorf("save offsets: %w", err)
		}
	}()
	if _, err = f.Write(b); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	_ = os.Remove(s.path + ".old")
	if err := os.Link(s.path, s.path+".old"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Debug("no old generation of the offsets is kept", "err", err)
	}
	if err = os.Rename(tmp, s.path); err != nil {
		return err
	}
	if d, err := os.Open(filepath.Dir(s.path)); err == nil { // makes the rename durable
		_ = d.Sync()
		d.Close()
	}
	s.f, s.size, s.live, s.unsynced = f, int64(len(b)), int64(len(b)), false
	return nil
}

func (s *store) close() {
	if s.f != nil {
		s.f.Close()
		s.f = nil
	}
}

func appendFramed(dst []byte, r record) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0, 0, 0, 0, 0)
	dst = appendRecord(dst, r)
	payload := dst[start+8:]
	binary.LittleEndian.PutUint32(dst[start:], uint32(len(payload)))
	binary.LittleEndian.PutUint32(dst[start+4:], crc32.Checksum(payload, castagnoli))
	return dst
}

// recordNumbers stand before the path.
const recordNumbers = 14

func appendRecord(dst []byte, r record) []byte {
	gone := uint64(0)
	if r.Gone {
		gone = 1
	}
	for _, v := range [recordNumbers]uint64{
		gone, r.ID, r.Dev, r.Ino, uint64(r.Frontier), uint64(r.HeadLen), r.HeadHash, uint64(r.TailLen), r.TailHash, uint64(r.Seen),
		uint64(r.Ahead[stdout]), uint64(r.Ahead[stderr]), uint64(r.Ahead[noStream]), uint64(r.Size),
	} {
		dst = binary.AppendUvarint(dst, v)
	}
	return append(dst, r.Path[:min(len(r.Path), maxRecord/2)]...)
}

func parseRecord(b []byte) (r record, ok bool) {
	var v [recordNumbers]uint64
	for i := range v {
		n := 0
		if v[i], n = binary.Uvarint(b); n <= 0 {
			return r, false
		}
		b = b[n:]
	}
	r = record{
		Gone: v[0] == 1, ID: v[1], Dev: v[2], Ino: v[3], Frontier: int64(v[4]),
		HeadLen: int(v[5]), HeadHash: v[6], TailLen: int(v[7]), TailHash: v[8], Seen: int64(v[9]),
		Ahead: [streams]int64{int64(v[10]), int64(v[11]), int64(v[12])}, Size: int64(v[13]),
		Path: string(bytes.ToValidUTF8(b, nil)),
	}
	return r, v[0] <= 1 && r.Frontier >= 0 && slices.Min(r.Ahead[:]) >= 0 && r.Size >= 0 &&
		v[5] <= headBytes && v[7] <= tailBytes && int64(r.TailLen) <= r.Frontier
}

// done is where each stream is settled.
func (r record) done() (done [streams]int64) {
	for s := range done {
		done[s] = r.Frontier + r.Ahead[s]
	}
	return done
}
