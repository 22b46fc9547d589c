package cgroup

import (
	"bytes"
	"os"
	"slices"
	"strconv"
	"time"

	"stint/export/otlp"
	"stint/scrape/kernel"
)

// Pod is what is known of a pod beyond what its cgroup tells.
type Pod struct {
	Resource   []otlp.KeyValue // of the pod and of its containers: names of namespace, pod, workload, …
	Containers []Container
}

// Container is what is known of a container of a pod.
type Container struct {
	ID       string          // as in the name of its cgroup; empty before its first start
	Resource []otlp.KeyValue // beyond that of the pod: its name, image, …
	Started  time.Time       // zero: unknown
}

// Pods finds a pod by its uid; nil: not known (yet). As long as nothing changes it gives the
// same pointer; what that points at is not written to. It is called for each cgroup of a pod
// in every scrape, and must be quick.
type Pods func(uid string) *Pod

// about is what is known of an entity beyond its files.
type about struct {
	group   *otlp.Group // nil: nothing is sent yet
	pod     *Pod        // that group was made of
	named   bool        // and it had what there is to know
	waited  int         // scrapes in which the entity could not be named
	sandbox bool        // it holds a pod's namespaces and is left out
	looked  int         // scrapes in which its processes were looked for
}

// patience is for how many scrapes a new cgroup of a pod waits to be named, or for its first
// process: points with names and points without would be of two series.
const patience = 2

// describe brings up to date what an entity is called, and tells whether its points are sent.
func (s *Cgroups) describe(e *entity) bool {
	if e.uid == "" || s.pods == nil {
		if e.sandbox = s.holdsNamespaces(e); e.sandbox {
			return false
		}
		if e.group == nil {
			e.group = s.newGroup(e, nil, nil)
			s.claim(e)
		}
		return true
	}
	p := s.pods(e.uid)
	switch {
	case p == e.pod && (e.group != nil || e.sandbox):
		return !e.sandbox
	case p == nil && e.pod != nil: // it was deleted; what was known stays true
		return e.group != nil && !e.sandbox
	}
	var c *Container
	if p != nil && e.kind == container {
		for i := range p.Containers {
			if p.Containers[i].ID == e.id {
				c = &p.Containers[i]
			}
		}
		// What was listed once is a container.
		e.sandbox = c == nil && !e.named && (s.firstOfPod(e, p) || s.holdsNamespaces(e))
	} else {
		e.sandbox = s.holdsNamespaces(e)
	}
	if e.sandbox {
		e.pod = p
		return false
	}
	named := p != nil && (e.kind == pod || c != nil)
	switch {
	case !named && e.named: // the list has its successor already
		e.pod = p
		return true
	case !named && e.waited < patience:
		e.waited++
		return false
	case c != nil && !c.Started.IsZero() && e.group == nil:
		e.start = uint64(c.Started.UnixNano())
	}
	e.pod, e.named, e.group = p, named, s.newGroup(e, p, c)
	s.claim(e)
	return true
}

// newGroup encodes the resource of a container or pod, and says what it is called elsewhere.
func (s *Cgroups) newGroup(e *entity, p *Pod, c *Container) *otlp.Group {
	var kvs []otlp.KeyValue
	if e.id != "" {
		kvs = append(kvs, otlp.Attr("container.id", e.id))
	}
	if e.uid != "" {
		kvs = append(kvs, otlp.Attr("k8s.pod.uid", e.uid))
	}
	if p != nil {
		kvs = append(kvs, p.Resource...)
	}
	if c != nil {
		kvs = append(kvs, c.Resource...)
	}
	kvs = slices.Clip(kvs)
	s.view(e, kvs)
	return otlp.NewGroup(append(kvs, s.resource...), otlp.SchemaURL, scopeName, s.version)
}

// firstOfPod tells whether a container that its pod does not list is the pod's sandbox: it
// is made before the others, and ids of cgroups (inode numbers) grow. One that is made later
// and not listed is a container that the list does not have yet.
func (s *Cgroups) firstOfPod(e *entity, p *Pod) bool {
	started := false
	for i := range p.Containers {
		started = started || p.Containers[i].ID != ""
	}
	if !started {
		return false
	}
	for _, n := range e.node.parent.children {
		if n.identity.kind == container && n.inode < e.node.inode {
			return false
		}
	}
	return true
}

// holdsNamespaces tells, where the pod is not known, whether a container of Kubernetes is a
// sandbox: its one process is called pause (or pod, on OpenShift). In a pid namespace of its
// own the agent cannot tell: the kernel shows it 0 for other processes.
func (s *Cgroups) holdsNamespaces(e *entity) bool {
	if e.kind != container || !e.kube || e.looked >= patience {
		return e.sandbox
	}
	e.looked++
	b, err := os.ReadFile(s.tree.dir + e.path + "/cgroup.procs")
	pids := bytes.Fields(b)
	if err != nil || len(pids) == 0 {
		return false // look again
	}
	e.looked = patience
	if len(pids) != 1 {
		return false
	}
	pid, _, ok := kernel.Number(pids[0])
	if !ok || pid == 0 {
		return false
	}
	comm, _ := os.ReadFile(s.root + "/proc/" + strconv.FormatUint(pid, 10) + "/comm")
	name := string(bytes.TrimSpace(comm))
	return name == "pause" || name == "pod"
}
