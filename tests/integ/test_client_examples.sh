#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The programs of Documentation/examples/ do what they say, against a private daemon.
set -u
. tests/lib/daemon.sh
. tests/lib/say.sh
bin=$KVSHM_BUILD/examples
dir=$TMPDIR/examples
say_logs=("$dir/log")

for p in first put match get watch stage pool; do
	[ -x "$bin/$p" ] || { echo "no $bin/$p"; exit 77; }
done
[ -x "$daemon_bin" ] || { echo "no $daemon_bin"; exit 77; }
mkdir -p "$dir"
head -c 1000000 /dev/urandom > "$dir/file"

KVSHM_SOCKET=$dir/none "$bin/match" "$dir/file" 2> "$dir/err"
[ $? = 1 ] && grep -q 'kvshm_open: No such file' "$dir/err"
say $? "without a daemon an example says so and fails"

start_daemon "$dir" || { say 1 "the daemon starts"; exit 1; }
export KVSHM_SOCKET=$daemon_socket

[ "$("$bin/first")" = "keys and values of 16 tokens" ]
say $? "the first program finds what it put"

if [ -f README.md ] && grep -q '^```c' README.md; then
	sed -n '/^```c/,/^```/p' README.md | sed '/^```/d' > "$dir/readme.c"
	grep -v SPDX Documentation/examples/first.c | cmp -s - "$dir/readme.c"
	say $? "the README shows the first program as it is built"
fi

[ "$("$bin/match" "$dir/file" 2>/dev/null)" = "cached 0 of 16 blocks" ]
say $? "a file that nobody put is a miss"
[ "$("$bin/put" "$dir/file")" = "published 16 duplicate 0 dropped 0" ]
say $? "put publishes a file"
[ "$("$bin/match" "$dir/file" 2>/dev/null)" = "cached 16 of 16 blocks" ]
say $? "match finds all of it"
"$bin/get" "$dir/file" | cmp -s - "$dir/file"
say $? "get gives the same bytes"
[ "$("$bin/put" "$dir/file")" = "published 0 duplicate 16 dropped 0" ]
say $? "a second put finds it there"

# A prompt that shares its first half is served the first half.
{ head -c 524288 "$dir/file"; echo another end; } > "$dir/half"
[ "$("$bin/match" "$dir/half" 2>/dev/null)" = "cached 8 of 9 blocks" ]
say $? "a file with the same beginning hits as far as that goes"

# A GPU side, on the fake driver: the first run computes and saves, the second loads.
if [ -f "$KVSHM_BUILD/fake/libcuda.so.1" ]; then
	export KVSHM_LIBCUDA=$KVSHM_BUILD/fake/libcuda.so.1
	head -c 700000 /dev/urandom > "$dir/prompt"
	{ head -c 327680 "$dir/prompt"; head -c 200000 /dev/urandom; } > "$dir/prompt2"
	"$bin/stage" "$dir/prompt" > "$dir/log" 2>&1
	grep -q '(simulated): loaded 0, computed 10, saved 10, right on the device 10 of 10' "$dir/log"
	say $? "stage saves what an engine has computed on the device"
	"$bin/stage" "$dir/prompt" > "$dir/log" 2>&1
	grep -q '(simulated): loaded 10, computed 0, saved 0, right on the device 10 of 10' "$dir/log"
	say $? "another engine loads it"
	"$bin/stage" "$dir/prompt2" > "$dir/log" 2>&1
	grep -q '(simulated): loaded 5, computed 3, saved 3, right on the device 8 of 8' "$dir/log"
	say $? "a prompt with the same beginning loads that, and saves the rest"
	FAKE_CUDA_SCRIPT='fail=cuMemHostRegister:0:801' "$bin/stage" "$dir/prompt" > "$dir/log" 2>&1
	grep -q 'loaded 10, computed 0, saved 0, right on the device 10 of 10' "$dir/log"
	say $? "memory that cannot be pinned costs nothing but time"
	# what a lost device may still write to is kept until the process ends: no leak
	ASAN_OPTIONS=${ASAN_OPTIONS-}:detect_leaks=0 FAKE_CUDA_SCRIPT='land=3:700' "$bin/stage" "$dir/prompt" > "$dir/log" 2>&1
	[ $? = 1 ] && grep -q 'load: State not recoverable' "$dir/log"
	say $? "a lost device is an error that names itself"
	KVSHM_LIBCUDA=$dir/none "$bin/stage" "$dir/prompt" > "$dir/log" 2>&1
	[ $? = 1 ] && grep -q 'none' "$dir/log"
	say $? "a machine without a driver is told so"
	"$bin/pool" "$dir/file" > "$dir/log" 2>&1
	[ $? = 1 ] && grep -q 'kvshm_service_pool_open: No such file' "$dir/log"
	say $? "without kvshm-gpud there is no pool"
	"$KVSHM_BUILD/kvshm-gpud" --socket "$daemon_socket" --pool 4M > "$dir/gpud.log" 2>&1 &
	gpud=$!
	wait_until 20 grep -q 'ready:' "$dir/gpud.log"
	"$bin/pool" "$dir/file" > "$dir/log" 2>&1 && grep -q '16 of 16 blocks in the pool, 16 right' "$dir/log"
	say $? "pool reads a file's blocks on the GPU"
	"$bin/pool" "$dir/half" > "$dir/log" 2>&1 && grep -q '8 of 9 blocks in the pool, 8 right' "$dir/log"
	say $? "another process reads the same copies"
	gpud_counted() { "$KVSHM_BUILD/kvshm" stat gpu --raw > "$dir/log" 2>&1; grep -Eq "kvshm_gpud_pool_$1 +$2( |\$)" "$dir/log"; }
	wait_until 5 gpud_counted shared_blocks_total 8 && gpud_counted staged_blocks_total 16
	say $? "kvshm stat gpu counts them as shared"
	kill "$gpud"
	wait "$gpud"
	unset KVSHM_LIBCUDA
else
	echo "ok - stage, pool # SKIP no fake driver"
fi

"$bin/watch" "$dir/file" 200 > "$dir/watch" 2>&1 &
watcher=$!
wait_until 5 grep -q 'cached 16 of 16, daemon alive' "$dir/watch"
# the page is written while there are sessions: watch is one
counted() { "$KVSHM_BUILD/kvshm" stat gpu --raw > "$dir/log" 2>&1; grep -Eq "kvshm_gpu_$1 +$2( |\$)" "$dir/log"; }
if [ -f "$KVSHM_BUILD/fake/libcuda.so.1" ]; then
	wait_until 5 counted saved_blocks_total '[1-9][0-9]*' && counted jobs_failed_total 0
	say $? "kvshm stat gpu counts what was copied"
fi
stop_daemon "$dir" KILL
wait_until 5 grep -q 'cached 16 of 16, daemon dead' "$dir/watch"
say $? "watch hits while the daemon is dead"
start_daemon "$dir"
wait_until 10 sh -c "tail -n 1 '$dir/watch' | grep -q 'cached 16 of 16, daemon alive'"
say $? "watch attaches again when it is back"
kill "$watcher" && wait "$watcher" 2> /dev/null
exit $status
