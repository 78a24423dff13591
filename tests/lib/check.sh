# SPDX-License-Identifier: Apache-2.0
# check.sh - sourced by shell tests: a case is a command that ends well
#
#   check 'the header is installed' test -f "$to/kvshm.h"
#   exit $status

status=0

check() { # SENTENCE COMMAND...
	local sentence=$1
	shift
	if "$@" > "$TMPDIR/out" 2>&1; then
		echo "ok - $sentence"
	else
		echo "not ok - $sentence"
		sed 's/^/# /' "$TMPDIR/out" | tail -n 40
		status=1
	fi
}
