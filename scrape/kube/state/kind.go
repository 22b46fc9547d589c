package state

import (
	"context"

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
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"

	"stint/scrape/kube"
)

// kind is a kind of object that is watched.
type kind struct {
	name, group string // as a rule of RBAC has them
	namespaced  bool
	metrics     string         // kind in the table of metrics; "": none of its own
	object      runtime.Object // what the reflector expects
	row         func(b *builder, obj any) *row
	tally       func(b *builder, t *tally, obj any) // not nil: the kind is not watched but listed, once in a while
	custom      *CustomResource                     // not nil: of a CRD, which is looked for
	api         func(c *kube.Client, namespace string) listWatch
}

// listWatch is the part of a typed client that reads.
type listWatch struct {
	list  func(context.Context, metav1.ListOptions) (runtime.Object, error)
	watch func(context.Context, metav1.ListOptions) (watch.Interface, error)
}

// client is a typed client, as far as it is used.
type client[L runtime.Object] interface {
	List(context.Context, metav1.ListOptions) (L, error)
	Watch(context.Context, metav1.ListOptions) (watch.Interface, error)
}

func reading[L runtime.Object](c client[L]) listWatch {
	return listWatch{
		func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return c.List(ctx, o) },
		c.Watch,
	}
}

// rows makes a row builder of one for a type; nil for what is none.
func rows[T any](build func(*builder, *T) *row) func(*builder, any) *row {
	return func(b *builder, obj any) *row {
		if o, ok := obj.(*T); ok && o != nil {
			return build(b, o)
		}
		return nil
	}
}

// kinds are all that are watched, in the order in which their points are sent. Owners stand before
// what they own.
var kinds = []kind{
	{name: "nodes", metrics: "node", object: &corev1.Node{}, row: rows((*builder).node),
		api: func(c *kube.Client, _ string) listWatch { return reading(c.Typed.CoreV1().Nodes()) }},
	{name: "namespaces", metrics: "namespace", object: &corev1.Namespace{}, row: rows((*builder).namespace),
		api: func(c *kube.Client, _ string) listWatch { return reading(c.Typed.CoreV1().Namespaces()) }},
	{name: "deployments", group: "apps", namespaced: true, metrics: "deployment", object: &appsv1.Deployment{}, row: rows((*builder).deployment),
		api: func(c *kube.Client, ns string) listWatch { return reading(c.Typed.AppsV1().Deployments(ns)) }},
	{name: "replicasets", group: "apps", namespaced: true, metrics: "replicaset", object: &appsv1.ReplicaSet{}, row: rows((*builder).replicaSet),
		api: func(c *kube.Client, ns string) listWatch { return reading(c.Typed.AppsV1().ReplicaSets(ns)) }},
	{name: "replicationcontrollers", namespaced: true, metrics: "replicationcontroller", object: &corev1.ReplicationController{}, row: rows((*builder).replicationController),
		api: func(c *kube.Client, ns string) listWatch {
			return reading(c.Typed.CoreV1().ReplicationControllers(ns))
		}},
	{name: "statefulsets", group: "apps", namespaced: true, metrics: "statefulset", object: &appsv1.StatefulSet{}, row: rows((*builder).statefulSet),
		api: func(c *kube.Client, ns string) listWatch { return reading(c.Typed.AppsV1().StatefulSets(ns)) }},
	{name: "daemonsets", group: "apps", namespaced: true, metrics: "daemonset", object: &appsv1.DaemonSet{}, row: rows((*builder).daemonSet),
		api: func(c *kube.Client, ns string) listWatch { return reading(c.Typed.AppsV1().DaemonSets(ns)) }},
	{name: "cronjobs", group: "batch", namespaced: true, metrics: "cronjob", object: &batchv1.CronJob{}, row: rows((*builder).cronJob),
		api: func(c *kube.Client, ns string) listWatch { return reading(c.Typed.BatchV1().CronJobs(ns)) }},
	{name: "jobs", group: "batch", namespaced: true, metrics: "job", object: &batchv1.Job{}, row: rows((*builder).job),
		api: func(c *kube.Client, ns string) listWatch { return reading(c.Typed.BatchV1().Jobs(ns)) }},
	{name: "horizontalpodautoscalers", group: "autoscaling", namespaced: true, metrics: "hpa", object: &autoscalingv2.HorizontalPodAutoscaler{}, row: rows((*builder).autoscaler),
		api: func(c *kube.Client, ns string) listWatch {
			return reading(c.Typed.AutoscalingV2().HorizontalPodAutoscalers(ns))
		}},
	{name: "poddisruptionbudgets", group: "policy", namespaced: true, metrics: "poddisruptionbudget", object: &policyv1.PodDisruptionBudget{}, row: rows((*builder).podDisruptionBudget),
		api: func(c *kube.Client, ns string) listWatch {
			return reading(c.Typed.PolicyV1().PodDisruptionBudgets(ns))
		}},
	{name: "resourcequotas", namespaced: true, metrics: "resourcequota", object: &corev1.ResourceQuota{}, row: rows((*builder).resourceQuota),
		api: func(c *kube.Client, ns string) listWatch { return reading(c.Typed.CoreV1().ResourceQuotas(ns)) }},
	{name: "endpointslices", group: "discovery.k8s.io", namespaced: true, object: &discoveryv1.EndpointSlice{}, row: rows((*builder).endpointSlice),
		api: func(c *kube.Client, ns string) listWatch { return reading(c.Typed.DiscoveryV1().EndpointSlices(ns)) }},
	{name: "services", namespaced: true, metrics: "service", object: &corev1.Service{}, row: rows((*builder).service),
		api: func(c *kube.Client, ns string) listWatch { return reading(c.Typed.CoreV1().Services(ns)) }},
	{name: "persistentvolumes", metrics: "persistentvolume", object: &corev1.PersistentVolume{}, row: rows((*builder).persistentVolume),
		api: func(c *kube.Client, _ string) listWatch { return reading(c.Typed.CoreV1().PersistentVolumes()) }},
	{name: "persistentvolumeclaims", namespaced: true, metrics: "persistentvolumeclaim", object: &corev1.PersistentVolumeClaim{}, row: rows((*builder).persistentVolumeClaim),
		api: func(c *kube.Client, ns string) listWatch {
			return reading(c.Typed.CoreV1().PersistentVolumeClaims(ns))
		}},
	// These have metrics that are off by default, and are then not watched.
	{name: "storageclasses", group: "storage.k8s.io", metrics: "storageclass", object: &storagev1.StorageClass{}, row: rows((*builder).storageClass),
		api: func(c *kube.Client, _ string) listWatch { return reading(c.Typed.StorageV1().StorageClasses()) }},
	{name: "volumeattachments", group: "storage.k8s.io", metrics: "volumeattachment", object: &storagev1.VolumeAttachment{}, row: rows((*builder).volumeAttachment),
		api: func(c *kube.Client, _ string) listWatch { return reading(c.Typed.StorageV1().VolumeAttachments()) }},
	{name: "limitranges", namespaced: true, metrics: "limitrange", object: &corev1.LimitRange{}, row: rows((*builder).limitRange),
		api: func(c *kube.Client, ns string) listWatch { return reading(c.Typed.CoreV1().LimitRanges(ns)) }},
	{name: "networkpolicies", group: "networking.k8s.io", namespaced: true, metrics: "networkpolicy", object: &networkingv1.NetworkPolicy{}, row: rows((*builder).networkPolicy),
		api: func(c *kube.Client, ns string) listWatch {
			return reading(c.Typed.NetworkingV1().NetworkPolicies(ns))
		}},
	{name: "ingresses", group: "networking.k8s.io", namespaced: true, metrics: "ingress", object: &networkingv1.Ingress{}, row: rows((*builder).ingress),
		api: func(c *kube.Client, ns string) listWatch { return reading(c.Typed.NetworkingV1().Ingresses(ns)) }},
	{name: "certificatesigningrequests", group: "certificates.k8s.io", metrics: "certificatesigningrequest", object: &certificatesv1.CertificateSigningRequest{}, row: rows((*builder).certificateSigningRequest),
		api: func(c *kube.Client, _ string) listWatch {
			return reading(c.Typed.CertificatesV1().CertificateSigningRequests())
		}},
	{name: "serviceaccounts", namespaced: true, metrics: "serviceaccount", object: &corev1.ServiceAccount{}, row: rows((*builder).serviceAccount),
		api: func(c *kube.Client, ns string) listWatch { return reading(c.Typed.CoreV1().ServiceAccounts(ns)) }},
	{name: "mutatingwebhookconfigurations", group: "admissionregistration.k8s.io", metrics: "webhookconfiguration", object: &admissionv1.MutatingWebhookConfiguration{}, row: rows((*builder).mutatingWebhooks),
		api: func(c *kube.Client, _ string) listWatch {
			return reading(c.Typed.AdmissionregistrationV1().MutatingWebhookConfigurations())
		}},
	{name: "validatingwebhookconfigurations", group: "admissionregistration.k8s.io", metrics: "webhookconfiguration", object: &admissionv1.ValidatingWebhookConfiguration{}, row: rows((*builder).validatingWebhooks),
		api: func(c *kube.Client, _ string) listWatch {
			return reading(c.Typed.AdmissionregistrationV1().ValidatingWebhookConfigurations())
		}},
	{name: "leases", group: "coordination.k8s.io", namespaced: true, metrics: "lease", object: &coordinationv1.Lease{}, row: rows((*builder).lease), tally: (*builder).tallyLease,
		api: func(c *kube.Client, ns string) listWatch { return reading(c.Typed.CoordinationV1().Leases(ns)) }},
	// Counted for the namespaces, which have to be known.
	{name: "configmaps", object: &metav1.PartialObjectMetadata{}, tally: (*builder).tallyObject, api: metadataOf("configmaps")},
	{name: "secrets", object: &metav1.PartialObjectMetadata{}, tally: (*builder).tallyObject, api: metadataOf("secrets")},
	{name: pods, namespaced: true, metrics: "pod", object: &corev1.Pod{}, row: rows((*builder).pod),
		api: func(c *kube.Client, ns string) listWatch { return reading(c.Typed.CoreV1().Pods(ns)) }},
}

// metadataOf reads only the metadata of a kind of the core group.
func metadataOf(name string) func(*kube.Client, string) listWatch {
	return func(c *kube.Client, ns string) listWatch {
		return reading(c.Metadata.Resource(schema.GroupVersionResource{Version: "v1", Resource: name}).Namespace(ns))
	}
}

// pods is the kind that there are most of.
const pods = "pods"

// watched are the kinds that the metrics that are on need.
func watched(on []bool) (all []*kind) {
	wants := wantedKinds(on)
	for i := range kinds {
		k := &kinds[i]
		yes := wants[k.metrics]
		switch k.name {
		case "endpointslices":
			yes = on[serviceEndpointCount]
		case "configmaps":
			yes = on[configMapCount]
		case "secrets":
			yes = on[secretCount]
		case "leases":
			yes = yes || on[nodeLeaseRenewTime]
		}
		if yes {
			all = append(all, k)
		}
	}
	return all
}

// wantedKinds are those that the metrics that are on are of, by their name in the table, and those
// that the owners of pods are found by.
func wantedKinds(on []bool) map[string]bool {
	wants := map[string]bool{}
	for i := range table {
		if on[i] {
			wants[table[i].kind] = true
		}
	}
	if wants["pod"] {
		wants["replicaset"], wants["job"] = true, true
	}
	return wants
}

// rowList is a page of a list, already as rows.
type rowList struct {
	metav1.TypeMeta
	metav1.ListMeta
	Items []runtime.Object
}

// DeepCopyObject implements runtime.Object; nobody changes a list.
func (l *rowList) DeepCopyObject() runtime.Object { return l }

// toRows turns a page into rows, so that a list of everything never holds objects.
func (s *store) toRows(list runtime.Object) (*rowList, error) {
	m, err := meta.ListAccessor(list)
	if err != nil {
		return nil, err
	}
	out := &rowList{}
	out.ResourceVersion, out.Continue, out.RemainingItemCount = m.GetResourceVersion(), m.GetContinue(), m.GetRemainingItemCount()
	err = meta.EachListItem(list, func(obj runtime.Object) error {
		r, err := s.transform(obj)
		if err == nil {
			out.Items = append(out.Items, r.(*row))
		}
		return err
	})
	return out, err
}
