package kernel

import "bytes"

// OpenFilesLimit is the soft limit of open files in /proc/<pid>/limits; 0: there is none.
func OpenFilesLimit(b []byte) uint64 {
	for len(b) > 0 {
		var l []byte
		l, b = Line(b)
		if rest, ok := bytes.CutPrefix(l, []byte("Max open files ")); ok {
			n, _, _ := Number(rest)
			return n
		}
	}
	return 0
}
