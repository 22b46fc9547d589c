package otlp

import (
	"encoding/binary"
	"slices"
)

// AttrsOfLogRecord is the field number for [AppendAttrs] in a LogRecord.
const AttrsOfLogRecord = 6

// attrsOfSpan is the same in a Span.
const attrsOfSpan = 9

// LogRecord is one log record (logs.v1.LogRecord). Zero fields are left out.
type LogRecord struct {
	Time         uint64 // ns since 1970 as the writer said; 0 = unknown
	Observed     uint64 // ns since 1970 when it was read
	Severity     int    // SeverityNumber, 1 to 24; 0 = unknown
	SeverityText string
	Body         []byte // the body, sent as a string: must be valid UTF-8 (see AppendValidUTF8)
	BodyValue    []byte // an encoded AnyValue that takes Body's place; none when empty
	Attrs        []byte // encoded by AppendAttrs(…, AttrsOfLogRecord, …); any number of pieces
	TraceID      []byte // 16 bytes or none
	SpanID       []byte // 8 bytes or none
	Flags        uint32
	EventName    string
}

// Len is the number of bytes that [AppendLogRecord] appends.
func (r *LogRecord) Len() int {
	n := 9 + lenFieldLen(r.bodyLen()) + len(r.Attrs)
	if r.Time != 0 {
		n += 9
	}
	return lenFieldLen(n + r.moreLen())
}

// bodyLen is the length of the body's AnyValue.
func (r *LogRecord) bodyLen() int {
	if len(r.BodyValue) != 0 {
		return len(r.BodyValue)
	}
	return lenFieldLen(len(r.Body)) // string_value
}

// moreLen is the length of the fields that most records don't have.
func (r *LogRecord) moreLen() (n int) {
	if r.Severity != 0 {
		n += 1 + varintLen(uint64(r.Severity))
	}
	if r.SeverityText != "" {
		n += lenFieldLen(len(r.SeverityText))
	}
	if len(r.TraceID) != 0 {
		n += lenFieldLen(len(r.TraceID))
	}
	if len(r.SpanID) != 0 {
		n += lenFieldLen(len(r.SpanID))
	}
	if r.Flags != 0 {
		n += 5
	}
	if r.EventName != "" {
		n += lenFieldLen(len(r.EventName))
	}
	return n
}

// AppendLogRecord appends r as one log_records field of ScopeLogs. It keeps nothing of r and
// allocates only when dst has to grow.
func AppendLogRecord(dst []byte, r *LogRecord) []byte {
	body := r.bodyLen()
	n := 9 + lenFieldLen(body) + len(r.Attrs)
	if r.Time != 0 {
		n += 9
	}
	if r.Severity != 0 || r.SeverityText != "" || len(r.TraceID) != 0 || len(r.SpanID) != 0 || r.Flags != 0 || r.EventName != "" {
		n += r.moreLen()
	}
	dst = slices.Grow(dst, lenFieldLen(n))
	dst = append(dst, 2<<3|wireLen)
	dst = binary.AppendUvarint(dst, uint64(n))
	if r.Time != 0 {
		dst = append(dst, 1<<3|wireFixed64)
		dst = binary.LittleEndian.AppendUint64(dst, r.Time)
	}
	if r.Severity != 0 {
		dst = append(dst, 2<<3|wireVarint)
		dst = binary.AppendUvarint(dst, uint64(r.Severity))
	}
	if r.SeverityText != "" {
		dst = append(dst, 3<<3|wireLen)
		dst = binary.AppendUvarint(dst, uint64(len(r.SeverityText)))
		dst = append(dst, r.SeverityText...)
	}
	dst = append(dst, 5<<3|wireLen)
	dst = binary.AppendUvarint(dst, uint64(body))
	if len(r.BodyValue) != 0 {
		dst = append(dst, r.BodyValue...)
	} else {
		dst = append(dst, 1<<3|wireLen)
		dst = binary.AppendUvarint(dst, uint64(len(r.Body)))
		dst = append(dst, r.Body...)
	}
	dst = append(dst, r.Attrs...)
	if r.Flags != 0 {
		dst = append(dst, 8<<3|wireFixed32)
		dst = binary.LittleEndian.AppendUint32(dst, r.Flags)
	}
	if len(r.TraceID) != 0 {
		dst = appendBytes(dst, 9, r.TraceID)
	}
	if len(r.SpanID) != 0 {
		dst = appendBytes(dst, 10, r.SpanID)
	}
	dst = append(dst, 11<<3|wireFixed64)
	dst = binary.LittleEndian.AppendUint64(dst, r.Observed)
	if r.EventName != "" {
		dst = appendString(dst, 12, r.EventName)
	}
	return dst
}

// LogRecordLen is an upper bound of what [AppendLogRecord] appends for a record with these
// lengths and no severity text, ids, event name or structured body (see [LogRecord.Len]).
func LogRecordLen(body, attrs int) int {
	return lenFieldLen(2*9 + 3 + 5 + lenFieldLen(lenFieldLen(body)) + attrs)
}

// OpenLen begins a length-delimited field of a message that is encoded piece by piece: what is
// appended next is its content, until [CloseLen] with start.
func OpenLen(dst []byte, field int) (_ []byte, start int) {
	dst = append(appendTag(dst, field, wireLen), 0)
	return dst, len(dst)
}

// CloseLen ends the field that [OpenLen] began. The content is moved when its length takes
// more than one byte.
func CloseLen(dst []byte, start int) []byte { return closeLen(dst, start) }
