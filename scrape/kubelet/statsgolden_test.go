package kubelet

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stint/export/otlp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// captures are the moments of the captured summaries, with the times of the scrapes that had them.
var captures = map[string]string{
	"idle": "15:45:20", "t0": "15:46:10", "t1": "15:46:42", "t2": "15:46:54", "busy": "15:47:41", "after": "15:48:12",
	"crigate": "15:59:17", "crilive": "15:30:54",
}

// golden compares a text with a file, which is compressed.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden.gz")
	if *update {
		var b bytes.Buffer
		z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
		io.WriteString(z, got)
		z.Close()
		if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(string(captured(t, name+".golden")), got); diff != "" {
		t.Errorf("differs from %s (-want +got; run go test -update after a look at it with zless):\n%s", file, diff)
	}
}

// The captured summaries, one after the other where they are of one kubelet. At the first, the
// table of pods, which is of "busy", does not know those that were replaced since: these wait.
func TestStatsGolden(t *testing.T) {
	for name, tc := range map[string]struct {
		cfg     Config
		moments []string
	}{
		"stats":            {Defaults(), []string{"idle", "t0", "t1", "t2", "busy", "after"}},
		"stats.everything": {everything(), []string{"t1", "t2"}},
		"stats.crigate":    {Defaults(), []string{"crigate"}},
		"stats.crilive":    {everything(), []string{"crilive", "crilive"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, tc.cfg, nil, capturedPods(t)...)
			got := ""
			for _, m := range tc.moments {
				got += fmt.Sprintf("\n# %s\n%s", m, r.poll(day(captures[m]), captured(t, "stats_summary."+m+".json")).text())
			}
			golden(t, name, got)
		})
	}
}

// The catalogue's rows of the kubelet are what is emitted.
func TestStatsMetricsAreTheCatalogue(t *testing.T) {
	data, err := os.ReadFile("testdata/catalogue.csv")
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	type row struct{ Instrument, Unit, Type, Attributes string }
	want := map[string]row{}
	for _, r := range rows[1:] {
		want[r[1]] = row{r[2], r[3], r[4], attributeKeys(r[5])}
	}
	got := map[string]row{}
	for _, m := range StatsMetrics() {
		kind, value := map[otlp.Instrument]string{otlp.Gauge: "gauge", otlp.Counter: "sum_monotonic", otlp.UpDown: "sum_updown"}[m.Instrument], "int"
		if m.Double {
			value = "double"
		}
		got[m.Name] = row{kind, m.Unit, value, attributeKeys(m.Attributes)}
		if m.Description == "" || !strings.HasSuffix(m.Description, ".") || m.Source == "" || m.Scraper != "stats" {
			t.Errorf("%s has no description in a sentence, or no source", m.Name)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("StatsMetrics() differs from the catalogue (-want +got):\n%s", diff)
	}
}

// attributeKeys reduces "a=x|y; b=<int> (opt-in)" to "a b", without what is for another source.
func attributeKeys(s string) string {
	var keys []string
	for part := range strings.SplitSeq(s, ";") {
		key, _, _ := strings.Cut(strings.TrimSpace(part), "=")
		key, _, _ = strings.Cut(key, " ")
		if key != "" && key != "cpu.mode" && !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return strings.Join(keys, " ")
}

// By default the rows that are on, auto or dedup are emitted, with detail and utilization all of the
// table are, by a node that has swap and PSI; and nothing else.
func TestStatsEmittedIsTheTable(t *testing.T) {
	data, err := os.ReadFile("testdata/catalogue.csv")
	if err != nil {
		t.Fatal(err)
	}
	off := map[string]bool{}
	for line := range strings.Lines(string(data)) {
		if f := strings.Split(line, ","); strings.HasSuffix(strings.TrimSpace(line), ",off") {
			off[f[1]] = true
		}
	}
	body := captured(t, "stats_summary.busy.json")
	body = bytes.ReplaceAll(body, []byte(`"swapAvailableBytes": 0`), []byte(`"swapAvailableBytes": 4096`))
	body = bytes.ReplaceAll(body, []byte(`"total": 0`), []byte(`"total": 9000000000000`))
	later := bytes.ReplaceAll(body, []byte("T15:47:"), []byte("T15:48:"))
	for name, cfg := range map[string]Config{"defaults": Defaults(), "everything": everything()} {
		r := newRig(t, cfg, nil, capturedPods(t)...)
		r.poll(day("15:47:41"), body)
		emitted := r.poll(day("15:48:41"), later).names()
		for _, m := range StatsMetrics() {
			if want := name == "everything" || !off[m.Name]; want != emitted[m.Name] {
				t.Errorf("%s: %s is emitted: %v, want %v", name, m.Name, emitted[m.Name], want)
			}
			delete(emitted, m.Name)
		}
		if len(emitted) > 0 {
			t.Errorf("%s: not in the table: %v", name, emitted)
		}
	}
}
