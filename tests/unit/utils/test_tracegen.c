/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_tracegen.c - generated loads have the statistics that studies publish, and recipes those they are written with
 *
 * The numbers of chats and of API calls are those of traces A and B of "KVCache Cache in the Wild" (arXiv 2506.02634);
 * of agents, what recorded sessions of coding agents give without a limit.  Tolerances cover what seeds differ by.
 */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kvshm/base/compiler.h"
#include "policy/hints.h"
#include "tests/unit/utils/made_trace.h"

/* ---- what a study says of a load ------------------------------------------------------------------------- */

struct figures {
	double ideal;			/* block hit ratio without a limit */
	double first;			/* share of hits that first turns have */
	double top_tenth;		/* share of reuses of the tenth of blocks used most */
	double goes_on, goes_on_later;	/* chance of a next turn after the first, after later ones */
	double soon;			/* share of reuses within a time */
	double dead;			/* share of blocks last used within a time of their first use */
};

static void find(const struct loaded_trace *l, double soon_s, double dead_s, struct figures *ret)
{
	double at[6] = { 0 }, later;
	struct study s;

	assert_int_equal(study_run(&l->t, &s), 0);
	for (unsigned i = 0; i < s.nr_classes; i++)
		at[s.class[i].turn] += (double)s.class[i].requests;
	later = at[2] + at[3] + at[4] + at[5];
	*ret = (struct figures){
		.ideal = (double)s.block_hits / (double)s.blocks,
		.first = (double)s.single_hits / (double)s.block_hits,
		.top_tenth = s.top10_share,
		.goes_on = at[2] / at[1],
		.goes_on_later = 1 - at[2] / later,
		.soon = study_share_within(s.all.reuse_s, s.all.reused, soon_s),
		.dead = study_share_within(s.all.life_s, s.all.nr_lives, dead_s),
	};
	study_fini(&s);
}

static void is_near(const char *what, uint64_t seed, double found, double published, double tolerance)
{
	if (!(fabs(found - published) <= tolerance))
		fail_msg("seed %llu: %s is %.3f, published is %.3f, allowed are %.3f on either side",
			 (unsigned long long)seed, what, found, published, tolerance);
}

static void check_chats(uint64_t seed)
{
	const struct tracegen g = { .load = "chat", .seed = seed, .requests = 20000, .block_tokens = 16 };
	struct loaded_trace l;
	struct figures f;

	assert_int_equal(made_trace(&g, &l), 0);
	find(&l, 600, 612, &f);
	is_near("the ideal hit ratio", seed, f.ideal, 0.62, 0.03);
	is_near("the share of hits of first turns", seed, f.first, 0.5, 0.1);
	is_near("the share of reuses of a tenth of the blocks", seed, f.top_tenth, 0.77, 0.08);
	is_near("a second turn", seed, f.goes_on, 0.5, 0.05);
	is_near("a turn after several", seed, f.goes_on_later, 0.8, 0.03);
	is_near("the share of reuses within 10 minutes", seed, f.soon, 0.80, 0.05);
	is_near("the share of blocks dead after 612 s", seed, f.dead, 0.90, 0.03);
	reader_unload(&l);
}

static void check_api_calls(uint64_t seed)
{
	const struct tracegen g = { .load = "api", .seed = seed, .requests = 10000, .block_tokens = 16 };
	struct loaded_trace l;
	struct figures f;

	assert_int_equal(made_trace(&g, &l), 0);
	find(&l, 10, 0.3, &f);
	is_near("the ideal hit ratio", seed, f.ideal, 0.54, 0.02);
	is_near("the share of hits of first turns", seed, f.first, 0.97, 0.015);
	is_near("the share of reuses within 10 s", seed, f.soon, 0.80, 0.03);
	is_near("the share of blocks dead after 0.3 s", seed, f.dead, 0.90, 0.05);
	reader_unload(&l);
}

static void generated_chats_have_the_statistics_of_trace_a_of_the_study(void **state)
{
	for (uint64_t seed = 1; seed <= 3; seed++)
		check_chats(seed);
}

static void generated_api_calls_have_the_statistics_of_trace_b_of_the_study(void **state)
{
	for (uint64_t seed = 1; seed <= 3; seed++)
		check_api_calls(seed);
}

static void generated_agents_reuse_what_recorded_ones_do(void **state)
{
	const struct tracegen g = { .load = "agent", .seed = 1, .requests = 3000, .block_tokens = 512 };
	struct loaded_trace l;
	struct figures f;

	assert_int_equal(made_trace(&g, &l), 0);
	find(&l, 600, 612, &f);
	is_near("the ideal hit ratio", 1, f.ideal, 0.964, 0.01);
	reader_unload(&l);
}

/* The study fits an exponential to each type and turn. */
static void reuse_times_of_chats_are_close_to_exponential(void **state)
{
	const struct tracegen g = { .load = "chat", .seed = 1, .requests = 20000, .block_tokens = 64 };
	struct loaded_trace l;
	unsigned nr = 0;
	struct study s;

	assert_int_equal(made_trace(&g, &l), 0);
	assert_int_equal(study_run(&l.t, &s), 0);
	for (unsigned i = 0; i < s.nr_classes; i++) {
		if (s.class[i].requests * 50 < s.requests)
			continue;	/* less than 2 % of the requests: a few of them decide */
		is_near("the distance from an exponential", 1, s.class[i].fit_distance, 0, 0.15);
		nr++;
	}
	assert_true(nr >= 5);
	study_fini(&s);
	reader_unload(&l);
}

/* ---- generated traces, whatever the load ------------------------------------------------------------------- */

static void a_generated_trace_is_the_same_for_the_same_seed_only(void **state)
{
	const struct tracegen one = { .load = "chat", .seed = 1, .requests = 300, .block_tokens = 128 };
	const struct tracegen two = { .load = "chat", .seed = 2, .requests = 300, .block_tokens = 128 };
	struct loaded_trace a, b, c;

	assert_int_equal(made_trace(&one, &a), 0);
	assert_int_equal(made_trace(&one, &b), 0);
	assert_int_equal(made_trace(&two, &c), 0);
	assert_int_equal(a.t.nr_chain, b.t.nr_chain);
	assert_memory_equal(a.t.chain, b.t.chain, a.t.nr_chain * sizeof(*a.t.chain));
	assert_true(a.t.nr_chain != c.t.nr_chain);
	reader_unload(&a);
	reader_unload(&b);
	reader_unload(&c);
}

static void the_usual_number_of_requests_is_10000_and_a_rate_is_kept(void **state)
{
	const struct tracegen g = { .load = "chat", .seed = 1, .rate = 4, .block_tokens = 512 };
	struct loaded_trace l;

	assert_int_equal(made_trace(&g, &l), 0);
	assert_int_equal(l.t.nr_req, 10000);
	/* Visits that come back take an hour, so it begins slowly. */
	assert_in_range((l.t.req[9999].time_ns - l.t.req[0].time_ns) / 1000000000, 2000, 6000);
	reader_unload(&l);
}

static void an_unknown_load_or_recipe_is_refused(void **state)
{
	const struct tracegen load_only = { .load = "nosuch", .seed = 1, .block_tokens = 16 };
	const struct tracegen recipe_only = { .load = "chat", .recipe = "nosuch", .seed = 1, .block_tokens = 16 };
	FILE *f = tmpfile();

	assert_non_null(f);
	assert_int_equal(tracegen_write(&load_only, f), -EINVAL);
	assert_int_equal(tracegen_write(&recipe_only, f), -EINVAL);
	assert_int_equal(ftell(f), 0);
	fclose(f);
}

/* ---- recipes ------------------------------------------------------------------------------------------------ */

enum { SYSTEM, DOCUMENT, CHAT, API, SORTS };

static const char *const sorts[] = { "system", "document", "chat", "api" };

struct sort {
	uint64_t arrivals;		/* requests without a chat's later turns */
	uint32_t shortest, longest;	/* blocks; of a chat's first turns */
};

static unsigned sort_of(const struct loaded_trace *l, const struct sim_request *q)
{
	const char *name = reader_type_name(l->r, hints_unpack(q->hints).type);

	for (unsigned i = 0; i < SORTS; i++)
		if (!strcmp(name, sorts[i]))
			return i;
	fail_msg("unknown type %s", name);
	return SORTS;
}

static void count_sorts(const struct loaded_trace *l, struct sort *s)
{
	for (size_t i = 0; i < l->t.nr_req; i++) {
		const struct sim_request *q = &l->t.req[i];
		struct sort *of = &s[sort_of(l, q)];

		if (hints_unpack(q->hints).turn > 1)
			continue;
		of->shortest = of->arrivals && of->shortest < q->nr ? of->shortest : q->nr;
		of->longest = of->longest > q->nr ? of->longest : q->nr;
		of->arrivals++;
	}
}

/* Turns of chats that begin early enough to have come to their end. */
static double turns_of_early_chats(const struct loaded_trace *l)
{
	uint64_t chats = 0, turns = 0;
	uint32_t last = 0;

	for (size_t i = 0; i < l->t.nr_req; i++) {
		const struct sim_request *q = &l->t.req[i];

		if (i < l->t.nr_req / 5)
			last = max_of(last, q->session);
		if (sort_of(l, q) != CHAT || q->session > last)
			continue;
		turns++;
		chats += hints_unpack(q->hints).turn == 1;
	}
	return (double)turns / (double)chats;
}

static void trace_a_has_the_shares_lengths_and_turns_of_its_recipe(void **state)
{
	static const struct {
		double share;		/* of arrivals */
		uint32_t min, max;	/* blocks */
	} want[SORTS] = { { .25, 20, 120 }, { .20, 200, 2000 }, { .25, 20, 200 }, { .30, 100, 1500 } };
	const struct tracegen g = { .recipe = "trace-a", .seed = 1, .requests = 6000, .block_tokens = 16 };
	struct sort s[SORTS] = { 0 };
	struct loaded_trace l;
	double arrivals = 0, span_s;

	assert_int_equal(made_trace(&g, &l), 0);
	count_sorts(&l, s);
	assert_int_equal(l.t.nr_req, 6000);
	for (unsigned i = 0; i < SORTS; i++)
		arrivals += (double)s[i].arrivals;
	for (unsigned i = 0; i < SORTS; i++) {
		is_near(sorts[i], 1, (double)s[i].arrivals / arrivals, want[i].share, 0.03);
		assert_in_range(s[i].shortest, want[i].min, want[i].min + want[i].max / 10);
		assert_in_range(s[i].longest, want[i].max * 9 / 10, want[i].max);
	}
	is_near("turns of a chat", 1, turns_of_early_chats(&l), 1 + 15.0 / 6, 0.5);
	span_s = (double)(l.t.req[5999].time_ns - l.t.req[0].time_ns) * 1e-9;
	is_near("arrivals a second", 1, arrivals / span_s, 10, 0.5);
	reader_unload(&l);
}

static void trace_b_is_one_job_a_second_of_1500_conversations(void **state)
{
	const struct tracegen g = { .recipe = "trace-b", .seed = 7, .block_tokens = 16 };
	struct loaded_trace l;
	uint32_t sessions = 0;

	assert_int_equal(made_trace(&g, &l), 0);
	assert_in_range(l.t.nr_req, 8600, 9400);	/* 1500 x 6 */
	assert_in_range(l.t.nr_blocks, 24000, 25500);	/* 1500 x (4 + 5 x 2.5) */
	for (size_t i = 0; i < l.t.nr_req; i++) {
		assert_int_equal(l.t.req[i].time_ns, i * 1000000000);
		assert_in_range(l.t.req[i].nr, 2, 6 + 9 * 4);
		sessions = max_of(sessions, l.t.req[i].session);
	}
	assert_int_equal(sessions, 1500);
	reader_unload(&l);
}

/* ---- the study itself ------------------------------------------------------------------------------------------ */

static void a_study_counts_what_is_there(void **state)
{
	static const uint64_t a[] = { 1, 2, 3 }, b[] = { 1, 2, 4 };
	struct sim_record r = { .session = 1, .type = 1, .turn = 1, .output_tokens = UINT64_MAX, .tokens = 48, .hash = a, .nr = 3 };
	const struct study_class *first;
	struct sim_trace t;
	struct study s;

	sim_trace_init(&t, 16);
	assert_int_equal(sim_trace_add(&t, &r), 0);
	r.hash = b;
	r.turn = 2;
	r.time_ns = 4000000000;
	assert_int_equal(sim_trace_add(&t, &r), 0);
	assert_int_equal(study_run(&t, &s), 0);
	assert_int_equal(s.blocks, 6);
	assert_int_equal(s.unique, 4);
	assert_int_equal(s.block_hits, 2);
	assert_int_equal(s.multi_hits, 2);
	assert_int_equal(s.same_session_hits, 2);
	assert_int_equal(s.reused_blocks, 2);
	first = &s.class[1 * 6 + 1];
	assert_int_equal(first->requests, 1);
	assert_int_equal(first->reused, 2);
	assert_true(fabs(first->fit_p - 2.0 / 3) < 1e-12 && fabs(first->fit_mean_s - 4) < 1e-9);
	assert_true(study_quantile(first->life_s, first->nr_lives, 0.5) == 4.0);
	assert_int_equal(s.all.requests, 2);
	assert_int_equal(s.all.reused, 2);
	assert_int_equal(s.all.nr_lives, 4);
	assert_true(study_share_within(s.all.life_s, s.all.nr_lives, 0) == 0.5);
	assert_true(study_share_within(s.all.life_s, s.all.nr_lives, 4) == 1);
	assert_true(isnan(study_share_within(NULL, 0, 4)));
	study_fini(&s);
	sim_trace_fini(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(generated_chats_have_the_statistics_of_trace_a_of_the_study),
		cmocka_unit_test(generated_api_calls_have_the_statistics_of_trace_b_of_the_study),
		cmocka_unit_test(generated_agents_reuse_what_recorded_ones_do),
		cmocka_unit_test(reuse_times_of_chats_are_close_to_exponential),
		cmocka_unit_test(a_generated_trace_is_the_same_for_the_same_seed_only),
		cmocka_unit_test(the_usual_number_of_requests_is_10000_and_a_rate_is_kept),
		cmocka_unit_test(an_unknown_load_or_recipe_is_refused),
		cmocka_unit_test(trace_a_has_the_shares_lengths_and_turns_of_its_recipe),
		cmocka_unit_test(trace_b_is_one_job_a_second_of_1500_conversations),
		cmocka_unit_test(a_study_counts_what_is_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
