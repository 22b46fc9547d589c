// Package prometheus checks the queries of deploy/grafana and deploy/prometheus with Prometheus' own parser and
// its own translation of OTLP's names.
package prometheus

import (
	"encoding/json"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/otlptranslator"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

const root = "../../"

// promoted are the labels that stint's exporter makes of a resource's identity (export/prometheus.go), and those
// that Prometheus makes of service.name and service.instance.id.
var promoted = regexp.MustCompile(`^(job|instance|host_name|container_id|container_name|k8s_[a-z]+_name|k8s_pod_uid|k8s_node_system_container_name|systemd_unit_name)$`)

// switched is in the meaning of a metric that is off by default.
var switched = regexp.MustCompile(`Only when [a-z._]+ is on`)

// sent is what stint sends, under the names that a Prometheus with its default settings gives it: for each metric the labels
// of its points.
func sent(t *testing.T) map[string]map[string]bool {
	t.Helper()
	namer := otlptranslator.NewMetricNamer("", otlptranslator.UnderscoreEscapingWithSuffixes)
	all := map[string]map[string]bool{}
	add := func(name, instrument, unit, attributes string) {
		kind := map[string]otlptranslator.MetricType{"gauge": otlptranslator.MetricTypeGauge, "counter": otlptranslator.MetricTypeMonotonicCounter, "updowncounter": otlptranslator.MetricTypeNonMonotonicCounter}[instrument]
		translated, err := namer.Build(otlptranslator.Metric{Name: name, Unit: unit, Type: kind})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if all[translated] == nil {
			all[translated] = map[string]bool{}
		}
		for _, a := range strings.Split(attributes, ";") {
			key, _, _ := strings.Cut(strings.Trim(strings.TrimSpace(a), "`"), "=")
			key, _, _ = strings.Cut(key, " ")
			all[translated][strings.NewReplacer(".", "_", "`", "").Replace(key)] = true
		}
	}
	for _, doc := range []string{"metrics.md", "cluster.md", "cluster-metrics.md"} {
		text, err := os.ReadFile(root + "docs/" + doc)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(strings.ReplaceAll(string(text), `\|`, "¦")) {
			var cells []string
			for c := range strings.SplitSeq(strings.Trim(strings.TrimSpace(line), "|"), "|") {
				cells = append(cells, strings.TrimSpace(c))
			}
			if len(cells) < 4 || !strings.HasPrefix(cells[0], "`") {
				continue
			}
			name := strings.Trim(cells[0], "`")
			instrument, _, _ := strings.Cut(cells[1], ",")
			switch {
			case strings.HasPrefix(name, "stint_"): // | metric | type | labels | meaning |
				unit := ""
				for suffix, u := range map[string]string{"_seconds": "s", "_bytes": "By"} { // as agent/process/self.go has it
					if strings.HasSuffix(strings.TrimSuffix(name, "_total"), suffix) {
						unit = u
					}
				}
				add(name, instrument, unit, strings.ReplaceAll(cells[2], ",", ";"))
			case doc == "cluster-metrics.md" && len(cells) == 8: // | metric | of k8s_cluster | instrument | unit | attributes | default | …
				if other := strings.Trim(cells[1], "`"); other != "" {
					name = other
				}
				if cells[5] == "off" || strings.Contains(cells[5], "semconv") { // not sent by default
					continue
				}
				add(name, "gauge", strings.Trim(cells[3], "`"), cells[4])
			case doc == "metrics.md" && len(cells) == 6: // | metric | instrument | unit | attributes | meaning | source |
				if switched.MatchString(cells[4]) {
					continue
				}
				add(name, instrument, strings.Trim(cells[2], "`"), cells[3])
			}
		}
	}
	for _, name := range []string{"process_cpu_seconds_total", "process_resident_memory_bytes"} { // of the Go client, with the agent's own
		all[name] = map[string]bool{}
	}
	if len(all) < 300 {
		t.Fatalf("only %d metrics in docs", len(all))
	}
	return all
}

// query is one of a dashboard or a rule.
type query struct{ place, expr string }

func queries(t *testing.T) (all []query) {
	t.Helper()
	files, err := filepath.Glob(root + "deploy/grafana/*.json")
	if err != nil || len(files) != 5 {
		t.Fatal("dashboards:", files, err)
	}
	variables := strings.NewReplacer("$__rate_interval", "5m", "$__range", "1h")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var d struct {
			Panels []struct {
				Title   string
				Targets []struct{ Expr string }
			}
			Templating struct {
				List []struct{ Name, Definition string }
			}
		}
		if err := json.Unmarshal(text, &d); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				all = append(all, query{filepath.Base(file) + ": " + p.Title, variables.Replace(q.Expr)})
			}
		}
		for _, v := range d.Templating.List {
			if m := regexp.MustCompile(`^label_values\((.+), (\w+)\)$`).FindStringSubmatch(v.Definition); m != nil {
				all = append(all, query{filepath.Base(file) + ": variable " + v.Name, "count by (" + m[2] + ") (" + m[1] + ")"})
			}
		}
	}
	rules, errs := rulefmt.ParseFile(root+"deploy/prometheus/rules.yaml", false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			all = append(all, query{"rules.yaml: " + r.Alert, r.Expr})
		}
	}
	return all
}

// check names what is wrong with a query: a metric that is not sent, or a label that none of its metrics has.
func check(t *testing.T, all map[string]map[string]bool, expr string) (faults []string) {
	t.Helper()
	e, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		return []string{err.Error()}
	}
	parser.Inspect(e, func(n parser.Node, path []parser.Node) error {
		v, ok := n.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		has, ok := all[v.Name]
		if !ok {
			faults = append(faults, v.Name+" is not sent")
			return nil
		}
		want := map[string]bool{}
		for _, m := range v.LabelMatchers {
			if m.Name != model.MetricNameLabel {
				want[m.Name] = true
			}
		}
		for _, p := range path { // what is grouped by, or joined on, around it
			switch p := p.(type) {
			case *parser.AggregateExpr:
				if !p.Without {
					for _, l := range p.Grouping {
						want[l] = true
					}
				}
			case *parser.BinaryExpr:
				if p.VectorMatching != nil && p.VectorMatching.On {
					for _, l := range p.VectorMatching.MatchingLabels {
						want[l] = true
					}
				}
			}
		}
		for _, l := range slices.Sorted(maps.Keys(want)) {
			if !has[l] && !promoted.MatchString(l) {
				faults = append(faults, v.Name+" has no label "+l)
			}
		}
		return nil
	})
	return faults
}

// Every metric and label in the dashboards and rules is one that stint sends by default.
func TestQueries(t *testing.T) {
	all := sent(t)
	list := queries(t)
	for _, q := range list {
		for _, f := range check(t, all, q.expr) {
			t.Errorf("%s: %s\n%s", q.place, f, q.expr)
		}
	}
	t.Logf("%d queries, %d metrics", len(list), len(all))
}

func TestCheckFindsFaults(t *testing.T) {
	all := sent(t)
	for expr, want := range map[string]string{
		`system_cpu_time_seconds_total{cpu_mode="idle"}`:       "",
		`system_cpu_time_seconds{cpu_mode="idle"}`:             "system_cpu_time_seconds is not sent",
		`system_cpu_time_seconds_total{mode="idle"}`:           "system_cpu_time_seconds_total has no label mode",
		`sum by (reason) (stint_export_up)`:                    "stint_export_up has no label reason",
		`k8s_pod_created_time_seconds`:                         "k8s_pod_created_time_seconds is not sent", // off by default
		`stint_leader unless on (signal) stint_tail_logs`:      "stint_leader has no label signal",
		`sum(rate(stint_tail_lost_bytes_total[5m])) by (`:      "1:48: parse error",
		`sum by (host_name) (system_memory_linux_dirty_bytes)`: "",
	} {
		got := strings.Join(check(t, all, expr), "; ")
		if want == "" && got != "" || !strings.HasPrefix(got, want) {
			t.Errorf("check(%s) = %q, want %q", expr, got, want)
		}
	}
}

// So is every metric that the documents name as it is in a Prometheus.
func TestDocsNames(t *testing.T) {
	all := sent(t)
	name := regexp.MustCompile(`\b(stint|k8s)_[a-z0-9_]+\b`)
	for _, doc := range []string{"alerts.md", "migrate.md", "security.md", "sizing.md"} {
		text, err := os.ReadFile(root + "docs/" + doc)
		if err != nil {
			t.Fatal(err)
		}
		for n := range slices.Values(name.FindAllString(string(text), -1)) {
			if all[n] == nil && !promoted.MatchString(n) && n != "k8s_cluster" && n != "k8s_events" && n != "k8s_leader_elector" { // parts of the Collector
				t.Errorf("docs/%s: %s is not sent", doc, n)
			}
		}
	}
}
