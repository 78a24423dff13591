/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "utils/bench.h"
#include "utils/load.h"

static struct kvshm_key a[WORK_KEYS_MAX], b[WORK_KEYS_MAX];
static struct work work;

static int setup(void **state)
{
	work_init(&work, 1);
	return 0;
}

static void the_same_turn_has_the_same_keys_for_all_who_ask(void **state)
{
	struct work other;
	struct work_turn ta, tb;

	work_init(&other, 1);
	work_turn(&work, 3, 5, work_word(7, 2), a, &ta);
	work_turn(&other, 3, 5, work_word(7, 2), b, &tb);
	assert_int_equal(ta.nr, tb.nr);
	assert_int_equal(ta.ns, tb.ns);
	assert_memory_equal(a, b, ta.nr * sizeof(a[0]));
}

static void a_turn_begins_with_the_turn_before(void **state)
{
	struct work_turn ta, tb;

	for (unsigned number = 0; number < 50; number++) {
		unsigned turn = 0;

		work_turn(&work, 0, 0, work_word(number, 0), a, &ta);
		while (!ta.is_last) {
			work_turn(&work, 0, 0, work_word(number, ++turn), b, &tb);
			assert_in_range(tb.nr - ta.nr, 10, 60);
			assert_int_equal(tb.ns, ta.ns);
			assert_memory_equal(a, b, ta.nr * sizeof(a[0]));
			memcpy(a, b, sizeof(a));
			ta = tb;
		}
		assert_in_range(turn, 0, 11);
	}
}

static void conversations_share_prompts_and_nothing_else(void **state)
{
	unsigned shared = 0;
	struct work_turn ta, tb;

	work_turn(&work, 0, 0, work_word(1, 0), a, &ta);
	for (unsigned number = 2; number < 400; number++) {
		unsigned n = 0;

		work_turn(&work, 1, 2, work_word(number, 0), b, &tb);
		while (n < ta.nr && n < tb.nr && !memcmp(&a[n], &b[n], sizeof(a[0])))
			n++;
		shared += n > 0;
		for (; n < ta.nr && n < tb.nr; n++)
			assert_memory_not_equal(&a[n], &b[n], sizeof(a[0]));
	}
	/* 1 of 64 prompts at least, the most popular one far more often. */
	assert_in_range(shared, 1, 200);
}

static void another_seed_shares_nothing(void **state)
{
	struct work_turn ta, tb;
	struct work other;

	work_init(&other, 2);
	work_turn(&work, 0, 0, work_word(1, 0), a, &ta);
	work_turn(&other, 0, 0, work_word(1, 0), b, &tb);
	assert_memory_not_equal(&a[0], &b[0], sizeof(a[0]));
}

static void tagged_bytes_are_clean_until_one_flips(void **state)
{
	struct kvshm_key key = bench_key(1, 1);
	uint8_t buf[4096];

	tag_fill(buf, sizeof(buf), 1, &key);
	assert_int_equal(tag_wrong_bytes(buf, sizeof(buf), 1, &key), 0);
	buf[4095] ^= 1;
	assert_int_equal(tag_wrong_bytes(buf, sizeof(buf), 1, &key), 1);
	buf[0] ^= 0x80;
	assert_int_equal(tag_wrong_bytes(buf, sizeof(buf), 1, &key), 2);
}

static void bytes_of_another_block_place_or_namespace_are_wrong(void **state)
{
	struct kvshm_key key = bench_key(1, 1), other = bench_key(1, 2);
	uint64_t buf[512];

	tag_fill(buf, sizeof(buf), 1, &key);
	assert_in_range(tag_wrong_bytes(buf, sizeof(buf), 1, &other), 4000, 4096);
	assert_in_range(tag_wrong_bytes(buf, sizeof(buf), 0, &key), 4000, 4096);
	memmove(buf, buf + 1, sizeof(buf) - 8);
	assert_in_range(tag_wrong_bytes(buf, sizeof(buf), 1, &key), 4000, 4096);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_same_turn_has_the_same_keys_for_all_who_ask),
		cmocka_unit_test(a_turn_begins_with_the_turn_before),
		cmocka_unit_test(conversations_share_prompts_and_nothing_else),
		cmocka_unit_test(another_seed_shares_nothing),
		cmocka_unit_test(tagged_bytes_are_clean_until_one_flips),
		cmocka_unit_test(bytes_of_another_block_place_or_namespace_are_wrong),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
