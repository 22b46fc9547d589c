package kernel

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A file without end is refused.
func TestEndless(t *testing.T) {
	f := NewFile("/dev/zero")
	defer f.Close()
	if b, err := f.Read(); !errors.Is(err, unix.EFBIG) {
		t.Errorf("read of /dev/zero: %d bytes, %v", len(b), err)
	}
}

// Many files share a buffer, which grows to the longest.
func TestPread(t *testing.T) {
	long := strings.Repeat("0123456789", 1000)
	var buf []byte
	for _, content := range []string{"", "1\n", long, strings.Repeat("x", firstBuf), "2\n"} {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		fd, errno := Open(CString(path))
		if errno != 0 {
			t.Fatal(errno)
		}
		for range 2 {
			if b, errno := Pread(fd, &buf); errno != 0 || string(b) != content {
				t.Errorf("Pread gives %d bytes, %v, want %d", len(b), errno, len(content))
			}
		}
		unix.Close(fd)
	}
	if _, errno := Open(CString("/nowhere")); errno != unix.ENOENT {
		t.Errorf("Open of nothing: %v", errno)
	}
}
