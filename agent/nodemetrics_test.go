package agent

import (
	"net/http"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"stint/scrape/series"
)

// What is sent of this machine can be pulled, under the names chosen, as Prometheus reads it: no
// series twice, no metric in two groups.
func TestNodeMetrics(t *testing.T) {
	for names, want := range map[string]map[string]bool{
		series.SemConv:    {"system_cpu_time_seconds_total": true, "system_memory_usage_bytes": true, "node_cpu_seconds_total": false, "stint_scrape_points_total": false},
		series.Prometheus: {"system_cpu_time_seconds_total": false, "system_disk_limit_bytes": true, "node_cpu_seconds_total": true, "node_memory_MemFree_bytes": true, "node_vmstat_pgfault": true},
		series.Both:       {"system_cpu_time_seconds_total": true, "node_cpu_seconds_total": true, "node_uname_info": true},
	} {
		t.Run(names, func(t *testing.T) {
			cfg := testConfig(t)
			cfg.Admin.NodeMetrics, cfg.Scrape.Names, cfg.Scrape.Interval = true, names, time.Second
			r := startAgent(t, cfg)
			r.until("scraped", func(s Status) bool { return s.Metrics.Delivered > 300 }) // more than one scrape
			code, body := r.get(r.a.claim.Admin.Addr().String(), "/metrics/node")
			if code != http.StatusOK {
				t.Fatalf("%d %s", code, body)
			}
			parser := expfmt.NewTextParser(model.LegacyValidation)
			families, err := parser.TextToMetricFamilies(strings.NewReader(body))
			if err != nil {
				t.Fatalf("%v in\n%s", err, body)
			}
			for name, there := range want {
				if (families[name] != nil) != there {
					t.Errorf("%s is there: %v, want %v", name, !there, there)
				}
			}
			seen, types, last := map[string]bool{}, map[string]bool{}, ""
			for line := range strings.Lines(body) {
				if strings.HasPrefix(line, "# HELP") {
					continue
				}
				if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
					if last, _, _ = strings.Cut(rest, " "); types[last] {
						t.Errorf("%s is in two groups", last)
					}
					types[last] = true
					continue
				}
				id := line[:max(strings.LastIndexByte(line, '}')+1, strings.IndexByte(line, ' '))]
				if seen[id] {
					t.Errorf("%s is there twice", id)
				}
				seen[id] = true
				if name, _, _ := strings.Cut(id, "{"); name != last {
					t.Errorf("%s stands under %s", id, last)
				}
			}
			for name, f := range families {
				counter, named := f.GetType() == dto.MetricType_COUNTER, strings.HasSuffix(name, "_total")
				if counter != named {
					t.Errorf("%s: counter %v", name, counter)
				}
			}
			if len(seen) < 100 {
				t.Errorf("%d series", len(seen))
			}
		})
	}
}

// It is off unless somebody wants it.
func TestNoNodeMetrics(t *testing.T) {
	r := startAgent(t, testConfig(t))
	if code, _ := r.get(r.a.claim.Admin.Addr().String(), "/metrics/node"); code != http.StatusNotFound {
		t.Errorf("/metrics/node answers %d", code)
	}
}
