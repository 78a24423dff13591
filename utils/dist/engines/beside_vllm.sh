#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# beside_vllm.sh - install an engine on top of the vLLM that vllm.sh has made; only if it is missing
#
# usage: beside_vllm.sh NAME ENGINES PROGRAM...
#   NAME     NAME.txt beside this script lists the packages; ENGINES/NAME/venv is made here
#   ENGINES  build/engines: ENGINES/vllm/venv has torch and all else that the packages need
#   PROGRAM  of that environment, with arguments: runs if the engine can be used
# Exit status 1 if it cannot be had here, with the reason.
set -eu

name=$1
engines=$(mkdir -p "$2" && cd "$2" && pwd)
program=$3
shift 3
packages=$(cd "$(dirname "$0")" && pwd)/$name.txt
root=$engines/$name
python=$root/venv/bin/python
vllm=$engines/vllm/venv/bin/python
whole=$engines/vllm/.packages

say() { printf 'engines: %s\n' "$*"; }

[ ! -f "$root/.stamp" ] || ! cmp -s "$packages" "$root/.stamp" || exit 0
if ! [ -f "$whole" ] || ! site=$("$vllm" -c 'import sysconfig, torch; print(sysconfig.get_path("purelib"))' 2>/dev/null); then
	say "no whole vLLM in $engines/vllm: run vllm.sh first"
	exit 1
fi
mkdir -p "$root"
exec 9>"$root/.lock"
flock 9		# two builds may set up at once
rm -rf "$root/.stamp" "$root/venv"	# in this order: a half one has no stamp
say "$name in $root/venv"
start=$(date +%s)
if "$vllm" -m venv "$root/venv" >"$root/log" 2>&1 &&
	"$python" -m pip install -q --disable-pip-version-check --only-binary=:all: --no-deps \
		-r "$packages" >>"$root/log" 2>&1 &&
	echo "$site" >"$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/vllm.pth" &&
	LMCACHE_TRACK_USAGE=false DO_NOT_TRACK=1 "$root/venv/bin/$program" "$@" >>"$root/log" 2>&1; then
	cp "$packages" "$root/.stamp"
	say "  $(($(date +%s) - start)) s"
	exit 0
fi
say "not available, see $root/log: $(tail -n 1 "$root/log")"
exit 1
