package kubelet

import (
	"math"
	"strings"

	"stint/export/otlp"
)

// Resource says what a pod is, beyond its uid: names of its namespace, itself and its workload.
func (p *Pod) Resource() []otlp.KeyValue {
	kvs := []otlp.KeyValue{otlp.Attr("k8s.namespace.name", p.Namespace), otlp.Attr("k8s.pod.name", p.Name)}
	for _, a := range p.Workload() {
		if a.Value != "" {
			kvs = append(kvs, otlp.Attr(a.Key, a.Value))
		}
	}
	return kvs
}

// Resource says what a container of a pod is, beyond its id: its name and image.
func (c *Container) Resource() []otlp.KeyValue {
	kvs := []otlp.KeyValue{otlp.Attr("k8s.container.name", c.Name)}
	// [host[:port]/]path[:tag][@digest]
	name, _, _ := strings.Cut(c.Image, "@")
	tag := ""
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		name, tag = name[:i], name[i+1:]
	}
	if name != "" {
		kvs = append(kvs, otlp.Attr("container.image.name", name))
	}
	if tag != "" {
		kvs = append(kvs, otlp.KeyValue{Key: "container.image.tags", Value: otlp.Array(otlp.String(tag))})
	}
	return kvs
}

// demand is what a container, or all of a pod's together, may use and has asked for; what is not over 0 is none.
type demand struct {
	cpuLimit, cpuRequest, memoryLimit, memoryRequest float64
}

// demand of the container.
func (c *Container) demand() demand {
	return demand{c.CPULimit, c.CPURequest, float64(c.MemoryLimit), float64(c.MemoryRequest)}
}

// demand of all containers that run side by side: what one of them lacks the pod lacks. An init
// container that still runs when a regular one does is a sidecar.
func (p *Pod) demand() demand {
	started := false
	for i := range p.Containers {
		started = started || p.Containers[i].Kind == Regular && p.Containers[i].Running
	}
	var sum demand
	add := func(sum *float64, v float64) {
		if v == 0 {
			v = math.NaN() // which the sum stays, and which is not over 0
		}
		*sum += v
	}
	for i := range p.Containers {
		if c := &p.Containers[i]; c.Kind == Regular || c.Kind == Init && started && c.Running {
			d := c.demand()
			add(&sum.cpuLimit, d.cpuLimit)
			add(&sum.cpuRequest, d.cpuRequest)
			add(&sum.memoryLimit, d.memoryLimit)
			add(&sum.memoryRequest, d.memoryRequest)
		}
	}
	return sum
}
