package tail

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/protobuf/proto"

	"stint/export/otlp"
)

var stdoutAttrs = otlp.AppendAttrs(nil, otlp.AttrsOfLogRecord, []otlp.KeyValue{otlp.Attr("log.iostream", "stdout")})

// official encodes rec and decodes it with the official messages.
func official(t testing.TB, rec *otlp.LogRecord) *logspb.LogRecord {
	data := otlp.AppendLogRecord(nil, rec)
	if len(data) != rec.Len() {
		t.Fatalf("Len = %d, the record takes %d", rec.Len(), len(data))
	}
	var s logspb.ScopeLogs
	if err := proto.Unmarshal(data, &s); err != nil {
		t.Fatalf("%v in %x", err, data)
	}
	return s.LogRecords[0]
}

// plainValue is what encoding/json would have made of v: ints stay ints.
func plainValue(t testing.TB, v *commonpb.AnyValue) any {
	switch v := v.Value.(type) {
	case *commonpb.AnyValue_StringValue:
		return v.StringValue
	case *commonpb.AnyValue_BoolValue:
		return v.BoolValue
	case *commonpb.AnyValue_IntValue:
		return v.IntValue
	case *commonpb.AnyValue_DoubleValue:
		return v.DoubleValue
	case *commonpb.AnyValue_ArrayValue:
		list := []any{}
		for _, e := range v.ArrayValue.Values {
			list = append(list, plainValue(t, e))
		}
		return list
	case *commonpb.AnyValue_KvlistValue:
		return plainMap(t, v.KvlistValue.Values)
	}
	return nil
}

func plainMap(t testing.TB, kvs []*commonpb.KeyValue) map[string]any {
	m := map[string]any{}
	for _, kv := range kvs {
		if _, twice := m[kv.Key]; twice {
			t.Fatalf("key %q occurs twice", kv.Key)
		}
		m[kv.Key] = plainValue(t, kv.Value)
	}
	return m
}

type object = map[string]any

func TestBodyJSON(t *testing.T) {
	const trace, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	for name, tc := range map[string]struct {
		in          string
		body        string // of the record; "" = in
		attrs       object // without log.iostream
		severity    int
		text        string
		trace, span string
		flags       uint32
		not         bool // does not parse
	}{
		"zap":                 {in: `{"level":"info","ts":1700000000.5,"caller":"a/b.go:12","msg":"hi","n":3}`, body: "hi", severity: 9, text: "info", attrs: object{"ts": 1700000000.5, "caller": "a/b.go:12", "n": int64(3)}},
		"slog":                {in: `{"time":"2026-01-02T03:04:05Z","level":"INFO+2","msg":"hi"}`, body: "hi", severity: 11, text: "INFO+2", attrs: object{"time": "2026-01-02T03:04:05Z"}},
		"slog trace":          {in: `{"level":"DEBUG-4","msg":"hi"}`, body: "hi", severity: 1, text: "DEBUG-4"},
		"logrus":              {in: `{"level":"warning","msg":"hi"}`, body: "hi", severity: 13, text: "warning"},
		"pino":                {in: `{"level":30,"time":1531171074631,"pid":657,"msg":"hi"}`, body: "hi", severity: 9, text: "30", attrs: object{"time": int64(1531171074631), "pid": int64(657)}},
		"bunyan fatal":        {in: `{"v":0,"level":60,"msg":"hi"}`, body: "hi", severity: 21, text: "60", attrs: object{"v": int64(0)}},
		"python-json-logger":  {in: `{"message":"hi","levelname":"CRITICAL"}`, body: "hi", severity: 18, text: "CRITICAL"},
		"GCP":                 {in: `{"severity":"NOTICE","message":"hi"}`, body: "hi", severity: 10, text: "NOTICE"},
		".NET":                {in: `{"EventId":0,"LogLevel":"Information","Message":"hi"}`, body: "hi", severity: 9, text: "Information", attrs: object{"EventId": int64(0)}},
		"ECS":                 {in: `{"log.level":"ERROR","message":"hi","trace.id":"` + trace + `"}`, body: "hi", severity: 17, text: "ERROR", trace: trace},
		"JUL":                 {in: `{"level":"SEVERE","message":"hi"}`, body: "hi", severity: 17, text: "SEVERE"},
		"unknown level stays": {in: `{"level":"high","msg":"hi"}`, body: "hi", attrs: object{"level": "high"}},
		"GELF number stays":   {in: `{"level":3,"short_message":"hi"}`, body: "hi", attrs: object{"level": int64(3)}},
		"second level is taken if the first is unknown": {in: `{"level":"high","severity":"warn","msg":"hi"}`, body: "hi", severity: 13, text: "warn", attrs: object{"level": "high"}},

		"trace context":              {in: `{"msg":"hi","trace_id":"` + strings.ToUpper(trace) + `","span_id":"` + span + `","trace_flags":"01"}`, body: "hi", trace: trace, span: span, flags: 1},
		"camel case":                 {in: `{"msg":"hi","traceId":"` + trace + `","spanId":"` + span + `","traceFlags":1}`, body: "hi", trace: trace, span: span, flags: 1},
		"traceparent":                {in: `{"msg":"hi","traceparent":"00-` + trace + `-` + span + `-01"}`, body: "hi", trace: trace, span: span, flags: 1},
		"zero trace":                 {in: `{"msg":"hi","trace_id":"00000000000000000000000000000000","span_id":"` + span + `"}`, body: "hi", attrs: object{"trace_id": "00000000000000000000000000000000", "span_id": span}},
		"trace not hex":              {in: `{"msg":"hi","trace_id":"x"}`, body: "hi", attrs: object{"trace_id": "x"}},
		"traceparent of zeros":       {in: `{"msg":"hi","traceparent":"00-` + trace + `-0000000000000000-01"}`, body: "hi", attrs: object{"traceparent": "00-" + trace + "-0000000000000000-01"}},
		"trace_id beats traceparent": {in: `{"traceparent":"00-` + strings.Repeat("1", 32) + `-` + span + `-01","msg":"hi","trace_id":"` + trace + `"}`, body: "hi", trace: trace, attrs: object{"traceparent": "00-" + strings.Repeat("1", 32) + "-" + span + "-01"}},

		"message beats msg":      {in: `{"msg":"a","message":"b"}`, body: "b", attrs: object{"msg": "a"}},
		"message is no string":   {in: `{"message":{"a":1},"msg":"hi"}`, body: "hi", attrs: object{"message": object{"a": int64(1)}}},
		"no message":             {in: `{"a":1}`, attrs: object{"a": int64(1)}},
		"empty message":          {in: `{"msg":"","a":1}`, body: "-", attrs: object{"a": int64(1)}},
		"escapes":                {in: `{"msg":"a\n\"\u00e9\ud83d\ude00\ud800x\u0000","k\t":"\/"}`, body: "a\n\"é😀\uFFFDx\x00", attrs: object{"k\t": "/"}},
		"nested":                 {in: `{"msg":"hi","o":{"a":[1,-2.5,"x",null,true,{}],"b":{}},"e":[]}`, body: "hi", attrs: object{"o": object{"a": []any{int64(1), -2.5, "x", nil, true, object{}}, "b": object{}}, "e": []any{}}},
		"null":                   {in: `{"msg":"hi","a":null}`, body: "hi", attrs: object{"a": nil}},
		"numbers":                {in: `{"a":9223372036854775807,"b":-9223372036854775808,"c":9223372036854775808,"d":1.0,"e":1e2,"f":-0}`, attrs: object{"a": int64(math.MaxInt64), "b": int64(math.MinInt64), "c": 9223372036854775808.0, "d": 1.0, "e": 100.0, "f": int64(0)}},
		"the last of equal keys": {in: `{"a":1,"msg":"x","a":2,"o":{"k":1,"j":{"q":1,"q":2},"k":3},"msg":"hi","a":"3"}`, body: "hi", attrs: object{"a": "3", "o": object{"k": int64(3), "j": object{"q": int64(2)}}}},
		"equal keys by escape":   {in: `{"a":1,"\u0061":2}`, attrs: object{"a": int64(2)}},
		"the stream's own wins":  {in: `{"log.iostream":"stderr","msg":"hi"}`, body: "hi"},
		"long values":            {in: `{"msg":"hi","o":{"k":["` + strings.Repeat("x", 300) + `"]},"p":1}`, body: "hi", attrs: object{"o": object{"k": []any{strings.Repeat("x", 300)}}, "p": int64(1)}},
		"white space":            {in: "{ \"msg\" :\t\"hi\" , \"a\" : [ 1 , 2 ] } ", body: "hi", attrs: object{"a": []any{int64(1), int64(2)}}},
		"empty object":           {in: `{}`},
		"16 deep":                {in: strings.Repeat(`{"a":`, 15) + `{}` + strings.Repeat(`}`, 15), attrs: object{"a": deep(14)}},
		"128 keys":               {in: keys(128), attrs: keysOf(128)},

		"17 deep":          {in: strings.Repeat(`{"a":`, 16) + `{}` + strings.Repeat(`}`, 16), not: true},
		"129 keys":         {in: keys(129), not: true},
		"too much":         {in: `{"a":[` + strings.Repeat("-1,", 1000) + `-1]}`, not: true},
		"cut":              {in: `{"msg":"hi`, not: true},
		"text behind":      {in: `{"msg":"hi"} x`, not: true},
		"two objects":      {in: `{"a":1}{"a":1}`, not: true},
		"trailing comma":   {in: `{"a":1,}`, not: true},
		"array":            {in: `["a"]`, not: true},
		"leading zero":     {in: `{"a":01}`, not: true},
		"no fraction":      {in: `{"a":1.}`, not: true},
		"no exponent":      {in: `{"a":1e}`, not: true},
		"out of range":     {in: `{"a":1e999}`, not: true},
		"plus":             {in: `{"a":+1}`, not: true},
		"bad escape":       {in: `{"a":"\x"}`, not: true},
		"bad hex":          {in: `{"a":"\u00g0"}`, not: true},
		"control in text":  {in: "{\"a\":\"\x01\"}", not: true},
		"bad word":         {in: `{"a":nul}`, not: true},
		"word and more":    {in: `{"a":nullx}`, not: true},
		"key is no string": {in: `{a:1}`, not: true},
		"plain":            {in: `hello`, not: true},
		"brace":            {in: `{`, not: true},
		"template":         {in: `{} placeholders`, not: true},
		"empty":            {in: ``, not: true},
	} {
		t.Run(name, func(t *testing.T) {
			var p bodyParser
			for _, mode := range []bodyMode{bodyJSON, bodyAuto} {
				rec := otlp.LogRecord{Observed: 1, Body: []byte(tc.in), Attrs: stdoutAttrs}
				if got := p.parse(&rec, mode, false); got == tc.not {
					t.Fatalf("parse = %v", got)
				}
				if tc.not {
					if want := (otlp.LogRecord{Observed: 1, Body: []byte(tc.in), Attrs: stdoutAttrs}); !reflect.DeepEqual(rec, want) {
						t.Fatalf("it does not parse, but is changed: %+v", rec)
					}
					continue
				}
				got := official(t, &rec)
				attrs := maps.Clone(tc.attrs)
				if attrs == nil {
					attrs = object{}
				}
				attrs["log.iostream"] = "stdout"
				if m := plainMap(t, got.Attributes); !reflect.DeepEqual(m, attrs) {
					t.Errorf("attributes\n got %#v\nwant %#v", m, attrs)
				}
				body := tc.body
				switch body {
				case "":
					body = tc.in
				case "-":
					body = ""
				}
				if got.Body.GetStringValue() != body {
					t.Errorf("body = %q, want %q", got.Body.GetStringValue(), body)
				}
				if int(got.SeverityNumber) != tc.severity || got.SeverityText != tc.text {
					t.Errorf("severity = %d %q, want %d %q", got.SeverityNumber, got.SeverityText, tc.severity, tc.text)
				}
				if hex.EncodeToString(got.TraceId) != tc.trace || hex.EncodeToString(got.SpanId) != tc.span || got.Flags != tc.flags {
					t.Errorf("trace = %x %x %d, want %s %s %d", got.TraceId, got.SpanId, got.Flags, tc.trace, tc.span, tc.flags)
				}

				rec = otlp.LogRecord{Observed: 1, Body: []byte(tc.in), Attrs: stdoutAttrs}
				if !p.parse(&rec, mode, true) {
					t.Fatal("not with structured")
				}
				got = official(t, &rec)
				if m := plainMap(t, got.Attributes); !reflect.DeepEqual(m, object{"log.iostream": "stdout"}) {
					t.Errorf("attributes with structured: %v", m)
				}
				if whole := decoded(t, tc.in); !reflect.DeepEqual(plainValue(t, got.Body), whole) {
					t.Errorf("structured\n got %#v\nwant %#v", plainValue(t, got.Body), whole)
				}
				if int(got.SeverityNumber) != tc.severity || hex.EncodeToString(got.TraceId) != tc.trace {
					t.Errorf("structured: severity %d, trace %x", got.SeverityNumber, got.TraceId)
				}
			}
		})
	}
}

func deep(n int) any {
	if n == 0 {
		return object{}
	}
	return object{"a": deep(n - 1)}
}

func keys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"k%d":%d`, i, i)
	}
	return "{" + b.String()[1:] + "}"
}

func keysOf(n int) object {
	m := object{}
	for i := range n {
		m[fmt.Sprintf("k%d", i)] = int64(i)
	}
	return m
}

// decoded is what encoding/json makes of text, numbers as the body parser's.
func decoded(t testing.TB, text string) any {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return numbers(t, v)
}

func numbers(t testing.TB, v any) any {
	switch v := v.(type) {
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return i
		}
		f, err := v.Float64()
		if err != nil {
			t.Fatal(err)
		}
		return f
	case []any:
		for i := range v {
			v[i] = numbers(t, v[i])
		}
	case object:
		for k := range v {
			v[k] = numbers(t, v[k])
		}
	}
	return v
}

func TestBodyKlog(t *testing.T) {
	const header = "I1122 15:04:05.123456   12345 file.go:123] "
	for name, tc := range map[string]struct {
		in       string
		body     string
		severity int
		attrs    object
		noTime   bool
	}{
		"info":                 {in: header + "hello", body: "hello", severity: 9},
		"structured":           {in: header + `"Pod updated" pod="a/b"`, body: `"Pod updated" pod="a/b"`, severity: 9},
		"warning":              {in: "W" + header[1:] + "hello", body: "hello", severity: 13},
		"error":                {in: "E" + header[1:] + "hello", body: "hello", severity: 17},
		"fatal":                {in: "F" + header[1:] + "hello\nstack", body: "hello\nstack", severity: 21},
		"one digit id":         {in: "I1122 15:04:05.123456       1 a.go:9] x", body: "x", severity: 9, attrs: object{"code.file.path": "a.go", "code.line.number": int64(9), "thread.id": int64(1)}},
		"empty":                {in: strings.TrimSuffix(header, " "), severity: 9},
		"the line has no time": {in: header + "hello", body: header + "hello", severity: 9, noTime: true},

		"plain":      {in: "Information is this, which is long enough to look at"},
		"no bracket": {in: "I1122 15:04:05.123456   12345 file.go:123 hello there"},
		"no line":    {in: "I1122 15:04:05.123456   12345 file.go] hello there"},
		"letters":    {in: "I11x2 15:04:05.123456   12345 file.go:123] hello"},
		"debug":      {in: "D" + header[1:] + "hello"},
		"short":      {in: "I1122 15:04"},
	} {
		t.Run(name, func(t *testing.T) {
			var p bodyParser
			for _, mode := range []bodyMode{bodyKlog, bodyAuto} {
				rec := otlp.LogRecord{Observed: 1, Body: []byte(tc.in), Attrs: stdoutAttrs}
				if !tc.noTime {
					rec.Time = 5
				}
				before := rec
				if p.parse(&rec, mode, false) != (tc.severity != 0) {
					t.Fatalf("parsed = %v", tc.severity == 0)
				}
				if tc.severity == 0 {
					if !reflect.DeepEqual(rec, before) {
						t.Errorf("changed to %+v", rec)
					}
					continue
				}
				got := official(t, &rec)
				attrs := maps.Clone(tc.attrs)
				if attrs == nil {
					attrs = object{"code.file.path": "file.go", "code.line.number": int64(123), "thread.id": int64(12345)}
				}
				attrs["log.iostream"] = "stdout"
				if m := plainMap(t, got.Attributes); !reflect.DeepEqual(m, attrs) {
					t.Errorf("attributes = %v, want %v", m, attrs)
				}
				if got.Body.GetStringValue() != tc.body || int(got.SeverityNumber) != tc.severity || got.SeverityText != tc.in[:1] {
					t.Errorf("got %q, severity %d %q", got.Body.GetStringValue(), got.SeverityNumber, got.SeverityText)
				}
			}
		})
	}
}

func TestBodySeverityOfLogfmt(t *testing.T) {
	for in, want := range map[string]int{
		`level=info msg="x"`: 9,
		`ts=2026-01-02T03:04:05Z caller=a.go:1 level=error msg=x`: 17,
		`time="2026-01-02T03:04:05Z" level=warning msg="x"`:       13,
		`time="a b" lvl="debug"`:                                  5,
		`level=none msg=x`:                                        0,
		`msg="a level=error b"`:                                   0,
		`a=1 b=2 c=3 d=4 level=error`:                             0,
		`msg=x level`:                                             0,
		`level=`:                                                  0,
		`level="info`:                                             0,
		`the level=info`:                                          0,
		`= level=info`:                                            0,
		`info`:                                                    0,
	} {
		var p bodyParser
		rec := otlp.LogRecord{Body: []byte(in), Attrs: stdoutAttrs}
		if p.parse(&rec, bodyAuto, false) != (want != 0) || rec.Severity != want || string(rec.Body) != in || !bytes.Equal(rec.Attrs, stdoutAttrs) {
			t.Errorf("%s: got %+v, want severity %d", in, rec, want)
		}
		for _, mode := range []bodyMode{bodyOff, bodyJSON, bodyKlog} {
			if p.parse(&otlp.LogRecord{Body: []byte(in)}, mode, false) {
				t.Errorf("%s: parsed in mode %d", in, mode)
			}
		}
	}
}

// TestBodySeverityWords: appendix B of the logs data model, in any spelling.
func TestBodySeverityWords(t *testing.T) {
	for word, want := range map[string]int{
		"TRACE": 1, "FINEST": 1, "Debug": 5, "Verbose": 5, "FINER": 5, "FINE": 6, "CONFIG": 7,
		"info": 9, "Informational": 9, "INFORMATION": 9, "notice": 10, "WARN": 13, "Warning": 13,
		"ERROR": 17, "err": 17, "SEVERE": 17, "CRITICAL": 18, "crit": 18, "dpanic": 18, "Alert": 19, "panic": 19,
		"FATAL": 21, "Emergency": 21, "emerg": 21, "ERROR+4": 21, "ERROR+24": 24, "INFO-20": 1,
		"": 0, "DEFAULT": 0, "+2": 0, "INFO+": 0, "INFO+x": 0, "INFO+99999999999999999999": 0, "none": 0, strings.Repeat("x", 99): 0,
	} {
		if got := severityOf([]byte(word), true); got != want {
			t.Errorf("severityOf(%q) = %d, want %d", word, got, want)
		}
	}
	for number, want := range map[string]int{"10": 1, "20": 5, "30": 9, "40": 13, "50": 17, "60": 21, "0": 0, "7": 0, "35": 0, "70": 0, "300": 0, "-10": 0} {
		if got := severityOf([]byte(number), false); got != want {
			t.Errorf("severityOf(%s) = %d, want %d", number, got, want)
		}
	}
}

func TestParseBodyMode(t *testing.T) {
	for name, want := range map[string]bodyMode{"off": bodyOff, "auto": bodyAuto, "json": bodyJSON, "klog": bodyKlog} {
		if got, err := parseBodyMode(name); got != want || err != nil {
			t.Errorf("parseBodyMode(%q) = %d, %v", name, got, err)
		}
	}
	if _, err := parseBodyMode("xml"); err == nil {
		t.Error("xml is a mode")
	}
}

// FuzzBody: the result is OTLP that decodes, with unique keys, within its bound. What
// encoding/json refuses stays as it was; what is taken has the values that encoding/json sees.
func FuzzBody(f *testing.F) {
	for _, s := range []string{
		`{"level":"info","ts":1.5,"msg":"a\ud83d\ude00\n","o":{"a":[1,null,true]},"a":1,"a":2}`, `{"log.iostream":"x","message":"m"}`,
		`{"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","msg":""}`, `{"trace_id":"0af7651916cd43dd8448eb211c80319c","span_id":"b7ad6b7169203331","trace_flags":1}`,
		`{"a":-1e-5,"b":[[[]]],"c":{"d":{}},"\u0061":"\ud800"}`, "I1122 15:04:05.123456   12345 file.go:123] msg", `ts=1 level=info msg="x"`, `{"level":30}`, `{"a":[-1,-1,-1,-1]}`,
	} {
		f.Add([]byte(s), uint8(1))
	}
	f.Fuzz(func(t *testing.T, body []byte, mode uint8) {
		if !utf8.Valid(body) {
			body = otlp.AppendValidUTF8(nil, body)
		}
		before := otlp.LogRecord{Time: 1, Observed: 2, Body: slices.Clone(body), Attrs: stdoutAttrs}
		var p bodyParser
		for range 2 { // again with the memory of the first time
			for _, structured := range []bool{false, true} {
				rec := before
				parsed := p.parse(&rec, bodyMode(mode%4), structured)
				if !bytes.Equal(before.Body, body) {
					t.Fatal("parse wrote to the body")
				}
				if !parsed {
					if !reflect.DeepEqual(rec, before) {
						t.Fatalf("not parsed, but changed: %+v", rec)
					}
					continue
				}
				got := official(t, &rec)
				attrs := plainMap(t, got.Attributes)
				if attrs["log.iostream"] != "stdout" {
					t.Fatalf("log.iostream = %v", attrs["log.iostream"])
				}
				if len(rec.Attrs)+len(rec.BodyValue) > bodyRoom(len(body))+2*len(stdoutAttrs) {
					t.Fatalf("%d bytes became %d of attributes and %d of body", len(body), len(rec.Attrs), len(rec.BodyValue))
				}
				if i := bytes.IndexFunc(body, func(r rune) bool { return !strings.ContainsRune(" \t\r\n", r) }); i < 0 || body[i] != '{' {
					continue // klog, logfmt
				}
				var v object
				if err := json.Unmarshal(body, &v); err != nil {
					t.Fatalf("%q was taken, but %v", body, err)
				}
				want := decoded(t, string(body)).(object)
				if structured {
					if m := plainValue(t, got.Body); !reflect.DeepEqual(m, any(want)) {
						t.Fatalf("%q:\n got %#v\nwant %#v", body, m, want)
					}
					continue
				}
				delete(attrs, "log.iostream")
				for k, v := range attrs {
					if !reflect.DeepEqual(v, want[k]) {
						t.Fatalf("%q: attribute %q is %#v, want %#v", body, k, v, want[k])
					}
				}
				// What is no attribute went into the record.
				for k := range want {
					if r, _ := roleOf([]byte(k)); r == noRole && k != "log.iostream" {
						if _, ok := attrs[k]; !ok {
							t.Fatalf("%q: %q is lost", body, k)
						}
					}
				}
			}
		}
	})
}

const (
	jsonLine = `{"level":"info","ts":"2026-01-02T03:04:05.678Z","caller":"controller/handler.go:123","msg":"request served","method":"GET","path":"/api/v1/namespaces/default/pods","status":200,"duration":0.0123,"bytes":45678,"user":{"id":"u-12345","admin":false},"trace_id":"0af7651916cd43dd8448eb211c80319c","span_id":"b7ad6b7169203331"}`
	klogLine = `I1122 15:04:05.123456   12345 controller.go:123] "Reconciled object" kind="Deployment" name="default/web" duration="12.3ms"`
	logfmt   = `time="2026-01-02T03:04:05Z" level=info msg="request served" path=/api/v1/namespaces/default/pods status=200`
)

func TestBodyDoesNotAllocate(t *testing.T) {
	var p bodyParser
	escaped := []byte(`{"msg":"a\nb","k\t":"\u00e9","list":[1,2,{"a":"b\\"}],"a":1,"a":2,"big":12345678901234567890,"f":1e-7,"lvl":"INFO+2"}`)
	for _, body := range [][]byte{[]byte(jsonLine), escaped, []byte(klogLine), []byte(logfmt), []byte("plain text")} {
		for _, structured := range []bool{false, true} {
			rec := otlp.LogRecord{Time: 1}
			if n := testing.AllocsPerRun(100, func() {
				rec = otlp.LogRecord{Time: 1, Body: body, Attrs: stdoutAttrs}
				p.parse(&rec, bodyAuto, structured)
			}); n != 0 {
				t.Errorf("%s allocates %v times", body, n)
			}
		}
	}
}

func BenchmarkBody(b *testing.B) {
	for name, tc := range map[string]struct {
		body       string
		structured bool
	}{
		fmt.Sprintf("json=%dB", len(jsonLine)):            {body: jsonLine},
		fmt.Sprintf("json=%dB/structured", len(jsonLine)): {body: jsonLine, structured: true},
		"klog":     {body: klogLine},
		"logfmt":   {body: logfmt},
		"plain":    {body: "2026-01-02 03:04:05 INFO served GET /api/v1/namespaces/default/pods in 12 ms for 10.0.0.1"},
		"128 keys": {body: keys(128)},
	} {
		b.Run(name, func(b *testing.B) {
			var p bodyParser
			body := []byte(tc.body)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				rec := otlp.LogRecord{Time: 1, Body: body, Attrs: stdoutAttrs}
				p.parse(&rec, bodyAuto, tc.structured)
			}
		})
	}
}
