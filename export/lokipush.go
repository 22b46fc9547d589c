package export

import (
	"bytes"
	"encoding/hex"
	"slices"
	"strconv"
	"sync"

	"github.com/klauspost/compress/snappy"
	"google.golang.org/protobuf/encoding/protowire"

	"stint/export/otlp"
)

// maxLokiMetadata is how many entries of structured metadata a record has at most; Loki refuses
// records with more (validation.max-structured-metadata-entries-count).
const maxLokiMetadata = 128

// lokiPushes are kept for their memory.
var lokiPushes = sync.Pool{New: func() any { return &lokiPush{} }}

// lokiPush writes requests as logproto.PushRequest (loki: pkg/push/push.proto): a stream for each set
// of labels, in the order in which they come, with their records in theirs.
type lokiPush struct {
	streams []lokiStream
	index   map[string]int // of the stream with these labels
	labels  []byte
	common  []byte // metadata of the resource at hand, encoded
	commons int    // entries of it
	name    []byte
	value   []byte
	out     []byte
	packed  []byte
}

type lokiStream struct{ labels, entries []byte }

// encode gives the body of a request. It is p's until its next use.
func (p *lokiPush) encode(r *request, labels []string) ([]byte, error) {
	if p.index == nil {
		p.index = map[string]int{}
	}
	clear(p.index)
	used := 0
	var l otlp.LogView
	for i := range r.pieces {
		if i == 0 || r.pieces[i].group != r.pieces[i-1].group {
			p.resource(r.pieces[i].group, labels)
		}
		at, ok := p.index[string(p.labels)]
		if !ok {
			at = used
			p.index[string(p.labels)] = at
			if used++; used > len(p.streams) {
				p.streams = append(p.streams, lokiStream{})
			}
			s := &p.streams[at]
			s.labels, s.entries = append(s.labels[:0], p.labels...), s.entries[:0]
		}
		s := &p.streams[at]
		for data := r.pieces[i].data; len(data) > 0; {
			_, message, rest, err := otlp.NextRecord(data)
			if err == nil {
				err = l.Read(message)
			}
			if err != nil {
				return nil, err
			}
			s.entries = p.entry(s.entries, &l)
			data = rest
		}
	}
	p.out = p.out[:0]
	for i := range p.streams[:used] {
		s := &p.streams[i]
		p.out = protowire.AppendTag(p.out, 1, protowire.BytesType)
		p.out = protowire.AppendVarint(p.out, uint64(protowire.SizeTag(1)+protowire.SizeBytes(len(s.labels))+len(s.entries)))
		p.out = protowire.AppendTag(p.out, 1, protowire.BytesType)
		p.out = protowire.AppendBytes(p.out, s.labels)
		p.out = append(p.out, s.entries...)
	}
	kept := 0
	for i := range p.streams {
		kept += cap(p.streams[i].entries)
	}
	if kept > 4*max(len(p.out), maxLokiBytes) { // another one had the most each time
		p.streams = nil
	}
	p.packed = snappy.Encode(p.packed[:cap(p.packed)], p.out)
	return p.packed, nil
}

// resource makes the labels and the metadata that all records of a group have.
func (p *lokiPush) resource(g *otlp.Group, labels []string) {
	res, scope := g.Resource(), g.Scope()
	p.labels, p.common, p.commons = append(p.labels[:0], '{'), p.common[:0], 0
	for _, key := range labels {
		v, ok := res.Attributes.Get(key)
		if !ok && key == "service.name" {
			v, ok = otlp.Any(unknownService), true // Loki's own name for it; a stream needs a label
		}
		if !ok {
			continue
		}
		if len(p.labels) > 1 {
			p.labels = append(p.labels, ", "...)
		}
		p.name = lokiName(p.name[:0], []byte(key))
		p.value = v.AppendText(p.value[:0])
		p.labels = append(append(p.labels, p.name...), '=')
		p.labels = strconv.AppendQuote(p.labels, string(p.value))
	}
	if len(p.labels) == 1 {
		p.labels = append(p.labels, `service_name="unknown_service"`...)
	}
	p.labels = append(p.labels, '}')
	for k, v := range res.Attributes.All() {
		if !slices.Contains(labels, string(k)) {
			p.value = v.AppendText(p.value[:0])
			p.common = p.metadata(p.common, &p.commons, k, p.value)
		}
	}
	if len(scope.Name) > 0 {
		p.common = p.metadata(p.common, &p.commons, []byte("scope.name"), scope.Name)
	}
}

// unknownService is an AnyValue.
var unknownService = otlp.AppendValue(nil, otlp.String("unknown_service"))

// entry appends a record as an entry of a stream.
func (p *lokiPush) entry(dst []byte, l *otlp.LogView) []byte {
	dst, start := otlp.OpenLen(dst, 2)
	ns := l.Unix()
	var stamp [24]byte
	t := stamp[:0]
	if s := ns / 1e9; s > 0 {
		t = protowire.AppendVarint(protowire.AppendTag(t, 1, protowire.VarintType), s)
	}
	if n := ns % 1e9; n > 0 {
		t = protowire.AppendVarint(protowire.AppendTag(t, 2, protowire.VarintType), n)
	}
	dst = protowire.AppendBytes(protowire.AppendTag(dst, 1, protowire.BytesType), t)
	p.value = l.Body.AppendText(p.value[:0])
	dst = protowire.AppendBytes(protowire.AppendTag(dst, 2, protowire.BytesType), p.value)

	n := p.commons
	dst = append(dst, p.common...)
	if len(l.SeverityText) > 0 {
		dst = p.metadata(dst, &n, []byte("severity.text"), l.SeverityText)
	}
	if l.Severity != 0 {
		p.value = strconv.AppendInt(p.value[:0], int64(l.Severity), 10)
		dst = p.metadata(dst, &n, []byte("severity.number"), p.value)
	}
	for _, id := range [...]struct {
		name string
		id   []byte
	}{{"trace.id", l.TraceID}, {"span.id", l.SpanID}} {
		if len(id.id) > 0 {
			p.value = hex.AppendEncode(p.value[:0], id.id)
			dst = p.metadata(dst, &n, []byte(id.name), p.value)
		}
	}
	if len(l.EventName) > 0 {
		dst = p.metadata(dst, &n, []byte("event.name"), l.EventName)
	}
	for k, v := range l.Attributes.All() {
		p.value = v.AppendText(p.value[:0])
		dst = p.metadata(dst, &n, k, p.value)
	}
	return otlp.CloseLen(dst, start)
}

// metadata appends an entry of structured metadata, as long as there is room for one.
func (p *lokiPush) metadata(dst []byte, n *int, key, value []byte) []byte {
	if *n++; *n > maxLokiMetadata {
		return dst
	}
	p.name = lokiName(p.name[:0], key)
	dst = protowire.AppendTag(dst, 3, protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(2*protowire.SizeTag(1)+protowire.SizeBytes(len(p.name))+protowire.SizeBytes(len(value))))
	dst = protowire.AppendBytes(protowire.AppendTag(dst, 1, protowire.BytesType), p.name)
	return protowire.AppendBytes(protowire.AppendTag(dst, 2, protowire.BytesType), bytes.ToValidUTF8(value, []byte("\uFFFD")))
}

// lokiName appends a key as Loki names it: letters, digits and underscores, as for Prometheus.
func lokiName(dst, key []byte) []byte {
	if len(key) > 0 && key[0] >= '0' && key[0] <= '9' {
		dst = append(dst, "key_"...)
	}
	for _, c := range key {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' {
			dst = append(dst, c)
		} else {
			dst = append(dst, '_')
		}
	}
	return dst
}
