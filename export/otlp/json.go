package otlp

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
)

// form is how a field of a message looks in OTLP's JSON (opentelemetry-proto docs/specification.md,
// "JSON Protobuf Encoding"): as protobuf's own JSON form has it, but with ids in hexadecimal and
// enumerations as numbers.
type form uint8

const (
	formMessage form = iota
	formString
	formHex     // bytes: ids
	formBase64  // bytes
	formBool    // varint
	formInt32   // varint: whole numbers of 32 bits and enumerations
	formUint32  // varint
	formSint32  // zigzag varint
	formInt64   // varint; in JSON a string
	formUint64  // varint; likewise
	formFixed32 // unsigned
	formFixed64 // unsigned; in JSON a string
	formSfixed64
	formDouble
)

// formWire are the wire types of forms.
var formWire = [...]int{
	formMessage: wireLen, formString: wireLen, formHex: wireLen, formBase64: wireLen,
	formBool: wireVarint, formInt32: wireVarint, formUint32: wireVarint, formSint32: wireVarint, formInt64: wireVarint, formUint64: wireVarint,
	formFixed32: wireFixed32, formFixed64: wireFixed64, formSfixed64: wireFixed64, formDouble: wireFixed64,
}

// times is how often a field may be in a message.
type times uint8

const (
	single times = iota // the last counts
	choice              // the last one of all fields of this kind counts: a oneof
	list
)

// jsonField is a field of a message; its number is its place in a jsonMessage.
type jsonField struct {
	name  string // lowerCamelCase; "" = there is no field of this number
	form  form
	times times
	of    *jsonMessage // of formMessage
}

// jsonMessage are the fields of a message by their numbers.
type jsonMessage []jsonField

// The messages of opentelemetry-proto v1.11 that requests consist of.
var (
	jsonAny      = jsonMessage{1: {"stringValue", formString, choice, nil}, {"boolValue", formBool, choice, nil}, {"intValue", formInt64, choice, nil}, {"doubleValue", formDouble, choice, nil}, {}, {}, {"bytesValue", formBase64, choice, nil}}
	jsonKeyValue = jsonMessage{1: {"key", formString, single, nil}, {"value", formMessage, single, &jsonAny}}
	jsonKVs      = jsonMessage{1: attributesOf("values")}
	jsonArray    = jsonMessage{1: {"values", formMessage, list, &jsonAny}}
	jsonEntity   = jsonMessage{1: {"schemaUrl", formString, single, nil}, {"type", formString, single, nil}, {"idKeys", formString, list, nil}, {"descriptionKeys", formString, list, nil}}
	jsonResource = jsonMessage{1: attributesOf("attributes"), {"droppedAttributesCount", formUint32, single, nil}, {"entityRefs", formMessage, list, &jsonEntity}}
	jsonScope    = jsonMessage{1: {"name", formString, single, nil}, {"version", formString, single, nil}, attributesOf("attributes"), {"droppedAttributesCount", formUint32, single, nil}}

	jsonLogRecord = jsonMessage{
		1: {"timeUnixNano", formFixed64, single, nil}, 11: {"observedTimeUnixNano", formFixed64, single, nil}, 2: {"severityNumber", formInt32, single, nil},
		3: {"severityText", formString, single, nil}, 5: {"body", formMessage, single, &jsonAny}, 6: attributesOf("attributes"),
		7: {"droppedAttributesCount", formUint32, single, nil}, 8: {"flags", formFixed32, single, nil}, 9: {"traceId", formHex, single, nil},
		10: {"spanId", formHex, single, nil}, 12: {"eventName", formString, single, nil},
	}

	jsonExemplar = jsonMessage{
		7: attributesOf("filteredAttributes"), 2: {"timeUnixNano", formFixed64, single, nil}, 3: {"asDouble", formDouble, choice, nil},
		6: {"asInt", formSfixed64, choice, nil}, 4: {"spanId", formHex, single, nil}, 5: {"traceId", formHex, single, nil},
	}
	jsonNumberPoint = jsonMessage{
		7: attributesOf("attributes"), 2: {"startTimeUnixNano", formFixed64, single, nil}, 3: {"timeUnixNano", formFixed64, single, nil},
		4: {"asDouble", formDouble, choice, nil}, 6: {"asInt", formSfixed64, choice, nil}, 5: {"exemplars", formMessage, list, &jsonExemplar}, 8: {"flags", formUint32, single, nil},
	}
	jsonHistogramPoint = jsonMessage{
		9: attributesOf("attributes"), 2: {"startTimeUnixNano", formFixed64, single, nil}, 3: {"timeUnixNano", formFixed64, single, nil},
		4: {"count", formFixed64, single, nil}, 5: {"sum", formDouble, single, nil}, 6: {"bucketCounts", formFixed64, list, nil}, 7: {"explicitBounds", formDouble, list, nil},
		8: {"exemplars", formMessage, list, &jsonExemplar}, 10: {"flags", formUint32, single, nil}, 11: {"min", formDouble, single, nil}, 12: {"max", formDouble, single, nil},
	}
	jsonBuckets     = jsonMessage{1: {"offset", formSint32, single, nil}, {"bucketCounts", formUint64, list, nil}}
	jsonExpHisPoint = jsonMessage{
		1: attributesOf("attributes"), 2: {"startTimeUnixNano", formFixed64, single, nil}, 3: {"timeUnixNano", formFixed64, single, nil},
		4: {"count", formFixed64, single, nil}, 5: {"sum", formDouble, single, nil}, 6: {"scale", formSint32, single, nil}, 7: {"zeroCount", formFixed64, single, nil},
		8: {"positive", formMessage, single, &jsonBuckets}, 9: {"negative", formMessage, single, &jsonBuckets}, 10: {"flags", formUint32, single, nil},
		11: {"exemplars", formMessage, list, &jsonExemplar}, 12: {"min", formDouble, single, nil}, 13: {"max", formDouble, single, nil}, 14: {"zeroThreshold", formDouble, single, nil},
	}
	jsonQuantile     = jsonMessage{1: {"quantile", formDouble, single, nil}, {"value", formDouble, single, nil}}
	jsonSummaryPoint = jsonMessage{
		7: attributesOf("attributes"), 2: {"startTimeUnixNano", formFixed64, single, nil}, 3: {"timeUnixNano", formFixed64, single, nil},
		4: {"count", formFixed64, single, nil}, 5: {"sum", formDouble, single, nil}, 6: {"quantileValues", formMessage, list, &jsonQuantile}, 8: {"flags", formUint32, single, nil},
	}
	jsonGauge     = jsonMessage{1: {"dataPoints", formMessage, list, &jsonNumberPoint}}
	jsonSum       = jsonMessage{1: {"dataPoints", formMessage, list, &jsonNumberPoint}, {"aggregationTemporality", formInt32, single, nil}, {"isMonotonic", formBool, single, nil}}
	jsonHistogram = jsonMessage{1: {"dataPoints", formMessage, list, &jsonHistogramPoint}, {"aggregationTemporality", formInt32, single, nil}}
	jsonExpHist   = jsonMessage{1: {"dataPoints", formMessage, list, &jsonExpHisPoint}, {"aggregationTemporality", formInt32, single, nil}}
	jsonSummary   = jsonMessage{1: {"dataPoints", formMessage, list, &jsonSummaryPoint}}
	jsonMetric    = jsonMessage{
		1: {"name", formString, single, nil}, {"description", formString, single, nil}, {"unit", formString, single, nil},
		dataGauge: {"gauge", formMessage, choice, &jsonGauge}, dataSum: {"sum", formMessage, choice, &jsonSum}, dataHistogram: {"histogram", formMessage, choice, &jsonHistogram},
		dataExpHist: {"exponentialHistogram", formMessage, choice, &jsonExpHist}, dataSummary: {"summary", formMessage, choice, &jsonSummary}, 12: attributesOf("metadata"),
	}

	jsonEvent = jsonMessage{
		1: {"timeUnixNano", formFixed64, single, nil}, {"name", formString, single, nil}, attributesOf("attributes"), {"droppedAttributesCount", formUint32, single, nil},
	}
	jsonLink = jsonMessage{
		1: {"traceId", formHex, single, nil}, {"spanId", formHex, single, nil}, {"traceState", formString, single, nil}, attributesOf("attributes"),
		{"droppedAttributesCount", formUint32, single, nil}, {"flags", formFixed32, single, nil},
	}
	jsonStatus = jsonMessage{2: {"message", formString, single, nil}, {"code", formInt32, single, nil}}
	jsonSpan   = jsonMessage{
		1: {"traceId", formHex, single, nil}, {"spanId", formHex, single, nil}, {"traceState", formString, single, nil}, {"parentSpanId", formHex, single, nil},
		{"name", formString, single, nil}, {"kind", formInt32, single, nil}, {"startTimeUnixNano", formFixed64, single, nil}, {"endTimeUnixNano", formFixed64, single, nil},
		attributesOf("attributes"), {"droppedAttributesCount", formUint32, single, nil}, {"events", formMessage, list, &jsonEvent}, {"droppedEventsCount", formUint32, single, nil},
		{"links", formMessage, list, &jsonLink}, {"droppedLinksCount", formUint32, single, nil}, {"status", formMessage, single, &jsonStatus}, {"flags", formFixed32, single, nil},
	}

	jsonRequests = [Signals]jsonMessage{
		Logs:    jsonRequest("resourceLogs", "scopeLogs", "logRecords", &jsonLogRecord),
		Metrics: jsonRequest("resourceMetrics", "scopeMetrics", "metrics", &jsonMetric),
		Traces:  jsonRequest("resourceSpans", "scopeSpans", "spans", &jsonSpan),
	}
)

func init() { // values hold values
	jsonAny[5] = jsonField{"arrayValue", formMessage, choice, &jsonArray}
	jsonAny[6] = jsonField{"kvlistValue", formMessage, choice, &jsonKVs}
}

func attributesOf(name string) jsonField { return jsonField{name, formMessage, list, &jsonKeyValue} }

// jsonRequest is a request of one signal.
func jsonRequest(resources, scopes, records string, record *jsonMessage) jsonMessage {
	schema := jsonField{"schemaUrl", formString, single, nil}
	scope := jsonMessage{1: {"scope", formMessage, single, &jsonScope}, {records, formMessage, list, record}, schema}
	resource := jsonMessage{1: {"resource", formMessage, single, &jsonResource}, {scopes, formMessage, list, &scope}, schema}
	return jsonMessage{1: {resources, formMessage, list, &resource}}
}

// maxJSONDepth bounds values within values; what is nested deeper is refused. Protobuf's own limit
// is 100 messages.
const maxJSONDepth = 100

// AppendJSON appends an Export*ServiceRequest in OTLP's JSON encoding, in one line. Fields that
// are not known are left out. The error wraps [ErrMalformed]; dst is then half written.
func AppendJSON(dst []byte, s Signal, request []byte) ([]byte, error) {
	dst, err := jsonRequests[s].append(dst, request, 0)
	if err != nil {
		return dst, fmt.Errorf("%s: %w in a request", s, err)
	}
	return dst, nil
}

// append appends a message as a JSON object: first what is there once, then its lists.
func (m jsonMessage) append(dst, message []byte, depth int) ([]byte, error) {
	if depth > maxJSONDepth {
		return dst, fmt.Errorf("%w: values are nested over %d deep", ErrMalformed, maxJSONDepth)
	}
	var last [maxFields]field
	var lists uint32
	chosen := 0
	for b := message; len(b) > 0; {
		f, rest, err := nextField(b)
		if err != nil {
			return dst, err
		}
		b = rest
		if !m.knows(f) {
			continue
		}
		switch m[f.number].times {
		case list:
			lists |= 1 << f.number
			continue
		case choice:
			last[chosen] = field{} // of number 0, which there is not
			chosen = f.number
		}
		last[f.number] = f
	}
	dst = append(dst, '{')
	for number := range m {
		d := &m[number]
		switch {
		case lists>>number&1 != 0:
			dst = d.appendName(dst)
			dst = append(dst, '[')
			for b := message; len(b) > 0; {
				f, rest, err := nextField(b)
				if err != nil {
					return dst, err
				}
				if b = rest; f.number == number && m.knows(f) {
					if dst, err = d.appendList(dst, f, depth); err != nil {
						return dst, err
					}
				}
			}
			dst = append(dst, ']')
		case last[number].number != 0:
			var err error
			if dst, err = d.append(d.appendName(dst), last[number], depth); err != nil {
				return dst, err
			}
		}
	}
	return append(dst, '}'), nil
}

// maxFields is over the number of every field in the tables above.
const maxFields = 17

// knows says whether a field is one of the message, and of its wire type or packed.
func (m jsonMessage) knows(f field) bool {
	if f.number >= len(m) || m[f.number].name == "" {
		return false
	}
	d := &m[f.number]
	return f.wire == formWire[d.form] || f.wire == wireLen && d.times == list
}

// appendName appends the key, after a comma where there is another before it.
func (d *jsonField) appendName(dst []byte) []byte {
	return append(append(append(comma(dst), '"'), d.name...), '"', ':')
}

// comma appends one behind a value.
func comma(dst []byte) []byte {
	if c := dst[len(dst)-1]; c != '{' && c != '[' {
		dst = append(dst, ',')
	}
	return dst
}

// appendList appends an element of a list, or several that are packed into one field.
func (d *jsonField) appendList(dst []byte, f field, depth int) ([]byte, error) {
	wire := formWire[d.form]
	if f.wire == wire {
		return d.append(comma(dst), f, depth)
	}
	for b := f.val; len(b) > 0; {
		e, n := field{wire: wire}, 8
		switch {
		case wire == wireVarint:
			e.num, n = binary.Uvarint(b)
		case len(b) >= n:
			e.num = binary.LittleEndian.Uint64(b)
		default:
			n = 0
		}
		if n <= 0 {
			return dst, ErrMalformed
		}
		b = b[n:]
		var err error
		if dst, err = d.append(comma(dst), e, depth); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

// append appends a value.
func (d *jsonField) append(dst []byte, f field, depth int) ([]byte, error) {
	switch d.form {
	case formMessage:
		return d.of.append(dst, f.val, depth+1)
	case formString:
		return AppendJSONString(dst, f.val), nil
	case formHex:
		return append(hex.AppendEncode(append(dst, '"'), f.val), '"'), nil
	case formBase64:
		return append(base64.StdEncoding.AppendEncode(append(dst, '"'), f.val), '"'), nil
	case formBool:
		return strconv.AppendBool(dst, f.num != 0), nil
	case formInt32:
		return strconv.AppendInt(dst, int64(int32(f.num)), 10), nil
	case formUint32, formFixed32:
		return strconv.AppendUint(dst, uint64(uint32(f.num)), 10), nil
	case formSint32:
		return strconv.AppendInt(dst, int64(int32(uint32(f.num)>>1)^-int32(f.num&1)), 10), nil
	case formInt64, formSfixed64:
		return append(strconv.AppendInt(append(dst, '"'), int64(f.num), 10), '"'), nil
	case formUint64, formFixed64:
		return append(strconv.AppendUint(append(dst, '"'), f.num, 10), '"'), nil
	}
	return AppendJSONDouble(dst, math.Float64frombits(f.num)), nil
}
