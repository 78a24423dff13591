/* SPDX-License-Identifier: Apache-2.0 */
/* test_chain.c - the longest cached prefix, for every length */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "kvshm/index/index.h"
#include "tests/lib/fake_dir.h"

enum { NR = 300 };

static struct directory *chain_of(unsigned nr_present, struct kvshm_key *keys)
{
	struct directory *dir = fake_dir_create(NR);
	unsigned i;

	fake_chain(dir, 1, nr_present, 1);
	for (i = 0; i < NR; i++)
		keys[i] = fake_key(1, i);
	return dir;
}

static void every_cached_length_of_every_chain_length_is_found(void **state)
{
	struct directory *dir = fake_dir_create(NR);
	struct kvshm_key keys[NR];
	unsigned present, nr, len;
	struct index_hit hit;

	for (nr = 0; nr < NR; nr++)
		keys[nr] = fake_key(1, nr);
	for (present = 0; present <= NR; present++) {
		if (present)
			fake_publish(dir, 0, &keys[present - 1], present, present - 1);
		for (nr = 0; nr <= NR; nr += nr < 20 ? 1 : 7) {
			len = index_longest(dir, 0, keys, nr, &hit);
			assert_int_equal(len, nr < present ? nr : present);
			if (len)
				assert_int_equal(hit.id, len);
		}
	}
	fake_dir_destroy(dir);
}

/* Two chains that grow in turns, @run blocks each: ids are neighbours inside a run only. */
static void any_pattern_of_ids_gives_the_same_answer(void **state)
{
	static const unsigned runs[] = { 1, 2, 3, 5, 8, 13, 21, 34, 55, 100, 149 };
	struct kvshm_key keys[2][NR];
	struct index_hit hit;
	unsigned r, i, nr, len;

	for (i = 0; i < NR; i++) {
		keys[0][i] = fake_key(1, i);
		keys[1][i] = fake_key(2, i);
	}
	for (r = 0; r < sizeof(runs) / sizeof(runs[0]); r++) {
		struct directory *dir = fake_dir_create(NR);
		blk_id_t id[2][NR], next = 1;
		unsigned present[2] = { 0, 0 }, who = 0, left = runs[r];

		for (; next < NR; next++) {
			unsigned at = present[who]++;

			id[who][at] = next;
			fake_publish(dir, 0, &keys[who][at], next, at ? id[who][at - 1] : 0);
			if (!--left) {
				who ^= 1;
				left = runs[r];
			}
			for (nr = 1; nr <= NR; nr += 37) {
				len = index_longest(dir, 0, keys[0], nr, &hit);
				assert_int_equal(len, nr < present[0] ? nr : present[0]);
				if (len)
					assert_int_equal(hit.id, id[0][len - 1]);
			}
		}
		fake_dir_destroy(dir);
	}
}

static unsigned nr_asked;

static const struct kvshm_key *key_at(void *ctx, unsigned i)
{
	const struct kvshm_key *keys = ctx;

	nr_asked++;
	return &keys[i];
}

static void keys_that_lie_elsewhere_are_asked_for_few_at_a_time(void **state)
{
	struct kvshm_key keys[NR];
	struct directory *dir = chain_of(150, keys);
	struct index_keys in = { .at = key_at, .ctx = keys };
	struct index_hit hit;
	unsigned nr;

	for (nr = 0; nr <= NR; nr++) {
		nr_asked = 0;
		assert_int_equal(index_longest_in(dir, 0, &in, nr, &hit), nr < 150 ? nr : 150);
		assert_true(nr_asked <= 48);
	}
	fake_dir_destroy(dir);
}

static void a_closed_tail_is_not_part_of_the_prefix(void **state)
{
	struct kvshm_key keys[NR];
	struct directory *dir = chain_of(200, keys);
	struct index_hit hit;
	unsigned id;

	for (id = 200; id > 0; id--) {		/* leaf first, slots stay */
		block_close(&dir->desc[id]);
		assert_int_equal(index_longest(dir, 0, keys, NR, &hit), id - 1);
		if (id > 1)
			assert_int_equal(hit.id, id - 1);
	}
	fake_dir_destroy(dir);
}

static void a_tag_that_lies_does_not_lengthen_the_prefix(void **state)
{
	struct kvshm_key keys[NR];
	struct directory *dir = chain_of(100, keys);
	struct index_hit hit;
	unsigned i;

	/* Slots for keys that are not there, naming blocks of other keys. */
	for (i = 150; i < 200; i++)
		assert_int_equal(index_insert(dir, 0, &keys[i], i - 140), 0);
	assert_int_equal(index_longest(dir, 0, keys, NR, &hit), 100);
	assert_int_equal(hit.id, 100);
	fake_dir_destroy(dir);
}

static void the_longest_chain_of_the_abi_is_searched(void **state)
{
	struct directory *dir = fake_dir_create(KVSHM_CHAIN_MAX);
	struct kvshm_key *keys = malloc(KVSHM_CHAIN_MAX * sizeof(*keys));
	struct index_hit hit;
	unsigned i;

	assert_non_null(keys);
	for (i = 0; i < KVSHM_CHAIN_MAX; i++)
		keys[i] = fake_key(1, i);
	fake_chain(dir, 1, KVSHM_CHAIN_MAX - 3, 1);
	assert_int_equal(index_longest(dir, 0, keys, KVSHM_CHAIN_MAX, &hit), KVSHM_CHAIN_MAX - 3);
	assert_int_equal(hit.id, KVSHM_CHAIN_MAX - 3);
	free(keys);
	fake_dir_destroy(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_cached_length_of_every_chain_length_is_found),
		cmocka_unit_test(any_pattern_of_ids_gives_the_same_answer),
		cmocka_unit_test(keys_that_lie_elsewhere_are_asked_for_few_at_a_time),
		cmocka_unit_test(a_closed_tail_is_not_part_of_the_prefix),
		cmocka_unit_test(a_tag_that_lies_does_not_lengthen_the_prefix),
		cmocka_unit_test(the_longest_chain_of_the_abi_is_searched),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
