# SPDX-License-Identifier: Apache-2.0
# daemon.sh - a private kvshmd for shell tests; sourced, not run
#
#   . tests/lib/daemon.sh
#   start_daemon DIR [option ...]   socket and log in DIR; sets $daemon_pid, $daemon_socket, $daemon_memory;
#                                   the memory lies below /dev/shm where that can be written
#   stop_daemon DIR [SIGNAL]        ends it by its id and waits; without SIGNAL: TERM
#   daemon_status                   exit status of the one stopped last
#   wait_until SECONDS COMMAND...   polls; non-zero past the deadline
#
# Several at once: one DIR each.  A second start_daemon with the same DIR finds the content of the first.
# All that it started is ended, and all memory removed, when the script exits.

: "${KVSHM_BUILD:=$PWD/build}" "${TMPDIR:=/tmp}"
daemon_bin=$KVSHM_BUILD/kvshmd
daemon_dirs=
daemon_status=0

wait_until()
{
	local deadline=$((SECONDS + $1 + 1))
	shift
	until "$@"; do
		[ $SECONDS -lt $deadline ] || return 1
		sleep 0.02
	done
}

daemon_is_ready()
{
	grep -q 'ready:' "$1/log" || ! kill -0 "$(cat "$1/pid")" 2>/dev/null
}

# Where arena files may lie: a tmpfs if there is one.
daemon_make_memory()
{
	local base=${KVSHM_TEST_MEMORY:-/dev/shm}

	[ -w $base ] || base=$TMPDIR
	mktemp -d "$base/kvshm-test.XXXXXX"
}

start_daemon()
{
	local dir=$1
	shift
	mkdir -p "$dir"
	if [ ! -f "$dir/memory" ]; then
		daemon_make_memory > "$dir/memory" || return 1
		daemon_dirs="$daemon_dirs $dir"
	fi
	daemon_memory=$(cat "$dir/memory")
	daemon_socket=$dir/run/kvshm.sock
	: > "$dir/log"
	# A system call that its sandbox does not know ends it, and the test with it.
	"$daemon_bin" --run-dir "$dir/run" --dir "$daemon_memory" --size 64M --set daemon.sandbox=kill "$@" >> "$dir/log" 2>&1 &
	daemon_pid=$!
	echo $daemon_pid > "$dir/pid"
	wait_until 20 daemon_is_ready "$dir"
	grep -q 'ready:' "$dir/log"
}

stop_daemon()
{
	local pid

	pid=$(cat "$1/pid")
	rm -f "$1/pid"
	kill -"${2:-TERM}" "$pid" 2>/dev/null
	wait "$pid" 2>/dev/null
	daemon_status=$?
}

daemon_cleanup()
{
	local dir

	for dir in $daemon_dirs; do
		[ -f "$dir/pid" ] && stop_daemon "$dir" KILL
		rm -rf "$(cat "$dir/memory")"
	done
}
trap daemon_cleanup EXIT
trap 'exit 130' INT TERM
