# SPDX-License-Identifier: Apache-2.0
# bash completion of kvshm and kvshmd: commands and options as --help prints them, so that none is forgotten

_kvshm()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} program=${COMP_WORDS[0]} command= words

	[ "$COMP_CWORD" -eq 1 ] || command=${COMP_WORDS[1]}
	case $prev in
	--socket | --config | --dir | --run-dir | --prompt-file | --model | --plot | -f | -m | -o)
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
		;;
	esac
	if [ "${program##*/}" = kvshm ] && [ -z "$command" ]; then
		words="$("$program" --help 2> /dev/null | sed -nE 's/^  ([a-z]+) .*/\1/p') --help --version"
	elif [ "${program##*/}" = kvshm ]; then
		words=$("$program" "$command" --help 2> /dev/null | grep -oE '(^|[ ,|[])--?[a-z][a-z-]*' | tr -d ' ,|[' | sort -u)
		[ "$COMP_CWORD" -ne 2 ] ||
			words+=" $("$program" "$command" --help 2> /dev/null | sed -nE 's/^  ([a-z]+)  .*/\1/p')"
	else
		words=$("$program" --help 2> /dev/null | grep -oE '(^|[ ,])--?[a-z][a-z-]*' | tr -d ' ,' | sort -u)
	fi
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
	[ ${#COMPREPLY[@]} -gt 0 ] || mapfile -t COMPREPLY < <(compgen -f -- "$cur")
}
complete -F _kvshm kvshm kvshmd kvshm-gpud kvshm-llama
