/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The library against a real kvshmd, a private one: killed, stopped, started again.
 * Without a built kvshmd all of it is skipped.
 */
#include "live.h"

#include "kvshm/stats/statpage.h"

static void what_one_client_puts_another_finds(void **state)
{
	struct live *l = *state;
	struct kvshm *a = open_live(l, 0), *b = open_live(l, KVSHM_OPEN_UNTRUSTED);
	uint32_t na = fake_attach_ns(a), nb = fake_attach_ns(b);

	assert_int_equal(fake_put(a, na, 1, 40).res, 40);
	check_chain(b, nb, 1, 40);
	assert_int_equal(fake_put(b, nb, 2, 40).res, 40);
	check_chain(a, na, 2, 40);
	assert_int_equal(fake_put(b, nb, 1, 40).nr_duplicate, 40);
	kvshm_close(a);
	kvshm_close(b);
}

static void another_process_shares_the_blocks(void **state)
{
	struct live *l = *state;
	struct kvshm *k;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		k = open_live(l, 0);
		fake_put(k, fake_attach_ns(k), 3, 10);
		_exit(0);		/* without a goodbye */
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	k = open_live(l, 0);
	check_chain(k, fake_attach_ns(k), 3, 10);
	kvshm_close(k);
}

static void a_put_is_not_lost_by_closing_at_once(void **state)
{
	struct live *l = *state;
	static char bytes[FAKE_LEN];
	const void *src = bytes;
	struct kvshm_key key = fake_key_of(8, 0);
	struct kvshm *k;
	unsigned flags;

	fake_fill(bytes, 8, 0, FAKE_LEN);
	for (flags = 0; flags <= KVSHM_OPEN_UNTRUSTED; flags++) {
		k = open_live(l, flags);
		key = fake_key_of(8 + flags, 0);
		fake_fill(bytes, 8 + flags, 0, FAKE_LEN);
		assert_int_equal(kvshm_put(k, fake_attach_ns(k), NULL, &key, &src, NULL, 1, 0, 0, 1000000), 0);
		kvshm_close(k);
		k = open_live(l, 0);
		check_chain(k, fake_attach_ns(k), 8 + flags, 1);
		kvshm_close(k);
	}
}

static void another_layout_is_refused(void **state)
{
	struct kvshm *k = open_live(*state, 0);
	struct kvshm_ns_desc d = fake_desc(1);
	uint32_t ns;

	fake_attach_ns(k);
	kvshm_close(k);
	k = open_live(*state, 0);
	d.layout[0] = 77;
	assert_int_equal(kvshm_attach_ns(k, &d, &ns), -EMEDIUMTYPE);
	kvshm_close(k);
}

static void a_dropped_chain_is_a_miss(void **state)
{
	struct kvshm *k = open_live(*state, 0);
	uint32_t ns = fake_attach_ns(k);
	struct kvshm_key keys[5];
	struct kvshm_pin pin;

	fake_put(k, ns, 4, 5);
	fake_keys(keys, 5, 4);
	assert_int_equal(kvshm_drop(k, ns, &keys[2]), 3);
	assert_int_equal(kvshm_acquire(k, ns, keys, 5, &pin), 2);
	kvshm_release(k, &pin);
	assert_int_equal(kvshm_drop(k, ns, NULL), 2);
	assert_int_equal(kvshm_acquire(k, ns, keys, 5, &pin), 0);
	kvshm_close(k);
}

static void a_pin_resolves_to_its_own_blocks_though_the_keys_were_put_again(void **state)
{
	struct live *l = *state;
	struct kvshm *k = open_live(l, 0);
	uint32_t ns = fake_attach_ns(k);
	struct kvshm_block before[8], after[8];
	struct kvshm_key keys[8];
	struct kvshm_pin pin;
	int i;

	fake_keys(keys, 8, 9);
	assert_int_equal(fake_put(k, ns, 9, 8).res, 8);
	assert_int_equal(kvshm_acquire(k, ns, keys, 8, &pin), 8);
	assert_int_equal(kvshm_resolve(k, &pin, keys, before), 8);
	assert_int_equal(kvshm_drop(k, ns, &keys[0]), 8);
	assert_int_equal(fake_put(k, ns, 9, 8).res, 8);
	/* The new blocks have the same keys, but nothing pins them. */
	assert_int_equal(kvshm_resolve(k, &pin, keys, after), 8);
	for (i = 0; i < 8; i++) {
		assert_int_equal(after[i].id, before[i].id);
		assert_ptr_equal(after[i].ptr, before[i].ptr);
	}
	kvshm_release(k, &pin);
	kvshm_close(k);
}

static void hits_outlive_the_daemon_and_puts_come_back_with_the_next(void **state)
{
	struct live *l = *state;
	struct kvshm *k = open_live(l, 0);
	uint32_t ns = fake_attach_ns(k);
	struct kvshm_client_stats s = { .sz = sizeof(s) };
	uint64_t end;
	struct kvshm_key keys[8];
	struct kvshm_pin held;
	struct kvshm_block b;
	int n = 0;

	fake_put(k, ns, 5, 8);
	fake_keys(keys, 8, 5);
	assert_int_equal(kvshm_acquire(k, ns, keys, 8, &held), 8);
	live_end(l, SIGKILL);
	check_chain(k, ns, 5, 8);
	end = clock_ns() + FAKE_SOON_NS;
	do
		n = kvshm_grant(k, ns, 0, 1, &b, 0);
	while (n != -ECONNRESET && clock_ns() < end);
	assert_int_equal(n, -ECONNRESET);
	check_chain(k, ns, 5, 8);
	live_start(l);
	end = clock_ns() + FAKE_SOON_NS;
	do
		n = kvshm_grant(k, ns, 0, 1, &b, 1000);
	while (n <= 0 && clock_ns() < end);
	assert_int_equal(n, 1);
	kvshm_return(k, &b, 1);
	assert_int_equal(kvshm_stats(k, &s), 0);
	assert_int_equal(s.reattaches, 1);
	check_chain(k, ns, 5, 8);
	kvshm_release(k, &held);
	assert_int_equal(fake_put(k, ns, 6, 8).res, 8);
	check_chain(k, ns, 6, 8);
	kvshm_close(k);
}

static void a_new_daemon_does_not_count_what_the_old_one_has_counted(void **state)
{
	struct live *l = *state;
	struct kvshm *k = open_live(l, 0);
	uint32_t ns = fake_attach_ns(k);
	struct kvshm_client_stats s = { .sz = sizeof(s) };
	uint64_t end = clock_ns() + FAKE_SOON_NS, before;
	int i;

	fake_put(k, ns, 7, 4);
	for (i = 0; i < 500; i++)
		check_chain(k, ns, 7, 4);
	live_end(l, SIGKILL);
	live_start(l);
	do {
		check_chain(k, ns, 7, 4);
		assert_int_equal(kvshm_stats(k, &s), 0);
	} while (!s.reattaches && clock_ns() < end);
	assert_int_equal(s.reattaches, 1);
	/* The writer has had its first look when it has served something. */
	assert_int_equal(fake_put(k, ns, 8, 4).res, 4);
	assert_int_equal(kvshm_stats(k, &s), 0);
	before = s.lookups;
	for (i = 0; i < 20; i++)
		check_chain(k, ns, 7, 4);
	/* Its page has those 20, and what fell between its first look and the switch. */
	assert_in_range(live_metric(l, METRIC_LOOKUPS, 20), 20, 20 + before - 500);
	kvshm_close(k);
}

static void a_stopped_daemon_holds_nobody_up(void **state)
{
	struct live *l = *state;
	struct kvshm *k = open_live(l, 0);
	uint32_t ns = fake_attach_ns(k);
	static char bytes[FAKE_LEN];
	const void *src = bytes;
	struct kvshm_key key = fake_key_of(9, 0);
	struct kvshm_completion c;
	uint64_t before;
	int ret;

	fake_put(k, ns, 7, 8);
	kill(l->pid, SIGSTOP);
	assert_int_equal(waitpid(l->pid, &ret, WUNTRACED), l->pid);	/* all its threads stand still */
	check_chain(k, ns, 7, 8);
	before = clock_ns();
	ret = kvshm_put(k, ns, NULL, &key, &src, NULL, 1, 0, 5, 1000);
	assert_true(ret == 0 || ret == -ENOBUFS);
	assert_int_equal(kvshm_poll(k, &c, 1, 10000), 0);
	assert_true(clock_ns() - before < FAKE_SOON_NS);
	kill(l->pid, SIGCONT);
	if (ret == 0)
		assert_int_equal(kvshm_poll(k, &c, 1, 5000000), 1);
	kvshm_close(k);
}

static void many_puts_in_a_full_arena_never_give_a_wrong_byte(void **state)
{
	struct kvshm *k = open_live(*state, 0);
	uint32_t ns = fake_attach_ns(k), chain;
	struct kvshm_key keys[30];
	struct kvshm_block b[30];
	struct kvshm_pin pin;
	int n, i;

	/* 100 chains of 30 in an arena of about 1,000 blocks. */
	for (chain = 100; chain < 200; chain++) {
		fake_put(k, ns, chain, 30);
		fake_keys(keys, 30, chain - chain % 7);
		n = kvshm_acquire(k, ns, keys, 30, &pin);
		assert_true(n >= 0);
		if (!n)
			continue;
		assert_int_equal(kvshm_resolve(k, &pin, keys, b), n);
		for (i = 0; i < n; i++)
			assert_true(fake_is_filled(b[i].ptr, chain - chain % 7, (uint32_t)i, FAKE_LEN));
		kvshm_release(k, &pin);
	}
	kvshm_close(k);
}

/* Chains @from .. @from + @nr - 1 of 40 blocks, none of them used again. */
static void put_chains(struct kvshm *k, uint32_t ns, uint32_t from, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++)
		assert_int_equal(fake_put(k, ns, from + i, 40).res, 40);
}

static int cached(struct kvshm *k, uint32_t ns, uint32_t chain)
{
	struct kvshm_key keys[40];
	struct kvshm_pin pin;
	int n;

	fake_keys(keys, 40, chain);
	n = kvshm_acquire(k, ns, keys, 40, &pin);
	if (n > 0)
		kvshm_release(k, &pin);
	return n;
}

static void what_is_held_outlives_a_full_arena_and_what_is_closed_goes_first(void **state)
{
	const struct kvshm_hold_desc d = { .sz = sizeof(d), .why = KVSHM_HOLD_RETAIN, .priority = 3, .ticket = 9 };
	struct kvshm *a = open_live(*state, 0), *b = open_live(*state, 0);
	uint32_t na = fake_attach_ns(a), nb = fake_attach_ns(b);
	struct kvshm_key keys[40];

	/* The arena holds some 25 of them. */
	put_chains(a, na, 1, 2);
	fake_keys(keys, 40, 1);
	assert_int_equal(kvshm_hold(a, na, keys, 40, &d), 1);
	assert_int_equal(kvshm_sync(a), 0);
	put_chains(b, nb, 100, 40);
	assert_int_equal(cached(b, nb, 2), 0);
	assert_int_equal(cached(b, nb, 1), 40);
	/* The youngest is closed and goes before all that is older. */
	fake_keys(keys, 40, 139);
	assert_int_equal(cached(b, nb, 139), 40);
	assert_int_equal(kvshm_session_closed(b, nb, keys, 40, 39), 1);
	assert_int_equal(kvshm_sync(b), 0);
	put_chains(b, nb, 200, 2);
	assert_in_range(cached(b, nb, 139), 0, 1);
	assert_int_equal(cached(b, nb, 138), 40);
	/* Without its ticket it is one among others. */
	assert_int_equal(kvshm_hold_end(a, 9), 1);
	assert_int_equal(kvshm_sync(a), 0);
	put_chains(b, nb, 300, 60);
	assert_int_equal(cached(b, nb, 1), 0);
	kvshm_close(a);
	kvshm_close(b);
}

#define T(name) cmocka_unit_test_setup_teardown(name, live_setup, live_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(what_one_client_puts_another_finds),
		T(another_process_shares_the_blocks),
		T(a_put_is_not_lost_by_closing_at_once),
		T(another_layout_is_refused),
		T(a_dropped_chain_is_a_miss),
		T(a_pin_resolves_to_its_own_blocks_though_the_keys_were_put_again),
		T(hits_outlive_the_daemon_and_puts_come_back_with_the_next),
		T(a_new_daemon_does_not_count_what_the_old_one_has_counted),
		T(a_stopped_daemon_holds_nobody_up),
		T(what_is_held_outlives_a_full_arena_and_what_is_closed_goes_first),
		T(many_puts_in_a_full_arena_never_give_a_wrong_byte),
	};

	if (!live_is_built())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
