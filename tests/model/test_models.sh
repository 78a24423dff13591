#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kvshm-test: timeout=180
#
# test_models.sh - each model holds, over all its states; each planted mistake is found
#
#   tests/model/test_models.sh [REGEX]     only the cases whose name matches
#
# A clean case must be exhaustive: no error, no truncated search.  A planted one must be rejected by
# the property that the model is about, not by running out of anything.
here=$(cd "$(dirname "$0")" && pwd)
only=${1:-.}

for tool in spin gcc; do
	if ! command -v $tool >/dev/null; then
		echo "$tool is not installed"
		exit 77
	fi
done
work=$(mktemp -d "${TMPDIR:-/tmp}/kvshm-model.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failed=0

# verify MODEL DEFINES...: the verifier's output in $work/log; status 0 if it ran
verify() {
	local model=$1
	shift
	rm -f pan pan.* log
	spin "$@" -a "$here/$model.pml" >log 2>&1 || return 1
	gcc $opt -w -DSAFETY -DNOCLAIM -DCOLLAPSE -o pan pan.c >>log 2>&1 || return 1
	./pan -m100000 -n -w22 >log 2>&1
}

report() {
	if [ "$1" = ok ]; then
		echo "ok - $2"
	else
		echo "not ok - $2"
		sed 's/^/# /' log | head -40
		failed=1
	fi
}

# clean NAME MODEL DEFINES...
clean() {
	local name="$2: holds, $1" verdict=bad opt=-O2
	shift
	[[ $name =~ $only ]] || return 0
	if verify "$@" && grep -q 'errors: 0$' log && ! grep -qiE 'search not completed|max search depth|out of memory' log; then
		verdict=ok
		name="$name ($(sed -n 's/^ *\([0-9]*\) states, stored.*/\1/p' log) states)"
	fi
	report $verdict "$name"
}

# planted MISTAKE MODEL DEFINES...
planted() {
	local mistake=$1 name="$2: rejects $1" verdict=bad opt=-O0
	shift
	[[ $name =~ $only ]] || return 0
	grep -q "PLANT_$mistake" "$here/$1.pml" && verify "$@" "-DPLANT_$mistake" &&
		grep -qE 'pan:1: (assertion violated|invalid end state)' log && verdict=ok
	report $verdict "$name"
}

clean "two readers, an eviction, a crash" pin -DNR=2 -DEVICTIONS=1 -DCRASHES=1
clean "two readers, two evictions" pin -DNR=2 -DEVICTIONS=2 -DCRASHES=0
clean "a reader twice, two evictions, a crash" pin -DNR=1 -DACQUIRES=2 -DEVICTIONS=2 -DCRASHES=1
for mistake in NO_FENCE_READER NO_FENCE_WRITER NO_SECOND_LOOK NO_SCAN ONE_BY_ONE RECOVER_FREE ROOT_FIRST DROP_EARLY; do
	planted $mistake pin -DNR=1
done

clean "one descriptor, two lives" publish
for mistake in NO_BK1_RELEASE NO_BK1_ACQUIRE NO_BK2 NO_AU1 NO_IX1_RELEASE NO_IX1_ACQUIRE; do
	planted $mistake publish
done

clean "a ring of one" message
for mistake in NO_PRODUCER_ACQUIRE NO_PRODUCER_RELEASE NO_CONSUMER_ACQUIRE NO_CONSUMER_RELEASE; do
	planted $mistake message
done

clean "a sleeper and its bell" doorbell
for mistake in NO_FENCE_CLIENT NO_FENCE_WRITER; do
	planted $mistake doorbell
done

clean "many words" seqlock
for mistake in NO_WRITER_FENCE NO_WRITER_RELEASE NO_READER_ACQUIRE NO_READER_FENCE; do
	planted $mistake seqlock
done

clean "a block that moves" relocate
for mistake in NO_RL1_RELEASE NO_MOVE_FENCE NO_PIN_FENCE; do
	planted $mistake relocate
done

clean "a daemon that dies twice, a pin and a grant over it" restart
for mistake in EVICTING_FREED GRANT_FREED QUARANTINE_FREED NO_OLD_PINS NO_REPAIR; do
	planted $mistake restart
done
exit $failed
