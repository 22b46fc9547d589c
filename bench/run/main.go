// Command run measures stint-agent from outside: a generator writes logs, a
// sink counts what arrives, /proc tells what the agent used. Start it in the
// bench directory: go run ./run -scenario all
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// bench is what all scenarios share.
type bench struct {
	repo          string // root of the repository
	dir           string // temporary, removed at the end
	agentBinary   string
	sinkBinary    string
	genBinary     string
	packBinary    string
	sendBinary    string
	floodBinary   string
	kubeapiBinary string
	relayBinary   string

	agentCPU, sinkCPU int // -1 = any
	containers, rate  int // 0 = the scenario's own
	timeout           time.Duration
	host              bool
	set               []string
}

// scenarios are what -scenario names, in the order of all.
var scenarios = []string{"drain", "steady", "sparse", "idle", "outage", "limit", "send", "gateway", "overload", "scrape", "footprint", "spool", "micro", "cluster"}

// options are the flags that only some scenarios read.
type options struct {
	scenario     string
	variants     []variant
	backlogBytes int64
	rounds       int
	warmUp       time.Duration
	duration     time.Duration
	outage       time.Duration
	overload     time.Duration
	scrapes      int
	pods         []int
	out          string
}

func main() {
	b, opt, err := parseFlags()
	if err != nil {
		fmt.Fprintln(os.Stderr, "run:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, b, opt); err != nil {
		fmt.Fprintln(os.Stderr, "run:", err)
		os.Exit(1)
	}
}

func parseFlags() (*bench, options, error) {
	b := &bench{repo: ".."}
	var opt options
	last := runtime.NumCPU() - 1
	otherCPU := 0
	if last == 0 {
		otherCPU = -1
	}
	flag.StringVar(&opt.scenario, "scenario", "all", strings.Join(scenarios, ", ")+" or all, which leaves cluster out")
	flag.StringVar(&opt.out, "out", "results", "file for the results (.json), or directory for <time>-<scenario>.json")
	flag.StringVar(&b.agentBinary, "agent", "../bin/stint-agent", "the agent to measure")
	flag.StringVar(&b.dir, "dir", os.TempDir(), "directory for backlog, state and logs of the run; spool measures its disk")
	flag.IntVar(&b.agentCPU, "agent-cpu", last, "CPU that the agent is pinned to; -1 = any")
	flag.IntVar(&b.sinkCPU, "sink-cpu", otherCPU, "CPU that sink and gen are pinned to; -1 = any")
	flag.IntVar(&b.containers, "containers", 0, "containers that write; 0 = the scenario's own")
	flag.IntVar(&b.rate, "rate", 0, "lines per second, where there is a pace; 0 = the scenario's own")
	flag.DurationVar(&b.timeout, "timeout", 2*time.Minute, "how long to wait for the last record")
	flag.BoolVar(&b.host, "host", false, "leave the agent's host scraper on")
	flag.Func("set", "key=value handed on to the agent; may be given several times", func(s string) error {
		b.set = append(b.set, s)
		return nil
	})
	names := flag.String("variants", "otlp/none,otlp/gzip,otlp/zstd,otlphttp/none,otlphttp/gzip,otlphttp/zstd", "of drain; the others take the first")
	flag.Int64Var(&opt.backlogBytes, "backlog", 1<<30, "drain: bytes of log files")
	flag.IntVar(&opt.rounds, "rounds", 3, "drain, scrape, footprint, spool: rounds of everything")
	flag.DurationVar(&opt.warmUp, "warm-up", 10*time.Second, "steady, sparse, idle, footprint: time before measuring")
	flag.DurationVar(&opt.duration, "duration", 30*time.Second, "steady, sparse, idle, footprint: time of measuring")
	flag.DurationVar(&opt.outage, "outage", time.Minute, "outage: how long it lasts")
	flag.DurationVar(&opt.overload, "overload", 2*time.Minute, "overload: how long it lasts")
	flag.IntVar(&opt.scrapes, "scrapes", 20, "scrape: scrapes of a round, one a second")
	sizes := flag.String("pods", "3000,150000", "cluster: how many pods; a node for thirty of them")
	flag.Parse()

	for name := range strings.SplitSeq(*names, ",") {
		protocol, compression, _ := strings.Cut(name, "/")
		if !slices.Contains([]string{"otlp", "otlphttp"}, protocol) || !slices.Contains([]string{"none", "gzip", "zstd"}, compression) {
			return nil, opt, fmt.Errorf("-variants: %q is not otlp|otlphttp/none|gzip|zstd", name)
		}
		opt.variants = append(opt.variants, variant{protocol, compression})
	}
	for text := range strings.SplitSeq(*sizes, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 30 {
			return nil, opt, fmt.Errorf("-pods: %q is no number of 30 or more", text)
		}
		opt.pods = append(opt.pods, n)
	}
	if opt.scenario != "all" && !slices.Contains(scenarios, opt.scenario) {
		return nil, opt, fmt.Errorf("-scenario: %q is not %s or all", opt.scenario, strings.Join(scenarios, ", "))
	}
	if opt.rounds < 1 || opt.scrapes < 1 || opt.backlogBytes < 1<<20 || flag.NArg() > 0 {
		return nil, opt, errors.New("-rounds and -scrapes must be 1 or more, -backlog 1 MiB or more, and there are no arguments")
	}
	if filepath.Ext(opt.out) != ".json" {
		opt.out = filepath.Join(opt.out, time.Now().UTC().Format("20060102-150405-")+opt.scenario+".json")
	}
	return b, opt, nil
}

func run(ctx context.Context, b *bench, opt options) error {
	wants := func(scenario string) bool { return opt.scenario == scenario || opt.scenario == "all" }
	var err error
	if b.dir, err = os.MkdirTemp(b.dir, "stint-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)

	if opt.scenario != "micro" && opt.scenario != "spool" {
		if b.agentBinary, err = filepath.Abs(b.agentBinary); err != nil {
			return err
		}
		if _, err := os.Stat(b.agentBinary); err != nil {
			return fmt.Errorf("%w: run make build first", err)
		}
		build := exec.CommandContext(ctx, "go", "build", "-o", b.dir+"/", "./cmd/gen", "./cmd/sink", "./cmd/pack", "./cmd/send", "./cmd/flood", "./cmd/kubeapi", "./cmd/relay")
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			return fmt.Errorf("build gen, sink, pack, send, flood and kubeapi (in the bench directory?): %w", err)
		}
		b.genBinary, b.sinkBinary, b.packBinary = filepath.Join(b.dir, "gen"), filepath.Join(b.dir, "sink"), filepath.Join(b.dir, "pack")
		b.sendBinary, b.floodBinary, b.kubeapiBinary = filepath.Join(b.dir, "send"), filepath.Join(b.dir, "flood"), filepath.Join(b.dir, "kubeapi")
		b.relayBinary = filepath.Join(b.dir, "relay")
	}

	res := result{
		Time: time.Now().UTC(), Command: "go run ./run " + strings.Join(os.Args[1:], " "), Machine: b.machine(),
		HostOn: b.host, Set: b.set, AgentCPU: b.agentCPU, SinkCPU: b.sinkCPU,
	}
	if wants("drain") {
		if res.Backlog, err = b.newBacklog(ctx, opt.backlogBytes); err != nil {
			return err
		}
		if res.Rounds, res.Drain, err = b.drainAll(ctx, opt.variants, opt.rounds, res.Backlog); err != nil {
			return err
		}
		os.RemoveAll(res.Backlog.Root)
	}
	for _, scenario := range []string{"steady", "sparse", "idle"} {
		if !wants(scenario) {
			continue
		}
		f, err := b.follow(ctx, scenario, opt.variants[0], opt.warmUp, opt.duration)
		if err != nil {
			return fmt.Errorf("%s: %w", scenario, err)
		}
		res.Follow = append(res.Follow, f)
	}
	if wants("outage") {
		o, err := b.outage(ctx, opt.variants[0], opt.outage)
		if err != nil {
			return fmt.Errorf("outage: %w", err)
		}
		res.Outage = append(res.Outage, o)
	}
	if wants("limit") {
		l, err := b.limit(ctx, opt.variants[0])
		if err != nil {
			return fmt.Errorf("limit: %w", err)
		}
		res.Limit = append(res.Limit, l)
	}
	if wants("send") {
		if res.Send, err = b.send(ctx, opt.variants, opt.rounds); err != nil {
			return fmt.Errorf("send: %w", err)
		}
	}
	if wants("gateway") {
		if res.Gateway, err = b.gateway(ctx, opt.rounds); err != nil {
			return err
		}
	}
	if wants("overload") {
		o, err := b.overload(ctx, opt.overload)
		if err != nil {
			return fmt.Errorf("overload: %w", err)
		}
		res.Overload = append(res.Overload, o)
	}
	if wants("scrape") {
		if res.Scrape, err = b.scrape(ctx, opt.variants[0], opt.rounds, opt.scrapes); err != nil {
			return fmt.Errorf("scrape: %w", err)
		}
	}
	if wants("footprint") {
		if res.Footprint, err = b.footprint(ctx, opt.variants[0], opt.rounds, opt.warmUp, opt.duration); err != nil {
			return fmt.Errorf("footprint: %w", err)
		}
	}
	if wants("spool") {
		if res.Spool, err = b.spool(ctx, opt.rounds); err != nil {
			return fmt.Errorf("spool: %w", err)
		}
	}
	if opt.scenario == "cluster" { // a quarter of an hour, and needs the peer: not a part of all
		if res.Cluster, err = b.cluster(ctx, opt.pods); err != nil {
			return err
		}
	}
	var microErr error
	if wants("micro") {
		res.Micro, microErr = b.micro(ctx)
	}

	res.print(os.Stdout)
	if err := res.write(opt.out); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "written to", opt.out)
	if !res.lossless() {
		return errors.New("lines were lost")
	}
	return microErr
}
