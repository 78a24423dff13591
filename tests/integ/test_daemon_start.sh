#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kvshmd starts where it can, and where it cannot says why in one line with the documented exit status.
. tests/lib/daemon.sh
failed=0

ok() { echo "ok - $1"; }
not_ok() { echo "not ok - $1"; failed=1; [ -z "$2" ] || sed 's/^/# /' "$2"; }

# refuses STATUS TEXT SENTENCE option...: ends at once with that status, one line with that text
refuses()
{
	local status=$1 text=$2 sentence=$3 got
	shift 3
	timeout 20 "$daemon_bin" --run-dir "$TMPDIR/r" --dir "$scratch" "$@" > "$TMPDIR/out" 2>&1
	got=$?
	if [ $got = "$status" ] && grep -q -- "$text" "$TMPDIR/out" && [ "$(wc -l < "$TMPDIR/out")" = 1 ]; then
		ok "$sentence"
	else
		echo "# exit $got, wanted $status and '$text'"
		not_ok "$sentence" "$TMPDIR/out"
	fi
}

scratch=$(daemon_make_memory)
trap 'rm -rf "$scratch"; daemon_cleanup' EXIT

refuses 64 "unrecognized option '--nope'" 'an unknown option is a usage error' --nope
refuses 64 'not a size' 'a bad size on the command line is a usage error' --size lots
printf '[arena]\nsize=64M\n[clients]\nmaxx=3\n' > "$TMPDIR/bad.conf"
refuses 78 'bad.conf:4: unknown key clients.maxx' 'an unknown key is named by file and line' --config "$TMPDIR/bad.conf"
refuses 78 'bad.conf:4' 'checking finds what starting would' --config "$TMPDIR/bad.conf" --check-config
refuses 78 'none.conf' 'a missing configuration file is named' --config "$TMPDIR/none.conf"
refuses 78 'hugetlbfs mount' 'pages=hugetlb without hugetlbfs says what to do' --size 64M --pages hugetlb
refuses 71 'lower --size' 'an arena that does not fit says what to do' --size 4T --max-blocks 1000
refuses 73 'cannot listen' 'a socket path that cannot be made is named' --size 64M \
	--socket "$TMPDIR/r/$(printf 'x%.0s' {1..120})"
printf '[arena]\nsize=64M\n[future]\nx=1\n' > "$TMPDIR/lenient.conf"
if "$daemon_bin" --config "$TMPDIR/lenient.conf" --lenient --check-config > "$TMPDIR/out" 2>&1 &&
   grep -q 'future.x' "$TMPDIR/out"; then
	ok 'an unknown key is a warning when lenient'
else
	not_ok 'an unknown key is a warning when lenient' "$TMPDIR/out"
fi
if "$daemon_bin" --config "$TMPDIR/lenient.conf" --lenient --print-config 2>/dev/null > "$TMPDIR/out" &&
   grep -q '^size=64M .*lenient.conf:2' "$TMPDIR/out" && grep -q '^socket=/.*default' "$TMPDIR/out"; then
	ok 'printing shows what is in force and where it comes from'
else
	not_ok 'printing shows what is in force and where it comes from' "$TMPDIR/out"
fi

start_daemon "$TMPDIR/a" || not_ok 'a daemon starts' "$TMPDIR/a/log"
if [ "$(grep -c . "$TMPDIR/a/log")" = 1 ] && grep -q 'ready: 64 MiB of .*, cold: .*, socket ' "$TMPDIR/a/log"; then
	ok 'one line at start tells size, pages, cold and socket'
else
	not_ok 'one line at start tells size, pages, cold and socket' "$TMPDIR/a/log"
fi
timeout 20 "$daemon_bin" --run-dir "$TMPDIR/a/run" --dir "$daemon_memory" --size 64M > "$TMPDIR/out" 2>&1
if [ $? = 75 ] && grep -q 'another kvshmd' "$TMPDIR/out"; then
	ok 'a second daemon exits 75'
else
	not_ok 'a second daemon exits 75' "$TMPDIR/out"
fi
timeout 20 "$daemon_bin" --run-dir "$TMPDIR/other" --dir "$daemon_memory" --size 64M > "$TMPDIR/out" 2>&1
if [ $? = 75 ]; then ok 'nor may it share the memory alone'; else not_ok 'nor may it share the memory alone' "$TMPDIR/out"; fi
if [ -S "$daemon_socket" ] && kill -0 "$daemon_pid"; then
	ok 'the first one is untouched by the second'
else
	not_ok 'the first one is untouched by the second'
fi


# the group that may look: root may name any, others one of theirs
group=$(id -gn)
[ "$(id -u)" != 0 ] || group=$(getent group | awk -F: '$3 != 0 { print $1; exit }')
start_daemon "$TMPDIR/g" --set daemon.stats_group="$group" || not_ok 'a daemon with a group for its page starts' "$TMPDIR/g/log"
if [ "$(stat -c %G:%a "$TMPDIR/g/run/stats" "$TMPDIR/g/run/events" | sort -u)" = "$group:640" ] &&
   [ "$(grep -c . "$TMPDIR/g/log")" = 1 ]; then
	ok 'page and events are given to the group that is configured'
else
	stat -c '%n %G:%a' "$TMPDIR/g/run/"* >> "$TMPDIR/g/log"
	not_ok 'page and events are given to the group that is configured' "$TMPDIR/g/log"
fi
stop_daemon "$TMPDIR/g"
start_daemon "$TMPDIR/g" --set daemon.stats_group=no-such-group || not_ok 'a group that is not there stops nothing' "$TMPDIR/g/log"
if grep -q 'stats_group=no-such-group: no such group' "$TMPDIR/g/log"; then
	ok 'a group that is not there is told, and the daemon serves'
else
	not_ok 'a group that is not there is told, and the daemon serves' "$TMPDIR/g/log"
fi
stop_daemon "$TMPDIR/g"
daemon_socket=$TMPDIR/a/run/kvshm.sock daemon_memory=$(cat "$TMPDIR/a/memory")

stop_daemon "$TMPDIR/a"
if [ "$daemon_status" = 0 ] && [ ! -e "$daemon_socket" ] && [ -e "$daemon_memory/directory" ]; then
	ok 'SIGTERM ends it with 0, the socket goes, the content stays'
else
	not_ok 'SIGTERM ends it with 0, the socket goes, the content stays' "$TMPDIR/a/log"
fi
# says LINE SENTENCE option...: the next start on the same memory says so
says()
{
	local line=$1 sentence=$2
	shift 2
	if start_daemon "$TMPDIR/a" "$@" && grep -q "$line" "$TMPDIR/a/log"; then
		ok "$sentence"
	else
		not_ok "$sentence" "$TMPDIR/a/log"
	fi
}
says 'warm: 0 blocks' 'the next start is warm'
stop_daemon "$TMPDIR/a" KILL
says 'warm: 0 blocks' 'a start after SIGKILL is warm'
stop_daemon "$TMPDIR/a"
says 'ready: 128 MiB .*warm' 'a larger size grows what is there' --size 128M
stop_daemon "$TMPDIR/a"
says 'shrinking drops it' 'a smaller size keeps what is there and says so'
stop_daemon "$TMPDIR/a"
says 'cold: arena.max_blocks has changed' 'another max_blocks starts cold and says why' --max-blocks 4096
stop_daemon "$TMPDIR/a"
says 'cold: earlier content discarded' '--discard starts cold and says why' --discard
stop_daemon "$TMPDIR/a" KILL
printf 'rubbish' | dd of="$daemon_memory/directory" conv=notrunc status=none
says 'cold: earlier directory is damaged' 'a damaged directory starts cold and says why'
stop_daemon "$TMPDIR/a" KILL
rm "$daemon_memory/arena.0.0"
says 'cold: a file of the earlier arena is missing' 'a lost arena file starts cold'
stop_daemon "$TMPDIR/a"

# With nothing configured, as a plain user: the instance has a name of its own, not to meet a real one.
name=test-$$
user=$(id -u)
as_user=
sentence='kvshmd alone works for a plain user with nothing configured'
if [ "$user" = 0 ]; then
	user=65534
	as_user="setpriv --reuid 65534 --regid 65534 --clear-groups"
fi
run=/tmp/kvshm-$user/$name
memory=/dev/shm/kvshm-$user/$name
if [ ! -w /dev/shm ]; then
	echo "ok - $sentence # SKIP /dev/shm cannot be written"
elif [ "$(awk '/MemAvailable/ { print $2 }' /proc/meminfo)" -lt 2000000 ]; then
	echo "ok - $sentence # SKIP less than 2 GB of memory available"
elif [ -n "$as_user" ] && ! $as_user test -x "$daemon_bin"; then
	echo "ok - $sentence # SKIP user $user may not read the build folder"
else
	env -u XDG_RUNTIME_DIR -u RUNTIME_DIRECTORY $as_user "$daemon_bin" -i "$name" > "$TMPDIR/plain" 2>&1 &
	pid=$!
	trap 'kill -KILL $pid 2>/dev/null; rm -rf "$scratch" "$run" "$memory"; rmdir "${run%/*}" "${memory%/*}" 2>/dev/null; daemon_cleanup' EXIT
	: > "$TMPDIR/plain"
	wait_until 20 grep -q 'ready:\|error' "$TMPDIR/plain"
	if [ -S "$run/kvshm.sock" ] && [ "$(stat -c %a:%u "$memory")" = "700:$user" ] &&
	   [ "$(stat -c %a:%u "$run")" = "700:$user" ]; then
		ok "$sentence"
	else
		not_ok "$sentence" "$TMPDIR/plain"
	fi
	kill "$pid"
	wait "$pid"
fi
exit $failed
