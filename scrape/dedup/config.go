package dedup

import (
	"errors"
	"fmt"
)

// Config says which source has a quantity that several know.
type Config struct {
	Enabled    bool   `yaml:"enabled" doc:"send each quantity once; false: everything that every source knows"`
	Node       string `yaml:"node" enum:"host,kubelet,both" doc:"whose figures of the node are sent: those of /proc, or the kubelet's"`
	Container  string `yaml:"container" enum:"cgroup,kubelet,both" doc:"whose figures of containers and pods are sent: those of the cgroup files, or the kubelet's"`
	HoldCycles int    `yaml:"hold_cycles" unit:"scrapes" doc:"how many scrapes a source may miss before the other takes over; 1 to 100"`
}

// Defaults prefers what is read by the agent itself: it is fresher by up to 15 s and has more detail.
func Defaults() Config {
	return Config{Enabled: true, Node: "host", Container: "cgroup", HoldCycles: 2}
}

// Check reports every fault at once, each under its YAML path.
func (c Config) Check() error {
	var errs []error
	if c.HoldCycles < 1 || c.HoldCycles > 100 {
		errs = append(errs, fmt.Errorf("scrape.dedup.hold_cycles: %d is not between 1 and 100; 2 is usual", c.HoldCycles))
	}
	return errors.Join(errs...)
}

// ranks orders the sources of a kind of entity, best first; nil: all are sent.
func (c Config) ranks(kind Kind) []string {
	better, choice := map[Kind]string{Node: "host", Pod: "cgroup", Container: "cgroup"}[kind], c.Container
	if kind == Node {
		choice = c.Node
	}
	switch {
	case !c.Enabled || choice == "both":
		return nil
	case choice == "kubelet":
		return []string{"kubelet", better}
	}
	return []string{better, "kubelet"}
}
