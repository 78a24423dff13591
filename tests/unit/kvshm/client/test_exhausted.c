/* SPDX-License-Identifier: Apache-2.0 */
/* A handle is opened whole or not at all, whichever of its allocations fails. */
#include "fake.h"

#include "tests/lib/fault.h"

static struct fake *fake;
static struct kvshm *handle;

static int make_handle(void)
{
	struct kvshm_options o = { .sz = sizeof(o), .socket = fake->path, .timeout_ms = 5000 };

	return kvshm_open(&o, &handle);
}

static void unmake_handle(void)
{
	handle = kvshm_close(handle);
}

static void opening_leaves_nothing_behind_when_an_allocation_fails(void **state)
{
	fake = *state;
	assert_true(fault_each(make_handle, unmake_handle) >= 10);
}

/* Return: that of the put; its outcome is taken if it was sent. */
static int put_one(struct kvshm *k, uint32_t ns, uint32_t chain)
{
	static char bytes[FAKE_LEN];
	const void *src = bytes;
	struct kvshm_completion c;
	struct kvshm_key key;
	int ret;

	fake_keys(&key, 1, chain);
	ret = kvshm_put(k, ns, NULL, &key, &src, NULL, 1, 0, chain, 5000000);
	if (ret == 0)
		assert_int_equal(kvshm_poll(k, &c, 1, 5000000), 1);
	return ret;
}

static void put_with_failures(struct fake *f, unsigned flags)
{
	bool fired = true;
	unsigned k;

	for (k = 1; fired; k++) {
		struct kvshm_ns_desc d = fake_desc(1);
		struct kvshm *h = fake_open(f, flags);
		uint32_t ns;
		int ret;

		fault_arm(k);
		ret = kvshm_attach_ns(h, &d, &ns);
		if (ret == 0)
			ret = put_one(h, ns, k);
		fired = fault_disarm();
		if (ret < 0 && (!fired || (ret != -ENOMEM && ret != -EMFILE)))
			fail_msg("allocation %u fails: error %d", k, ret);
		assert_int_equal(fake_put(h, fake_attach_ns(h), 1000 + k, 2).res, 2);
		kvshm_close(h);
	}
}

static void a_failed_allocation_of_a_staged_put_is_an_error_and_the_next_one_works(void **state)
{
	put_with_failures(*state, KVSHM_OPEN_UNTRUSTED);
}

static void a_failed_allocation_of_a_put_in_place_is_an_error_and_the_next_one_works(void **state)
{
	put_with_failures(*state, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(opening_leaves_nothing_behind_when_an_allocation_fails, fake_setup,
						fake_teardown),
		cmocka_unit_test_setup_teardown(
			a_failed_allocation_of_a_staged_put_is_an_error_and_the_next_one_works, fake_setup,
			fake_teardown),
		cmocka_unit_test_setup_teardown(
			a_failed_allocation_of_a_put_in_place_is_an_error_and_the_next_one_works, fake_setup,
			fake_teardown),
	};

	if (FAULT_MISSING) {
		printf("a sanitizer's build has its own malloc()\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
