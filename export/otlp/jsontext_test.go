package otlp

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestAppendJSONString(t *testing.T) {
	for in, want := range map[string]string{
		"":                          `""`,
		"plain":                     `"plain"`,
		`a "quote" and a \ in it`:   `"a \"quote\" and a \\ in it"`,
		"line\nline\r\ttab":         `"line\nline\r\ttab"`,
		"\x00\x1b[31m\x1f\x7f":      "\"\\u0000\\u001b[31m\\u001f\x7f\"",
		"grün, 日本語, 🙂":              `"grün, 日本語, 🙂"`,
		"\xff bad \xc3":             "\"\uFFFD bad \uFFFD\"",
		"\uFFFD is itself":          "\"\uFFFD is itself\"",
		"</script> & \u2028":        "\"</script> & \u2028\"",
		"12345678\"12345678901234é": `"12345678\"12345678901234é"`,
	} {
		if got := string(AppendJSONString(nil, []byte(in))); got != want {
			t.Errorf("AppendJSONString(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestAppendJSONDouble(t *testing.T) {
	for in, want := range map[float64]string{
		0: "0.0", 1: "1.0", -1: "-1.0", 1.5: "1.5", 100: "100.0", 1e20: "100000000000000000000.0", 1e21: "1e+21", 1e-7: "1e-07",
		math.MaxFloat64: "1.7976931348623157e+308", math.SmallestNonzeroFloat64: "5e-324",
		math.Inf(1): `"Infinity"`, math.Inf(-1): `"-Infinity"`,
	} {
		got := AppendJSONDouble([]byte("x"), in)[1:]
		if string(got) != want {
			t.Errorf("AppendJSONDouble(%v) = %s, want %s", in, got, want)
		}
		if !math.IsInf(in, 0) {
			var back float64
			if err := json.Unmarshal(got, &back); err != nil || back != in {
				t.Errorf("%s reads back as %v, %v", got, back, err)
			}
		}
	}
	if got := string(AppendJSONDouble(nil, math.NaN())); got != `"NaN"` {
		t.Errorf("AppendJSONDouble(NaN) = %s", got)
	}
	if got := string(AppendJSONDouble(nil, math.Copysign(0, -1))); got != "-0.0" {
		t.Errorf("AppendJSONDouble(-0) = %s", got)
	}
}

// Whatever the bytes, the standard library reads the text back, with U+FFFD for each byte that is
// not UTF-8.
func FuzzAppendJSONString(f *testing.F) {
	f.Add([]byte("plain text of more than eight bytes"))
	f.Add([]byte("\"\\\n\x00\x1f\x7f\x80\xff\xc3\xa9"))
	f.Add([]byte("1234567!1234567\x211234567\x5d"))
	f.Fuzz(func(t *testing.T, in []byte) {
		text := AppendJSONString(nil, in)
		var got string
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if want := string(AppendValidUTF8(nil, in)); got != want {
			t.Fatalf("%q reads back as %q", in, got)
		}
		if !utf8.Valid(text) {
			t.Fatalf("%q is not UTF-8", text)
		}
	})
}

func TestJSONTextAllocatesNothing(t *testing.T) {
	s, dst := []byte(strings.Repeat("a \"line\" of text with a tab\t", 20)), make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() { AppendJSONDouble(AppendJSONString(dst, s), 1.25) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAppendJSONString(b *testing.B) {
	for name, line := range map[string]string{
		"plain": strings.Repeat("GET /orders/1234 200 in 12 ms ", 8), "json": strings.Repeat(`{"level":"info","msg":"done"} `, 8),
	} {
		b.Run(name, func(b *testing.B) {
			s, dst := []byte(line), make([]byte, 0, 4096)
			b.SetBytes(int64(len(s)))
			b.ReportAllocs()
			for b.Loop() {
				AppendJSONString(dst, s)
			}
		})
	}
}
