/* SPDX-License-Identifier: Apache-2.0 */
#include "fake.h"

static void granted_blocks_are_neighbours_writable_and_within_the_credit(void **state)
{
	struct fake *f = *state;
	struct kvshm *k = fake_open(f, 0);
	uint32_t ns = fake_attach_ns(k);
	struct kvshm_block b[40];
	int n, i;

	n = kvshm_grant(k, ns, 0, 40, b, 5000000);
	assert_true(n > 0 && n <= (int)f->credit_blocks);
	for (i = 0; i < n; i++) {
		assert_int_equal(b[i].length, FAKE_LEN);
		assert_int_equal(b[i].id, b[0].id + (uint32_t)i);
		memset(b[i].ptr, i, FAKE_LEN);
	}
	/* All out: nothing more to be had, and no wait for it. */
	assert_int_equal(kvshm_grant(k, ns, 0, 1, b + n, 0), 16 - n > 0);
	kvshm_close(k);
}

static void without_time_to_wait_the_first_grant_only_asks(void **state)
{
	struct kvshm *k = fake_open(*state, 0);
	uint32_t ns = fake_attach_ns(k);
	uint64_t end = clock_ns() + FAKE_SOON_NS;
	struct kvshm_block b;
	int n = kvshm_grant(k, ns, 0, 1, &b, 0);

	while (n == 0 && clock_ns() < end) {
		sched_yield();
		n = kvshm_grant(k, ns, 0, 1, &b, 0);
	}
	assert_int_equal(n, 1);
	kvshm_close(k);
}

static void returned_blocks_can_be_granted_again(void **state)
{
	struct fake *f = *state;
	struct kvshm *k = fake_open(f, 0);
	uint32_t ns = fake_attach_ns(k);
	struct kvshm_block b[16];
	unsigned round, i;
	int n;

	for (round = 0; round < 10; round++) {
		for (n = 0; n < 16; n += kvshm_grant(k, ns, 0, 16 - (unsigned)n, b + n, 5000000))
			;
		for (i = 0; i < 16; i++)
			assert_int_equal(READ_ONCE(f->dir.desc[b[i].id].state) & KVSHM_STATE_MASK, KVSHM_BLOCK_GRANTED);
		kvshm_return(k, b, 16);
	}
	kvshm_close(k);
	assert_int_equal(READ_ONCE(f->nr_granted), READ_ONCE(f->nr_returned));
}

static void idle_blocks_of_one_length_give_way_to_another(void **state)
{
	struct fake *f = *state;
	struct kvshm *k = fake_open(f, 0);
	uint32_t ns = fake_attach_ns(k);
	struct kvshm_block b[2];

	/* The pool of full blocks takes all of the credit. */
	assert_int_equal(kvshm_grant(k, ns, 0, 1, b, 5000000), 1);
	assert_int_equal(kvshm_grant(k, ns, 4096, 1, b + 1, 5000000), 1);
	assert_int_equal(b[1].length, 4096);
	assert_int_equal(READ_ONCE(f->dir.desc[b[1].id].length), 4096);
	kvshm_close(k);
	assert_int_equal(READ_ONCE(f->nr_granted) - READ_ONCE(f->nr_returned), 2);
}

static void lengths_past_the_namespaces_are_refused(void **state)
{
	struct kvshm *k = fake_open(*state, 0);
	uint32_t ns = fake_attach_ns(k);
	struct kvshm_block b;

	assert_int_equal(kvshm_grant(k, ns, FAKE_LEN + 1, 1, &b, 1000), -EINVAL);
	assert_int_equal(kvshm_grant(k, ns + 1, 0, 1, &b, 1000), -EINVAL);
	kvshm_close(k);
}

static void an_untrusted_client_gets_no_grant(void **state)
{
	struct kvshm *k = fake_open(*state, KVSHM_OPEN_UNTRUSTED);
	uint32_t ns = fake_attach_ns(k);
	struct kvshm_block b;

	assert_int_equal(kvshm_grant(k, ns, 0, 1, &b, 1000), -EPERM);
	kvshm_close(k);
}

static void a_block_longer_than_the_credit_can_still_be_granted(void **state)
{
	struct fake *f = *state;
	struct kvshm_block b;
	struct kvshm *k;

	f->credit_bytes = 4096;
	k = fake_open(f, 0);
	assert_int_equal(kvshm_grant(k, fake_attach_ns(k), 0, 1, &b, 5000000), 1);
	kvshm_close(k);
}

#define T(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(granted_blocks_are_neighbours_writable_and_within_the_credit),
		T(without_time_to_wait_the_first_grant_only_asks),
		T(returned_blocks_can_be_granted_again),
		T(idle_blocks_of_one_length_give_way_to_another),
		T(lengths_past_the_namespaces_are_refused),
		T(an_untrusted_client_gets_no_grant),
		T(a_block_longer_than_the_credit_can_still_be_granted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
