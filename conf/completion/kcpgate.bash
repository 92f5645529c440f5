# SPDX-License-Identifier: MIT
# Completion for bash: commands, options and their words are those of the program's own help.

_kcpgate_commands() {
	"$1" --help 2>/dev/null | sed -n 's/^  kcpgate \([a-z|]*\) .*/\1/p' | tr '|' '\n' | sort -u
}

# The role's help where there is one: kcpgate check client OPTIONS.
_kcpgate_help() {
	local program=$1 word
	shift
	for word in "$@"; do
		case $word in
		client | server)
			"$program" "$word" --help
			return
			;;
		esac
	done 2>/dev/null
	"$program" "$1" --help 2>/dev/null
}

# Options, each at the beginning of a line or behind a comma.
_kcpgate_options() {
	_kcpgate_help "$@" | sed -n 's/^  \(-.*\)/\1/p' | grep -oE '(^|, )--?[A-Za-z][A-Za-z-]*' | sed 's/^, //' | sort -u
}

# The words that an option takes, where its help ends in a list of them.
_kcpgate_words() { # OPTION PROGRAM WORD...
	local option=$1
	shift
	_kcpgate_help "$@" | sed -nE "s/^  (.*, )?--?$option VALUE.*: ([a-z0-9-]+(, [a-z0-9-]+)+) \(default.*/\2/p" | sed 's/, /\n/g'
}

_kcpgate() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} i at command=() words
	COMPREPLY=()
	for ((i = 1; i < COMP_CWORD; i++)); do
		at=${COMP_WORDS[i]}
		case $at in
		-*) ;;
		*) command+=("$at") ;;
		esac
	done
	case $prev in
	-c | -w | --config | --log | --snmplog | --key-file)
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
		;;
	--role)
		mapfile -t COMPREPLY < <(compgen -W "client server" -- "$cur")
		return
		;;
	--iface)
		mapfile -t COMPREPLY < <(compgen -W "$(ls /sys/class/net 2>/dev/null)" -- "$cur")
		return
		;;
	-*)
		words=$(_kcpgate_words "${prev##*-}" "$1" "${command[@]:-}")
		if [ -n "$words" ]; then
			mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
			return
		fi
		;;
	esac
	if [ ${#command[@]} = 0 ]; then
		case $cur in
		-*) mapfile -t COMPREPLY < <(compgen -W "-c --help --version" -- "$cur") ;;
		*) mapfile -t COMPREPLY < <(compgen -W "$(_kcpgate_commands "$1")" -- "$cur") ;;
		esac
		return
	fi
	case ${command[0]}:$cur in
	*:-*)
		mapfile -t COMPREPLY < <(compgen -W "$(_kcpgate_options "$1" "${command[@]}")" -- "$cur")
		;;
	check:* | doctor:*)
		mapfile -t COMPREPLY < <(compgen -W "client server" -- "$cur")
		;;
	import:*)
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		;;
	esac
}

complete -F _kcpgate kcpgate
