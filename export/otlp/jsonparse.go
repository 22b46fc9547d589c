package otlp

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
)

// ErrJSON says that a text is not OTLP's JSON encoding of a request.
var ErrJSON = errors.New("no OTLP in JSON")

// ParseJSON appends an Export*ServiceRequest whose OTLP JSON encoding is text. Keys that are not known are
// passed over, as the specification asks. The error wraps [ErrJSON] and names the place; dst is then half written.
func ParseJSON(dst []byte, s Signal, text []byte) ([]byte, error) {
	p := jsonParser{json.NewDecoder(bytes.NewReader(text))}
	p.UseNumber()
	dst, err := p.value(dst, &jsonField{form: formMessage, of: &jsonRequests[s]}, 0, 0)
	if err == nil {
		if _, err = p.Token(); err == io.EOF {
			return dst, nil
		} else if err == nil {
			err = errors.New("there is more behind the object")
		}
	}
	return dst, fmt.Errorf("%w: %s: %w, at byte %d", ErrJSON, s, err, p.InputOffset())
}

type jsonParser struct{ *json.Decoder }

// value reads what d is and appends it as the field of that number; 0: a message without a field around it.
func (p jsonParser) value(dst []byte, d *jsonField, number, depth int) ([]byte, error) {
	t, err := p.Token()
	if err != nil {
		return dst, noEOF(err)
	}
	if t == nil && number > 0 { // null is absent
		return dst, nil
	}
	if d.form == formMessage {
		if t != json.Delim('{') {
			return dst, fmt.Errorf("%s: an object belongs here", d.name)
		}
		if depth > maxJSONDepth {
			return dst, fmt.Errorf("values are nested over %d deep", maxJSONDepth)
		}
		start := 0
		if number > 0 {
			dst, start = OpenLen(dst, number)
		}
		if dst, err = p.members(dst, *d.of, depth); err == nil && number > 0 {
			dst = CloseLen(dst, start)
		}
		return dst, err
	}
	return d.parse(dst, number, t)
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// members reads an object to its end.
func (p jsonParser) members(dst []byte, m jsonMessage, depth int) ([]byte, error) {
	for p.More() {
		key, err := p.Token()
		if err != nil {
			return dst, noEOF(err)
		}
		number := 0
		for n := range m {
			if m[n].name == key && m[n].name != "" {
				number = n
			}
		}
		if number == 0 {
			if err := p.skip(depth); err != nil {
				return dst, err
			}
			continue
		}
		d := &m[number]
		if d.times != list {
			if dst, err = p.value(dst, d, number, depth+1); err != nil {
				return dst, err
			}
			continue
		}
		t, err := p.Token()
		if err != nil {
			return dst, noEOF(err)
		}
		if t == nil {
			continue
		}
		if t != json.Delim('[') {
			return dst, fmt.Errorf("%s: a list belongs here", d.name)
		}
		for p.More() {
			if dst, err = p.value(dst, d, number, depth+1); err != nil {
				return dst, err
			}
		}
		if _, err := p.Token(); err != nil {
			return dst, noEOF(err)
		}
	}
	_, err := p.Token()
	return dst, noEOF(err)
}

// skip reads a value that nobody wants.
func (p jsonParser) skip(depth int) error {
	for open := 0; ; {
		t, err := p.Token()
		if err != nil {
			return noEOF(err)
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			open++
		case json.Delim('}'), json.Delim(']'):
			open--
		}
		if depth+open > maxJSONDepth {
			return fmt.Errorf("values are nested over %d deep", maxJSONDepth)
		}
		if open == 0 {
			return nil
		}
	}
}

// parse appends a scalar.
func (d *jsonField) parse(dst []byte, number int, t json.Token) ([]byte, error) {
	text, isText := t.(string)
	if n, ok := t.(json.Number); ok {
		text = n.String()
	}
	wrong := func(what string) ([]byte, error) { return dst, fmt.Errorf("%s: %s belongs here", d.name, what) }
	switch d.form {
	case formString:
		if !isText {
			return wrong("a string")
		}
		return appendString(dst, number, text), nil
	case formHex, formBase64:
		decode, what := hex.DecodeString, "an id in hexadecimal digits"
		if d.form == formBase64 {
			decode, what = base64.StdEncoding.DecodeString, "base64"
		}
		b, err := decode(text)
		if err != nil || !isText {
			return wrong(what)
		}
		return appendBytes(dst, number, b), nil
	case formBool:
		b, ok := t.(bool)
		if !ok {
			return wrong("true or false")
		}
		v := uint64(0)
		if b {
			v = 1
		}
		return appendVarint(dst, number, v), nil
	case formDouble:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return wrong("a number")
		}
		return appendDouble(dst, number, f), nil
	case formInt32, formSint32, formInt64, formSfixed64:
		bits := 64
		if d.form == formInt32 || d.form == formSint32 {
			bits = 32
		}
		n, err := strconv.ParseInt(text, 10, bits)
		if f, e := strconv.ParseFloat(text, 64); err != nil && e == nil && f == math.Trunc(f) && math.Abs(f) < 1<<31 { // 1e3
			n, err = int64(f), nil
		}
		if err != nil {
			return wrong("a whole number")
		}
		switch d.form {
		case formSint32:
			return appendVarint(dst, number, uint64(uint32(n<<1)^uint32(n>>63))), nil
		case formSfixed64:
			return appendFixed64(dst, number, uint64(n)), nil
		}
		return appendVarint(dst, number, uint64(n)), nil
	}
	bits := 64
	if d.form == formUint32 || d.form == formFixed32 {
		bits = 32
	}
	n, err := strconv.ParseUint(text, 10, bits)
	if err != nil {
		return wrong("a whole number, not negative")
	}
	switch d.form {
	case formFixed64:
		return appendFixed64(dst, number, n), nil
	case formFixed32:
		dst = appendTag(dst, number, wireFixed32)
		return append(dst, byte(n), byte(n>>8), byte(n>>16), byte(n>>24)), nil
	}
	return appendVarint(dst, number, n), nil
}
