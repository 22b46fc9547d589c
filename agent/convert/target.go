package convert

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// target is the configuration that is made, in the order in which keys are set, and the report.
type target struct {
	root   *yaml.Node
	report []Line
}

func newTarget() *target { return &target{root: &yaml.Node{Kind: yaml.MappingNode}} }

// set sets a key, whose path it is; sections are made as needed. What was set before gives way.
func (t *target) set(value any, path ...string) {
	at := t.root
	for i, key := range path {
		next := entry(at, key)
		if next == nil {
			next = &yaml.Node{Kind: yaml.MappingNode}
			at.Content = append(at.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: key}, next)
		}
		if i == len(path)-1 {
			var n yaml.Node
			if err := n.Encode(value); err != nil {
				panic("bug: " + err.Error()) // only texts, numbers, truths and lists and maps of them are set
			}
			if n.Kind == yaml.MappingNode {
				n.Style = 0 // what is set in it later stands in lines of its own
			}
			*next = n
		}
		at = next
	}
}

// add appends to a list.
func (t *target) add(value any, path ...string) {
	list, _ := t.get(path...).([]any)
	t.set(append(list, value), path...)
}

// get is what was set, or nil.
func (t *target) get(path ...string) (value any) {
	at := t.root
	for _, key := range path {
		if at = entry(at, key); at == nil {
			return nil
		}
	}
	if err := at.Decode(&value); err != nil {
		return nil
	}
	return value
}

// entry is the value of a key of a mapping, or nil.
func entry(n *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

//go:noinline
func (t *target) say(level Level, place, what, note string) {
	t.report = append(t.report, Line{level, place, what, note})
}

// result prints what was made.
func (t *target) result(err error) (*Result, error) {
	r := &Result{Report: t.report}
	if err != nil {
		return r, err
	}
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(t.root); err != nil {
		return r, err
	}
	r.YAML = b.Bytes()
	return r, nil
}

// variable is how both programs name an environment variable in a value.
var variable = regexp.MustCompile(`\$\{(env:)?([A-Za-z_][A-Za-z0-9_]*)\}`)

// expand writes variables as stint does; those of vars are put in.
func expand(s string, vars map[string]string) string {
	return variable.ReplaceAllStringFunc(s, func(ref string) string {
		name := variable.FindStringSubmatch(ref)[2]
		if v, ok := vars[name]; ok {
			return v
		}
		return "${env:" + name + "}"
	})
}

// seconds reads a duration that may be a bare number of seconds, and writes it as stint does.
func seconds(s string) (string, bool) {
	if n, err := strconv.ParseFloat(s, 64); err == nil && n >= 0 && n < 1e9 {
		return strconv.FormatFloat(n, 'f', -1, 64) + "s", true
	}
	return s, regexp.MustCompile(`^[0-9.]+(ms|s|m|h)$`).MatchString(s)
}

// size reads 32k, 5MB, 1M or 1048576.
func size(s string) (int, bool) {
	s = strings.TrimSuffix(strings.ToLower(strings.TrimSpace(s)), "b")
	unit := 1
	switch {
	case strings.HasSuffix(s, "k"):
		unit = 1 << 10
	case strings.HasSuffix(s, "m"):
		unit = 1 << 20
	case strings.HasSuffix(s, "g"):
		unit = 1 << 30
	}
	n, err := strconv.Atoi(strings.TrimRight(s, "kmg"))
	return n * unit, err == nil && n >= 0 && n < 1<<30
}

// truth reads on, true, yes, 1 and their opposites.
func truth(s string) bool {
	switch strings.ToLower(s) {
	case "on", "true", "yes", "1":
		return true
	}
	return false
}
