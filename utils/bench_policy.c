/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_policy.c - what a use and a victim cost in the policy alone, and what it keeps for a block
 *
 * Conversations that grow by four blocks a turn, up to 64, in a full cache; clients return at random, so
 * state is cold as it is in a big cache.  A batch is 64 touches, as the daemon drains them, or 128 victims with their removal; what
 * they made room for is inserted untimed.  leaf-lru under the same calls is the floor.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kvshm/base/clock.h"
#include "kvshm/base/compiler.h"
#include "kvshm/base/rand.h"
#include "policy/hints.h"
#include "policy/policy.h"
#include "utils/bench.h"
#include "utils/commands.h"

#define DEFAULT_BLOCKS 1000000ul
#define BLOCK_BYTES (2u << 20)
#define TURN_BLOCKS 4u
#define CHAIN_MAX 64u
#define TOUCHES 64u
#define VICTIMS 128u
#define BATCHES 1000u			/* of which a 99.9th percentile means something */
#define WARM_UP 40u
#define STEP_NS 20000000ull		/* of the load's own clock, between requests */

struct chain {
	pol_id_t tail;
	uint32_t nr;
	uint32_t turn;
};

struct pol_run {
	const struct policy_ops *ops;
	struct policy *pol;
	uint32_t max_ids, resident, nr_free, nr_chains;
	uint64_t now_ns, tick_ns, key;
	pol_id_t *free_id, *parent;
	uint32_t *chain_of;
	struct chain *chain;
	struct rand rand;
	struct samples touch, victim;
};

static void step(struct pol_run *r)
{
	r->now_ns += STEP_NS;
	if (r->now_ns - r->tick_ns < 1000000000u)
		return;
	r->tick_ns = r->now_ns;
	if (r->ops->tick)
		r->ops->tick(r->pol, r->now_ns);
}

static uint32_t hints_of(const struct pol_run *r, const struct chain *c)
{
	struct hints h = { .type = (uint8_t)(1 + (c - r->chain) % 4), .turn = hint_turn(c->turn),
			   .output = hint_octave(64u << (c - r->chain) % 5) };

	return hints_pack(&h);
}

/* One turn more of chain @i.  Return: blocks inserted. */
static unsigned grow(struct pol_run *r, uint32_t i)
{
	struct chain *c = &r->chain[i];
	unsigned n;

	c->turn++;
	for (n = 0; n < TURN_BLOCKS && r->nr_free && c->nr < CHAIN_MAX; n++) {
		const pol_id_t id = r->free_id[--r->nr_free];
		const struct pol_block b = { .id = id, .parent = c->tail, .bytes = BLOCK_BYTES, .tokens = 16,
					     .offset = c->nr * 16, .hints = hints_of(r, c), .key = ++r->key };

		r->ops->insert(r->pol, &b, r->now_ns);
		r->parent[id] = c->tail;
		r->chain_of[id] = i;
		c->tail = id;
		c->nr++;
		r->resident++;
	}
	return n;
}

static uint32_t any_chain(struct pol_run *r)
{
	return (uint32_t)rand_below(&r->rand, r->nr_chains);
}

/* Turns of chains at random until @blocks are resident. */
static void fill(struct pol_run *r, uint32_t blocks)
{
	while (r->resident < blocks) {
		uint32_t i = any_chain(r);

		if (r->chain[i].tail)
			r->ops->touch(r->pol, r->chain[i].tail, hints_of(r, &r->chain[i]), r->now_ns);
		grow(r, i);
		step(r);
	}
}

static double time_touches(struct pol_run *r)
{
	pol_id_t id[TOUCHES];
	uint32_t hints[TOUCHES];
	uint64_t start;
	unsigned n = 0;

	while (n < TOUCHES) {
		uint32_t i = any_chain(r);

		if (!r->chain[i].tail)
			continue;
		id[n] = r->chain[i].tail;
		hints[n++] = hints_of(r, &r->chain[i]);
	}
	start = clock_ns();
	if (r->ops->expect)
		r->ops->expect(r->pol, id, TOUCHES);
	for (n = 0; n < TOUCHES; n++)
		r->ops->touch(r->pol, id[n], hints[n], r->now_ns);
	start = clock_ns() - start;
	step(r);
	return (double)start / TOUCHES;
}

/* Return: ns a victim; NaN if none was named. */
static double time_victims(struct pol_run *r)
{
	const unsigned max = r->max_ids / 8 < VICTIMS ? r->max_ids / 8 : VICTIMS;
	pol_id_t id[VICTIMS];
	uint64_t start = clock_ns();
	unsigned nr, n;

	nr = r->ops->victims(r->pol, UINT64_MAX, r->now_ns, id, max, NULL, NULL);
	for (n = 0; n < nr; n++)
		r->ops->remove(r->pol, id[n]);
	start = clock_ns() - start;
	for (n = 0; n < nr; n++) {
		struct chain *c = &r->chain[r->chain_of[id[n]]];

		c->tail = r->parent[id[n]];
		if (--c->nr == 0)
			c->turn = 0;
		r->free_id[r->nr_free++] = id[n];
	}
	r->resident -= nr;
	return nr ? (double)start / nr : 0;
}

static void measure_batch(struct pol_run *r, bool is_counted)
{
	const uint32_t full = r->resident;
	double touch = time_touches(r), victim = time_victims(r);

	if (is_counted) {
		samples_add(&r->touch, touch);
		samples_add(&r->victim, victim);
	}
	fill(r, full);
}

static void tear_down(struct pol_run *r)
{
	if (r->ops)
		r->ops->destroy(r->pol);
	free(r->free_id);
	free(r->parent);
	free(r->chain_of);
	free(r->chain);
	samples_fini(&r->touch);
	samples_fini(&r->victim);
}

static int set_up(struct pol_run *r, const struct policy_ops *ops, unsigned long blocks)
{
	const struct policy_config cfg = { .max_ids = (uint32_t)blocks };
	uint32_t i;

	*r = (struct pol_run){ .ops = ops, .max_ids = (uint32_t)blocks, .now_ns = 1000000000 };
	r->nr_chains = (uint32_t)(blocks / 16 + 1);
	r->free_id = malloc(blocks * sizeof(*r->free_id));
	r->parent = calloc(blocks + 1, sizeof(*r->parent));
	r->chain_of = calloc(blocks + 1, sizeof(*r->chain_of));
	r->chain = calloc(r->nr_chains, sizeof(*r->chain));
	if (!r->free_id || !r->parent || !r->chain_of || !r->chain)
		return -ENOMEM;
	for (i = r->max_ids; i > 0; i--)
		r->free_id[r->nr_free++] = i;
	rand_init(&r->rand, 5);
	return ops->create(&cfg, &r->pol);
}

static void report(struct pol_run *r, struct pol_run *floor, struct jdoc *j)
{
	struct policy_stats s = { 0 };

	r->ops->stats(r->pol, &s);
	jdoc_real(j, "ns_per_touch", samples_quantile(&r->touch, 0.5));
	jdoc_real(j, "p99_ns_per_touch", samples_quantile(&r->touch, 0.99));
	jdoc_real(j, "floor_ns_per_touch", samples_quantile(&floor->touch, 0.5));
	jdoc_real(j, "ns_per_victim", samples_quantile(&r->victim, 0.5));
	jdoc_real(j, "p99_ns_per_victim", samples_quantile(&r->victim, 0.99));
	jdoc_real(j, "floor_ns_per_victim", samples_quantile(&floor->victim, 0.5));
	jdoc_real(j, "bytes_per_block", (double)s.bytes / r->max_ids);
	jdoc_real(j, "bytes_per_ghost", s.ghosts ? (double)s.ghost_bytes / (double)s.ghosts : 0);
	jdoc_int(j, "ghosts", (int64_t)s.ghosts);
	jdoc_int(j, "fixed_bytes", (int64_t)s.fixed_bytes);
	samples_p999(&r->touch, 1, j, "p999_ns_per_touch");
	samples_p999(&r->victim, 1, j, "p999_ns_per_victim");
}

static int run(const struct bench_options *o, struct jdoc *j)
{
	const unsigned long blocks = o->blocks ? o->blocks : DEFAULT_BLOCKS;
	struct pol_run r, floor;
	int ret;

	if (blocks < 1000) {
		fprintf(stderr, "kvshm bench policy: --blocks takes 1000 and more\n");
		return EXIT_USAGE;
	}
	ret = set_up(&r, policy_find("gix"), blocks);
	if (!ret)
		ret = set_up(&floor, policy_find("leaf-lru"), blocks);
	else
		floor = (struct pol_run){ 0 };
	if (!ret) {
		fill(&r, r.max_ids);
		fill(&floor, floor.max_ids);
		for (unsigned b = 0; b < WARM_UP + BATCHES; b++) {
			measure_batch(&r, b >= WARM_UP);
			measure_batch(&floor, b >= WARM_UP);
			bench_progress("batches", b + 1, WARM_UP + BATCHES);
		}
		bench_progress("", 0, 0);
		jdoc_text(j, "policy", r.ops->name);
		jdoc_int(j, "blocks", (int64_t)blocks);
		report(&r, &floor, j);
	} else {
		fprintf(stderr, "kvshm bench policy: %s\n", strerror(-ret));
	}
	tear_down(&r);
	tear_down(&floor);
	return ret < 0 ? EXIT_DEAD : EXIT_FINE;
}

const struct bench bench_policy = {
	"policy", run, "cost of a use and a victim in the eviction policy alone",
};
