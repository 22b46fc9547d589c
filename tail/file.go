package tail

import (
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"sync/atomic"

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
	gz   *os.File // the compressed log that f is the content of; nil for any other file
	dev  uint64
	ino  uint64
	path string // by which it was last seen
	// order sorts the generations of a chain, oldest first: a rotated file's stamp, "~" for the
	// live one.
	order string

	size  atomic.Int64 // when last looked at
	read  atomic.Int64 // up to here lines were taken; moved by the worker that runs the chain
	tried atomic.Int64 // up to here was read; what lies beyond read is a line without its end
	mtime int64        // ns, when last looked at; guarded by chain.mu like all below
	gone  bool         // unlinked

	seq      uint64 // reading session of the chain; see chain.advance
	frontier int64  // all before it is settled
	drained  bool   // read to its end, and a later generation took over
	saved    int64  // frontier in the state file
	headLen  int    // bytes that headHash covers
	headHash uint64
}

// live is the order of the file that is being written.
const live = "~"

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
	fl := &file{f: f, path: path, dev: uint64(st.Dev), ino: st.Ino, mtime: st.Mtim.Nano(), saved: -1}
	fl.size.Store(st.Size)
	return fl, nil
}

// look refreshes what fstat says. Needs chain.mu.
func (f *file) look() error {
	if f.gz != nil {
		return nil // it does not change
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.f.Fd()), &st); err != nil {
		return fmt.Errorf("stat %s: %w", f.path, err)
	}
	f.size.Store(st.Size)
	f.mtime = st.Mtim.Nano()
	f.gone = st.Nlink == 0
	return nil
}

func (f *file) close() {
	for _, x := range [...]*os.File{f.f, f.gz} {
		if x != nil {
			x.Close()
		}
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

// identify renews the head hash while the file is shorter than headBytes.
func (f *file) identify() {
	if n := int(min(f.size.Load(), headBytes)); n > f.headLen {
		if sum, ok := hashAt(f.f, 0, n); ok {
			f.headLen, f.headHash = n, sum
		}
	}
}

// record is what the state file keeps of f.
func (f *file) record(frontier int64) record {
	r := record{
		ID: f.id, Dev: f.dev, Ino: f.ino, Path: f.path, Frontier: frontier,
		HeadLen: f.headLen, HeadHash: f.headHash,
		TailLen: int(min(frontier, tailBytes)),
	}
	r.TailHash, _ = hashAt(f.f, frontier-int64(r.TailLen), r.TailLen)
	return r
}

// matches says whether f is the file that r was saved of: the same inode, the same beginning,
// at least as long as what was read, and the same bytes before that point.
func (f *file) matches(r record) bool {
	return f.dev == r.Dev && f.ino == r.Ino && f.holds(r)
}

// holds is matches without the inode, for content that was copied.
func (f *file) holds(r record) bool {
	if f.size.Load() < r.Frontier {
		return false
	}
	head, ok1 := hashAt(f.f, 0, r.HeadLen)
	tail, ok2 := hashAt(f.f, r.Frontier-int64(r.TailLen), r.TailLen)
	return ok1 && ok2 && head == r.HeadHash && tail == r.TailHash
}
