#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# lmcache.sh ENGINES - LMCache in ENGINES/lmcache/venv, 130 MB, beside ENGINES/vllm/venv
exec "$(dirname "$0")/beside_vllm.sh" lmcache "$1" lmcache bench l2 --help
