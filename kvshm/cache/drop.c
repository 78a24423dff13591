/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drop.c - unfindable at once, free when nobody reads it any more
 *
 * All of a subtree goes into quarantine, deepest first, so that a published block's parent is
 * published at every step; then one fence and one scan, and what is not pinned is freed, deepest
 * first.  A quarantined block keeps its parent link, by which a pin on it protects what is above; a
 * parent leaves the quarantine after its children.
 *
 * A namespace may hold millions of blocks, and one subtree all of them, so a drop goes in steps of a
 * bounded number of blocks.  Between steps others publish and evict; so each begins again at the
 * deepest published descendant, and finds new children of what is not dropped yet before it drops that.
 */
#include <errno.h>
#include <limits.h>

#include "kvshm/arena/namespace.h"
#include "kvshm/base/bitmap.h"
#include "kvshm/base/testpoint.h"
#include "kvshm/cache/cache_priv.h"

#define LOOKS_A_BLOCK 4u		/* descriptors of others that are as cheap as one block dropped */
#define STEP_WHOLE 1048576u

static void quarantine_block(struct cache *c, blk_id_t id)
{
	struct kvshm_desc *d = desc_of(c, id);

	index_remove(c->dir, d->ns, &d->key, id);
	TESTPOINT("drop: published without index slot");
	ledger_sub(c, KVSHM_BLOCK_PUBLISHED, d->length);
	c->n.checksum_unknown -= !(d->state & KVSHM_FLAG_CHECKSUM);
	block_quarantine(d);
	probe_state(c, id, KVSHM_BLOCK_PUBLISHED, KVSHM_BLOCK_QUARANTINED);
	ledger_add(c, KVSHM_BLOCK_QUARANTINED, d->length);
	c->pol_ops->remove(c->pol, id);
	note(c, KVSHM_EVENT_REMOVED, id, 0, c->order_ns, KVSHM_EVENT_DROPPED);
	USDT(evict, id, d->ns, d->length, KVSHM_EVENT_DROPPED);
	blk_list_add(c, &c->quarantine, id);
	c->n.drops++;
}

/* @id or the first behind it among its siblings that is published, 0: none. */
static blk_id_t published_from(const struct cache *c, blk_id_t id)
{
	while (id && blk_state(c, id) != KVSHM_BLOCK_PUBLISHED)
		id = c->blk[id].sib_next;	/* dropped before, still pinned */
	return id;
}

/* Nothing published lies below a block that is not, so only published ones are gone into. */
static blk_id_t deepest(const struct cache *c, blk_id_t id)
{
	blk_id_t child;

	while ((child = published_from(c, c->blk[id].first_child)))
		id = child;
	return id;
}

static blk_id_t next_up(const struct cache *c, blk_id_t root, blk_id_t id)
{
	blk_id_t sib;

	if (id == root)
		return 0;
	sib = published_from(c, c->blk[id].sib_next);
	return sib ? deepest(c, sib) : desc_of(c, id)->parent;
}

/* At most @max blocks of the subtree of a published @root, deepest first.  Return: number. */
static unsigned quarantine_some(struct cache *c, blk_id_t root, unsigned max)
{
	unsigned nr = 0;
	blk_id_t id;

	for (id = deepest(c, root); id && nr < max; id = next_up(c, root, id)) {
		quarantine_block(c, id);
		nr++;
	}
	return nr;
}

static bool is_dropped(const struct cache *c, blk_id_t id)
{
	return blk_state(c, id) != KVSHM_BLOCK_PUBLISHED;
}

static bool step_subtree(struct cache *c, struct cache_drop *d, unsigned max, unsigned *ret_nr)
{
	struct index_hit hit;

	if (!index_find_any(c->dir, d->ns, &d->key, &hit))
		return false;
	*ret_nr = quarantine_some(c, hit.id, max);
	return !is_dropped(c, hit.id);
}

/* By ascending ids; of each that is met, what lies below it goes too. */
static bool step_ns(struct cache *c, struct cache_drop *d, unsigned max, unsigned *ret_nr)
{
	const size_t end = (size_t)c->dir->max_blocks + 1;
	unsigned looks = max * LOOKS_A_BLOCK;

	for (; looks && *ret_nr < max; looks--) {
		blk_id_t id;

		d->next = bitmap_next_clear(c->ids.free, d->next ? d->next : 1, end);
		if (d->next >= end)
			return false;
		id = (blk_id_t)d->next;
		if (!is_dropped(c, id) && desc_of(c, id)->ns == d->ns)
			*ret_nr += quarantine_some(c, id, max - *ret_nr);
		if (is_dropped(c, id) || desc_of(c, id)->ns != d->ns)
			d->next++;
	}
	return true;
}

int cache_drop_step(struct cache *c, struct cache_drop *d, unsigned max)
{
	unsigned nr = 0;
	bool has_more;

	if (!ns_entry(c->dir, d->ns))
		return -EINVAL;
	has_more = d->is_all ? step_ns(c, d, max, &nr) : step_subtree(c, d, max, &nr);
	if (nr) {
		cache_scan(c);
		cache_sweep(c);
	}
	d->nr += nr;
	return has_more;
}

long drop_at_once(struct cache *c, blk_id_t root)
{
	unsigned nr = quarantine_some(c, root, UINT_MAX);

	cache_scan(c);
	cache_sweep(c);
	return nr;
}

static long drop_whole(struct cache *c, struct cache_drop *d)
{
	int ret;

	do {
		ret = cache_drop_step(c, d, STEP_WHOLE);
	} while (ret > 0);
	return ret < 0 ? ret : d->nr;
}

long cache_drop(struct cache *c, uint16_t ns, const struct kvshm_key *key)
{
	struct cache_drop d = { .ns = ns, .key = *key };

	return drop_whole(c, &d);
}

long cache_drop_ns(struct cache *c, uint16_t ns)
{
	struct cache_drop d = { .ns = ns, .is_all = true };

	return drop_whole(c, &d);
}
