#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kvshm-test: alone timeout=900
#
# plants.sh - mistakes that others have made, planted one by one: a named stage goes red for each
#
#   tests/crash/plants.sh [REGEX]	only the plants whose name matches
#
# A plant is one sed program in a copy of the tree.  The stage that is named with it is green on the tree
# as it stands, and must fail with the plant, each time and on a busy machine too: no stage waits for luck.
# What neither a test nor the hardware shows reliably (a fence) is looked for in the object code, or has a
# model: the access is there, and the model rejects its absence.
#
# Stages: a C test program; py a Python test; shell a check of the text or the object code; model.
only=${1:-.}
root=$PWD

for tool in make gcc python3; do
	if ! command -v $tool > /dev/null; then
		echo "$tool is not installed"
		exit 77
	fi
done
work=$(mktemp -d "${TMPDIR:-/tmp}/kvshm-plants.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
for part in Makefile Documentation/module.mk Documentation/examples kvshm ipc policy gpu utils tests; do
	[ -e "$root/$part" ] || continue
	mkdir -p "$work/tree/$(dirname $part)"
	cp -r "$root/$part" "$work/tree/$part" || exit 1
done
mkdir -p "$work/tree/build" "$work/tmp"
[ -e "$root/build/deps" ] && ln -s "$root/build/deps" "$work/tree/build/deps"
cd "$work/tree" || exit 1
unset MAKEFLAGS MAKELEVEL MFLAGS
export KVSHM_BUILD=$work/tree/build TMPDIR=$work/tmp
export KVSHM_DAEMON=$KVSHM_BUILD/kvshmd KVSHM_STORES=40000
failed=0 found=0
readonly UNBUILT=99 OUT_OF_TIME=124 LIMIT=120

# what a stage needs to be built
needs() {
	case $1 in
	py\ *) echo build/kvshmd ;;
	shell\ *) echo build/obj/{ipc/qp,kvshm/base/ntcopy,kvshm/base/checksum,kvshm/client/{commit,credit,session}}.o ;;
	*) echo "build/tests/$1" ;;
	esac
}

# build and run one stage: its status
stage() {
	local what=$1 program
	# shellcheck disable=SC2046
	make --no-print-directory -j"$(nproc)" WARN=-w $(needs "$what") > "$work/log" 2>&1 || return $UNBUILT
	case $what in
	py\ *) program="python3 tests/python/${what#* }.py" ;;
	shell\ *) program="tests/${what#* }.sh" ;;
	*) program=$(needs "$what") ;;
	esac
	# shellcheck disable=SC2086
	timeout -k 5 $LIMIT $program >> "$work/log" 2>&1
}

declare -A is_green
green() {
	[ -n "${is_green[$1]}" ] && { [ "${is_green[$1]}" = yes ]; return; }
	is_green[$1]=yes
	stage "$1" && return 0
	is_green[$1]=no
	echo "not ok - $1 is green as it stands"
	tail -n 20 "$work/log" | sed 's/^/# /'
	failed=1
	return 1
}

# verdict STATUS STAGE: what it says of a plant, empty: found
verdict() {
	case $1 in
	"$UNBUILT") echo "does not build" ;;
	0) echo "$2 stays green" ;;
	"$OUT_OF_TIME" | 137) echo "$2 is out of time" ;;
	esac
}

# plant NUMBER NAME STAGE FILE SED
plant() {
	local n=$1 name=$2 where=$3 file=$4 why
	[[ "$n $name" =~ $only ]] || return 0
	green "$where" || return 0
	sed -E "$5" "$root/$file" > "$file"
	if cmp -s "$root/$file" "$file"; then
		why="its line in $file is no longer there"
	else
		stage "$where" 2> /dev/null
		why=$(verdict $? "$where")
	fi
	cp "$root/$file" "$file"
	if [ -z "$why" ]; then
		echo "ok - $n $name: found by $where"
		found=$((found + 1))
		return 0
	fi
	echo "not ok - $n $name: $why"
	tail -n 20 "$work/log" | sed 's/^/# /'
	failed=1
}

# modelled NUMBER NAME MODEL MISTAKE FILE SED
modelled() {
	local n=$1 name=$2
	[[ "$n $name" =~ $only ]] || return 0
	if ! command -v spin > /dev/null; then
		echo "ok - $n $name: found by model $3 # SKIP spin is not installed"
		return 0
	fi
	sed -E "$6" "$root/$5" > "$5"
	if ! cmp -s "$root/$5" "$5" && "$root/tests/model/test_models.sh" "$3: rejects $4\$" > "$work/log" 2>&1 &&
		grep -q '^ok' "$work/log"; then
		echo "ok - $n $name: found by model $3 ($4)"
		found=$((found + 1))
	else
		echo "not ok - $n $name: model $3 ($4)"
		sed 's/^/# /' "$work/log"
		failed=1
	fi
	cp "$root/$5" "$5"
}

plant 1 "32-bit add overflow" fuzz/fuzz_sqe ipc/wire.c \
	's/sqe->off > args_len \|\| sqe->len > args_len - sqe->off/sqe->off + sqe->len > args_len/'
plant 2 "16-bit index" unit/ipc/test_qp ipc/qp.h 's/uint32_t own;/uint16_t own;/'
plant 3 "double fetch" "shell crash/test_copy_once" kvshm/daemon/opdef.c 's/r->args = r->w->args;/r->args = r->s->q.seg.args + off;/'
plant 4 "no zero-length check" fuzz/fuzz_sqe ipc/wire.c 's/rule->max_nr \? !sqe->nr \|\| /rule->max_nr ? /'
plant 5 "tail trusted" unit/ipc/test_qp ipc/ring.h 's/unlikely\(tail - e->own > e->mask \+ 1\)/0/'
plant 6 "commit without owner check" unit/kvshm/cache/test_commit kvshm/cache/grant.c \
	's/return state_owner\(w\) == owner \? 0 : -EPERM/return 0/'
plant 7 "no generation check" unit/kvshm/cache/test_grant kvshm/cache/grant.c \
	's/ \|\| state_generation\(w\) != ref.generation//'
plant 8 "8-bit generation" unit/kvshm/arena/test_block kvshm/arena/block.h \
	's/return \(uint32_t\)\(w >> KVSHM_GENERATION_SHIFT\)/return (uint8_t)(w >> KVSHM_GENERATION_SHIFT)/'
modelled 9 "pin without fence" pin NO_FENCE_READER kvshm/pin/slot.c '/PN-1: /{:a;N;/\n[^\n]*smp_mb\(\);/!{/\n}/b;ba};s/smp_mb\(\);/;/}'
plant 10 "parent evicted before leaf" crash/crash_stores kvshm/cache/reclaim.c \
	'/quarantined children are not pinned/,/return nr/s/for \(i = 0; i < nr; i\+\+\)/for (i = nr; i-- > 0;)/'
plant 11 "pinned victim restored without its ancestors" crash/crash_stores kvshm/pin/mark.c \
	's/id = k->m\[id\].parent;/id = 0;/'
plant 12 "leak on extra descriptors" fuzz/fuzz_handshake ipc/sock.c \
	'/^static int take_fds/,/^}/s/while \(nr > 0\)/while (0 \&\& nr > 0)/'
plant 13 "leak on repeated hello" "py test_daemon_handshake" kvshm/daemon/server.c \
	's/return s->state == SESSION_HELLO \? (welcome_hello\(.*\)) : -EBADMSG/return \1/'
plant 14 "publish before the copy is done" unit/kvshm/daemon/test_put kvshm/daemon/put.c \
	's/q->slice\[q->head & SLICE_MASK\].is_done/true/'
plant 15 "publish before its checksum" crash/crash_stores kvshm/arena/block.c \
	'/^void block_publish/,/^}/{/d->checksum/d;s/(.*store_release.*PUBLISHED.*)/\1\n\tWRITE_ONCE(d->checksum, info->checksum);/}'
if [ "$(uname -m)" = x86_64 ] && command -v objdump > /dev/null; then
	plant 16 "fill without sfence" "shell crash/test_fence" kvshm/base/ntcopy.c 's/_mm_sfence\(\);/(void)0;/'
elif [[ "16 fill without sfence" =~ $only ]]; then
	echo "ok - 16 fill without sfence # SKIP no x86-64 object code to look into"
fi
plant 17 "seals skipped" unit/ipc/test_segment ipc/memfd.c '/^int memfd_seal/,/^}/s/int now;/int now;\n\n\tif (fd >= 0)\n\t\treturn 0;/'
plant 18 "FUTURE_WRITE skipped" unit/ipc/test_segment ipc/memfd.c 's/F_SEAL_FUTURE_WRITE/0/'
plant 19 "hole shared" unit/kvshm/arena/test_backing kvshm/arena/backing.c \
	's/ret = fill_holes\(fd, len\);/ret = 0;/;s/return ret == 0 \? populate\(map, len\) : ret;/return ret;/'
plant 20 "salt not in the key" unit/kvshm/index/test_find kvshm/index/probe.h \
	's/READ_ONCE\(d->ns\) != ns \|\| //;s/ \^ \(ns \+ 1\) \* 0x9e3779b97f4a7c15ull//'
plant 21 "namespace checked in one layer only" unit/kvshm/cache/test_commit kvshm/cache/commit.c 's/d->ns != m->ns \|\| //'
plant 22 "CQ overflow drops" unit/kvshm/daemon/test_writer kvshm/daemon/writer.c 's/if \(\(uint32_t\)ret <= q->owed\)/if (0)/'
plant 23 "heartbeat declares death" "py test_daemon_handshake" kvshm/daemon/reaper.c \
	'/^void reaper_tick/,/^}/s/(if \(\(s->state == SESSION_HELLO)/if (s->state == SESSION_SERVING \&\& now_ns >= s->deadline_ns)\n\t\t\tremove_session(d, s);\n\t\telse \1/'
plant 24 "EVICTING recovered as free" crash/crash_stores kvshm/cache/recover.c \
	's/block_reopen\(desc_of\(c, id\)\);/block_free(desc_of(c, id));/'
# The import of this release is the staging window that a copy lcore reads; a device's comes with the device.
plant 25 "import closed before drain" unit/kvshm/daemon/test_put kvshm/daemon/writer_mail.c 's/if \(q->nr_copying\)/if (0)/'
plant 26 "stats reader spins unbounded" unit/kvshm/stats/test_statpage kvshm/stats/statpage.c \
	's/for \(int i = 0; i < READ_TRIES; i\+\+\)/for (;;)/'
# Our own, once; see Documentation/reliability.rst.
plant 27 "payload of a refused entry taken for the next one's" unit/kvshm/daemon/test_put kvshm/daemon/writer.c \
	's/is_stream_broken = true/is_stream_broken = false/'
echo "# $found plants found"
exit $failed
