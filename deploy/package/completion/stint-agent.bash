# Completion of stint-agent for bash.
_stint_agent() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} verb=${COMP_WORDS[1]}
	COMPREPLY=()
	case $prev in
	--config) mapfile -t COMPREPLY < <(compgen -f -- "$cur") && compopt -o filenames 2>/dev/null; return ;;
	--format) mapfile -t COMPREPLY < <(compgen -W "text otlp-json" -- "$cur"); return ;;
	--set) return ;;
	esac
	local words="--config --set"
	case $verb in
	run) words+=" --demo" ;;
	check) words+=" --offline" ;;
	config) words+=" --explain" ;;
	once) words+=" --format" ;;
	convert) mapfile -t COMPREPLY < <(compgen -f -- "$cur") && compopt -o filenames 2>/dev/null; return ;;
	version) words="" ;;
	help) words="run check config once status top convert version help" ;;
	-*) words+=" --demo" ;;
	esac
	if [ "$COMP_CWORD" -eq 1 ]; then
		words="run check config once status top convert version help --config --set --demo"
	fi
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}
complete -F _stint_agent stint-agent
