/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exact.c - hints around a policy
 *
 * Victims are leaves, so holding the deepest block of a path holds all of it: the policy is told that it is
 * pinned.  A closed tail is followed from its leaf upwards; its blocks carry a mark, which a use, or a new block
 * below, takes away again.  Marked blocks have no child but the one that is marked too, so a path that others share
 * is never closed.
 *
 *     owner_head[]  ->  hold -> hold      by owner, for tickets and goodbyes
 *     id_head[]     ->  hold -> hold      by block, for uses
 */
#include "policy/exact.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kvshm/base/compiler.h"
#include "policy/table.h"

#define HEADS 1024u
#define CLOSED_MAX 4096u		/* tails remembered; a further one is lost */
#define CHECK_NS 1000000000ull

enum { MARK_CLOSED = 1, MARK_TAKEN = 2 };

struct node {
	pol_id_t parent;
	uint32_t kids;			/* resident and not taken as victims of ours */
	uint32_t bytes;
	uint16_t holds;
	uint8_t marks;
};
_Static_assert(sizeof(struct node) == 16, "for each block");

struct hold {
	struct exact_hold h;
	uint32_t next_of_owner, next_of_id;	/* hold + 1; the free list uses next_of_id */
};

struct tally {				/* of the owners that share a head: as good as exact, at less cost */
	uint32_t nr;
	uint64_t bytes;
};

struct policy {				/* the wrapper's; what it wraps is behind .inner */
	const struct policy_ops *ops;
	struct policy *inner;
	struct node *node;		/* [max_ids + 1] */
	uint32_t max_ids;
	struct hold hold[EXACT_HOLDS];
	uint32_t free_hold;		/* + 1; those given back */
	uint32_t nr_fresh;		/* the first so many were used: the rest of the memory is not touched */
	uint32_t owner_head[HEADS], id_head[HEADS];
	struct tally tally[HEADS];	/* by owner_head */
	pol_id_t closed[CLOSED_MAX];	/* ring: next block of each tail */
	uint32_t closed_head, nr_closed;
	uint64_t check_ns;
	bool is_crowded;		/* a victim was spared for a hold */
	struct exact_counts n;
	int (*is_pinned)(void *arg, pol_id_t id);	/* of the call in progress */
	void *arg;
};

static uint32_t head_of(uint32_t n)
{
	return n * 2654435761u >> 22;
}
_Static_assert(HEADS == 1u << 10, "head_of()");

/* ---- holds ------------------------------------------------------------------------------------------ */

static void unlink_owner(struct policy *p, uint32_t i)
{
	uint32_t *at = &p->owner_head[head_of(p->hold[i].h.owner)];

	while (*at != i + 1)
		at = &p->hold[*at - 1].next_of_owner;
	*at = p->hold[i].next_of_owner;
}

static void unlink_id(struct policy *p, uint32_t i)
{
	uint32_t *at = &p->id_head[head_of(p->hold[i].h.id)];

	while (*at != i + 1)
		at = &p->hold[*at - 1].next_of_id;
	*at = p->hold[i].next_of_id;
}

static void end_hold(struct policy *p, uint32_t i)
{
	struct hold *h = &p->hold[i];
	struct tally *t = &p->tally[head_of(h->h.owner)];

	unlink_owner(p, i);
	unlink_id(p, i);
	p->node[h->h.id].holds--;
	t->nr--;
	t->bytes -= h->h.bytes;
	p->n.holds--;
	p->n.held_bytes -= h->h.bytes;
	h->h.id = 0;
	h->next_of_id = p->free_hold;
	p->free_hold = i + 1;
}

static bool has_room(uint64_t used, uint64_t more, uint64_t limit)
{
	return used <= limit && more <= limit - used;
}

int exact_hold(struct policy *p, const struct exact_hold *h, const struct exact_limits *limits)
{
	const uint32_t o = head_of(h->owner), b = head_of(h->id);
	struct tally *t = &p->tally[o];
	uint32_t i;

	if (!h->id || h->id > p->max_ids || !p->node[h->id].bytes || p->node[h->id].marks & MARK_TAKEN)
		return 0;
	if ((!p->free_hold && p->nr_fresh == EXACT_HOLDS) || t->nr >= EXACT_OWNER_HOLDS || !has_room(t->bytes, h->bytes, limits->owner_bytes) ||
	    !has_room(p->n.held_bytes, h->bytes, limits->all_bytes)) {
		p->n.refused++;
		return 0;
	}
	i = p->free_hold ? p->free_hold - 1 : p->nr_fresh++;
	if (p->free_hold)
		p->free_hold = p->hold[i].next_of_id;
	p->hold[i] = (struct hold){ .h = *h, .next_of_owner = p->owner_head[o], .next_of_id = p->id_head[b] };
	p->owner_head[o] = p->id_head[b] = i + 1;
	p->node[h->id].holds++;
	t->nr++;
	t->bytes += h->bytes;
	p->n.holds++;
	p->n.held++;
	p->n.held_bytes += h->bytes;
	return 1;
}

static unsigned release(struct policy *p, uint32_t owner, bool is_all, uint64_t ticket)
{
	uint32_t i = p->owner_head[head_of(owner)], next;
	unsigned nr = 0;

	for (; i; i = next) {
		const struct exact_hold *h = &p->hold[i - 1].h;

		next = p->hold[i - 1].next_of_owner;
		if (h->owner != owner || (!is_all && h->ticket != ticket))
			continue;
		end_hold(p, i - 1);
		nr++;
	}
	return nr;
}

unsigned exact_release(struct policy *p, uint32_t owner, uint64_t ticket)
{
	return release(p, owner, false, ticket);
}

unsigned exact_owner_gone(struct policy *p, uint32_t owner)
{
	return release(p, owner, true, 0);
}

/* One request that was queued for @id has run: of several the one that would end first. */
static void end_queued(struct policy *p, pol_id_t id)
{
	uint32_t i, first = 0;

	for (i = p->id_head[head_of(id)]; i; i = p->hold[i - 1].next_of_id) {
		const struct exact_hold *h = &p->hold[i - 1].h;

		if (h->id == id && h->is_queued && (!first || h->until_ns < p->hold[first - 1].h.until_ns))
			first = i;
	}
	if (first)
		end_hold(p, first - 1);
}

static void end_of_block(struct policy *p, pol_id_t id)
{
	uint32_t i = p->id_head[head_of(id)], next;

	for (; i && p->node[id].holds; i = next) {
		next = p->hold[i - 1].next_of_id;
		if (p->hold[i - 1].h.id == id)
			end_hold(p, i - 1);
	}
}

static void end_expired(struct policy *p, uint64_t now_ns)
{
	uint32_t i;

	if (!p->n.holds || now_ns - p->check_ns < CHECK_NS)
		return;
	p->check_ns = now_ns;
	for (i = 0; i < EXACT_HOLDS; i++)
		if (p->hold[i].h.id && p->hold[i].h.until_ns <= now_ns) {
			end_hold(p, i);
			p->n.expired++;
		}
}

/* Nothing was found but what is held.  Return: did the holds of the lowest priority end? */
static bool yield(struct policy *p)
{
	uint8_t lowest = UINT8_MAX;
	uint32_t i;

	if (!p->is_crowded || !p->n.holds)
		return false;
	for (i = 0; i < EXACT_HOLDS; i++)
		if (p->hold[i].h.id)
			lowest = min_of(lowest, p->hold[i].h.priority);
	for (i = 0; i < EXACT_HOLDS; i++)
		if (p->hold[i].h.id && p->hold[i].h.priority == lowest) {
			end_hold(p, i);
			p->n.yielded++;
		}
	return true;
}

/* ---- closed tails -------------------------------------------------------------------------------------- */

static void unmark_up(struct policy *p, pol_id_t id)
{
	for (; id && p->node[id].marks & MARK_CLOSED; id = p->node[id].parent)
		p->node[id].marks &= (uint8_t)~MARK_CLOSED;
}

unsigned exact_close(struct policy *p, pol_id_t id, unsigned nr)
{
	unsigned n = 0;
	pol_id_t b;

	if (!id || id > p->max_ids || p->nr_closed == CLOSED_MAX)
		return 0;
	for (b = id; b && n < nr; b = p->node[b].parent, n++) {
		struct node *at = &p->node[b];

		if (!at->bytes || at->kids != (b != id) || at->holds || at->marks)
			break;
		at->marks |= MARK_CLOSED;
	}
	if (n)
		p->closed[(p->closed_head + p->nr_closed++) % CLOSED_MAX] = id;
	p->n.closed += n;
	return n;
}

static void closed_put_back(struct policy *p, pol_id_t id)
{
	p->closed[(p->closed_head + p->nr_closed++) % CLOSED_MAX] = id;
}

static pol_id_t closed_get(struct policy *p)
{
	const pol_id_t id = p->closed[p->closed_head];

	p->closed_head = (p->closed_head + 1) % CLOSED_MAX;
	p->nr_closed--;
	return id;
}

/* Tails first, each as far as it goes; who is pinned waits for the next call. */
static unsigned take_closed(struct policy *p, uint64_t bytes, pol_id_t *ret_ids, unsigned max)
{
	uint32_t tails = p->nr_closed;
	uint64_t sum = 0;
	unsigned nr = 0;

	while (tails-- && nr < max && sum < bytes) {
		pol_id_t id = closed_get(p);

		while (nr < max && sum < bytes && p->node[id].marks == MARK_CLOSED && !p->node[id].kids &&
		       !p->node[id].holds && !(p->is_pinned && p->is_pinned(p->arg, id))) {
			p->node[id].marks = MARK_TAKEN;
			sum += p->node[id].bytes;
			ret_ids[nr++] = id;
			id = p->node[id].parent;
			p->node[id].kids -= id != 0;
		}
		if (p->node[id].marks == MARK_CLOSED)
			closed_put_back(p, id);
	}
	return nr;
}

/* ---- the ops --------------------------------------------------------------------------------------------- */

static void exact_insert(struct policy *p, const struct pol_block *b, uint64_t now_ns)
{
	p->node[b->id] = (struct node){ .parent = b->parent, .bytes = b->bytes };
	if (b->parent) {
		unmark_up(p, b->parent);
		p->node[b->parent].kids++;
	}
	p->ops->insert(p->inner, b, now_ns);
}

static void exact_touch(struct policy *p, pol_id_t id, uint32_t hints, uint64_t now_ns)
{
	if (p->n.holds && p->node[id].holds)
		end_queued(p, id);
	if (p->nr_closed)
		unmark_up(p, id);
	p->ops->touch(p->inner, id, hints, now_ns);
}

static void exact_remove(struct policy *p, pol_id_t id)
{
	struct node *n = &p->node[id];

	end_of_block(p, id);
	if (n->parent && !(n->marks & MARK_TAKEN))
		p->node[n->parent].kids--;
	*n = (struct node){ 0 };
	p->ops->remove(p->inner, id);
}

static int is_spared(void *arg, pol_id_t id)
{
	struct policy *p = arg;

	if (p->node[id].holds) {
		p->is_crowded = true;
		return 1;
	}
	return p->is_pinned ? p->is_pinned(p->arg, id) : 0;
}

static unsigned take_estimated(struct policy *p, uint64_t bytes, uint64_t now_ns, pol_id_t *ret_ids, unsigned max)
{
	p->is_crowded = false;
	return p->ops->victims(p->inner, bytes, now_ns, ret_ids, max, p->n.holds || p->is_pinned ? is_spared : NULL, p);
}

static unsigned exact_victims(struct policy *p, uint64_t bytes, uint64_t now_ns, pol_id_t *ret_ids, unsigned max,
			      int (*is_pinned)(void *arg, pol_id_t id), void *arg)
{
	unsigned nr = 0;

	p->is_pinned = is_pinned;
	p->arg = arg;
	end_expired(p, now_ns);
	if (p->nr_closed)
		nr = take_closed(p, bytes, ret_ids, max);
	/* A batch is of one kind: the policy does not know which of its blocks were taken. */
	if (nr == 0)
		nr = take_estimated(p, bytes, now_ns, ret_ids, max);
	if (nr == 0 && yield(p))
		nr = take_estimated(p, bytes, now_ns, ret_ids, max);
	return nr;
}

static void exact_restore(struct policy *p, pol_id_t id, uint64_t now_ns)
{
	struct node *n = &p->node[id];

	if (!(n->marks & MARK_TAKEN)) {
		p->ops->restore(p->inner, id, now_ns);
		return;
	}
	/* Somebody reads it: not so closed after all. */
	n->marks = 0;
	if (n->parent) {
		unmark_up(p, n->parent);
		p->node[n->parent].kids++;
	}
}

static void exact_expect(const struct policy *p, const pol_id_t *ids, unsigned nr)
{
	if (p->ops->expect)
		p->ops->expect(p->inner, ids, nr);
}

static void exact_tick(struct policy *p, uint64_t now_ns)
{
	end_expired(p, now_ns);
	if (p->ops->tick)
		p->ops->tick(p->inner, now_ns);
}

static void exact_stats(const struct policy *p, struct policy_stats *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (p->ops->stats)
		p->ops->stats(p->inner, ret);
	ret->bytes += (uint64_t)p->max_ids * sizeof(*p->node);
	ret->fixed_bytes += sizeof(*p);
}

static size_t exact_save(struct policy *p, void *buf, size_t len)
{
	return p->ops->save ? p->ops->save(p->inner, buf, len) : 0;
}

static int exact_load(struct policy *p, const void *buf, size_t len)
{
	return p->ops->load ? p->ops->load(p->inner, buf, len) : -EOPNOTSUPP;
}

static void exact_destroy(struct policy *p)
{
	if (!p)
		return;
	p->ops->destroy(p->inner);
	free(p->node);
	free(p);
}

int exact_create(const struct policy_config *cfg, const struct policy_ops *ops, struct policy **ret_p)
{
	struct policy *p = calloc(1, sizeof(*p));
	int ret;

	if (!p)
		return -ENOMEM;
	p->ops = ops;
	p->max_ids = cfg->max_ids;
	p->node = table_alloc(cfg->max_ids + 1ull, sizeof(*p->node));
	ret = p->node ? ops->create(cfg, &p->inner) : -ENOMEM;
	if (ret < 0) {
		exact_destroy(p);
		return ret;
	}
	*ret_p = p;
	return 0;
}

void exact_count(const struct policy *p, struct exact_counts *ret)
{
	*ret = p->n;
}

const struct policy_ops policy_exact = {
	.name = "exact",
	.summary = "hints around another policy",
	.destroy = exact_destroy,
	.insert = exact_insert,
	.touch = exact_touch,
	.remove = exact_remove,
	.victims = exact_victims,
	.restore = exact_restore,
	.expect = exact_expect,
	.tick = exact_tick,
	.stats = exact_stats,
	.save = exact_save,
	.load = exact_load,
};
