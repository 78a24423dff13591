/* SPDX-License-Identifier: Apache-2.0 */
/* test_migrate_run.c - requests that run on while their blocks go to another GPU, and stop for one block at most */
#define HX_BLOCKS 1100u
#define HX_HOP 64u
#define HX_TOKENS 32u
#include "tests/unit/gpu/hop_fixture.h"

#include <stdio.h>
#include <stdlib.h>

#include "gpu/migrate_run.h"
#include "tests/lib/fault.h"

#define TOKEN_BYTES 1024u
#define BLOCK_BYTES (HX_TOKENS * TOKEN_BYTES)
#define REQUESTS 16u

struct req {
	uint32_t *from, *to;
	uint64_t tokens;
	bool is_running, runs_there, is_stopping, is_moving;
	unsigned nr_pauses;
};

struct mx {
	struct hx x;
	struct migrate_run *r;
	struct req req[REQUESTS];
	uint32_t next_block;		/* of both pools, not yet anybody's */
	uint64_t late;			/* tokens that come between being asked to stop and stopping */
	bool is_slow;			/* answers later, not from inside the call */
	bool refuses;			/* to move */
	uint32_t next_byte;
};

/* ---- the engine --------------------------------------------------------------------------------------------- */

/* New tokens are written where the request runs. */
static void grow(struct mx *m, struct req *q, uint64_t nr)
{
	for (; nr; nr--, q->tokens++)
		for (uint32_t l = 0; l < 4; l++)
			memset(hx_run(&m->x, HX_FROM, l, 0, 0, q->tokens % HX_TOKENS, q->from[q->tokens / HX_TOKENS]),
			       (int)(++m->next_byte & 0xff), 64);
}

static uint64_t differs(const struct mx *m, const struct req *q)
{
	uint64_t nr = 0, left = q->tokens;

	for (uint32_t i = 0; left; i++) {
		const uint32_t n = (uint32_t)min_of(left, (uint64_t)HX_TOKENS);

		nr += hx_differ(&m->x, q->from[i], q->to[i], 0, n);
		left -= n;
	}
	return nr;
}

static void stop_now(struct mx *m, uint32_t n)
{
	struct req *q = &m->req[n];

	q->is_stopping = q->is_running = false;
	grow(m, q, m->late);
	assert_int_equal(migrate_run_paused(m->r, n, q->tokens), 0);
}

static void move_now(struct mx *m, uint32_t n)
{
	struct req *q = &m->req[n];

	/* the very moment: all is there, byte for byte */
	assert_int_equal(differs(m, q), 0);
	q->is_moving = false;
	q->runs_there = !m->refuses;
	assert_int_equal(migrate_run_moved(m->r, n, !m->refuses), 0);
}

static void pause(void *arg, uint32_t n)
{
	struct mx *m = arg;

	assert_true(m->req[n].is_running);
	m->req[n].nr_pauses++;
	m->req[n].is_stopping = true;
	if (!m->is_slow)
		stop_now(m, n);
}

static void resume(void *arg, uint32_t n)
{
	struct mx *m = arg;

	assert_false(m->req[n].is_running);
	m->req[n].is_running = true;
}

static void move(void *arg, uint32_t n)
{
	struct mx *m = arg;

	assert_false(m->req[n].is_running);
	m->req[n].is_moving = true;
	if (!m->is_slow)
		move_now(m, n);
}

/* What the engine does between two polls. */
static void live(struct mx *m, uint64_t tokens)
{
	for (uint32_t n = 0; n < REQUESTS; n++) {
		struct req *q = &m->req[n];

		if (q->is_stopping)
			stop_now(m, n);
		else if (q->is_moving)
			move_now(m, n);
		else if (q->is_running && !q->runs_there && tokens && migrate_run_grew(m->r, n, q->tokens + tokens) == 0)
			grow(m, q, tokens);
	}
}

/* ---- the run ------------------------------------------------------------------------------------------------- */

static void begin(struct mx *m, bool by_host)
{
	const struct migrate_run_config cfg = { .max_requests = REQUESTS, .max_pauses = 3,
						.engine = { m, pause, resume, move } };

	memset(m, 0, sizeof(*m));
	/* time passes by looking: each run is the same */
	hx_begin(&m->x, "L/BKHNC", "L/BKHNC", "clock=virtual");
	hx_hops(&m->x, by_host);
	assert_int_equal(migrate_run_create(m->x.h, &m->x.l[HX_FROM], HX_HOP, &cfg, &m->r), 0);
}

static void req_free(struct req *q)
{
	free(q->from);
	free(q->to);
	*q = (struct req){ 0 };
}

static void end(struct mx *m)
{
	struct hops *h = m->x.h;

	m->x.h = NULL;
	assert_int_equal(hops_destroy(h, hx_soon()), 0);
	migrate_run_destroy(m->r);
	for (unsigned i = 0; i < REQUESTS; i++)
		req_free(&m->req[i]);
	hx_end(&m->x);
}

/* A request with room for @blocks, scattered. */
static uint32_t add(struct mx *m, uint64_t tokens, uint32_t blocks, uint32_t nr_there)
{
	struct req q = { .from = malloc(blocks * sizeof(*q.from)), .to = malloc(blocks * sizeof(*q.to)), .is_running = true };
	struct migrate_tables t = { .from = { q.from }, .to = { q.to }, .nr_blocks = blocks };
	int n;

	assert_non_null(q.from);
	assert_non_null(q.to);
	assert_true(m->next_block + blocks <= HX_BLOCKS);
	for (uint32_t i = 0; i < blocks; i++, m->next_block++) {
		q.from[i] = m->next_block ^ 1;
		q.to[i] = HX_BLOCKS - 1 - m->next_block;
	}
	grow(m, &q, tokens);
	n = migrate_run_add(m->r, &t, tokens, nr_there);
	assert_in_range(n, 0, REQUESTS - 1);
	assert_null(m->req[n].from);
	m->req[n] = q;
	return (uint32_t)n;
}

/* Until nothing is open, or polls are used up; @tokens come between two polls. */
static void run(struct mx *m, uint64_t tokens, unsigned polls)
{
	const uint64_t until = hx_soon();

	while (polls-- && migrate_run_poll(m->r)) {
		live(m, tokens);
		assert_true(clock_ns() < until);
	}
}

static struct migrate_run_info info(const struct mx *m)
{
	struct migrate_run_info i;

	migrate_run_info(m->r, &i);
	return i;
}

static void long_request(bool by_host)
{
	struct mx *m = malloc(sizeof(*m));
	struct hops_info i;
	uint32_t n;

	assert_non_null(m);
	begin(m, by_host);
	n = add(m, 32768 + 16, 1030, 0);
	run(m, 0, UINT32_MAX);
	assert_int_equal(migrate_run_state(m->r, n), 1);
	assert_int_equal(migrate_run_is_over(m->r, n), 1);
	assert_true(m->req[n].runs_there && !m->req[n].is_running);
	assert_int_equal(m->req[n].nr_pauses, 1);
	assert_int_equal(info(m).pause_bytes_max, 16 * TOKEN_BYTES);
	assert_true(info(m).pause_bytes_max <= BLOCK_BYTES);
	hops_info(m->x.h, &i);
	assert_int_equal(i.bytes, (32768 + 16) * TOKEN_BYTES);
	assert_int_equal(i.hops, 1024 / HX_HOP + 1);
	assert_int_equal(migrate_run_remove(m->r, n), 0);
	assert_int_equal(migrate_run_state(m->r, n), -EINVAL);
	end(m);
	free(m);
}

static void a_long_request_pauses_for_its_tail_alone(void **state)
{
	(void)state;
	long_request(false);
	long_request(true);
}

static void a_request_grows_while_it_is_copied(void **state)
{
	struct mx *m = malloc(sizeof(*m));
	uint32_t n;

	(void)state;
	assert_non_null(m);
	begin(m, false);
	hx_script(&m->x, "p2p=2e9");
	m->is_slow = true;
	m->late = 7;
	n = add(m, 300 * HX_TOKENS, 1000, 0);
	run(m, 3, UINT32_MAX);
	assert_int_equal(migrate_run_state(m->r, n), 1);
	assert_true(m->req[n].tokens > 300 * HX_TOKENS + 7);
	assert_true(info(m).pause_bytes_max <= BLOCK_BYTES);
	end(m);
	free(m);
}

static void blocks_that_are_there_are_not_copied(void **state)
{
	struct mx *m = malloc(sizeof(*m));
	struct hops_info i;
	uint32_t n;

	(void)state;
	assert_non_null(m);
	begin(m, false);
	m->refuses = true;
	n = add(m, 20 * HX_TOKENS, 20, 19);
	for (uint32_t b = 0; b < 19; b++)
		for (uint32_t t = 0; t < HX_TOKENS; t++)
			for (uint32_t l = 0; l < 4; l++)
				for (uint32_t p = 0; p < 2; p++)
					for (uint32_t h = 0; h < 2; h++)
						memcpy(hx_run(&m->x, HX_TO, l, p, h, t, m->req[n].to[b]),
						       hx_run(&m->x, HX_FROM, l, p, h, t, m->req[n].from[b]), 64);
	run(m, 0, UINT32_MAX);
	hops_info(m->x.h, &i);
	assert_int_equal(i.bytes, BLOCK_BYTES);
	/* and the engine did not take it */
	assert_int_equal(migrate_run_state(m->r, n), -ECANCELED);
	assert_true(m->req[n].is_running);
	assert_int_equal(info(m).aborted, 1);
	end(m);
	free(m);
}

static void requests_share_their_hops(void **state)
{
	struct mx *m = malloc(sizeof(*m));
	struct migrate_run_info i;

	(void)state;
	assert_non_null(m);
	begin(m, false);
	for (unsigned n = 0; n < REQUESTS; n++)
		add(m, 40 * HX_TOKENS + 3, 42, 0);
	run(m, 0, UINT32_MAX);
	i = info(m);
	assert_int_equal(i.moved, REQUESTS);
	/* one by one: a hop for the 40 blocks and one for the tail of each */
	assert_true(i.pieces >= 2 * REQUESTS);
	assert_true(i.hops <= REQUESTS * 40 / HX_HOP + 4);
	print_message("# %u requests of 40 blocks and a tail: %u hops, one by one %u\n", REQUESTS, (unsigned)i.hops,
		      2 * REQUESTS);
	for (unsigned n = 0; n < REQUESTS; n++)
		assert_true(m->req[n].runs_there);
	end(m);
	free(m);
}

/* ---- what goes wrong ------------------------------------------------------------------------------------------ */

/* It stays where it was, whole; or it was too late and it has moved. */
static void abort_at_each_step_leaves_it_where_it_was(void **state)
{
	struct mx *m = malloc(sizeof(*m));
	unsigned aborted = 0, moved = 0;
	uint32_t n;
	int ret;

	(void)state;
	assert_non_null(m);
	begin(m, false);
	m->is_slow = true;
	hx_script(&m->x, "p2p=2e9");
	for (unsigned at = 0; at < 60; at++) {
		m->next_block = 0;
		n = add(m, 100 * HX_TOKENS + 5, 110, 0);
		run(m, 0, at);
		ret = migrate_run_abort(m->r, n);
		run(m, 0, UINT32_MAX);
		assert_int_equal(migrate_run_is_over(m->r, n), 1);
		if (m->req[n].runs_there) {
			assert_int_equal(migrate_run_state(m->r, n), 1);
			assert_int_equal(ret, -EALREADY);
			moved++;
		} else {
			assert_int_equal(ret, 0);
			assert_int_equal(migrate_run_state(m->r, n), -ECANCELED);
			assert_true(m->req[n].is_running);
			aborted++;
		}
		assert_int_equal(migrate_run_remove(m->r, n), 0);
		req_free(&m->req[n]);
	}
	assert_true(aborted > 4 && moved > 4);
	end(m);
	free(m);
}

/* The @k-th call is refused.  Return: did it come to that? */
static bool refused(const char *entry, unsigned k, bool by_host)
{
	struct mx *m = malloc(sizeof(*m));
	char rule[96];
	uint32_t n, other;
	bool is_hit;

	assert_non_null(m);
	begin(m, by_host);
	snprintf(rule, sizeof(rule), "fail=%s:%u:700", entry, k);
	hx_script(&m->x, rule);
	n = add(m, 130 * HX_TOKENS + 5, 140, 0);
	run(m, 0, UINT32_MAX);
	assert_int_equal(migrate_run_is_over(m->r, n), 1);
	is_hit = !m->req[n].runs_there;
	if (is_hit) {
		assert_int_equal(migrate_run_state(m->r, n), -ENOTRECOVERABLE);
		assert_true(m->req[n].is_running);
	}
	/* the device answers, so it is used again */
	hx_script(&m->x, "reset;clock=virtual");
	other = add(m, 50, 2, 0);
	run(m, 0, UINT32_MAX);
	assert_int_equal(migrate_run_state(m->r, other), 1);
	end(m);
	free(m);
	return is_hit;
}

static void a_refused_copy_on_either_device_leaves_it_where_it_was(void **state)
{
	unsigned nr = 0;

	(void)state;
	/* packing, spreading and what goes between, of whole blocks and of the tail */
	for (unsigned k = 1; refused("cuLaunchKernel", k, false); k++)
		nr++;
	assert_true(nr >= 6);
	for (nr = 1; refused("cuMemcpyPeerAsync", nr, false); nr++)
		;
	assert_int_equal(nr - 1, 4);
	assert_true(refused("cuMemcpy2DAsync", 1, true));
}

/* What a real process would keep to its end. */
static struct mx *kept[3];

static void lost(unsigned i, const char *rule)
{
	struct mx *m = kept[i] = malloc(sizeof(*m));
	struct migrate_tables t = { 0 };
	uint32_t n;

	assert_non_null(m);
	begin(m, false);
	hx_script(&m->x, "p2p=1e6");
	n = add(m, 130 * HX_TOKENS + 5, 140, 0);
	run(m, 0, 1);
	hx_script(&m->x, rule);
	run(m, 0, UINT32_MAX);
	assert_int_equal(migrate_run_state(m->r, n), -ENOTRECOVERABLE);
	assert_int_equal(migrate_run_is_over(m->r, n), -ENOTRECOVERABLE);
	assert_true(m->req[n].is_running);
	assert_int_equal(migrate_run_add(m->r, &t, 0, 0), -ENOTRECOVERABLE);
	assert_int_equal(hops_destroy(m->x.h, hx_soon()), -ENOTRECOVERABLE);
	migrate_run_destroy(m->r);
	req_free(&m->req[n]);
}

static void a_lost_device_lets_it_run_where_it_is(void **state)
{
	(void)state;
	lost(0, "lost=999:0");
	lost(1, "lost=999:1");
}

/* While it stands still: it is let run again at once. */
static void a_device_lost_in_the_pause_lets_it_run_again(void **state)
{
	struct mx *m = kept[2] = malloc(sizeof(*m));
	uint32_t n;

	(void)state;
	assert_non_null(m);
	begin(m, false);
	n = add(m, 5, 2, 0);
	hx_script(&m->x, "p2p=1e4");
	run(m, 0, 2);
	assert_false(m->req[n].is_running);
	hx_script(&m->x, "lost=719:1");
	run(m, 0, UINT32_MAX);
	assert_true(m->req[n].is_running);
	assert_int_equal(migrate_run_is_over(m->r, n), -ENOTRECOVERABLE);
	assert_int_equal(hops_destroy(m->x.h, hx_soon()), -ENOTRECOVERABLE);
	migrate_run_destroy(m->r);
	req_free(&m->req[n]);
}

static void an_engine_that_stops_too_late_is_given_up(void **state)
{
	struct mx *m = malloc(sizeof(*m));
	uint32_t n;

	(void)state;
	assert_non_null(m);
	begin(m, false);
	m->late = HX_TOKENS + 1;
	n = add(m, 200, 100, 0);
	run(m, 0, UINT32_MAX);
	assert_int_equal(migrate_run_state(m->r, n), -EAGAIN);
	assert_int_equal(m->req[n].nr_pauses, 3);
	assert_true(m->req[n].is_running);
	assert_int_equal(info(m).pause_bytes_max, 0);
	end(m);
	free(m);
}

static void what_cannot_be_is_refused(void **state)
{
	struct migrate_run_config cfg = { .max_requests = 1, .max_pauses = 1 };
	uint32_t table[2] = { 0, 1 };
	struct migrate_tables t = { .from = { table }, .to = { table }, .nr_blocks = 2 };
	struct mx *m = malloc(sizeof(*m));
	struct migrate_run *r;

	(void)state;
	assert_non_null(m);
	begin(m, false);
	assert_int_equal(migrate_run_create(m->x.h, &m->x.l[0], HX_HOP, &cfg, &r), -EINVAL);
	assert_int_equal(migrate_run_add(m->r, &t, 2 * HX_TOKENS + 1, 0), -EINVAL);
	assert_int_equal(migrate_run_add(m->r, &t, HX_TOKENS, 2), -EINVAL);
	assert_int_equal(migrate_run_add(m->r, &(struct migrate_tables){ .from = { table }, .nr_blocks = 2 }, 1, 0), -EINVAL);
	for (unsigned i = 0; i < REQUESTS; i++)
		assert_int_equal(migrate_run_add(m->r, &t, 1, 0), i);
	assert_int_equal(migrate_run_add(m->r, &t, 1, 0), -EBUSY);
	assert_int_equal(migrate_run_grew(m->r, 3, 2 * HX_TOKENS + 1), -EINVAL);
	assert_int_equal(migrate_run_paused(m->r, 3, 1), -EINVAL);
	assert_int_equal(migrate_run_moved(m->r, 3, true), -EINVAL);
	assert_int_equal(migrate_run_remove(m->r, 3), -EBUSY);
	assert_int_equal(migrate_run_abort(m->r, REQUESTS), -EINVAL);
	end(m);
	free(m);
}

static struct mx *faulty;
static struct migrate_run *made;

static int make(void)
{
	const struct migrate_run_config cfg = { .max_requests = 2, .max_pauses = 1, .engine = { NULL, pause, resume, move } };

	return migrate_run_create(faulty->x.h, &faulty->x.l[HX_FROM], HX_HOP, &cfg, &made);
}

static void unmake(void)
{
	migrate_run_destroy(made);
}

static void a_run_without_memory_leaves_nothing_behind(void **state)
{
	(void)state;
	if (FAULT_MISSING)
		skip();
	faulty = malloc(sizeof(*faulty));
	assert_non_null(faulty);
	begin(faulty, false);
	assert_int_equal(fault_each(make, unmake), 3);
	end(faulty);
	free(faulty);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_long_request_pauses_for_its_tail_alone),
		cmocka_unit_test(a_request_grows_while_it_is_copied),
		cmocka_unit_test(blocks_that_are_there_are_not_copied),
		cmocka_unit_test(requests_share_their_hops),
		cmocka_unit_test(abort_at_each_step_leaves_it_where_it_was),
		cmocka_unit_test(a_refused_copy_on_either_device_leaves_it_where_it_was),
		cmocka_unit_test(an_engine_that_stops_too_late_is_given_up),
		cmocka_unit_test(what_cannot_be_is_refused),
		cmocka_unit_test(a_run_without_memory_leaves_nothing_behind),
		/* what these leave behind stays */
		cmocka_unit_test(a_lost_device_lets_it_run_where_it_is),
		cmocka_unit_test(a_device_lost_in_the_pause_lets_it_run_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
