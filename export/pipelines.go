package export

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"stint/export/otlp"
)

// Pipelines say which sources go to which exporters. The key is a signal, or signal/name.
type Pipelines map[string]Pipeline

// Kinds lists the signals.
func (Pipelines) Kinds() []string { return []string{"logs", "metrics", "traces"} }

// Pipeline is one path from sources to exporters.
type Pipeline struct {
	Sources   []string `yaml:"sources" doc:"where records come from; logs: tail, journald; metrics: host, cgroup, kubelet, self"`
	Exporters []string `yaml:"exporters" doc:"names under exporters that get every record"`
	// Attributes are changed in the order of the list.
	Attributes []AttributeAction `yaml:"attributes" doc:"changes of attributes, one after the other, as by the OpenTelemetry Collector's attributes and resource processors"`
}

// AttributeAction changes one attribute of every record, or of every record's resource.
type AttributeAction struct {
	Key     string `yaml:"key" doc:"name of the attribute"`
	Value   string `yaml:"value" doc:"its new value"`
	Type    string `yaml:"type" enum:"string,int,double,bool" doc:"what value is"`
	Action  string `yaml:"action" enum:"insert,update,upsert,delete" doc:"insert: where there is none; update: where there is one; upsert: either; delete: remove it"`
	Context string `yaml:"context" enum:"record,resource" doc:"whose attribute it is: of log records and metric points, or of their resource"`
}

// SetDefaults gives what an action is without being told.
func (a *AttributeAction) SetDefaults() { a.Type, a.Action, a.Context = "string", "upsert", "record" }

// typed is the value as its type says.
func (a AttributeAction) typed() (otlp.Value, error) {
	switch a.Type {
	case "int":
		n, err := strconv.ParseInt(a.Value, 10, 64)
		return otlp.Int(n), err
	case "double":
		f, err := strconv.ParseFloat(a.Value, 64)
		return otlp.Double(f), err
	case "bool":
		b, err := strconv.ParseBool(a.Value)
		return otlp.Bool(b), err
	}
	return otlp.String(a.Value), nil
}

var attributeOps = map[string]otlp.Op{"insert": otlp.Insert, "update": otlp.Update, "upsert": otlp.Upsert, "delete": otlp.Delete}

// editor makes the editor of one context; nil where no action has it.
func (p Pipeline) editor(context string) *otlp.Editor {
	var actions []otlp.Action
	for _, a := range p.Attributes {
		if a.Context == context {
			v, _ := a.typed() // checked
			actions = append(actions, otlp.Action{Op: attributeOps[a.Action], KeyValue: otlp.KeyValue{Key: a.Key, Value: v}})
		}
	}
	if actions == nil {
		return nil
	}
	return otlp.NewEditor(actions)
}

// checkAttributes reports what is wrong with a pipeline's actions.
func (p Pipeline) checkAttributes(path string) (errs []error) {
	if len(p.Attributes) > otlp.MaxActions {
		return []error{fmt.Errorf("%s: %d actions; give at most %d", path, len(p.Attributes), otlp.MaxActions)}
	}
	for i, a := range p.Attributes {
		at := fmt.Sprintf("%s[%d]", path, i)
		if a.Key == "" {
			errs = append(errs, fmt.Errorf("%s.key: missing; name the attribute", at))
		}
		switch _, err := a.typed(); {
		case a.Action == "delete" && a.Value != "":
			errs = append(errs, fmt.Errorf("%s.value: set, but action is delete; remove one of the two", at))
		case a.Action != "delete" && err != nil:
			errs = append(errs, fmt.Errorf("%s.value: %q is no %s; give one, or another type", at, a.Value, a.Type))
		}
	}
	return errs
}

// Signal is the part of a pipeline's name before the slash.
func Signal(name string) string {
	signal, _, _ := strings.Cut(name, "/")
	return signal
}

// DefaultPipelines sends every source to every exporter that takes its signal. sources are the
// names of sources by signal.
func DefaultPipelines(e Exporters, sources map[string][]string) Pipelines {
	p := Pipelines{}
	for signal, names := range sources {
		var to []string
		for _, name := range slices.Sorted(maps.Keys(e)) {
			if e[name].Takes(signal) {
				to = append(to, name)
			}
		}
		if len(to) > 0 {
			p[signal] = Pipeline{Sources: slices.Clone(names), Exporters: to}
		}
	}
	return p
}

// Check reports every fault at once, each under its YAML path. sources are the names of sources by signal.
func (p Pipelines) Check(e Exporters, sources map[string][]string) error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	for _, name := range slices.Sorted(maps.Keys(p)) {
		path, signal := join("pipelines", name), Signal(name)
		if _, rest, named := strings.Cut(name, "/"); named && rest == "" {
			fault("%s: no name after the slash; write %s or %s/NAME", path, signal, signal)
		}
		if len(sources[signal]) == 0 {
			known := slices.Sorted(maps.Keys(sources))
			fault("%s: %q is not a signal of this program; write %s, or one of them with /NAME", path, signal, strings.Join(known, ", "))
			continue
		}
		if len(p[name].Sources) == 0 {
			fault("%s.sources: empty; name at least one of %s", path, strings.Join(sources[signal], ", "))
		}
		for i, s := range p[name].Sources {
			if slices.Contains(p[name].Sources[:i], s) {
				fault("%s.sources[%d]: %q is named twice; remove one", path, i, s)
			} else if !slices.Contains(sources[signal], s) {
				fault("%s.sources[%d]: %q is not a source of %s; write one of %s", path, i, s, signal, strings.Join(sources[signal], ", "))
			}
		}
		errs = append(errs, p[name].checkAttributes(path+".attributes")...)
		if len(p[name].Exporters) == 0 {
			fault("%s.exporters: empty; name at least one entry of exporters", path)
		}
		for i, x := range p[name].Exporters {
			switch to, ok := e[x]; {
			case slices.Contains(p[name].Exporters[:i], x):
				fault("%s.exporters[%d]: %q is named twice; remove one", path, i, x)
			case !ok && len(e) == 0:
				fault("%s.exporters[%d]: %q is not configured; add it under exporters", path, i, x)
			case !ok:
				fault("%s.exporters[%d]: %q is not configured; add it under exporters or write one of %s",
					path, i, x, strings.Join(slices.Sorted(maps.Keys(e)), ", "))
			case !to.Takes(signal) && endpointOf(to) != "":
				fault("%s.exporters[%d]: %q takes no %s: its endpoint is a Prometheus; give it %s_endpoint, or use another exporter", path, i, x, signal, signal)
			case !to.Takes(signal) && isElasticsearch(to):
				fault("%s.exporters[%d]: %q takes logs alone; use another exporter for %s", path, i, x, signal)
			case !to.Takes(signal):
				fault("%s.exporters[%d]: %q takes no %s; give it endpoint or %s_endpoint", path, i, x, signal, signal)
			}
		}
	}
	return errors.Join(errs...)
}

// endpointOf is the endpoint for all signals of an exporter that has one.
func endpointOf(e Exporter) string {
	if o, ok := e.(*OTLPHTTP); ok {
		return o.Endpoint
	}
	return ""
}

func isElasticsearch(e Exporter) bool {
	_, ok := e.(*Elasticsearch)
	return ok
}
