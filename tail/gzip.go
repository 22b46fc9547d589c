package tail

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
)

// The kubelet compresses a rotated log at the next rotation: N.log.STAMP becomes
// N.log.STAMP.gz, with the same content, and the plain file is deleted. A compressed log that
// was followed while it was plain is known by its stamp. Any other one (rotated and compressed
// while the agent was not running, or long before) is written out into a file without a name
// when its turn has come, found again among the saved entries by its content, and read on from
// there like any other file. One that was read to its end is kept by name until it is deleted,
// so that no restart reads it again.

// maxInflated bounds what one compressed log may become: the kubelet rotates at 10 MiB by
// default; no sensible setting comes near.
const maxInflated = 4 << 30

// maxInflatedBytes is how much of compressed logs may lie written out at a time, if it is more
// than one: after an outage many containers have some to be read.
const maxInflatedBytes = 256 << 20

// errNoRoom says that maxInflatedBytes is reached.
var errNoRoom = errors.New("other compressed logs are being read")

// keptFile is a compressed log whose content was delivered.
type keptFile struct {
	id    uint64
	order string
	path  string
}

// openCompressed opens a compressed log; nothing is read of its content yet.
func openCompressed(path string) (*file, error) {
	f, err := openFile(path)
	if err != nil {
		return nil, err
	}
	n, err := inflatedSize(f.f, f.size.Load())
	if err != nil {
		f.f.Close()
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	f.gz, f.f = f.f, nil
	f.mtime = 0 // nobody writes to it
	f.size.Store(n)
	return f, nil
}

// inflatedSize is the size that the end of a gzip file states, modulo 4 GiB (RFC 1952, 2.3.1).
func inflatedSize(r io.ReaderAt, size int64) (int64, error) {
	var b [4]byte
	if size < 18 { // header and trailer alone
		return 0, errors.New("too short for a gzip file")
	}
	if _, err := r.ReadAt(b[:], size-4); err != nil {
		return 0, err
	}
	return int64(binary.LittleEndian.Uint32(b[:])), nil
}

// inflate writes f's content into a file without a name and finds out how much of it was
// delivered before.
func (t *Tailer) inflate(c *chain, f *file) (err error) {
	size := f.size.Load()
	// A log of which one lies there already may need this one to be done with it: a record may
	// begin in the one and end in the other.
	c.mu.Lock()
	another := slices.ContainsFunc(c.drained, func(x *file) bool { return x.room != nil })
	c.mu.Unlock()
	if t.inflated.Add(size) > max(maxInflatedBytes, size) && !another {
		t.inflated.Add(-size)
		return errNoRoom
	}
	defer func() {
		if err != nil {
			t.inflated.Add(-size)
		}
	}()
	out, err := os.CreateTemp(t.stateDir, "inflated-*")
	if err != nil { // a read-only state directory
		if out, err = os.CreateTemp("", "stint-inflated-*"); err != nil {
			return fmt.Errorf("room to decompress %s: %w", f.path, err)
		}
	}
	if err := os.Remove(out.Name()); err != nil {
		out.Close()
		return fmt.Errorf("decompress %s: %w", f.path, err)
	}
	n, err := decompress(out, io.NewSectionReader(f.gz, 0, 1<<62))
	if err != nil {
		out.Close()
		return fmt.Errorf("decompress %s after %d bytes: %w", f.path, n, err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	f.f = out
	switch sum, ok := hashAt(out, 0, f.headLen); {
	case f.swapped && (!ok || sum != f.headHash):
		f.f = nil
		out.Close()
		return corruptError{fmt.Errorf("decompress %s: other content than the plain file had", f.path)}
	case f.swapped:
		t.stats.recovered.Add(1)
	case c.hasContent(out, n):
		f.f = nil
		out.Close()
		return errKnown
	default:
		f.size.Store(n)
		if r, ok := t.store.claimContent(filepath.Dir(f.path), f); ok {
			f.id, f.headLen, f.headHash = r.ID, r.HeadLen, r.HeadHash
			f.resume(r.done())
			f.saved = f.done
			t.stats.recovered.Add(1)
		} else {
			f.id = t.store.newID()
			c.changed()
		}
	}
	f.size.Store(n)
	t.inflated.Add(n - size)
	f.room = &t.inflated
	f.identify()
	return nil
}

// head is the beginning of a compressed log's content.
func (f *file) head() ([]byte, error) {
	r, err := gzip.NewReader(io.NewSectionReader(f.gz, 0, 1<<62))
	if err != nil {
		return nil, err
	}
	head := make([]byte, headBytes)
	n, err := io.ReadFull(r, head)
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		err = nil // a short one
	}
	return head[:n], err
}

// recognize says whether z, which lies at g.path, is the content of a followed file that was
// renamed, compressed and deleted between two looks, and learns its stamp by it, or of one that
// was ended or given up before. Needs t.mu.
func (c *chain) recognize(z *file, g generation) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	var head []byte
	same := func(x content) bool {
		if x.headLen == 0 || x.size&(1<<32-1) != z.size.Load() {
			return false
		}
		if head == nil {
			var err error
			if head, err = z.head(); err != nil {
				return false
			}
		}
		sum, ok := hashAt(bytes.NewReader(head), 0, x.headLen)
		return ok && sum == x.headHash
	}
	for _, list := range [2][]*file{c.files, c.drained} {
		for _, f := range list {
			if f.order < unnamed || f.look(c.t.clock()) != nil || f.order == live && !f.gone {
				continue
			}
			f.identify()
			if same(content{f.headLen, f.headHash, f.size.Load()}) {
				f.order, f.path = g.order, strings.TrimSuffix(g.path, ".gz")
				c.useCompressed(f, g.path)
				return true
			}
		}
	}
	if slices.ContainsFunc(c.past, same) {
		c.t.keepName(c, g.order, g.path, z.size.Load())
		return true
	}
	return false
}

// useCompressed lets f, deleted before it was read to its end, go on in its compressed copy at
// path: what an outage keeps on disk is then a fraction. A file that a worker is in, or of which
// records are in flight, stays as it is: its entry must follow them. Needs t.mu and c.mu.
func (c *chain) useCompressed(f *file, path string) {
	if !slices.Contains(c.files, f) || c.isRead(f) || f.gz != nil || f.look(c.t.clock()) != nil || !f.gone || f.size.Load() == f.read.Load() || f.frontier != f.read.Load() {
		return
	}
	z, err := openCompressed(path)
	if err != nil {
		return // it is open as a plain file
	}
	if z.size.Load() != f.size.Load()&(1<<32-1) {
		z.close()
		return
	}
	f.identify()
	c.t.pending = append(c.t.pending, f.record())
	f.saved = f.done
	f.f.Close()
	f.f, f.gz, f.path, f.gone, f.swapped = nil, z.gz, path, false, true
	f.dev, f.ino = z.dev, z.ino // another file may get the plain one's
}

// decompress writes r's content to out. A corruptError says that this will never go further;
// any other error is the disk's (full, say) and may pass.
func decompress(out io.Writer, r io.Reader) (n int64, err error) {
	z, err := gzip.NewReader(bufio.NewReaderSize(r, 64<<10))
	if err == nil {
		n, err = io.Copy(out, io.LimitReader(z, maxInflated))
	}
	var disk *fs.PathError
	if err != nil && !errors.As(err, &disk) {
		err = corruptError{err}
	}
	return n, err
}

// errKnown says that a compressed log is one that is, or was, followed while it was plain.
var errKnown = errors.New("known under another name")

// content tells logs apart that have lost their names.
type content struct {
	headLen  int
	headHash uint64
	size     int64
}

// pastFor is how long a chain that has nothing else is kept for logs that vanished without a known name: their compressed
// copies are found in the next look at the directory, on a machine that is busy in one of those that follow.
const pastFor = time.Minute

// maxPast is how many logs that vanished without a known name are remembered: the kubelet
// keeps five.
const maxPast = 8

// remember keeps what identifies f after it is closed. Needs c.mu.
func (c *chain) remember(f *file) {
	f.identify()
	c.past = append(c.past, content{f.headLen, f.headHash, f.size.Load()})
	c.past = c.past[max(len(c.past)-maxPast, 0):]
}

// hasContent says whether n bytes of out are what another file of c has or had. The kubelet may
// rename, compress and delete between two looks, so that a followed file never had its stamp.
// Needs c.mu.
func (c *chain) hasContent(out *os.File, n int64) bool {
	same := func(x content) bool {
		sum, ok := hashAt(out, 0, x.headLen)
		return ok && x.headLen > 0 && sum == x.headHash && x.size == n
	}
	for _, list := range [2][]*file{c.files, c.drained} {
		for _, f := range list {
			if !f.swapped && (f.gz != nil || f.look(c.t.clock()) != nil || !f.gone) {
				continue
			}
			f.identify()
			if same(content{f.headLen, f.headHash, f.size.Load()}) {
				return true
			}
		}
	}
	return slices.ContainsFunc(c.past, same)
}

// corruptError says that a compressed log can't be read, now or later.
type corruptError struct{ error }

// keepName keeps a compressed log by name alone: nothing of it is to be read. Needs t.mu and
// c.mu.
func (t *Tailer) keepName(c *chain, order, path string, size int64) {
	id := t.store.newID()
	t.pending = append(t.pending, record{ID: id, Path: path, Frontier: size, Size: size})
	c.kept = append(c.kept, keptFile{id: id, order: order, path: path})
}

// keep ends a file whose content lies compressed under path: only its name is kept. Needs t.mu
// and c.mu.
func (t *Tailer) keep(c *chain, f *file, path string) {
	r := f.record()
	r.Path = path
	t.pending = append(t.pending, r)
	c.kept = append(c.kept, keptFile{id: f.id, order: f.order, path: path})
	f.close()
}

// forgetKept forgets the kept files that are not among the paths. Needs t.mu and c.mu.
func (t *Tailer) forgetKept(c *chain, paths map[string]bool) {
	kept := c.kept[:0]
	for _, k := range c.kept {
		if paths[k.path] {
			kept = append(kept, k)
		} else {
			t.pending = append(t.pending, record{ID: k.id, Gone: true})
		}
	}
	c.kept = kept
}

// knows says whether the generation with this stamp is, or was, followed. Needs c.mu.
func (c *chain) knows(order string) bool {
	for _, list := range [2][]*file{c.files, c.drained} {
		for _, f := range list {
			if f.order == order {
				return true
			}
		}
	}
	for _, k := range c.kept {
		if k.order == order {
			return true
		}
	}
	return false
}
