package tail

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"
)

var updateGolden = flag.Bool("update-multiline", false, "write testdata/multiline/*.golden")

// groupsOf marks each line: "> " begins a record, "| " goes on with it.
func groupsOf(g *grouping, lines []string) string {
	var b strings.Builder
	var s groupState
	for _, l := range lines {
		mark := "> "
		if g.next(&s, []byte(l)) {
			mark = "| "
		}
		b.WriteString(mark + l + "\n")
	}
	return b.String()
}

// TestMultilineTraces compares with golden files. The traces of Go, Java, Node and Python are
// real ones. What a language's own mode makes of them must be the same as auto's, but where the
// file says otherwise.
func TestMultilineTraces(t *testing.T) {
	files, _ := filepath.Glob("testdata/multiline/*.txt")
	if len(files) != 7 {
		t.Fatalf("%d files", len(files))
	}
	for _, file := range files {
		lang := strings.TrimSuffix(filepath.Base(file), ".txt")
		modes := []string{"auto", lang}
		if lang == "none" {
			modes = []string{"auto", "java", "go", "python", "node", "dotnet", "ruby"}
		}
		for _, mode := range modes {
			t.Run(lang+" by "+mode, func(t *testing.T) {
				text, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				g, err := newGrouping(mode, "")
				if err != nil {
					t.Fatal(err)
				}
				golden := strings.TrimSuffix(file, ".txt") + ".golden"
				got := groupsOf(g, strings.Split(strings.TrimSuffix(string(text), "\n"), "\n"))
				if *updateGolden && mode == "auto" {
					if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(golden)
				if err != nil {
					t.Fatal(err)
				}
				wants := strings.Split(string(want), "\n")
				for i, l := range strings.Split(got, "\n") {
					if i >= len(wants) || l != wants[i] {
						t.Fatalf("line %d: got %q, want %q", i+1, l, wants[min(i, len(wants)-1)])
					}
				}
			})
		}
	}
}

// TestMultilineProse: in auto a line must look like a frame; in a language's own mode an
// indented "at" is enough.
func TestMultilineProse(t *testing.T) {
	auto, _ := newGrouping("auto", "")
	java, _ := newGrouping("java", "")
	for line, want := range map[string]bool{
		"  at the end of the day (so to say)":            false,
		"  at noon":                                      false,
		"  at 12:30":                                     false,
		"  at ten (or so), they left":                    false,
		"\tat a.b.C.m(C.java:1)":                         true,
		"\tat m(Unknown Source)":                         true,
		"    at <anonymous>":                             true,
		"    at async Promise.all (index 0)":             true,
		"    at /app/x.js:1:2":                           true,
		"    at new Foo (/app/x.js:1:2)":                 true,
		"   at A.B[T](T x) in C:\\My Files\\x.cs:line 3": true,
	} {
		for name, g := range map[string]*grouping{"auto": auto, "java": java} {
			var s groupState
			g.next(&s, []byte("2026-01-02 INFO x"))
			if got := g.next(&s, []byte(line)); got != (want || name == "java") {
				t.Errorf("%s: %q goes on: %v", name, line, got)
			}
		}
	}
}

func TestMultilineStart(t *testing.T) {
	g, err := newGrouping("start", `^\d{4}-`)
	if err != nil {
		t.Fatal(err)
	}
	want := "> no date, but the first\n| b\n> 2026-01-02 c\n| \n|   d\n> 2026-01-02 e\n"
	if got := groupsOf(g, []string{"no date, but the first", "b", "2026-01-02 c", "", "  d", "2026-01-02 e"}); got != want {
		t.Errorf("got\n%s, want\n%s", got, want)
	}
	for _, bad := range [][2]string{{"start", ""}, {"start", "("}, {"cobol", ""}, {"", ""}} {
		if g, err := newGrouping(bad[0], bad[1]); err == nil {
			t.Errorf("newGrouping(%q, %q) = %v", bad[0], bad[1], g)
		}
	}
	if g, err := newGrouping("off", ""); g != nil || err != nil {
		t.Errorf("off: %v, %v", g, err)
	}
}

var multilineModes = []string{"auto", "java", "go", "python", "node", "dotnet", "ruby", "start"}

// FuzzMultiline: what follows a reset begins a record; the same lines after a reset are grouped
// the same; a line at column 0 that follows an ordinary one and shows nothing is never swallowed.
func FuzzMultiline(f *testing.F) {
	files, _ := filepath.Glob("testdata/multiline/*.txt")
	for _, file := range files {
		text, _ := os.ReadFile(file)
		for i := range multilineModes {
			f.Add(text, uint8(i))
		}
	}
	f.Add([]byte("\n \n\t\n:\n'\n]\n9\n    at \n... \n\"\ngoroutine 1[\nSIG\n"), uint8(0))
	f.Fuzz(func(t *testing.T, text []byte, mode uint8) {
		g, err := newGrouping(multilineModes[int(mode)%len(multilineModes)], "^[0-9]")
		if err != nil {
			t.Fatal(err)
		}
		lines := bytes.Split(text, []byte("\n"))
		var s groupState
		var groups [][][]byte
		for i, l := range lines {
			goesOn := g.next(&s, l)
			if goesOn && i == 0 {
				t.Fatalf("%q goes on with nothing", l)
			}
			if goesOn {
				groups[len(groups)-1] = append(groups[len(groups)-1], l)
			} else {
				groups = append(groups, [][]byte{l})
			}
		}
		var again []byte
		for _, group := range groups {
			again = append(append(again, bytes.Join(group, []byte("\n"))...), '\n')
		}
		if !bytes.Equal(again, append(bytes.Clone(text), '\n')) {
			t.Fatalf("the groups of %q make %q", text, again)
		}
		s.reset()
		i := 0
		for _, group := range groups {
			for j, l := range group {
				if got := g.next(&s, l); got != (j > 0) {
					t.Fatalf("line %d, %q, goes on: %v after a reset, %v before", i, l, got, j > 0)
				}
				i++
			}
		}
		ordinary := []byte("2026-01-02T03:04:05Z INFO ordinary, text")
		g.next(&s, ordinary)
		if g.next(&s, ordinary) {
			t.Fatalf("an ordinary line goes on with the one before")
		}
	})
}

func TestMultilineDoesNotAllocate(t *testing.T) {
	if n := unsafe.Sizeof(groupState{}); n > 72 {
		t.Errorf("a groupState takes %d bytes", n)
	}
	files, _ := filepath.Glob("testdata/multiline/*.txt")
	for _, file := range files {
		text, _ := os.ReadFile(file)
		lines := bytes.Split(text, []byte("\n"))
		for _, mode := range multilineModes {
			if mode == "start" { // regexp's memory is in a pool that the race detector empties at random
				continue
			}
			g, _ := newGrouping(mode, "")
			var s groupState
			if n := testing.AllocsPerRun(10, func() {
				for _, l := range lines {
					g.next(&s, l)
				}
			}); n != 0 {
				t.Errorf("%s by %s allocates %v times", file, mode, n)
			}
		}
	}
}

func BenchmarkMultiline(b *testing.B) {
	for name, line := range map[string]string{
		"ordinary":      "2026-01-02T03:04:05.123Z INFO  c.e.Controller : served GET /api/v1/things in 12 ms for 10.0.0.1 (cached)",
		"word":          "served GET /api/v1/things in 12 ms for 10.0.0.1, nothing else of note happened here in this time",
		"json":          `{"level":"info","ts":"2026-01-02T03:04:05Z","caller":"a/b.go:12","msg":"served","path":"/api/v1/things"}`,
		"indented":      "    served GET /api/v1/things in 12 ms",
		"frame":         "\tat org.springframework.web.servlet.FrameworkServlet.processRequest(FrameworkServlet.java:1014) ~[spring-webmvc-5.3.jar:5.3]",
		"name and more": "Application.served: GET /api/v1/things in 12 ms for 10.0.0.1",
	} {
		for _, mode := range []string{"auto", "java"} {
			b.Run(fmt.Sprintf("%s/%s", name, mode), func(b *testing.B) {
				g, _ := newGrouping(mode, "")
				var s groupState
				l := []byte(line)
				b.ReportAllocs()
				for b.Loop() {
					g.next(&s, l)
				}
			})
		}
	}
}
