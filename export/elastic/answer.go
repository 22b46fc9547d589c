package elastic

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// Item is what a server says of one document.
type Item struct {
	Status      int
	Type        []byte // of the error; at most 200 bytes, as Reason
	Reason      []byte
	FailureUsed bool // the document was not what its index takes, and lies in the failure store
}

const (
	maxItemText = 200
	// maxAnswer is how much of an answer is read: 10,000 documents with a reason each are 5 MB.
	maxAnswer = 64 << 20
)

// ErrAnswer says that a server speaks of something else.
var ErrAnswer = errors.New("the answer is not that of a _bulk request")

var errLong = errors.New("the answer is over 64 MiB")

// AnswerReader reads answers to _bulk requests as they come, without ever holding one: a request of
// 10,000 documents can be answered with megabytes. Its memory is used again and again.
type AnswerReader struct {
	r    io.Reader
	buf  [16 << 10]byte
	rest []byte // of buf
	read int
	key  []byte
	item Item
}

// Read reads an answer to its end and calls do for each item, in order; do must keep nothing of it.
// failed is what the answer says of itself: true if any document was refused. After an error, what
// do was told still counts.
func (a *AnswerReader) Read(r io.Reader, do func(n int, item *Item)) (items int, failed bool, err error) {
	a.r, a.rest, a.read = r, nil, 0
	defer func() { a.r = nil }()
	known := false
	err = a.object(func(key []byte) error {
		switch string(key) {
		case "errors":
			word, err := a.word()
			known, failed = true, string(word) == "true"
			return err
		case "items":
			return a.list(func() error {
				if err := a.readItem(); err != nil {
					return err
				}
				do(items, &a.item)
				items++
				return nil
			})
		}
		return a.skip()
	})
	if err == nil && !known {
		err = ErrAnswer
	}
	return items, failed, err
}

// readItem reads {"create":{"status":201}} or its like.
func (a *AnswerReader) readItem() error {
	a.item = Item{Type: a.item.Type[:0], Reason: a.item.Reason[:0]}
	return a.object(func([]byte) error {
		return a.object(func(key []byte) (err error) {
			switch string(key) {
			case "status":
				word, err := a.word()
				if err != nil {
					return err
				}
				if a.item.Status, err = strconv.Atoi(string(word)); err != nil {
					return ErrAnswer
				}
				return nil
			case "failure_store":
				if a.key, err = a.text(a.key[:0]); err == nil {
					a.item.FailureUsed = string(a.key) == "used"
				}
				return err
			case "error":
				return a.readError()
			}
			return a.skip()
		})
	})
}

// readError reads an object; servers before 2.0, and some others, say a string.
func (a *AnswerReader) readError() (err error) {
	c, err := a.peek()
	if err != nil {
		return err
	}
	if c == '"' {
		a.item.Reason, err = a.text(a.item.Reason[:0])
		return err
	}
	return a.object(func(key []byte) (err error) {
		c, err := a.peek()
		switch {
		case err != nil:
		case c == '"' && string(key) == "type":
			a.item.Type, err = a.text(a.item.Type[:0])
		case c == '"' && string(key) == "reason":
			a.item.Reason, err = a.text(a.item.Reason[:0])
		default:
			err = a.skip()
		}
		return err
	})
}

// object reads an object; member reads the value of each key.
func (a *AnswerReader) object(member func(key []byte) error) error {
	return a.members('{', '}', func() (err error) {
		if a.key, err = a.text(a.key[:0]); err != nil {
			return err
		}
		if err := a.expect(':'); err != nil {
			return err
		}
		return member(a.key)
	})
}

func (a *AnswerReader) list(member func() error) error { return a.members('[', ']', member) }

func (a *AnswerReader) members(open, end byte, member func() error) error {
	if err := a.expect(open); err != nil {
		return err
	}
	for first := true; ; first = false {
		c, err := a.peek()
		switch {
		case err != nil:
			return err
		case c == end && first:
			a.rest = a.rest[1:]
			return nil
		case c == end:
			return ErrAnswer
		}
		if err := member(); err != nil {
			return err
		}
		if c, err = a.peek(); err != nil {
			return err
		}
		a.rest = a.rest[1:]
		switch c {
		case end:
			return nil
		case ',':
		default:
			return ErrAnswer
		}
	}
}

// fill makes sure that rest holds something.
func (a *AnswerReader) fill() error {
	for len(a.rest) == 0 {
		if a.read >= maxAnswer {
			return errLong
		}
		n, err := a.r.Read(a.buf[:])
		if a.rest, a.read = a.buf[:n], a.read+n; n == 0 && err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}

// peek is the next byte that is no white space.
func (a *AnswerReader) peek() (byte, error) {
	for {
		if err := a.fill(); err != nil {
			return 0, err
		}
		switch c := a.rest[0]; c {
		case ' ', '\t', '\n', '\r':
			a.rest = a.rest[1:]
		default:
			return c, nil
		}
	}
}

func (a *AnswerReader) expect(c byte) error {
	got, err := a.peek()
	if err == nil && got != c {
		err = ErrAnswer
	}
	if err != nil {
		return err
	}
	a.rest = a.rest[1:]
	return nil
}

// word reads a number, true, false or null. It is valid until the next read.
func (a *AnswerReader) word() ([]byte, error) {
	if _, err := a.peek(); err != nil {
		return nil, err
	}
	a.key = a.key[:0]
	for {
		if err := a.fill(); err != nil {
			return nil, err
		}
		c := a.rest[0]
		if c != '-' && c != '+' && c != '.' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			break
		}
		if len(a.key) == 32 {
			return nil, ErrAnswer
		}
		a.key = append(a.key, c)
		a.rest = a.rest[1:]
	}
	if len(a.key) == 0 {
		return nil, ErrAnswer
	}
	return a.key, nil
}

// text reads a string and appends the first maxItemText bytes of it to dst, cut before a rune.
func (a *AnswerReader) text(dst []byte) ([]byte, error) {
	if err := a.expect('"'); err != nil {
		return dst, err
	}
	full := false
	add := func(s ...byte) {
		if full = full || len(dst)+len(s) > maxItemText; !full {
			dst = append(dst, s...)
		}
	}
	for {
		if err := a.fill(); err != nil {
			return dst, err
		}
		c := a.rest[0]
		a.rest = a.rest[1:]
		switch {
		case c == '"':
			for full && len(dst) > 0 { // it may end in the middle of a rune
				if r, n := utf8.DecodeLastRune(dst); r != utf8.RuneError || n != 1 {
					break
				}
				dst = dst[:len(dst)-1]
			}
			return dst, nil
		case c != '\\':
			n := bytes.IndexAny(a.rest, `"\`)
			if n < 0 {
				n = len(a.rest)
			}
			if add(c); !full {
				most := min(n, maxItemText-len(dst))
				dst = append(dst, a.rest[:most]...)
				full = most < n
			}
			a.rest = a.rest[n:]
		default:
			r, err := a.escape()
			if err != nil {
				return dst, err
			}
			var b [utf8.UTFMax]byte
			add(b[:utf8.EncodeRune(b[:], r)]...)
		}
	}
}

// escape reads what follows a backslash.
func (a *AnswerReader) escape() (rune, error) {
	if err := a.fill(); err != nil {
		return 0, err
	}
	c := a.rest[0]
	a.rest = a.rest[1:]
	switch c {
	case 'n':
		return '\n', nil
	case 't':
		return '\t', nil
	case 'r':
		return '\r', nil
	case 'b':
		return '\b', nil
	case 'f':
		return '\f', nil
	case '"', '\\', '/':
		return rune(c), nil
	case 'u':
		r, err := a.hex()
		if err != nil || !utf16.IsSurrogate(r) {
			return r, err
		}
		// The other half should follow; what else does is lost, which does not matter in a message.
		if err := a.fill(); err != nil || a.rest[0] != '\\' {
			return utf8.RuneError, err
		}
		a.rest = a.rest[1:]
		if err := a.fill(); err != nil {
			return 0, err
		}
		if a.rest[0] != 'u' {
			return a.escape()
		}
		a.rest = a.rest[1:]
		low, err := a.hex()
		return utf16.DecodeRune(r, low), err
	}
	return 0, ErrAnswer
}

func (a *AnswerReader) hex() (r rune, err error) {
	for range 4 {
		if err := a.fill(); err != nil {
			return 0, err
		}
		c := a.rest[0]
		a.rest = a.rest[1:]
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, ErrAnswer
		}
	}
	return r, nil
}

// skip reads a value of any kind.
func (a *AnswerReader) skip() error {
	depth := 0
	for {
		c, err := a.peek()
		if err != nil {
			return err
		}
		switch c {
		case '"':
			if a.key, err = a.text(a.key[:0]); err != nil {
				return err
			}
		case '{', '[':
			depth++
			a.rest = a.rest[1:]
		case '}', ']':
			if depth--; depth < 0 {
				return ErrAnswer
			}
			a.rest = a.rest[1:]
		case ',', ':':
			if depth == 0 {
				return ErrAnswer
			}
			a.rest = a.rest[1:]
		default:
			if _, err := a.word(); err != nil {
				return err
			}
		}
		if depth == 0 {
			return nil
		}
	}
}
