package state

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func ptr[T any](v T) *T { return &v }

func amounts(s ...string) corev1.ResourceList {
	l := corev1.ResourceList{}
	for i := 0; i < len(s); i += 2 {
		l[corev1.ResourceName(s[i])] = resource.MustParse(s[i+1])
	}
	return l
}

// oneOfEach are objects that between them have every metric of the table, by kind. A real API server
// takes them.
func oneOfEach(namespace string) map[string][]runtime.Object {
	n := 0
	m := func(name string) metav1.ObjectMeta {
		n++
		return metav1.ObjectMeta{Labels: map[string]string{"example.org/x": "y"}, Annotations: map[string]string{"example.org/z": "y"}, Name: name, Namespace: namespace, UID: types.UID(uid(n)), CreationTimestamp: metav1.NewTime(time.Unix(1_790_000_000, 0)), Generation: 1}
	}
	global := func(name string) metav1.ObjectMeta {
		o := m(namespace + "-" + name)
		o.Namespace = ""
		return o
	}
	then := metav1.NewTime(time.Unix(1_790_000_100, 0))
	labels := map[string]string{"app": "x"}
	selector := &metav1.LabelSelector{MatchLabels: labels}
	template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "example.org/app:1"}}}}
	batchTemplate := template
	batchTemplate.Spec.RestartPolicy = corev1.RestartPolicyNever
	owned := func(o metav1.ObjectMeta) metav1.ObjectMeta {
		o.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "Deployment", Name: "d", UID: "00000000-0000-4000-8000-0000000000ff", Controller: ptr(true)}}
		return o
	}

	pod := &corev1.Pod{ObjectMeta: owned(m("pod")), Spec: corev1.PodSpec{
		NodeName:      namespace + "-node",
		Tolerations:   []corev1.Toleration{{Key: "k", Operator: "Exists"}},
		Volumes:       []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "claim"}}}},
		RestartPolicy: corev1.RestartPolicyNever,
		InitContainers: []corev1.Container{
			{Name: "init", Image: "example.org/init:1"}, {Name: "side", Image: "example.org/side:1", RestartPolicy: ptr(corev1.ContainerRestartPolicyAlways)}},
		Containers: []corev1.Container{{Name: "main", Image: "example.org/app:1", Resources: corev1.ResourceRequirements{
			Requests: amounts("cpu", "100m", "memory", "1Mi", "ephemeral-storage", "1Gi", "nvidia.com/gpu", "1"),
			Limits:   amounts("cpu", "200m", "memory", "2Mi", "ephemeral-storage", "1Gi", "nvidia.com/gpu", "1"),
		}}},
	}, Status: corev1.PodStatus{Phase: "Failed", Reason: "Evicted", QOSClass: "Burstable", StartTime: &then}}
	for _, c := range []corev1.PodConditionType{"PodScheduled", "Initialized", "Ready", "ContainersReady", "DisruptionTarget"} {
		pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{Type: c, Status: "True", Reason: "PreemptionByScheduler", LastTransitionTime: then})
	}
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{
		Name: "main", Image: "example.org/app:1", ContainerID: "containerd://x", RestartCount: 2,
		State:                corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "Error", ExitCode: 1, FinishedAt: then}},
		LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "OOMKilled", ExitCode: 137, FinishedAt: then}},
		Resources:            &corev1.ResourceRequirements{Requests: amounts("cpu", "100m", "memory", "1Mi"), Limits: amounts("cpu", "200m", "memory", "2Mi")},
	}}
	pod.Status.InitContainerStatuses = []corev1.ContainerStatus{
		{Name: "init", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "Completed"}}},
		{Name: "side", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: then}}}}
	waiting := &corev1.Pod{ObjectMeta: m("waiting"), Spec: template.Spec, Status: corev1.PodStatus{Phase: "Pending",
		Conditions: []corev1.PodCondition{{Type: "PodScheduled", Status: "False", Reason: "Unschedulable"}}}}
	doomed := &corev1.Pod{ObjectMeta: m("doomed"), Spec: template.Spec, Status: corev1.PodStatus{Phase: "Running"}}
	doomed.Finalizers, doomed.DeletionTimestamp = []string{"example.org/wait"}, &then

	node := &corev1.Node{ObjectMeta: global("node"), Spec: corev1.NodeSpec{Unschedulable: true, Taints: []corev1.Taint{{Key: "k", Effect: "NoSchedule"}}}, Status: corev1.NodeStatus{
		Allocatable: amounts("cpu", "2", "memory", "4Gi", "ephemeral-storage", "9Gi", "pods", "110", "storage", "1Gi", "nvidia.com/gpu", "1"),
		Capacity:    amounts("cpu", "2", "memory", "4Gi", "ephemeral-storage", "9Gi", "pods", "110", "nvidia.com/gpu", "1"),
		NodeInfo:    corev1.NodeSystemInfo{KubeletVersion: "v1.37.2", ContainerRuntimeVersion: "containerd://2.3.7", OperatingSystem: "linux"},
	}}
	node.Labels = map[string]string{"node-role.kubernetes.io/worker": "", "example.org/x": "y"}
	for _, c := range Defaults().NodeConditionsToReport {
		node.Status.Conditions = append(node.Status.Conditions, corev1.NodeCondition{Type: corev1.NodeConditionType(c), Status: "True"})
	}
	leaving := &corev1.Node{ObjectMeta: global("leaving")}
	leaving.Finalizers, leaving.DeletionTimestamp = []string{"example.org/wait"}, &then

	hard := amounts("limits.cpu", "1", "requests.cpu", "1", "limits.memory", "1Gi", "requests.memory", "1Gi", "limits.ephemeral-storage", "1Gi", "requests.ephemeral-storage", "1Gi",
		"requests.storage", "1Gi", "persistentvolumeclaims", "3", "requests.hugepages-2Mi", "4Mi", "services", "9")
	return map[string][]runtime.Object{
		"storageclasses":    {&storagev1.StorageClass{ObjectMeta: global("fast"), Provisioner: "csi.example.org"}},
		"volumeattachments": {&storagev1.VolumeAttachment{ObjectMeta: global("va"), Spec: storagev1.VolumeAttachmentSpec{Attacher: "csi.example.org", NodeName: "n", Source: storagev1.VolumeAttachmentSource{PersistentVolumeName: ptr("v")}}, Status: storagev1.VolumeAttachmentStatus{Attached: true}}},
		"limitranges":       {&corev1.LimitRange{ObjectMeta: m("limits"), Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{{Type: "PersistentVolumeClaim", Max: amounts("storage", "9Gi")}}}}},
		"networkpolicies":   {&networkingv1.NetworkPolicy{ObjectMeta: m("np"), Spec: networkingv1.NetworkPolicySpec{PolicyTypes: []networkingv1.PolicyType{"Ingress"}, Ingress: []networkingv1.NetworkPolicyIngressRule{{}}}}},
		"ingresses": {&networkingv1.Ingress{ObjectMeta: m("web"), Spec: networkingv1.IngressSpec{IngressClassName: ptr("nginx"), TLS: []networkingv1.IngressTLS{{Hosts: []string{"a.example.org"}, SecretName: "s"}},
			Rules: []networkingv1.IngressRule{{Host: "a.example.org", IngressRuleValue: networkingv1.IngressRuleValue{HTTP: &networkingv1.HTTPIngressRuleValue{Paths: []networkingv1.HTTPIngressPath{{
				Path: "/", PathType: ptr(networkingv1.PathTypePrefix), Backend: networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{Name: "web", Port: networkingv1.ServiceBackendPort{Number: 80}}}}}}}}}}}},
		"certificatesigningrequests": {&certificatesv1.CertificateSigningRequest{ObjectMeta: global("csr"), Spec: certificatesv1.CertificateSigningRequestSpec{SignerName: "example.org/signer", Usages: []certificatesv1.KeyUsage{"client auth"}, Request: signingRequest()},
			Status: certificatesv1.CertificateSigningRequestStatus{Conditions: []certificatesv1.CertificateSigningRequestCondition{{Type: "Failed", Status: "True", Reason: "x"}}}}},
		"leases": {&coordinationv1.Lease{ObjectMeta: m("lock"), Spec: coordinationv1.LeaseSpec{HolderIdentity: ptr("me"), RenewTime: &metav1.MicroTime{Time: then.Time}}}},
		"mutatingwebhookconfigurations": {&admissionv1.MutatingWebhookConfiguration{ObjectMeta: global("mutating"), Webhooks: []admissionv1.MutatingWebhook{{Name: "a.example.org", SideEffects: ptr(admissionv1.SideEffectClassNone), AdmissionReviewVersions: []string{"v1"},
			ClientConfig: admissionv1.WebhookClientConfig{Service: &admissionv1.ServiceReference{Namespace: namespace, Name: "hook"}}}}}},
		"validatingwebhookconfigurations": {&admissionv1.ValidatingWebhookConfiguration{ObjectMeta: global("validating"), Webhooks: []admissionv1.ValidatingWebhook{{Name: "b.example.org", SideEffects: ptr(admissionv1.SideEffectClassNone), AdmissionReviewVersions: []string{"v1"},
			ClientConfig: admissionv1.WebhookClientConfig{URL: ptr("https://hook.example.org/")}}}}},
		"serviceaccounts": {&corev1.ServiceAccount{ObjectMeta: m("robot")}},
		"nodes":           {node, leaving},
		"namespaces":      {&corev1.Namespace{ObjectMeta: global("namespace"), Status: corev1.NamespaceStatus{Phase: "Active", Conditions: []corev1.NamespaceCondition{{Type: "NamespaceDeletionContentFailure", Status: "False"}}}}},
		"pods":            {pod, waiting, doomed},
		"deployments": {&appsv1.Deployment{ObjectMeta: m("d"), Spec: appsv1.DeploymentSpec{Selector: selector, Template: template, Strategy: appsv1.DeploymentStrategy{Type: "RollingUpdate",
			RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: ptr(intstr.FromInt32(1)), MaxUnavailable: ptr(intstr.FromString("50%"))}}},
			Status: appsv1.DeploymentStatus{ObservedGeneration: 1, TerminatingReplicas: ptr(int32(0)), Conditions: []appsv1.DeploymentCondition{{Type: "Available", Status: "True", Reason: "x"}}}}},
		"replicasets":            {&appsv1.ReplicaSet{ObjectMeta: owned(m("rs")), Spec: appsv1.ReplicaSetSpec{Selector: selector, Template: template}}},
		"replicationcontrollers": {&corev1.ReplicationController{ObjectMeta: m("rc"), Spec: corev1.ReplicationControllerSpec{Selector: labels, Template: &template}}},
		"statefulsets":           {&appsv1.StatefulSet{ObjectMeta: m("set"), Spec: appsv1.StatefulSetSpec{Selector: selector, Template: template, ServiceName: "x"}, Status: appsv1.StatefulSetStatus{CurrentRevision: "a", UpdateRevision: "b"}}},
		"daemonsets":             {&appsv1.DaemonSet{ObjectMeta: m("ds"), Spec: appsv1.DaemonSetSpec{Selector: selector, Template: template}}},
		"cronjobs": {&batchv1.CronJob{ObjectMeta: m("tick"), Spec: batchv1.CronJobSpec{Schedule: "* * * * *", ConcurrencyPolicy: "Forbid", JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: batchTemplate}}},
			Status: batchv1.CronJobStatus{LastScheduleTime: &then, LastSuccessfulTime: &then}}},
		"jobs": {&batchv1.Job{ObjectMeta: owned(m("job")), Spec: batchv1.JobSpec{Completions: ptr(int32(1)), Parallelism: ptr(int32(1)), ActiveDeadlineSeconds: ptr(int64(60)), Template: batchTemplate},
			Status: batchv1.JobStatus{StartTime: &then, CompletionTime: &then, Succeeded: 1, Ready: ptr(int32(0)), Conditions: []batchv1.JobCondition{{Type: "SuccessCriteriaMet", Status: "True"}, {Type: "Complete", Status: "True"}}}}},
		"horizontalpodautoscalers": {&autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: m("hpa"), Spec: autoscalingv2.HorizontalPodAutoscalerSpec{MaxReplicas: 3, ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "d"},
			Metrics: []autoscalingv2.MetricSpec{
				{Type: "Resource", Resource: &autoscalingv2.ResourceMetricSource{Name: "cpu", Target: autoscalingv2.MetricTarget{Type: "Utilization", AverageUtilization: ptr(int32(80))}}},
				{Type: "ContainerResource", ContainerResource: &autoscalingv2.ContainerResourceMetricSource{Name: "cpu", Container: "main", Target: autoscalingv2.MetricTarget{Type: "AverageValue", AverageValue: ptr(resource.MustParse("500m"))}}},
			}}, Status: autoscalingv2.HorizontalPodAutoscalerStatus{
			CurrentMetrics: []autoscalingv2.MetricStatus{{Type: "Resource", Resource: &autoscalingv2.ResourceMetricStatus{Name: "cpu", Current: autoscalingv2.MetricValueStatus{AverageUtilization: ptr(int32(70)), AverageValue: ptr(resource.MustParse("1"))}}}},
			Conditions:     []autoscalingv2.HorizontalPodAutoscalerCondition{{Type: "AbleToScale", Status: "True"}}}}},
		"poddisruptionbudgets": {&policyv1.PodDisruptionBudget{ObjectMeta: m("pdb"), Spec: policyv1.PodDisruptionBudgetSpec{Selector: selector}}},
		"resourcequotas":       {&corev1.ResourceQuota{ObjectMeta: m("quota"), Spec: corev1.ResourceQuotaSpec{Hard: hard}, Status: corev1.ResourceQuotaStatus{Hard: hard, Used: hard}}},
		"services": {&corev1.Service{ObjectMeta: m("svc"), Spec: corev1.ServiceSpec{Type: "LoadBalancer", Ports: []corev1.ServicePort{{Port: 80}}},
			Status: corev1.ServiceStatus{LoadBalancer: corev1.LoadBalancerStatus{Ingress: []corev1.LoadBalancerIngress{{IP: "192.0.2.1"}}}}}},
		"endpointslices": {&discoveryv1.EndpointSlice{ObjectMeta: func() metav1.ObjectMeta {
			o := m("svc-1")
			o.Labels = map[string]string{discoveryv1.LabelServiceName: "svc"}
			return o
		}(), AddressType: "IPv4", Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"192.0.2.9"}, Zone: ptr("a")}}}},
		"persistentvolumes": {&corev1.PersistentVolume{ObjectMeta: global("pv"), Spec: corev1.PersistentVolumeSpec{Capacity: amounts("storage", "1Gi"), AccessModes: []corev1.PersistentVolumeAccessMode{"ReadWriteOnce"}, StorageClassName: "fast",
			PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: "csi.example.org", VolumeHandle: "v"}}}, Status: corev1.PersistentVolumeStatus{Phase: "Bound"}}},
		"persistentvolumeclaims": {&corev1.PersistentVolumeClaim{ObjectMeta: m("claim"), Spec: corev1.PersistentVolumeClaimSpec{StorageClassName: ptr("fast"), AccessModes: []corev1.PersistentVolumeAccessMode{"ReadWriteOnce"},
			Resources: corev1.VolumeResourceRequirements{Requests: amounts("storage", "1Gi")}},
			Status: corev1.PersistentVolumeClaimStatus{Phase: "Bound", Capacity: amounts("storage", "1Gi"), Conditions: []corev1.PersistentVolumeClaimCondition{{Type: "Resizing", Status: "True"}}}}},
	}
}

// signingRequest is one that a server takes.
func signingRequest() []byte {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "x"}}, k)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

// unstorable are metrics of things that a real API server does not take; here they are added.
func unstorable(all map[string][]runtime.Object) {
	p := all["pods"][0].(*corev1.Pod)
	p.Spec.Containers[0].Resources.Requests["storage"] = resource.MustParse("1Gi")
	p.Spec.Containers[0].Resources.Limits["storage"] = resource.MustParse("1Gi")
	p.Spec.Overhead = amounts("cpu", "10m", "memory", "1Mi")
	h := all["horizontalpodautoscalers"][0].(*autoscalingv2.HorizontalPodAutoscaler)
	h.Spec.Metrics[1].ContainerResource.Target.Value = ptr(resource.MustParse("2"))
	odd := *all["cronjobs"][0].(*batchv1.CronJob)
	odd.Name, odd.UID, odd.Spec.Schedule = "odd", "odd", "when I like"
	all["cronjobs"] = append(all["cronjobs"], &odd)
	p.Status.ObservedGeneration = 1
	h.Status.ObservedGeneration = ptr(int64(1))
	all["replicasets"][0].(*appsv1.ReplicaSet).Status.ObservedGeneration = 1
	all["replicationcontrollers"][0].(*corev1.ReplicationController).Status.ObservedGeneration = 1
	all["poddisruptionbudgets"][0].(*policyv1.PodDisruptionBudget).Status.ObservedGeneration = 1
	then := metav1.NewTime(time.Unix(1_790_000_100, 0))
	for _, objs := range all {
		objs[0].(metav1.Object).SetDeletionTimestamp(&then)
	}
}

// wantedNames is what a set of forms sends of the objects.
func wantedNames(cfg Config) map[string]bool {
	names := map[string]bool{}
	for _, forms := range cfg.forms() {
		for _, f := range forms {
			names[f.Metric().Name] = true
		}
	}
	return names
}

func compareNames(t *testing.T, what string, got, want map[string]bool) {
	t.Helper()
	for n := range want {
		if !got[n] {
			t.Errorf("%s: %s is not sent", what, n)
		}
	}
	for n := range got {
		if !want[n] {
			t.Errorf("%s: %s is sent and not in the table", what, n)
		}
	}
}

// By default the rows that are on are sent, with everything switched on all rows of the table, and
// nothing else.
func TestEmittedIsTheTable(t *testing.T) {
	all := oneOfEach("n")
	unstorable(all)
	semconv := Defaults()
	semconv.Names = SemConv
	for name, cfg := range map[string]Config{"defaults": Defaults(), "semconv": semconv, "everything": everything()} {
		got := map[string]bool{}
		s, r := newSource(t, cfg, "http://127.0.0.1:1", nil)
		tm := s.newTerm()
		for kind, objs := range all {
			for _, o := range objs {
				if len(tm.byKind[kind]) == 0 {
					continue // nothing of it is on
				}
				if st := tm.byKind[kind][0]; st.kind.tally != nil {
					sum := newTally()
					st.kind.tally(&st.b, sum, o)
					tm.add(st, sum)
				} else if err := st.Add(o); err != nil {
					t.Fatal(err)
				}
			}
		}
		if tm.byKind["configmaps"] != nil { // of which only the number is read
			for _, kind := range []string{"configmaps", "secrets"} {
				tm.polled.take(kind, &tally{counts: map[string]int64{"n": 1}})
			}
			tm.polled.take("leases", &tally{renewed: map[string]int64{"n-node": 1}})
		}
		for _, st := range tm.stores {
			st.synced = true
		}
		s.newEmitter(tm, tm.stores, func() {}).interval(t.Context(), time.Now(), time.Hour)
		for n := range r.found.names() {
			got[n] = true
		}
		compareNames(t, name, got, wantedNames(cfg))
	}
}
