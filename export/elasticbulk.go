package export

import (
	"bytes"
	"fmt"
	"io"
	"time"

	"stint/export/elastic"
	"stint/export/otlp"
)

// bulk is the work on one request for Elasticsearch.
type bulk struct {
	r       *request
	enc     *elastic.Encoder
	answers *elastic.AnswerReader
	docs    []doc
	reasons []refusal // of docs, without a request. Their labels are few

	sent    []int // the documents of the body, by their place in docs
	create  bool  // their action
	changes elastic.Changes
	body    *bytes.Buffer
	line    []byte

	stored, refused int
	failureStore    int // of stored
	// Documents of the last body that wait: for the server, for room on its disk, for rights, for a
	// pipeline, for a data stream.
	busy, blocked, denied, astray, homeless int
	why                                     error // of one of them
}

// doc is a record of the request.
type doc struct {
	piece    int32
	off, end int32 // in the piece's data
	fate     int16 // 0: not settled; stored, homeless; else 1 + its place in reasons
	own      bool  // it has an id of its own
}

const (
	stored   = -1
	homeless = -2 // there is no data stream for it
)

func newBulk(f elastic.Format) *bulk {
	return &bulk{enc: elastic.NewEncoder(f), answers: new(elastic.AnswerReader), body: new(bytes.Buffer)}
}

// take finds the records of a request.
func (b *bulk) take(r *request) error {
	b.r = r
	for i, p := range r.pieces {
		for off := 0; off < len(p.data); {
			raw, _, _, err := otlp.NextRecord(p.data[off:])
			if err != nil {
				return fmt.Errorf("a request can't be taken apart: %w", err)
			}
			b.docs = append(b.docs, doc{piece: int32(i), off: int32(off), end: int32(off + len(raw))})
			off += len(raw)
		}
	}
	if len(b.docs) != r.records {
		return fmt.Errorf("a request of %d records holds %d", r.records, len(b.docs))
	}
	return nil
}

// reset forgets the request, and memory that was needed for once.
func (b *bulk) reset() {
	if b.body.Reset(); b.body.Cap() > 2*maxBody {
		b.body = new(bytes.Buffer)
	}
	if cap(b.line) > maxBody {
		b.line = nil
	}
	clear(b.reasons)
	*b = bulk{enc: b.enc, answers: b.answers, body: b.body, docs: b.docs[:0], reasons: b.reasons[:0], sent: b.sent[:0], line: b.line[:0]}
}

// fill makes a body of the documents from first on, at most most bytes before compression unless
// the first alone has more. It ends before end and has size bytes before compression.
func (b *bulk) fill(first, most int, compress, create bool) (end, size int) {
	b.body.Reset()
	b.sent, b.create, b.changes = b.sent[:0], create, elastic.Changes{}
	w := io.Writer(b.body)
	if compress {
		z := compressTo(b.body, "gzip")
		defer z.Close()
		w = z
	}
	b.enc.Begin(time.Now().UnixNano(), create)
	var group *otlp.Group
	pending := 0 // bytes of line that are to be written
	for end = first; end < len(b.docs); end++ {
		d := &b.docs[end]
		if d.fate != 0 {
			continue
		}
		p := &b.r.pieces[d.piece]
		if p.group != group {
			group = p.group
			b.enc.Group(group)
		}
		_, message, _, err := otlp.NextRecord(p.data[d.off:d.end])
		if err == nil {
			b.line, d.own, err = b.enc.Append(b.line[:pending], message)
		}
		if err != nil {
			b.refuse(end, invalid, err)
			continue
		}
		n := len(b.line) - pending
		if size+n > most && len(b.sent) > 0 {
			break
		}
		size += n
		b.changes = b.enc.Changes
		b.sent = append(b.sent, end)
		if pending = len(b.line); pending >= 32<<10 {
			w.Write(b.line) // a bytes.Buffer takes everything
			pending = 0
		}
	}
	w.Write(b.line[:pending])
	return end, size
}

func (b *bulk) store(i int) {
	if b.docs[i].fate == 0 {
		b.docs[i].fate = stored
		b.stored++
	}
}

// wait leaves a document for another attempt.
func (b *bulk) wait(why *int, item *elastic.Item) {
	*why++
	b.why = itemError(item)
}

// waits says whether any document of the body does.
func (b *bulk) waits() bool { return b.busy+b.blocked+b.denied+b.astray+b.homeless > 0 }

// waiting is the verdict on what waits.
func (b *bulk) waiting() Verdict {
	v := Verdict{Kind: Again, Err: b.why}
	switch all := b.busy + b.blocked + b.denied + b.astray + b.homeless; {
	case b.denied == all:
		v.Kind = Auth
	case b.astray+b.homeless == all:
		v.Kind = Misconfigured
	}
	if b.busy == 0 {
		v.After = parkFor // it takes somebody to mend it
	}
	return v
}

// refuse settles a document that is given up.
func (b *bulk) refuse(i int, reason string, err error) {
	b.refused++
	for n := range b.reasons {
		if b.reasons[n].reason == reason {
			b.docs[i].fate = int16(1 + n)
			return
		}
	}
	b.reasons = append(b.reasons, refusal{reason: reason, err: err})
	b.docs[i].fate = int16(len(b.reasons))
}

// refuseHomeless gives up the documents for which there is no data stream.
func (b *bulk) refuseHomeless() {
	for i := range b.docs {
		if b.docs[i].fate == homeless {
			b.refuse(i, "es_index_not_found", b.why)
		}
	}
	b.homeless = 0
}

// request makes one of the documents with that fate; 0 stands for all that are not settled. Records
// that lie next to each other stay in one piece.
func (b *bulk) request(fate int16) *request {
	r := &request{signal: b.r.signal}
	piece, end := int32(-1), int32(0) // of the last record
	for _, d := range b.docs {
		if d.fate != fate && (fate != 0 || d.fate != homeless) {
			continue
		}
		if piece == d.piece && end == d.off {
			last := &r.pieces[len(r.pieces)-1]
			last.data = last.data[:len(last.data)+int(d.end-d.off)]
			last.records++
			r.records++
		} else {
			r.add(pieceOf(b.r.pieces[d.piece], d))
		}
		piece, end = d.piece, d.end
	}
	return r
}

func pieceOf(p piece, d doc) piece { return piece{p.group, p.data[d.off:d.end], 1} }
