package state

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"stint/export/otlp"
	"stint/scrape/kube/rawjson"
)

// CustomResource says what is told of the objects of a CRD.
type CustomResource struct {
	Name    string         `yaml:"name" doc:"plural name, e.g. certificates"`
	Group   string         `yaml:"group" doc:"API group, e.g. cert-manager.io"`
	Version string         `yaml:"version" doc:"of the group, e.g. v1; empty: the one that the server prefers"`
	Metrics []CustomMetric `yaml:"metrics" doc:"what is told of each object; its resource has k8s.KIND.name, k8s.KIND.uid and k8s.namespace.name, KIND in small letters"`
}

// CustomMetric is a field of a custom resource as a metric.
type CustomMetric struct {
	Name        string             `yaml:"name" doc:"the metric is k8s.customresource.NAME"`
	Description string             `yaml:"description" doc:"of the metric"`
	Path        string             `yaml:"path" doc:"the field, e.g. status.replicas, status.conditions[type=Ready].status, or status.conditions[*].status for a point an element. A number, a quantity, a truth (1 or 0), a time (Unix time, s), or a text of values. Of info it may be empty"`
	Type        string             `yaml:"type" enum:"gauge,updowncounter,info,state" doc:"gauge, updowncounter: the field's number; info: 1, with attributes; state: 1 with the field's text as attribute, named as the path's last key: of what it was before 0 is sent once. Empty: gauge"`
	Unit        string             `yaml:"unit" doc:"UCUM, e.g. s, By or {replica}; empty: 1"`
	Attributes  map[string]string  `yaml:"attributes" doc:"attributes of the points by name: paths. Up to [*] as path has it means the same element, e.g. status.conditions[*].type"`
	Values      map[string]float64 `yaml:"values" doc:"numbers that texts mean, e.g. {Healthy: 1, Degraded: 0}; True and False are 1 and 0 without"`
}

const (
	customInfo  = "info"
	customState = "state"
	customUp    = "updowncounter"

	// Bounds of the table, and of what an object and a kind may cost: a series takes some 100 bytes here,
	// and far more where it is stored.
	maxCustomResources  = 100
	maxCustomMetrics    = 100
	maxCustomAttributes = 16
	maxObjectSeries     = 1000
	maxKindSeries       = 50_000
)

var customName = regexp.MustCompile(`^[a-z][a-z0-9_]*(\.[a-z0-9_]+)*$`)

// metric is its row in the table.
func (m *CustomMetric) metric(kind string) metric {
	row := metric{Metric: otlp.Metric{Name: "k8s.customresource." + m.Name, Unit: cmp.Or(m.Unit, "1"), Instrument: otlp.Gauge}, kind: kind, desc: m.Description}
	switch m.Type {
	case customUp:
		row.Instrument, row.Double = otlp.UpDown, true
	case customState:
		row.Instrument, row.set = otlp.UpDown, true
	case customInfo:
	default:
		row.Double = true
	}
	row.Description = m.Description
	return row
}

// checkCustom reports every fault of the table.
func checkCustom(all []CustomResource, fault func(format string, args ...any)) {
	if len(all) > maxCustomResources {
		fault("custom_resources: %d of at most %d", len(all), maxCustomResources)
	}
	type form struct{ typ, unit, at string }
	forms := map[string]form{}
	kindAt := map[string]string{}
	for i := range all {
		c := &all[i]
		at := fmt.Sprintf("custom_resources[%d]", i)
		if c.Name == "" || strings.ToLower(c.Name) != c.Name || strings.ContainsAny(c.Name, "/. ") {
			fault("%s.name: %q is no resource; give its plural name, as kubectl api-resources has it, e.g. certificates", at, c.Name)
		}
		if c.Group == "" || strings.Contains(c.Group, "/") {
			fault("%s.group: %q is no group; give e.g. cert-manager.io, and the version in version", at, c.Group)
		}
		if other := kindAt[c.fullName()]; other != "" {
			fault("%s: the same kind as state.%s; put the metrics together", at, other)
		}
		kindAt[c.fullName()] = at
		if len(c.Metrics) == 0 || len(c.Metrics) > maxCustomMetrics {
			fault("%s.metrics: there are %d; give 1 to %d", at, len(c.Metrics), maxCustomMetrics)
		}
		seen := map[string]bool{}
		for j := range c.Metrics {
			m := &c.Metrics[j]
			at := fmt.Sprintf("%s.metrics[%d]", at, j)
			if !customName.MatchString(m.Name) {
				fault("%s.name: %q is no name; give small letters, digits, _ and . such as expiration_time", at, m.Name)
			} else if seen[m.Name] {
				fault("%s.name: %q stands there twice; give each a name of its own", at, m.Name)
			}
			seen[m.Name] = true
			f := form{cmp.Or(m.Type, "gauge"), cmp.Or(m.Unit, "1"), at}
			if other, ok := forms[m.Name]; ok && (other.typ != f.typ || other.unit != f.unit) {
				fault("%s: a %s in %s, and state.%s has that name as a %s in %s; give it another name", at, f.typ, f.unit, other.at, other.typ, other.unit)
			}
			forms[m.Name] = f
			if _, err := m.compile(); err != nil {
				for _, err := range unjoin(err) {
					fault("%s.%w", at, err)
				}
			}
		}
	}
}

// unjoin lists the errors that are joined in one.
func unjoin(err error) []error {
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		return j.Unwrap()
	}
	return []error{err}
}

// fullName is what a CRD is called.
func (c *CustomResource) fullName() string { return c.Name + "." + c.Group }

// fieldMetric is a metric of a custom resource, ready to be read out of objects.
type fieldMetric struct {
	id         metricID
	typ        string
	path       fieldPath
	attributes []fieldAttribute
	values     map[string]float64
	state      otlp.Key // attribute of a state's text
}

type fieldAttribute struct {
	key  otlp.Key
	path fieldPath
}

// compile reads the paths. Errors begin with the key they are of.
func (m *CustomMetric) compile() (*fieldMetric, error) {
	var errs []error
	f := &fieldMetric{typ: cmp.Or(m.Type, "gauge"), values: m.Values}
	if !slices.Contains([]string{"gauge", customUp, customInfo, customState}, f.typ) {
		errs = append(errs, fmt.Errorf("type: %q is not known; give one of gauge, updowncounter, info, state", m.Type))
	}
	var err error
	switch {
	case m.Path == "" && f.typ != customInfo:
		errs = append(errs, errors.New("path: empty; give a field, e.g. status.replicas"))
	case m.Path != "":
		if f.path, err = parseField(m.Path); err != nil {
			errs = append(errs, fmt.Errorf("path: %w", err))
		}
	}
	if f.typ == customState && len(f.path) > 0 {
		last := f.path[len(f.path)-1]
		if last.each || last.where != "" {
			errs = append(errs, fmt.Errorf("path: %q ends with an element; a state is a text in it, e.g. %s.status", m.Path, m.Path))
		}
		f.state = otlp.NewKey(last.key)
	}
	if len(m.Values) > 0 && (f.typ == customInfo || f.typ == customState) {
		errs = append(errs, fmt.Errorf("values: are for gauge and updowncounter, this is %s; leave them out", f.typ))
	}
	if len(m.Attributes) > maxCustomAttributes {
		errs = append(errs, fmt.Errorf("attributes: %d of at most %d", len(m.Attributes), maxCustomAttributes))
	}
	for _, name := range slices.Sorted(maps.Keys(m.Attributes)) {
		p, err := parseField(m.Attributes[name])
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("attributes.%s: %w", name, err))
		case name == "" || f.typ == customState && len(f.path) > 0 && name == f.path[len(f.path)-1].key:
			errs = append(errs, fmt.Errorf("attributes.%s: is no name, or that of the state itself; give another one", name))
		case !p.within(f.path):
			errs = append(errs, fmt.Errorf("attributes.%s: %q has a [*] that path has not; write it as path does up to there", name, m.Attributes[name]))
		}
		f.attributes = append(f.attributes, fieldAttribute{otlp.NewKey(name), p})
	}
	return f, errors.Join(errs...)
}

// fieldPath leads to a field of an object.
type fieldPath []fieldStep

// fieldStep is a key of an object, each element of a list, or the first element that has a text somewhere.
type fieldStep struct {
	key         string
	each        bool
	where, text string
}

func parseField(s string) (fieldPath, error) {
	keys, err := rawjson.SplitPath(s)
	if err != nil {
		return nil, err
	}
	p := make(fieldPath, len(keys))
	for i, k := range keys {
		where, text, filter := strings.Cut(k, "=")
		switch {
		case k == "*":
			p[i].each = true
		case filter && (where == "" || text == ""):
			return nil, fmt.Errorf("%q has a filter without key or text; write it like status.conditions[type=Ready].status", s)
		case filter:
			p[i].where, p[i].text = where, text
		default:
			p[i].key = k
		}
	}
	return p, nil
}

// within says whether all elements that p goes through are those of path.
func (p fieldPath) within(path fieldPath) bool {
	last := -1
	for i := range p {
		if p[i].each {
			last = i
		}
	}
	return last < len(path) && slices.Equal(p[:last+1], path[:last+1])
}

// walk calls found for each value that the path leads to, with the indexes of the elements that it went
// through.
func (p fieldPath) walk(v any, at []int, found func(v any, at []int) bool) bool {
	for i, s := range p {
		if !s.each {
			if v = s.next(v); v == nil {
				return true
			}
			continue
		}
		list, _ := v.([]any)
		for n, e := range list {
			if !p[i+1:].walk(e, append(at[:len(at):len(at)], n), found) {
				return false
			}
		}
		return true
	}
	return v == nil || found(v, at)
}

// at is the value for those elements.
func (p fieldPath) at(v any, at []int) any {
	for _, s := range p {
		if !s.each {
			v = s.next(v)
			continue
		}
		list, _ := v.([]any)
		if len(at) == 0 || at[0] >= len(list) {
			return nil
		}
		v, at = list[at[0]], at[1:]
	}
	return v
}

func (s fieldStep) next(v any) any {
	if s.where == "" {
		m, _ := v.(map[string]any)
		return m[s.key]
	}
	list, _ := v.([]any)
	for _, e := range list {
		if m, ok := e.(map[string]any); ok {
			if text, ok := fieldText(m[s.where]); ok && text == s.text {
				return e
			}
		}
	}
	return nil
}

// customRows makes the rows of a custom resource.
func customRows(fields []*fieldMetric, leftOut func(reason string)) func(*builder, any) *row {
	return func(b *builder, obj any) *row {
		u, ok := obj.(*unstructured.Unstructured)
		if !ok || u == nil {
			return nil
		}
		m := objectMeta(u)
		b.begin(&m, 0, 0, 0)
		b.meta = nil // no metrics of every kind
		kind := "k8s." + strings.ToLower(clip(u.GetKind()))
		b.own = packNamed(b.own[:0], otlp.NewKey(kind+".uid"), string(m.UID))
		b.own = packNamed(b.own, otlp.NewKey(kind+".name"), m.Name)
		if m.Namespace != "" {
			b.shared = packText(b.shared[:0], k8sNamespaceName, m.Namespace)
		}
		n := 0
		for _, f := range fields {
			if !f.add(b, u.Object, &n, leftOut) {
				leftOut("limit")
				break
			}
		}
		return b.end()
	}
}

// add adds the points of a metric; false: there are too many.
func (f *fieldMetric) add(b *builder, object map[string]any, n *int, leftOut func(reason string)) bool {
	return f.path.walk(object, nil, func(v any, at []int) bool {
		number, text := 1.0, ""
		ok := true
		switch f.typ {
		case customInfo:
		case customState:
			text, ok = fieldText(v)
		default:
			number, ok = fieldNumber(v, f.values)
		}
		if !ok {
			leftOut("type")
			return true
		}
		if *n++; *n > maxObjectSeries {
			return false
		}
		b.points = packMetric(b.points, f.id)
		count := len(b.points)
		b.points = append(b.points, 0)
		if f.typ == customState {
			b.points = packNamed(b.points, f.state, text)
			b.points[count]++
		}
		for _, a := range f.attributes {
			if text, ok := fieldText(a.path.at(object, at)); ok {
				b.points = packNamed(b.points, a.key, text)
				b.points[count]++
			}
		}
		b.number(f.id, number)
		return true
	})
}
