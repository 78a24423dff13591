/* SPDX-License-Identifier: Apache-2.0 */
/* test_migrate.c - requests that grow while they are copied, stop for a block at most, and run on elsewhere */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/migrate.h"
#include "kvshm/base/compiler.h"
#include "kvshm/base/rand.h"

#define MAX_TOKENS 4096u
#define MAX_FLIGHT 512u

/* An engine with two places, a stream that lands copies in order, and a number for each token ever written. */
struct model {
	struct rand r;
	struct migrate m;
	uint32_t here[MAX_TOKENS], there[MAX_TOKENS];
	uint64_t tokens;
	uint32_t next_token;
	bool is_running, runs_there, is_stopping, is_switching;
	struct copy {
		uint32_t first, nr;	/* tokens */
		uint32_t blocks;
	} flight[MAX_FLIGHT];
	unsigned nr_flight;
	uint64_t pause_tokens;
	unsigned nr_resumed;
};

static void grow(struct model *x, uint64_t nr)
{
	for (; nr && x->tokens < MAX_TOKENS; nr--)
		x->here[x->tokens++] = ++x->next_token;
}

static void model_init(struct model *x, uint64_t seed, uint64_t tokens, uint32_t block_tokens)
{
	memset(x, 0, sizeof(*x));
	rand_init(&x->r, seed);
	grow(x, tokens);
	x->is_running = true;
	assert_int_equal(migrate_init(&x->m, tokens, block_tokens, 4), 0);
}

static void submit(struct model *x, uint32_t first, uint32_t nr, uint32_t blocks)
{
	assert_true(x->nr_flight < MAX_FLIGHT);
	assert_true(first + nr <= x->tokens);
	x->flight[x->nr_flight++] = (struct copy){ first, nr, blocks };
}

/* The bytes are those of the moment in which it lands. */
static void land_one(struct model *x)
{
	const struct copy c = x->flight[0];

	memcpy(&x->there[c.first], &x->here[c.first], c.nr * sizeof(*x->here));
	memmove(&x->flight[0], &x->flight[1], --x->nr_flight * sizeof(*x->flight));
	assert_int_equal(migrate_landed(&x->m, c.blocks), 0);
}

static void act(struct model *x, const struct migrate_step *s)
{
	const uint32_t bt = x->m.block_tokens;

	switch (s->act) {
	case MIGRATE_DO_COPY:
		assert_true(x->is_running && s->nr > 0);
		submit(x, s->first * bt, s->nr * bt, s->nr);
		return;
	case MIGRATE_DO_TAIL:
		assert_true(!x->is_running && s->nr_tokens > 0);
		x->pause_tokens += s->nr_tokens;
		submit(x, s->first * bt + s->token, s->nr_tokens, 1);
		return;
	case MIGRATE_DO_PAUSE:
		/* it would stand still for what is under way */
		assert_int_equal(x->nr_flight, 0);
		x->is_stopping = true;
		return;
	case MIGRATE_DO_RESUME:
		assert_false(x->is_running);
		x->is_running = true;
		x->pause_tokens = 0;
		x->nr_resumed++;
		return;
	case MIGRATE_DO_SWITCH:
		assert_false(x->is_running);
		/* the very moment: all is there, byte for byte, and nothing is under way */
		assert_int_equal(x->nr_flight, 0);
		assert_memory_equal(x->here, x->there, x->tokens * sizeof(*x->here));
		assert_true(x->pause_tokens <= bt);
		x->is_switching = true;
		return;
	case MIGRATE_DO_NOTHING:
		return;
	}
}

/* What an engine does between two looks. */
static void engine_lives(struct model *x)
{
	const unsigned dice = (unsigned)rand_below(&x->r, 8);

	if (x->is_running && dice < 4) {
		grow(x, rand_below(&x->r, 12));
		assert_int_equal(migrate_grew(&x->m, x->tokens), 0);
	} else if (x->is_running && dice == 4 && x->tokens > 20) {
		x->tokens -= 1 + rand_below(&x->r, 20);
		assert_int_equal(migrate_grew(&x->m, x->tokens), 0);
	}
	if (x->is_stopping && !rand_below(&x->r, 3)) {
		grow(x, rand_below(&x->r, 6));
		x->is_stopping = x->is_running = false;
		assert_int_equal(migrate_paused(&x->m, x->tokens), 0);
		assert_int_equal(migrate_grew(&x->m, x->tokens), -EBUSY);
	}
	if (x->is_switching && !rand_below(&x->r, 2)) {
		const bool is_there = rand_below(&x->r, 8) != 0;

		x->is_switching = false;
		x->runs_there = is_there;
		assert_int_equal(migrate_switched(&x->m, is_there), 0);
	}
}

static bool is_over(const struct model *x)
{
	return x->m.state == MIGRATE_DONE || x->m.state == MIGRATE_ABORTED;
}

/* Return: the state it ended in. */
static enum migrate_state live(struct model *x, unsigned abort_at)
{
	for (unsigned i = 0; i < 100000 && !is_over(x); i++) {
		const struct migrate_step s = migrate_next(&x->m, 1 + (uint32_t)rand_below(&x->r, 8));

		act(x, &s);
		if (i == abort_at)
			migrate_abort(&x->m);
		while (x->nr_flight && rand_below(&x->r, 2))
			land_one(x);
		if (s.act == MIGRATE_DO_NOTHING || rand_below(&x->r, 2))
			engine_lives(x);
	}
	assert_true(is_over(x));
	assert_int_equal(x->nr_flight, 0);
	assert_false(x->is_stopping);
	assert_int_equal(x->runs_there, x->m.state == MIGRATE_DONE);
	assert_int_equal(x->is_running, x->m.state == MIGRATE_ABORTED);
	return x->m.state;
}

static void request_arrives_whole_or_stays(void **state)
{
	struct model *x = malloc(sizeof(*x));
	unsigned done = 0;

	(void)state;
	assert_non_null(x);
	for (uint64_t seed = 1; seed <= 5000; seed++) {
		model_init(x, seed, seed * 7 % 900, 1 + (uint32_t)(seed % 33));
		done += live(x, UINT32_MAX) == MIGRATE_DONE;
	}
	assert_in_range(done, 2000, 4990);
	free(x);
}

/* At each step in turn: it runs on where it was, and nothing is under way. */
static void abort_at_each_step_leaves_it_where_it_was(void **state)
{
	struct model *x = malloc(sizeof(*x));
	unsigned aborted = 0;

	(void)state;
	assert_non_null(x);
	for (uint64_t seed = 1; seed <= 5000; seed++) {
		model_init(x, seed, seed * 7 % 300, 16);
		aborted += live(x, (unsigned)(seed % 60)) == MIGRATE_ABORTED;
	}
	assert_in_range(aborted, 1000, 4000);
	free(x);
}

static void long_request_with_a_short_tail_pauses_for_a_block_at_most(void **state)
{
	struct migrate m;
	struct migrate_step s;
	uint32_t blocks = 0;

	(void)state;
	/* 32 K tokens and 16 more in blocks of 32 */
	assert_int_equal(migrate_init(&m, 32768 + 16, 32, 4), 0);
	while ((s = migrate_next(&m, 256)).act == MIGRATE_DO_COPY) {
		blocks += s.nr;
		assert_int_equal(migrate_landed(&m, s.nr), 0);
	}
	assert_int_equal(blocks, 1024);
	assert_int_equal(s.act, MIGRATE_DO_PAUSE);
	assert_int_equal(migrate_paused(&m, 32768 + 16), 0);
	s = migrate_next(&m, 256);
	assert_int_equal(s.act, MIGRATE_DO_TAIL);
	assert_int_equal(s.first, 1024);
	assert_int_equal(s.nr_tokens, 16);
	assert_int_equal(migrate_next(&m, 256).act, MIGRATE_DO_NOTHING);
	assert_int_equal(migrate_landed(&m, 1), 0);
	assert_int_equal(migrate_next(&m, 256).act, MIGRATE_DO_SWITCH);
	assert_int_equal(migrate_abort(&m), -EALREADY);
	assert_int_equal(migrate_switched(&m, true), 0);
	assert_int_equal(m.pause_tokens, 16);
}

static void engine_that_stops_too_late_is_let_run_and_given_up(void **state)
{
	struct migrate m;
	struct migrate_step s;

	(void)state;
	assert_int_equal(migrate_init(&m, 0, 16, 3), 0);
	for (unsigned i = 1; i <= 3; i++) {
		while ((s = migrate_next(&m, 64)).act == MIGRATE_DO_COPY)
			assert_int_equal(migrate_landed(&m, s.nr), 0);
		assert_int_equal(s.act, MIGRATE_DO_PAUSE);
		assert_int_equal(migrate_paused(&m, m.tokens + 17), 0);
		assert_int_equal(migrate_next(&m, 64).act, MIGRATE_DO_RESUME);
	}
	assert_int_equal(migrate_next(&m, 64).act, MIGRATE_DO_NOTHING);
	assert_int_equal(m.state, MIGRATE_ABORTED);
}

/* 64 requests of 40 blocks, messages of up to 64 pieces and 512 blocks. */
static void batches_need_a_quarter_of_the_messages_at_most(void **state)
{
	struct migrate m[64], *set[64];
	struct migrate_piece pieces[64];
	unsigned batched = 0, single = 0, nr;

	(void)state;
	for (unsigned i = 0; i < 64; i++) {
		set[i] = &m[i];
		assert_int_equal(migrate_init(&m[i], 40 * 16 + 3, 16, 4), 0);
		for (struct migrate_step s; (s = migrate_next(&m[i], 512)).act == MIGRATE_DO_COPY; single++)
			migrate_landed(&m[i], s.nr);
		migrate_init(&m[i], 40 * 16 + 3, 16, 4);
	}
	while ((nr = migrate_batch(set, 64, pieces, 64, 512))) {
		uint32_t blocks = 0;

		for (unsigned i = 0; i < nr; i++) {
			blocks += pieces[i].step.nr;
			migrate_landed(set[pieces[i].request], pieces[i].step.nr);
		}
		assert_true(blocks <= 512);
		batched++;
	}
	assert_int_equal(single, 64);
	assert_int_equal(batched, 5);
	assert_true(4 * batched <= single);
}

static void tails_go_first_then_the_nearly_done(void **state)
{
	struct migrate m[4], *set[4] = { &m[0], &m[1], &m[2], &m[3] };
	struct migrate_piece pieces[4];
	struct migrate_step s;

	(void)state;
	assert_int_equal(migrate_init(&m[0], 160, 16, 4), 0);
	assert_int_equal(migrate_init(&m[1], 48, 16, 4), 0);
	assert_int_equal(migrate_init(&m[2], 80, 16, 4), 0);
	assert_int_equal(migrate_init(&m[3], 5, 16, 4), 0);
	s = migrate_next(&m[3], 8);
	assert_int_equal(s.act, MIGRATE_DO_PAUSE);
	assert_int_equal(migrate_paused(&m[3], 5), 0);
	assert_int_equal(migrate_batch(set, 4, pieces, 4, 10), 4);
	assert_int_equal(pieces[0].request, 3);
	assert_int_equal(pieces[0].step.act, MIGRATE_DO_TAIL);
	assert_int_equal(pieces[1].request, 1);
	assert_int_equal(pieces[1].step.nr, 3);
	assert_int_equal(pieces[2].request, 2);
	assert_int_equal(pieces[2].step.nr, 5);
	assert_int_equal(pieces[3].request, 0);
	assert_int_equal(pieces[3].step.nr, 1);
	/* all under way: the rest of the first only */
	assert_int_equal(migrate_batch(set, 4, pieces, 4, 100), 1);
	assert_int_equal(pieces[0].step.first, 1);
	assert_int_equal(pieces[0].step.nr, 9);
}

static void advice_is_the_least_of_all_ways(void **state)
{
	struct rand r;
	unsigned chosen[MIGRATE_NR_HOWS] = { 0 };

	(void)state;
	rand_init(&r, 2);
	for (unsigned i = 0; i < 1000; i++) {
		struct migrate_cost c = {
			.bytes = rand_below(&r, 1ull << 32), .recompute_ns = rand_double(&r) * 3e8,
			.peer_bytes_per_ns = rand_below(&r, 3) ? rand_double(&r) * 100 : 0,
			.d2h_bytes_per_ns = rand_below(&r, 5) ? rand_double(&r) * 60 : 0,
			.h2d_bytes_per_ns = rand_below(&r, 5) ? rand_double(&r) * 60 : 0,
		};
		double want[3], ns[3];
		enum migrate_how how, best = MIGRATE_BY_PEER;

		c.arena_bytes = rand_below(&r, 3) ? c.bytes : rand_below(&r, c.bytes + 1);
		want[0] = c.bytes == 0 ? 0 : c.peer_bytes_per_ns > 0 ? (double)c.bytes / c.peer_bytes_per_ns : INFINITY;
		want[1] = c.arena_bytes == c.bytes ? 0 : c.d2h_bytes_per_ns > 0 ?
				  (double)(c.bytes - c.arena_bytes) / c.d2h_bytes_per_ns : INFINITY;
		want[1] += c.bytes == 0 ? 0 : c.h2d_bytes_per_ns > 0 ? (double)c.bytes / c.h2d_bytes_per_ns : INFINITY;
		want[2] = c.recompute_ns;
		how = migrate_advise(&c, ns);
		for (unsigned n = 0; n < 3; n++) {
			assert_true(ns[n] == want[n]);
			if (want[n] < want[best])
				best = (enum migrate_how)n;
		}
		assert_int_equal(how, best);
		chosen[how]++;
	}
	for (unsigned n = 0; n < 3; n++)
		assert_true(chosen[n] > 20);
}

static void calls_out_of_turn_are_refused(void **state)
{
	struct migrate m;

	(void)state;
	assert_int_equal(migrate_init(&m, 1, 0, 1), -EINVAL);
	assert_int_equal(migrate_init(&m, 1, 16, 0), -EINVAL);
	assert_int_equal(migrate_init(&m, UINT64_MAX, 16, 1), -EINVAL);
	assert_int_equal(migrate_init(&m, 64, 16, 1), 0);
	assert_int_equal(migrate_paused(&m, 64), -EINVAL);
	assert_int_equal(migrate_switched(&m, true), -EINVAL);
	assert_int_equal(migrate_landed(&m, 1), -EINVAL);
	assert_int_equal(migrate_grew(&m, UINT64_MAX), -EINVAL);
	assert_int_equal(migrate_next(&m, 2).nr, 2);
	assert_int_equal(migrate_landed(&m, 3), -EINVAL);
	assert_int_equal(migrate_landed(&m, 0), -EINVAL);
	assert_int_equal(migrate_abort(&m), 0);
	assert_int_equal(migrate_next(&m, 2).act, MIGRATE_DO_NOTHING);
	assert_int_equal(m.state, MIGRATE_ENDING);
	assert_int_equal(migrate_landed(&m, 2), 0);
	assert_int_equal(migrate_next(&m, 2).act, MIGRATE_DO_NOTHING);
	assert_int_equal(m.state, MIGRATE_ABORTED);
	assert_int_equal(migrate_abort(&m), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(request_arrives_whole_or_stays),
		cmocka_unit_test(abort_at_each_step_leaves_it_where_it_was),
		cmocka_unit_test(long_request_with_a_short_tail_pauses_for_a_block_at_most),
		cmocka_unit_test(engine_that_stops_too_late_is_let_run_and_given_up),
		cmocka_unit_test(batches_need_a_quarter_of_the_messages_at_most),
		cmocka_unit_test(tails_go_first_then_the_nearly_done),
		cmocka_unit_test(advice_is_the_least_of_all_ways),
		cmocka_unit_test(calls_out_of_turn_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
