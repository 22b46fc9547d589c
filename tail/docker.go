package tail

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// parseDocker reads a line of Docker's json-file driver without its newline:
//
//	{"log":"the message\n","stream":"stdout","attrs":{…},"time":"2026-01-02T03:04:05.6Z"}
//
// (moby, daemon/logger/jsonfilelog). A message that does not end in "\n" is a piece of a
// longer one. Unknown keys are passed over. ok is false when the line is cut or is not of
// this form; the message is decoded into scratch, which is returned for the next call.
func parseDocker(b []byte, clock *clock, scratch []byte) (l line, _ []byte, ok bool) {
	scratch = scratch[:0]
	l.stream = noStream
	haveLog := false
	p := jsonReader{b: b}
	if !p.next('{') {
		return l, scratch, false
	}
	for first := true; ; first = false {
		if p.next('}') {
			break
		}
		if !first && !p.next(',') {
			return l, scratch, false
		}
		key, isKey := p.text()
		if !isKey || !p.next(':') {
			return l, scratch, false
		}
		switch string(key) {
		case "log":
			raw, isText := p.text()
			if !isText {
				return l, scratch, false
			}
			scratch = appendUnescaped(scratch[:0], raw)
			haveLog = true
		case "stream":
			raw, isText := p.text()
			if !isText {
				return l, scratch, false
			}
			switch string(raw) {
			case "stdout":
				l.stream = stdout
			case "stderr":
				l.stream = stderr
			}
		case "time":
			raw, isText := p.text()
			if !isText {
				return l, scratch, false
			}
			if t, n := clock.parse(raw); n == len(raw) {
				l.time = t
			}
		default:
			if !p.skip(0) {
				return l, scratch, false
			}
		}
	}
	if p.space(); !haveLog || l.stream == noStream || p.i != len(p.b) {
		return l, scratch, false
	}
	l.body = scratch
	if n := len(l.body); n > 0 && l.body[n-1] == '\n' {
		l.body = trimCR(l.body[:n-1])
	} else {
		l.partial = true
	}
	return l, scratch, true
}

// jsonReader steps through one JSON text without building anything.
type jsonReader struct {
	b []byte
	i int
}

func (p *jsonReader) space() {
	for p.i < len(p.b) && (p.b[p.i] == ' ' || p.b[p.i] == '\t' || p.b[p.i] == '\r' || p.b[p.i] == '\n') {
		p.i++
	}
}

// next passes over c, if it stands there.
func (p *jsonReader) next(c byte) bool {
	if p.space(); p.i < len(p.b) && p.b[p.i] == c {
		p.i++
		return true
	}
	return false
}

// text passes over a string and returns it as it stands between its quotes.
func (p *jsonReader) text() ([]byte, bool) {
	if !p.next('"') {
		return nil, false
	}
	start := p.i
	for p.i < len(p.b) {
		n := bytes.IndexByte(p.b[p.i:], '"')
		if n < 0 {
			return nil, false
		}
		p.i += n + 1
		escapes := 0
		for j := p.i - 2; j >= start && p.b[j] == '\\'; j-- {
			escapes++
		}
		if escapes%2 == 0 {
			return p.b[start : p.i-1], true
		}
	}
	return nil, false
}

// maxDepth of values that are passed over: Docker nests one level.
const maxDepth = 32

// skip passes over any value.
func (p *jsonReader) skip(depth int) bool {
	if p.space(); p.i >= len(p.b) || depth > maxDepth {
		return false
	}
	switch p.b[p.i] {
	case '"':
		_, ok := p.text()
		return ok
	case '{', '[':
		object, end := p.b[p.i] == '{', p.b[p.i]+2 // '}' and ']' stand two behind
		p.i++
		for first := true; ; first = false {
			if p.next(end) {
				return true
			}
			if !first && !p.next(',') {
				return false
			}
			if object {
				if _, ok := p.text(); !ok || !p.next(':') {
					return false
				}
			}
			if !p.skip(depth + 1) {
				return false
			}
		}
	}
	start := p.i
	for p.i < len(p.b) && bytes.IndexByte([]byte(",}] \t\r\n"), p.b[p.i]) < 0 {
		p.i++
	}
	return p.i > start
}

// appendUnescaped decodes the inside of a JSON string. An escape that is none stays as it
// stands; half a surrogate pair becomes U+FFFD.
func appendUnescaped(dst, s []byte) []byte {
	for {
		n := bytes.IndexByte(s, '\\')
		if n < 0 || n+1 >= len(s) {
			return append(dst, s...)
		}
		dst = append(dst, s[:n]...)
		c := s[n+1]
		s = s[n+2:]
		switch c {
		case 'n':
			dst = append(dst, '\n')
		case 't':
			dst = append(dst, '\t')
		case 'r':
			dst = append(dst, '\r')
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case '"', '\\', '/':
			dst = append(dst, c)
		case 'u':
			r, ok := hex4(s)
			if !ok {
				dst = append(dst, '\\', 'u')
				continue
			}
			s = s[4:]
			if utf16.IsSurrogate(r) {
				low, ok := rune(0), false
				if len(s) >= 6 && s[0] == '\\' && s[1] == 'u' {
					low, ok = hex4(s[2:])
				}
				if r = utf16.DecodeRune(r, low); ok && r != utf8.RuneError {
					s = s[6:]
				}
			}
			dst = utf8.AppendRune(dst, r)
		default:
			dst = append(dst, '\\', c)
		}
	}
}

func hex4(s []byte) (r rune, ok bool) {
	if len(s) < 4 {
		return 0, false
	}
	for _, c := range s[:4] {
		switch {
		case c-'0' <= 9:
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// trimCR takes one carriage return off the end.
func trimCR(b []byte) []byte {
	if n := len(b); n > 0 && b[n-1] == '\r' {
		return b[:n-1]
	}
	return b
}
