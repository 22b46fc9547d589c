package replay

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
)

// Generator is an API server with many objects, made as they are sent: pods, thirty of a deployment, their
// replica sets, nodes and namespaces; of other kinds there are none. It lists in pages and streams lists, in
// protobuf or JSON as it is asked, knows Leases and ConfigMaps that are written, and answers discovery. So
// many pods a second change.
type Generator struct {
	Pods, Nodes int

	changes atomic.Int64 // a second
	handed  atomic.Bool  // all pods were, to somebody

	mu      sync.Mutex // guards everything below
	version int
	written map[string]runtime.Object // by path
}

// NewGenerator makes one.
func NewGenerator(pods, nodes, changes int) *Generator {
	g := &Generator{Pods: pods, Nodes: nodes, version: 2000, written: map[string]runtime.Object{}}
	g.changes.Store(int64(changes))
	return g
}

// SetChanges sets how many pods change a second.
func (g *Generator) SetChanges(n int) { g.changes.Store(int64(n)) }

// Handed says whether somebody has read all pods.
func (g *Generator) Handed() bool { return g.handed.Load() }

// generated are the kinds that discovery knows.
var generated = []struct{ group, version, name, kind string }{
	{"", "v1", "nodes", "Node"}, {"", "v1", "namespaces", "Namespace"}, {"", "v1", "pods", "Pod"}, {"", "v1", "services", "Service"}, {"", "v1", "events", "Event"},
	{"", "v1", "replicationcontrollers", "ReplicationController"}, {"", "v1", "resourcequotas", "ResourceQuota"}, {"", "v1", "configmaps", "ConfigMap"},
	{"", "v1", "persistentvolumes", "PersistentVolume"}, {"", "v1", "persistentvolumeclaims", "PersistentVolumeClaim"},
	{"apps", "v1", "deployments", "Deployment"}, {"apps", "v1", "replicasets", "ReplicaSet"}, {"apps", "v1", "statefulsets", "StatefulSet"}, {"apps", "v1", "daemonsets", "DaemonSet"},
	{"batch", "v1", "jobs", "Job"}, {"batch", "v1", "cronjobs", "CronJob"}, {"autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler"},
	{"policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget"}, {"discovery.k8s.io", "v1", "endpointslices", "EndpointSlice"}, {"coordination.k8s.io", "v1", "leases", "Lease"},
}

// inNone are the kinds that are in no namespace.
var inNone = []string{"nodes", "namespaces", "persistentvolumes"}

// replicas is how many pods a deployment has, teams how many namespaces there are.
const (
	replicas = 30
	teams    = 200
)

func uid(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012x", n) }

func amounts(s ...string) corev1.ResourceList {
	l := corev1.ResourceList{}
	for i := 0; i < len(s); i += 2 {
		l[corev1.ResourceName(s[i])] = resource.MustParse(s[i+1])
	}
	return l
}

// Pod is the nth pod as production has them: two containers and one init container, 13 variables
// each, managed fields of three managers; 10 KB of protobuf. Thirty share a replica set.
func Pod(n int) *corev1.Pod {
	app := n / 30
	yes := true
	then := metav1.NewTime(time.Unix(1_790_000_000+int64(n%100_000), 0))
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: fmt.Sprintf("service-%05d-6d8f7b9c5d-%05x", app, n), Namespace: fmt.Sprintf("team-%03d", app%200), UID: types.UID(uid(n + 1)), CreationTimestamp: then,
			Labels:          map[string]string{"app.kubernetes.io/name": fmt.Sprint("service-", app), "pod-template-hash": "6d8f7b9c5d", "team": "x", "tier": "backend"},
			Annotations:     map[string]string{"prometheus.io/scrape": "true", "checksum/config": "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: fmt.Sprintf("service-%05d-6d8f7b9c5d", app), UID: types.UID(uid(app + 1_000_000)), Controller: &yes}},
		},
		Spec:   corev1.PodSpec{NodeName: fmt.Sprintf("ip-10-%d-%d-%d.eu-central-1.compute.internal", n%5000/256/256, n%5000/256%256, n%5000%256), ServiceAccountName: "default", SchedulerName: "default-scheduler", RestartPolicy: "Always"},
		Status: corev1.PodStatus{Phase: "Running", QOSClass: "Burstable", StartTime: &then, HostIP: "10.0.0.1", PodIP: "10.1.0.1"},
	}
	fields := &metav1.FieldsV1{}
	fields.SetRawBytes(make([]byte, 900))
	for i := range 3 {
		p.ManagedFields = append(p.ManagedFields, metav1.ManagedFieldsEntry{Manager: fmt.Sprint("manager-", i), Operation: "Update", APIVersion: "v1", FieldsType: "FieldsV1", FieldsV1: fields})
	}
	for _, c := range []corev1.PodConditionType{"PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"} {
		p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: c, Status: "True", LastTransitionTime: then})
	}
	container := func(name string, done bool) {
		c := corev1.Container{
			Name: name, Image: "registry.example.org/team/" + name + ":v1.2.3", ImagePullPolicy: "IfNotPresent",
			Resources: corev1.ResourceRequirements{
				Requests: corev1.ResourceList{"cpu": resource.MustParse("250m"), "memory": resource.MustParse("256Mi")},
				Limits:   corev1.ResourceList{"memory": resource.MustParse("512Mi")},
			},
		}
		for i := range 13 {
			c.Env = append(c.Env, corev1.EnvVar{Name: fmt.Sprint("SETTING_NUMBER_", i), Value: "https://backend.example.org:8443/some/path/that/is/long"})
		}
		st := corev1.ContainerStatus{Name: name, Image: c.Image, ImageID: "registry.example.org/team/" + name + "@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
			ContainerID: fmt.Sprintf("containerd://%064x", uint64(n)*3+uint64(len(name))), Ready: true}
		if done {
			st.State.Terminated = &corev1.ContainerStateTerminated{Reason: "Completed", StartedAt: then, FinishedAt: then}
			p.Spec.InitContainers, p.Status.InitContainerStatuses = append(p.Spec.InitContainers, c), append(p.Status.InitContainerStatuses, st)
			return
		}
		st.State.Running = &corev1.ContainerStateRunning{StartedAt: then}
		p.Spec.Containers, p.Status.ContainerStatuses = append(p.Spec.Containers, c), append(p.Status.ContainerStatuses, st)
	}
	container("init", true)
	container("main", false)
	container("proxy", false)
	return p
}

// object gives the nth object of a kind; nil: there are no more.
func (g *Generator) object(name string, n int) runtime.Object {
	then := metav1.NewTime(time.Unix(1_790_000_000, 0))
	m := func(kind int, format string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Name: fmt.Sprintf(format, n), Namespace: fmt.Sprintf("team-%03d", n%teams), UID: types.UID(uid(n + kind)), CreationTimestamp: then, ResourceVersion: "1"}
	}
	switch {
	case name == "pods" && n < g.Pods:
		p := Pod(n)
		p.APIVersion, p.Kind, p.ResourceVersion = "v1", "Pod", "1"
		return p
	case name == "namespaces" && n < teams:
		ns := &corev1.Namespace{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}, ObjectMeta: m(4_000_000, "team-%03d"), Status: corev1.NamespaceStatus{Phase: "Active"}}
		ns.Namespace = ""
		return ns
	case name == "nodes" && n < g.Nodes:
		node := &corev1.Node{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Node"}, ObjectMeta: m(3_000_000, "ip-%05d.compute.internal"),
			Status: corev1.NodeStatus{Allocatable: amounts("cpu", "8", "memory", "32Gi", "pods", "110", "ephemeral-storage", "100Gi"), Capacity: amounts("cpu", "8", "memory", "32Gi", "pods", "110", "ephemeral-storage", "100Gi"),
				NodeInfo: corev1.NodeSystemInfo{KubeletVersion: "v1.37.2", ContainerRuntimeVersion: "containerd://2.3.7", OperatingSystem: "linux", OSImage: "Linux"}}}
		node.Namespace = ""
		for _, c := range []corev1.NodeConditionType{"Ready", "MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable"} {
			node.Status.Conditions = append(node.Status.Conditions, corev1.NodeCondition{Type: c, Status: "False", Reason: "KubeletHasSufficientMemory", Message: "kubelet has sufficient memory available"})
		}
		for i := range 50 {
			node.Status.Images = append(node.Status.Images, corev1.ContainerImage{Names: []string{fmt.Sprintf("registry.example.org/team/image-%d@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", i)}, SizeBytes: 1})
		}
		return node
	case name == "replicasets" && n < g.Pods/replicas:
		r := &appsv1.ReplicaSet{TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "ReplicaSet"}, ObjectMeta: m(1_000_000, "service-%05d-6d8f7b9c5d"), Spec: appsv1.ReplicaSetSpec{Replicas: new(int32), Template: corev1.PodTemplateSpec{Spec: Pod(n).Spec}}}
		*r.Spec.Replicas = replicas
		yes := true
		r.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "Deployment", Name: fmt.Sprintf("service-%05d", n), UID: types.UID(uid(n + 2_000_000)), Controller: &yes}}
		return r
	case name == "deployments" && n < g.Pods/replicas:
		d := &appsv1.Deployment{TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"}, ObjectMeta: m(2_000_000, "service-%05d"), Spec: appsv1.DeploymentSpec{Replicas: new(int32), Template: corev1.PodTemplateSpec{Spec: Pod(n).Spec}}}
		*d.Spec.Replicas = replicas
		return d
	}
	return nil
}

// ServeHTTP implements http.Handler.
func (g *Generator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case r.URL.Path == "/version":
		reply(w, 200, map[string]string{"major": "1", "minor": "37", "gitVersion": "v1.37.2"})
		return
	case r.URL.Path == "/api":
		reply(w, 200, metav1.APIVersions{TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}, Versions: []string{"v1"}})
		return
	case r.URL.Path == "/apis":
		g.groups(w)
		return
	case path[0] == "api" && len(path) == 2, path[0] == "apis" && len(path) == 3:
		g.resources(w, strings.Join(path[1:], "/"))
		return
	case r.URL.Path == "/api/v1/namespaces/kube-system":
		reply(w, 200, map[string]any{"kind": "Namespace", "apiVersion": "v1", "metadata": map[string]any{"name": "kube-system", "uid": uid(5_000_000)}})
		return
	}
	rest := path[min(2, len(path)):]
	if path[0] == "apis" {
		rest = path[min(3, len(path)):]
	}
	if len(rest) >= 3 && rest[0] == "namespaces" {
		rest = rest[2:]
	}
	i := -1
	if len(rest) > 0 {
		i = slices.IndexFunc(generated, func(k struct{ group, version, name, kind string }) bool { return k.name == rest[0] })
	}
	if i < 0 {
		fail(w, 404, metav1.StatusReasonNotFound, metav1.Status{Message: "the server could not find the requested resource"})
		return
	}
	k := generated[i]
	a := answer{w: w, pb: strings.Contains(r.Header.Get("Accept"), runtime.ContentTypeProtobuf)}
	gvk := schema.GroupVersionKind{Group: k.group, Version: k.version, Kind: k.kind}
	switch {
	case len(rest) > 1 || r.Method != http.MethodGet:
		g.one(&a, r)
	case r.FormValue("watch") == "true" || r.FormValue("watch") == "1":
		g.watch(&a, r, k.name, gvk)
	default:
		g.list(&a, r, k.name, gvk)
	}
}

func (g *Generator) groups(w http.ResponseWriter) {
	l := metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}}
	for _, k := range generated {
		if k.group == "" || slices.ContainsFunc(l.Groups, func(g metav1.APIGroup) bool { return g.Name == k.group }) {
			continue
		}
		v := metav1.GroupVersionForDiscovery{GroupVersion: k.group + "/" + k.version, Version: k.version}
		l.Groups = append(l.Groups, metav1.APIGroup{Name: k.group, Versions: []metav1.GroupVersionForDiscovery{v}, PreferredVersion: v})
	}
	reply(w, 200, l)
}

func (g *Generator) resources(w http.ResponseWriter, groupVersion string) {
	l := metav1.APIResourceList{TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, GroupVersion: groupVersion}
	for _, k := range generated {
		if strings.TrimPrefix(k.group+"/"+k.version, "/") == groupVersion {
			l.APIResources = append(l.APIResources, metav1.APIResource{Name: k.name, Kind: k.kind, Namespaced: !slices.Contains(inNone, k.name), Verbs: metav1.Verbs{"get", "list", "watch"}})
		}
	}
	reply(w, 200, l)
}

// answer writes objects in the encoding that was asked for.
type answer struct {
	w     http.ResponseWriter
	pb    bool
	obj   []byte
	event []byte
}

var encoded = protobuf.NewSerializer(scheme.Scheme, scheme.Scheme)

func (a *answer) encode(o runtime.Object) []byte {
	if !a.pb {
		b, err := json.Marshal(o)
		if err != nil {
			panic(err)
		}
		return b
	}
	buf := gather{a.obj[:0]}
	if err := encoded.Encode(o, &buf); err != nil {
		panic(err)
	}
	a.obj = buf.b
	return a.obj
}

// gather gathers bytes.
type gather struct{ b []byte }

func (w *gather) Write(p []byte) (int, error) { w.b = append(w.b, p...); return len(p), nil }

func (a *answer) begin(watch bool) {
	typ := runtime.ContentTypeJSON
	if a.pb {
		typ = runtime.ContentTypeProtobuf
		if watch {
			typ += ";stream=watch"
		}
	}
	a.w.Header().Set("Content-Type", typ)
}

// send writes a line of a watch, and says whether anybody reads it.
func (a *answer) send(typ string, o runtime.Object) bool {
	raw := a.encode(o)
	if !a.pb {
		_, err := fmt.Fprintf(a.w, "{\"type\":%q,\"object\":%s}\n", typ, raw)
		return err == nil
	}
	e := metav1.WatchEvent{Type: typ, Object: runtime.RawExtension{Raw: raw}}
	a.event = append(a.event[:0], make([]byte, 4+e.Size())...)
	n, err := e.MarshalTo(a.event[4:])
	if err != nil {
		panic(err)
	}
	binary.BigEndian.PutUint32(a.event, uint32(n))
	_, err = a.w.Write(a.event[:4+n])
	return err == nil
}

func (g *Generator) list(a *answer, r *http.Request, name string, gvk schema.GroupVersionKind) {
	from, _ := strconv.Atoi(r.FormValue("continue"))
	limit, _ := strconv.Atoi(r.FormValue("limit"))
	var objs []runtime.Object
	next := ""
	for n := from; ; n++ {
		o := g.object(name, n)
		if o == nil {
			break
		}
		if limit > 0 && n-from == limit {
			next = strconv.Itoa(n)
			break
		}
		objs = append(objs, o)
	}
	gvk.Kind += "List"
	list, err := scheme.Scheme.New(gvk)
	if err != nil {
		panic(err)
	}
	list.GetObjectKind().SetGroupVersionKind(gvk)
	m, err := meta.ListAccessor(list)
	if err != nil {
		panic(err)
	}
	m.SetResourceVersion("1000")
	m.SetContinue(next)
	if err := meta.SetList(list, objs); err != nil {
		panic(err)
	}
	a.begin(false)
	a.w.Write(a.encode(list))
	if name == "pods" && next == "" {
		g.handed.Store(true)
	}
}

func (g *Generator) watch(a *answer, r *http.Request, name string, gvk schema.GroupVersionKind) {
	a.begin(true)
	flush := a.w.(http.Flusher).Flush
	if r.FormValue("sendInitialEvents") == "true" {
		for n := 0; ; n++ {
			o := g.object(name, n)
			if o == nil {
				break
			}
			if !a.send("ADDED", o) {
				return
			}
		}
		mark, err := scheme.Scheme.New(gvk)
		if err != nil {
			panic(err)
		}
		mark.GetObjectKind().SetGroupVersionKind(gvk)
		m := mark.(metav1.Object)
		m.SetResourceVersion("1000")
		m.SetAnnotations(map[string]string{metav1.InitialEventsAnnotationKey: "true"})
		a.send("BOOKMARK", mark)
		if name == "pods" {
			g.handed.Store(true)
		}
	}
	flush()
	if name != "pods" {
		<-r.Context().Done()
		return
	}
	const perSecond = 50
	tick := time.NewTicker(time.Second / perSecond)
	defer tick.Stop()
	for n := 0; ; {
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
		for range g.changes.Load() / perSecond {
			p := Pod(n * 7919 % g.Pods)
			p.APIVersion, p.Kind, p.ResourceVersion = "v1", "Pod", strconv.Itoa(3000+n)
			p.Status.ContainerStatuses[0].RestartCount = int32(n)
			a.send("MODIFIED", p)
			n++
		}
		flush()
	}
}

// one reads and writes a Lease or ConfigMap.
func (g *Generator) one(a *answer, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	path := r.URL.Path
	if r.Method == http.MethodGet {
		o := g.written[path]
		if o == nil {
			fail(a.w, 404, metav1.StatusReasonNotFound, metav1.Status{Message: "not found"})
			return
		}
		a.begin(false)
		a.w.Write(a.encode(o))
		return
	}
	body, _ := io.ReadAll(r.Body)
	o, gvk, err := scheme.Codecs.UniversalDeserializer().Decode(body, nil, nil)
	if err != nil {
		fail(a.w, 400, metav1.StatusReasonBadRequest, metav1.Status{Message: err.Error()})
		return
	}
	m := o.(metav1.Object)
	if r.Method == http.MethodPost {
		path += "/" + m.GetName()
	}
	old := g.written[path]
	switch {
	case r.Method == http.MethodPost && old != nil:
		fail(a.w, 409, metav1.StatusReasonAlreadyExists, metav1.Status{Message: "exists"})
		return
	case r.Method == http.MethodPut && old == nil:
		fail(a.w, 404, metav1.StatusReasonNotFound, metav1.Status{Message: "not found"})
		return
	case r.Method == http.MethodPut && m.GetResourceVersion() != old.(metav1.Object).GetResourceVersion():
		fail(a.w, 409, metav1.StatusReasonConflict, metav1.Status{Message: "the object has been modified"})
		return
	}
	g.version++
	m.SetResourceVersion(strconv.Itoa(g.version))
	o.GetObjectKind().SetGroupVersionKind(*gvk)
	g.written[path] = o
	a.begin(false)
	a.w.Write(a.encode(o))
}
