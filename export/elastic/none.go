package elastic

import "stint/export/otlp"

// Paths of documents with the record's own names.
var (
	noneTrace      = []byte("TraceId")
	noneSpan       = []byte("SpanId")
	noneFlags      = []byte("TraceFlags")
	noneText       = []byte("SeverityText")
	noneNumber     = []byte("SeverityNumber")
	noneEvent      = []byte("EventName")
	noneBody       = []byte("Body")
	noneAttributes = []byte("Attributes")
	noneResource   = []byte("Resource")
	noneScope      = []byte("Scope")
)

// groupNone gathers what resource and scope give to documents with the record's own names.
func (e *Encoder) groupNone() {
	e.garena, e.group = e.garena[:0], e.group[:0]
	for k, v := range e.resource.Attributes.All() {
		e.group = e.gather(e.group, &e.garena, noneResource, k, v, 1)
	}
	for k, v := range e.scope.Attributes.All() {
		e.group = e.gather(e.group, &e.garena, noneScope, k, v, 1)
	}
	if len(e.scope.Name) > 0 {
		e.group = e.put(e.group, &e.garena, "Scope.name", e.scope.Name)
	}
	if len(e.scope.Version) > 0 {
		e.group = e.put(e.group, &e.garena, "Scope.version", e.scope.Version)
	}
	e.sortGroup()
}

// appendNone appends the document of the record with its own names.
func (e *Encoder) appendNone(dst []byte) []byte {
	r := &e.record
	e.arena, e.own = e.arena[:0], e.own[:0]
	for k, v := range r.Attributes.All() {
		e.own = e.gather(e.own, &e.arena, noneAttributes, k, v, 1)
	}
	start := len(e.arena)
	e.arena = e.clock.append(e.arena, e.unix())
	e.ours(pathTime, start) // data streams need it under this name
	e.oursID(noneTrace, r.TraceID)
	e.oursID(noneSpan, r.SpanID)
	e.oursInt(noneFlags, int64(r.Flags))
	e.oursString(noneText, r.SeverityText)
	e.oursInt(noneNumber, int64(r.Severity))
	e.oursString(noneEvent, r.EventName)
	switch r.Body.Kind() {
	case otlp.KindEmpty:
	case otlp.KindMap:
		e.own = e.gather(e.own, &e.arena, nil, noneBody, r.Body, 0)
	default:
		e.own = append(e.own, field{path: noneBody, value: r.Body, ours: true})
	}
	return e.appendDocument(dst)
}

// appendBodyMap appends the body as the document. One that is no map has only its time besides.
func (e *Encoder) appendBodyMap(dst []byte) []byte {
	e.arena, e.own, e.group = e.arena[:0], e.own[:0], e.group[:0]
	body := e.record.Body
	if body.Kind() == otlp.KindMap {
		for k, v := range body.Pairs().All() {
			e.own = e.gather(e.own, &e.arena, nil, k, v, 0)
		}
		return e.appendDocument(dst)
	}
	start := len(e.arena)
	e.arena = e.clock.append(e.arena, e.unix())
	e.ours(pathTime, start)
	if body.Kind() != otlp.KindEmpty {
		start = len(e.arena)
		e.arena = e.appendText(e.arena, body)
		e.ours(ecsMessage, start)
	}
	return e.appendDocument(dst)
}
