package state

import "stint/export/otlp"

// metricID is an index into the table of metrics.
type metricID uint16

const (
	none metricID = iota
	podStatusPhase
	podStatusReason
	podReady
	podScheduled
	podUnschedulable
	podDisruptionReason
	podCreatedTime
	podStartTime
	podCompletionTime
	podReadyTime
	podContainerReadyTime
	podInitializedTime
	podScheduledTime
	podDeletionTime
	podQOSClass
	podOverheadCPU
	podOverheadMemory
	podInfo
	podOwner
	podLabels
	podVolumePVCInfo
	podTolerations
	containerCPURequestDesired
	containerCPURequestCurrent
	containerCPULimitDesired
	containerCPULimitCurrent
	containerMemoryRequestDesired
	containerMemoryRequestCurrent
	containerMemoryLimitDesired
	containerMemoryLimitCurrent
	containerEphemeralStorageRequest
	containerStorageRequest
	containerExtendedResourceRequest
	containerEphemeralStorageLimit
	containerStorageLimit
	containerExtendedResourceLimit
	containerRestartCount
	containerReady
	containerStatusState
	containerStatusReason
	containerStatusLastTerminatedReason
	containerStatusLastTerminatedExitCode
	containerStatusLastTerminatedTime
	containerStartedTime
	containerInfo
	nodeConditionStatus
	nodeCPUAllocatable
	nodeCPUCapacity
	nodeMemoryAllocatable
	nodeMemoryCapacity
	nodeEphemeralStorageAllocatable
	nodeEphemeralStorageCapacity
	nodePodAllocatable
	nodePodCapacity
	nodeStorageAllocatable
	nodeExtendedResourceAllocatable
	nodeExtendedResourceCapacity
	nodeUnschedulable
	nodeTaint
	nodeInfo
	nodeRole
	nodeLabels
	nodeCreatedTime
	nodeDeletionTime
	nodeLeaseRenewTime
	namespacePhase
	namespaceCondition
	namespaceCreatedTime
	namespaceLabels
	configMapCount
	secretCount
	deploymentPodDesired
	deploymentPodAvailable
	deploymentPodReplicas
	deploymentPodReady
	deploymentPodUnavailable
	deploymentPodUpdated
	deploymentPodTerminating
	deploymentCondition
	deploymentGeneration
	deploymentObservedGeneration
	deploymentPaused
	deploymentRollingupdateMaxUnavailable
	deploymentRollingupdateMaxSurge
	deploymentCreatedTime
	deploymentLabels
	replicaSetPodDesired
	replicaSetPodAvailable
	replicaSetPodReady
	replicaSetPodReplicas
	replicaSetOwner
	replicationControllerPodDesired
	replicationControllerPodAvailable
	replicationControllerPodReady
	statefulSetPodDesired
	statefulSetPodReady
	statefulSetPodCurrent
	statefulSetPodUpdated
	statefulSetPodAvailable
	statefulSetPodReplicas
	statefulSetGeneration
	statefulSetObservedGeneration
	statefulSetRevision
	daemonSetNodeCurrentScheduled
	daemonSetNodeDesiredScheduled
	daemonSetNodeMisscheduled
	daemonSetNodeReady
	daemonSetNodeAvailable
	daemonSetNodeUnavailable
	daemonSetNodeUpdatedScheduled
	daemonSetGeneration
	daemonSetObservedGeneration
	jobPodActive
	jobPodDesiredSuccessful
	jobPodFailed
	jobPodMaxParallel
	jobPodSuccessful
	jobPodReady
	jobCondition
	jobStartTime
	jobCompletionTime
	jobActiveDeadline
	jobOwner
	cronJobJobActive
	cronJobLastScheduleTime
	cronJobLastSuccessfulTime
	cronJobSuspended
	cronJobInfo
	cronJobScheduleInvalid
	cronJobNextScheduleTime
	hpaPodMax
	hpaPodMin
	hpaPodCurrent
	hpaPodDesired
	hpaMetricTargetCPUAverageUtilization
	hpaMetricTargetCPUAverageValue
	hpaMetricTargetCPUValue
	hpaMetricTarget
	hpaMetricCurrent
	hpaCondition
	quotaCPULimitHard
	quotaCPULimitUsed
	quotaCPURequestHard
	quotaCPURequestUsed
	quotaMemoryLimitHard
	quotaMemoryLimitUsed
	quotaMemoryRequestHard
	quotaMemoryRequestUsed
	quotaEphemeralStorageLimitHard
	quotaEphemeralStorageLimitUsed
	quotaEphemeralStorageRequestHard
	quotaEphemeralStorageRequestUsed
	quotaStorageRequestHard
	quotaStorageRequestUsed
	quotaPVCCountHard
	quotaPVCCountUsed
	quotaHugepageCountRequestHard
	quotaHugepageCountRequestUsed
	quotaObjectCountHard
	quotaObjectCountUsed
	serviceEndpointCount
	serviceLoadBalancerIngressCount
	serviceInfo
	serviceCreatedTime
	pvStatusPhase
	pvStorageCapacity
	pvInfo
	pvcStatusPhase
	pvcStorageCapacity
	pvcStorageRequest
	pvcCondition
	pvcInfo
	pdbPodCurrentHealthy
	pdbPodDesiredHealthy
	pdbPodDisruptionsAllowed
	pdbPodExpected
	storageClassInfo
	volumeAttachmentAttached
	limitRange
	networkPolicyRules
	ingressInfo
	ingressPath
	ingressTLS
	csrCondition
	serviceAccountInfo
	leaseRenewTime
	webhookInfo

	// Forms of k8s_cluster that are not just another name.
	theirPodPhase
	theirPodStatusReason
	theirNodeReady
	theirNodeMemoryPressure
	theirNodeDiskPressure
	theirNodePIDPressure
	theirNodeNetworkUnavailable
	theirNamespacePhase
	theirQuotaHard
	theirQuotaUsed

	metrics // how many
)

// catalogued are the metrics that have a row of their own in the catalogue, in its order.
var catalogued = [metrics]metric{
	podStatusPhase: {Metric: otlp.Metric{Name: "k8s.pod.status.phase", Unit: "{pod}", Instrument: otlp.UpDown},
		kind: "pod", desc: "1 for the phase that the pod is in.", only: SemConv, set: true, attributes: "k8s.pod.status.phase=Pending|Running|Succeeded|Failed|Unknown",
		source: "Pod .status.phase"},
	podStatusReason: {Metric: otlp.Metric{Name: "k8s.pod.status.reason", Unit: "{pod}", Instrument: otlp.UpDown},
		kind: "pod", desc: "1 for the reason that the pod gives for its phase.", only: SemConv, set: true, attributes: "k8s.pod.status.reason=Evicted|NodeAffinity|NodeLost|Shutdown|UnexpectedAdmissionError|<other>",
		source: "Pod .status.reason"},
	podReady: {Metric: otlp.Metric{Name: "k8s.pod.ready", Unit: "{pod}", Instrument: otlp.UpDown},
		kind: "pod", desc: "1 if the pod is ready, else 0.",
		source: "Pod .status.conditions[type=Ready].status (1 true, 0 false/unknown)"},
	podScheduled: {Metric: otlp.Metric{Name: "k8s.pod.scheduled", Unit: "{pod}", Instrument: otlp.UpDown},
		kind: "pod", desc: "1 if the pod has a node, else 0.", off: true,
		source: "Pod .status.conditions[type=PodScheduled].status"},
	podUnschedulable: {Metric: otlp.Metric{Name: "k8s.pod.unschedulable", Unit: "{pod}", Instrument: otlp.UpDown},
		kind: "pod", desc: "1 while no node fits the pod.", set: true,
		source: "Pod .status.conditions[type=PodScheduled,status=False].reason=Unschedulable (sent only when 1)"},
	podDisruptionReason: {Metric: otlp.Metric{Name: "k8s.pod.disruption.reason", Unit: "{pod}", Instrument: otlp.UpDown},
		kind: "pod", desc: "1 for the reason why the pod is being disrupted.", set: true, attributes: "reason",
		source: "Pod .status.conditions[type=DisruptionTarget].reason (sent only when set)"},
	podCreatedTime: {Metric: otlp.Metric{Name: "k8s.pod.created_time", Unit: "s", Instrument: otlp.Gauge, Double: true},
		kind: "pod", desc: "When the pod was created, Unix time.", off: true,
		source: "Pod .metadata.creationTimestamp (unix seconds)"},
	podStartTime: {Metric: otlp.Metric{Name: "k8s.pod.start_time", Unit: "s", Instrument: otlp.Gauge, Double: true},
		kind: "pod", desc: "When the kubelet took the pod on, Unix time.",
		source: "Pod .status.startTime (unix seconds)"},
	podCompletionTime: {Metric: otlp.Metric{Name: "k8s.pod.completion_time", Unit: "s", Instrument: otlp.Gauge, Double: true},
		kind: "pod", desc: "When the last container of an ended pod ended, Unix time.", off: true,
		source: "max(Pod .status.containerStatuses[].state.terminated.finishedAt) when phase is Succeeded/Failed"},
	podReadyTime: {Metric: otlp.Metric{Name: "k8s.pod.ready_time", Unit: "s", Instrument: otlp.Gauge, Double: true},
		kind: "pod", desc: "Since when the pod is ready, Unix time.", off: true,
		source: "Pod .status.conditions[type=Ready,status=True].lastTransitionTime"},
	podContainerReadyTime: {Metric: otlp.Metric{Name: "k8s.pod.container_ready_time", Unit: "s", Instrument: otlp.Gauge, Double: true},
		kind: "pod", desc: "When the readiness of all containers changed last, Unix time.", off: true,
		source: "Pod .status.conditions[type=ContainersReady].lastTransitionTime"},
	podInitializedTime: {Metric: otlp.Metric{Name: "k8s.pod.initialized_time", Unit: "s", Instrument: otlp.Gauge, Double: true},
		kind: "pod", desc: "When the init containers were done, Unix time.", off: true,
		source: "Pod .status.conditions[type=Initialized].lastTransitionTime"},
	podScheduledTime: {Metric: otlp.Metric{Name: "k8s.pod.scheduled_time", Unit: "s", Instrument: otlp.Gauge, Double: true},
		kind: "pod", desc: "When the pod got its node, Unix time.", off: true,
		source: "Pod .status.conditions[type=PodScheduled,status=True].lastTransitionTime"},
	podDeletionTime: {Metric: otlp.Metric{Name: "k8s.pod.deletion_time", Unit: "s", Instrument: otlp.Gauge, Double: true},
		kind: "pod", desc: "When the pod has to be gone, Unix time.",
		source: "Pod .metadata.deletionTimestamp (sent only when set)"},
	podQOSClass: {Metric: otlp.Metric{Name: "k8s.pod.qos_class", Unit: "1", Instrument: otlp.Gauge},
		kind: "pod", desc: "1 for the quality of service class of the pod.", off: true, attributes: "k8s.pod.qos_class=Guaranteed|Burstable|BestEffort",
		source: "Pod .status.qosClass"},
	podOverheadCPU: {Metric: otlp.Metric{Name: "k8s.pod.overhead.cpu", Unit: "{cpu}", Instrument: otlp.UpDown, Double: true},
		kind: "pod", desc: "CPU that the runtime class adds to the pod.", off: true,
		source: "Pod .spec.overhead[cpu]"},
	podOverheadMemory: {Metric: otlp.Metric{Name: "k8s.pod.overhead.memory", Unit: "By", Instrument: otlp.UpDown},
		kind: "pod", desc: "Memory that the runtime class adds to the pod.", off: true,
		source: "Pod .spec.overhead[memory]"},
	podInfo: {Metric: otlp.Metric{Name: "k8s.pod.info", Unit: "1", Instrument: otlp.Gauge},
		kind: "pod", desc: "1, with what the pod is in the attributes.", off: true, attributes: "host_ip; k8s.pod.ip; created_by_kind; created_by_name; priority_class; host_network; service_account; scheduler; runtime_class; restart_policy",
		source: "Pod .status.hostIP .status.podIP .metadata.ownerReferences[controller] .spec.priorityClassName .spec.hostNetwork"},
	podOwner: {Metric: otlp.Metric{Name: "k8s.pod.owner", Unit: "1", Instrument: otlp.Gauge},
		kind: "pod", desc: "1 for each owner of the pod.", off: true, attributes: "owner_kind; owner_name; owner_is_controller",
		source: "Pod .metadata.ownerReferences[]"},
	podLabels: {Metric: otlp.Metric{Name: "k8s.pod.labels", Unit: "1", Instrument: otlp.Gauge},
		kind: "pod", desc: "1, with labels of the pod in the attributes: those that state.labels names.", off: true, attributes: "label.<name>",
		source: "Pod .metadata.labels"},
	podVolumePVCInfo: {Metric: otlp.Metric{Name: "k8s.pod.volume.persistentvolumeclaim.info", Unit: "1", Instrument: otlp.Gauge},
		kind: "pod", desc: "1 for each volume of the pod that is a claim.", off: true, attributes: "k8s.volume.name; k8s.persistentvolumeclaim.name; read_only; ephemeral",
		source: "Pod .spec.volumes[].persistentVolumeClaim / .ephemeral"},
	podTolerations: {Metric: otlp.Metric{Name: "k8s.pod.tolerations", Unit: "1", Instrument: otlp.Gauge},
		kind: "pod", desc: "1 for each toleration of the pod.", off: true, attributes: "key; operator; value; effect",
		source: "Pod .spec.tolerations[]"},
	containerCPURequestDesired: {Metric: otlp.Metric{Name: "k8s.container.cpu.request.desired", Unit: "{cpu}", Instrument: otlp.UpDown, Double: true},
		kind: "pod", desc: "CPU that the container asks for.", peer: "k8s.container.cpu_request",
		source: "Pod .spec.containers[].resources.requests[cpu]"},
	containerCPURequestCurrent: {Metric: otlp.Metric{Name: "k8s.container.cpu.request.current", Unit: "{cpu}", Instrument: otlp.UpDown, Double: true},
		kind: "pod", desc: "CPU that the container was given as its request.", off: true,
		source: "Pod .status.containerStatuses[].resources.requests[cpu] (in-place resize)"},
	containerCPULimitDesired: {Metric: otlp.Metric{Name: "k8s.container.cpu.limit.desired", Unit: "{cpu}", Instrument: otlp.UpDown, Double: true},
		kind: "pod", desc: "CPU that the container may use.", peer: "k8s.container.cpu_limit",
		source: "Pod .spec.containers[].resources.limits[cpu]"},
	containerCPULimitCurrent: {Metric: otlp.Metric{Name: "k8s.container.cpu.limit.current", Unit: "{cpu}", Instrument: otlp.UpDown, Double: true},
		kind: "pod", desc: "CPU limit that is in force.", off: true,
		source: "Pod .status.containerStatuses[].resources.limits[cpu] (in-place resize)"},
	containerMemoryRequestDesired: {Metric: otlp.Metric{Name: "k8s.container.memory.request.desired", Unit: "By", Instrument: otlp.UpDown},
		kind: "pod", desc: "Memory that the container asks for.", peer: "k8s.container.memory_request",
		source: "Pod .spec.containers[].resources.requests[memory]"},
	containerMemoryRequestCurrent: {Metric: otlp.Metric{Name: "k8s.container.memory.request.current", Unit: "By", Instrument: otlp.UpDown},
		kind: "pod", desc: "Memory that the container was given as its request.", off: true,
		source: "Pod .status.containerStatuses[].resources.requests[memory] (in-place resize)"},
	containerMemoryLimitDesired: {Metric: otlp.Metric{Name: "k8s.container.memory.limit.desired", Unit: "By", Instrument: otlp.UpDown},
		kind: "pod", desc: "Memory that the container may use.", peer: "k8s.container.memory_limit",
		source: "Pod .spec.containers[].resources.limits[memory]"},
	containerMemoryLimitCurrent: {Metric: otlp.Metric{Name: "k8s.container.memory.limit.current", Unit: "By", Instrument: otlp.UpDown},
		kind: "pod", desc: "Memory limit that is in force.", off: true,
		source: "Pod .status.containerStatuses[].resources.limits[memory] (in-place resize)"},
	containerEphemeralStorageRequest: {Metric: otlp.Metric{Name: "k8s.container.ephemeral_storage.request", Unit: "By", Instrument: otlp.UpDown},
		kind: "pod", desc: "Ephemeral storage that the container asks for.", peer: "k8s.container.ephemeralstorage_request",
		source: "Pod .spec.containers[].resources.requests[ephemeral-storage]"},
	containerStorageRequest: {Metric: otlp.Metric{Name: "k8s.container.storage.request", Unit: "By", Instrument: otlp.UpDown},
		kind: "pod", desc: "Storage that the container asks for.", peer: "k8s.container.storage_request",
		source: "Pod .spec.containers[].resources.requests[storage]"},
	containerExtendedResourceRequest: {Metric: otlp.Metric{Name: "k8s.container.extended_resource.request", Unit: "{resource}", Instrument: otlp.UpDown},
		kind: "pod", desc: "Other resource that the container asks for, such as GPUs.", attributes: "k8s.resource.name (e.g. nvidia.com/gpu, hugepages-2Mi)",
		source: "Pod .spec.containers[].resources.requests[<other>]"},
	containerEphemeralStorageLimit: {Metric: otlp.Metric{Name: "k8s.container.ephemeral_storage.limit", Unit: "By", Instrument: otlp.UpDown},
		kind: "pod", desc: "Ephemeral storage that the container may use.", peer: "k8s.container.ephemeralstorage_limit",
		source: "Pod .spec.containers[].resources.limits[ephemeral-storage]"},
	containerStorageLimit: {Metric: otlp.Metric{Name: "k8s.container.storage.limit", Unit: "By", Instrument: otlp.UpDown},
		kind: "pod", desc: "Storage that the container may use.", peer: "k8s.container.storage_limit",
		source: "Pod .spec.containers[].resources.limits[storage]"},
	containerExtendedResourceLimit: {Metric: otlp.Metric{Name: "k8s.container.extended_resource.limit", Unit: "{resource}", Instrument: otlp.UpDown},
		kind: "pod", desc: "Other resource that the container may use, such as GPUs.", attributes: "k8s.resource.name (e.g. nvidia.com/gpu, hugepages-2Mi)",
		source: "Pod .spec.containers[].resources.limits[<other>]"},
	containerRestartCount: {Metric: otlp.Metric{Name: "k8s.container.restart.count", Unit: "{restart}", Instrument: otlp.UpDown},
		kind: "pod", desc: "How often the container restarted; may go back.", peer: "k8s.container.restarts",
		source: "Pod .status.containerStatuses[].restartCount"},
	containerReady: {Metric: otlp.Metric{Name: "k8s.container.ready", Unit: "{container}", Instrument: otlp.UpDown},
		kind: "pod", desc: "1 if the container is ready, else 0.", peer: "k8s.container.ready",
		source: "Pod .status.containerStatuses[].ready"},
	containerStatusState: {Metric: otlp.Metric{Name: "k8s.container.status.state", Unit: "{container}", Instrument: otlp.UpDown},
		kind: "pod", desc: "1 for the state that the container is in.", set: true, attributes: "k8s.container.status.state=running|waiting|terminated",
		source: "Pod .status.containerStatuses[].state"},
	containerStatusReason: {Metric: otlp.Metric{Name: "k8s.container.status.reason", Unit: "{container}", Instrument: otlp.UpDown},
		kind: "pod", desc: "1 for the reason why the container waits or ended.", set: true, attributes: "k8s.container.status.reason=ContainerCreating|CrashLoopBackOff|CreateContainerConfigError|ErrImagePull|ImagePullBackOff|OOMKilled|Completed|Error|ContainerCannotRun|<other>",
		source: "Pod .status.containerStatuses[].state.{waiting|terminated}.reason"},
	containerStatusLastTerminatedReason: {Metric: otlp.Metric{Name: "k8s.container.status.last_terminated.reason", Unit: "{container}", Instrument: otlp.UpDown},
		kind: "pod", desc: "1 for the reason of the container's last end.", set: true, attributes: "reason",
		source: "Pod .status.containerStatuses[].lastState.terminated.reason"},
	containerStatusLastTerminatedExitCode: {Metric: otlp.Metric{Name: "k8s.container.status.last_terminated.exit_code", Unit: "1", Instrument: otlp.Gauge},
		kind: "pod", desc: "Exit code of the container's last end.",
		source: "Pod .status.containerStatuses[].lastState.terminated.exitCode"},
	containerStatusLastTerminatedTime: {Metric: otlp.Metric{Name: "k8s.container.status.last_terminated.time", Unit: "s", Instrument: otlp.Gauge, Double: true},
		kind: "pod", desc: "When the container ended last, Unix time.", off: true,
		source: "Pod .status.containerStatuses[].lastState.terminated.finishedAt"},
	containerStartedTime: {Metric: otlp.Metric{Name: "k8s.container.started_time", Unit: "s", Instrument: otlp.Gauge, Double: true},
		kind: "pod", desc: "When the container started, Unix time.", off: true,
		source: "Pod .status.containerStatuses[].state.running.startedAt"},
	containerInfo: {Metric: otlp.Metric{Name: "k8s.container.info", Unit: "1", Instrument: otlp.Gauge},
		kind: "pod", desc: "1, with the container's image in the attributes.", off: true, attributes: "container.image.id; image_spec",
		source: "Pod .status.containerStatuses[].imageID, .spec.containers[].image"},
	nodeConditionStatus: {Metric: otlp.Metric{Name: "k8s.node.condition.status", Unit: "{node}", Instrument: otlp.UpDown},
		kind: "node", desc: "1 for the status that a condition of the node has.", only: SemConv, set: true, attributes: "k8s.node.condition.type; k8s.node.condition.status=true|false|unknown",
		source: "Node .status.conditions[*].status"},
	nodeCPUAllocatable: {Metric: otlp.Metric{Name: "k8s.node.cpu.allocatable", Unit: "{cpu}", Instrument: otlp.UpDown, Double: true},
		kind: "node", desc: "CPU that pods can have.", peer: "k8s.node.allocatable_cpu",
		source: "Node .status.allocatable[cpu]"},
	nodeCPUCapacity: {Metric: otlp.Metric{Name: "k8s.node.cpu.capacity", Unit: "{cpu}", Instrument: otlp.UpDown, Double: true},
		kind: "node", desc: "CPU of the node.",
		source: "Node .status.capacity[cpu]"},
	nodeMemoryAllocatable: {Metric: otlp.Metric{Name: "k8s.node.memory.allocatable", Unit: "By", Instrument: otlp.UpDown},
		kind: "node", desc: "Memory that pods can have.", peer: "k8s.node.allocatable_memory",
		source: "Node .status.allocatable[memory]"},
	nodeMemoryCapacity: {Metric: otlp.Metric{Name: "k8s.node.memory.capacity", Unit: "By", Instrument: otlp.UpDown},
		kind: "node", desc: "Memory of the node.",
		source: "Node .status.capacity[memory]"},
	nodeEphemeralStorageAllocatable: {Metric: otlp.Metric{Name: "k8s.node.ephemeral_storage.allocatable", Unit: "By", Instrument: otlp.UpDown},
		kind: "node", desc: "Ephemeral storage that pods can have.", peer: "k8s.node.allocatable_ephemeral_storage",
		source: "Node .status.allocatable[ephemeral-storage]"},
	nodeEphemeralStorageCapacity: {Metric: otlp.Metric{Name: "k8s.node.ephemeral_storage.capacity", Unit: "By", Instrument: otlp.UpDown},
		kind: "node", desc: "Ephemeral storage of the node.",
		source: "Node .status.capacity[ephemeral-storage]"},
	nodePodAllocatable: {Metric: otlp.Metric{Name: "k8s.node.pod.allocatable", Unit: "{pod}", Instrument: otlp.UpDown},
		kind: "node", desc: "Pods that the node takes.", peer: "k8s.node.allocatable_pods",
		source: "Node .status.allocatable[pods]"},
	nodePodCapacity: {Metric: otlp.Metric{Name: "k8s.node.pod.capacity", Unit: "{pod}", Instrument: otlp.UpDown},
		kind: "node", desc: "Pods that the node could take.",
		source: "Node .status.capacity[pods]"},
	nodeStorageAllocatable: {Metric: otlp.Metric{Name: "k8s.node.storage.allocatable", Unit: "By", Instrument: otlp.UpDown},
		kind: "node", desc: "Storage that pods can have.", peer: "k8s.node.allocatable_storage",
		source: "Node .status.allocatable[storage]"},
	nodeExtendedResourceAllocatable: {Metric: otlp.Metric{Name: "k8s.node.extended_resource.allocatable", Unit: "{resource}", Instrument: otlp.UpDown},
		kind: "node", desc: "Other resource that pods can have, such as GPUs.", attributes: "k8s.resource.name",
		source: "Node .status.allocatable / .capacity [<other>] (GPU, hugepages, attachable volumes)"},
	nodeExtendedResourceCapacity: {Metric: otlp.Metric{Name: "k8s.node.extended_resource.capacity", Unit: "{resource}", Instrument: otlp.UpDown},
		kind: "node", desc: "Other resource of the node, such as GPUs.", attributes: "k8s.resource.name",
		source: "Node .status.allocatable / .capacity [<other>] (GPU, hugepages, attachable volumes)"},
	nodeUnschedulable: {Metric: otlp.Metric{Name: "k8s.node.unschedulable", Unit: "{node}", Instrument: otlp.UpDown},
		kind: "node", desc: "1 if the node is closed to new pods, else 0.",
		source: "Node .spec.unschedulable"},
	nodeTaint: {Metric: otlp.Metric{Name: "k8s.node.taint", Unit: "1", Instrument: otlp.Gauge},
		kind: "node", desc: "1 for each taint of the node.", off: true, attributes: "key; value; effect",
		source: "Node .spec.taints[]"},
	nodeInfo: {Metric: otlp.Metric{Name: "k8s.node.info", Unit: "1", Instrument: otlp.Gauge},
		kind: "node", desc: "1, with what the node is in the attributes.", off: true, attributes: "kernel_version; os_image; container_runtime_version; kubelet_version; provider_id; pod_cidr; system_uuid; internal_ip",
		source: "Node .status.nodeInfo, .spec.providerID, .spec.podCIDR, .status.addresses"},
	nodeRole: {Metric: otlp.Metric{Name: "k8s.node.role", Unit: "1", Instrument: otlp.Gauge},
		kind: "node", desc: "1 for each role of the node.", off: true, attributes: "role",
		source: "Node .metadata.labels[node-role.kubernetes.io/*]"},
	nodeLabels: {Metric: otlp.Metric{Name: "k8s.node.labels", Unit: "1", Instrument: otlp.Gauge},
		kind: "node", desc: "1, with labels of the node in the attributes: those that state.labels names.", off: true, attributes: "label.<name>",
		source: "Node .metadata.labels"},
	nodeCreatedTime: {Metric: otlp.Metric{Name: "k8s.node.created_time", Unit: "s", Instrument: otlp.Gauge, Double: true},
		kind: "node", desc: "When the node was registered, Unix time.", off: true,
		source: "Node .metadata.creationTimestamp"},
	nodeDeletionTime: {Metric: otlp.Metric{Name: "k8s.node.deletion_time", Unit: "s", Instrument: otlp.Gauge, Double: true},
		kind: "node", desc: "When the node has to be gone, Unix time.", off: true,
		source: "Node .metadata.deletionTimestamp (only when set)"},
	nodeLeaseRenewTime: {Metric: otlp.Metric{Name: "k8s.node.lease.renew_time", Unit: "s", Instrument: otlp.Gauge, Double: true},
		kind: "node", desc: "When the kubelet renewed the node's lease last, Unix time; read once a minute.", off: true,
		source: "Lease .spec.renewTime in kube-node-lease"},
	namespacePhase: {Metric: otlp.Metric{Name: "k8s.namespace.phase", Unit: "{namespace}", Instrument: otlp.UpDown},
		kind: "namespace", desc: "1 for the phase that the namespace is in.", only: SemConv, set: true, attributes: "k8s.namespace.phase=active|terminating",
		source: "Namespace .status.phase"},
	namespaceCondition: {Metric: otlp.Metric{Name: "k8s.namespace.condition", Unit: "1", Instrument: otlp.UpDown},
		kind: "namespace", desc: "1 for the status that a condition of the namespace has.", off: true, set: true, attributes: "condition; status",
		source: "Namespace .status.conditions[] (only when present)"},
	namespaceCreatedTime: {Metric: otlp.Metric{Name: "k8s.namespace.created_time", Unit: "s", Instrument: otlp.Gauge, Double: true},
		kind: "namespace", desc: "When the namespace was created, Unix time.", off: true,
		source: "Namespace .metadata.creationTimestamp"},
	namespaceLabels: {Metric: otlp.Metric{Name: "k8s.namespace.labels", Unit: "1", Instrument: otlp.Gauge},
		kind: "namespace", desc: "1, with labels of the namespace in the attributes: those that state.labels names.", off: true, attributes: "label.<name>",
		source: "Namespace .metadata.labels"},
	configMapCount: {Metric: otlp.Metric{Name: "k8s.configmap.count", Unit: "{object}", Instrument: otlp.Gauge},
		kind: "namespace", desc: "ConfigMaps of the namespace; counted once a minute.", off: true,
		source: "number of ConfigMaps, of which only metadata are read"},
	secretCount: {Metric: otlp.Metric{Name: "k8s.secret.count", Unit: "{object}", Instrument: otlp.Gauge},
		kind: "namespace", desc: "Secrets of the namespace; counted once a minute.", off: true,
		source: "number of Secrets, of which only metadata are read"},
	deploymentPodDesired: {Metric: otlp.Metric{Name: "k8s.deployment.pod.desired", Unit: "{pod}", Instrument: otlp.UpDown},
		kind: "deployment", desc: "Pods that the deployment wants.", peer: "k8s.deployment.desired",
		source: "Deployment .spec.replicas (nil means 1)"},
	deploymentPodAvailable: {Metric: otlp.Metric{Name: "k8s.deployment.pod.available", Unit: "{pod}", Instrument: otlp.UpDown},
		kind: "deployment", desc: "Pods that are ready for long enough.", peer: "k8s.deployment.available",
		source: "Deployment .status.availableReplicas"},
	deploymentPodReplicas: {Metric: otlp.Metric{Name: "k8s.deployment.pod.replicas", Unit: "{pod}", Instrument: otlp.UpDown},
		kind: "deployment", desc: "Pods that there are.", off: true,
		source: "Deployment .status.replicas"},
	deploymentPodReady: {Metric: otlp.Metric{Name: "k8s.deployment.pod.ready", Unit: "{pod}", Instrument: otlp.UpDown},
		kind: "deployment", desc: "Pods that are ready.",
		source: "Deployment .status.readyReplicas"},
	deploymentPodUnavailable: {Metric: otlp.Metric{Name: "k8s.deployment.pod.unavailable", Unit: "{pod}", Instrument: otlp.UpDown},
		kind: "deployment", desc: "Pods that are missing or not yet available.",
		source: "Deployment .status.unavailableReplicas"},
	deploymentPodUpdated: {Metric: otlp.Metric{Name: "k8s.deployment.pod.updated", Unit: "{pod}", Instrument: otlp.UpDown},
		kind: "deployment", desc: "Pods of the newest template.",
		source: "Deployment .status.updatedReplicas"},
	deploymentPodTerminating: {Metric: otlp.Metric{Name: "k8s.deployment.pod.terminating", Unit: "{pod}", Instrument: otlp.UpDown},
		kind: "deployment", desc: "Pods that are ending.", off: true,
		source: "Deployment .status.terminatingReplicas"},
	deploymentCondition: {Metric: otlp.Metric{Name: "k8s.deployment.condition", Unit: "1", Instrument: otlp.UpDown},
		kind: "deployment", desc: "1 for the status that a condition of the deployment has.", set: true, attributes: "condition=Available|Progressing|ReplicaFailure; status; reason",
		source: "Deployment .status.conditions[]"},
	deploymentGeneration: {Metric: otlp.Metric{Name: "k8s.deployment.generation", Unit: "1", Instrument: otlp.Gauge},
		kind: "deployment", desc: "Generation of the wanted state.",
		source: "Deployment .metadata.generation"},
	deploymentObservedGeneration: {Metric: otlp.Metric{Name: "k8s.deployment.observed_generation", Unit: "1", Instrument: otlp.Gauge},
		kind: "deployment", desc: "Generation that the controller has seen.",
		source: "Deployment .status.observedGeneration"},
	deploymentPaused: {Metric: otlp.Metric{Name: "k8s.deployment.paused", Unit: "1", Instrument: otlp.UpDown},
		kind: "deployment", desc: "1 if the deployment is paused, else 0.", off: true,
		source: "Deployment .spec.paused"},
	deploymentRollingupdateMaxUnavailable: {Metric: otlp.Metric{Name: "k8s.deployment.rollingupdate.max_unavailable", Unit: "{pod}", Instrument: otlp.UpDown},
		kind: "deployment", desc: "Pods that may be missing in a rollout.", off: true,
		source: "Deployment .spec.strategy.rollingUpdate.maxUnavailable scaled by replicas"},
	deploymentRollingupdateMaxSurge: {Metric: otlp.Metric{Name: "k8s.deployment.rollingupdate.max_surge", Unit: "{pod}", Instrument: otlp.UpDown},
		kind: "deployment", desc: "Pods that may be there in excess in a rollout.", off: true,
		source: "Deployment .spec.strategy.rollingUpdate.maxSurge scaled by replicas"},
	deploymentCreatedTime: {Metric: otlp.Metric{Name: "k8s.deployment.created_time", Unit: "s", Instrument: otlp.Gauge, Double: true},
		kind: "deployment", desc: "When the deployment was created, Unix time.", off: true,
		source: "Deployment .metadata.creationTimestamp"},
	deploymentLabels: {Metric: otlp.Metric{Name: "k8s.deployment.labels", Unit: "1", Instrument: otlp.Gauge},
		kind: "deployment", desc: "1, with labels of the deployment in the attributes: those that state.labels names.", off: true, attributes: "label.<name>",
		source: "Deployment .metadata.labels"},
	replicaSetPodDesired: {Metric: otlp.Metric{Name: "k8s.replicaset.pod.desired", Unit: "{pod}", Instrument: otlp.UpDown},
		kind: "replicaset", desc: "Pods that the replica set wants.", peer: "k8s.replicaset.desired",
		source: "ReplicaSet .spec.replicas"},
	replicaSetPodAvailable: {Metric: otlp.Metric{Name: "k8s.replicaset.pod.available", Unit: "{pod}", Instrument: otlp.UpDown},
		kind: "replicaset", desc: "Pods that are ready for long enough.", peer: "k8s.replicaset.available",
		source: "ReplicaSet .status.availableReplicas"},
	replicaSetPodReady: {Metric: otlp.Metric{Name: "k8s.replicaset.pod.ready", Unit: "{pod}", Instrument: otlp.UpDown},
		kind: "replicaset", desc: "Pods that are ready.", off: true,
		source: "ReplicaSet .status.readyReplicas"},
	replicaSetPodReplicas: {Metric: otlp.Metric{Name: "k8s.replicaset.pod.replicas", Unit: "{pod}", Instrument: otlp.UpDown},
		kind: "replicaset", desc: "Pods that there are.", off: true,
		source: "ReplicaSet .status.replicas"},
	replicaSetOwner: {Metric: otlp.Metric{Name: "k8s.replicaset.owner", Unit: "1", Instrument: otlp.Gauge},
		kind: "replicaset", desc: "1 for each owner of the replica set.", off: true, attributes: "owner_kind; owner_name",
		source: "ReplicaSet .metadata.ownerReferences[]"},
	replicationControllerPodDesired: {Metric: otlp.Metric{Name: "k8s.replicationcontroller.pod.desired", Unit: "{pod}", Instrument: otlp.UpDown},
		kind: "replicationcontroller", desc: "Pods that the replication controller wants.", peer: "k8s.replication_controller.desired",
		source: "ReplicationController .spec.replicas"},
	replicationControllerPodAvailable: {Metric: otlp.Metric{Name: "k8s.replicationcontroller.pod.available", Unit: "{pod}", Instrument: otlp.UpDown},
		kind: "replicationcontroller", desc: "Pods that are ready for long enough.", peer: "k8s.replication_controller.available",
		source: "ReplicationController .status.availableReplicas"},
	replicationControllerPodReady: {Metric: otlp.Metric{Name: "k8s.replicationcontroller.pod.ready", Unit: "{pod}", Instrument: otlp.UpDown},
		kind: "replicationcontroller", desc: "Pods that are ready.", off: true,
		source: "ReplicationController .status.readyReplicas"},
	statefulSetPodDesired: {Metric: otlp.Metric{Name: "k8s.statefulset.pod.desired", Unit: "{pod}", Instrument: otlp.UpDown},
		kind: "statefulset", desc: "Pods that the stateful set wants.", peer: "k8s.statefulset.desired_pods",
		source: "StatefulSet .spec.replicas"},
	statefulSetPodReady: {Metric: otlp.Metric{Name: "k8s.statefulset.pod.ready", Unit: "{pod}", Instrument: otlp.UpDown},
		kind: "statefulset", desc: "Pods that are ready.", peer: "k8s.statefulset.ready_pods",
		source: "StatefulSet .status.readyReplicas"},
	statefulSetPodCurrent: {Metric: otlp.Metric{Name: "k8s.statefulset.pod.current", Unit: "{pod}", Instrument: otlp.UpDown},
		kind: "statefulset", desc: "Pods of the current revision.", peer: "k8s.statefulset.current_pods",
		source: "StatefulSet .status.currentReplicas"},
	statefulSetPodUpdated: {Metric: otlp.Metric{Name: "k8s.statefulset.pod.updated", Unit: "{pod}", Instrument: otlp.UpDown},
		kind: "statefulset", desc: "Pods of the update revision.", peer: "k8s.statefulset.updated_pods",
		source: "StatefulSet .status.updatedReplicas"},
	statefulSetPodAvailable: {Metric: otlp.Metric{Name: "k8s.statefulset.pod.available", Unit: "{pod}", Instrument: otlp.UpDown},
		kind: "statefulset", desc: "Pods that are ready for long enough.",
		source: "StatefulSet .status.availableReplicas"},
	statefulSetPodReplicas: {Metric: otlp.Metric{Name: "k8s.statefulset.pod.replicas", Unit: "{pod}", Instrument: otlp.UpDown},
		kind: "statefulset", desc: "Pods that there are.", off: true,
		source: "StatefulSet .status.replicas"},
	statefulSetGeneration: {Metric: otlp.Metric{Name: "k8s.statefulset.generation", Unit: "1", Instrument: otlp.Gauge},
		kind: "statefulset", desc: "Generation of the wanted state.",
		source: "StatefulSet .metadata.generation"},
	statefulSetObservedGeneration: {Metric: otlp.Metric{Name: "k8s.statefulset.observed_generation", Unit: "1", Instrument: otlp.Gauge},
		kind: "statefulset", desc: "Generation that the controller has seen.",
		source: "StatefulSet .status.observedGeneration"},
	statefulSetRevision: {Metric: otlp.Metric{Name: "k8s.statefulset.revision", Unit: "1", Instrument: otlp.Gauge},
		kind: "statefulset", desc: "1 for the current and for the update revision.", off: true, attributes: "kind=current|update; revision",
		source: "StatefulSet .status.currentRevision / .updateRevision"},
	daemonSetNodeCurrentScheduled: {Metric: otlp.Metric{Name: "k8s.daemonset.node.current_scheduled", Unit: "{node}", Instrument: otlp.UpDown},
		kind: "daemonset", desc: "Nodes that run the pod and should.", peer: "k8s.daemonset.current_scheduled_nodes",
		source: "DaemonSet .status.currentNumberScheduled"},
	daemonSetNodeDesiredScheduled: {Metric: otlp.Metric{Name: "k8s.daemonset.node.desired_scheduled", Unit: "{node}", Instrument: otlp.UpDown},
		kind: "daemonset", desc: "Nodes that should run the pod.", peer: "k8s.daemonset.desired_scheduled_nodes",
		source: "DaemonSet .status.desiredNumberScheduled"},
	daemonSetNodeMisscheduled: {Metric: otlp.Metric{Name: "k8s.daemonset.node.misscheduled", Unit: "{node}", Instrument: otlp.UpDown},
		kind: "daemonset", desc: "Nodes that run the pod and should not.", peer: "k8s.daemonset.misscheduled_nodes",
		source: "DaemonSet .status.numberMisscheduled"},
	daemonSetNodeReady: {Metric: otlp.Metric{Name: "k8s.daemonset.node.ready", Unit: "{node}", Instrument: otlp.UpDown},
		kind: "daemonset", desc: "Nodes whose pod is ready.", peer: "k8s.daemonset.ready_nodes",
		source: "DaemonSet .status.numberReady"},
	daemonSetNodeAvailable: {Metric: otlp.Metric{Name: "k8s.daemonset.node.available", Unit: "{node}", Instrument: otlp.UpDown},
		kind: "daemonset", desc: "Nodes whose pod is ready for long enough.",
		source: "DaemonSet .status.numberAvailable"},
	daemonSetNodeUnavailable: {Metric: otlp.Metric{Name: "k8s.daemonset.node.unavailable", Unit: "{node}", Instrument: otlp.UpDown},
		kind: "daemonset", desc: "Nodes whose pod is missing or not yet available.",
		source: "DaemonSet .status.numberUnavailable"},
	daemonSetNodeUpdatedScheduled: {Metric: otlp.Metric{Name: "k8s.daemonset.node.updated_scheduled", Unit: "{node}", Instrument: otlp.UpDown},
		kind: "daemonset", desc: "Nodes that run the newest template.",
		source: "DaemonSet .status.updatedNumberScheduled"},
	daemonSetGeneration: {Metric: otlp.Metric{Name: "k8s.daemonset.generation", Unit: "1", Instrument: otlp.Gauge},
		kind: "daemonset", desc: "Generation of the wanted state.",
		source: "DaemonSet .metadata.generation"},
	daemonSetObservedGeneration: {Metric: otlp.Metric{Name: "k8s.daemonset.observed_generation", Unit: "1", Instrument: otlp.Gauge},
		kind: "daemonset", desc: "Generation that the controller has seen.",
		source: "DaemonSet .status.observedGeneration"},
	jobPodActive: {Metric: otlp.Metric{Name: "k8s.job.pod.active", Unit: "{pod}", Instrument: otlp.UpDown},
		kind: "job", desc: "Pods that run or wait.", peer: "k8s.job.active_pods",
		source: "Job .status.active"},
	jobPodDesiredSuccessful: {Metric: otlp.Metric{Name: "k8s.job.pod.desired_successful", Unit: "{pod}", Instrument: otlp.UpDown},
		kind: "job", desc: "Pods that have to succeed.", peer: "k8s.job.desired_successful_pods",
		source: "Job .spec.completions"},
	jobPodFailed: {Metric: otlp.Metric{Name: "k8s.job.pod.failed", Unit: "{pod}", Instrument: otlp.UpDown},
		kind: "job", desc: "Pods that failed.", peer: "k8s.job.failed_pods",
		source: "Job .status.failed"},
	jobPodMaxParallel: {Metric: otlp.Metric{Name: "k8s.job.pod.max_parallel", Unit: "{pod}", Instrument: otlp.UpDown},
		kind: "job", desc: "Pods that may run at once.", peer: "k8s.job.max_parallel_pods",
		source: "Job .spec.parallelism"},
	jobPodSuccessful: {Metric: otlp.Metric{Name: "k8s.job.pod.successful", Unit: "{pod}", Instrument: otlp.UpDown},
		kind: "job", desc: "Pods that succeeded.", peer: "k8s.job.successful_pods",
		source: "Job .status.succeeded"},
	jobPodReady: {Metric: otlp.Metric{Name: "k8s.job.pod.ready", Unit: "{pod}", Instrument: otlp.UpDown},
		kind: "job", desc: "Pods that are ready.", off: true,
		source: "Job .status.ready"},
	jobCondition: {Metric: otlp.Metric{Name: "k8s.job.condition", Unit: "1", Instrument: otlp.UpDown},
		kind: "job", desc: "1 for the status that a condition of the job has.", set: true, attributes: "condition=Complete|Failed|Suspended|SuccessCriteriaMet; status; reason",
		source: "Job .status.conditions[]"},
	jobStartTime: {Metric: otlp.Metric{Name: "k8s.job.start_time", Unit: "s", Instrument: otlp.Gauge, Double: true},
		kind: "job", desc: "When the job started, Unix time.",
		source: "Job .status.startTime"},
	jobCompletionTime: {Metric: otlp.Metric{Name: "k8s.job.completion_time", Unit: "s", Instrument: otlp.Gauge, Double: true},
		kind: "job", desc: "When the job was complete, Unix time.",
		source: "Job .status.completionTime"},
	jobActiveDeadline: {Metric: otlp.Metric{Name: "k8s.job.active_deadline", Unit: "s", Instrument: otlp.Gauge},
		kind: "job", desc: "How long the job may run.", off: true,
		source: "Job .spec.activeDeadlineSeconds"},
	jobOwner: {Metric: otlp.Metric{Name: "k8s.job.owner", Unit: "1", Instrument: otlp.Gauge},
		kind: "job", desc: "1 for each owner of the job.", off: true, attributes: "owner_kind; owner_name",
		source: "Job .metadata.ownerReferences[]"},
	cronJobJobActive: {Metric: otlp.Metric{Name: "k8s.cronjob.job.active", Unit: "{job}", Instrument: otlp.UpDown},
		kind: "cronjob", desc: "Jobs that run.", peer: "k8s.cronjob.active_jobs",
		source: "len(CronJob .status.active)"},
	cronJobLastScheduleTime: {Metric: otlp.Metric{Name: "k8s.cronjob.last_schedule_time", Unit: "s", Instrument: otlp.Gauge, Double: true},
		kind: "cronjob", desc: "When a job was started last, Unix time.",
		source: "CronJob .status.lastScheduleTime"},
	cronJobLastSuccessfulTime: {Metric: otlp.Metric{Name: "k8s.cronjob.last_successful_time", Unit: "s", Instrument: otlp.Gauge, Double: true},
		kind: "cronjob", desc: "When a job succeeded last, Unix time.",
		source: "CronJob .status.lastSuccessfulTime"},
	cronJobSuspended: {Metric: otlp.Metric{Name: "k8s.cronjob.suspended", Unit: "1", Instrument: otlp.UpDown},
		kind: "cronjob", desc: "1 if no job is started any more, else 0.",
		source: "CronJob .spec.suspend (nil means 0)"},
	cronJobInfo: {Metric: otlp.Metric{Name: "k8s.cronjob.info", Unit: "1", Instrument: otlp.Gauge},
		kind: "cronjob", desc: "1, with the schedule in the attributes.", off: true, attributes: "schedule; concurrency_policy; timezone",
		source: "CronJob .spec"},
	cronJobScheduleInvalid: {Metric: otlp.Metric{Name: "k8s.cronjob.schedule_invalid", Unit: "1", Instrument: otlp.UpDown},
		kind: "cronjob", desc: "1 if the schedule or the time zone makes no sense.", set: true,
		source: "CronJob .spec.schedule or .spec.timeZone that does not parse"},
	cronJobNextScheduleTime: {Metric: otlp.Metric{Name: "k8s.cronjob.next_schedule_time", Unit: "s", Instrument: otlp.Gauge, Double: true},
		kind: "cronjob", desc: "When the next job is due, Unix time: the first time of the schedule after the last one, or after the creation; not of a suspended one.", off: true,
		source: "CronJob .spec.schedule, .spec.timeZone (UTC without), .status.lastScheduleTime"},
	hpaPodMax: {Metric: otlp.Metric{Name: "k8s.hpa.pod.max", Unit: "{pod}", Instrument: otlp.UpDown},
		kind: "hpa", desc: "Most pods that the autoscaler asks for.", peer: "k8s.hpa.max_replicas",
		source: "HorizontalPodAutoscaler(v2) .spec.maxReplicas"},
	hpaPodMin: {Metric: otlp.Metric{Name: "k8s.hpa.pod.min", Unit: "{pod}", Instrument: otlp.UpDown},
		kind: "hpa", desc: "Fewest pods that the autoscaler asks for.", peer: "k8s.hpa.min_replicas",
		source: "HorizontalPodAutoscaler(v2) .spec.minReplicas (nil means 1)"},
	hpaPodCurrent: {Metric: otlp.Metric{Name: "k8s.hpa.pod.current", Unit: "{pod}", Instrument: otlp.UpDown},
		kind: "hpa", desc: "Pods that the autoscaler saw last.", peer: "k8s.hpa.current_replicas",
		source: "HorizontalPodAutoscaler(v2) .status.currentReplicas"},
	hpaPodDesired: {Metric: otlp.Metric{Name: "k8s.hpa.pod.desired", Unit: "{pod}", Instrument: otlp.UpDown},
		kind: "hpa", desc: "Pods that the autoscaler wants.", peer: "k8s.hpa.desired_replicas",
		source: "HorizontalPodAutoscaler(v2) .status.desiredReplicas"},
	hpaMetricTargetCPUAverageUtilization: {Metric: otlp.Metric{Name: "k8s.hpa.metric.target.cpu.average_utilization", Unit: "1", Instrument: otlp.Gauge, Double: true},
		kind: "hpa", desc: "Target of the CPU use as a share of the request.", off: true, attributes: "k8s.hpa.metric.type=Resource|ContainerResource; k8s.container.name",
		source: "HorizontalPodAutoscaler(v2) .spec.metrics[type=Resource|ContainerResource,name=cpu].target.averageUtilization (sent as a ratio, 0.8 for 80)"},
	hpaMetricTargetCPUAverageValue: {Metric: otlp.Metric{Name: "k8s.hpa.metric.target.cpu.average_value", Unit: "{cpu}", Instrument: otlp.Gauge, Double: true},
		kind: "hpa", desc: "Target of the CPU use of a pod.", off: true, attributes: "k8s.hpa.metric.type=Resource|ContainerResource; k8s.container.name",
		source: "HorizontalPodAutoscaler(v2) .spec.metrics[type=Resource|ContainerResource,name=cpu].target.averageValue"},
	hpaMetricTargetCPUValue: {Metric: otlp.Metric{Name: "k8s.hpa.metric.target.cpu.value", Unit: "{cpu}", Instrument: otlp.Gauge, Double: true},
		kind: "hpa", desc: "Target of the CPU use.", off: true, attributes: "k8s.hpa.metric.type=Resource|ContainerResource; k8s.container.name",
		source: "HorizontalPodAutoscaler(v2) .spec.metrics[type=Resource|ContainerResource,name=cpu].target.value"},
	hpaMetricTarget: {Metric: otlp.Metric{Name: "k8s.hpa.metric.target", Unit: "1", Instrument: otlp.Gauge, Double: true},
		kind: "hpa", desc: "Target of a metric of the autoscaler.", off: true, attributes: "metric_name; metric_target_type=value|utilization|average; k8s.container.name",
		source: "HorizontalPodAutoscaler(v2) .spec.metrics[] / .status.currentMetrics[]"},
	hpaMetricCurrent: {Metric: otlp.Metric{Name: "k8s.hpa.metric.current", Unit: "1", Instrument: otlp.Gauge, Double: true},
		kind: "hpa", desc: "Value of a metric of the autoscaler.", off: true, attributes: "metric_name; metric_target_type=value|utilization|average; k8s.container.name",
		source: "HorizontalPodAutoscaler(v2) .spec.metrics[] / .status.currentMetrics[]"},
	hpaCondition: {Metric: otlp.Metric{Name: "k8s.hpa.condition", Unit: "1", Instrument: otlp.UpDown},
		kind: "hpa", desc: "1 for the status that a condition of the autoscaler has.", set: true, attributes: "condition=AbleToScale|ScalingActive|ScalingLimited; status; reason",
		source: "HorizontalPodAutoscaler(v2) .status.conditions[]"},
	quotaCPULimitHard: {Metric: otlp.Metric{Name: "k8s.resourcequota.cpu.limit.hard", Unit: "{cpu}", Instrument: otlp.UpDown, Double: true},
		kind: "resourcequota", desc: "Most CPU limits of the namespace.", only: SemConv,
		source: "ResourceQuota .status.hard[limits.cpu]"},
	quotaCPULimitUsed: {Metric: otlp.Metric{Name: "k8s.resourcequota.cpu.limit.used", Unit: "{cpu}", Instrument: otlp.UpDown, Double: true},
		kind: "resourcequota", desc: "Sum of CPU limits of the namespace.", only: SemConv,
		source: "ResourceQuota .status.used[limits.cpu]"},
	quotaCPURequestHard: {Metric: otlp.Metric{Name: "k8s.resourcequota.cpu.request.hard", Unit: "{cpu}", Instrument: otlp.UpDown, Double: true},
		kind: "resourcequota", desc: "Most CPU requests of the namespace.", only: SemConv,
		source: "ResourceQuota .status.hard[requests.cpu and cpu]"},
	quotaCPURequestUsed: {Metric: otlp.Metric{Name: "k8s.resourcequota.cpu.request.used", Unit: "{cpu}", Instrument: otlp.UpDown, Double: true},
		kind: "resourcequota", desc: "Sum of CPU requests of the namespace.", only: SemConv,
		source: "ResourceQuota .status.used[requests.cpu and cpu]"},
	quotaMemoryLimitHard: {Metric: otlp.Metric{Name: "k8s.resourcequota.memory.limit.hard", Unit: "By", Instrument: otlp.UpDown},
		kind: "resourcequota", desc: "Most memory limits of the namespace.", only: SemConv,
		source: "ResourceQuota .status.hard[limits.memory]"},
	quotaMemoryLimitUsed: {Metric: otlp.Metric{Name: "k8s.resourcequota.memory.limit.used", Unit: "By", Instrument: otlp.UpDown},
		kind: "resourcequota", desc: "Sum of memory limits of the namespace.", only: SemConv,
		source: "ResourceQuota .status.used[limits.memory]"},
	quotaMemoryRequestHard: {Metric: otlp.Metric{Name: "k8s.resourcequota.memory.request.hard", Unit: "By", Instrument: otlp.UpDown},
		kind: "resourcequota", desc: "Most memory requests of the namespace.", only: SemConv,
		source: "ResourceQuota .status.hard[requests.memory and memory]"},
	quotaMemoryRequestUsed: {Metric: otlp.Metric{Name: "k8s.resourcequota.memory.request.used", Unit: "By", Instrument: otlp.UpDown},
		kind: "resourcequota", desc: "Sum of memory requests of the namespace.", only: SemConv,
		source: "ResourceQuota .status.used[requests.memory and memory]"},
	quotaEphemeralStorageLimitHard: {Metric: otlp.Metric{Name: "k8s.resourcequota.ephemeral_storage.limit.hard", Unit: "By", Instrument: otlp.UpDown},
		kind: "resourcequota", desc: "Most ephemeral storage limits of the namespace.", only: SemConv,
		source: "ResourceQuota .status.hard[limits.ephemeral-storage]"},
	quotaEphemeralStorageLimitUsed: {Metric: otlp.Metric{Name: "k8s.resourcequota.ephemeral_storage.limit.used", Unit: "By", Instrument: otlp.UpDown},
		kind: "resourcequota", desc: "Sum of ephemeral storage limits of the namespace.", only: SemConv,
		source: "ResourceQuota .status.used[limits.ephemeral-storage]"},
	quotaEphemeralStorageRequestHard: {Metric: otlp.Metric{Name: "k8s.resourcequota.ephemeral_storage.request.hard", Unit: "By", Instrument: otlp.UpDown},
		kind: "resourcequota", desc: "Most ephemeral storage requests of the namespace.", only: SemConv,
		source: "ResourceQuota .status.hard[requests.ephemeral-storage and ephemeral-storage]"},
	quotaEphemeralStorageRequestUsed: {Metric: otlp.Metric{Name: "k8s.resourcequota.ephemeral_storage.request.used", Unit: "By", Instrument: otlp.UpDown},
		kind: "resourcequota", desc: "Sum of ephemeral storage requests of the namespace.", only: SemConv,
		source: "ResourceQuota .status.used[requests.ephemeral-storage and ephemeral-storage]"},
	quotaStorageRequestHard: {Metric: otlp.Metric{Name: "k8s.resourcequota.storage.request.hard", Unit: "By", Instrument: otlp.UpDown},
		kind: "resourcequota", desc: "Most storage requests of the namespace.", only: SemConv, attributes: "k8s.storageclass.name (when per class)",
		source: "ResourceQuota .status.hard[requests.storage and <class>.storageclass.storage.k8s.io/requests.storage]"},
	quotaStorageRequestUsed: {Metric: otlp.Metric{Name: "k8s.resourcequota.storage.request.used", Unit: "By", Instrument: otlp.UpDown},
		kind: "resourcequota", desc: "Sum of storage requests of the namespace.", only: SemConv, attributes: "k8s.storageclass.name (when per class)",
		source: "ResourceQuota .status.used[requests.storage and <class>.storageclass.storage.k8s.io/requests.storage]"},
	quotaPVCCountHard: {Metric: otlp.Metric{Name: "k8s.resourcequota.persistentvolumeclaim_count.hard", Unit: "{persistentvolumeclaim}", Instrument: otlp.UpDown},
		kind: "resourcequota", desc: "Most claims in the namespace.", only: SemConv, attributes: "k8s.storageclass.name (when per class)",
		source: "ResourceQuota .status.hard[persistentvolumeclaims and <class>...]"},
	quotaPVCCountUsed: {Metric: otlp.Metric{Name: "k8s.resourcequota.persistentvolumeclaim_count.used", Unit: "{persistentvolumeclaim}", Instrument: otlp.UpDown},
		kind: "resourcequota", desc: "Number of claims in the namespace.", only: SemConv, attributes: "k8s.storageclass.name (when per class)",
		source: "ResourceQuota .status.used[persistentvolumeclaims and <class>...]"},
	quotaHugepageCountRequestHard: {Metric: otlp.Metric{Name: "k8s.resourcequota.hugepage_count.request.hard", Unit: "{hugepage}", Instrument: otlp.UpDown},
		kind: "resourcequota", desc: "Most huge pages requested in the namespace.", only: SemConv, attributes: "k8s.hugepage.size",
		source: "ResourceQuota .status.hard[requests.hugepages-<size> divided by the page size]"},
	quotaHugepageCountRequestUsed: {Metric: otlp.Metric{Name: "k8s.resourcequota.hugepage_count.request.used", Unit: "{hugepage}", Instrument: otlp.UpDown},
		kind: "resourcequota", desc: "Number of huge pages requested in the namespace.", only: SemConv, attributes: "k8s.hugepage.size",
		source: "ResourceQuota .status.used[requests.hugepages-<size> divided by the page size]"},
	quotaObjectCountHard: {Metric: otlp.Metric{Name: "k8s.resourcequota.object_count.hard", Unit: "{object}", Instrument: otlp.UpDown},
		kind: "resourcequota", desc: "Most objects of a kind in the namespace.", only: SemConv, attributes: "k8s.resourcequota.resource_name",
		source: "ResourceQuota .status.hard[count/<resource>.<group>, pods, services, secrets, configmaps, ...]"},
	quotaObjectCountUsed: {Metric: otlp.Metric{Name: "k8s.resourcequota.object_count.used", Unit: "{object}", Instrument: otlp.UpDown},
		kind: "resourcequota", desc: "Number of objects of a kind in the namespace.", only: SemConv, attributes: "k8s.resourcequota.resource_name",
		source: "ResourceQuota .status.used[count/<resource>.<group>, pods, services, secrets, configmaps, ...]"},
	serviceEndpointCount: {Metric: otlp.Metric{Name: "k8s.service.endpoint.count", Unit: "{endpoint}", Instrument: otlp.Gauge},
		kind: "service", desc: "Endpoints of the service by condition, address type and zone.", attributes: "k8s.service.endpoint.condition=ready|serving|terminating; k8s.service.endpoint.address_type=IPv4|IPv6|FQDN; k8s.service.endpoint.zone",
		source: "EndpointSlice .endpoints[].conditions, .addressType, .endpoints[].zone, joined on label kubernetes.io/service-name"},
	serviceLoadBalancerIngressCount: {Metric: otlp.Metric{Name: "k8s.service.load_balancer.ingress.count", Unit: "{ingress}", Instrument: otlp.Gauge},
		kind: "service", desc: "Addresses of the load balancer.",
		source: "len(Service .status.loadBalancer.ingress), type LoadBalancer only"},
	serviceInfo: {Metric: otlp.Metric{Name: "k8s.service.info", Unit: "1", Instrument: otlp.Gauge},
		kind: "service", desc: "1, with the service's addresses in the attributes.", off: true, attributes: "cluster_ip; external_name; load_balancer_ip; external_traffic_policy",
		source: "Service .spec"},
	serviceCreatedTime: {Metric: otlp.Metric{Name: "k8s.service.created_time", Unit: "s", Instrument: otlp.Gauge, Double: true},
		kind: "service", desc: "When the service was created, Unix time.", off: true,
		source: "Service .metadata.creationTimestamp"},
	pvStatusPhase: {Metric: otlp.Metric{Name: "k8s.persistentvolume.status.phase", Unit: "{persistentvolume}", Instrument: otlp.UpDown},
		kind: "persistentvolume", desc: "1 for the phase that the volume is in.", set: true, attributes: "k8s.persistentvolume.status.phase=Available|Bound|Failed|Pending|Released",
		source: "PersistentVolume .status.phase"},
	pvStorageCapacity: {Metric: otlp.Metric{Name: "k8s.persistentvolume.storage.capacity", Unit: "By", Instrument: otlp.UpDown},
		kind: "persistentvolume", desc: "Size of the volume.",
		source: "PersistentVolume .spec.capacity[storage]"},
	pvInfo: {Metric: otlp.Metric{Name: "k8s.persistentvolume.info", Unit: "1", Instrument: otlp.Gauge},
		kind: "persistentvolume", desc: "1, with what backs the volume in the attributes.", off: true, attributes: "csi_driver; csi_volume_handle; claim_namespace; claim_name",
		source: "PersistentVolume .spec.csi, .spec.claimRef"},
	pvcStatusPhase: {Metric: otlp.Metric{Name: "k8s.persistentvolumeclaim.status.phase", Unit: "{persistentvolumeclaim}", Instrument: otlp.UpDown},
		kind: "persistentvolumeclaim", desc: "1 for the phase that the claim is in.", set: true, attributes: "k8s.persistentvolumeclaim.status.phase=Pending|Bound|Lost",
		source: "PersistentVolumeClaim .status.phase"},
	pvcStorageCapacity: {Metric: otlp.Metric{Name: "k8s.persistentvolumeclaim.storage.capacity", Unit: "By", Instrument: otlp.UpDown},
		kind: "persistentvolumeclaim", desc: "Size that the claim has.",
		source: "PersistentVolumeClaim .status.capacity[storage]"},
	pvcStorageRequest: {Metric: otlp.Metric{Name: "k8s.persistentvolumeclaim.storage.request", Unit: "By", Instrument: otlp.UpDown},
		kind: "persistentvolumeclaim", desc: "Size that the claim asks for.",
		source: "PersistentVolumeClaim .spec.resources.requests[storage]"},
	pvcCondition: {Metric: otlp.Metric{Name: "k8s.persistentvolumeclaim.condition", Unit: "1", Instrument: otlp.UpDown},
		kind: "persistentvolumeclaim", desc: "1 for the status that a condition of the claim has.", off: true, set: true, attributes: "type=Resizing|FileSystemResizePending|...; status",
		source: "PersistentVolumeClaim .status.conditions[]"},
	pvcInfo: {Metric: otlp.Metric{Name: "k8s.persistentvolumeclaim.info", Unit: "1", Instrument: otlp.Gauge},
		kind: "persistentvolumeclaim", desc: "1 for each access mode of the claim.", off: true, attributes: "volume_mode; access_mode",
		source: "PersistentVolumeClaim .spec"},
	pdbPodCurrentHealthy: {Metric: otlp.Metric{Name: "k8s.poddisruptionbudget.pod.current_healthy", Unit: "{pod}", Instrument: otlp.UpDown},
		kind: "poddisruptionbudget", desc: "Pods that are healthy.",
		source: "PodDisruptionBudget .status.currentHealthy"},
	pdbPodDesiredHealthy: {Metric: otlp.Metric{Name: "k8s.poddisruptionbudget.pod.desired_healthy", Unit: "{pod}", Instrument: otlp.UpDown},
		kind: "poddisruptionbudget", desc: "Pods that have to be healthy.",
		source: "PodDisruptionBudget .status.desiredHealthy"},
	pdbPodDisruptionsAllowed: {Metric: otlp.Metric{Name: "k8s.poddisruptionbudget.pod.disruptions_allowed", Unit: "{pod}", Instrument: otlp.UpDown},
		kind: "poddisruptionbudget", desc: "Pods that may be evicted now.",
		source: "PodDisruptionBudget .status.disruptionsAllowed"},
	pdbPodExpected: {Metric: otlp.Metric{Name: "k8s.poddisruptionbudget.pod.expected", Unit: "{pod}", Instrument: otlp.UpDown},
		kind: "poddisruptionbudget", desc: "Pods that the budget counts.",
		source: "PodDisruptionBudget .status.expectedPods"},

	storageClassInfo: {Metric: otlp.Metric{Name: "k8s.storageclass.info", Unit: "1", Instrument: otlp.Gauge},
		kind: "storageclass", desc: "1, with what the storage class does in the attributes.", off: true, attributes: "provisioner; reclaim_policy; volume_binding_mode",
		source: "StorageClass"},
	volumeAttachmentAttached: {Metric: otlp.Metric{Name: "k8s.volumeattachment.attached", Unit: "1", Instrument: otlp.UpDown},
		kind: "volumeattachment", desc: "1 if the volume is attached to the node, else 0.", off: true,
		source: "VolumeAttachment .status.attached"},
	limitRange: {Metric: otlp.Metric{Name: "k8s.limitrange", Unit: "1", Instrument: otlp.Gauge, Double: true},
		kind: "limitrange", desc: "A limit, default or ratio of a resource.", off: true, attributes: "resource; type; constraint",
		source: "LimitRange .spec.limits[]"},
	networkPolicyRules: {Metric: otlp.Metric{Name: "k8s.networkpolicy.rules", Unit: "{rule}", Instrument: otlp.Gauge},
		kind: "networkpolicy", desc: "Rules of the policy for a direction.", off: true, attributes: "direction=ingress|egress",
		source: "len(NetworkPolicy .spec.ingress / .spec.egress)"},
	ingressInfo: {Metric: otlp.Metric{Name: "k8s.ingress.info", Unit: "1", Instrument: otlp.Gauge},
		kind: "ingress", desc: "1, with the class in the attributes.", off: true, attributes: "ingress_class",
		source: "Ingress .spec.ingressClassName"},
	ingressPath: {Metric: otlp.Metric{Name: "k8s.ingress.path", Unit: "1", Instrument: otlp.Gauge},
		kind: "ingress", desc: "1 for each path.", off: true, attributes: "host; path; path_type; k8s.service.name; service_port",
		source: "Ingress .spec.rules[].http.paths[]"},
	ingressTLS: {Metric: otlp.Metric{Name: "k8s.ingress.tls", Unit: "1", Instrument: otlp.Gauge},
		kind: "ingress", desc: "1 for each host with TLS.", off: true, attributes: "tls_host; secret_name",
		source: "Ingress .spec.tls[]"},
	csrCondition: {Metric: otlp.Metric{Name: "k8s.certificatesigningrequest.condition", Unit: "1", Instrument: otlp.UpDown},
		kind: "certificatesigningrequest", desc: "1 for each condition that the request has.", off: true, set: true, attributes: "signer_name; condition=approved|denied|failed",
		source: "CertificateSigningRequest .status.conditions[]"},
	serviceAccountInfo: {Metric: otlp.Metric{Name: "k8s.serviceaccount.info", Unit: "1", Instrument: otlp.Gauge},
		kind: "serviceaccount", desc: "1, with whether tokens are mounted in the attributes.", off: true, attributes: "automount_token",
		source: "ServiceAccount"},
	leaseRenewTime: {Metric: otlp.Metric{Name: "k8s.lease.renew_time", Unit: "s", Instrument: otlp.Gauge, Double: true},
		kind: "lease", desc: "When the lease was renewed last, Unix time; read once a minute.", off: true, attributes: "owner_kind; owner_name; lease_holder",
		source: "Lease .spec.renewTime, .spec.holderIdentity"},
	webhookInfo: {Metric: otlp.Metric{Name: "k8s.webhookconfiguration.info", Unit: "1", Instrument: otlp.Gauge},
		kind: "webhookconfiguration", desc: "1 for each webhook of the configuration.", off: true, attributes: "webhook_name; failure_policy; service_namespace; service_name",
		source: "MutatingWebhookConfiguration / ValidatingWebhookConfiguration"},

	theirPodPhase: {Metric: otlp.Metric{Name: "k8s.pod.phase", Unit: "", Instrument: otlp.Gauge},
		kind: "pod", desc: "Phase of the pod: 1 Pending, 2 Running, 3 Succeeded, 4 Failed, 5 Unknown.", only: K8sCluster, form: podStatusPhase},
	theirPodStatusReason: {Metric: otlp.Metric{Name: "k8s.pod.status_reason", Unit: "", Instrument: otlp.Gauge},
		kind: "pod", desc: "Reason that the pod gives: 1 Evicted, 2 NodeAffinity, 3 NodeLost, 4 Shutdown, 5 UnexpectedAdmissionError, 6 another.", only: K8sCluster, form: podStatusReason},
	theirNodeReady: {Metric: otlp.Metric{Name: "k8s.node.condition_ready", Unit: "", Instrument: otlp.Gauge},
		kind: "node", desc: "Condition Ready of the node: 1 true, 0 false, -1 unknown.", only: K8sCluster, form: nodeConditionStatus},
	theirNodeMemoryPressure: {Metric: otlp.Metric{Name: "k8s.node.condition_memory_pressure", Unit: "", Instrument: otlp.Gauge},
		kind: "node", desc: "Condition MemoryPressure of the node: 1 true, 0 false, -1 unknown.", only: K8sCluster, form: nodeConditionStatus},
	theirNodeDiskPressure: {Metric: otlp.Metric{Name: "k8s.node.condition_disk_pressure", Unit: "", Instrument: otlp.Gauge},
		kind: "node", desc: "Condition DiskPressure of the node: 1 true, 0 false, -1 unknown.", only: K8sCluster, form: nodeConditionStatus},
	theirNodePIDPressure: {Metric: otlp.Metric{Name: "k8s.node.condition_pid_pressure", Unit: "", Instrument: otlp.Gauge},
		kind: "node", desc: "Condition PIDPressure of the node: 1 true, 0 false, -1 unknown.", only: K8sCluster, form: nodeConditionStatus},
	theirNodeNetworkUnavailable: {Metric: otlp.Metric{Name: "k8s.node.condition_network_unavailable", Unit: "", Instrument: otlp.Gauge},
		kind: "node", desc: "Condition NetworkUnavailable of the node: 1 true, 0 false, -1 unknown.", only: K8sCluster, form: nodeConditionStatus},
	theirNamespacePhase: {Metric: otlp.Metric{Name: "k8s.namespace.phase", Unit: "", Instrument: otlp.Gauge},
		kind: "namespace", desc: "Phase of the namespace: 1 active, 0 terminating, -1 not known.", only: K8sCluster, form: namespacePhase},
	theirQuotaHard: {Metric: otlp.Metric{Name: "k8s.resource_quota.hard_limit", Unit: "{resource}", Instrument: otlp.Gauge},
		kind: "resourcequota", desc: "Limit of a resource in the namespace; CPU in millicores.", only: K8sCluster, attributes: "resource"},
	theirQuotaUsed: {Metric: otlp.Metric{Name: "k8s.resource_quota.used", Unit: "{resource}", Instrument: otlp.Gauge},
		kind: "resourcequota", desc: "Use of a resource in the namespace; CPU in millicores.", only: K8sCluster, attributes: "resource"},
}
