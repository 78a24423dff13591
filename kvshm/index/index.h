/* SPDX-License-Identifier: Apache-2.0 */
/*
 * index.h - key -> block id; one writer, lock-free readers in other processes
 *
 * 64-byte buckets of eight one-word slots {tag 32, id 32}, balanced two-choice, load <= 0.5, no
 * moves, no versions.  A slot is a hint: all 32 key bytes and the namespace are compared in the
 * descriptor between two equal loads of its state word.
 */
#ifndef KVSHM_INDEX_INDEX_H
#define KVSHM_INDEX_INDEX_H

#include <kvshm/abi.h>

#include "kvshm/arena/block.h"
#include "kvshm/arena/directory.h"
#include "kvshm/base/compiler.h"

struct index_hit {
	blk_id_t id;
	uint32_t generation;
	uint64_t state;			/* state word as seen */
};

/**
 * index_find() - one key, PUBLISHED blocks only
 * Runs in any process; every id read is range-checked.  Return: 1 found, 0 not.
 */
int index_find(const struct directory *dir, uint16_t ns, const struct kvshm_key *key,
	       struct index_hit *ret_hit);

/**
 * index_find_any() - the same, PUBLISHED or EVICTING; the writer's own look-up
 */
int index_find_any(const struct directory *dir, uint16_t ns, const struct kvshm_key *key,
		   struct index_hit *ret_hit);

/**
 * index_find_many() - a vector of keys, with prefetch; @ret_hits[i].id is 0 where not found
 * Return: number found.
 */
unsigned index_find_many(const struct directory *dir, uint16_t ns, const struct kvshm_key *keys,
			 unsigned nr, struct index_hit *ret_hits);

/**
 * index_longest() - longest cached prefix of a chain, by Invariant T
 * @ret_hit: the deepest block found, set when the result is > 0
 * Return: number of leading keys present.  A hint: nothing is pinned.
 */
unsigned index_longest(const struct directory *dir, uint16_t ns, const struct kvshm_key *keys,
		       unsigned nr, struct index_hit *ret_hit);

/* The keys of a chain, packed or wherever the caller has them: a search looks at few of them. */
struct index_keys {
	const struct kvshm_key *flat;	/* NULL: ask @at, which never returns NULL */
	const struct kvshm_key *(*at)(void *ctx, unsigned i);
	void *ctx;
};

static inline const struct kvshm_key *index_key(const struct index_keys *keys, unsigned i)
{
	return likely(keys->flat != NULL) ? &keys->flat[i] : keys->at(keys->ctx, i);
}

/* The same as index_longest(); each key looked at is asked for a few times at most. */
unsigned index_longest_in(const struct directory *dir, uint16_t ns, const struct index_keys *keys,
			  unsigned nr, struct index_hit *ret_hit);

/**
 * index_resolve() - ids of a pinned prefix, each key and parent link checked
 * @ret_ids: [nr].  The last block must be pinned, so none of them can change its life meanwhile.
 * Guesses id + 1 first (neighbours of one commit), else looks up in batches.
 * Return: number of leading blocks whose key, namespace, state and parent hold.
 */
unsigned index_resolve(const struct directory *dir, uint16_t ns, const struct kvshm_key *keys,
		       unsigned nr, blk_id_t *ret_ids);

/**
 * index_resolve_pinned() - the same, and every block returned is protected by the pin on @pinned
 * What index_resolve() returns is the pinned chain only if it is whole and ends in the pinned block:
 * after a drop the same keys may have been published again, as other blocks that nobody pins.  Then
 * this walks up from @pinned instead, one miss a block.  Dropped blocks count, as they stay until
 * they are unpinned.  Keys that begin inside the chain are found in that way, too: what lies above them is
 * not looked at.
 * Return: number of leading keys that the last @nr blocks of the pinned chain have.
 */
unsigned index_resolve_pinned(const struct directory *dir, uint16_t ns, const struct kvshm_key *keys,
			      unsigned nr, blk_id_t pinned, blk_id_t *ret_ids);

/* ---- the writer only ----------------------------------------------------------------------- */

/* Return: 0, -ENOSPC both buckets full (counted by the caller). */
int index_insert(struct directory *dir, uint16_t ns, const struct kvshm_key *key, blk_id_t id);

/* Return: 0, -ENOENT. */
int index_remove(struct directory *dir, uint16_t ns, const struct kvshm_key *key, blk_id_t id);

/**
 * index_repair() - after a crash: every PUBLISHED block has its slot, no other slot is left
 * In place: readers go on.  Return: number of slots changed.
 */
unsigned long index_repair(struct directory *dir);

/* Every PUBLISHED/EVICTING block findable, each slot points to one.  Return: violations; @first (160 bytes) names one. */
unsigned long index_verify(const struct directory *dir, char *first);

#endif
