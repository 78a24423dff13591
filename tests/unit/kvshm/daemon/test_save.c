/* SPDX-License-Identifier: Apache-2.0 */
/* test_save.c - copies out of a GPU are begun, land and are published in order; what goes wrong: test_save_fail.c */
#include "tests/unit/kvshm/daemon/save_fixture.h"

static void blocks_are_there_when_their_copies_have_landed_and_not_before(void **state)
{
	struct asked a = ask(0, 3, 4);
	struct kvshm_cqe c;
	uint64_t n;

	submit(&a, 7);
	n = job();
	assert_true(n);
	assert_int_equal(msg.job.nr, 12);
	assert_int_equal(msg.job.ns, x.ns);
	for (unsigned i = 0; i < 12; i++) {
		const struct kvshm_stage_rec *r = &msg.job.rec[i];
		uint64_t state_word = x.f.dir.desc[r->block.id].state;

		assert_int_equal(state_word, state_make(KVSHM_BLOCK_GRANTED, 0, FIX_OWNER + 1, r->block.generation));
		assert_int_equal(r->block.id, msg.job.rec[i / 4 * 4].block.id);
		assert_int_equal(r->off, i % 4 * (LEN / 4));
		assert_int_equal(r->buffer_off, i * (LEN / 4));
	}
	assert_blocks(3, 0);
	assert_false(wfix_completion(&x, &c));
	assert_false(is_there(0));
	say_done(n, 12, 0);
	assert_completion(7, 3, 0, 0);
	assert_true(is_there(0) && is_there(1) && is_there(2));
	assert_blocks(0, 3);
	assert_int_equal(x.w->link.saved_bytes, 3 * LEN);
	assert_int_equal(x.w->link.nr_done, 1);
}

static void entries_are_committed_in_order_whatever_lands_first(void **state)
{
	struct asked a = ask(0, 2, 1), b = ask(2, 2, 1);
	struct kvshm_cqe c;
	uint64_t first, second;

	submit(&a, 1);
	submit(&b, 2);
	first = job();
	second = job();
	assert_true(first && second);
	say_done(second, 2, 0);
	assert_false(wfix_completion(&x, &c));
	assert_false(is_there(2));
	say_done(first, 2, 0);
	assert_completion(1, 2, 0, 0);
	assert_completion(2, 2, 0, 0);
	assert_blocks(0, 4);
}

static void keys_that_are_there_are_duplicates(void **state)
{
	struct asked a = ask(0, 2, 1), b = ask(0, 3, 1);

	submit(&a, 1);
	say_done(job(), 2, 0);
	assert_completion(1, 2, 0, 0);
	submit(&b, 2);
	say_done(job(), 3, 0);
	assert_completion(2, 1, 2, 0);
	assert_blocks(0, 3);
}

static void loose_blocks_have_no_parent(void **state)
{
	struct asked a = ask(5, 2, 1);

	a.flags = KVSHM_SQE_F_LOOSE;
	memset(&a.parent, 0, sizeof(a.parent));
	submit(&a, 1);
	say_done(job(), 2, 0);
	assert_completion(1, 2, 0, 0);
	assert_true(is_there(5) && is_there(6));
}

static void what_finds_no_room_is_dropped_and_the_rest_is_copied(void **state)
{
	struct asked a = ask(0, 60, 1), b = ask(60, 10, 1), c = ask(70, 1, 1);
	uint64_t n;

	x.d->conf.credit_blocks = 100;
	submit(&a, 1);
	submit(&b, 2);
	submit(&c, 3);
	n = job();
	assert_int_equal(msg.job.nr, 60);
	/* 64 blocks there are, and all are granted */
	assert_true(job());
	assert_int_equal(msg.job.nr, 4);
	assert_int_equal(job(), 0);
	say_done(n, 60, 0);
	assert_completion(1, 60, 0, 0);
	say_done(n + 1, 4, 0);
	assert_completion(2, 4, 0, 6);
	assert_completion(3, 0, 0, 1);
	assert_blocks(0, 64);
}

static void a_session_has_as_much_under_way_as_its_credit_allows(void **state)
{
	struct asked a = ask(0, 5, 1), b = ask(5, 2, 1), c = ask(7, 1, 1);
	uint64_t n;

	/* one always, be it more than the credit */
	x.d->store.credit_bytes = 3 * LEN;
	submit(&a, 1);
	submit(&b, 2);
	submit(&c, 3);
	n = job();
	assert_true(n);
	assert_int_equal(job(), 0);
	say_done(n, 5, 0);
	assert_completion(1, 5, 0, 0);
	n = job();
	assert_int_equal(msg.job.nr, 2);
	assert_int_equal(job(), n + 1);
	assert_int_equal(job(), 0);
	say_done(n, 2, 0);
	say_done(n + 1, 1, 0);
	assert_completion(2, 2, 0, 0);
	assert_completion(3, 1, 0, 0);
	assert_blocks(0, 8);
}

static void a_session_that_asks_for_more_and_more_waits_in_its_queue(void **state)
{
	struct kvshm_cqe c;
	struct asked a;
	uint64_t n;

	x.d->conf.credit_blocks = 1;
	for (uint32_t i = 0; i < SAVES_MAX + 1; i++) {
		a = ask(i, 1, 1);
		submit_of(&x.sq, &x.s->q.seg, &a, i * 128, i);
	}
	turn();
	assert_int_equal(x.s->q.nr_saves, SAVES_MAX);
	assert_int_equal(qp_pending(&x.s->q.sq), 1);
	for (uint32_t i = 0; i < SAVES_MAX + 1; i++) {
		n = job();
		assert_true(n);
		assert_int_equal(job(), 0);
		say_done(n, 1, 0);
		turn();
		assert_completion(i, 1, 0, 0);
	}
	assert_false(wfix_completion(&x, &c));
	assert_blocks(0, SAVES_MAX + 1);
}

static int setup_many(void **state)
{
	return setup_of(2048);
}

/* The @i-th of entries of 200 small blocks. */
static void submit_small(uint32_t i)
{
	struct asked a = ask(i * 200, 200, 1);

	for (uint32_t j = 0; j < 200; j++)
		a.rec[j].length = a.piece[j].len = 4096;
	submit(&a, i);
}

static unsigned nr_jobs(void)
{
	unsigned n = 0;

	while (job())
		n++;
	return n;
}

static void what_waits_does_not_begin_all_at_once(void **state)
{
	x.d->conf.credit_blocks = 800;
	for (uint32_t i = 0; i < 7; i++)
		submit_small(i);
	assert_int_equal(nr_jobs(), 4);
	/* room for all: 256 blocks are a step, begun when one more comes, or one is over */
	x.d->conf.credit_blocks = 2000;
	submit_small(7);
	assert_int_equal(nr_jobs(), 2);
	say_done(1, 200, 0);
	assert_int_equal(nr_jobs(), 2);
	for (uint64_t n = 2; n <= 8; n++)
		say_done(n, 200, 0);
	assert_blocks(0, 1600);
}

static void jobs_of_a_session_end_and_others_come(void **state)
{
	for (uint32_t i = 0; i < GPULINK_JOBS_A_SESSION + 1; i++) {
		struct asked a = ask(i % 8, 1, 1);

		submit(&a, i);
		say_done(job(), i % 2 ? 1 : -ENOENT, 0);
		assert_int_equal(completion().user_data, i);
	}
	assert_int_equal(x.s->q.nr_gpujobs, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(blocks_are_there_when_their_copies_have_landed_and_not_before),
		T(entries_are_committed_in_order_whatever_lands_first),
		T(keys_that_are_there_are_duplicates),
		T(loose_blocks_have_no_parent),
		T(what_finds_no_room_is_dropped_and_the_rest_is_copied),
		T(a_session_has_as_much_under_way_as_its_credit_allows),
		T(a_session_that_asks_for_more_and_more_waits_in_its_queue),
		cmocka_unit_test_setup_teardown(what_waits_does_not_begin_all_at_once, setup_many, teardown),
		T(jobs_of_a_session_end_and_others_come),
	};

	return cmocka_run_group_tests(tests, wfix_group_setup, wfix_group_teardown);
}
