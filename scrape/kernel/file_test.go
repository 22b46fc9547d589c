package kernel

import (
	"errors"
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
