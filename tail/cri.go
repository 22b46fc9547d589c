package tail

import "bytes"

// stream is the log stream of a container's line.
type stream uint8

const (
	stdout stream = iota
	stderr
	noStream // plain files, and lines whose header could not be read
	streams
)

// line is one physical line, taken apart. body is a part of the read buffer or of scratch
// memory: copy it before the next line is parsed.
type line struct {
	time    uint64 // ns since 1970; 0 = the line has none
	stream  stream
	partial bool // more of the same record follows in a later line of the stream
	body    []byte
}

// parseCRI reads a line of the container runtime interface's log format without its newline:
//
//	2016-10-06T00:17:09.669794202Z stdout F the log message
//
// (kubernetes/kubernetes, pkg/kubelet/kuberuntime/logs). The time may have 0 to 9 digits of
// fraction and a numeric zone; of several tags ("F:x") the first decides; the body may be
// empty. ok is false when any part of the header is otherwise.
func parseCRI(b []byte, clock *clock) (l line, ok bool) {
	t, n := clock.parse(b)
	if n == 0 || len(b) < n+len(" stdout F") || b[n] != ' ' || string(b[n+1:n+4]) != "std" {
		return l, false
	}
	l.time = t
	b = b[n+4:]
	switch {
	case b[0] == 'o' && b[1] == 'u' && b[2] == 't' && b[3] == ' ':
		l.stream = stdout
	case b[0] == 'e' && b[1] == 'r' && b[2] == 'r' && b[3] == ' ':
		l.stream = stderr
	default:
		return l, false
	}
	switch b[4] {
	case 'F':
	case 'P':
		l.partial = true
	default:
		return l, false
	}
	b = b[5:]
	if len(b) > 0 && b[0] == ':' { // further tags: none is defined yet
		if n := bytes.IndexByte(b, ' '); n < 0 {
			b = nil
		} else {
			b = b[n:]
		}
	}
	if len(b) > 0 {
		if b[0] != ' ' {
			return l, false
		}
		b = b[1:]
	}
	l.body = b
	return l, true
}

// clock parses RFC 3339 times. Consecutive lines mostly share their second, so it remembers
// the last one parsed.
type clock struct {
	text [19]byte // "2006-01-02T15:04:05"
	unix int64    // its seconds since 1970, taken as UTC
}

// parse reads the RFC 3339 time at the start of b and returns it with its length; the length
// is 0 when there is none, or when the time lies before 1970.
func (c *clock) parse(b []byte) (ns uint64, n int) {
	if len(b) < len("2006-01-02T15:04:05Z") {
		return 0, 0
	}
	if string(b[:19]) != string(c.text[:]) && !c.set(b) {
		return 0, 0
	}
	sec, n := c.unix, 19
	if b[n] == '.' {
		n++
		start, scale := n, uint64(1e9)
		for n < len(b) && b[n]-'0' <= 9 {
			if scale > 1 { // digits past the ninth are cut
				scale /= 10
				ns += uint64(b[n]-'0') * scale
			}
			n++
		}
		if n == start || n == len(b) {
			return 0, 0
		}
	}
	switch b[n] {
	case 'Z':
		n++
	case '+', '-':
		if len(b) < n+6 || b[n+3] != ':' {
			return 0, 0
		}
		hour, ok1 := two(b[n+1:])
		minute, ok2 := two(b[n+4:])
		if !ok1 || !ok2 || hour > 23 || minute > 59 {
			return 0, 0
		}
		offset := int64(hour)*3600 + int64(minute)*60
		if b[n] == '-' {
			offset = -offset
		}
		sec -= offset
		n += 6
	default:
		return 0, 0
	}
	if sec < 0 {
		return 0, 0
	}
	return uint64(sec)*1e9 + ns, n
}

// set reads the 19 bytes up to the second.
func (c *clock) set(b []byte) bool {
	century, ok0 := two(b)
	year, ok1 := two(b[2:])
	month, ok2 := two(b[5:])
	day, ok3 := two(b[8:])
	hour, ok4 := two(b[11:])
	minute, ok5 := two(b[14:])
	second, ok6 := two(b[17:])
	year += 100 * century
	if !(ok0 && ok1 && ok2 && ok3 && ok4 && ok5 && ok6) ||
		b[4] != '-' || b[7] != '-' || b[10] != 'T' || b[13] != ':' || b[16] != ':' ||
		month < 1 || month > 12 || day < 1 || day > daysIn(year, month) ||
		hour > 23 || minute > 59 || second > 59 {
		return false
	}
	c.unix = daysSince1970(year, month, day)*86400 + int64(hour)*3600 + int64(minute)*60 + int64(second)
	copy(c.text[:], b)
	return true
}

// two reads two digits.
func two(b []byte) (int, bool) {
	hi, lo := b[0]-'0', b[1]-'0'
	return int(hi)*10 + int(lo), hi <= 9 && lo <= 9
}

func daysIn(year, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

// daysSince1970 counts days of the Gregorian calendar, with years that begin in March so that
// the leap day is the last.
func daysSince1970(year, month, day int) int64 {
	if month <= 2 {
		year, month = year-1, month+12
	}
	return int64(365*year + year/4 - year/100 + year/400 + (153*(month-3)+2)/5 + day - 1 - 719468)
}
