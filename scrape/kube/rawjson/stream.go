package rawjson

import (
	"errors"
	"fmt"
	"io"
)

// ErrTooLarge says that a value was longer than a Reader takes; it was skipped.
var ErrTooLarge = errors.New("value is too large")

const (
	firstBuffer = 64 << 10
	// keepBuffer is the largest buffer that is kept for the next value.
	keepBuffer = 1 << 20
)

// Reader takes JSON values off a stream, one at a time and none of them longer than max bytes. It
// only looks for where they end: whether they are well formed is up to who reads them.
type Reader struct {
	r          io.Reader
	max        int
	buf        []byte
	start, end int // what is read and not taken yet
	err        error
}

// NewReader reads from r.
func NewReader(r io.Reader, max int) *Reader { return &Reader{r: r, max: max} }

// fill reads more behind buf[start:end].
func (r *Reader) fill() error {
	if r.err != nil {
		return r.err
	}
	if r.start == r.end {
		r.start, r.end = 0, 0
		if r.buf == nil || cap(r.buf) > keepBuffer {
			r.buf = make([]byte, firstBuffer)
		}
	}
	if r.end == len(r.buf) {
		if r.start > len(r.buf)/2 {
			r.end = copy(r.buf, r.buf[r.start:r.end])
		} else {
			grown := make([]byte, 2*len(r.buf))
			r.end = copy(grown, r.buf[r.start:r.end])
			r.buf = grown
		}
		r.start = 0
	}
	n, err := r.r.Read(r.buf[r.end:])
	r.end += n
	if r.err = err; n > 0 {
		return nil
	}
	return err
}

// peek is the next byte that is no white space.
func (r *Reader) peek() (byte, error) {
	for {
		for ; r.start < r.end; r.start++ {
			switch c := r.buf[r.start]; c {
			case ' ', '\t', '\n', '\r':
			default:
				return c, nil
			}
		}
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
}

func (r *Reader) take(c byte) error {
	got, err := r.peek()
	if err != nil {
		return unexpected(err)
	}
	if got != c {
		return fmt.Errorf("%w: %q where %q should be", ErrSyntax, got, c)
	}
	r.start++
	return nil
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Value is the next value, until the next call. io.EOF says that there is none. After ErrTooLarge
// the one behind it can be read.
func (r *Reader) Value() ([]byte, error) {
	first, err := r.peek()
	if err != nil {
		return nil, err
	}
	if first == ',' || first == ':' || first == ']' || first == '}' {
		return nil, fmt.Errorf("%w: %q where a value should begin", ErrSyntax, first)
	}
	var (
		depth    int
		str, esc bool
		tooLarge bool
		n        int // looked at, from start on
	)
	for {
		for ; r.start+n < r.end; n++ {
			c := r.buf[r.start+n]
			ends, with := false, 1 // whether the value ends here, and with this byte
			switch {
			case esc:
				esc = false
				continue
			case str:
				if n += asciiLen(r.buf[r.start+n : r.end]); r.start+n == r.end {
					n--
					continue
				}
				switch r.buf[r.start+n] {
				case '\\':
					esc = true
				case '"':
					str, ends = false, depth == 0
				}
			case c == '"':
				str = true
			case c == '{' || c == '[':
				depth++
			case c == '}' || c == ']':
				if depth == 0 {
					ends, with = true, 0 // behind a number or a word
				} else if depth--; depth == 0 {
					ends = true
				}
			case depth == 0 && (c == ',' || c == ':' || c == ' ' || c == '\t' || c == '\n' || c == '\r'):
				ends, with = true, 0
			}
			if ends {
				v := r.buf[r.start : r.start+n+with]
				r.start += n + with
				if tooLarge || len(v) > r.max {
					return nil, ErrTooLarge
				}
				return v, nil
			}
		}
		if n > r.max {
			tooLarge = true
			r.start, n = r.end, 0
		}
		if err := r.fill(); err != nil {
			if err == io.EOF && depth == 0 && !str && n > 0 && !tooLarge {
				v := r.buf[r.start : r.start+n]
				r.start += n
				return v, nil
			}
			return nil, unexpected(err)
		}
	}
}

// Object reads an object of which one field is a list: each gets the elements of that list, one
// after the other, other the fields but that one. Values are the reader's: they are valid until the
// function returns. An element that is too large is told to each as nil.
func (r *Reader) Object(list string, each func(element []byte) error, other func(key string, value []byte)) error {
	if err := r.take('{'); err != nil {
		return err
	}
	if c, err := r.peek(); err == nil && c == '}' {
		r.start++
		return nil
	}
	for {
		raw, err := r.Value()
		if err != nil {
			return unexpected(err)
		}
		if raw[0] != '"' {
			return fmt.Errorf("%w: a key is no string", ErrSyntax)
		}
		key := String(raw)
		if err := r.take(':'); err != nil {
			return err
		}
		c, err := r.peek()
		if err != nil {
			return unexpected(err)
		}
		if key == list && c == '[' {
			r.start++
			if err := r.elements(each); err != nil {
				return err
			}
		} else {
			v, err := r.Value()
			if err != nil {
				return unexpected(err)
			}
			other(key, v)
		}
		if more, err := r.more('}'); err != nil || !more {
			return err
		}
	}
}

// elements reads the elements of a list behind its bracket.
func (r *Reader) elements(each func([]byte) error) error {
	if c, err := r.peek(); err == nil && c == ']' {
		r.start++
		return nil
	}
	for {
		v, err := r.Value()
		if errors.Is(err, ErrTooLarge) {
			v, err = nil, nil
		}
		if err != nil {
			return unexpected(err)
		}
		if err := each(v); err != nil {
			return err
		}
		if more, err := r.more(']'); err != nil || !more {
			return err
		}
	}
}

// more says whether a comma comes next, or the end.
func (r *Reader) more(closing byte) (bool, error) {
	c, err := r.peek()
	switch {
	case err != nil:
		return false, unexpected(err)
	case c == ',', c == closing:
		r.start++
		return c == ',', nil
	}
	return false, fmt.Errorf("%w: %q where %q or a comma should be", ErrSyntax, c, closing)
}
