// Package config fills a struct from a YAML file, environment variables and command line flags.
//
// One field is one setting: its tags carry the YAML name, the unit, the allowed words and the
// meaning, and everything that speaks of settings (faults, the printed configuration, the
// reference, the sample file) is made from them:
//
//	MaxLineBytes int `yaml:"max_line_bytes" unit:"bytes" doc:"a longer record is cut"`
//	Format       string `yaml:"format" enum:"auto,cri" doc:"how a line is written"`
//
// A field may be text, true or false, a number, a time.Duration, a struct, a pointer to one, a list
// or a map of these. The fields of an embedded struct count as those of the struct around it. A string type with a method Masked() string is a secret and never shown. A map
// of interfaces makes its entries by NewValue(key string) (any, error), which gives a pointer to
// decode into, and lists its types of entries by Kinds() []string. A type with SetDefaults() is
// called so before an entry of a list or map is decoded into it.
//
// Nothing stops at the first fault: all are collected, each with the place where it was written and
// with what would be right. The bounds are constants: 1 MiB of file, 64 levels, 100,000 nodes
// (aliases counted each time they are used), 100 faults.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

const maxFileBytes = 1 << 20

// Loader fills one struct, weakest source first: File, Environ, then Set. Then Check.
type Loader struct {
	into    reflect.Value
	env     map[string]string
	origins map[string]Origin // by path; what is not in it is a default
	faults  Faults
}

// New makes a loader that fills the struct into points to, which holds the defaults. environ is
// what os.Environ gives.
func New(into any, environ []string) *Loader {
	l := &Loader{into: reflect.ValueOf(into).Elem(), env: map[string]string{}, origins: map[string]Origin{}}
	for _, e := range environ {
		if name, value, ok := strings.Cut(e, "="); ok {
			l.env[name] = value
		}
	}
	return l
}

// Origin is where the value of a key was written.
func (l *Loader) Origin(path string) Origin { return l.origins[path] }

// Derived notes what a default was made from, e.g. "env K8S_NODE_NAME" or "default: host name".
func (l *Loader) Derived(path, from string) { l.origins[path] = Origin{Where: from} }

// IsSet tells whether a key, or anything in it, was written anywhere.
func (l *Loader) IsSet(path string) bool {
	for p := range l.origins {
		if within(p, path) {
			return true
		}
	}
	return false
}

// File reads a YAML file.
func (l *Loader) File(name string) {
	f, err := os.Open(name)
	if err != nil {
		l.fault(Origin{Where: name}, "", "cannot be read: "+reason(err), "give the path of a YAML file")
		return
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		l.fault(Origin{Where: name}, "", "cannot be read: "+reason(err), "give the path of a YAML file")
		return
	}
	l.Data(name, data)
}

// Data takes the content of a YAML file; name is what faults call it.
func (l *Loader) Data(name string, data []byte) {
	if len(data) > maxFileBytes {
		l.fault(Origin{name, 1, 0}, "", fmt.Sprintf("is over %d bytes", maxFileBytes), "make it smaller")
		return
	}
	doc, f := parse(data)
	if f != nil {
		l.fault(Origin{name, f.line, f.column}, "", f.msg, f.remedy)
		return
	}
	if doc == nil {
		return
	}
	d := decoder{l: l, expand: true, at: func(n *yaml.Node) Origin { return Origin{name, n.Line, n.Column} }}
	d.value(l.into, doc, "", "", 0)
}

// Environ takes the variables that begin with prefix: PREFIX_A_B sets a.b. Empty ones count as
// unset. The value is YAML where the key is a list or a section, else the text itself.
func (l *Loader) Environ(prefix string) {
	var vars []string
	for name, value := range l.env {
		if strings.HasPrefix(name, prefix) && value != "" && !serviceLink.MatchString(name) {
			vars = append(vars, name)
		}
	}
	slices.Sort(vars)
	for _, name := range vars {
		keys, ok := findEnv(l.into, name[len(prefix):])
		if !ok {
			var known []string
			for _, s := range Settings(l.into.Interface()) {
				known = append(known, prefix+envName(s.Path))
			}
			msg, remedy := "names no key", "unset it; the name of a.b_c is "+prefix+"A_B_C"
			if near := nearest(name, known); near != "" {
				remedy = "did you mean " + near
			}
			l.fault(Origin{Where: "env " + name}, "", msg, remedy)
			continue
		}
		l.override("env "+name, keys, l.env[name], false)
	}
}

// serviceLink are the variables that Kubernetes sets in every pod for a Service whose name begins
// like ours: STINT_CLUSTER_SERVICE_HOST, STINT_PORT_4317_TCP_ADDR. They are not settings.
var serviceLink = regexp.MustCompile(`_SERVICE_HOST$|_SERVICE_PORT(_[A-Z0-9_]+)?$|_PORT$|_PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$`)

// Set takes one --set: path.to.key=value. The value is YAML where the key is a list or a section,
// else the text itself, less its quotes if it has some.
func (l *Loader) Set(arg string) {
	keys, value, err := cutSet(arg)
	if err != nil {
		path, _, _ := strings.Cut(arg, "=") // what comes behind may be a secret
		l.fault(Origin{Where: "--set " + path}, "", "is not an assignment: "+err.Error(), "write --set path.to.key=value")
		return
	}
	l.override("--set", keys, value, false)
}

// Put sets one key to a text, which is not parsed as YAML. where tells whose text it is.
func (l *Loader) Put(where string, value string, keys ...string) {
	l.override(where, keys, value, true)
}

// Fail notes a fault of something outside the file; where names it: "env NAME".
func (l *Loader) Fail(where, msg, remedy string) { l.fault(Origin{Where: where}, "", msg, remedy) }

func (l *Loader) override(where string, keys []string, text string, verbatim bool) {
	where2 := func(path string, t reflect.Type) Origin {
		if where != "--set" {
			return Origin{Where: where}
		}
		o := Origin{Where: where + " " + path}
		if t != nil && !holdsSecret(t) {
			o.Where += "=" + text
		}
		return o
	}
	m := visit(l.into, keys, "", "", func(v reflect.Value, path string, tag reflect.StructTag) {
		o := where2(path, v.Type())
		n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
		quoted := strings.HasPrefix(text, `"`) || strings.HasPrefix(text, "'")
		if !verbatim && (quoted || !isScalar(v.Type())) {
			parsed, f := parse([]byte(text))
			if f != nil {
				l.fault(o, path, f.msg, f.remedy)
				return
			}
			if n = parsed; n == nil { // empty: an empty list, or an entry with its defaults
				n = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"}
				if v.Kind() == reflect.Slice {
					n = &yaml.Node{Kind: yaml.SequenceNode}
				}
			}
		}
		d := decoder{l: l, at: func(*yaml.Node) Origin { return o }}
		d.value(v, n, path, tag, 0)
	})
	if m != nil {
		l.fault(where2(m.path, nil), m.path, m.msg, m.remedy)
	}
}

// syntax is why a text is not YAML.
type syntax struct {
	line, column int
	msg, remedy  string
}

// parse gives the root of the only document in data; nil if it is empty.
func parse(data []byte) (*yaml.Node, *syntax) {
	doc, err := parseDocument(data)
	if err == nil {
		if doc == nil || len(doc.Content) == 0 {
			return nil, nil
		}
		return doc.Content[0], nil
	}
	var second *secondDocument
	if errors.As(err, &second) {
		return nil, &syntax{second.line, second.column, "a second document begins", "keep one document in a file"}
	}
	// The library tells the line of the context, or none, or one too few. The fault lies in the first
	// line with which the text fails as the whole does.
	lines := bytes.SplitAfter(data, []byte("\n"))
	low, high := 1, len(lines)
	for low < high {
		mid := (low + high) / 2
		if _, e := parseDocument(bytes.Join(lines[:mid], nil)); e != nil && e.Error() == err.Error() {
			high = mid
		} else {
			low = mid + 1
		}
	}
	msg := lineNumber.ReplaceAllString(strings.TrimPrefix(err.Error(), "yaml: "), "")
	remedy := ""
	switch {
	case strings.HasPrefix(strings.TrimLeft(string(lines[low-1]), " "), "\t") || strings.Contains(msg, "cannot start any token"):
		remedy = "indent with spaces, and put text that begins with @, ` or % in quotes"
	case strings.Contains(msg, "unknown anchor"), strings.Contains(msg, "expected alphabetic or numeric character"):
		remedy = "put text that begins with * or & in quotes"
	case strings.Contains(msg, "mapping values are not allowed"):
		remedy = `put text that holds ": " in quotes, and begin the keys of one section in one column`
	case strings.Contains(msg, "did not find expected"), strings.Contains(msg, "could not find expected"):
		remedy = "look here and just above for a missing quote, bracket, colon or indentation"
	}
	return nil, &syntax{low, 0, "is not YAML: " + msg, remedy}
}

var lineNumber = regexp.MustCompile(`^line [0-9]+: `)

// secondDocument: only one was asked for.
type secondDocument struct{ line, column int }

func (s *secondDocument) Error() string { return "second document at line " + strconv.Itoa(s.line) }

func parseDocument(data []byte) (doc *yaml.Node, err error) {
	defer func() { // "internal error: … (please report)" of the library; a file must not end the process
		if p := recover(); p != nil {
			doc, err = nil, fmt.Errorf("%v", p)
		}
	}()
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var first, next yaml.Node
	if err := dec.Decode(&first); err == io.EOF {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	switch err := dec.Decode(&next); {
	case err == nil:
		return nil, &secondDocument{next.Line, next.Column}
	case err != io.EOF:
		return nil, err
	}
	return &first, nil
}

// reason is an error of the file system without the path, which the fault names already.
func reason(err error) string {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}
