/* SPDX-License-Identifier: Apache-2.0 */
#include "fake.h"

struct input {				/* @nr blocks of one chain, lengths varied */
	struct kvshm_key keys[64];
	void *src[64];
	uint32_t lengths[64];
	unsigned nr;
};

static void input_make(struct input *in, uint32_t chain, unsigned nr)
{
	unsigned i;

	in->nr = nr;
	fake_keys(in->keys, nr, chain);
	for (i = 0; i < nr; i++) {
		in->lengths[i] = FAKE_LEN;
		in->src[i] = malloc(FAKE_LEN);
		fake_fill(in->src[i], chain, i, FAKE_LEN);
	}
}

static void input_end(struct input *in)
{
	while (in->nr)
		free(in->src[--in->nr]);
}

static int put(struct kvshm *k, uint32_t ns, const struct input *in, unsigned timeout_us)
{
	return kvshm_put(k, ns, NULL, in->keys, (const void *const *)in->src, in->lengths, in->nr, 0, 77,
			 timeout_us);
}

static void check_back(struct kvshm *k, uint32_t ns, const struct input *in, uint32_t chain)
{
	static char copy[64][FAKE_LEN];
	struct kvshm_block b[64];
	struct kvshm_pin pin;
	void *dst[64];
	unsigned i;

	assert_int_equal(kvshm_acquire(k, ns, in->keys, in->nr, &pin), in->nr);
	assert_int_equal(kvshm_resolve(k, &pin, in->keys, b), in->nr);
	for (i = 0; i < in->nr; i++)
		dst[i] = copy[i];
	assert_int_equal(kvshm_get(k, b, in->nr, dst, KVSHM_GET_VERIFY), 0);
	for (i = 0; i < in->nr; i++) {
		assert_int_equal(b[i].length, in->lengths[i]);
		assert_true(fake_is_filled(dst[i], chain, i, in->lengths[i]));
	}
	kvshm_release(k, &pin);
}

static void round_trip(struct fake *f, unsigned flags)
{
	struct kvshm *k = fake_open(f, flags);
	uint32_t ns = fake_attach_ns(k);
	struct kvshm_completion c;
	struct input in;

	/* More than the credit and the window hold, a tail of another size class, one of the same. */
	input_make(&in, 4, 50);
	in.lengths[49] = 5000;
	in.lengths[20] = FAKE_LEN - 100;
	assert_int_equal(put(k, ns, &in, 5000000), 0);
	assert_int_equal(kvshm_poll(k, &c, 1, 5000000), 1);
	assert_int_equal(c.user_data, 77);
	assert_int_equal(c.res, 50);
	assert_int_equal(c.nr_dropped + c.nr_duplicate, 0);
	assert_int_equal(kvshm_poll(k, &c, 1, 0), 0);	/* one put, one completion */
	check_back(k, ns, &in, 4);
	input_end(&in);
	kvshm_close(k);
}

static void a_trusted_put_of_many_blocks_is_one_completion(void **state)
{
	round_trip(*state, 0);
}

static void an_untrusted_put_goes_through_the_window(void **state)
{
	struct fake *f = *state;

	round_trip(f, KVSHM_OPEN_UNTRUSTED);
	assert_int_equal(READ_ONCE(f->nr_granted), 0);
}

static void a_payload_longer_than_the_window_is_streamed(void **state)
{
	struct fake *f = *state;
	struct kvshm *k = fake_open(f, KVSHM_OPEN_UNTRUSTED);
	struct kvshm_ns_desc d = fake_desc(3);
	struct kvshm_key key = fake_key_of(4, 0);
	uint32_t len = 6u << 20, ns;
	void *bytes = malloc(len);
	const void *src = bytes;
	struct kvshm_completion c;
	struct kvshm_block b;
	struct kvshm_pin pin;

	d.block_len = len;
	assert_int_equal(kvshm_attach_ns(k, &d, &ns), 0);
	fake_fill(bytes, 4, 0, len);
	assert_int_equal(kvshm_put(k, ns, NULL, &key, &src, NULL, 1, 0, 1, 5000000), 0);
	assert_int_equal(kvshm_poll(k, &c, 1, 5000000), 1);
	assert_int_equal(c.res, 1);
	assert_int_equal(kvshm_acquire(k, ns, &key, 1, &pin), 1);
	assert_int_equal(kvshm_resolve(k, &pin, &key, &b), 1);
	assert_int_equal(b.length, len);
	assert_true(fake_is_filled(b.ptr, 4, 0, len));
	free(bytes);
	kvshm_close(k);
}

static void blocks_that_are_there_are_neither_copied_nor_sent(void **state)
{
	struct kvshm_client_stats s = { .sz = sizeof(s) };
	struct kvshm *k = fake_open(*state, 0);
	uint32_t ns = fake_attach_ns(k);
	struct kvshm_completion c;
	struct input in;

	fake_put(k, ns, 4, 6);
	input_make(&in, 4, 10);
	assert_int_equal(put(k, ns, &in, 5000000), 0);
	assert_int_equal(kvshm_poll(k, &c, 1, 5000000), 1);
	assert_int_equal(c.res, 4);
	assert_int_equal(c.nr_duplicate, 6);
	assert_int_equal(put(k, ns, &in, 5000000), 0);
	assert_int_equal(kvshm_poll(k, &c, 1, 0), 1);
	assert_int_equal(c.res, 0);
	assert_int_equal(c.nr_duplicate, 10);
	assert_int_equal(kvshm_stats(k, &s), 0);
	assert_int_equal(s.copy_in_bytes, 10 * FAKE_LEN);
	check_back(k, ns, &in, 4);
	input_end(&in);
	kvshm_close(k);
}

static void without_credit_the_put_is_dropped_and_counted(void **state)
{
	struct fake *f = *state;
	struct kvshm_client_stats s = { .sz = sizeof(s) };
	struct kvshm *k = fake_open(f, 0);
	uint32_t ns = fake_attach_ns(k);
	struct kvshm_completion c;
	struct input in;

	input_make(&in, 4, 3);
	WRITE_ONCE(f->next_id, FAKE_BLOCKS + 1);		/* full */
	assert_int_equal(put(k, ns, &in, 20000), -ENOBUFS);
	assert_int_equal(kvshm_poll(k, &c, 1, 0), 0);
	assert_int_equal(kvshm_stats(k, &s), 0);
	assert_int_equal(s.dropped_credit, 3);
	input_end(&in);
	kvshm_close(k);
}

static void a_put_that_finds_room_for_some_publishes_those(void **state)
{
	struct fake *f = *state;
	struct kvshm *k = fake_open(f, 0);
	uint32_t ns = fake_attach_ns(k);
	struct kvshm_completion c;
	struct input in;

	input_make(&in, 4, 20);
	fake_serve_extent(f, 1);
	WRITE_ONCE(f->next_id, FAKE_BLOCKS - 9 + 1);
	assert_int_equal(put(k, ns, &in, 20000), 0);
	assert_int_equal(kvshm_poll(k, &c, 1, 5000000), 1);
	assert_int_equal(c.res, 9);
	assert_int_equal(c.nr_dropped, 11);
	input_end(&in);
	kvshm_close(k);
}

static void a_window_that_nobody_empties_ends_the_put_in_time(void **state)
{
	struct fake *f = *state;
	struct kvshm *k = fake_open(f, KVSHM_OPEN_UNTRUSTED);
	uint32_t ns = fake_attach_ns(k);
	struct kvshm_completion c;
	struct input in;

	input_make(&in, 4, 20);
	fake_put(k, ns, 5, 1);
	WRITE_ONCE(f->is_blocked, 1);
	assert_int_equal(put(k, ns, &in, 20000), 0);	/* 16 slices fit */
	assert_int_equal(kvshm_poll(k, &c, 1, 10000), 0);
	WRITE_ONCE(f->is_blocked, 0);
	assert_int_equal(kvshm_poll(k, &c, 1, 5000000), 1);
	assert_int_equal(c.res, 16);
	assert_int_equal(c.nr_dropped, 4);
	input_end(&in);
	kvshm_close(k);
}

static void *die_in_mid_stream(void *arg)
{
	struct fake *f = arg;

	while (!f->seg.hdr || READ_ONCE(f->seg.hdr->staging.tail) < KVSHM_STAGING_SLICES)
		sched_yield();
	fake_die(f);
	return NULL;
}

static void a_daemon_that_dies_in_mid_stream_ends_the_put(void **state)
{
	struct fake *f = *state;
	struct kvshm *k = fake_open(f, KVSHM_OPEN_UNTRUSTED);
	struct kvshm_client_stats s = { .sz = sizeof(s) };
	struct kvshm_ns_desc d = fake_desc(3);
	struct kvshm_key key = fake_key_of(4, 0);
	struct kvshm_completion c;
	const void *src;
	pthread_t t;
	uint32_t ns;

	d.block_len = 6u << 20;
	src = calloc(1, d.block_len);
	assert_int_equal(kvshm_attach_ns(k, &d, &ns), 0);
	WRITE_ONCE(f->is_blocked, 1);
	assert_int_equal(pthread_create(&t, NULL, die_in_mid_stream, f), 0);
	assert_int_equal(kvshm_put(k, ns, NULL, &key, &src, NULL, 1, 0, 1, 5000000), -ECONNRESET);
	pthread_join(t, NULL);
	assert_int_equal(kvshm_stats(k, &s), 0);
	assert_int_equal(s.dropped_dead, 1);
	assert_int_equal(kvshm_poll(k, &c, 1, 0), -ECONNRESET);
	WRITE_ONCE(f->is_blocked, 0);
	fake_start(f);
	free((void *)(uintptr_t)src);
	kvshm_close(k);
}

static void a_refused_staged_put_ends_the_session_before_bytes_are_mistaken(void **state)
{
	struct fake *f = *state;
	struct kvshm *k = fake_open(f, KVSHM_OPEN_UNTRUSTED);
	struct kvshm_client_stats s = { .sz = sizeof(s) };
	uint32_t ns = fake_attach_ns(k);
	uint64_t end = clock_ns() + FAKE_SOON_NS;
	struct kvshm_completion c;
	struct input in;
	int ret;

	input_make(&in, 4, 2);
	WRITE_ONCE(f->staged_refusal, -ENOMEM);
	/* The refusal may be there before the put has returned: then it is the put that says so. */
	ret = put(k, ns, &in, 5000000);
	if (ret == 0) {
		assert_int_equal(kvshm_poll(k, &c, 1, 5000000), 1);
		assert_int_equal(c.res, -ENOMEM);
		assert_int_equal(c.nr_dropped, 2);
	} else {
		assert_int_equal(ret, -ECONNRESET);
	}
	WRITE_ONCE(f->staged_refusal, 0);
	while (put(k, ns, &in, 5000000) < 0)
		assert_true(clock_ns() < end);
	assert_int_equal(kvshm_poll(k, &c, 1, 5000000), 1);
	assert_int_equal(c.res, 2);
	assert_int_equal(kvshm_stats(k, &s), 0);
	assert_int_equal(s.reattaches, 1);
	check_back(k, ns, &in, 4);
	input_end(&in);
	kvshm_close(k);
}

static void senseless_puts_are_refused(void **state)
{
	struct kvshm *k = fake_open(*state, 0);
	uint32_t ns = fake_attach_ns(k);
	struct input in;

	input_make(&in, 4, 2);
	in.lengths[1] = 0;
	assert_int_equal(put(k, ns, &in, 1000), -EINVAL);
	in.lengths[1] = FAKE_LEN + 1;
	assert_int_equal(put(k, ns, &in, 1000), -EINVAL);
	in.lengths[1] = FAKE_LEN;
	assert_int_equal(put(k, ns + 1, &in, 1000), -EINVAL);
	assert_int_equal(put(k, 0, &in, 1000), -EINVAL);
	input_end(&in);
	kvshm_close(k);
}

#define T(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_trusted_put_of_many_blocks_is_one_completion),
		T(an_untrusted_put_goes_through_the_window),
		T(a_payload_longer_than_the_window_is_streamed),
		T(blocks_that_are_there_are_neither_copied_nor_sent),
		T(without_credit_the_put_is_dropped_and_counted),
		T(a_put_that_finds_room_for_some_publishes_those),
		T(a_window_that_nobody_empties_ends_the_put_in_time),
		T(a_daemon_that_dies_in_mid_stream_ends_the_put),
		T(a_refused_staged_put_ends_the_session_before_bytes_are_mistaken),
		T(senseless_puts_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
