#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kvshm-test: timeout=180
# kvshm bench stage on the fake driver: what must hold of our order of copies holds on its clock.
: "${KVSHM_BUILD:=$PWD/build}" "${TMPDIR:=/tmp}"
tool=$KVSHM_BUILD/kvshm
. tests/lib/gives.sh
gives_command=("$tool" bench stage)
gives_limit=100

[ -x "$tool" ] && [ -f "$KVSHM_BUILD/fake/libcuda.so.1" ] || { echo "no $tool or fake driver"; exit 77; }
unset KVSHM_LIBCUDA FAKE_CUDA_SCRIPT
# What a lost device may still write to is kept until the process ends: no leak.
export ASAN_OPTIONS=${ASAN_OPTIONS-}:detect_leaks=0
gives 0 '"is_simulated":true' 'an 8B model: at most one copy a block, layers hidden as the formula says, no pin ends early' --fake --json \
	--assert 'formula_error_max<=0.1' --assert 'early_pin_release<=0' --assert 'releases>=14' \
	--assert 'undocumented_results<=0' --assert 'copies_per_block<=1' --assert 'h2d_ratio>=0.95' --assert 'd2h_ratio>=0.95'
gives 0 '"costs":{' 'costs are measured, and what the planner expects by them comes true' --fake --json --blocks 16 \
	--costs "$TMPDIR/gpu.costs" --assert 'cost_error_max<=0.05'

# cost NAME LOW HIGH
cost()
{
	awk -F= -v name="$1" -v low="$2" -v high="$3" '$1 == name { n++; bad = $2 < low || $2 > high } END { exit n != 1 || bad }' \
		"$TMPDIR/gpu.costs" || echo "$1 is not $2 to $3"
}
# those of the model in the "simulation" field
{ grep -qx '\[fake device 0\]' "$TMPDIR/gpu.costs" && grep -qx 'source=simulated' "$TMPDIR/gpu.costs" || echo 'no section';
  cost call_ns 690 710; cost copy_ns 1450 1550; cost row_ns 9 11; cost entry_copy_ns 140 180; cost launch_ns 3000 4500;
  cost link_bytes_per_ns 24.5 25; cost device_bytes_per_ns 950 1050; cost direct_bytes_per_ns 24 25.5; } > "$TMPDIR/out"
if [ -s "$TMPDIR/out" ]; then
	sed 's/^/# /' "$TMPDIR/out" "$TMPDIR/gpu.costs"
	echo 'not ok - the file has the numbers of the model'
	failed=1
else
	echo 'ok - the file has the numbers of the model'
fi
if KVSHM_LIBCUDA=$KVSHM_BUILD/fake/libcuda.so.1 KVSHM_STAGE_COSTS=$TMPDIR/gpu.costs timeout 60 "$tool" doctor --socket /nowhere |
	grep "device 0: copies are planned by the costs in $TMPDIR/gpu.costs"; then
	echo 'ok - such a file is taken'
else
	echo 'not ok - such a file is taken'
	failed=1
fi
gives 1 'costs /nowhere/gpu.costs: No such file' 'a file that cannot be written is exit 1' --fake --blocks 4 \
	--costs /nowhere/gpu.costs
gives 0 'simulated' 'the text says that it is simulated' --fake --blocks 4
small="--fake --blocks 16 --json --assert formula_error_max<=0.1 --assert early_pin_release<=0"
gives 0 '"order":"blhnc"' 'blocks outermost' $small --order blhnc --assert 'copies_per_block<=1'
gives 0 '"order":"nhd"' 'K and V in halves of a tensor' $small --order nhd
gives 0 '"model":"deepseek-v3"' 'a latent' $small --blocks 64 --model deepseek-v3 --order mla
gives 1 'no driver' 'a driver that is not there is exit 1' --fake=/nowhere/libcuda.so.1
gives 1 'no cuGetProcAddress' 'a library that is no driver is exit 1' --fake=libc.so.6
gives 2 'no such --model' 'an unknown model is a usage error' --fake --model small
gives 2 'no such --model' 'a model that has no K in that order is a usage error' --fake --model deepseek-v3 --order hnd
gives 1 'no device 7' 'a device that is not there is exit 1' --fake --device 7
exit $failed
