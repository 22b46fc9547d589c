package state

import "stint/export/otlp"

// attrKey is an index into the list of attributes' names.
type attrKey byte

const (
	_ attrKey = iota
	k8sNamespaceName
	k8sNamespaceUID
	k8sNodeName
	k8sNodeUID
	k8sPodName
	k8sPodUID
	k8sPodQOSClass
	k8sContainerName
	k8sContainerType
	containerID
	containerImageName
	containerImageTags
	k8sDeploymentName
	k8sDeploymentUID
	k8sReplicaSetName
	k8sReplicaSetUID
	k8sStatefulSetName
	k8sStatefulSetUID
	k8sDaemonSetName
	k8sDaemonSetUID
	k8sJobName
	k8sJobUID
	k8sCronJobName
	k8sCronJobUID
	k8sReplicationControllerName
	k8sReplicationControllerUID
	k8sHPAName
	k8sHPAUID
	k8sHPATargetKind
	k8sHPATargetName
	k8sHPATargetVersion
	k8sPDBName
	k8sPDBUID
	k8sQuotaName
	k8sQuotaUID
	k8sServiceName
	k8sServiceUID
	k8sServiceType
	k8sServiceTraffic
	k8sServiceNotReady
	k8sPVName
	k8sPVUID
	k8sPVReclaim
	k8sPVCName
	k8sPVCUID
	k8sStorageClass
	k8sKubeletVersion
	containerRuntimeName
	containerRuntimeVersion
	osType
	osDescription

	// Of points.
	podPhaseAttr
	podReasonAttr
	containerStateAttr
	containerReasonAttr
	k8sResourceName
	nodeConditionType
	nodeConditionStatusAttr
	namespacePhaseAttr
	pvPhaseAttr
	pvcPhaseAttr
	hugepageSize
	quotaResourceName
	attrResource
	attrCondition
	attrStatus
	attrReason
	attrType
	endpointCondition
	endpointAddressType
	endpointZone
	taintKey
	taintValue
	taintEffect
	nodeRoleAttr
	tolerationOperator
	hostIP
	podIP
	createdByKind
	createdByName
	priorityClass
	hostNetwork
	serviceAccount
	attrScheduler
	runtimeClass
	restartPolicy
	ownerKindAttr
	ownerName
	ownerIsController
	volumeName
	attrReadOnly
	attrEphemeral
	imageID
	imageSpec
	kernelVersion
	osImage
	runtimeVersion
	kubeletVersion
	providerID
	podCIDR
	systemUUID
	internalIP
	kindAttr
	attrRevision
	attrSchedule
	concurrencyPolicy
	attrTimezone
	attrMetricName
	metricTargetType
	hpaMetricType
	clusterIP
	externalName
	loadBalancerIP
	externalTrafficPolicy
	volumeMode
	accessMode
	csiDriver
	csiVolumeHandle
	claimNamespace
	claimName
	k8sVolumeAttachmentName
	k8sLimitRangeName
	k8sLimitRangeUID
	k8sNetworkPolicyName
	k8sNetworkPolicyUID
	k8sIngressName
	k8sIngressUID
	k8sServiceAccountName
	k8sServiceAccountUID
	k8sCSRName
	provisioner
	reclaimPolicy
	volumeBindingMode
	constraint
	direction
	ingressClass
	ingressHost
	ingressPathAttr
	pathType
	servicePort
	tlsHost
	secretName
	signerName
	automountToken
	k8sLeaseName
	k8sLeaseUID
	leaseHolder
	k8sWebhookName
	k8sWebhookUID
	k8sWebhookKind
	webhookName
	failurePolicy
	serviceNamespace
	webhookServiceName

	attrKeys // how many
)

var keyNames = [attrKeys]string{
	k8sNamespaceName: "k8s.namespace.name", k8sNamespaceUID: "k8s.namespace.uid",
	k8sNodeName: "k8s.node.name", k8sNodeUID: "k8s.node.uid",
	k8sPodName: "k8s.pod.name", k8sPodUID: "k8s.pod.uid", k8sPodQOSClass: "k8s.pod.qos_class",
	k8sContainerName: "k8s.container.name", k8sContainerType: "k8s.container.type",
	containerID: "container.id", containerImageName: "container.image.name", containerImageTags: "container.image.tags",
	k8sDeploymentName: "k8s.deployment.name", k8sDeploymentUID: "k8s.deployment.uid",
	k8sReplicaSetName: "k8s.replicaset.name", k8sReplicaSetUID: "k8s.replicaset.uid",
	k8sStatefulSetName: "k8s.statefulset.name", k8sStatefulSetUID: "k8s.statefulset.uid",
	k8sDaemonSetName: "k8s.daemonset.name", k8sDaemonSetUID: "k8s.daemonset.uid",
	k8sJobName: "k8s.job.name", k8sJobUID: "k8s.job.uid",
	k8sCronJobName: "k8s.cronjob.name", k8sCronJobUID: "k8s.cronjob.uid",
	k8sReplicationControllerName: "k8s.replicationcontroller.name", k8sReplicationControllerUID: "k8s.replicationcontroller.uid",
	k8sHPAName: "k8s.hpa.name", k8sHPAUID: "k8s.hpa.uid",
	k8sHPATargetKind: "k8s.hpa.scaletargetref.kind", k8sHPATargetName: "k8s.hpa.scaletargetref.name", k8sHPATargetVersion: "k8s.hpa.scaletargetref.api_version",
	k8sPDBName: "k8s.poddisruptionbudget.name", k8sPDBUID: "k8s.poddisruptionbudget.uid",
	k8sQuotaName: "k8s.resourcequota.name", k8sQuotaUID: "k8s.resourcequota.uid",
	k8sServiceName: "k8s.service.name", k8sServiceUID: "k8s.service.uid", k8sServiceType: "k8s.service.type",
	k8sServiceTraffic: "k8s.service.traffic_distribution", k8sServiceNotReady: "k8s.service.publish_not_ready_addresses",
	k8sPVName: "k8s.persistentvolume.name", k8sPVUID: "k8s.persistentvolume.uid", k8sPVReclaim: "k8s.persistentvolume.reclaim_policy",
	k8sPVCName: "k8s.persistentvolumeclaim.name", k8sPVCUID: "k8s.persistentvolumeclaim.uid", k8sStorageClass: "k8s.storageclass.name",
	k8sKubeletVersion: "k8s.kubelet.version", containerRuntimeName: "container.runtime.name", containerRuntimeVersion: "container.runtime.version",
	osType: "os.type", osDescription: "os.description",

	podPhaseAttr: "k8s.pod.status.phase", podReasonAttr: "k8s.pod.status.reason",
	containerStateAttr: "k8s.container.status.state", containerReasonAttr: "k8s.container.status.reason",
	k8sResourceName: "k8s.resource.name", nodeConditionType: "k8s.node.condition.type", nodeConditionStatusAttr: "k8s.node.condition.status",
	namespacePhaseAttr: "k8s.namespace.phase", pvPhaseAttr: "k8s.persistentvolume.status.phase", pvcPhaseAttr: "k8s.persistentvolumeclaim.status.phase",
	hugepageSize: "k8s.hugepage.size", quotaResourceName: "k8s.resourcequota.resource_name", attrResource: "resource",
	attrCondition: "condition", attrStatus: "status", attrReason: "reason", attrType: "type",
	endpointCondition: "k8s.service.endpoint.condition", endpointAddressType: "k8s.service.endpoint.address_type", endpointZone: "k8s.service.endpoint.zone",
	taintKey: "key", taintValue: "value", taintEffect: "effect", nodeRoleAttr: "role", tolerationOperator: "operator",
	hostIP: "host_ip", podIP: "k8s.pod.ip", createdByKind: "created_by_kind", createdByName: "created_by_name", priorityClass: "priority_class",
	hostNetwork: "host_network", serviceAccount: "service_account", attrScheduler: "scheduler", runtimeClass: "runtime_class", restartPolicy: "restart_policy",
	ownerKindAttr: "owner_kind", ownerName: "owner_name", ownerIsController: "owner_is_controller",
	volumeName: "k8s.volume.name", attrReadOnly: "read_only", attrEphemeral: "ephemeral",
	imageID: "container.image.id", imageSpec: "image_spec",
	kernelVersion: "kernel_version", osImage: "os_image", runtimeVersion: "container_runtime_version", kubeletVersion: "kubelet_version",
	providerID: "provider_id", podCIDR: "pod_cidr", systemUUID: "system_uuid", internalIP: "internal_ip",
	kindAttr: "kind", attrRevision: "revision", attrSchedule: "schedule", concurrencyPolicy: "concurrency_policy", attrTimezone: "timezone",
	attrMetricName: "metric_name", metricTargetType: "metric_target_type", hpaMetricType: "k8s.hpa.metric.type",
	clusterIP: "cluster_ip", externalName: "external_name", loadBalancerIP: "load_balancer_ip", externalTrafficPolicy: "external_traffic_policy",
	volumeMode: "volume_mode", accessMode: "access_mode", csiDriver: "csi_driver", csiVolumeHandle: "csi_volume_handle",
	claimNamespace: "claim_namespace", claimName: "claim_name",
	k8sVolumeAttachmentName: "k8s.volumeattachment.name",
	k8sLimitRangeName:       "k8s.limitrange.name",
	k8sLimitRangeUID:        "k8s.limitrange.uid",
	k8sNetworkPolicyName:    "k8s.networkpolicy.name",
	k8sNetworkPolicyUID:     "k8s.networkpolicy.uid",
	k8sIngressName:          "k8s.ingress.name",
	k8sIngressUID:           "k8s.ingress.uid",
	k8sServiceAccountName:   "k8s.serviceaccount.name",
	k8sServiceAccountUID:    "k8s.serviceaccount.uid",
	k8sCSRName:              "k8s.certificatesigningrequest.name",
	provisioner:             "provisioner",
	reclaimPolicy:           "reclaim_policy",
	volumeBindingMode:       "volume_binding_mode",
	constraint:              "constraint",
	direction:               "direction",
	ingressClass:            "ingress_class",
	ingressHost:             "host",
	ingressPathAttr:         "path",
	pathType:                "path_type",
	servicePort:             "service_port",
	tlsHost:                 "tls_host",
	secretName:              "secret_name",
	signerName:              "signer_name",
	automountToken:          "automount_token",
	k8sLeaseName:            "k8s.lease.name",
	k8sLeaseUID:             "k8s.lease.uid",
	leaseHolder:             "lease_holder",
	k8sWebhookName:          "k8s.webhookconfiguration.name",
	k8sWebhookUID:           "k8s.webhookconfiguration.uid",
	k8sWebhookKind:          "k8s.webhookconfiguration.kind",
	webhookName:             "webhook_name",
	failurePolicy:           "failure_policy",
	serviceNamespace:        "service_namespace",
	webhookServiceName:      "service_name",
}

// keys are the names, encoded.
var keys = func() (all [attrKeys]otlp.Key) {
	for i, n := range keyNames {
		all[i] = otlp.NewKey(n)
	}
	return all
}()

// optional are the attributes of resources that only tell more of an object; without them it is known as
// well. Those of owners are among them.
var optional = func() map[string]attrKey {
	all := map[string]attrKey{}
	for _, k := range []attrKey{
		k8sPodQOSClass, k8sNodeName, containerID, containerImageName, containerImageTags, k8sContainerType,
		k8sHPATargetKind, k8sHPATargetName, k8sHPATargetVersion, k8sServiceType, k8sServiceTraffic, k8sServiceNotReady,
		k8sPVName, k8sPVReclaim, k8sStorageClass, k8sKubeletVersion, containerRuntimeName, containerRuntimeVersion, osType, osDescription,
	} {
		all[keyNames[k]] = k
	}
	for _, ks := range ownerKeys {
		for _, k := range ks {
			if k != 0 {
				all[keyNames[k]] = k
			}
		}
	}
	return all
}()

// without says which attributes are switched off.
func (c *Config) without() *[attrKeys]bool {
	off := &[attrKeys]bool{}
	for name, s := range c.ResourceAttributes {
		off[optional[name]] = !s.Enabled
	}
	return off
}
