package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Exit codes.
const (
	ExitOK     = 0
	ExitFailed = 1  // at run time
	ExitUsage  = 2  // on the command line
	ExitConfig = 78 // in the configuration: EX_CONFIG of sysexits.h
)

// Command is a parsed command line.
type Command struct {
	Verb    string // empty: help of the whole program is asked for
	File    string
	Set     []string
	Demo    bool
	Offline bool
	Explain bool
	Format  string
	Input   string // of convert
}

// Parse reads the command line of a program: one of its verbs, run if there is none, and its
// flags. With [flag.ErrHelp] the help of Command.Verb is asked for.
func Parse(program string, verbs, args []string) (Command, error) {
	cmd := Command{Verb: "run", Format: "text"}
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		cmd.Verb, args = args[0], args[1:]
		if !slices.Contains(verbs, cmd.Verb) {
			return cmd, fmt.Errorf("there is no command %q; commands: %s", cmd.Verb, strings.Join(verbs, ", "))
		}
	} else if len(args) == 1 && strings.TrimLeft(args[0], "-") == "version" {
		return Command{Verb: "version"}, nil
	} else if len(args) == 1 && slices.Contains([]string{"help", "h"}, strings.TrimLeft(args[0], "-")) {
		return Command{}, flag.ErrHelp
	}

	fs := flag.NewFlagSet(cmd.Verb, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	if cmd.Verb != "version" && cmd.Verb != "help" && cmd.Verb != "convert" {
		fs.StringVar(&cmd.File, "config", "", "")
		fs.Func("set", "", func(s string) error { cmd.Set = append(cmd.Set, s); return nil })
	}
	switch cmd.Verb {
	case "run":
		if !slices.Contains(verbs, "once") { // there is no machine to make a demo on
			break
		}
		fs.BoolVar(&cmd.Demo, "demo", false, "")
	case "check":
		fs.BoolVar(&cmd.Offline, "offline", false, "")
	case "config":
		fs.BoolVar(&cmd.Explain, "explain", false, "")
	case "once":
		fs.StringVar(&cmd.Format, "format", "text", "")
	}
	if err := fs.Parse(args); err != nil {
		return cmd, err
	}
	rest := fs.Args()
	if cmd.Verb == "help" {
		cmd.Verb = ""
		if len(rest) > 0 && slices.Contains(verbs, rest[0]) {
			cmd.Verb, rest = rest[0], rest[1:]
		}
		if len(rest) == 0 {
			return cmd, flag.ErrHelp
		}
	}
	if cmd.Verb == "convert" {
		if len(rest) != 1 {
			return cmd, fmt.Errorf("convert takes one file: %s convert FILE", program)
		}
		cmd.Input, rest = rest[0], nil
	}
	if len(rest) > 0 {
		if slices.Contains(verbs, rest[0]) {
			return cmd, fmt.Errorf("the command comes first: %s %s …", program, rest[0])
		}
		return cmd, fmt.Errorf("%q is not a flag; a file is given by --config FILE", rest[0])
	}
	if cmd.Format != "text" && cmd.Format != "otlp-json" {
		return cmd, fmt.Errorf("--format %q is neither text nor otlp-json", cmd.Format)
	}
	return cmd, nil
}

// Write puts a text on standard output. A reader that has gone (| head) is no failure.
func Write(stdout, stderr io.Writer, text string) int {
	if _, err := io.WriteString(stdout, text); err != nil && !errors.Is(err, unix.EPIPE) {
		fmt.Fprintf(stderr, "%s: write to standard output: %v\n", filepath.Base(os.Args[0]), err)
		return ExitFailed
	}
	return ExitOK
}

// Signals makes a context that the first signal to stop ends. Soon after the handler goes, so that a
// second one ends the process. Not at once: timeout(1) and terminals send the same signal twice.
// hangup: SIGHUP is one of them.
func Signals(hangup bool) (ctx context.Context, stop func()) {
	signals := []os.Signal{syscall.SIGINT, syscall.SIGTERM}
	if hangup {
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop = signal.NotifyContext(context.Background(), signals...)
	context.AfterFunc(ctx, func() { time.AfterFunc(time.Second, stop) })
	return ctx, stop
}
