/* SPDX-License-Identifier: Apache-2.0 */
/*
 * probe.h - one look-up in three steps, so that many can be in flight
 *
 *   probe_hash()   key -> two buckets and a tag; both buckets are prefetched
 *   probe_match()  which of the sixteen slots carry the tag (IX-1)
 *   probe_check()  the descriptor behind each of them: state, namespace, 32 bytes of key (BK-1, AU-1)
 *
 * Between two steps lies a cache miss; callers do a step for many keys before the next step for
 * the first.  Inside index/ only.
 */
#ifndef KVSHM_INDEX_PROBE_H
#define KVSHM_INDEX_PROBE_H

#include <stdbool.h>

#include <emmintrin.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "kvshm/base/compiler.h"
#include "kvshm/base/testpoint.h"
#include "kvshm/index/index.h"

struct probe {
	struct kvshm_bucket *b[2];
	uint32_t tag; /* never 0: an empty slot matches no probe */
	uint32_t match; /* bit i: slot i of b[0], bit 8 + i: slot i of b[1] */
};

/* The hash is seeded per instance, so that nobody can aim keys at one bucket. */
static inline uint64_t probe_seed(const struct directory *dir, uint16_t ns)
{
	return dir->hash_seed ^ (ns + 1) * 0x9e3779b97f4a7c15ull;
}

static inline void probe_hash(const struct directory *dir, uint64_t seed,
			      const struct kvshm_key *key, struct probe *p)
{
	uint64_t h = XXH3_64bits_withSeed(key->bytes, sizeof(key->bytes), seed);
	uint32_t tag = (uint32_t)(h >> 32);
	uint32_t first = (uint32_t)h & dir->bucket_mask;
	uint32_t second =
		(first ^ (uint32_t)(tag * 0x9e3779b97f4a7c15ull >> 32)) & dir->bucket_mask;

	if (second == first)
		second = (first ^ 1) & dir->bucket_mask;
	p->b[0] = &dir->bucket[first];
	p->b[1] = &dir->bucket[second];
	prefetch(p->b[0]);
	prefetch(p->b[1]);
	p->tag = tag | (tag == 0);
}

static inline uint64_t probe_slot(uint32_t tag, blk_id_t id)
{
	return (uint64_t)tag << 32 | id;
}

/* Slots of both buckets as one array; a directory of one bucket has it only once. */
static inline unsigned probe_nr_slots(const struct probe *p)
{
	return p->b[0] == p->b[1] ? KVSHM_BUCKET_SLOTS : 2 * KVSHM_BUCKET_SLOTS;
}

static inline uint64_t *probe_slot_ptr(const struct probe *p, unsigned slot)
{
	return &p->b[slot / KVSHM_BUCKET_SLOTS]->slot[slot % KVSHM_BUCKET_SLOTS];
}

/*
 * Eight tags at once.  A 16-byte load of aligned memory does not tear a word (Intel SDM 3A 9.1.1, AMD APM 2
 * 7.3.2); the sanitizers know nothing of that, and get one word at a time.
 */
static inline uint32_t probe_match_bucket(const struct kvshm_bucket *b, uint32_t tag)
{
#ifdef KVSHM_SAN
	uint32_t match = 0;
	unsigned i;

	for (i = 0; i < KVSHM_BUCKET_SLOTS; i++)
		/* IX-1: the slot before its descriptor; pairs with index_insert(). */
		match |= (uint32_t)((uint32_t)(load_acquire(&b->slot[i]) >> 32) == tag) << i;
	return match;
#else
	const __m128 *line = (const __m128 *)(const void *)b->slot;
	const __m128i want = _mm_set1_epi32((int)tag);
	/* Of two slots each: the upper halves are the tags. */
	__m128 low = _mm_shuffle_ps(line[0], line[1], _MM_SHUFFLE(3, 1, 3, 1));
	__m128 high = _mm_shuffle_ps(line[2], line[3], _MM_SHUFFLE(3, 1, 3, 1));
	__m128i is_low = _mm_cmpeq_epi32(_mm_castps_si128(low), want);
	__m128i is_high = _mm_cmpeq_epi32(_mm_castps_si128(high), want);

	/* IX-1: the slots before their descriptors; pairs with index_insert(). */
	smp_acquire();
	return (uint32_t)_mm_movemask_ps(_mm_castsi128_ps(is_low)) |
	       (uint32_t)_mm_movemask_ps(_mm_castsi128_ps(is_high)) << 4;
#endif
}

_Static_assert(KVSHM_BUCKET_SLOTS == 8, "a bucket is four vectors of two slots");

/* Return: not 0 if a slot carries the tag. */
static inline uint32_t probe_match(struct probe *p)
{
	p->match = probe_match_bucket(p->b[0], p->tag) | probe_match_bucket(p->b[1], p->tag)
								 << KVSHM_BUCKET_SLOTS;
	return p->match;
}

/* Block id in matching slot number @slot (0..15), or 0 if it is not one of this directory. */
static inline blk_id_t probe_id(const struct directory *dir, const struct probe *p, unsigned slot)
{
	/* IX-1: as in probe_match_bucket(); pairs with index_insert(). */
	blk_id_t id = (blk_id_t)load_acquire(probe_slot_ptr(p, slot));

	return id <= dir->max_blocks ? id : 0;
}

/* The same of the first matching slot; there is one. */
static inline blk_id_t probe_first(const struct directory *dir, const struct probe *p)
{
	return probe_id(dir, p, (unsigned)__builtin_ctz(p->match));
}

/* Start fetching the descriptor that the first matching slot names. */
static inline void probe_prefetch_desc(const struct directory *dir, const struct probe *p)
{
	if (p->match)
		prefetch(&dir->desc[probe_first(dir, p)]);
}

/* PUBLISHED, or with @closed_too also EVICTING. */
static inline bool probe_state_ok(uint64_t state, bool closed_too)
{
	return state_of(state) == KVSHM_BLOCK_PUBLISHED ||
	       (closed_too && state_of(state) == KVSHM_BLOCK_EVICTING);
}

/**
 * probe_desc() - is this descriptor the block of that key, now?
 * The fields are read between two looks at the state word; flags may change in between, the life
 * of the block may not.  @ret_parent may be NULL.
 */
static inline bool probe_desc(const struct kvshm_desc *d, uint16_t ns, const struct kvshm_key *key,
			      bool closed_too, uint64_t *ret_state, blk_id_t *ret_parent)
{
	/* BK-1: the state before the fields and the payload; pairs with block_publish(). */
	uint64_t seen = load_acquire(&d->state), again;

	if (!probe_state_ok(seen, closed_too))
		return false;
	TESTPOINT("probe: state seen");
	if (READ_ONCE(d->ns) != ns || !block_key_equal(d, key))
		return false;
	if (ret_parent)
		*ret_parent = READ_ONCE(d->parent);
	/* AU-1: the fields before the second look; pairs with BK-2 in block_grant(). */
	smp_acquire();
	again = READ_ONCE(d->state);
	if (!probe_state_ok(again, closed_too) || state_generation(again) != state_generation(seen))
		return false;
	*ret_state = again;
	return true;
}

/* The last step; @ret_hit is set when the result is true. */
static inline bool probe_check(const struct directory *dir, uint16_t ns,
			       const struct kvshm_key *key, const struct probe *p, bool closed_too,
			       struct index_hit *ret_hit)
{
	uint32_t left;

	for (left = p->match; left; left &= left - 1) {
		blk_id_t id = probe_id(dir, p, (unsigned)__builtin_ctz(left));
		uint64_t state;

		TESTPOINT("probe: slot seen");
		if (id && probe_desc(&dir->desc[id], ns, key, closed_too, &state, NULL)) {
			ret_hit->id = id;
			ret_hit->generation = state_generation(state);
			ret_hit->state = state;
			return true;
		}
	}
	return false;
}

#endif
