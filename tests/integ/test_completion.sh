#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Completion offers the commands and options that there are.
set -u
PATH=$(realpath "$KVSHM_BUILD"):$PATH
. utils/dist/completions/kvshm.bash
status=0

# offers WORD LINE...: is WORD offered behind LINE?
offers()
{
	local word=$1
	shift
	COMP_WORDS=("$@")
	COMP_CWORD=$(($# - 1))
	COMPREPLY=()
	_kvshm
	if printf '%s\n' "${COMPREPLY[@]}" | grep -qx -e "$word"; then
		echo "ok - $word behind: $*"
	else
		echo "not ok - $word behind: $*"
		printf '# %s\n' "${COMPREPLY[@]}"
		status=1
	fi
}

offers stat kvshm ''
offers verify kvshm ver
offers --json kvshm stat --j
offers --keys kvshm bench --k
offers match kvshm bench ma
offers --check-config kvshmd --ch
[ ! -x "$KVSHM_BUILD/kvshm-llama" ] || offers --serve kvshm-llama --s
exit $status
