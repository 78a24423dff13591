/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random gets and puts against a byte map that knows nothing of slabs: places must lie in a range, be
 * free, and be given again; the sums must be those of the blocks out.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "kvshm/arena/slab_class.h"
#include "kvshm/base/rand.h"

#define MIB (1ull << 20)
#define BLOCKS_MAX 20000u

struct block {
	uint64_t offset;
	uint32_t length;
};

struct model {
	struct slab_alloc *slab;
	uint8_t *is_taken;		/* a byte for each 4 KiB page */
	uint64_t nr_pages;
	struct block *block;
	unsigned nr;
	uint64_t used;
	struct rand rand;
};

/* Two ranges, so that runs may not cross from one to the other. */
static void model_init(struct model *m, uint64_t first_len, uint64_t second_len, uint64_t seed)
{
	*m = (struct model){ .nr_pages = (first_len + second_len) / KVSHM_PAGE };
	rand_init(&m->rand, seed);
	m->is_taken = calloc(m->nr_pages, 1);
	m->block = calloc(BLOCKS_MAX, sizeof(*m->block));
	assert_true(m->is_taken && m->block);
	assert_int_equal(slab_create(&m->slab), 0);
	assert_int_equal(slab_add_range(m->slab, 0, first_len), 0);
	if (second_len)
		assert_int_equal(slab_add_range(m->slab, first_len, second_len), 0);
}

static void model_fini(struct model *m)
{
	m->slab = slab_destroy(m->slab);
	free(m->is_taken);
	free(m->block);
}

/* Mark the pages of a block; each of them must have been @was. */
static void mark(struct model *m, const struct block *b, uint8_t was)
{
	uint64_t page = b->offset / KVSHM_PAGE, end = page + slab_class_len(b->length) / KVSHM_PAGE;

	assert_true(b->offset % KVSHM_PAGE == 0 && end <= m->nr_pages);
	for (; page < end; page++) {
		assert_int_equal(m->is_taken[page], was);
		m->is_taken[page] = !was;
	}
}

static int model_get(struct model *m, uint32_t length)
{
	struct block b = { .length = length };
	int ret = slab_get(m->slab, length, &b.offset);

	if (ret < 0)
		return ret;
	mark(m, &b, 0);
	m->block[m->nr++] = b;
	m->used += slab_class_len(length);
	return 0;
}

static void model_put(struct model *m, unsigned i)
{
	struct block b = m->block[i];

	slab_put(m->slab, b.offset, b.length);
	mark(m, &b, 1);
	m->block[i] = m->block[--m->nr];
	m->used -= slab_class_len(b.length);
}

static void assert_sums(const struct model *m)
{
	struct slab_stats s;

	slab_stats(m->slab, &s);
	assert_true(s.used == m->used && s.capacity == m->nr_pages * KVSHM_PAGE);
	assert_int_equal(slab_verify(m->slab), 0);
}

/* 4 KiB to 64 MiB, small ones more often. */
static uint32_t random_length(struct rand *r, unsigned shift_max)
{
	unsigned shift = 12 + (unsigned)rand_below(r, shift_max - 12 + 1);

	return 1 + (uint32_t)rand_below(r, 1ull << shift);
}

static void random_run(struct model *m, unsigned nr_ops, unsigned shift_max, unsigned verify_every)
{
	unsigned op;

	for (op = 0; op < nr_ops; op++) {
		if (m->nr < BLOCKS_MAX && rand_below(&m->rand, 1000) < (op / 5000 % 2 ? 450u : 550u))
			model_get(m, random_length(&m->rand, shift_max));
		else if (m->nr)
			model_put(m, (unsigned)rand_below(&m->rand, m->nr));
		if (op % verify_every == 0)
			assert_sums(m);
	}
	assert_sums(m);
}

static void random_small_blocks_agree_with_a_page_map(void **state)
{
	struct model m;

	model_init(&m, 96 * MIB, 32 * MIB, 1);
	random_run(&m, 1000000, 16, 5000);
	model_fini(&m);
}

static void random_blocks_of_all_sizes_agree_with_a_page_map(void **state)
{
	struct model m;

	model_init(&m, 600 * MIB, 202 * MIB, 2);
	random_run(&m, 60000, 26, 500);
	model_fini(&m);
}

static void all_comes_back_when_all_is_put(void **state)
{
	struct slab_stats s;
	struct model m;

	model_init(&m, 128 * MIB, 64 * MIB, 3);
	random_run(&m, 20000, 22, 1000);
	while (m.nr)
		model_put(&m, m.nr - 1);
	slab_stats(m.slab, &s);
	assert_true(s.used == 0 && s.free_units == 192 * MIB && s.largest_free_run == 128 * MIB);
	assert_int_equal(slab_verify(m.slab), 0);
	model_fini(&m);
}

static void arena_of_one_class_is_full_to_the_last_slab(void **state)
{
	static const uint32_t lengths[] = { 4096, 32769, 65536, 229376, 917504, 2u << 20, 5u << 20, 64u << 20 };
	struct slab_shape shape;
	struct model m;
	unsigned i;

	for (i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		shape = slab_shape(slab_class(lengths[i]));
		model_init(&m, shape.units * HUGE_LEN * 3, 0, 4);
		while (model_get(&m, lengths[i]) == 0)
			;
		assert_int_equal(m.nr, 3 * shape.slots);
		assert_int_equal(model_get(&m, lengths[i]), -ENOSPC);
		model_put(&m, m.nr / 2);
		assert_int_equal(model_get(&m, lengths[i]), 0);
		assert_sums(&m);
		model_fini(&m);
	}
}

static void consecutive_gets_are_ascending_neighbours(void **state)
{
	uint64_t last, offset;
	struct model m;
	unsigned i;

	model_init(&m, 64 * MIB, 0, 5);
	assert_int_equal(slab_get(m.slab, 65536, &last), 0);
	for (i = 1; i < 1024; i++, last = offset) {
		assert_int_equal(slab_get(m.slab, 65536, &offset), 0);
		assert_true(offset == last + 65536);
	}
	model_fini(&m);
	model_init(&m, 64 * MIB, 0, 5);
	assert_int_equal(slab_get(m.slab, 2u << 20, &last), 0);
	for (i = 1; i < 32; i++, last = offset) {
		assert_int_equal(slab_get(m.slab, 2u << 20, &offset), 0);
		assert_true(offset == last + HUGE_LEN);
	}
	model_fini(&m);
}

static void runs_do_not_cross_extents(void **state)
{
	uint64_t offset;
	struct model m;

	model_init(&m, 2 * MIB, 2 * MIB, 6);
	assert_int_equal(slab_get(m.slab, 4u << 20, &offset), -ENOSPC);
	assert_int_equal(slab_get(m.slab, 2u << 20, &offset), 0);
	model_fini(&m);
}

static void late_range_serves_a_full_allocator(void **state)
{
	uint64_t offset;
	struct model m;

	model_init(&m, 2 * MIB, 0, 7);
	assert_int_equal(slab_get(m.slab, 2u << 20, &offset), 0);
	assert_int_equal(slab_get(m.slab, 4u << 20, &offset), -ENOSPC);
	assert_int_equal(slab_add_range(m.slab, 2 * MIB, 4 * MIB), 0);
	assert_int_equal(slab_get(m.slab, 4u << 20, &offset), 0);
	assert_true(offset == 2 * MIB);
	assert_int_equal(slab_verify(m.slab), 0);
	model_fini(&m);
}

static void bad_ranges_are_refused(void **state)
{
	struct slab_alloc *s;

	assert_int_equal(slab_create(&s), 0);
	assert_int_equal(slab_add_range(s, 4096, 2 * MIB), -EINVAL);
	assert_int_equal(slab_add_range(s, 0, 2 * MIB + 4096), -EINVAL);
	assert_int_equal(slab_add_range(s, 0, 0), -EINVAL);
	assert_int_equal(slab_add_range(s, 2 * MIB, UINT64_MAX - MIB * 2 + 1), -EINVAL);
	assert_int_equal(slab_add_range(s, 0, 4 * MIB), 0);
	assert_int_equal(slab_add_range(s, 2 * MIB, 4 * MIB), -EINVAL);
	slab_destroy(s);
}

#ifndef KVSHM_SAN	/* sanitizers need their address space */
static void range_without_memory_leaves_the_allocator_as_it_was(void **state)
{
	struct rlimit old, tight;
	uint64_t offset;
	struct model m;
	int ret;

	model_init(&m, 2 * MIB, 0, 14);
	assert_int_equal(getrlimit(RLIMIT_AS, &old), 0);
	tight = old;
	tight.rlim_cur = 256 * MIB;
	assert_int_equal(setrlimit(RLIMIT_AS, &tight), 0);
	ret = slab_add_range(m.slab, 2 * MIB, 14ull << 40);
	assert_int_equal(setrlimit(RLIMIT_AS, &old), 0);
	assert_int_equal(ret, -ENOMEM);
	assert_int_equal(slab_get(m.slab, 2u << 20, &offset), 0);
	assert_int_equal(slab_get(m.slab, 2u << 20, &offset), -ENOSPC);
	assert_int_equal(slab_verify(m.slab), 0);
	assert_int_equal(slab_add_range(m.slab, 2 * MIB, 2 * MIB), 0);
	assert_int_equal(slab_get(m.slab, 2u << 20, &offset), 0);
	model_fini(&m);
}
#endif

static void lengths_out_of_range_are_refused(void **state)
{
	uint64_t offset;
	struct model m;

	model_init(&m, 128 * MIB, 0, 8);
	assert_int_equal(slab_get(m.slab, 0, &offset), -EINVAL);
	assert_int_equal(slab_get(m.slab, KVSHM_BLOCK_MAX + 1, &offset), -EINVAL);
	assert_int_equal(slab_claim(m.slab, 0, 0), -EINVAL);
	model_fini(&m);
}

static int compare_blocks(const void *a, const void *b)
{
	const struct block *x = a, *y = b;

	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* A second allocator is told the blocks of the first, then both must answer alike. */
static void claim_all(struct model *m, struct model *to)
{
	unsigned i;

	qsort(m->block, m->nr, sizeof(*m->block), compare_blocks);
	for (i = 0; i < m->nr; i++) {
		assert_int_equal(slab_claim(to->slab, m->block[i].offset, m->block[i].length), 0);
		mark(to, &m->block[i], 0);
		to->block[to->nr++] = m->block[i];
		to->used += slab_class_len(m->block[i].length);
	}
}

static void claims_rebuild_the_same_slabs(void **state)
{
	struct slab_stats before, after;
	struct model m, again;
	unsigned round;

	for (round = 0; round < 20; round++) {
		model_init(&m, 500 * MIB, 100 * MIB, 100 + round);
		random_run(&m, 4000, 12 + round % 15, 4000);
		model_init(&again, 500 * MIB, 100 * MIB, 200 + round);
		claim_all(&m, &again);
		slab_stats(m.slab, &before);
		slab_stats(again.slab, &after);
		assert_memory_equal(&before, &after, sizeof(before));
		assert_sums(&again);
		random_run(&again, 2000, 12 + round % 15, 500);
		model_fini(&again);
		model_fini(&m);
	}
}

static void claims_of_taken_or_foreign_places_are_refused(void **state)
{
	struct model m;

	model_init(&m, 32 * MIB, 0, 9);
	assert_int_equal(slab_claim(m.slab, 65536, 65536), 0);
	assert_int_equal(slab_claim(m.slab, 65536, 65536), -EEXIST);
	assert_int_equal(slab_claim(m.slab, 0, 32768), -EEXIST);	/* unit of another class */
	assert_int_equal(slab_claim(m.slab, 4096, 65536), -EINVAL);	/* not a place of it */
	assert_int_equal(slab_claim(m.slab, 64 * MIB, 4096), -EINVAL);	/* outside */
	assert_int_equal(slab_claim(m.slab, 1 * MIB, 2u << 20), -EINVAL);
	assert_int_equal(slab_claim(m.slab, 28 * MIB, 64u << 20), -EEXIST);	/* past the end */
	/* 2.25 MiB: eight units, seven slots; the second slot of a slab that begins in a taken unit */
	assert_int_equal(slab_claim(m.slab, 2359296, 2359296), -EEXIST);
	/* 2.25 MiB: only a slab that begins before the arena has a slot here */
	assert_int_equal(slab_claim(m.slab, 262144, 2359296), -EINVAL);
	assert_int_equal(slab_verify(m.slab), 0);
	model_fini(&m);
}

static void claims_across_or_outside_of_extents_are_refused(void **state)
{
	struct model m;

	model_init(&m, 2 * MIB, 2 * MIB, 12);
	assert_int_equal(slab_add_range(m.slab, 8 * MIB, 2 * MIB), 0);
	assert_int_equal(slab_claim(m.slab, 0, 4u << 20), -EEXIST);
	assert_int_equal(slab_claim(m.slab, 6 * MIB, 4096), -EINVAL);	/* between extents */
	assert_int_equal(slab_claim(m.slab, 8 * MIB, 2u << 20), 0);
	assert_int_equal(slab_verify(m.slab), 0);
	model_fini(&m);
}

static void slab_without_another_of_its_class_is_no_victim(void **state)
{
	uint64_t offset, len;
	struct model m;

	model_init(&m, 2 * MIB, 0, 13);
	assert_int_equal(model_get(&m, 65536), 0);
	assert_int_equal(slab_victim(m.slab, slab_class(4096), &offset, &len), 0);
	model_fini(&m);
}

static void victim_is_the_slab_that_costs_least(void **state)
{
	uint64_t offset, len;
	struct model m;
	unsigned i;

	/* Ten slabs of 32 places, three places free in the sixth, one left in the eighth. */
	model_init(&m, 20 * MIB, 0, 10);
	for (i = 0; i < 320; i++)
		assert_int_equal(model_get(&m, 65536), 0);
	assert_int_equal(slab_victim(m.slab, slab_class(4096), &offset, &len), 0);	/* no room */
	for (i = 320; i-- > 0;)
		if ((i / 32 == 7 && i % 32 != 5) || (i / 32 == 5 && i % 32 < 3))
			model_put(&m, i);
	assert_int_equal(slab_victim(m.slab, slab_class(4096), &offset, &len), 1);
	assert_true(offset == 14 * MIB && len == 2 * MIB);
	assert_int_equal(slab_victim(m.slab, slab_class(65536), &offset, &len), 0);	/* its own class */
	model_fini(&m);
}

static void victim_of_a_large_class_is_a_window_of_slabs(void **state)
{
	uint64_t offset, len;
	struct model m;
	unsigned i;

	/* Units 0..9 hold one 64 KiB block each but for 2 and 3, which are free; 40 MiB of room elsewhere. */
	model_init(&m, 20 * MIB, 0, 11);
	for (i = 0; i < 320; i++)
		assert_int_equal(model_get(&m, 65536), 0);
	for (i = 320; i-- > 0;)
		if (i % 32 != 0 || i / 32 == 2 || i / 32 == 3)
			model_put(&m, i);
	assert_int_equal(slab_get(m.slab, 6u << 20, &offset), -ENOSPC);
	assert_int_equal(slab_victim(m.slab, slab_class(6u << 20), &offset, &len), 1);
	assert_true(len == 6 * MIB && offset <= 4 * MIB && offset + len >= 8 * MIB);
	model_fini(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_small_blocks_agree_with_a_page_map),
		cmocka_unit_test(random_blocks_of_all_sizes_agree_with_a_page_map),
		cmocka_unit_test(all_comes_back_when_all_is_put),
		cmocka_unit_test(arena_of_one_class_is_full_to_the_last_slab),
		cmocka_unit_test(consecutive_gets_are_ascending_neighbours),
		cmocka_unit_test(runs_do_not_cross_extents),
		cmocka_unit_test(late_range_serves_a_full_allocator),
		cmocka_unit_test(bad_ranges_are_refused),
#ifndef KVSHM_SAN
		cmocka_unit_test(range_without_memory_leaves_the_allocator_as_it_was),
#endif
		cmocka_unit_test(lengths_out_of_range_are_refused),
		cmocka_unit_test(claims_rebuild_the_same_slabs),
		cmocka_unit_test(claims_of_taken_or_foreign_places_are_refused),
		cmocka_unit_test(claims_across_or_outside_of_extents_are_refused),
		cmocka_unit_test(slab_without_another_of_its_class_is_no_victim),
		cmocka_unit_test(victim_is_the_slab_that_costs_least),
		cmocka_unit_test(victim_of_a_large_class_is_a_window_of_slabs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
