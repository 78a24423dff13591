/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "utils/mrc_together.h"

#define BYTES 4096u

static struct together g;
static struct together_share share[TOGETHER_MAX];
static uint64_t now;

static int begin(void **state)
{
	now = 0;
	return 0;
}

static int end(void **state)
{
	together_fini(&g);
	return 0;
}

/* A request of @nr blocks that are named from @first on. */
static void ask(uint16_t ns, uint64_t first, uint32_t nr, uint64_t bytes)
{
	uint64_t hash[16];
	const struct heard_request q = { .time_ns = now += 1000000000, .tokens = nr * 16ull, .hash = hash, .nr = nr,
					 .block_tokens = 16, .bytes = bytes, .ns = ns };

	for (uint32_t i = 0; i < nr; i++)
		hash[i] = first + i;
	assert_int_equal(together_add(&g, &q), 0);
}

static void run(uint64_t blocks)
{
	assert_int_equal(together_run(&g, policy_find("leaf-lru"), blocks, share), 0);
}

static void each_has_room_alone_and_they_have_not_together(void **state)
{
	for (unsigned i = 0; i < 10; i++) {
		ask(1, 100, 6, BYTES);
		ask(2, 200, 6, BYTES);
	}
	assert_true(together_has_answer(&g));
	run(12);
	assert_int_equal(share[1].uses, 60);
	assert_int_equal(share[1].hits, 54);
	assert_int_equal(share[2].hits, 54);
	run(6);
	assert_int_equal(share[1].hits, 0);
	assert_int_equal(share[2].hits, 0);
}

static void the_same_names_in_two_namespaces_are_two_blocks(void **state)
{
	ask(1, 100, 4, BYTES);
	ask(2, 100, 4, BYTES);
	run(8);
	assert_int_equal(share[1].hits + share[2].hits, 0);
	assert_int_equal(g.t.nr_blocks, 8);
}

static void one_namespace_is_not_together_with_any(void **state)
{
	ask(1, 100, 4, BYTES);
	assert_false(together_has_answer(&g));
}

static void blocks_of_two_sizes_have_no_answer(void **state)
{
	ask(1, 100, 4, BYTES);
	ask(2, 100, 4, BYTES);
	assert_true(together_has_answer(&g));
	ask(3, 100, 4, 2 * BYTES);
	assert_false(together_has_answer(&g));
}

static void what_fits_no_trace_is_passed_over(void **state)
{
	ask(1, 100, 4, BYTES);
	ask(TOGETHER_MAX, 100, 4, BYTES);
	ask(2, 100, 0, BYTES);
	assert_int_equal(g.t.nr_req, 1);
	assert_false(together_has_answer(&g));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		T(each_has_room_alone_and_they_have_not_together),
		T(the_same_names_in_two_namespaces_are_two_blocks),
		T(one_namespace_is_not_together_with_any),
		T(blocks_of_two_sizes_have_no_answer),
		T(what_fits_no_trace_is_passed_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
