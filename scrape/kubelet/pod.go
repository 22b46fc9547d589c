// Package kubelet reads what the kubelet of this node knows: its pods, and their statistics (stats.go).
//
// Pods come from the kubelet's Pods API, a gRPC stream over a Unix socket, where there is one,
// else from GET /pods. The API server is not asked for anything.
package kubelet

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Bounds of what is kept of one pod, whose author may be anybody in the cluster. Labels beyond
// come late in the alphabet. An object can't be over 1.5 MiB in etcd, so that 250 pods could
// otherwise hold 375 MiB.
const (
	maxMapEntries = 64      // labels, and again annotations
	maxMapBytes   = 8 << 10 // keys and values of labels, and again of annotations
	maxText       = 1 << 10 // any single text; a longer annotation is left out, an image or id is empty
	maxParts      = 256     // containers, and again volumes
)

// lastApplied is kubectl's copy of the whole object in itself. It is left out without being counted.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// Pod is what is kept of a pod. It is never changed: a newer state is another Pod.
//
// Labels and Annotations hold up to 64 entries and 8 KiB each, none over 1 KiB, and never
// kubectl's last-applied-configuration; Trimmed says how much else was left out.
type Pod struct {
	Namespace   string
	Name        string
	UID         string // as in the paths of log files: of a static pod, the hash of its configuration
	NodeName    string
	IP          string
	HostNetwork bool // it has the node's interfaces, so its network statistics are the node's
	Phase       string
	Labels      map[string]string
	Annotations map[string]string
	Owner       Owner
	Containers  []Container // in the order of the specification: init, then regular, then ephemeral ones
	Volumes     []Volume
	Trimmed     int // labels, annotations, containers and volumes left out because they are over the bounds

	mirror bool // the API server's image of a static pod
}

// Owner is the object that controls a pod; zero if none does.
type Owner struct {
	Kind string
	Name string
}

// Kind tells how a container is run.
type Kind uint8

// The kinds of containers. A sidecar is an Init that goes on running.
const (
	Regular Kind = iota
	Init
	Ephemeral
)

// Container is what is kept of a container.
type Container struct {
	Name          string
	Kind          Kind
	ID            string // of the current or last run, without the runtime in front; empty before the first
	Image         string // as the specification has it
	ImageID       string
	RestartCount  int
	Running       bool
	CPURequest    float64 // cores; 0: none
	CPULimit      float64 // cores; 0: none
	MemoryRequest int64   // bytes; 0: none
	MemoryLimit   int64   // bytes; 0: none
}

// Volume is what is kept of a volume.
type Volume struct {
	Name  string
	Type  string // the name of its source in the specification: emptyDir, configMap, persistentVolumeClaim, ...
	Claim string // the claim behind a persistentVolumeClaim or ephemeral volume
}

// Attr is an attribute under its OpenTelemetry name.
type Attr struct {
	Key   string
	Value string
}

// Workload tells what the pod belongs to, nearest first, by names alone: the API server is not
// asked. A Deployment's name is its ReplicaSet's without the hash that the pod has as a label; a
// CronJob's is its Job's without the scheduled time.
func (p *Pod) Workload() []Attr {
	name := p.Owner.Name
	switch p.Owner.Kind {
	case "ReplicaSet":
		attrs := []Attr{{"k8s.replicaset.name", name}}
		if hash := p.Labels["pod-template-hash"]; hash != "" {
			if d, ok := strings.CutSuffix(name, "-"+hash); ok && d != "" {
				attrs = append(attrs, Attr{"k8s.deployment.name", d})
			}
		}
		return attrs
	case "StatefulSet":
		return []Attr{{"k8s.statefulset.name", name}}
	case "DaemonSet":
		return []Attr{{"k8s.daemonset.name", name}}
	case "Job":
		attrs := []Attr{{"k8s.job.name", name}}
		if c := cronJob(name); c != "" {
			attrs = append(attrs, Attr{"k8s.cronjob.name", c})
		}
		return attrs
	}
	return nil
}

// The CronJob controller names a Job CRONJOB-MINUTES, minutes since 1970
// (pkg/controller/cronjob, getJobName). These are 2015 and 2100; dates such as 20260131 lie below.
const (
	firstMinute = 23_667_840
	lastMinute  = 68_374_080
)

func cronJob(job string) string {
	i := strings.LastIndexByte(job, '-')
	if i < 1 {
		return ""
	}
	n, err := strconv.ParseUint(job[i+1:], 10, 64)
	if err != nil || n < firstMinute || n > lastMinute || len(job)-i-1 != 8 {
		return ""
	}
	return job[:i]
}

// ServiceName is the service.name of what a container writes: the annotation
// resource.opentelemetry.io/service.name, the label app.kubernetes.io/name, the workload, or the
// container.
//
// The order is that of OpenTelemetry's "Resource attributes in K8s" (semantic-conventions,
// docs/non-normative/k8s-attributes.md) but for two steps. Its second, the label
// app.kubernetes.io/instance, is left out: that names a release, and all parts of a release would
// be one service. So is its last but one, the pod's name: what no workload controls is one of
// several containers that do different things.
func (p *Pod) ServiceName(container string) string {
	if s := p.Annotations["resource.opentelemetry.io/service.name"]; s != "" {
		return s
	}
	if s := p.Labels["app.kubernetes.io/name"]; s != "" {
		return s
	}
	if w := p.Workload(); len(w) > 0 {
		return w[len(w)-1].Value
	}
	return container
}

// same tells whether two states are one as far as we keep them.
func (p *Pod) same(o *Pod) bool {
	return p.Namespace == o.Namespace && p.Name == o.Name && p.UID == o.UID && p.NodeName == o.NodeName && p.IP == o.IP &&
		p.HostNetwork == o.HostNetwork && p.Phase == o.Phase && p.Owner == o.Owner && p.Trimmed == o.Trimmed && p.mirror == o.mirror &&
		maps.Equal(p.Labels, o.Labels) && maps.Equal(p.Annotations, o.Annotations) &&
		slices.Equal(p.Containers, o.Containers) && slices.Equal(p.Volumes, o.Volumes)
}

// texts keeps one copy of each text that many pods have in common, such as namespaces, images and
// label keys. It is not safe for concurrent use.
type texts map[string]string

// maxTexts bounds the table; it starts anew when it is full. What pods hold stays.
const maxTexts = 8192

// of is the text in b, clean enough for OTLP, and empty if it is over maxText.
func (t texts) of(b []byte) string {
	if len(b) == 0 || len(b) > maxText {
		return ""
	}
	if s, ok := t[string(b)]; ok {
		return s
	}
	s := strings.ToValidUTF8(string(b), "?")
	if len(t) >= maxTexts {
		clear(t)
	}
	t[s] = s
	return s
}

// builder gathers one pod for either source, within the bounds.
type builder struct {
	Pod
	texts       texts
	labels      int // bytes
	annotations int // bytes
	hash        string
	states      []state
}

func (b *builder) label(k, v []byte) { b.put(&b.Labels, &b.labels, k, v) }

func (b *builder) annotation(k, v []byte) {
	switch string(k) {
	case lastApplied:
		return
	case "kubernetes.io/config.mirror":
		b.mirror = true
	case "kubernetes.io/config.hash":
		b.hash = b.texts.of(v)
	}
	b.put(&b.Annotations, &b.annotations, k, v)
}

// put adds an entry unless it is over the bounds.
func (b *builder) put(m *map[string]string, size *int, k, v []byte) {
	n := *size + len(k) + len(v)
	if len(*m) >= maxMapEntries || n > maxMapBytes || len(k) > maxText || len(v) > maxText {
		b.Trimmed++
		return
	}
	if *m == nil {
		*m = map[string]string{}
	}
	(*m)[b.texts.of(k)], *size = b.texts.of(v), n
}

func (b *builder) volume(v Volume) {
	if len(b.Volumes) >= maxParts {
		b.Trimmed++
		return
	}
	b.Volumes = append(b.Volumes, v)
}

func (b *builder) container(c Container) {
	if len(b.Containers) >= maxParts {
		b.Trimmed++
	} else if b.find(c.Kind, c.Name) == nil {
		b.Containers = append(b.Containers, c)
	}
}

func (b *builder) find(kind Kind, name string) *Container {
	for i := range b.Containers {
		if c := &b.Containers[i]; c.Kind == kind && c.Name == name {
			return c
		}
	}
	return nil
}

// state is what the status of a pod says of a container.
type state struct {
	kind              Kind
	name, id, imageID string
	restarts          int
	running           bool
}

// done gives the pod. It fails for one without a uid, under which it could not be found.
func (b *builder) done() (*Pod, error) {
	if b.mirror && b.hash != "" {
		b.UID = b.hash
	}
	if b.UID == "" {
		return nil, fail("malformed", "pod %s/%s has no uid", b.Namespace, b.Name)
	}
	for _, s := range b.states {
		if c := b.find(s.kind, s.name); c != nil {
			_, c.ID, _ = strings.Cut(s.id, "://")
			c.ImageID, c.RestartCount, c.Running = s.imageID, s.restarts, s.running
		}
	}
	slices.SortStableFunc(b.Containers, func(x, y Container) int { return kindOrder[x.Kind] - kindOrder[y.Kind] })
	for i := range b.Volumes {
		if v := &b.Volumes[i]; v.Type == "ephemeral" {
			v.Claim = b.Name + "-" + v.Name // the fixed name of its claim, by KEP 1698
		}
	}
	p := b.Pod
	return &p, nil
}

var kindOrder = [...]int{Init: 0, Regular: 1, Ephemeral: 2}
