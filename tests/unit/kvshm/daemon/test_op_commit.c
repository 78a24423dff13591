/* SPDX-License-Identifier: Apache-2.0 */
/* Commits and returns of thousands of blocks: a step a round, and what may happen between two steps. */
#include "tests/unit/kvshm/daemon/fixture.h"

#define BLOCK 4096u
#define NR (4 * SLOW_RECORDS)
#define STEPS 4u

static struct wfix x;
static struct kvshm_commit_rec rec[NR];

static int setup(void **state)
{
	wfix_open(&x, 2 * NR, 8, BLOCK);
	return 0;
}

static int teardown(void **state)
{
	wfix_close(&x);
	return 0;
}

/* Records of one chain, each with a grant. */
static void grant_all(void)
{
	for (uint32_t i = 0; i < NR; i++)
		rec[i] = fix_rec(&x.f, fix_grant(&x.f, FIX_OWNER, x.ns), fix_key(1, i));
	x.s->q.granted = NR;
	x.s->q.granted_bytes = (uint64_t)NR * BLOCK;
}

static void submit(uint8_t flags)
{
	memcpy(x.s->q.seg.args, rec, sizeof(rec));
	wfix_submit(&x, (struct kvshm_sqe){ .op = KVSHM_OP_COMMIT,
					    .flags = flags,
					    .ns = x.ns,
					    .user_data = 7,
					    .nr = NR,
					    .len = sizeof(rec) });
}

static void submit_nop(void)
{
	wfix_submit(&x, (struct kvshm_sqe){ .op = KVSHM_OP_NOP, .user_data = 8 });
}

static struct kvshm_cqe completion_after(unsigned rounds)
{
	struct kvshm_cqe done = { 0 };

	while (rounds--) {
		assert_false(wfix_completion(&x, &done));
		wfix_round(&x);
	}
	assert_true(wfix_completion(&x, &done));
	assert_int_equal(done.user_data, 7);
	return done;
}

static void a_long_commit_takes_a_step_a_round_and_completes_at_the_end(void **state)
{
	struct kvshm_cqe done;

	grant_all();
	submit(KVSHM_SQE_F_NOPARENT);
	submit_nop();
	wfix_round(&x); /* taken from the queue */
	for (unsigned i = 1; i < STEPS; i++) {
		wfix_round(&x);
		assert_int_equal(wfix_count(&x, KVSHM_BLOCK_PUBLISHED), i * SLOW_RECORDS);
		assert_false(wfix_completion(&x, &done));
	}
	done = completion_after(1);
	assert_int_equal(done.res, NR);
	assert_int_equal(done.nr_duplicate + done.nr_dropped, 0);
	assert_int_equal(fix_find(&x.f, x.ns, 1, NR - 1), rec[NR - 1].block.id);
	assert_int_equal(x.f.dir.desc[rec[NR - 1].block.id].depth, NR - 1);
	assert_int_equal(x.s->q.granted, 0);
	assert_int_equal(x.s->q.granted_bytes, 0);

	/* the session's next entry came after it */
	wfix_round(&x);
	assert_true(wfix_completion(&x, &done));
	assert_int_equal(done.user_data, 8);
}

static void what_follows_a_bad_record_is_dropped_in_later_steps_too(void **state)
{
	struct kvshm_cqe done;

	grant_all();
	rec[10].block.generation++;
	/* a step further down would have a parent: somebody else's block of that key */
	fix_chain(&x.f, x.ns, 1, 0, SLOW_RECORDS);
	rec[0].key = fix_key(2, 0);
	submit(KVSHM_SQE_F_NOPARENT);
	done = completion_after(1 + STEPS);
	assert_int_equal(done.res + (int)done.nr_duplicate, 10);
	assert_int_equal(done.nr_dropped, NR - 10);
	/* the forged reference was not returned: it named no block of ours */
	assert_int_equal(wfix_count(&x, KVSHM_BLOCK_GRANTED), 1);
	assert_int_equal(x.s->q.granted, 1);
	cache_owner_gone(x.f.c, FIX_OWNER);
}

static void without_its_parent_all_of_it_is_dropped(void **state)
{
	struct kvshm_cqe done;

	grant_all();
	memcpy(x.s->q.seg.args, rec, sizeof(rec));
	wfix_submit(&x, (struct kvshm_sqe){ .op = KVSHM_OP_COMMIT,
					    .ns = x.ns,
					    .user_data = 7,
					    .nr = NR,
					    .len = sizeof(rec),
					    .key = fix_key(9, 9) });
	done = completion_after(1 + STEPS);
	assert_int_equal(done.res, -ENOENT);
	assert_int_equal(done.nr_dropped, NR);
	assert_int_equal(wfix_count(&x, KVSHM_BLOCK_GRANTED), 0);
	assert_int_equal(x.s->q.granted, 0);
}

static void loose_records_are_dropped_one_by_one(void **state)
{
	struct kvshm_cqe done;

	grant_all();
	rec[10].block.generation++;
	submit(KVSHM_SQE_F_LOOSE);
	done = completion_after(1 + STEPS);
	assert_int_equal(done.res, NR - 1);
	assert_int_equal(done.nr_dropped, 1);
	cache_owner_gone(x.f.c, FIX_OWNER);
}

static void a_drop_between_two_steps_ends_the_chain(void **state)
{
	const struct kvshm_key root = fix_key(1, 0);
	struct kvshm_cqe done;

	grant_all();
	submit(KVSHM_SQE_F_NOPARENT);
	wfix_round(&x);
	wfix_round(&x);
	assert_int_equal(cache_drop(x.f.c, x.ns, &root), SLOW_RECORDS);
	done = completion_after(STEPS - 1);
	assert_int_equal(done.res, SLOW_RECORDS);
	assert_int_equal(done.nr_dropped, NR - SLOW_RECORDS);
	assert_int_equal(wfix_count(&x, KVSHM_BLOCK_GRANTED), 0);
	assert_int_equal(wfix_count(&x, KVSHM_BLOCK_PUBLISHED), 0);
}

static void a_death_between_two_steps_returns_what_was_not_published(void **state)
{
	struct kvshm_cqe done;

	grant_all();
	submit(KVSHM_SQE_F_NOPARENT);
	wfix_round(&x);
	wfix_round(&x);
	wfix_tell(&x, MAIL_REMOVE);
	assert_true(wfix_told_main(&x, MAIL_REMOVED));
	wfix_round(&x);
	assert_false(wfix_completion(&x, &done));
	assert_int_equal(wfix_count(&x, KVSHM_BLOCK_PUBLISHED), SLOW_RECORDS);
	assert_int_equal(wfix_count(&x, KVSHM_BLOCK_GRANTED), 0);
}

static void records_that_change_between_two_steps_are_judged_as_they_are_copied(void **state)
{
	struct kvshm_cqe done;

	grant_all();
	submit(KVSHM_SQE_F_NOPARENT);
	wfix_round(&x);
	wfix_round(&x);
	memset(x.s->q.seg.args, 0xff, sizeof(rec));
	done = completion_after(STEPS - 1);
	assert_int_equal(done.res, SLOW_RECORDS);
	assert_int_equal(done.nr_dropped, NR - SLOW_RECORDS);
	assert_int_equal(x.s->q.granted, NR - SLOW_RECORDS);
	assert_int_equal(wfix_count(&x, KVSHM_BLOCK_GRANTED), NR - SLOW_RECORDS);
	cache_owner_gone(x.f.c, FIX_OWNER);
}

static void a_long_return_takes_steps_too(void **state)
{
	struct kvshm_block_ref ref[NR];
	struct kvshm_cqe done;

	grant_all();
	for (uint32_t i = 0; i < NR; i++)
		ref[i] = rec[i].block;
	memcpy(x.s->q.seg.args, ref, sizeof(ref));
	wfix_submit(&x,
		    (struct kvshm_sqe){
			    .op = KVSHM_OP_RETURN, .user_data = 7, .nr = NR, .len = sizeof(ref) });
	done = completion_after(1 + STEPS);
	assert_int_equal(done.res, NR);
	assert_int_equal(x.s->q.granted, 0);
	assert_int_equal(wfix_count(&x, KVSHM_BLOCK_GRANTED), 0);
}

static void a_long_grant_takes_steps_and_names_all_of_its_blocks(void **state)
{
	struct kvshm_cqe done;
	unsigned nr = 0;

	wfix_submit(&x, (struct kvshm_sqe){
				.op = KVSHM_OP_GRANT, .ns = x.ns, .user_data = 7, .nr = NR });
	wfix_round(&x);
	wfix_round(&x);
	assert_int_equal(wfix_count(&x, KVSHM_BLOCK_GRANTED), SLOW_RECORDS);
	done = completion_after(STEPS - 1);
	assert_int_equal(done.res, NR);
	for (unsigned i = 0; i < done.nr_runs; i++)
		for (uint32_t k = 0; k < done.run[i].nr; k++, nr++)
			assert_int_equal(state_of(x.f.dir.desc[done.run[i].first + k].state),
					 KVSHM_BLOCK_GRANTED);
	assert_int_equal(nr, NR);
	assert_int_equal(x.s->q.granted, NR);
	cache_owner_gone(x.f.c, FIX_OWNER);
}

static void a_grant_in_steps_ends_at_the_credit(void **state)
{
	x.d->conf.credit_blocks = SLOW_RECORDS + 10;
	wfix_submit(&x, (struct kvshm_sqe){
				.op = KVSHM_OP_GRANT, .ns = x.ns, .user_data = 7, .nr = NR });
	assert_int_equal(completion_after(3).res, SLOW_RECORDS + 10);
	assert_int_equal(x.s->q.granted, SLOW_RECORDS + 10);
	cache_owner_gone(x.f.c, FIX_OWNER);
}

static void in_lockstep_a_commit_is_one(void **state)
{
	grant_all();
	x.d->conf.lockstep = 1;
	submit(KVSHM_SQE_F_NOPARENT);
	assert_int_equal(completion_after(1).res, NR);
	x.d->conf.lockstep = 0;
}

#define EACH(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(a_long_commit_takes_a_step_a_round_and_completes_at_the_end),
		EACH(what_follows_a_bad_record_is_dropped_in_later_steps_too),
		EACH(without_its_parent_all_of_it_is_dropped),
		EACH(loose_records_are_dropped_one_by_one),
		EACH(a_drop_between_two_steps_ends_the_chain),
		EACH(a_death_between_two_steps_returns_what_was_not_published),
		EACH(records_that_change_between_two_steps_are_judged_as_they_are_copied),
		EACH(a_long_return_takes_steps_too),
		EACH(a_long_grant_takes_steps_and_names_all_of_its_blocks),
		EACH(a_grant_in_steps_ends_at_the_credit),
		EACH(in_lockstep_a_commit_is_one),
	};

	return cmocka_run_group_tests(tests, wfix_group_setup, wfix_group_teardown);
}
