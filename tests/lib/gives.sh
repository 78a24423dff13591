# SPDX-License-Identifier: Apache-2.0
# gives.sh - sourced by tests of programs: what a command says, and how it exits
#
#   gives_command=("$tool" bench)	what is run; $TMPDIR/out has what it said last
#   gives 0 'ratio' 'a short run works' get --bytes 4K
#   exit $failed

failed=0
gives_limit=60	# s

ok()
{
	echo "ok - $1"
}

not_ok()
{
	echo "not ok - $1"
	cut -c -200 "$TMPDIR/out" | sed 's/^/# /'
	failed=1
}

# gives STATUS TEXT SENTENCE argument...
gives()
{
	local status=$1 text=$2 sentence=$3 got
	shift 3
	timeout "$gives_limit" "${gives_command[@]}" "$@" > "$TMPDIR/out" 2>&1
	got=$?
	if [ $got = "$status" ] && grep -q -- "$text" "$TMPDIR/out"; then
		ok "$sentence"
	else
		echo "# exit $got, wanted $status and '$text'"
		not_ok "$sentence"
	fi
}
