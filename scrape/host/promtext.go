package host

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Bounds of a file in the text format of Prometheus. A file beyond them is refused as a whole.
const (
	maxPromSeries = 10_000
	maxPromLabels = 64   // of a series
	maxPromName   = 256  // bytes of a name
	maxPromValue  = 4096 // bytes of a label's value or of a help text
)

// promKind is what a line "# TYPE" says.
type promKind uint8

const (
	promUntyped promKind = iota
	promGauge
	promCounter
	promHistogram
	promSummary
)

// promFamily is a metric of a file.
type promFamily struct {
	name, help, unit string
	kind             promKind
	typed, helped    bool
	points           []*promPoint // in the order of the file
	byLabels         map[string]*promPoint
}

// promPoint is a series of a family; of a histogram or summary, all that have the same labels.
type promPoint struct {
	labels     []promLabel // by name
	value      float64
	count, sum float64
	has        promParts
	steps      []promStep // of a histogram: how many are at most so large; of a summary: quantiles
}

type promParts uint8

const (
	hasValue promParts = 1 << iota
	hasCount
	hasSum
)

type promStep struct{ at, value float64 }

type promLabel struct{ name, value string }

var (
	errPromName   = errors.New("not a name")
	errPromQuote  = errors.New("a value without its closing quote")
	errPromValue  = errors.New("not a number")
	errPromTime   = errors.New("a timestamp, or something else, behind the value; the time is that of the scrape")
	errPromEscape = errors.New("a backslash before something else than a backslash, a quote or n")
	errPromBraces = errors.New("not a list of labels in braces")
	errPromEnd    = errors.New("no newline at the end; write to another name and rename")
)

// parseProm reads a file in Prometheus' text format (version 0.0.4), strictly: a name twice, a
// line that is cut off, or a histogram that contradicts itself refuses the file. Families come
// in the order of their first line. Errors show the line's number, not its content: the file
// may be a link to something that is nobody's business.
func parseProm(b []byte) ([]*promFamily, error) {
	p := promParser{byName: map[string]*promFamily{}}
	if len(b) > 0 && b[len(b)-1] != '\n' {
		return nil, errPromEnd
	}
	if !utf8.Valid(b) {
		return nil, errors.New("not UTF-8")
	}
	for n := 1; len(b) > 0; n++ {
		i := bytes.IndexByte(b, '\n')
		l := string(b[:i])
		b = b[i+1:]
		if err := p.line(strings.TrimLeft(l, " \t")); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	for _, f := range p.families {
		for _, q := range f.points {
			if err := f.check(q); err != nil {
				return nil, fmt.Errorf("%s: %w", f.name, err)
			}
		}
	}
	return slices.DeleteFunc(p.families, func(f *promFamily) bool { return len(f.points) == 0 }), nil
}

type promParser struct {
	families []*promFamily
	byName   map[string]*promFamily
	series   int
}

func (p *promParser) line(l string) error {
	switch {
	case l == "":
		return nil
	case l[0] == '#':
		return p.comment(l[1:])
	}
	return p.sample(l)
}

// comment takes in "# HELP name text", "# TYPE name type" and OpenMetrics' "# UNIT name unit".
func (p *promParser) comment(l string) error {
	word, l := promWord(l)
	if word != "HELP" && word != "TYPE" && word != "UNIT" {
		return nil
	}
	name, rest := promWord(l)
	if !isPromName(name, true) {
		return errPromName
	}
	rest = strings.TrimLeft(rest, " \t")
	f := p.family(name)
	switch word {
	case "HELP":
		if f.helped {
			return fmt.Errorf("a second HELP of %s", name)
		}
		if len(rest) > maxPromValue {
			return fmt.Errorf("HELP of %s has over %d bytes", name, maxPromValue)
		}
		f.helped = true
		var err error
		f.help, err = promUnescape(rest)
		return err
	case "UNIT":
		f.unit = promUnit(rest)
	case "TYPE":
		kinds := map[string]promKind{"untyped": promUntyped, "gauge": promGauge, "counter": promCounter, "histogram": promHistogram, "summary": promSummary}
		kind, ok := kinds[strings.ToLower(rest)]
		switch {
		case !ok:
			return fmt.Errorf("TYPE of %s is none of counter, gauge, histogram, summary, untyped", name)
		case f.typed || len(f.points) > 0:
			return fmt.Errorf("TYPE of %s comes twice, or behind its series", name)
		}
		f.kind, f.typed = kind, true
	}
	return nil
}

// promUnit is a unit of OpenMetrics in UCUM.
func promUnit(unit string) string {
	switch unit {
	case "seconds":
		return "s"
	case "bytes":
		return "By"
	case "ratio":
		return "1"
	case "celsius":
		return "Cel"
	case "volts":
		return "V"
	case "amperes":
		return "A"
	case "joules":
		return "J"
	case "grams":
		return "g"
	case "meters":
		return "m"
	}
	return ""
}

func (p *promParser) family(name string) *promFamily {
	f := p.byName[name]
	if f == nil {
		f = &promFamily{name: name, byLabels: map[string]*promPoint{}}
		p.byName[name] = f
		p.families = append(p.families, f)
	}
	return f
}

// sample takes in "name{label="value"} 1.5".
func (p *promParser) sample(l string) error {
	end := strings.IndexAny(l, "{ \t")
	if end < 0 {
		return errPromValue
	}
	name := l[:end]
	if !isPromName(name, true) {
		return errPromName
	}
	var labels []promLabel
	var err error
	l = strings.TrimLeft(l[end:], " \t")
	if strings.HasPrefix(l, "{") {
		if labels, l, err = promLabels(l[1:]); err != nil {
			return err
		}
	}
	word, rest := promWord(l)
	v, err := promNumber(word)
	if err != nil {
		return err
	}
	if rest != "" {
		return errPromTime
	}
	if p.series++; p.series > maxPromSeries {
		return fmt.Errorf("more than %d series", maxPromSeries)
	}
	return p.add(name, labels, v)
}

// add takes in a sample of a family, or of one of the parts of a histogram or summary.
func (p *promParser) add(name string, labels []promLabel, v float64) error {
	f, part := p.byName[name], ""
	for _, suffix := range []string{"_bucket", "_count", "_sum"} {
		base, ok := strings.CutSuffix(name, suffix)
		if of := p.byName[base]; f == nil && ok && of != nil && (of.kind == promHistogram || of.kind == promSummary && suffix != "_bucket") {
			f, part = of, suffix
		}
	}
	if f == nil {
		f = p.family(name)
	}
	step, at := "", math.NaN()
	switch {
	case f.kind == promHistogram && part == "_bucket":
		step = "le"
	case f.kind == promHistogram && part == "":
		return fmt.Errorf("%s is a histogram, which has no such series", f.name)
	case f.kind == promSummary && part == "":
		step = "quantile"
	}
	if step != "" {
		i := slices.IndexFunc(labels, func(l promLabel) bool { return l.name == step })
		if i < 0 {
			return fmt.Errorf("%s without the label %s", name, step)
		}
		var err error
		if at, err = promNumber(labels[i].value); err != nil || math.IsNaN(at) {
			return fmt.Errorf("label %s of %s: %w", step, name, errPromValue)
		}
		labels = slices.Delete(labels, i, i+1)
	}
	if own := map[promKind]string{promHistogram: "le", promSummary: "quantile"}[f.kind]; own != "" &&
		slices.ContainsFunc(labels, func(l promLabel) bool { return l.name == own }) {
		return fmt.Errorf("%s has the label %s", name, own)
	}
	q := f.point(labels)
	twice := false
	switch {
	case step != "":
		twice = slices.ContainsFunc(q.steps, func(s promStep) bool { return s.at == at })
		q.steps = append(q.steps, promStep{at, v})
	case part == "_count":
		twice, q.count, q.has = q.has&hasCount != 0, v, q.has|hasCount
	case part == "_sum":
		twice, q.sum, q.has = q.has&hasSum != 0, v, q.has|hasSum
	default:
		twice, q.value, q.has = q.has&hasValue != 0, v, q.has|hasValue
	}
	if twice {
		return fmt.Errorf("a series of %s comes twice", f.name)
	}
	return nil
}

// point finds or makes the point of these labels, which are sorted.
func (f *promFamily) point(labels []promLabel) *promPoint {
	key := promKey(labels)
	q := f.byLabels[key]
	if q == nil {
		q = &promPoint{labels: labels}
		f.byLabels[key] = q
		f.points = append(f.points, q)
	}
	return q
}

// promKey tells sets of labels apart: names have no NUL, and values stand quoted.
func promKey(labels []promLabel) string {
	var b []byte
	for _, l := range labels {
		b = strconv.AppendQuote(append(append(b, l.name...), 0), l.value)
	}
	return string(b)
}

// check looks whether a point is whole, and makes one of its parts where they can be computed.
func (f *promFamily) check(q *promPoint) error {
	natural := func(v float64) bool { return v >= 0 && v <= 1<<53 && v == math.Trunc(v) }
	switch f.kind {
	case promCounter:
		if q.value < 0 {
			return errors.New("a counter below 0")
		}
	case promSummary:
		slices.SortStableFunc(q.steps, func(a, b promStep) int { return cmp.Compare(a.at, b.at) })
		if !natural(q.count) {
			return errors.New("a count that is no natural number")
		}
		if len(q.steps) > 0 && (q.steps[0].at < 0 || q.steps[len(q.steps)-1].at > 1) {
			return errors.New("a quantile that is not from 0 to 1")
		}
	case promHistogram:
		slices.SortStableFunc(q.steps, func(a, b promStep) int { return cmp.Compare(a.at, b.at) })
		n := len(q.steps)
		if n > 0 && math.IsInf(q.steps[n-1].at, 1) {
			if q.has&hasCount != 0 && q.count != q.steps[n-1].value {
				return errors.New("the bucket +Inf is not the count")
			}
			q.count, q.has = q.steps[n-1].value, q.has|hasCount
			q.steps = q.steps[:n-1]
		}
		if q.has&hasCount == 0 {
			return errors.New("a histogram without a bucket +Inf and without a count")
		}
		below := 0.0
		for _, s := range append(slices.Clip(q.steps), promStep{math.Inf(1), q.count}) {
			if !natural(s.value) || s.value < below {
				return errors.New("a bucket that is no natural number, or is less than the one before")
			}
			below = s.value
		}
	}
	return nil
}

// promWord cuts the first word off.
func promWord(l string) (word, rest string) {
	l = strings.TrimLeft(l, " \t")
	if i := strings.IndexAny(l, " \t"); i >= 0 {
		return l[:i], l[i:]
	}
	return l, ""
}

// promNumber reads a float64. Hexadecimal ones and underscores, which Go knows, are not of the
// format.
func promNumber(word string) (float64, error) {
	if strings.ContainsAny(word, "pPxX_") {
		return 0, errPromValue
	}
	v, err := strconv.ParseFloat(word, 64)
	if err != nil {
		return 0, errPromValue
	}
	return v, nil
}

// promLabels reads the labels behind an opening brace, sorts them, and returns what follows the
// closing one.
func promLabels(l string) (labels []promLabel, rest string, err error) {
	for {
		l = strings.TrimLeft(l, " \t")
		if l, ok := strings.CutPrefix(l, "}"); ok {
			slices.SortStableFunc(labels, func(a, b promLabel) int { return cmp.Compare(a.name, b.name) })
			for i := 1; i < len(labels); i++ {
				if labels[i].name == labels[i-1].name {
					return nil, "", fmt.Errorf("label %s comes twice", labels[i].name)
				}
			}
			return labels, l, nil
		}
		name, after, ok := strings.Cut(l, "=")
		name = strings.TrimRight(name, " \t")
		if !ok || !isPromName(name, false) {
			return nil, "", errPromBraces
		}
		after, ok = strings.CutPrefix(strings.TrimLeft(after, " \t"), `"`)
		if !ok {
			return nil, "", errPromBraces
		}
		var value string
		if value, l, err = promQuoted(after); err != nil {
			return nil, "", err
		}
		labels = append(labels, promLabel{name, value})
		if len(labels) > maxPromLabels {
			return nil, "", fmt.Errorf("more than %d labels", maxPromLabels)
		}
		l = strings.TrimLeft(l, " \t")
		if after, ok := strings.CutPrefix(l, ","); ok {
			l = after
		} else if !strings.HasPrefix(l, "}") {
			return nil, "", errPromBraces
		}
	}
}

// promQuoted reads a value behind its opening quote, and returns what follows the closing one.
func promQuoted(l string) (value, rest string, err error) {
	for i := 0; i < len(l); i++ {
		switch {
		case l[i] == '\\':
			i++
		case l[i] == '"' && i > maxPromValue:
			return "", "", fmt.Errorf("a value of over %d bytes", maxPromValue)
		case l[i] == '"':
			value, err = promUnescape(l[:i])
			return value, l[i+1:], err
		}
	}
	return "", "", errPromQuote
}

// promUnescape undoes the backslashes before a backslash, a quote and n, for a newline.
func promUnescape(s string) (string, error) {
	if !strings.Contains(s, `\`) {
		return s, nil
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '\\' {
			if i++; i == len(s) {
				return "", errPromEscape
			}
			switch c = s[i]; c {
			case 'n':
				c = '\n'
			case '\\', '"':
			default:
				return "", errPromEscape
			}
		}
		b = append(b, c)
	}
	return string(b), nil
}

// isPromName tells whether s is the name of a metric or, without colons, of a label.
func isPromName(s string, metric bool) bool {
	for i, c := range []byte(s) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == ':' && metric
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != "" && len(s) <= maxPromName
}
