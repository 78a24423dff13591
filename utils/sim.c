/* SPDX-License-Identifier: Apache-2.0 */
/* sim.c - one request after the other through a policy; ids are handed out and taken back as slots are */
#include "utils/sim.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kvshm/base/clock.h"
#include "kvshm/base/rand.h"

#define TICK_NS 1000000000ull
#define DEFAULT_BLOCK_BYTES (1u << 20)
#define VICTIMS 256u

enum { B_RESIDENT = 1, B_EVICTED = 2, B_IN_FLIGHT = 4 };

struct sim {
	const struct sim_trace *t;
	const struct sim_config *cfg;
	struct policy *pol;
	struct policy_cost cost;
	uint32_t block_bytes;
	uint32_t *slot_of;		/* [blocks + 1], 0: not resident */
	uint32_t *block_of;		/* [slots + 1] */
	uint8_t *state;			/* [blocks + 1] */
	uint32_t *free_slot;
	uint32_t nr_free;
	uint64_t resident, tick_ns;
	uint64_t *next_in_chain;	/* oracles: request of the next use, by place in the chains */
	uint64_t *next_use;		/* oracles: by block, as of now */
	struct sim_result *r;
	uint64_t t_touch, t_insert, t_victim;
};

static uint64_t next_use(void *arg, pol_id_t id)
{
	const struct sim *s = arg;

	return s->next_use[s->block_of[id]];
}

static int in_flight(void *arg, pol_id_t id)
{
	const struct sim *s = arg;

	return s->state[s->block_of[id]] & B_IN_FLIGHT;
}

static uint64_t clock_of(const struct sim *s)
{
	return s->cfg->is_timed ? clock_ns() : 0;
}

/* ---- tokens and seconds ------------------------------------------------------------------------- */

static uint32_t block_tokens(const struct sim_trace *t, const struct sim_request *q, uint32_t i)
{
	const uint64_t end = (i + 1ull) * t->block_tokens;

	return end <= q->tokens ? t->block_tokens : (uint32_t)(q->tokens + t->block_tokens - end);
}

/* Seconds of prefill for @n tokens that stand behind @offset others. */
static double prefill(const struct policy_cost *c, double offset, double n)
{
	return n * (c->per_token + c->per_token_offset * (offset + n / 2));
}

double sim_saved_seconds(const struct sim_trace *t, const struct sim_request *q, uint32_t hits,
			 const struct policy_cost *c, uint32_t block_bytes)
{
	const uint64_t tokens = (uint64_t)hits * t->block_tokens;

	return prefill(c, 0, (double)(tokens < q->tokens ? tokens : q->tokens)) - c->per_byte * hits * block_bytes;
}

static void count_request(struct sim_result *r, const struct sim_trace *t, const struct sim_request *q,
			  uint32_t hits, const struct policy_cost *c, uint32_t block_bytes)
{
	uint64_t token_hits = (uint64_t)hits * t->block_tokens;

	if (token_hits > q->tokens)
		token_hits = q->tokens;
	r->requests++;
	r->blocks += q->nr;
	r->block_hits += hits;
	r->tokens += q->tokens;
	r->token_hits += token_hits;
	r->total_seconds += prefill(c, 0, q->tokens);
	r->saved_seconds += sim_saved_seconds(t, q, hits, c, block_bytes);
}

/* ---- what the daemon does ------------------------------------------------------------------------ */

static void take_victims(struct sim *s, uint64_t nr, uint64_t now_ns, bool spare_in_flight)
{
	pol_id_t ids[VICTIMS];
	const uint64_t start = clock_of(s);

	while (nr) {
		unsigned max = nr < VICTIMS ? (unsigned)nr : VICTIMS, got, i;

		got = s->cfg->ops->victims(s->pol, (uint64_t)max * s->block_bytes, now_ns, ids, max,
					   spare_in_flight ? in_flight : NULL, s);
		if (got == 0)
			break;
		for (i = 0; i < got; i++) {
			uint32_t b = s->block_of[ids[i]];

			assert(s->state[b] & B_RESIDENT);
			s->cfg->ops->remove(s->pol, ids[i]);
			s->state[b] = (uint8_t)((s->state[b] & ~B_RESIDENT) | B_EVICTED);
			s->slot_of[b] = 0;
			s->free_slot[s->nr_free++] = ids[i];
		}
		s->resident -= got;
		s->r->victims += got;
		nr -= got;
	}
	s->t_victim += clock_of(s) - start;
}

static void insert_block(struct sim *s, const struct sim_request *q, uint32_t i)
{
	const uint32_t tokens = block_tokens(s->t, q, i);
	const uint32_t b = s->t->chain[q->first + i], up = s->t->parent[b];
	const pol_id_t id = s->free_slot[--s->nr_free];
	const struct pol_block pb = {
		.id = id, .parent = up ? s->slot_of[up] : 0, .bytes = s->block_bytes,
		.tokens = tokens, .offset = i * s->t->block_tokens, .is_partial = tokens < s->t->block_tokens,
		.hints = q->hints, .key = rand_mix(b),
	};

	s->r->wanted_again += (s->state[b] & B_EVICTED) != 0;
	s->slot_of[b] = id;
	s->block_of[id] = b;
	s->state[b] |= B_RESIDENT;
	s->resident++;
	s->r->inserts++;
	s->cfg->ops->insert(s->pol, &pb, q->time_ns);
}

/* Parent first; tails before heads in flat policies' order of use, as the runs of others have it. */
static void insert_missing(struct sim *s, const struct sim_request *q, uint32_t hits)
{
	const uint32_t *chain = &s->t->chain[q->first];
	const uint64_t start = clock_of(s), before = s->t_victim;
	uint32_t i;

	if (s->cfg->ops->flags & POLICY_FLAT) {
		for (i = q->nr; i-- > hits;)
			if (!(s->state[chain[i]] & B_RESIDENT))
				insert_block(s, q, i);
		return;
	}
	for (i = hits; i < q->nr; i++) {
		if (s->cfg->mode == SIM_PINNED && s->resident >= s->cfg->capacity)
			take_victims(s, 1, q->time_ns, true);
		if (s->cfg->mode == SIM_PINNED && s->resident >= s->cfg->capacity)
			break;
		insert_block(s, q, i);
		s->state[chain[i]] |= B_IN_FLIGHT;
	}
	s->t_insert += clock_of(s) - start - (s->t_victim - before);
}

static void touch_present(struct sim *s, const struct sim_request *q, uint32_t hits)
{
	const uint32_t *chain = &s->t->chain[q->first];
	const uint64_t start = clock_of(s);
	uint32_t i;

	if (s->cfg->ops->flags & POLICY_FLAT) {
		for (i = q->nr; i-- > 0;)
			if (s->state[chain[i]] & B_RESIDENT) {
				s->cfg->ops->touch(s->pol, s->slot_of[chain[i]], q->hints, q->time_ns);
				s->r->touches++;
			}
	} else if (hits) {
		s->cfg->ops->touch(s->pol, s->slot_of[chain[hits - 1]], q->hints, q->time_ns);
		s->r->touches++;
	}
	s->t_touch += clock_of(s) - start;
}

static void set_in_flight(struct sim *s, const struct sim_request *q, uint32_t nr, bool on)
{
	uint32_t i;

	for (i = 0; i < nr; i++) {
		uint8_t *st = &s->state[s->t->chain[q->first + i]];

		*st = (uint8_t)(on ? *st | B_IN_FLIGHT : *st & ~B_IN_FLIGHT);
	}
}

static void look_ahead(struct sim *s, const struct sim_request *q)
{
	uint32_t i;

	for (i = 0; s->next_use && i < q->nr; i++)
		s->next_use[s->t->chain[q->first + i]] = s->next_in_chain[q->first + i];
}

static void run_request(struct sim *s, size_t nr)
{
	const struct sim_request *q = &s->t->req[nr];
	uint32_t hits = 0;

	if (q->time_ns - s->tick_ns >= TICK_NS) {
		s->tick_ns = q->time_ns;
		if (s->cfg->ops->tick)
			s->cfg->ops->tick(s->pol, q->time_ns);
	}
	while (hits < q->nr && s->state[s->t->chain[q->first + hits]] & B_RESIDENT)
		hits++;
	count_request(s->r, s->t, q, hits, &s->cost, s->block_bytes);
	look_ahead(s, q);
	set_in_flight(s, q, s->cfg->mode == SIM_PINNED ? hits : 0, true);
	touch_present(s, q, hits);
	insert_missing(s, q, hits);
	set_in_flight(s, q, q->nr, false);
	if (s->resident > s->cfg->capacity)
		take_victims(s, s->resident - s->cfg->capacity, q->time_ns, false);
	if (s->cfg->on_request)
		s->cfg->on_request(s->cfg->arg, nr, hits);
}

/* ---- set-up --------------------------------------------------------------------------------------- */

static int learn_future(struct sim *s)
{
	const struct sim_trace *t = s->t;
	size_t r, i;

	s->next_use = malloc((t->nr_blocks + 1ull) * sizeof(*s->next_use));
	s->next_in_chain = malloc((t->nr_chain + 1) * sizeof(*s->next_in_chain));
	if (!s->next_use || !s->next_in_chain)
		return -ENOMEM;
	memset(s->next_use, 0xff, (t->nr_blocks + 1ull) * sizeof(*s->next_use));
	for (r = t->nr_req; r-- > 0;)
		for (i = t->req[r].first; i < t->req[r].first + t->req[r].nr; i++) {
			s->next_in_chain[i] = s->next_use[t->chain[i]];
			s->next_use[t->chain[i]] = r;
		}
	return 0;
}

static int set_up(struct sim *s)
{
	const uint64_t all = s->t->nr_blocks;
	uint64_t slots = s->cfg->capacity + s->t->longest + s->cfg->more_ids;
	struct policy_config pc = { .cost = s->cost, .theta = s->cfg->theta };
	uint32_t i;

	slots = slots < all + s->cfg->more_ids ? slots : all + s->cfg->more_ids;
	pc.max_ids = (uint32_t)(slots ? slots : 1);
	s->slot_of = calloc(all + 1, sizeof(*s->slot_of));
	s->state = calloc(all + 1, 1);
	s->block_of = calloc(pc.max_ids + 1ull, sizeof(*s->block_of));
	s->free_slot = malloc(pc.max_ids * sizeof(*s->free_slot));
	if (!s->slot_of || !s->state || !s->block_of || !s->free_slot)
		return -ENOMEM;
	for (i = pc.max_ids; i > 0; i--)
		s->free_slot[s->nr_free++] = i;
	if (s->cfg->ops->flags & POLICY_ORACLE) {
		if (learn_future(s) < 0)
			return -ENOMEM;
		pc.next_use = next_use;
		pc.next_use_arg = s;
	}
	return s->cfg->ops->create(&pc, &s->pol);
}

static void tear_down(struct sim *s)
{
	s->cfg->ops->destroy(s->pol);
	free(s->slot_of);
	free(s->block_of);
	free(s->state);
	free(s->free_slot);
	free(s->next_use);
	free(s->next_in_chain);
}

static struct policy_cost cost_of(const struct sim_config *cfg)
{
	const struct policy_cost *c = &cfg->cost;

	return c->per_token > 0 || c->per_token_offset > 0 || c->per_byte > 0 ? *c : policy_default_cost;
}

static double per(uint64_t ns, uint64_t nr, bool is_timed)
{
	return is_timed && nr ? (double)ns / (double)nr : NAN;
}

int sim_run(const struct sim_trace *t, const struct sim_config *cfg, struct sim_result *ret)
{
	struct sim_result r = { 0 };
	struct sim s = { .t = t, .cfg = cfg, .cost = cost_of(cfg), .r = &r };
	size_t i;
	int err;

	if (cfg->capacity == 0)
		return -EINVAL;
	s.block_bytes = cfg->block_bytes ? cfg->block_bytes : DEFAULT_BLOCK_BYTES;
	err = set_up(&s);
	if (err == 0) {
		for (i = 0; i < t->nr_req; i++)
			run_request(&s, i);
		r.ns_per_touch = per(s.t_touch, r.touches, cfg->is_timed);
		r.ns_per_insert = per(s.t_insert, r.inserts, cfg->is_timed);
		r.ns_per_victim = per(s.t_victim, r.victims, cfg->is_timed);
		if (cfg->ops->stats)
			cfg->ops->stats(s.pol, &r.mem);
		*ret = r;
	}
	tear_down(&s);
	return err;
}

void sim_ideal(const struct sim_trace *t, const struct sim_config *cfg, struct sim_result *ret)
{
	const struct policy_cost c = cost_of(cfg);
	const uint32_t bytes = cfg->block_bytes ? cfg->block_bytes : DEFAULT_BLOCK_BYTES;
	uint32_t seen = 0, hits;
	size_t i;

	memset(ret, 0, sizeof(*ret));
	ret->ns_per_touch = ret->ns_per_insert = ret->ns_per_victim = NAN;
	/* Blocks are numbered in order of their first use. */
	for (i = 0; i < t->nr_req; i++) {
		const struct sim_request *q = &t->req[i];
		const uint32_t *chain = &t->chain[q->first];

		for (hits = 0; hits < q->nr && chain[hits] <= seen; hits++)
			;
		count_request(ret, t, q, hits, &c, bytes);
		if (q->nr && chain[q->nr - 1] > seen)
			seen = chain[q->nr - 1];
	}
}
