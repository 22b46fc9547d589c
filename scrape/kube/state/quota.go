package state

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

func (b *builder) resourceQuota(q *corev1.ResourceQuota) *row {
	b.begin(&q.ObjectMeta, k8sQuotaUID, k8sQuotaName, k8sNamespaceName)
	for _, name := range sortedResources(q.Status.Hard) {
		b.quota(string(name), q.Status.Hard, 0)
	}
	for _, name := range sortedResources(q.Status.Used) {
		b.quota(string(name), q.Status.Used, 1)
	}
	for _, name := range sortedResources(q.Status.Hard) {
		b.int(theirQuotaHard, theirQuota(string(name), q.Status.Hard[name]), kv{attrResource, string(name)})
	}
	for _, name := range sortedResources(q.Status.Used) {
		b.int(theirQuotaUsed, theirQuota(string(name), q.Status.Used[name]), kv{attrResource, string(name)})
	}
	return b.end()
}

// theirQuota is an amount as k8s_cluster has it: CPU in millicores, with the bare key too, which it
// rounds up to whole cores.
func theirQuota(name string, q resource.Quantity) int64 {
	if name == "cpu" || strings.HasSuffix(name, ".cpu") {
		return q.MilliValue()
	}
	return q.Value()
}

// quotaMetrics are the metrics of resources with one of their own: limit and use. The short names of
// requests mean the same (kubernetes.io/docs/concepts/policy/resource-quotas).
var quotaMetrics = map[string][2]metricID{
	"limits.cpu":                 {quotaCPULimitHard, quotaCPULimitUsed},
	"requests.cpu":               {quotaCPURequestHard, quotaCPURequestUsed},
	"limits.memory":              {quotaMemoryLimitHard, quotaMemoryLimitUsed},
	"requests.memory":            {quotaMemoryRequestHard, quotaMemoryRequestUsed},
	"limits.ephemeral-storage":   {quotaEphemeralStorageLimitHard, quotaEphemeralStorageLimitUsed},
	"requests.ephemeral-storage": {quotaEphemeralStorageRequestHard, quotaEphemeralStorageRequestUsed},
	"requests.storage":           {quotaStorageRequestHard, quotaStorageRequestUsed},
	"persistentvolumeclaims":     {quotaPVCCountHard, quotaPVCCountUsed},
}

const ofStorageClass = ".storageclass.storage.k8s.io/"

// quota adds the limit (0) or the use (1) of a resource in its own metric.
func (b *builder) quota(name string, l corev1.ResourceList, which int) {
	q := l[corev1.ResourceName(name)]
	switch name {
	case "cpu", "memory", "ephemeral-storage":
		name = "requests." + name
		if _, twice := l[corev1.ResourceName(name)]; twice {
			return
		}
	}
	if ids, ok := quotaMetrics[name]; ok {
		b.quantity(ids[which], q)
		return
	}
	if class, of, ok := strings.Cut(name, ofStorageClass); ok {
		if ids, known := quotaMetrics[of]; known {
			b.quantity(ids[which], q, kv{k8sStorageClass, class})
			return
		}
	}
	if size, ok := strings.CutPrefix(strings.TrimPrefix(name, "requests."), "hugepages-"); ok {
		if page, err := resource.ParseQuantity(size); err == nil && page.Value() > 0 {
			if _, twice := l[corev1.ResourceName("requests."+name)]; !twice {
				b.int([2]metricID{quotaHugepageCountRequestHard, quotaHugepageCountRequestUsed}[which], q.Value()/page.Value(), kv{hugepageSize, size})
			}
			return
		}
	}
	b.quantity([2]metricID{quotaObjectCountHard, quotaObjectCountUsed}[which], q, kv{quotaResourceName, name})
}
