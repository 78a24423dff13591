/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache_verify.c - the books against the descriptors
 *
 * The parts check themselves (arena, index, pins, slabs); here their sums meet: the ledger, the
 * allocator and the descriptors must agree on every byte, and what only the writer remembers (tree, lists,
 * free ids) must be what a walk over the descriptors would give.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "kvshm/base/compiler.h"
#include "kvshm/cache/cache_priv.h"

#define FIRST_LEN 160u

struct check {
	unsigned long nr;
	char *first;
};

static __printf(2, 3) void violated(struct check *k, const char *fmt, ...)
{
	va_list ap;

	if (k->nr++)
		return;
	va_start(ap, fmt);
	vsnprintf(k->first, FIRST_LEN, fmt, ap);
	va_end(ap);
}

static void check_line(struct check *k, const char *name, uint64_t ledger, uint64_t found)
{
	if (ledger != found)
		violated(k, "%s: ledger %" PRIu64 ", descriptors %" PRIu64, name, ledger, found);
}

static void check_arena(struct cache *c, struct check *k)
{
	struct arena_report r;
	struct slab_stats s;
	int ret = arena_verify(c->dir, &r);

	if (ret < 0 && r.violations == 0)
		violated(k, "arena could not be verified: %d", ret);
	if (r.violations) {
		violated(k, "%s", r.first);
		k->nr += r.violations - 1;
	}
	slab_nodes_stats(&c->slabs, &s);
	check_line(k, "capacity bytes", c->n.capacity_bytes, r.capacity_bytes);
	check_line(k, "granted bytes", c->n.granted_bytes, r.granted_bytes);
	check_line(k, "published bytes", c->n.published_bytes, r.published_bytes);
	check_line(k, "quarantined bytes", c->n.quarantined_bytes, r.quarantined_bytes);
	check_line(k, "free bytes", c->n.capacity_bytes - cache_used_bytes(c), r.free_bytes);
	check_line(k, "granted blocks", c->n.granted, r.nr_granted);
	check_line(k, "published blocks", c->n.published, r.nr_published);
	check_line(k, "quarantined blocks", c->n.quarantined, r.nr_quarantined);
	check_line(k, "bytes of the allocator", cache_used_bytes(c) + c->n.retired_bytes, s.used);
	if (slab_nodes_verify(&c->slabs) < 0)
		violated(k, "slabs: the allocator's books are wrong");
}

/* One pass: every taken id is in one list or the tree, in the state that it is there for. */
static void check_block(struct cache *c, struct check *k, blk_id_t id)
{
	const struct kvshm_desc *d = desc_of(c, id);
	const struct blk *b = &c->blk[id];
	const bool is_record = d->state & KVSHM_FLAG_RELOCATED;

	if (state_of(d->state) == KVSHM_BLOCK_EVICTING)
		violated(k, "block %u: evicting outside of a batch", id);
	if (state_of(d->state) == KVSHM_BLOCK_GRANTED && (b->first_child || b->sib_next || b->sib_prev))
		violated(k, "block %u: a grant with relatives", id);
	if (b->first_child && (is_record || desc_of(c, b->first_child)->parent != id))
		violated(k, "block %u: %u is not its child", id, b->first_child);
	if (b->sib_next && (c->blk[b->sib_next].sib_prev != id || desc_of(c, b->sib_next)->parent != d->parent))
		violated(k, "block %u: %u is not its sibling", id, b->sib_next);
	if (!b->sib_prev && d->parent && !is_record && state_of(d->state) != KVSHM_BLOCK_GRANTED &&
	    c->blk[d->parent].first_child != id)
		violated(k, "block %u: not in the tree", id);
}

static void check_ids(struct cache *c, struct check *k)
{
	uint32_t nr_free = 0, nr_unknown = 0;
	blk_id_t id;

	for (id = 1; id <= c->dir->max_blocks; id++) {
		const bool is_free = blk_state(c, id) == KVSHM_BLOCK_FREE;

		nr_free += is_free;
		nr_unknown += blk_state(c, id) == KVSHM_BLOCK_PUBLISHED && !(desc_of(c, id)->state & KVSHM_FLAG_CHECKSUM);
		if (is_free != id_map_is_free(&c->ids, id))
			violated(k, "block %u: the map of free ids is wrong", id);
		if (!is_free)
			check_block(c, k, id);
	}
	check_line(k, "free ids", c->ids.nr_free, nr_free);
	check_line(k, "published blocks without a checksum", c->n.checksum_unknown, nr_unknown);
}

static void check_list(struct cache *c, struct check *k, const struct blk_list *l, enum kvshm_block_state s,
		       uint64_t nr)
{
	uint64_t found = 0;
	blk_id_t id;

	for (id = l->head; id && found <= nr; id = c->blk[id].list_next, found++)
		if (blk_state(c, id) != s)
			violated(k, "block %u: in the list of state %d", id, (int)s);
	check_line(k, s == KVSHM_BLOCK_GRANTED ? "list of grants" : "quarantine", nr, found);
}

unsigned long cache_verify(struct cache *c, char *first)
{
	char text[FIRST_LEN] = "";
	struct check k = { .first = first };
	unsigned long nr;

	first[0] = '\0';
	check_arena(c, &k);
	nr = index_verify(c->dir, text);
	if (nr) {
		violated(&k, "%s", text);
		k.nr += nr - 1;
	}
	nr = pin_verify(c->pins, c->dir, text);
	if (nr) {
		violated(&k, "%s", text);
		k.nr += nr - 1;
	}
	check_ids(c, &k);
	check_list(c, &k, &c->granted, KVSHM_BLOCK_GRANTED, c->n.granted);
	check_list(c, &k, &c->quarantine, KVSHM_BLOCK_QUARANTINED, c->n.quarantined);
	return k.nr;
}
