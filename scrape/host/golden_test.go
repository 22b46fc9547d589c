package host

import (
	"bytes"
	"encoding/csv"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"stint/export/otlp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// tick is the time of the first scrape of a test, ns since 1970.
const tick = uint64(1800000000_000000000)

// found is what a scrape of all scrapers gave, decoded.
type found struct {
	resource []*commonpb.KeyValue
	scope    *commonpb.InstrumentationScope
	metrics  []*metricspb.Metric
	errs     map[string]error // by scraper
}

// scrapeAll scrapes every part once, as the grid does but one after the other.
func scrapeAll(t testing.TB, h *Host, now uint64) *found {
	t.Helper()
	f := &found{errs: map[string]error{}}
	for i, name := range h.Scrapers() {
		err := h.Scrape(t.Context(), i, time.Unix(0, int64(now)), func(g *otlp.Group, data []byte, points int) {
			rm := decode(t, g, data)
			f.resource, f.scope = rm.Resource.Attributes, rm.ScopeMetrics[0].Scope
			n := 0
			for _, m := range rm.ScopeMetrics[0].Metrics {
				n += len(pointsOf(m))
			}
			if n != points {
				t.Errorf("%s: %d points handed over as %d", name, n, points)
			}
			f.metrics = append(f.metrics, rm.ScopeMetrics[0].Metrics...)
		})
		if err != nil {
			f.errs[name] = err
		}
	}
	return f
}

// decode decodes metrics fields under their group with the official protobuf types.
func decode(t testing.TB, g *otlp.Group, data []byte) *metricspb.ResourceMetrics {
	t.Helper()
	var md metricspb.MetricsData
	if err := proto.Unmarshal(append(g.AppendFrame(nil, len(data)), data...), &md); err != nil {
		t.Fatal(err)
	}
	if len(md.ResourceMetrics) != 1 || len(md.ResourceMetrics[0].ScopeMetrics) != 1 {
		t.Fatalf("not one resource and scope: %v", &md)
	}
	return md.ResourceMetrics[0]
}

func pointsOf(m *metricspb.Metric) []*metricspb.NumberDataPoint {
	if s := m.GetSum(); s != nil {
		return s.DataPoints
	}
	return m.GetGauge().GetDataPoints()
}

func attrText(kvs []*commonpb.KeyValue) string {
	var words []string
	for _, kv := range kvs {
		v := kv.Value.GetStringValue()
		if _, ok := kv.Value.Value.(*commonpb.AnyValue_IntValue); ok {
			v = fmt.Sprint(kv.Value.GetIntValue())
		}
		words = append(words, fmt.Sprintf("%s=%s", kv.Key, strings.Trim(fmt.Sprintf("%q", v), `"`)))
	}
	return strings.Join(words, " ")
}

// value finds the value of the point of a metric with these attributes, as printed by text.
func (f *found) value(t testing.TB, metric, attrs string) string {
	t.Helper()
	p := f.point(metric, attrs)
	if p == nil {
		t.Fatalf("no point %s{%s} in\n%s", metric, attrs, f.text())
	}
	return valueText(p)
}

func (f *found) point(metric, attrs string) *metricspb.NumberDataPoint {
	for _, m := range f.metrics {
		for _, p := range pointsOf(m) {
			if m.Name == metric && attrText(p.Attributes) == attrs {
				return p
			}
		}
	}
	return nil
}

func valueText(p *metricspb.NumberDataPoint) string {
	switch v := p.Value.(type) {
	case *metricspb.NumberDataPoint_AsInt:
		return fmt.Sprint(v.AsInt)
	case *metricspb.NumberDataPoint_AsDouble:
		return fmt.Sprintf("%gd", v.AsDouble)
	}
	return "no value"
}

// text prints everything, a point a line. Times are relative to tick and to boot.
func (f *found) text() string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "resource %s\nscope %s %s\n", attrText(f.resource), f.scope.GetName(), f.scope.GetVersion())
	for _, m := range f.metrics {
		kind := "gauge"
		if s := m.GetSum(); s != nil {
			kind = fmt.Sprintf("sum %s monotonic=%t", strings.ToLower(strings.TrimPrefix(s.AggregationTemporality.String(), "AGGREGATION_TEMPORALITY_")), s.IsMonotonic)
		}
		fmt.Fprintf(&b, "\n%s %s [%s]\n", m.Name, kind, m.Unit)
		for _, p := range pointsOf(m) {
			start := ""
			if p.StartTimeUnixNano != 0 {
				start = " since " + time.Unix(0, int64(p.StartTimeUnixNano)).UTC().Format(time.RFC3339)
			}
			fmt.Fprintf(&b, "  {%s} %s%s at %s\n", attrText(p.Attributes), valueText(p), start, time.Unix(0, int64(p.TimeUnixNano)).UTC().Format(time.RFC3339))
		}
	}
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for k := range f.errs {
			if !yield(k) {
				return
			}
		}
	}) {
		fmt.Fprintf(&b, "\nerror of %s: %s\n", name, strings.ReplaceAll(f.errs[name].Error(), "\n", "\n  "))
	}
	return b.String()
}

// newTestHost is a Host over a directory, with file systems that all have the same size and
// say which they are by their number of used blocks.
func newTestHost(t testing.TB, cfg Config, root string) *Host {
	t.Helper()
	h := New(cfg, root, "node-1", "1.2.3", nil, 0, slog.New(slog.DiscardHandler))
	t.Cleanup(func() { h.Close() })
	if f := scraperOf[*filesystem](h); f != nil {
		f.statfs = func(m *mount) error {
			m.buf = unix.Statfs_t{Bsize: 65536, Frsize: 4096, Blocks: 1000, Bfree: 600, Bavail: 550, Files: 100, Ffree: 90}
			if m.fstype == "btrfs" || m.fstype == "vfat" {
				m.buf.Files, m.buf.Ffree = 0, 0
			}
			return nil
		}
	}
	if c := scraperOf[*clock](h); c != nil {
		c.adjtimex = func(tx *unix.Timex) (int, error) {
			*tx = unix.Timex{Offset: -1500000, Freq: -1310720, Maxerror: 250000, Esterror: 1200, Status: unix.STA_NANO | unix.STA_PLL,
				Constant: 7, Tick: 10000, Tai: 37, Ppsfreq: 655360, Jitter: 2500, Shift: 4, Stabil: 65536, Jitcnt: 1, Calcnt: 2, Errcnt: 3, Stbcnt: 4}
			return unix.TIME_OK, nil
		}
	}
	return h
}

// scraperOf finds the scraper of a type, nil when it is off.
func scraperOf[T scraper](h *Host) (s T) {
	for i := range h.parts {
		if s, ok := h.parts[i].scraper.(T); ok {
			return s
		}
	}
	return s
}

func TestGolden(t *testing.T) {
	perCPU := Defaults()
	perCPU.CPU.PerCPU = true
	remote := Defaults()
	remote.Filesystem.Remote = true
	remote.Disk.Include = []string{"sd*", "nvme*"}
	remote.Network.Include = []string{"veth*", "lo", "eni*"}
	remote.Network.Exclude = nil
	for name, tc := range map[string]struct {
		root string
		cfg  Config
	}{
		"vm-6.18":  {"testdata/vm-6.18", Defaults()},
		"server":   {"testdata/server", Defaults()},
		"per_cpu":  {"testdata/server", perCPU},
		"included": {"testdata/server", remote},
		"old-3.10": {"testdata/old-3.10", Defaults()},
		"empty":    {"testdata/no-such-directory", Defaults()},
		"all":      {"testdata/server", everything()},
	} {
		t.Run(name, func(t *testing.T) {
			h := newTestHost(t, tc.cfg, tc.root)
			// What uname(2) says of the machine that the test runs on.
			h.group = otlp.NewGroup(slices.DeleteFunc(resource(h.root, "node-1"), func(kv otlp.KeyValue) bool {
				return kv.Key == "system.kernel.release" || kv.Key == "host.arch"
			}), otlp.SchemaURL, "stint/scrape/host", "1.2.3")
			got := scrapeAll(t, h, tick).text()
			file := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("scrape of %s differs from %s (-want +got; run go test -update after a look):\n%s", tc.root, file, diff)
			}
			again := scrapeAll(t, h, tick)
			if diff := cmp.Diff(got, again.text()); diff != "" {
				t.Errorf("a patched scrape differs from the encoded one:\n%s", diff)
			}
		})
	}
}

// The catalogue's rows that are on or auto are what is emitted, with those of the off ones that
// a setting switches on.
func TestMetricsAreTheCatalogue(t *testing.T) {
	data, err := os.Open("testdata/catalogue.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer data.Close()
	rows, err := csv.NewReader(data).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	type row struct{ Scraper, Instrument, Unit, Type, Attributes string }
	want, off := map[string]row{}, map[string]row{}
	for _, r := range rows[1:] {
		to := want
		if r[7] == "off" || r[0] == "process" { // the scraper is off, whatever it has
			to = off
		}
		to[r[1]] = row{strings.TrimPrefix(r[0], "fs."), r[2], r[3], r[4], attributeKeys(r[5])}
	}
	got := map[string]row{}
	for _, m := range Metrics() {
		kind, value := map[otlp.Instrument]string{otlp.Gauge: "gauge", otlp.Counter: "sum_monotonic", otlp.UpDown: "sum_updown"}[m.Instrument], "int"
		if m.Double {
			value = "double"
		}
		if w, ok := off[m.Name]; ok {
			want[m.Name] = w
			if m.When == "" && m.Scraper != "process" {
				t.Errorf("%s is off by default and does not say when there are points", m.Name)
			}
		}
		got[m.Name] = row{m.Scraper, kind, m.Unit, value, attributeKeys(m.Attributes)}
		if m.Description == "" || !strings.HasSuffix(m.Description, ".") || m.Source == "" {
			t.Errorf("%s has no description in a sentence, or no source", m.Name)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Metrics() differs from the catalogue (-want +got):\n%s", diff)
	}
}

// attributeKeys reduces "a=x|y; b=<int> (opt-in)" to "a b".
func attributeKeys(s string) string {
	var keys []string
	for part := range strings.SplitSeq(s, ";") {
		key, _, _ := strings.Cut(strings.TrimSpace(part), "=")
		key, _, _ = strings.Cut(key, " ")
		if key != "" && !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return strings.Join(keys, " ")
}

// Every metric of the table is emitted by the server that has one of everything, as the table
// says, and nothing else is.
func TestEmittedIsTheTable(t *testing.T) {
	m := newMachine(t, everything())
	m.scrape()
	m.edit("proc/stat", "cpu  1393280 ", "cpu  1394280 ") // shares of time need some
	f := m.scrape()
	emitted := map[string]*metricspb.Metric{}
	for _, m := range f.metrics {
		if emitted[m.Name] != nil {
			t.Errorf("%s is encoded in two pieces", m.Name)
		}
		emitted[m.Name] = m
		seen := map[string]bool{}
		for _, p := range pointsOf(m) {
			a := attrText(p.Attributes)
			if seen[a] {
				t.Errorf("%s{%s} twice", m.Name, a)
			}
			seen[a] = true
		}
	}
	for _, m := range Metrics() {
		if m.Scraper == "process" {
			continue
		}
		got := emitted[m.Name]
		delete(emitted, m.Name)
		if got == nil {
			t.Errorf("%s is in the table but not emitted", m.Name)
			continue
		}
		for _, p := range pointsOf(got) {
			for _, kv := range p.Attributes {
				key, value := kv.Key, kv.Value.GetStringValue()
				i := strings.Index("; "+m.Attributes, "; "+key)
				if i < 0 {
					t.Errorf("%s has the attribute %s, which the table does not have", m.Name, key)
					continue
				}
				declared, _, _ := strings.Cut(m.Attributes[i:], ";")
				_, values, closed := strings.Cut(declared, "=")
				values, _, _ = strings.Cut(values, " (")
				if closed && !strings.HasPrefix(values, "<") && !slices.Contains(strings.Split(values, "|"), value) {
					t.Errorf("%s has %s=%s, the table %s", m.Name, key, value, declared)
				}
			}
		}
	}
	for name := range emitted {
		t.Errorf("%s is emitted but not in the table", name)
	}
}
