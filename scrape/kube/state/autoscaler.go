package state

import (
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

func (b *builder) autoscaler(h *autoscalingv2.HorizontalPodAutoscaler) *row {
	b.begin(&h.ObjectMeta, k8sHPAUID, k8sHPAName, k8sNamespaceName)
	ref := &h.Spec.ScaleTargetRef
	b.add(k8sHPATargetKind, ref.Kind)
	b.add(k8sHPATargetName, ref.Name)
	b.add(k8sHPATargetVersion, ref.APIVersion)
	b.int(hpaPodMax, int64(h.Spec.MaxReplicas))
	b.int(hpaPodMin, int64(or(h.Spec.MinReplicas, 1)))
	b.int(hpaPodCurrent, int64(h.Status.CurrentReplicas))
	b.int(hpaPodDesired, int64(h.Status.DesiredReplicas))
	b.observed = or(h.Status.ObservedGeneration, 0)
	for i := range h.Spec.Metrics {
		m := &h.Spec.Metrics[i]
		name, container, target := targetOf(m)
		if target == nil {
			continue
		}
		b.target(hpaMetricTarget, name, container, target.Value, "value")
		b.target(hpaMetricTarget, name, container, target.AverageValue, "average")
		if u := target.AverageUtilization; u != nil {
			b.target(hpaMetricTarget, name, container, percent(*u), "utilization")
		}
		if name == string(corev1.ResourceCPU) && (m.Type == autoscalingv2.ResourceMetricSourceType || m.Type == autoscalingv2.ContainerResourceMetricSourceType) {
			attrs := present(kv{hpaMetricType, string(m.Type)}, kv{k8sContainerName, container})
			if u := target.AverageUtilization; u != nil {
				b.milli(hpaMetricTargetCPUAverageUtilization, int64(*u)*10, attrs...)
			}
			if q := target.AverageValue; q != nil {
				b.quantity(hpaMetricTargetCPUAverageValue, *q, attrs...)
			}
			if q := target.Value; q != nil {
				b.quantity(hpaMetricTargetCPUValue, *q, attrs...)
			}
		}
	}
	for i := range h.Status.CurrentMetrics {
		name, container, v := currentOf(&h.Status.CurrentMetrics[i])
		if v == nil {
			continue
		}
		b.target(hpaMetricCurrent, name, container, v.Value, "value")
		b.target(hpaMetricCurrent, name, container, v.AverageValue, "average")
		if u := v.AverageUtilization; u != nil {
			b.target(hpaMetricCurrent, name, container, percent(*u), "utilization")
		}
	}
	for i := range h.Status.Conditions {
		c := &h.Status.Conditions[i]
		b.condition(hpaCondition, string(c.Type), string(c.Status), c.Reason)
	}
	return b.end()
}

func (b *builder) target(id metricID, name, container string, q *resource.Quantity, typ string) {
	if q != nil && b.on[id] {
		b.double(id, q.AsApproximateFloat64(), present(kv{attrMetricName, name}, kv{metricTargetType, typ}, kv{k8sContainerName, container})...)
	}
}

// percent is a share of 1.
func percent(v int32) *resource.Quantity {
	return resource.NewMilliQuantity(int64(v)*10, resource.DecimalSI)
}

// targetOf reads the one source that a metric has; nil if it has none.
func targetOf(m *autoscalingv2.MetricSpec) (name, container string, t *autoscalingv2.MetricTarget) {
	switch {
	case m.Resource != nil:
		return string(m.Resource.Name), "", &m.Resource.Target
	case m.ContainerResource != nil:
		return string(m.ContainerResource.Name), m.ContainerResource.Container, &m.ContainerResource.Target
	case m.Pods != nil:
		return m.Pods.Metric.Name, "", &m.Pods.Target
	case m.Object != nil:
		return m.Object.Metric.Name, "", &m.Object.Target
	case m.External != nil:
		return m.External.Metric.Name, "", &m.External.Target
	}
	return "", "", nil
}

// currentOf is targetOf for what the autoscaler saw.
func currentOf(m *autoscalingv2.MetricStatus) (name, container string, v *autoscalingv2.MetricValueStatus) {
	switch {
	case m.Resource != nil:
		return string(m.Resource.Name), "", &m.Resource.Current
	case m.ContainerResource != nil:
		return string(m.ContainerResource.Name), m.ContainerResource.Container, &m.ContainerResource.Current
	case m.Pods != nil:
		return m.Pods.Metric.Name, "", &m.Pods.Current
	case m.Object != nil:
		return m.Object.Metric.Name, "", &m.Object.Current
	case m.External != nil:
		return m.External.Metric.Name, "", &m.External.Current
	}
	return "", "", nil
}
