/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache_priv.h - what the files of cache/ share; all of it belongs to the writer thread
 *
 * The truth lies in the descriptors.  This is what makes walking them cheap, and is rebuilt from them
 * after a restart:
 *   tree    first_child, sib_*: the published and quarantined children of a block
 *   list    the grants, or the quarantine; the quarantine is ordered children before parents
 *   unit    the blocks that begin in a 2 MiB unit of the arena, for relocation
 */
#ifndef KVSHM_CACHE_CACHE_PRIV_H
#define KVSHM_CACHE_CACHE_PRIV_H

#include "kvshm/arena/block.h"
#include "kvshm/arena/slab_nodes.h"
#include "kvshm/base/usdt.h"
#include "kvshm/cache/cache.h"
#include "kvshm/cache/id_map.h"
#include "kvshm/cache/life.h"
#include "kvshm/stats/events.h"
#include "kvshm/stats/statpage.h"
#include "policy/policy.h"

#define CACHE_MOVE_MAX 16384u		/* blocks of a slab that is emptied by relocation */
#define CACHE_STALLS_MAX 4u		/* batches without a victim freed before a put is dropped */

struct blk {
	blk_id_t first_child, sib_next, sib_prev;
	blk_id_t list_next;
	union {
		blk_id_t list_prev;
		uint32_t born_at;	/* published, so in no list: life.h */
	};
	blk_id_t unit_next, unit_prev;
	uint32_t used_at;		/* since it was published; 0: not yet */
};
_Static_assert(sizeof(struct blk) == 32, "32 bytes a block here, 32 in the policy");

struct blk_list {
	blk_id_t head, tail;
};

struct cache {
	struct cache_config cfg;
	struct statpage *stats;		/* or NULL */
	struct directory *dir;
	struct arena *arena;
	struct pin_set *pins;
	const struct policy_ops *pol_ops;	/* policy_exact, around the one that was asked for */
	struct policy *pol;
	struct slab_nodes slabs;
	int near;			/* NUMA node where grants are wanted, -1: anywhere */
	uint32_t node;			/* where those of this cache_grant() are tried first */
	struct id_map ids;
	struct blk *blk;		/* [max_blocks + 1] */
	blk_id_t *unit_head;		/* [nr_units] */
	uint16_t *unit_ns;		/* [nr_units]: wipe.c */
	size_t nr_units;
	uint32_t nr_extents;		/* handed to the allocator */
	struct blk_list granted, quarantine;
	pol_id_t *victim;		/* [cfg.evict_batch] */
	blk_id_t *move;			/* [CACHE_MOVE_MAX] */
	uint64_t *held;			/* [CACHE_MOVE_MAX] places kept out of the way, */
	uint32_t *held_length;		/* and for blocks of which length */
	blk_id_t protect;		/* no victim now: the next block's parent */
	struct life_ghost ghost[LIFE_GHOSTS];
	uint64_t tick_ns;		/* of the last scan by cache_tick() */
	uint64_t order_ns;		/* the policy's time */
	uint64_t order_tick_ns;		/* lockstep: of its last tick */
	struct cache_counts n;
};

static inline struct kvshm_desc *desc_of(const struct cache *c, blk_id_t id)
{
	return &c->dir->desc[id];
}

static inline enum kvshm_block_state blk_state(const struct cache *c, blk_id_t id)
{
	return state_of(READ_ONCE(desc_of(c, id)->state));
}

static inline uint64_t place_of(const struct kvshm_desc *d)
{
	return (uint64_t)d->page * KVSHM_PAGE;
}

static inline uint64_t cache_used_bytes(const struct cache *c)
{
	return c->n.granted_bytes + c->n.published_bytes + c->n.quarantined_bytes;
}

/* A block has changed its state. */
static inline void probe_state(const struct cache *c, blk_id_t id, enum kvshm_block_state from,
			       enum kvshm_block_state to)
{
	USDT(block_state, id, from, to, state_generation(desc_of(c, id)->state));
}

/* Pinned, or an ancestor of a pinned block, at the last scan. */
static inline bool cache_is_pinned(const struct cache *c, blk_id_t id)
{
	return pin_set_is_pinned(c->pins, id);
}

/* ---- blk.c: tree, lists, ledger ------------------------------------------------------------ */

void tree_link(struct cache *c, blk_id_t id, blk_id_t parent);
void tree_unlink(struct cache *c, blk_id_t id, blk_id_t parent);

/*
 * The subtree of @root, children before parents: start with tree_first(), until 0.  The block
 * before the current one may be unlinked already.
 */
blk_id_t tree_first(const struct cache *c, blk_id_t root);
blk_id_t tree_next(const struct cache *c, blk_id_t root, blk_id_t id);

void blk_list_add(struct cache *c, struct blk_list *l, blk_id_t id);
void blk_list_del(struct cache *c, struct blk_list *l, blk_id_t id);

/* The block lies at its descriptor's place from now on, or no longer. */
void unit_link(struct cache *c, blk_id_t id);
void unit_unlink(struct cache *c, blk_id_t id);

/* Move a block's bytes between the ledger's lines; FREE is not a line. */
void ledger_add(struct cache *c, enum kvshm_block_state s, uint32_t length);
void ledger_sub(struct cache *c, enum kvshm_block_state s, uint32_t length);

/* A grant, or a block that is out of index, policy and tree, becomes FREE; its place and id return. */
void blk_release(struct cache *c, blk_id_t id);

/* ---- reclaim.c ------------------------------------------------------------------------------ */

/* Full fence and scan (PN-1), for blocks that were closed or moved before. */
void cache_scan(struct cache *c);

/* Free what lies in quarantine and was not pinned at the last scan, children first. */
void cache_sweep(struct cache *c);

/* Evict one batch, @bytes or @max blocks, whichever comes first.  Return: bytes freed, of all kinds. */
uint64_t evict(struct cache *c, uint64_t bytes, unsigned max, uint64_t now_ns);

/* Blocks were moved or evicted, so that a place of @length may be had now.  Return: false: none was. */
bool make_room(struct cache *c, uint32_t length, uint64_t now_ns);

/* note.c: tell those who listen; @reason of a removal, else 0. */
void note(struct cache *c, enum kvshm_event_type type, blk_id_t id, uint32_t hint, uint64_t now_ns, uint8_t reason);

/* ---- the other files ------------------------------------------------------------------------ */

/* grant.c: a grant of @owner by its reference.  Return: 0, -EINVAL, -ESTALE, -EPERM. */
int grant_check(const struct cache *c, uint32_t owner, struct kvshm_block_ref ref);
/* grant.c: the grant becomes FREE. */
void grant_end(struct cache *c, blk_id_t id);

/* publish.c: one checked grant.  Return: 0; -ENOBUFS capacity, all pinned; -ENOSPC index full. */
int publish(struct cache *c, blk_id_t id, const struct block_info *info, uint32_t hints, uint64_t now_ns);
/* Tell the policy of a published block, its parent before it. */
void teach_insert(struct cache *c, blk_id_t id, uint32_t hints, uint64_t now_ns);

/* order.c: a clock says @now_ns; call before what happens then.  Return: the policy's time. */
uint64_t order_time(struct cache *c, uint64_t now_ns);

/* wipe.c: a place became free, is granted, is overwritten by a moved block; nothing is known of any. */
void wipe_freed(struct cache *c, uint64_t place, uint32_t length);
void wipe_granted(struct cache *c, uint64_t place, uint32_t length, uint16_t ns);
void wipe_overwritten(struct cache *c, uint64_t place, uint32_t length, uint16_t ns);
void wipe_distrust(struct cache *c);

/*
 * retire.c: places by way of the list of bad memory: one for @length (as slab_nodes_get()), one that is
 * free again; and all published blocks that lie in it, after a restart.
 */
int place_get(struct cache *c, uint32_t node, uint32_t length, uint64_t *ret_place);
void place_put(struct cache *c, uint64_t place, uint32_t length);
void retire_blocks(struct cache *c);

/* drop.c: the subtree of a published block at once, whatever its size.  Return: blocks. */
long drop_at_once(struct cache *c, blk_id_t root);

/* relocate.c: empty a slab, so that a place of @length may be had.  Return: blocks moved. */
unsigned relocate_for(struct cache *c, uint32_t length);

#endif
