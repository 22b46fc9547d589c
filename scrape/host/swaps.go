package host

import "stint/scrape/kernel"

// swap is a line of /proc/swaps, as in "/dev/sda2  partition  8388604  524288  -2".
type swap struct {
	name       []byte // escaped, part of the line
	size, used uint64 // bytes
}

// parse reads a line; head tells that it is the one above the table.
func (s *swap) parse(l []byte) (head, ok bool) {
	var rest []byte
	s.name, rest = kernel.Field(l)
	if string(s.name) == "Filename" {
		return true, false
	}
	_, rest = kernel.Field(rest) // partition or file
	var kib [2]uint64
	if kernel.Numbers(rest, kib[:]) != len(kib) || kib[0] > 1<<53 || kib[1] > kib[0] {
		return false, false
	}
	s.size, s.used = kib[0]*1024, kib[1]*1024
	return false, true
}
