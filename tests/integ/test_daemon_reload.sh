#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# SIGHUP takes what may change while the service runs; a bad file changes nothing and is counted.
. tests/lib/daemon.sh
kvshm=$KVSHM_BUILD/kvshm
failed=0

ok() { echo "ok - $1"; }
not_ok() { echo "not ok - $1"; failed=1; [ -z "$2" ] || sed 's/^/# /' "$2"; }
check() { local sentence=$1; shift; if "$@"; then ok "$sentence"; else not_ok "$sentence" "$log"; fi; }
says() { grep -q -- "$1" "$log"; }
metric() { "$kvshm" stat --socket "$daemon_socket" --json | grep -o "\"kvshm_$1\":[0-9]*" | cut -d: -f2; }
metric_is() { [ "$(metric "$1")" = "$2" ]; }

# reload LINE...: a file of these lines, told by SIGHUP; waits for a line in the log that answers it
reload()
{
	local before
	before=$(grep -c 'configuration reloaded\|stays as it is' "$log")
	printf '%s\n' "$@" > "$conf"
	kill -HUP "$daemon_pid"
	wait_until 5 eval '[ "$(grep -c "configuration reloaded\|stays as it is" "$log")" -gt '"$before"' ]'
}

conf=$TMPDIR/kvshm.conf
log=$TMPDIR/a/log
printf '[clients]\nmax=3\n' > "$conf"
start_daemon "$TMPDIR/a" --config "$conf" --set clients.handshake_timeout=3s || not_ok 'a daemon starts' "$log"

check 'a file as before changes nothing' reload '[clients]' 'max=3'
check 'and says so' says 'configuration reloaded, 0 values changed'
check 'a live value' reload '[clients]' 'max=5' 'pin_quota=1M' 'credit_blocks=7'
check 'is taken and told' says 'clients.max is 5 now, was 3'
check 'all of them are' says 'configuration reloaded, 3 values changed'
shows() { "$kvshm" stat config --csv -o key,value,origin --socket "$daemon_socket" | tr -d '\r' | grep -qE -- "$1"; }
if [ -x "$kvshm" ]; then
	check 'stat config shows it, with its file and line' shows "^clients\.max,5,$conf:2"
	check 'and what the command line gave' shows "^clients\.handshake_timeout,3s,."
	check 'and where files go though nobody said' shows "^daemon\.socket,$daemon_socket,default"
else
	echo 'ok - stat config shows it # SKIP no kvshm built'
fi
check 'a value for the next start' reload '[clients]' 'max=5' 'pin_quota=1M' 'credit_blocks=7' '[arena]' 'extent=64M'
check 'is told to wait' says 'arena.extent=64M .*waits for the next start'
check 'the command line still wins' reload '[clients]' 'max=5' 'pin_quota=1M' 'credit_blocks=7' 'handshake_timeout=1s'
check 'over what a file says' eval '! says "handshake_timeout is"'
check 'a debug level' reload '[daemon]' 'log_level=debug' '[clients]' 'max=5'
check 'is in force at once' says 'daemon.log_level is debug now'
check 'a bad value' reload '[clients]' 'max=many'
check 'leaves all as it was and is named by file and line' \
	says "the configuration stays as it is: $conf:2: clients.max: 'many' is not"
check 'so does a file that goes wrong after good lines' reload '[clients]' 'max=9' 'nonsense'
check 'nothing of it is taken' eval '! says "clients.max is 9"'
rm "$conf"
kill -HUP "$daemon_pid"
check 'so does a missing file' wait_until 5 says "stays as it is: .*kvshm.conf"
check 'the daemon lives on' kill -0 "$daemon_pid"
if [ -x "$kvshm" ]; then
	check 'what was taken is counted' wait_until 3 metric_is config_reloads_total 5
	check 'what was refused is counted' wait_until 3 metric_is config_reloads_failed_total 3
else
	echo 'ok - reloads are counted # SKIP no kvshm built'
fi
stop_daemon "$TMPDIR/a"
check 'it ends in order' [ "$daemon_status" = 0 ]
exit $failed
