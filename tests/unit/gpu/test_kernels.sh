#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The kernels' text: the committed PTX is that of the sources, and assembles for the devices that are named.
set -u
cd "$(dirname "$0")/../../.." || exit 1
make_ptx=gpu/kernels/make-ptx
ptx=gpu/kernels/kernels.ptx
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
failed=0

ok() {		# ok SENTENCE COMMAND...
	sentence=$1
	shift
	if "$@" > "$work/out" 2>&1; then
		echo "ok - $sentence"
	else
		echo "not ok - $sentence"
		sed 's/^/# /' "$work/out"
		failed=1
	fi
}

skip() {
	echo "ok - $1 # SKIP $2"
}

found() {	# found NAME: where a tool is, the toolkit's folder included
	command -v "$1" || { [ -x "/usr/local/cuda/bin/$1" ] && echo "/usr/local/cuda/bin/$1"; }
}

ok 'committed text names the digest of these sources (else: make ptx-update)' \
	[ "$(sed -n '1s,^// sources ,,p' $ptx)" = "$($make_ptx --digest)" ]

if command -v clang-14 > /dev/null; then
	compiled_is_committed() { $make_ptx --update "$work/k.ptx" && diff -u $ptx "$work/k.ptx"; }
	ok 'committed text is what clang makes of them' compiled_is_committed
else
	skip 'committed text is what clang makes of them' 'no clang-14 here'
fi

# the few tools that the script needs, and no compiler
mkdir "$work/bin"
for tool in sh dirname cat sha256sum cut sed cp; do
	ln -s "$(command -v $tool)" "$work/bin/$tool"
done
without_compiler() { PATH=$work/bin CLANG=none $make_ptx "$work/plain.ptx" && cmp $ptx "$work/plain.ptx"; }
ok 'without a compiler the committed text is taken' without_compiler

if ptxas=$(found ptxas); then
	for sm in 80 90 100; do
		ok "assembles for sm_$sm, nothing spilt" sh -c \
			'"$1" -v -arch="$2" "$3" -o "$4" > "$5" 2>&1 || { cat "$5"; exit 1; }
			 cat "$5"; ! grep -E "[1-9][0-9]* bytes spill" "$5"' - \
			"$ptxas" "sm_$sm" $ptx "$work/k.cubin" "$work/log"
	done
else
	skip 'assembles for sm_80, sm_90, sm_100' 'no ptxas here'
fi

if nvcc=$(found nvcc); then
	ok 'nvcc compiles the sources too' "$nvcc" -ptx -O3 -I. gpu/kernels/kernels.cu -o "$work/n.ptx"
else
	skip 'nvcc compiles the sources too' 'no nvcc here'
fi
exit $failed
