package convert

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"stint/agent"
	"stint/agent/process"
)

var update = flag.Bool("update", false, "write testdata/*.want anew")

// Each sample becomes what stands beside it, which the agent takes as it is.
func TestSamples(t *testing.T) {
	t.Chdir("testdata")
	for _, name := range []string{"fluent-bit.conf", "fluent-bit.yaml", "collector.yaml"} {
		t.Run(name, func(t *testing.T) {
			r, err := File(name)
			if err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			fmt.Fprintf(&got, "%s---\n", r.YAML)
			for _, l := range r.Report {
				fmt.Fprintln(&got, l)
			}
			want := name + ".want"
			if *update {
				if err := os.WriteFile(want, []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			b, err := os.ReadFile(want)
			if err != nil {
				t.Fatal(err)
			}
			if got.String() != string(b) {
				t.Errorf("not as in %s:\n%s", want, got.String())
			}
			if r.Whole() {
				t.Error("it is whole, though some of it has no counterpart")
			}
			good(t, r.YAML)
		})
	}
}

// good fails unless the agent takes a configuration.
func good(t *testing.T, text []byte) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "agent.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, report := agent.Load(process.LoadArgs{File: file, Env: []string{"ENVIRONMENT=prod", "ES_USER=u", "ES_PASSWORD=p", "K8S_NODE_NAME=n"}}); len(report.Faults) > 0 {
		t.Errorf("the agent does not take it: %v\n%s", report.Faults, text)
	}
}

// Every section and key of a file is in the report, or in the result.
func TestNothingIsDroppedSilently(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"a key of an input":          {"[INPUT]\n name tail\n path /a\n frobnicate 1\n[OUTPUT]\n name stdout\n", "todo x.conf:4: [INPUT] tail frobnicate"},
		"an unknown section":         {"[INPUT]\n name tail\n path /a\n[OUTPUT]\n name stdout\n[CUSTOM]\n name x\n", "todo x.conf:6: [CUSTOM]"},
		"a key before all":           {"name tail\n[INPUT]\n name tail\n path /a\n[OUTPUT]\n name stdout\n", "todo x.conf:1: name: stands before any section"},
		"a missing include":          {"@INCLUDE none.conf\n[INPUT]\n name tail\n path /a\n[OUTPUT]\n name stdout\n", "todo x.conf:1: @INCLUDE: no such file"},
		"an input that nobody takes": {"[INPUT]\n name tail\n path /a\n[INPUT]\n name node_exporter_metrics\n[OUTPUT]\n name loki\n", "todo x.conf:4: [INPUT] with the tag node_exporter_metrics.0: no exporter"},
		"an input of no files":       {"[INPUT]\n name tail\n path\n[INPUT]\n name tail\n path /a\n[OUTPUT]\n name stdout\n", "todo x.conf:1: [INPUT] tail: it names no files"},
		"part of the inputs":         {"[INPUT]\n name tail\n tag a\n path /a\n[INPUT]\n name tail\n tag b\n path /b\n[OUTPUT]\n name stdout\n match a\n", "todo x.conf:9: [OUTPUT] Match a: it takes some inputs"},
		"a key of a receiver":        {"receivers: {filelog: {include: [/a], frobnicate: 1}}\nexporters: {debug: {}}\nservice: {pipelines: {logs: {receivers: [filelog], exporters: [debug]}}}\n", "todo x.yaml:1: receivers.filelog.frobnicate"},
		"a section":                  {"receivers: {filelog: {include: [/a]}}\nexporters: {debug: {}}\nservice: {pipelines: {logs: {receivers: [filelog], exporters: [debug]}}}\nx: 1\n", "todo x.yaml:4: x: not a section"},
		"a connector":                {"receivers: {filelog: {include: [/a]}}\nexporters: {debug: {}}\nconnectors: {count: {}}\nservice: {pipelines: {logs: {receivers: [filelog], exporters: [debug, count]}}}\n", "todo x.yaml:3: connectors.count"},
		"what nobody uses":           {"receivers: {filelog: {include: [/a]}, filelog/b: {include: [/b]}}\nexporters: {debug: {}}\nservice: {pipelines: {logs: {receivers: [filelog], exporters: [debug]}}}\n", "none x.yaml:1: receivers.filelog/b: no pipeline uses it"},
		"globs it can't do":          {"receivers: {filelog: {include: [/var/log/pods/a/b/c/d]}, filelog/b: {include: [/b]}}\nexporters: {debug: {}}\nservice: {pipelines: {logs: {receivers: [filelog, filelog/b], exporters: [debug]}}}\n", "todo x.yaml:1: receivers.filelog.include, exclude: /var/log/pods/a/b/c/d names"},
		"a pipeline of nothing":      {"receivers: {filelog: {include: [/a]}, otlp: {}}\nexporters: {debug: {}}\nservice: {pipelines: {logs: {receivers: [filelog], exporters: [debug]}, logs/b: {receivers: [otlp], exporters: [debug]}}}\n", "todo x.yaml:3: service.pipelines.logs/b"},
	} {
		t.Run(name, func(t *testing.T) {
			file := "x.conf"
			if strings.Contains(tc.text, "service:") {
				file = "x.yaml"
			}
			r, err := convert(file, []byte(tc.text))
			if err != nil {
				t.Fatal(err)
			}
			good(t, r.YAML)
			for _, l := range r.Report {
				if strings.HasPrefix(l.String(), tc.want) {
					return
				}
			}
			t.Errorf("no line %q in %v", tc.want, r.Report)
		})
	}
}

func TestContainerGlob(t *testing.T) {
	for glob, want := range map[string]string{
		"/var/log/containers/*.log":                "*/*/*",
		"/var/log/containers/*_kube-system_*.log":  "kube-system/*/*",
		"/var/log/containers/web-*_shop_app-*.log": "shop/web-*/app",
		"/var/log/containers/web-*_shop_app*.log":  "shop/web-*/app*",
		"/var/log/containers/fluent-bit*":          "*/fluent-bit*/*",
		"/var/log/containers/*_{a,b}_*.log":        "{a,b}/*/*",
		"/var/log/containers/x/y.log":              "can't",
		"/var/log/pods/*/*/*.log":                  "*/*/*",
		"/var/log/pods/**/*.log":                   "*/*/*",
		"/var/log/pods/kube-system_*/*/*.log":      "kube-system/*/*",
		"/var/log/pods/shop_web-*_*/app/*.log":     "shop/web-*/app",
		"/var/log/pods/*/otel-collector/*.log":     "*/*/otel-collector",
		"/var/log/pods/something-else/*/*.log":     "can't",
		"/var/log/syslog":                          "no",
	} {
		got, of, err := containerGlob(glob)
		switch {
		case err != nil:
			got = "can't"
		case !of:
			got = "no"
		}
		if got != want {
			t.Errorf("%s is %s, want %s", glob, got, want)
		}
	}
}

func TestNeither(t *testing.T) {
	for text, want := range map[string]string{
		"":                "x.yaml: empty",
		"a: 1":            "neither a configuration of Fluent Bit",
		"a: [":            "x.yaml: yaml: line 1",
		"- a":             "no keys with values",
		"receivers: {}\n": "nothing of it can be done",
		"pipeline: {inputs: [{name: dummy}], outputs: [{name: stdout}]}": "nothing of it can be done",
	} {
		if _, err := convert("x.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	if _, err := File(filepath.Join(t.TempDir(), "none")); !os.IsNotExist(err) {
		t.Error(err)
	}
}

// Files that include each other end.
func TestIncludeLoop(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.conf")
	if err := os.WriteFile(file, []byte("@INCLUDE x.conf\n[INPUT]\n name tail\n path /a\n[OUTPUT]\n name stdout\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := File(file)
	if err != nil {
		t.Fatal(err)
	}
	if r.Whole() {
		t.Errorf("%v", r.Report)
	}
}

// Whatever a file holds, the result is a configuration that can be read, or there is none.
func FuzzConvert(f *testing.F) {
	for _, name := range []string{"fluent-bit.conf", "fluent-bit.yaml", "collector.yaml"} {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(filepath.Ext(name) == ".yaml", b)
	}
	f.Fuzz(func(t *testing.T, isYAML bool, data []byte) {
		name := "x.conf"
		if isYAML {
			name = "x.yaml"
		}
		if strings.Contains(strings.ToUpper(string(data)), "@INCLUDE") {
			t.Skip("it may name any file of this machine")
		}
		r, err := convert(name, data)
		if err != nil {
			return
		}
		var v map[string]any
		if err := yaml.Unmarshal(r.YAML, &v); err != nil {
			t.Fatalf("%v in %s", err, r.YAML)
		}
		if v["pipelines"] == nil || v["exporters"] == nil {
			t.Errorf("no pipelines, or no exporters, in %s", r.YAML)
		}
		for _, l := range r.Report {
			if l.Place == "" || l.What == "" || l.Note == "" {
				t.Errorf("%+v", l)
			}
		}
	})
}
