package otlp

import (
	"math/rand/v2"
	"strings"
	"testing"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	"google.golang.org/protobuf/proto"
)

// value is what an Any says, as the message that it is.
func (a Any) value() *commonpb.AnyValue {
	switch a.Kind() {
	case KindString:
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: string(a.Bytes())}}
	case KindBytes:
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_BytesValue{BytesValue: a.Bytes()}}
	case KindBool:
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_BoolValue{BoolValue: a.Int() != 0}}
	case KindInt:
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: a.Int()}}
	case KindDouble:
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_DoubleValue{DoubleValue: a.Double()}}
	case KindArray:
		list := &commonpb.ArrayValue{}
		for e := range a.Elements() {
			list.Values = append(list.Values, e.value())
		}
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_ArrayValue{ArrayValue: list}}
	case KindMap:
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_KvlistValue{KvlistValue: &commonpb.KeyValueList{Values: a.Pairs().pairs()}}}
	}
	return &commonpb.AnyValue{}
}

func (a Attrs) pairs() (all []*commonpb.KeyValue) {
	for k, v := range a.All() {
		all = append(all, &commonpb.KeyValue{Key: string(k), Value: v.value()})
	}
	return all
}

func (l *LogView) message() *logspb.LogRecord {
	m := &logspb.LogRecord{
		TimeUnixNano: l.Time, ObservedTimeUnixNano: l.Observed, SeverityNumber: logspb.SeverityNumber(l.Severity),
		SeverityText: string(l.SeverityText), EventName: string(l.EventName), Attributes: l.Attributes.pairs(),
		DroppedAttributesCount: l.Dropped, Flags: l.Flags, TraceId: l.TraceID, SpanId: l.SpanID,
	}
	if l.Body != nil {
		m.Body = l.Body.value()
	}
	return m
}

// What a message says is read back: against the generated code.
func TestLogView(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 1000 {
		_, want := randLog(r)
		v, body := randValue(r, 3)
		if want.DroppedAttributesCount = r.Uint32N(3); len(AppendValue(nil, v)) > 0 {
			want.Body = body
		}
		b, err := proto.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var l LogView
		if err := l.Read(b); err != nil {
			t.Fatal(err)
		}
		mustEqual(t, want, l.message())
	}
}

// Records are cut off a chunk's data one by one; resource and scope are what they were made of.
func TestReadGroup(t *testing.T) {
	want := &logspb.ResourceLogs{
		Resource: &resourcepb.Resource{
			Attributes:             []*commonpb.KeyValue{{Key: "host.name", Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: "n1"}}}},
			DroppedAttributesCount: 2,
		},
		SchemaUrl: "https://a/1",
		ScopeLogs: []*logspb.ScopeLogs{{
			Scope: &commonpb.InstrumentationScope{
				Name: "scope", Version: "1", DroppedAttributesCount: 3,
				Attributes: []*commonpb.KeyValue{{Key: "k", Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: -1}}}},
			},
			SchemaUrl:  "https://a/2",
			LogRecords: []*logspb.LogRecord{{TimeUnixNano: 1}, {TimeUnixNano: 2}},
		}},
	}
	request, err := proto.Marshal(&logspb.LogsData{ResourceLogs: []*logspb.ResourceLogs{want}})
	if err != nil {
		t.Fatal(err)
	}
	pieces, err := Pieces(Logs, request)
	if err != nil || len(pieces) != 1 {
		t.Fatal(pieces, err)
	}
	res, scope := pieces[0].Group.Resource(), pieces[0].Group.Scope()
	got := &logspb.ResourceLogs{
		Resource:  &resourcepb.Resource{Attributes: res.Attributes.pairs(), DroppedAttributesCount: res.Dropped},
		SchemaUrl: string(res.SchemaURL),
		ScopeLogs: []*logspb.ScopeLogs{{
			Scope: &commonpb.InstrumentationScope{
				Name: string(scope.Name), Version: string(scope.Version), Attributes: scope.Attributes.pairs(), DroppedAttributesCount: scope.Dropped,
			},
			SchemaUrl: string(scope.SchemaURL),
		}},
	}
	var again []byte
	for data := pieces[0].Data; len(data) > 0; {
		raw, message, rest, err := NextRecord(data)
		if err != nil {
			t.Fatal(err)
		}
		var l LogView
		if err := l.Read(message); err != nil {
			t.Fatal(err)
		}
		got.ScopeLogs[0].LogRecords = append(got.ScopeLogs[0].LogRecords, l.message())
		again, data = append(again, raw...), rest
	}
	mustEqual(t, want, got)
	if string(again) != string(pieces[0].Data) {
		t.Errorf("records make %q, want %q", again, pieces[0].Data)
	}
	if v, ok := res.Attributes.Get("host.name"); !ok || string(v.Bytes()) != "n1" {
		t.Errorf("host.name is %q, %t", v.Bytes(), ok)
	}
	if _, ok := res.Attributes.Get("host"); ok {
		t.Error("there is an attribute host")
	}
}

// A value as text is a string as it is, or JSON that says the same.
func TestAnyText(t *testing.T) {
	for want, v := range map[string]Value{
		`a "text"`: String(`a "text"`), "true": Bool(true), "-7": Int(-7), "0.5": Double(0.5), `"AP8="`: Bytes([]byte{0, 255}), "null": {},
		`["x",[1,null],{}]`:           Array(String("x"), Array(Int(1), Value{}), Map()),
		`{"k":"v","l":[],"m":{"":0}}`: Map(Attr("k", "v"), KeyValue{"l", Array()}, KeyValue{"m", Map(KeyValue{"", Int(0)})}),
	} {
		if got := string(Any(AppendValue(nil, v)).AppendText(nil)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	deep := Int(1)
	for range 300 {
		deep = Array(deep)
	}
	if got := string(Any(AppendValue(nil, deep)).AppendText(nil)); !strings.HasPrefix(got, "[[[") || !strings.Contains(got, "[null]") {
		t.Errorf("nested 300 deep it is %s", got)
	}
}

// Views allocate nothing.
func TestLogViewAllocates(t *testing.T) {
	data := AppendLogRecord(nil, &LogRecord{Time: 1, Body: []byte("a line"), Attrs: AppendAttrs(nil, AttrsOfLogRecord, []KeyValue{Attr("k", "v"), {"i", Int(3)}})})
	var l LogView
	sum := 0
	if n := testing.AllocsPerRun(100, func() {
		_, message, _, err := NextRecord(data)
		if err != nil || l.Read(message) != nil {
			t.Fatal("malformed")
		}
		for k, v := range l.Attributes.All() {
			sum += len(k) + len(v.Bytes()) + int(v.Int())
		}
		sum += len(l.Body.Bytes())
	}); n != 0 {
		t.Errorf("%v allocations a record", n)
	}
}

// Nothing that comes makes the reader panic, and what is whole for the generated code is read the
// same.
func FuzzLogView(f *testing.F) {
	r := rand.New(rand.NewPCG(9, 10))
	for range 20 {
		l, _ := randLog(r)
		f.Add(AppendLogRecord(nil, l))
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		var l LogView
		if err := l.Read(message); err != nil {
			return
		}
		got := l.message()
		var want logspb.LogRecord
		if proto.Unmarshal(message, &want) != nil {
			return
		}
		if want.TimeUnixNano != got.TimeUnixNano || want.SeverityText != got.SeverityText || want.Flags != got.Flags || string(want.TraceId) != string(got.TraceId) {
			t.Errorf("%x is read as %v, want %v", message, got, &want)
		}
	})
}
