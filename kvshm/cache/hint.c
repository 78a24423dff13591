/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hint.c - what a client knows of the time to come, checked, for the policy
 *
 * A hold is weaker than a pin, as nobody reads the bytes: it may be refused, it ends, and it yields.  All that are
 * in force keep half of the cache at most, one session's no more than its pins may.
 */
#include <errno.h>

#include "kvshm/base/compiler.h"
#include "kvshm/cache/cache_priv.h"
#include "policy/exact.h"

#define HOLD_SHARE 2u			/* of the capacity, in all holds */

enum { PRIORITY_TOOL = 1, PRIORITY_QUEUED = 3 };
_Static_assert(EXACT_PRIORITY_MAX >= KVSHM_HINT_PRIORITY_MAX, "priorities go through");

static bool is_hold(uint32_t kind)
{
	return kind == KVSHM_HINT_QUEUED || kind == KVSHM_HINT_TOOL || kind == KVSHM_HINT_RETAIN;
}

static bool is_well_formed(const struct kvshm_hint_rec *r)
{
	const bool has_block = r->block.id || r->block.generation;

	if (r->kind == 0 || r->kind >= KVSHM_HINT_LAST || r->resv)
		return false;
	if (r->priority > (r->kind == KVSHM_HINT_RETAIN ? KVSHM_HINT_PRIORITY_MAX : 0))
		return false;
	if (r->kind == KVSHM_HINT_CLOSED)
		return r->nr && !r->ticket && !r->ttl_ns;
	if (r->kind == KVSHM_HINT_NODE)
		return !has_block && !r->ticket && !r->ttl_ns && r->nr <= INT32_MAX;
	return !r->nr && (is_hold(r->kind) || (!has_block && !r->ttl_ns));
}

static bool is_there(const struct cache *c, const struct cache_hint *h)
{
	const struct kvshm_block_ref *ref = &h->rec->block;
	uint64_t w;

	if (ref->id == 0 || ref->id > c->dir->max_blocks)
		return false;
	w = READ_ONCE(desc_of(c, ref->id)->state);
	return state_of(w) == KVSHM_BLOCK_PUBLISHED && state_generation(w) == ref->generation &&
	       desc_of(c, ref->id)->ns == h->ns;
}

static int hold(struct cache *c, const struct cache_hint *h)
{
	const struct kvshm_hint_rec *r = h->rec;
	const struct kvshm_desc *d = desc_of(c, r->block.id);
	const uint64_t ttl = min_of(r->ttl_ns ? r->ttl_ns : KVSHM_HINT_TTL_NS, (uint64_t)KVSHM_HINT_TTL_MAX_NS);
	const struct exact_limits limits = {
		.owner_bytes = h->quota_bytes ? h->quota_bytes : UINT64_MAX,
		.all_bytes = c->n.capacity_bytes / HOLD_SHARE,
	};
	const struct exact_hold e = {
		.id = r->block.id,
		.owner = h->owner,
		.ticket = r->ticket,
		.until_ns = order_time(c, h->now_ns) + ttl,
		.bytes = (d->depth + 1ull) * slab_class_len(d->length),
		.priority = (uint8_t)(r->kind == KVSHM_HINT_RETAIN ? r->priority :
				      r->kind == KVSHM_HINT_QUEUED ? PRIORITY_QUEUED : PRIORITY_TOOL),
		.is_queued = r->kind != KVSHM_HINT_RETAIN,
	};

	return exact_hold(c->pol, &e, &limits);
}

int cache_hint(struct cache *c, const struct cache_hint *h)
{
	const struct kvshm_hint_rec *r = h->rec;
	int ret = 0;

	if (!is_well_formed(r))
		return -EINVAL;
	if (r->kind == KVSHM_HINT_DONE)
		ret = exact_release(c->pol, h->owner, r->ticket) > 0;
	else if (r->kind == KVSHM_HINT_NODE)
		ret = 1;
	else if (!is_there(c, h))
		ret = 0;
	else if (is_hold(r->kind))
		ret = hold(c, h);
	else if (h->may_close)
		ret = exact_close(c->pol, r->block.id, r->nr) > 0;
	*(ret ? &c->n.hints : &c->n.hints_refused) += 1;
	return ret;
}
