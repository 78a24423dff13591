/* SPDX-License-Identifier: Apache-2.0 */
#include "fake.h"

/* Until @cond, or the test fails; the library's own waits are shorter. */
#define EVENTUALLY(cond)                                                                           \
	do {                                                                                       \
		uint64_t end_ns = clock_ns() + FAKE_SOON_NS;                                       \
		while (!(cond)) {                                                                  \
			assert_true(clock_ns() < end_ns);                                          \
			sched_yield();                                                             \
		}                                                                                  \
	} while (0)

static struct kvshm_client_stats stats_of(struct kvshm *k)
{
	struct kvshm_client_stats s = { .sz = sizeof(s) };

	assert_int_equal(kvshm_stats(k, &s), 0);
	return s;
}

static int acquire(struct kvshm *k, uint32_t ns, uint32_t chain, struct kvshm_pin *pin)
{
	struct kvshm_key keys[8];

	fake_keys(keys, 8, chain);
	return kvshm_acquire(k, ns, keys, 8, pin);
}

static bool is_readable(struct kvshm *k, const struct kvshm_pin *pin, uint32_t chain)
{
	struct kvshm_key keys[8];
	struct kvshm_block b[8];
	unsigned i;

	fake_keys(keys, 8, chain);
	if (kvshm_resolve(k, pin, keys, b) != (int)pin->nr)
		return false;
	for (i = 0; i < pin->nr; i++)
		if (!fake_is_filled(b[i].ptr, chain, i, FAKE_LEN))
			return false;
	return true;
}

static void without_a_daemon_open_says_so(void **state)
{
	struct kvshm_options o = { .sz = sizeof(o), .socket = "/nonexistent/kvshm.sock" };
	struct kvshm *k = NULL;

	assert_int_equal(kvshm_open(&o, &k), -ENOENT);
	assert_null(k);
	o.flags = 0x80;
	assert_int_equal(kvshm_open(&o, &k), -EINVAL);
	assert_null(kvshm_close(NULL));
}

static void a_refusal_reaches_the_caller(void **state)
{
	struct fake *f = *state;
	struct kvshm_options o = { .sz = sizeof(o), .socket = f->path };
	struct kvshm *k = NULL;

	WRITE_ONCE(f->refusal, -EAGAIN);
	assert_int_equal(kvshm_open(&o, &k), -EAGAIN);
	WRITE_ONCE(f->refusal, -EPROTONOSUPPORT);
	assert_int_equal(kvshm_open(&o, &k), -EPROTONOSUPPORT);
	assert_null(k);
}

static void a_silent_daemon_does_not_hold_open_up(void **state)
{
	struct fake *f = *state;
	struct kvshm_options o = { .sz = sizeof(o), .socket = f->path, .timeout_ms = 50 };
	struct kvshm *k = NULL;
	uint64_t before;

	fake_die(f);
	f->listen = sock_listen(f->path, 0600, 16);	/* connects, and nobody answers */
	before = clock_ns();
	assert_int_equal(kvshm_open(&o, &k), -ETIMEDOUT);
	assert_true(clock_ns() - before < FAKE_SOON_NS);
	close(f->listen);
	fake_start(f);
}

static void the_pin_file_is_locked_and_closed_in_the_end(void **state)
{
	struct fake *f = *state;
	struct kvshm *k = fake_open(f, 0);
	uint32_t ns = fake_attach_ns(k);
	uint64_t word[2];
	struct kvshm_pin pin;
	int fd;

	fake_put(k, ns, 5, 3);
	assert_int_equal(acquire(k, ns, 5, &pin), 3);
	fd = dup(f->pin_fd);
	assert_int_equal(pread(fd, word, sizeof(word), 0), sizeof(word));
	assert_int_equal((uint32_t)word[0], KVSHM_PINFILE_OPEN);
	assert_true(word[1] == pin_word(pin.id, pin.generation));
	kvshm_close(k);
	assert_int_equal(pread(fd, word, sizeof(word), 0), sizeof(word));
	assert_int_equal((uint32_t)word[0], KVSHM_PINFILE_CLOSED);
	assert_int_equal(word[1], 0);
	EVENTUALLY(READ_ONCE(f->nr_detach) == 1);
	close(fd);
}

static void with_the_daemon_dead_hits_go_on_and_puts_say_so(void **state)
{
	struct fake *f = *state;
	struct kvshm *k = fake_open(f, 0);
	uint32_t ns = fake_attach_ns(k), again = 0;
	struct kvshm_ns_desc known = fake_desc(1), new = fake_desc(2);
	struct kvshm_key key = fake_key_of(6, 0);
	static char bytes[FAKE_LEN];
	const void *src = bytes;
	struct kvshm_completion c;
	struct kvshm_pin pin;
	struct kvshm_block b;

	fake_put(k, ns, 5, 3);
	fake_die(f);
	EVENTUALLY(kvshm_grant(k, ns, 0, 1, &b, 1000) == -ECONNRESET);
	assert_int_equal(kvshm_put(k, ns, NULL, &key, &src, NULL, 1, 0, 0, 1000), -ECONNRESET);
	assert_int_equal(kvshm_poll(k, &c, 1, 1000), -ECONNRESET);
	assert_int_equal(kvshm_drop(k, ns, &key), -ECONNRESET);
	assert_int_equal(kvshm_attach_ns(k, &new, &again), -ECONNRESET);
	assert_int_equal(kvshm_attach_ns(k, &known, &again), 0);
	assert_int_equal(again, ns);
	assert_int_equal(acquire(k, ns, 5, &pin), 3);
	assert_true(is_readable(k, &pin, 5));
	kvshm_release(k, &pin);
	assert_int_equal(stats_of(k).is_attached, 0);
	assert_int_equal(stats_of(k).dropped_dead, 1);
	kvshm_close(k);
	fake_start(f);
}

static void a_warm_start_is_attached_to_again_and_old_pins_hold(void **state)
{
	struct fake *f = *state;
	struct kvshm *k = fake_open(f, 0);
	uint32_t ns = fake_attach_ns(k), slot = stats_of(k).slot;
	struct kvshm_pin before, after;
	struct kvshm_block b;
	void *ptr;

	fake_put(k, ns, 5, 3);
	assert_int_equal(acquire(k, ns, 5, &before), 3);
	fake_die(f);
	EVENTUALLY(kvshm_grant(k, ns, 0, 1, &b, 0) == -ECONNRESET);
	fake_start(f);
	EVENTUALLY(kvshm_grant(k, ns, 0, 1, &b, 1000) == 1);
	assert_int_equal(READ_ONCE(f->old_slot), slot);
	assert_true(stats_of(k).slot != slot);
	assert_int_equal(stats_of(k).reattaches, 1);
	assert_int_equal(stats_of(k).lookups, 1);	/* carried over */
	assert_true(is_readable(k, &before, 5));
	assert_int_equal(acquire(k, ns, 5, &after), 3);
	assert_int_equal(after.id, before.id);
	kvshm_release(k, &before);
	assert_int_equal(before.slot, 0);
	assert_true(is_readable(k, &after, 5));
	ptr = b.ptr;
	kvshm_return(k, &b, 1);
	assert_non_null(ptr);
	assert_int_equal(fake_put(k, ns, 6, 4).res, 4);
	kvshm_close(k);
}

static void acquire_alone_notices_a_new_start(void **state)
{
	struct fake *f = *state;
	struct kvshm *k = fake_open(f, 0);
	uint32_t ns = fake_attach_ns(k);
	struct kvshm_pin pin;

	fake_put(k, ns, 5, 3);
	fake_die(f);
	fake_start(f);
	EVENTUALLY(acquire(k, ns, 5, &pin) == 3 && (kvshm_release(k, &pin), 1) &&
		   stats_of(k).reattaches == 1);
	assert_int_equal(READ_ONCE(f->nr_hello), 2);
	kvshm_close(k);
}

static void an_abandoned_content_is_a_miss_until_the_new_one_is_there(void **state)
{
	struct fake *f = *state, *old = calloc(1, sizeof(*old));
	struct kvshm *k = fake_open(f, 0);
	uint32_t ns = fake_attach_ns(k);
	struct kvshm_pin held, pin;

	fake_put(k, ns, 5, 3);
	assert_int_equal(acquire(k, ns, 5, &held), 3);
	fake_die(f);
	*old = *f;
	directory_set_state(&old->dir, KVSHM_SB_DEAD, 1);
	assert_int_equal(acquire(k, ns, 5, &pin), 0);
	assert_int_equal(acquire(k, ns, 5, &pin), 0);
	assert_true(is_readable(k, &held, 5));		/* its pages are still mapped */
	fake_content(f);
	fake_start(f);
	EVENTUALLY(kvshm_poll(k, NULL, 0, 0) == 0 && stats_of(k).is_attached);
	assert_int_equal(acquire(k, ns, 5, &pin), 0);
	/* The namespace is made anew in the background, under the number that the user has. */
	EVENTUALLY(kvshm_drop(k, ns, NULL) == 7);
	assert_int_equal(fake_put(k, ns, 5, 4).res, 4);
	assert_int_equal(acquire(k, ns, 5, &pin), 4);
	assert_true(is_readable(k, &pin, 5));
	kvshm_release(k, &held);
	kvshm_close(k);
	fake_content_end(old);
	free(old);
}

static void a_block_granted_by_a_dead_daemon_is_not_named_to_the_next(void **state)
{
	struct fake *f = *state;
	struct kvshm *k = fake_open(f, 0);
	uint32_t ns = fake_attach_ns(k);
	struct kvshm_key key = fake_key_of(6, 0);
	struct kvshm_block b, other;

	assert_int_equal(kvshm_grant(k, ns, 0, 1, &b, 5000000), 1);
	fake_die(f);
	fake_start(f);
	EVENTUALLY(kvshm_grant(k, ns, 0, 1, &other, 1000) == 1 && stats_of(k).reattaches == 1);
	assert_int_equal(kvshm_commit(k, ns, NULL, &key, &b, 1, 0, 1), -ECONNRESET);
	assert_int_equal(stats_of(k).dropped_dead, 1);
	assert_int_equal(kvshm_commit(k, ns, NULL, &key, &other, 1, 0, 1), 0);
	kvshm_close(k);
}

static void what_was_in_flight_is_lost_and_told_once(void **state)
{
	struct fake *f = *state;
	struct kvshm *k = fake_open(f, 0);
	uint32_t ns = fake_attach_ns(k);
	struct kvshm_key key = fake_key_of(6, 0);
	struct kvshm_completion c;
	struct kvshm_block b;

	assert_int_equal(kvshm_grant(k, ns, 0, 1, &b, 5000000), 1);
	WRITE_ONCE(f->is_deaf, 1);
	assert_int_equal(kvshm_commit(k, ns, NULL, &key, &b, 1, 0, 1), 0);
	fake_die(f);
	EVENTUALLY(kvshm_poll(k, &c, 1, 0) == -ECONNRESET);
	assert_int_equal(stats_of(k).dropped_dead, 1);
	WRITE_ONCE(f->is_deaf, 0);
	fake_start(f);
	EVENTUALLY(kvshm_poll(k, &c, 1, 0) == 0);
	kvshm_close(k);
}

#define T(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_daemon_open_says_so),
		T(a_refusal_reaches_the_caller),
		T(a_silent_daemon_does_not_hold_open_up),
		T(the_pin_file_is_locked_and_closed_in_the_end),
		T(with_the_daemon_dead_hits_go_on_and_puts_say_so),
		T(a_warm_start_is_attached_to_again_and_old_pins_hold),
		T(acquire_alone_notices_a_new_start),
		T(an_abandoned_content_is_a_miss_until_the_new_one_is_there),
		T(a_block_granted_by_a_dead_daemon_is_not_named_to_the_next),
		T(what_was_in_flight_is_lost_and_told_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
