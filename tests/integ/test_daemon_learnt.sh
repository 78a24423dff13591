#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kvshm-test: timeout=400
# What the policy has learnt goes from one daemon to the next; a file that does not verify costs nothing but that.
. tests/lib/daemon.sh
kvshm=$KVSHM_BUILD/kvshm
dir=$TMPDIR/a
failed=0

ok() { echo "ok - $1"; }
not_ok() { echo "not ok - $1"; failed=1; sed 's/^/# /' "$dir/log"; }
is() { if [ "$1" = 0 ]; then ok "$2"; else not_ok "$2"; fi; }
works() { "$kvshm" load --socket "$daemon_socket" --procs 2 --seconds 1 --json > "$TMPDIR/load" 2>&1; }
has_state() { [ -s "$daemon_memory/policy" ]; }
lines() { [ "$(grep -c "$2" "$dir/log")" = "$1" ]; }
# flip OFFSET: the byte there of the file
flip()
{
	python3 - "$daemon_memory/policy" "$1" <<- 'EOF'
	import sys
	with open(sys.argv[1], 'r+b') as f:
	    f.seek(int(sys.argv[2]))
	    byte = f.read(1)[0] ^ 0x40
	    f.seek(int(sys.argv[2]))
	    f.write(bytes([byte]))
	EOF
}

[ -x "$kvshm" ] && [ -x "$KVSHM_BUILD/kvshmd" ] || { echo "no $kvshm or kvshmd"; exit 77; }
start_daemon "$dir" --set policy.name=gix && lines 0 'policy gix'
is $? 'a first start says nothing of the past'
works
stop_daemon "$dir"
has_state && start_daemon "$dir" --set policy.name=gix && lines 1 'policy gix goes on with [0-9]* bytes'
is $? 'an orderly stop writes down what was learnt, the next start goes on with it'
stop_daemon "$dir" KILL
start_daemon "$dir" --set policy.name=gix && lines 1 'policy gix goes on with'
is $? 'after SIGKILL what was written last counts'
rm "$daemon_memory/policy"
stop_daemon "$dir" KILL
start_daemon "$dir" --set policy.name=gix && lines 0 'policy gix' && works && wait_until 60 has_state
is $? 'a daemon that runs writes it down from time to time'
stop_daemon "$dir"
flip 90
flip $(($(sed -n 's/^#define LEARNT_MAX (\([0-9]*\)u << 20).*/\1/p' kvshm/daemon/learnt.h) * 1024 * 1024 + 90))
start_daemon "$dir" --set policy.name=gix && lines 1 'learns from nothing: the file policy is damaged' && grep -q 'warm: [1-9]' "$dir/log" && works
is $? 'damage costs one line and the knowledge, not the content'
stop_daemon "$dir"
truncate -s 40 "$daemon_memory/policy"
start_daemon "$dir" --set policy.name=gix && lines 1 'learns from nothing: the file policy is damaged or cut short' && works
is $? 'so does a file that was cut'
stop_daemon "$dir"
start_daemon "$dir" --set policy.name=lhd && lines 1 'policy lhd learns from nothing: the file policy is of another policy'
is $? 'so does another policy'
stop_daemon "$dir"
start_daemon "$dir" --set policy.name=gix && stop_daemon "$dir" && cp "$daemon_memory/policy" "$TMPDIR/old" &&
	start_daemon "$dir" --set policy.name=gix --discard && lines 0 'goes on with' && stop_daemon "$dir" &&
	cp "$TMPDIR/old" "$daemon_memory/policy" &&
	start_daemon "$dir" --set policy.name=gix && lines 1 'learns from nothing: the file policy is of another policy or other content'
is $? 'a cold start learns from nothing, and what was learnt from other content is refused'
stop_daemon "$dir"
[ $daemon_status = 0 ]
is $? 'the daemon ends well'
exit $failed
