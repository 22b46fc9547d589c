package kernel

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

func TestNumber(t *testing.T) {
	for in, want := range map[string]struct {
		n    uint64
		rest string
		ok   bool
	}{
		"0":                      {0, "", true},
		"  42 x":                 {42, " x", true},
		"\t7\n":                  {7, "\n", true},
		"18446744073709551615":   {18446744073709551615, "", true},
		"18446744073709551616":   {0, "18446744073709551616", false},
		"99999999999999999999 1": {0, "99999999999999999999 1", false},
		"-1":                     {0, "-1", false},
		"1a":                     {0, "1a", false},
		"":                       {0, "", false},
		"  ":                     {0, "", false},
	} {
		n, rest, ok := Number([]byte(in))
		if n != want.n || ok != want.ok || ok && string(rest) != want.rest {
			t.Errorf("number(%q) = %d, %q, %v, want %+v", in, n, rest, ok, want)
		}
	}
}

// Numbers are what strconv makes of the first word.
func FuzzNumber(f *testing.F) {
	for _, s := range []string{"12 34", " 0.10 x", "18446744073709551616", "1.", ".5", "-1", "1e3", "00012.340000000", "999999999999999.9"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		words := strings.FieldsFunc(string(b), func(r rune) bool { return r == ' ' || r == '\t' || r == '\n' })
		word := ""
		if len(words) > 0 {
			word = words[0]
		}
		want, err := strconv.ParseUint(word, 10, 64)
		if strings.ContainsAny(word, "+_") {
			err = strconv.ErrSyntax
		}
		if n, rest, ok := Number(b); ok != (err == nil) || ok && (n != want || len(rest) >= len(b)) {
			t.Errorf("number(%q) = %d, %v, want %d, %v", b, n, ok, want, err)
		}
		if d, _, ok := Decimal(b); ok {
			if want, err := strconv.ParseFloat(word, 64); err != nil || d != want {
				t.Errorf("decimal(%q) = %v, want %v, %v", b, d, want, err)
			}
		} else if want, err := strconv.ParseFloat(word, 64); err == nil && len(word) < 12 && strings.Trim(word, "0123456789") == "" {
			t.Errorf("decimal(%q) is not ok, want %v", b, want)
		}
	})
}

func TestUnescape(t *testing.T) {
	for in, want := range map[string]string{
		`/a\040b`: "/a b", `\011\012\134`: "\t\n\\", `\043x`: "#x", `\`: `\`, `\04`: `\04`, `\048`: `\048`, `\777`: `\777`, `\377`: "\xff", `a\\040`: `a\ `,
	} {
		if got := Unescape(in); got != want {
			t.Errorf("unescape(%q) = %q, want %q", in, got, want)
		}
	}
}

// What the kernel escapes comes back as it was.
func FuzzUnescape(f *testing.F) {
	f.Add("/mnt/back up\tand\nmore\\ #1")
	f.Fuzz(func(t *testing.T, path string) {
		var b strings.Builder
		for i := range len(path) { // as mangle() in fs/proc_namespace.c
			if strings.IndexByte(" \t\n\\#", path[i]) >= 0 {
				fmt.Fprintf(&b, `\%03o`, path[i])
			} else {
				b.WriteByte(path[i])
			}
		}
		if got := Unescape(b.String()); got != path {
			t.Errorf("unescape(%q) = %q, want %q", b.String(), got, path)
		}
	})
}
