package events

import (
	"cmp"
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"

	"stint/export/otlp"
)

// maxBody bounds a message. The API server takes 1 KiB of new events, and any length of old ones.
const maxBody = 1 << 20

// skewed is how far the clock of who reports an event may be off from the API server's.
const skewed = 5 * time.Minute

// event is one of core/v1 or of events.k8s.io/v1, which name some fields otherwise. Both APIs serve
// the same objects, whoever wrote them.
type event struct {
	Metadata struct {
		Name, Namespace, UID, ResourceVersion string
		CreationTimestamp                     stamp
	}
	Reason, Action, Type string
	EventTime            stamp
	Series               *struct {
		Count            int64
		LastObservedTime stamp
	}
	ReportingInstance string
	Related           *reference

	// core/v1
	InvolvedObject                reference
	Message                       string
	Source                        source
	FirstTimestamp, LastTimestamp stamp
	Count                         int64
	ReportingComponent            string

	// events.k8s.io/v1
	Regarding                reference
	Note                     string
	DeprecatedSource         source
	DeprecatedFirstTimestamp stamp
	DeprecatedLastTimestamp  stamp
	DeprecatedCount          int64
	ReportingController      string
}

type reference struct {
	Kind, Namespace, Name, UID, APIVersion, ResourceVersion, FieldPath string
}

type source struct{ Component, Host string }

// stamp is a time; the zero one of null, and of what is none.
type stamp struct{ time.Time }

// UnmarshalJSON implements json.Unmarshaler.
func (s *stamp) UnmarshalJSON(b []byte) error {
	s.Time, _ = time.Parse(`"`+time.RFC3339Nano+`"`, string(b))
	return nil
}

// decode reads an event, so that the fields of core/v1 are set. Its strings are valid UTF-8.
func decode(raw []byte) (*event, error) {
	e := &event{}
	if err := json.Unmarshal(raw, e); err != nil {
		return nil, err
	}
	if e.InvolvedObject == (reference{}) {
		e.InvolvedObject = e.Regarding
	}
	e.Message = cmp.Or(e.Message, e.Note)
	if e.Source == (source{}) {
		e.Source = e.DeprecatedSource
	}
	e.FirstTimestamp.Time = firstOf(e.FirstTimestamp, e.DeprecatedFirstTimestamp)
	e.LastTimestamp.Time = firstOf(e.LastTimestamp, e.DeprecatedLastTimestamp)
	e.Count = cmp.Or(e.Count, e.DeprecatedCount)
	e.ReportingComponent = cmp.Or(e.ReportingComponent, e.ReportingController)
	return e, nil
}

// count is how often it happened so far.
func (e *event) count() int64 {
	n := max(e.Count, 1)
	if e.Series != nil {
		n = max(n, e.Series.Count)
	}
	return n
}

// first and last are when it happened, by the clock of who reports it.
func (e *event) first() time.Time {
	return firstOf(e.FirstTimestamp, e.EventTime, e.Metadata.CreationTimestamp)
}

func (e *event) last() time.Time {
	if e.Series != nil && !e.Series.LastObservedTime.IsZero() {
		return e.Series.LastObservedTime.Time
	}
	return firstOf(e.EventTime, e.LastTimestamp, e.FirstTimestamp, e.Metadata.CreationTimestamp)
}

func firstOf(all ...stamp) time.Time {
	for _, s := range all {
		if !s.IsZero() {
			return s.Time
		}
	}
	return time.Time{}
}

// nanos is a time in OTLP; 0 of one that it can't express.
func nanos(t time.Time) uint64 {
	if t.Unix() <= 0 || t.Year() > 2261 {
		return 0
	}
	return uint64(t.UnixNano())
}

// kinds are what the attributes of an object are called that other signals have, too.
var kinds = map[string]string{
	"Pod": "k8s.pod", "Node": "k8s.node", "Namespace": "k8s.namespace", "Deployment": "k8s.deployment", "ReplicaSet": "k8s.replicaset",
	"StatefulSet": "k8s.statefulset", "DaemonSet": "k8s.daemonset", "Job": "k8s.job", "CronJob": "k8s.cronjob",
	"ReplicationController": "k8s.replicationcontroller", "HorizontalPodAutoscaler": "k8s.hpa", "ResourceQuota": "k8s.resourcequota",
	"Service": "k8s.service", "PersistentVolume": "k8s.persistentvolume", "PersistentVolumeClaim": "k8s.persistentvolumeclaim",
	"StorageClass": "k8s.storageclass",
}

// resource is what an event is about: it is the same for all that happens to one object, or to one
// container of it.
func (e *event) resource() []otlp.KeyValue {
	o := e.InvolvedObject
	var kvs []otlp.KeyValue
	add := func(key, value string) {
		if value != "" {
			kvs = append(kvs, otlp.Attr(key, value))
		}
	}
	add("k8s.object.kind", o.Kind)
	add("k8s.object.name", o.Name)
	add("k8s.object.uid", o.UID)
	add("k8s.object.fieldpath", o.FieldPath)
	add("k8s.object.api_version", o.APIVersion)
	kind := kinds[o.Kind]
	if kind != "k8s.namespace" {
		add("k8s.namespace.name", o.Namespace)
	}
	if kind != "" {
		add(kind+".name", o.Name)
		if o.UID != o.Name { // the kubelet gives its node's name for the uid
			add(kind+".uid", o.UID)
		}
	}
	if kind != "k8s.node" {
		add("k8s.node.name", e.Source.Host)
	}
	if _, in, ok := strings.Cut(o.FieldPath, "ontainers{"); ok && o.Kind == "Pod" {
		add("k8s.container.name", strings.TrimSuffix(in, "}"))
	}
	return kvs
}

// record is the event as a log record; delta is how often it happened since the last one.
func (e *event) record(now time.Time, delta, term int64) *otlp.LogRecord {
	r := &otlp.LogRecord{Time: nanos(e.last()), Observed: uint64(now.UnixNano()), Body: []byte(e.Message), SeverityText: e.Type}
	cut := len(r.Body) > maxBody
	if cut {
		n := maxBody
		for !utf8.RuneStart(r.Body[n]) {
			n--
		}
		r.Body = r.Body[:n]
	}
	switch e.Type {
	case "Normal":
		r.Severity = 9 // INFO
	case "Warning":
		r.Severity = 13 // WARN
	}
	var kvs []otlp.KeyValue
	add := func(key, value string) {
		if value != "" {
			kvs = append(kvs, otlp.Attr(key, value))
		}
	}
	number := func(key string, value int64) { kvs = append(kvs, otlp.KeyValue{Key: key, Value: otlp.Int(value)}) }
	at := func(key string, t time.Time) {
		if !t.IsZero() {
			add(key, t.UTC().Format(time.RFC3339Nano))
		}
	}
	add("k8s.event.reason", e.Reason)
	add("k8s.event.action", e.Action)
	at("k8s.event.start_time", e.Metadata.CreationTimestamp.Time)
	add("k8s.event.name", e.Metadata.Name)
	add("k8s.event.uid", e.Metadata.UID)
	number("k8s.event.count", e.count())
	number("k8s.event.count_delta", delta)
	add("k8s.namespace.name", e.Metadata.Namespace)
	add("k8s.event.type", e.Type)
	add("k8s.event.resource_version", e.Metadata.ResourceVersion)
	add("k8s.event.reporting_controller", cmp.Or(e.ReportingComponent, e.Source.Component))
	add("k8s.event.reporting_instance", e.ReportingInstance)
	at("k8s.event.first_time", e.first())
	at("k8s.event.last_time", e.last())
	if e.Series != nil {
		number("k8s.event.series.count", e.Series.Count)
		at("k8s.event.series.last_observed_time", e.Series.LastObservedTime.Time)
	}
	add("k8s.object.resource_version", e.InvolvedObject.ResourceVersion)
	if o := e.Related; o != nil {
		add("k8s.event.related.kind", o.Kind)
		add("k8s.event.related.namespace", o.Namespace)
		add("k8s.event.related.name", o.Name)
		add("k8s.event.related.uid", o.UID)
	}
	if d := e.first().Sub(e.Metadata.CreationTimestamp.Time); d.Abs() > skewed && !e.Metadata.CreationTimestamp.IsZero() {
		number("k8s.event.clock_skew_seconds", int64(d/time.Second))
	}
	if cut {
		kvs = append(kvs, otlp.KeyValue{Key: "stint.truncated", Value: otlp.Bool(true)})
	}
	number("stint.leader.term", term)
	r.Attrs = otlp.AppendAttrs(nil, otlp.AttrsOfLogRecord, kvs)
	return r
}
