package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"stint/bench/sink"
)

// rig is one sink and one agent that sends to it.
type rig struct {
	bench     *bench
	dir       string
	sink      *process
	addresses sink.Addresses
	agent     *process
	started   time.Time
	health    string // address
}

// variant is a way to send.
type variant struct {
	protocol    string // otlp (gRPC) or otlphttp
	compression string // none, gzip or zstd
}

func (v variant) String() string { return v.protocol + "/" + v.compression }

func (b *bench) newRig(ctx context.Context) (*rig, error) {
	dir, err := os.MkdirTemp(b.dir, "rig-")
	if err != nil {
		return nil, err
	}
	r := &rig{bench: b, dir: dir}
	r.sink, err = startProcess(dir, "sink", b.sinkCPU, b.sinkBinary,
		"-check", "-grpc", "127.0.0.1:0", "-http", "127.0.0.1:0", "-control", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	err = poll(ctx, 10*time.Millisecond, 5*time.Second, func() (bool, error) {
		text, err := os.ReadFile(r.sink.stdout)
		if err != nil || len(text) == 0 {
			return false, r.sink.gone()
		}
		return true, json.Unmarshal(text, &r.addresses)
	})
	if err != nil {
		r.sink.kill()
		return nil, fmt.Errorf("sink is not up: %w", err)
	}
	return r, nil
}

// close ends what still runs and removes the files.
func (r *rig) close() {
	for _, p := range []*process{r.agent, r.sink} {
		if p != nil && p.gone() == nil {
			p.kill()
		}
	}
	os.RemoveAll(r.dir)
}

// startAgent starts an agent with a state of its own on the tree at root.
func (r *rig) startAgent(v variant, root string) error {
	admin, err := freePort()
	if err != nil {
		return err
	}
	health, err := freePort()
	if err != nil {
		return err
	}
	r.health = fmt.Sprintf("127.0.0.1:%d", health)

	var config strings.Builder
	fmt.Fprintf(&config, "state_dir: %s\n", filepath.Join(r.dir, "state"))
	fmt.Fprintf(&config, "admin: {listen: \"127.0.0.1:%d\"}\n", admin)
	fmt.Fprintf(&config, "health: {listen: \"%s\"}\n", r.health)
	fmt.Fprintf(&config, "tail: {containers: {root: %s}, files: []}\n", root)
	fmt.Fprintf(&config, "scrape: {host: {enabled: %v}}\n", r.bench.host)
	switch v.protocol {
	case "otlp":
		fmt.Fprintf(&config, "exporters: {otlp: {endpoint: \"%s\", compression: %s, tls: {insecure: true}}}\n", r.addresses.GRPC, v.compression)
	case "otlphttp":
		fmt.Fprintf(&config, "exporters: {otlphttp: {endpoint: \"http://%s\", compression: %s}}\n", r.addresses.HTTP, v.compression)
	}
	file := filepath.Join(r.dir, "agent.yaml")
	if err := os.WriteFile(file, []byte(config.String()), 0o600); err != nil {
		return err
	}
	args := []string{"--config", file}
	for _, set := range r.bench.set {
		args = append(args, "--set", set)
	}
	r.started = time.Now()
	r.agent, err = startProcess(r.dir, "agent", r.bench.agentCPU, r.bench.agentBinary, args...)
	return err
}

// counters asks the sink, for up to half a minute: on a busy machine it may be
// slow to answer.
func (r *rig) counters(ctx context.Context) (sink.Counters, error) {
	var c sink.Counters
	err := poll(ctx, 100*time.Millisecond, 30*time.Second, func() (bool, error) {
		body, err := get(ctx, "http://"+r.addresses.Control+"/counters")
		if err != nil {
			return false, r.sink.gone()
		}
		return true, json.Unmarshal(body, &c)
	})
	if err != nil {
		return c, fmt.Errorf("counters of the sink: %w", err)
	}
	return c, nil
}

// waitFor waits until the sink has that many different records. errTimeout
// comes with the counters as they are then.
func (r *rig) waitFor(ctx context.Context, lines int64, limit time.Duration) (sink.Counters, error) {
	var c sink.Counters
	err := poll(ctx, 20*time.Millisecond, limit, func() (bool, error) {
		if err := r.agent.gone(); err != nil {
			return false, err
		}
		var err error
		c, err = r.counters(ctx)
		return c.Records-c.Repeated >= lines, err
	})
	return c, err
}
