package config

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"
)

// Fault is one thing that is wrong with a configuration.
type Fault struct {
	File   string // the file, or what set the value: "env STINT_LOG_LEVEL", "--set log.level=loud"
	Line   int    // 0 where there is no file
	Column int    // 0 where it is not known
	Path   string // the key, e.g. tail.files[0].include; "" where it is not known
	Msg    string // what is wrong
	Remedy string // what would be right
}

// String is "stint.yaml:12:5: tail.max_line_bytes: what is wrong; what would be right".
func (f Fault) String() string {
	s := place(f.File, f.Line, f.Column)
	if f.Path != "" {
		s += ": " + f.Path
	}
	s += ": " + f.Msg
	if f.Remedy != "" {
		s += "; " + f.Remedy
	}
	return s
}

// Faults are all that is wrong with a configuration: the file's by line, then the overrides'.
type Faults []Fault

// Error is one line a fault.
func (fs Faults) Error() string {
	lines := make([]string, len(fs))
	for i, f := range fs {
		lines[i] = f.String()
	}
	return strings.Join(lines, "\n")
}

// Origin is where a value was written. The zero Origin is a default.
type Origin struct {
	Where  string // a file, "env NAME", "--set path=value", or what a default was made from
	Line   int    // of a file, else 0
	Column int
}

// String is default, file:line:column, env NAME or --set.
func (o Origin) String() string {
	if o.Where == "" {
		return "default"
	}
	if strings.HasPrefix(o.Where, "--set ") {
		return "--set"
	}
	return place(o.Where, o.Line, o.Column)
}

func place(where string, line, column int) string {
	if line > 0 {
		where += ":" + strconv.Itoa(line)
		if column > 0 {
			where += ":" + strconv.Itoa(column)
		}
	}
	return where
}

// Faults are all faults found so far, in the order in which a reader would look for them.
func (l *Loader) Faults() Faults {
	fs := slices.Clone(l.faults)
	slices.SortStableFunc(fs, func(a, b Fault) int {
		if a.Line > 0 && b.Line > 0 {
			return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
		}
		return cmp.Compare(b.Line, a.Line) // a file before anything that has no lines
	})
	return fs
}

// Check takes what the configuration's own Check reports: joined errors that each begin with the
// path of a key and ": ". They become faults at the place where the value, or the nearest section
// around it, was written. A key that has a fault already gets no second one.
func (l *Loader) Check(err error) {
	before := l.faults
	for _, err := range flatten(err) {
		path, msg := cutPath(err.Error())
		if slices.ContainsFunc(before, func(f Fault) bool { return f.Path != "" && within(path, f.Path) }) {
			continue
		}
		msg, remedy, _ := strings.Cut(msg, "; ")
		l.fault(l.nearest(path), path, msg, remedy)
	}
}

// flatten gives the leaves of joined errors.
func flatten(err error) []error {
	var joined interface{ Unwrap() []error }
	switch {
	case err == nil:
		return nil
	case errors.As(err, &joined):
		var all []error
		for _, e := range joined.Unwrap() {
			all = append(all, flatten(e)...)
		}
		return all
	}
	return []error{err}
}

// nearest is the origin of a key or of the closest section around it that was written.
func (l *Loader) nearest(path string) Origin {
	for {
		if o, ok := l.origins[path]; ok || path == "" {
			return o
		}
		path = parent(path)
	}
}

const maxFaults = 100

// fault notes a fault. The bound keeps a file of nonsense from filling a screen or the memory.
func (l *Loader) fault(o Origin, path, msg, remedy string) {
	if len(l.faults) > maxFaults {
		return
	}
	if len(l.faults) == maxFaults {
		path, msg, remedy = "", "more than "+strconv.Itoa(maxFaults)+" faults", "mend those first"
	}
	if o.Where == "" {
		o.Where = "default"
	}
	l.faults = append(l.faults, Fault{o.Where, o.Line, o.Column, path, msg, remedy})
}
