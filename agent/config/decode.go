package config

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

const (
	maxDepth = 64
	maxNodes = 100_000
)

// decoder writes a tree of nodes into values. A value with a fault keeps what it had.
type decoder struct {
	l      *Loader
	at     func(n *yaml.Node) Origin // where a node was written
	expand bool                      // ${…} in scalars
	nodes  int                       // visited so far
	open   []*yaml.Node              // nodes with an anchor that are being decoded
}

// value decodes n into v. tag is that of the field that holds v, also for entries of its list or map.
func (d *decoder) value(v reflect.Value, n *yaml.Node, path string, tag reflect.StructTag, depth int) {
	if d.nodes++; d.nodes > maxNodes || depth > maxDepth {
		if d.nodes < 2*maxNodes { // say it once
			d.nodes = 2 * maxNodes
			d.l.fault(d.at(n), path, fmt.Sprintf("the configuration has over %d nodes or %d levels, aliases counted each time", maxNodes, maxDepth), "use fewer aliases")
		}
		return
	}
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Anchor != "" {
		if slices.Contains(d.open, n) {
			d.l.fault(d.at(n), path, fmt.Sprintf("the anchor &%s contains itself", n.Anchor), "write the value out")
			return
		}
		d.open = append(d.open, n)
		defer func() { d.open = d.open[:len(d.open)-1] }()
	}
	if n.Style&yaml.TaggedStyle != 0 && !slices.Contains([]string{"!!str", "!!int", "!!float", "!!bool", "!!null", "!!map", "!!seq"}, n.Tag) {
		d.l.fault(d.at(n), path, fmt.Sprintf("the tag %s is not used here", n.Tag), "remove it")
		return
	}
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			if isNull(n) {
				return
			}
			v.Set(fresh(v.Type().Elem()).Addr())
		}
		v = v.Elem()
	}
	if isNull(n) && path != "" {
		return // "key:" is the key's default
	}
	switch v.Kind() {
	case reflect.Struct:
		if isNull(n) {
			return // a file with nothing but "null"
		}
		if key := shorthand(v); n.Kind == yaml.ScalarNode && key != "" {
			i := slices.Index(names(v.Type()), key)
			f := fields(v.Type())[i]
			d.value(v.FieldByIndex(f.Index), n, join(path, key), f.Tag, depth+1)
			return
		}
		if n.Kind != yaml.MappingNode {
			d.l.fault(d.at(n), path, what(n)+" where a section belongs", "known keys: "+strings.Join(names(v.Type()), ", "))
			return
		}
		d.section(v, n, path, depth)
	case reflect.Map:
		if n.Kind != yaml.MappingNode {
			d.l.fault(d.at(n), path, what(n)+" where keys with values belong", "write "+path+": {key: value}")
			return
		}
		d.mapping(v, n, path, tag, depth)
	case reflect.Slice:
		if n.Kind != yaml.SequenceNode {
			remedy := "write a list: [ … ]"
			if n.Kind == yaml.ScalarNode && isScalar(v.Type().Elem()) && !isSecret(v.Type().Elem()) {
				remedy = "write [" + quoted(n.Value) + "]"
			}
			d.l.fault(d.at(n), path, what(n)+" where a list belongs", remedy)
			return
		}
		d.list(v, n, path, tag, depth)
	default:
		if n.Kind != yaml.ScalarNode {
			d.l.fault(d.at(n), path, what(n)+" where "+typeName(v.Type(), tag)+" belongs", "give a single value")
			return
		}
		d.scalar(v, n, path, tag)
	}
}

// shorthand is the key that a single value in place of a section means; "" for most sections.
func shorthand(v reflect.Value) string {
	if s, ok := v.Interface().(interface{ Shorthand() string }); ok {
		return s.Shorthand()
	}
	return ""
}

// what names the shape of a node.
func what(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "keys with values"
	case yaml.SequenceNode:
		return "a list"
	}
	return "a single value"
}

func (d *decoder) section(v reflect.Value, n *yaml.Node, path string, depth int) {
	known := names(v.Type())
	fs := fields(v.Type())
	d.pairs(n, path, func(key, value *yaml.Node) {
		i := slices.Index(known, key.Value)
		below := join(path, key.Value)
		if i < 0 {
			msg, remedy := unknown(key.Value, known)
			if !strings.HasPrefix(remedy, "did you mean") && len(d.l.faults) < maxFaults {
				if elsewhere := d.l.findKey(key.Value); elsewhere != "" {
					remedy = "did you mean " + elsewhere
				}
			}
			d.l.fault(d.at(key), below, msg, remedy)
			return
		}
		if !isNull(value) {
			d.note(below, key, value)
		}
		d.value(v.FieldByIndex(fs[i].Index), value, below, fs[i].Tag, depth+1)
	})
}

func (d *decoder) mapping(v reflect.Value, n *yaml.Node, path string, tag reflect.StructTag, depth int) {
	d.pairs(n, path, func(key, value *yaml.Node) {
		below := join(path, key.Value)
		entry, err := mapEntry(v, key.Value)
		if err != nil {
			msg, remedy, _ := strings.Cut(err.Error(), "; ")
			d.l.fault(d.at(key), below, msg, remedy)
			return
		}
		d.note(below, key, value)
		d.value(entry, value, below, tag, depth+1)
		setEntry(v, key.Value, entry)
	})
}

func (d *decoder) list(v reflect.Value, n *yaml.Node, path string, tag reflect.StructTag, depth int) {
	for p := range d.l.origins { // what this list replaces
		if within(p, path) && p != path {
			delete(d.l.origins, p)
		}
	}
	d.l.origins[path] = d.at(n)
	all := reflect.Zero(v.Type())
	for i, e := range n.Content {
		below := index(path, i)
		entry := fresh(v.Type().Elem())
		d.l.origins[below] = d.at(e)
		d.value(entry, e, below, tag, depth+1)
		all = reflect.Append(all, entry)
		if d.nodes > maxNodes {
			break
		}
	}
	v.Set(all)
}

// pairs calls do on the keys and values of a mapping; keys that are no text or come twice are faults.
func (d *decoder) pairs(n *yaml.Node, path string, do func(key, value *yaml.Node)) {
	seen := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content) && d.nodes <= maxNodes; i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		switch first := seen[key.Value]; {
		case key.Kind != yaml.ScalarNode:
			d.l.fault(d.at(key), path, what(key)+" where a key belongs", "write key: value")
		case key.Tag == "!!merge":
			d.l.fault(d.at(key), join(path, "<<"), "merge keys are not supported", "write the keys out, or use an alias for the whole value: key: *name")
		case first != nil:
			d.l.fault(d.at(key), join(path, key.Value), fmt.Sprintf("is here a second time, first at line %d", first.Line), "remove one of the two")
		default:
			seen[key.Value] = key
			do(key, value)
		}
	}
}

// note keeps where a key was written: its value for what is one value, else the key itself.
func (d *decoder) note(path string, key, value *yaml.Node) {
	if value.Kind == yaml.AliasNode || value.Kind == yaml.ScalarNode && !isNull(value) {
		key = value
	}
	d.l.origins[path] = d.at(key)
}

var durationType = reflect.TypeFor[time.Duration]()

// scalar decodes one text. The target decides what the text means; quotes don't.
func (d *decoder) scalar(v reflect.Value, n *yaml.Node, path string, tag reflect.StructTag) {
	text, shown := n.Value, quoted(n.Value)
	if d.expand {
		out, bad := d.l.expand(text)
		if bad != nil {
			d.l.fault(d.at(n), path, bad.msg, bad.remedy)
			return
		}
		if out != text {
			shown = fmt.Sprintf("%s (from %s)", quoted(out), n.Value)
		}
		text = out
	}
	fault := func(msg, remedy string) {
		d.l.fault(d.at(n), path, msg, remedy)
	}
	if !utf8.ValidString(text) {
		fault("the text is not UTF-8", "give valid UTF-8")
		return
	}
	d.l.origins[path] = d.at(n)

	t := v.Type()
	switch {
	case t == durationType:
		x, err := time.ParseDuration(text)
		if err != nil {
			if f, err := strconv.ParseFloat(text, 64); err == nil && f > 0 {
				fault(shown+" has no unit", fmt.Sprintf("write %ss for seconds or %sms for milliseconds", text, text))
				return
			}
			fault(shown+" is not a duration", "give a number with a unit (ms, s, m, h), e.g. "+example(v, "5s"))
			return
		}
		v.SetInt(int64(x))
	case t.Kind() == reflect.String:
		if words := tag.Get("enum"); words != "" {
			allowed := strings.Split(words, ",")
			if !slices.Contains(allowed, text) {
				remedy := "write " + oneOf(allowed)
				if near := nearest(text, allowed); near != "" {
					remedy = "did you mean " + near
				}
				fault(fmt.Sprintf("%s is not one of %s", shown, strings.Join(allowed, ", ")), remedy)
				return
			}
		}
		if isSecret(t) && text == "***" {
			fault("is the mask that stands for a secret, not the secret", "give the value, e.g. ${env:NAME} or ${file:/path}")
			return
		}
		v.SetString(text)
	case t.Kind() == reflect.Bool:
		switch text {
		case "true", "false":
			v.SetBool(text == "true")
		case "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "1":
			fault(shown+" is neither true nor false", "write true")
		case "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", "n", "0":
			fault(shown+" is neither true nor false", "write false")
		default:
			fault(shown+" is neither true nor false", "write true or false")
		}
	case v.CanInt():
		x, err := strconv.ParseInt(strings.TrimPrefix(text, "+"), 10, t.Bits())
		if err != nil {
			fault(wholeNumber(shown, err), give(v, text, tag.Get("unit")))
			return
		}
		v.SetInt(x)
	case v.CanUint():
		x, err := strconv.ParseUint(strings.TrimPrefix(text, "+"), 10, t.Bits())
		if err != nil {
			fault(wholeNumber(shown, err), give(v, text, tag.Get("unit")))
			return
		}
		v.SetUint(x)
	case v.CanFloat():
		x, err := strconv.ParseFloat(text, t.Bits())
		if err != nil || x-x != 0 || strings.ContainsAny(text, "xXpP_") {
			fault(shown+" is not a number", "give a number, e.g. "+example(v, "0.5"))
			return
		}
		v.SetFloat(x)
	default:
		panic(fmt.Sprintf("bug: a setting of type %s at %s", t, path))
	}
}

func wholeNumber(shown string, err error) string {
	if strings.HasSuffix(err.Error(), strconv.ErrRange.Error()) {
		return shown + " is too large"
	}
	return shown + " is not a whole number"
}

// give is the remedy for a number: the same size in bytes where the text is a size with a suffix.
func give(v reflect.Value, text, unit string) string {
	if unit == "" {
		return "give a whole number, e.g. " + example(v, "1")
	}
	if unit == "bytes" {
		digits := strings.TrimRight(text, "kKMGTiBb ")
		if n, err := strconv.ParseInt(digits, 10, 32); err == nil && n > 0 {
			switch strings.TrimRight(strings.TrimSpace(text[len(digits):]), "Bb") {
			case "k", "K":
				return fmt.Sprintf("give bytes: %d", n*1000)
			case "Ki":
				return fmt.Sprintf("give bytes: %d", n<<10)
			case "M":
				return fmt.Sprintf("give bytes: %d", n*1000_000)
			case "Mi":
				return fmt.Sprintf("give bytes: %d", n<<20)
			case "G":
				return fmt.Sprintf("give bytes: %d", n*1000_000_000)
			case "Gi":
				return fmt.Sprintf("give bytes: %d", n<<30)
			}
		}
	}
	return "give " + unit + ", e.g. " + example(v, "1")
}

// example is the value a setting has now, its default, or another where that is zero.
func example(v reflect.Value, other string) string {
	if v.IsZero() {
		return other
	}
	return text(v)
}

// findKey is the path of the only setting whose last key is this one; "" if there are several.
func (l *Loader) findKey(key string) string {
	found := ""
	for _, s := range Settings(l.into.Interface()) {
		if s.Path[strings.LastIndexByte(s.Path, '.')+1:] == key {
			if found != "" {
				return ""
			}
			found = s.Path
		}
	}
	return found
}
