package config

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Style says how a configuration is printed.
type Style struct {
	Origin func(path string) Origin // if set, each line ends in where its value is from
	Docs   bool                     // each key has its meaning in a comment above it
	Reveal bool                     // secrets are shown, not masked
}

// Append appends a configuration as YAML: fields in the order of the struct, maps by key. What it
// prints with Reveal loads to the same configuration.
func Append(dst []byte, v any, s Style) []byte {
	p := printer{Style: s, out: dst}
	rv := reflect.ValueOf(v)
	for rv.Kind() == reflect.Pointer {
		rv = rv.Elem()
	}
	p.section(rv, "", "", "")
	return p.out
}

const width = 110 // of a line, where it can be broken

type printer struct {
	Style
	out []byte
}

// section prints the fields of a struct. first stands before the first line in place of indent.
func (p *printer) section(v reflect.Value, path, indent, first string) {
	for _, f := range fields(v.Type()) {
		fv := v.FieldByIndex(f.Index)
		if fv.Kind() == reflect.Pointer {
			if fv.IsNil() {
				continue
			}
			fv = fv.Elem()
		}
		if p.Docs {
			p.doc(f, indent)
		}
		p.pair(f.name, fv, join(path, f.name), indent, first)
		first = indent
	}
	if first != indent { // no field at all
		p.line(first+"{}", path)
	}
}

func (p *printer) doc(f field, indent string) {
	text := f.Tag.Get("doc")
	if u := f.Tag.Get("unit"); u != "" {
		text += " (" + u + ")"
	}
	if e := f.Tag.Get("enum"); e != "" {
		text += " (" + strings.ReplaceAll(e, ",", " | ") + ")"
	}
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(indent)+len(line)+len(word) > width {
			p.out = append(p.out, indent+"#"+line+"\n"...)
			line = ""
		}
		line += " " + word
	}
	if line != "" {
		p.out = append(p.out, indent+"#"+line+"\n"...)
	}
}

// pair prints "key: value", on one line where the value is plain or empty.
func (p *printer) pair(key string, v reflect.Value, path, indent, first string) {
	head := first + scalar(key) + ":"
	for v.Kind() == reflect.Interface || v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	switch {
	case v.Kind() == reflect.Struct && len(fields(v.Type())) == 0:
		p.line(head+" {}", path)
	case v.Kind() == reflect.Struct:
		p.out = append(p.out, head+"\n"...)
		p.section(v, path, indent+"  ", indent+"  ")
	case v.Kind() == reflect.Map && v.Len() > 0:
		p.out = append(p.out, head+"\n"...)
		for _, k := range slices.Sorted(maps.Keys(keysOf(v))) {
			p.pair(k, v.MapIndex(reflect.ValueOf(k).Convert(v.Type().Key())), join(path, k), indent+"  ", indent+"  ")
		}
	case v.Kind() == reflect.Slice && v.Len() > 0 && p.ofOneOrigin(v, path):
		line := head + " ["
		for i := range v.Len() {
			e := p.flow(v.Index(i)) + ", "
			if i == v.Len()-1 {
				e = e[:len(e)-2] + "]"
			}
			if i > 0 && len(line)+len(e) > width {
				p.out = append(p.out, strings.TrimSuffix(line, " ")+"\n"...)
				line = indent + "    "
			}
			line += e
		}
		p.line(line, path)
	case v.Kind() == reflect.Slice && v.Len() > 0:
		p.out = append(p.out, head+"\n"...)
		for i := range v.Len() {
			e, dash := v.Index(i), indent+"  - "
			for e.Kind() == reflect.Pointer {
				e = e.Elem()
			}
			if e.Kind() == reflect.Struct {
				p.section(e, index(path, i), indent+"    ", dash)
			} else {
				p.line(dash+p.flow(e), index(path, i))
			}
		}
	default:
		p.line(head+" "+p.flow(v), path)
	}
}

func (p *printer) line(s, path string) {
	if p.Origin != nil {
		s += "  # from " + strings.Map(func(r rune) rune {
			if !unicode.IsPrint(r) {
				return '?'
			}
			return r
		}, p.Origin(path).String())
	}
	p.out = append(p.out, s+"\n"...)
}

// ofOneOrigin tells whether a list holds plain values that, where origins are told, have the same.
func (p *printer) ofOneOrigin(v reflect.Value, path string) bool {
	if !isScalar(v.Type().Elem()) {
		return false
	}
	for i := range v.Len() {
		if p.Origin != nil && p.Origin(index(path, i)).Where != p.Origin(path).Where {
			return false
		}
	}
	return true
}

func keysOf(m reflect.Value) map[string]bool {
	all := map[string]bool{}
	for _, k := range m.MapKeys() {
		all[k.String()] = true
	}
	return all
}

// inQuery finds what is a secret by its name in the query of a URL.
var inQuery = regexp.MustCompile(`(?i)([?&][^=&#\s]*(?:token|key|passw|secret|auth|signature)[^=&#\s]*=)[^&#\s]+`)

// flow is a value as YAML on one line, secrets masked unless they are to be revealed.
func (p *printer) flow(v reflect.Value) string {
	if m, ok := v.Interface().(interface{ Masked() string }); ok && !p.Reveal {
		return strconv.Quote(m.Masked())
	}
	var parts []string
	switch v.Kind() {
	case reflect.Slice:
		for i := range v.Len() {
			parts = append(parts, p.flow(v.Index(i)))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case reflect.Map:
		for _, k := range slices.Sorted(maps.Keys(keysOf(v))) {
			parts = append(parts, scalar(k)+": "+p.flow(v.MapIndex(reflect.ValueOf(k).Convert(v.Type().Key()))))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case reflect.Struct:
		for _, f := range fields(v.Type()) {
			parts = append(parts, f.name+": "+p.flow(v.FieldByIndex(f.Index)))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return "null"
		}
		return p.flow(v.Elem())
	case reflect.String:
		s := v.String()
		if !p.Reveal && strings.Contains(s, "://") {
			s = inQuery.ReplaceAllString(s, "$1***")
		}
		if strings.Contains(s, "$$") || strings.Contains(s, "${") {
			s = strings.ReplaceAll(s, "$", "$$")
		}
		return scalar(s)
	}
	return text(v)
}

// text is a number, a duration, true or false.
func text(v reflect.Value) string {
	switch {
	case v.Type() == durationType:
		s := time.Duration(v.Int()).String()
		if strings.HasSuffix(s, "m0s") {
			s = s[:len(s)-2]
		}
		if strings.HasSuffix(s, "h0m") {
			s = s[:len(s)-2]
		}
		return s
	case v.CanFloat():
		return strconv.FormatFloat(v.Float(), 'g', -1, v.Type().Bits())
	}
	return fmt.Sprint(v.Interface())
}

// scalar quotes a text unless every YAML parser reads it as this text without: it begins with a
// letter or / and holds nothing that means something. In quotes Go and YAML agree on all escapes
// that strconv.Quote makes of valid UTF-8.
func scalar(s string) string {
	plain := s != ""
	for i, r := range s {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && r != '/' && (i == 0 || !(r >= '0' && r <= '9') && !strings.ContainsRune("_.-", r)) {
			plain = false
		}
	}
	switch strings.ToLower(s) {
	case "true", "false", "yes", "no", "on", "off", "y", "n", "null":
		plain = false
	}
	if plain {
		return s
	}
	return strconv.Quote(s)
}
