#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# nixl.sh ENGINES - NIXL's Python package in ENGINES/nixl/venv, 340 MB out of wheels of 86 MB; only if it is missing
#
# The CUDA of its name is not wanted: its agent runs without a GPU.  Exit status 1 if it cannot be had here.
set -eu

root=$(mkdir -p "$1/nixl" && cd "$1/nixl" && pwd)
packages="nixl-cu12==1.5.1 numpy==2.3.5"

[ "$(cat "$root/.stamp" 2>/dev/null)" != "$packages" ] || exit 0
exec 9>"$root/.lock"
flock 9
rm -rf "$root/venv"
# shellcheck disable=SC2086
if python3 -m venv "$root/venv" >"$root/log" 2>&1 &&
	"$root/venv/bin/python" -m pip install -q --disable-pip-version-check --only-binary=:all: --no-deps $packages >>"$root/log" 2>&1 &&
	"$root/venv/bin/python" -c 'import nixl_cu12._bindings' >>"$root/log" 2>&1; then
	echo "$packages" >"$root/.stamp"
	exit 0
fi
echo "nixl: not available, see $root/log: $(tail -n 1 "$root/log")"
exit 1
