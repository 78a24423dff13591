/* SPDX-License-Identifier: Apache-2.0 */
/* test_scrub.c - a flipped bit is found; what is whole, unknown or on its way out is left alone */
#include "kvshm/cache/scrub.h"

#include "fixture.h"
#include "kvshm/base/checksum.h"

#define SECOND 1000000000ull
#define LEN 65536u

static struct fix f;
static struct scrub *s;
static uint16_t ns;

static int setup_of(uint32_t max_blocks)
{
	fix_open(&f, max_blocks, 8, NULL);
	ns = fix_ns(&f, 1, LEN);
	return scrub_create(&s);
}

static int setup(void **state)
{
	return setup_of(256);
}

/* Each put gets the same id. */
static int setup_one(void **state)
{
	return setup_of(1);
}

static int teardown(void **state)
{
	s = scrub_destroy(s);
	fix_verify(&f);
	fix_close(&f);
	return 0;
}

/* Publish key @i of chain 1 with bytes of its own; with the sum that they should have. */
static blk_id_t put(uint32_t i, bool is_known)
{
	const struct kvshm_key parent = fix_key(1, i - 1);
	blk_id_t id = fix_grant(&f, FIX_OWNER, ns);
	struct kvshm_commit_rec rec;
	struct cache_commit_result r;

	assert_int_not_equal(id, 0);
	memset(fix_bytes(&f, id), (int)(i + 1), LEN);
	rec = fix_rec(&f, id, fix_key(1, i));
	rec.checksum = is_known ? checksum32(fix_bytes(&f, id), LEN) : 0;
	assert_int_equal(fix_commit(&f, FIX_OWNER, ns, i ? &parent : NULL, rec, &r), 0);
	assert_int_equal(r.nr_published, 1);
	return id;
}

static struct scrub_counts counts(void)
{
	struct scrub_counts n;

	scrub_count(s, &n);
	return n;
}

/* Steps of a tenth of a second, a pass a second.  Return: failures. */
static unsigned steps(unsigned nr, struct scrub_failure *ret_f)
{
	unsigned bad = 0;

	while (nr--) {
		f.now += SECOND / 10;
		while (scrub_step(s, f.c, f.now, SECOND, ret_f))
			bad++;
	}
	return bad;
}

static void whole_blocks_pass(void **state)
{
	struct scrub_failure bad;

	for (uint32_t i = 0; i < 20; i++)
		put(i, true);
	assert_int_equal(steps(40, &bad), 0);
	assert_true(counts().passes >= 2);
	assert_true(counts().blocks >= 40);
	assert_int_equal(fix_count(&f).published, 20);
}

static void a_pass_takes_its_time(void **state)
{
	struct scrub_failure bad;

	for (uint32_t i = 0; i < 20; i++)
		put(i, true);
	assert_int_equal(steps(1, &bad), 0); /* the clock starts */
	assert_int_equal(steps(5, &bad), 0);
	assert_in_range(counts().bytes, 20 * LEN * 4 / 10, 20 * LEN / 2);
	assert_int_equal(counts().passes, 0);
}

static void a_long_sleep_owes_one_step(void **state)
{
	struct scrub_failure bad;

	for (uint32_t i = 0; i < 60; i++)
		put(i, true);
	steps(1, &bad);
	f.now += 1000000 * SECOND;
	assert_int_equal(scrub_step(s, f.c, f.now, SECOND, &bad), 0);
	assert_in_range(counts().bytes, LEN, 2u << 20);
}

static void a_flipped_bit_is_found_and_the_block_goes_with_its_subtree(void **state)
{
	struct scrub_failure bad;
	blk_id_t id = 0;

	for (uint32_t i = 0; i < 20; i++) {
		blk_id_t now = put(i, true);

		if (i == 12)
			id = now;
	}
	fix_bytes(&f, id)[LEN - 1] ^= 0x10;
	assert_int_equal(steps(30, &bad), 1);
	assert_int_equal(bad.id, id);
	assert_int_equal(bad.ns, ns);
	assert_int_equal(bad.length, LEN);
	assert_int_equal(bad.nr_dropped, 8);
	assert_int_equal(counts().failures, 1);
	assert_int_equal(fix_find(&f, ns, 1, 12), 0);
	assert_int_equal(fix_find(&f, ns, 1, 19), 0);
	assert_int_equal(fix_find(&f, ns, 1, 11) != 0, 1);
	assert_int_equal(fix_count(&f).quarantined, 0);
}

static void a_large_subtree_goes_in_steps(void **state)
{
	struct scrub_failure bad;
	unsigned nr_steps = 0;
	blk_id_t id = 0;
	int ret = 0;

	for (uint32_t i = 0; i < 200; i++) {
		blk_id_t now = put(i, true);

		id = i == 10 ? now : id;
	}
	fix_bytes(&f, id)[0] ^= 1;
	while (!scrub_is_dropping(s))
		assert_int_equal(steps(1, &bad), 0);
	while (!ret) {
		uint64_t before = fix_count(&f).published;

		ret = scrub_step(s, f.c, f.now, SECOND, &bad);
		assert_true(before - fix_count(&f).published <= 128);
		fix_verify(&f);
		nr_steps++;
	}
	assert_int_equal(bad.id, id);
	assert_int_equal(bad.nr_dropped, 190);
	assert_true(nr_steps >= 1);
	assert_int_equal(fix_count(&f).published, 10);
	assert_false(scrub_is_dropping(s));
}

static void who_drops_the_bad_block_first_ends_it(void **state)
{
	const struct kvshm_key root = fix_key(1, 0);
	struct scrub_failure bad;

	for (uint32_t i = 0; i < 200; i++)
		put(i, true);
	fix_bytes(&f, fix_find(&f, ns, 1, 0))[0] ^= 1;
	while (!scrub_is_dropping(s))
		assert_int_equal(steps(1, &bad), 0);
	assert_true(cache_drop(f.c, ns, &root) > 0);
	put(0, true);
	assert_int_equal(scrub_step(s, f.c, f.now, SECOND, &bad), 1);
	assert_int_equal(fix_count(&f).published, 1);
}

static void a_reader_of_a_bad_block_keeps_it_in_quarantine(void **state)
{
	struct scrub_failure bad;
	blk_id_t id = put(0, true);
	uint32_t slot = fix_pin(&f, ns, 1, 0);

	fix_bytes(&f, id)[0] ^= 1;
	assert_int_equal(steps(30, &bad), 1);
	assert_int_equal(fix_find(&f, ns, 1, 0), 0);
	assert_int_equal(fix_count(&f).quarantined, 1);
	fix_unpin(&f, slot);
	cache_tick(f.c, ++f.now);
	assert_int_equal(fix_count(&f).quarantined, 0);
}

static void a_block_without_a_sum_is_left_alone(void **state)
{
	struct scrub_failure bad;
	blk_id_t id = put(0, false);

	fix_bytes(&f, id)[0] ^= 1;
	assert_int_equal(steps(30, &bad), 0);
	assert_int_equal(counts().blocks, 0);
	assert_int_equal(fix_count(&f).published, 1);
}

static void a_block_that_is_replaced_half_way_is_not_blamed(void **state)
{
	const struct kvshm_key root = fix_key(1, 0);
	struct scrub_failure bad;
	blk_id_t id = put(0, true);

	steps(1, &bad);
	assert_int_equal(steps(4, &bad), 0); /* half of it is summed */
	assert_in_range(counts().bytes, 1, LEN - 1);
	assert_int_equal(cache_drop(f.c, ns, &root), 1);
	memset(fix_bytes(&f, id), 0xee, LEN);
	assert_int_equal(put(0, true), id);
	assert_int_equal(steps(40, &bad), 0);
	assert_true(counts().blocks >= 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(whole_blocks_pass),
		T(a_pass_takes_its_time),
		T(a_long_sleep_owes_one_step),
		T(a_flipped_bit_is_found_and_the_block_goes_with_its_subtree),
		T(a_large_subtree_goes_in_steps),
		T(who_drops_the_bad_block_first_ends_it),
		T(a_reader_of_a_bad_block_keeps_it_in_quarantine),
		T(a_block_without_a_sum_is_left_alone),
		cmocka_unit_test_setup_teardown(a_block_that_is_replaced_half_way_is_not_blamed, setup_one,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
