package elastic

import (
	"bytes"
	"strconv"

	"stint/export/otlp"
)

// ecsResource gives the name that the Elastic Common Schema has for an attribute of a resource; ""
// for those that become part of another field.
func ecsResource(key []byte) (name string, known bool) {
	switch string(key) {
	case "service.instance.id":
		return "service.node.name", true
	case "deployment.environment", "deployment.environment.name":
		return "service.environment", true
	case "telemetry.sdk.name", "telemetry.sdk.language", "telemetry.sdk.version", "telemetry.distro.name", "telemetry.distro.version":
		return "", true // agent.name, agent.version
	case attrType, attrDataset, attrNamespace:
		return "", true // of the index
	case "cloud.platform":
		return "cloud.service.name", true
	case "container.image.tags":
		return "container.image.tag", true
	case "host.arch":
		return "host.architecture", true
	case "process.executable.path":
		return "process.executable", true
	case "process.runtime.name":
		return "service.runtime.name", true
	case "process.runtime.version":
		return "service.runtime.version", true
	case "os.name":
		return "host.os.name", true
	case "os.type":
		return "host.os.platform", true
	case "os.description":
		return "host.os.full", true
	case "os.version":
		return "host.os.version", true
	case "k8s.cluster.name":
		return "orchestrator.cluster.name", true
	case "k8s.namespace.name":
		return "kubernetes.namespace", true
	case "k8s.node.name":
		return "kubernetes.node.name", true
	case "k8s.pod.name":
		return "kubernetes.pod.name", true
	case "k8s.pod.uid":
		return "kubernetes.pod.uid", true
	case "k8s.container.name":
		return "kubernetes.container.name", true
	case "k8s.deployment.name":
		return "kubernetes.deployment.name", true
	case "k8s.replicaset.name":
		return "kubernetes.replicaset.name", true
	case "k8s.statefulset.name":
		return "kubernetes.statefulset.name", true
	case "k8s.daemonset.name":
		return "kubernetes.daemonset.name", true
	case "k8s.job.name":
		return "kubernetes.job.name", true
	case "k8s.cronjob.name":
		return "kubernetes.cronjob.name", true
	}
	return "", false
}

// ecsRecord is the same for attributes of a record.
func ecsRecord(key []byte) (name string, known bool) {
	switch string(key) {
	case "event.name":
		return "event.action", true
	case "exception.message":
		return "error.message", true
	case "exception.stacktrace":
		return "error.stack_trace", true
	case "exception.type":
		return "error.type", true
	case attrType, attrDataset, attrNamespace:
		return "", true
	}
	return "", false
}

// groupECS gathers what resource and scope give to documents in the Elastic Common Schema.
func (e *Encoder) groupECS() {
	e.garena, e.group = e.garena[:0], e.group[:0]
	for k, v := range e.resource.Attributes.All() {
		if string(k) == "host.name" { // ECS has both
			e.group = e.gather(e.group, &e.garena, nil, []byte("host.hostname"), v, 0)
		}
		if name, known := ecsResource(k); !known {
			e.group = e.gather(e.group, &e.garena, nil, k, v, 0)
		} else if name != "" {
			e.group = e.gather(e.group, &e.garena, nil, []byte(name), v, 0)
		}
	}
	for k, v := range e.scope.Attributes.All() {
		if _, known := ecsRecord(k); !known {
			e.group = e.gather(e.group, &e.garena, nil, k, v, 0)
		}
	}
	e.group = e.put(e.group, &e.garena, "agent.name", e.agentName())
	if v := firstOf(e.resource.Attributes, "telemetry.distro.version", "telemetry.sdk.version"); len(v) > 0 {
		e.group = e.put(e.group, &e.garena, "agent.version", v)
	}
	if t := osType(e.resource.Attributes); t != "" {
		e.group = e.put(e.group, &e.garena, "host.os.type", []byte(t))
	}
	e.sortGroup()
}

// sortGroup puts e.group in order, without paths that come again.
func (e *Encoder) sortGroup() {
	e.own, e.group = e.group, e.own[:0]
	e.merge()
	e.group = append(e.group, e.all...)
	clear(e.own)
}

// put appends a field that holds a string.
func (e *Encoder) put(list []field, arena *[]byte, path string, value []byte) []field {
	start := len(*arena)
	*arena = otlp.AppendJSONString(*arena, value)
	return append(list, field{path: []byte(path), text: (*arena)[start:len(*arena):len(*arena)], ours: true})
}

// agentName is otlp/LANGUAGE/DISTRO, as far as they are known.
func (e *Encoder) agentName() []byte {
	name := []byte("otlp")
	if v := firstOf(e.resource.Attributes, "telemetry.sdk.name"); len(v) > 0 {
		name = bytes.Clone(v)
	}
	language, distro := firstOf(e.resource.Attributes, "telemetry.sdk.language"), firstOf(e.resource.Attributes, "telemetry.distro.name")
	if len(language) == 0 && len(distro) > 0 {
		language = []byte("unknown")
	}
	if len(language) > 0 {
		name = append(append(name, '/'), language...)
	}
	if len(distro) > 0 {
		name = append(append(name, '/'), distro...)
	}
	return name
}

func firstOf(attrs otlp.Attrs, keys ...string) []byte {
	for _, key := range keys {
		if v := pick(key, attrs); v != nil {
			return v
		}
	}
	return nil
}

// osType is one of the few values that ECS has for host.os.type; "" for the others.
func osType(attrs otlp.Attrs) string {
	switch name := string(pick("os.name", attrs)); name {
	case "Android":
		return "android"
	case "iOS":
		return "ios"
	}
	switch t := string(pick("os.type", attrs)); t {
	case "windows", "linux":
		return t
	case "darwin":
		return "macos"
	case "aix", "hpux", "solaris":
		return "unix"
	}
	return ""
}

// Paths of what a record says outside of its attributes.
var (
	pathTime      = []byte("@timestamp")
	pathDataset   = []byte(attrDataset)
	pathNamespace = []byte(attrNamespace)
	pathType      = []byte(attrType)

	ecsTrace    = []byte("trace.id")
	ecsSpan     = []byte("span.id")
	ecsSeverity = []byte("event.severity")
	ecsLevel    = []byte("log.level")
	ecsAction   = []byte("event.action")
	ecsMessage  = []byte("message")
)

// ecsNames are the names that ecsRecord gives, as bytes.
var ecsNames = map[string][]byte{
	"event.action": ecsAction, "error.message": []byte("error.message"),
	"error.stack_trace": []byte("error.stack_trace"), "error.type": []byte("error.type"),
}

// appendECS appends the document of the record in the Elastic Common Schema.
func (e *Encoder) appendECS(dst []byte) []byte {
	r := &e.record
	e.arena, e.own = e.arena[:0], e.own[:0]
	if len(r.EventName) > 0 {
		start := len(e.arena)
		e.arena = otlp.AppendJSONString(e.arena, r.EventName)
		e.ours(ecsAction, start)
	}
	for k, v := range r.Attributes.All() {
		if name, known := ecsRecord(k); !known {
			e.own = e.gather(e.own, &e.arena, nil, k, v, 0)
		} else if name != "" {
			e.own = e.gather(e.own, &e.arena, nil, ecsNames[name], v, 0)
		}
	}
	start := len(e.arena)
	e.arena = e.clock.append(e.arena, e.unix())
	e.ours(pathTime, start)
	if e.f.DataStreams() {
		e.oursString(pathType, []byte("logs"))
		e.oursString(pathDataset, e.name.dataset)
		e.oursString(pathNamespace, e.name.namespace)
	}
	e.oursID(ecsTrace, r.TraceID)
	e.oursID(ecsSpan, r.SpanID)
	e.oursInt(ecsSeverity, int64(r.Severity))
	e.oursString(ecsLevel, r.SeverityText)
	if r.Body.Kind() != otlp.KindEmpty {
		start := len(e.arena)
		e.arena = e.appendText(e.arena, r.Body)
		e.ours(ecsMessage, start)
	}
	return e.appendDocument(dst)
}

// ours adds a field whose JSON is what was appended to e.arena since start.
func (e *Encoder) ours(path []byte, start int) {
	e.own = append(e.own, field{path: path, text: e.arena[start:len(e.arena):len(e.arena)], ours: true})
}

// oursString adds a string, unless it is empty.
func (e *Encoder) oursString(path, value []byte) {
	if len(value) > 0 {
		start := len(e.arena)
		e.arena = otlp.AppendJSONString(e.arena, value)
		e.ours(path, start)
	}
}

// oursInt adds a number, unless it is 0.
func (e *Encoder) oursInt(path []byte, n int64) {
	if n != 0 {
		start := len(e.arena)
		e.arena = strconv.AppendInt(e.arena, n, 10)
		e.ours(path, start)
	}
}

func (e *Encoder) oursID(path, id []byte) {
	if isID(id) {
		start := len(e.arena)
		e.arena = appendHex(e.arena, id)
		e.ours(path, start)
	}
}
