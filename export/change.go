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

// apply gives the changed request. Its records are the change's memory until release.
func (c *change) apply(r *request) (*request, error) {
	if c == nil {
		return r, nil
	}
	if len(r.pieces) == 0 {
		return nil, errors.New("a request can't be taken apart, so that its attributes can't be changed")
	}
	changed := &request{signal: r.signal, records: r.records, pieces: make([]piece, len(r.pieces))}
	c.buf = changedRecords.Get().(*[]byte)
	buf := (*c.buf)[:0]
	defer func() { *c.buf = buf }()
	for i, p := range r.pieces {
		if c.resource != nil {
			g, err := c.group(p.group)
			if err != nil {
				return nil, err
			}
			p.group = g
		}
		if c.record != nil {
			start := len(buf)
			var err error
			if buf, err = c.record.Records(buf, r.signal, p.data); err != nil {
				return nil, err
			}
			p.data = buf[start:len(buf):len(buf)] // stays right when buf moves
		}
		changed.pieces[i] = p
	}
	return changed, nil
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
