#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# test_fence.sh - streaming stores end with a fence in the object code too (NT-1)
#
# No sanitizer sees a missing one, and the hardware shows it only between two busy cores
# (stress_ntcopy).  Here the instruction itself is looked for.
objects=${KVSHM_BUILD:-build}/obj
failed=0
listing=$(mktemp "${TMPDIR:-/tmp}/kvshm-fence.XXXXXX") || exit 1
trap 'rm -f "$listing"' EXIT

if [ "$(uname -m)" != x86_64 ] || ! command -v objdump > /dev/null || [ ! -f "$objects/kvshm/base/ntcopy.o" ]; then
	echo "no x86-64 object, or no objdump to look into it"
	exit 77
fi

# code OBJECT FUNCTION: its instructions and what they name; of the whole object, if it was inlined
code()
{
	objdump -dr --no-show-raw-insn --disassemble="$2" "$objects/$1.o" | grep . > "$listing"
	grep -q "<$2[.>]" "$listing" || objdump -dr --no-show-raw-insn "$objects/$1.o" > "$listing"
	cat "$listing"
}

# fenced OBJECT FUNCTION: an sfence, or a call of what has one
fenced()
{
	if code "$1" "$2" | grep -qE '[[:space:]]sfence|ntcopy_fence[-+>]'; then
		echo "ok - $2() ends its streaming stores"
	else
		echo "not ok - $2() ends its streaming stores"
		code "$1" "$2" | sed 's/^/# /'
		failed=1
	fi
}

fenced kvshm/base/ntcopy ntcopy_fence
fenced kvshm/base/ntcopy ntcopy
fenced kvshm/base/checksum checksum_copy
fenced kvshm/client/commit commit_send
fenced kvshm/client/credit send_return
fenced kvshm/client/session pins_close
exit $failed
