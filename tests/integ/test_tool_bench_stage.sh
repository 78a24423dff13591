#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kvshm-test: timeout=180
# kvshm bench stage on the fake driver: what must hold of our order of copies holds on its clock.
: "${KVSHM_BUILD:=$PWD/build}" "${TMPDIR:=/tmp}"
tool=$KVSHM_BUILD/kvshm
failed=0

# gives STATUS TEXT SENTENCE option...
gives()
{
	local status=$1 text=$2 sentence=$3 got
	shift 3
	timeout 100 "$tool" bench stage "$@" > "$TMPDIR/out" 2>&1
	got=$?
	if [ $got = "$status" ] && grep -q -- "$text" "$TMPDIR/out"; then
		echo "ok - $sentence"
	else
		echo "# exit $got, wanted $status and '$text'"
		echo "not ok - $sentence"
		cut -c -200 "$TMPDIR/out" | sed 's/^/# /'
		failed=1
	fi
}

[ -x "$tool" ] && [ -f "$KVSHM_BUILD/fake/libcuda.so.1" ] || { echo "no $tool or fake driver"; exit 77; }
unset KVSHM_LIBCUDA FAKE_CUDA_SCRIPT
# What a lost device may still write to is kept until the process ends: no leak.
export ASAN_OPTIONS=${ASAN_OPTIONS-}:detect_leaks=0
gives 0 '"is_simulated":true' 'an 8B model: one copy a block, layers hidden as the formula says, no pin ends early' --fake --json \
	--assert 'formula_error_max<=0.1' --assert 'early_pin_release<=0' --assert 'releases>=14' \
	--assert 'undocumented_results<=0' --assert 'copies_per_block<=1' --assert 'h2d_ratio>=0.95' --assert 'd2h_ratio>=0.95'
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
