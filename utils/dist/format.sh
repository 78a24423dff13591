#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# format.sh - run clang-format over those lines of C files that are new since a commit
#
# usage: format.sh [COMMIT]   what is staged, and what HEAD has and COMMIT (default HEAD) had not when they parted
#
# Never over whole files: comments behind members stand at tab stops and initialisers on few lines, which clang-format 14
# cannot be told to leave.  It does so to new lines too, but a file with changes that are not staged is refused: so
# `git diff` is all of what was done, and `git restore -p` takes back what was better by hand.
# CLANG_FORMAT names another version's command.
set -eu

commit=${1:-HEAD}
tool=${CLANG_FORMAT:-clang-format-14}

refuse() {
	echo "format: $*" >&2
	exit 1
}

for command in "$tool" "git-$tool"; do
	command -v "$command" >/dev/null ||
		refuse "no $command here: apt-get install clang-format-14, or name another version's by CLANG_FORMAT="
done
base=$(git merge-base HEAD "$commit") || refuse "no commit $commit that HEAD goes back to"
exec "git-$tool" --binary "$tool" --extensions c,h "$base"
