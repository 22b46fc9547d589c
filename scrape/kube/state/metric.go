package state

import (
	"stint/export/otlp"
	"stint/scrape/series"
)

// Which names are sent where the OpenTelemetry Collector's k8s_cluster has others than the semantic
// conventions.
const (
	K8sCluster = "k8s_cluster"
	SemConv    = "semconv"
	Both       = "both"
)

// metric is a row of the table.
type metric struct {
	otlp.Metric        // without the description
	kind        string // of the object
	desc        string
	source      string // field of the object
	attributes  string // of its points: name=value|value; name
	off         bool   // by default
	generic     bool   // every kind has it
	set         bool   // one of several states, of which the one that holds is sent as 1, and that which was left as 0 once

	peer string   // k8s_cluster's name for it, which is always that of a gauge; "": the same, or none
	only string   // SemConv or K8sCluster: not a point of the other's
	form metricID // with only K8sCluster: the metric whose form it is; none: of several
}

// Metrics lists every metric of this package, in the order of the catalogue, under the names of the
// semantic conventions; k8s_cluster's forms that are more than a name stand last.
func Metrics() []series.Metric {
	all := make([]series.Metric, 0, metrics)
	for i := range table[1:] {
		m := &table[i+1]
		s := series.Metric{Metric: m.Metric, Scraper: m.kind, Attributes: m.attributes, Source: m.source}
		s.Description = m.desc
		switch {
		case m.off:
			s.When = "switched on"
		case m.only == K8sCluster:
			s.When = "state.names is k8s_cluster or both"
		case m.only == SemConv:
			s.When = "state.names is semconv or both"
		case m.peer != "" && m.peer != m.Name:
			s.When = "named " + m.peer + " with state.names k8s_cluster"
		}
		all = append(all, s)
	}
	return all
}

// named finds the metric that a switch means, by either name.
func named(name string) (ids []metricID) {
	for i := range table {
		if m := &table[i]; m.Name == name || m.peer == name {
			ids = append(ids, metricID(i))
		}
	}
	return ids
}

// switches says which metrics are on.
func (c *Config) switches() []bool {
	on := make([]bool, len(table))
	for i := range table {
		on[i] = !table[i].off
	}
	for kind, g := range generics {
		on[g.labels] = len(c.Labels[kind]) > 0
		on[g.annotations] = len(c.Annotations[kind]) > 0
	}
	exact := make([]bool, len(table))
	for name, s := range c.Metrics {
		for _, id := range named(name) {
			on[id], exact[id] = s.Enabled, true
			if of := table[id].form; of != none {
				on[of] = s.Enabled
			}
		}
	}
	// A switch for all kinds does not make more kinds be watched, and a metric's own is stronger.
	wants := wantedKinds(on)
	for name, s := range c.Metrics {
		for _, id := range ofAnyKind(name) {
			if !exact[id] && wants[table[id].kind] {
				on[id] = s.Enabled
			}
		}
	}
	for i := range table {
		if of := table[i].form; of != none {
			on[i] = on[of]
		}
	}
	return on
}

// forms gives the one or two forms in which each metric is sent; none if it is off.
func (c *Config) forms() [][]otlp.Head {
	on := c.switches()
	forms := make([][]otlp.Head, len(table))
	for i := range table {
		m := table[i]
		if i == int(none) || !on[i] || m.only == SemConv && c.Names == K8sCluster || m.only == K8sCluster && c.Names == SemConv {
			continue
		}
		// A name can have one form only: with both, that of the conventions.
		if i == int(theirNamespacePhase) && c.Names == Both {
			continue
		}
		m.Description = m.desc
		ours := m.Metric
		theirs := m.Metric
		theirs.Name, theirs.Instrument = m.peer, otlp.Gauge
		switch {
		case m.peer == "" || c.Names == SemConv || c.Names == Both && m.peer == m.Name:
			forms[i] = []otlp.Head{otlp.NewHead(ours)}
		case c.Names == Both:
			forms[i] = []otlp.Head{otlp.NewHead(ours), otlp.NewHead(theirs)}
		default:
			forms[i] = []otlp.Head{otlp.NewHead(theirs)}
		}
	}
	return forms
}

// on says which metrics are sent in some form.
func (c *Config) on() []bool {
	on := make([]bool, len(table))
	for i, forms := range c.forms() {
		on[i] = len(forms) > 0
	}
	return on
}
