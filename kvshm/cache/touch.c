/* SPDX-License-Identifier: Apache-2.0 */
/*
 * touch.c - who used what, by the clients' own word
 *
 * In a big cache each touch waits for memory several times: descriptor, own state, the policy's for the whole
 * path.  So a batch is looked over first, and all of it waits at the same time.
 */
#include "kvshm/base/compiler.h"
#include "kvshm/cache/cache_priv.h"

#define BATCH 64u

static bool is_id(const struct cache *c, uint32_t id)
{
	return id != 0 && id <= c->dir->max_blocks;
}

static bool is_current(const struct cache *c, const struct kvshm_touch *t)
{
	uint64_t w;

	if (!is_id(c, t->id))
		return false;
	w = READ_ONCE(desc_of(c, t->id)->state);
	return state_of(w) == KVSHM_BLOCK_PUBLISHED && state_generation(w) == t->generation;
}

static void fetch(const struct cache *c, const struct kvshm_touch *t, unsigned nr)
{
	pol_id_t id[BATCH];
	unsigned i, known = 0;

	for (i = 0; i < nr; i++)
		if (is_id(c, t[i].id)) {
			__builtin_prefetch(desc_of(c, t[i].id));
			__builtin_prefetch(&c->blk[t[i].id], 1);
		}
	for (i = 0; i < nr; i++)
		if (is_current(c, &t[i]))
			id[known++] = t[i].id;
	if (c->pol_ops->expect)
		c->pol_ops->expect(c->pol, id, known);
}

static void touch_one(struct cache *c, const struct kvshm_touch *t, uint64_t now_ns)
{
	c->n.touches++;
	if (!is_current(c, t)) {
		c->n.touches_stale++;
		return;
	}
	/* The client's clock is the same one; a time of the future would only serve to lie. */
	if (c->cfg.is_lockstep || (t->time_ns && t->time_ns < now_ns))
		now_ns = t->time_ns;
	c->pol_ops->touch(c->pol, t->id, t->hint, order_time(c, now_ns));
	life_used(c, t->id);
	note(c, KVSHM_EVENT_TOUCHED, t->id, t->hint, c->order_ns, 0);
}

void cache_touch(struct cache *c, const struct kvshm_touch *t, unsigned nr, uint64_t now_ns)
{
	unsigned i, n;

	for (; nr; t += n, nr -= n) {
		n = min_of(nr, BATCH);
		if (n > 1)
			fetch(c, t, n);
		for (i = 0; i < n; i++)
			touch_one(c, &t[i], now_ns);
	}
}
