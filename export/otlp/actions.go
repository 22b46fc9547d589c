package otlp

import "slices"

// Op is what an action does with an attribute (the OTel Collector's attributes and resource
// processors call them so).
type Op uint8

const (
	Insert Op = iota // where there is none of the key
	Update           // where there is one
	Upsert           // in either case
	Delete
)

// Action changes one attribute.
type Action struct {
	Op Op
	KeyValue
}

// Editor changes the attributes of resources, or of records, by editing the wire bytes; nothing is
// decoded. The zero Editor changes nothing. It is not changed by its use and safe for concurrent use.
type Editor struct {
	rules []rule // one a key
}

// rule is what the actions on a key come to, one after the other.
type rule struct {
	key      string
	present  change // where the message has the key
	absent   change // where it has not
	keyValue []byte // of present, where it is changed
	added    []byte // of absent, likewise: KeyValue messages
}

type change uint8

const (
	asItIs change = iota
	changed
	gone
)

// MaxActions is how many keys an Editor takes.
const MaxActions = 64

// NewEditor makes an editor that does the actions in their order. It panics on more than
// [MaxActions] keys.
func NewEditor(actions []Action) *Editor {
	e := &Editor{}
	for _, a := range actions {
		i := slices.IndexFunc(e.rules, func(r rule) bool { return r.key == a.Key })
		if i < 0 {
			i = len(e.rules)
			e.rules = append(e.rules, rule{key: a.Key})
		}
		r := &e.rules[i]
		message := appendString(nil, 1, a.Key)
		message = appendMessage(message, 2, func(dst []byte) []byte { return AppendValue(dst, a.Value) })
		has, had := r.present != gone, r.absent == changed
		if a.Op == Delete {
			r.present, r.absent = gone, asItIs
			continue
		}
		if (a.Op != Insert || !has) && (a.Op != Update || has) {
			r.present, r.keyValue = changed, message
		}
		if (a.Op != Insert || !had) && (a.Op != Update || had) {
			r.absent, r.added = changed, message
		}
	}
	if len(e.rules) > MaxActions {
		panic("bug: too many actions")
	}
	return e
}

// Group is g with its resource changed.
func (e *Editor) Group(g *Group) (*Group, error) {
	found := false
	resource, err := edit(nil, g.resource, func(dst []byte, f field) ([]byte, bool, error) {
		if f.number != 1 || f.wire != wireLen {
			return dst, false, nil
		}
		found = true
		dst, err := e.message(dst, 1, f.val, 1)
		return dst, true, err
	})
	if err == nil && !found {
		resource, err = e.message(resource, 1, nil, 1)
	}
	if err != nil {
		return nil, err
	}
	return &Group{resource: resource, scope: g.scope}, nil
}

// Records appends a chunk's data with the attributes of its records changed: of log records,
// spans, or metric points. The error wraps [ErrMalformed]; dst is then half written.
func (e *Editor) Records(dst []byte, s Signal, data []byte) ([]byte, error) {
	return edit(dst, data, func(dst []byte, f field) ([]byte, bool, error) {
		if f.number != 2 || f.wire != wireLen {
			return dst, false, nil
		}
		var err error
		switch s {
		case Logs:
			dst, err = e.message(dst, 2, f.val, AttrsOfLogRecord)
		case Traces:
			dst, err = e.message(dst, 2, f.val, attrsOfSpan)
		case Metrics:
			var start int
			dst, start = OpenLen(dst, 2)
			dst, err = edit(dst, f.val, e.points)
			dst = CloseLen(dst, start)
		}
		return dst, true, err
	})
}

// points writes the field of a Metric that has its points.
func (e *Editor) points(dst []byte, f field) ([]byte, bool, error) {
	attrs := attrsOfData(f.number)
	if attrs == 0 || f.wire != wireLen {
		return dst, false, nil
	}
	dst, start := OpenLen(dst, f.number)
	dst, err := edit(dst, f.val, func(dst []byte, f field) ([]byte, bool, error) {
		if f.number != 1 || f.wire != wireLen {
			return dst, false, nil
		}
		dst, err := e.message(dst, 1, f.val, attrs)
		return dst, true, err
	})
	return CloseLen(dst, start), true, err
}

// message appends a field with a message whose attributes, which have the number attrs, are changed.
func (e *Editor) message(dst []byte, number int, message []byte, attrs int) ([]byte, error) {
	dst, start := OpenLen(dst, number)
	var seen uint64
	for b := message; len(b) > 0; {
		f, rest, err := nextField(b)
		if err != nil {
			return dst, err
		}
		raw := b[:len(b)-len(rest)]
		b = rest
		i := -1
		if f.number == attrs && f.wire == wireLen {
			key, _, err := keyValue(f.val)
			if err != nil {
				return dst, err
			}
			i = e.find(key)
		}
		if i < 0 {
			dst = append(dst, raw...)
			continue
		}
		first := seen>>i&1 == 0
		seen |= 1 << i
		switch r := &e.rules[i]; {
		case r.present == asItIs:
			dst = append(dst, raw...)
		case r.present == changed && first: // one value in place of what may be several
			dst = appendBytes(dst, attrs, r.keyValue)
		}
	}
	for i := range e.rules {
		if r := &e.rules[i]; r.absent == changed && seen>>i&1 == 0 {
			dst = appendBytes(dst, attrs, r.added)
		}
	}
	return CloseLen(dst, start), nil
}

func (e *Editor) find(key []byte) int {
	for i := range e.rules {
		if e.rules[i].key == string(key) {
			return i
		}
	}
	return -1
}
