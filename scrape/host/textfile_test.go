package host

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	"golang.org/x/sys/unix"

	"stint/export/otlp"
	"stint/scrape/series"
)

// collector is a directory of *.prom files with a scraper over it.
type collector struct {
	t   testing.TB
	dir string
	h   *Host
	at  uint64
	err error
}

func newCollector(t testing.TB, maxAge time.Duration) *collector {
	dir := t.TempDir()
	cfg := only(func(c *Config) { c.Textfile = Textfile{Directories: []string{dir}, MaxAge: maxAge} })
	h := New(cfg, "testdata/no-such-directory", "", "", nil, 0, slog.New(slog.DiscardHandler))
	t.Cleanup(func() { h.Close() })
	return &collector{t: t, dir: dir, h: h, at: tick}
}

// put writes a file as one should: whole, and then under its name.
func (c *collector) put(name, content string) {
	c.t.Helper()
	path := filepath.Join(c.dir, name)
	if err := os.WriteFile(path+".tmp", []byte(content), 0o644); err != nil {
		c.t.Fatal(err)
	}
	written := time.Unix(0, int64(c.at))
	if err := os.Chtimes(path+".tmp", written, written); err != nil {
		c.t.Fatal(err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		c.t.Fatal(err)
	}
}

// scrape prints what was sent, a point a line, sorted. Paths are below the directory.
func (c *collector) scrape() string {
	c.t.Helper()
	c.at += uint64(10 * time.Second)
	var lines []string
	c.err = c.h.Scrape(c.t.Context(), 0, time.Unix(0, int64(c.at)), func(g *otlp.Group, data []byte, points int) {
		n := len(lines)
		for _, m := range decode(c.t, g, data).ScopeMetrics[0].Metrics {
			lines = append(lines, c.lines(m)...)
		}
		if len(lines)-n != points {
			c.t.Errorf("%d points handed over as %d", len(lines)-n, points)
		}
	})
	slices.Sort(lines)
	return strings.ReplaceAll(strings.Join(lines, "\n"), c.dir+"/", "")
}

func (c *collector) lines(m *metricspb.Metric) (all []string) {
	add := func(at uint64, attrs []*commonpb.KeyValue, kind, value string) {
		if at != c.at {
			c.t.Errorf("%s has the time %d, the scrape %d", m.Name, at, c.at)
		}
		all = append(all, fmt.Sprintf("%s[%s] %s{%s} %s", m.Name, m.Unit, kind, attrText(attrs), value))
	}
	switch d := m.Data.(type) {
	case *metricspb.Metric_Gauge:
		for _, p := range d.Gauge.DataPoints {
			add(p.TimeUnixNano, p.Attributes, "gauge", strings.TrimSuffix(valueText(p), "d"))
		}
	case *metricspb.Metric_Sum:
		for _, p := range d.Sum.DataPoints {
			add(p.TimeUnixNano, p.Attributes, fmt.Sprintf("sum %v since %d", d.Sum.IsMonotonic, p.StartTimeUnixNano), strings.TrimSuffix(valueText(p), "d"))
		}
	case *metricspb.Metric_Histogram:
		for _, p := range d.Histogram.DataPoints {
			add(p.TimeUnixNano, p.Attributes, "histogram", fmt.Sprint(p.Count, p.GetSum(), p.ExplicitBounds, p.BucketCounts))
		}
	case *metricspb.Metric_Summary:
		for _, p := range d.Summary.DataPoints {
			text := fmt.Sprint(p.Count, p.Sum)
			for _, q := range p.QuantileValues {
				text += fmt.Sprint(" ", q.Quantile, "=", q.Value)
			}
			add(p.TimeUnixNano, p.Attributes, "summary", text)
		}
	}
	return all
}

// Types become their OTLP kinds; a scrape in which no file changed has the same with a new time.
func TestTextfileGolden(t *testing.T) {
	c := newCollector(t, 0)
	for _, name := range []string{"backup.prom", "raid.prom"} {
		b, err := os.ReadFile("testdata/textfile/" + name)
		if err != nil {
			t.Fatal(err)
		}
		c.put(name, string(b))
	}
	c.put("notes.txt", "not one of them")
	got := c.scrape()
	if c.err != nil {
		t.Error(c.err)
	}
	const file = "testdata/textfile.golden"
	if *update {
		if err := os.WriteFile(file, []byte(got+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != got+"\n" {
		t.Errorf("differs from %s:\n%s", file, got)
	}
	if again := c.scrape(); again != got {
		t.Errorf("the second scrape has\n%s", again)
	}
	hand := func(*otlp.Group, []byte, int) {}
	if n := testing.AllocsPerRun(100, func() {
		if err := c.h.Scrape(t.Context(), 0, time.Unix(0, int64(c.at)), hand); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("a scrape without changes allocates %v times", n)
	}
}

const (
	good = "good 1\n"
	sent = "good[] gauge{} 1"
)

// A bad file costs itself, is named in the error and in a metric, and is taken when it is good.
func TestBadTextfile(t *testing.T) {
	for name, bad := range map[string]string{
		"cut off":            "a 1\nb 2",
		"no value":           "a\n",
		"not a number":       "a 0x1p3\n",
		"a timestamp":        "a 1 1700000000000\n",
		"a name twice":       "a{x=\"1\"} 1\na{x=\"1\"} 2\n",
		"a label twice":      "a{x=\"1\",x=\"2\"} 1\n",
		"no quote":           "a{x=1} 1\n",
		"open quote":         "a{x=\"1} 1\n",
		"open brace":         "a{x=\"1\" 1\n",
		"wrong escape":       "a{x=\"\\t\"} 1\n",
		"no name":            "1a 1\n",
		"two types":          "# TYPE a gauge\n# TYPE a counter\na 1\n",
		"type behind":        "a 1\n# TYPE a gauge\n",
		"no such type":       "# TYPE a meter\na 1\n",
		"two helps":          "# HELP a x\n# HELP a y\na 1\n",
		"negative counter":   "# TYPE a counter\na -1\n",
		"falling buckets":    "# TYPE a histogram\na_bucket{le=\"1\"} 5\na_bucket{le=\"+Inf\"} 4\n",
		"no count":           "# TYPE a histogram\na_bucket{le=\"1\"} 5\n",
		"other count":        "# TYPE a histogram\na_bucket{le=\"+Inf\"} 4\na_count 5\n",
		"bucket without le":  "# TYPE a histogram\na_bucket 5\n",
		"bare histogram":     "# TYPE a histogram\na 5\n",
		"half a bucket":      "# TYPE a histogram\na_bucket{le=\"+Inf\"} 4.5\n",
		"quantile of 2":      "# TYPE a summary\na{quantile=\"2\"} 4\na_count 1\n",
		"not UTF-8":          "a{x=\"\xff\"} 1\n",
		"too many series":    strings.Repeat("a 1\n", maxPromSeries+1),
		"too many labels":    "a{" + labels(maxPromLabels+1) + "} 1\n",
		"too long a value":   "a{x=\"" + strings.Repeat("x", maxPromValue+1) + "\"} 1\n",
		"too long a name":    strings.Repeat("a", maxPromName+1) + " 1\n",
		"too large":          strings.Repeat("#", maxPromBytes) + "\n",
		"a series of others": "fine 1\n" + good,
		"a type of others":   "# TYPE good counter\ngood{x=\"1\"} 1\n",
	} {
		c := newCollector(t, 0)
		c.put("a_good.prom", good)
		c.put("bad.prom", bad)
		for range 2 { // the second does not read it again
			got := c.scrape()
			if c.err == nil || !strings.Contains(c.err.Error(), c.dir+"/bad.prom is left out: ") {
				t.Errorf("%s: %v", name, c.err)
			}
			if !strings.Contains(got, sent) || strings.Contains(got, "\na[") || !strings.Contains(got, "node_textfile_scrape_error[1] gauge{file=a_good.prom} 0\nnode_textfile_scrape_error[1] gauge{file=bad.prom} 1") {
				t.Errorf("%s:\n%s", name, got)
			}
		}
		c.put("bad.prom", "a 5\n")
		if got := c.scrape(); c.err != nil || !strings.Contains(got, "a[] gauge{} 5") {
			t.Errorf("%s, then mended: %v\n%s", name, c.err, got)
		}
	}
}

func labels(n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("l%d=\"x\"", i))
	}
	return strings.Join(all, ",")
}

// What lies in the directory and is no file, or none that may be read, is named; a pipe does not
// hold up the scrape. Files come and go, and the directory too.
func TestTextfileDirectory(t *testing.T) {
	c := newCollector(t, time.Hour)
	c.put("good.prom", good)
	if err := unix.Mkfifo(c.dir+"/pipe.prom", 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(c.dir+"/dir.prom", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", c.dir+"/link.prom"); err != nil {
		t.Fatal(err)
	}
	got := c.scrape()
	for _, name := range []string{"pipe.prom", "dir.prom"} {
		if c.err == nil || !strings.Contains(c.err.Error(), name+" is left out: not a file") || !strings.Contains(got, "{file="+name+"} 1") {
			t.Errorf("%s: %v\n%s", name, c.err, got)
		}
		os.Remove(c.dir + "/" + name)
	}
	if !strings.Contains(got, sent) || strings.Contains(got, "link.prom") {
		t.Errorf("first:\n%s", got)
	}
	if got := c.scrape(); c.err != nil || !strings.Contains(got, sent) {
		t.Errorf("without them: %v\n%s", c.err, got)
	}
	// An old file is left out until it is written again.
	c.at += uint64(time.Hour)
	if got := c.scrape(); c.err == nil || !strings.Contains(c.err.Error(), "good.prom is left out: not written for more than 1h") || strings.Contains(got, sent) {
		t.Errorf("old: %v\n%s", c.err, got)
	}
	c.put("good.prom", good)
	if got := c.scrape(); c.err != nil || !strings.Contains(got, sent) {
		t.Errorf("written again: %v\n%s", c.err, got)
	}
	// Another file of another name has the series until this one is there again.
	if err := os.Rename(c.dir+"/good.prom", c.dir+"/other.prom"); err != nil {
		t.Fatal(err)
	}
	if got := c.scrape(); c.err != nil || strings.Count(got, sent) != 1 {
		t.Errorf("renamed: %v\n%s", c.err, got)
	}
	if err := os.RemoveAll(c.dir); err != nil {
		t.Fatal(err)
	}
	if got := c.scrape(); !errors.Is(c.err, os.ErrNotExist) || got != "" {
		t.Errorf("without the directory: %v\n%s", c.err, got)
	}
	if err := os.Mkdir(c.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	c.put("good.prom", good)
	if got := c.scrape(); c.err != nil || !strings.Contains(got, sent) {
		t.Errorf("made again: %v\n%s", c.err, got)
	}
	for i := range maxPromFiles + 1 {
		c.put(fmt.Sprintf("f%d.prom", i), fmt.Sprintf("f%d 1\n", i))
	}
	if got := c.scrape(); c.err == nil || !strings.Contains(c.err.Error(), "more than 256 files") || strings.Count(got, "scrape_error") != maxPromFiles {
		t.Errorf("too many: %v, %d files", c.err, strings.Count(got, "scrape_error"))
	}
}

// What is taken is taken by Prometheus' own parser, too, and is the same to it.
func FuzzProm(f *testing.F) {
	for _, name := range []string{"backup.prom", "raid.prom"} {
		b, err := os.ReadFile("testdata/textfile/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte("# TYPE a histogram\na_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 1\n# TYPE b summary\nb_count 3\nb_sum 4\n"))
	f.Add([]byte("a{} +Inf\n\n#HELP\n# HELP a\n# TYPE b untyped\nb{x=\"\"}-0\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		families, err := parseProm(b)
		if err != nil {
			return
		}
		parser := expfmt.NewTextParser(model.LegacyValidation)
		want, err := parser.TextToMetricFamilies(bytes.NewReader(b))
		if err != nil {
			t.Fatalf("%q is taken; Prometheus says %v", b, err)
		}
		got := map[string][]string{}
		for _, q := range families {
			for _, p := range q.points {
				got[q.name] = append(got[q.name], ours(q, p))
			}
		}
		theirs := map[string][]string{}
		for name, q := range want {
			for _, m := range q.Metric {
				theirs[name] = append(theirs[name], text(q, m))
			}
		}
		if !maps.EqualFunc(got, theirs, slices.Equal) {
			t.Errorf("%q is\n%v, to Prometheus\n%v", b, got, theirs)
		}
		var data []byte
		points := 0
		for _, q := range families {
			data = q.encode(data)
			points += len(q.points)
		}
		if times, err := otlp.Times(data); err != nil || len(times) != points {
			t.Errorf("%d times of %d points, %v", len(times), points, err)
		}
	})
}

func number(v float64) string { return fmt.Sprintf("%x", math.Float64bits(v)) }

func ours(f *promFamily, p *promPoint) string {
	s := fmt.Sprintf("%q", f.help)
	for _, l := range p.labels {
		s += fmt.Sprintf(" %s=%q", l.name, l.value)
	}
	switch f.kind {
	case promHistogram:
		s += fmt.Sprint(" histogram ", p.count, number(p.sum))
	case promSummary:
		s += fmt.Sprint(" summary ", p.count, number(p.sum))
	default:
		return s + fmt.Sprint(" ", map[promKind]string{promCounter: "COUNTER", promGauge: "GAUGE", promUntyped: "UNTYPED"}[f.kind], number(p.value))
	}
	for _, q := range p.steps {
		s += fmt.Sprint(" ", q.at, number(q.value))
	}
	return s
}

func text(f *dto.MetricFamily, m *dto.Metric) string {
	s := fmt.Sprintf("%q", f.GetHelp())
	slices.SortFunc(m.Label, func(a, b *dto.LabelPair) int { return strings.Compare(a.GetName(), b.GetName()) })
	for _, l := range m.Label {
		s += fmt.Sprintf(" %s=%q", l.GetName(), l.GetValue())
	}
	switch f.GetType() {
	case dto.MetricType_HISTOGRAM:
		h := m.Histogram
		slices.SortFunc(h.Bucket, func(a, b *dto.Bucket) int { return int(math.Copysign(1, a.GetUpperBound()-b.GetUpperBound())) })
		count := float64(h.GetSampleCount())
		buckets := ""
		for _, b := range h.Bucket {
			if math.IsInf(b.GetUpperBound(), 1) {
				count = float64(b.GetCumulativeCount())
				continue
			}
			buckets += fmt.Sprint(" ", b.GetUpperBound(), number(float64(b.GetCumulativeCount())))
		}
		return s + fmt.Sprint(" histogram ", count, number(h.GetSampleSum())) + buckets
	case dto.MetricType_SUMMARY:
		s += fmt.Sprint(" summary ", float64(m.Summary.GetSampleCount()), number(m.Summary.GetSampleSum()))
		slices.SortFunc(m.Summary.Quantile, func(a, b *dto.Quantile) int { return int(math.Copysign(1, a.GetQuantile()-b.GetQuantile())) })
		for _, q := range m.Summary.Quantile {
			s += fmt.Sprint(" ", q.GetQuantile(), number(q.GetValue()))
		}
		return s
	}
	v := m.GetUntyped().GetValue()
	switch f.GetType() {
	case dto.MetricType_COUNTER:
		v = m.Counter.GetValue()
	case dto.MetricType_GAUGE:
		v = m.Gauge.GetValue()
	}
	return s + fmt.Sprint(" ", f.GetType(), number(v))
}

// Where node_exporter's names are sent, the files' series are among them.
func TestTextfileNames(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/a.prom", []byte(good), 0o644); err != nil {
		t.Fatal(err)
	}
	for names, want := range map[string]string{series.SemConv: "", series.Both: "node-exporter", series.Prometheus: "node-exporter"} {
		cfg := only(func(c *Config) { c.Load.Enabled, c.Textfile.Directories, c.Names = true, []string{dir}, names })
		h := New(cfg, "testdata/server", "", "", nil, 0, slog.New(slog.DiscardHandler))
		for i, part := range h.Scrapers() {
			if part != "textfile" {
				continue
			}
			err := h.Scrape(t.Context(), i, time.Unix(0, int64(tick)), func(g *otlp.Group, data []byte, _ int) {
				service := ""
				for _, kv := range decode(t, g, data).Resource.Attributes {
					if kv.Key == "service.name" {
						service = kv.Value.GetStringValue()
					}
				}
				if service != want {
					t.Errorf("%s: service.name is %q, want %q", names, service, want)
				}
			})
			if err != nil {
				t.Error(err)
			}
		}
		h.Close()
	}
}
