#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# test_copy_once.sh - what a client writes is copied once, and the copy is what is looked at (R1)
#
# Arguments: one memcpy() into the writer's own memory, of a long entry one a step.  Index words and counters: one ordered or
# relaxed load each.  Ring entries: ring_load(), which the object code has once too.
root=${1:-$PWD}
cd "$root" || exit 1
failed=0

say() {	# STATUS NAME, findings in $found
	if [ "$1" -eq 0 ]; then
		echo "ok - $2"
	else
		echo "not ok - $2"
		sed 's/^/# /' <<< "$found"
		failed=1
	fi
}

found=$(grep -nE 'seg(\.|->)args\b' kvshm/daemon/*.c | grep -vE ':[[:space:]]*memcpy\(r->w->args, r->s->q\.seg\.args \+ off, len\);$')
[ -z "$found" ]
say $? "arguments are read by one memcpy"

found=$(grep -nE '(seg\.hdr|segment)->(sq|cq|touch|staging|counter|client_asleep)' kvshm/daemon/*.c |
	grep -vE '(READ_ONCE|WRITE_ONCE|load_acquire|store_release)\(&?[^;]*->(sq|cq|touch|staging|counter|client_asleep)|_init\(')
[ -z "$found" ]
say $? "index words and counters are read by one load"

found=$(grep -nE '\b(ring|slot)\[[^]]*\]|\*\(.*->ring' ipc/qp.c ipc/touch.c)
[ -z "$found" ]
say $? "ring entries are read by ring_load()"

object=${KVSHM_BUILD:-build}/obj/ipc/qp.o
if [ "$(uname -m)" = x86_64 ] && [ -f "$object" ] && command -v objdump > /dev/null && ! grep -q -- -fsanitize "${object%/ipc/qp.o}/flags"; then
	# what sq_pop(end %rdi, entry %rsi) loads by other pointers: a word in a loop or each word, the tail
	loads=$(objdump -d --no-show-raw-insn --disassemble=sq_pop "$object" | grep -oE 'mov +(0x[0-9a-f]+)?\(%r[^ds][^)]*\),%[a-z0-9]+$')
	words=$(grep -cE ',%r([a-ds][a-z]|[0-9]+)$' <<< "$loads") tails=$(grep -cE ',%(e..|r[0-9]+d)$' <<< "$loads")
	found="$words loads of 8 bytes and $tails of 4 in sq_pop()"
	{ [ "$words" -eq 1 ] || [ "$words" -eq 8 ]; } && [ "$tails" -eq 1 ]
	say $? "the compiler loads each word of an entry once"
else
	echo "ok - the compiler loads each word of an entry once # SKIP no plain x86-64 object here"
fi
exit $failed
