#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# make format writes new lines anew and leaves all others as they were aligned by hand.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
export TMPDIR=${TMPDIR:-/tmp}
. tests/lib/check.sh
for tool in git clang-format-14 git-clang-format-14; do
	command -v $tool > /dev/null || { echo "no $tool here"; exit 77; }
done
tree=$(mktemp -d "$TMPDIR/format.XXXXXX") || exit 1
trap 'rm -rf "$tree"' EXIT
cp .clang-format "$tree"
cd "$tree" || exit 1
# neither the caller's settings nor a repository that calls
unset "${!GIT_@}"
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
export GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t@t GIT_COMMITTER_NAME=t GIT_COMMITTER_EMAIL=t@t

by_hand='struct s {
	int first;		/* by hand */
	struct  s  *next;	/* by hand, too */
};
'
new='int f(int x){return x+1;}'
formatted='int f(int x)
{
	return x + 1;
}'
format() { "$root/utils/dist/format.sh" "$@"; }
holds() { printf '%s' "$1" | cmp - "${2:-a.c}"; }
# refused TEXT COMMAND...: it fails, and says so
refused()
{
	local text=$1 out status
	shift
	out=$("$@" 2>&1)
	status=$?
	echo "exit $status: $out"
	[ $status != 0 ] && grep -qF -- "$text" <<< "$out"
}

git init -q -b trunk .
printf '%s' "$by_hand" > a.c
git add -A && git commit -qm base
printf '%s\n' "$by_hand$new" > a.c

check 'what is not staged is not written to' refused 'a.c' format
check 'it is as it was' holds "$by_hand$new"$'\n'
git add a.c
check 'it formats what is staged' format
check 'new lines are written anew, others are not' holds "$by_hand$formatted"$'\n'
git checkout -q a.c

git checkout -qb branch && git commit -qm new
git checkout -q trunk && printf '%s' "${by_hand/int first/int  first}" > a.c && git commit -qam 'trunk goes on' && git checkout -q branch
check 'without a commit named, what is committed is left' format
check 'it is left' holds "$by_hand$new"$'\n'
check 'a branch is formatted since it left' format trunk
check 'its new lines are, and no others' holds "$by_hand$formatted"$'\n'
printf '{"a":1}\n' > b.json && git add b.json
git checkout -q a.c
check 'other languages are left' format
check 'they are left' holds $'{"a":1}\n' b.json
check 'a commit that is none is refused' refused 'no commit nowhere' format nowhere
check 'without the formatter it says so' refused 'no clang-format-0 here: apt-get install' env CLANG_FORMAT=clang-format-0 \
	"$root/utils/dist/format.sh"
exit $status
