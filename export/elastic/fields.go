package elastic

import (
	"bytes"
	"slices"

	"stint/export/otlp"
)

// Documents other than OpenTelemetry's are gathered as a list of fields with dotted paths, for a
// server takes a.b and an object a with a member b for the same. In the order of their paths they
// are written as one tree, in which no key comes twice.

// field is one of them.
type field struct {
	path  []byte   // segments with dots between; none is empty
	value otlp.Any // if text is empty
	text  []byte   // JSON
	ours  bool     // not an attribute: it stays even if there are too many fields
}

// gather appends the fields of a value that stands at prefix.key to list. level is that of the
// prefix, 0 for none. prefix and key must not be changed while the document is made.
func (e *Encoder) gather(list []field, arena *[]byte, prefix, key []byte, v otlp.Any, level int) []field {
	key = valid(key)
	path := key
	if start := len(*arena); len(prefix) > 0 || !clean(key) {
		if *arena = append(*arena, prefix...); len(prefix) > 0 {
			*arena = append(*arena, '.')
		}
		*arena = e.appendClean(*arena, key)
		path = (*arena)[start:len(*arena):len(*arena)]
	}
	if level += 1 + bytes.Count(key, dot); level > maxDepth {
		path = e.shallow(path, level-maxDepth)
		level = maxDepth
	}
	if v.Kind() != otlp.KindMap || level >= maxDepth || len(v.Bytes()) == 0 {
		return append(list, field{path: path, value: v})
	}
	for k, m := range v.Pairs().All() {
		list = e.gather(list, arena, path, k, m, level)
	}
	return list
}

var dot = []byte(".")

// clean says whether a key has no empty segments: a server refuses those.
func clean(key []byte) bool {
	return len(key) > 0 && key[0] != '.' && key[len(key)-1] != '.' && !bytes.Contains(key, []byte(".."))
}

// appendClean appends a key with an underscore for each empty segment.
func (e *Encoder) appendClean(dst, key []byte) []byte {
	if clean(key) {
		return append(dst, key...)
	}
	e.Changes.Keys++
	empty := true
	for _, c := range key {
		if c == '.' && empty {
			dst = append(dst, '_')
		}
		dst = append(dst, c)
		empty = c == '.'
	}
	if empty {
		dst = append(dst, '_')
	}
	return dst
}

// shallow is a path with underscores for its last n dots, which lead below maxDepth levels.
func (e *Encoder) shallow(path []byte, n int) []byte {
	path = bytes.Clone(path) // never seen in the wild
	for i := len(path) - 1; i >= 0 && n > 0; i-- {
		if path[i] == '.' {
			path[i] = '_'
			n--
		}
	}
	e.Changes.TooDeep++
	return path
}

// byPath is the order of paths as that of their segments: a, a.b, a-b.
func byPath(a, b field) int {
	x, y := a.path, b.path
	n := min(len(x), len(y))
	for i := range n {
		if p, q := x[i], y[i]; p != q {
			switch {
			case p == '.':
				return -1
			case q == '.':
				return 1
			}
			return int(p) - int(q)
		}
	}
	return len(x) - len(y)
}

// merge makes e.all of e.group and e.own, both in order, without those whose path comes again.
func (e *Encoder) merge() {
	slices.SortStableFunc(e.own, byPath)
	e.all = e.all[:0]
	for g, o := e.group, e.own; len(g) > 0 || len(o) > 0; {
		if len(o) == 0 || len(g) > 0 && byPath(g[0], o[0]) <= 0 {
			e.all = e.appendLatest(e.all, 0, g[0])
			g = g[1:]
		} else {
			e.all = e.appendLatest(e.all, 0, o[0])
			o = o[1:]
		}
	}
}

// appendLatest appends f to list, which begins at low, in place of one with the same path.
func (e *Encoder) appendLatest(list []field, low int, f field) []field {
	if last := len(list) - 1; last >= low && bytes.Equal(list[last].path, f.path) {
		e.Changes.Duplicates++
		list[last] = f
		return list
	}
	return append(list, f)
}

// appendDocument appends the document of e.group and e.own.
func (e *Encoder) appendDocument(dst []byte) []byte {
	e.merge()
	e.excess = e.excess[:0]
	dst = append(dst, '{')
	open := len(dst)
	dst = e.appendFields(dst, open, e.all, 0, 1)
	if len(e.excess) > 0 {
		text := append(e.text[:0], '{')
		for _, f := range e.excess {
			text = otlp.AppendJSONString(comma(text, 1), f.path)
			text = append(text, ':')
			text = e.appendValue(text, f.value, 1, anything)
		}
		e.text = append(text, '}')
		dst = append(comma(dst, open), `"`+excessKey+`":`...)
		dst = otlp.AppendJSONString(dst, e.text)
	}
	clear(e.all) // they point into requests
	clear(e.own)
	clear(e.excess)
	return append(dst, '}')
}

// appendTree appends a map within a list as an object whose keys stand on that level.
func (e *Encoder) appendTree(dst []byte, v otlp.Any, level int) []byte {
	low := len(e.nested)
	for k, m := range v.Pairs().All() {
		e.nested = e.gather(e.nested, &e.arena, nil, k, m, level-1)
	}
	slices.SortStableFunc(e.nested[low:], byPath)
	n := low
	for _, f := range e.nested[low:] {
		n = len(e.appendLatest(e.nested[:n], low, f))
	}
	e.nested = e.nested[:n]
	dst = append(dst, '{')
	dst = e.appendFields(dst, len(dst), e.nested[low:], 0, level)
	clear(e.nested[low:])
	e.nested = e.nested[:low]
	return append(dst, '}')
}

// appendFields appends the members that a list in order gives to the object that began at open, whose
// own path is skip bytes long, the dot behind it included, and whose keys stand on that level.
func (e *Encoder) appendFields(dst []byte, open int, list []field, skip, level int) []byte {
	for len(list) > 0 {
		key := segment(list[0].path[skip:])
		n := 1
		for n < len(list) && bytes.Equal(segment(list[n].path[skip:]), key) {
			n++
		}
		run := list[:n]
		list = list[n:]
		below := skip + len(key) + 1
		if n == 1 && len(run[0].path) < below {
			dst = e.appendField(dst, open, key, run[0], level)
			continue
		}
		if e.fields >= maxFields && !slices.ContainsFunc(run, func(f field) bool { return f.ours }) {
			e.Changes.TooMany += n
			e.excess = append(e.excess, run...)
			continue
		}
		e.fields++
		dst = otlp.AppendJSONString(comma(dst, open), key)
		dst = append(dst, ":{"...)
		inner := len(dst)
		if own := run[0]; len(own.path) < below { // a, followed by a.b
			run = run[1:]
			switch {
			case len(own.text) == 0 && own.value.Kind() == otlp.KindMap: // which is empty
			case slices.ContainsFunc(run, func(f field) bool { return bytes.Equal(segment(f.path[below:]), valueKey) }):
				e.Changes.Duplicates++
			default:
				e.Changes.Conflicts++
				dst = e.appendField(dst, inner, valueKey, own, level+1)
			}
		}
		dst = e.appendFields(dst, inner, run, below, level+1)
		dst = append(dst, '}')
	}
	return dst
}

var valueKey = []byte("value")

// segment is the part of a path before its first dot.
func segment(path []byte) []byte {
	if i := bytes.IndexByte(path, '.'); i >= 0 {
		return path[:i]
	}
	return path
}

// appendField appends one member, or keeps it for the excess.
func (e *Encoder) appendField(dst []byte, open int, key []byte, f field, level int) []byte {
	if e.fields >= maxFields && !f.ours {
		e.Changes.TooMany++
		e.excess = append(e.excess, f)
		return dst
	}
	e.fields++
	dst = otlp.AppendJSONString(comma(dst, open), key)
	dst = append(dst, ':')
	if len(f.text) > 0 {
		return append(dst, f.text...)
	}
	return e.appendValue(dst, f.value, level, indexed)
}
