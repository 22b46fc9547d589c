package journal

import (
	"bytes"
	"encoding/binary"
)

// The bounds of one entry. Names are at most 64 bytes in journald itself; a field that goes over
// a bound is left out and the record says so (stint.truncated).
const (
	maxName   = 256
	maxField  = 64 << 10  // of one field but MESSAGE
	maxFields = 128 << 10 // of all fields but MESSAGE: with each byte grown to U+FFFD still well below a message of 4 MiB
	// maxBinary is what journald accepts as one field (DATA_SIZE_MAX of journal-importer.h). A
	// larger size is no size: reading is out of step.
	maxBinary = 768 << 20
)

// parser takes the Journal Export Format apart (systemd.io/JOURNAL_EXPORT_FORMATS): fields are
// lines NAME=text, or NAME, a newline, a little-endian size of 8 bytes, the data, a newline; an
// empty line ends an entry. It takes bytes as they come, keeps the fields that it knows, and
// allocates nothing once its buffers have grown. What is not an entry is skipped up to the next
// empty line and counted.
type parser struct {
	fields map[string]int // index in entry.values by name
	limit  int            // of MESSAGE, bytes

	state     state
	name      []byte // of the field
	field     int    // where its value goes; none: nowhere
	start     int    // of its value in entry.data
	size      [8]byte
	left      uint64 // bytes of size or of binary data that are still to come
	newline   bool   // resync: the last byte ended a line
	others    int    // bytes of kept fields but MESSAGE
	begun     bool   // the entry has a field
	full      bool   // entry was handed out and is to be forgotten
	malformed int64  // entries that were skipped, since the last look

	entry entry
}

type state uint8

const (
	inName state = iota
	inText
	inSize
	inBinary
	afterBinary
	resync
)

const none = -1

// entry holds the known fields of one entry, until the next call of parser.next.
type entry struct {
	data   []byte
	values []value
	cut    bool // something was too long
}

type value struct {
	from, to int
	set      bool
}

// get returns a field, nil if there is none.
func (e *entry) get(field int) []byte {
	v := e.values[field]
	if !v.set {
		return nil
	}
	return e.data[v.from:v.to]
}

func newParser(fields map[string]int, limit int) *parser {
	p := &parser{fields: fields, limit: limit}
	p.entry.values = make([]value, len(fields))
	return p
}

// restart forgets what was read of an unfinished entry.
func (p *parser) restart() {
	p.state = inName
	p.forget()
}

func (p *parser) forget() {
	p.name, p.field, p.others, p.begun, p.full = p.name[:0], none, 0, false, false
	if cap(p.entry.data) > maxField {
		p.entry.data = nil // one huge message is no reason to keep its memory
	}
	p.entry.data, p.entry.cut = p.entry.data[:0], false
	clear(p.entry.values)
}

// next takes bytes off data. With ok, p.entry is complete, and rest is what follows it; without,
// all of data is taken.
func (p *parser) next(data []byte) (rest []byte, ok bool) {
	if p.full {
		p.forget()
	}
	for len(data) > 0 {
		switch p.state {
		case inName:
			if data, ok = p.takeName(data); ok {
				return data, true
			}
		case inText:
			i := bytes.IndexByte(data, '\n')
			if i < 0 {
				p.add(data)
				return nil, false
			}
			p.add(data[:i])
			p.endValue()
			p.state, data = inName, data[i+1:]
		case inSize:
			n := copy(p.size[8-p.left:], data)
			p.left -= uint64(n)
			data = data[n:]
			if p.left > 0 {
				continue
			}
			if p.left = binary.LittleEndian.Uint64(p.size[:]); p.left > maxBinary {
				p.notASize()
				continue
			}
			p.state = inBinary
			if p.left == 0 {
				p.state = afterBinary
			}
		case inBinary:
			n := int(min(p.left, uint64(len(data))))
			p.add(data[:n])
			data = data[n:]
			if p.left -= uint64(n); p.left == 0 {
				p.state = afterBinary
			}
		case afterBinary:
			if data[0] != '\n' {
				p.bad()
				continue
			}
			p.endValue()
			p.state, data = inName, data[1:]
		case resync:
			c := data[0]
			data = data[1:]
			if c == '\n' && p.newline {
				p.restart()
			} else if p.newline = c == '\n'; !p.newline {
				i := bytes.IndexByte(data, '\n')
				if i < 0 {
					return nil, false
				}
				data = data[i:]
			}
		}
	}
	return nil, false
}

// takeName reads up to the end of a field's name, or the empty line that ends an entry.
func (p *parser) takeName(data []byte) (rest []byte, ok bool) {
	for i, c := range data {
		switch {
		case c >= 'A' && c <= 'Z' || c == '_' || c >= '0' && c <= '9':
			continue
		case c == '=' || c == '\n':
			name := data[:i]
			if len(p.name) > 0 {
				p.name = append(p.name, name...)
				name = p.name
			}
			rest = data[i+1:]
			if len(name) == 0 && c == '\n' {
				return rest, p.endEntry()
			}
			if len(name) == 0 || len(name) > maxName {
				p.bad()
				return data[i:], false
			}
			p.begun = true
			p.field = none
			if f, known := p.fields[string(name)]; known && !p.entry.values[f].set {
				p.field = f // of a field that occurs several times the first counts
			}
			p.name, p.start = p.name[:0], len(p.entry.data)
			if p.state = inText; c == '\n' {
				p.state, p.left = inSize, 8
			}
			return rest, false
		default:
			p.bad()
			return data[i:], false
		}
	}
	if len(p.name)+len(data) > maxName {
		p.bad()
		return data, false
	}
	p.name = append(p.name, data...)
	return nil, false
}

// add appends a piece of the current value within its bound.
func (p *parser) add(piece []byte) {
	e := &p.entry
	switch {
	case p.field == none:
		return
	case p.field == fieldMessage:
		if room := p.limit - (len(e.data) - p.start); len(piece) > room {
			piece, e.cut = piece[:room], true
		}
	case len(e.data)-p.start+len(piece) > min(maxField, maxFields-p.others):
		e.data, e.cut, p.field = e.data[:p.start], true, none
		return
	}
	e.data = append(e.data, piece...)
}

func (p *parser) endValue() {
	if p.field == none {
		return
	}
	p.entry.values[p.field] = value{from: p.start, to: len(p.entry.data), set: true}
	if p.field != fieldMessage {
		p.others += len(p.entry.data) - p.start
	}
	p.field = none
}

// endEntry says whether what the empty line ends is an entry. journalctl gives each of them a
// cursor and a time; nothing else has both.
func (p *parser) endEntry() bool {
	if !p.begun {
		return false // one empty line more
	}
	if v := p.entry.values; !v[fieldCursor].set || !v[fieldRealtime].set {
		p.malformed++
		p.forget()
		return false
	}
	p.full = true
	return true
}

// bad skips to the next empty line.
func (p *parser) bad() {
	p.malformed++
	p.forget()
	p.state, p.newline = resync, false
}

// notASize is told of 8 bytes that can't be a size. Maybe they were the empty line after a torn
// name and the beginning of the next entry.
func (p *parser) notASize() {
	p.bad()
	b := [9]byte{'\n'} // which ended the name
	copy(b[1:], p.size[:])
	p.next(b[:])
}
