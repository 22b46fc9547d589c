# Completion of stint-agent for fish.
complete -c stint-agent -f
complete -c stint-agent -n __fish_use_subcommand -a run -d 'run the agent'
complete -c stint-agent -n __fish_use_subcommand -a check -d 'find every fault in the configuration'
complete -c stint-agent -n __fish_use_subcommand -a config -d 'print the configuration in effect'
complete -c stint-agent -n __fish_use_subcommand -a once -d 'read every metric once and print it'
complete -c stint-agent -n __fish_use_subcommand -a status -d 'tell how the running agent is doing'
complete -c stint-agent -n __fish_use_subcommand -a top -d 'the same every 2 s'
complete -c stint-agent -n __fish_use_subcommand -a convert -d 'make a configuration of one of Fluent Bit or the OpenTelemetry Collector'
complete -c stint-agent -n __fish_use_subcommand -a version -d 'print the version'
complete -c stint-agent -n __fish_use_subcommand -a help -d 'print help, of a command if one is given'
complete -c stint-agent -n '__fish_seen_subcommand_from help' -a 'run check config once status top convert version help'
complete -c stint-agent -n '__fish_seen_subcommand_from convert' -F
complete -c stint-agent -n 'not __fish_seen_subcommand_from convert version help' -l config -r -F -d 'a YAML file'
complete -c stint-agent -n 'not __fish_seen_subcommand_from convert version help' -l set -x -d 'set one key: KEY=VALUE'
complete -c stint-agent -n 'not __fish_seen_subcommand_from check config once status top convert version help' -l demo -d 'with made-up logs'
complete -c stint-agent -n '__fish_seen_subcommand_from check' -l offline -d 'only the configuration, not the machine'
complete -c stint-agent -n '__fish_seen_subcommand_from config' -l explain -d 'where each value is from'
complete -c stint-agent -n '__fish_seen_subcommand_from once' -l format -x -a 'text otlp-json' -d 'how it is printed'
