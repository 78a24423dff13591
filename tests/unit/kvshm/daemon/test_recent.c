/* SPDX-License-Identifier: Apache-2.0 */
/* test_recent.c - the last seconds and the last minute of a counter that only grows */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "kvshm/daemon/recent.h"

#define S 1000000000ull

static struct recent r;

/* One counter grows by @a_second, the other not at all; looked at each second until @to_s. */
static uint64_t run(uint64_t value, unsigned from_s, unsigned to_s, unsigned a_second)
{
	for (unsigned s = from_s; s < to_s; s++) {
		value += a_second;
		recent_look(&r, (1000 + s) * S, (const uint64_t[RECENT_VALUES]){ value, 7 });
	}
	return value;
}

static void what_grew_is_that_of_the_last_time_only(void **state)
{
	uint64_t value = run(0, 0, 600, 10);

	(void)state;
	assert_in_range(recent_grown(&r, 0, 1, value), 50, 100);
	assert_in_range(recent_grown(&r, 0, 12, value), 600, 650);
	assert_int_equal(recent_grown(&r, 1, 12, 7), 0);
	value = run(value, 600, 611, 0);
	assert_int_equal(recent_grown(&r, 0, 1, value), 0);
	assert_in_range(recent_grown(&r, 0, 12, value), 490, 550);
	value = run(value, 611, 700, 0);
	assert_int_equal(recent_grown(&r, 0, 12, value), 0);
}

static void before_a_minute_is_over_it_is_all_since_the_start(void **state)
{
	uint64_t value;

	(void)state;
	r = (struct recent){ 0 };
	value = run(0, 0, 20, 10);
	assert_int_equal(recent_grown(&r, 0, 12, value), 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_grew_is_that_of_the_last_time_only),
		cmocka_unit_test(before_a_minute_is_over_it_is_all_since_the_start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
