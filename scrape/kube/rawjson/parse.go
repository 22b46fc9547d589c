// Package rawjson handles the JSON of Kubernetes objects as the bytes that came: it takes a stream
// apart into objects ([Reader]), looks at single fields ([EachField]) and turns an object into an
// OTLP value ([AppendValue]) without building anything in between. It accepts exactly what
// encoding/json does.
package rawjson

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// ErrSyntax says that bytes are not JSON.
var ErrSyntax = errors.New("malformed JSON")

// maxDepth is how deep values may be nested; encoding/json's own limit.
const maxDepth = 10000

// parser walks over one JSON text.
type parser struct {
	src   []byte
	pos   int
	depth int
}

func (p *parser) fault() error { return fmt.Errorf("%w at byte %d", ErrSyntax, p.pos) }

// next skips white space and returns the byte that follows it, 0 at the end.
func (p *parser) next() byte {
	for p.pos < len(p.src) {
		switch c := p.src[p.pos]; c {
		case ' ', '\t', '\n', '\r':
			p.pos++
		default:
			return c
		}
	}
	return 0
}

// take skips white space and one byte, which must be c.
func (p *parser) take(c byte) error {
	if p.next() != c || p.pos == len(p.src) {
		return p.fault()
	}
	p.pos++
	return nil
}

// end reports what stands behind the value, which may only be white space.
func (p *parser) end() error {
	if p.next(); p.pos < len(p.src) {
		return p.fault()
	}
	return nil
}

// enter goes into an object or a list; empty says that nothing is in it and that it is left again.
func (p *parser) enter(closing byte) (empty bool, err error) {
	p.pos++
	if p.depth++; p.depth > maxDepth {
		return false, fmt.Errorf("%w: nested over %d deep", ErrSyntax, maxDepth)
	}
	if p.next() == closing && p.pos < len(p.src) {
		p.pos++
		p.depth--
		return true, nil
	}
	return false, nil
}

// more says whether another element follows, and leaves the object or list if not.
func (p *parser) more(closing byte) (bool, error) {
	switch c := p.next(); {
	case c == ',':
		p.pos++
		return true, nil
	case c == closing && c != 0:
		p.pos++
		p.depth--
		return false, nil
	}
	return false, p.fault()
}

// text is a string between its quotes, as it stands there.
type text struct {
	raw   []byte
	plain bool // raw is what it means: no escapes, and valid UTF-8
}

// str reads a string.
func (p *parser) str() (text, error) {
	if err := p.take('"'); err != nil {
		return text{}, err
	}
	start, escaped, wide := p.pos, false, false
	for {
		p.pos += asciiLen(p.src[p.pos:])
		if p.pos == len(p.src) {
			return text{}, p.fault()
		}
		switch c := p.src[p.pos]; {
		case c == '"':
			raw := p.src[start:p.pos]
			p.pos++
			return text{raw, !escaped && (!wide || utf8.Valid(raw))}, nil
		case c == '\\':
			escaped = true
			n := escapeLen(p.src[p.pos:])
			if n == 0 {
				return text{}, p.fault()
			}
			p.pos += n
		case c < ' ':
			return text{}, p.fault()
		default:
			wide = true
			p.pos++
		}
	}
}

// asciiLen is how many bytes at the start of s stand for themselves in a string and are ASCII.
// Eight are looked at together: a byte's high bit is set below where it is not such a byte; a borrow
// can only come from a byte that is none either.
func asciiLen(s []byte) (n int) {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	for ; n+8 <= len(s); n += 8 {
		w := binary.LittleEndian.Uint64(s[n:])
		if (w|(w-ones*' ')|((w^ones*'"')-ones)|((w^ones*'\\')-ones))&high != 0 {
			break
		}
	}
	for n < len(s) && s[n] >= ' ' && s[n] != '"' && s[n] != '\\' && s[n] < utf8.RuneSelf {
		n++
	}
	return n
}

// escapeLen is the length of the escape at the start of s, 0 if it is none.
func escapeLen(s []byte) int {
	if len(s) < 2 {
		return 0
	}
	switch s[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if hex4(s) >= 0 {
			return 6
		}
	}
	return 0
}

// hex4 is the number in an escape \uXXXX at the start of s, -1 if there is none.
func hex4(s []byte) (r rune) {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return -1
	}
	for _, c := range s[2:6] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return -1
		}
		r = r<<4 | rune(c)
	}
	return r
}

// append appends what the text means. What is no UTF-8, or half a surrogate, becomes U+FFFD.
func (t text) append(dst []byte) []byte {
	if t.plain {
		return append(dst, t.raw...)
	}
	for s := t.raw; len(s) > 0; {
		if n := asciiLen(s); n > 0 {
			dst = append(dst, s[:n]...)
			s = s[n:]
			continue
		}
		if s[0] != '\\' {
			r, n := utf8.DecodeRune(s)
			dst = utf8.AppendRune(dst, r)
			s = s[n:]
			continue
		}
		n := 2
		switch c := s[1]; c {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			n = 6
			r := hex4(s)
			if utf16.IsSurrogate(r) {
				if r = utf16.DecodeRune(r, hex4(s[6:])); r != utf8.RuneError {
					n = 12
				}
			}
			dst = utf8.AppendRune(dst, r)
		default:
			dst = append(dst, c)
		}
		s = s[n:]
	}
	return dst
}

// number reads a number; whole says that it has neither fraction nor exponent.
func (p *parser) number() (raw []byte, whole bool, err error) {
	start, s := p.pos, p.src
	digits := func() bool {
		from := p.pos
		for p.pos < len(s) && s[p.pos] >= '0' && s[p.pos] <= '9' {
			p.pos++
		}
		return p.pos > from
	}
	at := func(c byte) bool { return p.pos < len(s) && s[p.pos] == c }
	if at('-') {
		p.pos++
	}
	if at('0') {
		p.pos++
	} else if !digits() {
		return nil, false, p.fault()
	}
	whole = true
	if at('.') {
		p.pos++
		if whole = false; !digits() {
			return nil, false, p.fault()
		}
	}
	if at('e') || at('E') {
		p.pos++
		if at('+') || at('-') {
			p.pos++
		}
		if whole = false; !digits() {
			return nil, false, p.fault()
		}
	}
	return s[start:p.pos], whole, nil
}

// word reads true, false or null.
func (p *parser) word(w string) error {
	if len(p.src)-p.pos < len(w) || string(p.src[p.pos:p.pos+len(w)]) != w {
		return p.fault()
	}
	p.pos += len(w)
	return nil
}

// skip reads a value and returns it without the white space around it.
func (p *parser) skip() ([]byte, error) {
	c := p.next()
	start := p.pos
	err := p.skipAt(c)
	return p.src[start:p.pos], err
}

func (p *parser) skipAt(c byte) error {
	switch c {
	case '{':
		empty, err := p.enter('}')
		for more := !empty; more && err == nil; {
			if _, err = p.key(); err != nil {
				return err
			}
			if err = p.skipAt(p.next()); err != nil {
				return err
			}
			more, err = p.more('}')
		}
		return err
	case '[':
		empty, err := p.enter(']')
		for more := !empty; more && err == nil; {
			if err = p.skipAt(p.next()); err != nil {
				return err
			}
			more, err = p.more(']')
		}
		return err
	case '"':
		_, err := p.str()
		return err
	case 't':
		return p.word("true")
	case 'f':
		return p.word("false")
	case 'n':
		return p.word("null")
	}
	_, _, err := p.number()
	return err
}

// key reads a key and the colon behind it.
func (p *parser) key() (text, error) {
	t, err := p.str()
	if err == nil {
		err = p.take(':')
	}
	return t, err
}

// EachField calls do with the fields of an object, in their order. Keys and values lie in src, keys
// without their quotes and as they are written there. Of what is no object it finds none.
func EachField(src []byte, do func(key, value []byte)) error {
	p := parser{src: src}
	if p.next() != '{' {
		if _, err := p.skip(); err != nil {
			return err
		}
		return p.end()
	}
	empty, err := p.enter('}')
	for more := !empty; more && err == nil; {
		var k text
		if k, err = p.key(); err != nil {
			return err
		}
		var v []byte
		if v, err = p.skip(); err != nil {
			return err
		}
		do(k.raw, v)
		more, err = p.more('}')
	}
	if err != nil {
		return err
	}
	return p.end()
}

// EachElement is EachField for a list.
func EachElement(src []byte, do func(value []byte)) error {
	p := parser{src: src}
	if p.next() != '[' {
		if _, err := p.skip(); err != nil {
			return err
		}
		return p.end()
	}
	empty, err := p.enter(']')
	for more := !empty; more && err == nil; {
		var v []byte
		if v, err = p.skip(); err != nil {
			return err
		}
		do(v)
		more, err = p.more(']')
	}
	if err != nil {
		return err
	}
	return p.end()
}

// String is the text of a value that is a string, "" of any other.
func String(value []byte) string {
	p := parser{src: value}
	if p.next() != '"' {
		return ""
	}
	t, err := p.str()
	if err != nil {
		return ""
	}
	if t.plain {
		return string(t.raw)
	}
	return string(t.append(nil))
}
