/* SPDX-License-Identifier: Apache-2.0 */
/* publish.c - a checked grant becomes visible: descriptor first, index last, its parent before it */
#include <errno.h>
#include <string.h>

#include "kvshm/arena/namespace.h"
#include "kvshm/base/testpoint.h"
#include "kvshm/cache/cache_priv.h"

/* A limit of blocks: exactly the one that is needed goes, and never the chain that is growing. */
static bool capacity_room(struct cache *c, blk_id_t parent, uint64_t now_ns)
{
	unsigned stalls = 0;

	if (!c->cfg.capacity_blocks || c->cfg.is_lockstep)
		return true;
	c->protect = parent;
	while (c->n.published >= c->cfg.capacity_blocks && stalls < CACHE_STALLS_MAX) {
		/* The order is compared with the replayer's: no victim is spared for a pin of the past. */
		cache_scan(c);
		stalls += evict(c, 1, 1, now_ns) == 0;
	}
	c->protect = 0;
	return c->n.published < c->cfg.capacity_blocks;
}

/* Blocks of a chain are of one size, so the depth gives the tokens before this one. */
void teach_insert(struct cache *c, blk_id_t id, uint32_t hints, uint64_t now_ns)
{
	const struct kvshm_desc *d = desc_of(c, id);
	const struct kvshm_ns_entry *e = ns_entry(c->dir, d->ns);
	const uint32_t tokens = d->tokens || !e ? d->tokens : e->block_tokens;
	struct pol_block b = { .id = id, .parent = d->parent, .bytes = slab_class_len(d->length),
			       .tokens = tokens, .offset = d->depth * (e ? e->block_tokens : tokens),
			       .is_partial = e && tokens < e->block_tokens, .hints = hints };

	memcpy(&b.key, &d->key, sizeof(b.key));
	c->n.checksum_unknown += !(d->state & KVSHM_FLAG_CHECKSUM);
	c->pol_ops->insert(c->pol, &b, order_time(c, now_ns));
}

int publish(struct cache *c, blk_id_t id, const struct block_info *info, uint32_t hints, uint64_t now_ns)
{
	struct kvshm_desc *d = desc_of(c, id);
	uint32_t granted_length = d->length;

	if (!capacity_room(c, info->parent, now_ns))
		return -ENOBUFS;
	block_publish(d, info);
	probe_state(c, id, KVSHM_BLOCK_GRANTED, KVSHM_BLOCK_PUBLISHED);
	TESTPOINT("publish: descriptor without index slot");
	blk_list_del(c, &c->granted, id);
	ledger_sub(c, KVSHM_BLOCK_GRANTED, granted_length);
	ledger_add(c, KVSHM_BLOCK_PUBLISHED, info->length);
	if (index_insert(c->dir, info->ns, &info->key, id) < 0) {
		blk_release(c, id);
		return -ENOSPC;
	}
	tree_link(c, id, info->parent);
	teach_insert(c, id, hints, now_ns);
	life_born(c, id);
	note(c, KVSHM_EVENT_STORED, id, hints, c->order_ns, 0);
	c->n.publishes++;
	return 0;
}
