package elastic

import (
	"encoding/hex"
	"strconv"

	"stint/export/otlp"
)

// appendOTel appends the document of the record as OpenTelemetry has it.
func (e *Encoder) appendOTel(dst []byte) []byte {
	r := &e.record
	dst = append(dst, `{"@timestamp":`...)
	dst = e.clock.append(dst, e.unix())
	if r.Observed != 0 && r.Observed <= 1<<63-1 {
		dst = append(dst, `,"observed_timestamp":`...)
		dst = e.clock.append(dst, r.Observed)
	}
	if e.f.DataStreams() {
		dst = append(dst, `,"data_stream":{"type":"logs","dataset":`...)
		dst = otlp.AppendJSONString(dst, e.name.dataset)
		dst = append(dst, `,"namespace":`...)
		dst = otlp.AppendJSONString(dst, e.name.namespace)
		dst = append(dst, '}')
	}
	if isID(r.TraceID) {
		dst = appendHex(append(dst, `,"trace_id":`...), r.TraceID)
	}
	if isID(r.SpanID) {
		dst = appendHex(append(dst, `,"span_id":`...), r.SpanID)
	}
	if len(r.SeverityText) > 0 {
		dst = otlp.AppendJSONString(append(dst, `,"severity_text":`...), r.SeverityText)
	}
	if r.Severity != 0 {
		dst = strconv.AppendInt(append(dst, `,"severity_number":`...), int64(r.Severity), 10)
	}
	if len(r.EventName) > 0 {
		dst = otlp.AppendJSONString(append(dst, `,"event_name":`...), r.EventName)
	}
	dst = appendDropped(dst, r.Dropped)
	e.fields = e.inHead
	dst = e.appendAttributes(dst, r.Attributes, 2)
	dst = append(dst, e.head...)
	dst = e.appendBody(dst)
	return append(dst, '}')
}

func appendDropped(dst []byte, n uint32) []byte {
	if n == 0 {
		return dst
	}
	return strconv.AppendUint(append(dst, `,"dropped_attributes_count":`...), uint64(n), 10)
}

// appendAttributes appends the member attributes, whose keys stand on that level, if there are any.
func (e *Encoder) appendAttributes(dst []byte, attrs otlp.Attrs, level int) []byte {
	low := len(e.pairs)
	for k, v := range attrs.All() {
		switch string(k) {
		case attrType, attrDataset, attrNamespace, "elasticsearch.mapping.hints": // they tell where to and how
		default:
			e.push(k, v)
		}
	}
	if len(e.pairs) == low {
		return dst
	}
	return e.appendPairs(append(dst, `,"attributes":`...), low, level, indexed)
}

// appendBody appends the member body. Elasticsearch takes an object there, or a list of objects.
func (e *Encoder) appendBody(dst []byte) []byte {
	body := e.record.Body
	switch body.Kind() {
	case otlp.KindEmpty:
		return dst
	case otlp.KindMap, otlp.KindArray:
		dst = append(dst, `,"body":{"structured":`...) // of type flattened
		if isObjects(body) {
			dst = e.appendValue(dst, body, 2, flattened)
			break
		}
		dst = append(dst, `{"value":`...)
		dst = e.appendValue(dst, body, 3, flattened)
		dst = append(dst, '}')
	default:
		dst = e.appendText(append(dst, `,"body":{"text":`...), body)
	}
	return append(dst, '}')
}

// isObjects says whether a map or list is an object or a list of objects.
func isObjects(v otlp.Any) bool {
	if v.Kind() == otlp.KindMap {
		return true
	}
	for m := range v.Elements() {
		if m.Kind() != otlp.KindMap {
			return false
		}
	}
	return true
}

// appendHead appends the members resource and scope of the group's documents.
func (e *Encoder) appendHead(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, `,"resource":{`...)
	open := len(dst)
	dst = e.appendAttributes(dst, e.resource.Attributes, 3)
	dst = appendDropped(dst, e.resource.Dropped)
	if len(e.resource.SchemaURL) > 0 {
		dst = otlp.AppendJSONString(append(dst, `,"schema_url":`...), e.resource.SchemaURL)
	}
	if dst = closeObject(dst, open); len(dst) == open+1 {
		dst = dst[:start]
	}

	start = len(dst)
	dst = append(dst, `,"scope":{`...)
	open = len(dst)
	if len(e.scope.Name) > 0 {
		dst = otlp.AppendJSONString(append(dst, `,"name":`...), e.scope.Name)
	}
	if len(e.scope.Version) > 0 {
		dst = otlp.AppendJSONString(append(dst, `,"version":`...), e.scope.Version)
	}
	dst = e.appendAttributes(dst, e.scope.Attributes, 3)
	dst = appendDropped(dst, e.scope.Dropped)
	if len(e.scope.SchemaURL) > 0 {
		dst = otlp.AppendJSONString(append(dst, `,"schema_url":`...), e.scope.SchemaURL)
	}
	if dst = closeObject(dst, open); len(dst) == open+1 {
		dst = dst[:start]
	}
	return dst
}

// closeObject ends an object whose members, from open on, begin with a comma each: the first goes.
func closeObject(dst []byte, open int) []byte {
	if len(dst) > open {
		dst = append(dst[:open], dst[open+1:]...)
	}
	return append(dst, '}')
}

// isID says whether a trace or span has this id: one of zeros is none.
func isID(id []byte) bool {
	for _, c := range id {
		if c != 0 {
			return true
		}
	}
	return false
}

func appendHex(dst, id []byte) []byte {
	dst = append(dst, '"')
	dst = hex.AppendEncode(dst, id)
	return append(dst, '"')
}
