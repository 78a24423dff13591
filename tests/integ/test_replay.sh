#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kvshm replay, trace and mrc on generated traces: results, bad input, exit statuses.
set -u
. tests/lib/say.sh
kvshm=$KVSHM_BUILD/kvshm
dir=$TMPDIR/replay
say_logs=("$dir/out" "$dir/err")
tool_path=$PATH

# Exit status $1, a word $2 on stderr, nothing on stdout: no partial output is taken for a result.
refused()
{
	local want=$1 word=$2
	shift 2
	PATH=$tool_path "$kvshm" "$@" > "$dir/out" 2> "$dir/err"
	[ $? = "$want" ] && grep -q -- "$word" "$dir/err" && [ ! -s "$dir/out" ]
}

[ -x "$kvshm" ] || { echo "no $kvshm"; exit 77; }
mkdir -p "$dir"
trace=$dir/mix.jsonl
"$kvshm" trace gen --load mix --seed 4 -n 1500 --block-tokens 64 > "$trace" 2> "$dir/err"
head -n 1 "$trace" > "$dir/out"
grep -q '"is_synthetic":true' "$dir/out"
say $? "a generated trace says in its first line that it is synthetic"

"$kvshm" replay "$trace" -p leaf-lru,belady,gix -c 0.5%,5%,100 --json > "$dir/out" 2> "$dir/err" &&
python3 - "$dir/out" <<'EOF' > "$dir/err" 2>&1
import json, sys
doc = json.load(open(sys.argv[1]))
rows = doc["results"]
assert doc["schema"] == "kvshm.replay/1"
assert [r["capacity"] for r in rows] == ["0.5%"] * 3 + ["5%"] * 3 + ["100"] * 3
need = {"trace", "policy", "capacity", "capacity_blocks", "block_hit_ratio", "token_hit_ratio",
        "saved_seconds", "ns_per_touch", "ns_per_victim", "bytes_per_block"}
by = {}
for r in rows:
    assert need <= set(r), need - set(r)
    by[r["capacity"], r["policy"]] = r
    assert 0 <= r["block_hit_ratio"] <= r["opt_block_hit_ratio"] + 1e-9 <= r["ideal_block_hit_ratio"] + 2e-9
assert by["5%", "gix"]["capacity_blocks"] == rows[0]["unique_blocks"] * 5 // 100
assert by["100", "gix"]["capacity_blocks"] == 100
assert abs(by["5%", "leaf-lru"]["gap_closed_ratio"]) < 1e-9
assert abs(by["5%", "belady"]["gap_closed_ratio"] - 1) < 1e-9
EOF
say $? "replay gives every policy at every capacity, between nothing and OPT"

"$kvshm" replay "$trace" -c 5% -p leaf-lru --csv > "$dir/out" 2> "$dir/err" &&
	[ "$(wc -l < "$dir/out")" = 2 ] && grep -q '^mix.jsonl,leaf-lru,5%,' "$dir/out"
say $? "csv has a line a result"

hit=$(sed -n 2p "$dir/out" | cut -d, -f8)
blocks=$(sed -n 2p "$dir/out" | cut -d, -f4)
"$kvshm" mrc "$trace" --at 5% --json > "$dir/out" 2> "$dir/err"
python3 - "$dir/out" "$hit" "$blocks" <<'EOF' > "$dir/err" 2>&1
import json, sys
advice = json.load(open(sys.argv[1]))["advice"]
assert advice["capacity_blocks"] == int(sys.argv[3])
assert abs(advice["block_hit_ratio"] - float(sys.argv[2])) < 1e-6
assert advice["block_hit_ratio_with_more"] >= advice["block_hit_ratio"]
EOF
say $? "the curve gives the hit ratio of the replay"

"$kvshm" replay "$trace" -c 5% -p gix --no-gap --csv > "$dir/out" 2> "$dir/err"
hit=$(sed -n 2p "$dir/out" | cut -d, -f8)
"$kvshm" mrc "$trace" --at 5% --policy gix --json > "$dir/out" 2> "$dir/err"
python3 - "$dir/out" "$hit" <<'EOF' > "$dir/err" 2>&1
import json, sys
doc = json.load(open(sys.argv[1]))
assert doc["policy"] == "gix" and len(doc["points"]) == 16, doc
assert abs(doc["advice"]["policy_block_hit_ratio"] - float(sys.argv[2])) < 1e-6, doc["advice"]
(same,) = [p["policy_block_hit_ratio"] for p in doc["points"] if p["capacity_blocks"] == doc["advice"]["capacity_blocks"]]
assert same == doc["advice"]["policy_block_hit_ratio"]
EOF
say $? "and that of another policy, which is asked for"
"$kvshm" mrc "$trace" -p gix --at 5% > "$dir/out" 2> "$dir/err" && grep -q '^under gix it is 0\.' "$dir/out" &&
	grep -q '^blocks  *share  *gix  *leaf-lru$' "$dir/out"
say $? "both stand side by side"
for recipe in trace-a trace-b; do
	"$kvshm" trace gen --recipe $recipe --seed 3 -n 200 > "$dir/$recipe.jsonl" 2> "$dir/err" &&
		"$kvshm" trace characterise "$dir/$recipe.jsonl" > "$dir/out" 2> "$dir/err" && grep -q '200 in' "$dir/out" &&
		grep -q "SYNTHETIC" "$dir/out" && grep -q -- "--recipe $recipe --seed 3 --requests 200" "$dir/out"
	say $? "the recipe $recipe is written, and says what it is"
done

"$kvshm" trace characterise "$trace" > "$dir/out" 2> "$dir/err" && grep -q SYNTHETIC "$dir/out" &&
	grep -q 'ideal hit ratio' "$dir/out"
say $? "characterise says what is synthetic"

refused 2 'known are gix' replay "$trace" -p nosuch
say $? "an unknown policy is refused with the list of those known"
refused 2 'unknown policy "nosuch"; known are gix' mrc "$trace" -p nosuch
say $? "by mrc, too"
refused 2 'is 0 blocks' replay "$trace" -c 5%,0
say $? "capacity 0 is refused"
refused 2 'is 0 blocks' replay "$trace" -c 0.0001%
say $? "so is a share that is less than a block"
refused 2 'is 0 blocks' mrc "$trace" --at 0%
say $? "by mrc, too: capacity 0"
refused 2 'above the trace' replay "$trace" -c 99999999
say $? "a capacity above the trace is refused"
refused 2 'No such file' replay "$dir/none"
say $? "a trace that is not there is refused"
refused 2 'no trace given' replay
say $? "replay without a trace is refused"
refused 2 'unknown load' trace gen --load nosuch
say $? "an unknown load is refused"
refused 2 'unknown recipe' trace gen --recipe nosuch
say $? "and an unknown recipe"
refused 2 'do not go with it' trace gen --recipe trace-a --load chat
say $? "a recipe takes no load"

xz -k "$trace" && head -c 50000 "$trace.xz" > "$dir/cut.xz"
refused 8 'cut short' replay "$dir/cut.xz"
say $? "a truncated xz is no result, and exit status 8"
refused 8 'cut short' replay --lenient "$dir/cut.xz"
say $? "not with --lenient either: what is missing cannot be counted"
refused 8 'cut short' mrc "$dir/cut.xz"
say $? "the curve of a truncated xz is none"
refused 8 'cut short' trace characterise "$dir/cut.xz"
say $? "its statistics are none"

{ head -n 3 "$trace"; echo '{"timestamp":'; tail -n +4 "$trace"; } > "$dir/bad.jsonl"
refused 8 'bad.jsonl:4: not one JSON object' replay "$dir/bad.jsonl" "$trace"
say $? "a malformed line is named by file and line"
"$kvshm" replay "$dir/bad.jsonl" --lenient -p leaf-lru -c 5% > "$dir/out" 2> "$dir/err" &&
	grep -q '1 lines skipped' "$dir/err" && grep -q leaf-lru "$dir/out"
say $? "--lenient goes on and counts the lines"
{ tail -n 1 "$trace"; sed -n 2,9p "$trace"; } > "$dir/back.jsonl"
refused 8 'back.jsonl:2: time runs backwards' replay "$dir/back.jsonl"
say $? "time that runs backwards is an error of replay"
"$kvshm" replay "$dir/back.jsonl" --lenient -p leaf-lru -c 50% > "$dir/out" 2> "$dir/err" &&
	grep -q '8 lines skipped, the first: .*back.jsonl:2: time runs backwards' "$dir/err" && grep -q leaf-lru "$dir/out"
say $? "--lenient passes over those lines and counts them"
refused 8 'back.jsonl:2: time runs backwards' mrc "$dir/back.jsonl"
say $? "time that runs backwards is an error"

refused 2 'svg or .png' replay "$trace" --plot "$dir/x.gif"
say $? "a picture of another kind is refused before the runs"
mkdir -p "$dir/empty" "$dir/fake"
tool_path=$dir/empty
refused 2 'needs gnuplot' replay "$trace" --plot "$dir/x.svg"
say $? "without gnuplot --plot says what is missing"

# A gnuplot that takes our commands and draws them as they are; or fails.
cat > "$dir/fake/gnuplot" <<'EOF'
#!/bin/sh
cat > "$FAKE_DIR/commands"
cp "$FAKE_DIR/commands" "$(sed -n "s/^set output '\(.*\)'$/\1/p" "$FAKE_DIR/commands")"
exit $FAKE_STATUS
EOF
chmod +x "$dir/fake/gnuplot"
export FAKE_DIR=$dir/fake
FAKE_STATUS=0 PATH=$dir/fake:$PATH "$kvshm" replay "$trace" -p leaf-lru,lfu -c 1%,5% --plot "$dir/y.svg" > "$dir/out" 2> "$dir/err" &&
	[ "$(grep -c '^\$size' "$dir/y.svg")" = 2 ] && [ "$(grep -c '^plot ' "$dir/y.svg")" = 2 ]
say $? "--plot hands a line a policy to gnuplot, for size and for time"
FAKE_STATUS=1 PATH=$dir/fake:$PATH "$kvshm" replay "$trace" -p leaf-lru -c 5% --plot "$dir/z.svg" > "$dir/out" 2> "$dir/err"
[ $? = 1 ] && grep -q 'did not draw' "$dir/err" && [ ! -e "$dir/z.svg" ] && [ ! -e "$dir/z.svg.part" ]
say $? "a gnuplot that fails leaves no picture"
if command -v gnuplot > /dev/null; then
	"$kvshm" replay "$trace" -c 1%,5% --plot "$dir/x.svg" > "$dir/out" 2> "$dir/err" && grep -q '<svg' "$dir/x.svg"
	say $? "--plot draws"
else
	echo "ok - --plot draws # SKIP no gnuplot"
fi
exit $status
