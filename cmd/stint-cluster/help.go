package main

// help is the text for one command; for the whole program if there is no such command.
func help(verb string) string {
	switch verb {
	case "check":
		return `Usage: stint-cluster check [--config FILE] [--set KEY=VALUE ...] [--offline]

Reads the configuration and prints every fault at once, each with its place, its key, what is wrong
and what would be right. Without faults, if a pipeline has a source that needs the API server, that
is asked whether it answers, and which permissions are missing, each with the rule to add. Nothing is
changed and nothing is sent.

  --offline   look at nothing but the configuration

Exit code: 0 all is well, 1 something is not allowed or does not answer, 78 faults in the configuration.
`
	case "config":
		return `Usage: stint-cluster config [--config FILE] [--set KEY=VALUE ...] [--explain]

Prints the configuration in effect as YAML, every key with its value. Secrets read ***.

  --explain   each line ends in where its value is from: default, file:line:column, env NAME, --set
`
	case "status":
		return `Usage: stint-cluster status [--config FILE] [--set KEY=VALUE ...]

Asks the running replica, at the admin.listen of its configuration, how it is, and prints a line for each
part of it that begins with ok or fail: who leads, sources that do not get on, which destination does not
take data, since when and why, memory.

  kubectl exec deploy/stint-cluster -- /stint-cluster status

Exit code: 0 all is well, 1 something is not or no replica answers, 78 faults in the configuration.
`
	case "top":
		return `Usage: stint-cluster top [--config FILE] [--set KEY=VALUE ...]

Prints what stint-cluster status does every 2 s until Ctrl-C; on a terminal in place of what stood there.
`
	case "version":
		return `Usage: stint-cluster version

Prints the version, the commit it was built from, and the version of Go.
`
	case "run":
		return `Usage: stint-cluster [run] [--config FILE] [--set KEY=VALUE ...]

Runs one replica until SIGTERM or SIGINT. If it leads, it then stops reading, delivers what it has read
(5s at most), gives the lease up, and ends after drain_timeout (4s) at most; a second signal ends it
at once.

` + common
	}
	return `stint-cluster ships the state of one Kubernetes cluster over OTLP. Of its replicas one leads and does so.

Usage: stint-cluster [COMMAND] [--config FILE] [--set KEY=VALUE ...]

Commands:
  run       run one replica; this is what happens without a command
  check     find every fault in the configuration, and what the API server does not allow
  config    print the configuration in effect
  status    say how the running replica is
  top       the same every 2 s
  version   print the version
  help      print this, or the help of a command: stint-cluster help check

` + common + `
Exit codes: 0 ok, 1 failed at run time, 2 wrong command line, 78 faults in the configuration.
`
}

const common = `Flags:
  --config FILE      a YAML file; every key is optional, unknown keys are faults
  --set KEY=VALUE    set one key, e.g. --set kubernetes.kubeconfig=$HOME/.kube/config; may be repeated;
                     a list or section is written as YAML

A key is taken from --set, else from the environment (STINT_LOG_LEVEL is log.level), else from the
file, else it has its default.
`
