# SPDX-License-Identifier: Apache-2.0
# say.sh - sourced by shell tests: a case is a status and a sentence
#
#   say_logs=("$dir/log")	what is told of a case that failed
#   [ "$answer" = 42 ]
#   say $? 'the answer is right'
#   exit $status

status=0
say_logs=()

say() { # STATUS SENTENCE
	local log
	if [ "$1" = 0 ]; then
		echo "ok - $2"
		return
	fi
	echo "not ok - $2"
	for log in "${say_logs[@]}"; do
		[ ! -f "$log" ] || tail -n 40 "$log" | sed 's/^/# /'
	done
	status=1
}
