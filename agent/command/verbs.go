// Package command is what both programs have of their commands: the beginning, those that tell something and end, and the
// screen of text that a running one is told by.
package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"stint/agent/config"
	"stint/agent/process"
)

// Begin is the part of a command line that needs no configuration: help, faults and version. done: that was all.
func Begin(program, version string, verbs, args []string, help func(verb string) string, stdout, stderr io.Writer) (cmd Command, code int, done bool) {
	cmd, err := Parse(program, verbs, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return cmd, Write(stdout, stderr, help(cmd.Verb)), true
	case err != nil:
		fmt.Fprintf(stderr, "%s: %v\nTry '%s help'.\n", program, err, program)
		return cmd, ExitUsage, true
	case cmd.Verb == "version":
		return cmd, Write(stdout, stderr, process.VersionText(program, version)), true
	}
	return cmd, ExitOK, false
}

// Telling is the commands that tell something and end: check, config, status and top; and every command that a faulty
// configuration ends.
type Telling struct {
	Program string
	Command
	Config any
	*process.Report
	Look func() (lines []string, ok bool)                        // what check says of all but the configuration; ok: nothing of it fails
	Ask  func(context.Context) (text string, ok bool, err error) // the running program
}

// Do carries out the command. done: that was all.
func (t *Telling) Do(stdout, stderr io.Writer) (code int, done bool) {
	faulty := len(t.Faults) > 0
	switch {
	case t.Verb == "check" && faulty:
		return max(ExitConfig, Write(stdout, stderr, t.Faults.Error()+"\n")), true
	case faulty:
		fmt.Fprintln(stderr, t.Faults.Error())
		return ExitConfig, true
	case t.Verb == "check":
		return t.check(stdout, stderr), true
	case t.Verb == "config":
		style := config.Style{}
		if t.Explain {
			style.Origin = t.Origin
		}
		return Write(stdout, stderr, string(config.Append(nil, t.Config, style))), true
	case t.Verb == "status":
		text, well, err := t.Ask(context.Background())
		if err != nil {
			fmt.Fprintf(stderr, "%s: %v\n", t.Program, err)
			return ExitFailed, true
		}
		if code := Write(stdout, stderr, text); code != ExitOK || well {
			return code, true
		}
		return ExitFailed, true
	case t.Verb == "top":
		ctx, stop := Signals(true)
		defer stop()
		if err := Watch(ctx, watchInterval, process.Terminal(stdout), stdout, t.Ask); err != nil {
			fmt.Fprintf(stderr, "%s: %v\n", t.Program, err)
			return ExitFailed, true
		}
		return ExitOK, true
	}
	return ExitOK, false
}

// check prints what is to be said of a faultless configuration.
func (t *Telling) check(stdout, stderr io.Writer) int {
	var b strings.Builder
	name := t.File
	if name == "" {
		name = "the default configuration"
	}
	fmt.Fprintf(&b, "ok   %s: no faults\n", name)
	for _, note := range t.Notes {
		fmt.Fprintf(&b, "warn %s\n", note)
	}
	code := ExitOK
	if !t.Offline {
		lines, ok := t.Look()
		for _, l := range lines {
			fmt.Fprintln(&b, l)
		}
		if !ok {
			code = ExitFailed
		}
	}
	return max(code, Write(stdout, stderr, b.String()))
}
