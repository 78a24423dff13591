/* SPDX-License-Identifier: Apache-2.0 */
/*
 * block.h - one descriptor and its state machine
 *
 *   FREE -> GRANTED(owner) -> PUBLISHED <-> EVICTING -> FREE, and QUARANTINED -> FREE
 *
 * Every change is one store of the state word, so death between any two instructions leaves the old
 * or the new state.  Only the writer thread changes descriptors; readers run in other processes.
 */
#ifndef KVSHM_ARENA_BLOCK_H
#define KVSHM_ARENA_BLOCK_H

#include <string.h>

#include <kvshm/abi.h>

#include "kvshm/base/atomic.h"

typedef uint32_t blk_id_t;

static inline uint64_t state_make(enum kvshm_block_state s, uint64_t flags, uint32_t owner,
				  uint32_t generation)
{
	return (uint64_t)s | flags | (uint64_t)owner << KVSHM_OWNER_SHIFT |
	       (uint64_t)generation << KVSHM_GENERATION_SHIFT;
}

static inline enum kvshm_block_state state_of(uint64_t w)
{
	return (enum kvshm_block_state)(w & KVSHM_STATE_MASK);
}

static inline uint32_t state_owner(uint64_t w)
{
	return (uint32_t)(w >> KVSHM_OWNER_SHIFT) & KVSHM_OWNER_MAX;
}

static inline uint32_t state_generation(uint64_t w)
{
	return (uint32_t)(w >> KVSHM_GENERATION_SHIFT);
}

/* The same life of the block in another state; flags kept. */
static inline uint64_t state_with(uint64_t w, enum kvshm_block_state s)
{
	return (w & ~KVSHM_STATE_MASK) | (uint64_t)s;
}

static inline uint64_t pin_word(blk_id_t id, uint32_t generation)
{
	return (uint64_t)generation << 32 | id;
}

/**
 * block_key_equal() - compare all 32 bytes of a descriptor's key, with relaxed loads
 * The caller has read the state word with acquire before (BK-1) and reads it again after (AU-1).
 */
static inline int block_key_equal(const struct kvshm_desc *d, const struct kvshm_key *key)
{
	const uint64_t *a = (const uint64_t *)(const void *)d->key.bytes;
	uint64_t k[4];

	memcpy(k, key->bytes, sizeof(k));
	return ((READ_ONCE(a[0]) ^ k[0]) | (READ_ONCE(a[1]) ^ k[1]) | (READ_ONCE(a[2]) ^ k[2]) |
		(READ_ONCE(a[3]) ^ k[3])) == 0;
}

/* Fields of a descriptor under construction, written by block_fill(). */
struct block_info {
	struct kvshm_key key;
	blk_id_t parent;
	uint32_t depth, length, checksum;
	uint16_t ns, tokens;
	uint64_t flags;			/* KVSHM_FLAG_NOPARENT, _CHECKSUM */
};

/**
 * block_grant() - FREE -> GRANTED: write place and length, then the state
 * @page, @length: where the block lies; @owner: pin-file number of the session, 0: the daemon
 * The generation was bumped by block_free(), once a life; a descriptor that never lived (generation
 * 0) begins with 1.  BK-2: the bumped generation is visible before the rewritten fields (pairs with
 * the acquire fence AU-1 of readers).  The descriptor must be FREE.
 */
void block_grant(struct kvshm_desc *d, uint32_t page, uint32_t length, uint16_t ns, uint32_t owner);

/**
 * block_publish() - GRANTED -> PUBLISHED: write the fields, then release-store the state (BK-1)
 * @info: its length may be shorter than the grant's, but of the same size class: the place is counted
 * and given back by the length in the descriptor.  The owner becomes 0.
 */
void block_publish(struct kvshm_desc *d, const struct block_info *info);

/*
 * PUBLISHED -> EVICTING and back (BK-1); any but FREE -> QUARANTINED, owner 0, same generation; any but
 * FREE -> FREE with the next generation, which skips 0 when it wraps.  The caller has cleared the index
 * slot before block_quarantine() and block_free(), and executes PN-1 once for a batch of block_close().
 */
void block_close(struct kvshm_desc *d);
void block_reopen(struct kvshm_desc *d);
void block_quarantine(struct kvshm_desc *d);
void block_free(struct kvshm_desc *d);

/* FREE with flags or an owner, which only damage makes: FREE alone, with the next generation. */
void block_scrub(struct kvshm_desc *d);

/**
 * block_quarantine_place() - GRANTED -> QUARANTINED | RELOCATED: the old place of the block @moved
 * @d: another descriptor, granted (to owner 0) with that place.
 */
void block_quarantine_place(struct kvshm_desc *d, uint32_t moved);

/**
 * block_move() - the block lies at @page from now on; its bytes are there already (RL-1)
 * A reader that loaded the old page goes on there: the old place is in quarantine.
 */
void block_move(struct kvshm_desc *d, uint32_t page);

/* Arena offset of a pinned block, by which its bytes are read; it may move, the old place stays. */
static inline uint64_t block_offset(const struct kvshm_desc *d)
{
	/* RL-1: the place before the bytes there; pairs with block_move(). */
	return (uint64_t)load_acquire(&d->page) * KVSHM_PAGE;
}

#endif
