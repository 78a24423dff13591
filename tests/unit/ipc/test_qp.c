/* SPDX-License-Identifier: Apache-2.0 */
/* test_qp.c - queue pair: order, bounds, and each refusal of a peer's index */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "ipc/qp.h"
#include "kvshm/base/atomic.h"

#define ENTRIES 8

/* Both ends of an SQ and a CQ over the same words, as two processes have them. */
struct rings {
	struct kvshm_ring_ctl sq_ctl, cq_ctl;
	struct kvshm_sqe sqe[ENTRIES];
	struct kvshm_cqe cqe[ENTRIES];
	struct qp_end sq_client, sq_daemon, cq_daemon, cq_client;
};

static struct rings r;

static int set_up(void **state)
{
	memset(&r, 0, sizeof(r));
	qp_end_init(&r.sq_client, &r.sq_ctl, r.sqe, ENTRIES);
	qp_end_init(&r.sq_daemon, &r.sq_ctl, r.sqe, ENTRIES);
	qp_end_init(&r.cq_daemon, &r.cq_ctl, r.cqe, ENTRIES);
	qp_end_init(&r.cq_client, &r.cq_ctl, r.cqe, ENTRIES);
	return 0;
}

static struct kvshm_sqe sqe_of(uint64_t n)
{
	struct kvshm_sqe e;

	memset(&e, (int)(n & 0xff), sizeof(e));
	e.user_data = n;
	return e;
}

static struct kvshm_cqe cqe_of(uint64_t n)
{
	struct kvshm_cqe e;

	memset(&e, (int)(n & 0xff), sizeof(e));
	e.user_data = n;
	return e;
}

static void push_sq(unsigned nr)
{
	struct kvshm_sqe e = sqe_of(1);

	while (nr--)
		assert_int_equal(sq_push(&r.sq_client, &e), 0);
}

static void entries_come_out_whole_and_in_order(void **state)
{
	struct kvshm_sqe s, want_s;
	struct kvshm_cqe c, want_c;
	uint64_t n;

	for (n = 0; n < 10 * ENTRIES; n++) {
		want_s = sqe_of(n);
		want_c = cqe_of(~n);
		assert_int_equal(sq_push(&r.sq_client, &want_s), 0);
		assert_int_equal(cq_push(&r.cq_daemon, &want_c), 0);
		assert_int_equal(sq_pop(&r.sq_daemon, &s), 1);
		assert_int_equal(cq_pop(&r.cq_client, &c), 1);
		assert_memory_equal(&s, &want_s, sizeof(s));
		assert_memory_equal(&c, &want_c, sizeof(c));
	}
}

static void an_empty_ring_gives_nothing_and_leaves_the_output_alone(void **state)
{
	struct kvshm_sqe s = sqe_of(7), before = s;
	struct kvshm_cqe c = cqe_of(7), cbefore = c;

	assert_int_equal(sq_pop(&r.sq_daemon, &s), 0);
	assert_int_equal(cq_pop(&r.cq_client, &c), 0);
	assert_memory_equal(&s, &before, sizeof(s));
	assert_memory_equal(&c, &cbefore, sizeof(c));
}

static void all_entries_can_be_used_and_one_more_is_refused(void **state)
{
	struct kvshm_sqe e = sqe_of(3), out;
	struct kvshm_cqe c = cqe_of(3), cout;
	unsigned i;

	push_sq(ENTRIES);
	assert_int_equal(sq_push(&r.sq_client, &e), -EAGAIN);
	assert_int_equal(sq_pop(&r.sq_daemon, &out), 1);
	assert_int_equal(sq_push(&r.sq_client, &e), 0);
	assert_int_equal(sq_push(&r.sq_client, &e), -EAGAIN);

	for (i = 0; i < ENTRIES; i++)
		assert_int_equal(cq_push(&r.cq_daemon, &c), 0);
	assert_int_equal(cq_push(&r.cq_daemon, &c), -EAGAIN);
	assert_int_equal(cq_pop(&r.cq_client, &cout), 1);
	assert_int_equal(cq_push(&r.cq_daemon, &c), 0);
}

static void indices_wrap_around(void **state)
{
	struct kvshm_sqe e, out;
	uint64_t n;

	r.sq_ctl.tail = r.sq_ctl.head = UINT32_MAX - 3;
	r.sq_client.own = r.sq_client.peer = UINT32_MAX - 3;
	r.sq_daemon.own = r.sq_daemon.peer = UINT32_MAX - 3;
	for (n = 0; n < 3 * ENTRIES; n++) {
		e = sqe_of(n);
		assert_int_equal(sq_push(&r.sq_client, &e), 0);
		if (n < ENTRIES - 1)
			continue;		/* keeps the ring full over the wrap */
		assert_int_equal(sq_push(&r.sq_client, &e), -EAGAIN);
		assert_int_equal(sq_pop(&r.sq_daemon, &out), 1);
		assert_int_equal(out.user_data, n - (ENTRIES - 1));
	}
}

static void sq_pop_refuses_a_forged_tail(void **state)
{
	struct kvshm_sqe out;

	WRITE_ONCE(r.sq_ctl.tail, ENTRIES + 1);	/* one more than the ring holds */
	assert_int_equal(sq_pop(&r.sq_daemon, &out), -EPROTO);
	WRITE_ONCE(r.sq_ctl.tail, ENTRIES);	/* the most that is possible */
	assert_int_equal(sq_pop(&r.sq_daemon, &out), 1);
}

static void sq_pop_refuses_a_tail_behind_its_own_head(void **state)
{
	struct kvshm_sqe out;

	push_sq(2);
	assert_int_equal(sq_pop(&r.sq_daemon, &out), 1);
	assert_int_equal(sq_pop(&r.sq_daemon, &out), 1);
	WRITE_ONCE(r.sq_ctl.tail, 1);
	assert_int_equal(sq_pop(&r.sq_daemon, &out), -EPROTO);
}

static void cq_pop_refuses_a_forged_tail(void **state)
{
	struct kvshm_cqe out;

	WRITE_ONCE(r.cq_ctl.tail, ENTRIES + 1);
	assert_int_equal(cq_pop(&r.cq_client, &out), -EPROTO);
	WRITE_ONCE(r.cq_ctl.tail, ENTRIES);
	assert_int_equal(cq_pop(&r.cq_client, &out), 1);
}

static void sq_push_refuses_a_head_before_its_own_tail(void **state)
{
	struct kvshm_sqe e = sqe_of(1);

	push_sq(ENTRIES);
	WRITE_ONCE(r.sq_ctl.head, ENTRIES + 1);
	assert_int_equal(sq_push(&r.sq_client, &e), -EPROTO);
	WRITE_ONCE(r.sq_ctl.head, ENTRIES);	/* all taken */
	assert_int_equal(sq_push(&r.sq_client, &e), 0);
}

static void cq_push_refuses_a_head_that_lags_too_far(void **state)
{
	struct kvshm_cqe e = cqe_of(1), out;
	unsigned i;

	for (i = 0; i < ENTRIES; i++)
		assert_int_equal(cq_push(&r.cq_daemon, &e), 0);
	assert_int_equal(cq_pop(&r.cq_client, &out), 1);
	assert_int_equal(cq_push(&r.cq_daemon, &e), 0);
	WRITE_ONCE(r.cq_ctl.head, 0);		/* it has been 1 */
	assert_int_equal(cq_push(&r.cq_daemon, &e), -EPROTO);
}

static void the_own_index_is_not_read_back(void **state)
{
	struct kvshm_sqe out;

	push_sq(3);
	assert_int_equal(sq_pop(&r.sq_daemon, &out), 1);
	WRITE_ONCE(r.sq_ctl.head, 0);		/* forged by the client */
	assert_int_equal(sq_pop(&r.sq_daemon, &out), 1);
	assert_int_equal(READ_ONCE(r.sq_ctl.head), 2);
}

static void an_entry_is_copied_before_it_is_looked_at(void **state)
{
	struct kvshm_sqe out, want = sqe_of(5);

	assert_int_equal(sq_push(&r.sq_client, &want), 0);
	assert_int_equal(sq_pop(&r.sq_daemon, &out), 1);
	memset(r.sqe, 0xff, sizeof(r.sqe));	/* the client scribbles afterwards */
	assert_memory_equal(&out, &want, sizeof(out));
}

static void space_never_promises_too_much(void **state)
{
	struct kvshm_sqe e = sqe_of(1), out;
	unsigned round;
	int space, i;

	assert_int_equal(qp_space(&r.sq_client), ENTRIES);
	for (round = 0; round < 50; round++) {
		space = qp_space(&r.sq_client);
		for (i = 0; i < space; i++)
			assert_int_equal(sq_push(&r.sq_client, &e), 0);
		for (i = 0; i <= (int)(round % ENTRIES); i++)
			sq_pop(&r.sq_daemon, &out);
	}
}

static void space_is_exact_when_the_ring_is_nearly_full(void **state)
{
	struct kvshm_sqe out;

	push_sq(ENTRIES);
	assert_int_equal(qp_space(&r.sq_client), 0);
	assert_int_equal(sq_pop(&r.sq_daemon, &out), 1);
	assert_int_equal(qp_space(&r.sq_client), 1);
}

static void an_impossible_head_is_told_by_the_space_too(void **state)
{
	push_sq(ENTRIES);
	WRITE_ONCE(r.sq_ctl.head, ENTRIES + 1);
	assert_int_equal(qp_space(&r.sq_client), -EPROTO);
}

static void pending_tells_what_pop_would_find(void **state)
{
	struct kvshm_sqe out;

	assert_false(qp_pending(&r.sq_daemon));
	push_sq(2);
	assert_true(qp_pending(&r.sq_daemon));
	assert_int_equal(sq_pop(&r.sq_daemon, &out), 1);
	assert_true(qp_pending(&r.sq_daemon));
	assert_int_equal(sq_pop(&r.sq_daemon, &out), 1);
	assert_false(qp_pending(&r.sq_daemon));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(entries_come_out_whole_and_in_order, set_up),
		cmocka_unit_test_setup(an_empty_ring_gives_nothing_and_leaves_the_output_alone, set_up),
		cmocka_unit_test_setup(all_entries_can_be_used_and_one_more_is_refused, set_up),
		cmocka_unit_test_setup(indices_wrap_around, set_up),
		cmocka_unit_test_setup(sq_pop_refuses_a_forged_tail, set_up),
		cmocka_unit_test_setup(sq_pop_refuses_a_tail_behind_its_own_head, set_up),
		cmocka_unit_test_setup(cq_pop_refuses_a_forged_tail, set_up),
		cmocka_unit_test_setup(sq_push_refuses_a_head_before_its_own_tail, set_up),
		cmocka_unit_test_setup(cq_push_refuses_a_head_that_lags_too_far, set_up),
		cmocka_unit_test_setup(the_own_index_is_not_read_back, set_up),
		cmocka_unit_test_setup(an_entry_is_copied_before_it_is_looked_at, set_up),
		cmocka_unit_test_setup(space_never_promises_too_much, set_up),
		cmocka_unit_test_setup(space_is_exact_when_the_ring_is_nearly_full, set_up),
		cmocka_unit_test_setup(an_impossible_head_is_told_by_the_space_too, set_up),
		cmocka_unit_test_setup(pending_tells_what_pop_would_find, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
