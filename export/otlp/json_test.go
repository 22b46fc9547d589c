package otlp

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// fill sets fields of a message at random, any of those that it has.
func fill(r *rand.Rand, m protoreflect.Message, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if r.IntN(3) == 0 || f.Kind() == protoreflect.MessageKind && depth > 9+r.IntN(3) {
			continue
		}
		value := func() protoreflect.Value {
			switch f.Kind() {
			case protoreflect.StringKind:
				return protoreflect.ValueOfString([]string{"", "text", "ü\n\"\\", "\u2028"}[r.IntN(4)])
			case protoreflect.BytesKind:
				return protoreflect.ValueOfBytes(protowire.AppendFixed64(nil, r.Uint64())[:r.IntN(8)])
			case protoreflect.BoolKind:
				return protoreflect.ValueOfBool(r.IntN(2) == 0)
			case protoreflect.EnumKind:
				return protoreflect.ValueOfEnum(protoreflect.EnumNumber(r.IntN(4)))
			case protoreflect.Int32Kind, protoreflect.Sint32Kind:
				return protoreflect.ValueOfInt32(int32(r.Uint32()))
			case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
				return protoreflect.ValueOfUint32(r.Uint32())
			case protoreflect.Int64Kind, protoreflect.Sfixed64Kind:
				return protoreflect.ValueOfInt64(int64(r.Uint64()))
			case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
				return protoreflect.ValueOfUint64(r.Uint64())
			case protoreflect.DoubleKind:
				return protoreflect.ValueOfFloat64([]float64{0, 1, -0.5, 1e300, 1e-9}[r.IntN(5)])
			}
			panic("no value for " + f.Kind().String())
		}
		switch {
		case f.IsList():
			l := m.Mutable(f).List()
			for range r.IntN(3) {
				if f.Kind() == protoreflect.MessageKind {
					fill(r, l.AppendMutable().Message(), depth+1)
				} else {
					l.Append(value())
				}
			}
		case f.Kind() == protoreflect.MessageKind:
			fill(r, m.Mutable(f).Message(), depth+1)
		default:
			m.Set(f, value())
		}
	}
}

// parsed is JSON as it means: ids that are in base64 become hexadecimal.
func parsed(t *testing.T, b []byte, base64IDs bool) (v any) {
	t.Helper()
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			for k, e := range v {
				if s, ok := e.(string); ok && base64IDs && (k == "traceId" || k == "spanId" || k == "parentSpanId") {
					id, err := base64.StdEncoding.DecodeString(s)
					if err != nil {
						t.Fatal(err)
					}
					v[k] = hex.EncodeToString(id)
				}
				walk(e)
			}
		}
	}
	walk(v)
	return v
}

// dropUnknown removes fields of the generated messages that requests do not have: they are of profiles.
func dropUnknown(v any) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			dropUnknown(e)
		}
	case map[string]any:
		for _, k := range []string{"keyStrindex", "stringValueStrindex"} {
			delete(v, k)
		}
		for _, e := range v {
			dropUnknown(e)
		}
	}
}

// Every field of every message has the form that protobuf's own JSON encoder gives it, but for ids.
func TestAppendJSON(t *testing.T) {
	r := rand.New(rand.NewPCG(17, 18))
	for range 300 {
		for s, m := range [Signals]proto.Message{Logs: &logspb.LogsData{}, Metrics: &metricspb.MetricsData{}, Traces: &tracepb.TracesData{}} {
			fill(r, m.ProtoReflect(), 0)
			wire, err := proto.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			want, err := protojson.MarshalOptions{UseEnumNumbers: true}.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			got, err := AppendJSON([]byte("before"), Signal(s), wire)
			if err != nil {
				t.Fatal(err)
			}
			w := parsed(t, want, true)
			dropUnknown(w)
			if diff := cmp.Diff(w, parsed(t, got[len("before"):], false)); diff != "" {
				t.Fatalf("(-want +got):\n%s\n%s", diff, got)
			}
			if bytes.ContainsAny(got, "\n") {
				t.Fatalf("it takes several lines: %q", got)
			}
		}
	}
}

// Fields in any order and of which several exclude each other make one JSON object all the same: the last counts.
func TestAppendJSONGathers(t *testing.T) {
	value := func(v Value) []byte { return AppendValue(nil, v) }
	record := appendBytes(nil, 5, append(value(String("first")), value(Int(7))...))
	record = append(record, AppendAttrs(nil, AttrsOfLogRecord, []KeyValue{Attr("a", "1")})...)
	record = appendString(record, 3, "WARN")
	record = append(record, AppendAttrs(nil, AttrsOfLogRecord, []KeyValue{Attr("b", "2")})...)
	record = appendString(record, 3, "INFO")
	request := appendBytes(nil, 1, appendBytes(nil, 2, appendBytes(nil, 2, record)))
	got, err := AppendJSON(nil, Logs, request)
	want := `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"severityText":"INFO","body":{"intValue":"7"},` +
		`"attributes":[{"key":"a","value":{"stringValue":"1"}},{"key":"b","value":{"stringValue":"2"}}]}]}]}]}`
	if err != nil || string(got) != want {
		t.Errorf("got %s, %v\nwant %s", got, err, want)
	}
}

// What is nested too deep is refused and not followed until the stack ends.
func TestAppendJSONDepth(t *testing.T) {
	v := String("x")
	for range 200 {
		v = Array(v)
	}
	request := appendBytes(nil, 1, appendBytes(nil, 2, appendBytes(nil, 2, appendBytes(nil, 5, AppendValue(nil, v)))))
	if _, err := AppendJSON(nil, Logs, request); err == nil || !strings.Contains(err.Error(), "nested") {
		t.Errorf("error %v", err)
	}
}

// JSON of a batch is appended without an allocation a record.
func TestAppendJSONAllocates(t *testing.T) {
	var data []byte
	for range 100 {
		data = AppendLogRecord(data, &LogRecord{Time: 1, Body: []byte("a line"), Attrs: AppendAttrs(nil, AttrsOfLogRecord, []KeyValue{Attr("k", "v"), {"i", Int(3)}})})
	}
	request := append(NewGroup(nil, "", "", "").AppendFrame(nil, len(data)), data...)
	dst, err := AppendJSON(nil, Logs, request)
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(20, func() { dst, _ = AppendJSON(dst[:0], Logs, request) }); n > 0 {
		t.Errorf("%v allocations for 100 records", n)
	}
}

// Whatever comes, what is accepted is JSON.
func FuzzAppendJSON(f *testing.F) {
	r := rand.New(rand.NewPCG(19, 20))
	for range 5 {
		for _, m := range [Signals]proto.Message{Logs: &logspb.LogsData{}, Metrics: &metricspb.MetricsData{}, Traces: &tracepb.TracesData{}} {
			fill(r, m.ProtoReflect(), 5)
			wire, err := proto.Marshal(m)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(wire)
		}
	}
	f.Fuzz(func(t *testing.T, request []byte) {
		for s := range Signals {
			if got, err := AppendJSON(nil, s, request); err == nil && !json.Valid(got) {
				t.Errorf("%s of %x is no JSON: %s", s, request, got)
			}
		}
	})
}

// What was written is read back: every field of every message.
func TestParseJSON(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 22))
	for range 300 {
		for s, m := range [Signals]proto.Message{Logs: &logspb.LogsData{}, Metrics: &metricspb.MetricsData{}, Traces: &tracepb.TracesData{}} {
			fill(r, m.ProtoReflect(), 0)
			wire, err := proto.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			text, err := AppendJSON(nil, Signal(s), wire)
			if err != nil {
				t.Fatal(err)
			}
			b, err := ParseJSON(nil, Signal(s), text)
			if err != nil {
				t.Fatalf("%v: %s", err, text)
			}
			again, err := AppendJSON(nil, Signal(s), b)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(parsed(t, text, false), parsed(t, again, false)); diff != "" {
				t.Fatalf("(-want +got):\n%s", diff)
			}
		}
	}
}

// As senders write it: numbers with and without quotes, keys that nobody knows, null; and what is no OTLP,
// with the place of the fault.
func TestParseJSONForms(t *testing.T) {
	text := `{"x":[{"y":{}}], "resourceLogs":[{"resource":null,"scopeLogs":[{"logRecords":[
		{"timeUnixNano":"1700000000000000001","severityNumber":9,"body":{"stringValue":"a"},"traceId":"5B8EFFF798038103D269B633813FC60C","unknown":1},
		{"timeUnixNano":1700000000000000002,"body":{"intValue":-7}},{"body":{"doubleValue":"NaN"}},{"body":{"kvlistValue":{"values":[{"key":"k","value":{"boolValue":true}}]}}}]}]}]}`
	b, err := ParseJSON(nil, Logs, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var m logspb.LogsData
	if err := proto.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	l := m.ResourceLogs[0].ScopeLogs[0].LogRecords
	if len(l) != 4 || l[0].TimeUnixNano != 1700000000000000001 || l[0].SeverityNumber != 9 || len(l[0].TraceId) != 16 || l[1].TimeUnixNano != 1700000000000000002 ||
		l[1].Body.GetIntValue() != -7 || l[3].Body.GetKvlistValue().Values[0].Key != "k" {
		t.Errorf("it is read as %v", &m)
	}
	for text, want := range map[string]string{
		`[]`:                                 "an object belongs here",
		``:                                   "unexpected EOF",
		`{"resourceLogs":{}}`:                "resourceLogs: a list belongs here",
		`{"resourceLogs":[{"schemaUrl":1}]}`: "schemaUrl: a string belongs here, at byte",
		`{"resourceLogs":[]} {}`:             "more behind",
		`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"traceId":"xyz"}]}]}]}`:         "traceId: an id in hexadecimal",
		`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"-1"}]}]}]}`:     "timeUnixNano: a whole number, not negative",
		`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"intValue":0.5}}]}]}]}`: "intValue: a whole number",
		`{"resourceLogs":[{"scopeLogs":[{"logRecords":[`:                                "unexpected EOF",
		strings.Repeat(`{"a":`, 300):                                                    "nested",
	} {
		if _, err := ParseJSON(nil, Logs, []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, want %s", text, err, want)
		}
	}
}

// Whatever text comes, what is accepted is a request that can be written again.
func FuzzParseJSON(f *testing.F) {
	f.Add([]byte(`{"resourceLogs":[{"resource":{"attributes":[{"key":"k","value":{"arrayValue":{"values":[{"intValue":"1"}]}}}]},"scopeLogs":[{"logRecords":[{"flags":1,"body":{"bytesValue":"AA=="}}]}]}]}`))
	f.Add([]byte(`{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"m","exponentialHistogram":{"dataPoints":[{"scale":-1,"positive":{"offset":-2,"bucketCounts":["1",2]},"sum":0.5}]}}]}]}]}`))
	f.Add([]byte(`{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"00","kind":2,"status":{"code":1},"links":[{}]}]}]}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		for s := range Signals {
			b, err := ParseJSON(nil, s, text)
			if err != nil {
				continue
			}
			again, err := AppendJSON(nil, s, b)
			if err != nil || !json.Valid(again) {
				t.Errorf("%s of %q: %s, %v", s, text, again, err)
			}
			if _, err := Count(s, b); err != nil {
				t.Errorf("%s of %q: %v", s, text, err)
			}
		}
	})
}
