package series

import (
	"math"

	"stint/export/otlp"
)

// View shows points under the names of another program, beside or in place of ours. It is made
// anew when the points are encoded anew; else, as they are, patched in place. A nil View shows
// nothing.
type View struct {
	Group *otlp.Group // what its points are sent under

	t       *Translation
	labels  []otlp.KeyValue // that all its points have
	version uint64          // of the points that it was made of; 0: of none yet
	points  []viewPoint
	terms   []viewTerm
	runs    []Run // side by side with those of the points; some are empty
	series  otlp.Series
}

// viewPoint is a point of theirs: a sum of terms and a constant.
type viewPoint struct {
	first, end int // in terms
	add        float64
	started    bool // it has a start time
}

// viewTerm is a point of ours, by its index, and a factor.
type viewTerm struct {
	point  int
	double bool
	factor float64
}

// View makes one for the points of an entity; labels stand on all of them.
func (t *Translation) View(group *otlp.Group, labels []otlp.KeyValue) *View {
	if t == nil {
		return nil
	}
	return &View{Group: group, t: t, labels: labels}
}

// Ours tells whether a metric is sent under our name.
func (v *View) Ours(metric int) bool { return v == nil || v.t.ours[metric] }

// Alone tells whether its points are of quantities that other points tell under our names.
func (v *View) Alone() bool { return v != nil && v.t.alone }

// Follows tells whether a metric is one of theirs, of which another metric has the verdict.
func (v *View) Follows(metric int) bool {
	return v != nil && len(v.t.rules[metric]) > 0 && v.t.rules[metric][0].same
}

// Bytes is what is shown, encoded.
func (v *View) Bytes() []byte { return v.series.Bytes() }

// Run says where the points shown of run i of the points lie in Bytes.
func (v *View) Run(i int) Run { return v.runs[i] }

// commit brings the view up to date with points that all have the time now.
func (v *View) commit(p *Points, now uint64) {
	if v.version != p.version {
		v.encode(p)
		v.version = p.version
	}
	for i := range v.points {
		q := &v.points[i]
		sum, start := q.add, uint64(0)
		for _, t := range v.terms[q.first:q.end] {
			from := &p.got[t.point]
			value := float64(int64(from.bits))
			if t.double {
				value = math.Float64frombits(from.bits)
			}
			sum += t.factor * value
			start = max(start, from.start)
		}
		v.series.SetDouble(i, sum)
		if q.started {
			v.series.SetStart(i, start)
		}
	}
	v.series.SetTime(now)
}

// SetTimes gives each point the time of the first of ours that it is made of.
func (v *View) SetTimes(times []uint64) {
	for i := range v.points {
		v.series.SetPointTime(i, times[v.terms[v.points[i].first].point])
	}
}

// shown is a point of theirs while the view is made.
type shown struct {
	metric otlp.Metric
	attrs  string
	viewPoint
	terms []viewTerm
}

func (v *View) encode(p *Points) {
	v.series.Reset()
	v.points, v.terms, v.runs = v.points[:0], v.terms[:0], v.runs[:0]
	first := 0
	for _, run := range p.runs {
		all := v.translate(p, run.Metric, first, first+run.Points)
		first += run.Points
		r := Run{Metric: run.Metric, Start: len(v.series.Bytes()), Points: len(all)}
		for i := range all { // those of one name follow each other
			if name := all[i].metric.Name; i == 0 || name != all[i-1].metric.Name {
				v.series.Metric(&all[i].metric)
			}
			start := uint64(0)
			if all[i].started {
				start = 1 // is set by commit
			}
			v.series.Add([]byte(all[i].attrs), start)
			q := all[i].viewPoint
			q.first = len(v.terms)
			v.terms = append(v.terms, all[i].terms...)
			q.end = len(v.terms)
			v.points = append(v.points, q)
		}
		v.series.Finish()
		r.End = len(v.series.Bytes())
		v.runs = append(v.runs, r)
	}
}

// translate makes points of those from first to end, which are of one metric, sorted by name in
// the order in which names appear.
func (v *View) translate(p *Points, metric, first, end int) []shown {
	var names []string
	byName := map[string][]shown{}
	index := map[string]int{} // by name and labels
	ours := &v.t.table[metric]
	for r := range v.t.rules[metric] {
		rule := &v.t.rules[metric][r]
		if rule.Extra || v.t.mute {
			continue
		}
		for i := first; i < end; i++ {
			attrs := map[string]string{}
			otlp.EachAttr(p.got[i].attrs, otlp.AttrsOfPoint, func(key string, v otlp.Value) { attrs[key] = v.Text() })
			if !rule.fits(attrs) {
				continue
			}
			name, labels := rule.name(attrs), string(Attributes(rule.of(attrs, v.labels)...))
			at, ok := index[name+"\x00"+labels]
			if !ok {
				if byName[name] == nil {
					names = append(names, name)
				}
				at = len(byName[name])
				index[name+"\x00"+labels] = at
				s := shown{metric: otlp.Metric{Name: name, Description: ours.Description, Double: true}, attrs: labels}
				s.add = rule.Add
				if rule.counter() {
					s.metric.Instrument, s.started = otlp.Counter, p.got[i].start != 0
				}
				byName[name] = append(byName[name], s)
			}
			s := &byName[name][at]
			s.terms = append(s.terms, viewTerm{i, ours.Double, rule.factor()})
		}
	}
	var all []shown
	for _, name := range names {
		all = append(all, byName[name]...)
	}
	return all
}
