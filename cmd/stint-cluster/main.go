// Command stint-cluster sends the state of one Kubernetes cluster, by exactly one of its replicas.
package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"

	"stint/agent/cluster"
	"stint/agent/command"
	"stint/agent/process"
)

var verbs = []string{"run", "check", "config", "status", "top", "version", "help"}

// version is set by the linker: -X main.version=1.2.3.
var version string

func main() {
	runtime.MemProfileRate = 0 // nobody asks for the profile, whose table takes half a megabyte
	os.Exit(run(os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}

// run is the whole program but for the process around it.
func run(args, environ []string, stdout, stderr io.Writer) int {
	cmd, code, done := command.Begin("stint-cluster", version, verbs, args, help, stdout, stderr)
	if done {
		return code
	}

	load := func() (*cluster.Config, *process.Report) {
		return cluster.Load(process.LoadArgs{File: cmd.File, Set: cmd.Set, Env: environ})
	}
	cfg, report := load()
	look := func() (lines []string, ok bool) {
		ok = true
		for _, f := range cluster.CheckServer(context.Background(), cfg, process.Version(version)) {
			lines, ok = append(lines, f.String()), ok && f.OK
		}
		return lines, ok
	}
	ask := func(ctx context.Context) (string, bool, error) { return cluster.Ask(ctx, cfg) }
	telling := command.Telling{Program: "stint-cluster", Command: cmd, Config: cfg, Report: report, Look: look, Ask: ask}
	if code, done := telling.Do(stdout, stderr); done {
		return code
	}

	ctx, stop := command.Signals(cmd.File == "" || process.Terminal(stderr))
	defer stop()
	log := func(c *cluster.Config) *slog.Logger { return process.Logger(c.Log, stderr) }
	for _, note := range report.Notes {
		log(cfg).Warn("note on the configuration", "note", note)
	}
	err := process.Service[cluster.Config, *cluster.Cluster]{
		File: cmd.File, Load: load, Log: log,
		New: func(cfg *cluster.Config, log *slog.Logger, _ *cluster.Cluster, more prometheus.Collector) (*cluster.Cluster, error) {
			return cluster.New(cfg, process.Version(version), log, more)
		},
	}.Run(ctx, cfg)
	if err != nil {
		log(cfg).Error("ended", "err", err)
		return command.ExitFailed
	}
	return command.ExitOK
}
