package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// call runs a command line in an empty environment but for these variables.
func call(env []string, args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = run(args, env, &out, &err)
	return code, out.String(), err.String()
}

func TestCommandLine(t *testing.T) {
	dir := t.TempDir()
	faulty := filepath.Join(dir, "faulty.yaml")
	if err := os.WriteFile(faulty, []byte("leader:\n  lease_name: A_b\n  renew_deadline: 20s\ntail: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	away := filepath.Join(dir, "kubeconfig")
	text := "apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: \"https://127.0.0.1:1\"}}]\nusers: [{name: u, user: {}}]\ncontexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: x\n"
	if err := os.WriteFile(away, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	debug := filepath.Join(dir, "debug.yaml")
	if err := os.WriteFile(debug, []byte("exporters: {debug: }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		args []string
		env  []string
		code int
		out  string // in standard output
		err  string // in standard error
	}{
		"help":                     {args: []string{"help"}, out: "Usage: stint-cluster [COMMAND]"},
		"help of a command":        {args: []string{"check", "-h"}, out: "Usage: stint-cluster check"},
		"version":                  {args: []string{"--version"}, out: "stint-cluster "},
		"no such command":          {args: []string{"once"}, code: 2, err: `there is no command "once"; commands: run, check, config, status, top, version, help`},
		"a flag of the agent":      {args: []string{"run", "--demo"}, code: 2, err: "not defined: -demo"},
		"a command behind a flag":  {args: []string{"--set", "a=b", "check"}, code: 2, err: "the command comes first: stint-cluster check"},
		"no fault in the defaults": {args: []string{"check", "--offline"}, out: "ok   the default configuration: no faults\n"},
		"no API server is needed":  {args: []string{"check"}, out: "ok   kubernetes: no pipeline takes what only a leader reads: the API server is not asked\n"},
		"an API server that is away": {args: []string{"check", "--set", "kubernetes.kubeconfig=" + away}, code: 1,
			out: "fail kubernetes: https://127.0.0.1:1: "},
		"OTLP by the environment": {args: []string{"config", "--explain"}, env: []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4318", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://t:4318/v1/traces"},
			out: "traces_endpoint: \"http://t:4318/v1/traces\"  # from env OTEL_EXPORTER_OTLP_TRACES_ENDPOINT\n"},
		"a gRPC address for traces, where no API server is known": {args: []string{"config"}, env: []string{"OTEL_EXPORTER_OTLP_ENDPOINT=c:4317", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=t:4317"},
			out: "pipelines:\n  logs:\n    sources: [otlp]\n    exporters: [otlp]\n"},
		"a file's exporters win over that": {args: []string{"check", "--offline", "--config", debug}, env: []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4318"},
			out: "warn OTEL_EXPORTER_OTLP_* is set and not used: the file names exporters\n"},
		"faults":                       {args: []string{"check", "--config", faulty}, code: 78, out: `faulty.yaml:2:15: leader.lease_name: "A_b" is no name of a Lease; give small letters, digits, - and ., e.g. stint-cluster`},
		"a deadline beyond the lease":  {args: []string{"check", "--config", faulty}, code: 78, out: "leader.renew_deadline: 20s is not less than lease_duration (15s): two replicas could send; lower it"},
		"a key of the agent":           {args: []string{"--config", faulty}, code: 78, err: "faulty.yaml:4:1: tail: unknown key"},
		"secrets masked":               {args: []string{"config", "--set", "exporters.otlp.endpoint=a:1", "--set", "exporters.otlp.headers.k=hunter2"}, out: "\n      k: \"***\"\n"},
		"where a value is from":        {args: []string{"config", "--explain"}, env: []string{"POD_NAMESPACE=stint"}, out: "lease_namespace: stint  # from env POD_NAMESPACE\n"},
		"kubeconfig":                   {args: []string{"config", "--explain"}, env: []string{"KUBECONFIG=/k"}, out: "kubeconfig: /k  # from env KUBECONFIG\n"},
		"no lease that is too short":   {args: []string{"check", "--set", "leader.lease_duration=1500ms"}, code: 78, out: "leader.lease_duration: 1.5s is out of range; give 2s to 10m in whole seconds"},
		"time to renew":                {args: []string{"check", "--set", "leader.retry_period=9s"}, code: 78, out: "leader.retry_period: 9s leaves no time to renew before renew_deadline (10s); give less than 8.333s"},
		"a directory that is no state": {args: []string{"check", "--set", "state_dir=x"}, code: 78, out: `state_dir: "x" is not an absolute path; give one, e.g. /var/lib/stint-cluster`},
		"ports that collide":           {args: []string{"check", "--set", "health.listen=127.0.0.1:8888"}, code: 78, out: "health.listen: 127.0.0.1:8888 is admin.listen as well"},
		"a source of the agent": {args: []string{"check", "--set", "exporters.otlp.endpoint=a:1", "--set", "pipelines.metrics={sources: [host], exporters: [otlp]}"},
			code: 78, out: `pipelines.metrics.sources[0]: "host" is not a source of metrics`},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := call(tc.env, tc.args...)
			if code != tc.code || !strings.Contains(stdout, tc.out) || !strings.Contains(stderr, tc.err) ||
				tc.out == "" && stdout != "" || tc.err == "" && stderr != "" || strings.Contains(stdout+stderr, "hunter2") {
				t.Errorf("stint-cluster %q = exit %d, %q, %q; want exit %d, %q, %q", tc.args, code, stdout, stderr, tc.code, tc.out, tc.err)
			}
		})
	}
}
