package state

import (
	"bytes"
	"context"
	"encoding/hex"
	"math"

	"stint/export/otlp"
)

// encoder turns rows into chunks, of many resources each. It is used by one goroutine and keeps its memory.
type encoder struct {
	all    []metric // of the table, and of custom resources
	forms  [][]otlp.Head
	off    *[attrKeys]bool // attributes of resources that are left out
	scope  *otlp.Group
	pool   *otlp.Pool
	out    func(*otlp.Chunk)
	origin otlp.Origin
	// top finds who is behind the controller of an object, such as the deployment behind a replica set.
	top func(ownerHandle) ownerHandle

	now  uint64 // time of the points, ns since 1970
	lane uint32

	slab  *otlp.Slab
	start int // of the next chunk in it
	open  int // points of the next chunk

	base, attrs, data, run, point, frame []byte
	records, chunks, bytes               int // handed over
}

// chunkBytes is when a chunk is handed over, if its objects have not all been encoded earlier.
const chunkBytes = 64 << 10

// slot is what a store keeps of an object: its row, and the one whose points were sent last, with the
// owner that these had.
type slot struct {
	row, sent *row
	top       ownerHandle // of sent; stays when the replica set is gone before its pods
}

// send encodes the points of a slot's row, and closes the series that the last sending had and this
// one has not: 0 for a state that was left, the flag that says so for all others. An object that is
// gone has no row any more.
func (e *encoder) send(ctx context.Context, s *slot) error {
	top := s.top
	if r := s.row; r != nil && (s.sent == nil || s.sent.owner != r.owner || top == r.owner) {
		top = e.top(r.owner)
	}
	if s.sent != nil && (s.row != s.sent || top != s.top) {
		if err := e.close(ctx, s, top); err != nil {
			return err
		}
	}
	if s.row == nil {
		return nil
	}
	r := s.row
	e.resource(r, top)
	if err := e.part(ctx, r, nil, r.points, "", false); err != nil {
		return err
	}
	for i := range r.subs {
		p := &r.subs[i]
		if err := e.part(ctx, r, p, p.points.Value(), "", false); err != nil {
			return err
		}
	}
	s.sent, s.top = r, top
	return nil
}

// close sends the last points of series that end. It compares what was sent with what will be, resource
// by resource.
func (e *encoder) close(ctx context.Context, s *slot, top ownerHandle) error {
	type alive struct {
		resource []byte
		points   string
	}
	var stay []alive // allocated, but only for what changed
	if r := s.row; r != nil {
		e.resource(r, top)
		stay = append(stay, alive{bytes.Clone(e.base), r.points})
		for i := range r.subs {
			p := &r.subs[i]
			if p.isOwn() {
				stay = append(stay, alive{bytes.Clone(e.partResource(p)), p.points.Value()})
			} else {
				stay[0].points += p.points.Value()
			}
		}
	}
	points := func(resource []byte) string {
		for _, a := range stay {
			if bytes.Equal(a.resource, resource) {
				return a.points
			}
		}
		return ""
	}
	r := s.sent
	e.resource(r, s.top)
	if err := e.part(ctx, r, nil, r.points, points(e.base), true); err != nil {
		return err
	}
	for i := range r.subs {
		p := &r.subs[i]
		resource := e.base
		if p.isOwn() {
			resource = e.partResource(p)
		}
		if err := e.part(ctx, r, p, p.points.Value(), points(resource), true); err != nil {
			return err
		}
	}
	return nil
}

// resource encodes the attributes of an object's resource.
func (e *encoder) resource(r *row, top ownerHandle) {
	e.base = appendAttrs(e.base[:0], 1, r.own)
	e.base = appendAttrs(e.base, 1, r.shared.Value())
	e.base = e.appendOwner(e.base, r.owner)
	if top != r.owner {
		e.base = e.appendOwner(e.base, top)
	}
}

// partResource adds those of a part.
func (e *encoder) partResource(p *sub) []byte {
	e.attrs = append(e.attrs[:0], e.base...)
	e.attrs = appendAttrs(e.attrs, 1, p.shared.Value())
	e.attrs = appendAttrs(e.attrs, 1, p.own)
	return e.attrs
}

// isOwn says whether the part has a resource of its own.
func (p *sub) isOwn() bool { return p.shared != noText }

// part hands over the points of one resource. Closing, only the last points of those that are not in
// stay, too.
func (e *encoder) part(ctx context.Context, r *row, p *sub, points, stay string, closing bool) error {
	e.data = e.data[:0]
	n := 0
	for len(points) > 0 {
		m, _ := metricOf(points)
		rest := points
		for i := range e.forms[m] {
			var k int
			rest, k = e.metric(&e.forms[m][i], m, points, stay, closing, uint64(r.created)*1e9)
			n += k
		}
		if len(e.forms[m]) == 0 {
			_, rest = nextPoint(points)
		}
		points = rest
	}
	if n == 0 {
		return nil
	}
	resource := e.base
	if p != nil && p.isOwn() {
		resource = e.partResource(p)
	}
	return e.hand(ctx, resource, n)
}

// metric encodes all points of one metric, which follow each other.
func (e *encoder) metric(h *otlp.Head, m metricID, points, stay string, closing bool, start uint64) (rest string, n int) {
	e.run = e.run[:0]
	for len(points) > 0 {
		if next, _ := metricOf(points); next != m {
			break
		}
		var p packedPoint
		p, points = nextPoint(points)
		if closing && hasPoint(stay, p.id) {
			continue
		}
		e.point = appendAttrs(e.point[:0], otlp.AttrsOfPoint, p.attrs)
		np := otlp.NumberPoint{Attrs: e.point, Start: min(start, e.now), Time: e.now}
		gone := false
		switch {
		case closing && e.all[m].set: // 0
		case closing:
			gone = true
		case p.double:
			np.Double = math.Float64frombits(p.bits)
		default:
			np.Int = int64(p.bits)
		}
		e.run = h.AppendPoint(e.run, &np, gone)
		n++
	}
	if n > 0 {
		e.data = h.AppendMetric(e.data, e.run)
	}
	return points, n
}

// hasPoint says whether one of the points has this metric and these attributes.
func hasPoint(points, id string) bool {
	for len(points) > 0 {
		var p packedPoint
		if p, points = nextPoint(points); p.id == id {
			return true
		}
	}
	return false
}

// hand adds the data, under its resource, to the next chunk. It waits for memory as long as ctx allows.
func (e *encoder) hand(ctx context.Context, resource []byte, records int) error {
	e.frame = otlp.AppendResource(e.frame[:0], resource, otlp.SchemaURL)
	group := e.scope.Under(e.frame)
	size := group.FrameLen(len(e.data)) + len(e.data)
	if e.slab == nil || cap(e.slab.Buf)-len(e.slab.Buf) < size {
		e.release()
		var err error
		if e.slab, err = e.pool.Get(ctx, size); err != nil {
			return err
		}
	}
	e.slab.Buf = append(group.AppendFrame(e.slab.Buf, len(e.data)), e.data...)
	e.open += records
	if len(e.slab.Buf)-e.start >= chunkBytes {
		e.flush()
	}
	return nil
}

// flush hands over what was encoded since the last chunk.
func (e *encoder) flush() {
	if e.open == 0 {
		return
	}
	end := len(e.slab.Buf)
	c := otlp.NewChunk(e.slab, e.slab.Buf[e.start:end:end])
	c.Records, c.Signal, c.Lane, c.Origin = e.open, otlp.Metrics, e.lane, e.origin
	e.records += e.open
	e.bytes += end - e.start
	e.chunks++
	e.start, e.open = end, 0
	e.out(c)
}

// release hands over what there is, and lets go of the slab.
func (e *encoder) release() {
	if e.slab != nil {
		e.flush()
		e.slab.Release()
		e.slab, e.start = nil, 0
	}
}

// appendOwner appends the name and uid of an owner.
func (e *encoder) appendOwner(dst []byte, h ownerHandle) []byte {
	if h == noOwner {
		return dst
	}
	o := h.Value()
	for i, v := range [...]string{o.name, o.uid} {
		if k := ownerKeys[o.kind][i]; !e.off[k] {
			dst = otlp.AppendText(dst, 1, keys[k], v)
		}
	}
	return dst
}

// appendAttrs encodes packed attributes.
func appendAttrs(dst []byte, field int, packed string) []byte {
	for len(packed) > 0 {
		var a attr
		a, packed = nextAttr(packed)
		k := keys[a.key]
		switch a.shape {
		case shapeText:
			dst = otlp.AppendText(dst, field, k, a.bytes)
		case shapeNamed:
			dst = otlp.AppendText(dst, field, a.named, a.bytes)
		case shapeList:
			dst = otlp.AppendTextList(dst, field, k, a.bytes)
		case shapeUUID:
			var t [36]byte
			dst = otlp.AppendText(dst, field, k, formatUUID(&t, a.bytes))
		case shapeHash:
			var raw [32]byte
			var t [64]byte
			copy(raw[:], a.bytes)
			hex.Encode(t[:], raw[:])
			dst = otlp.AppendText(dst, field, k, t[:])
		case shapeTrue, shapeFalse:
			dst = otlp.AppendTruth(dst, field, k, a.shape == shapeTrue)
		}
	}
	return dst
}

func formatUUID(dst *[36]byte, raw string) []byte {
	const digits = "0123456789abcdef"
	n := 0
	for i := 0; i < len(raw); i++ {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			dst[n] = '-'
			n++
		}
		dst[n], dst[n+1] = digits[raw[i]>>4], digits[raw[i]&15]
		n += 2
	}
	return dst[:]
}
