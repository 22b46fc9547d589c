package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stint/agent/process"
)

// HOST_PROC and the like stand in for scrape.root_path, below all that is the agent's own.
func TestRootFromHost(t *testing.T) {
	for name, tc := range map[string]struct {
		env  []string
		text string
		want string
		note bool
	}{
		"nothing":             {want: "/"},
		"the root":            {env: []string{"HOST_ROOT=/hostfs"}, want: "/hostfs"},
		"one directory":       {env: []string{"HOST_PROC=/hostfs/proc"}, want: "/hostfs"},
		"several of one":      {env: []string{"HOST_PROC=/hostfs/proc/", "HOST_SYS=/hostfs/sys", "HOST_ETC=/hostfs/etc", "HOST_ROOT=/hostfs"}, want: "/hostfs"},
		"the machine's own":   {env: []string{"HOST_PROC=/proc"}, want: "/"},
		"several roots":       {env: []string{"HOST_PROC=/a/proc", "HOST_SYS=/b/sys"}, want: "/", note: true},
		"another name":        {env: []string{"HOST_PROC=/hostproc"}, want: "/", note: true},
		"no absolute path":    {env: []string{"HOST_ROOT=hostfs"}, want: "/", note: true},
		"empty":               {env: []string{"HOST_PROC="}, want: "/"},
		"weaker than STINT_":  {env: []string{"HOST_ROOT=/a", "STINT_SCRAPE_ROOT_PATH=/b"}, want: "/b"},
		"weaker than a file":  {env: []string{"HOST_ROOT=/a"}, text: "scrape: {root_path: /}", want: "/"},
		"of no use to a file": {env: []string{"HOST_PROC=/x"}, text: "scrape: {root_path: /c}", want: "/c"},
	} {
		t.Run(name, func(t *testing.T) {
			args := process.LoadArgs{Env: tc.env}
			if tc.text != "" {
				args.File = filepath.Join(t.TempDir(), "stint.yaml")
				if err := os.WriteFile(args.File, []byte(tc.text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			cfg, report := Load(args)
			if len(report.Faults) > 0 {
				t.Fatal(report.Faults)
			}
			if cfg.Scrape.RootPath != tc.want {
				t.Errorf("root_path is %q, want %q", cfg.Scrape.RootPath, tc.want)
			}
			noted := strings.Contains(strings.Join(report.Notes, "\n"), "HOST_")
			if noted != tc.note {
				t.Errorf("notes %q", report.Notes)
			}
			if from := report.Origin("scrape.root_path").Where; tc.want == "/hostfs" && !strings.Contains(from, "HOST_") {
				t.Errorf("from %q", from)
			}
		})
	}
}
