package export

import (
	"slices"

	"stint/export/otlp"
)

// request is what is sent at once: a batch, or a part of one after a split. Its bytes are
// those of the chunks; only the frames between them are its own.
type request struct {
	signal  otlp.Signal
	pieces  []piece
	records int
	id      string // see BatchID; given when it is sent

	bufs [][]byte // frames and data in the order of the wire; made when first needed
	size int      // bytes of bufs
}

// piece is a chunk or a part of one.
type piece struct {
	group   *otlp.Group // nil: data is framed, as in [otlp.Chunk]
	data    []byte
	records int
}

// newRequest takes all chunks, those of one group next to each other: they share a frame. The
// order within a group stays.
func newRequest(signal otlp.Signal, chunks []*otlp.Chunk) *request {
	r := &request{signal: signal, pieces: make([]piece, 0, len(chunks))}
	seen := make(map[*otlp.Group]int, 16) // index of the group's next chunk list
	lists := make([][]piece, 0, 16)
	for _, c := range chunks {
		i, ok := seen[c.Group]
		if !ok {
			i = len(lists)
			seen[c.Group] = i
			lists = append(lists, nil)
		}
		lists[i] = append(lists[i], piece{c.Group, c.Data, c.Records})
		r.records += c.Records
	}
	for _, l := range lists {
		r.pieces = append(r.pieces, l...)
	}
	return r
}

// apart is the request with a piece for each resource and scope, for who looks at them or cuts between records.
func (r *request) apart() *request {
	if !slices.ContainsFunc(r.pieces, func(p piece) bool { return p.group == nil }) {
		return r
	}
	all := &request{signal: r.signal, id: r.id}
	for _, p := range r.pieces {
		if p.group != nil {
			all.add(p)
			continue
		}
		parts, err := otlp.Pieces(r.signal, p.data)
		if err != nil {
			panic("bug: a chunk is not valid OTLP: " + err.Error())
		}
		for _, x := range parts {
			all.add(piece{x.Group, x.Data, x.Records})
		}
	}
	return all
}

// buffers are the bytes of the request, in pieces. They must not be changed.
func (r *request) buffers() (bufs [][]byte, size int) {
	if r.bufs != nil {
		return r.bufs, r.size
	}
	frames := make([]byte, 0, r.framesLen())
	r.bufs = make([][]byte, 0, len(r.pieces)+len(r.pieces)/2+1)
	for i := 0; i < len(r.pieces); {
		group, n, end := r.pieces[i].group, 0, i
		for end < len(r.pieces) && r.pieces[end].group == group {
			n += len(r.pieces[end].data)
			end++
		}
		start := len(frames)
		if frames = group.AppendFrame(frames, n); len(frames) > start {
			r.bufs = append(r.bufs, frames[start:])
		}
		for ; i < end; i++ {
			r.bufs = append(r.bufs, r.pieces[i].data)
		}
	}
	for _, b := range r.bufs {
		r.size += len(b)
	}
	return r.bufs, r.size
}

func (r *request) framesLen() (n int) {
	for i := range r.pieces {
		n += r.pieces[i].group.FrameLen(len(r.pieces[i].data))
	}
	return n
}

// bytes is the request in one piece, for destinations that have to look into it.
func (r *request) bytes() []byte {
	_, size := r.buffers()
	return r.appendTo(make([]byte, 0, size))
}

// appendTo appends the request's bytes.
func (r *request) appendTo(dst []byte) []byte {
	bufs, _ := r.buffers()
	for _, b := range bufs {
		dst = append(dst, b...)
	}
	return dst
}

// resources is how many resource messages the request holds.
func (r *request) resources() (n int) {
	r = r.apart()
	for i := range r.pieces {
		if i == 0 || r.pieces[i].group != r.pieces[i-1].group {
			n++
		}
	}
	return n
}

// split cuts the request in two with about half the records each. ok is false when there is
// nothing left to cut.
func (r *request) split() (a, b *request, ok bool) {
	r = r.apart()
	a, b = &request{signal: r.signal}, &request{signal: r.signal}
	half := r.records / 2
	for i, p := range r.pieces {
		if a.records+p.records <= half {
			a.add(p)
			continue
		}
		off, n := cutPiece(r.signal, p.data, half-a.records)
		for want := half / 2; off == len(p.data) && len(a.pieces) == 0 && want > 0; want /= 2 {
			off, n = cutPiece(r.signal, p.data, want) // its last metric has most of the points
		}
		switch {
		case off < len(p.data) && (half > a.records || len(a.pieces) == 0):
			a.add(piece{p.group, p.data[:off], n})
			b.add(piece{p.group, p.data[off:], p.records - n})
		case len(a.pieces) == 0:
			a.add(p) // a single metric, whose points stay together
		default:
			b.add(p)
		}
		for _, p := range r.pieces[i+1:] {
			b.add(p)
		}
		break
	}
	return a, b, len(a.pieces) > 0 && len(b.pieces) > 0
}

// cut gives the first n records and those behind them; ok is false if they can't be told apart.
func (r *request) cut(n int) (front, rest *request, ok bool) {
	r = r.apart()
	front, rest = &request{signal: r.signal}, &request{signal: r.signal}
	for i, p := range r.pieces {
		want := n - front.records
		if p.records <= want {
			front.add(p)
			continue
		}
		if want > 0 {
			off, got, err := otlp.Cut(r.signal, p.data, want)
			if err != nil || got != want {
				return nil, nil, false
			}
			front.add(piece{p.group, p.data[:off], got})
			p.data, p.records = p.data[off:], p.records-got
		}
		rest.add(p)
		for _, p := range r.pieces[i+1:] {
			rest.add(p)
		}
		break
	}
	return front, rest, front.records == n
}

// behind is the request without its first n records, or all of it if they can't be told apart.
func (r *request) behind(n int) *request {
	if n > 0 {
		if _, rest, ok := r.cut(n); ok {
			return rest
		}
	}
	return r
}

func cutPiece(s otlp.Signal, data []byte, records int) (off, n int) {
	off, n, err := otlp.Cut(s, data, records)
	if err != nil {
		panic("bug: a chunk is not valid OTLP: " + err.Error())
	}
	return off, n
}

func (r *request) add(p piece) {
	r.pieces = append(r.pieces, p)
	r.records += p.records
}
