/* SPDX-License-Identifier: Apache-2.0 */
#include "fake.h"

static void send_one(struct kvshm *k, uint32_t ns, uint32_t i, uint64_t user_data)
{
	struct kvshm_key key = fake_key_of(100 + i, 0);
	struct kvshm_block b;

	assert_int_equal(kvshm_grant(k, ns, 0, 1, &b, 5000000), 1);
	assert_int_equal(kvshm_commit(k, ns, NULL, &key, &b, 1, 0, user_data), 0);
}

static void completions_come_in_order_and_in_pieces(void **state)
{
	struct kvshm *k = fake_open(*state, 0);
	uint32_t ns = fake_attach_ns(k), i;
	struct kvshm_completion c[3];
	uint64_t next = 0;
	int n;

	for (i = 0; i < 10; i++)
		send_one(k, ns, i, i);
	while (next < 10) {
		n = kvshm_poll(k, c, 3, 5000000);
		assert_true(n > 0);
		for (i = 0; (int)i < n; i++)
			assert_int_equal(c[i].user_data, next++);
	}
	kvshm_close(k);
}

static void a_wait_ends_at_its_deadline(void **state)
{
	struct fake *f = *state;
	struct kvshm *k = fake_open(f, 0);
	uint32_t ns = fake_attach_ns(k);
	struct kvshm_completion c;
	uint64_t before;

	assert_int_equal(kvshm_poll(k, &c, 1, 5000000), 0);	/* nothing in flight: no wait */
	send_one(k, ns, 0, 1);
	assert_int_equal(kvshm_poll(k, &c, 1, 5000000), 1);
	WRITE_ONCE(f->is_deaf, 1);
	/* A grant is in hand from before. */
	send_one(k, ns, 1, 2);
	before = clock_ns();
	assert_int_equal(kvshm_poll(k, &c, 1, 30000), 0);
	assert_true(clock_ns() - before >= 30000000);
	WRITE_ONCE(f->is_deaf, 0);
	assert_int_equal(kvshm_poll(k, &c, 1, 5000000), 1);
	assert_int_equal(c.user_data, 2);
	kvshm_close(k);
}

static void *hear_when_asleep(void *arg)
{
	struct fake *f = arg;

	while (!READ_ONCE(f->seg.hdr->client_asleep))
		sched_yield();
	WRITE_ONCE(f->is_deaf, 0);
	return NULL;
}

static void a_sleeping_wait_is_woken_over_the_socket(void **state)
{
	struct fake *f = *state;
	struct kvshm *k = fake_open(f, 0);
	uint32_t ns = fake_attach_ns(k);
	struct kvshm_completion c;
	pthread_t t;

	send_one(k, ns, 0, 1);
	assert_int_equal(kvshm_poll(k, &c, 1, 5000000), 1);
	WRITE_ONCE(f->is_deaf, 1);
	send_one(k, ns, 1, 2);
	assert_int_equal(pthread_create(&t, NULL, hear_when_asleep, f), 0);
	assert_int_equal(kvshm_poll(k, &c, 1, 5000000), 1);
	pthread_join(t, NULL);
	assert_int_equal(c.user_data, 2);
	assert_int_equal(READ_ONCE(f->seg.hdr->client_asleep), 0);
	kvshm_close(k);
}

static void completions_that_nobody_asked_for_are_ignored(void **state)
{
	static const uint64_t junk[] = { 1ull << 32 | 600, 0xffffffffffffffffull, 77ull << 32 | 3, 511 };
	struct fake *f = *state;
	struct kvshm *k = fake_open(f, 0);
	uint32_t ns = fake_attach_ns(k);
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(junk); i++) {
		WRITE_ONCE(f->junk, junk[i]);
		assert_int_equal(fake_put(k, ns, 200 + i, 3).res, 3);
	}
	WRITE_ONCE(f->junk, 0);
	kvshm_close(k);
}

static void a_forged_index_ends_the_session_not_the_process(void **state)
{
	struct fake *f = *state;
	struct kvshm_client_stats s = { .sz = sizeof(s) };
	struct kvshm *k = fake_open(f, 0);
	uint32_t ns = fake_attach_ns(k);
	struct kvshm_completion c;

	fake_put(k, ns, 5, 1);
	WRITE_ONCE(f->is_deaf, 1);
	WRITE_ONCE(f->seg.hdr->cq.tail, 123456u);
	assert_int_equal(kvshm_poll(k, &c, 1, 0), -ECONNRESET);
	assert_int_equal(kvshm_stats(k, &s), 0);
	assert_int_equal(s.is_attached, 0);
	WRITE_ONCE(f->is_deaf, 0);
	kvshm_close(k);
}

static void completions_that_are_never_taken_stop_the_puts(void **state)
{
	struct fake *f = *state;
	struct kvshm *k = fake_open(f, 0);
	uint32_t ns = fake_attach_ns(k), i;
	struct kvshm_completion c;
	static char bytes[FAKE_LEN];
	const void *src = bytes;
	struct kvshm_key key = fake_key_of(5, 0);
	int ret = 0;

	fake_put(k, ns, 5, 1);
	for (i = 0; i < 10000 && ret == 0; i++)	/* a duplicate each */
		ret = kvshm_put(k, ns, NULL, &key, &src, NULL, 1, 0, i, 0);
	assert_int_equal(ret, -ENOBUFS);
	assert_int_equal(kvshm_poll(k, &c, 1, 0), 1);
	assert_int_equal(c.user_data, 0);	/* none was lost */
	assert_int_equal(kvshm_put(k, ns, NULL, &key, &src, NULL, 1, 0, i, 0), 0);
	kvshm_close(k);
}

#define T(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(completions_come_in_order_and_in_pieces),
		T(a_wait_ends_at_its_deadline),
		T(a_sleeping_wait_is_woken_over_the_socket),
		T(completions_that_nobody_asked_for_are_ignored),
		T(a_forged_index_ends_the_session_not_the_process),
		T(completions_that_are_never_taken_stop_the_puts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
