#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# README, man pages and Documentation/ say what the programs do: options, keys, metrics, calls, files.
# Lists are compared in both directions, so neither side can grow alone.
set -u
cd "$(dirname "$0")/../.." || exit 1
bin=${KVSHM_BUILD:-$PWD/build}
man=Documentation/man
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
failed=0

report() {	# report SENTENCE FILE: ok if the file is empty, else it tells why not
	if [ -s "$2" ]; then
		echo "not ok - $1"
		sed 's/^/# /' "$2"
		failed=1
	else
		echo "ok - $1"
	fi
}

# differ WHERE PAGE PROGRAM: what one of two lists has and the other has not
differ() {
	sort -u "$2" > "$work/a"
	sort -u "$3" > "$work/b"
	comm -23 "$work/a" "$work/b" | sed "s|^|$1: only in the page: |"
	comm -13 "$work/a" "$work/b" | sed "s|^|$1: not in the page: |"
}

# items PAGE MACRO: what the page's lists explain, one a line; of Fl with its dashes
items() {
	awk -v macro="$2" '/^\.It / {
		for (i = 2; i <= NF; i++)
			if ($i == macro) {
				i++
				while (i <= NF && $i != "Ar" && $i != "No" && $i != "Ns" && $i != "Pq") {
					if ($i != "," && $i != "|" && $i != macro)
						print (macro == "Fl" ? "-" : "") $i
					i++
				}
			}
	}' "$1"
}

# options: of a --help text on stdin: -x and --long where a line begins or after two spaces
options() {
	grep -E '^ +-' | grep -oE '  +(-[a-zA-Z](, --[a-z-]+)?|--[a-z-]+)' | tr -d ' ' | tr ',' '\n'
}

[ -x "$bin/kvshm" ] && [ -x "$bin/kvshmd" ] || { echo "no programs in $bin"; exit 77; }

# ---- the pages themselves --------------------------------------------------------------------
if command -v mandoc > /dev/null; then
	for page in "$man"/*.[1-8]; do
		mandoc -T lint -W warning "$page"
	done > "$work/lint" 2>&1
	report 'mandoc finds no fault in a page' "$work/lint"
else
	echo 'ok - mandoc finds no fault in a page # SKIP no mandoc here'
fi

# ---- options and commands --------------------------------------------------------------------
"$bin/kvshm" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p' > "$work/commands"
items "$man/kvshm.1" Cm > "$work/page"
differ kvshm.1 "$work/page" "$work/commands" > "$work/differs"
report 'kvshm(1) lists the commands that there are' "$work/differs"

one_page() {	# one_page PAGE PROGRAM [COMMAND]
	local page=$1
	shift
	[ -f "$page" ] || { echo "$page is not there"; return; }
	"$@" --help < /dev/null | options > "$work/help"
	[ -s "$work/help" ] || echo "$* --help prints no options"
	items "$page" Fl > "$work/page"
	differ "${page##*/}" "$work/page" "$work/help"
}

{
	while read -r command; do
		one_page "$man/kvshm-$command.1" "$bin/kvshm" "$command"
	done < "$work/commands"
	one_page "$man/kvshmd.8" "$bin/kvshmd"
	one_page "$man/kvshm-gpud.8" "$bin/kvshm-gpud"
	[ ! -x "$bin/kvshm-llama" ] || one_page "$man/kvshm-llama.1" "$bin/kvshm-llama"
} > "$work/differs"
report 'each option of a program is in its page, and no other' "$work/differs"

"$bin/kvshm" bench --help | sed -n '/^WHAT:/,/^$/s/^  \([a-z]*\) .*/\1/p' > "$work/help"
items "$man/kvshm-bench.1" Cm > "$work/page"
differ kvshm-bench.1 "$work/page" "$work/help" > "$work/differs"
report 'kvshm-bench(1) lists the benchmarks that there are' "$work/differs"

# ---- configuration, metrics, calls, environment ----------------------------------------------
"$bin/kvshmd" --help | sed -nE 's/^  ([a-z_]+\.[a-z_]+)=.*/\1/p' > "$work/help"
awk '/^\.Ss \[/ { gsub(/[][]/, "", $2); section = $2 } /^\.Sh / { section = "" }
	section != "" && /^\.It Cm / { print section "." $3 }' "$man/kvshmd.conf.5" > "$work/page"
{ [ -s "$work/help" ] || echo 'kvshmd --help prints no keys'; differ kvshmd.conf.5 "$work/page" "$work/help"; } > "$work/differs"
report 'each key of the configuration is in kvshmd.conf(5), and no other' "$work/differs"

sed -nE 's/^METRIC\([A-Z0-9_]+, "([a-z0-9_]+)", ([A-Z]+), ([A-Z]+), .*/\1 \2 \3/p' kvshm/stats/metrics.def |
	sed 's/ GAUGE/ gauge/; s/ COUNTER/ counter/; s/ BYTES$/, bytes/; s/ BLOCKS$/, blocks/; s/ NS$/, nanoseconds/; s/ NONE$//' > "$work/help"
sed -nE 's/^HIST\([A-Z0-9_]+, "([a-z0-9_]+)", .*/\1/p' kvshm/stats/hists.def |
	sed 's/_ns$/& histogram, nanoseconds/; s/_ms$/& histogram, milliseconds/' >> "$work/help"
sed -nE 's/^\.It Sy (kvshm_[a-z0-9_]+) Pq (.*)/\1 \2/p' "$man/kvshm-metrics.5" > "$work/page"
differ kvshm-metrics.5 "$work/page" "$work/help" > "$work/differs"
report 'each metric is in kvshm-metrics(5) with its type and unit, and no other' "$work/differs"

sed -nE 's/^[^ \t*].*[ *](kvshm_[a-z_]+)\(.*/\1/p' kvshm/include/kvshm/{kvshm,gather,hint,gpu,migrate,direct}.h > "$work/help"
awk '/^\.Sh / { on = $2 == "SYNOPSIS" } on && /^\.Fn / { print $2 }' "$man/libkvshm.3" > "$work/page"
{ [ -s "$work/help" ] || echo 'no calls in kvshm.h'; differ libkvshm.3 "$work/page" "$work/help"; } > "$work/differs"
report 'each call of kvshm.h and its parts, gpu.h, migrate.h and direct.h is in libkvshm(3), and no other' "$work/differs"

grep -rhoE 'getenv\("[A-Z_]+"\)|env_number\("[A-Z_]+"\)' --include='*.c' kvshm ipc gpu utils | sed -E 's/.*"(.*)".*/\1/' | sort -u |
	while read -r name; do
		grep -qE "^\.(It )?Ev (.* )?$name( |\$)" "$man"/* || echo "$name is in no page"
	done > "$work/differs"
report 'each environment variable is in a page' "$work/differs"

# ---- README ----------------------------------------------------------------------------------
sed -n '/^```c$/,/^```$/p' README.md | sed '/^```/d' > "$work/readme.c"
grep -v SPDX Documentation/examples/first.c | diff - "$work/readme.c" > "$work/differs"
report "the README's first program is the example" "$work/differs"
for command in 'make demo' 'make check'; do
	grep -q "^    $command\$" README.md || echo "$command is not there"
done > "$work/differs"
report 'the README names make demo and make check' "$work/differs"
grep -oE '\]\([^)#]+\)' README.md | sed 's/^](//; s/)$//' | grep -v '^https\?:' | while read -r file; do
	[ -e "$file" ] || echo "README.md: $file"
done > "$work/differs"
report 'each file that the README points at is there' "$work/differs"

# ---- Documentation/*.rst: what stands in ``...`` and looks like a file or a folder is one -------
git ls-files > "$work/tracked" 2> /dev/null || find . -type f | sed 's|^\./||' > "$work/tracked"
is_there() {	# is_there DIR NAME: from the page, from Documentation/, from the root, from kvshm/; or a bare name anywhere
	local from
	for from in "$1" Documentation . kvshm; do
		[ -e "$from/$2" ] && return 0
	done
	case $2 in
	*/*) return 1 ;;
	*) grep -qE "(^|/)${2//./\\.}\$" "$work/tracked" ;;
	esac
}
links() {	# links PAGE...: what a page names and nothing is
	local page name
	for page; do
		grep -oE '``[A-Za-z0-9_./-]+``' "$page" | tr -d '`' | sort -u |
			grep -E '(\.(rst|md|c|h|sh|py|pml|def|mk|txt|[1-8])|/)$' | grep -vE '^(/|build|-|\.[a-z]+$)' |
			while read -r name; do
				is_there "$(dirname "$page")" "$name" || echo "$page: $name"
			done
	done
}
find Documentation -name '*.rst' | sort > "$work/pages"
links $(cat "$work/pages") > "$work/differs"
report 'each file that a page of Documentation/ names is there' "$work/differs"

find Documentation -name '*.rst' ! -name index.rst -printf '%P\n' | sort | while read -r page; do
	grep -rqF --include='*.rst' --include=README.md -- "${page##*/}" Documentation/index.rst README.md "Documentation/${page%%/*}" ||
		echo "Documentation/$page"
done > "$work/differs"
report 'each page is named by another' "$work/differs"

# ---- and it goes red -------------------------------------------------------------------------
{
	printf '  -q, --quiet  less\n      --new N  more\n  -V, --version  print  -h, --help   print\n' | options | tr '\n' ' ' |
		grep -qx -- '-q --quiet --new -V --version -h --help ' || echo 'options of a help text are not read as they are'
	printf '.It Fl w , Fl -watch Ns Op = Ns Ar secs\n.It Fl -gone Ar n\n' > "$work/planted.1"
	printf -- '-w\n--watch\n--more\n' > "$work/help"
	items "$work/planted.1" Fl > "$work/page"
	[ "$(differ planted "$work/page" "$work/help" | wc -l)" = 2 ] || echo 'one option too many and one too few were not noticed'
	printf 'see ``no/such/file.rst`` and ``tests/run`` and ``no_such_file.c``\n' > "$work/planted.rst"
	[ "$(links "$work/planted.rst" | wc -l)" = 2 ] || echo 'files that are not there were not noticed'
} > "$work/differs"
report 'a wrong option and a wrong file are noticed' "$work/differs"
exit $failed
