package state

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
)

func (b *builder) namespace(n *corev1.Namespace) *row {
	b.begin(&n.ObjectMeta, k8sNamespaceUID, k8sNamespaceName, 0)
	theirs := int64(-1)
	switch n.Status.Phase {
	case corev1.NamespaceActive:
		theirs = 1
	case corev1.NamespaceTerminating:
		theirs = 0
	}
	if p := n.Status.Phase; p != "" {
		b.state(namespacePhase, kv{namespacePhaseAttr, strings.ToLower(string(p))})
	}
	b.int(theirNamespacePhase, theirs)
	for i := range n.Status.Conditions {
		c := &n.Status.Conditions[i]
		b.state(namespaceCondition, kv{attrCondition, string(c.Type)}, kv{attrStatus, lower(string(c.Status))})
	}
	b.time(namespaceCreatedTime, &n.CreationTimestamp)
	return b.end()
}
