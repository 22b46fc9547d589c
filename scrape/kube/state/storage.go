package state

import corev1 "k8s.io/api/core/v1"

func (b *builder) persistentVolume(v *corev1.PersistentVolume) *row {
	b.begin(&v.ObjectMeta, k8sPVUID, k8sPVName, 0)
	b.addShared(k8sStorageClass, v.Spec.StorageClassName)
	b.addShared(k8sPVReclaim, string(v.Spec.PersistentVolumeReclaimPolicy))
	if p := v.Status.Phase; p != "" {
		b.state(pvStatusPhase, kv{pvPhaseAttr, string(p)})
	}
	if q, ok := v.Spec.Capacity[corev1.ResourceStorage]; ok {
		b.quantity(pvStorageCapacity, q)
	}
	if b.on[pvInfo] {
		var attrs []kv
		if c := v.Spec.CSI; c != nil {
			attrs = append(attrs, kv{csiDriver, c.Driver}, kv{csiVolumeHandle, c.VolumeHandle})
		}
		if r := v.Spec.ClaimRef; r != nil {
			attrs = append(attrs, kv{claimNamespace, r.Namespace}, kv{claimName, r.Name})
		}
		b.int(pvInfo, 1, present(attrs...)...)
	}
	return b.end()
}

func (b *builder) persistentVolumeClaim(c *corev1.PersistentVolumeClaim) *row {
	b.begin(&c.ObjectMeta, k8sPVCUID, k8sPVCName, k8sNamespaceName)
	b.addShared(k8sStorageClass, or(c.Spec.StorageClassName, ""))
	b.add(k8sPVName, c.Spec.VolumeName)
	if p := c.Status.Phase; p != "" {
		b.state(pvcStatusPhase, kv{pvcPhaseAttr, string(p)})
	}
	if q, ok := c.Status.Capacity[corev1.ResourceStorage]; ok {
		b.quantity(pvcStorageCapacity, q)
	}
	if q, ok := c.Spec.Resources.Requests[corev1.ResourceStorage]; ok {
		b.quantity(pvcStorageRequest, q)
	}
	for i := range c.Status.Conditions {
		k := &c.Status.Conditions[i]
		b.state(pvcCondition, kv{attrType, string(k.Type)}, kv{attrStatus, lower(string(k.Status))})
	}
	for _, m := range c.Spec.AccessModes {
		b.int(pvcInfo, 1, kv{volumeMode, string(or(c.Spec.VolumeMode, corev1.PersistentVolumeFilesystem))}, kv{accessMode, string(m)})
	}
	return b.end()
}
