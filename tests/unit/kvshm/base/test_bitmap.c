/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kvshm/base/bitmap.h"
#include "kvshm/base/rand.h"

#define NR 300u

static uint64_t map[BITMAP_WORDS(NR)];
static bool plain[NR];

static size_t plain_next(size_t from, size_t end, bool want)
{
	while (from < end && plain[from] != want)
		from++;
	return from < end ? from : end;
}

static void assert_same(struct rand *r)
{
	size_t from = rand_below(r, NR), end = from + rand_below(r, NR - from + 1), i, n = 0;

	for (i = 0; i < NR; i++) {
		assert_int_equal(bitmap_test(map, i), plain[i]);
		n += plain[i] && i < end;
	}
	assert_int_equal(bitmap_next_set(map, from, end), plain_next(from, end, true));
	assert_int_equal(bitmap_next_clear(map, from, end), plain_next(from, end, false));
	assert_int_equal(bitmap_count(map, end), n);
}

static void random_operations_agree_with_an_array(void **state)
{
	size_t from, end, i;
	struct rand r;
	unsigned op, n;

	rand_init(&r, 7);
	for (n = 0; n < 20000; n++) {
		op = (unsigned)rand_below(&r, 4);
		from = rand_below(&r, NR);
		end = from + (op < 2 ? 1 : rand_below(&r, NR - from + 1));
		if (op == 0)
			bitmap_set(map, from);
		else if (op == 1)
			bitmap_clear(map, from);
		else if (op == 2)
			bitmap_set_range(map, from, end);
		else
			bitmap_clear_range(map, from, end);
		for (i = from; i < end; i++)
			plain[i] = op == 0 || op == 2;
		assert_same(&r);
	}
}

static void empty_range_finds_its_end(void **state)
{
	memset(map, 0xff, sizeof(map));
	assert_int_equal(bitmap_next_set(map, 64, 64), 64);
	assert_int_equal(bitmap_next_clear(map, 5, 3), 3);
	assert_int_equal(bitmap_next_clear(map, 0, NR), NR);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_operations_agree_with_an_array),
		cmocka_unit_test(empty_range_finds_its_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
