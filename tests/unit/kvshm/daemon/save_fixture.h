/* SPDX-License-Identifier: Apache-2.0 */
/* save_fixture.h - a client and a kvshm-gpud that does what the test says: it copies nothing, its word counts */
#ifndef TESTS_UNIT_KVSHM_DAEMON_SAVE_FIXTURE_H
#define TESTS_UNIT_KVSHM_DAEMON_SAVE_FIXTURE_H

#include <sys/socket.h>

#include "kvshm/daemon/save.h"
#include "tests/unit/kvshm/daemon/fixture.h"

#define LEN (64u << 10)
#define BUFFER 0x1234567890abcdefull

static struct wfix x;
static struct session *gpud;		/* its session, of slot FIX_OWNER + 1 */
static struct qp_end gpud_sq, gpud_cq;
static int link_end;			/* its end of the link; -1: none */
static union gpumsg msg;

/* ---- kvshm-gpud ----------------------------------------------------------------------------------- */

__fix void turn(void)
{
	x.w->link.look_ns = 0;
	wfix_round(&x);
}

/* Return: bytes, 0: nothing there. */
__fix int hear(void)
{
	int len = sock_recv_long(link_end, &msg, sizeof(msg), NULL, 0, NULL);

	return len == -EAGAIN ? 0 : len;
}

__fix void connect_link(void)
{
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd), 0);
	link_end = fd[0];
	mailbox_send(&x.d->to_writer, LANE_MAIN, MAIL_LINK, NULL, (uint32_t)fd[1]);
}

/* Return: the slot that it was told. */
__fix uint32_t say_link(uint32_t slot)
{
	size_t len = gpumsg_begin(&msg, GPUMSG_LINK, 0);

	msg.link.abi = KVSHM_ABI;
	msg.link.slot = slot;
	assert_int_equal(sock_send(link_end, &msg, len, NULL, 0), 0);
	turn();
	turn();
	assert_int_equal(gpumsg_check(&msg, (size_t)hear()), GPUMSG_LINK);
	return msg.link.slot;
}

__fix void say_done(uint64_t job, int32_t res, uint32_t flags)
{
	union gpumsg m = { 0 };
	size_t len = gpumsg_begin(&m, GPUMSG_DONE, 0);

	m.done.job = job;
	m.done.res = res;
	m.done.flags = flags;
	assert_int_equal(sock_send(link_end, &m, len, NULL, 0), 0);
	turn();
}

/* The next job, in msg.  Return: its number, 0: none. */
__fix uint64_t job(void)
{
	int len = hear();

	if (!len)
		return 0;
	assert_int_equal(gpumsg_check(&msg, (size_t)len), GPUMSG_JOB);
	assert_int_equal(msg.job.op, KVSHM_OP_STAGE_OUT);
	return msg.job.job;
}

__fix void hang_up(void)
{
	close(link_end);
	link_end = -1;
}

__fix int setup_of(uint32_t max_blocks)
{
	wfix_open(&x, max_blocks, 8, LEN);
	gpud = wfix_serve(&x, 1, &gpud_sq, &gpud_cq);
	connect_link();
	assert_int_equal(say_link(FIX_OWNER + 1), FIX_OWNER + 1);
	return 0;
}

__fix int setup(void **state)
{
	return setup_of(64);
}

__fix int teardown(void **state)
{
	if (link_end >= 0)
		close(link_end);
	session_release(gpud);
	wfix_close(&x);
	return 0;
}

/* ---- the client ----------------------------------------------------------------------------------- */

struct asked {
	struct kvshm_commit_rec rec[KVSHM_STAGE_MAX];
	struct kvshm_stage_rec piece[KVSHM_STAGE_MAX + 1];
	uint32_t nr, nr_pieces;
	uint8_t flags;
	struct kvshm_key parent;
};

/* @nr blocks @first, ... of chain 1, in @cut pieces each. */
__fix struct asked ask(uint32_t first, uint32_t nr, uint32_t cut)
{
	struct asked a = { .nr = nr, .flags = first ? 0 : KVSHM_SQE_F_NOPARENT };

	if (first)
		a.parent = fix_key(1, first - 1);
	for (uint32_t i = 0; i < nr; i++) {
		a.rec[i] = (struct kvshm_commit_rec){ .key = fix_key(1, first + i), .length = LEN };
		for (uint32_t j = 0; j < cut; j++)
			a.piece[a.nr_pieces++] = (struct kvshm_stage_rec){
				.off = j * (LEN / cut), .len = LEN / cut, .buffer = BUFFER,
				.buffer_off = i * LEN + j * (LEN / cut),
			};
	}
	return a;
}

__fix void submit_of(struct qp_end *sq, struct segment *seg, const struct asked *a, uint32_t at, uint64_t user_data)
{
	const struct kvshm_sqe e = {
		.op = KVSHM_OP_STAGE_OUT, .flags = a->flags, .ns = x.ns, .nr = a->nr, .user_data = user_data, .off = at,
		.len = a->nr * (uint32_t)sizeof(*a->rec) + a->nr_pieces * (uint32_t)sizeof(*a->piece), .key = a->parent,
	};

	memcpy(seg->args + at, a->rec, a->nr * sizeof(*a->rec));
	memcpy(seg->args + at + a->nr * sizeof(*a->rec), a->piece, a->nr_pieces * sizeof(*a->piece));
	assert_int_equal(sq_push(sq, &e), 0);
}

/* Its turn comes. */
__fix void submit(const struct asked *a, uint64_t user_data)
{
	submit_of(&x.sq, &x.s->q.seg, a, 0, user_data);
	turn();
}

__fix struct kvshm_cqe completion(void)
{
	struct kvshm_cqe c;

	assert_true(wfix_completion(&x, &c));
	assert_int_equal(c.op, KVSHM_OP_STAGE_OUT);
	return c;
}

__fix void assert_completion(uint64_t user_data, int res, unsigned nr_duplicate, unsigned nr_dropped)
{
	struct kvshm_cqe c = completion();

	assert_int_equal(c.user_data, user_data);
	assert_int_equal(c.res, res);
	assert_int_equal(c.nr_duplicate, nr_duplicate);
	assert_int_equal(c.nr_dropped, nr_dropped);
}

__fix bool is_there(uint32_t i)
{
	const struct kvshm_key key = fix_key(1, i);
	struct index_hit hit;

	return index_find(&x.f.dir, x.ns, &key, &hit);
}

__fix void assert_blocks(unsigned granted, unsigned published)
{
	assert_int_equal(wfix_count(&x, KVSHM_BLOCK_GRANTED), granted);
	assert_int_equal(gpud->q.granted, granted);
	assert_int_equal(gpud->q.granted_bytes, (uint64_t)granted * LEN);
	assert_int_equal(wfix_count(&x, KVSHM_BLOCK_PUBLISHED), published);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
