package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"

	"stint/agent/config"
	"stint/agent/process"
	"stint/export"
	"stint/scrape"
	"stint/tail"
	"stint/tail/journal"
)

// Config is the whole configuration of the node agent. Every key is optional.
type Config struct {
	StateDir      string                `yaml:"state_dir" doc:"where offsets are kept; mode 0700, for one process at a time. If it is not set and an ordinary user cannot make it: $XDG_STATE_HOME/stint, else ~/.local/state/stint"`
	NodeName      string                `yaml:"node_name" doc:"name of this machine in all telemetry; empty: $K8S_NODE_NAME, else $NODE_NAME, else the host name"`
	Log           process.Log           `yaml:"log" doc:"the agent's own log, on standard error"`
	Admin         Admin                 `yaml:"admin" doc:"server of /metrics, /status (JSON) and / (page)"`
	Health        process.Health        `yaml:"health" doc:"server of /livez, /readyz and /flowing"`
	Tail          tail.Config           `yaml:"tail" doc:"log files that are followed"`
	Journald      journal.Config        `yaml:"journald" doc:"the systemd journal"`
	Scrape        scrape.Config         `yaml:"scrape" doc:"metrics that are read"`
	Batch         export.Batch          `yaml:"batch" doc:"how records are put together before they are sent"`
	Spool         export.Spool          `yaml:"spool" doc:"what waits on disk for a destination that is away"`
	DeadLetter    export.DeadLetter     `yaml:"dead_letter" doc:"what destinations refuse for good"`
	MemoryLimiter process.MemoryLimiter `yaml:"memory_limiter" doc:"bounds of the memory that waiting records may take"`
	Exporters     export.Exporters      `yaml:"exporters" doc:"destinations by name, which is TYPE or TYPE/NAME; none: a sink inside the agent that counts what arrives"`
	Pipelines     export.Pipelines      `yaml:"pipelines" doc:"which sources go to which exporters, by SIGNAL or SIGNAL/NAME; none: every source to every exporter that takes its signal"`
	DrainTimeout  time.Duration         `yaml:"drain_timeout" doc:"at the end, time to deliver what was read already; what is left is read again after the next start; 0s to 10m"`

	// KubernetesNode is node_name when Kubernetes gave it or somebody set it, else empty: a
	// laptop is no node, although the agent calls it by its host name.
	KubernetesNode string `yaml:"-"`
	Demo           bool   `yaml:"-"` // --demo: write logs into a temporary directory and follow those
}

// Admin is the server of the agent's own state.
type Admin struct {
	Listen      string `yaml:"listen" doc:"host:port; empty: no server"`
	NodeMetrics bool   `yaml:"node_metrics" doc:"also /metrics/node: what host, cgroup and kubelet sent last, for a Prometheus that pulls; whoever reaches the port can read it"`
}

const stateDir = "/var/lib/stint"

// Defaults is the configuration without any file. State directory and node name are found by Load.
func Defaults() Config {
	return Config{
		StateDir:      stateDir,
		Log:           process.Log{Level: "info", Format: "auto"},
		Admin:         Admin{Listen: "127.0.0.1:8888"},           // the collector's port for own metrics
		Health:        process.Health{Listen: "127.0.0.1:13133"}, // the collector's port for health
		Tail:          tail.Defaults(),
		Journald:      journal.Defaults(),
		Scrape:        scrape.Defaults(),
		Batch:         export.BatchDefaults(),
		Spool:         export.SpoolDefaults(),
		DeadLetter:    export.DeadLetterDefaults(),
		MemoryLimiter: process.MemoryLimiterDefaults(),
		DrainTimeout:  4 * time.Second, // with the rest of stopping: under 5 s
	}
}

// Sources are the names that pipelines know, by signal.
func Sources() map[string][]string {
	return map[string][]string{"logs": {"tail", "journald"}, "metrics": {"host", "cgroup", "kubelet", "self"}}
}

// Load reads the configuration: flag before environment before file before default. If Faults is
// not empty the configuration must not be used.
func Load(args process.LoadArgs) (*Config, *process.Report) {
	cfg := Defaults()
	l := config.New(&cfg, args.Env)
	env := args.Getenv
	if args.File != "" {
		l.File(args.File)
	}
	notes := process.ExportersFromOTEL(l, env, Sources())
	l.Environ("STINT_")
	for _, s := range args.Set {
		l.Set(s)
	}
	if !l.IsSet("scrape.root_path") {
		root, from, note := rootFromHost(env)
		if root != "" {
			cfg.Scrape.RootPath = root
			l.Derived("scrape.root_path", from)
		}
		if note != "" {
			notes = append(notes, note)
		}
	}
	if !l.IsSet("state_dir") && os.Geteuid() != 0 && !process.CanMake(stateDir) {
		if dir := process.UserStateDir(stateDir, env); dir != "" {
			cfg.StateDir = dir
			l.Derived("state_dir", "default of a user who cannot write "+stateDir)
		}
	}
	if cfg.NodeName == "" {
		var from string
		if cfg.NodeName, from = nodeName(env); strings.HasPrefix(from, "env ") {
			cfg.KubernetesNode = cfg.NodeName
		}
		l.Derived("node_name", from)
	} else {
		cfg.KubernetesNode = cfg.NodeName
	}
	if k := &cfg.Scrape.Kubelet; k.Endpoint == "" && k.Address == "" && env("K8S_NODE_IP") != "" {
		k.Address = env("K8S_NODE_IP")
		l.Derived("scrape.kubelet.address", "env K8S_NODE_IP")
	}
	if len(cfg.Pipelines) == 0 {
		cfg.Pipelines = export.DefaultPipelines(cfg.Exporters, Sources())
	}
	l.Check(cfg.Check())
	return &cfg, &process.Report{Faults: l.Faults(), Notes: notes, Origin: l.Origin}
}

// nodeName is what Kubernetes calls this machine, else what it calls itself.
func nodeName(env func(string) string) (name, from string) {
	for _, v := range []string{"K8S_NODE_NAME", "NODE_NAME"} {
		if name := env(v); name != "" {
			return name, "env " + v
		}
	}
	if name, err := os.Hostname(); err == nil {
		return name, "the host name"
	}
	return "localhost", "default"
}

// Check reports every fault at once, each under its YAML path.
func (c *Config) Check() error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	if !filepath.IsAbs(c.StateDir) {
		fault("state_dir: %q is not an absolute path; give one, e.g. %s", c.StateDir, stateDir)
	}
	if len(c.NodeName) > 253 || strings.ContainsFunc(c.NodeName, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }) {
		fault("node_name: %.40q is no name of a machine; give at most 253 characters without white space", c.NodeName)
	}
	if c.Admin.NodeMetrics && c.Admin.Listen == "" {
		fault("admin.node_metrics: true, but there is no server to serve them; set admin.listen")
	}
	errs = append(errs, process.CheckServers(c.Admin.Listen, c.Health.Listen))
	errs = append(errs, c.Tail.Check(), c.Journald.Check(), c.Scrape.Check(), c.Batch.Check(), c.Spool.Check(), c.DeadLetter.Check())
	if c.Batch.SendBatchMaxBytes < c.Tail.MaxLineBytes {
		fault("batch.send_batch_max_bytes: %d has no room for one record of tail.max_line_bytes (%d); raise it or lower that",
			c.Batch.SendBatchMaxBytes, c.Tail.MaxLineBytes)
	}
	errs = append(errs, c.MemoryLimiter.Check())
	errs = append(errs, c.Exporters.Check(), c.Pipelines.Check(c.Exporters, Sources()))
	if c.DrainTimeout < 0 || c.DrainTimeout > 10*time.Minute {
		fault("drain_timeout: %v is out of range; give 0s to 10m", c.DrainTimeout)
	}
	return errors.Join(errs...)
}
