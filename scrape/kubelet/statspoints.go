package kubelet

import (
	"math"
	"slices"
	"time"

	"stint/export/otlp"
	"stint/scrape/dedup"
	"stint/scrape/series"
)

// writer makes an entity's points of a sample. What the sample does not tell, or not the time of,
// has no point.
type writer struct {
	e      *entity
	v      *sample
	detail bool
	latest uint64 // of times that are believed
}

func (s *Stats) write(e *entity, v *sample, detail bool) writer {
	e.points.Begin(e.start)
	e.times = e.times[:0]
	e.next = e.last
	return writer{e, v, detail, s.now + ahead}
}

// time is when a block's figures were measured.
func (w writer) time(at int) (t uint64, ok bool) {
	t = w.v.v[at]
	return t, w.v.tells(at) && t <= w.latest
}

func (w writer) int(metric int, attrs []byte, at, f int) {
	if t, ok := w.time(at); ok && w.v.tells(f) {
		w.e.points.Int(metric, attrs, w.v.v[f])
		w.e.times = append(w.e.times, t)
	}
}

func (w writer) float(metric int, attrs []byte, t uint64, v float64) {
	w.e.points.Float(metric, attrs, v)
	w.e.times = append(w.e.times, t)
}

// cpu makes the points of CPU time, and, if wanted, of CPUs. 0 before anything else is no figure.
func (w writer) cpu(used, cpus int, rate bool) {
	t, ok := w.time(cpuAt)
	if !ok || !w.v.tells(cpuUsed) || w.v.v[cpuUsed] == 0 && w.e.last.cpuUsed == 0 {
		return
	}
	w.e.next.cpu(w.v.v[cpuUsed], t)
	w.e.points.Start = max(w.e.start, w.e.next.cpuStart)
	w.float(used, nil, t, float64(w.v.v[cpuUsed])/1e9)
	w.e.points.Start = w.e.start
	if rate && w.e.next.rated {
		w.float(cpus, nil, t, w.e.next.cpus)
	}
}

// memory tells whether there are figures of memory: all zeros stand for none.
func (w writer) memory() bool {
	return w.v.figure(memoryUsage)+w.v.figure(memoryWorkingSet) > 0
}

func (w writer) faults(metric int, major, minor []byte) {
	t, ok := w.time(memoryAt)
	if ok && w.v.tells(memoryFaults) && w.v.tells(memoryMajorFaults) {
		m := w.v.v[memoryMajorFaults]
		w.e.points.Int(metric, major, m)
		w.e.points.Int(metric, minor, max(w.v.v[memoryFaults], m)-m)
		w.e.times = append(w.e.times, t, t)
	}
}

// tree makes points of a file system whose figures begin with at. Capacity 0 is that of one that
// the kubelet does not know; no inodes are those of one that makes them as it goes.
func (w writer) tree(at int, available, capacity, used, free int) {
	if w.v.zero(at + 2) {
		return
	}
	for i, metric := range [...]int{available, capacity, used, free} {
		if metric != none {
			w.int(metric, nil, at, at+1+i)
		}
	}
}

// none stands for a metric that is not wanted.
const none = -1

// uptime is the one figure that is of the time of the scrape.
func (w writer) uptime(metric int, now uint64) {
	if t, ok := w.time(began); ok && t <= now {
		w.float(metric, nil, now, time.Duration(now-t).Seconds())
	}
}

// pressure makes the points of PSI, cpu being the first of its three metrics. The unit is learned of
// what is not sent, too.
func (s *Stats) pressure(w writer, cpu int, send bool) {
	if !s.psi {
		return
	}
	u := &s.units[w.e.key.Kind]
	for i, at := range [...]int{cpuAt, memoryAt, ioAt} {
		f := psiFirst + i*psiFigures
		t, ok := w.time(at)
		if !ok || !w.v.tells(f+psiSome) {
			continue
		}
		var avg10, avg60 float64
		if w.v.tells(f+psiSomeAvg10) && w.v.tells(f+psiSomeAvg60) {
			avg10, avg60 = math.Float64frombits(w.v.v[f+psiSomeAvg10]), math.Float64frombits(w.v.v[f+psiSomeAvg60])
		}
		w.e.next.psi[i] = u.learn(w.e.last.psi[i], w.v.v[f+psiSome], t, w.v.figure(began), avg10, avg60)
		if v, ok := u.value(w.v.v[f+psiSome]); ok && send {
			w.float(cpu+i, s.attrs.some, t, v)
		}
		if v, ok := u.value(w.v.v[f+psiFull]); ok && send && w.v.tells(f+psiFull) {
			w.float(cpu+i, s.attrs.full, t, v)
		}
	}
}

// psiWindows are the figures of averages, in the order of Stats.attrs.windows.
var psiWindows = [...]int{psiSomeAvg10, psiSomeAvg60, psiSomeAvg300, psiFullAvg10, psiFullAvg60, psiFullAvg300}

// averages makes the points of averages of pressure, which the kubelet has in percent.
func (s *Stats) averages(w writer, cpu int) {
	if !s.psi {
		return
	}
	for i, at := range [...]int{cpuAt, memoryAt, ioAt} {
		t, ok := w.time(at)
		for j, avg := range psiWindows {
			if f := psiFirst + i*psiFigures + avg; ok && w.v.tells(f) {
				w.float(cpu+i, s.attrs.windows[j], t, math.Float64frombits(w.v.v[f])/100)
			}
		}
	}
}

// ofTheNode makes the two points of use by what the node has.
func (s *Stats) ofTheNode(w writer, cpu, memory int) {
	if t, ok := w.time(cpuAt); ok && w.e.next.rated && t == w.e.next.cpuAt && s.capacity.cpus > 0 {
		w.float(cpu, nil, t, w.e.next.cpus/s.capacity.cpus)
	}
	if t, ok := w.time(memoryAt); ok && w.v.tells(memoryUsage) && w.memory() && s.capacity.memory > 0 {
		w.float(memory, nil, t, float64(w.v.v[memoryUsage])/s.capacity.memory)
	}
}

// utilization makes the four points of use by limit and request, limit of the CPU being the first.
func (w writer) utilization(first int, d demand) {
	by := func(metric int, t uint64, used, of float64) {
		if of > 0 {
			w.float(metric, nil, t, used/of)
		}
	}
	if t, ok := w.time(cpuAt); ok && w.e.next.rated && t == w.e.next.cpuAt {
		by(first, t, w.e.next.cpus, d.cpuLimit)
		by(first+1, t, w.e.next.cpus, d.cpuRequest)
	}
	if t, ok := w.time(memoryAt); ok && w.v.tells(memoryUsage) && w.memory() {
		by(first+2, t, float64(w.v.v[memoryUsage]), d.memoryLimit)
		by(first+3, t, float64(w.v.v[memoryUsage]), d.memoryRequest)
	}
}

// network makes the points of interfaces: bytes, and errors.
func (s *Stats) network(w writer, list []sample, io, errors int) {
	t, ok := w.time(networkAt)
	if !ok {
		return
	}
	for _, m := range [...]struct{ metric, received, sent int }{{io, receivedBytes, sentBytes}, {errors, receivedErrors, sentErrors}} {
		for i := range list {
			v := &list[i]
			a := s.interfaceAttrs(v.text[textName])
			if a == nil {
				continue
			}
			if v.tells(m.received) {
				w.e.points.Int(m.metric, a.receive, v.v[m.received])
				w.e.times = append(w.e.times, t)
			}
			if v.tells(m.sent) {
				w.e.points.Int(m.metric, a.transmit, v.v[m.sent])
				w.e.times = append(w.e.times, t)
			}
		}
	}
}

// interfaceAttrs gives the same bytes for the same name.
func (s *Stats) interfaceAttrs(name []byte) *interfaceAttrs {
	a := s.interfaces[string(name)]
	if a == nil && len(name) > 0 {
		if len(s.interfaces) >= maxInterfaces {
			clear(s.interfaces) // those in use are encoded anew
		}
		ifname := otlp.Attr("network.interface.name", string(name))
		a = &interfaceAttrs{
			receive:  series.Attributes(ifname, otlp.Attr("network.io.direction", "receive")),
			transmit: series.Attributes(ifname, otlp.Attr("network.io.direction", "transmit")),
		}
		s.interfaces[string(name)] = a
	}
	return a
}

// takeNode makes the points of the node and its system containers.
func (s *Stats) takeNode() {
	v := &s.summary.node
	if s.node == nil {
		s.node = &entity{group: s.newGroup(nil)}
		s.enter(s.node, dedup.Key{Kind: dedup.Node}, nodeMetrics, v)
		s.show(s.node, s.names.node, nil)
	}
	s.node.seen = s.polls
	s.learnNode(v)
	d := s.cfg.Node.Detail
	w := s.write(s.node, v, d)
	list := s.summary.lists[partSystem]
	if s.cfg.Node.Enabled {
		s.writeNode(w)
	} else {
		s.pressure(w, nodeCPUPressure, false)
		list = nil
	}
	for i := range list {
		c := s.systemContainer(list[i].text[textName], &list[i])
		w := s.write(&c.entity, &list[i], d)
		w.cpu(systemCPUTime, systemCPUUsage, d)
		if w.memory() {
			if d {
				w.int(systemMemoryUsage, nil, memoryAt, memoryUsage)
			}
			w.int(systemWorkingSet, nil, memoryAt, memoryWorkingSet)
		}
	}
}

// learnNode notes what the points of pods depend on.
func (s *Stats) learnNode(v *sample) {
	s.swap = v.figure(swapUsage)+v.figure(swapAvailable) > 0
	// The kubelet writes zeros where the kernel has no PSI. Where it has, a node has waited for a
	// CPU by the time that a kubelet runs.
	for f := psiFirst; f < figures; f += psiFigures {
		s.psi = s.psi || v.figure(f+psiSome) > 0
	}
	list := s.summary.lists[partNodeInterfaces]
	if !sameNames(s.ofNode, list) {
		s.ofNode = s.ofNode[:0]
		for i := range list {
			s.ofNode = append(s.ofNode, string(list[i].text[textName]))
		}
	}
}

// sameNames tells whether the samples have these names, in this order.
func sameNames(names []string, list []sample) bool {
	return slices.EqualFunc(names, list, func(name string, v sample) bool { return name == string(v.text[textName]) })
}

func (s *Stats) writeNode(w writer) {
	d := w.detail
	w.cpu(nodeCPUTime, nodeCPUUsage, true)
	if w.memory() {
		w.int(nodeMemoryUsage, nil, memoryAt, memoryUsage)
		w.int(nodeMemoryAvailable, nil, memoryAt, memoryAvailable)
		w.int(nodeMemoryRSS, nil, memoryAt, memoryRSS)
		w.int(nodeWorkingSet, nil, memoryAt, memoryWorkingSet)
		w.faults(nodeFaults, s.attrs.major, s.attrs.minor)
	}
	w.tree(fsAt, nodeFSAvailable, nodeFSCapacity, nodeFSUsage, none)
	if !w.v.zero(fsInodes) {
		w.int(nodeFSInodes, nil, fsAt, fsInodes)
		w.int(nodeFSInodesFree, nil, fsAt, fsInodesFree)
	}
	w.tree(imagesAt, nodeImagesAvailable, nodeImagesCapacity, nodeImagesUsage, wanted(d, nodeImagesInodesFree))
	if d {
		w.tree(layersAt, nodeLayersAvailable, nodeLayersCapacity, nodeLayersUsage, nodeLayersInodesFree)
	}
	s.network(w, s.summary.lists[partNodeInterfaces], nodeNetworkIO, nodeNetworkErrors)
	w.uptime(nodeUptime, s.now)
	w.int(nodePidUsage, nil, limitsAt, limitsCurProc)
	w.int(nodePidLimit, nil, limitsAt, limitsMaxPid)
	if s.swap {
		w.int(nodeSwapUsage, nil, swapAt, swapUsage)
		w.int(nodeSwapAvailable, nil, swapAt, swapAvailable)
	}
	s.pressure(w, nodeCPUPressure, true)
}

func wanted(on bool, metric int) int {
	if on {
		return metric
	}
	return none
}

func (s *Stats) systemContainer(name []byte, v *sample) *systemEntity {
	i := slices.IndexFunc(s.system, func(c *systemEntity) bool { return c.name == string(name) })
	if i < 0 {
		i = len(s.system)
		c := &systemEntity{name: string(name)}
		c.group = s.newGroup(nil, otlp.Attr("k8s.node.system_container.name", c.name))
		s.enter(&c.entity, dedup.Key{Kind: dedup.Node, Entity: c.name}, systemMetrics, v)
		s.system = append(s.system, c)
	}
	s.system[i].seen = s.polls
	return s.system[i]
}

// takePod makes the points of a pod and its parts.
func (s *Stats) takePod() {
	v := &s.summary.pod
	p := s.byUID[string(v.text[textUID])]
	if p == nil {
		if len(v.text[textUID]) == 0 || len(s.byUID) >= maxStatsPods {
			s.left++
			return
		}
		p = &podEntity{}
		s.enter(&p.entity, dedup.Key{Kind: dedup.Pod, Entity: string(v.text[textUID])}, podMetrics, v)
		s.byUID[p.key.Entity] = p
		s.pods = append(s.pods, p)
	}
	p.seen = s.polls
	if !s.describePod(p, v) {
		return
	}
	s.writePod(p, v)
	for i := range s.summary.lists[partContainers] {
		s.takeContainer(p, &s.summary.lists[partContainers][i])
	}
	for i := range s.summary.lists[partVolumes] {
		s.takeVolume(p, &s.summary.lists[partVolumes][i])
	}
}

func (s *Stats) writePod(p *podEntity, v *sample) {
	d := s.cfg.Pods.Detail
	w := s.write(&p.entity, v, d)
	if !s.cfg.Pods.Enabled {
		s.pressure(w, podCPUPressure, false)
		return
	}
	w.cpu(podCPUTime, podCPUUsage, d)
	if w.memory() {
		w.int(podMemoryUsage, nil, memoryAt, memoryUsage)
		if d {
			w.int(podMemoryRSS, nil, memoryAt, memoryRSS)
		}
		w.int(podWorkingSet, nil, memoryAt, memoryWorkingSet)
		if d && v.figure(memoryAvailable) > 0 { // 0 is that of a pod without a limit, from the CRI
			w.int(podMemoryAvailable, nil, memoryAt, memoryAvailable)
		}
		if d {
			w.faults(podFaults, s.attrs.major, s.attrs.minor)
		}
	}
	if list := s.summary.lists[partInterfaces]; !s.onHostNetwork(p, list) {
		p.points.Start = max(p.start, v.figure(began)) // a new sandbox has a new network
		s.network(w, list, podNetworkIO, podNetworkErrors)
		p.points.Start = p.start
	}
	w.tree(fsAt, wanted(d, podFSAvailable), wanted(d, podFSCapacity), podFSUsage, none)
	if d {
		w.int(podFSInodesUsed, nil, fsAt, fsInodesUsed)
		w.uptime(podUptime, s.now)
		w.int(podProcesses, nil, cpuAt, processes) // which has no time of its own
	}
	if s.swap {
		w.int(podSwapUsage, nil, swapAt, swapUsage)
	}
	s.pressure(w, podCPUPressure, true)
	if s.cfg.Utilization {
		s.ofTheNode(w, podCPUOfNode, podMemoryOfNode)
		w.utilization(podCPULimit, p.demand)
	}
}

// onHostNetwork tells whether the interfaces are the node's: those of a pod that is not known are,
// if they have the same names and there are several.
func (s *Stats) onHostNetwork(p *podEntity, list []sample) bool {
	if p.about != nil {
		return p.about.HostNetwork
	}
	several := 0
	for _, name := range s.ofNode {
		if name != "lo" {
			several++
		}
		if !slices.ContainsFunc(list, func(v sample) bool { return string(v.text[textName]) == name }) {
			return false
		}
	}
	return several > 1 && len(list) == len(s.ofNode)
}

func (s *Stats) takeContainer(p *podEntity, v *sample) {
	name := v.text[textName]
	i := slices.IndexFunc(p.containers, func(c *containerEntity) bool { return c.name == string(name) })
	if i < 0 {
		i = len(p.containers)
		p.containers = append(p.containers, &containerEntity{name: string(name)})
	}
	c := p.containers[i]
	c.seen = s.polls
	if !s.describeContainer(p, c, v) {
		return
	}
	if c.id == "" {
		s.unnamed++
	}
	d := s.cfg.Containers.Detail
	w := s.write(&c.entity, v, d)
	if !s.cfg.Containers.Enabled {
		s.pressure(w, containerCPUPressure, false)
		return
	}
	w.cpu(containerCPUTime, containerCPUUsage, d)
	if w.memory() {
		w.int(containerMemoryUsage, nil, memoryAt, memoryUsage)
		w.int(containerMemoryRSS, nil, memoryAt, memoryRSS)
		w.int(containerWorkingSet, nil, memoryAt, memoryWorkingSet)
		if d && c.limit && v.figure(memoryAvailable) > 0 {
			w.int(containerMemoryAvailable, nil, memoryAt, memoryAvailable)
		}
	}
	if s.swap {
		w.int(containerSwapUsage, nil, swapAt, swapUsage)
	}
	if w.memory() {
		w.faults(containerFaults, s.attrs.major, s.attrs.minor)
	}
	w.tree(fsAt, wanted(d, containerFSAvailable), wanted(d, containerFSCapacity), containerFSUsage, none)
	if d {
		w.int(containerFSInodesUsed, nil, fsAt, fsInodesUsed)
	}
	w.int(containerEphemeral, s.attrs.logs, logsAt, logsUsed)
	if d {
		w.uptime(containerUptime, s.now)
	}
	s.pressure(w, containerCPUPressure, true)
	if d {
		s.averages(w, containerCPUAverage)
	}
	if s.cfg.Utilization {
		s.ofTheNode(w, containerCPUOfNode, containerMemoryOfNode)
		w.utilization(containerCPULimit, c.demand)
	}
	if t, ok := w.time(cpuAt); ok && c.points.View != nil && v.tells(began) {
		w.float(containerStarted, nil, t, float64(v.v[began])/1e9)
	}
}

func (s *Stats) takeVolume(p *podEntity, v *sample) {
	name := v.text[textName]
	i := slices.IndexFunc(p.volumes, func(e *volumeEntity) bool { return e.name == string(name) })
	if i < 0 {
		i = len(p.volumes)
		p.volumes = append(p.volumes, &volumeEntity{name: string(name)})
	}
	e := p.volumes[i]
	e.seen = s.polls
	sent := s.describeVolume(p, e, v)
	w := s.write(&e.entity, v, s.cfg.Pods.Detail)
	if !sent || v.zero(fsCapacity) {
		return
	}
	w.int(volumeAvailable, e.attrs, fsAt, fsAvailable)
	w.int(volumeCapacity, e.attrs, fsAt, fsCapacity)
	w.int(volumeUsage, e.attrs, fsAt, fsUsed)
	if v.zero(fsInodes) {
		return
	}
	if s.names.inodes || e.points.View != nil {
		w.int(volumeInodes, e.attrs, fsAt, fsInodes)
	}
	w.int(volumeInodesFree, e.attrs, fsAt, fsInodesFree)
	w.int(volumeInodesUsed, e.attrs, fsAt, fsInodesUsed)
}
