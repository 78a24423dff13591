/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scrub.c - a bit that flipped in memory is found before somebody computes with it
 *
 * By ascending ids, a block in pieces, as the longest takes milliseconds.  Between two steps anything may
 * happen to the block under way: the sum goes on only while state and generation say that it is the
 * same life of it.  A relocation in between is no matter, both places hold the same bytes.
 *
 * What is due grows with time and published bytes.  A machine that slept owes no more than one step.
 *
 * What hangs below a bad block may be all of the cache, so it goes in steps like any drop, and deepest
 * first (Invariant T): until the last step the bad block itself is found, as it was all the time before.
 */
#include "kvshm/cache/scrub.h"

#include <errno.h>
#include <stdlib.h>

#include "kvshm/base/bitmap.h"
#include "kvshm/base/checksum.h"
#include "kvshm/base/compiler.h"
#include "kvshm/cache/cache_priv.h"

#define STEP_MAX (2u << 20)		/* bytes: some 0.2 ms */
#define STEP_MIN 4096u
#define LOOKS_MAX 4096u			/* descriptors a step */
#define DROP_MAX 128u			/* blocks a step */

struct scrub {
	struct checksum_state sum;	/* of the first .done bytes of block .id */
	blk_id_t id;			/* looked at last, 0: a pass begins */
	uint32_t generation;		/* of the block under way, 0: none */
	uint32_t done;
	uint64_t last_ns;
	double due;			/* bytes */
	bool is_dropping;
	struct scrub_failure bad;	/* what is being dropped, */
	uint32_t bad_generation;	/* unless somebody else drops it first */
	struct cache_drop drop;
	struct scrub_counts n;
};

int scrub_create(struct scrub **ret_s)
{
	struct scrub *s = aligned_alloc(_Alignof(struct scrub), sizeof(*s));

	if (!s)
		return -ENOMEM;
	memset(s, 0, sizeof(*s));
	*ret_s = s;
	return 0;
}

struct scrub *scrub_destroy(struct scrub *s)
{
	free(s);
	return NULL;
}

static bool is_published(const struct cache *c, blk_id_t id, uint32_t generation)
{
	uint64_t w = desc_of(c, id)->state;

	return state_of(w) == KVSHM_BLOCK_PUBLISHED && state_generation(w) == generation;
}

static bool is_under_way(const struct scrub *s, const struct cache *c)
{
	return s->generation && is_published(c, s->id, s->generation);
}

/* Go to the next id in use, and begin with it if its sum is known.  Return: false: the pass is over. */
static bool go_on(struct scrub *s, const struct cache *c)
{
	const size_t end = (size_t)c->dir->max_blocks + 1;
	size_t id = bitmap_next_clear(c->ids.free, (size_t)s->id + 1, end);
	uint64_t w;

	s->generation = 0;
	if (id >= end) {
		s->id = 0;
		s->n.passes++;
		return false;
	}
	s->id = (blk_id_t)id;
	w = desc_of(c, s->id)->state;
	if (state_of(w) == KVSHM_BLOCK_PUBLISHED && w & KVSHM_FLAG_CHECKSUM) {
		s->generation = state_generation(w);
		s->done = 0;
		checksum_init(&s->sum);
	}
	return true;
}

/* A piece of the block under way.  Return: bytes. */
static uint32_t sum_piece(struct scrub *s, const struct cache *c, uint32_t max)
{
	const struct kvshm_desc *d = desc_of(c, s->id);
	uint32_t len = min_of(d->length - s->done, max);

	checksum_update(&s->sum, arena_ptr(c->arena, place_of(d) + s->done), len);
	s->done += len;
	s->n.bytes += len;
	return len;
}

/* All of it is summed: is it what was published? */
static void judge(struct scrub *s, const struct cache *c)
{
	const struct kvshm_desc *d = desc_of(c, s->id);

	s->n.blocks++;
	if (checksum_digest(&s->sum) != d->checksum) {
		s->n.failures++;
		s->is_dropping = true;
		s->bad = (struct scrub_failure){ .id = s->id, .length = d->length, .ns = d->ns };
		s->bad_generation = s->generation;
		s->drop = (struct cache_drop){ .ns = d->ns, .key = d->key };
	}
	s->generation = 0;
}

/* Return: 1 with @ret_f: it is gone, with all below it. */
static int drop_some(struct scrub *s, struct cache *c, struct scrub_failure *ret_f)
{
	if (is_published(c, s->bad.id, s->bad_generation) && cache_drop_step(c, &s->drop, DROP_MAX) > 0)
		return 0;
	s->is_dropping = false;
	*ret_f = s->bad;
	ret_f->nr_dropped = s->drop.nr;
	return 1;
}

bool scrub_is_dropping(const struct scrub *s)
{
	return s->is_dropping;
}

static uint32_t take_due(struct scrub *s, const struct cache *c, uint64_t now_ns, uint64_t pass_ns)
{
	if (s->last_ns)
		s->due += (double)c->n.published_bytes * (double)(now_ns - s->last_ns) / (double)pass_ns;
	s->last_ns = now_ns;
	s->due = min_of(s->due, (double)STEP_MAX);
	return s->due < STEP_MIN ? 0 : (uint32_t)s->due;
}

int scrub_step(struct scrub *s, struct cache *c, uint64_t now_ns, uint64_t pass_ns,
	       struct scrub_failure *ret_f)
{
	uint32_t due, looks = LOOKS_MAX;

	if (s->is_dropping)
		return drop_some(s, c, ret_f);
	due = take_due(s, c, now_ns, pass_ns);
	while (due && looks && !s->is_dropping) {
		uint32_t len;

		if (!is_under_way(s, c)) {
			looks--;
			if (!go_on(s, c))
				break;
			continue;
		}
		len = sum_piece(s, c, due);
		due -= len;
		s->due -= len;
		if (s->done == desc_of(c, s->id)->length)
			judge(s, c);
	}
	return s->is_dropping ? drop_some(s, c, ret_f) : 0;
}

void scrub_count(const struct scrub *s, struct scrub_counts *ret)
{
	*ret = s->n;
}
