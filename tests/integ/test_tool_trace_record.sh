#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kvshm-test: timeout=400
# What is recorded from a daemon is the trace that it was driven by; what is heard live gives the curve of that trace.
. tests/lib/daemon.sh
tool=$KVSHM_BUILD/kvshm
failed=0

ok() { echo "ok - $1"; }
not_ok() { echo "not ok - $1"; failed=1; cat "$TMPDIR/out" "$TMPDIR/err" 2>/dev/null | sed 's/^/# /'; }
is() { if [ "$1" = 0 ]; then ok "$2"; else not_ok "$2"; fi; }

# Socket of the private daemon of the load with pid $1.
private_socket() { ls -d {/dev/shm,/tmp}/kvshm-private-"$1"-*/kvshm.sock 2>/dev/null; }
has_socket() { [ -S "$(private_socket "$1")" ] || ! kill -0 "$1" 2>/dev/null; }

# drive_beside COMMAND... -- LOAD OPTION...: run the command with --socket of the daemon that the load drives
drive_beside()
{
	local command=() pid
	while [ "$1" != -- ]; do command+=("$1"); shift; done
	shift
	"$tool" load --trace "$TMPDIR/trace" --json "$@" > "$TMPDIR/load" 2> "$TMPDIR/err" &
	pid=$!
	wait_until 30 has_socket $pid
	timeout 90 "${command[@]}" --socket "$(private_socket $pid)" > "$TMPDIR/out" 2>> "$TMPDIR/err"
	local status=$?
	wait $pid && return $status
}

# ratio POLICY TRACE: what the replayer makes of it
ratio()
{
	"$tool" replay -q --no-gap --json -p "$1" -c 660 --block-bytes 4K "$2" |
		python3 -c 'import json, sys; r = json.load(sys.stdin)["results"][0]; print(r["block_hit_ratio"], r["token_hit_ratio"])'
}

[ -x "$tool" ] && [ -x "$KVSHM_BUILD/kvshmd" ] || { echo "no $tool or kvshmd"; exit 77; }
"$tool" trace gen --load chat --requests 700 --block-tokens 64 > "$TMPDIR/trace"

drive_beside "$tool" trace record --held -q -o "$TMPDIR/rec.zst" -- --lockstep --capacity 660 --policy leaf-lru --procs 3
is $? 'a recorder listens until the daemon ends'
[ "$(ratio leaf-lru "$TMPDIR/rec.zst")" = "$(ratio leaf-lru "$TMPDIR/trace")" ]
is $? 'the recorded trace hits what the trace itself hits'
[ "$(ratio gix "$TMPDIR/rec.zst")" = "$(ratio gix "$TMPDIR/trace")" ]
is $? 'also under gix: times and hints are the same'
! grep -q lost "$TMPDIR/err"
is $? 'nothing was lost'

# The curve of what is heard beside that of the trace, both of leaf-lru.
"$tool" mrc -q --json "$TMPDIR/trace" > "$TMPDIR/mrc"
drive_beside "$tool" mrc --held -q --json --seconds 80 --more 4M -- --lockstep --capacity 660 --policy gix --procs 3
is $? 'kvshm mrc listens to a daemon'
python3 - "$TMPDIR/mrc" "$TMPDIR/out" <<- 'EOF' 2>> "$TMPDIR/err"
	import json, sys
	whole, heard = (json.load(open(f)) for f in sys.argv[1:])
	want = [(p["capacity_blocks"], p["block_hit_ratio"]) for p in whole["points"]]
	assert len(want) >= 8 and want == [(p["capacity_blocks"], p["block_hit_ratio"]) for p in heard["points"]], heard["points"]
	(ns,) = heard["namespaces"]
	assert ns["block_bytes"] == 4096 and ns["requests"] == 700 and heard["lost_events"] == 0, ns
	assert 660 <= ns["capacity_blocks"] <= ns["capacity_blocks_with_more"]
	assert 0 < ns["block_hit_ratio"] <= ns["block_hit_ratio_with_more"] < 1
EOF
is $? 'and has the curve of the trace itself at all its sizes'

# The daemon's policy is no stack: what is told of it, and of 4 MiB more, beside the replays of the same policy.
sizes=$(python3 - "$TMPDIR/mrc" "$TMPDIR/out" <<- 'EOF'
	import json, sys
	whole, heard = (json.load(open(f)) for f in sys.argv[1:])
	(ns,) = heard["namespaces"]
	advice = [min(ns[n], whole["unique_blocks"]) for n in ("capacity_blocks", "capacity_blocks_with_more")]
	print(",".join(str(n) for n in [660, *advice, *(p["capacity_blocks"] for p in whole["points"])]))
EOF
)
"$tool" replay -q --no-gap --json -p gix -c "$sizes" --block-bytes 4K "$TMPDIR/trace" > "$TMPDIR/gix" 2>> "$TMPDIR/err"
python3 - "$TMPDIR/gix" "$TMPDIR/out" <<- 'EOF' 2>> "$TMPDIR/err"
	import json, sys
	replay, heard = (json.load(open(f)) for f in sys.argv[1:])
	rows = replay["results"]
	want = {r["capacity_blocks"]: r["block_hit_ratio"] for r in rows}
	got = {p["capacity_blocks"]: p["policy_block_hit_ratio"] for p in heard["points"]}
	far = {c: (want[c], got[c]) for c in got if abs(want[c] - got[c]) > 0.01}
	assert len(got) >= 8 and not far, far
	(ns,) = heard["namespaces"]
	assert ns["policy"] == "gix", ns
	assert abs(ns["policy_block_hit_ratio"] - rows[1]["block_hit_ratio"]) < 0.01, (ns, rows[1])
	assert abs(ns["policy_block_hit_ratio_with_more"] - rows[2]["block_hit_ratio"]) < 0.01, (ns, rows[2])
	assert abs(ns["heard_block_hit_ratio"] - rows[0]["block_hit_ratio"]) < 1e-9, (ns, rows[0])
EOF
is $? 'under its own policy it is within a point of the replays at all sizes, with more memory too; what was hit is heard'

drive_beside "$tool" trace record --held -q --seconds 0.3 -o "$TMPDIR/short" -- --capacity 660
is $? 'a recording ends when its time is over'

"$tool" trace record --socket "$TMPDIR/none/kvshm.sock" --seconds 1 -o "$TMPDIR/x" > "$TMPDIR/out" 2> "$TMPDIR/err"
[ $? = 1 ] && grep -q 'no daemon here' "$TMPDIR/err"
is $? 'without a daemon it says so'
start_daemon "$TMPDIR/d"
"$tool" mrc --socket "$daemon_socket" --seconds 0.2 > "$TMPDIR/out" 2> "$TMPDIR/err" && grep -q 'nothing was asked' "$TMPDIR/out"
is $? 'an idle daemon has no curve'
"$tool" mrc --socket "$daemon_socket" --at 5% 2> "$TMPDIR/err"
[ $? = 2 ] && grep -q 'are about one' "$TMPDIR/err"
is $? 'what is about a trace needs one'
"$tool" trace record --socket "$daemon_socket" --seconds 0.2 -o "$TMPDIR/nowhere/x" 2> "$TMPDIR/err"
[ $? = 1 ] && grep -q 'No such file' "$TMPDIR/err"
is $? 'a file that cannot be made is told'
"$tool" trace record --socket "$daemon_socket" --seconds 0.2 > "$TMPDIR/out" 2> "$TMPDIR/err" &&
	grep -q 'nothing was asked' "$TMPDIR/err"
is $? 'an idle daemon gives an empty trace, and that is told'
"$tool" trace record --socket "$daemon_socket" --seconds 0 2> "$TMPDIR/err"
[ $? = 2 ]
is $? 'no time at all is a usage error'
"$tool" trace record --socket "$daemon_socket" -o "$TMPDIR/int" 2> "$TMPDIR/err" &
recorder=$!
wait_until 20 grep -q 'until Ctrl-C' "$TMPDIR/err"
"$tool" load --socket "$daemon_socket" --procs 2 --seconds 1 --json > "$TMPDIR/load" 2>&1
# A shell's background job ignores SIGINT from its birth.
kill -TERM $recorder && wait $recorder && head -1 "$TMPDIR/int" | grep -q kvshm_trace && "$tool" replay -q -c 10% "$TMPDIR/int" > "$TMPDIR/out" 2>&1
is $? 'a signal ends it well, and what it wrote can be replayed'
exit $failed
