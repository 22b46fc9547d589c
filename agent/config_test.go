package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stint/agent/config"
	"stint/agent/process"
	"stint/export"
)

// loadText loads a configuration from a file with this text; an empty one means no file.
func loadText(t *testing.T, text string, env []string, set ...string) (*Config, *process.Report) {
	t.Helper()
	args := process.LoadArgs{Env: append([]string{"NODE_NAME=n"}, env...), Set: set}
	if text != "" {
		args.File = filepath.Join(t.TempDir(), "stint.yaml")
		if err := os.WriteFile(args.File, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Load(args)
}

func TestNothingConfiguredWorks(t *testing.T) {
	cfg, report := Load(process.LoadArgs{Env: []string{"NODE_NAME=n", "XDG_STATE_HOME=/tmp/x"}})
	if len(report.Faults) > 0 {
		t.Fatalf("faults:\n%v", report.Faults)
	}
	want := Defaults()
	want.NodeName, want.KubernetesNode = "n", "n"
	want.StateDir = cfg.StateDir // depends on who runs the test
	want.Pipelines = export.Pipelines{}
	if d := cmp.Diff(want, *cfg); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

// TestContract: the keys that scripts rely on, as design.md has them, as far as they exist yet.
func TestContract(t *testing.T) {
	const text = `
state_dir: /var/lib/stint
node_name: ${env:K8S_NODE_NAME}
log: {level: info, format: auto}
admin:  {listen: "127.0.0.1:8888"}
health: {listen: "127.0.0.1:13133"}
tail:
  containers: {root: /var/log/pods, exclude: []}
  files: [{include: ["/var/log/syslog"], format: auto}]
  start_at: beginning
  max_line_bytes: 1048576
  max_deleted_bytes: 1073741824
  multiline: off
scrape:
  interval: 10s
  root_path: /
  host: {enabled: true}
  kubelet: {enabled: auto, endpoint: "https://${env:K8S_NODE_NAME}:10250", ca_file: /ca, token_file: /token, insecure_skip_verify: false}
batch: {send_batch_size: 10000, send_batch_max_bytes: 4194304, timeout: 5s}
memory_limiter: {check_interval: 1s, limit_percentage: 80, spike_limit_percentage: 25}
exporters:
  otlp: {endpoint: "stint-cluster:4317", compression: zstd, tls: {insecure: false, ca_file: /ca, cert_file: /c, key_file: /k}, headers: {}}
  otlphttp/prometheus: {metrics_endpoint: "http://prometheus:9090/api/v1/otlp/v1/metrics"}
pipelines:
  logs: {sources: [tail], exporters: [otlp]}
  metrics: {sources: [host], exporters: [otlp]}
`
	cfg, report := loadText(t, text, []string{"K8S_NODE_NAME=node-1"})
	if len(report.Faults) > 0 {
		t.Fatalf("faults:\n%v", report.Faults)
	}
	want := Defaults()
	want.NodeName, want.KubernetesNode = "node-1", "node-1"
	want.Tail.Files[0].Include = []string{"/var/log/syslog"}
	want.Scrape.Kubelet.Endpoint, want.Scrape.Kubelet.CAFile, want.Scrape.Kubelet.TokenFile = "https://node-1:10250", "/ca", "/token"
	otlp, _ := want.Exporters.NewValue("otlp")
	o := otlp.(*export.OTLP)
	o.Endpoint, o.Compression = "stint-cluster:4317", "zstd"
	o.TLS.CAFile, o.TLS.CertFile, o.TLS.KeyFile = "/ca", "/c", "/k"
	otlphttp, _ := want.Exporters.NewValue("otlphttp")
	h := otlphttp.(*export.OTLPHTTP)
	h.MetricsEndpoint = "http://prometheus:9090/api/v1/otlp/v1/metrics"
	want.Exporters = export.Exporters{"otlp": o, "otlphttp/prometheus": h}
	want.Pipelines = export.Pipelines{
		"logs":    {Sources: []string{"tail"}, Exporters: []string{"otlp"}},
		"metrics": {Sources: []string{"host"}, Exporters: []string{"otlp"}},
	}
	if d := cmp.Diff(want, *cfg); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestDefaultPipelines(t *testing.T) {
	cfg, report := loadText(t, `
exporters:
  otlp: {endpoint: "a:4317"}
  otlphttp/prometheus: {metrics_endpoint: "http://p:9090/v1/metrics"}
`, nil)
	if len(report.Faults) > 0 {
		t.Fatal(report.Faults)
	}
	want := export.Pipelines{
		"logs":    {Sources: Sources()["logs"], Exporters: []string{"otlp"}},
		"metrics": {Sources: Sources()["metrics"], Exporters: []string{"otlp", "otlphttp/prometheus"}},
	}
	if d := cmp.Diff(want, cfg.Pipelines); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

// TestElasticsearchAsInTheCollector: what the Collector's exporter is configured with is understood.
func TestElasticsearchAsInTheCollector(t *testing.T) {
	cfg, report := loadText(t, `
exporters:
  elasticsearch:
    endpoints: ["https://es-0:9200", "https://es-1:9200"]
    logs_index: otel
    logs_dynamic_index: {enabled: true}
    logstash_format: {enabled: true, prefix_separator: ".", date_format: "%Y.%m"}
    mapping: {mode: ecs}
    pipeline: p
    user: elastic
    password: changeme
    headers: {X-A: b}
    tls: {insecure_skip_verify: true}
    timeout: 90s
    compression: none
  elasticsearch/key:
    endpoint: https://es:9200
    api_key: a2V5
    mapping: bodymap
`, nil)
	if len(report.Faults) > 0 {
		t.Fatal(report.Faults)
	}
	e, key := cfg.Exporters["elasticsearch"].(*export.Elasticsearch), cfg.Exporters["elasticsearch/key"].(*export.Elasticsearch)
	if e.Mapping.Mode != "ecs" || !e.LogsDynamicIndex.Enabled || e.LogstashFormat != (export.LogstashFormat{Enabled: true, PrefixSeparator: ".", DateFormat: "%Y.%m", DateFrom: "record"}) ||
		len(e.Endpoints) != 2 || e.User != "elastic" || e.Password.Reveal() != "changeme" || e.Timeout != 90*time.Second || !e.TLS.InsecureSkipVerify {
		t.Errorf("%+v", e)
	}
	if key.Mapping.Mode != "bodymap" || key.APIKey.Reveal() != "a2V5" || key.Compression != "gzip" || key.Timeout != time.Minute || key.DocumentID != "auto" || key.LogsIndex != "" {
		t.Errorf("%+v", key)
	}
	want := export.Pipelines{"logs": {Sources: Sources()["logs"], Exporters: []string{"elasticsearch", "elasticsearch/key"}}}
	if d := cmp.Diff(want, cfg.Pipelines); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	if text := string(config.Append(nil, *cfg, config.Style{})); strings.Contains(text, "a2V5") || strings.Contains(text, "changeme") {
		t.Errorf("a secret in\n%s", text)
	}
}

// TestCheckFaults: what the struct itself says of values that are well-formed and wrong, all at once.
func TestCheckFaults(t *testing.T) {
	const otlp = "exporters: {otlp: {endpoint: 'a:4317'}}\n"
	for name, tc := range map[string]struct {
		text string
		set  []string
		want []string // line:column: path: message; remedy
	}{
		"a relative state directory": {text: "state_dir: x", want: []string{`1:12: state_dir: "x" is not an absolute path; give one, e.g. /var/lib/stint`}},
		"a node name with a space":   {text: "node_name: a b", want: []string{`1:12: node_name: "a b" is no name of a machine; give at most 253 characters without white space`}},
		"addresses without port or with a bad one": {text: "admin: {listen: 127.0.0.1}\nhealth: {listen: 'x:99999'}", want: []string{
			`1:17: admin.listen: "127.0.0.1" is not host:port (missing port in address); write e.g. 127.0.0.1:8888, or nothing for no server`,
			`2:18: health.listen: "x:99999" is not host:port (port "99999" is not 0 to 65535); write e.g. 127.0.0.1:8888, or nothing for no server`}},
		"node metrics without a server": {text: "admin: {listen: '', node_metrics: true}", want: []string{`1:35: admin.node_metrics: true, but there is no server to serve them; set admin.listen`}},
		"names":                         {text: "scrape: {names: both, host: {names: both}}", want: []string{`1:30: scrape.host.names: unknown key; did you mean scrape.names`}},
		"one port twice":                {text: "health: {listen: '127.0.0.1:8888'}", want: []string{`1:18: health.listen: 127.0.0.1:8888 is admin.listen as well; give each its own port`}},
		"bounds of tail": {text: "tail:\n  max_line_bytes: 10\n  containers: {root: pods, exclude: [kube-system, 'a/[/c']}\n  files:\n  - include: [x.log, '/var/**/x']\n  -\n    exclude: []\n", want: []string{
			`2:19: tail.max_line_bytes: 10 is under 256; give at least that`,
			`3:22: tail.containers.root: "pods" is not an absolute path; give one, e.g. /var/log/pods`,
			`3:38: tail.containers.exclude[0]: "kube-system" has 1 of 3 parts; write namespace/pod/container, e.g. kube-system/*/*`,
			`3:51: tail.containers.exclude[1]: "a/[/c" is not a glob; * stands for any characters, ? for one, [a-z] for one of a range`,
			`5:15: tail.files[0].include[0]: "x.log" is not an absolute path; begin it with /`,
			`7:5: tail.files[1].include: empty; name at least one file, e.g. [/var/log/syslog]`}},
		"a line longer than any":   {text: "tail: {max_line_bytes: 2000000}", want: []string{`1:24: tail.max_line_bytes: 2000000 is over 1048576; give at most that`}},
		"a line longer than batch": {text: "batch: {send_batch_max_bytes: 65536}", want: []string{`1:31: batch.send_batch_max_bytes: 65536 has no room for one record of tail.max_line_bytes (1048576); raise it or lower that`}},
		"bounds of scrape": {text: "scrape: {interval: 10ms, root_path: host, host: {network: {include: ['[']}, filesystem: {exclude_mount_points: [run]}}}", want: []string{
			`1:20: scrape.interval: 10ms is under a second; give 1s or more`,
			`1:37: scrape.root_path: "host" is not an absolute path; give / or where the host is mounted, e.g. /host`,
			`1:70: scrape.host.network.include[0]: "[" is not a glob; * stands for any characters, ? for one, [a-z] for one of a range`,
			`1:113: scrape.host.filesystem.exclude_mount_points[0]: "run" can match no mount point; begin it with /`}},
		"bounds of batch": {text: "batch: {send_batch_size: 0, send_batch_max_bytes: 100000000, timeout: 0s}", want: []string{
			`1:26: batch.send_batch_size: 0 is out of range; give 1 to 1000000`,
			`1:51: batch.send_batch_max_bytes: 100000000 is out of range; give 65536 to 67108864`,
			`1:71: batch.timeout: 0s is out of range; give 10ms to 10m`}},
		"bounds of memory": {text: "memory_limiter: {check_interval: 1h, limit_percentage: 20, limit_mib: 3}", want: []string{
			`1:1: memory_limiter.spike_limit_percentage: 25 is out of range; give 0 to 19, less than limit_percentage`,
			`1:34: memory_limiter.check_interval: 1h0m0s is out of range; give 100ms to 1m`,
			`1:71: memory_limiter.limit_mib: 3 is out of range; give 16 to 1048576, or 0 for the cgroup's limit`}},
		"no endpoint":            {text: "exporters:\n  otlp:\n  otlphttp/a: {}", want: []string{`2:3: exporters.otlp.endpoint: missing; give the receiver's host:port, e.g. stint-cluster:4317`, `3:3: exporters.otlphttp/a.endpoint: missing; give the receiver's URL, e.g. http://collector:4318`}},
		"no port":                {text: "exporters: {otlp: {endpoint: collector}}", want: []string{`1:30: exporters.otlp.endpoint: "collector" is not host:port (missing port in address); write e.g. stint-cluster:4317`}},
		"a path behind the port": {text: "exporters: {otlp: {endpoint: 'http://a:4317/v1'}}", want: []string{`1:30: exporters.otlp.endpoint: "http://a:4317/v1" is not host:port (port "4317/v1" is not 1 to 65535); write e.g. stint-cluster:4317`}},
		"credentials in an endpoint are not shown": {text: "exporters: {otlp: {endpoint: 'http://u:p@a:4317'}, otlphttp: {endpoint: 'http://u:p%%@a:4318'}}", want: []string{
			`1:30: exporters.otlp.endpoint: holds a user name or password; put credentials into headers`,
			`1:73: exporters.otlphttp.endpoint: holds a user name or password; put credentials into user and password, or headers`}},
		"URLs that are none": {text: "exporters: {otlphttp: {endpoint: 'a:4318', logs_endpoint: 'ftp://a', metrics_endpoint: 'http://a:0/x'}}", want: []string{
			`1:34: exporters.otlphttp.endpoint: "a:4318" is not an http or https URL; write e.g. http://collector:4318`,
			`1:59: exporters.otlphttp.logs_endpoint: "ftp://a" is not an http or https URL; write e.g. http://collector:4318`,
			`1:88: exporters.otlphttp.metrics_endpoint: port 0 is out of range; give 1 to 65535`}},
		"TLS that contradicts itself": {text: "exporters: {otlp: {endpoint: 'https://a:4317', tls: {insecure: true, cert_file: /c}}}", want: []string{
			`1:48: exporters.otlp.tls.key_file: missing, but cert_file is set; give both or none`,
			`1:64: exporters.otlp.tls.insecure: true, but endpoint begins with https://; remove one of the two`}},
		"headers that are none": {text: "exporters: {otlp: {endpoint: 'a:1', headers: {'a b': x, grpc-x: y, z: \"hunter2\\n\"}}}", want: []string{
			`1:54: exporters.otlp.headers."a b": "a b" is not a header name; use letters, digits and -`,
			`1:65: exporters.otlp.headers.grpc-x: gRPC keeps names that begin with grpc- for itself; use another name`,
			`1:71: exporters.otlp.headers.z: the value holds a line break or control character; remove it`}},
		"times out of range": {text: "exporters: {otlp: {endpoint: 'a:1', timeout: 1h, retry_on_failure: {initial_interval: 1m}}}", want: []string{
			`1:46: exporters.otlp.timeout: 1h is out of range; give 100ms to 10m`,
			`1:50: exporters.otlp.retry_on_failure.max_interval: 30s is under initial_interval (1m); give at least that`}},
		"an unknown type of exporter": {text: "exporters: {otpl: {endpoint: 'a:1'}, otlp/: {}}", want: []string{
			`1:13: exporters.otpl: there is no exporter of type "otpl"; write TYPE or TYPE/NAME with TYPE one of otlp, otlphttp, elasticsearch, loki, file, debug`,
			`1:38: exporters.otlp/: "otlp/" has no name after the slash; write otlp or otlp/NAME`}},
		"pipelines that lead nowhere": {text: otlp + "pipelines:\n  logs: {sources: [tial, tail, tail], exporters: [oltp]}\n  metrics: {sources: [tail]}\n  traces: {}\n  logs/: {sources: [tail], exporters: [otlp, otlp]}", want: []string{
			`3:20: pipelines.logs.sources[0]: "tial" is not a source of logs; write one of tail, journald`,
			`3:32: pipelines.logs.sources[2]: "tail" is named twice; remove one`,
			`3:51: pipelines.logs.exporters[0]: "oltp" is not configured; add it under exporters or write one of otlp`,
			`4:3: pipelines.metrics.exporters: empty; name at least one entry of exporters`,
			`4:23: pipelines.metrics.sources[0]: "tail" is not a source of metrics; write one of host, cgroup, kubelet, self`,
			`5:3: pipelines.traces: "traces" is not a signal of this program; write logs, metrics, or one of them with /NAME`,
			`6:3: pipelines.logs/: no name after the slash; write logs or logs/NAME`,
			`6:46: pipelines.logs/.exporters[1]: "otlp" is named twice; remove one`}},
		"an exporter that takes no logs": {text: "exporters: {otlphttp: {metrics_endpoint: 'http://a/'}}\npipelines: {logs: {sources: [tail], exporters: [otlphttp]}}", want: []string{
			`2:49: pipelines.logs.exporters[0]: "otlphttp" takes no logs; give it endpoint or logs_endpoint`}},
		"multi-line, in every form": {text: "tail: {multiline: {start: '('}, parse: jsno, files: [{include: [/x], multiline: jave}]}", want: []string{
			"1:27: tail.multiline.start: \"(\" is no regular expression: error parsing regexp: missing closing ): `(`; write one in RE2 syntax, e.g. ^\\d{4}-",
			`1:40: tail.parse.body: "jsno" is not one of off, auto, json, klog; did you mean json`,
			`1:81: tail.files[0].multiline.mode: "jave" is not one of off, auto, java, go, python, node, dotnet, ruby; did you mean java`}},
	} {
		t.Run(name, func(t *testing.T) {
			_, report := loadText(t, tc.text, nil, tc.set...)
			var got []string
			for _, f := range report.Faults {
				_, s, _ := strings.Cut(f.String(), "stint.yaml:")
				got = append(got, s)
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Errorf("faults of\n%s\n(-want +got)\n%s", tc.text, d)
			}
			if strings.Contains(report.Faults.Error(), "hunter2") || strings.Contains(report.Faults.Error(), "u:p") {
				t.Error("a fault shows a secret")
			}
		})
	}
}

func TestKubeletAddress(t *testing.T) {
	env := []string{"K8S_NODE_IP=fd00::7"}
	for name, tc := range map[string]struct {
		set  []string
		want string
	}{
		"of the environment":      {want: "fd00::7"},
		"what is set wins":        {set: []string{"scrape.kubelet.address=10.0.0.1"}, want: "10.0.0.1"},
		"an endpoint has its own": {set: []string{"scrape.kubelet.endpoint=https://127.0.0.1:10250"}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, report := Load(process.LoadArgs{Env: env, Set: tc.set})
			if got := cfg.Scrape.Kubelet.Address; got != tc.want || len(report.Faults) > 0 {
				t.Errorf("address %q, want %q; faults %v", got, tc.want, report.Faults)
			}
		})
	}
}

func TestNodeName(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		env, set   []string
		want, from string
	}{
		"Kubernetes' name first": {env: []string{"NODE_NAME=b", "K8S_NODE_NAME=a"}, want: "a", from: "env K8S_NODE_NAME"},
		"else NODE_NAME":         {env: []string{"NODE_NAME=b"}, want: "b", from: "env NODE_NAME"},
		"else the host name":     {want: host, from: "the host name"},
		"what is set wins":       {env: []string{"K8S_NODE_NAME=a"}, set: []string{"node_name=x"}, want: "x", from: "--set"},
		"STINT_NODE_NAME wins":   {env: []string{"K8S_NODE_NAME=a", "STINT_NODE_NAME=y"}, want: "y", from: "env STINT_NODE_NAME"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, report := Load(process.LoadArgs{Env: tc.env, Set: tc.set})
			if from := report.Origin("node_name").String(); cfg.NodeName != tc.want || from != tc.from {
				t.Errorf("node_name %q from %q, want %q from %q", cfg.NodeName, from, tc.want, tc.from)
			}
			node := tc.want
			if tc.from == "the host name" {
				node = "" // a laptop is no Kubernetes node
			}
			if cfg.KubernetesNode != node {
				t.Errorf("Kubernetes node %q, want %q", cfg.KubernetesNode, node)
			}
		})
	}
}

func TestStateDirOfAUser(t *testing.T) {
	env := func(vars map[string]string) func(string) string { return func(k string) string { return vars[k] } }
	for name, tc := range map[string]struct {
		vars map[string]string
		want string
	}{
		"XDG_STATE_HOME":           {map[string]string{"XDG_STATE_HOME": "/x", "HOME": "/h"}, "/x/stint"},
		"else below HOME":          {map[string]string{"HOME": "/h"}, "/h/.local/state/stint"},
		"a relative XDG is no XDG": {map[string]string{"XDG_STATE_HOME": "x", "HOME": "/h"}, "/h/.local/state/stint"},
		"neither":                  {nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := process.UserStateDir(stateDir, env(tc.vars)); got != tc.want {
				t.Errorf("UserStateDir = %q, want %q", got, tc.want)
			}
		})
	}

	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if !process.CanMake(dir) || !process.CanMake(filepath.Join(dir, "a/b")) {
		t.Error("a directory of one's own cannot be made")
	}
	if process.CanMake(filepath.Join(file, "a")) {
		t.Error("a directory below a file can be made")
	}
	if os.Geteuid() == 0 {
		return // root may write everywhere; the rest is about ordinary users
	}
	if process.CanMake("/var/lib/stint-no-such-directory") {
		t.Error("an ordinary user can make a directory in /var/lib")
	}
	cfg, _ := Load(process.LoadArgs{Env: []string{"XDG_STATE_HOME=" + dir}})
	if cfg.StateDir != dir+"/stint" && !process.CanMake(stateDir) {
		t.Errorf("state_dir = %s, want %s/stint", cfg.StateDir, dir)
	}
	cfg, _ = Load(process.LoadArgs{Env: []string{"XDG_STATE_HOME=" + dir}, Set: []string{"state_dir=" + stateDir}})
	if cfg.StateDir != stateDir {
		t.Errorf("state_dir = %s although it was set to %s", cfg.StateDir, stateDir)
	}
}

// FuzzLoad: no file ends the process, each fault says where it is, and what loads without a fault
// is printed as something that loads to the same.
func FuzzLoad(f *testing.F) {
	for _, seed := range []string{
		"", "log: {level: debug}\n", "tail: {files: [{include: [/a]}]}", "exporters: {otlp: {endpoint: 'a:1', headers: {k: v}}, debug: }",
		"exporters: {otlphttp/x: {logs_endpoint: 'http://a/b?c#d'}}\npipelines: {logs/y: {sources: [tail], exporters: [otlphttp/x]}}",
		"scrape: {host: {disk: {include: ['[']}}}", "batch: {timeout: -1s, send_batch_size: 99999999999999999999}", "admin: {listen: '[::1]:0'}",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 1<<16 {
			return
		}
		load := func(text string) (Config, config.Faults) {
			cfg := Defaults()
			l := config.New(&cfg, []string{"N=64"})
			l.Data("f.yaml", []byte(text))
			l.Check(cfg.Check())
			return cfg, l.Faults()
		}
		cfg, faults := load(text)
		for _, f := range faults {
			if f.File != "default" && f.Line == 0 || f.Path == "" && strings.HasPrefix(f.Msg, "bug") {
				t.Errorf("fault without place: %+v", f)
			}
		}
		if len(faults) > 0 {
			return
		}
		printed := config.Append(nil, cfg, config.Style{Reveal: true})
		again, faults := load(string(printed))
		if d := cmp.Diff(cfg, again); d != "" || len(faults) > 0 {
			t.Fatalf("%v\n(-first +again)\n%s\n%s", faults, d, printed)
		}
	})
}

func TestLoadIsQuick(t *testing.T) {
	start := time.Now()
	loadText(t, "tail: {}", nil)
	if d := time.Since(start); d > time.Second {
		t.Errorf("took %v", d)
	}
}
