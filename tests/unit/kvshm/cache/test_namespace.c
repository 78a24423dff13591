/* SPDX-License-Identifier: Apache-2.0 */
/* test_namespace.c - the first attach fixes what a namespace is */
#include "fixture.h"

static struct fix f;

static int setup(void **state)
{
	fix_open(&f, 16, 2, &(struct cache_config){ .max_ns_per_uid = 3 });
	return 0;
}

static int teardown(void **state)
{
	fix_verify(&f);
	fix_close(&f);
	return 0;
}

static struct kvshm_ns_args args_of(uint8_t name)
{
	struct kvshm_ns_args a = { .block_len = 65536, .block_tokens = 16, .label = "a model" };

	a.fingerprint[31] = name;
	a.layout[0] = 5;
	return a;
}

static void the_same_fingerprint_is_the_same_number(void **state)
{
	struct kvshm_ns_args a = args_of(1), b = args_of(2);
	uint16_t x, y, again;

	assert_int_equal(cache_ns_attach(f.c, 7, &a, &x), 0);
	assert_int_equal(cache_ns_attach(f.c, 7, &b, &y), 0);
	assert_int_equal(cache_ns_attach(f.c, 8, &a, &again), 0);
	assert_int_equal(x, 1);
	assert_int_equal(y, 2);
	assert_int_equal(again, x);
	assert_int_equal(ns_find(&f.dir, b.fingerprint), y);
	assert_int_equal(ns_entry(&f.dir, x)->uid, 7);
	assert_string_equal((const char *)ns_entry(&f.dir, x)->label, "a model");
}

static void another_shape_is_refused(void **state)
{
	struct kvshm_ns_args a = args_of(1), b;
	uint16_t ns, got = 99;

	assert_int_equal(cache_ns_attach(f.c, 7, &a, &ns), 0);
	b = a;
	b.block_len++;
	assert_int_equal(cache_ns_attach(f.c, 7, &b, &got), -EMEDIUMTYPE);
	b = a;
	b.block_tokens++;
	assert_int_equal(cache_ns_attach(f.c, 7, &b, &got), -EMEDIUMTYPE);
	b = a;
	b.layout[31] = 1;
	assert_int_equal(cache_ns_attach(f.c, 7, &b, &got), -EMEDIUMTYPE);
	assert_int_equal(got, 99);
}

static void arguments_without_sense_are_refused(void **state)
{
	struct kvshm_ns_args a = args_of(1);
	uint16_t ns;

	a.block_len = 0;
	assert_int_equal(cache_ns_attach(f.c, 7, &a, &ns), -EINVAL);
	a.block_len = KVSHM_BLOCK_MAX + 1;
	assert_int_equal(cache_ns_attach(f.c, 7, &a, &ns), -EINVAL);
	a = args_of(1);
	a.resv[1] = 1;
	assert_int_equal(cache_ns_attach(f.c, 7, &a, &ns), -EINVAL);
	a = args_of(0);
	assert_int_equal(cache_ns_attach(f.c, 7, &a, &ns), -EINVAL);
	assert_int_equal(ns_find(&f.dir, args_of(1).fingerprint), -ENOENT);
}

static void a_user_makes_a_bounded_number_of_them(void **state)
{
	struct kvshm_ns_args a;
	uint16_t ns;
	uint8_t i;

	for (i = 1; i <= 3; i++) {
		a = args_of(i);
		assert_int_equal(cache_ns_attach(f.c, 7, &a, &ns), 0);
	}
	a = args_of(4);
	assert_int_equal(cache_ns_attach(f.c, 7, &a, &ns), -ENOSPC);
	assert_int_equal(cache_ns_attach(f.c, 8, &a, &ns), 0);
	assert_int_equal(cache_ns_attach(f.c, 7, &a, &ns), 0);	/* there already */
}

static void a_full_table_is_no_space(void **state)
{
	struct kvshm_ns_args a;
	uint16_t ns;
	unsigned i;

	for (i = 1; i < f.dir.max_ns; i++) {
		a = args_of((uint8_t)i);
		assert_int_equal(cache_ns_attach(f.c, 1000 + i, &a, &ns), 0);
	}
	a = args_of(200);
	assert_int_equal(cache_ns_attach(f.c, 7, &a, &ns), -ENOSPC);
	assert_int_equal(ns_find(&f.dir, a.fingerprint), -ENOENT);
	assert_null(ns_entry(&f.dir, f.dir.max_ns));
	assert_null(ns_entry(&f.dir, 0));
}

static void numbers_outlive_a_restart(void **state)
{
	struct kvshm_ns_args a = args_of(1), b = args_of(2);
	uint16_t ns;

	cache_ns_attach(f.c, 7, &a, &ns);
	fix_restart(&f);
	assert_int_equal(cache_ns_attach(f.c, 7, &b, &ns), 0);
	assert_int_equal(ns, 2);
	assert_int_equal(cache_ns_attach(f.c, 7, &a, &ns), 0);
	assert_int_equal(ns, 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(the_same_fingerprint_is_the_same_number),
		T(another_shape_is_refused),
		T(arguments_without_sense_are_refused),
		T(a_user_makes_a_bounded_number_of_them),
		T(a_full_table_is_no_space),
		T(numbers_outlive_a_restart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
