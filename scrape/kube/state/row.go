package state

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"path"
	"slices"
	"unique"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"stint/export/otlp"
)

// key identifies an object: its uid.
type key [16]byte

func keyOf(m *metav1.ObjectMeta) key {
	if u, ok := parseUUID(string(m.UID)); ok {
		return u
	}
	id := string(m.UID)
	if id == "" { // no server sends that
		id = m.Namespace + "/" + m.Name
	}
	sum := sha256.Sum256([]byte(id))
	return key(sum[:16])
}

// row is all that is kept of an object. It does not change: an update makes a new one. What many
// objects have in common is interned.
type row struct {
	key     key
	created uint32 // Unix time; start of its sums
	own     string // attributes of its resource that are its own, packed
	shared  text   // those that others have, too
	owner   ownerHandle
	points  string // packed
	subs    []sub
	slice   *slice // of an EndpointSlice, which has nothing else
}

// equal says whether two rows tell the same.
func (r *row) equal(o *row) bool {
	return r.key == o.key && r.created == o.created && r.own == o.own && r.shared == o.shared && r.owner == o.owner && r.points == o.points &&
		slices.Equal(r.subs, o.subs) && r.slice == nil && o.slice == nil
}

// sub is a part of an object with a resource of its own, a container; or, without one, points of the
// object itself that come from elsewhere.
type sub struct {
	own    string // attributes besides those of the object; with shared "" none
	shared text
	points text
}

// text is an interned string.
type text = unique.Handle[string]

// noText is the empty string.
var noText = unique.Make("")

// owner is the controller of an object.
type owner struct {
	kind      ownerKind
	name, uid string
	key       key
}

type ownerHandle = unique.Handle[owner]

var noOwner = unique.Make(owner{})

// ownerKind is a kind of controller that is told.
type ownerKind byte

const (
	ownerNone ownerKind = iota
	ownerReplicaSet
	ownerDeployment
	ownerStatefulSet
	ownerDaemonSet
	ownerJob
	ownerCronJob
	ownerReplicationController
)

// ownerKinds are the controllers of Kubernetes itself; others, such as those of operators, have no
// attributes in the conventions.
var ownerKinds = map[string]ownerKind{
	"apps/ReplicaSet": ownerReplicaSet, "apps/Deployment": ownerDeployment, "apps/StatefulSet": ownerStatefulSet, "apps/DaemonSet": ownerDaemonSet,
	"batch/Job": ownerJob, "batch/CronJob": ownerCronJob, "/ReplicationController": ownerReplicationController,
}

// ownerKeys are the attributes of an owner's name and uid.
var ownerKeys = [...][2]attrKey{
	ownerReplicaSet:            {k8sReplicaSetName, k8sReplicaSetUID},
	ownerDeployment:            {k8sDeploymentName, k8sDeploymentUID},
	ownerStatefulSet:           {k8sStatefulSetName, k8sStatefulSetUID},
	ownerDaemonSet:             {k8sDaemonSetName, k8sDaemonSetUID},
	ownerJob:                   {k8sJobName, k8sJobUID},
	ownerCronJob:               {k8sCronJobName, k8sCronJobUID},
	ownerReplicationController: {k8sReplicationControllerName, k8sReplicationControllerUID},
}

// controller finds who manages an object.
func controller(m *metav1.ObjectMeta) ownerHandle {
	for i := range m.OwnerReferences {
		r := &m.OwnerReferences[i]
		if r.Controller == nil || !*r.Controller {
			continue
		}
		gv, err := schema.ParseGroupVersion(r.APIVersion)
		if k := ownerKinds[gv.Group+"/"+r.Kind]; err == nil && k != ownerNone {
			return unique.Make(owner{k, clip(r.Name), clip(string(r.UID)), keyOf(&metav1.ObjectMeta{UID: r.UID, Name: r.Name})})
		}
		return noOwner
	}
	return noOwner
}

// A row goes through the reflector's lists, which hold objects.

// GetObjectKind implements runtime.Object.
func (r *row) GetObjectKind() schema.ObjectKind { return schema.EmptyObjectKind }

// DeepCopyObject implements runtime.Object; rows do not change.
func (r *row) DeepCopyObject() runtime.Object { return r }

// builder makes rows. It is used by one goroutine and keeps its memory.
type builder struct {
	cfg  *Config
	on   []bool          // which metrics have points
	kind string          // in the table of metrics
	all  []metric        // the table, and the metrics of custom resources
	seen []bool          // of tidy
	off  *[attrKeys]bool // attributes of resources that are left out

	own, shared, points []byte
	subs                []sub
	row                 *row
	meta                *metav1.ObjectMeta // of the object, for what every kind has; nil: not wanted
	observed            int64              // generation that the controller has seen
}

// begin starts a row with the attributes of an object. uid 0: its kind is known by names alone;
// namespace 0: it is in none.
func (b *builder) begin(m *metav1.ObjectMeta, uid, name, namespace attrKey) {
	b.own, b.shared, b.points, b.subs = b.own[:0], b.shared[:0], b.points[:0], b.subs[:0]
	b.row, b.meta, b.observed = &row{key: keyOf(m), owner: noOwner}, m, 0
	if t := m.CreationTimestamp.Unix(); t > 0 && t <= math.MaxUint32 {
		b.row.created = uint32(t)
	}
	if uid != 0 {
		b.own = packUID(b.own, uid, string(m.UID))
	}
	b.own = packText(b.own, name, m.Name)
	if namespace != 0 {
		b.shared = packText(b.shared, namespace, m.Namespace)
	}
}

// end gives the row.
func (b *builder) end() *row {
	if b.meta != nil {
		b.everyKind(b.meta)
	}
	r := b.row
	r.own, r.shared, r.points = string(b.own), unique.Make(string(b.shared)), b.tidy(b.points)
	if len(b.subs) > 0 {
		r.subs = append(make([]sub, 0, len(b.subs)), b.subs...)
	}
	clear(b.subs)
	b.row, b.meta = nil, nil
	return r
}

// tidy brings points of one metric together, which builders mostly did, and leaves one of several
// that are the same series: objects may have a condition twice, a receiver may not.
func (b *builder) tidy(points []byte) string {
	p := string(points)
	if len(b.seen) < len(b.on) {
		b.seen = make([]bool, len(b.on))
	}
	good := true
	for rest := p; len(rest) > 0 && good; {
		m, _ := metricOf(rest)
		good = !b.seen[m]
		b.seen[m] = true
		_, rest = nextPoint(rest)
	}
	for rest := p; len(rest) > 0; { // most metrics are not those of this kind
		m, _ := metricOf(rest)
		b.seen[m] = false
		_, rest = nextPoint(rest)
	}
	if good {
		return p
	}
	type one struct{ id, all string }
	var list []one
	for rest := p; len(rest) > 0; {
		before := rest
		var pt packedPoint
		pt, rest = nextPoint(rest)
		list = append(list, one{pt.id, before[:len(before)-len(rest)]})
	}
	slices.SortStableFunc(list, func(a, b one) int { return cmp.Compare(a.id, b.id) }) // an id begins with the metric
	out := make([]byte, 0, len(p))
	for i, o := range list {
		if i+1 == len(list) || list[i+1].id != o.id {
			out = append(out, o.all...)
		}
	}
	return string(out)
}

// add puts an attribute on the resource, if there is a value. Those that many objects have go to
// sharedAttr.
func (b *builder) add(k attrKey, v string) {
	if v != "" && !b.off[k] {
		b.own = packText(b.own, k, v)
	}
}

func (b *builder) addShared(k attrKey, v string) {
	if v != "" && !b.off[k] {
		b.shared = packText(b.shared, k, v)
	}
}

// kv is an attribute of a point.
type kv struct {
	key attrKey
	val string
}

func (b *builder) head(id metricID, attrs []kv) {
	b.points = append(packMetric(b.points, id), byte(len(attrs)))
	for _, a := range attrs {
		b.points = packText(b.points, a.key, a.val)
	}
}

// int adds a point of an int metric, if it is on.
func (b *builder) int(id metricID, v int64, attrs ...kv) {
	if !b.on[id] {
		return
	}
	b.head(id, attrs)
	b.points = append(b.points, valueInt)
	b.points = binary.AppendVarint(b.points, v)
}

// state adds the state that holds.
func (b *builder) state(id metricID, attrs ...kv) { b.int(id, 1, attrs...) }

func (b *builder) bool(id metricID, v bool, attrs ...kv) {
	n := int64(0)
	if v {
		n = 1
	}
	b.int(id, n, attrs...)
}

// milli adds a point of a double metric of so many thousandths.
func (b *builder) milli(id metricID, v int64, attrs ...kv) {
	if !b.on[id] {
		return
	}
	b.head(id, attrs)
	b.points = append(b.points, valueMilli)
	b.points = binary.AppendVarint(b.points, v)
}

// double adds a point of a double metric.
func (b *builder) double(id metricID, v float64, attrs ...kv) {
	if !b.on[id] {
		return
	}
	b.head(id, attrs)
	b.points = append(b.points, valueDouble)
	b.points = binary.LittleEndian.AppendUint64(b.points, math.Float64bits(v))
}

// time adds when something was, if it was: seconds since 1970.
func (b *builder) time(id metricID, t *metav1.Time, attrs ...kv) {
	if t == nil || t.IsZero() {
		return
	}
	b.milli(id, t.UnixMilli(), attrs...)
}

// quantity adds an amount of a resource, whole units or thousandths as the metric has it.
func (b *builder) quantity(id metricID, q resource.Quantity, attrs ...kv) {
	if b.all[id].Double {
		b.milli(id, q.MilliValue(), attrs...)
	} else {
		b.int(id, q.Value(), attrs...)
	}
}

// allowed adds the labels or annotations that are allowed.
func (b *builder) allowed(id metricID, prefix string, globs []string, of map[string]string) {
	if id == none || !b.on[id] {
		return
	}
	var names []string
	for name := range of {
		if slices.ContainsFunc(globs, func(glob string) bool { ok, _ := path.Match(glob, name); return ok }) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return
	}
	slices.Sort(names)
	names = names[:min(len(names), maxLabels)]
	b.points = append(packMetric(b.points, id), byte(len(names)))
	for _, name := range names {
		b.points = packNamed(b.points, otlp.NewKey(prefix+clip(name)), of[name])
	}
	b.points = append(b.points, valueInt)
	b.points = binary.AppendVarint(b.points, 1)
}

// maxLabels is how many labels, or annotations, of an object are sent at most.
const maxLabels = 64

// condition adds a condition's status with its reason.
func (b *builder) condition(id metricID, typ, status, reason string) {
	if reason == "" {
		b.state(id, kv{attrCondition, typ}, kv{attrStatus, lower(status)})
		return
	}
	b.state(id, kv{attrCondition, typ}, kv{attrStatus, lower(status)}, kv{attrReason, reason})
}

// lower writes True, False and Unknown as the conventions do.
func lower(status string) string {
	switch status {
	case "True":
		return "true"
	case "False":
		return "false"
	case "Unknown":
		return "unknown"
	}
	return status
}
