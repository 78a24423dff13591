#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kvshm-test: alone timeout=600
#
# test_mutants.sh - every ordering label is bound to an access: weaken it, and something goes red
#
#   tests/stress/test_mutants.sh [REGEX]	only the mutants whose name matches
#
# A mutant is one sed line in a copy of the tree.  Those that TSan or the hardware can show must fail
# the stress test that is named with them; that test is green without the mutant.
#
# x86 keeps the order of loads among loads and stores among stores, and TSan judges plain data only,
# so an order between two atomic words shows in neither.  There a model stands for it: the mutant's
# sed line must still match (the access is there, under its label), and test_models.sh must reject
# the mistake of the same name.
only=${1:-.}
root=$PWD
models=$root/tests/model/test_models.sh
export TSAN_OPTIONS=halt_on_error=1:exitcode=66

for tool in make gcc; do
	if ! command -v $tool >/dev/null; then
		echo "$tool is not installed"
		exit 77
	fi
done
work=$(mktemp -d "${TMPDIR:-/tmp}/kvshm-mutants.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
for part in Makefile kvshm ipc policy gpu utils tests/module.mk tests/lib tests/fake tests/stress; do
	mkdir -p "$work/tree/$(dirname $part)"
	cp -r "$root/$part" "$work/tree/$part" || exit 1
done
cd "$work/tree" || exit 1
failed=0

report() {	# ok|bad NAME
	if [ "$1" = ok ]; then
		echo "ok - $2"
	else
		echo "not ok - $2"
		tail -n 30 "$work/log" | sed 's/^/# /'
		failed=1
	fi
}

# build SAN TEST: the test with what it needs
build() {
	local san=$1 test=$2
	[ "$san" = none ] && san=
	make --no-print-directory ${san:+SAN=$san} O="$work/b-$1" "$work/b-$1/tests/stress/$test" >"$work/log" 2>&1
}

run() {	# SAN TEST
	timeout 60 "$work/b-$1/tests/stress/$2" >"$work/log" 2>&1
}

declare -A is_green
# green SAN TEST: the unchanged test passes (once a run of this script)
green() {
	local key=$1/$2 verdict=bad
	[ -n "${is_green[$key]}" ] && return 0
	build "$1" "$2" && run "$1" "$2" && verdict=ok
	is_green[$key]=$verdict
	report $verdict "$2 is green as it stands ($1)"
}

# mutate FILE SED: status 1 if the line no longer matches
mutate() {
	sed -E "$2" "$root/$1" >"$1"
	! cmp -s "$root/$1" "$1" && return 0
	echo "the sed line changes nothing in $1: $2" >"$work/log"
	return 1
}

# red NAME SAN TEST FILE SED: the mutant fails the test, in one of three runs
red() {
	local name=$1 san=$2 test=$3 file=$4 verdict=bad i
	[[ $name =~ $only ]] || return 0
	green "$san" "$test"
	if mutate "$file" "$5" && build "$san" "$test"; then
		for i in 1 2 3; do
			run "$san" "$test" && continue
			# by a race that TSan reports, not by a crash of some other kind
			[ "$san" = tsan ] && ! grep -q 'data race' "$work/log" && continue
			verdict=ok
			break
		done
	fi
	report $verdict "$name: $test sees it ($san)"
	cp "$root/$file" "$file"
}

# modelled NAME MODEL MISTAKE FILE SED: the access is there, and the model knows its absence
modelled() {
	local name=$1 verdict=bad
	[[ $name =~ $only ]] || return 0
	mutate "$4" "$5" && grep -q "PLANT_$3" "$root/tests/model/$2.pml" && grep -q "$3" "$models" && verdict=ok
	report $verdict "$name: $2.pml stands for it ($3)"
	cp "$root/$4" "$4"
}

# after LABEL PATTERN REPLACEMENT [FIRST]: a sed program for the access below a label's comment;
# FIRST narrows it to the function whose head matches
after() {
	local change="/$1: /{:a;N;/\\n[^\\n]*$2/!{/\\n}/b;ba};s/$2/$3/}"
	[ -n "$4" ] && echo "/^[a-z].*$4\\(/,/^}/{$change}" || echo "$change"
}

# ---- descriptor ------------------------------------------------------------------------------
red "BK-1 release" tsan stress_resolve kvshm/arena/block.c \
	"$(after BK-1 'store_release\(&d->state,' 'WRITE_ONCE(d->state,' block_publish)"
red "BK-1 acquire" tsan stress_resolve kvshm/index/probe.h \
	"$(after BK-1 'load_acquire\(&d->state\)' 'READ_ONCE(d->state)')"
red "AU-1 second look" none stress_index kvshm/index/probe.h \
	's/again = READ_ONCE\(d->state\);/again = seen;/'
modelled "AU-1 fence" publish NO_AU1 kvshm/index/probe.h "$(after AU-1 'smp_acquire\(\);' ';')"
modelled "BK-1 acquire, from outside" publish NO_BK1_ACQUIRE utils/mirror.c \
	"$(after BK-1 'load_acquire\(&d->state\)' 'READ_ONCE(d->state)' read_block)"
modelled "AU-1 fence, from outside" publish NO_AU1 utils/mirror.c "$(after AU-1 'smp_acquire\(\);' ';' read_block)"
red "AU-1 second look, from outside" none stress_mirror utils/mirror.c 's/now = READ_ONCE\(d->state\);/now = word;/'
modelled "BK-2 fence" publish NO_BK2 kvshm/arena/block.c "$(after BK-2 'smp_release\(\);' ';' block_grant)"

# ---- index -----------------------------------------------------------------------------------
modelled "IX-1 release" publish NO_IX1_RELEASE kvshm/index/insert.c \
	"$(after IX-1 'store_release\(&b->slot' 'WRITE_ONCE(b->slot')"
modelled "IX-1 acquire" publish NO_IX1_ACQUIRE kvshm/index/probe.h \
	"$(after IX-1 'load_acquire\(&b->slot' 'READ_ONCE(b->slot' probe_match_bucket)"

# ---- pins ------------------------------------------------------------------------------------
modelled "PN-1 reader's fence" pin NO_FENCE_READER kvshm/pin/slot.c "$(after PN-1 'smp_mb\(\);' ';')"
modelled "PN-1 writer's fence" pin NO_FENCE_WRITER kvshm/cache/reclaim.c "$(after PN-1 'smp_mb\(\);' ';')"
red "PN-1 reader's second look" none stress_pin kvshm/pin/slot.c \
	's/if \(!is_unchanged\(.*\)\)/if (0 \&\& !is_unchanged(0, 0))/'
red "PN-1 scan" none stress_pin kvshm/pin/scan.c 's/return s->is_blind \|\| .*/return s->is_blind;/'
red "Invariant T: ancestors of a pin" none stress_pin kvshm/pin/mark.c 's/id = k->m\[id\].parent;/id = 0;/'
red "PN-2 release" tsan stress_pin kvshm/pin/slot.c \
	"$(after PN-2 'store_release\(&t->word\[slot\],' 'WRITE_ONCE(t->word[slot],')"

# ---- completion words of GPU layers ----------------------------------------------------------
red "GL-1 release" tsan stress_stage_word gpu/stage_word.h "$(after GL-1 'store_release\(word,' 'WRITE_ONCE(*word,')"
red "GL-1 acquire" tsan stress_stage_word gpu/stage_word.h "$(after GL-1 'load_acquire\(word\)' 'READ_ONCE(*word)')"

# ---- queue pair ------------------------------------------------------------------------------
for f in sq:QP-1:QP-2 cq:QP-3:QP-4; do
	IFS=: read -r q there back <<<"$f"
	red "$there release" tsan stress_qp ipc/qp.c \
		"$(after $there 'store_release\(&e->ctl->tail,' 'WRITE_ONCE(e->ctl->tail,' ${q}_push)"
	red "$there acquire" tsan stress_qp ipc/qp.c \
		"$(after $there 'load_acquire\(&e->ctl->tail\)' 'READ_ONCE(e->ctl->tail)' ${q}_pop)"
	red "$back release" tsan stress_qp ipc/qp.c \
		"$(after $back 'store_release\(&e->ctl->head,' 'WRITE_ONCE(e->ctl->head,' ${q}_pop)"
	red "$back acquire" tsan stress_qp ipc/qp.c \
		"$(after $back 'load_acquire\(&e->ctl->head\)' 'READ_ONCE(e->ctl->head)' ${q}_push)"
done
modelled "DB-1 fence of who rings" doorbell NO_FENCE_CLIENT ipc/doorbell.c \
	"$(after DB-1 'smp_mb\(\);' ';' doorbell_ring)"
modelled "DB-1 fence of who sleeps" doorbell NO_FENCE_WRITER ipc/doorbell.c \
	"$(after DB-1 'smp_mb\(\);' ';' doorbell_arm)"
modelled "DB-1 fence of who wakes the client" doorbell NO_FENCE_CLIENT ipc/doorbell.c \
	"$(after DB-1 'smp_mb\(\);' ';' doorbell_wake_client)"
modelled "DB-1 fence of the client that sleeps" doorbell NO_FENCE_WRITER ipc/doorbell.c \
	"$(after DB-1 'smp_mb\(\);' ';' doorbell_client_arm)"

for end in 'release store_release tail touch_push' 'acquire load_acquire tail touch_drain' \
	   'release store_release head touch_drain' 'acquire load_acquire head touch_push'; do
	read -r kind call word function <<<"$end"
	if [ $kind = release ]; then
		change=$(after TR-1 "store_release\\(&e->ctl->$word," "WRITE_ONCE(e->ctl->$word," $function)
	else
		change=$(after TR-1 "load_acquire\\(&e->ctl->$word\\)" "READ_ONCE(e->ctl->$word)" $function)
	fi
	red "TR-1 $kind of the $word" tsan stress_touch ipc/touch.c "$change"
done

# ---- staging window, mailbox of a thread -------------------------------------------------------
modelled "SG-1 release" message NO_PRODUCER_RELEASE kvshm/client/staging.c \
	"$(after SG-1 'store_release\(' 'store_relaxed(')"
modelled "SG-1 acquire" message NO_CONSUMER_ACQUIRE kvshm/daemon/put.c \
	"$(after SG-1 'load_acquire\(' 'load_relaxed(')"
modelled "SG-2 release" message NO_CONSUMER_RELEASE kvshm/daemon/put.c \
	"$(after SG-2 'store_release\(' 'store_relaxed(')"
modelled "SG-2 acquire" message NO_PRODUCER_ACQUIRE kvshm/client/staging.c \
	"$(after SG-2 'load_acquire\(' 'load_relaxed(')"
modelled "TH-1 fence of the sender" doorbell NO_FENCE_CLIENT kvshm/daemon/mailbox.c \
	"$(after TH-1 'smp_mb\(\);' ';' mailbox_send)"
modelled "TH-1 fence of the receiver" doorbell NO_FENCE_WRITER kvshm/daemon/mailbox.c \
	"$(after TH-1 'smp_mb\(\);' ';' mailbox_arm)"

# ---- payload ---------------------------------------------------------------------------------
if [ "$(nproc)" -ge 2 ] && [ "$(uname -m)" = x86_64 ]; then
	red "NT-1 fence" none stress_ntcopy kvshm/base/ntcopy.c 's/_mm_sfence\(\);/(void)0;/'
else
	echo "ok - NT-1 fence: stress_ntcopy sees it # SKIP needs two x86-64 cores"
fi

modelled "RL-1 release" relocate NO_RL1_RELEASE kvshm/arena/block.c \
	"$(after RL-1 'store_release\(&d->page,' 'WRITE_ONCE(d->page,' block_move)"
modelled "PN-1 fence of a move" relocate NO_MOVE_FENCE kvshm/cache/reclaim.c "$(after PN-1 'smp_mb\(\);' ';')"
modelled "PN-1 fence of a reader beside a move" relocate NO_PIN_FENCE kvshm/pin/slot.c \
	"$(after PN-1 'smp_mb\(\);' ';')"

# ---- tables ----------------------------------------------------------------------------------
red "SB-1 release" tsan stress_tables kvshm/arena/directory.c \
	"$(after SB-1 'store_release\(&dir->sb->state,' 'WRITE_ONCE(dir->sb->state,' directory_set_state)"
red "SB-1 acquire" tsan stress_tables kvshm/arena/directory.c \
	"$(after SB-1 'load_acquire\(&dir->sb->state\)' 'READ_ONCE(dir->sb->state)' directory_state)"
red "NS-1 release" tsan stress_tables kvshm/cache/namespace.c \
	"$(after NS-1 'store_release\(&e->state,' 'WRITE_ONCE(e->state,')"
red "NS-1 acquire" tsan stress_tables kvshm/arena/namespace.h \
	"$(after NS-1 'load_acquire\(&dir->ns\[ns\]\.state\)' 'READ_ONCE(dir->ns[ns].state)')"
red "XT-1 release" tsan stress_tables kvshm/arena/extent.c \
	"$(after XT-1 'store_release\(&dir->sb->nr_extents,' 'WRITE_ONCE(dir->sb->nr_extents,')"
red "XT-1 acquire" tsan stress_tables kvshm/arena/extent.c \
	"$(after XT-1 'load_acquire\(&dir->sb->nr_extents\)' 'READ_ONCE(dir->sb->nr_extents)')"

# ---- statistics page -------------------------------------------------------------------------
modelled "ST-1 writer's fence" seqlock NO_WRITER_FENCE kvshm/stats/statpage.c \
	"$(after ST-1 'smp_release\(\);' ';' stat_session)"
modelled "ST-1 release" seqlock NO_WRITER_RELEASE kvshm/stats/statpage.c \
	"$(after ST-1 'store_release\(&p->page->session_seq,' 'WRITE_ONCE(p->page->session_seq,' stat_session)"
modelled "ST-1 acquire" seqlock NO_READER_ACQUIRE kvshm/stats/statpage.c \
	"$(after ST-1 'load_acquire\(&p->page->session_seq\)' 'READ_ONCE(p->page->session_seq)' stat_get_session)"
modelled "ST-1 reader's fence" seqlock NO_READER_FENCE kvshm/stats/statpage.c \
	"$(after ST-1 'smp_acquire\(\);' ';' stat_get_session)"

# ---- events ----------------------------------------------------------------------------------
modelled "EV-1 writer's fence" seqlock NO_WRITER_FENCE kvshm/stats/events.c \
	"$(after EV-1 'smp_release\(\);' ';' events_push)"
modelled "EV-1 release" seqlock NO_WRITER_RELEASE kvshm/stats/events.c \
	"$(after EV-1 'store_release\(&at->seq,' 'WRITE_ONCE(at->seq,' events_push)"
modelled "EV-1 acquire" seqlock NO_READER_ACQUIRE kvshm/stats/events.c \
	"$(after EV-1 'load_acquire\(&at->seq\)' 'READ_ONCE(at->seq)' read_one)"
modelled "EV-1 reader's fence" seqlock NO_READER_FENCE kvshm/stats/events.c \
	"$(after EV-1 'smp_acquire\(\);' ';' read_one)"
red "EV-1 second look" none stress_events kvshm/stats/events.c \
	's/ \|\| READ_ONCE\(at->seq\) != number \+ 1\)/)/'
modelled "EV-2 release" message NO_PRODUCER_RELEASE kvshm/stats/events.c \
	"$(after EV-2 'store_release\(&r->page->next,' 'WRITE_ONCE(r->page->next,' events_push)"
modelled "EV-2 acquire" message NO_CONSUMER_ACQUIRE kvshm/stats/events.c \
	"$(after EV-2 'load_acquire\(&r->page->next\)' 'READ_ONCE(r->page->next)' events_next)"
exit $failed
