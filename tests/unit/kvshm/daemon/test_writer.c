/* SPDX-License-Identifier: Apache-2.0 */
/* Turns: whatever one session asks for, its neighbour's entry is served in the round that finds it. */
#include "tests/unit/kvshm/daemon/fixture.h"

#include "kvshm/base/compiler.h"

#define ROUNDS 40u
#define TURN_RECORDS (2 * SLOW_RECORDS) /* at most a step and what was queued before it */
#define TURN_ENTRIES 64u

static struct wfix x;
static struct session *neighbour;
static struct qp_end sq, cq; /* the neighbour's */

static int setup(void **state)
{
	wfix_open(&x, 8192, 16, 4096);
	neighbour = wfix_serve(&x, 1, &sq, &cq);
	return 0;
}

static int teardown(void **state)
{
	session_release(neighbour);
	wfix_close(&x);
	return 0;
}

/* The queue is never empty, and its completions are thrown away. */
static void flood(struct kvshm_sqe e)
{
	struct kvshm_cqe done;

	while (wfix_completion(&x, &done))
		;
	while (sq_push(&x.sq, &e) == 0)
		;
}

static uint64_t work_done(void)
{
	struct cache_counts n = fix_count(&x.f);

	return n.publishes + n.drops + n.dropped_bad + n.granted;
}

static void a_flood_has_a_bounded_turn_and_its_neighbour_the_next(void **state)
{
	const struct kvshm_sqe floods[] = {
		{ .op = KVSHM_OP_NOP },
		{ .op = KVSHM_OP_DROP, .ns = x.ns, .flags = KVSHM_SQE_F_ALL },
		{ .op = KVSHM_OP_GRANT, .ns = x.ns, .nr = KVSHM_COMMIT_MAX },
		{ .op = KVSHM_OP_COMMIT,
		  .ns = x.ns,
		  .flags = KVSHM_SQE_F_LOOSE,
		  .nr = 200,
		  .len = 200 * sizeof(struct kvshm_commit_rec) },
		{ .op = KVSHM_OP_COMMIT,
		  .ns = x.ns,
		  .flags = KVSHM_SQE_F_LOOSE,
		  .nr = KVSHM_COMMIT_MAX,
		  .len = KVSHM_ARGS_LEN },
		{ .op = KVSHM_OP_RETURN,
		  .nr = KVSHM_COMMIT_MAX,
		  .len = KVSHM_COMMIT_MAX * sizeof(struct kvshm_block_ref) },
	};
	const struct kvshm_sqe nop = { .op = KVSHM_OP_NOP };
	struct kvshm_cqe done;

	fix_chain(&x.f, x.ns, 1, 0, 2000); /* for the drops */
	for (unsigned i = 0; i < ARRAY_SIZE(floods) * ROUNDS; i++) {
		uint64_t work = work_done(), sqes = x.w->counts.sqes;

		flood(floods[i / ROUNDS]);
		assert_int_equal(sq_push(&sq, &nop), 0);
		wfix_round(&x);
		assert_int_equal(cq_pop(&cq, &done), 1);
		assert_true(work_done() - work <= TURN_RECORDS);
		assert_true(x.w->counts.sqes - sqes <= TURN_ENTRIES + 1);
	}
	wfix_tell(&x, MAIL_REMOVE);
}

/* More entries than the CQ holds, and nobody takes a completion until the writer has stopped. */
static int refused(struct kvshm_sqe e)
{
	struct kvshm_cqe done = { 0 };

	wfix_submit(&x, e);
	wfix_round(&x);
	assert_true(wfix_completion(&x, &done));
	return done.res;
}

static void malformed_entries_are_counted_by_what_is_wrong(void **state)
{
	const uint32_t len = sizeof(struct kvshm_commit_rec);

	assert_int_equal(refused((struct kvshm_sqe){ .op = KVSHM_OP_LAST }), -EOPNOTSUPP);
	assert_int_equal(refused((struct kvshm_sqe){ .op = KVSHM_OP_COMMIT, .ns = x.ns, .nr = 1, .len = len,
						     .off = KVSHM_ARGS_LEN }), -EFAULT);
	assert_int_equal(refused((struct kvshm_sqe){ .op = KVSHM_OP_COMMIT, .ns = x.ns, .nr = 1, .len = len,
						     .off = 1 }), -EFAULT);
	assert_int_equal(refused((struct kvshm_sqe){ .op = KVSHM_OP_COMMIT, .ns = x.ns, .nr = 1, .len = len + 1 }),
			 -EINVAL);
	assert_int_equal(x.w->counts.sqes_refused, 4);
	assert_int_equal(x.w->counts.sqes_refused_op, 1);
	assert_int_equal(x.w->counts.sqes_refused_args, 2);
}

static void a_full_cq_pauses_its_client_and_loses_nothing(void **state)
{
	const uint64_t nr = KVSHM_CQ_ENTRIES + 100;
	uint64_t pushed = 0, popped = 0;
	struct kvshm_cqe done;

	for (unsigned i = 0; i < 2 * ROUNDS; i++) {
		while (pushed < nr &&
		       sq_push(&x.sq, &(struct kvshm_sqe){ .user_data = pushed }) == 0)
			pushed++;
		wfix_round(&x);
	}
	assert_int_equal(pushed, nr);
	for (unsigned i = 0; i < 2 * ROUNDS; i++) {
		while (wfix_completion(&x, &done))
			assert_int_equal(done.user_data, popped++);
		wfix_round(&x);
	}
	assert_int_equal(popped, nr);
	assert_false(wfix_told_main(&x, MAIL_OFFENCE));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			a_flood_has_a_bounded_turn_and_its_neighbour_the_next, setup, teardown),
		cmocka_unit_test_setup_teardown(malformed_entries_are_counted_by_what_is_wrong, setup, teardown),
		cmocka_unit_test_setup_teardown(a_full_cq_pauses_its_client_and_loses_nothing,
						setup, teardown),
	};

	return cmocka_run_group_tests(tests, wfix_group_setup, wfix_group_teardown);
}
