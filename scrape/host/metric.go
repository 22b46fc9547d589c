package host

import (
	"slices"

	"stint/export/otlp"
)

// Metric is a row of the table of metrics that a scraper emits.
type Metric struct {
	otlp.Metric
	Scraper    string // set by Metrics
	Attributes string // attributes of its points: name=value|value; name=<what>
	Source     string // where the kernel tells it
	When       string // when there are points, if not always
}

// Metrics lists every metric of this package, in the order of its scrapers.
func Metrics() []Metric {
	var all []Metric
	for _, s := range scrapers {
		for _, m := range s.table {
			m.Scraper = s.name
			all = append(all, m)
		}
	}
	return all
}

// names encodes one attribute for each of several values, as in cpu.mode=user, cpu.mode=nice.
func names(key string, values ...string) [][]byte {
	var all [][]byte
	for _, v := range values {
		all = append(all, attributes(otlp.Attr(key, v)))
	}
	return slices.Clip(all)
}
