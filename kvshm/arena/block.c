/* SPDX-License-Identifier: Apache-2.0 */
/*
 * block.c - the writer's half of a descriptor's life
 *
 *   block_free()     state = FREE, generation + 1	the one bump of a life, BK-1
 *   block_grant()    fence				BK-2: the bump before what follows
 *                    page, length, ns
 *                    state = GRANTED, same generation	BK-1
 *   block_publish()  key, parent, ...; state = PUBLISHED	BK-1
 *
 * A reader that has seen PUBLISHED of the old life compares fields, executes the fence AU-1 and reads
 * the state again.  If any field came from the new life, BK-2 makes it see the bumped generation (or a
 * later word), so it never takes a mixture for a hit.
 *
 * Place and length are written while the descriptor is FREE, where nobody believes them: a writer
 * that dies in between leaves FREE, and never a GRANTED block with the place of its former life.
 */
#include "kvshm/arena/block.h"

#include <assert.h>

/* 0 is kept for descriptors that never lived, so that no pin word of a block is 0 in its high half. */
static uint32_t next_generation(uint32_t generation)
{
	return generation + 1 ? generation + 1 : 1;
}

static void set_key(struct kvshm_desc *d, const struct kvshm_key *key)
{
	uint64_t *to = (uint64_t *)(void *)d->key.bytes;
	uint64_t from[4];

	memcpy(from, key->bytes, sizeof(from));
	WRITE_ONCE(to[0], from[0]);
	WRITE_ONCE(to[1], from[1]);
	WRITE_ONCE(to[2], from[2]);
	WRITE_ONCE(to[3], from[3]);
}

void block_grant(struct kvshm_desc *d, uint32_t page, uint32_t length, uint16_t ns, uint32_t owner)
{
	uint32_t generation = state_generation(READ_ONCE(d->state));

	assert(state_of(READ_ONCE(d->state)) == KVSHM_BLOCK_FREE && owner <= KVSHM_OWNER_MAX);
	/* A first life has no bump behind it and needs none: nobody was shown its life 0. */
	if (generation == 0)
		generation = 1;
	/* BK-2: FREE with the bumped generation before any field; pairs with AU-1 in index_find(). */
	smp_release();
	WRITE_ONCE(d->page, page);
	WRITE_ONCE(d->length, length);
	WRITE_ONCE(d->ns, ns);
	/* BK-1: the place before GRANTED; pairs with desc_read() of arena_verify(). */
	store_release(&d->state, state_make(KVSHM_BLOCK_GRANTED, 0, owner, generation));
}

void block_publish(struct kvshm_desc *d, const struct block_info *info)
{
	uint64_t w = READ_ONCE(d->state);

	assert(state_of(w) == KVSHM_BLOCK_GRANTED);
	set_key(d, &info->key);
	WRITE_ONCE(d->parent, info->parent);
	WRITE_ONCE(d->depth, info->depth);
	WRITE_ONCE(d->length, info->length);
	WRITE_ONCE(d->ns, info->ns);
	WRITE_ONCE(d->tokens, info->tokens);
	WRITE_ONCE(d->checksum, info->checksum);
	/* BK-1: all fields, and the payload, before PUBLISHED; pairs with index_find(). */
	store_release(&d->state, state_make(KVSHM_BLOCK_PUBLISHED, info->flags, 0, state_generation(w)));
}

void block_close(struct kvshm_desc *d)
{
	uint64_t w = READ_ONCE(d->state);

	assert(state_of(w) == KVSHM_BLOCK_PUBLISHED);
	/* BK-1: closed, in program order with its neighbours; the full fence PN-1 is the batch's. */
	store_release(&d->state, state_with(w, KVSHM_BLOCK_EVICTING));
}

void block_reopen(struct kvshm_desc *d)
{
	uint64_t w = READ_ONCE(d->state);

	assert(state_of(w) == KVSHM_BLOCK_EVICTING);
	/* BK-1: published again, same generation, its parent before it; pairs with index_find(). */
	store_release(&d->state, state_with(w, KVSHM_BLOCK_PUBLISHED));
}

void block_quarantine(struct kvshm_desc *d)
{
	uint64_t w = READ_ONCE(d->state);

	assert(state_of(w) != KVSHM_BLOCK_FREE);
	/* BK-1: unfindable, its children before it; pairs with index_find(). */
	store_release(&d->state, state_with(w, KVSHM_BLOCK_QUARANTINED) &
				 ~((uint64_t)KVSHM_OWNER_MAX << KVSHM_OWNER_SHIFT));
}

void block_free(struct kvshm_desc *d)
{
	uint64_t w = READ_ONCE(d->state);

	assert(state_of(w) != KVSHM_BLOCK_FREE);
	/* BK-1: free after its index slot is cleared; pairs with index_find(). */
	store_release(&d->state, state_make(KVSHM_BLOCK_FREE, 0, 0, next_generation(state_generation(w))));
}

void block_scrub(struct kvshm_desc *d)
{
	uint64_t w = READ_ONCE(d->state);

	assert(state_of(w) == KVSHM_BLOCK_FREE);
	/* BK-1: as in block_free(); pairs with index_find(). */
	store_release(&d->state, state_make(KVSHM_BLOCK_FREE, 0, 0, next_generation(state_generation(w))));
}

void block_quarantine_place(struct kvshm_desc *d, uint32_t moved)
{
	uint64_t w = READ_ONCE(d->state);

	assert(state_of(w) == KVSHM_BLOCK_GRANTED);
	WRITE_ONCE(d->parent, moved);
	WRITE_ONCE(d->depth, 0);
	/* BK-1: whose old place it is, before the state; pairs with desc_read() of arena_verify(). */
	store_release(&d->state, state_make(KVSHM_BLOCK_QUARANTINED, KVSHM_FLAG_RELOCATED, 0,
					    state_generation(w)));
}

void block_move(struct kvshm_desc *d, uint32_t page)
{
	/* RL-1: the copied bytes before the place; pairs with block_offset(). */
	store_release(&d->page, page);
}
