package rawjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"

	"stint/export/otlp"
)

// slow is AppendValue by way of encoding/json and otlp.Value.
func slow(t testing.TB, src []byte, depth int) otlp.Value {
	src = bytes.TrimSpace(src)
	switch c := src[0]; {
	case (c == '{' || c == '[') && depth >= maxNested:
		return otlp.String(string(src))
	case c == '{' || c == '[':
		d := json.NewDecoder(bytes.NewReader(src))
		d.Token()
		var kvs []otlp.KeyValue
		var list []otlp.Value
		for d.More() {
			var key json.Token
			if c == '{' {
				key, _ = d.Token()
			}
			var raw json.RawMessage
			if err := d.Decode(&raw); err != nil {
				t.Fatalf("%q: %v", src, err)
			}
			v := slow(t, raw, depth+1)
			list = append(list, v)
			if c == '{' {
				kvs = append(kvs, otlp.KeyValue{Key: key.(string), Value: v})
			}
		}
		if c == '{' {
			return otlp.Map(kvs...)
		}
		return otlp.Array(list...)
	case c == '"':
		var s string
		json.Unmarshal(src, &s)
		return otlp.String(s)
	case c == 't' || c == 'f':
		return otlp.Bool(c == 't')
	case c == 'n':
		return otlp.Value{}
	}
	if i, err := strconv.ParseInt(string(src), 10, 64); err == nil {
		return otlp.Int(i)
	}
	if f, err := strconv.ParseFloat(string(src), 64); err == nil {
		return otlp.Double(f)
	}
	return otlp.String(string(src))
}

func capture(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func FuzzAppendValue(f *testing.F) {
	for _, s := range []string{
		`{}`, `[]`, ` null `, `true`, `false`, `-0`, `1.50`, `1e999`, `9223372036854775807`, `9223372036854775808`, `-9223372036854775808`,
		`"a\u00e9\ud83d\ude00\ud800x\udc00\ud800\u0041\b\f\n\r\t\/\\\""`, "\"\xff\xc3\"", `{"a\u0062":{"":[1,"x",{"k":null}]},"a":1}`,
		`{"a":"` + strings.Repeat("x", 300) + `"}`, strings.Repeat("[", 40) + strings.Repeat("]", 40), strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40),
		`{"a":1,}`, `[1,]`, `[1 2]`, `{"a" 1}`, `01`, `1.`, `.5`, `+1`, `1e`, `"\x"`, `"\u12g4"`, "\"\x1f\"", `tru`, `nulll`, `{"a":1}}`, ``, ` `, `"`, `"\`, `"\u`,
	} {
		f.Add([]byte(s), 0)
		f.Add([]byte(s), 5)
	}
	for line := range bytes.Lines(capture(f, "watch.pods.batch.jsonl")) {
		f.Add(line, 700)
	}
	f.Fuzz(func(t *testing.T, src []byte, limit int) {
		if depthOf(src) > 1000 {
			t.Skip("the slow way takes too long")
		}
		got, cut, err := AppendValue([]byte("before"), src, Form{})
		if valid := json.Valid(src); valid != (err == nil) {
			t.Fatalf("%q: %v, encoding/json says %v", src, err, valid)
		}
		if err != nil {
			if !errors.Is(err, ErrSyntax) {
				t.Fatal(err)
			}
			return
		}
		want := otlp.AppendValue([]byte("before"), slow(t, src, 0))
		if cut || !bytes.Equal(got, want) {
			t.Fatalf("%q:\n got %q\nwant %q", src, got, want)
		}
		if limit <= 0 {
			return
		}
		got, cut, err = AppendValue(nil, src, Form{Limit: limit})
		if err != nil {
			t.Fatal(err)
		}
		var v commonpb.AnyValue
		if err := proto.Unmarshal(got, &v); err != nil {
			t.Fatalf("%q cut at %d: %v", src, limit, err)
		}
		if whole := want[len("before"):]; !cut && !bytes.Equal(got, whole) {
			t.Fatalf("%q within %d differs", src, limit)
		} else if cut && len(got) >= len(whole)+8*maxNested {
			t.Fatalf("%q cut at %d is %d bytes, whole it is %d", src, limit, len(got), len(whole))
		}
		// What stands around what is within the limit: lengths, of which there are three a level.
		if max := limit + 32*maxNested; limit < math.MaxInt/2 && len(got) > max {
			t.Fatalf("%q cut at %d is %d bytes", src, limit, len(got))
		}
	})
}

// depthOf is at least how deep src is nested.
func depthOf(src []byte) int { return bytes.Count(src, []byte("[")) + bytes.Count(src, []byte("{")) }

// TestCaptures: objects as a real API server sent them.
func TestCaptures(t *testing.T) {
	for _, name := range []string{"pods.page1.json", "daemonsets.json"} {
		src := capture(t, name)
		got, _, err := AppendValue(nil, src, Form{})
		if want := otlp.AppendValue(nil, slow(t, src, 0)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %v", name, err)
		}
		var v commonpb.AnyValue
		if err := proto.Unmarshal(got, &v); err != nil || len(v.GetKvlistValue().GetValues()) != 4 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDrop(t *testing.T) {
	const src = `{"metadata":{"name":"x","managedFields":[{"f":1}],"annotations":{"a.b/c":"1","d":"2"}},
		"spec":{"containers":[{"env":[1],"name":"c"},{"name":"d","env":null}],"env":3},"l":[[{"k":1,"z":2}]],"\u0064ata":{"p":1}}`
	for name, tc := range map[string]struct {
		paths []string
		want  string
	}{
		"nothing":       {nil, src},
		"keys":          {[]string{"metadata.managedFields", "metadata.annotations[a.b/c]", "data"}, `{"metadata":{"name":"x","annotations":{"d":"2"}},"spec":{"containers":[{"env":[1],"name":"c"},{"name":"d","env":null}],"env":3},"l":[[{"k":1,"z":2}]]}`},
		"elements":      {[]string{"spec.containers[*].env", "l[*][*].k", "metadata.*", "data.p"}, `{"metadata":{},"spec":{"containers":[{"name":"c"},{"name":"d"}],"env":3},"l":[[{"z":2}]],"data":{}}`},
		"any, and one":  {[]string{"*.name", "metadata.annotations.*", "data", "l.*", "spec.*"}, `{"metadata":{"managedFields":[{"f":1}],"annotations":{}},"spec":{},"l":[]}`},
		"below nothing": {[]string{"metadata.name.x", "spec.containers.env", "none"}, src},
	} {
		p, err := ParsePaths(tc.paths)
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := AppendValue(nil, []byte(src), Form{Drop: p})
		if want := otlp.AppendValue(nil, slow(t, []byte(tc.want), 0)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %v\n got %s\nwant %s", name, err, otlp.Any(got).AppendJSON(nil), otlp.Any(want).AppendJSON(nil))
		}
	}
	for _, bad := range []string{"", ".", "a.", ".a", "a..b", "a[", "a[]", "a]", "a[b]c", "[a"} {
		if _, err := ParsePaths([]string{bad}); err == nil || !strings.Contains(err.Error(), "metadata.annotations[") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestLimit: what is too long is cut where it can be, and what comes first stays.
func TestLimit(t *testing.T) {
	long := strings.Repeat("é", 4000)
	for name, src := range map[string]string{
		"a string":  fmt.Sprintf(`{"a":1,"b":%q,"c":2,"d":[1]}`, long),
		"escapes":   fmt.Sprintf(`{"a":1,"b":"\n%s","c":2}`, long),
		"a list":    `{"a":1,"b":[` + strings.Repeat(`"1234567890",`, 900) + `1]}`,
		"a map":     `{"a":1,"b":{` + strings.Repeat(`"k":"1234567890",`, 900) + `"z":1}}`,
		"long keys": `{"a":1,"` + long + `":1}`,
		"deep":      `{"a":1,"b":` + strings.Repeat("[", 100) + `"` + long + `"` + strings.Repeat("]", 100) + `}`,
	} {
		got, cut, err := AppendValue(nil, []byte(src), Form{Limit: 1001})
		if err != nil || !cut || len(got) > 1001+200 {
			t.Errorf("%s: %d bytes, cut %v, %v", name, len(got), cut, err)
		}
		var v commonpb.AnyValue
		if err := proto.Unmarshal(got, &v); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if first := v.GetKvlistValue().GetValues()[0]; first.Key != "a" || first.Value.GetIntValue() != 1 {
			t.Errorf("%s: %v", name, first)
		}
		if !utf8.Valid(otlp.Any(got).AppendJSON(nil)) {
			t.Errorf("%s: a rune is cut", name)
		}
	}
}

func TestAllocations(t *testing.T) {
	src := capture(t, "pods.page1.json")
	drop, err := ParsePaths([]string{"items[*].metadata.managedFields", "items[*].metadata.annotations[x/y]"})
	if err != nil {
		t.Fatal(err)
	}
	dst := make([]byte, 0, 2*len(src))
	if n := testing.AllocsPerRun(100, func() {
		if _, _, err := AppendValue(dst, src, Form{Drop: drop}); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAppendValue(b *testing.B) {
	src := capture(b, "pods.page1.json")
	drop, _ := ParsePaths([]string{"items[*].metadata.managedFields"})
	dst := make([]byte, 0, 2*len(src))
	for name, form := range map[string]Form{"whole": {}, "drop=managedFields": {Drop: drop}} {
		b.Run("pods/"+name, func(b *testing.B) {
			b.SetBytes(int64(len(src)))
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := AppendValue(dst, src, form); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("pods/encoding-json", func(b *testing.B) {
		b.SetBytes(int64(len(src)))
		b.ReportAllocs()
		for b.Loop() {
			var v map[string]any
			if err := json.Unmarshal(src, &v); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkReader(b *testing.B) {
	src := capture(b, "pods.page1.json")
	b.SetBytes(int64(len(src)))
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		err := NewReader(bytes.NewReader(src), 1<<20).Object("items", func([]byte) error { n++; return nil }, func(string, []byte) {})
		if err != nil || n != 5 {
			b.Fatal(n, err)
		}
	}
}

// FuzzReader: values come off a stream as encoding/json finds them, in whatever pieces they arrive.
func FuzzReader(f *testing.F) {
	f.Add([]byte(`{"a":[1,"}"]} [2] "x\"y" 3 null`), true)
	f.Add(capture(f, "watch.events.core.v1.jsonl"), false)
	f.Add([]byte(`{"a":"é\u00e9"}{"b":1}`), true)
	f.Fuzz(func(t *testing.T, src []byte, slowly bool) {
		var in io.Reader = bytes.NewReader(src)
		if slowly {
			in = iotest.OneByteReader(in)
		}
		r := NewReader(in, 1<<20)
		d := json.NewDecoder(bytes.NewReader(src))
		for {
			var want json.RawMessage
			err := d.Decode(&want)
			if err != nil && err != io.EOF {
				// Past a fault, only ending counts.
				for range len(src) + 1 {
					if _, err := r.Value(); err != nil {
						return
					}
				}
				t.Fatalf("%q: no end", src)
			}
			if len(want) > 0 && want[0] != '{' && want[0] != '[' && want[0] != '"' {
				return // where a number or a word ends is not the same without a delimiter: 1"x"
			}
			got, gotErr := r.Value()
			if err == io.EOF {
				if gotErr != io.EOF {
					t.Fatalf("%q: %q, %v at the end", src, got, gotErr)
				}
				return
			}
			if gotErr != nil || !bytes.Equal(got, want) {
				t.Fatalf("%q:\n got %q, %v\nwant %q", src, got, gotErr, want)
			}
		}
	})
}

func TestReaderObject(t *testing.T) {
	page := capture(t, "pods.page1.json")
	for name, in := range map[string]io.Reader{
		"at once":     bytes.NewReader(page),
		"byte by one": iotest.OneByteReader(bytes.NewReader(page)),
	} {
		var items [][]byte
		others := map[string]string{}
		err := NewReader(in, 1<<20).Object("items", func(e []byte) error {
			items = append(items, bytes.Clone(e))
			return nil
		}, func(k string, v []byte) { others[k] = string(v) })
		var want struct{ Items []json.RawMessage }
		json.Unmarshal(page, &want)
		if err != nil || len(items) != len(want.Items) || String([]byte(others["kind"])) != "PodList" || !strings.Contains(others["metadata"], "remainingItemCount") {
			t.Fatalf("%s: %d items, %v, %v", name, len(items), others, err)
		}
		for i := range items {
			if !bytes.Equal(items[i], want.Items[i]) {
				t.Errorf("%s: item %d differs", name, i)
			}
		}
	}
	for name, tc := range map[string]struct {
		in   string
		n    int
		want error
	}{
		"torn in an item":   {`{"items":[{"a":1},{"b":`, 1, io.ErrUnexpectedEOF},
		"torn behind one":   {`{"items":[{"a":1}`, 1, io.ErrUnexpectedEOF},
		"torn behind all":   {`{"items":[{"a":1}]`, 1, io.ErrUnexpectedEOF},
		"no list":           {`{"items":null}`, 0, nil},
		"empty":             {`{"items":[]}`, 0, nil},
		"nothing":           {``, 0, io.ErrUnexpectedEOF},
		"empty object":      {`{}`, 0, nil},
		"a list":            {`[]`, 0, ErrSyntax},
		"no comma":          {`{"items":[{} {}]}`, 1, ErrSyntax},
		"stray comma":       {`{"items":[{},,{}]}`, 1, ErrSyntax},
		"key of no string":  {`{1:2}`, 0, ErrSyntax},
		"metadata at last":  {`{"items":[{},{}],"metadata":{}}`, 2, nil},
		"one is too large":  {`{"items":[{},{"a":"` + strings.Repeat("x", 200<<10) + `"},{"b":1}]}`, 3, nil},
		"one is too large2": {`{"items":[{"a":"` + strings.Repeat("x", 2000) + `"},{"b":1}]}`, 2, nil},
	} {
		n, large := 0, 0
		err := NewReader(strings.NewReader(tc.in), 1000).Object("items", func(e []byte) error {
			if n++; e == nil {
				large++
			}
			return nil
		}, func(string, []byte) {})
		if n != tc.n || !errors.Is(err, tc.want) || (large == 1) != strings.HasPrefix(name, "one is") {
			t.Errorf("%s: %d items, %d of them too large, %v; want %d, %v", name, n, large, err, tc.n, tc.want)
		}
	}
}

func TestFields(t *testing.T) {
	var got []string
	err := EachField([]byte(` {"a" : {"b":[1]}, "c\n":"x\ty","d":null} `), func(k, v []byte) {
		got = append(got, string(k)+"="+string(v)+"="+String(v))
	})
	if want := `a={"b":[1]}=|c\n="x\ty"=x	y|d=null=`; err != nil || strings.Join(got, "|") != want {
		t.Errorf("%q, %v", got, err)
	}
	got = nil
	err = EachElement([]byte(`[1, {"a":2},"x"]`), func(v []byte) { got = append(got, string(v)) })
	if want := `1|{"a":2}|"x"`; err != nil || strings.Join(got, "|") != want {
		t.Errorf("%q, %v", got, err)
	}
	for _, bad := range []string{`{"a":}`, `{"a":1`, `{"a":1} x`, `{a:1}`, `nul`} {
		if err := EachField([]byte(bad), func(_, _ []byte) {}); !errors.Is(err, ErrSyntax) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if err := EachField([]byte(`[1]`), func(_, _ []byte) { t.Error("a field") }); err != nil {
		t.Error(err)
	}
}
