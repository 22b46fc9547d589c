package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// startHostmetrics starts a collector with every scraper of the hostmetrics receiver, each with its
// default metrics, and the time of each CPU in place of the sum. It sends to another collector.
func startHostmetrics(t *testing.T, dir string, to *collector) *process {
	t.Helper()
	config := filepath.Join(dir, "hostmetrics.yaml")
	writeFile(t, config, fmt.Sprintf(`
receivers:
  hostmetrics:
    collection_interval: 250ms
    initial_delay: 0s
    scrapers: {cpu: {metrics: {system.cpu.time: {attributes: [cpu, state]}}}, disk: {}, load: {}, filesystem: {}, memory: {}, network: {}, nfs: {}, paging: {}, processes: {}, process: {mute_process_all_errors: true}, system: {}}
exporters:
  otlp_http: {endpoint: "http://%s", compression: none}
service:
  telemetry: {metrics: {level: none}, logs: {level: error}}
  pipelines:
    metrics: {receivers: [hostmetrics], exporters: [otlp_http]}
`, to.http))
	return startProcess(t, "../hostmetrics/hostmetrics", "--config", config)
}

func isOurs(scope string) bool        { return strings.HasPrefix(scope, "stint/scrape/") }
func isHostmetrics(scope string) bool { return strings.Contains(scope, "hostmetricsreceiver") }

// ofScope are the metrics of the scopes that are wanted.
func ofScope(requests []metricsRequest, want func(scope string) bool) (of []metricsRequest) {
	for _, request := range requests {
		var one metricsRequest
		for _, rm := range request.ResourceMetrics {
			all := rm.ScopeMetrics
			rm.ScopeMetrics = nil
			for _, sm := range all {
				if want(sm.Scope.Name) {
					rm.ScopeMetrics = append(rm.ScopeMetrics, sm)
				}
			}
			one.ResourceMetrics = append(one.ResourceMetrics, rm)
		}
		of = append(of, one)
	}
	return of
}

// storeOf sorts points by series. The labels of one are its attributes and, if it has one, the
// process of its resource. took is how long after its time a value may have been read.
func storeOf(t *testing.T, requests []metricsRequest, took time.Duration) store {
	t.Helper()
	s := store{}
	for _, request := range requests {
		for _, rm := range request.ResourceMetrics {
			for _, sm := range rm.ScopeMetrics {
				for _, m := range sm.Metrics {
					for _, p := range m.points().DataPoints {
						labels := map[string]string{}
						for _, kv := range p.Attributes {
							labels[kv.Key] = kv.Value.text()
						}
						for _, kv := range rm.Resource.Attributes {
							if kv.Key == "process.pid" {
								labels[kv.Key] = kv.Value.text()
							}
						}
						at := time.Unix(0, number(t, p.Time))
						s.add(m.Name, labels, reading{at, at.Add(took), p.value(t)})
					}
				}
			}
		}
	}
	return s
}

func (v value) text() string {
	switch {
	case v.String != nil:
		return *v.String
	case v.Int != nil:
		return *v.Int
	}
	return ""
}
