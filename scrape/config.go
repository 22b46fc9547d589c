package scrape

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"stint/scrape/cgroup"
	"stint/scrape/dedup"
	"stint/scrape/host"
	"stint/scrape/kubelet"
	"stint/scrape/series"
)

// Config says how often and where from metrics are read.
type Config struct {
	Interval time.Duration  `yaml:"interval" doc:"time between two scrapes; points lie on the grid of whole intervals; at least 1s"`
	RootPath string         `yaml:"root_path" doc:"where the host's root directory is seen; /host in a container that mounts it there"`
	Names    string         `yaml:"names" enum:"semconv,prometheus,both" doc:"names of the metrics of host, cgroup and kubelet: OpenTelemetry's; those of node_exporter, cAdvisor and the kubelet, for dashboards and alerts that exist; or both. What those programs do not tell keeps its name"`
	Host     host.Config    `yaml:"host" doc:"metrics of this machine"`
	Kubelet  kubelet.Config `yaml:"kubelet" doc:"what the kubelet of this node knows: labels, owners, images of the pods whose logs are read"`
	Cgroup   cgroup.Config  `yaml:"cgroup" doc:"metrics of containers, pods and systemd units"`
	Dedup    dedup.Config   `yaml:"dedup" doc:"which source has what several know"`
}

// Defaults scrapes every 10 s: the grid on which the kubelet refreshes its own numbers.
func Defaults() Config {
	return Config{Interval: 10 * time.Second, RootPath: "/", Names: series.SemConv, Host: host.Defaults(), Kubelet: kubelet.Defaults(), Cgroup: cgroup.Defaults(), Dedup: dedup.Defaults()}
}

// Check reports every fault at once, each under its YAML path.
func (c Config) Check() error {
	var errs []error
	if c.Interval < time.Second {
		errs = append(errs, fmt.Errorf("scrape.interval: %v is under a second; give 1s or more", c.Interval))
	}
	if c.Interval > time.Hour {
		errs = append(errs, fmt.Errorf("scrape.interval: %v is over an hour; give 1h or less", c.Interval))
	}
	if !filepath.IsAbs(c.RootPath) {
		errs = append(errs, fmt.Errorf("scrape.root_path: %q is not an absolute path; give / or where the host is mounted, e.g. /host", c.RootPath))
	}
	return errors.Join(append(errs, c.Host.Check(), c.Kubelet.Check(), c.Cgroup.Check(), c.Dedup.Check())...)
}
