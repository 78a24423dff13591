/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ipc/wire.h"
#include "kvshm/daemon/opdef.h"

static void holes_and_numbers_past_the_table_are_not_served(void **state)
{
	static const uint8_t holes[] = { KVSHM_OP_PREFETCH,
					 KVSHM_OP_LAST,
					 200,
					 255 };

	for (size_t i = 0; i < sizeof(holes); i++)
		assert_null(opdef_find(holes[i]));
}

static void what_the_wire_knows_has_a_handler_and_nothing_else(void **state)
{
	for (unsigned op = 0; op < 256; op++) {
		struct kvshm_sqe sqe = { .op = (uint8_t)op, .nr = 1 };
		int known = wire_check(&sqe, KVSHM_ARGS_LEN) != -EOPNOTSUPP;

		assert_int_equal(known, opdef_find((uint8_t)op) != NULL);
	}
}

static void names_are_those_of_the_wire(void **state)
{
	for (uint8_t op = 0; op < KVSHM_OP_LAST; op++)
		if (opdef_find(op))
			assert_string_equal(opdef_find(op)->name, wire_op_name(op));
}

static void long_entries_cost_more_of_a_poll(void **state)
{
	struct kvshm_sqe small = { .nr = 1 }, large = { .nr = KVSHM_COMMIT_MAX };

	assert_int_equal(op_cost(&small), 1);
	assert_true(op_cost(&large) > 64);
	assert_true(op_cost(&(struct kvshm_sqe){ .op = KVSHM_OP_STAGE_OUT, .nr = 1, .len = 64 + 256 * 40 }) >= 64);
	assert_true(op_cost(&(struct kvshm_sqe){ .op = KVSHM_OP_HINT, .nr = 1 }) >= 64);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(holes_and_numbers_past_the_table_are_not_served),
		cmocka_unit_test(what_the_wire_knows_has_a_handler_and_nothing_else),
		cmocka_unit_test(names_are_those_of_the_wire),
		cmocka_unit_test(long_entries_cost_more_of_a_poll),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
