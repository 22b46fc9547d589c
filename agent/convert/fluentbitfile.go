package convert

import (
	"bufio"
	"bytes"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// section is one of Fluent Bit's: [INPUT], or an entry of pipeline.inputs. Keys are compared without regard to case, and may
// come several times.
type section struct {
	kind  string // in lower case: service, input, filter, output, parser, multiline_parser
	place string
	props []prop
}

type prop struct {
	key, value, place string
	used              bool
}

// take gives the value of a key and marks it as handled. ok: it is there.
func (s *section) take(key string) (value string, ok bool) {
	for i := range s.props {
		if p := &s.props[i]; strings.EqualFold(p.key, key) {
			p.used = true
			if !ok {
				value, ok = p.value, true
			}
		}
	}
	return value, ok
}

// all gives every value of a key and marks them as handled.
func (s *section) all(key string) (all []*prop) {
	for i := range s.props {
		if p := &s.props[i]; strings.EqualFold(p.key, key) {
			p.used = true
			all = append(all, p)
		}
	}
	return all
}

// name is the plug-in.
func (s *section) name() string {
	n, _ := s.take("name")
	return strings.ToLower(n)
}

// what names a section in the report.
func (s *section) what(name string) string {
	if name == "" {
		return "[" + strings.ToUpper(s.kind) + "]"
	}
	return "[" + strings.ToUpper(s.kind) + "] " + name
}

var header = regexp.MustCompile(`(?m)^\s*\[([A-Za-z_]+)\]\s*$`)

// classic says whether a file has the form with [SECTIONS].
func classic(data []byte) bool {
	return header.Match(data) || bytes.Contains(data, []byte("@INCLUDE"))
}

const (
	maxIncludes = 100 // files
	maxDepth    = 8   // of includes in each other
)

// reader reads the classic form.
type reader struct {
	*target
	vars     map[string]string // of @SET
	sections []*section
	files    int
}

// readClassic reads a file and those that it includes. What is no section and no key is reported.
func readClassic(t *target, name string, data []byte) []*section {
	r := &reader{target: t, vars: map[string]string{}}
	r.read(name, data, 0)
	return r.sections
}

func (r *reader) read(name string, data []byte, depth int) {
	var at *section
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, maxFile)
	for n := 1; lines.Scan(); n++ {
		place := fmt.Sprintf("%s:%d", name, n)
		line := strings.TrimSpace(lines.Text())
		key, value, _ := strings.Cut(strings.ReplaceAll(line, "\t", " "), " ")
		value = strings.TrimSpace(value)
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case header.MatchString(line):
			at = &section{kind: strings.ToLower(strings.Trim(line, "[] \t")), place: place}
			r.sections = append(r.sections, at)
		case strings.EqualFold(key, "@SET"):
			k, v, _ := strings.Cut(value, "=")
			r.vars[strings.TrimSpace(k)] = strings.TrimSpace(v)
		case strings.EqualFold(key, "@INCLUDE"):
			r.include(filepath.Dir(name), value, place, depth)
		case at == nil:
			r.say(Undone, place, key, "stands before any section")
		default:
			at.props = append(at.props, prop{key: key, value: expand(value, r.vars), place: place})
		}
	}
	if err := lines.Err(); err != nil {
		r.say(Undone, name, "the rest of the file", err.Error())
	}
}

// include reads the files that a pattern names, beside the file that does.
func (r *reader) include(dir, pattern, place string, depth int) {
	if !filepath.IsAbs(pattern) {
		pattern = filepath.Join(dir, pattern)
	}
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		r.say(Undone, place, "@INCLUDE", "no such file: "+pattern+"; put it there, or convert it for itself")
		return
	}
	for _, name := range names {
		if r.files++; r.files > maxIncludes || depth >= maxDepth {
			r.say(Undone, place, "@INCLUDE", "too many files, or they include each other")
			return
		}
		data, err := read(name)
		if err != nil {
			r.say(Undone, place, "@INCLUDE", err.Error())
			continue
		}
		r.read(name, data, depth+1)
	}
}

// fluentBitYAML reads the YAML form.
func fluentBitYAML(t *target, root *node) (all []*section) {
	vars := map[string]string{}
	for _, p := range root.child("env").pairs() {
		vars[p.key] = p.value.text()
	}
	of := func(kind string, n *node) {
		s := &section{kind: kind, place: n.place()}
		for _, p := range n.pairs() {
			if p.key == "processors" {
				t.say(Undone, p.value.place(), kind+".processors", "see [FILTER] in docs/migrate.md, and pipelines.NAME.attributes")
				continue
			}
			for _, v := range p.value.items() {
				text := v.text()
				for _, sub := range v.pairs() { // rules of multiline_parsers, and lists of pairs
					text += " " + quotedRule(sub.value.text())
				}
				s.props = append(s.props, prop{key: p.key, value: expand(strings.TrimSpace(text), vars), place: p.value.place()})
			}
		}
		all = append(all, s)
	}
	for _, p := range root.pairs() {
		switch p.key {
		case "env":
		case "service":
			of("service", p.value)
		case "parsers", "multiline_parsers":
			for _, i := range p.value.items() {
				of(strings.TrimSuffix(p.key, "s"), i)
			}
		case "pipeline":
			for _, q := range p.value.pairs() {
				if !slices.Contains([]string{"inputs", "filters", "outputs"}, q.key) {
					t.say(Undone, q.value.place(), "pipeline."+q.key, "not a section that is known")
					continue
				}
				for _, i := range q.value.items() {
					of(strings.TrimSuffix(q.key, "s"), i)
				}
			}
		case "includes":
			t.say(Undone, p.value.place(), "includes", "convert these files for themselves, and put the results together")
		default:
			t.say(Undone, p.value.place(), p.key, "not a section that is known")
		}
	}
	return all
}

// quotedRule writes a part of a rule as the classic form does.
func quotedRule(s string) string { return `"` + s + `"` }
