package otlp

import "bytes"

// Promoter copies attributes of each resource onto its metric points, for a destination that
// tells series apart by those of the points alone: Prometheus makes one series of what two
// pods say under the same name. It edits the wire bytes; nothing is decoded. The zero Promoter
// copies nothing. Not safe for concurrent use: it keeps memory between calls.
type Promoter struct {
	// Keys are the attributes that are copied. A point that has one of its own keeps that.
	Keys map[string]bool
	// Kinds says that the names of objects of Kubernetes, k8s.KIND.name, are copied as well: there are more
	// kinds than a list can have.
	Kinds bool
	// Service is the service.name of a resource that has none; empty: it stays without.
	Service string
	// Instance names attributes of which the first that a resource has becomes its
	// service.instance.id, if it has none.
	Instance []string

	copied   []attribute // of the resource at hand
	instance []byte      // the AnyValue for its service.instance.id
	added    bool
	addName  bool // the resource at hand has no service.name
}

// attribute is a KeyValue message and the key in it.
type attribute struct{ key, message []byte }

// maxPromoted bounds how many attributes of a resource are copied.
const maxPromoted = 64

// Append appends the request, an ExportMetricsServiceRequest, with the attributes copied. The
// error wraps [ErrMalformed]; dst is then half written.
func (p *Promoter) Append(dst, request []byte) ([]byte, error) {
	return edit(dst, request, func(dst []byte, f field) ([]byte, bool, error) {
		if f.number != 1 || f.wire != wireLen {
			return dst, false, nil
		}
		dst, err := p.resourceMetrics(dst, f.val)
		return dst, true, err
	})
}

// edit appends every field of message, as it stands or as do writes it.
func edit(dst, message []byte, do func(dst []byte, f field) (_ []byte, done bool, err error)) ([]byte, error) {
	for len(message) > 0 {
		f, rest, err := nextField(message)
		if err != nil {
			return dst, err
		}
		var done bool
		if dst, done, err = do(dst, f); err != nil {
			return dst, err
		}
		if !done {
			dst = append(dst, message[:len(message)-len(rest)]...)
		}
		message = rest
	}
	return dst, nil
}

func (p *Promoter) resourceMetrics(dst, message []byte) (_ []byte, err error) {
	if err := p.look(message); err != nil {
		return dst, err
	}
	dst, start := OpenLen(dst, 1)
	dst, err = edit(dst, message, func(dst []byte, f field) ([]byte, bool, error) {
		switch {
		case f.wire != wireLen:
			return dst, false, nil
		case f.number == 1:
			dst, start := OpenLen(dst, 1)
			dst = p.addIdentity(append(dst, f.val...))
			return CloseLen(dst, start), true, nil
		case f.number == 2:
			dst, err := p.scopeMetrics(dst, f.val)
			return dst, true, err
		}
		return dst, false, nil
	})
	if err != nil {
		return dst, err
	}
	if !p.added { // there was no resource at all
		var start int
		dst, start = OpenLen(dst, 1)
		dst = CloseLen(p.addIdentity(dst), start)
	}
	return CloseLen(dst, start), nil
}

// look takes what is to be copied from the resource, wherever it stands in the message.
func (p *Promoter) look(message []byte) error {
	p.copied, p.instance, p.added, p.addName = p.copied[:0], nil, false, p.Service != ""
	hasInstance, best := false, len(p.Instance)
	for len(message) > 0 {
		f, rest, err := nextField(message)
		if err != nil {
			return err
		}
		message = rest
		if f.number != 1 || f.wire != wireLen {
			continue
		}
		for resource := f.val; len(resource) > 0; {
			kv, rest, err := nextField(resource)
			if err != nil {
				return err
			}
			resource = rest
			if kv.number != 1 || kv.wire != wireLen {
				continue
			}
			key, value, err := keyValue(kv.val)
			if err != nil {
				return err
			}
			switch string(key) {
			case "service.name":
				p.addName = false
			case "service.instance.id":
				hasInstance = true
			}
			for i, k := range p.Instance[:best] {
				if k == string(key) {
					best, p.instance = i, value
				}
			}
			if (p.Keys[string(key)] || p.Kinds && isName(key)) && len(p.copied) < maxPromoted {
				p.copied = append(p.copied, attribute{key, kv.val})
			}
		}
	}
	if hasInstance {
		p.instance = nil
	}
	return nil
}

// isName says whether a key is k8s.KIND.name.
func isName(key []byte) bool {
	kind, ok := bytes.CutPrefix(key, []byte("k8s."))
	if !ok {
		return false
	}
	kind, ok = bytes.CutSuffix(kind, []byte(".name"))
	return ok && len(kind) > 0 && bytes.IndexByte(kind, '.') < 0
}

// addIdentity appends the attributes that the resource lacks, once.
func (p *Promoter) addIdentity(dst []byte) []byte {
	if p.added {
		return dst
	}
	p.added = true
	if p.addName {
		dst = AppendAttrs(dst, 1, []KeyValue{Attr("service.name", p.Service)})
	}
	if p.instance != nil {
		var start int
		dst, start = OpenLen(dst, 1)
		dst = appendString(dst, 1, "service.instance.id")
		dst = CloseLen(appendBytes(dst, 2, p.instance), start)
	}
	return dst
}

// keyValue takes a KeyValue message apart.
func keyValue(message []byte) (key, value []byte, err error) {
	for len(message) > 0 {
		f, rest, err := nextField(message)
		if err != nil {
			return nil, nil, err
		}
		message = rest
		switch {
		case f.number == 1 && f.wire == wireLen:
			key = f.val
		case f.number == 2 && f.wire == wireLen:
			value = f.val
		}
	}
	return key, value, nil
}

func (p *Promoter) scopeMetrics(dst, message []byte) (_ []byte, err error) {
	dst, start := OpenLen(dst, 2)
	dst, err = edit(dst, message, func(dst []byte, f field) ([]byte, bool, error) {
		if f.number != 2 || f.wire != wireLen {
			return dst, false, nil
		}
		dst, start := OpenLen(dst, 2)
		dst, err := edit(dst, f.val, p.data)
		return CloseLen(dst, start), true, err
	})
	return CloseLen(dst, start), err
}

// data writes the field of a Metric that has its points.
func (p *Promoter) data(dst []byte, f field) ([]byte, bool, error) {
	attrs := attrsOfData(f.number)
	if attrs == 0 || f.wire != wireLen {
		return dst, false, nil
	}
	dst, start := OpenLen(dst, f.number)
	for data := f.val; len(data) > 0; {
		point, rest, err := nextField(data)
		if err != nil {
			return dst, true, err
		}
		if point.number != 1 || point.wire != wireLen {
			dst = append(dst, data[:len(data)-len(rest)]...)
		} else if dst, err = p.point(dst, point.val, attrs); err != nil {
			return dst, true, err
		}
		data = rest
	}
	return CloseLen(dst, start), true, nil
}

func (p *Promoter) point(dst, message []byte, attrs int) ([]byte, error) {
	var own uint64 // which of copied the point has itself
	for b := message; len(b) > 0; {
		f, rest, err := nextField(b)
		if err != nil {
			return dst, err
		}
		b = rest
		if f.number != attrs || f.wire != wireLen {
			continue
		}
		key, _, err := keyValue(f.val)
		if err != nil {
			return dst, err
		}
		for i := range p.copied {
			if string(p.copied[i].key) == string(key) {
				own |= 1 << i
			}
		}
	}
	dst, start := OpenLen(dst, 1)
	dst = append(dst, message...)
	for i := range p.copied {
		if own>>i&1 == 0 {
			dst = appendBytes(dst, attrs, p.copied[i].message)
		}
	}
	return CloseLen(dst, start), nil
}
