#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# sglang.sh ENGINES - what of SGLang runs without a GPU in ENGINES/sglang/venv, 950 MB out of 230 MB of wheels,
# beside ENGINES/vllm/venv: its host cache and storage backends; the engine, but for its kernels
exec "$(dirname "$0")/beside_vllm.sh" sglang "$1" python -c "import sglang.srt.managers.cache_controller"
