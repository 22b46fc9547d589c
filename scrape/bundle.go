package scrape

import "stint/export/otlp"

// maxChunk bounds the bytes of a chunk. An ordinary slab, so that the memory is always used
// again; only a single part that is larger gets a chunk, and a slab, of its own size.
const maxChunk = otlp.SlabSize

// bundle sorts the parts of a tick by group. It keeps its memory from tick to tick.
type bundle struct {
	parts  []linked
	groups []run
	index  map[*otlp.Group]int // into groups
}

// linked is a part and the next one of its group; -1 ends the list.
type linked struct {
	part
	next int
}

// run is the list of parts of one group.
type run struct {
	group       *otlp.Group
	first, last int
}

func (b *bundle) add(p part) {
	i := len(b.parts)
	b.parts = append(b.parts, linked{p, -1})
	at, ok := b.index[p.group]
	if !ok {
		if b.index == nil {
			b.index = map[*otlp.Group]int{}
		}
		b.index[p.group] = len(b.groups)
		b.groups = append(b.groups, run{p.group, i, i})
		return
	}
	r := &b.groups[at]
	b.parts[r.last].next = i
	r.last = i
}

func (b *bundle) reset() {
	clear(b.parts) // let go of groups and bytes
	clear(b.groups)
	clear(b.index)
	b.parts, b.groups = b.parts[:0], b.groups[:0]
}

// ship copies what a source's scrapers have ready into chunks, one a group unless that is
// larger than maxChunk, and hands them on. Without memory the points are dropped.
func (g *Grid) ship(src *source) {
	b := &g.bundle
	b.reset()
	for _, s := range src.ready {
		for _, p := range s.parts {
			b.add(p)
		}
	}
	src.ready = src.ready[:0]

	var slab *otlp.Slab
	for _, r := range b.groups {
		for first := r.first; first >= 0; {
			size, points, end := 0, 0, first
			for ; end >= 0; end = b.parts[end].next {
				n := len(b.parts[end].data)
				if size > 0 && size+n > maxChunk {
					break
				}
				size += n
				points += b.parts[end].points
			}
			if slab == nil || cap(slab.Buf)-len(slab.Buf) < size {
				if slab != nil {
					slab.Release()
				}
				slab = g.pool.TryGet(size)
			}
			if slab == nil {
				g.metrics.memory.Add(float64(points))
				first = end
				continue
			}
			start := len(slab.Buf)
			for ; first != end; first = b.parts[first].next {
				slab.Buf = append(slab.Buf, b.parts[first].data...)
			}
			c := otlp.NewChunk(slab, slab.Buf[start:len(slab.Buf):len(slab.Buf)])
			c.Group, c.Records, c.Signal, c.Lane = r.group, points, otlp.Metrics, src.lane
			c.Origin, c.Mark = g, src.id
			g.emit(src.Name(), c)
		}
	}
	if slab != nil {
		slab.Release()
	}
}
