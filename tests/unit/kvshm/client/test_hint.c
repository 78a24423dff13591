/* SPDX-License-Identifier: Apache-2.0 */
#include "fake.h"

#include "kvshm/client/client.h"

#define IN_FLIGHT KVSHM_CQ_ENTRIES	/* entries that a client has in flight at most */

static struct kvshm_touch touch_at(const struct fake *f, uint32_t i)
{
	return f->seg.touch[i];
}

static void acquire(struct kvshm *k, uint32_t ns)
{
	struct kvshm_key keys[4];
	struct kvshm_pin pin;

	fake_keys(keys, 4, 5);
	assert_int_equal(kvshm_acquire(k, ns, keys, 4, &pin), 4);
	kvshm_release(k, &pin);
}

static void a_hint_goes_with_every_use_until_it_is_changed(void **state)
{
	struct fake *f = *state;
	struct kvshm *k = fake_open(f, 0);
	uint32_t ns = fake_attach_ns(k);

	fake_put(k, ns, 5, 4);
	acquire(k, ns);
	kvshm_set_hint(k, 0x2345);
	acquire(k, ns);
	acquire(k, ns);
	kvshm_set_hint(k, 0);
	acquire(k, ns);
	assert_int_equal(touch_at(f, 0).hint, 0);
	assert_int_equal(touch_at(f, 1).hint, 0x2345);
	assert_int_equal(touch_at(f, 2).hint, 0x2345);
	assert_int_equal(touch_at(f, 3).hint, 0);
	kvshm_close(k);
}

static void uses_are_stamped_with_the_time_of_a_trace(void **state)
{
	struct fake *f = *state;
	struct kvshm *k = fake_open(f, 0);
	uint32_t ns = fake_attach_ns(k);
	const uint64_t at = 12345, begin = 0;

	fake_put(k, ns, 5, 4);
	kvshm_set_clock(k, &at);
	acquire(k, ns);
	kvshm_set_clock(k, &begin);
	acquire(k, ns);
	kvshm_set_clock(k, NULL);
	acquire(k, ns);
	assert_int_equal(touch_at(f, 0).time_ns, 12345);
	assert_int_equal(touch_at(f, 1).time_ns, 0);
	assert_true(touch_at(f, 2).time_ns > 12345);
	kvshm_close(k);
}

static void after_sync_no_put_is_under_way(void **state)
{
	struct kvshm *k = fake_open(*state, KVSHM_OPEN_UNTRUSTED);
	uint32_t ns = fake_attach_ns(k);
	static char bytes[FAKE_LEN];
	const void *src[] = { bytes, bytes, bytes };
	struct kvshm_completion done;
	struct kvshm_key keys[3];

	fake_keys(keys, 3, 9);
	assert_int_equal(kvshm_put(k, ns, NULL, keys, src, NULL, 3, 0, 77, 1000000), 0);
	assert_int_equal(kvshm_sync(k), 0);
	/* It is there without a wait. */
	assert_int_equal(kvshm_poll(k, &done, 1, 0), 1);
	assert_int_equal(done.user_data, 77);
	assert_int_equal(done.res, 3);
	kvshm_close(k);
}

static void sync_with_a_dead_daemon_says_so(void **state)
{
	struct fake *f = *state;
	struct kvshm *k = fake_open(f, 0);

	fake_die(f);
	assert_int_equal(kvshm_sync(k), -ECONNRESET);
	kvshm_close(k);
}

/* The record of the entry that a deaf daemon has not taken. */
static const struct kvshm_sqe *last_entry(const struct fake *f)
{
	return &f->seg.sq[(f->seg.hdr->sq.tail - 1) % KVSHM_SQ_ENTRIES];
}

static uint16_t sent_ns(const struct fake *f)
{
	return last_entry(f)->ns;
}

static struct kvshm_hint_rec sent(const struct fake *f)
{
	const struct kvshm_sqe *e = last_entry(f);
	struct kvshm_hint_rec rec;

	assert_int_equal(e->op, KVSHM_OP_HINT);
	assert_int_equal(e->nr, 1);
	assert_int_equal(e->len, sizeof(rec));
	memcpy(&rec, f->seg.args + e->off, sizeof(rec));
	return rec;
}

static void a_hold_names_the_deepest_block_that_is_cached(void **state)
{
	const struct kvshm_hold_desc d = { .sz = sizeof(d), .why = KVSHM_HOLD_RETAIN, .priority = 5, .ticket = 77, .ttl_ns = 99 };
	struct fake *f = *state;
	struct kvshm *k = fake_open(f, 0);
	uint32_t ns = fake_attach_ns(k);
	struct kvshm_key keys[6];
	struct kvshm_hint_rec rec;
	struct index_hit hit;

	fake_put(k, ns, 5, 4);
	fake_keys(keys, 6, 5);
	WRITE_ONCE(f->is_deaf, 1);
	assert_int_equal(kvshm_hold(k, ns, keys, 6, &d), 1);
	rec = sent(f);
	assert_int_equal(index_longest(&f->dir, sent_ns(f), keys, 6, &hit), 4);
	assert_int_equal(rec.block.id, hit.id);
	assert_int_equal(rec.block.generation, hit.generation);
	assert_int_equal(rec.kind, KVSHM_HINT_RETAIN);
	assert_true(rec.priority == 5 && rec.ticket == 77 && rec.ttl_ns == 99 && rec.nr == 0 && rec.resv == 0);
	assert_int_equal(kvshm_hold_end(k, 77), 1);
	rec = sent(f);
	assert_true(rec.kind == KVSHM_HINT_DONE && rec.ticket == 77 && rec.block.id == 0);
	kvshm_close(k);
}

static void only_the_sessions_own_blocks_are_closed(void **state)
{
	struct fake *f = *state;
	struct kvshm *k = fake_open(f, 0);
	uint32_t ns = fake_attach_ns(k);
	struct kvshm_key keys[6];

	fake_put(k, ns, 5, 4);
	fake_keys(keys, 6, 5);
	WRITE_ONCE(f->is_deaf, 1);
	/* Of six keys the last two are gone: of three that are its own one is left. */
	assert_int_equal(kvshm_session_closed(k, ns, keys, 6, 3), 1);
	assert_int_equal(sent(f).nr, 1);
	assert_int_equal(sent(f).kind, KVSHM_HINT_CLOSED);
	assert_int_equal(kvshm_session_closed(k, ns, keys, 6, 2), 0);
	assert_int_equal(kvshm_session_closed(k, ns, keys, 6, 7), -EINVAL);
	kvshm_close(k);
}

static void a_hint_that_cannot_be_is_refused_and_one_without_a_daemon_lost(void **state)
{
	struct kvshm_hold_desc d = { .sz = sizeof(d), .why = KVSHM_HOLD_QUEUED };
	struct fake *f = *state;
	struct kvshm *k = fake_open(f, 0);
	uint32_t ns = fake_attach_ns(k);
	struct kvshm_key keys[4];

	fake_keys(keys, 4, 5);
	assert_int_equal(kvshm_hold(k, ns, keys, 4, &d), 0);	/* not cached */
	fake_put(k, ns, 5, 4);
	assert_int_equal(kvshm_hold(k, ns, keys, 4, NULL), -EINVAL);
	d.priority = 1;
	assert_int_equal(kvshm_hold(k, ns, keys, 4, &d), -EINVAL);
	d = (struct kvshm_hold_desc){ .sz = sizeof(d), .why = KVSHM_HOLD_RETAIN, .priority = 8 };
	assert_int_equal(kvshm_hold(k, ns, keys, 4, &d), -EINVAL);
	d = (struct kvshm_hold_desc){ .sz = sizeof(d), .why = 4 };
	assert_int_equal(kvshm_hold(k, ns, keys, 4, &d), -EINVAL);
	d = (struct kvshm_hold_desc){ .sz = 8, .why = KVSHM_HOLD_QUEUED };
	assert_int_equal(kvshm_hold(k, ns, keys, 4, &d), -EINVAL);
	d.sz = sizeof(d);
	assert_int_equal(kvshm_hold(k, ns + 9, keys, 4, &d), -EINVAL);
	fake_die(f);
	assert_int_equal(kvshm_sync(k), -ECONNRESET);
	assert_int_equal(kvshm_hold(k, ns, keys, 4, &d), -ECONNRESET);
	assert_int_equal(kvshm_hold_end(k, 1), -ECONNRESET);
	kvshm_close(k);
}

static void many_hints_do_not_fill_the_way_for_puts(void **state)
{
	const struct kvshm_hold_desc d = { .sz = sizeof(d), .why = KVSHM_HOLD_QUEUED };
	struct fake *f = *state;
	struct kvshm *k = fake_open(f, 0);
	uint32_t ns = fake_attach_ns(k);
	struct kvshm_key keys[4];
	unsigned nr_sent = 0;
	int ret;

	fake_put(k, ns, 5, 4);
	fake_keys(keys, 4, 5);
	WRITE_ONCE(f->is_deaf, 1);
	while ((ret = kvshm_hold(k, ns, keys, 4, &d)) == 1)
		assert_true(++nr_sent <= IN_FLIGHT);
	assert_int_equal(ret, -ENOBUFS);
	assert_true(nr_sent > 16);
	/* There is room for a synchronous request and a put. */
	WRITE_ONCE(f->is_deaf, 0);
	assert_int_equal(kvshm_sync(k), 0);
	assert_int_equal(kvshm_hold(k, ns, keys, 4, &d), 1);
	fake_put(k, ns, 6, 4);
	kvshm_close(k);
}

static unsigned nr_sent(const struct fake *f, uint8_t op)
{
	unsigned nr = 0;

	for (uint32_t i = 0; i != READ_ONCE(f->seg.hdr->sq.tail); i++)
		nr += f->seg.sq[i % f->seg.sq_entries].op == op;
	return nr;
}

/* Number of the first entry of that kind, past the last one if there is none. */
static uint32_t first_of(const struct fake *f, uint8_t op)
{
	uint32_t i = 0;

	while (i != READ_ONCE(f->seg.hdr->sq.tail) && f->seg.sq[i].op != op)
		i++;
	return i;
}

static void the_gpus_node_is_told_once_before_the_first_grant(void **state)
{
	struct fake *f = *state;
	struct kvshm *k = fake_open(f, 0);
	struct kvshm_hint_rec rec;
	uint32_t ns = fake_attach_ns(k);
	struct kvshm_block b;

	assert_int_equal(nr_sent(f, KVSHM_OP_HINT), 0);
	k->near = 3;
	WRITE_ONCE(f->is_deaf, 1);
	assert_int_equal(kvshm_grant(k, ns, 0, 1, &b, 0), 0);
	assert_int_equal(kvshm_grant(k, ns, 0, 1, &b, 0), 0);
	assert_int_equal(nr_sent(f, KVSHM_OP_HINT), 1);
	assert_true(first_of(f, KVSHM_OP_HINT) < first_of(f, KVSHM_OP_GRANT));
	memcpy(&rec, f->seg.args + f->seg.sq[first_of(f, KVSHM_OP_HINT)].off, sizeof(rec));
	assert_int_equal(rec.kind, KVSHM_HINT_NODE);
	assert_int_equal(rec.nr, 3);
	kvshm_close(k);
}

static void a_daemon_that_comes_back_is_told_again(void **state)
{
	struct fake *f = *state;
	struct kvshm *k = fake_open(f, 0);
	uint32_t ns = fake_attach_ns(k);

	k->near = 0;
	fake_put(k, ns, 5, 4);
	fake_die(f);
	fake_start(f);
	for (uint64_t end = clock_ns() + FAKE_SOON_NS; k->cur->epoch == 1 && clock_ns() < end;)
		kvshm_drop(k, ns, &(struct kvshm_key){ { 1 } });
	fake_put(k, ns, 6, 4);
	assert_int_equal(nr_sent(f, KVSHM_OP_HINT), 1);
	kvshm_close(k);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)
	const struct CMUnitTest tests[] = {
		T(a_hint_goes_with_every_use_until_it_is_changed),
		T(uses_are_stamped_with_the_time_of_a_trace),
		T(after_sync_no_put_is_under_way),
		T(sync_with_a_dead_daemon_says_so),
		T(a_hold_names_the_deepest_block_that_is_cached),
		T(only_the_sessions_own_blocks_are_closed),
		T(a_hint_that_cannot_be_is_refused_and_one_without_a_daemon_lost),
		T(many_hints_do_not_fill_the_way_for_puts),
		T(the_gpus_node_is_told_once_before_the_first_grant),
		T(a_daemon_that_comes_back_is_told_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
