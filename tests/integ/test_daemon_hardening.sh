#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A running daemon has given up what it does not need: system calls, privileges, cores, ptrace, dumps of KV bytes.
. tests/lib/daemon.sh
failed=0

ok() { echo "ok - $1"; }
not_ok() { echo "not ok - $1"; failed=1; [ -z "$2" ] || sed 's/^/# /' "$2"; }
check() { local sentence=$1; shift; if "$@"; then ok "$sentence"; else not_ok "$sentence" "$log"; fi; }

# all_threads FIELD VALUE: every thread's status says so
all_threads()
{
	! grep -h "^$1:" /proc/"$daemon_pid"/task/*/status | grep -qvx "$1:	$2"
}

# Each mapping of a file of the arena is left out of dumps (flag dd).
all_left_out()
{
	awk -v dir="$daemon_memory/" '
		/^[0-9a-f]+-[0-9a-f]+ / { is_ours = index($0, dir); nr += is_ours > 0 }
		/^VmFlags:/ && is_ours && !/ dd( |$)/ { bad++ }
		END { exit bad || nr < 2 }' /proc/"$daemon_pid"/smaps
}

no_cores() { grep -Eq '^Max core file size +0 +0 ' /proc/"$daemon_pid"/limits; }
is_roots() { [ "$(stat -c %u /proc/"$daemon_pid"/mem)" = 0 ]; }
load() { "$KVSHM_BUILD/kvshm" load --socket "$daemon_socket" --procs 4 --seconds 2 --kill-clients 300ms > "$TMPDIR/load" 2>&1; }
says() { grep -q "$1" "$log"; }

log=$TMPDIR/a/log
start_daemon "$TMPDIR/a" --set daemon.sandbox=on || not_ok 'a daemon starts' "$log"
check 'no thread may gain privileges' all_threads NoNewPrivs 1
check 'there are no core files' no_cores
if says 'sanitizer build'; then
	echo 'ok - every thread is behind a system call filter # SKIP sanitizer build'
	echo 'ok - its memory is closed to peers of its user # SKIP sanitizer build'
else
	check 'every thread is behind a system call filter' all_threads Seccomp 2
	check 'its memory is closed to peers of its user' is_roots
	check 'nothing unusual is said about it' eval '! says sandbox'
fi
if [ -r /proc/"$daemon_pid"/smaps ]; then
	check 'no mapping of the arena or the directory goes into a dump' all_left_out
else
	echo 'ok - no mapping of the arena or the directory goes into a dump # SKIP smaps is closed to this user'
fi
stop_daemon "$TMPDIR/a"
check 'it ends in order behind the filter' [ "$daemon_status" = 0 ]

start_daemon "$TMPDIR/a" --set daemon.sandbox=off || not_ok 'a daemon starts without a sandbox' "$log"
check 'sandbox=off installs no filter' all_threads Seccomp 0
check 'sandbox=off is told in the start line' says ', no sandbox$'
stop_daemon "$TMPDIR/a"

# Every part that calls the kernel late, with death for a call not listed.
start_daemon "$TMPDIR/a" --set daemon.sandbox=kill --size 192M --set arena.extent=64M --discard -v ||
	not_ok 'a daemon starts whose sandbox kills' "$log"
check 'extents are made behind the filter' wait_until 20 says 'arena complete: 192 MiB'
if [ -x "$KVSHM_BUILD/kvshm" ]; then
	check 'clients come, put, read and die behind the filter' load
fi
stop_daemon "$TMPDIR/a"
check 'no call was missing' [ "$daemon_status" = 0 ]
exit $failed
