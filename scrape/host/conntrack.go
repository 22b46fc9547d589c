package host

import "stint/scrape/kernel"

// parseConntrack reads the number of tracked connections from /proc/net/stat/nf_conntrack:
// hexadecimal, in the column entries, the same in the row of every CPU.
func parseConntrack(b []byte) (entries uint64, err error) {
	head, rest := kernel.Line(b)
	row, _ := kernel.Line(rest)
	name, _ := kernel.Field(head)
	word, _ := kernel.Field(row)
	entries, ok := kernel.Hexadecimal(word)
	if string(name) != "entries" || !ok {
		return 0, kernel.Malformed("/proc/net/stat/nf_conntrack", row)
	}
	return entries, nil
}
