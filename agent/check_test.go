package agent

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stint/export"
)

func TestCheckMachine(t *testing.T) {
	dir := t.TempDir()
	write := func(name string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("x\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("pods/ns_pod_uid/app/0.log")
	syslog := write("syslog")
	receiver, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer receiver.Close()
	open := receiver.Addr().String()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := gone.Addr().String()
	gone.Close()

	socket, err := net.Listen("unix", filepath.Join(dir, "s.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}

	good := func() *Config {
		cfg, report := loadText(t, "", nil, "exporters.otlp.endpoint="+open, "exporters.otlp.tls.insecure=true")
		if len(report.Faults) > 0 {
			t.Fatal(report.Faults)
		}
		cfg.StateDir = filepath.Join(dir, "state/a")
		cfg.Admin.Listen, cfg.Health.Listen = "127.0.0.1:0", "127.0.0.1:0"
		cfg.Tail.Containers.Root = filepath.Join(dir, "pods")
		cfg.Tail.Files[0].Include = []string{syslog}
		return cfg
	}

	for name, tc := range map[string]struct {
		change func(*Config)
		want   string // one line that must be there; the others must be ok
	}{
		"all is well":                   {func(*Config) {}, "ok   tail.containers.root: " + dir + "/pods: 1 logs of 1 pods"},
		"the state directory is a file": {func(c *Config) { c.StateDir = syslog }, "fail state_dir: " + syslog + " is not a directory"},
		"it is below a file":            {func(c *Config) { c.StateDir = syslog + "/a" }, "fail state_dir: stat " + syslog + "/a: not a directory"},
		"an address is in use":          {func(c *Config) { c.Admin.Listen = open }, "fail admin.listen: " + open + ": is in use; "},
		"no server is no finding":       {func(c *Config) { c.Admin.Listen = "" }, "ok   health.listen: 127.0.0.1:0 is free"},
		"no containers here":            {func(c *Config) { c.Tail.Containers.Root = dir + "/none" }, "warn tail.containers.root: " + dir + "/none does not exist; "},
		"the root is a file":            {func(c *Config) { c.Tail.Containers.Root = syslog }, "fail tail.containers.root: "},
		"a glob without files":          {func(c *Config) { c.Tail.Files[0].Include[0] = dir + "/*.x" }, "warn tail.files[0].include[0]: " + dir + "/*.x matches nothing now"},
		"no /proc":                      {func(c *Config) { c.Scrape.RootPath = dir }, "fail scrape.root_path: " + dir + "/proc/stat: no such file or directory; "},
		"nobody listens":                {func(c *Config) { c.Exporters["otlp"].(*export.OTLP).Endpoint = closed }, "fail exporters.otlp.endpoint: " + closed + ": connect: connection refused"},
		"no such name":                  {func(c *Config) { c.Exporters["otlp"].(*export.OTLP).Endpoint = "x.invalid:4317" }, "fail exporters.otlp.endpoint: x.invalid:4317: "},
		"no exporter":                   {func(c *Config) { c.Exporters = nil }, "warn exporters: none is configured; "},
		"an exporter in no pipeline":    {func(c *Config) { c.Exporters["debug"] = &export.Debug{} }, "warn exporters.debug: is in no pipeline and gets nothing"},
		"a CA file without certificate": {func(c *Config) { c.Exporters["otlp"].(*export.OTLP).TLS = export.TLS{CAFile: syslog} },
			"fail exporters.otlp.tls.ca_file: " + syslog + " holds no certificate in PEM"},
		"a key that is not there": {func(c *Config) { c.Exporters["otlp"].(*export.OTLP).TLS = export.TLS{CertFile: "/no", KeyFile: "/no"} },
			"fail exporters.otlp.tls.cert_file: open /no: no such file or directory"},
		"a socket that is not there": {func(c *Config) { c.Exporters["otlp"].(*export.OTLP).Endpoint = "unix://" + dir + "/x.sock" },
			"fail exporters.otlp.endpoint: " + dir + "/x.sock: connect: no such file or directory"},
		"a socket": {func(c *Config) { c.Exporters["otlp"] = &export.OTLPHTTP{Endpoint: "unix://" + socket.Addr().String()} },
			"ok   exporters.otlp.endpoint: " + socket.Addr().String() + " accepts connections"},
		"an empty token": {func(c *Config) { c.Exporters["otlp"].(*export.OTLP).BearerTokenFile = empty }, "fail exporters.otlp.bearer_token_file: " + empty + " is empty"},
		"no such header": {func(c *Config) {
			c.Exporters["otlp"].(*export.OTLP).HeadersFile = map[string]string{"x.y": "/no", "z": syslog}
		}, "fail exporters.otlp.headers_file.\"x.y\": stat /no: no such file or directory"},
		"through a proxy": {func(c *Config) {
			o := c.Exporters["otlp"].(*export.OTLP)
			o.Endpoint, o.ProxyURL = "x.invalid:4317", export.Secret("http://u:hunter2@"+closed)
		}, "fail exporters.otlp.endpoint: x.invalid:4317 through the proxy " + closed + ": connect: connection refused"},
		"no Loki": {func(c *Config) { c.Exporters["otlp"] = &export.Loki{Endpoint: "http://" + closed} },
			"fail exporters.otlp.endpoint: " + closed + ": connect: connection refused"},
		"an empty password of Loki": {func(c *Config) {
			c.Exporters["otlp"] = &export.Loki{Endpoint: "http://" + open, Credentials: export.Credentials{User: "u", PasswordFile: empty}}
		}, "fail exporters.otlp.password_file: " + empty + " is empty"},
		"URLs": {func(c *Config) {
			c.Exporters["otlp"] = &export.OTLPHTTP{Endpoint: "http://" + open + "/x", LogsEndpoint: "http://" + closed}
		}, "fail exporters.otlp.logs_endpoint: " + closed + ": connect: connection refused"},
		"nodes": {func(c *Config) {
			c.Exporters["otlp"] = &export.Elasticsearch{Endpoint: "http://" + open, Endpoints: []string{"http://" + open + "/x", "http://" + closed}}
		}, "fail exporters.otlp.endpoints[1]: " + closed + ": connect: connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := good()
			tc.change(cfg)
			found := false
			for _, f := range CheckMachine(t.Context(), cfg) {
				if strings.HasPrefix(f.String(), tc.want) {
					found = true
				} else if f.Level != OK {
					t.Errorf("also: %s", f)
				}
			}
			if !found {
				t.Errorf("no line %q in\n%s", tc.want, lines(CheckMachine(t.Context(), cfg)))
			}
		})
	}
	if entries, _ := os.ReadDir(filepath.Join(dir, "state")); len(entries) > 0 {
		t.Error("the look has made the state directory")
	}
}

func lines(fs []Finding) string {
	var b strings.Builder
	for _, f := range fs {
		fmt.Fprintln(&b, f)
	}
	return b.String()
}

func TestUnreadableFilesAreFound(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root can read everything")
	}
	dir := t.TempDir()
	log := filepath.Join(dir, "ns_pod_uid", "app", "0.log")
	if err := os.MkdirAll(filepath.Dir(log), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(log, nil, 0); err != nil {
		t.Fatal(err)
	}
	if got := lookGlob(log); got.level != Warn || !strings.Contains(got.text, "1 cannot be read") {
		t.Errorf("lookGlob = %v", got)
	}
	if got := lookContainers(dir); got[0].Level != Fail || !strings.Contains(got[0].Text, "1 of 1 logs cannot be read") {
		t.Errorf("lookContainers = %v", got)
	}
}
