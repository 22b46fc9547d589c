package otlp

import (
	"encoding/binary"
	"hash/crc32"
)

// Signal is a kind of telemetry.
type Signal uint8

const (
	Logs Signal = iota
	Metrics
	Traces
	Signals // how many there are
)

func (s Signal) String() string { return [...]string{"logs", "metrics", "traces"}[s] }

// SchemaURL names the version of the semantic conventions that stint's names follow.
const SchemaURL = "https://opentelemetry.io/schemas/1.44.0"

// Group is the resource and scope that records stand under: the part of a ResourceLogs or
// ResourceMetrics message before its records, encoded once. It is immutable and shared by
// every chunk of, say, one container. Chunks of the same *Group in one batch share a frame.
type Group struct {
	resource []byte // fields 1 (Resource) and 3 (schema_url) of ResourceLogs/ResourceMetrics
	scope    []byte // fields 1 (InstrumentationScope) and 3 (schema_url) of ScopeLogs/ScopeMetrics
}

// NewGroup encodes a resource and an instrumentation scope; the schema URL stands on both.
func NewGroup(resource []KeyValue, schemaURL, scopeName, scopeVersion string) *Group {
	g := &Group{}
	g.resource = appendMessage(g.resource, 1, func(dst []byte) []byte { return AppendAttrs(dst, 1, resource) })
	g.scope = appendMessage(g.scope, 1, func(dst []byte) []byte {
		if scopeName != "" {
			dst = appendString(dst, 1, scopeName)
		}
		if scopeVersion != "" {
			dst = appendString(dst, 2, scopeVersion)
		}
		return dst
	})
	if schemaURL != "" {
		g.resource = appendString(g.resource, 3, schemaURL)
		g.scope = appendString(g.scope, 3, schemaURL)
	}
	return g
}

// FrameLen is the number of bytes that [Group.AppendFrame] appends. Without a group there is no frame.
func (g *Group) FrameLen(records int) int {
	if g == nil {
		return 0
	}
	scope := len(g.scope) + records
	all := len(g.resource) + lenFieldLen(scope)
	return lenFieldLen(all) - records
}

// AppendFrame appends what must stand before `records` bytes of encoded records so that both
// together are one resource_logs (resource_metrics, resource_spans) field of a request.
func (g *Group) AppendFrame(dst []byte, records int) []byte {
	if g == nil {
		return dst
	}
	scope := len(g.scope) + records
	dst = append(dst, 1<<3|wireLen)
	dst = binary.AppendUvarint(dst, uint64(len(g.resource)+lenFieldLen(scope)))
	dst = append(dst, g.resource...)
	dst = append(dst, 2<<3|wireLen)
	dst = binary.AppendUvarint(dst, uint64(scope))
	return append(dst, g.scope...)
}

// Clone is a group that shares no memory with g.
func (g *Group) Clone() *Group {
	b := append(append(make([]byte, 0, len(g.resource)+len(g.scope)), g.resource...), g.scope...)
	return &Group{resource: b[:len(g.resource):len(g.resource)], scope: b[len(g.resource):]}
}

// Hash is the same for groups of the same resource.
func (g *Group) Hash() uint32 { return crc32.ChecksumIEEE(g.resource) }
