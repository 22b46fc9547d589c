package elastic

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	"google.golang.org/protobuf/proto"

	"stint/export/otlp"
)

const (
	t0  = 1764201600_123456789 // 2025-11-27T00:00:00.123456789Z
	now = 1764288000_000000000 // a day later
)

// anyOf is a value as a message.
func anyOf(v any) *commonpb.AnyValue {
	switch v := v.(type) {
	case string:
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: v}}
	case bool:
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_BoolValue{BoolValue: v}}
	case int:
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: int64(v)}}
	case float64:
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_DoubleValue{DoubleValue: v}}
	case []byte:
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_BytesValue{BytesValue: v}}
	case list:
		a := &commonpb.ArrayValue{}
		for _, m := range v {
			a.Values = append(a.Values, anyOf(m))
		}
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_ArrayValue{ArrayValue: a}}
	case kvs:
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_KvlistValue{KvlistValue: &commonpb.KeyValueList{Values: v.pairs()}}}
	}
	return &commonpb.AnyValue{}
}

type list []any

// kvs are keys and values in turn.
type kvs []any

func (k kvs) pairs() (all []*commonpb.KeyValue) {
	for i := 0; i < len(k); i += 2 {
		all = append(all, &commonpb.KeyValue{Key: k[i].(string), Value: anyOf(k[i+1])})
	}
	return all
}

// records is a request of one resource and scope.
func records(resource, scope kvs, all ...*logspb.LogRecord) *logspb.ResourceLogs {
	return &logspb.ResourceLogs{
		Resource: &resourcepb.Resource{Attributes: resource.pairs()},
		ScopeLogs: []*logspb.ScopeLogs{{
			Scope: &commonpb.InstrumentationScope{Attributes: scope.pairs()}, LogRecords: all,
		}},
	}
}

// encode gives the lines that a request becomes, and what was changed.
func encode(t testing.TB, f Format, groups ...*logspb.ResourceLogs) (lines []string, c Changes) {
	t.Helper()
	b, err := proto.Marshal(&collogs.ExportLogsServiceRequest{ResourceLogs: groups})
	if err != nil {
		t.Fatal(err)
	}
	pieces, err := otlp.Pieces(otlp.Logs, b)
	if err != nil {
		t.Fatal(err)
	}
	e := NewEncoder(f)
	e.Begin(now, false)
	var body []byte
	for _, p := range pieces {
		e.Group(p.Group)
		for data := p.Data; len(data) > 0; {
			_, message, rest, err := otlp.NextRecord(data)
			if err != nil {
				t.Fatal(err)
			}
			data = rest
			if body, _, err = e.Append(body, message); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !bytes.HasSuffix(body, []byte("\n")) {
		t.Errorf("no newline at the end of %q", body)
	}
	return strings.Split(strings.TrimSuffix(string(body), "\n"), "\n"), e.Changes
}

// same compares two JSON texts as what they mean.
func same(t testing.TB, got, want string) {
	t.Helper()
	norm := func(s string) string {
		d := json.NewDecoder(strings.NewReader(s))
		d.UseNumber()
		var v any
		if err := d.Decode(&v); err != nil {
			t.Fatalf("%v in %s", err, s)
		}
		b, _ := json.MarshalIndent(v, "", " ")
		return string(b)
	}
	if g, w := norm(got), norm(want); g != w {
		t.Errorf("got\n%s\nwant\n%s", g, w)
	}
}

func TestOTelDocument(t *testing.T) {
	full := &logspb.LogRecord{
		TimeUnixNano: t0, ObservedTimeUnixNano: t0 + 1e9, SeverityNumber: 9, SeverityText: "INFO", EventName: "order.placed",
		Body: anyOf("it \"works\"\n"), DroppedAttributesCount: 2, TraceId: bytes.Repeat([]byte{0xab}, 16), SpanId: bytes.Repeat([]byte{1}, 8),
		Attributes: kvs{"a.b", 1, "a", true, "f", 2.0, "raw", []byte{1, 2}, "list", list{"x", 2}, "map", kvs{"k.l", "v"}, "none", nil,
			"data_stream.type", "metrics", "data_stream.dataset", "Shop-1", "data_stream.namespace", "prod", "elasticsearch.mapping.hints", list{"_doc_count"}}.pairs(),
	}
	in := records(kvs{"k8s.pod.name", "p-1"}, kvs{"s", "t"}, full)
	in.SchemaUrl, in.ScopeLogs[0].SchemaUrl = "https://r", "https://s"
	in.Resource.DroppedAttributesCount = 3
	in.ScopeLogs[0].Scope.Name, in.ScopeLogs[0].Scope.Version = "stint/tail", "1"
	lines, c := encode(t, Format{Mapping: OTel}, in)
	if c != (Changes{}) || len(lines) != 2 {
		t.Errorf("%d lines, %+v", len(lines), c)
	}
	same(t, lines[0], `{"create": {"_index": "logs-shop_1.otel-prod"}}`)
	same(t, lines[1], `{
		"@timestamp": "2025-11-27T00:00:00.123456789Z", "observed_timestamp": "2025-11-27T00:00:01.123456789Z",
		"data_stream": {"type": "logs", "dataset": "shop_1.otel", "namespace": "prod"},
		"trace_id": "abababababababababababababababab", "span_id": "0101010101010101",
		"severity_text": "INFO", "severity_number": 9, "event_name": "order.placed", "dropped_attributes_count": 2,
		"attributes": {"a.b": 1, "a": true, "f": 2.0, "raw": "AQI=", "list": ["x", 2], "map": {"k.l": "v"}, "none": null},
		"resource": {"attributes": {"k8s.pod.name": "p-1"}, "dropped_attributes_count": 3, "schema_url": "https://r"},
		"scope": {"name": "stint/tail", "version": "1", "attributes": {"s": "t"}, "schema_url": "https://s"},
		"body": {"text": "it \"works\"\n"}}`)

	// What is not known is left out; the time is when it was observed, else now.
	lines, _ = encode(t, Format{Mapping: OTel, Index: "plain"}, records(nil, nil, &logspb.LogRecord{ObservedTimeUnixNano: t0}, &logspb.LogRecord{TraceId: make([]byte, 16)}, &logspb.LogRecord{TimeUnixNano: math.MaxUint64}))
	same(t, lines[0], `{"index": {"_index": "plain"}}`)
	same(t, lines[1], `{"@timestamp": "2025-11-27T00:00:00.123456789Z", "observed_timestamp": "2025-11-27T00:00:00.123456789Z"}`)
	same(t, lines[3], `{"@timestamp": "2025-11-28T00:00:00.000000000Z"}`)
	same(t, lines[5], `{"@timestamp": "2025-11-28T00:00:00.000000000Z"}`)
}

func TestOTelBody(t *testing.T) {
	for name, tc := range map[string]struct {
		body any
		want string
	}{
		"text":               {"a", `{"text": "a"}`},
		"empty text":         {"", `{"text": ""}`},
		"number":             {5, `{"text": "5"}`},
		"boolean":            {true, `{"text": "true"}`},
		"bytes":              {[]byte{1, 2}, `{"text": "AQI="}`},
		"map":                {kvs{"a.b", kvs{"c", 1}}, `{"structured": {"a.b": {"c": 1}}}`},
		"objects":            {list{kvs{"a", 1}, kvs{}}, `{"structured": [{"a": 1}, {}]}`},
		"list":               {list{1, kvs{"a", 1}}, `{"structured": {"value": [1, {"a": 1}]}}`},
		"not finite numbers": {list{math.NaN(), math.Inf(-1), 0.5}, `{"structured": {"value": [null, null, 0.5]}}`},
	} {
		lines, c := encode(t, Format{Mapping: OTel, Index: "i"}, records(nil, nil, &logspb.LogRecord{TimeUnixNano: t0, Body: anyOf(tc.body)}))
		t.Run(name, func(t *testing.T) {
			same(t, lines[1], `{"@timestamp": "2025-11-27T00:00:00.123456789Z", "body": `+tc.want+`}`)
		})
		if strings.HasPrefix(name, "not finite") && c.NotFinite != 2 {
			t.Errorf("%+v", c)
		}
	}
}

func TestECSDocument(t *testing.T) {
	resource := kvs{
		"service.name", "shop", "service.instance.id", "i-1", "deployment.environment.name", "prod", "cloud.platform", "aws_eks",
		"telemetry.sdk.name", "opentelemetry", "telemetry.sdk.language", "java", "telemetry.sdk.version", "1.2", "telemetry.distro.name", "elastic", "telemetry.distro.version", "9.1",
		"container.image.tags", list{"v1"}, "host.name", "n1", "host.arch", "arm64", "process.executable.path", "/bin/x", "process.runtime.name", "jvm", "process.runtime.version", "21",
		"os.name", "Debian", "os.type", "linux", "os.description", "Debian 13", "os.version", "13",
		"k8s.cluster.name", "c1", "k8s.namespace.name", "ns", "k8s.node.name", "n1", "k8s.pod.name", "p", "k8s.pod.uid", "u", "k8s.container.name", "app",
		"k8s.deployment.name", "d", "k8s.replicaset.name", "rs", "k8s.statefulset.name", "ss", "k8s.daemonset.name", "ds", "k8s.job.name", "j", "k8s.cronjob.name", "cj",
		"data_stream.dataset", "shop",
	}
	lines, c := encode(t, Format{Mapping: ECS}, records(resource, kvs{"lib", "x"}, &logspb.LogRecord{
		TimeUnixNano: t0, SeverityNumber: 17, SeverityText: "ERROR", Body: anyOf("boom"), TraceId: bytes.Repeat([]byte{0xab}, 16), SpanId: bytes.Repeat([]byte{1}, 8),
		Attributes: kvs{"event.name", "failed", "exception.message", "m", "exception.stacktrace", "s", "exception.type", "E", "http.status", 500}.pairs(),
	}))
	if c != (Changes{}) {
		t.Errorf("%+v", c)
	}
	same(t, lines[0], `{"create": {"_index": "logs-shop-default"}}`)
	same(t, lines[1], `{
		"@timestamp": "2025-11-27T00:00:00.123456789Z", "message": "boom", "log": {"level": "ERROR"}, "lib": "x",
		"event": {"severity": 17, "action": "failed"}, "error": {"message": "m", "stack_trace": "s", "type": "E"}, "http": {"status": 500},
		"trace": {"id": "abababababababababababababababab"}, "span": {"id": "0101010101010101"},
		"data_stream": {"type": "logs", "dataset": "shop", "namespace": "default"},
		"agent": {"name": "opentelemetry/java/elastic", "version": "9.1"},
		"service": {"name": "shop", "node": {"name": "i-1"}, "environment": "prod", "runtime": {"name": "jvm", "version": "21"}},
		"cloud": {"service": {"name": "aws_eks"}}, "container": {"image": {"tag": ["v1"]}},
		"host": {"name": "n1", "hostname": "n1", "architecture": "arm64", "os": {"name": "Debian", "platform": "linux", "type": "linux", "full": "Debian 13", "version": "13"}},
		"process": {"executable": "/bin/x"}, "orchestrator": {"cluster": {"name": "c1"}},
		"kubernetes": {"namespace": "ns", "node": {"name": "n1"}, "pod": {"name": "p", "uid": "u"}, "container": {"name": "app"}, "deployment": {"name": "d"},
			"replicaset": {"name": "rs"}, "statefulset": {"name": "ss"}, "daemonset": {"name": "ds"}, "job": {"name": "j"}, "cronjob": {"name": "cj"}}}`)

	// A body that is no text is not lost; without a name of the SDK the agent is otlp.
	for i, tc := range []struct {
		resource kvs
		body     any
		agent    string
		message  string
		os       string
	}{
		{nil, kvs{"a", 1}, "otlp", `{"a":1}`, ""},
		{kvs{"telemetry.sdk.language", "go", "os.type", "darwin"}, 7, "otlp/go", "7", "macos"},
		{kvs{"telemetry.distro.name", "d", "os.type", "aix"}, list{1}, "otlp/unknown/d", "[1]", "unix"},
		{kvs{"os.name", "Android", "os.type", "linux"}, "x", "otlp", "x", "android"},
		{kvs{"os.name", "iOS"}, "x", "otlp", "x", "ios"},
		{kvs{"os.type", "plan9"}, "x", "otlp", "x", ""},
	} {
		lines, _ := encode(t, Format{Mapping: ECS, Index: "i"}, records(tc.resource, nil, &logspb.LogRecord{Body: anyOf(tc.body)}))
		var doc struct {
			Message string
			Agent   struct{ Name string }
			Host    struct{ OS struct{ Type string } }
		}
		if err := json.Unmarshal([]byte(lines[1]), &doc); err != nil || doc.Message != tc.message || doc.Agent.Name != tc.agent || doc.Host.OS.Type != tc.os {
			t.Errorf("%d: %s, %v", i, lines[1], err)
		}
	}
}

func TestNoneAndBodyMapDocument(t *testing.T) {
	r := records(kvs{"host.name", "n"}, kvs{"s", 1}, &logspb.LogRecord{
		TimeUnixNano: t0, SeverityNumber: 9, SeverityText: "INFO", Flags: 1, Body: anyOf("text"), Attributes: kvs{"a.b", 1, "c", kvs{"d", 2}}.pairs(),
		TraceId: bytes.Repeat([]byte{0xab}, 16), SpanId: bytes.Repeat([]byte{1}, 8), EventName: "e",
	})
	r.ScopeLogs[0].Scope.Name, r.ScopeLogs[0].Scope.Version = "lib", "2"
	lines, _ := encode(t, Format{Mapping: None, Index: "i"}, r)
	same(t, lines[1], `{"@timestamp": "2025-11-27T00:00:00.123456789Z", "Body": "text", "SeverityText": "INFO", "SeverityNumber": 9, "TraceFlags": 1, "EventName": "e",
		"TraceId": "abababababababababababababababab", "SpanId": "0101010101010101",
		"Attributes": {"a": {"b": 1}, "c": {"d": 2}}, "Resource": {"host": {"name": "n"}}, "Scope": {"s": 1, "name": "lib", "version": "2"}}`)

	body := func(v any) *logspb.ResourceLogs {
		return records(kvs{"host.name", "n"}, nil, &logspb.LogRecord{TimeUnixNano: t0, Body: anyOf(v), Attributes: kvs{"a", 1}.pairs()})
	}
	lines, c := encode(t, Format{Mapping: BodyMap, Index: "i"}, body(kvs{
		"kind", "Pod", "metadata", kvs{"labels", kvs{"app", "x", "app.kubernetes.io/name", "y"}}, "spec", kvs{"containers", list{kvs{"name", "c", "l", 1, "l.m", 2}}},
	}))
	same(t, lines[1], `{"kind": "Pod", "metadata": {"labels": {"app": {"value": "x", "kubernetes": {"io/name": "y"}}}}, "spec": {"containers": [{"name": "c", "l": {"value": 1, "m": 2}}]}}`)
	if c != (Changes{Conflicts: 2}) {
		t.Errorf("%+v", c)
	}
	lines, _ = encode(t, Format{Mapping: BodyMap, Index: "i"}, body("no map"), body(nil))
	same(t, lines[1], `{"@timestamp": "2025-11-27T00:00:00.123456789Z", "message": "no map"}`)
	same(t, lines[3], `{"@timestamp": "2025-11-27T00:00:00.123456789Z"}`)
}

// Of keys that come twice the last one counts; a next to a.b becomes a.value; the attributes of a
// record come after those of its resource.
func TestDuplicatesAndConflicts(t *testing.T) {
	for name, tc := range map[string]struct {
		mapping     string
		resource, r kvs
		key, want   string // a member of the document
		changes     Changes
	}{
		"twice":                   {OTel, nil, kvs{"a", 1, "b", 2, "a", 3}, "attributes", `{"b": 2, "a": 3}`, Changes{Duplicates: 1}},
		"three times":             {OTel, nil, kvs{"a", 1, "a", kvs{}, "a", 3}, "attributes", `{"a": 3}`, Changes{Duplicates: 2}},
		"within a map":            {OTel, nil, kvs{"m", kvs{"a", 1, "a", 2}}, "attributes", `{"m": {"a": 2}}`, Changes{Duplicates: 1}},
		"dots are left alone":     {OTel, nil, kvs{"a", 1, "a.b", 2, "a..b", 3, ".", 4}, "attributes", `{"a": 1, "a.b": 2, "a..b": 3, ".": 4}`, Changes{}},
		"empty key":               {OTel, nil, kvs{"", 1, "_", 2}, "attributes", `{"_": 2}`, Changes{Duplicates: 1, Keys: 1}},
		"twice, dotted":           {ECS, nil, kvs{"x.a", 1, "x", kvs{"a", 2}}, "x", `{"a": 2}`, Changes{Duplicates: 1}},
		"of resource and record":  {ECS, kvs{"x.a", 1, "x.b", 1}, kvs{"x.a", 2}, "x", `{"a": 2, "b": 1}`, Changes{Duplicates: 1}},
		"scalar and object":       {ECS, nil, kvs{"x", 1, "x.b", 2}, "x", `{"value": 1, "b": 2}`, Changes{Conflicts: 1}},
		"object first":            {ECS, kvs{"x.b.c", 2}, kvs{"x.b", 1}, "x", `{"b": {"value": 1, "c": 2}}`, Changes{Conflicts: 1}},
		"scalar, object, a value": {ECS, nil, kvs{"x", 1, "x.b", 2, "x.value", 3}, "x", `{"b": 2, "value": 3}`, Changes{Duplicates: 1}},
		"empty map and object":    {ECS, nil, kvs{"x", kvs{}, "x.b", 2}, "x", `{"b": 2}`, Changes{}},
		"empty map":               {ECS, nil, kvs{"x", kvs{}}, "x", `{}`, Changes{}},
		"neighbours":              {ECS, nil, kvs{"x.b", 1, "x-y", 2, "x.b.c", 3, "x.b-c", 4}, "x", `{"b": {"value": 1, "c": 3}, "b-c": 4}`, Changes{Conflicts: 1}},
		"dots at the ends":        {ECS, nil, kvs{"x..a", 1, "x.", 2, "x", kvs{"", 3}}, "x", `{"_": 3}`, Changes{}},
		"in lists":                {None, nil, kvs{"l", list{kvs{"a", 1, "a.b", 2, "a", 3}}}, "Attributes", `{"l": [{"a": {"value": 3, "b": 2}}]}`, Changes{Duplicates: 1, Conflicts: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			lines, c := encode(t, Format{Mapping: tc.mapping, Index: "i"}, records(tc.resource, nil, &logspb.LogRecord{TimeUnixNano: t0, Attributes: tc.r.pairs()}))
			var doc map[string]json.RawMessage
			if err := json.Unmarshal([]byte(lines[1]), &doc); err != nil {
				t.Fatal(err)
			}
			if name == "dots at the ends" {
				tc.want, tc.changes = `{"_": 3, "_": 3}`, c
				if got := string(doc["x"]); got != `{"_":{"value":3,"a":1}}` || c.Keys != 3 || c.Duplicates != 1 || c.Conflicts != 1 {
					t.Errorf("%s, %+v", got, c)
				}
				return
			}
			same(t, string(doc[tc.key]), tc.want)
			if c != tc.changes {
				t.Errorf("%+v, want %+v", c, tc.changes)
			}
		})
	}
}

// Documents stay within what an index takes by default, whatever the records hold, and lose nothing.
func TestLimits(t *testing.T) {
	deep := func(n int, in any) any {
		for i := range n {
			in = kvs{fmt.Sprint("d", i), in}
		}
		return in
	}
	many := func(n int, key string) (k kvs) {
		for i := range n {
			k = append(k, fmt.Sprintf(key, i), fmt.Sprintf("tok%dx", i))
		}
		return k
	}
	for name, r := range map[string]*logspb.LogRecord{
		"deep attribute":      {Attributes: kvs{"a", deep(40, "tok1x"), "b", "tok2x"}.pairs()},
		"deep body":           {Body: anyOf(deep(40, "tok1x"))},
		"deep lists":          {Body: anyOf(kvs{"l", list{list{deep(30, list{"tok1x"})}}})},
		"deep dots":           {Attributes: kvs{strings.Repeat("a.", 40) + "b", "tok1x"}.pairs()},
		"many attributes":     {Attributes: many(3000, "a%d").pairs()},
		"many objects":        {Attributes: many(3000, "a%d.b").pairs()},
		"many in a map":       {Attributes: kvs{"m", many(3000, "a%d"), "z", "tok9999x"}.pairs()},
		"many in lists":       {Attributes: kvs{"l", list{many(2000, "a%d"), many(2000, "a%d")}, "z", "tok9999x"}.pairs()},
		"many in a body":      {Body: anyOf(many(3000, "a%d"))},
		"many below the dots": {Attributes: many(3000, "a.%d.b.c").pairs()},
	} {
		for _, mapping := range []string{OTel, ECS, None, BodyMap} {
			if mapping == BodyMap {
				if r.Body == nil {
					r.Body = anyOf(kvs{"attributes", kvs{}})
					r.Body.GetKvlistValue().Values = r.Attributes
				}
			}
			lines, c := encode(t, Format{Mapping: mapping, Index: "i"}, records(nil, nil, r))
			t.Run(name+"/"+mapping, func(t *testing.T) {
				judge(t, mapping, []byte(lines[1]), true)
				all, _ := proto.Marshal(r)
				lost := 0
				for _, tok := range tokens(string(all)) {
					if !strings.Contains(lines[1], tok) {
						lost++
					}
				}
				if lost > 0 && !(mapping == OTel && r.Attributes == nil && r.Body == nil) {
					t.Errorf("%d values are lost of %s", lost, lines[1][:min(len(lines[1]), 2000)])
				}
				if strings.HasPrefix(name, "many a") && c.TooMany == 0 || strings.HasPrefix(name, "deep") && c.TooDeep == 0 && (mapping != ECS || r.Body == nil) && (mapping != OTel || name != "deep dots") {
					t.Errorf("%+v", c)
				}
			})
		}
	}
}

// tokens are the words tok…x in a text.
func tokens(s string) (all []string) {
	for {
		i := strings.Index(s, "tok")
		if i < 0 {
			return all
		}
		n := strings.IndexByte(s[i:], 'x')
		if n < 0 {
			return all
		}
		all = append(all, s[i:i+n+1])
		s = s[i+n:]
	}
}

// judge says whether a server would take a document: valid JSON, no key twice, no a next to a.b, no
// empty keys, at most 20 levels and 1,000 fields. The body of an OTel document is one field.
func judge(t testing.TB, mapping string, doc []byte, fields bool) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	seen := map[string]string{} // kinds by path
	var value func(path []string, in int) error
	put := func(path []string, kind string, in int) {
		key := strings.Join(path, "\x00") + fmt.Sprint("\x00", in)
		if before := seen[key]; before != "" && (before != kind || kind == "leaf") {
			t.Errorf("%q is %s and %s in %.300s", path, before, kind, doc)
		}
		seen[key] = kind
		if len(path) > 20 {
			t.Errorf("%q has %d levels", path, len(path))
		}
	}
	lists := 0
	value = func(path []string, in int) error {
		tok, err := d.Token()
		if err != nil {
			return err
		}
		switch tok {
		case json.Delim('{'):
			if len(path) > 0 {
				put(path, "object", in)
			}
			own := map[string]bool{}
			for d.More() {
				k, err := d.Token()
				if err != nil {
					return err
				}
				key := k.(string)
				if own[key] {
					t.Errorf("the key %q comes twice in %.300s", key, doc)
				}
				own[key] = true
				parts := []string{key}
				if mapping != OTel {
					parts = strings.Split(key, ".")
				}
				below := slices.Concat(path, parts)
				for i := range parts {
					if parts[i] == "" {
						t.Errorf("the key %q has an empty part", key)
					}
					if i > 0 {
						put(below[:len(path)+i], "object", in)
					}
				}
				if err := value(below, in); err != nil {
					return err
				}
			}
			_, err = d.Token()
		case json.Delim('['):
			put(path, "leaf", in)
			for d.More() {
				lists++
				if err := value(slices.Concat(path, []string{"[]"}), lists); err != nil {
					return err
				}
			}
			_, err = d.Token()
		default:
			put(path, "leaf", in)
		}
		return err
	}
	if err := value(nil, 0); err != nil {
		t.Fatalf("%v in %.300q", err, doc)
	}
	if _, err := d.Token(); err != io.EOF {
		t.Fatalf("more than a document: %.300q", doc)
	}
	if !fields {
		return
	}
	distinct := map[string]bool{} // lists aside
	for key := range seen {
		key = strings.ReplaceAll(key[:strings.LastIndexByte(key, 0)], "\x00[]", "")
		if mapping != OTel || !strings.HasPrefix(key, "body\x00structured\x00") {
			distinct[key] = true
		}
	}
	if len(distinct) > 1000 {
		t.Errorf("%d fields: %.300s", len(distinct), doc)
	}
}

// randomValue makes a value whose texts are tokens, each once.
func randomValue(r *rand.Rand, depth int, n *int) any {
	switch k := r.IntN(12); {
	case k < 5 || depth > 3 && k < 9 || depth > 30:
		*n++
		return fmt.Sprintf("tok%dx", *n)
	case k == 5:
		return r.IntN(100)
	case k == 6:
		return []float64{1, 0.5, math.NaN(), math.Inf(1)}[r.IntN(4)]
	case k == 7:
		return nil
	case k < 10:
		return randomPairs(r, depth+1, n)
	}
	l := list{}
	for range r.IntN(4) {
		l = append(l, randomValue(r, depth+1, n))
	}
	return l
}

func randomPairs(r *rand.Rand, depth int, n *int) kvs {
	k := kvs{}
	for range r.IntN(5) + r.IntN(8)/7*r.IntN(60) {
		key := []string{"a", "b", "a.b", "b.a", "a.b.c", "c", "value", "a.value", "", ".", "a..b", "message", "log.level", "x-y", "é", "trace", "@timestamp"}[r.IntN(17)]
		if r.IntN(3) > 0 {
			key += fmt.Sprint(r.IntN(40))
		}
		k = append(k, key, randomValue(r, depth, n))
		if len(k) > 80/(depth+1) {
			break
		}
	}
	return k
}

func TestRandomDocuments(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	whole := map[string]int{}
	for i := range 400 {
		n := 0
		rl := records(randomPairs(r, 0, &n), randomPairs(r, 0, &n), &logspb.LogRecord{
			TimeUnixNano: t0, Body: anyOf(randomValue(r, 0, &n)), Attributes: randomPairs(r, 0, &n).pairs(), SeverityText: "INFO", TraceId: bytes.Repeat([]byte{1}, 16),
		})
		for _, mapping := range []string{OTel, ECS, None, BodyMap} {
			lines, c := encode(t, Format{Mapping: mapping, Index: "i"}, rl)
			if len(lines) != 2 {
				t.Fatalf("%d lines", len(lines))
			}
			judge(t, mapping, []byte(lines[1]), false)
			if t.Failed() {
				t.Fatalf("document %d, %s: %.500s", i, mapping, lines[1])
			}
			if c.Duplicates > 0 || mapping == BodyMap {
				continue
			}
			whole[mapping]++
			for k := 1; k <= n; k++ {
				if !strings.Contains(lines[1], fmt.Sprintf("tok%dx", k)) {
					t.Fatalf("document %d, %s: value %d of %d is lost: %.3000s\n%+v", i, mapping, k, n, lines[1], c)
				}
			}
		}
	}
	for _, mapping := range slices.Sorted(maps.Keys(whole)) {
		if whole[mapping] < 50 {
			t.Errorf("only %d documents of %s were without duplicates", whole[mapping], mapping)
		}
	}
}

// Whatever bytes are taken for a record, a server would take the document.
func FuzzEncode(f *testing.F) {
	b, _ := proto.Marshal(&logspb.LogRecord{TimeUnixNano: 1, Body: anyOf(kvs{"a", 1, "a.b", list{kvs{"", 1.5}}}), Attributes: kvs{"a", "b", "\u00e9", true, "a", 1}.pairs()})
	named, _ := proto.Marshal(&logspb.LogRecord{Attributes: kvs{attrDataset, "Ä/", attrNamespace, "-", attrPrefix, "-_É", attrSuffix, ":"}.pairs()})
	for mapping := range uint8(8) {
		f.Add(b, mapping)
		f.Add(named, mapping)
	}
	group := otlp.NewGroup([]otlp.KeyValue{otlp.Attr("host.name", "n"), otlp.Attr("a.b", "c")}, otlp.SchemaURL, "fuzz", "1")
	f.Fuzz(func(t *testing.T, message []byte, mapping uint8) {
		if bytes.Contains(message, []byte(excessKey)) {
			return // would stand next to ours
		}
		m := []string{OTel, ECS, None, BodyMap}[mapping%4]
		e := NewEncoder(Format{Mapping: m, IDs: true})
		if mapping >= 4 {
			e = NewEncoder(Format{Mapping: m, Index: "x", Dynamic: true, Separator: "-", Date: "%Y"})
		}
		e.Begin(now, false)
		e.Group(group)
		line, _, err := e.Append(nil, message)
		if err != nil {
			if len(line) > 0 {
				t.Errorf("an error, and %q", line)
			}
			return
		}
		action, doc, _ := bytes.Cut(line, []byte("\n"))
		if name, _, _ := indexOf(t, string(action)); CheckIndex(name) != nil {
			t.Fatalf("%q: %v", name, CheckIndex(name))
		}
		if len(doc) == 0 || bytes.IndexByte(doc, '\n') != len(doc)-1 {
			t.Fatalf("%q", line)
		}
		judge(t, m, doc, false)
	})
}

func TestEncodeAllocatesNothing(t *testing.T) {
	for _, mapping := range []string{OTel, ECS, None, BodyMap} {
		groups, n := sampleChunks(t)
		e := NewEncoder(Format{Mapping: mapping, IDs: true})
		var body []byte
		run := func() {
			body = body[:0]
			e.Begin(now, false)
			for _, g := range groups {
				e.Group(g.Group)
				for data := g.Data; len(data) > 0; {
					_, message, rest, err := otlp.NextRecord(data)
					if err != nil {
						t.Fatal(err)
					}
					data = rest
					if body, _, err = e.Append(body, message); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		run()
		// A group costs a few: its names are made once.
		if got := testing.AllocsPerRun(2, run); got > 10*float64(len(groups)) {
			t.Errorf("%s: %v allocations for %d records in %d groups", mapping, got, n, len(groups))
		}
	}
}

// sampleChunks are records of containers, 500 of each.
func sampleChunks(t testing.TB) (all []otlp.Piece, records int) {
	for i := range 4 {
		g := otlp.NewGroup([]otlp.KeyValue{
			otlp.Attr("k8s.namespace.name", "payments"), otlp.Attr("k8s.pod.name", fmt.Sprintf("orders-7d9f8b6c5d-%05x", i)), otlp.Attr("k8s.pod.uid", "6b1f7c2e-1111-2222-3333-444455556666"),
			otlp.Attr("k8s.container.name", "app"), otlp.Attr("k8s.node.name", "node-1"), otlp.Attr("container.image.name", "registry/orders"), otlp.Attr("k8s.deployment.name", "orders"),
		}, otlp.SchemaURL, "stint/tail", "1")
		var data []byte
		attrs := otlp.AppendAttrs(nil, otlp.AttrsOfLogRecord, []otlp.KeyValue{otlp.Attr("log.iostream", "stdout"), otlp.Attr("logtag", "F"), {Key: "retry", Value: otlp.Int(3)}})
		for n := range 500 {
			data = otlp.AppendLogRecord(data, &otlp.LogRecord{
				Time: t0 + uint64(n)*1e6, Observed: t0 + 1e9, Severity: 9, SeverityText: "INFO", Attrs: attrs,
				Body: fmt.Appendf(nil, `10.1.2.3 - - [27/Nov/2025:00:00:00 +0000] "GET /orders/%d HTTP/1.1" 200 1234 "-" "curl/8.5.0" 0.012`, n),
			})
		}
		all, records = append(all, otlp.Piece{Group: g, Data: data, Records: 500}), records+500
	}
	return all, records
}

// BenchmarkEncode is MB/s of records as they are on the wire.
func BenchmarkEncode(b *testing.B) {
	for _, mapping := range []string{OTel, ECS, None} {
		b.Run(mapping, func(b *testing.B) {
			groups, records := sampleChunks(b)
			e := NewEncoder(Format{Mapping: mapping, IDs: true})
			size := 0
			for _, g := range groups {
				size += len(g.Data)
			}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			var body []byte
			start := cpu()
			for b.Loop() {
				body = body[:0]
				e.Begin(now, false)
				for _, g := range groups {
					e.Group(g.Group)
					for data := g.Data; len(data) > 0; {
						_, message, rest, _ := otlp.NextRecord(data)
						data = rest
						body, _, _ = e.Append(body, message)
					}
				}
			}
			b.ReportMetric(float64(cpu()-start)/float64(b.N*records), "cpu-ns/record")
			b.ReportMetric(float64(len(body))/float64(size), "x")
		})
	}
}

// cpu is the time that the process has used: the machine may be busy.
func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
