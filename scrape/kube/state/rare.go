package state

import (
	"strconv"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	storagev1 "k8s.io/api/storage/v1"
)

// Kinds whose metrics are all off by default.

func (b *builder) storageClass(s *storagev1.StorageClass) *row {
	b.begin(&s.ObjectMeta, 0, k8sStorageClass, 0)
	b.int(storageClassInfo, 1, present(kv{provisioner, s.Provisioner}, kv{reclaimPolicy, string(or(s.ReclaimPolicy, corev1.PersistentVolumeReclaimDelete))},
		kv{volumeBindingMode, string(or(s.VolumeBindingMode, storagev1.VolumeBindingImmediate))})...)
	return b.end()
}

func (b *builder) volumeAttachment(v *storagev1.VolumeAttachment) *row {
	b.begin(&v.ObjectMeta, 0, k8sVolumeAttachmentName, 0)
	b.add(k8sNodeName, v.Spec.NodeName)
	b.add(k8sPVName, or(v.Spec.Source.PersistentVolumeName, ""))
	b.bool(volumeAttachmentAttached, v.Status.Attached)
	return b.end()
}

func (b *builder) limitRange(l *corev1.LimitRange) *row {
	b.begin(&l.ObjectMeta, k8sLimitRangeUID, k8sLimitRangeName, k8sNamespaceName)
	for i := range l.Spec.Limits {
		item := &l.Spec.Limits[i]
		for _, c := range []struct {
			name string
			list corev1.ResourceList
		}{{"min", item.Min}, {"max", item.Max}, {"default", item.Default}, {"defaultRequest", item.DefaultRequest}, {"maxLimitRequestRatio", item.MaxLimitRequestRatio}} {
			for _, name := range sortedResources(c.list) {
				q := c.list[name]
				b.double(limitRange, q.AsApproximateFloat64(), kv{attrResource, string(name)}, kv{attrType, string(item.Type)}, kv{constraint, c.name})
			}
		}
	}
	return b.end()
}

func (b *builder) networkPolicy(p *networkingv1.NetworkPolicy) *row {
	b.begin(&p.ObjectMeta, k8sNetworkPolicyUID, k8sNetworkPolicyName, k8sNamespaceName)
	b.int(networkPolicyRules, int64(len(p.Spec.Ingress)), kv{direction, "ingress"})
	b.int(networkPolicyRules, int64(len(p.Spec.Egress)), kv{direction, "egress"})
	return b.end()
}

func (b *builder) ingress(n *networkingv1.Ingress) *row {
	b.begin(&n.ObjectMeta, k8sIngressUID, k8sIngressName, k8sNamespaceName)
	b.int(ingressInfo, 1, present(kv{ingressClass, or(n.Spec.IngressClassName, "")})...)
	for i := range n.Spec.Rules {
		r := &n.Spec.Rules[i]
		if r.HTTP == nil {
			continue
		}
		for j := range r.HTTP.Paths {
			p := &r.HTTP.Paths[j]
			attrs := []kv{{ingressHost, r.Host}, {ingressPathAttr, p.Path}, {pathType, string(or(p.PathType, ""))}}
			if s := p.Backend.Service; s != nil {
				port := s.Port.Name
				if port == "" && s.Port.Number != 0 {
					port = strconv.Itoa(int(s.Port.Number))
				}
				attrs = append(attrs, kv{k8sServiceName, s.Name}, kv{servicePort, port})
			}
			b.int(ingressPath, 1, present(attrs...)...)
		}
	}
	for i := range n.Spec.TLS {
		for _, host := range n.Spec.TLS[i].Hosts {
			b.int(ingressTLS, 1, present(kv{tlsHost, host}, kv{secretName, n.Spec.TLS[i].SecretName})...)
		}
	}
	return b.end()
}

func (b *builder) certificateSigningRequest(c *certificatesv1.CertificateSigningRequest) *row {
	b.begin(&c.ObjectMeta, 0, k8sCSRName, 0)
	for i := range c.Status.Conditions {
		b.state(csrCondition, present(kv{signerName, c.Spec.SignerName}, kv{attrCondition, strings.ToLower(string(c.Status.Conditions[i].Type))})...)
	}
	return b.end()
}

func (b *builder) serviceAccount(a *corev1.ServiceAccount) *row {
	b.begin(&a.ObjectMeta, k8sServiceAccountUID, k8sServiceAccountName, k8sNamespaceName)
	b.int(serviceAccountInfo, 1, kv{automountToken, boolText(or(a.AutomountServiceAccountToken, true))})
	return b.end()
}

func (b *builder) lease(l *coordinationv1.Lease) *row {
	b.begin(&l.ObjectMeta, k8sLeaseUID, k8sLeaseName, k8sNamespaceName)
	if r := l.Spec.RenewTime; r != nil && b.on[leaseRenewTime] {
		attrs := []kv{{leaseHolder, or(l.Spec.HolderIdentity, "")}}
		if len(l.OwnerReferences) > 0 {
			attrs = append(attrs, kv{ownerKindAttr, l.OwnerReferences[0].Kind}, kv{ownerName, l.OwnerReferences[0].Name})
		}
		b.milli(leaseRenewTime, r.UnixMilli(), present(attrs...)...)
	}
	return b.end()
}

func (b *builder) mutatingWebhooks(c *admissionv1.MutatingWebhookConfiguration) *row {
	b.begin(&c.ObjectMeta, k8sWebhookUID, k8sWebhookName, 0)
	b.addShared(k8sWebhookKind, "mutating")
	for i := range c.Webhooks {
		w := &c.Webhooks[i]
		b.webhook(w.Name, w.FailurePolicy, w.ClientConfig.Service)
	}
	return b.end()
}

func (b *builder) validatingWebhooks(c *admissionv1.ValidatingWebhookConfiguration) *row {
	b.begin(&c.ObjectMeta, k8sWebhookUID, k8sWebhookName, 0)
	b.addShared(k8sWebhookKind, "validating")
	for i := range c.Webhooks {
		w := &c.Webhooks[i]
		b.webhook(w.Name, w.FailurePolicy, w.ClientConfig.Service)
	}
	return b.end()
}

func (b *builder) webhook(name string, policy *admissionv1.FailurePolicyType, s *admissionv1.ServiceReference) {
	attrs := []kv{{webhookName, name}, {failurePolicy, string(or(policy, admissionv1.Fail))}}
	if s != nil { // else it is called by a URL
		attrs = append(attrs, kv{serviceNamespace, s.Namespace}, kv{webhookServiceName, s.Name})
	}
	b.int(webhookInfo, 1, present(attrs...)...)
}
