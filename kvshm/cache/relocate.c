/* SPDX-License-Identifier: Apache-2.0 */
/*
 * relocate.c - a slab changes its class without losing its blocks
 *
 * Bytes are free, but not where the wanted class can have them.  The blocks of the slab that is
 * cheapest to empty move into free places of their own class:
 *
 *   copy to the new place                            death here: nothing has happened
 *   a free descriptor becomes GRANTED with the old   death here: a grant of the daemon, overlapping the
 *     place, then QUARANTINED | RELOCATED {block id}   block: recovery drops it, its page is the block's
 *   the block's page := new place  (RL-1)            from here on readers that resolve get the new one
 *   full fence, scan (PN-1)                          a pin in the subtree may stand for a reader of the
 *                                                      old place: it waits in quarantine
 *
 * The block's id, generation, state and index slot do not change, so no reader can miss it.
 *
 * Each move needs an id for the record of the old place, until a scan lets it go.  Where blocks are small, nearly
 * all ids are taken while bytes are free: then blocks move in portions, each with a scan of its own.
 */
#include <string.h>

#include "kvshm/arena/backing.h"
#include "kvshm/base/compiler.h"
#include "kvshm/base/testpoint.h"
#include "kvshm/cache/cache_priv.h"

#define PORTION_MIN 32u			/* moves that are worth a scan: with fewer ids, some must be evicted first */

struct window {
	uint64_t offset, len;
	unsigned nr_held;		/* free places inside it, kept out of the allocator's hands */
};

/* The blocks in the window.  Return: number, 0 if one of them cannot move now. */
static unsigned collect(struct cache *c, const struct window *w)
{
	uint64_t unit = w->offset / HUGE_LEN, end = (w->offset + w->len) / HUGE_LEN;
	unsigned nr = 0;
	blk_id_t id;

	for (; unit < end; unit++)
		for (id = c->unit_head[unit]; id; id = c->blk[id].unit_next) {
			if (blk_state(c, id) != KVSHM_BLOCK_PUBLISHED || cache_is_pinned(c, id) ||
			    nr == CACHE_MOVE_MAX)
				return 0;
			c->move[nr++] = id;
		}
	return nr;
}

/* A place for @length outside of the window.  Return: false: none. */
static bool place_outside(struct cache *c, struct window *w, uint32_t length, uint64_t *ret_place)
{
	uint64_t place;

	while (place_get(c, slab_nodes_of(&c->slabs, w->offset), length, &place) == 0) {
		if (place - w->offset >= w->len) {
			*ret_place = place;
			return true;
		}
		if (w->nr_held == CACHE_MOVE_MAX) {
			slab_nodes_put(&c->slabs, place, length);
			return false;
		}
		c->held_length[w->nr_held] = length;
		c->held[w->nr_held++] = place;
	}
	return false;
}

static void move_block(struct cache *c, blk_id_t id, blk_id_t record, uint64_t place)
{
	struct kvshm_desc *d = desc_of(c, id), *r = desc_of(c, record);

	wipe_overwritten(c, place, d->length, d->ns);
	memcpy(arena_ptr(c->arena, place), arena_ptr(c->arena, place_of(d)), d->length);
	block_grant(r, d->page, d->length, d->ns, 0);
	TESTPOINT("relocate: old place granted");
	block_quarantine_place(r, id);
	probe_state(c, record, KVSHM_BLOCK_FREE, KVSHM_BLOCK_QUARANTINED);
	TESTPOINT("relocate: old place recorded");
	unit_unlink(c, id);
	USDT(relocate, id, d->page, place / KVSHM_PAGE);
	block_move(d, (uint32_t)(place / KVSHM_PAGE));
	TESTPOINT("relocate: moved");
	unit_link(c, id);
	c->blk[record] = (struct blk){ 0 };
	unit_link(c, record);
	blk_list_add(c, &c->quarantine, record);
	ledger_add(c, KVSHM_BLOCK_QUARANTINED, d->length);
	c->n.relocations++;
}

static bool move_one(struct cache *c, struct window *w, blk_id_t id)
{
	uint32_t length = desc_of(c, id)->length;
	blk_id_t record;
	uint64_t place;

	if (!place_outside(c, w, length, &place))
		return false;
	if (id_map_take(&c->ids, 1, &record) == 0) {
		slab_nodes_put(&c->slabs, place, length);
		return false;
	}
	move_block(c, id, record, place);
	return true;
}

/* As many of c->move[@first..@nr) as find a place and an id.  Return: how many. */
static unsigned move_portion(struct cache *c, struct window *w, unsigned first, unsigned nr)
{
	unsigned i = first;

	while (i < nr && move_one(c, w, c->move[i]))
		i++;
	if (i > first) {
		cache_scan(c);
		cache_sweep(c);
	}
	return i - first;
}

unsigned relocate_for(struct cache *c, uint32_t length)
{
	unsigned i, nr, done, moved = 0;
	struct window w = { 0 };

	if (slab_nodes_victim(&c->slabs, c->node, slab_class(length), &w.offset, &w.len) == 0)
		return 0;
	nr = collect(c, &w);
	if (c->ids.nr_free < min_of(nr, PORTION_MIN))
		return 0;
	do {
		done = move_portion(c, &w, moved, nr);
		moved += done;
	} while (done && moved < nr);
	for (i = 0; i < w.nr_held; i++)
		slab_nodes_put(&c->slabs, c->held[i], c->held_length[i]);
	return moved;
}
