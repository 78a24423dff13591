#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kvshm-test: alone
#
# A pool of huge pages that is too small, or emptied later: refused by name at the start, nothing lost after it.
# Needs root: a few pages are reserved, in a mount namespace of its own, and given back.
pool=/proc/sys/vm/nr_hugepages
pages=40	# a daemon of 64 MiB and its directory, and no second one

skip() { echo "$1"; exit 77; }

if [ "$1" != in_namespace ]; then
	[ -w $pool ] || skip 'huge pages can be reserved by root alone'
	[ "$(cat $pool)" -eq 0 ] || skip 'huge pages are reserved here already, and perhaps in use'
	unshare -m true 2> /dev/null || skip 'no mount namespace can be made here'
	exec unshare -m "$0" in_namespace
fi
. tests/lib/daemon.sh
# in the order of their making: daemons let go of their pages first
trap 'daemon_cleanup; umount "$TMPDIR/huge"; echo 0 > $pool' EXIT
kvshm=$KVSHM_BUILD/kvshm
failed=0

ok() { echo "ok - $1"; }
not_ok() { echo "not ok - $1"; failed=1; [ -z "$2" ] || sed 's/^/# /' "$2"; }

load_is_clean()
{
	"$kvshm" load --socket "$daemon_socket" --procs 2 --seconds 1 --json > "$TMPDIR/load" 2>&1 &&
		grep -q '"wrong_bytes":0' "$TMPDIR/load" && ! grep -q '"hits":0,' "$TMPDIR/load"
}

on_pages() { start_daemon "$1" --set arena.pages=hugetlb; }

[ -x "$kvshm" ] || skip "$kvshm is not built"
mkdir "$TMPDIR/huge"
mount -t hugetlbfs -o pagesize=2M none "$TMPDIR/huge" 2> /dev/null || skip 'no hugetlbfs of 2 MiB pages can be mounted here'
echo $pages > $pool
[ "$(cat $pool)" -ge $pages ] || skip "the kernel does not find $pages huge pages"
export KVSHM_TEST_MEMORY=$TMPDIR/huge

if on_pages "$TMPDIR/a" && grep -q 'ready: 64 MiB of hugetlb pages' "$TMPDIR/a/log" && load_is_clean; then
	ok 'a daemon serves from huge pages'
else
	not_ok 'a daemon serves from huge pages' "$TMPDIR/a/log"
	exit 1
fi

first=$daemon_socket
on_pages "$TMPDIR/b"
stop_daemon "$TMPDIR/b"
if [ $daemon_status -eq 71 ] && grep -q 'huge pages of 2 MiB wanted .* free: reserve more' "$TMPDIR/b/log"; then
	ok 'one that finds too few pages says how many and ends'
else
	not_ok "one that finds too few pages says how many and ends (status $daemon_status)" "$TMPDIR/b/log"
fi
daemon_socket=$first

echo 0 > $pool
if [ "$(awk '/HugePages_Free/ { print $2 }' /proc/meminfo)" -eq 0 ] && load_is_clean; then
	ok 'an emptied pool takes nothing from who has his pages'
else
	not_ok 'an emptied pool takes nothing from who has his pages' "$TMPDIR/load"
fi
stop_daemon "$TMPDIR/a" KILL
if on_pages "$TMPDIR/a" && grep -q 'warm: [1-9][0-9]* blocks' "$TMPDIR/a/log" && load_is_clean; then
	ok 'nor from its successor'
else
	not_ok 'nor from its successor' "$TMPDIR/a/log"
fi
exit $failed
