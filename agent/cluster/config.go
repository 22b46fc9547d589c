package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/tools/leaderelection"

	"stint/agent/cluster/gateway"
	"stint/agent/config"
	"stint/agent/process"
	"stint/export"
	"stint/scrape/kube"
	"stint/scrape/kube/events"
	"stint/scrape/kube/objects"
	"stint/scrape/kube/state"
)

// Config is the whole configuration of stint-cluster. Every key is optional.
type Config struct {
	StateDir      string                `yaml:"state_dir" doc:"where the spool is kept; mode 0700, for one process at a time. If it is not set and an ordinary user cannot make it: $XDG_STATE_HOME/stint-cluster, else ~/.local/state/stint-cluster"`
	Log           process.Log           `yaml:"log" doc:"the program's own log, on standard error"`
	Admin         Admin                 `yaml:"admin" doc:"server of /metrics and /status (JSON)"`
	Health        process.Health        `yaml:"health" doc:"server of /livez, /readyz and /leader"`
	Gateway       gateway.Config        `yaml:"gateway" doc:"servers that receive OTLP, on every replica: the source otlp of pipelines"`
	Kubernetes    kube.Config           `yaml:"kubernetes" doc:"the API server that is asked"`
	Leader        Leader                `yaml:"leader" doc:"which of the replicas asks the API server and sends what it says: the one that holds a Lease"`
	State         state.Config          `yaml:"state" doc:"metrics of the cluster's objects (metrics source state); docs/cluster-metrics.md lists them"`
	Events        events.Config         `yaml:"events" doc:"events of the cluster (logs source events)"`
	Objects       objects.Config        `yaml:"objects" doc:"objects of the API server (logs source objects)"`
	Batch         export.Batch          `yaml:"batch" doc:"how records are put together before they are sent"`
	Spool         export.Spool          `yaml:"spool" doc:"what waits on disk for a destination that is away"`
	DeadLetter    export.DeadLetter     `yaml:"dead_letter" doc:"what destinations refuse for good"`
	MemoryLimiter process.MemoryLimiter `yaml:"memory_limiter" doc:"bounds of the memory that waiting records may take"`
	Exporters     export.Exporters      `yaml:"exporters" doc:"destinations by name, which is TYPE or TYPE/NAME; none: a sink inside the process that counts what arrives"`
	Pipelines     export.Pipelines      `yaml:"pipelines" doc:"which sources go to which exporters, by SIGNAL or SIGNAL/NAME; none: every source to every exporter that takes its signal"`
	DrainTimeout  time.Duration         `yaml:"drain_timeout" doc:"at the end, time to deliver what was read already, after the lease was given up; 0s to 10m"`

	inPod bool // Kubernetes says so
}

// Admin is the server of the program's own state.
type Admin struct {
	Listen string `yaml:"listen" doc:"host:port; empty: no server"`
}

// Leader is the lease that replicas contend for. All of them must have the same durations.
type Leader struct {
	LeaseName      string        `yaml:"lease_name" doc:"name of the Lease"`
	LeaseNamespace string        `yaml:"lease_namespace" doc:"its namespace; empty: $POD_NAMESPACE, else that of the pod's service account"`
	LeaseDuration  time.Duration `yaml:"lease_duration" doc:"a lease that was not renewed for so long may be taken by another replica; whole seconds, 2s to 10m"`
	RenewDeadline  time.Duration `yaml:"renew_deadline" doc:"a leader that could not renew its lease for so long sends nothing more; less than lease_duration"`
	RetryPeriod    time.Duration `yaml:"retry_period" doc:"how often the leader renews, and the others look; those up to 2.2 times as long. Less than renew_deadline / 1.2"`
}

const (
	stateDir      = "/var/lib/stint-cluster"
	namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"
)

// Defaults is the configuration without any file.
func Defaults() Config {
	batch := export.BatchDefaults()
	batch.Timeout = time.Second // clients wait for the answer
	return Config{
		StateDir: stateDir,
		Log:      process.Log{Level: "info", Format: "auto"},
		Admin:    Admin{Listen: "127.0.0.1:8888"},
		Health:   process.Health{Listen: "127.0.0.1:13133"},
		Gateway:  gateway.Defaults(),
		Leader: Leader{
			LeaseName: "stint-cluster",
			// As Kubernetes' own controllers have it, but for the retry period of 2s. With that the lease
			// of a leader that died is taken after 15s and two looks of 4.4s at most each (the first
			// one sees its last renewal), 23.8s; this makes it 19.4s.
			LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: time.Second,
		},
		State:         state.Defaults(),
		Events:        events.Defaults(),
		Objects:       objects.Defaults(),
		Batch:         batch,
		Spool:         export.SpoolDefaults(),
		DeadLetter:    export.DeadLetterDefaults(),
		MemoryLimiter: process.MemoryLimiterDefaults(),
		DrainTimeout:  4 * time.Second,
	}
}

// Load reads the configuration: flag before environment before file before default. If Faults is
// not empty the configuration must not be used.
func Load(args process.LoadArgs) (*Config, *process.Report) {
	cfg := Defaults()
	l := config.New(&cfg, args.Env)
	if args.Getenv("KUBERNETES_SERVICE_HOST") != "" {
		cfg.Gateway.InPod()
		l.Derived("gateway.grpc", "default of a pod")
		l.Derived("gateway.http", "default of a pod")
	}
	if args.File != "" {
		l.File(args.File)
	}
	cfg.inPod = args.Getenv("KUBERNETES_SERVICE_HOST") != ""
	sources := Sources()
	if !cfg.inPod && cfg.Kubernetes.Kubeconfig == "" && args.Getenv("KUBECONFIG") == "" && args.Getenv("STINT_KUBERNETES_KUBECONFIG") == "" {
		sources = cfg.defaultSources()
	}
	notes := process.ExportersFromOTEL(l, args.Getenv, sources)
	l.Environ("STINT_")
	for _, s := range args.Set {
		l.Set(s)
	}
	if !l.IsSet("state_dir") && os.Geteuid() != 0 && !process.CanMake(stateDir) {
		if dir := process.UserStateDir(stateDir, args.Getenv); dir != "" {
			cfg.StateDir = dir
			l.Derived("state_dir", "default of a user who cannot write "+stateDir)
		}
	}
	if file := args.Getenv("KUBECONFIG"); cfg.Kubernetes.Kubeconfig == "" && file != "" {
		cfg.Kubernetes.Kubeconfig = file
		l.Derived("kubernetes.kubeconfig", "env KUBECONFIG")
	}
	if cfg.Leader.LeaseNamespace == "" {
		if ns := args.Getenv("POD_NAMESPACE"); ns != "" {
			cfg.Leader.LeaseNamespace = ns
			l.Derived("leader.lease_namespace", "env POD_NAMESPACE")
		} else if ns, err := os.ReadFile(namespaceFile); err == nil {
			cfg.Leader.LeaseNamespace = strings.TrimSpace(string(ns))
			l.Derived("leader.lease_namespace", namespaceFile)
		}
	}
	if len(cfg.Pipelines) == 0 {
		cfg.Pipelines = export.DefaultPipelines(cfg.Exporters, cfg.defaultSources())
	}
	l.Check(cfg.Check())
	return &cfg, &process.Report{Faults: l.Faults(), Notes: notes, Origin: l.Origin}
}

// Check reports every fault at once, each under its YAML path.
func (c *Config) Check() error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	if !filepath.IsAbs(c.StateDir) {
		fault("state_dir: %q is not an absolute path; give one, e.g. %s", c.StateDir, stateDir)
	}
	errs = append(errs, process.CheckServers(c.Admin.Listen, c.Health.Listen), c.Gateway.Check(), c.Leader.check(), c.State.Check(), c.Events.Check(), c.Objects.Check(), c.Batch.Check(), c.Spool.Check(), c.DeadLetter.Check(),
		c.MemoryLimiter.Check(), c.Exporters.Check(), c.Pipelines.Check(c.Exporters, Sources()))
	if c.DrainTimeout < 0 || c.DrainTimeout > 10*time.Minute {
		fault("drain_timeout: %v is out of range; give 0s to 10m", c.DrainTimeout)
	}
	return errors.Join(errs...)
}

func (l Leader) check() error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	if len(validation.IsDNS1123Subdomain(l.LeaseName)) > 0 {
		fault("leader.lease_name: %q is no name of a Lease; give small letters, digits, - and ., e.g. stint-cluster", l.LeaseName)
	}
	if l.LeaseNamespace != "" && len(validation.IsDNS1123Label(l.LeaseNamespace)) > 0 {
		fault("leader.lease_namespace: %q is no name of a namespace; give small letters, digits and -", l.LeaseNamespace)
	}
	if l.LeaseDuration < 2*time.Second || l.LeaseDuration > 10*time.Minute || l.LeaseDuration%time.Second != 0 {
		fault("leader.lease_duration: %v is out of range; give 2s to 10m in whole seconds", l.LeaseDuration)
	}
	if l.RenewDeadline >= l.LeaseDuration {
		fault("leader.renew_deadline: %v is not less than lease_duration (%v): two replicas could send; lower it", l.RenewDeadline, l.LeaseDuration)
	}
	if l.RetryPeriod < 100*time.Millisecond {
		fault("leader.retry_period: %v is out of range; give at least 100ms", l.RetryPeriod)
	} else if longest := time.Duration(leaderelection.JitterFactor * float64(l.RetryPeriod)); l.RenewDeadline <= longest {
		fault("leader.retry_period: %v leaves no time to renew before renew_deadline (%v); give less than %v",
			l.RetryPeriod, l.RenewDeadline, time.Duration(float64(l.RenewDeadline)/leaderelection.JitterFactor).Round(time.Millisecond))
	}
	return errors.Join(errs...)
}
