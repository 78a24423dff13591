#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kvshm-test: timeout=120
# kvshm bench tier on the fake driver and the fake libcufile: both ways carry the same bytes, and each says why it is off.
: "${KVSHM_BUILD:=$PWD/build}" "${TMPDIR:=/tmp}"
tool=$KVSHM_BUILD/kvshm
. tests/lib/gives.sh
gives_command=("$tool" bench tier)

[ -x "$tool" ] && [ -f "$KVSHM_BUILD/fake/libcufile.so.0" ] || { echo "no $tool or fake library"; exit 77; }
unset KVSHM_LIBCUDA KVSHM_LIBCUFILE FAKE_CUDA_SCRIPT FAKE_CUFILE_SCRIPT
mkdir "$TMPDIR/files"
small="--fake --blocks 8 --json --dir $TMPDIR/files --assert wrong_bytes<=0"
gives 0 '"storage":"nvidia-fs 2.17"' 'both ways carry the same bytes' $small
gives 0 '"read_gb_per_s":null' 'what is simulated has no time' $small --order nhd
gives 0 '"block_bytes":5242880' 'blocks larger than all slices together' $small --model llama-3-70b --blocks 4
export FAKE_CUFILE_SCRIPT='short=65536'
gives 0 '"backend":"direct","is_on":true' 'a library that does less than it is asked for' $small
export FAKE_CUFILE_SCRIPT='nvfs=0'
gives 0 '"backend":"direct","is_on":false,"why_off":"compatibility mode' 'compatibility mode is off' $small
export FAKE_CUFILE_SCRIPT='fail=cuFileHandleRegister:1:5008'
gives 0 'does not serve this file system' 'a file system that it does not serve' $small
export FAKE_CUFILE_SCRIPT='fail=cuFileWrite:3:28'
gives 1 'No space left' 'a full disk is exit 1' $small
unset FAKE_CUFILE_SCRIPT
gives 1 '/nowhere' 'a directory that is not there is exit 1' --fake --blocks 8 --dir /nowhere
gives 1 'bench tier: no driver' 'a driver that is not there is exit 1' --fake=/nowhere/libcuda.so.1
if [ -z "$(ls "$TMPDIR/files")" ]; then
	echo 'ok - no file is left'
else
	ls "$TMPDIR/files" | sed 's/^/# /'
	echo 'not ok - no file is left'
	failed=1
fi
exit $failed
