package cgroup

import (
	"path"
	"strings"
)

// kind is what a cgroup stands for.
type kind uint8

const (
	other     kind = iota // nothing that is reported
	container             // a container, with all that it may have below it
	pod                   // a pod of Kubernetes
	unit                  // a service or slice of systemd
)

// identity is what the path of a cgroup tells.
type identity struct {
	kind    kind
	id      string // of a container
	uid     string // of a pod, or of the pod that a container is in; empty outside Kubernetes
	unit    string // of a unit
	kube    bool   // lies in the tree of pods, or is its root
	descend bool   // there may be more below
}

const (
	// maxDepth bounds how deep cgroups are looked for. Four levels are kubepods, its class, the
	// pod and the container; systemd's rootless podman has six; the rest is for trees that lie
	// in another one, as those of kind.
	maxDepth = 10
	// maxUnitDepth bounds how deep units are reported: system.slice, system-getty.slice,
	// getty@tty1.service. What lies deeper is part of these.
	maxUnitDepth = 3
)

// identify tells what the cgroup at a path is, given what the one above it is. Runtimes and
// drivers differ in the last name only:
//
//	kubepods-burstable-pod<uid, - as _>.slice       pod, systemd driver
//	kubepods/burstable/pod<uid>                     pod, cgroupfs driver
//	cri-containerd-<id>.scope, crio-<id>.scope,     container, systemd driver
//	docker-<id>.scope, libpod-<id>.scope, …
//	<id>, crio-<id>, libpod-<id>                    container, cgroupfs driver
//	kubepods-…-pod<uid>.slice:cri-containerd:<id>   container, its runtime with the wrong driver
//	crio-conmon-<id>.scope, libpod-conmon-<id>      the container's monitor: nothing
func identify(p string, above identity) identity {
	name := path.Base(p)
	depth := strings.Count(p, "/")
	if depth > maxDepth || above.kind == container {
		return identity{}
	}
	i := identity{uid: above.uid, kube: above.kube || isKubepods(name), descend: depth < maxDepth}

	if strings.Contains(name, "conmon") {
		return identity{}
	}
	if slice, rest, ok := strings.Cut(name, ":"); ok {
		if id := containerID(rest[strings.LastIndexByte(rest, ':')+1:]); id != "" {
			return identity{kind: container, id: id, uid: podUID(slice, identity{kube: true}), kube: isKubepods(slice)}
		}
	}
	if id := containerID(name); id != "" {
		return identity{kind: container, id: id, uid: i.uid, kube: i.kube}
	}
	if i.uid == "" {
		if uid := podUID(name, i); uid != "" {
			i.kind, i.uid = pod, uid
			return i
		}
	}
	// What a service has below it is part of the service.
	if !i.kube && depth <= maxUnitDepth && (depth == 1 || strings.HasSuffix(above.unit, ".slice")) &&
		(strings.HasSuffix(name, ".service") || strings.HasSuffix(name, ".slice")) {
		i.kind, i.unit = unit, name
	}
	return i
}

// isKubepods tells whether a cgroup is the root of the pods: kubepods, kubepods.slice, or
// with a --cgroup-root such as kubelet, kubelet-kubepods.slice.
func isKubepods(name string) bool {
	return strings.HasPrefix(name, "kubepods") || strings.HasSuffix(name, ".slice") && strings.Contains(name, "-kubepods")
}

// podUID is the uid of the pod that a cgroup of this name is, or empty.
func podUID(name string, in identity) string {
	if !in.kube {
		return ""
	}
	uid, ok := strings.CutPrefix(name, "pod")
	if slice, is := strings.CutSuffix(name, ".slice"); is {
		_, slice, ok = strings.Cut(slice, "kubepods")
		at := strings.LastIndex(slice, "-pod")
		if !ok || at < 0 {
			return ""
		}
		uid = strings.ReplaceAll(slice[at+len("-pod"):], "_", "-")
	}
	if !ok || len(uid) < 8 || len(uid) > 64 || strings.Trim(uid, "0123456789abcdef-") != "" {
		return "" // a UUID, or the hash of a static pod's configuration
	}
	return uid
}

// containerID is the id of the container that a cgroup of this name is, or empty.
func containerID(name string) string {
	name, _ = strings.CutSuffix(name, ".scope")
	id := name[strings.LastIndexByte(name, '-')+1:]
	if len(id) != 64 || strings.Trim(id, "0123456789abcdef") != "" {
		return ""
	}
	return id
}
