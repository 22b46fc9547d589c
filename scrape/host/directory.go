package host

import (
	"bytes"
	"encoding/binary"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"stint/scrape/kernel"
)

// directory is a directory of /proc or /sys that is listed again and again: it stays open and
// is read into the same buffer. Not safe for concurrent use.
type directory struct {
	path []byte // with a NUL
	fd   int    // -1 when closed
	buf  []byte
	all  []byte // entries as the kernel gave them
	left []byte // of them, those that next has not given out yet
	sum  uint64 // of the names that changed saw last
}

func newDirectory(path string) directory { return directory{path: kernel.CString(path), fd: -1} }

func (d *directory) close() {
	if d.fd >= 0 {
		unix.Close(d.fd)
		d.fd = -1
	}
	d.sum = 0
}

// read lists the directory anew. One that is not there has no entries and is no error.
func (d *directory) read() error {
	kept := d.fd >= 0
	errno := d.try()
	if errno != 0 && kept { // it may have been removed and made again
		errno = d.try()
	}
	d.left = d.all
	if errno != 0 && errno != unix.ENOENT {
		return &os.PathError{Op: "list", Path: string(d.path[:len(d.path)-1]), Err: errno}
	}
	return nil
}

func (d *directory) try() (errno unix.Errno) {
	d.all = nil
	if d.fd < 0 {
		if d.fd, errno = kernel.Open(d.path); errno != 0 {
			return errno
		}
	} else if _, err := unix.Seek(d.fd, 0, unix.SEEK_SET); err != nil {
		return d.fail(err)
	}
	if d.buf == nil {
		d.buf = make([]byte, 8<<10)
	}
	for n := 0; ; {
		if len(d.buf)-n < 1<<10 { // room for an entry
			d.buf = append(d.buf, make([]byte, len(d.buf))...)
		}
		r, err := unix.ReadDirent(d.fd, d.buf[n:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return d.fail(err)
		}
		if n += r; r == 0 {
			d.all = d.buf[:n]
			return 0
		}
	}
}

// fail closes a directory that cannot be listed any more.
func (d *directory) fail(err error) unix.Errno {
	d.close()
	errno, _ := err.(unix.Errno)
	return errno
}

// next returns the names of the last read one after the other, valid until the next read; nil
// at the end.
func (d *directory) next() []byte {
	const length, name = int(unsafe.Offsetof(unix.Dirent{}.Reclen)), int(unsafe.Offsetof(unix.Dirent{}.Name))
	for len(d.left) > name {
		n := int(binary.NativeEndian.Uint16(d.left[length:]))
		if n <= name || n > len(d.left) {
			return nil
		}
		entry := d.left[name:n]
		d.left = d.left[n:]
		if i := bytes.IndexByte(entry, 0); i >= 0 {
			entry = entry[:i]
		}
		if string(entry) != "." && string(entry) != ".." {
			return entry
		}
	}
	return nil
}

// changed reads the directory and tells whether its names are others than the last time.
func (d *directory) changed() (bool, error) {
	err := d.read()
	sum := uint64(1) // not 0, which stands for never
	for name := d.next(); name != nil; name = d.next() {
		h := uint64(14695981039346656037) // FNV-1a
		for _, c := range name {
			h = (h ^ uint64(c)) * 1099511628211
		}
		sum += h // in any order
	}
	d.left = d.all
	was := d.sum
	d.sum = sum
	return sum != was, err
}
