/* SPDX-License-Identifier: Apache-2.0 */
/*
 * leaf_lru.c - the least recently used leaf first, in O(1)
 *
 * A use of block i is a use of the whole run root..i, so the true order of a block is the latest use
 * of anything in its subtree.  Refreshing a run of 2,048 blocks at each touch would cost 2,048 list
 * moves; only the deepest block is moved, and the rest is inherited when it matters, which is when a
 * parent loses its last child:
 *
 *   the list: every resident block, oldest use first, leaf or not, each with the stamp of its use
 *   a block leaves (victim or removed): a parent with an older stamp takes over its stamp and its place
 *   victims, from the old end:  a leaf is a victim
 *                               a block with children is taken off the list: one of them is younger, so
 *                               it comes back by the rule above before the last of them has left
 *
 * So a chain that nobody uses goes tail first, one block after the other, and a block is looked at a
 * bounded number of times for each use.  Order of arrival is the clock: touch rings are drained one
 * after the other, their times would only unsort the list.
 *
 * A leaf that is_pinned() names is in use: it counts as used now.  Otherwise a few thousand long pins
 * at the old end would be walked over at each call.
 */
#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "policy/policy.h"

#define SKIPS_MIN 1024u			/* pinned leaves looked at in a call, at least */

enum { F_RESIDENT = 1, F_LISTED = 2, F_VICTIM = 4 };

struct node {				/* index 0 is the list's head: next is the oldest */
	uint64_t stamp;			/* of the latest use known here */
	pol_id_t prev, next;
	pol_id_t parent;
	uint32_t nr_children;		/* resident and no victims */
	uint32_t bytes;
	uint32_t flags;
};
_Static_assert(sizeof(struct node) == 32, "state of a block");

struct policy {
	uint64_t stamp;
	uint32_t max_ids;
	struct node node[];		/* [max_ids + 1] */
};

static int leaf_lru_create(const struct policy_config *cfg, struct policy **ret_p)
{
	struct policy *p = calloc(1, sizeof(*p) + ((size_t)cfg->max_ids + 1) * sizeof(p->node[0]));

	if (!p)
		return -ENOMEM;
	p->max_ids = cfg->max_ids;
	*ret_p = p;
	return 0;
}

static void leaf_lru_destroy(struct policy *p)
{
	free(p);
}

static void list_del(struct policy *p, pol_id_t id)
{
	struct node *n = &p->node[id];

	if (!(n->flags & F_LISTED))
		return;
	p->node[n->prev].next = n->next;
	p->node[n->next].prev = n->prev;
	n->flags &= ~(uint32_t)F_LISTED;
}

/* List @id just older than @at; @at 0: as the youngest. */
static void list_add_before(struct policy *p, pol_id_t id, pol_id_t at)
{
	struct node *n = &p->node[id];

	n->next = at;
	n->prev = p->node[at].prev;
	p->node[n->prev].next = id;
	p->node[at].prev = id;
	n->flags |= F_LISTED;
}

static void refresh(struct policy *p, pol_id_t id)
{
	list_del(p, id);
	p->node[id].stamp = ++p->stamp;
	list_add_before(p, id, 0);
}

static void leaf_lru_insert(struct policy *p, const struct pol_block *b, uint64_t now_ns)
{
	const pol_id_t id = b->id, parent = b->parent;
	struct node *n = &p->node[id];

	assert(id > 0 && id <= p->max_ids && !(n->flags & F_RESIDENT));
	assert(parent == 0 || p->node[parent].flags & F_RESIDENT);
	*n = (struct node){ .parent = parent, .bytes = b->bytes, .flags = F_RESIDENT };
	if (parent)
		p->node[parent].nr_children++;
	refresh(p, id);
}

static void leaf_lru_touch(struct policy *p, pol_id_t id, uint32_t hints, uint64_t now_ns)
{
	if (p->node[id].flags & F_RESIDENT && !(p->node[id].flags & F_VICTIM))
		refresh(p, id);
}

/* @id leaves its place in the list, where its parent may have to follow; then it is off the list. */
static void leave(struct policy *p, pol_id_t id)
{
	struct node *n = &p->node[id], *parent = &p->node[n->parent];

	if (n->parent) {
		parent->nr_children--;
		if (parent->stamp <= n->stamp) {
			list_del(p, n->parent);
			parent->stamp = n->stamp;
			list_add_before(p, n->parent, n->next);
		}
	}
	list_del(p, id);
}

static void leaf_lru_remove(struct policy *p, pol_id_t id)
{
	struct node *n = &p->node[id];

	assert(n->flags & F_RESIDENT && n->nr_children == 0);
	if (!(n->flags & F_VICTIM))
		leave(p, id);
	n->flags = 0;
}

static unsigned leaf_lru_victims(struct policy *p, uint64_t bytes, uint64_t now_ns, pol_id_t *ret_ids,
				 unsigned max, int (*is_pinned)(void *arg, pol_id_t id), void *arg)
{
	unsigned nr = 0, skips = max > SKIPS_MIN / 8 ? 8 * max : SKIPS_MIN;
	const uint64_t end = p->stamp;	/* what is refreshed below is not looked at again */
	uint64_t sum = 0;
	pol_id_t id;

	while (nr < max && sum < bytes && (id = p->node[0].next) && p->node[id].stamp <= end) {
		struct node *n = &p->node[id];

		if (n->nr_children) {
			list_del(p, id);
		} else if (is_pinned && is_pinned(arg, id)) {
			refresh(p, id);
			if (--skips == 0)
				break;
		} else {
			leave(p, id);
			n->flags |= F_VICTIM;
			sum += n->bytes;
			ret_ids[nr++] = id;
		}
	}
	return nr;
}

/* Called youngest first, as root first implies: the order of before comes out of it. */
static void leaf_lru_restore(struct policy *p, pol_id_t id, uint64_t now_ns)
{
	struct node *n = &p->node[id];

	assert(n->flags & F_VICTIM);
	n->flags &= ~(uint32_t)F_VICTIM;
	if (n->parent)
		p->node[n->parent].nr_children++;
	list_add_before(p, id, p->node[0].next);
}

static void leaf_lru_stats(const struct policy *p, struct policy_stats *ret)
{
	*ret = (struct policy_stats){ .bytes = (uint64_t)p->max_ids * sizeof(p->node[0]),
				      .fixed_bytes = sizeof(*p) };
}

const struct policy_ops policy_leaf_lru = {
	.name = "leaf-lru",
	.summary = "least recently used leaf first; a use counts for the whole run from the root",
	.create = leaf_lru_create,
	.destroy = leaf_lru_destroy,
	.insert = leaf_lru_insert,
	.touch = leaf_lru_touch,
	.remove = leaf_lru_remove,
	.victims = leaf_lru_victims,
	.restore = leaf_lru_restore,
	.stats = leaf_lru_stats,
};
