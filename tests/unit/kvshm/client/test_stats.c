/* SPDX-License-Identifier: Apache-2.0 */
#include "fake.h"

static void the_counters_lie_in_the_segment_for_the_daemon_to_read(void **state)
{
	struct fake *f = *state;
	struct kvshm *k = fake_open(f, 0);
	uint32_t ns = fake_attach_ns(k);

	fake_put(k, ns, 5, 4);
	assert_int_equal(READ_ONCE(f->seg.hdr->counter[KVSHM_CC_COMMIT_BLOCKS]), 4);
	assert_int_equal(READ_ONCE(f->seg.hdr->counter[KVSHM_CC_COPY_IN_BYTES]), 4 * FAKE_LEN);
	kvshm_close(k);
}

static void a_caller_of_another_size_gets_what_it_knows(void **state)
{
	struct kvshm *k = fake_open(*state, 0);
	struct kvshm_client_stats s = { .sz = offsetof(struct kvshm_client_stats, messages) };

	s.messages = 12345;
	fake_put(k, fake_attach_ns(k), 5, 4);
	assert_int_equal(kvshm_stats(k, &s), 0);
	assert_int_equal(s.commit_blocks, 4);
	assert_int_equal(s.messages, 12345);
	s.sz = 8;
	assert_int_equal(kvshm_stats(k, &s), -EINVAL);
	s.sz = sizeof(s) + 8;
	assert_int_equal(kvshm_stats(k, &s), -EINVAL);
	s.sz = sizeof(s);
	assert_int_equal(kvshm_stats(k, &s), 0);
	assert_int_equal(s.is_trusted, 1);
	assert_int_equal(s.is_attached, 1);
	assert_true(s.messages > 0);
	kvshm_close(k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_counters_lie_in_the_segment_for_the_daemon_to_read,
						fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(a_caller_of_another_size_gets_what_it_knows, fake_setup,
						fake_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
