package e2e

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// source names one stream of one container incarnation.
type source struct {
	namespace, pod, uid, container string
	restarts                       int64
	stream                         string
}

// record is one log record.
type record struct {
	ns   int64 // the runtime's time of its first piece
	body string
	// optional records may also be missing: an unfinished one, which the agent
	// holds back for some seconds.
	optional bool
}

// readTree is what should arrive: every record under root by source, in the
// order of writing. It is slow and simple on purpose.
func readTree(t *testing.T, root string) map[source][]record {
	t.Helper()
	want := map[source][]record{}
	for _, dir := range glob(t, root, "*", "*") {
		pod := strings.Split(filepath.Base(filepath.Dir(dir)), "_")
		if len(pod) != 3 {
			t.Fatalf("%s: not <namespace>_<pod>_<uid>/<container>", dir)
		}
		// 0.log.20261122-154622.gz, 0.log.20261122-154642, 0.log: the oldest
		// first once the live file has a name that sorts last.
		files := glob(t, dir, "*")
		age := func(file string) string { return strings.Replace(file+"~", ".log~", ".log.~", 1) }
		sort.Slice(files, func(i, j int) bool { return age(files[i]) < age(files[j]) })

		unfinished := map[source]*record{}
		for _, file := range files {
			restarts, err := strconv.ParseInt(strings.SplitN(filepath.Base(file), ".", 2)[0], 10, 64)
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			for _, line := range strings.Split(strings.TrimSuffix(readFile(t, file), "\n"), "\n") {
				if line == "" {
					continue
				}
				part := strings.SplitN(line, " ", 4)
				if len(part) != 4 {
					t.Fatalf("%s: line %q", file, line)
				}
				at, err := time.Parse(time.RFC3339Nano, part[0])
				if err != nil {
					t.Fatalf("%s: %v", file, err)
				}
				from := source{pod[0], pod[1], pod[2], filepath.Base(dir), restarts, part[1]}
				r := unfinished[from]
				if r == nil {
					r = &record{ns: at.UnixNano()}
				}
				r.body += part[3]
				if part[2] == "P" {
					unfinished[from] = r
					continue
				}
				delete(unfinished, from)
				r.body = validUTF8(r.body)
				want[from] = append(want[from], *r)
			}
		}
		for from, r := range unfinished {
			want[from] = append(want[from], record{r.ns, validUTF8(r.body), true})
		}
	}
	return want
}

func glob(t *testing.T, parts ...string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(path, ".gz") {
		zip, err := gzip.NewReader(bytes.NewReader(text))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if text, err = io.ReadAll(zip); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
	}
	return string(text)
}

// validUTF8 puts U+FFFD in place of each byte that is no UTF-8.
func validUTF8(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s) // U+FFFD and 1 for a bad byte
		b.WriteRune(r)
		s = s[n:]
	}
	return b.String()
}

func TestReaderJoinsAndSorts(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "ns_pod.x_uid", "main")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"0.log":                 "2026-01-01T00:00:03Z stdout F  c \n2026-01-01T00:00:03.5Z stderr F \n2026-01-01T00:00:04Z stdout P end",
		"0.log.20260101-000001": "2026-01-01T00:00:01Z stdout F a\n2026-01-01T00:00:02Z stdout P b\xc3\n",
		"1.log":                 "2026-01-01T00:00:05Z stdout F \xff\xfez\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ns := func(s string) int64 {
		at, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			t.Fatal(err)
		}
		return at.UnixNano()
	}
	out := source{"ns", "pod.x", "uid", "main", 0, "stdout"}
	errs, again := out, out
	errs.stream, again.restarts = "stderr", 1
	want := map[source][]record{
		out: {
			{ns: ns("2026-01-01T00:00:01Z"), body: "a"},
			{ns: ns("2026-01-01T00:00:02Z"), body: "b\uFFFD c "},
			{ns: ns("2026-01-01T00:00:04Z"), body: "end", optional: true},
		},
		errs:  {{ns: ns("2026-01-01T00:00:03.5Z")}},
		again: {{ns: ns("2026-01-01T00:00:05Z"), body: "\uFFFD\uFFFDz"}},
	}
	got := readTree(t, root)
	if len(got) != len(want) {
		t.Fatalf("%d sources, want %d", len(got), len(want))
	}
	for from, records := range want {
		if len(got[from]) != len(records) {
			t.Fatalf("%v: %+v, want %+v", from, got[from], records)
		}
		for i := range records {
			if got[from][i] != records[i] {
				t.Errorf("%v: record %d is %+v, want %+v", from, i, got[from][i], records[i])
			}
		}
	}
}
