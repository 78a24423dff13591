#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The policy of howto/add-a-policy.rst, taken from the page, builds without a warning where the page says
# it goes, and passes the tests that every policy passes.
set -u
dir=$TMPDIR/tree
page=Documentation/howto/add-a-policy.rst

fail() { echo "not ok - $1"; exit 1; }

mkdir -p "$dir/policy" "$dir/kvshm" "$dir/tests/unit/policy"
cp policy/*.[ch] "$dir/policy/" && cp -r kvshm/base "$dir/kvshm/" && cp tests/unit/policy/test_orders.c "$dir/tests/unit/policy/"

# step 2: the code block
awk '/code-block:: c/ { on = 1; next } on && /^[0-9]/ { exit } on' "$page" | sed 's/^      //' > "$dir/policy/mru.c"
grep -q policy_mru "$dir/policy/mru.c" || fail "the page holds the policy"

# step 3: two lists
sed -i 's/^extern const struct policy_ops /&policy_mru, /' "$dir/policy/policy.h"
sed -i '/policies\[\] = {/a &policy_mru,' "$dir/policy/policy.c"

cd "$dir" || exit 1
gcc -std=gnu11 -O1 -D_GNU_SOURCE -ffp-contract=off -Wall -Wextra -Wshadow -Wmissing-prototypes -Wno-unused-parameter -Werror \
	-iquote . policy/*.c tests/unit/policy/test_orders.c -lcmocka -o orders > log 2>&1 || { cat log; fail "it builds"; }
echo "ok - the policy of the page builds where the page says"
CMOCKA_MESSAGE_OUTPUT=STDOUT ./orders > log 2>&1 || { cat log; fail "it passes the tests of every policy"; }
echo "ok - it passes the tests of every policy"
