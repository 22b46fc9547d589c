package state

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// theirConditions are the conditions that k8s_cluster has a metric each for.
var theirConditions = map[corev1.NodeConditionType]metricID{
	corev1.NodeReady:              theirNodeReady,
	corev1.NodeMemoryPressure:     theirNodeMemoryPressure,
	corev1.NodeDiskPressure:       theirNodeDiskPressure,
	corev1.NodePIDPressure:        theirNodePIDPressure,
	corev1.NodeNetworkUnavailable: theirNodeNetworkUnavailable,
}

func (b *builder) node(n *corev1.Node) *row {
	b.begin(&n.ObjectMeta, k8sNodeUID, k8sNodeName, 0)
	info := &n.Status.NodeInfo
	b.addShared(k8sKubeletVersion, info.KubeletVersion)
	if name, version, ok := strings.Cut(info.ContainerRuntimeVersion, "://"); ok {
		b.addShared(containerRuntimeName, name)
		b.addShared(containerRuntimeVersion, version)
	}
	b.addShared(osType, info.OperatingSystem)
	b.addShared(osDescription, info.OSImage)

	for i := range n.Status.Conditions {
		c := &n.Status.Conditions[i]
		if !wanted(b.cfg.NodeConditionsToReport, string(c.Type)) {
			continue
		}
		b.state(nodeConditionStatus, kv{nodeConditionType, string(c.Type)}, kv{nodeConditionStatusAttr, lower(string(c.Status))})
	}
	for i := range n.Status.Conditions {
		c := &n.Status.Conditions[i]
		if id := theirConditions[c.Type]; id != none && wanted(b.cfg.NodeConditionsToReport, string(c.Type)) {
			b.int(id, tristate(c.Status))
		}
	}
	b.nodeResources(n.Status.Allocatable, b.cfg.AllocatableTypesToReport, [...]metricID{nodeCPUAllocatable, nodeMemoryAllocatable,
		nodeEphemeralStorageAllocatable, nodePodAllocatable, nodeStorageAllocatable, nodeExtendedResourceAllocatable})
	b.nodeResources(n.Status.Capacity, everyType, [...]metricID{nodeCPUCapacity, nodeMemoryCapacity,
		nodeEphemeralStorageCapacity, nodePodCapacity, none, nodeExtendedResourceCapacity})
	b.bool(nodeUnschedulable, n.Spec.Unschedulable)
	for _, t := range n.Spec.Taints {
		b.int(nodeTaint, 1, present(kv{taintKey, t.Key}, kv{taintValue, t.Value}, kv{taintEffect, string(t.Effect)})...)
	}
	if b.on[nodeInfo] {
		ip := ""
		for _, a := range n.Status.Addresses {
			if a.Type == corev1.NodeInternalIP {
				ip = a.Address
				break
			}
		}
		b.int(nodeInfo, 1, present(kv{kernelVersion, info.KernelVersion}, kv{osImage, info.OSImage}, kv{runtimeVersion, info.ContainerRuntimeVersion},
			kv{kubeletVersion, info.KubeletVersion}, kv{providerID, n.Spec.ProviderID}, kv{podCIDR, n.Spec.PodCIDR},
			kv{systemUUID, info.SystemUUID}, kv{internalIP, ip})...)
	}
	if b.on[nodeRole] {
		for l := range n.Labels {
			if r, ok := strings.CutPrefix(l, "node-role.kubernetes.io/"); ok && r != "" {
				b.int(nodeRole, 1, kv{nodeRoleAttr, r})
			}
		}
	}
	b.time(nodeCreatedTime, &n.CreationTimestamp)
	b.time(nodeDeletionTime, n.DeletionTimestamp)
	return b.end()
}

// nodeResources adds amounts of resources: those that have a metric, and the others.
func (b *builder) nodeResources(l corev1.ResourceList, types []string, ids [6]metricID) {
	for _, name := range sortedResources(l) {
		if !wanted(types, string(name)) {
			continue
		}
		id, q := none, l[name]
		switch name {
		case corev1.ResourceCPU:
			id = ids[0]
		case corev1.ResourceMemory:
			id = ids[1]
		case corev1.ResourceEphemeralStorage:
			id = ids[2]
		case corev1.ResourcePods:
			id = ids[3]
		case corev1.ResourceStorage:
			id = ids[4]
		default:
			b.quantity(ids[5], q, kv{k8sResourceName, string(name)})
		}
		if id != none {
			b.quantity(id, q)
		}
	}
}

var everyType = []string{"*"}

func wanted(types []string, name string) bool {
	return slices.Contains(types, name) || slices.Contains(types, "*")
}

func tristate(s corev1.ConditionStatus) int64 {
	switch s {
	case corev1.ConditionTrue:
		return 1
	case corev1.ConditionFalse:
		return 0
	}
	return -1
}

// value of a pointer that is often nil.
func or[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}
