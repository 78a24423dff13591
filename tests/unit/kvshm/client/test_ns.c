/* SPDX-License-Identifier: Apache-2.0 */
#include "fake.h"

static void the_same_description_gives_the_same_number(void **state)
{
	struct kvshm *k = fake_open(*state, 0);
	struct kvshm_ns_desc d = fake_desc(1), e = fake_desc(2);
	uint32_t a, b, c;

	assert_int_equal(kvshm_attach_ns(k, &d, &a), 0);
	assert_int_equal(kvshm_attach_ns(k, &e, &b), 0);
	assert_int_equal(kvshm_attach_ns(k, &d, &c), 0);
	assert_int_equal(a, c);
	assert_int_not_equal(a, b);
	kvshm_close(k);
}

static void another_layout_or_length_is_refused(void **state)
{
	struct fake *f = *state;
	struct kvshm *k = fake_open(f, 0), *other;
	struct kvshm_ns_desc d = fake_desc(1);
	uint32_t ns = 99;

	fake_attach_ns(k);
	d.layout[3] = 1;
	assert_int_equal(kvshm_attach_ns(k, &d, &ns), -EMEDIUMTYPE);
	kvshm_close(k);
	other = fake_open(f, 0);
	assert_int_equal(kvshm_attach_ns(other, &d, &ns), -EMEDIUMTYPE);
	d = fake_desc(1);
	d.block_len = 2 * FAKE_LEN;
	assert_int_equal(kvshm_attach_ns(other, &d, &ns), -EMEDIUMTYPE);
	assert_int_equal(ns, 99);
	/* The right one is still to be had. */
	fake_attach_ns(other);
	kvshm_close(other);
}

static void a_full_table_is_told(void **state)
{
	struct kvshm *k = fake_open(*state, 0);
	struct kvshm_ns_desc d;
	uint32_t ns;
	uint8_t i;

	for (i = 1; i < 8; i++) {
		d = fake_desc(i);
		assert_int_equal(kvshm_attach_ns(k, &d, &ns), 0);
	}
	d = fake_desc(8);
	assert_int_equal(kvshm_attach_ns(k, &d, &ns), -ENOSPC);
	kvshm_close(k);
}

static void senseless_descriptions_are_refused(void **state)
{
	struct kvshm *k = fake_open(*state, 0);
	struct kvshm_ns_desc d;
	uint32_t ns;

	d = fake_desc(1);
	d.block_len = 4095;
	assert_int_equal(kvshm_attach_ns(k, &d, &ns), -EINVAL);
	d = fake_desc(1);
	d.block_len = KVSHM_BLOCK_MAX + 1;
	assert_int_equal(kvshm_attach_ns(k, &d, &ns), -EINVAL);
	d = fake_desc(1);
	d.block_tokens = 0;
	assert_int_equal(kvshm_attach_ns(k, &d, &ns), -EINVAL);
	d = fake_desc(1);
	memset(d.label, 'x', sizeof(d.label));
	assert_int_equal(kvshm_attach_ns(k, &d, &ns), -EINVAL);
	kvshm_close(k);
}

static void a_deaf_daemon_does_not_hold_a_new_namespace_up(void **state)
{
	struct fake *f = *state;
	struct kvshm_options o = { .sz = sizeof(o), .socket = f->path, .timeout_ms = 100 };
	struct kvshm_ns_desc d = fake_desc(1);
	struct kvshm *k;
	uint32_t ns;

	assert_int_equal(kvshm_open(&o, &k), 0);
	WRITE_ONCE(f->is_deaf, 1);
	assert_int_equal(kvshm_attach_ns(k, &d, &ns), -ETIMEDOUT);
	WRITE_ONCE(f->is_deaf, 0);
	assert_int_equal(kvshm_attach_ns(k, &d, &ns), 0);
	kvshm_close(k);
}

#define T(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_same_description_gives_the_same_number),
		T(another_layout_or_length_is_refused),
		T(a_full_table_is_told),
		T(senseless_descriptions_are_refused),
		T(a_deaf_daemon_does_not_hold_a_new_namespace_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
