package otlp

import (
	"fmt"
	"iter"
	"math"
)

// Any is an AnyValue as it stands on the wire. What is in it is looked up when it is asked for;
// an Any whose framing is broken is empty.
type Any []byte

// last is the field that counts: of a oneof, protobuf takes the last one.
func (a Any) last() (last field) {
	for b := []byte(a); len(b) > 0; {
		f, rest, err := nextField(b)
		if err != nil {
			return field{}
		}
		if f.number >= 1 && f.number <= 7 && f.wire == anyWire[f.number] {
			last = f
		}
		b = rest
	}
	return last
}

// Wire types and kinds by AnyValue's field numbers.
var (
	anyWire = [...]int{1: wireLen, 2: wireVarint, 3: wireVarint, 4: wireFixed64, 5: wireLen, 6: wireLen, 7: wireLen}
	anyKind = [...]Kind{KindEmpty, KindString, KindBool, KindInt, KindDouble, KindArray, KindMap, KindBytes}
)

// Kind is the kind of value.
func (a Any) Kind() Kind { return anyKind[a.last().number] }

// Bytes are those of a string or of bytes.
func (a Any) Bytes() []byte { return a.last().val }

// Int is a whole number; 1 or 0 of a boolean.
func (a Any) Int() int64 { return int64(a.last().num) }

// Double is a number with a fraction.
func (a Any) Double() float64 { return math.Float64frombits(a.last().num) }

// Elements are those of an array.
func (a Any) Elements() iter.Seq[Any] {
	return func(yield func(Any) bool) {
		for b := a.last().val; len(b) > 0; {
			f, rest, err := nextField(b)
			if err != nil || f.number == 1 && f.wire == wireLen && !yield(Any(f.val)) {
				return
			}
			b = rest
		}
	}
}

// Pairs are those of a map.
func (a Any) Pairs() Attrs { return Attrs{a.last().val, 1} }

// Attrs are the attributes in a message, as they stand on the wire.
type Attrs struct {
	message []byte
	number  int // of the field
}

// All gives each key with its value, up to where framing is broken.
func (a Attrs) All() iter.Seq2[[]byte, Any] {
	return func(yield func([]byte, Any) bool) {
		for b := a.message; len(b) > 0; {
			f, rest, err := nextField(b)
			if err != nil {
				return
			}
			b = rest
			if f.number != a.number || f.wire != wireLen {
				continue
			}
			key, value, err := keyValue(f.val)
			if err != nil || !yield(key, value) {
				return
			}
		}
	}
}

// Get is the value of the first attribute of that key.
func (a Attrs) Get(key string) (Any, bool) {
	for k, v := range a.All() {
		if string(k) == key {
			return v, true
		}
	}
	return nil, false
}

// Resource is a Resource message with its schema URL.
type Resource struct {
	Attributes Attrs
	Dropped    uint32 // attributes
	SchemaURL  []byte
}

// Scope is an InstrumentationScope with its schema URL.
type Scope struct {
	Name, Version []byte
	Attributes    Attrs
	Dropped       uint32 // attributes
	SchemaURL     []byte
}

// Resource is the group's resource.
func (g *Group) Resource() (r Resource) {
	for b := g.resource; len(b) > 0; {
		f, rest, err := nextField(b)
		if err != nil {
			return r
		}
		b = rest
		switch {
		case f.number == 1 && f.wire == wireLen:
			r.Attributes = Attrs{f.val, 1}
			r.Dropped = uint32(lastVarint(f.val, 2))
		case f.number == 3 && f.wire == wireLen:
			r.SchemaURL = f.val
		}
	}
	return r
}

// Scope is the group's scope.
func (g *Group) Scope() (s Scope) {
	for b := g.scope; len(b) > 0; {
		f, rest, err := nextField(b)
		if err != nil {
			return s
		}
		b = rest
		switch {
		case f.number == 1 && f.wire == wireLen:
			s.Attributes = Attrs{f.val, 3}
			s.Dropped = uint32(lastVarint(f.val, 4))
			for m := f.val; len(m) > 0; {
				f, rest, err := nextField(m)
				if err != nil {
					break
				}
				m = rest
				switch {
				case f.number == 1 && f.wire == wireLen:
					s.Name = f.val
				case f.number == 2 && f.wire == wireLen:
					s.Version = f.val
				}
			}
		case f.number == 3 && f.wire == wireLen:
			s.SchemaURL = f.val
		}
	}
	return s
}

// lastVarint is the value of a varint field of a message; 0 without it.
func lastVarint(message []byte, number int) (v uint64) {
	for len(message) > 0 {
		f, rest, err := nextField(message)
		if err != nil {
			return v
		}
		if message = rest; f.number == number && f.wire == wireVarint {
			v = f.num
		}
	}
	return v
}

// NextRecord cuts the first record off a chunk's data: raw is the field with its tag, as it would
// stand in another chunk's data, message what is in it.
func NextRecord(data []byte) (raw, message, rest []byte, err error) {
	f, rest, err := nextField(data)
	if err == nil && (f.number != 2 || f.wire != wireLen) {
		err = ErrMalformed
	}
	if err != nil {
		return nil, nil, nil, err
	}
	return data[:len(data)-len(rest)], f.val, rest, nil
}

// LogView is a log record as it stands on the wire: its slices are parts of the message.
type LogView struct {
	Time, Observed          uint64 // unix ns; 0 = unknown
	Severity                int32
	SeverityText, EventName []byte
	Body                    Any
	Attributes              Attrs
	Dropped, Flags          uint32
	TraceID, SpanID         []byte
}

// Read reads a LogRecord message, such as [NextRecord] gives of a chunk of logs. The error wraps
// [ErrMalformed].
func (l *LogView) Read(message []byte) error {
	*l = LogView{Attributes: Attrs{message, AttrsOfLogRecord}}
	for b := message; len(b) > 0; {
		f, rest, err := nextField(b)
		if err != nil {
			return fmt.Errorf("logs: %w in a record", err)
		}
		b = rest
		switch f.number<<3 | f.wire {
		case 1<<3 | wireFixed64:
			l.Time = f.num
		case 2<<3 | wireVarint:
			l.Severity = int32(f.num)
		case 3<<3 | wireLen:
			l.SeverityText = f.val
		case 5<<3 | wireLen:
			l.Body = f.val
		case 7<<3 | wireVarint:
			l.Dropped = uint32(f.num)
		case 8<<3 | wireFixed32:
			l.Flags = uint32(f.num)
		case 9<<3 | wireLen:
			l.TraceID = f.val
		case 10<<3 | wireLen:
			l.SpanID = f.val
		case 11<<3 | wireFixed64:
			l.Observed = f.num
		case 12<<3 | wireLen:
			l.EventName = f.val
		}
	}
	return nil
}

// Unix is the time of the record, else when it was observed, in unix ns.
func (l *LogView) Unix() uint64 {
	if l.Time != 0 {
		return l.Time
	}
	return l.Observed
}

// AppendUnobserved appends a LogRecord message without the time when it was observed, as far as its
// framing is sound.
func AppendUnobserved(dst, message []byte) []byte {
	for len(message) > 0 {
		f, rest, err := nextField(message)
		if err != nil {
			return dst
		}
		if f.number != 11 {
			dst = append(dst, message[:len(message)-len(rest)]...)
		}
		message = rest
	}
	return dst
}
