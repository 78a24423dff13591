#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kvshm-test: timeout=300
# Acquire, resolve, release and put cost what git says they cost, +3 %; and the guard goes red.
set -u
: "${KVSHM_BUILD:=$PWD/build}" "${TMPDIR:=/tmp}"
baseline=tests/guard/baseline.txt
out=$TMPDIR/guard.out
failed=0

ok() { echo "ok - $1"; }
not_ok() { echo "not ok - $1"; sed 's/^/# /' "$out"; failed=1; }

tests/guard/run --build "$KVSHM_BUILD" > "$out" 2>&1
status=$?
cat "$out"
[ $status = 77 ] && exit 77
[ $status = 0 ] || failed=1

# guard STATUS PATTERN SENTENCE SED...: with a baseline changed by the sed script
guard()
{
	local want=$1 pattern=$2 sentence=$3 got
	shift 3
	sed "$@" $baseline > "$TMPDIR/baseline"
	cmp -s $baseline "$TMPDIR/baseline" && { echo nothing planted > "$out"; not_ok "$sentence"; return; }
	tests/guard/run --build "$KVSHM_BUILD" --baseline "$TMPDIR/baseline" --measured $baseline > "$out" 2>&1
	got=$?
	if [ $got = "$want" ] && grep -q -- "$pattern" "$out"; then ok "$sentence"; else not_ok "$sentence"; fi
}

guard 1 'not ok - acquire .*' 'a path that grew fails' '/^acquire search /s/ [0-9]*$/ 1/'
guard 1 '^# acquire: .*search: [0-9]*, 0 before' 'and the function that grew is named' '/^acquire search /s/ [0-9]*$/ 1/'
guard 1 '^# put-wake: .* system calls in 8 calls, 18 before' 'one system call more fails' \
	'/^put-wake system-calls/s/ [0-9]*$/ 18/'
guard 1 '^# put: no figures' 'a path without figures fails' '/^put /d'
guard 0 '^ok - resolve' 'a path that shrank does not' '/^resolve index_resolve /s/ [0-9]*$/ 999999/'
guard 77 'another compiler' 'figures of another compiler are not compared' 's/^compiler: .*/compiler: GNU C11 99.1/'
exit $failed
