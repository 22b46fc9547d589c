// Command stint-cluster sends the state of one Kubernetes cluster, by exactly one of its replicas.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"stint/agent/cluster"
	"stint/agent/config"
	"stint/agent/process"
)

var verbs = []string{"run", "check", "config", "version", "help"}

// version is set by the linker: -X main.version=1.2.3.
var version string

func main() {
	runtime.MemProfileRate = 0 // nobody asks for the profile, whose table takes half a megabyte
	os.Exit(run(os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}

// run is the whole program but for the process around it.
func run(args, environ []string, stdout, stderr io.Writer) int {
	cmd, err := process.Parse("stint-cluster", verbs, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return process.Write(stdout, stderr, help(cmd.Verb))
	case err != nil:
		fmt.Fprintf(stderr, "stint-cluster: %v\nTry 'stint-cluster help'.\n", err)
		return process.ExitUsage
	case cmd.Verb == "version":
		return process.Write(stdout, stderr, process.VersionText("stint-cluster", version))
	}

	load := func() (*cluster.Config, *process.Report) {
		return cluster.Load(process.LoadArgs{File: cmd.File, Set: cmd.Set, Env: environ})
	}
	cfg, report := load()
	faulty := len(report.Faults) > 0
	switch {
	case cmd.Verb == "check" && faulty:
		return max(process.ExitConfig, process.Write(stdout, stderr, report.Faults.Error()+"\n"))
	case cmd.Verb == "check":
		return check(cmd, cfg, report, stdout, stderr)
	case faulty:
		fmt.Fprintln(stderr, report.Faults.Error())
		return process.ExitConfig
	case cmd.Verb == "config":
		style := config.Style{}
		if cmd.Explain {
			style.Origin = report.Origin
		}
		return process.Write(stdout, stderr, string(config.Append(nil, cfg, style)))
	}

	ctx, stop := process.Signals(cmd.File == "" || process.Terminal(stderr))
	defer stop()
	log := func(c *cluster.Config) *slog.Logger { return process.Logger(c.Log, stderr) }
	for _, note := range report.Notes {
		log(cfg).Warn("note on the configuration", "note", note)
	}
	err = process.Service[cluster.Config, *cluster.Cluster]{
		File: cmd.File, Load: load, Log: log,
		New: func(cfg *cluster.Config, log *slog.Logger, _ *cluster.Cluster, more prometheus.Collector) (*cluster.Cluster, error) {
			return cluster.New(cfg, process.Version(version), log, more)
		},
	}.Run(ctx, cfg)
	if err != nil {
		log(cfg).Error("ended", "err", err)
		return process.ExitFailed
	}
	return process.ExitOK
}

// check is the command of that name, for a faultless configuration.
func check(cmd process.Command, cfg *cluster.Config, report *process.Report, stdout, stderr io.Writer) int {
	var b strings.Builder
	name := cmd.File
	if name == "" {
		name = "the default configuration"
	}
	fmt.Fprintf(&b, "ok   %s: no faults\n", name)
	for _, note := range report.Notes {
		fmt.Fprintf(&b, "warn %s\n", note)
	}
	code := process.ExitOK
	if !cmd.Offline {
		for _, f := range cluster.CheckServer(context.Background(), cfg, process.Version(version)) {
			fmt.Fprintln(&b, f)
			if !f.OK {
				code = process.ExitFailed
			}
		}
	}
	return max(code, process.Write(stdout, stderr, b.String()))
}
