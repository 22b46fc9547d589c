package journal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"stint/export/otlp"
)

// pair is a field as a test writes it.
type pair struct{ name, value string }

// appendEntry writes an entry as journalctl does: a value with a control character or bytes that
// are not UTF-8 goes with its size.
func appendEntry(dst []byte, fields ...pair) []byte {
	for _, f := range fields {
		text := utf8.ValidString(f.value) && !strings.ContainsFunc(f.value, func(r rune) bool { return r < ' ' && r != '\t' })
		dst = append(dst, f.name...)
		if text {
			dst = append(dst, '=')
		} else {
			dst = binary.LittleEndian.AppendUint64(append(dst, '\n'), uint64(len(f.value)))
		}
		dst = append(append(dst, f.value...), '\n')
	}
	return append(dst, '\n')
}

func testOptions() Options {
	return Options{Config: Defaults(), Version: "test", MaxLineBytes: 1 << 20, Resource: []otlp.KeyValue{otlp.Attr("host.name", "h")}}
}

func newTestParser(limit int) *parser {
	return newParser(newEncoder(testOptions(), nil).fields(), limit)
}

// parseAll feeds data in pieces of the size and returns the fields of each entry, by name.
func parseAll(p *parser, data []byte, piece int) (entries []map[string]string) {
	for chunk := range slices.Chunk(data, max(piece, 1)) {
		for {
			rest, ok := p.next(chunk)
			if !ok {
				break
			}
			chunk = rest
			m := map[string]string{}
			for i, t := range withFields(nil) {
				if v := p.entry.get(i); v != nil {
					m[t.field] = string(v)
				}
			}
			entries = append(entries, m)
		}
	}
	return entries
}

func TestParser(t *testing.T) {
	good := string(appendEntry(nil, pair{"__CURSOR", "c"}, pair{"__REALTIME_TIMESTAMP", "1"}, pair{"MESSAGE", "m"}))
	one := map[string]string{"__CURSOR": "c", "__REALTIME_TIMESTAMP": "1", "MESSAGE": "m"}
	with := func(k, v string) map[string]string {
		m := map[string]string{"__CURSOR": "c", "__REALTIME_TIMESTAMP": "1", "MESSAGE": "m"}
		m[k] = v
		return m
	}
	size := func(n uint64) string { return string(binary.LittleEndian.AppendUint64(nil, n)) }
	for name, tc := range map[string]struct {
		in   string
		want []map[string]string
		bad  int64
	}{
		"nothing":                           {in: ""},
		"blank lines":                       {in: "\n\n\n" + good + "\n\n" + good, want: []map[string]string{one, one}},
		"torn at the end":                   {in: good + "__CURSOR=d\n__REALTIME_TIMESTAMP=2\nMESSAGE=x", want: []map[string]string{one}},
		"no blank line yet":                 {in: good + "__CURSOR=d\n__REALTIME_TIMESTAMP=2\nMESSAGE=x\n", want: []map[string]string{one}},
		"no cursor":                         {in: "MESSAGE=a\n\n" + good, want: []map[string]string{one}, bad: 1},
		"text before":                       {in: "-- Logs begin at\n\n" + good, want: []map[string]string{one}, bad: 1},
		"bad name within":                   {in: "__CURSOR=c\n__REALTIME_TIMESTAMP=1\nlower=1\nMESSAGE=a\n\n" + good, want: []map[string]string{one}, bad: 1},
		"no name":                           {in: "=a\n\n" + good, want: []map[string]string{one}, bad: 1},
		"name without end":                  {in: strings.Repeat("A", maxName+1) + "=1\n\n" + good, want: []map[string]string{one}, bad: 1},
		"torn name":                         {in: "MESS\n\n" + good, want: []map[string]string{one}, bad: 1},
		"size out of reason":                {in: "MESSAGE\n" + size(1<<40) + "x\n\n" + good, want: []map[string]string{one}, bad: 1},
		"data longer than its size":         {in: "MESSAGE\n" + size(1) + "xyz\n\n" + good, want: []map[string]string{one}, bad: 1},
		"empty binary":                      {in: "MESSAGE\n" + size(0) + "\n" + good, want: []map[string]string{with("MESSAGE", "")}},
		"an empty line in a message":        {in: "PRIORITY\n" + size(4) + "a\n\nb\n" + good, want: []map[string]string{with("PRIORITY", "a\n\nb")}},
		"= in a value":                      {in: "PRIORITY=a=b\n" + good, want: []map[string]string{with("PRIORITY", "a=b")}},
		"the first of two values":           {in: "MESSAGE=m\n" + "MESSAGE=n\n" + good, want: []map[string]string{one}},
		"a field that nobody knows":         {in: "X_Y=1\nZ\n" + size(2) + "\n\n\n" + good, want: []map[string]string{one}},
		"a field over 64 KiB":               {in: "_EXE=" + strings.Repeat("x", maxField+1) + "\n" + good, want: []map[string]string{one}},
		"a field of 64 KiB":                 {in: "_EXE=" + strings.Repeat("x", maxField) + "\n" + good, want: []map[string]string{with("_EXE", strings.Repeat("x", maxField))}},
		"many fields over 128 KiB together": {in: "_EXE=" + strings.Repeat("x", maxField) + "\n_COMM=" + strings.Repeat("x", maxField) + "\nUNIT=u\n" + good, want: nil, bad: 1},
	} {
		t.Run(name, func(t *testing.T) {
			for _, piece := range []int{1, 3, 7, 1 << 20} {
				p := newTestParser(1 << 20)
				got := parseAll(p, []byte(tc.in), piece)
				if d := cmp.Diff(tc.want, got); d != "" || p.malformed != tc.bad {
					t.Errorf("pieces of %d: malformed = %d, want %d; entries (-want +got):\n%s", piece, p.malformed, tc.bad, d)
				}
			}
		})
	}
}

// A message is cut at its limit, whatever pieces it comes in, and keeps no more memory.
func TestHugeMessage(t *testing.T) {
	in := appendEntry(nil, pair{"__CURSOR", "c"}, pair{"__REALTIME_TIMESTAMP", "1"}, pair{"MESSAGE", strings.Repeat("é", 3<<20)}, pair{"PRIORITY", "6"})
	in = appendEntry(in, pair{"__CURSOR", "d"}, pair{"__REALTIME_TIMESTAMP", "1"})
	for _, piece := range []int{4096, 1 << 30} {
		p := newTestParser(1001)
		got := parseAll(p, in, piece)
		if len(got) != 2 || len(got[0]["MESSAGE"]) != 1001 || got[0]["PRIORITY"] != "6" || got[1]["__CURSOR"] != "d" {
			t.Fatalf("pieces of %d: %d entries, message of %d bytes", piece, len(got), len(got[0]["MESSAGE"]))
		}
		if c := cap(p.entry.data); c > 2*maxField {
			t.Errorf("pieces of %d: %d bytes kept", piece, c)
		}
	}
}

// What journalctl 252 wrote of a journal with one entry of each kind.
func TestCaptured(t *testing.T) {
	data, err := os.ReadFile("testdata/journalctl-252.export")
	if err != nil {
		t.Fatal(err)
	}
	got := encodeAll(t, testOptions(), data)
	const sec = uint64(1_700_000_001_000_000_000)
	host := map[string]string{"host.name": "h"}
	res := func(kv ...string) map[string]string {
		m := map[string]string{"host.name": host["host.name"]}
		for i := 0; i < len(kv); i += 2 {
			m[kv[i]] = kv[i+1]
		}
		return m
	}
	app := res("service.name", "app", "systemd.unit", "app.service")
	letters := make([]byte, 5000)
	for i := range letters {
		letters[i] = byte('a' + i%26)
	}
	want := []record{
		{Resource: res("service.name", "sshd", "systemd.unit", "ssh.service"), Time: 1_700_000_000_999_000_000, Severity: 9, Text: "info", Body: "Accepted publickey for alice",
			Attrs: map[string]string{"process.pid": "812", "process.executable.name": "sshd", "process.executable.path": "/usr/sbin/sshd", "process.user.id": "0",
				"syslog.facility.code": "4", "syslog.pid": "812", "journald.transport": "syslog"}},
		{Resource: res("service.name", "kernel"), Time: sec + 2000, Severity: 13, Text: "warning", Body: "TCP: out of memory",
			Attrs: map[string]string{"syslog.facility.code": "0", "journald.transport": "kernel"}},
		{Resource: app, Time: sec + 3000, Severity: 17, Text: "err", Body: "Traceback:\n  line 1\n\nMESSAGE=no field\n", Attrs: map[string]string{"process.pid": "77"}},
		{Resource: app, Time: sec + 4000, Severity: 18, Text: "crit", Body: "bad \uFFFD\uFFFD bytes \x00 end", Attrs: map[string]string{}},
		{Resource: app, Time: sec + 7000, Attrs: map[string]string{}},
		{Resource: app, Time: sec + 8000, Severity: 21, Text: "emerg", Body: string(letters), Attrs: map[string]string{}},
		{Resource: res("service.name", "web", "systemd.unit", "docker.service", "container.name", "web", "container.image.name", "nginx:1.29",
			"container.id", "0123456789ab0123456789ab0123456789ab0123456789ab0123456789ab0123"), Time: sec + 5000, Severity: 9, Text: "info", Body: "GET / 200", Attrs: map[string]string{}},
		{Resource: res("service.name", "systemd", "systemd.unit", "init.scope"), Time: sec + 6000, Severity: 9, Text: "info", Body: "Started app.service.",
			Attrs: map[string]string{"journald.unit": "app.service", "journald.message_id": "39f53479d3a045ac8e11786248231fbf", "code.file.path": "src/core/job.c",
				"code.line.number": "768", "code.function.name": "job_emit_done_message", "thread.id": "1"}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("records (-want +got):\n%s", d)
	}
}

func TestRecord(t *testing.T) {
	base := []pair{{"__CURSOR", "c"}, {"__REALTIME_TIMESTAMP", "5"}}
	for name, tc := range map[string]struct {
		fields []pair
		opt    func(*Options)
		want   record
		none   bool
	}{
		"cut at a rune": {fields: []pair{{"MESSAGE", "ééé"}}, opt: func(o *Options) { o.MaxLineBytes = 3 },
			want: record{Body: "é", Attrs: map[string]string{"stint.truncated": "true"}}},
		"a field left out is said": {fields: []pair{{"MESSAGE", "m"}, {"_EXE", strings.Repeat("x", maxField+1)}},
			want: record{Body: "m", Attrs: map[string]string{"stint.truncated": "true"}}},
		"not UTF-8 in a field":         {fields: []pair{{"_COMM", "a\xffb"}}, want: record{Attrs: map[string]string{"process.executable.name": "a\uFFFDb"}}},
		"a number that is none":        {fields: []pair{{"_PID", "12x"}}, want: record{Attrs: map[string]string{"process.pid": "12x"}}},
		"a priority that is none":      {fields: []pair{{"PRIORITY", "8"}}, want: record{Attrs: map[string]string{}}},
		"debug":                        {fields: []pair{{"PRIORITY", "7"}}, want: record{Severity: 5, Text: "debug", Attrs: map[string]string{}}},
		"alert":                        {fields: []pair{{"PRIORITY", "1"}}, want: record{Severity: 19, Text: "alert", Attrs: map[string]string{}}},
		"notice":                       {fields: []pair{{"PRIORITY", "5"}}, want: record{Severity: 10, Text: "notice", Attrs: map[string]string{}}},
		"the source's time is no time": {fields: []pair{{"_SOURCE_REALTIME_TIMESTAMP", "99999999999999999"}}, want: record{Attrs: map[string]string{}}},
		"more fields": {fields: []pair{{"_CMDLINE", "a b"}, {"_BOOT_ID", "b"}, {"FOO", "1"}}, opt: func(o *Options) { o.Fields = []string{"_CMDLINE", "_BOOT_ID", "FOO", "_PID"} },
			want: record{Attrs: map[string]string{"process.command_line": "a b", "journald.boot_id": "b", "journald.foo": "1"}}},
		"an excluded unit":         {fields: []pair{{"_SYSTEMD_UNIT", "noisy.service"}}, opt: func(o *Options) { o.ExcludeUnits = []string{"noisy"} }, none: true},
		"an excluded glob":         {fields: []pair{{"_SYSTEMD_UNIT", "session-3.scope"}}, opt: func(o *Options) { o.ExcludeUnits = []string{"session-*.scope"} }, none: true},
		"an attribute of 300 byte": {fields: []pair{{"_EXE", strings.Repeat("/", 300)}}, want: record{Attrs: map[string]string{"process.executable.path": strings.Repeat("/", 300)}}},
	} {
		t.Run(name, func(t *testing.T) {
			o := testOptions()
			if tc.opt != nil {
				tc.opt(&o)
			}
			got := encodeAll(t, o, appendEntry(nil, slices.Concat(base, tc.fields)...))
			if tc.none {
				if len(got) > 0 {
					t.Errorf("got %v, want no record", got)
				}
				return
			}
			tc.want.Time, tc.want.Resource = 5000, map[string]string{"host.name": "h"}
			if d := cmp.Diff([]record{tc.want}, got); d != "" {
				t.Errorf("records (-want +got):\n%s", d)
			}
		})
	}
}

// Entries of another machine are not ours when the journal is this machine's.
func TestOtherMachine(t *testing.T) {
	c := newEncoder(testOptions(), []byte("me"))
	p := newParser(c.fields(), 100)
	for machine, want := range map[string]bool{"me": true, "you": false} {
		if _, ok := p.next(appendEntry(nil, pair{"__CURSOR", "c"}, pair{"__REALTIME_TIMESTAMP", "5"}, pair{"_MACHINE_ID", machine})); !ok {
			t.Fatal("no entry")
		}
		if got, _ := c.add(&p.entry, 1); got != want {
			t.Errorf("entry of %q became a record: %v, want %v", machine, got, want)
		}
	}
}

// However many units there are, few are remembered, and no record gets a wrong one.
func TestManyUnits(t *testing.T) {
	var in []byte
	const n = 3 * maxUnits
	for i := range n {
		in = appendEntry(in, pair{"__CURSOR", "c"}, pair{"__REALTIME_TIMESTAMP", "1"}, pair{"_SYSTEMD_UNIT", fmt.Sprint("u", i)}, pair{"MESSAGE", fmt.Sprint("m", i)})
	}
	got := encodeAll(t, testOptions(), slices.Concat(in, in))
	if len(got) != 2*n {
		t.Fatalf("%d records, want %d", len(got), 2*n)
	}
	for _, r := range got {
		if "m"+r.Resource["systemd.unit"][1:] != r.Body {
			t.Fatalf("record %q has the unit %q", r.Body, r.Resource["systemd.unit"])
		}
	}
	c := newEncoder(testOptions(), nil)
	p := newParser(c.fields(), 100)
	for {
		rest, ok := p.next(in)
		if !ok {
			break
		}
		in = rest
		c.add(&p.entry, 1)
	}
	if len(c.units) > maxUnits {
		t.Errorf("%d units remembered, want at most %d", len(c.units), maxUnits)
	}
}

func TestNoAllocations(t *testing.T) {
	data := workload(200)
	c := newEncoder(testOptions(), nil)
	p := newParser(c.fields(), 1<<20)
	turn := func() {
		for b := data; ; {
			rest, ok := p.next(b)
			if !ok {
				break
			}
			b = rest
			c.add(&p.entry, 1)
		}
		c.reset()
	}
	turn()
	if n := testing.AllocsPerRun(100, turn); n != 0 {
		t.Errorf("%v allocations for 200 warm entries, want 0", n)
	}
}

// workload is n entries as a busy machine has them, of 20 units.
func workload(n int) (b []byte) {
	for i := range n {
		b = appendEntry(b,
			pair{"__CURSOR", "s=eafc77254f354a6abb39bfdde3e9b69c;i=5;b=0123456789abcdef0123456789abcdef;m=f4245;t=60a24182d8245;x=a20ca6d9d2650c0d"},
			pair{"__REALTIME_TIMESTAMP", fmt.Sprint(1_700_000_001_000_000 + i)}, pair{"__MONOTONIC_TIMESTAMP", "1000005"}, pair{"_BOOT_ID", "0123456789abcdef0123456789abcdef"},
			pair{"_MACHINE_ID", "feedfacefeedfacefeedfacefeedface"}, pair{"PRIORITY", "6"}, pair{"SYSLOG_FACILITY", "3"}, pair{"SYSLOG_IDENTIFIER", fmt.Sprint("app", i%20)},
			pair{"_TRANSPORT", "stdout"}, pair{"_PID", "4711"}, pair{"_UID", "0"}, pair{"_COMM", "app"}, pair{"_EXE", "/usr/bin/app"},
			pair{"_SYSTEMD_UNIT", fmt.Sprint("app", i%20, ".service")},
			pair{"MESSAGE", "level=info msg=\"request served\" method=GET path=/api/v1/orders/12345 status=200 duration=12.3ms bytes=4096 remote=10.0.0.1:52312 trace=0af7651916cd43dd"})
	}
	return b
}

func BenchmarkParseAndEncode(b *testing.B) {
	data := workload(500)
	c := newEncoder(testOptions(), nil)
	p := newParser(c.fields(), 1<<20)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		for rest := data; ; {
			var ok bool
			if rest, ok = p.next(rest); !ok {
				break
			}
			c.add(&p.entry, 1)
		}
		c.reset()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/500, "ns/entry")
}

// Whatever comes, the parser does not panic and keeps its bounds; entries after it and an empty
// line come back as they were written, in any pieces.
func FuzzExport(f *testing.F) {
	captured, err := os.ReadFile("testdata/journalctl-252.export")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(captured[:700], "hello", "app.service", 5)
	f.Add([]byte("MESSAGE\n\x05\x00\x00\x00\x00\x00\x00\x00a\n\nb"), "two\n\nlines", "", 1)
	f.Add([]byte("__CURSOR=x\n__REALTIME_TIMESTAMP=1\nMESS"), "\xff\x00", "a\nb", 3)
	f.Add([]byte("MESSAGE\n\xff\xff\xff\xff\xff\xff\xff\xff"), "", "u", 100)
	f.Fuzz(func(t *testing.T, garbage []byte, message, unit string, piece int) {
		const limit = 1000
		probe := newTestParser(limit)
		before := slices.Concat(garbage, []byte("\n\n"))
		preceding := len(parseAll(probe, before, 1<<20))
		parseAll(probe, []byte("__CURSOR"), 1<<20)
		if probe.state == inSize || probe.state == inBinary || probe.state == afterBinary || probe.begun {
			return // what follows belongs to the garbage: it announced binary data
		}
		unit = unit[:min(len(unit), maxField)]
		var in []byte
		var want []map[string]string
		for _, cursor := range []string{"c1", "c2"} {
			in = appendEntry(in, pair{"__CURSOR", cursor}, pair{"__REALTIME_TIMESTAMP", "17"}, pair{"UNKNOWN", message}, pair{"MESSAGE", message}, pair{"_SYSTEMD_UNIT", unit})
			want = append(want, map[string]string{"__CURSOR": cursor, "__REALTIME_TIMESTAMP": "17", "MESSAGE": message[:min(len(message), limit)], "_SYSTEMD_UNIT": unit})
		}
		p := newTestParser(limit)
		got := parseAll(p, slices.Concat(before, in), min(max(piece, 1), 1<<20))
		if d := cmp.Diff(want, got[min(preceding, len(got)):]); d != "" {
			t.Errorf("entries after %q (-want +got):\n%s", before, d)
		}
		if n := len(p.entry.data); n > limit+maxFields {
			t.Errorf("%d bytes of an entry kept", n)
		}
		if bytes.Contains(garbage, []byte{0xff}) {
			encodeAll(t, testOptions(), garbage)
		}
	})
}
