package dedup

import (
	"strings"
	"time"

	"stint/export/otlp"
	"stint/scrape/series"
)

// shared are the metrics of containers and pods that both the cgroup files and the kubelet tell,
// without the prefix of their kind.
var shared = map[string]bool{
	"cpu.time": true, "cpu.usage": true, "memory.usage": true, "memory.rss": true, "memory.working_set": true,
	"memory.available": true, "paging.faults": true, "memory.paging.faults": true, "memory.swap.usage": true,
	"cpu.pressure.time": true, "memory.pressure.time": true, "io.pressure.time": true,
	"network.io": true, "network.errors": true,
}

// Overlaps says whether several sources may know what a metric tells of an entity.
func Overlaps(kind Kind, metric string) bool {
	switch kind {
	case Pod:
		return shared[strings.TrimPrefix(metric, "k8s.pod.")]
	case Container:
		return shared[strings.TrimPrefix(metric, "container.")]
	}
	return twins[metric] != "" || HasTwin(metric)
}

// Claims are a source's claims of one entity's metrics, by their index in the table of them; nil
// where no other source knows the quantity. A nil Claims passes everything.
type Claims []*Claim

// ClaimAll claims the metrics of a table that other sources may know, too. t may be nil.
func (t *Table) ClaimAll(source string, interval time.Duration, kind Kind, entity string, table []series.Metric) Claims {
	if t == nil {
		return nil
	}
	cs := make(Claims, len(table))
	for i, m := range table {
		if Overlaps(kind, m.Name) {
			cs[i] = t.Claim(source, interval, Key{kind, entity, Concept(m.Name)}, m.Instrument == otlp.Counter)
		}
	}
	return cs
}

// Release ends all claims.
func (cs Claims) Release() {
	for _, c := range cs {
		if c != nil {
			c.Release()
		}
	}
}

// Hand hands over what points committed to s, all of time at, in a scrape that began at tick;
// without the metrics that another source has, under any name.
func (cs Claims) Hand(points *series.Points, s *otlp.Series, tick time.Time, at uint64, group *otlp.Group, hand func(*otlp.Group, []byte, int)) {
	ours := series.Sending{Group: group, Data: s.Bytes()}
	view := points.View
	var theirs series.Sending
	if view != nil {
		theirs = series.Sending{Group: view.Group, Data: view.Bytes()}
	}
	for i, run := range points.Runs() {
		pass := true
		if cs != nil && cs[run.Metric] != nil {
			c, data := cs[run.Metric], s.Bytes()[run.Start:run.End]
			if view.Alone() || view.Follows(run.Metric) {
				pass = c.Again(tick, at, data, run.Points) == Pass
			} else {
				pass = c.Judge(tick, at, data, run.Points) == Pass
			}
		}
		ours.Add(run, pass && view.Ours(run.Metric), hand)
		if view != nil {
			theirs.Add(view.Run(i), pass, hand)
		}
	}
	ours.Flush(hand)
	theirs.Flush(hand)
}
