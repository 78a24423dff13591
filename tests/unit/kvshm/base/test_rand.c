/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kvshm/base/rand.h"

static void one_seed_gives_one_sequence(void **state)
{
	struct rand a, b;
	unsigned i;

	rand_init(&a, 42);
	rand_init(&b, 42);
	for (i = 0; i < 100; i++)
		assert_true(rand_u64(&a) == rand_u64(&b));
	rand_init(&b, 43);
	assert_true(rand_u64(&a) != rand_u64(&b));
}

static void below_fills_its_range_evenly(void **state)
{
	unsigned count[10] = { 0 }, i;
	struct rand r;

	rand_init(&r, 0);
	for (i = 0; i < 100000; i++)
		count[rand_below(&r, 10)]++;
	for (i = 0; i < 10; i++)
		assert_in_range(count[i], 9500, 10500);
	assert_int_equal(rand_below(&r, 1), 0);
}

static void double_is_below_one(void **state)
{
	double x, sum = 0;
	struct rand r;
	unsigned i;

	rand_init(&r, 5);
	for (i = 0; i < 100000; i++) {
		x = rand_double(&r);
		assert_true(x >= 0.0 && x < 1.0);
		sum += x;
	}
	assert_true(sum > 49500 && sum < 50500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_seed_gives_one_sequence),
		cmocka_unit_test(below_fills_its_range_evenly),
		cmocka_unit_test(double_is_below_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
