package agent

import (
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"

	"stint/export/otlp"
	"stint/scrape/cgroup"
	"stint/scrape/kubelet"
	"stint/tail"
)

// metadata turns what the kubelet knows of this node's pods into what the tailer adds to their
// records, and what their labels and annotations wish into what it does with them.
type metadata struct {
	pods *kubelet.Pods
	cfg  tail.Containers
	log  *slog.Logger

	mu    sync.Mutex
	known map[incarnation]knowledge
}

// incarnation is one run of a container.
type incarnation struct {
	uid, container string
	restart        int
}

type knowledge struct {
	pod   *kubelet.Pod // of which about was made
	about *tail.Container
}

// maxKnown bounds the containers that are remembered; over it all are looked up anew.
const maxKnown = 16_384

func newMetadata(pods *kubelet.Pods, cfg tail.Containers, log *slog.Logger) *metadata {
	return &metadata{pods: pods, cfg: cfg, log: log, known: map[incarnation]knowledge{}}
}

// lookup implements tail.Options.Lookup. While nothing changes that matters to the container's
// logs, it gives the same pointer.
func (m *metadata) lookup(uid, container string, restart int) *tail.Container {
	pod := m.pods.Lookup(uid)
	key := incarnation{uid, container, restart}
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.known[key]
	switch {
	case pod == nil:
		m.pods.Want(uid)
		return k.about // what was known stays true of the lines that are still to come
	case k.pod == pod:
		return k.about
	}
	about := m.about(pod, container, restart)
	if k.about != nil && reflect.DeepEqual(about, k.about) {
		about = k.about
	}
	if len(m.known) >= maxKnown {
		clear(m.known)
	}
	m.known[key] = knowledge{pod, about}
	return about
}

// about says what pod tells of one run of one of its containers. The names are those of
// OpenTelemetry's semantic conventions (registry: k8s, container, service).
func (m *metadata) about(pod *kubelet.Pod, container string, restart int) *tail.Container {
	c := &tail.Container{}
	add := func(key, value string) {
		if value != "" {
			c.Resource = append(c.Resource, otlp.Attr(key, value))
		}
	}
	add("service.name", pod.ServiceName(container))
	for _, a := range pod.Workload() {
		add(a.Key, a.Value)
	}
	i := slices.IndexFunc(pod.Containers, func(x kubelet.Container) bool { return x.Name == container })
	if i >= 0 {
		x := pod.Containers[i]
		if x.RestartCount == restart { // else it is the id of another run
			add("container.id", x.ID)
		}
		c.Resource = append(c.Resource, x.Resource()...)
		add("container.image.id", x.ImageID)
	}
	for _, key := range m.cfg.Labels {
		add("k8s.pod.label."+key, pod.Labels[key])
	}
	var more []string
	for key := range pod.Annotations {
		if name, ok := strings.CutPrefix(key, "resource.opentelemetry.io/"); ok && name != "service.name" {
			more = append(more, name)
		}
	}
	slices.Sort(more)
	for _, name := range more {
		add(name, pod.Annotations["resource.opentelemetry.io/"+name])
	}

	c.Exclude, c.ExcludeStream = m.excluded(pod, container)
	c.Multiline = m.choice(pod, container, "multiline", tail.MultilineModes)
	c.Parse = m.choice(pod, container, "parse", tail.ParseModes)
	return c
}

// excluded says whether a container's logs, or one of its streams (stdout, stderr), are not
// wanted: by stint's own annotations, by those of the agents that it takes the place of, or by
// the configuration.
func (m *metadata) excluded(pod *kubelet.Pod, container string) (all bool, streams [2]bool) {
	note := func(key string) string { return pod.Annotations[key] }
	of := func(key, sep string) string { // the container's own, else the pod's
		if v := note(key + sep + container); v != "" {
			return v
		}
		return note(key)
	}
	for _, l := range m.cfg.ExcludeLabels {
		key, value, exact := strings.Cut(l, "=")
		if v, ok := pod.Labels[key]; ok && (!exact || v == value) {
			return true, streams
		}
	}
	otel := note("io.opentelemetry.discovery.logs." + container + "/enabled")
	if otel == "" {
		otel = note("io.opentelemetry.discovery.logs/enabled")
	}
	if of("stint.io/exclude", ".") == "true" || of("fluentbit.io/exclude", "-") == "true" || otel == "false" ||
		pod.Labels["vector.dev/exclude"] == "true" || slices.Contains(splitList(note("vector.dev/exclude-containers")), container) {
		return true, streams
	}
	for s, name := range [...]string{"stdout", "stderr"} {
		streams[s] = of("fluentbit.io/exclude_"+name, "-") == "true"
	}
	return false, streams
}

func splitList(s string) []string {
	list := strings.Split(s, ",")
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	return list
}

// choice is what the annotation stint.io/NAME.CONTAINER, or stint.io/NAME, chooses; empty for
// nothing.
func (m *metadata) choice(pod *kubelet.Pod, container, name string, known []string) string {
	key := "stint.io/" + name + "." + container
	value, ok := pod.Annotations[key]
	if !ok {
		key = "stint.io/" + name
		if value, ok = pod.Annotations[key]; !ok {
			return ""
		}
	}
	if !slices.Contains(known, value) {
		m.log.Warn("annotation of a pod is not understood; it is ignored", "pod", pod.Namespace+"/"+pod.Name, "annotation", key, "value", value, "known", strings.Join(known, ","))
		return ""
	}
	return value
}

// podNames turns what the kubelet knows of pods into what the metrics of their cgroups are called.
type podNames struct {
	pods *kubelet.Pods

	mu    sync.Mutex
	known map[string]namedPod // by uid
}

type namedPod struct {
	pod   *kubelet.Pod // of which about was made
	about *cgroup.Pod
}

func newPodNames(pods *kubelet.Pods) *podNames {
	return &podNames{pods: pods, known: map[string]namedPod{}}
}

// lookup implements cgroup.Pods.
func (n *podNames) lookup(uid string) *cgroup.Pod {
	pod := n.pods.Lookup(uid)
	n.mu.Lock()
	defer n.mu.Unlock()
	k, ok := n.known[uid]
	switch {
	case pod == nil:
		n.pods.Want(uid)
		delete(n.known, uid)
		return nil
	case ok && k.pod == pod:
		return k.about
	}
	about := &cgroup.Pod{Resource: pod.Resource()}
	for i := range pod.Containers {
		c := &pod.Containers[i]
		about.Containers = append(about.Containers, cgroup.Container{ID: c.ID, Resource: c.Resource()})
	}
	if ok && reflect.DeepEqual(about, k.about) {
		about = k.about
	}
	n.known[uid] = namedPod{pod, about}
	return about
}
