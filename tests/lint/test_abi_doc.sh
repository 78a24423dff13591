#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The pages under Documentation/ABI/ say what the headers say: sizes, offsets and constants are compared
# by a compiler, tables have no gap, and nothing shared is left out.
set -u
cd "$(dirname "$0")/../.." || exit 1
pages=$(find Documentation/ABI -name '*.rst' | sort)
headers="kvshm/include/kvshm/abi.h kvshm/include/kvshm/stats.h kvshm/include/kvshm/events.h"
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

# compare GAPS PAGE... -> a program that prints what differs; GAPS gets the tables that do not add up
compare() {
	local gaps=$1
	shift
	awk -v gaps="$gaps" '
	function close_table() {
		if (type != "" && at != size)
			print page ": struct " type " ends at " at ", not at " size > gaps
		type = ""
	}
	BEGIN {
		print "#include <stddef.h>\n#include <stdio.h>\n#include <kvshm/abi.h>\n#include <kvshm/stats.h>\n#include <kvshm/events.h>"
		print "#define SAME(what, doc, is) do { if ((unsigned long long)(doc) != (unsigned long long)(is)) \\"
		print "\tprintf(\"%s: %llu in the page, %llu in the header\\n\", what, (unsigned long long)(doc), (unsigned long long)(is)); } while (0)"
		print "int main(void)\n{"
	}
	FNR == 1 { close_table(); page = FILENAME }
	match($0, /^``struct kvshm_[a-z_]+``, [0-9]+ bytes:$/) {
		close_table()
		type = $2; sub(/``,$/, "", type); size = $3; at = 0
		printf "\tSAME(\"sizeof struct %s\", %s, sizeof(struct %s));\n", type, size, type
		next
	}
	type != "" && /^[0-9]+ +[0-9]+ +[a-z]/ {
		if ($1 != at)
			print FILENAME ": struct " type "." $3 " follows byte " at " at " $1 > gaps
		at = $1 + $2
		printf "\tSAME(\"offsetof %s.%s\", %s, offsetof(struct %s, %s));\n", type, $3, $1, type, $3
		printf "\tSAME(\"sizeof %s.%s\", %s, sizeof(((struct %s *)0)->%s));\n", type, $3, $2, type, $3
	}
	/^KVSHM_[A-Z0-9_]+ +[0-9]/ { printf "\tSAME(\"%s\", %sull, %s);\n", $1, $2, $1 }
	END { close_table(); print "\treturn 0;\n}" }' "$@"
}

: > "$work/gaps.txt"
compare "$work/gaps.txt" $pages > "$work/compare.c"
if ! ${CC:-cc} -Ikvshm/include -o "$work/compare" "$work/compare.c" 2> "$work/errors.txt"; then
	report 'every name in the pages is in the headers' "$work/errors.txt"
	exit 1
fi
echo 'ok - every name in the pages is in the headers'
"$work/compare" > "$work/differs.txt"
report 'sizes, offsets and values are those of the headers' "$work/differs.txt"
report 'the tables have no gap' "$work/gaps.txt"

{
	sed -nE 's/^struct (kvshm_[a-z_]+) \{.*/``struct \1``, /p' $headers
	sed -nE 's/^#define (KVSHM_[A-Z0-9_]+)[ \t]+[0-9(].*/\1/p; s/^\t(KVSHM_[A-Z0-9_]+)( = [^,]*)?,?([ \t].*)?$/\1/p' $headers
} > "$work/shared.txt"
while IFS= read -r name; do
	grep -qE "^$name( |[0-9])" $pages || echo "$name is in no table"
done < "$work/shared.txt" > "$work/missing.txt"
report 'nothing shared is left out of the pages' "$work/missing.txt"

# and the comparison itself goes red
for edit in 's/^8       4     abi /8       4     abj /' 's/^8       4     abi /12      4     abi /' \
	    's/^(KVSHM_SQ_ENTRIES +)256/\1257/' 's/^(``struct kvshm_sqe``, )64/\172/'; do
	for page in $pages; do
		sed -E "$edit" "$page" > "$work/$(basename "$page")"
	done
	compare /dev/null "$work"/*.rst > "$work/planted.c"
	if ${CC:-cc} -Ikvshm/include -o "$work/planted" "$work/planted.c" 2> /dev/null &&
	   [ -z "$("$work/planted")" ]; then
		echo "$edit was not noticed"
	fi
done > "$work/planted.txt"
report 'a wrong name, offset, size or value is noticed' "$work/planted.txt"
exit $failed
