/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recover.c - the content of a daemon that died between any two instructions
 *
 * Readers go on all the while: they pin published blocks, and what they pinned stays as it is.
 *
 *   1. EVICTING -> PUBLISHED, before anything else: freeing them would free pinned blocks
 *   2. claims: each block that stays takes its place from the allocator, in ascending offsets; grants of
 *      the dead are freed, and the record of a move that did not come to its last store is dropped
 *   3. links, in order of depth: a parent is there before its children, or the child is damaged and
 *      goes, and so does all below it
 *   4. the index is repaired in place; a block that cannot be found then goes, with its subtree
 *   5. the policy learns the blocks, parents first, all of one age
 *
 * A clean death leaves nothing for "damaged"; what is dropped there came from a broken file.
 */
#include <errno.h>
#include <stdlib.h>

#include "kvshm/arena/backing.h"
#include "kvshm/arena/namespace.h"
#include "kvshm/cache/cache_priv.h"

#define FIND_BATCH 64u
#define UNKNOWN_FLAG (KVSHM_FLAGS_MASK & ~(KVSHM_FLAG_NOPARENT | KVSHM_FLAG_CHECKSUM | KVSHM_FLAG_RELOCATED))

struct recovery {
	struct cache *c;
	bool (*is_owner_alive)(void *arg, uint32_t owner);
	void *arg;
	uint64_t *order;		/* sort key 32 | block id 32 */
	size_t nr;
	uint64_t nr_damaged;
};

static int cmp_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void order_add(struct recovery *r, uint32_t key, blk_id_t id)
{
	r->order[r->nr++] = (uint64_t)key << 32 | id;
}

static void order_sort(struct recovery *r)
{
	qsort(r->order, r->nr, sizeof(*r->order), cmp_u64);
}

static int add_extents(struct cache *c)
{
	uint32_t i, nr = READ_ONCE(c->dir->sb->nr_extents);

	if (nr > c->dir->max_extents)
		return -EUCLEAN;
	for (i = 0; i < nr; i++) {
		int ret = cache_add_extent(c, i);

		if (ret < 0)
			return ret == -ENOMEM ? ret : -EUCLEAN;
	}
	return 0;
}

/* The count is stored after the entry, so a death in between leaves a live entry that is not counted. */
static void count_namespaces(struct cache *c)
{
	uint32_t nr = 1;

	while (ns_entry(c->dir, nr))
		nr++;
	if (READ_ONCE(c->dir->sb->nr_ns) != nr)
		WRITE_ONCE(c->dir->sb->nr_ns, nr);
}

/* ---- 1 and 2: places ------------------------------------------------------------------------- */

/* The old place of a move whose last store is missing: the block is still there. */
static bool is_move_undone(const struct cache *c, const struct kvshm_desc *d)
{
	const struct kvshm_desc *m;

	if (!(d->state & KVSHM_FLAG_RELOCATED) || d->parent == 0 || d->parent > c->dir->max_blocks)
		return false;
	m = desc_of(c, d->parent);
	return state_of(m->state) != KVSHM_BLOCK_FREE && m->page == d->page;
}

static bool is_kept(const struct recovery *r, const struct kvshm_desc *d)
{
	uint32_t owner = state_owner(d->state);

	switch (state_of(d->state)) {
	case KVSHM_BLOCK_PUBLISHED:
		return true;
	case KVSHM_BLOCK_QUARANTINED:
		return !is_move_undone(r->c, d);
	case KVSHM_BLOCK_GRANTED:	/* the daemon's own died with it */
		return owner != 0 && r->is_owner_alive(r->arg, owner);
	default:
		return false;
	}
}

static bool is_state_sane(const struct kvshm_desc *d)
{
	const bool is_published = state_of(d->state) == KVSHM_BLOCK_PUBLISHED;

	if (state_generation(d->state) == 0 || d->state & UNKNOWN_FLAG)
		return false;
	if (state_of(d->state) == KVSHM_BLOCK_GRANTED)
		return !(d->state & KVSHM_FLAGS_MASK);
	if (is_published && !(d->state & KVSHM_FLAG_CHECKSUM) != (d->checksum == 0))
		return false;
	return state_owner(d->state) == 0;
}

static bool is_sane(const struct cache *c, const struct kvshm_desc *d)
{
	const struct kvshm_ns_entry *e = d->ns < READ_ONCE(c->dir->sb->nr_ns) ? ns_entry(c->dir, d->ns) : NULL;

	return e && is_state_sane(d) && d->length > 0 && d->length <= e->block_len && place_of(d) / HUGE_LEN < c->nr_units;
}

static void collect_kept(struct recovery *r)
{
	struct cache *c = r->c;
	blk_id_t id;

	if (READ_ONCE(desc_of(c, 0)->state))
		WRITE_ONCE(desc_of(c, 0)->state, 0);	/* never a block; nobody looks there */
	for (id = 1; id <= c->dir->max_blocks; id++) {
		if (blk_state(c, id) != KVSHM_BLOCK_EVICTING)
			continue;
		block_reopen(desc_of(c, id));
		probe_state(c, id, KVSHM_BLOCK_EVICTING, KVSHM_BLOCK_PUBLISHED);
	}
	for (id = 1; id <= c->dir->max_blocks; id++) {
		struct kvshm_desc *d = desc_of(c, id);

		if (state_of(d->state) == KVSHM_BLOCK_FREE) {
			if (d->state != state_make(KVSHM_BLOCK_FREE, 0, 0, state_generation(d->state)))
				block_scrub(d);
			continue;
		}
		if (is_kept(r, d) && is_sane(c, d)) {
			order_add(r, d->page, id);
			continue;
		}
		r->nr_damaged += state_of(d->state) == KVSHM_BLOCK_PUBLISHED;
		block_free(d);
	}
}

/* Of two that overlap, which is damage, the first one stays. */
static void claim_places(struct recovery *r)
{
	struct cache *c = r->c;
	size_t i, kept = 0;

	order_sort(r);
	for (i = 0; i < r->nr; i++) {
		blk_id_t id = (blk_id_t)r->order[i];
		struct kvshm_desc *d = desc_of(c, id);

		if (slab_nodes_claim(&c->slabs, place_of(d), d->length) < 0) {
			block_free(d);
			r->nr_damaged++;
			continue;
		}
		id_map_claim(&c->ids, id);
		unit_link(c, id);
		ledger_add(c, state_of(d->state), d->length);
		if (state_of(d->state) == KVSHM_BLOCK_GRANTED)
			blk_list_add(c, &c->granted, id);
		else
			r->order[kept++] = id;
	}
	r->nr = kept;
}

/* ---- 3: links -------------------------------------------------------------------------------- */

/* The parent has been looked at, as it is less deep. */
static bool is_linked(const struct cache *c, const struct kvshm_desc *d)
{
	const bool is_published = state_of(d->state) == KVSHM_BLOCK_PUBLISHED;
	const struct kvshm_desc *p;

	if (d->state & KVSHM_FLAG_RELOCATED)
		return !is_published;
	if (d->state & KVSHM_FLAG_NOPARENT)
		return d->parent == 0 && d->depth == 0;
	if (d->parent == 0 || d->parent > c->dir->max_blocks || d->depth >= KVSHM_CHAIN_MAX)
		return false;
	p = desc_of(c, d->parent);
	if (p->ns != d->ns || p->depth + 1 != d->depth || p->state & KVSHM_FLAG_RELOCATED)
		return false;
	return state_of(p->state) == KVSHM_BLOCK_PUBLISHED ||
	       (state_of(p->state) == KVSHM_BLOCK_QUARANTINED && !is_published);
}

static void link_blocks(struct recovery *r)
{
	struct cache *c = r->c;
	size_t i, kept = 0;

	for (i = 0; i < r->nr; i++)
		r->order[i] |= (uint64_t)desc_of(c, (blk_id_t)r->order[i])->depth << 32;
	order_sort(r);
	for (i = 0; i < r->nr; i++) {
		blk_id_t id = (blk_id_t)r->order[i];
		struct kvshm_desc *d = desc_of(c, id);

		if (!is_linked(c, d)) {
			blk_release(c, id);
			r->nr_damaged++;
			continue;
		}
		tree_link(c, id, d->state & KVSHM_FLAG_RELOCATED ? 0 : d->parent);
		r->order[kept++] = r->order[i];
	}
	r->nr = kept;
}

/* ---- 4 and 5: index and policy ---------------------------------------------------------------- */

/* Up to FIND_BATCH blocks of one namespace: is each found by its key?  Return: how many were looked at. */
static unsigned find_batch(const struct recovery *r, size_t from, bool *ret_found)
{
	const struct cache *c = r->c;
	const uint16_t ns = desc_of(c, (blk_id_t)r->order[from])->ns;
	struct kvshm_key key[FIND_BATCH];
	struct index_hit hit[FIND_BATCH];
	unsigned i, nr;

	for (nr = 0; nr < FIND_BATCH && from + nr < r->nr; nr++) {
		const struct kvshm_desc *d = desc_of(c, (blk_id_t)r->order[from + nr]);

		if (d->ns != ns)
			break;
		key[nr] = d->key;
	}
	index_find_many(c->dir, ns, key, nr, hit);
	for (i = 0; i < nr; i++)
		ret_found[i] = hit[i].id == (blk_id_t)r->order[from + i];
	return nr;
}

/* Deepest first, so that a block that cannot be found takes its whole subtree along. */
static void drop_subtree(struct recovery *r, blk_id_t root)
{
	struct cache *c = r->c;
	blk_id_t id, next;

	for (id = tree_first(c, root); id; id = next) {
		struct kvshm_desc *d = desc_of(c, id);

		next = tree_next(c, root, id);
		if (state_of(d->state) == KVSHM_BLOCK_PUBLISHED)
			index_remove(c->dir, d->ns, &d->key, id);
		tree_unlink(c, id, d->parent);
		blk_release(c, id);
		r->nr_damaged++;
	}
}

static void teach_block(struct recovery *r, blk_id_t id, bool is_found, uint64_t now_ns)
{
	struct cache *c = r->c;
	const struct kvshm_desc *d = desc_of(c, id);

	if (state_of(d->state) != KVSHM_BLOCK_PUBLISHED)
		return;
	if (is_found)
		teach_insert(c, id, 0, now_ns);
	else
		drop_subtree(r, id);
}

static void teach_policy(struct recovery *r, uint64_t now_ns)
{
	struct cache *c = r->c;
	bool is_found[FIND_BATCH];
	unsigned j, nr;
	size_t i;

	for (i = 0; i < r->nr; i += nr) {
		nr = find_batch(r, i, is_found);
		for (j = 0; j < nr; j++)
			teach_block(r, (blk_id_t)r->order[i + j], is_found[j], now_ns);
	}
	/* Children before parents. */
	for (i = r->nr; i-- > 0;)
		if (blk_state(c, (blk_id_t)r->order[i]) == KVSHM_BLOCK_QUARANTINED)
			blk_list_add(c, &c->quarantine, (blk_id_t)r->order[i]);
}

long cache_recover(struct cache *c, bool (*is_owner_alive)(void *arg, uint32_t owner), void *arg,
		   uint64_t now_ns)
{
	struct recovery r = { .c = c, .is_owner_alive = is_owner_alive, .arg = arg };
	int ret = add_extents(c);

	if (ret < 0)
		return ret;
	wipe_distrust(c);
	r.order = malloc((size_t)c->dir->max_blocks * sizeof(*r.order));
	if (!r.order)
		return -ENOMEM;
	count_namespaces(c);
	USDT(recover_step, 1);
	collect_kept(&r);
	USDT(recover_step, 2);
	claim_places(&r);
	USDT(recover_step, 3);
	link_blocks(&r);
	USDT(recover_step, 4);
	index_repair(c->dir);
	USDT(recover_step, 5);
	teach_policy(&r, now_ns);
	USDT(recover_step, 6);
	free(r.order);
	c->n.recovered = c->n.published;
	c->n.damaged = r.nr_damaged;
	cache_scan(c);
	cache_sweep(c);
	retire_blocks(c);
	return (long)c->n.published;
}
