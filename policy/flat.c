/* SPDX-License-Identifier: Apache-2.0 */
/* flat.c - ids in circular queues, victims by the rule */
#include "policy/flat.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

enum { F_RESIDENT = 1, F_VICTIM = 2 };

#define SKIPS_MAX 4096u			/* pinned ones looked at in a call */

static pol_id_t head_of(const struct policy *p, unsigned queue)
{
	return p->cfg.max_ids + 1 + queue;
}

int flat_create(const struct policy_config *cfg, const struct flat_rule *rule, struct policy **ret_p)
{
	struct policy *p = calloc(1, sizeof(*p));
	unsigned q;

	if (!p)
		return -ENOMEM;
	p->cfg = *cfg;
	p->rule = rule;
	p->blk = calloc(cfg->max_ids + 4ull, sizeof(*p->blk));
	if (!p->blk || ghost_init(&p->ghosts, 4ull * cfg->max_ids) < 0) {
		flat_destroy(p);
		return -ENOMEM;
	}
	for (q = 0; q < 3; q++)
		p->blk[head_of(p, q)].prev = p->blk[head_of(p, q)].next = head_of(p, q);
	*ret_p = p;
	return 0;
}

void flat_destroy(struct policy *p)
{
	if (!p)
		return;
	ghost_fini(&p->ghosts);
	free(p->blk);
	free(p);
}

void flat_push(struct policy *p, unsigned queue, pol_id_t id)
{
	struct flat_blk *b = &p->blk[id];

	b->next = head_of(p, queue);
	b->prev = p->blk[b->next].prev;
	p->blk[b->prev].next = p->blk[b->next].prev = id;
	b->queue = (uint8_t)queue;
	p->count[queue]++;
}

void flat_del(struct policy *p, pol_id_t id)
{
	struct flat_blk *b = &p->blk[id];

	if (b->queue == FLAT_OFF)
		return;
	if (p->hand == id)
		p->hand = flat_younger(p, id);
	p->blk[b->prev].next = b->next;
	p->blk[b->next].prev = b->prev;
	p->count[b->queue]--;
	b->queue = FLAT_OFF;
}

pol_id_t flat_oldest(const struct policy *p, unsigned queue)
{
	pol_id_t id = p->blk[head_of(p, queue)].next;

	return id > p->cfg.max_ids ? 0 : id;
}

pol_id_t flat_younger(const struct policy *p, pol_id_t id)
{
	id = p->blk[id].next;
	return id > p->cfg.max_ids ? 0 : id;
}

void flat_ghost(struct policy *p, pol_id_t id, unsigned kind)
{
	struct ghost g = { .last = ++p->gone[kind], .node = (uint16_t)kind, .uses = 1 }, old;

	ghost_put(&p->ghosts, p->blk[id].key, &g, &old);
}

void flat_insert(struct policy *p, const struct pol_block *b, uint64_t now_ns)
{
	struct ghost g;
	bool is_known = ghost_take(&p->ghosts, b->key, &g);

	assert(b->id > 0 && b->id <= p->cfg.max_ids && !(p->blk[b->id].flags & F_RESIDENT));
	p->blk[b->id] = (struct flat_blk){ .key = b->key, .bytes = b->bytes, .queue = FLAT_OFF,
					   .flags = F_RESIDENT };
	p->rule->inserted(p, b->id, is_known ? &g : NULL);
}

void flat_touch(struct policy *p, pol_id_t id, uint32_t hints, uint64_t now_ns)
{
	struct flat_blk *b = &p->blk[id];

	if (!(b->flags & F_RESIDENT) || b->flags & F_VICTIM)
		return;
	if (b->uses < 3)
		b->uses++;
	p->rule->used(p, id);
}

void flat_remove(struct policy *p, pol_id_t id)
{
	assert(p->blk[id].flags & F_RESIDENT);
	flat_del(p, id);
	p->blk[id].flags = 0;
}

unsigned flat_victims(struct policy *p, uint64_t bytes, uint64_t now_ns, pol_id_t *ret_ids, unsigned max,
		      int (*is_pinned)(void *arg, pol_id_t id), void *arg)
{
	unsigned nr = 0, skips = 0;
	uint64_t sum = 0;
	pol_id_t id;

	while (nr < max && sum < bytes && skips < SKIPS_MAX && (id = p->rule->pick(p))) {
		if (is_pinned && is_pinned(arg, id)) {
			flat_push(p, 0, id);
			skips++;
			continue;
		}
		p->blk[id].flags |= F_VICTIM;
		sum += p->blk[id].bytes;
		ret_ids[nr++] = id;
	}
	return nr;
}

void flat_restore(struct policy *p, pol_id_t id, uint64_t now_ns)
{
	assert(p->blk[id].flags & F_VICTIM);
	p->blk[id].flags = F_RESIDENT;
	flat_push(p, 0, id);
}

void flat_stats(const struct policy *p, struct policy_stats *ret)
{
	*ret = (struct policy_stats){ .bytes = p->cfg.max_ids * (uint64_t)sizeof(*p->blk), .fixed_bytes = sizeof(*p),
				      .ghosts = p->ghosts.nr_buckets * 8,
				      .ghost_bytes = p->ghosts.nr_buckets * sizeof(*p->ghosts.bucket) };
}
