/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reclaim.c - room for new blocks, taken from the least useful ones that nobody reads
 *
 * A reader pins without asking: it writes {id, generation} into its pin file, fences, and looks at
 * the descriptor again.  So the writer closes before it looks:
 *
 *   writer:  EVICTING on all victims, leaf first   fence   scan of all pin files
 *   reader:  pin word                              fence   is it still PUBLISHED?
 *
 * One of the two sees the other.  A pin on a block protects all its ancestors, which Invariant T makes
 * enough for a whole prefix.  Hence a batch ends in this order and no other:
 *
 *   1. a pinned member restores itself and its ancestors in the batch, root first
 *   2. what is left, and so deeper than every pin, is freed, leaf first: index slot, then FREE
 *
 * Restoring the pinned member alone would free ancestors under its pin.  Between close and free nothing
 * asynchronous happens, so no EVICTING descriptor is seen outside of evict(), except after a crash;
 * recovery publishes those again, as a pin may have been taken before the close.
 *
 * A scan reads all pin files, whatever it is for, so victims go in batches.  A batch is bounded in
 * blocks and, so that big blocks do not empty a small arena, to 1/128 of the capacity.
 *
 * When all is pinned, a few batches end without a victim freed; then the caller gives up and the put is
 * dropped.  Nothing here waits.
 */
#include <errno.h>

#include "kvshm/base/clock.h"
#include "kvshm/base/compiler.h"
#include "kvshm/base/testpoint.h"
#include "kvshm/cache/cache_priv.h"

#define BATCH_SHARE 128u		/* of the capacity, in bytes */

void cache_scan(struct cache *c)
{
	uint64_t start_ns = clock_ns();
	long nr;

	/* PN-1: all closed or moved before the scan; pairs with pin_take(). */
	smp_mb();
	nr = pin_set_scan(c->pins, c->dir);
	c->n.scans++;
	if (c->stats)
		stat_hist_record(c->stats, HIST_PIN_SCAN, clock_ns() - start_ns);
	if (nr < 0)
		return;			/* everything counts as pinned */
	c->n.pins = (uint64_t)nr;
	c->n.pinned_bytes = pin_set_bytes(c->pins);
}

/* The block whose pins hold a quarantined one: for the old place of a moved block, that block. */
static blk_id_t holder_of(const struct kvshm_desc *d, blk_id_t id)
{
	return d->state & KVSHM_FLAG_RELOCATED ? d->parent : id;
}

void cache_sweep(struct cache *c)
{
	blk_id_t id, next;

	for (id = c->quarantine.head; id; id = next) {
		const struct kvshm_desc *d = desc_of(c, id);

		next = c->blk[id].list_next;
		if (cache_is_pinned(c, holder_of(d, id)) || c->blk[id].first_child)
			continue;
		blk_list_del(c, &c->quarantine, id);
		if (!(d->state & KVSHM_FLAG_RELOCATED))
			tree_unlink(c, id, d->parent);
		blk_release(c, id);
	}
}

static void evict_one(struct cache *c, blk_id_t id)
{
	struct kvshm_desc *d = desc_of(c, id);
	blk_id_t parent = d->parent;

	index_remove(c->dir, d->ns, &d->key, id);
	TESTPOINT("evict: closed without index slot");
	note(c, KVSHM_EVENT_REMOVED, id, 0, c->order_ns, KVSHM_EVENT_EVICTED);
	USDT(evict, id, d->ns, d->length, KVSHM_EVENT_EVICTED);
	c->n.evictions++;
	c->n.evicted_bytes += slab_class_len(d->length);
	c->n.checksum_unknown -= !(d->state & KVSHM_FLAG_CHECKSUM);
	life_evicted(c, id);
	tree_unlink(c, id, parent);
	blk_release(c, id);
	c->pol_ops->remove(c->pol, id);
}

static void restore_pinned(struct cache *c, unsigned nr, uint64_t now_ns)
{
	unsigned i;

	for (i = nr; i-- > 0;) {
		blk_id_t id = c->victim[i];

		if (!cache_is_pinned(c, id))
			continue;
		block_reopen(desc_of(c, id));
		probe_state(c, id, KVSHM_BLOCK_EVICTING, KVSHM_BLOCK_PUBLISHED);
		c->pol_ops->restore(c->pol, id, now_ns);
		c->n.victims_restored++;
	}
}

static int no_victim(void *arg, pol_id_t id)
{
	const struct cache *c = arg;

	return id == c->protect || cache_is_pinned(c, id);
}

/* One batch.  Return: victims named, freed or not. */
static unsigned evict_batch(struct cache *c, uint64_t bytes, unsigned max, uint64_t now_ns)
{
	unsigned i, nr;

	nr = c->pol_ops->victims(c->pol, bytes, now_ns, c->victim, max, no_victim, c);
	if (nr == 0)
		return 0;
	for (i = 0; i < nr; i++) {
		block_close(desc_of(c, c->victim[i]));
		probe_state(c, c->victim[i], KVSHM_BLOCK_PUBLISHED, KVSHM_BLOCK_EVICTING);
	}
	TESTPOINT("evict: closed, not scanned");
	cache_scan(c);
	restore_pinned(c, nr, now_ns);
	/* A victim's quarantined children are not pinned, or it would be: they go before it. */
	cache_sweep(c);
	for (i = 0; i < nr; i++)
		if (blk_state(c, c->victim[i]) == KVSHM_BLOCK_EVICTING)
			evict_one(c, c->victim[i]);
	return nr;
}

uint64_t evict(struct cache *c, uint64_t bytes, unsigned max, uint64_t now_ns)
{
	const uint64_t before = cache_used_bytes(c);
	unsigned stalls;

	if (!c->cfg.is_lockstep)
		order_time(c, now_ns);
	max = min_of(max, c->cfg.evict_batch);
	for (stalls = 0; stalls < CACHE_STALLS_MAX && cache_used_bytes(c) == before; stalls++) {
		if (evict_batch(c, bytes, max, now_ns))
			continue;
		/* The pins that the last scan saw may be over. */
		cache_scan(c);
		cache_sweep(c);
	}
	return before - cache_used_bytes(c);
}

bool make_room(struct cache *c, uint32_t length, uint64_t now_ns)
{
	const uint64_t need = slab_class_len(length);
	uint64_t batch = max_of(need, c->n.capacity_bytes / BATCH_SHARE);

	/* Bytes enough, but in slabs of other classes: move blocks together before any is lost. */
	if (c->n.capacity_bytes - cache_used_bytes(c) - c->n.retired_bytes >= need && relocate_for(c, length))
		return true;
	return evict(c, batch, c->cfg.evict_batch, now_ns) > 0;
}

uint64_t cache_reclaim(struct cache *c, uint64_t bytes, uint64_t now_ns)
{
	uint64_t freed = 0, step;

	while (freed < bytes) {
		step = evict(c, bytes - freed, c->cfg.evict_batch, now_ns);
		if (step == 0)
			break;
		freed += step;
	}
	return freed;
}
