package export

import (
	"errors"
	"sync"

	"stint/export/otlp"
)

// maxGroups is how many changed groups a change keeps: about as many as a node has containers. maxGroupsBytes
// bounds what they take where clients make them.
const (
	maxGroups      = 4096
	maxGroupsBytes = 4 << 20
)

// change is what a pipeline does to attributes. It is applied just before sending, so that what
// waits, in memory or on disk, is as it came, and shared. One goroutine uses it; a nil change
// changes nothing.
type change struct {
	resource, record *otlp.Editor // nil: nothing to do

	groups map[*otlp.Group]*otlp.Group
	bytes  int     // of groups
	buf    *[]byte // records of the request at hand
}

// changedRecords are kept, so that no batch allocates megabytes.
var changedRecords = sync.Pool{New: func() any { return new([]byte) }}

func newChange(p Pipeline) *change {
	c := &change{resource: p.editor("resource"), record: p.editor("record"), groups: map[*otlp.Group]*otlp.Group{}}
	if c.resource == nil && c.record == nil {
		return nil
	}
	return c
}

// apply gives the changed request, without the records that can't be changed, because their framing is broken:
// lost of them, for which err says why; nil: it can't be taken apart at all. The records are the change's memory
// until release.
func (c *change) apply(r *request) (_ *request, lost int, err error) {
	if c == nil {
		return r, 0, nil
	}
	if len(r.pieces) == 0 {
		return nil, 0, errors.New("a request can't be taken apart, so that its attributes can't be changed")
	}
	r = r.apart()
	changed := &request{signal: r.signal, pieces: make([]piece, 0, len(r.pieces))}
	c.buf = changedRecords.Get().(*[]byte)
	buf := (*c.buf)[:0]
	defer func() { *c.buf = buf }()
	for _, p := range r.pieces {
		if c.resource != nil {
			g, bad := c.group(p.group)
			if bad != nil {
				lost, err = lost+p.records, bad
				continue
			}
			p.group = g
		}
		if c.record != nil {
			start := len(buf)
			whole, bad := c.record.Records(buf, r.signal, p.data)
			if bad == nil {
				buf = whole
			} else {
				var n int
				buf, n = c.sound(buf, r.signal, p.data)
				lost, err, p.records = lost+p.records-n, bad, n
			}
			if p.data = buf[start:len(buf):len(buf)]; len(p.data) == 0 { // stays right when buf moves
				continue
			}
		}
		changed.add(p)
	}
	return changed, lost, err
}

// sound appends the records that can be changed, n of them.
func (c *change) sound(dst []byte, s otlp.Signal, data []byte) (_ []byte, n int) {
	for len(data) > 0 {
		off, records := cutPiece(s, data, 1)
		if more, err := c.record.Records(dst, s, data[:off]); err == nil {
			dst, n = more, n+records
		}
		data = data[off:]
	}
	return dst, n
}

// lend leaves the memory of the request at hand to a transport that may still read it.
func (c *change) lend() {
	if c != nil {
		c.buf = new([]byte)
	}
}

// release ends the use of what apply gave.
func (c *change) release() {
	if c != nil && c.buf != nil {
		changedRecords.Put(c.buf)
		c.buf = nil
	}
}

func (c *change) group(g *otlp.Group) (*otlp.Group, error) {
	changed := c.groups[g]
	if changed == nil {
		var err error
		if changed, err = c.resource.Group(g); err != nil {
			return nil, err
		}
		if c.bytes += g.FrameLen(0) + changed.FrameLen(0); len(c.groups) >= maxGroups || c.bytes > maxGroupsBytes {
			clear(c.groups) // those of containers that are gone among them
			c.bytes = g.FrameLen(0) + changed.FrameLen(0)
		}
		c.groups[g] = changed
	}
	return changed, nil
}
