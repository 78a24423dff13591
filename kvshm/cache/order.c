/* SPDX-License-Identifier: Apache-2.0 */
/*
 * order.c - which policy is in force, and what time it is for it
 *
 * Lockstep is for comparing a live daemon with the replayer, request by request: the clock is the one
 * that the clients stamp their touches and entries with, and what is over the capacity goes when the
 * request is over (cache_settle()), not while it is served, so that the blocks just inserted compete.
 */
#include <errno.h>

#include "kvshm/base/compiler.h"
#include "kvshm/cache/cache_priv.h"

#define TICK_NS 1000000000ull		/* as often as policy.h says */

static bool is_for_replayer(const struct policy_ops *ops)
{
	return ops->flags & (POLICY_FLAT | POLICY_ORACLE);
}

const struct policy_ops *cache_policy(const char *name)
{
	const struct policy_ops *ops = policy_find(name);

	return ops && !is_for_replayer(ops) ? ops : NULL;
}

const char *cache_policy_name(unsigned i)
{
	const struct policy_ops *ops;
	unsigned at, n = 0;

	for (at = 0; (ops = policy_at(at)); at++)
		if (!is_for_replayer(ops) && n++ == i)
			return ops->name;
	return NULL;
}

/* Clients' stamps come a little out of order; a policy's time never runs backwards. */
uint64_t order_time(struct cache *c, uint64_t now_ns)
{
	c->order_ns = now_ns = max_of(now_ns, c->order_ns);
	if (!c->cfg.is_lockstep || now_ns < c->order_tick_ns + TICK_NS)
		return now_ns;
	c->order_tick_ns = now_ns;
	if (c->pol_ops->tick)
		c->pol_ops->tick(c->pol, now_ns);
	return now_ns;
}

size_t cache_learnt(const struct cache *c, void *buf, size_t len)
{
	return c->pol_ops->save ? c->pol_ops->save(c->pol, buf, len) : 0;
}

int cache_learn(struct cache *c, const void *buf, size_t len)
{
	return c->pol_ops->load ? c->pol_ops->load(c->pol, buf, len) : -EOPNOTSUPP;
}

void cache_settle(struct cache *c, uint64_t now_ns)
{
	uint64_t over;

	if (!c->cfg.is_lockstep)
		return;
	now_ns = order_time(c, now_ns);
	if (!c->cfg.capacity_blocks || c->n.published <= c->cfg.capacity_blocks)
		return;
	/* What was pinned while the request was served is no longer. */
	cache_scan(c);
	while (c->n.published > c->cfg.capacity_blocks) {
		over = min_of(c->n.published - c->cfg.capacity_blocks, (uint64_t)c->cfg.evict_batch);
		if (evict(c, over * (c->n.published_bytes / c->n.published), (unsigned)over, now_ns) == 0)
			break;
	}
}
