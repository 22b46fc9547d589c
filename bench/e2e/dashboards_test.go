package e2e

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"stint/scrape/kube/follow"
	"stint/scrape/kube/replay"
)

// absent are queries of dashboards that have nothing to show in this test, by panel, and why.
var absent = map[string]string{
	"pods: Periods with CPU taken away, A": "from the control groups of containers, and there are none here",
	"pods: Killed for want of memory, A":   "from the control groups of containers, and there are none here",
	"self: Given up, by reason, A":         "a series comes with the first record that is given up",
}

// worst is the end of a query that shows only what is not well.
var worst = regexp.MustCompile(` > 0(\)?)$`)

// Every query of the dashboards, against what a real Prometheus with its default settings keeps of an agent, a gateway and a
// leader that are set up as the chart does it: agent → stint-cluster → otlphttp/prometheus.
func TestDashboards(t *testing.T) {
	if testing.Short() {
		t.Skip("needs bin/stint-agent, bin/stint-cluster and bench/prometheus/prometheus: make test-dashboards")
	}
	server := startPrometheus(t, "--web.enable-otlp-receiver")
	dir := t.TempDir()
	clusterConfig, agentConfig := filepath.Join(dir, "cluster.yaml"), filepath.Join(dir, "agent.yaml")
	kubeconfig := filepath.Join(dir, "kubeconfig")
	writeFile(t, kubeconfig, fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","clusters":[{"name":"c","cluster":{"server":%q}}],"users":[{"name":"u","user":{}}],"contexts":[{"name":"x","context":{"cluster":"c","user":"u"}}],"current-context":"x"}`, startKubeAPI(t)))
	gateway, http1 := freeAddress(t), freeAddress(t)
	writeFile(t, clusterConfig, fmt.Sprintf(`
state_dir: %s
memory_limiter: {limit_mib: 256}
admin: {listen: ""}
health: {listen: ""}
gateway: {grpc: "%s", http: "%s"}
kubernetes: {kubeconfig: %s}
leader: {lease_namespace: stint}
state: {interval: 1s}
batch: {timeout: 500ms}
exporters: {otlphttp/prometheus: {endpoint: "%s/api/v1/otlp"}, debug: {}}
pipelines: {metrics: {sources: [otlp, state, self], exporters: [otlphttp/prometheus]}, logs: {sources: [otlp, events], exporters: [debug]}}
`, filepath.Join(dir, "cluster"), gateway, http1, kubeconfig, server.url))
	cluster := startProcess(t, "../../bin/stint-cluster", "--config", clusterConfig)
	awaitListening(t, cluster, gateway, http1)
	malformed := func() {
		resp, err := http.Post("http://"+http1+"/v1/logs", "application/x-protobuf", strings.NewReader("no OTLP"))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}

	log := filepath.Join(dir, "app.log")
	writeFile(t, log, strings.Repeat("a line\n", 100))
	endpoint, ca := startKubelet(t)
	writeFile(t, agentConfig, fmt.Sprintf(`
state_dir: %s
node_name: lab-node-1
admin: {listen: "%s"}
health: {listen: ""}
tail: {containers: {root: %s}, files: [{include: [%s]}]}
scrape: {interval: 1s, kubelet: {enabled: true, endpoint: "%s", ca_file: %s, token_file: "", interval: 1s}}
batch: {timeout: 500ms}
exporters: {otlp: {endpoint: "%s", tls: {insecure: true}}}
`, filepath.Join(dir, "agent"), freeAddress(t), filepath.Join(dir, "pods"), log, endpoint, ca, gateway))
	agent := startProcess(t, *agentBinary, "--config", agentConfig)
	malformed()
	waitFor(t, time.Minute, "five scrapes of everything in Prometheus", func() bool {
		agent.mustRun(t)
		cluster.mustRun(t)
		for _, name := range []string{"system_memory_usage_bytes", "container_memory_working_set_bytes", "k8s_pod_phase", "stint_tail_logs", "stint_leader", "stint_gateway_refused_requests_total"} {
			if got := server.query(t, `max(count_over_time(`+name+`[1m]))`); len(got) != 1 || got[0].value < 5 {
				return false
			}
		}
		return true
	})
	variables := strings.NewReplacer("$__rate_interval", "1m", "$__range", "5m", "$node", ".*", "$namespace", ".*", "$pod", ".*", "$instance", ".*", "$job", ".*")
	files, err := filepath.Glob("../../deploy/grafana/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("no dashboards", err)
	}
	shown, well, used := 0, 0, map[string]bool{}
	for _, file := range files {
		var d struct {
			Panels []struct {
				Title   string
				Targets []struct{ RefID, Expr string }
			}
		}
		if err := json.Unmarshal([]byte(readFile(t, file)), &d); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				place := strings.TrimSuffix(filepath.Base(file), ".json") + ": " + p.Title + ", " + q.RefID
				if got := server.query(t, variables.Replace(q.Expr)); len(got) > 0 {
					shown++
				} else if got := server.query(t, worst.ReplaceAllString(variables.Replace(q.Expr), "$1")); len(got) > 0 {
					well++
				} else if why, ok := absent[place]; ok {
					t.Logf("%s: nothing to show: %s", place, why)
				} else {
					t.Errorf("%s: nothing to show\n%s", place, variables.Replace(q.Expr))
				}
				used[place] = true
			}
		}
	}
	for place := range absent {
		if !used[place] {
			t.Errorf("%s: there is no such query", place)
		}
	}
	t.Logf("%d queries: %d have something to show, %d find nothing that is not well", len(used), shown, well)
}

// startKubeAPI starts an API server of the node whose kubelet startKubelet replays: its pods, and an object of each kind that a
// dashboard asks for, none of them as it should be.
func startKubeAPI(t *testing.T) string {
	t.Helper()
	objects := replay.New(t)
	have := func(group, name, kind string, namespaced bool, texts ...string) {
		version := "v1"
		if group == "autoscaling" {
			version = "v2"
		}
		r := follow.Resource{Group: group, Version: version, Name: name, Kind: kind, Namespaced: namespaced, Watchable: true}
		objects.Have(r)
		for n, text := range texts {
			meta := fmt.Sprintf(`{"apiVersion":%q,"kind":%q,"metadata":{"name":"one","namespace":"shop","uid":"%s-%d","resourceVersion":"VERSION"},`, r.APIVersion(), kind, name, n)
			objects.Put(r, follow.Added, meta+text+"}")
		}
	}
	have("", "nodes", "Node", false)
	objects.Put(follow.Resource{Version: "v1", Name: "nodes", Kind: "Node"}, follow.Added, `{"apiVersion":"v1","kind":"Node","metadata":{"name":"lab-node-1","uid":"node-1","resourceVersion":"VERSION"},
		"status":{"allocatable":{"cpu":"2","memory":"8Gi","pods":"110"},"conditions":[{"type":"Ready","status":"True"},{"type":"MemoryPressure","status":"False"},{"type":"DiskPressure","status":"False"},{"type":"PIDPressure","status":"False"}]}}`)
	have("apps", "deployments", "Deployment", true, `"spec":{"replicas":3},"status":{"availableReplicas":2}`)
	have("apps", "statefulsets", "StatefulSet", true, `"spec":{"replicas":2},"status":{"readyReplicas":1}`)
	have("apps", "daemonsets", "DaemonSet", true, `"status":{"desiredNumberScheduled":2,"numberReady":1}`)
	have("batch", "jobs", "Job", true, `"spec":{"completions":1},"status":{"failed":2}`)
	have("autoscaling", "horizontalpodautoscalers", "HorizontalPodAutoscaler", true, `"spec":{"maxReplicas":3},"status":{"desiredReplicas":3,"currentReplicas":3}`)
	have("", "persistentvolumeclaims", "PersistentVolumeClaim", true, `"status":{"phase":"Pending"}`)
	have("", "events", "Event", true)
	objects.Have(replay.Pods)
	var pods struct{ Items []map[string]any }
	if err := json.Unmarshal(unpacked(t, "pods.json.gz"), &pods); err != nil {
		t.Fatal(err)
	}
	for _, pod := range pods.Items {
		pod["apiVersion"], pod["kind"] = "v1", "Pod"
		pod["metadata"].(map[string]any)["resourceVersion"] = "VERSION"
		text, err := json.Marshal(pod)
		if err != nil {
			t.Fatal(err)
		}
		objects.Put(replay.Pods, follow.Added, string(text))
	}

	leases := replay.NewGenerator(0, 0, 0) // the other server has none
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/apis/coordination.k8s.io/v1/namespaces/") {
			leases.ServeHTTP(w, r)
			return
		}
		objects.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s.URL
}

// startKubelet serves the captured answers of a real kubelet, as if they were of now.
func startKubelet(t *testing.T) (endpoint, ca string) {
	t.Helper()
	pods, summary := unpacked(t, "pods.json.gz"), unpacked(t, "stats_summary.busy.json.gz")
	times := regexp.MustCompile(`"time": "[^"]*"`)
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/pods":
			w.Write(pods)
		case "/stats/summary":
			w.Write(times.ReplaceAll(summary, fmt.Appendf(nil, `"time": "%s"`, time.Now().UTC().Format(time.RFC3339))))
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(s.Close)
	ca = filepath.Join(t.TempDir(), "kubelet.crt")
	writeFile(t, ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
	return s.URL, ca
}

func unpacked(t *testing.T, name string) []byte {
	t.Helper()
	packed, err := os.ReadFile(filepath.Join("../../scrape/kubelet/testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
