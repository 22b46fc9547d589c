package scrape

import (
	"bytes"
	"cmp"
	"net/http"
	"slices"
	"sort"
	"strconv"
	"strings"

	"stint/export/otlp"
)

const (
	// maxServing bounds the requests that are answered at a time.
	maxServing = 2
	// maxLabelNames bounds the names of labels that are remembered. All tables have some 200.
	maxLabelNames = 4096
)

// ServeHTTP prints what is kept in Prometheus' text format 0.0.4, in the order of names and labels.
// It puts together one metric after the other: a slow client costs the memory of one.
func (l *Latest) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	select {
	case l.serving <- struct{}{}:
		defer func() { <-l.serving }()
	default:
		w.Header().Set("Retry-After", "1")
		http.Error(w, "as many requests as are answered at a time are under way; ask again later", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	var p printer
	for _, name := range l.names() {
		if _, err := w.Write(l.print(&p, name)); err != nil {
			return // the client has gone
		}
	}
}

// printer is the memory that is used for one metric after the other.
type printer struct {
	samples []sample
	labels  []byte // of the samples
	pairs   []labelPair
	out     []byte
}

// sample is a point with its labels, from begin to end of printer.labels.
type sample struct {
	begin, end int
	time       uint64 // ns since 1970
	own        bool   // the time is printed
	value      float64
}

// print gives the text of a metric; nothing if it is not there any more.
func (l *Latest) print(p *printer, name string) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	p.out, p.samples, p.labels = p.out[:0], p.samples[:0], p.labels[:0]
	f := l.families[name]
	if f == nil {
		return nil
	}
	for e := range f.entries {
		if l.newest.Sub(e.at) > latestFor {
			continue
		}
		otlp.EachPoint(e.data, func(q otlp.EncodedPoint) {
			p.pairs = p.pairs[:0]
			if e.origin != nil {
				p.pairs = append(p.pairs, e.origin.labels...)
			}
			otlp.EachAttr(q.Attrs, otlp.AttrsOfPoint, func(key string, v otlp.Value) {
				if text := v.Text(); text != "" { // which is no label in Prometheus
					p.pairs = append(p.pairs, labelPair{l.label(key), text})
				}
			})
			begin := len(p.labels)
			p.labels = appendLabels(p.labels, p.pairs)
			p.samples = append(p.samples, sample{begin, len(p.labels), q.Time, e.own, q.Value})
		})
	}
	if len(p.samples) == 0 {
		return nil
	}
	text := func(s sample) []byte { return p.labels[s.begin:s.end] }
	all := p.samples
	sort.Slice(all, func(i, j int) bool {
		return cmp.Or(bytes.Compare(text(all[i]), text(all[j])), cmp.Compare(all[j].time, all[i].time)) < 0
	})
	if f.help != "" {
		p.out = append(append(append(p.out, "# HELP "...), name...), ' ')
		p.out = append(appendEscaped(p.out, f.help, false), '\n')
	}
	p.out = append(append(append(append(append(p.out, "# TYPE "...), name...), ' '), f.kind...), '\n')
	for i, s := range p.samples {
		if i > 0 && bytes.Equal(text(s), text(p.samples[i-1])) {
			continue // an older one, as of a container that has been named since
		}
		p.out = append(append(p.out, name...), text(s)...)
		p.out = strconv.AppendFloat(append(p.out, ' '), s.value, 'g', -1, 64)
		if s.own {
			p.out = strconv.AppendInt(append(p.out, ' '), int64(s.time/1e6), 10)
		}
		p.out = append(p.out, '\n')
	}
	return p.out
}

// label remembers the names of labels.
func (l *Latest) label(key string) string {
	name, ok := l.labels[key]
	if !ok {
		name = labelName(key)
		if len(l.labels) < maxLabelNames {
			l.labels[key] = name
		}
	}
	return name
}

// appendLabels appends labels in order. Values of one name are joined by ; as Prometheus does.
func appendLabels(dst []byte, pairs []labelPair) []byte {
	slices.SortStableFunc(pairs, func(a, b labelPair) int { return strings.Compare(a.name, b.name) })
	for i, q := range pairs {
		switch {
		case i > 0 && pairs[i-1].name == q.name:
			dst = append(dst[:len(dst)-1], ';')
		case i > 0:
			dst = append(append(append(dst, ','), q.name...), `="`...)
		default:
			dst = append(append(append(dst, '{'), q.name...), `="`...)
		}
		dst = append(appendEscaped(dst, q.value, true), '"')
	}
	if len(pairs) > 0 {
		dst = append(dst, '}')
	}
	return dst
}

// appendEscaped appends text as it stands in a line: in quotes, or as help.
func appendEscaped(dst []byte, s string, quoted bool) []byte {
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\\':
			dst = append(dst, `\\`...)
		case c == '\n':
			dst = append(dst, `\n`...)
		case c == '"' && quoted:
			dst = append(dst, `\"`...)
		default:
			dst = append(dst, c)
		}
	}
	return dst
}
