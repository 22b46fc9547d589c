package tail

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"unsafe"

	"stint/export/otlp"
)

// bodyMode says what a record's text is taken for.
type bodyMode uint8

const (
	bodyOff  bodyMode = iota
	bodyAuto          // JSON if it begins with '{', klog if it looks like it; of logfmt the level
	bodyJSON
	bodyKlog
)

// parseBodyMode returns the mode of a name.
func parseBodyMode(name string) (bodyMode, error) {
	switch name {
	case "off":
		return bodyOff, nil
	case "auto":
		return bodyAuto, nil
	case "json":
		return bodyJSON, nil
	case "klog":
		return bodyKlog, nil
	}
	return bodyOff, fmt.Errorf("%q is none of off, auto, json, klog", name)
}

const (
	bodyDepth = 16  // of objects and arrays, the outermost being 1
	bodyKeys  = 128 // of one object: finding keys that occur twice compares each with each
)

// maxScratch is what a parser may keep for the next record.
const maxScratch = 256 << 10

// bodyRoom is what the encoded fields of a text may take. Common JSON stays below its own
// length; an array of negative numbers would take four times as much.
func bodyRoom(text int) int { return 2*text + 1024 }

// bodyParser makes severity, trace context and attributes of a record's text. It reuses its
// memory: what it puts into a record is good until its next parse.
//
// A field of a JSON object becomes an attribute, or with structured a field of the body.
//
//   - message, msg, log, body, short_message, event, @message or @m, in this order, becomes the
//     body if it is a string. Without one the body remains the text: nothing else says what
//     happened.
//   - level, severity and their likes become the severity if the word or number is known (see
//     severityOf), the text of it as it stands.
//   - trace_id, span_id, trace_flags and their likes, else W3C's traceparent, become the trace
//     context if they are valid. A span without a trace says nothing and stays an attribute.
//   - null is an attribute without a value. The specification says of AnyValue that empty values
//     are meaningful and passed on.
//   - A number is an int if it is written as one and fits 64 bits, else a double.
//   - Of equal keys the last counts, as in most decoders, at any depth.
//   - The attributes that the record has before (log.iostream) stay, the text's do not get in
//     their way.
//   - Times are attributes like others: the time of the record is that of its line.
//
// Names are compared without regard to case, outermost only.
type bodyParser struct {
	in     []byte
	i      int
	out    []byte  // encoded fields
	text   []byte  // strings that had escapes
	fields []field // of the objects that are open, outermost first
	bad    bool    // the text is no JSON, or is more than the bounds allow

	trace [16]byte
	span  [8]byte
}

// field is one of an object.
type field struct {
	key        []byte
	start, end int    // in bodyParser.out
	val        []byte // the string or number
	kind       kind
	role       role // of an outermost field
	rank       uint8
	dead       bool // not sent: another took its place, or it went into the record
}

// kind is the type of a value, as far as a role asks for it.
type kind uint8

const (
	otherKind kind = iota
	stringKind
	numberKind
)

// role is what a field may be to the record.
type role uint8

const (
	noRole role = iota
	messageRole
	levelRole
	traceRole
	spanRole
	flagsRole
	parentRole
	roles
)

// Tags of opentelemetry/proto/common/v1/common.proto.
const (
	anyString   = 1<<3 | 2
	anyBool     = 2 << 3
	anyInt      = 3 << 3
	anyDouble   = 4<<3 | 1
	keyValueKey = 1<<3 | 2

	// Field numbers, for otlp.OpenLen.
	anyArray    = 5
	anyMap      = 6
	listValue   = 1 // of ArrayValue and KeyValueList
	keyValueAny = 2
)

// parse fills in rec what its body says. A body that does not parse stays as it was. With
// structured the whole of an object becomes the body. What it sets is a part of rec.Body or of
// p: it must be encoded before either changes.
func (p *bodyParser) parse(rec *otlp.LogRecord, mode bodyMode, structured bool) (parsed bool) {
	if len(rec.Body) == 0 {
		return false
	}
	switch mode {
	case bodyJSON:
		return p.json(rec, structured)
	case bodyKlog:
		return p.klog(rec)
	case bodyAuto:
		switch c := rec.Body[0]; {
		case c == '{':
			return p.json(rec, structured)
		case c == 'I' || c == 'W' || c == 'E' || c == 'F':
			if p.klog(rec) {
				return true
			}
		}
		return logfmtLevel(rec)
	}
	return false
}

// json parses an object.
func (p *bodyParser) json(rec *otlp.LogRecord, structured bool) bool {
	if cap(p.out) > maxScratch { // one huge record is no reason to keep as much for ever
		p.out, p.text = nil, nil
	}
	p.in, p.i, p.bad = rec.Body, 0, false
	p.text, p.fields = p.text[:0], p.fields[:0]
	p.out = p.out[:0]
	if !structured {
		p.out = append(p.out, rec.Attrs...)
	}
	before := len(p.out)
	if p.space(); p.i >= len(p.in) || p.in[p.i] != '{' {
		return false
	}
	if structured {
		var start int
		p.out, start = otlp.OpenLen(p.out, anyMap)
		p.object(1, listValue)
		p.compact(0)
		p.out = otlp.CloseLen(p.out, start)
	} else {
		p.object(1, otlp.AttrsOfLogRecord)
	}
	if p.space(); p.bad || p.i != len(p.in) || len(p.out)-before > bodyRoom(len(p.in)) {
		return false
	}
	p.apply(rec)
	if structured {
		rec.BodyValue = p.out
		return true
	}
	p.giveWay(rec.Attrs)
	p.compact(0)
	rec.Attrs = p.out
	return true
}

// object parses one whose '{' stands at p.i and appends its fields under the given number. The
// outermost leaves p.fields as it is and its dead fields in p.out.
func (p *bodyParser) object(depth, number int) {
	p.i++
	first := len(p.fields)
	if p.space(); p.peek() == '}' {
		p.i++
		return
	}
	for {
		p.space()
		f := field{start: len(p.out), key: p.string()}
		if p.space(); p.bad || p.peek() != ':' || len(p.fields)-first == bodyKeys {
			p.bad = true
			return
		}
		p.i++
		inner := p.openKey(number, f.key)
		if depth == 1 {
			f.role, f.rank = roleOf(f.key)
		}
		f.val, f.kind = p.value(depth, keyValueAny)
		if p.bad {
			return
		}
		p.out = otlp.CloseLen(p.out, inner)
		f.end = len(p.out)
		for i := first; i < len(p.fields); i++ {
			if g := &p.fields[i]; len(g.key) == len(f.key) && !g.dead && bytes.Equal(g.key, f.key) {
				g.dead = true
				break
			}
		}
		p.fields = append(p.fields, f)
		p.space()
		switch p.peek() {
		case ',':
			p.i++
		case '}':
			p.i++
			if depth > 1 {
				p.compact(first)
				p.fields = p.fields[:first]
			}
			return
		default:
			p.bad = true
			return
		}
	}
}

// openKey begins a KeyValue under the given number and appends its key.
func (p *bodyParser) openKey(number int, key []byte) (start int) {
	p.out, start = otlp.OpenLen(p.out, number)
	p.out = append(p.out, keyValueKey)
	p.out = binary.AppendUvarint(p.out, uint64(len(key)))
	p.out = append(p.out, key...)
	return start
}

// compact closes the gaps that the dead ones of p.fields[first:] leave in p.out.
func (p *bodyParser) compact(first int) {
	to := -1
	for _, f := range p.fields[first:] {
		switch {
		case f.dead && to < 0:
			to = f.start
		case !f.dead && to >= 0:
			to += copy(p.out[to:], p.out[f.start:f.end])
		}
	}
	if to >= 0 {
		p.out = p.out[:to]
	}
}

// value parses a value and appends it as an AnyValue under the given number. It returns the
// text of a string or a number.
func (p *bodyParser) value(depth, number int) (val []byte, k kind) {
	p.space()
	var start int
	p.out, start = otlp.OpenLen(p.out, number)
	switch c := p.peek(); c {
	case '"':
		k, val = stringKind, p.string()
		p.out = append(p.out, anyString)
		p.out = binary.AppendUvarint(p.out, uint64(len(val)))
		p.out = append(p.out, val...)
	case '{', '[':
		if depth == bodyDepth {
			p.bad = true
			return nil, k
		}
		var inner int
		if c == '{' {
			p.out, inner = otlp.OpenLen(p.out, anyMap)
			p.object(depth+1, listValue)
		} else {
			p.out, inner = otlp.OpenLen(p.out, anyArray)
			p.array(depth + 1)
		}
		p.out = otlp.CloseLen(p.out, inner)
	case 't':
		p.word("true")
		p.out = append(p.out, anyBool, 1)
	case 'f':
		p.word("false")
		p.out = append(p.out, anyBool, 0)
	case 'n':
		p.word("null")
	default:
		k, val = numberKind, p.number()
	}
	if !p.bad {
		p.out = otlp.CloseLen(p.out, start)
	}
	return val, k
}

// array parses one whose '[' stands at p.i.
func (p *bodyParser) array(depth int) {
	p.i++
	if p.space(); p.peek() == ']' {
		p.i++
		return
	}
	for {
		if p.value(depth, listValue); p.bad {
			return
		}
		p.space()
		switch p.peek() {
		case ',':
			p.i++
		case ']':
			p.i++
			return
		default:
			p.bad = true
			return
		}
	}
}

// peek is the byte at p.i, 0 at the end: JSON has no such byte outside of strings.
func (p *bodyParser) peek() byte {
	if p.i < len(p.in) {
		return p.in[p.i]
	}
	return 0
}

func (p *bodyParser) space() {
	for p.i < len(p.in) {
		if c := p.in[p.i]; c != ' ' && c != '\t' && c != '\n' && c != '\r' {
			return
		}
		p.i++
	}
}

func (p *bodyParser) word(w string) {
	if !hasPrefix(p.in[p.i:], w) {
		p.bad = true
		return
	}
	p.i += len(w)
}

// string parses one and returns its text: a part of p.in or of p.text.
func (p *bodyParser) string() []byte {
	if p.peek() != '"' {
		p.bad = true
		return nil
	}
	p.i++
	start, escaped := p.i, false
	for {
		p.i += plainLen(p.in[p.i:])
		switch p.peek() {
		case '"':
			raw := p.in[start:p.i]
			p.i++
			if !escaped {
				return raw
			}
			n := len(p.text)
			p.text = appendUnescaped(p.text, raw)
			return p.text[n:]
		case '\\':
			escaped = true
			rest := p.in[p.i+1:]
			if len(rest) == 0 {
				p.bad = true
				return nil
			}
			switch rest[0] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
				p.i += 2
				continue
			case 'u':
				if _, ok := hex4(rest[1:]); ok {
					p.i += 6
					continue
				}
			}
		}
		p.bad = true // a control character, another escape, or the end
		return nil
	}
}

// plainLen is the number of bytes before the first quote, backslash or control character. It
// looks at eight bytes at a time ("Bit Twiddling Hacks", determine if a word has a byte less
// than n): the lowest byte it marks is right, the ones above may not be.
func plainLen(b []byte) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	n := 0
	for ; len(b)-n >= 8; n += 8 {
		x := binary.LittleEndian.Uint64(b[n:])
		quote, slash := x^ones*'"', x^ones*'\\'
		mark := ((x-ones*0x20)&^x | (quote-ones)&^quote | (slash-ones)&^slash) & highs
		if mark != 0 {
			return n + bits.TrailingZeros64(mark)/8
		}
	}
	for n < len(b) && b[n] >= 0x20 && b[n] != '"' && b[n] != '\\' {
		n++
	}
	return n
}

// number parses one, appends it to p.out and returns its text.
func (p *bodyParser) number() []byte {
	start, whole := p.i, true
	if p.peek() == '-' {
		p.i++
	}
	switch c := p.peek(); {
	case c == '0':
		p.i++
	case c-'0' <= 9:
		p.digits()
	default:
		p.bad = true
	}
	if p.peek() == '.' {
		whole = false
		p.i++
		p.digits()
	}
	if c := p.peek(); c == 'e' || c == 'E' {
		whole = false
		p.i++
		if c := p.peek(); c == '+' || c == '-' {
			p.i++
		}
		p.digits()
	}
	text := p.in[start:p.i]
	if p.bad {
		return nil
	}
	if v, ok := whole64(text); whole && ok {
		p.out = append(p.out, anyInt)
		p.out = binary.AppendUvarint(p.out, uint64(v))
		return text
	}
	v, err := strconv.ParseFloat(view(text), 64)
	if err != nil { // 1e999
		p.bad = true
		return nil
	}
	p.out = append(p.out, anyDouble)
	p.out = binary.LittleEndian.AppendUint64(p.out, math.Float64bits(v))
	return text
}

// whole64 reads an integer that fits 64 bits. An error of strconv's would allocate.
func whole64(text []byte) (int64, bool) {
	digits, limit := text, uint64(math.MaxInt64)
	if text[0] == '-' {
		digits, limit = text[1:], limit+1
	}
	if len(digits) > len("9223372036854775807") {
		return 0, false
	}
	v := uint64(0)
	for _, c := range digits {
		v = 10*v + uint64(c-'0')
	}
	if len(digits) < len(text) {
		return -int64(v), v <= limit
	}
	return int64(v), v <= limit
}

// digits passes over one or more.
func (p *bodyParser) digits() {
	start := p.i
	for p.i < len(p.in) && p.in[p.i]-'0' <= 9 {
		p.i++
	}
	if p.i == start {
		p.bad = true
	}
}

// view is b as a string, without a copy: b must not change while the string is used.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// roleOf returns what an outermost field of this name may be; of several the lowest rank counts,
// of equal ranks the first.
func roleOf(key []byte) (r role, rank uint8) {
	var lower [16]byte
	if len(key) > len(lower) {
		return noRole, 0
	}
	for i, c := range key {
		if c-'A' <= 'Z'-'A' {
			c |= 0x20
		}
		lower[i] = c
	}
	switch string(lower[:len(key)]) {
	case "message":
		return messageRole, 0
	case "msg":
		return messageRole, 1
	case "log":
		return messageRole, 2
	case "body":
		return messageRole, 3
	case "short_message": // GELF
		return messageRole, 4
	case "event": // structlog
		return messageRole, 5
	case "@message", "@m": // hclog; Serilog
		return messageRole, 6
	case "level", "severity", "lvl", "log.level", "loglevel", "log_level", "levelname", "severitytext", "severity_text", "error_severity", "@level", "@l":
		return levelRole, 0
	case "trace_id", "traceid", "trace.id", "@tr":
		return traceRole, 0
	case "span_id", "spanid", "span.id", "@sp":
		return spanRole, 0
	case "trace_flags", "traceflags", "trace.flags":
		return flagsRole, 0
	case "traceparent":
		return parentRole, 0
	}
	return noRole, 0
}

// apply gives the fields with a role to rec; they are not sent as attributes.
func (p *bodyParser) apply(rec *otlp.LogRecord) {
	var best [roles]*field
	var severity int
	var flags, parentFlags uint32
	var parentTrace [16]byte
	var parentSpan [8]byte
	for i := range p.fields {
		f := &p.fields[i]
		if f.role == noRole || f.dead || f.kind == otherKind || best[f.role] != nil && best[f.role].rank <= f.rank {
			continue
		}
		ok := f.kind == stringKind
		switch f.role {
		case levelRole:
			severity = severityOf(f.val, ok)
			ok = severity != 0
		case traceRole:
			ok = ok && readID(p.trace[:], f.val)
		case spanRole:
			ok = ok && readID(p.span[:], f.val)
		case flagsRole:
			flags, ok = readFlags(f.val, ok)
		case parentRole:
			parentFlags, ok = readParent(f.val, parentTrace[:], parentSpan[:])
		}
		if ok {
			best[f.role] = f
		}
	}
	if f := best[messageRole]; f != nil {
		f.dead, rec.Body = true, f.val
	}
	if f := best[levelRole]; f != nil {
		f.dead, rec.Severity, rec.SeverityText = true, severity, view(f.val)
	}
	if f := best[traceRole]; f != nil {
		f.dead, rec.TraceID = true, p.trace[:]
		if f := best[spanRole]; f != nil {
			f.dead, rec.SpanID = true, p.span[:]
		}
		if f := best[flagsRole]; f != nil {
			f.dead, rec.Flags = true, flags
		}
	} else if f := best[parentRole]; f != nil {
		p.trace, p.span = parentTrace, parentSpan
		f.dead, rec.TraceID, rec.SpanID, rec.Flags = true, p.trace[:], p.span[:], parentFlags
	}
}

// giveWay drops the fields whose keys are among attrs, which are encoded by otlp.AppendAttrs.
func (p *bodyParser) giveWay(attrs []byte) {
	for len(attrs) > 0 {
		n, l := binary.Uvarint(attrs[1:])
		kv := attrs[1+l:][:n]
		attrs = attrs[1+l:][n:]
		n, l = binary.Uvarint(kv[1:])
		key := kv[1+l:][:n]
		for i := range p.fields {
			if f := &p.fields[i]; len(f.key) == len(key) && bytes.Equal(f.key, key) {
				f.dead = true
			}
		}
	}
}
