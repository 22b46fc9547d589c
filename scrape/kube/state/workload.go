package state

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func (b *builder) deployment(d *appsv1.Deployment) *row {
	b.begin(&d.ObjectMeta, k8sDeploymentUID, k8sDeploymentName, k8sNamespaceName)
	s := &d.Status
	desired := or(d.Spec.Replicas, 1)
	b.int(deploymentPodDesired, int64(desired))
	b.int(deploymentPodAvailable, int64(s.AvailableReplicas))
	b.int(deploymentPodReplicas, int64(s.Replicas))
	b.int(deploymentPodReady, int64(s.ReadyReplicas))
	b.int(deploymentPodUnavailable, int64(s.UnavailableReplicas))
	b.int(deploymentPodUpdated, int64(s.UpdatedReplicas))
	if s.TerminatingReplicas != nil {
		b.int(deploymentPodTerminating, int64(*s.TerminatingReplicas))
	}
	for i := range s.Conditions {
		c := &s.Conditions[i]
		b.condition(deploymentCondition, string(c.Type), string(c.Status), c.Reason)
	}
	b.int(deploymentGeneration, d.Generation)
	b.int(deploymentObservedGeneration, s.ObservedGeneration)
	b.bool(deploymentPaused, d.Spec.Paused)
	if u := d.Spec.Strategy.RollingUpdate; u != nil {
		b.scaled(deploymentRollingupdateMaxUnavailable, u.MaxUnavailable, desired, false)
		b.scaled(deploymentRollingupdateMaxSurge, u.MaxSurge, desired, true)
	}
	b.time(deploymentCreatedTime, &d.CreationTimestamp)
	return b.end()
}

// scaled is a number of pods, or a share of those that are wanted.
func (b *builder) scaled(id metricID, v *intstr.IntOrString, of int32, up bool) {
	if v == nil {
		return
	}
	if n, err := intstr.GetScaledValueFromIntOrPercent(v, int(of), up); err == nil {
		b.int(id, int64(n))
	}
}

func (b *builder) replicaSet(r *appsv1.ReplicaSet) *row {
	b.begin(&r.ObjectMeta, k8sReplicaSetUID, k8sReplicaSetName, k8sNamespaceName)
	b.row.owner = controller(&r.ObjectMeta)
	desired := or(r.Spec.Replicas, 1)
	if desired == 0 && r.Status.Replicas == 0 && b.cfg.SkipEmptyReplicaSets {
		b.meta = nil
		return b.end() // for the sake of its owner only
	}
	b.int(replicaSetPodDesired, int64(desired))
	b.int(replicaSetPodAvailable, int64(r.Status.AvailableReplicas))
	b.int(replicaSetPodReady, int64(r.Status.ReadyReplicas))
	b.int(replicaSetPodReplicas, int64(r.Status.Replicas))
	b.owners(replicaSetOwner, r.OwnerReferences)
	b.observed = r.Status.ObservedGeneration
	return b.end()
}

func (b *builder) owners(id metricID, refs []metav1.OwnerReference) {
	for i := range refs {
		if !b.on[id] {
			return
		}
		attrs := []kv{{ownerKindAttr, refs[i].Kind}, {ownerName, refs[i].Name}}
		if id == podOwner {
			attrs = append(attrs, kv{ownerIsController, boolText(or(refs[i].Controller, false))})
		}
		b.int(id, 1, attrs...)
	}
}

func boolText(v bool) string {
	if v {
		return "true"
	}
	return "false"
}

func (b *builder) replicationController(r *corev1.ReplicationController) *row {
	b.begin(&r.ObjectMeta, k8sReplicationControllerUID, k8sReplicationControllerName, k8sNamespaceName)
	b.int(replicationControllerPodDesired, int64(or(r.Spec.Replicas, 1)))
	b.int(replicationControllerPodAvailable, int64(r.Status.AvailableReplicas))
	b.int(replicationControllerPodReady, int64(r.Status.ReadyReplicas))
	b.observed = r.Status.ObservedGeneration
	return b.end()
}

func (b *builder) statefulSet(s *appsv1.StatefulSet) *row {
	b.begin(&s.ObjectMeta, k8sStatefulSetUID, k8sStatefulSetName, k8sNamespaceName)
	b.int(statefulSetPodDesired, int64(or(s.Spec.Replicas, 1)))
	b.int(statefulSetPodReady, int64(s.Status.ReadyReplicas))
	b.int(statefulSetPodCurrent, int64(s.Status.CurrentReplicas))
	b.int(statefulSetPodUpdated, int64(s.Status.UpdatedReplicas))
	b.int(statefulSetPodAvailable, int64(s.Status.AvailableReplicas))
	b.int(statefulSetPodReplicas, int64(s.Status.Replicas))
	b.int(statefulSetGeneration, s.Generation)
	b.int(statefulSetObservedGeneration, s.Status.ObservedGeneration)
	if r := s.Status.CurrentRevision; r != "" {
		b.int(statefulSetRevision, 1, kv{kindAttr, "current"}, kv{attrRevision, r})
	}
	if r := s.Status.UpdateRevision; r != "" {
		b.int(statefulSetRevision, 1, kv{kindAttr, "update"}, kv{attrRevision, r})
	}
	return b.end()
}

func (b *builder) daemonSet(d *appsv1.DaemonSet) *row {
	b.begin(&d.ObjectMeta, k8sDaemonSetUID, k8sDaemonSetName, k8sNamespaceName)
	s := &d.Status
	b.int(daemonSetNodeCurrentScheduled, int64(s.CurrentNumberScheduled))
	b.int(daemonSetNodeDesiredScheduled, int64(s.DesiredNumberScheduled))
	b.int(daemonSetNodeMisscheduled, int64(s.NumberMisscheduled))
	b.int(daemonSetNodeReady, int64(s.NumberReady))
	b.int(daemonSetNodeAvailable, int64(s.NumberAvailable))
	b.int(daemonSetNodeUnavailable, int64(s.NumberUnavailable))
	b.int(daemonSetNodeUpdatedScheduled, int64(s.UpdatedNumberScheduled))
	b.int(daemonSetGeneration, d.Generation)
	b.int(daemonSetObservedGeneration, s.ObservedGeneration)
	return b.end()
}

func (b *builder) podDisruptionBudget(p *policyv1.PodDisruptionBudget) *row {
	b.begin(&p.ObjectMeta, k8sPDBUID, k8sPDBName, k8sNamespaceName)
	b.int(pdbPodCurrentHealthy, int64(p.Status.CurrentHealthy))
	b.int(pdbPodDesiredHealthy, int64(p.Status.DesiredHealthy))
	b.int(pdbPodDisruptionsAllowed, int64(p.Status.DisruptionsAllowed))
	b.int(pdbPodExpected, int64(p.Status.ExpectedPods))
	b.observed = p.Status.ObservedGeneration
	return b.end()
}
