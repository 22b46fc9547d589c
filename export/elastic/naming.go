package elastic

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"stint/export/otlp"
)

// Attributes that say where a record goes.
const (
	attrType      = "data_stream.type"
	attrDataset   = "data_stream.dataset"
	attrNamespace = "data_stream.namespace"
	attrPrefix    = "elasticsearch.index.prefix"
	attrSuffix    = "elasticsearch.index.suffix"
)

const (
	maxPart  = 100 // bytes of a part of a data stream's name
	maxIndex = 255 // bytes of a name
	// forbidden in names of indices and data streams (Elasticsearch, "Create index", path parameters).
	forbidden = `\/*?"<>| ,#:`
)

// naming is where the records of the group go.
type naming struct {
	dataset, namespace         []byte // of the group, as parts of a name; of the record where it has its own
	groupDataset, groupSpace   []byte
	prefix, suffix             []byte
	groupPrefix, groupSuffix   []byte
	hasPrefix, hasSuffix       bool // the group has them
	recordDataset, recordSpace bool // the last record had them
	next                       []byte
}

// nameGroup reads what resource and scope say: for data streams the scope counts before the
// resource, for prefix and suffix the other way round.
func (e *Encoder) nameGroup() {
	n := &e.name
	if e.f.DataStreams() {
		n.groupDataset = e.appendDataset(n.groupDataset[:0], pick(attrDataset, e.scope.Attributes, e.resource.Attributes))
		n.groupSpace = appendPart(n.groupSpace[:0], pick(attrNamespace, e.scope.Attributes, e.resource.Attributes), "", maxPart, "default")
		n.dataset, n.namespace = append(n.dataset[:0], n.groupDataset...), append(n.namespace[:0], n.groupSpace...)
		n.recordDataset, n.recordSpace = false, false
		return
	}
	if e.f.Dynamic {
		prefix, suffix := pick(attrPrefix, e.resource.Attributes, e.scope.Attributes), pick(attrSuffix, e.resource.Attributes, e.scope.Attributes)
		n.hasPrefix, n.hasSuffix = prefix != nil, suffix != nil
		n.groupPrefix, n.groupSuffix = appendPart(n.groupPrefix[:0], prefix, "", maxPart, ""), appendPart(n.groupSuffix[:0], suffix, "", maxPart, "")
	}
}

// pick is the text of the first attribute of that key.
func pick(key string, from ...otlp.Attrs) []byte {
	for _, attrs := range from {
		if v, ok := attrs.Get(key); ok && v.Kind() == otlp.KindString && len(v.Bytes()) > 0 {
			return v.Bytes()
		}
	}
	return nil
}

// nameRecord makes e.index of the group's and the record's attributes, and says whether it is that
// of the record before.
func (e *Encoder) nameRecord() (same bool) {
	n := &e.name
	n.next = n.next[:0]
	switch {
	case e.f.DataStreams():
		e.nameStream()
		n.next = append(n.next, "logs-"...)
		n.next = append(n.next, n.dataset...)
		n.next = append(n.next, '-')
		n.next = append(n.next, n.namespace...)
	case e.f.Dynamic:
		e.nameDynamic()
		n.next = append(n.next, n.prefix...)
		n.next = append(n.next, e.f.Index...)
		n.next = append(n.next, n.suffix...)
		n.next = bytes.TrimLeft(n.next, "-_+") // by which no name may begin
	default:
		n.next = append(n.next, e.f.Index...)
	}
	if e.f.Date != "" {
		when := e.now
		if !e.f.ByExport {
			when = e.unix()
		}
		n.next = append(n.next, e.f.Separator...)
		n.next = e.clock.appendDate(n.next, e.f.Date, when)
	}
	if bytes.Equal(n.next, e.index) {
		return true
	}
	e.index = append(e.index[:0], n.next...)
	return false
}

// nameStream takes the parts of a data stream's name from the record, else from the group.
func (e *Encoder) nameStream() {
	n := &e.name
	var dataset, namespace []byte
	for k, v := range e.record.Attributes.All() {
		if len(k) < len(attrDataset) || k[0] != 'd' {
			continue
		}
		switch {
		case string(k) == attrDataset && v.Kind() == otlp.KindString:
			dataset = v.Bytes()
		case string(k) == attrNamespace && v.Kind() == otlp.KindString:
			namespace = v.Bytes()
		}
	}
	if len(dataset) > 0 {
		n.dataset, n.recordDataset = e.appendDataset(n.dataset[:0], dataset), true
	} else if n.recordDataset {
		n.dataset, n.recordDataset = append(n.dataset[:0], n.groupDataset...), false
	}
	if len(namespace) > 0 {
		n.namespace, n.recordSpace = appendPart(n.namespace[:0], namespace, "", maxPart, "default"), true
	} else if n.recordSpace {
		n.namespace, n.recordSpace = append(n.namespace[:0], n.groupSpace...), false
	}
}

// nameDynamic takes prefix and suffix from the group, else from the record.
func (e *Encoder) nameDynamic() {
	n := &e.name
	n.prefix, n.suffix = append(n.prefix[:0], n.groupPrefix...), append(n.suffix[:0], n.groupSuffix...)
	if n.hasPrefix && n.hasSuffix {
		return
	}
	for k, v := range e.record.Attributes.All() {
		switch {
		case !n.hasPrefix && string(k) == attrPrefix && v.Kind() == otlp.KindString:
			n.prefix = appendPart(n.prefix[:0], v.Bytes(), "", maxPart, "")
		case !n.hasSuffix && string(k) == attrSuffix && v.Kind() == otlp.KindString:
			n.suffix = appendPart(n.suffix[:0], v.Bytes(), "", maxPart, "")
		}
	}
}

// appendDataset appends the dataset of a data stream: that of OTel documents ends in .otel, for
// which servers have templates.
func (e *Encoder) appendDataset(dst, value []byte) []byte {
	const suffix = ".otel"
	if e.f.Mapping != OTel {
		return appendPart(dst, value, "-", maxPart, "generic")
	}
	dst = appendPart(dst, bytes.TrimSuffix(value, []byte(suffix)), "-", maxPart-len(suffix), "generic")
	return append(dst, suffix...)
}

// appendPart appends value as it may stand in a name: in lower case, _ for what must not be in it,
// at most most bytes, cut before a rune. In place of nothing stands other.
func appendPart(dst, value []byte, also string, most int, other string) []byte {
	start := len(dst)
	for len(value) > 0 {
		r, n := utf8.DecodeRune(value)
		value = value[n:]
		if r = unicode.ToLower(r); r == utf8.RuneError || r < ' ' || r == 0x7f || strings.ContainsRune(forbidden, r) || strings.ContainsRune(also, r) {
			r = '_'
		}
		if len(dst)-start+utf8.RuneLen(r) > most {
			break
		}
		dst = utf8.AppendRune(dst, r)
	}
	if len(dst) == start {
		dst = append(dst, other...)
	}
	return dst
}

// CheckIndex says what is wrong with the name of an index.
func CheckIndex(name string) error {
	switch {
	case name == "" || name == "." || name == "..":
		return fmt.Errorf("%q is no name", name)
	case len(name) > maxIndex:
		return fmt.Errorf("it has %d bytes; %d are allowed", len(name), maxIndex)
	case strings.ContainsAny(name[:1], "-_+"):
		return fmt.Errorf("%q begins with %q; begin with a letter or digit", name, name[:1])
	case strings.ContainsAny(name, forbidden):
		i := strings.IndexAny(name, forbidden)
		return fmt.Errorf("%q holds %q; use lower-case letters, digits, dots, - and _", name, name[i:i+1])
	case strings.ContainsFunc(name, func(r rune) bool { return unicode.ToLower(r) != r || r < ' ' || r == utf8.RuneError }):
		return fmt.Errorf("%q is not in lower case; write %q", name, strings.ToLower(name))
	}
	return nil
}
