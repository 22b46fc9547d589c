// Package convert makes a configuration of stint-agent out of one of Fluent Bit or of the OpenTelemetry Collector, and says
// line by line what became of it.
//
// Sources: Fluent Bit's manual 4.x (administration/configuring-fluent-bit, pipeline/*), the Collector's README of each
// component (opentelemetry-collector and -contrib), and docs/migrate.md for what maps to what.
package convert

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Level is what became of a piece of the other configuration.
type Level string

const (
	Done   Level = "ok"   // it stands in the result
	Moot   Level = "none" // there is nothing to set: stint does so anyway, or has no such part
	Undone Level = "todo" // it is not in the result; somebody has to decide
)

// Line is a line of the report.
type Line struct {
	Level Level
	Place string // file:line
	What  string // the piece, as it is called there
	Note  string // the key it became, why nothing is to be set, or what to do
}

// String is as it is printed.
func (l Line) String() string {
	return fmt.Sprintf("%-4s %s: %s: %s", l.Level, l.Place, l.What, l.Note)
}

// Result is a configuration of stint-agent, and how it came about.
type Result struct {
	YAML   []byte
	Report []Line
}

// Whole says whether everything was converted.
func (r *Result) Whole() bool {
	for _, l := range r.Report {
		if l.Level == Undone {
			return false
		}
	}
	return true
}

// maxFile bounds a file that is read, bytes.
const maxFile = 4 << 20

// File converts a file, with those that it includes. It fails if that can't be read, or is of neither program.
func File(name string) (*Result, error) {
	data, err := read(name)
	if err != nil {
		return nil, err
	}
	return convert(name, data)
}

func convert(name string, data []byte) (*Result, error) {
	t := newTarget()
	ext := strings.ToLower(filepath.Ext(name))
	if ext != ".yaml" && ext != ".yml" && classic(data) {
		sections := readClassic(t, name, data)
		return t.result(fluentBit(t, sections))
	}
	root, err := readYAML(name, data)
	if err != nil {
		return nil, err
	}
	switch {
	case root.child("receivers") != nil || root.child("exporters") != nil:
		return t.result(collector(t, root))
	case root.child("pipeline") != nil:
		return t.result(fluentBit(t, fluentBitYAML(t, root)))
	}
	return nil, fmt.Errorf("%s: neither a configuration of Fluent Bit ([INPUT] sections, or pipeline:) nor of the OpenTelemetry Collector (receivers:, exporters:)", name)
}

func read(name string) ([]byte, error) {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return nil, err
	case info.Size() > maxFile:
		return nil, fmt.Errorf("%s: %d bytes, which no configuration has; at most %d are read", name, info.Size(), maxFile)
	}
	return os.ReadFile(name)
}

// errNothing says that no pipeline was left.
var errNothing = errors.New("nothing of it can be done by stint-agent: no source of logs or metrics that it knows goes to an exporter that it knows")
