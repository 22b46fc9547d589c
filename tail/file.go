package tail

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	headBytes = 256 // of a file's beginning that identify it
	tailBytes = 64  // before the frontier that say whether it still is the same content
)

// file is one generation of a log: the live file or a rotated one. It stays open as long as
// its name exists, which keeps its inode from being used again; so (device, inode) is an exact
// identity among open files. Across restarts the saved head and tail hashes decide.
type file struct {
	id   uint64 // of its record in the state file
	f    *os.File
	gz   *os.File      // the compressed log that f is the content of; nil for any other file
	room *atomic.Int64 // counts the content of a compressed log while it lies on disk; nil else
	dev  uint64
	ino  uint64
	path string // by which it was last seen
	// order sorts the generations of a chain, oldest first: a rotated file's stamp, "~" for the
	// live one, "}" while the stamp of a rotated one is not known.
	order string
	born  int // the how many-th file of its chain

	size  atomic.Int64 // when last looked at
	read  atomic.Int64 // up to here lines were taken; moved by the worker that runs the chain
	tried atomic.Int64 // up to here was read; what lies beyond read is a line without its end
	mtime int64        // ns, when last looked at; guarded by chain.mu like all below
	seen  int64        // Tailer.clock when this mtime was first seen
	// touched: written to since the last turn began. It may have been cut and have grown to the
	// very same size.
	touched bool
	gone    bool  // unlinked
	goneAt  int64 // Tailer.clock when that was seen
	swapped bool  // followed while plain, and goes on in the compressed copy
	packed  int64 // bytes of the compressed log

	seq      uint64         // reading session of the chain; see chain.advance
	done     [streams]int64 // all of the stream before it is settled
	frontier int64          // the least of done
	drained  bool           // read to its end, and a later generation took over
	saved    [streams]int64 // done in the state file
	cutOff   int64          // bytes that were not read when the file was truncated
	// gap: generations before this one were lost; records that began there have no end.
	gap      bool
	headLen  int // bytes that headHash covers
	headHash uint64

	// skip is done at the start of the process: lines of the stream before it are settled, while
	// those of another stream may not be.
	skip [streams]int64

	// The worker's: the bytes before endAt when the last turn ended.
	end    [tailBytes]byte
	endLen int
	endAt  int64
}

const (
	live    = "~" // the order of the file that is being written
	unnamed = "}"
)

// olderThan says whether f comes before x. Without a stamp, what was found later is younger.
func (f *file) olderThan(x *file) bool {
	switch {
	case f.order == live || x.order == live:
		return f.order != live
	case f.order == unnamed || x.order == unnamed:
		return f.born < x.born
	}
	return f.order < x.order
}

// openFile opens a regular file without waiting (a FIFO would block) and looks at it.
func openFile(path string) (*file, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		f.Close()
		return nil, fmt.Errorf("stat %s: %w", path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		f.Close()
		return nil, fmt.Errorf("open %s: not a regular file", path)
	}
	fl := &file{f: f, path: path, dev: uint64(st.Dev), ino: st.Ino, mtime: st.Mtim.Nano()}
	for st := range fl.saved {
		fl.saved[st] = -1
	}
	fl.size.Store(st.Size)
	return fl, nil
}

// look refreshes what fstat says; now is Tailer.clock. Needs chain.mu.
func (f *file) look(now int64) error {
	src := f.f
	if f.gz != nil {
		src = f.gz
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(src.Fd()), &st); err != nil {
		return fmt.Errorf("stat %s: %w", f.path, err)
	}
	if st.Nlink == 0 && !f.gone {
		f.gone, f.goneAt = true, now
	}
	if f.gz != nil { // its content does not change
		f.packed = st.Size
		return nil
	}
	if was := f.size.Swap(st.Size); st.Size < was {
		f.cutOff = max(f.cutOff, was-f.read.Load())
	}
	if mtime := st.Mtim.Nano(); mtime != f.mtime {
		f.mtime, f.seen, f.touched = mtime, now, true
	}
	return nil
}

// left says whether nobody has written to f for a while; now is Tailer.clock. A modification
// time in the future, from before the clock was set back, says nothing: then what was seen
// counts. Needs chain.mu.
func (f *file) left(now int64) bool {
	return time.Now().UnixNano()-f.mtime >= int64(quiet) || now-f.seen >= int64(quiet)
}

// settled moves the frontier of one stream, if it does not lie there already. Needs chain.mu.
func (f *file) settled(s stream, to int64) bool {
	if f.done[s] >= to {
		return false
	}
	f.done[s] = to
	f.frontier = slices.Min(f.done[:])
	return true
}

// resume puts f where it was left. Needs chain.mu, if the chain has f already.
func (f *file) resume(done [streams]int64) {
	f.done, f.skip = done, done
	f.frontier = slices.Min(done[:])
	f.read.Store(f.frontier)
}

func (f *file) close() {
	for _, x := range [...]*os.File{f.f, f.gz} {
		if x != nil {
			x.Close()
		}
	}
	if f.room != nil {
		f.room.Add(-f.size.Load())
		f.room = nil
	}
}

// hashAt hashes n bytes at off; ok is false when they are not all there.
func hashAt(r io.ReaderAt, off int64, n int) (sum uint64, ok bool) {
	var buf [headBytes]byte
	if m, _ := r.ReadAt(buf[:n], off); m != n {
		return 0, false
	}
	h := fnv.New64a()
	h.Write(buf[:n])
	return h.Sum64(), true
}

// mark remembers the bytes before the offset. The worker's.
func (f *file) mark() {
	if at := f.read.Load(); at != f.endAt && f.f != nil {
		n := min(at, tailBytes)
		f.endLen, f.endAt = int(n), at
		if m, _ := f.f.ReadAt(f.end[:n], at-n); m < f.endLen {
			f.endLen = 0 // truncated this moment
		}
	}
}

// markFrom remembers the bytes before at, which buf ends with. The worker's.
func (f *file) markFrom(buf []byte, at int64) {
	if f.endAt != at-int64(len(buf)) {
		f.endLen = 0
	}
	var all [2 * tailBytes]byte
	n := copy(all[:], f.end[:f.endLen])
	n += copy(all[n:], buf[max(len(buf)-tailBytes, 0):])
	f.endLen, f.endAt = copy(f.end[:], all[max(n-tailBytes, 0):n]), at
}

// lineStart is where the line begins that has not ended at offset at; at itself, if it has.
func (f *file) lineStart(at int64) int64 {
	buf := make([]byte, min(at, 64<<10))
	n, _ := f.f.ReadAt(buf, at-int64(len(buf)))
	if i := bytes.LastIndexByte(buf[:n], '\n'); n == len(buf) && (i >= 0 || int64(n) == at) {
		return at - int64(n-i-1)
	}
	return at // a line longer than that
}

// continues says whether the bytes before the offset still are what they were; else the file
// was truncated and has grown past the offset again. The worker's.
func (f *file) continues() bool {
	if f.endAt != f.read.Load() {
		return true // not known
	}
	var b [tailBytes]byte
	n, _ := f.f.ReadAt(b[:f.endLen], f.endAt-int64(f.endLen))
	return n < f.endLen || string(b[:n]) == string(f.end[:n]) // a shorter file is noticed by its size
}

// identify renews the head hash while the file is shorter than headBytes.
func (f *file) identify() {
	if n := int(min(f.size.Load(), headBytes)); n > f.headLen {
		if sum, ok := hashAt(f.f, 0, n); ok {
			f.headLen, f.headHash = n, sum
		}
	}
}

// record is what the state file keeps of f.
func (f *file) record() record {
	r := record{
		ID: f.id, Dev: f.dev, Ino: f.ino, Path: f.path, Frontier: f.frontier, Size: f.size.Load(),
		HeadLen: f.headLen, HeadHash: f.headHash,
		TailLen: int(min(f.frontier, tailBytes)),
	}
	for s, done := range f.done {
		r.Ahead[s] = done - f.frontier
	}
	r.TailHash, _ = hashAt(f.f, f.frontier-int64(r.TailLen), r.TailLen)
	return r
}

// matches says whether f is the file that r was saved of: the same inode, the same beginning,
// at least as long as what was read, and the same bytes before that point.
func (f *file) matches(r record) bool {
	return f.dev == r.Dev && f.ino == r.Ino && f.holds(r)
}

// holds is matches without the inode, for content that was copied.
func (f *file) holds(r record) bool {
	if done := r.done(); f.size.Load() < slices.Max(done[:]) {
		return false
	}
	head, ok1 := hashAt(f.f, 0, r.HeadLen)
	tail, ok2 := hashAt(f.f, r.Frontier-int64(r.TailLen), r.TailLen)
	return ok1 && ok2 && head == r.HeadHash && tail == r.TailHash
}
