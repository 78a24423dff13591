/* SPDX-License-Identifier: Apache-2.0 */
/*
 * retire.c - memory that must not be touched again: pages that the hardware gave up
 *
 * The daemon that touched one died of it and left a note; its successor keeps clear.  By 2 MiB units:
 * what was published in one is dropped at the start, a place in one that comes back or is about to be
 * handed out stays away from the allocator's free lists for good.  Readers that pin such a block wait in
 * quarantine like any; they meet the page themselves, and never zeros in its stead.
 */
#include "kvshm/arena/backing.h"
#include "kvshm/cache/cache_priv.h"

static bool is_retired(const struct cache *c, uint64_t place, uint32_t length)
{
	for (unsigned i = 0; i < c->cfg.nr_retired; i++)
		if (c->cfg.retired[i] + HUGE_LEN > place &&
		    c->cfg.retired[i] < place + slab_class_len(length))
			return true;
	return false;
}

int place_get(struct cache *c, uint32_t node, uint32_t length, uint64_t *ret_place)
{
	int ret;

	while ((ret = slab_nodes_get(&c->slabs, node, length, ret_place)) == 0 && is_retired(c, *ret_place, length))
		c->n.retired_bytes += slab_class_len(length);
	return ret;
}

void place_put(struct cache *c, uint64_t place, uint32_t length)
{
	if (is_retired(c, place, length)) {
		c->n.retired_bytes += slab_class_len(length);
		return;
	}
	wipe_freed(c, place, length);
	slab_nodes_put(&c->slabs, place, length);
}

void retire_blocks(struct cache *c)
{
	for (blk_id_t id = 1; c->cfg.nr_retired && id <= c->dir->max_blocks; id++) {
		const struct kvshm_desc *d = desc_of(c, id);

		if (state_of(d->state) == KVSHM_BLOCK_PUBLISHED && is_retired(c, place_of(d), d->length))
			c->n.retired += (uint64_t)drop_at_once(c, id);
	}
}
