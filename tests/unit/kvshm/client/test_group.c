/* SPDX-License-Identifier: Apache-2.0 */
#include "fake.h"

enum { NR = 32 };

struct fixture {
	struct fake *f;
	struct kvshm *k;
	uint32_t ns[3];			/* 16, 16 and 24 tokens a block */
	struct kvshm_key keys[NR];
	struct kvshm_pin pins[3];
};

static struct fixture x;

static int setup(void **state)
{
	static const uint32_t tokens[] = { 16, 16, 24 };
	struct kvshm_ns_desc d;
	unsigned i;

	fake_setup(state);
	x = (struct fixture){ .f = *state };
	x.k = fake_open(x.f, 0);
	for (i = 0; i < ARRAY_SIZE(tokens); i++) {
		d = fake_desc((uint8_t)(i + 1));
		d.block_tokens = tokens[i];
		assert_int_equal(kvshm_attach_ns(x.k, &d, &x.ns[i]), 0);
	}
	fake_keys(x.keys, NR, 5);
	return 0;
}

static int teardown(void **state)
{
	kvshm_close(x.k);
	return fake_teardown(state);
}

static struct kvshm_chain chain_of(unsigned i)
{
	return (struct kvshm_chain){ .ns = x.ns[i], .nr_keys = NR, .keys = x.keys };
}

static int acquire(unsigned first, unsigned nr)
{
	struct kvshm_chain c[3];
	unsigned i;

	for (i = 0; i < nr; i++)
		c[i] = chain_of(first + i);
	memset(x.pins, 0, sizeof(x.pins));
	return kvshm_acquire_group(x.k, c, nr, x.pins);
}

/* The pin holds exactly its blocks: the chain resolves, and the word names the last of them. */
static void check_pin(unsigned i, unsigned nr)
{
	struct kvshm_block b[NR];

	assert_int_equal(x.pins[i].nr, nr);
	assert_int_equal(kvshm_resolve(x.k, &x.pins[i], x.keys, b), nr);
	assert_int_equal(b[nr - 1].id, x.pins[i].id);
	assert_int_equal(b[nr - 1].generation, x.pins[i].generation);
	assert_true(fake_is_filled(b[nr - 1].ptr, 5, nr - 1, FAKE_LEN));
}

static uint64_t counter(enum kvshm_client_counter c)
{
	return x.f->seg.hdr->counter[c];
}

static void release_all(void)
{
	unsigned i;

	for (i = 0; i < 3; i++)
		kvshm_release(x.k, &x.pins[i]);
}

static unsigned pins_held(void)
{
	unsigned i, n = 0;
	uint64_t word;

	for (i = 1; i < x.f->pin_words; i++)
		n += pread(x.f->pin_fd, &word, sizeof(word), i * sizeof(word)) == sizeof(word) && word;
	return n;
}

static void the_shortest_prefix_is_pinned_in_each_namespace(void **state)
{
	fake_put(x.k, x.ns[0], 5, 10);
	fake_put(x.k, x.ns[1], 5, 7);
	assert_int_equal(acquire(0, 2), 7 * 16);
	check_pin(0, 7);
	check_pin(1, 7);
	assert_int_equal(pins_held(), 2);
	release_all();
	assert_int_equal(pins_held(), 0);
}

static void the_first_may_be_the_shortest(void **state)
{
	fake_put(x.k, x.ns[0], 5, 3);
	fake_put(x.k, x.ns[1], 5, 7);
	assert_int_equal(acquire(0, 2), 3 * 16);
	check_pin(0, 3);
	check_pin(1, 3);
	release_all();
}

static void blocks_of_other_lengths_end_where_both_have_a_full_one(void **state)
{
	fake_put(x.k, x.ns[1], 5, 10);		/* 160 tokens */
	fake_put(x.k, x.ns[2], 5, 7);		/* 168 tokens */
	assert_int_equal(acquire(1, 2), 144);
	check_pin(0, 9);
	check_pin(1, 6);
	release_all();
}

static void one_miss_is_a_miss_of_all_and_pins_nothing(void **state)
{
	fake_put(x.k, x.ns[0], 5, 10);
	fake_put(x.k, x.ns[1], 5, 10);
	assert_int_equal(acquire(0, 3), 0);
	assert_int_equal(x.pins[0].slot, 0);
	assert_int_equal(pins_held(), 0);
	fake_put(x.k, x.ns[2], 5, 1);		/* 24 tokens: no boundary of the others' */
	assert_int_equal(acquire(0, 3), 0);
	assert_int_equal(pins_held(), 0);
}

static void each_chain_is_counted_and_touched_once_at_the_common_length(void **state)
{
	uint64_t lookups, hits, touches;

	fake_put(x.k, x.ns[0], 5, 10);
	fake_put(x.k, x.ns[1], 5, 7);
	lookups = counter(KVSHM_CC_LOOKUPS);
	hits = counter(KVSHM_CC_HIT_BLOCKS);
	touches = READ_ONCE(x.f->seg.hdr->touch.tail);
	assert_int_equal(acquire(0, 2), 7 * 16);
	assert_int_equal(counter(KVSHM_CC_LOOKUPS) - lookups, 2);
	assert_int_equal(counter(KVSHM_CC_HIT_BLOCKS) - hits, 14);
	assert_int_equal(READ_ONCE(x.f->seg.hdr->touch.tail) - touches, 2);
	assert_int_equal(x.f->seg.touch[touches].nr, 7);
	assert_int_equal(x.f->seg.touch[touches].id, x.pins[0].id);
	release_all();
}

static void the_quota_is_that_of_the_shortened_pins(void **state)
{
	unsigned i;

	kvshm_close(x.k);
	x.f->quota_bytes = 20 * FAKE_LEN;
	x.k = fake_open(x.f, 0);
	for (i = 0; i < 2; i++) {
		struct kvshm_ns_desc d = fake_desc((uint8_t)(i + 1));

		assert_int_equal(kvshm_attach_ns(x.k, &d, &x.ns[i]), 0);
	}
	fake_put(x.k, x.ns[0], 5, 10);
	fake_put(x.k, x.ns[1], 5, 2);
	for (i = 0; i < 3; i++)			/* 4 blocks each time, 12 of 20 */
		assert_int_equal(acquire(0, 2), 2 * 16);
	assert_int_equal(acquire(0, 1), 8 * 16);
	release_all();
}

struct asked {
	unsigned nr;
	struct kvshm_key copy[NR];
};

static const struct kvshm_key *key_at(void *ctx, unsigned i)
{
	struct asked *a = ctx;

	a->nr++;
	assert_true(i < NR);
	a->copy[i] = x.keys[i];
	return &a->copy[i];
}

static void keys_may_lie_anywhere(void **state)
{
	struct asked a = { 0 };
	struct kvshm_chain c = { .ns = x.ns[0], .nr_keys = NR, .key_at = key_at, .ctx = &a };

	fake_put(x.k, x.ns[0], 5, 21);
	assert_int_equal(kvshm_acquire_group(x.k, &c, 1, x.pins), 21 * 16);
	check_pin(0, 21);
	assert_in_range(a.nr, 1, NR - 1);
	release_all();
}

static void wrong_arguments_are_refused_and_pin_nothing(void **state)
{
	struct kvshm_chain c[65] = { chain_of(0), chain_of(1) };

	fake_put(x.k, x.ns[0], 5, 2);
	assert_int_equal(kvshm_acquire_group(x.k, c, 0, x.pins), -EINVAL);
	assert_int_equal(kvshm_acquire_group(x.k, c, 65, x.pins), -EINVAL);
	c[1].ns = 99;
	assert_int_equal(kvshm_acquire_group(x.k, c, 2, x.pins), -EINVAL);
	c[1].ns = 0;
	assert_int_equal(kvshm_acquire_group(x.k, c, 2, x.pins), -EINVAL);
	c[1] = chain_of(1);
	c[1].nr_keys = KVSHM_CHAIN_MAX + 1;
	assert_int_equal(kvshm_acquire_group(x.k, c, 2, x.pins), -E2BIG);
	c[1].nr_keys = 0;
	assert_int_equal(kvshm_acquire_group(x.k, c, 2, x.pins), 0);
	assert_int_equal(x.pins[0].slot, 0);
	assert_int_equal(pins_held(), 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_shortest_prefix_is_pinned_in_each_namespace),
		T(the_first_may_be_the_shortest),
		T(blocks_of_other_lengths_end_where_both_have_a_full_one),
		T(one_miss_is_a_miss_of_all_and_pins_nothing),
		T(each_chain_is_counted_and_touched_once_at_the_common_length),
		T(the_quota_is_that_of_the_shortened_pins),
		T(keys_may_lie_anywhere),
		T(wrong_arguments_are_refused_and_pin_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
