package export

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// What a destination refuses for good is in its file, with the reason and its words; what it takes is
// not. The file is OTLP JSON for whoever reads it as that.
func TestDeadLetters(t *testing.T) {
	dir := t.TempDir()
	r := newHTTP(t, func(_ int, in incoming) *reply {
		if in.bad {
			return &reply{code: 400, body: []byte("no: " + strings.Repeat("é", 300))}
		}
		return nil
	})
	x := Exporters{"otlphttp/a b": &OTLPHTTP{Endpoint: "http://" + r.addr, Compression: "none", Timeout: 10 * time.Second, RetryOnFailure: fast}}
	e, err := New(Options{
		Batch: BatchDefaults(), Exporters: x, Pipelines: DefaultPipelines(x, map[string][]string{"logs": {"test"}}),
		DeadLetter: DeadLetter{Enabled: true, Rotation: smallFiles}, DeadDir: dir, Version: "1.2.3", Log: silent, Registerer: newRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	s := newSource(t)
	deliver(t, e, s.logs("a", 100, 100, 7, 42))
	s.want(0, 1, 0)
	r.want("a", 100, 7, 42)
	file := filepath.Join(dir, "otlphttp%2Fa%20b.jsonl")
	if got := bodiesIn(t, file); !slices.Equal(got, []string{body("a", 7), body("a", 42)}) {
		t.Errorf("in the file are %q", got)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for l := range strings.Lines(string(b)) {
		var m struct {
			DeadLetter struct {
				Time                     time.Time
				Exporter, Reason, Answer string
				Records                  int
			}
		}
		if err := json.Unmarshal([]byte(l), &m); err != nil {
			t.Fatal(err)
		}
		d := m.DeadLetter
		if time.Since(d.Time) > time.Minute || d.Exporter != "otlphttp/a b" || d.Reason != invalid || d.Records != 1 ||
			!strings.HasPrefix(d.Answer, "HTTP 400 Bad Request: no: é") || len(d.Answer) > maxDeadAnswer+3 {
			t.Errorf("it says %+v", d)
		}
	}
	if st := statusOf(t, e, 0); st.Dead != 2 || st.Dropped != 2 {
		t.Errorf("%d of %d dropped are counted as kept", st.Dead, st.Dropped)
	}
}
