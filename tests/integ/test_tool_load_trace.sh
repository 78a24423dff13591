#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kvshm-test: timeout=400
# A trace through a live daemon hits what it hits in the replayer: exactly in lockstep, nearly when free running.
. tests/lib/daemon.sh
tool=$KVSHM_BUILD/kvshm
failed=0

ok() { echo "ok - $1"; }
not_ok() { echo "not ok - $1"; failed=1; sed 's/^/# /' "$TMPDIR/out"; }
is() { if [ "$1" = 0 ]; then ok "$2"; else not_ok "$2"; fi; }
field() { python3 -c 'import json, sys; d = json.loads(open(sys.argv[1]).readlines()[-1]); sys.exit(not eval(sys.argv[2]))' \
		"$TMPDIR/json" "$1"; }
load() { timeout 90 "$tool" load "$@" > "$TMPDIR/json" 2> "$TMPDIR/out"; local status=$?; cat "$TMPDIR/json" >> "$TMPDIR/out"; return $status; }

# What the command kvshm replay itself says of policy $1.
replayed() { "$tool" replay -q --no-gap --json -p "$1" -c 7% --block-bytes 4K "$TMPDIR/trace" |
	python3 -c 'import json, sys; print(json.load(sys.stdin)["results"][0]["block_hit_ratio"])'; }

[ -x "$tool" ] && [ -x "$KVSHM_BUILD/kvshmd" ] || { echo "no $tool or kvshmd"; exit 77; }
"$tool" trace gen --load chat --requests 700 --block-tokens 64 > "$TMPDIR/trace"

for policy in leaf-lru gix lhd; do
	load --trace "$TMPDIR/trace" --lockstep --capacity 7% --policy $policy --procs 3 --json
	is $? "$policy in lockstep: every request hits what it hits in the replayer"
	field "abs(d['block_hit_ratio'] - $(replayed $policy)) < 1e-12 and d['block_hit_ratio'] > 0.1 and d['strays'] == 0"
	is $? "$policy: and the ratio is that of kvshm replay"
	field "abs(d['saved_seconds'] - d['replayer_saved_seconds']) < 1e-6 and d['dropped_blocks'] == 0"
	is $? "$policy: so is the time saved; no put was lost"
	field "d['wrong_bytes'] == 0 and d['leaked_blocks'] == 0 and d['verify_violations'] == 0"
	is $? "$policy: every byte was right, nothing leaked"
done

"$tool" trace gen --load chat --requests 3000 --block-tokens 64 > "$TMPDIR/trace"
# Free running, which requests overlap is the scheduler's choice and no two runs are alike, so no single one is judged:
# two of at most three must come near.
free_run() {
	load --trace "$TMPDIR/trace" --capacity 5% --policy "$1" --json || return 1
	field "d['procs'] == 8 and d['dropped_blocks'] == 0 and d['wrong_bytes'] == 0 and d['leaked_blocks'] == 0" || return 1
	field "abs(d['block_hit_ratio'] - d['replayer_block_hit_ratio']) < 0.005" && near=$((near + 1))
	return 0
}
for policy in leaf-lru wa gix; do
	near=0
	free_run $policy && free_run $policy && { [ $near != 1 ] || free_run $policy; }
	is $? "$policy runs free with 8 processes: no put was lost, every byte was right"
	[ $near = 2 ]
	is $? "$policy: and comes within half a point of the replayer, in the middle of three runs"
done
load --trace "$TMPDIR/trace" --capacity 5% --policy gix --procs 1 --json &&
	field "d['block_hit_ratio'] == d['replayer_block_hit_ratio'] > 0.1"
is $? 'one process alone, with blocks granted ahead, hits exactly what it hits in the replayer'

load --trace "$TMPDIR/trace" --capacity 5% --policy gix,wa,leaf-lru --json &&
	field "[p['policy'] for p in d['policies']] == ['gix', 'wa', 'leaf-lru'] and d['schema'] == 'kvshm.load-policies/1'" &&
	field "all(p['block_hit_ratio'] > .1 and p['put_bytes'] > 0 and p['saved_seconds'] > 0 and p['wrong_bytes'] == 0 for p in d['policies'])" &&
	field "d['policies'][0]['block_hit_ratio'] > d['policies'][2]['block_hit_ratio'] + .02"
is $? 'several policies run one after the other under the same load, and gix hits more than leaf-lru'
load --trace "$TMPDIR/trace" --capacity 5% --policy leaf-lru,wa && [ "$(grep -c '^leaf-lru\|^wa ' "$TMPDIR/out")" = 2 ]
is $? 'and are printed side by side'
load --trace "$TMPDIR/trace" --policy gix,belady
[ $? = 2 ] && grep -q 'no policy "belady"' "$TMPDIR/out"
is $? 'one that a daemon cannot run is refused among others, too'
load --trace "$TMPDIR/trace" --policy belady
[ $? = 2 ] && grep -q 'there are gix, leaf-lru' "$TMPDIR/out"
is $? 'a policy that a daemon cannot run is a usage error that lists the known'
load --trace "$TMPDIR/trace" --capacity 900000000
[ $? = 2 ] && grep -q 'above the trace' "$TMPDIR/out"
is $? 'so is a capacity above the trace'
load --lockstep
[ $? = 2 ] && grep -q 'go with --trace' "$TMPDIR/out"
is $? 'and lockstep without a trace'
load --trace "$TMPDIR/trace" --kill-clients 100ms
[ $? = 2 ]
is $? 'and kills during a trace'
echo '{"what": 1}' > "$TMPDIR/bad"
load --trace "$TMPDIR/bad" --json
[ $? = 8 ] && [ ! -s "$TMPDIR/json" ]
is $? 'a malformed trace: exit 8 and no result'
exit $failed
