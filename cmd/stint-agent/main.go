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
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"stint/agent"
	"stint/agent/config"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1  // at run time
	exitUsage  = 2  // on the command line
	exitConfig = 78 // in the configuration: EX_CONFIG of sysexits.h
)

func main() {
	runtime.MemProfileRate = 0 // nobody asks for the profile, whose table takes half a megabyte
	os.Exit(run(os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}

// run is the whole program but for the process around it.
func run(args, environ []string, stdout, stderr io.Writer) int {
	cmd, err := parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return write(stdout, stderr, help(cmd.verb))
	case err != nil:
		fmt.Fprintf(stderr, "stint-agent: %v\nTry 'stint-agent help'.\n", err)
		return exitUsage
	case cmd.verb == "version":
		return write(stdout, stderr, versionText())
	}

	cfg, report := agent.Load(agent.LoadArgs{File: cmd.file, Set: cmd.set, Env: environ})
	cfg.Demo = cmd.demo
	if cmd.verb == "check" {
		return check(cmd, cfg, report, stdout, stderr)
	}
	if len(report.Faults) > 0 {
		fmt.Fprintln(stderr, report.Faults.Error())
		return exitConfig
	}
	if cmd.verb == "config" {
		style := config.Style{}
		if cmd.explain {
			style.Origin = report.Origin
		}
		return write(stdout, stderr, string(config.Append(nil, cfg, style)))
	}

	// The first signal ends ctx; soon after the handler goes, so that a second one ends the
	// process. Not at once: timeout(1) and terminals send the same signal twice.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	context.AfterFunc(ctx, func() { time.AfterFunc(time.Second, stop) })

	log := logger(cfg.Log, stderr)
	for _, note := range report.Notes {
		log.Warn("note on the configuration", "note", note)
	}
	if cmd.verb == "once" {
		err = agent.Once(ctx, cfg, agentVersion(), cmd.format, stdout, log)
	} else {
		err = serve(ctx, cfg, log)
	}
	if err != nil {
		log.Error("ended", "err", err)
		return exitFailed
	}
	return exitOK
}

func serve(ctx context.Context, cfg *agent.Config, log *slog.Logger) error {
	a, err := agent.New(cfg, agentVersion(), log)
	if err != nil {
		return err
	}
	return a.Run(ctx)
}

// check prints every fault, and without --offline what the machine and the destinations allow.
func check(cmd command, cfg *agent.Config, report *agent.Report, stdout, stderr io.Writer) int {
	if len(report.Faults) > 0 {
		if code := write(stdout, stderr, report.Faults.Error()+"\n"); code != exitOK {
			return code
		}
		return exitConfig
	}
	var b strings.Builder
	name := cmd.file
	if name == "" {
		name = "the default configuration"
	}
	fmt.Fprintf(&b, "ok   %s: no faults\n", name)
	for _, note := range report.Notes {
		fmt.Fprintf(&b, "warn %s\n", note)
	}
	code := exitOK
	if !cmd.offline {
		for _, f := range agent.CheckMachine(context.Background(), cfg) {
			fmt.Fprintln(&b, f)
			if f.Level == agent.Fail {
				code = exitFailed
			}
		}
	}
	return max(code, write(stdout, stderr, b.String()))
}

// write puts a text on standard output. A reader that has gone (| head) is no failure.
func write(stdout, stderr io.Writer, text string) int {
	if _, err := io.WriteString(stdout, text); err != nil && !errors.Is(err, unix.EPIPE) {
		fmt.Fprintf(stderr, "stint-agent: write to standard output: %v\n", err)
		return exitFailed
	}
	return exitOK
}

// logger writes text on a terminal and JSON elsewhere, unless told otherwise.
func logger(c agent.Log, w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		panic("bug: log level " + c.Level) // the configuration has been checked
	}
	opts := &slog.HandlerOptions{Level: level}
	if c.Format == "text" || c.Format == "auto" && isTerminal(w) {
		return slog.New(slog.NewTextHandler(w, opts))
	}
	return slog.New(slog.NewJSONHandler(w, opts))
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
