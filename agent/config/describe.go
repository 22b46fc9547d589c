package config

import (
	"reflect"
	"strings"
)

// Setting is one key of a configuration: a value, or a section with settings in it.
type Setting struct {
	Path    string // entries of a list: a[].b; of a map: a.NAME.b
	Section bool
	Type    string
	Default string // as YAML; "" for a section
	Unit    string
	Doc     string
}

// Settings lists every key of a struct that holds the defaults, in the order of its fields. A map
// that makes its own entries is listed once for each of its types.
func Settings(defaults any) []Setting {
	var all []Setting
	describe(reflect.ValueOf(defaults), "", func(s Setting) { all = append(all, s) })
	return all
}

func describe(v reflect.Value, path string, add func(Setting)) {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v = fresh(v.Type().Elem())
		} else {
			v = v.Elem()
		}
	}
	for _, f := range fields(v.Type()) {
		below, fv := join(path, f.name), v.FieldByIndex(f.Index)
		s := Setting{Path: below, Doc: f.Tag.Get("doc"), Unit: f.Tag.Get("unit"), Type: typeName(fv.Type(), f.Tag)}
		switch elem := entryType(fv.Type()); {
		case elem == nil: // one value, or a list or map of plain ones
			s.Default = (&printer{}).flow(fv)
			add(s)
		case fv.Kind() == reflect.Slice:
			s.Default = (&printer{}).flow(fv)
			add(s)
			describe(fresh(elem), below+"[]", add)
		case fv.Kind() == reflect.Map && elem.Kind() == reflect.Interface:
			s.Default = (&printer{}).flow(fv)
			add(s)
			m := fv.Interface().(interface {
				Kinds() []string
				NewValue(string) (any, error)
			})
			for _, kind := range m.Kinds() {
				if entry, err := m.NewValue(kind); err == nil {
					add(Setting{Path: join(below, kind), Section: true})
					describe(reflect.ValueOf(entry), join(below, kind), add)
				}
			}
		case fv.Kind() == reflect.Map:
			s.Default = (&printer{}).flow(fv)
			add(s)
			describe(fresh(elem), below+".NAME", add)
		default:
			s.Section = true
			add(s)
			describe(fv, below, add)
		}
	}
}

// entryType is the struct or interface that a field is, points to, or has entries of; nil if none.
func entryType(t reflect.Type) reflect.Type {
	switch t.Kind() {
	case reflect.Struct, reflect.Interface:
		return t
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return entryType(t.Elem())
	}
	return nil
}

// typeName says what may be written for a type.
func typeName(t reflect.Type, tag reflect.StructTag) string {
	switch {
	case tag.Get("enum") != "" && t.Kind() == reflect.String:
		return oneOf(strings.Split(tag.Get("enum"), ","))
	case t == durationType:
		return "duration"
	case isSecret(t):
		return "secret text"
	}
	switch t.Kind() {
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Float32, reflect.Float64:
		return "number"
	case reflect.Slice:
		return "list of " + typeName(t.Elem(), tag)
	case reflect.Map:
		return "map of " + typeName(t.Elem(), tag)
	case reflect.Struct, reflect.Interface:
		return "sections"
	case reflect.Pointer:
		return typeName(t.Elem(), tag)
	}
	return "whole number"
}
