package main

import (
	"context"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// clusterResult is what it costs to tell of a cluster's objects.
type clusterResult struct {
	What        string  `json:"what"`    // stint-cluster, or the collector
	Version     string  `json:"version"` // of the collector's receiver
	Pods        int     `json:"pods"`
	Nodes       int     `json:"nodes"`
	Compression string  `json:"compression"`
	Stopped     string  `json:"stopped,omitempty"` // why it was not measured to the end
	FirstSync   float64 `json:"first_sync_s"`      // from the start of the process until all pods were read
	FirstCPU    float64 `json:"first_sync_cpu_s"`
	FirstSet    float64 `json:"first_set_s"`    // until the sink had a point for each pod
	PointsASet  int64   `json:"points_a_set"`   // in the window without changes, by intervals of pods
	Interval    float64 `json:"pod_interval_s"` // how often pods are sent
	IntervalCPU float64 `json:"cpu_s_a_pod_interval"`
	CPUPercent  float64 `json:"cpu_percent"`                    // without changes
	ChangesCPU  float64 `json:"changes_extra_cpu_percent"`      // what changes add
	Changes     int     `json:"changes_a_second"`               // of pods
	SyncPeak    int64   `json:"peak_rss_after_first_set"`       // bytes, VmHWM
	QuietRSS    int64   `json:"rss_without_changes_bytes"`      // VmRSS at the end of that window
	Peak        int64   `json:"peak_rss_with_changes_bytes"`    // VmHWM at the end
	Anonymous   float64 `json:"anonymous_rss_with_changes_mib"` // without what is mapped from the binary
}

const (
	clusterWindow  = time.Minute // two intervals of many pods, six of few
	clusterChanges = 500
	// peerMost is where the collector is stopped: it would take the machine's memory.
	peerMost = 8 << 30
)

// cluster measures stint-cluster, with state and events, and beside it a collector with the k8s_cluster
// receiver, each before a generator of its own.
func (b *bench) cluster(ctx context.Context, sizes []int) (all []clusterResult, _ error) {
	ours, err := filepath.Abs(filepath.Join(b.repo, "bin/stint-cluster"))
	if err != nil {
		return nil, err
	}
	peer, err := filepath.Abs("k8scluster/k8scluster")
	if err != nil {
		return nil, err
	}
	for _, binary := range []string{ours, peer} {
		if !exists(binary) {
			return nil, fmt.Errorf("%s is missing: run make build peer-k8scluster first", filepath.Base(binary))
		}
	}
	version := ""
	if info, err := buildinfo.ReadFile(peer); err == nil {
		for _, d := range info.Deps {
			if filepath.Base(d.Path) == "k8sclusterreceiver" {
				version = d.Version
			}
		}
	}
	for _, pods := range sizes {
		for _, who := range []clusterResult{{What: "stint-cluster", Compression: "none"}, {What: "stint-cluster", Compression: "gzip"}, {What: "otelcol", Version: version, Compression: "none"}} {
			res := who
			res.Pods, res.Nodes, res.Changes = pods, pods/30, clusterChanges
			res.Interval = 10
			binary := peer
			if who.What == "stint-cluster" {
				binary = ours
				if res.Pods >= 20_000 { // the default from there on
					res.Interval = 30
				}
			}
			if err := b.clusterRun(ctx, binary, &res); err != nil {
				return nil, fmt.Errorf("cluster of %d pods, %s: %w", res.Pods, res.What, err)
			}
			all = append(all, res)
		}
	}
	return all, nil
}

var errTooBig = errors.New("over 8 GiB")

func (b *bench) clusterRun(ctx context.Context, binary string, res *clusterResult) error {
	r, err := b.newRig(ctx)
	if err != nil {
		return err
	}
	defer r.close()
	r.gen, err = startProcess(r.dir, "kubeapi", b.sinkCPU, b.kubeapiBinary, "-pods", fmt.Sprint(res.Pods), "-nodes", fmt.Sprint(res.Nodes))
	if err != nil {
		return err
	}
	var server struct{ URL string }
	if err := poll(ctx, 10*time.Millisecond, 10*time.Second, func() (bool, error) {
		text, err := os.ReadFile(r.gen.stdout)
		if err != nil || len(text) == 0 {
			return false, r.gen.gone()
		}
		return true, json.Unmarshal(text, &server)
	}); err != nil {
		return err
	}
	started := time.Now()
	if r.agent, err = r.startCluster(binary, server.URL, res); err != nil {
		return err
	}
	err = r.clusterWindows(ctx, server.URL, started, res)
	if errors.Is(err, errTooBig) || errors.Is(err, errTimeout) {
		_, res.Peak, _ = r.agent.memory()
		res.Stopped = fmt.Sprintf("after %.0f s: %v", time.Since(started).Seconds(), err)
		return nil
	}
	if err != nil && res.What != "stint-cluster" && ctx.Err() == nil { // the peer's end is a result, too
		res.Stopped = fmt.Sprintf("after %.0f s: it ended", time.Since(started).Seconds())
		fmt.Fprintln(os.Stderr, err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w; it says: %s", err, tail(r.agent.stderr))
	}
	if r.agent.stop() != nil && res.What == "stint-cluster" {
		return errors.New("it did not end well")
	}
	return nil
}

// startCluster starts either with its defaults, and an exporter to the sink.
func (r *rig) startCluster(binary, server string, res *clusterResult) (*process, error) {
	kubeconfig := filepath.Join(r.dir, "kubeconfig")
	text := fmt.Sprintf("apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: %q}}]\nusers: [{name: u, user: {}}]\ncontexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: x\n", server)
	if err := os.WriteFile(kubeconfig, []byte(text), 0o600); err != nil {
		return nil, err
	}
	config := fmt.Sprintf(`receivers: {k8s_cluster: {auth_type: kubeConfig}}
exporters: {otlp: {endpoint: "%s", compression: %s, tls: {insecure: true}}}
service:
  telemetry: {metrics: {level: none}}
  pipelines: {metrics: {receivers: [k8s_cluster], exporters: [otlp]}}
`, r.addresses.GRPC, res.Compression)
	if res.What == "stint-cluster" {
		var ports [4]int
		for i := range ports {
			var err error
			if ports[i], err = freePort(); err != nil {
				return nil, err
			}
		}
		config = fmt.Sprintf(`state_dir: %s
admin: {listen: "127.0.0.1:%d"}
health: {listen: "127.0.0.1:%d"}
gateway: {grpc: "127.0.0.1:%d", http: "127.0.0.1:%d"}
kubernetes: {kubeconfig: %s}
leader: {lease_namespace: stint}
exporters: {otlp: {endpoint: "%s", compression: %s, tls: {insecure: true}}}
pipelines: {metrics: {sources: [state], exporters: [otlp]}, logs: {sources: [events], exporters: [otlp]}}
`, filepath.Join(r.dir, "cluster"), ports[0], ports[1], ports[2], ports[3], kubeconfig, r.addresses.GRPC, res.Compression)
	}
	file := filepath.Join(r.dir, "cluster.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	if err := os.Setenv("KUBECONFIG", kubeconfig); err != nil { // the collector has no setting for it
		return nil, err
	}
	return startProcess(r.dir, "cluster", r.bench.agentCPU, binary, "--config", file)
}

// clusterWindows measures from the start of the process on.
func (r *rig) clusterWindows(ctx context.Context, server string, started time.Time, res *clusterResult) error {
	p := r.agent
	used := func() (float64, error) {
		user, system, err := p.cpuTime()
		return (user + system).Seconds(), err
	}
	within := func() error { // it runs, and not on all of the memory
		if err := r.gone(); err != nil {
			return err
		}
		rss, _, err := p.memory()
		if err == nil && rss > peerMost {
			return errTooBig
		}
		return err
	}
	limit := 10 * time.Minute
	if err := poll(ctx, 50*time.Millisecond, limit, func() (bool, error) {
		text, err := get(ctx, server+"/bench")
		if err != nil {
			return false, err
		}
		var said struct{ Handed bool }
		if err := json.Unmarshal(text, &said); err != nil || said.Handed {
			return said.Handed, err
		}
		return false, within()
	}); err != nil {
		return err
	}
	res.FirstSync = time.Since(started).Seconds()
	var err error
	if res.FirstCPU, err = used(); err != nil {
		return err
	}
	if err := poll(ctx, 100*time.Millisecond, limit, func() (bool, error) {
		c, err := r.counters(ctx)
		if err != nil {
			return false, err
		}
		return c.MetricPoints >= int64(5*res.Pods), within()
	}); err != nil {
		return err
	}
	res.FirstSet = time.Since(started).Seconds()
	if _, res.SyncPeak, err = p.memory(); err != nil {
		return err
	}
	window := func(seconds float64) (cpu float64, points int64, err error) {
		c, err := r.counters(ctx)
		if err != nil {
			return 0, 0, err
		}
		before, err := used()
		if err != nil {
			return 0, 0, err
		}
		end := time.Now().Add(time.Duration(seconds * float64(time.Second)))
		if err := poll(ctx, 100*time.Millisecond, 10*clusterWindow, func() (bool, error) {
			return time.Now().After(end), within()
		}); err != nil {
			return 0, 0, err
		}
		after, err := used()
		if err != nil {
			return 0, 0, err
		}
		now, err := r.counters(ctx)
		return after - before, now.MetricPoints - c.MetricPoints, err
	}
	if _, _, err := window(res.Interval); err != nil { // the first set may still be on its way
		return err
	}
	quiet, points, err := window(clusterWindow.Seconds())
	if err != nil {
		return err
	}
	intervals := clusterWindow.Seconds() / res.Interval
	res.IntervalCPU, res.CPUPercent, res.PointsASet = quiet/intervals, 100*quiet/clusterWindow.Seconds(), int64(float64(points)/intervals)
	if res.QuietRSS, _, err = p.memory(); err != nil {
		return err
	}
	resp, err := http.Post(fmt.Sprintf("%s/bench?changes=%d", server, res.Changes), "", nil)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if _, _, err := window(2); err != nil {
		return err
	}
	busy, _, err := window(clusterWindow.Seconds())
	if err != nil {
		return err
	}
	res.ChangesCPU = 100 * (busy - quiet) / clusterWindow.Seconds()
	if _, res.Peak, err = p.memory(); err != nil {
		return err
	}
	res.Anonymous, err = p.anonymous()
	return err
}
