package main

// help is the text for one command; for the whole program if there is no such command.
func help(verb string) string {
	switch verb {
	case "check":
		return `Usage: stint-agent check [--config FILE] [--set KEY=VALUE ...] [--offline]

Reads the configuration and prints every fault at once, each with its place, its key, what is wrong
and what would be right:

  stint.yaml:12:5: tail.max_line_bytes: "banana" is not a whole number; give bytes, e.g. 1048576

If there is none, it looks whether this machine and the destinations allow what is asked for: are the
logs readable, is state_dir writable, are the listen addresses free, do the exporters' endpoints
resolve and accept a connection within 3 s. Each gives a line that begins with ok, warn or fail.
Nothing is changed and nothing is sent.

  --offline   only the configuration, not the machine

Exit code: 0 no faults and no fail line, 1 a fail line, 78 faults in the configuration.
`
	case "config":
		return `Usage: stint-agent config [--config FILE] [--set KEY=VALUE ...] [--explain]

Prints the configuration in effect as YAML, every key with its value. Secrets read ***.

  --explain   each line ends in where its value is from: default, file:line:column, env NAME, --set
`
	case "once":
		return `Usage: stint-agent once [--config FILE] [--set KEY=VALUE ...] [--format text|otlp-json]

Reads every configured metric once and prints it on standard output. Nothing is sent.

  --format text        one line a point (the default)
  --format otlp-json   one OTLP export request in JSON
`
	case "status":
		return `Usage: stint-agent status [--config FILE] [--set KEY=VALUE ...]

Asks the running agent, at the admin.listen of its configuration, how it is, and prints a line for each
part of it that begins with ok or fail: what is behind, what is lost since its start, which destination
does not take data, since when and why, memory, scrapers.

Exit code: 0 all is well, 1 something is not or no agent answers, 78 faults in the configuration.
`
	case "top":
		return `Usage: stint-agent top [--config FILE] [--set KEY=VALUE ...]

Prints what stint-agent status does every 2 s until Ctrl-C; on a terminal in place of what stood there. It
goes on while the agent restarts.
`
	case "convert":
		return `Usage: stint-agent convert FILE

Reads a configuration of Fluent Bit (classic, with what it includes, or YAML) or of the OpenTelemetry
Collector, and prints one of stint-agent on standard output. On standard error stands what became of each
piece, with its file and line:

  ok     it became the key that is named
  none   there is nothing to set
  todo   it is not in the result: what to do

  stint-agent convert fluent-bit.conf > agent.yaml
  stint-agent check --config agent.yaml

Exit code: 0 everything was converted, 1 something was not, or nothing could be.
`
	case "version":
		return `Usage: stint-agent version

Prints the version, the commit it was built from, and the version of Go.
`
	case "run":
		return `Usage: stint-agent [run] [--config FILE] [--set KEY=VALUE ...] [--demo]

Runs the agent until SIGTERM or SIGINT. It then delivers what it has read, for at most drain_timeout
(4s), and ends; a second signal ends it at once. What was not delivered is read again after the next
start.

Without a file it follows /var/log/pods, /var/log/syslog and /var/log/messages, reads the host's
metrics every 10 s, and delivers both to a sink inside itself. http://127.0.0.1:8888/ shows what
happens.

  --demo   write logs of made-up containers into a temporary directory, and follow those

` + common
	}
	return `stint-agent ships the logs and metrics of one Linux node over OTLP.

Usage: stint-agent [COMMAND] [--config FILE] [--set KEY=VALUE ...]

Commands:
  run       run the agent; this is what happens without a command
  check     find every fault in the configuration, and what the machine does not allow
  config    print the configuration in effect
  once      read every metric once and print it
  status    say how the running agent is
  top       the same every 2 s
  convert   make a configuration of one of Fluent Bit or the OpenTelemetry Collector
  version   print the version
  help      print this, or the help of a command: stint-agent help check

` + common + `
Examples:
  stint-agent                                          works without any configuration
  stint-agent --demo                                   with something to do
  stint-agent check --config /etc/stint/agent.yaml
  stint-agent config --explain --set log.level=debug
  stint-agent --set exporters.otlp.endpoint=collector:4317 --set exporters.otlp.tls.insecure=true
  OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318 stint-agent

Exit codes: 0 ok, 1 failed at run time, 2 wrong command line, 78 faults in the configuration.
All keys, with their defaults and units: docs/configuration.md.
`
}

const common = `Flags:
  --config FILE      a YAML file; every key is optional, unknown keys are faults
  --set KEY=VALUE    set one key, e.g. --set tail.files[0].format=plain; may be repeated; a list or
                     section is written as YAML: --set 'tail.containers.exclude=[kube-system/*/*]'

A key is taken from --set, else from the environment (STINT_LOG_LEVEL is log.level), else from the
file, else it has its default.
`
