package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// A path names one key: tail.files[0].include, exporters.otlp/a.endpoint. A key of a map that holds
// one of . [ ] " = : or white space is written in quotes: exporters.otlp.headers."x.y".

// join appends a key to a path.
func join(path, key string) string {
	if key == "" || strings.ContainsAny(key, ".[]\"=: \t\n") || strings.ContainsFunc(key, func(r rune) bool { return !strconv.IsPrint(r) }) {
		key = strconv.Quote(key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

func index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// parent is the path without its last key or index; "" for a key at the top.
func parent(path string) string {
	end, quoted := 0, false
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && (c == '.' || c == '['):
			end = i
		}
	}
	return path[:end]
}

// within tells whether path is base or lies below it.
func within(path, base string) bool {
	rest, ok := strings.CutPrefix(path, base)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// cutPath splits "path: text". Colons inside quotes belong to the path.
func cutPath(s string) (path, text string) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && c == ' ':
			return "", s
		case !quoted && c == ':' && strings.HasPrefix(s[i:], ": "):
			return s[:i], s[i+2:]
		}
	}
	return "", s
}

// cutSet splits "path.to.key=value" into the keys and the value. An index is a key of digits,
// written a[0].b or a.0.b.
func cutSet(s string) (keys []string, value string, err error) {
	noValue := errors.New("no = in it")
	for {
		var key string
		switch {
		case s == "":
			return nil, "", noValue
		case s[0] == '"':
			q, err := strconv.QuotedPrefix(s)
			if err != nil {
				return nil, "", errors.New("a quote is not closed")
			}
			key, _ = strconv.Unquote(q)
			s = s[len(q):]
		default:
			end := strings.IndexAny(s, ".[=")
			if end < 0 {
				return nil, "", noValue
			}
			if end == 0 {
				return nil, "", errors.New("a key is empty")
			}
			key, s = s[:end], s[end:]
		}
		keys = append(keys, key)
		for strings.HasPrefix(s, "[") {
			i, rest, ok := strings.Cut(s[1:], "]")
			if _, err := strconv.ParseUint(i, 10, 31); !ok || err != nil {
				return nil, "", errors.New("what stands in [ ] is not an index")
			}
			keys, s = append(keys, i), rest
		}
		switch {
		case strings.HasPrefix(s, "="):
			return keys, s[1:], nil
		case s == "":
			return nil, "", noValue
		case s[0] != '.':
			return nil, "", fmt.Errorf("%q where . or = should be", s[:1])
		}
		s = s[1:]
	}
}

// missing is a path that leads nowhere.
type missing struct{ path, msg, remedy string }

// visit follows keys from v and calls do on the value at their end, with its path and the tag of the
// field that holds it. Entries of maps and lists that are not there yet come into being.
func visit(v reflect.Value, keys []string, path string, tag reflect.StructTag, do func(v reflect.Value, path string, tag reflect.StructTag)) *missing {
	if len(keys) == 0 {
		do(v, path, tag)
		return nil
	}
	key, rest := keys[0], keys[1:]
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			n := fresh(v.Type().Elem())
			if m := visit(n, keys, path, tag, do); m != nil {
				return m
			}
			v.Set(n.Addr())
			return nil
		}
		return visit(v.Elem(), keys, path, tag, do)
	case reflect.Struct:
		for _, f := range fields(v.Type()) {
			if f.name == key {
				return visit(v.FieldByIndex(f.Index), rest, join(path, key), f.Tag, do)
			}
		}
		msg, remedy := unknown(key, names(v.Type()))
		return &missing{join(path, key), msg, remedy}
	case reflect.Map:
		entry, err := mapEntry(v, key)
		if err != nil {
			msg, remedy, _ := strings.Cut(err.Error(), "; ")
			return &missing{join(path, key), msg, remedy}
		}
		if m := visit(entry, rest, join(path, key), tag, do); m != nil {
			return m
		}
		setEntry(v, key, entry)
		return nil
	case reflect.Slice:
		i, err := strconv.Atoi(key)
		if err != nil || i < 0 || i > v.Len() {
			return &missing{path, fmt.Sprintf("%q is not an index of this list of %d", key, v.Len()), fmt.Sprintf("write 0 to %d; %[1]d appends", v.Len())}
		}
		longer := reflect.MakeSlice(v.Type(), max(v.Len(), i+1), max(v.Len(), i+1))
		reflect.Copy(longer, v)
		if i == v.Len() {
			longer.Index(i).Set(fresh(v.Type().Elem()))
		}
		if m := visit(longer.Index(i), rest, index(path, i), tag, do); m != nil {
			return m
		}
		v.Set(longer)
		return nil
	}
	return &missing{join(path, key), fmt.Sprintf("%s is a value and has no keys", path), "write " + path + "=VALUE"}
}

// maxKeyBytes is well under the 1024 that YAML sets for a key on one line.
const maxKeyBytes = 256

// mapEntry gives what the key of a map holds or would hold, as a value that can be set.
func mapEntry(m reflect.Value, key string) (reflect.Value, error) {
	if len(key) > maxKeyBytes || !utf8.ValidString(key) {
		return reflect.Value{}, fmt.Errorf("the key is over %d bytes or not UTF-8; write a shorter one", maxKeyBytes)
	}
	t := m.Type().Elem()
	old := m.MapIndex(reflect.ValueOf(key).Convert(m.Type().Key()))
	if t.Kind() == reflect.Interface {
		if old.IsValid() {
			return old.Elem(), nil
		}
		n, err := m.Interface().(interface{ NewValue(string) (any, error) }).NewValue(key)
		if err != nil {
			return reflect.Value{}, err
		}
		return reflect.ValueOf(n), nil
	}
	entry := fresh(t)
	if old.IsValid() {
		entry.Set(old)
	}
	return entry, nil
}

func setEntry(m reflect.Value, key string, entry reflect.Value) {
	if m.IsNil() {
		m.Set(reflect.MakeMap(m.Type()))
	}
	m.SetMapIndex(reflect.ValueOf(key).Convert(m.Type().Key()), entry)
}

// fresh is a new value of a type, with its defaults where it has them.
func fresh(t reflect.Type) reflect.Value {
	p := reflect.New(t)
	if d, ok := p.Interface().(interface{ SetDefaults() }); ok {
		d.SetDefaults()
	}
	return p.Elem()
}

// field is a setting or section of a struct.
type field struct {
	reflect.StructField
	name string // in YAML
}

// fields are those of a struct and of the structs embedded in it.
func fields(t reflect.Type) []field {
	var fs []field
	for _, f := range reflect.VisibleFields(t) {
		if name := f.Tag.Get("yaml"); name != "" && name != "-" {
			fs = append(fs, field{f, name})
		}
	}
	return fs
}

func names(t reflect.Type) []string {
	var all []string
	for _, f := range fields(t) {
		all = append(all, f.name)
	}
	return all
}

// findEnv finds the key that an environment variable names: the path in upper case with _ for what
// is no letter or digit. Keys may hold _ themselves, so every reading is tried.
func findEnv(v reflect.Value, name string) (keys []string, ok bool) {
	try := func(key string, v reflect.Value) bool {
		rest, found := strings.CutPrefix(name, envName(key))
		if !found {
			return false
		}
		if rest == "" {
			keys = []string{key}
			return true
		}
		if rest[0] != '_' {
			return false
		}
		below, found := findEnv(v, rest[1:])
		if found {
			keys = append([]string{key}, below...)
		}
		return found
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return findEnv(fresh(v.Type().Elem()), name)
		}
		return findEnv(v.Elem(), name)
	case reflect.Struct:
		for _, f := range fields(v.Type()) {
			if try(f.name, v.FieldByIndex(f.Index)) {
				return keys, true
			}
		}
	case reflect.Map:
		var candidates []string
		for _, k := range v.MapKeys() {
			candidates = append(candidates, k.String())
		}
		slices.Sort(candidates)
		if k, ok := v.Interface().(interface{ Kinds() []string }); ok {
			candidates = append(candidates, k.Kinds()...)
		}
		for _, key := range candidates {
			if entry, err := mapEntry(v, key); err == nil && try(key, entry) {
				return keys, true
			}
		}
	case reflect.Slice:
		digits, _, _ := strings.Cut(name, "_")
		if i, err := strconv.Atoi(digits); err == nil && i >= 0 && i <= v.Len() {
			entry := fresh(v.Type().Elem())
			if i < v.Len() {
				entry = v.Index(i)
			}
			if try(digits, entry) {
				return keys, true
			}
		}
	}
	return nil, false
}

func envName(key string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z' || r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, key)
}

// isScalar tells whether a value of this type is written as one piece of text.
func isScalar(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Struct, reflect.Map, reflect.Slice, reflect.Pointer, reflect.Interface:
		return false
	}
	return true
}

// isSecret tells whether values of this type must not be shown.
func isSecret(t reflect.Type) bool {
	_, ok := reflect.Zero(t).Interface().(interface{ Masked() string })
	return ok
}

// holdsSecret tells whether text written for this type may hold a secret.
func holdsSecret(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Map, reflect.Slice, reflect.Pointer:
		return t.Elem().Kind() == reflect.Interface || holdsSecret(t.Elem())
	case reflect.Struct:
		for _, f := range fields(t) {
			if holdsSecret(f.Type) {
				return true
			}
		}
		return false
	}
	return isSecret(t)
}

// isNull tells whether a node says nothing: "key:", "key: null", "key: ~".
func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }
