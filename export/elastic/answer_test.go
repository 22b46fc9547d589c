package elastic

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"
)

func readAll(t testing.TB, r io.Reader) (items []Item, failed bool, err error) {
	t.Helper()
	n, failed, err := new(AnswerReader).Read(r, func(n int, item *Item) {
		if n != len(items) {
			t.Errorf("item %d is called %d", len(items), n)
		}
		items = append(items, Item{item.Status, bytes.Clone(item.Type), bytes.Clone(item.Reason), item.FailureUsed})
	})
	if n != len(items) {
		t.Errorf("%d items, %d said", len(items), n)
	}
	return items, failed, err
}

func TestReadAnswer(t *testing.T) {
	for name, tc := range map[string]struct {
		answer string
		want   string // items, as they are printed
		failed bool
		err    error
	}{
		"VictoriaLogs":     {`{"took":0,"errors":false,"items":[{"create":{"status":201}}]}`, "[{201   false}]", false, nil},
		"Elasticsearch":    {`{"errors":true,"took":30,"items":[{"create":{"_index":".ds-logs-x-2025.11.27-000001","status":201}},{"create":{"_index":"x","status":400,"error":{"type":"document_parsing_exception","reason":"[1:5] failed to parse","caused_by":{"type":"a","reason":"b","x":[1,{"y":"}"}]}}}}]}`, "[{201   false} {400 document_parsing_exception [1:5] failed to parse false}]", true, nil},
		"errors at last":   {`{"items":[{"index":{"error":{"reason":"r","type":"t"},"status":429}}],"took":1,"errors":true}`, "[{429 t r false}]", true, nil},
		"failure store":    {`{"errors":false,"items":[{"create":{"status":201,"failure_store":"used"}},{"create":{"status":201,"failure_store":"not_applicable_or_unknown"}}]}`, "[{201   true} {201   false}]", false, nil},
		"white space":      {" {\n\"errors\" : true ,\t\"items\" : [ { \"index\" : { \"status\" : 500 } } , { } ] } \n", "[{500   false} {0   false}]", true, nil},
		"no items":         {`{"took":1,"errors":false,"items":[]}`, "[]", false, nil},
		"filtered":         {`{"errors":false}`, "[]", false, nil},
		"escapes":          {`{"errors":true,"items":[{"index":{"status":400,"error":{"type":"a\tb","reason":"\"\u00e9\\\/ \ud83d\ude42 \ud83d!"}}}]}`, "[{400 a\tb \"é\\/ 🙂 \uFFFD! false}]", true, nil},
		"an old error":     {`{"errors":true,"items":[{"index":{"status":400,"error":"MapperParsingException[x]"}}]}`, "[{400  MapperParsingException[x] false}]", true, nil},
		"null reason":      {`{"errors":true,"items":[{"index":{"status":503,"error":{"type":null,"reason":null}}}]}`, "[{503   false}]", true, nil},
		"HTML":             {"<html>", "[]", false, ErrAnswer},
		"a list":           {"[]", "[]", false, ErrAnswer},
		"another API":      {`{"name":"es","tagline":"You Know, for Search"}`, "[]", false, ErrAnswer},
		"nothing":          {"", "[]", false, io.ErrUnexpectedEOF},
		"cut":              {`{"errors":true,"items":[{"create":{"status":201}},{"create":{"sta`, "[{201   false}]", true, io.ErrUnexpectedEOF},
		"cut in a string":  {`{"errors":true,"items":[{"create":{"status":400,"error":{"reason":"abc`, "[]", true, io.ErrUnexpectedEOF},
		"no status number": {`{"errors":true,"items":[{"create":{"status":x}}]}`, "[]", true, ErrAnswer},
		"trailing comma":   {`{"errors":true,"items":[{"create":{"status":201}},]}`, "[{201   false}]", true, ErrAnswer},
	} {
		for _, r := range []io.Reader{strings.NewReader(tc.answer), iotest.OneByteReader(strings.NewReader(tc.answer))} {
			items, failed, err := readAll(t, r)
			got := "["
			for i, x := range items {
				if i > 0 {
					got += " "
				}
				got += fmt.Sprintf("{%d %s %s %v}", x.Status, x.Type, x.Reason, x.FailureUsed)
			}
			if got += "]"; got != tc.want || failed != tc.failed || !errors.Is(err, tc.err) {
				t.Errorf("%s: %s, %v, %v; want %s, %v, %v", name, got, failed, err, tc.want, tc.failed, tc.err)
			}
		}
	}
}

// An answer of any length takes little memory, and one without end is read no further than 64 MiB.
func TestAnswersAreBounded(t *testing.T) {
	reason := strings.Repeat("é", 50_000)
	answer := `{"errors":true,"items":[` + strings.Repeat(`{"create":{"status":400,"error":{"type":"t","reason":"`+reason+`"}}},`, 20)
	answer = strings.TrimSuffix(answer, ",") + "]}"
	items, _, err := readAll(t, strings.NewReader(answer))
	if err != nil || len(items) != 20 || len(items[0].Reason) != 200 || !utf8.Valid(items[0].Reason) {
		t.Errorf("%d items, %v", len(items), err)
	}

	n, unit := 0, `{"create":{"status":201,"x":"`+strings.Repeat("x", 8000)+`"}},`
	endless := readerFunc(func(p []byte) (int, error) {
		c := 0
		for c < len(p) {
			k := copy(p[c:], unit[n%len(unit):])
			c, n = c+k, n+k
		}
		return c, nil
	})
	seen, _, err := new(AnswerReader).Read(io.MultiReader(strings.NewReader(`{"errors":true,"items":[`), endless), func(int, *Item) {})
	if err == nil || n > maxAnswer+1<<20 || seen < 8000 {
		t.Errorf("%d bytes, %d items, %v", n, seen, err)
	}

	a := new(AnswerReader)
	text := strings.NewReader("")
	a.Read(strings.NewReader(answer), func(int, *Item) {})
	if n := testing.AllocsPerRun(10, func() {
		text.Reset(answer)
		a.Read(text, func(int, *Item) {})
	}); n > 10 {
		t.Errorf("%v allocations for 20 items", n)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// What encoding/json writes is read as it is meant, however it arrives; other bytes do no harm.
func FuzzReadAnswer(f *testing.F) {
	f.Add(uint16(400), "mapper_parsing_exception", "failed to parse \"x\"\n\u2028\U0001F642", uint8(3), []byte(`{"errors":true,"items":[{"a":{"status":1}}]}`))
	f.Add(uint16(201), "", "", uint8(1), []byte(`{"errors":false,"items":[{"a":{"error":{"reason":"\ud83d`))
	f.Fuzz(func(t *testing.T, status uint16, kind, reason string, step uint8, raw []byte) {
		type problem struct {
			Type   string         `json:"type"`
			Reason string         `json:"reason"`
			More   map[string]any `json:"caused_by"`
		}
		type item struct {
			Status int     `json:"status"`
			Error  problem `json:"error"`
		}
		var in struct {
			Errors bool              `json:"errors"`
			Items  []map[string]item `json:"items"`
		}
		in.Errors = true
		for i := range int(step%5) + 1 {
			in.Items = append(in.Items, map[string]item{"create": {int(status) + i, problem{kind, reason, map[string]any{reason: []any{kind, nil, 1.5, true}}}}})
		}
		text, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		left := text
		chunks := readerFunc(func(p []byte) (int, error) {
			n := copy(p, left[:min(len(left), int(step)+1)])
			left = left[n:]
			if n == 0 {
				return 0, io.EOF
			}
			return n, nil
		})
		items, failed, err := readAll(t, chunks)
		if err != nil || !failed || len(items) != len(in.Items) {
			t.Fatalf("%d items, %v of %s", len(items), err, text)
		}
		short := func(s string) string {
			s = strings.ToValidUTF8(jsonText(s), "\uFFFD")
			n := 0
			for _, r := range s { // whole runes of at most 200 bytes
				if n+utf8.RuneLen(r) > 200 {
					break
				}
				n += utf8.RuneLen(r)
			}
			return s[:n]
		}
		for i, x := range items {
			if x.Status != int(status)+i || string(x.Type) != short(kind) || string(x.Reason) != short(reason) {
				t.Fatalf("%d %q %q of %s", x.Status, x.Type, x.Reason, text)
			}
		}
		items, _, _ = readAll(t, bytes.NewReader(raw))
		for _, x := range items {
			if len(x.Type) > 200 || len(x.Reason) > 200 {
				t.Fatalf("%d and %d bytes", len(x.Type), len(x.Reason))
			}
		}
	})
}

// jsonText is a text as encoding/json gives it back.
func jsonText(s string) string {
	b, _ := json.Marshal(s)
	var out string
	json.Unmarshal(b, &out)
	return out
}

func BenchmarkReadAnswer(b *testing.B) {
	answer := `{"errors":true,"took":30,"items":[` + strings.TrimSuffix(strings.Repeat(`{"create":{"_index":".ds-logs-generic.otel-default-2025.11.27-000001","status":201}},`, 10_000), ",") + `]}`
	a := new(AnswerReader)
	r := strings.NewReader("")
	b.SetBytes(int64(len(answer)))
	b.ReportAllocs()
	for b.Loop() {
		r.Reset(answer)
		if _, _, err := a.Read(r, func(int, *Item) {}); err != nil {
			b.Fatal(err)
		}
	}
}
