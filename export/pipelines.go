package export

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Pipelines say which sources go to which exporters. The key is a signal, or signal/name.
type Pipelines map[string]Pipeline

// Kinds lists the signals.
func (Pipelines) Kinds() []string { return []string{"logs", "metrics"} }

// Pipeline is one path from sources to exporters.
type Pipeline struct {
	Sources   []string `yaml:"sources" doc:"where records come from; logs: tail, journald; metrics: host, cgroup, kubelet, self"`
	Exporters []string `yaml:"exporters" doc:"names under exporters that get every record"`
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
		if !slices.Contains(p.Kinds(), signal) {
			fault("%s: %q is not a signal of this agent; write logs, metrics, logs/NAME or metrics/NAME", path, signal)
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
