/* SPDX-License-Identifier: Apache-2.0 */
/* cache.c - wires the parts: create, destroy, extents, counts, ticks */
#include "kvshm/cache/cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kvshm/arena/backing.h"
#include "kvshm/cache/cache_priv.h"
#include "policy/exact.h"

#define LOCKSTEP_BATCH 256u		/* as utils/sim.c takes them */
#define TICK_SCAN_NS 1000000000ull	/* pins are re-counted that often when nothing waits for them */

static int cache_alloc(struct cache *c)
{
	const struct policy_config pcfg = { .max_ids = c->dir->max_blocks, .cost = policy_default_cost };
	int ret;

	c->blk = calloc((size_t)c->dir->max_blocks + 1, sizeof(*c->blk));
	c->victim = calloc(c->cfg.evict_batch, sizeof(*c->victim));
	c->move = calloc(CACHE_MOVE_MAX, sizeof(*c->move));
	c->held = calloc(CACHE_MOVE_MAX, sizeof(*c->held));
	c->held_length = calloc(CACHE_MOVE_MAX, sizeof(*c->held_length));
	if (!c->blk || !c->victim || !c->move || !c->held || !c->held_length)
		return -ENOMEM;
	ret = id_map_init(&c->ids, c->dir->max_blocks);
	if (ret == 0)
		ret = exact_create(&pcfg, c->cfg.policy ? c->cfg.policy : &policy_leaf_lru, &c->pol);
	return ret;
}

int cache_create(const struct cache_config *cfg, struct cache **ret_c)
{
	struct cache *c = calloc(1, sizeof(*c));
	int ret;

	if (!c)
		return -ENOMEM;
	c->cfg = *cfg;
	c->dir = cfg->dir;
	c->arena = cfg->arena;
	c->pins = cfg->pins;
	c->pol_ops = &policy_exact;
	c->near = -1;
	if (!c->cfg.evict_batch)
		c->cfg.evict_batch = cfg->is_lockstep ? LOCKSTEP_BATCH : 128;
	if (!c->cfg.max_ns_per_uid)
		c->cfg.max_ns_per_uid = 64;
	ret = cache_alloc(c);
	if (ret < 0) {
		cache_destroy(c);
		return ret;
	}
	*ret_c = c;
	return 0;
}

struct cache *cache_destroy(struct cache *c)
{
	if (!c)
		return NULL;
	c->pol_ops->destroy(c->pol);
	slab_nodes_fini(&c->slabs);
	id_map_fini(&c->ids);
	free(c->unit_ns);
	free(c->unit_head);
	free(c->held_length);
	free(c->held);
	free(c->move);
	free(c->victim);
	free(c->blk);
	free(c);
	return NULL;
}

static int grow_units(struct cache *c, uint64_t end)
{
	size_t nr = end / HUGE_LEN;
	blk_id_t *head;
	uint16_t *unit_ns;

	if (nr <= c->nr_units)
		return 0;
	head = realloc(c->unit_head, nr * sizeof(*head));
	if (!head)
		return -ENOMEM;
	memset(head + c->nr_units, 0, (nr - c->nr_units) * sizeof(*head));
	c->unit_head = head;
	unit_ns = realloc(c->unit_ns, nr * sizeof(*unit_ns));
	if (!unit_ns)
		return -ENOMEM;
	memset(unit_ns + c->nr_units, 0, (nr - c->nr_units) * sizeof(*unit_ns));
	c->unit_ns = unit_ns;
	c->nr_units = nr;
	return 0;
}

int cache_add_extent(struct cache *c, uint32_t extent)
{
	struct kvshm_extent_entry e;
	int ret;

	if (extent >= c->dir->max_extents)
		return -EINVAL;
	e = c->dir->extent[extent];
	if (e.len == 0 || (e.base | e.len) % HUGE_LEN || !arena_contains(c->arena, e.base, e.len))
		return -EINVAL;
	ret = grow_units(c, e.base + e.len);
	if (ret == 0)
		ret = slab_nodes_add(&c->slabs, e.node, e.base, e.len);
	if (ret == 0)
		c->n.capacity_bytes += e.len;
	return ret;
}

void cache_tick(struct cache *c, uint64_t now_ns)
{
	if (!c->quarantine.head && now_ns - c->tick_ns < TICK_SCAN_NS)
		return;
	c->tick_ns = now_ns;
	if (c->pol_ops->tick && !c->cfg.is_lockstep)
		c->pol_ops->tick(c->pol, now_ns);
	cache_scan(c);
	cache_sweep(c);
}

void cache_count(const struct cache *c, struct cache_counts *ret)
{
	struct exact_counts e;
	struct slab_stats s;

	slab_nodes_stats(&c->slabs, &s);
	exact_count(c->pol, &e);
	*ret = c->n;
	ret->holds = e.holds;
	ret->held_bytes = e.held_bytes;
	ret->free_bytes = c->n.capacity_bytes - cache_used_bytes(c) - c->n.retired_bytes;
	ret->largest_free_bytes = s.largest_free_run;
}
