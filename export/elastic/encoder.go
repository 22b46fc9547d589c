// Package elastic speaks Elasticsearch's _bulk API on paper: it writes log records as the lines of
// a request, names the index each belongs in, and reads the answer. It opens no connection.
//
// A record becomes two lines: an action, {"create":{"_index":"logs-generic.otel-default"}}, and the
// document, in one of four shapes (see [Format]). Documents are made so that a server takes them:
// it refuses those with the same key twice, with a and a.b where a is not an object, with more than
// 20 levels, with empty keys, and indices with more than 1,000 fields. What has to be
// changed for that is counted in [Changes]; nothing of a record is left out but the earlier ones of
// equal keys.
//
// Nothing is allocated per record: an [Encoder] keeps its memory.
package elastic

import (
	"crypto/sha256"
	"encoding/base64"

	"stint/export/otlp"
)

// Shapes of a document.
const (
	OTel    = "otel"    // as OpenTelemetry has it; Elasticsearch 8.12 and later have templates for it
	ECS     = "ecs"     // names of the Elastic Common Schema
	None    = "none"    // the record's own names: Body, Attributes.*, Resource.*
	BodyMap = "bodymap" // the body, a map, is the document
)

// Format says what documents look like and where they go.
type Format struct {
	Mapping string
	// Index is the name of an index; "" for data streams, logs-DATASET-NAMESPACE, whose parts come
	// from the attributes data_stream.dataset and data_stream.namespace.
	Index string
	// Dynamic puts the attributes elasticsearch.index.prefix and .suffix around Index.
	Dynamic bool
	// Separator and Date are appended to Index; see [CheckDate]. Date "" is none.
	Separator, Date string
	// ByExport takes the date of the request in place of the record's.
	ByExport bool
	// IDs gives a document that tells of a Kubernetes object or event an id that is made of what it
	// says, so that it is stored once however often it is sent.
	IDs bool
}

// DataStreams says whether documents go to data streams.
func (f *Format) DataStreams() bool { return f.Index == "" }

// Changes are how many values of documents had to be changed for a server to take them.
type Changes struct {
	Duplicates int // earlier values of a key that comes twice: left out
	Conflicts  int // values of a that became a.value because of a.b
	TooDeep    int // maps and lists below 20 levels: became text
	TooMany    int // attributes over 1,000 fields: became part of one text
	Keys       int // empty names, and those with dots at their ends: got an underscore
	NotFinite  int // numbers that JSON does not have: became null
}

// Encoder writes the records of a request. Group comes before Append.
type Encoder struct {
	Changes Changes

	f      Format
	create bool   // also without an id
	now    uint64 // unix ns of the request
	clock  clock
	name   naming

	resource otlp.Resource
	scope    otlp.Scope
	record   otlp.LogView

	head   []byte  // of OTel: resource and scope
	fields int     // keys of the document so far
	inHead int     // those of head
	group  []field // of the other shapes: what resource and scope give
	own    []field // what the record gives
	all    []field // both, in order
	nested []field // a stack of those of objects in lists
	excess []field // over the limit
	pairs  []pair  // a stack of the objects that are being written
	order  []int32
	garena []byte // texts of group
	arena  []byte // texts of own
	text   []byte // JSON that becomes a string
	action []byte // the line, and for which index
	index  []byte
}

// NewEncoder makes an encoder of documents of one format.
func NewEncoder(f Format) *Encoder { return &Encoder{f: f} }

// Begin begins a request. now is its time in unix ns, for records that have none. create makes
// every action create: data streams take no other.
func (e *Encoder) Begin(now int64, create bool) {
	e.now, e.create = uint64(now), create || e.f.DataStreams()
	e.Changes = Changes{}
	e.index = e.index[:0]
}

// Group says under which resource and scope the records that follow stand.
func (e *Encoder) Group(g *otlp.Group) {
	e.resource, e.scope = g.Resource(), g.Scope()
	e.nameGroup()
	switch e.f.Mapping {
	case OTel:
		e.fields = 0
		e.head = e.appendHead(e.head[:0])
		e.inHead = e.fields
	case ECS:
		e.groupECS()
	case None:
		e.groupNone()
	}
}

// Append appends the lines of a LogRecord message. own says that the document has an id of its own.
// The error is that of [otlp.LogView.Read]; nothing was appended then.
func (e *Encoder) Append(dst, message []byte) (_ []byte, own bool, err error) {
	if err := e.record.Read(message); err != nil {
		return dst, false, err
	}
	dst, own = e.appendAction(dst, message)
	e.fields = 0
	switch e.f.Mapping {
	case OTel:
		dst = e.appendOTel(dst)
	case ECS:
		dst = e.appendECS(dst)
	case None:
		dst = e.appendNone(dst)
	default:
		dst = e.appendBodyMap(dst)
	}
	return append(dst, '\n'), own, nil
}

// appendAction appends the first of the two lines.
func (e *Encoder) appendAction(dst, message []byte) (_ []byte, own bool) {
	same := e.nameRecord()
	own = e.f.IDs && e.hasIdentity()
	if !own && same {
		return append(dst, e.action...), false
	}
	verb := "index"
	if e.create || own {
		verb = "create"
	}
	start := len(dst)
	dst = append(dst, `{"`...)
	dst = append(dst, verb...)
	dst = append(dst, `":{"_index":`...)
	dst = otlp.AppendJSONString(dst, e.index)
	if own {
		dst = append(dst, `,"_id":"`...)
		dst = e.appendID(dst, message)
		dst = append(dst, '"')
	}
	dst = append(dst, "}}\n"...)
	if e.action = e.action[:0]; own {
		e.index = e.index[:0] // the next record makes its own line
	} else {
		e.action = append(e.action, dst[start:]...)
	}
	return dst, own
}

// hasIdentity says whether the record tells of one version of a Kubernetes object, or of an event.
func (e *Encoder) hasIdentity() bool {
	uid, version := false, false
	for k := range e.record.Attributes.All() {
		switch string(k) {
		case "k8s.event.uid":
			return true
		case "k8s.object.uid":
			uid = true
		case "k8s.object.resource_version":
			version = true
		}
	}
	return uid && version
}

// appendID appends the id of a document: 128 bits of a hash over its index and all that its record
// says but when it was observed, which is another time after a restart. Two records that differ in
// anything else, as the counts of an event that goes on, are two documents.
func (e *Encoder) appendID(dst, message []byte) []byte {
	e.text = append(append(e.text[:0], e.index...), 0)
	if e.record.Time == 0 {
		e.text = append(e.text, message...)
	} else {
		e.text = otlp.AppendUnobserved(e.text, message)
	}
	sum := sha256.Sum256(e.text)
	return base64.RawURLEncoding.AppendEncode(dst, sum[:16])
}

// unix is the time of the record in unix ns: its own, else when it was observed, else now. Times
// after the year 2262 are no times: Elasticsearch can't say them.
func (e *Encoder) unix() uint64 {
	for _, t := range [...]uint64{e.record.Time, e.record.Observed} {
		if t != 0 && t <= 1<<63-1 {
			return t
		}
	}
	return e.now
}
