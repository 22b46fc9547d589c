// Package kernel reads the text files that the kernel makes up, those of /proc, /sys and of
// cgroups: it keeps them open, and takes words and numbers out of them without allocating.
package kernel

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	firstBuf = 4 << 10 // one page: most files of /proc fit
	maxFile  = 4 << 20 // no file read here comes near; /proc/stat of 2,000 CPUs has about 200 KiB
)

// File is a file of the kernel that is read again and again: it stays open and is read with
// pread into the same buffer, which grows to the largest content seen. Not safe for
// concurrent use.
type File struct {
	Path string
	cstr []byte // Path with a NUL, so that opening allocates nothing
	fd   int    // -1 when closed
	buf  []byte
}

// NewFile names a file; the first read opens it.
func NewFile(path string) File { return File{Path: path, cstr: CString(path), fd: -1} }

// FD is the descriptor of the open file, -1 when it is closed.
func (f *File) FD() int { return f.fd }

// Read returns the whole content, valid until the next read. A file that was open already
// and cannot be read any more is opened anew.
func (f *File) Read() ([]byte, error) {
	kept := f.fd >= 0
	b, op, errno := f.try()
	if errno != 0 && kept {
		b, op, errno = f.try()
	}
	if errno != 0 {
		return nil, &os.PathError{Op: op, Path: f.Path, Err: errno}
	}
	return b, nil
}

// ReadIfThere is Read, but a file that does not exist has no content and is no error.
func (f *File) ReadIfThere() ([]byte, error) {
	if f.fd < 0 {
		if errno := f.Open(); errno == unix.ENOENT {
			return nil, nil
		} else if errno != 0 {
			return nil, &os.PathError{Op: "open", Path: f.Path, Err: errno}
		}
	}
	return f.Read()
}

// Open opens a file that is closed.
func (f *File) Open() (errno unix.Errno) {
	f.fd, errno = Open(f.cstr)
	return errno
}

// try opens the file if need be and reads it. It leaves it closed after an error.
func (f *File) try() (b []byte, op string, errno unix.Errno) {
	if f.fd < 0 {
		if errno := f.Open(); errno != 0 {
			return nil, "open", errno
		}
	}
	if b, errno = readAll(f.fd, &f.buf, false); errno != 0 {
		f.Close()
		return nil, "read", errno
	}
	return b, "", 0
}

// Pread reads an open file whose content the kernel makes in one piece, as all files of
// cgroups that hold no list: from the start, into a buffer that many files may share and that
// grows if need be.
func Pread(fd int, buf *[]byte) ([]byte, unix.Errno) { return readAll(fd, buf, true) }

// PreadList is Pread of a file whose content is a list, which the kernel may give in pieces.
func PreadList(fd int, buf *[]byte) ([]byte, unix.Errno) { return readAll(fd, buf, false) }

// readAll reads a file to its end. A read shorter than the buffer does not prove the end
// (seq_file stops at a page), unless the content is one piece; only an empty one does.
func readAll(fd int, buf *[]byte, piece bool) ([]byte, unix.Errno) {
	if *buf == nil {
		*buf = make([]byte, firstBuf)
	}
	for n := 0; ; {
		b := *buf
		if n == len(b) {
			if n >= maxFile {
				return nil, unix.EFBIG
			}
			*buf = append(b, make([]byte, n)...)
			b = *buf
		}
		r, err := unix.Pread(fd, b[n:], int64(n))
		switch {
		case err == unix.EINTR:
		case err != nil:
			errno, _ := err.(unix.Errno)
			return nil, errno
		case r == 0 || piece && r < len(b)-n:
			return b[:n+r], 0
		default:
			n += r
		}
	}
}

// Close closes the file; a further read opens it again.
func (f *File) Close() {
	if f.fd >= 0 {
		unix.Close(f.fd)
		f.fd = -1
	}
}

// ReadSmall reads a file that is not kept open, such as an attribute in /sys, in one piece
// of at most len(buf) bytes. It allocates nothing.
func ReadSmall(path, buf []byte) ([]byte, unix.Errno) {
	fd, errno := Open(path)
	if errno != 0 {
		return nil, errno
	}
	defer unix.Close(fd)
	for {
		n, err := unix.Read(fd, buf)
		if err == nil {
			return buf[:n], 0
		}
		if errno, _ := err.(unix.Errno); errno != unix.EINTR {
			return nil, errno
		}
	}
}

// Open is open(2), to read, of a path that ends in NUL; unix.Open would copy it.
func Open(path []byte) (int, unix.Errno) { return OpenAt(unix.AT_FDCWD, path) }

// OpenAt is Open of a path below an open directory.
func OpenAt(dir int, path []byte) (int, unix.Errno) { return open(dir, path, unix.O_RDONLY) }

// OpenPath is Open to ask for what a path is, not to read it: it waits for nobody.
func OpenPath(path []byte) (int, unix.Errno) { return open(unix.AT_FDCWD, path, unix.O_PATH) }

func open(dir int, path []byte, flags uintptr) (int, unix.Errno) {
	for {
		fd, _, errno := unix.Syscall6(unix.SYS_OPENAT, uintptr(dir), uintptr(unsafe.Pointer(unsafe.SliceData(path))), flags|unix.O_CLOEXEC, 0, 0, 0)
		if errno == 0 {
			return int(fd), 0
		}
		if errno != unix.EINTR {
			return -1, errno
		}
	}
}

// CString is s with the NUL at its end that the kernel wants.
func CString(s string) []byte { return append([]byte(s), 0) }
