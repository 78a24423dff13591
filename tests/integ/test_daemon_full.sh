#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kvshm-test: timeout=90
# A file system that is full in the middle of growth: what is there is served, and the rest comes when there is room.
. tests/lib/daemon.sh
failed=0

ok() { echo "ok - $1"; }
not_ok() { echo "not ok - $1"; failed=1; [ -z "$2" ] || sed 's/^/# /' "$2"; }
check() { local sentence=$1; shift; if "$@"; then ok "$sentence"; else not_ok "$sentence" "$log"; fi; }
says() { grep -q -- "$1" "$log"; }

# A small tmpfs in namespaces of our own.
if [ -z "$KVSHM_TEST_INSIDE" ]; then
	if ! unshare -rm true 2>/dev/null; then
		echo 'no user and mount namespaces for this user'
		exit 77
	fi
	KVSHM_TEST_INSIDE=1 exec unshare -rm "$0"
fi
small=$TMPDIR/small
log=$TMPDIR/a/log
mkdir -p "$small" "$TMPDIR/a"
if ! mount -t tmpfs -o size=200M,mode=700 none "$small"; then
	echo 'no tmpfs can be mounted'
	exit 77
fi
mkdir "$small/memory"
echo "$small/memory" > "$TMPDIR/a/memory"
head -c 90M /dev/zero > "$small/others"
start_daemon "$TMPDIR/a" || not_ok 'a daemon starts' "$log"
stop_daemon "$TMPDIR/a"
start_daemon "$TMPDIR/a" --size 192M --set arena.extent=64M -v || not_ok 'a daemon starts that is to grow' "$log"
check 'the extent that has no room is told' wait_until 20 says 'the arena stays at 64 MiB of 192: No space left on device, tried again'
check 'and leaves no file behind' [ ! -e "$small/memory/arena.0.1" ]
if [ -x "$KVSHM_BUILD/kvshm" ]; then
	check 'what is there is served' "$KVSHM_BUILD/kvshm" load --socket "$daemon_socket" --procs 2 --seconds 1
fi
check 'the line is said once' [ "$(grep -c 'the arena stays' "$log")" = 1 ]
mount -o remount,size=400M "$small"
check 'with room again the arena is completed' wait_until 20 says 'arena complete: 192 MiB'
stop_daemon "$TMPDIR/a"
check 'it ends in order' [ "$daemon_status" = 0 ]
exit $failed
