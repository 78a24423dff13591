#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# An installation of engines that is interrupted is never taken for whole, and made by the next call.  With stand-ins for
# python3 and uv: nothing is fetched.
set -u
cd "$(dirname "$0")/../.." || exit 1
[ "$(uname -m)" = x86_64 ] || { echo "engines' wheels are for x86_64 only"; exit 77; }
engines=$TMPDIR/engines
. tests/lib/check.sh

mkdir -p "$TMPDIR/bin"
cat > "$TMPDIR/bin/python3" <<'EOF'
#!/bin/sh
# python3 -m venv DIR | python -c ... | python models.py NAME DIR
case "$*" in
"-m venv "*)
	mkdir -p "$3/bin" "$3/site"
	cp "$0" "$3/bin/python"
	printf '#!/bin/sh\necho uv >>"$CALLS"\n[ ! -e "$KILL" ] || { rm "$KILL"; kill -9 $PPID; }\n' > "$3/bin/uv"
	chmod +x "$3/bin/uv"
	;;
*"import sysconfig"*) echo "${0%/bin/*}/site" ;;
*models.py*) mkdir -p "$3" ;;
esac
EOF
chmod +x "$TMPDIR/bin/python3"
export PATH=$TMPDIR/bin:$PATH CALLS=$TMPDIR/calls KILL=$TMPDIR/kill
install() { utils/dist/engines/vllm.sh "$engines" tiny; }
interrupted() { touch "$KILL"; ! install && [ ! -e "$KILL" ]; }
calls() { [ "$(wc -l < "$CALLS")" = "$1" ]; }
refused() { ! utils/dist/engines/lmcache.sh "$engines" > "$TMPDIR/said"; grep -q 'no whole vLLM' "$TMPDIR/said"; }
untested() { "$real" tests/engines/run --build "$KVSHM_BUILD" --engines "$engines" 2>&1 | grep -q 'no whole vLLM'; }
real=$(PATH=${PATH#*:} command -v python3)

check 'an installation is killed in the middle' interrupted
check 'the environment is there, half' [ -x "$engines/vllm/venv/bin/python" ]
check 'no engine is put on top of it' refused
check 'no test runs in it' untested
check 'the next call makes it' install
check 'out of its packages' calls 2
check 'one more has nothing to do' install
check 'and does nothing' calls 2
echo 'of another release' > "$engines/vllm/.packages"
check 'a newer one is killed in the middle' interrupted
check 'what was whole before is not taken for whole' refused
check 'the next call makes that, too' install
check 'with its models' [ -d "$engines/vllm/models/state" ]
exit $status
