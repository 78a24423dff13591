/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#define SECOND 1000000000ull
#define LEN 65536u
#define BLOCKS 128u			/* that the arena has room for */

static struct fix f;
static uint16_t ns;

static void begin_with(const struct policy_ops *policy)
{
	const struct cache_config cfg = { .policy = policy };

	fix_open(&f, 256, BLOCKS * LEN / HUGE_LEN, &cfg);
	f.now = SECOND;
	ns = fix_ns(&f, 1, LEN);
}

static int begin(void **state)
{
	(void)state;
	begin_with(NULL);
	return 0;
}

static int end(void **state)
{
	(void)state;
	fix_verify(&f);
	fix_close(&f);
	return 0;
}

static struct kvshm_hint_rec rec_of(uint32_t kind, uint32_t chain, uint32_t i)
{
	return (struct kvshm_hint_rec){ .kind = kind, .block = fix_ref(&f, fix_find(&f, ns, chain, i)), .ticket = 7 };
}

static int hint_by(uint32_t owner, struct kvshm_hint_rec rec)
{
	const struct cache_hint h = { .owner = owner, .ns = ns, .may_close = true, .rec = &rec, .now_ns = f.now };

	return cache_hint(f.c, &h);
}

static int hint(struct kvshm_hint_rec rec)
{
	return hint_by(FIX_OWNER, rec);
}

static struct kvshm_hint_rec closed(uint32_t chain, uint32_t i, uint32_t nr)
{
	struct kvshm_hint_rec r = rec_of(KVSHM_HINT_CLOSED, chain, i);

	r.ticket = 0;
	r.nr = nr;
	return r;
}

static void evict(unsigned blocks)
{
	assert_int_equal(cache_reclaim(f.c, blocks * LEN, f.now), blocks * LEN);
}

static void a_queued_prompt_outlives_what_was_used_after_it(void **state)
{
	(void)state;
	assert_int_equal(fix_chain(&f, ns, 1, 0, 4), 4);
	assert_int_equal(fix_chain(&f, ns, 2, 0, 4), 4);
	assert_int_equal(hint(rec_of(KVSHM_HINT_QUEUED, 1, 3)), 1);
	evict(4);
	assert_int_not_equal(fix_find(&f, ns, 1, 3), 0);
	assert_int_equal(fix_find(&f, ns, 2, 0), 0);
	assert_int_equal(fix_count(&f).holds, 1);
	assert_int_equal(fix_count(&f).held_bytes, 4 * LEN);
}

static void done_and_the_time_and_a_death_end_it(void **state)
{
	struct kvshm_hint_rec r;

	(void)state;
	assert_int_equal(fix_chain(&f, ns, 1, 0, 1) + fix_chain(&f, ns, 2, 0, 1), 2);
	assert_int_equal(fix_chain(&f, ns, 3, 0, 1) + fix_chain(&f, ns, 4, 0, 1), 2);
	r = rec_of(KVSHM_HINT_TOOL, 1, 0);
	assert_int_equal(hint(r), 1);
	r = rec_of(KVSHM_HINT_RETAIN, 2, 0);
	r.ticket = 8;
	r.ttl_ns = 5 * SECOND;
	assert_int_equal(hint(r), 1);
	assert_int_equal(hint_by(FIX_OWNER + 1, rec_of(KVSHM_HINT_RETAIN, 3, 0)), 1);
	assert_int_equal(hint((struct kvshm_hint_rec){ .kind = KVSHM_HINT_DONE, .ticket = 7 }), 1);
	assert_int_equal(hint((struct kvshm_hint_rec){ .kind = KVSHM_HINT_DONE, .ticket = 7 }), 0);
	evict(1);
	assert_int_equal(fix_find(&f, ns, 1, 0), 0);
	f.now += 6 * SECOND;
	evict(1);
	assert_int_equal(fix_find(&f, ns, 2, 0), 0);
	cache_owner_gone(f.c, FIX_OWNER + 1);
	evict(1);
	assert_int_equal(fix_find(&f, ns, 3, 0), 0);
}

static void a_closed_session_goes_first_and_leaves_what_it_shares(void **state)
{
	(void)state;
	assert_int_equal(fix_chain(&f, ns, 1, 0, 4), 4);
	assert_int_equal(fix_chain(&f, ns, 2, 0, 4), 4);
	assert_int_equal(hint(closed(2, 3, 2)), 1);
	evict(2);
	assert_int_equal(fix_find(&f, ns, 2, 2), 0);
	assert_int_not_equal(fix_find(&f, ns, 2, 1), 0);
	assert_int_not_equal(fix_find(&f, ns, 1, 3), 0);
}

static void a_closed_block_that_is_pinned_stays(void **state)
{
	uint32_t slot;

	(void)state;
	assert_int_equal(fix_chain(&f, ns, 1, 0, 2) + fix_chain(&f, ns, 2, 0, 4), 6);
	slot = fix_pin(&f, ns, 2, 2);
	assert_int_equal(hint(closed(2, 3, 4)), 1);
	evict(3);
	assert_int_equal(fix_find(&f, ns, 2, 3), 0);
	assert_int_not_equal(fix_find(&f, ns, 2, 2), 0);
	assert_int_equal(fix_find(&f, ns, 1, 0), 0);
	fix_unpin(&f, slot);
}

static void who_may_not_drop_may_not_close(void **state)
{
	struct cache_hint h = { .owner = FIX_OWNER, .ns = ns, .now_ns = f.now };
	struct kvshm_hint_rec r;

	(void)state;
	assert_int_equal(fix_chain(&f, ns, 1, 0, 2), 2);
	r = closed(1, 1, 1);
	h.rec = &r;
	assert_int_equal(cache_hint(f.c, &h), 0);
	h.may_close = true;
	assert_int_equal(cache_hint(f.c, &h), 1);
}

static void hold_all_and_put(void)
{
	uint32_t chain, owner = FIX_OWNER;
	unsigned held = 0;

	for (chain = 0; chain < BLOCKS / 4; chain++)
		assert_int_equal(fix_chain(&f, ns, chain, 0, 4), 4);
	for (chain = 0; chain < BLOCKS / 4; chain++)
		held += (unsigned)hint_by(owner++, rec_of(KVSHM_HINT_RETAIN, chain, 3));
	/* However many ask: half of it all. */
	assert_int_equal(held, BLOCKS / 8);
	for (chain = 1000; chain < 1000 + 2 * BLOCKS; chain++)
		assert_int_equal(fix_chain(&f, ns, chain, 0, 1), 1);
	assert_int_equal(fix_count(&f).dropped_full, 0);
	assert_int_not_equal(fix_find(&f, ns, 0, 3), 0);
	assert_int_equal(fix_count(&f).hints_refused, BLOCKS / 8);
}

static void holds_never_cost_a_put_whatever_the_policy(void **state)
{
	const char *name;
	unsigned i;

	for (i = 0; (name = cache_policy_name(i)); i++) {
		begin_with(cache_policy(name));
		hold_all_and_put();
		end(state);
	}
}

static void one_session_holds_no_more_than_its_quota(void **state)
{
	struct cache_hint h = { .owner = FIX_OWNER, .ns = ns, .now_ns = f.now, .quota_bytes = 5 * LEN };
	struct kvshm_hint_rec r;

	(void)state;
	assert_int_equal(fix_chain(&f, ns, 1, 0, 4) + fix_chain(&f, ns, 2, 0, 4), 8);
	r = rec_of(KVSHM_HINT_QUEUED, 1, 3);
	h.rec = &r;
	assert_int_equal(cache_hint(f.c, &h), 1);
	r = rec_of(KVSHM_HINT_QUEUED, 2, 3);
	assert_int_equal(cache_hint(f.c, &h), 0);
	h.owner++;
	assert_int_equal(cache_hint(f.c, &h), 1);
}

static void what_is_not_there_is_not_held(void **state)
{
	struct kvshm_hint_rec r;

	(void)state;
	assert_int_equal(fix_chain(&f, ns, 1, 0, 2), 2);
	r = rec_of(KVSHM_HINT_QUEUED, 1, 1);
	r.block.generation++;
	assert_int_equal(hint(r), 0);
	r.block = (struct kvshm_block_ref){ .id = UINT32_MAX };
	assert_int_equal(hint(r), 0);
	r.block = (struct kvshm_block_ref){ 0 };
	assert_int_equal(hint(r), 0);
	r = rec_of(KVSHM_HINT_QUEUED, 1, 1);
	ns = fix_ns(&f, 2, LEN);
	assert_int_equal(hint(r), 0);	/* of another namespace */
}

static void a_dropped_block_takes_its_hints_along(void **state)
{
	const struct kvshm_key key = fix_key(1, 0);

	(void)state;
	assert_int_equal(fix_chain(&f, ns, 1, 0, 3), 3);
	assert_int_equal(hint(rec_of(KVSHM_HINT_RETAIN, 1, 2)) + hint(rec_of(KVSHM_HINT_QUEUED, 1, 2)), 2);
	assert_int_equal(cache_drop(f.c, ns, &key), 3);
	assert_int_equal(fix_count(&f).holds, 0);
	assert_int_equal(fix_count(&f).held_bytes, 0);
}

static void refused(struct kvshm_hint_rec r)
{
	assert_int_equal(hint(r), -EINVAL);
}

static void records_that_cannot_be_are_refused(void **state)
{
	struct kvshm_hint_rec q, done = { .kind = KVSHM_HINT_DONE }, c, r;

	(void)state;
	assert_int_equal(fix_chain(&f, ns, 1, 0, 2), 2);
	q = rec_of(KVSHM_HINT_QUEUED, 1, 1);
	c = closed(1, 1, 1);
#define BAD(from, field, value) (r = (from), r.field = (value), refused(r))
	BAD(q, kind, 0);
	BAD(q, kind, KVSHM_HINT_LAST);
	BAD(q, kind, UINT32_MAX);
	BAD(q, resv, 1);
	BAD(q, nr, 1);
	BAD(q, priority, 1);
	BAD(rec_of(KVSHM_HINT_TOOL, 1, 1), priority, 1);
	BAD(rec_of(KVSHM_HINT_RETAIN, 1, 1), priority, KVSHM_HINT_PRIORITY_MAX + 1);
	BAD(done, block.id, 1);
	BAD(done, block.generation, 1);
	BAD(done, ttl_ns, 1);
	BAD(done, nr, 1);
	BAD(done, priority, 1);
	BAD(c, nr, 0);
	BAD(c, ticket, 1);
	BAD(c, ttl_ns, 1);
	BAD(c, priority, 1);
	assert_int_equal(fix_count(&f).hints + fix_count(&f).hints_refused, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		T(a_queued_prompt_outlives_what_was_used_after_it),
		T(done_and_the_time_and_a_death_end_it),
		T(a_closed_session_goes_first_and_leaves_what_it_shares),
		T(a_closed_block_that_is_pinned_stays),
		T(who_may_not_drop_may_not_close),
		cmocka_unit_test(holds_never_cost_a_put_whatever_the_policy),
		T(one_session_holds_no_more_than_its_quota),
		T(what_is_not_there_is_not_held),
		T(a_dropped_block_takes_its_hints_along),
		T(records_that_cannot_be_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
