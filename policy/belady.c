/* SPDX-License-Identifier: Apache-2.0 */
/*
 * belady.c - the leaf used furthest in the future, deepest first; for the replayer, which knows the future
 *
 * A parent's next use is never later than its child's, so looking at leaves alone is enough.  With bypass
 * (the caller lets a new block be a victim at once) nothing that goes by the same rules hits more often.
 */
#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "policy/policy.h"

enum { F_RESIDENT = 1, F_VICTIM = 2 };

struct node {
	uint64_t next_use;
	pol_id_t parent;
	uint32_t kids, depth, bytes;
	uint32_t place;			/* in the heap + 1, 0: not there */
	uint32_t flags;
};

struct policy {
	struct policy_config cfg;
	struct node *node;
	pol_id_t *heap;			/* the victim on top */
	uint32_t nr;
};

static void belady_destroy(struct policy *p)
{
	if (!p)
		return;
	free(p->node);
	free(p->heap);
	free(p);
}

static int belady_create(const struct policy_config *cfg, struct policy **ret_p)
{
	struct policy *p;

	if (!cfg->next_use)
		return -EINVAL;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->cfg = *cfg;
	p->node = calloc(cfg->max_ids + 1ull, sizeof(*p->node));
	p->heap = calloc(cfg->max_ids + 1ull, sizeof(*p->heap));
	if (!p->node || !p->heap) {
		belady_destroy(p);
		return -ENOMEM;
	}
	*ret_p = p;
	return 0;
}

static bool is_before(const struct policy *p, pol_id_t a, pol_id_t b)
{
	const struct node *x = &p->node[a], *y = &p->node[b];

	if (x->next_use != y->next_use)
		return x->next_use > y->next_use;
	return x->depth != y->depth ? x->depth > y->depth : a < b;
}

static void put_at(struct policy *p, uint32_t i, pol_id_t id)
{
	p->heap[i] = id;
	p->node[id].place = i + 1;
}

static void sift_up(struct policy *p, uint32_t i)
{
	const pol_id_t id = p->heap[i];

	for (; i && is_before(p, id, p->heap[(i - 1) / 2]); i = (i - 1) / 2)
		put_at(p, i, p->heap[(i - 1) / 2]);
	put_at(p, i, id);
}

static void sift_down(struct policy *p, uint32_t i)
{
	const pol_id_t id = p->heap[i];
	uint32_t kid;

	while ((kid = 2 * i + 1) < p->nr) {
		kid += kid + 1 < p->nr && is_before(p, p->heap[kid + 1], p->heap[kid]);
		if (!is_before(p, p->heap[kid], id))
			break;
		put_at(p, i, p->heap[kid]);
		i = kid;
	}
	put_at(p, i, id);
}

static void heap_add(struct policy *p, pol_id_t id)
{
	put_at(p, p->nr++, id);
	sift_up(p, p->nr - 1);
}

static void heap_del(struct policy *p, pol_id_t id)
{
	const uint32_t i = p->node[id].place - 1;
	const pol_id_t last = p->heap[--p->nr];

	p->node[id].place = 0;
	if (last == id)
		return;
	put_at(p, i, last);
	sift_up(p, i);
	sift_down(p, p->node[last].place - 1);
}

static void settle(struct policy *p, pol_id_t id)
{
	const pol_id_t up = p->node[id].parent;

	if (up && p->node[up].kids++ == 0 && p->node[up].place)
		heap_del(p, up);
	heap_add(p, id);
}

static void leave(struct policy *p, pol_id_t id)
{
	const pol_id_t up = p->node[id].parent;

	heap_del(p, id);
	if (up && --p->node[up].kids == 0 && !(p->node[up].flags & F_VICTIM))
		heap_add(p, up);
}

static void belady_insert(struct policy *p, const struct pol_block *b, uint64_t now_ns)
{
	struct node *n = &p->node[b->id];

	assert(b->id > 0 && b->id <= p->cfg.max_ids && !(n->flags & F_RESIDENT));
	*n = (struct node){ .next_use = p->cfg.next_use(p->cfg.next_use_arg, b->id), .parent = b->parent,
			    .depth = b->parent ? p->node[b->parent].depth + 1 : 0, .bytes = b->bytes,
			    .flags = F_RESIDENT };
	settle(p, b->id);
}

static void belady_touch(struct policy *p, pol_id_t id, uint32_t hints, uint64_t now_ns)
{
	for (; id; id = p->node[id].parent) {
		struct node *n = &p->node[id];

		n->next_use = p->cfg.next_use(p->cfg.next_use_arg, id);
		if (!n->place)
			continue;
		heap_del(p, id);
		heap_add(p, id);
	}
}

static void belady_remove(struct policy *p, pol_id_t id)
{
	assert(p->node[id].flags & F_RESIDENT && p->node[id].kids == 0);
	if (!(p->node[id].flags & F_VICTIM))
		leave(p, id);
	p->node[id].flags = 0;
}

static unsigned belady_victims(struct policy *p, uint64_t bytes, uint64_t now_ns, pol_id_t *ret_ids,
			       unsigned max, int (*is_pinned)(void *arg, pol_id_t id), void *arg)
{
	unsigned nr = 0, nr_pinned = 0;
	uint64_t sum = 0;
	pol_id_t pinned[64];

	while (nr < max && sum < bytes && p->nr && nr_pinned < 64) {
		const pol_id_t id = p->heap[0];

		if (is_pinned && is_pinned(arg, id)) {
			heap_del(p, id);
			pinned[nr_pinned++] = id;
			continue;
		}
		leave(p, id);
		p->node[id].flags |= F_VICTIM;
		sum += p->node[id].bytes;
		ret_ids[nr++] = id;
	}
	while (nr_pinned)
		heap_add(p, pinned[--nr_pinned]);
	return nr;
}

static void belady_restore(struct policy *p, pol_id_t id, uint64_t now_ns)
{
	p->node[id].flags = F_RESIDENT;
	settle(p, id);
}

const struct policy_ops policy_belady = {
	.name = "belady",
	.summary = "furthest next use first: what could be had with the future known (replayer only)",
	.flags = POLICY_ORACLE,
	.create = belady_create,
	.destroy = belady_destroy,
	.insert = belady_insert,
	.touch = belady_touch,
	.remove = belady_remove,
	.victims = belady_victims,
	.restore = belady_restore,
};
