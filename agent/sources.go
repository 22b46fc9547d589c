package agent

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stint/export/otlp"
	"stint/scrape"
	"stint/scrape/cgroup"
	"stint/scrape/dedup"
	"stint/scrape/host"
	"stint/scrape/kubelet"
)

// node is this node's kubelet: how it is asked, and what it says of its pods.
type node struct {
	client *kubelet.Client
	pods   *kubelet.Pods
}

// newNode makes the connection to the kubelet, where there is one; nil: there is none.
func newNode(cfg *Config, log *slog.Logger, reg prometheus.Registerer) (*node, error) {
	k := cfg.Scrape.Kubelet
	if !k.On() {
		return nil, nil
	}
	k.Endpoint = kubeletEndpoint(cfg)
	log = log.With("part", "kubelet")
	client, err := kubelet.NewClient(k, log)
	if err != nil {
		return nil, err
	}
	pods, err := kubelet.NewPods(k, client, log, reg)
	return &node{client, pods}, err
}

// kubeletEndpoint is where the kubelet is asked.
func kubeletEndpoint(cfg *Config) string {
	if e := cfg.Scrape.Kubelet.Endpoint; e != "" {
		return e
	}
	return "https://" + net.JoinHostPort(cfg.NodeName, "10250")
}

// newSources makes the sources of metrics that are wanted, but for the agent's own.
func newSources(cfg *Config, version string, n *node, wants func(source string) bool, log *slog.Logger, reg prometheus.Registerer) ([]scrape.Source, error) {
	log = log.With("part", "scrape")
	s, resource := cfg.Scrape, resourceOf(cfg)
	s.Host.Names, s.Cgroup.Names, s.Kubelet.Names = s.Names, s.Names, s.Names
	overlap := dedup.New(s.Dedup, reg)
	var sources []scrape.Source
	if wants("host") && s.Host.Enabled {
		sources = append(sources, host.New(s.Host, s.RootPath, cfg.KubernetesNode, version, overlap, s.Interval, log))
	}
	if wants("cgroup") && s.Cgroup.Enabled != "false" {
		var names cgroup.Pods
		if n != nil {
			names = newPodNames(n.pods).lookup
		}
		c, err := cgroup.New(s.Cgroup, s.RootPath, resource, version, names, overlap, s.Interval, log, reg)
		if err != nil {
			return nil, fmt.Errorf("scrape.cgroup: %w", err)
		}
		sources = append(sources, c)
	}
	if wants("kubelet") && n != nil {
		s.Kubelet.RootPath = s.RootPath
		k, err := kubelet.NewStats(s.Kubelet, n.client, n.pods, cfg.KubernetesNode, version, resource, overlap, log, reg)
		if err != nil {
			return nil, fmt.Errorf("scrape.kubelet: %w", err)
		}
		sources = append(sources, k)
	}
	return sources, nil
}

// resourceOf is what logs and the agent's own metrics say of this machine.
func resourceOf(cfg *Config) []otlp.KeyValue {
	kvs := []otlp.KeyValue{otlp.Attr("host.name", host.HostName(cfg.Scrape.RootPath, cfg.KubernetesNode))}
	if cfg.KubernetesNode != "" {
		kvs = append(kvs, otlp.Attr("k8s.node.name", cfg.KubernetesNode))
	}
	return kvs
}

// known waits, for at most a moment, until something is known of the node's pods.
func (n *node) known(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for n.pods.Status().LastUpdate.IsZero() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
