/* SPDX-License-Identifier: Apache-2.0 */
/* note.c - what happens to blocks, for those who listen (stats/events.h) */
#include "kvshm/arena/namespace.h"
#include "kvshm/cache/cache_priv.h"
#include "policy/hints.h"

void cache_count_uses(struct cache *c, struct statpage *stats)
{
	c->stats = stats;
}

static void count(struct cache *c, enum kvshm_event_type type, const struct kvshm_desc *d, uint64_t block_tokens,
		  uint32_t hint, uint8_t reason)
{
	uint64_t tokens = d->tokens ? d->tokens : block_tokens;
	struct kvshm_stats_use more = { 0 };

	if (type == KVSHM_EVENT_TOUCHED) {
		more.hit_blocks = d->depth + 1;
		more.hit_tokens = d->depth * block_tokens + tokens;
	} else if (type == KVSHM_EVENT_STORED) {
		more.put_blocks = 1;
		more.put_tokens = tokens;
	} else if (type == KVSHM_EVENT_REMOVED) {
		more.evicted_blocks = reason == KVSHM_EVENT_EVICTED;
		more.dropped_blocks = reason == KVSHM_EVENT_DROPPED;
	}
	stat_use_add(c->stats, stat_use_ns(d->ns), &more);
	if (type != KVSHM_EVENT_REMOVED)
		stat_use_add(c->stats, stat_use_class(hints_unpack(hint).type), &more);
}

static void tell(struct cache *c, enum kvshm_event_type type, blk_id_t id, const struct kvshm_ns_entry *e,
		 uint32_t hint, uint64_t now_ns, uint8_t reason)
{
	const struct kvshm_desc *d = desc_of(c, id);
	struct kvshm_event ev = {
		.time_ns = now_ns,
		.key = events_hash(c->cfg.events, &d->key),
		.nr = d->depth + 1,
		.hint = hint,
		.length = d->length,
		.block_tokens = e ? e->block_tokens : 0,
		.tokens = d->tokens || !e ? d->tokens : (uint16_t)e->block_tokens,
		.ns = d->ns,
		.type = (uint8_t)type,
		.reason = reason,
		.id = id,
		.generation = state_generation(d->state),
	};
	/* Who listens knows it from then on. */
	if ((type == KVSHM_EVENT_STORED || type == KVSHM_EVENT_FOUND) && d->parent)
		ev.parent = events_hash(c->cfg.events, &desc_of(c, d->parent)->key);
	events_push(c->cfg.events, &ev);
}

void note(struct cache *c, enum kvshm_event_type type, blk_id_t id, uint32_t hint, uint64_t now_ns, uint8_t reason)
{
	const struct kvshm_desc *d = desc_of(c, id);
	const struct kvshm_ns_entry *e;

	if (!c->cfg.events && !c->stats)
		return;
	e = ns_entry(c->dir, d->ns);
	if (c->stats)
		count(c, type, d, e ? e->block_tokens : 0, hint, reason);
	if (c->cfg.events)
		tell(c, type, id, e, hint, now_ns, reason);
}
