/* SPDX-License-Identifier: Apache-2.0 */
/* Copies out of a GPU, with a kvshm-gpud that does what the test says: it copies nothing, its word counts. */
#include "tests/unit/kvshm/daemon/fixture.h"

#include <sys/socket.h>

#include "kvshm/base/rand.h"
#include "kvshm/daemon/save.h"

#define LEN (64u << 10)
#define BUFFER 0x1234567890abcdefull

static struct wfix x;
static struct session *gpud;		/* its session, of slot FIX_OWNER + 1 */
static struct qp_end gpud_sq, gpud_cq;
static int link_end;			/* its end of the link; -1: none */
static union gpumsg msg;

/* ---- kvshm-gpud ----------------------------------------------------------------------------------- */

static void turn(void)
{
	x.w->link.look_ns = 0;
	wfix_round(&x);
}

/* Return: bytes, 0: nothing there. */
static int hear(void)
{
	int len = sock_recv_long(link_end, &msg, sizeof(msg), NULL, 0, NULL);

	return len == -EAGAIN ? 0 : len;
}

static void connect_link(void)
{
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd), 0);
	link_end = fd[0];
	mailbox_send(&x.d->to_writer, LANE_MAIN, MAIL_LINK, NULL, (uint32_t)fd[1]);
}

/* Return: the slot that it was told. */
static uint32_t say_link(uint32_t slot)
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

static void say_done(uint64_t job, int32_t res, uint32_t flags)
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
static uint64_t job(void)
{
	int len = hear();

	if (!len)
		return 0;
	assert_int_equal(gpumsg_check(&msg, (size_t)len), GPUMSG_JOB);
	assert_int_equal(msg.job.op, KVSHM_OP_STAGE_OUT);
	return msg.job.job;
}

static void hang_up(void)
{
	close(link_end);
	link_end = -1;
}

static int setup_of(uint32_t max_blocks)
{
	wfix_open(&x, max_blocks, 8, LEN);
	gpud = wfix_serve(&x, 1, &gpud_sq, &gpud_cq);
	connect_link();
	assert_int_equal(say_link(FIX_OWNER + 1), FIX_OWNER + 1);
	return 0;
}

static int setup(void **state)
{
	return setup_of(64);
}

static int setup_many(void **state)
{
	return setup_of(2048);
}

static int teardown(void **state)
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
static struct asked ask(uint32_t first, uint32_t nr, uint32_t cut)
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

static void submit_of(struct qp_end *sq, struct segment *seg, const struct asked *a, uint32_t at, uint64_t user_data)
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
static void submit(const struct asked *a, uint64_t user_data)
{
	submit_of(&x.sq, &x.s->q.seg, a, 0, user_data);
	turn();
}

static struct kvshm_cqe completion(void)
{
	struct kvshm_cqe c;

	assert_true(wfix_completion(&x, &c));
	assert_int_equal(c.op, KVSHM_OP_STAGE_OUT);
	return c;
}

static void assert_completion(uint64_t user_data, int res, unsigned nr_duplicate, unsigned nr_dropped)
{
	struct kvshm_cqe c = completion();

	assert_int_equal(c.user_data, user_data);
	assert_int_equal(c.res, res);
	assert_int_equal(c.nr_duplicate, nr_duplicate);
	assert_int_equal(c.nr_dropped, nr_dropped);
}

static bool is_there(uint32_t i)
{
	const struct kvshm_key key = fix_key(1, i);
	struct index_hit hit;

	return index_find(&x.f.dir, x.ns, &key, &hit);
}

static void assert_blocks(unsigned granted, unsigned published)
{
	assert_int_equal(wfix_count(&x, KVSHM_BLOCK_GRANTED), granted);
	assert_int_equal(gpud->q.granted, granted);
	assert_int_equal(gpud->q.granted_bytes, (uint64_t)granted * LEN);
	assert_int_equal(wfix_count(&x, KVSHM_BLOCK_PUBLISHED), published);
}

/* ---- tests ---------------------------------------------------------------------------------------- */

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

static void what_did_not_land_is_given_back_and_its_children_are_dropped(void **state)
{
	struct asked a = ask(0, 2, 1), b = ask(2, 2, 1);
	uint64_t first, second;

	submit(&a, 1);
	submit(&b, 2);
	first = job();
	second = job();
	say_done(first, -ENOENT, 0);
	assert_completion(1, -ENOENT, 0, 2);
	say_done(second, 2, 0);
	assert_completion(2, -ENOENT, 0, 2);
	assert_blocks(0, 0);
	/* fewer than were sent is no landing either */
	submit(&a, 3);
	say_done(job(), 1, 0);
	assert_completion(3, 0, 0, 2);
	assert_blocks(0, 0);
	assert_int_equal(x.w->link.nr_failed, 1);
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

static void blocks_under_a_device_that_may_still_write_wait_for_the_end_of_kvshm_gpud(void **state)
{
	struct asked a = ask(0, 3, 1);
	struct kvshm_cqe c;

	submit(&a, 1);
	say_done(job(), -ETIMEDOUT, GPUMSG_DONE_F_HELD);
	assert_completion(1, -ETIMEDOUT, 0, 3);
	assert_blocks(3, 0);
	submit(&a, 2);
	assert_true(job());
	hang_up();
	turn();
	turn();
	assert_completion(2, -ECONNRESET, 0, 3);
	assert_blocks(6, 0);
	assert_int_equal(x.w->link.nr_failed, 2);
	/* nobody else gets them, however much is asked for */
	submit(&a, 3);
	assert_completion(3, -ENOTCONN, 0, 3);
	for (unsigned i = 0; i < 64; i++)
		fix_grant(&x.f, FIX_OWNER, x.ns);
	assert_int_equal(wfix_count(&x, KVSHM_BLOCK_GRANTED), 64);
	assert_int_equal(cache_owner_gone(x.f.c, FIX_OWNER), 58);
	/* its process is gone */
	mailbox_send(&x.d->to_writer, LANE_MAIN, MAIL_REMOVE, gpud, 0);
	turn();
	assert_int_equal(wfix_count(&x, KVSHM_BLOCK_GRANTED), 0);
	assert_false(wfix_completion(&x, &c));
}

static void the_session_of_kvshm_gpud_and_its_link_end_together(void **state)
{
	struct asked a = ask(0, 3, 1);

	submit(&a, 1);
	assert_true(job());
	mailbox_send(&x.d->to_writer, LANE_MAIN, MAIL_STOP, gpud, 0);
	turn();
	assert_completion(1, -ECONNRESET, 0, 3);
	assert_int_equal(wfix_count(&x, KVSHM_BLOCK_GRANTED), 3);
	assert_int_equal(hear(), 0);
	assert_true(sock_is_hung_up(link_end));
	submit(&a, 2);
	assert_completion(2, -ENOTCONN, 0, 3);
}

static void what_kvshm_gpud_said_before_its_end_counts(void **state)
{
	struct asked a = ask(0, 3, 1), b = ask(3, 1, 1);
	union gpumsg m = { 0 };
	size_t len = gpumsg_begin(&m, GPUMSG_DONE, 0);

	submit(&a, 1);
	submit(&b, 2);
	m.done.job = job();
	m.done.res = 3;
	assert_int_equal(sock_send(link_end, &m, len, NULL, 0), 0);
	hang_up();
	mailbox_send(&x.d->to_writer, LANE_MAIN, MAIL_REMOVE, gpud, 0);
	turn();
	assert_completion(1, 3, 0, 0);
	assert_completion(2, -ECONNRESET, 0, 1);
	assert_int_equal(wfix_count(&x, KVSHM_BLOCK_PUBLISHED), 3);
	assert_int_equal(wfix_count(&x, KVSHM_BLOCK_GRANTED), 0);
}

/* Of a client that ends: one that is under way, one that has landed behind it, one that waits. */
static void a_client_that_ends_leaves_nothing(void **state)
{
	struct asked a = ask(0, 2, 1), b = ask(2, 2, 1), c = ask(4, 2, 1);
	uint64_t first, second;

	x.d->conf.credit_blocks = 4;
	submit(&a, 1);
	submit(&b, 2);
	submit(&c, 3);
	first = job();
	second = job();
	assert_int_equal(job(), 0);
	say_done(second, 2, 0);
	assert_true(job());
	assert_blocks(6, 0);
	wfix_tell(&x, MAIL_STOP);
	assert_true(wfix_told_main(&x, MAIL_STOPPED));
	assert_blocks(4, 0);
	say_done(first, 2, 0);
	assert_blocks(2, 0);
	say_done(msg.job.job, 2, 0);
	assert_blocks(0, 0);
	assert_int_equal(x.w->link.nr_jobs, 0);
}

/* The daemon ends while one of a client that has gone is under way: nothing is lost, as a leak checker sees. */
static void the_writer_may_end_with_one_under_way(void **state)
{
	struct asked a = ask(0, 2, 1);

	submit(&a, 1);
	assert_true(job());
	wfix_tell(&x, MAIL_STOP);
	assert_blocks(2, 0);
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

static void refused(const struct asked *a)
{
	submit(a, 9);
	assert_completion(9, -EINVAL, 0, a->nr);
	assert_int_equal(job(), 0);
	assert_blocks(0, 0);
}

/* One thing wrong at a time. */
static void pieces_that_do_not_make_up_their_blocks_are_refused(void **state)
{
	struct asked good = ask(0, 2, 2), a;

#define WRONG(what) do { a = good; what; refused(&a); } while (0)
	WRONG(a.piece[1].len--);
	WRONG(a.piece[1].len++);
	WRONG(a.piece[0].len = 0);
	WRONG(a.piece[0].len = LEN + 1);
	WRONG(a.piece[0].len = UINT32_MAX);
	WRONG(a.piece[0].off = 8);
	WRONG(a.piece[1].off = 0);
	WRONG(a.piece[2].off = LEN);
	WRONG(a.piece[3].buffer = 0);
	WRONG(a.piece[3].resv = 1);
	WRONG(a.piece[0].block.id = 1);
	WRONG(a.piece[0].block.generation = 1);
	WRONG(a.nr_pieces--);
	WRONG(a.nr_pieces++; a.piece[4] = a.piece[3]);
	WRONG(a.rec[1].length = 0);
	WRONG(a.rec[1].length++);
	WRONG(a.rec[1].length = KVSHM_BLOCK_MAX + 1);
	WRONG(a.rec[0].block.id = 1);
	WRONG(a.rec[0].block.generation = 1);
	WRONG(a.rec[0].flags = 1);
	WRONG(a.rec[0].resv[1] = 1);
	WRONG(a.rec[0].checksum = 1);
#undef WRONG
	submit(&good, 1);
	say_done(job(), 4, 0);
	assert_completion(1, 2, 0, 0);
}

static void more_than_the_longest_block_is_refused_and_longer_than_the_namespaces(void **state)
{
	struct asked a = ask(0, 2, 1);

	a.rec[0].length = a.piece[0].len = KVSHM_BLOCK_MAX - LEN + 1;
	refused(&a);
	/* as long as may be, but not in this namespace */
	a.rec[0].length = a.piece[0].len = KVSHM_BLOCK_MAX - LEN;
	refused(&a);
	a = ask(0, 1, 1);
	a.rec[0].length = a.piece[0].len = LEN - 8;
	submit(&a, 1);
	say_done(job(), 1, 0);
	assert_completion(1, 1, 0, 0);
}

static void blocks_together_longer_than_the_longest_one_are_refused(void **state)
{
	struct asked a = ask(0, 65, 1);
	uint64_t n;

	x.ns = fix_ns(&x.f, 2, 1 << 20);
	for (unsigned i = 0; i < 65; i++)
		a.rec[i].length = a.piece[i].len = 1 << 20;
	refused(&a);
	a.nr = a.nr_pieces = 64;
	submit(&a, 1);
	n = job();
	/* the arena is smaller */
	assert_in_range(msg.job.nr, 1, 16);
	say_done(n, -EIO, 0);
	assert_completion(1, -EIO, 0, 64);
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

static void what_cannot_be_sent_any_more_is_refused_and_given_back(void **state)
{
	struct asked a = ask(0, 2, 1);

	hang_up();
	submit(&a, 1);
	assert_completion(1, -ENOTCONN, 0, 2);
	assert_blocks(0, 0);
	assert_int_equal(x.w->link.fd, -1);
}

static void another_kvshm_gpud_fills_nothing_in_the_name_of_the_one_before(void **state)
{
	struct asked a = ask(0, 1, 1);

	hang_up();
	turn();
	connect_link();
	turn();
	submit(&a, 1);
	assert_completion(1, -EROFS, 0, 1);
	assert_blocks(0, 0);
}

static void a_kvshm_gpud_that_may_not_write_is_told_so_and_asked_for_nothing(void **state)
{
	struct asked a = ask(0, 2, 1);

	assert_int_equal(say_link(0), 0);
	submit(&a, 1);
	assert_completion(1, -EROFS, 0, 2);
	assert_int_equal(say_link(FIX_OWNER + 2), 0);
	gpud->is_trusted = false;
	assert_int_equal(say_link(FIX_OWNER + 1), 0);
	submit(&a, 2);
	assert_completion(2, -EROFS, 0, 2);
	gpud->is_trusted = true;
	assert_int_equal(say_link(FIX_OWNER + 1), FIX_OWNER + 1);
	submit(&a, 3);
	say_done(job(), 2, 0);
	assert_completion(3, 2, 0, 0);
}

/* A word about a job that may be under way, or what is no word at all. */
static void say_something(struct rand *rnd, uint64_t last_job)
{
	union gpumsg m = { 0 };
	size_t len = gpumsg_begin(&m, rand_below(rnd, 16) ? GPUMSG_DONE : GPUMSG_LINK, 0);

	m.done.job = rand_below(rnd, 40) ? last_job - rand_below(rnd, 6) : rand_u64(rnd);
	m.done.res = (int32_t)rand_below(rnd, 8) - 3;
	m.done.flags = (uint32_t)rand_below(rnd, 3) * (uint32_t)rand_below(rnd, 2);
	if (m.hdr.type == GPUMSG_LINK) {
		m.link.abi = KVSHM_ABI;
		m.link.slot = FIX_OWNER + (uint32_t)rand_below(rnd, 3);
	}
	if (!rand_below(rnd, 60))
		len = 1 + rand_below(rnd, len);
	if (link_end >= 0 && sock_send(link_end, &m, len, NULL, 0) < 0)
		hang_up();
	turn();
}

static void whatever_comes_over_the_link_no_block_is_lost_and_each_entry_is_answered(void **state)
{
	unsigned nr_asked = 0, nr_answered = 0, nr_links = 0;
	uint64_t last_job = 0;
	struct kvshm_cqe c;
	struct asked a;
	struct rand rnd;

	rand_init(&rnd, 3);
	for (unsigned i = 0; i < 20000; i++) {
		if (!rand_below(&rnd, 3) && nr_asked - nr_answered < SAVES_MAX) {
			a = ask((uint32_t)rand_below(&rnd, 40), 1 + (uint32_t)rand_below(&rnd, 4), 1);
			submit(&a, nr_asked++);
		}
		if (link_end < 0) {
			connect_link();
			turn();
			nr_links++;
		}
		say_something(&rnd, last_job);
		for (int len; link_end >= 0 && (len = hear()) != 0;) {
			if (len < 0)
				hang_up();
			else if (gpumsg_check(&msg, (size_t)len) == GPUMSG_JOB)
				last_job = msg.job.job;
		}
		for (; wfix_completion(&x, &c); nr_answered++)
			assert_int_equal(c.user_data, nr_answered);
		if (i % 500 == 0)
			fix_verify(&x.f);
	}
	assert_true(nr_links > 20 && nr_answered > 500);
	if (link_end >= 0)
		hang_up();
	mailbox_send(&x.d->to_writer, LANE_MAIN, MAIL_REMOVE, gpud, 0);
	turn();
	for (; wfix_completion(&x, &c); nr_answered++)
		assert_int_equal(c.user_data, nr_answered);
	assert_int_equal(nr_answered, nr_asked);
	assert_int_equal(x.w->link.nr_jobs, 0);
	for (uint32_t id = 1; id <= x.f.dir.max_blocks; id++)
		if (state_of(x.f.dir.desc[id].state) == KVSHM_BLOCK_GRANTED)
			assert_int_not_equal(state_owner(x.f.dir.desc[id].state), FIX_OWNER + 1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(blocks_are_there_when_their_copies_have_landed_and_not_before),
		T(entries_are_committed_in_order_whatever_lands_first),
		T(what_did_not_land_is_given_back_and_its_children_are_dropped),
		T(keys_that_are_there_are_duplicates),
		T(loose_blocks_have_no_parent),
		T(what_finds_no_room_is_dropped_and_the_rest_is_copied),
		T(blocks_under_a_device_that_may_still_write_wait_for_the_end_of_kvshm_gpud),
		T(the_session_of_kvshm_gpud_and_its_link_end_together),
		T(what_kvshm_gpud_said_before_its_end_counts),
		T(a_client_that_ends_leaves_nothing),
		T(the_writer_may_end_with_one_under_way),
		T(a_session_has_as_much_under_way_as_its_credit_allows),
		T(a_session_that_asks_for_more_and_more_waits_in_its_queue),
		cmocka_unit_test_setup_teardown(what_waits_does_not_begin_all_at_once, setup_many, teardown),
		T(pieces_that_do_not_make_up_their_blocks_are_refused),
		T(more_than_the_longest_block_is_refused_and_longer_than_the_namespaces),
		T(blocks_together_longer_than_the_longest_one_are_refused),
		T(jobs_of_a_session_end_and_others_come),
		T(what_cannot_be_sent_any_more_is_refused_and_given_back),
		T(another_kvshm_gpud_fills_nothing_in_the_name_of_the_one_before),
		T(a_kvshm_gpud_that_may_not_write_is_told_so_and_asked_for_nothing),
		T(whatever_comes_over_the_link_no_block_is_lost_and_each_entry_is_answered),
	};

	return cmocka_run_group_tests(tests, wfix_group_setup, wfix_group_teardown);
}
