/* SPDX-License-Identifier: Apache-2.0 */
/* test_save_fail.c - copies that do not land, refused entries, ends of clients and of kvshm-gpud: no block is lost */
#include "kvshm/base/rand.h"
#include "tests/unit/kvshm/daemon/save_fixture.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(what_did_not_land_is_given_back_and_its_children_are_dropped),
		T(blocks_under_a_device_that_may_still_write_wait_for_the_end_of_kvshm_gpud),
		T(the_session_of_kvshm_gpud_and_its_link_end_together),
		T(what_kvshm_gpud_said_before_its_end_counts),
		T(a_client_that_ends_leaves_nothing),
		T(the_writer_may_end_with_one_under_way),
		T(pieces_that_do_not_make_up_their_blocks_are_refused),
		T(more_than_the_longest_block_is_refused_and_longer_than_the_namespaces),
		T(blocks_together_longer_than_the_longest_one_are_refused),
		T(what_cannot_be_sent_any_more_is_refused_and_given_back),
		T(another_kvshm_gpud_fills_nothing_in_the_name_of_the_one_before),
		T(a_kvshm_gpud_that_may_not_write_is_told_so_and_asked_for_nothing),
		T(whatever_comes_over_the_link_no_block_is_lost_and_each_entry_is_answered),
	};

	return cmocka_run_group_tests(tests, wfix_group_setup, wfix_group_teardown);
}
