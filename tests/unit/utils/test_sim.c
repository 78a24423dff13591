/* SPDX-License-Identifier: Apache-2.0 */
/* kvshm-test: timeout=600 */
/* test_sim.c - the replay: bounds that no policy may break, and naive second implementations */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>

#include "kvshm/base/compiler.h"
#include "tests/unit/utils/chat_trace.h"

static const unsigned permille[] = { 5, 10, 20, 50, 100, 200, 400 };

static uint64_t hits_of(const struct sim_trace *t, const char *policy, uint64_t capacity)
{
	const struct sim_config cfg = { .ops = policy_find(policy), .capacity = capacity };
	struct sim_result r;

	assert_int_equal(sim_run(t, &cfg, &r), 0);
	assert_int_equal(r.requests, t->nr_req);
	assert_int_equal(r.blocks, t->nr_chain);
	return r.block_hits;
}

static void nobody_beats_belady_and_nobody_the_ideal(void **state)
{
	const struct sim_config none = { 0 };
	struct sim_result ideal;
	struct sim_trace t;
	unsigned i, j;

	chat_trace(&t, 1, 2500);
	sim_ideal(&t, &none, &ideal);
	for (j = 0; j < ARRAY_SIZE(permille); j++) {
		const uint64_t capacity = t.nr_blocks * (uint64_t)permille[j] / 1000;
		const uint64_t best = hits_of(&t, "belady", capacity);

		assert_true(best <= ideal.block_hits);
		for (i = 0; policy_at(i); i++)
			assert_true(hits_of(&t, policy_at(i)->name, capacity) <= best);
	}
	assert_int_equal(hits_of(&t, "gix", t.nr_blocks), ideal.block_hits);
	sim_trace_fini(&t);
}

/* ---- naive ones: every block has its time in full, the victim is searched for ------------------------ */

struct naive {
	const struct sim_trace *t;
	uint64_t *when;			/* of the last use, or of the next; by block */
	uint8_t *is_here;
	uint32_t *kids;
};

static uint64_t next_use_after(const struct sim_trace *t, size_t req, uint32_t block)
{
	for (size_t q = req + 1; q < t->nr_req; q++)
		for (uint32_t i = 0; i < t->req[q].nr; i++)
			if (t->chain[t->req[q].first + i] == block)
				return q;
	return UINT64_MAX;
}

static uint32_t depth_of(const struct sim_trace *t, uint32_t b)
{
	uint32_t d = 0;

	for (; t->parent[b]; b = t->parent[b])
		d++;
	return d;
}

/* Used longest ago, or used furthest in the future; then the deepest. */
static uint32_t naive_victim(const struct naive *n, int is_future)
{
	uint32_t b, best = 0;

	for (b = 1; b <= n->t->nr_blocks; b++) {
		if (!n->is_here[b] || n->kids[b])
			continue;
		if (!best || (is_future ? n->when[b] > n->when[best] : n->when[b] < n->when[best]) ||
		    (n->when[b] == n->when[best] && depth_of(n->t, b) > depth_of(n->t, best)))
			best = b;
	}
	return best;
}

static uint64_t naive_hits(const struct sim_trace *t, uint64_t capacity, int is_future)
{
	struct naive n = { .t = t };
	uint64_t hits = 0, here = 0;
	size_t q;

	n.when = calloc(t->nr_blocks + 1ull, sizeof(*n.when));
	n.is_here = calloc(t->nr_blocks + 1ull, 1);
	n.kids = calloc(t->nr_blocks + 1ull, sizeof(*n.kids));
	for (q = 0; q < t->nr_req; q++) {
		int is_hit = 1;

		for (uint32_t i = 0; i < t->req[q].nr; i++) {
			const uint32_t b = t->chain[t->req[q].first + i];

			is_hit &= n.is_here[b];
			hits += (uint64_t)is_hit;
			n.when[b] = is_future ? next_use_after(t, q, b) : q;
			here += !n.is_here[b];
			n.kids[t->parent[b]] += !n.is_here[b];
			n.is_here[b] = 1;
		}
		for (; here > capacity; here--) {
			const uint32_t v = naive_victim(&n, is_future);

			n.is_here[v] = 0;
			n.kids[t->parent[v]]--;
		}
	}
	free(n.when);
	free(n.is_here);
	free(n.kids);
	return hits;
}

static void leaf_lru_and_belady_agree_with_naive_ones(void **state)
{
	struct sim_trace t;
	unsigned seed;

	for (seed = 1; seed <= 3; seed++) {
		chat_trace(&t, seed, 250);
		for (uint64_t capacity = 40; capacity <= 640; capacity *= 4) {
			assert_int_equal(hits_of(&t, "leaf-lru", capacity), naive_hits(&t, capacity, 0));
			assert_int_equal(hits_of(&t, "belady", capacity), naive_hits(&t, capacity, 1));
		}
		sim_trace_fini(&t);
	}
}

/* ---- the rest ---------------------------------------------------------------------------------------- */

static void two_runs_give_the_same(void **state)
{
	struct sim_trace t;

	chat_trace(&t, 4, 1500);
	for (unsigned i = 0; policy_at(i); i++)
		assert_int_equal(hits_of(&t, policy_at(i)->name, 500), hits_of(&t, policy_at(i)->name, 500));
	sim_trace_fini(&t);
}

static void gix_is_nowhere_half_a_point_under_leaf_lru(void **state)
{
	static const unsigned sizes[] = { 5, 20, 50, 100, 200, 400 };
	struct sim_trace t;

	for (unsigned seed = 11; seed <= 12; seed++) {
		chat_trace(&t, seed, 1500);
		for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
			const uint64_t capacity = (uint64_t)t.nr_blocks * sizes[i] / 1000;

			assert_true(hits_of(&t, "gix", capacity) + t.nr_chain / 200 >= hits_of(&t, "leaf-lru", capacity));
		}
		sim_trace_fini(&t);
	}
}

static void a_chain_in_flight_is_spared_without_bypass(void **state)
{
	struct sim_config cfg = { .ops = policy_find("gix"), .capacity = 300, .mode = SIM_PINNED };
	struct sim_result r;
	struct sim_trace t;

	chat_trace(&t, 5, 1000);
	assert_int_equal(sim_run(&t, &cfg, &r), 0);
	assert_true(r.block_hits > 0 && r.victims > 0);
	assert_true(r.inserts - r.victims <= cfg.capacity);
	sim_trace_fini(&t);
}

static void seconds_saved_are_part_of_the_total(void **state)
{
	struct sim_config cfg = { .ops = policy_find("leaf-lru"), .capacity = 1000, .block_bytes = 4096 };
	struct sim_result r, dear;
	struct sim_trace t;

	chat_trace(&t, 6, 1000);
	assert_int_equal(sim_run(&t, &cfg, &r), 0);
	assert_true(r.saved_seconds > 0 && r.saved_seconds < r.total_seconds);
	cfg.cost = (struct policy_cost){ .per_token = 1, .per_byte = 1 };
	assert_int_equal(sim_run(&t, &cfg, &dear), 0);
	assert_true(dear.saved_seconds < 0);
	assert_int_equal(r.block_hits, dear.block_hits);
	sim_trace_fini(&t);
}

static void what_makes_no_sense_is_refused(void **state)
{
	const struct sim_config cfg = { .ops = policy_find("gix") };
	const uint64_t hash = 1;
	struct sim_record rec = { .time_ns = 5, .tokens = 16, .hash = &hash, .nr = 1 };
	struct sim_result r;
	struct sim_trace t;

	sim_trace_init(&t, 16);
	assert_int_equal(sim_trace_add(&t, &rec), 0);
	rec.time_ns = 4;
	assert_int_equal(sim_trace_add(&t, &rec), -ERANGE);
	assert_int_equal(t.nr_req, 1);
	assert_int_equal(sim_run(&t, &cfg, &r), -EINVAL);
	sim_trace_fini(&t);
}

static void the_same_name_under_another_parent_is_another_block(void **state)
{
	const uint64_t a[] = { 1, 7 }, b[] = { 2, 7 };
	struct sim_record rec = { .tokens = 32, .hash = a, .nr = 2 };
	struct sim_trace t;

	sim_trace_init(&t, 16);
	sim_trace_add(&t, &rec);
	rec.hash = b;
	sim_trace_add(&t, &rec);
	rec.hash = a;
	sim_trace_add(&t, &rec);
	assert_int_equal(t.nr_blocks, 4);
	assert_int_equal(t.chain[4], t.chain[0]);
	assert_int_equal(t.chain[5], t.chain[1]);
	sim_trace_fini(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_beats_belady_and_nobody_the_ideal),
		cmocka_unit_test(leaf_lru_and_belady_agree_with_naive_ones),
		cmocka_unit_test(two_runs_give_the_same),
		cmocka_unit_test(gix_is_nowhere_half_a_point_under_leaf_lru),
		cmocka_unit_test(a_chain_in_flight_is_spared_without_bypass),
		cmocka_unit_test(seconds_saved_are_part_of_the_total),
		cmocka_unit_test(what_makes_no_sense_is_refused),
		cmocka_unit_test(the_same_name_under_another_parent_is_another_block),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
