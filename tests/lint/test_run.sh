#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The runner counts what it must count: a small tree of fake tests, and what tests/run says of it.
set -u
run=$(cd "$(dirname "$0")/.." && pwd)/run
tree=$(mktemp -d) || exit 1
trap 'rm -rf "$tree"' EXIT
mkdir -p "$tree"/tests/unit "$tree"/tests/integ "$tree"/tests/python "$tree"/build/tests/unit
cp "$run" "$tree/tests/run"

# fake NAME: a cmocka program that prints stdin's text as a shell script would
fake() {
	: > "$tree/tests/unit/$1.c"
	{ echo '#!/bin/sh'; cat; } > "$tree/build/tests/unit/$1"
	chmod +x "$tree/build/tests/unit/$1"
}

# expect NAME SKIPPED PASSED FAILED SENTENCE [TEXT]: run only NAME, compare the closing lines and the status
expect() {
	local out status want=0 end
	out=$(cd "$tree" && tests/run --build build --timeout "${LIMIT:-20}" --only "^(unit|integ|python)/$1(\\.|$)" 2>&1)
	status=$?
	end=$(printf '%s\n' "$out" | tail -n 2)
	[ "$4" -gt 0 ] && want=1
	if [ "$end" = "$2 skipped
$3 passed, $4 failed" ] && [ $status -eq $want ] && printf '%s\n' "$out" | grep -qF -- "${6:-}"; then
		echo "ok - $5"
	else
		echo "not ok - $5"
		printf '%s\n' "$out" | sed 's/^/# /'
	fi
}

fake good <<'T'
echo "1..2"; printf 'text without newlineok 1 - first\n'; echo "ok 2 - second"
T
expect good 0 2 0 "cases of a cmocka program are counted"

fake bad <<'T'
echo "1..2"; echo "not ok 1 - first"; echo "# 0x1 != 0x2"; echo "ok 2 - second"; exit 1
T
expect bad 0 1 1 "a failed case is counted and named" "failed: first"

fake skips <<'T'
echo "1..2"; echo "no huge pages here"; echo "not ok 1 # SKIP first"; echo "ok 2 - second"
T
expect skips 1 1 0 "a skipped case is counted with its reason" "skipped: first: no huge pages here"

fake crash <<'T'
echo "1..2"; echo "ok 1 - first"; kill -SEGV $$
T
expect crash 0 1 2 "a crash is a failure, and so is the case that did not report" "killed by SIGSEGV"

fake early <<'T'
echo "1..3"; echo "ok 1 - first"; exit 0
T
expect early 0 1 2 "a program that leaves early with status 0 fails its missing cases" "did not report"

fake silent <<'T'
exit 0
T
expect silent 0 0 1 "a cmocka program without a plan is a failure" "without a test plan"

fake status <<'T'
echo "1..1"; echo "ok 1 - first"; exit 99
T
expect status 0 1 1 "an exit status that no case explains is a failure (sanitizers)" "exit 99"

fake group <<'T'
echo "1..2"; echo "not ok 0 - group [  FAILED  ] GROUP SETUP"; exit 1
T
expect group 0 0 3 "a failed group set-up fails"

fake whole <<'T'
echo "no second NUMA node"; exit 77
T
expect whole 1 0 0 "exit 77 is one skip with its reason" "no second NUMA node"

fake hangs <<'T'
echo "1..1"; sleep 300 & echo $! > "$KVSHM_BUILD/hangs.pid"; wait
T
LIMIT=1 expect hangs 0 0 2 "a hanging program times out" "timed out"
# a killed process may take a moment to go; a zombie that nobody reaps is dead, too
is_dead_soon() {
	for _ in $(seq 50); do
		grep -q '^State:[[:space:]]*[^ZX[:space:]]' "/proc/$(cat "$tree/build/hangs.pid")/status" 2>/dev/null || return 0
		sleep 0.1
	done
	return 1
}

if ! is_dead_soon; then
	echo "not ok - what a test started is killed at its end"
else
	echo "ok - what a test started is killed at its end"
fi

: > "$tree/tests/unit/unbuilt.c"
expect unbuilt 0 0 1 "a test that was not built is a failure" "not built"

printf '#!/bin/sh\necho "ok - a"\necho "ok - b # SKIP no GPU"\necho "not ok - c"\n' > "$tree/tests/integ/tap.sh"
printf '#!/bin/sh\nexit 3\n' > "$tree/tests/integ/plain.sh"
printf '#!/bin/sh\ntest -d "$TMPDIR" && test -d "$KVSHM_BUILD" && ! read x\n' > "$tree/tests/integ/env.sh"
printf '#!/bin/sh\n# kvshm-test: alone timeout=30\nsleep 2\n' > "$tree/tests/integ/slow.sh"	# outlives the limit below
chmod +x "$tree"/tests/integ/*.sh
expect tap 1 1 1 "TAP lines of a shell test are counted" "no GPU"
expect plain 0 0 1 "a shell test without TAP is judged by its status"
LIMIT=1 expect slow 0 1 0 "a script that runs alone may also have a longer limit"
expect env 0 1 0 "a test gets TMPDIR, KVSHM_BUILD and an empty stdin"

cat > "$tree/tests/python/test_u.py" <<'T'
import unittest
class T(unittest.TestCase):
    def test_a(self): self.assertEqual(1, 1)
    def test_b(self): self.assertEqual(1, 2)
    def test_c(self): self.skipTest("no torch")
unittest.main()
T
expect test_u 1 1 1 "unittest's summary is counted"
if out=$(cd "$tree" && tests/run --build build --only nothing_of_this_name) || [ "${out%%$'\n'*}" != "nothing to run" ]; then
	echo "not ok - nothing to run is no success"
else
	echo "ok - nothing to run is no success"
fi

# stopped from outside: what ran is swept, the closing lines still come
rm -f "$tree/build/hangs.pid"
(cd "$tree" && exec tests/run --build build --timeout 60 --only '^unit/hangs$') > "$tree/stopped" 2>&1 &
runner=$!
for _ in $(seq 100); do
	[ -s "$tree/build/hangs.pid" ] && break
	sleep 0.1	# polls for the event, up to 10 s
done
kill -TERM $runner
wait $runner
status=$?
if [ $status -eq 143 ] && tail -n 1 "$tree/stopped" | grep -qx '0 passed, 1 failed' && is_dead_soon; then
	echo "ok - SIGTERM ends what runs and still gives counts"
else
	echo "not ok - SIGTERM ends what runs and still gives counts"
	sed 's/^/# /' "$tree/stopped"
fi
