#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kvshm stat, clients, verify and drop beside a daemon that runs, hangs, is dead: what they say, their exit statuses.
. tests/lib/daemon.sh
tool=$KVSHM_BUILD/kvshm
dir=$TMPDIR/d
. tests/lib/gives.sh
gives_command=("$tool")

daemon_state_is() { [ "$(sed 's/.*) //' "/proc/$daemon_pid/stat" | cut -c1)" = "$1" ]; }

# answers_in_100_ms SENTENCE: one of many, for the machine may be busy
answers_in_100_ms()
{
	local begin best=1000000 us end=$((SECONDS + 30))
	while [ $best -ge 100000 ] && [ $SECONDS -lt $end ]; do
		begin=${EPOCHREALTIME/./}
		"$tool" stat --socket "$daemon_socket" > "$TMPDIR/out" 2>&1
		us=$((${EPOCHREALTIME/./} - begin))
		[ $us -lt $best ] && best=$us
	done
	if [ $best -lt 100000 ]; then ok "$1"; else echo "# $best us" >> "$TMPDIR/out"; not_ok "$1"; fi
}

# Flip a bit in the key of the first block that has one.
plant_corruption()
{
	python3 - "$1/directory" <<'PY'
import struct, sys
with open(sys.argv[1], "r+b") as f:
    head = f.read(128)
    desc_off, = struct.unpack_from("<Q", head, 88)
    max_blocks, = struct.unpack_from("<I", head, 112)
    for block in range(1, max_blocks + 1):
        f.seek(desc_off + 64 * block)
        desc = f.read(64)
        if desc[0] & 15 and any(desc[8:40]):
            f.seek(desc_off + 64 * block + 8)
            f.write(bytes([desc[8] ^ 1]))
            sys.exit(0)
sys.exit("no block")
PY
}

gives 1 'no daemon' 'no daemon: stat says so' stat --socket "$TMPDIR/none/kvshm.sock"
gives 1 'no daemon' 'no daemon: clients says so' clients --socket "$TMPDIR/none/kvshm.sock"
gives 1 'no daemon' 'no daemon: verify says so' verify --socket "$TMPDIR/none/kvshm.sock"
gives 1 'no daemon' 'no daemon: drop says so' drop --namespace 1 --socket "$TMPDIR/none/kvshm.sock"
gives 2 'unknown command "state"' 'an unknown command is a usage error' state
for c in stat clients verify drop bench load; do
	gives 2 "kvshm $c: unrecognized option '--nope'" "an unknown option of $c is a usage error" $c --nope
	gives 0 "usage: kvshm $c" "$c --help prints its options" $c --help
done

start_daemon "$dir" || { echo "not ok - the daemon starts"; sed 's/^/# /' "$dir/log"; exit 1; }
"$tool" load --procs 2 --seconds 1 --socket "$daemon_socket" > "$TMPDIR/out" 2>&1 || not_ok "a load fills it"
gives 0 ' running' 'stat says that it runs' stat --socket "$daemon_socket"
gives 0 '"schema":"kvshm.stat/1"' 'stat --json is an object with a schema' stat --json --socket "$daemon_socket"
if python3 -c '
import json, sys
m = json.loads(open(sys.argv[1]).read())["metrics"]
parts = [m["kvshm_arena_%s_bytes" % s] for s in ("free", "granted", "published", "quarantined")]
assert sum(parts) == m["kvshm_arena_capacity_bytes"], parts
assert parts[2] > 0' "$TMPDIR/out" 2>> "$TMPDIR/out"; then
	ok 'free + granted + published + quarantined = capacity'
else
	not_ok 'free + granted + published + quarantined = capacity'
fi
gives 0 'evicted\|touched' 'stat events tells what happened last' stat events --socket "$daemon_socket"
gives 0 ' load$' 'stat namespaces knows them by label' stat namespaces --socket "$daemon_socket"
gives 0 'pages$' 'stat numa lists the extents' stat numa --socket "$daemon_socket"
gives 0 '^op=commit *[1-9]' 'stat hist has times of commits' stat hist --socket "$daemon_socket"
gives 0 'BELOW' 'stat hist NAME has the cells' stat hist op=commit --socket "$daemon_socket"
(cd "$dir/run" && "$tool" stat events --socket kvshm.sock) > "$TMPDIR/out" 2>&1 && grep -q 'EVENT' "$TMPDIR/out" &&
	ok 'a socket without a directory is the one here' || not_ok 'a socket without a directory is the one here'
# what the admin guide tells people to type: nothing is complained about (statuses may be those of --check and doctor)
sed -nE 's/^    kvshm ((stat|clients|doctor|verify)( .*)?)$/\1/p' Documentation/admin-guide/*.rst | sed -E 's/ +(#|[|>]+ ).*//' | grep -v -- --watch > "$TMPDIR/typed"
while read -r line; do
	eval "timeout 30 \"$tool\" $line --socket \"$daemon_socket\"" 2> "$TMPDIR/out" > /dev/null
	[ ! -s "$TMPDIR/out" ] || not_ok "the admin guide: kvshm $line"
done < "$TMPDIR/typed"
[ "$(wc -l < "$TMPDIR/typed")" -gt 12 ] && ok 'the commands of the admin guide are understood' || not_ok 'the admin guide has commands'
gives 0 'LABEL' 'clients lists those who are attached' clients --socket "$daemon_socket"
gives 0 ': clean' 'verify is clean while it runs' verify --socket "$daemon_socket"
gives 0 '"is_clean":true' 'verify --json says so too' verify --json --socket "$daemon_socket"
gives 0 ' load$' 'drop --list names the namespaces' drop --list --socket "$daemon_socket"
gives 2 'no namespace 9' 'drop of a namespace that is not there is refused' drop --namespace 9 --socket "$daemon_socket"
# the load has two namespaces, and either may have been evicted wholly by the other
full=$("$tool" stat namespaces --csv --no-header -s blocks -o namespace --socket "$daemon_socket" | tr -d '\r' | head -n 1)
gives 0 '^[1-9][0-9]* blocks dropped' 'drop removes the blocks of a namespace' \
	drop --namespace "$full" --socket "$daemon_socket"
gives 0 '^0 blocks dropped' 'and finds none the second time' drop --namespace "$full" --socket "$daemon_socket"

esc=$(printf '\033')
gives 0 "${esc}\[32mrunning" 'colours are there when asked for' stat --color always --socket "$daemon_socket"
gives 0 "${esc}\[1mSLOT" 'also in the titles of a view' clients --color always --socket "$daemon_socket"
gives 2 'auto, always or never' 'another word for colours is refused' stat --color red --socket "$daemon_socket"
"$tool" stat --socket "$daemon_socket" > "$TMPDIR/out"
if grep -q "$esc" "$TMPDIR/out"; then not_ok 'no colour goes into a file'; else ok 'no colour goes into a file'; fi
python3 - "$tool" "$daemon_socket" > "$TMPDIR/out" 2>&1 <<'PY' && ok 'a terminal gets colours, unless NO_COLOR is set' || not_ok 'a terminal gets colours, unless NO_COLOR is set'
import os, pty, sys
def seen(**env):
    pid, fd = pty.fork()
    if not pid:
        base = {k: v for k, v in os.environ.items() if k != "NO_COLOR"}
        os.execve(sys.argv[1], [sys.argv[1], "stat", "--socket", sys.argv[2]], {**base, "TERM": "xterm", **env})
    text = b""
    while True:
        try:
            more = os.read(fd, 65536)
        except OSError:
            more = b""
        if not more:
            break
        text += more
    os.waitpid(pid, 0)
    return b"\033[32mrunning" in text
assert seen() and not seen(NO_COLOR="1") and not seen(TERM="dumb")
PY

"$tool" load --procs 2 --seconds 1 --socket "$daemon_socket" > "$TMPDIR/out" 2>&1 || not_ok "a load fills it again"
kill -STOP "$daemon_pid"
wait_until 10 daemon_state_is T
gives 7 'stopped  STALE' 'a stopped daemon is told, exit 7' stat --socket "$daemon_socket"
gives 7 '"is_stale":true' 'also as JSON' stat --json --socket "$daemon_socket"
gives 7 'STALE: the daemon is stopped' 'clients says that its lines are stale' clients --socket "$daemon_socket"
answers_in_100_ms 'stat answers within 100 ms while it is stopped'
kill -CONT "$daemon_pid"
# killed under somebody's eyes
"$tool" stat --watch=0.1 --count 600 --batch --socket "$daemon_socket" > "$TMPDIR/watched" 2>&1 &
watcher=$!
wait_until 10 grep -q ' running' "$TMPDIR/watched"
stop_daemon "$dir" KILL
wait_until 10 grep -q 'dead  STALE' "$TMPDIR/watched"
kill $watcher; wait $watcher 2> /dev/null
cp "$TMPDIR/watched" "$TMPDIR/out"
if grep -q ' running' "$TMPDIR/out" && grep -q 'dead  STALE' "$TMPDIR/out"; then
	ok 'who watches sees the daemon die, and goes on seeing its last values'
else
	not_ok 'who watches sees the daemon die, and goes on seeing its last values'
fi
gives 2 'without a blank: -w5' 'seconds behind a blank are told how to be written' stat -w 5 --socket "$daemon_socket"
gives 2 'limits of --check' 'limits without --check are refused' stat --warn 'hit_ratio<1' --socket "$daemon_socket"
gives 2 'rate or --total' 'both spans at once are refused' stat --rate --total --socket "$daemon_socket"
gives 1 'dead  STALE' 'a dead daemon is told, exit 1' stat --socket "$daemon_socket"
answers_in_100_ms 'stat answers within 100 ms when it is dead'
gives 0 ': clean' 'verify is clean after SIGKILL' verify --socket "$daemon_socket"
gives 1 'no daemon\|dead' 'drop needs a living daemon' drop --namespace 1 --socket "$daemon_socket"

plant_corruption "$daemon_memory" 2> "$TMPDIR/out" || not_ok 'a published block to damage'
gives 5 '[1-9][0-9]* violations' 'verify finds a planted corruption, exit 5' verify --socket "$daemon_socket"
gives 5 '"is_clean":false' 'also as JSON' verify --json --dir "$daemon_memory"
printf 'garbage' > "$TMPDIR/directory"
gives 5 'not a directory file' 'verify refuses what is no directory' verify --dir "$TMPDIR"
exit $failed
