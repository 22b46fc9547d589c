package host

// parseConntrack reads the number of tracked connections from /proc/net/stat/nf_conntrack:
// hexadecimal, in the column entries, the same in the row of every CPU.
func parseConntrack(b []byte) (entries uint64, err error) {
	head, rest := line(b)
	row, _ := line(rest)
	name, _ := field(head)
	word, _ := field(row)
	entries, ok := hexadecimal(word)
	if string(name) != "entries" || !ok {
		return 0, malformed("/proc/net/stat/nf_conntrack", row)
	}
	return entries, nil
}
