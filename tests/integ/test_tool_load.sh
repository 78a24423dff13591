#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kvshm-test: timeout=180
# Real clients get only right bytes and leak nothing, also when they and the daemon are killed all the time.
. tests/lib/daemon.sh
tool=$KVSHM_BUILD/kvshm
failed=0

ok() { echo "ok - $1"; }
not_ok() { echo "not ok - $1"; failed=1; sed 's/^/# /' "$TMPDIR/out"; }
is() { if [ "$1" = 0 ]; then ok "$2"; else not_ok "$2"; fi; }

# field EXPRESSION: does it hold for the object d that was printed?
field() { python3 -c 'import json, sys; d = json.loads(open(sys.argv[1]).readlines()[-1]); sys.exit(not eval(sys.argv[2]))' \
		"$TMPDIR/json" "$1"; }

load() { timeout 60 "$tool" load "$@" > "$TMPDIR/json" 2> "$TMPDIR/out"; local status=$?; cat "$TMPDIR/json" >> "$TMPDIR/out"; return $status; }

# The private daemon's directory of process $1.
private_daemon() { ls -d /dev/shm/kvshm-private-"$1"-* /tmp/kvshm-private-"$1"-* 2>/dev/null; }

# Processes of this session that run the tool or its daemon, zombies not counted.
left_over() { ps -o stat=,comm= -s "$(ps -o sid= -p $$ | tr -d ' ')" | grep -v '^Z' | grep -c 'kvshm'; }

# Wait until the daemon of load process $1 has been started twice.
wait_a_kill()
{
	local dir first n
	dir=$(private_daemon "$1")
	for n in $(seq 500); do
		first=${first:-$(stat -c %i "$dir/stats" 2>/dev/null)}
		[ "$first" ] && [ "$(stat -c %i "$dir/stats" 2>/dev/null)" != "$first" ] && return
		sleep 0.02
	done
}

[ -x "$tool" ] && [ -x "$KVSHM_BUILD/kvshmd" ] || { echo "no $tool or kvshmd"; exit 77; }

load --procs 4 --seconds 3 --size 128M --kill-clients 100ms --kill-daemon 1s --json
is $? 'a load with kills of clients and daemon keeps its invariants'
field 'd["schema"] == "kvshm.load/1" and d["wrong_bytes"] == 0 and d["leaked_blocks"] == 0'
is $? 'not one byte was wrong, not one block leaked'
field 'd["verify_violations"] == 0 and not d["is_hung"] and d["client_failures"] == 0'
is $? 'the verifiers are clean, nobody hung'
field 'd["client_kills"] >= 10 and d["daemon_kills"] >= 1'
is $? 'clients and daemon were really killed'
field 'd["hits_while_dead"] > 0'
is $? 'clients went on hitting while the daemon was dead'
field '0 < d["hit_ratio"] < 1 and d["hits"] < d["blocks"] and d["checked_bytes"] >= d["hits"] * d["block_bytes"]'
is $? 'what was found was checked'
field 'd["restart_ms_max"] >= 300 and d["acquire_p99_ns"] >= d["acquire_p50_ns"] > 0'
is $? 'times were taken'

load --procs 3 --seconds 1 --size 64M --seed 7
is $? 'the table for people comes with exit 0 too'
grep -q '^wrong bytes     0$' "$TMPDIR/json"
is $? 'and names the wrong bytes'

load --shared-prefix --json
is $? 'prompts that share a prefix are found again'
field 'd["published_bytes"] * 9 == d["unshared_bytes"] * 2 and d["is_exact"] and d["wrong_bytes"] == 0'
is $? '8 prompts of 2304 tokens that share 2048 take exactly 2/9 of the memory'
load --shared-prefix --procs 2 --json && field 'd["published_bytes"] == (128 + 2 * 16) * 65536'
is $? '2 such prompts take 160 blocks'

load --seconds 1 --socket "$TMPDIR/kvshm.sock" --kill-daemon 1s
[ $? = 2 ] && grep -q 'would harm' "$TMPDIR/out"
is $? 'a daemon of others is not killed'

start_daemon "$TMPDIR/d" && load --procs 2 --seconds 1 --socket "$daemon_socket"
is $? 'a load on a daemon of others'
# One byte of each page is changed, again and again, while the clients read.
python3 - "$daemon_memory"/arena.* <<'PY' &
import mmap, sys, time
maps = []
for path in sys.argv[1:]:
    with open(path, "r+b") as f:
        maps.append(mmap.mmap(f.fileno(), 0))
end = time.monotonic() + 10
for byte in range(4096):
    for m in maps:
        for at in range(byte, len(m), 4096):
            m[at] ^= 1
    if time.monotonic() > end:
        break
PY
changer=$!
load --procs 2 --seconds 1 --json --socket "$daemon_socket"
[ $? = 1 ] && field 'd["wrong_bytes"] > 0' && grep -q 'failed: bytes were wrong' "$TMPDIR/out"
is $? 'bytes that somebody changes are found, exit 1'
kill $changer 2>/dev/null
wait $changer 2>/dev/null
stop_daemon "$TMPDIR/d"

for signal in INT TERM; do
	"$tool" load --procs 4 --seconds 30 --size 64M --kill-daemon 200ms --kill-clients 50ms > "$TMPDIR/out" 2>&1 &
	pid=$!
	until [ "$(private_daemon $pid)" ] || ! kill -0 $pid 2>/dev/null; do sleep 0.02; done
	# At once, or in the middle of the kills.
	[ $signal = INT ] || wait_a_kill $pid
	kill -$signal $pid
	wait $pid 2>/dev/null
	for _ in $(seq 100); do [ "$(left_over)" = 0 ] && break; sleep 0.05; done
	[ "$(left_over)" = 0 ] && [ -z "$(private_daemon $pid)" ]
	is $? "a load ended by SIG$signal leaves no process and no file behind"
done

# The kernel ends its daemon and its clients; the next load finds the memory without an owner.
"$tool" load --procs 2 --seconds 30 --size 64M > "$TMPDIR/out" 2>&1 &
pid=$!
until [ -S "$(private_daemon $pid)/kvshm.sock" ] || ! kill -0 $pid 2>/dev/null; do sleep 0.02; done
kill -KILL $pid
wait $pid 2>/dev/null
for _ in $(seq 100); do [ "$(left_over)" = 0 ] && break; sleep 0.05; done
[ "$(left_over)" = 0 ] && [ -n "$(private_daemon $pid)" ]
is $? 'a load ended by SIGKILL leaves no process behind'
"$tool" load --procs 2 --seconds 5 --size 64M > "$TMPDIR/out" 2>&1 &
other=$!
until [ "$(private_daemon $other)" ] || ! kill -0 $other 2>/dev/null; do sleep 0.02; done
load --procs 1 --seconds 1 --size 64M
[ -z "$(private_daemon $pid)" ] && [ -n "$(private_daemon $other)" ]
is $? 'the next one removes its files, and not those of a load that goes on'
kill -TERM $other
wait $other 2>/dev/null
exit $failed
