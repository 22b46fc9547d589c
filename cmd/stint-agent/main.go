// Command stint-agent is the telemetry agent of one Linux node.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"

	"stint/agent"
	"stint/agent/command"
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
	cmd, code, done := command.Begin("stint-agent", version, verbs, args, help, stdout, stderr)
	switch {
	case done:
		return code
	case cmd.Verb == "convert":
		return converted(cmd.Input, stdout, stderr)
	}

	load := func() (*agent.Config, *process.Report) {
		cfg, report := agent.Load(process.LoadArgs{File: cmd.File, Set: cmd.Set, Env: environ})
		cfg.Demo = cmd.Demo
		return cfg, report
	}
	cfg, report := load()
	look := func() (lines []string, ok bool) {
		ok = true
		for _, f := range agent.CheckMachine(context.Background(), cfg) {
			lines, ok = append(lines, f.String()), ok && f.Level != agent.Fail
		}
		return lines, ok
	}
	ask := func(ctx context.Context) (string, bool, error) { return agent.Ask(ctx, cfg) }
	telling := command.Telling{Program: "stint-agent", Command: cmd, Config: cfg, Report: report, Look: look, Ask: ask}
	if code, done := telling.Do(stdout, stderr); done {
		return code
	}

	ctx, stop := command.Signals(cmd.File == "" || process.Terminal(stderr))
	defer stop()
	log := process.Logger(cfg.Log, stderr)
	for _, note := range report.Notes {
		log.Warn("note on the configuration", "note", note)
	}
	var err error
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
		return command.ExitFailed
	}
	return command.ExitOK
}

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
		return command.ExitFailed
	}
	if code := command.Write(stdout, stderr, string(r.YAML)); code != command.ExitOK || r.Whole() {
		return code
	}
	return command.ExitFailed
}
