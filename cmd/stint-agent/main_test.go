package main

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// call runs a command line with an environment that holds nothing but a node name.
func call(args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = run(args, []string{"NODE_NAME=n"}, &out, &err)
	return code, out.String(), err.String()
}

func file(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "stint.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

const fiveFaults = `# five different faults
log:
  level: lod                    # 1. not one of its words
tail:
  max_line_bytes: banana        # 2. not a number
  start: beginning              # 3. no such key
scrape:
  interval: 10                  # 4. no unit
exporters:
  otlp:
    endpoint: collector         # 5. no port
`

// TestCheckNamesEveryFault is the line of the issue: five faults, each with line, path and remedy, exit 78.
func TestCheckNamesEveryFault(t *testing.T) {
	name := file(t, fiveFaults)
	want := strings.ReplaceAll(`FILE:3:10: log.level: "lod" is not one of debug, info, warn, error; write debug, info, warn or error
FILE:5:19: tail.max_line_bytes: "banana" is not a whole number; give bytes, e.g. 1048576
FILE:6:3: tail.start: unknown key; known here: containers, files, start_at, max_line_bytes, max_deleted_bytes, multiline, parse
FILE:8:13: scrape.interval: "10" has no unit; write 10s for seconds or 10ms for milliseconds
FILE:11:15: exporters.otlp.endpoint: "collector" is not host:port (missing port in address); write e.g. stint-cluster:4317
`, "FILE", name)
	for _, args := range [][]string{{"check", "--config", name}, {"check", "--offline", "--config", name}} {
		code, stdout, stderr := call(args...)
		if d := cmp.Diff(want, stdout); d != "" || code != 78 || stderr != "" {
			t.Errorf("%q: exit %d, standard error %q, standard output (-want +got)\n%s", args, code, stderr, d)
		}
	}
	for _, args := range [][]string{{"--config", name}, {"run", "--config", name}, {"config", "--config", name}, {"once", "--config", name}} {
		code, stdout, stderr := call(args...)
		if d := cmp.Diff(want, stderr); d != "" || code != 78 || stdout != "" {
			t.Errorf("%q: exit %d, standard output %q, standard error (-want +got)\n%s", args, code, stdout, d)
		}
	}
}

// TestSetBanana is the other line of the issue.
func TestSetBanana(t *testing.T) {
	want := `--set tail.max_line_bytes=banana: tail.max_line_bytes: "banana" is not a whole number; give bytes, e.g. 1048576` + "\n"
	code, stdout, _ := call("check", "--set", "tail.max_line_bytes=banana")
	if code != 78 || stdout != want {
		t.Errorf("check: exit %d\n%s, want\n%s", code, stdout, want)
	}
	code, _, stderr := call("--set", "tail.max_line_bytes=banana")
	if code != 78 || stderr != want {
		t.Errorf("run: exit %d\n%s, want\n%s", code, stderr, want)
	}
}

func TestCommandLine(t *testing.T) {
	for name, tc := range map[string]struct {
		args []string
		code int
		out  string // in standard output
		err  string // in standard error
	}{
		"help":                        {[]string{"help"}, 0, "Usage: stint-agent [COMMAND]", ""},
		"--help":                      {[]string{"--help"}, 0, "Exit codes: 0 ok", ""},
		"-h":                          {[]string{"-h"}, 0, "Usage: stint-agent [COMMAND]", ""},
		"help of a command":           {[]string{"help", "check"}, 0, "Usage: stint-agent check", ""},
		"help asked of a command":     {[]string{"check", "--help"}, 0, "Usage: stint-agent check", ""},
		"help of run":                 {[]string{"run", "-h"}, 0, "--demo", ""},
		"help of what is not there":   {[]string{"help", "me"}, 2, "", `"me" is not a flag`},
		"version":                     {[]string{"version"}, 0, "stint-agent ", ""},
		"--version":                   {[]string{"--version"}, 0, "go1.", ""},
		"no such command":             {[]string{"start"}, 2, "", `there is no command "start"; commands: run, check`},
		"no such flag":                {[]string{"--verbose"}, 2, "", "flag provided but not defined: -verbose"},
		"a flag of another command":   {[]string{"config", "--demo"}, 2, "", "not defined: -demo"},
		"version takes no flag":       {[]string{"version", "--config", "x"}, 2, "", "not defined: -config"},
		"a flag without its value":    {[]string{"check", "--config"}, 2, "", "flag needs an argument"},
		"a file without its flag":     {[]string{"check", "stint.yaml"}, 2, "", `"stint.yaml" is not a flag; a file is given by --config FILE`},
		"a command behind a flag":     {[]string{"--set", "a=b", "check"}, 2, "", "the command comes first: stint-agent check"},
		"a format that is not there":  {[]string{"once", "--format", "xml"}, 2, "", `--format "xml" is neither text nor otlp-json`},
		"a file that is not there":    {[]string{"check", "--config", "/no/such.yaml"}, 78, "/no/such.yaml: cannot be read: no such file or directory; give the path of a YAML file", ""},
		"an assignment that is none":  {[]string{"check", "--set", "tail"}, 78, "--set tail: is not an assignment", ""},
		"two faults in two --set":     {[]string{"check", "--set", "a=1", "--set=b=2"}, 78, "\n--set b: b: unknown key", ""},
		"no fault in the defaults":    {[]string{"check", "--offline"}, 0, "ok   the default configuration: no faults\n", ""},
		"the configuration in effect": {[]string{"config", "--set", "log.level=debug"}, 0, "\n  level: debug\n", ""},
		"and where it is from":        {[]string{"config", "--explain", "--set", "log.level=debug"}, 0, "\n  level: debug  # from --set\n", ""},
		"status of no agent":          {[]string{"status", "--set", "admin.listen=127.0.0.1:1"}, 1, "", "stint-agent: no stint-agent answers at admin.listen: "},
		"nothing to convert":          {[]string{"convert"}, 2, "", "stint-agent: convert takes one file: stint-agent convert FILE\n"},
		"no file to convert":          {[]string{"convert", "none.conf"}, 1, "", "stint-agent: stat none.conf: no such file or directory\n"},
		"of another program":          {[]string{"convert", "../../agent/convert/testdata/collector.yaml"}, 1, "\npipelines:\n  logs:\n", "todo ../../agent/convert/testdata/collector.yaml:72: exporters.kafka: "},
		"secrets masked":              {[]string{"config", "--set", "exporters.otlp.endpoint=a:1", "--set", "exporters.otlp.headers.k=hunter2"}, 0, "\n      k: \"***\"\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := call(tc.args...)
			if code != tc.code || !strings.Contains(stdout, tc.out) || !strings.Contains(stderr, tc.err) ||
				tc.out == "" && stdout != "" || tc.err == "" && stderr != "" || strings.Contains(stdout+stderr, "hunter2") {
				t.Errorf("stint-agent %q = exit %d, %q, %q; want exit %d, %q, %q", tc.args, code, stdout, stderr, tc.code, tc.out, tc.err)
			}
		})
	}
}

// TestConfigIsAConfiguration: what config prints, read again, prints the same.
func TestConfigIsAConfiguration(t *testing.T) {
	code, first, stderr := call("config", "--set", "exporters.otlp.endpoint=a:1", "--set", "tail.containers.exclude=[kube-system/*/*]")
	if code != 0 {
		t.Fatal(stderr)
	}
	code, second, stderr := call("config", "--config", file(t, first))
	if d := cmp.Diff(first, second); code != 0 || d != "" {
		t.Errorf("exit %d %s (-first +second)\n%s", code, stderr, d)
	}
}

// TestCheckLooksAtTheMachine: a destination that does not answer is a fail line and exit 1; offline it is not asked.
func TestCheckLooksAtTheMachine(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	args := []string{"check", "--set", "exporters.otlp.endpoint=" + addr, "--set", "state_dir=" + t.TempDir(),
		"--set", "admin.listen=127.0.0.1:0", "--set", "health.listen=127.0.0.1:0", "--set", "tail.containers.root=" + t.TempDir()}
	if code, stdout, _ := call(args...); code != 0 || !strings.Contains(stdout, "\nok   exporters.otlp.endpoint: "+addr+" accepts connections") {
		t.Errorf("exit %d\n%s", code, stdout)
	}
	l.Close()
	if code, stdout, _ := call(args...); code != 1 || !strings.Contains(stdout, "\nfail exporters.otlp.endpoint: "+addr) {
		t.Errorf("exit %d\n%s", code, stdout)
	}
	if code, stdout, _ := call(append(args, "--offline")...); code != 0 || strings.Contains(stdout, "exporters") {
		t.Errorf("exit %d\n%s", code, stdout)
	}
}
