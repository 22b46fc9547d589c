package state

import (
	"maps"
	"slices"
	"strings"
	"unique"

	corev1 "k8s.io/api/core/v1"
)

func (b *builder) pod(p *corev1.Pod) *row {
	b.begin(&p.ObjectMeta, k8sPodUID, k8sPodName, k8sNamespaceName)
	b.row.owner = controller(&p.ObjectMeta)
	b.addShared(k8sPodQOSClass, string(p.Status.QOSClass))
	b.add(k8sNodeName, p.Spec.NodeName)

	if ph := podPhase(p.Status.Phase); ph != 0 {
		b.state(podStatusPhase, kv{podPhaseAttr, string(p.Status.Phase)})
		b.int(theirPodPhase, ph)
	}
	if r := p.Status.Reason; r != "" {
		b.state(podStatusReason, kv{podReasonAttr, r})
		b.int(theirPodStatusReason, podReason(r))
	}
	b.podConditions(p)
	b.time(podCreatedTime, &p.CreationTimestamp)
	b.time(podStartTime, p.Status.StartTime)
	b.time(podDeletionTime, p.DeletionTimestamp)
	if p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
		b.completion(p)
	}
	if p.Status.QOSClass != "" {
		b.int(podQOSClass, 1, kv{k8sPodQOSClass, string(p.Status.QOSClass)})
	}
	if q, ok := p.Spec.Overhead[corev1.ResourceCPU]; ok {
		b.quantity(podOverheadCPU, q)
	}
	if q, ok := p.Spec.Overhead[corev1.ResourceMemory]; ok {
		b.quantity(podOverheadMemory, q)
	}
	b.podInfos(p)
	b.observed = p.Status.ObservedGeneration

	for i := range p.Spec.InitContainers {
		c := &p.Spec.InitContainers[i]
		typ := "init"
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			typ = "sidecar"
		}
		b.container(c, typ, find(p.Status.InitContainerStatuses, c.Name))
	}
	for i := range p.Spec.Containers {
		c := &p.Spec.Containers[i]
		b.container(c, "", find(p.Status.ContainerStatuses, c.Name))
	}
	for i := range p.Spec.EphemeralContainers {
		c := (*corev1.Container)(&p.Spec.EphemeralContainers[i].EphemeralContainerCommon)
		b.container(c, "ephemeral", find(p.Status.EphemeralContainerStatuses, c.Name))
	}
	return b.end()
}

func podPhase(p corev1.PodPhase) int64 {
	switch p {
	case corev1.PodPending:
		return 1
	case corev1.PodRunning:
		return 2
	case corev1.PodSucceeded:
		return 3
	case corev1.PodFailed:
		return 4
	case "":
		return 0
	}
	return 5
}

func podReason(r string) int64 {
	switch r {
	case "Evicted":
		return 1
	case "NodeAffinity":
		return 2
	case "NodeLost":
		return 3
	case "Shutdown":
		return 4
	case "UnexpectedAdmissionError":
		return 5
	}
	return 6
}

func (b *builder) podConditions(p *corev1.Pod) {
	for i := range p.Status.Conditions {
		c := &p.Status.Conditions[i]
		yes := c.Status == corev1.ConditionTrue
		switch c.Type {
		case corev1.PodReady:
			b.bool(podReady, yes)
			if yes {
				b.time(podReadyTime, &c.LastTransitionTime)
			}
		case corev1.ContainersReady:
			b.time(podContainerReadyTime, &c.LastTransitionTime)
		case corev1.PodInitialized:
			b.time(podInitializedTime, &c.LastTransitionTime)
		case corev1.PodScheduled:
			b.bool(podScheduled, yes)
			if yes {
				b.time(podScheduledTime, &c.LastTransitionTime)
			} else if c.Reason == corev1.PodReasonUnschedulable {
				b.state(podUnschedulable)
			}
		case corev1.DisruptionTarget:
			if yes && c.Reason != "" {
				b.state(podDisruptionReason, kv{attrReason, c.Reason})
			}
		}
	}
}

// completion is when the last container ended.
func (b *builder) completion(p *corev1.Pod) {
	var last *corev1.ContainerStateTerminated
	for i := range p.Status.ContainerStatuses {
		if t := p.Status.ContainerStatuses[i].State.Terminated; t != nil && (last == nil || last.FinishedAt.Before(&t.FinishedAt)) {
			last = t
		}
	}
	if last != nil {
		b.time(podCompletionTime, &last.FinishedAt)
	}
}

// podInfos are the metrics that only have attributes; all are off by default.
func (b *builder) podInfos(p *corev1.Pod) {
	if b.on[podInfo] {
		attrs := present(
			kv{hostIP, p.Status.HostIP}, kv{podIP, p.Status.PodIP}, kv{priorityClass, p.Spec.PriorityClassName},
			kv{serviceAccount, p.Spec.ServiceAccountName}, kv{attrScheduler, p.Spec.SchedulerName}, kv{restartPolicy, string(p.Spec.RestartPolicy)},
			kv{hostNetwork, boolText(p.Spec.HostNetwork)})
		if p.Spec.RuntimeClassName != nil {
			attrs = append(attrs, kv{runtimeClass, *p.Spec.RuntimeClassName})
		}
		for _, r := range p.OwnerReferences {
			if r.Controller != nil && *r.Controller {
				attrs = append(attrs, kv{createdByKind, r.Kind}, kv{createdByName, r.Name})
				break
			}
		}
		b.int(podInfo, 1, attrs...)
	}
	b.owners(podOwner, p.OwnerReferences)
	if b.on[podVolumePVCInfo] {
		for _, v := range p.Spec.Volumes {
			switch {
			case v.PersistentVolumeClaim != nil:
				b.int(podVolumePVCInfo, 1, kv{volumeName, v.Name}, kv{k8sPVCName, v.PersistentVolumeClaim.ClaimName},
					kv{attrReadOnly, boolText(v.PersistentVolumeClaim.ReadOnly)}, kv{attrEphemeral, "false"})
			case v.Ephemeral != nil: // the claim's name is made of those of pod and volume
				b.int(podVolumePVCInfo, 1, kv{volumeName, v.Name}, kv{k8sPVCName, p.Name + "-" + v.Name},
					kv{attrReadOnly, "false"}, kv{attrEphemeral, "true"})
			}
		}
	}
	if b.on[podTolerations] {
		for _, t := range p.Spec.Tolerations {
			b.int(podTolerations, 1, present(kv{taintKey, t.Key}, kv{tolerationOperator, string(t.Operator)}, kv{taintValue, t.Value}, kv{taintEffect, string(t.Effect)})...)
		}
	}
}

// present are the attributes that have a value.
func present(attrs ...kv) []kv {
	return slices.DeleteFunc(attrs, func(a kv) bool { return a.val == "" })
}

func find(all []corev1.ContainerStatus, name string) *corev1.ContainerStatus {
	for i := range all {
		if all[i].Name == name {
			return &all[i]
		}
	}
	return nil
}

// container adds a container with what its status tells; st is nil before the kubelet has seen it.
func (b *builder) container(c *corev1.Container, typ string, st *corev1.ContainerStatus) {
	ofPod := b.points
	b.points = b.points[len(b.points):] // behind the pod's

	b.resources(&c.Resources)
	image := c.Image
	var own []byte
	if st != nil {
		if st.Image != "" && !strings.HasPrefix(st.Image, "sha256:") {
			image = st.Image
		}
		_, id, ok := strings.Cut(st.ContainerID, "://")
		if ok && id != "" && !b.off[containerID] {
			own = packHash(nil, containerID, id)
		}
		b.containerStatus(st)
		if b.on[containerInfo] {
			b.int(containerInfo, 1, present(kv{imageID, st.ImageID}, kv{imageSpec, c.Image})...)
		}
	}
	attrs := packText(nil, k8sContainerName, c.Name)
	if name, tag := splitImage(image); name != "" {
		if !b.off[containerImageName] {
			attrs = packText(attrs, containerImageName, name)
		}
		if tag != "" && !b.off[containerImageTags] {
			attrs = packBytes(attrs, containerImageTags, shapeList, clip(tag))
		}
	}
	if typ != "" && !b.off[k8sContainerType] {
		attrs = packText(attrs, k8sContainerType, typ)
	}
	b.subs = append(b.subs, sub{string(own), unique.Make(string(attrs)), unique.Make(b.tidy(b.points))})
	b.points = ofPod
}

// resources are what a container asks for and may use.
func (b *builder) resources(r *corev1.ResourceRequirements) {
	for _, name := range sortedResources(r.Requests) {
		q := r.Requests[name]
		switch name {
		case corev1.ResourceCPU:
			b.quantity(containerCPURequestDesired, q)
		case corev1.ResourceMemory:
			b.quantity(containerMemoryRequestDesired, q)
		case corev1.ResourceEphemeralStorage:
			b.quantity(containerEphemeralStorageRequest, q)
		case corev1.ResourceStorage:
			b.quantity(containerStorageRequest, q)
		default:
			b.quantity(containerExtendedResourceRequest, q, kv{k8sResourceName, string(name)})
		}
	}
	for _, name := range sortedResources(r.Limits) {
		q := r.Limits[name]
		switch name {
		case corev1.ResourceCPU:
			b.quantity(containerCPULimitDesired, q)
		case corev1.ResourceMemory:
			b.quantity(containerMemoryLimitDesired, q)
		case corev1.ResourceEphemeralStorage:
			b.quantity(containerEphemeralStorageLimit, q)
		case corev1.ResourceStorage:
			b.quantity(containerStorageLimit, q)
		default:
			b.quantity(containerExtendedResourceLimit, q, kv{k8sResourceName, string(name)})
		}
	}
}

// sortedResources gives a stable order, so that equal containers have equal points.
func sortedResources(l corev1.ResourceList) []corev1.ResourceName {
	if len(l) == 0 {
		return nil
	}
	return slices.Sorted(maps.Keys(l))
}

func (b *builder) containerStatus(st *corev1.ContainerStatus) {
	if r := st.Resources; r != nil {
		b.ifThere(containerCPURequestCurrent, r.Requests, corev1.ResourceCPU)
		b.ifThere(containerCPULimitCurrent, r.Limits, corev1.ResourceCPU)
		b.ifThere(containerMemoryRequestCurrent, r.Requests, corev1.ResourceMemory)
		b.ifThere(containerMemoryLimitCurrent, r.Limits, corev1.ResourceMemory)
	}
	b.int(containerRestartCount, int64(st.RestartCount))
	b.bool(containerReady, st.Ready)
	state, reason := "", ""
	switch s := &st.State; {
	case s.Running != nil:
		state = "running"
		b.time(containerStartedTime, &s.Running.StartedAt)
	case s.Terminated != nil:
		state, reason = "terminated", s.Terminated.Reason
	case s.Waiting != nil:
		state, reason = "waiting", s.Waiting.Reason
	}
	if state != "" {
		b.state(containerStatusState, kv{containerStateAttr, state})
	}
	if reason != "" {
		b.state(containerStatusReason, kv{containerReasonAttr, reason})
	}
	if t := st.LastTerminationState.Terminated; t != nil {
		if t.Reason != "" {
			b.state(containerStatusLastTerminatedReason, kv{attrReason, t.Reason})
		}
		b.int(containerStatusLastTerminatedExitCode, int64(t.ExitCode))
		b.time(containerStatusLastTerminatedTime, &t.FinishedAt)
	}
}

func (b *builder) ifThere(id metricID, l corev1.ResourceList, name corev1.ResourceName) {
	if q, ok := l[name]; ok {
		b.quantity(id, q)
	}
}

// splitImage takes an image reference apart; a digest is left out.
func splitImage(ref string) (name, tag string) {
	ref, _, _ = strings.Cut(ref, "@")
	if ref == "" || strings.HasPrefix(ref, "sha256:") {
		return "", ""
	}
	if i := strings.LastIndexByte(ref, ':'); i > strings.LastIndexByte(ref, '/') {
		return ref[:i], ref[i+1:]
	}
	return ref, "latest"
}
