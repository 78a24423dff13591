/* SPDX-License-Identifier: Apache-2.0 */
/* migrate_run_fixture.h - an engine whose requests run on while their blocks go to another GPU */
#ifndef TESTS_UNIT_GPU_MIGRATE_RUN_FIXTURE_H
#define TESTS_UNIT_GPU_MIGRATE_RUN_FIXTURE_H

#define HX_BLOCKS 1100u
#define HX_HOP 64u
#define HX_TOKENS 32u
#include "tests/unit/gpu/hop_fixture.h"

#include <stdio.h>
#include <stdlib.h>

#include "gpu/migrate_run.h"

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
static inline void mx_grow(struct mx *m, struct req *q, uint64_t nr)
{
	for (; nr; nr--, q->tokens++)
		for (uint32_t l = 0; l < 4; l++)
			memset(hx_run(&m->x, HX_FROM, l, 0, 0, q->tokens % HX_TOKENS, q->from[q->tokens / HX_TOKENS]),
			       (int)(++m->next_byte & 0xff), 64);
}

static inline uint64_t mx_differs(const struct mx *m, const struct req *q)
{
	uint64_t nr = 0, left = q->tokens;

	for (uint32_t i = 0; left; i++) {
		const uint32_t n = (uint32_t)min_of(left, (uint64_t)HX_TOKENS);

		nr += hx_differ(&m->x, q->from[i], q->to[i], 0, n);
		left -= n;
	}
	return nr;
}

static inline void mx_stop_now(struct mx *m, uint32_t n)
{
	struct req *q = &m->req[n];

	q->is_stopping = q->is_running = false;
	mx_grow(m, q, m->late);
	assert_int_equal(migrate_run_paused(m->r, n, q->tokens), 0);
}

static inline void mx_move_now(struct mx *m, uint32_t n)
{
	struct req *q = &m->req[n];

	/* the very moment: all is there, byte for byte */
	assert_int_equal(mx_differs(m, q), 0);
	q->is_moving = false;
	q->runs_there = !m->refuses;
	assert_int_equal(migrate_run_moved(m->r, n, !m->refuses), 0);
}

static inline void mx_pause(void *arg, uint32_t n)
{
	struct mx *m = arg;

	assert_true(m->req[n].is_running);
	m->req[n].nr_pauses++;
	m->req[n].is_stopping = true;
	if (!m->is_slow)
		mx_stop_now(m, n);
}

static inline void mx_resume(void *arg, uint32_t n)
{
	struct mx *m = arg;

	assert_false(m->req[n].is_running);
	m->req[n].is_running = true;
}

static inline void mx_move(void *arg, uint32_t n)
{
	struct mx *m = arg;

	assert_false(m->req[n].is_running);
	m->req[n].is_moving = true;
	if (!m->is_slow)
		mx_move_now(m, n);
}

/* What the engine does between two polls. */
static inline void mx_live(struct mx *m, uint64_t tokens)
{
	for (uint32_t n = 0; n < REQUESTS; n++) {
		struct req *q = &m->req[n];

		if (q->is_stopping)
			mx_stop_now(m, n);
		else if (q->is_moving)
			mx_move_now(m, n);
		else if (q->is_running && !q->runs_there && tokens && migrate_run_grew(m->r, n, q->tokens + tokens) == 0)
			mx_grow(m, q, tokens);
	}
}

/* ---- the run ------------------------------------------------------------------------------------------------- */

static inline void mx_begin(struct mx *m, bool by_host)
{
	const struct migrate_run_config cfg = { .max_requests = REQUESTS, .max_pauses = 3,
						.engine = { m, mx_pause, mx_resume, mx_move } };

	memset(m, 0, sizeof(*m));
	/* time passes by looking: each run is the same */
	hx_begin(&m->x, "L/BKHNC", "L/BKHNC", "clock=virtual");
	hx_hops(&m->x, by_host);
	assert_int_equal(migrate_run_create(m->x.h, &m->x.l[HX_FROM], HX_HOP, &cfg, &m->r), 0);
}

static inline void mx_req_free(struct req *q)
{
	free(q->from);
	free(q->to);
	*q = (struct req){ 0 };
}

static inline void mx_end(struct mx *m)
{
	struct hops *h = m->x.h;

	m->x.h = NULL;
	assert_int_equal(hops_destroy(h, hx_soon()), 0);
	migrate_run_destroy(m->r);
	for (unsigned i = 0; i < REQUESTS; i++)
		mx_req_free(&m->req[i]);
	hx_end(&m->x);
}

/* A request with room for @blocks, scattered. */
static inline uint32_t mx_add(struct mx *m, uint64_t tokens, uint32_t blocks, uint32_t nr_there)
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
	mx_grow(m, &q, tokens);
	n = migrate_run_add(m->r, &t, tokens, nr_there);
	assert_in_range(n, 0, REQUESTS - 1);
	assert_null(m->req[n].from);
	m->req[n] = q;
	return (uint32_t)n;
}

/* Until nothing is open, or polls are used up; @tokens come between two polls. */
static inline void mx_run(struct mx *m, uint64_t tokens, unsigned polls)
{
	const uint64_t until = hx_soon();

	while (polls-- && migrate_run_poll(m->r)) {
		mx_live(m, tokens);
		assert_true(clock_ns() < until);
	}
}

static inline struct migrate_run_info mx_info(const struct mx *m)
{
	struct migrate_run_info i;

	migrate_run_info(m->r, &i);
	return i;
}

#endif
