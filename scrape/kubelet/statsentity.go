package kubelet

import (
	"bytes"
	"slices"
	"time"

	"stint/export/otlp"
	"stint/scrape/dedup"
	"stint/scrape/series"
)

// entity is something that points are sent of: the node, a pod, a volume, a container.
type entity struct {
	key    dedup.Key // without a concept
	start  uint64    // of its sums
	timed  bool      // start is the overlap table's, and is to be given back
	group  *otlp.Group
	points series.Points
	times  []uint64       // of the points
	claims []*dedup.Claim // by metric
	seen   uint64         // the poll that had it last

	last, next progress // as of the last good poll; as of this one
}

// progress is what the next poll's figures are compared with.
type progress struct {
	cpuUsed, cpuAt uint64
	cpuStart       uint64  // when cpuUsed began anew; 0: it did not
	falls          int     // of cpuUsed, in a row
	cpus           float64 // used on average since the poll before
	rated          bool    // cpus is known
	psi            [3]psiSeen
}

// cpu takes in the CPU time used until at. The kubelet answers 0 where it has no figure: a fall is
// believed, as it is by dedup, when it is the third in a row.
func (p *progress) cpu(used, at uint64) {
	switch {
	case p.cpuAt != 0 && at <= p.cpuAt:
	case used < p.cpuUsed && p.falls < 2:
		p.falls++
		p.rated = false
	default:
		if p.rated = p.cpuAt != 0 && used >= p.cpuUsed; p.rated {
			p.cpus = float64(used-p.cpuUsed) / float64(at-p.cpuAt)
		}
		if used < p.cpuUsed {
			p.cpuStart = p.cpuAt
		}
		p.cpuUsed, p.cpuAt, p.falls = used, at, 0
	}
}

// podEntity is a pod with its parts.
type podEntity struct {
	entity
	about      *Pod // nil: not known
	waited     int  // polls for it to become known
	resource   []otlp.KeyValue
	demand     demand
	containers []*containerEntity
	volumes    []*volumeEntity
}

// containerEntity is one run of a container.
type containerEntity struct {
	entity
	name   string
	began  uint64 // startTime: another one is another run
	id     string // empty: not known
	before string // the id of the run before
	waited int    // polls for the id to become known
	about  *Pod   // that group was made of
	demand demand
	limit  bool // of memory; true also if not known
}

// volumeEntity is a volume of a pod; its points are under the pod's resource.
type volumeEntity struct {
	entity
	name  string
	claim string // as the summary has it
	about *Pod   // that attrs and skip are of
	attrs []byte
	skip  bool
}

// systemEntity is a system container of the node.
type systemEntity struct {
	entity
	name string
}

// enter begins an entity's sums.
func (s *Stats) enter(e *entity, key dedup.Key, table []series.Metric, v *sample) {
	e.key, e.points.Table, e.claims = key, table, make([]*dedup.Claim, len(table))
	proposed := v.figure(began)
	if proposed == 0 {
		proposed = s.now
	}
	e.start, e.timed = s.overlap.Start(key.Kind, key.Entity, proposed), true
}

// leave gives back what an entity holds of the overlap table.
func (s *Stats) leave(e *entity) {
	for _, c := range e.claims {
		if c != nil {
			c.Release()
		}
	}
	if e.timed {
		s.overlap.ReleaseStart(e.key.Kind, e.key.Entity)
	}
}

func (s *Stats) leavePod(p *podEntity) {
	s.leave(&p.entity)
	for _, c := range p.containers {
		s.leave(&c.entity)
	}
	for _, v := range p.volumes {
		s.leave(&v.entity)
	}
}

// sweep lets go of what the last poll did not have.
func (s *Stats) sweep() {
	gone := func(e *entity) bool {
		if e.seen == s.polls {
			return false
		}
		s.leave(e)
		return true
	}
	s.pods = slices.DeleteFunc(s.pods, func(p *podEntity) bool {
		if p.seen == s.polls {
			p.containers = slices.DeleteFunc(p.containers, func(c *containerEntity) bool { return gone(&c.entity) })
			p.volumes = slices.DeleteFunc(p.volumes, func(v *volumeEntity) bool { return gone(&v.entity) })
			return false
		}
		s.leavePod(p)
		delete(s.byUID, p.key.Entity)
		return true
	})
	s.system = slices.DeleteFunc(s.system, func(c *systemEntity) bool { return gone(&c.entity) })
}

// patience is for how many polls something new waits to be known to the table of pods: points
// with names and points without would be of two series.
const patience = 1

// newGroup encodes a resource, unless it is what was encoded before.
func (s *Stats) newGroup(before *otlp.Group, kvs ...otlp.KeyValue) *otlp.Group {
	g := otlp.NewGroup(append(kvs, s.resource...), otlp.SchemaURL, scopeName, s.version)
	if before != nil && bytes.Equal(before.AppendFrame(nil, 0), g.AppendFrame(nil, 0)) {
		return before
	}
	return g
}

// describePod finds out what a pod is, and tells whether its points are sent.
func (s *Stats) describePod(p *podEntity, v *sample) bool {
	about := s.table.Lookup(p.key.Entity)
	switch {
	case about == nil:
		s.table.Want(p.key.Entity)
		if p.group != nil {
			return true // what was known stays true
		}
		if p.waited < patience {
			p.waited++
			s.waiting = true
			return false
		}
		p.resource = (&Pod{Namespace: string(v.text[textNamespace]), Name: string(v.text[textName])}).Resource()
	case about == p.about:
		return true
	default:
		p.resource, p.demand = about.Resource(), about.demand()
	}
	p.about = about
	kvs := append([]otlp.KeyValue{otlp.Attr("k8s.pod.uid", p.key.Entity)}, p.resource...)
	p.group = s.newGroup(p.group, kvs...)
	s.show(&p.entity, s.names.pods, series.CAdvisorLabels(kvs, ""), kvs...)
	return true
}

// find is the container's entry in the table of pods, nil if there is none.
func (p *podEntity) find(name string) *Container {
	if p.about == nil {
		return nil
	}
	i := slices.IndexFunc(p.about.Containers, func(c Container) bool { return c.Name == name })
	if i < 0 {
		return nil
	}
	return &p.about.Containers[i]
}

// describeContainer finds out what a container is, and tells whether its points are sent. The
// summary does not tell its id, by which other sources know it; the table of pods does, a little
// sooner or later than the summary has the figures of the run.
func (s *Stats) describeContainer(p *podEntity, c *containerEntity, v *sample) bool {
	run := v.figure(began)
	if c.group != nil && c.began != run {
		s.leave(&c.entity)
		*c = containerEntity{name: c.name, before: c.id, entity: entity{seen: c.seen}}
	}
	if c.group != nil && (c.about == p.about || p.about == nil) {
		return true
	}
	c.began = run
	about, id := p.find(c.name), ""
	if about != nil {
		id = about.ID
	}
	if (id == "" || id == c.before) && c.group == nil && p.about != nil && c.waited < patience {
		c.waited++
		s.waiting = true
		return false
	}
	switch {
	case c.id != "" && c.group != nil && id != c.id: // the table is about another run, or about none
		c.about = p.about
		return true
	case c.group == nil:
		c.id = id
	case c.id == "" && id != "": // at last
		s.leave(&c.entity)
		*c = containerEntity{name: c.name, began: run, id: id, entity: entity{seen: c.seen}}
	}
	known := Container{Name: c.name}
	if c.limit = about == nil; about != nil {
		known, c.demand, c.limit = *about, about.demand(), about.MemoryLimit > 0
	}
	var kvs []otlp.KeyValue
	if c.id != "" {
		kvs = append(kvs, otlp.Attr("container.id", c.id))
	}
	kvs = append(append(append(kvs, otlp.Attr("k8s.pod.uid", p.key.Entity)), p.resource...), known.Resource()...)
	c.about, c.group = p.about, s.newGroup(c.group, kvs...)
	s.show(&c.entity, s.names.containers, series.CAdvisorLabels(kvs, c.id), kvs...)
	if c.claims == nil {
		key := dedup.Key{Kind: dedup.Container, Entity: c.id}
		if c.id == "" {
			key.Entity = p.key.Entity + "/" + c.name
		}
		s.enter(&c.entity, key, containerMetrics, v)
	}
	return true
}

// describeVolume finds out what a volume is, and tells whether its points are sent.
func (s *Stats) describeVolume(p *podEntity, e *volumeEntity, v *sample) bool {
	e.group = p.group
	if e.claims != nil && e.about == p.about && e.claim == string(v.text[textClaim]) {
		return !e.skip
	}
	if e.claims == nil {
		e.key = dedup.Key{Kind: dedup.Pod, Entity: p.key.Entity + "/" + e.name}
		e.points.Table, e.claims, e.start = volumeMetrics, make([]*dedup.Claim, len(volumeMetrics)), p.start
	}
	e.about, e.claim = p.about, string(v.text[textClaim])
	kind, claim := "", e.claim
	if p.about != nil {
		if i := slices.IndexFunc(p.about.Volumes, func(x Volume) bool { return x.Name == e.name }); i >= 0 {
			kind = p.about.Volumes[i].Type
			if claim == "" {
				claim = p.about.Volumes[i].Claim
			}
		}
	}
	if kind == "" && claim != "" {
		kind = claimVolume
	}
	kvs := []otlp.KeyValue{otlp.Attr("k8s.volume.name", e.name)}
	if kind != "" {
		kvs = append(kvs, otlp.Attr("k8s.volume.type", kind))
	}
	if claim != "" {
		kvs = append(kvs, otlp.Attr("k8s.persistentvolumeclaim.name", claim))
	}
	if attrs := series.Attributes(kvs...); !bytes.Equal(attrs, e.attrs) {
		e.attrs = attrs
	}
	if claim != "" { // else they are sent under our names
		s.show(&e.entity, s.names.volumes, volumeLabels(p.resource, claim), append([]otlp.KeyValue{otlp.Attr("k8s.pod.uid", p.key.Entity)}, p.resource...)...)
	}
	e.skip = s.cfg.Volumes == "none" || s.cfg.Volumes == "pvc" && claim == "" && kind != "emptyDir"
	return !e.skip
}

// commit sends an entity's points of a good poll that have something new to tell.
func (s *Stats) commit(e *entity, at time.Time, hand func(*otlp.Group, []byte, int)) {
	e.last = e.next
	if len(e.times) == 0 {
		return
	}
	encoded := e.points.Commit(0)
	data := encoded.Bytes()
	ours := series.Sending{Group: e.group, Data: data}
	view := e.points.View
	var theirs series.Sending
	if view != nil {
		view.SetTimes(e.times)
		theirs = series.Sending{Group: view.Group, Data: view.Bytes()}
	}
	point := 0
	for i, run := range e.points.Runs() {
		t := e.times[point]
		for range run.Points {
			encoded.SetPointTime(point, t)
			point++
		}
		c := e.claims[run.Metric]
		if c == nil {
			m := &e.points.Table[run.Metric]
			if key := e.key; dedup.Overlaps(key.Kind, m.Name) {
				key.Concept = dedup.Concept(m.Name)
				c = s.overlap.Claim("kubelet", s.cfg.Interval, key, m.Instrument == otlp.Counter)
			} else {
				c = s.overlap.Lone("kubelet", s.cfg.Interval, m.Instrument == otlp.Counter)
			}
			e.claims[run.Metric] = c
		}
		pass := c.Judge(at, t, data[run.Start:run.End], run.Points) == dedup.Pass
		ours.Add(run, pass && view.Ours(run.Metric), hand)
		if view != nil {
			theirs.Add(view.Run(i), pass, hand)
		}
	}
	ours.Flush(hand)
	theirs.Flush(hand)
}
