package state

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"stint/export/otlp"
)

// generic are the metrics that every kind has. Where a kind has a row of its own in the catalogue, its
// builder adds the points, and here stands none; but for labels, which are the same everywhere.
type generic struct {
	created, deletion, generation, observed, labels, annotations, info metricID
}

// everyKindOf are the kinds that have the generic metrics, as the table names them, and whether their
// status has an observedGeneration.
var everyKindOf = []kindOf{
	{"pod", true}, {"node", false}, {"namespace", false}, {"deployment", true}, {"replicaset", true}, {"replicationcontroller", true}, {"statefulset", true}, {"daemonset", true},
	{"job", false}, {"cronjob", false}, {"hpa", true}, {"resourcequota", false}, {"service", false}, {"persistentvolume", false}, {"persistentvolumeclaim", false},
	{"poddisruptionbudget", true}, {"storageclass", false}, {"volumeattachment", false}, {"limitrange", false}, {"networkpolicy", false}, {"ingress", false},
	{"certificatesigningrequest", false}, {"serviceaccount", false}, {"lease", false}, {"webhookconfiguration", false},
}

type kindOf struct {
	kind     string
	observed bool
}

// genericRows are the metrics of a kind KIND; their names stand behind k8s.KIND.
var genericRows = []struct {
	name, unit string
	double     bool
	attributes string
	desc       string
	source     string
	id         func(*generic) *metricID
}{
	{"created_time", "s", true, "", "When the object was created, Unix time.", ".metadata.creationTimestamp", func(g *generic) *metricID { return &g.created }},
	{"deletion_time", "s", true, "", "When the object is to be gone, Unix time; of one that waits for a finalizer, too.", ".metadata.deletionTimestamp (only when set)", func(g *generic) *metricID { return &g.deletion }},
	{"generation", "1", false, "", "Generation of what is wanted of the object.", ".metadata.generation (only when set)", func(g *generic) *metricID { return &g.generation }},
	{"observed_generation", "1", false, "", "Generation that the controller has seen.", ".status.observedGeneration (only when set)", func(g *generic) *metricID { return &g.observed }},
	{"labels", "1", false, "label.<name>", "1, with labels of the object in the attributes: those that state.labels names.", ".metadata.labels", func(g *generic) *metricID { return &g.labels }},
	{"annotations", "1", false, "annotation.<name>", "1, with annotations of the object in the attributes: those that state.annotations names.", ".metadata.annotations", func(g *generic) *metricID { return &g.annotations }},
	{"info", "1", false, "", "1 for each object; what it is stands on the resource.", "any object", func(g *generic) *metricID { return &g.info }},
}

// table is every metric of this package: those of the catalogue, then those that every kind has.
var table, generics = withGenerics(catalogued[:])

func withGenerics(all []metric) ([]metric, map[string]*generic) {
	own := map[string]metricID{}
	for i := range all {
		own[all[i].Name] = metricID(i)
	}
	of := map[string]*generic{}
	for _, k := range everyKindOf {
		g := &generic{}
		for _, r := range genericRows {
			if r.name == "observed_generation" && !k.observed {
				continue
			}
			name := "k8s." + k.kind + "." + r.name
			if id, ok := own[name]; ok {
				if r.name == "labels" {
					g.labels = id
				}
				continue
			}
			*r.id(g) = metricID(len(all))
			all = append(all, metric{Metric: otlp.Metric{Name: name, Unit: r.unit, Instrument: otlp.Gauge, Double: r.double},
				kind: k.kind, desc: r.desc, source: r.source, attributes: r.attributes, off: true, generic: true})
		}
		of[k.kind] = g
	}
	return all, of
}

// everyKind adds the points that every kind has.
func (b *builder) everyKind(m *metav1.ObjectMeta) {
	g := generics[b.kind]
	if g == nil {
		return
	}
	b.time(g.created, &m.CreationTimestamp)
	b.time(g.deletion, m.DeletionTimestamp)
	if m.Generation != 0 {
		b.int(g.generation, m.Generation)
	}
	if b.observed != 0 {
		b.int(g.observed, b.observed)
	}
	b.allowed(g.labels, "label.", b.cfg.Labels[b.kind], m.Labels)
	b.allowed(g.annotations, "annotation.", b.cfg.Annotations[b.kind], m.Annotations)
	b.int(g.info, 1)
}

// anyKind is the beginning of a switch for all kinds that are watched.
const anyKind = "k8s.*."

// ofAnyKind finds the metrics of all kinds that such a switch means.
func ofAnyKind(name string) (ids []metricID) {
	last, ok := strings.CutPrefix(name, anyKind)
	if !ok {
		return nil
	}
	for i := range table {
		m := &table[i]
		if generics[m.kind] != nil && m.Name == "k8s."+m.kind+"."+last {
			ids = append(ids, metricID(i))
		}
	}
	return ids
}
