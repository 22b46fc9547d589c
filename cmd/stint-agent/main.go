// Command stint-agent is the telemetry agent of one Linux node.
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
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stint/agent"
	"stint/agent/config"
	"stint/agent/convert"
	"stint/agent/process"
)

var verbs = []string{"run", "check", "config", "once", "status", "top", "convert", "version", "help"}

// version is set by the linker: -X main.version=1.2.3.
var version string

func main() {
	runtime.MemProfileRate = 0 // nobody asks for the profile, whose table takes half a megabyte
	os.Exit(run(os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}

// run is the whole program but for the process around it.
func run(args, environ []string, stdout, stderr io.Writer) int {
	cmd, err := process.Parse("stint-agent", verbs, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return process.Write(stdout, stderr, help(cmd.Verb))
	case err != nil:
		fmt.Fprintf(stderr, "stint-agent: %v\nTry 'stint-agent help'.\n", err)
		return process.ExitUsage
	case cmd.Verb == "version":
		return process.Write(stdout, stderr, process.VersionText("stint-agent", version))
	case cmd.Verb == "convert":
		return converted(cmd.Input, stdout, stderr)
	}

	load := func() (*agent.Config, *process.Report) {
		cfg, report := agent.Load(process.LoadArgs{File: cmd.File, Set: cmd.Set, Env: environ})
		cfg.Demo = cmd.Demo
		return cfg, report
	}
	cfg, report := load()
	if cmd.Verb == "check" {
		return check(cmd, cfg, report, stdout, stderr)
	}
	if len(report.Faults) > 0 {
		fmt.Fprintln(stderr, report.Faults.Error())
		return process.ExitConfig
	}
	if cmd.Verb == "config" {
		style := config.Style{}
		if cmd.Explain {
			style.Origin = report.Origin
		}
		return process.Write(stdout, stderr, string(config.Append(nil, cfg, style)))
	}

	if cmd.Verb == "status" {
		return status(cfg, stdout, stderr)
	}
	if cmd.Verb == "top" {
		ctx, stop := process.Signals(true)
		defer stop()
		if err := agent.Watch(ctx, cfg, topInterval, process.Terminal(stdout), stdout); err != nil {
			fmt.Fprintf(stderr, "stint-agent: %v\n", err)
			return process.ExitFailed
		}
		return process.ExitOK
	}

	ctx, stop := process.Signals(cmd.File == "" || process.Terminal(stderr))
	defer stop()
	log := process.Logger(cfg.Log, stderr)
	for _, note := range report.Notes {
		log.Warn("note on the configuration", "note", note)
	}
	if cmd.Verb == "once" {
		err = agent.Once(ctx, cfg, process.Version(version), cmd.Format, stdout, log)
	} else {
		err = process.Service[agent.Config, *agent.Agent]{
			File: cmd.File, Load: load, Log: func(c *agent.Config) *slog.Logger { return process.Logger(c.Log, stderr) },
			New: func(cfg *agent.Config, log *slog.Logger, before *agent.Agent, more prometheus.Collector) (*agent.Agent, error) {
				return agent.Renew(cfg, process.Version(version), log, before, more)
			},
		}.Run(ctx, cfg)
	}
	if err != nil {
		log.Error("ended", "err", err)
		return process.ExitFailed
	}
	return process.ExitOK
}

// topInterval is the time between two screens of top.
const topInterval = 2 * time.Second

// converted prints the configuration that another program's becomes, and on stderr what became of each piece of that.
func converted(file string, stdout, stderr io.Writer) int {
	r, err := convert.File(file)
	if r != nil {
		for _, l := range r.Report {
			fmt.Fprintln(stderr, l)
		}
	}
	if err != nil {
		fmt.Fprintf(stderr, "stint-agent: %v\n", err)
		return process.ExitFailed
	}
	if code := process.Write(stdout, stderr, string(r.YAML)); code != process.ExitOK || r.Whole() {
		return code
	}
	return process.ExitFailed
}

// status prints what the running agent says of itself.
func status(cfg *agent.Config, stdout, stderr io.Writer) int {
	text, well, err := agent.Ask(context.Background(), cfg)
	if err != nil {
		fmt.Fprintf(stderr, "stint-agent: %v\n", err)
		return process.ExitFailed
	}
	if code := process.Write(stdout, stderr, text); code != process.ExitOK || well {
		return code
	}
	return process.ExitFailed
}

// check prints every fault, and without --offline what the machine and the destinations allow.
func check(cmd process.Command, cfg *agent.Config, report *process.Report, stdout, stderr io.Writer) int {
	if len(report.Faults) > 0 {
		if code := process.Write(stdout, stderr, report.Faults.Error()+"\n"); code != process.ExitOK {
			return code
		}
		return process.ExitConfig
	}
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
		for _, f := range agent.CheckMachine(context.Background(), cfg) {
			fmt.Fprintln(&b, f)
			if f.Level == agent.Fail {
				code = process.ExitFailed
			}
		}
	}
	return max(code, process.Write(stdout, stderr, b.String()))
}
