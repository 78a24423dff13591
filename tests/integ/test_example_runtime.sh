#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Documentation/examples/stage.c with its engine in the CUDA runtime API: compiled and linked as a user would, where the
# toolkit is installed, and run over the fake driver with a runtime that the tests have.
set -u
. tests/lib/daemon.sh
. tests/lib/say.sh
dir=$TMPDIR/runtime
say_logs=("$dir/log")

# compile OUTPUT LIBRARY...
compile()
{
	local out=$1
	shift
	${CC:-cc} -std=gnu11 -O1 -g -Wall -Wextra -Werror -Wno-unused-parameter -DENGINE_RUNTIME -Ikvshm/include -isystem "$include" \
		-o "$out" Documentation/examples/stage.c -L"$KVSHM_BUILD" -lkvshm -Wl,-rpath,"$(realpath "$KVSHM_BUILD")" "$@"
}

include=
for d in ${CUDA_HOME:-} /usr/local/cuda /usr/local/cuda-* /usr/local /usr /usr/lib/cuda; do
	[ -f "$d/include/cuda_runtime_api.h" ] && include=$d/include && break
done
[ -n "$include" ] || { echo "no cuda_runtime_api.h here: the CUDA toolkit is not installed"; exit 77; }
mkdir -p "$dir"

lib=
for d in "${include%/include}"/lib64 "${include%/include}"/lib /usr/lib/x86_64-linux-gnu; do
	[ -e "$d/libcudart.so" ] && lib=$d && break
done
if [ -n "$lib" ]; then
	compile "$dir/linked" -L"$lib" -lcudart > "$dir/log" 2>&1
	say $? "the engine's side links with the CUDA runtime"
else
	echo "ok - the engine's side links with the CUDA runtime # SKIP no libcudart.so beside $include"
fi

fake=$KVSHM_BUILD/fake/libcuda.so.1
if nm -D "$fake" "$KVSHM_BUILD/libkvshm.so" 2> /dev/null | grep -qE '__(asan|tsan|ubsan)_'; then
	echo "ok - it loads and saves # SKIP a sanitizer build: this program has none"
	exit $status
fi
{
	${CC:-cc} -std=gnu11 -O1 -g -Wall -Werror -fPIC -shared -isystem "$include" -o "$dir/libcudart.so" tests/fake/cudart/cudart.c &&
		compile "$dir/stage" "$dir/libcudart.so" -Wl,-rpath,"$dir"
} > "$dir/log" 2>&1
say $? "it is built with the tests' runtime"

start_daemon "$dir" || { say 1 "the daemon starts"; exit 1; }
export KVSHM_SOCKET=$daemon_socket KVSHM_LIBCUDA=$fake
head -c 700000 /dev/urandom > "$dir/prompt"
"$dir/stage" "$dir/prompt" > "$dir/log" 2>&1
grep -q '(simulated): loaded 0, computed 10, saved 10, right on the device 10 of 10' "$dir/log"
say $? "what the runtime's stream has computed is saved"
"$dir/stage" "$dir/prompt" > "$dir/log" 2>&1
grep -q '(simulated): loaded 10, computed 0, saved 0, right on the device 10 of 10' "$dir/log"
say $? "another engine loads it, its stream waits for each layer"
FAKE_CUDA_SCRIPT='devices=0' "$dir/stage" "$dir/prompt" > "$dir/log" 2>&1
[ $? = 1 ] && grep -q 'cudaSetDevice: an error' "$dir/log"
say $? "a machine without a device is told so"
# the driver API's engine finds what the runtime's has saved
"$KVSHM_BUILD/examples/stage" "$dir/prompt" > "$dir/log" 2>&1
grep -q '(simulated): loaded 10, computed 0' "$dir/log"
say $? "an engine in the driver API loads the same blocks"
exit $status
