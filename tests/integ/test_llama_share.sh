#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kvshm-test: timeout=300
# Real engines share a document: the first computes it, the second takes it from the cache, the third does so
# with the daemon killed, and both answer with the tokens of a run without a cache.
set -u
. tests/lib/daemon.sh
llama=$KVSHM_BUILD/kvshm-llama
dir=$TMPDIR/share
status=0
engine=

[ -x "$llama" ] || { echo "no $llama: make setup could not fetch the engine"; exit 77; }
[ -x "$daemon_bin" ] || { echo "no $daemon_bin"; exit 77; }
grep -qw avx2 /proc/cpuinfo || { echo "the prebuilt libllama needs AVX2"; exit 77; }
mkdir -p "$dir"

say()	# say STATUS SENTENCE
{
	if [ "$1" = 0 ]; then
		echo "ok - $2"
	else
		echo "not ok - $2"
		tail -n 3 "$dir"/*.err "$dir/log" 2> /dev/null | sed 's/^/# /'
		cut -c1-400 "$dir"/*.json | sed 's/^/# /'
		status=1
	fi
}

# holds SENTENCE EXPRESSION FILE...: the expression over the objects a, b, ... of the files
holds()
{
	local sentence=$1 expression=$2
	shift 2
	python3 - "$expression" "$@" 2> "$dir/holds.err" <<- 'PY'
		import json, sys
		objects = dict(zip("abcd", (json.load(open(f)) for f in sys.argv[2:])))
		sys.exit(not eval(f"({sys.argv[1]})", {}, objects))
	PY
	say $? "$sentence"
}

ask()	# ask NAME QUESTION [option ...]: an engine's answer in NAME.json
{
	local name=$1 question=$2
	shift 2
	"$llama" -f "$dir/document" -q "$question" -n 8 --json "$@" > "$dir/$name.json" 2> "$dir/$name.err"
}

end_engine()
{
	[ -z "$engine" ] || kill -KILL "$engine" 2> /dev/null
	daemon_cleanup
}
trap end_engine EXIT

head -c 6000 LICENSE > "$dir/document"
# the pin quota is a quarter of the arena, and one prefix must fit
start_daemon "$dir" --size 256M || { say 1 'the daemon starts'; exit 1; }
export KVSHM_SOCKET=$daemon_socket
question='Who may use the work, and for what?'

ask uncached "$question" --no-cache
holds 'an engine without a cache answers' \
	'a["cache"] == "off" and a["cached_tokens"] == 0 and len(a["token_ids"]) > 1' "$dir/uncached.json"

ask first 'What is a contribution?'
holds 'the first engine computes the document and publishes it' \
	'a["cached_tokens"] == 0 and a["saved_blocks"] * a["block_tokens"] == a["prefix_tokens"] and
	 a["prefix_tokens"] > 1000' "$dir/first.json"

ask second "$question"
holds 'the second engine takes 95 % of the prefix or more from the cache' \
	'a["cached_tokens"] >= 0.95 * a["prefix_tokens"]' "$dir/second.json"
holds 'and answers with the tokens of the uncached run' \
	'a["token_ids"] == b["token_ids"]' "$dir/second.json" "$dir/uncached.json"
holds 'its first token comes sooner' 'a["ttft_ms"] < b["ttft_ms"]' "$dir/second.json" "$dir/uncached.json"

# A writer of our own on the pipe, so that the engine waits until it is asked.
mkfifo "$dir/ask"
ask third - < "$dir/ask" &
engine=$!
exec 3> "$dir/ask"
if wait_until 60 grep -q 'kvshm-llama: ready' "$dir/third.err"; then
	stop_daemon "$dir" KILL
	echo "$question" >&3
fi
exec 3>&-
wait "$engine"
say $? 'the third engine answers although the daemon was killed after it had attached'
engine=
holds 'it took the prefix from the cache all the same' \
	'a["cache"] == "attached" and a["cached_tokens"] >= 0.95 * a["prefix_tokens"]' "$dir/third.json"
holds 'with the same tokens' 'a["token_ids"] == b["token_ids"]' "$dir/third.json" "$dir/uncached.json"

ask alone "$question" --socket "$dir/none"
holds 'an engine that finds no daemon answers the same' \
	'a["cache"] == "none" and a["token_ids"] == b["token_ids"]' "$dir/alone.json" "$dir/uncached.json"
grep -q 'no cache, everything is computed: no daemon here' "$dir/alone.err"
say $? 'and says so'
exit $status
