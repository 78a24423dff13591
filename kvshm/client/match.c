/* SPDX-License-Identifier: Apache-2.0 */
/*
 * match.c - acquire, resolve, release: no message, no system call, no allocation
 *
 * One load of the superblock's state word tells that nothing has changed (SB-1).  If it has, the
 * slow way is taken: another start count means that a new daemon serves the same content, so the
 * session is made anew step by step while hits go on; DEAD means that the content was abandoned.
 */
#include <errno.h>
#include <string.h>

#include "ipc/touch.h"
#include "kvshm/base/clock.h"
#include "kvshm/base/usdt.h"
#include "kvshm/client/client.h"

#define LOOSE_BATCH 64u

/* Return: may the content still be used for this call? */
static bool state_changed(struct kvshm *k, uint64_t state)
{
	if (!k->cur) {
		attach_try(k);
		return k->cur != NULL;
	}
	if (!directory_is_live(state)) {
		client_abandon(k);
		attach_try(k);
		return false;
	}
	if (client_is_attached(k) && !client_look(k, true)) {
		/* We attached to the new daemon before it stored the word. */
		k->cur->state_seen = state;
		return true;
	}
	attach_try(k);
	return true;
}

int match_enter(struct kvshm *k, uint32_t ns, unsigned nr_keys, uint16_t *ret_wire)
{
	uint64_t state;

	if (client_is_forked(k))
		return -EOWNERDEAD;
	if (nr_keys > KVSHM_CHAIN_MAX)
		return -E2BIG;
	if (ns == 0 || ns > k->nr_ns)
		return -EINVAL;
	/* SB-1: one look at the state word; pairs with directory_set_state(). */
	state = k->cur ? directory_state(&k->cur->content->dir) : 0;
	if (unlikely(!k->cur || state != k->cur->state_seen) && !state_changed(k, state))
		return 0;
	if (likely(k->ns[ns].serial == k->cur->content->serial)) {
		*ret_wire = k->ns[ns].wire;
		return nr_keys > 0;
	}
	return ns_wire(k, ns, ret_wire) == 0 && nr_keys > 0;
}

void match_count(struct kvshm *k, unsigned nr_keys, unsigned nr_hits, uint32_t tokens)
{
	client_count(k, KVSHM_CC_LOOKUPS, 1);
	client_count(k, KVSHM_CC_LOOKUP_BLOCKS, nr_keys);
	client_count(k, KVSHM_CC_HIT_BLOCKS, nr_hits);
	client_count(k, KVSHM_CC_HIT_TOKENS, (uint64_t)nr_hits * tokens);
	client_count(k, KVSHM_CC_MISS_BLOCKS, nr_keys - nr_hits);
}

void match_touch(struct kvshm *k, blk_id_t id, uint32_t generation, unsigned nr)
{
	struct kvshm_touch t = {
		.time_ns = unlikely(k->has_clock) ? k->trace_ns : clock_coarse_ns(),
		.id = id,
		.generation = generation,
		.nr = nr,
		.hint = k->hint,
	};

	if (touch_push(&k->cur->touch, &t) < 0)
		client_count(k, KVSHM_CC_TOUCHES_DROPPED, 1);
}

void match_fill_pin(struct kvshm *k, struct kvshm_pin *pin, const struct index_hit *hit,
		    uint32_t slot, unsigned nr, uint16_t wire)
{
	*pin = (struct kvshm_pin){
		.slot = slot,
		.id = hit->id,
		.generation = hit->generation,
		.nr = nr,
		.ns = wire,
		.epoch = k->cur->epoch,
	};
	k->cur->nr_pins++;
}

/* A match shorter than asked for that the quota may have cut. */
static bool quota_is_spent(const struct pin_table *t, uint32_t block_len)
{
	return t->quota_bytes &&
	       (t->used_bytes >= t->quota_bytes || t->quota_bytes - t->used_bytes < block_len);
}

int match_pin(struct kvshm *k, uint32_t ns, const struct index_keys *keys, unsigned nr_keys,
	      struct kvshm_pin *ret_pin)
{
	uint32_t block_len, slot = 0;
	struct index_hit hit;
	unsigned retries = 0;
	uint16_t wire;
	int ret;

	ret = match_enter(k, ns, nr_keys, &wire);
	if (ret <= 0)
		return ret;
	block_len = k->ns[ns].desc.block_len;
	ret = pin_longest_in(&k->cur->pins, &k->cur->content->dir, wire, keys, nr_keys, block_len, &hit,
			     &slot, &retries);
	if (unlikely(retries))
		client_count(k, KVSHM_CC_PIN_RETRIES, retries);
	if (unlikely(ret < (int)nr_keys) && quota_is_spent(&k->cur->pins, block_len))
		client_count(k, KVSHM_CC_QUOTA_REFUSALS, 1);
	if (ret > 0)
		match_fill_pin(k, ret_pin, &hit, slot, (unsigned)ret, wire);
	USDT(acquire, nr_keys, ret);
	return ret;
}

__public int kvshm_acquire(struct kvshm *k, uint32_t ns, const struct kvshm_key *keys,
			   unsigned nr_keys, struct kvshm_pin *ret_pin)
{
	const struct index_keys flat = { .flat = keys };
	int ret = match_pin(k, ns, &flat, nr_keys, ret_pin);

	if (unlikely(ret < 0 && ret != -ENOBUFS))
		return ret;
	match_count(k, nr_keys, ret > 0 ? (unsigned)ret : 0, k->ns[ns].desc.block_tokens);
	if (ret > 0)
		match_touch(k, ret_pin->id, ret_pin->generation, (unsigned)ret);
	return ret;
}

/*
 * Pin what was found; what is lost in between, or past the quota, counts as a miss.
 * Return: number; -ENOBUFS no pin word left.
 */
static int pin_batch(struct kvshm *k, const struct index_hit *hits, unsigned nr, uint16_t wire,
		     struct kvshm_pin *pins)
{
	struct pin_table *t = &k->cur->pins;
	uint32_t slot;
	unsigned i;
	int ret, found = 0;

	for (i = 0; i < nr; i++) {
		if (!hits[i].id)
			continue;
		ret = pin_take(t, &k->cur->content->dir, &hits[i], &slot);
		if (ret == -ENOBUFS && !t->nr_free)
			return ret;
		if (ret < 0) {
			client_count(k, ret == -ENOBUFS ? KVSHM_CC_QUOTA_REFUSALS :
				     KVSHM_CC_PIN_RETRIES, 1);
			continue;
		}
		match_fill_pin(k, &pins[i], &hits[i], slot, 1, wire);
		match_touch(k, hits[i].id, hits[i].generation, 1);
		found++;
	}
	return found;
}

__public int kvshm_acquire_loose(struct kvshm *k, uint32_t ns, const struct kvshm_key *keys,
				 unsigned nr_keys, struct kvshm_pin *ret_pins)
{
	struct index_hit hits[LOOSE_BATCH];
	unsigned i, nr;
	uint16_t wire;
	int ret, found = 0;

	ret = match_enter(k, ns, nr_keys, &wire);
	if (ret < 0)
		return ret;
	memset(ret_pins, 0, nr_keys * sizeof(*ret_pins));
	for (i = 0; ret > 0 && i < nr_keys; i += nr) {
		nr = min_of(nr_keys - i, LOOSE_BATCH);
		index_find_many(&k->cur->content->dir, wire, keys + i, nr, hits);
		ret = pin_batch(k, hits, nr, wire, ret_pins + i);
		if (ret > 0)
			found += ret;
		ret = ret == -ENOBUFS ? ret : 1;
	}
	match_count(k, nr_keys, (unsigned)found, k->ns[ns].desc.block_tokens);
	if (ret != -ENOBUFS)
		return found;
	for (i = 0; i < nr_keys; i++)
		kvshm_release(k, &ret_pins[i]);
	return ret;
}

struct attachment *match_pin_owner(struct kvshm *k, const struct kvshm_pin *pin)
{
	struct attachment *a = attachment_find(k, pin->epoch);

	if (!a || !pin->slot || pin->slot >= a->pins.nr ||
	    READ_ONCE(a->pins.word[pin->slot]) != pin_word(pin->id, pin->generation))
		return NULL;
	return a;
}

/* The block is pinned, so its descriptor does not change; fields are bounded all the same. */
bool match_fill_block(struct kvshm *k, struct content *c, blk_id_t id, uint32_t tokens,
		      struct kvshm_block *b)
{
	const struct kvshm_desc *d = &c->dir.desc[id];
	uint64_t state = READ_ONCE(d->state);
	uint64_t offset = block_offset(d);
	uint32_t length = READ_ONCE(d->length);
	uint16_t own = READ_ONCE(d->tokens);

	if (unlikely(!arena_contains(&c->arena, offset, length)) &&
	    !client_reach(k, c, offset, length))
		return false;
	b->ptr = arena_ptr(&c->arena, offset);
	b->length = length;
	b->tokens = own ? own : tokens;
	b->id = id;
	b->generation = state_generation(state);
	b->arena_offset = offset;
	b->checksum = state & KVSHM_FLAG_CHECKSUM ? READ_ONCE(d->checksum) : 0;
	b->resv = 0;
	return true;
}

__public int kvshm_resolve(struct kvshm *k, const struct kvshm_pin *pin,
			   const struct kvshm_key *keys, struct kvshm_block *ret_blocks)
{
	struct attachment *a;
	struct content *c;
	uint32_t tokens;
	unsigned nr, i;

	if (client_is_forked(k))
		return -EOWNERDEAD;
	a = match_pin_owner(k, pin);
	if (!a || pin->nr > KVSHM_CHAIN_MAX || pin->ns >= a->content->dir.max_ns)
		return -EINVAL;
	c = a->content;
	tokens = READ_ONCE(c->dir.ns[pin->ns].block_tokens);
	nr = index_resolve_pinned(&c->dir, (uint16_t)pin->ns, keys, pin->nr, pin->id, k->ids);
	for (i = 0; i < nr; i++)
		if (!match_fill_block(k, c, k->ids[i], tokens, &ret_blocks[i]))
			break;
	if (unlikely(i < pin->nr))
		client_count(k, KVSHM_CC_RESOLVE_SHORT, 1);
	return (int)i;
}

__public void kvshm_release(struct kvshm *k, struct kvshm_pin *pin)
{
	uint32_t slot = pin->slot;
	struct attachment *a;

	if (!slot || client_is_forked(k))
		return;
	a = match_pin_owner(k, pin);
	memset(pin, 0, sizeof(*pin));
	if (!a)
		return;
	pin_drop(&a->pins, slot);
	a->nr_pins--;
	if (unlikely(a != k->cur))
		client_reap_old(k);
}
