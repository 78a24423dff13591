#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A daemon that was killed is followed by one that has all its blocks and starts where it left off.
. tests/lib/daemon.sh
kvshm=$KVSHM_BUILD/kvshm
failed=0

ok() { echo "ok - $1"; }
not_ok() { echo "not ok - $1"; failed=1; [ -z "$2" ] || sed 's/^/# /' "$2"; }

# metric NAME: its value now
metric()
{
	"$kvshm" stat --socket "$daemon_socket" --json | grep -o "\"kvshm_$1\":[0-9]*" | cut -d: -f2
}

metric_is()
{
	[ "$(metric "$1")" = "$2" ]
}

no_pin_file()
{
	[ -z "$(find "$daemon_memory" -name 'pins.*')" ]
}

if [ ! -x "$kvshm" ]; then
	echo "$kvshm is not built"
	exit 77
fi
start_daemon "$TMPDIR/a" || { not_ok 'a daemon starts' "$TMPDIR/a/log"; exit 1; }
if "$kvshm" load --socket "$daemon_socket" --procs 2 --seconds 1 --json > "$TMPDIR/load" 2>&1; then
	ok 'a load of real clients runs clean'
else
	not_ok 'a load of real clients runs clean' "$TMPDIR/load"
fi
if wait_until 5 metric_is sessions 0 && wait_until 5 metric_is grants 0; then
	ok 'clients that left hold nothing'
else
	not_ok 'clients that left hold nothing'
fi
before=$(metric published_blocks)
stop_daemon "$TMPDIR/a" KILL
if start_daemon "$TMPDIR/a" && grep -q "warm: $before blocks" "$TMPDIR/a/log" && [ "$before" -gt 0 ]; then
	ok 'SIGKILL loses no published block'
else
	echo "# $before blocks before"
	not_ok 'SIGKILL loses no published block' "$TMPDIR/a/log"
fi
if wait_until 3 metric_is published_blocks "$before" && wait_until 3 metric_is recovered_blocks "$before" &&
   wait_until 3 metric_is starts 2; then
	ok 'the stats page tells what was taken over'
else
	"$kvshm" stat --socket "$daemon_socket" --json > "$TMPDIR/stat"
	not_ok 'the stats page tells what was taken over' "$TMPDIR/stat"
fi
if "$kvshm" verify --socket "$daemon_socket" > "$TMPDIR/verify" 2>&1; then
	ok 'arena, directory and pins are consistent afterwards'
else
	not_ok 'arena, directory and pins are consistent afterwards' "$TMPDIR/verify"
fi
if "$kvshm" load --socket "$daemon_socket" --procs 2 --seconds 1 --json > "$TMPDIR/load" 2>&1 &&
   grep -q '"wrong_bytes":0' "$TMPDIR/load" && ! grep -q '"hits":0,' "$TMPDIR/load"; then
	ok 'clients find and check blocks of before'
else
	not_ok 'clients find and check blocks of before' "$TMPDIR/load"
fi

# A client killed in the middle: everything it held comes back.
"$kvshm" load --socket "$daemon_socket" --procs 1 --seconds 30 --json > /dev/null 2>&1 &
load=$!
trap 'kill -KILL $load $client 2>/dev/null; daemon_cleanup' EXIT
if wait_until 10 metric_is sessions 1; then
	client=$("$kvshm" clients --socket "$daemon_socket" --json 2>/dev/null |
		sed -n 's/.*"clients":\[{\([^}]*\)}.*/\1/p' | grep -o '"pid":[0-9]*' | cut -d: -f2)
	kill -KILL "$load" "$client" 2>/dev/null
	wait "$load" 2>/dev/null
	if wait_until 5 metric_is sessions 0 && wait_until 5 metric_is grants 0 &&
	   wait_until 5 no_pin_file; then
		ok 'what a killed client held comes back'
	else
		"$kvshm" clients --socket "$daemon_socket" > "$TMPDIR/clients"
		ls "$daemon_memory" >> "$TMPDIR/clients"
		not_ok 'what a killed client held comes back' "$TMPDIR/clients"
	fi
else
	not_ok 'what a killed client held comes back'
fi

# The pin files are lost while the content stays: nobody can say what is being read, so it is given up.
stop_daemon "$TMPDIR/a" KILL
rm -f "$daemon_memory"/sessions "$daemon_memory"/pins.*
if start_daemon "$TMPDIR/a" && grep -q 'cold: the pin files of earlier content are gone' "$TMPDIR/a/log"; then
	ok 'content whose pin files are lost is given up'
else
	not_ok 'content whose pin files are lost is given up' "$TMPDIR/a/log"
fi

# The same for the memory itself; the log says what is wrong with it.
stop_daemon "$TMPDIR/a" KILL
rm -f "$daemon_memory/arena.0.0"
if start_daemon "$TMPDIR/a" && grep -q 'cold: a file of the earlier arena is missing' "$TMPDIR/a/log"; then
	ok 'content without one of its files is given up'
else
	not_ok 'content without one of its files is given up' "$TMPDIR/a/log"
fi
stop_daemon "$TMPDIR/a" KILL
truncate -s 2M "$daemon_memory/arena.0.0"
if start_daemon "$TMPDIR/a" && grep -q 'cold: an extent of earlier content is not what its directory says' "$TMPDIR/a/log"; then
	ok 'content whose memory was cut short is given up'
else
	not_ok 'content whose memory was cut short is given up' "$TMPDIR/a/log"
fi
exit $failed
