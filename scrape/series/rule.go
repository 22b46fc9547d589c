package series

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"stint/export/otlp"
)

// What scrape.names may be: whose names metrics are sent under.
const (
	SemConv    = "semconv"    // OpenTelemetry's semantic conventions; so is ""
	Prometheus = "prometheus" // node_exporter's, cAdvisor's and the kubelet's, where they tell the same
	Both       = "both"
)

// Rule says under which name and labels another program tells what a metric of ours tells. The
// points of a metric that get the same name and the same labels are one, their sum: theirs is less
// detailed than ours.
type Rule struct {
	From string // our metric
	// If says which of its points: those with all of these values, as in "a=x|y b=z c!=w". An
	// attribute that a point lacks is empty. Empty: all.
	If string
	// Name is theirs. {attribute} in it stands for the attribute's value. It is a counter's if it
	// ends in _total, since Prometheus makes every counter end so; any other is sent as a gauge.
	Name  string
	Gauge bool // it is none, although its name ends in _total
	// Labels are theirs, by our attributes or as constants: `device=system.device mode="irq"`.
	// attribute:x is what follows the last x in the value of attribute, "x"attribute is that value
	// with x before it.
	Labels string
	Scale  float64 // what ours is multiplied by; 0 stands for 1
	Add    float64 // is added to that
	Fixed  bool    // the value is Add, whatever ours is
	// Extra says that ours has not what theirs needs: their points are those of a scraper of its
	// own, which reads the same files, and ours are left out as if they were renamed.
	Extra bool
}

// factor is what ours counts for.
func (r *Rule) factor() float64 {
	switch {
	case r.Fixed:
		return 0
	case r.Scale == 0:
		return 1
	}
	return r.Scale
}

// counter tells whether the metric of that name is a counter.
func (r *Rule) counter() bool { return strings.HasSuffix(r.Name, "_total") && !r.Gauge }

// Translation is the rules for a table of metrics, looked up once.
type Translation struct {
	table []Metric
	rules [][]parsed // by metric
	ours  []bool     // by metric: it is sent under our name
	alone bool       // none is
	mute  bool       // nothing is shown: other points are
}

// parsed is a rule, cut into its words.
type parsed struct {
	*Rule
	conditions []condition
	labels     []label
	same       bool // the labels are the attributes
}

// condition is a word of If.
type condition struct {
	attr   string
	values []string
	not    bool
}

// label is one of theirs: a constant, and the value of an attribute, or what follows after in it.
type label struct{ name, constant, attr, after string }

// NewTranslation looks up the rules for a table; nil where only our names are wanted. Rules of
// other tables are passed over.
func NewTranslation(names string, table []Metric, rules []Rule) *Translation {
	if names != Prometheus && names != Both {
		return nil
	}
	t := &Translation{table: table, rules: make([][]parsed, len(table)), ours: make([]bool, len(table))}
	for i := range table {
		if IsPrometheus(table[i].Name) {
			t.rules[i] = []parsed{{Rule: &Rule{From: table[i].Name, Name: table[i].Name, Gauge: table[i].Instrument == otlp.Gauge}, same: true}}
			continue
		}
		for j := range rules {
			if r := &rules[j]; r.From == table[i].Name {
				t.rules[i] = append(t.rules[i], r.parse())
			}
		}
		t.ours[i] = names == Both || len(t.rules[i]) == 0
	}
	return t
}

// Hide keeps metrics from being sent under our name: those that are there for the sake of theirs.
func (t *Translation) Hide(metrics ...int) {
	for _, m := range metrics {
		t.ours[m] = false
	}
}

// HideAll is Hide of all metrics: other points, of the same quantities, are sent under our names.
func (t *Translation) HideAll() {
	t.alone = true
	clear(t.ours)
}

// Mute keeps points from being shown: others, of the same quantities, are.
func (t *Translation) Mute() { t.mute = true }

// IsPrometheus tells theirs from our names, which have a dot. A metric of a table may have one of
// theirs: it is shown as it is, its attributes being labels, and never sent as one of ours.
func IsPrometheus(name string) bool { return !strings.Contains(name, ".") }

// parse cuts a rule into words. The rules are ours: one that is not understood is a bug.
func (r *Rule) parse() parsed {
	p := parsed{Rule: r}
	for word := range strings.FieldsSeq(r.If) {
		attr, values, ok := strings.Cut(word, "=")
		if !ok {
			panic(fmt.Sprintf("bug: rule for %s: If is %q", r.Name, r.If))
		}
		attr, not := strings.CutSuffix(attr, "!")
		p.conditions = append(p.conditions, condition{attr, strings.Split(values, "|"), not})
	}
	for word := range strings.FieldsSeq(r.Labels) {
		name, from, ok := strings.Cut(word, "=")
		if !ok {
			panic(fmt.Sprintf("bug: rule for %s: label %q", r.Name, word))
		}
		l := label{name: name}
		if quoted, ok := strings.CutPrefix(from, `"`); ok {
			l.constant, from, _ = strings.Cut(quoted, `"`)
		}
		l.attr, l.after, _ = strings.Cut(from, ":")
		p.labels = append(p.labels, l)
	}
	return p
}

// fits tells whether the rule is for a point with these attributes.
func (p *parsed) fits(attrs map[string]string) bool {
	for _, c := range p.conditions {
		if slices.Contains(c.values, attrs[c.attr]) == c.not {
			return false
		}
	}
	return true
}

// of gives the labels of a point with these attributes. What is empty is no label, as in Prometheus.
func (p *parsed) of(attrs map[string]string, fixed []otlp.KeyValue) (kvs []otlp.KeyValue) {
	for _, l := range p.labels {
		v := attrs[l.attr]
		if i := strings.LastIndex(v, l.after); l.after != "" && i >= 0 {
			v = v[i+len(l.after):]
		}
		if v != "" || l.attr == "" {
			kvs = append(kvs, otlp.Attr(l.name, l.constant+v))
		}
	}
	if p.same {
		for _, name := range slices.Sorted(maps.Keys(attrs)) {
			if attrs[name] != "" {
				kvs = append(kvs, otlp.Attr(name, attrs[name]))
			}
		}
	}
	return append(kvs, fixed...)
}

// name is the rule's, with the attributes that it mentions.
func (p *parsed) name(attrs map[string]string) string {
	name := p.Name
	for {
		before, rest, ok := strings.Cut(name, "{")
		if !ok {
			return name
		}
		attr, after, _ := strings.Cut(rest, "}")
		name = before + attrs[attr] + after
	}
}

// Group is what points are sent under that have the names of a program. Prometheus makes the labels
// job and instance of service.name and service.instance.id, which dashboards go by; no other
// attribute of a resource becomes a label by itself.
func Group(resource []otlp.KeyValue, job, scope, version string) *otlp.Group {
	kvs := []otlp.KeyValue{otlp.Attr("service.name", job)}
	for _, key := range []string{"k8s.node.name", "host.name"} {
		if i := slices.IndexFunc(resource, func(kv otlp.KeyValue) bool { return kv.Key == key }); i >= 0 {
			kvs = append(kvs, otlp.KeyValue{Key: "service.instance.id", Value: resource[i].Value})
			break
		}
	}
	return otlp.NewGroup(append(kvs, resource...), otlp.SchemaURL, scope, version)
}
