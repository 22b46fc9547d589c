package rawjson

import (
	"fmt"
	"strings"
)

// Paths are the fields that are left out of an object: a tree of keys. nil leaves out nothing.
type Paths struct {
	here bool              // what stands here is left out
	keys map[string]*Paths // by key of an object; holds what any says, too
	any  *Paths            // any other key, and the elements of a list
}

// ParsePaths reads paths such as metadata.managedFields, spec.containers[*].env or
// metadata.annotations[example.com/note]: keys with dots between them, or in brackets when they
// have dots themselves; * is any key, and each element of a list.
func ParsePaths(list []string) (*Paths, error) {
	all := make([][]string, 0, len(list))
	for _, s := range list {
		path, err := SplitPath(s)
		if err != nil {
			return nil, err
		}
		all = append(all, path)
	}
	return newPaths(all), nil
}

// SplitPath gives the keys of one path.
func SplitPath(s string) (path []string, err error) {
	rest := "." + s
	for rest != "" {
		key := ""
		if rest[0] == '[' {
			key, rest, _ = strings.Cut(rest[1:], "]")
		} else {
			n := strings.IndexAny(rest[1:], ".[") + 1
			if n == 0 {
				n = len(rest)
			}
			key, rest = rest[1:n], rest[n:]
		}
		if key == "" || strings.ContainsAny(key, "[]") || rest != "" && rest[0] != '.' && rest[0] != '[' {
			return nil, fmt.Errorf("%q is not a path; write it like metadata.annotations[example.com/note] or spec.containers[*].env", s)
		}
		path = append(path, key)
	}
	return path, nil
}

func newPaths(paths [][]string) *Paths {
	if len(paths) == 0 {
		return nil
	}
	p := &Paths{keys: map[string]*Paths{}}
	var anyKey [][]string
	tails := map[string][][]string{}
	for _, path := range paths {
		switch {
		case len(path) == 0:
			p.here = true
		case path[0] == "*":
			anyKey = append(anyKey, path[1:])
		default:
			tails[path[0]] = append(tails[path[0]], path[1:])
		}
	}
	p.any = newPaths(anyKey)
	for key, tail := range tails {
		p.keys[key] = newPaths(append(tail, anyKey...))
	}
	return p
}

// child is what is left out below a key, nil for the element of a list; dropped says that the whole
// of it is.
func (p *Paths) child(key []byte) (_ *Paths, dropped bool) {
	if p == nil {
		return nil, false
	}
	c, known := p.keys[string(key)]
	if !known || key == nil {
		c = p.any
	}
	return c, c != nil && c.here
}
