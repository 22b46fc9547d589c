package elastic

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
)

// indexOf is the index in an action line, and the action.
func indexOf(t testing.TB, line string) (index, action, id string) {
	t.Helper()
	var a map[string]struct {
		Index string `json:"_index"`
		ID    string `json:"_id"`
	}
	if err := json.Unmarshal([]byte(line), &a); err != nil || len(a) != 1 {
		t.Fatalf("%q: %v", line, err)
	}
	for k, v := range a {
		index, action, id = v.Index, k, v.ID
	}
	return index, action, id
}

func TestIndexNames(t *testing.T) {
	long, umlauts := strings.Repeat("x", 150), strings.Repeat("ü", 150)
	for name, tc := range map[string]struct {
		f                       Format
		resource, scope, record kvs
		want                    string
	}{
		"a data stream":                     {Format{Mapping: ECS}, nil, nil, nil, "logs-generic-default"},
		"of otel":                           {Format{Mapping: OTel}, nil, nil, nil, "logs-generic.otel-default"},
		"of the resource":                   {Format{Mapping: ECS}, kvs{attrDataset, "r", attrNamespace, "rn"}, nil, nil, "logs-r-rn"},
		"the scope before the resource":     {Format{Mapping: ECS}, kvs{attrDataset, "r", attrNamespace, "rn"}, kvs{attrDataset, "s"}, nil, "logs-s-rn"},
		"the record before both":            {Format{Mapping: OTel}, kvs{attrDataset, "r"}, kvs{attrDataset, "s"}, kvs{attrDataset, "rec", attrNamespace, "n"}, "logs-rec.otel-n"},
		"what must not be in a name":        {Format{Mapping: ECS}, nil, nil, kvs{attrDataset, `A\/*?"<>| ,#:-B`, attrNamespace, `A\/*?"<>| ,#:-B`}, "logs-a_____________b-a____________-b"},
		"neither upper case":                {Format{Mapping: ECS}, nil, nil, kvs{attrDataset, "ÄÖ", attrNamespace, "Prod"}, "logs-äö-prod"},
		"nor control characters":            {Format{Mapping: ECS}, nil, nil, kvs{attrDataset, "a\n\x7fb"}, "logs-a__b-default"},
		"no text":                           {Format{Mapping: ECS}, nil, nil, kvs{attrDataset, 5, attrNamespace, ""}, "logs-generic-default"},
		"100 bytes a part":                  {Format{Mapping: ECS}, nil, nil, kvs{attrDataset, long, attrNamespace, long}, "logs-" + long[:100] + "-" + long[:100]},
		"with the suffix":                   {Format{Mapping: OTel}, nil, nil, kvs{attrDataset, long}, "logs-" + long[:95] + ".otel-default"},
		"cut before a rune":                 {Format{Mapping: OTel}, nil, nil, kvs{attrDataset, umlauts, attrNamespace, "x" + umlauts}, "logs-" + umlauts[:94] + ".otel-x" + umlauts[:98]},
		"a suffix that is there":            {Format{Mapping: OTel}, nil, nil, kvs{attrDataset, "a.otel"}, "logs-a.otel-default"},
		"an index":                          {Format{Mapping: OTel, Index: "otel"}, kvs{attrDataset, "r", attrPrefix, "p-"}, nil, nil, "otel"},
		"with prefix and suffix":            {Format{Mapping: OTel, Index: "otel", Dynamic: true}, kvs{attrPrefix, "P-", attrSuffix, "-s"}, nil, nil, "p-otel-s"},
		"of the resource before the scope":  {Format{Mapping: OTel, Index: "otel", Dynamic: true}, kvs{attrPrefix, "r-"}, kvs{attrPrefix, "s-", attrSuffix, "-s"}, kvs{attrPrefix, "x", attrSuffix, "x"}, "r-otel-s"},
		"of the record":                     {Format{Mapping: OTel, Index: "otel", Dynamic: true}, nil, nil, kvs{attrPrefix, "otel-k8sobject-", attrSuffix, 5}, "otel-k8sobject-otel"},
		"a prefix that must not begin it":   {Format{Mapping: OTel, Index: "otel", Dynamic: true}, kvs{attrPrefix, "-_+a/"}, nil, nil, "a_otel"},
		"the longest":                       {Format{Mapping: OTel, Index: strings.Repeat("i", 40), Dynamic: true, Separator: "-", Date: "%Y.%m.%d"}, kvs{attrPrefix, long, attrSuffix, long}, nil, nil, long[:100] + strings.Repeat("i", 40) + long[:100] + "-2025.11.27"},
		"a day":                             {Format{Mapping: OTel, Index: "logstash", Separator: "-", Date: "%Y.%m.%d"}, nil, nil, nil, "logstash-2025.11.27"},
		"the day of the request":            {Format{Mapping: OTel, Index: "logstash", Separator: "-", Date: "%Y.%m.%d", ByExport: true}, nil, nil, nil, "logstash-2025.11.28"},
		"an hour":                           {Format{Mapping: OTel, Index: "l", Separator: "", Date: "%y%j_%H"}, nil, nil, nil, "l25331_00"},
		"a week":                            {Format{Mapping: OTel, Index: "l", Separator: ".", Date: "%G.w%V"}, nil, nil, nil, "l.2025.w48"},
		"prefix, day and suffix":            {Format{Mapping: OTel, Index: "otel", Dynamic: true, Separator: "-", Date: "%Y.%m"}, kvs{attrPrefix, "p-"}, nil, nil, "p-otel-2025.11"},
		"an index is no data stream":        {Format{Mapping: ECS, Index: "logs-x-y"}, nil, nil, kvs{attrDataset, "rec"}, "logs-x-y"},
		"data streams take no index prefix": {Format{Mapping: ECS}, kvs{attrPrefix, "p-"}, nil, nil, "logs-generic-default"},
	} {
		t.Run(name, func(t *testing.T) {
			lines, _ := encode(t, tc.f, records(tc.resource, tc.scope, &logspb.LogRecord{TimeUnixNano: t0, Attributes: tc.record.pairs()}))
			got, action, id := indexOf(t, lines[0])
			if got != tc.want || id != "" {
				t.Errorf("%q %q, want %q", got, id, tc.want)
			}
			if want := map[bool]string{true: "create", false: "index"}[tc.f.DataStreams()]; action != want {
				t.Errorf("action %s, want %s", action, want)
			}
			if err := CheckIndex(got); err != nil || !utf8.ValidString(got) {
				t.Errorf("%q: %v", got, err)
			}
		})
	}
}

// Each record has its own name, whatever those before it had.
func TestIndexOfEachRecord(t *testing.T) {
	day := uint64(24 * time.Hour)
	f := Format{Mapping: ECS}
	rec := func(attrs kvs) *logspb.LogRecord {
		return &logspb.LogRecord{TimeUnixNano: t0, Attributes: attrs.pairs()}
	}
	lines, _ := encode(t, f,
		records(kvs{attrDataset, "one"}, nil, rec(nil), rec(kvs{attrDataset, "own"}), rec(nil), rec(kvs{attrNamespace, "n"}), rec(nil)),
		records(nil, nil, rec(nil), rec(kvs{attrDataset, "own"})),
		records(kvs{attrDataset, "two"}, nil, rec(nil)))
	for i, want := range []string{"one-default", "own-default", "one-default", "one-n", "one-default", "generic-default", "own-default", "two-default"} {
		if got, _, _ := indexOf(t, lines[2*i]); got != "logs-"+want {
			t.Errorf("record %d: %q, want %q", i, got, want)
		}
	}

	// A replayed record lands in its own day.
	lines, _ = encode(t, Format{Mapping: OTel, Index: "l", Separator: "-", Date: "%Y.%m.%d"}, records(nil, nil,
		&logspb.LogRecord{TimeUnixNano: t0}, &logspb.LogRecord{TimeUnixNano: t0 - 1}, &logspb.LogRecord{TimeUnixNano: t0 - 200*day}, &logspb.LogRecord{ObservedTimeUnixNano: t0 - day}, &logspb.LogRecord{}))
	for i, want := range []string{"l-2025.11.27", "l-2025.11.27", "l-2025.05.11", "l-2025.11.26", "l-2025.11.28"} {
		if got, _, _ := indexOf(t, lines[2*i]); got != want {
			t.Errorf("record %d: %q, want %q", i, got, want)
		}
	}
}

func TestDocumentIDs(t *testing.T) {
	event := func(change func(*logspb.LogRecord)) *logspb.LogRecord {
		r := &logspb.LogRecord{TimeUnixNano: t0, ObservedTimeUnixNano: t0, Body: anyOf("Back-off"), Attributes: kvs{"k8s.event.uid", "u-1", "k8s.event.count", 1}.pairs()}
		change(r)
		return r
	}
	id := func(f Format, r *logspb.LogRecord) string {
		lines, _ := encode(t, f, records(nil, nil, r))
		_, action, id := indexOf(t, lines[0])
		if id != "" && (action != "create" || len(id) != 22) {
			t.Errorf("%s", lines[0])
		}
		return id
	}
	auto := Format{Mapping: OTel, Index: "events", IDs: true}
	first := id(auto, event(func(*logspb.LogRecord) {}))
	if first == "" {
		t.Fatal("no id")
	}
	for name, tc := range map[string]struct {
		f    Format
		r    *logspb.LogRecord
		same bool
	}{
		"again":               {auto, event(func(*logspb.LogRecord) {}), true},
		"observed later":      {auto, event(func(r *logspb.LogRecord) { r.ObservedTimeUnixNano = t0 + 5 }), true},
		"in another shape":    {Format{Mapping: ECS, Index: "events", IDs: true}, event(func(*logspb.LogRecord) {}), true},
		"another count":       {auto, event(func(r *logspb.LogRecord) { r.Attributes[1] = kvs{"k8s.event.count", 2}.pairs()[0] }), false},
		"another time":        {auto, event(func(r *logspb.LogRecord) { r.TimeUnixNano++ }), false},
		"another index":       {Format{Mapping: OTel, Index: "other", IDs: true}, event(func(*logspb.LogRecord) {}), false},
		"observed only":       {auto, event(func(r *logspb.LogRecord) { r.TimeUnixNano = 0 }), false},
		"observed only later": {auto, event(func(r *logspb.LogRecord) { r.TimeUnixNano, r.ObservedTimeUnixNano = 0, t0+5 }), false},
	} {
		if got := id(tc.f, tc.r); (got == first) != tc.same || got == "" {
			t.Errorf("%s: %s, the first was %s", name, got, first)
		}
	}
	for name, tc := range map[string]struct {
		f     Format
		attrs kvs
		want  bool
	}{
		"an object":          {auto, kvs{"k8s.object.uid", "u", "k8s.object.resource_version", "7"}, true},
		"without a version":  {auto, kvs{"k8s.object.uid", "u"}, false},
		"an ordinary record": {auto, kvs{"log.iostream", "stdout"}, false},
		"none":               {Format{Mapping: OTel, Index: "events"}, kvs{"k8s.event.uid", "u"}, false},
	} {
		if got := id(tc.f, &logspb.LogRecord{TimeUnixNano: t0, Attributes: tc.attrs.pairs()}); (got != "") != tc.want {
			t.Errorf("%s: id %q", name, got)
		}
	}
	// What follows a record with an id has none of it.
	lines, _ := encode(t, auto, records(nil, nil, event(func(*logspb.LogRecord) {}), &logspb.LogRecord{TimeUnixNano: t0}))
	if _, action, id := indexOf(t, lines[2]); action != "index" || id != "" {
		t.Errorf("%s", lines[2])
	}
}

func TestCheckNames(t *testing.T) {
	for name, want := range map[string]string{
		"logs": "", "logs-1.a_b": "", ".hidden": "", "größe": "",
		"": "no name", "..": "no name", "-a": "begins", "_a": "begins", "+a": "begins", "a b": "holds", "a/b": "holds", "a:b": "holds", "A": "lower case",
		strings.Repeat("a", 255): "", strings.Repeat("a", 256): "256 bytes", "a\xff": "lower case",
	} {
		if err := CheckIndex(name); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("CheckIndex(%q) = %v, want %q", name, err, want)
		}
	}
	for format, want := range map[string]string{
		"%Y.%m.%d": "", "%G.%V": "", "%y%j-%H": "", "": "", "x": "",
		"%": "single", "%Y%": "single", "%M": "%M", "%Y %m": "gives no name", "%%": "%%", "%-d": "%-", "%Y/%m": "gives no name",
	} {
		if err := CheckDate(format); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("CheckDate(%q) = %v, want %q", format, err, want)
		}
	}
}

// Times are those of the standard library.
func TestClock(t *testing.T) {
	var c clock
	for _, ns := range []uint64{0, 1, 999999999, 1e9, t0, t0 + 1, t0 + 1e9 - 123456789, 1<<63 - 1, t0} {
		want := time.Unix(0, int64(ns)).UTC().Format(`"2006-01-02T15:04:05.000000000Z"`)
		if got := string(c.append(nil, ns)); got != want {
			t.Errorf("%d: %s, want %s", ns, got, want)
		}
	}
}
