/* SPDX-License-Identifier: Apache-2.0 */
/* test_wipe.c - what a freed block leaves behind */
#include "fixture.h"

#define LEN 65536u
#define UNITS 2u

static struct fix f;
static uint16_t ns, other;

static int setup_of(enum cache_wipe wipe)
{
	const struct cache_config cfg = { .wipe = wipe };

	fix_open(&f, 256, UNITS, &cfg);
	ns = fix_ns(&f, 1, LEN);
	other = fix_ns(&f, 2, LEN);
	return 0;
}

static int setup_never(void **state)
{
	return setup_of(CACHE_WIPE_NEVER);
}

static int setup_change(void **state)
{
	return setup_of(CACHE_WIPE_NS_CHANGE);
}

static int setup_always(void **state)
{
	return setup_of(CACHE_WIPE_ALWAYS);
}

static int teardown(void **state)
{
	fix_verify(&f);
	fix_close(&f);
	return 0;
}

static bool is_zero(const char *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (p[i])
			return false;
	return true;
}

/* Fill all of the arena from namespace @of, and give it up again. */
static void fill_and_drop(uint16_t of)
{
	unsigned nr = UNITS * HUGE_LEN / LEN;

	for (uint32_t i = 0; i < nr; i++) {
		const struct kvshm_key key = fix_key(1, i), parent = fix_key(1, i - 1);
		blk_id_t id = fix_grant(&f, FIX_OWNER, of);
		struct cache_commit_result r;

		assert_int_not_equal(id, 0);
		memset(fix_bytes(&f, id), 0x77, LEN);
		fix_commit(&f, FIX_OWNER, of, i ? &parent : NULL, fix_rec(&f, id, key), &r);
	}
	assert_int_equal(cache_drop_ns(f.c, of), nr);
}

static void never_leaves_all(void **state)
{
	fill_and_drop(ns);
	assert_false(is_zero(f.arena.base, 1));
	assert_false(is_zero(fix_bytes(&f, fix_grant(&f, FIX_OWNER, other)), LEN));
}

static void always_leaves_nothing(void **state)
{
	fill_and_drop(ns);
	assert_true(is_zero(f.arena.base, UNITS * HUGE_LEN));
}

static void always_takes_returned_grants_too(void **state)
{
	blk_id_t id = fix_grant(&f, FIX_OWNER, ns);
	char *bytes = fix_bytes(&f, id);

	memset(bytes, 0x77, LEN);
	assert_int_equal(cache_return(f.c, FIX_OWNER, fix_ref(&f, id)), 0);
	assert_true(is_zero(bytes, LEN));
}

static void another_namespace_finds_zeros_the_same_one_what_it_left(void **state)
{
	fill_and_drop(ns);
	assert_false(is_zero(fix_bytes(&f, fix_grant(&f, FIX_OWNER, ns)), LEN));
	assert_true(is_zero(fix_bytes(&f, fix_grant(&f, FIX_OWNER, other)), LEN));
}

static void after_a_restart_every_place_is_suspect(void **state)
{
	fill_and_drop(ns);
	assert_int_equal(fix_restart(&f), 0);
	assert_true(is_zero(fix_bytes(&f, fix_grant(&f, FIX_OWNER, ns)), LEN));
}

int main(void)
{
#define T(name, setup) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(never_leaves_all, setup_never),
		T(always_leaves_nothing, setup_always),
		T(always_takes_returned_grants_too, setup_always),
		T(another_namespace_finds_zeros_the_same_one_what_it_left, setup_change),
		T(after_a_restart_every_place_is_suspect, setup_change),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
