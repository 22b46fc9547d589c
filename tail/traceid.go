package tail

import "strconv"

// readID decodes hex digits that fill dst; an ID of zeros is none (w3.org/TR/trace-context).
func readID(dst, text []byte) bool {
	if len(text) != 2*len(dst) {
		return false
	}
	some := byte(0)
	for i := range dst {
		b, ok := hex2(text[2*i:])
		if !ok {
			return false
		}
		dst[i] = b
		some |= b
	}
	return some != 0
}

func hex2(b []byte) (byte, bool) {
	v := byte(0)
	for _, c := range b[:2] {
		switch {
		case c-'0' <= 9:
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		v = v<<4 | c
	}
	return v, true
}

// readFlags reads the eight trace flags: two hex digits, or a number.
func readFlags(text []byte, word bool) (uint32, bool) {
	if word {
		if len(text) != 2 {
			return 0, false
		}
		b, ok := hex2(text)
		return uint32(b), ok
	}
	n, err := strconv.ParseUint(view(text), 10, 8)
	return uint32(n), err == nil
}

// readParent reads a traceparent of version 00: "00-<trace>-<span>-<flags>".
func readParent(text, trace, span []byte) (flags uint32, ok bool) {
	if len(text) != 55 || !hasPrefix(text, "00-") || text[35] != '-' || text[52] != '-' ||
		!readID(trace, text[3:35]) || !readID(span, text[36:52]) {
		return 0, false
	}
	return readFlags(text[53:], true)
}
