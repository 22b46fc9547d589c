package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"stint/bench/sink"
)

// rig is one sink, one agent that sends to it, and perhaps a gen.
type rig struct {
	bench     *bench
	dir       string
	sink      *process
	addresses sink.Addresses
	agent     *process
	started   time.Time
	admin     string // address
	health    string // address
	gen       *process
	pods      string // where gen writes
}

// variant is a way to send.
type variant struct {
	protocol    string // otlp (gRPC) or otlphttp
	compression string // none, gzip or zstd
}

func (v variant) String() string { return v.protocol + "/" + v.compression }

func (b *bench) newRig(ctx context.Context, sinkArgs ...string) (*rig, error) {
	dir, err := os.MkdirTemp(b.dir, "rig-")
	if err != nil {
		return nil, err
	}
	r := &rig{bench: b, dir: dir, pods: filepath.Join(dir, "pods")}
	if err := os.Mkdir(r.pods, 0o755); err != nil {
		return nil, err
	}
	args := append([]string{"-check", "-grpc", "127.0.0.1:0", "-http", "127.0.0.1:0", "-control", "127.0.0.1:0"}, sinkArgs...)
	r.sink, err = startProcess(dir, "sink", b.sinkCPU, b.sinkBinary, args...)
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
	for _, p := range []*process{r.gen, r.agent, r.sink} {
		if p != nil && p.gone() == nil {
			p.kill()
		}
	}
	os.RemoveAll(r.dir)
}

// startAgent starts an agent with a state of its own on the tree at root.
// set are settings beside those of the flag -set.
func (r *rig) startAgent(v variant, root string, set ...string) error {
	admin, err := freePort()
	if err != nil {
		return err
	}
	health, err := freePort()
	if err != nil {
		return err
	}
	r.admin, r.health = fmt.Sprintf("127.0.0.1:%d", admin), fmt.Sprintf("127.0.0.1:%d", health)

	var config strings.Builder
	fmt.Fprintf(&config, "state_dir: %s\n", filepath.Join(r.dir, "state"))
	fmt.Fprintf(&config, "admin: {listen: \"%s\"}\n", r.admin)
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
	for _, kv := range append(set, r.bench.set...) {
		args = append(args, "--set", kv)
	}
	r.started = time.Now()
	r.agent, err = startProcess(r.dir, "agent", r.bench.agentCPU, r.bench.agentBinary, args...)
	return err
}

// startGen starts a gen with that load.
func (r *rig) startGen(l load, args ...string) error {
	args = append([]string{"-root", r.pods, "-containers", strconv.Itoa(l.containers), "-rate", strconv.Itoa(l.linesPerSecond)}, args...)
	var err error
	r.gen, err = startProcess(r.dir, "gen", r.bench.sinkCPU, r.bench.genBinary, args...)
	return err
}

// stopGen lets gen end. Its output stays.
func (r *rig) stopGen() error {
	gen := r.gen
	r.gen = nil
	return gen.stop()
}

// written is what gen said last.
func (r *rig) written() (w struct{ Lines, Bytes int64 }, err error) {
	out, err := os.ReadFile(filepath.Join(r.dir, "gen.out"))
	if err != nil {
		return w, err
	}
	out = out[:bytes.LastIndexByte(out, '\n')+1] // gen may be about to say the rest
	out = bytes.TrimSpace(out)
	if len(out) == 0 {
		return w, nil
	}
	if err := json.Unmarshal(out[bytes.LastIndexByte(out, '\n')+1:], &w); err != nil {
		return w, fmt.Errorf("output of gen: %w", err)
	}
	return w, nil
}

// gone returns an error when one of them has ended.
func (r *rig) gone() error {
	err := errors.Join(r.agent.gone(), r.sink.gone())
	if r.gen != nil {
		err = errors.Join(err, r.gen.gone())
	}
	return err
}

// metric is a value of the agent's /metrics, or the sum of all with that name. It asks for up to
// half a minute: the agent may be starting.
func (r *rig) metric(ctx context.Context, name string) (int64, error) {
	var text []byte
	err := poll(ctx, 100*time.Millisecond, 30*time.Second, func() (bool, error) {
		var err error
		if text, err = get(ctx, "http://"+r.admin+"/metrics"); err != nil {
			return false, r.agent.gone()
		}
		return true, nil
	})
	if err != nil {
		return 0, fmt.Errorf("metrics of the agent: %w", err)
	}
	sum, found := 0.0, false
	for line := range strings.Lines(string(text)) {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || rest[0] != ' ' && rest[0] != '{' {
			continue
		}
		value, err := strconv.ParseFloat(strings.TrimSpace(rest[strings.LastIndexByte(rest, ' '):]), 64)
		if err != nil {
			return 0, fmt.Errorf("metric %s: %w", name, err)
		}
		sum, found = sum+value, true
	}
	if !found {
		return 0, fmt.Errorf("the agent has no metric %s", name)
	}
	return int64(sum), nil
}

// account is what became of the lines of a run.
type account struct {
	Lines      int64 `json:"lines"` // written, warm-up included
	Bytes      int64 `json:"bytes"`
	Lost       int64 `json:"lost"`
	Repeated   int64 `json:"repeated"`
	OutOfOrder int64 `json:"out_of_order"`
	Requests   int64 `json:"requests"`
}

// finish ends gen, waits for its lines, ends the agent and counts.
func (r *rig) finish(ctx context.Context) (account, error) {
	var a account
	if r.gen != nil {
		if err := r.stopGen(); err != nil {
			return a, err
		}
	}
	written, err := r.written()
	if err != nil {
		return a, err
	}
	if _, err := r.waitFor(ctx, written.Lines, r.bench.timeout); err != nil && !errors.Is(err, errTimeout) {
		return a, err
	}
	if err := r.agent.stop(); err != nil {
		return a, err
	}
	c, err := r.counters(ctx)
	if err != nil {
		return a, err
	}
	a = account{
		Lines: written.Lines, Bytes: written.Bytes, Requests: c.Requests,
		Lost: written.Lines - (c.Records - c.Repeated), Repeated: c.Repeated, OutOfOrder: c.OutOfOrder,
	}
	if a.Lost > 0 {
		fmt.Fprintf(os.Stderr, "missing: %v; agent says: %s\n", c.Gaps, tail(r.agent.stderr))
	}
	return a, nil
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
