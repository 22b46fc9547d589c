package kernel

import (
	"bytes"
	"fmt"
	"math"
)

// Line cuts the first line off b, without its newline.
func Line(b []byte) (l, rest []byte) {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return b[:i], b[i+1:]
	}
	return b, nil
}

// Field cuts the first word off b: what lies between blanks. It is empty at the end of b.
func Field(b []byte) (word, rest []byte) {
	i := 0
	for i < len(b) && blank(b[i]) {
		i++
	}
	j := i
	for j < len(b) && !blank(b[j]) {
		j++
	}
	return b[i:j], b[j:]
}

func blank(c byte) bool { return c == ' ' || c == '\t' || c == '\n' }

// Number cuts the first word off b and reads it as a decimal number. It is not ok where there
// is none, or one that does not fit into 64 bits.
func Number(b []byte) (n uint64, rest []byte, ok bool) {
	i := 0
	for i < len(b) && blank(b[i]) {
		i++
	}
	first := i
	for ; i < len(b) && !blank(b[i]); i++ {
		c := uint64(b[i] - '0')
		if c > 9 || n > math.MaxUint64/10 || n*10 > math.MaxUint64-c {
			return 0, b, false
		}
		n = n*10 + c
	}
	return n, b[i:], i > first
}

// Numbers reads up to len(dst) numbers from the start of b and tells how many there were
// before something else or the end.
func Numbers(b []byte, dst []uint64) (n int) {
	for n < len(dst) {
		v, rest, ok := Number(b)
		if !ok {
			break
		}
		dst[n], b = v, rest
		n++
	}
	return n
}

var powersOf10 = [...]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9}

// Decimal is Number for one with up to nine digits behind a point, as in 0.34.
func Decimal(b []byte) (f float64, rest []byte, ok bool) {
	word, rest := Field(b)
	digits, point := uint64(0), -1
	for i, c := range word {
		switch {
		case c == '.' && point < 0 && i > 0 && i < len(word)-1:
			point = i
		case c < '0' || c > '9' || digits >= 1e14: // below 2^53: the division rounds once
			return 0, b, false
		default:
			digits = digits*10 + uint64(c-'0')
		}
	}
	behind := 0
	if point >= 0 {
		behind = len(word) - 1 - point
	}
	if len(word) == 0 || behind >= len(powersOf10) {
		return 0, b, false
	}
	return float64(digits) / powersOf10[behind], rest, true
}

// Hexadecimal reads a word of hexadecimal digits.
func Hexadecimal(word []byte) (n uint64, ok bool) {
	for _, c := range word {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		n = n<<4 | uint64(c)
	}
	return n, len(word) > 0 && len(word) <= 16
}

// Malformed says that a file of the kernel is not as expected. It names the line by its
// first bytes.
func Malformed(file string, l []byte) error {
	return fmt.Errorf("%s: cannot make out %.60q", file, l)
}

// Unescape undoes the \ooo that the kernel writes for blanks, newlines, backslashes and #
// (and whatever it may add) in mountinfo and swaps.
func Unescape(s string) string {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && octal(s[i+1]) && octal(s[i+2]) && octal(s[i+3]) && s[i+1] < '4' {
			b = append(b, (s[i+1]-'0')<<6|(s[i+2]-'0')<<3|(s[i+3]-'0'))
			i += 3
			continue
		}
		b = append(b, s[i])
	}
	return string(b)
}

func octal(c byte) bool { return c >= '0' && c <= '7' }
