package host

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	firstBuf = 4 << 10 // one page: most files of /proc fit
	maxFile  = 4 << 20 // no file read here comes near; /proc/stat of 2,000 CPUs has about 200 KiB
)

// file is a file of the kernel that is read again and again: it stays open and is read with
// pread into the same buffer, which grows to the largest content seen. Not safe for
// concurrent use.
type file struct {
	path string
	cstr []byte // path with a NUL, so that opening allocates nothing
	fd   int    // -1 when closed
	buf  []byte
}

func newFile(path string) file { return file{path: path, cstr: cstring(path), fd: -1} }

// read returns the whole content, valid until the next read. A file that was open already
// and cannot be read any more is opened anew.
func (f *file) read() ([]byte, error) {
	kept := f.fd >= 0
	b, op, errno := f.try()
	if errno != 0 && kept {
		b, op, errno = f.try()
	}
	if errno != 0 {
		return nil, &os.PathError{Op: op, Path: f.path, Err: errno}
	}
	return b, nil
}

// readIfThere is read, but a file that does not exist has no content and is no error.
func (f *file) readIfThere() ([]byte, error) {
	if f.fd < 0 {
		if errno := f.open(); errno == unix.ENOENT {
			return nil, nil
		} else if errno != 0 {
			return nil, &os.PathError{Op: "open", Path: f.path, Err: errno}
		}
	}
	return f.read()
}

func (f *file) open() (errno unix.Errno) {
	f.fd, errno = openat(f.cstr)
	return errno
}

// try opens the file if need be and reads it. It leaves it closed after an error.
func (f *file) try() (b []byte, op string, errno unix.Errno) {
	if f.fd < 0 {
		if errno := f.open(); errno != 0 {
			return nil, "open", errno
		}
	}
	if f.buf == nil {
		f.buf = make([]byte, firstBuf)
	}
	// A read shorter than the buffer does not prove the end (seq_file stops at a page), only
	// an empty one does.
	for n := 0; ; {
		if n == len(f.buf) {
			if n >= maxFile {
				f.close()
				return nil, "read", unix.EFBIG
			}
			f.buf = append(f.buf, make([]byte, n)...)
		}
		r, err := unix.Pread(f.fd, f.buf[n:], int64(n))
		switch {
		case err == unix.EINTR:
		case err != nil:
			f.close()
			errno, _ := err.(unix.Errno)
			return nil, "read", errno
		case r == 0:
			return f.buf[:n], "", 0
		default:
			n += r
		}
	}
}

func (f *file) close() {
	if f.fd >= 0 {
		unix.Close(f.fd)
		f.fd = -1
	}
}

// readSmall reads a file that is not kept open, such as an attribute in /sys, in one piece
// of at most len(buf) bytes. It allocates nothing.
func readSmall(path, buf []byte) ([]byte, unix.Errno) {
	fd, errno := openat(path)
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

// openat is open(2) for a path that ends in NUL; unix.Open would copy it.
func openat(path []byte) (int, unix.Errno) {
	at := unix.AT_FDCWD
	for {
		fd, _, errno := unix.Syscall6(unix.SYS_OPENAT, uintptr(at), uintptr(unsafe.Pointer(unsafe.SliceData(path))), unix.O_RDONLY|unix.O_CLOEXEC, 0, 0, 0)
		if errno == 0 {
			return int(fd), 0
		}
		if errno != unix.EINTR {
			return -1, errno
		}
	}
}

func cstring(s string) []byte { return append([]byte(s), 0) }

// exists tells whether something lies at path.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
