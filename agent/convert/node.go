package convert

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// node is a value of a YAML file, with its place.
type node struct {
	*yaml.Node
	file string
}

// readYAML reads the one document of a file.
func readYAML(file string, data []byte) (*node, error) {
	var doc yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(data))
	if err := d.Decode(&doc); err == io.EOF {
		return nil, fmt.Errorf("%s: empty", file)
	} else if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) == 0 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s: no keys with values", file)
	}
	return &node{doc.Content[0], file}, nil
}

func (n *node) place() string { return fmt.Sprintf("%s:%d", n.file, n.Line) }

// resolved is what an alias stands for.
func (n *node) resolved() *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n.Node
}

// pair is a key with its value.
type pair struct {
	key   string
	value *node
}

// pairs are the keys of a mapping; none of anything else. A key's place is that of its value where that has one.
func (n *node) pairs() (all []pair) {
	if n == nil {
		return nil
	}
	m := n.resolved()
	if m.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(m.Content); i += 2 {
		v := *m.Content[i+1]
		v.Line = m.Content[i].Line
		all = append(all, pair{m.Content[i].Value, &node{&v, n.file}})
	}
	return all
}

// child is the value of a key, or nil.
func (n *node) child(key string) *node {
	for _, p := range n.pairs() {
		if p.key == key {
			return p.value
		}
	}
	return nil
}

// items are the entries of a list; a single value is a list of one.
func (n *node) items() (all []*node) {
	if n == nil {
		return nil
	}
	list := n.resolved()
	if list.Kind != yaml.SequenceNode {
		return []*node{n}
	}
	for _, c := range list.Content {
		all = append(all, &node{c, n.file})
	}
	return all
}

// text is a single value as it is written, with variables as stint has them; "" of anything else.
func (n *node) text() string {
	if n == nil || n.resolved().Kind != yaml.ScalarNode || n.resolved().Tag == "!!null" {
		return ""
	}
	return expand(n.resolved().Value, nil)
}

// texts are the texts of a list.
func (n *node) texts() (all []string) {
	for _, i := range n.items() {
		if s := i.text(); s != "" {
			all = append(all, s)
		}
	}
	return all
}

// value is a text, or a number or truth if it is written as one.
func (n *node) value() any {
	var v any
	if r := n.resolved(); r.Tag == "!!int" || r.Tag == "!!float" || r.Tag == "!!bool" {
		if r.Decode(&v) == nil {
			return v
		}
	}
	return n.text()
}

// splitID takes the name of a component apart: otlp/x is of the type otlp.
func splitID(id string) (typ, name string) {
	typ, name, _ = strings.Cut(id, "/")
	return typ, name
}
