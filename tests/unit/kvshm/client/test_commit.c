/* SPDX-License-Identifier: Apache-2.0 */
#include "fake.h"

static void grant_one(struct kvshm *k, uint32_t ns, struct kvshm_block *b)
{
	assert_int_equal(kvshm_grant(k, ns, 0, 1, b, 5000000), 1);
}

static void committed_blocks_are_found_with_the_length_tokens_and_sum_given(void **state)
{
	struct kvshm *k = fake_open(*state, 0);
	uint32_t ns = fake_attach_ns(k);
	struct kvshm_key key = fake_key_of(3, 0);
	struct kvshm_completion c;
	struct kvshm_block b, got;
	struct kvshm_pin pin;

	grant_one(k, ns, &b);
	fake_fill(b.ptr, 3, 0, 60000);
	b.length = 60000;
	b.tokens = 15;
	b.checksum = kvshm_checksum(b.ptr, 60000);
	assert_int_equal(kvshm_commit(k, ns, NULL, &key, &b, 1, 0, 42), 0);
	assert_int_equal(kvshm_poll(k, &c, 1, 5000000), 1);
	assert_int_equal(c.user_data, 42);
	assert_int_equal(c.res, 1);
	assert_int_equal(kvshm_acquire(k, ns, &key, 1, &pin), 1);
	assert_int_equal(kvshm_resolve(k, &pin, &key, &got), 1);
	assert_int_equal(got.length, 60000);
	assert_int_equal(got.tokens, 15);
	assert_int_equal(got.checksum, b.checksum);
	kvshm_close(k);
}

static void a_parent_that_is_not_there_drops_the_commit(void **state)
{
	struct kvshm *k = fake_open(*state, 0);
	uint32_t ns = fake_attach_ns(k);
	struct kvshm_key key = fake_key_of(3, 1), parent = fake_key_of(3, 0);
	struct kvshm_completion c;
	struct kvshm_block b;

	grant_one(k, ns, &b);
	assert_int_equal(kvshm_commit(k, ns, &parent, &key, &b, 1, 0, 1), 0);
	assert_int_equal(kvshm_poll(k, &c, 1, 5000000), 1);
	assert_int_equal(c.res, -ENOENT);
	assert_int_equal(c.nr_dropped, 1);
	kvshm_close(k);
}

static void the_parent_is_pinned_until_the_completion(void **state)
{
	struct fake *f = *state;
	struct kvshm *k = fake_open(f, 0);
	uint32_t ns = fake_attach_ns(k);
	struct kvshm_key key = fake_key_of(3, 1), parent = fake_key_of(3, 0);
	struct kvshm_completion c;
	struct kvshm_block b;
	uint64_t words[8];

	fake_put(k, ns, 3, 1);
	grant_one(k, ns, &b);
	WRITE_ONCE(f->is_deaf, 1);
	assert_int_equal(kvshm_commit(k, ns, &parent, &key, &b, 1, 0, 1), 0);
	assert_int_equal(pread(f->pin_fd, words, sizeof(words), 0), sizeof(words));
	assert_true(words[1] != 0);
	WRITE_ONCE(f->is_deaf, 0);
	assert_int_equal(kvshm_poll(k, &c, 1, 5000000), 1);
	assert_int_equal(c.res, 1);
	assert_int_equal(pread(f->pin_fd, words, sizeof(words), 0), sizeof(words));
	assert_int_equal(words[1], 0);
	kvshm_close(k);
}

static void bad_arguments_are_refused_and_the_blocks_go_back(void **state)
{
	struct fake *f = *state;
	struct kvshm *k = fake_open(f, 0);
	uint32_t ns = fake_attach_ns(k);
	struct kvshm_key key = fake_key_of(3, 0);
	struct kvshm_block b;

	grant_one(k, ns, &b);
	assert_int_equal(kvshm_commit(k, ns, &key, &key, &b, 1, KVSHM_COMMIT_LOOSE, 0), -EINVAL);
	grant_one(k, ns, &b);
	assert_int_equal(kvshm_commit(k, ns, NULL, &key, &b, 1, 0x40, 0), -EINVAL);
	grant_one(k, ns, &b);
	assert_int_equal(kvshm_commit(k, ns + 5, NULL, &key, &b, 1, 0, 0), -EINVAL);
	assert_int_equal(kvshm_commit(k, ns, NULL, &key, &b, 0, 0, 0), -EINVAL);
	kvshm_close(k);
	assert_int_equal(READ_ONCE(f->nr_granted), READ_ONCE(f->nr_returned));
}

static void a_deaf_daemon_fills_the_queue_and_nothing_waits(void **state)
{
	struct fake *f = *state;
	struct kvshm_client_stats s = { .sz = sizeof(s) };
	struct kvshm_key key = fake_key_of(3, 0);
	struct kvshm_block b[600];
	struct kvshm *k;
	uint32_t ns;
	int i, n, ret = 0;

	f->credit_blocks = 600;
	k = fake_open(f, 0);
	ns = fake_attach_ns(k);
	for (n = 0; n < 400; n += kvshm_grant(k, ns, 0, 400 - (unsigned)n, b + n, 5000000))
		;
	WRITE_ONCE(f->is_deaf, 1);
	for (i = 0; i < 400 && ret == 0; i++)
		ret = kvshm_commit(k, ns, NULL, &key, &b[i], 1, 0, 1);
	assert_int_equal(ret, -ENOBUFS);
	assert_true(i > (int)KVSHM_SQ_ENTRIES - 8 && i <= (int)KVSHM_SQ_ENTRIES + 1);
	assert_int_equal(kvshm_stats(k, &s), 0);
	assert_int_equal(s.dropped_credit, 1);
	WRITE_ONCE(f->is_deaf, 0);
	kvshm_return(k, b + i, 400 - (unsigned)i);
	kvshm_close(k);
}

static void arguments_survive_many_turns_of_their_ring(void **state)
{
	struct kvshm *k = fake_open(*state, 0);
	uint32_t ns = fake_attach_ns(k);
	struct kvshm_key keys[700];
	struct kvshm_completion c[64];
	struct kvshm_block b[7];
	unsigned done = 0, i, published = 0;
	int n;

	fake_serve_extent(*state, 1);
	/* Spans of 7 records: the area of 4,096 does not divide evenly, so they wrap at odd places. */
	fake_keys(keys, 700, 3);
	while (done < 700) {
		for (n = 0; n < 7; n += kvshm_grant(k, ns, 0, 7 - (unsigned)n, b + n, 5000000))
			;
		assert_int_equal(kvshm_commit(k, ns, done ? &keys[done - 1] : NULL, keys + done, b, 7, 0, 1), 0);
		done += 7;
		n = kvshm_poll(k, c, 64, 0);
		for (i = 0; (int)i < n; i++)
			published += (unsigned)c[i].res;
	}
	while (published < 700) {
		n = kvshm_poll(k, c, 64, 5000000);
		assert_true(n > 0);
		for (i = 0; (int)i < n; i++)
			published += (unsigned)c[i].res;
	}
	assert_int_equal(published, 700);
	kvshm_close(k);
}

static void drop_waits_for_its_number(void **state)
{
	struct kvshm *k = fake_open(*state, 0);
	struct kvshm_key key = fake_key_of(3, 0);

	assert_int_equal(kvshm_drop(k, fake_attach_ns(k), &key), 7);
	assert_int_equal(kvshm_drop(k, 9, &key), -EINVAL);
	kvshm_close(k);
}

static void drop_ends_when_the_daemon_is_deaf(void **state)
{
	struct fake *f = *state;
	struct kvshm_options o = { .sz = sizeof(o), .socket = f->path, .timeout_ms = 100 };
	struct kvshm *k;
	uint32_t ns;

	assert_int_equal(kvshm_open(&o, &k), 0);
	ns = fake_attach_ns(k);
	WRITE_ONCE(f->is_deaf, 1);
	assert_int_equal(kvshm_drop(k, ns, NULL), -ETIMEDOUT);
	WRITE_ONCE(f->is_deaf, 0);
	/* The late answer is nobody's. */
	assert_int_equal(kvshm_drop(k, ns, NULL), 7);
	kvshm_close(k);
}

#define T(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(committed_blocks_are_found_with_the_length_tokens_and_sum_given),
		T(a_parent_that_is_not_there_drops_the_commit),
		T(the_parent_is_pinned_until_the_completion),
		T(bad_arguments_are_refused_and_the_blocks_go_back),
		T(a_deaf_daemon_fills_the_queue_and_nothing_waits),
		T(arguments_survive_many_turns_of_their_ring),
		T(drop_waits_for_its_number),
		T(drop_ends_when_the_daemon_is_deaf),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
