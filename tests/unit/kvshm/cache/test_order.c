/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#define SECOND 1000000000ull

static struct fix f;
static uint16_t ns;
static struct policy_ops heard_ops;	/* leaf-lru that notes what it is told */
static struct {
	uint64_t touch_ns, insert_ns, tick_ns;
	uint32_t touch_hints, insert_hints;
	unsigned touches, expects, expected;
	pol_id_t id[200];		/* as expect() had them */
	pol_id_t last_id;		/* touched */
	bool was_touched_before_insert;	/* at the last insertion */
	bool is_in_order;		/* no touch was made before it was expected */
} heard;

static void note_touch(struct policy *p, pol_id_t id, uint32_t hints, uint64_t now_ns)
{
	heard.touch_ns = now_ns;
	heard.touch_hints = hints;
	heard.is_in_order &= heard.touches < heard.expected && heard.id[heard.touches] == id;
	heard.last_id = id;
	heard.touches++;
	policy_leaf_lru.touch(p, id, hints, now_ns);
}

static void note_insert(struct policy *p, const struct pol_block *b, uint64_t now_ns)
{
	heard.insert_ns = now_ns;
	heard.insert_hints = b->hints;
	heard.was_touched_before_insert = b->parent && heard.last_id == b->parent;
	policy_leaf_lru.insert(p, b, now_ns);
}

static void note_expect(const struct policy *p, const pol_id_t *ids, unsigned nr)
{
	(void)p;
	heard.expects++;
	while (nr--)
		heard.id[heard.expected++] = *ids++;
}

static void note_tick(struct policy *p, uint64_t now_ns)
{
	heard.tick_ns = now_ns;
}

static void begin(struct cache_config cfg)
{
	memset(&heard, 0, sizeof(heard));
	heard_ops = policy_leaf_lru;
	heard_ops.touch = note_touch;
	heard_ops.insert = note_insert;
	heard_ops.tick = note_tick;
	heard_ops.expect = note_expect;
	cfg.policy = &heard_ops;
	fix_open(&f, 256, 4, &cfg);
	ns = fix_ns(&f, 1, 65536);
}

static int end(void **state)
{
	fix_verify(&f);
	fix_close(&f);
	return 0;
}

static struct kvshm_touch touch_of(uint32_t chain, uint32_t i, uint64_t time_ns, uint32_t hint)
{
	const blk_id_t id = fix_find(&f, ns, chain, i);

	return (struct kvshm_touch){ .time_ns = time_ns, .id = id, .generation = fix_generation(&f, id),
				     .nr = i + 1, .hint = hint };
}

static void a_cache_runs_no_policy_of_the_replayer(void **state)
{
	const char *name;
	unsigned i;

	assert_null(cache_policy("belady"));
	assert_null(cache_policy("fifo"));
	assert_null(cache_policy("no such policy"));
	assert_ptr_equal(cache_policy("gix"), &policy_gix);
	for (i = 0; (name = cache_policy_name(i)); i++)
		assert_non_null(cache_policy(name));
	assert_in_range(i, 2, 64);
}

static void hints_of_touches_and_records_reach_the_policy(void **state)
{
	struct cache_commit_result r;
	struct kvshm_commit_rec rec;
	struct kvshm_touch t;

	begin((struct cache_config){ 0 });
	rec = fix_rec(&f, fix_grant(&f, FIX_OWNER, ns), fix_key(1, 0));
	rec.hint = 0x1234567;
	assert_int_equal(fix_commit(&f, FIX_OWNER, ns, NULL, rec, &r), 0);
	assert_int_equal(heard.insert_hints, 0x1234567);
	t = touch_of(1, 0, 0, 0x89);
	cache_touch(f.c, &t, 1, ++f.now);
	assert_int_equal(heard.touch_hints, 0x89);
}

static void a_batch_of_touches_is_told_to_the_policy_before_the_first_is_made(void **state)
{
	struct kvshm_touch t[150];
	unsigned i;

	begin((struct cache_config){ 0 });
	heard.is_in_order = true;
	assert_int_equal(fix_chain(&f, ns, 1, 0, 30), 30);
	for (i = 0; i < 150; i++)
		t[i] = touch_of(1, i % 30, 0, 0);
	t[3].generation++;
	t[77].id = 0;
	t[149].id = UINT32_MAX;
	cache_touch(f.c, t, 150, ++f.now);
	assert_int_equal(heard.touches, 147);
	assert_int_equal(heard.expected, 147);
	assert_in_range(heard.expects, 2, 10);
	assert_true(heard.is_in_order);
	assert_int_equal(fix_count(&f).touches, 150);
	assert_int_equal(fix_count(&f).touches_stale, 3);
}

static void what_a_put_finds_there_counts_as_a_use_of_the_path_down_to_it(void **state)
{
	struct kvshm_commit_rec rec[3];
	struct cache_commit m = { .owner = FIX_OWNER, .flags = KVSHM_SQE_F_NOPARENT, .nr = 3, .rec = rec };
	struct cache_commit_result r;

	begin((struct cache_config){ 0 });
	m.ns = ns;
	assert_int_equal(fix_chain(&f, ns, 1, 0, 2), 2);
	for (uint32_t i = 0; i < 3; i++) {
		rec[i] = fix_rec(&f, fix_grant(&f, FIX_OWNER, ns), fix_key(1, i));
		rec[i].hint = 0x55;
	}
	m.now_ns = ++f.now;
	heard.insert_hints = 0;
	assert_int_equal(cache_commit(f.c, &m, &r), 0);
	assert_true(r.nr_duplicate == 2 && r.nr_published == 1);
	assert_int_equal(heard.touches, 1);
	assert_int_equal(heard.last_id, fix_find(&f, ns, 1, 1));
	assert_int_equal(heard.touch_hints, 0x55);
	assert_true(heard.was_touched_before_insert);
	/* All of it again: one use, of all. */
	for (uint32_t i = 0; i < 3; i++)
		rec[i] = fix_rec(&f, fix_grant(&f, FIX_OWNER, ns), fix_key(1, i));
	assert_int_equal(cache_commit(f.c, &m, &r), 0);
	assert_int_equal(r.nr_duplicate, 3);
	assert_int_equal(heard.touches, 2);
	assert_int_equal(heard.last_id, fix_find(&f, ns, 1, 2));
}

static void an_older_stamp_does_not_turn_time_back(void **state)
{
	struct kvshm_touch t;

	begin((struct cache_config){ 0 });
	f.now = 5 * SECOND;
	assert_int_equal(fix_chain(&f, ns, 1, 0, 2), 2);
	t = touch_of(1, 1, 3 * SECOND, 0);
	cache_touch(f.c, &t, 1, f.now);
	assert_true(heard.insert_ns > 5 * SECOND && heard.touch_ns == heard.insert_ns);
}

static void in_lockstep_the_stamps_are_the_time(void **state)
{
	struct kvshm_touch t;

	begin((struct cache_config){ .is_lockstep = true });
	assert_int_equal(fix_chain(&f, ns, 1, 0, 2), 2);
	t = touch_of(1, 1, 7 * SECOND, 0);
	cache_touch(f.c, &t, 1, 20);
	assert_int_equal(heard.touch_ns, 7 * SECOND);
	assert_int_equal(heard.tick_ns, 7 * SECOND);
	cache_tick(f.c, 100 * SECOND);
	assert_int_equal(heard.tick_ns, 7 * SECOND);
	cache_settle(f.c, 7 * SECOND + 5);
	assert_int_equal(heard.tick_ns, 7 * SECOND);
	cache_settle(f.c, 8 * SECOND);
	assert_int_equal(heard.tick_ns, 8 * SECOND);
}

static void in_lockstep_exactly_what_is_over_goes_when_the_request_is_over(void **state)
{
	begin((struct cache_config){ .is_lockstep = true, .capacity_blocks = 5 });
	assert_int_equal(fix_chain(&f, ns, 1, 0, 3), 3);
	assert_int_equal(fix_chain(&f, ns, 2, 0, 4), 4);
	assert_int_equal(fix_count(&f).published, 7);
	cache_settle(f.c, ++f.now);
	assert_int_equal(fix_count(&f).published, 5);
	assert_int_equal(fix_count(&f).evictions, 2);
	assert_int_not_equal(fix_find(&f, ns, 1, 0), 0);
	assert_int_equal(fix_find(&f, ns, 1, 1), 0);
	cache_settle(f.c, ++f.now);
	assert_int_equal(fix_count(&f).evictions, 2);
}

static void out_of_lockstep_nothing_is_settled(void **state)
{
	begin((struct cache_config){ .capacity_blocks = 5 });
	assert_int_equal(fix_chain(&f, ns, 1, 0, 7), 5);
	cache_settle(f.c, 9 * SECOND);
	assert_int_equal(heard.tick_ns, 0);
	assert_int_equal(fix_count(&f).published, 5);
}

static void a_block_that_is_pinned_when_the_request_ends_stays(void **state)
{
	uint32_t slot;

	begin((struct cache_config){ .is_lockstep = true, .capacity_blocks = 2 });
	assert_int_equal(fix_chain(&f, ns, 1, 0, 2), 2);
	slot = fix_pin(&f, ns, 1, 1);
	assert_int_equal(fix_chain(&f, ns, 2, 0, 2), 2);
	cache_settle(f.c, ++f.now);
	assert_int_not_equal(fix_find(&f, ns, 1, 1), 0);
	assert_int_equal(fix_find(&f, ns, 2, 0), 0);
	fix_unpin(&f, slot);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, NULL, end)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_cache_runs_no_policy_of_the_replayer),
		T(hints_of_touches_and_records_reach_the_policy),
		T(a_batch_of_touches_is_told_to_the_policy_before_the_first_is_made),
		T(what_a_put_finds_there_counts_as_a_use_of_the_path_down_to_it),
		T(an_older_stamp_does_not_turn_time_back),
		T(in_lockstep_the_stamps_are_the_time),
		T(in_lockstep_exactly_what_is_over_goes_when_the_request_is_over),
		T(out_of_lockstep_nothing_is_settled),
		T(a_block_that_is_pinned_when_the_request_ends_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
