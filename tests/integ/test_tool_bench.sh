#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kvshm-test: timeout=180
# Every benchmark runs small and measures what its options say; --assert decides the exit status.
: "${KVSHM_BUILD:=$PWD/build}" "${TMPDIR:=/tmp}"
tool=$KVSHM_BUILD/kvshm
. tests/lib/gives.sh
gives_command=("$tool" bench)

# The private daemon's directory of process $1.
private_daemon() { ls -d /dev/shm/kvshm-private-"$1"-* /tmp/kvshm-private-"$1"-* 2>/dev/null; }

[ -x "$tool" ] && [ -x "$KVSHM_BUILD/kvshmd" ] || { echo "no $tool or kvshmd"; exit 77; }
small="--keys 64 --blocks 2048 --json"
gives 0 '"p50_ns":' 'assertions that hold are exit 0' match $small --assert 'syscalls<=0' --assert 'messages<=0'
gives 1 'does not hold: p50_ns<=0' 'an assertion that does not hold is exit 1' match $small --assert 'p50_ns<=0'
gives 2 'no such field' 'an assertion about no field is a usage error' match $small --assert 'speed>=1'
gives 2 'FIELD<=NUMBER' 'an assertion without a comparison is a usage error' match $small --assert syscalls
gives 0 '"is_miss":true' 'match measures misses' match $small --miss --assert 'syscalls<=0'
gives 0 '"daemon":"stopped"' 'match needs no running daemon' match $small --daemon stopped --assert 'syscalls<=0'
gives 0 '"daemon":"dead"' 'match needs no living daemon' match $small --daemon dead --assert 'syscalls<=0'
gives 2 'would harm' 'a daemon of others is not harmed' match --daemon dead --socket "$TMPDIR/kvshm.sock"
gives 0 '"kind":"neighbours"' 'resolve measures neighbours' resolve $small --assert 'wrong_lengths<=0'
gives 0 '"kind":"scattered"' 'resolve measures scattered chains' resolve $small --scattered --assert 'wrong_lengths<=0'
gives 0 '"kind":"loose"' 'resolve measures loose keys' resolve $small --loose --assert 'ns_per_block<=1000000'
gives 0 '"p999_us_per_block":' 'get measures, with the tail of 1,000 calls' get --bytes 64K --json --assert 'pairs>=1000' --assert 'ratio>=0.01'
gives 0 '"is_staged":false' 'put measures' put --bytes 64K --json --assert 'ratio>=0.01'
gives 0 '"trip_p999_ns":' 'qp measures single trips' qp --json --assert 'trip_p999_ns>=100' --assert 'daemon_cpu_ns_per_trip>=1'
gives 0 '"is_staged":true' 'put measures staged puts' put --bytes 64K --staged --json --assert 'ratio>=0.01'
gives 0 '"p999_ns_per_victim":' 'evict measures' evict --blocks 8192 --json
gives 0 '"p50_ms":' 'attach measures' attach --json
gives 2 'unknown benchmark "speed"' 'an unknown benchmark is a usage error' speed

"$tool" bench match > "$TMPDIR/out" 2>&1 &
pid=$!
until [ "$(private_daemon $pid)" ] || ! kill -0 $pid 2>/dev/null; do sleep 0.02; done
kill -TERM $pid
wait $pid
if [ $? = 143 ] && [ -z "$(private_daemon $pid)" ]; then
	ok 'a benchmark ended by a signal leaves nothing behind'
else
	private_daemon $pid >> "$TMPDIR/out"
	not_ok 'a benchmark ended by a signal leaves nothing behind'
fi

"$tool" bench evict > "$TMPDIR/out" 2>&1 &
pid=$!
until [ -n "$(ls -l /proc/$pid/fd 2>/dev/null | grep kvshm-evict)" ] || ! kill -0 $pid 2>/dev/null; do sleep 0.02; done
dir=$(ls -l /proc/$pid/fd 2>/dev/null | sed -n 's,.* \(/[^ ]*/kvshm-evict-[A-Za-z0-9]*\).*,\1,p' | head -1)
kill -TERM $pid
wait $pid
if [ $? = 143 ] && [ -n "$dir" ] && [ ! -e "$dir" ]; then
	ok 'nor does one without a daemon'
else
	echo "$dir" >> "$TMPDIR/out"
	not_ok 'nor does one without a daemon'
fi

# ---- counters of the processor: figures, or null where there are none -------------------------------
gives 0 '"cycles_per_call":\(null\|[1-9][0-9.]*\),"instructions_per_call":\(null\|[1-9]\)' '--pmu counts, or says that it cannot' \
	resolve --keys 64 --blocks 1024 --pmu --json
gives 0 '^dtlb_misses_per_call  *\(n/a\|[0-9]\)' 'so does the text' resolve --keys 64 --blocks 1024 --pmu
gives 0 '"wrong_lengths":0}' 'without --pmu there is nothing of it' resolve --keys 64 --blocks 1024 --json
! grep -q per_call "$TMPDIR/out" || not_ok 'without --pmu there is nothing of it'

# ---- compare: made-up runs whose verdict is known ---------------------------------------------------
runs() {	# runs FILE BENCH FIELD VALUE...
	local file=$1 bench=$2 field=$3
	shift 3
	for v; do printf '{"schema":"kvshm.bench/1","bench":"%s","daemon":"running","keys":2048,"%s":%s}\n' "$bench" "$field" "$v"; done >> "$file"
}
verdict() {	# verdict STATUS WORD SENTENCE
	local got
	"$KVSHM_BUILD/kvshm" bench compare "$TMPDIR/a" "$TMPDIR/b" > "$TMPDIR/out" 2>&1
	got=$?
	if [ $got = "$1" ] && grep -q -- "$2" "$TMPDIR/out"; then
		echo "ok - compare: $3"
	else
		echo "not ok - compare: $3"
		sed 's/^/# /' "$TMPDIR/out"
		failed=1
	fi
	rm -f "$TMPDIR/a" "$TMPDIR/b"
}
runs "$TMPDIR/a" match p50_ns 100 101 102; runs "$TMPDIR/b" match p50_ns 120 121 122
verdict 1 '^match keys=2048  *p50_ns .* +19.8 % worse$' 'slower by more than the noise is worse'
runs "$TMPDIR/a" match p50_ns 120 121 122; runs "$TMPDIR/b" match p50_ns 100 101 102
verdict 0 '-16.5 % better$' 'faster is better'
runs "$TMPDIR/a" match p50_ns 100 101 130; runs "$TMPDIR/b" match p50_ns 110 121 125
verdict 0 '+19.8 % same$' 'a difference within the spread of the runs is none'
runs "$TMPDIR/a" match p50_ns 100 100 100; runs "$TMPDIR/b" match p50_ns 101 101 101
verdict 0 '+1.0 %  *same$' 'under 2 % is none either'
runs "$TMPDIR/a" put ratio 0.95 0.95 0.96; runs "$TMPDIR/b" put ratio 0.7 0.7 0.71
verdict 1 'worse$' 'of a copy more is better'
runs "$TMPDIR/a" qp ratio 1.5 1.5 1.51; runs "$TMPDIR/b" qp ratio 1.1 1.1 1.11
verdict 0 'better$' 'of a round trip less is'
runs "$TMPDIR/a" match p50_ns 100 100; runs "$TMPDIR/b" match p50_ns 200 200 200
verdict 0 'too few runs$' 'two runs are no basis'
runs "$TMPDIR/a" match p50_ns 100 100 100; runs "$TMPDIR/b" resolve p50_ns 200 200 200
verdict 0 '^0 better, 0 worse, 0 same' 'what one side has not measured is left out'
runs "$TMPDIR/a" match p50_ns 100; echo '{"bench":' > "$TMPDIR/b"
verdict 8 "b:1: no JSON object" 'a malformed file is told by its line'
runs "$TMPDIR/a" match p50_ns 100
verdict 2 'No such file' 'a missing file is a usage error'

# ---- report ---------------------------------------------------------------------------------------
runs "$TMPDIR/a" match p50_ns 100 101 102
"$tool" bench resolve --keys 64 --blocks 1024 --json >> "$TMPDIR/a"
"$tool" bench report "$TMPDIR/a" > "$TMPDIR/out" 2>&1
if [ $? = 0 ] && grep -q '<h2>match keys=2048</h2>' "$TMPDIR/out" && grep -q '<td class="t">p50_ns</td><td>101</td><td>100</td><td>102</td><td>3</td>' "$TMPDIR/out" &&
	grep -q "kernel $(uname -r)" "$TMPDIR/out" && grep -q 'ns_per_block' "$TMPDIR/out" && ! grep -qE '<script|https?:|url\(' "$TMPDIR/out"; then
	ok 'report is one page of all runs, whole in itself, with the machine'
else
	not_ok 'report is one page of all runs, whole in itself, with the machine'
fi
"$tool" bench report "$TMPDIR/nothing" > "$TMPDIR/out" 2>&1
[ $? = 2 ] && ok 'report of a missing file is a usage error' || not_ok 'report of a missing file is a usage error'
exit $failed
