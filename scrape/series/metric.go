// Package series keeps what a scraper emits: the table of its metrics, and the points of them
// that a scrape found, encoded once and patched in place.
package series

import (
	"slices"

	"stint/export/otlp"
)

// Metric is a row of the table of metrics that a scraper emits.
type Metric struct {
	otlp.Metric
	Scraper    string // set where tables are listed
	Attributes string // attributes of its points: name=value|value; name=<what>
	Source     string // where the kernel tells it
	When       string // when there are points, if not always
}

// Names encodes one attribute for each of several values, as in cpu.mode=user, cpu.mode=nice.
func Names(key string, values ...string) [][]byte {
	var all [][]byte
	for _, v := range values {
		all = append(all, Attributes(otlp.Attr(key, v)))
	}
	return slices.Clip(all)
}
