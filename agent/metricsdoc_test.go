package agent

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"stint/export/otlp"
	"stint/scrape/cgroup"
	"stint/scrape/host"
	"stint/scrape/kubelet"
	"stint/scrape/series"
)

// TestMetricsDocs: docs/metrics.md is what the host's table and a running agent's registry say.
// -update rewrites it.
func TestMetricsDocs(t *testing.T) {
	const name = "../docs/metrics.md"
	want := metricsDocs(t)
	if *update {
		if err := os.WriteFile(name, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s is stale; go test ./agent -run MetricsDocs -update (-want +got)\n%s", name, d)
	}
}

// TestMessagesDocs: docs/operations.md explains every message that the agent can log from info
// upwards, under its level, and no other.
func TestMessagesDocs(t *testing.T) {
	const name = "../docs/operations.md"
	got := map[string]string{}
	doc, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range regexp.MustCompile("(?m)^\\| `(.+?)` \\| (info|warn|error) \\|").FindAllSubmatch(doc, -1) {
		got[string(row[1])] = string(row[2])
	}
	want := map[string]string{}
	call := regexp.MustCompile(`[lL]og\.(Info|Warn|Error)\(("(?:[^"\\]|\\.)*")`)
	err = filepath.WalkDir("..", func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains([]string{"bench", "testdata", ".git"}, d.Name()):
			return fs.SkipDir
		case filepath.Ext(file) != ".go" || strings.HasSuffix(file, "_test.go"):
			return nil
		}
		code, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		for _, m := range call.FindAllSubmatch(code, -1) {
			text, err := strconv.Unquote(string(m[2]))
			if err != nil {
				return fmt.Errorf("%s: %s: %w", file, m[2], err)
			}
			want[text] = strings.ToLower(string(m[1]))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("the table of messages in %s (-code +table)\n%s", name, d)
	}
}

func metricsDocs(t *testing.T) []byte {
	var b bytes.Buffer
	b.WriteString(metricsHead)
	metricTables(&b, host.Metrics())
	b.WriteString(metricsCgroup)
	metricTables(&b, cgroup.Metrics())
	b.WriteString(metricsKubelet)
	metricTables(&b, kubelet.StatsMetrics())
	b.WriteString(metricsNames)
	nameTables(&b)
	b.WriteString(metricsMiddle)
	ownMetrics(t, &b)
	b.WriteString(metricsTail)
	return b.Bytes()
}

var cell = strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;", ">", "&gt;")

// metricTables writes a table for each scraper of a source.
func metricTables(b *bytes.Buffer, all []series.Metric) {
	scraper := ""
	for _, m := range all {
		if m.Scraper != scraper {
			scraper = m.Scraper
			fmt.Fprintf(b, "\n### `%s`\n\n| metric | instrument | unit | attributes | meaning | source |\n|---|---|---|---|---|---|\n", scraper)
		}
		kind := map[otlp.Instrument]string{otlp.Gauge: "gauge", otlp.Counter: "counter", otlp.UpDown: "updowncounter"}[m.Instrument]
		value := "int"
		if m.Double {
			value = "double"
		}
		meaning := m.Description
		if m.When != "" {
			meaning += " Only when " + m.When + "."
		}
		fmt.Fprintf(b, "| `%s` | %s, %s | `%s` | %s | %s | %s |\n", m.Name, kind, value, m.Unit,
			cell.Replace(m.Attributes), cell.Replace(meaning), cell.Replace(m.Source))
	}
}

// nameTables writes whose names metrics get by scrape.names.
func nameTables(b *bytes.Buffer) {
	ours := map[string]bool{}
	for _, m := range slices.Concat(host.Metrics(), cgroup.Metrics(), kubelet.StatsMetrics()) {
		ours[m.Name] = true
	}
	for _, part := range []struct {
		heading string
		rules   []series.Rule
	}{{"node_exporter", host.PrometheusRules}, {"cAdvisor and the kubelet", kubelet.PrometheusRules}} {
		fmt.Fprintf(b, "\n### Names of %s\n\n| metric | points | name there | labels | value |\n|---|---|---|---|---|\n", part.heading)
		for _, r := range part.rules {
			if !ours[r.From] { // but in the catalogue
				continue
			}
			value := "the same"
			switch {
			case r.Extra:
				value = "read for itself"
			case r.Fixed:
				value = fmt.Sprint(r.Add)
			case r.Scale < 0:
				value = fmt.Sprintf("%g - ours", r.Add)
			case r.Name == "node_sockstat_TCP_mem" || r.Name == "node_sockstat_UDP_mem":
				value = "by the size of a page" // which is the machine's
			case r.Scale > 0 && r.Scale < 1:
				value = fmt.Sprintf("by %g", 1/r.Scale)
			case r.Scale > 0:
				value = fmt.Sprintf("times %g", r.Scale)
			}
			fmt.Fprintf(b, "| `%s` | %s | `%s` | %s | %s |\n", r.From, cell.Replace(r.If), r.Name, cell.Replace(r.Labels), value)
		}
	}
	b.WriteString("\n### Under those names only\n\n| metric | type | labels | meaning | source |\n|---|---|---|---|---|\n")
	for _, m := range slices.Concat(host.NodeExporterMetrics, cgroup.CAdvisorMetrics, kubelet.CAdvisorMetrics) {
		kind := "gauge"
		if m.Instrument == otlp.Counter {
			kind = "counter"
		}
		meaning := m.Description
		if m.When != "" {
			meaning += " Only when " + m.When + "."
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s |\n", m.Name, kind, cell.Replace(m.Attributes), cell.Replace(meaning), cell.Replace(m.Source))
	}
}

// own is one of the agent's own metrics.
type own struct {
	kind, help string
	labels     []string
}

// ownMetrics writes a table for each part of the agent, from a real one. The registry's
// descriptions name also what has no value yet, such as a counter of a reason that did not occur.
func ownMetrics(t *testing.T, b *bytes.Buffer) {
	cfg := testConfig(t)
	cfg.Scrape.Kubelet.Enabled = "true" // whose metrics are there where none answers, too
	writeLog(t, cfg.Tail.Containers.Root, 1)
	r := startAgent(t, cfg)
	r.until("delivered", func(s Status) bool { return s.Lines.Delivered == 1 && s.Metrics.Delivered > 0 })

	all := map[string]*own{}
	descs := make(chan *prometheus.Desc, 1000)
	r.a.reg.Describe(descs)
	close(descs)
	for d := range descs {
		name, m := describe(t, d)
		if strings.HasPrefix(name, "stint_") {
			all[name] = &m
		}
	}
	families, err := r.a.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if m := all[f.GetName()]; m != nil {
			m.kind = strings.ToLower(f.GetType().String())
		}
	}

	part := ""
	for _, name := range slices.Sorted(maps.Keys(all)) {
		m := all[name]
		if m.kind == "" && strings.HasSuffix(name, "_total") {
			m.kind = "counter" // nothing was counted yet
		}
		if m.kind == "" || !strings.HasSuffix(m.help, ".") {
			t.Errorf("%s: type %q, help %q; it needs a value in this test, and a help text that is a sentence", name, m.kind, m.help)
		}
		if p := strings.Split(name, "_")[1]; p != part {
			part = p
			fmt.Fprintf(b, "\n### `stint_%s_`\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n", part)
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", name, m.kind, strings.Join(m.labels, ", "), cell.Replace(m.help))
	}
}

// descPattern is how client_golang prints a Desc, which has no getters.
var descPattern = regexp.MustCompile(`^Desc\{fqName: ("(?:[^"\\]|\\.)*"), help: ("(?:[^"\\]|\\.)*"),.* constLabels: \{(.*)\}, variableLabels: \{(.*)\}\}$`)

func describe(t *testing.T, d *prometheus.Desc) (name string, m own) {
	t.Helper()
	parts := descPattern.FindStringSubmatch(d.String())
	if parts == nil {
		t.Fatalf("not understood: %s", d)
	}
	for i, to := range []*string{&name, &m.help} {
		s, err := strconv.Unquote(parts[i+1])
		if err != nil {
			t.Fatalf("%s: %v", d, err)
		}
		*to = s
	}
	for l := range strings.SplitSeq(parts[3]+","+parts[4], ",") {
		if l != "" {
			m.labels = append(m.labels, "`"+l+"`")
		}
	}
	return name, m
}

const metricsHead = `# Metrics

<!-- Generated from the tables of scrape/host, cgroup and kubelet and a running agent's registry: go test ./agent -run MetricsDocs -update -->

## Of the host

Source ` + "`host`" + ` in pipelines, sent as OTLP every ` + "`scrape.interval`" + `. ` + "`stint-agent once`" + ` prints what this machine has.
Names are those of OpenTelemetry's semantic conventions where these have one. Counters are cumulative since the machine,
or the device, started; updowncounters are cumulative sums that are not monotonic. Paths lie below ` + "`scrape.root_path`" + `;
where ` + "`/proc/1`" + ` is hidden (` + "`hidepid`" + `) and the root path is ` + "`/`" + `, ` + "`/proc/self`" + ` takes its place. Each heading is a scraper, a
section of ` + "`scrape.host`" + ` with a switch ` + "`enabled`" + `.

Metrics whose value is always 1 tell by their attributes what something is; one that says so is another series when the thing changes.
` + "`textfile`" + ` sends whatever names are in the files: counters as sums, untyped ones as gauges, histograms and summaries as such.

Unit ` + "`By`" + ` is bytes, ` + "`s`" + ` seconds, ` + "`{…}`" + ` a count of what stands in the braces.
`

const metricsCgroup = `
## Of containers, pods and units

Source ` + "`cgroup`" + ` in pipelines: read from the files of the control groups, of version 1, 2 or both, below ` + "`scrape.root_path`" + `.
Resources: ` + "`container.id` or `k8s.pod.uid`" + `, and what the kubelet tells of the pod: names, workload, image. Units are told where there are no pods.
What the kubelet knows, too, it tells only while these files can't be read (` + "`scrape.dedup`" + `).
`

const metricsKubelet = `
## Of the kubelet

Source ` + "`kubelet`" + ` in pipelines: GET /stats/summary each ` + "`scrape.kubelet.interval`" + `, since each call makes the kubelet look at every log file.
Points carry the times at which the kubelet measured; what it has not measured anew is not sent again. What is missing in its answer has no
point.
`

const metricsNames = `
## Under the names of node_exporter, cAdvisor and the kubelet

With ` + "`scrape.names: prometheus`" + ` these take the place of the names above, with ` + "`both`" + ` they come beside them, so that dashboards and alerts
that exist keep working, at Prometheus' OTLP receiver or at ` + "`/metrics/node`" + ` (` + "`admin.node_metrics`" + `). What is not in these tables keeps its name.
They have no unit, so that Prometheus appends none, and are gauges unless their names end in ` + "`_total`" + `: Prometheus appends that to every counter.
Points that get the same name and labels are added up. What they need in more detail than is on (each CPU, each line of /proc/meminfo) is
read for them and not sent under the names above. A quantity that another source has (` + "`scrape.dedup`" + `) is sent under no name.

Labels on each point cost bytes: 110 pods with two containers each are 1.7 MB a scrape before compression, in place of 0.3 MB, and 4 MiB of
metrics wait for an exporter at most. From some 200 pods on choose ` + "`scrape.interval`" + ` and the destination with that in mind, or pull.

Over OTLP ` + "`job`" + ` is ` + "`node-exporter`" + ` for the host and ` + "`kubelet`" + ` for containers, pods and volumes (` + "`service.name`" + `), and ` + "`instance`" + ` is the node's name; where a
dashboard asks for another job, or for ` + "`metrics_path`" + `, say so in Prometheus' configuration. With ` + "`both`" + `, ` + "`container.memory.usage`" + ` and
` + "`container.memory.working_set`" + ` of the names above become names of cAdvisor's at Prometheus: choose by a label such as ` + "`container!=\"\"`" + `, or do not add them up.

Labels of containers and pods: ` + "`container`, `id` (path of the control group, or the container's id), `image`, `name` (the container's id), `namespace`, `pod`" + `,
as far as they are known; of volumes: ` + "`namespace`, `persistentvolumeclaim`" + `, and volumes without a claim keep the names above. ` + "`{…}`" + ` in a name is the value of
that attribute; ` + "`a:x`" + ` is what follows the last x in the value of a. Chips are called otherwise than by node_exporter.
`

const metricsMiddle = `
## Of the agent itself

At ` + "`http://127.0.0.1:8888/metrics`" + ` (` + "`admin.listen`" + `) for Prometheus, and as source ` + "`self`" + ` in pipelines: sent as OTLP every
` + "`scrape.interval`" + ` under ` + "`service.name=stint-agent`" + `. No file, pod or container is ever a label. What to do when one moves:
[operations.md](operations.md).

` + "`stint_export_dropped_records_total` and `stint_scrape_errors_total`" + ` are absent until something is dropped or fails.
`

const metricsTail = `
Besides these, ` + "`process_*`" + ` and ` + "`go_*`" + ` of the Prometheus client library; ` + "`process_*`" + ` is sent as OTLP too.
`
