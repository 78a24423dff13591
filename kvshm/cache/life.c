/* SPDX-License-Identifier: Apache-2.0 */
#include "kvshm/cache/life.h"

#include <string.h>

#include "kvshm/base/compiler.h"
#include "kvshm/base/rand.h"
#include "kvshm/cache/cache_priv.h"

#define TICK_SHIFT 20u
#define NS_A_MS 1000000u

/* Never 0; wraps after 52 days, so only differences mean something. */
static uint32_t tick_now(const struct cache *c)
{
	return max_of((uint32_t)(c->order_ns >> TICK_SHIFT), 1u);
}

static uint32_t later(uint32_t a, uint32_t b)
{
	return !a || (b && (int32_t)(b - a) > 0) ? b : a;
}

static void record(const struct cache *c, enum stat_hist h, uint32_t from, uint32_t to)
{
	int32_t ticks = (int32_t)(to - from);

	if (c->stats && from)
		stat_hist_record(c->stats, h, ((uint64_t)max_of(ticks, 0) << TICK_SHIFT) / NS_A_MS);
}

/* One key in so many, by the key: what is evicted is recognised when it returns.  Return: 0: not of the sample. */
static uint64_t ghost_key(const struct cache *c, blk_id_t id)
{
	const struct kvshm_desc *d = desc_of(c, id);
	uint64_t key = 0;

	for (unsigned i = 0; i < sizeof(d->key) / sizeof(key); i++) {
		uint64_t word;

		memcpy(&word, d->key.bytes + i * sizeof(word), sizeof(word));
		key = rand_mix(key ^ word);
	}
	key = rand_mix(key + d->ns);
	return (key >> 32) % (c->dir->max_blocks / LIFE_GHOSTS + 1) ? 0 : key;
}

void life_born(struct cache *c, blk_id_t id)
{
	struct blk *b = &c->blk[id];
	struct life_ghost *g;
	uint64_t key;

	b->born_at = tick_now(c);
	b->used_at = 0;
	if (!c->stats)
		return;
	key = ghost_key(c, id);
	g = &c->ghost[key % LIFE_GHOSTS];
	if (!key || g->key != key)
		return;
	record(c, HIST_EVICT_TO_REUSE, g->at, b->born_at);
	*g = (struct life_ghost){ 0 };
}

void life_used(struct cache *c, blk_id_t id)
{
	struct blk *b = &c->blk[id];
	uint32_t now = tick_now(c);

	record(c, HIST_REUSE_GAP, later(b->born_at, b->used_at), now);
	b->used_at = now;
}

void life_evicted(struct cache *c, blk_id_t id)
{
	struct blk *b = &c->blk[id], *parent = &c->blk[desc_of(c, id)->parent];
	uint32_t now = tick_now(c);
	uint64_t key;

	record(c, HIST_RESIDENCE, b->born_at, now);
	record(c, HIST_IDLE, later(b->born_at, b->used_at), now);
	c->n.evicted_unread += b->born_at && !b->used_at;
	parent->used_at = later(parent->used_at, b->used_at);
	if (!c->stats)
		return;
	key = ghost_key(c, id);
	if (key)
		c->ghost[key % LIFE_GHOSTS] = (struct life_ghost){ key, now };
}
