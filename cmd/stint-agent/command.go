package main

import (
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
)

// command is a parsed command line.
type command struct {
	verb    string
	file    string
	set     []string
	demo    bool
	offline bool
	explain bool
	format  string
}

var verbs = []string{"run", "check", "config", "once", "version", "help"}

// parse reads the command line: a verb, run if there is none, and its flags.
func parse(args []string) (command, error) {
	cmd := command{verb: "run", format: "text"}
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		cmd.verb, args = args[0], args[1:]
		if !slices.Contains(verbs, cmd.verb) {
			return cmd, fmt.Errorf("there is no command %q; commands: %s", cmd.verb, strings.Join(verbs, ", "))
		}
	} else if len(args) == 1 && strings.TrimLeft(args[0], "-") == "version" {
		return command{verb: "version"}, nil
	} else if len(args) == 1 && slices.Contains([]string{"help", "h"}, strings.TrimLeft(args[0], "-")) {
		return command{}, flag.ErrHelp
	}

	fs := flag.NewFlagSet(cmd.verb, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	if cmd.verb != "version" && cmd.verb != "help" {
		fs.StringVar(&cmd.file, "config", "", "")
		fs.Func("set", "", func(s string) error { cmd.set = append(cmd.set, s); return nil })
	}
	switch cmd.verb {
	case "run":
		fs.BoolVar(&cmd.demo, "demo", false, "")
	case "check":
		fs.BoolVar(&cmd.offline, "offline", false, "")
	case "config":
		fs.BoolVar(&cmd.explain, "explain", false, "")
	case "once":
		fs.StringVar(&cmd.format, "format", "text", "")
	}
	if err := fs.Parse(args); err != nil {
		return cmd, err
	}
	rest := fs.Args()
	if cmd.verb == "help" {
		cmd.verb = ""
		if len(rest) > 0 && slices.Contains(verbs, rest[0]) {
			cmd.verb, rest = rest[0], rest[1:]
		}
		if len(rest) == 0 {
			return cmd, flag.ErrHelp
		}
	}
	if len(rest) > 0 {
		if slices.Contains(verbs, rest[0]) {
			return cmd, fmt.Errorf("the command comes first: stint-agent %s …", rest[0])
		}
		return cmd, fmt.Errorf("%q is not a flag; a file is given by --config FILE", rest[0])
	}
	if cmd.format != "text" && cmd.format != "otlp-json" {
		return cmd, fmt.Errorf("--format %q is neither text nor otlp-json", cmd.format)
	}
	return cmd, nil
}
