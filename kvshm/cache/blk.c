/* SPDX-License-Identifier: Apache-2.0 */
/* blk.c - the writer's private record of a block: tree, lists, ledger */
#include <assert.h>

#include "kvshm/arena/backing.h"
#include "kvshm/cache/cache_priv.h"

void tree_link(struct cache *c, blk_id_t id, blk_id_t parent)
{
	struct blk *b = &c->blk[id], *p = &c->blk[parent];

	b->first_child = b->sib_prev = b->sib_next = 0;
	if (!parent)
		return;
	b->sib_next = p->first_child;
	if (b->sib_next)
		c->blk[b->sib_next].sib_prev = id;
	p->first_child = id;
}

void tree_unlink(struct cache *c, blk_id_t id, blk_id_t parent)
{
	struct blk *b = &c->blk[id];

	assert(b->first_child == 0);
	if (b->sib_prev)
		c->blk[b->sib_prev].sib_next = b->sib_next;
	else if (parent)
		c->blk[parent].first_child = b->sib_next;
	if (b->sib_next)
		c->blk[b->sib_next].sib_prev = b->sib_prev;
	b->sib_prev = b->sib_next = 0;
}

blk_id_t tree_first(const struct cache *c, blk_id_t root)
{
	while (c->blk[root].first_child)
		root = c->blk[root].first_child;
	return root;
}

blk_id_t tree_next(const struct cache *c, blk_id_t root, blk_id_t id)
{
	if (id == root)
		return 0;
	if (c->blk[id].sib_next)
		return tree_first(c, c->blk[id].sib_next);
	return desc_of(c, id)->parent;
}

void blk_list_add(struct cache *c, struct blk_list *l, blk_id_t id)
{
	struct blk *b = &c->blk[id];

	b->list_next = 0;
	b->list_prev = l->tail;
	if (l->tail)
		c->blk[l->tail].list_next = id;
	else
		l->head = id;
	l->tail = id;
}

void blk_list_del(struct cache *c, struct blk_list *l, blk_id_t id)
{
	struct blk *b = &c->blk[id];

	if (b->list_prev)
		c->blk[b->list_prev].list_next = b->list_next;
	else
		l->head = b->list_next;
	if (b->list_next)
		c->blk[b->list_next].list_prev = b->list_prev;
	else
		l->tail = b->list_prev;
	b->list_next = b->list_prev = 0;
}

static blk_id_t *unit_of(struct cache *c, blk_id_t id)
{
	return &c->unit_head[place_of(desc_of(c, id)) / HUGE_LEN];
}

void unit_link(struct cache *c, blk_id_t id)
{
	blk_id_t *head = unit_of(c, id);
	struct blk *b = &c->blk[id];

	b->unit_prev = 0;
	b->unit_next = *head;
	if (*head)
		c->blk[*head].unit_prev = id;
	*head = id;
}

void unit_unlink(struct cache *c, blk_id_t id)
{
	struct blk *b = &c->blk[id];

	if (b->unit_prev)
		c->blk[b->unit_prev].unit_next = b->unit_next;
	else
		*unit_of(c, id) = b->unit_next;
	if (b->unit_next)
		c->blk[b->unit_next].unit_prev = b->unit_prev;
	b->unit_prev = b->unit_next = 0;
}

static void ledger_line(struct cache *c, enum kvshm_block_state s, uint64_t **ret_bytes, uint64_t **ret_nr)
{
	switch (s) {
	case KVSHM_BLOCK_GRANTED:
		*ret_bytes = &c->n.granted_bytes;
		*ret_nr = &c->n.granted;
		break;
	case KVSHM_BLOCK_QUARANTINED:
		*ret_bytes = &c->n.quarantined_bytes;
		*ret_nr = &c->n.quarantined;
		break;
	default:			/* EVICTING counts as published */
		*ret_bytes = &c->n.published_bytes;
		*ret_nr = &c->n.published;
		break;
	}
}

void ledger_add(struct cache *c, enum kvshm_block_state s, uint32_t length)
{
	uint64_t *bytes, *nr;

	ledger_line(c, s, &bytes, &nr);
	*bytes += slab_class_len(length);
	*nr += 1;
}

void ledger_sub(struct cache *c, enum kvshm_block_state s, uint32_t length)
{
	uint64_t *bytes, *nr;

	ledger_line(c, s, &bytes, &nr);
	assert(*nr > 0 && *bytes >= slab_class_len(length));
	*bytes -= slab_class_len(length);
	*nr -= 1;
}

void blk_release(struct cache *c, blk_id_t id)
{
	struct kvshm_desc *d = desc_of(c, id);
	const enum kvshm_block_state from = state_of(d->state);
	uint64_t place = place_of(d);
	uint32_t length = d->length;

	ledger_sub(c, from, length);
	unit_unlink(c, id);
	block_free(d);
	probe_state(c, id, from, KVSHM_BLOCK_FREE);
	place_put(c, place, length);
	id_map_put(&c->ids, id, 1);
}
