/* SPDX-License-Identifier: Apache-2.0 */
/*
 * export.c - a pinned prefix handed to other processes as plain data
 *
 *   scheduler                               worker
 *   acquire, resolve: pinned                pin {id, generation} of the last block, look again (PN-1)
 *   export: ids, generations, key           then check all that was said against the directory:
 *   hold the pin until they have it         instance, namespace, key, depth, each life and each link
 *
 * The data may be old, cut, forged or of another machine.  Instance, id and generation name one life of
 * one block; the links below a pinned block cannot change; so what passes is what was exported, or
 * another prefix of the same namespace whose key the data carries.  Offsets are read afresh.  A block
 * that is closed for eviction while the exporter holds it opens again after the writer's scan: the
 * import waits for that, a bounded time.
 */
#include <errno.h>
#include <sched.h>
#include <string.h>

#include "kvshm/base/clock.h"
#include "kvshm/client/client.h"

#define CLOSED_NS 20000000ull		/* a scan takes tens of us; a writer that lost its core, ms */
#define AHEAD 8u			/* descriptors fetched ahead of a look */

_Static_assert(KVSHM_EXPORT_LEN(0) == sizeof(struct kvshm_export), "header");
_Static_assert(KVSHM_EXPORT_LEN(1) - KVSHM_EXPORT_LEN(0) == sizeof(struct kvshm_export_block), "block");

/* ---- export ------------------------------------------------------------------------------------- */

static bool is_life(const struct kvshm_desc *d, uint32_t generation)
{
	/* BK-1: the state before the fields and the payload; pairs with block_publish(). */
	uint64_t state = load_acquire(&d->state);

	return state_of(state) >= KVSHM_BLOCK_PUBLISHED && state_generation(state) == generation;
}

/* Are these blocks, each the parent of the next, of the chain that the pin protects? */
static bool are_pinned(const struct directory *dir, const struct kvshm_pin *pin,
		       const struct kvshm_block *blocks, unsigned nr)
{
	blk_id_t id = pin->id;
	unsigned i;

	for (i = pin->nr; i && id && id != blocks[nr - 1].id; i--)
		id = READ_ONCE(dir->desc[id].parent);
	if (!i || !id)
		return false;
	for (i = nr; i-- > 0; id = READ_ONCE(dir->desc[id].parent))
		if (!id || id != blocks[i].id || !is_life(&dir->desc[id], blocks[i].generation))
			return false;
	return true;
}

static void write_export(const struct directory *dir, const struct kvshm_pin *pin,
			 const struct kvshm_block *blocks, unsigned nr, char *to)
{
	const struct kvshm_desc *last = &dir->desc[blocks[nr - 1].id];
	struct kvshm_export h = {
		.magic = KVSHM_EXPORT_MAGIC,
		.abi = KVSHM_ABI,
		.len = (uint32_t)KVSHM_EXPORT_LEN(nr),
		.instance = dir->instance,
		.ns = pin->ns,
		.first = READ_ONCE(last->depth) + 1 - nr,
		.nr = nr,
		.key = last->key,
	};
	struct kvshm_export_block b;
	unsigned i;

	memcpy(to, &h, sizeof(h));
	for (i = 0; i < nr; i++) {
		b = (struct kvshm_export_block){ blocks[i].id, blocks[i].generation, blocks[i].arena_offset };
		memcpy(to + KVSHM_EXPORT_LEN(i), &b, sizeof(b));
	}
}

__public int kvshm_export(struct kvshm *k, const struct kvshm_pin *pin,
			  const struct kvshm_block *blocks, unsigned nr, void *buf, size_t len)
{
	struct attachment *a;

	if (client_is_forked(k))
		return -EOWNERDEAD;
	a = match_pin_owner(k, pin);
	if (!a || !nr || nr > pin->nr || !are_pinned(&a->content->dir, pin, blocks, nr))
		return -EINVAL;
	if (len < KVSHM_EXPORT_LEN(nr))
		return -ENOSPC;
	write_export(&a->content->dir, pin, blocks, nr, buf);
	return (int)KVSHM_EXPORT_LEN(nr);
}

/* ---- import ------------------------------------------------------------------------------------- */

struct import {
	struct kvshm_export h;		/* a copy: the caller's may change */
	const char *data;
	const struct directory *dir;
};

/* Entry @i, copied; not believed. */
static struct kvshm_export_block entry(const struct import *m, unsigned i)
{
	struct kvshm_export_block b;

	memcpy(&b, m->data + KVSHM_EXPORT_LEN(i), sizeof(b));
	return b;
}

/* All that can be told without a directory. */
static int header_check(const struct kvshm_export *h, size_t len)
{
	if (h->magic != KVSHM_EXPORT_MAGIC || h->abi != KVSHM_ABI || h->len != len)
		return -EINVAL;
	if (!h->nr || h->nr > KVSHM_CHAIN_MAX || h->first > KVSHM_CHAIN_MAX - h->nr)
		return -EINVAL;
	if (len != KVSHM_EXPORT_LEN(h->nr) || h->resv0 || h->resv1[0] || h->resv1[1] || h->resv1[2])
		return -EINVAL;
	return 0;
}

/* pin_take(), again for as long as the writer has the block closed. */
static int pin_closed_too(struct attachment *a, const struct index_hit *hit, uint32_t *ret_slot)
{
	const struct kvshm_desc *d = &a->content->dir.desc[hit->id];
	uint64_t end = 0, now, state;
	int ret;

	for (;;) {
		ret = pin_take(&a->pins, &a->content->dir, hit, ret_slot);
		if (ret != -ESTALE)
			return ret;
		state = READ_ONCE(d->state);
		if (state_generation(state) != hit->generation || state_of(state) < KVSHM_BLOCK_PUBLISHED ||
		    state_of(state) > KVSHM_BLOCK_EVICTING)
			return ret;
		now = clock_ns();
		if (!end)
			end = now + CLOSED_NS;
		else if (now >= end)
			return ret;
		sched_yield();
	}
}

static bool last_is_right(const struct import *m, blk_id_t id)
{
	const struct kvshm_desc *d = &m->dir->desc[id];

	/* BK-1: as in is_life(); pairs with block_publish(). */
	return state_of(load_acquire(&d->state)) >= KVSHM_BLOCK_PUBLISHED &&
	       READ_ONCE(d->ns) == m->h.ns && READ_ONCE(d->depth) == m->h.first + m->h.nr - 1 &&
	       block_key_equal(d, &m->h.key);
}

/*
 * From the pinned block up: every life and every link is the one that was exported.  That the first of
 * them lies at the depth that was said follows from the depth of the last.
 */
static bool links_are_right(const struct import *m, blk_id_t id)
{
	struct kvshm_export_block b;
	unsigned i;

	for (i = m->h.nr; i-- > 0; id = READ_ONCE(m->dir->desc[id].parent)) {
		b = entry(m, i >= AHEAD ? i - AHEAD : 0);
		if (b.id <= m->dir->max_blocks)
			prefetch(&m->dir->desc[b.id]);
		b = entry(m, i);
		if (!id || id > m->dir->max_blocks || b.id != id ||
		    !is_life(&m->dir->desc[id], b.generation))
			return false;
	}
	return true;
}

/* The ids are those of the directory by now, whatever the data says meanwhile. */
static bool fill_blocks(struct kvshm *k, const struct import *m, blk_id_t id, struct kvshm_block *ret_blocks)
{
	struct content *c = k->cur->content;
	uint32_t tokens = READ_ONCE(m->dir->ns[m->h.ns].block_tokens);
	unsigned i;

	for (i = m->h.nr; i-- > 0; id = READ_ONCE(m->dir->desc[id].parent))
		if (!match_fill_block(k, c, id, tokens, &ret_blocks[i]))
			return false;
	return true;
}

static int import_pin(struct kvshm *k, const struct import *m, struct kvshm_pin *ret_pin,
		      struct kvshm_block *ret_blocks)
{
	const struct kvshm_export_block last = entry(m, m->h.nr - 1);
	const struct index_hit hit = { .id = last.id, .generation = last.generation };
	uint32_t slot;
	int ret;

	if (!hit.id || hit.id > m->dir->max_blocks)
		return -ESTALE;
	ret = pin_closed_too(k->cur, &hit, &slot);
	if (ret < 0)
		return ret;
	if (!last_is_right(m, hit.id) || !links_are_right(m, hit.id) ||
	    !fill_blocks(k, m, hit.id, ret_blocks)) {
		pin_drop(&k->cur->pins, slot);
		return -ESTALE;
	}
	match_fill_pin(k, ret_pin, &hit, slot, m->h.first + m->h.nr, (uint16_t)m->h.ns);
	return (int)m->h.nr;
}

__public int kvshm_import(struct kvshm *k, uint32_t ns, const void *data, size_t len,
			  struct kvshm_pin *ret_pin, struct kvshm_block *ret_blocks)
{
	struct import m = { .data = data };
	uint16_t wire;
	int ret;

	if (client_is_forked(k))
		return -EOWNERDEAD;
	if (len < sizeof(m.h))
		return -EINVAL;
	memcpy(&m.h, data, sizeof(m.h));
	ret = header_check(&m.h, len);
	if (ret < 0)
		return ret;
	ret = match_enter(k, ns, 1, &wire);
	if (ret <= 0)
		return ret < 0 ? ret : -ESTALE;
	m.dir = &k->cur->content->dir;
	if (m.h.instance != m.dir->instance)
		return -ESTALE;
	return m.h.ns == wire ? import_pin(k, &m, ret_pin, ret_blocks) : -EINVAL;
}
