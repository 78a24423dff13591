/* SPDX-License-Identifier: Apache-2.0 */
/* test_commit.c - keys bind at commit, and every reference is checked there */
#include "fixture.h"

static struct fix f;
static uint16_t ns;

static int setup(void **state)
{
	fix_open(&f, 256, 4, NULL);
	ns = fix_ns(&f, 1, 65536);
	return 0;
}

static int teardown(void **state)
{
	fix_verify(&f);
	fix_close(&f);
	return 0;
}

/* A chain of @nr records, each with a grant of its own, below @parent. */
static struct cache_commit chain_of(struct kvshm_commit_rec *rec, uint32_t chain, uint32_t nr)
{
	uint32_t i;

	for (i = 0; i < nr; i++)
		rec[i] = fix_rec(&f, fix_grant(&f, FIX_OWNER, ns), fix_key(chain, i));
	return (struct cache_commit){
		.owner = FIX_OWNER, .ns = ns, .flags = KVSHM_SQE_F_NOPARENT, .nr = nr, .rec = rec, .now_ns = 1,
	};
}

static void a_chain_is_published_parent_first(void **state)
{
	struct cache_commit_result r;
	struct kvshm_commit_rec rec[5];
	struct cache_commit m = chain_of(rec, 1, 5);
	uint32_t i;

	assert_int_equal(cache_commit(f.c, &m, &r), 0);
	assert_int_equal(r.nr_published, 5);
	assert_int_equal(r.last, rec[4].block.id);
	for (i = 0; i < 5; i++) {
		blk_id_t id = fix_find(&f, ns, 1, i);

		assert_int_equal(id, rec[i].block.id);
		assert_int_equal(f.dir.desc[id].depth, i);
		assert_int_equal(f.dir.desc[id].parent, i ? rec[i - 1].block.id : 0);
	}
	assert_int_equal(fix_count(&f).granted, 0);
}

static void first_commit_wins_and_the_loser_returns(void **state)
{
	blk_id_t a = fix_grant(&f, FIX_OWNER, ns), b = fix_grant(&f, FIX_OWNER + 1, ns);
	struct cache_commit_result r;

	assert_int_equal(fix_commit(&f, FIX_OWNER, ns, NULL, fix_rec(&f, a, fix_key(1, 0)), &r), 0);
	assert_int_equal(fix_commit(&f, FIX_OWNER + 1, ns, NULL, fix_rec(&f, b, fix_key(1, 0)), &r), 0);
	assert_int_equal(r.nr_duplicate, 1);
	assert_int_equal(r.last, a);
	assert_int_equal(fix_find(&f, ns, 1, 0), a);
	assert_int_equal(state_of(f.dir.desc[b].state), KVSHM_BLOCK_FREE);
	assert_int_equal(fix_count(&f).granted, 0);
	assert_int_equal(fix_count(&f).duplicates, 1);
}

static void a_duplicate_in_the_middle_becomes_the_next_parent(void **state)
{
	struct cache_commit_result r;
	struct kvshm_commit_rec rec[3];
	struct cache_commit m;
	blk_id_t middle;

	assert_int_equal(fix_chain(&f, ns, 1, 0, 2), 2);
	middle = fix_find(&f, ns, 1, 1);
	m = chain_of(rec, 1, 3);
	assert_int_equal(cache_commit(f.c, &m, &r), 0);
	assert_int_equal(r.nr_duplicate, 2);
	assert_int_equal(r.nr_published, 1);
	assert_int_equal(f.dir.desc[fix_find(&f, ns, 1, 2)].parent, middle);
}

static void a_chain_goes_on_below_a_parent_named_by_key(void **state)
{
	const struct kvshm_key absent = fix_key(9, 9);
	struct cache_commit_result r;
	blk_id_t id;

	assert_int_equal(fix_chain(&f, ns, 1, 0, 3), 3);
	assert_int_equal(f.dir.desc[fix_find(&f, ns, 1, 2)].depth, 2);
	id = fix_grant(&f, FIX_OWNER, ns);
	assert_int_equal(fix_commit(&f, FIX_OWNER, ns, &absent, fix_rec(&f, id, fix_key(1, 3)), &r), -ENOENT);
	assert_int_equal(fix_count(&f).granted, 0);
	assert_int_equal(fix_count(&f).dropped_parent, 1);
}

static void loose_blocks_have_no_parent_and_fail_alone(void **state)
{
	struct cache_commit_result r;
	struct kvshm_commit_rec rec[3];
	struct cache_commit m = chain_of(rec, 1, 3);

	m.flags = KVSHM_SQE_F_LOOSE;
	rec[1].block.generation++;
	assert_int_equal(cache_commit(f.c, &m, &r), 0);
	assert_int_equal(r.nr_published, 2);
	assert_int_equal(r.nr_dropped, 1);
	assert_int_equal(f.dir.desc[fix_find(&f, ns, 1, 2)].parent, 0);
	assert_true(f.dir.desc[fix_find(&f, ns, 1, 2)].state & KVSHM_FLAG_NOPARENT);
	assert_int_equal(fix_count(&f).granted, 1);	/* a forged reference names no grant */
}

/* Spoil record 2 of 4 by @spoil, and expect the chain to stop there. */
static void expect_stop(void (*spoil)(struct kvshm_commit_rec *r), uint64_t grants_left)
{
	struct cache_commit_result r;
	struct kvshm_commit_rec rec[4];
	struct cache_commit m = chain_of(rec, 1, 4);

	spoil(&rec[2]);
	assert_int_equal(cache_commit(f.c, &m, &r), 0);
	assert_int_equal(r.nr_published, 2);
	assert_int_equal(r.nr_dropped, 2);
	assert_int_equal(r.last, rec[1].block.id);
	assert_int_equal(fix_find(&f, ns, 1, 3), 0);
	assert_int_equal(fix_count(&f).granted, grants_left);
	assert_int_equal(fix_count(&f).dropped_bad, 1);
}

static void forge_generation(struct kvshm_commit_rec *r)
{
	r->block.generation++;
}

static void forge_id(struct kvshm_commit_rec *r)
{
	r->block.id = f.dir.max_blocks + 1;
}

static void forge_owner(struct kvshm_commit_rec *r)
{
	r->block = fix_ref(&f, fix_grant(&f, FIX_OWNER + 1, ns));
}

static void forge_ns(struct kvshm_commit_rec *r)
{
	r->block = fix_ref(&f, fix_grant(&f, FIX_OWNER, fix_ns(&f, 2, 65536)));
}

static void forge_length_over(struct kvshm_commit_rec *r)
{
	r->length++;
}

static void forge_length_class(struct kvshm_commit_rec *r)
{
	r->length = 4096;
}

static void forge_length_zero(struct kvshm_commit_rec *r)
{
	r->length = 0;
}

static void forge_flags(struct kvshm_commit_rec *r)
{
	r->flags = 1;
}

static void forge_resv(struct kvshm_commit_rec *r)
{
	r->resv[1] = 1;
}

static void forge_twice(struct kvshm_commit_rec *r)
{
	r->block = (r - 1)->block;
}

static void chain_stops_at_a_stale_generation(void **state)
{
	expect_stop(forge_generation, 1);
}

static void chain_stops_at_an_id_out_of_range(void **state)
{
	expect_stop(forge_id, 1);
}

static void chain_stops_at_a_foreign_grant(void **state)
{
	expect_stop(forge_owner, 2);
}

static void chain_stops_at_a_grant_of_another_namespace(void **state)
{
	expect_stop(forge_ns, 1);
}

static void chain_stops_at_a_length_past_the_grant(void **state)
{
	expect_stop(forge_length_over, 0);
}

static void chain_stops_at_a_length_of_another_class(void **state)
{
	expect_stop(forge_length_class, 0);
}

static void chain_stops_at_length_zero(void **state)
{
	expect_stop(forge_length_zero, 0);
}

static void chain_stops_at_unknown_flags(void **state)
{
	expect_stop(forge_flags, 0);
}

static void chain_stops_at_reserved_bytes(void **state)
{
	expect_stop(forge_resv, 0);
}

static void chain_stops_at_a_grant_named_twice(void **state)
{
	expect_stop(forge_twice, 1);
}

static void a_commit_without_sense_is_refused_and_its_grants_return(void **state)
{
	struct cache_commit_result r = { .last = 42 };
	struct kvshm_commit_rec rec[2];
	struct cache_commit m = chain_of(rec, 1, 2);

	m.ns = 77;
	assert_int_equal(cache_commit(f.c, &m, &r), -EINVAL);
	assert_int_equal(r.last, 42);
	assert_int_equal(fix_count(&f).granted, 0);
	m = chain_of(rec, 1, 2);
	m.flags = 0;
	assert_int_equal(cache_commit(f.c, &m, &r), -EINVAL);
	assert_int_equal(fix_count(&f).granted, 0);
}

static void payload_checksum_and_tokens_reach_the_descriptor(void **state)
{
	blk_id_t id = fix_grant(&f, FIX_OWNER, ns);
	struct kvshm_commit_rec rec = fix_rec(&f, id, fix_key(1, 0));
	struct cache_commit_result r;

	rec.checksum = 0x1234;
	rec.tokens = 9;
	rec.length = 65530;
	assert_int_equal(fix_commit(&f, FIX_OWNER, ns, NULL, rec, &r), 0);
	assert_int_equal(f.dir.desc[id].checksum, 0x1234);
	assert_true(f.dir.desc[id].state & KVSHM_FLAG_CHECKSUM);
	assert_int_equal(f.dir.desc[id].tokens, 9);
	assert_int_equal(f.dir.desc[id].length, 65530);
}

static void capacity_evicts_exactly_what_is_needed(void **state)
{
	fix_close(&f);
	fix_open(&f, 256, 4, &(struct cache_config){ .capacity_blocks = 5 });
	ns = fix_ns(&f, 1, 65536);
	assert_int_equal(fix_chain(&f, ns, 1, 0, 3), 3);
	assert_int_equal(fix_chain(&f, ns, 2, 0, 2), 2);
	assert_int_equal(fix_count(&f).evictions, 0);
	assert_int_equal(fix_chain(&f, ns, 2, 2, 1), 1);
	assert_int_equal(fix_count(&f).evictions, 1);
	assert_int_equal(fix_find(&f, ns, 1, 2), 0);
	assert_int_not_equal(fix_find(&f, ns, 1, 1), 0);
	assert_int_equal(fix_chain(&f, ns, 2, 3, 2), 2);
	assert_int_equal(fix_count(&f).published, 5);
	/* The chain that grows is no victim of its own growth. */
	assert_int_equal(fix_chain(&f, ns, 2, 5, 1), 0);
	assert_int_equal(fix_count(&f).dropped_full, 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_chain_is_published_parent_first),
		T(first_commit_wins_and_the_loser_returns),
		T(a_duplicate_in_the_middle_becomes_the_next_parent),
		T(a_chain_goes_on_below_a_parent_named_by_key),
		T(loose_blocks_have_no_parent_and_fail_alone),
		T(chain_stops_at_a_stale_generation),
		T(chain_stops_at_an_id_out_of_range),
		T(chain_stops_at_a_foreign_grant),
		T(chain_stops_at_a_grant_of_another_namespace),
		T(chain_stops_at_a_length_past_the_grant),
		T(chain_stops_at_a_length_of_another_class),
		T(chain_stops_at_length_zero),
		T(chain_stops_at_unknown_flags),
		T(chain_stops_at_reserved_bytes),
		T(chain_stops_at_a_grant_named_twice),
		T(a_commit_without_sense_is_refused_and_its_grants_return),
		T(payload_checksum_and_tokens_reach_the_descriptor),
		T(capacity_evicts_exactly_what_is_needed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
