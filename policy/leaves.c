/* SPDX-License-Identifier: Apache-2.0 */
/* leaves.c - blocks, the array of leaves, and the lowest of a sample */
#include "policy/leaves.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "policy/cost.h"
#include "policy/hazard.h"

enum { F_RESIDENT = 1, F_VICTIM = 2 };

int leaves_create(const struct policy_config *cfg, const struct leaf_rule *rule, struct policy **ret_p)
{
	struct policy *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->cfg = *cfg;
	p->rule = rule;
	p->blk = calloc(cfg->max_ids + 1ull, sizeof(*p->blk));
	p->leaf = calloc(cfg->max_ids + 1ull, sizeof(*p->leaf));
	p->own = calloc(1, rule->own_size + 1);
	if (!p->blk || !p->leaf || !p->own || ghost_init(&p->ghosts, 8ull * cfg->max_ids) < 0) {
		leaves_destroy(p);
		return -ENOMEM;
	}
	rand_init(&p->rand, 1);
	*ret_p = p;
	return 0;
}

void leaves_destroy(struct policy *p)
{
	if (!p)
		return;
	ghost_fini(&p->ghosts);
	free(p->own);
	free(p->leaf);
	free(p->blk);
	free(p);
}

static void leaf_add(struct policy *p, pol_id_t id)
{
	p->leaf[p->nr_leaves++] = id;
	p->blk[id].place = p->nr_leaves;
}

static void leaf_del(struct policy *p, pol_id_t id)
{
	struct leaf_blk *b = &p->blk[id];
	pol_id_t last = p->leaf[--p->nr_leaves];

	p->leaf[b->place - 1] = last;
	p->blk[last].place = b->place;
	b->place = 0;
}

static void use(struct policy *p, struct leaf_blk *b, uint32_t hints)
{
	if (p->rule->before_use)
		p->rule->before_use(p, b);
	b->gap = b->uses ? p->now - b->last : UINT32_MAX;
	b->last = p->now;
	b->uses++;
	b->hints = hints;
	if (p->rule->after_use)
		p->rule->after_use(p, b);
}

/* A block takes its place below its parent, which is no leaf then. */
static void settle(struct policy *p, pol_id_t id)
{
	const pol_id_t up = p->blk[id].parent;

	if (up && p->blk[up].kids++ == 0 && p->blk[up].place)
		leaf_del(p, up);
	leaf_add(p, id);
}

static void leave(struct policy *p, pol_id_t id)
{
	const pol_id_t up = p->blk[id].parent;

	leaf_del(p, id);
	if (up && --p->blk[up].kids == 0 && !(p->blk[up].flags & F_VICTIM))
		leaf_add(p, up);
}

void leaves_insert(struct policy *p, const struct pol_block *b, uint64_t now_ns)
{
	struct leaf_blk *n = &p->blk[b->id];
	struct ghost g;

	assert(b->id > 0 && b->id <= p->cfg.max_ids && !(n->flags & F_RESIDENT));
	p->now = hazard_time(now_ns);
	*n = (struct leaf_blk){ .parent = b->parent, .flags = F_RESIDENT, .bytes = b->bytes,
				.depth = b->parent ? p->blk[b->parent].depth + 1 : 0,
				.key = b->key, .value = cost_saved(&p->cfg.cost, b) };
	if (b->key && ghost_take(&p->ghosts, b->key, &g)) {
		n->uses = g.uses;
		n->last = g.last;
		n->remembered = g.node;
	}
	use(p, n, b->hints);
	settle(p, b->id);
}

void leaves_touch(struct policy *p, pol_id_t id, uint32_t hints, uint64_t now_ns)
{
	if (!(p->blk[id].flags & F_RESIDENT) || p->blk[id].flags & F_VICTIM)
		return;
	p->now = hazard_time(now_ns);
	for (; id; id = p->blk[id].parent)
		use(p, &p->blk[id], hints);
}

void leaves_remove(struct policy *p, pol_id_t id)
{
	struct leaf_blk *b = &p->blk[id];
	struct ghost g = { .last = b->last, .uses = (uint8_t)(b->uses < 255 ? b->uses : 255) }, old;

	assert(b->flags & F_RESIDENT && b->kids == 0);
	if (!(b->flags & F_VICTIM))
		leave(p, id);
	if (p->rule->remember)
		g.node = p->rule->remember(p, b);
	if (b->key)
		ghost_put(&p->ghosts, b->key, &g, &old);
	b->flags = 0;
}

/* Lowest score, then longest unused, then deepest. */
static bool is_lower(const struct leaf_blk *a, double score_a, const struct leaf_blk *b, double score_b)
{
	if (score_a < score_b || score_a > score_b)
		return score_a < score_b;
	return a->last != b->last ? a->last < b->last : a->depth > b->depth;
}

static pol_id_t lowest(struct policy *p, int (*is_pinned)(void *arg, pol_id_t id), void *arg)
{
	const bool is_all = p->nr_leaves <= LEAVES_SAMPLE;
	const uint32_t nr = is_all ? p->nr_leaves : LEAVES_SAMPLE;
	double score, best_score = 0;
	pol_id_t id, best = 0;
	uint32_t i;

	for (i = 0; i < nr; i++) {
		id = p->leaf[is_all ? i : rand_below(&p->rand, p->nr_leaves)];
		if (is_pinned && is_pinned(arg, id))
			continue;
		score = p->rule->score(p, &p->blk[id]);
		if (!best || is_lower(&p->blk[id], score, &p->blk[best], best_score)) {
			best = id;
			best_score = score;
		}
	}
	return best;
}

unsigned leaves_victims(struct policy *p, uint64_t bytes, uint64_t now_ns, pol_id_t *ret_ids, unsigned max,
			int (*is_pinned)(void *arg, pol_id_t id), void *arg)
{
	uint64_t sum = 0;
	unsigned nr = 0;
	pol_id_t id;

	p->now = hazard_time(now_ns);
	while (nr < max && sum < bytes && (id = lowest(p, is_pinned, arg))) {
		struct leaf_blk *b = &p->blk[id];

		if (p->rule->chosen)
			p->rule->chosen(p, b);
		leave(p, id);
		b->flags |= F_VICTIM;
		sum += b->bytes;
		ret_ids[nr++] = id;
	}
	return nr;
}

void leaves_restore(struct policy *p, pol_id_t id, uint64_t now_ns)
{
	assert(p->blk[id].flags & F_VICTIM);
	p->blk[id].flags &= ~(uint32_t)F_VICTIM;
	settle(p, id);
}

void leaves_stats(const struct policy *p, struct policy_stats *ret)
{
	*ret = (struct policy_stats){ .bytes = p->cfg.max_ids * (uint64_t)(sizeof(*p->blk) + sizeof(*p->leaf)),
				      .fixed_bytes = sizeof(*p) + p->rule->own_size,
				      .ghosts = p->ghosts.nr_buckets * 8,
				      .ghost_bytes = p->ghosts.nr_buckets * sizeof(*p->ghosts.bucket) };
}
